//! What left a content since a client was here last, where the feed does not reach so far back: the delete phase after a restart.
//!
//! Of an entry that changed it is known what it is, not what it was. So every changed entry that the client may see, and that is not
//! of the content, is said to be gone: a client passes over what it never had. Of an entry that a view hides nobody can say whether
//! it was hidden before, so a view that hides entries has no delete phase here, whatever changed.
//!
//! Invariant: only UUIDs are told, and only of entries that the view showed where they were or shows where they are.

use super::contents::Contents;
use super::{Directory, IDS_AT_ONCE, Position, Sync, SyncMessage, SyncStep};
use crate::access::View;
use crate::model::{Filter, SearchScope};
use crate::query::{Advance, CandidateLimit, Cursor, Order, Predicate, Query, Work, compile};
use crate::schema::{NormalizedDn, Schema};
use crate::store::record::csn_text;
use crate::store::{Deletion, Snapshot};
use std::collections::HashSet;
use std::sync::Arc;

/// The search for what left. Everything that changed is looked at, wherever it lies.
pub(super) struct Left {
    cursor: Box<Cursor>,
    snapshot: Arc<Snapshot>,
    /// Of entries that went from a name that the view covers; those that are of the content all the same are taken out.
    deleted: HashSet<[u8; 16]>,
    telling: Vec<[u8; 16]>,
    is_over: bool,
}

/// Entries that changed after a position.
pub(super) fn changed_since(schema: &Schema, since: Position) -> Predicate {
    let csn = csn_text(since.0.saturating_add(1));
    let filter = Filter::GreaterOrEqual {
        attribute: "entryCSN".into(),
        value: csn.into_bytes().into(),
    };
    compile(&filter, schema, &View::for_subschema(schema))
}

impl Left {
    pub(super) fn new(view: &View, snapshot: Arc<Snapshot>, since: Position, deletions: Vec<Deletion>) -> Left {
        let everything = Query {
            base: NormalizedDn::default(),
            base_at: None,
            scope: SearchScope::WholeSubtree,
            predicate: changed_since(snapshot.schema(), since),
            order: Order::Any,
            after: None,
            within: Arc::new([NormalizedDn::default()]),
            without: Arc::new([]),
            candidate_limit: CandidateLimit::default(),
        };
        let deletions = deletions.into_iter().filter(|deletion| view.covers(&deletion.key));
        Left {
            cursor: Box::new(Cursor::open(snapshot.clone(), everything)),
            snapshot,
            deleted: deletions.map(|deletion| deletion.entry.entry_uuid).collect(),
            telling: Vec::new(),
            is_over: false,
        }
    }

    /// The next UUIDs to tell; `None` where the work is used up. Empty at the end.
    fn next(&mut self, view: &View, content: &mut Contents, work: &mut Work) -> Option<Vec<[u8; 16]>> {
        while !self.is_over && self.telling.len() < IDS_AT_ONCE {
            match self.cursor.advance(work) {
                Advance::Paused => return None,
                Advance::Entry(at) => {
                    work.left = work.left.saturating_sub(1);
                    let (record, key) = (self.snapshot.record(at), self.snapshot.key(at));
                    let entry_uuid = record.operational().entry_uuid;
                    let is_there = content.shape(&key, record, self.snapshot.schema()).is_some();
                    if is_there {
                        self.deleted.remove(&entry_uuid);
                    } else if view.covers(&key) && !self.deleted.contains(&entry_uuid) {
                        self.telling.push(entry_uuid);
                    }
                }
                // It has none.
                Advance::CandidateLimit | Advance::End => {
                    self.is_over = true;
                    self.telling.extend(self.deleted.drain());
                }
            }
        }
        let rest = self.telling.len().min(IDS_AT_ONCE);
        Some(self.telling.drain(..rest).collect())
    }
}

impl Directory {
    /// Where a client that has a content as it was at `since` can be told what left it.
    pub(super) fn what_left(
        &self,
        view: &View,
        snapshot: &Arc<Snapshot>,
        since: Position,
        until: Position,
    ) -> Option<Left> {
        if !view.hiding.entries().is_empty() {
            return None;
        }
        let deletions = self.store.deletions(since.0, until.0)?;
        Some(Left::new(view, snapshot.clone(), since, deletions))
    }
}

impl Sync {
    /// Tells what left. `Ok(true)`: on to what is there.
    pub(super) fn tell_left(
        &mut self,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        loop {
            let super::Stage::Left { left, .. } = &mut self.stage else {
                return Ok(true);
            };
            match left.next(&self.session.view, &mut self.content, work) {
                None => return Ok(false),
                Some(gone) if gone.is_empty() => break,
                Some(gone) if !emit(SyncMessage::Gone(&gone)) => return Ok(false),
                Some(_) => {}
            }
        }
        let over = std::mem::replace(&mut self.stage, super::Stage::Refreshed { deletes: true });
        if let super::Stage::Left { then, .. } = over {
            self.stage = *then;
        }
        Ok(true)
    }
}
