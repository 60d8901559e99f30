//! Syntaxes (RFC 4517 section 3): is this value one?

use super::canonical::{self, shown};
use super::certificate::{self, SEQUENCE};
use super::matching::{InvalidValue, split_uid};
use super::subtree::SubtreeSpecification;
use super::time;
use crate::model::Dn;

/// The arc below which RFC 4517 numbers its syntaxes.
const ARC: &str = "1.3.6.1.4.1.1466.115.121.1.";

/// RFC 4517 section 3.3.5.
const DELIVERY_METHODS: &[&str] = &[
    "any",
    "mhs",
    "physical",
    "telex",
    "teletex",
    "g3fax",
    "g4fax",
    "ia5",
    "videotex",
    "telephone",
];

/// How a value of a syntax looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Non-empty UTF-8.
    Text,
    Subtree,
    /// UTF-8, may be empty.
    Ia5,
    Printable,
    Country,
    Numeric,
    Integer,
    Boolean,
    Bits,
    Name,
    NameAndUid,
    Time,
    UtcTime,
    Identifier,
    Uuid,
    Csn,
    PostalAddress,
    /// Known words with `$` between.
    DeliveryMethod,
    /// Printable, `$`, ASCII.
    OtherMailbox,
    /// Telephone numbers and parameters with `$` between.
    Fax,
    NetgroupTriple,
    BootParameter,
    /// Non-empty, balanced parentheses outside quotes.
    Description,
    /// One BER sequence, and nothing after it.
    Ber,
    Certificate,
    CertificateList,
    AttributeCertificate,
    Octets,
}

struct Facts {
    name: &'static str,
    oid: &'static str,
    shape: Shape,
}

macro_rules! syntaxes {
    ($($variant:ident $name:literal $oid:literal $shape:ident),* $(,)?) => {
        /// A syntax that this server implements.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Syntax {
            $($variant,)*
        }

        const SYNTAXES: &[(Syntax, Facts)] = &[
            $((Syntax::$variant, Facts { name: $name, oid: $oid, shape: Shape::$shape }),)*
        ];
    };
}

syntaxes! {
    AciItem "ACI Item" "1" Octets,
    AccessPoint "Access Point" "2" Octets,
    AttributeTypeDescription "Attribute Type Description" "3" Description,
    Audio "Audio" "4" Octets,
    Binary "Binary" "5" Octets,
    BitString "Bit String" "6" Bits,
    Boolean "Boolean" "7" Boolean,
    Certificate "Certificate" "8" Certificate,
    CertificateList "Certificate List" "9" CertificateList,
    CertificatePair "Certificate Pair" "10" Ber,
    CountryString "Country String" "11" Country,
    DistinguishedName "DN" "12" Name,
    DataQuality "Data Quality" "13" Text,
    DeliveryMethod "Delivery Method" "14" DeliveryMethod,
    DirectoryString "Directory String" "15" Text,
    DitContentRuleDescription "DIT Content Rule Description" "16" Description,
    DitStructureRuleDescription "DIT Structure Rule Description" "17" Description,
    DlSubmitPermission "DL Submit Permission" "18" Text,
    DsaQuality "DSA Quality" "19" Text,
    DseType "DSE Type" "20" Text,
    EnhancedGuide "Enhanced Guide" "21" Text,
    FacsimileTelephoneNumber "Facsimile Telephone Number" "22" Fax,
    Fax "Fax" "23" Octets,
    GeneralizedTime "Generalized Time" "24" Time,
    Guide "Guide" "25" Text,
    Ia5String "IA5 String" "26" Ia5,
    Integer "INTEGER" "27" Integer,
    Jpeg "JPEG" "28" Octets,
    MasterAndShadowAccessPoints "Master And Shadow Access Points" "29" Octets,
    MatchingRuleDescription "Matching Rule Description" "30" Description,
    MatchingRuleUseDescription "Matching Rule Use Description" "31" Description,
    MailPreference "Mail Preference" "32" Text,
    MhsOrAddress "MHS OR Address" "33" Text,
    NameAndOptionalUid "Name And Optional UID" "34" NameAndUid,
    NameFormDescription "Name Form Description" "35" Description,
    NumericString "Numeric String" "36" Numeric,
    ObjectClassDescription "Object Class Description" "37" Description,
    ObjectIdentifier "OID" "38" Identifier,
    OtherMailbox "Other Mailbox" "39" OtherMailbox,
    OctetString "Octet String" "40" Octets,
    PostalAddress "Postal Address" "41" PostalAddress,
    ProtocolInformation "Protocol Information" "42" Text,
    PresentationAddress "Presentation Address" "43" Text,
    PrintableString "Printable String" "44" Printable,
    SubtreeSpecification "Subtree Specification" "45" Subtree,
    SupplierInformation "Supplier Information" "46" Text,
    SupplierOrConsumer "Supplier Or Consumer" "47" Text,
    SupplierAndConsumer "Supplier And Consumer" "48" Text,
    SupportedAlgorithm "Supported Algorithm" "49" Ber,
    TelephoneNumber "Telephone Number" "50" Printable,
    TeletexTerminalIdentifier "Teletex Terminal Identifier" "51" Text,
    TelexNumber "Telex Number" "52" Fax,
    UtcTime "UTC Time" "53" UtcTime,
    LdapSyntaxDescription "LDAP Syntax Description" "54" Description,
    ModifyRights "Modify Rights" "55" Text,
    LdapSchemaDefinition "LDAP Schema Definition" "56" Text,
    LdapSchemaDescription "LDAP Schema Description" "57" Text,
    SubstringAssertion "Substring Assertion" "58" Text,
    NisNetgroupTriple "NIS Netgroup Triple" "1.3.6.1.1.1.0.0" NetgroupTriple,
    BootParameter "Boot Parameter" "1.3.6.1.1.1.0.1" BootParameter,
    CertificateExactAssertion "X.509 Certificate Exact Assertion" "1.3.6.1.1.15.1" Text,
    CertificateListExactAssertion "X.509 Certificate List Exact Assertion" "1.3.6.1.1.15.5" Text,
    Uuid "UUID" "1.3.6.1.1.16.1" Uuid,
    Csn "CSN" "1.3.6.1.4.1.4203.666.11.2.1" Csn,
    Authz "OpenLDAP authz" "1.3.6.1.4.1.4203.666.2.7" Text,
    AttributeCertificate "X.509 Attribute Certificate" "1.3.6.1.4.1.4203.666.11.10.2.1" AttributeCertificate,
    AttributeCertificateAssertion "X.509 Attribute Certificate Exact Assertion" "1.3.6.1.4.1.4203.666.11.10.2.2" Text,
}

impl Syntax {
    pub fn all() -> impl Iterator<Item = Syntax> {
        SYNTAXES.iter().map(|(syntax, _)| *syntax)
    }

    /// By numeric OID, without a length.
    pub fn find(oid: &str) -> Option<Syntax> {
        let short = oid.strip_prefix(ARC).unwrap_or(oid);
        let is_short = short.len() != oid.len();
        SYNTAXES
            .iter()
            .find(|(_, facts)| facts.oid == short && facts.oid.contains('.') != is_short)
            .map(|(syntax, _)| *syntax)
    }

    pub fn name(self) -> &'static str {
        self.facts().name
    }

    pub fn oid(self) -> String {
        let oid = self.facts().oid;
        if oid.contains('.') {
            oid.to_owned()
        } else {
            format!("{ARC}{oid}")
        }
    }

    /// Whether values are text that a terminal can show; LDIF writers encode the others.
    pub fn is_human_readable(self) -> bool {
        !self.wants_binary_option() && self.facts().shape != Shape::Octets
    }

    /// Whether exactly the values of one are values of the other.
    pub(super) fn has_the_values_of(self, other: Syntax) -> bool {
        self == other || (self.facts().shape == Shape::Octets && other.facts().shape == Shape::Octets)
    }

    /// Whether values are schema definitions in parentheses.
    pub(super) fn is_description(self) -> bool {
        self.facts().shape == Shape::Description
    }

    /// Whether values are names, alone or with an optional identifier.
    pub fn holds_names(self) -> bool {
        matches!(self.facts().shape, Shape::Name | Shape::NameAndUid)
    }

    /// Whether RFC 4522 wants values sent under the `;binary` option.
    pub fn wants_binary_option(self) -> bool {
        matches!(
            self.facts().shape,
            Shape::Ber | Shape::Certificate | Shape::CertificateList | Shape::AttributeCertificate
        )
    }

    /// Whether an attribute value is of this syntax.
    ///
    /// # Errors
    /// It is not; the reason names the first thing that is wrong.
    pub fn validate(self, value: &[u8]) -> Result<(), InvalidValue> {
        let sink = &mut Vec::new();
        match self.facts().shape {
            Shape::Octets => Ok(()),
            Shape::Text => text(value, self.facts().name),
            Shape::Subtree => match std::str::from_utf8(value).map(SubtreeSpecification::parse) {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(fault)) => Err(self.invalid(fault)),
                Err(fault) => Err(self.invalid(fault.to_string())),
            },
            Shape::Ia5 if value.is_ascii() => Ok(()),
            Shape::Ia5 => Err(self.invalid("it has characters beyond ASCII")),
            Shape::Printable => self.printable(value),
            Shape::Fax => value.split(|b| *b == b'$').try_for_each(|part| self.printable(part)),
            Shape::NetgroupTriple if is_netgroup_triple(value) => Ok(()),
            Shape::NetgroupTriple => Err(self.invalid(format!("{} is not (host,user,domain)", shown(value)))),
            Shape::BootParameter if is_boot_parameter(value) => Ok(()),
            Shape::BootParameter => Err(self.invalid(format!("{} is not key=server:path", shown(value)))),
            Shape::Country if value.len() == 2 && value.iter().all(is_printable) => Ok(()),
            Shape::Country => Err(self.invalid(format!("{} is not two letters", shown(value)))),
            Shape::Numeric => canonical::append_numeric(value, sink),
            Shape::Integer => canonical::append_integer(value, sink),
            Shape::Boolean => canonical::append_boolean(value, sink),
            Shape::Bits => canonical::append_bits(value, sink),
            Shape::Name | Shape::NameAndUid => parse_name(self, value).map(drop),
            Shape::Time => time::append_time(value, sink),
            Shape::UtcTime => self.utc_time(value),
            Shape::Identifier => match std::str::from_utf8(value) {
                Ok(text) if is_identifier(text) => Ok(()),
                _ => Err(self.invalid(format!("{} is no name and no numeric OID", shown(value)))),
            },
            Shape::Uuid => canonical::append_uuid(value, sink),
            Shape::Csn => canonical::append_csn(value, sink),
            Shape::PostalAddress => text(value, self.facts().name),
            Shape::DeliveryMethod => self.delivery_method(value),
            Shape::OtherMailbox => match value.split(|b| *b == b'$').next() {
                Some(kind) if kind.len() < value.len() && kind.iter().all(is_printable) && value.is_ascii() => Ok(()),
                _ => Err(self.invalid(format!("{} is not a kind and an address with $ between", shown(value)))),
            },
            Shape::Description => self.description(value),
            Shape::Ber if value.first() == Some(&SEQUENCE) => ber_element(value),
            Shape::Ber => Err(self.invalid("it is no sequence")),
            Shape::Certificate if certificate::is_certificate(value) => Ok(()),
            Shape::CertificateList if certificate::is_certificate_list(value) => Ok(()),
            Shape::AttributeCertificate if certificate::is_signed(value) => Ok(()),
            Shape::Certificate | Shape::CertificateList | Shape::AttributeCertificate => {
                Err(self.invalid("its DER is that of something else"))
            }
        }
    }

    fn facts(self) -> &'static Facts {
        &SYNTAXES[self as usize].1
    }

    fn invalid(self, reason: impl Into<String>) -> InvalidValue {
        InvalidValue::new(self.facts().name, reason)
    }

    fn printable(self, value: &[u8]) -> Result<(), InvalidValue> {
        if value.is_empty() {
            return Err(self.invalid("it is empty"));
        }
        match value.iter().find(|b| !is_printable(b)) {
            None => Ok(()),
            Some(bad) => Err(self.invalid(format!(
                "octet 0x{bad:02x} in {} is not a printable character",
                shown(value)
            ))),
        }
    }

    fn delivery_method(self, value: &[u8]) -> Result<(), InvalidValue> {
        let unknown = value.split(|b| *b == b'$').find(|word| {
            !DELIVERY_METHODS
                .iter()
                .any(|known| word.trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
        });
        match unknown {
            None if value != value.trim_ascii() => Err(self.invalid("there is space around it")),
            None => Ok(()),
            Some(word) => Err(self.invalid(format!("{} is not one of {}", shown(word), DELIVERY_METHODS.join(", ")))),
        }
    }

    fn utc_time(self, value: &[u8]) -> Result<(), InvalidValue> {
        let mut long = b"20".to_vec();
        long.extend_from_slice(value);
        let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
        if !matches!(digits, 10 | 12) || time::append_time(&long, &mut Vec::new()).is_err() {
            return Err(self.invalid(format!("{} is none", shown(value))));
        }
        Ok(())
    }

    fn description(self, value: &[u8]) -> Result<(), InvalidValue> {
        let mut depth = 0i32;
        let mut quoted = false;
        for byte in value {
            match byte {
                b'\'' => quoted = !quoted,
                b'(' if !quoted => depth += 1,
                b')' if !quoted => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
        if depth != 0 || quoted || !value.trim_ascii().starts_with(b"(") {
            return Err(self.invalid("its parentheses or quotes do not match"));
        }
        text(value, self.facts().name)
    }
}

/// A descriptor or a numeric OID (RFC 4512 section 1.4). Underscores pass too: directories in use have them.
pub(super) fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() => bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
        Some(first) if first.is_ascii_digit() => is_numeric_oid(text),
        _ => false,
    }
}

/// Two or more numbers joined by dots.
pub(super) fn is_numeric_oid(text: &str) -> bool {
    text.contains('.') && text.split('.').all(is_number)
}

/// Digits without a leading zero (RFC 4512 section 1.4).
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn text(value: &[u8], expected: &'static str) -> Result<(), InvalidValue> {
    if value.is_empty() {
        return Err(InvalidValue::new(expected, "it is empty"));
    }
    match std::str::from_utf8(value) {
        Ok(_) => Ok(()),
        Err(e) => Err(InvalidValue::new(
            expected,
            format!("not UTF-8 from byte {}", e.valid_up_to()),
        )),
    }
}

/// The name that a value of a syntax that holds names is.
pub fn parse_name(syntax: Syntax, value: &[u8]) -> Result<Dn, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new("a distinguished name", reason);
    let name = match syntax {
        Syntax::NameAndOptionalUid => split_uid(value).0,
        _ => value,
    };
    let text = std::str::from_utf8(name).map_err(|e| invalid(e.to_string()))?;
    Dn::parse(text).map_err(|e| invalid(e.to_string()))
}

/// RFC 2307 section 2.4. Names of hosts have dots, whatever it says.
fn is_netgroup_triple(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
    let part = |part: &[u8]| part.iter().all(is_host_letter);
    inner
        .is_some_and(|inner| inner.split(|b| *b == b',').all(part) && inner.iter().filter(|b| **b == b',').count() == 2)
}

/// As [`is_netgroup_triple`].
fn is_boot_parameter(value: &[u8]) -> bool {
    let at = |wanted: u8| value.iter().position(|b| *b == wanted);
    let (Some(equals), Some(colon)) = (at(b'='), at(b':')) else {
        return false;
    };
    let server = value.get(equals + 1..colon);
    value[..equals].iter().all(is_host_letter)
        && server.is_some_and(|server| server.iter().all(is_host_letter))
        && value[colon + 1..].iter().all(|b| b.is_ascii_graphic() || *b == b' ')
}

fn is_host_letter(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

pub(super) fn is_printable(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+,-.=/:? ".contains(byte)
}

/// One definite-length BER element that fills the value.
pub(super) fn ber_element(value: &[u8]) -> Result<(), InvalidValue> {
    let invalid = |reason: &str| InvalidValue::new("one BER element", reason);
    match split_element(value) {
        Ok((_, _, [])) => Ok(()),
        Ok(_) => Err(invalid("something follows it")),
        Err(reason) => Err(invalid(reason)),
    }
}

/// Tag and contents of the first BER element, and what follows it.
pub(super) fn split_element(value: &[u8]) -> Result<(u8, &[u8], &[u8]), &'static str> {
    let [tag, length, rest @ ..] = value else {
        return Err("it is shorter than a tag and a length");
    };
    if tag & 0x1f == 0x1f {
        return Err("its tag has more than one octet");
    }
    let (length, content) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let count = usize::from(length & 0x7f);
            let (octets, content) = rest.split_at_checked(count).ok_or("its length is cut off")?;
            let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            (length, content)
        }
        _ => return Err("its length is indefinite or over 4 GiB"),
    };
    let (content, rest) = content
        .split_at_checked(length)
        .ok_or("its length is not that of the value")?;
    Ok((*tag, content, rest))
}
