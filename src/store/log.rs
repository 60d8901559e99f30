//! Files that journal groups are appended to: one write and one `fdatasync` a group.
//!
//! sled does the same in five times the CPU: its flush hands the write to a pool of threads, all of which wake for it. So what needs
//! no atomicity with anything else goes here, and the rest stays with sled. A file is a row of records, each the pairs of one append:
//! ```text
//! length of the rest u32, CRC-32 of the rest u32, then for each pair: length of the key u16, length of the value u32, key, value
//! ```
//! Integers are little-endian. The first record that is not whole ends a file: it was being written when the power went, so nobody was
//! told that it is there. Where more is lost than that, the mark and the hash chain say so. Files are made longer by zeros ahead of what
//! is written, because a write that changes a file's length costs the file system a transaction of its own.
//!
//! What is read at open may be in the kernel's memory and not on the disk: the process before was killed between write and sync, or its
//! sync failed. Only the last record can be so. It is written and synced once more before anything is built on it.

use super::StoreError;
use super::kv::{corrupt, io_error, sync_path};
use crate::index::octets::{u16_at, u32_at};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Octets before the pairs of a record.
const HEADER: usize = 8;
/// Octets before the key of a pair.
const PAIR: usize = 6;
/// A file this long is followed by another, so that what a compaction covers can be removed.
const FILE_OCTETS: u64 = 16 << 20;
/// Zeros that a file is made longer by.
const AHEAD: u64 = 1 << 20;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The files of one folder.
pub struct AppendLog {
    directory: PathBuf,
    file_octets: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By number, ascending. The last is written to.
    files: BTreeMap<u64, LogFile>,
    pairs: BTreeMap<Vec<u8>, Place>,
    /// The number of the file that was made last.
    last: u64,
}

struct LogFile {
    path: PathBuf,
    file: File,
    /// Where the last record found at open begins, where the next goes, and how long the file is.
    last: u64,
    end: u64,
    len: u64,
    /// Behind the end there is something else than zeros.
    littered: bool,
    /// Pairs that were not discarded.
    live: usize,
}

/// Where a value is.
#[derive(Clone, Copy)]
struct Place {
    file: u64,
    at: u64,
    len: u32,
}

impl AppendLog {
    /// Reads the files of a folder, which is made if it is not there.
    pub fn open(directory: &Path) -> Result<AppendLog, StoreError> {
        AppendLog::open_with(directory, FILE_OCTETS)
    }

    fn open_with(directory: &Path, file_octets: u64) -> Result<AppendLog, StoreError> {
        let faulty = |error| io_error(directory, error);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory).map_err(faulty)?;
        let mut numbers = Vec::new();
        for item in fs::read_dir(directory).map_err(faulty)? {
            let name = item.map_err(faulty)?.file_name();
            let name = name.to_string_lossy();
            let number = name.strip_suffix(".log").and_then(|number| number.parse::<u64>().ok());
            numbers.extend(number.filter(|number| name_of(*number) == name));
        }
        numbers.sort_unstable();
        let mut state = State::default();
        for number in numbers {
            state.read(number, directory.join(name_of(number)))?;
        }
        if let Some(file) = state.files.values().next_back() {
            file.settle().map_err(|error| io_error(&file.path, error))?;
        }
        sync_path(directory)?;
        Ok(AppendLog {
            directory: directory.to_path_buf(),
            file_octets,
            state: Mutex::new(state),
        })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes pairs durable, all or none. After an error nobody knows whether they are; the caller must write no more.
    pub fn append(&self, pairs: Vec<Pair>) -> Result<(), StoreError> {
        let mut state = self.locked();
        let full = state
            .files
            .last_key_value()
            .is_none_or(|(_, file)| file.end >= self.file_octets);
        if full {
            state.begin_file(&self.directory)?;
        }
        let Some((number, file)) = state.files.iter_mut().next_back() else {
            return Err(io_error(&self.directory, io::ErrorKind::NotFound.into()));
        };
        let (record, offsets) = record_of(&pairs);
        let (number, begin) = (*number, file.end);
        file.write(&record).map_err(|error| io_error(&file.path, error))?;
        if full {
            sync_path(&self.directory)?;
        }
        for ((key, value), offset) in pairs.into_iter().zip(offsets) {
            let place = Place {
                file: number,
                at: begin + offset as u64,
                len: value.len() as u32,
            };
            state.place(key, place);
        }
        Ok(())
    }

    /// The first pair from a bound on, and before `to`.
    pub fn next(&self, from: Bound<&[u8]>, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        let state = self.locked();
        let mut from_there = state.pairs.range::<[u8], _>((from, Bound::Unbounded));
        let Some((key, place)) = from_there.next().filter(|(key, _)| key.as_slice() < to) else {
            return Ok(None);
        };
        let Some(file) = state.files.get(&place.file) else {
            return Err(corrupt(&self.directory, "a file of the log is gone"));
        };
        let mut value = vec![0; place.len as usize];
        let read = file.file.read_exact_at(&mut value, place.at);
        read.map_err(|error| io_error(&file.path, error))?;
        Ok(Some((key.clone(), value)))
    }

    /// Forgets keys, and removes the files that none is left of. After a restart keys may be back whose files were not. Gives the keys that
    /// are not here.
    pub fn discard(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut state = self.locked();
        let State { files, pairs, .. } = &mut *state;
        let mut others = Vec::new();
        for key in keys {
            match pairs.remove(&key) {
                Some(place) => {
                    if let Some(file) = files.get_mut(&place.file) {
                        file.live -= 1;
                    }
                }
                None => others.push(key),
            }
        }
        let done: Vec<u64> = files
            .iter()
            .filter(|(_, file)| file.live == 0)
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            if let Some(file) = files.remove(&number) {
                fs::remove_file(&file.path).map_err(|error| io_error(&file.path, error))?;
            }
        }
        Ok(others)
    }
}

impl State {
    /// Adds what a file holds.
    fn read(&mut self, number: u64, path: PathBuf) -> Result<(), StoreError> {
        let faulty = |error| io_error(&path, error);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(faulty)?;
        let octets = fs::read(&path).map_err(faulty)?;
        self.files.insert(number, LogFile::new(path, file));
        self.last = number;
        let (mut at, mut last) = (0, 0);
        while let Some(record) = record_at(&octets, at) {
            let base = at + HEADER;
            let mut within = 0;
            while let Some((key, value)) = pair_at(record, within) {
                within += PAIR + key.len() + value.len();
                let place = Place {
                    file: number,
                    at: (base + within - value.len()) as u64,
                    len: value.len() as u32,
                };
                self.place(key.to_vec(), place);
            }
            (last, at) = (at, base + record.len());
        }
        let rest = octets.get(at..).unwrap_or_default();
        if let Some(file) = self.files.get_mut(&number) {
            file.littered = rest.iter().any(|octet| *octet != 0);
            (file.last, file.end, file.len) = (last as u64, at as u64, octets.len() as u64);
        }
        Ok(())
    }

    /// Says where the value of a key is, and no longer where it was.
    fn place(&mut self, key: Vec<u8>, place: Place) {
        let before = self.pairs.insert(key, place);
        if let Some(file) = before.and_then(|before| self.files.get_mut(&before.file)) {
            file.live -= 1;
        }
        if let Some(file) = self.files.get_mut(&place.file) {
            file.live += 1;
        }
    }

    /// Makes the file that is written to next.
    fn begin_file(&mut self, directory: &Path) -> Result<(), StoreError> {
        self.last += 1;
        let path = directory.join(name_of(self.last));
        let options = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = options.map_err(|error| io_error(&path, error))?;
        self.files.insert(self.last, LogFile::new(path, file));
        Ok(())
    }
}

impl LogFile {
    /// A file that holds nothing yet.
    fn new(path: PathBuf, file: File) -> LogFile {
        LogFile {
            path,
            file,
            last: 0,
            end: 0,
            len: 0,
            littered: false,
            live: 0,
        }
    }

    /// Makes what was found at open durable. After a failed sync the kernel calls pages clean that the disk does not have: only what is
    /// written again is synced. It is the same octets, so that a power cut meanwhile changes nothing.
    fn settle(&self) -> io::Result<()> {
        let mut record = vec![0; (self.end - self.last) as usize];
        self.file.read_exact_at(&mut record, self.last)?;
        self.file.write_all_at(&record, self.last)?;
        self.file.sync_all()
    }

    /// Writes a record behind the last, and makes it durable.
    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.littered) {
            // What is left of a record that was never whole must not be read as part of what follows this one, not even after a power cut
            // before the sync below.
            self.file.set_len(self.end)?;
            self.file.sync_all()?;
            self.len = self.end;
        }
        let end = self.end + record.len() as u64;
        if end > self.len {
            let len = end.next_multiple_of(AHEAD);
            self.file.write_all_at(&vec![0; (len - self.len) as usize], self.len)?;
            self.len = len;
        }
        self.file.write_all_at(record, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }
}

fn name_of(number: u64) -> String {
    format!("{number:08}.log")
}

/// A record of pairs, and where in it each value begins.
fn record_of(pairs: &[Pair]) -> (Vec<u8>, Vec<usize>) {
    let octets: usize = pairs.iter().map(|(key, value)| PAIR + key.len() + value.len()).sum();
    let mut record = Vec::with_capacity(HEADER + octets);
    record.extend_from_slice(&(octets as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    let mut offsets = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        record.extend_from_slice(&(key.len() as u16).to_le_bytes());
        record.extend_from_slice(&(value.len() as u32).to_le_bytes());
        record.extend_from_slice(key);
        offsets.push(record.len());
        record.extend_from_slice(value);
    }
    let checksum = crc32fast::hash(&record[HEADER..]);
    record[4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    (record, offsets)
}

/// The pairs of the record at an offset; `None` where it is not whole, and at the end.
fn record_at(octets: &[u8], at: usize) -> Option<&[u8]> {
    let header = octets.get(at..at.checked_add(HEADER)?)?;
    let len = u32_at(header, 0) as usize;
    let record = octets.get(at + HEADER..)?.get(..len)?;
    (len > 0 && crc32fast::hash(record) == u32_at(header, 4)).then_some(record)
}

fn pair_at(record: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let rest = record.get(at..)?;
    let (key, value) = (usize::from(u16_at(rest, 0)), u32_at(rest, 2) as usize);
    let (key, rest) = rest.get(PAIR..)?.split_at_checked(key)?;
    Some((key, rest.get(..value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(number: u8, len: usize) -> Pair {
        (vec![b'j', number], (0..len).map(|at| at as u8 ^ number).collect())
    }

    fn all(log: &AppendLog) -> Vec<Pair> {
        let (mut found, mut from) = (Vec::new(), Bound::Unbounded);
        let mut last;
        while let Some(pair) = log.next(from, b"z").unwrap() {
            last = pair.0.clone();
            found.push(pair);
            from = Bound::Excluded(last.as_slice());
        }
        found
    }

    fn names(directory: &Path) -> Vec<String> {
        let items = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = items
            .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_appended_is_there_after_reopening() {
        let place = tempfile::tempdir().unwrap();
        let log = AppendLog::open(place.path()).unwrap();
        assert_eq!(all(&log), []);
        log.append(vec![pair(1, 10), pair(2, 0)]).unwrap();
        log.append(vec![pair(3, 3_000_000)]).unwrap();
        log.append(vec![pair(4, 7)]).unwrap();
        let expected = [pair(1, 10), pair(2, 0), pair(3, 3_000_000), pair(4, 7)];
        assert_eq!(all(&log), expected);
        drop(log);
        let log = AppendLog::open(place.path()).unwrap();
        assert_eq!(all(&log), expected);
        assert_eq!(log.next(Bound::Included(b"j\x02"), b"j\x03").unwrap(), Some(pair(2, 0)));
        assert_eq!(log.next(Bound::Excluded(b"j\x02"), b"j\x03").unwrap(), None);
    }

    /// Of a record that was being written any sectors may have reached the disk.
    #[test]
    fn a_torn_record_is_none_and_what_follows_takes_its_place() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("00000001.log");
        let log = AppendLog::open(place.path()).unwrap();
        log.append(vec![pair(1, 500)]).unwrap();
        let before = fs::read(&path).unwrap();
        log.append(vec![pair(2, 400), pair(3, 700)]).unwrap();
        drop(log);
        let after = fs::read(&path).unwrap();
        let (begin, _) = record_of(&[pair(1, 500)]);
        let (record, _) = record_of(&[pair(2, 400), pair(3, 700)]);
        let (begin, end) = (begin.len(), begin.len() + record.len());
        for cut in begin..end {
            // All before the cut arrived, then all behind it, then the file ends there.
            let head = [&after[..cut], &before[cut..]].concat();
            let tail = [&before[..cut], &after[cut..]].concat();
            for (torn, whole) in [(&head[..], false), (&tail, cut == begin), (&after[..cut], false)] {
                fs::write(&path, torn).unwrap();
                let log = AppendLog::open(place.path()).unwrap();
                assert_eq!(all(&log).len(), if whole { 3 } else { 1 }, "cut at {cut}");
                if cut % 97 != 0 {
                    continue;
                }
                log.append(vec![pair(2, 5)]).unwrap();
                drop(log);
                let found = all(&AppendLog::open(place.path()).unwrap());
                assert_eq!(found[..2], [pair(1, 500), pair(2, 5)], "cut at {cut}");
                assert_eq!(found.len(), if whole { 3 } else { 2 }, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_left_of_a_torn_record_is_never_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("00000001.log");
        // A value that reads as a record of its own where the next one ends.
        let (inner, _) = record_of(&[pair(9, 20)]);
        let (short, _) = record_of(&[pair(2, 5)]);
        let mut outer = vec![0; short.len() - HEADER - PAIR - 2];
        outer.extend_from_slice(&inner);
        let (mut torn, _) = record_of(&[(b"j\x02".to_vec(), outer)]);
        torn[4] ^= 1;
        fs::write(&path, torn).unwrap();
        let log = AppendLog::open(place.path()).unwrap();
        assert_eq!(all(&log), []);
        log.append(vec![pair(2, 5)]).unwrap();
        drop(log);
        assert_eq!(all(&AppendLog::open(place.path()).unwrap()), [pair(2, 5)]);
    }

    /// The process that wrote it may have been killed before its sync, or told that the sync failed.
    #[test]
    fn the_last_record_is_written_again_at_open() {
        let place = tempfile::tempdir().unwrap();
        let pairs: Vec<Pair> = (1..4).map(|number| pair(number, 700)).collect();
        let log = AppendLog::open_with(place.path(), 1_000).unwrap();
        pairs.iter().for_each(|pair| log.append(vec![pair.clone()]).unwrap());
        drop(log);
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let files = ["00000001.log", "00000002.log"].map(|name| {
            let file = File::options().write(true).open(place.path().join(name)).unwrap();
            file.set_modified(long_ago).unwrap();
            file
        });
        let log = AppendLog::open_with(place.path(), 1_000).unwrap();
        assert_eq!(all(&log), pairs);
        let written = files.map(|file| file.metadata().unwrap().modified().unwrap() != long_ago);
        assert_eq!(
            written,
            [false, true],
            "a file is begun when the one before is on the disk"
        );
    }

    /// A key that comes twice is where it was written last, and the file of the first goes without it.
    #[test]
    fn a_key_counts_where_it_was_written_last() {
        let place = tempfile::tempdir().unwrap();
        let log = AppendLog::open_with(place.path(), 100).unwrap();
        log.append(vec![pair(1, 200)]).unwrap();
        log.append(vec![pair(1, 300), pair(2, 5)]).unwrap();
        drop(log);
        let log = AppendLog::open_with(place.path(), 100).unwrap();
        log.append(vec![pair(3, 5)]).unwrap();
        assert!(log.discard(vec![pair(2, 5).0]).unwrap().is_empty());
        assert_eq!(all(&log), [pair(1, 300), pair(3, 5)]);
        assert_eq!(names(place.path()), ["00000002.log", "00000003.log"]);
    }

    #[test]
    fn files_of_other_names_are_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let log = AppendLog::open(place.path()).unwrap();
        log.append(vec![pair(1, 5)]).unwrap();
        drop(log);
        for name in ["1.log", "+0000002.log", "00000007.log.bak", "x.log"] {
            fs::copy(place.path().join("00000001.log"), place.path().join(name)).unwrap();
        }
        let log = AppendLog::open(place.path()).unwrap();
        assert!(log.discard(vec![pair(1, 5).0]).unwrap().is_empty());
        log.append(vec![pair(2, 5)]).unwrap();
        assert_eq!(names(place.path()).len(), 5);
        drop(log);
        assert_eq!(all(&AppendLog::open(place.path()).unwrap()), [pair(2, 5)]);
    }

    #[test]
    fn a_flipped_bit_ends_the_file_before_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("00000001.log");
        let log = AppendLog::open(place.path()).unwrap();
        let pairs: Vec<Pair> = (1..6).map(|number| pair(number, 40)).collect();
        for pair in &pairs {
            log.append(vec![pair.clone()]).unwrap();
        }
        drop(log);
        let sound = fs::read(&path).unwrap();
        let each = record_of(&pairs[..1]).0.len();
        for at in 0..each * pairs.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, damaged).unwrap();
            assert_eq!(
                all(&AppendLog::open(place.path()).unwrap()),
                pairs[..at / each],
                "octet {at}"
            );
        }
    }

    #[test]
    fn files_go_when_nothing_of_them_is_wanted() {
        let place = tempfile::tempdir().unwrap();
        let open = || AppendLog::open_with(place.path(), 1_000).unwrap();
        let log = open();
        let pairs: Vec<Pair> = (1..9).map(|number| pair(number, 600)).collect();
        for pair in &pairs {
            log.append(vec![pair.clone()]).unwrap();
        }
        assert_eq!(names(place.path()).len(), 4);
        let keys = |range: std::ops::Range<usize>| pairs[range].iter().map(|pair| pair.0.clone()).collect::<Vec<_>>();
        let mut some = keys(0..5);
        some.push(b"elsewhere".to_vec());
        assert_eq!(log.discard(some).unwrap(), [b"elsewhere".to_vec()]);
        assert_eq!(all(&log), pairs[5..]);
        assert_eq!(names(place.path()), ["00000003.log", "00000004.log"]);
        drop(log);
        let log = open();
        assert_eq!(all(&log), pairs[4..], "its file is still there");
        assert!(log.discard(keys(4..8)).unwrap().is_empty());
        assert_eq!(names(place.path()), [] as [&str; 0]);
        log.append(vec![pairs[0].clone()]).unwrap();
        assert_eq!(names(place.path()), ["00000005.log"]);
        drop(log);
        assert_eq!(all(&open()), pairs[..1]);
    }
}
