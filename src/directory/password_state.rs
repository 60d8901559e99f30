//! What is kept beside a secret (draft-behera-ldap-password-policy section 5.3), as administrators set it under relaxed rules.
//!
//! Invariants: it is of what has a secret; a value that says nothing here is refused, not left out; where no policy counts failures,
//! they are evidence of their sources, and stay.

use super::application::seconds_of;
use super::committer::{Context, plain};
use crate::account::{
    Accounts, FAILURES_MAX, GRACE_MAX, HISTORY_MAX, KeptPart, PasswordState, PreparedSecret, exported,
};
use crate::model::{Attribute, Entry, Outcome, ResultCode, Value};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::record::{moment_text, time_text};

/// Octet string: the syntax that values of pwdHistory name.
const OCTET_STRING: &str = "1.3.6.1.4.1.1466.115.121.1.40";

/// pwdLastSuccess is the server's alone, as it is slapd's.
pub(super) fn types(schema: &Schema) -> [AttributeId; 5] {
    let known = schema.well_known();
    [
        known.password_changed,
        known.password_failures,
        known.password_grace,
        known.password_history,
        known.password_delayed,
    ]
}

/// Those of the types that an update may set.
pub(super) fn asked(schema: &Schema, relaxed: &[AttributeId]) -> Vec<AttributeId> {
    let mut asked = relaxed.to_vec();
    asked.retain(|id| types(schema).contains(id));
    asked
}

/// Puts what is kept into an entry, so that modifications find it.
///
/// # Errors
/// Failures that no policy counts.
pub(super) fn show(
    context: &Context,
    key: &NormalizedDn,
    entry: &mut Entry,
    asked: &[AttributeId],
) -> Result<(), Outcome> {
    let Context { schema, accounts, .. } = context;
    if asked.contains(&schema.well_known().password_failures) && accounts.policy(key).is_none() {
        let message =
            "no password policy rules this entry: its pwdFailureTime is evidence, which stays; unlock it instead";
        return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
    }
    let state = accounts.password_state(key).unwrap_or_default();
    for id in asked {
        let values = values_of(schema, *id, &state);
        if !values.is_empty() {
            let description = plain(schema.attribute(*id).name());
            entry.attributes.push(Attribute { description, values });
        }
    }
    Ok(())
}

fn values_of(schema: &Schema, id: AttributeId, state: &PasswordState) -> Vec<Value> {
    let known = schema.well_known();
    let times = |time: Option<u64>| time.map(|at| time_text(at).to_vec()).into_iter().collect();
    let moments = |all: &[u64]| all.iter().map(|at| moment_text(*at).into_bytes()).collect();
    match id {
        id if id == known.password_changed => times(state.changed),
        id if id == known.password_delayed => times(state.delayed),
        id if id == known.password_failures => moments(&state.counted),
        id if id == known.password_grace => moments(&state.grace),
        id if id == known.password_history => state.history.iter().map(past_text).collect(),
        _ => Vec::new(),
    }
}

/// A value of pwdHistory.
pub fn past_text((since, secret): &(u64, PreparedSecret)) -> Value {
    let stored = exported(&secret.stored);
    let head = format!("#{OCTET_STRING}#{}#", stored.len());
    [&time_text(*since)[..], head.as_bytes(), stored.as_bytes()].concat()
}

/// What such a value holds: a time, the syntax of what follows, its length, and the secret as it was stored.
pub fn past(value: &[u8]) -> Option<(u64, Value)> {
    let mut parts = value.splitn(4, |octet| *octet == b'#');
    let since = seconds_of(std::str::from_utf8(parts.next()?).ok()?)?;
    let _syntax = parts.next()?;
    let length: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stored = parts.next()?;
    (stored.len() == length).then(|| (since, stored.to_vec()))
}

/// Microseconds since 1970 of a generalizedTime.
pub fn microseconds_of(text: &str) -> Option<u64> {
    let fraction = text.split_once(['.', ',']).map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit);
    let micros = digits
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |micros, digit| micros * 10 + u64::from(digit - b'0'));
    seconds_of(text)?.checked_mul(1_000_000)?.checked_add(micros)
}

/// Takes what an entry is to be kept with out of it again.
///
/// # Errors
/// A value that says nothing here, or more than are kept.
pub(super) fn take(schema: &Schema, entry: &mut Entry, asked: &[AttributeId]) -> Result<Vec<KeptPart>, Outcome> {
    let part = |id: &AttributeId| {
        let is_it = |attribute: &Attribute| {
            let description = &attribute.description;
            description.options.is_empty() && schema.find_attribute(&description.attribute_type) == Some(*id)
        };
        let at = entry.attributes.iter().position(is_it);
        let values = at.map_or_else(Vec::new, |at| entry.attributes.remove(at).values);
        part(schema, *id, &values)
    };
    asked.iter().map(part).collect()
}

fn part(schema: &Schema, id: AttributeId, values: &[Value]) -> Result<KeptPart, Outcome> {
    let known = schema.well_known();
    let name = schema.attribute(id).name();
    let most = match id {
        id if id == known.password_failures => FAILURES_MAX,
        id if id == known.password_grace => GRACE_MAX,
        id if id == known.password_history => HISTORY_MAX,
        _ => 1,
    };
    if values.len() > most {
        let message = format!("expected at most {most} values of {name}, found {}", values.len());
        return Err(Outcome::new(ResultCode::ConstraintViolation, message));
    }
    if id == known.password_history {
        let mut all = read(
            values,
            "TIME#SYNTAX#LENGTH#HASH, the hash one that can be verified here",
            name,
            |value| {
                let (since, stored) = past(value)?;
                Some((since, Accounts::take_over(&stored, true).ok()?))
            },
        )?;
        all.sort_by_key(|(since, _)| *since);
        return Ok(KeptPart::History(all));
    }
    let mut moments = read(values, "a time like 20260131235959Z", name, |value| {
        microseconds_of(std::str::from_utf8(value).ok()?)
    })?;
    moments.sort_unstable();
    moments.dedup();
    let seconds = moments.first().map(|at| at / 1_000_000);
    Ok(match id {
        id if id == known.password_changed => KeptPart::Changed(seconds),
        id if id == known.password_delayed => KeptPart::Delayed(seconds),
        id if id == known.password_grace => KeptPart::Grace(moments),
        _ => KeptPart::Failures(moments),
    })
}

fn read<T>(values: &[Value], expected: &str, name: &str, of: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Outcome> {
    let unread = || {
        Outcome::new(
            ResultCode::InvalidAttributeSyntax,
            format!("{name}: expected {expected}"),
        )
    };
    values.iter().map(|value| of(value).ok_or_else(unread)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_secrets_of_before() {
        let value = b"20260101000000Z#1.3.6.1.4.1.1466.115.121.1.40#7#{SHA}#=";
        assert_eq!(past(value), Some((1_767_225_600, b"{SHA}#=".to_vec())));
        for bad in [
            "",
            "20260101000000Z#1.2#8#{SHA}#=",
            "20260101000000Z#1.2#{SHA}#=",
            "then#1.2#7#{SHA}#=",
        ] {
            assert_eq!(past(bad.as_bytes()), None, "{bad}");
        }
        let stored = "{SSHA}WbqWa6P0YM3sdqmFSG9PgkssrrExMjM0NTY3OA==".to_owned();
        let text = past_text(&(1_767_225_600, PreparedSecret { stored: stored.clone() }));
        assert_eq!(past(&text), Some((1_767_225_600, stored.into_bytes())));
    }

    #[test]
    fn reads_microseconds() {
        for (text, micros) in [
            ("20260101000000Z", Some(0)),
            ("20260101000000.5Z", Some(500_000)),
            ("20260101000000,0000019Z", Some(1)),
            ("yesterday", None),
        ] {
            let expected = micros.map(|micros| 1_767_225_600_000_000 + micros);
            assert_eq!(microseconds_of(text), expected, "{text}");
        }
    }
}
