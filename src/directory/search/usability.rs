//! Whether the accounts that a search finds can be used (the account usability control of Netscape's directory servers).
//!
//! Invariant: it tells nothing that is not told otherwise: who asks reads the attributes that it follows from, or is the account.

use super::{Beside, Search};
use crate::access::View;
use crate::account::Usability;
use crate::directory::application::account_facts;
use crate::directory::{Directory, Session, clock};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Location, Snapshot};

/// What was asked of accounts.
pub(super) struct UsabilityAsked {
    /// Who asks.
    own: NormalizedDn,
    /// Whether the view has all that it follows from.
    reads_all: bool,
}

/// Work that one account is: its policy is read.
pub(super) const USABILITY_WORK: u32 = 8;

/// What says of an account whether it can be used.
fn decisive(schema: &Schema) -> impl Iterator<Item = AttributeId> {
    let known = schema.well_known();
    let kept = [
        known.password_changed,
        known.password_locked,
        known.password_delayed,
        known.password_reset,
        known.password_grace,
        known.password_success,
    ];
    let given = ["pwdStartTime", "pwdEndTime", "nhsdirDisabled", "nhsdirExpires"];
    kept.into_iter()
        .chain(given.into_iter().filter_map(|name| schema.find_attribute(name)))
}

impl UsabilityAsked {
    fn of(&self, directory: &Directory, view: &View, snapshot: &Snapshot, at: Location) -> Option<Usability> {
        let (key, record, schema) = (snapshot.key(at), snapshot.record(at), snapshot.schema());
        let reads = || self.reads_all && !decisive(schema).any(|id| view.hides_attribute(record, id, schema));
        if key != self.own && !reads() {
            return None;
        }
        let facts = account_facts(&key, record);
        directory.accounts.usability(&facts, clock::seconds())
    }
}

impl Search {
    /// Entries are to come with whether their account can be used.
    pub fn tell_usability(&mut self, session: &Session) {
        if let Some(audit) = &mut self.audit {
            audit.fact("detail", b"account usability");
        }
        let schema = self.directory.schema();
        let view = &session.view;
        self.usability = Some(Box::new(UsabilityAsked {
            own: session.identity.account.facts.key.clone(),
            reads_all: decisive(&schema).all(|id| view.releasable.contains(id)),
        }));
    }

    /// What comes with the entry at `at` beside those that it is linked to.
    pub(super) fn beside(&self, snapshot: &Snapshot, at: Location) -> Beside<'static> {
        let asked = self.usability.as_deref();
        Beside {
            linked: &[],
            usability: asked.and_then(|asked| asked.of(&self.directory, &self.view, snapshot, at)),
        }
    }
}
