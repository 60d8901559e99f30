//! Persistent search (draft-ietf-ldapext-psearch-03): a search that goes on with what changes.

use crate::server::{ANN, BASE, BOB, Place, ZOE, set, uids};
use crate::sync::{self, Stream, control};
use ldap3::controls::{RawControl, RefreshMode};
use ldap3::exop::WhoAmI;
use ldap3::{Ldap, Mod, Scope, SearchEntry};
use std::time::Duration;

const OID: &str = "2.16.840.1.113730.3.4.3";
const NOTICE: &str = "2.16.840.1.113730.3.4.7";
const ALL: u8 = 15;
const MODIFY: u8 = 4;

fn asked(types: u8, changes_only: bool, notices: bool) -> RawControl {
    let flag = |set| if set { 0xff } else { 0 };
    RawControl {
        ctype: OID.to_owned(),
        crit: true,
        val: Some(vec![
            0x30,
            9,
            2,
            1,
            types,
            1,
            1,
            flag(changes_only),
            1,
            1,
            flag(notices),
        ]),
    }
}

/// The next entry: what happened to it (0: nothing is said), its name, its name before, and how many attributes it has.
async fn next(stream: &mut Stream) -> (u8, String, String, usize) {
    let entry = stream.next().await.unwrap().expect("an entry");
    let notice = control(&entry.1, NOTICE).map(|raw| raw.val.clone().unwrap());
    let (change, previous) = match notice.as_deref() {
        None => (0, String::new()),
        Some([0x30, _, 0x0a, 1, change]) => (*change, String::new()),
        Some([0x30, _, 0x0a, 1, change, 4, _, dn @ ..]) => (*change, String::from_utf8(dn.to_vec()).unwrap()),
        Some(other) => panic!("{other:?}"),
    };
    let entry = SearchEntry::construct(entry);
    (change, entry.dn, previous, entry.attrs.len())
}

fn told(change: u8, dn: &str, previous: &str, attributes: usize) -> (u8, String, String, usize) {
    (change, dn.to_owned(), previous.to_owned(), attributes)
}

/// Requests are begun in turn: what was asked before this follows changes once it is answered.
async fn begun(copy: &mut Ldap) {
    copy.extended(WhoAmI).await.unwrap().success().unwrap();
}

async fn describe(ldap: &mut Ldap, dn: &str, text: &str) {
    let changes = vec![Mod::Replace("description", set(&[text]))];
    ldap.modify(dn, changes).await.unwrap().success().unwrap();
}

async fn add(ldap: &mut Ldap, dn: &str) {
    let person = vec![
        ("objectClass", set(&["inetOrgPerson", "extensibleObject"])),
        ("cn", set(&["New"])),
        ("sn", set(&["New"])),
    ];
    ldap.add(dn, person).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn every_change_is_told_with_what_it_was() {
    let server = Place::filled().serve();
    let (mut copy, mut writer) = sync::both(&server).await;
    let mut stream = sync::begin(&mut copy, asked(ALL, true, true), sync::PERSON).await;
    let id = stream.ldap_handle().last_id();
    begun(&mut copy).await;
    let (new, newer) = ("uid=new,ou=People,o=nhs", "uid=newer,ou=People,o=nhs");
    add(&mut writer, new).await;
    assert_eq!(next(&mut stream).await, told(1, new, "", 1));
    describe(&mut writer, new, "x").await;
    assert_eq!(next(&mut stream).await, told(4, new, "", 1));
    writer
        .modifydn(new, "uid=newer", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(next(&mut stream).await, told(8, newer, new, 1));
    // What the search does not hold is not told of; a subtree moves entry by entry.
    describe(&mut writer, "ou=People,o=nhs", "x").await;
    writer.delete(newer).await.unwrap().success().unwrap();
    assert_eq!(next(&mut stream).await, told(2, newer, "", 1));
    // It ends when it is abandoned, and the connection goes on.
    copy.abandon(id).await.unwrap();
    describe(&mut writer, ANN, "y").await;
    assert_eq!(uids(&mut copy, "(description=y)").await.len(), 1);
}

/// Without `changesOnly` it begins with what is there; without `returnECs` nothing is said of changes, and only those asked for come.
#[tokio::test]
async fn it_begins_with_what_is_there_and_tells_what_is_asked_for() {
    let server = Place::filled().serve();
    let (mut copy, mut writer) = sync::both(&server).await;
    let mut stream = sync::begin(&mut copy, asked(MODIFY, false, false), sync::PERSON).await;
    let mut there = Vec::new();
    for _ in 0..3 {
        let (change, dn, previous, _) = next(&mut stream).await;
        assert_eq!((change, previous.as_str()), (0, ""));
        there.push(dn);
    }
    there.sort();
    assert_eq!(there, [ANN, ZOE, BOB]);
    add(&mut writer, "uid=new,ou=People,o=nhs").await;
    writer.delete(BOB).await.unwrap().success().unwrap();
    describe(&mut writer, ZOE, "x").await;
    let (change, dn, ..) = next(&mut stream).await;
    assert_eq!((change, dn.as_str()), (0, ZOE));
    // It ends when the server stops, and when the account may no longer.
    server.place.succeed(&["account", "disable", "copy"], "");
    describe(&mut writer, ZOE, "y").await;
    while let Ok(Some(_)) = stream.next().await {}
    assert_ne!(stream.finish().await.rc, 0);
}

/// What was hidden was not there: neither that it was changed nor its name before is told.
#[tokio::test]
async fn nothing_is_told_of_what_is_hidden() {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.copy]\nlike = \"reader\"\nmay_sync = true\nhide_entries = [\"nhsdirExDirectory=TRUE\"]\n";
    std::fs::write(&policy, text).unwrap();
    let server = place
        .with(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()))
        .serve();
    let secret = server.place.account("copy", "reader");
    let mut writer = server.bound("writer").await;
    let mut copy = server.connect().await;
    copy.simple_bind("copy", &secret).await.unwrap().success().unwrap();
    let refused = copy
        .with_controls(asked(ALL, true, true))
        .search(BASE, Scope::Subtree, "(cn=*)", vec!["cn"]);
    assert_eq!(refused.await.unwrap().1.rc, 50, "without may_sync");
    server
        .place
        .succeed(&["account", "set", "copy", "--profile", "copy"], "");
    copy.simple_bind("copy", &secret).await.unwrap().success().unwrap();

    let mut stream = sync::begin(&mut copy, asked(ALL, true, true), sync::PERSON).await;
    begun(&mut copy).await;
    let (new, shown) = ("uid=new,ou=People,o=nhs", "uid=shown,ou=People,o=nhs");
    let hide = |hidden| vec![Mod::Replace("nhsdirExDirectory", set(&[hidden]))];
    add(&mut writer, new).await;
    assert_eq!(next(&mut stream).await.0, 1);
    for dn in [new, shown] {
        writer.modify(dn, hide("TRUE")).await.unwrap().success().unwrap();
        describe(&mut writer, dn, "unseen").await;
        let rdn = if dn == new { "uid=shown" } else { "uid=new" };
        writer.modifydn(dn, rdn, true, None).await.unwrap().success().unwrap();
        let dn = if dn == new { shown } else { new };
        writer.modify(dn, hide("FALSE")).await.unwrap().success().unwrap();
        assert_eq!(next(&mut stream).await, told(1, dn, "", 1));
    }
    writer.modify(new, hide("TRUE")).await.unwrap().success().unwrap();
    writer.delete(new).await.unwrap().success().unwrap();
    describe(&mut writer, ANN, "seen").await;
    assert_eq!(next(&mut stream).await.1, ANN);
}

#[tokio::test]
async fn it_is_no_content_synchronisation() {
    let server = Place::filled().serve();
    let (mut copy, _) = sync::both(&server).await;
    let both = vec![
        asked(ALL, true, true),
        sync::asked(RefreshMode::RefreshOnly, None, false),
    ];
    let refused = copy
        .with_controls(both)
        .search(BASE, Scope::Subtree, "(cn=*)", vec!["cn"]);
    assert_eq!(refused.await.unwrap().1.rc, 2);
    for types in [0, 16] {
        let refused = copy
            .with_controls(asked(types, true, true))
            .search(BASE, Scope::Subtree, "(cn=*)", vec!["cn"]);
        assert_eq!(refused.await.unwrap().1.rc, 2, "{types}");
    }
}

/// It ends with the account's secret or its policy, and waits for no change of the directory.
#[tokio::test]
async fn it_ends_with_its_session() {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.copy]\nlike = \"reader\"\nmay_sync = true\n";
    std::fs::write(&policy, text).unwrap();
    let server = place
        .with(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()))
        .serve();
    let mut secret = server.place.account("copy", "reader");
    server
        .place
        .succeed(&["account", "set", "copy", "--profile", "copy"], "");
    for rotates in [true, false] {
        let mut copy = server.connect().await;
        copy.simple_bind("copy", &secret).await.unwrap().success().unwrap();
        let mut stream = sync::begin(&mut copy, asked(ALL, true, true), sync::PERSON).await;
        begun(&mut copy).await;
        if rotates {
            let answer = server.place.succeed(&["account", "rotate", "copy", "--json"], "");
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            secret = answer["secret"].as_str().unwrap().to_owned();
        } else {
            std::fs::write(&policy, text.replace("reader", "writer")).unwrap();
            server.reload();
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
        assert!(ended.expect("it ends").unwrap().is_none());
        assert_eq!(stream.finish().await.rc, 50);
    }
}
