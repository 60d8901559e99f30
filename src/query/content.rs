//! Whether one entry, out of no snapshot, is what a search would give: for following changes.

use super::cursor::effort;
use super::evaluate::{Candidate, Evaluator};
use super::scope::Scope;
use super::{Predicate, Query, Truth, Work};
use crate::schema::{NormalizedDn, Schema};
use crate::store::Record;

/// The content that a query describes. Order, resume point and limits do not matter here.
pub struct Content {
    scope: Scope,
    predicate: Predicate,
    evaluator: Evaluator,
    /// Work that evaluating one entry takes.
    effort: u32,
}

impl Content {
    pub fn new(mut query: Query) -> Content {
        (query.after, query.base_at) = (None, None);
        Content {
            scope: Scope::new(&mut query),
            effort: effort(&query.predicate),
            predicate: query.predicate,
            evaluator: Evaluator::default(),
        }
    }

    /// Whether the entry with this key belongs to the content; `None` where the work is used up: ask again for the same entry, whose
    /// record has not moved.
    pub fn holds(&mut self, key: &NormalizedDn, record: Record<'_>, schema: &Schema, work: &mut Work) -> Option<bool> {
        let depth = u8::try_from(key.depth()).unwrap_or(u8::MAX);
        let candidate = Candidate { record, key: &key.0 };
        if !self.scope.covers(&key.0, depth) {
            return Some(false);
        }
        work.left = work.left.saturating_sub(self.effort);
        let truth = self
            .evaluator
            .truth_within(&self.predicate, candidate, schema, work.left);
        work.left = work.left.saturating_sub(self.evaluator.take_spent());
        Some(truth? == Truth::True)
    }
}
