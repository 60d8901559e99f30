//! Controls and computed attributes over real sockets, with the `ldap3` crate and controls made by hand.

use crate::server::{ANN, BASE, BOB, Place, Server, ZOE, found, set, uids};
use ldap3::controls::{Assertion, Control, PostRead, PreRead, RawControl, ReadEntryResp};
use ldap3::{Ldap, LdapResult, Mod, Scope};
use std::collections::HashSet;

mod oid {
    pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
    pub const ASSERTION: &str = "1.3.6.1.1.12";
    pub const PRE_READ: &str = "1.3.6.1.1.13.1";
    pub const POST_READ: &str = "1.3.6.1.1.13.2";
    pub const SORT: &str = "1.2.840.113556.1.4.473";
    pub const SORT_RESULT: &str = "1.2.840.113556.1.4.474";
    pub const VIRTUAL_LIST_VIEW: &str = "2.16.840.1.113730.3.4.9";
    pub const DONT_USE_COPY: &str = "1.3.6.1.1.22";
    pub const PERMISSIVE_MODIFY: &str = "1.2.840.113556.1.4.1413";
    pub const RELAX_RULES: &str = "1.3.6.1.4.1.4203.666.5.12";
    pub const PERSISTENT_SEARCH: &str = "2.16.840.1.113730.3.4.3";
    pub const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";
    pub const TREE_DELETE: &str = "1.2.840.113556.1.4.805";
    pub const ALL: &[&str] = &[
        PAGED_RESULTS,
        ASSERTION,
        PRE_READ,
        POST_READ,
        SORT,
        VIRTUAL_LIST_VIEW,
        DONT_USE_COPY,
        PERMISSIVE_MODIFY,
        PERSISTENT_SEARCH,
        RELAX_RULES,
        MATCHED_VALUES,
        TREE_DELETE,
    ];
}

const PROTOCOL_ERROR: u32 = 2;
const BUSY: u32 = 51;
const VIRTUAL_LIST_VIEW_ERROR: u32 = 76;
const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
const NO_SUCH_ATTRIBUTE: u32 = 16;
const NO_SUCH_OBJECT: u32 = 32;
const ASSERTION_FAILED: u32 = 122;

const WARD: &str = "cn=Ward staff,ou=Lists,o=nhs";
const HIDDEN: &str = "cn=Hidden,ou=Lists,o=nhs";

fn server() -> Server {
    Place::filled().serve()
}

/// A second connection, bound as a new account of another role.
async fn writer_and_reader(server: &Server) -> (Ldap, Ldap) {
    (server.bound("writer").await, server.bound("reader").await)
}

async fn groups_of(ldap: &mut Ldap, dn: &str) -> Vec<String> {
    let mut entries = found(ldap, dn, Scope::Base, "(objectClass=*)", &["memberOf"]).await;
    let mut groups = entries.remove(0).attrs.remove("memberOf").unwrap_or_default();
    groups.sort();
    groups
}

async fn add_hidden_group(writer: &mut Ldap) {
    let group = vec![
        ("objectClass", set(&["groupOfNames", "extensibleObject"])),
        ("cn", set(&["Hidden"])),
        ("member", set(&[ANN])),
        ("nhsdirExDirectory", set(&["TRUE"])),
    ];
    writer.add(HIDDEN, group).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn member_of_follows_every_change_of_a_group() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    assert_eq!(groups_of(&mut reader, ANN).await, [WARD]);
    assert!(groups_of(&mut reader, ZOE).await.is_empty());
    let plain = found(&mut reader, ANN, Scope::Base, "(objectClass=*)", &["*"]).await;
    assert!(!plain[0].attrs.contains_key("memberOf"), "it is operational");

    for asked in [vec!["+"], vec!["*", "memberof"]] {
        let given = found(&mut reader, ANN, Scope::Base, "(objectClass=*)", &asked).await;
        assert_eq!(given[0].attrs["memberOf"], [WARD], "{asked:?}");
    }

    let members = |names: &[&'static str]| vec![Mod::Replace("member", set(names))];
    let changed = writer
        .modify(WARD, members(&["UID=000000000002, ou=people,O=nhs", BOB]))
        .await;
    changed.unwrap().success().unwrap();
    assert!(groups_of(&mut reader, ANN).await.is_empty());
    assert_eq!(groups_of(&mut reader, ZOE).await, [WARD]);
    assert_eq!(
        uids(&mut reader, &format!("(memberOf={WARD})")).await,
        ["000000000002", "000000000003"]
    );
    let both = format!("(&(sn=Jones)(memberOf={WARD}))");
    assert_eq!(uids(&mut reader, &both).await, ["000000000003"]);
    let not = format!("(&(uid=*)(!(memberOf={WARD})))");
    assert_eq!(uids(&mut reader, &not).await, ["000000000001"]);
    assert!(
        reader
            .compare(ZOE, "memberOf", "CN=ward STAFF,ou=lists,o=nhs")
            .await
            .unwrap()
            .equal()
            .unwrap()
    );
    assert!(!reader.compare(ANN, "memberOf", WARD).await.unwrap().equal().unwrap());

    writer.delete(WARD).await.unwrap().success().unwrap();
    assert!(groups_of(&mut reader, ZOE).await.is_empty());
    assert!(uids(&mut reader, &format!("(memberOf={WARD})")).await.is_empty());
    let stored = writer
        .modify(ANN, vec![Mod::Add("memberOf", set(&[WARD]))])
        .await
        .unwrap();
    assert_ne!(stored.rc, 0, "memberOf is kept by the server");
}

#[tokio::test]
async fn a_chain_of_groups_is_followed() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    let all = "cn=All staff,ou=Lists,o=nhs";
    let group = vec![
        ("objectClass", set(&["groupOfNames"])),
        ("cn", set(&["All staff"])),
        ("member", set(&[WARD, all])),
    ];
    writer.add(all, group).await.unwrap().success().unwrap();
    let chain = format!("(&(uid=*)(memberOf:1.2.840.113556.1.4.1941:={all}))");
    assert_eq!(
        uids(&mut reader, &chain).await,
        uids(&mut reader, &format!("(memberOf={WARD})")).await
    );
    let above = format!("(member:1.2.840.113556.1.4.1941:={ANN})");
    let groups = found(&mut reader, BASE, Scope::Subtree, &above, &["cn"]).await;
    let mut names: Vec<String> = groups.into_iter().map(|group| group.dn).collect();
    names.sort();
    assert_eq!(names, [all, WARD]);
    assert_eq!(uids(&mut reader, "(&(uid=*)(!(memberOf=*)))").await, ["000000000002"]);
    assert!(
        reader
            .compare(BASE, "hasSubordinates", "TRUE")
            .await
            .unwrap()
            .equal()
            .unwrap()
    );
}

#[tokio::test]
async fn member_of_says_nothing_of_a_group_that_is_hidden() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    add_hidden_group(&mut writer).await;
    assert_eq!(groups_of(&mut writer, ANN).await, [HIDDEN, WARD]);
    assert_eq!(groups_of(&mut reader, ANN).await, [WARD]);
    for group in [HIDDEN, "cn=Nowhere,ou=Lists,o=nhs"] {
        assert!(
            uids(&mut reader, &format!("(memberOf={group})")).await.is_empty(),
            "{group}"
        );
        let others = uids(&mut reader, &format!("(&(uid=*)(!(memberOf={group})))")).await;
        assert_eq!(others.len(), 3, "{group}");
        assert!(
            !reader.compare(ANN, "memberOf", group).await.unwrap().equal().unwrap(),
            "{group}"
        );
    }
    assert_eq!(
        uids(&mut writer, &format!("(memberOf={HIDDEN})")).await,
        ["000000000001"]
    );
    let base = found(&mut writer, BASE, Scope::Subtree, "(memberOf=no name)", &["1.1"]).await;
    assert!(base.is_empty());
}

fn asserting(filter: &str) -> RawControl {
    RawControl {
        crit: true,
        ..Assertion::new(filter)
    }
}

fn title(value: &'static str) -> Vec<Mod<&'static str>> {
    vec![Mod::Replace("title", set(&[value]))]
}

/// The response control of this type, parsed as an entry.
fn read(result: &LdapResult, oid: &str) -> Option<ReadEntryResp> {
    let mut controls = result.ctrls.iter();
    let Control(_, raw) = controls.find(|Control(_, raw)| raw.ctype == oid)?;
    Some(raw.parse())
}

#[tokio::test]
async fn every_control_is_announced() {
    let server = server();
    let mut reader = server.bound("reader").await;
    let root = found(&mut reader, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    for oid in oid::ALL {
        assert!(
            root[0].attrs["supportedControl"]
                .iter()
                .any(|announced| announced == oid),
            "{oid}"
        );
    }
}

#[tokio::test]
async fn an_assertion_guards_every_operation() {
    let server = server();
    let mut ldap = server.bound("writer").await;
    for (filter, code) in [
        ("(sn=Jones)", 0),
        ("(sn=Smith)", ASSERTION_FAILED),
        ("(nowhere=1)", ASSERTION_FAILED),
    ] {
        let guard = || asserting(filter);
        let result = ldap.with_controls(guard()).modify(BOB, title("Porter")).await.unwrap();
        assert_eq!(result.rc, code, "modify {filter}");
        let compared = ldap.with_controls(guard()).compare(BOB, "sn", "Jones").await.unwrap();
        assert_eq!(compared.0.rc, if code == 0 { 6 } else { code }, "compare {filter}");
        let searched = ldap
            .with_controls(guard())
            .search(BOB, Scope::Base, "(objectClass=*)", vec!["1.1"]);
        let searched = searched.await.unwrap();
        assert_eq!(
            (searched.1.rc, searched.0.len()),
            (code, usize::from(code == 0)),
            "search {filter}"
        );
        let renamed = ldap
            .with_controls(guard())
            .modifydn(BOB, "uid=000000000003", true, None)
            .await
            .unwrap();
        assert_eq!(renamed.rc, code, "rename {filter}");
        let entry = vec![
            ("objectClass", set(&["inetOrgPerson"])),
            ("cn", set(&["Al"])),
            ("sn", set(&["Jones"])),
        ];
        let added = ldap
            .with_controls(guard())
            .add("cn=Al,ou=People,o=nhs", entry)
            .await
            .unwrap();
        assert_eq!(added.rc, code, "add {filter}");
        let deleted = ldap
            .with_controls(guard())
            .delete("cn=Al,ou=People,o=nhs")
            .await
            .unwrap();
        assert_eq!(
            deleted.rc,
            if code == 0 { 0 } else { NO_SUCH_OBJECT },
            "delete {filter}"
        );
    }
    let kept = ldap.with_controls(asserting("(sn=Smith)")).delete(BOB).await.unwrap();
    assert_eq!(kept.rc, ASSERTION_FAILED);
    let member = format!("(memberOf={WARD})");
    let result = ldap
        .with_controls(asserting(&member))
        .modify(ANN, title("Matron"))
        .await
        .unwrap();
    assert_eq!(result.rc, 0, "{result}");
    assert_eq!(uids(&mut ldap, "(title=Porter)").await, ["000000000003"]);
}

#[tokio::test]
async fn one_of_many_assertions_on_the_same_value_wins() {
    let server = server();
    let secret = server.place.account("feed", "writer");
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut ldap = server.connect().await;
        ldap.simple_bind("feed", &secret).await.unwrap().success().unwrap();
        racers.spawn(async move {
            let value = format!("Racer {number}");
            let changes = vec![Mod::Replace("title", HashSet::from([value.as_str()]))];
            let guard = asserting("(title=Consultant)");
            ldap.with_controls(guard).modify(ANN, changes).await.unwrap().rc
        });
    }
    let mut codes = racers.join_all().await;
    codes.sort_unstable();
    assert_eq!(codes, [&[0][..], &[ASSERTION_FAILED; 7]].concat());
}

#[tokio::test]
async fn an_assertion_is_no_oracle() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    let hidden = vec![
        Mod::Add("objectClass", set(&["extensibleObject"])),
        Mod::Add("mobile", set(&["07700 900001"])),
        Mod::Add("nhsdirHidden", set(&["mobile"])),
    ];
    writer.modify(BOB, hidden).await.unwrap().success().unwrap();
    // What is hidden reads as what is not there.
    for filter in [
        "(mobile=07700 900001)",
        "(mobile=*)",
        "(!(mobile=*))",
        "(!(mobile=07700 900001))",
        "(nhsdirHidden=mobile)",
        "(!(nhsdirHidden=x))",
    ] {
        let mut codes = Vec::new();
        for dn in [BOB, ZOE] {
            let guarded = reader.with_controls(asserting(filter));
            let searched = guarded.search(dn, Scope::Base, "(objectClass=*)", vec!["1.1"]).await;
            codes.push(searched.unwrap().1.rc);
        }
        assert_eq!(codes[0], codes[1], "{filter}");
        assert!(filter.starts_with("(!") || codes[0] == ASSERTION_FAILED, "{filter}");
    }
}

#[tokio::test]
async fn an_entry_is_read_before_and_after() {
    let server = server();
    let mut ldap = server.bound("writer").await;
    let both = || {
        vec![
            PreRead::new(vec!["title", "sn"]),
            PostRead::new(vec!["title", "memberOf", "modifiersName"]),
        ]
    };
    let result = ldap.with_controls(both()).modify(ANN, title("Matron")).await.unwrap();
    let (before, after) = (
        read(&result, oid::PRE_READ).unwrap(),
        read(&result, oid::POST_READ).unwrap(),
    );
    assert_eq!(before.attrs["title"], ["Consultant"]);
    assert_eq!(before.attrs["sn"], ["O'Neill-Smith"]);
    assert_eq!(before.attrs.len(), 2);
    assert_eq!(after.attrs["title"], ["Matron"]);
    assert_eq!(after.attrs["memberOf"], [WARD]);
    assert_eq!(after.attrs["modifiersName"], ["cn=writer,ou=Applications,o=nhs"]);

    let renamed = ldap
        .with_controls(both())
        .modifydn(ANN, "uid=9", true, None)
        .await
        .unwrap();
    assert_eq!(read(&renamed, oid::PRE_READ).unwrap().attrs["title"], ["Matron"]);
    assert!(
        !read(&renamed, oid::POST_READ).unwrap().attrs.contains_key("memberOf"),
        "nobody follows a rename"
    );
    let entry = vec![
        ("objectClass", set(&["inetOrgPerson"])),
        ("cn", set(&["Al"])),
        ("sn", set(&["Jones"])),
    ];
    let added = ldap
        .with_controls(PostRead::new(vec!["entryUUID"]))
        .add("cn=Al,ou=People,o=nhs", entry)
        .await
        .unwrap();
    let uuid = read(&added, oid::POST_READ).unwrap().attrs["entryUUID"].clone();
    let deleted = ldap
        .with_controls(PreRead::new(vec!["+"]))
        .delete("cn=Al,ou=People,o=nhs")
        .await
        .unwrap();
    assert_eq!(read(&deleted, oid::PRE_READ).unwrap().attrs["entryUUID"], uuid);
    let refused = ldap.with_controls(both()).modify(ANN, title("x")).await.unwrap();
    assert_eq!((refused.rc, refused.ctrls.len()), (NO_SUCH_OBJECT, 0));
}

#[tokio::test]
async fn permissive_modify_forgives_what_is_done_already() {
    let server = server();
    let mut ldap = server.bound("writer").await;
    let changes = || {
        vec![
            Mod::Add("mail", set(&["BOB.JONES@example.nhs.uk", "b@example.nhs.uk"])),
            Mod::Delete("title", set(&["x"])),
        ]
    };
    assert_ne!(ldap.modify(BOB, changes()).await.unwrap().rc, 0);
    let permissive = RawControl {
        ctype: oid::PERMISSIVE_MODIFY.to_owned(),
        crit: true,
        val: None,
    };
    let result = ldap
        .with_controls(permissive.clone())
        .modify(BOB, changes())
        .await
        .unwrap();
    assert_eq!(result.rc, 0, "{result}");
    let bob = found(&mut ldap, BOB, Scope::Base, "(objectClass=*)", &["mail"]).await;
    assert_eq!(bob[0].attrs["mail"], ["bob.jones@example.nhs.uk", "b@example.nhs.uk"]);
    let undefined = vec![Mod::Delete("nowhere", set(&["x"]))];
    assert_ne!(
        ldap.with_controls(permissive.clone())
            .modify(BOB, undefined)
            .await
            .unwrap()
            .rc,
        0
    );
    assert_eq!(
        ldap.modify(BOB, vec![Mod::Delete("title", set(&[]))]).await.unwrap().rc,
        NO_SUCH_ATTRIBUTE
    );
    assert_eq!(
        ldap.with_controls(permissive).delete(BOB).await.unwrap().rc,
        UNAVAILABLE_CRITICAL_EXTENSION
    );
}

/// A sort control: attribute, rule, reverse.
fn sort(keys: &[(&str, Option<&str>, bool)], crit: bool) -> RawControl {
    let element = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let mut list = Vec::new();
    for (attribute, rule, reverse) in keys {
        let mut key = element(4, attribute.as_bytes());
        key.extend(rule.iter().flat_map(|rule| element(0x80, rule.as_bytes())));
        if *reverse {
            key.extend(element(0x81, &[0xff]));
        }
        list.extend(element(0x30, &key));
    }
    RawControl {
        ctype: oid::SORT.to_owned(),
        crit,
        val: Some(element(0x30, &list)),
    }
}

/// The last digits of the uids of people, as they come, with the result code and the sort's.
async fn sorted(ldap: &mut Ldap, keys: &[(&str, Option<&str>, bool)], crit: bool) -> (String, u32, Option<u8>) {
    let search = ldap.with_controls(sort(keys, crit));
    let answer = search
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
        .await
        .unwrap();
    let (order, result) = (order(answer.0), answer.1);
    let mut controls = result.ctrls.iter();
    let found = controls.find(|Control(_, raw)| raw.ctype == oid::SORT_RESULT);
    (
        order,
        result.rc,
        found.map(|Control(_, raw)| raw.val.as_ref().unwrap()[4]),
    )
}

fn order(entries: Vec<ldap3::ResultEntry>) -> String {
    let entries = entries.into_iter().map(ldap3::SearchEntry::construct);
    entries
        .map(|entry| entry.attrs["uid"][0].chars().last().unwrap())
        .collect()
}

#[tokio::test]
async fn searches_are_sorted() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let done = |order: &str| (order.to_owned(), 0, Some(0));
    // Ann O'Neill-Smith (1, Consultant), Zoë Smith (2, Consultant Anaesthetist), Bob Jones and Siôn (3, no title).
    for (keys, expected) in [
        (&[("sn", None, false)][..], "312"),
        (&[("sn", None, true)], "213"),
        (&[("givenName", None, false)], "132"),
        (&[("title", None, false)], "123"),
        (&[("title", None, true)], "321"),
        (&[("departmentNumber", None, false), ("sn", None, true)], "213"),
        (&[("departmentNumber", None, true), ("sn", None, false)], "312"),
        (
            &[
                ("objectClass", Some("caseIgnoreOrderingMatch"), false),
                ("uid", None, true),
            ],
            "321",
        ),
        (&[("cn", Some("caseIgnoreOrderingMatch"), true)], "231"),
        (&[("description", None, false)], "123"),
    ] {
        let found = sorted(&mut ldap, keys, true).await;
        if found.2 == Some(0) {
            assert_eq!(found, done(expected), "{keys:?}");
        } else {
            assert_eq!(keys[0].0, "objectClass", "{keys:?}: {found:?}");
        }
    }
    for (key, fault) in [
        (("nowhere", None, false), 16),
        (("sn", Some("integerOrderingMatch"), false), 18),
        (("sn", Some("objectIdentifierMatch"), false), 18),
        (("sn", Some("nowhere"), false), 18),
        (("jpegPhoto", None, false), 18),
        (("nhsdirHidden", None, false), 50),
        (("userPassword", None, false), 50),
        (("memberOf", None, false), 53),
    ] {
        let refused = sorted(&mut ldap, &[key], true).await;
        assert_eq!(
            refused,
            (String::new(), UNAVAILABLE_CRITICAL_EXTENSION, Some(fault)),
            "{key:?}"
        );
        let (order, code, result) = sorted(&mut ldap, &[key], false).await;
        assert_eq!((order.len(), code, result), (3, 0, Some(fault)), "{key:?}");
    }
}

#[tokio::test]
async fn pages_of_a_sorted_search_are_in_order_through_changes() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    let mut cookie = Vec::new();
    let mut all = String::new();
    for number in 0.. {
        let page = ldap3::controls::PagedResults { size: 1, cookie }.into();
        let search = reader.with_controls(vec![sort(&[("sn", None, true)], true), page]);
        let (entries, result) = search
            .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
            .await
            .unwrap()
            .success()
            .unwrap();
        all += &order(entries);
        let mut controls = result.ctrls.iter();
        let Control(_, raw) = controls
            .find(|Control(_, raw)| raw.ctype == oid::PAGED_RESULTS)
            .unwrap();
        cookie = raw.parse::<ldap3::controls::PagedResults>().cookie;
        if cookie.is_empty() {
            break;
        }
        if number == 0 {
            // The entry that the cookie stands on goes, another changes.
            writer.delete(ZOE).await.unwrap().success().unwrap();
            writer.modify(BOB, title("Porter")).await.unwrap().success().unwrap();
            // The cookie is of this order only.
            let page = ldap3::controls::PagedResults {
                size: 1,
                cookie: cookie.clone(),
            }
            .into();
            let search = reader.with_controls(vec![sort(&[("sn", None, false)], true), page]);
            let other = search
                .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
                .await
                .unwrap();
            assert_ne!(other.1.rc, 0);
        }
    }
    assert_eq!(all, "213");
    let least = reader
        .with_controls(sort(&[("sn", None, false)], true))
        .with_search_options(ldap3::SearchOptions::new().sizelimit(1));
    let (entries, result) = {
        let answer = least
            .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
            .await
            .unwrap();
        (answer.0, answer.1)
    };
    assert_eq!((order(entries).as_str(), result.rc), ("3", 4));
}

#[tokio::test]
async fn an_order_tells_nothing_that_is_hidden() {
    let server = server();
    let (mut writer, mut reader) = writer_and_reader(&server).await;
    for (dn, mobile) in [(ANN, "07700 900003"), (ZOE, "07700 900002"), (BOB, "07700 900001")] {
        let hidden = vec![
            Mod::Add("objectClass", set(&["extensibleObject"])),
            Mod::Add("mobile", set(&[mobile])),
            Mod::Add("nhsdirHidden", set(&["mobile"])),
        ];
        writer.modify(dn, hidden).await.unwrap().success().unwrap();
    }
    for reverse in [false, true] {
        let keys = [("mobile", None, reverse)];
        assert_eq!(sorted(&mut reader, &keys, true).await.0, "123", "by name");
    }
    assert_eq!(sorted(&mut writer, &[("mobile", None, false)], true).await.0, "321");
}

/// A server whose limits are these.
fn limited(limits: &str) -> Server {
    Place::filled().with(&format!("[limits]\n{limits}")).serve()
}

/// T6: what all sorts together may take is a limit of its own.
#[tokio::test]
async fn sorts_that_find_no_memory_say_busy_or_come_unsorted() {
    let server = limited("sort_memory_bytes = 1\n");
    let mut ldap = server.bound("reader").await;
    let keys = [("sn", None, false)];
    assert_eq!(sorted(&mut ldap, &keys, true).await, (String::new(), BUSY, Some(51)));
    let (found, code, result) = sorted(&mut ldap, &keys, false).await;
    assert_eq!((found.len(), code, result), (3, 0, Some(51)));
    for crit in [false, true] {
        let page = ldap3::controls::PagedResults {
            size: 2,
            cookie: Vec::new(),
        }
        .into();
        let search = ldap.with_controls(vec![sort(&keys, crit), page]);
        let paged = search
            .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
            .await
            .unwrap();
        assert_eq!(
            paged.1.rc, BUSY,
            "no page may come unsorted: the next one would not know where to go on"
        );
    }
    let window = RawControl {
        ctype: oid::VIRTUAL_LIST_VIEW.to_owned(),
        crit: true,
        val: Some(b"\x30\x0e\x02\x01\x00\x02\x01\x02\xa0\x06\x02\x01\x01\x02\x01\x00".to_vec()),
    };
    let search = ldap.with_controls(vec![sort(&keys, true), window]);
    let view = search
        .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
        .await
        .unwrap();
    assert_eq!((view.0.len(), view.1.rc), (0, VIRTUAL_LIST_VIEW_ERROR));
    let mut told = view.1.ctrls.iter();
    let told = told
        .find(|Control(_, raw)| raw.ctype == "2.16.840.1.113730.3.4.10")
        .unwrap();
    assert_eq!(
        told.1.val.as_deref(),
        Some(&b"\x30\x09\x02\x01\x00\x02\x01\x00\x0a\x01\x0b"[..])
    );
    assert_eq!(
        uids(&mut ldap, "(uid=*)").await.len(),
        3,
        "a search without a sort knows nothing of it"
    );
}

/// Where the keys of a page are too many octets it is shorter; no entry comes twice and none is left out, critical or not.
#[tokio::test]
async fn sorted_pages_with_little_room_are_short_and_go_on() {
    let server = limited("sorted_bytes = 100\n");
    let mut ldap = server.bound("reader").await;
    for (keys, expected) in [
        (&[("sn", None, false)][..], "312"),
        (&[("sn", None, true), ("cn", None, false)], "213"),
    ] {
        for crit in [false, true] {
            let (mut cookie, mut all, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = ldap3::controls::PagedResults { size: 3, cookie }.into();
                let search = ldap.with_controls(vec![sort(keys, crit), page]);
                let found = search
                    .search(BASE, Scope::Subtree, "(uid=*)", vec!["uid"])
                    .await
                    .unwrap();
                let (entries, result) = found.success().unwrap();
                all += &order(entries);
                pages += 1;
                let mut controls = result.ctrls.iter();
                let paged = controls
                    .find(|Control(_, raw)| raw.ctype == oid::PAGED_RESULTS)
                    .unwrap();
                cookie = paged.1.parse::<ldap3::controls::PagedResults>().cookie;
                if cookie.is_empty() || pages == 9 {
                    break;
                }
            }
            assert_eq!(all, expected, "{keys:?}");
            assert!(pages > 1, "{keys:?}");
        }
    }
    // Without pages a sort that is not critical gives what it has as it came.
    let (order, code, result) = sorted(&mut ldap, &[("sn", None, false)], false).await;
    assert_eq!((order.len(), code, result), (3, 0, Some(11)));
    assert_eq!(sorted(&mut ldap, &[("sn", None, false)], true).await.1, 11);
}

/// T5: values that are not what a control says are refused, twice the same control too, and the connection lives.
#[tokio::test]
async fn broken_control_values_are_protocol_errors() {
    let server = server();
    let mut ldap = server.bound("writer").await;
    let broken: &[Option<&[u8]>] = &[
        None,
        Some(b""),
        Some(b"\x30"),
        Some(b"\x30\x05\x02\x01"),
        Some(b"\x30\x84\xff\xff\xff\xff"),
        Some(b"\x02\x08\x7f\xff\xff\xff\xff\xff\xff\xff"),
        Some(b"\x02\x01\xff"),
        Some(b"\x30\x03\x02\x01\xff"),
        Some(b"\x04\x02hi"),
        Some(b"\xa9\x02\x80\x00"),
    ];
    let plain = [
        oid::DONT_USE_COPY,
        oid::PERMISSIVE_MODIFY,
        oid::RELAX_RULES,
        oid::TREE_DELETE,
    ];
    for oid in oid::ALL {
        // Netscape's Java SDK writes an empty value where there is none.
        let absent = |value: &Option<&[u8]>| value.is_none_or(<[u8]>::is_empty);
        for value in broken.iter().filter(|value| !absent(value) || !plain.contains(oid)) {
            for crit in [false, true] {
                let control = RawControl {
                    ctype: (*oid).to_owned(),
                    crit,
                    val: value.map(<[u8]>::to_vec),
                };
                let result = ldap
                    .with_controls(control.clone())
                    .modify(BOB, title("x"))
                    .await
                    .unwrap();
                assert_eq!(result.rc, PROTOCOL_ERROR, "{oid} {value:?}");
                let search = ldap
                    .with_controls(control)
                    .search(BOB, Scope::Base, "(objectClass=*)", vec!["1.1"]);
                assert_eq!(search.await.unwrap().1.rc, PROTOCOL_ERROR, "{oid} {value:?}");
            }
        }
    }
    let twice = vec![asserting("(sn=*)"), asserting("(sn=*)")];
    assert_eq!(
        ldap.with_controls(twice).modify(BOB, title("x")).await.unwrap().rc,
        PROTOCOL_ERROR
    );
    assert!(uids(&mut ldap, "(title=x)").await.is_empty());
}

/// A size limit is of all pages, and one that they have used up of what is left: some clients count down. slapd has it so.
#[tokio::test]
async fn a_size_limit_on_pages_is_of_all_or_of_what_is_left() {
    let server = server();
    let mut ldap = server.bound("reader").await;
    let mut page = async |cookie: Vec<u8>, limit: i32| {
        let control: RawControl = ldap3::controls::PagedResults { size: 3, cookie }.into();
        let options = ldap3::SearchOptions::new().sizelimit(limit);
        let search = ldap.with_search_options(options).with_controls(control).search(
            BASE,
            Scope::Subtree,
            "(objectClass=*)",
            vec!["1.1"],
        );
        let answer = search.await.unwrap();
        let cookie = answer.1.ctrls[0].1.parse::<ldap3::controls::PagedResults>().cookie;
        (answer.0.len(), answer.1.rc, cookie)
    };
    let (more, exceeded) = (0, 4);
    for (first, second, expected) in [
        (0, 1, (1, exceeded)),
        (0, 3, (3, exceeded)),
        (0, 4, (1, exceeded)),
        (5, 5, (2, exceeded)),
        (5, 2, (2, exceeded)),
        (0, 7, (3, more)),
    ] {
        let (count, code, cookie) = page(Vec::new(), first).await;
        assert_eq!((count, code, cookie.is_empty()), (3, more, false));
        let (count, code, cookie) = page(cookie, second).await;
        assert_eq!((count, code), expected, "{first} {second}");
        assert_eq!(cookie.is_empty(), code == exceeded);
    }
}
