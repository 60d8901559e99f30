//! Distinguished names as text (RFC 4514).

use std::fmt::{self, Write as _};

/// RDNs a name may have.
pub const RDNS_LIMIT: usize = 128;

/// AVAs one RDN may have.
pub const AVAS_LIMIT: usize = 32;

/// Octets a name may have as text. slapd takes no longer one either.
pub const OCTETS_LIMIT: usize = 8192;

/// One attribute type and value of an RDN, as given.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ava {
    /// The attribute type as spelled: a descriptor or a numeric OID.
    pub attribute: String,
    /// The value's octets, unescaped; for the `#hex` form the octets of the decoded BER string value.
    pub value: Vec<u8>,
}

/// One relative distinguished name: one or more AVAs in the order given.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rdn {
    pub avas: Vec<Ava>,
}

/// A distinguished name, leaf RDN first as RFC 4514 writes it. Empty is the root DSE's name.
///
/// `==` compares spelling, not meaning: compare [`crate::schema::NormalizedDn`]s for that.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Dn {
    rdns: Vec<Rdn>,
}

/// Why a text is no DN. `position` is a byte offset into the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected} at byte {position} of the distinguished name, found {found}")]
pub struct DnError {
    pub position: usize,
    pub expected: &'static str,
    pub found: String,
}

impl Dn {
    /// Parses RFC 4514, and the RFC 2253/1779 spellings clients still send: white space around `,` `+` `=`,
    /// `;` as separator, quoted values, `OID.` prefix.
    ///
    /// # Errors
    /// Says the first place where the text is no name, or exceeds [`RDNS_LIMIT`], [`AVAS_LIMIT`] or [`OCTETS_LIMIT`].
    pub fn parse(text: &str) -> Result<Dn, DnError> {
        if text.is_empty() {
            return Ok(Dn::root());
        }
        let mut parser = Parser::new(text);
        if text.len() > OCTETS_LIMIT {
            return Err(parser.fault_at(OCTETS_LIMIT, "at most 8192 octets"));
        }
        parser.skip_space();
        let mut rdns = Vec::with_capacity(4);
        loop {
            if rdns.len() == RDNS_LIMIT {
                return Err(parser.fault("at most 128 RDNs"));
            }
            rdns.push(parser.rdn()?);
            match parser.peek() {
                None => {
                    let dn = Dn { rdns };
                    return match dn.is_too_long() {
                        true => Err(parser.fault("at most 8192 octets in RFC 4514 form")),
                        false => Ok(dn),
                    };
                }
                Some(b',' | b';') => parser.position += 1,
                Some(_) => return Err(parser.fault("`,`, `+` or the end")),
            }
        }
    }

    pub fn root() -> Dn {
        Dn::default()
    }

    /// Whether the name as text is longer than [`OCTETS_LIMIT`]: what is escaped takes up to three times its octets.
    pub fn is_too_long(&self) -> bool {
        let avas = self.rdns.iter().flat_map(|rdn| &rdn.avas);
        let most: usize = avas.map(|ava| ava.attribute.len() + 3 * ava.value.len() + 2).sum();
        most > OCTETS_LIMIT && self.to_string().len() > OCTETS_LIMIT
    }

    /// Leaf first.
    pub fn from_rdns(rdns: Vec<Rdn>) -> Dn {
        Dn { rdns }
    }

    pub fn is_root(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Leaf first.
    pub fn rdns(&self) -> &[Rdn] {
        &self.rdns
    }

    pub fn rdn(&self) -> Option<&Rdn> {
        self.rdns.first()
    }

    /// The name without its leaf RDN; `None` for the root.
    pub fn parent(&self) -> Option<Dn> {
        self.rdns.get(1..).map(|rest| Dn { rdns: rest.to_vec() })
    }

    pub fn child(&self, rdn: Rdn) -> Dn {
        let mut rdns = Vec::with_capacity(self.rdns.len() + 1);
        rdns.push(rdn);
        rdns.extend_from_slice(&self.rdns);
        Dn { rdns }
    }
}

impl Rdn {
    /// An RDN of one AVA.
    pub fn new(attribute: impl Into<String>, value: impl Into<Vec<u8>>) -> Rdn {
        Rdn {
            avas: vec![Ava {
                attribute: attribute.into(),
                value: value.into(),
            }],
        }
    }

    /// Parses one RDN with the same leniency as [`Dn::parse`].
    ///
    /// # Errors
    /// As [`Dn::parse`]; also when the text holds no or more than one RDN.
    pub fn parse(text: &str) -> Result<Rdn, DnError> {
        let mut parser = Parser::new(text);
        let rdn = parser.rdn()?;
        match parser.peek() {
            None => Ok(rdn),
            Some(_) => Err(parser.fault("one RDN and then the end")),
        }
    }
}

/// Writes RFC 4514; [`Dn::parse`] of the text gives the same `Dn` back.
impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rdn) in self.rdns.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            rdn.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ava) in self.avas.iter().enumerate() {
            if index > 0 {
                f.write_char('+')?;
            }
            ava.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Ava {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute)?;
        f.write_char('=')?;
        let mut first = true;
        for chunk in self.value.utf8_chunks() {
            let mut characters = chunk.valid().chars().peekable();
            while let Some(character) = characters.next() {
                let last = chunk.invalid().is_empty() && characters.peek().is_none();
                write_character(f, character, first, last)?;
                first = false;
            }
            for octet in chunk.invalid() {
                write!(f, "\\{octet:02x}")?;
                first = false;
            }
        }
        Ok(())
    }
}

fn write_character(f: &mut fmt::Formatter<'_>, character: char, first: bool, last: bool) -> fmt::Result {
    match character {
        '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}"),
        ' ' if first || last => f.write_str("\\ "),
        '#' if first => f.write_str("\\#"),
        '\0'..='\x1f' | '\x7f' => write!(f, "\\{:02x}", u32::from(character)),
        _ => f.write_char(character),
    }
}

/// What stopped a parser, in words for an error message.
pub(super) fn found_at(text: &str, position: usize) -> String {
    match text.get(position..).map(|rest| rest.chars().next()) {
        Some(Some(character)) if character.is_control() => format!("character U+{:04X}", u32::from(character)),
        Some(Some(character)) => format!("`{character}`"),
        Some(None) => "the end".to_owned(),
        None => "half a character".to_owned(),
    }
}

pub(super) fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { text, position: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn fault(&self, expected: &'static str) -> DnError {
        self.fault_at(self.position, expected)
    }

    fn fault_at(&self, position: usize, expected: &'static str) -> DnError {
        DnError {
            position,
            expected,
            found: found_at(self.text, position),
        }
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.position += 1;
        }
    }

    fn rdn(&mut self) -> Result<Rdn, DnError> {
        let mut avas = Vec::with_capacity(1);
        loop {
            if avas.len() == AVAS_LIMIT {
                return Err(self.fault("at most 32 attribute values in one RDN"));
            }
            avas.push(self.ava()?);
            if self.peek() != Some(b'+') {
                return Ok(Rdn { avas });
            }
            self.position += 1;
        }
    }

    /// Leaves the position at a separator or the end.
    fn ava(&mut self) -> Result<Ava, DnError> {
        self.skip_space();
        let attribute = self.attribute_type()?;
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Err(self.fault("`=` after the attribute type"));
        }
        self.position += 1;
        self.skip_space();
        let value = match self.peek() {
            Some(b'#') => self.hex_string()?,
            Some(b'"') => self.quoted()?,
            _ => self.string()?,
        };
        self.skip_space();
        Ok(Ava { attribute, value })
    }

    fn attribute_type(&mut self) -> Result<String, DnError> {
        let start = self.position;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        if rest.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"oid.")) {
            self.position += 4;
            return self.numeric_oid();
        }
        match self.peek() {
            Some(b'0'..=b'9') => self.numeric_oid(),
            Some(octet) if octet.is_ascii_alphabetic() => {
                while self
                    .peek()
                    .is_some_and(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                {
                    self.position += 1;
                }
                Ok(self.taken(start).to_owned())
            }
            _ => Err(self.fault("an attribute type")),
        }
    }

    fn numeric_oid(&mut self) -> Result<String, DnError> {
        let start = self.position;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit() || octet == b'.') {
            self.position += 1;
        }
        let oid = self.taken(start);
        if super::entry::is_numeric_oid(oid) {
            Ok(oid.to_owned())
        } else {
            Err(self.fault_at(start, "an object identifier such as 2.5.4.3"))
        }
    }

    fn taken(&self, start: usize) -> &'a str {
        self.text.get(start..self.position).unwrap_or_default()
    }

    /// RFC 4514 section 2.4: `#` and the hexadecimal form of the value's BER encoding.
    fn hex_string(&mut self) -> Result<Vec<u8>, DnError> {
        let start = self.position;
        self.position += 1;
        let mut encoded = Vec::new();
        while let Some(high) = self.peek().and_then(hex_digit) {
            self.position += 1;
            let Some(low) = self.peek().and_then(hex_digit) else {
                return Err(self.fault("a second hexadecimal digit"));
            };
            self.position += 1;
            encoded.push(high << 4 | low);
        }
        ber_string(&encoded).ok_or_else(|| self.fault_at(start, "`#` and the hexadecimal BER encoding of one string"))
    }

    /// RFC 1779 section 2.3, which RFC 2253 section 4 asks to read.
    fn quoted(&mut self) -> Result<Vec<u8>, DnError> {
        self.position += 1;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.fault("a closing quotation mark")),
                Some(b'"') => {
                    self.position += 1;
                    return Ok(value);
                }
                Some(b'\\') => value.push(self.escaped()?),
                Some(octet) => {
                    value.push(octet);
                    self.position += 1;
                }
            }
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, DnError> {
        let mut value = Vec::with_capacity(16);
        // Unescaped white space at the end is not of the value.
        let mut kept = 0;
        loop {
            match self.peek() {
                None | Some(b',' | b';' | b'+') => {
                    value.truncate(kept);
                    return Ok(value);
                }
                Some(b'\\') => {
                    value.push(self.escaped()?);
                    kept = value.len();
                }
                Some(b'"' | b'<' | b'>' | 0) => return Err(self.fault("`\\` before a special character")),
                Some(octet) => {
                    value.push(octet);
                    if !is_space(octet) {
                        kept = value.len();
                    }
                    self.position += 1;
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<u8, DnError> {
        self.position += 1;
        let octet = self.peek();
        if let Some(special @ (b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b' ' | b'#' | b'=')) = octet {
            self.position += 1;
            return Ok(special);
        }
        let Some(high) = octet.and_then(hex_digit) else {
            return Err(self.fault("a special character or two hexadecimal digits after `\\`"));
        };
        self.position += 1;
        let Some(low) = self.peek().and_then(hex_digit) else {
            return Err(self.fault("a second hexadecimal digit"));
        };
        self.position += 1;
        Ok(high << 4 | low)
    }
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r')
}

/// The content of one primitive, definite-length BER string, as UTF-8 where the string type says how; `None` if it is none.
fn ber_string(encoded: &[u8]) -> Option<Vec<u8>> {
    let (&tag, rest) = encoded.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, content) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (octets, content) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if octets.is_empty() || octets.len() > 4 {
            return None;
        }
        let length = octets
            .iter()
            .fold(0_usize, |length, octet| length << 8 | usize::from(*octet));
        (length, content)
    };
    if content.len() != length {
        return None;
    }
    match tag {
        // OctetString, UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString.
        0x04 | 0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1a => Some(content.to_vec()),
        0x1e => {
            let units = content.chunks_exact(2);
            units.remainder().is_empty().then_some(())?;
            let units = units.filter_map(|unit| unit.try_into().ok().map(u16::from_be_bytes));
            let text: Result<String, _> = char::decode_utf16(units).collect();
            text.ok().map(String::into_bytes)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    fn show(dn: &Dn) -> String {
        let rdns: Vec<String> = dn
            .rdns()
            .iter()
            .map(|rdn| {
                let avas: Vec<String> = rdn
                    .avas
                    .iter()
                    .map(|ava| format!("{}={}", ava.attribute, ava.value.escape_ascii()))
                    .collect();
                avas.join(" & ")
            })
            .collect();
        rdns.join(" | ")
    }

    #[test]
    fn parses_names() {
        let cases: &[(&str, &str)] = &[
            ("", ""),
            // RFC 4514 section 4
            ("UID=jsmith,DC=example,DC=net", r"UID=jsmith | DC=example | DC=net"),
            (
                "OU=Sales+CN=J.  Smith,DC=example,DC=net",
                r"OU=Sales & CN=J.  Smith | DC=example | DC=net",
            ),
            (
                r#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#,
                r#"CN=James \"Jim\" Smith, III | DC=example | DC=net"#,
            ),
            (
                r"CN=Before\0dAfter,DC=example,DC=net",
                r"CN=Before\rAfter | DC=example | DC=net",
            ),
            ("1.3.6.1.4.1.1466.0=#04024869", "1.3.6.1.4.1.1466.0=Hi"),
            (r"CN=Lu\C4\8Di\C4\87", r"CN=Lu\xc4\x8di\xc4\x87"),
            ("CN=Lučić", r"CN=Lu\xc4\x8di\xc4\x87"),
            // white space, separators, quotes, OID prefix
            ("ou=services, o=nhs", "ou=services | o=nhs"),
            (" cn = a b ; o = nhs ", "cn=a b | o=nhs"),
            ("cn=a + sn=b,o=nhs", "cn=a & sn=b | o=nhs"),
            ("cn=\"a, b+c\" , o=nhs", "cn=a, b+c | o=nhs"),
            (r#"cn="a\"b\5c""#, r#"cn=a\"b\\"#),
            ("OID.2.5.4.3=x", "2.5.4.3=x"),
            ("oid.2.5.4.3=x,oid=y", "2.5.4.3=x | oid=y"),
            (r"cn=\ a\ ", "cn= a "),
            (r"cn=a\20 ,o=x", "cn=a  | o=x"),
            (r"cn=\#a#b", "cn=#a#b"),
            ("cn=a=b=c", "cn=a=b=c"),
            (r"cn=a\=b", "cn=a=b"),
            ("cn=,o=x", "cn= | o=x"),
            (r"cn=\00\ff", r"cn=\x00\xff"),
            ("cn=#0C03e282ac", r"cn=\xe2\x82\xac"),
            ("cn=#1e0420ac0041", r"cn=\xe2\x82\xacA"),
            (
                "cn=#048102 4869",
                "!expected `#` and the hexadecimal BER encoding of one string at byte 3 of the distinguished name, found `#`",
            ),
            ("cn=#0481024869", "cn=Hi"),
        ];
        for (text, expected) in cases {
            let got = match Dn::parse(text) {
                Ok(dn) => show(&dn),
                Err(error) => format!("!{error}"),
            };
            assert_eq!(&got, expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        let cases: &[(&str, usize, &str, &str)] = &[
            ("   ", 3, "an attribute type", "the end"),
            ("cn", 2, "`=` after the attribute type", "the end"),
            ("cn=a,", 5, "an attribute type", "the end"),
            (",cn=a", 0, "an attribute type", "`,`"),
            ("cn=a,,o=b", 5, "an attribute type", "`,`"),
            ("cn=a+,o=b", 5, "an attribute type", "`,`"),
            ("=a", 0, "an attribute type", "`=`"),
            ("c_n=a", 1, "`=` after the attribute type", "`_`"),
            ("cn;lang-en=a", 2, "`=` after the attribute type", "`;`"),
            ("1=a", 0, "an object identifier such as 2.5.4.3", "`1`"),
            ("2.05.4=a", 0, "an object identifier such as 2.5.4.3", "`2`"),
            ("oid.cn=a", 4, "an object identifier such as 2.5.4.3", "`c`"),
            (
                r"cn=a\",
                5,
                "a special character or two hexadecimal digits after `\\`",
                "the end",
            ),
            (
                r"cn=a\z",
                5,
                "a special character or two hexadecimal digits after `\\`",
                "`z`",
            ),
            (r"cn=a\0", 6, "a second hexadecimal digit", "the end"),
            ("cn=a<b", 4, "`\\` before a special character", "`<`"),
            ("cn=a\"b", 4, "`\\` before a special character", "`\"`"),
            ("cn=a\0", 4, "`\\` before a special character", "character U+0000"),
            ("cn=\"a", 5, "a closing quotation mark", "the end"),
            ("cn=\"a\"b", 6, "`,`, `+` or the end", "`b`"),
            ("cn=#", 3, "`#` and the hexadecimal BER encoding of one string", "`#`"),
            ("cn=#0", 5, "a second hexadecimal digit", "the end"),
            (
                "cn=#04034869",
                3,
                "`#` and the hexadecimal BER encoding of one string",
                "`#`",
            ),
            (
                "cn=#020105",
                3,
                "`#` and the hexadecimal BER encoding of one string",
                "`#`",
            ),
            ("cn=#04024869é", 12, "`,`, `+` or the end", "`é`"),
        ];
        for (text, position, expected, found) in cases {
            let error = Dn::parse(text).expect_err(text);
            assert_eq!(
                (error.position, error.expected, error.found.as_str()),
                (*position, *expected, *found),
                "{text}"
            );
        }
        let deep = vec!["o=x"; RDNS_LIMIT + 1].join(",");
        assert_eq!(Dn::parse(&deep).expect_err("too deep").expected, "at most 128 RDNs");
        assert!(Dn::parse(&vec!["o=x"; RDNS_LIMIT].join(",")).is_ok());
        let long = |octets: usize| format!("o={}", "x".repeat(octets - 2));
        assert!(Dn::parse(&long(OCTETS_LIMIT)).is_ok() && Dn::parse(&long(OCTETS_LIMIT + 1)).is_err());
        // As text it is longer than it came.
        assert!(Dn::parse(&format!("o=\"{}\"", ",".repeat(OCTETS_LIMIT / 2 + 1))).is_err());
        let wide = vec!["o=x"; AVAS_LIMIT + 1].join("+");
        assert!(Dn::parse(&wide).is_err());
    }

    #[test]
    fn writes_names() {
        let cases: &[(&[u8], &str)] = &[
            (b"a b", "cn=a b"),
            (b" ", r"cn=\ "),
            (b"  ", r"cn=\ \ "),
            (b"a ", r"cn=a\ "),
            (b"#a#", r"cn=\#a#"),
            (b"a,b+c;d<e>f\"g\\h=i", r#"cn=a\,b\+c\;d\<e\>f\"g\\h=i"#),
            (b"\0\n\x7f", r"cn=\00\0a\7f"),
            (b"\xc4\x8d \xff ", "cn=č \\ff\\ "),
            (b"\xc4", r"cn=\c4"),
            (b"", "cn="),
        ];
        for (value, expected) in cases {
            assert_eq!(Rdn::new("cn", *value).to_string(), *expected);
        }
    }

    #[test]
    fn what_is_written_parses_back() {
        let mut random = Random::from_environment();
        for _ in 0..4_000 {
            let rdns = (0..random.below(5))
                .map(|_| Rdn {
                    avas: (0..1 + random.below(3))
                        .map(|_| Ava {
                            attribute: random.pick(&["cn", "O", "2.5.4.3", "x-y9"]).to_string(),
                            value: random.octets_of(b" ,+;=#\"\\<>ab0\x00\x01\xc4\x8d\xff\n", 6),
                        })
                        .collect(),
                })
                .collect();
            let dn = Dn::from_rdns(rdns);
            assert_eq!(
                Dn::parse(&dn.to_string()),
                Ok(dn.clone()),
                "{dn} (SEED={})",
                random.seed
            );
        }
    }

    #[test]
    fn no_text_stops_the_parser() {
        let mut random = Random::from_environment();
        for _ in 0..20_000 {
            let octets = random.octets_of("cno1.=,+;\\ \"#<048é\0".as_bytes(), 24);
            let text = String::from_utf8_lossy(&octets);
            if let Ok(dn) = Dn::parse(&text) {
                assert_eq!(Dn::parse(&dn.to_string()), Ok(dn), "{text} (SEED={})", random.seed);
            }
        }
    }

    #[test]
    fn parents_and_children() {
        let dn = Dn::parse("uid=1,ou=People,o=nhs").unwrap();
        let parent = dn.parent().unwrap();
        assert_eq!(parent.to_string(), "ou=People,o=nhs");
        assert_eq!(parent.child(Rdn::new("uid", "1")), dn);
        assert_eq!(Dn::root().parent(), None);
        assert_eq!(Rdn::parse("cn=a+sn=b").unwrap().avas.len(), 2);
        assert!(Rdn::parse("cn=a,o=b").is_err());
        assert!(Rdn::parse("").is_err());
    }
}
