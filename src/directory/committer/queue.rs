//! The queue before the one writer, as the rest of the room sees it.

use super::{Applied, Asked, Context, SecretAsked, Settled, Writer};
use crate::directory::integrity::Integrity;
use crate::model::{Outcome, ResultCode};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{KeyedWrite, StoreError};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

pub(in crate::directory) struct Committer {
    queue: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
    pub suffixes: Vec<NormalizedDn>,
}

impl Committer {
    pub(in crate::directory) fn start(context: Context) -> Committer {
        let (queue, jobs) = sync_channel(context.limits.waiting_updates);
        let suffixes = context.suffixes.clone();
        let run = move || Writer::new(context).run(&jobs);
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(run).ok();
        Committer {
            queue: Some(queue),
            thread,
            suffixes,
        }
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
