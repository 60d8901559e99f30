//! Request controls this server acts on, and the answers to them (RFC 4511 section 4.1.11).

use super::ber::{self, Reader};
use super::codec::{DecodeError, count, text};
use crate::directory::PageRequest;
use crate::model::{Outcome, ResultCode};

/// Simple paged results (RFC 2696).
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// ManageDsaIT (RFC 3296). There are no referral objects, so it changes nothing.
pub const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";

/// Every control listed in the root DSE.
pub const SUPPORTED: &[&str] = &[PAGED_RESULTS, MANAGE_DSA_IT];

/// What the controls of one request ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Controls<'a> {
    pub page: Option<PageRequest<'a>>,
    /// The paging control was critical.
    pub page_is_critical: bool,
    /// The first critical control that this server does not know.
    pub unknown_critical: Option<&'a str>,
}

/// Decodes the contents of a message's controls; at most `limit` of them.
pub fn decode(contents: &[u8], limit: usize) -> Result<Controls<'_>, DecodeError> {
    let mut controls = Controls::default();
    if contents.is_empty() {
        return Ok(controls);
    }
    let mut list = Reader::new(contents);
    let mut found = 0;
    while !list.is_empty() {
        found += 1;
        if found > limit {
            return Err(DecodeError::Limit {
                what: "controls",
                limit,
            });
        }
        let mut control = list.enter(ber::SEQUENCE)?;
        let oid = text("control type", control.octets()?)?;
        let critical = match control.optional(ber::BOOLEAN)? {
            Some(contents) => ber::boolean(contents)?,
            None => false,
        };
        let value = control.optional(ber::OCTET_STRING)?;
        control.finish()?;
        match oid {
            PAGED_RESULTS if controls.page.is_some() => {
                return Err(DecodeError::field(
                    "controls",
                    "the paged results control once",
                    "it twice",
                ));
            }
            PAGED_RESULTS => {
                controls.page = Some(page(value)?);
                controls.page_is_critical = critical;
            }
            MANAGE_DSA_IT => {}
            _ if critical => {
                controls.unknown_critical.get_or_insert(oid);
            }
            _ => {}
        }
    }
    Ok(controls)
}

impl Controls<'_> {
    /// The refusal of a critical control that is not known, or not for this operation.
    pub fn refusal(&self, is_search: bool) -> Option<Outcome> {
        let oid = match self.unknown_critical {
            Some(oid) => oid,
            None if self.page_is_critical && !is_search => PAGED_RESULTS,
            None => return None,
        };
        Some(Outcome::new(
            ResultCode::UnavailableCriticalExtension,
            format!("expected controls this server knows for the operation, found critical control {oid}"),
        ))
    }
}

fn page(value: Option<&[u8]>) -> Result<PageRequest<'_>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("paged results", "a size and a cookie", "no value"))?;
    let mut value = Reader::new(value);
    let mut page = value.enter(ber::SEQUENCE)?;
    value.finish()?;
    let size = count("page size", page.integer(ber::INTEGER)?)?;
    let cookie = page.octets()?;
    page.finish()?;
    Ok(PageRequest { size, cookie })
}

/// Appends the response controls of a paged search: the contents of a message's controls element, tag included.
pub fn put_page_response(out: &mut Vec<u8>, cookie: &[u8], estimate: u32) {
    ber::put_nested(out, super::frame::CONTROLS, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_octets(out, ber::OCTET_STRING, PAGED_RESULTS.as_bytes());
            ber::put_nested(out, ber::OCTET_STRING, |out| {
                ber::put_nested(out, ber::SEQUENCE, |out| {
                    ber::put_integer(out, ber::INTEGER, estimate.min(0x7fff_ffff));
                    ber::put_octets(out, ber::OCTET_STRING, cookie);
                });
            });
        });
    });
}
