//! Relax Rules (1.3.6.1.4.1.4203.666.5.12, `-e relax` of OpenLDAP's tools): entries are restored as they were, by administrators alone.

use crate::server::{BASE, Place, ZOE, found, set};
use crate::{general, sync, transactions};
use ldap3::controls::{RawControl, RefreshMode};
use ldap3::{Mod, Scope, SearchEntry};
use std::collections::HashSet;

const OID: &str = "1.3.6.1.4.1.4203.666.5.12";
const DN: &str = "cn=1,o=nhs";
const UUID: &str = "597ae2f6-16a6-1027-98f4-d28b5365dc14";
const GIVEN: [(&str, &str); 5] = [
    ("createTimestamp", "20010203040506Z"),
    ("creatorsName", "cn=a,dc=elsewhere"),
    ("modifyTimestamp", "20020203040506Z"),
    ("modifiersName", "cn=b,dc=elsewhere"),
    ("entryUUID", UUID),
];
const CSN: (&str, &str) = ("entryCSN", "20210102030405.000017Z#000000#000#000000");

fn relax() -> RawControl {
    RawControl {
        ctype: OID.to_owned(),
        crit: true,
        val: None,
    }
}

fn device(cn: &'static str, more: &[(&'static str, &'static str)]) -> Vec<(&'static str, HashSet<&'static str>)> {
    let mut attributes = vec![("objectClass", set(&["device"])), ("cn", set(&[cn]))];
    attributes.extend(more.iter().map(|(name, value)| (*name, set(&[value]))));
    attributes
}

fn kept(entries: &[SearchEntry]) -> Vec<String> {
    let of = |name: &str| {
        entries[0]
            .attrs
            .get(name)
            .map_or(String::new(), |values| values.join(" "))
    };
    GIVEN.iter().map(|(name, _)| of(name)).collect()
}

#[tokio::test]
async fn an_entry_is_added_as_it_was() {
    let server = Place::filled().serve();
    let (mut admin, mut writer) = (server.bound("administrator").await, server.bound("writer").await);
    let refused = writer
        .with_controls(relax())
        .add(DN, device("1", &GIVEN))
        .await
        .unwrap();
    assert_eq!(refused.rc, 50, "{refused}");
    assert_eq!(
        admin.add(DN, device("1", &GIVEN)).await.unwrap().rc,
        19,
        "without the control"
    );
    let done = admin.with_controls(relax()).add(DN, device("1", &GIVEN)).await.unwrap();
    assert_eq!(done.rc, 0, "{done}");
    let filter = format!("(entryUUID={UUID})");
    let entries = found(&mut admin, BASE, Scope::Subtree, &filter, &["+"]).await;
    assert_eq!(kept(&entries), GIVEN.map(|(_, value)| value));
    // What is in use, is not to be kept, or is not opened.
    for (given, code) in [
        (("entryUUID", UUID), 19),
        (("entryUUID", "597ae2f6"), 21),
        (("createTimestamp", "yesterday"), 21),
        (("createTimestamp;x-a", "20010203040506Z"), 19),
        (CSN, 19),
        (("structuralObjectClass", "device"), 19),
        (("hasSubordinates", "TRUE"), 19),
        (("memberOf", "cn=Ward staff,ou=Lists,o=nhs"), 19),
        (("pwdChangedTime", "20010203040506Z"), 19),
        (("pwdFailureTime", "20010203040506Z"), 19),
    ] {
        let answer = admin.with_controls(relax()).add("cn=2,o=nhs", device("2", &[given]));
        let code_of = answer.await.unwrap().rc;
        assert!(
            code_of == code || code_of == 17 && given.0.contains(";x-"),
            "{given:?}: {code_of}"
        );
    }
    // Who gives nothing that is kept by the server needs no right for it.
    let plain = writer
        .with_controls(relax())
        .add("cn=3,o=nhs", device("3", &[]))
        .await
        .unwrap();
    assert_eq!(plain.rc, 0);

    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    assert!(
        audit
            .lines()
            .any(|line| line.contains("relaxed rules") && line.contains("cn=1,"))
    );
    place.succeed(&["check"], "");
    let secret = place.account("again", "administrator");
    let server = place.serve();
    let mut admin = server.connect().await;
    admin.simple_bind("again", &secret).await.unwrap().success().unwrap();
    let entries = found(&mut admin, BASE, Scope::Subtree, &filter, &["+"]).await;
    assert_eq!(kept(&entries), GIVEN.map(|(_, value)| value));
}

/// What is given stands, and what is not is said by the server.
#[tokio::test]
async fn a_modify_says_who_and_when() {
    let server = Place::filled().serve();
    let (mut admin, mut writer) = (server.bound("administrator").await, server.bound("writer").await);
    let done = admin.with_controls(relax()).add(DN, device("1", &GIVEN)).await.unwrap();
    assert_eq!(done.rc, 0, "{done}");
    let changes = vec![
        Mod::Replace("createTimestamp", set(&["20030203040506Z"])),
        Mod::Delete("modifyTimestamp", set(&["20020203040506Z"])),
        Mod::Add("modifyTimestamp", set(&["20040203040506Z"])),
    ];
    assert_eq!(admin.modify(DN, changes.clone()).await.unwrap().rc, 19);
    let refused = writer.with_controls(relax()).modify(DN, changes.clone()).await.unwrap();
    assert_eq!(refused.rc, 50);
    let done = admin.with_controls(relax()).modify(DN, changes).await.unwrap();
    assert_eq!(done.rc, 0, "{done}");
    let entries = found(&mut admin, DN, Scope::Base, "(createTimestamp=20030203040506Z)", &["+"]).await;
    let by = "cn=administrator,ou=Applications,o=nhs";
    assert_eq!(
        kept(&entries),
        ["20030203040506Z", GIVEN[1].1, "20040203040506Z", by, UUID]
    );
    for change in [
        Mod::Replace("entryUUID", set(&["597ae2f6-16a6-1027-98f4-d28b5365dc15"])),
        Mod::Delete("createTimestamp", set(&[])),
        Mod::Add("createTimestamp", set(&["20040203040506Z"])),
        Mod::Replace("pwdChangedTime", set(&["20040203040506Z"])),
        Mod::Replace("entryCSN", set(&[CSN.1])),
    ] {
        let answer = admin.with_controls(relax()).modify(DN, vec![change]).await.unwrap();
        assert_eq!(answer.rc, 19, "{answer}");
    }
    let entries = found(&mut admin, DN, Scope::Base, "(objectClass=device)", &["*", "+"]).await;
    assert_eq!(kept(&entries)[0], "20030203040506Z");
}

/// An entry that was deleted comes back with its entryUUID: who follows is told, whatever time it gives.
#[tokio::test]
async fn a_restored_entry_reaches_who_follows() {
    let server = Place::filled().serve();
    let mut admin = server.bound("administrator").await;
    let (mut copy, _) = sync::both(&server).await;
    let mode = sync::asked(RefreshMode::RefreshAndPersist, None, false);
    let mut stream = sync::begin(&mut copy, mode, "(objectClass=device)").await;
    while !sync::next(&mut stream).await.unwrap().starts_with("present") {}
    for _ in 0..2 {
        let done = admin.with_controls(relax()).add(DN, device("1", &GIVEN)).await.unwrap();
        assert_eq!(done.rc, 0, "{done}");
        assert_eq!(sync::next(&mut stream).await.unwrap(), format!("+{DN}"));
        assert_eq!(admin.delete(DN).await.unwrap().rc, 0);
        let gone = sync::next(&mut stream).await.unwrap();
        assert!(gone.starts_with('-'), "{gone}");
    }
}

/// Whoever a rule of a general directory makes an administrator is one here too.
#[tokio::test]
async fn the_manager_relaxes_rules() {
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    let mut ann = general::bound(&server, general::ANN, "ann-1").await;
    let change = || vec![Mod::Replace("createTimestamp", set(&["20030203040506Z"]))];
    let refused = ann.with_controls(relax()).modify(general::ANN, change()).await.unwrap();
    assert_eq!(refused.rc, 50);
    let done = manager
        .with_controls(relax())
        .modify(general::ANN, change())
        .await
        .unwrap();
    assert_eq!(done.rc, 0, "{done}");
    general::bound(&server, general::ANN, "ann-1").await;
}

/// Of two entries of a transaction the second cannot have the first one's entryUUID; one that is gone within it gives its own back.
#[tokio::test]
async fn entries_of_a_transaction_share_no_uuid() {
    let server = Place::filled().serve();
    let mut admin = server.bound("administrator").await;
    for (deletes, code) in [(false, 19), (true, 0)] {
        let id = transactions::start(&mut admin).await;
        let controls = || vec![relax(), transactions::within(&id)];
        let first = admin
            .with_controls(controls())
            .add(DN, device("1", &GIVEN))
            .await
            .unwrap();
        assert_eq!(first.rc, 0);
        if deletes {
            let gone = admin.with_controls(transactions::within(&id)).delete(DN).await.unwrap();
            assert_eq!(gone.rc, 0);
        }
        let second = admin.with_controls(controls()).add("cn=2,o=nhs", device("2", &GIVEN));
        assert_eq!(second.await.unwrap().rc, 0);
        assert_eq!(transactions::end(&mut admin, true, &id).await.0, code);
    }
    let filter = format!("(entryUUID={UUID})");
    assert_eq!(
        found(&mut admin, BASE, Scope::Subtree, &filter, &["1.1"]).await.len(),
        1
    );
}

/// As with slapd, relaxed rules let an administrator add what is obsolete and take a unique value twice; others are held to both.
#[tokio::test]
async fn what_is_obsolete_or_unique_is_let_through() {
    let place =
        Place::filled().with("[integrity]\nunique = [{ attribute = \"mail\" }]\n[schema]\nfiles = [\"old.schema\"]\n");
    let schema = "objectclass ( 1.3.6.1.4.1.32473.1.9 NAME 'oldThing' OBSOLETE SUP top AUXILIARY MAY ( mail $ oldName ) )\n\
        attributetype ( 1.3.6.1.4.1.32473.1.8 NAME 'oldName' OBSOLETE EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n";
    std::fs::write(place.data().join("old.schema"), schema).unwrap();
    let server = place.serve();
    let mut admin = server.bound("administrator").await;
    let mut writer = server.bound("writer").await;
    let taken = ("mail", "ann.oneill-smith@example.nhs.uk");
    let old = ("oldName", "x");
    let classes = || ("objectClass", set(&["device", "oldThing"]));
    for (more, code) in [(taken, 65), (old, 19)] {
        let entry = || [device("1", &[more]), vec![classes()]].concat();
        let entry = || {
            let mut entry = entry();
            entry.remove(0);
            entry
        };
        assert_eq!(admin.add(DN, entry()).await.unwrap().rc, code);
        assert_eq!(writer.with_controls(relax()).add(DN, entry()).await.unwrap().rc, code);
        let done = admin.with_controls(relax()).add(DN, entry()).await.unwrap();
        assert_eq!(done.rc, 0, "{done}");
        assert_eq!(admin.delete(DN).await.unwrap().rc, 0);
    }
    let again = || vec![Mod::Replace("mail", set(&[taken.1]))];
    assert_eq!(admin.modify(ZOE, again()).await.unwrap().rc, 19);
    assert_eq!(writer.with_controls(relax()).modify(ZOE, again()).await.unwrap().rc, 19);
    assert_eq!(admin.with_controls(relax()).modify(ZOE, again()).await.unwrap().rc, 0);
}

/// What is kept beside a secret: set by administrators alone, of what has one, and it holds.
#[tokio::test]
async fn an_administrator_says_what_is_kept_beside_a_secret() {
    let policy = "cn=default,dc=example,dc=com";
    let settings = format!("[password_policy]\nenabled = true\ndefault = \"{policy}\"");
    let server = general::place(&settings).serve();
    let mut manager = general::manager(&server).await;
    let rules = vec![
        ("objectClass", set(&["device", "pwdPolicy"])),
        ("pwdAttribute", set(&["userPassword"])),
        ("pwdMaxAge", set(&["86400"])),
        ("pwdGraceAuthNLimit", set(&["2"])),
        ("pwdInHistory", set(&["2"])),
        ("pwdLockout", set(&["TRUE"])),
        ("pwdMaxFailure", set(&["3"])),
    ];
    assert_eq!(manager.add(policy, rules).await.unwrap().rc, 0);
    let mut ann = general::bound(&server, general::ANN, "ann-1").await;
    const OLD: &str = "20200101000000Z";
    const LATER: &str = "20200101000001.5Z";
    let aged = || vec![Mod::Replace("pwdChangedTime", set(&[OLD]))];
    assert_eq!(manager.modify(general::ANN, aged()).await.unwrap().rc, 19, "no control");
    let refused = ann.with_controls(relax()).modify(general::ANN, aged()).await.unwrap();
    assert_eq!(refused.rc, 50, "no administrator");
    let nobody = manager.with_controls(relax()).modify("dc=example,dc=com", aged());
    assert_eq!(nobody.await.unwrap().rc, 19, "no secret");

    let binds = async |secret: &str| {
        let mut ldap = server.connect().await;
        ldap.simple_bind(general::ANN, secret).await.unwrap().rc
    };
    let mut change = async |changes: Vec<Mod<&'static str>>| {
        let answer = manager.with_controls(relax()).modify(general::ANN, changes).await;
        answer.unwrap().rc
    };
    assert_eq!(change(aged()).await, 0);
    assert_eq!(
        (binds("ann-1").await, binds("ann-1").await, binds("ann-1").await),
        (0, 0, 49)
    );
    let grace = "pwdGraceUseTime";
    assert_eq!(change(vec![Mod::Replace(grace, set(&[OLD]))]).await, 0);
    assert_eq!(change(vec![Mod::Add(grace, set(&[OLD]))]).await, 20);
    assert_eq!(change(vec![Mod::Delete(grace, set(&[LATER]))]).await, 16);
    assert_eq!((binds("ann-1").await, binds("ann-1").await), (0, 49), "one is left");
    assert_eq!(
        change(vec![Mod::Delete(grace, set(&[])), Mod::Add(grace, set(&[OLD, LATER]))]).await,
        0
    );
    assert_eq!(binds("ann-1").await, 49, "none is left");
    // Nobody knows how old it is: it does not age.
    assert_eq!(change(vec![Mod::Delete("pwdChangedTime", set(&[]))]).await, 0);
    assert_eq!(change(vec![Mod::Delete("pwdChangedTime", set(&[]))]).await, 16);
    assert_eq!(binds("ann-1").await, 0);

    let failures = "pwdFailureTime";
    assert_eq!(change(vec![Mod::Add(failures, set(&[OLD, LATER]))]).await, 0);
    assert_eq!(
        (binds("wrong").await, binds("ann-1").await),
        (49, 49),
        "that was the third"
    );
    assert_eq!(change(vec![Mod::Delete("pwdAccountLockedTime", set(&[]))]).await, 0);
    let until = Mod::Replace("pwdAccountTmpLockoutEnd", set(&["20990101000000Z"]));
    assert_eq!(change(vec![until]).await, 0);
    assert_eq!(binds("ann-1").await, 49);
    assert_eq!(change(vec![Mod::Replace("pwdAccountTmpLockoutEnd", set(&[]))]).await, 0);
    assert_eq!(binds("ann-1").await, 0);

    // "given-1".
    let digest = "{SSHA}WbqWa6P0YM3sdqmFSG9PgkssrrExMjM0NTY3OA==";
    let past: &'static str = format!("{OLD}#1.3.6.1.4.1.1466.115.121.1.40#{}#{digest}", digest.len()).leak();
    let history = "pwdHistory";
    assert_eq!(change(vec![Mod::Replace(history, set(&[past]))]).await, 0);
    let mut ann = general::bound(&server, general::ANN, "ann-1").await;
    let mut chosen = async |secret: &'static str| {
        let exchange = vec![
            Mod::Delete("userPassword", set(&["ann-1"])),
            Mod::Add("userPassword", set(&[secret])),
        ];
        ann.modify(general::ANN, exchange).await.unwrap().rc
    };
    assert_eq!(chosen("given-1").await, 19);
    for (name, value, code) in [
        (history, "given-1", 21),
        (history, "20200101000000Z#1.2#9#{SASL}eve", 21),
        (failures, "yesterday", 21),
        ("pwdLastSuccess", OLD, 19),
        ("pwdChangedTime;x-a", OLD, 19),
    ] {
        assert_eq!(
            change(vec![Mod::Add(name, set(&[value]))]).await,
            code,
            "{name} {value}"
        );
    }
    assert_eq!(
        change(vec![Mod::Replace("pwdChangedTime", set(&[OLD, "20210101000000Z"]))]).await,
        19
    );
    assert_eq!(change(vec![Mod::Delete(history, set(&[past]))]).await, 0);
    assert_eq!(chosen("given-1").await, 0);

    // With a secret, in one request: what is given stands.
    let secret = Mod::Replace("userPassword", set(&["ann-5"]));
    assert_eq!(change([vec![secret], aged()].concat()).await, 0);
    let mut manager = general::bound(&server, general::MANAGER, "secret").await;
    let mut of = async |dn: &str, name: &str| {
        let mut entry = found(&mut manager, dn, Scope::Base, "(objectClass=*)", &[name, history]).await;
        assert!(!entry[0].attrs.contains_key(history), "nobody reads it");
        entry.remove(0).attrs.remove(name).unwrap_or_default()
    };
    assert_eq!(of(general::ANN, "pwdChangedTime").await, [OLD]);
    let eve = "uid=eve,ou=people,dc=example,dc=com";
    let entry = |more: &[(&'static str, &'static str)]| {
        let mut entry = vec![
            ("objectClass", set(&["inetOrgPerson"])),
            ("cn", set(&["Eve"])),
            ("sn", set(&["X"])),
        ];
        entry.extend(more.iter().map(|(name, value)| (*name, set(&[value]))));
        entry
    };
    let state = [(grace, LATER), (history, past), ("pwdChangedTime", OLD)];
    let secret = [("userPassword", digest)];
    let mut manager = general::bound(&server, general::MANAGER, "secret").await;
    let none = manager.with_controls(relax()).add(eve, entry(&state)).await.unwrap();
    assert_eq!(none.rc, 19, "no secret");
    let all = [&state[..], &secret].concat();
    assert_eq!(manager.add(eve, entry(&all)).await.unwrap().rc, 19, "no control");
    let done = manager.with_controls(relax()).add(eve, entry(&all)).await.unwrap();
    assert_eq!(done.rc, 0, "{done}");
    assert_eq!(of(eve, "pwdChangedTime").await, [OLD]);
    assert_eq!(of(eve, grace).await, ["20200101000001.500000Z"]);
}

/// In a transaction it is set once for each entry: what updates before it leave is known at the end.
#[tokio::test]
async fn what_is_kept_beside_a_secret_is_set_once_in_a_transaction() {
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    let grace = |times: &[&'static str]| vec![Mod::Add("pwdGraceUseTime", set(times))];
    const TIMES: [&str; 2] = ["20200101000000Z", "20200101000001Z"];
    for (changes, code) in [
        (vec![grace(&TIMES[..1]), grace(&TIMES[1..])], 53),
        (
            vec![vec![Mod::Replace("userPassword", set(&["ann-2"]))], grace(&TIMES)],
            53,
        ),
        (vec![grace(&TIMES)], 0),
    ] {
        let id = transactions::start(&mut manager).await;
        for change in changes {
            let controls = vec![relax(), transactions::within(&id)];
            let kept = manager
                .with_controls(controls)
                .modify(general::ANN, change)
                .await
                .unwrap();
            assert_eq!(kept.rc, 0);
        }
        assert_eq!(transactions::end(&mut manager, true, &id).await.0, code);
    }
    let kept = found(
        &mut manager,
        general::ANN,
        Scope::Base,
        "(objectClass=*)",
        &["pwdGraceUseTime"],
    )
    .await;
    assert_eq!(kept[0].attrs["pwdGraceUseTime"].len(), 2);
    general::bound(&server, general::ANN, "ann-1").await;
}

/// Where no policy counts failures, they are evidence of who failed.
#[tokio::test]
async fn failures_that_no_policy_counts_stay() {
    let server = general::place("").serve();
    let mut manager = general::manager(&server).await;
    let changes = vec![Mod::Delete("pwdFailureTime", set(&[]))];
    let answer = manager
        .with_controls(relax())
        .modify(general::ANN, changes)
        .await
        .unwrap();
    assert_eq!(answer.rc, 53, "{answer}");
}
