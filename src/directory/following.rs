//! What an update means for the account room: secrets that change, follow a rename or go with their entry.

use super::application::{account_facts, is_account_key, old_secret_until, seconds_of};
use super::committer::{Context, Effects};
use super::secret::{self, SecretPlan};
use super::update::{Modification, ModificationKind};
use crate::account::PreparedSecret;
use crate::model::{Attribute, AttributeDescription, Entry, Outcome, Value};
use crate::schema::NormalizedDn;
use crate::store::{Change, KeyedWrite, Record, Snapshot};

/// Secrets that an update may put in force once nothing refuses it any more.
pub(super) enum Planned {
    Nothing,
    Account(PreparedSecret),
    General(Vec<PreparedSecret>),
}

/// What a plan comes to for the entry under `key`.
///
/// # Errors
/// A step that cannot be taken.
pub(super) fn plan(
    context: &Context,
    key: &NormalizedDn,
    asked: Option<SecretPlan>,
    permissive: bool,
) -> Result<Planned, Outcome> {
    match asked {
        None => Ok(Planned::Nothing),
        Some(SecretPlan::Account(prepared)) => Ok(Planned::Account(prepared)),
        Some(SecretPlan::General(steps)) => context
            .accounts
            .plan_secrets(key, steps, permissive, context.general.secrets)
            .map(Planned::General)
            .map_err(secret::refused),
    }
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
    pub(super) fn stand_in(&self, context: &Context, key: &NormalizedDn, entry: &mut Entry) -> bool {
        if !context.general.enabled || is_account_key(key, &context.suffixes) {
            return false;
        }
        if context.general.is_manager(key) && matches!(self, Planned::Nothing) {
            return false;
        }
        let has_secret = match self {
            Planned::General(secrets) => !secrets.is_empty(),
            Planned::Nothing | Planned::Account(_) => context.accounts.has_secret(key),
        };
        if has_secret {
            entry.attributes.push(Attribute::new("userPassword", vec![Vec::new()]));
        }
        true
    }
}

/// What a modification of pwdAccountLockedTime or pwdReset asks.
pub(super) enum Lock {
    /// Since then; 0 is for ever.
    Since(u64),
    Off,
    MustChange(bool),
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
    key: &NormalizedDn,
    changes: Vec<Modification>,
    planned: &Planned,
) -> (Vec<Modification>, Vec<Lock>) {
    if !changes.iter().any(|change| is_lock(&change.description)) {
        return (changes, Vec::new());
    }
    let has_secret = planned.gives_secret() || context.accounts.has_secret(key);
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
pub(super) fn lock(context: &Context, key: &NormalizedDn, locks: Vec<Lock>) -> Vec<KeyedWrite> {
    let accounts = &context.accounts;
    let writes = locks.into_iter().flat_map(|lock| match lock {
        Lock::Since(since) => accounts.lock(key, since),
        Lock::Off => accounts.unlock(key),
        Lock::MustChange(must_change) => accounts.set_must_change(key, must_change),
    });
    writes.collect()
}

/// Takes the stand-in out again.
pub(super) fn take_stand_in(entry: &mut Entry) {
    entry
        .attributes
        .retain(|attribute| !secret::is_secret(&attribute.description));
}

/// Until when the secret of before stays valid, as the account's entry says.
pub(super) fn kept_until(snapshot: &Snapshot, key: &NormalizedDn, now: u64) -> Option<u64> {
    let record = snapshot.record(snapshot.find(key)?);
    old_secret_until(record).filter(|until| *until > now)
}

/// When accounts follow an update.
pub(super) enum Following {
    AtOnce,
    /// Once all updates of a transaction are accepted: what each did, in turn.
    Later(Vec<(NormalizedDn, Vec<Change>)>),
}

impl Following {
    /// An accepted update of the entry under `key`. Application accounts are no part of a transaction: there, only entries
    /// that are gone from where they were matter.
    pub(super) fn take(&mut self, context: &Context, key: &NormalizedDn, effects: &mut Effects) {
        match self {
            Following::AtOnce => follow(context, key, effects),
            Following::Later(later) => {
                if effects
                    .changes
                    .iter()
                    .any(|change| matches!(change, Change::Delete { .. }))
                {
                    later.push((key.clone(), effects.changes.clone()));
                }
            }
        }
    }

    /// What accounts have to write down for the whole transaction.
    pub(super) fn finish(self, context: &Context) -> Vec<KeyedWrite> {
        let Following::Later(later) = self else {
            return Vec::new();
        };
        let follow = |(key, changes)| {
            let mut effects = Effects {
                changes,
                ..Effects::default()
            };
            follow(context, &key, &mut effects);
            effects.keyed
        };
        later.into_iter().flat_map(follow).collect()
    }
}

/// Tells the account room what the update of the entry under `key` did to accounts and to entries that have secrets.
fn follow(context: &Context, key: &NormalizedDn, effects: &mut Effects) {
    let accounts = &context.accounts;
    let is_account = |key: &NormalizedDn| is_account_key(key, &context.suffixes);
    let mut writes = Vec::new();
    let mut moved = Vec::new();
    for change in &effects.changes {
        let Change::Delete { key: gone } = change else { continue };
        let to = destination(key, gone, &effects.changes);
        if let Some((to, record)) = to.filter(|(to, _)| is_account(gone) && is_account(to)) {
            moved.push(to);
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
            && !moved.contains(&key)
        {
            accounts.put(account_facts(key, Record::new(record, context.schema.type_numbers())));
        }
    }
    effects.keyed.extend(writes);
}

/// Where an entry that is no longer under `gone` is now; `None` where it is gone. The last change of a rename puts the renamed entry.
fn destination<'c>(
    key: &NormalizedDn,
    gone: &NormalizedDn,
    changes: &'c [Change],
) -> Option<(&'c NormalizedDn, &'c [u8])> {
    let Some(Change::Put { key: renamed, .. }) = changes.last() else {
        return None;
    };
    let tail = gone.0.strip_prefix(key.0.as_slice())?;
    changes.iter().find_map(|change| match change {
        Change::Put { key: to, record } if to.0.strip_prefix(renamed.0.as_slice()) == Some(tail) => {
            Some((to, record.as_slice()))
        }
        Change::Put { .. } | Change::Delete { .. } => None,
    })
}
