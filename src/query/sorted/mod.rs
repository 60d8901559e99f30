//! In which order? Sort keys (RFC 2891), and the ways to give matching entries by them.
//!
//! Useful for: comparing entries by sort keys ([`SortKeys`]), keeping the least of many ([`Gathering`]), walking the values of
//! the first key in order ([`Walk`]), and the whole order of a search as one list ([`ListBuilder`], and [`ListUpdate`] for one of
//! another snapshot). Not for: which attributes
//! a client may name, pages, the wire.
//!
//! Invariants: only values that the view may see count; the least value of an attribute is the one that sorts; entries
//! without one come last, or first where the order is reversed; equal keys are in the order of names; each way gives the
//! same order.

mod build;
mod gather;
mod list;
mod merge;
mod room;
mod update;
mod walk;

pub use build::{ListBuilder, Listing};
pub use gather::{Gathering, Taken};
pub use list::SortedList;
pub use room::{Room, SortMemory};
pub use update::ListUpdate;
pub use walk::{Walk, WalkStep};

use crate::access::View;
use crate::schema::{AttributeId, MatchingRule, Schema};
use crate::store::record::derived_values;
use crate::store::{Layer, Location, Record, Snapshot};
use std::cmp::Ordering;
use std::sync::Arc;

/// One key of a sort: the attribute types that the view may see, and the rule that orders their values.
pub struct Key {
    pub types: Vec<AttributeId>,
    pub rule: MatchingRule,
    pub reverse: bool,
}

/// The keys of one sort, first first.
pub struct SortKeys {
    pub keys: Vec<Key>,
    pub schema: Arc<Schema>,
    pub view: Arc<View>,
}

/// Marks before a value, and where there is none: no value is greater than all values (RFC 2891 section 2.2).
const VALUE: u8 = 1;
const NO_VALUE: u8 = 2;

/// Where in the order of its first key an entry stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstKey {
    Value(Vec<u8>),
    Missing,
}

impl SortKeys {
    /// The octets an entry is sorted by, which end with its name: no two are equal.
    pub fn octets(&self, snapshot: &Snapshot, at: Location) -> Vec<u8> {
        let mut octets = Vec::with_capacity(128);
        self.append_values(snapshot, at, &mut octets);
        octets.extend_from_slice(&snapshot.key(at).0);
        octets
    }

    /// How an entry's octets compare with these. Its name is looked up only where its values leave it open.
    fn compare(&self, snapshot: &Snapshot, at: Location, octets: &[u8], values: &mut Vec<u8>) -> Ordering {
        values.clear();
        self.append_values(snapshot, at, values);
        let (begin, rest) = octets.split_at_checked(values.len()).unwrap_or((octets, &[]));
        let by_values = values.as_slice().cmp(begin);
        by_values.then_with(|| snapshot.key(at).0.as_slice().cmp(rest))
    }

    /// The octets without the name at their end.
    fn append_values(&self, snapshot: &Snapshot, at: Location, octets: &mut Vec<u8>) {
        let record = snapshot.record(at);
        for key in &self.keys {
            let least = key.least(record, &self.schema, &self.view);
            key.append(least.as_deref(), octets);
        }
    }

    /// The first octets of an entry whose first key has this value; `None` where that is no value of the rule.
    pub fn first_octets(&self, assertion: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let (mut value, mut octets) = (Vec::new(), Vec::new());
        // What was typed so far may be nothing, which is no value of many syntaxes: it comes before all.
        if !assertion.is_empty() {
            key.rule.normalize(&self.schema, assertion, &mut value).ok()?;
        }
        key.append(Some(&value), &mut octets);
        Some(octets)
    }

    /// The first key's value in an entry's octets, and the octets behind it.
    fn split<'o>(&self, octets: &'o [u8]) -> (FirstKey, &'o [u8]) {
        let invert = match self.keys.first() {
            Some(key) if key.reverse => 0xff,
            _ => 0,
        };
        let mut read = octets.iter().map(|octet| octet ^ invert);
        if read.next() != Some(VALUE) {
            return (FirstKey::Missing, octets.get(1..).unwrap_or_default());
        }
        let mut value = Vec::new();
        while let Some(octet) = read.next() {
            if octet == 0 && read.next() != Some(0xff) {
                break;
            }
            value.push(octet);
        }
        let rest = read.len();
        (
            FirstKey::Value(value),
            octets.get(octets.len() - rest..).unwrap_or_default(),
        )
    }

    /// Whether the values of the first key can be walked in order: every layer has an index of them in the rule's form, and
    /// the view hides none of them in some entries only.
    pub fn is_walkable(&self, snapshot: &Snapshot) -> bool {
        self.is_walkable_in(&snapshot.layers)
    }

    fn is_walkable_in(&self, layers: &[Layer]) -> bool {
        let Some(key) = self.keys.first() else {
            return false;
        };
        key.types.iter().all(|id| {
            let equality = self.schema.attribute(*id).equality;
            equality.is_some_and(|equality| equality.shares_form(key.rule))
                && !self.view.hiding.attributes().iter().any(|(hidden, _)| hidden == id)
                && layers.iter().all(|layer| layer.segment.index(*id).is_some())
        })
    }

    fn is_reverse(&self) -> bool {
        self.keys.first().is_some_and(|key| key.reverse)
    }
}

impl Key {
    /// For each key a mark and the value, all of it inverted where the order is reversed.
    fn append(&self, value: Option<&[u8]>, octets: &mut Vec<u8>) {
        let from = octets.len();
        match value {
            Some(value) => {
                octets.push(VALUE);
                for octet in value {
                    octets.push(*octet);
                    // So that the end of a value comes before all that could follow.
                    if *octet == 0 {
                        octets.push(0xff);
                    }
                }
                octets.extend_from_slice(&[0, 0]);
            }
            None => octets.push(NO_VALUE),
        }
        if self.reverse {
            octets.iter_mut().skip(from).for_each(|octet| *octet = !*octet);
        }
    }

    /// The least value of the key's types that the view may see.
    fn least(&self, record: Record<'_>, schema: &Schema, view: &View) -> Option<Vec<u8>> {
        let mut least: Option<Vec<u8>> = None;
        let mut normalized = Vec::new();
        let mut take = |value: &[u8]| {
            normalized.clear();
            let prepared = self.rule.normalize(schema, value, &mut normalized).is_ok();
            match &mut least {
                Some(least) if prepared && normalized < *least => std::mem::swap(least, &mut normalized),
                None if prepared => least = Some(std::mem::take(&mut normalized)),
                _ => {}
            }
        };
        let types = self.types.iter();
        for id in types.filter(|id| !view.hides_attribute(record, **id, schema)) {
            let stored = record.attributes().filter(|attribute| attribute.id == *id);
            stored.for_each(|attribute| attribute.values().for_each(&mut take));
            derived_values(record, schema, *id, &mut take);
        }
        least
    }
}
