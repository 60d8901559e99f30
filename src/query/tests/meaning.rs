//! What filters mean (RFC 4511 section 4.5.1.7), end to end over a directory of a few entries.

use super::fixture::{changes, entry, full_view, names, query, schema, snapshot};
use crate::access::{Condition, View};
use crate::model::{Filter, SearchScope};
use crate::query::{Advance, CandidateLimit, Content, Cursor, Groups, Predicate, Work, compile, compile_in};
use crate::store::Snapshot;
use std::sync::Arc;

fn directory() -> Arc<Snapshot> {
    let people = "ou=People,o=nhs";
    let root = entry("o=nhs", &[("objectClass", &["top", "organization"]), ("o", &["nhs"])]);
    let ou = entry(
        people,
        &[("objectClass", &["top", "organizationalUnit"]), ("ou", &["People"])],
    );
    let ann = entry(
        "uid=1,ou=People,o=nhs",
        &[
            ("objectClass", &["top", "person", "inetOrgPerson"]),
            ("uid", &["1"]),
            ("cn", &["Ann Smith", "Annie  Smith"]),
            ("cn;lang-fr", &["Anne Forgeron"]),
            ("sn", &["Smith"]),
            ("mail", &["Ann.Smith@nhs.example"]),
            ("uidNumber", &["6"]),
            ("telephoneNumber", &["+44 20 7946-0001"]),
            ("seeAlso", &["OU=people, o=NHS"]),
        ],
    );
    let bob = entry(
        "uid=2,ou=People,o=nhs",
        &[
            ("objectClass", &["top", "person"]),
            ("uid", &["2"]),
            ("cn", &["Bob O'Brien"]),
            ("sn", &["O'Brien"]),
            ("uidNumber", &["10"]),
            ("mobile", &["07700 900123"]),
            ("employeeType", &["hide"]),
        ],
    );
    snapshot(&[changes(&[root, ou, ann])], &changes(&[bob]))
}

const ROOT: &str = "o=nhs";
const PEOPLE: &str = "ou=People,o=nhs";
const ANN: &str = "uid=1,ou=People,o=nhs";
const BOB: &str = "uid=2,ou=People,o=nhs";

#[test]
fn filters_find_what_the_rfcs_say() {
    let directory = directory();
    let view = full_view();
    let cases: &[(&str, &[&str])] = &[
        ("(objectClass=*)", &[ROOT, PEOPLE, ANN, BOB]),
        ("(&)", &[ROOT, PEOPLE, ANN, BOB]),
        ("(:objectIdentifierMatch:=person)", &[ANN, BOB]),
        ("(!(:objectIdentifierMatch:=1.2.3))", &[ROOT, PEOPLE, ANN, BOB]),
        ("(!(:objectIdentifierMatch:=nobodyDefinedIt))", &[]),
        ("(|)", &[]),
        ("(cn=ann smith)", &[ANN]),
        ("(cn=ANNIE SMITH)", &[ANN]),
        ("(commonName=ann smith)", &[ANN]),
        ("(2.5.4.3=ann smith)", &[ANN]),
        ("(cn=ann)", &[]),
        ("(cn=ann*)", &[ANN]),
        ("(cn=*smith)", &[ANN]),
        ("(cn=*nn*ith*)", &[ANN]),
        ("(cn=a*n*n s*h)", &[ANN]),
        ("(cn=*brien)", &[BOB]),
        // Options: the plain type finds both; an option only those that carry it.
        ("(cn=anne forgeron)", &[ANN]),
        ("(cn;lang-fr=anne forgeron)", &[ANN]),
        ("(CN;LANG-FR=*)", &[ANN]),
        ("(cn;lang-fr=ann smith)", &[]),
        ("(cn;lang-de=*)", &[]),
        // A supertype finds its subtypes.
        ("(name=smith)", &[ANN]),
        ("(name=nhs)", &[ROOT]),
        // Numbers order as numbers.
        ("(uidNumber>=7)", &[BOB]),
        ("(uidNumber<=7)", &[ANN]),
        ("(uidNumber=06)", &[]),
        ("(uidNumber:1.2.840.113556.1.4.803:=6)", &[ANN]),
        ("(uidNumber:1.2.840.113556.1.4.803:=2)", &[ANN, BOB]),
        ("(uidNumber:1.2.840.113556.1.4.804:=12)", &[ANN, BOB]),
        ("(telephoneNumber=+442079460001)", &[ANN]),
        ("(telephoneNumber=*7946*)", &[ANN]),
        ("(seeAlso=ou=people,o=nhs)", &[ANN]),
        ("(entryDN=UID=1,OU=people,O=nhs)", &[ANN]),
        ("(entryDN=*)", &[ROOT, PEOPLE, ANN, BOB]),
        ("(entryDN:dnSubtreeMatch:=OU=people,O=nhs)", &[PEOPLE, ANN, BOB]),
        ("(entryDN:dnSubordinateMatch:=OU=people,O=nhs)", &[ANN, BOB]),
        ("(entryDN:dnOneLevelMatch:=O=nhs)", &[PEOPLE]),
        ("(entryDN:dnSuperiorMatch:=uid=1,OU=people,O=nhs)", &[ROOT, PEOPLE]),
        ("(!(entryDN:dnSubtreeMatch:=ou=People,o=nhs))", &[ROOT]),
        ("(entryDN:dnSubtreeMatch:=no name)", &[]),
        ("(seeAlso:dnSubtreeMatch:=o=nhs)", &[ANN]),
        ("(seeAlso:dnSubtreeMatch:=ou=People,o=nhs)", &[ANN]),
        ("(seeAlso:dnSubordinateMatch:=ou=People,o=nhs)", &[]),
        ("(seeAlso:dnOneLevelMatch:=o=nhs)", &[ANN]),
        ("(seeAlso:dnSuperiorMatch:=uid=9,ou=People,o=nhs)", &[ANN]),
        ("(:dnSuperiorMatch:=uid=9,ou=People,o=nhs)", &[ANN]),
        ("(cn:dnSubtreeMatch:=o=nhs)", &[]),
        // Absent is False, so its negation is True; Undefined stays Undefined.
        ("(!(mail=*))", &[ROOT, PEOPLE, BOB]),
        ("(!(mail=x@y))", &[ROOT, PEOPLE, ANN, BOB]),
        ("(!(noSuchAttribute=x))", &[]),
        ("(!(uidNumber=x))", &[]),
        ("(!(mail>=a))", &[]),
        ("(|(noSuchAttribute=x)(uid=2))", &[BOB]),
        ("(!(&(noSuchAttribute=x)(uid=2)))", &[ROOT, PEOPLE, ANN]),
        ("(!(|(noSuchAttribute=x)(uid=2)))", &[]),
        ("(hasSubordinates=TRUE)", &[ROOT, PEOPLE]),
        ("(!(hasSubordinates=TRUE))", &[ANN, BOB]),
        ("(hasSubordinates=yes)", &[]),
        ("(!(hasSubordinates=yes))", &[]),
        ("(hasSubordinates=*)", &[ROOT, PEOPLE, ANN, BOB]),
        ("(numSubordinates>=1)", &[ROOT, PEOPLE]),
        ("(numSubordinates:integerMatch:=2)", &[PEOPLE]),
        ("(&(uid=*)(numSubordinates=0))", &[ANN, BOB]),
        ("(structuralObjectClass=inetOrgPerson)", &[ANN]),
        ("(subschemaSubentry=CN=subschema)", &[ROOT, PEOPLE, ANN, BOB]),
        // Extensible matches.
        ("(cn:caseExactMatch:=Ann Smith)", &[ANN]),
        ("(cn:caseExactMatch:=ann smith)", &[]),
        ("(cn:caseIgnoreSubstringsMatch:=\\2asmith)", &[ANN]),
        ("(cn:wordMatch:=brien)", &[BOB]),
        ("(sn:caseIgnoreOrderingMatch:=p)", &[BOB]),
        ("(:caseIgnoreMatch:=smith)", &[ANN]),
        (
            "(:generalizedTimeOrderingMatch:=99991231235959Z)",
            &[ROOT, PEOPLE, ANN, BOB],
        ),
        ("(uidNumber:caseIgnoreMatch:=6)", &[]),
        ("(!(uidNumber:caseIgnoreMatch:=6))", &[]),
        ("(ou:dn:=people)", &[PEOPLE, ANN, BOB]),
        ("(ou:dn:caseIgnoreMatch:=PEOPLE)", &[PEOPLE, ANN, BOB]),
        ("(&(ou:dn:=people)(uid=2))", &[BOB]),
        ("(cn:noSuchMatch:=x)", &[]),
        ("(!(cn:noSuchMatch:=x))", &[]),
        ("(cn~=obrien)", &[BOB]),
        ("(cn:directoryStringApproxMatch:=obrien)", &[BOB]),
        ("(cn:1.3.6.1.4.1.4203.666.4.4:=obrien)", &[BOB]),
        ("(:directoryStringApproxMatch:=obrien)", &[BOB]),
        ("(ou:dn:directoryStringApproxMatch:=peeple)", &[PEOPLE, ANN, BOB]),
        ("(mail:IA5StringApproxMatch:=an.smyth@nhs.example)", &[ANN]),
        ("(!(mail:directoryStringApproxMatch:=bob))", &[]),
        ("(!(cn:IA5StringApproxMatch:=bob))", &[]),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&directory, filter, &view), *expected, "{filter}");
    }
}

fn hidden(name: &str, value: &[u8]) -> Condition {
    Condition {
        attribute: schema().find_attribute(name).expect("defined"),
        normalized: value.to_vec(),
    }
}

#[test]
fn views_leave_no_oracle() {
    let directory = directory();
    let id = |name: &str| schema().find_attribute(name).expect("defined");
    let mut unsearchable = full_view();
    unsearchable.searchable.remove(id("mail"));
    let mut ex_directory = full_view();
    ex_directory.hiding.hide_entry(hidden("employeeType", b"hide"));
    let mut hidden_mobile = full_view();
    hidden_mobile
        .hiding
        .hide_attribute(id("mobile"), hidden("employeeType", b"hide"));
    let mut narrow = full_view();
    narrow.bases = Arc::new([super::fixture::key("uid=2,ou=people,o=nhs")]);
    let cases: &[(&View, &str, &[&str])] = &[
        (&unsearchable, "(mail=*)", &[]),
        (&unsearchable, "(!(mail=*))", &[]),
        (&unsearchable, "(|(mail=*)(uid=2))", &[BOB]),
        (&ex_directory, "(objectClass=*)", &[ROOT, PEOPLE, ANN]),
        (&ex_directory, "(uid=2)", &[]),
        (&ex_directory, "(!(uid=1))", &[ROOT, PEOPLE]),
        (&hidden_mobile, "(mobile=*)", &[]),
        (&hidden_mobile, "(mobile=07700900123)", &[]),
        (&hidden_mobile, "(!(mobile=07700900123))", &[ROOT, PEOPLE, ANN, BOB]),
        (&hidden_mobile, "(!(mobile=*))", &[ROOT, PEOPLE, ANN, BOB]),
        (&hidden_mobile, "(uid=2)", &[BOB]),
        (&narrow, "(objectClass=*)", &[BOB]),
        (&ex_directory, "(numSubordinates=1)", &[ROOT, PEOPLE]),
        (&ex_directory, "(numSubordinates=2)", &[]),
    ];
    for (view, filter, expected) in cases {
        assert_eq!(names(&directory, filter, view), *expected, "{filter}");
    }
    assert!(names(&directory, "(objectClass=*)", &View::default()).is_empty());
}

#[test]
fn predicates_are_simplified() {
    let cases = [
        ("(&(&(uid=1)(uid=2))(uid=1))", "(&(uid=1)(uid=2))"),
        ("(|(uid=1)(|(uid=1)))", "(uid=1)"),
        ("(&(uid=1)(objectClass=*))", "(uid=1)"),
        ("(|(uid=1)(objectClass=*))", "(&)"),
        ("(!(!(uid=1)))", "(uid=1)"),
        ("(&(uid=1)(|))", "(|)"),
        ("(&(uid=1)(nosuch=1))", "(&(uid=1)(undefined))"),
        ("(cn=A*  b c *D)", "(cn=a* b c *d)"),
    ];
    for (filter, expected) in cases {
        let predicate = compile(&Filter::parse(filter).unwrap(), &schema(), &full_view());
        assert_eq!(predicate.display(&schema()).to_string(), expected, "{filter}");
    }
}

#[test]
fn settling_keeps_only_what_is_true() {
    let view = full_view();
    let settled = |filter: &str| query(filter, &view).predicate.settle().display(&schema()).to_string();
    assert_eq!(settled("(!(&(uid=1)(|(uid=2)(nosuch=3))))"), "(!(uid=1))");
    assert_eq!(settled("(!(|(uid=1)(uid=2)))"), "(&(!(uid=1))(!(uid=2)))");
    assert_eq!(settled("(!(nosuch=1))"), "(|)");
    assert_eq!(Predicate::Undefined.settle(), Predicate::False);
}

/// Entries that one evaluation counts are work, in one layer and in the tail: the search gives way for them.
#[test]
fn counting_what_is_hidden_is_work() {
    let ou = entry(
        "ou=People,o=nhs",
        &[("objectClass", &["organizationalUnit"]), ("ou", &["People"])],
    );
    let person = |number: usize| {
        let uid = number.to_string();
        entry(
            &format!("uid={uid},ou=People,o=nhs"),
            &[
                ("objectClass", &["person"]),
                ("uid", &[&uid]),
                ("employeeType", &["hide"]),
            ],
        )
    };
    let all: Vec<_> = std::iter::once(ou).chain((0..500).map(person)).collect();
    let mut ex_directory = full_view();
    ex_directory.hiding.hide_entry(hidden("employeeType", b"hide"));
    for directory in [snapshot(&[changes(&all)], &changes(&[])), snapshot(&[], &changes(&all))] {
        let spent = |view: &View, filter: &str| {
            let groups = Groups {
                snapshot: &directory,
                schema: &schema(),
                view,
                collective: None,
                kept: None,
            };
            let mut asked = query("(|)", view);
            asked.base = super::fixture::key("ou=People,o=nhs");
            asked.scope = SearchScope::BaseObject;
            asked.predicate = compile_in(&Filter::parse(filter).expect("a filter"), groups).expect("no chain");
            let mut cursor = Cursor::open(Arc::clone(&directory), asked);
            let mut work = Work { left: 1 << 20 };
            let found = std::iter::from_fn(|| match cursor.advance(&mut work) {
                Advance::Entry(at) => Some(at),
                Advance::End => None,
                Advance::Paused | Advance::CandidateLimit => panic!("there is work enough and no limit"),
            });
            let found = found.count();
            (found, (1 << 20) - work.left)
        };
        for (filter, found) in [("(numSubordinates=0)", 1), ("(hasSubordinates=TRUE)", 0)] {
            let (seen, work) = spent(&ex_directory, filter);
            let (_, least) = spent(&full_view(), filter);
            assert_eq!(seen, found, "{filter}");
            assert!(
                work >= least + 500,
                "{filter}: {work}, and {least} where nothing is hidden"
            );
        }
    }
}

/// A filter of many terms on an attribute of many values is evaluated in turns, and counts its entry as one candidate.
#[test]
fn many_terms_on_many_values_give_way() {
    let values: Vec<String> = (0..3000).map(|number| format!("value {number}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let one = entry(
        "ou=People,o=nhs",
        &[
            ("objectClass", &["organizationalUnit"]),
            ("ou", &["People"]),
            ("description", &values),
        ],
    );
    let mut view = full_view();
    view.quotas.candidates = 1;
    let terms: String = (0..50)
        .map(|number| format!("(description=*nothing {number}*)"))
        .collect();
    for directory in [
        snapshot(&[changes(std::slice::from_ref(&one))], &changes(&[])),
        snapshot(&[], &changes(std::slice::from_ref(&one))),
    ] {
        for (last, found) in [("(description=*ue 2999)", 1), ("(description=*ue 3000)", 0)] {
            let mut asked = query(&format!("(|{terms}{last})"), &view);
            asked.base = super::fixture::key("ou=People,o=nhs");
            asked.scope = SearchScope::BaseObject;
            asked.candidate_limit = CandidateLimit::of(&view, &schema());
            let mut cursor = Cursor::open(Arc::clone(&directory), asked);
            let (mut seen, mut turns) = (0, 0);
            loop {
                let mut work = Work { left: 16 };
                match cursor.advance(&mut work) {
                    Advance::Entry(_) => seen += 1,
                    Advance::Paused => turns += 1,
                    Advance::End => break,
                    Advance::CandidateLimit => panic!("one candidate was counted as more"),
                }
                assert!(turns < 100, "a turn without any progress");
            }
            assert_eq!(seen, found, "{last}");
            assert!(
                turns >= 25,
                "{last}: 51 terms of ten units each in {turns} turns of sixteen"
            );
        }
    }
    // The same where changes are followed.
    for (last, found) in [("(description=*ue 2999)", true), ("(description=*ue 3000)", false)] {
        let directory = snapshot(&[], &changes(std::slice::from_ref(&one)));
        let mut content = Content::new(query(&format!("(|{terms}{last})"), &view));
        let (entry, schema) = (&directory.tail[0], schema());
        let mut turns = 0..100;
        let held = turns.find_map(|_| {
            content.holds(
                &entry.key,
                directory.tail_record(entry),
                &schema,
                &mut Work { left: 16 },
            )
        });
        assert_eq!(held, Some(found), "{last}");
        assert!(turns.start >= 25, "{last}: {} turns", turns.start);
    }
}
