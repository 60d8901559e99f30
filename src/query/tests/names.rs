//! Filters that follow names: memberOf in every position, and chains (1.2.840.113556.1.4.1941).

use super::fixture::{changes, entry, full_view, key, names, names_or_limit, schema, snapshot};
use crate::access::{Condition, View};
use crate::index::testing::Rng;
use crate::model::Entry;
use crate::store::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn person(uid: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let mut all: Vec<(&str, &[&str])> = vec![
        ("objectClass", &["top", "inetOrgPerson"]),
        ("uid", std::slice::from_ref(&uid)),
    ];
    all.extend_from_slice(attributes);
    entry(&format!("uid={uid},o=nhs"), &all)
}

fn group(cn: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let mut all: Vec<(&str, &[&str])> = vec![("objectClass", &["top", "groupOfNames"])];
    all.extend_from_slice(attributes);
    entry(&format!("cn={cn},o=nhs"), &all)
}

/// Staff holds Nurses and Doctors; Nurses holds ann; Doctors holds bob and, in a circle, Staff. eve is in Secret alone, which is
/// in Nurses. The tail has Doctors.
fn directory() -> Arc<Snapshot> {
    let root = entry("o=nhs", &[("objectClass", &["top", "organization"])]);
    let nurses = group(
        "Nurses",
        &[("member", &["UID=ann, O=NHS", "cn=Secret,o=nhs", "cn=Nobody,o=nhs"])],
    );
    let staff = group(
        "Staff",
        &[
            ("member", &["cn=nurses,o=nhs"]),
            ("uniqueMember", &["cn=doctors,o=nhs"]),
        ],
    );
    let secret = group("Secret", &[("member", &["uid=eve,o=nhs"]), ("employeeType", &["hide"])]);
    let people = [
        person("ann", &[("manager", &["uid=bob,o=nhs"])]),
        person("bob", &[("manager", &["uid=eve,o=nhs"])]),
        person("eve", &[]),
        person("zoe", &[("manager", &["uid=zoe,o=nhs"])]),
    ];
    let doctors = group("Doctors", &[("member", &["uid=bob,o=nhs", "cn=Staff,o=nhs"])]);
    let mut base = vec![root, nurses, staff, secret];
    base.extend(people);
    snapshot(&[changes(&base)], &changes(&[doctors]))
}

fn found(filter: &str, view: &View) -> String {
    let all = names(&directory(), filter, view);
    let rdn = |dn: &String| dn.split([',', '=']).nth(1).map(str::to_owned);
    all.iter().filter_map(rdn).collect::<Vec<_>>().join(" ")
}

#[test]
fn member_of_stands_in_any_position() {
    let view = full_view();
    for (filter, expected) in [
        ("(memberOf=cn=Nurses,o=nhs)", "Secret ann"),
        ("(memberOf=cn=Staff,o=nhs)", "Doctors Nurses"),
        ("(memberOf~=cn=Staff,o=nhs)", "Doctors Nurses"),
        ("(memberOf:=cn=Staff,o=nhs)", "Doctors Nurses"),
        ("(memberOf:distinguishedNameMatch:=cn=Staff,o=nhs)", "Doctors Nurses"),
        ("(memberOf=*)", "Doctors Nurses Secret Staff ann bob eve"),
        ("(!(memberOf=*))", "nhs zoe"),
        ("(&(uid=*)(!(memberOf=cn=nurses,o=nhs)))", "bob eve zoe"),
        ("(|(memberOf=cn=Secret,o=nhs)(uid=zoe))", "eve zoe"),
        ("(memberOf=cn=Nowhere,o=nhs)", ""),
        ("(memberOf=no name)", ""),
        ("(!(memberOf=no name))", ""),
        ("(memberOf=cn=N*)", ""),
    ] {
        assert_eq!(found(filter, &view), expected, "{filter}");
    }
}

#[test]
fn a_chain_leads_through_groups_and_ends_in_a_circle() {
    let view = full_view();
    for (filter, expected) in [
        (
            "(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)",
            "Doctors Nurses Secret Staff ann bob eve",
        ),
        ("(memberOf:inChainMatch:=CN=nurses, O=nhs)", "Secret ann eve"),
        ("(&(uid=*)(!(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)))", "zoe"),
        (
            "(member:1.2.840.113556.1.4.1941:=uid=eve,o=nhs)",
            "Doctors Nurses Secret Staff",
        ),
        ("(uniqueMember:1.2.840.113556.1.4.1941:=cn=Doctors,o=nhs)", "Staff"),
        ("(manager:1.2.840.113556.1.4.1941:=uid=eve,o=nhs)", "ann bob"),
        ("(manager:1.2.840.113556.1.4.1941:=uid=zoe,o=nhs)", "zoe"),
        ("(!(manager:1.2.840.113556.1.4.1941:=no name))", ""),
        ("(cn:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)", ""),
        ("(:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)", ""),
        ("(memberOf;x-a:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)", ""),
    ] {
        assert_eq!(found(filter, &view), expected, "{filter}");
    }
}

#[test]
fn no_chain_leads_through_what_is_hidden() {
    let id = |name: &str| schema().find_attribute(name).unwrap();
    let hide = || Condition {
        attribute: id("employeeType"),
        normalized: b"hide".to_vec(),
    };
    let mut hidden_group = full_view();
    hidden_group.hiding.hide_entry(hide());
    let mut hidden_members = full_view();
    hidden_members.hiding.hide_attribute(id("member"), hide());
    let mut excluded = full_view();
    excluded.excluded = Arc::new([key("cn=Secret,o=nhs")]);
    for view in [hidden_group, hidden_members, excluded] {
        for filter in [
            "(memberOf=*)",
            "(memberOf=cn=Secret,o=nhs)",
            "(memberOf:1.2.840.113556.1.4.1941:=cn=Secret,o=nhs)",
            "(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)",
        ] {
            assert!(!found(filter, &view).contains("eve"), "{filter}");
        }
        assert_eq!(found("(member:1.2.840.113556.1.4.1941:=uid=eve,o=nhs)", &view), "");
    }
    let mut unsearchable = full_view();
    unsearchable.searchable.remove(id("member"));
    unsearchable.searchable.remove(id("uniqueMember"));
    assert_eq!(found("(memberOf=*)", &unsearchable), "");
    assert_eq!(
        found("(!(member:1.2.840.113556.1.4.1941:=uid=eve,o=nhs))", &unsearchable),
        ""
    );
    assert_eq!(
        found("(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)", &unsearchable),
        ""
    );
}

#[test]
fn what_is_followed_is_bounded_and_says_so() {
    let mut view = full_view();
    view.quotas.followed_names = 2;
    let directory = directory();
    for filter in [
        "(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)",
        "(member:1.2.840.113556.1.4.1941:=uid=eve,o=nhs)",
    ] {
        assert_eq!(
            names_or_limit(&directory, filter, &view).unwrap_err().limit,
            2,
            "{filter}"
        );
    }
    // All terms share what may be looked at on the way.
    view.quotas.followed_names = 10;
    let many = |term: &str| format!("(|{})", term.repeat(100));
    for term in [
        "(memberOf:1.2.840.113556.1.4.1941:=cn=Staff,o=nhs)",
        "(member:1.2.840.113556.1.4.1941:=uid=eve,o=nhs)",
    ] {
        assert!(names_or_limit(&directory, term, &view).is_ok(), "{term}");
        assert_eq!(names_or_limit(&directory, &many(term), &view).unwrap_err().limit, 10);
    }
    assert_eq!(found(&many("(memberOf=cn=Nurses,o=nhs)"), &view), "Secret ann");
    view.quotas.followed_names = 2;
    // One step has no bound: members are then asked for one by one.
    assert_eq!(found("(memberOf=cn=Nurses,o=nhs)", &view), "Secret ann");
    assert_eq!(found("(memberOf=*)", &view), "Doctors Nurses Secret Staff ann bob eve");
}

/// Random groups of groups, held against the closure of their members by brute force.
#[test]
fn chains_are_the_closure_of_one_step() {
    let mut rng = Rng::new(1941);
    for round in 0..30 {
        let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for number in 0..20 {
            let of = (0..rng.below(4)).map(|_| format!("cn=g{},o=nhs", rng.below(20)));
            members.insert(format!("cn=g{number},o=nhs"), of.collect());
        }
        let entry_of = |(dn, members): (&String, &BTreeSet<String>)| {
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            entry(dn, &[("objectClass", &["groupOfNames"]), ("member", &members)])
        };
        let all: Vec<Entry> = members.iter().map(entry_of).collect();
        let (layer, tail) = all.split_at(rng.below(20));
        let directory = snapshot(&[changes(layer)], &changes(tail));
        let goal = format!("cn=g{},o=nhs", rng.below(20));
        let below = closure(&goal, |dn| members.get(dn).cloned().unwrap_or_default());
        let above = closure(&goal, |dn| {
            let holders = members.iter().filter(|(_, of)| of.contains(dn));
            holders.map(|(holder, _)| holder.clone()).collect()
        });
        let asked = |attribute: &str| {
            let filter = format!("({attribute}:1.2.840.113556.1.4.1941:={goal})");
            names(&directory, &filter, &full_view())
                .into_iter()
                .collect::<BTreeSet<String>>()
        };
        assert_eq!(asked("memberOf"), below, "round {round}: {goal} {members:?}");
        assert_eq!(asked("member"), above, "round {round}: {goal} {members:?}");
    }
}

fn closure(from: &str, step: impl Fn(&str) -> BTreeSet<String>) -> BTreeSet<String> {
    let mut found = step(from);
    loop {
        let more: BTreeSet<String> = found.iter().flat_map(|dn| step(dn)).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}
