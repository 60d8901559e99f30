//! Search filters as received (RFC 4511 section 4.5.1.7) and as text (RFC 4515).

use super::dn::{found_at, hex_digit};
use super::entry::{AttributeDescription, is_descriptor, is_numeric_oid};
use std::borrow::Cow;
use std::fmt;

/// How deep the filters of a text may nest.
pub const DEPTH_LIMIT: usize = 100;

/// How many filters (sets, negations and items) a text may hold.
pub const TERMS_LIMIT: usize = 10_000;

/// A filter as received. Borrows from the request where it can; assertion values are any octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter<'a> {
    /// Empty is absolute True (RFC 4526).
    And(Vec<Filter<'a>>),
    /// Empty is absolute False (RFC 4526).
    Or(Vec<Filter<'a>>),
    Not(Box<Filter<'a>>),
    Equality {
        attribute: Cow<'a, str>,
        value: Cow<'a, [u8]>,
    },
    /// The pieces are not empty and there is at least one.
    Substrings {
        attribute: Cow<'a, str>,
        initial: Option<Cow<'a, [u8]>>,
        any: Vec<Cow<'a, [u8]>>,
        last: Option<Cow<'a, [u8]>>,
    },
    GreaterOrEqual {
        attribute: Cow<'a, str>,
        value: Cow<'a, [u8]>,
    },
    LessOrEqual {
        attribute: Cow<'a, str>,
        value: Cow<'a, [u8]>,
    },
    Present {
        attribute: Cow<'a, str>,
    },
    Approximate {
        attribute: Cow<'a, str>,
        value: Cow<'a, [u8]>,
    },
    Extensible {
        rule: Option<Cow<'a, str>>,
        attribute: Option<Cow<'a, str>>,
        value: Cow<'a, [u8]>,
        dn_attributes: bool,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected} at byte {position} of the filter, found {found}")]
pub struct FilterError {
    pub position: usize,
    pub expected: &'static str,
    pub found: String,
}

impl Filter<'_> {
    /// Parses the string form of RFC 4515.
    ///
    /// Also read, because clients and people write them: white space between filters, one item without its parentheses
    /// (`cn=x`), `\*` `\(` `\)` `\\` of RFC 1558, and `**` for `*`.
    ///
    /// # Errors
    /// Says the first place where the text is no filter, or exceeds [`DEPTH_LIMIT`] or [`TERMS_LIMIT`].
    pub fn parse(text: &str) -> Result<Filter<'static>, FilterError> {
        let mut parser = Parser {
            text,
            position: 0,
            terms: 0,
        };
        parser.skip_space();
        let filter = if parser.peek() == Some(b'(') {
            parser.filter(1)?
        } else {
            parser.item()?
        };
        parser.skip_space();
        match parser.peek() {
            None => Ok(filter),
            Some(_) => Err(parser.fault("the end")),
        }
    }

    /// The same filter without borrows.
    pub fn into_owned(self) -> Filter<'static> {
        let text = |attribute: Cow<'_, str>| Cow::Owned(attribute.into_owned());
        let octets = |value: Cow<'_, [u8]>| Cow::Owned(value.into_owned());
        let all = |filters: Vec<Filter<'_>>| filters.into_iter().map(Filter::into_owned).collect();
        match self {
            Filter::And(filters) => Filter::And(all(filters)),
            Filter::Or(filters) => Filter::Or(all(filters)),
            Filter::Not(filter) => Filter::Not(Box::new(filter.into_owned())),
            Filter::Equality { attribute, value } => Filter::Equality {
                attribute: text(attribute),
                value: octets(value),
            },
            Filter::Substrings {
                attribute,
                initial,
                any,
                last,
            } => Filter::Substrings {
                attribute: text(attribute),
                initial: initial.map(octets),
                any: any.into_iter().map(octets).collect(),
                last: last.map(octets),
            },
            Filter::GreaterOrEqual { attribute, value } => Filter::GreaterOrEqual {
                attribute: text(attribute),
                value: octets(value),
            },
            Filter::LessOrEqual { attribute, value } => Filter::LessOrEqual {
                attribute: text(attribute),
                value: octets(value),
            },
            Filter::Present { attribute } => Filter::Present {
                attribute: text(attribute),
            },
            Filter::Approximate { attribute, value } => Filter::Approximate {
                attribute: text(attribute),
                value: octets(value),
            },
            Filter::Extensible {
                rule,
                attribute,
                value,
                dn_attributes,
            } => Filter::Extensible {
                rule: rule.map(text),
                attribute: attribute.map(text),
                value: octets(value),
                dn_attributes,
            },
        }
    }
}

/// Writes RFC 4515; [`Filter::parse`] of the text gives the same filter back, provided that its attribute descriptions and
/// rules are well-formed. In others every odd octet is written as `\xx`, so that no two filters read the same.
impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append_text(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Filter<'_> {
    /// Appends what `Display` writes; for who has a buffer.
    pub fn append_text(&self, out: &mut Vec<u8>) {
        out.push(b'(');
        match self {
            Filter::And(filters) => append_set(out, b'&', filters),
            Filter::Or(filters) => append_set(out, b'|', filters),
            Filter::Not(filter) => {
                out.push(b'!');
                filter.append_text(out);
            }
            Filter::Equality { attribute, value } => append_item(out, attribute, b"=", value),
            Filter::GreaterOrEqual { attribute, value } => append_item(out, attribute, b">=", value),
            Filter::LessOrEqual { attribute, value } => append_item(out, attribute, b"<=", value),
            Filter::Approximate { attribute, value } => append_item(out, attribute, b"~=", value),
            Filter::Present { attribute } => append_item(out, attribute, b"=*", b""),
            Filter::Substrings {
                attribute,
                initial,
                any,
                last,
            } => {
                append_item(out, attribute, b"=", initial.as_deref().unwrap_or_default());
                out.push(b'*');
                for piece in any {
                    append_value(out, piece);
                    out.push(b'*');
                }
                append_value(out, last.as_deref().unwrap_or_default());
            }
            Filter::Extensible {
                rule,
                attribute,
                value,
                dn_attributes,
            } => {
                append_name(out, attribute.as_deref().unwrap_or_default());
                if *dn_attributes {
                    out.extend_from_slice(b":dn");
                }
                if let Some(rule) = rule {
                    out.push(b':');
                    append_name(out, rule);
                }
                append_assertion(out, b":=", value);
            }
        }
        out.push(b')');
    }
}

fn append_set(out: &mut Vec<u8>, kind: u8, filters: &[Filter<'_>]) {
    out.push(kind);
    filters.iter().for_each(|filter| filter.append_text(out));
}

fn append_item(out: &mut Vec<u8>, attribute: &str, kind: &[u8], value: &[u8]) {
    append_name(out, attribute);
    append_assertion(out, kind, value);
}

fn append_assertion(out: &mut Vec<u8>, kind: &[u8], value: &[u8]) {
    out.extend_from_slice(kind);
    append_value(out, value);
}

fn append_name(out: &mut Vec<u8>, name: &str) {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b';' | b'_');
    if name.bytes().all(plain) {
        return out.extend_from_slice(name.as_bytes());
    }
    for octet in name.bytes() {
        match octet {
            _ if plain(octet) => out.push(octet),
            _ => append_escaped(out, octet),
        }
    }
}

fn append_value(out: &mut Vec<u8>, value: &[u8]) {
    let special = |octet: u8| matches!(octet, 0..=0x1f | 0x7f | b'*' | b'(' | b')' | b'\\');
    if value.is_ascii() && !value.iter().any(|octet| special(*octet)) {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        for octet in chunk.valid().bytes() {
            match octet {
                _ if special(octet) => append_escaped(out, octet),
                _ => out.push(octet),
            }
        }
        chunk.invalid().iter().for_each(|octet| append_escaped(out, *octet));
    }
}

fn append_escaped(out: &mut Vec<u8>, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn fault(&self, expected: &'static str) -> FilterError {
        self.fault_at(self.position, expected)
    }

    fn fault_at(&self, position: usize, expected: &'static str) -> FilterError {
        FilterError {
            position,
            expected,
            found: found_at(self.text, position),
        }
    }

    fn count_term(&mut self) -> Result<(), FilterError> {
        self.terms += 1;
        if self.terms > TERMS_LIMIT {
            return Err(self.fault("at most 10000 terms"));
        }
        Ok(())
    }

    /// At an opening parenthesis.
    fn filter(&mut self, depth: usize) -> Result<Filter<'static>, FilterError> {
        if depth > DEPTH_LIMIT {
            return Err(self.fault("at most 100 nested filters"));
        }
        self.position += 1;
        self.skip_space();
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.set(depth)?),
            Some(b'|') => Filter::Or(self.set(depth)?),
            Some(b'!') => self.negation(depth)?,
            _ => self.item()?,
        };
        if self.peek() != Some(b')') {
            return Err(self.fault("`)`"));
        }
        self.position += 1;
        Ok(filter)
    }

    fn set(&mut self, depth: usize) -> Result<Vec<Filter<'static>>, FilterError> {
        self.count_term()?;
        self.position += 1;
        let mut filters = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'(') => filters.push(self.filter(depth + 1)?),
                Some(b')') => return Ok(filters),
                _ => return Err(self.fault("`(` or `)`")),
            }
        }
    }

    fn negation(&mut self, depth: usize) -> Result<Filter<'static>, FilterError> {
        self.count_term()?;
        self.position += 1;
        self.skip_space();
        if self.peek() != Some(b'(') {
            return Err(self.fault("`(` after `!`"));
        }
        let filter = self.filter(depth + 1)?;
        self.skip_space();
        Ok(Filter::Not(Box::new(filter)))
    }

    /// Up to the closing parenthesis or the end.
    fn item(&mut self) -> Result<Filter<'static>, FilterError> {
        self.count_term()?;
        let start = self.position;
        let rest = self.text.get(start..).unwrap_or_default();
        let Some(equals) = rest.find(['=', '(', ')']).filter(|at| rest.as_bytes()[*at] == b'=') else {
            self.position = start + rest.find(['(', ')']).unwrap_or(rest.len());
            return Err(self.fault(if self.position == start {
                "an attribute description"
            } else {
                "`=` and a value"
            }));
        };
        let left = rest.get(..equals).unwrap_or_default();
        self.position = start + equals + 1;
        match left.as_bytes().last() {
            Some(b':') => self.extensible(start, left.get(..equals - 1).unwrap_or_default()),
            Some(kind @ (b'>' | b'<' | b'~')) => {
                let attribute = self.description(start, left.get(..equals - 1).unwrap_or_default())?;
                let value = Cow::Owned(self.single_value()?);
                Ok(match kind {
                    b'>' => Filter::GreaterOrEqual { attribute, value },
                    b'<' => Filter::LessOrEqual { attribute, value },
                    _ => Filter::Approximate { attribute, value },
                })
            }
            _ => {
                let attribute = self.description(start, left)?;
                self.equality(attribute)
            }
        }
    }

    fn description(&self, start: usize, text: &str) -> Result<Cow<'static, str>, FilterError> {
        match AttributeDescription::parse(text) {
            Ok(_) => Ok(Cow::Owned(text.to_owned())),
            Err(error) => Err(self.fault_at(start + error.position, error.expected)),
        }
    }

    /// `=`: presence, equality or substrings.
    fn equality(&mut self, attribute: Cow<'static, str>) -> Result<Filter<'static>, FilterError> {
        let mut pieces = self.pieces()?;
        let Some(last) = pieces.pop() else {
            return Err(self.fault("a value"));
        };
        if pieces.is_empty() {
            return Ok(Filter::Equality {
                attribute,
                value: Cow::Owned(last),
            });
        }
        let some = |piece: Vec<u8>| (!piece.is_empty()).then_some(Cow::Owned(piece));
        let last = some(last);
        let initial = some(pieces.remove(0));
        let any: Vec<_> = pieces.into_iter().filter_map(some).collect();
        if initial.is_none() && any.is_empty() && last.is_none() {
            return Ok(Filter::Present { attribute });
        }
        Ok(Filter::Substrings {
            attribute,
            initial,
            any,
            last,
        })
    }

    /// `left` is what stands before `:=`.
    fn extensible(&mut self, start: usize, left: &str) -> Result<Filter<'static>, FilterError> {
        let mut parts = left.split(':');
        let name = parts.next().unwrap_or_default();
        let attribute = if name.is_empty() {
            None
        } else {
            Some(self.description(start, name)?)
        };
        let mut at = start + name.len();
        let mut rest: Vec<&str> = parts.collect();
        let dn_attributes = rest.first().is_some_and(|part| part.eq_ignore_ascii_case("dn"));
        if dn_attributes {
            at += rest.remove(0).len() + 1;
        }
        let rule = match rest.as_slice() {
            [] => None,
            [rule] if is_descriptor(rule) || is_numeric_oid(rule) => Some(Cow::Owned((*rule).to_owned())),
            _ => return Err(self.fault_at(at + 1, "one matching rule")),
        };
        if rule.is_none() && attribute.is_none() {
            return Err(self.fault_at(at, "an attribute description or a matching rule"));
        }
        Ok(Filter::Extensible {
            rule,
            attribute,
            value: Cow::Owned(self.single_value()?),
            dn_attributes,
        })
    }

    fn single_value(&mut self) -> Result<Vec<u8>, FilterError> {
        let start = self.position;
        let mut pieces = self.pieces()?;
        match pieces.pop() {
            Some(value) if pieces.is_empty() => Ok(value),
            _ => {
                let taken = self.text.get(start..self.position).unwrap_or_default();
                Err(self.fault_at(start + taken.find('*').unwrap_or(0), "`\\2a` for an asterisk"))
            }
        }
    }

    /// The unescaped octets between asterisks, up to a closing parenthesis or the end; at least one piece.
    fn pieces(&mut self) -> Result<Vec<Vec<u8>>, FilterError> {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        loop {
            match self.peek() {
                None | Some(b')') => {
                    pieces.push(piece);
                    return Ok(pieces);
                }
                Some(b'*') => {
                    self.position += 1;
                    pieces.push(std::mem::take(&mut piece));
                }
                Some(b'\\') => piece.push(self.escaped()?),
                Some(b'(') => return Err(self.fault("`\\28` for an opening parenthesis")),
                Some(0) => return Err(self.fault("`\\00` for a NUL")),
                Some(octet) => {
                    piece.push(octet);
                    self.position += 1;
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<u8, FilterError> {
        self.position += 1;
        let octet = self.peek();
        if let Some(special @ (b'*' | b'(' | b')' | b'\\')) = octet {
            self.position += 1;
            return Ok(special);
        }
        let Some(high) = octet.and_then(hex_digit) else {
            return Err(self.fault("two hexadecimal digits after `\\`"));
        };
        self.position += 1;
        let Some(low) = self.peek().and_then(hex_digit) else {
            return Err(self.fault("a second hexadecimal digit"));
        };
        self.position += 1;
        Ok(high << 4 | low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn parses_and_writes_filters() {
        let same: &[&str] = &[
            // RFC 4515 section 4
            "(cn=Babs Jensen)",
            "(!(cn=Tim Howes))",
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            "(o=univ*of*mich*)",
            "(seeAlso=)",
            "(cn:caseExactMatch:=Fred Flintstone)",
            "(cn:=Betty Rubble)",
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
            "(o:dn:=Ace Industry)",
            "(:1.2.3:=Wilma Flintstone)",
            "(:dn:2.4.6.8.10:=Dino)",
            r"(o=Parens R Us \28for all your parenthetical needs\29)",
            r"(cn=*\2a*)",
            r"(filename=C:\5cMyFile)",
            r"(bin=\00\00\00\04)",
            "(sn=Lučić)",
            "(1.3.6.1.4.1.1466.0=\\04\\02Hi)",
            // others
            "(&)",
            "(|)",
            "(!(&))",
            "(cn=*)",
            "(cn;lang-en=a*)",
            "(cn=*a)",
            "(cn=*a*b*)",
            "(cn=a*b)",
            "(age>=30)",
            "(age<=30)",
            "(cn~=smith)",
            "(cn=a=b)",
            "(cn=>=)",
            "(cn= a )",
            "(postalCode=E14 5EA)",
            r"(x=\ff)",
        ];
        for text in same {
            let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.to_string(), *text);
        }
        let other: &[(&str, &str)] = &[
            ("cn=x", "(cn=x)"),
            (" cn=x*", "(cn=x*)"),
            (" ( & ( a=1 ) (b=2)\n( | (c=3) ) ) ", "(&(a=1 )(b=2)(|(c=3)))"),
            ("(! (a=1) )", "(!(a=1))"),
            ("(cn=**)", "(cn=*)"),
            ("(cn=a**b)", "(cn=a*b)"),
            (r"(cn=\*\(\)\\)", r"(cn=\2a\28\29\5c)"),
            (r"(sn=Lu\c4\8di\C4\87)", "(sn=Lučić)"),
            ("(cn:DN:caseIgnoreMatch:=x)", "(cn:dn:caseIgnoreMatch:=x)"),
        ];
        for (text, expected) in other {
            let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.to_string(), *expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_filter() {
        let cases: &[(&str, usize, &str)] = &[
            ("", 0, "an attribute description"),
            ("()", 1, "an attribute description"),
            ("(cn)", 3, "`=` and a value"),
            ("cn", 2, "`=` and a value"),
            ("(cn=a", 5, "`)`"),
            ("cn=a)", 4, "the end"),
            ("(cn=a))", 6, "the end"),
            ("(cn=a)(sn=b)", 6, "the end"),
            ("(cn=a(b)", 5, "`\\28` for an opening parenthesis"),
            ("(=a)", 1, "a letter, digit or hyphen of an attribute name, or an OID"),
            (
                "(cn =a)",
                3,
                "a letter, digit or hyphen of an attribute name, or an OID",
            ),
            ("(&(a=b)c=d)", 7, "`(` or `)`"),
            ("(&(a=b)", 7, "`(` or `)`"),
            ("&(a=b)", 1, "`=` and a value"),
            ("(!)", 2, "`(` after `!`"),
            ("(!a=b)", 2, "`(` after `!`"),
            ("(!(a=b)(c=d))", 7, "`)`"),
            ("(cn>=a*)", 6, "`\\2a` for an asterisk"),
            ("(cn:=a*)", 6, "`\\2a` for an asterisk"),
            (r"(cn=\)", 6, "`)`"),
            (r"(cn=\g0)", 5, "two hexadecimal digits after `\\`"),
            (r"(cn=\0", 6, "a second hexadecimal digit"),
            ("(cn=\0)", 4, "`\\00` for a NUL"),
            ("(:=a)", 1, "an attribute description or a matching rule"),
            ("(:dn:=a)", 4, "an attribute description or a matching rule"),
            ("(cn:a:b:=x)", 4, "one matching rule"),
            ("(cn::=x)", 4, "one matching rule"),
            ("(cn;=x)", 4, "a letter, digit or hyphen of an option"),
        ];
        for (text, position, expected) in cases {
            let error = Filter::parse(text).expect_err(text);
            assert_eq!((error.position, error.expected), (*position, *expected), "{text}");
        }
    }

    #[test]
    fn limits_depth_and_terms() {
        let nested = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth - 1), ")".repeat(depth - 1));
        assert!(Filter::parse(&nested(DEPTH_LIMIT)).is_ok());
        assert!(Filter::parse(&nested(DEPTH_LIMIT + 1)).is_err());
        assert!(Filter::parse(&"(&".repeat(1_000_000)).is_err());
        assert!(Filter::parse(&format!("(|{})", "(a=b)".repeat(TERMS_LIMIT - 1))).is_ok());
        assert!(Filter::parse(&format!("(|{})", "(a=b)".repeat(TERMS_LIMIT))).is_err());
    }

    #[test]
    fn odd_names_are_written_without_ambiguity() {
        let filter = Filter::Present {
            attribute: Cow::Borrowed("a)(b=\n"),
        };
        assert_eq!(filter.to_string(), r"(a\29\28b\3d\0a=*)");
    }

    fn random_filter(random: &mut Random, depth: usize) -> Filter<'static> {
        let name = |random: &mut Random| Cow::Borrowed(*random.pick(&["cn", "2.5.4.3", "sn;lang-en", "x-1"]));
        let octets = |random: &mut Random| random.octets_of(b" *()\\=&|!a:1\x00\xc4\x8d\xff<>~", 5);
        let some = |random: &mut Random| {
            let mut piece = octets(random);
            piece.push(b'z');
            Cow::Owned(piece)
        };
        let attribute = name(random);
        let value = Cow::Owned(octets(random));
        let kinds = if depth == 0 { 7 } else { 10 };
        match random.below(kinds) {
            0 => Filter::Equality { attribute, value },
            1 => Filter::GreaterOrEqual { attribute, value },
            2 => Filter::LessOrEqual { attribute, value },
            3 => Filter::Approximate { attribute, value },
            4 => Filter::Present { attribute },
            5 => Filter::Substrings {
                attribute,
                initial: (random.below(2) == 0).then(|| some(random)),
                any: (0..random.below(3)).map(|_| some(random)).collect(),
                last: Some(some(random)),
            },
            6 => {
                let rule = (random.below(2) == 0).then_some(Cow::Borrowed("caseIgnoreMatch"));
                Filter::Extensible {
                    attribute: (rule.is_none() || random.below(2) == 0).then_some(attribute),
                    rule,
                    value,
                    dn_attributes: random.below(2) == 0,
                }
            }
            7 => Filter::Not(Box::new(random_filter(random, depth - 1))),
            kind => {
                let filters = (0..random.below(4)).map(|_| random_filter(random, depth - 1)).collect();
                if kind == 8 {
                    Filter::And(filters)
                } else {
                    Filter::Or(filters)
                }
            }
        }
    }

    #[test]
    fn what_is_written_parses_back() {
        let mut random = Random::from_environment();
        for _ in 0..4_000 {
            let filter = random_filter(&mut random, 4);
            let text = filter.to_string();
            assert_eq!(
                Filter::parse(&text),
                Ok(filter.clone()),
                "{text} (SEED={})",
                random.seed
            );
            assert_eq!(filter.clone().into_owned(), filter);
        }
    }

    #[test]
    fn no_text_stops_the_parser() {
        let mut random = Random::from_environment();
        for _ in 0..40_000 {
            let octets = random.octets_of("((()))&|!cn==**\\5c:dn<>~ é\0".as_bytes(), 24);
            let text = String::from_utf8_lossy(&octets);
            if let Ok(filter) = Filter::parse(&text) {
                assert_eq!(
                    Filter::parse(&filter.to_string()),
                    Ok(filter),
                    "{text} (SEED={})",
                    random.seed
                );
            }
        }
    }
}
