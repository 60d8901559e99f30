//! Whether an account can be used, as its policy, its locks and its entry have it. Pure.

use super::lifecycle::{Unavailable, Usability};
use super::policy::{self, PasswordPolicy, SecretState, Verdict};

/// As far as the secret says it.
pub(super) fn of(policy: Option<&PasswordPolicy>, state: &SecretState, now: u64) -> Usability {
    let inactive = matches!(policy::verdict(policy, state, now), Verdict::Locked { .. });
    let aged = policy.map(|policy| policy.age_verdict(state, now));
    let expired = matches!(aged, Some(Verdict::Grace { .. } | Verdict::Expired));
    if !inactive && !state.must_change && !expired {
        return Usability::Available {
            ends_in: policy.and_then(|policy| policy.ends_in(state, now)),
        };
    }
    let grace = match aged {
        Some(Verdict::Grace { left }) => Some(left + 1),
        _ => policy.filter(|policy| policy.grace_limit > 0).map(|_| 0),
    };
    Usability::Unavailable(Unavailable {
        inactive,
        must_change: state.must_change,
        expired,
        grace: grace.filter(|_| expired),
        unlocks_in: policy
            .filter(|_| inactive)
            .and_then(|policy| policy.unlocks_in(state, now)),
    })
}

/// The same where the entry may say more.
pub(super) fn held_to(usability: Usability, disabled: bool, expires: Option<u64>, now: u64) -> Usability {
    let left = expires.map(|expires| expires.saturating_sub(now));
    let has_ended = left == Some(0);
    let why = match usability {
        Usability::Available { ends_in } if !disabled && !has_ended => {
            return Usability::Available {
                ends_in: ends_in.into_iter().chain(left).min(),
            };
        }
        Usability::Available { .. } => Unavailable::default(),
        Usability::Unavailable(why) => why,
    };
    Usability::Unavailable(Unavailable {
        inactive: why.inactive || disabled,
        expired: why.expired || has_ended,
        grace: why.grace.filter(|_| !has_ended),
        unlocks_in: why.unlocks_in.filter(|_| !disabled),
        ..why
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::policy::tests::{NOW, aged};

    fn policy() -> PasswordPolicy {
        PasswordPolicy {
            max_age: 100,
            grace_limit: 3,
            lockout: true,
            lockout_duration: 60,
            max_idle: 500,
            ..PasswordPolicy::default()
        }
    }

    #[test]
    fn what_ages_ends_and_has_its_grace() {
        let policy = policy();
        let of = |state: &SecretState| super::of(Some(&policy), state, NOW);
        assert_eq!(of(&aged(40)), Usability::Available { ends_in: Some(60) });
        let used = SecretState {
            grace_used: 1,
            ..aged(101)
        };
        let expired = Unavailable {
            expired: true,
            grace: Some(2),
            ..Unavailable::default()
        };
        assert_eq!(of(&used), Usability::Unavailable(expired));
        let used_up = SecretState { grace_used: 5, ..used };
        let none_left = Unavailable {
            grace: Some(0),
            ..expired
        };
        assert_eq!(of(&used_up), Usability::Unavailable(none_left));
        let reset = SecretState {
            must_change: true,
            ..aged(101)
        };
        let to_be_changed = Unavailable {
            must_change: true,
            ..Unavailable::default()
        };
        assert_eq!(of(&reset), Usability::Unavailable(to_be_changed));
        let unknown = SecretState {
            changed: None,
            last_success: Some(NOW - 450),
            ..aged(0)
        };
        assert_eq!(of(&unknown), Usability::Available { ends_in: Some(50) }, "idle then");
        assert_eq!(
            super::of(None, &aged(9_999), NOW),
            Usability::Available { ends_in: None }
        );
    }

    #[test]
    fn locks_say_when_they_end_where_they_do() {
        let policy = policy();
        let of = |policy: Option<&PasswordPolicy>, state: &SecretState| match super::of(policy, state, NOW) {
            Usability::Unavailable(Unavailable {
                inactive: true,
                unlocks_in,
                ..
            }) => unlocks_in,
            other => panic!("{other:?}"),
        };
        let locked = |since| SecretState {
            locked: Some(since),
            ..aged(1)
        };
        assert_eq!(of(Some(&policy), &locked(NOW - 20)), Some(40));
        assert_eq!(of(Some(&policy), &locked(0)), None, "for ever");
        assert_eq!(of(None, &locked(NOW)), None, "until an administrator unlocks it");
        let both = SecretState {
            locked_out: Some(NOW - 10),
            delayed: Some(NOW + 90),
            ..aged(1)
        };
        assert_eq!(of(Some(&policy), &both), Some(90));
        let lasting = PasswordPolicy {
            lockout_duration: 0,
            ..policy.clone()
        };
        assert_eq!(of(Some(&lasting), &both), None);
        let later = PasswordPolicy {
            starts: Some(NOW + 7),
            ..policy.clone()
        };
        assert_eq!(of(Some(&later), &aged(1)), Some(7));
        let over = PasswordPolicy {
            ends: Some(NOW),
            ..later
        };
        assert_eq!(of(Some(&over), &aged(1)), None);
        assert_eq!(of(Some(&policy), &aged(501)), None, "not used for too long");
    }

    #[test]
    fn an_entry_may_be_disabled_and_end() {
        let good = Usability::Available { ends_in: Some(60) };
        assert_eq!(held_to(good, false, None, NOW), good);
        let sooner = Usability::Available { ends_in: Some(9) };
        assert_eq!(held_to(good, false, Some(NOW + 9), NOW), sooner);
        let disabled = Unavailable {
            inactive: true,
            ..Unavailable::default()
        };
        assert_eq!(held_to(good, true, None, NOW), Usability::Unavailable(disabled));
        let ended = Unavailable {
            expired: true,
            ..Unavailable::default()
        };
        assert_eq!(held_to(good, false, Some(NOW), NOW), Usability::Unavailable(ended));
    }
}
