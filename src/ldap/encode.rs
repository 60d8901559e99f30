//! Answers as octets, written straight into the connection's output buffer.
//!
//! An entry is copied once: its headers are written before it with the room most entries need, and moved only where an entry is very
//! small or very large. Lengths are always minimal.

use super::ber::{self, integer_octets, length_octets, write_length};
use super::codec::tag;
use super::controls::put_page_response;
use super::frame::MessageId;
use crate::access::ReleasedEntry;
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
}

/// Appends a SearchResultEntry (RFC 4511 section 4.5.2).
pub fn search_result_entry(out: &mut Vec<u8>, id: MessageId, entry: &ReleasedEntry<'_>) {
    entry_with(out, id, entry.dn(), |out| entry.append_attributes(out));
}

/// The same for any name and attributes; `attributes` appends the contents of the PartialAttributeList.
pub fn entry_with(out: &mut Vec<u8>, id: MessageId, dn: &str, attributes: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let fixed = 3 + 2 + integer_octets(id.0) + 1 + length_octets(dn.len()) + dn.len();
    // Three lengths of three octets each: right for every entry of 256 to 65,535 octets.
    let room = fixed + 9;
    out.resize(start + room, 0);
    attributes(out);
    let list = out.len() - start - room;
    let name = 1 + length_octets(dn.len()) + dn.len();
    let operation = name + 1 + length_octets(list) + list;
    let message = 2 + integer_octets(id.0) + 1 + length_octets(operation) + operation;
    let prefix = fixed + length_octets(list) + length_octets(operation) + length_octets(message);
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
    place.header(ber::SEQUENCE, message);
    place.header(ber::INTEGER, integer_octets(id.0));
    let octets = u64::from(id.0).to_be_bytes();
    place.copy(&octets[8 - integer_octets(id.0)..]);
    place.header(tag::SEARCH_RESULT_ENTRY, operation);
    place.header(ber::OCTET_STRING, dn.len());
    place.copy(dn.as_bytes());
    place.header(ber::SEQUENCE, list);
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
        if let Some((cookie, estimate)) = extra.page {
            put_page_response(out, cookie, estimate);
        }
    });
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
