//! Transactions (RFC 5805), section by section.

use crate::binds::{self, Raw, element};
use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, uids};
use crate::{general, sync};
use ldap3::controls::{Assertion, PreRead, RawControl, RefreshMode};
use ldap3::exop::{Exop, PasswordModify};
use ldap3::{Ldap, Mod, Scope};
use std::collections::HashSet;
use std::time::Duration;

const START: &str = "1.3.6.1.1.21.1";
const CONTROL: &str = "1.3.6.1.1.21.2";
const END: &str = "1.3.6.1.1.21.3";
const OPERATIONS_ERROR: u32 = 1;
const PROTOCOL_ERROR: u32 = 2;
const ADMIN_LIMIT: u8 = 11;
const UNAVAILABLE_CRITICAL: u32 = 12;
const NO_SUCH_OBJECT: u32 = 32;
const BUSY: u32 = 51;
const UNWILLING: u32 = 53;
const INSUFFICIENT: u32 = 50;
const ASSERTION_FAILED: u32 = 122;

/// Starts a transaction; gives its identifier.
pub async fn start(ldap: &mut Ldap) -> Vec<u8> {
    let answer = ldap.extended(exop(START, None)).await.unwrap();
    assert_eq!(answer.1.rc, 0);
    assert_eq!(answer.0.name, None, "section 2.1: no name");
    answer.0.val.expect("an identifier")
}

fn exop(name: &str, val: Option<Vec<u8>>) -> Exop {
    Exop {
        name: Some(name.to_owned()),
        val,
    }
}

pub fn within(identifier: &[u8]) -> RawControl {
    RawControl {
        ctype: CONTROL.to_owned(),
        crit: true,
        val: Some(identifier.to_vec()),
    }
}

/// A txnEndReq. A commit is the default and left out.
fn ending(commit: bool, identifier: &[u8]) -> Vec<u8> {
    let commit: &[u8] = if commit { &[] } else { &[1, 1, 0] };
    element(0x30, &[commit, &element(4, identifier)].concat())
}

/// Ends a transaction; gives the result and the response's value.
pub async fn end(ldap: &mut Ldap, commit: bool, identifier: &[u8]) -> (u32, Option<Vec<u8>>) {
    let answer = ldap
        .extended(exop(END, Some(ending(commit, identifier))))
        .await
        .unwrap();
    (answer.1.rc, answer.0.val)
}

async fn title(ldap: &mut Ldap, identifier: &[u8], dn: &str, title: &str) -> u32 {
    let changes = vec![Mod::Replace("title", HashSet::from([title]))];
    let answer = ldap.with_controls(within(identifier)).modify(dn, changes).await;
    answer.unwrap().rc
}

async fn device(ldap: &mut Ldap, identifier: &[u8], cn: &str) -> u32 {
    let attributes = vec![("objectClass", HashSet::from(["device"])), ("cn", HashSet::from([cn]))];
    let dn = format!("cn={cn},ou=Lists,{BASE}");
    let answer = ldap.with_controls(within(identifier)).add(&dn, attributes).await;
    answer.unwrap().rc
}

async fn titled(ldap: &mut Ldap, title: &str) -> Vec<String> {
    uids(ldap, &format!("(title={title})")).await
}

async fn devices(ldap: &mut Ldap) -> Vec<String> {
    let lists = format!("ou=Lists,{BASE}");
    let entries = found(ldap, &lists, Scope::OneLevel, "(objectClass=device)", &["cn"]).await;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.attrs["cn"][0].clone()).collect();
    names.sort();
    names
}

fn audit(place: &Place) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `(act, result)` of every audit line of a transaction.
fn audited(place: &Place) -> Vec<(String, String)> {
    let lines = audit(place).into_iter().filter(|line| line["transaction"].is_string());
    lines
        .map(|line| ["act", "result"].map(|name| line[name].as_str().unwrap().to_owned()))
        .map(|[act, result]| (act, result))
        .collect()
}

#[tokio::test]
async fn section_3_1_it_is_announced() {
    let server = Place::filled().serve();
    let mut ldap = server.bound("reader").await;
    let root = found(&mut ldap, "", Scope::Base, "(objectClass=*)", &["+"]).await;
    for name in [START, END] {
        assert!(root[0].attrs["supportedExtension"].contains(&name.to_owned()), "{name}");
    }
    assert!(root[0].attrs["supportedControl"].contains(&CONTROL.to_owned()));
}

#[tokio::test]
async fn section_3_4_a_commit_does_all_in_turn_and_nothing_is_seen_before() {
    let server = Place::filled().serve();
    let (mut writer, mut reader) = (server.bound("writer").await, server.bound("reader").await);
    let id = start(&mut writer).await;
    assert_eq!(title(&mut writer, &id, ANN, "First").await, 0);
    assert_eq!(device(&mut writer, &id, "txn").await, 0);
    let described = vec![Mod::Add("description", HashSet::from(["within"]))];
    let (dn, renamed) = ("cn=txn,ou=Lists,o=nhs", "cn=renamed,ou=Lists,o=nhs");
    let answer = writer.with_controls(within(&id)).modify(dn, described).await.unwrap();
    assert_eq!(answer.rc, 0);
    let answer = writer.with_controls(within(&id)).modifydn(dn, "cn=renamed", true, None);
    assert_eq!(answer.await.unwrap().rc, 0);
    assert_eq!(writer.with_controls(within(&id)).delete(BOB).await.unwrap().rc, 0);
    assert_eq!(title(&mut writer, &id, ANN, "Second").await, 0);
    for ldap in [&mut writer, &mut reader] {
        assert!(titled(ldap, "First").await.is_empty() && titled(ldap, "Second").await.is_empty());
        assert!(devices(ldap).await.is_empty());
        assert_eq!(uids(ldap, "(uid=000000000003)").await.len(), 1);
    }
    assert_eq!(end(&mut writer, true, &id).await, (0, None));
    assert!(titled(&mut reader, "First").await.is_empty());
    assert_eq!(titled(&mut reader, "Second").await, ["000000000001"]);
    let there = found(&mut reader, renamed, Scope::Base, "(description=within)", &["cn"]).await;
    assert_eq!(there.len(), 1);
    assert!(uids(&mut reader, "(uid=000000000003)").await.is_empty());
    // The identifier is used up, the connection is not.
    assert_eq!(end(&mut writer, true, &id).await.0, OPERATIONS_ERROR);
    let next = start(&mut writer).await;
    assert_ne!(next, id);
    assert_eq!(end(&mut writer, true, &next).await, (0, None), "an empty one");
    let (place, _) = server.stop();
    let acts = [
        "modify",
        "add",
        "modify",
        "modifyDN",
        "delete",
        "modify",
        "transaction",
        "transaction",
    ];
    let acts: Vec<_> = acts
        .iter()
        .map(|act| ((*act).to_owned(), "success".to_owned()))
        .collect();
    assert_eq!(audited(&place), acts);
    place.succeed(&["check"], "");
}

#[tokio::test]
async fn section_3_4_an_abort_does_nothing() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let id = start(&mut writer).await;
    assert_eq!(title(&mut writer, &id, ANN, "Never").await, 0);
    assert_eq!(end(&mut writer, false, &id).await, (0, None));
    assert_eq!(end(&mut writer, true, &id).await.0, OPERATIONS_ERROR);
    assert!(titled(&mut writer, "Never").await.is_empty());
    let (place, _) = server.stop();
    let lines = audit(&place);
    let ended: Vec<_> = lines.iter().filter(|line| line["act"] == "transaction").collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (&ended[0]["updates"], &ended[0]["detail"]),
        (&"1".into(), &"abort".into())
    );
}

#[tokio::test]
async fn section_3_4_a_failure_of_the_second_of_three_leaves_nothing() {
    let server = Place::filled().serve();
    let (mut copy, mut writer) = sync::both(&server).await;
    let mode = sync::asked(RefreshMode::RefreshAndPersist, None, false);
    let mut stream = sync::begin(&mut copy, mode, sync::PERSON).await;
    while !sync::next(&mut stream).await.unwrap().starts_with("present") {}
    let id = start(&mut writer).await;
    assert_eq!(title(&mut writer, &id, ANN, "Half").await, 0);
    let missing = "uid=nobody,ou=People,o=nhs";
    assert_eq!(title(&mut writer, &id, missing, "Half").await, 0);
    let failing = u8::try_from(writer.last_id()).unwrap();
    assert_eq!(title(&mut writer, &id, ZOE, "Half").await, 0);
    let (rc, value) = end(&mut writer, true, &id).await;
    assert_eq!((rc, value), (NO_SUCH_OBJECT, Some(vec![0x30, 3, 2, 1, failing])));
    assert!(titled(&mut writer, "Half").await.is_empty());
    assert_eq!(title(&mut writer, &id, ZOE, "Half").await, OPERATIONS_ERROR);
    // Those who follow were told nothing of it, and of the next one all.
    let id = start(&mut writer).await;
    assert_eq!(title(&mut writer, &id, BOB, "Whole").await, 0);
    assert_eq!(title(&mut writer, &id, ZOE, "Whole").await, 0);
    assert_eq!(end(&mut writer, true, &id).await, (0, None));
    for dn in [BOB, ZOE] {
        assert_eq!(sync::next(&mut stream).await.unwrap(), format!("~{dn}"));
    }
    assert_eq!(titled(&mut writer, "Whole").await, ["000000000002", "000000000003"]);
    drop(stream);
    let (place, _) = server.stop();
    let failed: Vec<_> = audited(&place).into_iter().take(4).collect();
    let expected = [
        ("modify", "canceled"),
        ("modify", "noSuchObject"),
        ("modify", "canceled"),
        ("transaction", "noSuchObject"),
    ];
    assert_eq!(
        failed,
        expected.map(|(act, result)| (act.to_owned(), result.to_owned()))
    );
    place.succeed(&["check"], "");
}

#[tokio::test]
async fn section_3_3_what_cannot_be_part_is_answered_at_once() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    assert_eq!(
        title(&mut writer, b"1", ANN, "Never").await,
        OPERATIONS_ERROR,
        "none is open"
    );
    let id = start(&mut writer).await;
    assert_eq!(
        writer.extended(exop(START, None)).await.unwrap().1.rc,
        BUSY,
        "section 3.5"
    );
    assert_eq!(title(&mut writer, b"other", ANN, "Never").await, OPERATIONS_ERROR);
    assert_eq!(title(&mut writer, b"\xff", ANN, "Never").await, OPERATIONS_ERROR);
    assert_eq!(end(&mut writer, true, b"other").await.0, OPERATIONS_ERROR);
    let uncritical = RawControl {
        crit: false,
        ..within(&id)
    };
    let changes = || vec![Mod::Replace("title", HashSet::from(["Never"]))];
    let answer = writer.with_controls(uncritical).modify(ANN, changes()).await.unwrap();
    assert_eq!(answer.rc, PROTOCOL_ERROR, "section 2.2");
    let search = writer
        .with_controls(within(&id))
        .search(ANN, Scope::Base, "(uid=*)", vec!["cn"]);
    assert_eq!(search.await.unwrap().1.rc, UNAVAILABLE_CRITICAL);
    let secret = PasswordModify {
        user_id: Some("cn=reader,ou=Applications,o=nhs"),
        old_pass: None,
        new_pass: None,
    };
    let answer = writer.with_controls(within(&id)).extended(secret).await.unwrap();
    assert_eq!(answer.1.rc, UNWILLING);
    let answer = writer
        .with_controls(within(&id))
        .extended(exop(END, Some(ending(true, &id))));
    assert_eq!(answer.await.unwrap().1.rc, UNAVAILABLE_CRITICAL);
    let malformed = vec![0x30, 2, 1, 1];
    assert_eq!(
        writer.extended(exop(END, Some(malformed))).await.unwrap().1.rc,
        PROTOCOL_ERROR
    );
    assert_eq!(writer.extended(exop(END, None)).await.unwrap().1.rc, PROTOCOL_ERROR);
    let wrong = vec![Mod::Replace("noSuchType", HashSet::from(["x"]))];
    assert_eq!(
        writer.with_controls(within(&id)).modify(ANN, wrong).await.unwrap().rc,
        17
    );
    // None of it ended the transaction, or became part of it.
    assert_eq!(title(&mut writer, &id, ZOE, "Still").await, 0);
    assert_eq!(end(&mut writer, true, &id).await, (0, None));
    assert_eq!(titled(&mut writer, "Still").await, ["000000000002"]);
    assert!(titled(&mut writer, "Never").await.is_empty());

    let mut reader = server.bound("reader").await;
    let id = start(&mut reader).await;
    assert_eq!(title(&mut reader, &id, ANN, "Never").await, INSUFFICIENT);
    // What a writer may not do it does not do here either.
    let id = start(&mut writer).await;
    let account = "cn=reader,ou=Applications,o=nhs";
    assert_eq!(title(&mut writer, &id, account, "Never").await, INSUFFICIENT);
    let answer = writer.with_controls(within(&id)).delete(account).await.unwrap();
    assert_eq!(answer.rc, INSUFFICIENT);
    let moved = writer
        .with_controls(within(&id))
        .modifydn(ANN, "cn=a", false, Some("ou=Applications,o=nhs"));
    assert_eq!(moved.await.unwrap().rc, INSUFFICIENT);
}

/// Application accounts are made, changed, renamed and deleted with the rest, or are as they were.
#[tokio::test]
async fn application_accounts_follow_a_transaction_that_is_settled_and_no_other() {
    const FIRST: &str = "correct horse battery staple";
    const SECOND: &str = "Xq7-pelican-tr4mway-0rbit";
    let place = Place::filled();
    let old = place.account("old", "reader");
    let server = place.serve();
    let mut admin = server.bound("administrator").await;
    const ONE: &str = "cn=one,ou=Applications,o=nhs";
    const TWO: &str = "cn=two,ou=Applications,o=nhs";
    const OLD: &str = "cn=old,ou=Applications,o=nhs";
    let account = |secret: &'static str| {
        vec![
            ("objectClass", HashSet::from(["applicationProcess", "nhsdirAccount"])),
            ("nhsdirRole", HashSet::from(["writer"])),
            ("userPassword", HashSet::from([secret])),
        ]
    };
    let binds = async |server: &Server, name: &str, secret: &str| {
        let mut ldap = server.connect().await;
        ldap.simple_bind(name, secret).await.unwrap().rc
    };
    let replace = |name: &'static str, value: &'static str| vec![Mod::Replace(name, HashSet::from([value]))];
    for (last, code) in [("uid=nobody,ou=People,o=nhs", NO_SUCH_OBJECT), (ANN, 0)] {
        let mut bound = server.connect().await;
        bound.simple_bind("old", &old).await.unwrap().success().unwrap();
        let id = start(&mut admin).await;
        let mut steps = Vec::new();
        let mut queued = |answer: ldap3::LdapResult| steps.push(answer.rc);
        queued(admin.with_controls(within(&id)).add(ONE, account(FIRST)).await.unwrap());
        let renamed = admin.with_controls(within(&id)).modifydn(ONE, "cn=two", true, None);
        queued(renamed.await.unwrap());
        let secret = replace("userPassword", SECOND);
        queued(admin.with_controls(within(&id)).modify(TWO, secret).await.unwrap());
        let reset = replace("pwdReset", "TRUE");
        queued(admin.with_controls(within(&id)).modify(TWO, reset).await.unwrap());
        queued(admin.with_controls(within(&id)).add(ONE, account(FIRST)).await.unwrap());
        let disabled = replace("nhsdirDisabled", "TRUE");
        queued(admin.with_controls(within(&id)).modify(ONE, disabled).await.unwrap());
        queued(admin.with_controls(within(&id)).delete(OLD).await.unwrap());
        assert_eq!(steps, [0; 7]);
        assert_eq!(binds(&server, "two", SECOND).await, 49, "nothing is done yet");
        assert_eq!(title(&mut admin, &id, last, "Last").await, 0);
        assert_eq!(end(&mut admin, true, &id).await.0, code);
        let holds = bound.extended(ldap3::exop::WhoAmI).await.is_ok();
        assert_eq!(holds, code != 0, "who is bound as what was deleted");
        assert_eq!(binds(&server, "old", &old).await, if code == 0 { 49 } else { 0 });
        assert_eq!(binds(&server, "two", SECOND).await, if code == 0 { 0 } else { 49 });
    }
    let after = async |server: &Server| {
        for (name, secret, code) in [
            ("one", FIRST, 49),
            ("two", FIRST, 49),
            ("two", SECOND, 0),
            ("old", old.as_str(), 49),
        ] {
            assert_eq!(binds(server, name, secret).await, code, "{name}");
        }
        let mut two = server.connect().await;
        two.simple_bind("two", SECOND).await.unwrap();
        let search = two.search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"]);
        assert_eq!(search.await.unwrap().1.rc, INSUFFICIENT, "it has to be changed first");
    };
    after(&server).await;
    let (place, _) = server.stop();
    let server = place.serve();
    after(&server).await;
    server.place.succeed(&["account", "enable", "one"], "");
    assert_eq!(binds(&server, "one", FIRST).await, 0, "its secret came with it");
}

#[tokio::test]
async fn section_3_3_limits_abort_with_a_notice() {
    let place = Place::filled();
    let secret = place.account("app", "writer");
    let limits = "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[limits]\ntransaction_operations = 2\n\
                  transaction_bytes = 260\n";
    std::fs::write(place.data().join("nhsdir.toml"), limits).unwrap();
    let server = place.serve();
    let mut raw = Raw::open(&server);
    assert_eq!(raw.ask(1, &binds::plain("", "app", &secret)), 0);
    let delete = |name: &str| format!("uid={name},ou=People,o=nhs").into_bytes();
    // The two updates that are within the limits; the third is not, by number and by octets.
    for (identifier, names) in [("1", ["1", "2", "3"]), ("2", ["1", "2", &"9".repeat(90)])] {
        let base = identifier.parse::<u8>().unwrap() * 10;
        let names = if identifier == "2" { &names[1..] } else { &names[..] };
        assert_eq!(raw.ask(base, &element(0x77, &element(0x80, START.as_bytes()))), 0);
        let control = [
            element(4, CONTROL.as_bytes()),
            vec![1, 1, 0xff],
            element(4, identifier.as_bytes()),
        ]
        .concat();
        let controls = element(0xa0, &element(0x30, &control));
        for (at, name) in names.iter().enumerate() {
            let request = [element(0x4a, &delete(name)), controls.clone()].concat();
            let code = raw.ask(base + 1 + u8::try_from(at).unwrap(), &request);
            assert_eq!(code, if at + 1 == names.len() { ADMIN_LIMIT } else { 0 }, "{name}");
        }
        let notice = raw.message();
        assert_eq!(&notice[..4], [2, 1, 0, 0x78], "unsolicited");
        assert_eq!(notice[7..8], [ADMIN_LIMIT]);
        let tail = [element(0x8a, b"1.3.6.1.1.21.4"), element(0x8b, identifier.as_bytes())].concat();
        assert!(notice.ends_with(&tail), "{notice:?}");
        let end = element(0x81, &ending(true, identifier.as_bytes()));
        let end = element(0x77, &[element(0x80, END.as_bytes()), end].concat());
        assert_eq!(u32::from(raw.ask(base + 5, &end)), OPERATIONS_ERROR);
    }
}

#[tokio::test]
async fn section_3_3_every_update_has_a_message_id_of_its_own() {
    let place = Place::filled();
    let secret = place.account("app", "writer");
    let server = place.serve();
    let mut raw = Raw::open(&server);
    assert_eq!(raw.ask(1, &binds::plain("", "app", &secret)), 0);
    assert_eq!(raw.ask(2, &element(0x77, &element(0x80, START.as_bytes()))), 0);
    let control = [element(4, CONTROL.as_bytes()), vec![1, 1, 0xff], element(4, b"1")].concat();
    let request = [element(0x4a, ANN.as_bytes()), element(0xa0, &element(0x30, &control))].concat();
    assert_eq!(raw.ask(3, &request), 0);
    assert_eq!(u32::from(raw.ask(3, &request)), PROTOCOL_ERROR);
    assert_eq!(raw.ask(4, &request), 0);
}

#[tokio::test]
async fn section_3_5_a_bind_or_the_end_of_the_connection_aborts() {
    let place = Place::filled();
    let secret = place.account("app", "writer");
    let server = place.serve();
    let mut app = server.connect().await;
    app.simple_bind("app", &secret).await.unwrap().success().unwrap();
    for wrong in ["", "not it"] {
        let id = start(&mut app).await;
        assert_eq!(title(&mut app, &id, ANN, "Never").await, 0);
        assert_ne!(app.simple_bind("app", wrong).await.unwrap().rc, 0);
        app.simple_bind("app", &secret).await.unwrap().success().unwrap();
        assert_eq!(end(&mut app, true, &id).await.0, OPERATIONS_ERROR, "{wrong:?}");
    }
    let id = start(&mut app).await;
    assert_eq!(title(&mut app, &id, ANN, "Never").await, 0);
    app.unbind().await.unwrap();
    let mut other = server.connect().await;
    other.simple_bind("app", &secret).await.unwrap().success().unwrap();
    assert_eq!(
        end(&mut other, true, &id).await.0,
        OPERATIONS_ERROR,
        "of another connection"
    );
    let mut lost = Raw::open(&server);
    assert_eq!(lost.ask(1, &binds::plain("", "app", &secret)), 0);
    assert_eq!(lost.ask(2, &element(0x77, &element(0x80, START.as_bytes()))), 0);
    drop(lost);
    assert!(titled(&mut other, "Never").await.is_empty());
    let (place, _) = server.stop();
    let lines = audit(&place);
    let ended = lines.iter().filter(|line| line["act"] == "transaction");
    let updates: Vec<_> = ended.map(|line| (&line["updates"], &line["result"])).collect();
    let one = (&"1".into(), &"canceled".into());
    assert_eq!(updates[..2], [one, one]);
    assert_eq!(updates.len(), 4, "{updates:?}");
}

#[tokio::test]
async fn section_4_assertions_are_evaluated_and_entries_read_at_the_end() {
    let server = Place::filled().serve();
    let mut writer = server.bound("writer").await;
    let asserting = |filter: &str| RawControl {
        crit: true,
        ..Assertion::new(filter)
    };
    let changes = |title: &'static str| vec![Mod::Replace("title", HashSet::from([title]))];
    for (asserted, rc) in [("(title=One)", 0), ("(title=Zero)", ASSERTION_FAILED)] {
        let id = start(&mut writer).await;
        assert_eq!(title(&mut writer, &id, ANN, "One").await, 0);
        let controls = vec![asserting(asserted), within(&id), PreRead::new(vec!["title"])];
        let answer = writer
            .with_controls(controls)
            .modify(ANN, changes("Two"))
            .await
            .unwrap();
        assert_eq!((answer.rc, answer.ctrls.len()), (0, 0));
        let message = u8::try_from(writer.last_id()).unwrap();
        let (code, value) = end(&mut writer, true, &id).await;
        assert_eq!(code, rc, "{asserted}");
        let attribute = element(
            0x30,
            &[element(4, b"title"), element(0x31, &element(4, b"One"))].concat(),
        );
        let entry = element(0x64, &[element(4, ANN.as_bytes()), element(0x30, &attribute)].concat());
        let control = [element(4, b"1.3.6.1.1.13.1"), element(4, &entry)].concat();
        let controls = element(0x30, &element(0x30, &control));
        let of_update = element(0x30, &[vec![2, 1, message], controls].concat());
        let expected = match rc {
            0 => element(0x30, &element(0x30, &of_update)),
            _ => vec![0x30, 3, 2, 1, message],
        };
        assert_eq!(value, Some(expected));
    }
    assert_eq!(titled(&mut writer, "Two").await, ["000000000001"]);
}

#[tokio::test]
async fn section_4_4_it_is_begun_as_another_and_not_gone_on_with() {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    let text = "[profile.front]\nlike = \"reader\"\nmay_proxy = [\"cn=feed,ou=Applications,{suffix}\"]\n";
    std::fs::write(&policy, text).unwrap();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[policy]\nfile = {:?}\n",
        policy.to_str().unwrap()
    );
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let secret = place.account("front", "reader");
    place.account("feed", "writer");
    place.succeed(&["account", "set", "front", "--profile", "front"], "");
    let server = place.serve();
    let mut ldap = server.connect().await;
    ldap.simple_bind("front", &secret).await.unwrap().success().unwrap();
    let acting = || RawControl {
        ctype: "2.16.840.1.113730.3.4.18".to_owned(),
        crit: true,
        val: Some(b"u:feed".to_vec()),
    };
    let started = ldap.with_controls(acting()).extended(exop(START, None)).await.unwrap();
    let id = started.0.val.expect("an identifier");
    assert_eq!(title(&mut ldap, &id, ANN, "Proxied").await, 0);
    let changes = vec![Mod::Replace("title", HashSet::from(["Never"]))];
    let both = ldap.with_controls(vec![acting(), within(&id)]).modify(ANN, changes);
    assert_eq!(both.await.unwrap().rc, PROTOCOL_ERROR);
    let ended = ldap
        .with_controls(acting())
        .extended(exop(END, Some(ending(true, &id))));
    assert_eq!(ended.await.unwrap().1.rc, PROTOCOL_ERROR);
    assert_eq!(end(&mut ldap, true, &id).await, (0, None));
    let ann = found(&mut ldap, ANN, Scope::Base, "(title=Proxied)", &["title"]).await;
    assert_eq!(ann.len(), 1);
    let id = start(&mut ldap).await;
    assert_eq!(title(&mut ldap, &id, ANN, "Never").await, INSUFFICIENT, "itself again");
}

#[tokio::test]
async fn secrets_of_entries_follow_a_transaction_that_is_settled_and_no_other() {
    const CAT: &str = "uid=cat,ou=people,dc=example,dc=com";
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(general::person(&mut manager, CAT, &["first"]).await.rc, 0);
    let id = start(&mut manager).await;
    let secret = vec![Mod::Replace("userPassword", HashSet::from(["second"]))];
    let answer = manager.with_controls(within(&id)).modify(CAT, secret).await.unwrap();
    assert_eq!(answer.rc, 0);
    assert_eq!(manager.with_controls(within(&id)).delete(CAT).await.unwrap().rc, 0);
    let nobody = "uid=nobody,ou=people,dc=example,dc=com";
    assert_eq!(manager.with_controls(within(&id)).delete(nobody).await.unwrap().rc, 0);
    assert_eq!(end(&mut manager, true, &id).await.0, NO_SUCH_OBJECT);
    general::bound(&server, CAT, "first").await;
    // A rename, and another entry under the old name.
    let id = start(&mut manager).await;
    let renamed = manager.with_controls(within(&id)).modifydn(CAT, "uid=tom", true, None);
    assert_eq!(renamed.await.unwrap().rc, 0);
    let attributes = vec![
        ("objectClass", HashSet::from(["inetOrgPerson"])),
        ("cn", HashSet::from(["Cat"])),
        ("sn", HashSet::from(["Cat"])),
    ];
    let added = manager.with_controls(within(&id)).add(CAT, attributes).await.unwrap();
    assert_eq!(added.rc, 0);
    assert_eq!(end(&mut manager, true, &id).await, (0, None));
    assert_eq!(general::bind(&server, CAT, "first").await.1, 49);
    let tom = "uid=tom,ou=people,dc=example,dc=com";
    general::bound(&server, tom, "first").await;
    let (place, _) = server.stop();
    let server = place.serve();
    general::bound(&server, tom, "first").await;
    assert_eq!(
        general::bind(&server, CAT, "first").await.1,
        49,
        "after a restart as well"
    );
}

/// Commits transactions of three adds until the server is gone; gives how many were acknowledged.
async fn commit_threes(mut ldap: Ldap, round: usize) -> usize {
    for step in 0.. {
        let Ok(started) = ldap.extended(exop(START, None)).await else {
            return step;
        };
        let id = started.0.val.unwrap();
        for part in 0..3 {
            let cn = format!("r{round:02}n{step:05}p{part}");
            let attributes = vec![
                ("objectClass", HashSet::from(["device"])),
                ("cn", HashSet::from([cn.as_str()])),
            ];
            let dn = format!("cn={cn},ou=Lists,{BASE}");
            match ldap.with_controls(within(&id)).add(&dn, attributes).await {
                Ok(answer) => assert_eq!(answer.rc, 0),
                Err(_) => return step,
            }
        }
        match ldap.extended(exop(END, Some(ending(true, &id)))).await {
            Ok(answer) => assert_eq!(answer.1.rc, 0),
            Err(_) => return step,
        }
    }
    0
}

async fn bound(server: &Server, secret: &str) -> Ldap {
    let mut ldap = server.connect().await;
    ldap.simple_bind("app", secret).await.unwrap().success().unwrap();
    ldap
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn section_1_a_transaction_is_whole_and_durable_over_a_kill() {
    let mut place = Place::empty();
    let secret = place.account("app", "writer");
    let mut acknowledged = 0;
    for (round, millis) in [60, 150, 230].into_iter().enumerate() {
        let server = place.serve();
        let writing = tokio::spawn(commit_threes(bound(&server, &secret).await, round));
        tokio::time::sleep(Duration::from_millis(millis)).await;
        place = server.kill();
        let done = writing.await.unwrap();
        acknowledged += done;
        let server = place.serve();
        let there = devices(&mut bound(&server, &secret).await).await;
        let ours: Vec<_> = there
            .iter()
            .filter(|cn| cn.starts_with(&format!("r{round:02}")))
            .collect();
        assert_eq!(ours.len() % 3, 0, "one is there in part: {ours:?}");
        // The one under way may have become durable without an answer.
        assert!(
            ours.len() == done * 3 || ours.len() == (done + 1) * 3,
            "{done} {}",
            ours.len()
        );
        place = server.stop().0;
    }
    assert!(acknowledged > 0);
    place.succeed(&["check"], "");
}

/// Secrets and locks are changed with everything else or not at all, each update on what those before it have come to.
#[tokio::test]
async fn secrets_and_locks_are_settled_with_their_transaction() {
    const CAT: &str = "uid=cat,ou=people,dc=example,dc=com";
    const TOM: &str = "uid=tom,ou=people,dc=example,dc=com";
    let server = general::place("secrets = 2\n").serve();
    let mut manager = general::manager(&server).await;
    let person = |secret: &'static str| {
        vec![
            ("objectClass", HashSet::from(["inetOrgPerson"])),
            ("cn", HashSet::from(["Cat"])),
            ("sn", HashSet::from(["Cat"])),
            ("userPassword", HashSet::from([secret])),
        ]
    };
    let queue = async |ldap: &mut Ldap, id: &[u8], dn: &str, change: Mod<&'static str>| {
        ldap.with_controls(within(id))
            .modify(dn, vec![change])
            .await
            .unwrap()
            .rc
    };
    let secret = |value: &'static str| Mod::Add("userPassword", HashSet::from([value]));
    let locked = || Mod::Replace("pwdAccountLockedTime", HashSet::from(["000001010000Z"]));
    // All of it, or nothing: of an entry that is there, and of one that is new.
    for commits in [false, true] {
        let ann = general::bound(&server, general::ANN, "ann-1").await;
        let id = start(&mut manager).await;
        let added = manager
            .with_controls(within(&id))
            .add(CAT, person("cat-1"))
            .await
            .unwrap();
        assert_eq!(added.rc, 0);
        assert_eq!(queue(&mut manager, &id, CAT, secret("cat-2")).await, 0);
        let renamed = manager.with_controls(within(&id)).modifydn(CAT, "uid=tom", true, None);
        assert_eq!(renamed.await.unwrap().rc, 0);
        // The third is one too many, and the first is known to be there.
        if !commits {
            assert_eq!(queue(&mut manager, &id, TOM, secret("cat-3")).await, 0);
        }
        let replaced = Mod::Replace("userPassword", HashSet::from(["ann-2"]));
        assert_eq!(queue(&mut manager, &id, general::ANN, replaced).await, 0);
        let ended = end(&mut manager, true, &id).await.0;
        assert_eq!(ended, if commits { 0 } else { u32::from(ADMIN_LIMIT) });
        let mut ann = ann;
        assert_eq!(ann.extended(ldap3::exop::WhoAmI).await.is_err(), commits);
    }
    for (dn, secret, code) in [
        (TOM, "cat-1", 0),
        (TOM, "cat-2", 0),
        (CAT, "cat-1", 49),
        (general::ANN, "ann-1", 49),
        (general::ANN, "ann-2", 0),
    ] {
        assert_eq!(general::bind(&server, dn, secret).await.1, code, "{dn} {secret}");
    }
    // A name that is taken anew has none of the secrets before, and its schema is looked at so.
    let id = start(&mut manager).await;
    assert_eq!(manager.with_controls(within(&id)).delete(TOM).await.unwrap().rc, 0);
    let plain = vec![("objectClass", HashSet::from(["account"]))];
    let added = manager.with_controls(within(&id)).add(TOM, plain).await.unwrap();
    assert_eq!(added.rc, 0);
    assert_eq!(queue(&mut manager, &id, general::ANN, locked()).await, 0);
    assert_eq!(end(&mut manager, true, &id).await, (0, None));
    for dn in [TOM, general::ANN] {
        for secret in ["cat-1", "ann-2"] {
            assert_eq!(general::bind(&server, dn, secret).await.1, 49, "{dn} {secret}");
        }
    }
    // What is refused is refused at its place; who may not set secrets sets none here.
    let (place, _) = server.stop();
    let server = place.serve();
    assert_eq!(general::bind(&server, general::ANN, "ann-2").await.1, 49, "locked");
    let mut manager = general::bound(&server, general::MANAGER, "secret").await;
    let unlocked = vec![Mod::Delete("pwdAccountLockedTime", HashSet::new())];
    assert_eq!(general::modify(&mut manager, general::ANN, unlocked).await, 0);

    // One's own, with the value before; the connection goes on.
    let mut ann = general::bound(&server, general::ANN, "ann-2").await;
    let own = |old: &'static str| {
        vec![
            Mod::Delete("userPassword", HashSet::from([old])),
            Mod::Add("userPassword", HashSet::from(["ann-3"])),
        ]
    };
    for (old, code) in [("wrong", UNWILLING), ("ann-2", 0)] {
        let id = start(&mut ann).await;
        let queued = ann.with_controls(within(&id)).modify(general::ANN, own(old)).await;
        assert_eq!(queued.unwrap().rc, 0);
        assert_eq!(end(&mut ann, true, &id).await.0, code, "{old}");
    }
    assert_eq!(general::who(&mut ann).await, format!("dn:{}", general::ANN));
    general::bound(&server, general::ANN, "ann-3").await;
}

/// An application's secret goes with its account, and is none of the entry's that moved away from there.
#[tokio::test]
async fn what_an_account_knew_is_no_secret_of_the_entry_that_it_became() {
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    let above = format!("ou=Applications,{}", general::BASE);
    let unit = [("objectClass", &["organizationalUnit"][..])];
    assert_eq!(general::add(&mut manager, &above, &unit).await.rc, 0);
    let app = format!("cn=app,{above}");
    let account = vec![
        ("objectClass", HashSet::from(["nhsdirAccount", "person"])),
        ("cn", HashSet::from(["app"])),
        ("sn", HashSet::from(["app"])),
        ("userPassword", HashSet::from(["of the application"])),
    ];
    let added = manager.add(&app, account).await.unwrap();
    assert_eq!(added.rc, 0, "{added}");
    general::bound(&server, &app, "of the application").await;
    let id = start(&mut manager).await;
    let moved = manager
        .with_controls(within(&id))
        .modifydn(&above, "ou=moved", true, None);
    assert_eq!(moved.await.unwrap().rc, 0);
    let app = format!("cn=app,ou=moved,{}", general::BASE);
    let secret = vec![Mod::Add("userPassword", HashSet::from(["of the entry"]))];
    let given = manager.with_controls(within(&id)).modify(&app, secret).await.unwrap();
    assert_eq!(given.rc, 0);
    assert_eq!(end(&mut manager, true, &id).await, (0, None));
    general::bound(&server, &app, "of the entry").await;
    assert_eq!(general::bind(&server, &app, "of the application").await.1, 49);
}
