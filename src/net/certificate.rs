//! What is read of a certificate that was verified elsewhere: its subject in RFC 4514 form, for logs, and when it ends.

use std::fmt::Write;

/// The subject's name, leaf first; `None` where the certificate is not laid out as RFC 5280 section 4.1 has it.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (tag, name, _) = element(validity(certificate)?.1)?;
    (tag == SEQUENCE).then(|| rdns(name)).flatten()
}

/// When the certificate ends, in seconds since 1970.
pub fn ends(certificate: &[u8]) -> Option<u64> {
    let (_, _, after) = element(validity(certificate)?.0)?;
    let (tag, text, _) = element(after)?;
    seconds(tag, std::str::from_utf8(text).ok()?)
}

/// What the validity holds, and what follows it.
fn validity(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, body, _) = element(certificate)?;
    let (_, mut fields, _) = element(body)?;
    // Version (optional, [0]), serial number, signature, issuer, validity, subject.
    let before = if fields.first() == Some(&0xa0) { 4 } else { 3 };
    for _ in 0..before {
        fields = element(fields)?.2;
    }
    let (tag, validity, rest) = element(fields)?;
    (tag == SEQUENCE).then_some((validity, rest))
}

/// RFC 5280 section 4.1.2.5: `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn seconds(tag: u8, text: &str) -> Option<u64> {
    let (century, text) = match tag {
        UTC_TIME if text.get(..2)? < "50" => ("20", text),
        UTC_TIME => ("19", text),
        GENERALIZED_TIME => ("", text),
        _ => return None,
    };
    let text = format!("{century}{text}");
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
    let part = |at: usize| number(at..at + 2).and_then(|part| u8::try_from(part).ok());
    if text.len() != 15 || !text.ends_with('Z') {
        return None;
    }
    let month = time::Month::try_from(part(4)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0..4)?), month, part(6)?).ok()?;
    let instant = date.with_hms(part(8)?, part(10)?, part(12)?).ok()?;
    u64::try_from(instant.assume_utc().unix_timestamp()).ok()
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// RDNs and AVAs that are looked at: a name of a certificate is short.
const MOST_AVAS: usize = 64;

/// One DER element: tag, contents, what follows.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = octets.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (length, rest) = rest.split_at_checked(count)?;
        (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn rdns(mut name: &[u8]) -> Option<String> {
    let mut rdns = Vec::new();
    while !name.is_empty() {
        let (tag, mut rdn, rest) = element(name)?;
        name = rest;
        if tag != SET || rdns.len() == MOST_AVAS {
            return None;
        }
        let mut avas = Vec::new();
        while !rdn.is_empty() {
            let (_, pair, rest) = element(rdn)?;
            rdn = rest;
            let (tag, oid, value) = element(pair)?;
            let (_, value, _) = element(value)?;
            if tag != OBJECT_IDENTIFIER || avas.len() == MOST_AVAS {
                return None;
            }
            avas.push(format!("{}={}", attribute(oid), escaped(value)));
        }
        rdns.push(avas.join("+"));
    }
    rdns.reverse();
    Some(rdns.join(","))
}

/// The short names of RFC 4514 section 3, and what else is common; numbers for the rest.
fn attribute(oid: &[u8]) -> String {
    let name = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => return dotted(oid),
    };
    name.to_owned()
}

fn dotted(oid: &[u8]) -> String {
    let mut text = String::new();
    let mut arc: u64 = 0;
    for octet in oid {
        arc = arc.wrapping_shl(7) | u64::from(octet & 0x7f);
        if octet & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            write!(text, "{first}.{}", arc - first * 40).expect("a string takes everything");
        } else {
            write!(text, ".{arc}").expect("a string takes everything");
        }
        arc = 0;
    }
    text
}

/// RFC 4514 section 2.4; octets that are no UTF-8 or no text are shown as `\xx`.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    let mut at = 0;
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
                ' ' if at == 0 || at == last => text.push_str("\\ "),
                '#' if at == 0 => text.push_str("\\#"),
                _ if character.is_control() => {
                    let mut octets = [0; 4];
                    hex(&mut text, character.encode_utf8(&mut octets).as_bytes());
                }
                _ => text.push(character),
            }
            at += character.len_utf8();
        }
        hex(&mut text, chunk.invalid());
        at += chunk.invalid().len();
    }
    text
}

fn hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        write!(text, "\\{octet:02x}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_subject_of_a_certificate() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::OrganizationName, "NHS, England");
        name.push(rcgen::DnType::CommonName, " scan+print ");
        parameters.distinguished_name = name;
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let der = certificate.der();
        assert_eq!(subject(der).as_deref(), Some("CN=\\ scan\\+print\\ ,O=NHS\\, England"));
        for cut in 0..der.len() {
            let _ = (subject(&der[..cut]), ends(&der[..cut]));
        }
    }

    #[test]
    fn reads_when_a_certificate_ends() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, at) in [(2026, 1_796_083_200), (2049, 2_521_929_600), (2050, 2_553_465_600)] {
            parameters.not_after = rcgen::date_time_ymd(year, 12, 1);
            let certificate = parameters.clone().self_signed(&key).unwrap();
            assert_eq!(ends(certificate.der()), Some(at), "{year}");
        }
        for (tag, text) in [
            (UTC_TIME, "2612010000Z"),
            (UTC_TIME, "261301000000Z"),
            (UTC_TIME, "26120100000é"),
            (0x04, ""),
        ] {
            assert_eq!(seconds(tag, text), None, "{text}");
        }
    }

    #[test]
    fn names_attributes_and_hides_nothing() {
        assert_eq!(attribute(&[0x55, 4, 3]), "CN");
        assert_eq!(
            attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
            "1.2.840.113549.1.9.1"
        );
        assert_eq!(escaped(b"#a\n\xff"), "\\#a\\0a\\ff");
        assert_eq!(subject(&[]), None);
    }
}
