//! A list brought up to another snapshot is the list that would be made from nothing, whatever has changed between the two.

use super::fixture::{schema, visible};
use super::property::{pick, random_filter, random_query, random_record, random_snapshot, random_view};
use super::sorted::{meant, random_keys, room};
use crate::access::View;
use crate::index::EntryId;
use crate::index::testing::Rng;
use crate::model::Filter;
use crate::query::sorted::{ListBuilder, ListUpdate, Listing, Room, SortKeys, SortMemory, SortedList};
use crate::query::{Cursor, Groups, Order, Predicate, Query, Work, compile_in};
use crate::schema::NormalizedDn;
use crate::store::snapshot::TailEntry;
use crate::store::{Layer, Segment, Snapshot, Wanted};
use std::sync::Arc;

/// The snapshot after some writes, or after a part of it became a segment, as the store makes them.
fn changed(rng: &mut Rng, snapshot: &Snapshot) -> Arc<Snapshot> {
    let mut next = snapshot.clone();
    match rng.below(8) {
        0 => freeze(&mut next, rng),
        1 if next.layers.len() > 1 => merge(&mut next, rng),
        _ => (0..rng.below(6)).for_each(|_| write(&mut next, rng)),
    }
    Arc::new(next)
}

fn write(next: &mut Snapshot, rng: &mut Rng) {
    let old = visible(next);
    let (key, record) = match rng.below(4) {
        0 => random_record(rng),
        1 => (next.key(*pick(rng, &old)), random_record(rng).1),
        2 => {
            let at = *pick(rng, &old);
            (next.key(at), next.record(at).octets().to_vec())
        }
        _ => (next.key(*pick(rng, &old)), Vec::new()),
    };
    let tail = Arc::make_mut(&mut next.tail);
    tail.retain(|entry| entry.key != key);
    for layer in &mut next.layers {
        if let Some(id) = layer.find(&key) {
            layer.hidden.insert(id);
        }
    }
    if !record.is_empty() {
        let at = tail.partition_point(|entry| entry.key < key);
        tail.insert(at, Arc::new(TailEntry::new(key, record)));
    }
}

/// The tail becomes a layer; now and then one of its entries is changed in that moment.
fn freeze(next: &mut Snapshot, rng: &mut Rng) {
    let tail = std::mem::take(&mut next.tail);
    if tail.is_empty() {
        return;
    }
    let entries = tail.iter();
    let entries: Vec<(NormalizedDn, Arc<[u8]>)> =
        entries.map(|entry| (entry.key.clone(), entry.record.clone())).collect();
    let mut layer = Layer::new(Arc::new(Segment::build(
        &entries,
        &schema(),
        &Arc::new(Wanted::nothing(&schema())),
    )));
    if rng.below(3) == 0 {
        let changed = pick(rng, &tail);
        layer.hidden.insert(layer.find(&changed.key).expect("it is there"));
        let record = random_record(rng).1;
        next.tail = Arc::new(vec![Arc::new(TailEntry::new(changed.key.clone(), record))]);
    }
    next.layers.push(layer);
}

/// Two layers become one, in the place of the first of them.
fn merge(next: &mut Snapshot, rng: &mut Rng) {
    let first = rng.below(next.layers.len() - 1);
    let pair: Vec<Layer> = next.layers.drain(first..first + 2).collect();
    let mut entries: Vec<(NormalizedDn, Arc<[u8]>)> = Vec::new();
    for layer in &pair {
        let ids = (0..layer.segment.len()).map(EntryId);
        let shown = ids.filter(|id| !layer.hidden.contains(*id));
        entries.extend(shown.map(|id| (layer.key(id), layer.segment.record(id).octets().into())));
    }
    entries.sort_unstable();
    let segment = Segment::build(&entries, &schema(), &Arc::new(Wanted::nothing(&schema())));
    next.layers.insert(first, Layer::new(Arc::new(segment)));
}

/// A search that is asked of each snapshot anew.
struct Asked {
    view: View,
    filter: Filter<'static>,
    keys: SortKeys,
    query: Query,
}

impl Asked {
    fn random(rng: &mut Rng) -> Asked {
        let view = random_view(rng);
        let parsed = |text| Filter::parse(text).expect("a filter");
        let filter = match rng.below(8) {
            0..4 => parsed("(objectClass=*)"),
            // What follows from other entries changes with them.
            4 => parsed("(|(hasSubordinates=TRUE)(cn=*a*))"),
            _ => random_filter(rng, 2),
        };
        let keys = random_keys(rng, &view);
        let query = random_query(rng, Predicate::True, &view);
        Asked {
            view,
            filter,
            keys,
            query: Query {
                order: Order::Any,
                after: None,
                base_at: None,
                ..query
            },
        }
    }

    fn query(&self, snapshot: &Arc<Snapshot>) -> Query {
        let groups = Groups {
            snapshot,
            schema: &schema(),
            collective: None,
            view: &self.view,
            kept: None,
        };
        Query {
            predicate: compile_in(&self.filter, groups).unwrap_or(Predicate::False),
            ..self.query.clone()
        }
    }

    fn built(&self, snapshot: &Arc<Snapshot>) -> SortedList {
        let mut cursor = Cursor::open(Arc::clone(snapshot), self.query(snapshot));
        let mut builder = ListBuilder::new(&self.keys, snapshot, 1 << 30, &room());
        loop {
            if let Listing::Done(list) = builder.step(&self.keys, &mut cursor, &mut Work { left: 1000 }) {
                return list;
            }
        }
    }

    /// `None` where the list has to be made anew.
    fn updated(&self, list: &SortedList, snapshot: &Arc<Snapshot>, rng: &mut Rng) -> Option<SortedList> {
        let mut cursor = Cursor::open(Arc::clone(snapshot), self.query(snapshot));
        let mut update = ListUpdate::begin(list, &self.keys, &cursor, 1 << 30, &room())?;
        loop {
            let mut work = Work {
                left: 1 + rng.below(30) as u32,
            };
            match update.step(&self.keys, &mut cursor, &mut work) {
                Listing::Done(list) => return Some(list),
                Listing::Paused => {}
                Listing::Limit | Listing::NoMemory => panic!("no limit was set"),
            }
        }
    }

    fn check(&self, list: &SortedList, snapshot: &Arc<Snapshot>, rng: &mut Rng, told: &str) {
        let expected = meant(snapshot, &self.query(snapshot), &self.keys);
        let order: Vec<_> = (0..list.len()).filter_map(|at| list.get(at)).collect();
        assert_eq!(order, expected, "{told}: {:?}", self.filter);
        assert_eq!(list.get(list.len()), None);
        for _ in 0..4.min(expected.len()) {
            let place = rng.below(expected.len());
            let octets = self.keys.octets(snapshot, expected[place]);
            assert_eq!(list.position(&self.keys, snapshot, &octets), place, "{told}");
        }
    }
}

#[test]
fn a_list_brought_up_to_a_snapshot_is_the_one_made_from_nothing() {
    let rounds: usize = std::env::var("FILTERS").map_or(120, |count| count.parse().expect("FILTERS is a number"));
    let mut rng = Rng::new(20261127);
    let (mut updated, mut anew, mut back) = (0, 0, 0);
    for round in 0..rounds {
        let mut snapshot = random_snapshot(&mut rng);
        let asked = Asked::random(&mut rng);
        let mut list = asked.built(&snapshot);
        for step in 0..12 {
            let next = changed(&mut rng, &snapshot);
            let next = if rng.below(3) == 0 {
                changed(&mut rng, &next)
            } else {
                next
            };
            let told = format!("round {round}, step {step}");
            match asked.updated(&list, &next, &mut rng) {
                Some(newer) => {
                    asked.check(&newer, &next, &mut rng, &told);
                    asked.check(&list, &snapshot, &mut rng, "the list of before stays what it was");
                    // Somebody who still reads the earlier snapshot finds only the newer list.
                    if let Some(earlier) = asked.updated(&newer, &snapshot, &mut rng) {
                        asked.check(&earlier, &snapshot, &mut rng, &told);
                        back += 1;
                    }
                    updated += 1;
                    list = newer;
                }
                None => {
                    anew += 1;
                    list = asked.built(&next);
                }
            }
            snapshot = next;
        }
    }
    println!("{updated} updated, {back} back, {anew} made anew");
    assert!(updated > rounds * 8 && back > rounds * 8 && anew > rounds);
}

/// What lists share is held once, and all of it is given back.
#[test]
fn lists_of_many_snapshots_hold_what_they_take() {
    let mut rng = Rng::new(7);
    let memory = Arc::new(SortMemory::new(1 << 20));
    let limited = Room {
        memory: Arc::clone(&memory),
        ..room()
    };
    let mut snapshot = random_snapshot(&mut rng);
    let mut asked = Asked::random(&mut rng);
    asked.filter = Filter::parse("(objectClass=*)").expect("a filter");
    asked.view = super::fixture::full_view();
    asked.query = super::fixture::query("(objectClass=*)", &asked.view);
    asked.keys = SortKeys {
        view: Arc::new(asked.view.clone()),
        ..random_keys(&mut rng, &asked.view)
    };
    let mut lists = vec![asked.built(&snapshot)];
    let before = memory.left();
    for _ in 0..20 {
        let mut next = Snapshot::clone(&snapshot);
        write(&mut next, &mut rng);
        let next = Arc::new(next);
        let mut cursor = Cursor::open(Arc::clone(&next), asked.query(&next));
        let last = lists.last().expect("there is one");
        let mut update = ListUpdate::begin(last, &asked.keys, &cursor, 1 << 30, &limited).expect("little has changed");
        let Listing::Done(list) = update.step(&asked.keys, &mut cursor, &mut Work { left: u32::MAX }) else {
            panic!("there is work left, and memory");
        };
        lists.push(list);
        snapshot = next;
    }
    assert!(memory.left() < before);
    lists.truncate(1);
    assert_eq!(memory.left(), before);
    // Where there is no memory it is said, and the list of before is as it was.
    let none = Room {
        memory: Arc::new(SortMemory::new(0)),
        ..room()
    };
    let mut cursor = Cursor::open(Arc::clone(&snapshot), asked.query(&snapshot));
    assert!(ListUpdate::begin(&lists[0], &asked.keys, &cursor, 1 << 30, &none).is_none());
    let mut update = ListUpdate::begin(&lists[0], &asked.keys, &cursor, 0, &room()).expect("little has changed");
    let over = update.step(&asked.keys, &mut cursor, &mut Work { left: u32::MAX });
    assert!(matches!(over, Listing::Limit), "a list has a limit in octets");
}
