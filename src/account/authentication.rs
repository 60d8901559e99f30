//! From a name and a secret, or a certificate, to an identity or the one refusal.

use super::accounts::Accounts;
use super::ledger::{Candidate, Ledger};
use super::lockout::{Attempt, ThrottleLimits, source_name};
use super::policy::{AfterFailure, PasswordPolicy, Verdict};
use super::remembered::Fingerprint;
use super::stored::{Memory, Stored};
use super::trial::{Match, Trial, Tried};
use super::{Account, Identity, PreparedSecret, Refusal, Secret, SecretTerm};
use crate::model::{Outcome, PasswordFault, ResultCode, Source};
use crate::schema::NormalizedDn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether an account may bind at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// `told` to who brings the right secret; nobody's secret is looked at where there is nothing to tell.
    Refused {
        detail: &'static str,
        told: Option<PasswordFault>,
    },
}

/// What a secret is brought for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Bind,
    /// Its own change by who is bound already. Its policy has no say: a secret that has expired is good for it, and so is one that a
    /// stranger has locked by guesses; an administrator's lock ends sessions. Sources are throttled all the same.
    Change,
}

impl Accounts {
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
        let attempt = Attempt {
            source,
            bound_as: name,
            now,
        };
        self.authenticate_verified(attempt, key, secret, Purpose::Bind).await
    }

    /// Whether somebody knows the secret that is to be changed: throttled like a bind.
    ///
    /// # Errors
    /// As those of [`Accounts::authenticate`].
    pub async fn prove(
        &self,
        name: &str,
        key: &NormalizedDn,
        secret: Secret,
        source: &Source,
        now: u64,
    ) -> Result<(), Refusal> {
        if self
            .authenticate_remembered(name, Some(key), secret.expose(), source, now)
            .is_some()
        {
            return Ok(());
        }
        let attempt = Attempt {
            source,
            bound_as: name,
            now,
        };
        let proven = self.authenticate_verified(attempt, Some(key), secret, Purpose::Change);
        proven.await.map(|_| ())
    }

    async fn authenticate_verified(
        &self,
        attempt: Attempt<'_>,
        key: Option<&NormalizedDn>,
        secret: Secret,
        purpose: Purpose,
    ) -> Result<Identity, Refusal> {
        let (name, now) = (attempt.bound_as, attempt.now);
        let account = self.find_by_name(name, key);
        let binds = account.as_ref().filter(|_| purpose == Purpose::Bind);
        let policy = binds.and_then(|account| self.policy(&account.facts.key));
        let policy = policy.as_ref();
        let verdict = binds.map_or(Verdict::GOOD, |account| account.ledger.verdict(policy, now));
        let standing = standing(account.as_deref(), verdict, attempt.source, now);
        let candidates = match (&account, standing) {
            (Some(account), Standing::Good | Standing::Refused { told: Some(_), .. }) => account.ledger.candidates(now),
            _ => Vec::new(),
        };
        let standing = match standing {
            Standing::Good if candidates.is_empty() => Standing::unlooked("no secret"),
            other => other,
        };
        let refused = standing != Standing::Good;
        let name_of = account.as_ref().map(|account| account.facts.name.clone());
        let Some(verdict) = self.verify(secret, candidates, refused, now).await else {
            return Err(busy(name_of));
        };
        let Some(account) = account else {
            return Err(refusal("unknown name", None));
        };
        if let Standing::Refused { detail, told } = standing {
            let outcome = self.refused(&account, &attempt, policy, verdict, told);
            return Err(Refusal {
                outcome,
                ..refusal(detail, name_of)
            });
        }
        match verdict.matched {
            None => {
                let detail = self.wrong_secret(&account, &attempt, policy, verdict.secret);
                Err(refusal(detail, name_of))
            }
            Some(_) if account.revoked.load(Ordering::Acquire) => Err(refusal("account changed", name_of)),
            Some(matched) => self.admitted(account, &attempt, key, (policy, purpose), &verdict.secret, matched),
        }
    }

    /// The right secret came. While it was verified another bind may have used up what its policy allows.
    fn admitted(
        &self,
        account: Arc<Account>,
        attempt: &Attempt<'_>,
        key: Option<&NormalizedDn>,
        (policy, purpose): (Option<&PasswordPolicy>, Purpose),
        secret: &Secret,
        matched: Match,
    ) -> Result<Identity, Refusal> {
        let verdict = match purpose {
            Purpose::Bind => account.ledger.admit(policy, attempt.now),
            Purpose::Change => Verdict::GOOD,
        };
        if let Some((detail, fault)) = verdict.refusal() {
            let refusal = refusal(detail, Some(account.facts.name.clone()));
            let outcome = told(refusal.outcome.clone(), fault);
            return Err(Refusal { outcome, ..refusal });
        }
        let term = matched.candidate.term;
        // What is remembered costs its secret no use.
        let remember = !term.must_change && !matches!(verdict, Verdict::Grace { .. });
        self.right_secret(&account, attempt, key, secret, matched, remember);
        Ok(Identity {
            account,
            bound_as: attempt.bound_as.to_owned(),
            secret: term,
            warning: verdict.warning(),
        })
    }

    /// Somebody tried an account that may not bind. Who brought its secret is told why; another secret is a guess like any other,
    /// or the answer would be a way to guess that nothing throttles. Where nobody looked nothing is told either, so there is no guess to
    /// count.
    fn refused(
        &self,
        account: &Account,
        attempt: &Attempt<'_>,
        policy: Option<&PasswordPolicy>,
        verdict: Tried,
        told: Option<PasswordFault>,
    ) -> Outcome {
        let outcome = invalid_credentials();
        if told.is_some() && verdict.matched.is_none() && !verdict.unlooked {
            self.wrong_secret(account, attempt, policy, verdict.secret);
            return outcome;
        }
        account
            .ledger
            .note_failure(attempt, None, self.throttle_limits(account), policy);
        let told = told.filter(|_| verdict.matched.is_some());
        if told == Some(PasswordFault::PasswordExpired) {
            account.ledger.forget_failures();
        }
        self::told(outcome, told)
    }

    /// `None` where the pool is full. `refused`: it is a failure whatever comes of it.
    async fn verify(&self, secret: Secret, candidates: Vec<Candidate>, refused: bool, now: u64) -> Option<Tried> {
        let old_one = now < self.two_secrets_until.load(Ordering::Relaxed);
        let most = usize::try_from(self.most_secrets.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let trial = Trial {
            secret,
            candidates,
            failure_runs: most.saturating_add(usize::from(old_one)),
            refused,
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
        remember: bool,
    ) {
        let fingerprint = self.remembered.secret_of(&account.facts.key, secret.expose());
        let Match { candidate, upgraded } = matched;
        let stored = upgraded.clone().unwrap_or_else(|| candidate.stored.clone());
        account
            .ledger
            .note_success(&candidate.stored, upgraded, fingerprint, attempt.source, attempt.now);
        // What is remembered may do all that its account may.
        if !remember {
            return;
        }
        // The secret may have been given an end, or ended, while the verification ran.
        let in_force = account.ledger.candidates(attempt.now);
        if in_force
            .iter()
            .any(|now| now.stored == stored && now.term == candidate.term)
        {
            let bind = self.remembered.bind(attempt.bound_as, key, secret.expose());
            self.remembered.remember(bind, Arc::clone(account), candidate.term);
        }
    }

    /// Counts a wrong secret and says which kind it was. Whether a secret was valid before is found
    /// out on the pool when it has nothing else to do, after the answer: its next coming is recognised.
    fn wrong_secret(
        &self,
        account: &Account,
        attempt: &Attempt<'_>,
        policy: Option<&PasswordPolicy>,
        secret: Secret,
    ) -> &'static str {
        let fingerprint = self.remembered.secret_of(&account.facts.key, secret.expose());
        let failure = account
            .ledger
            .note_failure(attempt, Some(fingerprint), self.throttle_limits(account), policy);
        if failure.superseded {
            return "superseded secret";
        }
        let detail = match failure.after {
            AfterFailure::Locks => "wrong secret; locked now",
            AfterFailure::Delays(_) => "wrong secret; delayed now",
            AfterFailure::Nothing => "wrong secret",
        };
        if !failure.compare.is_empty() {
            let ledger = Arc::clone(&account.ledger);
            let (source, now) = (source_name(attempt.source), attempt.now);
            self.pool.submit_idle(move |memory| {
                recognise(&ledger, &failure.compare, &secret, fingerprint, memory, &source, now);
            });
        }
        detail
    }

    fn throttle_limits(&self, account: &Account) -> ThrottleLimits {
        let lenient = self.is_lenient(&account.facts.key);
        ThrottleLimits {
            failures_per_source: if lenient { 0 } else { self.options.failures_per_source },
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
        let (account, secret) = self.remembered.find(&self.remembered.bind(name, key, secret), now)?;
        // While any source is throttled the long way decides, so that guesses are not answered here.
        if account.facts.disabled || account.is_expired(now) || account.ledger.may_be_throttled(now) {
            return None;
        }
        let warning = match self.policy(&account.facts.key) {
            Some(policy) => account.ledger.unremarkable(&policy, now)?.warning(),
            None => None,
        };
        account.ledger.note_use(source, now);
        Some(Identity {
            account,
            bound_as: name.to_owned(),
            secret,
            warning,
        })
    }

    /// SASL EXTERNAL with a client certificate, which ends at `ends`, and with it what was bound with it.
    ///
    /// # Errors
    /// invalidCredentials where the certificate is no account's, or of more than one, or has ended, or the account is disabled or
    /// expired.
    pub fn authenticate_certificate(
        &self,
        (fingerprint, ends): (&[u8; 32], u64),
        source: &Source,
        now: u64,
    ) -> Result<Identity, Refusal> {
        let account = {
            let index = self.index();
            let keys = index.by_certificate.get(fingerprint).map_or(&[][..], Vec::as_slice);
            let holders: Vec<_> = keys.iter().filter_map(|key| index.by_key.get(key)).collect();
            // What is an application's is no other entry's to make ambiguous.
            let applications: Vec<_> = holders
                .iter()
                .copied()
                .filter(|account| !account.facts.general)
                .collect();
            match (applications.as_slice(), holders.as_slice()) {
                ([account], _) | ([], [account]) => Some(Arc::clone(account)),
                _ => None,
            }
        };
        let Some(account) = account else {
            return Err(refusal("unknown certificate", None));
        };
        let policy = self.policy(&account.facts.key);
        let verdict = account.ledger.verdict_without_secret(policy, now);
        if let Standing::Refused { detail, .. } = standing(Some(&account), verdict, source, now) {
            return Err(refusal(detail, Some(account.facts.name.clone())));
        }
        if ends <= now {
            return Err(refusal("certificate has ended", Some(account.facts.name.clone())));
        }
        account.ledger.note_use(source, now);
        Ok(Identity {
            bound_as: account.facts.dn.clone(),
            secret: SecretTerm {
                until: ends,
                // Who took an account's secret back does not want another way around that.
                must_change: account.ledger.must_change(),
                ..SecretTerm::NONE
            },
            warning: None,
            account,
        })
    }

    /// Which secrets in force this one is, as they are stored: it may have been hashed more than once. Costs what a bind costs,
    /// and again for each one found where there are more.
    ///
    /// # Errors
    /// busy where the pool is full.
    pub async fn which_secrets(
        &self,
        key: &NormalizedDn,
        mut secret: Secret,
        now: u64,
    ) -> Result<Vec<PreparedSecret>, Outcome> {
        let ledger = self.index().ledgers.get(key).cloned();
        let mut candidates = ledger.map_or_else(Vec::new, |ledger| ledger.candidates(now));
        let mut found = Vec::new();
        loop {
            let verdict = self.verify(secret, candidates.clone(), false, now).await;
            let verdict = verdict.ok_or_else(|| busy(None).outcome)?;
            let Some(Match { candidate, .. }) = verdict.matched else {
                return Ok(found);
            };
            candidates.retain(|other| other.stored != candidate.stored);
            found.push(PreparedSecret {
                stored: candidate.stored,
            });
            if candidates.is_empty() {
                return Ok(found);
            }
            secret = verdict.secret;
        }
    }
}

impl Standing {
    /// Refused without a look at the secret.
    fn unlooked(detail: &'static str) -> Standing {
        Standing::Refused { detail, told: None }
    }
}

/// `verdict` is that of the account's policy.
fn standing(account: Option<&Account>, verdict: Verdict, source: &Source, now: u64) -> Standing {
    let Some(account) = account else {
        return Standing::unlooked("unknown name");
    };
    let throttled = account.ledger.is_throttled(source, now);
    let by_policy = verdict.refusal();
    let (detail, fault) = if account.facts.disabled {
        ("disabled", Some(PasswordFault::AccountLocked))
    } else if account.is_expired(now) {
        ("expired", Some(PasswordFault::PasswordExpired))
    } else if let Some(refused) = by_policy {
        refused
    } else if throttled {
        return Standing::unlooked("throttled");
    } else {
        return Standing::Good;
    };
    // What else the account is refused for does not open a lock that keeps guesses out.
    let keeps_out = verdict == Verdict::Locked { told: false };
    Standing::Refused {
        detail,
        told: fault.filter(|_| !throttled && !keeps_out),
    }
}

fn told(outcome: Outcome, fault: Option<PasswordFault>) -> Outcome {
    match fault {
        Some(fault) => outcome.telling(fault),
        None => outcome,
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
        outcome: invalid_credentials(),
        detail,
        account,
    }
}

fn invalid_credentials() -> Outcome {
    Outcome::new(ResultCode::InvalidCredentials, "")
}

fn busy(account: Option<String>) -> Refusal {
    Refusal {
        outcome: Outcome::new(ResultCode::Busy, "too many binds at once; try again"),
        detail: "busy",
        account,
    }
}
