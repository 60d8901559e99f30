//! What the wire costs: checking and decoding a search of five substrings, encoding an entry of 15 attributes (600 octets).
//!
//! `cargo bench --bench wire`. To reach: 0.12 and 0.25 microseconds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nhsdir::ldap::ber::{ENUMERATED, INTEGER, OCTET_STRING, SEQUENCE, SET, put_integer, put_nested, put_octets};
use nhsdir::ldap::frame::{FrameLimits, MessageId};
use nhsdir::ldap::{WireLimits, codec, encode, frame};
use std::hint::black_box;

/// `(|(cn=*abc*)(mail=abc*)(sn=abc*)(givenName=abc*)(displayName=*abc*))` below `o=nhs`, five attributes asked for.
fn search_of_five_substrings() -> Vec<u8> {
    let parts: [(&str, u8); 5] = [
        ("cn", 0x81),
        ("mail", 0x80),
        ("sn", 0x80),
        ("givenName", 0x80),
        ("displayName", 0x81),
    ];
    let mut out = Vec::new();
    put_nested(&mut out, SEQUENCE, |out| {
        put_integer(out, INTEGER, 7);
        put_nested(out, codec::tag::SEARCH_REQUEST, |out| {
            put_octets(out, OCTET_STRING, b"ou=People,o=nhs");
            put_integer(out, ENUMERATED, 2);
            put_integer(out, ENUMERATED, 0);
            put_integer(out, INTEGER, 50);
            put_integer(out, INTEGER, 0);
            put_octets(out, 0x01, &[0]);
            put_nested(out, 0xa1, |out| {
                for (name, part) in parts {
                    put_nested(out, 0xa4, |out| {
                        put_octets(out, OCTET_STRING, name.as_bytes());
                        put_nested(out, SEQUENCE, |out| put_octets(out, part, b"abc"));
                    });
                }
            });
            put_nested(out, SEQUENCE, |out| {
                for (name, _) in parts {
                    put_octets(out, OCTET_STRING, name.as_bytes());
                }
            });
        });
    });
    out
}

/// The stored form of 15 attributes of one value each.
fn fifteen_attributes() -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..15 {
        put_nested(&mut out, SEQUENCE, |out| {
            put_octets(out, OCTET_STRING, format!("attribute{number:02}").as_bytes());
            put_nested(out, SET, |out| put_octets(out, OCTET_STRING, b"a value of 20 octets"));
        });
    }
    out
}

fn wire(criterion: &mut Criterion) {
    let limits = WireLimits::default();
    let frame_limits = FrameLimits::new(&limits, true);
    let message = search_of_five_substrings();
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(1));
    group.bench_function("check a search of five substrings", |bencher| {
        bencher.iter(|| frame::next(black_box(&message), &frame_limits).map(|frame| frame.map(|frame| frame.tag)));
    });
    group.bench_function("check and decode a search of five substrings", |bencher| {
        bencher.iter(|| {
            let frame = frame::next(black_box(&message), &frame_limits)
                .expect("it is sound")
                .expect("it is whole");
            black_box(codec::decode(&frame, &limits).is_ok())
        });
    });
    let attributes = fifteen_attributes();
    let mut out = Vec::with_capacity(1 << 20);
    group.bench_function("encode an entry of 15 attributes", |bencher| {
        bencher.iter(|| {
            if out.len() > 1 << 19 {
                out.clear();
            }
            let dn = black_box("uid=123456789012,ou=People,o=nhs");
            encode::entry_with(&mut out, MessageId(7), dn.as_bytes(), |out| {
                out.extend_from_slice(&attributes)
            });
        });
    });
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
