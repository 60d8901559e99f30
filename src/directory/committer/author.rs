//! Who changes an entry, and when.

use super::super::conditions::{no_such_object, shows};
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

/// The entry that an update is about, and where it is; looked up once.
#[derive(Clone, Copy)]
pub(in super::super) struct Target<'a> {
    pub key: &'a NormalizedDn,
    pub at: Option<Location>,
}

impl<'a> Target<'a> {
    pub(super) fn of(snapshot: &Snapshot, key: &'a NormalizedDn) -> Target<'a> {
        let at = snapshot.find(key);
        Target { key, at }
    }
}

impl Who<'_> {
    /// Whether there is an entry that it may change: what is hidden from it does not exist, its own entry apart.
    pub(super) fn reaches(&self, snapshot: &Snapshot, target: Target<'_>) -> bool {
        target
            .at
            .is_some_and(|at| self.connection != 0 || shows(snapshot, self.view, at))
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
