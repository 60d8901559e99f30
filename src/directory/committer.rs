//! The one writer: takes updates from a bounded queue, checks and applies them one at a time against what the group has
//! come to, makes the group durable at once, then answers all of it.

use super::application::is_account_key;
use super::change_times::ChangeTimes;
use super::computed::Computation;
use super::conditions::{self, UpdateDone, UpdateRequest, check_update, no_such_object, seen};
use super::feed::{Feed, Noting, Position};
use super::following::{self, Following, Lock, Planned};
use super::general::General;
use super::integrity::{Gone, Integrity};
use super::kinds::Kinds;
use super::referral::{Knowledge, PlainNames, refer_update};
use super::relax::Given;
use super::secret::SecretPlan;
use super::update::Update;
use super::{DirectoryLimits, clock, password_state, relax, rename};
use crate::access::{ReleasedCopy, Selection, View};
use crate::account::{Accounts, ChangeAsked, PreparedSecret};
use crate::model::{AttributeDescription, Dn, Entry, Outcome, ResultCode};
use crate::query::Groups;
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::record::Revision;
use crate::store::{
    Change, KeyedWrite, Operational, Record, SequenceNumber, Snapshot, Store, StoreError, WriteGroup, record,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use tokio::runtime::Handle;

mod author;
mod delete;
mod held;
mod modify;
mod queue;
mod secret;
mod size;
mod transaction;

pub(super) use author::{Author, Target, Who};
use held::Held;
pub(super) use queue::{Committer, Job, Room, SchemaChange};
use queue::{Jobs, Work};
use size::octets_of;
pub(super) use transaction::{Settled, Unsettled};

/// What the writer works with.
pub(super) struct Context {
    pub store: Arc<Store>,
    pub feed: Arc<Feed>,
    pub schema: Arc<Schema>,
    pub accounts: Arc<Accounts>,
    pub suffixes: Vec<NormalizedDn>,
    pub limits: DirectoryLimits,
    pub general: Arc<General>,
    pub integrity: Integrity,
    pub kinds: Kinds,
}

/// An update whose rights were checked.
pub(super) struct Asked {
    /// DN of who changes.
    pub actor: String,
    pub view: Arc<View>,
    pub key: NormalizedDn,
    pub request: UpdateRequest,
    pub secret: Option<SecretPlan>,
    /// The connection whose session goes on, because it changes its own secret; 0 is none.
    pub connection: u64,
    /// An entry moves, or goes with all below it, only where nothing is below it: who asks may neither move a member of a group
    /// that gives rights nor delete what decides who may do what.
    pub alone: bool,
    /// Given back once it is done, and what it reads is answered.
    pub room: Room,
}

/// A Password Modify whose rights were checked.
pub(super) struct SecretAsked {
    pub key: NormalizedDn,
    /// DN of who changes.
    pub actor: String,
    pub view: Arc<View>,
    /// The connection whose session goes on, because it changes its own; 0 is none.
    pub connection: u64,
    pub prepared: PreparedSecret,
    /// Where a password policy rules.
    pub ruled: Option<ChangeAsked>,
}

/// What an add or a modify is held to, and what comes with it.
#[derive(Clone, Copy)]
struct Rules<'a> {
    permissive: bool,
    /// Types that it may set because rules are relaxed.
    relaxed: &'a [AttributeId],
    planned: &'a Planned,
    /// What updates before it in a transaction did to secrets.
    following: &'a Following,
}

/// How an update ended, and the entry it was about.
pub(super) struct Applied {
    pub done: UpdateDone,
    pub entry_uuid: Option<[u8; 16]>,
    /// Those below it that went with it.
    pub below: Vec<[u8; 16]>,
    /// Octets of the entries it made anew.
    pub octets: usize,
}

impl Applied {
    /// The UUIDs of all entries that it was about.
    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.entry_uuid.iter().chain(&self.below)
    }

    pub(super) fn refused(outcome: Outcome) -> Applied {
        Applied {
            done: UpdateDone {
                outcome,
                pre_read: None,
                post_read: None,
                _room: None,
            },
            entry_uuid: None,
            below: Vec::new(),
            octets: 0,
        }
    }
}

/// Takes room for the entry before and after: whoever asks for large ones again and again, and does not take the answers, is to find an end.
fn room_to_read(
    mut room: Room,
    snapshot: &Snapshot,
    key: &NormalizedDn,
    request: &UpdateRequest,
) -> Result<Room, Outcome> {
    let there = snapshot.find(key).map_or(0, |at| snapshot.record(at).octets().len());
    let before = request.pre_read.as_ref().map_or(0, |_| there);
    let after = request.post_read.as_ref().map_or(0, |_| there + request.octets);
    room.grow(before + after).map(|()| room)
}

/// What one accepted update does.
#[derive(Default)]
pub(super) struct Effects {
    pub changes: Vec<Change>,
    pub keyed: Vec<KeyedWrite>,
    pub entry_uuid: Option<[u8; 16]>,
    /// Entries below it that go with it.
    pub below: Vec<[u8; 16]>,
    /// What becomes of the account once nothing refuses the update, and its new secret is in force.
    pub locks: Vec<Lock>,
    /// When, in microseconds, of this update alone.
    pub changed: u64,
}

/// The state of the writer thread.
struct Writer {
    context: Context,
    times: ChangeTimes,
    /// Entries changed by the group.
    touched: RefCell<Vec<NormalizedDn>>,
    noting: Noting,
    /// How many updates the group before had.
    last_group: Cell<usize>,
    /// Octets of the entries that the group made anew.
    made: Cell<usize>,
    /// Of the group as it stands.
    plain: PlainNames,
    /// Where the tasks run that wait for answers.
    runtime: Option<Handle>,
}

/// How long a group that is smaller than the one before waits for more. To make one durable takes several times as long.
const GATHERING: Duration = Duration::from_micros(100);

impl Writer {
    fn new(context: Context, runtime: Option<Handle>) -> Writer {
        Writer {
            times: ChangeTimes::after(context.feed.position().0),
            noting: Noting::new(context.feed.clone()),
            context,
            touched: RefCell::default(),
            last_group: Cell::new(0),
            made: Cell::new(0),
            plain: PlainNames::default(),
            runtime,
        }
    }

    fn run(&mut self, jobs: &mut Jobs<'_>) {
        let pause = Duration::from_secs(self.context.limits.bookkeeping_seconds.max(1));
        loop {
            match jobs.wait(pause) {
                Ok(Work::Schema { change, reply }) => drop(reply.send(self.change_schema(*change))),
                Ok(Work::Job(first)) => self.group(first, jobs),
                Err(RecvTimeoutError::Timeout) => self.keep_books(),
                Err(RecvTimeoutError::Disconnected) => return self.keep_books(),
            }
        }
    }

    fn change_schema(&mut self, change: SchemaChange) -> Result<(), StoreError> {
        let SchemaChange {
            schema,
            integrity,
            written,
        } = change;
        let context = &mut self.context;
        context.store.change_schema(Arc::clone(&schema), vec![written])?;
        context.kinds = Kinds::new(&schema);
        self.plain.forget_all();
        context.integrity = integrity;
        context.schema = schema;
        Ok(())
    }

    /// Applies what is waiting, commits once, answers.
    fn group(&self, first: Job, jobs: &mut Jobs<'_>) {
        let limits = &self.context.limits;
        let limit = limits.group_updates;
        let mut waiting = VecDeque::from([first]);
        jobs.gather(limit, &mut waiting);
        // Who was answered a moment ago asks again in a moment: worth a wait that is short beside what a group costs, if it
        // is likely that they come.
        if waiting.len() < self.last_group.get() && jobs.may_come() {
            std::thread::sleep(GATHERING);
            jobs.gather(limit, &mut waiting);
        }
        let mut group = self.context.store.begin();
        self.context.accounts.begin();
        self.noting.begin();
        self.made.set(0);
        let mut held: Vec<Held> = Vec::with_capacity(waiting.len());
        // All that a group makes anew is in memory until it is durable.
        while held.len() < limit && self.made.get() <= limits.rename_octets {
            let Some(job) = waiting.pop_front().or_else(|| jobs.next()) else {
                break;
            };
            held.push(self.apply(job, &mut group));
        }
        jobs.put_back(waiting);
        self.last_group.set(held.len());
        let committed = group.commit();
        self.context.accounts.settle(committed.is_ok());
        let touched = self.touched.take();
        if !touched.is_empty() {
            let Context {
                general,
                accounts,
                store,
                ..
            } = &self.context;
            general.follow(accounts, &store.snapshot(), &touched);
        }
        if let Err(fault) = &committed {
            tracing::error!(%fault, "a group of updates could not be made durable");
        }
        self.noting.end(committed.is_ok());
        held::answer(held, committed.is_ok(), self.runtime.as_ref());
    }

    fn keep_books(&self) {
        let writes = self.context.accounts.drain_writes();
        if writes.is_empty() {
            return;
        }
        let mut group = self.context.store.begin();
        group.apply(Vec::new(), writes);
        if let Err(fault) = group.commit() {
            tracing::error!(%fault, "account bookkeeping could not be written");
        }
    }

    fn apply(&self, job: Job, group: &mut WriteGroup<'_>) -> Held {
        match job {
            Job::Update { asked, reply } => {
                let applied = self.update(*asked, group, &mut Following::AtOnce);
                Held::Update(reply, applied.unwrap_or_else(Applied::refused))
            }
            Job::Transaction { updates, reply } => Held::Transaction(reply, self.transaction(updates, group)),
            Job::Secret { asked, reply } => {
                let outcome = self.set_secret(group, *asked).err().unwrap_or_else(Outcome::success);
                Held::Secret(reply, outcome)
            }
            Job::Keep { key, reply } => {
                group.apply(Vec::new(), self.context.accounts.kept(&key));
                Held::Kept(reply)
            }
            Job::Bookkeeping { reply } => {
                group.apply(Vec::new(), self.context.accounts.drain_writes());
                Held::Bookkeeping(reply)
            }
        }
    }

    /// Holds an update to its assertion, applies it to the group, and reads what was asked before and after.
    fn update(&self, asked: Asked, group: &mut WriteGroup<'_>, following: &mut Following) -> Result<Applied, Outcome> {
        let schema = &self.context.schema;
        let (view, request, key) = (&asked.view, asked.request, &asked.key);
        let post_selection = request.post_read.clone();
        let target = Target::of(group.snapshot(), key);
        let knowledge = Knowledge {
            kind: &self.context.kinds.referral,
            snapshot: group.snapshot(),
            schema,
            view,
            plain: Some(&self.plain),
            target: Some(target),
        };
        refer_update(knowledge, key, &request)?;
        let who = Who {
            dn: &asked.actor,
            view,
            connection: asked.connection,
        };
        if !matches!(request.update, Update::Add(_)) && !who.reaches(group.snapshot(), target) {
            return Err(no_such_object(group.snapshot(), view, key));
        }
        let superior = new_superior(schema, key, &request.update);
        if let Some(at) = superior.and_then(|superior| seen(group.snapshot(), view, &superior)) {
            let record = group.snapshot().record(at);
            self.context.kinds.check_superior(record, schema)?;
        }
        check_update(group.snapshot(), schema, view, key, &request, &self.context.kinds)?;
        // Of the group as it stands: what lies below may have come there a moment ago.
        if asked.alone && group.snapshot().children(key, 1) > 0 {
            let message = "entries below may decide who may do what, or be members of a group that does: they are for administrators";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        }
        let reads = request.pre_read.is_some() || request.post_read.is_some();
        let room = match reads {
            true => Some(room_to_read(asked.room, group.snapshot(), key, &request)?),
            false => None,
        };
        let pre_read = self.read(group.snapshot(), view, key, &request.pre_read);
        let mut effects = self.effects(group.snapshot(), &who, target, request, asked.secret, following)?;
        let put = match effects.changes.last() {
            Some(Change::Put { key: put, .. }) => put.clone(),
            Some(Change::Delete { .. }) | None => key.clone(),
        };
        let (entry_uuid, below) = (effects.entry_uuid, std::mem::take(&mut effects.below));
        let octets = octets_of(&effects.changes);
        self.made.set(self.made.get().saturating_add(octets));
        self.take_in(group, target, effects, following);
        let done = UpdateDone {
            outcome: Outcome::success(),
            pre_read,
            post_read: self.read(group.snapshot(), view, &put, &post_selection),
            _room: room,
        };
        Ok(Applied {
            done,
            entry_uuid,
            below,
            octets,
        })
    }

    /// What the pre-read or post-read control asks for of the entry under `key`.
    fn read(
        &self,
        snapshot: &Snapshot,
        view: &View,
        key: &NormalizedDn,
        selection: &Option<Selection>,
    ) -> Option<ReleasedCopy> {
        let selection = selection.as_ref()?;
        let Context {
            schema,
            accounts,
            kinds,
            ..
        } = &self.context;
        let snapshot = &Arc::new(snapshot.clone());
        let collective = kinds.collective_in(snapshot, schema);
        let computation = Computation {
            accounts,
            groups: Groups {
                snapshot,
                schema,
                view,
                collective: collective.as_ref(),
                kept: None,
            },
            snapshot,
        };
        conditions::read(&computation, key, selection)
    }

    /// An accepted update of the entry under `key` becomes part of the group.
    fn take_in(&self, group: &mut WriteGroup<'_>, target: Target<'_>, mut effects: Effects, following: &mut Following) {
        following.take(&self.context, target.key, &mut effects);
        self.note_touched(&effects);
        let position = Position(effects.changed);
        self.noting.note(group.snapshot(), &effects.changes, position);
        self.plain.forget(&effects.changes);
        let Effects { changes, keyed, .. } = effects;
        let replaces = matches!(changes.as_slice(), [Change::Put { key, .. }] if key == target.key);
        match target.at.filter(|_| replaces) {
            Some(at) => group.replace(at, changes, keyed),
            None => group.apply(changes, keyed),
        };
    }

    /// Entries whose change may change what a loaded account is.
    fn note_touched(&self, effects: &Effects) {
        if !self.context.general.enabled {
            return;
        }
        let keys = effects.changes.iter().map(|change| match change {
            Change::Put { key, .. } | Change::Delete { key, .. } => key.clone(),
        });
        self.touched.borrow_mut().extend(keys);
    }

    /// What an update does to the directory as the group has left it, or why it is refused.
    fn effects(
        &self,
        snapshot: &Snapshot,
        who: &Who<'_>,
        target: Target<'_>,
        request: UpdateRequest,
        secret: Option<SecretPlan>,
        following: &mut Following,
    ) -> Result<Effects, Outcome> {
        let key = target.key;
        let (permissive, relax, no_op) = (request.permissive, request.relax, request.no_op);
        let planned = following.plan(&self.context, key, secret, permissive)?;
        let relaxed = match relax {
            true => relax::asked(&self.context.schema, &request.update),
            false => Vec::new(),
        };
        let rules = Rules {
            permissive,
            relaxed: &relaxed,
            planned: &planned,
            following,
        };
        let author = self.author(snapshot, who);
        let (deletes, renames) = match &request.update {
            Update::Delete { .. } => (true, false),
            Update::ModifyDn { .. } => (false, true),
            Update::Add(_) | Update::Modify { .. } => (false, false),
        };
        let mut effects = match request.update {
            Update::Add(entry) => self.add(snapshot, &author, key, entry, rules)?,
            Update::Delete { tree: true, .. } => self.delete_tree(snapshot, &author, key)?,
            Update::Delete { .. } => self.delete(snapshot, &author, key)?,
            Update::Modify { changes, .. } => self.modify(snapshot, &author, target, changes, rules)?,
            Update::ModifyDn {
                new_rdn,
                delete_old_rdn,
                new_superior,
                ..
            } => {
                let asked = rename::Rename {
                    new_rdn,
                    delete_old_rdn,
                    new_superior,
                };
                rename::effects(&self.context, snapshot, &author, key, asked)?
            }
        };
        let integrity = &self.context.integrity;
        if !relax {
            integrity.check_unique(snapshot, &self.context.schema, &effects)?;
        }
        let referring = match deletes || renames {
            true => self.referring(snapshot, who, key, renames, &mut effects)?,
            false => Vec::new(),
        };
        self.check_size(&effects.changes, &referring)?;
        following.check_names(&self.context, key, &planned, &effects.changes)?;
        if no_op {
            return Err(Outcome::new(ResultCode::NoOperation, ""));
        }
        // From here on nothing is refused: what follows changes accounts at once.
        let put = (planned, std::mem::take(&mut effects.locks));
        let writes = following.put(&self.context, key, put, author.now, who.connection);
        effects.keyed.extend(writes);
        // Entries that refer were changed after it.
        effects.changed = self.times.last();
        // Those of the entry itself stay last.
        effects.changes.splice(0..0, referring);
        Ok(effects)
    }

    fn author<'a>(&self, snapshot: &Snapshot, who: &Who<'a>) -> Author<'a> {
        let changed = self.times.next(clock::microseconds());
        Author {
            actor: who.dn,
            view: who.view,
            now: changed / 1_000_000,
            changed,
            sequence: SequenceNumber(snapshot.sequence.0 + 1),
        }
    }

    /// What a delete or a rename does to the entries that refer to the entry. Accounts are left as they are.
    fn referring(
        &self,
        snapshot: &Snapshot,
        who: &Who<'_>,
        key: &NormalizedDn,
        renames: bool,
        effects: &mut Effects,
    ) -> Result<Vec<Change>, Outcome> {
        let to = match effects.changes.last() {
            Some(Change::Put { key: to, .. }) if renames && to == key => return Ok(Vec::new()),
            Some(Change::Put { key: to, record }) if renames => Some((
                to.clone(),
                parsed_dn(Record::new(record, self.context.schema.type_numbers()))?,
            )),
            _ => None,
        };
        let next = || self.author(snapshot, who);
        let is_account = |key: &NormalizedDn| is_account_key(key, &self.context.suffixes);
        let gone = Gone {
            from: key,
            to,
            most_octets: self.context.limits.rename_octets,
        };
        let Context { integrity, schema, .. } = &self.context;
        integrity.follow(snapshot, schema, &gone, effects, next, is_account)
    }

    fn add(
        &self,
        snapshot: &Snapshot,
        author: &Author<'_>,
        key: &NormalizedDn,
        mut entry: Entry,
        rules: Rules<'_>,
    ) -> Result<Effects, Outcome> {
        let (schema, planned) = (&self.context.schema, rules.planned);
        let mut locks = following::take_locks_of_new(&mut entry, planned);
        let kept = password_state::asked(schema, rules.relaxed);
        if !kept.is_empty() {
            rules.following.check_kept(&self.context, key, planned)?;
            let parts = password_state::take(schema, &mut entry, &kept)?;
            locks.extend(parts.into_iter().map(Lock::Kept));
        }
        let mut revision = Revision::given(entry);
        self.check(key, &mut revision, &|_| true, rules, ResultCode::NamingViolation)?;
        let mut entry = revision.entry;
        if snapshot.find(key).is_some() {
            return Err(Outcome::new(ResultCode::EntryAlreadyExists, ""));
        }
        if !self.context.suffixes.contains(key) {
            self.check_superior(snapshot, author.view, key)?;
        }
        let given = Given::of_add(schema, snapshot, &mut entry, rules.relaxed)?;
        spell_name(schema, snapshot, key, &mut entry.dn)?;
        let operational = given.over(Operational {
            entry_uuid: random_uuid(),
            created: author.now,
            modified: author.now,
            changed: author.changed,
            sequence: author.sequence.0,
            creator: author.actor,
            modifier: author.actor,
        });
        let record = record::encode(&entry, &operational, schema);
        let changes = vec![Change::Put {
            key: key.clone(),
            record,
        }];
        Ok(Effects {
            changes,
            keyed: Vec::new(),
            entry_uuid: Some(operational.entry_uuid),
            locks,
            ..Effects::default()
        })
    }

    fn check_superior(&self, snapshot: &Snapshot, view: &View, key: &NormalizedDn) -> Result<(), Outcome> {
        if !self.context.suffixes.iter().any(|suffix| key.is_within(suffix)) {
            let message = "the entry lies below no naming context of this server";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        match key.parent().filter(|parent| seen(snapshot, view, parent).is_none()) {
            None => Ok(()),
            Some(missing) => Err(no_such_object(snapshot, view, &missing)),
        }
    }
}

/// Where an update puts an entry that was not there.
fn new_superior(schema: &Schema, key: &NormalizedDn, update: &Update) -> Option<NormalizedDn> {
    match update {
        Update::Add(_) => key.parent(),
        Update::ModifyDn { new_superior, .. } => schema.normalize_dn(new_superior.as_ref()?).ok(),
        Update::Delete { .. } | Update::Modify { .. } => None,
    }
}

/// RFC 9562 version 4.
fn random_uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    getrandom::fill(&mut uuid).expect("the operating system gives random octets");
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A description without options.
pub(super) fn plain(attribute_type: &str) -> AttributeDescription {
    AttributeDescription {
        attribute_type: attribute_type.to_owned(),
        options: Vec::new(),
    }
}

/// A new entry's name begins with types by their first names and goes on as its superior's is stored.
fn spell_name(schema: &Schema, snapshot: &Snapshot, key: &NormalizedDn, dn: &mut Dn) -> Result<(), Outcome> {
    let superior = key.parent().and_then(|superior| snapshot.find(&superior));
    let (Some(at), Some(mut rdn)) = (superior, dn.rdn().cloned()) else {
        schema.spell_dn(dn);
        return Ok(());
    };
    schema.spell_rdn(&mut rdn);
    *dn = parsed_dn(snapshot.record(at))?.child(rdn);
    Ok(())
}

/// The parsed DN of a stored record.
pub(super) fn parsed_dn(record: Record<'_>) -> Result<Dn, Outcome> {
    Dn::parse(record.dn()).map_err(|fault| {
        tracing::error!(dn = record.dn(), %fault, "a stored name does not parse");
        Outcome::new(ResultCode::Other, "a stored name does not parse; run nhsdir check")
    })
}
