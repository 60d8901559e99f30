//! The secret state of one account: its hashes, when it was used, and who failed.
//!
//! Kept in the store's keyed area under `a/<key>` as one JSON object with a version. Never a clear secret.

mod state;
mod status;

use super::SecretTerm;
use super::lockout::{Attempt, ThrottleLimits, source_name};
use super::policy::{self, AfterFailure, GRACE_MAX, PasswordPolicy, SecretState, Verdict};
use super::remembered::Fingerprint;
use crate::model::Source;
use crate::schema::NormalizedDn;
use crate::store::KeyedWrite;
use state::{KNOWN_MAX, Kept, State, push_bounded};
pub use status::HISTORY_MAX;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const VERSION: u32 = 1;

/// The secret state of one account, shared by the versions of its [`super::Account`].
#[derive(Default)]
pub(super) struct Ledger {
    /// Seconds since 1970; 0 is never.
    last_used: AtomicU64,
    /// When the last throttled source is free again; so a bind need not ask the lock.
    throttled_until: AtomicU64,
    /// How often the secret before stayed valid beside a new one, since the start.
    rotations: AtomicU64,
    /// Until when it did the last time.
    rotated_until: AtomicU64,
    /// It is to be written.
    dirty: AtomicBool,
    state: Mutex<State>,
}

/// Why the secrets of an entry cannot be changed so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretFault {
    AlreadyThere,
    Missing,
    TooMany {
        most: usize,
    },
    /// A password policy allows no second one.
    OneAlone,
}

/// A stored secret that may be the one brought.
#[derive(Clone)]
pub(super) struct Candidate {
    pub stored: String,
    pub term: SecretTerm,
}

/// What a change of secrets is held to.
#[derive(Clone, Copy)]
pub(super) struct Ruled<'a> {
    pub policy: &'a PasswordPolicy,
    /// Secrets of before that it keeps.
    pub history: usize,
    /// Somebody else changes it.
    pub by_another: bool,
}

/// What a ledger was, to come back to.
pub(super) struct Image {
    state: State,
    rotations: u64,
    rotated_until: u64,
}

/// What a failure came to.
pub(super) struct Failure {
    pub superseded: bool,
    /// What its policy makes of it.
    pub after: AfterFailure,
    /// Hashes to compare with when there is time: the secret might be an old one.
    pub compare: Vec<String>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger(..)")
    }
}

/// The key of an account's state in the keyed area.
pub(super) fn area_key(key: &NormalizedDn) -> Vec<u8> {
    [b"a/", key.0.as_slice()].concat()
}

impl Ledger {
    /// Reads what [`Ledger::write`] wrote.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn restore(value: &[u8]) -> Result<Ledger, String> {
        let state: State =
            serde_json::from_slice(value).map_err(|error| format!("expected an account's secret state: {error}"))?;
        if state.version != VERSION {
            return Err(format!(
                "expected version {VERSION} of an account's secret state, found {}",
                state.version
            ));
        }
        Ok(Ledger {
            last_used: AtomicU64::new(state.last_used.unwrap_or(0)),
            throttled_until: AtomicU64::new(state.refused_until()),
            state: Mutex::new(state),
            ..Ledger::default()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn image(&self) -> Image {
        Image {
            state: self.state().clone(),
            rotations: self.rotations.load(Ordering::Acquire),
            rotated_until: self.rotated_until.load(Ordering::Relaxed),
        }
    }

    /// A change of it is taken back. Who bound or failed meanwhile stays.
    pub(super) fn back_to(&self, image: Image) {
        let mut state = self.state();
        let now = std::mem::replace(&mut *state, image.state);
        state.lockout = now.lockout;
        if now.grace.len() > state.grace.len() {
            state.grace = now.grace;
        }
        if now.counted.len() > state.counted.len() {
            state.counted = now.counted;
        }
        state.locked_out = state.locked_out.or(now.locked_out);
        state.delayed = state.delayed.max(now.delayed);
        state.failures = now.failures;
        state.last_source = now.last_source;
        self.rotated_until.store(image.rotated_until, Ordering::Relaxed);
        self.rotations.store(image.rotations, Ordering::Release);
        self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
        self.dirty.store(true, Ordering::Release);
    }

    /// The write that keeps it, which also marks it as kept.
    pub(super) fn write(&self, key: &NormalizedDn) -> KeyedWrite {
        self.dirty.store(false, Ordering::Release);
        let mut kept = {
            let state = self.state();
            let lockout = state.lockout.kept();
            State {
                lockout,
                ..state.clone()
            }
        };
        kept.version = VERSION;
        kept.last_used = match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        };
        let value = serde_json::to_vec(&kept).expect("a state of strings and numbers is JSON");
        KeyedWrite {
            key: area_key(key),
            value: Some(value),
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Secrets in force, the newest first.
    pub(super) fn candidates(&self, now: u64) -> Vec<Candidate> {
        let state = self.state();
        let rotations = self.rotations.load(Ordering::Relaxed);
        let current = state.current.iter().chain(&state.more).map(|kept| Candidate {
            stored: kept.stored.clone(),
            term: SecretTerm {
                until: u64::MAX,
                must_change: kept.must_change,
                rotations,
            },
        });
        let old = state.old.iter().filter_map(|kept| {
            let until = kept.until.unwrap_or(0);
            (now < until).then(|| Candidate {
                stored: kept.stored.clone(),
                term: SecretTerm {
                    until,
                    must_change: kept.must_change,
                    rotations,
                },
            })
        });
        current.chain(old).collect()
    }

    /// Seconds since 1970 when a secret that was brought ends; `u64::MAX` is never.
    pub(super) fn ends(&self, secret: SecretTerm) -> u64 {
        let rotations = self.rotations.load(Ordering::Acquire);
        if secret.rotations == rotations || secret.rotations == SecretTerm::NONE.rotations {
            return secret.until;
        }
        match secret.rotations + 1 == rotations {
            true => secret.until.min(self.rotated_until.load(Ordering::Relaxed)),
            // Two are in force at most.
            false => 0,
        }
    }

    /// What holds of a secret that is put in force now.
    pub(super) fn newest(&self, must_change: bool) -> SecretTerm {
        SecretTerm {
            until: u64::MAX,
            must_change,
            rotations: self.rotations.load(Ordering::Acquire),
        }
    }

    /// Puts a secret in force. Gives whether every session bound before may go on for now: the secret they used is still valid. One
    /// that must be changed is never kept.
    pub(super) fn set_secret(
        &self,
        stored: String,
        keep_old_until: Option<u64>,
        ruled: Option<Ruled<'_>>,
        now: u64,
    ) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let mut gone = Vec::new();
        let passing = state.current.as_ref().is_some_and(|kept| kept.must_change);
        let keep = keep_old_until.filter(|until| now < *until && !passing);
        let before = state.old.take();
        let ended_nothing = before.as_ref().is_none_or(|old| old.until.unwrap_or(0) <= now);
        gone.extend(before);
        match (state.current.take(), keep) {
            (Some(mut current), Some(until)) => {
                current.until = Some(until);
                state.old = Some(current);
                self.rotated_until.store(until, Ordering::Relaxed);
                self.rotations.fetch_add(1, Ordering::Release);
            }
            (Some(current), None) => gone.push(current),
            (None, _) => {}
        }
        gone.append(&mut state.more);
        state.current = Some(Kept {
            stored,
            set: now,
            until: None,
            must_change: false,
        });
        if let Some(ruled) = ruled {
            // One that stays valid for a while is one of before all the same.
            let passing = state.old.clone().filter(|_| keep.is_some());
            self.follow_policy(state, passing.iter().chain(&gone), ruled, now);
        }
        gone.into_iter().for_each(|kept| state.supersede(kept));
        keep.is_some() && ended_nothing
    }

    /// Secrets in force without end, as they are stored.
    pub(super) fn stored(&self) -> Vec<String> {
        let state = self.state();
        let kept = state.current.iter().chain(&state.more);
        kept.map(|kept| kept.stored.clone()).collect()
    }

    pub(super) fn secrets(&self) -> usize {
        let state = self.state();
        usize::from(state.current.is_some()) + state.more.len()
    }

    /// Puts exactly these secrets in force; those that were before keep their time.
    pub(super) fn put_secrets(&self, stored: Vec<String>, ruled: Option<Ruled<'_>>, now: u64) {
        let mut state = self.state();
        let state = &mut *state;
        let mut before: Vec<Kept> = state.current.take().into_iter().collect();
        before.append(&mut state.more);
        let mut kept = stored
            .into_iter()
            .map(|stored| match before.iter().position(|kept| kept.stored == stored) {
                Some(at) => before.swap_remove(at),
                None => Kept {
                    stored,
                    set: now,
                    until: None,
                    must_change: false,
                },
            });
        let current = kept.next();
        state.more = kept.collect();
        state.current = current;
        before.extend(state.old.take());
        if let Some(ruled) = ruled {
            self.follow_policy(state, before.iter(), ruled, now);
        }
        before.into_iter().for_each(|kept| state.supersede(kept));
    }

    /// What a policy has to be done after a change (section 8.2.7); `gone` are no longer in force. A lock for ever stays: it is an
    /// administrator's.
    fn follow_policy<'k>(&self, state: &mut State, gone: impl Iterator<Item = &'k Kept>, ruled: Ruled<'_>, now: u64) {
        state.grace.clear();
        state.counted.clear();
        (state.locked_out, state.delayed) = (None, None);
        state.locked = state.locked.filter(|since| *since == 0);
        self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
        for kept in gone {
            if !state.history.iter().any(|past| past.stored == kept.stored) {
                let past = Kept {
                    set: now,
                    until: None,
                    must_change: false,
                    ..kept.clone()
                };
                state.history.push(past);
            }
        }
        let over = state.history.len().saturating_sub(ruled.history);
        state.history.drain(..over);
        if ruled.policy.must_change && ruled.by_another {
            let secrets = state.current.iter_mut().chain(&mut state.more);
            secrets.for_each(|kept| kept.must_change = true);
        }
    }

    /// Secrets in force and the last of those before, at most `most`, the newest first.
    pub(super) fn used(&self, most: usize) -> Vec<String> {
        let state = self.state();
        let in_force = state.current.iter().chain(&state.more).chain(&state.old);
        let before = state.history.iter().rev().take(most);
        in_force.chain(before).map(|kept| kept.stored.clone()).collect()
    }

    /// What holds by a policy; `None` is none.
    pub(super) fn verdict(&self, policy: Option<&PasswordPolicy>, now: u64) -> Verdict {
        if policy.is_none() && !self.may_be_throttled(now) {
            return Verdict::GOOD;
        }
        policy::verdict(policy, &self.secret_state(), now)
    }

    /// The verdict on who brings no secret but a certificate: how old the secret is does not matter, nor whether somebody guessed at
    /// it.
    pub(super) fn verdict_without_secret(&self, policy: Option<PasswordPolicy>, now: u64) -> Verdict {
        let policy = policy.map(PasswordPolicy::ageless);
        let state = SecretState {
            locked_out: None,
            delayed: None,
            ..self.secret_state()
        };
        policy::verdict(policy.as_ref(), &state, now)
    }

    pub(super) fn secret_state(&self) -> SecretState {
        self.state().secret_state(self.last_used.load(Ordering::Relaxed))
    }

    /// The verdict where nothing follows from it; `None` where [`Ledger::admit`] has to be asked.
    pub(super) fn unremarkable(&self, policy: &PasswordPolicy, now: u64) -> Option<Verdict> {
        let state = self.secret_state();
        let verdict = policy::verdict(Some(policy), &state, now);
        let nothing_follows = state.failures == 0 && !state.has_lock() && matches!(verdict, Verdict::Good { .. });
        nothing_follows.then_some(verdict)
    }

    /// The verdict on the right secret, and what follows from it: one use of few is used up, failures are forgotten, and so is a
    /// lock that has ended.
    pub(super) fn admit(&self, policy: Option<&PasswordPolicy>, now: u64) -> Verdict {
        if policy.is_none() && !self.may_be_throttled(now) {
            return Verdict::GOOD;
        }
        let mut state = self.state();
        let secret_state = state.secret_state(self.last_used.load(Ordering::Relaxed));
        let verdict = policy::verdict(policy, &secret_state, now);
        match verdict {
            Verdict::Locked { .. } | Verdict::Expired => return verdict,
            Verdict::Grace { .. } => policy::note_time(&mut state.grace, now, GRACE_MAX),
            Verdict::Good { .. } => {}
        }
        state.counted.clear();
        if secret_state.has_lock() {
            state.open();
            self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
        }
        self.dirty.store(true, Ordering::Release);
        verdict
    }

    /// A secret verified: bookkeeping, and the hash that takes the place of the one it was compared with.
    pub(super) fn note_success(
        &self,
        matched: &str,
        upgraded: Option<String>,
        fingerprint: Fingerprint,
        source: &Source,
        now: u64,
    ) {
        let mut state = self.state();
        let state = &mut *state;
        let mut stored = matched.to_owned();
        if let Some(upgraded) = upgraded {
            for kept in state.current.iter_mut().chain(&mut state.more).chain(&mut state.old) {
                if kept.stored == matched {
                    kept.stored.clone_from(&upgraded);
                    stored.clone_from(&upgraded);
                }
            }
        }
        state.known_superseded.retain(|known| *known != fingerprint);
        if !state.good.iter().any(|(known, _)| *known == fingerprint) {
            push_bounded(&mut state.good, (fingerprint, stored.clone()), KNOWN_MAX);
        }
        for (known, of) in &mut state.good {
            if *known == fingerprint {
                of.clone_from(&stored);
            }
        }
        self.note_use_locked(state, source, now);
    }

    /// A bind that needed no verification. Costs a store, and once a second a lock where nobody holds it.
    pub(super) fn note_use(&self, source: &Source, now: u64) {
        if self.last_used.load(Ordering::Relaxed) == now {
            return;
        }
        if let Ok(mut state) = self.state.try_lock() {
            self.note_use_locked(&mut state, source, now);
        }
    }

    fn note_use_locked(&self, state: &mut State, source: &Source, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
        state.last_source = Some(source_name(source));
        state.lockout.note_success(source, now);
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether any source may be throttled: then the remembered path must not answer.
    pub(super) fn may_be_throttled(&self, now: u64) -> bool {
        now < self.throttled_until.load(Ordering::Relaxed)
    }

    pub(super) fn is_throttled(&self, source: &Source, now: u64) -> bool {
        self.may_be_throttled(now) && self.state().lockout.is_throttled(&source_name(source), now)
    }

    /// A secret did not verify. `fingerprint` `None` where it was not looked at (disabled, expired, throttled).
    pub(super) fn note_failure(
        &self,
        attempt: &Attempt<'_>,
        fingerprint: Option<Fingerprint>,
        limits: ThrottleLimits,
        policy: Option<&PasswordPolicy>,
    ) -> Failure {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        self.dirty.store(true, Ordering::Release);
        if fingerprint.is_some_and(|fingerprint| state.known_superseded.contains(&fingerprint)) {
            state.lockout.note_superseded(attempt);
            return Failure {
                superseded: true,
                after: AfterFailure::Nothing,
                compare: Vec::new(),
            };
        }
        state.lockout.note_failure(attempt, fingerprint, limits);
        let policy = policy.filter(|_| fingerprint.is_some());
        let after = policy.map_or(AfterFailure::Nothing, |policy| {
            self.count_failure(&mut state, policy, attempt.now)
        });
        self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
        let compare = if fingerprint.is_some_and(|fingerprint| !state.compared.contains(&fingerprint)) {
            state.superseded.iter().map(|kept| kept.stored.clone()).collect()
        } else {
            Vec::new()
        };
        Failure {
            superseded: false,
            after,
            compare,
        }
    }

    /// The right secret came, though it lets nobody in any more: no guesses were before it.
    pub(super) fn forget_failures(&self) {
        self.state().counted.clear();
        self.dirty.store(true, Ordering::Release);
    }

    /// Gives what follows from it. Who tries a locked account does not prolong that.
    fn count_failure(&self, state: &mut State, policy: &PasswordPolicy, now: u64) -> AfterFailure {
        let secret_state = state.secret_state(self.last_used.load(Ordering::Relaxed));
        if matches!(
            policy::verdict(Some(policy), &secret_state, now),
            Verdict::Locked { .. }
        ) {
            return AfterFailure::Nothing;
        }
        let after = policy.count_failure(&mut state.counted, now);
        // A lock of before has ended.
        state.open();
        match after {
            AfterFailure::Nothing => {}
            AfterFailure::Locks => state.locked_out = Some(now),
            AfterFailure::Delays(until) => state.delayed = Some(until),
        }
        after
    }

    /// A wrong secret was compared with the superseded ones; `valid_before` is what came out.
    pub(super) fn note_compared(&self, fingerprint: Fingerprint, valid_before: bool, source: &str, now: u64) {
        let mut state = self.state();
        push_bounded(&mut state.compared, fingerprint, KNOWN_MAX);
        if !valid_before {
            return;
        }
        push_bounded(&mut state.known_superseded, fingerprint, KNOWN_MAX);
        state.lockout.mark_superseded(source, now);
        self.dirty.store(true, Ordering::Release);
    }

    pub(super) fn unlock(&self) {
        let mut state = self.state();
        state.lockout.unlock();
        state.open();
        state.counted.clear();
        self.throttled_until.store(0, Ordering::Relaxed);
    }

    pub(super) fn lock(&self, since: u64) {
        let mut state = self.state();
        state.locked = Some(since);
        self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
    }

    /// Whether the secrets in force have to be changed before anything else.
    pub(super) fn set_must_change(&self, must_change: bool) {
        let mut state = self.state();
        let state = &mut *state;
        let secrets = state.current.iter_mut().chain(&mut state.more).chain(&mut state.old);
        secrets.for_each(|kept| kept.must_change = must_change);
    }

    /// Whether one of them has to.
    pub(super) fn must_change(&self) -> bool {
        self.state().must_change()
    }

    /// When its old secret ends; 0 where there is none.
    pub(super) fn old_until(&self) -> u64 {
        self.state().old.as_ref().and_then(|kept| kept.until).unwrap_or(0)
    }
}
