//! Policy, selection and release; release is held to a plain reading of the rules by random records, views and selections.

mod oracle;

use super::*;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};
use crate::store::record::{Operational, derived_values, encode};
use std::collections::BTreeMap;
use std::sync::OnceLock;

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::builtin().unwrap())
}

fn id(name: &str) -> AttributeId {
    schema().find_attribute(name).unwrap_or_else(|| panic!("{name}"))
}

fn key(dn: &str) -> NormalizedDn {
    schema().normalize_dn(&Dn::parse(dn).unwrap()).unwrap()
}

fn builtin_view(name: &str) -> View {
    let views = Policy::builtin().compile(schema(), &[key("o=nhs")]).unwrap();
    View::clone(&views[name])
}

/// `description: value` lines; the same description again is another value.
fn entry(dn: &str, lines: &[(&str, &str)]) -> Entry {
    let mut attributes: Vec<Attribute> = Vec::new();
    for (description, value) in lines {
        let mut parts = description.split(';').map(str::to_owned);
        let description = AttributeDescription {
            attribute_type: parts.next().unwrap(),
            options: parts.collect(),
        };
        let value = value.as_bytes().to_vec();
        match attributes
            .iter_mut()
            .find(|attribute| attribute.description == description)
        {
            Some(attribute) => attribute.values.push(value),
            None => attributes.push(Attribute {
                description,
                values: vec![value],
            }),
        }
    }
    Entry {
        dn: Dn::parse(dn).unwrap(),
        attributes,
    }
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let operational = Operational {
        entry_uuid: [7; 16],
        created: 1_700_000_000,
        modified: 1_700_000_001,
        sequence: 3,
        changed: 1_500_000_000_000_017,
        creator: "cn=feed,ou=Applications,o=nhs",
        modifier: "cn=feed,ou=Applications,o=nhs",
    };
    encode(entry, &operational, schema())
}

fn types() -> Vec<AttributeId> {
    schema().attributes().iter().map(|attribute| attribute.id).collect()
}

type Given = BTreeMap<String, Vec<Vec<u8>>>;

/// What a selection of names releases of an entry; `None` where it is hidden.
fn given(
    entry: &Entry,
    view: &View,
    names: &[&str],
    types_only: bool,
    computed: &[ComputedAttribute],
) -> Option<Given> {
    let (octets, types) = (encoded(entry), types());
    let selection = Selection::compile(names.iter().copied(), types_only, schema());
    let released = release(Record::new(&octets, &types), view, &selection, computed, schema())?;
    let mut out = vec![0xaa];
    released.append_attributes(&mut out);
    assert_eq!(out.remove(0), 0xaa, "only appends");
    Some(decoded(&out))
}

fn element(octets: &[u8]) -> (u8, &[u8], &[u8]) {
    let (tag, first) = (octets[0], octets[1]);
    let (length, at) = if first < 0x80 {
        (usize::from(first), 2)
    } else {
        let count = usize::from(first & 0x7f);
        let length = octets[2..2 + count]
            .iter()
            .fold(0, |length, octet| length << 8 | usize::from(*octet));
        assert!(length >= 0x80 && octets[2] != 0, "minimal length");
        (length, 2 + count)
    };
    (tag, &octets[at..at + length], &octets[at + length..])
}

fn decoded(mut list: &[u8]) -> Given {
    let mut given = Given::new();
    while !list.is_empty() {
        let (tag, attribute, rest) = element(list);
        assert_eq!(tag, 0x30);
        let (tag, description, set) = element(attribute);
        assert_eq!(tag, 0x04);
        let (tag, mut set, nothing) = element(set);
        assert_eq!((tag, nothing.len()), (0x31, 0));
        let mut values = Vec::new();
        while !set.is_empty() {
            let (tag, value, more) = element(set);
            assert_eq!(tag, 0x04);
            values.push(value.to_vec());
            set = more;
        }
        let description = String::from_utf8(description.to_vec()).unwrap();
        assert!(
            given.insert(description.clone(), values).is_none(),
            "{description} came twice"
        );
        list = rest;
    }
    given
}

fn names_of(given: &Given) -> String {
    given.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

const PERSON: &[(&str, &str)] = &[
    ("objectClass", "nhsPerson"),
    ("objectClass", "nhsdirPrivacy"),
    ("uid", "123456789012"),
    ("cn", "Ann O'Brien"),
    ("cn;lang-cy", "Ann"),
    ("cn;lang-cy-gb;x-a", "Anni"),
    ("sn", "O'Brien"),
    ("mobile", "+44 7700 900123"),
    ("mail", "ann@example.nhs.uk"),
    ("nhsPuSecret", "canary"),
    ("nhsTelUID", "canary"),
    ("nhsPersonStatus", "1"),
];

fn person(more: &[(&str, &str)]) -> Entry {
    entry("uid=123456789012,ou=People,o=nhs", &[PERSON, more].concat())
}

/// Names asked for, descriptions given (RFC 4511 section 4.5.1.8, RFC 3673, RFC 4529, RFC 4512 section 2.5).
#[test]
fn selections_give_what_they_name() {
    let view = builtin_view("administrator");
    let all = "cn cn;lang-cy cn;lang-cy-gb;x-a mail mobile nhsPersonStatus objectClass sn uid";
    let many: Vec<String> = (0..600).map(|number| format!("x-unknown-{number}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push("MAIL");
    for (names, expected) in [
        (&[][..], all),
        (&["*"], all),
        (&["*", "*", "cn", "CN"], all),
        (&["1.1"], ""),
        (&["1.1", "mail"], "mail"),
        (&["dn"], ""),
        (&["unknown", ""], ""),
        (&["MaIl", "0.9.2342.19200300.100.1.3"], "mail"),
        (&["2.5.4.4"], "sn"),
        (&["cn"], "cn cn;lang-cy cn;lang-cy-gb;x-a"),
        (&["cn;lang-cy"], "cn;lang-cy"),
        (&["cn;LANG-CY-GB"], "cn;lang-cy-gb;x-a"),
        (&["cn;x-a;lang-cy-gb"], "cn;lang-cy-gb;x-a"),
        (&["cn;lang-cy-"], "cn;lang-cy cn;lang-cy-gb;x-a"),
        (&["cn;lang-en"], ""),
        (&["name"], "cn cn;lang-cy cn;lang-cy-gb;x-a sn"),
        (&["@person"], "cn cn;lang-cy cn;lang-cy-gb;x-a objectClass sn"),
        (&["@unknown"], ""),
        (&["nhsPuSecret", "nhsTelUID", "userPassword"], ""),
        (&["entryUUID", "mail"], "entryUUID mail"),
        (&many, "mail"),
    ] {
        let given = given(&person(&[]), &view, names, false, &[]).unwrap();
        assert_eq!(names_of(&given), expected, "{:?}", &names[..names.len().min(5)]);
    }
    let plus = given(&person(&[]), &view, &["+"], false, &[]).unwrap();
    assert!(plus.contains_key("entryUUID") && plus.contains_key("modifyTimestamp") && !plus.contains_key("cn"));
    let both = given(&person(&[]), &view, &["+", "*", "mail"], false, &[]).unwrap();
    assert!(both.contains_key("entryUUID") && both.contains_key("mail"));
}

#[test]
fn types_only_gives_no_values() {
    let computed = [ComputedAttribute {
        id: schema().well_known().has_subordinates,
        values: vec![b"TRUE".to_vec()],
    }];
    let names = ["*", "entryUUID", "hasSubordinates"];
    let given = given(&person(&[]), &builtin_view("administrator"), &names, true, &computed).unwrap();
    assert!(given.values().all(Vec::is_empty));
    for name in ["cn;lang-cy", "mail", "entryUUID", "hasSubordinates"] {
        assert!(given.contains_key(name), "{name}");
    }
}

#[test]
fn selections_say_what_they_want() {
    let known = schema().well_known();
    let wants = |names: &[&str], id| Selection::compile(names.iter().copied(), false, schema()).wants(id, schema());
    assert!(wants(&["+"], known.has_subordinates) && !wants(&["*"], known.has_subordinates));
    assert!(wants(&["+"], known.member_of) && !wants(&["*"], known.member_of));
    assert!(wants(&["memberof"], known.member_of) && !wants(&["mail"], known.member_of));
}

#[test]
fn hidden_people_and_numbers_are_hidden_from_readers() {
    for profile in ["reader", "full"] {
        let view = builtin_view(profile);
        let plain = given(&person(&[]), &view, &["*", "+"], false, &[]).unwrap();
        assert!(
            plain.contains_key("mobile") && !plain.contains_key("creatorsName"),
            "{profile}"
        );
        let hidden = given(
            &person(&[("nhsdirHidden", "MOBILE")]),
            &view,
            &["*", "mobile"],
            false,
            &[],
        )
        .unwrap();
        assert!(
            !hidden.contains_key("mobile") && !hidden.contains_key("nhsdirHidden") && hidden.contains_key("mail"),
            "{profile}"
        );
        assert!(
            given(&person(&[("nhsdirExDirectory", "TRUE")]), &view, &["*"], false, &[]).is_none(),
            "{profile}"
        );
        assert!(given(&person(&[("nhsdirExDirectory", "FALSE")]), &view, &["*"], false, &[]).is_some());
        assert!(!view.searchable.contains(id("nhsdirExDirectory")));
    }
    let writer = builtin_view("writer");
    let all = person(&[("nhsdirHidden", "mobile"), ("nhsdirExDirectory", "TRUE")]);
    assert!(given(&all, &writer, &["*"], false, &[]).unwrap().contains_key("mobile"));
    let (octets, types) = (encoded(&all), types());
    assert!(builtin_view("reader").hides(Record::new(&octets, &types), schema()));
    assert!(!writer.hides(Record::new(&octets, &types), schema()));
}

#[test]
fn builtin_profiles_reach_what_they_say() {
    let application = key("cn=gp-app,ou=Applications,o=nhs");
    let someone = key("uid=1,ou=People,o=nhs");
    let elsewhere = key("o=elsewhere");
    for (profile, sees_applications, sees_elsewhere, writes, size_limit) in [
        ("reader", false, false, false, 1000),
        ("full", false, false, false, 0),
        ("writer", false, false, true, 0),
        ("administrator", true, true, true, 0),
    ] {
        let view = builtin_view(profile);
        assert!(view.covers(&someone), "{profile}");
        assert_eq!(view.covers(&application), sees_applications, "{profile}");
        assert_eq!(
            view.covers(&key("ou=applications,O=NHS")),
            sees_applications,
            "{profile}"
        );
        assert_eq!(view.covers(&elsewhere), sees_elsewhere, "{profile}");
        assert_eq!(view.quotas.may_write, writes, "{profile}");
        assert_eq!(view.quotas.size_limit, size_limit, "{profile}");
        for never in NEVER_RELEASED {
            assert!(
                !view.releasable.contains(id(never)) && !view.searchable.contains(id(never)),
                "{profile} {never}"
            );
        }
    }
    assert!(!View::default().covers(&someone), "deny by default");
    for never in NEVER_RELEASED {
        assert!(!View::for_protocol(schema()).releasable.contains(id(never)));
    }
}

#[test]
fn a_policy_file_adds_and_replaces() {
    let text = "[profile.reader]\nlike = \"reader\"\nsize_limit = 50\nreleased = [\"name\", \"-sn\", \"userPassword\"]\n\n\
                [profile.kiosk]\nlike = \"reader\"\nbases = [\"ou=Organisations,{suffix}\", \"ou=People,o=nhs\"]\nmay_page = false\n";
    let policy = Policy::parse("policy.toml", text).unwrap();
    assert_eq!(
        policy.profiles(),
        ["administrator", "bound", "full", "kiosk", "reader", "writer"]
    );
    let views = policy.compile(schema(), &[key("o=nhs"), key("o=other")]).unwrap();
    let reader = &views["reader"];
    assert_eq!((reader.quotas.size_limit, reader.excluded.len()), (50, 2));
    assert!(
        reader.releasable.contains(id("cn"))
            && !reader.releasable.contains(id("sn"))
            && !reader.releasable.contains(id("mail"))
    );
    assert!(!reader.releasable.contains(id("userPassword")));
    let kiosk = &views["kiosk"];
    assert!(
        !kiosk.quotas.may_page && kiosk.quotas.size_limit == 50,
        "like the reader of this file"
    );
    assert_eq!(kiosk.bases.len(), 3);
    assert!(kiosk.covers(&key("o=x,ou=Organisations,o=other")) && !kiosk.covers(&key("ou=People,o=other")));
}

#[test]
fn every_fault_of_a_policy_file_has_its_line() {
    let faults = |text: &str| {
        let found =
            Policy::parse("p.toml", text).and_then(|policy| policy.compile(schema(), &[key("o=nhs")]).map(|_| ()));
        found.map_or_else(
            |faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            |()| Vec::new(),
        )
    };
    for (text, expected) in [
        ("", &[][..]),
        (
            "[profile.a]\nsize = 1\n[profil.b]\n",
            &[
                "p.toml:2: expected one of the keys",
                "p.toml:3: expected [profile.NAME]",
            ],
        ),
        (
            "[profile.a]\nsize_limit = -1\npage_size = \"x\"\nmay_page = 1\nbases = \"o=nhs\"\nreleased = [1]\n",
            &[
                "p.toml:2: size_limit: expected a whole number",
                "p.toml:3: page_size",
                "p.toml:4: may_page: expected true or false",
                "p.toml:5: bases: expected a list",
                "p.toml:6: released: expected a string",
            ],
        ),
        ("[profile.a]\nsize_limit = 4294967296\n", &["p.toml:2: size_limit"]),
        (
            "[profile.a]\nreleased = [\n  \"cn\",\n  \"cnn\",\n]\n",
            &["p.toml:4: expected an attribute type of the schema, found \"cnn\""],
        ),
        (
            "[profile.a]\nreleased = [\"-cnn\", \"cn;lang-cy\"]\n",
            &[
                "p.toml:2: expected an attribute type",
                "p.toml:2: expected an attribute type",
            ],
        ),
        (
            "[profile.a]\nbases = [\"nonsense\"]\n",
            &["p.toml:2: expected a distinguished name"],
        ),
        (
            "[profile.a]\nhide_entries = [\"cn\", \"xx=1\", \"nhsdirExDirectory=maybe\"]\n",
            &["p.toml:2:", "p.toml:2:", "p.toml:2:"],
        ),
        (
            "[profile.a]\nhide_attributes = { mobil = \"nhsdirHidden=mobile\" }\n",
            &["p.toml:2: expected an attribute type"],
        ),
        (
            "[profile.a]\nlike = \"b\"\n",
            &["p.toml:2: expected the name of a profile"],
        ),
        (
            "[profile.a]\nlike = \"b\"\n[profile.b]\nlike = \"a\"\n",
            &[
                "p.toml:2: profile b is like itself",
                "p.toml:4: profile a is like itself",
            ],
        ),
        ("profile = 3\n", &["p.toml:1: profile: expected a table"]),
        ("[profile.a\n", &["p.toml:1:"]),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}\n{found}\nexpected {expected}");
        }
    }
}

#[test]
fn computed_attributes_pass_the_view_and_the_selection() {
    let known = schema().well_known();
    let computed = [
        ComputedAttribute {
            id: known.has_subordinates,
            values: vec![b"TRUE".to_vec()],
        },
        ComputedAttribute {
            id: known.member_of,
            values: vec![b"cn=a".to_vec(), vec![b'x'; 300]],
        },
        ComputedAttribute {
            id: id("nhsPuSecret"),
            values: vec![b"canary".to_vec()],
        },
    ];
    let mut view = builtin_view("administrator");
    let names = ["hasSubordinates", "memberOf", "nhsPuSecret"];
    let all = given(&person(&[]), &view, &names, false, &computed).unwrap();
    assert_eq!(names_of(&all), "hasSubordinates memberOf");
    assert_eq!(all["memberOf"][1].len(), 300);
    view.releasable.remove(known.member_of);
    assert_eq!(
        names_of(&given(&person(&[]), &view, &names, false, &computed).unwrap()),
        "hasSubordinates"
    );
    assert_eq!(
        names_of(&given(&person(&[]), &view, &["mail"], false, &computed).unwrap()),
        "mail"
    );
}
