//! Accounts that a password policy rules.

use super::*;
use crate::model::PasswordWarning;
use crate::store::KeyedWrite;
use std::sync::Mutex;

const DAY: u64 = 86_400;
const FIRST: &str = "first";

fn policy() -> PasswordPolicy {
    PasswordPolicy {
        lockout: true,
        lockout_duration: 60,
        max_failure: 3,
        ..PasswordPolicy::default()
    }
}

/// Its policy can be changed while it is there.
struct Ruled {
    accounts: Accounts,
    policy: Arc<Mutex<PasswordPolicy>>,
}

impl Ruled {
    async fn by(policy: PasswordPolicy) -> Ruled {
        Ruled::throttled(policy, 0).await
    }

    async fn throttled(policy: PasswordPolicy, failures_per_source: u32) -> Ruled {
        let ruled = Ruled::without_secret(policy, failures_per_source);
        let set = ruled.prepared(FIRST).await;
        ruled.accounts.put_secrets(&key("ann"), vec![set], NOW, 1);
        ruled
    }

    fn without_secret(policy: PasswordPolicy, failures_per_source: u32) -> Ruled {
        let policy = Arc::new(Mutex::new(policy));
        let accounts = Accounts::new(AccountOptions {
            failures_per_source,
            ..options()
        });
        let rules = Arc::clone(&policy);
        accounts.rule_by(PasswordPolicies {
            of: Box::new(move |_| Some(rules.lock().unwrap().clone())),
            history: 4,
        });
        let mut ann = facts("ann");
        ann.general = true;
        accounts.put(ann);
        Ruled { accounts, policy }
    }

    async fn prepared(&self, text: &str) -> PreparedSecret {
        let rules = SecretRules::UNCHECKED;
        self.accounts.prepare_chosen(secret(text), rules).await.unwrap()
    }

    async fn change(&self, text: &str, now: u64) {
        let prepared = self.prepared(text).await;
        self.accounts.put_secrets(&key("ann"), vec![prepared], now, 1);
    }

    async fn bind_from(
        &self,
        host: u8,
        text: &str,
        now: u64,
    ) -> Result<Option<PasswordWarning>, Option<PasswordFault>> {
        let bound = self
            .accounts
            .authenticate("cn=ann", Some(&key("ann")), secret(text), &source(host), now)
            .await;
        bound
            .map(|identity| identity.warning)
            .map_err(|refusal| refusal.outcome.password)
    }

    async fn bind(&self, text: &str, now: u64) -> Result<Option<PasswordWarning>, Option<PasswordFault>> {
        self.bind_from(1, text, now).await
    }

    fn kept(&self) -> PasswordState {
        self.accounts.password_state(&key("ann")).unwrap()
    }

    /// As after a restart, under the same policy.
    fn again(&self, writes: &[KeyedWrite]) -> Ruled {
        let again = Ruled::without_secret(self.policy.lock().unwrap().clone(), 0);
        for write in writes {
            again
                .accounts
                .restore(&write.key, write.value.as_ref().unwrap())
                .unwrap();
        }
        let mut ann = facts("ann");
        ann.general = true;
        again.accounts.forget(&key("ann"));
        again.accounts.put(ann);
        again
    }
}

#[tokio::test]
async fn failures_lock_for_a_time_and_who_tries_does_not_prolong_it() {
    let ruled = Ruled::by(policy()).await;
    // Twice, so that the second is remembered: it must not answer once failures count.
    assert_eq!(ruled.bind(FIRST, NOW).await, Ok(None));
    assert_eq!(ruled.bind(FIRST, NOW).await, Ok(None));
    for _ in 0..2 {
        assert_eq!(ruled.bind("wrong", NOW).await, Err(None));
    }
    assert_eq!(ruled.kept().counted.len(), 2);
    assert_eq!(ruled.bind(FIRST, NOW).await, Ok(None));
    assert!(ruled.kept().counted.is_empty(), "a success begins anew");
    // The same one counts each time, from wherever it comes.
    for host in 1..=3 {
        assert_eq!(ruled.bind_from(host, "wrong", NOW).await, Err(None));
    }
    assert_eq!(ruled.kept().locked, Some(NOW));
    let by_certificate = |ruled: &Ruled| {
        ruled
            .accounts
            .authenticate_certificate((&[7; 32], u64::MAX), &source(1), NOW + 1)
    };
    assert!(by_certificate(&ruled).is_ok(), "nobody guesses at a certificate");
    assert_eq!(
        ruled.bind(FIRST, NOW + 1).await,
        Err(None),
        "the lock confirms no guess"
    );
    for _ in 0..9 {
        assert_eq!(ruled.bind("wrong", NOW + 59).await, Err(None));
    }
    let writes = ruled.accounts.drain_writes();
    let again = ruled.again(&writes);
    assert_eq!(again.bind(FIRST, NOW + 59).await, Err(None));
    for ruled in [ruled, again] {
        assert_eq!(ruled.bind(FIRST, NOW + 60).await, Ok(None));
        assert_eq!(ruled.kept().locked, None);
        // For ever is an administrator's.
        ruled.accounts.lock(&key("ann"), 0);
        assert_eq!(ruled.bind(FIRST, NOW + DAY).await, Err(None));
        let lockout = |on| ruled.policy.lock().unwrap().lockout = on;
        lockout(false);
        let told = ruled.bind(FIRST, NOW + DAY).await;
        assert_eq!(
            told,
            Err(Some(PasswordFault::AccountLocked)),
            "nothing bounds the guesses here"
        );
        lockout(true);
        assert!(by_certificate(&ruled).is_err());
        ruled.change("second", NOW + DAY).await;
        assert_eq!(ruled.kept().locked, Some(0), "no change of secret ends it");
        ruled.accounts.unlock(&key("ann"));
        assert_eq!(ruled.bind("second", NOW + DAY).await, Ok(None));
    }
}

/// The audit has the bind that locked an account, and who turns the lock off lets it in.
#[tokio::test]
async fn a_lock_by_failures_holds_while_its_policy_does() {
    let ruled = Ruled::by(PasswordPolicy {
        max_failure: 1,
        ..policy()
    });
    let ruled = ruled.await;
    for detail in ["wrong secret; locked now", "locked"] {
        let ann = key("ann");
        let from = source(1);
        let refused = ruled
            .accounts
            .authenticate("cn=ann", Some(&ann), secret("wrong"), &from, NOW);
        assert_eq!(refused.await.unwrap_err().detail, detail);
    }
    let status = || ruled.accounts.status(&key("ann")).unwrap();
    assert_eq!(status().refused, Some("locked"));
    ruled.policy.lock().unwrap().lockout = false;
    assert_eq!(status().refused, None);
    assert_eq!(ruled.bind(FIRST, NOW).await, Ok(None));
    assert_eq!(ruled.kept().locked, None);
}

/// A throttled source's tries are not looked at, so they are no failures either; nor is a secret of before.
#[tokio::test]
async fn what_is_no_guess_locks_nobody_out() {
    let ruled = Ruled::by(policy()).await;
    assert_eq!(ruled.bind(FIRST, NOW).await, Ok(None));
    ruled.change("second", NOW).await;
    for _ in 0..9 {
        assert_eq!(ruled.bind(FIRST, NOW).await, Err(None));
    }
    assert_eq!(ruled.kept().counted, Vec::<u64>::new());
    assert_eq!(ruled.bind("second", NOW).await, Ok(None));

    let ruled = Ruled::throttled(policy(), 2).await;
    for number in 0..9 {
        assert_eq!(ruled.bind(&number.to_string(), NOW).await, Err(None));
    }
    assert_eq!(ruled.kept().counted.len(), 2);
    assert_eq!(ruled.bind_from(2, FIRST, NOW).await, Ok(None));
}

/// A storm of wrong binds comes to one small write.
#[tokio::test]
async fn failures_are_written_together() {
    let mut rules = policy();
    rules.lockout = false;
    rules.max_failure = 1_000;
    let ruled = Ruled::by(rules).await;
    ruled.accounts.drain_writes();
    for number in 0..500 {
        assert_eq!(ruled.bind(&number.to_string(), NOW).await, Err(None));
    }
    let writes = ruled.accounts.drain_writes();
    assert_eq!(writes.len(), 1);
    let octets = writes[0].value.as_ref().unwrap().len();
    assert!(octets < 4_096, "{octets}");
    assert_eq!(ruled.accounts.drain_writes().len(), 0);
}

#[tokio::test]
async fn an_expired_secret_binds_as_often_as_its_policy_says_and_never_from_memory() {
    let rules = PasswordPolicy {
        max_age: DAY,
        expire_warning: 100,
        grace_limit: 3,
        ..PasswordPolicy::default()
    };
    let ruled = Ruled::by(rules).await;
    let soon = Ok(Some(PasswordWarning::ExpiresIn(99)));
    // Remembered too.
    for _ in 0..2 {
        assert_eq!(ruled.bind(FIRST, NOW + DAY - 99).await, soon);
    }
    let late = NOW + DAY + 1;
    assert_eq!(ruled.bind("wrong", late).await, Err(None));
    assert_eq!(ruled.bind(FIRST, late).await, Ok(Some(PasswordWarning::GraceLeft(2))));
    assert_eq!(ruled.bind(FIRST, late).await, Ok(Some(PasswordWarning::GraceLeft(1))));
    let again = ruled.again(&ruled.accounts.drain_writes());
    assert_eq!(again.bind(FIRST, late).await, Ok(Some(PasswordWarning::GraceLeft(0))));
    let grace = again.kept().grace;
    assert_eq!(grace, [late * 1_000_000, late * 1_000_000 + 1, late * 1_000_000 + 2]);
    let runs = again.accounts.argon2_runs();
    assert_eq!(again.bind(FIRST, late).await, Err(Some(PasswordFault::PasswordExpired)));
    assert_eq!(again.bind("wrong", late).await, Err(None));
    assert_eq!(again.accounts.argon2_runs() - runs, 2, "each refusal costs one");
    again.policy.lock().unwrap().max_failure = 2;
    assert_eq!(again.bind("wrong", late).await, Err(None));
    assert_eq!(again.kept().counted.len(), 1);
    assert_eq!(again.bind(FIRST, late).await, Err(Some(PasswordFault::PasswordExpired)));
    assert_eq!(again.kept().counted.len(), 0, "it was no guess");
    // It is good for its own change.
    let ann = key("ann");
    let from = source(1);
    let prove = |text| again.accounts.prove("cn=ann", &ann, secret(text), &from, late);
    prove(FIRST).await.unwrap();
    assert!(prove("wrong").await.is_err());
    again.change("second", late).await;
    assert_eq!(again.kept().grace, Vec::<u64>::new());
    assert_eq!(again.bind("second", late).await, Ok(None));
}

#[tokio::test]
async fn secrets_of_before_are_known_within_bounds() {
    let rules = PasswordPolicy {
        in_history: 2,
        ..PasswordPolicy::default()
    };
    let ruled = Ruled::by(rules).await;
    for (text, now) in [("second", NOW + 1), ("third", NOW + 2), ("fourth", NOW + 3)] {
        ruled.change(text, now).await;
    }
    let used = async |text: &str| {
        let policy = ruled.policy.lock().unwrap().clone();
        ruled
            .accounts
            .was_used(&key("ann"), secret(text), &policy)
            .await
            .unwrap()
    };
    for (text, known) in [
        ("fourth", true),
        ("third", true),
        ("second", true),
        (FIRST, false),
        ("fifth", false),
    ] {
        assert_eq!(used(text).await, known, "{text}");
    }
    let since: Vec<u64> = ruled.kept().history.iter().map(|(since, _)| *since).collect();
    assert_eq!(since, [NOW + 2, NOW + 3]);
    ruled.policy.lock().unwrap().in_history = 1_000;
    for number in 0..9 {
        ruled.change(&format!("more {number}"), NOW + 4).await;
    }
    assert_eq!(ruled.kept().history.len(), 4, "the most that the configuration allows");
    assert!(!used("fourth").await);
    ruled.policy.lock().unwrap().in_history = 0;
    ruled.change("last", NOW + 5).await;
    assert_eq!(ruled.kept().history.len(), 0);
    assert!(!format!("{:?}", ruled.kept()).contains("argon2"));
}

#[tokio::test]
async fn who_is_given_a_secret_has_to_change_it_where_the_policy_says_so() {
    let rules = PasswordPolicy {
        must_change: true,
        ..PasswordPolicy::default()
    };
    let ruled = Ruled::by(rules).await;
    assert!(!ruled.kept().must_change);
    let prepared = ruled.prepared("given").await;
    ruled.accounts.put_secrets(&key("ann"), vec![prepared], NOW, 0);
    assert!(ruled.kept().must_change);
    ruled.change("own", NOW).await;
    assert!(!ruled.kept().must_change);
}

/// Nobody can say whether it was the right one: it is not told so, it costs what a wrong one does, and it does not lock.
#[tokio::test]
async fn the_secret_of_an_expired_account_counts_as_no_failure_where_its_hash_has_other_costs() {
    let rules = PasswordPolicy {
        max_age: DAY,
        ..policy()
    };
    let ruled = Ruled::without_secret(rules, 3);
    let elsewhere = Accounts::new(AccountOptions {
        argon2_iterations: 2,
        ..options()
    });
    let hashed = elsewhere.prepare_chosen(secret(FIRST), SecretRules::UNCHECKED);
    let hashed = hashed.await.unwrap();
    ruled.accounts.put_secrets(&key("ann"), vec![hashed.clone()], NOW, 1);
    let late = NOW + DAY + 1;
    for text in [FIRST, "wrong-1", FIRST, "wrong-2", FIRST, "wrong-3", FIRST] {
        let before = ruled.accounts.argon2_runs();
        assert_eq!(ruled.bind(text, late).await, Err(None), "{text}");
        assert_eq!(ruled.accounts.argon2_runs() - before, 1, "{text}");
    }
    let kept = ruled.kept();
    assert_eq!((kept.counted.len(), kept.locked), (0, None));
    // Nor is another secret beside it told to be right: whose failures are not counted could go on until it is.
    let both = vec![hashed, ruled.prepared("second").await];
    ruled.accounts.put_secrets(&key("ann"), both, NOW, 1);
    for text in ["second", FIRST, "wrong-4"] {
        assert_eq!(ruled.bind(text, late).await, Err(None), "{text}");
    }
    assert_eq!(ruled.kept().counted.len(), 0);
    ruled.policy.lock().unwrap().max_age = 0;
    assert_eq!(ruled.bind(FIRST, late).await, Ok(None), "neither locked nor throttled");
}
