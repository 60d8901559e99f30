//! Making, opening and checking a data directory.
//!
//! ```text
//! lock       held while the directory is open
//! creating   there only while the directory is being made
//! mark       the high-water mark
//! journal/   sled
//! log/       what is appended to the journal
//! segments/  one file a generation
//! ```

use super::deletions::{self, Deletion, Deletions};
use super::journal::{self, Group, Position};
use super::kv::{Batch, Kv, SledKv, corrupt, io_error, parent, sync_path};
use super::manifest::{self, Manifest, TypeTables};
use super::mark::{self, Mark};
use super::record::{self, Record};
use super::snapshot::{Layer, Snapshot};
use super::{CheckReport, Core, KEYED, Segment, StoreError, StoreOptions, Writer, cell, compaction, overlay};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::Change;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

const LOCK: &str = "lock";
const CREATING: &str = "creating";
const MARK: &str = "mark";
const JOURNAL: &str = "journal";
const LOG: &str = "log";
const SEGMENTS: &str = "segments";

/// Makes an empty directory. Stopped half-way it leaves `creating`, and the next try starts afresh.
pub(super) fn create(path: &Path, schema: &Schema, options: &StoreOptions) -> Result<(), StoreError> {
    create_private(path)?;
    let _lock = lock(path)?;
    let creating = path.join(CREATING);
    let content = [MARK, JOURNAL, LOG, SEGMENTS].map(|name| path.join(name));
    if content.iter().any(|item| item.exists()) && !creating.exists() {
        return Err(StoreError::AlreadyThere {
            path: path.display().to_string(),
        });
    }
    fs::write(&creating, b"").map_err(|e| io_error(&creating, e))?;
    sync_path(path)?;
    for item in &content {
        if item.is_dir() {
            fs::remove_dir_all(item).map_err(|e| io_error(item, e))?;
        } else {
            compaction::remove_if_there(item)?;
        }
    }
    let segments = path.join(SEGMENTS);
    create_private(&segments)?;
    create_private(&path.join(JOURNAL))?;
    let kv = open_journal(path, options)?;
    found(&kv, schema)?;
    drop(kv);
    sync_path(path)?;
    fs::remove_file(&creating).map_err(|e| io_error(&creating, e))?;
    sync_path(path)?;
    sync_path(parent(path))
}

/// Makes a folder that only its owner may enter: it will hold hashes of secrets and personal data. One that is there stays as it is.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|e| io_error(path, e))
}

/// Writes the first manifest and mark.
pub(super) fn found(kv: &dyn Kv, schema: &Schema) -> Result<(), StoreError> {
    let mut identity = [0; 16];
    getrandom::fill(&mut identity)
        .map_err(|e| corrupt(kv.place(), &format!("the system gives no random numbers: {e}")))?;
    let manifest = Manifest {
        identity,
        epoch: 1,
        generation: 0,
        applied: Position::default(),
        segment: None,
    };
    let mut batch = Batch::default();
    TypeTables::default().current(schema, &mut batch);
    manifest.write(&mut batch);
    Deletions::none(0).write(&mut batch);
    kv.commit(batch)?;
    let mark = Mark {
        epoch: 1,
        generation: 0,
        position: Position::default(),
    };
    kv.write_mark(0, &mark.encode())?;
    kv.sync_marks()
}

fn open_journal(path: &Path, options: &StoreOptions) -> Result<SledKv, StoreError> {
    let [journal, log, mark] = [JOURNAL, LOG, MARK].map(|name| path.join(name));
    SledKv::open(&journal, &log, &mark, options.cache_bytes)
}

/// Opens a directory on its own disk.
pub(super) fn open(path: &Path, schema: Arc<Schema>, options: StoreOptions) -> Result<Core, StoreError> {
    let missing = || StoreError::Missing {
        path: path.display().to_string(),
    };
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => return Err(missing()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(io_error(path, error)),
        Ok(_) => {}
    }
    // Who may not look is not told that there is nothing.
    let is_there = |name| {
        let item = path.join(name);
        item.try_exists().map_err(|e| io_error(&item, e))
    };
    let (no_journal, no_mark) = (!is_there(JOURNAL)?, !is_there(MARK)?);
    if is_there(CREATING)? || (no_journal && no_mark) {
        return Err(missing());
    }
    let lock = lock(path)?;
    if no_journal || no_mark {
        let lost = if no_journal { JOURNAL } else { MARK };
        return Err(corrupt(
            &path.join(lost),
            "it is missing, though the rest of the directory is there",
        ));
    }
    let kv = open_journal(path, &options)?;
    open_on(Box::new(kv), path, Some(lock), schema, options)
}

/// Opens a directory whose journal is on `kv` and whose segments are below `path`.
pub(super) fn open_on(
    kv: Box<dyn Kv>,
    path: &Path,
    lock: Option<File>,
    schema: Arc<Schema>,
    options: StoreOptions,
) -> Result<Core, StoreError> {
    let (manifest, version) = Manifest::read(&*kv)?.ok_or_else(|| corrupt(kv.place(), "the manifest is missing"))?;
    let (mark, mark_slot) = Mark::newest(&kv.read_marks()?)
        .ok_or_else(|| corrupt(&path.join(MARK), "neither slot of the high-water mark can be read"))?;
    let segments = path.join(SEGMENTS);
    let mut snapshot = Snapshot::empty(Arc::clone(&schema));
    if let Some(segment) = open_segment(&segments, &manifest, &schema)? {
        snapshot.layers.push(Layer::new(Arc::new(segment)));
    }
    let mut tables = TypeTables::read(&*kv)?;
    let mut deletions = Deletions::read(&*kv, options.deletion_octets)?;
    let replayed = (&mut snapshot, &mut deletions);
    let (position, journal_octets) = replay(&*kv, &manifest, &mark, &tables, &schema, &options, replayed)?;
    let mut batch = Batch::default();
    let table = tables.current(&schema, &mut batch);
    if version != manifest::VERSION {
        // Before the first group goes where the program that wrote it would not look.
        manifest.write(&mut batch);
    }
    if !batch.writes.is_empty() {
        kv.commit(batch)?;
    }
    let keyed_cells = keyed_cells(&*kv)?;
    remove_leftovers(&segments, &manifest)?;
    let writer = Writer {
        manifest,
        position,
        mark_slot,
        tables,
        table,
        keyed_cells,
        tables_since: vec![table],
        journal_octets,
        covered_octets: 0,
        claimed: Vec::new(),
    };
    let core = Core {
        path: path.to_path_buf(),
        segments,
        options,
        kv,
        published: ArcSwap::from_pointee(snapshot),
        generation: Mutex::new(()),
        merging: Mutex::new(()),
        writer: Mutex::new(writer),
        deletions: Mutex::new(deletions),
        fault: OnceLock::new(),
        damage: OnceLock::new(),
        mark_is_dirty: false.into(),
        wake: overlay::Wake::default(),
        _lock: lock,
    };
    core.renew_mark(&mark)?;
    if !core.options.background {
        compaction::forget_leftovers(&core, &mut || Ok(()))?;
    }
    Ok(core)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let path_of_lock = path.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path_of_lock)
        .map_err(|e| io_error(&path_of_lock, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: path.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(io_error(&path_of_lock, error)),
    }
}

fn open_segment(segments: &Path, manifest: &Manifest, schema: &Schema) -> Result<Option<Segment>, StoreError> {
    let Some(file) = &manifest.segment else { return Ok(None) };
    let path = segments.join(&file.name);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(corrupt(&path, "the manifest names this segment, but it is missing"));
        }
        Err(error) => return Err(io_error(&path, error)),
    };
    if bytes != file.bytes {
        return Err(corrupt(
            &path,
            &format!("{} octets expected, {bytes} found", file.bytes),
        ));
    }
    let segment = Segment::open(&path, schema)?;
    let names = segment.set_aside().map(|id| schema.attribute(id).name());
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        tracing::warn!(
            attributes = names.join(" "),
            "their indexes were made by other rules: searches by them read every entry until a compaction has made them anew; \
             a server begins one at once, and so does `nhsdir compact`"
        );
    }
    Ok(Some(segment))
}

/// Adds what the journal holds to the snapshot and to the deletions; gives the position of its end, and how many octets it has. The mark
/// must not lie beyond it.
fn replay(
    kv: &dyn Kv,
    manifest: &Manifest,
    mark: &Mark,
    tables: &TypeTables,
    schema: &Schema,
    options: &StoreOptions,
    (snapshot, deletions): (&mut Snapshot, &mut Deletions),
) -> Result<(Position, u64), StoreError> {
    let mut at_mark = (mark.position.sequence == manifest.applied.sequence).then_some(manifest.applied.hash);
    let mut newest: BTreeMap<NormalizedDn, Option<Vec<u8>>> = BTreeMap::new();
    let mut types = TypeNumbers {
        tables,
        schema,
        table: None,
    };
    let mut octets = 0;
    let read_until = deletions.last();
    let (end, torn) = journal::replay(kv, manifest.applied, &mut |group, after| {
        octets += group.octets();
        if after.sequence == mark.position.sequence {
            at_mark = Some(after.hash);
        }
        for change in group.changes() {
            match types.translated(kv, group, change)? {
                Change::Put { key, record } => newest.insert(key, Some(record)),
                Change::Delete { key, of } => {
                    match of {
                        Some(entry) => deletions.replay(
                            Deletion {
                                key: key.clone(),
                                entry,
                            },
                            read_until,
                        ),
                        None => deletions.lose(),
                    }
                    newest.insert(key, None)
                }
            };
        }
        Ok(())
    })?;
    mark::verify(kv.place(), mark, manifest.generation, end.sequence, |_| at_mark)?;
    if let Some(torn) = torn {
        // The mark does not reach it, so nobody was told that it is there.
        journal::discard(kv, &torn)?;
    }
    snapshot.sequence = end.number();
    snapshot.change_all(newest);
    if snapshot.tail.len() > options.tail_entries {
        overlay::freeze_all(snapshot);
    }
    Ok((end, octets))
}

/// Rewrites records that were written under another schema.
struct TypeNumbers<'a> {
    tables: &'a TypeTables,
    schema: &'a Schema,
    /// The table of the last group, resolved.
    table: Option<(u32, Vec<Result<AttributeId, String>>)>,
}

impl TypeNumbers<'_> {
    fn translated(&mut self, kv: &dyn Kv, group: &Group<'_>, change: Change) -> Result<Change, StoreError> {
        let Change::Put { key, record } = change else {
            return Ok(change);
        };
        if self.table.as_ref().is_none_or(|(number, _)| *number != group.table) {
            let resolved = self.tables.resolve(group.table, self.schema);
            let lost = || {
                corrupt(
                    kv.place(),
                    &format!("type table {} of change {} is missing", group.table, group.first),
                )
            };
            self.table = Some((group.table, resolved.ok_or_else(lost)?));
        }
        let (_, table) = self.table.as_ref().expect("the table was resolved above");
        let is_identity = table
            .iter()
            .enumerate()
            .all(|(n, id)| id.as_ref().is_ok_and(|id| usize::from(id.0) == n));
        let record = if is_identity {
            record
        } else {
            translate(&record, table, self.schema)?
        };
        Ok(Change::Put { key, record })
    }
}

fn translate(octets: &[u8], table: &[Result<AttributeId, String>], schema: &Schema) -> Result<Vec<u8>, StoreError> {
    let as_written: Vec<AttributeId> = (0..table.len()).map(|number| AttributeId(number as u16)).collect();
    for attribute in Record::new(octets, &as_written).attributes() {
        if let Some(Err(oid)) = table.get(usize::from(attribute.id.0)) {
            return Err(StoreError::SchemaLost { name: oid.clone() });
        }
    }
    let types: Vec<AttributeId> = table
        .iter()
        .map(|id| id.as_ref().copied().unwrap_or(AttributeId(0)))
        .collect();
    let record = Record::new(octets, &types);
    Ok(record::encode(&record.to_entry(), &record.operational(), schema))
}

fn keyed_cells(kv: &dyn Kv) -> Result<HashMap<Vec<u8>, u16>, StoreError> {
    let mut cells = HashMap::new();
    cell::scan(kv, KEYED, b"", &mut |name, _, count| {
        if name.len() < 2 {
            return Err(corrupt(kv.place(), "a keyed value has no name"));
        }
        if count > 1 {
            cells.insert(name.to_vec(), count);
        }
        Ok(())
    })?;
    Ok(cells)
}

/// Removes segment files that the manifest does not name: what a compaction or a bulk load left when it was stopped.
fn remove_leftovers(segments: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let standing = manifest.segment.as_ref().map(|file| file.name.as_str());
    for item in fs::read_dir(segments).map_err(|e| io_error(segments, e))? {
        let item = item.map_err(|e| io_error(segments, e))?;
        if standing.is_none_or(|standing| item.file_name() != standing) {
            let path = item.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|e| io_error(&path, e))?;
        }
    }
    Ok(())
}

/// See [`super::Store::check`]. Holds the writer's lock, so that the journal stands still.
pub(super) fn check(core: &Core, fault: &mut dyn FnMut(String)) -> Result<CheckReport, StoreError> {
    let _generation = super::locked(&core.generation);
    let writer = core.lock_writer();
    let snapshot = core.published.load_full();
    let mut report = CheckReport {
        entries: snapshot.len(),
        ..CheckReport::default()
    };
    core.kv.check(fault)?;
    if let (Some(file), Some(base)) = (&writer.manifest.segment, snapshot.layers.first()) {
        report.bytes = file.bytes;
        base.segment.verify(snapshot.schema(), &mut |detail| {
            fault(format!("{}: {detail}", core.segments.join(&file.name).display()))
        });
    }
    let kv = &*core.kv;
    let end = journal::replay(kv, writer.manifest.applied, &mut |group, _| {
        report.changes += u64::from(group.count);
        Ok(())
    });
    match end {
        Ok((end, None)) if end == writer.position => {}
        Ok((end, _)) => fault(format!(
            "the journal ends at change {}, not at {}",
            end.sequence, writer.position.sequence
        )),
        Err(error) => fault(damage(error)?),
    }
    if let Err(error) = cell::scan(kv, KEYED, b"", &mut |_, _, _| Ok(())) {
        fault(damage(error)?);
    }
    if let Err(error) = cell::scan(kv, deletions::AREA, b"", &mut |_, _, _| Ok(())) {
        fault(damage(error)?);
    }
    match Mark::newest(&kv.read_marks()?) {
        Some((mark, _)) if mark.position == writer.position || core.fault.get().is_some() => {}
        Some((mark, _)) => fault(format!(
            "{}: the high-water mark is at change {}, the journal at {}",
            core.path.join(MARK).display(),
            mark.position.sequence,
            writer.position.sequence
        )),
        None => fault(format!(
            "{}: the high-water mark cannot be read",
            core.path.join(MARK).display()
        )),
    }
    Ok(report)
}

/// Damage is what a check looks for; any other error ends it.
fn damage(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt { path, detail } => Ok(format!("{path}: {detail}")),
        other => Err(other),
    }
}
