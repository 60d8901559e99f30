//! Reading the audit log back: verifying the chain, the last lines, the lines about one account or entry.

use super::mark::Mark;
use super::writer::{chained, file_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where a chain stands: the number and the chain value of its last line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    pub number: u64,
    pub chain: [u8; 16],
}

/// What [`verify`] walked over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Verified {
    pub files: u64,
    pub lines: u64,
    /// Number of the first line; over 1 where older files have expired.
    pub first: u64,
    pub last: u64,
    /// Octets behind the last of them that were not synced and do not follow: a power cut leaves such, and the next start sets them
    /// aside.
    pub torn: u64,
}

/// The first line that breaks the chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct AuditFault {
    pub file: String,
    pub line: u64,
    pub message: String,
}

/// One line, parsed.
#[derive(Clone, PartialEq, Debug)]
pub struct AuditLine {
    pub text: String,
    members: Map<String, Value>,
}

/// The end of one file.
pub(super) struct End {
    /// Octets of whole lines.
    pub whole: u64,
    /// Octets behind them.
    pub torn: u64,
    /// The last whole line's link; `None` without a line.
    pub link: Option<Result<Link, String>>,
}

/// The log's files by number, oldest first. No folder is no files.
pub fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        if let (Some(number), Some("jsonl")) = (number, path.extension().and_then(|extension| extension.to_str())) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn hex(octets: &[u8; 16]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, octet) in text.chunks_exact_mut(2).zip(octets) {
        pair[0] = DIGITS[usize::from(octet >> 4)];
        pair[1] = DIGITS[usize::from(octet & 15)];
    }
    text
}

fn unhex(text: &[u8]) -> Option<[u8; 16]> {
    let mut octets = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(text.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(octets)
}

/// A line without its line feed, taken apart: what is hashed, its number, and the chain value it claims.
fn take_apart(line: &[u8]) -> Result<(&[u8], Link), String> {
    const TAIL: &[u8] = b",\"chain\":\"";
    let wrong = || "expected {\"n\":<number>,...,\"chain\":\"<32 hex>\"}".to_owned();
    // The tail has a fixed length: 10 octets, 32 digits, two more.
    let at = line.len().checked_sub(TAIL.len() + 34).ok_or_else(wrong)?;
    let (hashed, tail) = line.split_at(at);
    let chain = tail
        .strip_prefix(TAIL)
        .and_then(|tail| tail.strip_suffix(b"\"}"))
        .and_then(unhex);
    let digits = hashed.strip_prefix(b"{\"n\":").ok_or_else(wrong)?;
    let digits = digits.split(|octet| *octet == b',').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    match (number, chain) {
        (Some(number), Some(chain)) => Ok((hashed, Link { number, chain })),
        _ => Err(wrong()),
    }
}

pub(super) fn end_of_file(path: &Path) -> io::Result<End> {
    let length = std::fs::metadata(path)?.len();
    let mut lines = Tail::open(path, length)?;
    let torn = lines.torn()?;
    let link = lines.previous()?.map(|line| take_apart(&line).map(|(_, link)| link));
    Ok(End {
        whole: length - torn,
        torn,
        link,
    })
}

/// The link of the line that ends at an octet of a file; `None` where none does.
pub(super) fn link_at(path: &Path, at: u64) -> io::Result<Option<Link>> {
    let mut lines = Tail::open(path, at)?;
    match lines.torn()? {
        0 => Ok(lines.previous()?.and_then(|line| Some(take_apart(&line).ok()?.1))),
        _ => Ok(None),
    }
}

/// The end of a file by its chain: whole is what follows line by line from an octet and the link there.
pub(super) fn followed(path: &Path, from: u64, mut link: Link) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from))?;
    let (mut reader, mut line, mut whole) = (BufReader::new(file), Vec::new(), from);
    loop {
        line.clear();
        let octets = reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            break;
        }
        match follow(Some(link), &line) {
            Ok(next) => link = next,
            Err(_) => break,
        }
        whole += octets as u64;
    }
    Ok(End {
        whole,
        torn: length.saturating_sub(whole),
        link: Some(Ok(link)),
    })
}

/// The lines of a file from its end.
struct Tail {
    file: File,
    /// Octets of the file before `held`.
    before: u64,
    held: Vec<u8>,
}

const TAIL_STEP: u64 = 64 << 10;

impl Tail {
    fn open(path: &Path, length: u64) -> io::Result<Tail> {
        Ok(Tail {
            file: File::open(path)?,
            before: length,
            held: Vec::new(),
        })
    }

    fn read_more(&mut self) -> io::Result<()> {
        // Steps double with what is held, so that a long line is not copied over and over.
        let step = TAIL_STEP.max(self.held.len() as u64).min(self.before);
        self.before -= step;
        self.file.seek(SeekFrom::Start(self.before))?;
        let mut head = vec![0; usize::try_from(step).unwrap_or(usize::MAX)];
        self.file.read_exact(&mut head)?;
        head.append(&mut self.held);
        self.held = head;
        Ok(())
    }

    /// Drops the octets after the last line feed and gives their number.
    fn torn(&mut self) -> io::Result<u64> {
        loop {
            if let Some(at) = self.held.iter().rposition(|octet| *octet == b'\n') {
                let torn = self.held.len() - at - 1;
                self.held.truncate(at + 1);
                return Ok(torn as u64);
            }
            if self.before == 0 {
                let torn = self.held.len();
                self.held.clear();
                return Ok(torn as u64);
            }
            self.read_more()?;
        }
    }

    /// The line before, without its line feed. Call [`Tail::torn`] first.
    fn previous(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.held.is_empty() && self.before > 0 {
            self.read_more()?;
        }
        if self.held.pop().is_none() {
            return Ok(None);
        }
        loop {
            if let Some(at) = self.held.iter().rposition(|octet| *octet == b'\n') {
                return Ok(Some(self.held.split_off(at + 1)));
            }
            if self.before == 0 {
                return Ok(Some(std::mem::take(&mut self.held)));
            }
            self.read_more()?;
        }
    }
}

/// The last `count` lines, oldest first, across files. What is being written just now is left out.
pub fn last_lines(directory: &Path, count: usize) -> io::Result<Vec<AuditLine>> {
    let mut lines = Vec::new();
    for (_, path) in files(directory)?.iter().rev() {
        let mut tail = Tail::open(path, std::fs::metadata(path)?.len())?;
        tail.torn()?;
        while lines.len() < count {
            match tail.previous()? {
                Some(line) => lines.push(AuditLine::parse(&line)),
                None => break,
            }
        }
    }
    lines.reverse();
    Ok(lines)
}

/// Calls `each` with every whole line from `from` (file number and octet) on that has the octets `with` in it (empty: every
/// line); gives where the next line will be. Only such lines are parsed.
pub fn lines_from(
    directory: &Path,
    from: (u64, u64),
    with: &[u8],
    each: &mut dyn FnMut(AuditLine),
) -> io::Result<(u64, u64)> {
    let mut at = from;
    for (number, path) in files(directory)? {
        if number < from.0 {
            continue;
        }
        if number > at.0 {
            at = (number, 0);
        }
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(at.1))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let octets = reader.read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                break;
            }
            at.1 += octets as u64;
            if with.is_empty() || line.windows(with.len()).any(|octets| octets == with) {
                each(AuditLine::parse(&line));
            }
        }
    }
    Ok(at)
}

/// Where the log ends now, for following it.
pub fn end(directory: &Path) -> io::Result<(u64, u64)> {
    match files(directory)?.last() {
        Some((number, path)) => Ok((*number, end_of_file(path)?.whole)),
        None => Ok((0, 0)),
    }
}

/// Walks the whole chain. An unfinished last line of the newest file is no fault, it may be being written; nor is what does not
/// follow behind the end of what was synced. What was synced and is not there is one.
///
/// # Errors
/// The outer error is the disk's; the inner one the first line that breaks the chain.
pub fn verify(directory: &Path) -> io::Result<Result<Verified, AuditFault>> {
    // Before the files: the log only grows behind it.
    let mark = Mark::read(directory)?;
    let files = files(directory)?;
    let mut walk = Walk {
        mark,
        ..Walk::default()
    };
    for (at, (number, path)) in files.iter().enumerate() {
        let newest = at + 1 == files.len();
        if let Err(fault) = walk.file(*number, path, newest)? {
            return Ok(Err(fault));
        }
    }
    Ok(walk.end())
}

/// A walk along the chain.
#[derive(Default)]
struct Walk {
    link: Option<Link>,
    verified: Verified,
    /// How far the log was synced; taken away once it was passed.
    mark: Option<Mark>,
    /// The line that ends where the log was synced was there.
    passed: bool,
}

impl Walk {
    fn file(&mut self, number: u64, path: &Path, newest: bool) -> io::Result<Result<(), AuditFault>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let (mut reader, mut line, mut at) = (BufReader::new(file), Vec::new(), 0);
        self.verified.files += 1;
        for line_number in 1.. {
            line.clear();
            let octets = reader.read_until(b'\n', &mut line)? as u64;
            if octets == 0 {
                break;
            }
            let finished = line.pop() == Some(b'\n');
            if !finished && newest {
                break;
            }
            let next = match finished {
                true => follow(self.link, &line).and_then(|next| self.pass((number, at + octets), next)),
                false => Err("the line is not finished".to_owned()),
            };
            match next {
                Ok(next) => self.take(next),
                Err(_) if newest && self.passed => {
                    self.verified.torn = length.saturating_sub(at);
                    break;
                }
                Err(message) => {
                    return Ok(Err(AuditFault {
                        file: file_name(number),
                        line: line_number,
                        message,
                    }));
                }
            }
            at += octets;
        }
        Ok(Ok(()))
    }

    /// Whether a line that ends there may be this one, if that is how far the log was synced.
    fn pass(&mut self, end: (u64, u64), link: Link) -> Result<Link, String> {
        let Some(mark) = self.mark.take_if(|mark| (mark.file, mark.size) == end) else {
            return Ok(link);
        };
        self.passed = mark.link == link;
        match self.passed {
            true => Ok(link),
            false => {
                Err("expected the line that was synced to disk, found another: the chain was written anew".to_owned())
            }
        }
    }

    fn take(&mut self, link: Link) {
        self.link = Some(link);
        if self.verified.lines == 0 {
            self.verified.first = link.number;
        }
        self.verified.lines += 1;
        self.verified.last = link.number;
    }

    fn end(self) -> Result<Verified, AuditFault> {
        match self.mark {
            None => Ok(self.verified),
            Some(mark) => Err(AuditFault {
                file: file_name(mark.file),
                line: 0,
                message: format!(
                    "expected record number {}, which was synced to disk, found the end of the log at number {}: lines were cut off",
                    mark.link.number, self.verified.last
                ),
            }),
        }
    }
}

/// One step of the chain. The first line of all must be one that begins a file, and says itself what it continues.
fn follow(before: Option<Link>, line: &[u8]) -> Result<Link, String> {
    let (hashed, link) = take_apart(line)?;
    let before = match before {
        Some(before) => before,
        None => {
            let line = AuditLine::parse(line);
            let previous = line.text_of("previous").and_then(|text| unhex(text.as_bytes()));
            let previous =
                previous.ok_or("expected a line of act begin with the chain it continues; an older file is missing")?;
            Link {
                number: link.number.wrapping_sub(1),
                chain: previous,
            }
        }
    };
    if before.number.checked_add(1) != Some(link.number) {
        return Err(format!(
            "expected line number {}, found {}: lines are missing or were added",
            before.number.wrapping_add(1),
            link.number
        ));
    }
    let chain = chained(&before.chain, hashed);
    if chain != link.chain {
        return Err(format!(
            "expected chain {}, found {}: this line was changed, or one before it",
            String::from_utf8_lossy(&hex(&chain)),
            String::from_utf8_lossy(&hex(&link.chain))
        ));
    }
    Ok(link)
}

impl AuditLine {
    /// A line that is no JSON object has no members; its text is still there.
    fn parse(line: &[u8]) -> AuditLine {
        let text = String::from_utf8_lossy(line).into_owned();
        let members = match serde_json::from_str(&text) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        AuditLine { text, members }
    }

    /// A text member.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    pub fn number_of(&self, name: &str) -> Option<u64> {
        self.members.get(name).and_then(Value::as_u64)
    }

    /// Members that [`AuditLine::text_of`] and [`AuditLine::number_of`] give, by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The entryUUIDs of the entries that left or were written.
    pub fn entries(&self) -> Vec<[u8; 16]> {
        let octets = self.text_of("uuids").and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        let octets = octets.unwrap_or_default();
        octets
            .chunks_exact(16)
            .filter_map(|uuid| uuid.try_into().ok())
            .collect()
    }

    pub fn holds_entry(&self, entry_uuid: &[u8; 16]) -> bool {
        self.members.contains_key("uuids") && self.entries().contains(entry_uuid)
    }
}
