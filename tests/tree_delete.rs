//! Tree Delete (1.2.840.113556.1.4.805): an entry and all below it, or none of it.

use crate::general::{self, bind, bound, person};
use crate::server::{BASE, Place, found, search_code};
use crate::transactions::{end, start, within};
use ldap3::controls::{Assertion, PreRead, RawControl};
use ldap3::{Ldap, Scope};

const OID: &str = "1.2.840.113556.1.4.805";
const TEAM: &str = "ou=Team,ou=People,o=nhs";

const ENTRIES: &str = "\
dn: ou=Team,ou=People,o=nhs\nobjectClass: organizationalUnit\nou: Team\n\n\
dn: ou=Night,ou=Team,ou=People,o=nhs\nobjectClass: organizationalUnit\nou: Night\n\n\
dn: uid=a,ou=Night,ou=Team,ou=People,o=nhs\nobjectClass: inetOrgPerson\nuid: a\ncn: A\nsn: A\nmanager: uid=b,ou=Team,ou=People,o=nhs\n\n\
dn: uid=b,ou=Team,ou=People,o=nhs\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\nuid: b\ncn: B\nsn: B\nnhsdirExDirectory: TRUE\n\n\
dn: cn=g,o=nhs\nobjectClass: groupOfNames\ncn: g\nmember: uid=a,ou=Night,ou=Team,ou=People,o=nhs\nmember: cn=x,o=nhs\n\n";

fn filled(settings: &str) -> Place {
    let place = Place::empty();
    place.succeed(&["import", "-"], ENTRIES);
    place.with(settings)
}

fn tree(crit: bool) -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit,
        val: None,
    }
}

async fn deleted(ldap: &mut Ldap, dn: &str) -> u32 {
    ldap.with_controls(tree(true)).delete(dn).await.unwrap().rc
}

async fn below(administrator: &mut Ldap, base: &str) -> usize {
    found(administrator, base, Scope::Subtree, "(objectClass=*)", &["1.1"])
        .await
        .len()
}

#[tokio::test]
async fn everything_below_goes_with_what_refers_to_it_and_stays_gone() {
    let server = filled("[integrity]\nreferences = [\"member\", \"manager\"]\n").serve();
    let mut ldap = server.bound("writer").await;
    assert_eq!(ldap.delete(TEAM).await.unwrap().rc, 66, "without the control");
    let asked = [
        tree(false),
        RawControl {
            crit: true,
            ..Assertion::new("(ou=team)")
        },
        PreRead::new(vec!["ou"]),
    ];
    let done = ldap.with_controls(asked.to_vec()).delete(TEAM).await.unwrap();
    assert_eq!((done.rc, done.ctrls.len()), (0, 1));
    assert_eq!(search_code(&mut ldap, TEAM, Scope::Base, "(objectClass=*)").await, 32);
    let group = found(&mut ldap, "cn=g,o=nhs", Scope::Base, "(objectClass=*)", &["member"]).await;
    assert_eq!(group[0].attrs["member"], ["cn=x,o=nhs"]);
    assert_eq!(deleted(&mut ldap, TEAM).await, 32);
    assert_eq!(deleted(&mut ldap, "cn=g,o=nhs").await, 0, "a leaf is a tree of one");

    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let line = audit
        .lines()
        .find(|line| line.contains("\"tree\"") && line.contains("ou=Team"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    // Four UUIDs.
    assert_eq!(line["uuids"].as_str().map(str::len), Some(86), "{line}");
    let server = place.serve();
    let mut ldap = server.bound("reader").await;
    assert!(
        found(&mut ldap, BASE, Scope::Subtree, "(|(ou=Night)(uid=a)(uid=b))", &["1.1"])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn none_goes_where_one_may_not() {
    let server = filled("[limits]\ndelete_entries = 3\n").serve();
    let (mut reader, mut writer) = (server.bound("reader").await, server.bound("writer").await);
    let mut administrator = server.bound("administrator").await;
    assert_eq!(deleted(&mut reader, TEAM).await, 50);
    assert_eq!(deleted(&mut writer, TEAM).await, 11, "four entries, and three may go");
    // Application accounts lie below, where a writer does not reach.
    assert_eq!(deleted(&mut writer, BASE).await, 50);
    let asserting = RawControl {
        crit: true,
        ..Assertion::new("(ou=other)")
    };
    let night = "ou=Night,ou=Team,ou=People,o=nhs";
    let refused = writer
        .with_controls(vec![tree(true), asserting])
        .delete(night)
        .await
        .unwrap();
    assert_eq!(refused.rc, 122);
    assert_eq!(below(&mut administrator, TEAM).await, 4);
    let value = RawControl {
        val: Some(b"\x30\x00".to_vec()),
        ..tree(true)
    };
    assert_eq!(
        writer.with_controls(value).delete(night).await.unwrap().rc,
        2,
        "it has no value"
    );
    let modified = writer
        .with_controls(tree(true))
        .modifydn(night, "ou=Day", true, None)
        .await
        .unwrap();
    assert_eq!(modified.rc, 12, "it is for a delete alone");
    assert_eq!(deleted(&mut writer, night).await, 0);
    assert_eq!(below(&mut administrator, TEAM).await, 2);
}

/// What the profile hides is not there for a writer, and is not taken along.
#[tokio::test]
async fn a_tree_with_a_hidden_entry_stays() {
    let place = filled("");
    let policy = place.folder().join("policy.toml");
    let text = "[profile.feed]\nlike = \"writer\"\nhide_entries = [\"nhsdirExDirectory=TRUE\"]\n";
    std::fs::write(&policy, text).unwrap();
    let server = place
        .with(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()))
        .serve();
    let mut administrator = server.bound("administrator").await;
    let secret = server.place.account("feed", "writer");
    server
        .place
        .succeed(&["account", "set", "feed", "--profile", "feed"], "");
    let mut writer = server.connect().await;
    writer.simple_bind("feed", &secret).await.unwrap().success().unwrap();
    assert_eq!(deleted(&mut writer, TEAM).await, 50);
    assert_eq!(below(&mut administrator, TEAM).await, 4);
    assert_eq!(deleted(&mut writer, "ou=Night,ou=Team,ou=People,o=nhs").await, 0);
}

/// With an application account goes its secret: nobody binds by it any more.
#[tokio::test]
async fn an_administrator_deletes_accounts_as_a_tree() {
    let server = filled("").serve();
    let secret = server.place.account("gone", "reader");
    let mut administrator = server.bound("administrator").await;
    let mut application = server.connect().await;
    let dn = "cn=gone,ou=Applications,o=nhs";
    application.simple_bind(dn, &secret).await.unwrap().success().unwrap();
    assert_eq!(deleted(&mut administrator, dn).await, 0);
    let mut again = server.connect().await;
    assert_eq!(again.simple_bind(dn, &secret).await.unwrap().rc, 49);
    let search = application.search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    assert!(
        search.await.map_or(true, |found| found.1.rc != 0),
        "its session is over"
    );
}

/// A tree within a transaction (RFC 5805) goes with the transaction, and so do the secrets in it.
#[tokio::test]
async fn a_tree_goes_with_its_transaction_or_stays_with_it() {
    let place = general::place("[limits]\ndelete_entries = 4\n");
    let server = place.serve();
    let mut manager = general::manager(&server).await;
    let people = format!("ou=people,{}", general::BASE);
    let named = |uid: &str| format!("uid={uid},{people}");
    for uid in ["bob", "zoe"] {
        assert_eq!(person(&mut manager, &named(uid), &["x"]).await.rc, 0);
    }
    let queue = async |ldap: &mut Ldap, id: &[u8], dn: &str| {
        let controls = vec![tree(true), within(id)];
        ldap.with_controls(controls).delete(dn).await.unwrap().rc
    };
    let missing = format!("uid=nobody,{}", general::BASE);
    let id = start(&mut manager).await;
    assert_eq!(queue(&mut manager, &id, &people).await, 0);
    assert_eq!(queue(&mut manager, &id, &missing).await, 0);
    assert_eq!(end(&mut manager, true, &id).await.0, 32);
    assert_eq!(below(&mut manager, &people).await, 4);
    let mut ann = bound(&server, general::ANN, "ann-1").await;

    // Together they are held to what one may be.
    let groups = format!("ou=groups,{}", general::BASE);
    for uid in ["a", "b"] {
        let dn = format!("uid={uid},{groups}");
        assert_eq!(person(&mut manager, &dn, &[]).await.rc, 0);
    }
    let id = start(&mut manager).await;
    for dn in [&groups, &people] {
        assert_eq!(queue(&mut manager, &id, dn).await, 0);
    }
    assert_eq!(end(&mut manager, true, &id).await.0, 11);

    let id = start(&mut manager).await;
    assert_eq!(queue(&mut manager, &id, &people).await, 0);
    let unit = vec![
        ("objectClass", ["organizationalUnit"].into()),
        ("ou", ["people"].into()),
    ];
    let added = manager.with_controls(within(&id)).add(&people, unit).await.unwrap();
    assert_eq!(added.rc, 0);
    assert_eq!(end(&mut manager, true, &id).await, (0, None));
    assert_eq!(below(&mut manager, &people).await, 1, "it is there anew");
    let search = ann.search(general::BASE, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    assert!(
        search.await.map_or(true, |found| found.1.rc != 0),
        "its session is over"
    );
    for _ in 0..2 {
        assert_eq!(bind(&server, general::ANN, "ann-1").await.1, 49);
        // Whoever comes by that name has a secret of its own, or none.
        person(&mut manager, general::ANN, &[]).await;
    }
    let (place, _) = server.stop();
    place.succeed(&["check"], "");
}
