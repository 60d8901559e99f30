//! A checked message in, a typed request out. Requests borrow from the input buffer.
//!
//! Invariants: any octets in assertion values, attribute values and passwords; a wrong tag, a missing part or a value out of range is
//! an error that names the field; a decoded request is within the limits on filter, attributes and controls.

use super::ber::{self, BerError, Reader};
use super::controls::{self, Controls};
use super::filter;
use super::frame::{Frame, MessageId};
use super::limits::WireLimits;
use crate::directory::{Modification, ModificationKind};
use crate::model::{
    Attribute, AttributeDescription, DerefAliases, DescriptionError, Filter, Outcome, ResultCode, SearchScope,
};
use smallvec::SmallVec;

/// A request: message id, operation, controls.
#[derive(Debug)]
pub struct Request<'a> {
    pub id: MessageId,
    pub operation: Operation<'a>,
    pub controls: Controls<'a>,
}

/// The operations a client may ask for (RFC 4511 section 4.1.1).
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every request is a search: a box would cost each an allocation"
)]
pub enum Operation<'a> {
    Bind(BindRequest<'a>),
    Unbind,
    Search(SearchOperation<'a>),
    Change(Change<'a>),
    Compare(CompareRequest<'a>),
    Abandon { id: i64 },
    Extended(ExtendedRequest<'a>),
}

/// The operations that change the directory (RFC 4511 sections 4.6 to 4.9).
#[derive(Debug)]
pub enum Change<'a> {
    Modify(ModifyRequest<'a>),
    Add(AddRequest<'a>),
    Delete { dn: &'a str },
    ModifyDn(ModifyDnRequest<'a>),
}

/// RFC 4511 section 4.2.
#[derive(Debug)]
pub struct BindRequest<'a> {
    pub version: i64,
    pub name: &'a str,
    pub authentication: Authentication<'a>,
}

#[derive(Debug)]
pub enum Authentication<'a> {
    Simple(&'a [u8]),
    Sasl {
        mechanism: &'a str,
        credentials: Option<&'a [u8]>,
    },
    /// A choice this server does not know.
    Unknown,
}

/// RFC 4511 section 4.5.1.
#[derive(Debug)]
pub struct SearchOperation<'a> {
    pub base: &'a str,
    pub scope: SearchScope,
    pub aliases: DerefAliases,
    pub size_limit: u32,
    pub time_limit_seconds: u32,
    pub types_only: bool,
    pub filter: Filter<'a>,
    pub attributes: SmallVec<[&'a str; 8]>,
}

#[derive(Debug)]
pub struct AddRequest<'a> {
    pub dn: &'a str,
    pub attributes: Vec<Attribute>,
}

#[derive(Debug)]
pub struct ModifyRequest<'a> {
    pub dn: &'a str,
    pub changes: Vec<Modification>,
}

#[derive(Debug)]
pub struct ModifyDnRequest<'a> {
    pub dn: &'a str,
    pub new_rdn: &'a str,
    pub delete_old_rdn: bool,
    pub new_superior: Option<&'a str>,
}

#[derive(Debug)]
pub struct CompareRequest<'a> {
    pub dn: &'a str,
    pub attribute: &'a str,
    pub value: &'a [u8],
}

#[derive(Debug)]
pub struct ExtendedRequest<'a> {
    pub name: &'a str,
    pub value: Option<&'a [u8]>,
}

/// Why the content of a message is no request. The connection lives, but for an operation that cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("{0}")]
    Ber(#[from] BerError),
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        field: &'static str,
        expected: &'static str,
        found: String,
    },
    #[error("expected at most {limit} {what} in one request")]
    Limit { what: &'static str, limit: usize },
    #[error(transparent)]
    Description(#[from] DescriptionError),
    #[error("expected a request, found operation tag 0x{tag:02x}")]
    UnknownOperation { tag: u8 },
}

/// Tags of protocol operations.
pub mod tag {
    pub const BIND_REQUEST: u8 = 0x60;
    pub const BIND_RESPONSE: u8 = 0x61;
    pub const UNBIND_REQUEST: u8 = 0x42;
    pub const SEARCH_REQUEST: u8 = 0x63;
    pub const SEARCH_RESULT_ENTRY: u8 = 0x64;
    pub const SEARCH_RESULT_DONE: u8 = 0x65;
    pub const SEARCH_RESULT_REFERENCE: u8 = 0x73;
    pub const INTERMEDIATE_RESPONSE: u8 = 0x79;
    pub const MODIFY_REQUEST: u8 = 0x66;
    pub const MODIFY_RESPONSE: u8 = 0x67;
    pub const ADD_REQUEST: u8 = 0x68;
    pub const ADD_RESPONSE: u8 = 0x69;
    pub const DELETE_REQUEST: u8 = 0x4a;
    pub const DELETE_RESPONSE: u8 = 0x6b;
    pub const MODIFY_DN_REQUEST: u8 = 0x6c;
    pub const MODIFY_DN_RESPONSE: u8 = 0x6d;
    pub const COMPARE_REQUEST: u8 = 0x6e;
    pub const COMPARE_RESPONSE: u8 = 0x6f;
    pub const ABANDON_REQUEST: u8 = 0x50;
    pub const EXTENDED_REQUEST: u8 = 0x77;
    pub const EXTENDED_RESPONSE: u8 = 0x78;
}

/// The tag of the response to a request; `None` where none is ever sent, and for what is no request.
pub fn response_tag(request: u8) -> Option<u8> {
    match request {
        tag::BIND_REQUEST => Some(tag::BIND_RESPONSE),
        tag::SEARCH_REQUEST => Some(tag::SEARCH_RESULT_DONE),
        tag::MODIFY_REQUEST => Some(tag::MODIFY_RESPONSE),
        tag::ADD_REQUEST => Some(tag::ADD_RESPONSE),
        tag::DELETE_REQUEST => Some(tag::DELETE_RESPONSE),
        tag::MODIFY_DN_REQUEST => Some(tag::MODIFY_DN_RESPONSE),
        tag::COMPARE_REQUEST => Some(tag::COMPARE_RESPONSE),
        tag::EXTENDED_REQUEST => Some(tag::EXTENDED_RESPONSE),
        _ => None,
    }
}

/// Decodes one message.
///
/// # Errors
/// [`DecodeError`]: `UnknownOperation` ends the connection; the others are answered with [`DecodeError::outcome`].
pub fn decode<'a>(frame: &Frame<'a>, limits: &WireLimits) -> Result<Request<'a>, DecodeError> {
    let body = Reader::new(frame.operation);
    let operation = match frame.tag {
        tag::SEARCH_REQUEST => Operation::Search(search(body, limits)?),
        tag::BIND_REQUEST => Operation::Bind(bind(body)?),
        tag::UNBIND_REQUEST => Operation::Unbind,
        tag::MODIFY_REQUEST => Operation::Change(Change::Modify(modify(body)?)),
        tag::ADD_REQUEST => Operation::Change(Change::Add(add(body)?)),
        tag::DELETE_REQUEST => Operation::Change(Change::Delete {
            dn: text("entry", frame.operation)?,
        }),
        tag::MODIFY_DN_REQUEST => Operation::Change(Change::ModifyDn(modify_dn(body)?)),
        tag::COMPARE_REQUEST => Operation::Compare(compare(body, limits)?),
        tag::ABANDON_REQUEST => Operation::Abandon {
            id: ber::integer(frame.operation)?,
        },
        tag::EXTENDED_REQUEST => Operation::Extended(extended(body)?),
        tag => return Err(DecodeError::UnknownOperation { tag }),
    };
    Ok(Request {
        id: frame.id,
        operation,
        controls: controls::decode(frame.controls, limits)?,
    })
}

impl DecodeError {
    pub(super) fn field(field: &'static str, expected: &'static str, found: impl ToString) -> DecodeError {
        DecodeError::Field {
            field,
            expected,
            found: found.to_string(),
        }
    }

    /// What the client is told.
    pub fn outcome(&self) -> Outcome {
        let code = match self {
            DecodeError::Limit { .. } => ResultCode::AdminLimitExceeded,
            DecodeError::Description(_) => ResultCode::UndefinedAttributeType,
            DecodeError::Ber(_) | DecodeError::Field { .. } | DecodeError::UnknownOperation { .. } => {
                ResultCode::ProtocolError
            }
        };
        Outcome::new(code, self.to_string())
    }
}

/// An LDAPString: UTF-8 (RFC 4511 section 4.1.2).
#[inline]
pub(super) fn text<'a>(field: &'static str, octets: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(octets).map_err(|error| {
        DecodeError::field(
            field,
            "UTF-8 text",
            format_args!("an octet at {} that is not", error.valid_up_to()),
        )
    })
}

fn bind(mut body: Reader<'_>) -> Result<BindRequest<'_>, DecodeError> {
    let version = body.integer(ber::INTEGER)?;
    let name = text("bind name", body.octets()?)?;
    let (tag, contents) = body.element()?;
    let authentication = match tag {
        0x80 => Authentication::Simple(contents),
        0xa3 => {
            let mut sasl = Reader::new(contents);
            let mechanism = text("SASL mechanism", sasl.octets()?)?;
            let credentials = sasl.optional(ber::OCTET_STRING)?;
            sasl.finish()?;
            Authentication::Sasl { mechanism, credentials }
        }
        _ => Authentication::Unknown,
    };
    body.finish()?;
    Ok(BindRequest {
        version,
        name,
        authentication,
    })
}

fn search<'a>(mut body: Reader<'a>, limits: &WireLimits) -> Result<SearchOperation<'a>, DecodeError> {
    let base = text("base object", body.octets()?)?;
    let scope = match body.integer(ber::ENUMERATED)? {
        0 => SearchScope::BaseObject,
        1 => SearchScope::SingleLevel,
        2 => SearchScope::WholeSubtree,
        3 => SearchScope::Subordinates,
        found => return Err(DecodeError::field("scope", "0 to 3", found)),
    };
    let aliases = match body.integer(ber::ENUMERATED)? {
        0 => DerefAliases::Never,
        1 => DerefAliases::InSearching,
        2 => DerefAliases::FindingBase,
        3 => DerefAliases::Always,
        found => return Err(DecodeError::field("derefAliases", "0 to 3", found)),
    };
    let size_limit = count("size limit", body.integer(ber::INTEGER)?)?;
    let time_limit_seconds = count("time limit", body.integer(ber::INTEGER)?)?;
    let types_only = body.boolean(ber::BOOLEAN)?;
    let before = body.remaining();
    let filter = filter::decode(&mut body, limits.filter_depth, limits.filter_terms)?;
    filter::check_octets(before - body.remaining(), limits)?;
    let mut names = body.enter(ber::SEQUENCE)?;
    body.finish()?;
    let mut attributes = SmallVec::new();
    while !names.is_empty() {
        if attributes.len() == limits.attributes {
            return Err(DecodeError::Limit {
                what: "attributes",
                limit: limits.attributes,
            });
        }
        attributes.push(text("attribute", names.octets()?)?);
    }
    Ok(SearchOperation {
        base,
        scope,
        aliases,
        size_limit,
        time_limit_seconds,
        types_only,
        filter,
        attributes,
    })
}

/// INTEGER (0 .. maxInt).
pub(super) fn count(field: &'static str, found: i64) -> Result<u32, DecodeError> {
    u32::try_from(found)
        .ok()
        .filter(|value| *value <= 0x7fff_ffff)
        .ok_or_else(|| DecodeError::field(field, "0 to 2147483647", found))
}

fn add(mut body: Reader<'_>) -> Result<AddRequest<'_>, DecodeError> {
    let dn = text("entry", body.octets()?)?;
    let mut list = body.enter(ber::SEQUENCE)?;
    body.finish()?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let attribute = partial_attribute(&mut list)?;
        if attribute.values.is_empty() {
            return Err(DecodeError::field(
                "attribute",
                "at least one value",
                attribute.description.attribute_type,
            ));
        }
        attributes.push(attribute);
    }
    // The grammar allows none, but no entry is without an object class, and slapd answers so.
    if attributes.is_empty() {
        return Err(DecodeError::field("attributes", "at least one", "none"));
    }
    Ok(AddRequest { dn, attributes })
}

fn modify(mut body: Reader<'_>) -> Result<ModifyRequest<'_>, DecodeError> {
    let dn = text("entry", body.octets()?)?;
    let mut list = body.enter(ber::SEQUENCE)?;
    body.finish()?;
    let mut changes = Vec::new();
    while !list.is_empty() {
        let mut change = list.enter(ber::SEQUENCE)?;
        let kind = match change.integer(ber::ENUMERATED)? {
            0 => ModificationKind::Add,
            1 => ModificationKind::Delete,
            2 => ModificationKind::Replace,
            3 => ModificationKind::Increment,
            found => return Err(DecodeError::field("modification", "0 to 3", found)),
        };
        let attribute = partial_attribute(&mut change)?;
        change.finish()?;
        changes.push(Modification::new(kind, attribute.description, attribute.values));
    }
    Ok(ModifyRequest { dn, changes })
}

fn partial_attribute(list: &mut Reader<'_>) -> Result<Attribute, DecodeError> {
    let mut attribute = list.enter(ber::SEQUENCE)?;
    let description = AttributeDescription::parse(text("attribute", attribute.octets()?)?)?;
    let mut set = attribute.enter(ber::SET)?;
    attribute.finish()?;
    let mut values = Vec::new();
    while !set.is_empty() {
        values.push(set.octets()?.to_vec());
    }
    Ok(Attribute { description, values })
}

fn modify_dn(mut body: Reader<'_>) -> Result<ModifyDnRequest<'_>, DecodeError> {
    let dn = text("entry", body.octets()?)?;
    let new_rdn = text("new RDN", body.octets()?)?;
    let delete_old_rdn = body.boolean(ber::BOOLEAN)?;
    let new_superior = match body.optional(0x80)? {
        Some(octets) => Some(text("new superior", octets)?),
        None => None,
    };
    body.finish()?;
    Ok(ModifyDnRequest {
        dn,
        new_rdn,
        delete_old_rdn,
        new_superior,
    })
}

fn compare<'a>(mut body: Reader<'a>, limits: &WireLimits) -> Result<CompareRequest<'a>, DecodeError> {
    let dn = text("entry", body.octets()?)?;
    let mut assertion = body.enter(ber::SEQUENCE)?;
    body.finish()?;
    let attribute = text("attribute", assertion.octets()?)?;
    let value = assertion.octets()?;
    assertion.finish()?;
    filter::check_octets(value.len(), limits)?;
    Ok(CompareRequest { dn, attribute, value })
}

fn extended(mut body: Reader<'_>) -> Result<ExtendedRequest<'_>, DecodeError> {
    let name = text("request name", body.expect(0x80)?)?;
    let value = body.optional(0x81)?;
    body.finish()?;
    Ok(ExtendedRequest { name, value })
}

#[cfg(test)]
mod tests;
