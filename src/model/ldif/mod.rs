//! LDIF (RFC 2849): a streaming reader that says the line of every fault, and a writer.
//!
//! Reading has two steps, so that many threads can share it: [`Chunks`] cuts a stream at blank lines, [`Chunk::records`] parses
//! what was cut. [`LdifReader`] does both in turn.
//!
//! Read beyond the RFC: raw UTF-8 and other octets in values, a byte order mark, lines of any length up to the limit, a `version:`
//! line before any record, `modify` records whose last `-` is missing, `increment` (RFC 4525).
//! A value from elsewhere (`:<`) is read where a [`Fetch`] is given, within [`LINE_BYTES_LIMIT`] and, for a record, [`RECORD_BYTES_LIMIT`].
//! Refused: other uses of `:<`, NUL and CR in a value that is not base64.

mod chunk;
mod record;
mod write;

use super::{Attribute, Dn, Entry, Rdn};
use std::io::Read;

pub use chunk::{Chunk, Chunks};
pub use record::{Fetch, Records};
pub use write::LdifWriter;

/// Bytes one line may have after unfolding.
pub const LINE_BYTES_LIMIT: usize = 16 << 20;

/// Bytes one record may have in the file.
pub const RECORD_BYTES_LIMIT: usize = 32 << 20;

/// Different attribute descriptions one record may have, and one entry.
pub const ATTRIBUTES_LIMIT: usize = 1_000;

/// One record of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdifRecord {
    /// The line of its `dn:`, from 1.
    pub line: usize,
    /// What goes with the change; none with content.
    pub controls: Vec<LdifControl>,
    pub operation: LdifOperation,
}

/// A `control:` line of a change record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdifControl {
    pub line: usize,
    /// A numeric OID.
    pub oid: String,
    pub critical: bool,
    pub value: Option<Vec<u8>>,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LdifOperation {
    /// A record without `changetype:`.
    Content(Entry),
    Add(Entry),
    Delete {
        dn: Dn,
    },
    Modify {
        dn: Dn,
        changes: Vec<LdifModification>,
    },
    ModifyDn {
        dn: Dn,
        new_rdn: Rdn,
        delete_old_rdn: bool,
        new_superior: Option<Dn>,
    },
}

/// One `add:`, `delete:`, `replace:` or `increment:` of a modify record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LdifModification {
    pub kind: LdifModificationKind,
    /// The description and its values, of which `delete` and `replace` may have none.
    pub attribute: Attribute,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LdifModificationKind {
    Add,
    Delete,
    Replace,
    /// RFC 4525.
    Increment,
}

/// Controls one record may have.
pub const CONTROLS_LIMIT: usize = 32;

/// Where a file is not what it should be: what was expected and what came.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct LdifFault {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// Reads records one by one. After a fault it goes on behind the next blank line, so that every fault of a file is said.
pub struct LdifReader<R> {
    chunks: Chunks<R>,
    /// Of the chunk before, still to be given.
    records: std::vec::IntoIter<Result<LdifRecord, LdifFault>>,
}

impl<R: Read> LdifReader<R> {
    /// `name` is the file's name for messages. The reader needs no buffer of its own.
    pub fn new(name: impl Into<String>, reader: R) -> Self {
        LdifReader {
            chunks: Chunks::new(name, reader),
            records: Vec::new().into_iter(),
        }
    }
}

impl<R: Read> Iterator for LdifReader<R> {
    type Item = Result<LdifRecord, LdifFault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(record);
            }
            match self.chunks.next()? {
                Ok(chunk) => self.records = chunk.records(self.chunks.file()).collect::<Vec<_>>().into_iter(),
                Err(fault) => return Some(Err(fault)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
