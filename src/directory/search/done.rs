//! How a search ends: what its controls are answered, and what the audit has of it.

use super::super::sort::{SortFault, Sorted};
use super::super::trail::AuditPool;
use super::{Entries, Search, SearchDone, SearchStep};
use crate::model::{Outcome, ResultCode};
use std::time::Instant;

impl Search {
    /// When its time is over, if it is limited.
    pub fn deadline(&self) -> Option<Instant> {
        self.limits.deadline
    }

    /// Ends it before its time.
    pub fn end(&mut self, outcome: Outcome) -> SearchDone {
        self.search_done(outcome, true)
    }

    /// `complete` is false where a page ended before the search did.
    pub(super) fn done(&mut self, outcome: Outcome, complete: bool) -> SearchStep {
        SearchStep::Done(self.search_done(outcome, complete))
    }

    fn search_done(&mut self, mut outcome: Outcome, complete: bool) -> SearchDone {
        let page = self.limits.page.take().map(|page| (self.cookie(&page, complete), 0));
        let snapshot = match &self.entries {
            Entries::Directory { snapshot, .. } => Some(snapshot),
            Entries::Protocol(_) | Entries::None => None,
        };
        let virtual_list = self.virtual_list_result(snapshot, &mut outcome);
        let unsorted = self.sort_fault();
        self.finish_audit(&outcome);
        let candidates = self.candidates();
        self.entries = Entries::None;
        SearchDone {
            outcome,
            page,
            virtual_list,
            unsorted,
            candidates,
        }
    }

    fn sort_fault(&self) -> Option<SortFault> {
        match &self.sorted {
            Sorted::Fault(fault) => Some(fault.clone()),
            Sorted::Yes(sorting) => sorting.over().map(SortFault::of_all),
            Sorted::No => None,
        }
    }

    fn finish_audit(&mut self, outcome: &Outcome) {
        let Some(mut audit) = self.audit.take() else { return };
        if let Entries::Directory { cursor, .. } = &self.entries {
            audit.number("candidates", cursor.candidates());
        }
        audit.number("entries", self.given.into());
        audit.finish(outcome, self.started.elapsed());
        self.directory.audit.append(&audit);
        AuditPool::give_back(audit);
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.finish_audit(&Outcome::new(ResultCode::Canceled, "abandoned"));
    }
}
