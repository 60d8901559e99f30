//! Bulk load: many entries in any order into the next segment.
//!
//! Records are spilled to a file as they come and copied into their order at the end; keys and index terms stay in
//! memory (about 700 octets an entry of 15 attributes). Encoding and normalising is [`PreparedEntry::new`]'s, which
//! can run on as many threads as there are.

use super::Segment;
use super::build::{Entries, finish_file, threads};
use super::file::{FileWriter, Section};
use super::gather::{Gathered, LEFT_OUT, ascending};
use super::mapped::Mapped;
use crate::index::octets::{push_varint, varint};
use crate::model::{Dn, Entry};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::kv::{corrupt, io_error};
use crate::store::record::{self, Operational, Record, encode};
use crate::store::{KeyedWrite, NextGeneration, Store, StoreError};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries between two calls of the progress function.
const PROGRESS_ENTRIES: usize = 10_000;

/// One entry, encoded, with its index terms.
pub struct PreparedEntry {
    key: NormalizedDn,
    record: Vec<u8>,
    /// For each term: attribute type (u16), length (varint), octets.
    terms: Vec<u8>,
}

/// A bulk load in progress. Entries may come in any order; nothing is visible before [`BulkLoad::finish`].
pub struct BulkLoad<'a> {
    store: &'a Store,
    schema: Arc<Schema>,
    replace: bool,
    gathered: Gathered<'static>,
    keys: Keys,
    spill: Spill,
}

#[derive(Clone, Debug, Default)]
pub struct BulkOutcome {
    /// Entries loaded; what was there already is not counted.
    pub entries: u64,
    pub published: bool,
    pub faults: Vec<BulkFault>,
}

#[derive(Clone, Debug)]
pub struct BulkFault {
    pub key: NormalizedDn,
    pub dn: String,
    pub reason: &'static str,
}

impl BulkFault {
    /// The reason given where an entry of the same name is there.
    pub const NAME_AGAIN: &'static str = "an entry of this name came before";
}

/// Keys in order of arrival.
#[derive(Default)]
struct Keys {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl PreparedEntry {
    /// Encodes an entry that was checked against the schema, and normalises its values.
    pub fn new(schema: &Schema, key: NormalizedDn, entry: &Entry, operational: &Operational<'_>) -> PreparedEntry {
        let record = encode(entry, operational, schema);
        PreparedEntry::of_record(schema, key, record)
    }

    pub fn key(&self) -> &NormalizedDn {
        &self.key
    }

    /// The entry as it was encoded; `types` is the table of a directory's own records.
    pub fn record<'r>(&'r self, types: &'r [AttributeId]) -> Record<'r> {
        Record::new(&self.record, types)
    }

    fn of_record(schema: &Schema, key: NormalizedDn, record: Vec<u8>) -> PreparedEntry {
        let types = schema.type_numbers();
        let mut terms = Vec::with_capacity(256);
        record::index_terms(Record::new(&record, types), schema, &mut |id, term| {
            terms.extend_from_slice(&id.0.to_le_bytes());
            push_varint(&mut terms, term.len() as u32);
            terms.extend_from_slice(term);
        });
        PreparedEntry { key, record, terms }
    }
}

impl<'a> BulkLoad<'a> {
    pub(in crate::store) fn new(store: &'a Store, replace: bool) -> Result<BulkLoad<'a>, StoreError> {
        if !replace {
            store.core.sound()?;
        }
        let schema = store.schema();
        Ok(BulkLoad {
            store,
            replace,
            gathered: Gathered::new(&schema, &store.options().unindexed, 0),
            keys: Keys::default(),
            spill: Spill::create(store.segments_directory())?,
            schema,
        })
    }

    /// Adds one entry, which the caller has checked against the schema. Spills to disk as needed.
    pub fn add(&mut self, prepared: PreparedEntry) -> Result<(), StoreError> {
        let schema = &self.schema;
        let number = self.keys.push(&prepared.key.0);
        self.gathered.add_present(
            number,
            Record::new(&prepared.record, self.schema.type_numbers()),
            schema,
        );
        let (terms, mut at) = (&prepared.terms, 0);
        while let Some(id) = terms.get(at..at + 2) {
            let id = AttributeId(u16::from_le_bytes([id[0], id[1]]));
            at += 2;
            let len = varint(terms, &mut at).expect("a prepared term has a length") as usize;
            self.gathered.add_term(number, id, &terms[at..at + len], schema);
            at += len;
        }
        self.spill.push(&prepared.record)
    }

    /// Sorts, writes, verifies and publishes the segment; `keyed` becomes durable with it. Faults are entries whose key came
    /// twice or whose parent is missing (unless the key is a naming context in `suffixes`): with any fault nothing is published and the faults
    /// are given back as (key, reason), unless `skip_bad`, which leaves those entries out.
    ///
    /// `progress` is called with entries written and entries in all.
    ///
    /// # Errors
    /// `Io` (a full disk leaves everything as it was), `Corrupt`, `ReadOnly`.
    pub fn finish(
        mut self,
        suffixes: &[NormalizedDn],
        keyed: Vec<KeyedWrite>,
        skip_bad: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<BulkOutcome, StoreError> {
        let store = self.store;
        let next = store.next_generation()?;
        let loaded = self.keys.ends.len();
        if !self.replace {
            self.keep_existing(&next)?;
        }
        let schema = Arc::clone(&self.schema);
        let (order, faults) = self.order(loaded, suffixes, &HashSet::new())?;
        let mut outcome = BulkOutcome {
            entries: (loaded - faults.len()) as u64,
            published: false,
            faults,
        };
        if !outcome.faults.is_empty() && !skip_bad {
            outcome.entries = 0;
            return Ok(outcome);
        }
        let mut written = Unpublished(Some(next.path().to_owned()));
        self.write(next.path(), &order, progress)?;
        let segment = Segment::open(next.path(), &schema)?;
        let mut first = None;
        segment.verify_written(&schema, &mut |fault| {
            first.get_or_insert(fault);
        });
        if let Some(fault) = first {
            let detail = format!("the new segment is not what was written: {fault}");
            return Err(corrupt(next.path(), &detail));
        }
        // From here the manifest may name the file, whatever publishing says.
        written.0 = None;
        next.publish(segment, keyed)?;
        outcome.published = true;
        Ok(outcome)
    }

    /// What [`BulkLoad::finish`] would find wrong. Writes nothing and ends the load. `excused` are names of entries that were not
    /// added for a fault of their own: an entry below one of them has a parent.
    ///
    /// # Errors
    /// As [`BulkLoad::finish`].
    pub fn faults(
        mut self,
        suffixes: &[NormalizedDn],
        excused: &HashSet<NormalizedDn>,
    ) -> Result<Vec<BulkFault>, StoreError> {
        let next = self.store.next_generation()?;
        let loaded = self.keys.ends.len();
        if !self.replace {
            self.keep_existing(&next)?;
        }
        Ok(self.order(loaded, suffixes, excused)?.1)
    }

    /// Adds every entry that the directory holds already.
    fn keep_existing(&mut self, next: &NextGeneration<'_>) -> Result<(), StoreError> {
        let snapshot = next.snapshot();
        for key in snapshot.subtree(&NormalizedDn::default(), usize::MAX) {
            let Some(at) = snapshot.find(&key) else { continue };
            let mut record = Vec::new();
            snapshot
                .record(at)
                .renumber(&mut record, |id| id.0)
                .map_err(|fault| corrupt(next.path(), &format!("{}: {fault}", snapshot.record(at).dn())))?;
            self.add(PreparedEntry::of_record(&self.schema, key, record))?;
        }
        Ok(())
    }

    /// Entry numbers ascending by key, without the faulty ones. Numbers from `loaded` on were there before.
    fn order(
        &mut self,
        loaded: usize,
        suffixes: &[NormalizedDn],
        excused: &HashSet<NormalizedDn>,
    ) -> Result<(Vec<u32>, Vec<BulkFault>), StoreError> {
        let suffixes: HashSet<&[u8]> = suffixes.iter().map(|suffix| suffix.0.as_slice()).collect();
        let excused: HashSet<&[u8]> = excused.iter().map(|key| key.0.as_slice()).collect();
        let keys: Vec<&[u8]> = (0..self.keys.ends.len() as u32)
            .map(|number| self.keys.key(number))
            .collect();
        let mut order = ascending(&keys);
        // Of equal keys the one that was there before comes first, then the one that came first.
        for equal in order.chunk_by_mut(|left, right| keys[*left as usize] == keys[*right as usize]) {
            equal.sort_unstable_by_key(|number| ((*number as usize) < loaded, *number));
        }
        let mut faulty = Vec::new();
        let mut above: Vec<&[u8]> = Vec::new();
        order.retain(|number| {
            let key = keys[*number as usize];
            while above.last().is_some_and(|last| !key.starts_with(last)) {
                above.pop();
            }
            let parent = parent_of(key);
            let has_parent = above.last() == Some(&parent) || suffixes.contains(key) || excused.contains(parent);
            let reason = if above.last() == Some(&key) {
                BulkFault::NAME_AGAIN
            } else if !has_parent && (*number as usize) < loaded {
                "its parent is missing"
            } else {
                above.push(key);
                return true;
            };
            faulty.push((*number, reason));
            false
        });
        let faults = self.describe(&faulty)?;
        Ok((order, faults))
    }

    fn describe(&mut self, faulty: &[(u32, &'static str)]) -> Result<Vec<BulkFault>, StoreError> {
        if faulty.is_empty() {
            return Ok(Vec::new());
        }
        let records = self.spill.read()?;
        let fault = |(number, reason): &(u32, &'static str)| BulkFault {
            key: NormalizedDn(self.keys.key(*number).to_vec()),
            dn: Record::new(records.record(*number), self.schema.type_numbers())
                .dn()
                .to_owned(),
            reason,
        };
        Ok(faulty.iter().map(fault).collect())
    }

    fn write(mut self, path: &Path, order: &[u32], progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let records = self.spill.read()?;
        let mut ids = vec![LEFT_OUT; self.keys.ends.len()];
        let mut parts = Entries::default();
        let mut file = FileWriter::create(path)?;
        let mut superiors = Superiors::default();
        file.begin(Section::Records, 0)?;
        for (id, number) in order.iter().enumerate() {
            ids[*number as usize] = id as u32;
            let (key, record) = (self.keys.key(*number), records.record(*number));
            let record = superiors.spell(key, Record::new(record, self.schema.type_numbers()));
            parts.push(key, record.len());
            file.extend(&record)?;
            if id.is_multiple_of(PROGRESS_ENTRIES) {
                progress(id as u64, order.len() as u64);
            }
        }
        file.end()?;
        drop(records);
        drop(self.spill);
        self.keys = Keys::default();
        progress(order.len() as u64, order.len() as u64);
        finish_file(file, parts, self.gathered, Some(&ids), threads(), &self.schema)
    }
}

/// A segment file that no manifest names yet: dropping this removes it.
struct Unpublished(Option<PathBuf>);

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What cannot be removed now is removed at the next open.
            let _ = fs::remove_file(path);
        }
    }
}

/// The names of an entry's superiors as they are stored, from the root down.
#[derive(Default)]
struct Superiors<'r>(Vec<(&'r [u8], Cow<'r, str>)>);

impl<'r> Superiors<'r> {
    /// The record of the next entry in order. Where its name does not go on as its superior's is stored, it is made to.
    fn spell(&mut self, key: &'r [u8], record: Record<'r>) -> Cow<'r, [u8]> {
        while self.0.last().is_some_and(|(last, _)| !key.starts_with(last)) {
            self.0.pop();
        }
        let mut name = Cow::Borrowed(record.dn());
        let mut octets = Cow::Borrowed(record.octets());
        if let Some((_, superior)) = self.0.last().filter(|(last, _)| *last == parent_of(key))
            && !name
                .strip_suffix(superior.as_ref())
                .is_some_and(|own| own.ends_with(','))
            && let Some(rdn) = Dn::parse(&name).ok().and_then(|dn| dn.rdn().map(ToString::to_string))
        {
            let spelled = format!("{rdn},{superior}");
            octets = Cow::Owned(record.renamed(&spelled));
            name = Cow::Owned(spelled);
        }
        self.0.push((key, name));
        octets
    }
}

/// The key without its last RDN.
fn parent_of(key: &[u8]) -> &[u8] {
    let inner = &key[..key.len().saturating_sub(1)];
    let end = inner.iter().rposition(|octet| *octet == 0).map_or(0, |at| at + 1);
    &inner[..end]
}

impl Keys {
    fn push(&mut self, key: &[u8]) -> u32 {
        self.octets.extend_from_slice(key);
        self.ends.push(self.octets.len());
        self.ends.len() as u32 - 1
    }

    fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.octets[start..self.ends[number]]
    }
}

/// Records in order of arrival, in a file that is removed when this is dropped.
struct Spill {
    path: PathBuf,
    file: BufWriter<File>,
    ends: Vec<u64>,
}

/// A spill file, mapped.
struct Spilled<'s> {
    mapped: Option<Mapped>,
    ends: &'s [u64],
}

impl Spill {
    fn create(directory: &Path) -> Result<Spill, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("load-{}-{number}.spill", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        Ok(Spill {
            file: BufWriter::with_capacity(1 << 20, file.map_err(|e| io_error(&path, e))?),
            path,
            ends: Vec::new(),
        })
    }

    fn push(&mut self, record: &[u8]) -> Result<(), StoreError> {
        self.ends
            .push(self.ends.last().copied().unwrap_or(0) + record.len() as u64);
        self.file.write_all(record).map_err(|e| io_error(&self.path, e))
    }

    fn read(&mut self) -> Result<Spilled<'_>, StoreError> {
        let mapped = if self.ends.is_empty() {
            None
        } else {
            let mapped = self.file.flush().and_then(|()| Mapped::map(self.file.get_ref()));
            Some(mapped.map_err(|e| io_error(&self.path, e))?)
        };
        Ok(Spilled {
            mapped,
            ends: &self.ends,
        })
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next open.
        let _ = fs::remove_file(&self.path);
    }
}

impl Spilled<'_> {
    fn record(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        let range = start as usize..self.ends[number] as usize;
        self.mapped
            .as_ref()
            .and_then(|mapped| mapped.octets().get(range))
            .unwrap_or(&[])
    }
}
