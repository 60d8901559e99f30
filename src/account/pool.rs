//! The argon2 pool: a bounded number of threads with a bounded queue, each with memory it uses again.

use super::stored::Memory;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The most threads, whatever is configured: each holds the memory of one argon2 run.
const THREADS_MAX: usize = 64;
/// How much a verification gives way to what serves connections: where both want a core it gets a tenth. A storm of wrong
/// binds takes what is left over.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

pub(super) struct Pool {
    jobs: SyncSender<Job>,
    /// Jobs queued or running.
    busy: Arc<AtomicUsize>,
}

/// Counts one job for as long as it lives, also when it panics or is thrown away.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(busy: &Arc<AtomicUsize>) -> Counted {
        busy.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(busy))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Busy;

impl Pool {
    /// With `threads` 0 half of the cores: the other half is left to who is bound already.
    pub(super) fn new(threads: usize, queue: usize) -> Pool {
        let (jobs, waiting) = sync_channel::<Job>(queue.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2),
            threads => threads,
        };
        for number in 0..threads.clamp(1, THREADS_MAX) {
            let waiting = Arc::clone(&waiting);
            let started = std::thread::Builder::new()
                .name(format!("argon2-{number}"))
                .spawn(move || work(&waiting));
            if let Err(error) = started {
                tracing::error!(%error, "cannot start a thread of the argon2 pool; binds are slower or answered busy");
            }
        }
        Pool {
            jobs,
            busy: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Runs `job` on a thread of the pool. The job is left out when nobody waits for its answer any more.
    ///
    /// # Errors
    /// [`Busy`] where the queue is full.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Busy> {
        let (answer, wait) = oneshot::channel();
        let counted = Counted::new(&self.busy);
        let whole: Job = Box::new(move |memory| {
            if !answer.is_closed() {
                let done = job(memory);
                drop(counted);
                _ = answer.send(done);
            }
        });
        self.jobs.try_send(whole).map(|()| wait).map_err(|_| Busy)
    }

    /// Runs a job whose answer nobody waits for, only where no other job does.
    pub(super) fn submit_idle(&self, job: impl FnOnce(&mut Memory) + Send + 'static) {
        if self.busy.load(Ordering::Relaxed) == 0 {
            _ = self.jobs.try_send(Box::new(job));
        }
    }
}

/// Until the pool is dropped.
fn work(waiting: &Mutex<Receiver<Job>>) {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "a thread of the argon2 pool stays as urgent as those that serve");
    }
    let mut memory = Memory::default();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if catch_unwind(AssertUnwindSafe(|| job(&mut memory))).is_err() {
            tracing::error!("a verification on the argon2 pool panicked; it was answered as a failure");
            memory = Memory::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T30: a storm of binds takes what is left over by those that serve.
    #[tokio::test]
    async fn threads_of_the_pool_give_way() {
        let niceness = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The 19th field; the second is a name in parentheses.
            let behind_name = stat.rsplit(") ").next().unwrap();
            behind_name.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
        };
        let here = niceness();
        let there = Pool::new(1, 1).submit(move |_| niceness()).unwrap().await.unwrap();
        assert_eq!(there, (here + NICE).min(19));
    }
}
