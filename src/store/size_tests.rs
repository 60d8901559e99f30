//! What is large: groups beyond what the journal keeps together, and changes that are merged before they are many.

use super::tests::{Oracle, SCHEMA, TAIL, commit_group, commit_one, key, new_disk, run_until_fault, start, versions};
use super::*;

/// What is more than the journal keeps together is refused, and those that come after it are not.
#[test]
fn a_group_that_is_too_large_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = start(&new_disk(), data.path(), TAIL).unwrap();
    let mut group = store.begin();
    for n in 0..2 {
        let large = Change::Put {
            key: key(n),
            record: vec![0; 121 << 20],
        };
        group.apply(vec![large], Vec::new());
    }
    assert!(matches!(group.commit(), Err(StoreError::TooLarge { .. })));
    assert_eq!(store.fault(), None);
    assert_eq!(versions(&store.snapshot()), Oracle::new());
    commit_one(&store);
}

/// What was changed is in memory: large changes are merged into a segment before many are.
#[test]
fn large_changes_start_a_compaction() {
    let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
    std::fs::create_dir(data.path().join("segments")).unwrap();
    let options = StoreOptions {
        compact_after_octets: 4000,
        ..StoreOptions::default()
    };
    let open = || {
        opening::open_on(
            Box::new(kv.clone()),
            data.path(),
            None,
            Arc::clone(&SCHEMA),
            options.clone(),
        )
    };
    let store = Store::start(Arc::new(open().unwrap()));
    let generation = |store: &Store| store.core.lock_writer().manifest.generation;
    assert_eq!(run_until_fault(&store, 2), 2);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(generation(&store), 0);
    // What was found at the open counts.
    drop(store);
    let store = Store::start(Arc::new(open().unwrap()));
    for n in 2..20 {
        commit_group(&store, n).unwrap();
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while generation(&store) == 0 {
        assert!(std::time::Instant::now() < until, "no compaction was begun");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let writer = store.core.lock_writer();
    assert!(writer.journal_octets - writer.covered_octets < 4000);
}
