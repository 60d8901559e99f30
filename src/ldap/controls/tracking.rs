//! Session tracking (draft-wahl-ldap-session section 2): what a client says its request belongs to.

use super::super::ber::{self, BerError, Reader};
use crate::model::TrackedSession;

/// A SessionIdentifierControlValue (section 2.1). One that is malformed is passed over (section 2.3): it is for the audit alone.
pub(super) fn session(value: Option<&[u8]>) -> Option<TrackedSession> {
    let [source_ip, source_name, format, identifier] = fields(value?).ok()?;
    let text = |octets: &[u8]| std::str::from_utf8(octets).ok().map(str::to_owned);
    let session = TrackedSession {
        source_ip: text(source_ip)?,
        source_name: text(source_name)?,
        format: text(format)?,
        identifier: text(identifier)?,
    };
    let is_oid = !session.format.is_empty() && session.format.bytes().all(|octet| matches!(octet, b'.' | b'0'..=b'9'));
    (is_oid && session.source_ip.is_ascii() && session.source_ip.len() <= SOURCE_IP_OCTETS_MAX).then_some(session)
}

/// The most octets of an address (section 2.1).
const SOURCE_IP_OCTETS_MAX: usize = 128;

fn fields(value: &[u8]) -> Result<[&[u8]; 4], BerError> {
    let mut value = Reader::new(value);
    let mut list = value.enter(ber::SEQUENCE)?;
    value.finish()?;
    let fields = [list.octets()?, list.octets()?, list.octets()?, list.octets()?];
    list.finish()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(fields: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        ber::put_nested(&mut out, ber::SEQUENCE, |out| {
            fields
                .iter()
                .for_each(|field| ber::put_octets(out, ber::OCTET_STRING, field));
        });
        out
    }

    #[test]
    fn reads_what_the_draft_has_and_passes_over_all_else() {
        let value = encoded(&[
            b"192.0.2.1",
            b"radius.example",
            b"1.3.6.1.4.1.21008.108.63.1.3",
            "z\u{f6}e".as_bytes(),
        ]);
        let found = session(Some(&value)).unwrap();
        assert_eq!(
            (&*found.source_ip, &*found.source_name),
            ("192.0.2.1", "radius.example")
        );
        assert_eq!(
            (&*found.format, &*found.identifier),
            ("1.3.6.1.4.1.21008.108.63.1.3", "z\u{f6}e")
        );
        assert!(session(Some(&encoded(&[b"", b"", b"1.2", b""]))).is_some());
        assert_eq!(session(None), None);
        let long = [b'1'; SOURCE_IP_OCTETS_MAX + 1];
        let malformed: [&[&[u8]]; 8] = [
            &[],
            &[b"", b"", b"1.2"],
            &[b"", b"", b"1.2", b"", b""],
            &[b"", b"", b"", b""],
            &[b"", b"", b"RADIUS", b""],
            &[b"", b"", b"1.2", b"\xff"],
            &[b"\xc3\xb6", b"", b"1.2", b""],
            &[&long, b"", b"1.2", b""],
        ];
        for fields in malformed {
            assert_eq!(session(Some(&encoded(fields))), None, "{fields:?}");
        }
        assert_eq!(session(Some(b"\x30")), None);
    }
}
