//! Relax Rules (draft-zeilenga-ldap-relax), as far as restoring entries needs it: an administrator says who made and changed an
//! entry, and when, which the server says otherwise; and which entryUUID a new entry has. As with slapd, obsolete types and classes
//! may be added, and unique values taken twice. What is kept beside a secret is in `password_state.rs`.
//!
//! Invariants: nothing else that the server keeps is opened by it, above all nothing of groups; the time of a change
//! stays the server's (entryCSN), because those who follow changes go by it. slapd opens neither that nor structuralObjectClass.

use super::application::seconds_of;
use super::password_state;
use super::update::Update;
use crate::model::{Attribute, AttributeDescription, Entry, Outcome, ResultCode, Value};
use crate::schema::{AttributeId, MatchingRule, Schema};
use crate::store::record::derived_values;
use crate::store::{Held, Operational, Record, Snapshot};

/// What an update gives in place of what the server would say.
#[derive(Default)]
pub(super) struct Given {
    entry_uuid: Option<[u8; 16]>,
    created: Option<u64>,
    modified: Option<u64>,
    creator: Option<String>,
    modifier: Option<String>,
}

/// Types that an update may set under relaxed rules alone, and does: without the control none is open.
pub(super) fn asked(schema: &Schema, update: &Update) -> Vec<AttributeId> {
    let id = |description: &AttributeDescription| match description.options.is_empty() {
        true => schema.find_attribute(&description.attribute_type),
        false => None,
    };
    match update {
        Update::Add(entry) => {
            let given = entry
                .attributes
                .iter()
                .filter_map(|attribute| id(&attribute.description));
            given.filter(|id| opens(schema, true, *id)).collect()
        }
        Update::Modify { changes, .. } => {
            let mut given: Vec<_> = changes.iter().filter_map(|change| id(&change.description)).collect();
            given.retain(|id| opens(schema, false, *id));
            given.sort_unstable();
            given.dedup();
            given
        }
        Update::Delete { .. } | Update::ModifyDn { .. } => Vec::new(),
    }
}

/// What every entry keeps.
fn of_every(schema: &Schema) -> [AttributeId; 4] {
    let known = schema.well_known();
    [
        known.create_timestamp,
        known.creators_name,
        known.modify_timestamp,
        known.modifiers_name,
    ]
}

/// An entry keeps its entryUUID for ever (RFC 4530 section 2), and gets it when it is made.
fn opens(schema: &Schema, adds: bool, id: AttributeId) -> bool {
    of_every(schema).contains(&id)
        || password_state::types(schema).contains(&id)
        || adds && id == schema.well_known().entry_uuid
}

/// Puts what is kept of an entry beside its attributes into them, so that modifications find it.
pub(super) fn show(schema: &Schema, record: Record<'_>, entry: &mut Entry, asked: &[AttributeId]) {
    for id in asked {
        let mut values: Vec<Value> = Vec::new();
        derived_values(record, schema, *id, &mut |value| values.push(value.to_vec()));
        if !values.is_empty() {
            entry
                .attributes
                .push(Attribute::new(schema.attribute(*id).name(), values));
        }
    }
}

impl Given {
    /// Takes what a new entry gives out of it.
    ///
    /// # Errors
    /// A value that cannot be kept, or an entryUUID that another entry has.
    pub(super) fn of_add(
        schema: &Schema,
        snapshot: &Snapshot,
        entry: &mut Entry,
        asked: &[AttributeId],
    ) -> Result<Given, Outcome> {
        let mut given = Given::default();
        for id in asked {
            if let Some(value) = take(schema, entry, *id) {
                given.keep(schema, *id, &value)?;
            }
        }
        let uuid_type = schema.well_known().entry_uuid;
        let taken = |uuid: &[u8; 16]| !snapshot.holders(uuid_type, Held::Value(uuid), 1).is_empty();
        if given.entry_uuid.as_ref().is_some_and(taken) {
            return Err(constraint("entryUUID is that of another entry".to_owned()));
        }
        Ok(given)
    }

    /// Takes what a modify was about, and every entry keeps, out of the modified entry.
    ///
    /// # Errors
    /// A value that cannot be kept, or none.
    pub(super) fn of_modify(schema: &Schema, entry: &mut Entry, asked: &[AttributeId]) -> Result<Given, Outcome> {
        let mut given = Given::default();
        for id in asked.iter().filter(|id| of_every(schema).contains(id)) {
            let missing = || constraint(format!("every entry keeps {}", schema.attribute(*id).name()));
            let value = take(schema, entry, *id).ok_or_else(missing)?;
            given.keep(schema, *id, &value)?;
        }
        Ok(given)
    }

    fn keep(&mut self, schema: &Schema, id: AttributeId, value: &[u8]) -> Result<(), Outcome> {
        let known = schema.well_known();
        let text = std::str::from_utf8(value).ok();
        let unkept = || {
            let message = format!("{}: the value cannot be kept", schema.attribute(id).name());
            Outcome::new(ResultCode::InvalidAttributeSyntax, message)
        };
        let time = || text.and_then(seconds_of).ok_or_else(unkept);
        let name = || text.map(str::to_owned).ok_or_else(unkept);
        if id == known.create_timestamp {
            self.created = Some(time()?);
        } else if id == known.modify_timestamp {
            self.modified = Some(time()?);
        } else if id == known.creators_name {
            self.creator = Some(name()?);
        } else if id == known.modifiers_name {
            self.modifier = Some(name()?);
        } else if id == known.entry_uuid {
            let mut octets = Vec::with_capacity(16);
            let normal = MatchingRule::Uuid.normalize(schema, value, &mut octets);
            self.entry_uuid = Some(normal.ok().and_then(|()| octets.try_into().ok()).ok_or_else(unkept)?);
        }
        Ok(())
    }

    /// What is kept of an entry: as given, else as the server says.
    pub(super) fn over<'o>(&'o self, said: Operational<'o>) -> Operational<'o> {
        Operational {
            entry_uuid: self.entry_uuid.unwrap_or(said.entry_uuid),
            created: self.created.unwrap_or(said.created),
            modified: self.modified.unwrap_or(said.modified),
            creator: self.creator.as_deref().unwrap_or(said.creator),
            modifier: self.modifier.as_deref().unwrap_or(said.modifier),
            ..said
        }
    }
}

/// The one value of a type without options.
fn take(schema: &Schema, entry: &mut Entry, id: AttributeId) -> Option<Value> {
    let at = entry.attributes.iter().position(|attribute| {
        let description = &attribute.description;
        description.options.is_empty() && schema.find_attribute(&description.attribute_type) == Some(id)
    })?;
    entry.attributes.remove(at).values.pop()
}

fn constraint(message: String) -> Outcome {
    Outcome::new(ResultCode::ConstraintViolation, message)
}
