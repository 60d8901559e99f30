//! Who changes an entry, and when.

use super::super::conditions::{no_such_object, seen};
use crate::access::View;
use crate::model::Outcome;
use crate::schema::NormalizedDn;
use crate::store::{Change, Deleted, Location, Operational, Record, SequenceNumber, Snapshot};

/// Who changes, and what it may see.
pub(in super::super) struct Who<'a> {
    pub dn: &'a str,
    pub view: &'a View,
    /// The connection that changes its own secret; 0 is none.
    pub connection: u64,
}

impl Who<'_> {
    /// Where an entry is that it may change: what is hidden from it does not exist, its own entry apart.
    pub(super) fn target(&self, snapshot: &Snapshot, key: &NormalizedDn) -> Option<Location> {
        match self.connection {
            0 => seen(snapshot, self.view, key),
            _ => snapshot.find(key),
        }
    }
}

/// Who changes, when, as which change.
pub(in super::super) struct Author<'a> {
    pub actor: &'a str,
    pub view: &'a View,
    /// Seconds.
    pub now: u64,
    /// Microseconds, of this change alone.
    pub changed: u64,
    pub sequence: SequenceNumber,
}

impl Author<'_> {
    /// Where the entry is that is to be changed.
    ///
    /// # Errors
    /// noSuchObject with the nearest ancestor that the author may see.
    pub(in super::super) fn find(&self, snapshot: &Snapshot, key: &NormalizedDn) -> Result<Location, Outcome> {
        snapshot
            .find(key)
            .ok_or_else(|| no_such_object(snapshot, self.view, key))
    }

    /// The entry of this record goes from where it was.
    pub(in super::super) fn deletes(&self, key: NormalizedDn, record: Record<'_>) -> Change {
        let of = Some(Deleted {
            entry_uuid: record.operational().entry_uuid,
            changed: self.changed,
        });
        Change::Delete { key, of }
    }

    /// The operational facts of an entry after this change.
    pub(in super::super) fn changed<'b>(&'b self, before: &Operational<'b>) -> Operational<'b> {
        Operational {
            modified: self.now,
            changed: self.changed,
            sequence: self.sequence.0,
            modifier: self.actor,
            ..before.clone()
        }
    }
}
