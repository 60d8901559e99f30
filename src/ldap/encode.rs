//! Answers as octets, written straight into the connection's output buffer.
//!
//! An entry is copied once: its headers are written before it with the room most entries need, and moved only where an entry is very
//! small or very large. Lengths are always minimal.

use super::ber::{self, integer_octets, length_octets, write_length};
use super::codec::tag;
use super::controls::{PasswordAdvice, put_linked, put_responses, put_usability};
use super::frame::MessageId;
use crate::access::{ReleasedCopy, ReleasedEntry};
use crate::directory::{Beside, VirtualListResult};
use crate::model::{Outcome, ResultCode};

/// The object identifier of the notice of disconnection (RFC 4511 section 4.4.1).
pub const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// What an answer carries beyond its result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// Of a bind response.
    pub sasl_credentials: Option<&'a [u8]>,
    /// Of an extended response.
    pub name: Option<&'a str>,
    /// Of an extended response.
    pub value: Option<&'a [u8]>,
    /// Cookie and estimate of a paged search.
    pub page: Option<(&'a [u8], u32)>,
    /// How a sort went, and by which attribute it could not be done.
    pub sort: Option<(ResultCode, Option<&'a str>)>,
    /// Cookie of a content synchronisation that is over, and whether what is gone was said.
    pub synced: Option<(&'a str, bool)>,
    /// Of a virtual list view.
    pub virtual_list: Option<&'a VirtualListResult>,
    /// The entry before an update.
    pub pre_read: Option<&'a ReleasedCopy>,
    /// The entry after it.
    pub post_read: Option<&'a ReleasedCopy>,
    /// Of the password policy.
    pub password: Option<PasswordAdvice>,
    /// Of a bind response: whom it came to.
    pub authorization_identity: Option<&'a str>,
}

/// Appends a SearchResultEntry (RFC 4511 section 4.5.2), with what was asked for beside it.
pub fn search_result_entry(out: &mut Vec<u8>, id: MessageId, entry: &ReleasedEntry<'_>, beside: Beside<'_>) {
    if !beside.linked.is_empty() || beside.usability.is_some() {
        let controls = |out: &mut Vec<u8>| put_beside(out, beside);
        return entry_with_controls(out, id, entry.dn(), controls, |out| entry.append_attributes(out));
    }
    match entry.as_stored() {
        Some(attributes) => stored_entry(out, id, entry.dn_octets(), attributes),
        None => entry_with(out, id, entry.dn_octets(), |out| entry.append_attributes(out)),
    }
}

fn put_beside(out: &mut Vec<u8>, beside: Beside<'_>) {
    if !beside.linked.is_empty() {
        put_linked(out, beside.linked);
    }
    if let Some(usability) = beside.usability {
        put_usability(out, usability);
    }
}

/// An entry whose attributes are one slice: every length is known before.
fn stored_entry(out: &mut Vec<u8>, id: MessageId, dn: &[u8], attributes: &[u8]) {
    let lengths = Lengths::new(id, dn, attributes.len());
    out.reserve(lengths.prefix() + attributes.len());
    ber::put_header(out, ber::SEQUENCE, lengths.message);
    ber::put_integer(out, ber::INTEGER, id.0);
    ber::put_header(out, tag::SEARCH_RESULT_ENTRY, lengths.operation);
    ber::put_octets(out, ber::OCTET_STRING, dn);
    ber::put_header(out, ber::SEQUENCE, attributes.len());
    out.extend_from_slice(attributes);
}

/// Lengths of the contents of an entry's message.
struct Lengths {
    message: usize,
    operation: usize,
    list: usize,
    /// Octets before the list's contents, but for those of the three lengths around it.
    fixed: usize,
}

impl Lengths {
    fn new(id: MessageId, dn: &[u8], list: usize) -> Lengths {
        let name = 1 + length_octets(dn.len()) + dn.len();
        let operation = name + 1 + length_octets(list) + list;
        Lengths {
            message: 2 + integer_octets(id.0) + 1 + length_octets(operation) + operation,
            operation,
            list,
            fixed: 3 + 2 + integer_octets(id.0) + name,
        }
    }

    /// Octets before the list's contents.
    fn prefix(&self) -> usize {
        let lengths = [self.message, self.operation, self.list];
        self.fixed + lengths.into_iter().map(length_octets).sum::<usize>()
    }
}

/// The same for any name and attributes; `attributes` appends the contents of the PartialAttributeList.
pub fn entry_with(out: &mut Vec<u8>, id: MessageId, dn: &[u8], attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Three lengths of three octets each: right for every entry of 256 to 65,535 octets.
    let room = Lengths::new(id, dn, 0).fixed + 9;
    out.resize(start + room, 0);
    attributes(out);
    let list = out.len() - start - room;
    let lengths = Lengths::new(id, dn, list);
    let prefix = lengths.prefix();
    if prefix != room {
        let from = start + room;
        if prefix > room {
            out.resize(from + list + prefix - room, 0);
        }
        out.copy_within(from..from + list, start + prefix);
        out.truncate(start + prefix + list);
    }
    let mut place = Place {
        octets: &mut out[start..start + prefix],
        at: 0,
    };
    place.header(ber::SEQUENCE, lengths.message);
    place.header(ber::INTEGER, integer_octets(id.0));
    let octets = u64::from(id.0).to_be_bytes();
    place.copy(&octets[8 - integer_octets(id.0)..]);
    place.header(tag::SEARCH_RESULT_ENTRY, lengths.operation);
    place.header(ber::OCTET_STRING, dn.len());
    place.copy(dn);
    place.header(ber::SEQUENCE, list);
}

/// The same with controls; `controls` appends the contents of the message's controls. For answers of which there are not many.
pub fn entry_with_controls(
    out: &mut Vec<u8>,
    id: MessageId,
    dn: &str,
    controls: impl FnOnce(&mut Vec<u8>),
    attributes: impl FnOnce(&mut Vec<u8>),
) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_integer(out, ber::INTEGER, id.0);
        ber::put_nested(out, tag::SEARCH_RESULT_ENTRY, |out| {
            ber::put_octets(out, ber::OCTET_STRING, dn.as_bytes());
            ber::put_nested(out, ber::SEQUENCE, attributes);
        });
        ber::put_nested(out, super::frame::CONTROLS, controls);
    });
}

/// Headers written into room that was left for them.
struct Place<'a> {
    octets: &'a mut [u8],
    at: usize,
}

impl Place<'_> {
    #[inline]
    fn header(&mut self, tag: u8, contents: usize) {
        self.octets[self.at] = tag;
        self.at += 1;
        self.at += write_length(&mut self.octets[self.at..], contents);
    }

    #[inline]
    fn copy(&mut self, octets: &[u8]) {
        self.octets[self.at..self.at + octets.len()].copy_from_slice(octets);
        self.at += octets.len();
    }
}

/// Appends the answer that ends an operation: an LDAPResult (RFC 4511 section 4.1.9) under the operation's response tag.
pub fn result(out: &mut Vec<u8>, id: MessageId, response: u8, outcome: &Outcome, extra: Extra<'_>) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_integer(out, ber::INTEGER, id.0);
        ber::put_nested(out, response, |out| {
            ber::put_integer(out, ber::ENUMERATED, outcome.code as u32);
            ber::put_octets(out, ber::OCTET_STRING, outcome.matched_dn.as_bytes());
            ber::put_octets(out, ber::OCTET_STRING, outcome.message.as_bytes());
            if !outcome.referrals.is_empty() {
                ber::put_nested(out, 0xa3, |out| put_urls(out, &outcome.referrals));
            }
            if let Some(credentials) = extra.sasl_credentials {
                ber::put_octets(out, 0x87, credentials);
            }
            if let Some(name) = extra.name {
                ber::put_octets(out, 0x8a, name.as_bytes());
            }
            if let Some(value) = extra.value {
                ber::put_octets(out, 0x8b, value);
            }
        });
        put_responses(out, &extra);
    });
}

/// Appends a SearchResultReference (RFC 4511 section 4.5.3).
pub fn search_result_reference(out: &mut Vec<u8>, id: MessageId, urls: &[String]) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_integer(out, ber::INTEGER, id.0);
        ber::put_nested(out, tag::SEARCH_RESULT_REFERENCE, |out| put_urls(out, urls));
    });
}

/// The same with controls, whose contents `controls` appends.
pub fn reference_with_controls(out: &mut Vec<u8>, id: MessageId, urls: &[String], controls: impl FnOnce(&mut Vec<u8>)) {
    ber::put_nested(out, ber::SEQUENCE, |out| {
        ber::put_integer(out, ber::INTEGER, id.0);
        ber::put_nested(out, tag::SEARCH_RESULT_REFERENCE, |out| put_urls(out, urls));
        ber::put_nested(out, super::frame::CONTROLS, controls);
    });
}

fn put_urls(out: &mut Vec<u8>, urls: &[String]) {
    for url in urls {
        ber::put_octets(out, ber::OCTET_STRING, url.as_bytes());
    }
}

/// Appends a notice of disconnection: the last thing the server says.
pub fn notice_of_disconnection(out: &mut Vec<u8>, code: ResultCode, message: &str) {
    let extra = Extra {
        name: Some(NOTICE_OF_DISCONNECTION),
        ..Extra::default()
    };
    result(
        out,
        MessageId(0),
        tag::EXTENDED_RESPONSE,
        &Outcome::new(code, message),
        extra,
    );
}

#[cfg(test)]
mod tests {
    use super::super::ber::{BerError, Reader};
    use super::super::specimen;
    use super::*;

    /// Name and attribute list of an encoded entry, its lengths checked to be minimal.
    fn read(octets: &[u8]) -> Result<(i64, Vec<u8>, Vec<u8>), BerError> {
        ber::check(octets, 8, 1_000_000)?;
        let mut message = Reader::new(octets).enter(ber::SEQUENCE)?;
        let id = message.integer(ber::INTEGER)?;
        let mut entry = message.enter(tag::SEARCH_RESULT_ENTRY)?;
        let name = entry.octets()?.to_vec();
        let list = entry.expect(ber::SEQUENCE)?.to_vec();
        assert!(entry.is_empty() && message.is_empty());
        let mut minimal = Vec::new();
        ber::put_nested(&mut minimal, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::INTEGER, u32::try_from(id).unwrap());
            ber::put_nested(out, tag::SEARCH_RESULT_ENTRY, |out| {
                ber::put_octets(out, ber::OCTET_STRING, &name);
                ber::put_octets(out, ber::SEQUENCE, &list);
            });
        });
        assert_eq!(octets, minimal);
        Ok((id, name, list))
    }

    #[test]
    fn entries_of_every_size_are_whole_and_minimal() {
        let sizes = [
            0usize, 1, 60, 100, 120, 130, 200, 240, 250, 256, 300, 600, 65_400, 65_520, 65_536, 70_000, 17_000_000,
        ];
        for size in sizes {
            for (id, dn) in [
                (1, ""),
                (0x7fff_ffff, "uid=1,ou=People,o=nhs"),
                (200, "x".repeat(300).as_str()),
            ] {
                let mut list = Vec::new();
                if size > 0 {
                    specimen::partial_attribute(&mut list, "cn", &[&vec![b'v'; size]]);
                }
                let mut out = b"before".to_vec();
                entry_with(&mut out, MessageId(id), dn.as_bytes(), |out| {
                    out.extend_from_slice(&list)
                });
                let octets = out.strip_prefix(b"before").unwrap();
                let mut stored = Vec::new();
                stored_entry(&mut stored, MessageId(id), dn.as_bytes(), &list);
                assert_eq!(octets, stored);
                assert_eq!(read(octets).unwrap(), (i64::from(id), dn.as_bytes().to_vec(), list));
            }
        }
    }

    #[test]
    fn results_are_what_the_rfc_has() {
        let mut out = Vec::new();
        result(
            &mut out,
            MessageId(7),
            tag::SEARCH_RESULT_DONE,
            &Outcome::success(),
            Extra::default(),
        );
        assert_eq!(out, [0x30, 12, 2, 1, 7, 0x65, 7, 10, 1, 0, 4, 0, 4, 0]);
        out.clear();
        let page = Extra {
            page: Some((b"c", 9)),
            ..Extra::default()
        };
        result(
            &mut out,
            MessageId(7),
            tag::SEARCH_RESULT_DONE,
            &Outcome::success(),
            page,
        );
        let mut message = Reader::new(&out).enter(ber::SEQUENCE).unwrap();
        message.integer(ber::INTEGER).unwrap();
        message.expect(tag::SEARCH_RESULT_DONE).unwrap();
        let mut controls = message.enter(0xa0).unwrap().enter(ber::SEQUENCE).unwrap();
        assert_eq!(
            controls.octets().unwrap(),
            super::super::controls::PAGED_RESULTS.as_bytes()
        );
        assert_eq!(controls.octets().unwrap(), [0x30, 6, 2, 1, 9, 4, 1, b'c']);
    }

    #[test]
    fn a_notice_has_message_id_zero_and_its_name() {
        let mut out = Vec::new();
        notice_of_disconnection(&mut out, ResultCode::Unavailable, "the server is stopping");
        let mut message = Reader::new(&out).enter(ber::SEQUENCE).unwrap();
        assert_eq!(message.integer(ber::INTEGER), Ok(0));
        let mut response = message.enter(tag::EXTENDED_RESPONSE).unwrap();
        assert_eq!(response.integer(ber::ENUMERATED), Ok(52));
        response.octets().unwrap();
        assert_eq!(response.octets().unwrap(), b"the server is stopping");
        assert_eq!(response.expect(0x8a).unwrap(), NOTICE_OF_DISCONNECTION.as_bytes());
    }
}
