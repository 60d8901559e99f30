//! Keeping the overlay small: the tail becomes a segment in memory, segments in memory become fewer, larger ones.
//!
//! The work is done beside the writer. What was hidden in an input meanwhile is hidden in the output when that takes its
//! place, under the writer's lock; so every entry stays visible in exactly one place, and a write waits for no merge.

use super::snapshot::{HiddenSet, Layer, Snapshot, TailEntry};
use super::{Core, Segment, StoreError, Writer, compaction, locked};
use crate::index::EntryId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Segments of about one size before they become one. Fewer make searches cheaper, more make writes cheaper.
const FAN_OUT: usize = 6;
/// A commit itself makes a segment of the tail when the thread has let it grow to so many times its limit.
const TAIL_BACK_PRESSURE: usize = 16;
/// How long a moved mark may stay in the page cache, and once more as long where writing stops.
const MARK_SYNC: Duration = Duration::from_secs(1);
/// How much the store's own threads give way to what serves: where both want a core these get a quarter.
const NICE: i32 = 5;

/// Tells the overlay's thread that there is work, or that it should end.
#[derive(Default)]
pub(super) struct Wake {
    state: Mutex<WakeState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakeState {
    work: bool,
    stop: bool,
}

impl Wake {
    pub(super) fn wake(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).work = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stop
    }

    /// Waits for so long; says whether it was told to stop.
    pub(super) fn stops_within(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// Waits for work, at most [`MARK_SYNC`]; says whether there was some, `None` when told to stop.
    fn wait(&self) -> Option<bool> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(state, MARK_SYNC, |state| !state.work && !state.stop);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let work = std::mem::take(&mut state.work);
        (!state.stop).then_some(work)
    }
}

/// The store's own threads.
pub(super) struct Maintenance {
    overlay: Option<JoinHandle<()>>,
}

impl Maintenance {
    pub(super) fn start(core: Arc<Core>) -> Maintenance {
        let run = move || {
            give_way();
            let compacting = Arc::new(AtomicBool::new(true));
            let mut compactor = begin(&core, &compacting, compaction::forget_leftovers);
            let mut mark_synced = Instant::now();
            while let Some(work) = core.wake.wait() {
                // A tail is evaluated by every search: when writing rests, even a short one becomes a segment.
                settle(&core, if work { core.options.tail_entries } else { 0 });
                // Each sync competes for the disk with the commits.
                if mark_synced.elapsed() >= MARK_SYNC {
                    core.sync_mark();
                    return_memory();
                    mark_synced = Instant::now();
                }
                if compaction_is_due(&core) && !compacting.swap(true, Ordering::AcqRel) {
                    compactor = begin(&core, &compacting, compact);
                }
            }
            if let Some(compactor) = compactor {
                let _ = compactor.join();
            }
        };
        let overlay = std::thread::Builder::new().name("overlay".to_owned()).spawn(run);
        if let Err(error) = &overlay {
            tracing::warn!(%error, "no thread for merging changes; commits will do it");
        }
        Maintenance { overlay: overlay.ok() }
    }

    pub(super) fn stop(mut self, core: &Core) {
        core.wake.stop();
        if let Some(overlay) = self.overlay.take() {
            let _ = overlay.join();
        }
    }
}

/// Who waits for an answer comes before this thread, and the compactions that it starts, where both want a core.
pub(super) fn give_way() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "merging and compacting run as urgently as what serves");
    }
}

/// The allocator gives what was freed back to the system a second later, when something large is freed then. After a compaction, where
/// nothing is changed any more, nobody else does that, and the memory of its work would stay the process's.
fn return_memory() {
    const LARGE: usize = 1 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// Counts changes and their octets rather than entries: the journal is what a start has to read. Indexes that were made by other rules are
/// made anew at once.
fn compaction_is_due(core: &Core) -> bool {
    let outdated = compaction::has_indexes_set_aside(&core.published.load());
    let writer = core.lock_writer();
    let changes = writer.position.sequence - writer.manifest.applied.sequence;
    let octets = writer.journal_octets.saturating_sub(writer.covered_octets);
    let options = &core.options;
    let is_long = changes >= options.compact_after_entries as u64 || octets >= options.compact_after_octets;
    core.fault.get().is_none() && (outdated || is_long)
}

/// A compaction, or what was left of one.
type Work = fn(&Core, compaction::Rest<'_>) -> Result<(), StoreError>;

/// Compacts in a thread of its own, at half speed, so that merging goes on.
fn begin(core: &Arc<Core>, compacting: &Arc<AtomicBool>, work: Work) -> Option<JoinHandle<()>> {
    let (core, again, compacting) = (Arc::clone(core), Arc::clone(compacting), Arc::clone(compacting));
    let run = move || {
        let mut pace = compaction::Pace::half();
        match work(&core, &mut || {
            pace.rest();
            if core.wake.is_stopped() {
                Err(StoreError::Closing)
            } else {
                Ok(())
            }
        }) {
            Ok(()) | Err(StoreError::Closing) => {}
            Err(error) => {
                tracing::warn!(%error, "compaction failed; the journal keeps growing until it succeeds");
                // A full disk must not be tried again and again.
                for _ in 0..60 {
                    if !core.wake.is_stopped() {
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        }
        compacting.store(false, Ordering::Release);
    };
    let thread = std::thread::Builder::new().name("compaction".to_owned()).spawn(run);
    if thread.is_err() {
        again.store(false, Ordering::Release);
    }
    thread.ok()
}

fn compact(core: &Core, pace: compaction::Rest<'_>) -> Result<(), StoreError> {
    compaction::compact(core, pace)?;
    tracing::info!("compacted");
    Ok(())
}

/// Whether the overlay's thread should look.
pub(super) fn is_due(core: &Core, snapshot: &Snapshot) -> bool {
    core.options.background && snapshot.tail.len() > core.options.tail_entries
}

/// Called within a commit: without a thread of its own the store settles the overlay here; with one, only if that lags.
pub(super) fn bound_tail(core: &Core, writer: &Writer, snapshot: &mut Snapshot) {
    let limit = core.options.tail_entries;
    if core.options.background {
        if snapshot.tail.len() > limit.saturating_mul(TAIL_BACK_PRESSURE) {
            freeze_all(snapshot);
        }
        return;
    }
    if snapshot.tail.len() > limit {
        freeze_all(snapshot);
        while let Some(inputs) = next_merge(core, writer, snapshot) {
            let output = merge(&inputs, snapshot);
            *snapshot = replaced(snapshot, &inputs, Arc::new(output), false);
        }
    }
}

/// Does what is due: a tail of more than so many entries into a segment, then merges, until nothing is.
fn settle(core: &Core, tail_entries: usize) {
    let _merging = locked(&core.merging);
    if core.published.load().tail.len() > tail_entries {
        freeze(core);
    }
    loop {
        let snapshot = core.published.load_full();
        let inputs = next_merge(core, &core.lock_writer(), &snapshot);
        let Some(inputs) = inputs else { break };
        let output = Arc::new(merge(&inputs, &snapshot));
        let _writer = core.lock_writer();
        let next = replaced(&core.published.load(), &inputs, output, false);
        core.published.store(Arc::new(next));
    }
    give_missed_substrings(&core.published.load());
}

/// Makes the substrings that searches went without.
pub(super) fn give_missed_substrings(snapshot: &Snapshot) {
    let segments = || snapshot.layers.iter().map(|layer| &layer.segment);
    if segments().any(|segment| segment.has_missed_substrings()) {
        segments().for_each(|segment| segment.make_wanted_substrings());
    }
}

/// Makes the tail as it is now a segment while the writer goes on.
fn freeze(core: &Core) {
    let before = core.published.load_full();
    let segment = Arc::new(build(&before));
    let _writer = core.lock_writer();
    let next = frozen(&core.published.load(), &before.tail, segment);
    core.published.store(Arc::new(next));
}

/// The snapshot with `segment`, made of the tail as it was, in the place of what of that is still in the tail.
pub(super) fn frozen(now: &Snapshot, before: &[Arc<TailEntry>], segment: Arc<Segment>) -> Snapshot {
    let mut next = now.clone();
    let mut layer = Layer::new(segment);
    let mut rest = now.tail.iter().cloned().peekable();
    let mut kept = Vec::new();
    for (id, entry_before) in before.iter().enumerate() {
        while let Some(entry) = rest.next_if(|entry| entry.key < entry_before.key) {
            kept.push(entry);
        }
        if rest.next_if(|entry| Arc::ptr_eq(entry, entry_before)).is_none() {
            layer.hidden.insert(EntryId(id as u32));
        }
    }
    kept.extend(rest);
    next.tail = Arc::new(kept);
    if !layer.is_empty() {
        next.layers.push(layer);
    }
    next
}

/// Makes the whole tail a segment, for a caller who holds the writer's lock.
pub(super) fn freeze_all(snapshot: &mut Snapshot) {
    if !snapshot.tail.is_empty() {
        let segment = build(snapshot);
        snapshot.layers.push(Layer::new(Arc::new(segment)));
        snapshot.tail = Arc::default();
    }
}

/// A segment of the tail.
pub(super) fn build(snapshot: &Snapshot) -> Segment {
    let entries = snapshot.tail.iter();
    let entries: Vec<_> = entries
        .map(|entry| (entry.key.clone(), Arc::clone(&entry.record)))
        .collect();
    Segment::build(&entries, snapshot.schema(), snapshot.wanted())
}

/// The smallest size of which there are [`FAN_OUT`] segments in memory that nobody else is reading; those segments.
fn next_merge(core: &Core, writer: &Writer, snapshot: &Snapshot) -> Option<Vec<Layer>> {
    let mapped = usize::from(writer.manifest.segment.is_some());
    let free = snapshot
        .layers
        .iter()
        .skip(mapped)
        .filter(|layer| !is_claimed(writer, layer));
    let mut sizes: Vec<Vec<&Layer>> = Vec::new();
    for layer in free {
        let ratio = layer.len() as usize / core.options.tail_entries.max(1);
        let size = if ratio < 2 { 0 } else { ratio.ilog(FAN_OUT) as usize };
        if sizes.len() <= size {
            sizes.resize(size + 1, Vec::new());
        }
        sizes[size].push(layer);
    }
    let due = sizes.into_iter().find(|layers| layers.len() >= FAN_OUT)?;
    Some(due.into_iter().cloned().collect())
}

fn is_claimed(writer: &Writer, layer: &Layer) -> bool {
    writer
        .claimed
        .iter()
        .any(|claimed| Arc::ptr_eq(claimed, &layer.segment))
}

/// One segment of what is visible in several. All are in memory, so their records have the schema's type numbers.
fn merge(inputs: &[Layer], snapshot: &Snapshot) -> Segment {
    let segments: Vec<&Segment> = inputs.iter().map(|layer| &*layer.segment).collect();
    let hides = |input: usize, id| inputs[input].hidden.contains(id);
    Segment::merge(&segments, &hides, snapshot.schema(), snapshot.wanted())
}

/// Calls `each` with id and key of every visible entry, ascending, until it returns false.
pub(super) fn for_each_visible_key(layer: &Layer, each: &mut dyn FnMut(EntryId, &[u8]) -> bool) {
    layer.segment.names().scan(0..layer.segment.len(), |ordinal, key| {
        let id = EntryId(ordinal.0);
        layer.hidden.contains(id) || each(id, key)
    });
}

/// The snapshot with `output` in the place of `inputs`, as those were when the merge began. A layer with nothing visible is
/// left out unless it is the `base`, which the manifest names.
pub(super) fn replaced(now: &Snapshot, inputs: &[Layer], output: Arc<Segment>, base: bool) -> Snapshot {
    let mut next = now.clone();
    let mut hidden = HiddenSet::default();
    let mut at = None;
    next.layers.clear();
    for layer in &now.layers {
        let Some(input) = inputs.iter().find(|input| Arc::ptr_eq(&input.segment, &layer.segment)) else {
            next.layers.push(layer.clone());
            continue;
        };
        at.get_or_insert(next.layers.len());
        for id in layer.hidden.since(&input.hidden) {
            if let Some(id) = output.find(&layer.key(id)) {
                hidden.insert(id);
            }
        }
    }
    let layer = Layer {
        segment: output,
        hidden,
    };
    if base || !layer.is_empty() {
        next.layers.insert(at.unwrap_or(0), layer);
    }
    if base {
        next.forget_wanted();
    }
    next
}

/// Takes every layer for a compaction; the tail becomes one first.
pub(super) fn claim_all(core: &Core, writer: &mut Writer) -> Snapshot {
    let mut snapshot = Snapshot::clone(&core.published.load());
    freeze_all(&mut snapshot);
    writer.tables_since = vec![writer.table];
    writer.claimed = snapshot.layers.iter().map(|layer| Arc::clone(&layer.segment)).collect();
    core.published.store(Arc::new(snapshot.clone()));
    snapshot
}
