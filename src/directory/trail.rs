//! Audit records of operations: begun with what was asked, their buffers used again.

use super::{SearchRequest, Session, clock};
use crate::audit::{Act, AuditRecord};
use crate::model::{Filter, SearchScope};
use std::cell::RefCell;

/// Begins the record of a search; `filter` is what may be written down of the request's.
pub(super) fn begin_audit(
    audit: &mut AuditRecord,
    session: &Session,
    request: &SearchRequest<'_>,
    filter: &Filter<'_>,
) {
    audit.begin(Act::Search, &session.actor, clock::milliseconds());
    audit.fact("base", request.base.as_bytes());
    let scope = match request.scope {
        SearchScope::BaseObject => "base",
        SearchScope::SingleLevel => "one",
        SearchScope::WholeSubtree => "sub",
        SearchScope::Subordinates => "children",
    };
    audit.fact("scope", scope.as_bytes());
    TEXT.with_borrow_mut(|text| {
        text.clear();
        filter.append_text(text);
        audit.fact("filter", text);
        text.clear();
        for (at, name) in request.attributes.iter().enumerate() {
            text.extend_from_slice(if at == 0 { "" } else { " " }.as_bytes());
            text.extend_from_slice(name.as_bytes());
        }
        audit.fact("attributes", text);
    });
}

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RECORDS: RefCell<Vec<AuditRecord>> = const { RefCell::new(Vec::new()) };
}

/// Audit records whose buffers are used again.
pub(super) struct AuditPool;

impl AuditPool {
    /// Records kept by one thread.
    const KEPT: usize = 64;

    pub(super) fn take() -> AuditRecord {
        RECORDS.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub(super) fn give_back(record: AuditRecord) {
        RECORDS.with_borrow_mut(|records| {
            if records.len() < Self::KEPT && record.is_small() {
                records.push(record);
            }
        });
    }
}
