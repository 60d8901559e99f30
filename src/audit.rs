//! Who saw what: an append-only, hash-chained record of every bind, search, write and administrative act.
//!
//! Invariants: never a secret; writing never waits for the disk on the caller's path; a record that could not be written is
//! counted and said; records are JSON lines, one object each.

use crate::model::{Outcome, Source};
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Bytes waiting for the writer before callers wait for it.
    pub queue_bytes: usize,
    /// Bytes of one file before the next is begun.
    pub file_bytes: u64,
    /// Days a file is kept.
    pub keep_days: u32,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            queue_bytes: 8 << 20,
            file_bytes: 256 << 20,
            keep_days: 730,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Bind,
    Search,
    Compare,
    Add,
    Modify,
    Delete,
    ModifyDn,
    Secret,
    Administrative,
}

/// One record in the making. Reuse it: `begin` clears it and keeps its buffer.
#[derive(Default)]
pub struct AuditRecord {
    // private: a byte buffer
}

/// The audit log of one data directory.
pub struct Audit {}

impl Audit {
    /// Opens `<dir>/audit`, continuing the chain.
    pub fn open(dir: &Path, options: AuditOptions) -> std::io::Result<Audit> {
        let _ = (dir, options);
        todo!()
    }

    /// Appends a finished record: a copy into the queue.
    pub fn append(&self, record: &AuditRecord) {
        let _ = record;
        todo!()
    }

    /// Waits until everything appended so far is in the file.
    pub fn flush(&self) {
        todo!()
    }
}

impl AuditRecord {
    /// `account` is the bound account's name, or the bind name as spelled. `now` is milliseconds since 1970.
    pub fn begin(&mut self, act: Act, account: &str, source: &Source, now: u64) {
        let _ = (act, account, source, now);
        todo!()
    }

    /// A named text fact: `base`, `filter`, `scope`, `attributes`, `dn`, `detail`. Escaped as JSON; octets that are no UTF-8 are escaped too.
    pub fn fact(&mut self, name: &'static str, value: &[u8]) {
        let _ = (name, value);
        todo!()
    }

    pub fn number(&mut self, name: &'static str, value: u64) {
        let _ = (name, value);
        todo!()
    }

    /// An entry that left, or was written.
    pub fn entry(&mut self, entry_uuid: &[u8; 16]) {
        let _ = entry_uuid;
        todo!()
    }

    pub fn finish(&mut self, outcome: &Outcome, took: Duration) {
        let _ = (outcome, took);
        todo!()
    }
}
