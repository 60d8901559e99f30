//! What the controls of a request ask beside its operation: the assertion (RFC 4528) and the entry before and after an
//! update (RFC 4527).
//!
//! Invariants: an assertion is evaluated as the view may search, so it is no oracle; a read entry is released like one that
//! was searched for; both see the very state that the update changes.

use super::Update;
use super::committer::Room;
use super::computed::{Computation, Wanted};
use super::kinds::Kinds;
use crate::access::{ComputedAttribute, ReleasedCopy, Selection, View, release};
use crate::model::{Entry, Filter, Outcome, ResultCode};
use crate::query::{Groups, TailMembers, Truth, compile_in, evaluate};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Location, Operational, Record, Snapshot, record};
use std::sync::Arc;

/// An update and what is asked beside it.
#[derive(Clone, Debug)]
pub struct UpdateRequest {
    pub update: Update,
    /// Must be True of the target, or nothing is done.
    pub assertion: Option<Filter<'static>>,
    /// What to read of the entry before the update.
    pub pre_read: Option<Selection>,
    /// What to read of it afterwards.
    pub post_read: Option<Selection>,
    /// Modify: adding a value that is there and deleting one that is not are no faults.
    pub permissive: bool,
    /// What the server says of entries may be given (Relax Rules), by administrators.
    pub relax: bool,
    /// Everything is looked at, and nothing done (No-Op).
    pub no_op: bool,
    /// A referral object is an entry like others (RFC 3296).
    pub manage_dsa_it: bool,
    /// Octets of the request that it came with.
    pub octets: usize,
}

/// How an update ended.
#[derive(Debug)]
pub struct UpdateDone {
    pub outcome: Outcome,
    /// There when it was asked for, the update succeeded and the view may see the entry.
    pub pre_read: Option<ReleasedCopy>,
    pub post_read: Option<ReleasedCopy>,
    /// What those take of the memory for updates, until this is dropped.
    pub(super) _room: Option<Room>,
}

/// What a value takes in memory beside its octets.
const VALUE_MEMORY: usize = 48;

impl UpdateRequest {
    /// Octets that it takes in memory, or thereabouts: many short values take many times what they took on the wire.
    pub fn memory(&self) -> usize {
        let values: usize = match &self.update {
            Update::Add(entry) => entry
                .attributes
                .iter()
                .map(|attribute| 1 + attribute.values.len())
                .sum(),
            Update::Modify { changes, .. } => changes.iter().map(|change| 1 + change.values.len()).sum(),
            Update::Delete { .. } | Update::ModifyDn { .. } => 0,
        };
        self.octets.saturating_add((1 + values) * VALUE_MEMORY)
    }
}

impl From<Update> for UpdateRequest {
    fn from(update: Update) -> UpdateRequest {
        UpdateRequest {
            update,
            assertion: None,
            pre_read: None,
            post_read: None,
            permissive: false,
            relax: false,
            no_op: false,
            manage_dsa_it: false,
            octets: 0,
        }
    }
}

/// An entry that an assertion is about.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub groups: Groups<'a>,
    pub key: &'a NormalizedDn,
}

impl Target<'_> {
    /// Whether the assertion is True of the record under the target's key.
    ///
    /// # Errors
    /// assertionFailed; adminLimitExceeded where the assertion follows too large a group.
    pub(super) fn check(&self, assertion: &Filter<'_>, record: Record<'_>) -> Result<(), Outcome> {
        let predicate = compile_in(assertion, self.groups)
            .map_err(|fault| Outcome::new(ResultCode::AdminLimitExceeded, fault.to_string()))?;
        let covered = self.groups.view.covers(self.key);
        if covered && evaluate(&predicate, record, &self.key.0, self.groups.schema) == Truth::True {
            return Ok(());
        }
        Err(Outcome::new(ResultCode::AssertionFailed, ""))
    }
}

/// Where an entry is that the view does not hide. Whether its name lies where the view reaches is for the caller.
pub(super) fn seen(snapshot: &Snapshot, view: &View, key: &NormalizedDn) -> Option<Location> {
    snapshot.find(key).filter(|at| shows(snapshot, view, *at))
}

/// Whether the view does not hide an entry.
pub(super) fn shows(snapshot: &Snapshot, view: &View, at: Location) -> bool {
    view.hiding.entries().is_empty() || !view.hides(snapshot.record(at), snapshot.schema())
}

/// noSuchObject with the DN of the nearest ancestor that the view may see.
pub(super) fn no_such_object(snapshot: &Snapshot, view: &View, key: &NormalizedDn) -> Outcome {
    let mut ancestor = key.parent();
    while let Some(key) = ancestor.filter(|key| !key.is_root()) {
        if let Some(at) = seen(snapshot, view, &key).filter(|_| view.covers(&key)) {
            return Outcome::new(ResultCode::NoSuchObject, "").matching(snapshot.record(at).dn().to_owned());
        }
        ancestor = key.parent();
    }
    Outcome::new(ResultCode::NoSuchObject, "")
}

/// An entry as the view may see it, computed attributes included; `None` where it may not.
pub(super) fn read(computation: &Computation<'_>, key: &NormalizedDn, selection: &Selection) -> Option<ReleasedCopy> {
    let Groups {
        snapshot, schema, view, ..
    } = computation.groups;
    let at = snapshot.find(key).filter(|_| view.covers(key))?;
    let mut computed: Vec<ComputedAttribute> = Vec::new();
    let wanted = Wanted::new(selection, view, schema, computation.groups.collective.is_some());
    computation.compute(wanted, at, &TailMembers::default(), &mut computed);
    release(snapshot.record(at), view, selection, &computed, schema).map(|entry| entry.copy())
}

/// Holds an update to its assertion. A target that is not there, or an entry to add that is, is left for the update to refuse.
pub(super) fn check_update(
    snapshot: &Snapshot,
    schema: &Arc<Schema>,
    view: &View,
    key: &NormalizedDn,
    request: &UpdateRequest,
    kinds: &Kinds,
) -> Result<(), Outcome> {
    let Some(assertion) = &request.assertion else {
        return Ok(());
    };
    let collective = kinds.collective_in(snapshot, schema);
    let groups = Groups {
        snapshot,
        schema,
        view,
        collective: collective.as_ref(),
        kept: None,
    };
    let target = Target { groups, key };
    match (&request.update, snapshot.find(key)) {
        (Update::Add(entry), None) => {
            let octets = provisional(entry, schema);
            target.check(assertion, Record::new(&octets, snapshot.schema().type_numbers()))
        }
        (Update::Add(_), Some(_)) | (_, None) => Ok(()),
        (_, Some(at)) => target.check(assertion, snapshot.record(at)),
    }
}

/// An entry to add as the client gave it.
fn provisional(entry: &Entry, schema: &Schema) -> Vec<u8> {
    record::encode(entry, &Operational::default(), schema)
}
