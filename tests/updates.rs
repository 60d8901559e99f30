//! What a change is answered, by the section that says so. slapd 2.5 gives the same codes where nothing else is said.

use crate::server::{BASE, Place, Server, found, set, uids};
use crate::transactions;
use ldap3::{Ldap, LdapResult, Mod, Scope};
use std::collections::HashSet;

const SUCCESS: u32 = 0;
const UNDEFINED_TYPE: u32 = 17;
const ADMIN_LIMIT: u32 = 11;
const CONSTRAINT: u32 = 19;
const EXISTS: u32 = 20;
const BAD_SYNTAX: u32 = 21;
const NO_OBJECT: u32 = 32;
const BAD_NAME: u32 = 34;
const BUSY: u32 = 51;
const UNWILLING: u32 = 53;
const NAMING: u32 = 64;
const CLASSES: u32 = 65;
const NOT_ON_RDN: u32 = 67;
const ALREADY: u32 = 68;
const ELSEWHERE: u32 = 71;

/// Attributes and their values.
type Attributes<'a> = Vec<(&'a str, Vec<&'a str>)>;

async fn added(ldap: &mut Ldap, dn: &str, attributes: Attributes<'_>) -> LdapResult {
    let sets = attributes
        .into_iter()
        .map(|(name, values)| (name, HashSet::from_iter(values)));
    ldap.add(dn, sets.collect::<Vec<(&str, HashSet<&str>)>>())
        .await
        .unwrap()
}

async fn modified(ldap: &mut Ldap, dn: &str, changes: Vec<Mod<&str>>) -> LdapResult {
    ldap.modify(dn, changes).await.unwrap()
}

fn device<'a>(cn: &'a str, more: &[(&'a str, &[&'a str])]) -> Attributes<'a> {
    let mut attributes = vec![("objectClass", vec!["device"]), ("cn", vec![cn])];
    attributes.extend(more.iter().map(|(name, values)| (*name, values.to_vec())));
    attributes
}

async fn writer() -> (Server, Ldap) {
    let server = Place::filled().serve();
    let ldap = server.bound("writer").await;
    (server, ldap)
}

/// RFC 4511 section 4.7, RFC 4512 sections 2.3 to 2.5, RFC 4522 section 3, RFC 3866 section 3, RFC 4517 sections 3.3.3 and 3.3.16.
#[tokio::test]
async fn an_add_is_refused_for_what_is_wrong_with_it_before_its_name_is_looked_at() {
    let (_server, mut ldap) = writer().await;
    let dn = "cn=1,o=nhs";
    let cases: &[(&str, Attributes<'_>, u32)] = &[
        (dn, device("1", &[("nosuch", &["x"])]), UNDEFINED_TYPE),
        (dn, device("1", &[("description;binary", &["x"])]), UNDEFINED_TYPE),
        (dn, device("1", &[("description;lang-", &["x"])]), UNDEFINED_TYPE),
        (dn, device("1", &[("description;foo", &["x"])]), UNDEFINED_TYPE),
        (
            dn,
            device("1", &[("description", &["x"]), ("2.5.4.13", &["y"])]),
            EXISTS,
        ),
        (dn, device("1", &[("description", &["x", "X"])]), EXISTS),
        (
            dn,
            device("1", &[("createTimestamp", &["20260101000000Z"])]),
            CONSTRAINT,
        ),
        (
            dn,
            device("1", &[("objectClass;x-a", &["device"]), ("uidNumber", &["010"])]),
            BAD_SYNTAX,
        ),
        (
            dn,
            device("1", &[("objectClass;x-a", &["device"]), ("nhsdirDisabled", &["true"])]),
            BAD_SYNTAX,
        ),
        ("cn=1,ou=Nowhere,o=nhs", device("1", &[("sn", &["x"])]), CLASSES),
        ("o=nhs", device("1", &[("sn", &["x"]), ("o", &["nhs"])]), CLASSES),
        ("entryDN=cn\\=1,o=nhs", device("1", &[]), NAMING),
        ("createTimestamp=20260101000000Z,o=nhs", device("1", &[]), NAMING),
        ("c=GBR,o=nhs", device("1", &[]), BAD_NAME),
        ("seeAlso=nosuch\\=1,o=nhs", device("1", &[]), BAD_NAME),
        (dn, device("1", &[("seeAlso", &["nosuch=x,o=nhs"])]), BAD_SYNTAX),
        (
            dn,
            vec![
                ("objectClass", vec!["device", "extensibleObject"]),
                ("cn", vec!["1"]),
                ("crossCertificatePair", vec!["\u{30}\u{0}"]),
                ("crossCertificatePair;binary", vec!["\u{30}\u{1}x"]),
            ],
            EXISTS,
        ),
        ("cn=1,ou=Nowhere,o=nhs", device("1", &[]), NO_OBJECT),
        ("cn=1,o=elsewhere", device("1", &[]), UNWILLING),
        ("", device("1", &[]), ALREADY),
        (
            "ou=People,o=nhs",
            vec![("objectClass", vec!["organizationalUnit"]), ("ou", vec!["People"])],
            ALREADY,
        ),
        (dn, vec![("objectClass", vec!["top"]), ("cn", vec!["1"])], CLASSES),
        (
            dn,
            vec![
                ("objectClass", vec!["device", "person"]),
                ("cn", vec!["1"]),
                ("sn", vec!["1"]),
            ],
            CLASSES,
        ),
        (
            dn,
            device("1", &[("description;lang-en", &["x"]), ("description", &["x"])]),
            SUCCESS,
        ),
    ];
    for (dn, attributes, code) in cases {
        let answer = added(&mut ldap, dn, attributes.clone()).await;
        assert_eq!(answer.rc, *code, "{dn} {attributes:?}: {}", answer.text);
    }
}

/// RFC 4511 section 4.6.
#[tokio::test]
async fn a_modification_is_refused_for_what_is_wrong_with_it_before_its_entry_is_looked_for() {
    let (_server, mut ldap) = writer().await;
    assert_eq!(
        added(&mut ldap, "cn=1,o=nhs", device("1", &[("description", &["x"])]))
            .await
            .rc,
        SUCCESS
    );
    let missing = "cn=2,o=nhs";
    for (dn, changes, code) in [
        (missing, vec![Mod::Add("nosuch", set(&["x"]))], UNDEFINED_TYPE),
        (
            missing,
            vec![Mod::Delete("description;foo", HashSet::new())],
            UNDEFINED_TYPE,
        ),
        (
            missing,
            vec![Mod::Replace("createTimestamp", set(&["20260101000000Z"]))],
            CONSTRAINT,
        ),
        (
            missing,
            vec![Mod::Add("displayName", HashSet::from(["x", "y"]))],
            CONSTRAINT,
        ),
        (missing, vec![Mod::Add("seeAlso", set(&["x"]))], BAD_SYNTAX),
        (missing, vec![Mod::Add("seeAlso", set(&["nosuch=x"]))], BAD_SYNTAX),
        (missing, vec![Mod::Add("seeAlso", set(&["cn=a+cn=b"]))], BAD_SYNTAX),
        (missing, vec![Mod::Add("description", set(&["x"]))], NO_OBJECT),
        ("", vec![Mod::Add("description", set(&["x"]))], UNWILLING),
        ("cn=Subschema", vec![Mod::Add("description", set(&["x"]))], UNWILLING),
        // Naming values stay, whatever else is wrong: notAllowedOnRDN, where slapd says namingViolation.
        ("cn=1,o=nhs", vec![Mod::Delete("cn", HashSet::new())], NOT_ON_RDN),
        ("cn=1,o=nhs", vec![Mod::Replace("cn", set(&["2"]))], NOT_ON_RDN),
        // The values of one modification are a set.
        (
            "cn=1,o=nhs",
            vec![Mod::Delete("description", HashSet::from(["x", "X"]))],
            SUCCESS,
        ),
    ] {
        let answer = modified(&mut ldap, dn, changes.clone()).await;
        assert_eq!(answer.rc, code, "{dn} {changes:?}: {}", answer.text);
    }
}

/// RFC 4511 section 4.9.
#[tokio::test]
async fn a_new_name_lies_in_the_same_context_and_is_one_that_can_be_compared() {
    let (_server, mut ldap) = writer().await;
    for (dn, rdn, superior, code) in [
        ("ou=People,o=nhs", "ou=People", Some("o=elsewhere"), ELSEWHERE),
        ("ou=People,o=nhs", "ou=People", Some(""), ELSEWHERE),
        ("o=nhs", "o=other", None, ELSEWHERE),
        ("o=nhs", "o=nhs", None, NAMING),
        ("ou=People,o=nhs", "ou=People", Some("ou=People,o=nhs"), UNWILLING),
        ("ou=People,o=nhs", "jpegPhoto=x", None, NAMING),
        ("ou=People,o=nhs", "entryDN=o\\=nhs", None, NAMING),
        ("ou=People,o=nhs", "c=GBR", None, BAD_NAME),
        ("ou=People,o=nhs", "ou=PEOPLE", None, SUCCESS),
    ] {
        let answer = ldap.modifydn(dn, rdn, true, superior).await.unwrap();
        assert_eq!(answer.rc, code, "{dn} {rdn} {superior:?}: {}", answer.text);
    }
}

/// RFC 4511 section 4.10: what cannot be asserted of any entry is said before the entry is looked for.
#[tokio::test]
async fn a_comparison_that_cannot_be_made_is_refused() {
    let (_server, mut ldap) = writer().await;
    let people = "ou=People,o=nhs";
    for (dn, attribute, value, code) in [
        ("ou=Nowhere,o=nhs", "nosuch", "x", UNDEFINED_TYPE),
        ("ou=Nowhere,o=nhs", "uidNumber", "010", BAD_SYNTAX),
        ("ou=Nowhere,o=nhs", "jpegPhoto", "x", 18),
        (people, "objectClass", "nosuchClass", BAD_SYNTAX),
        (people, "ou;binary", "x", UNDEFINED_TYPE),
        (people, "ou;lang-en", "People", 16),
        (people, "ou;foo", "People", UNDEFINED_TYPE),
        (people, "objectClass", "top", 6),
        (people, "structuralObjectClass", "TOP", 6),
        (people, "objectClass", "person", 5),
    ] {
        let answer = ldap.compare(dn, attribute, value).await.unwrap().0;
        assert_eq!(answer.rc, code, "{dn} {attribute} {value}: {}", answer.text);
    }
}

/// RFC 4512 section 3.3: superclasses are implied; OIDs and any case name a class, which is then spelled as the schema does.
#[tokio::test]
async fn an_entry_is_of_every_superclass_of_its_classes() {
    let (_server, mut ldap) = writer().await;
    let person = vec![
        ("objectClass", vec!["2.16.840.1.113730.3.2.2"]),
        ("uid", vec!["77"]),
        ("cn", vec!["A"]),
        ("sn", vec!["B"]),
    ];
    assert_eq!(added(&mut ldap, "uid=77,ou=People,o=nhs", person).await.rc, SUCCESS);
    for filter in [
        "(&(uid=77)(objectClass=top))",
        "(&(uid=77)(objectClass=person))",
        "(&(uid=77)(structuralObjectClass=organizationalPerson))",
        "(&(uid=77)(objectClass:=Person))",
        "(&(uid=77)(!(objectClass=device)))",
    ] {
        assert_eq!(uids(&mut ldap, filter).await, ["77"], "{filter}");
    }
    for filter in [
        "(&(uid=77)(objectClass=nosuchClass))",
        "(&(uid=77)(!(objectClass=nosuchClass)))",
        "(&(uid=77)(objectClass:objectIdentifierMatch:=person))",
    ] {
        assert_eq!(uids(&mut ldap, filter).await, [] as [&str; 0], "{filter}");
    }
    let entries = found(&mut ldap, BASE, Scope::Subtree, "(uid=77)", &["objectClass"]).await;
    assert_eq!(entries[0].attrs["objectClass"], ["inetOrgPerson"]);
}

/// RFC 3866 sections 2 and 3: a tag names a subtype, a range every tag that goes on from it.
#[tokio::test]
async fn language_tags_are_subtypes_and_ranges_find_them() {
    let (_server, mut ldap) = writer().await;
    let tagged = device(
        "1",
        &[("description;lang-en", &["one"]), ("description;lang-en-GB", &["won"])],
    );
    assert_eq!(added(&mut ldap, "cn=1,o=nhs", tagged).await.rc, SUCCESS);
    for (filter, count) in [
        ("(description=won)", 1),
        ("(description;lang-en=won)", 0),
        ("(description;LANG-en-gb=won)", 1),
        ("(description;lang-en-=won)", 1),
        ("(description;lang-en-=one)", 1),
        ("(description;lang-=won)", 1),
        ("(description;lang-e-=won)", 0),
        ("(&(cn=1)(!(description;lang-fr-=won)))", 1),
        // RFC 4512 section 2.5.2, RFC 4511 section 4.5.1.7: an option that nobody knows is Undefined, and asks for nothing.
        ("(&(cn=1)(!(description;foo=won)))", 0),
        ("(&(cn=1)(!(description;foo=*)))", 0),
        ("(&(cn=1)(!(description;x-foo=*)))", 1),
    ] {
        assert_eq!(
            found(&mut ldap, BASE, Scope::Subtree, filter, &["cn"]).await.len(),
            count,
            "{filter}"
        );
    }
    let entries = found(&mut ldap, BASE, Scope::Subtree, "(cn=1)", &["description;foo"]).await;
    assert!(entries[0].attrs.is_empty(), "{:?}", entries[0].attrs);
}

/// RFC 4514 sections 2 and 2.3: names are given with types by their names, below superiors as those are stored, in one spelling.
#[tokio::test]
async fn a_name_is_given_in_one_spelling() {
    let (_server, mut ldap) = writer().await;
    let unit = vec![("objectClass", vec!["organizationalUnit"]), ("ou", vec!["Par"])];
    assert_eq!(added(&mut ldap, "OU=Par,O=NHS", unit).await.rc, SUCCESS);
    let dn = "commonName=Kay,ou=PAR,2.5.4.10=NHS";
    let member = "UID=ann;OU=\"people\",o=nhs , dc=com";
    let group = vec![
        ("objectClass", vec!["groupOfNames"]),
        ("cn", vec!["Kay"]),
        ("member", vec![member]),
    ];
    assert_eq!(added(&mut ldap, dn, group).await.rc, SUCCESS);
    let more = Mod::Add("member", set(&["CN=a\\3db, o=nhs"]));
    assert_eq!(modified(&mut ldap, dn, vec![more]).await.rc, SUCCESS);
    let entries = found(&mut ldap, BASE, Scope::Subtree, "(cn=kay)", &["member", "entryDN"]).await;
    assert_eq!(entries[0].dn, "cn=Kay,ou=Par,o=nhs");
    assert_eq!(entries[0].attrs["entryDN"], ["cn=Kay,ou=Par,o=nhs"]);
    assert_eq!(
        entries[0].attrs["member"],
        ["uid=ann,ou=people,o=nhs,dc=com", "cn=a=b,o=nhs"]
    );
    let renamed = ldap
        .modifydn(dn, "2.5.4.3=L", true, Some("ou=people,O=nhs"))
        .await
        .unwrap();
    assert_eq!(renamed.rc, SUCCESS);
    let entries = found(&mut ldap, BASE, Scope::Subtree, "(cn=L)", &["cn"]).await;
    assert_eq!(entries[0].dn, "cn=L,ou=People,o=nhs");
}

/// What moves keeps names that may be asked for, and fits into memory.
#[tokio::test]
async fn a_rename_has_its_limits() {
    let place = Place::empty().with("[limits]\nrename_bytes = 200000\n");
    let mut ldif = String::new();
    for (name, deep) in [("a", 100), ("b", 27), ("c", 28)] {
        let mut dn = "ou=Lists,o=nhs".to_owned();
        for _ in 0..deep {
            dn = format!("cn={name},{dn}");
            ldif.push_str(&format!("dn: {dn}\nobjectClass: device\ncn: {name}\n\n"));
        }
    }
    for number in 0..3 {
        let text = "x".repeat(50_000 * (number + 1));
        let dn = format!("cn=d{number},cn=b,ou=Lists,o=nhs");
        ldif.push_str(&format!(
            "dn: {dn}\nobjectClass: device\ncn: d{number}\ndescription: {text}\n\n"
        ));
    }
    place.succeed(&["import", "-"], &ldif);
    let server = place.serve();
    let mut ldap = server.bound("writer").await;
    let deepest = |name: &str, deep: usize| format!("{}ou=Lists,o=nhs", format!("cn={name},").repeat(deep));
    let top = "cn=a,ou=Lists,o=nhs";
    let below = deepest("c", 28);
    let refused = ldap.modifydn(top, "cn=a", true, Some(&below)).await.unwrap();
    assert_eq!(refused.rc, 11, "130 RDNs: {refused}");
    assert!(refused.text.contains("128"), "{}", refused.text);
    let many = ldap.modifydn("cn=b,ou=Lists,o=nhs", "cn=e", true, None).await.unwrap();
    assert_eq!(many.rc, 11, "300,000 bytes: {many}");
    assert!(many.text.contains("rename_bytes"), "{}", many.text);
    // Nor by moving less again and again in one transaction.
    let whole = transactions::start(&mut ldap).await;
    for number in 0..20 {
        let (from, to) = [("a", "f"), ("f", "a")][number % 2];
        let dn = format!("cn={from},ou=Lists,o=nhs");
        let part = ldap.with_controls(transactions::within(&whole));
        let queued = part.modifydn(&dn, &format!("cn={to}"), true, None).await.unwrap();
        assert_eq!(queued.rc, 0, "{queued}");
    }
    assert_eq!(transactions::end(&mut ldap, true, &whole).await.0, 11);
    assert_eq!(found(&mut ldap, top, Scope::Base, "(cn=a)", &["1.1"]).await.len(), 1);
    let fits = deepest("c", 26);
    assert_eq!(ldap.modifydn(top, "cn=a", true, Some(&fits)).await.unwrap().rc, 0);
    let moved = format!("{}{fits}", "cn=a,".repeat(100));
    assert_eq!(found(&mut ldap, &moved, Scope::Base, "(cn=a)", &["1.1"]).await.len(), 1);
}

/// What waits together is made durable in parts that fit into memory: all of it, and each after the one before.
#[tokio::test]
async fn many_large_updates_are_all_made() {
    let place = Place::empty().with("[limits]\nrename_bytes = 50000\n");
    let server = place.serve();
    let ldap = server.bound("writer").await;
    let text: &'static str = "x".repeat(20_000).leak();
    let add = |number: usize| {
        let mut ldap = ldap.clone();
        let (cn, dn): (&'static str, _) = (format!("n{number}").leak(), format!("cn=n{number},ou=Lists,o=nhs"));
        let device = vec![
            ("objectClass", set(&["device"])),
            ("cn", set(&[cn])),
            ("description", set(&[text])),
        ];
        tokio::spawn(async move { ldap.add(&dn, device).await.unwrap().rc })
    };
    let adds: Vec<_> = (0..60).map(add).collect();
    for add in adds {
        assert_eq!(add.await.unwrap(), 0);
    }
    let mut ldap = ldap.clone();
    let all = found(&mut ldap, "ou=Lists,o=nhs", Scope::OneLevel, "(cn=n*)", &["1.1"]).await;
    assert_eq!(all.len(), 60);
}

/// What waits has room for so many bytes: further updates are answered busy and not made, and one alone always finds room.
#[tokio::test]
async fn updates_that_find_no_room_are_answered_busy() {
    let server = Place::empty().with("[limits]\nwaiting_update_bytes = 1\n").serve();
    let ldap = server.bound("writer").await;
    let add = |number: usize| {
        let mut ldap = ldap.clone();
        let (cn, dn): (&'static str, _) = (format!("n{number}").leak(), format!("cn=n{number},ou=Lists,o=nhs"));
        let device = vec![("objectClass", set(&["device"])), ("cn", set(&[cn]))];
        tokio::spawn(async move { ldap.add(&dn, device).await.unwrap().rc })
    };
    let adds: Vec<_> = (0..300).map(add).collect();
    let mut made = 0;
    for add in adds {
        let code = add.await.unwrap();
        assert!([SUCCESS, BUSY].contains(&code), "{code}");
        made += usize::from(code == SUCCESS);
    }
    assert!((1..300).contains(&made), "{made}");
    assert_eq!(add(300).await.unwrap(), SUCCESS);
    let mut ldap = ldap.clone();
    let all = found(&mut ldap, "ou=Lists,o=nhs", Scope::OneLevel, "(cn=n*)", &["1.1"]).await;
    assert_eq!(all.len(), made + 1);
}

#[tokio::test]
async fn entries_and_names_have_their_limits() {
    let server = Place::empty().with("[limits]\nentry_bytes = 20000\n").serve();
    let mut admin = server.bound("administrator").await;
    let name = |octets: usize| -> &'static str { "x".repeat(octets).leak() };
    let (dn, text) = ("cn=large,ou=Lists,o=nhs", name(15_000));
    let device = |cn| vec![("objectClass", vec!["device"]), ("cn", vec![cn])];
    assert_eq!(added(&mut admin, dn, device("large")).await.rc, SUCCESS);
    let more = |digit: &'static str| vec![Mod::Add("description", set(&[format!("{digit}{text}").leak()]))];
    assert_eq!(modified(&mut admin, dn, more("1")).await.rc, SUCCESS);
    let refused = modified(&mut admin, dn, more("2")).await;
    assert!(
        refused.rc == ADMIN_LIMIT && refused.text.contains("entry_bytes"),
        "{refused}"
    );
    // As slapd has it, a name is no longer than 8192 octets, whichever way it becomes so.
    let long = format!("cn={},ou=Lists,o=nhs", name(9000));
    assert_eq!(added(&mut admin, &long, device(name(9000))).await.rc, BAD_NAME);
    let unit = vec![("objectClass", vec!["organizationalUnit"]), ("ou", vec!["a"])];
    assert_eq!(added(&mut admin, "ou=a,o=nhs", unit).await.rc, SUCCESS);
    let below = format!("cn={},ou=a,o=nhs", name(5000));
    assert_eq!(added(&mut admin, &below, device(name(5000))).await.rc, SUCCESS);
    for (octets, code) in [(4000, ADMIN_LIMIT), (3000, SUCCESS)] {
        let renamed = admin
            .modifydn("ou=a,o=nhs", &format!("ou={}", name(octets)), true, None)
            .await;
        assert_eq!(renamed.unwrap().rc, code, "{octets}");
    }
    // What is kept of an account is kept under its name.
    for (octets, code) in [(500, ADMIN_LIMIT), (400, SUCCESS)] {
        let account = vec![
            ("objectClass", vec!["nhsdirAccount", "inetOrgPerson"]),
            ("cn", vec![name(octets)]),
            ("sn", vec!["x"]),
        ];
        let dn = format!("cn={},ou=Applications,o=nhs", name(octets));
        assert_eq!(added(&mut admin, &dn, account).await.rc, code, "{octets}");
    }
    let (from, to) = (
        format!("cn={},ou=Applications,o=nhs", name(400)),
        format!("cn={}", name(500)),
    );
    assert_eq!(admin.modifydn(&from, &to, true, None).await.unwrap().rc, ADMIN_LIMIT);
}
