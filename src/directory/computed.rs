//! Attributes that are in no record because they follow from the rest of the directory.

use super::Directory;
use crate::access::{ComputedAttribute, Selection, View};
use crate::schema::{AttributeId, NormalizedDn};
use crate::store::{Location, Snapshot};

/// Which computed attributes one search asked for; nothing is computed that was not asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    has_subordinates: bool,
    num_subordinates: bool,
    status: Option<AttributeId>,
}

/// Subordinates counted for one entry's numSubordinates.
const SUBORDINATES_LIMIT: u64 = u64::MAX;

impl Directory {
    pub(super) fn wanted(&self, selection: &Selection, view: &View) -> Wanted {
        let known = self.schema.well_known();
        let wants = |id| view.releasable.contains(id) && selection.wants(id, &self.schema);
        Wanted {
            has_subordinates: wants(known.has_subordinates),
            num_subordinates: wants(known.num_subordinates),
            status: self.schema.find_attribute("nhsdirStatus").filter(|id| wants(*id)),
        }
    }

    /// Replaces `out` by what `wanted` asks of the entry at `at`.
    pub(super) fn compute(&self, wanted: Wanted, snapshot: &Snapshot, at: Location, out: &mut Vec<ComputedAttribute>) {
        out.clear();
        if !wanted.any() {
            return;
        }
        let known = self.schema.well_known();
        let key = snapshot.key(at);
        if wanted.has_subordinates {
            let text = if snapshot.children(&key, 1) > 0 {
                "TRUE"
            } else {
                "FALSE"
            };
            out.push(one(known.has_subordinates, text.to_owned()));
        }
        if wanted.num_subordinates {
            out.push(one(
                known.num_subordinates,
                snapshot.children(&key, SUBORDINATES_LIMIT).to_string(),
            ));
        }
        if let Some(id) = wanted.status {
            out.extend(self.account_status(&key).map(|text| one(id, text)));
        }
    }

    /// What is known of an account's secrets and failures, as JSON; released to administrators by their profile.
    fn account_status(&self, key: &NormalizedDn) -> Option<String> {
        self.accounts
            .status(key)
            .and_then(|status| serde_json::to_string(&status).ok())
    }
}

impl Wanted {
    fn any(self) -> bool {
        self.has_subordinates || self.num_subordinates || self.status.is_some()
    }
}

fn one(id: AttributeId, text: String) -> ComputedAttribute {
    ComputedAttribute {
        id,
        values: vec![text.into_bytes()],
    }
}
