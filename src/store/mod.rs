//! Here is an id; give me the entry. And keep it.
//!
//! Useful for: durable, atomic changes; immutable snapshots; bulk load. The store is a stack: one mapped segment,
//! in-memory segments of what changed since (the overlay), and a short tail of single entries. Each layer knows which of
//! its entries a newer layer hides, so an entry is visible in exactly one place.
//! Not for: deciding who may see or change anything, or what a filter means.
//!
//! Invariants: a change is acknowledged only after `fdatasync`; one writer at a time; a [`Snapshot`] never changes;
//! sled is named in `kv.rs` alone; a segment is verified before the manifest names it.

pub mod compaction;
pub mod journal;
pub mod kv;
pub mod record;
pub mod segment;
pub mod snapshot;

use crate::schema::{NormalizedDn, Schema};
use std::path::Path;
use std::sync::Arc;

pub use record::{Operational, Record, RecordAttribute};
pub use segment::{AttributeIndex, Segment};
pub use snapshot::{Layer, Location, Snapshot};

/// Numbers committed changes without gaps, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SequenceNumber(pub u64);

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds the entry or takes the place of the one with this key. `record` is as [`record::encode`] made it.
    Put {
        key: NormalizedDn,
        record: Vec<u8>,
    },
    Delete {
        key: NormalizedDn,
    },
}

/// A write to the small keyed area beside the journal (application accounts' secrets and bookkeeping).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedWrite {
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// What can go wrong. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("{path}: no directory here; create one with `nhsdir init --data {path}`")]
    Missing { path: String },
    #[error("{path} already holds a directory")]
    AlreadyThere { path: String },
    #[error("{path} is in use by another nhsdir process; stop it, or talk to it instead")]
    Locked { path: String },
    #[error("{path}: {source}; {advice}")]
    Io {
        path: String,
        advice: &'static str,
        source: std::io::Error,
    },
    #[error("{path}: {detail}; restore the latest backup with `nhsdir restore`, or import the data again")]
    Corrupt { path: String, detail: String },
    #[error("the store is read-only since an I/O error ({detail}); free or repair the disk, then restart nhsdir")]
    ReadOnly { detail: String },
    #[error("the directory uses {name}, which the schema no longer defines; add its definition to the schema files")]
    SchemaLost { name: String },
}

/// Sizes and limits of a store. Defaults are in `config.rs`, each with a key in `config.example.toml`.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Entries in the tail before it becomes an in-memory segment.
    pub tail_entries: usize,
    /// Overlay entries that start a compaction.
    pub compact_after_entries: usize,
    /// Attribute types (by name) that get no index.
    pub unindexed: Vec<String>,
    /// Bytes of sled's page cache.
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            tail_entries: 32,
            compact_after_entries: 100_000,
            unindexed: Vec::new(),
            cache_bytes: 64 << 20,
        }
    }
}

/// An open data directory.
pub struct Store {}

impl Store {
    /// Makes an empty directory at `path` (which may exist if it is empty).
    pub fn create(path: &Path, schema: Arc<Schema>, options: StoreOptions) -> Result<Store, StoreError> {
        let _ = (path, schema, options);
        todo!()
    }

    pub fn open(path: &Path, schema: Arc<Schema>, options: StoreOptions) -> Result<Store, StoreError> {
        let _ = (path, schema, options);
        todo!()
    }

    /// The newest published snapshot: one atomic load.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        todo!()
    }

    /// Begins a group of changes. Waits for the group before to end.
    pub fn begin(&self) -> WriteGroup<'_> {
        todo!()
    }

    /// Every key and value of the keyed area.
    pub fn keyed(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        todo!()
    }

    /// Begins a bulk load that ends in a new segment. Existing entries are kept unless `replace`.
    pub fn bulk(&self, replace: bool) -> Result<segment::BulkLoad<'_>, StoreError> {
        let _ = replace;
        todo!()
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        todo!()
    }

    pub(super) fn options(&self) -> &StoreOptions {
        todo!()
    }

    /// Where segment files lie and a bulk load may spill. Files there that the manifest does not name are removed at open.
    pub(super) fn segments_directory(&self) -> &Path {
        todo!()
    }

    /// Begins the next generation: no change can be made until it is published or dropped.
    pub(super) fn next_generation(&self) -> Result<NextGeneration<'_>, StoreError> {
        todo!()
    }

    /// Merges segment and overlay into the next segment while both serve.
    pub fn compact(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Verifies every checksum, index against entries, and the journal's chain. Calls `fault` for each fault found.
    pub fn check(&self, fault: &mut dyn FnMut(String)) -> Result<CheckReport, StoreError> {
        let _ = fault;
        todo!()
    }
}

/// The next segment in the making, for a bulk load. Holds the writer's lock; dropping it changes nothing.
pub(super) struct NextGeneration<'a> {
    _store: std::marker::PhantomData<&'a Store>,
}

impl NextGeneration<'_> {
    /// The file to write the segment to. It does not exist yet.
    pub(super) fn path(&self) -> &Path {
        todo!()
    }

    /// Every entry there is now.
    pub(super) fn snapshot(&self) -> &Snapshot {
        todo!()
    }

    /// Names a verified, fsynced segment in the manifest together with the keyed writes; then it is the whole directory.
    pub(super) fn publish(self, segment: Segment, keyed: Vec<KeyedWrite>) -> Result<(), StoreError> {
        let _ = (segment, keyed);
        todo!()
    }
}

/// What `check` looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckReport {
    pub entries: u64,
    pub changes: u64,
    pub bytes: u64,
}

/// Changes that become durable and visible together. Dropping it forgets them.
pub struct WriteGroup<'a> {
    _store: std::marker::PhantomData<&'a Store>,
}

impl WriteGroup<'_> {
    /// The directory as it will be after what was applied so far.
    pub fn snapshot(&self) -> &Snapshot {
        todo!()
    }

    /// Adds changes to the group; the group's own snapshot shows them at once. Gives the sequence number of the last.
    pub fn apply(&mut self, changes: Vec<Change>, keyed: Vec<KeyedWrite>) -> SequenceNumber {
        let _ = (changes, keyed);
        todo!()
    }

    /// Makes everything durable (journal batch, flush, fdatasync), then publishes it. Blocks.
    pub fn commit(self) -> Result<SequenceNumber, StoreError> {
        todo!()
    }
}
