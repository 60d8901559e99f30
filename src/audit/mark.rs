//! How far the log is known to be on disk, kept beside it in the file `synced`.
//!
//! It is written when the log has been synced, and never before, so what it covers no power cut takes away: where that is not as it was,
//! somebody changed it, or the disk is broken. What lies behind it may be torn, and says nothing of anybody.

use super::read::{self, Link};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The end of what was synced: a place in one of the log's files, and the chain there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub file: u64,
    pub size: u64,
    pub link: Link,
}

/// Where the file is written. Two slots are written in turn: a torn write spoils one of them.
pub(super) struct MarkFile {
    file: File,
    /// How often it was written.
    turn: u64,
}

const NAME: &str = "synced";
const MAGIC: &[u8; 8] = b"NHSSYNC1";
const SLOTS: u64 = 2;
/// Further apart than what a disk writes at once.
const SLOT_OCTETS: u64 = 4096;
const BODY_OCTETS: usize = 8 + 4 * 8 + 16;
const CHECK_OCTETS: usize = 16;

impl Mark {
    /// The newest that can be read, if any.
    pub fn read(directory: &Path) -> io::Result<Option<Mark>> {
        match File::open(directory.join(NAME)) {
            Ok(file) => Ok(newest(&file)?.map(|(mark, _)| mark)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the log's last file goes on behind what was synced, and from which link. `None` where the log does not have all of that.
    pub fn start_in(&self, files: &[(u64, PathBuf)]) -> io::Result<Option<(u64, Link)>> {
        let Some((_, path)) = files.iter().find(|(number, _)| *number == self.file) else {
            return Ok(None);
        };
        if std::fs::metadata(path)?.len() < self.size || read::link_at(path, self.size)? != Some(self.link) {
            return Ok(None);
        }
        let mut later = files.iter().filter(|(number, _)| *number > self.file).rev();
        if later.next().is_none() {
            return Ok(Some((self.size, self.link)));
        }
        // A file is begun when the one before is synced to its end; one that was torn at its beginning is empty.
        let mut between = later.map(|(_, path)| std::fs::metadata(path).map(|facts| facts.len()));
        let is_whole = std::fs::metadata(path)?.len() == self.size;
        let follows = is_whole && between.all(|length| length.is_ok_and(|length| length == 0));
        Ok(follows.then_some((0, self.link)))
    }

    fn encode(&self, turn: u64) -> Vec<u8> {
        let mut octets = Vec::with_capacity(BODY_OCTETS + CHECK_OCTETS);
        octets.extend_from_slice(MAGIC);
        for number in [turn, self.file, self.size, self.link.number] {
            octets.extend_from_slice(&number.to_le_bytes());
        }
        octets.extend_from_slice(&self.link.chain);
        let check = check(&octets);
        octets.extend_from_slice(&check);
        octets
    }

    /// The mark and its turn; `None` where the slot was torn, damaged or never written.
    fn decode(slot: &[u8]) -> Option<(Mark, u64)> {
        let (body, rest) = slot.split_at_checked(BODY_OCTETS)?;
        if !body.starts_with(MAGIC) || rest.get(..CHECK_OCTETS)? != check(body) {
            return None;
        }
        let number = |at: usize| body.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let link = Link {
            number: number(32)?,
            chain: body.get(40..)?.try_into().ok()?,
        };
        let mark = Mark {
            file: number(16)?,
            size: number(24)?,
            link,
        };
        Some((mark, number(8)?))
    }
}

fn check(octets: &[u8]) -> [u8; CHECK_OCTETS] {
    let digest: [u8; 32] = Sha256::digest(octets).into();
    std::array::from_fn(|at| digest[at])
}

fn newest(file: &File) -> io::Result<Option<(Mark, u64)>> {
    let mut found: Option<(Mark, u64)> = None;
    for slot in 0..SLOTS {
        let mut octets = [0; BODY_OCTETS + CHECK_OCTETS];
        match file.read_exact_at(&mut octets, slot * SLOT_OCTETS) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        }
        let newer = Mark::decode(&octets).filter(|(_, turn)| found.is_none_or(|(_, other)| *turn > other));
        found = newer.or(found);
    }
    Ok(found)
}

impl MarkFile {
    pub fn open(directory: &Path) -> io::Result<MarkFile> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(directory.join(NAME))?;
        if file.metadata()?.len() != SLOTS * SLOT_OCTETS {
            file.set_len(SLOTS * SLOT_OCTETS)?;
            file.sync_all()?;
            File::open(directory)?.sync_all()?;
        }
        let turn = newest(&file)?.map_or(0, |(_, turn)| turn);
        Ok(MarkFile { file, turn })
    }

    /// Call it when everything up to there is on disk.
    pub fn write(&mut self, mark: &Mark) -> io::Result<()> {
        let turn = self.turn + 1;
        self.file.write_all_at(&mark.encode(turn), turn % SLOTS * SLOT_OCTETS)?;
        self.turn = turn;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(size: u64) -> Mark {
        Mark {
            file: 3,
            size,
            link: Link {
                number: size / 10,
                chain: [size as u8; 16],
            },
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), None);
        let mut file = MarkFile::open(dir.path()).unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), None);
        for size in [70, 50, 90] {
            file.write(&mark(size)).unwrap();
            assert_eq!(
                Mark::read(dir.path()).unwrap(),
                Some(mark(size)),
                "the last, not the greatest"
            );
        }
        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        let slot = usize::try_from(3 % SLOTS * SLOT_OCTETS).unwrap();
        for at in 0..BODY_OCTETS + CHECK_OCTETS {
            let mut flipped = whole.clone();
            flipped[slot + at] ^= 1 << (at % 8);
            std::fs::write(&path, flipped).unwrap();
            assert_eq!(Mark::read(dir.path()).unwrap(), Some(mark(50)), "octet {at}");
        }
        std::fs::write(&path, whole).unwrap();
        MarkFile::open(dir.path()).unwrap().write(&mark(95)).unwrap();
        assert_eq!(Mark::read(dir.path()).unwrap(), Some(mark(95)));
    }
}
