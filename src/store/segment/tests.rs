//! Segments in memory, in files and from bulk loads, each held to sets built from the entries.

use super::*;
use crate::index::Ordinal;
use crate::index::column::OrdinalSet;
use crate::index::postings::PostingCursor;
use crate::index::testing::Rng;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};
use crate::store::record::{self, Operational, encode, index_terms};
use crate::store::{Store, StoreOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::builtin().unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry::new(Dn::parse(dn).unwrap());
    for (description, value) in attributes {
        let description = AttributeDescription::parse(description).unwrap();
        entry
            .find_or_insert(&description)
            .values
            .push(value.as_bytes().to_vec());
    }
    entry
}

fn person(rng: &mut Rng, number: usize) -> Entry {
    let forename = ["Anna", "Ben", "Chloë", "Dev"][rng.below(4)];
    let surname = ["Smith", "Smythe", "O'Neill", "Ng", "Featherstonehaugh"][rng.below(5)];
    let common = format!("{forename} {surname}");
    let mail = format!("{forename}.{surname}{number}@nhs.net")
        .to_lowercase()
        .replace('ë', "e");
    let mut person = entry(
        &format!("uid={number:06},ou=People,o=nhs"),
        &[
            ("objectClass", "top"),
            ("objectClass", "person"),
            ("objectClass", "organizationalPerson"),
            ("objectClass", "inetOrgPerson"),
            ("CN", &common),
            ("sn", surname),
            ("givenName", forename),
            ("mail", &mail),
        ],
    );
    if rng.below(3) == 0 {
        let note = "a value of some length ".repeat(rng.below(20) + 1);
        person.attributes.push(Attribute {
            description: AttributeDescription::parse("description;lang-en").unwrap(),
            values: vec![note.into_bytes(), common.into_bytes()],
        });
        person.push("description", forename);
        person.push("jpegPhoto", vec![0xff, 0xd8, 0, 1, 2]);
    }
    person
}

fn directory(schema: &Schema, people: usize) -> Vec<(NormalizedDn, Entry)> {
    let mut rng = Rng::new(11);
    let mut entries = vec![
        entry(
            "o=nhs",
            &[("objectClass", "top"), ("objectClass", "organization"), ("o", "nhs")],
        ),
        entry(
            "ou=People,o=nhs",
            &[
                ("objectClass", "top"),
                ("objectClass", "organizationalUnit"),
                ("ou", "People"),
            ],
        ),
    ];
    entries.extend((0..people).map(|number| person(&mut rng, number * 7)));
    let mut keyed: Vec<_> = entries
        .into_iter()
        .map(|entry| (schema.normalize_dn(&entry.dn).unwrap(), entry))
        .collect();
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    keyed
}

fn operational(number: usize) -> Operational<'static> {
    Operational {
        entry_uuid: (number as u128 * 0x1_0000_0001).to_be_bytes(),
        created: 1_500_000_000 + number as u64 % 3,
        modified: 1_500_000_000 + number as u64 % 3,
        ..Operational::default()
    }
}

fn records(schema: &Schema, entries: &[(NormalizedDn, Entry)]) -> Vec<Vec<u8>> {
    let encode = |(number, (_, entry)): (usize, &(NormalizedDn, Entry))| encode(entry, &operational(number), schema);
    entries.iter().enumerate().map(encode).collect()
}

fn in_memory(schema: &Arc<Schema>, entries: &[(NormalizedDn, Entry)]) -> Segment {
    let records = records(schema, entries);
    let pairs: Vec<(NormalizedDn, Arc<[u8]>)> = entries
        .iter()
        .zip(&records)
        .map(|((key, _), record)| (key.clone(), record.as_slice().into()))
        .collect();
    Segment::build(&pairs, schema, &Arc::new(Wanted::everything()))
}

fn write(path: &Path, schema: &Schema, segment: &Segment, unindexed: &[String]) {
    let mut key = NormalizedDn::default();
    Segment::write(path, schema, unindexed, &mut |emit| {
        (0..segment.len()).try_for_each(|id| {
            segment.names().value(Ordinal(id), &mut key.0);
            emit(&key, segment.record(EntryId(id)))
        })
    })
    .unwrap();
}

fn faults(segment: &Segment, schema: &Schema) -> Vec<String> {
    let mut faults = Vec::new();
    segment.verify(schema, &mut |fault| faults.push(fault));
    faults
}

/// Everything a segment answers, against what the entries say.
fn stands_for(segment: &Segment, schema: &Schema, entries: &[(NormalizedDn, Entry)], unindexed: &[&str]) {
    assert_eq!(segment.len() as usize, entries.len());
    let mut terms: BTreeMap<AttributeId, BTreeMap<Vec<u8>, BTreeSet<u32>>> = BTreeMap::new();
    let mut having: BTreeMap<AttributeId, Vec<u32>> = BTreeMap::new();
    for (id, (key, entry)) in (0..).zip(entries) {
        assert_eq!(segment.find(key), Some(EntryId(id)));
        assert_eq!(usize::from(segment.depth(EntryId(id))), key.depth());
        let below = entries.iter().filter(|(other, _)| other.is_within(key)).count() as u32;
        assert_eq!(segment.subtree(key), id..id + below);
        let record = segment.record(EntryId(id));
        let (found, wanted) = (record.to_entry(), entry);
        assert_eq!(found.dn, wanted.dn);
        for attribute in &wanted.attributes {
            let found = found.find(&attribute.description).unwrap();
            assert_eq!(found.values, attribute.values, "{:?}", attribute.description);
        }
        assert_eq!(found.attributes.len(), wanted.attributes.len());
        for attribute in record.attributes() {
            having.entry(attribute.id).or_default().push(id);
        }
        index_terms(record, schema, &mut |attribute, term| {
            let of_attribute = terms.entry(attribute).or_default();
            of_attribute.entry(term.to_vec()).or_default().insert(id);
        });
    }
    for attribute in schema.attributes() {
        let indexed = record::is_indexed(schema, attribute.id)
            && !(unindexed.contains(&attribute.name()) && terms.contains_key(&attribute.id));
        let Some(index) = segment.index(attribute.id) else {
            assert!(!indexed, "{}", attribute.name());
            continue;
        };
        assert!(indexed, "{}", attribute.name());
        let expected = terms.remove(&attribute.id).unwrap_or_default();
        assert_eq!(index.dictionary.len() as usize, expected.len(), "{}", attribute.name());
        for (ordinal, (term, ids)) in (0..).zip(&expected) {
            assert_eq!(index.dictionary.find(term), Some(Ordinal(ordinal)));
            let mut cursor = PostingCursor::new(index.postings.list(Ordinal(ordinal)));
            let found: BTreeSet<u32> = std::iter::from_fn(|| cursor.next(index.postings))
                .map(|id| id.0)
                .collect();
            assert_eq!(&found, ids);
            let wanted = OrdinalSet::Range(ordinal..ordinal + 1);
            for id in 0..segment.len() {
                let column = segment.column(attribute.id);
                assert!(column.is_none_or(|column| column.any(EntryId(id), &wanted) == ids.contains(&id)));
            }
        }
        // A value that does not normalise is no term, but it makes the attribute present.
        let listed = expected.values().flatten().copied();
        let present: BTreeSet<u32> = listed
            .chain(having.remove(&attribute.id).into_iter().flatten())
            .collect();
        assert_eq!(
            index.presence.list(Ordinal(0)).len as usize,
            present.len(),
            "{}",
            attribute.name()
        );
    }
}

/// Some wishes, as searches leave them behind.
fn some_wishes(schema: &Arc<Schema>) -> Wanted {
    let entries = directory(schema, 40);
    let records = records(schema, &entries);
    let pairs: Vec<_> = entries
        .iter()
        .zip(&records)
        .map(|((key, _), record)| (key.clone(), record.as_slice().into()))
        .collect();
    let wanted = Arc::new(Wanted::nothing(schema));
    let asked = Segment::build(&pairs, schema, &wanted);
    for name in ["sn", "cn", "mail"] {
        asked.index(schema.find_attribute(name).unwrap()).unwrap();
    }
    asked.ask_for_substrings(schema.find_attribute("cn").unwrap());
    drop(asked);
    Arc::into_inner(wanted).unwrap()
}

/// What several segments in memory become is what their visible entries would have become at once, whatever was made of them when.
#[test]
fn a_merged_segment_is_one_built_of_its_entries() {
    let schema = schema();
    for (entries, before, after) in [
        (1_200, Wanted::everything(), Wanted::everything()),
        (1_200, Wanted::nothing(&schema), Wanted::nothing(&schema)),
        (1_200, some_wishes(&schema), Wanted::everything()),
        (1_200, Wanted::nothing(&schema), some_wishes(&schema)),
        (
            deferred::DEFERRED_ENTRIES + 900,
            some_wishes(&schema),
            Wanted::nothing(&schema),
        ),
    ] {
        let whole = entries > deferred::DEFERRED_ENTRIES
            || after.index(AttributeId(u16::MAX)) && after.substrings(AttributeId(0));
        merges(
            &schema,
            &directory(&schema, entries),
            &Arc::new(before),
            &Arc::new(after),
            whole,
        );
    }
}

fn key_of(segment: &Segment, id: EntryId) -> Vec<u8> {
    let mut key = Vec::new();
    segment.names().value(Ordinal(id.0), &mut key);
    key
}

/// `whole`: every index of what several segments become is made with it.
fn merges(
    schema: &Arc<Schema>,
    entries: &[(NormalizedDn, Entry)],
    before: &Arc<Wanted>,
    after: &Arc<Wanted>,
    whole: bool,
) {
    let mut rng = Rng::new(5);
    let place: Vec<usize> = entries.iter().map(|_| rng.below(3)).collect();
    let all_records = records(schema, entries);
    let mut stale = entry("cn=stale,o=nhs", &[("objectClass", "device"), ("serialNumber", "1")]);
    let inputs: Vec<(Segment, BTreeSet<EntryId>)> = (0..3)
        .map(|input| {
            let (mut pairs, mut shown) = (Vec::new(), BTreeSet::new());
            for (number, (key, old)) in entries.iter().enumerate() {
                if place[number] == input {
                    shown.insert(EntryId(pairs.len() as u32));
                    pairs.push((key.clone(), all_records[number].clone()));
                } else if number % 5 == 0 {
                    // Of an older time, and hidden since.
                    stale.dn = old.dn.clone();
                    pairs.push((key.clone(), encode(&stale, &operational(number), schema)));
                }
            }
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, record)| (key.clone(), record.as_slice().into()))
                .collect();
            (Segment::build(&pairs, schema, before), shown)
        })
        .collect();
    // Of one, an index was made since that the others do not have.
    inputs[1].0.index(schema.find_attribute("uid").unwrap()).unwrap();
    let segments: Vec<&Segment> = inputs.iter().map(|(segment, _)| segment).collect();
    let merged = Segment::merge(&segments, &|input, id| !inputs[input].1.contains(&id), schema, after);
    for (segment, shown) in &inputs {
        for id in shown {
            let at = merged
                .find(&NormalizedDn(key_of(segment, *id)))
                .expect("a visible entry");
            assert!(
                std::ptr::eq(merged.record(at).octets(), segment.record(*id).octets()),
                "records stay where they are"
            );
        }
    }
    let serial = schema.find_attribute("serialNumber").unwrap();
    if whole {
        let built = in_memory(schema, entries);
        assert!(merged.octets.all() == built.octets.all(), "not the same octets");
        assert!(!merged.may_have(serial, b"1"));
    }
    stands_for(&merged, schema, entries, &[]);
    assert!(merged.may_have(schema.find_attribute("sn").unwrap(), b"smith"));
    assert_eq!(
        merged.index(serial).unwrap().dictionary.len(),
        0,
        "no visible entry has it"
    );
}

/// An index of a small segment is made when it is asked for; then others come with it, and substrings once they were missed.
#[test]
fn indexes_in_memory_are_made_when_they_are_asked_for() {
    let schema = schema();
    let wanted = Arc::new(Wanted::nothing(&schema));
    let entries = directory(&schema, 200);
    let records = records(&schema, &entries);
    let pairs: Vec<_> = entries
        .iter()
        .zip(&records)
        .map(|((key, _), record)| (key.clone(), record.as_slice().into()))
        .collect();
    let segment = Segment::build(&pairs, &schema, &wanted);
    let [sn, cn, country] = ["sn", "cn", "c"].map(|name| schema.find_attribute(name).unwrap());
    assert!(segment.defers(sn) && segment.defers(cn));
    assert!(!segment.defers(country) && segment.lacks(country), "no entry has it");
    assert!(segment.may_have(sn, b"nobody"), "nothing is known yet");
    assert!(segment.index(sn).unwrap().dictionary.find(b"smith").is_some());
    assert!(!segment.defers(sn) && segment.defers(cn));
    assert!(segment.may_have(sn, b"smith") && !segment.may_have(sn, b"nobody"));

    let next = Segment::build(&pairs, &schema, &wanted);
    assert!(!next.defers(sn) && next.defers(cn));
    assert!(next.may_have(sn, b"smith") && !next.may_have(sn, b"nobody"));
    assert!(next.index(sn).unwrap().substrings.is_none() && next.index(cn).unwrap().substrings.is_none());
    assert!(!next.has_missed_substrings());
    next.ask_for_substrings(sn);
    next.ask_for_substrings(cn);
    assert!(segment.has_missed_substrings(), "the wishes are the same");
    assert!(!next.has_missed_substrings(), "it was said");
    for segment in [&segment, &next, &Segment::build(&pairs, &schema, &wanted)] {
        segment.make_wanted_substrings();
        let index = segment.index(sn).unwrap();
        assert!(index.bytes.substrings > 0);
        let (substrings, mut found) = (index.substrings.unwrap(), Vec::new());
        let mut cursor = substrings.cursor(b"myt");
        while let Some(ordinal) = cursor.next(substrings) {
            let mut value = Vec::new();
            index.dictionary.value(ordinal, &mut value);
            found.push(value);
        }
        assert_eq!(found, [b"smythe"]);
        stands_for(segment, &schema, &entries, &[]);
    }
}

#[test]
fn records_come_back_as_entries() {
    let schema = schema();
    let mut sent = entry(
        "cn=A+sn=B,o=nhs",
        &[
            ("CN", "A"),
            ("commonName", "second"),
            ("sn;x-b;X-a", "B"),
            ("sn;x-a;x-b", "C"),
            ("entryUUID", "gone"),
        ],
    );
    sent.push("description", vec![b'x'; 70_000]);
    let operational = Operational {
        entry_uuid: [7; 16],
        created: 1,
        modified: 1_500_000_000,
        sequence: 0x1234,
        changed: 1_500_000_000_000_017,
        creator: "cn=a",
        modifier: "cn=b",
    };
    let octets = encode(&sent, &operational, &schema);
    let types = schema.type_numbers();
    let record = Record::new(&octets, types);
    assert_eq!(record.dn(), "cn=A+sn=B,o=nhs");
    assert_eq!(record.operational(), operational);
    let entry = record.to_entry();
    let described: Vec<(String, usize)> = entry
        .attributes
        .iter()
        .map(|attribute| (attribute.description.to_string(), attribute.values.len()))
        .collect();
    let expected = [("cn", 2), ("sn;x-b;X-a", 2), ("description", 1)];
    assert_eq!(described, expected.map(|(text, count)| (text.to_owned(), count)));
    assert_eq!(entry.values("description")[0].len(), 70_000);
    let flags: Vec<bool> = record.attributes().map(|attribute| attribute.has_options).collect();
    assert_eq!(flags, [false, true, false]);
    let derived = |id| {
        let mut values = Vec::new();
        record::derived_values(record, &schema, id, &mut |value| {
            values.push(String::from_utf8(value.to_vec()).unwrap());
        });
        values
    };
    let known = schema.well_known();
    assert_eq!(derived(known.entry_uuid), ["07070707-0707-0707-0707-070707070707"]);
    assert_eq!(derived(known.create_timestamp), ["19700101000001Z"]);
    assert_eq!(derived(known.modify_timestamp), ["20170714024000Z"]);
    assert_eq!(derived(known.entry_csn), ["20170714024000.000017Z#000000#000#000000"]);
    assert_eq!(derived(known.creators_name), ["cn=a"]);
}

#[test]
fn a_record_may_have_the_types_that_it_has() {
    let schema = schema();
    let mut rng = Rng::new(4);
    let mut people: Vec<Entry> = (0..50).map(|number| person(&mut rng, number)).collect();
    let mut long = people[0].clone();
    let description = AttributeDescription::parse("description;lang-en").unwrap();
    long.find_or_insert(&description).values.push(vec![b'x'; 40_000]);
    people.push(long);
    let mut lacking = 0;
    for person in &people {
        let octets = encode(person, &Operational::default(), &schema);
        let parts = Record::new(&octets, schema.type_numbers()).parts().unwrap();
        for id in schema.attributes().iter().map(|attribute| attribute.id) {
            let has = parts.attributes().any(|attribute| attribute.id == id);
            let may_have = parts.may_have(|asked| asked == id);
            assert!(may_have || !has, "{} of {}", schema.attribute(id).name(), person.dn);
            lacking += usize::from(!may_have);
        }
    }
    // All that the short ones have not.
    assert!(lacking > 50 * 50, "{lacking}");
}

#[test]
fn damaged_records_do_not_panic() {
    let schema = schema();
    let types = schema.type_numbers();
    let mut rng = Rng::new(12);
    for _ in 0..400 {
        let mut octets = encode(&person(&mut rng, 1), &operational(1), &schema);
        let at = rng.below(octets.len());
        octets[at] = rng.next() as u8;
        octets.truncate(octets.len() - rng.below(2) * rng.below(octets.len()));
        let record = Record::new(&octets, types);
        record.to_entry();
        record.operational();
        index_terms(record, &schema, &mut |_, _| {});
    }
}

#[test]
fn a_segment_in_memory_stands_for_its_entries() {
    let schema = schema();
    for people in [0, 1, 40, 300] {
        let entries = directory(&schema, people);
        let segment = in_memory(&schema, &entries);
        stands_for(&segment, &schema, &entries, &[]);
        assert_eq!(faults(&segment, &schema), [] as [&str; 0]);
    }
    stands_for(&in_memory(&schema, &[]), &schema, &[], &[]);
}

#[test]
fn a_segment_in_a_file_stands_for_its_entries() {
    let (schema, place) = (schema(), tempfile::tempdir().unwrap());
    let entries = directory(&schema, 300);
    let memory = in_memory(&schema, &entries);
    let unindexed = ["givenName".to_owned()];
    let (first, second) = (place.path().join("1"), place.path().join("2"));
    write(&first, &schema, &memory, &unindexed);
    let segment = Segment::open(&first, &schema).unwrap();
    stands_for(&segment, &schema, &entries, &["givenName"]);
    assert_eq!(faults(&segment, &schema), [] as [&str; 0]);
    // The next generation is written from a mapped one.
    write(&second, &schema, &segment, &[]);
    let segment = Segment::open(&second, &schema).unwrap();
    stands_for(&segment, &schema, &entries, &[]);
    assert_eq!(faults(&segment, &schema), [] as [&str; 0]);
}

#[test]
fn every_flipped_bit_is_found_and_none_panics() {
    let (schema, place) = (schema(), tempfile::tempdir().unwrap());
    let entries = directory(&schema, 60);
    let path = place.path().join("good");
    write(&path, &schema, &in_memory(&schema, &entries), &[]);
    let good = std::fs::read(&path).unwrap();
    let mut rng = Rng::new(13);
    for round in 0..150 {
        let mut octets = good.clone();
        let at = if round % 3 == 0 {
            rng.below(64)
        } else {
            rng.below(octets.len())
        };
        octets[at] ^= 1 << rng.below(8);
        let path = place.path().join(format!("bad{round}"));
        std::fs::write(&path, &octets).unwrap();
        if let Ok(segment) = Segment::open(&path, &schema) {
            assert_ne!(
                faults(&segment, &schema),
                [] as [&str; 0],
                "octet {at} of {}",
                octets.len()
            );
        }
    }
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(Segment::open(&path, &schema), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_index_of_another_rule_is_not_used_and_a_lost_type_is_said() {
    let place = tempfile::tempdir().unwrap();
    let with = |rule: &str| {
        let text = format!(
            "attributetype ( 1.3.6.1.4.1.99999.1 NAME 'petName' EQUALITY {rule} SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
        );
        Arc::new(Schema::load(&[("pets.schema".to_owned(), text)]).unwrap_or_else(|faults| panic!("{faults:#?}")))
    };
    let (old, new) = (with("caseIgnoreMatch"), with("caseExactMatch"));
    let pet = entry("o=nhs", &[("objectClass", "top"), ("petName", "Rex")]);
    let entries = [(old.normalize_dn(&pet.dn).unwrap(), pet)];
    let path = place.path().join("1");
    write(&path, &old, &in_memory(&old, &entries), &[]);
    let index_of = |schema: &Schema| {
        let segment = Segment::open(&path, schema).unwrap();
        let id = schema.find_attribute("petName").unwrap();
        segment.index(id).map(|index| index.dictionary.len())
    };
    assert_eq!(index_of(&old), Some(1));
    assert_eq!(index_of(&new), None);
    let lost = Segment::open(&path, &schema()).map(|_| ());
    assert!(matches!(lost, Err(StoreError::SchemaLost { name }) if name.contains("petName")));
}

fn new_store(place: &Path, schema: &Arc<Schema>) -> Store {
    Store::create(&place.join("data"), Arc::clone(schema), StoreOptions::default()).unwrap()
}

fn load(
    store: &Store,
    replace: bool,
    entries: &[(NormalizedDn, Entry)],
    suffixes: &[NormalizedDn],
    skip_bad: bool,
) -> BulkOutcome {
    let mut bulk = store.bulk(replace).unwrap();
    for (number, (key, entry)) in entries.iter().enumerate() {
        let entry = PreparedEntry::new(store.snapshot().schema(), key.clone(), entry, &operational(number));
        bulk.add(entry).unwrap();
    }
    bulk.finish(suffixes, Vec::new(), skip_bad, &mut |_, _| {}).unwrap()
}

#[test]
fn a_bulk_load_in_any_order_becomes_the_directory() {
    let (schema, place) = (Arc::new(schema()), tempfile::tempdir().unwrap());
    let store = new_store(place.path(), &schema);
    let entries = directory(&schema, 200);
    let suffix = [entries[0].0.clone()];
    let mut shuffled = entries.clone();
    let mut rng = Rng::new(14);
    (1..shuffled.len()).for_each(|at| shuffled.swap(at, rng.below(at + 1)));
    let outcome = load(&store, true, &shuffled, &suffix, false);
    assert!(outcome.published && outcome.faults.is_empty());
    assert_eq!(outcome.entries as usize, entries.len());
    let snapshot = store.snapshot();
    let segment = &snapshot.layers[0].segment;
    stands_for(segment, &schema, &entries, &[]);
    assert_eq!(faults(segment, &schema), [] as [&str; 0]);

    let mut rng = Rng::new(15);
    let newcomer = person(&mut rng, 5);
    let more = [(schema.normalize_dn(&newcomer.dn).unwrap(), newcomer)];
    assert!(load(&store, false, &more, &suffix, false).published);
    let mut all = entries.clone();
    all.extend(more);
    all.sort_by(|left, right| left.0.cmp(&right.0));
    stands_for(&store.snapshot().layers[0].segment, &schema, &all, &[]);
    drop(store);
    let store = Store::open(&place.path().join("data"), Arc::clone(&schema), StoreOptions::default()).unwrap();
    assert_eq!(store.snapshot().len() as usize, all.len());
}

#[test]
fn a_bulk_load_says_what_is_twice_and_what_has_no_parent() {
    let (schema, place) = (Arc::new(schema()), tempfile::tempdir().unwrap());
    let store = new_store(place.path(), &schema);
    let good = directory(&schema, 5);
    let suffix = [good[0].0.clone()];
    let mut entries = good.clone();
    entries.push(good[3].clone());
    for dn in [
        "ou=Below,ou=Nowhere,o=nhs",
        "uid=x,ou=Below,ou=Nowhere,o=nhs",
        "o=other",
    ] {
        let orphan = entry(dn, &[("objectClass", "top")]);
        entries.push((schema.normalize_dn(&orphan.dn).unwrap(), orphan));
    }
    let outcome = load(&store, true, &entries, &suffix, false);
    assert!(!outcome.published);
    let mut reasons: Vec<_> = outcome
        .faults
        .iter()
        .map(|fault| (fault.dn.as_str(), fault.reason))
        .collect();
    reasons.sort_unstable();
    let twice = good[3].1.dn.to_string();
    let missing = "its parent is missing";
    let expected = [
        ("o=other", missing),
        ("ou=Below,ou=Nowhere,o=nhs", missing),
        (twice.as_str(), "an entry of this name came before"),
        ("uid=x,ou=Below,ou=Nowhere,o=nhs", missing),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(store.snapshot().len(), 0);

    let outcome = load(&store, true, &entries, &suffix, true);
    assert!(outcome.published);
    assert_eq!((outcome.entries, outcome.faults.len()), (7, 4));
    stands_for(&store.snapshot().layers[0].segment, &schema, &good, &[]);
    let left: Vec<_> = std::fs::read_dir(place.path().join("data/segments")).unwrap().collect();
    assert_eq!(left.len(), 1, "no spill file stays");
}
