//! A scope of before is remembered with where it lies, and taken for no other.

use super::fixture::{Changes, changes, drain, entry, full_view, key, query, snapshot, visible};
use crate::access::View;
use crate::model::SearchScope;
use crate::query::Cursor;
use crate::query::scope::Scope;
use crate::schema::NormalizedDn;
use crate::store::Snapshot;
use std::sync::Arc;

const WARDS: &[&str] = &["North", "South", "West"];

fn directory(people: usize) -> Arc<Snapshot> {
    let mut entries = vec![entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])])];
    for ward in WARDS {
        let dn = format!("ou={ward},o=nhs");
        entries.push(entry(&dn, &[("objectClass", &["organizationalUnit"]), ("ou", &[ward])]));
        for number in 0..people {
            let (dn, uid) = (format!("uid={number},{dn}"), number.to_string());
            entries.push(entry(
                &dn,
                &[("objectClass", &["account"]), ("uid", &[&uid]), ("l", &["here"])],
            ));
        }
    }
    let changed = entry(
        "uid=1,ou=North,o=nhs",
        &[("objectClass", &["account"]), ("uid", &["1"])],
    );
    snapshot(&[changes(&entries)], &changes(&[changed]))
}

fn views() -> Vec<View> {
    let (mut some, mut without) = (full_view(), full_view());
    some.bases = Arc::new([key("ou=South,o=nhs"), key("ou=West,o=nhs")]);
    without.excluded = Arc::new([key("ou=West,o=nhs"), key("uid=2,ou=South,o=nhs")]);
    vec![full_view(), some, without]
}

/// What the scope means, asked of each entry's key.
fn expected(snapshot: &Snapshot, view: &View, base: &NormalizedDn, scope: SearchScope, uid: &str) -> Vec<String> {
    let mut names = Vec::new();
    for at in visible(snapshot) {
        let (entry, record) = (snapshot.key(at), snapshot.record(at));
        let in_scope = match scope {
            SearchScope::SingleLevel => entry.parent().as_ref() == Some(base),
            _ => entry.is_within(base),
        };
        if in_scope && view.covers(&entry) && record.dn().starts_with(&format!("uid={uid},")) {
            names.push(record.dn().to_owned());
        }
    }
    names.sort();
    names
}

#[test]
fn a_search_finds_the_same_in_a_scope_of_before() {
    let (directories, views) = ([directory(12), directory(5)], views());
    let bases = ["o=nhs", "ou=North,o=nhs", "ou=South,o=nhs", "uid=2,ou=West,o=nhs"];
    let mut found_in_all = 0;
    for round in 0..3 {
        for (number, view) in views.iter().enumerate() {
            for base in bases.map(key) {
                // Twice in a row, and again when others were in between.
                for turn in 0..2 {
                    let snapshot = &directories[(round + turn) % 2];
                    for (scope, uid) in [
                        (SearchScope::WholeSubtree, "1"),
                        (SearchScope::WholeSubtree, "2"),
                        (SearchScope::SingleLevel, "2"),
                        (SearchScope::SingleLevel, "9"),
                    ] {
                        let mut asked = query(&format!("(uid={uid})"), view);
                        (asked.base, asked.scope) = (base.clone(), scope);
                        let mut cursor = Cursor::open(Arc::clone(snapshot), asked);
                        let found = drain(&mut cursor, 100).into_iter();
                        let mut found: Vec<_> = found.map(|at| snapshot.record(at).dn().to_owned()).collect();
                        found.sort();
                        let expected = expected(snapshot, view, &base, scope, uid);
                        assert_eq!(found, expected, "{round} {number} {base:?} {scope:?} uid={uid}");
                        found_in_all += found.len();
                    }
                }
            }
        }
    }
    assert!(found_in_all > 100, "{found_in_all}");
}

#[test]
fn a_scope_is_known_from_the_second_search_on() {
    let snapshot = directory(3);
    let segment = &snapshot.layers[0].segment;
    let view = full_view();
    let scope = |base: &str, scope: SearchScope, view: &View| {
        let mut asked = query("(uid=1)", view);
        (asked.base, asked.scope) = (key(base), scope);
        Scope::new(&mut asked)
    };
    let whole = scope("o=nhs", SearchScope::WholeSubtree, &view);
    assert!(whole.known_ids(0, segment).is_none(), "first");
    let known = whole.known_ids(0, segment).expect("second");
    assert_eq!(known.len(), whole.ids(0, segment).len());
    assert!(whole.known_ids(1, segment).is_none(), "of the first layer alone");
    let others = [
        scope("ou=North,o=nhs", SearchScope::WholeSubtree, &view),
        scope("o=nhs", SearchScope::SingleLevel, &view),
        scope("o=nhs", SearchScope::WholeSubtree, &full_view()),
        // What it leaves out depends on where the base's entry lies.
        scope("o=nhs", SearchScope::Subordinates, &view),
        scope("o=nhs", SearchScope::BaseObject, &view),
    ];
    for (number, other) in others.iter().enumerate() {
        assert!(other.known_ids(0, segment).is_none(), "{number}");
    }
    let rebuilt = snapshot_of_nobody();
    assert!(
        whole.known_ids(0, &rebuilt.layers[0].segment).is_none(),
        "another segment"
    );
}

fn snapshot_of_nobody() -> Arc<Snapshot> {
    let top = entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])]);
    snapshot(&[changes(&[top])], &Changes::new())
}
