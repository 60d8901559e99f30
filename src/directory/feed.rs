//! What changed lately, entry by entry as it was before and after: for those who follow the directory's changes.
//!
//! Invariants: nothing is kept until somebody has asked to follow; what is kept is bounded by number and octets for all
//! followers together, and a follower that falls behind it is told so; an update is here only when it is durable and published.

use super::{SyncLimits, clock};
use crate::schema::{AttributeId, NormalizedDn};
use crate::store::{Change, Record, Snapshot, Store};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A point in the order of updates: the time of the last one, in microseconds since 1970, as entryCSN has it. No two updates have
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Position(pub u64);

/// An entry as it was or is: its key, and its record with this schema's type numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Image {
    pub key: NormalizedDn,
    pub octets: Arc<[u8]>,
}

/// What one update did to one entry. Never two `None`.
#[derive(Debug)]
pub(super) struct EntryChange {
    pub before: Option<Image>,
    pub after: Option<Image>,
}

impl EntryChange {
    fn is_renamed(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => before.key != after.key,
            _ => false,
        }
    }
}

/// One update, or all of a transaction: more than one change where a subtree was renamed.
#[derive(Debug)]
pub(super) struct LoggedUpdate {
    pub position: Position,
    pub changes: Vec<EntryChange>,
}

/// What comes behind a position.
pub(super) enum Next {
    Update(Arc<LoggedUpdate>),
    Nothing,
    /// It is no longer kept.
    Lost,
}

pub(super) struct Feed {
    limits: SyncLimits,
    /// Set under the writer's lock.
    active: AtomicBool,
    log: Mutex<Log>,
    moved: watch::Sender<Position>,
    followers: Mutex<HashMap<NormalizedDn, usize>>,
    /// The last bulk load: what was there before has nothing to do with what is there now.
    pub loaded: Position,
}

struct Log {
    /// Updates behind this are all here.
    base: Position,
    position: Position,
    updates: VecDeque<Arc<LoggedUpdate>>,
    changes: usize,
    octets: usize,
}

/// A place among those who follow; given back when dropped.
pub(super) struct Follower {
    feed: Arc<Feed>,
    account: NormalizedDn,
}

impl Feed {
    /// `last` is the greatest position of any entry.
    pub(super) fn new(limits: SyncLimits, last: Position, loaded: Position) -> Feed {
        // Deletions leave no time behind: what happened before now is not told from what did not.
        let position = last.max(loaded).max(Position(clock::microseconds()));
        Feed {
            limits,
            active: AtomicBool::new(false),
            log: Mutex::new(Log {
                base: position,
                position,
                updates: VecDeque::new(),
                changes: 0,
                octets: 0,
            }),
            moved: watch::Sender::new(position),
            followers: Mutex::default(),
            loaded,
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether updates are to be noted. Asked by the writer, under its lock.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// The last published update.
    pub(super) fn position(&self) -> Position {
        self.log().position
    }

    /// How many places each account has taken.
    fn followers(&self) -> MutexGuard<'_, HashMap<NormalizedDn, usize>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the followers for an account; `None` where all are taken, or all of the account. From the first on,
    /// updates are kept.
    pub(super) fn follow(self: &Arc<Self>, store: &Store, account: &NormalizedDn) -> Option<Follower> {
        let follower = {
            let mut followers = self.followers();
            let own = followers.get(account).copied().unwrap_or(0);
            let all: usize = followers.values().sum();
            if all >= self.limits.consumers || own >= self.limits.consumers_per_account {
                return None;
            }
            followers.insert(account.clone(), own + 1);
            Follower {
                feed: self.clone(),
                account: account.clone(),
            }
        };
        if !self.is_active() {
            // While nobody writes, so that no update is half noted.
            let _writer = store.begin();
            self.active.store(true, Ordering::Release);
        }
        Some(follower)
    }

    /// Takes in a durable group. `noted` is empty where the feed was not active.
    pub(super) fn publish(&self, noted: Vec<LoggedUpdate>, position: Position) {
        let mut log = self.log();
        log.position = position;
        for update in noted {
            log.changes += update.changes.len();
            log.octets += update.octets();
            log.updates.push_back(Arc::new(update));
        }
        log.trim(&self.limits);
        if log.updates.is_empty() {
            log.base = position;
        }
        drop(log);
        self.moved.send_replace(position);
    }

    /// Wakes who follows without a change to tell: accounts or the policy may have changed, and with them who may follow.
    pub(super) fn wake(&self) {
        self.moved.send_modify(|_| {});
    }

    /// Wakes with every published group.
    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.moved.subscribe()
    }

    pub(super) fn next(&self, after: Position) -> Next {
        let log = self.log();
        if after < log.base {
            return Next::Lost;
        }
        let at = log.updates.partition_point(|update| update.position <= after);
        match log.updates.get(at) {
            Some(update) => Next::Update(update.clone()),
            None => Next::Nothing,
        }
    }

    /// The updates behind one position, up to another.
    pub(super) fn between(&self, after: Position, until: Position) -> Vec<Arc<LoggedUpdate>> {
        let log = self.log();
        let from = log.updates.partition_point(|update| update.position <= after);
        let updates = log.updates.iter().skip(from);
        updates.take_while(|update| update.position <= until).cloned().collect()
    }

    /// Whether everything behind a position is kept.
    pub(super) fn reaches(&self, after: Position) -> bool {
        after >= self.log().base
    }
}

impl Log {
    fn trim(&mut self, limits: &SyncLimits) {
        while self.changes > limits.log_changes || self.octets > limits.log_octets {
            let Some(oldest) = self.updates.pop_front() else { return };
            self.changes -= oldest.changes.len();
            self.octets -= oldest.octets();
            self.base = oldest.position;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.feed.followers();
        match followers.get_mut(&self.account) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => _ = followers.remove(&self.account),
        }
    }
}

impl LoggedUpdate {
    /// What `changes` will do to the entries of `snapshot`, which shows none of them yet.
    pub(super) fn note(snapshot: &Snapshot, changes: &[Change], position: Position) -> Self {
        let mut noted: Vec<EntryChange> = Vec::with_capacity(changes.len());
        let mut places: HashMap<[u8; 16], usize> = HashMap::new();
        for change in changes {
            let (key, record) = match change {
                Change::Put { key, record } => (key, Some(record)),
                Change::Delete { key, .. } => (key, None),
            };
            let before = Image::of(snapshot, key);
            let after = record.map(|record| Image {
                key: key.clone(),
                octets: record.as_slice().into(),
            });
            let Some(known) = after.as_ref().or(before.as_ref()) else {
                continue;
            };
            let entry_uuid = known.record(snapshot.schema().type_numbers()).operational().entry_uuid;
            let place = *places.entry(entry_uuid).or_insert(noted.len());
            match noted.get_mut(place) {
                Some(same) => {
                    same.before = same.before.take().or(before);
                    same.after = same.after.take().or(after);
                }
                None => noted.push(EntryChange { before, after }),
            }
        }
        LoggedUpdate {
            position,
            changes: in_turn(noted),
        }
    }

    /// The updates of a transaction as one: what an entry was in between is nobody's to see.
    /// Entries come when they were made, changed last, or deleted, so that superiors and names are there or free; that is no turn
    /// for entries that are renamed.
    fn joined(updates: Vec<LoggedUpdate>, types: &[AttributeId]) -> Option<LoggedUpdate> {
        let position = updates.last()?.position;
        let mut joined: Vec<(usize, EntryChange)> = Vec::new();
        let mut places: HashMap<[u8; 16], usize> = HashMap::new();
        let all = updates.into_iter().flat_map(|update| update.changes);
        for (turn, change) in all.enumerate() {
            let Some(known) = change.after.as_ref().or(change.before.as_ref()) else {
                continue;
            };
            let entry_uuid = known.record(types).operational().entry_uuid;
            let place = *places.entry(entry_uuid).or_insert(joined.len());
            match joined.get_mut(place) {
                Some((at, same)) => {
                    same.after = change.after;
                    if same.before.is_some() {
                        *at = turn;
                    }
                }
                None => joined.push((turn, change)),
            }
        }
        joined.retain(|(_, change)| change.before.is_some() || change.after.is_some());
        joined.sort_by_key(|(turn, _)| *turn);
        let renames = joined.iter().any(|(_, change)| change.is_renamed());
        let changes = joined.into_iter().map(|(_, change)| change).collect();
        let changes = if renames { in_turn(apart(changes)) } else { changes };
        (!changes.is_empty()).then_some(LoggedUpdate { position, changes })
    }

    fn octets(&self) -> usize {
        let images = self.changes.iter().flat_map(|change| [&change.before, &change.after]);
        let octets = images.flatten().map(|image| image.octets.len() + image.key.0.len());
        octets.sum::<usize>() + self.changes.len() * size_of::<EntryChange>()
    }
}

/// What is gone first, children before parents; then what is there, parents before children.
fn in_turn(mut changes: Vec<EntryChange>) -> Vec<EntryChange> {
    changes.sort_by(|one, other| match (&one.after, &other.after) {
        (Some(one), Some(other)) => one.key.cmp(&other.key),
        (None, None) => other.before.cmp(&one.before),
        (one, other) => one.is_some().cmp(&other.is_some()),
    });
    changes
}

/// Where an entry that is renamed stands in the way of another, because its name before has a new owner or a superior that is
/// gone, no turn is right for all: what is renamed is then gone, and there again.
fn apart(changes: Vec<EntryChange>) -> Vec<EntryChange> {
    let keys = |image: fn(&EntryChange) -> Option<&Image>| -> HashSet<&NormalizedDn> {
        changes.iter().filter_map(image).map(|image| &image.key).collect()
    };
    let owned = keys(|change| change.after.as_ref());
    let gone = keys(|change| change.before.as_ref().filter(|_| change.after.is_none()));
    let hinders = |before: &Image| {
        let superiors = std::iter::successors(before.key.parent(), NormalizedDn::parent);
        owned.contains(&before.key) || superiors.into_iter().any(|superior| gone.contains(&superior))
    };
    let mut before = changes.iter().filter(|change| change.is_renamed());
    if !before.any(|change| change.before.as_ref().is_some_and(hinders)) {
        return changes;
    }
    let halves = |change: EntryChange| {
        let (whole, halves) = match change.is_renamed() {
            true => (None, [(change.before, None), (None, change.after)]),
            false => (Some(change), [(None, None), (None, None)]),
        };
        let halves = halves.map(|(before, after)| EntryChange { before, after });
        let there = |half: &EntryChange| half.before.is_some() || half.after.is_some();
        whole.into_iter().chain(halves.into_iter().filter(there))
    };
    changes.into_iter().flat_map(halves).collect()
}

/// What the writer notes of the group it is at work on.
pub(super) struct Noting {
    feed: Arc<Feed>,
    active: Cell<bool>,
    updates: RefCell<Vec<LoggedUpdate>>,
    position: Cell<Option<Position>>,
}

impl Noting {
    pub(super) fn new(feed: Arc<Feed>) -> Noting {
        Noting {
            feed,
            active: Cell::new(false),
            updates: RefCell::default(),
            position: Cell::new(None),
        }
    }

    /// A group begins; the writer's lock is held.
    pub(super) fn begin(&self) {
        self.active.set(self.feed.is_active());
        self.position.set(None);
    }

    /// An update that is about to be applied.
    pub(super) fn note(&self, snapshot: &Snapshot, changes: &[Change], position: Position) {
        if changes.is_empty() {
            return;
        }
        self.position.set(Some(position));
        if self.active.get() {
            let update = LoggedUpdate::note(snapshot, changes, position);
            self.updates.borrow_mut().push(update);
        }
    }

    /// How much is noted, for [`Noting::back_to`].
    pub(super) fn extent(&self) -> (usize, Option<Position>) {
        (self.updates.borrow().len(), self.position.get())
    }

    /// Forgets what was noted since.
    pub(super) fn back_to(&self, (updates, position): (usize, Option<Position>)) {
        self.updates.borrow_mut().truncate(updates);
        self.position.set(position);
    }

    /// What was noted since is one transaction.
    pub(super) fn join(&self, (updates, _): (usize, Option<Position>), types: &[AttributeId]) {
        let mut noted = self.updates.borrow_mut();
        let from = updates.min(noted.len());
        let transaction = noted.split_off(from);
        noted.extend(LoggedUpdate::joined(transaction, types));
    }

    /// The group is durable and published, or it is not.
    pub(super) fn end(&self, durable: bool) {
        let updates = self.updates.take();
        match self.position.take().filter(|_| durable) {
            Some(position) => self.feed.publish(updates, position),
            None => self.feed.wake(),
        }
    }
}

impl Image {
    /// The entry with this key, if it is there and sound.
    fn of(snapshot: &Snapshot, key: &NormalizedDn) -> Option<Image> {
        let octets = snapshot.record(snapshot.find(key)?).identity_octets()?;
        Some(Image {
            key: key.clone(),
            octets: octets.into(),
        })
    }

    pub(super) fn record<'a>(&'a self, types: &'a [AttributeId]) -> Record<'a> {
        Record::new(&self.octets, types)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(position: u64, octets: usize) -> LoggedUpdate {
        let image = Image {
            key: NormalizedDn(b"cn=a\0".to_vec()),
            octets: vec![0; octets].into(),
        };
        LoggedUpdate {
            position: Position(position),
            changes: vec![EntryChange {
                before: None,
                after: Some(image),
            }],
        }
    }

    fn feed(log_changes: usize, log_octets: usize) -> Feed {
        let limits = SyncLimits {
            consumers: 1,
            consumers_per_account: 1,
            log_changes,
            log_octets,
        };
        let far = Position(clock::microseconds() + 1_000_000_000);
        Feed::new(limits, far, Position(0))
    }

    /// What follows each position, seen by a follower that began there.
    fn after(feed: &Feed, position: u64) -> Option<u64> {
        match feed.next(Position(position)) {
            Next::Update(update) => Some(update.position.0),
            Next::Nothing => None,
            Next::Lost => Some(0),
        }
    }

    #[test]
    fn what_is_kept_comes_in_order_and_what_is_not_is_said() {
        let feed = feed(3, 1 << 20);
        let start = feed.position().0;
        for at in 1..=3 {
            feed.publish(vec![update(start + at, 10)], Position(start + at));
        }
        assert_eq!(
            [0, 1, 2, 3].map(|at| after(&feed, start + at)),
            [Some(start + 1), Some(start + 2), Some(start + 3), None]
        );
        feed.publish(vec![update(start + 4, 10)], Position(start + 4));
        assert_eq!(after(&feed, start), Some(0), "the first update is gone");
        assert_eq!(after(&feed, start + 1), Some(start + 2));
        assert!(!feed.reaches(Position(start)) && feed.reaches(Position(start + 1)));
    }

    #[test]
    fn an_update_larger_than_the_limit_is_not_kept() {
        let feed = feed(100, 1000);
        let start = feed.position().0;
        feed.publish(
            vec![update(start + 1, 10), update(start + 2, 5000)],
            Position(start + 2),
        );
        assert_eq!(after(&feed, start), Some(0));
        assert_eq!(after(&feed, start + 1), Some(0));
        assert_eq!(after(&feed, start + 2), None);
        // What was not noted is behind nobody.
        feed.publish(Vec::new(), Position(start + 3));
        assert_eq!(after(&feed, start + 2), Some(0));
    }
}
