//! Controls on the results of a search: simple paged results (RFC 2696), server-side sorting (RFC 2891), virtual list views
//! (draft-ietf-ldapext-ldapv3-vlv-09).

use super::super::ber::{self, Reader};
use super::super::codec::{DecodeError, count, text};
use super::super::filter;
use super::super::limits::WireLimits;
use super::{PAGED_RESULTS, SORT_RESULT, VIRTUAL_LIST_VIEW_RESULT, nothing_behind, put_control};
use crate::directory::{ListTarget, PageRequest, SortKey, VirtualListRequest, VirtualListResult};
use crate::model::{Filter, ResultCode};

/// Items that each value is held to before it leaves.
const VALUE_ITEMS_LIMIT: usize = 64;
/// Keys of one sort.
const SORT_KEYS_LIMIT: usize = 16;

pub(super) fn page(value: Option<&[u8]>) -> Result<PageRequest<'_>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("paged results", "a size and a cookie", "no value"))?;
    let mut value = Reader::new(value);
    let mut page = value.enter(ber::SEQUENCE)?;
    value.finish()?;
    let size = count("page size", page.integer(ber::INTEGER)?)?;
    let cookie = page.octets()?;
    page.finish()?;
    Ok(PageRequest { size, cookie })
}

pub(super) fn put_page(out: &mut Vec<u8>, (cookie, estimate): (&[u8], u32)) {
    put_control(out, PAGED_RESULTS, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::INTEGER, estimate.min(0x7fff_ffff));
            ber::put_octets(out, ber::OCTET_STRING, cookie);
        });
    });
}

/// A ValuesReturnFilter (RFC 3876 section 2).
pub(super) fn matched_values<'a>(value: Option<&'a [u8]>, limits: &WireLimits) -> Result<Vec<Filter<'a>>, DecodeError> {
    const FIELD: &str = "matched values";
    let value = value.ok_or_else(|| DecodeError::field(FIELD, "filter items", "no value"))?;
    filter::check_octets(value.len(), limits)?;
    let mut value = Reader::new(value);
    let items = value.enter(ber::SEQUENCE)?;
    nothing_behind(FIELD, value)?;
    filter::decode_items(items, limits.filter_terms.min(VALUE_ITEMS_LIMIT))
}

/// A SortKeyList (RFC 2891 section 1.1).
pub(super) fn sort_keys(value: Option<&[u8]>) -> Result<Vec<SortKey<'_>>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("sort", "sort keys", "no value"))?;
    let mut value = Reader::new(value);
    let mut list = value.enter(ber::SEQUENCE)?;
    nothing_behind("sort", value)?;
    let mut keys = Vec::new();
    while !list.is_empty() {
        if keys.len() == SORT_KEYS_LIMIT {
            return Err(DecodeError::Limit {
                what: "sort keys",
                limit: SORT_KEYS_LIMIT,
            });
        }
        let mut key = list.enter(ber::SEQUENCE)?;
        let attribute = text("sort attribute", key.octets()?)?;
        let rule = match key.optional(0x80)? {
            Some(octets) => Some(text("ordering rule", octets)?),
            None => None,
        };
        let reverse = match key.optional(0x81)? {
            // Netscape's Java SDK writes TRUE in two octets.
            Some(contents @ [_, ..]) => contents.iter().any(|octet| *octet != 0),
            Some([]) => return Err(DecodeError::field("reverse order", "a boolean", "no octets")),
            None => false,
        };
        key.finish()?;
        keys.push(SortKey {
            attribute,
            rule,
            reverse,
        });
    }
    if keys.is_empty() {
        return Err(DecodeError::field("sort", "at least one sort key", "none"));
    }
    Ok(keys)
}

/// A SortResult (RFC 2891 section 1.2).
pub(super) fn put_sort_result(out: &mut Vec<u8>, (code, attribute): (ResultCode, Option<&str>)) {
    put_control(out, SORT_RESULT, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::ENUMERATED, code as u32);
            if let Some(attribute) = attribute {
                ber::put_octets(out, 0x80, attribute.as_bytes());
            }
        });
    });
}

/// A VirtualListViewRequest (section 6.1).
pub(super) fn virtual_list<'a>(
    value: Option<&'a [u8]>,
    limits: &WireLimits,
) -> Result<VirtualListRequest<'a>, DecodeError> {
    const FIELD: &str = "virtual list view";
    let value = value.ok_or_else(|| DecodeError::field(FIELD, "a window", "no value"))?;
    filter::check_octets(value.len(), limits)?;
    let mut value = Reader::new(value);
    let mut list = value.enter(ber::SEQUENCE)?;
    nothing_behind(FIELD, value)?;
    let before = count("before count", list.integer(ber::INTEGER)?)?;
    let after = count("after count", list.integer(ber::INTEGER)?)?;
    let target = if let Some(contents) = list.optional(0xa0)? {
        let mut offset = Reader::new(contents);
        let target = ListTarget::Offset {
            offset: count("offset", offset.integer(ber::INTEGER)?)?,
            content_count: count("content count", offset.integer(ber::INTEGER)?)?,
        };
        offset.finish()?;
        target
    } else {
        ListTarget::Value(list.expect(0x81)?)
    };
    let context = list.optional(ber::OCTET_STRING)?;
    list.finish()?;
    Ok(VirtualListRequest {
        before,
        after,
        target,
        context,
    })
}

/// A VirtualListViewResponse (section 6.2).
pub(super) fn put_virtual_list(out: &mut Vec<u8>, result: &VirtualListResult) {
    put_control(out, VIRTUAL_LIST_VIEW_RESULT, |out| {
        ber::put_nested(out, ber::SEQUENCE, |out| {
            ber::put_integer(out, ber::INTEGER, result.position.min(0x7fff_ffff));
            ber::put_integer(out, ber::INTEGER, result.content_count.min(0x7fff_ffff));
            ber::put_integer(out, ber::ENUMERATED, result.code as u32);
            if !result.context.is_empty() {
                ber::put_octets(out, ber::OCTET_STRING, &result.context);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Netscape's Java SDK sends for `sn` in reverse order is read as it was meant; RFC 2891 has one octet.
    #[test]
    fn reverse_order_may_be_written_in_more_octets_than_one() {
        let reverse = |flag: &[u8]| {
            let mut value = Vec::new();
            ber::put_nested(&mut value, ber::SEQUENCE, |out| {
                ber::put_nested(out, ber::SEQUENCE, |out| {
                    ber::put_octets(out, ber::OCTET_STRING, b"sn");
                    ber::put_octets(out, 0x81, flag);
                });
            });
            sort_keys(Some(&value)).ok().map(|keys| keys[0].reverse)
        };
        for (flag, expected) in [
            (&[0xff][..], Some(true)),
            (&[1], Some(true)),
            (&[0], Some(false)),
            (&[0, 0x81], Some(true)),
            (&[0, 0], Some(false)),
            (&[], None),
        ] {
            assert_eq!(reverse(flag), expected, "{flag:?}");
        }
    }
}
