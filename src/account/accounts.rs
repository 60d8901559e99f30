//! Every account in memory: found by name, authenticated, given secrets.

use super::ledger::{Candidate, Ledger, area_key};
use super::lockout::{Attempt, ThrottleLimits, source_name};
use super::pool::Pool;
use super::remembered::{Fingerprint, Remembered};
use super::secret::SECRET_OCTETS_MAX;
use super::stored::{self, Memory, Stored};
use super::{Account, AccountFacts, AccountOptions, AccountStatus, Identity, PreparedSecret, Refusal, Secret};
use crate::model::{Outcome, ResultCode, Source};
use crate::schema::NormalizedDn;
use crate::store::KeyedWrite;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Every account and its secret state, in memory. Shared by `Arc`.
pub struct Accounts {
    options: AccountOptions,
    index: RwLock<Index>,
    remembered: Remembered,
    pool: Pool,
    /// Argon2 runs since the start.
    runs: Arc<AtomicU64>,
    /// When the last old secret of any account ends. Until then every failed bind costs two runs, because that of an
    /// account with two secrets does.
    two_secrets_until: AtomicU64,
}

#[derive(Default)]
struct Index {
    by_key: HashMap<NormalizedDn, Arc<Account>>,
    /// Names and mail-like names in lower case; a name of two accounts is nobody's.
    by_name: HashMap<String, Vec<NormalizedDn>>,
    by_certificate: HashMap<[u8; 32], Vec<NormalizedDn>>,
    /// Secret states, also of keys that have no account yet.
    ledgers: HashMap<NormalizedDn, Arc<Ledger>>,
}

/// Whether an account may bind at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    Refused(&'static str),
}

/// One verification, to be run on the pool.
struct Trial {
    secret: Secret,
    candidates: Vec<Candidate>,
    /// Argon2 runs a failure costs.
    failure_runs: usize,
    options: AccountOptions,
    runs: Arc<AtomicU64>,
}

/// What a verification came to.
struct Verdict {
    secret: Secret,
    matched: Option<Match>,
}

struct Match {
    candidate: Candidate,
    /// The hash with today's parameters, where the stored one is not.
    upgraded: Option<String>,
}

impl Trial {
    /// Runs argon2 as often for a failure, whatever its reason, as for a wrong secret.
    fn run(self, memory: &mut Memory) -> Verdict {
        let secret = self.secret.expose();
        let (mut runs, mut matched) = (0, None);
        if (1..=SECRET_OCTETS_MAX).contains(&secret.len()) {
            for candidate in &self.candidates {
                // A stored value that does not parse verifies nothing; status shows it as unreadable.
                let Ok(stored) = Stored::parse(&candidate.stored) else {
                    continue;
                };
                runs += usize::from(stored.is_argon2());
                if stored.verify(secret, memory) {
                    matched = Some((candidate.clone(), stored.is_current(&self.options)));
                    break;
                }
            }
        }
        let matched = matched.map(|(candidate, current)| {
            let upgraded = if current {
                None
            } else {
                runs += 1;
                stored::hash(secret, &self.options, memory).ok()
            };
            Match { candidate, upgraded }
        });
        if matched.is_none() {
            while runs < self.failure_runs {
                stored::spend(secret, &self.options, memory);
                runs += 1;
            }
        }
        self.runs.fetch_add(runs as u64, Ordering::Relaxed);
        Verdict {
            secret: self.secret,
            matched,
        }
    }
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
            options,
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Argon2 runs since the start, for metrics.
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
        if index.put(facts) {
            // A name became ambiguous: what was remembered under it must not answer.
            self.remembered.forget_all();
        }
    }

    /// Forgets an account; the write deletes its secret state.
    pub fn remove(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let mut index = self.index_mut();
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

    /// Every account, by name.
    pub fn list(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<Arc<Account>> = self.index().by_key.values().cloned().collect();
        accounts.sort_by(|a, b| (&a.facts.name, &a.facts.key).cmp(&(&b.facts.name, &b.facts.key)));
        accounts
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

    /// Simple bind by DN (already normalised, `key`), by account name or by mail-like name (`name`). Answers from memory where it
    /// can, else on the pool. `now` is seconds since 1970.
    ///
    /// # Errors
    /// What the wire says: always the same invalidCredentials, or busy when the pool's queue is full. What really
    /// happened goes to `detail` for audit and log.
    pub async fn authenticate(
        &self,
        name: &str,
        key: Option<&NormalizedDn>,
        secret: Secret,
        source: &Source,
        now: u64,
    ) -> Result<Identity, Refusal> {
        if let Some(identity) = self.authenticate_remembered(name, key, secret.expose(), source, now) {
            return Ok(identity);
        }
        let account = self.find_by_name(name, key);
        let standing = standing(account.as_deref(), source, now);
        let candidates = match (&account, standing) {
            (Some(account), Standing::Good) => account.ledger.candidates(now),
            _ => Vec::new(),
        };
        let standing = match standing {
            Standing::Good if candidates.is_empty() => Standing::Refused("no secret"),
            other => other,
        };
        let name_of = account.as_ref().map(|account| account.facts.name.clone());
        let Some(verdict) = self.verify(secret, candidates, now).await else {
            return Err(busy(name_of));
        };
        let Some(account) = account else {
            return Err(refusal("unknown name", None));
        };
        let attempt = Attempt {
            source,
            bound_as: name,
            now,
        };
        if let Standing::Refused(detail) = standing {
            account.ledger.note_failure(&attempt, None, self.throttle_limits());
            return Err(refusal(detail, name_of));
        }
        match verdict.matched {
            None => Err(refusal(self.wrong_secret(&account, &attempt, verdict.secret), name_of)),
            Some(_) if account.revoked.load(Ordering::Acquire) => Err(refusal("account changed", name_of)),
            Some(matched) => {
                self.right_secret(&account, &attempt, key, &verdict.secret, matched);
                Ok(Identity {
                    account,
                    bound_as: name.to_owned(),
                })
            }
        }
    }

    /// `None` where the pool is full.
    async fn verify(&self, secret: Secret, candidates: Vec<Candidate>, now: u64) -> Option<Verdict> {
        let two_secrets = now < self.two_secrets_until.load(Ordering::Relaxed);
        let trial = Trial {
            secret,
            candidates,
            failure_runs: if two_secrets { 2 } else { 1 },
            options: self.options.clone(),
            runs: Arc::clone(&self.runs),
        };
        let answer = self.pool.submit(move |memory| trial.run(memory)).ok()?;
        answer.await.ok()
    }

    fn right_secret(
        &self,
        account: &Arc<Account>,
        attempt: &Attempt<'_>,
        key: Option<&NormalizedDn>,
        secret: &Secret,
        matched: Match,
    ) {
        let fingerprint = self.remembered.secret_of(&account.facts.key, secret.expose());
        let Match { candidate, upgraded } = matched;
        let stored = upgraded.clone().unwrap_or_else(|| candidate.stored.clone());
        account
            .ledger
            .note_success(&candidate.stored, upgraded, fingerprint, attempt.source, attempt.now);
        // The secret may have been given an end, or ended, while the verification ran.
        let in_force = account.ledger.candidates(attempt.now);
        if in_force
            .iter()
            .any(|now| now.stored == stored && now.until == candidate.until)
        {
            let bind = self.remembered.bind(attempt.bound_as, key, secret.expose());
            self.remembered.remember(bind, Arc::clone(account), candidate.until);
        }
    }

    /// Counts a wrong secret and says which kind it was. Whether a secret was valid before is found
    /// out on the pool when it has nothing else to do, after the answer: its next coming is recognised.
    fn wrong_secret(&self, account: &Account, attempt: &Attempt<'_>, secret: Secret) -> &'static str {
        let fingerprint = self.remembered.secret_of(&account.facts.key, secret.expose());
        let failure = account
            .ledger
            .note_failure(attempt, Some(fingerprint), self.throttle_limits());
        if failure.superseded {
            return "superseded secret";
        }
        if !failure.compare.is_empty() {
            let ledger = Arc::clone(&account.ledger);
            let (source, now) = (source_name(attempt.source), attempt.now);
            self.pool.submit_idle(move |memory| {
                recognise(&ledger, &failure.compare, &secret, fingerprint, memory, &source, now);
            });
        }
        "wrong secret"
    }

    fn throttle_limits(&self) -> ThrottleLimits {
        ThrottleLimits {
            failures_per_source: self.options.failures_per_source,
            throttle_seconds: self.options.throttle_seconds,
        }
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
        let account = self.remembered.find(&self.remembered.bind(name, key, secret), now)?;
        // While any source is throttled the long way decides, so that guesses are not answered here.
        if account.facts.disabled || account.is_expired(now) || account.ledger.may_be_throttled(now) {
            return None;
        }
        account.ledger.note_use(source, now);
        Some(Identity {
            account,
            bound_as: name.to_owned(),
        })
    }

    /// SASL EXTERNAL with a client certificate.
    ///
    /// # Errors
    /// invalidCredentials where the certificate is no account's, or of more than one, or the account is disabled or expired.
    pub fn authenticate_certificate(
        &self,
        fingerprint: &[u8; 32],
        source: &Source,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let account = {
            let index = self.index();
            match index.by_certificate.get(fingerprint).map(Vec::as_slice) {
                Some([key]) => index.by_key.get(key).cloned(),
                _ => None,
            }
        };
        let Some(account) = account else {
            return Err(refusal("unknown certificate", None));
        };
        if let Standing::Refused(detail) = standing(Some(&account), source, now) {
            return Err(refusal(detail, Some(account.facts.name.clone())));
        }
        account.ledger.note_use(source, now);
        Ok(Identity {
            bound_as: account.facts.dn.clone(),
            account,
        })
    }

    /// Checks and hashes a chosen secret on the pool.
    ///
    /// # Errors
    /// constraintViolation says what a chosen secret must be; busy where the pool is full.
    pub async fn prepare_chosen(&self, secret: Secret) -> Result<PreparedSecret, Outcome> {
        secret
            .check_chosen(None)
            .map_err(|message| Outcome::new(ResultCode::ConstraintViolation, message))?;
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
        let busy = || Outcome::new(ResultCode::Busy, "too many secrets are being checked; try again");
        let answer = hashed.map_err(|_| busy())?.await.map_err(|_| busy())?;
        answer.map_err(|error| no_hash(&error))
    }

    /// Takes over a `userPassword` value of an import: `{SSHA}`, `{SSHA256}`, `{SSHA512}`, `{ARGON2}`, `{CRYPT}` (its SHA
    /// kinds), or an argon2 PHC string; clear text is refused. It is hashed anew at its first success.
    ///
    /// # Errors
    /// What was expected; never a part of the value.
    pub fn take_over(stored: &[u8]) -> Result<PreparedSecret, String> {
        let text = std::str::from_utf8(stored)
            .map_err(|_| "expected a hash in ASCII".to_owned())?
            .trim();
        Stored::parse(text)?;
        Ok(PreparedSecret {
            stored: text.to_owned(),
        })
    }

    /// Puts a secret in force and gives what the store must keep. `keep_old_until` lets the one before stay valid (rotation).
    /// Works for a key that has no account yet (import, add). Sessions bound before must bind again, unless the secret
    /// they used stays valid.
    pub fn set_secret(
        &self,
        key: &NormalizedDn,
        secret: PreparedSecret,
        keep_old_until: Option<u64>,
        now: u64,
    ) -> Vec<KeyedWrite> {
        let mut index = self.index_mut();
        let ledger = Arc::clone(index.ledgers.entry(key.clone()).or_default());
        let sessions_hold = ledger.set_secret(secret.stored, keep_old_until, now);
        self.two_secrets_until.fetch_max(ledger.old_until(), Ordering::Relaxed);
        if sessions_hold {
            // A remembered verification does not know that its secret ends now.
            self.remembered.forget_all();
        } else if let Some(account) = index.by_key.get_mut(key) {
            account.revoked.store(true, Ordering::Release);
            *account = Arc::new(Account::with_ledger(account.facts.clone(), Arc::clone(&ledger)));
        }
        vec![ledger.write(key)]
    }

    /// Ends every throttling of an account. Its evidence stays, and its secret too.
    pub fn unlock(&self, key: &NormalizedDn) -> Vec<KeyedWrite> {
        let ledger = self.index().ledgers.get(key).cloned();
        ledger.map_or_else(Vec::new, |ledger| {
            ledger.unlock();
            vec![ledger.write(key)]
        })
    }

    /// Bookkeeping since the last call (last used, upgraded hashes, failures); the directory writes it every few seconds and at the end.
    pub fn drain_writes(&self) -> Vec<KeyedWrite> {
        let index = self.index();
        let dirty = index.ledgers.iter().filter(|(_, ledger)| ledger.is_dirty());
        dirty.map(|(key, ledger)| ledger.write(key)).collect()
    }

    /// What is known of an account's secrets and failures, never a secret.
    pub fn status(&self, key: &NormalizedDn) -> Option<AccountStatus> {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = clock.map_or(0, |since| since.as_secs());
        let ledger = self.index().ledgers.get(key).cloned()?;
        Some(ledger.status(now, &self.options))
    }

    #[cfg(test)]
    pub(super) fn remembered_len(&self) -> usize {
        self.remembered.len()
    }
}

impl Index {
    /// Gives whether a name is now ambiguous.
    fn put(&mut self, facts: AccountFacts) -> bool {
        let key = facts.key.clone();
        self.take(&key);
        let mut ambiguous = false;
        for name in names(&facts) {
            let keys = self.by_name.entry(name).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
            ambiguous |= keys.len() > 1;
        }
        for certificate in &facts.certificates {
            let keys = self.by_certificate.entry(*certificate).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
        }
        let ledger = Arc::clone(self.ledgers.entry(key.clone()).or_default());
        self.by_key.insert(key, Arc::new(Account::with_ledger(facts, ledger)));
        ambiguous
    }

    /// Takes an account out and revokes it; its secret state stays.
    fn take(&mut self, key: &NormalizedDn) {
        let Some(account) = self.by_key.remove(key) else {
            return;
        };
        account.revoked.store(true, Ordering::Release);
        for name in names(&account.facts) {
            if let Some(keys) = self.by_name.get_mut(&name) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        for certificate in &account.facts.certificates {
            if let Some(keys) = self.by_certificate.get_mut(certificate) {
                keys.retain(|other| other != key);
                if keys.is_empty() {
                    self.by_certificate.remove(certificate);
                }
            }
        }
    }
}

/// The names an account may bind with, besides its DN.
fn names(facts: &AccountFacts) -> impl Iterator<Item = String> {
    let all = std::iter::once(&facts.name).chain(&facts.mails);
    all.map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty())
}

fn standing(account: Option<&Account>, source: &Source, now: u64) -> Standing {
    match account {
        None => Standing::Refused("unknown name"),
        Some(account) if account.facts.disabled => Standing::Refused("disabled"),
        Some(account) if account.is_expired(now) => Standing::Refused("expired"),
        Some(account) if account.ledger.is_throttled(source, now) => Standing::Refused("throttled"),
        Some(_) => Standing::Good,
    }
}

fn recognise(
    ledger: &Ledger,
    superseded: &[String],
    secret: &Secret,
    fingerprint: Fingerprint,
    memory: &mut Memory,
    source: &str,
    now: u64,
) {
    let verifies = |stored: &String| Stored::parse(stored).is_ok_and(|stored| stored.verify(secret.expose(), memory));
    let valid_before = superseded.iter().any(verifies);
    ledger.note_compared(fingerprint, valid_before, source, now);
}

/// The one refusal of the wire, whatever happened.
fn refusal(detail: &'static str, account: Option<String>) -> Refusal {
    Refusal {
        outcome: Outcome::new(ResultCode::InvalidCredentials, ""),
        detail,
        account,
    }
}

fn busy(account: Option<String>) -> Refusal {
    Refusal {
        outcome: Outcome::new(ResultCode::Busy, "too many binds at once; try again"),
        detail: "busy",
        account,
    }
}

fn no_hash(error: &str) -> Outcome {
    tracing::error!(error, "a secret could not be hashed");
    Outcome::new(
        ResultCode::Other,
        "the secret could not be hashed; the server's log says why",
    )
}
