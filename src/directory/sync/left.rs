//! What left a content since a client was here last, where the feed does not reach so far back: the delete phase after a restart.
//!
//! Of an entry that changed it is known what it is, not what it was. So every changed entry that the client may see, and that is not
//! of the content, is said to be gone: a client passes over what it never had. Of an entry that a view hides nobody can say whether
//! it was hidden before, so a view that hides entries has no delete phase here, whatever changed.
//!
//! What is there is told in the order of names. So that no entry meets a name that is still another's at the client, one whose
//! name before has a new owner is said to be gone, and comes again as new; with it whatever was below such a name, or below an entry
//! that is no more.
//!
//! Invariant: only UUIDs are told, and only of entries that the view showed where they were or shows where they are.

use super::contents::Contents;
use super::{Directory, IDS_AT_ONCE, Position, Sync, SyncMessage, SyncStep};
use crate::access::View;
use crate::model::{Filter, SearchScope};
use crate::query::{Advance, CandidateLimit, Cursor, Order, Predicate, Query, Work, compile};
use crate::schema::{NormalizedDn, Schema};
use crate::store::record::csn_text;
use crate::store::{Deletion, Location, Snapshot};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The search for what left. Everything that changed is looked at, wherever it lies.
pub(super) struct Left {
    cursor: Box<Cursor>,
    snapshot: Arc<Snapshot>,
    /// A changed entry that is being looked at.
    at_hand: Option<Location>,
    /// Entries that went from names that the view covers, ascending by the name that each had first.
    went: Vec<Went>,
    /// Where each of them is.
    place_of: HashMap<[u8; 16], usize>,
    stage: Stage,
    telling: Vec<[u8; 16]>,
}

/// An entry that went from a name.
struct Went {
    key: NormalizedDn,
    entry_uuid: [u8; 16],
    /// It is somewhere, under another name or the same again.
    is_somewhere: bool,
    /// And of the content.
    is_there: bool,
    /// It is said to be gone.
    is_told: bool,
}

enum Stage {
    /// Changed entries are looked at.
    Changed,
    /// Who has the name of this one by now is looked up. What was below the name of an entry that is no more, or below one that is
    /// another's, goes too.
    Names(usize, Option<NormalizedDn>),
    /// What went is told from this one down: subordinates first.
    Tell(usize),
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
        let went = first_names(view, deletions);
        let places = went.iter().map(|went| went.entry_uuid).zip(0..);
        Left {
            cursor: Box::new(Cursor::open(snapshot.clone(), everything)),
            snapshot,
            at_hand: None,
            place_of: places.collect(),
            went,
            stage: Stage::Changed,
            telling: Vec::new(),
        }
    }

    /// The next UUIDs to tell; `None` where the work is used up. Empty at the end.
    fn next(&mut self, view: &View, content: &mut Contents, work: &mut Work) -> Option<Vec<[u8; 16]>> {
        while self.telling.len() < IDS_AT_ONCE {
            match self.stage {
                Stage::Changed => self.look_at_changed(view, content, work)?,
                Stage::Names(..) => self.look_at_names(work)?,
                Stage::Tell(0) => break,
                Stage::Tell(at) => {
                    let went = self.went.get(at - 1).filter(|went| went.is_told);
                    self.telling.extend(went.map(|went| went.entry_uuid));
                    self.stage = Stage::Tell(at - 1);
                }
            }
        }
        let rest = self.telling.len().min(IDS_AT_ONCE);
        Some(self.telling.drain(..rest).collect())
    }

    /// One changed entry. `None` where the work is used up.
    fn look_at_changed(&mut self, view: &View, content: &mut Contents, work: &mut Work) -> Option<()> {
        let at = match self
            .at_hand
            .take()
            .map_or_else(|| self.cursor.advance(work), Advance::Entry)
        {
            Advance::Paused => return None,
            Advance::Entry(at) => at,
            // It has none.
            Advance::CandidateLimit | Advance::End => {
                self.stage = Stage::Names(0, None);
                return Some(());
            }
        };
        if work.left == 0 {
            self.at_hand = Some(at);
            return None;
        }
        work.left -= 1;
        let (record, key) = (self.snapshot.record(at), self.snapshot.key(at));
        let entry_uuid = record.operational().entry_uuid;
        let Ok(shape) = content.shape(&key, record, self.snapshot.schema(), work) else {
            self.at_hand = Some(at);
            return None;
        };
        let place = self.place_of.get(&entry_uuid);
        match place.and_then(|place| self.went.get_mut(*place)) {
            Some(went) => (went.is_somewhere, went.is_there) = (true, shape.is_some()),
            None if shape.is_none() && view.covers(&key) => self.telling.push(entry_uuid),
            None => {}
        }
        Some(())
    }

    /// One name that an entry went from. `None` where the work is used up.
    fn look_at_names(&mut self, work: &mut Work) -> Option<()> {
        let Stage::Names(at, above) = &mut self.stage else {
            return Some(());
        };
        let Some(went) = self.went.get_mut(*at) else {
            self.stage = Stage::Tell(self.went.len());
            return Some(());
        };
        work.left = work.left.checked_sub(1)?;
        *at += 1;
        let owner = || {
            let at = self.snapshot.find(&went.key)?;
            Some(self.snapshot.record(at).operational().entry_uuid)
        };
        let is_below = above.as_ref().is_some_and(|above| went.key.is_within(above));
        let is_hindering = !went.is_somewhere || owner().is_some_and(|owner| owner != went.entry_uuid);
        went.is_told = !went.is_there || is_below || is_hindering;
        if is_hindering && !is_below {
            *above = Some(went.key.clone());
        }
        Some(())
    }
}

/// The name that a client knows each entry by: the first that it went from, and nobody else before it. Ascending by name.
fn first_names(view: &View, deletions: Vec<Deletion>) -> Vec<Went> {
    let (mut entries, mut names) = (HashSet::new(), HashSet::new());
    let covered = deletions.into_iter().filter(|deletion| view.covers(&deletion.key));
    let first = covered.filter(|deletion| {
        let is_first_of_name = names.insert(deletion.key.clone());
        entries.insert(deletion.entry.entry_uuid) && is_first_of_name
    });
    let mut went: Vec<Went> = first
        .map(|deletion| Went {
            key: deletion.key,
            entry_uuid: deletion.entry.entry_uuid,
            is_somewhere: false,
            is_there: false,
            is_told: false,
        })
        .collect();
    went.sort_by(|one, other| one.key.cmp(&other.key));
    went
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
