//! What an update means for the account room: secrets that change, follow a rename or go with their entry.

use super::application::{account_facts, is_account_key, old_secret_until};
use super::committer::{Context, Effects};
use super::secret::{self, SecretPlan};
use crate::account::PreparedSecret;
use crate::model::{Attribute, Entry, Outcome};
use crate::schema::{AttributeId, NormalizedDn};
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
    /// whether it is to be checked so: an application account's secret is kept apart from its entry.
    pub(super) fn stand_in(&self, context: &Context, key: &NormalizedDn, entry: &mut Entry) -> bool {
        if !context.general.enabled || is_account_key(key, &context.suffixes) {
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

/// Tells the account room what the update of the entry under `key` did to accounts and to entries that have secrets.
pub(super) fn follow(context: &Context, types: &[AttributeId], key: &NormalizedDn, effects: &mut Effects) {
    let accounts = &context.accounts;
    let is_account = |key: &NormalizedDn| is_account_key(key, &context.suffixes);
    let mut writes = Vec::new();
    let mut moved = Vec::new();
    for change in &effects.changes {
        let Change::Delete { key: gone } = change else { continue };
        let to = destination(key, gone, &effects.changes);
        if let Some((to, record)) = to.filter(|(to, _)| is_account(gone) && is_account(to)) {
            moved.push(to);
            writes.extend(accounts.rename(gone, account_facts(to, Record::new(record, types))));
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
            accounts.put(account_facts(key, Record::new(record, types)));
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
