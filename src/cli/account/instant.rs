//! Dates and durations as operators write them.

use anyhow::{anyhow, bail};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// `YYYY-MM-DD` or RFC 3339 as a generalizedTime (RFC 4517 section 3.3.13) in UTC; generalizedTime is taken as it is.
pub fn generalized_time(text: &str) -> anyhow::Result<String> {
    let whole = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    if let Ok(time) = OffsetDateTime::parse(&whole, &Rfc3339) {
        return Ok(generalized(time.to_offset(UtcOffset::UTC)));
    }
    match text.strip_suffix('Z') {
        Some(digits) if digits.len() == 14 && digits.bytes().all(|octet| octet.is_ascii_digit()) => Ok(text.to_owned()),
        _ => bail!("expected a date like 2027-03-31 or a time like 2027-03-31T17:00:00Z, found `{text}`"),
    }
}

/// The present as a generalizedTime.
pub fn generalized_now() -> String {
    generalized(OffsetDateTime::now_utc())
}

/// The moment so many seconds from now as a generalizedTime.
pub fn generalized_after(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    generalized(OffsetDateTime::now_utc().saturating_add(Duration::seconds(seconds)))
}

fn generalized(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// Seconds of `90`, `90s`, `15m`, `12h`, `7d`.
pub fn seconds(text: &str) -> anyhow::Result<u64> {
    let fault = || anyhow!("expected a duration like 12h or 7d, found `{text}`");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(fault()),
    };
    let count: u64 = digits.parse().map_err(|_| fault())?;
    count.checked_mul(unit).ok_or_else(fault)
}

/// Seconds since 1970 for people.
pub fn written(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// A generalizedTime for people: `2027-03-31`, with the time of day where it is not midnight.
pub fn readable(generalized: &str) -> String {
    let part = |range: std::ops::Range<usize>| generalized.get(range).unwrap_or("");
    if generalized.len() != 15 || !generalized.is_ascii() {
        return generalized.to_owned();
    }
    let day = format!("{}-{}-{}", part(0..4), part(4..6), part(6..8));
    match part(8..14) {
        "000000" => day,
        _ => format!("{day}T{}:{}:{}Z", part(8..10), part(10..12), part(12..14)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_generalized_time() {
        for (text, expected) in [
            ("2027-03-31", "20270331000000Z"),
            ("2027-03-31T17:00:00Z", "20270331170000Z"),
            ("2027-03-31T17:00:00+01:00", "20270331160000Z"),
            ("20270331170000Z", "20270331170000Z"),
        ] {
            assert_eq!(generalized_time(text).unwrap(), expected);
        }
        for text in ["", "tomorrow", "2027-13-01", "31/03/2027", "20270331"] {
            let message = generalized_time(text).unwrap_err().to_string();
            assert!(message.contains("expected a date like 2027-03-31"), "{message}");
        }
        assert_eq!(readable("20270331000000Z"), "2027-03-31");
        assert_eq!(readable("20270331170000Z"), "2027-03-31T17:00:00Z");
        assert_eq!(written(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn durations_have_units() {
        for (text, expected) in [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(seconds(text).unwrap(), expected);
        }
        for text in [
            "",
            "d",
            "-1d",
            "7w",
            "1.5h",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
