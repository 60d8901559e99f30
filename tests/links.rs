//! The dereference control (draft-masarati-ldap-deref): entries come with what is asked of those that they name.

use crate::binds::element;
use crate::server::{ANN, BASE, BOB, Place, Server, found, set};
use ldap3::controls::RawControl;
use ldap3::{Ldap, Mod, Scope, SearchEntry};

const OID: &str = "1.3.6.1.4.1.4203.666.5.16";
const WARD: &str = "cn=Ward staff,ou=Lists,o=nhs";
const GONE: &str = "uid=999999999999,ou=People,o=nhs";
const UNAVAILABLE_CRITICAL: u32 = 12;
const PROTOCOL_ERROR: u32 = 2;

fn texts(names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| element(0x04, name.as_bytes())).collect()
}

fn asking(links: &[(&str, &[&str])], crit: bool) -> RawControl {
    let link = |(attribute, names): &(&str, &[&str])| {
        let inside = [texts(&[attribute]), element(0x30, &texts(names))].concat();
        element(0x30, &inside)
    };
    RawControl {
        ctype: OID.to_owned(),
        crit,
        val: Some(element(0x30, &links.iter().flat_map(link).collect::<Vec<u8>>())),
    }
}

fn elements(mut octets: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [tag, length, rest @ ..] = octets {
        let (length, rest) = match length {
            0x81 => (usize::from(rest[0]), &rest[1..]),
            0x82 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        found.push((*tag, &rest[..length]));
        octets = &rest[length..];
    }
    found
}

/// Each link as `attribute DN name=value ...`; `None` where the entry has no control.
async fn links(ldap: &mut Ldap, dn: &str, asked: RawControl) -> Option<Vec<String>> {
    let search = ldap
        .with_controls(asked)
        .search(dn, Scope::Base, "(objectClass=*)", vec!["cn"]);
    let (entries, _) = search.await.unwrap().success().unwrap();
    let control = entries[0].1.iter().find(|control| control.1.ctype == OID)?;
    let value = control.1.val.as_deref().unwrap();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let links = elements(elements(value)[0].1).into_iter().map(|(_, link)| {
        let parts = elements(link);
        let mut line = format!("{} {}", text(parts[0].1), text(parts[1].1));
        assert!(parts.len() == 2 || (parts.len() == 3 && parts[2].0 == 0xa0 && !parts[2].1.is_empty()));
        for (_, attribute) in parts.get(2).map_or(Vec::new(), |given| elements(given.1)) {
            let attribute = elements(attribute);
            let values: Vec<String> = elements(attribute[1].1).iter().map(|value| text(value.1)).collect();
            line += &format!(" {}={}", text(attribute[0].1), values.join(","));
        }
        line
    });
    Some(links.collect())
}

fn server(profile: &str) -> (Server, String) {
    let place = Place::filled();
    let policy = place.folder().join("policy.toml");
    std::fs::write(&policy, format!("[profile.front]\nlike = \"reader\"\n{profile}")).unwrap();
    let place = place.with(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()));
    let secret = place.account("front", "reader");
    place.succeed(&["account", "set", "front", "--profile", "front"], "");
    (place.serve(), secret)
}

async fn front(server: &Server, secret: &str) -> Ldap {
    let mut ldap = server.connect().await;
    ldap.simple_bind("front", secret).await.unwrap().success().unwrap();
    ldap
}

#[tokio::test]
async fn entries_come_with_those_that_they_name() {
    let (server, secret) = server("");
    let mut ldap = front(&server, &secret).await;
    let people: (&str, &[&str]) = ("MEMBER", &["uid", "SN", "userPassword", "nothing", "hasSubordinates"]);
    let ann = format!("MEMBER {ANN} uid=000000000001 sn=O'Neill-Smith hasSubordinates=FALSE");
    // Without its `sn;lang-cy`: an attribute description is another where it has options.
    let bob = format!("MEMBER {BOB} uid=000000000003 sn=Jones hasSubordinates=FALSE");
    assert_eq!(
        links(&mut ldap, WARD, asking(&[people], true)).await.unwrap(),
        [ann, bob]
    );
    let boss = asking(&[("manager", &["mail"]), ("seeAlso", &["mail"])], false);
    assert_eq!(
        links(&mut ldap, BOB, boss).await.unwrap(),
        [format!("manager {ANN} mail=ann.oneill-smith@example.nhs.uk")]
    );
    // Nor are subtypes the attribute: `name` is no `cn`.
    let bare = [format!("member {ANN}"), format!("member {BOB}")];
    assert_eq!(
        links(&mut ldap, WARD, asking(&[("member", &["name"])], true))
            .await
            .unwrap(),
        bare
    );
    assert_eq!(
        links(&mut ldap, ANN, asking(&[("member", &["uid"])], true)).await,
        None,
        "it has none"
    );
    let root = found(&mut ldap, "", Scope::Base, "(objectClass=*)", &["supportedControl"]).await;
    assert!(root[0].attrs["supportedControl"].contains(&OID.to_owned()));

    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let line = audit
        .lines()
        .find(|line| line.contains("\"linked\":\"MEMBER\""))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        line["uuids"].as_str().unwrap().len(),
        64,
        "three entries of 16 octets left"
    );
    let line = audit
        .lines()
        .find(|line| line.contains("\"linked\":\"member\""))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["uuids"].as_str().unwrap().len(), 22, "the list alone did");
}

/// T15: who is hidden looks like who is not there.
#[tokio::test]
async fn hidden_entries_look_like_none() {
    let (server, secret) = server("");
    let mut feed = server.bound("writer").await;
    let hide = vec![
        Mod::Add("objectClass", set(&["extensibleObject"])),
        Mod::Add("nhsdirExDirectory", set(&["TRUE"])),
    ];
    feed.modify(BOB, hide).await.unwrap().success().unwrap();
    let members = vec![Mod::Add("member", set(&[GONE]))];
    feed.modify(WARD, members).await.unwrap().success().unwrap();
    let mut ldap = front(&server, &secret).await;
    let found = links(&mut ldap, WARD, asking(&[("member", &["uid"])], true))
        .await
        .unwrap();
    let expected = [
        format!("member {ANN} uid=000000000001"),
        format!("member {BOB}"),
        format!("member {GONE}"),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn links_are_held_to_the_profile() {
    let people: &[(&str, &[&str])] = &[("member", &["uid"])];
    let (narrow, secret) = server("followed_names = 1\n");
    let mut ldap = front(&narrow, &secret).await;
    assert_eq!(
        links(&mut ldap, WARD, asking(people, true)).await,
        None,
        "all of an entry's links or none"
    );
    for most in [0, 2] {
        let (wide, secret) = server(&format!("followed_names = {most}\n"));
        let mut ldap = front(&wide, &secret).await;
        assert_eq!(
            links(&mut ldap, WARD, asking(people, true)).await.unwrap().len(),
            2,
            "{most}; 0 is no limit"
        );
    }
    let (counted, secret) = server("daily_entries = 4\n");
    let mut ldap = front(&counted, &secret).await;
    assert_eq!(links(&mut ldap, WARD, asking(people, true)).await.unwrap().len(), 2);
    assert_eq!(
        links(&mut ldap, WARD, asking(people, true)).await,
        None,
        "the fourth was the list"
    );
    let (blind, secret) = server("released = [\"cn\"]\n");
    let mut ldap = front(&blind, &secret).await;
    assert_eq!(
        links(&mut ldap, WARD, asking(people, true)).await,
        None,
        "it may not see who is a member"
    );
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_or_passed_over() {
    let (server, secret) = server("may_sync = true\n");
    let mut ldap = front(&server, &secret).await;
    let search = async |ldap: &mut Ldap, asked: Vec<RawControl>| {
        let search = ldap
            .with_controls(asked)
            .search(WARD, Scope::Base, "(objectClass=*)", vec!["1.1"]);
        search.await.unwrap().1.rc
    };
    for attribute in ["cn", "nothing", "member;x-a"] {
        assert_eq!(
            search(&mut ldap, vec![asking(&[(attribute, &["uid"])], true)]).await,
            PROTOCOL_ERROR,
            "{attribute}"
        );
        assert_eq!(
            links(&mut ldap, WARD, asking(&[(attribute, &["uid"])], false)).await,
            None
        );
    }
    let twice: &[(&str, &[&str])] = &[("member", &["uid"]), ("Member", &["cn"])];
    let raw = |val: Option<&[u8]>| RawControl {
        ctype: OID.to_owned(),
        crit: false,
        val: val.map(<[u8]>::to_vec),
    };
    let broken = [
        asking(twice, false),
        asking(&[], false),
        asking(&[("member", &[])], false),
        raw(None),
        raw(Some(b"")),
        raw(Some(b"\x30\x02\x30\x00")),
        raw(Some(b"\x30\x05\x30\x03\x04\x01a")),
    ];
    for asked in broken {
        assert_eq!(
            search(&mut ldap, vec![asked.clone()]).await,
            PROTOCOL_ERROR,
            "{asked:?}"
        );
    }
    let people: &[(&str, &[&str])] = &[("member", &["uid"])];
    // Content synchronisation, refreshOnly (RFC 4533 section 2.2).
    let sync = || RawControl {
        ctype: "1.3.6.1.4.1.4203.1.9.1.1".to_owned(),
        crit: true,
        val: Some(b"\x30\x03\x0a\x01\x01".to_vec()),
    };
    assert_eq!(
        search(&mut ldap, vec![sync(), asking(people, true)]).await,
        UNAVAILABLE_CRITICAL
    );
    assert_eq!(search(&mut ldap, vec![sync(), asking(people, false)]).await, 0);
    let compare = ldap
        .with_controls(asking(people, true))
        .compare(BASE, "o", "nhs")
        .await
        .unwrap();
    assert_eq!(compare.0.rc, UNAVAILABLE_CRITICAL, "it is for searches");
    let entry = ldap
        .search(WARD, Scope::Base, "(objectClass=*)", vec!["cn"])
        .await
        .unwrap()
        .0
        .remove(0);
    assert!(entry.1.is_empty(), "who does not ask");
    assert_eq!(SearchEntry::construct(entry).dn, WARD);
}

/// The links of one entry may be many: who asks for them holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_links_give_way_to_other_connections() {
    const MEMBERS: usize = 15_000;
    let place = Place::empty().with("[limits]\nworker_threads = 1\n");
    let device = |n| format!("dn: cn=d{n},ou=Lists,o=nhs\nobjectClass: device\ncn: d{n}\n\n");
    let member = |n| format!("member: cn=d{n},ou=Lists,o=nhs\n");
    let devices: String = (0..MEMBERS).map(device).collect();
    let members: String = (0..MEMBERS).map(member).collect();
    let group = format!("dn: {WARD}\nobjectClass: groupOfNames\ncn: Ward staff\n{members}\n");
    place.succeed(&["import", "-"], &(devices + &group));
    let server = place.serve();
    let mut slow = server.bound("administrator").await;
    let mut quick = server.bound("reader").await;
    let asked = asking(&[("member", &["cn", "memberOf"])], true);
    let links = tokio::spawn(async move {
        let search = slow
            .with_controls(asked)
            .search(WARD, Scope::Base, "(objectClass=*)", vec!["cn"]);
        let (entries, _) = search.await.unwrap().success().unwrap();
        let control = entries[0].1.iter().find(|control| control.1.ctype == OID).unwrap();
        control.1.val.as_ref().unwrap().len()
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    found(&mut quick, BASE, Scope::Base, "(objectClass=*)", &["o"]).await;
    assert!(!links.is_finished(), "a look-up waited for all the links of another");
    assert!(links.await.unwrap() > MEMBERS * 50);
}

/// What comes with one entry is bounded: all of it or nothing.
#[tokio::test]
async fn linked_entries_have_only_so_many_octets() {
    let place = Place::filled().with("[limits]\ndereferenced_bytes = 150\n");
    let server = place.serve();
    let mut ldap = server.bound("writer").await;
    let names: &[(&str, &[&str])] = &[("member", &["sn"])];
    assert_eq!(links(&mut ldap, WARD, asking(names, true)).await.unwrap().len(), 2);
    let more: &[(&str, &[&str])] = &[("member", &["sn", "mail", "departmentNumber"])];
    assert_eq!(links(&mut ldap, WARD, asking(more, true)).await, None);
}
