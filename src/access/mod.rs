//! Who may see what: release profiles, views, and the only maker of [`ReleasedEntry`].
//!
//! Useful for: compiling a policy file into one [`View`] per profile, compiling what a search asked for into a
//! [`Selection`], and making what leaves. Not for: what a filter means ([`crate::query`]), who somebody is
//! ([`crate::account`]), counting quotas (the directory does).
//!
//! Invariants: deny by default; an entry leaves the core only as a [`ReleasedEntry`]; an attribute that is not searchable
//! compiles to Undefined in [`crate::query::compile`]; `userPassword`, `nhsPuSecret` and `nhsTelUID` are in no view, whatever a policy says.

mod policy;
mod release;
mod selection;

#[cfg(test)]
mod tests;

use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Record, RecordAttribute};
use std::sync::Arc;

pub use policy::{NEVER_RELEASED, Policy, PolicyFault};
pub use release::{ComputedAttribute, ReleasedCopy, ReleasedEntry, aliased_object, references, release};
pub use selection::{Selection, ValueFilter};

/// A set of attribute types as a bit field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttributeSet {
    words: Vec<u64>,
}

impl AttributeSet {
    #[inline]
    pub fn contains(&self, id: AttributeId) -> bool {
        self.words
            .get(usize::from(id.0) / 64)
            .is_some_and(|word| word >> (id.0 % 64) & 1 == 1)
    }

    pub fn insert(&mut self, id: AttributeId) {
        let at = usize::from(id.0) / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (id.0 % 64);
    }

    pub fn remove(&mut self, id: AttributeId) {
        if let Some(word) = self.words.get_mut(usize::from(id.0) / 64) {
            *word &= !(1 << (id.0 % 64));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

/// "The entry has this value": a normalised equality test used for hiding. Options of the stored attribute do not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub attribute: AttributeId,
    /// Normalised by the attribute's equality rule.
    pub normalized: Vec<u8>,
}

/// What one account may see and how much, compiled from its release profile against the schema.
///
/// A policy name stands for the type and its subtypes; the lists here are already expanded: every subtype has its own
/// bit, and its own condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    pub profile: String,
    pub searchable: AttributeSet,
    pub releasable: AttributeSet,
    /// Subtrees the account may see; empty means none. The root key means everything.
    pub bases: Arc<[NormalizedDn]>,
    /// Subtrees inside `bases` that it may not see (`ou=Applications` for readers).
    pub excluded: Arc<[NormalizedDn]>,
    /// Subtrees of the accounts it may act as (RFC 4370).
    pub may_proxy: Vec<NormalizedDn>,
    pub hiding: Hiding,
    pub quotas: Quotas,
}

/// Which entries and attributes a view hides by what the entry itself holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hiding {
    entries: Vec<Condition>,
    attributes: Vec<(AttributeId, Condition)>,
    /// The attribute types of all conditions: an entry that has none of them hides nothing.
    decisive: AttributeSet,
}

/// Limits of a profile. Zero means none, except where said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Entries of one search without paging.
    pub size_limit: u32,
    /// Entries of one page; the server caps what the client asks.
    pub page_size: u32,
    /// Entries of all pages of one paged search.
    pub paged_total: u32,
    pub time_limit_seconds: u32,
    /// Candidates examined in one search.
    pub candidates: u64,
    /// Entries released in one day (UTC).
    pub daily_entries: u64,
    /// Names that one filter follows from entry to entry (memberOf, and the rule of chains).
    pub followed_names: u32,
    pub may_scan: bool,
    pub may_page: bool,
    pub may_write: bool,
    /// Secrets of other entries, those of administrators apart.
    pub may_set_secrets: bool,
    pub may_sync: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            size_limit: 1000,
            page_size: 1000,
            paged_total: 0,
            time_limit_seconds: 30,
            candidates: 0,
            daily_entries: 0,
            followed_names: 20_000,
            may_scan: true,
            may_page: true,
            may_write: false,
            may_set_secrets: false,
            may_sync: false,
        }
    }
}

impl View {
    /// The view in which the server's own entries (root DSE, subschema) leave: every attribute but those that never do, and
    /// those that say when and by whom an entry was made: nobody made these.
    pub fn for_protocol(schema: &Schema) -> View {
        let mut releasable = AttributeSet::default();
        schema
            .attributes()
            .iter()
            .for_each(|attribute| releasable.insert(attribute.id));
        for id in NEVER_RELEASED.iter().filter_map(|name| schema.find_attribute(name)) {
            releasable.remove(id);
        }
        let known = schema.well_known();
        for id in [
            known.entry_uuid,
            known.entry_csn,
            known.create_timestamp,
            known.creators_name,
            known.modify_timestamp,
            known.modifiers_name,
        ] {
            releasable.remove(id);
        }
        View {
            profile: "protocol".to_owned(),
            searchable: releasable.clone(),
            releasable,
            bases: Arc::new([NormalizedDn::default()]),
            ..View::default()
        }
    }

    /// As [`View::for_protocol`], with the times that tell whether the subschema has changed (RFC 4512 section 4.4).
    pub fn for_subschema(schema: &Schema) -> View {
        let mut view = View::for_protocol(schema);
        let known = schema.well_known();
        for id in [known.create_timestamp, known.modify_timestamp, known.entry_csn] {
            view.searchable.insert(id);
            view.releasable.insert(id);
        }
        view
    }

    /// Whether an entry with this key may exist for the account, hidden entries apart.
    pub fn covers(&self, key: &NormalizedDn) -> bool {
        self.bases.iter().any(|base| key.is_within(base)) && !self.excluded.iter().any(|base| key.is_within(base))
    }

    /// Whether the record hides one attribute.
    pub fn hides_attribute(&self, record: Record<'_>, id: AttributeId, schema: &Schema) -> bool {
        let mut rules = self.hiding.attributes.iter().filter(|(hidden, _)| *hidden == id);
        rules.any(|(_, condition)| {
            let mut attributes = record.attributes();
            attributes.any(|attribute| condition.is_met_by(&attribute, schema))
        })
    }

    /// Whether an attribute of the record can neither be searched nor read: what it holds is not known, and not to be found out.
    pub fn is_blind_to(&self, record: Record<'_>, id: AttributeId, schema: &Schema) -> bool {
        let reached = self.searchable.contains(id) || self.releasable.contains(id);
        !reached || self.hides_attribute(record, id, schema)
    }

    /// Whether the record is hidden as a whole.
    pub fn hides(&self, record: Record<'_>, schema: &Schema) -> bool {
        if self.hiding.entries.is_empty() {
            return false;
        }
        let parts = record.parts().unwrap_or_default();
        parts.may_have(|id| self.hiding.decisive.contains(id))
            && parts.attributes().any(|attribute| {
                let mut conditions = self.hiding.entries.iter();
                conditions.any(|condition| condition.is_met_by(&attribute, schema))
            })
    }
}

impl Hiding {
    /// An entry that meets the condition does not exist for the account (ex-directory).
    pub fn hide_entry(&mut self, condition: Condition) {
        self.decisive.insert(condition.attribute);
        self.entries.push(condition);
    }

    /// The attribute does not exist where the entry meets the condition (a hidden mobile). At most 64 of these.
    pub fn hide_attribute(&mut self, attribute: AttributeId, condition: Condition) {
        self.decisive.insert(condition.attribute);
        self.attributes.push((attribute, condition));
    }

    pub fn entries(&self) -> &[Condition] {
        &self.entries
    }

    pub fn attributes(&self) -> &[(AttributeId, Condition)] {
        &self.attributes
    }
}

impl Condition {
    /// Whether this stored attribute has the condition's value. A value that does not normalise meets nothing.
    #[inline]
    pub(crate) fn is_met_by(&self, attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
        attribute.id == self.attribute && self.is_value_of(attribute, schema)
    }

    #[cold]
    fn is_value_of(&self, attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
        let Some(rule) = schema.attribute(self.attribute).equality else {
            return false;
        };
        let mut normalized = Vec::new();
        attribute.values().any(|value| {
            normalized.clear();
            rule.normalize(schema, value, &mut normalized).is_ok() && normalized == self.normalized
        })
    }
}
