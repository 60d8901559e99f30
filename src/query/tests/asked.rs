//! Cursors that pause and go from thread to thread, scopes that are asked again, and attributes by each of their names.

use super::fixture::{Changes, changes, drain, entry, full_view, key, names, query, schema, snapshot};
use crate::access::View;
use crate::model::SearchScope;
use crate::query::{Advance, Cursor, Order, Query, Work};
use crate::store::{Location, Snapshot};
use std::sync::Arc;

fn large(people: usize) -> Arc<Snapshot> {
    let mut entries = vec![entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])])];
    let mut tail = Vec::new();
    for number in 0..people {
        let dn = format!("uid={number},o=nhs");
        let text = format!("w{} ", number % 7).repeat(3000) + &format!("end{}", number % 3);
        let uid = number.to_string();
        let one = entry(
            &dn,
            &[
                ("objectClass", &["account"]),
                ("uid", &[&uid]),
                ("l", &["here"]),
                ("description;lang-en", &[&text, "short"]),
            ],
        );
        if number % 10 == 9 {
            tail.push(one)
        } else {
            entries.push(one)
        }
    }
    snapshot(&[changes(&entries)], &changes(&tail))
}

/// Drains with little work; between two pauses the cursor goes to another thread, in a new box.
fn wandering(mut cursor: Box<Cursor>, work: u32) -> (Vec<Location>, usize) {
    let (mut found, mut pauses) = (Vec::new(), 0);
    loop {
        let (next, some, over) = std::thread::spawn(move || {
            let mut some = Vec::new();
            let mut left = Work { left: work };
            let over = loop {
                match cursor.advance(&mut left) {
                    Advance::Entry(at) => some.push(at),
                    Advance::Paused => break false,
                    Advance::End => break true,
                    Advance::CandidateLimit => panic!("none"),
                }
            };
            (Box::new(*cursor), some, over)
        })
        .join()
        .unwrap();
        cursor = next;
        found.extend(some);
        if over {
            return (found, pauses);
        }
        pauses += 1;
        assert!(pauses < 100_000);
    }
}

#[test]
fn a_cursor_that_wanders_finds_the_same() {
    let directory = large(40);
    let view = full_view();
    for filter in [
        "(&(l=here)(description;lang-en=*w1*)(description;lang-en=*end0)(description;lang-en=short))",
        "(&(l=here)(|(description;lang-en=w1*)(description;lang-en=*end1))(!(description;lang-en=*w3 w3*end2))(description;lang-en=short))",
        "(|(description;lang-en=*end2)(description;lang-en=w4*)(description;lang-en=nothing))",
        "(&(l=here)(!(description;lang-en=*end2))(!(description;lang-en=*end1)))",
    ] {
        for order in [Order::Any, Order::Name] {
            let mut asked = query(filter, &view);
            asked.order = order;
            let whole = drain(&mut Cursor::open(Arc::clone(&directory), asked.clone()), 1 << 20);
            assert!(!whole.is_empty(), "{filter}");
            for work in [1, 2, 5, 13] {
                for _ in 0..3 {
                    let cursor = Box::new(Cursor::open(Arc::clone(&directory), asked.clone()));
                    let (found, pauses) = wandering(cursor, work);
                    assert_eq!(found, whole, "{filter} {work}");
                    assert!(pauses > 0, "{pauses}");
                }
            }
        }
    }
}

fn groups() -> Arc<Snapshot> {
    let mut entries = vec![
        entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])]),
        entry(
            "cn=g,o=nhs",
            &[
                ("objectClass", &["groupOfNames"]),
                ("cn", &["g"]),
                ("member", &["uid=1,o=nhs", "uid=2,o=nhs"]),
            ],
        ),
    ];
    for number in 0..9 {
        let uid = number.to_string();
        entries.push(entry(
            &format!("uid={uid},o=nhs"),
            &[
                ("objectClass", &["top", "person", "inetOrgPerson"]),
                ("uid", &[&uid]),
                ("sn", &["x"]),
                ("cn", &["x"]),
            ],
        ));
    }
    snapshot(&[changes(&entries)], &Changes::new())
}

#[test]
fn classes_and_groups_by_every_name() {
    let directory = groups();
    let view = full_view();
    let count = |view: &View, filter: &str| names(&directory, filter, view).len();
    for (filter, expected) in [
        ("(objectClass=person)", 9),
        ("(2.5.4.0=PERSON)", 9),
        ("(ObJeCtClAsS=2.5.6.6)", 9),
        ("(objectClass:=person)", 9),
        ("(2.5.4.0:=2.5.6.6)", 9),
        ("(objectClass:dn:=person)", 9),
        ("(objectClass=top)", 11),
        ("(objectClass=organizationalPerson)", 9),
        ("(objectClass;lang-en=person)", 0),
        ("(!(objectClass;lang-en=person))", 11),
        ("(objectClass;lang-en=top)", 0),
        ("(!(objectClass;lang-en=top))", 11),
        ("(objectClass;binary=person)", 0),
        ("(!(objectClass;binary=person))", 0),
        ("(!(objectClass=nosuchclass))", 0),
        ("(structuralObjectClass=inetOrgPerson)", 9),
        ("(2.5.21.9=inetOrgPerson)", 9),
        ("(structuralObjectClass:=inetOrgPerson)", 9),
        ("(!(structuralObjectClass;lang-en=inetOrgPerson))", 11),
        ("(memberOf=cn=g,o=nhs)", 2),
        ("(memberOf=CN = G , o=NHS)", 2),
        ("(1.2.840.113556.1.2.102=cn=g,o=nhs)", 2),
        ("(memberOf:=cn=g,o=nhs)", 2),
        ("(memberOf:distinguishedNameMatch:=cn=g,o=nhs)", 2),
        ("(memberOf:dn:=cn=g,o=nhs)", 2),
        ("(memberOf:dnSubtreeMatch:=o=nhs)", 2),
        ("(memberOf=cn=none,o=nhs)", 0),
        ("(!(memberOf=cn=g,o=nhs))", 9),
        ("(!(memberOf=nonsense))", 0),
        ("(memberOf;lang-en=cn=g,o=nhs)", 0),
        ("(!(memberOf;lang-en=cn=g,o=nhs))", 11),
        ("(memberOf;lang-en=*)", 0),
        ("(!(memberOf;lang-en=*))", 11),
        ("(memberOf=*)", 2),
        ("(!(memberOf=*))", 9),
    ] {
        assert_eq!(count(&view, filter), expected, "{filter}");
    }
    let mut blind = full_view();
    for name in ["memberOf", "objectClass", "structuralObjectClass"] {
        blind.searchable.remove(schema().find_attribute(name).unwrap());
    }
    for filter in [
        "(objectClass=person)",
        "(2.5.4.0=person)",
        "(objectClass:=person)",
        "(objectClass:dn:=person)",
        "(objectClass=top)",
        "(objectClass;lang-en=person)",
        "(structuralObjectClass=inetOrgPerson)",
        "(structuralObjectClass:=inetOrgPerson)",
        "(memberOf=cn=g,o=nhs)",
        "(memberOf:=cn=g,o=nhs)",
        "(memberOf:dn:=cn=g,o=nhs)",
        "(memberOf:1.2.840.113556.1.4.1941:=cn=g,o=nhs)",
        "(memberOf=*)",
        "(memberOf;lang-en=*)",
    ] {
        assert_eq!(count(&blind, filter), 0, "{filter}");
        assert_eq!(count(&blind, &format!("(!{filter})")), 0, "not {filter}");
    }
}

/// The same queries asked again and again on one thread, over more scopes than are remembered.
#[test]
fn single_levels_and_subtrees_of_before() {
    let directory = groups();
    let view = full_view();
    let ask = |base: &str, scope: SearchScope, filter: &str| -> Vec<String> {
        let asked = Query {
            base: key(base),
            scope,
            ..query(filter, &view)
        };
        let mut found: Vec<_> = drain(&mut Cursor::open(Arc::clone(&directory), asked), 3)
            .into_iter()
            .map(|at| directory.record(at).dn().to_owned())
            .collect();
        found.sort();
        found
    };
    let bases = ["o=nhs", "uid=1,o=nhs", "uid=2,o=nhs", "cn=g,o=nhs", "o=none", ""];
    let filters = [
        "(uid=1)",
        "(objectClass=*)",
        "(|(uid=1)(uid=2))",
        "(entryDN=uid=1,o=nhs)",
        "(cn=x)",
    ];
    let all = || {
        let mut all = Vec::new();
        for base in bases {
            for scope in [
                SearchScope::SingleLevel,
                SearchScope::WholeSubtree,
                SearchScope::Subordinates,
                SearchScope::BaseObject,
            ] {
                for filter in filters {
                    all.push(ask(base, scope, filter));
                    assert_eq!(all.last(), Some(&ask(base, scope, filter)));
                    assert_eq!(all.last(), Some(&ask(base, scope, filter)));
                }
            }
        }
        all
    };
    let first = std::thread::scope(|threads| threads.spawn(all).join().unwrap());
    assert_eq!(first, all());
}
