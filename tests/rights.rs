//! What an account must not reach, seen from outside: names, counts, files, the audit.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, set};
use ldap3::controls::{Assertion, RawControl};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

const NAMING_VIOLATION: u32 = 64;
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;

#[tokio::test]
async fn a_secret_is_no_name_and_not_in_the_audit() {
    let server = Place::filled().serve();
    let mut ldap = server.bound("writer").await;
    for name in [
        "userPassword=canary-1",
        "2.5.4.35=canary-1",
        "nhsPuSecret=canary-1",
        "cn=a+nhsTelUID=canary-1",
    ] {
        let renamed = ldap.modifydn(ANN, name, false, None).await.unwrap();
        assert_eq!(renamed.rc, NAMING_VIOLATION, "{name}: {renamed}");
        let attributes = vec![("objectClass", set(&["device"])), ("cn", set(&["a"]))];
        let dn = format!("{name},ou=Lists,o=nhs");
        assert_ne!(ldap.add(&dn, attributes).await.unwrap().rc, 0, "{name}");
    }
    for filter in ["(nhsPuSecret=canary-2)", "(&(cn=ann)(!(userPassword=canary-2*)))"] {
        found(&mut ldap, BASE, Scope::Subtree, filter, &["1.1"]).await;
    }
    ldap.modifydn("cn=Ward staff,ou=Lists,o=nhs", "cn=Night staff", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    assert!(!audit.contains("canary-2"), "a filter's secret is in the audit");
    assert!(audit.contains("(nhsPuSecret=withheld)"), "the question is in the audit");
    assert!(
        audit.contains("cn=Night staff,ou=Lists,o=nhs"),
        "the new name is in the audit"
    );
}

/// A feed for one part of the directory, and the readers beside it.
#[tokio::test]
async fn a_move_needs_rights_at_both_ends_and_over_all_that_moves() {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.feed]\nlike = \"writer\"\nbases = [\"ou=Lists,o=nhs\"]\n\
                [profile.parts]\nlike = \"writer\"\nexcluded = [\"uid=000000000002,ou=People,o=nhs\"]\n";
    std::fs::write(&policy, text).unwrap();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[policy]\nfile = {:?}\n",
        policy.to_str().unwrap()
    );
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let server = place.serve();
    for (profile, dn, name) in [
        ("feed", "ou=Lists,o=nhs", "ou=Other"),
        ("parts", "ou=People,o=nhs", "ou=Persons"),
    ] {
        let secret = server.place.account(profile, "writer");
        server
            .place
            .succeed(&["account", "set", profile, "--profile", profile], "");
        let mut ldap: Ldap = server.connect().await;
        ldap.simple_bind(profile, &secret).await.unwrap().success().unwrap();
        let answer = ldap.modifydn(dn, name, true, None).await.unwrap();
        assert_eq!(answer.rc, INSUFFICIENT_ACCESS_RIGHTS, "{profile}: {answer}");
    }
}

#[tokio::test]
async fn a_count_of_subordinates_tells_nothing_of_hidden_entries() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let mut reader = server.bound("reader").await;
    let count = async |ldap: &mut Ldap, base: &str, name: &str| {
        let entries = found(ldap, base, Scope::Base, "(objectClass=*)", &[name]).await;
        entries[0].attrs[name][0].clone()
    };
    let people = "ou=People,o=nhs";
    let seen = found(&mut reader, BASE, Scope::OneLevel, "(objectClass=*)", &["1.1"]).await;
    // ou=Applications is there, and not for these two.
    assert_eq!(
        count(&mut reader, BASE, "numSubordinates").await,
        seen.len().to_string()
    );
    assert_eq!(count(&mut reader, people, "numSubordinates").await, "3");
    let all: Vec<String> = (1..=3).map(|n| format!("uid=00000000000{n},{people}")).collect();
    for (hidden, dn) in all.iter().enumerate() {
        let class = Mod::Add("objectClass", set(&["nhsdirPrivacy"]));
        let hide = Mod::Replace("nhsdirExDirectory", set(&["TRUE"]));
        writer.modify(dn, vec![class, hide]).await.unwrap().success().unwrap();
        let left = (2 - hidden).to_string();
        assert_eq!(count(&mut reader, people, "numSubordinates").await, left);
        let some = if hidden < 2 { "TRUE" } else { "FALSE" };
        assert_eq!(count(&mut reader, people, "hasSubordinates").await, some);
    }
    assert_eq!(count(&mut writer, people, "numSubordinates").await, "3");
    assert_eq!(count(&mut writer, people, "hasSubordinates").await, "TRUE");
}

#[test]
fn what_is_stored_is_for_its_owner_alone() {
    let place = Place::filled();
    for folder in ["", "journal", "log", "segments", "audit"] {
        let path = place.data().join(folder);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}: {mode:o}", path.display());
    }
}

/// A feed with a narrow profile: what is hidden from it does not exist, whatever it tries to do to it.
async fn narrow_feed() -> (Server, Ldap, Ldap) {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.feed]\nlike = \"reader\"\nmay_write = true\n\
                searchable = [\"*\", \"-nhsdirExDirectory\", \"-nhsdirHidden\", \"-employeeNumber\"]\n\
                released = [\"*\", \"-nhsdirExDirectory\", \"-nhsdirHidden\", \"-employeeNumber\"]\n";
    std::fs::write(&policy, text).unwrap();
    let settings = format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap());
    let server = place.with(&settings).serve();
    let writer = server.bound("writer").await;
    let secret = server.place.account("feed", "writer");
    server
        .place
        .succeed(&["account", "set", "feed", "--profile", "feed"], "");
    let mut feed = server.connect().await;
    feed.simple_bind("feed", &secret).await.unwrap().success().unwrap();
    (server, writer, feed)
}

#[tokio::test]
async fn who_may_write_does_not_reach_hidden_entries() {
    let (_server, mut writer, mut feed) = narrow_feed().await;
    let class = Mod::Add("objectClass", set(&["nhsdirPrivacy"]));
    let hide = Mod::Replace("nhsdirExDirectory", set(&["TRUE"]));
    writer.modify(ZOE, vec![class, hide]).await.unwrap().success().unwrap();
    let role = || vec![("objectClass", set(&["device"])), ("cn", set(&["tablet"]))];
    let below = format!("cn=tablet,{ZOE}");
    assert_eq!(writer.add(&below, role()).await.unwrap().rc, 0);
    // What is said of the hidden entry and what is said of none: the answers are the same, octet for octet.
    let nobody = "uid=000000000999,ou=People,o=nhs";
    let mut answers = Vec::new();
    for target in [ZOE, nobody] {
        let mut all = Vec::new();
        let title = || vec![Mod::Replace("title", set(&["Porter"]))];
        all.push(feed.modify(target, title()).await.unwrap());
        let asserting = Assertion::new("(objectClass=*)");
        all.push(feed.with_controls(asserting).modify(target, title()).await.unwrap());
        all.push(feed.delete(target).await.unwrap());
        let tree = RawControl {
            ctype: "1.2.840.113556.1.4.805".to_owned(),
            crit: true,
            val: None,
        };
        all.push(feed.with_controls(tree).delete(target).await.unwrap());
        all.push(feed.modifydn(target, "uid=000000000998", true, None).await.unwrap());
        all.push(feed.add(&format!("cn=phone,{target}"), role()).await.unwrap());
        all.push(feed.delete(&format!("cn=phone,{target}")).await.unwrap());
        all.push(
            feed.modifydn(BOB, "uid=000000000003", false, Some(target))
                .await
                .unwrap(),
        );
        let answer = |result: ldap3::LdapResult| (result.rc, result.matched, result.text);
        answers.push(all.into_iter().map(answer).collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
    assert!(
        answers[0]
            .iter()
            .all(|(rc, matched, _)| *rc == 32 && matched == "ou=People,o=nhs"),
        "{answers:?}"
    );
    // What does not stand there hidden does not stand in the way of those who see it.
    assert_eq!(writer.delete(&below).await.unwrap().rc, 0);
    assert_eq!(
        writer.modifydn(ZOE, "uid=000000000998", true, None).await.unwrap().rc,
        0
    );
}

#[tokio::test]
async fn who_may_write_does_not_find_out_hidden_values() {
    let (_server, mut writer, mut feed) = narrow_feed().await;
    let hides = vec![
        Mod::Add("objectClass", set(&["nhsdirPrivacy"])),
        Mod::Replace("nhsdirHidden", set(&["mobile"])),
        Mod::Replace("mobile", set(&["+44 7700 900111"])),
        Mod::Replace("employeeNumber", set(&["4711"])),
    ];
    writer.modify(BOB, hides).await.unwrap().success().unwrap();
    for (attribute, right, wrong) in [
        ("mobile", "+44 7700 900111", "+44 7700 900112"),
        ("employeeNumber", "4711", "4712"),
    ] {
        let mut answers = Vec::new();
        for value in [right, wrong] {
            writer
                .modify(BOB, vec![Mod::Replace(attribute, set(&[right]))])
                .await
                .unwrap()
                .success()
                .unwrap();
            for change in [
                Mod::Add(attribute, set(&[value])),
                Mod::Delete(attribute, set(&[value])),
                Mod::Delete(attribute, HashSet::new()),
                Mod::Delete(attribute, HashSet::new()),
            ] {
                let answer = feed.modify(BOB, vec![change]).await.unwrap();
                answers.push((answer.rc, answer.text));
            }
        }
        assert!(answers.iter().all(|answer| answer.0 == 0), "{attribute}: {answers:?}");
    }
    // What it sees is as ever.
    let title = || vec![Mod::Add("title", set(&["Porter"]))];
    assert_eq!(feed.modify(BOB, title()).await.unwrap().rc, 0);
    assert_eq!(feed.modify(BOB, title()).await.unwrap().rc, 20);
}

/// Nor the secret of an entry that it does not see, by the right to set the secrets of those that it does.
#[tokio::test]
async fn who_may_set_secrets_does_not_find_out_those_of_hidden_entries() {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.desk]\nlike = \"reader\"\nmay_write = true\nmay_set_secrets = true\n";
    std::fs::write(&policy, text).unwrap();
    let settings = format!(
        "[policy]\nfile = {:?}\n[general]\nenabled = true\n",
        policy.to_str().unwrap()
    );
    let server = place.with(&settings).serve();
    let mut admin = server.bound("administrator").await;
    let right = "Zoe's own secret, 1";
    let hides = vec![
        Mod::Add("objectClass", set(&["nhsdirPrivacy"])),
        Mod::Replace("nhsdirExDirectory", set(&["TRUE"])),
        Mod::Replace("userPassword", set(&[right])),
    ];
    admin.modify(ZOE, hides).await.unwrap().success().unwrap();
    let secret = server.place.account("desk", "writer");
    server
        .place
        .succeed(&["account", "set", "desk", "--profile", "desk"], "");
    let mut desk = server.connect().await;
    desk.simple_bind("desk", &secret).await.unwrap().success().unwrap();
    for target in [ZOE, "uid=000000000999,ou=People,o=nhs"] {
        for value in [right, "Zoe's own secret, 2"] {
            let mut codes = Vec::new();
            for change in [
                Mod::Delete("userPassword", set(&[value])),
                Mod::Add("userPassword", set(&[value])),
            ] {
                codes.push(desk.modify(target, vec![change]).await.unwrap().rc);
            }
            assert_eq!(codes, [16, 32], "{target} {value}");
        }
    }
}
