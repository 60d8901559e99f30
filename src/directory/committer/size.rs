//! How much one update may change.

use super::Writer;
use crate::model::dn::OCTETS_LIMIT;
use crate::model::{Outcome, ResultCode};
use crate::store::{Change, Record};

impl Writer {
    /// Refuses what could not be kept: an entry, a name, or all that an update does together.
    pub(super) fn check_size(&self, changes: &[Change], referring: &[Change]) -> Result<(), Outcome> {
        let limits = &self.context.limits;
        let refused = |message: String| Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
        for change in changes.iter().chain(referring) {
            let Change::Put { record, .. } = change else { continue };
            if record.len() > limits.entry_octets {
                return refused(format!(
                    "expected entries of at most {} bytes; raise limits.entry_bytes",
                    limits.entry_octets
                ));
            }
            let name = Record::new(record, self.context.schema.type_numbers()).dn();
            if name.len() > OCTETS_LIMIT {
                return refused(format!("expected names of at most {OCTETS_LIMIT} octets"));
            }
        }
        match octets_of(changes) + octets_of(referring) > limits.rename_octets {
            true => refused(format!(
                "expected an update to change at most {} bytes of entries; raise limits.rename_bytes or change parts",
                limits.rename_octets
            )),
            false => Ok(()),
        }
    }
}

/// What changes take in memory and in the journal.
pub(super) fn octets_of(changes: &[Change]) -> usize {
    let octets = changes.iter().map(|change| match change {
        Change::Put { key, record } => key.0.len() + record.len(),
        Change::Delete { key, .. } => key.0.len(),
    });
    octets.sum()
}
