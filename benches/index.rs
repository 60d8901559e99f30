//! What finding costs inside: one value of a million, one posting, one substring candidate, one entry of a new segment.
//!
//! `cargo bench --bench index`. Data: a million numbers of 12 digits in pseudo-random order; posting lists over a million
//! entries; synthetic people of `nhsdir generate`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nhsdir::cli::generate::generate;
use nhsdir::index::dictionary::{Dictionary, DictionaryBuilder};
use nhsdir::index::postings::{PostingCursor, Postings, PostingsBuilder};
use nhsdir::index::substring::{SubstringBuilder, Substrings};
use nhsdir::index::{EntryId, Ordinal};
use nhsdir::schema::{NormalizedDn, Schema};
use nhsdir::store::record::{Operational, encode};
use nhsdir::store::segment::{Segment, Wanted};
use std::hint::black_box;
use std::sync::Arc;

const VALUES: u64 = 1_000_000;

/// Visits every number below `VALUES` in an order that no cache foresees.
fn scattered(step: u64) -> u64 {
    step.wrapping_mul(999_979) % VALUES
}

fn key(number: u64) -> Vec<u8> {
    format!("o=nhs\0ou=people\0uid={:012}\0", number * 7_919).into_bytes()
}

fn dictionary(c: &mut Criterion) {
    let mut builder = DictionaryBuilder::default();
    (0..VALUES).for_each(|number| {
        builder.push(&key(number));
    });
    let bytes = builder.finish();
    println!("dictionary: {:.2} octets a value", bytes.len() as f64 / VALUES as f64);
    let dictionary = Dictionary::open(&bytes);
    let keys: Vec<Vec<u8>> = (0..VALUES).map(|step| key(scattered(step))).collect();
    let mut group = c.benchmark_group("dictionary of 1,000,000 keys");
    let mut step = 0;
    let mut next = move || {
        step = (step + 1) % VALUES as usize;
        step
    };
    group.bench_function("find", |b| b.iter(|| dictionary.find(black_box(&keys[next()]))));
    group.bench_function("prefix range", |b| {
        b.iter(|| dictionary.prefix_range(black_box(&keys[next()])))
    });
    let mut value = Vec::new();
    group.bench_function("value", |b| {
        b.iter(|| dictionary.value(Ordinal(scattered(next() as u64) as u32), &mut value));
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("scan 1,000", |b| {
        b.iter(|| {
            let mut octets = 0;
            dictionary.scan_into(500_000..501_000, &mut value, |_, value| {
                octets += value.len();
                true
            });
            octets
        });
    });
    group.finish();
}

fn postings(c: &mut Criterion) {
    let mut builder = PostingsBuilder::default();
    let every = |gap: u32| (0..VALUES as u32).step_by(gap as usize).collect::<Vec<_>>();
    builder.push(&every(3));
    builder.push(&every(1000));
    let bytes = builder.finish();
    let postings = Postings::open(&bytes);
    let mut group = c.benchmark_group("posting lists over 1,000,000 entries");
    for (name, ordinal) in [("bitmap of a third", 0), ("deltas of a thousandth", 1)] {
        let list = postings.list(Ordinal(ordinal));
        group.throughput(Throughput::Elements(u64::from(list.len)));
        group.bench_function(format!("{name}: walk"), |b| {
            b.iter(|| {
                let mut cursor = PostingCursor::new(list);
                std::iter::from_fn(|| cursor.next(postings))
                    .map(|id| u64::from(id.0))
                    .sum::<u64>()
            });
        });
        group.throughput(Throughput::Elements(1));
        let mut step = 0;
        group.bench_function(format!("{name}: contains"), |b| {
            b.iter(|| {
                step += 1;
                postings.contains(list, EntryId(scattered(step) as u32))
            });
        });
        group.bench_function(format!("{name}: seek"), |b| {
            let mut cursor = PostingCursor::new(list);
            let mut at = 0;
            b.iter(|| {
                at += 997;
                let found = cursor.seek(postings, EntryId(at));
                if found.is_none() {
                    (cursor, at) = (PostingCursor::new(list), 0);
                }
                found
            });
        });
    }
    group.finish();
}

/// Distinct lower-case `mail` values of synthetic people.
fn mail_values(people: u64) -> Vec<String> {
    let mut values = Vec::new();
    let taken = generate::<std::convert::Infallible>(people, 1, &mut |entry| {
        values.extend(entry.text("mail").map(str::to_lowercase));
        Ok(())
    });
    taken.expect("nothing refuses an entry");
    values.sort_unstable();
    values.dedup();
    values
}

fn substrings(c: &mut Criterion) {
    let values = mail_values(100_000);
    let mut builder = SubstringBuilder::default();
    for (value, ordinal) in values.iter().zip(0..) {
        builder.push(Ordinal(ordinal), value.as_bytes());
    }
    let bytes = builder.finish();
    println!(
        "substrings: {} mail values, {:.2} octets a value",
        values.len(),
        bytes.len() as f64 / values.len() as f64
    );
    let substrings = Substrings::open(&bytes);
    let mut group = c.benchmark_group("substrings of mail, first 100 candidates");
    for piece in ["s", "mi", "mit", "smith", "smith@nhs", "@nhs.net"] {
        group.bench_function(piece, |b| {
            b.iter(|| {
                let mut cursor = substrings.cursor(black_box(piece.as_bytes()));
                (0..100).map_while(|_| cursor.next(substrings)).last()
            });
        });
    }
    group.finish();
}

fn segments(c: &mut Criterion) {
    let schema = Arc::new(Schema::builtin().expect("the built-in schema is without fault"));
    let mut entries: Vec<(NormalizedDn, Vec<u8>)> = Vec::new();
    let taken = generate::<std::convert::Infallible>(3_000, 1, &mut |entry| {
        if entry.attribute("mail").is_some() {
            let key = schema.normalize_dn(&entry.dn).expect("generated names are well formed");
            entries.push((key, encode(&entry, &Operational::default(), &schema)));
        }
        Ok(())
    });
    taken.expect("nothing refuses an entry");
    entries.sort();
    let octets: usize = entries.iter().map(|entry| entry.1.len()).sum();
    println!("records: {} octets an entry", octets / entries.len());
    let wanted = Arc::new(Wanted::everything());
    let mut group = c.benchmark_group("build a segment in memory");
    for count in [32, 1000] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} people"), |b| {
            b.iter_batched(
                || {
                    entries[..count]
                        .iter()
                        .map(|(key, record)| (key.clone(), record.as_slice().into()))
                        .collect::<Vec<_>>()
                },
                |entries| Segment::build(&entries, &schema, &wanted),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(900));
    targets = dictionary, postings, substrings, segments
}
criterion_main!(benches);
