//! What the journal asks of a disk: small values under ordered keys, atomic durable batches, and the marks beside them.
//!
//! Appended groups are in files of their own (`log.rs`), all else is in sled. [`SledKv`] is the only code that names it. sled as documented loses acknowledged writes at a power cut and often does
//! not open again; used by seven rules it does not (`docs/store-format.md` gives each with its reason):
//! 1. after `flush`, `fdatasync` on a descriptor of our own, and only then acknowledge;
//! 2. after every open, fsync `conf`, `db`, `blobs/`, the directory and its parent;
//! 3. default segment size, values under 4 KiB (`cell.rs` cuts larger ones), so `blobs/` stays empty;
//! 4. before open, delete `snap.*.generating`;
//! 5. every value is bound to its key by a checksum, the journal is a hash chain, the mark outside sled tells a lost tail,
//!    and a panic inside sled is an error here;
//! 6. the first I/O error ends all writing until a restart (`mod.rs` keeps that), and no fsync is tried twice;
//! 7. between two syncs less is written than a segment holds: deletions are synced too, some at a time.

use super::StoreError;
use super::log::AppendLog;
use super::mark::MarkFile;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Writes that become durable together or not at all. A later write of a key wins over an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// `None` deletes.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.push((key, Some(value)));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.push((key, None));
    }
}

/// A disk as the journal sees it. The second implementation is in memory and loses power on demand (`faulty.rs`).
pub trait Kv: Send + Sync {
    /// Calls `each` with every pair whose key is in `from..to`, ascending, until it returns false.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError>;

    /// Makes a batch durable. After an error nobody knows whether it is; the caller must write no more.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Writes pairs in their order, each atomic, then makes all durable. After a power cut before the end the first few may
    /// be there and the rest not. Costs a fraction of a commit.
    fn append(&self, pairs: Batch) -> Result<(), StoreError>;

    /// Deletes bit by bit: after a power cut, or a restart, keys may be back.
    fn discard(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError>;

    /// Both slots of the mark file, one after the other.
    fn read_marks(&self) -> Result<Vec<u8>, StoreError>;

    /// Writes one slot; durable only after [`Kv::sync_marks`], but never lost by the end of the process.
    fn write_mark(&self, slot: usize, bytes: &[u8]) -> Result<(), StoreError>;

    fn sync_marks(&self) -> Result<(), StoreError>;

    /// Faults of the container itself, for `check`.
    fn check(&self, fault: &mut dyn FnMut(String)) -> Result<(), StoreError>;

    /// Where it is, for messages.
    fn place(&self) -> &Path;
}

/// Keys that sled forgets between two syncs. A page is written anew for some, and what is not synced must stay shorter than a segment of
/// sled's log, 512 KiB: the header of a later one says that all before is on the disk, and a recovery that believes it while that is
/// torn clears what it needs.
const DISCARDED_AT_ONCE: usize = 32;

/// A sled database in a directory of its own, the files of what is appended, and the mark file.
pub struct SledKv {
    directory: PathBuf,
    database: sled::Db,
    /// Our own descriptor of sled's log file: what `fdatasync` is called on.
    log: File,
    appended: AppendLog,
    marks: MarkFile,
}

impl SledKv {
    /// Opens or makes the database in `directory`, whose parent holds the folder `appended` and the mark file `mark`.
    ///
    /// # Errors
    /// `Io` with advice, `Corrupt` when sled cannot read its files.
    pub fn open(directory: &Path, appended: &Path, mark: &Path, cache_bytes: u64) -> Result<SledKv, StoreError> {
        std::fs::create_dir_all(directory).map_err(|e| io_error(directory, e))?;
        remove_unfinished_snapshots(directory)?;
        let open = || {
            sled::Config::default()
                .path(directory)
                .cache_capacity(cache_bytes)
                .flush_every_ms(None)
                .open()
        };
        let database = match catch_unwind(|| patiently(open)) {
            Ok(Ok(database)) => database,
            Ok(Err(error)) => return Err(sled_error(directory, error)),
            Err(_) => return Err(corrupt(directory, "the journal cannot be read (sled panicked at open)")),
        };
        let log_path = directory.join("db");
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|e| io_error(&log_path, e))?;
        sync_path(&directory.join("conf"))?;
        log.sync_all().map_err(|e| io_error(&log_path, e))?;
        sync_path(&directory.join("blobs"))?;
        sync_path(directory)?;
        let appended = AppendLog::open(appended)?;
        let marks = MarkFile::open(mark)?;
        sync_path(parent(directory))?;
        Ok(SledKv {
            directory: directory.to_path_buf(),
            database,
            log,
            appended,
            marks,
        })
    }

    fn guarded<T>(&self, what: &str, run: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(sled_error(&self.directory, error)),
            Err(_) => Err(corrupt(
                &self.directory,
                &format!("the journal cannot be {what} (sled panicked)"),
            )),
        }
    }
}

impl Kv for SledKv {
    fn scan(&self, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let mut appended = self.appended.next(Bound::Included(from), to)?;
        let mut unread = None;
        // Gives what was appended before a key, and at the end the rest; false when no more is wanted.
        let mut appended_before = |limit: Option<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool| {
            while let Some((key, value)) = appended.take_if(|pair| limit.is_none_or(|limit| pair.0.as_slice() < limit))
            {
                if !each(&key, &value) {
                    return false;
                }
                match self.appended.next(Bound::Excluded(&key), to) {
                    Ok(next) => appended = next,
                    Err(error) => {
                        unread = Some(error);
                        return false;
                    }
                }
            }
            true
        };
        let to_the_end = self.guarded("read", || {
            for pair in self.database.range(from..to) {
                let (key, value) = pair?;
                if !appended_before(Some(&key), each) || !each(&key, &value) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if to_the_end {
            appended_before(None, each);
        }
        unread.map_or(Ok(()), Err)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.guarded("written", || {
            let mut sled_batch = sled::Batch::default();
            for (key, value) in batch.writes {
                match value {
                    Some(value) => sled_batch.insert(key, value),
                    None => sled_batch.remove(key),
                }
            }
            self.database.apply_batch(sled_batch)?;
            self.database.flush()
        })?;
        self.log
            .sync_data()
            .map_err(|e| io_error(&self.directory.join("db"), e))
    }

    fn append(&self, pairs: Batch) -> Result<(), StoreError> {
        if pairs.writes.iter().any(|(_, value)| value.is_none()) {
            // Only sled forgets a key for good.
            return self.commit(pairs);
        }
        let puts = pairs.writes.into_iter().filter_map(|(key, value)| Some((key, value?)));
        self.appended.append(puts.collect())
    }

    fn discard(&self, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let keys = self.appended.discard(keys)?;
        keys.chunks(DISCARDED_AT_ONCE).try_for_each(|keys| {
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.delete(key.clone()));
            self.commit(batch)
        })
    }

    fn read_marks(&self) -> Result<Vec<u8>, StoreError> {
        self.marks.read()
    }

    fn write_mark(&self, slot: usize, bytes: &[u8]) -> Result<(), StoreError> {
        self.marks.write(slot, bytes)
    }

    fn sync_marks(&self) -> Result<(), StoreError> {
        self.marks.sync()
    }

    fn check(&self, fault: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let blobs = self.directory.join("blobs");
        for item in std::fs::read_dir(&blobs).map_err(|e| io_error(&blobs, e))? {
            let item = item.map_err(|e| io_error(&blobs, e))?;
            fault(format!(
                "{}: sled keeps no value here that is under 4 KiB, so there should be none",
                item.path().display()
            ));
        }
        Ok(())
    }

    fn place(&self) -> &Path {
        &self.directory
    }
}

/// A kill while sled writes its own snapshot leaves a file that makes every later open fail.
fn remove_unfinished_snapshots(directory: &Path) -> Result<(), StoreError> {
    for item in std::fs::read_dir(directory).map_err(|e| io_error(directory, e))? {
        let item = item.map_err(|e| io_error(directory, e))?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(item.path()).map_err(|e| io_error(&item.path(), e))?;
        }
    }
    Ok(())
}

/// Fsyncs a file or a directory.
pub fn sync_path(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| io_error(path, e))
}

/// The directory a path lies in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// An I/O error with what to do about it.
pub fn io_error(path: &Path, cause: io::Error) -> StoreError {
    let advice = match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on this disk, then start nhsdir again",
        io::ErrorKind::PermissionDenied => "give the user that nhsdir runs as read and write access to it",
        io::ErrorKind::ReadOnlyFilesystem => "mount this file system read-write, then start nhsdir again",
        io::ErrorKind::NotFound => "check the path; if the file is lost, restore the latest backup",
        io::ErrorKind::AlreadyExists => "another file is in the way: choose another path",
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => "check the path",
        _ => "check the disk and the system log, then start nhsdir again",
    };
    StoreError::Io {
        path: path.display().to_string(),
        advice,
        cause,
    }
}

pub fn corrupt(path: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt {
        path: path.display().to_string(),
        detail: detail.to_owned(),
    }
}

/// How often, and after which pause, a database that is still locked is opened again.
const LOCKED_TRIES: u32 = 200;
const LOCKED_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// sled lets go of its file on a thread of its own, a moment after its last handle was dropped. Another process is kept out by our
/// own lock, so a file that is locked is one this process is about to let go of.
fn patiently(open: impl Fn() -> sled::Result<sled::Db>) -> sled::Result<sled::Db> {
    for _ in 0..LOCKED_TRIES {
        match open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCKED_PAUSE);
            }
            done => return done,
        }
    }
    open()
}

fn sled_error(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => io_error(path, source),
        other => corrupt(path, &format!("the journal cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(data: &Path) -> Result<SledKv, StoreError> {
        SledKv::open(&data.join("journal"), &data.join("log"), &data.join("mark"), 1 << 20)
    }

    fn pairs(kv: &dyn Kv) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        kv.scan(b"a", b"z", &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn a_file_that_is_about_to_be_let_go_is_waited_for() {
        let data = tempfile::tempdir().unwrap();
        drop(open(data.path()).unwrap());
        let file = File::open(data.path().join("journal/db")).unwrap();
        file.lock().unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            drop(file);
        });
        open(data.path()).unwrap();
        holder.join().unwrap();
    }

    #[test]
    fn a_batch_is_there_after_reopening() {
        let data = tempfile::tempdir().unwrap();
        let kv = open(data.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(b"a1".to_vec(), b"one".to_vec());
        batch.put(b"a2".to_vec(), b"two".to_vec());
        kv.commit(batch).unwrap();
        let mut batch = Batch::default();
        batch.delete(b"a1".to_vec());
        kv.commit(batch).unwrap();
        drop(kv);
        assert_eq!(
            pairs(&open(data.path()).unwrap()),
            vec![(b"a2".to_vec(), b"two".to_vec())]
        );
    }

    /// What was appended and what was committed in batches is one row of keys, before and after reopening.
    #[test]
    fn appended_pairs_lie_among_the_others() {
        let data = tempfile::tempdir().unwrap();
        let kv = open(data.path()).unwrap();
        let pair = |number: usize| {
            (
                format!("b{number:02}").into_bytes(),
                format!("value {number}").into_bytes(),
            )
        };
        let batch = |numbers: &[usize]| {
            let mut batch = Batch::default();
            numbers
                .iter()
                .map(|number| pair(*number))
                .for_each(|(key, value)| batch.put(key, value));
            batch
        };
        kv.append(batch(&[0])).unwrap();
        kv.commit(batch(&[3, 4])).unwrap();
        kv.append(batch(&[5, 6])).unwrap();
        kv.append(batch(&[7])).unwrap();
        kv.commit(batch(&[8])).unwrap();
        kv.append(batch(&[9])).unwrap();
        let all: Vec<_> = [0, 3, 4, 5, 6, 7, 8, 9].map(pair).into();
        let within = |kv: &dyn Kv, from: &[u8], to: &[u8], most: usize| {
            let mut found = Vec::new();
            kv.scan(from, to, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                found.len() < most
            })
            .unwrap();
            found
        };
        assert_eq!(pairs(&kv), all);
        assert_eq!(within(&kv, b"b04", b"b07", 9), all[2..5]);
        assert_eq!(within(&kv, b"b", b"c", 4), all[..4]);
        assert_eq!(within(&kv, b"b", b"c", 3), all[..3]);
        let mut deletion = Batch::default();
        deletion.delete(pair(3).0);
        kv.append(deletion).unwrap();
        kv.discard([0, 4, 5, 6, 7].map(|number| pair(number).0).into()).unwrap();
        assert_eq!(pairs(&kv), [8, 9].map(pair));
        drop(kv);
        let found = pairs(&open(data.path()).unwrap());
        assert!(found.ends_with(&[8, 9].map(pair)), "{found:?}");
        assert!(!found.contains(&pair(3)) && !found.contains(&pair(4)), "{found:?}");
    }

    /// What stays in sled's buffers piles up over several segments of its log, and none of it is synced.
    #[test]
    fn what_sled_forgets_is_in_its_file() {
        let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kv = open(data.path()).unwrap();
        let mut batch = Batch::default();
        (0..99u8).for_each(|n| batch.put(vec![b'b', n], vec![n; 300]));
        kv.commit(batch).unwrap();
        kv.discard((0..98).map(|n| vec![b'b', n]).collect()).unwrap();
        std::fs::create_dir_all(copy.path().join("journal/blobs")).unwrap();
        for name in ["conf", "db"] {
            let [from, to] = [&data, &copy].map(|place| place.path().join("journal").join(name));
            std::fs::copy(from, to).unwrap();
        }
        assert_eq!(pairs(&open(copy.path()).unwrap()), [(vec![b'b', 98], vec![98; 300])]);
    }

    #[test]
    fn an_unfinished_sled_snapshot_does_not_stop_the_open() {
        let data = tempfile::tempdir().unwrap();
        drop(open(data.path()).unwrap());
        let left = data.path().join("journal/snap.0000000000000042.generating");
        std::fs::write(&left, b"half").unwrap();
        drop(open(data.path()).unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn a_file_in_blobs_is_a_fault() {
        let data = tempfile::tempdir().unwrap();
        let kv = open(data.path()).unwrap();
        let mut faults = Vec::new();
        kv.check(&mut |fault| faults.push(fault)).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        std::fs::write(data.path().join("journal/blobs/17"), b"x").unwrap();
        kv.check(&mut |fault| faults.push(fault)).unwrap();
        assert_eq!(faults.len(), 1);
    }
}
