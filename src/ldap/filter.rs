//! Filters as they come (RFC 4511 section 4.5.1.7), into [`Filter`]s that borrow.
//!
//! A filter choice or an attribute name that this server does not know makes that item Undefined, as the RFC demands; it never
//! fails the search.

use super::ber::{self, BerError, Reader};
use super::codec::DecodeError;
use super::limits::WireLimits;
use crate::model::Filter;
use std::borrow::Cow;

/// Decodes the next element as a filter of at most `depth` levels of AND, OR and NOT and at most `terms` items.
pub fn decode<'a>(body: &mut Reader<'a>, depth: usize, terms: usize) -> Result<Filter<'a>, DecodeError> {
    let mut decoder = Decoder {
        left: terms,
        terms,
        depth,
    };
    decoder.filter(body, depth)
}

/// Decodes the items of a ValuesReturnFilter (RFC 3876 section 2), at most `terms`: no AND, OR or NOT, nothing of the entry's name.
pub fn decode_items<'a>(mut body: Reader<'a>, terms: usize) -> Result<Vec<Filter<'a>>, DecodeError> {
    let mut decoder = Decoder {
        left: terms,
        terms,
        depth: 0,
    };
    let mut items = Vec::new();
    while let Some(tag) = body.peek() {
        let item = match tag {
            AND | OR | NOT => {
                return Err(DecodeError::field(
                    "matched values",
                    "simple filter items",
                    "AND, OR or NOT",
                ));
            }
            _ => decoder.filter(&mut body, 0)?,
        };
        if let Filter::Extensible {
            dn_attributes: true, ..
        } = item
        {
            return Err(DecodeError::field("matched values", "no dnAttributes", "them"));
        }
        items.push(item);
    }
    Ok(items)
}

/// Refuses what would take long to prepare for comparing: text is mapped and normalised character by character.
pub fn check_octets(octets: usize, limits: &WireLimits) -> Result<(), DecodeError> {
    match octets > limits.filter_octets {
        true => Err(DecodeError::Limit {
            what: "octets of a filter or an asserted value",
            limit: limits.filter_octets,
        }),
        false => Ok(()),
    }
}

struct Decoder {
    left: usize,
    terms: usize,
    depth: usize,
}

/// Terms that an AND or OR has room for at first.
const FIRST_TERMS: usize = 6;

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER_OR_EQUAL: u8 = 0xa5;
const LESS_OR_EQUAL: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROXIMATE: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

impl Decoder {
    fn filter<'a>(&mut self, body: &mut Reader<'a>, depth: usize) -> Result<Filter<'a>, DecodeError> {
        self.spend()?;
        let (tag, contents) = body.element()?;
        let mut item = Reader::new(contents);
        Ok(match tag {
            AND => Filter::And(self.list(item, depth)?),
            OR => Filter::Or(self.list(item, depth)?),
            NOT => {
                let inner = self.filter(&mut item, self.below(depth)?)?;
                // A tagged choice holds one filter: nothing behind it may be passed over as in a sequence.
                if let Some(found) = item.peek() {
                    return Err(BerError::Trailing { found }.into());
                }
                Filter::Not(Box::new(inner))
            }
            EQUALITY => {
                let (attribute, value) = assertion(item)?;
                Filter::Equality { attribute, value }
            }
            SUBSTRINGS => self.substrings(item)?,
            GREATER_OR_EQUAL => {
                let (attribute, value) = assertion(item)?;
                Filter::GreaterOrEqual { attribute, value }
            }
            LESS_OR_EQUAL => {
                let (attribute, value) = assertion(item)?;
                Filter::LessOrEqual { attribute, value }
            }
            PRESENT => Filter::Present {
                attribute: name(contents),
            },
            APPROXIMATE => {
                let (attribute, value) = assertion(item)?;
                Filter::Approximate { attribute, value }
            }
            EXTENSIBLE => extensible(item)?,
            tag if tag & 0xc0 == 0x80 => undefined(),
            found => {
                return Err(DecodeError::field(
                    "filter",
                    "a context-specific tag",
                    format_args!("0x{found:02x}"),
                ));
            }
        })
    }

    fn list<'a>(&mut self, mut items: Reader<'a>, depth: usize) -> Result<Vec<Filter<'a>>, DecodeError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let depth = self.below(depth)?;
        let mut filters = Vec::with_capacity(FIRST_TERMS);
        while !items.is_empty() {
            filters.push(self.filter(&mut items, depth)?);
        }
        Ok(filters)
    }

    fn substrings<'a>(&mut self, mut item: Reader<'a>) -> Result<Filter<'a>, DecodeError> {
        let attribute = name(item.octets()?);
        let mut parts = item.enter(ber::SEQUENCE)?;
        item.finish()?;
        if parts.is_empty() {
            return Err(DecodeError::field("substrings", "at least one substring", "none"));
        }
        let initial = parts.optional(0x80)?.map(Cow::Borrowed);
        let mut any = Vec::new();
        while let Some(part) = parts.optional(0x81)? {
            self.spend()?;
            any.push(Cow::Borrowed(part));
        }
        let last = parts.optional(0x82)?.map(Cow::Borrowed);
        if let Some(found) = parts.peek() {
            return Err(BerError::Trailing { found }.into());
        }
        Ok(Filter::Substrings {
            attribute,
            initial,
            any,
            last,
        })
    }

    fn spend(&mut self) -> Result<(), DecodeError> {
        let limit = self.terms;
        let over = DecodeError::Limit {
            what: "filter terms",
            limit,
        };
        self.left = self.left.checked_sub(1).ok_or(over)?;
        Ok(())
    }

    fn below(&self, depth: usize) -> Result<usize, DecodeError> {
        depth.checked_sub(1).ok_or(DecodeError::Limit {
            what: "levels of filter",
            limit: self.depth,
        })
    }
}

#[inline]
fn assertion(mut item: Reader<'_>) -> Result<(Cow<'_, str>, Cow<'_, [u8]>), DecodeError> {
    let attribute = name(item.octets()?);
    let value = Cow::Borrowed(item.octets()?);
    item.finish()?;
    Ok((attribute, value))
}

fn extensible(mut item: Reader<'_>) -> Result<Filter<'_>, DecodeError> {
    let rule = item.optional(0x81)?.map(name);
    let attribute = item.optional(0x82)?.map(name);
    let value = Cow::Borrowed(item.expect(0x83)?);
    let dn_attributes = match item.optional(0x84)? {
        Some(contents) => ber::boolean(contents)?,
        None => false,
    };
    item.finish()?;
    if rule.is_none() && attribute.is_none() {
        return Err(DecodeError::field(
            "extensibleMatch",
            "a matching rule or an attribute",
            "neither",
        ));
    }
    Ok(Filter::Extensible {
        rule,
        attribute,
        value,
        dn_attributes,
    })
}

/// A name that is no UTF-8 names no attribute: it becomes one that no schema defines.
#[inline]
fn name(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(name) => Cow::Borrowed(name),
        Err(_) => String::from_utf8_lossy(octets),
    }
}

/// An item whose type of filtering this server does not know.
fn undefined() -> Filter<'static> {
    Filter::Extensible {
        rule: Some(Cow::Borrowed("unknown-filter")),
        attribute: None,
        value: Cow::Borrowed(&[]),
        dn_attributes: false,
    }
}
