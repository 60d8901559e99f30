//! The root DSE and the subschema subentry (RFC 4512 sections 5.1 and 4.2): facts about the server, not entries.

use super::{Directory, Session};
use crate::model::{Attribute, AttributeDescription, Dn, Entry, Value};
use crate::schema::Schema;
pub use crate::store::record::SUBSCHEMA_DN;
use crate::store::{Operational, record};

/// Facts of the protocol front end that the root DSE publishes.
#[derive(Clone, Debug, Default)]
pub struct ProtocolFacts {
    pub controls: Vec<&'static str>,
    pub extensions: Vec<&'static str>,
    pub features: Vec<&'static str>,
    pub mechanisms: Vec<&'static str>,
}

impl Directory {
    /// The root DSE, encoded. Without a session only what a client needs in order to bind.
    pub(super) fn root_dse(&self, schema: &Schema, session: Option<&Session>, facts: &ProtocolFacts) -> Vec<u8> {
        let mut attributes = vec![
            texts("objectClass", &["top"]),
            texts("supportedLDAPVersion", &["3"]),
            texts("supportedSASLMechanisms", &facts.mechanisms),
            texts("supportedExtension", &facts.extensions),
            texts("supportedControl", &facts.controls),
            texts("supportedFeatures", &facts.features),
        ];
        if session.is_some() {
            let contexts: Vec<String> = self.suffixes.iter().map(|(dn, _)| dn.to_string()).collect();
            attributes.push(texts("namingContexts", &contexts));
            attributes.push(texts("subschemaSubentry", &[SUBSCHEMA_DN]));
            attributes.push(texts("vendorName", &["nhsdir"]));
            attributes.push(texts("vendorVersion", &[env!("CARGO_PKG_VERSION")]));
        }
        attributes.retain(|attribute| !attribute.values.is_empty());
        let entry = Entry {
            dn: Dn::root(),
            attributes,
        };
        record::encode(&entry, &Operational::default(), schema)
    }
}

/// The subschema subentry, encoded.
pub(super) fn subschema(schema: &Schema, operational: &Operational<'_>) -> Vec<u8> {
    let mut attributes = vec![
        texts("objectClass", &["top", "subentry", "subschema"]),
        texts("cn", &["Subschema"]),
    ];
    for (name, values) in schema.subschema_attributes() {
        attributes.push(texts(name, &values));
    }
    let dn = Dn::parse(SUBSCHEMA_DN).expect("a constant name parses");
    record::encode(&Entry { dn, attributes }, operational, schema)
}

fn texts<T: AsRef<str>>(name: &str, values: &[T]) -> Attribute {
    let values: Vec<Value> = values.iter().map(|value| value.as_ref().as_bytes().to_vec()).collect();
    let description = AttributeDescription {
        attribute_type: name.to_owned(),
        options: Vec::new(),
    };
    Attribute { description, values }
}
