//! What the configuration asks of entries together: names that follow a rename and end with a delete, and values that no two
//! entries have.
//!
//! Invariants: both hold within the journal group of the change that would break them; both read the indexes, never the
//! directory; what is refused names the attribute and no entry.

use super::committer::{Author, Effects};
use super::{Directory, DirectoryError};
use crate::model::{Dn, Entry, Outcome, ResultCode, Value};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::{Change, Held, Record, Snapshot, record};
use std::collections::HashSet;
use std::sync::Arc;

/// As configured; nothing by default.
#[derive(Clone, Debug)]
pub struct IntegrityOptions {
    /// Attribute types whose values are names that follow.
    pub references: Vec<String>,
    /// A name that takes the place of the last value of an attribute that an entry must have. Without, that value stays.
    pub placeholder: Option<String>,
    /// Entries that one change may bring along.
    pub referring_entries: usize,
    pub unique: Vec<UniqueOptions>,
}

/// An attribute type of which no two entries have the same value.
#[derive(Clone, Debug)]
pub struct UniqueOptions {
    pub attribute: String,
    /// The subtree in which this holds; everywhere where not given.
    pub base: Option<String>,
}

impl Default for IntegrityOptions {
    fn default() -> Self {
        Self {
            references: Vec::new(),
            placeholder: None,
            referring_entries: 10_000,
            unique: Vec::new(),
        }
    }
}

/// The same, resolved.
pub(super) struct Integrity {
    references: Vec<AttributeId>,
    placeholder: Option<String>,
    referring_entries: usize,
    unique: Vec<(AttributeId, NormalizedDn)>,
}

/// An entry and all below it got another name, or one entry is gone.
pub(super) struct Gone<'a> {
    pub from: &'a NormalizedDn,
    /// Key and name after a rename.
    pub to: Option<(NormalizedDn, Dn)>,
    /// Octets that the entries which refer to it may have together.
    pub most_octets: usize,
}

impl Integrity {
    pub(super) fn new(options: &IntegrityOptions, schema: &Schema) -> Result<Integrity, DirectoryError> {
        let wrong = |key: &str, value: &str, reason: &str| DirectoryError::Integrity {
            key: key.to_owned(),
            reason: format!("{value} {reason}"),
        };
        let mut references = Vec::new();
        for name in &options.references {
            let found = schema.find_attribute(name).map(|id| schema.attribute(id));
            let of_names = found.filter(|found| found.equality.is_some() && found.syntax.holds_names());
            let found = of_names.ok_or_else(|| wrong("integrity.references", name, "is no attribute type of names"))?;
            references.extend(found.subtypes.iter().copied());
        }
        references.sort_unstable();
        references.dedup();
        let key_of = |text: &str| Dn::parse(text).ok().and_then(|dn| schema.normalize_dn(&dn).ok());
        let placeholder = options.placeholder.clone();
        if let Some(name) = placeholder.as_deref().filter(|name| key_of(name).is_none()) {
            return Err(wrong("integrity.placeholder", name, "is no distinguished name"));
        }
        let mut unique = Vec::new();
        for rule in &options.unique {
            let id = schema
                .find_attribute(&rule.attribute)
                .filter(|id| schema.attribute(*id).equality.is_some() && *id != schema.well_known().user_password);
            let id = id.ok_or_else(|| wrong("integrity.unique", &rule.attribute, "has no values to compare"))?;
            let base = rule.base.as_deref().unwrap_or_default();
            let base = key_of(base).ok_or_else(|| wrong("integrity.unique", base, "is no distinguished name"))?;
            unique.push((id, base));
        }
        Ok(Integrity {
            references,
            placeholder,
            referring_entries: options.referring_entries,
            unique,
        })
    }

    /// Refuses a change after which two entries would have the same value.
    pub(super) fn check_unique(&self, snapshot: &Snapshot, schema: &Schema, effects: &Effects) -> Result<(), Outcome> {
        if self.unique.is_empty() {
            return Ok(());
        }
        let replaced = effects.changes.iter().map(|change| match change {
            Change::Put { key, .. } | Change::Delete { key, .. } => key,
        });
        // A moved entry holds the value under its old name.
        let replaced: HashSet<&NormalizedDn> = replaced.collect();
        let types = schema.type_numbers();
        for (id, base) in &self.unique {
            for change in &effects.changes {
                let Change::Put { key, record } = change else { continue };
                if !key.is_within(base) {
                    continue;
                }
                let taken = |normalized: &[u8]| {
                    snapshot.has_holder(*id, Held::Value(normalized), |at| {
                        let holder = snapshot.key(at);
                        holder.is_within(base) && !replaced.contains(&holder)
                    })
                };
                if normalized_values(Record::new(record, types), schema, *id).any(|value| taken(&value)) {
                    let name = schema.attribute(*id).name();
                    let message = format!("{name} is to be unique, and a value of it is in use");
                    return Err(Outcome::new(ResultCode::ConstraintViolation, message));
                }
            }
        }
        Ok(())
    }

    /// What a change does to entries that refer to the entry: mends those that move along in place, and gives the others.
    /// `next` gives the author of each.
    pub(super) fn follow<'a>(
        &self,
        snapshot: &Snapshot,
        schema: &Schema,
        gone: &Gone<'_>,
        effects: &mut Effects,
        next: impl Fn() -> Author<'a>,
        is_left_alone: impl Fn(&NormalizedDn) -> bool,
    ) -> Result<Vec<Change>, Outcome> {
        if self.references.is_empty() {
            return Ok(Vec::new());
        }
        let types = schema.type_numbers();
        // What moves along may refer to what moves along.
        for change in &mut effects.changes {
            let Change::Put { record, .. } = change else { continue };
            let old = Record::new(record, types);
            if let Some(entry) = self.rewritten(old, schema, gone) {
                *record = record::encode(&entry, &old.operational(), schema);
            }
        }
        let mut keys = Vec::new();
        for id in &self.references {
            let limit = self.referring_entries.saturating_add(1);
            let holders = snapshot.holders(*id, Held::Prefix(&gone.from.0), limit);
            keys.extend(holders.into_iter().map(|at| snapshot.key(at)));
        }
        keys.retain(|key| !key.is_within(gone.from) && !is_left_alone(key));
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > self.referring_entries {
            let message = format!(
                "more than {} entries refer to it; raise integrity.referring_entries",
                self.referring_entries
            );
            return Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
        }
        let mut puts = Vec::with_capacity(keys.len());
        let mut octets = 0;
        for key in keys {
            let Some(at) = snapshot.find(&key) else { continue };
            let old = snapshot.record(at);
            if let Some(entry) = self.rewritten(old, schema, gone) {
                let record = record::encode(&entry, &next().changed(&old.operational()), schema);
                octets += record.len();
                if octets > gone.most_octets {
                    let most = gone.most_octets;
                    let message = format!("more than {most} bytes of entries refer to it; see limits.rename_bytes");
                    return Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
                }
                puts.push(Change::Put { key, record });
            }
        }
        Ok(puts)
    }

    /// The entry with its references mended; `None` where none leads to what is gone.
    fn rewritten(&self, record: Record<'_>, schema: &Schema, gone: &Gone<'_>) -> Option<Entry> {
        let mut attributes = record.attributes();
        if !attributes.any(|attribute| self.references.contains(&attribute.id)) {
            return None;
        }
        let mut entry = record.to_entry();
        let mut changed = false;
        for at in 0..entry.attributes.len() {
            let attribute = &entry.attributes[at];
            let id = schema.find_attribute(&attribute.description.attribute_type);
            let Some(id) = id.filter(|id| self.references.contains(id)) else {
                continue;
            };
            let mended: Vec<Mended> = attribute
                .values
                .iter()
                .map(|value| mended(value, schema, gone))
                .collect();
            if mended.iter().all(|one| matches!(one, Mended::Same)) {
                continue;
            }
            let before = attribute.values.clone();
            let values = before.iter().zip(mended).filter_map(|(value, mended)| match mended {
                Mended::Same => Some(value.clone()),
                Mended::Name(name) => Some(name.into_bytes()),
                Mended::Ended => None,
            });
            let mut values: Vec<Value> = values.collect();
            while let Some(again) = schema.repeated_value(id, &values) {
                values.remove(again);
            }
            entry.attributes[at].values = values;
            if entry.attributes[at].values.is_empty() && schema.check_entry(&entry).is_err() {
                match &self.placeholder {
                    Some(name) => entry.attributes[at].values.push(name.clone().into_bytes()),
                    None => {
                        entry.attributes[at].values = before;
                        continue;
                    }
                }
            }
            changed = true;
        }
        entry.attributes.retain(|attribute| !attribute.values.is_empty());
        changed.then_some(entry)
    }
}

/// What may be asked of values that no two entries may have.
pub struct Uniqueness {
    rules: Vec<(AttributeId, NormalizedDn)>,
    schema: Arc<Schema>,
}

/// A value that is to be unique: the number of its rule, and the value by its equality rule.
pub type UniqueValue = (usize, Vec<u8>);

impl Directory {
    /// `None` where the configuration asks for nothing.
    ///
    /// # Errors
    /// What the configuration names and the schema does not know.
    pub fn uniqueness(&self) -> Result<Option<Uniqueness>, DirectoryError> {
        let schema = self.schema();
        let rules = Integrity::new(&self.integrity, &schema)?.unique;
        Ok((!rules.is_empty()).then_some(Uniqueness { rules, schema }))
    }
}

impl Uniqueness {
    /// The table of attribute types that records of this directory are read by.
    pub fn types(&self) -> &[AttributeId] {
        self.schema.type_numbers()
    }

    /// The attribute type of a rule.
    pub fn attribute(&self, rule: usize) -> &str {
        self.rules
            .get(rule)
            .map_or("", |(id, _)| self.schema.attribute(*id).name())
    }

    /// The values of an entry that are to be unique.
    pub fn values(&self, key: &NormalizedDn, record: Record<'_>) -> Vec<UniqueValue> {
        let mut values = Vec::new();
        for (rule, (id, _)) in self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, (_, base))| key.is_within(base))
        {
            values.extend(normalized_values(record, &self.schema, *id).map(|value| (rule, value)));
        }
        values
    }

    /// Whether an entry that counts has the value already.
    pub fn is_held(
        &self,
        snapshot: &Snapshot,
        (rule, value): &UniqueValue,
        counts: impl Fn(&NormalizedDn) -> bool,
    ) -> bool {
        self.rules.get(*rule).is_some_and(|(id, base)| {
            snapshot.has_holder(*id, Held::Value(value), |at| {
                let key = snapshot.key(at);
                key.is_within(base) && counts(&key)
            })
        })
    }
}

/// What becomes of one reference.
enum Mended {
    Same,
    Name(String),
    Ended,
}

fn mended(value: &[u8], schema: &Schema, gone: &Gone<'_>) -> Mended {
    let Ok(text) = std::str::from_utf8(value) else {
        return Mended::Same;
    };
    // Of a unique member only the name changes (RFC 4517 section 3.3.21).
    let (name, rest) = match text.rfind("#'").filter(|_| text.ends_with("'B")) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let Some((dn, key)) = Dn::parse(name)
        .ok()
        .and_then(|dn| schema.normalize_dn(&dn).ok().map(|key| (dn, key)))
    else {
        return Mended::Same;
    };
    if !key.is_within(gone.from) {
        return Mended::Same;
    }
    match &gone.to {
        None => Mended::Ended,
        Some((_, to)) => {
            let own = key.depth().saturating_sub(gone.from.depth());
            let rdns = dn.rdns().iter().take(own).chain(to.rdns()).cloned().collect();
            Mended::Name(format!("{}{rest}", Dn::from_rdns(rdns)))
        }
    }
}

/// The values of a type in a record, by its equality rule.
fn normalized_values<'r>(
    record: Record<'r>,
    schema: &'r Schema,
    id: AttributeId,
) -> impl Iterator<Item = Vec<u8>> + 'r {
    let rule = schema.attribute(id).equality;
    let attributes = record.attributes().filter(move |attribute| attribute.id == id);
    attributes
        .flat_map(|attribute| attribute.values())
        .filter_map(move |value| {
            let mut normalized = Vec::with_capacity(value.len());
            rule?.normalize(schema, value, &mut normalized).ok()?;
            Some(normalized)
        })
}
