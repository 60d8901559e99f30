//! Cuts a stream into runs of whole records.

use super::record::Records;
use super::{LdifFault, RECORD_BYTES_LIMIT};
use std::io::{ErrorKind, Read};

/// Bytes after which a chunk is cut at the next chance.
const CHUNK_BYTES: usize = 256 << 10;

/// Whole records of a file, with where they stand.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The number of the first line, from 1.
    pub first_line: usize,
    pub text: Vec<u8>,
}

impl Chunk {
    /// Parses the records. `file` is the file's name for messages.
    pub fn records<'a>(&'a self, file: &'a str) -> Records<'a> {
        Records::new(file, self.first_line, &self.text)
    }
}

/// Cuts a stream at blank lines. Faults are a record that is too long, which is left out, and a failing read, which ends it.
pub struct Chunks<R> {
    file: String,
    reader: R,
    /// Read, but not yet given out.
    pending: Vec<u8>,
    /// The line on which `pending` begins.
    line: usize,
    chunk_bytes: usize,
    record_bytes: usize,
    ended: bool,
    started: bool,
}

impl<R: Read> Chunks<R> {
    pub fn new(file: impl Into<String>, reader: R) -> Self {
        Self::with_sizes(file, reader, CHUNK_BYTES, RECORD_BYTES_LIMIT)
    }

    pub(super) fn with_sizes(file: impl Into<String>, reader: R, chunk_bytes: usize, record_bytes: usize) -> Self {
        Chunks {
            file: file.into(),
            reader,
            pending: Vec::new(),
            line: 1,
            chunk_bytes,
            record_bytes,
            ended: false,
            started: false,
        }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// Reads about `chunk_bytes` more. Notes the end.
    fn fill(&mut self) -> Result<(), LdifFault> {
        let wanted = self.chunk_bytes as u64;
        self.pending.reserve(self.chunk_bytes);
        loop {
            match (&mut self.reader).take(wanted).read_to_end(&mut self.pending) {
                Ok(read) => {
                    self.ended = (read as u64) < wanted;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    let line = self.line + count_lines(&self.pending);
                    self.pending.clear();
                    return Err(self.fault(line, format!("expected to read on, but the system said: {error}")));
                }
            }
        }
        if !self.started {
            self.started = true;
            if self.pending.starts_with(b"\xef\xbb\xbf") {
                self.pending.drain(..3);
            }
        }
        Ok(())
    }

    fn fault(&self, line: usize, message: String) -> LdifFault {
        LdifFault {
            file: self.file.clone(),
            line,
            message,
        }
    }

    fn give(&mut self, end: usize) -> Chunk {
        let rest = self.pending.split_off(end);
        let text = std::mem::replace(&mut self.pending, rest);
        let first_line = self.line;
        self.line += count_lines(&text);
        Chunk { first_line, text }
    }

    /// Drops a record that is too long, up to the next blank line.
    fn skip_record(&mut self) -> Result<LdifFault, LdifFault> {
        let limit = self.record_bytes;
        let fault = self.fault(
            self.line,
            format!("expected a record of at most {limit} bytes, found a longer one"),
        );
        loop {
            // The last two octets may belong to a blank line whose end is yet to be read.
            let keep = self.pending.len().saturating_sub(2);
            self.line += count_lines(self.pending.get(..keep).unwrap_or_default());
            self.pending.drain(..keep);
            if self.ended {
                self.pending.clear();
                return Ok(fault);
            }
            self.fill()?;
            if let Some(end) = first_blank(&self.pending) {
                self.line += count_lines(self.pending.get(..end).unwrap_or_default());
                self.pending.drain(..end);
                return Ok(fault);
            }
        }
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = Result<Chunk, LdifFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ended {
                // What is left holds the last records, possibly several and one without a blank line after it.
                let end = self.pending.len();
                return (end > 0).then(|| Ok(self.give(end)));
            }
            let searched = self.pending.len().saturating_sub(2);
            if let Err(fault) = self.fill() {
                return Some(Err(fault));
            }
            if let Some(end) = last_blank(&self.pending, searched) {
                return Some(Ok(self.give(end)));
            }
            if self.pending.len() > self.record_bytes {
                return Some(Err(self.skip_record().unwrap_or_else(|fault| fault)));
            }
        }
    }
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|octet| **octet == b'\n').count()
}

/// Whether a blank line ends just before `end`.
fn is_blank_end(text: &[u8], end: usize) -> bool {
    text.get(..end)
        .is_some_and(|text| text.ends_with(b"\n\n") || text.ends_with(b"\n\r\n"))
}

/// The end of the last blank line that ends behind `from`.
fn last_blank(text: &[u8], from: usize) -> Option<usize> {
    (from + 1..=text.len()).rev().find(|end| is_blank_end(text, *end))
}

fn first_blank(text: &[u8]) -> Option<usize> {
    (1..=text.len()).find(|end| is_blank_end(text, *end))
}
