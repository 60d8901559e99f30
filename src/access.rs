//! Who may see what: release profiles, views, and the only maker of [`ReleasedEntry`].
//!
//! Invariants: deny by default; an entry leaves the core only as a [`ReleasedEntry`]; an attribute that is not searchable
//! compiles to Undefined in [`crate::query::compile`]; `userPassword`, `nhsPuSecret` and `nhsTelUID` are in no view, whatever a policy says.

use crate::model::ResultCode;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::Record;
use std::collections::HashMap;
use std::sync::Arc;

/// A set of attribute types as a bit field.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttributeSet {
    words: Vec<u64>,
}

impl AttributeSet {
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
}

/// "The entry has this value": a normalised equality test used for hiding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub attribute: AttributeId,
    /// Normalised by the attribute's equality rule.
    pub normalized: Vec<u8>,
}

/// What one account may see and how much, compiled from its release profile against the schema.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub profile: String,
    pub searchable: AttributeSet,
    pub releasable: AttributeSet,
    /// Subtrees the account may see; empty means none. The root key means everything.
    pub bases: Vec<NormalizedDn>,
    /// Subtrees inside `bases` that it may not see (`ou=Applications` for readers).
    pub excluded: Vec<NormalizedDn>,
    /// An entry that meets one of these does not exist for the account (ex-directory).
    pub hidden_entries: Vec<Condition>,
    /// The attribute does not exist where the entry meets the condition (a hidden mobile).
    pub hidden_attributes: Vec<(AttributeId, Condition)>,
    pub quotas: Quotas,
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
    pub may_scan: bool,
    pub may_page: bool,
    pub may_write: bool,
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
            may_scan: true,
            may_page: true,
            may_write: false,
        }
    }
}

/// The policy file: named release profiles.
#[derive(Clone, Debug)]
pub struct Policy {
    // private: profiles as parsed
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct PolicyFault {
    pub file: String,
    pub line: usize,
    pub message: String,
}

impl Policy {
    /// The built-in policy: profiles `reader`, `full`, `writer`, `administrator`.
    pub fn builtin() -> Policy {
        todo!()
    }

    /// Parses a policy file (TOML); profiles in it add to or replace the built-in ones. Every fault is reported.
    pub fn parse(file: &str, text: &str) -> Result<Policy, Vec<PolicyFault>> {
        let _ = (file, text);
        todo!()
    }

    /// Compiles every profile. `suffixes` are the naming contexts.
    pub fn compile(
        &self,
        schema: &Schema,
        suffixes: &[NormalizedDn],
    ) -> Result<HashMap<String, Arc<View>>, Vec<PolicyFault>> {
        let _ = (schema, suffixes);
        todo!()
    }
}

impl View {
    /// Whether an entry with this key may exist for the account, hidden entries apart.
    pub fn covers(&self, key: &NormalizedDn) -> bool {
        let _ = key;
        todo!()
    }

    /// Whether the record is hidden as a whole.
    pub fn hides(&self, record: Record<'_>, schema: &Schema) -> bool {
        let _ = (record, schema);
        todo!()
    }
}

/// Which attributes a search asked for (RFC 4511 section 4.5.1.8, RFC 3673, RFC 4529).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    // private
}

impl Selection {
    /// Compiles `*`, `+`, `1.1`, names, OIDs, `@class`, names with options; unknown names select nothing. An empty list
    /// is all user attributes. A type selects its subtypes and all options; with options, only those.
    pub fn compile<'a>(names: impl Iterator<Item = &'a str>, types_only: bool, schema: &Schema) -> Selection {
        let _ = (names, types_only, schema);
        todo!()
    }

    /// Whether the attribute was asked for; directory uses it to compute derived attributes only on demand.
    pub fn wants(&self, id: AttributeId, schema: &Schema) -> bool {
        let _ = (id, schema);
        todo!()
    }

    /// Whether every user attribute was asked for and nothing else, values included.
    pub fn is_all_user(&self) -> bool {
        todo!()
    }
}

/// An attribute that is not stored in the record (hasSubordinates, entryDN, memberOf ...), computed for one answer.
#[derive(Clone, Debug)]
pub struct ComputedAttribute {
    pub id: AttributeId,
    pub values: Vec<Vec<u8>>,
}

/// An entry as one account may see it, made only by [`release`]. The encoders accept nothing else.
pub struct ReleasedEntry<'a> {
    record: Record<'a>,
}

/// Releases what `view` allows of what `selection` asked; `None` where the entry is hidden.
pub fn release<'a>(
    record: Record<'a>,
    view: &'a View,
    selection: &'a Selection,
    computed: &'a [ComputedAttribute],
    schema: &'a Schema,
) -> Option<ReleasedEntry<'a>> {
    let _ = (view, selection, computed, schema);
    Some(ReleasedEntry { record })
}

impl<'a> ReleasedEntry<'a> {
    /// The DN string.
    pub fn dn(&self) -> &'a str {
        self.record.dn()
    }

    pub fn entry_uuid(&self) -> [u8; 16] {
        self.record.operational().entry_uuid
    }

    /// Appends the PartialAttributeList's content (RFC 4511 section 4.5.2) to `out`: as few copies as can be, one for the
    /// whole record where everything is released.
    pub fn append_attributes(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}

/// What refused access, for the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denied {
    pub code: ResultCode,
}
