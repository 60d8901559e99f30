//! What an update means for the account room: secrets that change, follow a rename or go with their entry.

use super::application::{account_facts, is_account_key, old_secret_until, seconds_of};
use super::committer::{Context, Effects};
use super::secret::{self, PlannedSecrets, SecretPlan};
use super::update::{Modification, ModificationKind};
use super::{clock, password_policy};
use crate::account::{Accounts, ChangeAsked, KEY_OCTETS_MAX, KeptPart, PreparedSecret, SecretFault};
use crate::model::{Attribute, AttributeDescription, Entry, Outcome, ResultCode, Value};
use crate::schema::NormalizedDn;
use crate::store::{Change, KeyedWrite, Record, Snapshot};
use std::collections::{HashMap, HashSet};

/// Secrets that an update may put in force once nothing refuses it any more.
pub(super) enum Planned {
    Nothing,
    Account(PreparedSecret),
    General(Vec<PreparedSecret>),
}

impl Planned {
    fn gives_secret(&self) -> bool {
        match self {
            Planned::Nothing => false,
            Planned::Account(_) => true,
            Planned::General(secrets) => !secrets.is_empty(),
        }
    }

    /// Puts the secrets in force. `keep_old` lets an application account's secret of before stay valid as its entry says.
    pub(super) fn put(
        self,
        context: &Context,
        key: &NormalizedDn,
        keep_old_until: Option<u64>,
        now: u64,
        connection: u64,
    ) -> Vec<KeyedWrite> {
        let accounts = &context.accounts;
        match self {
            Planned::Nothing => Vec::new(),
            Planned::Account(prepared) => accounts.set_secret(key, prepared, keep_old_until, now, connection),
            Planned::General(secrets) => accounts.put_secrets(key, secrets, now, connection),
        }
    }

    /// For the check of its schema, an entry of the general directory holds `userPassword` where it has a secret. Gives
    /// whether it is to be checked so: an application account's secret is kept apart from its entry, and the manager has
    /// one whether its entry can hold it or not.
    pub(super) fn stand_in(
        &self,
        context: &Context,
        following: &Following,
        key: &NormalizedDn,
        entry: &mut Entry,
    ) -> bool {
        if !context.general.enabled || is_account_key(key, &context.suffixes) {
            return false;
        }
        if context.general.is_manager(key) && matches!(self, Planned::Nothing) {
            return false;
        }
        let has_secret = match self {
            Planned::General(secrets) => !secrets.is_empty(),
            Planned::Nothing | Planned::Account(_) => following.has_secret(context, key),
        };
        if has_secret {
            entry.attributes.push(Attribute::new("userPassword", vec![Vec::new()]));
        }
        true
    }
}

/// What a modification of pwdAccountLockedTime or pwdReset asks, or of what else is kept beside a secret.
pub(super) enum Lock {
    /// Since then; 0 is for ever.
    Since(u64),
    Off,
    MustChange(bool),
    Kept(KeptPart),
}

/// Whether an attribute stands for a state of the account room that administrators change.
pub(super) fn is_lock(description: &AttributeDescription) -> bool {
    is_locked_time(description) || description.attribute_type.eq_ignore_ascii_case("pwdReset")
}

fn is_locked_time(description: &AttributeDescription) -> bool {
    description.attribute_type.eq_ignore_ascii_case("pwdAccountLockedTime")
}

/// Takes the locks and unlocks of an account, or of an entry that has a secret or is given one, out of a modify. What is not
/// taken is refused like all that the server keeps: there must be a secret to change.
pub(super) fn take_locks(
    context: &Context,
    following: &Following,
    key: &NormalizedDn,
    changes: Vec<Modification>,
    planned: &Planned,
) -> (Vec<Modification>, Vec<Lock>) {
    if !changes.iter().any(|change| is_lock(&change.description)) {
        return (changes, Vec::new());
    }
    let has_secret = planned.gives_secret() || following.has_secret(context, key);
    let is_account = is_account_key(key, &context.suffixes);
    let (locks, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| {
        is_lock(&change.description) && (has_secret || is_account && is_locked_time(&change.description))
    });
    let lock = |change: &Modification| {
        let value = change
            .values
            .first()
            .filter(|_| change.kind != ModificationKind::Delete);
        lock_of(&change.description, value)
    };
    (rest, locks.iter().map(lock).collect())
}

/// Takes the locks of an entry to add out of it, where it comes with a secret.
pub(super) fn take_locks_of_new(entry: &mut Entry, planned: &Planned) -> Vec<Lock> {
    let mut locks = Vec::new();
    if planned.gives_secret() {
        entry.attributes.retain(|attribute| {
            let taken = is_lock(&attribute.description);
            locks.extend(taken.then(|| lock_of(&attribute.description, attribute.values.first())));
            !taken
        });
    }
    locks
}

/// `value` `None` is none.
fn lock_of(description: &AttributeDescription, value: Option<&Value>) -> Lock {
    match value {
        value if !is_locked_time(description) => {
            Lock::MustChange(value.is_some_and(|value| !value.eq_ignore_ascii_case(b"FALSE")))
        }
        None => Lock::Off,
        // What is no time locks for ever: the safe side.
        Some(value) => Lock::Since(seconds_of(&String::from_utf8_lossy(value)).unwrap_or(0)),
    }
}

/// Locks and unlocks, once nothing refuses the modify any more.
fn lock(context: &Context, key: &NormalizedDn, locks: Vec<Lock>) -> Vec<KeyedWrite> {
    let accounts = &context.accounts;
    let writes = locks.into_iter().flat_map(|lock| match lock {
        Lock::Since(since) => accounts.lock(key, since),
        Lock::Off => accounts.unlock(key),
        Lock::MustChange(must_change) => accounts.set_must_change(key, must_change),
        Lock::Kept(part) => accounts.keep(key, part),
    });
    writes.collect()
}

pub(super) fn too_long_a_name() -> Outcome {
    let message = format!("expected a name of at most {KEY_OCTETS_MAX} octets for who has a secret");
    Outcome::new(ResultCode::AdminLimitExceeded, message)
}

/// Takes the stand-in out again: without values it is not there.
pub(super) fn take_stand_in(entry: &mut Entry) {
    let attributes = entry.attributes.iter_mut();
    let secrets = attributes.filter(|attribute| secret::is_secret(&attribute.description));
    secrets.for_each(|attribute| attribute.values.clear());
}

/// Until when the secret of before stays valid, as the account's entry says.
pub(super) fn kept_until(snapshot: &Snapshot, key: &NormalizedDn, now: u64) -> Option<u64> {
    let record = snapshot.record(snapshot.find(key)?);
    old_secret_until(record).filter(|until| *until > now)
}

/// When accounts follow an update.
pub(super) enum Following {
    AtOnce,
    /// Once all updates of a transaction are accepted.
    Later(Later),
}

/// What the updates of a transaction did so far to accounts and secrets.
#[derive(Default)]
pub(super) struct Later {
    /// In turn.
    steps: Vec<Step>,
    /// The secrets of the entries concerned, as they will be.
    secrets: HashMap<NormalizedDn, Vec<PreparedSecret>>,
}

enum Step {
    Put {
        key: NormalizedDn,
        planned: Planned,
        now: u64,
        connection: u64,
    },
    Lock(NormalizedDn, Vec<Lock>),
    /// Entries that are gone from where they were, and accounts that are new or changed.
    Follow(NormalizedDn, Vec<Change>),
}

impl Following {
    /// What a plan comes to for the entry under `key`.
    ///
    /// # Errors
    /// A step that cannot be taken.
    pub(super) fn plan(
        &self,
        context: &Context,
        key: &NormalizedDn,
        asked: Option<SecretPlan>,
        permissive: bool,
    ) -> Result<Planned, Outcome> {
        let Some(SecretPlan { secrets, ruled }) = asked else {
            return Ok(Planned::Nothing);
        };
        if let Some(ruled) = &ruled {
            self.check_change(context, key, ruled)?;
        }
        match secrets {
            PlannedSecrets::Account(prepared) => Ok(Planned::Account(prepared)),
            PlannedSecrets::General(steps) => {
                let before = match self.pending(key) {
                    Some(pending) => pending.clone(),
                    None => context.accounts.secrets_of(key),
                };
                let planned = Accounts::plan_secrets(before, steps, permissive, context.general.secrets);
                match planned {
                    Ok(secrets) if ruled.is_some_and(|ruled| ruled.gives) && secrets.len() > 1 => {
                        Err(secret::refused(SecretFault::OneAlone))
                    }
                    planned => planned.map(Planned::General).map_err(secret::refused),
                }
            }
        }
    }

    /// Holds a change to its policy once more: another may have come in between, which makes the secret too young.
    fn check_change(&self, context: &Context, key: &NormalizedDn, ruled: &ChangeAsked) -> Result<(), Outcome> {
        let Some(policy) = context.accounts.policy(key) else {
            return Ok(());
        };
        let asked = ChangeAsked {
            again: self.pending(key).is_some(),
            ..*ruled
        };
        let checked = context.accounts.check_change(key, &policy, &asked, clock::seconds());
        checked.map_err(password_policy::refusal)
    }

    fn pending(&self, key: &NormalizedDn) -> Option<&Vec<PreparedSecret>> {
        match self {
            Following::AtOnce => None,
            Following::Later(later) => later.secrets.get(key),
        }
    }

    /// Whether an entry has a secret, as the updates before have left it.
    fn has_secret(&self, context: &Context, key: &NormalizedDn) -> bool {
        match self.pending(key) {
            Some(pending) => !pending.is_empty(),
            None => context.accounts.has_secret(key),
        }
    }

    /// Refuses to say what is kept beside a secret where there is none, or where updates before it in a transaction have to do with it:
    /// what they leave is known at the end alone.
    pub(super) fn check_kept(&self, context: &Context, key: &NormalizedDn, planned: &Planned) -> Result<(), Outcome> {
        if !planned.gives_secret() && !self.has_secret(context, key) {
            let message = "what is kept beside a secret is the server's: there is none";
            return Err(Outcome::new(ResultCode::ConstraintViolation, message));
        }
        let concerned = |step: &Step| matches!(step, Step::Lock(of, _) if of == key);
        match self {
            Following::Later(later) if later.secrets.contains_key(key) || later.steps.iter().any(concerned) => {
                let message = "an update before it in the transaction has to do with the entry's secret";
                Err(Outcome::new(ResultCode::UnwillingToPerform, message))
            }
            Following::Later(_) | Following::AtOnce => Ok(()),
        }
    }

    /// Refuses to keep anything of an account, or of an entry with a secret, under a key that is too long for it.
    pub(super) fn check_names(
        &self,
        context: &Context,
        key: &NormalizedDn,
        planned: &Planned,
        changes: &[Change],
    ) -> Result<(), Outcome> {
        let is_long = |key: &NormalizedDn| key.0.len() > KEY_OCTETS_MAX;
        let moves = Moves::new(key, changes);
        let concerned = |change: &Change| match change {
            Change::Put { key, .. } => is_long(key) && is_account_key(key, &context.suffixes),
            Change::Delete { key: gone, .. } => {
                let to = moves.destination(gone).map(|(to, _)| to);
                to.is_some_and(is_long) && self.has_secret(context, gone)
            }
        };
        if !(is_long(key) && planned.gives_secret() || changes.iter().any(concerned)) {
            return Ok(());
        }
        Err(too_long_a_name())
    }

    /// Puts secrets in force, locks and unlocks: nothing refuses the update any more. `connection` goes on, because it changes its
    /// own secret.
    pub(super) fn put(
        &mut self,
        context: &Context,
        key: &NormalizedDn,
        (planned, locks): (Planned, Vec<Lock>),
        now: u64,
        connection: u64,
    ) -> Vec<KeyedWrite> {
        let later = match self {
            Following::AtOnce => {
                let mut writes = planned.put(context, key, None, now, connection);
                writes.extend(lock(context, key, locks));
                return writes;
            }
            Following::Later(later) => later,
        };
        match &planned {
            Planned::Nothing => {}
            Planned::Account(secret) => _ = later.secrets.insert(key.clone(), vec![secret.clone()]),
            Planned::General(secrets) => _ = later.secrets.insert(key.clone(), secrets.clone()),
        }
        if !matches!(planned, Planned::Nothing) {
            later.steps.push(Step::Put {
                key: key.clone(),
                planned,
                now,
                connection,
            });
        }
        if !locks.is_empty() {
            later.steps.push(Step::Lock(key.clone(), locks));
        }
        Vec::new()
    }

    /// An accepted update of the entry under `key`.
    pub(super) fn take(&mut self, context: &Context, key: &NormalizedDn, effects: &mut Effects) {
        match self {
            Following::AtOnce => follow(context, key, effects),
            Following::Later(later) => later.take(context, key, &effects.changes),
        }
    }

    /// What accounts have to write down for the whole transaction.
    pub(super) fn finish(self, context: &Context) -> Vec<KeyedWrite> {
        let Following::Later(later) = self else {
            return Vec::new();
        };
        let done = |step| match step {
            Step::Put {
                key,
                planned,
                now,
                connection,
            } => planned.put(context, &key, None, now, connection),
            Step::Lock(key, locks) => lock(context, &key, locks),
            Step::Follow(key, changes) => {
                let mut effects = Effects {
                    changes,
                    ..Effects::default()
                };
                follow(context, &key, &mut effects);
                effects.keyed
            }
        };
        later.steps.into_iter().flat_map(done).collect()
    }
}

impl Later {
    /// Secrets go with their entries, as long as those stay what they are: that of an application is none of another entry's.
    fn take(&mut self, context: &Context, key: &NormalizedDn, changes: &[Change]) {
        let is_account = |key: &NormalizedDn| is_account_key(key, &context.suffixes);
        let mut follows = false;
        let moves = Moves::new(key, changes);
        for change in changes {
            let gone = match change {
                Change::Delete { key: gone, .. } => gone,
                Change::Put { key, .. } => {
                    follows |= is_account(key);
                    continue;
                }
            };
            follows = true;
            if context.general.is_manager(gone) || !(context.general.enabled || is_account(gone)) {
                continue;
            }
            let before = self.secrets.insert(gone.clone(), Vec::new());
            let secrets = before.unwrap_or_else(|| context.accounts.secrets_of(gone));
            let to = moves.destination(gone).map(|(to, _)| to);
            if let Some(to) = to.filter(|to| is_account(to) == is_account(gone)) {
                self.secrets.insert(to.clone(), secrets);
            }
        }
        if follows {
            self.steps.push(Step::Follow(key.clone(), changes.to_vec()));
        }
    }
}

/// Tells the account room what the update of the entry under `key` did to accounts and to entries that have secrets.
fn follow(context: &Context, key: &NormalizedDn, effects: &mut Effects) {
    let accounts = &context.accounts;
    let is_account = |key: &NormalizedDn| is_account_key(key, &context.suffixes);
    let mut writes = Vec::new();
    let mut moved = HashSet::new();
    let moves = Moves::new(key, &effects.changes);
    for change in &effects.changes {
        let Change::Delete { key: gone, .. } = change else {
            continue;
        };
        let to = moves.destination(gone);
        if let Some((to, record)) = to.filter(|(to, _)| is_account(gone) && is_account(to)) {
            moved.insert(to);
            writes.extend(accounts.rename(
                gone,
                account_facts(to, Record::new(record, context.schema.type_numbers())),
            ));
        } else if is_account(gone) {
            writes.extend(accounts.remove(gone));
        } else if accounts.knows(gone) && !context.general.is_manager(gone) {
            // Nobody becomes an application by moving there.
            let to = to.map(|(to, _)| to).filter(|to| !is_account(to));
            writes.extend(accounts.move_secrets(gone, to));
        }
    }
    for change in &effects.changes {
        if let Change::Put { key, record } = change
            && is_account(key)
            && !moved.contains(key)
        {
            accounts.put(account_facts(key, Record::new(record, context.schema.type_numbers())));
        }
    }
    effects.keyed.extend(writes);
}

/// Where the entries that a rename moves are then.
struct Moves<'c> {
    from: &'c NormalizedDn,
    /// The renamed entry, which the last change of a rename puts, and all that is put; nothing where nothing moves.
    to: Option<&'c NormalizedDn>,
    put: HashMap<&'c NormalizedDn, &'c [u8]>,
}

impl<'c> Moves<'c> {
    /// Those of the update of the entry under `from`.
    fn new(from: &'c NormalizedDn, changes: &'c [Change]) -> Moves<'c> {
        let moves = changes.iter().any(|change| matches!(change, Change::Delete { .. }));
        let to = match changes.last() {
            Some(Change::Put { key, .. }) if moves => Some(key),
            _ => None,
        };
        let put = changes.iter().filter_map(|change| match change {
            Change::Put { key, record } => Some((key, record.as_slice())),
            Change::Delete { .. } => None,
        });
        let put = to.map_or_else(HashMap::new, |_| put.collect());
        Moves { from, to, put }
    }

    /// Where an entry that is no longer under `gone` is now; `None` where it is gone.
    fn destination(&self, gone: &NormalizedDn) -> Option<(&'c NormalizedDn, &'c [u8])> {
        let tail = gone.0.strip_prefix(self.from.0.as_slice())?;
        let to = NormalizedDn([self.to?.0.as_slice(), tail].concat());
        self.put.get_key_value(&to).map(|(to, record)| (*to, *record))
    }
}
