//! A password policy (draft-behera-ldap-password-policy): from its rules, what is kept of a secret, and the time, to what holds.
//!
//! Pure: no clock, no I/O. Invariants: whether a secret is locked, expired or too young is decided here alone; where no policy rules
//! nothing is asked; a lock of an administrator holds whatever a policy says; what it counts is bounded.

use crate::model::{PasswordFault, PasswordWarning};

/// Failures kept of one account. A pwdMaxFailure above it locks here.
pub const FAILURES_MAX: usize = 100;
/// Uses of an expired secret that are kept of one account. A policy that allows more allows these.
pub const GRACE_MAX: usize = 100;

/// The rules of one `pwdPolicy` entry, for one entry that it rules. Times are seconds; 0 is none, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    pub max_age: u64,
    /// How long before the end a bind is warned.
    pub expire_warning: u64,
    /// How often an expired secret binds.
    pub grace_limit: u64,
    /// For how long it does.
    pub grace_expiry: u64,
    pub min_age: u64,
    /// How long after the last bind the secret still binds.
    pub max_idle: u64,
    /// Secrets of before that do not come again.
    pub in_history: usize,
    /// 0: lengths are not looked at; 2: what cannot be looked at is refused.
    pub check_quality: u64,
    pub min_length: usize,
    pub max_length: usize,
    /// Whether failures lock.
    pub lockout: bool,
    /// 0 is until an administrator unlocks it.
    pub lockout_duration: u64,
    pub max_failure: usize,
    /// Failures that are kept, where those are more.
    pub max_recorded_failure: usize,
    /// For how long a failure counts; 0 is until the next success.
    pub failure_count_interval: u64,
    /// How long the first failure that does not lock keeps everybody out, where failures lock; each further one twice as long ...
    pub min_delay: u64,
    /// ... up to this; 0 is no longer than the first.
    pub max_delay: u64,
    /// New secrets are to be looked at by a module, which this server does not load.
    pub check_module: bool,
    /// Whether who is given a secret has to change it first.
    pub must_change: bool,
    pub allow_user_change: bool,
    /// Whether a change has to bring the secret before.
    pub safe_modify: bool,
    /// pwdStartTime and pwdEndTime of the ruled entry, since 1970.
    pub starts: Option<u64>,
    pub ends: Option<u64>,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            max_age: 0,
            expire_warning: 0,
            grace_limit: 0,
            grace_expiry: 0,
            min_age: 0,
            max_idle: 0,
            in_history: 0,
            check_quality: 0,
            min_length: 0,
            max_length: 0,
            lockout: false,
            lockout_duration: 0,
            max_failure: 0,
            max_recorded_failure: 0,
            failure_count_interval: 0,
            min_delay: 0,
            max_delay: 0,
            check_module: false,
            must_change: false,
            allow_user_change: true,
            safe_modify: false,
            starts: None,
            ends: None,
        }
    }
}

/// What is kept of an account's secret that a policy looks at. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SecretState {
    pub has_secret: bool,
    /// Where there is none: the last one's.
    pub changed: Option<u64>,
    /// 0 is for ever.
    pub locked: Option<u64>,
    /// By failures.
    pub locked_out: Option<u64>,
    /// Until when the last failure keeps everybody out.
    pub delayed: Option<u64>,
    pub last_success: Option<u64>,
    pub grace_used: u64,
    pub failures: usize,
    pub must_change: bool,
    /// There was one before that is no longer in force.
    pub had_secret: bool,
}

impl SecretState {
    /// Whether there is a lock, be it that it has ended.
    pub(super) fn has_lock(&self) -> bool {
        self.locked.is_some() || self.locked_out.is_some() || self.delayed.is_some()
    }
}

/// What comes of the right secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `told`: to who brings the right secret. Where failures lock, a lock that tells it would stop no guess.
    Locked {
        told: bool,
    },
    Expired,
    /// It has expired, and binds this time and so often again.
    Grace {
        left: u64,
    },
    /// `ends_in`: seconds that are left, where that is to be told.
    Good {
        ends_in: Option<u64>,
    },
}

/// A change of a secret as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeAsked {
    /// Of the own secret.
    pub own: bool,
    /// By an administrator, whom no policy holds.
    pub administrator: bool,
    /// It puts a secret in force.
    pub gives: bool,
    /// The secret before came with it.
    pub old_came: bool,
    /// The same transaction has changed it already.
    pub again: bool,
}

/// `policy` `None` is none.
pub(super) fn verdict(policy: Option<&PasswordPolicy>, state: &SecretState, now: u64) -> Verdict {
    match policy {
        Some(policy) if policy.is_locked(state, now) => Verdict::Locked { told: !policy.lockout },
        None if state.locked.is_some() => Verdict::Locked { told: true },
        Some(policy) => policy.age_verdict(state, now),
        None => Verdict::GOOD,
    }
}

impl Verdict {
    /// Where nothing rules.
    pub const GOOD: Verdict = Verdict::Good { ends_in: None };

    /// Why nobody is let in: for the audit, and for who brought the secret where that is told.
    pub(super) fn refusal(self) -> Option<(&'static str, Option<PasswordFault>)> {
        match self {
            Verdict::Locked { told } => Some(("locked", told.then_some(PasswordFault::AccountLocked))),
            Verdict::Expired => Some(("password expired", Some(PasswordFault::PasswordExpired))),
            Verdict::Grace { .. } | Verdict::Good { .. } => None,
        }
    }

    pub(super) fn warning(self) -> Option<PasswordWarning> {
        match self {
            Verdict::Grace { left } => Some(PasswordWarning::GraceLeft(left)),
            Verdict::Good { ends_in } => ends_in.map(PasswordWarning::ExpiresIn),
            Verdict::Locked { .. } | Verdict::Expired => None,
        }
    }
}

impl PasswordPolicy {
    /// The same, where it does not matter how old a secret is.
    pub(super) fn ageless(self) -> PasswordPolicy {
        PasswordPolicy { max_age: 0, ..self }
    }

    /// Section 7.1. An administrator's lock with a time ends as one by failures does.
    fn is_locked(&self, state: &SecretState, now: u64) -> bool {
        let has_started = self.starts.is_none_or(|starts| starts <= now);
        let has_ended = self.ends.is_some_and(|ends| ends <= now);
        let idle = self.idle_at(state).is_some_and(|at| at < now);
        let lasts = |since: u64| self.lockout_duration == 0 || now < since.saturating_add(self.lockout_duration);
        let locked = state
            .locked
            .is_some_and(|since| !self.lockout || since == 0 || lasts(since));
        let locked_out = state.locked_out.is_some_and(|since| self.lockout && lasts(since));
        let delayed = state.delayed.is_some_and(|until| self.lockout && now < until);
        !has_started || has_ended || idle || locked || locked_out || delayed
    }

    /// Seconds until a lock ends by itself; `None` where none is in force that does.
    pub(super) fn unlocks_in(&self, state: &SecretState, now: u64) -> Option<u64> {
        let lasts = |since: u64| match (since, self.lockout_duration) {
            (0, _) | (_, 0) => u64::MAX,
            (since, duration) => since.saturating_add(duration),
        };
        let by_failures = [state.locked_out.map(lasts), state.delayed];
        let by_failures = by_failures.into_iter().flatten().filter(|_| self.lockout);
        let given = state
            .locked
            .map(|since| if self.lockout { lasts(since) } else { u64::MAX });
        let over = self.ends.filter(|ends| *ends <= now).map(|_| u64::MAX);
        let idle = self.idle_at(state).filter(|at| *at < now).map(|_| u64::MAX);
        let ends = by_failures.chain(given).chain(self.starts).chain(over).chain(idle);
        let last = ends.max().filter(|last| *last < u64::MAX)?;
        last.checked_sub(now).filter(|left| *left > 0)
    }

    /// Seconds until the secret is no longer good, as far as that is known now.
    pub(super) fn ends_in(&self, state: &SecretState, now: u64) -> Option<u64> {
        let changed = state.changed.filter(|_| self.max_age > 0);
        let aged = changed.map(|changed| changed.saturating_add(self.max_age));
        let ends = aged.into_iter().chain(self.idle_at(state)).chain(self.ends);
        ends.min().map(|end| end.saturating_sub(now))
    }

    /// The last second in which it has been used lately enough.
    fn idle_at(&self, state: &SecretState) -> Option<u64> {
        let used = state.last_success.max(state.changed).filter(|_| self.max_idle > 0);
        used.map(|used| used.saturating_add(self.max_idle))
    }

    /// Sections 7.3 to 7.5.
    pub(super) fn age_verdict(&self, state: &SecretState, now: u64) -> Verdict {
        let Some(changed) = state.changed.filter(|_| self.max_age > 0) else {
            return Verdict::GOOD;
        };
        let age = now.saturating_sub(changed);
        // What has to be changed is not held to its age.
        if age <= self.max_age || state.must_change {
            let left = self.max_age.saturating_sub(age);
            return Verdict::Good {
                ends_in: Some(left).filter(|left| *left < self.expire_warning),
            };
        }
        let is_over = self.grace_expiry > 0 && age > self.max_age.saturating_add(self.grace_expiry);
        match self.grace_limit.min(GRACE_MAX as u64).saturating_sub(state.grace_used) {
            left if left > 0 && !is_over => Verdict::Grace { left: left - 1 },
            _ => Verdict::Expired,
        }
    }

    /// Sections 8.2.1 to 8.2.4: all that is known before the new secret is looked at.
    pub(super) fn check_change(&self, asked: &ChangeAsked, state: &SecretState, now: u64) -> Result<(), PasswordFault> {
        if asked.administrator {
            return Ok(());
        }
        if asked.own && !self.allow_user_change {
            return Err(PasswordFault::PasswordModNotAllowed);
        }
        if !asked.gives {
            return Ok(());
        }
        // Who takes the own secret away first gets around nothing; another who does gives the next one.
        let has_before = state.has_secret || asked.own && state.had_secret;
        if self.safe_modify && has_before && !asked.old_came {
            return Err(PasswordFault::MustSupplyOldPassword);
        }
        let is_young = |changed: u64| now.saturating_sub(changed) < self.min_age;
        let too_young = asked.again && self.min_age > 0 || has_before && state.changed.is_some_and(is_young);
        if too_young && !state.must_change {
            return Err(PasswordFault::PasswordTooYoung);
        }
        Ok(())
    }

    /// The fewest and the most characters of a secret, where they are looked at.
    pub fn lengths(&self) -> Option<(usize, usize)> {
        let most = Some(self.max_length).filter(|most| *most > 0);
        (self.check_quality > 0).then(|| (self.min_length, most.unwrap_or(usize::MAX)))
    }

    /// Whether a module is to say that a secret is good. Where secrets are not looked at it is not asked.
    pub fn asks_for_module(&self) -> bool {
        self.check_module && self.check_quality > 0
    }

    /// Sections 7.6 and 7.7: takes in a failure, and gives what follows from it. `failures` are microseconds since 1970.
    pub(super) fn count_failure(&self, failures: &mut Vec<u64>, now: u64) -> AfterFailure {
        let kept = match self.max_failure.max(self.max_recorded_failure).min(FAILURES_MAX) {
            0 if self.min_delay > 0 => DELAYING_FAILURES,
            kept => kept,
        };
        if kept == 0 {
            return AfterFailure::Nothing;
        }
        let counts = |at: &u64| now <= (at / MICROSECONDS).saturating_add(self.failure_count_interval);
        if self.failure_count_interval > 0 {
            failures.retain(counts);
        }
        let before = failures.len();
        note_time(failures, now, kept);
        match self.lockout {
            true if self.max_failure > 0 && failures.len() >= self.max_failure.min(FAILURES_MAX) => AfterFailure::Locks,
            true if self.min_delay > 0 => AfterFailure::Delays(now.saturating_add(self.delay_after(before))),
            _ => AfterFailure::Nothing,
        }
    }

    /// Seconds, after so many failures.
    fn delay_after(&self, failures: usize) -> u64 {
        let most = self.max_delay.max(self.min_delay);
        let doublings = u32::try_from(failures).unwrap_or(u32::MAX);
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.min_delay.saturating_mul(factor).min(most)
    }
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    Nothing,
    Locks,
    /// Until then.
    Delays(u64),
}

const MICROSECONDS: u64 = 1_000_000;
/// Failures that are kept where only delays follow from them, as slapd has it.
const DELAYING_FAILURES: usize = 5;

/// Adds a time in microseconds that is no other's: they are values of one attribute. The first makes room.
pub(super) fn note_time(times: &mut Vec<u64>, now: u64, most: usize) {
    let next = times.last().map_or(0, |last| last.saturating_add(1));
    times.push(now.saturating_mul(MICROSECONDS).max(next));
    let over = times.len().saturating_sub(most);
    times.drain(..over);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const NOW: u64 = 1_000_000;

    fn is_locked(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Locked { .. })
    }

    /// Of a secret that is so many seconds old.
    pub fn aged(age: u64) -> SecretState {
        SecretState {
            has_secret: true,
            changed: Some(NOW - age),
            ..SecretState::default()
        }
    }

    #[test]
    fn a_secret_ages_is_warned_of_and_has_its_grace() {
        let policy = PasswordPolicy {
            max_age: 100,
            expire_warning: 20,
            grace_limit: 2,
            grace_expiry: 50,
            ..PasswordPolicy::default()
        };
        let good = |ends_in| Verdict::Good { ends_in };
        for (age, used, expected) in [
            (0, 0, good(None)),
            (80, 0, good(None)),
            (81, 0, good(Some(19))),
            (100, 0, good(Some(0))),
            (101, 0, Verdict::Grace { left: 1 }),
            (101, 1, Verdict::Grace { left: 0 }),
            (101, 2, Verdict::Expired),
            (101, 3, Verdict::Expired),
            (150, 0, Verdict::Grace { left: 1 }),
            (151, 0, Verdict::Expired),
        ] {
            let state = SecretState {
                grace_used: used,
                ..aged(age)
            };
            assert_eq!(verdict(Some(&policy), &state, NOW), expected, "{age} {used}");
            assert_eq!(verdict(None, &state, NOW), good(None));
            let reset = SecretState {
                must_change: true,
                ..state
            };
            let left = 100 - age.min(100);
            assert_eq!(verdict(Some(&policy), &reset, NOW), good((left < 20).then_some(left)));
        }
        let unknown = SecretState {
            changed: None,
            ..aged(0)
        };
        assert_eq!(verdict(Some(&policy), &unknown, NOW), good(None));
    }

    #[test]
    fn locks_end_where_the_policy_says_so_and_only_then() {
        let lasting = PasswordPolicy {
            lockout: true,
            ..PasswordPolicy::default()
        };
        let passing = PasswordPolicy {
            lockout_duration: 60,
            ..lasting.clone()
        };
        let silent = PasswordPolicy {
            lockout: false,
            ..passing.clone()
        };
        for (policy, since, locked) in [
            (Some(&passing), 0, true),
            (Some(&passing), NOW, true),
            (Some(&passing), NOW - 59, true),
            (Some(&passing), NOW - 60, false),
            (Some(&passing), NOW + 60, true),
            (Some(&lasting), NOW - 60, true),
            (Some(&silent), NOW - 60, true),
            (None, NOW - 60, true),
        ] {
            let state = SecretState {
                locked: Some(since),
                ..aged(1)
            };
            let found = is_locked(verdict(policy, &state, NOW));
            assert_eq!(found, locked, "{policy:?} {since}");
        }
        for (policy, since, locked) in [
            (Some(&passing), NOW - 59, true),
            (Some(&passing), NOW - 60, false),
            (Some(&lasting), NOW - 60, true),
            (Some(&silent), NOW, false),
            (None, NOW, false),
        ] {
            let state = SecretState {
                locked_out: Some(since),
                ..aged(1)
            };
            let found = is_locked(verdict(policy, &state, NOW));
            assert_eq!(found, locked, "by failures: {policy:?} {since}");
        }
        let idle = PasswordPolicy {
            max_idle: 10,
            ..PasswordPolicy::default()
        };
        let bound = |at| SecretState {
            last_success: Some(at),
            ..aged(500)
        };
        assert!(is_locked(verdict(Some(&idle), &aged(500), NOW)));
        assert!(is_locked(verdict(Some(&idle), &bound(NOW - 11), NOW)));
        assert!(!is_locked(verdict(Some(&idle), &bound(NOW - 10), NOW)));
        assert!(!is_locked(verdict(Some(&idle), &aged(10), NOW)));
        for (starts, ends, locked) in [
            (Some(NOW), Some(NOW + 1), false),
            (Some(NOW + 1), None, true),
            (None, Some(NOW), true),
        ] {
            let policy = PasswordPolicy {
                starts,
                ends,
                ..PasswordPolicy::default()
            };
            assert_eq!(is_locked(verdict(Some(&policy), &aged(1), NOW)), locked);
        }
    }

    fn locks(policy: &PasswordPolicy, failures: &mut Vec<u64>, now: u64) -> bool {
        policy.count_failure(failures, now) == AfterFailure::Locks
    }

    #[test]
    fn failures_that_do_not_lock_delay_and_each_for_longer() {
        let policy = PasswordPolicy {
            lockout: true,
            min_delay: 3,
            max_delay: 20,
            ..PasswordPolicy::default()
        };
        let delays = |policy: &PasswordPolicy, count: usize| {
            let mut failures = Vec::new();
            let after = (0..count).map(|_| match policy.count_failure(&mut failures, NOW) {
                AfterFailure::Delays(until) => until - NOW,
                AfterFailure::Locks => 999,
                AfterFailure::Nothing => 0,
            });
            (after.collect::<Vec<_>>(), failures.len())
        };
        assert_eq!(delays(&policy, 5), (vec![3, 6, 12, 20, 20], 5));
        assert_eq!(delays(&policy, 500).1, DELAYING_FAILURES);
        let no_longer = PasswordPolicy {
            max_delay: 0,
            max_failure: 3,
            ..policy.clone()
        };
        assert_eq!(delays(&no_longer, 3).0, [3, 3, 999]);
        let vast = PasswordPolicy {
            max_delay: u64::MAX,
            max_recorded_failure: 100,
            min_delay: u64::MAX,
            ..policy.clone()
        };
        let mut failures = Vec::new();
        assert!((0..200).all(|_| vast.count_failure(&mut failures, NOW) == AfterFailure::Delays(u64::MAX)));
        let silent = PasswordPolicy {
            lockout: false,
            ..policy.clone()
        };
        assert_eq!(delays(&silent, 2), (vec![0, 0], 2));
        let state = SecretState {
            delayed: Some(NOW + 1),
            ..aged(1)
        };
        let verdict_of = |policy| verdict(policy, &state, NOW);
        assert_eq!(verdict_of(Some(&policy)), Verdict::Locked { told: false });
        assert!(!is_locked(verdict(Some(&policy), &state, NOW + 1)));
        assert!(!is_locked(verdict_of(Some(&silent))) && !is_locked(verdict_of(None)));
    }

    #[test]
    fn failures_lock_only_where_the_policy_says_so() {
        let policy = PasswordPolicy {
            lockout: true,
            max_failure: 3,
            failure_count_interval: 10,
            ..PasswordPolicy::default()
        };
        let mut failures = Vec::new();
        assert!(!locks(&policy, &mut failures, NOW));
        assert!(!locks(&policy, &mut failures, NOW));
        assert_eq!(failures, [NOW * 1_000_000, NOW * 1_000_000 + 1]);
        // They are too old to count.
        assert!(!locks(&policy, &mut failures, NOW + 11));
        assert_eq!(failures.len(), 1);
        assert!(!locks(&policy, &mut failures, NOW + 21));
        assert!(locks(&policy, &mut failures, NOW + 21));
        let counted = |policy: &PasswordPolicy| {
            let mut failures = Vec::new();
            let count = (0..1_000).filter(|_| locks(policy, &mut failures, NOW)).count();
            (count, failures.len())
        };
        let silent = PasswordPolicy {
            lockout: false,
            ..policy.clone()
        };
        assert_eq!(counted(&silent), (0, 3));
        assert_eq!(counted(&PasswordPolicy::default()), (0, 0));
        let many = PasswordPolicy {
            max_failure: 5_000,
            ..policy
        };
        assert_eq!(counted(&many), (901, FAILURES_MAX));
    }

    #[test]
    fn a_change_is_refused_in_the_order_of_the_draft() {
        use PasswordFault::{MustSupplyOldPassword, PasswordModNotAllowed, PasswordTooYoung};
        let mut policy = PasswordPolicy {
            min_age: 100,
            safe_modify: true,
            allow_user_change: false,
            ..PasswordPolicy::default()
        };
        let mut asked = ChangeAsked {
            own: true,
            administrator: false,
            gives: true,
            old_came: false,
            again: false,
        };
        let state = aged(99);
        assert_eq!(policy.check_change(&asked, &state, NOW), Err(PasswordModNotAllowed));
        policy.allow_user_change = true;
        assert_eq!(policy.check_change(&asked, &state, NOW), Err(MustSupplyOldPassword));
        asked.old_came = true;
        assert_eq!(policy.check_change(&asked, &state, NOW), Err(PasswordTooYoung));
        assert_eq!(policy.check_change(&asked, &aged(100), NOW), Ok(()));
        let reset = SecretState {
            must_change: true,
            ..state
        };
        assert_eq!(policy.check_change(&asked, &reset, NOW), Ok(()));
        assert_eq!(policy.check_change(&asked, &SecretState::default(), NOW), Ok(()));
        asked.again = true;
        assert_eq!(policy.check_change(&asked, &aged(100), NOW), Err(PasswordTooYoung));
        asked.gives = false;
        assert_eq!(policy.check_change(&asked, &state, NOW), Ok(()));
        asked = ChangeAsked {
            administrator: true,
            gives: true,
            old_came: false,
            ..asked
        };
        assert_eq!(policy.check_change(&asked, &state, NOW), Ok(()));
    }

    #[test]
    fn who_takes_the_own_secret_away_gets_around_nothing() {
        let policy = PasswordPolicy {
            min_age: 100,
            ..PasswordPolicy::default()
        };
        let safe = PasswordPolicy {
            safe_modify: true,
            ..PasswordPolicy::default()
        };
        let gone = SecretState {
            has_secret: false,
            had_secret: true,
            ..aged(1)
        };
        let never = SecretState::default();
        for (own, state, fault) in [(true, gone, true), (false, gone, false), (true, never, false)] {
            let asked = ChangeAsked {
                own,
                administrator: false,
                gives: true,
                old_came: false,
                again: false,
            };
            let expected = |of| if fault { Err(of) } else { Ok(()) };
            let found = policy.check_change(&asked, &state, NOW);
            assert_eq!(found, expected(PasswordFault::PasswordTooYoung));
            let found = safe.check_change(&asked, &state, NOW);
            assert_eq!(found, expected(PasswordFault::MustSupplyOldPassword));
        }
    }
}
