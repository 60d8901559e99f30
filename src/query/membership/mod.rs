//! Who is in which group: `member` and `uniqueMember` values read in both directions, never a copy of them.
//!
//! Invariants: a group counts only where the view may see it and the values that make it one; a group that may not be seen
//! and a group that is not there are the same.

mod chain;

use super::collective::Collective;
use super::computed::KeptBeside;
use crate::access::{AttributeSet, View};
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::model::Dn;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Layer, Location, Snapshot};
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A filter leads to more names than the view's `followed_names` allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a filter that follows at most {limit} names from entry to entry; name a smaller group")]
pub struct TooManyNames {
    pub limit: u32,
}

/// Names that one filter may still look at on its way from entry to entry. Most are met more than once, so there are more of
/// them than names it may lead to; all its terms share them, because none of them gives way to other connections.
#[derive(Debug)]
pub struct LooksLeft {
    limit: u32,
    left: Cell<u64>,
}

/// Looks for each name that a filter may lead to.
const LOOKS_A_NAME: u64 = 16;

impl LooksLeft {
    pub fn new(view: &View) -> LooksLeft {
        let limit = view.quotas.followed_names;
        LooksLeft {
            limit,
            left: Cell::new(match limit {
                0 => u64::MAX,
                limit => u64::from(limit) * LOOKS_A_NAME,
            }),
        }
    }

    /// # Errors
    /// [`TooManyNames`] where fewer are left.
    pub fn take(&self, names: usize) -> Result<(), TooManyNames> {
        let left = self.left.get().checked_sub(names as u64);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(TooManyNames { limit: self.limit })
    }
}

/// The groups of one snapshot as one view sees them.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    pub snapshot: &'a Snapshot,
    pub schema: &'a Arc<Schema>,
    pub view: &'a View,
    /// What subentries give to other entries, where there are any that do.
    pub collective: Option<&'a Collective>,
    /// What is kept beside entries, where filters are to find it.
    pub kept: Option<&'a Arc<dyn KeptBeside>>,
}

/// The names that a snapshot's tail holds, which has no index: gathered once for many entries.
#[derive(Default, Debug)]
pub struct TailMembers {
    gathered: OnceLock<TailNames>,
}

/// The entries that have a normalised value of an attribute type.
type TailNames = HashMap<(AttributeId, Vec<u8>), Vec<Location>>;

impl<'a> Groups<'a> {
    /// The names of a group's members, ascending; none where the group is not there for the view. `None` where there are
    /// more than `limit`, unless that is 0.
    pub fn members(&self, group: &NormalizedDn, limit: u32) -> Option<Vec<NormalizedDn>> {
        let mut members = Vec::new();
        let at = self.snapshot.find(group).filter(|_| self.view.covers(group));
        let Some(record) = at.map(|at| self.snapshot.record(at)) else {
            return Some(members);
        };
        if self.view.hides(record, self.schema) {
            return Some(members);
        }
        let types = self.types(&self.view.searchable);
        for attribute in record.attributes().filter(|attribute| types.contains(&attribute.id)) {
            if self.view.hides_attribute(record, attribute.id, self.schema) {
                continue;
            }
            for value in attribute.values() {
                if limit != 0 && members.len() == limit as usize {
                    return None;
                }
                members.extend(self.name(value));
            }
        }
        members.sort_unstable();
        members.dedup();
        Some(members)
    }

    /// The names of the groups that an entry is in, as the groups spell theirs, ascending. A group counts where the types that
    /// make the entry a member are in `allowed`.
    pub fn of(&self, dn: &str, allowed: &AttributeSet, tail: &TailMembers) -> Vec<&'a str> {
        let mut names = Vec::new();
        let types = self.types(allowed);
        let tail = tail.gathered.get_or_init(|| self.gather(&types));
        for id in &types {
            let holders = self.holders(*id, dn, tail);
            names.extend(holders.into_iter().map(|at| self.snapshot.record(at).dn()));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The visible entries that have a name as a value of an attribute type the view sees in them.
    fn holders(&self, id: AttributeId, dn: &str, tail: &TailNames) -> Vec<Location> {
        let mut holders = Vec::new();
        let mut value = Vec::new();
        let rule = self.schema.attribute(id).equality;
        if rule.is_none_or(|rule| rule.normalize(self.schema, dn.as_bytes(), &mut value).is_err()) {
            return holders;
        }
        for (layer, within) in (0u32..).zip(&self.snapshot.layers) {
            holders_in_layer(within, id, &value, |id| holders.push(Location::Layer { layer, id }));
        }
        holders.extend(tail.get(&(id, value)).into_iter().flatten());
        holders.retain(|at| self.counts(*at, id));
        holders
    }

    /// Whether the view may see an entry, and this attribute of it.
    fn counts(&self, at: Location, id: AttributeId) -> bool {
        let record = self.snapshot.record(at);
        self.view.covers(&self.snapshot.key(at))
            && !self.view.hides(record, self.schema)
            && !self.view.hides_attribute(record, id, self.schema)
    }

    /// The attribute types that make a member, subtypes included, as far as they are in `allowed`.
    fn types(&self, allowed: &AttributeSet) -> SmallVec<[AttributeId; 2]> {
        let named = ["member", "uniqueMember"].into_iter();
        let found = named.filter_map(|name| self.schema.find_attribute(name));
        let with_subtypes = found.flat_map(|id| self.schema.attribute(id).subtypes.iter().copied());
        with_subtypes.filter(|id| allowed.contains(*id)).collect()
    }

    /// A value that is no name is nobody.
    fn name(&self, value: &[u8]) -> Option<NormalizedDn> {
        let dn = Dn::parse(std::str::from_utf8(value).ok()?).ok()?;
        self.schema.normalize_dn(&dn).ok()
    }

    /// What an index would say of the tail, and of layers whose index of a type was taken away by configuration.
    fn gather(&self, types: &[AttributeId]) -> TailNames {
        let mut gathered = TailNames::new();
        for index in 0..self.snapshot.tail.len() as u32 {
            self.gather_entry(Location::Tail { index }, types, &mut gathered);
        }
        for (layer, within) in (0u32..).zip(&self.snapshot.layers) {
            let without: SmallVec<[AttributeId; 2]> =
                types.iter().copied().filter(|id| !is_indexed(within, *id)).collect();
            if without.is_empty() {
                continue;
            }
            let ids = (0..within.segment.len()).map(EntryId);
            for id in ids.filter(|id| !within.hidden.contains(*id)) {
                self.gather_entry(Location::Layer { layer, id }, &without, &mut gathered);
            }
        }
        gathered
    }

    fn gather_entry(&self, at: Location, types: &[AttributeId], gathered: &mut TailNames) {
        let record = self.snapshot.record(at);
        for attribute in record.attributes().filter(|attribute| types.contains(&attribute.id)) {
            let Some(rule) = self.schema.attribute(attribute.id).equality else {
                continue;
            };
            for value in attribute.values() {
                let mut normalized = Vec::with_capacity(value.len());
                if rule.normalize(self.schema, value, &mut normalized).is_ok() {
                    gathered.entry((attribute.id, normalized)).or_default().push(at);
                }
            }
        }
    }
}

/// Whether a layer's index says who has a value: one of presence alone has an empty dictionary.
fn is_indexed(layer: &Layer, id: AttributeId) -> bool {
    let index = layer.segment.index(id);
    index.is_some_and(|index| !index.dictionary.is_empty() || index.presence.lists() == 0)
}

fn holders_in_layer(layer: &Layer, attribute: AttributeId, value: &[u8], mut each: impl FnMut(EntryId)) {
    let Some(index) = layer.segment.index(attribute) else {
        return;
    };
    let Some(ordinal) = index.dictionary.find(value) else {
        return;
    };
    let mut cursor = PostingCursor::new(index.postings.list(ordinal));
    while let Some(id) = cursor.next(index.postings) {
        if !layer.hidden.contains(id) {
            each(id);
        }
    }
}
