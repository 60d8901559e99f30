//! Is this application who it says it is?
//!
//! Useful for: authenticating application accounts at equal cost, secrets and their rotation, throttling and lock-out
//! evidence. Not for: what an account may see ([`crate::access`]), LDAP, files.
//!
//! An account is an entry below `ou=Applications,<suffix>` (its public facts, kept in the directory) and a secret state (kept in the
//! store's keyed area under `a/<key>`, in no search's reach). The directory feeds both in and writes the [`KeyedWrite`]s given back.
//!
//! Invariants: unknown name, wrong secret, disabled, expired and locked cost the same and read the same on the wire;
//! a secret is in memory only as [`Secret`], which wipes itself; argon2 runs only on this room's bounded pool.

pub mod lifecycle;
pub mod lockout;
pub mod secret;

use crate::model::{Outcome, Source};
use crate::schema::NormalizedDn;
use crate::store::KeyedWrite;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use secret::Secret;

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
}

/// An account as authentication sees it. Replaced, not changed, when its entry changes; `revoked` is then set on the old one.
#[derive(Debug)]
pub struct Account {
    pub facts: AccountFacts,
    /// Set when the account was changed, disabled, deleted or got a new secret: connections bound with it must bind again.
    pub revoked: AtomicBool,
}

/// Who is bound on a connection.
#[derive(Clone, Debug)]
pub struct Identity {
    pub account: Arc<Account>,
    /// The bind name as spelled, for the log.
    pub bound_as: String,
}

impl Identity {
    /// The administrator of this machine: root or the server's own user on ldapi. In no store, without a secret.
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
        };
        Identity {
            account: Arc::new(Account {
                facts,
                revoked: AtomicBool::new(false),
            }),
            bound_as: String::new(),
        }
    }
}

/// Numbers of the account room; defaults and keys in `config.rs`.
#[derive(Clone, Debug)]
pub struct AccountOptions {
    pub argon2_memory_kib: u32,
    pub argon2_iterations: u32,
    pub argon2_lanes: u32,
    /// Threads of the argon2 pool.
    pub pool_threads: usize,
    /// Verifications waiting before binds are answered busy.
    pub pool_queue: usize,
    /// Successful verifications remembered in memory (keyed hash under a per-process key); 0 turns it off.
    pub remembered: usize,
    /// Distinct failures from one source on one account before that source is throttled.
    pub failures_per_source: u32,
    pub throttle_seconds: u64,
}

impl Default for AccountOptions {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            argon2_lanes: 1,
            pool_threads: 2,
            pool_queue: 64,
            remembered: 10_000,
            failures_per_source: 10,
            throttle_seconds: 60,
        }
    }
}

/// Every account and its secret state, in memory.
pub struct Accounts {}

/// What a password modify or an import of an account gives the store to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedSecret {
    /// PHC string or an RFC 2307 style `{SCHEME}` value taken over from elsewhere.
    pub stored: String,
}

impl Accounts {
    pub fn new(options: AccountOptions) -> Accounts {
        let _ = options;
        todo!()
    }

    /// Takes in one value of the keyed area (key with the `a/` prefix) at start-up. Call before [`Accounts::put`].
    pub fn restore(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let _ = (key, value);
        todo!()
    }

    /// Adds or replaces an account from its entry.
    pub fn put(&self, facts: AccountFacts) {
        let _ = facts;
        todo!()
    }

    /// Forgets an account; the write deletes its secret state.
    pub fn remove(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let _ = key;
        todo!()
    }

    /// The entry was renamed: the secret state follows.
    pub fn rename(&self, from: &NormalizedDn, facts: AccountFacts) -> Vec<KeyedWrite> {
        let _ = (from, facts);
        todo!()
    }

    pub fn list(&self) -> Vec<Arc<Account>> {
        todo!()
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<Arc<Account>> {
        let _ = key;
        todo!()
    }

    /// Simple bind by DN (already normalised, `key`), by account name or by mail-like name (`name`). Answers from memory where it
    /// can, else on the pool. `now` is seconds since 1970. The error is what the wire says: always the same
    /// invalidCredentials, or busy when the pool's queue is full. What really happened goes to `detail` for audit and log.
    pub async fn authenticate(
        &self,
        name: &str,
        key: Option<&NormalizedDn>,
        secret: Secret,
        source: &Source,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let _ = (name, key, secret, source, now);
        todo!()
    }

    /// The same, only where it can be answered from memory at once; `None` means ask [`Accounts::authenticate`].
    pub fn authenticate_remembered(
        &self,
        name: &str,
        key: Option<&NormalizedDn>,
        secret: &[u8],
        source: &Source,
        now: u64,
    ) -> Option<Identity> {
        let _ = (name, key, secret, source, now);
        todo!()
    }

    /// SASL EXTERNAL with a client certificate.
    pub fn authenticate_certificate(
        &self,
        fingerprint: &[u8; 32],
        source: &Source,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let _ = (fingerprint, source, now);
        todo!()
    }

    /// Checks and hashes a chosen secret on the pool. The error says what a chosen secret must be.
    pub async fn prepare_chosen(&self, secret: Secret) -> Result<PreparedSecret, Outcome> {
        let _ = secret;
        todo!()
    }

    /// Makes a secret (160+ bits, printable, prefix and checksum) and hashes it.
    pub async fn prepare_generated(&self) -> Result<(Secret, PreparedSecret), Outcome> {
        todo!()
    }

    /// Takes over a `userPassword` value of an import: `{SSHA}`, `{SSHA256}`, `{SSHA512}`, `{ARGON2}`, `{CRYPT}`; clear text is refused.
    pub fn take_over(stored: &[u8]) -> Result<PreparedSecret, String> {
        let _ = stored;
        todo!()
    }

    /// Puts a secret in force and gives what the store must keep. `keep_old_until` lets the one before stay valid (rotation).
    /// Works for a key that has no account yet (import, add).
    pub fn set_secret(
        &self,
        key: &NormalizedDn,
        secret: PreparedSecret,
        keep_old_until: Option<u64>,
        now: u64,
    ) -> Vec<KeyedWrite> {
        let _ = (key, secret, keep_old_until, now);
        todo!()
    }

    pub fn unlock(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let _ = key;
        todo!()
    }

    /// Bookkeeping since the last call (last used, upgraded hashes, failures); the directory writes it every few seconds and at the end.
    pub fn drain_writes(&self) -> Vec<KeyedWrite> {
        todo!()
    }

    /// What is known of an account's secrets and failures, never a secret.
    pub fn status(&self, key: &NormalizedDn) -> Option<lifecycle::AccountStatus> {
        let _ = key;
        todo!()
    }
}

/// Why a bind was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the wire says.
    pub outcome: Outcome,
    /// For audit and log only: `unknown name`, `wrong secret`, `disabled`, `expired`, `throttled`, `busy`, `superseded secret`.
    pub detail: &'static str,
    /// The account's name where one was found.
    pub account: Option<String>,
}
