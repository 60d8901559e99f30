//! Entries as given: a name and its attributes, before the schema has looked at them.

use super::dn::{Dn, found_at};
use std::fmt::{self, Write as _};

/// Options one attribute description may have.
pub const OPTIONS_LIMIT: usize = 16;

/// An attribute value as given: any octets.
pub type Value = Vec<u8>;

/// An attribute description (RFC 4512 section 2.5): a type and its options.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct AttributeDescription {
    /// Descriptor or numeric OID, as spelled.
    pub attribute_type: String,
    /// Options without their `;`, in the order given.
    pub options: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    pub description: AttributeDescription,
    pub values: Vec<Value>,
}

/// An entry as given by a client or an LDIF file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub dn: Dn,
    pub attributes: Vec<Attribute>,
}

/// Why a text is no attribute description. `position` is a byte offset into the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected} at byte {position} of the attribute description, found {found}")]
pub struct DescriptionError {
    pub position: usize,
    pub expected: &'static str,
    pub found: String,
}

impl AttributeDescription {
    /// A description without options. The text is taken as it is.
    pub fn new(attribute_type: impl Into<String>) -> Self {
        Self {
            attribute_type: attribute_type.into(),
            options: Vec::new(),
        }
    }

    /// Parses a type, which is a descriptor or a numeric OID, and `;option`s (RFC 4512 section 2.5).
    ///
    /// # Errors
    /// Says the first place where the text is no attribute description, or exceeds [`OPTIONS_LIMIT`].
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let fault = |position, expected| DescriptionError {
            position,
            expected,
            found: found_at(text, position),
        };
        let (attribute_type, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        if !is_descriptor(attribute_type) && !is_numeric_oid(attribute_type) {
            let position = type_prefix(attribute_type);
            return Err(fault(
                position,
                "a letter, digit or hyphen of an attribute name, or an OID",
            ));
        }
        let mut options = Vec::new();
        let mut position = attribute_type.len();
        while let Some(after) = rest.strip_prefix(';') {
            let option = after.split(';').next().unwrap_or_default();
            position += 1;
            let valid = option.bytes().take_while(|octet| is_key_character(*octet)).count();
            if option.is_empty() || valid < option.len() {
                return Err(fault(position + valid, "a letter, digit or hyphen of an option"));
            }
            if options.len() == OPTIONS_LIMIT {
                return Err(fault(position, "at most 16 options"));
            }
            options.push(option.to_owned());
            position += option.len();
            rest = after.get(option.len()..).unwrap_or_default();
        }
        Ok(Self {
            attribute_type: attribute_type.to_owned(),
            options,
        })
    }

    /// Whether both name the same attribute as far as spelling can tell: type and options in any case, options in
    /// any order (RFC 4512 section 2.5). That `cn` and `2.5.4.3` are one only the schema knows.
    pub fn same_as(&self, other: &Self) -> bool {
        self.attribute_type.eq_ignore_ascii_case(&other.attribute_type)
            && self.options.len() == other.options.len()
            && self.options.iter().all(|option| other.has_option(option))
            && other.options.iter().all(|option| self.has_option(option))
    }

    /// Whether it has an option, in any case.
    pub fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|own| own.eq_ignore_ascii_case(option))
    }
}

impl fmt::Display for AttributeDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute_type)?;
        for option in &self.options {
            f.write_char(';')?;
            f.write_str(option)?;
        }
        Ok(())
    }
}

impl Attribute {
    /// An attribute without options.
    pub fn new(attribute_type: impl Into<String>, values: Vec<Value>) -> Self {
        Self {
            description: AttributeDescription::new(attribute_type),
            values,
        }
    }
}

impl Entry {
    pub fn new(dn: Dn) -> Self {
        Self {
            dn,
            attributes: Vec::new(),
        }
    }

    /// The attribute of this type, in any case, without options.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| {
            attribute.description.options.is_empty() && attribute.description.attribute_type.eq_ignore_ascii_case(name)
        })
    }

    /// The values of [`Entry::attribute`]; empty where there is none.
    pub fn values(&self, name: &str) -> &[Value] {
        self.attribute(name).map_or(&[], |attribute| &attribute.values)
    }

    /// The first of [`Entry::values`] if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.values(name).first()?).ok()
    }

    /// The attribute with the [same](AttributeDescription::same_as) description.
    pub fn find(&self, description: &AttributeDescription) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.description.same_as(description))
    }

    pub fn find_mut(&mut self, description: &AttributeDescription) -> Option<&mut Attribute> {
        self.attributes
            .iter_mut()
            .find(|attribute| attribute.description.same_as(description))
    }

    /// The attribute with the same description, made empty at the end where there was none.
    pub fn find_or_insert(&mut self, description: &AttributeDescription) -> &mut Attribute {
        let at = self
            .attributes
            .iter()
            .position(|attribute| attribute.description.same_as(description))
            .unwrap_or(self.attributes.len());
        if at == self.attributes.len() {
            self.attributes.push(Attribute {
                description: description.clone(),
                values: Vec::new(),
            });
        }
        &mut self.attributes[at]
    }

    /// Adds one value to the attribute of this type without options.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        let description = AttributeDescription::new(name);
        self.find_or_insert(&description).values.push(value.into());
    }

    /// Takes an attribute out; `None` where there was none.
    pub fn remove(&mut self, description: &AttributeDescription) -> Option<Attribute> {
        let at = self
            .attributes
            .iter()
            .position(|attribute| attribute.description.same_as(description))?;
        Some(self.attributes.remove(at))
    }
}

/// RFC 4512 section 1.4 `descr`: a letter, then letters, digits and hyphens.
pub fn is_descriptor(text: &str) -> bool {
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(is_key_character)
}

/// RFC 4512 section 1.4 `numericoid`: at least two numbers without leading zeros, joined by dots.
pub fn is_numeric_oid(text: &str) -> bool {
    let is_number = |number: &str| {
        !number.is_empty()
            && number.bytes().all(|octet| octet.is_ascii_digit())
            && (number.len() == 1 || !number.starts_with('0'))
    };
    text.contains('.') && text.split('.').all(is_number)
}

fn is_key_character(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-'
}

/// How far a text that is no attribute type looks like one.
fn type_prefix(text: &str) -> usize {
    let mut octets = text.bytes();
    match octets.next() {
        Some(first) if first.is_ascii_alphabetic() => 1 + octets.take_while(|octet| is_key_character(*octet)).count(),
        _ => 0,
    }
}

/// Whether an attribute option means something here (RFC 4512 section 2.5.2): `binary` (RFC 4522), language tags and ranges
/// (RFC 3866), and those for private use.
pub fn is_known_option(option: &str) -> bool {
    let begins = |prefix: &str| {
        let head = option.get(..prefix.len());
        option.len() > prefix.len() && head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    option.eq_ignore_ascii_case("binary") || option.eq_ignore_ascii_case("lang-") || begins("lang-") || begins("x-")
}

/// Whether a stored description carries every option asked for, in lower case (RFC 4512 section 2.5.2). One that ends in `-`
/// asks for a range: the tag before the `-`, and all that go on from there (RFC 3866 section 3).
pub fn carries_options(description: &str, asked: &[String]) -> bool {
    asked.iter().all(|asked| {
        let mut stored = description.split(';').skip(1);
        stored.any(|stored| match asked.strip_suffix('-') {
            None => stored.eq_ignore_ascii_case(asked),
            Some(tag) => {
                let head = stored.get(..tag.len());
                head.is_some_and(|head| head.eq_ignore_ascii_case(tag))
                    && matches!(stored.as_bytes().get(tag.len()), None | Some(b'-'))
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_descriptions() {
        let cases: &[(&str, Result<(&str, &[&str]), usize>)] = &[
            ("cn", Ok(("cn", &[]))),
            ("2.5.4.3", Ok(("2.5.4.3", &[]))),
            ("userCertificate;binary", Ok(("userCertificate", &["binary"]))),
            ("2.5.4.0;lang-de;x-1", Ok(("2.5.4.0", &["lang-de", "x-1"]))),
            ("", Err(0)),
            (";binary", Err(0)),
            ("1cn", Err(0)),
            ("1", Err(0)),
            ("1.", Err(0)),
            ("1.02", Err(0)),
            ("c_n", Err(1)),
            ("cn ", Err(2)),
            ("cn;", Err(3)),
            ("cn;;a", Err(3)),
            ("cn;a_b", Err(4)),
            ("cn;a;b é", Err(6)),
            ("né", Err(1)),
        ];
        for (text, expected) in cases {
            let got = AttributeDescription::parse(text);
            match (&got, expected) {
                (Ok(description), Ok((attribute_type, options))) => {
                    assert_eq!(description.attribute_type, *attribute_type);
                    assert_eq!(description.options, *options);
                    assert_eq!(description.to_string(), *text);
                }
                (Err(error), Err(position)) => assert_eq!(error.position, *position, "{text}"),
                _ => panic!("{text}: {got:?}"),
            }
        }
        let many = format!("cn{}", ";a".repeat(OPTIONS_LIMIT + 1));
        assert!(AttributeDescription::parse(&many).is_err());
    }

    #[test]
    fn options_are_known_or_not() {
        for (option, known) in [
            ("binary", true),
            ("Lang-de", true),
            ("lang-en-GB", true),
            ("lang-", true),
            ("X-b", true),
            ("x-", false),
            ("x", false),
            ("lang", false),
            ("foo", false),
            ("", false),
        ] {
            assert_eq!(is_known_option(option), known, "{option}");
        }
    }

    #[test]
    fn descriptions_compare_in_any_case_and_order() {
        let parse = |text| AttributeDescription::parse(text).unwrap();
        assert!(parse("CN;Lang-EN;x").same_as(&parse("cn;X;lang-en")));
        assert!(!parse("cn;x").same_as(&parse("cn")));
        assert!(!parse("cn;x;x").same_as(&parse("cn;x;y")));
    }

    #[test]
    fn entries_find_their_attributes() {
        let mut entry = Entry::new(Dn::root());
        entry.push("cn", "a");
        entry.push("CN", "b");
        let german = AttributeDescription::parse("cn;lang-de").unwrap();
        entry.find_or_insert(&german).values.push(b"c".to_vec());
        assert_eq!(entry.attributes.len(), 2);
        assert_eq!(entry.values("Cn"), [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(entry.text("cn"), Some("a"));
        assert_eq!(entry.find(&german).unwrap().values, [b"c".to_vec()]);
        assert_eq!(entry.remove(&german).unwrap().values.len(), 1);
        assert_eq!(entry.remove(&german), None);
        assert_eq!(entry.values("sn"), [] as [Value; 0]);
    }
}
