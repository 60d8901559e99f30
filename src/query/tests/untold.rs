//! What limits of a profile do not tell of hidden entries and of names that are out of reach (T15, T17).

use super::fixture::{Changes, changes, entry, full_view, key, names_or_limit, query, schema, snapshot};
use crate::access::{Condition, View};
use crate::query::Cursor;
use crate::store::Snapshot;
use std::sync::Arc;

fn secret_unit(hidden: usize) -> Arc<Snapshot> {
    let mut entries = vec![entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])])];
    for number in 0..400 {
        let uid = number.to_string();
        let ward = format!("ward {}", number % 10);
        entries.push(entry(
            &format!("uid={uid},o=nhs"),
            &[
                ("objectClass", &["inetOrgPerson"]),
                ("uid", &[&uid]),
                ("departmentNumber", &[&ward]),
                ("cn", &["Plain"]),
            ],
        ));
    }
    for number in 0..hidden {
        let uid = format!("h{number}");
        entries.push(entry(
            &format!("uid={uid},o=nhs"),
            &[
                ("objectClass", &["inetOrgPerson"]),
                ("uid", &[&uid]),
                ("cn", &["Secret Person"]),
                ("ou", &["Secret"]),
                ("employeeType", &["hide"]),
            ],
        ));
    }
    snapshot(&[changes(&entries)], &Changes::new())
}

fn hiding() -> View {
    let mut view = full_view();
    view.hiding.hide_entry(Condition {
        attribute: schema().find_attribute("employeeType").unwrap(),
        normalized: b"hide".to_vec(),
    });
    view
}

/// T15: may_scan = false, and the refusal tells of a value of a hidden entry.
#[test]
fn whether_it_is_a_scan_tells_nothing_of_hidden_entries() {
    let view = hiding();
    let mut told = Vec::new();
    for filter in [
        "(!(cn:caseExactMatch:=Secret Person))",
        "(!(cn;lang-fr=Secret Person))",
        "(!(cn=*ecret Per*))",
        "(!(cn=Secret Person))",
        "(!(cn=secret per*))",
        "(!(entryDN=uid=h0,o=nhs))",
        "(!(entryDN:dnSubtreeMatch:=uid=h0,o=nhs))",
        "(&(!(entryDN=uid=h0,o=nhs))(objectClass=*))",
        "(!(&(ou=Secret)(entryDN=uid=h0,o=nhs)))",
        "(&(!(cn=*ecret Per*))(!(ou=nowhere)))",
    ] {
        let scan = |hidden: usize| Cursor::open(secret_unit(hidden), query(filter, &view)).plan().is_scan();
        if scan(0) != scan(1) {
            told.push(filter);
        }
    }
    assert!(told.is_empty(), "{told:?}");
}

/// T17: the names of accounts, which lie in a subtree that is left out.
#[test]
fn whether_it_is_a_scan_tells_no_names() {
    let mut view = full_view();
    view.excluded = Arc::new([key("ou=Applications,o=nhs")]);
    let (mut all, account) = (
        Vec::new(),
        entry(
            "cn=app1,ou=Applications,o=nhs",
            &[("objectClass", &["device"]), ("cn", &["app1"])],
        ),
    );
    for number in 0..400 {
        let uid = number.to_string();
        all.push(entry(
            &format!("uid={uid},o=nhs"),
            &[("objectClass", &["account"]), ("uid", &[&uid])],
        ));
    }
    let without = snapshot(&[changes(&all)], &Changes::new());
    all.push(account);
    let with = snapshot(&[changes(&all)], &Changes::new());
    for filter in [
        "(!(entryDN=cn=app1,ou=Applications,o=nhs))",
        "(!(entryDN:dnSubtreeMatch:=ou=Applications,o=nhs))",
    ] {
        let scan = |directory: &Arc<Snapshot>| {
            Cursor::open(Arc::clone(directory), query(filter, &view))
                .plan()
                .is_scan()
        };
        assert_eq!(scan(&without), scan(&with), "{filter}");
    }
}

/// T15: names of members of groups that cannot be seen use up what a filter may look at.
#[test]
fn looks_tell_nothing_of_hidden_groups() {
    let directory = |hidden: usize| {
        let members: Vec<String> = (0..hidden.max(1)).map(|n| format!("uid=s{n},o=nhs")).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let mut entries = vec![entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])])];
        entries.push(entry(
            "cn=g,o=nhs",
            &[
                ("objectClass", &["groupOfNames"]),
                ("cn", &["g"]),
                ("member", &["uid=1,o=nhs"]),
            ],
        ));
        entries.push(entry(
            "cn=secret,o=nhs",
            &[
                ("objectClass", &["groupOfNames"]),
                ("cn", &["secret"]),
                ("employeeType", &["hide"]),
                ("member", &members),
            ],
        ));
        snapshot(&[changes(&entries)], &Changes::new())
    };
    let mut view = hiding();
    view.quotas.followed_names = 100;
    let result = |hidden: usize| {
        let directory = directory(hidden);
        let some = "(memberOf=*)".repeat(20);
        let filter = format!("(|{some}(memberOf:1.2.840.113556.1.4.1941:=cn=g,o=nhs))");
        names_or_limit(&directory, &filter, &view).is_ok()
    };
    assert_eq!(result(1), result(90));
}
