//! Searches inside the core: filter text parsed beforehand, then compile, plan and run, no wire and no release.
//!
//! Data: 100,000 people of about 540 bytes in one segment in memory (`PEOPLE=n` for another number). Unit: time a search.
//! Command: `cargo bench --bench query`. Before the times it prints plan, entries and candidates of each search.

use criterion::{Criterion, criterion_group, criterion_main};
use nhsdir::access::View;
use nhsdir::model::{Attribute, AttributeDescription, Dn, Entry, Filter, SearchScope};
use nhsdir::query::{Advance, CandidateLimit, Cursor, Order, Query, Work, compile, evaluate};
use nhsdir::schema::{NormalizedDn, Schema};
use nhsdir::store::record::encode;
use nhsdir::store::{Layer, Operational, Segment, Snapshot, Wanted};
use std::hint::black_box;
use std::sync::Arc;

const GIVEN: &[&str] = &[
    "Amelia",
    "Muhammad",
    "Olivia",
    "Siân",
    "Oluwaseun",
    "Katarzyna",
    "Wei",
    "Abigail",
    "Rhys",
    "Priya",
];
const SURNAMES: &[&str] = &[
    "Smith",
    "Jones",
    "Smithson",
    "Patel",
    "Okafor",
    "Nowak",
    "O'Brien",
    "Zhang",
    "MacDonald",
    "Abcott",
];

struct Bench {
    schema: Arc<Schema>,
    snapshot: Arc<Snapshot>,
    view: View,
    base: NormalizedDn,
}

/// A search: how many entries are taken, in which order, and the filter.
const SEARCHES: &[(&str, usize, Order, &str)] = &[
    ("equality", 100, Order::Any, "(mail=Smith.70000@nhs.example)"),
    (
        "conjunction of one",
        100,
        Order::Any,
        "(&(objectClass=person)(mail=Smith.70000@nhs.example))",
    ),
    ("prefix, 100 entries", 100, Order::Any, "(cn=Smi*)"),
    ("three letters, 100 entries", 100, Order::Any, "(cn=*mit*)"),
    (
        "address book, 50 entries",
        50,
        Order::Any,
        "(|(cn=*abc*)(mail=abc*)(sn=abc*)(givenName=abc*)(displayName=*abc*))",
    ),
    (
        "department and title",
        75,
        Order::Any,
        "(&(departmentNumber=ward 7)(title=Consultant*))",
    ),
    (
        "department and not type",
        75,
        Order::Any,
        "(&(departmentNumber=ward 7)(!(employeeType=locum)))",
    ),
    ("presence, 100 entries", 100, Order::Any, "(mail=*)"),
    ("everything, 100 entries", 100, Order::Any, "(objectClass=*)"),
    ("page of 1,000, everything", 1000, Order::Name, "(objectClass=*)"),
    ("page of 1,000, one class", 1000, Order::Name, "(objectClass=person)"),
    ("page of 1,000, substring", 1000, Order::Name, "(cn=*a*)"),
    ("sounds like, 100 entries", 100, Order::Any, "(sn~=smyth)"),
    ("scan", usize::MAX, Order::Any, "(creatorsName=cn=nobody)"),
];

fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let attribute = |(name, values): &(&str, &[&str])| Attribute {
        description: AttributeDescription {
            attribute_type: (*name).to_owned(),
            options: Vec::new(),
        },
        values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
    };
    Entry {
        dn: Dn::parse(dn).expect("a name"),
        attributes: attributes.iter().map(attribute).collect(),
    }
}

fn person(number: usize, people: usize) -> Entry {
    let (given, surname) = (GIVEN[number / 10 % 10], SURNAMES[number % 10]);
    let number_text = format!("{number:012}");
    let departments = (people / 75).max(1);
    entry(
        &format!("uid={number_text},ou=People,o=nhs"),
        &[
            (
                "objectClass",
                &["top", "person", "organizationalPerson", "inetOrgPerson"],
            ),
            ("uid", &[&number_text]),
            (
                "cn",
                &[
                    &format!("{surname} {given} {}", number / 100),
                    &format!("{given} {surname} {}", number / 100),
                ],
            ),
            ("sn", &[surname]),
            ("givenName", &[given]),
            (
                "displayName",
                &[&format!("{}, {given} ({number})", surname.to_uppercase())],
            ),
            ("mail", &[&format!("{surname}.{number}@nhs.example")]),
            (
                "telephoneNumber",
                &[&format!("+44 20 {:04} {:04}", number / 10_000, number % 10_000)],
            ),
            ("departmentNumber", &[&format!("ward {}", number % departments)]),
            (
                "employeeType",
                &[if number.is_multiple_of(9) { "locum" } else { "staff" }],
            ),
            (
                "title",
                &[if number.is_multiple_of(2) {
                    "Consultant Physician"
                } else {
                    "Staff Nurse"
                }],
            ),
            ("postalAddress", &["St Somewhere's Hospital$1 Long Road$London$E14 5EA"]),
        ],
    )
}

impl Bench {
    fn new() -> Bench {
        let people = std::env::var("PEOPLE").map_or(100_000, |count| count.parse().expect("PEOPLE is a number"));
        let schema = Arc::new(Schema::builtin().expect("built-in schema loads"));
        let tops = [
            entry("o=nhs", &[("objectClass", &["organization"]), ("o", &["nhs"])]),
            entry(
                "ou=People,o=nhs",
                &[("objectClass", &["organizationalUnit"]), ("ou", &["People"])],
            ),
        ];
        let entries = tops.into_iter().chain((0..people).map(|number| person(number, people)));
        let mut records: Vec<(NormalizedDn, Vec<u8>)> = entries
            .map(|entry| {
                let key = schema.normalize_dn(&entry.dn).expect("defined names");
                (key, encode(&entry, &Operational::default(), &schema))
            })
            .collect();
        records.sort();
        let pairs: Vec<_> = records
            .iter()
            .map(|(key, record)| (key.clone(), record.as_slice().into()))
            .collect();
        let mut snapshot = Snapshot::empty(Arc::clone(&schema));
        snapshot.layers.push(Layer::new(Arc::new(Segment::build(
            &pairs,
            &schema,
            &Arc::new(Wanted::everything()),
        ))));
        let mut view = View {
            bases: Arc::new([NormalizedDn::default()]),
            ..View::default()
        };
        schema
            .attributes()
            .iter()
            .for_each(|attribute| view.searchable.insert(attribute.id));
        let key = |dn: &str| {
            schema
                .normalize_dn(&Dn::parse(dn).expect("a name"))
                .expect("defined names")
        };
        view.excluded = Arc::new([key("ou=Applications,o=nhs")]);
        Bench {
            base: key("o=nhs"),
            snapshot: Arc::new(snapshot),
            schema,
            view,
        }
    }

    fn open(&self, filter: &Filter<'_>, order: Order) -> Cursor {
        let query = Query {
            base: self.base.clone(),
            base_at: None,
            scope: SearchScope::WholeSubtree,
            predicate: compile(filter, &self.schema, &self.view),
            order,
            after: None,
            within: self.view.bases.clone(),
            without: self.view.excluded.clone(),
            candidate_limit: CandidateLimit::default(),
        };
        Cursor::open(Arc::clone(&self.snapshot), query)
    }

    fn run(&self, filter: &Filter<'_>, order: Order, take: usize) -> (usize, Cursor) {
        let mut cursor = self.open(filter, order);
        let mut found = 0;
        while found < take {
            match cursor.advance(&mut Work { left: u32::MAX }) {
                Advance::Entry(at) => {
                    black_box(at);
                    found += 1;
                }
                _ => break,
            }
        }
        (found, cursor)
    }
}

fn searches(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("search");
    for (name, take, order, text) in SEARCHES {
        let filter = Filter::parse(text).expect("a filter");
        let (found, mut cursor) = bench.run(&filter, *order, *take);
        let candidates = cursor.candidates();
        println!("{text}\n{}=> {found} entries, {candidates} candidates", cursor.plan(),);
        group.bench_function(*name, |bencher| bencher.iter(|| bench.run(&filter, *order, *take).0));
    }
    group.finish();
    let filter = Filter::parse("(&(objectClass=person)(cn=*mit*)(!(title=nurse)))").expect("a filter");
    criterion.bench_function("compile", |bencher| {
        bencher.iter(|| compile(black_box(&filter), &bench.schema, &bench.view))
    });
    let filter = Filter::parse("(mail=Smith.70000@nhs.example)").expect("a filter");
    criterion.bench_function("compile and open", |bencher| {
        bencher.iter(|| bench.open(&filter, Order::Any))
    });
    let predicate = compile(&filter, &bench.schema, &bench.view);
    let record = bench.snapshot.layers[0].segment.record(nhsdir::index::EntryId(7000));
    criterion.bench_function("evaluate", |bencher| {
        bencher.iter(|| evaluate(black_box(&predicate), record, &[], &bench.schema))
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = searches
}
criterion_main!(benches);
