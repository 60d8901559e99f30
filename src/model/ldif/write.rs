//! Writes content records.

use crate::model::Entry;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io::{self, Write};

/// Columns of a line before it is folded.
const COLUMNS: usize = 76;

/// Writes entries as LDIF content: lines folded at 76 columns, base64 where RFC 2849 requires it. The same entries always give the
/// same octets. It writes in small pieces: give it a buffered writer or a `Vec`.
pub struct LdifWriter<W> {
    writer: W,
    /// One line before folding.
    line: Vec<u8>,
    encoded: String,
}

impl<W: Write> LdifWriter<W> {
    pub fn new(writer: W) -> Self {
        LdifWriter {
            writer,
            line: Vec::new(),
            encoded: String::new(),
        }
    }

    /// `version: 1` and a blank line; goes before the first record.
    pub fn version(&mut self) -> io::Result<()> {
        self.writer.write_all(b"version: 1\n\n")
    }

    /// A comment, one line for each of the text.
    pub fn comment(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| writeln!(self.writer, "# {line}"))
    }

    /// One record, values in the order given, and its blank line.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.value("dn", entry.dn.to_string().as_bytes())?;
        for attribute in &entry.attributes {
            let description = &attribute.description;
            if description.options.is_empty() {
                self.values(&description.attribute_type, &attribute.values)?;
            } else {
                self.values(&description.to_string(), &attribute.values)?;
            }
        }
        self.end_record()
    }

    fn values(&mut self, description: &str, values: &[Vec<u8>]) -> io::Result<()> {
        values.iter().try_for_each(|value| self.value(description, value))
    }

    /// One `description: value` line.
    pub fn value(&mut self, description: &str, value: &[u8]) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(description.as_bytes());
        if is_safe(value) {
            self.line.extend_from_slice(b": ");
            self.line.extend_from_slice(value);
        } else {
            self.encoded.clear();
            BASE64_STANDARD.encode_string(value, &mut self.encoded);
            self.line.extend_from_slice(b":: ");
            self.line.extend_from_slice(self.encoded.as_bytes());
        }
        if value.is_empty() {
            self.line.pop();
        }
        self.fold()
    }

    /// The blank line after a record.
    pub fn end_record(&mut self) -> io::Result<()> {
        self.writer.write_all(b"\n")
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    pub fn into_inner(self) -> W {
        self.writer
    }

    fn fold(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        if self.line.len() <= COLUMNS + 1 {
            return self.writer.write_all(&self.line);
        }
        self.line.pop();
        let (first, rest) = self.line.split_at(COLUMNS);
        self.writer.write_all(first)?;
        for piece in rest.chunks(COLUMNS - 1) {
            self.writer.write_all(b"\n ")?;
            self.writer.write_all(piece)?;
        }
        self.writer.write_all(b"\n")
    }
}

/// RFC 2849 SAFE-STRING, and no space at the end (note 8).
fn is_safe(value: &[u8]) -> bool {
    !matches!(value.first(), Some(b' ' | b':' | b'<'))
        && value.last() != Some(&b' ')
        // No early end, so that the compiler can test many octets at once.
        && value
            .iter()
            .fold(true, |safe, octet| safe & (*octet < 0x80) & !matches!(*octet, 0 | b'\n' | b'\r'))
}
