//! What a synchronisation is of: the entries that its search gives and, without ManageDsaIT, the referral objects in its scope, which
//! are told as references (RFC 4533 section 3.3).

use super::super::kinds::Kinds;
use super::super::referral::continuation;
use super::{Sync, SyncMessage, SyncState};
use crate::access::View;
use crate::model::SearchScope;
use crate::query::{Content, Predicate, Query, Work, visible};
use crate::schema::{NormalizedDn, Schema};
use crate::store::Record;
use std::sync::Arc;

/// How something of the content is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Entry,
    Reference,
}

/// The work is used up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paused;

pub(super) struct Contents {
    entries: Content,
    references: Option<References>,
}

struct References {
    content: Content,
    kinds: Arc<Kinds>,
    /// As the client asked.
    scope: SearchScope,
}

impl Contents {
    pub(super) fn of_entries(query: &Query) -> Contents {
        Contents {
            entries: Content::new(query.clone()),
            references: None,
        }
    }

    /// The referral objects in the scope of the query, as the view shows them, too.
    pub(super) fn add_references(
        &mut self,
        query: &Query,
        kinds: &Arc<Kinds>,
        schema: &Schema,
        view: &View,
    ) -> Predicate {
        let shown = Predicate::and(vec![kinds.referral.predicate(schema), visible(schema, view)]);
        let query = Query {
            predicate: shown.clone(),
            ..query.clone()
        };
        self.references = Some(References {
            scope: query.scope,
            content: Content::new(query),
            kinds: Arc::clone(kinds),
        });
        shown
    }

    /// How the entry with this key is told, where it is of the content; `Err` where the work is used up: ask again for the same entry,
    /// whose record has not moved.
    pub(super) fn shape(
        &mut self,
        key: &NormalizedDn,
        record: Record<'_>,
        schema: &Schema,
        work: &mut Work,
    ) -> Result<Option<Shape>, Paused> {
        if self.entries.holds(key, record, schema, work).ok_or(Paused)? {
            return Ok(Some(Shape::Entry));
        }
        let Some(references) = &mut self.references else {
            return Ok(None);
        };
        // What makes a referral object, and what hides one, asks for so little that it is decided at once.
        let holds = references
            .content
            .holds(key, record, schema, &mut Work { left: u32::MAX });
        Ok(holds.unwrap_or(false).then_some(Shape::Reference))
    }

    /// The same where it is known to be of the content.
    pub(super) fn shape_of(&self, record: Record<'_>, schema: &Schema) -> Shape {
        match &self.references {
            Some(references) if references.kinds.referral.is(record, schema) => Shape::Reference,
            _ => Shape::Entry,
        }
    }
}

impl Sync {
    /// Tells of a reference; that one is gone with no URL (section 3.3.2). Nothing where the view does not show where it leads.
    pub(super) fn refer(
        &self,
        record: Record<'_>,
        (state, cookie): (SyncState, Option<&str>),
        emit: &mut dyn FnMut(SyncMessage<'_>) -> bool,
    ) -> bool {
        let Some(references) = &self.content.references else {
            return true;
        };
        let urls = continuation(record, references.scope, &self.session.view, &self.directory.schema());
        match urls.is_empty() {
            true => true,
            false => emit(SyncMessage::Reference {
                urls: if state == SyncState::Delete { &[] } else { &urls },
                entry_uuid: &record.operational().entry_uuid,
                state,
                cookie,
            }),
        }
    }
}
