//! Sorted searches and lists are in the order of evaluating every entry and comparing all of them, whichever way they go.

use super::fixture::{drain, schema};
use super::property::{pick, random_filter, random_query, random_snapshot, random_view};
use crate::index::testing::Rng;
use crate::query::sorted::{Gathering, Key, ListBuilder, Listing, SortKeys, SortedList, Walk, WalkStep};
use crate::query::{Cursor, Groups, Order, Query, Work, compile_in};
use crate::store::{Location, Snapshot};
use std::sync::Arc;

const LIMITS: (usize, usize) = (1_000_000, 1 << 30);

fn random_keys(rng: &mut Rng, view: &crate::access::View) -> SortKeys {
    const NAMES: &[&str] = &[
        "cn",
        "sn",
        "name",
        "departmentNumber",
        "employeeType",
        "uidNumber",
        "mail",
        "mobile",
        "createTimestamp",
        "telephoneNumber",
        "title",
    ];
    let schema = schema();
    let mut key = || {
        let id = schema.find_attribute(pick::<&str>(rng, NAMES)).expect("defined");
        let attribute = schema.attribute(id);
        Key {
            types: attribute.subtypes.clone(),
            rule: attribute.ordering.or(attribute.equality).expect("a rule"),
            reverse: rng.below(2) == 0,
        }
    };
    let keys = vec![key(), key()];
    let count = 1 + rng.below(2);
    let keys = keys.into_iter().take(count).collect();
    SortKeys {
        keys,
        schema,
        view: Arc::new(view.clone()),
    }
}

/// Everything that matches, by comparing octets.
fn meant(snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys) -> Vec<Location> {
    let mut cursor = Cursor::open(Arc::clone(snapshot), schema(), query.clone());
    let mut found: Vec<_> = drain(&mut cursor, 1000)
        .into_iter()
        .map(|at| (keys.octets(snapshot, at), at))
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found.into_iter().map(|(_, at)| at).collect()
}

/// A walk in pages, each a walk of its own that goes on where the one before ended.
fn walked(rng: &mut Rng, snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys) -> Vec<Location> {
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = 1 + rng.below(60);
        let mut cursor = Cursor::open(Arc::clone(snapshot), schema(), query.clone());
        let mut walk = Walk::new(keys, snapshot, after.clone(), page + 1, LIMITS);
        let mut given = 0;
        while given < page {
            let mut work = Work {
                left: 1 + rng.below(50) as u32,
            };
            match walk.advance(keys, &mut cursor, &mut work) {
                WalkStep::Entry(next) => {
                    given += 1;
                    found.push(next.at);
                    after = Some(next.octets);
                }
                WalkStep::Paused => {}
                WalkStep::End => return found,
                WalkStep::CandidateLimit | WalkStep::Limit => panic!("no limit was set"),
            }
        }
    }
}

fn listed(rng: &mut Rng, snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys) -> SortedList {
    let mut cursor = Cursor::open(Arc::clone(snapshot), schema(), query.clone());
    let mut builder = ListBuilder::new(keys, snapshot, 1 << 30, LIMITS);
    loop {
        let mut work = Work {
            left: 1 + rng.below(50) as u32,
        };
        match builder.step(keys, &mut cursor, &mut work) {
            Listing::Done(list) => return list,
            Listing::Paused => {}
            Listing::Limit => panic!("no limit was set"),
        }
    }
}

#[test]
fn every_way_gives_the_order_of_comparing_all() {
    let rounds: usize = std::env::var("FILTERS").map_or(300, |count| count.parse().expect("FILTERS is a number"));
    let mut rng = Rng::new(20261126);
    let (mut walks, mut entries) = (0, 0);
    let mut directory = random_snapshot(&mut rng);
    for number in 0..rounds {
        if number % 10 == 9 {
            directory = random_snapshot(&mut rng);
        }
        let view = random_view(&mut rng);
        let filter = match rng.below(2) {
            0 => crate::model::Filter::parse("(objectClass=*)").expect("a filter"),
            _ => random_filter(&mut rng, 2),
        };
        let groups = Groups {
            snapshot: &directory,
            schema: &schema(),
            collective: None,
            view: &view,
        };
        let Ok(predicate) = compile_in(&filter, groups) else {
            continue;
        };
        let mut query = random_query(&mut rng, predicate, &view);
        query.order = Order::Any;
        query.after = None;
        let keys = random_keys(&mut rng, &view);
        let expected = meant(&directory, &query, &keys);
        let told = || {
            let key = |key: &Key| (schema().attribute(key.types[0]).name().to_owned(), key.reverse);
            format!(
                "round {number}: {filter:?} by {:?}\n{query:?}",
                keys.keys.iter().map(key).collect::<Vec<_>>()
            )
        };
        let list = listed(&mut rng, &directory, &query, &keys);
        let order: Vec<_> = (0..list.len()).filter_map(|at| list.get(at)).collect();
        assert_eq!(order, expected, "list, {}", told());
        for (place, at) in expected.iter().enumerate() {
            let octets = keys.octets(&directory, *at);
            assert_eq!(list.position(&keys, &directory, &octets), place, "position, {}", told());
        }
        if keys.is_walkable(&directory) {
            assert_eq!(
                walked(&mut rng, &directory, &query, &keys),
                expected,
                "walk, {}",
                told()
            );
            walks += 1;
        }
        entries += expected.len();
    }
    println!("{rounds} sorts, {walks} walked, {entries} entries");
    assert!(walks * 3 > rounds && entries > rounds * 10);
}

#[test]
fn gathering_keeps_the_least_that_are_wanted() {
    let mut gathering = Gathering::new(Some(vec![3]), 4, LIMITS);
    let at = |index| Location::Tail { index };
    for number in [9, 1, 7, 3, 8, 5, 4, 6, 2] {
        gathering.take(vec![number], at(number.into()));
    }
    assert!(gathering.is_cut());
    gathering.finish();
    let given: Vec<_> = std::iter::from_fn(|| gathering.pop()).map(|next| next.at).collect();
    assert_eq!(given, [at(4), at(5), at(6), at(7)]);
}
