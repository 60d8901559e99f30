//! Delete (RFC 4511 section 4.8): a leaf, or with Tree Delete an entry and all that is below it, as one change.
//!
//! Invariant: of a tree all goes or none; who asks may delete each entry of it.

use super::{Author, Effects, Writer};
use crate::model::{Outcome, ResultCode};
use crate::schema::NormalizedDn;
use crate::store::Snapshot;

impl Writer {
    pub(super) fn delete(
        &self,
        snapshot: &Snapshot,
        author: &Author<'_>,
        key: &NormalizedDn,
    ) -> Result<Effects, Outcome> {
        let at = author.find(snapshot, key)?;
        if snapshot.children(key, 1) > 0 {
            return Err(Outcome::new(
                ResultCode::NotAllowedOnNonLeaf,
                "delete the entries below it first",
            ));
        }
        let record = snapshot.record(at);
        Ok(Effects {
            changes: vec![author.deletes(key.clone(), record)],
            entry_uuid: Some(record.operational().entry_uuid),
            ..Effects::default()
        })
    }

    /// What deletes a tree: every entry before the one above it, the topmost last. Refuses to delete more than one change may, and
    /// what the view hides: for whoever asks it is not there.
    pub(super) fn delete_tree(
        &self,
        snapshot: &Snapshot,
        author: &Author<'_>,
        key: &NormalizedDn,
    ) -> Result<Effects, Outcome> {
        let at = author.find(snapshot, key)?;
        let limit = self.context.limits.delete_entries;
        let keys = snapshot.subtree(key, limit.saturating_add(1));
        if keys.len() > limit {
            return Err(too_many(limit));
        }
        let hides = !author.view.hiding.entries().is_empty();
        let mut below = Vec::with_capacity(keys.len());
        let mut changes = Vec::with_capacity(keys.len());
        for one in keys {
            let Some(record) = snapshot.find(&one).map(|at| snapshot.record(at)) else {
                continue;
            };
            if hides && author.view.hides(record, &self.context.schema) {
                let message = "the account's release profile does not reach everything below this entry";
                return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
            }
            if one != *key {
                below.push(record.operational().entry_uuid);
            }
            changes.push(author.deletes(one, record));
        }
        changes.reverse();
        Ok(Effects {
            entry_uuid: Some(snapshot.record(at).operational().entry_uuid),
            below,
            changes,
            ..Effects::default()
        })
    }
}

/// More goes than one change, or one transaction, may delete as trees.
pub(super) fn too_many(limit: usize) -> Outcome {
    let message = format!("more than {limit} entries would go; raise limits.delete_entries or delete parts");
    Outcome::new(ResultCode::AdminLimitExceeded, message)
}
