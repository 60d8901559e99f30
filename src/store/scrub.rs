//! Reading the mapped segment again and again, so that a damaged octet is found before much is answered from it.
//!
//! Opening a segment costs the same whatever its size, so its sections are not read then. This thread reads them, at a quarter of its
//! time and with a buffer of its own, so that what it reads does not become the process's memory.

use super::kv::io_error;
use super::overlay::give_way;
use super::{Core, StoreError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Octets read at once.
const PIECE: usize = 1 << 20;
/// How many times as long as it works the thread rests.
const RESTS: u32 = 3;
const REST_MAX: Duration = Duration::from_millis(200);

/// The thread. Ended by the store's wake.
pub(super) struct Scrub(Option<JoinHandle<()>>);

impl Scrub {
    pub(super) fn start(core: Arc<Core>, every: Duration) -> Scrub {
        let run = move || {
            give_way();
            loop {
                match pass(&core) {
                    Ok(()) => {}
                    Err(StoreError::Closing) => return,
                    Err(error) => tracing::error!(%error, "the data could not be read through"),
                }
                if core.damage.get().is_some() || core.wake.stops_within(every) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("scrub".to_owned()).spawn(run);
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for reading the data through; `nhsdir check` does it with the server stopped");
        }
        Scrub(thread.ok())
    }

    pub(super) fn join(mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

/// Reads every section of the segment that the manifest names.
fn pass(core: &Core) -> Result<(), StoreError> {
    let Some((path, segment)) = core.base() else {
        return Ok(());
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        // A compaction took its place, and read it before.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(&path, error)),
    };
    let mut buffer = vec![0; PIECE];
    for section in segment.sections() {
        let mut found = crc32fast::Hasher::new();
        for at in section.range.clone().step_by(PIECE) {
            let since = Instant::now();
            let piece = buffer.get_mut(..PIECE.min(section.range.end - at)).unwrap_or_default();
            file.read_exact_at(piece, at as u64)
                .map_err(|error| io_error(&path, error))?;
            found.update(piece);
            if core.wake.stops_within((since.elapsed() * RESTS).min(REST_MAX)) {
                return Err(StoreError::Closing);
            }
        }
        if found.finalize() != section.checksum {
            core.note_damage(&path, &section.fault());
            return Ok(());
        }
    }
    Ok(())
}
