//! Attributes that are in no record because they follow from the rest of the directory.

use crate::access::{ComputedAttribute, Selection, View};
use crate::account::{Accounts, PasswordState};
use crate::query::collective::is_excluded;
use crate::query::{Candidate, Groups, KeptBeside, Subordinates, TailMembers};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::record::{moment_text, time_text};
use crate::store::{Location, Snapshot};
use std::sync::Arc;

/// Which computed attributes one search asked for; nothing is computed that was not asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    has_subordinates: bool,
    num_subordinates: bool,
    member_of: bool,
    status: Option<AttributeId>,
    /// Some of the password's state.
    password: bool,
    /// Given by whoever knows it.
    pub(super) context_csn: Option<AttributeId>,
    /// There are subentries that give attributes.
    collective: bool,
}

/// What computed attributes are computed from.
#[derive(Clone, Copy)]
pub(super) struct Computation<'a> {
    pub accounts: &'a Accounts,
    pub groups: Groups<'a>,
    /// What `groups` looks at, to open a search of its own on.
    pub snapshot: &'a Arc<Snapshot>,
}

impl Computation<'_> {
    /// Replaces `out` by what `wanted` asks of the entry at `at`; gives the work it took. `tail` is used again for the same snapshot and view.
    pub(super) fn compute(
        &self,
        wanted: Wanted,
        at: Location,
        tail: &TailMembers,
        out: &mut Vec<ComputedAttribute>,
    ) -> u32 {
        out.clear();
        if !wanted.any() {
            return 0;
        }
        let mut spent = 0u32;
        let Groups {
            snapshot, schema, view, ..
        } = self.groups;
        let known = schema.well_known();
        let key = snapshot.key(at);
        let subordinates = Subordinates {
            snapshot: self.snapshot,
            schema,
            view,
        };
        if wanted.has_subordinates {
            let (any, work) = subordinates.any_text(&key);
            spent = spent.saturating_add(work);
            out.push(one(known.has_subordinates, any.to_owned()));
        }
        if wanted.num_subordinates {
            let (count, work) = subordinates.count(&key);
            spent = spent.saturating_add(work);
            out.push(one(known.num_subordinates, count.to_string()));
        }
        if wanted.member_of {
            let names = self.groups.of(snapshot.record(at).dn(), &view.releasable, tail);
            if !names.is_empty() {
                out.push(ComputedAttribute {
                    id: known.member_of,
                    values: names.into_iter().map(|name| name.as_bytes().to_vec()).collect(),
                });
            }
        }
        if wanted.collective {
            spent = spent.saturating_add(self.collective(at, &key, out));
        }
        if let Some(id) = wanted.status {
            out.extend(self.account_status(&key).map(|text| one(id, text)));
        }
        if wanted.password {
            self.password_state(&key, out);
        }
        spent
    }

    /// What is kept of a password beside it. The selection takes what it asked for.
    fn password_state(&self, key: &NormalizedDn, out: &mut Vec<ComputedAttribute>) {
        let state = self.accounts.password_state(key);
        let values = state.map(|state| password_values(self.groups.schema, state));
        out.extend(values.into_iter().flatten());
    }

    /// What subentries give to the entry, and which they are. Gives the work of looking at all of them.
    fn collective(&self, at: Location, key: &NormalizedDn, out: &mut Vec<ComputedAttribute>) -> u32 {
        let Groups {
            snapshot,
            schema,
            view,
            collective,
            ..
        } = self.groups;
        let candidate = Candidate {
            record: snapshot.record(at),
            key: &key.0,
        };
        let seen = collective.into_iter().flat_map(|all| all.seen(snapshot, schema, view));
        let mut looked_at = 0;
        let seen = seen.inspect(|_| looked_at += 1);
        let mut names = Vec::new();
        for subentry in seen.filter(|subentry| subentry.covers(candidate, schema)) {
            names.push(subentry.dn.as_bytes().to_vec());
            for (id, _, values) in &subentry.attributes {
                if !is_excluded(candidate.record, *id, schema) {
                    add_values(out, *id, values);
                }
            }
        }
        if !names.is_empty() {
            add_values(out, schema.well_known().collective_subentries, &names);
        }
        looked_at
    }

    /// What is known of an account's secrets and failures, as JSON; released to administrators by their profile.
    fn account_status(&self, key: &NormalizedDn) -> Option<String> {
        self.accounts
            .status(key)
            .and_then(|status| serde_json::to_string(&status).ok())
    }
}

impl Wanted {
    pub(super) fn new(selection: &Selection, view: &View, schema: &Schema, collective: bool) -> Wanted {
        let known = schema.well_known();
        let wants = |id| view.releasable.contains(id) && selection.wants(id, schema);
        Wanted {
            has_subordinates: wants(known.has_subordinates),
            num_subordinates: wants(known.num_subordinates),
            member_of: wants(known.member_of),
            collective,
            status: Some(known.account_status).filter(|id| wants(*id)),
            password: wants(known.password_changed)
                || wants(known.password_locked)
                || wants(known.password_reset)
                || wants(known.password_failures)
                || wants(known.password_success)
                || wants(known.password_grace)
                || wants(known.password_delayed),
            context_csn: Some(known.context_csn).filter(|id| wants(*id)),
        }
    }

    fn any(self) -> bool {
        self.has_subordinates
            || self.num_subordinates
            || self.member_of
            || self.collective
            || self.status.is_some()
            || self.password
    }
}

/// Adds what is not there yet.
fn add_values(out: &mut Vec<ComputedAttribute>, id: AttributeId, values: &[Vec<u8>]) {
    if !out.iter().any(|computed| computed.id == id) {
        out.push(ComputedAttribute { id, values: Vec::new() });
    }
    let Some(computed) = out.iter_mut().find(|computed| computed.id == id) else {
        return;
    };
    for value in values {
        if !computed.values.contains(value) {
            computed.values.push(value.clone());
        }
    }
}

/// What is kept of a password, as draft-behera-ldap-password-policy names it: of each type that has values.
fn password_values(schema: &Schema, state: PasswordState) -> impl Iterator<Item = ComputedAttribute> {
    let known = schema.well_known();
    let instants = |times: Vec<u64>| -> Vec<Vec<u8>> { times.into_iter().map(instant_text).collect() };
    let moments =
        |times: Vec<u64>| -> Vec<Vec<u8>> { times.into_iter().map(|at| moment_text(at).into_bytes()).collect() };
    let failures = match state.counted.is_empty() {
        true => instants(state.failures),
        false => moments(state.counted),
    };
    let reset = if state.must_change {
        vec![b"TRUE".to_vec()]
    } else {
        Vec::new()
    };
    let all = [
        (known.password_changed, instants(Vec::from_iter(state.changed))),
        (known.password_locked, instants(Vec::from_iter(state.locked))),
        (known.password_failures, failures),
        (known.password_success, instants(Vec::from_iter(state.last_success))),
        (known.password_grace, moments(state.grace)),
        (known.password_delayed, instants(Vec::from_iter(state.delayed))),
        (known.password_reset, reset),
    ];
    let there = all.into_iter().filter(|(_, values)| !values.is_empty());
    there.map(|(id, values)| ComputedAttribute { id, values })
}

/// The states of passwords, for filters.
pub(super) struct PasswordStates {
    pub accounts: Arc<Accounts>,
    /// Of the start: its types keep their numbers.
    pub schema: Arc<Schema>,
}

impl KeptBeside for PasswordStates {
    fn values(&self, id: AttributeId, key: &NormalizedDn, each: &mut dyn FnMut(&[u8])) {
        let state = self.accounts.password_state(key);
        let values = state.map(|state| password_values(&self.schema, state));
        let of_type = values.into_iter().flatten().filter(|values| values.id == id);
        of_type.for_each(|of_type| of_type.values.iter().for_each(|value| each(value)));
    }
}

/// 0 is what the draft writes for ever.
fn instant_text(seconds: u64) -> Vec<u8> {
    match seconds {
        0 => LOCKED_FOR_EVER.as_bytes().to_vec(),
        seconds => time_text(seconds).to_vec(),
    }
}

/// pwdAccountLockedTime of an entry that only an administrator unlocks.
pub const LOCKED_FOR_EVER: &str = "000001010000Z";

fn one(id: AttributeId, text: String) -> ComputedAttribute {
    ComputedAttribute {
        id,
        values: vec![text.into_bytes()],
    }
}
