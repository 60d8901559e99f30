//! Proxied authorization (RFC 4370): one account acts as another, where its release profile says so.

use crate::server::{ANN, BASE, Place, Server};
use crate::sync;
use ldap3::controls::{RawControl, RefreshMode};
use ldap3::exop::{WhoAmI, WhoAmIResp};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;
use std::time::Duration;

const OID: &str = "2.16.840.1.113730.3.4.18";
const SUCCESS: u32 = 0;
const PROTOCOL_ERROR: u32 = 2;
const SIZE_LIMIT: u32 = 4;
const UNAVAILABLE_CRITICAL: u32 = 12;
const INSUFFICIENT: u32 = 50;
const DENIED: u32 = 123;
const FEED: &str = "dn:CN=feed, ou=applications,o=nhs";
const SMALL: &str = "u:Small";

const POLICY: &str = "[profile.front]\nlike = \"reader\"\nmay_proxy = [\"cn=feed,ou=Applications,{suffix}\", \
                      \"cn=small,ou=Applications,o=nhs\", \"cn=admin,ou=Applications,o=nhs\"]\n\
                      [profile.small]\nlike = \"reader\"\nsize_limit = 1\n";

/// A server with `front`, which may act as `feed` (a writer), `small` (one entry a search) and not as `other`; bound as it.
async fn front() -> (Server, Ldap) {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[policy]\nfile = {:?}\n",
        policy.to_str().unwrap()
    );
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let secret = place.account("front", "reader");
    place.succeed(&["account", "set", "front", "--profile", "front"], "");
    for (name, role) in [
        ("feed", "writer"),
        ("small", "reader"),
        ("other", "reader"),
        ("admin", "administrator"),
    ] {
        place.account(name, role);
    }
    place.succeed(&["account", "set", "small", "--profile", "small"], "");
    let server = place.serve();
    let mut ldap = server.connect().await;
    ldap.simple_bind("front", &secret).await.unwrap().success().unwrap();
    (server, ldap)
}

fn acting(authorization: &str, crit: bool) -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit,
        val: Some(authorization.as_bytes().to_vec()),
    }
}

async fn who(ldap: &mut Ldap, control: RawControl) -> (u32, String) {
    let answer = ldap.with_controls(control).extended(WhoAmI).await.unwrap();
    let name = match answer.0.val {
        Some(_) => answer.0.parse::<WhoAmIResp>().authzid,
        None => String::new(),
    };
    (answer.1.rc, name)
}

fn title() -> Vec<Mod<&'static str>> {
    vec![Mod::Replace("title", HashSet::from(["Porter"]))]
}

#[tokio::test]
async fn every_operation_is_done_as_the_other() {
    let (server, mut ldap) = front().await;
    let (rc, name) = who(&mut ldap, acting(FEED, true)).await;
    assert_eq!((rc, name.as_str()), (SUCCESS, "dn:cn=feed,ou=Applications,o=nhs"));
    assert_eq!(ldap.modify(ANN, title()).await.unwrap().rc, INSUFFICIENT);
    assert_eq!(
        ldap.with_controls(acting(FEED, true))
            .modify(ANN, title())
            .await
            .unwrap()
            .rc,
        SUCCESS
    );
    assert_eq!(
        ldap.with_controls(acting(FEED, true))
            .compare(ANN, "title", "porter")
            .await
            .unwrap()
            .0
            .rc,
        6
    );
    let entry = vec![
        ("objectClass", HashSet::from(["groupOfNames"])),
        ("member", HashSet::from([ANN])),
    ];
    let dn = "cn=Proxied,ou=Lists,o=nhs";
    assert_eq!(
        ldap.with_controls(acting(FEED, true)).add(dn, entry).await.unwrap().rc,
        SUCCESS
    );
    let renamed = ldap
        .with_controls(acting(FEED, true))
        .modifydn(dn, "cn=Again", true, None)
        .await
        .unwrap();
    assert_eq!(renamed.rc, SUCCESS);
    let again = "cn=Again,ou=Lists,o=nhs";
    let searched =
        ldap.with_controls(acting(FEED, true))
            .search(again, Scope::Base, "(objectClass=*)", vec!["creatorsName"]);
    assert_eq!(searched.await.unwrap().1.rc, SUCCESS);
    assert_eq!(
        ldap.with_controls(acting(FEED, true)).delete(again).await.unwrap().rc,
        SUCCESS
    );
    // Quotas are those of whom it acts as; the next request is its own again.
    let people = || ("ou=People,o=nhs", Scope::Subtree, "(uid=*)");
    let (base, scope, filter) = people();
    let small = ldap
        .with_controls(acting(SMALL, true))
        .search(base, scope, filter, vec!["1.1"]);
    assert_eq!(small.await.unwrap().1.rc, SIZE_LIMIT);
    assert_eq!(
        ldap.search(base, scope, filter, vec!["1.1"]).await.unwrap().1.rc,
        SUCCESS
    );
    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let modify = audit
        .lines()
        .find(|line| line.contains("\"act\":\"modify\"") && line.contains("proxiedBy"));
    let modify: serde_json::Value = serde_json::from_str(modify.unwrap()).unwrap();
    assert_eq!(
        (modify["account"].as_str(), modify["proxiedBy"].as_str()),
        (Some("feed"), Some("front"))
    );
}

#[tokio::test]
async fn nobody_else_and_nobody_refused_is_acted_as() {
    let (server, mut ldap) = front().await;
    let other = "dn:cn=other,ou=Applications,o=nhs";
    for authorization in [
        "",
        "dn:",
        "u:",
        "feed",
        "dn:no name",
        other,
        "u:other",
        "u:nobody",
        "dn:cn=nobody,ou=Applications,o=nhs",
        "u:admin",
        "dn:cn=admin,ou=Applications,o=nhs",
        "dn:cn=Manager,o=nhs",
        &format!("dn:{ANN}"),
    ] {
        assert_eq!(
            who(&mut ldap, acting(authorization, true)).await.0,
            DENIED,
            "{authorization:?}"
        );
        let answer =
            ldap.with_controls(acting(authorization, true))
                .search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"]);
        let answer = answer.await.unwrap();
        assert_eq!((answer.1.rc, answer.0.len()), (DENIED, 0), "{authorization:?}");
    }
    assert_eq!(who(&mut ldap, acting("u:front", true)).await.0, SUCCESS, "itself");
    assert_eq!(
        who(&mut ldap, acting(FEED, false)).await.0,
        PROTOCOL_ERROR,
        "it must be critical"
    );
    let bound = ldap
        .with_controls(acting(FEED, true))
        .simple_bind("front", "x")
        .await
        .unwrap();
    assert_eq!(bound.rc, UNAVAILABLE_CRITICAL);

    // T14: the state of whom it acts as, looked at anew for each request.
    let (server, mut ldap) = {
        drop(server);
        front().await
    };
    for (refuse, allow) in [
        (&["account", "disable", "feed"][..], &["account", "enable", "feed"][..]),
        (
            &["account", "expire", "feed", "2020-01-01"],
            &["account", "expire", "feed", "never"],
        ),
        // What has to be changed first is for its owner to change.
        (
            &["account", "rotate", "feed", "--must-change"],
            &["account", "rotate", "feed"],
        ),
    ] {
        server.place.succeed(refuse, "");
        assert_eq!(who(&mut ldap, acting(FEED, true)).await.0, DENIED, "{refuse:?}");
        server.place.succeed(allow, "");
        assert_eq!(who(&mut ldap, acting(FEED, true)).await.0, SUCCESS, "{allow:?}");
    }
    // Nothing is acted as before a bind.
    let mut ldap = server.connect().await;
    assert_ne!(who(&mut ldap, acting(FEED, true)).await.0, SUCCESS);
    let root = ldap
        .with_controls(acting(FEED, true))
        .search("", Scope::Base, "(objectClass=*)", vec!["1.1"]);
    assert_eq!(root.await.unwrap().1.rc, DENIED);
}

/// Entries of a general directory by `dn:` and `u:`, where they have something to bind with.
#[tokio::test]
async fn an_entry_of_a_general_directory_is_acted_as_by_its_uid() {
    use crate::general;
    const FRONT: &str = "uid=front,ou=people,dc=example,dc=com";
    let rules = format!("rules = [{{ entry = \"{FRONT}\", profile = \"front\" }}]\n");
    let server = general::place(&rules).serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(general::person(&mut manager, FRONT, &["front"]).await.rc, 0);
    let outside = format!("uid=out,ou=groups,{}", general::BASE);
    assert_eq!(general::person(&mut manager, &outside, &["out"]).await.rc, 0);
    let bare = format!("uid=bare,ou=people,{}", general::BASE);
    assert_eq!(general::person(&mut manager, &bare, &[]).await.rc, 0);
    let mut front = general::bound(&server, FRONT, "front").await;
    let ann = format!("dn:{}", general::ANN);
    for authorization in ["u:ann", "U:ANN", &ann, &ann.replace("dn:", "DN:")] {
        let acted = who(&mut front, acting(authorization, true)).await;
        assert_eq!(acted, (SUCCESS, ann.clone()), "{authorization}");
    }
    for authorization in ["u:out", "u:bare", "u:nobody", "u:an*", "ann", &format!("dn:{bare}")] {
        let acted = who(&mut front, acting(authorization, true)).await;
        assert_eq!(acted.0, DENIED, "{authorization}");
    }
    // A certificate is something to bind with, for as long as it is there.
    let fingerprint = "7".repeat(64);
    server
        .place
        .succeed(&["account", "set", &bare, "--certificate", &fingerprint], "");
    let by_dn = acting(&format!("dn:{bare}"), true);
    assert_eq!(who(&mut front, by_dn.clone()).await.0, SUCCESS);
    server
        .place
        .succeed(&["account", "set", &bare, "--certificate", ""], "");
    assert_eq!(who(&mut front, by_dn).await.0, DENIED);
    server.place.succeed(&["account", "disable", general::ANN], "");
    assert_eq!(who(&mut front, acting("u:ann", true)).await.0, DENIED);
    server.place.succeed(&["account", "unlock", general::ANN], "");
    server.place.succeed(&["account", "enable", general::ANN], "");
    assert_eq!(who(&mut front, acting("u:ann", true)).await.0, SUCCESS);
    assert!(
        !server
            .place
            .run(&["account", "delete", general::ANN], "")
            .status
            .success()
    );
}

/// What goes on for long ends with the account that is bound, not only with the one acted as.
#[tokio::test]
async fn a_synchronisation_ends_with_who_is_bound() {
    let (server, mut ldap) = front().await;
    let mut stream = ldap
        .with_controls(vec![
            acting(FEED, true),
            sync::asked(RefreshMode::RefreshAndPersist, None, false),
        ])
        .streaming_search(BASE, Scope::Subtree, sync::PERSON, vec!["cn"])
        .await
        .unwrap();
    while !sync::next(&mut stream).await.unwrap().starts_with("present") {}
    server.place.succeed(&["account", "disable", "front"], "");
    let mut writer = server.bound("writer").await;
    writer.modify(ANN, title()).await.unwrap().success().unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    let told = told.expect("it ends").ok().flatten();
    assert!(told.is_none(), "{told:?}");
}
