//! The store as a whole: power cuts and faults at every step, damage, and random changes against a plain map.

use super::faulty::{Fault, FaultyKv};
use super::record::{self, Operational};
use super::*;
use crate::model::random::Random;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::LazyLock;

pub(super) static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::builtin().unwrap()));

/// Key to the version of the entry under it.
pub(super) type Oracle = BTreeMap<NormalizedDn, u64>;

/// Small, so that nearly every group makes a segment.
pub(super) const TAIL: usize = 4;

/// Entries of three levels: `o=nhs`, nine `ou` below it, `cn=<n>` below those.
pub(super) fn dn(n: u64) -> Dn {
    let text = match n {
        0 => "o=nhs".to_owned(),
        1..10 => format!("ou={n},o=nhs"),
        _ => format!("cn={n},ou={},o=nhs", n % 10),
    };
    Dn::parse(&text).unwrap()
}

pub(super) fn key(n: u64) -> NormalizedDn {
    SCHEMA.normalize_dn(&dn(n)).unwrap()
}

fn record(n: u64, version: u64) -> Vec<u8> {
    let attribute = |name: &str, value: String| Attribute {
        description: AttributeDescription {
            attribute_type: name.to_owned(),
            options: Vec::new(),
        },
        values: vec![value.into_bytes()],
    };
    let entry = Entry {
        attributes: vec![
            attribute("objectClass", "device".into()),
            attribute("cn", n.to_string()),
            attribute("description", format!("version {version}")),
        ],
        dn: dn(n),
    };
    let operational = Operational {
        sequence: version,
        entry_uuid: [n as u8; 16],
        ..Operational::default()
    };
    record::encode(&entry, &operational, &SCHEMA)
}

pub(super) fn put(n: u64, version: u64) -> Change {
    Change::Put {
        key: key(n),
        record: record(n, version),
    }
}

/// Deletes an entry at a time.
fn deletion(n: u64, changed: u64) -> Change {
    let of = Some(Deleted {
        entry_uuid: [n as u8; 16],
        changed,
    });
    Change::Delete { key: key(n), of }
}

/// The times of all deletions that a store remembers.
fn deletions(store: &Store) -> Vec<u64> {
    let deletions = store.deletions(0, u64::MAX).expect("all are known");
    deletions.iter().map(|deletion| deletion.entry.changed).collect()
}

fn options(tail_entries: usize) -> StoreOptions {
    StoreOptions {
        tail_entries,
        background: false,
        ..StoreOptions::default()
    }
}

pub(super) fn versions(snapshot: &Snapshot) -> Oracle {
    let keys = snapshot.subtree(&NormalizedDn::default(), usize::MAX);
    let version = |key: &NormalizedDn| snapshot.record(snapshot.find(key).unwrap()).operational().sequence;
    keys.iter().map(|key| (key.clone(), version(key))).collect()
}

/// A store on a disk that can lose its power. Segments are on the real one.
pub(super) fn start(kv: &FaultyKv, data: &Path, tail_entries: usize) -> Result<Store, StoreError> {
    let _ = std::fs::create_dir(data.join("segments"));
    let core = opening::open_on(
        Box::new(kv.clone()),
        data,
        None,
        Arc::clone(&SCHEMA),
        options(tail_entries),
    )?;
    Ok(Store::start(Arc::new(core)))
}

pub(super) fn new_disk() -> FaultyKv {
    let kv = FaultyKv::default();
    opening::found(&kv, &SCHEMA).unwrap();
    kv
}

/// Group `n`: changes three entries together, and one keyed value that says so.
pub(super) fn commit_group(store: &Store, n: u64) -> Result<SequenceNumber, StoreError> {
    let mut group = store.begin();
    let keyed = KeyedWrite {
        key: b"group".to_vec(),
        value: Some(vec![n as u8; 1 + n as usize % 3 * 5_000]),
    };
    group.apply(vec![put(n % 4, n), put(10 + n, n)], vec![keyed]);
    group.apply(
        vec![if n % 3 == 2 {
            deletion(10 + n - 1, n)
        } else {
            put(20, n)
        }],
        Vec::new(),
    );
    group.commit()
}

fn oracle_after(groups: u64) -> Oracle {
    let mut oracle = Oracle::new();
    for n in 1..=groups {
        oracle.insert(key(n % 4), n);
        oracle.insert(key(10 + n), n);
        if n % 3 == 2 {
            oracle.remove(&key(10 + n - 1));
        } else {
            oracle.insert(key(20), n);
        }
    }
    oracle
}

fn keyed_after(groups: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = |n: u64| (b"group".to_vec(), vec![n as u8; 1 + n as usize % 3 * 5_000]);
    (groups > 0).then(|| value(groups)).into_iter().collect()
}

/// Opens what a fault left and verifies that it is the state after one of `expected` groups.
fn verify_groups(disk: &FaultyKv, data: &Path, expected: std::ops::RangeInclusive<u64>, what: &str) {
    let store = start(disk, data, TAIL).unwrap_or_else(|e| panic!("{what}: {e}"));
    let groups = store.snapshot().sequence.0 / 3;
    assert_eq!(store.snapshot().sequence.0 % 3, 0, "{what}: half a group");
    assert!(
        expected.contains(&groups),
        "{what}: {groups} groups, expected {expected:?}"
    );
    assert_eq!(versions(&store.snapshot()), oracle_after(groups), "{what}");
    assert_eq!(store.keyed().unwrap(), keyed_after(groups), "{what}");
    let deleted: Vec<u64> = (1..=groups).filter(|n| n % 3 == 2).collect();
    assert_eq!(deletions(&store), deleted, "{what}");
    let mut faults = Vec::new();
    store.check(&mut |fault| faults.push(fault)).unwrap();
    assert!(faults.is_empty(), "{what}: {faults:?}");
    commit_group(&store, groups + 1).unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// Commits groups until one fails; gives how many were acknowledged.
pub(super) fn run_until_fault(store: &Store, groups: u64) -> u64 {
    (1..=groups).take_while(|n| commit_group(store, *n).is_ok()).count() as u64
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    for step in 0..40 {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let store = start(&kv, data.path(), TAIL).unwrap();
        kv.arm(step, Fault::PowerCut);
        let acknowledged = run_until_fault(&store, 10);
        assert!(step >= 30 || acknowledged < 10, "the fault at step {step} was not met");
        for (pending, marks) in [(0, false), (0, true), (9, false), (9, true)] {
            let disk = kv.after_power_cut(pending, marks);
            let what = format!("step {step}, {pending} pending batches kept, marks kept: {marks}");
            verify_groups(&disk, data.path(), acknowledged..=acknowledged + 1, &what);
        }
    }
}

/// Groups of several cells and no keyed writes, which are appended and not batched.
#[test]
fn a_torn_group_is_dropped_whole() {
    let commit = |store: &Store, n: u64| {
        let mut group = store.begin();
        group.apply((0..60).map(|entry| put(entry, n)).collect(), Vec::new());
        group.commit()
    };
    let state = |n: u64| -> Oracle { (0..60).filter(|_| n > 0).map(|entry| (key(entry), n)).collect() };
    for step in 0..20 {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let store = start(&kv, data.path(), TAIL).unwrap();
        kv.arm(step, Fault::PowerCut);
        let acknowledged = (1..=9).take_while(|n| commit(&store, *n).is_ok()).count() as u64;
        assert!(acknowledged < 9);
        for (pending, marks) in (0..9).flat_map(|pending| [(pending, false), (pending, true)]) {
            let disk = kv.after_power_cut(pending, marks);
            let what = format!("step {step}, {pending} pending cells kept, marks kept: {marks}");
            let store = start(&disk, data.path(), TAIL).unwrap_or_else(|e| panic!("{what}: {e}"));
            let groups = store.snapshot().sequence.0 / 60;
            assert!((acknowledged..=acknowledged + 1).contains(&groups), "{what}: {groups}");
            assert_eq!(versions(&store.snapshot()), state(groups), "{what}");
            // A shorter group under the same number leaves nothing of the torn one.
            assert_eq!(commit_one(&store), SequenceNumber(groups * 60 + 1));
            drop(store);
            assert_eq!(
                start(&disk, data.path(), TAIL).unwrap().snapshot().sequence.0,
                groups * 60 + 1,
                "{what}"
            );
        }
    }
}

pub(super) fn commit_one(store: &Store) -> SequenceNumber {
    let mut group = store.begin();
    group.apply(vec![put(1, 1)], Vec::new());
    group.commit().unwrap()
}

#[test]
fn an_acknowledged_group_that_lost_a_cell_is_an_error() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), 100).unwrap();
    let mut group = store.begin();
    group.apply((0..60).map(|entry| put(entry, 1)).collect(), Vec::new());
    group.commit().unwrap();
    drop(store);
    kv.damage(|pairs| {
        let last = pairs.keys().rfind(|key| key[0] == b'j').cloned().unwrap();
        assert!(last[10] > 0, "the group has several cells");
        pairs.remove(&last);
    });
    assert!(matches!(start(&kv, data.path(), 100), Err(StoreError::Corrupt { .. })));
}

#[test]
fn the_first_io_error_ends_writing_until_a_restart() {
    for step in 0..12 {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let store = start(&kv, data.path(), TAIL).unwrap();
        kv.arm(step, Fault::Io(ErrorKind::StorageFull));
        let acknowledged = run_until_fault(&store, 10);
        assert!(acknowledged < 10);
        let steps = kv.steps();
        assert!(matches!(commit_group(&store, 9), Err(StoreError::ReadOnly { .. })));
        assert!(matches!(store.compact(), Err(StoreError::ReadOnly { .. })));
        assert!(store.fault().is_some_and(|fault| fault.contains("free space")));
        drop(store);
        assert_eq!(kv.steps(), steps, "nothing is written and nothing synced after a fault");
        verify_groups(
            &kv,
            data.path(),
            acknowledged..=acknowledged + 1,
            &format!("step {step}"),
        );
    }
}

#[test]
fn a_lost_tail_is_an_error_not_an_older_answer() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), TAIL).unwrap();
    commit_group(&store, 1).unwrap();
    let earlier = kv.after_power_cut(0, false);
    commit_group(&store, 2).unwrap();
    commit_group(&store, 3).unwrap();
    drop(store);
    let lose = |from: u8| {
        let disk = kv.after_power_cut(0, true);
        disk.damage(|pairs| pairs.retain(|key, _| key[0] != b'j' || key[8] < from));
        disk
    };
    assert!(start(&lose(99), data.path(), TAIL).is_ok());
    for from in [1, 4, 7] {
        let Err(error) = start(&lose(from), data.path(), TAIL) else {
            panic!("a journal cut at {from} was opened")
        };
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("restore"), "{error}");
    }
    // The same number, another change: the mark has the chain's hash too.
    let other = start(&earlier, data.path(), TAIL).unwrap();
    for n in [5, 6] {
        commit_group(&other, n).unwrap();
    }
    drop(other);
    kv.damage(|pairs| {
        pairs.retain(|key, _| key[0] != b'j');
        earlier.damage(|others| {
            pairs.extend(
                others
                    .iter()
                    .filter(|(key, _)| key[0] == b'j')
                    .map(|(k, v)| (k.clone(), v.clone())),
            )
        });
    });
    assert!(matches!(start(&kv, data.path(), TAIL), Err(StoreError::Corrupt { .. })));
}

#[test]
fn check_names_a_damaged_keyed_value() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), TAIL).unwrap();
    commit_group(&store, 1).unwrap();
    kv.damage(|pairs| {
        let (_, value) = pairs.iter_mut().find(|(key, _)| key[0] == KEYED).unwrap();
        value[8] ^= 4;
    });
    let mut faults = Vec::new();
    let report = store.check(&mut |fault| faults.push(fault)).unwrap();
    assert_eq!(report.changes, 3);
    assert!(
        matches!(faults.as_slice(), [fault] if fault.contains("checksum")),
        "{faults:?}"
    );
}

#[test]
fn a_dropped_group_leaves_nothing() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), TAIL).unwrap();
    let mut group = store.begin();
    assert_eq!(group.next_sequence(), SequenceNumber(1));
    assert_eq!(group.apply(vec![put(1, 1)], Vec::new()), SequenceNumber(1));
    assert_eq!(group.apply(Vec::new(), Vec::new()), SequenceNumber(1));
    assert_eq!(group.snapshot().len(), 1);
    drop(group);
    assert!(store.snapshot().is_empty());
    assert_eq!(commit_group(&store, 1).unwrap(), SequenceNumber(3));
    assert_eq!(store.begin().commit().unwrap(), SequenceNumber(3));
}

#[test]
fn a_directory_is_made_once_and_opened_by_one() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("new");
    let open = || Store::open(&path, Arc::clone(&SCHEMA), options(TAIL));
    let create = || Store::create(&path, Arc::clone(&SCHEMA), options(TAIL));
    assert!(matches!(open(), Err(StoreError::Missing { .. })));
    let store = create().unwrap();
    assert!(matches!(open(), Err(StoreError::Locked { .. })));
    assert!(matches!(create(), Err(StoreError::Locked { .. })));
    commit_group(&store, 1).unwrap();
    drop(store);
    assert!(matches!(create(), Err(StoreError::AlreadyThere { .. })));
    assert_eq!(versions(&open().unwrap().snapshot()), oracle_after(1));
    std::fs::remove_file(path.join("mark")).unwrap();
    assert!(matches!(open(), Err(StoreError::Corrupt { .. })));
    // Stopped while it was being made, it is made again.
    std::fs::write(path.join("creating"), b"").unwrap();
    assert!(matches!(open(), Err(StoreError::Missing { .. })));
    assert!(create().unwrap().snapshot().is_empty());
}

#[test]
fn flipped_bits_in_the_journal_are_an_error_or_harmless() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("d");
    let store = Store::create(&path, Arc::clone(&SCHEMA), options(1_000)).unwrap();
    assert_eq!(run_until_fault(&store, 30), 30);
    // Some groups come with keyed values, others do not.
    for n in 1_000..1_030 {
        let mut group = store.begin();
        group.apply(vec![put(n, n)], Vec::new());
        group.commit().unwrap();
    }
    let (entries, keyed) = (versions(&store.snapshot()), store.keyed().unwrap());
    drop(store);
    let mut random = Random::from_environment();
    for file in ["journal/db", "log/00000001.log"] {
        let log = path.join(file);
        let sound = std::fs::read(&log).unwrap();
        let used = sound.iter().rposition(|octet| *octet != 0).unwrap();
        let mut refused = 0;
        for _ in 0..40 {
            let mut damaged = sound.clone();
            damaged[random.below(used)] ^= 1 << random.below(8);
            std::fs::write(&log, &damaged).unwrap();
            match Store::open(&path, Arc::clone(&SCHEMA), options(1_000)) {
                Ok(store) => {
                    assert_eq!(versions(&store.snapshot()), entries, "seed {}", random.seed);
                    if let Ok(found) = store.keyed() {
                        assert_eq!(found, keyed, "seed {}", random.seed);
                    }
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0, "no flip in {file} was noticed, seed {}", random.seed);
        std::fs::write(&log, &sound).unwrap();
    }
}

#[test]
fn random_changes_agree_with_a_plain_map() {
    let mut random = Random::from_environment();
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let mut store = start(&kv, data.path(), 3).unwrap();
    let mut oracle = Oracle::new();
    let mut deleted = Vec::new();
    for step in 0..400 {
        match random.below(40) {
            0 => store.compact().unwrap(),
            1 => {
                drop(store);
                store = start(&kv, data.path(), 3).unwrap();
            }
            _ => random_group(&store, &mut oracle, &mut deleted, &mut random),
        }
        let what = format!("step {step}, seed {}", random.seed);
        verify_snapshot(&store.snapshot(), &oracle, &mut random, &what);
        assert_eq!(deletions(&store), deleted, "{what}");
    }
    let mut faults = Vec::new();
    store.check(&mut |fault| faults.push(fault)).unwrap();
    assert!(faults.is_empty(), "{faults:?}");
}

fn random_group(store: &Store, oracle: &mut Oracle, deleted: &mut Vec<u64>, random: &mut Random) {
    let mut group = store.begin();
    for _ in 0..1 + random.below(4) {
        let n = random.below(120) as u64;
        let version = group.next_sequence().0;
        if random.below(3) == 0 {
            group.apply(vec![deletion(n, version)], Vec::new());
            oracle.remove(&key(n));
            deleted.push(version);
        } else {
            group.apply(vec![put(n, version)], Vec::new());
            oracle.insert(key(n), version);
        }
    }
    assert_eq!(group.snapshot().len() as usize, oracle.len());
    group.commit().unwrap();
}

fn verify_snapshot(snapshot: &Snapshot, oracle: &Oracle, random: &mut Random, what: &str) {
    assert_eq!(snapshot.len() as usize, oracle.len(), "{what}");
    assert_eq!(&versions(snapshot), oracle, "{what}");
    let n = random.below(120) as u64;
    assert_eq!(snapshot.find(&key(n)).is_some(), oracle.contains_key(&key(n)), "{what}");
    if let Some(at) = snapshot.find(&key(n)) {
        assert_eq!(snapshot.key(at), key(n), "{what}");
    }
    let places = snapshot
        .layers
        .iter()
        .filter(|layer| layer.find(&key(n)).is_some())
        .count()
        + snapshot.tail.iter().filter(|entry| entry.key == key(n)).count();
    assert_eq!(
        places,
        usize::from(oracle.contains_key(&key(n))),
        "{what}: visible in {places} places"
    );
    let base = if random.below(5) == 0 {
        NormalizedDn::default()
    } else {
        key(random.below(12) as u64)
    };
    let below: Vec<_> = oracle.keys().filter(|key| key.is_within(&base)).cloned().collect();
    let children = below.iter().filter(|key| key.depth() == base.depth() + 1).count() as u64;
    assert_eq!(
        snapshot.children(&base, u64::MAX),
        children,
        "{what}: children of {base:?}"
    );
    assert_eq!(snapshot.children(&base, 2), children.min(2), "{what}");
    assert_eq!(snapshot.subtree(&base, 3), below[..below.len().min(3)], "{what}");
}

#[test]
fn a_change_during_compaction_is_kept() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), 3).unwrap();
    let (mut oracle, mut deleted) = (Oracle::new(), Vec::new());
    let mut random = Random::from_environment();
    (0..40).for_each(|_| random_group(&store, &mut oracle, &mut deleted, &mut random));
    let mut rests = 0;
    compaction::compact(&store.core, &mut || {
        rests += 1;
        (0..if rests == 1 { 20 } else { 1 }).for_each(|_| random_group(&store, &mut oracle, &mut deleted, &mut random));
        Ok(())
    })
    .unwrap();
    assert!(rests > 0);
    verify_snapshot(&store.snapshot(), &oracle, &mut random, "after");
    assert_eq!(deletions(&store), deleted);
    assert!(store.snapshot().layers.len() > 1);
    drop(store);
    let store = start(&kv, data.path(), 3).unwrap();
    verify_snapshot(&store.snapshot(), &oracle, &mut random, "after a restart");
    assert_eq!(deletions(&store), deleted, "none is there twice");
    assert_eq!(std::fs::read_dir(data.path().join("segments")).unwrap().count(), 1);
}

#[test]
fn a_change_while_the_tail_becomes_a_segment_is_kept() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), 1_000).unwrap();
    let mut oracle = Oracle::new();
    let mut random = Random::from_environment();
    for round in 0..10 {
        (0..10).for_each(|_| random_group(&store, &mut oracle, &mut Vec::new(), &mut random));
        let before = store.snapshot();
        let segment = Arc::new(overlay::build(&before));
        (0..10).for_each(|_| random_group(&store, &mut oracle, &mut Vec::new(), &mut random));
        let next = overlay::frozen(&store.snapshot(), &before.tail, segment);
        verify_snapshot(&next, &oracle, &mut random, &format!("round {round}"));
        store.core.published.store(Arc::new(next));
    }
}

#[test]
fn a_compaction_that_is_stopped_changes_nothing() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    let store = start(&kv, data.path(), TAIL).unwrap();
    assert_eq!(run_until_fault(&store, 9), 9);
    let stopped = compaction::compact(&store.core, &mut || Err(StoreError::Closing));
    assert!(matches!(stopped, Err(StoreError::Closing)));
    assert_eq!(std::fs::read_dir(data.path().join("segments")).unwrap().count(), 0);
    assert_eq!(versions(&store.snapshot()), oracle_after(9));
    store.compact().unwrap();
    drop(store);
    verify_groups(&kv, data.path(), 9..=9, "after a second try");
}

#[test]
fn a_power_cut_during_compaction_leaves_the_old_or_the_new_generation() {
    for step in 0..8 {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let store = start(&kv, data.path(), TAIL).unwrap();
        assert_eq!(run_until_fault(&store, 5), 5);
        store.compact().unwrap();
        assert_eq!((6..=9).filter(|n| commit_group(&store, *n).is_ok()).count(), 4);
        kv.arm(step, Fault::PowerCut);
        let _ = store.compact();
        for (pending, marks) in [(0, false), (0, true), (9, false), (9, true)] {
            let copy = tempfile::tempdir().unwrap();
            std::fs::create_dir(copy.path().join("segments")).unwrap();
            for item in std::fs::read_dir(data.path().join("segments")).unwrap() {
                let item = item.unwrap();
                std::fs::copy(item.path(), copy.path().join("segments").join(item.file_name())).unwrap();
            }
            let what = format!("step {step}, {pending} pending batches kept, marks kept: {marks}");
            verify_groups(&kv.after_power_cut(pending, marks), copy.path(), 9..=9, &what);
        }
    }
}

#[test]
fn readers_see_whole_groups_while_threads_merge_and_compact() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("segments")).unwrap();
    let options = StoreOptions {
        tail_entries: 4,
        compact_after_entries: 60,
        background: true,
        ..StoreOptions::default()
    };
    let core = opening::open_on(Box::new(kv.clone()), data.path(), None, Arc::clone(&SCHEMA), options).unwrap();
    let store = Store::start(Arc::new(core));
    let groups = 120;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| assert_eq!(run_until_fault(&store, groups), groups));
        while !writer.is_finished() {
            let snapshot = store.snapshot();
            assert_eq!(snapshot.sequence.0 % 3, 0);
            assert_eq!(versions(&snapshot), oracle_after(snapshot.sequence.0 / 3));
        }
    });
    assert_eq!(versions(&store.snapshot()), oracle_after(groups));
    drop(store);
    verify_groups(&kv, data.path(), groups..=groups, "after a restart");
}

#[test]
fn a_short_tail_becomes_a_segment_when_writing_rests() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("segments")).unwrap();
    let core = opening::open_on(
        Box::new(kv),
        data.path(),
        None,
        Arc::clone(&SCHEMA),
        StoreOptions::default(),
    );
    let store = Store::start(Arc::new(core.unwrap()));
    assert_eq!(run_until_fault(&store, 2), 2);
    let started = std::time::Instant::now();
    while !store.snapshot().tail.is_empty() {
        assert!(started.elapsed().as_secs() < 60, "the tail is still there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(versions(&store.snapshot()), oracle_after(2));
    // The thread also makes the substrings that a search went without.
    let segment = Arc::clone(&store.snapshot().layers.last().unwrap().segment);
    let description = SCHEMA.find_attribute("description").unwrap();
    assert!(segment.index(description).unwrap().substrings.is_none());
    segment.ask_for_substrings(description);
    while segment.index(description).unwrap().substrings.is_none() {
        assert!(started.elapsed().as_secs() < 60, "there are no substrings yet");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
