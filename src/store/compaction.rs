//! Segment and overlay into the next segment, while both serve.
//!
//! Order, each step durable before the next: the segment file is written and fsynced; it is opened and verified; one batch
//! makes the manifest name it; only then the old file and the journal up to there go. A power cut anywhere leaves the old or the
//! new generation whole, and the next open removes the file that the manifest does not name.

use super::journal::Position;
use super::kv::{Batch, corrupt, io_error};
use super::manifest::{Manifest, SegmentFile};
use super::record::Record;
use super::snapshot::{Layer, Snapshot};
use super::{Core, Segment, StoreError, Writer, journal, locked, overlay, segment_name};
use crate::index::EntryId;
use crate::schema::NormalizedDn;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Journal records deleted between two rests.
const FORGET_BATCH: usize = 256;
/// Entries between two rests.
const PACE_ENTRIES: u32 = 256;

/// Called now and then in long work: may wait, or end the work with an error.
pub(super) type Rest<'r> = &'r mut dyn FnMut() -> Result<(), StoreError>;

/// Keeps a background compaction from taking a whole core: it rests as long as it worked.
pub(super) struct Pace {
    since: Instant,
}

impl Pace {
    pub(super) fn half() -> Pace {
        Pace { since: Instant::now() }
    }

    pub(super) fn rest(&mut self) {
        let worked = self.since.elapsed();
        if worked > Duration::from_millis(2) {
            std::thread::sleep(worked.min(Duration::from_millis(100)));
        }
        self.since = Instant::now();
    }
}

/// Compacts everything committed when it begins. Changes made meanwhile stay in the overlay and the journal.
pub(super) fn compact(core: &Core, pace: Rest<'_>) -> Result<(), StoreError> {
    core.writable()?;
    let _generation = locked(&core.generation);
    let (inputs, covered, octets, generation) = {
        let _merging = locked(&core.merging);
        let mut writer = core.lock_writer();
        let covered = writer.position;
        let octets = writer.journal_octets;
        let outdated = has_indexes_set_aside(&core.published.load());
        if covered == writer.manifest.applied && !outdated {
            return Ok(());
        }
        if !outdated && overlay_is_empty(&writer, &core.published.load()) {
            let manifest = Manifest {
                applied: covered,
                ..writer.manifest.clone()
            };
            switch(core, &mut writer, Batch::default(), manifest)?;
            writer.covered_octets = octets;
            drop(writer);
            return forget_covered(core, covered.sequence, pace);
        }
        (
            overlay::claim_all(core, &mut writer),
            covered,
            octets,
            writer.manifest.generation + 1,
        )
    };
    let path = core.segments.join(segment_name(generation));
    let installed = write_verified(core, &path, &inputs, pace)
        .and_then(|segment| install(core, &inputs.layers, segment, generation, covered));
    {
        let mut writer = core.lock_writer();
        writer.claimed.clear();
        if installed.is_ok() {
            writer.covered_octets = octets;
        }
    }
    match installed {
        Ok(Some(old)) => remove_if_there(&core.segments.join(old.name))?,
        Ok(None) => {}
        Err(error) => {
            // After a failed switch nobody knows which file the manifest names: the next open tidies up.
            if core.fault.get().is_none() {
                remove_if_there(&path)?;
            }
            return Err(error);
        }
    }
    forget_covered(core, covered.sequence, pace)
}

/// Whether a compaction would give searches an index that they have to do without now.
pub(super) fn has_indexes_set_aside(snapshot: &Snapshot) -> bool {
    let base = snapshot.layers.first();
    base.is_some_and(|base| base.segment.set_aside().next().is_some())
}

/// Whether the segment alone is the directory: then only keyed writes were committed since.
fn overlay_is_empty(writer: &Writer, snapshot: &Snapshot) -> bool {
    let mapped = usize::from(writer.manifest.segment.is_some());
    let (base, others) = snapshot.layers.split_at(mapped.min(snapshot.layers.len()));
    snapshot.tail.is_empty() && others.is_empty() && base.iter().all(|base| base.hidden.is_empty())
}

/// Makes a verified segment the base. Gives the file it takes the place of.
fn install(
    core: &Core,
    inputs: &[Layer],
    segment: Segment,
    generation: u64,
    covered: Position,
) -> Result<Option<SegmentFile>, StoreError> {
    let mut writer = core.lock_writer();
    let old = writer.manifest.segment.clone();
    let mut batch = Batch::default();
    let Writer {
        tables, tables_since, ..
    } = &mut *writer;
    tables.retain(tables_since, &mut batch);
    let file = SegmentFile {
        name: segment_name(generation),
        bytes: segment.bytes(),
    };
    let manifest = Manifest {
        generation,
        applied: covered,
        segment: Some(file),
        ..writer.manifest.clone()
    };
    switch(core, &mut writer, batch, manifest)?;
    let next = overlay::replaced(&core.published.load(), inputs, Arc::new(segment), true);
    core.published.store(Arc::new(next));
    Ok(old)
}

fn write_verified(core: &Core, path: &Path, inputs: &Snapshot, pace: Rest<'_>) -> Result<Segment, StoreError> {
    core.sound()?;
    remove_if_there(path)?;
    let schema = inputs.schema();
    Segment::write(path, schema, &core.options.unindexed, &mut |emit| {
        visible(&inputs.layers, pace, emit)
    })?;
    let segment = Segment::open(path, schema)?;
    let mut first = None;
    segment.verify_written(schema, &mut |fault| {
        first.get_or_insert(fault);
    });
    match first {
        Some(fault) => Err(corrupt(
            path,
            &format!("the new segment is not what was written: {fault}"),
        )),
        // It was read from end to end. Mapped anew, only what searches read of it is the process's memory.
        None => {
            drop(segment);
            Segment::open(path, schema)
        }
    }
}

type Emit<'e> = &'e mut dyn FnMut(&NormalizedDn, Record<'_>) -> Result<(), StoreError>;

/// Every visible entry of several layers, ascending by key: the first is streamed, the keys of the others are held.
fn visible(layers: &[Layer], pace: Rest<'_>, emit: Emit<'_>) -> Result<(), StoreError> {
    let Some((base, others)) = layers.split_first() else {
        return Ok(());
    };
    let mut overlay: Vec<(NormalizedDn, &Layer, EntryId)> = Vec::new();
    for layer in others {
        overlay::for_each_visible_key(layer, &mut |id, key| {
            overlay.push((NormalizedDn(key.to_vec()), layer, id));
            true
        });
    }
    overlay.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut overlay = overlay.into_iter().peekable();
    let mut outcome = Ok(());
    let mut current = NormalizedDn::default();
    let mut count = 0u32;
    overlay::for_each_visible_key(base, &mut |id, key| {
        current.0.clear();
        current.0.extend_from_slice(key);
        while outcome.is_ok()
            && let Some((key, layer, id)) = overlay.next_if(|(key, ..)| *key < current)
        {
            outcome = emit(&key, layer.segment.record(id));
        }
        if outcome.is_ok() {
            outcome = emit(&current, base.segment.record(id));
        }
        if outcome.is_ok() && count.is_multiple_of(PACE_ENTRIES) {
            outcome = pace();
        }
        count += 1;
        outcome.is_ok()
    });
    outcome?;
    overlay.try_for_each(|(key, layer, id)| emit(&key, layer.segment.record(id)))
}

/// Makes the manifest durable, with whatever else is in the batch, and the mark of the new generation with it.
pub(super) fn switch(core: &Core, writer: &mut Writer, mut batch: Batch, manifest: Manifest) -> Result<(), StoreError> {
    manifest.write(&mut batch);
    core.deletions().write(&mut batch);
    // A bulk load's manifest covers the number it takes; a compaction's covers less than what is committed.
    let after = if manifest.applied.sequence > writer.position.sequence {
        manifest.applied
    } else {
        writer.position
    };
    core.commit(writer, batch, after, Some(manifest))?;
    core.sync_mark();
    core.writable()
}

/// Deletes what a stopped compaction left of the journal, or a power cut brought back.
pub(super) fn forget_leftovers(core: &Core, pace: Rest<'_>) -> Result<(), StoreError> {
    let _generation = locked(&core.generation);
    let applied = core.lock_writer().manifest.applied;
    forget_covered(core, applied.sequence, pace)
}

/// Deletes the journal up to a change that the segment now holds. What is left of it after a restart no reader looks at.
pub(super) fn forget_covered(core: &Core, up_to: u64, pace: Rest<'_>) -> Result<(), StoreError> {
    loop {
        let keys = journal::covered_keys(&*core.kv, up_to, FORGET_BATCH)?;
        if keys.is_empty() {
            return Ok(());
        }
        core.writable()?;
        core.note_fault(core.kv.discard(keys))?;
        pace()?;
    }
}

/// Removes a file that may not exist.
pub(super) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kv::Kv;
    use super::super::tests::{SCHEMA, TAIL, commit_group, new_disk, start, versions};
    use super::super::{Store, StoreOptions, opening};
    use super::*;

    /// A compaction that was stopped after the manifest was durable leaves its part of the journal.
    #[test]
    fn what_a_compaction_left_is_deleted_after_the_next_open() {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let store = start(&kv, data.path(), TAIL).unwrap();
        for n in 1..=9 {
            commit_group(&store, n).unwrap();
        }
        let entries = versions(&store.snapshot());
        let mut left = Batch::default();
        kv.damage(|pairs| {
            let journal = pairs.iter().filter(|(key, _)| key[0] == journal::AREA);
            journal.for_each(|(key, cell)| left.put(key.clone(), cell.clone()));
        });
        store.compact().unwrap();
        drop(store);
        let covered = || journal::covered_keys(&kv, 27, 100).unwrap().len();
        assert_eq!(covered(), 0);
        kv.commit(left).unwrap();
        assert_eq!(covered(), 9);
        let options = StoreOptions::default();
        let core = opening::open_on(Box::new(kv.clone()), data.path(), None, Arc::clone(&SCHEMA), options);
        let core = core.unwrap();
        assert_eq!(covered(), 9, "the open does not wait for it");
        let store = Store::start(Arc::new(core));
        assert_eq!(versions(&store.snapshot()), entries);
        let since = Instant::now();
        while covered() > 0 {
            assert!(since.elapsed() < Duration::from_secs(60), "{} are left", covered());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
