//! Content synchronisation (RFC 4533) as its messages have it. `tests/interop/syncrepl.py` has slapd as the consumer.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found};
use crate::transactions;
use ldap3::controls::{
    Control, EntryState, RawControl, RefreshMode, SyncDone, SyncInfo, SyncRequest, SyncState, parse_syncinfo,
};
use ldap3::{Ldap, LdapResult, Mod, Scope, SearchEntry, SearchStream};
use std::collections::HashSet;
use std::time::Duration;

const DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
pub const PERSON: &str = "(objectClass=inetOrgPerson)";

/// What came of a poll: `+dn` for an entry, `-dn` for one that is gone, `=n` for n unchanged.
struct Poll {
    lines: Vec<String>,
    result: LdapResult,
    cookie: Vec<u8>,
    deletes: bool,
}

pub type Stream = SearchStream<'static, &'static str, Vec<&'static str>>;

pub fn asked(mode: RefreshMode, cookie: Option<&[u8]>, reload_hint: bool) -> RawControl {
    SyncRequest {
        mode,
        cookie: cookie.map(<[u8]>::to_vec),
        reload_hint,
    }
    .into()
}

pub fn control<'c>(controls: &'c [Control], oid: &str) -> Option<&'c RawControl> {
    controls.iter().map(|control| &control.1).find(|raw| raw.ctype == oid)
}

pub async fn begin(ldap: &mut Ldap, control: RawControl, filter: &'static str) -> Stream {
    ldap.with_controls(control)
        .streaming_search(BASE, Scope::Subtree, filter, vec!["cn", "mail", "ou"])
        .await
        .unwrap()
}

/// The next message; `None` at the end.
pub async fn next(stream: &mut Stream) -> Option<String> {
    let entry = stream.next().await.unwrap()?;
    if entry.is_intermediate() {
        let name = |cookie: Option<Vec<u8>>| {
            if cookie.is_some() {
                "with cookie"
            } else {
                "without cookie"
            }
        };
        return Some(match parse_syncinfo(entry) {
            SyncInfo::NewCookie(_) => "cookie".to_owned(),
            SyncInfo::RefreshDelete { cookie, refresh_done } => format!("deleted {refresh_done} {}", name(cookie)),
            SyncInfo::RefreshPresent { cookie, refresh_done } => format!("present {refresh_done} {}", name(cookie)),
            SyncInfo::SyncIdSet {
                refresh_deletes,
                sync_uuids,
                ..
            } => format!("={} {refresh_deletes}", sync_uuids.len()),
        });
    }
    let state: SyncState = control(&entry.1, STATE).expect("a sync state control").parse();
    let is_reference = entry.is_ref();
    assert_eq!(state.entry_uuid.len(), 16);
    let sign = match state.state {
        EntryState::Present => '=',
        EntryState::Add => '+',
        EntryState::Modify => '~',
        EntryState::Delete => '-',
    };
    if is_reference {
        return Some(format!("{sign}{}", ldap3::parse_refs(entry.0).join(" ")));
    }
    let entry = SearchEntry::construct(entry);
    assert_eq!(entry.attrs.is_empty(), sign == '-', "{entry:?}");
    Some(format!("{sign}{}", entry.dn))
}

async fn poll(ldap: &mut Ldap, cookie: Option<&[u8]>, reload_hint: bool) -> Poll {
    poll_for(PERSON, ldap, cookie, reload_hint).await
}

async fn poll_for(filter: &'static str, ldap: &mut Ldap, cookie: Option<&[u8]>, reload_hint: bool) -> Poll {
    let mut stream = begin(ldap, asked(RefreshMode::RefreshOnly, cookie, reload_hint), filter).await;
    let mut lines = Vec::new();
    while let Some(line) = next(&mut stream).await {
        lines.push(line);
    }
    lines.sort();
    let result = stream.finish().await;
    let done: Option<SyncDone> = control(&result.ctrls, DONE).map(RawControl::parse);
    let (cookie, deletes) = done.map_or((Vec::new(), false), |done| {
        (done.cookie.unwrap_or_default(), done.refresh_deletes)
    });
    Poll {
        lines,
        result,
        cookie,
        deletes,
    }
}

async fn describe(ldap: &mut Ldap, dn: &str, text: &str) {
    let changes = vec![Mod::Replace("description", HashSet::from([text]))];
    ldap.modify(dn, changes).await.unwrap().success().unwrap();
}

/// A server and a connection of an account that may synchronise, and one that writes.
pub async fn both(server: &Server) -> (Ldap, Ldap) {
    let secret = server.place.succeed(
        &[
            "account",
            "create",
            "copy",
            "--role",
            "reader",
            "--profile",
            "full",
            "--json",
        ],
        "",
    );
    let secret: serde_json::Value = serde_json::from_str(&secret).unwrap();
    let mut copy = server.connect().await;
    copy.simple_bind("copy", secret["secret"].as_str().unwrap())
        .await
        .unwrap()
        .success()
        .unwrap();
    (copy, server.bound("writer").await)
}

#[tokio::test]
async fn a_poll_gives_all_and_then_what_changed() {
    let server = Place::filled().serve();
    let (mut copy, mut feed) = both(&server).await;
    let first = poll(&mut copy, None, false).await;
    assert_eq!((first.result.rc, first.deletes), (0, false));
    assert_eq!(first.lines, [ANN, ZOE, BOB].map(|dn| format!("+{dn}")));
    let cookie = String::from_utf8(first.cookie.clone()).unwrap();
    assert!(
        cookie.starts_with("rid=000,csn=2") && cookie.ends_with("Z#000000#000#000000"),
        "{cookie}"
    );
    let nothing = poll(&mut copy, Some(&first.cookie), false).await;
    assert_eq!((nothing.lines.len(), nothing.deletes), (0, true));

    describe(&mut feed, ANN, "changed").await;
    feed.delete(BOB).await.unwrap().success().unwrap();
    feed.modifydn(ZOE, "uid=2", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    let second = poll(&mut copy, Some(&first.cookie), false).await;
    assert_eq!((second.result.rc, second.deletes), (0, true));
    assert_eq!(
        second.lines,
        [
            format!("+{ANN}"),
            "+uid=2,ou=People,o=nhs".to_owned(),
            format!("-{BOB}")
        ]
    );
}

/// The accounts `copy` and `feed` of a place whose server does not run: the former follows with this profile.
fn accounts(place: &Place, profile: &str) -> [String; 2] {
    let create = [
        "account",
        "create",
        "copy",
        "--role",
        "reader",
        "--profile",
        profile,
        "--json",
    ];
    let secret: serde_json::Value = serde_json::from_str(&place.succeed(&create, "")).unwrap();
    [
        secret["secret"].as_str().unwrap().to_owned(),
        place.account("feed", "writer"),
    ]
}

async fn bound_both(server: &Server, secrets: &[String; 2]) -> [Ldap; 2] {
    let [mut copy, mut feed] = [server.connect().await, server.connect().await];
    copy.simple_bind("copy", &secrets[0]).await.unwrap().success().unwrap();
    feed.simple_bind("feed", &secrets[1]).await.unwrap().success().unwrap();
    [copy, feed]
}

/// Who went is remembered over kills, stops and compactions; what left the content in another way is told too.
#[tokio::test]
async fn deletions_outlive_a_restart() {
    const IN: &str = "(&(objectClass=inetOrgPerson)(!(description=out)))";
    let place = Place::filled();
    let secrets = accounts(&place, "writer");
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let first = poll_for(IN, &mut copy, None, false).await;
    assert_eq!(first.lines.len(), 3);
    feed.delete(BOB).await.unwrap().success().unwrap();
    describe(&mut feed, ANN, "changed").await;
    let place = server.kill();

    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let second = poll_for(IN, &mut copy, Some(&first.cookie), false).await;
    assert_eq!(second.lines, [format!("+{ANN}"), "=1 true".to_owned()]);
    assert!(second.deletes && second.result.rc == 0);
    // A name that is free by now is another entry's.
    let person = vec![
        ("objectClass", HashSet::from(["inetOrgPerson"])),
        ("cn", HashSet::from(["New Bob"])),
        ("sn", HashSet::from(["Bob"])),
    ];
    feed.add(BOB, person).await.unwrap().success().unwrap();
    let folk = "ou=People,o=nhs";
    feed.modifydn(folk, "ou=Folk", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    let [ann, zoe, bob] = [ANN, ZOE, BOB].map(|dn| dn.replace("ou=People", "ou=Folk"));
    describe(&mut feed, &zoe, "out").await;
    let (place, _) = server.stop();
    place.succeed(&["compact"], "");

    let server = place.serve();
    let [mut copy, feed] = bound_both(&server, &secrets).await;
    let moved = poll_for(IN, &mut copy, Some(&second.cookie), false).await;
    // Zoe left the content; Bob and Ann are told of where they are, not that they went. The rest of what moved is told in vain.
    assert_eq!(moved.lines[..2], [format!("+{ann}"), format!("+{bob}")]);
    assert_eq!((moved.lines.len(), moved.deletes), (3, true));
    assert_eq!(moved.lines[2], "=2 true", "Zoe and the organizational unit");
    let from_the_first = poll_for(IN, &mut copy, Some(&first.cookie), false).await;
    assert_eq!(from_the_first.lines[2], "=3 true", "and Bob that was");
    let nothing = poll_for(IN, &mut copy, Some(&moved.cookie), false).await;
    assert_eq!((nothing.lines.len(), nothing.deletes), (0, true));

    // Following goes on from there.
    let (place, _) = server.stop();
    let server = place.serve();
    let [mut copy, mut feed_again] = bound_both(&server, &secrets).await;
    drop(feed);
    let control = asked(RefreshMode::RefreshAndPersist, Some(&second.cookie), false);
    let mut stream = begin(&mut copy, control, IN).await;
    assert_eq!(next(&mut stream).await.unwrap(), "=2 true");
    for _ in 0..2 {
        assert!(next(&mut stream).await.unwrap().starts_with('+'));
    }
    assert_eq!(next(&mut stream).await.unwrap(), "deleted true with cookie");
    feed_again.delete(&bob).await.unwrap().success().unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), format!("-{bob}"));
}

/// What is there is told in the order of names, so over a restart whoever's name before has a new owner goes first, and comes again;
/// names that are swapped and passed on, and what lies below them, do no harm.
#[tokio::test]
async fn names_that_have_new_owners_are_free_before_they_are_told() {
    let place = Place::filled();
    let secrets = accounts(&place, "writer");
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let unit = |name: &'static str| {
        vec![
            ("objectClass", HashSet::from(["organizationalUnit"])),
            ("ou", HashSet::from([name])),
        ]
    };
    let units = "(objectClass=organizationalUnit)";
    for (name, dn) in [
        ("a", "ou=a,o=nhs"),
        ("b", "ou=b,o=nhs"),
        ("below", "ou=below,ou=a,o=nhs"),
        ("c", "ou=c,o=nhs"),
        ("moved", "ou=moved,ou=c,o=nhs"),
        ("d", "ou=d,o=nhs"),
    ] {
        feed.add(dn, unit(name)).await.unwrap().success().unwrap();
    }
    let before = poll_for(units, &mut copy, None, false).await;
    let rename = [
        // a and b swap, with what is below a.
        ("ou=a,o=nhs", "ou=t", None),
        ("ou=b,o=nhs", "ou=a", None),
        ("ou=t,o=nhs", "ou=b", None),
        // What was below c is elsewhere, and c is gone; d is only renamed.
        ("ou=moved,ou=c,o=nhs", "ou=moved", Some("o=nhs")),
        ("ou=d,o=nhs", "ou=e", None),
    ];
    for (dn, rdn, superior) in rename {
        feed.modifydn(dn, rdn, true, superior).await.unwrap().success().unwrap();
    }
    feed.delete("ou=c,o=nhs").await.unwrap().success().unwrap();
    let (place, _) = server.stop();

    let server = place.serve();
    let [mut copy, _] = bound_both(&server, &secrets).await;
    let control = asked(RefreshMode::RefreshOnly, Some(&before.cookie), false);
    let mut stream = begin(&mut copy, control, units).await;
    let mut lines = Vec::new();
    while let Some(line) = next(&mut stream).await {
        lines.push(line);
    }
    let there = ["a", "b", "below,ou=b", "e", "moved"].map(|name| format!("+ou={name},o=nhs"));
    assert_eq!(
        lines[0], "=5 true",
        "a, b, what was below a, c and what was below it; not d"
    );
    assert_eq!(lines[1..], there);
}

/// Where it is not known what a client was shown, or too long ago, it is told what is there.
#[tokio::test]
async fn what_is_not_known_of_the_past_is_a_present_phase() {
    let place = Place::filled();
    let secrets = accounts(&place, "full");
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let hiding = poll(&mut copy, None, false).await.cookie;
    let seeing = poll(&mut feed, None, false).await.cookie;
    feed.delete(BOB).await.unwrap().success().unwrap();
    let (mut place, _) = server.stop();

    let present = |poll: Poll, unchanged: usize| {
        assert_eq!((poll.result.rc, poll.deletes), (0, false));
        assert_eq!(poll.lines, [format!("={unchanged} false")]);
    };
    // A profile that hides entries: what is hidden now may have been seen then.
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    present(poll(&mut copy, Some(&hiding), false).await, 2);
    assert!(poll(&mut feed, Some(&seeing), false).await.deletes);
    (place, _) = server.stop();

    // Another policy, in which who follows may not see all it saw.
    let policy = "[profile.writer]\nlike = \"writer\"\nexcluded = [\"ou=Services,{suffix}\"]\n";
    std::fs::write(place.data().join("policy.toml"), policy).unwrap();
    let server = place.with("[policy]\nfile = \"policy.toml\"\n").serve();
    let [_, mut feed] = bound_both(&server, &secrets).await;
    present(poll(&mut feed, Some(&seeing), false).await, 2);
    let under_it = poll(&mut feed, Some(&seeing), false).await.cookie;
    (place, _) = server.stop();
    let server = place.serve();
    let [_, mut feed] = bound_both(&server, &secrets).await;
    assert!(poll(&mut feed, Some(&under_it), false).await.deletes);
    (place, _) = server.stop();

    // Nothing is remembered.
    let server = place.with("[store]\ndeletion_bytes = 0\n").serve();
    let [_, mut feed] = bound_both(&server, &secrets).await;
    feed.delete(ZOE).await.unwrap().success().unwrap();
    let (place, _) = server.stop();
    let server = place.serve();
    let [_, mut feed] = bound_both(&server, &secrets).await;
    present(poll(&mut feed, Some(&under_it), false).await, 1);
}

#[tokio::test]
async fn a_cookie_of_no_use_is_said_or_passed_over() {
    let server = Place::filled().serve();
    let (mut copy, _) = both(&server).await;
    let future = b"rid=001,csn=29990101000000.000000Z#000000#000#000000";
    let past = b"rid=001,csn=20000101000000.000000Z#000000#000#000000";
    for cookie in [
        &future[..],
        past,
        b"nonsense",
        b"rid=001,csn=x",
        b"\xff\xfe",
        b"csn=20000101000000.000000Z#000000#001#000000",
    ] {
        let refused = poll(&mut copy, Some(cookie), false).await;
        assert_eq!(refused.result.rc, 4096, "{}", cookie.escape_ascii());
        assert!(refused.lines.is_empty());
        let anew = poll(&mut copy, Some(cookie), true).await;
        assert_eq!((anew.result.rc, anew.lines.len(), anew.deletes), (0, 3, false));
    }
    // A consumer that has nothing yet says only who it is, and is answered as that.
    let begun = poll(&mut copy, Some(b"rid=017,sid=002"), false).await;
    assert_eq!(begun.lines.len(), 3);
    assert!(begun.cookie.starts_with(b"rid=017,csn="));
}

#[tokio::test]
async fn changes_follow_a_refresh_in_order() {
    let server = Place::filled().serve();
    let (mut copy, mut feed) = both(&server).await;
    let mut stream = begin(
        &mut copy.clone(),
        asked(RefreshMode::RefreshAndPersist, None, false),
        "(&(objectClass=inetOrgPerson)(!(description=out)))",
    )
    .await;
    for _ in 0..3 {
        assert!(next(&mut stream).await.unwrap().starts_with('+'));
    }
    assert_eq!(next(&mut stream).await.unwrap(), "present true with cookie");
    describe(&mut feed, ANN, "in").await;
    assert_eq!(next(&mut stream).await.unwrap(), format!("~{ANN}"));
    describe(&mut feed, ANN, "out").await;
    assert_eq!(next(&mut stream).await.unwrap(), format!("-{ANN}"));
    describe(&mut feed, ANN, "still gone").await;
    assert_eq!(next(&mut stream).await.unwrap(), format!("+{ANN}"));
    // Who leaves the directory is gone for those who may not see it, and is not heard of again.
    let hide = |value: &'static str| {
        vec![
            Mod::Replace("nhsdirExDirectory", HashSet::from([value])),
            Mod::Add("objectClass", HashSet::from(["nhsdirPrivacy"])),
        ]
    };
    match feed.modify(BOB, hide("TRUE")).await.unwrap().success() {
        Ok(_) => {}
        Err(error) => panic!("{error}"),
    }
    assert_eq!(next(&mut stream).await.unwrap(), format!("-{BOB}"));
    describe(&mut feed, BOB, "unheard").await;
    feed.delete(BOB).await.unwrap().success().unwrap();
    feed.modifydn("ou=People,o=nhs", "ou=Folk", true, None)
        .await
        .unwrap()
        .success()
        .unwrap();
    let mut moved = vec![next(&mut stream).await.unwrap(), next(&mut stream).await.unwrap()];
    moved.sort();
    assert_eq!(
        moved,
        ["~uid=000000000001,ou=Folk,o=nhs", "~uid=000000000002,ou=Folk,o=nhs"]
    );

    // The connection is of use meanwhile, and afterwards.
    assert_eq!(
        found(&mut copy, BASE, Scope::Base, "(objectClass=*)", &["contextCSN"])
            .await
            .len(),
        1
    );
    let id = stream.ldap_handle().last_id();
    copy.abandon(id).await.unwrap();
    describe(&mut feed, "uid=000000000001,ou=Folk,o=nhs", "after").await;
    assert_eq!(
        found(&mut copy, BASE, Scope::Base, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        1
    );
}

/// A filter of many terms on an entry of many values takes more turns than one; what is told is right all the same.
#[tokio::test]
async fn a_change_that_takes_many_turns_to_judge_is_told_as_it_is() {
    let server = Place::filled().with("[limits]\nturn_candidates = 64\n").serve();
    let (mut copy, mut feed) = both(&server).await;
    let values: Vec<String> = (0..3000).map(|number| format!("value {number}")).collect();
    let all = || values.iter().map(String::as_str).collect::<HashSet<_>>();
    let without = || {
        all()
            .into_iter()
            .filter(|value| *value != "value 2999")
            .collect::<HashSet<_>>()
    };
    let set = |values| vec![Mod::Replace("description", values)];
    let terms: String = (0..50)
        .map(|number| format!("(description=*nothing {number}*)"))
        .collect();
    let filter: &'static str = format!("(&{PERSON}(|{terms}(description=*ue 2999)))").leak();
    let mut stream = begin(&mut copy, asked(RefreshMode::RefreshAndPersist, None, false), filter).await;
    assert_eq!(next(&mut stream).await.unwrap(), "present true with cookie");
    for (values, told) in [(all(), '+'), (without(), '-'), (all(), '+')] {
        feed.modify(ANN, set(values)).await.unwrap().success().unwrap();
        assert_eq!(next(&mut stream).await.unwrap(), format!("{told}{ANN}"));
    }
    let more = vec![Mod::Add("mail", HashSet::from(["more@nhs.example"]))];
    feed.modify(ANN, more).await.unwrap().success().unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), format!("~{ANN}"));
}

#[tokio::test]
async fn a_stop_of_the_server_and_a_change_of_the_account_end_it() {
    let server = Place::filled().serve();
    let (mut copy, mut feed) = both(&server).await;
    let mut stream = begin(
        &mut copy,
        asked(RefreshMode::RefreshAndPersist, None, false),
        "(uid=000000000001)",
    )
    .await;
    next(&mut stream).await.unwrap();
    next(&mut stream).await.unwrap();
    server.place.succeed(&["account", "disable", "copy"], "");
    describe(&mut feed, ANN, "unheard").await;
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(stream.finish().await.rc, 50);

    let mut stream = begin(
        &mut feed,
        asked(RefreshMode::RefreshAndPersist, None, false),
        "(uid=000000000001)",
    )
    .await;
    next(&mut stream).await.unwrap();
    next(&mut stream).await.unwrap();
    let started = std::time::Instant::now();
    let (_, status) = server.stop();
    assert_eq!(status, Some(0));
    assert!(
        started.elapsed().as_secs() < 4,
        "who waits for changes holds no stop back"
    );
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(stream.finish().await.rc, 52);
}

#[tokio::test]
async fn not_everybody_may_synchronise() {
    let server = Place::filled().serve();
    let mut reader = server.bound("reader").await;
    assert_eq!(poll(&mut reader, None, false).await.result.rc, 50);
    let mut nobody = server.connect().await;
    let refused = poll(&mut nobody, None, false).await;
    assert_ne!(refused.result.rc, 0);
    assert!(refused.lines.is_empty());
}

/// A client that does not keep up with what is kept for it is told, and one that comes back with its cookie goes on.
#[tokio::test]
async fn a_full_log_ends_in_a_refresh() {
    let place = Place::filled().with("[limits]\nsync_log_changes = 2\nsync_consumers = 1\n");
    let server = place.serve();
    let (mut copy, mut feed) = both(&server).await;
    let first = poll(&mut copy, None, false).await;
    for number in 0..3 {
        describe(&mut feed, ANN, &number.to_string()).await;
    }
    feed.delete(BOB).await.unwrap().success().unwrap();
    let second = poll(&mut copy, Some(&first.cookie), false).await;
    assert_eq!(
        (second.lines, second.deletes),
        (vec![format!("+{ANN}"), "=1 false".to_owned()], false)
    );
    let mut stream = begin(
        &mut copy,
        asked(RefreshMode::RefreshAndPersist, Some(&second.cookie), false),
        PERSON,
    )
    .await;
    assert_eq!(next(&mut stream).await.unwrap(), "deleted true with cookie");
    assert_eq!(
        poll(&mut feed, None, false).await.result.rc,
        51,
        "one follows, and one may"
    );
}

/// One account does not take the places of others, and gets its own back.
#[tokio::test]
async fn an_account_follows_with_so_many_clients() {
    let place = Place::filled().with("[limits]\nsync_consumers_per_account = 1\n");
    let server = place.serve();
    let (mut copy, mut feed) = both(&server).await;
    let persist = || asked(RefreshMode::RefreshAndPersist, None, false);
    let mut stream = begin(&mut copy, persist(), PERSON).await;
    while !next(&mut stream).await.unwrap().contains(" true ") {}
    assert_eq!(
        poll(&mut copy, None, false).await.result.rc,
        51,
        "another of the same account"
    );
    assert_eq!(
        poll(&mut feed, None, false).await.result.rc,
        0,
        "one of another account"
    );
    let id = stream.ldap_handle().last_id();
    copy.abandon(id).await.unwrap();
    let mut again = 51;
    for _ in 0..100 {
        again = poll(&mut copy, None, false).await.result.rc;
        if again == 0 {
            break;
        }
    }
    assert_eq!(again, 0);
}

/// A cookie is a time that anybody can write down: from it nobody is given what the profile hides by now.
#[tokio::test]
async fn what_is_hidden_by_now_is_not_told_of_the_past() {
    let server = Place::filled().serve();
    let (mut copy, mut feed) = both(&server).await;
    let before = poll(&mut copy, None, false).await.cookie;
    describe(&mut feed, BOB, "about to go").await;
    let change = vec![Mod::Replace("mobile", HashSet::from(["07700 900111"]))];
    feed.modify(ANN, change).await.unwrap().success().unwrap();
    let told = poll(&mut copy, Some(&before), false).await;
    assert_eq!(
        (told.lines, told.deletes),
        ([ANN, BOB].map(|dn| format!("+{dn}")).to_vec(), true)
    );

    let hide = |name: &'static str, value: &'static str| {
        vec![
            Mod::Add("objectClass", HashSet::from(["nhsdirPrivacy"])),
            Mod::Replace(name, HashSet::from([value])),
        ]
    };
    let hidden = feed.modify(ANN, hide("nhsdirHidden", "mobile")).await.unwrap();
    hidden.success().unwrap();
    let mobile = copy
        .with_controls(asked(RefreshMode::RefreshOnly, Some(&before), false))
        .streaming_search(BASE, Scope::Subtree, PERSON, vec!["cn", "mobile"]);
    let mut stream = mobile.await.unwrap();
    let mut entries = 0;
    while let Some(entry) = stream.next().await.unwrap() {
        if !entry.is_intermediate() {
            let entry = SearchEntry::construct(entry);
            entries += 1;
            let number = entry.attrs.get("mobile").map(|values| values[0].as_str());
            assert_ne!(number, Some("07700 900111"), "{entry:?}");
        }
    }
    assert_eq!((entries, stream.finish().await.rc), (2, 0));

    let hidden = feed.modify(BOB, hide("nhsdirExDirectory", "TRUE")).await.unwrap();
    hidden.success().unwrap();
    let told = poll(&mut copy, Some(&before), false).await;
    assert_eq!(
        (told.lines, told.deletes, told.result.rc),
        (vec![format!("+{ANN}"), "=1 false".to_owned()], false, 0)
    );

    // Nor of one that was deleted and is there again, hidden.
    let before = poll(&mut copy, None, false).await.cookie;
    describe(&mut feed, ANN, "about to go").await;
    feed.delete(ANN).await.unwrap().success().unwrap();
    let again = vec![
        ("objectClass", HashSet::from(["inetOrgPerson", "nhsdirPrivacy"])),
        ("cn", HashSet::from(["Ann"])),
        ("sn", HashSet::from(["Smith"])),
        ("nhsdirExDirectory", HashSet::from(["TRUE"])),
    ];
    feed.add(ANN, again).await.unwrap().success().unwrap();
    let told = poll(&mut copy, Some(&before), false).await;
    assert_eq!(
        (told.lines, told.deletes, told.result.rc),
        (vec!["=1 false".to_owned()], false, 0)
    );
}

/// Nobody is told what was so within a transaction alone: not an entry that is hidden at its end, nor a name in between.
#[tokio::test]
async fn a_transaction_is_told_as_what_it_came_to() {
    const NEW: &str = "uid=new,ou=People,o=nhs";
    let server = Place::filled().serve();
    let (mut copy, mut feed) = both(&server).await;
    let before = poll(&mut copy, None, false).await.cookie;
    let mut stream = begin(
        &mut copy,
        asked(RefreshMode::RefreshAndPersist, Some(&before), false),
        PERSON,
    )
    .await;
    assert_eq!(next(&mut stream).await.unwrap(), "deleted true with cookie");
    let id = transactions::start(&mut feed).await;
    let within = transactions::within(&id);
    let person = vec![
        ("objectClass", HashSet::from(["inetOrgPerson", "extensibleObject"])),
        ("cn", HashSet::from(["New"])),
        ("sn", HashSet::from(["New"])),
    ];
    let added = feed.with_controls(within.clone()).add(NEW, person).await.unwrap();
    assert_eq!(added.rc, 0);
    let replace = |name: &'static str, value: &'static str| vec![Mod::Replace(name, HashSet::from([value]))];
    for (dn, change) in [
        (NEW, replace("nhsdirExDirectory", "TRUE")),
        (ANN, replace("description", "one")),
        (ANN, replace("description", "two")),
    ] {
        let answer = feed.with_controls(within.clone()).modify(dn, change).await.unwrap();
        assert_eq!(answer.rc, 0);
    }
    // Two change their names with each other.
    for (dn, rdn) in [
        (BOB, "uid=between"),
        (ZOE, "uid=000000000003"),
        ("uid=between,ou=People,o=nhs", "uid=000000000002"),
    ] {
        let answer = feed
            .with_controls(within.clone())
            .modifydn(dn, rdn, true, None)
            .await
            .unwrap();
        assert_eq!(answer.rc, 0);
    }
    assert_eq!(transactions::end(&mut feed, true, &id).await, (0, None));
    describe(&mut feed, ANN, "three").await;
    for (sign, dn) in [('-', BOB), ('-', ZOE), ('~', ANN), ('+', ZOE), ('+', BOB), ('~', ANN)] {
        let told = tokio::time::timeout(Duration::from_secs(10), next(&mut stream)).await;
        assert_eq!(told.unwrap().unwrap(), format!("{sign}{dn}"));
    }
    let told = poll(&mut copy, Some(&before), false).await;
    let (gone, there) = (
        [ZOE, BOB].map(|dn| format!("-{dn}")),
        [ANN, ANN, ZOE, BOB].map(|dn| format!("+{dn}")),
    );
    assert_eq!(told.lines, [&there[..], &gone[..]].concat());
}

/// Without ManageDsaIT a referral object is told as a reference, under its entryUUID, whatever the filter (RFC 4533 section 3.3).
#[tokio::test]
async fn referral_objects_are_told_as_references() {
    const ELSEWHERE: &str = "ou=Elsewhere,o=nhs";
    let place = Place::filled();
    let secrets = accounts(&place, "writer");
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let managed = || RawControl::from(ldap3::controls::ManageDsaIt);
    let referral = vec![
        ("objectClass", HashSet::from(["referral", "extensibleObject"])),
        ("ref", HashSet::from(["ldap://one.example/ou=There,o=nhs"])),
    ];
    feed.add(ELSEWHERE, referral).await.unwrap().success().unwrap();
    let first = poll(&mut copy, None, false).await;
    let url = |host: &str| format!("+ldap://{host}.example/ou=There,o=nhs??sub");
    assert_eq!(first.lines.len(), 4);
    assert!(first.lines.contains(&url("one")), "{:?}", first.lines);
    // As an entry where it is managed; then the filter decides.
    let mut stream = {
        let sync = asked(RefreshMode::RefreshOnly, None, false);
        let search = copy.with_controls(vec![sync, managed()]);
        let found = search.streaming_search(BASE, Scope::Subtree, "(objectClass=referral)", vec!["ref"]);
        found.await.unwrap()
    };
    assert_eq!(next(&mut stream).await.unwrap(), format!("+{ELSEWHERE}"));
    assert_eq!(next(&mut stream).await, None);

    let control = asked(RefreshMode::RefreshAndPersist, Some(&first.cookie), false);
    let mut stream = begin(&mut copy.clone(), control, PERSON).await;
    assert_eq!(next(&mut stream).await.unwrap(), "deleted true with cookie");
    let other = vec![Mod::Replace(
        "ref",
        HashSet::from(["ldap://two.example/ou=There,o=nhs"]),
    )];
    feed.with_controls(managed());
    feed.modify(ELSEWHERE, other).await.unwrap().success().unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), url("two").replace('+', "~"));
    feed.with_controls(managed());
    feed.delete(ELSEWHERE).await.unwrap().success().unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), "-", "no URL where it is gone");
    drop(stream);

    // The same over a restart.
    let (place, _) = server.stop();
    let server = place.serve();
    let [mut copy, _] = bound_both(&server, &secrets).await;
    let second = poll(&mut copy, Some(&first.cookie), false).await;
    assert_eq!((second.lines, second.deletes), (vec!["=1 true".to_owned()], true));
}

/// Who follows ends when its account does, though nothing else happens.
#[tokio::test]
async fn an_account_is_followed_for_until_it_ends() {
    let place = Place::filled();
    let secrets = accounts(&place, "writer");
    let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(5);
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    place.succeed(&["account", "expire", "copy", &end], "");
    let server = place.serve();
    let [mut copy, _] = bound_both(&server, &secrets).await;
    let mut stream = begin(
        &mut copy,
        asked(RefreshMode::RefreshAndPersist, None, false),
        "(uid=none)",
    )
    .await;
    assert_eq!(next(&mut stream).await.unwrap(), "present true with cookie");
    let ended = tokio::time::timeout(Duration::from_secs(10), next(&mut stream)).await;
    assert_eq!(ended.expect("it ends by itself"), None);
    let result = stream.finish().await;
    assert_eq!(result.rc, 50);
    assert!(result.text.contains("end"), "{}", result.text);
}

/// On the connection that changes its own secret everything goes on; what runs for the account elsewhere ends.
#[tokio::test]
async fn what_follows_goes_on_when_its_connection_changes_the_secret() {
    let place = Place::filled();
    let secrets = accounts(&place, "writer");
    let server = place.serve();
    let [mut copy, mut feed] = bound_both(&server, &secrets).await;
    let [mut elsewhere, _] = bound_both(&server, &secrets).await;
    let persist = || asked(RefreshMode::RefreshAndPersist, None, false);
    let mut here = begin(&mut copy.clone(), persist(), "(uid=000000000001)").await;
    let mut there = begin(&mut elsewhere, persist(), "(uid=000000000001)").await;
    for stream in [&mut here, &mut there] {
        next(stream).await.unwrap();
        next(stream).await.unwrap();
    }
    let change = ldap3::exop::PasswordModify {
        user_id: None,
        old_pass: Some(&secrets[0]),
        new_pass: None,
    };
    copy.extended(change).await.unwrap().success().unwrap();
    describe(&mut feed, ANN, "after").await;
    assert_eq!(next(&mut here).await.unwrap(), format!("~{ANN}"));
    assert_eq!(next(&mut there).await, None);
    let result = there.finish().await;
    assert_eq!(result.rc, 50);
    assert!(result.text.contains("bind again"), "{}", result.text);
}
