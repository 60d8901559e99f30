//! Attributes that are in no record because they follow from the rest of the directory, memberOf, hasSubordinates and
//! numSubordinates, or because they are kept beside the entries: the state of a password.
//!
//! Invariants: they follow from what the view may see; an entry that is hidden is counted nowhere and makes nobody a member.

use super::compile::hidden_entries;
use super::membership::{Groups, TailMembers};
use super::{Advance, Candidate, CandidateLimit, Cursor, Order, Query, Work};
use crate::access::View;
use crate::model::SearchScope;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::Snapshot;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is kept beside entries in another place: whoever keeps it says which values of these types that comes to.
pub trait KeptBeside: Send + Sync {
    /// The values that the entry under `key` has of a type, now.
    fn values(&self, id: AttributeId, key: &NormalizedDn, each: &mut dyn FnMut(&[u8]));
}

/// The directory around an entry, as one view sees it.
pub struct Surroundings {
    snapshot: Arc<Snapshot>,
    schema: Arc<Schema>,
    view: View,
    tail: TailMembers,
    kept: Option<Arc<dyn KeptBeside>>,
}

/// Whether the values of a type are computed here.
pub fn is_computed(schema: &Schema, id: AttributeId) -> bool {
    let known = schema.well_known();
    [known.has_subordinates, known.num_subordinates, known.member_of].contains(&id) || is_kept(schema, id)
}

/// Whether they are kept beside the entries.
pub fn is_kept(schema: &Schema, id: AttributeId) -> bool {
    let known = schema.well_known();
    let kept = [
        known.password_changed,
        known.password_locked,
        known.password_reset,
        known.password_failures,
        known.password_success,
        known.password_grace,
        known.password_delayed,
    ];
    kept.contains(&id)
}

impl Surroundings {
    pub fn new(groups: Groups<'_>) -> Surroundings {
        Surroundings {
            snapshot: Arc::new(groups.snapshot.clone()),
            schema: Arc::clone(groups.schema),
            view: groups.view.clone(),
            tail: TailMembers::default(),
            kept: groups.kept.cloned(),
        }
    }

    /// The values of a computed type, as far as what the view may search decides them. Gives the work it took.
    pub fn values(&self, id: AttributeId, candidate: Candidate<'_>, each: &mut dyn FnMut(&[u8])) -> u32 {
        let known = self.schema.well_known();
        if id == known.member_of {
            let groups = Groups {
                snapshot: &self.snapshot,
                schema: &self.schema,
                view: &self.view,
                collective: None,
                kept: None,
            };
            let names = groups.of(candidate.record.dn(), &self.view.searchable, &self.tail);
            names.iter().for_each(|name| each(name.as_bytes()));
            return 0;
        }
        let key = NormalizedDn(candidate.key.to_vec());
        if is_kept(&self.schema, id) {
            self.kept.iter().for_each(|kept| kept.values(id, &key, each));
            return KEPT_WORK;
        }
        let subordinates = Subordinates {
            snapshot: &self.snapshot,
            schema: &self.schema,
            view: &self.view,
        };
        if id == known.has_subordinates {
            let (any, work) = subordinates.any_text(&key);
            each(any.as_bytes());
            work
        } else if id == known.num_subordinates {
            let (count, work) = subordinates.count(&key);
            each(count.to_string().as_bytes());
            work
        } else {
            0
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

/// Work that it is to ask what is kept beside one entry.
const KEPT_WORK: u32 = 4;

/// Entries directly below one that are counted for one unit of work.
const COUNTED_A_UNIT: u64 = 256;

/// The entries directly below others.
#[derive(Clone, Copy)]
pub struct Subordinates<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    pub schema: &'a Arc<Schema>,
    pub view: &'a View,
}

impl Subordinates<'_> {
    /// The value of hasSubordinates, and the work it took.
    pub fn any_text(&self, key: &NormalizedDn) -> (&'static str, u32) {
        if self.snapshot.children(key, 1) == 0 {
            return ("FALSE", 0);
        }
        match self.unseen(key) {
            (0, work) => ("TRUE", work),
            (unseen, work) if self.snapshot.children(key, unseen + 1) > unseen => ("TRUE", work),
            (_, work) => ("FALSE", work),
        }
    }

    /// The value of numSubordinates, and the work it took.
    pub fn count(&self, key: &NormalizedDn) -> (u64, u32) {
        match self.snapshot.children(key, u64::MAX) {
            0 => (0, 0),
            all => {
                let (unseen, work) = self.unseen(key);
                let counting = u32::try_from(all / COUNTED_A_UNIT).unwrap_or(u32::MAX);
                (all.saturating_sub(unseen), work.saturating_add(counting))
            }
        }
    }

    /// The entries directly below that the view may not see, for a count of all would tell of them; and the work it took.
    fn unseen(&self, key: &NormalizedDn) -> (u64, u32) {
        let below =
            |subtree: &&NormalizedDn| subtree.parent().as_ref() == Some(key) && self.snapshot.find(subtree).is_some();
        let excluded = self.view.excluded.iter().filter(below).count() as u64;
        if self.view.hiding.entries().is_empty() {
            return (excluded, 0);
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
            candidate_limit: CandidateLimit::default(),
        };
        let mut cursor = Cursor::open(self.snapshot.clone(), query);
        let (mut hidden, mut spent) = (0, 0u32);
        loop {
            let mut work = Work { left: u32::MAX };
            let advance = cursor.advance(&mut work);
            spent = spent.saturating_add(u32::MAX - work.left);
            match advance {
                Advance::Entry(_) => hidden += 1,
                Advance::Paused => {}
                Advance::End | Advance::CandidateLimit => return (excluded + hidden, spent),
            }
        }
    }
}
