//! Application accounts as entries below `ou=Applications,<suffix>`: which entries they are, and their facts.

use crate::account::{AccountFacts, Role};
use crate::model::Dn;
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Record, Snapshot};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last RDN of the container's key, as the schema normalises `ou=Applications`.
const CONTAINER: &[u8] = b"ou=applications\0";
/// Accounts read at start-up from one naming context.
const ACCOUNTS_LIMIT: usize = 100_000;

/// Whether an entry with this key is an application account: directly below `ou=Applications` of a naming context.
pub fn is_account_key(key: &NormalizedDn, suffixes: &[NormalizedDn]) -> bool {
    let Some(container) = key.parent() else { return false };
    suffixes
        .iter()
        .any(|suffix| container.0.strip_prefix(suffix.0.as_slice()) == Some(CONTAINER))
}

/// The facts of one account's entry. What is missing or not understood takes the safe value: a reader, and an expiry that
/// cannot be read has passed.
pub fn account_facts(key: &NormalizedDn, record: Record<'_>) -> AccountFacts {
    let mut facts = AccountFacts {
        key: key.clone(),
        dn: record.dn().to_owned(),
        name: naming_value(record.dn()),
        mails: Vec::new(),
        role: Role::Reader,
        profile: None,
        disabled: false,
        expires: None,
        certificates: Vec::new(),
        general: false,
    };
    for attribute in record.attributes() {
        for value in attribute.values() {
            take_fact(&mut facts, attribute.description(), &String::from_utf8_lossy(value));
        }
    }
    facts
}

fn take_fact(facts: &mut AccountFacts, description: &str, value: &str) {
    match description {
        "mail" => facts.mails.push(value.to_owned()),
        "nhsdirRole" => facts.role = role(value),
        "nhsdirProfile" => facts.profile = Some(value.to_owned()),
        "nhsdirDisabled" => facts.disabled = !value.eq_ignore_ascii_case("false"),
        "nhsdirExpires" => facts.expires = Some(seconds_of(value).unwrap_or(0)),
        "nhsdirCertificate" => facts.certificates.extend(fingerprint(value)),
        _ => {}
    }
}

fn role(value: &str) -> Role {
    match value.to_ascii_lowercase().as_str() {
        "writer" => Role::Writer,
        "administrator" => Role::Administrator,
        _ => Role::Reader,
    }
}

fn naming_value(dn: &str) -> String {
    let parsed = Dn::parse(dn).ok();
    let ava = parsed.as_ref().and_then(|dn| dn.rdn()).and_then(|rdn| rdn.avas.first());
    ava.map(|ava| String::from_utf8_lossy(&ava.value).into_owned())
        .unwrap_or_default()
}

/// Seconds since 1970 of a generalizedTime (RFC 4517 section 3.3.13) with full seconds or less, in UTC.
pub fn seconds_of(value: &str) -> Option<u64> {
    let digits = value.strip_suffix(['Z', 'z'])?.split(['.', ',']).next()?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit())
        || !(10..=14).contains(&digits.len())
        || digits.len() % 2 == 1
    {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).filter(|part| !part.is_empty()).unwrap_or("00");
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        digits.get(10..12).unwrap_or("00"),
        digits.get(12..14).unwrap_or("00"),
    );
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp()).ok()
}

/// Until when the secret of before a change stays valid, as the account's entry says.
pub(super) fn old_secret_until(record: Record<'_>) -> Option<u64> {
    let mut attributes = record.attributes();
    let attribute = attributes.find(|attribute| attribute.description() == "nhsdirOldSecretUntil")?;
    attribute
        .values()
        .next()
        .and_then(|value| seconds_of(&String::from_utf8_lossy(value)))
}

fn fingerprint(value: &str) -> Option<[u8; 32]> {
    let hex: Vec<u8> = value.bytes().filter(|octet| *octet != b':').collect();
    let mut out = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (octet, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// Every account of the directory.
pub(super) fn all_accounts(snapshot: &Snapshot, schema: &Schema, suffixes: &[(Dn, NormalizedDn)]) -> Vec<AccountFacts> {
    let _ = schema;
    let keys: Vec<NormalizedDn> = suffixes.iter().map(|(_, key)| key.clone()).collect();
    let mut found = Vec::new();
    for suffix in &keys {
        let container = NormalizedDn([suffix.0.as_slice(), CONTAINER].concat());
        for key in snapshot.subtree(&container, ACCOUNTS_LIMIT) {
            if let Some(at) = snapshot.find(&key).filter(|_| is_account_key(&key, &keys)) {
                found.push(account_facts(&key, snapshot.record(at)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_lie_directly_below_the_container() {
        let suffixes = [NormalizedDn(b"o=nhs\0".to_vec())];
        for (key, account) in [
            ("o=nhs\0ou=applications\0cn=a\0", true),
            ("o=nhs\0ou=applications\0", false),
            ("o=nhs\0ou=applications\0cn=a\0cn=b\0", false),
            ("o=nhs\0ou=people\0cn=a\0", false),
            ("o=other\0ou=applications\0cn=a\0", false),
            ("", false),
        ] {
            assert_eq!(
                is_account_key(&NormalizedDn(key.as_bytes().to_vec()), &suffixes),
                account,
                "{key:?}"
            );
        }
    }

    #[test]
    fn times_are_read_in_the_forms_operators_write() {
        assert_eq!(seconds_of("20260101000000Z"), Some(1_767_225_600));
        assert_eq!(seconds_of("202601010000Z"), Some(1_767_225_600));
        assert_eq!(seconds_of("2026010100Z"), Some(1_767_225_600));
        assert_eq!(seconds_of("20260101000000.5Z"), Some(1_767_225_600));
        for bad in ["", "Z", "2026", "20260101000000", "20261301000000Z", "2026010100000Z"] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }
}
