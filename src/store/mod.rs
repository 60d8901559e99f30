//! Here is an id; give me the entry. And keep it.
//!
//! Useful for: durable, atomic changes; immutable snapshots; bulk load. The store is a stack: one mapped segment,
//! in-memory segments of what changed since (the overlay), and a short tail of single entries. Each layer knows which of
//! its entries a newer layer hides, so an entry is visible in exactly one place.
//! Not for: deciding who may see or change anything, or what a filter means.
//!
//! Invariants: a change is acknowledged only after `fdatasync`; one writer at a time; a [`Snapshot`] never changes;
//! sled is named in `kv.rs` alone; a segment is verified before the manifest names it.

mod cell;
mod compaction;
mod deletions;
#[cfg(test)]
pub mod faulty;
mod holders;
mod journal;
mod kv;
mod log;
mod manifest;
mod mark;
mod opening;
mod overlay;
pub mod record;
#[cfg(test)]
mod schema_tests;
mod scrub;
pub mod segment;
#[cfg(test)]
mod size_tests;
pub mod snapshot;
#[cfg(test)]
mod tests;

use crate::schema::{NormalizedDn, Schema};
use arc_swap::ArcSwap;
use deletions::Deletions;
use journal::{GroupWriter, Position};
use kv::{Batch, Kv};
use manifest::{Manifest, SegmentFile, TypeTables};
use mark::Mark;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

pub use deletions::{Deleted, Deletion};
pub use holders::Held;
pub use record::{Operational, Record, RecordAttribute};
pub use segment::{AttributeIndex, IndexBytes, Segment, Wanted};
pub use snapshot::{Layer, Location, Snapshot};

/// Numbers committed changes without gaps, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SequenceNumber(pub u64);

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds the entry or takes the place of the one with this key. `record` is as [`record::encode`] made it.
    Put { key: NormalizedDn, record: Vec<u8> },
    /// `of` is the entry, where it is known: then it is kept in mind that it went.
    Delete { key: NormalizedDn, of: Option<Deleted> },
}

/// A write to the small keyed area beside the journal (application accounts' secrets and bookkeeping).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedWrite {
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// Key and value in the keyed area.
pub type KeyedPair = (Vec<u8>, Vec<u8>);

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
    #[error("{path}: {cause}; {advice}")]
    Io {
        path: String,
        advice: &'static str,
        /// Said with the rest, so no source of its own.
        cause: std::io::Error,
    },
    #[error("{path}: {detail}; restore the latest backup of the data directory, or import the data again")]
    Corrupt { path: String, detail: String },
    #[error("the store is read-only since an I/O error ({detail}); free or repair the disk, then restart nhsdir")]
    ReadOnly { detail: String },
    #[error("changes of {octets} bytes are more than the journal keeps together ({most}); make them in parts")]
    TooLarge { octets: usize, most: usize },
    #[error("stopped, because the directory is being closed")]
    Closing,
    #[error("the directory uses {name}, which the schema no longer defines; add its definition to the schema files")]
    SchemaLost { name: String },
    #[error(
        "a stored value of {attribute} names {name}, which the schema did not know: it would compare in another way; stop the server and start it again"
    )]
    Names { attribute: String, name: String },
}

/// Sizes and limits of a store. Defaults are in `config.rs`, each with a key in `config.example.toml`.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Entries in the tail before it becomes an in-memory segment.
    pub tail_entries: usize,
    /// Changes that start a compaction ...
    pub compact_after_entries: usize,
    /// ... and their octets in the journal. What was changed is in memory until then.
    pub compact_after_octets: u64,
    /// Attribute types (by name) that get no index.
    pub unindexed: Vec<String>,
    /// Bytes of sled's page cache.
    pub cache_bytes: u64,
    /// Octets of deletions that are remembered.
    pub deletion_octets: usize,
    /// How often the data is read through while it is served ([`Store::scrub`]); `None` for never.
    pub scrub_every: Option<Duration>,
    /// Whether data that failed its checksums is read all the same.
    pub serve_damaged: bool,
    /// Whether threads of the store's own merge the overlay and compact. Without, the overlay is merged within commits and
    /// compaction waits for [`Store::compact`].
    pub background: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            tail_entries: 32,
            compact_after_entries: 100_000,
            compact_after_octets: 256 << 20,
            unindexed: Vec::new(),
            cache_bytes: 8 << 20,
            deletion_octets: 4 << 20,
            scrub_every: Some(Duration::from_secs(24 * 3600)),
            serve_damaged: false,
            background: true,
        }
    }
}

/// The area of keyed values: the name is its length (u16 big-endian) and the key.
const KEYED: u8 = b'a';

/// An open data directory. Dropping it ends its threads and makes the mark durable.
pub struct Store {
    core: Arc<Core>,
    maintenance: Option<overlay::Maintenance>,
    scrub: OnceLock<scrub::Scrub>,
}

/// What the store's threads share.
struct Core {
    path: PathBuf,
    segments: PathBuf,
    options: StoreOptions,
    kv: Box<dyn Kv>,
    published: ArcSwap<Snapshot>,
    /// Held by whoever replaces layers by a new one, before the writer's lock. The outer one is for whole generations.
    generation: Mutex<()>,
    merging: Mutex<()>,
    writer: Mutex<Writer>,
    /// Up to the published snapshot.
    deletions: Mutex<Deletions>,
    /// The first I/O error: from then on nothing is written.
    fault: OnceLock<String>,
    /// What of the segment failed its checksum.
    damage: OnceLock<String>,
    mark_is_dirty: AtomicBool,
    wake: overlay::Wake,
    /// Kept locked for as long as the store is open.
    _lock: Option<File>,
}

/// What the one writer knows: the state as it is on disk.
struct Writer {
    manifest: Manifest,
    position: Position,
    /// Octets of the journal's groups since the open, those found then included; and how many of them a segment covers.
    journal_octets: u64,
    covered_octets: u64,
    mark_slot: usize,
    tables: TypeTables,
    /// The type table of the schema in force.
    table: u32,
    /// The tables that journal groups since the beginning of the last compaction may name.
    tables_since: Vec<u32>,
    /// How many cells each keyed value takes that takes more than one.
    keyed_cells: HashMap<Vec<u8>, u16>,
    /// Layers that a merge or compaction is reading; no other may take them.
    claimed: Vec<Arc<Segment>>,
}

impl Store {
    /// Makes an empty directory at `path` (which may exist if it holds no directory yet).
    ///
    /// # Errors
    /// `AlreadyThere`, `Locked`, `Io`.
    pub fn create(path: &Path, schema: Arc<Schema>, options: StoreOptions) -> Result<Store, StoreError> {
        opening::create(path, &schema, &options)?;
        Self::open(path, schema, options)
    }

    /// Opens a directory: maps its segment and replays the journal. Costs what changed since the segment, not what it holds.
    ///
    /// # Errors
    /// `Missing`, `Locked`, `Io`; `Corrupt` when anything acknowledged is lost or damaged; `SchemaLost`.
    pub fn open(path: &Path, schema: Arc<Schema>, options: StoreOptions) -> Result<Store, StoreError> {
        let core = Arc::new(opening::open(path, schema, options)?);
        Ok(Self::start(core))
    }

    /// An empty directory on a disk that fails on demand, its segments below `path`.
    #[cfg(test)]
    pub fn failing(kv: &faulty::FaultyKv, path: &Path, schema: Arc<Schema>) -> Store {
        opening::found(kv, &schema).expect("nothing is armed yet");
        std::fs::create_dir(path.join("segments")).expect("a place of its own");
        Self::again(kv, path, schema)
    }

    /// Opens it once more.
    #[cfg(test)]
    pub fn again(kv: &faulty::FaultyKv, path: &Path, schema: Arc<Schema>) -> Store {
        let options = StoreOptions {
            background: false,
            ..StoreOptions::default()
        };
        let core = opening::open_on(Box::new(kv.clone()), path, None, schema, options);
        Self::start(Arc::new(core.expect("a directory on this disk")))
    }

    fn start(core: Arc<Core>) -> Store {
        let maintenance = core
            .options
            .background
            .then(|| overlay::Maintenance::start(Arc::clone(&core)));
        Store {
            core,
            maintenance,
            scrub: OnceLock::new(),
        }
    }

    /// The newest published snapshot: one atomic load.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.core.published.load_full()
    }

    /// Begins a group of changes. Waits for the group before to end.
    pub fn begin(&self) -> WriteGroup<'_> {
        self.core.begin()
    }

    /// Every key and value of the keyed area, ascending by length of key, then key.
    pub fn keyed(&self) -> Result<Vec<KeyedPair>, StoreError> {
        let mut pairs = Vec::new();
        cell::scan(&*self.core.kv, KEYED, b"", &mut |name, value, _| {
            pairs.push((name[2..].to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(pairs)
    }

    /// Every deletion after one time of change, up to another; `None` where they are no longer all known.
    pub fn deletions(&self, after: u64, until: u64) -> Option<Vec<Deletion>> {
        self.core.deletions().between(after, until)
    }

    /// Deletions are all known from here on, if it is not known since when they are. Gives the time of the last.
    pub fn begin_deletions(&self, at: u64) -> u64 {
        let mut deletions = self.core.deletions();
        deletions.begin(at);
        deletions.last()
    }

    /// Why the store takes no more writes, if so.
    pub fn fault(&self) -> Option<&str> {
        self.core.fault.get().map(String::as_str)
    }

    /// Reads the data through now and then from here on, in a thread of the store's own. For who serves it for long.
    pub fn scrub(&self) {
        if let Some(every) = self.core.options.scrub_every {
            self.scrub
                .get_or_init(|| scrub::Scrub::start(Arc::clone(&self.core), every));
        }
    }

    /// Reads every section of the segment.
    ///
    /// # Errors
    /// `Corrupt` where one is not as it was written: nothing is to be read from it.
    pub fn read_through(&self) -> Result<(), StoreError> {
        match self.core.sound() {
            Err(StoreError::Corrupt { .. }) if self.core.options.serve_damaged => Ok(()),
            read => read,
        }
    }

    /// Why nothing is to be read from the data, if so.
    #[inline]
    pub fn damage(&self) -> Option<&str> {
        let damage = self.core.damage.get()?;
        (!self.core.options.serve_damaged).then_some(damage)
    }

    /// Begins a bulk load that ends in a new segment. Existing entries are kept unless `replace`.
    pub fn bulk(&self, replace: bool) -> Result<segment::BulkLoad<'_>, StoreError> {
        self.core.writable()?;
        segment::BulkLoad::new(self, replace)
    }

    /// The schema in force.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(self.core.published.load().schema())
    }

    /// Puts the successor of a schema in force, together with keyed writes: durable, then published. What is read and written from
    /// then on is so under it. Takes one sequence number.
    ///
    /// # Errors
    /// `Names` where an index holds a value that now names something, and nothing is changed; else as [`WriteGroup::commit`].
    pub fn change_schema(&self, schema: Arc<Schema>, keyed: Vec<KeyedWrite>) -> Result<(), StoreError> {
        let core = &self.core;
        // A segment that is being made of others is made under the schema of before.
        let _merging = locked(&core.merging);
        let mut writer = core.lock_writer();
        core.writable()?;
        let snapshot = core.published.load_full();
        let known = snapshot.schema();
        for layer in &snapshot.layers {
            if let Some(fault) = layer.segment.newly_named(known, &schema) {
                return Err(fault);
            }
        }
        let mut batch = Batch::default();
        let mut cells = Vec::new();
        let table = writer.tables.current(&schema, &mut batch);
        write_keyed(&writer, &keyed, &mut batch, &mut cells);
        let mut group = GroupWriter::new(writer.position, table);
        group.push_keyed_only();
        let after = group.finish(&mut batch);
        core.commit(&mut writer, batch, after, None)?;
        note_cells(&mut writer, cells);
        writer.table = table;
        if !writer.tables_since.contains(&table) {
            writer.tables_since.push(table);
        }
        let mut next = Snapshot::clone(&snapshot).under(schema);
        next.sequence = after.number();
        core.published.store(Arc::new(next));
        Ok(())
    }

    pub(super) fn options(&self) -> &StoreOptions {
        &self.core.options
    }

    /// Where segment files lie and a bulk load may spill. Files there that the manifest does not name are removed at open.
    pub(super) fn segments_directory(&self) -> &Path {
        &self.core.segments
    }

    /// Begins the next generation: no change can be made until it is published or dropped.
    pub(super) fn next_generation(&self) -> Result<NextGeneration<'_>, StoreError> {
        self.core.writable()?;
        let generation = locked(&self.core.generation);
        let merging = locked(&self.core.merging);
        let writer = self.core.lock_writer();
        let path = self.core.segments.join(segment_name(writer.manifest.generation + 1));
        compaction::remove_if_there(&path)?;
        let snapshot = self.core.published.load_full();
        Ok(NextGeneration {
            core: &self.core,
            _generation: generation,
            _merging: merging,
            writer,
            path,
            snapshot,
        })
    }

    /// Merges segment and overlay into the next segment while both serve. Does nothing when there is no overlay.
    ///
    /// # Errors
    /// `Io` (a full disk leaves everything as it was), `Corrupt`, `ReadOnly`.
    pub fn compact(&self) -> Result<(), StoreError> {
        compaction::compact(&self.core, &mut || Ok(()))
    }

    /// Verifies every checksum, index against entries, and the journal's chain. Calls `fault` for each fault found.
    pub fn check(&self, fault: &mut dyn FnMut(String)) -> Result<CheckReport, StoreError> {
        opening::check(&self.core, fault)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(maintenance) = self.maintenance.take() {
            maintenance.stop(&self.core);
        }
        if let Some(scrub) = self.scrub.take() {
            self.core.wake.stop();
            scrub.join();
        }
        self.core.sync_mark();
    }
}

impl Core {
    fn begin(&self) -> WriteGroup<'_> {
        let writer = self.lock_writer();
        let snapshot = Snapshot::clone(&self.published.load());
        let group = GroupWriter::new(writer.position, writer.table);
        WriteGroup {
            core: self,
            writer,
            snapshot,
            group,
            keyed: Vec::new(),
            deletions: Vec::new(),
        }
    }

    fn deletions(&self) -> MutexGuard<'_, Deletions> {
        self.deletions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // Whether the last batch is on disk is not known then.
            let _ = self.fault.set("a writer ended in the middle of a commit".to_owned());
            poisoned.into_inner()
        })
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.fault.get() {
            Some(detail) => Err(StoreError::ReadOnly { detail: detail.clone() }),
            None => Ok(()),
        }
    }

    /// Makes a batch durable, then moves the mark, then the writer's own state. The first error ends all writing.
    fn commit(
        &self,
        writer: &mut Writer,
        batch: Batch,
        after: Position,
        manifest: Option<Manifest>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let journal_only =
            manifest.is_none() && batch.writes.iter().all(|(key, _)| key.first() == Some(&journal::AREA));
        let manifest = manifest.unwrap_or_else(|| writer.manifest.clone());
        let mark = Mark {
            epoch: manifest.epoch,
            generation: manifest.generation,
            position: after,
        };
        // A group without keyed writes needs no batch: a torn one is found at open, and dropped.
        let durable = if journal_only {
            self.kv.append(batch)
        } else {
            self.kv.commit(batch)
        };
        let written = durable.and_then(|()| self.kv.write_mark(writer.mark_slot, &mark.encode()));
        self.note_fault(written)?;
        self.mark_is_dirty.store(true, Ordering::Release);
        writer.mark_slot = (writer.mark_slot + 1) % mark::SLOTS;
        writer.position = after;
        writer.manifest = manifest;
        Ok(())
    }

    /// Brings a mark that a power cut left behind up to the journal's end, so that the two agree while the store is open.
    fn renew_mark(&self, found: &Mark) -> Result<(), StoreError> {
        let mut writer = self.lock_writer();
        let Manifest { epoch, generation, .. } = writer.manifest;
        let mark = Mark {
            epoch,
            generation,
            position: writer.position,
        };
        if mark != *found {
            self.note_fault(self.kv.write_mark(writer.mark_slot, &mark.encode()))?;
            self.note_fault(self.kv.sync_marks())?;
            writer.mark_slot = (writer.mark_slot + 1) % mark::SLOTS;
        }
        Ok(())
    }

    /// The segment that the manifest names, and its file.
    fn base(&self) -> Option<(PathBuf, Arc<Segment>)> {
        let writer = self.lock_writer();
        let file = writer.manifest.segment.as_ref()?;
        let snapshot = self.published.load();
        Some((
            self.segments.join(&file.name),
            Arc::clone(&snapshot.layers.first()?.segment),
        ))
    }

    /// Reads the whole segment before another is made of it, which would have checksums that fit whatever was read.
    ///
    /// # Errors
    /// `Corrupt`; nothing is written any more then.
    fn sound(&self) -> Result<(), StoreError> {
        let Some((path, segment)) = self.base() else {
            return Ok(());
        };
        match segment.damaged_section() {
            None => Ok(()),
            Some(section) => Err(self.note_damage(&path, &section)),
        }
    }

    fn note_damage(&self, path: &Path, section: &str) -> StoreError {
        let error = kv::corrupt(path, section);
        tracing::error!(%error, "the data failed its checksums");
        let _ = self.damage.set(format!("{}: {section}", path.display()));
        let _ = self.fault.set(error.to_string());
        error
    }

    fn note_fault<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &outcome {
            tracing::error!(%error, "the store takes no more writes");
            let _ = self.fault.set(error.to_string());
        }
        outcome
    }

    /// Makes the mark durable if it has moved. A power cut before leaves it behind the journal, which is no fault.
    fn sync_mark(&self) {
        if self.fault.get().is_none() && self.mark_is_dirty.swap(false, Ordering::AcqRel) {
            // The error is noted: writing ends.
            let _ = self.note_fault(self.kv.sync_marks());
        }
    }
}

/// Changes that become durable and visible together. Dropping it forgets them.
pub struct WriteGroup<'a> {
    core: &'a Core,
    writer: MutexGuard<'a, Writer>,
    snapshot: Snapshot,
    group: GroupWriter,
    keyed: Vec<KeyedWrite>,
    deletions: Vec<Deletion>,
}

/// A group as it was, for [`WriteGroup::back_to`].
pub struct Savepoint {
    snapshot: Snapshot,
    extent: (usize, u32),
    keyed: usize,
    deletions: usize,
}

impl WriteGroup<'_> {
    /// The group as it is now.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            snapshot: self.snapshot.clone(),
            extent: self.group.extent(),
            keyed: self.keyed.len(),
            deletions: self.deletions.len(),
        }
    }

    /// Forgets what was applied since.
    pub fn back_to(&mut self, savepoint: Savepoint) {
        self.snapshot = savepoint.snapshot;
        self.group.back_to(savepoint.extent);
        self.keyed.truncate(savepoint.keyed);
        self.deletions.truncate(savepoint.deletions);
    }

    /// The directory as it will be after what was applied so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The number that the next change applied will have.
    pub fn next_sequence(&self) -> SequenceNumber {
        SequenceNumber(self.group.last().0 + 1)
    }

    /// Adds changes to the group; the group's own snapshot shows them at once. Gives the sequence number of the last.
    /// Keyed writes without a change take one number; nothing at all takes none.
    pub fn apply(&mut self, changes: Vec<Change>, keyed: Vec<KeyedWrite>) -> SequenceNumber {
        self.apply_to(None, changes, keyed)
    }

    /// As [`WriteGroup::apply`], of one change that puts an entry in the place of the one with its key, which was looked up: it is at `of`.
    pub fn replace(&mut self, of: Location, changes: Vec<Change>, keyed: Vec<KeyedWrite>) -> SequenceNumber {
        self.apply_to(Some(of), changes, keyed)
    }

    fn apply_to(&mut self, of: Option<Location>, changes: Vec<Change>, keyed: Vec<KeyedWrite>) -> SequenceNumber {
        if changes.is_empty() && !keyed.is_empty() {
            self.group.push_keyed_only();
        }
        for change in changes {
            self.group.push(&change);
            if let Change::Delete { key, of: Some(entry) } = &change {
                let (key, entry) = (key.clone(), *entry);
                self.deletions.push(Deletion { key, entry });
            }
            self.snapshot.change(change, of);
        }
        self.keyed.extend(keyed);
        self.snapshot.sequence = self.group.last();
        self.group.last()
    }

    /// Makes everything durable (journal batch, flush, fdatasync, mark), then publishes it. Blocks.
    ///
    /// # Errors
    /// `Io` or `Corrupt` from the disk, after which nobody knows whether the group will be there after a restart;
    /// `ReadOnly` when an earlier group failed so; `TooLarge`, and nothing is changed.
    pub fn commit(mut self) -> Result<SequenceNumber, StoreError> {
        if self.group.is_empty() {
            return Ok(self.writer.position.number());
        }
        let (octets, _) = self.group.extent();
        if octets > journal::GROUP_OCTETS_MAX {
            let most = journal::GROUP_OCTETS_MAX;
            return Err(StoreError::TooLarge { octets, most });
        }
        let mut batch = Batch::default();
        let mut cells = Vec::new();
        write_keyed(&self.writer, &self.keyed, &mut batch, &mut cells);
        let after = self.group.finish(&mut batch);
        self.core.commit(&mut self.writer, batch, after, None)?;
        self.writer.journal_octets += octets as u64;
        note_cells(&mut self.writer, cells);
        if !self.deletions.is_empty() {
            let mut deletions = self.core.deletions();
            self.deletions.into_iter().for_each(|deletion| deletions.note(deletion));
        }
        overlay::bound_tail(self.core, &self.writer, &mut self.snapshot);
        let overlay_is_due = overlay::is_due(self.core, &self.snapshot);
        self.core.published.store(Arc::new(self.snapshot));
        drop(self.writer);
        if overlay_is_due {
            self.core.wake.wake();
        }
        Ok(after.number())
    }
}

/// Adds keyed writes to a batch. `cells` takes what [`note_cells`] must know once the batch is durable.
fn write_keyed(writer: &Writer, keyed: &[KeyedWrite], batch: &mut Batch, cells: &mut Vec<(Vec<u8>, u16)>) {
    for write in keyed {
        let mut name = u16::try_from(write.key.len())
            .expect("keyed keys are names of accounts")
            .to_be_bytes()
            .to_vec();
        name.extend_from_slice(&write.key);
        let count = write
            .value
            .as_ref()
            .map_or(0, |value| cell::put(batch, KEYED, &name, value));
        let earlier_in_group = cells
            .iter()
            .rev()
            .find(|(other, _)| *other == name)
            .map(|(_, count)| *count);
        let on_disk = writer.keyed_cells.get(&name).copied().unwrap_or(1);
        let before = on_disk.max(earlier_in_group.unwrap_or(0));
        cell::delete(batch, KEYED, &name, count..before.max(count));
        cells.push((name, count));
    }
}

fn note_cells(writer: &mut Writer, cells: Vec<(Vec<u8>, u16)>) {
    for (name, count) in cells {
        if count > 1 {
            writer.keyed_cells.insert(name, count);
        } else {
            writer.keyed_cells.remove(&name);
        }
    }
}

/// The next segment in the making, for a bulk load. Holds the writer's lock; dropping it changes nothing.
pub(super) struct NextGeneration<'a> {
    core: &'a Core,
    _generation: MutexGuard<'a, ()>,
    _merging: MutexGuard<'a, ()>,
    writer: MutexGuard<'a, Writer>,
    path: PathBuf,
    snapshot: Arc<Snapshot>,
}

impl NextGeneration<'_> {
    /// The file to write the segment to. It does not exist yet.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every entry there is now.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Names a verified, fsynced segment in the manifest together with the keyed writes; then it is the whole directory.
    /// Takes one sequence number and begins a new epoch.
    pub(super) fn publish(mut self, segment: Segment, keyed: Vec<KeyedWrite>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut cells = Vec::new();
        write_keyed(&self.writer, &keyed, &mut batch, &mut cells);
        let mut group = GroupWriter::new(self.writer.position, self.writer.table);
        group.push_keyed_only();
        let after = group.finish(&mut batch);
        let manifest = Manifest {
            epoch: self.writer.manifest.epoch + 1,
            generation: self.writer.manifest.generation + 1,
            applied: after,
            segment: Some(SegmentFile {
                name: segment_name(self.writer.manifest.generation + 1),
                bytes: segment.bytes(),
            }),
            ..self.writer.manifest.clone()
        };
        let old = self.writer.manifest.segment.clone();
        // What was there before is nobody's to follow any more.
        self.core.deletions().empty();
        compaction::switch(self.core, &mut self.writer, batch, manifest)?;
        self.writer.covered_octets = self.writer.journal_octets;
        note_cells(&mut self.writer, cells);
        let mut next = Snapshot::empty(Arc::clone(self.snapshot.schema()));
        next.sequence = after.number();
        next.layers.push(Layer::new(Arc::new(segment)));
        self.core.published.store(Arc::new(next));
        drop(self.writer);
        if let Some(old) = old {
            compaction::remove_if_there(&self.core.segments.join(old.name))?;
        }
        compaction::forget_covered(self.core, after.sequence, &mut || Ok(()))
    }
}

/// What `check` looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckReport {
    pub entries: u64,
    pub changes: u64,
    pub bytes: u64,
}

fn segment_name(generation: u64) -> String {
    format!("{generation:08}.segment")
}

/// These locks guard no data, so a panic under one spoils none.
fn locked(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
