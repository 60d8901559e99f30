//! Matching rules (RFC 4517 section 4): values into octets that compare.

use super::canonical;
use super::certificate;
use super::prepare::{Case, Edges, append_text};
use super::syntax::Syntax;
use super::time;
use super::{MAX_NESTED_NAMES, Schema};
use crate::model::Dn;

/// A value or assertion is not of the rule's syntax.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected}: {reason}")]
pub struct InvalidValue {
    pub expected: &'static str,
    pub reason: String,
}

impl InvalidValue {
    pub(super) fn new(expected: &'static str, reason: impl Into<String>) -> Self {
        InvalidValue {
            expected,
            reason: reason.into(),
        }
    }
}

/// Which piece of a substring assertion is being prepared (RFC 4518 section 2.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubstringPiece {
    Initial,
    Any,
    Final,
}

/// How a prepared assertion is compared with a prepared value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// Equal octets.
    Equality,
    /// Octet order.
    Ordering,
    /// Pieces found by octet search.
    Substrings,
    /// The assertion is one of the words of the value; words are separated by what is neither letter nor digit.
    Word,
    /// Every bit of the assertion is set in the value ([`integer_value`] reads both).
    BitAnd,
    /// Some bit of the assertion is set in the value.
    BitOr,
    /// The value is the assertion, or the entry it names has the same attribute lead there.
    InChain,
    /// The value is the name asserted or lies below it.
    Subtree,
    /// The value lies directly below the name asserted.
    OneLevel,
    /// The value lies below the name asserted.
    Subordinate,
    /// The name asserted lies below the value.
    Superior,
}

/// What prepared octets are; rules of one form share a dictionary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    CaseIgnore,
    CaseExact,
    Numeric,
    Telephone,
    CaseIgnoreList,
    Integer,
    Boolean,
    Bits,
    Octets,
    Certificate,
    CertificateList,
    Time,
    Uuid,
    Csn,
    Name,
    NameAndUid,
    Identifier,
    FirstInteger,
    FirstIdentifier,
    FirstText,
}

struct Facts {
    name: &'static str,
    oid: &'static str,
    /// The tail below 1.3.6.1.4.1.1466.115.121.1 when it is a number, else a whole OID.
    assertion_syntax: &'static str,
    form: Form,
    comparison: Comparison,
}

macro_rules! matching_rules {
    ($($variant:ident $name:literal $oid:literal $syntax:literal $form:ident $comparison:ident),* $(,)?) => {
        /// A matching rule that this server implements.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum MatchingRule {
            $($variant,)*
        }

        const RULES: &[(MatchingRule, Facts)] = &[
            $((MatchingRule::$variant, Facts {
                name: $name,
                oid: $oid,
                assertion_syntax: $syntax,
                form: Form::$form,
                comparison: Comparison::$comparison,
            }),)*
        ];
    };
}

// Gap: certificate pairs, algorithms and attribute certificates compare octets; their GSER assertions (RFC 4523 sections 3.3 and
// 3.7) are not read. So do addresses and protocol information of OSI, and OpenLDAP's authorization rules.
matching_rules! {
    ObjectIdentifier "objectIdentifierMatch" "2.5.13.0" "38" Identifier Equality,
    DistinguishedName "distinguishedNameMatch" "2.5.13.1" "12" Name Equality,
    CaseIgnore "caseIgnoreMatch" "2.5.13.2" "15" CaseIgnore Equality,
    CaseIgnoreOrdering "caseIgnoreOrderingMatch" "2.5.13.3" "15" CaseIgnore Ordering,
    CaseIgnoreSubstrings "caseIgnoreSubstringsMatch" "2.5.13.4" "58" CaseIgnore Substrings,
    CaseExact "caseExactMatch" "2.5.13.5" "15" CaseExact Equality,
    CaseExactOrdering "caseExactOrderingMatch" "2.5.13.6" "15" CaseExact Ordering,
    CaseExactSubstrings "caseExactSubstringsMatch" "2.5.13.7" "58" CaseExact Substrings,
    NumericString "numericStringMatch" "2.5.13.8" "36" Numeric Equality,
    NumericStringOrdering "numericStringOrderingMatch" "2.5.13.9" "36" Numeric Ordering,
    NumericStringSubstrings "numericStringSubstringsMatch" "2.5.13.10" "58" Numeric Substrings,
    CaseIgnoreList "caseIgnoreListMatch" "2.5.13.11" "41" CaseIgnoreList Equality,
    CaseIgnoreListSubstrings "caseIgnoreListSubstringsMatch" "2.5.13.12" "58" CaseIgnoreList Substrings,
    Boolean "booleanMatch" "2.5.13.13" "7" Boolean Equality,
    Integer "integerMatch" "2.5.13.14" "27" Integer Equality,
    IntegerOrdering "integerOrderingMatch" "2.5.13.15" "27" Integer Ordering,
    BitString "bitStringMatch" "2.5.13.16" "6" Bits Equality,
    OctetString "octetStringMatch" "2.5.13.17" "40" Octets Equality,
    OctetStringOrdering "octetStringOrderingMatch" "2.5.13.18" "40" Octets Ordering,
    OctetStringSubstrings "octetStringSubstringsMatch" "2.5.13.19" "40" Octets Substrings,
    TelephoneNumber "telephoneNumberMatch" "2.5.13.20" "50" Telephone Equality,
    TelephoneNumberSubstrings "telephoneNumberSubstringsMatch" "2.5.13.21" "58" Telephone Substrings,
    PresentationAddress "presentationAddressMatch" "2.5.13.22" "43" Octets Equality,
    UniqueMember "uniqueMemberMatch" "2.5.13.23" "34" NameAndUid Equality,
    ProtocolInformation "protocolInformationMatch" "2.5.13.24" "42" Octets Equality,
    GeneralizedTime "generalizedTimeMatch" "2.5.13.27" "24" Time Equality,
    GeneralizedTimeOrdering "generalizedTimeOrderingMatch" "2.5.13.28" "24" Time Ordering,
    IntegerFirstComponent "integerFirstComponentMatch" "2.5.13.29" "27" FirstInteger Equality,
    ObjectIdentifierFirstComponent "objectIdentifierFirstComponentMatch" "2.5.13.30" "38" FirstIdentifier Equality,
    DirectoryStringFirstComponent "directoryStringFirstComponentMatch" "2.5.13.31" "15" FirstText Equality,
    Word "wordMatch" "2.5.13.32" "15" CaseIgnore Word,
    Keyword "keywordMatch" "2.5.13.33" "15" CaseIgnore Word,
    CertificateExact "certificateExactMatch" "2.5.13.34" "1.3.6.1.1.15.1" Certificate Equality,
    CertificatePairExact "certificatePairExactMatch" "2.5.13.36" "10" Octets Equality,
    CertificateListExact "certificateListExactMatch" "2.5.13.38" "1.3.6.1.1.15.5" CertificateList Equality,
    AlgorithmIdentifier "algorithmIdentifierMatch" "2.5.13.40" "49" Octets Equality,
    AttributeCertificateExact "attributeCertificateExactMatch" "2.5.13.45" "1.3.6.1.4.1.4203.666.11.10.2.2" Octets Equality,
    Authz "authzMatch" "1.3.6.1.4.1.4203.666.4.12" "1.3.6.1.4.1.4203.666.2.7" Octets Equality,
    CaseExactIa5 "caseExactIA5Match" "1.3.6.1.4.1.1466.109.114.1" "26" CaseExact Equality,
    CaseIgnoreIa5 "caseIgnoreIA5Match" "1.3.6.1.4.1.1466.109.114.2" "26" CaseIgnore Equality,
    CaseIgnoreIa5Substrings "caseIgnoreIA5SubstringsMatch" "1.3.6.1.4.1.1466.109.114.3" "58" CaseIgnore Substrings,
    CaseExactIa5Substrings "caseExactIA5SubstringsMatch" "1.3.6.1.4.1.4203.1.2.1" "58" CaseExact Substrings,
    Uuid "uuidMatch" "1.3.6.1.1.16.2" "1.3.6.1.1.16.1" Uuid Equality,
    UuidOrdering "uuidOrderingMatch" "1.3.6.1.1.16.3" "1.3.6.1.1.16.1" Uuid Ordering,
    Csn "CSNMatch" "1.3.6.1.4.1.4203.666.11.2.2" "1.3.6.1.4.1.4203.666.11.2.1" Csn Equality,
    CsnOrdering "CSNOrderingMatch" "1.3.6.1.4.1.4203.666.11.2.3" "1.3.6.1.4.1.4203.666.11.2.1" Csn Ordering,
    IntegerBitAnd "integerBitAndMatch" "1.2.840.113556.1.4.803" "27" Integer BitAnd,
    IntegerBitOr "integerBitOrMatch" "1.2.840.113556.1.4.804" "27" Integer BitOr,
    InChain "inChainMatch" "1.2.840.113556.1.4.1941" "12" Name InChain,
    DnOneLevel "dnOneLevelMatch" "1.3.6.1.4.1.4203.666.4.8" "12" Name OneLevel,
    DnSubtree "dnSubtreeMatch" "1.3.6.1.4.1.4203.666.4.9" "12" Name Subtree,
    DnSubordinate "dnSubordinateMatch" "1.3.6.1.4.1.4203.666.4.10" "12" Name Subordinate,
    DnSuperior "dnSuperiorMatch" "1.3.6.1.4.1.4203.666.4.11" "12" Name Superior,
}

impl MatchingRule {
    /// Every rule, in the order of their OIDs as listed above.
    pub fn all() -> impl Iterator<Item = MatchingRule> {
        RULES.iter().map(|(rule, _)| *rule)
    }

    /// The rule of a number that counts [`MatchingRule::all`].
    pub(super) fn at(number: u16) -> Option<MatchingRule> {
        RULES.get(usize::from(number)).map(|(rule, _)| *rule)
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    pub fn oid(self) -> &'static str {
        self.facts().oid
    }

    /// The syntax of an assertion value.
    pub fn syntax_oid(self) -> String {
        let syntax = self.facts().assertion_syntax;
        if syntax.contains('.') {
            syntax.to_owned()
        } else {
            format!("1.3.6.1.4.1.1466.115.121.1.{syntax}")
        }
    }

    pub fn comparison(self) -> Comparison {
        self.facts().comparison
    }

    /// Appends the normalised form of an attribute value or equality/ordering assertion to `out`.
    /// Equal values give equal octets; for ordering rules octet order is value order.
    ///
    /// # Errors
    /// The value is not of the rule's syntax: an assertion is Undefined, a stored value matches nothing. `out` may
    /// then hold part of it.
    pub fn normalize(self, schema: &Schema, value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
        self.normalize_nested(schema, value, 0, out)
    }

    /// As [`MatchingRule::normalize`]; `nesting` counts the names around this value, for names hold values that hold names.
    pub(super) fn normalize_nested(
        self,
        schema: &Schema,
        value: &[u8],
        nesting: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidValue> {
        self.check_letters(value)?;
        match self.facts().form {
            // An IA5 String may be empty (RFC 4517 section 3.3.15), and is then as one of spaces (RFC 4518 section 2.6.1).
            Form::CaseIgnore | Form::CaseExact if value.is_empty() && self.is_ia5() => {
                out.push(b' ');
                Ok(())
            }
            Form::CaseIgnore => append_text(value, Case::Ignore, Edges::NONE, out),
            Form::CaseExact => append_text(value, Case::Exact, Edges::NONE, out),
            Form::Numeric => canonical::append_numeric(value, out),
            Form::Telephone => canonical::append_telephone(value, out),
            Form::CaseIgnoreList => canonical::append_list(value, Edges::NONE, out),
            Form::Integer => canonical::append_integer(value, out),
            Form::Boolean => canonical::append_boolean(value, out),
            Form::Bits => canonical::append_bits(value, out),
            Form::Octets => {
                out.extend_from_slice(value);
                Ok(())
            }
            Form::Certificate => certificate::append_certificate(schema, value, nesting, out),
            Form::CertificateList => certificate::append_certificate_list(schema, value, nesting, out),
            Form::Time => time::append_time(value, out),
            Form::Uuid => canonical::append_uuid(value, out),
            Form::Csn => canonical::append_csn(value, out),
            Form::Name => append_name(schema, value, nesting, out),
            Form::NameAndUid => append_name_and_uid(schema, value, nesting, out),
            Form::Identifier => append_identifier(schema, value, out),
            Form::FirstInteger => canonical::append_integer(first_component(value)?, out),
            Form::FirstIdentifier => append_identifier(schema, first_component(value)?, out),
            Form::FirstText => append_text(first_component(value)?, Case::Ignore, Edges::NONE, out),
        }
    }

    /// Appends one prepared piece of a substring assertion. The piece is found in a normalised value by plain octet search.
    ///
    /// # Errors
    /// The piece is empty or not of the syntax, or values of this rule have no substrings.
    pub fn normalize_piece(self, piece: SubstringPiece, value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
        if value.is_empty() {
            return Err(InvalidValue::new("a piece of text", "it is empty"));
        }
        self.check_letters(value)?;
        let edges = Edges {
            leading: piece != SubstringPiece::Initial,
            trailing: piece != SubstringPiece::Final,
        };
        match self.facts().form {
            Form::CaseIgnore => append_text(value, Case::Ignore, edges, out),
            Form::CaseExact => append_text(value, Case::Exact, edges, out),
            Form::Numeric => canonical::append_numeric(value, out),
            Form::Telephone => canonical::append_telephone(value, out),
            Form::CaseIgnoreList => canonical::append_list(value, edges, out),
            Form::Octets => {
                out.extend_from_slice(value);
                Ok(())
            }
            _ => Err(InvalidValue::new(
                "an attribute with substrings",
                format!("{} has none", self.name()),
            )),
        }
    }

    /// An IA5 String is ASCII (RFC 4517 section 3.3.15) and a telephone number a Printable String (section 3.3.31), in an
    /// assertion as in a value.
    fn check_letters(self, value: &[u8]) -> Result<(), InvalidValue> {
        if self.is_ia5() && !value.is_ascii() {
            return Err(InvalidValue::new(
                "an IA5 String",
                format!("{} has characters beyond ASCII", canonical::shown(value)),
            ));
        }
        if self.facts().form == Form::Telephone && !value.iter().all(super::syntax::is_printable) {
            return Err(InvalidValue::new(
                "a telephone number",
                format!("{} has characters that are not printable", canonical::shown(value)),
            ));
        }
        Ok(())
    }

    fn is_ia5(self) -> bool {
        matches!(
            self,
            MatchingRule::CaseExactIa5
                | MatchingRule::CaseIgnoreIa5
                | MatchingRule::CaseIgnoreIa5Substrings
                | MatchingRule::CaseExactIa5Substrings
        )
    }

    /// Whether this rule's normalised form is the same as that of `other`, so that one dictionary serves both.
    pub fn shares_form(self, other: MatchingRule) -> bool {
        self.facts().form == other.facts().form
    }

    /// Whether values of a syntax are what this rule compares.
    pub(super) fn compares(self, syntax: Syntax) -> bool {
        match self.facts().form {
            Form::CaseIgnore | Form::CaseExact if self.is_ia5() => {
                matches!(syntax, Syntax::Ia5String | Syntax::CountryString)
            }
            Form::CaseIgnore | Form::CaseExact => matches!(
                syntax,
                Syntax::DirectoryString | Syntax::PrintableString | Syntax::CountryString | Syntax::TelephoneNumber
            ),
            Form::Numeric => syntax == Syntax::NumericString,
            Form::Telephone => syntax == Syntax::TelephoneNumber,
            Form::CaseIgnoreList => syntax == Syntax::PostalAddress,
            Form::Integer => syntax == Syntax::Integer,
            Form::Boolean => syntax == Syntax::Boolean,
            Form::Bits => syntax == Syntax::BitString,
            Form::Octets => syntax == Syntax::OctetString,
            Form::Certificate => syntax == Syntax::Certificate,
            Form::CertificateList => syntax == Syntax::CertificateList,
            Form::Time => syntax == Syntax::GeneralizedTime,
            Form::Uuid => syntax == Syntax::Uuid,
            Form::Csn => syntax == Syntax::Csn,
            Form::Name => syntax == Syntax::DistinguishedName,
            Form::NameAndUid => syntax == Syntax::NameAndOptionalUid,
            Form::Identifier => syntax == Syntax::ObjectIdentifier,
            Form::FirstInteger | Form::FirstIdentifier | Form::FirstText => syntax.is_description(),
        }
    }

    /// Whether values are text for people, of which approximate matching makes sense ([`super::approximate`]).
    pub fn is_text(self) -> bool {
        matches!(
            self.facts().form,
            Form::CaseIgnore | Form::CaseExact | Form::CaseIgnoreList
        )
    }

    fn facts(self) -> &'static Facts {
        &RULES[self as usize].1
    }
}

/// An INTEGER as a number for the bit rules; `None` when it is too large for one.
pub fn integer_value(value: &[u8]) -> Result<Option<i64>, InvalidValue> {
    canonical::integer_value(value)
}

/// The number that a value normalised by an integer rule stands for; `None` when it is too large for one.
pub fn integer_of_form(form: &[u8]) -> Option<i64> {
    canonical::integer_of_form(form)
}

fn append_name(schema: &Schema, value: &[u8], nesting: usize, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let invalid = |reason: String| InvalidValue::new("a distinguished name", reason);
    if nesting >= MAX_NESTED_NAMES {
        return Err(invalid(format!(
            "names lie within names more than {MAX_NESTED_NAMES} deep"
        )));
    }
    let text = std::str::from_utf8(value).map_err(|e| invalid(e.to_string()))?;
    let start = out.len();
    if append_plain_name(schema, text, nesting, out).is_some() {
        return Ok(());
    }
    out.truncate(start);
    let dn = Dn::parse(text).map_err(|e| invalid(e.to_string()))?;
    schema
        .append_dn(&dn, nesting + 1, out)
        .map_err(|violation| invalid(violation.to_string()))
}

/// A name without escapes, quotes and multi-valued RDNs, straight from its text; `None` leaves it to [`Dn::parse`],
/// which also says what is wrong.
fn append_plain_name(schema: &Schema, text: &str, nesting: usize, out: &mut Vec<u8>) -> Option<()> {
    if text.bytes().any(|b| b < b' ' || b"\\\"+;#<>".contains(&b)) {
        return None;
    }
    for rdn in text.rsplit(',') {
        let (name, value) = rdn.split_once('=')?;
        let (id, value) = (schema.find_attribute(name.trim_matches(' '))?, value.trim_matches(' '));
        if value.is_empty() {
            return None;
        }
        schema.append_value(id, value.as_bytes(), nesting + 1, out).ok()?;
        out.push(0);
    }
    Some(())
}

/// A name, then `#` and the bits where the value has a UID (RFC 4517 section 3.3.21).
fn append_name_and_uid(schema: &Schema, value: &[u8], nesting: usize, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let (name, uid) = split_uid(value);
    append_name(schema, name, nesting, out)?;
    if let Some(uid) = uid {
        out.push(b'#');
        canonical::append_bits(uid, out)?;
    }
    Ok(())
}

/// What does not end in `#` and a bit string is all name: `#` may be within one (RFC 4514 section 2.4).
pub(super) fn split_uid(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let bits = |at: usize| value[at + 1..].trim_ascii_end();
    match value.iter().rposition(|b| *b == b'#') {
        Some(at) if canonical::append_bits(bits(at), &mut Vec::new()).is_ok() => (&value[..at], Some(bits(at))),
        _ => (value, None),
    }
}

/// The canonical name where the schema knows the identifier, else the identifier in lower case.
fn append_identifier(schema: &Schema, value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|text| super::syntax::is_identifier(text))
        .ok_or_else(|| InvalidValue::new("an object identifier", format!("{} is none", canonical::shown(value))))?;
    match schema.canonical_identifier(text) {
        Some(name) => out.extend_from_slice(name),
        None => out.extend(value.iter().map(u8::to_ascii_lowercase)),
    }
    Ok(())
}

/// The first component of a parenthesised description; an assertion is that component alone.
fn first_component(value: &[u8]) -> Result<&[u8], InvalidValue> {
    let inner = value.trim_ascii().strip_prefix(b"(").unwrap_or(value).trim_ascii();
    let quoted = inner
        .strip_prefix(b"'")
        .and_then(|rest| rest.split(|b| *b == b'\'').next());
    let first = quoted.or_else(|| inner.split(|b| matches!(b, b' ' | b')')).next());
    first
        .filter(|first| !first.is_empty())
        .ok_or_else(|| InvalidValue::new("a value with a first component", "it is empty"))
}
