//! The queue before the one writer, as the rest of the room sees it.

use super::{Applied, Asked, Context, SecretAsked, Settled, Writer};
use crate::directory::integrity::Integrity;
use crate::model::{Outcome, ResultCode};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{KeyedWrite, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(in crate::directory) struct Committer {
    queue: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
    pub suffixes: Vec<NormalizedDn>,
    /// Octets of the updates that wait, and how many there may be.
    waiting: Arc<AtomicUsize>,
    waiting_octets: usize,
}

/// What an update takes while it waits, and the entries that were read with it until they are answered.
#[derive(Debug)]
pub(in crate::directory) struct Room {
    waiting: Arc<AtomicUsize>,
    limit: usize,
    octets: usize,
}

impl Room {
    /// Takes more; one that is alone finds room whatever its size.
    ///
    /// # Errors
    /// busy.
    pub(in crate::directory) fn grow(&mut self, octets: usize) -> Result<(), Outcome> {
        let before = self.waiting.fetch_add(octets, Ordering::Relaxed);
        let alone = before == self.octets;
        self.octets += octets;
        match !alone && before.saturating_add(octets) > self.limit {
            true => Err(too_many_octets()),
            false => Ok(()),
        }
    }
}

fn too_many_octets() -> Outcome {
    Outcome::new(ResultCode::Busy, "too many bytes of updates are waiting; try again")
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

impl Committer {
    pub(in crate::directory) fn start(context: Context) -> Committer {
        let (queue, jobs) = sync_channel(context.limits.waiting_updates);
        let suffixes = context.suffixes.clone();
        let waiting_octets = context.limits.waiting_update_octets;
        let runtime = Handle::try_current().ok();
        let run = move || Writer::new(context, runtime).run(&mut Jobs::new(&jobs));
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(run).ok();
        Committer {
            queue: Some(queue),
            thread,
            suffixes,
            waiting: Arc::default(),
            waiting_octets,
        }
    }

    /// Room for an update of so many octets; one finds room whatever its size where none waits.
    ///
    /// # Errors
    /// busy.
    pub(in crate::directory) fn room(&self, octets: usize) -> Result<Room, Outcome> {
        let mut room = Room {
            waiting: Arc::clone(&self.waiting),
            limit: self.waiting_octets,
            octets: 0,
        };
        room.grow(octets).map(|()| room)
    }

    pub(in crate::directory) fn submit(&self, job: Job) -> Result<(), Outcome> {
        let stopping = || Outcome::new(ResultCode::Unavailable, "the server is stopping");
        self.queue
            .as_ref()
            .ok_or_else(stopping)?
            .try_send(Work::Job(job))
            .map_err(|fault| match fault {
                TrySendError::Full(_) => Outcome::new(ResultCode::Busy, "too many updates are waiting; try again"),
                TrySendError::Disconnected(_) => stopping(),
            })
    }

    /// Waits until the updates that came before are done, and another schema is in force for those that come after.
    pub(in crate::directory) fn change_schema(&self, change: SchemaChange) -> Result<(), StoreError> {
        let (reply, done) = sync_channel(1);
        let change = Box::new(change);
        let queue = self.queue.as_ref();
        let sent = queue.is_some_and(|queue| queue.send(Work::Schema { change, reply }).is_ok());
        match sent {
            true => done.recv().unwrap_or(Err(StoreError::Closing)),
            false => Err(StoreError::Closing),
        }
    }

    /// Waits until account bookkeeping is on disk.
    pub(in crate::directory) fn flush_bookkeeping(&self) {
        let (reply, done) = sync_channel(1);
        let queue = self.queue.as_ref();
        if queue.is_some_and(|queue| queue.send(Work::Job(Job::Bookkeeping { reply })).is_ok()) {
            // A writer that is gone drops the reply: nothing is left to wait for.
            let _ = done.recv();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been logged by the panic hook; there is no more to do here.
            let _ = thread.join();
        }
    }
}

/// What the writer takes from its queue.
pub(super) enum Work {
    Job(Job),
    /// Done between two groups.
    Schema {
        change: Box<SchemaChange>,
        reply: SyncSender<Result<(), StoreError>>,
    },
}

/// The writer's end of the queue, with what it took and has yet to do.
pub(super) struct Jobs<'q> {
    queue: &'q Receiver<Work>,
    /// Comes before what is in the queue.
    taken: VecDeque<Work>,
}

impl<'q> Jobs<'q> {
    fn new(queue: &'q Receiver<Work>) -> Jobs<'q> {
        Jobs {
            queue,
            taken: VecDeque::new(),
        }
    }

    pub(super) fn wait(&mut self, pause: Duration) -> Result<Work, RecvTimeoutError> {
        match self.taken.pop_front() {
            Some(work) => Ok(work),
            None => self.queue.recv_timeout(pause),
        }
    }

    /// The next update that may come into a group; what ends a group stays for after it.
    pub(super) fn next(&mut self) -> Option<Job> {
        let work = self.taken.pop_front().or_else(|| self.queue.try_recv().ok())?;
        match work {
            Work::Job(job) => Some(job),
            other => {
                self.taken.push_front(other);
                None
            }
        }
    }

    pub(super) fn gather(&mut self, limit: usize, waiting: &mut VecDeque<Job>) {
        while waiting.len() < limit {
            let Some(job) = self.next() else { return };
            waiting.push_back(job);
        }
    }

    /// Whether nothing that ends a group has come.
    pub(super) fn may_come(&self) -> bool {
        self.taken.is_empty()
    }

    /// What did not find room in a group is first in the next.
    pub(super) fn put_back(&mut self, waiting: VecDeque<Job>) {
        let waiting = waiting.into_iter().rev().map(Work::Job);
        waiting.for_each(|work| self.taken.push_front(work));
    }
}

pub(in crate::directory) enum Job {
    Update {
        asked: Box<Asked>,
        reply: oneshot::Sender<Applied>,
    },
    Secret {
        asked: Box<SecretAsked>,
        reply: oneshot::Sender<Outcome>,
    },
    /// Updates of which all are done or none.
    Transaction {
        updates: Vec<Asked>,
        reply: oneshot::Sender<Settled>,
    },
    /// The bookkeeping of one account is to be durable: what was used up must not come back.
    Keep {
        key: NormalizedDn,
        reply: oneshot::Sender<bool>,
    },
    Bookkeeping {
        reply: SyncSender<()>,
    },
}

/// Another schema, and what the writer has resolved against it.
pub(in crate::directory) struct SchemaChange {
    pub schema: Arc<Schema>,
    pub integrity: Integrity,
    /// What the store keeps of the change.
    pub written: KeyedWrite,
}
