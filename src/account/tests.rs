//! The account room as a whole, with cheap argon2 parameters; cost is counted in argon2 runs, not timed.

mod ruled;

use super::*;
use crate::model::{Address, PasswordFault, ResultCode, Source};
use base64::Engine;
use sha1::{Digest, Sha1};

const NOW: u64 = 1_800_000_000;

fn options() -> AccountOptions {
    AccountOptions {
        argon2_memory_kib: 16,
        argon2_iterations: 1,
        argon2_lanes: 1,
        failures_per_source: 3,
        ..AccountOptions::default()
    }
}

fn key(name: &str) -> NormalizedDn {
    NormalizedDn(format!("o=nhs\0ou=applications\0cn={name}\0").into_bytes())
}

fn facts(name: &str) -> AccountFacts {
    AccountFacts {
        key: key(name),
        dn: format!("cn={name},ou=Applications,o=nhs"),
        name: name.to_owned(),
        mails: vec![format!("{name}@example.nhs.uk")],
        role: Role::Reader,
        profile: None,
        disabled: false,
        expires: None,
        certificates: vec![[7; 32]],
        general: false,
    }
}

fn source(host: u8) -> Source {
    Source {
        address: Address::Tcp(([192, 0, 2, host], 40_000).into()),
        tls: None,
        connection: 1,
        sessions: Vec::new(),
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

async fn bind(accounts: &Accounts, name: &str, text: &str) -> Result<Identity, Refusal> {
    accounts.authenticate(name, None, secret(text), &source(1), NOW).await
}

const GOOD: &str = "correct horse battery staple";

async fn with_account() -> Accounts {
    let accounts = Accounts::new(options());
    accounts.put(facts("gp-app"));
    let prepared = accounts
        .prepare_chosen(secret(GOOD), SecretRules::APPLICATION)
        .await
        .unwrap();
    accounts.set_secret(&key("gp-app"), prepared, None, NOW - 100, 0);
    accounts
}

#[tokio::test]
async fn binds_by_every_form_of_name() {
    let accounts = with_account().await;
    for name in ["gp-app", "GP-App", "gp-app@example.nhs.uk", "GP-APP@EXAMPLE.NHS.UK"] {
        assert_eq!(bind(&accounts, name, GOOD).await.unwrap().bound_as, name);
    }
    let by_key = accounts
        .authenticate("cn=gp-app,..", Some(&key("gp-app")), secret(GOOD), &source(1), NOW)
        .await;
    assert_eq!(by_key.unwrap().account.facts.name, "gp-app");
    // A name that two accounts have is nobody's, also where it was remembered.
    let mut other = facts("other");
    other.mails = vec!["gp-app@example.nhs.uk".to_owned()];
    accounts.put(other);
    assert_eq!(
        bind(&accounts, "gp-app@example.nhs.uk", GOOD).await.unwrap_err().detail,
        "unknown name"
    );
    assert!(bind(&accounts, "gp-app", GOOD).await.is_ok());
}

/// Unknown, disabled, expired, throttled, without a secret, wrong: one cost, one answer (T14, T18). Only who brings the right
/// secret is told, for those who ask, which of them an account is.
#[tokio::test]
async fn every_refusal_costs_and_says_the_same() {
    let accounts = with_account().await;
    let mut disabled = facts("disabled");
    disabled.disabled = true;
    let mut expired = facts("expired");
    expired.expires = Some(NOW);
    let mut disabled_legacy = facts("disabled-legacy");
    disabled_legacy.disabled = true;
    let mut disabled_costly = facts("disabled-costly");
    disabled_costly.disabled = true;
    for facts in [
        disabled,
        expired,
        disabled_legacy,
        disabled_costly,
        facts("legacy"),
        facts("broken"),
        facts("no-secret"),
        facts("locked"),
    ] {
        let key = facts.key.clone();
        accounts.put(facts);
        let prepared = accounts
            .prepare_chosen(secret(GOOD), SecretRules::APPLICATION)
            .await
            .unwrap();
        accounts.set_secret(&key, prepared, None, NOW, 0);
    }
    accounts.remove(&key("no-secret"));
    accounts.put(facts("no-secret"));
    let ssha = [Sha1::digest(b"old secretsaltsalt").to_vec(), b"saltsalt".to_vec()].concat();
    let ssha = format!("{{SSHA}}{}", base64::engine::general_purpose::STANDARD.encode(ssha));
    for name in ["legacy", "disabled-legacy"] {
        let taken = Accounts::take_over(ssha.as_bytes(), false).unwrap();
        accounts.set_secret(&key(name), taken, None, NOW, 0);
    }
    let costly = Accounts::new(AccountOptions {
        argon2_iterations: 2,
        ..options()
    });
    let costly = costly
        .prepare_chosen(secret(GOOD), SecretRules::APPLICATION)
        .await
        .unwrap();
    accounts.set_secret(&key("disabled-costly"), costly, None, NOW, 0);
    let broken = PreparedSecret {
        stored: "$argon2id$v=19$m=16".to_owned(),
    };
    accounts.set_secret(&key("broken"), broken, None, NOW, 0);
    for wrong in ["a", "b", "c"] {
        accounts
            .authenticate("gp-app", None, secret(wrong), &source(9), NOW)
            .await
            .unwrap_err();
    }
    let long = "x".repeat(5000);
    accounts.lock(&key("locked"), 0);
    for (name, text, host, detail, told) in [
        ("nobody", GOOD, 1, "unknown name", None),
        ("gp-app", "wrong", 1, "wrong secret", None),
        ("gp-app", "", 1, "wrong secret", None),
        ("gp-app", long.as_str(), 2, "wrong secret", None),
        ("disabled", GOOD, 1, "disabled", Some(PasswordFault::AccountLocked)),
        ("disabled", "wrong", 1, "disabled", None),
        ("expired", GOOD, 1, "expired", Some(PasswordFault::PasswordExpired)),
        ("expired", "wrong", 1, "expired", None),
        ("locked", GOOD, 1, "locked", Some(PasswordFault::AccountLocked)),
        ("locked", "wrong", 1, "locked", None),
        // Guesses at it were throttled, so nothing tells a good one from others.
        ("disabled", "a", 3, "disabled", None),
        ("disabled", "b", 3, "disabled", None),
        ("disabled", "c", 3, "disabled", None),
        ("disabled", GOOD, 3, "disabled", None),
        // To look at its digest costs nothing beside argon2; this hash would cost something else.
        (
            "disabled-legacy",
            "old secret",
            1,
            "disabled",
            Some(PasswordFault::AccountLocked),
        ),
        ("disabled-costly", GOOD, 1, "disabled", None),
        ("gp-app", GOOD, 9, "throttled", None),
        ("no-secret", GOOD, 1, "no secret", None),
        ("legacy", "wrong", 1, "wrong secret", None),
        ("broken", GOOD, 1, "wrong secret", None),
    ] {
        let before = accounts.argon2_runs();
        let refusal = accounts
            .authenticate(name, None, secret(text), &source(host), NOW)
            .await
            .unwrap_err();
        assert_eq!(accounts.argon2_runs() - before, 1, "{name} {detail}");
        assert_eq!(refusal.detail, detail, "{name}");
        assert_eq!(
            refusal.outcome,
            Outcome {
                password: told,
                ..Outcome::new(ResultCode::InvalidCredentials, "")
            },
            "{name} {text}"
        );
    }
    // The same account from another source is not throttled.
    assert!(bind(&accounts, "gp-app", GOOD).await.is_ok());
}

#[tokio::test]
async fn remembered_verifications_cost_no_argon2_and_end_with_the_account() {
    let accounts = with_account().await;
    assert!(
        accounts
            .authenticate_remembered("gp-app", None, GOOD.as_bytes(), &source(1), NOW)
            .is_none()
    );
    let first = bind(&accounts, "gp-app", GOOD).await.unwrap();
    let before = accounts.argon2_runs();
    let again = accounts
        .authenticate_remembered("GP-APP", None, GOOD.as_bytes(), &source(2), NOW + 1)
        .unwrap();
    assert!(Arc::ptr_eq(&first.account, &again.account));
    assert!(
        accounts
            .authenticate_remembered("gp-app", None, b"wrong", &source(1), NOW)
            .is_none()
    );
    assert_eq!(accounts.argon2_runs(), before);
    assert_eq!(accounts.status(&key("gp-app")).unwrap().last_used, Some(NOW + 1));
    // The same facts change nothing; others revoke.
    accounts.put(facts("gp-app"));
    assert!(first.holds(|| NOW));
    let mut disabled = facts("gp-app");
    disabled.disabled = true;
    accounts.put(disabled);
    assert!(!first.holds(|| NOW));
    assert!(
        accounts
            .authenticate_remembered("gp-app", None, GOOD.as_bytes(), &source(1), NOW)
            .is_none()
    );
    accounts.put(facts("gp-app"));
    let fresh = bind(&accounts, "gp-app", GOOD).await.unwrap();
    accounts.remove(&key("gp-app"));
    assert!(!fresh.holds(|| NOW));
    assert_eq!(
        bind(&accounts, "gp-app", GOOD).await.unwrap_err().detail,
        "unknown name"
    );
}

#[tokio::test]
async fn remembered_answers_wait_while_a_source_is_throttled() {
    let accounts = with_account().await;
    bind(&accounts, "gp-app", GOOD).await.unwrap();
    for wrong in ["a", "b", "c"] {
        bind(&accounts, "gp-app", wrong).await.unwrap_err();
    }
    assert!(
        accounts
            .authenticate_remembered("gp-app", None, GOOD.as_bytes(), &source(1), NOW)
            .is_none()
    );
    assert_eq!(bind(&accounts, "gp-app", GOOD).await.unwrap_err().detail, "throttled");
    accounts.unlock(&key("gp-app"));
    assert!(bind(&accounts, "gp-app", GOOD).await.is_ok());
}

/// A right secret of a refused account ends no sooner than a wrong one where a failure costs several runs.
#[tokio::test]
async fn a_refusal_costs_the_same_among_accounts_with_several_secrets() {
    let accounts = with_account().await;
    let mut general = facts("general");
    general.general = true;
    general.disabled = true;
    let general_key = general.key.clone();
    accounts.put(general);
    let mut several = Vec::new();
    for text in ["one", "two", "three"] {
        let rules = SecretRules::UNCHECKED;
        several.push(accounts.prepare_chosen(secret(text), rules).await.unwrap());
    }
    accounts.put_secrets(&general_key, several, NOW, 0);
    for (name, of, text, told) in [
        ("gp-app", None, "wrong", false),
        ("nobody", None, "wrong", false),
        ("cn=general", Some(&general_key), "wrong", false),
        ("cn=general", Some(&general_key), "one", true),
        ("cn=general", Some(&general_key), "three", true),
    ] {
        let before = accounts.argon2_runs();
        let refused = accounts
            .authenticate(name, of, secret(text), &source(1), NOW)
            .await
            .unwrap_err();
        assert_eq!(accounts.argon2_runs() - before, 3, "{name} {text}");
        assert_eq!(refused.outcome.password.is_some(), told, "{name} {text}");
    }
}

/// What has to be changed first is never remembered, never kept beside a new one, and survives its upgrade and a restart.
#[tokio::test]
async fn a_secret_that_has_to_be_changed_says_so_until_it_is() {
    let accounts = with_account().await;
    let before = bind(&accounts, "gp-app", GOOD).await.unwrap();
    let writes = accounts.set_must_change(&key("gp-app"), true);
    assert!(!before.holds(|| NOW), "who is bound binds again");
    let restarted = Accounts::new(AccountOptions {
        argon2_iterations: 2,
        ..options()
    });
    restarted
        .restore(&writes[0].key, writes[0].value.as_ref().unwrap())
        .unwrap();
    restarted.put(facts("gp-app"));
    for accounts in [&accounts, &restarted] {
        for _ in 0..2 {
            assert!(bind(accounts, "gp-app", GOOD).await.unwrap().secret.must_change);
            let remembered = accounts.authenticate_remembered("gp-app", None, GOOD.as_bytes(), &source(1), NOW);
            assert!(remembered.is_none());
        }
        assert!(accounts.password_state(&key("gp-app")).unwrap().must_change);
        let (new, prepared) = accounts.prepare_generated().await.unwrap();
        accounts.set_secret(&key("gp-app"), prepared, Some(NOW + 60), NOW, 0);
        assert!(
            bind(accounts, "gp-app", GOOD).await.is_err(),
            "it is not kept beside the new one"
        );
        let changed = accounts.authenticate("gp-app", None, new, &source(1), NOW).await;
        assert!(!changed.unwrap().secret.must_change);
    }
}

#[tokio::test]
async fn remembered_is_bounded() {
    let accounts = Accounts::new(AccountOptions {
        remembered: 16,
        ..options()
    });
    for number in 0..100 {
        let name = format!("app-{number}");
        accounts.put(facts(&name));
        let prepared = accounts
            .prepare_chosen(secret(GOOD), SecretRules::APPLICATION)
            .await
            .unwrap();
        accounts.set_secret(&key(&name), prepared, None, NOW, 0);
        bind(&accounts, &name, GOOD).await.unwrap();
    }
    assert!(accounts.remembered_len() <= 16);
}

#[tokio::test]
async fn two_secrets_are_valid_until_the_old_one_ends() {
    let accounts = with_account().await;
    let session = bind(&accounts, "gp-app", GOOD).await.unwrap();
    let (new, prepared) = accounts.prepare_generated().await.unwrap();
    assert_eq!(new.is_intact(), Some(true));
    accounts.set_secret(&key("gp-app"), prepared, Some(NOW + 60), NOW, 0);
    assert!(session.holds(|| NOW + 59), "its secret is still valid");
    assert!(
        !session.holds(|| NOW + 60),
        "it ends with the secret it is bound with, whatever was known of that then"
    );
    let old_at = async |now| {
        accounts
            .authenticate("gp-app", None, secret(GOOD), &source(1), now)
            .await
    };
    let old = [old_at(NOW + 1).await.unwrap(), old_at(NOW + 2).await.unwrap()];
    let again = Secret::new(new.expose().to_vec());
    assert!(
        accounts
            .authenticate("gp-app", None, again, &source(1), NOW + 1)
            .await
            .unwrap()
            .holds(|| u64::MAX)
    );
    // The second comes from memory.
    for old in &old {
        assert!(old.holds(|| NOW + 59));
        assert!(!old.holds(|| NOW + 60));
    }
    // While any account has two secrets every failure costs two runs.
    for name in ["gp-app", "nobody"] {
        let before = accounts.argon2_runs();
        accounts
            .authenticate(name, None, secret("wrong"), &source(3), NOW + 2)
            .await
            .unwrap_err();
        assert_eq!(accounts.argon2_runs() - before, 2, "{name}");
    }
    assert_eq!(
        old_at(NOW + 60).await.unwrap_err().detail,
        "wrong secret",
        "remembered, and ended"
    );
    // Nor does a later rotation give the session back what ended.
    let (_, prepared) = accounts.prepare_generated().await.unwrap();
    accounts.set_secret(&key("gp-app"), prepared, Some(NOW + 200), NOW + 61, 0);
    for ended in [&session, &old[0], &old[1]] {
        assert!(!ended.holds(|| NOW + 62));
    }
    // A further secret ends both: the session goes, and the old ones are recognised.
    let (_, prepared) = accounts.prepare_generated().await.unwrap();
    accounts.set_secret(&key("gp-app"), prepared, None, NOW + 61, 0);
    assert!(!session.holds(|| NOW + 61));
    for _ in 0..10 {
        assert_eq!(old_at(NOW + 62).await.unwrap_err().detail, "superseded secret");
    }
    let status = accounts.status(&key("gp-app")).unwrap();
    assert!(status.throttled_sources.is_empty(), "a stale secret is no guess");
    assert_eq!(status.evidence[0].superseded, Some(NOW + 62));
    assert_eq!(
        status
            .evidence
            .iter()
            .find(|e| e.source == "192.0.2.1")
            .unwrap()
            .succeeded,
        Some(NOW + 1)
    );
}

#[tokio::test]
async fn a_superseded_secret_is_recognised_after_a_restart() {
    let accounts = with_account().await;
    let (_, prepared) = accounts.prepare_generated().await.unwrap();
    let writes = accounts.set_secret(&key("gp-app"), prepared, None, NOW, 0);
    let restarted = Accounts::new(options());
    restarted
        .restore(&writes[0].key, writes[0].value.as_ref().unwrap())
        .unwrap();
    restarted.put(facts("gp-app"));
    assert_eq!(
        bind(&restarted, "gp-app", GOOD).await.unwrap_err().detail,
        "wrong secret"
    );
    // Found out on the idle pool after the answer: one of the next binds knows.
    let mut last = "";
    for _ in 0..1000 {
        last = bind(&restarted, "gp-app", GOOD).await.unwrap_err().detail;
        if last == "superseded secret" {
            break;
        }
    }
    assert_eq!(last, "superseded secret");
}

#[tokio::test]
async fn secrets_of_other_servers_are_hashed_anew_at_the_first_success() {
    let accounts = Accounts::new(options());
    accounts.put(facts("gp-app"));
    let ssha = [Sha1::digest(b"short oldsaltsalt").to_vec(), b"saltsalt".to_vec()].concat();
    let ssha = format!("{{SSHA}}{}", base64::engine::general_purpose::STANDARD.encode(ssha));
    accounts.set_secret(
        &key("gp-app"),
        Accounts::take_over(ssha.as_bytes(), false).unwrap(),
        None,
        NOW,
        0,
    );
    assert_eq!(accounts.status(&key("gp-app")).unwrap().scheme, "ssha");
    assert!(accounts.drain_writes().is_empty());
    let before = accounts.argon2_runs();
    bind(&accounts, "gp-app", "short old").await.unwrap();
    assert_eq!(accounts.argon2_runs() - before, 1);
    let status = accounts.status(&key("gp-app")).unwrap();
    assert_eq!((status.scheme.as_str(), status.to_be_rehashed), ("argon2id", false));
    let writes = accounts.drain_writes();
    assert_eq!(writes.len(), 1);
    let kept = String::from_utf8(writes[0].value.clone().unwrap()).unwrap();
    assert!(
        kept.contains("$argon2id$") && !kept.contains("{SSHA}") && !kept.contains("short old"),
        "{kept}"
    );
    assert!(accounts.drain_writes().is_empty());
    assert!(Accounts::take_over(b"clear text secret", true).is_err_and(|error| !error.contains("text secret")));
}

#[tokio::test]
async fn a_full_queue_answers_busy() {
    let slow = AccountOptions {
        argon2_memory_kib: 19_456,
        pool_threads: 1,
        pool_queue: 1,
        ..options()
    };
    let accounts = Arc::new(Accounts::new(slow));
    let binds = (0..32u8).map(|n| {
        let accounts = Arc::clone(&accounts);
        tokio::spawn(async move {
            accounts
                .authenticate("nobody", None, secret("x"), &source(n), NOW)
                .await
        })
    });
    let mut details = Vec::new();
    for bind in binds.collect::<Vec<_>>() {
        let refusal = bind.await.unwrap().unwrap_err();
        if refusal.detail == "busy" {
            assert_eq!(refusal.outcome.code, ResultCode::Busy);
        }
        details.push(refusal.detail);
    }
    assert!(
        details.contains(&"busy") && details.contains(&"unknown name"),
        "{details:?}"
    );
}

#[tokio::test]
async fn certificates_bind_and_follow_the_account() {
    let accounts = with_account().await;
    let by_certificate = |certificate| accounts.authenticate_certificate((&certificate, NOW + 10), &source(1), NOW);
    assert_eq!(by_certificate([7; 32]).unwrap().account.facts.name, "gp-app");
    assert_eq!(by_certificate([8; 32]).unwrap_err().detail, "unknown certificate");
    let session = by_certificate([7; 32]).unwrap();
    assert!(
        session.holds(|| NOW + 9) && !session.holds(|| NOW + 10),
        "it ends with its certificate"
    );
    let ended = accounts.authenticate_certificate((&[7; 32], NOW), &source(1), NOW);
    assert_eq!(ended.unwrap_err().detail, "certificate has ended");
    accounts.put(AccountFacts {
        expires: Some(NOW),
        ..facts("gp-app")
    });
    assert_eq!(by_certificate([7; 32]).unwrap_err().detail, "expired");
    accounts.put(facts("gp-app"));
    accounts.put(facts("second"));
    assert_eq!(
        by_certificate([7; 32]).unwrap_err().detail,
        "unknown certificate",
        "two accounts claim it"
    );
}

#[tokio::test]
async fn a_rename_takes_the_secret_along() {
    let accounts = with_account().await;
    let session = bind(&accounts, "gp-app", GOOD).await.unwrap();
    let writes = accounts.rename(&key("gp-app"), facts("renamed"));
    assert_eq!(writes.len(), 2);
    assert!(writes[0].value.is_none() && writes[1].value.is_some());
    assert!(!session.holds(|| NOW));
    assert!(bind(&accounts, "renamed", GOOD).await.is_ok());
    assert_eq!(
        bind(&accounts, "gp-app", GOOD).await.unwrap_err().detail,
        "unknown name"
    );
}

#[tokio::test]
async fn no_secret_and_no_hash_is_printed() {
    const CANARY: &str = "canary-Xq7-pelican-tr4mway";
    let accounts = with_account().await;
    let prepared = accounts
        .prepare_chosen(secret(CANARY), SecretRules::APPLICATION)
        .await
        .unwrap();
    let debug = format!("{prepared:?}");
    accounts.set_secret(&key("gp-app"), prepared, None, NOW, 0);
    let identity = bind(&accounts, "gp-app", CANARY).await.unwrap();
    let refusal = bind(&accounts, "gp-app", "canary-wrong-pelican").await.unwrap_err();
    let printed = format!(
        "{debug} {identity:?} {refusal:?} {:?} {:?}",
        accounts.status(&key("gp-app")),
        secret(CANARY)
    );
    assert!(
        !printed.contains("pelican") && !printed.contains("argon2id$"),
        "{printed}"
    );
    for write in accounts.drain_writes() {
        assert!(!String::from_utf8(write.value.unwrap()).unwrap().contains("pelican"));
    }
}

#[test]
fn a_damaged_state_is_an_error_and_other_areas_are_left_alone() {
    let accounts = Accounts::new(options());
    for bad in [&b""[..], b"{", b"[]", b"{\"version\":9}", b"\xff"] {
        assert!(accounts.restore(b"a/x", bad).is_err(), "{bad:?}");
    }
    accounts.restore(b"other", b"anything").unwrap();
}
