//! Is this application who it says it is?
//!
//! Useful for: authenticating application accounts at equal cost, secrets and their rotation, throttling and lock-out
//! evidence. Not for: what an account may see ([`crate::access`]), LDAP, files.
//!
//! An account is an entry below `ou=Applications,<suffix>` (its public facts, kept in the directory) and a secret state (kept in the
//! store's keyed area under `a/<key>`, in no search's reach). The directory feeds both in and writes the [`KeyedWrite`]s given back.
//!
//! Invariants: unknown name, wrong secret, disabled, expired and locked cost the same and read the same on the wire, and only
//! who brings the right secret of an account from a source that is not throttled is told which of them it is;
//! a secret is in memory only as [`Secret`], which wipes itself; argon2 runs only on this room's bounded pool.

mod accounts;
mod authentication;
mod index;
mod ledger;
pub mod lifecycle;
pub mod lockout;
pub mod policy;
mod pool;
mod remembered;
pub mod secret;
mod stored;
mod trial;
mod undo;
mod usability;

#[cfg(test)]
mod tests;

use crate::model::{Outcome, PasswordWarning};
use crate::schema::NormalizedDn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub use accounts::{Accounts, PasswordPolicies, exported};
pub use ledger::HISTORY_MAX;
pub use ledger::SecretFault;
pub use lifecycle::{AccountStatus, KeptPart, PasswordState, Unavailable, Usability};
pub use policy::{ChangeAsked, FAILURES_MAX, GRACE_MAX, PasswordPolicy};
pub use secret::{Secret, SecretRules};
pub use stored::{ARGON2_ITERATIONS_MAX, ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, SecretHasher};

/// Octets of the key under which something is kept of an account: the journal's pages hold hundreds of them, and have to stay small.
pub const KEY_OCTETS_MAX: usize = 480;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Role {
    Reader,
    Writer,
    Administrator,
}

/// The public facts of an account, read from its entry by the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFacts {
    pub key: NormalizedDn,
    pub dn: String,
    /// The value of the naming attribute (cn or uid).
    pub name: String,
    /// Mail-like bind names.
    pub mails: Vec<String>,
    pub role: Role,
    /// Release profile by name; `None` is the role's default profile (`reader`, `writer`, `administrator`).
    pub profile: Option<String>,
    pub disabled: bool,
    /// Seconds since 1970.
    pub expires: Option<u64>,
    /// SHA-256 of client certificates that may bind as this account with SASL EXTERNAL.
    pub certificates: Vec<[u8; 32]>,
    /// An entry of the general directory, or the manager: no account's name finds it.
    pub general: bool,
}

/// An account as authentication sees it. Replaced, not changed, when its entry changes; `revoked` is then set on the old one.
#[derive(Debug)]
pub struct Account {
    pub facts: AccountFacts,
    /// Set when the account was changed, disabled, deleted or its secret ended: connections bound with it must bind again.
    pub revoked: AtomicBool,
    ledger: Arc<ledger::Ledger>,
    /// What one connection goes on as, because it changed the account's secret itself.
    successor: OnceLock<(u64, Arc<Account>)>,
}

impl Account {
    /// An account with no secret.
    pub fn new(facts: AccountFacts) -> Account {
        Account::with_ledger(facts, Arc::default())
    }

    fn with_ledger(facts: AccountFacts, ledger: Arc<ledger::Ledger>) -> Account {
        Account {
            facts,
            revoked: AtomicBool::new(false),
            ledger,
            successor: OnceLock::new(),
        }
    }

    /// `connection` 0 is none.
    fn succeeded_by(&self, next: &Arc<Account>, connection: u64) {
        if connection != 0 {
            // Only the first change can be by somebody who was bound as this account.
            let _ = self.successor.set((connection, Arc::clone(next)));
        }
    }

    fn successor_on(&self, connection: u64) -> Option<Arc<Account>> {
        let (of, next) = self.successor.get()?;
        (*of == connection).then(|| Arc::clone(next))
    }

    fn is_expired(&self, now: u64) -> bool {
        self.facts.expires.is_some_and(|expires| expires <= now)
    }
}

/// Who is bound on a connection.
#[derive(Clone, Debug)]
pub struct Identity {
    pub account: Arc<Account>,
    /// The bind name as spelled, for the log.
    pub bound_as: String,
    pub secret: SecretTerm,
    /// What its password policy says of the secret that was brought.
    pub warning: Option<PasswordWarning>,
}

/// What holds of the secret that somebody is bound with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecretTerm {
    /// Seconds since 1970 when it ends, or the certificate that was brought in place of one; `u64::MAX` is never.
    pub until: u64,
    /// An administrator reset it: nothing is done before it is changed.
    pub must_change: bool,
    /// How often another secret had been put in front of the account's one before, which stayed valid for a while, when it was
    /// brought; `u64::MAX` where none was. So one that is given an end later ends the sessions it gave.
    pub(in crate::account) rotations: u64,
}

impl SecretTerm {
    /// Of who brought none.
    pub const NONE: SecretTerm = SecretTerm {
        until: u64::MAX,
        must_change: false,
        rotations: u64::MAX,
    };
}

impl Identity {
    /// The administrator who is the system's own: root or the server's user on the UNIX socket, and the command line with
    /// no server running. It is in no store, and nothing revokes it.
    pub fn local_administrator() -> Identity {
        let facts = AccountFacts {
            key: NormalizedDn::default(),
            dn: "cn=local administrator".to_owned(),
            name: "local administrator".to_owned(),
            mails: Vec::new(),
            role: Role::Administrator,
            profile: None,
            disabled: false,
            expires: None,
            certificates: Vec::new(),
            general: true,
        };
        Identity {
            account: Arc::new(Account::new(facts)),
            bound_as: "local administrator".to_owned(),
            secret: SecretTerm::NONE,
            warning: None,
        }
    }

    /// Seconds since 1970 when the account ends, or the secret it is bound with; `None` is never.
    pub fn ends(&self) -> Option<u64> {
        let until = Some(self.account.ledger.ends(self.secret)).filter(|until| *until < u64::MAX);
        self.account.facts.expires.into_iter().chain(until).min()
    }

    /// Whether it still holds: its account was not changed, disabled or deleted, and neither it nor the secret has ended. `now` is
    /// seconds since 1970, asked where something has an end.
    pub fn holds(&self, now: impl FnOnce() -> u64) -> bool {
        !self.account.revoked.load(Ordering::Acquire) && self.ends().is_none_or(|ends| now() < ends)
    }
}

/// Numbers of the account room; defaults and keys in `config.rs`.
#[derive(Clone, Debug)]
pub struct AccountOptions {
    pub argon2_memory_kib: u32,
    pub argon2_iterations: u32,
    pub argon2_lanes: u32,
    /// Threads of the argon2 pool; 0 is half of the cores.
    pub pool_threads: usize,
    /// Verifications waiting before binds are answered busy.
    pub pool_queue: usize,
    /// Successful verifications remembered in memory (keyed hash under a per-process key); 0 turns it off.
    pub remembered: usize,
    /// Distinct failures from one source on one account before that source is throttled.
    pub failures_per_source: u32,
    pub throttle_seconds: u64,
    /// Accounts, by name in lower case and by key, for which neither throttling nor the rules for chosen secrets hold.
    pub lenient: Vec<String>,
    pub lenient_keys: Vec<NormalizedDn>,
    /// Whether the rules for chosen secrets hold at all.
    pub secret_rules: bool,
    /// How long before its end a bind is warned of it, where the client asks.
    pub expiry_warning_seconds: u64,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            argon2_lanes: 1,
            pool_threads: 0,
            pool_queue: 64,
            remembered: 10_000,
            failures_per_source: 10,
            throttle_seconds: 60,
            lenient: Vec::new(),
            lenient_keys: Vec::new(),
            secret_rules: true,
            expiry_warning_seconds: 1_209_600,
        }
    }
}

/// What a password modify or an import of an account gives the store to keep.
#[derive(Clone, PartialEq, Eq)]
pub struct PreparedSecret {
    /// PHC string or an RFC 2307 style `{SCHEME}` value taken over from elsewhere.
    pub stored: String,
}

impl std::fmt::Debug for PreparedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreparedSecret(..)")
    }
}

/// One step of a change of an entry's secrets, in the order of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretStep {
    Add(PreparedSecret),
    /// One that is in force, as it is stored.
    Remove(PreparedSecret),
    /// All of them; there must be some.
    RemoveAll,
    /// All of them, if there are any.
    Clear,
}

/// Why a bind was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the wire says.
    pub outcome: Outcome,
    /// For audit and log only: `unknown name`, `wrong secret`, `wrong secret; locked now`, `wrong secret; delayed now`, `disabled`, `expired`, `locked`, `password expired`, `throttled`, `busy`,
    /// `superseded secret`, `no secret`, `account changed`, `unknown certificate`,
    /// `certificate has ended`; from the directory also `asked to act as another`, `the use of an expired secret could not be kept`.
    pub detail: &'static str,
    /// The account's name where one was found.
    pub account: Option<String>,
}
