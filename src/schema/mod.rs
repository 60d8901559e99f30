//! What may be said, and when are two values equal?
//!
//! Useful for: resolving names to attribute types, normalising values for a matching rule, checking
//! an entry against its object classes, publishing the subschema. Not for: storing or finding anything.
//!
//! Invariants: no I/O; normalising never panics and is idempotent; two values match under a rule
//! exactly when their normalised octets are equal; under an ordering rule they order as their
//! normalised octets do; a [`NormalizedDn`] sorts in DIT pre-order.

use crate::model::{Dn, Entry, Filter, Rdn};

pub mod definition;
pub mod matching;
pub mod prepare;
pub mod syntax;

pub use matching::MatchingRule;
pub use syntax::Syntax;

/// The number of an attribute type within one loaded [`Schema`]. Not stable across schema changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AttributeId(pub u16);

/// The number of an object class within one loaded [`Schema`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ClassId(pub u16);

/// A name prepared for comparison; also the key under which an entry is stored.
///
/// Layout: for each RDN from the root to the leaf, its AVAs (sorted, each the attribute's canonical
/// lower-case name, `=`, the value normalised by its equality rule; joined by 0x02), with 0x00, 0x01, 0x02
/// inside escaped as 0x01 0x03, 0x01 0x04, 0x01 0x05, and ended by 0x00. So byte order is DIT pre-order, an
/// ancestor is a prefix, and the subtree of K is exactly the keys that start with K.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct NormalizedDn(pub Vec<u8>);

impl NormalizedDn {
    /// How many RDNs: the number of 0x00 octets.
    pub fn depth(&self) -> usize {
        self.0.iter().filter(|b| **b == 0).count()
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The key without its last RDN; `None` for the root.
    pub fn parent(&self) -> Option<NormalizedDn> {
        let inner = self.0.get(..self.0.len().checked_sub(1)?)?;
        let end = inner.iter().rposition(|b| *b == 0).map_or(0, |at| at + 1);
        Some(NormalizedDn(inner[..end].to_vec()))
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &NormalizedDn) -> bool {
        self.0.starts_with(&other.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    UserApplications,
    DirectoryOperation,
    DistributedOperation,
    DsaOperation,
}

/// An attribute type (RFC 4512 section 4.1.2), with what it inherits from its supertype filled in.
#[derive(Clone, Debug)]
pub struct AttributeType {
    pub id: AttributeId,
    pub oid: String,
    /// As declared; the first is the name answers use. Never empty: without NAME it is the OID.
    pub names: Vec<String>,
    pub superior: Option<AttributeId>,
    pub equality: Option<MatchingRule>,
    pub ordering: Option<MatchingRule>,
    pub substrings: Option<MatchingRule>,
    pub syntax: Syntax,
    pub single_value: bool,
    pub collective: bool,
    pub no_user_modification: bool,
    pub usage: Usage,
    /// Itself and every type below it, ascending.
    pub subtypes: Vec<AttributeId>,
}

impl AttributeType {
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    pub fn is_operational(&self) -> bool {
        self.usage != Usage::UserApplications
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClassKind {
    Abstract,
    Structural,
    Auxiliary,
}

#[derive(Clone, Debug)]
pub struct ObjectClass {
    pub id: ClassId,
    pub oid: String,
    pub names: Vec<String>,
    pub kind: ClassKind,
    pub superiors: Vec<ClassId>,
    /// Its own and every inherited one.
    pub must: Vec<AttributeId>,
    pub may: Vec<AttributeId>,
}

/// Attribute types the server itself reads or keeps; all of them are in the built-in schema files.
#[derive(Clone, Copy, Debug)]
pub struct WellKnown {
    pub object_class: AttributeId,
    pub user_password: AttributeId,
    pub entry_uuid: AttributeId,
    pub entry_dn: AttributeId,
    pub create_timestamp: AttributeId,
    pub creators_name: AttributeId,
    pub modify_timestamp: AttributeId,
    pub modifiers_name: AttributeId,
    pub structural_object_class: AttributeId,
    pub subschema_subentry: AttributeId,
    pub has_subordinates: AttributeId,
    pub num_subordinates: AttributeId,
    pub member_of: AttributeId,
    pub entry_csn: AttributeId,
}

/// A fault in a schema text: which file, which line, what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SchemaFault {
    pub file: String,
    pub line: usize,
    pub message: String,
}

/// Why an entry or a value is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaViolation {
    #[error("attribute type {name} is not defined")]
    UndefinedAttributeType { name: String },
    #[error("object class {name} is not defined")]
    UndefinedObjectClass { name: String },
    #[error("{attribute}: value {index} is no {syntax}: {reason}")]
    InvalidSyntax {
        attribute: String,
        index: usize,
        syntax: String,
        reason: String,
    },
    #[error("{attribute}: value {index} is there twice")]
    DuplicateValue { attribute: String, index: usize },
    #[error("{attribute} is single-valued and has {count} values")]
    SingleValue { attribute: String, count: usize },
    #[error("{attribute} is kept by the server")]
    NoUserModification { attribute: String },
    #[error("object class {class} requires {attribute}")]
    MissingAttribute { class: String, attribute: String },
    #[error("{attribute} is not allowed by the entry's object classes")]
    AttributeNotAllowed { attribute: String },
    #[error("{message}")]
    ObjectClass { message: String },
    #[error("naming attribute {attribute}={value} is not in the entry")]
    NamingAttribute { attribute: String, value: String },
}

/// A loaded schema: immutable, shared by `Arc`.
pub struct Schema {}

impl Schema {
    /// The schema compiled into the program: `schema/*.schema`.
    pub fn builtin() -> Result<Schema, Vec<SchemaFault>> {
        Schema::load(&[])
    }

    /// The built-in schema extended by `(file name, text)` pairs. RFC 4512 descriptions, OpenLDAP `.schema`
    /// files (`attributetype`/`objectclass`/`objectidentifier` directives) and `cn=schema` LDIF are all read.
    pub fn load(extensions: &[(String, String)]) -> Result<Schema, Vec<SchemaFault>> {
        let _ = extensions;
        todo!()
    }

    pub fn well_known(&self) -> &WellKnown {
        todo!()
    }

    /// Every attribute type; the index is the [`AttributeId`].
    pub fn attributes(&self) -> &[AttributeType] {
        todo!()
    }

    pub fn attribute(&self, id: AttributeId) -> &AttributeType {
        &self.attributes()[usize::from(id.0)]
    }

    /// By name or numeric OID, in any case, without options. Allocates nothing.
    pub fn find_attribute(&self, name: &str) -> Option<AttributeId> {
        let _ = name;
        todo!()
    }

    pub fn classes(&self) -> &[ObjectClass] {
        todo!()
    }

    pub fn find_class(&self, name: &str) -> Option<ClassId> {
        let _ = name;
        todo!()
    }

    /// A class and every superclass of it.
    pub fn class_chain(&self, id: ClassId) -> &[ClassId] {
        let _ = id;
        todo!()
    }

    /// By name or OID, in any case.
    pub fn find_rule(&self, name: &str) -> Option<MatchingRule> {
        let _ = name;
        todo!()
    }

    /// The key of a name. An undefined attribute type or a value that is not of its syntax is an error.
    pub fn normalize_dn(&self, dn: &Dn) -> Result<NormalizedDn, SchemaViolation> {
        let _ = dn;
        todo!()
    }

    /// Appends one RDN to a parent's key.
    pub fn normalize_child(&self, parent: &NormalizedDn, rdn: &Rdn) -> Result<NormalizedDn, SchemaViolation> {
        let _ = (parent, rdn);
        todo!()
    }

    /// Checks one whole entry for a write: types defined, values of their syntax, no duplicates, single
    /// values, object class rules (RFC 4512 sections 2.4, 4.1.1: structural chain, must, may), naming attributes.
    /// Superclasses that are only implied are accepted. Operational attributes are allowed here;
    /// whether a client may set them is for the caller.
    pub fn check_entry(&self, entry: &Entry) -> Result<(), Vec<SchemaViolation>> {
        let _ = entry;
        todo!()
    }

    /// The most subordinate structural class of an entry's objectClass values, if they make sense.
    pub fn structural_class(&self, classes: &[ClassId]) -> Option<ClassId> {
        let _ = classes;
        todo!()
    }

    /// The attributes of the subschema subentry (RFC 4512 section 4.2): `objectClasses`, `attributeTypes`, `matchingRules`,
    /// `matchingRuleUse`, `ldapSyntaxes`, `dITContentRules` where present.
    pub fn subschema_attributes(&self) -> Vec<(&'static str, Vec<String>)> {
        todo!()
    }

    /// A well-formedness helper for filters given as text: the first attribute name that is not defined.
    pub fn first_undefined<'f>(&self, filter: &'f Filter<'_>) -> Option<&'f str> {
        let _ = filter;
        todo!()
    }
}
