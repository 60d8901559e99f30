//! A schema that takes the place of another under an open store: power cuts, compactions and old journal groups.

use super::faulty::FaultyKv;
use super::record::{self, Operational};
use super::*;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};

const WARD: &str = "attributetype ( 1.3.6.1.4.1.99999.1 NAME 'wardName' EQUALITY caseIgnoreMatch \
                    SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n\
                    objectclass ( 1.3.6.1.4.1.99999.2 NAME 'ward' SUP top AUXILIARY MAY wardName )\n";

fn load(text: &str) -> Arc<Schema> {
    let files = [("ward.schema".to_owned(), text.to_owned())];
    Arc::new(Schema::load(&files).unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn successor(schema: &Schema, text: &str) -> Arc<Schema> {
    let files = [("ward.schema".to_owned(), text.to_owned())];
    Arc::new(schema.successor(&files).unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn put(schema: &Schema, dn: &str, attributes: &[(&str, &str)]) -> Change {
    let attribute = |(name, value): &(&str, &str)| Attribute {
        description: AttributeDescription {
            attribute_type: (*name).to_owned(),
            options: Vec::new(),
        },
        values: vec![value.as_bytes().to_vec()],
    };
    let entry = Entry {
        dn: Dn::parse(dn).unwrap(),
        attributes: attributes.iter().map(attribute).collect(),
    };
    Change::Put {
        key: schema.normalize_dn(&entry.dn).unwrap(),
        record: record::encode(&entry, &Operational::default(), schema),
    }
}

fn commit(store: &Store, change: Change) {
    let mut group = store.begin();
    group.apply(vec![change], Vec::new());
    group.commit().unwrap();
}

fn open(kv: &FaultyKv, data: &Path, schema: &Arc<Schema>) -> Store {
    let _ = std::fs::create_dir(data.join("segments"));
    let options = StoreOptions {
        tail_entries: 1,
        background: false,
        ..StoreOptions::default()
    };
    let core = opening::open_on(Box::new(kv.clone()), data, None, Arc::clone(schema), options).unwrap();
    Store::start(Arc::new(core))
}

/// The names of the entries that the indexes have under a value.
fn found(store: &Store, attribute: &str, value: &str) -> Vec<String> {
    let snapshot = store.snapshot();
    let id = snapshot.schema().find_attribute(attribute).unwrap();
    let held = Held::Value(value.as_bytes());
    let at = snapshot.holders(id, held, 100);
    let mut names: Vec<String> = at.into_iter().map(|at| snapshot.record(at).dn().to_owned()).collect();
    names.sort();
    names
}

fn is_sound(store: &Store) {
    store.check(&mut |fault| panic!("{fault}")).unwrap();
}

/// Before, during and after: each journal group is read by the table it was written under.
#[test]
fn a_schema_that_changes_while_a_compaction_runs_spoils_no_group() {
    let place = tempfile::tempdir().unwrap();
    let kv = FaultyKv::default();
    let first = load("");
    opening::found(&kv, &first).unwrap();
    let store = open(&kv, place.path(), &first);
    commit(&store, put(&first, "o=nhs", &[("o", "nhs"), ("description", "one")]));
    commit(
        &store,
        put(&first, "ou=1,o=nhs", &[("ou", "1"), ("description", "one")]),
    );
    let second = successor(&first, WARD);
    let mut steps = 0;
    compaction::compact(&store.core, &mut || {
        steps += 1;
        if steps == 1 {
            commit(
                &store,
                put(&first, "ou=2,o=nhs", &[("ou", "2"), ("description", "one")]),
            );
            store.change_schema(Arc::clone(&second), Vec::new()).unwrap();
            commit(&store, put(&second, "ou=3,o=nhs", &[("ou", "3"), ("wardName", "ash")]));
        }
        Ok(())
    })
    .unwrap();
    assert!(steps > 0);
    let look = |store: &Store| {
        assert_eq!(
            found(store, "description", "one"),
            ["o=nhs", "ou=1,o=nhs", "ou=2,o=nhs"]
        );
        assert_eq!(found(store, "wardName", "ash"), ["ou=3,o=nhs"]);
        is_sound(store);
    };
    look(&store);
    drop(store);
    // Another order of definitions, other numbers.
    let anew = load(&format!(
        "attributetype ( 1.3.6.1.4.1.99999.3 NAME 'wardRoom' SUP wardName )\n{WARD}"
    ));
    let store = open(&kv, place.path(), &anew);
    look(&store);
    store.compact().unwrap();
    look(&store);
    let mut tables = 0;
    cell::scan(&kv, b't', b"", &mut |_, _, _| {
        tables += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(tables, 1, "the tables of before are gone");
}

#[test]
fn a_power_cut_leaves_the_schema_of_before_or_the_next() {
    let place = tempfile::tempdir().unwrap();
    let kv = FaultyKv::default();
    let first = load("");
    opening::found(&kv, &first).unwrap();
    let store = open(&kv, place.path(), &first);
    commit(&store, put(&first, "o=nhs", &[("o", "nhs")]));
    let second = successor(&first, WARD);
    let written = KeyedWrite {
        key: b"d/schema".to_vec(),
        value: Some(b"second".to_vec()),
    };
    store.change_schema(Arc::clone(&second), vec![written]).unwrap();
    commit(&store, put(&second, "ou=1,o=nhs", &[("ou", "1"), ("wardName", "ash")]));
    let disk = kv.after_power_cut(0, true);
    std::mem::forget(store);
    let store = open(&disk, place.path(), &load(WARD));
    assert_eq!(found(&store, "wardName", "ash"), ["ou=1,o=nhs"]);
    assert!(store.keyed().unwrap().iter().any(|(_, value)| value == b"second"));
    is_sound(&store);
}

/// A stored identifier that meant nothing would compare in another way once it names something.
#[test]
fn a_stored_identifier_that_gets_a_meaning_is_in_the_way() {
    let place = tempfile::tempdir().unwrap();
    let kv = FaultyKv::default();
    let speaks = "attributetype ( 1.3.6.1.4.1.99999.4 NAME 'speaks' EQUALITY objectIdentifierMatch \
                  SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )\n";
    let first = load(speaks);
    opening::found(&kv, &first).unwrap();
    let store = open(&kv, place.path(), &first);
    let context = [("ou", "1"), ("speaks", "1.3.6.1.4.1.99999.2")];
    commit(&store, put(&first, "o=nhs", &[("o", "nhs")]));
    commit(&store, put(&first, "ou=1,o=nhs", &context));
    store.compact().unwrap();
    let second = successor(&first, &format!("{speaks}{WARD}"));
    let refused = store.change_schema(Arc::clone(&second), Vec::new());
    assert!(
        matches!(&refused, Err(StoreError::Names { attribute, .. }) if attribute == "speaks"),
        "{refused:?}"
    );
    assert!(Arc::ptr_eq(&store.schema(), &first));
    drop(store);
    // A start sets the index aside: evaluated, the value is found.
    let store = open(&kv, place.path(), &second);
    assert_eq!(found(&store, "speaks", "ward"), ["ou=1,o=nhs"]);
    store.compact().unwrap();
    is_sound(&store);
}

/// Nothing was changed since the last compaction, and yet there is something to do.
#[test]
fn an_index_made_by_other_rules_is_made_anew() {
    let place = tempfile::tempdir().unwrap();
    let kv = FaultyKv::default();
    let first = load(WARD);
    opening::found(&kv, &first).unwrap();
    let store = open(&kv, place.path(), &first);
    commit(&store, put(&first, "o=nhs", &[("o", "nhs"), ("wardName", "Ash")]));
    store.compact().unwrap();
    assert_eq!(set_aside(&store), [""; 0]);
    drop(store);
    let exact = load(&WARD.replace("caseIgnoreMatch", "caseExactMatch"));
    let store = open(&kv, place.path(), &exact);
    assert_eq!(set_aside(&store), ["wardName"]);
    store.compact().unwrap();
    assert_eq!(set_aside(&store), [""; 0]);
    assert_eq!(found(&store, "wardName", "Ash"), ["o=nhs"]);
    is_sound(&store);
}

fn set_aside(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot();
    let schema = snapshot.schema();
    let base = snapshot.layers.first().unwrap();
    let types = base.segment.set_aside();
    types.map(|id| schema.attribute(id).name().to_owned()).collect()
}
