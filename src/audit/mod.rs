//! Who saw what: an append-only, hash-chained record of every bind, search, write and administrative act.
//!
//! Useful for: keeping one JSON line for each act, and reading them back ([`read`]). Not for: logs of the program
//! (`tracing`), counters ([`crate::metrics`]).
//!
//! Invariants: never a secret; writing never waits for the disk on the caller's path; a record that could not be written is
//! counted and said; records are JSON lines, one object each, and no text of a client can begin a line or end a string.
//!
//! A line is `{"n":<number>,<body>,"chain":"<32 hex>"}`: numbers go up by one, and the chain is the first half of
//! SHA-256 over the chain of the line before (16 octets) and the octets of this line up to `,"chain"`. Every file begins
//! with a line of act `begin` that repeats the chain it continues, so that files can be verified after older ones expired. How far
//! it is on disk stands beside it ([`mark`]), so that what a power cut tears is told from what somebody changed.

mod mark;
pub mod read;
mod record;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use record::{Act, Actor, AuditRecord};

/// The longest a caller waits for room in the queue before its record is lost (and counted).
const FULL_QUEUE_WAIT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Bytes waiting for the writer before callers wait for it.
    pub queue_bytes: usize,
    /// Bytes of one file before the next is begun.
    pub file_bytes: u64,
    /// Days a file is kept.
    pub keep_days: u32,
    /// Binds that are refused without a look at who it is, anonymous ones for example, that have a record of their own in one second.
    pub refusals_per_second: u32,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            queue_bytes: 8 << 20,
            file_bytes: 256 << 20,
            keep_days: 730,
            refusals_per_second: 20,
        }
    }
}

/// The audit log of one data directory. Dropping it writes what is queued.
pub struct Audit {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    queue_bytes: usize,
}

/// What callers and the writer share.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer waits here for records, a flush, or the end.
    work: Condvar,
    /// Callers wait here for room, or for their flush.
    progress: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Bodies, each after its length as four octets.
    bodies: Vec<u8>,
    appended: u64,
    /// Records the writer is done with, and their data is on disk.
    flushed: u64,
    /// A caller waits until as many are flushed.
    flush_to: u64,
    /// The writer waits for a notification, however long.
    asleep: bool,
    stopping: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// Opens `<dir>/audit`, continuing the chain. What a crash or a power cut tore is set aside, and a note line says so.
    ///
    /// # Errors
    /// The folder or its newest file cannot be read or written.
    pub fn open(dir: &Path, options: AuditOptions) -> std::io::Result<Audit> {
        let shared = Arc::new(Shared::default());
        let queue_bytes = options.queue_bytes;
        let mut writer = writer::Writer::open(&dir.join("audit"), options)?;
        let for_writer = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&for_writer))?;
        Ok(Audit {
            shared,
            writer: Some(handle),
            queue_bytes,
        })
    }

    /// Appends a finished record: a copy into the queue. Where the queue is full the caller waits a bounded time;
    /// after that the record is lost, which is counted and logged.
    pub fn append(&self, record: &AuditRecord) {
        let body = record.body();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut queue = self.shared.queue();
        if queue.bodies.len() >= self.queue_bytes {
            queue = self.wait_for_room(queue);
            if queue.bodies.len() >= self.queue_bytes {
                drop(queue);
                if self.shared.lost.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
                    tracing::error!("audit records are lost: the disk does not take them");
                }
                return;
            }
        }
        queue.bodies.extend_from_slice(&length);
        queue.bodies.extend_from_slice(body);
        queue.appended += 1;
        if std::mem::take(&mut queue.asleep) {
            drop(queue);
            self.shared.work.notify_one();
        }
    }

    fn wait_for_room<'q>(&self, mut queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        let until = Instant::now() + FULL_QUEUE_WAIT;
        self.shared.work.notify_one();
        while queue.bodies.len() >= self.queue_bytes {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.progress.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    /// Waits until everything appended so far is in the file and on disk, or is counted as lost.
    pub fn flush(&self) {
        let mut queue = self.shared.queue();
        let to = queue.appended;
        queue.flush_to = queue.flush_to.max(to);
        queue.asleep = false;
        self.shared.work.notify_one();
        let gone = || self.writer.as_ref().is_none_or(JoinHandle::is_finished);
        while queue.flushed < to && !gone() {
            let waited = self.shared.progress.wait_timeout(queue, Duration::from_secs(1));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records that could not be written since the start.
    #[cfg(test)]
    fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.shared.queue().stopping = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            _ = writer.join();
        }
    }
}
