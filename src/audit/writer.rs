//! The thread that writes: numbers, chains, rotates, removes what has expired.

use super::mark::{Mark, MarkFile};
use super::read::{self, End, Link};
use super::record::{append_number, append_text};
use super::{AuditOptions, Queue, Shared};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long records are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(20);
/// How long the writer goes on polling after the last record, so that callers need not wake it.
const POLL: Duration = Duration::from_secs(1);
const SYNC_EVERY: Duration = Duration::from_secs(1);
const DAY_SECONDS: u64 = 86_400;
/// The last page of the file is still written to.
const PAGE: u64 = 4096;

pub(super) struct Writer {
    directory: PathBuf,
    options: AuditOptions,
    file: File,
    number: u64,
    /// Octets of the file that are whole lines.
    size: u64,
    link: Link,
    /// What failed before may have left half a line behind `size`.
    torn: bool,
    /// Records that a line says are lost.
    told: u64,
    unsynced: bool,
    last_sync: Instant,
    /// Says how far the log is synced.
    mark: MarkFile,
    /// A sync failed: what the file has of it is not known, and no later sync tells.
    doubtful: bool,
    lines: Vec<u8>,
    /// Octets of the file that the page cache was told to let go of.
    let_go_to: u64,
}

/// The chain value of a line: half of SHA-256 over the value before and the line's octets up to `,"chain"`.
pub(super) fn chained(before: &[u8; 16], line: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::new().chain_update(before).chain_update(line).finalize().into();
    std::array::from_fn(|at| digest[at])
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:08}.jsonl")
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Writer {
    pub(super) fn open(directory: &Path, options: AuditOptions) -> io::Result<Writer> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let files = read::files(directory)?;
        let mark = Mark::read(directory)?;
        let mut writer = Writer {
            directory: directory.to_owned(),
            options,
            file: File::open(directory)?,
            number: files.last().map_or(0, |(number, _)| *number),
            size: 0,
            link: Link::default(),
            torn: false,
            told: 0,
            unsynced: false,
            last_sync: Instant::now(),
            mark: MarkFile::open(directory)?,
            doubtful: false,
            lines: Vec::new(),
            let_go_to: 0,
        };
        let notes = writer.go_on(&files, mark)?;
        if writer.size == 0 {
            writer.next_file()?;
        }
        for note in notes {
            tracing::warn!("audit: {note}");
            writer.note(&note);
        }
        writer.remove_expired();
        writer.write_lines()?;
        writer.sync_now()?;
        Ok(writer)
    }

    /// Finds the end of the log and what it is to be continued from; gives what there is to note of it.
    fn go_on(&mut self, files: &[(u64, PathBuf)], mark: Option<Mark>) -> io::Result<Vec<String>> {
        let start = match &mark {
            Some(mark) => mark.start_in(files)?,
            None => None,
        };
        if let (Some((from, link)), Some((_, path))) = (start, files.last()) {
            let end = read::followed(path, from, link)?;
            let link = end.link.clone().and_then(Result::ok).unwrap_or(link);
            return self.take_end(path, &end, link);
        }
        let mut notes = Vec::new();
        if let Some(mark) = mark {
            notes.push(format!(
                "records up to number {} were on disk, and the log does not have them as they were",
                mark.link.number
            ));
        }
        for (number, path) in files.iter().rev() {
            let mut end = read::end_of_file(path)?;
            let last = *number == self.number;
            match end.link.take() {
                Some(Ok(link)) if last => notes.extend(self.take_end(path, &end, link)?),
                Some(Ok(link)) => self.link = link,
                Some(Err(error)) => notes.push(format!(
                    "the last line of {} cannot be continued: {error}",
                    file_name(*number)
                )),
                None if last && end.torn > 0 => {
                    notes.push(self.set_aside(path, &end)?);
                    continue;
                }
                None => continue,
            }
            break;
        }
        Ok(notes)
    }

    /// Goes on behind the whole lines of the newest file.
    fn take_end(&mut self, path: &Path, end: &End, link: Link) -> io::Result<Vec<String>> {
        self.link = link;
        let notes = match end.torn {
            0 => Vec::new(),
            _ => vec![self.set_aside(path, end)?],
        };
        self.file = open_file(path)?;
        self.size = end.whole;
        self.file.seek(SeekFrom::Start(end.whole))?;
        Ok(notes)
    }

    /// Keeps what a crash left behind the whole lines beside the file, and cuts it off.
    fn set_aside(&self, path: &Path, end: &End) -> io::Result<String> {
        let aside = path.with_extension("torn");
        let mut from = File::open(path)?;
        from.seek(SeekFrom::Start(end.whole))?;
        let mut to = OpenOptions::new().create(true).append(true).mode(0o600).open(&aside)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end.whole)?;
        file.sync_all()?;
        let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!(
            "{} octets that a crash or a power cut left unfinished were set aside in {name}",
            end.torn
        ))
    }

    /// Begins the next file. Where its first line cannot be written the one before stays.
    fn next_file(&mut self) -> io::Result<()> {
        if self.size > 0 {
            self.cut_torn()?;
            // One of which nobody knows what is on disk stays as it is.
            if !self.doubtful {
                self.sync_now()?;
            }
        }
        let number = self.number + 1;
        let path = self.directory.join(file_name(number));
        let file = open_file(&path)?;
        file.set_len(0)?;
        File::open(&self.directory)?.sync_all()?;
        let before = (std::mem::replace(&mut self.file, file), self.number, self.size);
        (self.number, self.size) = (number, 0);
        let begun = self.begin_file();
        if begun.is_err() {
            (self.file, self.number, self.size) = before;
            self.torn = false;
            // It is empty, or half a line: the next try writes over it.
            let _ = std::fs::remove_file(&path);
        } else {
            self.doubtful = false;
            self.let_go_to = 0;
        }
        begun
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let mut body = self.note_body("begin");
        body.extend_from_slice(b",\"previous\":\"");
        body.extend_from_slice(&read::hex(&self.link.chain));
        body.push(b'"');
        self.line(&body);
        self.write_lines()
    }

    fn note_body(&self, act: &str) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(b"\"t\":");
        append_number(milliseconds(), &mut body);
        body.extend_from_slice(b",\"act\":");
        append_text(act.as_bytes(), &mut body);
        body
    }

    fn note(&mut self, detail: &str) {
        let mut body = self.note_body("note");
        body.extend_from_slice(b",\"detail\":");
        append_text(detail.as_bytes(), &mut body);
        self.line(&body);
    }

    /// Adds one line to those that wait to be written.
    fn line(&mut self, body: &[u8]) {
        let at = self.lines.len();
        self.link.number += 1;
        self.lines.extend_from_slice(b"{\"n\":");
        append_number(self.link.number, &mut self.lines);
        self.lines.push(b',');
        self.lines.extend_from_slice(body);
        let line = self.lines.get(at..).unwrap_or_default();
        self.link.chain = chained(&self.link.chain, line);
        self.lines.extend_from_slice(b",\"chain\":\"");
        self.lines.extend_from_slice(&read::hex(&self.link.chain));
        self.lines.extend_from_slice(b"\"}\n");
    }

    /// Takes away what a failed write left.
    fn cut_torn(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.size)?;
            self.file.seek(SeekFrom::Start(self.size))?;
            self.torn = false;
        }
        Ok(())
    }

    fn write_lines(&mut self) -> io::Result<()> {
        self.cut_torn()?;
        if self.lines.is_empty() {
            return Ok(());
        }
        self.torn = true;
        self.file.write_all(&self.lines)?;
        self.torn = false;
        self.size += self.lines.len() as u64;
        self.lines.clear();
        self.unsynced = true;
        Ok(())
    }

    /// Until the audit is dropped: gathers, writes, syncs.
    pub(super) fn run(&mut self, shared: &Shared) {
        let mut bodies = Vec::new();
        let mut last_record = Instant::now();
        loop {
            let mut queue = shared.queue();
            while queue.bodies.is_empty() && !queue.stopping && queue.flush_to <= queue.flushed {
                let idle = last_record.elapsed() >= POLL && !self.unsynced;
                queue = pause(shared, queue, idle);
                if self.unsynced && self.last_sync.elapsed() >= SYNC_EVERY {
                    break;
                }
            }
            if !queue.stopping
                && queue.flush_to <= queue.flushed
                && !queue.bodies.is_empty()
                && queue.bodies.len() < self.options.queue_bytes
            {
                // Let a batch gather; a flush, the end or a full queue cuts it short.
                queue = pause(shared, queue, false);
            }
            std::mem::swap(&mut bodies, &mut queue.bodies);
            let (appended, stopping) = (queue.appended, queue.stopping);
            let asked = stopping || queue.flush_to > queue.flushed;
            drop(queue);
            shared.progress.notify_all();
            if !bodies.is_empty() {
                last_record = Instant::now();
                self.write_batch(&bodies, shared);
                bodies.clear();
            }
            if self.unsynced && (asked || self.last_sync.elapsed() >= SYNC_EVERY) {
                self.sync();
            }
            let mut queue = shared.queue();
            if asked {
                queue.flushed = appended;
                shared.progress.notify_all();
            }
            if stopping && queue.bodies.is_empty() {
                return;
            }
        }
    }

    /// Has what is written on disk, and says so beside it.
    fn sync_now(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        // What a sync failed for no later one tells of: it is not said to be on disk, and the page cache may have the only copy.
        if self.doubtful {
            return Ok(());
        }
        self.let_go();
        self.mark.write(&Mark {
            file: self.number,
            size: self.size,
            link: self.link,
        })
    }

    /// Nobody reads soon what is on disk: the memory that the page cache has for it is given to what comes next. The log of a busy server
    /// would push the directory out of memory otherwise, and each of its pages be a new one.
    fn let_go(&mut self) {
        let end = self.size / PAGE * PAGE;
        #[cfg(target_os = "linux")]
        if let Some(len) = end.checked_sub(self.let_go_to).and_then(NonZeroU64::new) {
            let _ = rustix::fs::fadvise(&self.file, self.let_go_to, Some(len), rustix::fs::Advice::DontNeed);
        }
        self.let_go_to = end;
    }

    fn sync(&mut self) {
        self.last_sync = Instant::now();
        self.unsynced = false;
        match self.sync_now() {
            Ok(()) => {}
            Err(error) => {
                self.doubtful = true;
                tracing::error!(%error, "the audit log could not be synced to disk; records since the last second may be lost at a power cut");
            }
        }
    }

    fn write_batch(&mut self, bodies: &[u8], shared: &Shared) {
        let count = count_bodies(bodies);
        // Those too that found the queue full.
        let lost = shared.lost.load(Ordering::Relaxed);
        // After a sync that failed a file of which all is known is begun.
        let (doubtful, rotate) = (self.doubtful, self.doubtful || self.size >= self.options.file_bytes);
        let rotated = match rotate {
            true => self.attempt(Writer::next_file),
            false => Ok(()),
        };
        if let Err(error) = &rotated {
            tracing::error!(%error, "the next file of the audit log cannot be begun: the one before goes on");
        }
        let written = self.attempt(|writer| {
            if rotate && rotated.is_ok() {
                writer.remove_expired();
            }
            if doubtful && rotated.is_ok() {
                writer.note("the disk failed to sync the end of the file before: records of it may be missing after a power cut");
            }
            if lost > writer.told {
                let note = format!("{} records before this line could not be written", lost - writer.told);
                writer.note(&note);
            }
            each_body(bodies, |body| writer.line(body));
            writer.write_lines()
        });
        match written {
            Ok(()) => self.told = lost,
            Err(error) => {
                let lost = shared.lost.fetch_add(count, Ordering::Relaxed) + count;
                tracing::error!(%error, lost, "the audit log cannot be written; free or repair the disk");
            }
        }
    }

    /// Writes all of it or nothing: after a failure number and chain are as before.
    fn attempt(&mut self, write: impl FnOnce(&mut Writer) -> io::Result<()>) -> io::Result<()> {
        let before = self.link;
        let written = write(self);
        if written.is_err() {
            self.lines.clear();
            self.link = before;
        }
        written
    }

    /// Removes files last written longer ago than they are to be kept, and notes it.
    fn remove_expired(&mut self) {
        let keep = Duration::from_secs(u64::from(self.options.keep_days) * DAY_SECONDS);
        let Ok(files) = read::files(&self.directory) else {
            return;
        };
        for (number, path) in files {
            let age = path.metadata().and_then(|metadata| metadata.modified());
            let expired = age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > keep));
            if number == self.number || !expired {
                // Files are in order: what follows an unexpired one stays, so that the chain has no hole.
                break;
            }
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    // Few have one.
                    let _ = std::fs::remove_file(path.with_extension("torn"));
                    self.note(&format!(
                        "{} was removed after {} days",
                        file_name(number),
                        self.options.keep_days
                    ));
                }
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "an expired audit file could not be removed")
                }
            }
        }
    }
}

fn count_bodies(bodies: &[u8]) -> u64 {
    let mut count = 0;
    each_body(bodies, |_| count += 1);
    count
}

/// Bodies as the queue holds them: each after its length.
fn each_body(mut bodies: &[u8], mut each: impl FnMut(&[u8])) {
    while let Some((length, after)) = bodies.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((body, after)) = after.split_at_checked(length) else {
            return;
        };
        each(body);
        bodies = after;
    }
}

/// Waits for the next gathering, or when nothing comes any more until somebody notifies.
fn pause<'q>(shared: &Shared, mut queue: MutexGuard<'q, Queue>, idle: bool) -> MutexGuard<'q, Queue> {
    if idle {
        queue.asleep = true;
        let mut queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        queue.asleep = false;
        return queue;
    }
    let waited = shared.work.wait_timeout(queue, GATHER);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a disk lost that failed to sync it, no later sync brings back: nothing is said to be on disk then, and another file begins.
    #[test]
    fn after_a_sync_that_fails_a_file_begins_of_which_all_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), AuditOptions::default()).unwrap();
        let before = Mark::read(dir.path()).unwrap().unwrap();
        // It takes everything, and cannot be synced.
        writer.file = OpenOptions::new().write(true).open("/dev/null").unwrap();
        writer.note("lost");
        writer.write_lines().unwrap();
        writer.sync();
        assert!(writer.doubtful);
        assert_eq!(Mark::read(dir.path()).unwrap(), Some(before));
        let body = b"\"act\":\"bind\"";
        let queued = [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat();
        writer.write_batch(&queued, &Shared::default());
        writer.sync();
        assert!(!writer.doubtful);
        let after = Mark::read(dir.path()).unwrap().unwrap();
        assert_eq!((before.file, after.file), (1, 2));
        let lines = read::last_lines(dir.path(), 2).unwrap();
        let noted = lines[0].text_of("detail").unwrap();
        assert!(noted.contains("failed to sync the end of the file before"), "{noted}");
        assert_eq!(lines[1].text_of("act"), Some("bind"));
        drop(writer);
        // What is missing is a fault, and says so.
        let fault = read::verify(dir.path()).unwrap().unwrap_err();
        assert!(
            fault.file == "00000002.jsonl" && fault.message.contains("lines are missing"),
            "{fault}"
        );
    }

    /// Of a file that a sync failed for, nothing is said to be on disk, and the page cache keeps what may be nowhere else.
    #[test]
    fn a_doubtful_file_keeps_its_pages_and_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), AuditOptions::default()).unwrap();
        let before = Mark::read(dir.path()).unwrap().unwrap();
        // A sync failed, and the next file cannot be begun.
        writer.doubtful = true;
        std::fs::create_dir(dir.path().join(file_name(2))).unwrap();
        let body = [&b"\"act\":\"bind\",\"detail\":\""[..], &[b'x'; 10_000], b"\""].concat();
        let queued = [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat();
        writer.write_batch(&queued, &Shared::default());
        writer.sync();
        assert!(writer.doubtful && writer.size > 10_000);
        assert_eq!(writer.let_go_to, 0, "the only copy may be in memory");
        assert_eq!(Mark::read(dir.path()).unwrap(), Some(before), "no later sync tells");
    }
}
