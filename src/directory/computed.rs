//! Attributes that are in no record because they follow from the rest of the directory.

use crate::access::{ComputedAttribute, Selection, View};
use crate::account::Accounts;
use crate::model::{Filter, SearchScope};
use crate::query::{Advance, Cursor, Groups, Order, Query, TailMembers, Work, compile};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Location, Snapshot};
use std::borrow::Cow;
use std::sync::Arc;

/// Which computed attributes one search asked for; nothing is computed that was not asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    has_subordinates: bool,
    num_subordinates: bool,
    member_of: bool,
    status: Option<AttributeId>,
}

/// Subordinates counted for one entry's numSubordinates.
const SUBORDINATES_LIMIT: u64 = u64::MAX;

/// What computed attributes are computed from.
#[derive(Clone, Copy)]
pub(super) struct Computation<'a> {
    pub accounts: &'a Accounts,
    pub groups: Groups<'a>,
    /// What `groups` looks at, to open a search of its own on.
    pub snapshot: &'a Arc<Snapshot>,
    pub schema: &'a Arc<Schema>,
    /// A view from which nothing is hidden.
    pub whole: &'a View,
}

impl Computation<'_> {
    /// Replaces `out` by what `wanted` asks of the entry at `at`. `tail` is used again for the same snapshot and view.
    pub(super) fn compute(
        &self,
        wanted: Wanted,
        at: Location,
        tail: &mut TailMembers,
        out: &mut Vec<ComputedAttribute>,
    ) {
        out.clear();
        if !wanted.any() {
            return;
        }
        let Groups { snapshot, schema, .. } = self.groups;
        let known = schema.well_known();
        let key = snapshot.key(at);
        if wanted.has_subordinates {
            let some = snapshot.children(&key, 1) > 0
                && match self.unseen_children(&key) {
                    0 => true,
                    unseen => snapshot.children(&key, unseen + 1) > unseen,
                };
            let text = if some { "TRUE" } else { "FALSE" };
            out.push(one(known.has_subordinates, text.to_owned()));
        }
        if wanted.num_subordinates {
            let all = snapshot.children(&key, SUBORDINATES_LIMIT);
            let unseen = match all {
                0 => 0,
                _ => self.unseen_children(&key),
            };
            out.push(one(known.num_subordinates, all.saturating_sub(unseen).to_string()));
        }
        if wanted.member_of {
            let names = self.groups.of(snapshot.record(at), tail);
            if !names.is_empty() {
                out.push(ComputedAttribute {
                    id: known.member_of,
                    values: names.into_iter().map(|name| name.as_bytes().to_vec()).collect(),
                });
            }
        }
        if let Some(id) = wanted.status {
            out.extend(self.account_status(&key).map(|text| one(id, text)));
        }
    }

    /// The entries directly below that the view may not see: a count of all would tell of them.
    fn unseen_children(&self, key: &NormalizedDn) -> u64 {
        let Groups { snapshot, view, .. } = self.groups;
        let below =
            |subtree: &&NormalizedDn| subtree.parent().as_ref() == Some(key) && snapshot.find(subtree).is_some();
        let excluded = view.excluded.iter().filter(below).count() as u64;
        if view.hidden_entries.is_empty() {
            return excluded;
        }
        let conditions = view.hidden_entries.iter().map(|condition| Filter::Equality {
            attribute: Cow::Borrowed(self.schema.attribute(condition.attribute).name()),
            value: Cow::Borrowed(&condition.normalized),
        });
        let query = Query {
            base: key.clone(),
            scope: SearchScope::SingleLevel,
            predicate: compile(&Filter::Or(conditions.collect()), self.schema, self.whole),
            order: Order::Any,
            after: None,
            within: vec![NormalizedDn::default()],
            without: view.excluded.clone(),
            candidate_limit: 0,
        };
        let mut cursor = Cursor::open(self.snapshot.clone(), self.schema.clone(), query);
        let mut hidden = 0;
        loop {
            match cursor.advance(&mut Work { left: u32::MAX }) {
                Advance::Entry(_) => hidden += 1,
                Advance::Paused => {}
                Advance::End | Advance::CandidateLimit => return excluded + hidden,
            }
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
    pub(super) fn new(selection: &Selection, view: &View, schema: &Schema) -> Wanted {
        let known = schema.well_known();
        let wants = |id| view.releasable.contains(id) && selection.wants(id, schema);
        Wanted {
            has_subordinates: wants(known.has_subordinates),
            num_subordinates: wants(known.num_subordinates),
            member_of: wants(known.member_of),
            status: schema.find_attribute("nhsdirStatus").filter(|id| wants(*id)),
        }
    }

    fn any(self) -> bool {
        self.has_subordinates || self.num_subordinates || self.member_of || self.status.is_some()
    }
}

fn one(id: AttributeId, text: String) -> ComputedAttribute {
    ComputedAttribute {
        id,
        values: vec![text.into_bytes()],
    }
}
