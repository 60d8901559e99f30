//! What another server kept about an entry: taken over where this one keeps it too, else left out and counted.

use crate::account::PasswordState;
use crate::directory::{LOCKED_FOR_EVER, microseconds_of, seconds_of};
use crate::model::{Dn, Entry, Value};
use crate::query::computed::is_kept;
use crate::schema::{AttributeId, Schema};
use crate::store::Operational;
use crate::store::record::csn_time;
use std::collections::BTreeMap;

/// Attributes that other servers keep and that a schema may not mark as theirs.
const KEPT_ELSEWHERE: [&str; 2] = ["contextCSN", "authTimestamp"];

/// Random octets taken from the system at a time.
const POOL_BYTES: usize = 4_096;

/// [`Operational`] with texts of its own.
#[derive(Default)]
pub(super) struct Kept {
    entry_uuid: Option<[u8; 16]>,
    pub created: Option<u64>,
    modified: Option<u64>,
    changed: Option<u64>,
    creator: String,
    modifier: String,
    pub password: PasswordState,
    /// Secrets of before, as another server kept them.
    pub history: Vec<Value>,
}

/// How often an attribute was left out, by name.
pub(super) type LeftOut = BTreeMap<String, u64>;

/// What an attribute is to an import.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stays,
    Password,
    Kept(AttributeId),
    LeftOut,
}

/// The kinds of names as spelled. Names mostly come in the same order in one entry after the other.
#[derive(Default)]
pub(super) struct Kinds {
    met: Vec<(String, Kind)>,
    next: usize,
}

/// Different spellings that are remembered.
const KINDS_LIMIT: usize = 256;

impl Kinds {
    fn of(&mut self, name: &str, schema: &Schema) -> Kind {
        let from_next = self.met.iter().enumerate().skip(self.next);
        let found = from_next
            .chain(self.met.iter().enumerate().take(self.next))
            .find(|(_, (met, _))| met == name);
        if let Some((at, (_, kind))) = found {
            let kind = *kind;
            self.next = at + 1;
            return kind;
        }
        let kind = kind(name, schema);
        if self.met.len() < KINDS_LIMIT {
            self.met.push((name.to_owned(), kind));
        }
        kind
    }
}

fn kind(name: &str, schema: &Schema) -> Kind {
    let known = schema.well_known();
    let taken_over = [
        known.entry_uuid,
        known.create_timestamp,
        known.modify_timestamp,
        known.creators_name,
        known.modifiers_name,
        known.entry_csn,
        known.password_history,
    ];
    match schema.find_attribute(name) {
        Some(id) if id == known.user_password => Kind::Password,
        Some(id) if taken_over.contains(&id) || is_kept(schema, id) => Kind::Kept(id),
        _ if KEPT_ELSEWHERE.iter().any(|kept| kept.eq_ignore_ascii_case(name)) => Kind::LeftOut,
        Some(id) if schema.attribute(id).is_administrative() => Kind::Stays,
        Some(id) if schema.attribute(id).is_operational() || schema.attribute(id).no_user_modification => Kind::LeftOut,
        _ => Kind::Stays,
    }
}

/// Takes what the server keeps out of an entry. Also says whether the entry has a password, which stays.
///
/// # Errors
/// A value that cannot be taken over.
pub(super) fn take_out(
    entry: &mut Entry,
    schema: &Schema,
    kinds: &mut Kinds,
    left_out: &mut LeftOut,
) -> Result<(Kept, bool), String> {
    let mut kept = Kept::default();
    let mut has_password = false;
    let mut fault = None;
    entry.attributes.retain(|attribute| {
        let name = attribute.description.attribute_type.as_str();
        match kinds.of(name, schema) {
            Kind::Stays => true,
            Kind::Password => {
                has_password = true;
                true
            }
            Kind::Kept(id) => {
                let taken = kept.take(id, name, &attribute.values, schema);
                fault = fault.take().or(taken.err());
                false
            }
            Kind::LeftOut => {
                *left_out.entry(name.to_owned()).or_default() += 1;
                false
            }
        }
    });
    fault.map_or(Ok((kept, has_password)), Err)
}

fn one<T>(name: &str, values: &[Value], expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let text = match values {
        [value] => std::str::from_utf8(value).ok(),
        _ => return Err(format!("expected one value of {name}, found {}", values.len())),
    };
    text.and_then(parse)
        .ok_or_else(|| format!("expected {expected} in {name}"))
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let places: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    if text.len() != 36
        || places != [8, 13, 18, 23]
        || !text.bytes().all(|octet| octet == b'-' || octet.is_ascii_hexdigit())
    {
        return None;
    }
    let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    Some(number.to_be_bytes())
}

/// Microseconds since 1970, in their order.
fn moments(name: &str, values: &[Value]) -> Result<Vec<u64>, String> {
    let moment = |value: &Value| microseconds_of(std::str::from_utf8(value).ok()?);
    let mut all = values
        .iter()
        .map(|value| moment(value).ok_or_else(|| format!("expected times like 20260131235959.000000Z in {name}")))
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "TRUE" => Some(true),
        "FALSE" => Some(false),
        _ => None,
    }
}

/// A name short enough to be kept.
fn dn(text: &str) -> Option<String> {
    let is_name = text.len() <= usize::from(u8::MAX) && Dn::parse(text).is_ok();
    is_name.then(|| text.to_owned())
}

impl Kept {
    fn take(&mut self, id: AttributeId, name: &str, values: &[Value], schema: &Schema) -> Result<(), String> {
        const TIME: &str = "a time like 20260131235959Z";
        let known = schema.well_known();
        if id == known.entry_uuid {
            self.entry_uuid = Some(one(name, values, "a UUID", uuid)?);
        } else if id == known.create_timestamp {
            self.created = Some(one(name, values, TIME, seconds_of)?);
        } else if id == known.modify_timestamp {
            self.modified = Some(one(name, values, TIME, seconds_of)?);
        } else if id == known.creators_name {
            self.creator = one(name, values, "a distinguished name", dn)?;
        } else if id == known.password_changed {
            self.password.changed = Some(one(name, values, TIME, seconds_of)?);
        } else if id == known.password_locked {
            let since = |text: &str| seconds_of(text).or((text == LOCKED_FOR_EVER).then_some(0));
            self.password.locked = Some(one(name, values, TIME, since)?);
        } else if id == known.password_reset {
            self.password.must_change = one(name, values, "TRUE or FALSE", boolean)?;
        } else if id == known.password_success {
            self.password.last_success = Some(one(name, values, TIME, seconds_of)?);
        } else if id == known.password_delayed {
            self.password.delayed = Some(one(name, values, TIME, seconds_of)?);
        } else if id == known.password_grace {
            self.password.grace = moments(name, values)?;
        } else if id == known.password_failures {
            self.password.counted = moments(name, values)?;
        } else if id == known.password_history {
            self.history = values.to_vec();
        } else if id == known.entry_csn {
            self.changed = Some(one(name, values, "a change sequence number", csn_time)?);
        } else {
            self.modifier = one(name, values, "a distinguished name", dn)?;
        }
        Ok(())
    }

    /// With what is missing filled in.
    pub(super) fn operational(&self, now: u64, uuids: &mut Uuids) -> Operational<'_> {
        let created = self.created.or(self.modified).unwrap_or(now);
        Operational {
            entry_uuid: self.entry_uuid.unwrap_or_else(|| uuids.next()),
            created,
            modified: self.modified.unwrap_or(created),
            sequence: 0,
            changed: self.changed.unwrap_or_default(),
            creator: &self.creator,
            modifier: &self.modifier,
        }
    }
}

/// Random UUIDs (RFC 4122 section 4.4).
pub(super) struct Uuids {
    pool: Vec<u8>,
}

impl Uuids {
    pub(super) fn new() -> Uuids {
        Uuids { pool: Vec::new() }
    }

    fn next(&mut self) -> [u8; 16] {
        if self.pool.len() < 16 {
            self.pool.resize(POOL_BYTES, 0);
            getrandom::fill(&mut self.pool).expect("the operating system gives random octets");
        }
        let rest = self.pool.len() - 16;
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.pool[rest..]);
        self.pool.truncate(rest);
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_uuids() {
        let text = "597ae2f6-16a6-1027-98f4-d28b5365dc14";
        assert_eq!(uuid(text).unwrap()[..4], [0x59, 0x7a, 0xe2, 0xf6]);
        for bad in [
            "",
            "597ae2f616a6102798f4d28b5365dc14",
            "597ae2f6-16a6-1027-98f4-d28b5365dc1g",
            "+97ae2f6-16a6-1027-98f4-d28b5365dc14",
        ] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn random_uuids_differ() {
        let mut uuids = Uuids::new();
        let all: std::collections::HashSet<[u8; 16]> = (0..1_000).map(|_| uuids.next()).collect();
        assert_eq!(all.len(), 1_000);
    }
}
