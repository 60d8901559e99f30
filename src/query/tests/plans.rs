//! Golden plans: a wrong plan is caught here, without a stopwatch.
//!
//! `tests/cases/plan/*.txt` hold cases: a title, the search, `----`, the plan and what it came to, then an empty line.
//! `UPDATE_CASES=1` rewrites them; review the difference like code.

use super::fixture::{Changes, changes, drain, entry, full_view, key, query, schema, snapshot};
use crate::access::{Condition, View};
use crate::model::SearchScope;
use crate::query::{Advance, CandidateLimit, Cursor, Order, Work};
use crate::store::Snapshot;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

const SURNAMES: &[&str] = &["Smith", "Jones", "Smithers", "Patel", "Okafor", "Nowak", "O'Brien"];

/// 2,000 people in 40 departments, each with one role entry below.
fn people(numbers: std::ops::Range<usize>) -> Changes {
    let mut entries = Vec::new();
    for number in numbers {
        let dn = format!("uid={number:05},ou=People,o=nhs");
        let surname = SURNAMES[number % SURNAMES.len()];
        let cn = format!("Given{} {surname}", number / 3);
        let mail = format!("{surname}.{number}@nhs.example");
        let department = format!("ward {}", number % 40);
        let kind = if number % 9 == 0 { "locum" } else { "staff" };
        entries.push(entry(
            &dn,
            &[
                ("objectClass", &["top", "person", "inetOrgPerson"]),
                ("uid", &[&format!("{number:05}")]),
                ("cn", &[&cn]),
                ("sn", &[surname]),
                ("mail", &[&mail]),
                ("departmentNumber", &[&department]),
                ("employeeType", &[kind]),
                ("uidNumber", &[&number.to_string()]),
                ("title", &[if number % 5 == 0 { "Consultant" } else { "Nurse" }]),
            ],
        ));
        let role = format!("cn=role,{dn}");
        entries.push(entry(
            &role,
            &[("objectClass", &["top", "organizationalRole"]), ("cn", &["role"])],
        ));
    }
    changes(&entries)
}

fn directory() -> Arc<Snapshot> {
    let top = entry("o=nhs", &[("objectClass", &["top", "organization"]), ("o", &["nhs"])]);
    let ou = entry(
        "ou=People,o=nhs",
        &[("objectClass", &["top", "organizationalUnit"]), ("ou", &["People"])],
    );
    let mut base = changes(&[top, ou]);
    base.extend(people(0..2000));
    snapshot(&[base], &Changes::new())
}

fn view(name: &str) -> View {
    let mut view = full_view();
    match name {
        "full" => {}
        "hiding" => view.hiding.hide_entry(Condition {
            attribute: schema().find_attribute("employeeType").expect("defined"),
            normalized: b"locum".to_vec(),
        }),
        other => panic!("expected a view named full or hiding, found {other}"),
    }
    view
}

/// `[base=DN] [scope=one] [order=name] [view=hiding] [take=N] filter`
fn explained(snapshot: &Arc<Snapshot>, search: &str) -> String {
    let mut words = search;
    let (mut asked, mut name, mut take) = (query("(objectClass=*)", &full_view()), "full", usize::MAX);
    while let Some((option, rest)) = words.split_once(' ').filter(|_| !words.starts_with('(')) {
        match option.split_once('=').expect("an option has a value") {
            ("base", dn) => asked.base = key(dn),
            ("scope", "one") => asked.scope = SearchScope::SingleLevel,
            ("scope", "base") => asked.scope = SearchScope::BaseObject,
            ("order", "name") => asked.order = Order::Name,
            ("view", view) => name = view,
            ("take", count) => take = count.parse().expect("a number"),
            other => panic!("unknown option {other:?}"),
        }
        words = rest;
    }
    asked.predicate = query(words, &view(name)).predicate;
    let mut cursor = Cursor::open(Arc::clone(snapshot), asked);
    let found = (0..take).take_while(|_| matches!(cursor.advance(&mut Work { left: 1 << 20 }), Advance::Entry(_)));
    let found = found.count();
    let scan = if cursor.plan().is_scan() { ", a scan" } else { "" };
    let mut text = cursor.plan().to_string();
    writeln!(text, "=> {found} entries, {} candidates{scan}", cursor.candidates()).expect("writing to a string");
    text
}

#[test]
fn plans_are_as_agreed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan/people.txt");
    let text = std::fs::read_to_string(&path).expect("the cases are there");
    let directory = directory();
    let mut now = String::new();
    for case in text.trim_end().split("\n\n") {
        let (input, _) = case.split_once("\n----").expect("a case has ---- below its search");
        let search = input.lines().last().expect("a search");
        let plan = explained(&directory, search);
        write!(now, "{input}\n----\n{plan}\n").expect("writing to a string");
    }
    let now = now.trim_end().to_owned() + "\n";
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&path, now).expect("the cases can be written");
        return;
    }
    for (number, (expected, found)) in text.split("\n\n").zip(now.split("\n\n")).enumerate() {
        assert_eq!(
            found.trim_end(),
            expected.trim_end(),
            "case {number}; UPDATE_CASES=1 rewrites {path:?}"
        );
    }
    assert_eq!(now, text);
}

#[test]
fn a_size_limit_of_a_few_does_the_work_of_a_few() {
    let directory = directory();
    for filter in [
        "(cn=given*)",
        "(cn=*mit*)",
        "(objectClass=person)",
        "(mail=*)",
        "(|(sn=smith)(sn=jones))",
        "(!(employeeType=locum))",
    ] {
        let mut cursor = Cursor::open(Arc::clone(&directory), query(filter, &full_view()));
        let mut work = Work { left: 200 };
        let found = (0..10).filter(|_| matches!(cursor.advance(&mut work), Advance::Entry(_)));
        assert_eq!(found.count(), 10, "{filter}");
        assert!(
            cursor.candidates() <= 32,
            "{filter}: {} candidates\n{}",
            cursor.candidates(),
            cursor.plan()
        );
    }
}

#[test]
fn a_paged_walk_resumes_after_a_key() {
    let (mut base, mut overlay) = (people(0..60), people(20..30));
    base.extend(people(70..90));
    overlay.extend(people(60..65));
    overlay.insert(key("uid=00003,ou=People,o=nhs"), None);
    let directory = snapshot(&[base, overlay], &people(40..44));
    for filter in [
        "(objectClass=*)",
        "(objectClass=person)",
        "(|(sn=smith)(sn=jones)(cn=role))",
        "(cn=*e*)",
    ] {
        let mut whole = query(filter, &full_view());
        whole.order = Order::Name;
        let all = drain(&mut Cursor::open(Arc::clone(&directory), whole.clone()), 50);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let asked = crate::query::Query {
                after: after.clone(),
                ..whole.clone()
            };
            let mut cursor = Cursor::open(Arc::clone(&directory), asked);
            let page: Vec<_> = std::iter::from_fn(|| match cursor.advance(&mut Work { left: 10_000 }) {
                Advance::Entry(at) => Some(at),
                _ => None,
            })
            .take(7)
            .collect();
            let Some(last) = page.last() else { break };
            after = Some(directory.key(*last));
            paged.extend(page);
        }
        assert_eq!(paged, all, "{filter}");
        assert!(!all.is_empty());
    }
}

#[test]
fn the_candidate_limit_ends_a_search() {
    let directory = directory();
    for (filter, order) in [
        ("(title=nurse)", Order::Any),
        ("(cn=*i*)", Order::Name),
        ("(description;x-a=a)", Order::Any),
        ("(!(cn=*z*))", Order::Any),
    ] {
        let mut asked = query(filter, &full_view());
        asked.order = order;
        asked.candidate_limit.most = 10;
        let mut cursor = Cursor::open(Arc::clone(&directory), asked);
        let mut steps = 0;
        let ended = loop {
            match cursor.advance(&mut Work { left: 100 }) {
                Advance::Entry(_) | Advance::Paused => steps += 1,
                ended => break ended,
            }
            assert!(steps < 1000, "{filter} ends");
        };
        let expected = if filter.contains("description") {
            Advance::End
        } else {
            Advance::CandidateLimit
        };
        assert_eq!(ended, expected, "{filter}\n{}", cursor.plan());
        assert!(cursor.candidates() <= 10);
    }
}

/// T15: whether a limit is reached does not tell of a value that is hidden, by itself or with its entry.
#[test]
fn hidden_candidates_do_not_count() {
    let directory = directory();
    let schema = schema();
    let attribute = |name: &str| schema.find_attribute(name).unwrap();
    let locum = Condition {
        attribute: attribute("employeeType"),
        normalized: b"locum".to_vec(),
    };
    let mut without_entries = full_view();
    without_entries.hiding.hide_entry(locum.clone());
    let mut without_mails = full_view();
    without_mails.hiding.hide_attribute(attribute("mail"), locum);
    for mut view in [without_entries, without_mails] {
        view.quotas.candidates = 2;
        let end = |filter: &str, order| {
            let mut asked = query(filter, &view);
            asked.candidate_limit = CandidateLimit::of(&view, &schema);
            asked.order = order;
            let mut cursor = Cursor::open(Arc::clone(&directory), asked);
            loop {
                match cursor.advance(&mut Work { left: 100 }) {
                    Advance::Entry(_) | Advance::Paused => {}
                    end => return end,
                }
            }
        };
        // Of these numbers 9 and 18 are locums'.
        let mail = |number: usize| format!("(mail={}.{number}@nhs.example)", SURNAMES[number % SURNAMES.len()]);
        for order in [Order::Any, Order::Name] {
            let (two, three) = (mail(1) + &mail(2), mail(1) + &mail(2) + &mail(4));
            assert_eq!(end(&format!("(|{two})"), order), Advance::End);
            assert_eq!(end(&format!("(|{three})"), order), Advance::CandidateLimit);
            for hidden in [mail(9), mail(18), "(mail=nobody@nhs.example)".to_owned()] {
                assert_eq!(end(&format!("(|{two}{hidden})"), order), Advance::End, "{hidden}");
            }
        }
    }
}
