//! Entries with a meaning of their own, over real sockets: referral objects (RFC 3296).

use crate::server::{ANN, BASE, BOB, Place, found, search_code};
use ldap3::controls::{ManageDsaIt, PagedResults, RawControl};
use ldap3::{Ldap, Mod, Scope, SearchEntry};
use std::collections::HashSet;

const REFERRAL: u32 = 10;
const NO_SUCH_OBJECT: u32 = 32;
const AFFECTS_MULTIPLE_DSAS: u32 = 71;

const AWAY: &str = "ou=Away,o=nhs";

fn set<'a>(values: &[&'a str]) -> HashSet<&'a str> {
    values.iter().copied().collect()
}

async fn add_referral(writer: &mut Ldap) {
    let object = vec![
        ("objectClass", set(&["referral", "extensibleObject"])),
        ("ou", set(&["Away"])),
        ("ref", set(&["ldap://there/ou=Here,dc=there"])),
    ];
    writer
        .with_controls(ManageDsaIt)
        .add(AWAY, object)
        .await
        .unwrap()
        .success()
        .unwrap();
}

/// The names and the references of a search, each ascending.
async fn given(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> (Vec<String>, Vec<String>) {
    let search = ldap.search(base, scope, filter, vec!["1.1"]).await.unwrap();
    let (entries, result) = search.success().unwrap();
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|entry| SearchEntry::construct(entry).dn)
        .collect();
    let mut references = result.refs;
    names.sort();
    references.sort();
    (names, references)
}

#[tokio::test]
async fn rfc_3296_5_2_what_lies_at_or_below_a_referral_object_is_elsewhere() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let below = format!("cn=x,{AWAY}");
    let title = || vec![Mod::Replace("title", set(&["New"]))];
    for (dn, url) in [
        (AWAY, "ldap://there/ou=Here,dc=there"),
        (&below, "ldap://there/cn=x,ou=Here,dc=there"),
    ] {
        let answers = [
            writer.modify(dn, title()).await.unwrap(),
            writer.delete(dn).await.unwrap(),
            writer.compare(dn, "ou", "Away").await.unwrap().0,
            writer.modifydn(dn, "cn=new", true, None).await.unwrap(),
        ];
        for answer in answers {
            assert_eq!((answer.rc, answer.matched.as_str()), (REFERRAL, AWAY), "{dn}");
            assert_eq!(answer.refs, [url], "{dn}");
        }
    }
    let entry = vec![("objectClass", set(&["device"])), ("cn", set(&["x"]))];
    for manage in [false, true] {
        let ldap = if manage {
            writer.with_controls(ManageDsaIt)
        } else {
            &mut writer
        };
        assert_eq!(ldap.add(&below, entry.clone()).await.unwrap().rc, REFERRAL, "{manage}");
    }
    let moved = writer
        .modifydn(BOB, "uid=000000000003", true, Some(AWAY))
        .await
        .unwrap();
    assert_eq!(moved.rc, AFFECTS_MULTIPLE_DSAS);
    let managed = writer
        .with_controls(ManageDsaIt)
        .modify(AWAY, vec![Mod::Replace("ref", set(&["ldap://other/"]))]);
    managed.await.unwrap().success().unwrap();
    assert_eq!(writer.delete(AWAY).await.unwrap().refs, ["ldap://other/ou=Away,o=nhs"]);
    writer
        .with_controls(ManageDsaIt)
        .delete(AWAY)
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(writer.delete(AWAY).await.unwrap().rc, NO_SUCH_OBJECT);
}

#[tokio::test]
async fn rfc_3296_5_3_and_5_4_a_search_is_referred_or_goes_on_elsewhere() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let mut reader = server.bound("reader").await;
    for (scope, name) in [(Scope::Base, "base"), (Scope::OneLevel, "one"), (Scope::Subtree, "sub")] {
        let answer = reader
            .search(&format!("cn=x,{AWAY}"), scope, "(cn=y)", vec!["1.1"])
            .await
            .unwrap()
            .1;
        assert_eq!(answer.rc, REFERRAL);
        assert_eq!(answer.refs, [format!("ldap://there/cn=x,ou=Here,dc=there??{name}")]);
    }
    let (names, references) = given(&mut reader, BASE, Scope::Subtree, "(uid=000000000001)").await;
    assert_eq!(names, [ANN]);
    assert_eq!(references, ["ldap://there/ou=Here,dc=there??sub"]);
    let (_, references) = given(&mut reader, BASE, Scope::OneLevel, "(cn=nobody)").await;
    assert_eq!(references, ["ldap://there/ou=Here,dc=there??base"]);
    assert!(
        given(&mut reader, BASE, Scope::Base, "(objectClass=*)")
            .await
            .1
            .is_empty()
    );
    assert!(
        given(&mut reader, "ou=People,o=nhs", Scope::Subtree, "(uid=*)")
            .await
            .1
            .is_empty()
    );
    let managed = reader
        .with_controls(ManageDsaIt)
        .search(BASE, Scope::Subtree, "(objectClass=referral)", vec!["ref"]);
    let entry = SearchEntry::construct(managed.await.unwrap().0.remove(0));
    assert_eq!(entry.attrs["ref"], ["ldap://there/ou=Here,dc=there"]);
    // Once, behind the last page.
    let page = |cookie: Vec<u8>| RawControl::from(PagedResults { size: 2, cookie });
    let first = reader
        .with_controls(page(Vec::new()))
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]);
    let (entries, first) = first.await.unwrap().success().unwrap();
    assert_eq!((entries.len(), first.refs.len()), (2, 0));
    let cookie = first.ctrls[0].1.parse::<PagedResults>().cookie;
    let second = reader
        .with_controls(page(cookie))
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["1.1"]);
    let (entries, second) = second.await.unwrap().success().unwrap();
    assert_eq!((entries.len(), second.refs.len()), (1, 1));
}

#[tokio::test]
async fn a_referral_object_says_nothing_to_those_who_may_not_see_it() {
    let place = Place::filled();
    let policy = place.data().join("policy.toml");
    let text = "[profile.reader]\nlike = \"reader\"\nexcluded = [\"ou=Applications,{suffix}\", \"ou=Away,{suffix}\"]\n";
    std::fs::write(&policy, text).unwrap();
    let config = format!("[policy]\nfile = {policy:?}\n[directory]\nreferrals = [\"ldaps://up/\"]\n");
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let server = place.serve();
    let mut writer = server.bound("writer").await;
    add_referral(&mut writer).await;
    let mut reader = server.bound("reader").await;
    assert_eq!(
        search_code(&mut reader, AWAY, Scope::Subtree, "(cn=x)").await,
        NO_SUCH_OBJECT
    );
    assert_eq!(reader.compare(AWAY, "ou", "Away").await.unwrap().0.rc, NO_SUCH_OBJECT);
    assert!(given(&mut reader, BASE, Scope::Subtree, "(uid=*)").await.1.is_empty());
    assert_eq!(
        found(&mut reader, BASE, Scope::Subtree, "(ou=Away)", &["ref"])
            .await
            .len(),
        0
    );

    let outside = reader
        .search("cn=a,o=elsewhere", Scope::OneLevel, "(cn=x)", vec!["1.1"])
        .await
        .unwrap()
        .1;
    assert_eq!(
        (outside.rc, outside.refs),
        (REFERRAL, vec!["ldaps://up/cn=a,o=elsewhere??one".to_owned()])
    );
    let outside = writer.delete("cn=a,o=elsewhere").await.unwrap();
    assert_eq!(
        (outside.rc, outside.refs),
        (REFERRAL, vec!["ldaps://up/cn=a,o=elsewhere".to_owned()])
    );
    assert_eq!(
        search_code(&mut reader, "ou=x,o=nhs", Scope::Subtree, "(cn=x)").await,
        NO_SUCH_OBJECT
    );

    let mut nobody = server.connect().await;
    for base in [AWAY, "cn=a,o=elsewhere"] {
        let answer = nobody
            .search(base, Scope::Subtree, "(cn=x)", vec!["1.1"])
            .await
            .unwrap()
            .1;
        assert!(answer.rc != REFERRAL && answer.refs.is_empty(), "{base}");
    }
}
