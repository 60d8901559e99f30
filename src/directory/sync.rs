//! Content synchronisation (RFC 4533): what a search gives, then what changes in it, each once and in order.
//!
//! A client's state is a position in the order of updates, which its cookie says as a change sequence number, so that OpenLDAP's
//! consumer can keep it. From there on the changes are told from the feed where it reaches so far back (a delete phase), else by
//! what is newer in the snapshot and the UUIDs of what is not (a present phase).
//!
//! Invariants: a follower is given what its view releases and is told of an entry's going only where it could see the entry;
//! one that begins is not told what the feed has of an entry from before it, or an attribute of it, was hidden;
//! attributes that follow from other entries are neither given nor searched; memory for what waits is the feed's.

mod past;
mod persistent;
mod trail;

pub use self::persistent::{ChangeType, Notice, PersistentRequest};
use self::trail::Trail;
use super::feed::{Follower, Image, LoggedUpdate, Next, Position};
use super::search::{Limits, given_kinds};
use super::{Directory, SearchRequest, Session, clock};
use crate::access::{ReleasedEntry, Selection, release};
use crate::model::{Outcome, ResultCode, SearchScope};
use crate::query::{Advance, CandidateLimit, Content, Cursor, Order, Predicate, Query, Work, compile};
use crate::store::Snapshot;
use crate::store::record::{csn_text, csn_time};
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
    content: Content,
    stage: Stage,
    persist: bool,
    persistent: Option<PersistentRequest>,
    /// Of the client's cookie: `rid=NNN`.
    replica: String,
    /// What the client has got when the stage is over; while following, what it has got.
    position: Position,
    /// Changes of the next update that are told already.
    told: usize,
    unannounced: u32,
    moved: watch::Receiver<Position>,
    limits: Limits,
    given: u32,
    trail: Trail,
    _place: Follower,
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

/// What a cookie says.
enum Cookie {
    Initial,
    Since(Position),
    Unusable,
}

impl Directory {
    /// Begins to synchronise the content of a search.
    ///
    /// # Errors
    /// insufficientAccessRights where the profile does not allow it, busy where all places are taken, e-syncRefreshRequired
    /// for a cookie that is of no use, else as [`Directory::search`]. The refusal is in the audit.
    pub fn sync(
        self: &Arc<Self>,
        session: Option<&Session>,
        request: SearchRequest<'_>,
        asked: SyncRequest<'_>,
    ) -> Result<Sync, Outcome> {
        let Some(session) = session else {
            let message = "bind before you search";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        };
        let withheld = self.in_force().secret_names.withhold(request.filter);
        let filter = withheld.as_ref().unwrap_or(request.filter);
        let mut trail = Trail {
            audit: None,
            base: request.base.to_owned(),
            scope: request.scope,
            filter: filter.clone().into_owned(),
            attributes: request.attributes.iter().map(|name| (*name).to_owned()).collect(),
            started: Instant::now(),
        };
        trail.begin(
            session,
            match asked.persistent {
                Some(_) => "persistent search",
                None => "synchronise",
            },
        );
        self.open_sync(session, request, asked, trail).map_err(|refused| {
            let (outcome, mut trail) = *refused;
            trail.finish(self, &outcome);
            outcome
        })
    }

    fn open_sync(
        self: &Arc<Self>,
        session: &Session,
        request: SearchRequest<'_>,
        asked: SyncRequest<'_>,
        trail: Trail,
    ) -> Result<Sync, Box<(Outcome, Trail)>> {
        let opened = self.open_stage(session, &request, asked);
        let Opened {
            stage,
            content,
            position,
            place,
            replica,
        } = match opened {
            Ok(opened) => opened,
            Err(outcome) => return Err(Box::new((outcome, trail))),
        };
        Ok(Sync {
            directory: self.clone(),
            session: session.clone(),
            selection: request.selection,
            content,
            stage,
            persist: asked.persist,
            persistent: asked.persistent,
            replica,
            position,
            told: 0,
            unannounced: 0,
            moved: self.feed.subscribe(),
            limits: Limits::of_sync(session, request.size_limit, request.time_limit_seconds, trail.started),
            given: 0,
            trail,
            _place: place,
        })
    }

    fn open_stage(
        self: &Arc<Self>,
        session: &Session,
        request: &SearchRequest<'_>,
        asked: SyncRequest<'_>,
    ) -> Result<Opened, Outcome> {
        let view = &session.view;
        if !view.quotas.may_sync {
            let message = "the account's release profile does not allow content synchronisation";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        }
        if request.page.is_some() || request.sort.is_some() {
            let message = "content synchronisation is neither paged nor sorted";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let base = self.base_key(request.base)?;
        if base == *self.subschema_key() || (base.is_root() && request.scope == SearchScope::BaseObject) {
            let message = "the server's own entries are not synchronised";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let (replica, cookie) = self.read_cookie(asked.cookie);
        // Whoever it acts as, the places are those of who is bound.
        let identity = session.bound.as_deref().unwrap_or(&session.identity);
        let Some(place) = self.feed.follow(&self.store, &identity.account.facts.key) else {
            return Err(Outcome::new(
                ResultCode::Busy,
                "as many clients follow as the server allows, or as many of this account",
            ));
        };
        // In this order: what is published between the two is told again, and nothing is left out.
        let position = self.feed.position();
        let snapshot = self.store.snapshot();
        let base_at = self.check_base(&snapshot, view, &base)?;
        self.check_assertion(&snapshot, view, &base, base_at, request.assertion)?;
        // There may be such entries later. Gap: without ManageDsaIT, referral objects are left out, and no references are sent.
        let given = given_kinds(request, &self.held(&snapshot).any(), snapshot.schema());
        let query = Query {
            base,
            base_at,
            scope: request.scope,
            predicate: Predicate::and(vec![compile(request.filter, snapshot.schema(), view), given]),
            order: Order::Name,
            after: None,
            within: view.bases.clone(),
            without: view.excluded.clone(),
            candidate_limit: CandidateLimit::of(view, snapshot.schema()),
        };
        let content = Content::new(query.clone());
        let since = match cookie {
            Cookie::Initial => None,
            Cookie::Since(since) if since <= position && since >= self.feed.loaded => Some(since),
            Cookie::Since(_) | Cookie::Unusable if asked.reload => None,
            Cookie::Since(_) | Cookie::Unusable => return Err(refresh_required("the cookie is not of use here")),
        };
        let changes_only = asked.persistent.is_some_and(|asked| asked.changes_only);
        let (stage, position) = match since {
            _ if changes_only => (Stage::Following, position),
            Some(since) if self.feed.reaches(since) && !self.hid_since(view, since, position) => {
                (Stage::Replay { until: position }, since)
            }
            since => {
                let cursor = self.open_planned(view, snapshot.clone(), query)?;
                let stage = Stage::Present {
                    cursor: Box::new(cursor),
                    snapshot,
                    since,
                    unchanged: Vec::new(),
                };
                (stage, position)
            }
        };
        Ok(Opened {
            stage,
            content,
            position,
            place,
            replica,
        })
    }

    /// The replica a cookie names, and its state: `rid=001,csn=20260101120000.000000Z#000000#000#000000` as OpenLDAP writes them.
    fn read_cookie(&self, cookie: Option<&[u8]>) -> (String, Cookie) {
        let mut replica = "rid=000".to_owned();
        let mut state = Cookie::Initial;
        let Ok(text) = std::str::from_utf8(cookie.unwrap_or_default()) else {
            return (replica, Cookie::Unusable);
        };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("rid", number)) if number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit()) => {
                    replica = part.to_owned();
                }
                // A consumer's own number; ours are without.
                Some(("sid", _)) => {}
                Some(("csn", numbers)) => {
                    let ours = numbers
                        .split(';')
                        .find(|number| number.split('#').nth(2) == Some("000"));
                    state = match ours.and_then(csn_time) {
                        Some(time) => Cookie::Since(Position(time)),
                        None => Cookie::Unusable,
                    };
                }
                _ => return (replica, Cookie::Unusable),
            }
        }
        (replica, state)
    }
}

struct Opened {
    stage: Stage,
    content: Content,
    position: Position,
    place: Follower,
    replica: String,
}

fn refresh_required(message: &str) -> Outcome {
    Outcome::new(ResultCode::SyncRefreshRequired, message)
}

impl Sync {
    /// Runs for at most `work`; calls `emit` with each message, which says whether to go on.
    pub fn step(&mut self, work: &mut Work, emit: &mut dyn FnMut(SyncMessage<'_>) -> bool) -> SyncStep {
        if !self.directory.holds(&self.session) {
            return self.revoked();
        }
        loop {
            if !matches!(self.stage, Stage::Following)
                && self.limits.deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                return self.done(Outcome::new(ResultCode::TimeLimitExceeded, ""));
            }
            let step = match self.stage {
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

    /// Ready when something was changed since [`SyncStep::Waiting`].
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut moved = self.moved.clone();
        async move {
            // The feed lives as long as the directory, which this synchronisation holds.
            let _ = moved.changed().await;
        }
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
                    let told = match self.persistent {
                        Some(_) => Told::Changed(None),
                        None => Told::State(SyncState::Add, None),
                    };
                    if !self.give(snapshot.record(at), told, emit)? {
                        return Ok(false);
                    }
                }
                Advance::End => {
                    let uuids = std::mem::take(unchanged);
                    self.stage = Stage::Refreshed { deletes: false };
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
        let message = "the account this connection is bound to was changed: bind again";
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
            if !self.directory.holds(&self.session) {
                return self.revoked();
            }
            match self.tell(&update, work, emit) {
                Ok(true) => {}
                Ok(false) => return SyncStep::More,
                Err(done) => return *done,
            }
        }
    }

    /// One update, of which `told` changes are told. The last that concerns the client carries the cookie: before it, the client
    /// has not all of the update.
    fn tell(
        &mut self,
        update: &LoggedUpdate,
        work: &mut Work,
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> Result<bool, Box<SyncStep>> {
        if let Some(asked) = self.persistent {
            return self.notify(asked, update, work, emit);
        }
        let directory = self.directory.clone();
        let mut last = update.changes.len();
        while last > self.told {
            let change = &update.changes[last - 1];
            let sides = [&change.before, &change.after];
            if sides.into_iter().flatten().any(|image| self.holds(image)) {
                break;
            }
            last -= 1;
        }
        let concerned = last > self.told;
        let replays = matches!(self.stage, Stage::Replay { .. });
        while self.told < last {
            work.left = work.left.saturating_sub(1);
            let change = &update.changes[self.told];
            self.told += 1;
            let before = change.before.as_ref().filter(|image| self.holds(image));
            let after = change.after.as_ref().filter(|image| self.holds(image));
            let (image, state) = match (before, after) {
                (None, None) => continue,
                (None, Some(after)) => (after, SyncState::Add),
                // In a refresh there are no modifications (RFC 4533 section 3.3.2).
                (Some(_), Some(after)) if replays => (after, SyncState::Add),
                (Some(_), Some(after)) => (after, SyncState::Modify),
                (Some(before), None) => (before, SyncState::Delete),
            };
            let cookie = (self.told == last && !replays).then(|| self.cookie(update.position));
            let record = image.record(directory.schema().type_numbers());
            let goes_on = self.give(record, Told::State(state, cookie.as_deref()), emit)?;
            if !goes_on && self.told < last {
                return Ok(false);
            }
            if !goes_on {
                self.ended(update.position, concerned);
                return Ok(false);
            }
        }
        self.ended(update.position, concerned);
        Ok(true)
    }

    fn ended(&mut self, position: Position, concerned: bool) {
        self.position = position;
        self.told = 0;
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

    fn holds(&mut self, image: &Image) -> bool {
        let schema = self.directory.schema();
        let record = image.record(schema.type_numbers());
        self.content.holds(&image.key, record, &schema)
    }

    /// Releases and emits one entry; `Ok(false)` where `emit` wants a pause.
    fn give(
        &mut self,
        record: crate::store::Record<'_>,
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
        self.trail.entry(entry.entry_uuid());
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
