//! Bytes in, one strictly checked LDAPMessage out (RFC 4511 section 4.1.1).
//!
//! Invariants: allocates nothing; a message over the size limit is refused from its header, before it is buffered; what leaves
//! here is nested exactly, within the limits on depth and elements, and has a message id and an operation.

use super::ber::{self, BerError, Reader};
use super::limits::WireLimits;

/// The number a client gave a request. Zero is the server's own, for notices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId(pub u32);

/// One checked message, borrowing from the input buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub id: MessageId,
    /// The tag of the protocol operation.
    pub tag: u8,
    /// The contents of the protocol operation.
    pub operation: &'a [u8],
    /// The contents of the controls; empty where there are none.
    pub controls: &'a [u8],
    /// Octets of the whole message.
    pub length: usize,
}

/// Limits that hold for the next message.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    pub octets: usize,
    pub nesting: usize,
    pub elements: usize,
}

/// Why the connection cannot go on: there is no message to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("expected a message of at most {limit} octets, found one of {length}")]
    TooLong { length: usize, limit: usize },
    #[error("expected an LDAP message (tag 0x30), found tag 0x{found:02x}")]
    NoMessage { found: u8 },
    #[error("expected a message id of 1 to 2147483647, found {found}")]
    MessageId { found: i64 },
    #[error("broken encoding: {0}")]
    Ber(#[from] BerError),
}

impl FrameLimits {
    pub fn new(limits: &WireLimits, bound: bool) -> FrameLimits {
        FrameLimits {
            octets: if bound {
                limits.message_octets
            } else {
                limits.message_octets_unbound
            },
            elements: if bound {
                limits.elements
            } else {
                limits.elements_unbound
            },
            nesting: limits.nesting,
        }
    }
}

/// The length of the message at the start of `input`, as soon as its header is there.
///
/// # Errors
/// `NoMessage`, `TooLong` and `Ber` for a header that is not one.
#[inline]
pub fn length(input: &[u8], limits: &FrameLimits) -> Result<Option<usize>, FrameError> {
    if let Some(&found) = input.first()
        && found != ber::SEQUENCE
    {
        return Err(FrameError::NoMessage { found });
    }
    let Some(header) = ber::header(input)? else {
        return Ok(None);
    };
    let length = header.header.saturating_add(header.contents);
    if length > limits.octets {
        return Err(FrameError::TooLong {
            length,
            limit: limits.octets,
        });
    }
    Ok(Some(length))
}

/// The message at the start of `input`; `None` where it is not complete yet.
///
/// # Errors
/// Any [`FrameError`]: tell the peer with a notice of disconnection and close.
#[inline]
pub fn next<'a>(input: &'a [u8], limits: &FrameLimits) -> Result<Option<Frame<'a>>, FrameError> {
    let Some(length) = length(input, limits)? else {
        return Ok(None);
    };
    let Some(message) = input.get(..length) else {
        return Ok(None);
    };
    ber::check(message, limits.nesting, limits.elements)?;
    let mut message = Reader::new(message).enter(ber::SEQUENCE)?;
    let found = message.integer(ber::INTEGER)?;
    let id = match u32::try_from(found) {
        Ok(id @ 1..=0x7fff_ffff) => MessageId(id),
        _ => return Err(FrameError::MessageId { found }),
    };
    let (tag, operation) = message.element()?;
    let controls = message.optional(CONTROLS)?.unwrap_or_default();
    if message.peek() == Some(CONTROLS) {
        return Err(BerError::Trailing { found: CONTROLS }.into());
    }
    message.finish()?;
    Ok(Some(Frame {
        id,
        tag,
        operation,
        controls,
        length,
    }))
}

/// The tag of a message's controls.
pub const CONTROLS: u8 = 0xa0;
