//! The plan may only be faster than the scan, never different: random filters over random directories.
//!
//! `FILTERS=10000 SEED=7 cargo test --lib query::tests::property` runs more, or the same again.

use super::fixture::{Changes, drain, full_view, key, schema, snapshot, visible};
use crate::access::{Condition, View};
use crate::index::testing::Rng;
use crate::model::{Attribute, AttributeDescription, Dn, Entry, Filter, SearchScope};
use crate::query::{CandidateLimit, Cursor, Groups, Order, Predicate, Query, Truth, compile_in, evaluate};
use crate::schema::NormalizedDn;
use crate::store::record::encode;
use crate::store::{Location, Operational, Snapshot};
use std::borrow::Cow;
use std::sync::Arc;

/// Attributes that entries have, each with what its values are made of.
const STORED: &[(&str, Kind)] = &[
    ("cn", Kind::Text),
    ("cn;lang-fr", Kind::Text),
    ("cn;lang-fr;x-old", Kind::Text),
    ("sn", Kind::Text),
    ("givenName", Kind::Text),
    ("mail", Kind::Mail),
    ("departmentNumber", Kind::Few),
    ("employeeType", Kind::Few),
    ("description", Kind::Text),
    ("telephoneNumber", Kind::Telephone),
    ("mobile", Kind::Telephone),
    ("uidNumber", Kind::Number),
    ("seeAlso", Kind::Name),
    ("postalAddress", Kind::Lines),
    ("homeDirectory", Kind::Text),
    ("jpegPhoto", Kind::Few),
    ("member", Kind::Name),
    ("uniqueMember", Kind::Name),
    ("createTimestamp", Kind::Time),
];

/// Attribute descriptions that filters name and no entry stores under that name.
const ASKED: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("2.5.4.3", Kind::Text),
    ("SURNAME", Kind::Text),
    ("name;lang-fr", Kind::Text),
    ("ou", Kind::Few),
    ("uid", Kind::Number),
    ("objectClass", Kind::Class),
    ("modifyTimestamp", Kind::Time),
    ("entryUUID", Kind::Uuid),
    ("entryCSN", Kind::Csn),
    ("entryDN", Kind::Name),
    ("creatorsName", Kind::Name),
    ("hasSubordinates", Kind::Flag),
    ("numSubordinates", Kind::Number),
    ("memberOf", Kind::Name),
    ("noSuchAttribute", Kind::Text),
    ("title", Kind::Text),
];

const RULES: &[&str] = &[
    "caseIgnoreMatch",
    "caseExactMatch",
    "caseIgnoreOrderingMatch",
    "caseIgnoreSubstringsMatch",
    "caseExactIA5Match",
    "wordMatch",
    "integerMatch",
    "integerOrderingMatch",
    "1.2.840.113556.1.4.803",
    "1.2.840.113556.1.4.804",
    "1.2.840.113556.1.4.1941",
    "distinguishedNameMatch",
    "dnSubtreeMatch",
    "dnOneLevelMatch",
    "dnSubordinateMatch",
    "dnSuperiorMatch",
    "noSuchMatch",
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Mail,
    Few,
    Telephone,
    Number,
    Name,
    Lines,
    Class,
    Time,
    Uuid,
    Csn,
    Flag,
}

pub(super) fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.below(from.len())]
}

fn text(rng: &mut Rng) -> String {
    const PARTS: &[&str] = &[
        "a", "b", "ab", "abc", "bca", "Smith", "smyth", "SMI", "mit", " ", "  ", "é", "É", "O'Brien", "-", "ß", "x*y",
        "東京", "1",
    ];
    let most = 1 + rng.below(4);
    (0..1 + rng.below(most)).map(|_| *pick(rng, PARTS)).collect()
}

fn name(rng: &mut Rng) -> String {
    match rng.below(5) {
        0 => "o=nhs".to_owned(),
        1 => "OU = People, o=NHS".to_owned(),
        2 => format!("cn=role {},uid={},ou=People,o=nhs", rng.below(3), rng.below(40)),
        _ => format!("uid={},ou=People,o=nhs", rng.below(60)),
    }
}

fn value(rng: &mut Rng, kind: Kind) -> Vec<u8> {
    const CLASSES: &[&str] = &[
        "top",
        "person",
        "PERSON",
        "inetOrgPerson",
        "organizationalUnit",
        "noSuchClass",
    ];
    let text = match kind {
        Kind::Text => match rng.below(60) {
            0 => String::new(),
            1 => "abcdefgh ".repeat(400),
            _ => text(rng),
        },
        Kind::Mail => format!("{}{}@nhs.example", pick(rng, &["a", "b", "Smith", "ab"]), rng.below(30)),
        Kind::Few => match rng.below(3) {
            0 => format!("ward {}", rng.below(9)),
            _ => ["Nurse", "GP", "ward 1", "People", "hide"][rng.below(5)].to_owned(),
        },
        Kind::Telephone => format!("020 {}-{}", rng.below(4), rng.below(100)),
        Kind::Number => match rng.below(20) {
            0 => "no number".to_owned(),
            _ => (rng.below(300) as i64 - 40).to_string(),
        },
        Kind::Name => name(rng),
        Kind::Lines => format!("{}$ward {}", text(rng), rng.below(5)),
        Kind::Class => pick(rng, CLASSES).to_string(),
        Kind::Time => format!("1970010100{:02}{:02}Z", rng.below(3), rng.below(60)),
        Kind::Flag => ["TRUE", "FALSE"][rng.below(2)].to_owned(),
        Kind::Uuid => format!("00000000-0000-0000-0000-0000000000{:02x}", rng.below(256)),
        Kind::Csn => format!("1970010100000{}.{:06}Z#000000#000#000000", rng.below(3), rng.below(3)),
    };
    let mut octets = text.into_bytes();
    if rng.below(200) == 0 {
        octets.push(0xff);
    }
    octets
}

fn attribute(description: &str, values: Vec<Vec<u8>>) -> Attribute {
    let mut parts = description.split(';').map(str::to_owned);
    Attribute {
        description: AttributeDescription {
            attribute_type: parts.next().unwrap_or_default(),
            options: parts.collect(),
        },
        values,
    }
}

/// An entry with a name of its own making.
pub(super) fn random_record(rng: &mut Rng) -> (NormalizedDn, Vec<u8>) {
    let dn = random_dn(rng);
    record(rng, &dn)
}

fn record(rng: &mut Rng, dn: &str) -> (NormalizedDn, Vec<u8>) {
    let mut classes = vec![b"top".to_vec(), b"person".to_vec()];
    if rng.below(2) == 0 {
        classes.push(b"inetOrgPerson".to_vec());
    }
    let mut attributes = vec![attribute("objectClass", classes)];
    for (description, kind) in STORED.iter().take(STORED.len() - 1) {
        // Types of few values are there often and mostly once, so that they get a column.
        let few = matches!(kind, Kind::Few);
        if rng.below(3) < if few { 2 } else { 1 } {
            let most = if few && rng.below(6) > 0 { 1 } else { 3 };
            let values = (0..=rng.below(most)).map(|_| value(rng, *kind)).collect();
            attributes.push(attribute(description, values));
        }
    }
    let dn = Dn::parse(dn).expect("a name");
    let ava = &dn.rdns()[0].avas[0];
    attributes.push(attribute(&ava.attribute, vec![ava.value.clone()]));
    let mut entry_uuid = [0; 16];
    entry_uuid[15] = rng.below(256) as u8;
    let creator = if rng.below(2) == 0 { name(rng) } else { String::new() };
    let operational = Operational {
        entry_uuid,
        created: rng.below(3 * 3600) as u64,
        modified: rng.below(3 * 3600) as u64,
        sequence: rng.below(9) as u64,
        changed: rng.below(3) as u64 * 1_000_001,
        creator: &creator,
        modifier: &creator,
    };
    let schema = schema();
    let key = schema.normalize_dn(&dn).expect("defined names");
    (key, encode(&Entry { dn, attributes }, &operational, &schema))
}

fn random_dn(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => format!("ou=ward {},ou=Orgs,o=nhs", rng.below(9)),
        1 => format!("cn=role {},uid={},ou=People,o=nhs", rng.below(3), rng.below(40)),
        2 => format!("cn=app{},ou=Applications,o=nhs", rng.below(6)),
        _ => format!("uid={},ou=People,o=nhs", rng.below(120)),
    }
}

/// Some layers that hide parts of each other, with deletions, and a tail.
pub(super) fn random_snapshot(rng: &mut Rng) -> Arc<Snapshot> {
    let mut base = Changes::new();
    for dn in ["o=nhs", "ou=People,o=nhs", "ou=Orgs,o=nhs", "ou=Applications,o=nhs"] {
        let (key, record) = record(rng, dn);
        base.insert(key, Some(record));
    }
    let layer = |rng: &mut Rng, count: usize, mut changes: Changes, deletes: bool| {
        for _ in 0..count {
            let dn = random_dn(rng);
            let (key, record) = record(rng, &dn);
            let deleted = deletes && rng.below(4) == 0;
            changes.insert(key, (!deleted).then_some(record));
        }
        changes
    };
    let size = [0, 40, 250, 300][rng.below(4)] + rng.below(50);
    let mut layers = vec![layer(rng, size, base, false)];
    for _ in 0..rng.below(3) {
        let count = 1 + rng.below(40);
        layers.push(layer(rng, count, Changes::new(), true));
    }
    let count = rng.below(12);
    let tail = layer(rng, count, Changes::new(), true);
    snapshot(&layers, &tail)
}

pub(super) fn random_view(rng: &mut Rng) -> View {
    let mut view = full_view();
    let schema = schema();
    let find = |name: &str| schema.find_attribute(name).expect("defined");
    let condition = |name: &str, value: &[u8]| Condition {
        attribute: find(name),
        normalized: value.to_vec(),
    };
    if rng.below(3) == 0 {
        let hidden = pick(rng, &["cn", "mail", "uidNumber", "name", "sn", "creatorsName"]);
        view.searchable.remove(find(hidden));
    }
    if rng.below(3) == 0 {
        view.hiding.hide_entry(condition("employeeType", b"hide"));
    }
    for _ in 0..rng.below(3) {
        let attribute = find(pick::<&str>(rng, &["mobile", "sn", "departmentNumber"]));
        view.hiding
            .hide_attribute(attribute, condition("departmentNumber", b"ward 1"));
        view.hiding.hide_attribute(attribute, condition("employeeType", b"gp"));
    }
    view.bases = match rng.below(20) {
        0 => vec![
            key("ou=People,o=nhs"),
            key("ou=Orgs,o=nhs"),
            key("uid=7,ou=People,o=nhs"),
        ],
        1 => vec![key("uid=1,ou=People,o=nhs")],
        2 => Vec::new(),
        _ => vec![NormalizedDn::default()],
    }
    .into();
    let mut excluded = Vec::new();
    if rng.below(2) == 0 {
        excluded.push(key("ou=Applications,o=nhs"));
    }
    if rng.below(6) == 0 {
        excluded.push(key("uid=3,ou=People,o=nhs"));
    }
    view.excluded = excluded.into();
    view
}

fn random_item(rng: &mut Rng) -> Filter<'static> {
    let described = if rng.below(3) == 0 {
        pick(rng, ASKED)
    } else {
        pick(rng, STORED)
    };
    item_of(rng, described)
}

/// A conjunction of what columns are made of, some of it negated.
fn random_column_filter(rng: &mut Rng) -> Filter<'static> {
    let one = |rng: &mut Rng| {
        let described = pick(rng, &STORED[6..8]);
        let item = item_of(rng, described);
        match rng.below(3) {
            0 => Filter::Not(Box::new(item)),
            _ => item,
        }
    };
    let mut terms: Vec<_> = (0..1 + rng.below(3)).map(|_| one(rng)).collect();
    if rng.below(2) == 0 {
        terms.push(random_item(rng));
    }
    Filter::And(terms)
}

fn item_of(rng: &mut Rng, (description, kind): &(&'static str, Kind)) -> Filter<'static> {
    let attribute = Cow::Borrowed(*description);
    let given = |rng: &mut Rng| {
        let mut value = value(rng, *kind);
        if rng.below(3) == 0 {
            value.make_ascii_uppercase();
        }
        Cow::Owned(value)
    };
    match rng.below(13) {
        0..=3 => Filter::Equality {
            attribute,
            value: given(rng),
        },
        4 => Filter::Present { attribute },
        5 => Filter::GreaterOrEqual {
            attribute,
            value: given(rng),
        },
        6 => Filter::LessOrEqual {
            attribute,
            value: given(rng),
        },
        7 => Filter::Approximate {
            attribute,
            value: given(rng),
        },
        8 => Filter::Extensible {
            rule: (rng.below(3) > 0).then(|| Cow::Borrowed(*pick(rng, RULES))),
            attribute: (rng.below(4) > 0).then_some(attribute),
            value: given(rng),
            dn_attributes: rng.below(3) == 0,
        },
        _ => random_substrings(rng, attribute, *kind),
    }
}

fn random_substrings(rng: &mut Rng, attribute: Cow<'static, str>, kind: Kind) -> Filter<'static> {
    let piece = |rng: &mut Rng| {
        let whole = value(rng, kind);
        let start = rng.below(whole.len() + 1);
        let end = (start + 1 + rng.below(4)).min(whole.len());
        Cow::Owned(whole[start.min(end)..end].to_vec())
    };
    let initial = (rng.below(2) == 0).then(|| piece(rng));
    let last = (rng.below(4) == 0).then(|| piece(rng));
    let any = (0..rng.below(3)).map(|_| piece(rng)).collect();
    Filter::Substrings {
        attribute,
        initial,
        any,
        last,
    }
}

pub(super) fn random_filter(rng: &mut Rng, depth: usize) -> Filter<'static> {
    if depth == 0 || rng.below(3) == 0 {
        return random_item(rng);
    }
    let several = |rng: &mut Rng| -> Vec<_> {
        let count = [1, 2, 2, 3, 4, 0][rng.below(6)];
        (0..count).map(|_| random_filter(rng, depth - 1)).collect()
    };
    match rng.below(7) {
        0..=1 => Filter::And(several(rng)),
        2..=4 => Filter::Or(several(rng)),
        _ => Filter::Not(Box::new(random_filter(rng, depth - 1))),
    }
}

pub(super) fn random_query(rng: &mut Rng, predicate: Predicate, view: &View) -> Query {
    let base = match rng.below(16) {
        0 => "ou=nowhere,o=nhs",
        1 => "uid=7,ou=People,o=nhs",
        2 => "ou=Applications,o=nhs",
        3..=5 => "ou=People,o=nhs",
        _ => "o=nhs",
    };
    let scopes = [
        SearchScope::WholeSubtree,
        SearchScope::WholeSubtree,
        SearchScope::WholeSubtree,
        SearchScope::WholeSubtree,
        SearchScope::SingleLevel,
        SearchScope::BaseObject,
        SearchScope::Subordinates,
    ];
    let order = *pick(rng, &[Order::Any, Order::Name]);
    let resume = order == Order::Name && rng.below(2) == 0;
    Query {
        base: if rng.below(12) == 0 {
            NormalizedDn::default()
        } else {
            key(base)
        },
        base_at: None,
        scope: *pick(rng, &scopes),
        predicate,
        order,
        after: resume.then(|| key(&random_dn(rng))),
        within: view.bases.clone(),
        without: view.excluded.clone(),
        candidate_limit: CandidateLimit::default(),
    }
}

/// What the query means: look at every visible entry.
fn meant(snapshot: &Snapshot, query: &Query) -> Vec<Location> {
    let schema = schema();
    let mut found: Vec<(NormalizedDn, Location)> = visible(snapshot)
        .into_iter()
        .map(|at| (snapshot.key(at), at))
        .filter(|(key, at)| {
            let in_scope = match query.scope {
                SearchScope::BaseObject => *key == query.base,
                SearchScope::SingleLevel => key.parent().as_ref() == Some(&query.base),
                SearchScope::WholeSubtree => key.is_within(&query.base),
                SearchScope::Subordinates => key.is_within(&query.base) && *key != query.base,
            };
            in_scope
                && query.within.iter().any(|subtree| key.is_within(subtree))
                && !query.without.iter().any(|subtree| key.is_within(subtree))
                && query.after.as_ref().is_none_or(|after| key > after)
                && evaluate(&query.predicate, snapshot.record(*at), &key.0, &schema) == Truth::True
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found.into_iter().map(|(_, at)| at).collect()
}

#[test]
fn a_plan_finds_what_the_filter_means() {
    let filters: usize = std::env::var("FILTERS").map_or(1500, |count| count.parse().expect("FILTERS is a number"));
    let mut rng = Rng::new(20261123);
    let (mut matching, mut scans, mut entries, mut columns, mut column_matches) = (0, 0, 0, 0, 0);
    let mut directory = random_snapshot(&mut rng);
    for number in 0..filters {
        if number % 100 == 99 {
            directory = random_snapshot(&mut rng);
        }
        let view = random_view(&mut rng);
        let filter = match rng.below(4) {
            0 => random_column_filter(&mut rng),
            _ => random_filter(&mut rng, 3),
        };
        let groups = Groups {
            snapshot: &directory,
            schema: &schema(),
            view: &view,
            collective: None,
            kept: None,
        };
        // A chain that leads too far is no plan.
        let Ok(predicate) = compile_in(&filter, groups) else {
            continue;
        };
        let mut query = random_query(&mut rng, predicate, &view);
        if rng.below(2) == 0 {
            query.base_at = directory.find(&query.base);
        }
        let expected = meant(&directory, &query);
        let mut cursor = Cursor::open(Arc::clone(&directory), query.clone());
        let work = 1 + rng.below(40) as u32;
        let mut found = drain(&mut cursor, work);
        if query.order == Order::Any {
            found.sort_by_key(|at| directory.key(*at));
        }
        assert_eq!(
            found,
            expected,
            "filter {number}: {filter:?}\n{query:?}\nplan:\n{}\n{}",
            cursor.plan(),
            query.predicate.display(&schema())
        );
        // Again, in a scope that is remembered by now.
        for _ in 0..2 {
            let mut again = drain(&mut Cursor::open(Arc::clone(&directory), query.clone()), work);
            if query.order == Order::Any {
                again.sort_by_key(|at| directory.key(*at));
            }
            assert_eq!(again, expected, "again, filter {number}: {filter:?}\n{query:?}");
        }
        matching += usize::from(!expected.is_empty());
        entries += expected.len();
        let plan = cursor.plan().to_string();
        scans += usize::from(plan.contains("scan "));
        columns += usize::from(plan.contains(": column,"));
        column_matches += usize::from(plan.contains(": column,") && !expected.is_empty());
    }
    println!(
        "{filters} filters, {matching} with {entries} entries in all, {scans} that evaluate everything, \
         {columns} that ask columns, {column_matches} of them with entries"
    );
    // The test says something only if each kind of plan comes up and finds something.
    assert!(columns * 100 > filters && column_matches * 200 > filters);
    assert!(matching * 5 > filters && scans * 20 > filters && scans * 10 < filters * 9);
}
