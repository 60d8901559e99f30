//! Controls that test or read one entry: assertion (RFC 4528), pre-read and post-read (RFC 4527).

use super::super::ber::{self, Reader};
use super::super::codec::{DecodeError, tag, text};
use super::super::filter;
use super::super::limits::WireLimits;
use super::nothing_behind;
use crate::access::ReleasedCopy;
use crate::model::Filter;

pub(super) fn assertion<'a>(value: Option<&'a [u8]>, limits: &WireLimits) -> Result<Filter<'a>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("assertion", "a filter", "no value"))?;
    filter::check_octets(value.len(), limits)?;
    let mut value = Reader::new(value);
    let filter = filter::decode(&mut value, limits.filter_depth, limits.filter_terms)?;
    nothing_behind("assertion", value)?;
    Ok(filter)
}

/// An AttributeSelection (RFC 4511 section 4.5.1).
pub(super) fn selection<'a>(value: Option<&'a [u8]>, limits: &WireLimits) -> Result<Vec<&'a str>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("read entry", "attributes to read", "no value"))?;
    let mut value = Reader::new(value);
    let mut list = value.enter(ber::SEQUENCE)?;
    nothing_behind("read entry", value)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        if names.len() == limits.attributes {
            return Err(DecodeError::Limit {
                what: "attributes",
                limit: limits.attributes,
            });
        }
        names.push(text("attribute", list.octets()?)?);
    }
    Ok(names)
}

/// A SearchResultEntry (RFC 4511 section 4.5.2) outside a message.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &ReleasedCopy) {
    ber::put_nested(out, tag::SEARCH_RESULT_ENTRY, |out| {
        ber::put_octets(out, ber::OCTET_STRING, entry.dn().as_bytes());
        ber::put_octets(out, ber::SEQUENCE, entry.attributes());
    });
}
