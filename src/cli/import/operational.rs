//! What another server kept about an entry: taken over where this one keeps it too, else left out and counted.

use crate::directory::seconds_of;
use crate::model::{Dn, Entry, Value};
use crate::schema::Schema;
use crate::store::Operational;
use std::collections::BTreeMap;

/// Attributes that other servers keep and that a schema may not mark as theirs.
const KEPT_ELSEWHERE: [&str; 11] = [
    "contextCSN",
    "pwdChangedTime",
    "pwdAccountLockedTime",
    "pwdFailureTime",
    "pwdHistory",
    "pwdGraceUseTime",
    "pwdReset",
    "pwdPolicySubentry",
    "pwdLastSuccess",
    "pwdAccountTmpLockoutEnd",
    "authTimestamp",
];

/// Random octets taken from the system at a time.
const POOL_BYTES: usize = 4_096;

/// [`Operational`] with texts of its own.
#[derive(Default)]
pub(super) struct Kept {
    entry_uuid: Option<[u8; 16]>,
    created: Option<u64>,
    modified: Option<u64>,
    creator: String,
    modifier: String,
}

/// How often an attribute was left out, by name.
pub(super) type LeftOut = BTreeMap<String, u64>;

/// Takes what the server keeps out of an entry.
///
/// # Errors
/// A value that cannot be taken over.
pub(super) fn take_out(entry: &mut Entry, schema: &Schema, left_out: &mut LeftOut) -> Result<Kept, String> {
    let known = schema.well_known();
    let mut kept = Kept::default();
    let mut fault = None;
    entry.attributes.retain(|attribute| {
        let name = attribute.description.attribute_type.as_str();
        let id = schema.find_attribute(name);
        let is_kept = id.is_some_and(|id| {
            let attribute = schema.attribute(id);
            attribute.is_operational() || attribute.no_user_modification
        });
        if !is_kept && !KEPT_ELSEWHERE.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
            return true;
        }
        let Some(id) = id else {
            *left_out.entry(name.to_owned()).or_default() += 1;
            return false;
        };
        let taken = if id == known.entry_uuid {
            one(name, &attribute.values, "a UUID", uuid).map(|uuid| kept.entry_uuid = Some(uuid))
        } else if id == known.create_timestamp {
            one(name, &attribute.values, "a time like 20260131235959Z", seconds_of)
                .map(|time| kept.created = Some(time))
        } else if id == known.modify_timestamp {
            one(name, &attribute.values, "a time like 20260131235959Z", seconds_of)
                .map(|time| kept.modified = Some(time))
        } else if id == known.creators_name {
            one(name, &attribute.values, "a distinguished name", dn).map(|dn| kept.creator = dn)
        } else if id == known.modifiers_name {
            one(name, &attribute.values, "a distinguished name", dn).map(|dn| kept.modifier = dn)
        } else {
            *left_out.entry(schema.attribute(id).name().to_owned()).or_default() += 1;
            Ok(())
        };
        fault = fault.take().or(taken.err());
        false
    });
    fault.map_or(Ok(kept), Err)
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

/// A name short enough to be kept.
fn dn(text: &str) -> Option<String> {
    let is_name = text.len() <= usize::from(u8::MAX) && Dn::parse(text).is_ok();
    is_name.then(|| text.to_owned())
}

impl Kept {
    /// With what is missing filled in.
    pub(super) fn operational(&self, now: u64, uuids: &mut Uuids) -> Operational<'_> {
        let created = self.created.or(self.modified).unwrap_or(now);
        Operational {
            entry_uuid: self.entry_uuid.unwrap_or_else(|| uuids.next()),
            created,
            modified: self.modified.unwrap_or(created),
            sequence: 0,
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
