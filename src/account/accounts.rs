//! Every account in memory: found by name, given secrets, locked and unlocked.

use super::index::Index;
use super::ledger::{Ledger, Ruled, SecretFault, area_key};
use super::policy::{ChangeAsked, PasswordPolicy, Verdict};
use super::pool::Pool;
use super::remembered::Remembered;
use super::secret::SecretRules;
use super::stored::{self, Stored};
use super::undo::Undo;
use super::usability;
use super::{
    Account, AccountFacts, AccountOptions, AccountStatus, Identity, KEY_OCTETS_MAX, KeptPart, PasswordState,
    PreparedSecret, Secret, SecretStep, SecretTerm, Usability,
};
use crate::model::{Outcome, PasswordFault, ResultCode};
use crate::schema::NormalizedDn;
use crate::store::KeyedWrite;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where the password policies come from that rule accounts.
pub struct PasswordPolicies {
    /// That of an account, by its key.
    pub of: Box<dyn Fn(&NormalizedDn) -> Option<PasswordPolicy> + Send + Sync>,
    /// Secrets of before that are kept of one account at most, whatever its policy says: each costs a change one run of argon2.
    pub history: usize,
}

/// Every account and its secret state, in memory. Shared by `Arc`.
pub struct Accounts {
    pub(super) options: AccountOptions,
    index: RwLock<Index>,
    pub(super) remembered: Remembered,
    pub(super) pool: Pool,
    /// Argon2 runs since the start.
    pub(super) runs: Arc<AtomicU64>,
    /// When the last old secret of any account ends. Until then every failed bind costs two runs, because that of an
    /// account with two secrets does.
    pub(super) two_secrets_until: AtomicU64,
    /// The most secrets that any account has in force without end: a failed bind costs as many runs.
    pub(super) most_secrets: AtomicU64,
    /// Not set where there are no password policies.
    policies: OnceLock<PasswordPolicies>,
    pub(super) undo: Undo,
}

impl Accounts {
    /// No accounts yet; starts the argon2 pool.
    pub fn new(options: AccountOptions) -> Accounts {
        Accounts {
            index: RwLock::default(),
            remembered: Remembered::new(options.remembered),
            pool: Pool::new(options.pool_threads, options.pool_queue),
            runs: Arc::default(),
            two_secrets_until: AtomicU64::new(0),
            most_secrets: AtomicU64::new(1),
            policies: OnceLock::new(),
            undo: Undo::default(),
            options,
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn options(&self) -> &AccountOptions {
        &self.options
    }

    /// From now on password policies rule.
    pub fn rule_by(&self, policies: PasswordPolicies) {
        // They are of the one directory that the accounts are of.
        let _ = self.policies.set(policies);
    }

    /// The password policy that rules an account.
    pub fn policy(&self, key: &NormalizedDn) -> Option<PasswordPolicy> {
        self.policies.get().and_then(|policies| (policies.of)(key))
    }

    /// Argon2 runs since the start: what tests hold the cost of a refusal to.
    pub fn argon2_runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Takes in one value of the keyed area (key with the `a/` prefix) at start-up. Call before [`Accounts::put`]. Keys of
    /// other areas are left alone.
    ///
    /// # Errors
    /// The value is no secret state that this version reads.
    pub fn restore(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let Some(key) = key.strip_prefix(b"a/") else {
            return Ok(());
        };
        let ledger = Ledger::restore(value)?;
        self.two_secrets_until.fetch_max(ledger.old_until(), Ordering::Relaxed);
        self.most_secrets.fetch_max(ledger.secrets() as u64, Ordering::Relaxed);
        self.index_mut()
            .ledgers
            .insert(NormalizedDn(key.to_vec()), Arc::new(ledger));
        Ok(())
    }

    /// Adds or replaces an account from its entry. Facts that are the same change nothing.
    pub fn put(&self, facts: AccountFacts) {
        let mut index = self.index_mut();
        if index
            .by_key
            .get(&facts.key)
            .is_some_and(|account| account.facts == facts)
        {
            return;
        }
        self.undo.note(&index, &facts.key);
        if index.put(facts) {
            // A name became ambiguous: what was remembered under it must not answer.
            self.remembered.forget_all();
        }
    }

    /// Forgets an account; the write deletes its secret state.
    pub fn remove(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let mut index = self.index_mut();
        self.undo.note(&index, key);
        index.take(key);
        index.ledgers.remove(key);
        vec![KeyedWrite {
            key: area_key(key),
            value: None,
        }]
    }

    /// The entry was renamed: the secret state follows.
    pub fn rename(&self, from: &NormalizedDn, facts: AccountFacts) -> Vec<KeyedWrite> {
        if *from == facts.key {
            self.put(facts);
            return Vec::new();
        }
        let mut index = self.index_mut();
        self.undo.note(&index, from);
        self.undo.note(&index, &facts.key);
        index.take(from);
        let key = facts.key.clone();
        let mut writes = vec![KeyedWrite {
            key: area_key(from),
            value: None,
        }];
        if let Some(ledger) = index.ledgers.remove(from) {
            writes.push(ledger.write(&key));
            index.ledgers.insert(key, ledger);
        }
        if index.put(facts) {
            self.remembered.forget_all();
        }
        writes
    }

    pub fn find(&self, key: &NormalizedDn) -> Option<Arc<Account>> {
        self.index().by_key.get(key).cloned()
    }

    /// The account of a bind name: by key where the name is a DN, else by account name or mail-like name in any case.
    /// A name that two accounts have is nobody's.
    pub fn find_by_name(&self, name: &str, key: Option<&NormalizedDn>) -> Option<Arc<Account>> {
        let index = self.index();
        let key = match key {
            Some(key) => key,
            None => match index.by_name.get(&name.trim().to_lowercase())?.as_slice() {
                [key] => key,
                _ => return None,
            },
        };
        index.by_key.get(key).cloned()
    }

    /// Whether a name is one of accounts, be it of more than one and so of none.
    pub fn is_name(&self, name: &str) -> bool {
        self.index().by_name.contains_key(&name.trim().to_lowercase())
    }

    /// Whether an account's state lets somebody act as it: it is there as it was found, not disabled, expired or locked, and its secret does
    /// not have to be changed first, which is for nobody else to do.
    pub fn may_act(&self, account: &Account, now: u64) -> bool {
        let policy = self.policy(&account.facts.key);
        let verdict = account.ledger.verdict(policy.as_ref(), now);
        let is_locked = matches!(verdict, Verdict::Locked { .. });
        let refused = account.facts.disabled || account.is_expired(now) || is_locked || account.ledger.must_change();
        !refused && !account.revoked.load(Ordering::Acquire)
    }

    /// Whether the account of an entry can be used; `None` where it has no secret. The facts are those of the entry.
    pub fn usability(&self, facts: &AccountFacts, now: u64) -> Option<Usability> {
        let ledger = self.index().ledgers.get(&facts.key).cloned();
        let state = ledger.filter(|ledger| ledger.secrets() > 0)?.secret_state();
        let usability = usability::of(self.policy(&facts.key).as_ref(), &state, now);
        Some(usability::held_to(usability, facts.disabled, facts.expires, now))
    }

    /// Whether neither throttling nor the rules for chosen secrets hold for an account.
    pub fn is_lenient(&self, key: &NormalizedDn) -> bool {
        let names = &self.options.lenient;
        if self.options.lenient_keys.contains(key) {
            return true;
        }
        !names.is_empty()
            && self
                .find(key)
                .is_some_and(|account| !account.facts.general && names.contains(&account.facts.name.to_lowercase()))
    }

    /// Checks a chosen secret.
    ///
    /// # Errors
    /// constraintViolation says what it must be.
    pub fn check_chosen(secret: &Secret, rules: SecretRules<'_>) -> Result<(), Outcome> {
        let refused = |(fault, message)| Outcome::new(ResultCode::ConstraintViolation, message).telling(fault);
        secret.check_chosen(rules).map_err(refused)
    }

    /// Checks and hashes a chosen secret on the pool.
    ///
    /// # Errors
    /// constraintViolation says what a chosen secret must be; busy where the pool is full.
    pub async fn prepare_chosen(&self, secret: Secret, rules: SecretRules<'_>) -> Result<PreparedSecret, Outcome> {
        Accounts::check_chosen(&secret, rules)?;
        self.hash(secret).await.map(|(_, prepared)| prepared)
    }

    /// Makes a secret (160 bits, printable, prefix and checksum) and hashes it.
    ///
    /// # Errors
    /// busy where the pool is full; other where the system has no random numbers.
    pub async fn prepare_generated(&self) -> Result<(Secret, PreparedSecret), Outcome> {
        let secret = Secret::generate().map_err(|error| no_hash(&error.to_string()))?;
        self.hash(secret).await
    }

    async fn hash(&self, secret: Secret) -> Result<(Secret, PreparedSecret), Outcome> {
        let (options, runs) = (self.options.clone(), Arc::clone(&self.runs));
        let hashed = self.pool.submit(move |memory| {
            runs.fetch_add(1, Ordering::Relaxed);
            stored::hash(secret.expose(), &options, memory).map(|stored| (secret, PreparedSecret { stored }))
        });
        let answer = hashed.map_err(|_| busy())?.await.map_err(|_| busy())?;
        answer.map_err(|error| no_hash(&error))
    }

    /// Takes over a `userPassword` value of an import: a salted `{SCHEME}` that can be verified here, or an argon2 PHC
    /// string; clear text is refused. `weak` takes unsalted and MD5 digests too. It is hashed anew at its first success.
    ///
    /// # Errors
    /// What was expected; never a part of the value.
    pub fn take_over(stored: &[u8], weak: bool) -> Result<PreparedSecret, String> {
        let text = std::str::from_utf8(stored)
            .map_err(|_| "expected a hash in ASCII".to_owned())?
            .trim();
        if Stored::parse(text)?.is_weak() && !weak {
            return Err("expected a salted digest other than MD5; this scheme is too weak to take over".to_owned());
        }
        Ok(PreparedSecret {
            stored: text.to_owned(),
        })
    }

    /// Puts a secret in force and gives what the store must keep. `keep_old_until` lets the one before stay valid (rotation).
    /// Works for a key that has no account yet (import, add). Sessions bound before must bind again, unless the secret
    /// they used stays valid, or they are on `connection`, which made the change for itself (0 is none).
    pub fn set_secret(
        &self,
        key: &NormalizedDn,
        secret: PreparedSecret,
        keep_old_until: Option<u64>,
        now: u64,
        connection: u64,
    ) -> Vec<KeyedWrite> {
        let policy = self.policy(key);
        let ruled = policy.as_ref().map(|policy| self.ruled(policy, connection));
        let mut index = self.index_mut();
        self.undo.note(&index, key);
        let ledger = Arc::clone(index.ledgers.entry(key.clone()).or_default());
        let sessions_hold = ledger.set_secret(secret.stored, keep_old_until, ruled, now);
        self.two_secrets_until.fetch_max(ledger.old_until(), Ordering::Relaxed);
        if sessions_hold {
            // A remembered verification does not know that its secret ends now.
            self.remembered.forget_all();
        } else {
            index.renew(key, connection);
        }
        vec![ledger.write(key)]
    }

    /// Secrets of an entry in force without end.
    pub fn secrets_of(&self, key: &NormalizedDn) -> Vec<PreparedSecret> {
        let ledger = self.index().ledgers.get(key).cloned();
        let stored = ledger.map_or_else(Vec::new, |ledger| ledger.stored());
        stored.into_iter().map(|stored| PreparedSecret { stored }).collect()
    }

    /// What the secrets of an entry of the general directory come to after these steps. `permissive` passes over one that is
    /// there already and one that is not.
    ///
    /// # Errors
    /// A step that cannot be taken, or more than `most` secrets.
    pub fn plan_secrets(
        before: Vec<PreparedSecret>,
        steps: Vec<SecretStep>,
        permissive: bool,
        most: usize,
    ) -> Result<Vec<PreparedSecret>, SecretFault> {
        let mut planned = before;
        let place = |planned: &[PreparedSecret], secret: &PreparedSecret| {
            planned.iter().position(|other| other.stored == secret.stored)
        };
        for step in steps {
            match step {
                SecretStep::Add(secret) if place(&planned, &secret).is_none() => planned.push(secret),
                SecretStep::Add(_) if permissive => {}
                SecretStep::Add(_) => return Err(SecretFault::AlreadyThere),
                SecretStep::Remove(secret) => match place(&planned, &secret) {
                    Some(at) => _ = planned.remove(at),
                    None if permissive => {}
                    None => return Err(SecretFault::Missing),
                },
                SecretStep::RemoveAll if planned.is_empty() && !permissive => return Err(SecretFault::Missing),
                SecretStep::RemoveAll | SecretStep::Clear => planned.clear(),
            }
        }
        if planned.len() > most {
            return Err(SecretFault::TooMany { most });
        }
        Ok(planned)
    }

    /// Puts exactly these secrets in force. Sessions bound before must bind again, but the one on `connection`, which made
    /// the change itself.
    pub fn put_secrets(
        &self,
        key: &NormalizedDn,
        secrets: Vec<PreparedSecret>,
        now: u64,
        connection: u64,
    ) -> Vec<KeyedWrite> {
        let policy = self.policy(key);
        let ruled = policy.as_ref().map(|policy| self.ruled(policy, connection));
        let mut index = self.index_mut();
        self.undo.note(&index, key);
        let ledger = Arc::clone(index.ledgers.entry(key.clone()).or_default());
        let stored = secrets.into_iter().map(|secret| secret.stored);
        ledger.put_secrets(stored.collect(), ruled, now);
        self.most_secrets.fetch_max(ledger.secrets() as u64, Ordering::Relaxed);
        index.renew(key, connection);
        vec![ledger.write(key)]
    }

    /// Secrets of before that a policy keeps.
    fn history(&self, policy: &PasswordPolicy) -> usize {
        let most = self.policies.get().map_or(0, |policies| policies.history);
        policy.in_history.min(most)
    }

    fn ruled<'p>(&self, policy: &'p PasswordPolicy, connection: u64) -> Ruled<'p> {
        Ruled {
            policy,
            history: self.history(policy),
            by_another: connection == 0,
        }
    }

    /// Holds a change of a secret to the policy that rules it, as far as that can be said before the new one is looked at.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check_change(
        &self,
        key: &NormalizedDn,
        policy: &PasswordPolicy,
        asked: &ChangeAsked,
        now: u64,
    ) -> Result<(), PasswordFault> {
        let ledger = self.index().ledgers.get(key).cloned();
        let state = ledger.map(|ledger| ledger.secret_state()).unwrap_or_default();
        policy.check_change(asked, &state, now)
    }

    /// Whether a secret is in force, or one of before that does not come again. Costs a run of argon2 for each that it is not, each a job of
    /// its own, so that others have their turn.
    ///
    /// # Errors
    /// busy where the pool is full.
    pub async fn was_used(
        &self,
        key: &NormalizedDn,
        mut secret: Secret,
        policy: &PasswordPolicy,
    ) -> Result<bool, Outcome> {
        let ledger = self.index().ledgers.get(key).cloned();
        let used = ledger.map_or_else(Vec::new, |ledger| ledger.used(self.history(policy)));
        for stored in used {
            let runs = Arc::clone(&self.runs);
            let compared = self.pool.submit(move |memory| {
                let stored = Stored::parse(&stored).ok();
                let argon2 = stored.as_ref().is_some_and(Stored::is_argon2);
                runs.fetch_add(u64::from(argon2), Ordering::Relaxed);
                let same = stored.is_some_and(|stored| stored.verify(secret.expose(), memory));
                (secret, same)
            });
            let (again, same) = compared.map_err(|_| busy())?.await.map_err(|_| busy())?;
            if same {
                return Ok(true);
            }
            secret = again;
        }
        Ok(false)
    }

    /// Whether an entry has a secret that may be in force.
    pub fn has_secret(&self, key: &NormalizedDn) -> bool {
        self.index().ledgers.get(key).is_some_and(|ledger| ledger.secrets() > 0)
    }

    /// Whether anything is kept of a key.
    pub fn knows(&self, key: &NormalizedDn) -> bool {
        self.index().ledgers.contains_key(key)
    }

    /// The entry under `from` is now under `to`, or gone: its secrets follow, and whoever is bound as it must bind again.
    pub fn move_secrets(&self, from: &NormalizedDn, to: Option<&NormalizedDn>) -> Vec<KeyedWrite> {
        let mut index = self.index_mut();
        for key in std::iter::once(from).chain(to) {
            self.undo.note(&index, key);
        }
        index.take(from);
        let Some(ledger) = index.ledgers.remove(from) else {
            return Vec::new();
        };
        let mut writes = vec![KeyedWrite {
            key: area_key(from),
            value: None,
        }];
        if let Some(to) = to {
            writes.push(ledger.write(to));
            index.ledgers.insert(to.clone(), ledger);
        }
        writes
    }

    /// An entry may no longer bind; its secrets stay.
    pub fn forget(&self, key: &NormalizedDn) {
        self.index_mut().take(key);
    }

    /// The loaded entries of the general directory.
    pub fn general(&self) -> Vec<NormalizedDn> {
        let index = self.index();
        let general = index.by_key.iter().filter(|(_, account)| account.facts.general);
        general.map(|(key, _)| key.clone()).collect()
    }

    /// Who a session goes on as after it changed its own secret on this connection.
    pub fn successor(&self, identity: &Identity, connection: u64) -> Option<Identity> {
        let account = &identity.account;
        let mut next = account.successor_on(connection)?;
        while next.revoked.load(Ordering::Acquire) {
            next = next.successor_on(connection)?;
        }
        // It may have several, and have left that one in force.
        let must_change = identity.secret.must_change && next.ledger.must_change();
        let secret = match identity.secret.rotations == SecretTerm::NONE.rotations {
            // Who was bound with a certificate is so still.
            true => SecretTerm {
                must_change,
                ..identity.secret
            },
            false => next.ledger.newest(must_change),
        };
        Some(Identity {
            bound_as: identity.bound_as.clone(),
            secret,
            account: next,
            warning: None,
        })
    }

    /// Refuses an account, by whatever way, until it is unlocked; `since` 0 is for ever. Who is bound as it must bind again.
    pub fn lock(&self, key: &NormalizedDn, since: u64) -> Vec<KeyedWrite> {
        self.restrict(key, |ledger| ledger.lock(since))
    }

    /// Whether the secrets of an account are good for nothing but their own change. Who is bound as it must bind again.
    pub fn set_must_change(&self, key: &NormalizedDn, must_change: bool) -> Vec<KeyedWrite> {
        self.restrict(key, |ledger| ledger.set_must_change(must_change))
    }

    /// What an administrator says is kept beside the secrets of an account. Who is bound stays bound.
    pub fn keep(&self, key: &NormalizedDn, part: KeptPart) -> Vec<KeyedWrite> {
        let index = self.index();
        self.undo.note(&index, key);
        let ledger = index.ledgers.get(key);
        let kept = ledger.map(|ledger| {
            ledger.keep(part);
            ledger.write(key)
        });
        kept.into_iter().collect()
    }

    fn restrict(&self, key: &NormalizedDn, change: impl FnOnce(&Ledger)) -> Vec<KeyedWrite> {
        let mut index = self.index_mut();
        self.undo.note(&index, key);
        let ledger = Arc::clone(index.ledgers.entry(key.clone()).or_default());
        change(&ledger);
        index.renew(key, 0);
        vec![ledger.write(key)]
    }

    /// Takes over what another server kept of an entry's password, once its secrets are.
    pub fn take_over_state(&self, key: &NormalizedDn, kept: &PasswordState) -> Vec<KeyedWrite> {
        let ledger = self.index().ledgers.get(key).cloned();
        ledger.map_or_else(Vec::new, |ledger| {
            ledger.take_over(kept);
            vec![ledger.write(key)]
        })
    }

    /// What is kept of an entry's password; `None` where it has none.
    pub fn password_state(&self, key: &NormalizedDn) -> Option<PasswordState> {
        let ledger = self.index().ledgers.get(key).cloned();
        ledger.filter(|ledger| ledger.secrets() > 0).map(|ledger| {
            let mut state = ledger.password_state();
            if self.policy(key).is_some() {
                // Its policy says which count.
                state.failures.clear();
            }
            state
        })
    }

    /// Every secret in force, as another server reads it.
    pub fn exported_secrets(&self, key: &NormalizedDn) -> Vec<String> {
        let ledger = self.index().ledgers.get(key).cloned();
        let stored = ledger.map_or_else(Vec::new, |ledger| ledger.stored());
        stored.iter().map(|stored| exported(stored)).collect()
    }

    /// Ends the lock and every throttling of an account. Its evidence stays, and its secret too.
    pub fn unlock(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let index = self.index();
        self.undo.note(&index, key);
        let ledger = index.ledgers.get(key).cloned();
        ledger.map_or_else(Vec::new, |ledger| {
            ledger.unlock();
            vec![ledger.write(key)]
        })
    }

    /// The write that keeps the bookkeeping of one account.
    pub fn kept(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let index = self.index();
        let ledger = index.ledgers.get(key).filter(|_| key.0.len() <= KEY_OCTETS_MAX);
        ledger.map(|ledger| ledger.write(key)).into_iter().collect()
    }

    /// Bookkeeping since the last call (last used, upgraded hashes, failures); the directory writes it every few seconds and at the end.
    pub fn drain_writes(&self) -> Vec<KeyedWrite> {
        let index = self.index();
        // Of who is known by a certificate alone nothing has to be kept.
        let kept = index.ledgers.iter().filter(|(key, _)| key.0.len() <= KEY_OCTETS_MAX);
        let dirty = kept.filter(|(_, ledger)| ledger.is_dirty());
        dirty.map(|(key, ledger)| ledger.write(key)).collect()
    }

    /// What is known of an account's secrets and failures, never a secret.
    pub fn status(&self, key: &NormalizedDn) -> Option<AccountStatus> {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = clock.map_or(0, |since| since.as_secs());
        let ledger = self.index().ledgers.get(key).cloned()?;
        Some(ledger.status(self.policy(key).as_ref(), now, &self.options))
    }

    #[cfg(test)]
    pub(super) fn remembered_len(&self) -> usize {
        self.remembered.len()
    }
}

/// A stored secret as another server reads it.
pub fn exported(stored: &str) -> String {
    match stored.starts_with('$') {
        true => format!("{{ARGON2}}{stored}"),
        false => stored.to_owned(),
    }
}

fn busy() -> Outcome {
    Outcome::new(ResultCode::Busy, "too many secrets are being checked; try again")
}

fn no_hash(error: &str) -> Outcome {
    tracing::error!(error, "a secret could not be hashed");
    Outcome::new(
        ResultCode::Other,
        "the secret could not be hashed; the server's log says why",
    )
}
