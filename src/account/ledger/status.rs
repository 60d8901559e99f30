//! What others are told of an account's secrets, and what is taken over from them.

use super::super::lifecycle::{AccountStatus, KeptPart, PasswordState};
use super::super::policy::{FAILURES_MAX, GRACE_MAX, PasswordPolicy};
use super::super::stored::Stored;
use super::super::{AccountOptions, PreparedSecret};
use super::Ledger;
use super::state::Kept;
use std::sync::atomic::Ordering;

/// Secrets of before that are kept where another server had kept more.
pub const HISTORY_MAX: usize = 100;

impl Ledger {
    /// Takes over what another server kept.
    pub(in crate::account) fn take_over(&self, kept: &PasswordState) {
        {
            let mut state = self.state();
            let state = &mut *state;
            if let Some(changed) = kept.changed {
                let secrets = state.current.iter_mut().chain(&mut state.more);
                secrets.for_each(|secret| secret.set = changed);
            }
            state.history = past(&kept.history);
            state.delayed = kept.delayed;
            state.grace = kept.grace.iter().copied().take(GRACE_MAX).collect();
            state.counted = kept.counted.iter().copied().take(FAILURES_MAX).collect();
        }
        self.last_used.store(kept.last_success.unwrap_or(0), Ordering::Relaxed);
        if kept.must_change {
            self.set_must_change(true);
        }
        if let Some(since) = kept.locked {
            self.lock(since);
        }
    }

    /// An administrator says what is kept.
    pub(in crate::account) fn keep(&self, part: KeptPart) {
        let mut state = self.state();
        let state = &mut *state;
        match part {
            KeptPart::Changed(changed) => {
                let secrets = state.current.iter_mut().chain(&mut state.more);
                secrets.for_each(|secret| secret.set = changed.unwrap_or(0));
            }
            KeptPart::Failures(failures) => state.counted = failures,
            KeptPart::Grace(grace) => state.grace = grace,
            KeptPart::History(history) => state.history = past(&history),
            KeptPart::Delayed(until) => {
                state.delayed = until;
                self.throttled_until.store(state.refused_until(), Ordering::Relaxed);
            }
        }
    }

    pub(in crate::account) fn password_state(&self) -> PasswordState {
        let state = self.state();
        let evidence = state.lockout.evidence();
        let failing = evidence
            .iter()
            .filter(|evidence| evidence.succeeded.is_none_or(|succeeded| succeeded < evidence.last));
        PasswordState {
            changed: state.changed(),
            locked: state.locked.or(state.locked_out),
            delayed: state.delayed,
            must_change: state.must_change(),
            failures: failing.map(|evidence| evidence.last).collect(),
            counted: state.counted.clone(),
            grace: state.grace.clone(),
            history: state
                .history
                .iter()
                .map(|kept| {
                    let stored = kept.stored.clone();
                    (kept.set, PreparedSecret { stored })
                })
                .collect(),
            last_success: match self.last_used.load(Ordering::Relaxed) {
                0 => None,
                at => Some(at),
            },
        }
    }

    pub(in crate::account) fn status(
        &self,
        policy: Option<&PasswordPolicy>,
        now: u64,
        options: &AccountOptions,
    ) -> AccountStatus {
        let refused = self.verdict(policy, now).refusal();
        let state = self.state();
        let evidence = state.lockout.evidence();
        let throttled = evidence
            .iter()
            .filter(|evidence| evidence.throttled_until.is_some_and(|until| now < until));
        let parsed = state.current.as_ref().map(|kept| Stored::parse(&kept.stored));
        let scheme = match &parsed {
            None => "",
            Some(Ok(stored)) => stored.scheme(),
            Some(Err(_)) => "unreadable",
        };
        AccountStatus {
            has_secret: state.current.is_some(),
            scheme: scheme.to_owned(),
            to_be_rehashed: matches!(&parsed, Some(Ok(stored)) if !stored.is_current(options)),
            secret_set: state.current.as_ref().map(|kept| kept.set).filter(|set| *set > 0),
            must_change: state.must_change(),
            refused: refused.map(|(detail, _)| detail),
            old_secret_until: state
                .old
                .as_ref()
                .and_then(|kept| kept.until)
                .filter(|until| now < *until),
            last_used: match self.last_used.load(Ordering::Relaxed) {
                0 => None,
                at => Some(at),
            },
            last_source: state.last_source.clone(),
            throttled_sources: throttled.map(|evidence| evidence.source.clone()).collect(),
            failures: state.failures,
            evidence,
        }
    }
}

/// The newest of them, as they are kept.
fn past(history: &[(u64, PreparedSecret)]) -> Vec<Kept> {
    let newest = history.iter().skip(history.len().saturating_sub(HISTORY_MAX));
    let past = newest.map(|(set, secret)| Kept {
        stored: secret.stored.clone(),
        set: *set,
        until: None,
        must_change: false,
    });
    past.collect()
}
