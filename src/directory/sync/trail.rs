//! What the audit has of a synchronisation.

use super::super::trail::{AuditPool, begin_audit};
use super::super::{Directory, SearchRequest, Session};
use crate::access::Selection;
use crate::audit::AuditRecord;
use crate::model::{DerefAliases, Filter, Outcome, SearchScope};
use std::time::Instant;

/// What the audit has of one synchronisation: one record for the refresh, and one for each burst of changes.
pub(super) struct Trail {
    pub(super) audit: Option<AuditRecord>,
    pub(super) base: String,
    pub(super) scope: SearchScope,
    pub(super) filter: Filter<'static>,
    pub(super) attributes: Vec<String>,
    pub(super) started: Instant,
}

impl Trail {
    pub(super) fn begin(&mut self, session: &Session, detail: &str) {
        let names: Vec<&str> = self.attributes.iter().map(String::as_str).collect();
        let request = SearchRequest {
            base: &self.base,
            scope: self.scope,
            filter: &self.filter,
            selection: Selection::default(),
            attributes: &names,
            size_limit: 0,
            time_limit_seconds: 0,
            page: None,
            assertion: None,
            sort: None,
            virtual_list: None,
            aliases: DerefAliases::Never,
            subentries: None,
            manage_dsa_it: true,
            domain_scope: false,
        };
        let mut audit = AuditPool::take();
        begin_audit(&mut audit, session, &request, &self.filter);
        audit.fact("detail", detail.as_bytes());
        self.started = Instant::now();
        self.audit = Some(audit);
    }

    pub(super) fn entry(&mut self, directory: &Directory, entry_uuid: &[u8; 16]) {
        if let Some(audit) = &mut self.audit {
            audit.entry(entry_uuid);
            audit.write_part(&directory.audit);
        }
    }

    /// Nothing where no record was begun.
    pub(super) fn finish(&mut self, directory: &Directory, outcome: &Outcome) {
        let Some(mut audit) = self.audit.take() else { return };
        audit.finish(outcome, self.started.elapsed());
        directory.audit.append(&audit);
        AuditPool::give_back(audit);
    }
}
