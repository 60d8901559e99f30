//! The dereference control (draft-masarati-ldap-deref): entries come with what was asked of those that their values name.

use super::super::ber::{self, Reader};
use super::super::codec::{DecodeError, text};
use super::super::limits::WireLimits;
use super::{DEREFERENCE, nothing_behind, put_control};
use crate::directory::{LinkRequest, LinkedEntry};

/// Attributes that one search follows.
const LINKS_LIMIT: usize = 16;

/// The request (section 2.2).
pub(super) fn requests<'a>(value: Option<&'a [u8]>, limits: &WireLimits) -> Result<Vec<LinkRequest<'a>>, DecodeError> {
    const FIELD: &str = "dereference";
    let value = value.ok_or_else(|| DecodeError::field(FIELD, "attributes to follow", "no value"))?;
    let mut value = Reader::new(value);
    let mut list = value.enter(ber::SEQUENCE)?;
    nothing_behind(FIELD, value)?;
    let mut requests: Vec<LinkRequest<'a>> = Vec::new();
    let mut left = limits.attributes;
    while !list.is_empty() {
        if requests.len() == LINKS_LIMIT {
            return Err(DecodeError::Limit {
                what: "attributes to follow",
                limit: LINKS_LIMIT,
            });
        }
        let mut request = list.enter(ber::SEQUENCE)?;
        let attribute = text("attribute to follow", request.octets()?)?;
        let mut names = request.enter(ber::SEQUENCE)?;
        request.finish()?;
        let mut attributes = Vec::new();
        while !names.is_empty() {
            left = left.checked_sub(1).ok_or(DecodeError::Limit {
                what: "attributes",
                limit: limits.attributes,
            })?;
            attributes.push(text("attribute", names.octets()?)?);
        }
        if attributes.is_empty() {
            return Err(DecodeError::field(FIELD, "at least one attribute", "none"));
        }
        if requests
            .iter()
            .any(|other| other.attribute.eq_ignore_ascii_case(attribute))
        {
            return Err(DecodeError::field(FIELD, "each attribute to follow once", "one twice"));
        }
        requests.push(LinkRequest { attribute, attributes });
    }
    if requests.is_empty() {
        return Err(DecodeError::field(FIELD, "at least one attribute to follow", "none"));
    }
    Ok(requests)
}

/// The response (section 2.3), beside the entry that has the links.
pub fn put_linked(out: &mut Vec<u8>, linked: &[LinkedEntry<'_>]) {
    put_control(out, DEREFERENCE, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            for link in linked {
                ber::put_nested(out, ber::SEQUENCE, |out| {
                    ber::put_octets(out, ber::OCTET_STRING, link.attribute.as_bytes());
                    ber::put_octets(out, ber::OCTET_STRING, link.dn);
                    if !link.attributes.is_empty() {
                        ber::put_octets(out, 0xa0, &link.attributes);
                    }
                });
            }
        });
    });
}
