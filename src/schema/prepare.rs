//! String preparation (RFC 4518), with a fast path for ASCII.
//!
//! Prepared text is UTF-8: mapped, in Normalization Form KC, case folded where the rule ignores case, without
//! insignificant spaces. A value of spaces only becomes one space, so no prepared value is empty.

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::matching::InvalidValue;

/// Whether upper and lower case are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Case {
    Ignore,
    Exact,
}

/// Which outer space of the text stays, as one space: pieces of a substring assertion keep the space that lies
/// inside the value they are looked for in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edges {
    pub(super) leading: bool,
    pub(super) trailing: bool,
}

impl Edges {
    pub(super) const NONE: Edges = Edges {
        leading: false,
        trailing: false,
    };
}

/// Appends the prepared form of one directory string or piece of one.
///
/// # Errors
/// Not UTF-8, empty, or with a code point that RFC 4518 section 2.4 prohibits.
pub(super) fn append_text(value: &[u8], case: Case, edges: Edges, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    if value.is_empty() {
        return Err(InvalidValue::new("a directory string", "it is empty"));
    }
    append_text_or_nothing(value, case, edges, out)
}

/// As [`append_text`], for the lines of a list, which may be empty.
pub(super) fn append_text_or_nothing(
    value: &[u8],
    case: Case,
    edges: Edges,
    out: &mut Vec<u8>,
) -> Result<(), InvalidValue> {
    let start = out.len();
    if value.is_ascii() {
        out.extend_from_slice(value);
        let appended = &mut out[start..];
        if case == Case::Ignore {
            appended.make_ascii_lowercase();
        }
        if is_compact(appended) {
            return Ok(());
        }
    } else {
        append_unicode(value, case, out)?;
    }
    if !value.is_empty() {
        compact(out, start, edges);
    }
    Ok(())
}

/// Whether prepared ASCII text has neither control characters nor insignificant spaces.
fn is_compact(text: &[u8]) -> bool {
    let mut before = b' ';
    let mut clean = true;
    for &byte in text {
        clean &= byte > b' ' && byte != 0x7f || byte == b' ' && before != b' ';
        before = byte;
    }
    clean && before != b' '
}

/// Removes control characters and insignificant spaces (RFC 4518 section 2.6.1) from `out[start..]`, in place.
fn compact(out: &mut Vec<u8>, start: usize, edges: Edges) {
    let mut end = start;
    let mut after_space = !edges.leading;
    for at in start..out.len() {
        match out[at] {
            b' ' if carries_mark(&out[at + 1..]) => {
                out[end] = b' ';
                end += 1;
                after_space = false;
            }
            b' ' | 0x09..=0x0d => {
                if !after_space {
                    out[end] = b' ';
                    end += 1;
                }
                after_space = true;
            }
            0x00..=0x1f | 0x7f => {}
            byte => {
                out[end] = byte;
                end += 1;
                after_space = false;
            }
        }
    }
    if end > start + 1 && !edges.trailing && out[end - 1] == b' ' {
        end -= 1;
    }
    out.truncate(end);
    if end == start {
        out.push(b' ');
    }
}

/// Whether the text after a space starts with a combining mark, for then the space is a letter's (section 2.6.1).
fn carries_mark(after: &[u8]) -> bool {
    let length = match after.first() {
        None | Some(0..=0xc1) => return false,
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(_) => 4,
    };
    let character = after.get(..length).and_then(|octets| std::str::from_utf8(octets).ok());
    character.is_some_and(|text| text.chars().all(is_combining_mark))
}

fn append_unicode(value: &[u8], case: Case, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let text = std::str::from_utf8(value)
        .map_err(|e| InvalidValue::new("a directory string", format!("not UTF-8 from byte {}", e.valid_up_to())))?;
    if let Some(bad) = text.chars().find(|c| is_prohibited(*c)) {
        return Err(InvalidValue::new(
            "a directory string",
            format!("code point U+{:04X} is prohibited", u32::from(bad)),
        ));
    }
    let mapped = text.chars().filter_map(map);
    if case == Case::Exact {
        append_chars(mapped.nfkc(), out);
        return Ok(());
    }
    let folded: String = mapped.nfkc().flat_map(fold).collect();
    if is_nfkc_quick(folded.chars()) == IsNormalized::Yes {
        out.extend_from_slice(folded.as_bytes());
    } else {
        append_chars(folded.nfkc(), out);
    }
    Ok(())
}

fn append_chars(chars: impl Iterator<Item = char>, out: &mut Vec<u8>) {
    let mut buffer = [0; 4];
    for c in chars {
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
}

/// Mapping to nothing and to space (RFC 4518 section 2.2).
fn map(c: char) -> Option<char> {
    match u32::from(c) {
        0x09..=0x0d | 0x85 | 0x20 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028..=0x2029 | 0x202f | 0x205f | 0x3000 => {
            Some(' ')
        }
        0x00..=0x1f | 0x7f..=0x9f | 0xad | 0x034f | 0x06dd | 0x070f | 0x1806 | 0x180b..=0x180e => None,
        0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x2063 | 0x206a..=0x206f | 0xfe00..=0xfe0f | 0xfeff => None,
        0xfff9..=0xfffc | 0x1d173..=0x1d17a | 0xe0001 | 0xe0020..=0xe007f => None,
        _ => Some(c),
    }
}

/// Private use, non-characters and the replacement character (RFC 4518 section 2.4).
fn is_prohibited(c: char) -> bool {
    let code = u32::from(c);
    matches!(code, 0xe000..=0xf8ff | 0xf_0000..=0xf_fffd | 0x10_0000..=0x10_fffd | 0xfdd0..=0xfdef | 0xfffd)
        || code & 0xfffe == 0xfffe
}

/// Case folding: lower case, with the two characters whose lower case is not their folding (RFC 3454 table B.2).
fn fold(c: char) -> impl Iterator<Item = char> {
    let (first, rest) = match c {
        'ß' | 'ẞ' => ('s', Some('s')),
        'ς' => ('σ', None),
        other => (other, None),
    };
    first.to_lowercase().chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str, case: Case, edges: Edges) -> String {
        let mut out = Vec::new();
        append_text(text.as_bytes(), case, edges, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ignores_case_and_insignificant_space() {
        for (given, expected) in [
            ("Smith", "smith"),
            ("  Mary   Ann  ", "mary ann"),
            ("a\tb\r\nc", "a b c"),
            ("a\u{0}b\u{7f}", "ab"),
            ("   ", " "),
            ("\u{1}", " "),
            ("ÅNGSTRÖM", "ångström"),
            ("A\u{30a}", "å"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("ﬁne", "fine"),
            ("Ｆｕｌｌ", "full"),
            ("soft\u{ad}hyphen", "softhyphen"),
            ("no\u{a0}\u{2003}break", "no break"),
            ("O\u{2019}Brien", "o\u{2019}brien"),
            ("José", "josé"),
            ("Łukasz", "łukasz"),
            ("\u{200b}", " "),
            ("a  \u{b4}b", "a  \u{301}b"),
        ] {
            assert_eq!(prepared(given, Case::Ignore, Edges::NONE), expected, "{given:?}");
        }
        assert_eq!(prepared(" Ab  C ", Case::Exact, Edges::NONE), "Ab C");
    }

    #[test]
    fn pieces_keep_the_space_inside_the_value() {
        let any = Edges {
            leading: true,
            trailing: true,
        };
        assert_eq!(prepared("  a  b  ", Case::Ignore, any), " a b ");
        assert_eq!(prepared("   ", Case::Ignore, any), " ");
        let initial = Edges {
            leading: false,
            trailing: true,
        };
        assert_eq!(prepared("  a  ", Case::Ignore, initial), "a ");
        let last = Edges {
            leading: true,
            trailing: false,
        };
        assert_eq!(prepared("  a  ", Case::Ignore, last), " a");
    }

    #[test]
    fn refuses_what_is_no_text() {
        for bad in [
            &b""[..],
            b"\xff",
            b"a\xc3",
            "\u{e000}".as_bytes(),
            "\u{fffd}".as_bytes(),
            "\u{ffff}".as_bytes(),
        ] {
            assert!(
                append_text(bad, Case::Ignore, Edges::NONE, &mut Vec::new()).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn every_character_prepares_to_a_fixed_point() {
        // Every code point was tried once; the scripts that have case or compatibility forms stay, and a sample of the rest.
        let sampled = |c: &char| u32::from(*c) < 0x2200 || u32::from(*c) % 251 == 0;
        for c in ('\u{0}'..=char::MAX).filter(sampled).filter(|c| !is_prohibited(*c)) {
            for text in [c.to_string(), format!("a{c}\u{301}B")] {
                let once = prepared(&text, Case::Ignore, Edges::NONE);
                assert_eq!(
                    prepared(&once, Case::Ignore, Edges::NONE),
                    once,
                    "U+{:04X}",
                    u32::from(c)
                );
            }
        }
    }
}
