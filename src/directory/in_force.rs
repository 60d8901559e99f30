//! What is in force: the policy, the server's own entries, and everything else that is resolved against the schema. Read anew
//! while the server runs.
//!
//! Invariant: the schema itself comes with each snapshot. What is here was resolved against the same one or the one before, so it
//! never decides how a record is read.

use super::committer::SchemaChange;
use super::integrity::Integrity;
use super::withheld::SecretNames;
use super::{Directory, DirectoryError, clock, protocol};
use crate::access::{Policy, PolicyFault, View};
use crate::model::Dn;
use crate::schema::{NormalizedDn, Schema};
use crate::store::{KeyedPair, KeyedWrite, Operational};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Where the store keeps since when the schema is as it is.
const SCHEMA_KEY: &[u8] = b"d/schema";

/// See the module.
pub(super) struct InForce {
    /// What the root DSE is released through.
    pub protocol_view: Arc<View>,
    pub subschema: Subschema,
    pub secret_names: SecretNames,
    pub schema: Arc<Schema>,
    times: SchemaTimes,
    policy: Arc<Policy>,
    pub views: HashMap<String, Arc<View>>,
}

/// The subschema subentry.
pub(super) struct Subschema {
    pub record: Vec<u8>,
    pub view: Arc<View>,
}

/// Since when there is a schema, and since when it is as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SchemaTimes {
    /// Microseconds since 1970, as all here.
    created: u64,
    changed: u64,
    digest: [u8; 32],
}

/// What a schema gained. All zero where only explanations, names or optional attributes changed, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SchemaGrowth {
    pub is_changed: bool,
    pub attribute_types: usize,
    pub object_classes: usize,
}

impl InForce {
    /// Views that say the same as before stay the same, and so do the sessions that have them.
    pub(super) fn new(
        schema: Arc<Schema>,
        policy: Arc<Policy>,
        suffixes: &[(Dn, NormalizedDn)],
        times: SchemaTimes,
        before: Option<&InForce>,
    ) -> Result<InForce, Vec<PolicyFault>> {
        let keys: Vec<NormalizedDn> = suffixes.iter().map(|(_, key)| key.clone()).collect();
        let mut views = policy.compile(&schema, &keys)?;
        for (name, view) in &mut views {
            let same = before.and_then(|before| before.views.get(name));
            if let Some(same) = same.filter(|same| **same == *view) {
                *view = Arc::clone(same);
            }
        }
        Ok(InForce {
            protocol_view: Arc::new(View::for_protocol(&schema)),
            subschema: Subschema {
                record: protocol::subschema(&schema, &times.operational()),
                view: Arc::new(View::for_subschema(&schema)),
            },
            secret_names: SecretNames::new(&schema),
            schema,
            times,
            policy,
            views,
        })
    }
}

impl SchemaTimes {
    /// As the store has them. Where the schema is another than it was, it is so since now; the write then keeps that.
    pub(super) fn of(schema: &Schema, keyed: &[KeyedPair]) -> (SchemaTimes, Option<KeyedWrite>) {
        let kept = keyed.iter().find(|(key, _)| key == SCHEMA_KEY);
        match kept.and_then(|(_, value)| SchemaTimes::decode(value)) {
            Some(times) if times.digest == digest(schema) => (times, None),
            before => {
                let times = SchemaTimes::now(schema, before);
                (times, Some(times.write()))
            }
        }
    }

    fn now(schema: &Schema, before: Option<SchemaTimes>) -> SchemaTimes {
        let now = clock::microseconds();
        SchemaTimes {
            created: before.map_or(now, |before| before.created),
            // Timestamps count seconds: a client that compares them is to see another one.
            changed: before.map_or(now, |before| now.max(before.changed + 1_000_000)),
            digest: digest(schema),
        }
    }

    fn write(self) -> KeyedWrite {
        let mut value = Vec::with_capacity(48);
        value.extend_from_slice(&self.created.to_be_bytes());
        value.extend_from_slice(&self.changed.to_be_bytes());
        value.extend_from_slice(&self.digest);
        KeyedWrite {
            key: SCHEMA_KEY.to_vec(),
            value: Some(value),
        }
    }

    fn decode(value: &[u8]) -> Option<SchemaTimes> {
        let (created, rest) = value.split_first_chunk()?;
        let (changed, digest) = rest.split_first_chunk()?;
        Some(SchemaTimes {
            created: u64::from_be_bytes(*created),
            changed: u64::from_be_bytes(*changed),
            digest: digest.try_into().ok()?,
        })
    }

    fn operational(&self) -> Operational<'static> {
        Operational {
            created: self.created / 1_000_000,
            modified: self.changed / 1_000_000,
            changed: self.changed,
            ..Operational::default()
        }
    }
}

fn digest(schema: &Schema) -> [u8; 32] {
    let mut digest = Sha256::new();
    for definition in schema.sorted_definitions() {
        digest.update(definition.as_bytes());
        digest.update([0]);
    }
    digest.finalize().into()
}

/// The policy of a file, or the built-in one.
pub(super) fn parse_policy(policy: &Option<(String, String)>) -> Result<Arc<Policy>, DirectoryError> {
    let parsed = match policy {
        Some((file, text)) => Policy::parse(file, text).map_err(DirectoryError::Policy)?,
        None => Policy::builtin(),
    };
    Ok(Arc::new(parsed))
}

impl Directory {
    pub(super) fn in_force(&self) -> arc_swap::Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Takes the schema that the built-in files and these make into force, as a whole or not at all. It may only grow
    /// ([`Schema::successor`]). Operations that run keep what they began with. Waits for the disk.
    ///
    /// # Errors
    /// `Schema` with every fault, each with its place; `Store` where a stored value or the disk is against it.
    pub fn reload_schema(&self, files: &[(String, String)]) -> Result<SchemaGrowth, DirectoryError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.in_force.load_full();
        let next = now.schema.successor(files).map_err(DirectoryError::Schema)?;
        if next.says_the_same(&now.schema) {
            return Ok(SchemaGrowth::default());
        }
        let growth = SchemaGrowth {
            is_changed: true,
            attribute_types: next.attributes().len() - now.schema.attributes().len(),
            object_classes: next.classes().len() - now.schema.classes().len(),
        };
        let times = SchemaTimes::now(&next, Some(now.times));
        let (next, policy) = (Arc::new(next), Arc::clone(&now.policy));
        let next = InForce::new(next, policy, &self.suffixes, times, Some(&now)).map_err(DirectoryError::Policy)?;
        let integrity = Integrity::new(&self.integrity, &next.schema)?;
        self.committer.change_schema(SchemaChange {
            schema: Arc::clone(&next.schema),
            integrity,
            written: times.write(),
        })?;
        self.put_in_force(next);
        Ok(growth)
    }

    /// Takes another policy into force. Sessions go on under it; those whose profile is gone must bind again.
    ///
    /// # Errors
    /// Every fault of the policy; the one in force stays.
    pub fn reload_policy(&self, asked: &Option<(String, String)>) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.in_force.load_full();
        let policy = parse_policy(asked)?;
        let next = InForce::new(Arc::clone(&now.schema), policy, &self.suffixes, now.times, Some(&now));
        let next = next.map_err(DirectoryError::Policy)?;
        if let Some(changed) = self.policy_since.renew(asked, self.feed.position()) {
            let mut group = self.store.begin();
            group.apply(Vec::new(), vec![changed]);
            group.commit()?;
        }
        self.put_in_force(next);
        Ok(())
    }

    fn put_in_force(&self, next: InForce) {
        self.in_force.store(Arc::new(next));
        self.policy_number.fetch_add(1, Ordering::AcqRel);
        self.feed.wake();
    }

    /// The view of a profile by name; `None` where the policy has no such profile.
    pub fn view(&self, profile: &str) -> Option<Arc<View>> {
        self.in_force().views.get(profile).cloned()
    }
}
