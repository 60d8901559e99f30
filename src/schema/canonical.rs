//! Canonical octets of values that are not plain text: numbers, bits, lists, identifiers.

use unicode_normalization::char::is_combining_mark;

use super::matching::InvalidValue;
use super::prepare::{Case, Edges, append_text, append_text_or_nothing};
use super::time::append_time;

/// The most digits an INTEGER may have.
pub(super) const MAX_INTEGER_DIGITS: usize = 10_000;

/// Appends an INTEGER (RFC 4517 section 3.3.16) as octets that order as the numbers do.
///
/// Layout: one octet that holds sign and number of digits (0x80 + n, or 0x7f - n when negative; from 127 digits on 0xff or
/// 0x00 and four more octets), then the decimal digits, complemented when negative.
pub(super) fn append_integer(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let (negative, digits) = integer_parts(value)?;
    let count = digits.len() as u32;
    match (negative, u8::try_from(count)) {
        (false, Ok(count @ 0..=126)) => out.push(0x80 + count),
        (true, Ok(count @ 0..=126)) => out.push(0x7f - count),
        (false, _) => {
            out.push(0xff);
            out.extend_from_slice(&count.to_be_bytes());
        }
        (true, _) => {
            out.push(0x00);
            out.extend_from_slice(&(!count).to_be_bytes());
        }
    }
    if negative {
        out.extend(digits.iter().map(|digit| b'0' + (b'9' - digit)));
    } else {
        out.extend_from_slice(digits);
    }
    Ok(())
}

/// An INTEGER as a number, where it fits.
pub(super) fn integer_value(value: &[u8]) -> Result<Option<i64>, InvalidValue> {
    let (negative, digits) = integer_parts(value)?;
    let magnitude = digits.iter().try_fold(0i64, |sum, digit| {
        let digit = i64::from(digit - b'0');
        sum.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
    });
    Ok(magnitude)
}

/// What [`append_integer`] made, as a number, where it fits.
pub(super) fn integer_of_form(form: &[u8]) -> Option<i64> {
    let (first, digits) = form.split_first()?;
    let negative = *first < 0x80;
    let sum = digits.iter().try_fold(0i64, |sum, digit| {
        let digit = i64::from(digit.checked_sub(b'0')?);
        let digit = if negative { digit - 9 } else { digit };
        sum.checked_mul(10)?.checked_add(digit)
    });
    // Longer forms have a length before their digits, and fit in no such number.
    sum.filter(|_| !matches!(first, 0x00 | 0xff))
}

/// Sign and digits, which do not begin with a zero: RFC 4517 section 3.3.16 has one spelling of each number. Zero is no digits.
fn integer_parts(value: &[u8]) -> Result<(bool, &[u8]), InvalidValue> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidValue::new("an integer", format!("{} is none", shown(value))));
    }
    if digits.len() > MAX_INTEGER_DIGITS {
        return Err(InvalidValue::new(
            "an integer",
            format!("it has more than {MAX_INTEGER_DIGITS} digits"),
        ));
    }
    match digits {
        [b'0'] if !negative => Ok((false, &[])),
        [b'0', ..] => Err(InvalidValue::new(
            "an integer",
            format!("{} has a zero in front", shown(value)),
        )),
        digits => Ok((negative, digits)),
    }
}

/// Appends the digits of a numeric string (RFC 4518 section 2.6.2); of spaces only, one space.
pub(super) fn append_numeric(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    if value.is_empty() || !value.iter().all(|b| b.is_ascii_digit() || *b == b' ') {
        return Err(InvalidValue::new(
            "digits and spaces",
            format!("{} is not that", shown(value)),
        ));
    }
    let start = out.len();
    out.extend(value.iter().filter(|b| **b != b' '));
    if out.len() == start {
        out.push(b' ');
    }
    Ok(())
}

/// Appends a telephone number without spaces and hyphens, in lower case (RFC 4518 section 2.6.3); of those only, one space.
pub(super) fn append_telephone(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let start = out.len();
    append_text(value, Case::Ignore, Edges::NONE, out)?;
    if out[start..].is_ascii() {
        let mut end = start;
        for at in start..out.len() {
            let byte = out[at];
            out[end] = byte;
            end += usize::from(byte != b' ' && byte != b'-');
        }
        out.truncate(end);
    } else {
        let text = String::from_utf8(out.split_off(start)).expect("prepared text is UTF-8");
        let mut rest = text.chars().peekable();
        let mut kept = String::with_capacity(text.len());
        while let Some(c) = rest.next() {
            // One that carries a combining mark is a letter of some kind and stays.
            let mut carries = || rest.peek().is_some_and(|next| is_combining_mark(*next));
            if !is_hyphen_or_space(c) || carries() {
                kept.push(c);
            }
        }
        out.extend_from_slice(kept.as_bytes());
    }
    if out.len() == start {
        out.push(b' ');
    }
    Ok(())
}

/// The hyphens of RFC 4518 section 2.6.3 that are left after normalization, and space.
fn is_hyphen_or_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '-' | '\u{58a}' | '\u{2010}' | '\u{2011}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}'
    )
}

/// Appends the lines of a postal address (RFC 4517 section 3.3.28), each prepared, joined by `$`.
///
/// A `$` or `\` inside a line stays escaped. Empty lines are accepted: directories in use are full of them.
pub(super) fn append_list(value: &[u8], edges: Edges, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    if value.is_empty() {
        return Err(InvalidValue::new("a postal address", "it is empty"));
    }
    let last = value.iter().filter(|b| **b == b'$').count();
    let mut line = Vec::new();
    for (index, text) in value.split(|b| *b == b'$').enumerate() {
        if index > 0 {
            out.push(b'$');
        }
        line.clear();
        unescape_line(text, &mut line)?;
        let edges = Edges {
            leading: edges.leading && index == 0,
            trailing: edges.trailing && index == last,
        };
        let start = out.len();
        append_text_or_nothing(&line, Case::Ignore, edges, out)?;
        if out[start..].iter().any(|b| matches!(b, b'$' | b'\\')) {
            for byte in out.split_off(start) {
                match byte {
                    b'$' => out.extend_from_slice(b"\\24"),
                    b'\\' => out.extend_from_slice(b"\\5c"),
                    other => out.push(other),
                }
            }
        }
    }
    Ok(())
}

/// `\24` is `$`, `\5C` is `\`; a backslash before anything else stands for itself, as senders that know no escapes mean it.
fn unescape_line(text: &[u8], line: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let (byte, after) = match (byte, tail) {
            (b'\\', [b'2', b'4', after @ ..]) => (b'$', after),
            (b'\\', [b'5', b'c' | b'C', after @ ..]) => (b'\\', after),
            _ => (byte, tail),
        };
        line.push(byte);
        rest = after;
    }
    Ok(())
}

/// Appends `TRUE` or `FALSE` (RFC 4517 section 3.3.3).
pub(super) fn append_boolean(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    if value != b"TRUE" && value != b"FALSE" {
        return Err(InvalidValue::new(
            "TRUE or FALSE",
            format!("{} is neither", shown(value)),
        ));
    }
    out.extend_from_slice(value);
    Ok(())
}

/// Appends the digits of a bit string `'0101'B` (RFC 4517 section 3.3.2).
pub(super) fn append_bits(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let bits = value
        .strip_prefix(b"'")
        .and_then(|rest| rest.strip_suffix(b"'B"))
        .filter(|bits| bits.iter().all(|b| matches!(b, b'0' | b'1')))
        .ok_or_else(|| InvalidValue::new("a bit string such as '0101'B", format!("{} is none", shown(value))))?;
    out.extend_from_slice(bits);
    Ok(())
}

/// Appends a UUID as its 16 octets (RFC 4530 section 2.1).
pub(super) fn append_uuid(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let invalid = || InvalidValue::new("a UUID of 36 characters", format!("{} is none", shown(value)));
    if value.len() != 36 || [8, 13, 18, 23].iter().any(|at| value[*at] != b'-') {
        return Err(invalid());
    }
    let mut octets = [0u8; 16];
    let mut count = 0;
    for group in value.split(|b| *b == b'-') {
        for pair in group.chunks(2) {
            let [high, low] = pair else { return Err(invalid()) };
            let octet = octets.get_mut(count).ok_or_else(invalid)?;
            *octet = hex(*high).ok_or_else(invalid)? << 4 | hex(*low).ok_or_else(invalid)?;
            count += 1;
        }
    }
    if count != 16 {
        return Err(invalid());
    }
    out.extend_from_slice(&octets);
    Ok(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// The start of a value, for a message.
pub(super) fn shown(value: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(value).chars().take(40).collect();
    format!("{text:?}")
}

/// Appends a change sequence number in the form OpenLDAP writes it, in lower case; as text it orders as the changes do.
pub(super) fn append_csn(value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let mut parts = value.split(|b| *b == b'#');
    let time = parts.next().unwrap_or_default();
    let widths: Vec<usize> = parts.clone().map(<[u8]>::len).collect();
    let hexadecimal = parts.flatten().all(u8::is_ascii_hexdigit);
    if widths != [6, 3, 6] || !hexadecimal || time.len() != 22 || append_time(time, &mut Vec::new()).is_err() {
        return Err(InvalidValue::new(
            "a CSN such as 20300131093000.000000Z#000000#000#000000",
            format!("{} is none", shown(value)),
        ));
    }
    out.extend(value.iter().map(u8::to_ascii_lowercase));
    Ok(())
}
