//! A running search: a resumable stream of matching entries over one snapshot.

use super::{Advance, Plan, Query, Work};
use crate::schema::Schema;
use crate::store::Snapshot;
use std::sync::Arc;

pub struct Cursor {
    snapshot: Arc<Snapshot>,
}

impl Cursor {
    /// Plans the query against the snapshot and stands before the first entry. Does no work that grows with the directory.
    pub fn open(snapshot: Arc<Snapshot>, schema: Arc<Schema>, query: Query) -> Cursor {
        let _ = (schema, query);
        Cursor { snapshot }
    }

    pub fn plan(&self) -> &Plan {
        todo!()
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Each matching entry comes exactly once.
    pub fn advance(&mut self, work: &mut Work) -> Advance {
        let _ = work;
        todo!()
    }

    /// Candidates examined so far.
    pub fn candidates(&self) -> u64 {
        todo!()
    }
}
