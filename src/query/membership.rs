//! Who is in which group: `member` and `uniqueMember` values read in both directions, never a copy of them.
//!
//! Invariants: a group counts only where the view may see it and the values that make it one; a group that may not be seen
//! and a group that is not there are the same.

use crate::access::{AttributeSet, View};
use crate::index::EntryId;
use crate::index::postings::PostingCursor;
use crate::model::Dn;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Layer, Location, Record, Snapshot};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Members of one group that a filter on memberOf follows.
pub const MEMBERS_LIMIT: usize = 20_000;

/// A filter named a group of more than [`MEMBERS_LIMIT`] members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "expected a group of at most {MEMBERS_LIMIT} members in a filter on memberOf; read the group's members instead"
)]
pub struct TooManyMembers;

/// The groups of one snapshot as one view sees them.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    pub snapshot: &'a Snapshot,
    pub schema: &'a Schema,
    pub view: &'a View,
}

/// The member values of a snapshot's tail, which has no index: gathered once for many entries.
#[derive(Default)]
pub struct TailMembers {
    gathered: Option<HashMap<(AttributeId, Vec<u8>), Vec<u32>>>,
}

impl<'a> Groups<'a> {
    /// The names of a group's members, ascending; none where the group is not there for the view. `None` where there are
    /// more than [`MEMBERS_LIMIT`].
    pub fn members(&self, group: &NormalizedDn) -> Option<Vec<NormalizedDn>> {
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
                if members.len() == MEMBERS_LIMIT {
                    return None;
                }
                members.extend(self.name(value));
            }
        }
        members.sort_unstable();
        members.dedup();
        Some(members)
    }

    /// The names of the groups that an entry is in, as the groups spell theirs, ascending.
    pub fn of(&self, entry: Record<'_>, tail: &mut TailMembers) -> Vec<&'a str> {
        let mut names = Vec::new();
        let mut value = Vec::new();
        for id in self.types(&self.view.releasable) {
            value.clear();
            let rule = self.schema.attribute(id).equality;
            let name = entry.dn().as_bytes();
            if rule.is_none_or(|rule| rule.normalize(self.schema, name, &mut value).is_err()) {
                continue;
            }
            let mut take = |at| names.extend(self.counted(at, id));
            for (layer, within) in (0u32..).zip(&self.snapshot.layers) {
                groups_in_layer(within, id, &value, |id| take(Location::Layer { layer, id }));
            }
            for index in tail.groups(self, id, &value) {
                take(Location::Tail { index: *index });
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The name of a group, where the view may see it and who is in it.
    fn counted(&self, at: Location, id: AttributeId) -> Option<&'a str> {
        let record = self.snapshot.record(at);
        let seen = self.view.covers(&self.snapshot.key(at)) && !self.view.hides(record, self.schema);
        (seen && !self.view.hides_attribute(record, id, self.schema)).then(|| record.dn())
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
}

fn groups_in_layer(layer: &Layer, attribute: AttributeId, value: &[u8], mut each: impl FnMut(EntryId)) {
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

impl TailMembers {
    /// The tail entries that have a value.
    fn groups(&mut self, groups: &Groups<'_>, attribute: AttributeId, value: &[u8]) -> &[u32] {
        let gathered = self.gathered.get_or_insert_with(|| gather(groups));
        gathered
            .get(&(attribute, value.to_vec()))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

fn gather(groups: &Groups<'_>) -> HashMap<(AttributeId, Vec<u8>), Vec<u32>> {
    let types = groups.types(&groups.view.releasable);
    let mut gathered: HashMap<_, Vec<u32>> = HashMap::new();
    for (index, entry) in (0u32..).zip(groups.snapshot.tail.iter()) {
        let record = Record::new(&entry.record, &groups.snapshot.tail_types);
        for attribute in record.attributes().filter(|attribute| types.contains(&attribute.id)) {
            let Some(rule) = groups.schema.attribute(attribute.id).equality else {
                continue;
            };
            for value in attribute.values() {
                let mut normalized = Vec::with_capacity(value.len());
                if rule.normalize(groups.schema, value, &mut normalized).is_ok() {
                    gathered.entry((attribute.id, normalized)).or_default().push(index);
                }
            }
        }
    }
    gathered
}
