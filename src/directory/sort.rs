//! Server-side sorting (RFC 2891): the least entries of a search by its sort keys, gathered before the first is given.
//!
//! Invariants: a sort looks only at values that the view may search and read, so an order tells nothing that a search could
//! not; entries with equal keys come by name; where a page or a size limit bounds what is given, no more than that is kept.

use super::{Directory, Session};
use crate::access::View;
use crate::model::{Outcome, ResultCode};
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, MatchingRule, NormalizedDn, Schema};
use crate::store::record::derived_values;
use crate::store::{Location, Record, Snapshot};
use std::collections::BinaryHeap;

/// One key of a sort as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortKey<'a> {
    pub attribute: &'a str,
    /// An ordering rule; `None` is the attribute's own.
    pub rule: Option<&'a str>,
    pub reverse: bool,
}

/// A sort as asked.
#[derive(Clone, Copy, Debug)]
pub struct SortRequest<'a> {
    pub keys: &'a [SortKey<'a>],
    /// Whether the search fails where it cannot be sorted.
    pub critical: bool,
}

/// Why a search cannot be sorted: a result code of RFC 2891 section 1.2, and by which attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SortFault {
    pub code: ResultCode,
    pub attribute: String,
}

/// Entries kept for one sort.
const SORTED_ENTRIES_LIMIT: usize = 100_000;
/// Octets of sort keys kept for one sort.
const SORTED_OCTETS_LIMIT: usize = 64 << 20;

/// A sort key that can be used.
struct Key {
    types: Vec<AttributeId>,
    rule: MatchingRule,
    reverse: bool,
}

/// An entry and the octets it is sorted by, which end with its name: no two are equal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Sorted {
    octets: Vec<u8>,
    at: At,
}

/// A location is not ordered; it need not be, because octets differ.
#[derive(PartialEq, Eq)]
struct At(Location);

impl PartialOrd for At {
    fn partial_cmp(&self, other: &At) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, _: &At) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// A sort under way.
pub(super) struct Sorting {
    keys: Vec<Key>,
    /// Octets that were given last on the page before.
    after: Option<Vec<u8>>,
    /// More entries than these cannot be given.
    wanted: usize,
    kept: BinaryHeap<Sorted>,
    kept_octets: usize,
    normalized: Vec<u8>,
    /// Once everything is gathered: what is to be given, the next one last.
    ready: Option<Vec<Sorted>>,
    /// The octets of the entry that came last, and of the one that was given last.
    current: Vec<u8>,
    last: Option<Vec<u8>>,
}

/// The keys that a view may sort by.
fn resolve(keys: &[SortKey<'_>], schema: &Schema, view: &View) -> Result<Vec<Key>, SortFault> {
    keys.iter().map(|key| resolve_key(key, schema, view)).collect()
}

impl Directory {
    /// Why the session may not sort by these keys.
    pub fn sort_fault(&self, session: &Session, keys: &[SortKey<'_>]) -> Option<SortFault> {
        resolve(keys, &self.schema, &session.view).err()
    }

    /// A sorted search resumes after the sort key of the entry before, not after its name. One that cannot be sorted goes on
    /// unsorted where the sort was not critical.
    pub(super) fn sorting(
        &self,
        session: &Session,
        asked: Option<SortRequest<'_>>,
        wanted: u32,
        resume: Option<NormalizedDn>,
    ) -> Result<(Option<Sorting>, Option<NormalizedDn>), Outcome> {
        let Some(asked) = asked else {
            return Ok((None, resume));
        };
        let after = resume.as_ref().map(|resume| resume.0.clone());
        match Sorting::new(asked.keys, &self.schema, &session.view, wanted, after) {
            Ok(sorting) => Ok((Some(sorting), None)),
            Err(_) if !asked.critical => Ok((None, resume)),
            Err(fault) => Err(Outcome::new(
                ResultCode::UnavailableCriticalExtension,
                format!("the search cannot be sorted by {}", fault.attribute),
            )),
        }
    }
}

fn resolve_key(key: &SortKey<'_>, schema: &Schema, view: &View) -> Result<Key, SortFault> {
    let fault = |code| SortFault {
        code,
        attribute: key.attribute.to_owned(),
    };
    let id = schema
        .find_attribute(key.attribute)
        .ok_or_else(|| fault(ResultCode::NoSuchAttribute))?;
    let seen = |id: &AttributeId| view.searchable.contains(*id) && view.releasable.contains(*id);
    if !seen(&id) {
        return Err(fault(ResultCode::InsufficientAccessRights));
    }
    let known = schema.well_known();
    if [known.has_subordinates, known.num_subordinates, known.member_of].contains(&id) {
        return Err(fault(ResultCode::UnwillingToPerform));
    }
    let attribute = schema.attribute(id);
    let fits = |rule: &MatchingRule| {
        let own = [attribute.equality, attribute.ordering].into_iter().flatten();
        rule.comparison() == Comparison::Ordering
            && own
                .into_iter()
                .any(|own| own.shares_form(*rule) || (own.is_text() && rule.is_text()))
    };
    let rule = match key.rule {
        Some(name) => schema.find_rule(name).filter(fits),
        // Many types have no ordering rule of their own, cn and mobile among them: their prepared form is in order all the same.
        None => attribute
            .ordering
            .or(attribute.equality.filter(|rule| has_order(*rule))),
    };
    Ok(Key {
        types: attribute.subtypes.iter().copied().filter(seen).collect(),
        rule: rule.ok_or_else(|| fault(ResultCode::InappropriateMatching))?,
        reverse: key.reverse,
    })
}

fn has_order(equality: MatchingRule) -> bool {
    equality.is_text() || equality == MatchingRule::TelephoneNumber
}

/// What became of an entry to sort.
pub(super) enum Taken {
    Kept,
    /// There are too many.
    Limit,
}

impl Sorting {
    /// `wanted` entries at most are given, one more tells that there are more; `after` is where the page before ended.
    pub(super) fn new(
        keys: &[SortKey<'_>],
        schema: &Schema,
        view: &View,
        wanted: u32,
        after: Option<Vec<u8>>,
    ) -> Result<Sorting, SortFault> {
        Ok(Sorting {
            keys: resolve(keys, schema, view)?,
            after,
            wanted: (wanted as usize).saturating_add(1),
            kept: BinaryHeap::new(),
            kept_octets: 0,
            normalized: Vec::new(),
            ready: None,
            current: Vec::new(),
            last: None,
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Takes one matching entry.
    pub(super) fn take(&mut self, snapshot: &Snapshot, at: Location, schema: &Schema, view: &View) -> Taken {
        let octets = self.octets(snapshot.record(at), &snapshot.key(at), schema, view);
        if self.after.as_ref().is_some_and(|after| octets <= *after) {
            return Taken::Kept;
        }
        self.kept_octets += octets.len();
        self.kept.push(Sorted { octets, at: At(at) });
        if self.kept.len() > self.wanted
            && let Some(greatest) = self.kept.pop()
        {
            self.kept_octets -= greatest.octets.len();
        }
        if self.kept.len() > SORTED_ENTRIES_LIMIT || self.kept_octets > SORTED_OCTETS_LIMIT {
            return Taken::Limit;
        }
        Taken::Kept
    }

    /// Everything was taken.
    pub(super) fn finish(&mut self) {
        let mut ready = std::mem::take(&mut self.kept).into_sorted_vec();
        ready.reverse();
        self.ready = Some(ready);
    }

    pub(super) fn next(&mut self) -> Option<Location> {
        let next = self.ready.as_mut()?.pop()?;
        self.current = next.octets;
        Some(next.at.0)
    }

    /// The entry that came last was given.
    pub(super) fn given(&mut self) {
        self.last = Some(self.current.clone());
    }

    /// Where the next page begins.
    pub(super) fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// The octets an entry is sorted by: for each key a mark and the value, all of it inverted where the order is reversed.
    /// No value is greater than all values (RFC 2891 section 2.2).
    fn octets(&mut self, record: Record<'_>, name: &NormalizedDn, schema: &Schema, view: &View) -> Vec<u8> {
        let mut octets = Vec::with_capacity(64 + name.0.len());
        for key in &self.keys {
            let from = octets.len();
            match least(key, record, schema, view, &mut self.normalized) {
                Some(value) => {
                    octets.push(1);
                    for octet in value {
                        octets.push(octet);
                        // So that the end of a value comes before all that could follow.
                        if octet == 0 {
                            octets.push(0xff);
                        }
                    }
                    octets.extend_from_slice(&[0, 0]);
                }
                None => octets.push(2),
            }
            if key.reverse {
                octets.iter_mut().skip(from).for_each(|octet| *octet = !*octet);
            }
        }
        octets.extend_from_slice(&name.0);
        octets
    }
}

/// The least value of a key's types that the view may see.
fn least(key: &Key, record: Record<'_>, schema: &Schema, view: &View, normalized: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut least: Option<Vec<u8>> = None;
    let mut take = |value: &[u8]| {
        normalized.clear();
        let prepared = key.rule.normalize(schema, value, normalized).is_ok();
        if prepared && least.as_ref().is_none_or(|least| *normalized < *least) {
            least = Some(normalized.clone());
        }
    };
    for id in key
        .types
        .iter()
        .filter(|id| !view.hides_attribute(record, **id, schema))
    {
        let stored = record.attributes().filter(|attribute| attribute.id == *id);
        stored.for_each(|attribute| attribute.values().for_each(&mut take));
        derived_values(record, schema, *id, &mut take);
    }
    least
}
