//! Attributes that are in no record because they follow from the rest of the directory: memberOf, hasSubordinates and
//! numSubordinates.
//!
//! Invariants: they follow from what the view may see; an entry that is hidden is counted nowhere and makes nobody a member.

use super::compile::hidden_entries;
use super::membership::{Groups, TailMembers};
use super::{Advance, Candidate, Cursor, Order, Query, Work};
use crate::access::View;
use crate::model::SearchScope;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::Snapshot;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The directory around an entry, as one view sees it.
pub struct Surroundings {
    snapshot: Arc<Snapshot>,
    schema: Arc<Schema>,
    view: View,
    tail: TailMembers,
}

/// Whether the values of a type are computed here.
pub fn is_computed(schema: &Schema, id: AttributeId) -> bool {
    let known = schema.well_known();
    [known.has_subordinates, known.num_subordinates, known.member_of].contains(&id)
}

impl Surroundings {
    pub fn new(groups: Groups<'_>) -> Surroundings {
        Surroundings {
            snapshot: Arc::new(groups.snapshot.clone()),
            schema: Arc::clone(groups.schema),
            view: groups.view.clone(),
            tail: TailMembers::default(),
        }
    }

    /// The values of a computed type, as far as what the view may search decides them.
    pub fn values(&self, id: AttributeId, candidate: Candidate<'_>, each: &mut dyn FnMut(&[u8])) {
        let known = self.schema.well_known();
        if id == known.member_of {
            let groups = Groups {
                snapshot: &self.snapshot,
                schema: &self.schema,
                view: &self.view,
                collective: None,
            };
            let names = groups.of(candidate.record.dn(), &self.view.searchable, &self.tail);
            names.iter().for_each(|name| each(name.as_bytes()));
            return;
        }
        let key = NormalizedDn(candidate.key.to_vec());
        let subordinates = Subordinates {
            snapshot: &self.snapshot,
            schema: &self.schema,
            view: &self.view,
        };
        if id == known.has_subordinates {
            each(subordinates.any_text(&key).as_bytes());
        } else if id == known.num_subordinates {
            each(subordinates.count(&key).to_string().as_bytes());
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// One is made for a filter, so its address says which it is.
impl PartialEq for Surroundings {
    fn eq(&self, other: &Surroundings) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Surroundings {}

impl Hash for Surroundings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

/// The entries directly below others.
#[derive(Clone, Copy)]
pub struct Subordinates<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    pub schema: &'a Arc<Schema>,
    pub view: &'a View,
}

impl Subordinates<'_> {
    /// The value of hasSubordinates.
    pub fn any_text(&self, key: &NormalizedDn) -> &'static str {
        let any = self.snapshot.children(key, 1) > 0
            && match self.unseen(key) {
                0 => true,
                unseen => self.snapshot.children(key, unseen + 1) > unseen,
            };
        if any { "TRUE" } else { "FALSE" }
    }

    /// The value of numSubordinates.
    pub fn count(&self, key: &NormalizedDn) -> u64 {
        match self.snapshot.children(key, u64::MAX) {
            0 => 0,
            all => all.saturating_sub(self.unseen(key)),
        }
    }

    /// The entries directly below that the view may not see: a count of all would tell of them.
    fn unseen(&self, key: &NormalizedDn) -> u64 {
        let below =
            |subtree: &&NormalizedDn| subtree.parent().as_ref() == Some(key) && self.snapshot.find(subtree).is_some();
        let excluded = self.view.excluded.iter().filter(below).count() as u64;
        if self.view.hiding.entries().is_empty() {
            return excluded;
        }
        let query = Query {
            base_at: None,
            base: key.clone(),
            scope: SearchScope::SingleLevel,
            predicate: hidden_entries(self.schema, self.view),
            order: Order::Any,
            after: None,
            within: Arc::new([NormalizedDn::default()]),
            without: self.view.excluded.clone(),
            candidate_limit: 0,
        };
        let mut cursor = Cursor::open(self.snapshot.clone(), query);
        let mut hidden = 0;
        loop {
            match cursor.advance(&mut Work { left: u32::MAX }) {
                Advance::Entry(_) => hidden += 1,
                Advance::Paused => {}
                Advance::End | Advance::CandidateLimit => return excluded + hidden,
            }
        }
    }
}
