//! What may be said, and when are two values equal?
//!
//! Useful for: resolving names to attribute types, normalising values for a matching rule, checking
//! an entry against its object classes, publishing the subschema. Not for: storing or finding anything.
//!
//! Invariants: no I/O; normalising never panics and is idempotent; two values match under a rule
//! exactly when their normalised octets are equal; under an ordering rule they order as their
//! normalised octets do; a [`NormalizedDn`] sorts in DIT pre-order.

use crate::model::{Ava, Dn, Filter, Rdn};

pub mod approximate;
mod canonical;
mod certificate;
mod check;
mod definition;
pub mod matching;
#[cfg(test)]
mod matching_tests;
mod names;
mod naming_rules;
mod prepare;
mod print;
mod resolve;
mod source;
mod spelling;
mod subschema;
pub mod subtree;
mod successor;
pub mod syntax;
#[cfg(test)]
mod tests;
mod time;

pub use check::Written;
pub use matching::{Comparison, InvalidValue, MatchingRule, SubstringPiece};
pub use syntax::Syntax;

use names::NameTable;

/// How deep names may lie within values of names: `member=cn\\3dx` is one deep.
const MAX_NESTED_NAMES: usize = 4;

/// The one of them whose definitions another file may say otherwise.
const NIS: &str = "schema/nis.schema";

/// The schema files compiled into the program.
const NHS: &str = "schema/nhs.schema";
const BUILTIN: &[(&str, &str)] = &[
    ("schema/00-system.schema", include_str!("../../schema/00-system.schema")),
    ("schema/core.schema", include_str!("../../schema/core.schema")),
    ("schema/cosine.schema", include_str!("../../schema/cosine.schema")),
    ("schema/x509.schema", include_str!("../../schema/x509.schema")),
    (
        "schema/inetorgperson.schema",
        include_str!("../../schema/inetorgperson.schema"),
    ),
    (NIS, include_str!("../../schema/nis.schema")),
    ("schema/ppolicy.schema", include_str!("../../schema/ppolicy.schema")),
    (NHS, include_str!("../../schema/nhs.schema")),
    ("schema/nhsdir.schema", include_str!("../../schema/nhsdir.schema")),
];

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
    /// Entries keep it, but it is no longer given to any.
    pub obsolete: bool,
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

    /// Whether a filter may name this rule together with the type (RFC 4512 section 4.1.4): it is one of the type's own, or
    /// compares values of the type's syntax.
    pub fn takes(&self, rule: MatchingRule) -> bool {
        [self.equality, self.ordering, self.substrings].contains(&Some(rule)) || rule.compares(self.syntax)
    }

    /// Operational, but given by administrators like a user attribute: `ref`, subtreeSpecification and the like.
    pub fn is_administrative(&self) -> bool {
        self.is_operational() && !self.no_user_modification && self.usage != Usage::DsaOperation
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
    /// Entries keep it, but it is no longer given to any.
    pub obsolete: bool,
    pub superiors: Vec<ClassId>,
    /// Its own and every inherited one.
    pub must: Vec<AttributeId>,
    pub may: Vec<AttributeId>,
}

impl ObjectClass {
    /// The name that answers use.
    pub fn name(&self) -> &str {
        &self.names[0]
    }
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
    pub context_csn: AttributeId,
    pub collective_exclusions: AttributeId,
    pub collective_subentries: AttributeId,
    /// What is known of an application account; `nhsdir.schema` defines it.
    pub account_status: AttributeId,
    pub password_changed: AttributeId,
    pub password_locked: AttributeId,
    pub password_reset: AttributeId,
    pub password_failures: AttributeId,
    pub password_success: AttributeId,
    pub password_grace: AttributeId,
    pub password_delayed: AttributeId,
    pub password_history: AttributeId,
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
    #[error("object class {class} requires {attribute}")]
    MissingAttribute { class: String, attribute: String },
    #[error("{attribute} is not allowed by the entry's object classes")]
    AttributeNotAllowed { attribute: String },
    #[error("{message}")]
    ObjectClass { message: String },
    #[error("the relative name has {attribute} twice")]
    RepeatedNamingAttribute { attribute: String },
    #[error("naming attribute {attribute}={value} is not in the entry")]
    NamingAttribute { attribute: String, value: String },
}

/// What a structural class's entries may be beyond their classes (RFC 4512 section 4.1.6).
#[derive(Clone, Debug)]
struct ContentRule {
    place: source::Place,
    class: ClassId,
    auxiliary: Vec<ClassId>,
    must: Vec<AttributeId>,
    may: Vec<AttributeId>,
    not: Vec<AttributeId>,
}

/// A loaded schema: immutable, shared by `Arc`.
pub struct Schema {
    attributes: Vec<AttributeType>,
    attribute_names: NameTable,
    /// For each attribute type its first name in lower case, then `=`: how an AVA's key starts.
    keys: Vec<Box<[u8]>>,
    classes: Vec<ObjectClass>,
    class_names: NameTable,
    /// For each class its first name in lower case.
    class_keys: Vec<Box<[u8]>>,
    /// For each class itself and its superclasses.
    chains: Vec<Vec<ClassId>>,
    /// The same without the superclasses of all.
    implied: Vec<Vec<ClassId>>,
    content_rules: Vec<ContentRule>,
    rule_names: NameTable,
    well_known: WellKnown,
    extensible_object: ClassId,
    printed: subschema::Printed,
    places: successor::Places,
    without_nhs: bool,
}

impl Schema {
    /// The schema compiled into the program: `schema/*.schema`.
    pub fn builtin() -> Result<Schema, Vec<SchemaFault>> {
        Schema::load(&[])
    }

    /// The built-in schema extended by `(file name, text)` pairs. RFC 4512 descriptions, OpenLDAP `.schema`
    /// files (`attributetype`/`objectclass`/`objectidentifier` directives) and `cn=schema` LDIF are all read.
    ///
    /// # Errors
    /// Every fault of every file. Repeating a definition there is already is none.
    pub fn load(extensions: &[(String, String)]) -> Result<Schema, Vec<SchemaFault>> {
        resolve::resolve(definitions(extensions, false), None)
    }

    /// The same without the schema of the NHS Directory, whose names are then free for the files.
    ///
    /// # Errors
    /// As [`Schema::load`].
    pub fn load_without_nhs(extensions: &[(String, String)]) -> Result<Schema, Vec<SchemaFault>> {
        resolve::resolve(definitions(extensions, true), None)
    }

    /// Whether it was loaded without the schema of the NHS Directory. Its successors are too.
    pub fn is_without_nhs(&self) -> bool {
        self.without_nhs
    }

    pub fn well_known(&self) -> &WellKnown {
        &self.well_known
    }

    /// Every attribute type; the index is the [`AttributeId`].
    pub fn attributes(&self) -> &[AttributeType] {
        &self.attributes
    }

    /// The number of every attribute type: the type table of records that were made under this schema.
    pub fn type_numbers(&self) -> &'static [AttributeId] {
        static NUMBERS: [AttributeId; u16::MAX as usize] = {
            let mut numbers = [AttributeId(0); u16::MAX as usize];
            let mut number = 0;
            while number < u16::MAX {
                numbers[number as usize] = AttributeId(number);
                number += 1;
            }
            numbers
        };
        NUMBERS.get(..self.attributes.len()).unwrap_or(&NUMBERS)
    }

    pub fn attribute(&self, id: AttributeId) -> &AttributeType {
        &self.attributes[usize::from(id.0)]
    }

    /// By name or numeric OID, in any case, without options. Allocates nothing.
    pub fn find_attribute(&self, name: &str) -> Option<AttributeId> {
        self.attribute_names.find(name).map(AttributeId)
    }

    /// The class whose entries may have every attribute (RFC 4512 section 4.3).
    pub fn extensible_object(&self) -> ClassId {
        self.extensible_object
    }

    pub fn classes(&self) -> &[ObjectClass] {
        &self.classes
    }

    pub fn class(&self, id: ClassId) -> &ObjectClass {
        &self.classes[usize::from(id.0)]
    }

    /// By name or numeric OID, in any case. Allocates nothing.
    pub fn find_class(&self, name: &str) -> Option<ClassId> {
        self.class_names.find(name).map(ClassId)
    }

    /// A class and every superclass of it.
    pub fn class_chain(&self, id: ClassId) -> &[ClassId] {
        &self.chains[usize::from(id.0)]
    }

    /// A class and the superclasses of it that say something: not those that every entry is of ([`Schema::is_superclass_of_all`]).
    pub fn implied_classes(&self, id: ClassId) -> &[ClassId] {
        &self.implied[usize::from(id.0)]
    }

    /// Whether every entry is of this class, as every entry is of a structural class: true of `top`.
    pub fn is_superclass_of_all(&self, id: ClassId) -> bool {
        is_superclass_of_all(&self.classes, &self.chains, id)
    }

    /// The name under which values that name a class compare: its first name in lower case.
    pub fn class_key(&self, id: ClassId) -> &[u8] {
        &self.class_keys[usize::from(id.0)]
    }

    /// By name or OID, in any case.
    pub fn find_rule(&self, name: &str) -> Option<MatchingRule> {
        MatchingRule::at(self.rule_names.find(name)?)
    }

    /// Whether an identifier is numeric, or the descriptor of a class or an attribute type.
    pub fn recognizes_identifier(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value)
            .is_ok_and(|text| syntax::is_numeric_oid(text) || self.canonical_identifier(text).is_some())
    }

    /// The name under which an identifier compares: the first name of the class or attribute type, in lower case.
    pub fn canonical_identifier(&self, identifier: &str) -> Option<&[u8]> {
        if let Some(class) = self.find_class(identifier) {
            return Some(&self.class_keys[usize::from(class.0)]);
        }
        let attribute = self.find_attribute(identifier)?;
        self.keys[usize::from(attribute.0)].strip_suffix(b"=")
    }

    /// Every name and OID of a class or attribute type, in lower case.
    pub fn identifiers(&self) -> impl Iterator<Item = String> {
        let types = self.attributes.iter().map(|it| (&it.names, &it.oid));
        let classes = self.classes.iter().map(|it| (&it.names, &it.oid));
        let all = types.chain(classes).flat_map(|(names, oid)| names.iter().chain([oid]));
        all.map(|name| name.to_ascii_lowercase())
    }

    /// The key of a name. An undefined attribute type or a value that is not of its syntax is an error.
    pub fn normalize_dn(&self, dn: &Dn) -> Result<NormalizedDn, SchemaViolation> {
        let mut key = Vec::with_capacity(64);
        self.append_dn(dn, 0, &mut key)?;
        Ok(NormalizedDn(key))
    }

    /// Appends one RDN to a parent's key.
    pub fn normalize_child(&self, parent: &NormalizedDn, rdn: &Rdn) -> Result<NormalizedDn, SchemaViolation> {
        let mut key = Vec::with_capacity(parent.0.len() + 32);
        key.extend_from_slice(&parent.0);
        self.append_rdn(rdn, 0, &mut key)?;
        Ok(NormalizedDn(key))
    }

    fn append_dn(&self, dn: &Dn, nesting: usize, key: &mut Vec<u8>) -> Result<(), SchemaViolation> {
        dn.rdns()
            .iter()
            .rev()
            .try_for_each(|rdn| self.append_rdn(rdn, nesting, key))
    }

    fn append_rdn(&self, rdn: &Rdn, nesting: usize, key: &mut Vec<u8>) -> Result<(), SchemaViolation> {
        if let [ava] = rdn.avas.as_slice() {
            self.append_ava(ava, nesting, key)?;
        } else {
            self.append_avas(&rdn.avas, nesting, key)?;
        }
        key.push(0);
        Ok(())
    }

    fn append_avas(&self, avas: &[Ava], nesting: usize, key: &mut Vec<u8>) -> Result<(), SchemaViolation> {
        let mut parts = Vec::with_capacity(avas.len());
        for ava in avas {
            let mut part = Vec::new();
            let attribute = self.append_ava(ava, nesting, &mut part)?;
            parts.push((attribute, part));
        }
        parts.sort_by(|(_, left), (_, right)| left.cmp(right));
        for (index, (attribute, part)) in parts.iter().enumerate() {
            if parts[..index].iter().any(|(before, _)| before == attribute) {
                return Err(SchemaViolation::RepeatedNamingAttribute {
                    attribute: self.attribute(*attribute).name().to_owned(),
                });
            }
            if index > 0 {
                key.push(2);
            }
            key.extend_from_slice(part);
        }
        Ok(())
    }

    fn append_ava(&self, ava: &Ava, nesting: usize, key: &mut Vec<u8>) -> Result<AttributeId, SchemaViolation> {
        let id = self
            .find_attribute(&ava.attribute)
            .ok_or_else(|| SchemaViolation::UndefinedAttributeType {
                name: ava.attribute.clone(),
            })?;
        self.append_value(id, &ava.value, nesting, key)?;
        Ok(id)
    }

    /// One AVA: the type's name, `=`, and the value by its equality rule, or as it is where the type has none.
    fn append_value(
        &self,
        id: AttributeId,
        value: &[u8],
        nesting: usize,
        key: &mut Vec<u8>,
    ) -> Result<(), SchemaViolation> {
        key.extend_from_slice(&self.keys[usize::from(id.0)]);
        let start = key.len();
        let attribute = self.attribute(id);
        match attribute.equality {
            Some(rule) => {
                rule.normalize_nested(self, value, nesting, key)
                    .map_err(|e| SchemaViolation::InvalidSyntax {
                        attribute: attribute.name().to_owned(),
                        index: 0,
                        syntax: e.expected.to_owned(),
                        reason: e.reason,
                    })?
            }
            None => key.extend_from_slice(value),
        }
        escape(key, start);
        Ok(())
    }

    /// A well-formedness helper for filters given as text: the first attribute name that is not defined.
    pub fn first_undefined<'f>(&self, filter: &'f Filter<'_>) -> Option<&'f str> {
        let attribute: &str = match filter {
            Filter::And(parts) | Filter::Or(parts) => {
                return parts.iter().find_map(|part| self.first_undefined(part));
            }
            Filter::Not(part) => return self.first_undefined(part),
            Filter::Extensible { attribute, .. } => attribute.as_deref()?,
            Filter::Equality { attribute, .. }
            | Filter::Substrings { attribute, .. }
            | Filter::GreaterOrEqual { attribute, .. }
            | Filter::LessOrEqual { attribute, .. }
            | Filter::Present { attribute }
            | Filter::Approximate { attribute, .. } => attribute,
        };
        let attribute_type = attribute.split(';').next().unwrap_or(attribute);
        self.find_attribute(attribute_type).is_none().then_some(attribute)
    }
}

/// What the built-in files and these say.
fn definitions(extensions: &[(String, String)], without_nhs: bool) -> source::Definitions {
    let mut definitions = source::Definitions::new(without_nhs);
    for (file, text) in BUILTIN.iter().filter(|(file, _)| !(without_nhs && *file == NHS)) {
        definitions.read(file, text);
    }
    for (file, text) in extensions {
        definitions.read(file, text);
    }
    definitions
}

fn is_superclass_of_all(classes: &[ObjectClass], chains: &[Vec<ClassId>], id: ClassId) -> bool {
    let mut structural = classes.iter().filter(|class| class.kind == ClassKind::Structural);
    classes[usize::from(id.0)].kind == ClassKind::Abstract
        && structural.all(|class| chains[usize::from(class.id.0)].contains(&id))
}

/// Escapes the three octets that separate AVAs and RDNs, in `key[start..]`.
fn escape(key: &mut Vec<u8>, start: usize) {
    if key[start..].iter().all(|b| *b > 2) {
        return;
    }
    for byte in key.split_off(start) {
        match byte {
            0..=2 => key.extend_from_slice(&[1, byte + 3]),
            other => key.push(other),
        }
    }
}
