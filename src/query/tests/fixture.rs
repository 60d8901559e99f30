//! Small directories in memory.

use crate::access::View;
use crate::index::EntryId;
use crate::model::{Attribute, AttributeDescription, Dn, Entry, Filter, SearchScope};
use crate::query::{Advance, CandidateLimit, Cursor, Groups, Order, Query, TooManyNames, Work, compile, compile_in};
use crate::schema::{NormalizedDn, Schema};
use crate::store::record::encode;
use crate::store::snapshot::TailEntry;
use crate::store::{Layer, Location, Operational, Segment, Snapshot, Wanted};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::builtin().expect("built-in schema loads")));

pub fn schema() -> Arc<Schema> {
    Arc::clone(&SCHEMA)
}

/// A view that may search everything.
pub fn full_view() -> View {
    let mut view = View {
        bases: Arc::new([NormalizedDn::default()]),
        ..View::default()
    };
    for attribute in schema().attributes() {
        view.searchable.insert(attribute.id);
    }
    view
}

pub fn key(dn: &str) -> NormalizedDn {
    schema()
        .normalize_dn(&Dn::parse(dn).expect("a name"))
        .expect("defined names")
}

/// An entry from `("type;option", values)` pairs.
pub fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let attribute = |(description, values): &(&str, &[&str])| {
        let mut parts = description.split(';').map(str::to_owned);
        Attribute {
            description: AttributeDescription {
                attribute_type: parts.next().unwrap_or_default(),
                options: parts.collect(),
            },
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        }
    };
    Entry {
        dn: Dn::parse(dn).expect("a name"),
        attributes: attributes.iter().map(attribute).collect(),
    }
}

/// One layer's worth of changes: an entry by key, or its removal.
pub type Changes = BTreeMap<NormalizedDn, Option<Vec<u8>>>;

pub fn changes(entries: &[Entry]) -> Changes {
    let schema = schema();
    let put = |entry: &Entry| {
        let key = schema.normalize_dn(&entry.dn).expect("defined names");
        (key, Some(encode(entry, &Operational::default(), &schema)))
    };
    entries.iter().map(put).collect()
}

/// A snapshot of layers, oldest first, and a tail; each hides what those before it have by the same keys.
pub fn snapshot(layers: &[Changes], tail: &Changes) -> Arc<Snapshot> {
    let schema = schema();
    let mut snapshot = Snapshot::empty(schema.clone());
    for changes in layers {
        hide(&mut snapshot.layers, changes);
        let puts = changes
            .iter()
            .filter_map(|(key, record)| Some((key.clone(), record.as_deref()?.into())));
        let entries: Vec<(NormalizedDn, Arc<[u8]>)> = puts.collect();
        // The first is as a file is: made whole. The others make their indexes when they are asked for.
        let wanted = match snapshot.layers.is_empty() {
            true => Wanted::everything(),
            false => Wanted::nothing(&schema),
        };
        let segment = Segment::build(&entries, &schema, &Arc::new(wanted));
        snapshot.layers.push(Layer::new(Arc::new(segment)));
    }
    hide(&mut snapshot.layers, tail);
    let entries = tail.iter().filter_map(|(key, record)| {
        let record = record.clone()?;
        Some(Arc::new(TailEntry::new(key.clone(), record)))
    });
    snapshot.tail = Arc::new(entries.collect());
    Arc::new(snapshot)
}

fn hide(layers: &mut [Layer], changes: &Changes) {
    for layer in layers {
        for key in changes.keys() {
            if let Some(id) = layer.segment.find(key) {
                layer.hidden.insert(id);
            }
        }
    }
}

/// Every visible entry's place.
pub fn visible(snapshot: &Snapshot) -> Vec<Location> {
    let mut all = Vec::new();
    for (at, layer) in snapshot.layers.iter().enumerate() {
        let ids = (0..layer.segment.len()).map(EntryId);
        let shown = ids.filter(|id| !layer.hidden.contains(*id));
        all.extend(shown.map(|id| Location::Layer { layer: at as u32, id }));
    }
    all.extend((0..snapshot.tail.len() as u32).map(|index| Location::Tail { index }));
    all
}

/// A search of everything below `o=nhs`.
pub fn query(filter: &str, view: &View) -> Query {
    let filter = Filter::parse(filter).expect("a filter");
    Query {
        base: key("o=nhs"),
        base_at: None,
        scope: SearchScope::WholeSubtree,
        predicate: compile(&filter, &schema(), view),
        order: Order::Any,
        after: None,
        within: view.bases.clone(),
        without: view.excluded.clone(),
        candidate_limit: CandidateLimit::default(),
    }
}

/// Runs a cursor to its end in steps of `work`.
pub fn drain(cursor: &mut Cursor, work: u32) -> Vec<Location> {
    let mut found = Vec::new();
    let mut pauses = 0;
    loop {
        let mut left = Work { left: work };
        loop {
            match cursor.advance(&mut left) {
                Advance::Entry(at) => found.push(at),
                Advance::Paused => break,
                Advance::End => return found,
                Advance::CandidateLimit => panic!("no limit was set"),
            }
        }
        pauses += 1;
        assert!(pauses < 10_000_000, "the cursor comes to an end");
    }
}

/// The DNs that a filter finds below `o=nhs`, by name.
pub fn names(snapshot: &Arc<Snapshot>, filter: &str, view: &View) -> Vec<String> {
    names_or_limit(snapshot, filter, view).expect("chains are short")
}

/// The same, where a chain may lead too far.
pub fn names_or_limit(snapshot: &Arc<Snapshot>, filter: &str, view: &View) -> Result<Vec<String>, TooManyNames> {
    let groups = Groups {
        snapshot,
        schema: &schema(),
        view,
        collective: None,
        kept: None,
    };
    let mut query = query("(|)", view);
    query.predicate = compile_in(&Filter::parse(filter).expect("a filter"), groups)?;
    query.order = Order::Name;
    let mut cursor = Cursor::open(Arc::clone(snapshot), query);
    let found = drain(&mut cursor, 1000).into_iter();
    Ok(found.map(|at| snapshot.record(at).dn().to_owned()).collect())
}
