//! Entries as given: a name and its attributes, before the schema has looked at them.

use super::dn::Dn;

/// An attribute value as given: any octets.
pub type Value = Vec<u8>;

/// An attribute description (RFC 4512 section 2.5): a type and its options.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct AttributeDescription {
    /// Descriptor or numeric OID, as spelled.
    pub attribute_type: String,
    /// Options without their `;`, in the order given.
    pub options: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    pub description: AttributeDescription,
    pub values: Vec<Value>,
}

/// An entry as given by a client or an LDIF file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub dn: Dn,
    pub attributes: Vec<Attribute>,
}
