//! Whether one entry, out of no snapshot, is what a search would give: for following changes.

use super::evaluate::{Candidate, Evaluator};
use super::scope::Scope;
use super::{Predicate, Query, Truth};
use crate::schema::{NormalizedDn, Schema};
use crate::store::Record;

/// The content that a query describes. Order, resume point and limits do not matter here.
pub struct Content {
    scope: Scope,
    predicate: Predicate,
    evaluator: Evaluator,
}

impl Content {
    pub fn new(mut query: Query) -> Content {
        (query.after, query.base_at) = (None, None);
        Content {
            scope: Scope::new(&mut query),
            predicate: query.predicate,
            evaluator: Evaluator::default(),
        }
    }

    /// Whether the entry with this key belongs to the content.
    pub fn holds(&mut self, key: &NormalizedDn, record: Record<'_>, schema: &Schema) -> bool {
        let depth = u8::try_from(key.depth()).unwrap_or(u8::MAX);
        let candidate = Candidate { record, key: &key.0 };
        self.scope.covers(&key.0, depth) && self.evaluator.truth(&self.predicate, candidate, schema) == Truth::True
    }
}
