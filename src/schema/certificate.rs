//! X.509 certificates and revocation lists as values to compare (RFC 4523).
//!
//! A certificate is the one that its issuer numbered: serial number and issuer make its normalised form. A revocation list is
//! its issuer's of a time. Assertions say the same in words (the GSER of RFC 3641), or are a whole certificate.

use super::Schema;
use super::canonical::{append_integer, shown};
use super::matching::InvalidValue;
use super::time;
use crate::model::{Ava, Dn, Rdn};

/// Begins the normalised form of a value that is BER, yet not what it should be: its own octets.
const OPAQUE: u8 = 1;
/// Begins any other normalised form.
const READ: u8 = 2;

/// The longest serial number, in octets and in decimal digits. RFC 5280 section 4.1.2.2 allows 20 octets.
const MAX_SERIAL_OCTETS: usize = 64;
const MAX_SERIAL_DIGITS: usize = 128;

const INTEGER: u8 = 0x02;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BIT_STRING: u8 = 0x03;
/// `version [0]` of a certificate, and the extensions of a list.
const EXPLICIT_0: u8 = 0xa0;
/// Unique identifiers and extensions of a certificate.
const UNIQUE_1: u8 = 0x81;
const UNIQUE_2: u8 = 0x82;
const EXPLICIT_3: u8 = 0xa3;

/// Appends what certificateExactMatch compares: serial number and issuer (RFC 4523 section 3.1).
pub(super) fn append_certificate(
    schema: &Schema,
    value: &[u8],
    nesting: usize,
    out: &mut Vec<u8>,
) -> Result<(), InvalidValue> {
    // A serial number may begin with a zero, and that is the octet of a sequence.
    let words = serial_and_issuer(value);
    if words.is_none() && is_sequence(value) {
        let read = |out: &mut Vec<u8>| {
            let (serial, issuer) = certificate_parts(value)?;
            append_serial(serial, out)?;
            append_issuer(schema, &issuer, nesting, out)
        };
        append_read_or_opaque(value, read, out);
        return Ok(());
    }
    let invalid = |reason: &str| invalid_assertion("{ serialNumber 1, issuer rdnSequence:\"o=nhs\" }", reason, value);
    let (serial, issuer) = match words {
        Some(parts) => parts,
        None => {
            let fields = Gser::fields(value).ok_or_else(|| invalid("it is not of that form"))?;
            let serial = field(&fields, "serialNumber").and_then(Gser::number);
            let issuer = field(&fields, "issuer").and_then(Gser::name);
            (
                serial.ok_or_else(|| invalid("it has no serial number"))?,
                issuer.ok_or_else(|| invalid("it has no issuer that is a name"))?,
            )
        }
    };
    out.push(READ);
    append_serial(&serial, out).ok_or_else(|| invalid("its serial number is too long"))?;
    append_issuer(schema, &issuer, nesting, out).ok_or_else(|| invalid("its issuer has types the schema does not know"))
}

/// `serial$issuer`, as clients wrote it before RFC 4523.
fn serial_and_issuer(value: &[u8]) -> Option<(Vec<u8>, Dn)> {
    let (serial, issuer) = std::str::from_utf8(value).ok()?.split_once('$')?;
    let serial = serial.trim();
    let number = decimal(serial).filter(|_| !serial.starts_with('-'))?;
    Some((number, Dn::parse(issuer.trim()).ok()?))
}

/// Appends what certificateListExactMatch compares: issuer and time (RFC 4523 section 3.5).
pub(super) fn append_certificate_list(
    schema: &Schema,
    value: &[u8],
    nesting: usize,
    out: &mut Vec<u8>,
) -> Result<(), InvalidValue> {
    if is_sequence(value) {
        let read = |out: &mut Vec<u8>| {
            let (issuer, time) = list_parts(value)?;
            time::append_time(&time, out).ok()?;
            append_issuer(schema, &issuer, nesting, out)
        };
        append_read_or_opaque(value, read, out);
        return Ok(());
    }
    let form = "{ issuer rdnSequence:\"o=nhs\", thisUpdate utcTime:\"300131093000Z\" }";
    let invalid = |reason: &str| invalid_assertion(form, reason, value);
    let fields = Gser::fields(value).ok_or_else(|| invalid("it is not of that form"))?;
    let issuer = field(&fields, "issuer").and_then(Gser::name);
    let issuer = issuer.ok_or_else(|| invalid("it has no issuer that is a name"))?;
    let time = field(&fields, "thisUpdate").and_then(Gser::time);
    let time = time.ok_or_else(|| invalid("it has no time of this update"))?;
    out.push(READ);
    time::append_time(&time, out)?;
    append_issuer(schema, &issuer, nesting, out).ok_or_else(|| invalid("its issuer has types the schema does not know"))
}

fn invalid_assertion(form: &str, reason: &str, value: &[u8]) -> InvalidValue {
    InvalidValue::new(
        "DER or its assertion in words",
        format!("{}, such as {form}: {reason}", shown(value)),
    )
}

/// Whether the whole value is one sequence: what else begins with its octet, which is also the digit zero, is no certificate at all.
fn is_sequence(value: &[u8]) -> bool {
    let mut whole = Der(value);
    whole.take(SEQUENCE).is_some() && whole.0.is_empty()
}

/// A stored value must always have a form of its own, or it could not be deleted again.
fn append_read_or_opaque(value: &[u8], read: impl FnOnce(&mut Vec<u8>) -> Option<()>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(READ);
    if read(out).is_none() {
        out.truncate(start);
        out.push(OPAQUE);
        out.extend_from_slice(value);
    }
}

fn append_serial(serial: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let length = u8::try_from(serial.len())
        .ok()
        .filter(|_| serial.len() <= MAX_SERIAL_OCTETS)?;
    out.push(length);
    out.extend_from_slice(serial);
    Some(())
}

fn append_issuer(schema: &Schema, issuer: &Dn, nesting: usize, out: &mut Vec<u8>) -> Option<()> {
    schema.append_dn(issuer, nesting + 1, out).ok()
}

/// Serial number, without octets that say nothing, and issuer.
fn certificate_parts(value: &[u8]) -> Option<(&[u8], Dn)> {
    let mut certificate = Der(Der(value).take(SEQUENCE)?);
    let mut signed = Der(certificate.take(SEQUENCE)?);
    if signed.peek() == Some(EXPLICIT_0) {
        signed.take(EXPLICIT_0)?;
    }
    let serial = shortest(signed.take(INTEGER)?);
    signed.take(SEQUENCE)?;
    Some((serial, name(signed.take(SEQUENCE)?)?))
}

/// Issuer and time of this update, as a generalized time.
fn list_parts(value: &[u8]) -> Option<(Dn, Vec<u8>)> {
    let mut list = Der(Der(value).take(SEQUENCE)?);
    let mut signed = Der(list.take(SEQUENCE)?);
    if signed.peek() == Some(INTEGER) {
        signed.take(INTEGER)?;
    }
    signed.take(SEQUENCE)?;
    let issuer = name(signed.take(SEQUENCE)?)?;
    let time = match signed.peek()? {
        UTC_TIME => whole_year(signed.take(UTC_TIME)?)?,
        _ => signed.take(GENERALIZED_TIME)?.to_vec(),
    };
    Some((issuer, time))
}

/// Whether the DER is built as a certificate is (RFC 5280 section 4.1); what its parts hold is not looked at.
pub(super) fn is_certificate(value: &[u8]) -> bool {
    signed(value, |signed| {
        if signed.peek() == Some(EXPLICIT_0) {
            signed.take(EXPLICIT_0)?;
        }
        signed.take(INTEGER)?;
        // Algorithm, issuer, validity, subject, key.
        (0..5).try_for_each(|_| signed.take(SEQUENCE).map(drop))?;
        while matches!(signed.peek(), Some(UNIQUE_1 | UNIQUE_2 | EXPLICIT_3)) {
            signed.next()?;
        }
        Some(())
    })
}

/// Whether the DER is built as a revocation list is (RFC 5280 section 5.1).
pub(super) fn is_certificate_list(value: &[u8]) -> bool {
    signed(value, |signed| {
        if signed.peek() == Some(INTEGER) {
            signed.take(INTEGER)?;
        }
        signed.take(SEQUENCE)?;
        signed.take(SEQUENCE)?;
        let is_time = |tag| matches!(tag, Some(UTC_TIME | GENERALIZED_TIME));
        is_time(signed.peek()).then(|| signed.next())??;
        while is_time(signed.peek()) || matches!(signed.peek(), Some(SEQUENCE | EXPLICIT_0)) {
            signed.next()?;
        }
        Some(())
    })
}

/// Whether the DER is something and its signature, as attribute certificates are (RFC 5755 section 4.1).
pub(super) fn is_signed(value: &[u8]) -> bool {
    signed(value, |signed| {
        while signed.peek().is_some() {
            signed.next()?;
        }
        Some(())
    })
}

/// A sequence that `inner` reads to its end, an algorithm, and a signature.
fn signed(value: &[u8], inner: impl FnOnce(&mut Der<'_>) -> Option<()>) -> bool {
    let read = || {
        let mut outer = Der(value);
        let mut whole = Der(outer.take(SEQUENCE)?);
        let mut contents = Der(whole.take(SEQUENCE)?);
        inner(&mut contents)?;
        whole.take(SEQUENCE)?;
        whole.take(BIT_STRING)?;
        (outer.peek().is_none() && whole.peek().is_none() && contents.peek().is_none()).then_some(())
    };
    read().is_some()
}

/// A UTC time with its century (RFC 5280 section 4.1.2.5.1).
fn whole_year(time: &[u8]) -> Option<Vec<u8>> {
    let century: &[u8] = if *time.first()? >= b'5' { b"19" } else { b"20" };
    Some([century, time].concat())
}

/// An integer's octets without leading ones that repeat its sign.
fn shortest(mut integer: &[u8]) -> &[u8] {
    while let [0, next, ..] | [0xff, next, ..] = integer {
        let repeats = integer.first().is_some_and(|first| (*first == 0) == (next & 0x80 == 0));
        if !repeats {
            break;
        }
        integer = integer.get(1..).unwrap_or_default();
    }
    integer
}

/// An RDNSequence; DER has the root first.
fn name(contents: &[u8]) -> Option<Dn> {
    let mut sequence = Der(contents);
    let mut rdns = Vec::new();
    while sequence.peek().is_some() {
        let mut set = Der(sequence.take(SET)?);
        let mut avas = Vec::new();
        while set.peek().is_some() {
            let mut pair = Der(set.take(SEQUENCE)?);
            let attribute = dotted(pair.take(OID)?)?;
            let (tag, value) = pair.next()?;
            avas.push(Ava {
                attribute,
                value: utf8(tag, value)?,
            });
        }
        rdns.push(Rdn { avas });
    }
    rdns.reverse();
    Some(Dn::from_rdns(rdns))
}

/// The text of a DirectoryString or IA5String.
fn utf8(tag: u8, value: &[u8]) -> Option<Vec<u8>> {
    match tag {
        // UTF8String, NumericString, PrintableString, IA5String.
        0x0c | 0x12 | 0x13 | 0x16 => Some(value.to_vec()),
        // TeletexString, which is Latin-1 in use.
        0x14 => Some(
            value
                .iter()
                .map(|octet| char::from(*octet))
                .collect::<String>()
                .into_bytes(),
        ),
        // BMPString.
        0x1e => {
            let units: Vec<u16> = value
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |unit, octet| unit << 8 | u16::from(*octet)))
                .collect();
            String::from_utf16(&units).ok().map(String::into_bytes)
        }
        _ => None,
    }
}

fn dotted(octets: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for octet in octets {
        number = number.checked_mul(128)?.checked_add(u64::from(octet & 0x7f))?;
        if octet & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (first, rest) = numbers.split_first()?;
    let top = (*first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    for number in rest {
        text.push('.');
        text.push_str(&number.to_string());
    }
    Some(text)
}

/// DER elements one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, contents, rest) = super::syntax::split_element(self.0).ok()?;
        self.0 = rest;
        Some((tag, contents))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, contents)| contents)
    }
}

/// One value of an assertion in words.
enum Gser {
    /// A number or a bare word.
    Word(String),
    /// `'0A'H`.
    Hex(Vec<u8>),
    /// Text in quotes, behind the name of its alternative where there is one.
    Text(Option<String>, String),
}

fn field<'a>(fields: &'a [(String, Gser)], name: &str) -> Option<&'a Gser> {
    let mut found = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let only = found.next();
    only.filter(|_| found.next().is_none()).map(|(_, value)| value)
}

impl Gser {
    /// The fields of `{ name value, name value }`.
    fn fields(value: &[u8]) -> Option<Vec<(String, Gser)>> {
        let text = std::str::from_utf8(value).ok()?.trim();
        let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (name, after) = word(rest)?;
            let (value, after) = Gser::value(after.trim_start())?;
            fields.push((name.to_owned(), value));
            rest = match after.trim_start() {
                "" => "",
                after => after.strip_prefix(',')?.trim_start(),
            };
        }
        Some(fields)
    }

    fn value(text: &str) -> Option<(Gser, &str)> {
        if let Some(hex) = text.strip_prefix('\'') {
            let (digits, after) = hex.split_once('\'')?;
            return Some((Gser::Hex(octets(digits)?), after.strip_prefix('H')?));
        }
        if let Some((quoted, after)) = quoted(text) {
            return Some((Gser::Text(None, quoted), after));
        }
        let (name, after) = word(text)?;
        match after.strip_prefix(':') {
            Some(after) => {
                let (quoted, after) = quoted(after.trim_start())?;
                Some((Gser::Text(Some(name.to_owned()), quoted), after))
            }
            None => Some((Gser::Word(name.to_owned()), after)),
        }
    }

    /// An integer as its shortest octets.
    fn number(&self) -> Option<Vec<u8>> {
        match self {
            Gser::Hex(octets) => Some(shortest(octets).to_vec()),
            Gser::Word(digits) => decimal(digits),
            Gser::Text(..) => None,
        }
    }

    fn name(&self) -> Option<Dn> {
        match self {
            // OpenLDAP's clients leave out which kind of name it is: there is but one.
            Gser::Text(kind, text) if kind.as_ref().is_none_or(|kind| kind == "rdnSequence") => Dn::parse(text).ok(),
            _ => None,
        }
    }

    fn time(&self) -> Option<Vec<u8>> {
        match self {
            Gser::Text(Some(kind), text) if kind == "utcTime" => whole_year(text.as_bytes()),
            Gser::Text(_, text) => Some(text.as_bytes().to_vec()),
            _ => None,
        }
    }
}

/// Letters, digits and hyphens, at least one.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

/// Text in double quotes; two of them stand for one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut found = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        found.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                found.push('"');
                rest = more;
            }
            None => return Some((found, after)),
        }
    }
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

/// A decimal number as the shortest octets of an INTEGER.
fn decimal(number: &str) -> Option<Vec<u8>> {
    append_integer(number.as_bytes(), &mut Vec::new()).ok()?;
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.len() > MAX_SERIAL_DIGITS {
        return None;
    }
    // Least octet first.
    let mut octets: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for octet in &mut octets {
            let product = u32::from(*octet) * 10 + carry;
            *octet = (product & 0xff) as u8;
            carry = product >> 8;
        }
        if carry > 0 {
            octets.push(carry as u8);
        }
    }
    octets.push(0);
    if number.starts_with('-') {
        let mut carry = true;
        for octet in &mut octets {
            (*octet, carry) = (!*octet).overflowing_add(u8::from(carry));
        }
    }
    octets.reverse();
    Some(shortest(&octets).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::MatchingRule;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// Self-signed, serial number 0x00a1b2c3d4e5f60718293a4b, `cn=Test  Issuer,o=NHS England,c=GB`.
    const CERTIFICATE: &str = "MIIBwTCCAWegAwIBAgIMAKGyw9Tl9gcYKTpLMAoGCCqGSM49BAMCMDoxCzAJBgNVBAYTAkdCMRQwEgYDVQQKDAtOSFMgRW5n\
        bGFuZDEVMBMGA1UEAwwMVGVzdCAgSXNzdWVyMB4XDTI2MTEyNjAwMTIxMloXDTM2MTEyMzAwMTIxMlowOjELMAkGA1UEBhMC\
        R0IxFDASBgNVBAoMC05IUyBFbmdsYW5kMRUwEwYDVQQDDAxUZXN0ICBJc3N1ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\
        AAQ3YLmL3VSqkEY8d/YmV5F2EcTCB1HD+9aPp1GB8gOZ6Q9LppRiOXVlS7+vpvqTw/Y28mJ8fVJchY0DDfdSE7+Ho1MwUTAd\
        BgNVHQ4EFgQUOltqhqLWc7tWK0BSXSNXPW0rKdowHwYDVR0jBBgwFoAUOltqhqLWc7tWK0BSXSNXPW0rKdowDwYDVR0TAQH/\
        BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1fblmgBUtMI+/Jg5uM+bbcb5+FU6KsoqkPGcnOoAV6ECIB8twR6fVLaE2S7G\
        vkTsMdN183WsCUjnZG/qloNZu2lo";
    /// Self-signed, serial number 5, `cn=Jörg,ou=B+o=A,dc=test`.
    const SECOND: &str = "MIIBujCCAWCgAwIBAgIBBTAKBggqhkjOPQQDAjA8MRQwEgYKCZImiZPyLGQBGRYEdGVzdDEUMAgGA1UECgwBQTAIBgNVBAsM\
        AUIxDjAMBgNVBAMMBUrDtnJnMB4XDTI2MTEyNjAwMTIxMloXDTM2MTEyMzAwMTIxMlowPDEUMBIGCgmSJomT8ixkARkWBHRl\
        c3QxFDAIBgNVBAoMAUEwCAYDVQQLDAFCMQ4wDAYDVQQDDAVKw7ZyZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMGO9RZj\
        RRPadPdYbXAFB/KHyHMeukq+rLe6aZW8GcHlDjjPSTKOHMZXEIDy6/zh4JObtTy7BQC3NMDsEuluww2jUzBRMB0GA1UdDgQW\
        BBS/qy5Uaegu4JJ6yInxOQObwaGR2DAfBgNVHSMEGDAWgBS/qy5Uaegu4JJ6yInxOQObwaGR2DAPBgNVHRMBAf8EBTADAQH/\
        MAoGCCqGSM49BAMCA0gAMEUCIQCp2l8qJWzKUYjLpAgoWGTSGb80rdCb7xUPMtnvySXcFwIgAsgCQW+M2V+pAQwCgmJxgSVZ\
        TM6/ywL7d7au5263EW0=";
    /// The first one's list of 26 November 2026, 00:12:12.
    const LIST: &str = "MIHQMHkCAQEwCgYIKoZIzj0EAwIwOjELMAkGA1UEBhMCR0IxFDASBgNVBAoMC05IUyBFbmdsYW5kMRUwEwYDVQQDDAxUZXN0\
        ICBJc3N1ZXIXDTI2MTEyNjAwMTIxMloXDTI2MTIyNjAwMTIxMlqgDjAMMAoGA1UdFAQDAgEBMAoGCCqGSM49BAMCA0cAMEQC\
        IFgy8M4sjCbqYOZGyD2BiGnv1D2Ynond3TtVKPQ58My9AiAJoUw/Owpl+6cAhON5wS04R5Slm6EJgNAWT83Hos6tKw==";

    fn normalized(rule: MatchingRule, value: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let schema = Schema::builtin().unwrap();
        rule.normalize(&schema, value, &mut out).ok().map(|()| out)
    }

    fn check(rule: MatchingRule, stored: &str, assertion: &str, expected: Option<bool>) {
        let stored = normalized(rule, &STANDARD.decode(stored).unwrap()).unwrap();
        let found = normalized(rule, assertion.as_bytes()).map(|assertion| assertion == stored);
        assert_eq!(found, expected, "{assertion}");
    }

    #[test]
    fn a_certificate_is_found_by_serial_number_and_issuer() {
        let number = "195481250647938683376319051";
        for (assertion, expected) in [
            (format!("{{ serialNumber {number}, issuer rdnSequence:\"cn=test ISSUER,o=nhs england,c=gb\" }}"), Some(true)),
            (format!("{{issuer rdnSequence:\"CN=Test Issuer, O=NHS England, C=GB\",serialNumber {number}}}"), Some(true)),
            (format!("{number}$cn=Test Issuer,o=NHS England,c=GB"), Some(true)),
            (format!("{{ serialNumber {number}, issuer \"cn=Test Issuer,o=NHS England,c=GB\" }}"), Some(true)),
            (format!("{{ serialNumber {number}, issuer other:\"cn=Test Issuer,o=NHS England,c=GB\" }}"), None),
            ("{ serialNumber '00A1b2c3d4e5f60718293a4b'H, issuer rdnSequence:\"cn=Test Issuer,o=NHS England,c=GB\" }".into(), Some(true)),
            ("{ serialNumber 5, issuer rdnSequence:\"cn=Test Issuer,o=NHS England,c=GB\" }".into(), Some(false)),
            (format!("{{ serialNumber {number}, issuer rdnSequence:\"cn=Test Issuer,c=GB\" }}"), Some(false)),
            (format!("{{ serialNumber {number} }}"), None),
            ("{ serialNumber -5, issuer rdnSequence:\"c=GB\" }".into(), Some(false)),
            ("{ serialNumber 5, issuer rdnSequence:\"c=GB }".into(), None),
            ("{ serialNumber 5, serialNumber 5, issuer rdnSequence:\"c=GB\" }".into(), None),
            ("{ serialNumber 5, issuer rdnSequence:\"nosuchtype=x\" }".into(), None),
            ("anything".into(), None),
            ("010".into(), None),
            (String::new(), None),
            ("0$cn=Test Issuer,o=NHS England,c=GB".into(), Some(false)),
        ] {
            check(MatchingRule::CertificateExact, CERTIFICATE, &assertion, expected);
        }
        let second = "{ serialNumber 5, issuer rdnSequence:\"cn=JÖRG,o=A+ou=B,dc=test\" }";
        check(MatchingRule::CertificateExact, SECOND, second, Some(true));
    }

    #[test]
    fn a_list_is_found_by_issuer_and_time() {
        for (assertion, expected) in [
            (
                "{ issuer rdnSequence:\"cn=test issuer,o=nhs england,c=gb\", thisUpdate utcTime:\"261126001212Z\" }",
                Some(true),
            ),
            (
                "{ issuer rdnSequence:\"cn=test issuer,o=nhs england,c=gb\", thisUpdate generalizedTime:\"20261126001212Z\" }",
                Some(true),
            ),
            (
                "{ issuer rdnSequence:\"cn=test issuer,o=nhs england,c=gb\", thisUpdate \"20261126001213Z\" }",
                Some(false),
            ),
            ("{ issuer rdnSequence:\"cn=test issuer,o=nhs england,c=gb\" }", None),
            ("{ thisUpdate utcTime:\"261126001212Z\" }", None),
        ] {
            check(MatchingRule::CertificateListExact, LIST, assertion, expected);
        }
    }

    #[test]
    fn what_is_ber_and_no_certificate_equals_itself_alone() {
        let rule = MatchingRule::CertificateExact;
        let odd = [0x30, 3, 2, 1, 5];
        assert_eq!(normalized(rule, &odd), normalized(rule, &odd));
        assert_ne!(normalized(rule, &odd), normalized(rule, &[0x30, 3, 2, 1, 6]));
        let whole = STANDARD.decode(CERTIFICATE).unwrap();
        let list = STANDARD.decode(LIST).unwrap();
        assert!(is_certificate(&whole) && !is_certificate_list(&whole));
        assert!(is_certificate_list(&list) && !is_certificate(&list));
        assert!(is_certificate(&STANDARD.decode(SECOND).unwrap()));
        for end in 0..whole.len() {
            normalized(rule, &whole[..end]);
            normalized(MatchingRule::CertificateListExact, &whole[..end]);
            assert!(!is_certificate(&whole[..end]));
        }
        assert!(!is_certificate(&[&whole[..], b"x"].concat()) && !is_certificate_list(&[&list[..], b"x"].concat()));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x81;
            normalized(rule, &flipped);
        }
    }

    #[test]
    fn numbers_are_read_as_their_shortest_octets() {
        for (digits, octets) in [
            ("0", &[0][..]),
            ("127", &[127]),
            ("128", &[0, 128]),
            ("255", &[0, 255]),
            ("256", &[1, 0]),
            ("65536", &[1, 0, 0]),
            ("-1", &[255]),
            ("-128", &[128]),
            ("-129", &[255, 127]),
            ("-256", &[255, 0]),
        ] {
            assert_eq!(decimal(digits).as_deref(), Some(octets), "{digits}");
        }
        assert_eq!(decimal(&"9".repeat(MAX_SERIAL_DIGITS + 1)), None);
    }
}
