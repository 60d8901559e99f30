//! Content synchronisation (RFC 4533): what a search gives, then what changes in it, each once and in order.
//!
//! A client's state is a position in the order of updates, which its cookie says as a change sequence number, so that OpenLDAP's
//! consumer can keep it. From there on the changes are told from the feed where it reaches so far back, else by what is newer in the
//! snapshot and the UUIDs of what left (a delete phase both), else, where that is not known, by what is newer and the UUIDs of what
//! is not (a present phase).
//!
//! Invariants: a follower is given what its view releases and is told of an entry's going only where it could see the entry;
//! one that begins is not told what the feed has of an entry from before it, or an attribute of it, was hidden;
//! attributes that follow from other entries are neither given nor searched; memory for what waits is the feed's.

mod contents;
mod left;
mod opening;
mod past;
mod persistent;
mod trail;

use self::contents::{Contents, Paused, Shape};
use self::left::Left;
pub use self::persistent::{ChangeType, Notice, PersistentRequest};
use self::trail::Trail;
use super::feed::{EntryChange, Follower, Image, LoggedUpdate, Next, Position};
use super::search::Limits;
use super::{Directory, Session, clock};
use crate::access::{ReleasedEntry, Selection, release};
use crate::model::{Outcome, ResultCode};
use crate::query::{Advance, Cursor, Work};
use crate::store::record::csn_text;
use crate::store::{Record, Snapshot};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// UUIDs in one message.
const IDS_AT_ONCE: usize = 256;
/// Updates that concerned nobody before the client is given a newer cookie.
const UNANNOUNCED_UPDATES: u32 = 64;

/// What a client that follows asks beside its search.
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// Goes on with changes after the refresh.
    pub persist: bool,
    pub cookie: Option<&'a [u8]>,
    /// Where the cookie is of no use: begin anew rather than say so.
    pub reload: bool,
    /// Changes are told as a persistent search wants them.
    pub persistent: Option<PersistentRequest>,
}

/// RFC 4533 section 2.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncState {
    Add = 1,
    Modify = 2,
    Delete = 3,
}

/// What a follower is told, in the order it must be sent.
pub enum SyncMessage<'a> {
    /// An entry; with [`SyncState::Delete`] only its name is of interest, the last the follower could see.
    Entry {
        entry: &'a ReleasedEntry<'a>,
        state: SyncState,
        cookie: Option<&'a str>,
    },
    /// An entry of a persistent search, and what happened to it where that is asked for.
    Found {
        entry: &'a ReleasedEntry<'a>,
        notice: Option<Notice<'a>>,
    },
    /// A reference; without URLs where it is gone.
    Reference {
        urls: &'a [String],
        entry_uuid: &'a [u8; 16],
        state: SyncState,
        cookie: Option<&'a str>,
    },
    /// Entries that are not there any more.
    Gone(&'a [[u8; 16]]),
    /// Entries that are there and unchanged.
    Unchanged(&'a [[u8; 16]]),
    /// The refresh is over and changes follow. `deletes`: what is gone was said; else what was not named is gone.
    Refreshed { deletes: bool, cookie: &'a str },
    /// Nothing changed for the follower up to here.
    Cookie(&'a str),
}

/// What [`Sync::step`] came to.
pub enum SyncStep {
    /// The work is used up or `emit` asked to stop; call again.
    More,
    /// Nothing changes at present; call again when [`Sync::changed`] is ready.
    Waiting,
    Done {
        outcome: Outcome,
        /// There after a refresh that is not followed by changes.
        cookie: Option<String>,
        deletes: bool,
    },
}

/// A running content synchronisation.
pub struct Sync {
    directory: Arc<Directory>,
    session: Session,
    selection: Selection,
    content: Contents,
    stage: Stage,
    persist: bool,
    persistent: Option<PersistentRequest>,
    /// Of the client's cookie: `rid=NNN`.
    replica: String,
    /// What the client has got when the stage is over; while following, what it has got.
    position: Position,
    /// Changes of the next update that were looked at.
    told: usize,
    /// The last of them that concerns the client, which is not told yet.
    found: Option<Found>,
    /// Of the next of them, what it changed was to the client, where that is known and what it is by now is not.
    was: Option<Option<Shape>>,
    unannounced: u32,
    moved: watch::Receiver<Position>,
    limits: Limits,
    given: u32,
    trail: Trail,
    _place: Follower,
}

/// A change of an update that concerns the client.
#[derive(Clone, Copy)]
struct Found {
    at: usize,
    shape: Shape,
    state: SyncState,
}

/// What is told with an entry.
#[derive(Clone, Copy)]
enum Told<'a> {
    State(SyncState, Option<&'a str>),
    Changed(Option<Notice<'a>>),
}

enum Stage {
    /// What the snapshot holds: entries newer than `since`, and the UUIDs of others.
    Present {
        cursor: Box<Cursor>,
        snapshot: Arc<Snapshot>,
        since: Option<Position>,
        unchanged: Vec<[u8; 16]>,
        /// What left was told; the cursor gives only what is newer.
        deletes: bool,
    },
    /// What left since the client's cookie, before what is newer: names are free then.
    Left {
        left: Box<Left>,
        then: Box<Stage>,
    },
    /// What changed since the client's cookie, from the feed: every update in its order, so that no step of it meets a name that is
    /// still taken or a parent that is not there yet.
    Replay {
        until: Position,
    },
    Refreshed {
        deletes: bool,
    },
    Following,
}

fn refresh_required(message: &str) -> Outcome {
    Outcome::new(ResultCode::SyncRefreshRequired, message)
}

impl Sync {
    /// Runs for at most `work`; calls `emit` with each message, which says whether to go on.
    pub fn step(&mut self, work: &mut Work, emit: &mut dyn FnMut(SyncMessage<'_>) -> bool) -> SyncStep {
        if !self.may_go_on() {
            return self.revoked();
        }
        loop {
            if !matches!(self.stage, Stage::Following)
                && self.limits.deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                return self.done(Outcome::new(ResultCode::TimeLimitExceeded, ""));
            }
            let step = match self.stage {
                Stage::Left { .. } => self.tell_left(work, emit),
                Stage::Present { .. } => self.present(work, emit),
                Stage::Replay { until } => self.replay(until, work, emit),
                Stage::Refreshed { deletes } => self.refreshed(deletes, emit),
                Stage::Following => return self.follow(work, emit),
            };
            match step {
                Ok(true) => {}
                Ok(false) => return SyncStep::More,
                Err(done) => return *done,
            }
        }
    }

    /// Ready when something was changed since [`SyncStep::Waiting`], or when the account that follows comes to its end.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut moved = self.moved.clone();
        let ends_in = self.directory.ends_in(&self.session);
        async move {
            // The feed lives as long as the directory, which this synchronisation holds.
            match ends_in {
                Some(left) => drop(tokio::time::timeout(left, moved.changed()).await),
                None => drop(moved.changed().await),
            }
        }
    }

    /// Whether the session still holds, where it changed its own secret under its new one.
    fn may_go_on(&mut self) -> bool {
        if self.directory.holds(&self.session) {
            return true;
        }
        let next = self.directory.going_on_as(&self.session);
        next.map(|next| self.session = next).is_some()
    }

    fn cookie(&self, position: Position) -> String {
        format!("{},csn={}", self.replica, csn_text(position.0))
    }

    /// Goes through the snapshot. `Ok(true)`: on to the next stage.
    fn present(
        &mut self,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        loop {
            let Stage::Present {
                cursor,
                snapshot,
                since,
                unchanged,
                deletes,
            } = &mut self.stage
            else {
                return Ok(true);
            };
            match cursor.advance(work) {
                Advance::Paused => return Ok(false),
                Advance::CandidateLimit => {
                    let message = "too many candidates; ask with a more selective filter";
                    return Err(Box::new(
                        self.done(Outcome::new(ResultCode::AdminLimitExceeded, message)),
                    ));
                }
                Advance::Entry(at) => {
                    let operational = snapshot.record(at).operational();
                    if since.is_some_and(|since| operational.changed <= since.0) {
                        unchanged.push(operational.entry_uuid);
                        if unchanged.len() < IDS_AT_ONCE {
                            continue;
                        }
                        let uuids = std::mem::take(unchanged);
                        if !emit(SyncMessage::Unchanged(&uuids)) {
                            return Ok(false);
                        }
                        continue;
                    }
                    let snapshot = snapshot.clone();
                    let record = snapshot.record(at);
                    let goes_on = match self.persistent {
                        Some(_) => self.give(record, Told::Changed(None), emit)?,
                        None => {
                            let shape = self.content.shape_of(record, snapshot.schema());
                            self.give_as(shape, record, (SyncState::Add, None), emit)?
                        }
                    };
                    if !goes_on {
                        return Ok(false);
                    }
                }
                Advance::End => {
                    let uuids = std::mem::take(unchanged);
                    self.stage = Stage::Refreshed { deletes: *deletes };
                    return Ok(uuids.is_empty() || emit(SyncMessage::Unchanged(&uuids)));
                }
            }
        }
    }

    /// Tells the updates that the feed has up to there.
    fn replay(
        &mut self,
        until: Position,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        while self.position < until {
            if work.left == 0 {
                return Ok(false);
            }
            work.left -= 1;
            match self.directory.feed.next(self.position) {
                Next::Update(update) if update.position <= until => {
                    if !self.tell(&update, work, emit)? {
                        return Ok(false);
                    }
                }
                Next::Update(_) | Next::Nothing => self.position = until,
                Next::Lost => return Err(Box::new(self.lost())),
            }
        }
        self.stage = Stage::Refreshed { deletes: true };
        Ok(true)
    }

    fn revoked(&mut self) -> SyncStep {
        let message = self.directory.why_ended(&self.session);
        self.done(Outcome::new(ResultCode::InsufficientAccessRights, message))
    }

    fn lost(&mut self) -> SyncStep {
        let message = "the client was too slow, and changes are no longer kept; it has to come again";
        self.done(match self.persistent {
            Some(_) => Outcome::new(ResultCode::AdminLimitExceeded, message),
            None => refresh_required(message),
        })
    }

    fn refreshed(
        &mut self,
        deletes: bool,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        let cookie = self.cookie(self.position);
        self.trail.finish(&self.directory, &Outcome::success());
        if self.persistent.is_some() {
            self.stage = Stage::Following;
            return Ok(true);
        }
        if !self.persist {
            return Err(Box::new(SyncStep::Done {
                outcome: Outcome::success(),
                cookie: Some(cookie),
                deletes,
            }));
        }
        self.stage = Stage::Following;
        Ok(emit(SyncMessage::Refreshed {
            deletes,
            cookie: &cookie,
        }))
    }

    /// Tells every update that came since.
    fn follow(&mut self, work: &mut Work, emit: &mut dyn FnMut(SyncMessage<'_>) -> bool) -> SyncStep {
        self.moved.borrow_and_update();
        let step = self.follow_on(work, emit);
        self.trail.finish(&self.directory, &Outcome::success());
        step
    }

    fn follow_on(&mut self, work: &mut Work, emit: &mut dyn FnMut(SyncMessage<'_>) -> bool) -> SyncStep {
        loop {
            if work.left == 0 {
                return SyncStep::More;
            }
            let update = match self.directory.feed.next(self.position) {
                Next::Update(update) => update,
                Next::Nothing => return self.wait(emit),
                Next::Lost => return self.lost(),
            };
            if !self.may_go_on() {
                return self.revoked();
            }
            match self.tell(&update, work, emit) {
                Ok(true) => {}
                Ok(false) => return SyncStep::More,
                Err(done) => return *done,
            }
        }
    }

    /// One update, of which `told` changes are looked at. The last that concerns the client carries the cookie, because before it the
    /// client has not all of the update: so each is told when the next is found. `Ok(false)` where it does not go on yet.
    fn tell(
        &mut self,
        update: &LoggedUpdate,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        if let Some(asked) = self.persistent {
            return self.notify(asked, update, work, emit);
        }
        while let Some(change) = update.changes.get(self.told) {
            if work.left == 0 {
                return Ok(false);
            }
            work.left -= 1;
            let Ok(concern) = self.concerns(change, work) else {
                return Ok(false);
            };
            self.told += 1;
            let Some((shape, state)) = concern else {
                continue;
            };
            let found = Found {
                at: self.told - 1,
                shape,
                state,
            };
            if let Some(before) = self.found.replace(found)
                && !self.tell_found(update, before, None, emit)?
            {
                return Ok(false);
            }
        }
        let last = self.found.take();
        let concerned = last.is_some();
        let goes_on = match last {
            None => true,
            Some(last) => {
                let replays = matches!(self.stage, Stage::Replay { .. });
                let cookie = (!replays).then(|| self.cookie(update.position));
                self.tell_found(update, last, cookie.as_deref(), emit)?
            }
        };
        self.ended(update.position, concerned);
        Ok(goes_on)
    }

    /// What a change is to the client; `None` where it does not concern it.
    fn concerns(&mut self, change: &EntryChange, work: &mut Work) -> Result<Option<(Shape, SyncState)>, Paused> {
        let before = match (self.was, &change.before) {
            (Some(before), _) => before,
            (None, None) => None,
            (None, Some(image)) => self.shape(image, work)?,
        };
        self.was = Some(before);
        let after = match &change.after {
            None => None,
            Some(image) => self.shape(image, work)?,
        };
        self.was = None;
        Ok(match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some((after, SyncState::Add)),
            // In a refresh there are no modifications (RFC 4533 section 3.3.2).
            (Some(_), Some(after)) if matches!(self.stage, Stage::Replay { .. }) => Some((after, SyncState::Add)),
            (Some(_), Some(after)) => Some((after, SyncState::Modify)),
            (Some(before), None) => Some((before, SyncState::Delete)),
        })
    }

    fn tell_found(
        &mut self,
        update: &LoggedUpdate,
        found: Found,
        cookie: Option<&str>,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        let Some(change) = update.changes.get(found.at) else {
            return Ok(true);
        };
        let side = match found.state {
            SyncState::Delete => &change.before,
            SyncState::Add | SyncState::Modify => &change.after,
        };
        let Some(image) = side else { return Ok(true) };
        let schema = self.directory.schema();
        let record = image.record(schema.type_numbers());
        self.give_as(found.shape, record, (found.state, cookie), emit)
    }

    fn ended(&mut self, position: Position, concerned: bool) {
        self.position = position;
        self.told = 0;
        self.found = None;
        self.unannounced = if concerned { 0 } else { self.unannounced + 1 };
    }

    fn wait(&mut self, emit: &mut dyn FnMut(SyncMessage<'_>) -> bool) -> SyncStep {
        if self.unannounced >= UNANNOUNCED_UPDATES {
            self.unannounced = 0;
            let cookie = self.cookie(self.position);
            emit(SyncMessage::Cookie(&cookie));
        }
        SyncStep::Waiting
    }

    /// The image stays where it is, in the feed, for as long as it is asked again.
    fn shape(&mut self, image: &Image, work: &mut Work) -> Result<Option<Shape>, Paused> {
        let schema = self.directory.schema();
        let record = image.record(schema.type_numbers());
        self.content.shape(&image.key, record, &schema, work)
    }

    fn give_as(
        &mut self,
        shape: Shape,
        record: Record<'_>,
        (state, cookie): (SyncState, Option<&str>),
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        match shape {
            Shape::Entry => self.give(record, Told::State(state, cookie), emit),
            Shape::Reference => Ok(self.refer(record, (state, cookie), emit)),
        }
    }

    /// Releases and emits one entry; `Ok(false)` where `emit` wants a pause.
    fn give(
        &mut self,
        record: Record<'_>,
        told: Told<'_>,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        if !matches!(self.stage, Stage::Following) && self.limits.size_reached(self.given) {
            return Err(Box::new(self.done(Outcome::new(ResultCode::SizeLimitExceeded, ""))));
        }
        if !matches!(told, Told::State(SyncState::Delete, _))
            && !self.limits.counts_today(&self.directory, &self.session.view)
        {
            let message = "the account's entries of today are used up; it may search again tomorrow (UTC)";
            return Err(Box::new(
                self.done(Outcome::new(ResultCode::AdminLimitExceeded, message)),
            ));
        }
        let (view, schema) = (&self.session.view, self.directory.schema());
        let Some(entry) = release(record, view, &self.selection, &[], &schema) else {
            return Ok(true);
        };
        self.given = self.given.saturating_add(1);
        if self.trail.audit.is_none() {
            self.trail.begin(&self.session, "follow");
        }
        self.trail.entry(&self.directory, entry.entry_uuid());
        let entry = &entry;
        Ok(emit(match told {
            Told::State(state, cookie) => SyncMessage::Entry { entry, state, cookie },
            Told::Changed(notice) => SyncMessage::Found { entry, notice },
        }))
    }

    fn done(&mut self, outcome: Outcome) -> SyncStep {
        self.trail.finish(&self.directory, &outcome);
        SyncStep::Done {
            outcome,
            cookie: None,
            deletes: false,
        }
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        self.trail
            .finish(&self.directory, &Outcome::new(ResultCode::Canceled, "abandoned"));
    }
}

impl Directory {
    pub(super) fn is_suffix(&self, key: &crate::schema::NormalizedDn) -> bool {
        self.suffixes.iter().any(|(_, suffix)| suffix == key)
    }

    /// What contextCSN says of the naming contexts: the position of the last update.
    pub(super) fn context_csn(&self) -> String {
        csn_text(self.feed.position().0)
    }
}

/// The time of a bulk load, to be kept beside what it loaded.
pub fn load_time() -> Vec<u8> {
    clock::microseconds().to_be_bytes().to_vec()
}
