//! Sorted searches and lists are in the order of evaluating every entry and comparing all of them, whichever way they go.

use super::fixture::{drain, schema};
use super::property::{pick, random_filter, random_query, random_snapshot, random_view};
use crate::index::testing::Rng;
use crate::query::sorted::{
    Gathering, Key, ListBuilder, Listing, Room, SortKeys, SortMemory, SortedList, Taken, Walk, WalkStep,
};
use crate::query::{Cursor, Groups, Order, Query, Work, compile_in};
use crate::store::{Location, Snapshot};
use std::sync::Arc;

pub(super) fn room() -> Room {
    Room {
        entries: 1_000_000,
        octets: 1 << 30,
        memory: Arc::new(SortMemory::new(1 << 30)),
    }
}

pub(super) fn random_keys(rng: &mut Rng, view: &crate::access::View) -> SortKeys {
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
pub(super) fn meant(snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys) -> Vec<Location> {
    let mut cursor = Cursor::open(Arc::clone(snapshot), query.clone());
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
        let mut cursor = Cursor::open(Arc::clone(snapshot), query.clone());
        // Where the keys of few entries find room, a group is read again for those that did not.
        let octets = if rng.below(2) == 0 { 300 } else { 1 << 30 };
        let room = Room { octets, ..room() };
        let mut walk = Walk::new(keys, snapshot, after.clone(), page + 1, &room, true);
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
                WalkStep::CandidateLimit | WalkStep::Limit | WalkStep::NoMemory => panic!("no limit was set"),
            }
        }
    }
}

fn listed(rng: &mut Rng, snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys) -> SortedList {
    let mut cursor = Cursor::open(Arc::clone(snapshot), query.clone());
    let mut builder = ListBuilder::new(keys, snapshot, 1 << 30, &room());
    loop {
        let mut work = Work {
            left: 1 + rng.below(50) as u32,
        };
        match builder.step(keys, &mut cursor, &mut work) {
            Listing::Done(list) => return list,
            Listing::Paused => {}
            Listing::Limit | Listing::NoMemory => panic!("no limit was set"),
        }
    }
}

/// A page of what is gathered, and the list of it, begun as a list or as a page.
fn gathered(rng: &mut Rng, snapshot: &Arc<Snapshot>, query: &Query, keys: &SortKeys, expected: &[Location]) {
    let from = rng.below(expected.len() + 1);
    let after = expected.get(from.wrapping_sub(1)).map(|at| keys.octets(snapshot, *at));
    let wanted = 1 + rng.below(20);
    let narrowed = rng.below(expected.len() + 1);
    for begun_as_list in [false, true] {
        let mut gathering = match begun_as_list {
            true => Gathering::new(None, usize::MAX, &room()),
            false => Gathering::new(after.clone(), wanted, &room()),
        };
        let mut cursor = Cursor::open(Arc::clone(snapshot), query.clone());
        let found = drain(&mut cursor, 1000);
        for (place, at) in found.into_iter().enumerate() {
            gathering.take_entry(keys, snapshot, at);
            if begun_as_list && place == narrowed {
                gathering.narrow(after.clone(), wanted);
            }
        }
        if begun_as_list && narrowed >= expected.len() {
            let list = gathering.list(keys, &cursor, &room()).expect("nothing was left out");
            let order: Vec<_> = (0..list.len()).filter_map(|at| list.get(at)).collect();
            assert_eq!(order, expected);
            gathering.narrow(after.clone(), wanted);
        }
        assert_eq!(gathering.is_cut(), expected.len() - from > wanted);
        assert!(gathering.list(keys, &cursor, &room()).is_none() || (after.is_none() && !gathering.is_cut()));
        gathering.finish();
        let page: Vec<_> = std::iter::from_fn(|| gathering.pop()).map(|next| next.at).collect();
        assert_eq!(page, expected[from..].iter().take(wanted).copied().collect::<Vec<_>>());
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
            kept: None,
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
        gathered(&mut rng, &directory, &query, &keys, &expected);
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
    let mut gathering = Gathering::new(Some(vec![3]), 4, &room());
    let at = |index| Location::Tail { index };
    for number in [9, 1, 7, 3, 8, 5, 4, 6, 2] {
        gathering.take(vec![number], at(number.into()));
    }
    assert!(gathering.is_cut());
    gathering.finish();
    let given: Vec<_> = std::iter::from_fn(|| gathering.pop()).map(|next| next.at).collect();
    assert_eq!(given, [at(4), at(5), at(6), at(7)]);
}

/// What has no room comes on the next page: none is left out, none comes twice.
#[test]
fn a_gathering_that_shrinks_gives_all_in_short_pages() {
    let small = Room { octets: 7, ..room() };
    let (mut given, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let mut gathering = Gathering::new(after.clone(), 6, &small).shrinking(true);
        for number in [9, 1, 7, 3, 8, 5, 4, 6, 2] {
            let taken = gathering.take(vec![number, 0], Location::Tail { index: number.into() });
            assert!(!matches!(taken, Taken::Limit | Taken::NoMemory));
        }
        gathering.finish();
        while let Some(next) = gathering.pop() {
            given.push(next.octets[0]);
            after = Some(next.octets);
        }
        pages += 1;
        if !gathering.is_cut() {
            break;
        }
    }
    assert_eq!((given, pages), ((1..=9).collect(), 3));
}

/// The memory of all is a limit of all: who finds none says so, and can go on once others are done.
#[test]
fn sorts_share_their_memory() {
    let memory = Arc::new(SortMemory::new(64 << 10));
    let limited = Room {
        memory: Arc::clone(&memory),
        ..room()
    };
    let fill = |gathering: &mut Gathering| {
        (0u16..)
            .map(|number| gathering.take(number.to_be_bytes().to_vec(), Location::Tail { index: number.into() }))
            .take(2000)
            .position(|taken| taken == Taken::NoMemory)
    };
    let mut first = Gathering::new(None, 1000, &limited);
    assert_eq!(
        fill(&mut first),
        Some(992),
        "three grains and the fourth hold 992 entries of 66 octets"
    );
    let mut second = Gathering::new(None, 900, &limited);
    assert_eq!(fill(&mut second), Some(0));
    drop(first);
    assert_eq!(fill(&mut second), None);
    drop(second);
    assert_eq!(memory.left(), 64 << 10);
}
