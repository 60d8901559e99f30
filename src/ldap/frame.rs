//! Bytes in, one strictly checked LDAPMessage out (RFC 4511 section 4.1.1).
//!
//! Invariants: allocates nothing; a message over the size limit is refused from its header, before it is buffered; what leaves
//! here is nested exactly, within the limits on depth and elements, and has a message id and an operation.

use super::ber::{self, BerError, Reader};
use super::codec::tag::EXTENDED_REQUEST;
use super::extended::START_TLS;
use super::limits::WireLimits;

/// The number a client gave a request. Zero is the server's own, for notices; StartTLS may have it too.
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
    let (tag, operation) = message.element()?;
    let id = match u32::try_from(found) {
        Ok(id @ 1..=0x7fff_ffff) => MessageId(id),
        Ok(0) if is_start_tls(tag, operation) => MessageId(0),
        _ => return Err(FrameError::MessageId { found }),
    };
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

/// Whether a request is for StartTLS. Erlang's eldap, and so RabbitMQ and ejabberd, numbers it zero, and slapd answers it so.
fn is_start_tls(tag: u8, operation: &[u8]) -> bool {
    let name = operation.strip_prefix(&[0x80, START_TLS.len() as u8]);
    tag == EXTENDED_REQUEST && name == Some(START_TLS.as_bytes())
}

/// The tag of a message's controls.
pub const CONTROLS: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::super::specimen;
    use super::*;
    use crate::model::random::Random;

    fn limits() -> FrameLimits {
        FrameLimits::new(&WireLimits::default(), true)
    }

    #[test]
    fn a_message_is_taken_when_it_is_whole_and_not_before() {
        for message in specimen::every_request() {
            for cut in 0..message.len() {
                assert!(next(&message[..cut], &limits()).unwrap().is_none());
            }
            let mut input = message.clone();
            input.extend_from_slice(&message);
            assert_eq!(next(&input, &limits()).unwrap().unwrap().length, message.len());
        }
    }

    #[test]
    fn broken_messages_are_refused() {
        let small = FrameLimits {
            octets: 100,
            nesting: 8,
            elements: 10,
        };
        let cases: &[(&[u8], FrameError)] = &[
            (&[0x16, 3, 1], FrameError::NoMessage { found: 0x16 }),
            (&[0x30, 0x80], FrameError::Ber(BerError::Length { found: 0x80 })),
            (&[0x30, 0x89], FrameError::Ber(BerError::Length { found: 0x89 })),
            (
                &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
                FrameError::TooLong {
                    length: 0xffff_ffff + 6,
                    limit: 100,
                },
            ),
            (
                &[0x30, 0x63],
                FrameError::TooLong {
                    length: 101,
                    limit: 100,
                },
            ),
            (&[0x30, 0], FrameError::Ber(BerError::Truncated)),
            (&[0x30, 5, 2, 1, 0, 0x42, 0], FrameError::MessageId { found: 0 }),
            (
                &[0x30, 8, 2, 1, 0, 0x77, 3, 0x80, 1, 0x31],
                FrameError::MessageId { found: 0 },
            ),
            (&[0x30, 5, 2, 1, 0xff, 0x42, 0], FrameError::MessageId { found: -1 }),
            (
                &[0x30, 9, 2, 5, 0, 0x80, 0, 0, 0, 0x42, 0],
                FrameError::MessageId { found: 0x8000_0000 },
            ),
            (&[0x30, 3, 2, 1, 1], FrameError::Ber(BerError::Truncated)),
            (
                &[0x30, 7, 2, 1, 1, 0x42, 0, 4, 0],
                FrameError::Ber(BerError::Trailing { found: 4 }),
            ),
            (
                &[0x30, 9, 2, 1, 1, 0x42, 0, 0xa0, 0, 0xa0, 0],
                FrameError::Ber(BerError::Trailing { found: 0xa0 }),
            ),
            (&[0x30, 6, 2, 1, 1, 0x42, 0, 4], FrameError::Ber(BerError::Truncated)),
        ];
        for (octets, expected) in cases {
            assert_eq!(next(octets, &small).unwrap_err(), *expected, "{octets:02x?}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_on_any_stack() {
        for depth in [49, 500, 2_000] {
            let mut octets = vec![0x05, 0x00];
            for _ in 0..depth {
                let mut outer = Vec::new();
                ber::put_octets(&mut outer, 0xa2, &octets);
                octets = outer;
            }
            let message = specimen::search(1, "", 0, &[], |out| out.extend_from_slice(&octets));
            let error = next(&message, &limits()).unwrap_err();
            assert_eq!(error, FrameError::Ber(BerError::Nesting { limit: 48 }));
        }
    }

    /// T1, T29: broken requests end in an answer or in an error, and never in a panic; what is accepted stays within the limits.
    #[test]
    fn mutated_messages_do_no_harm() {
        let mut random = Random::from_environment();
        let requests = specimen::every_request();
        let wire = WireLimits::default();
        let mut decoded = 0;
        for _ in 0..20_000 {
            let mut message = requests[random.below(requests.len())].clone();
            for _ in 0..=random.below(4) {
                mutate(&mut message, &mut random);
            }
            if let Ok(Some(frame)) = next(&message, &limits()) {
                assert!(frame.length <= message.len());
                decoded += usize::from(codec::decode(&frame, &wire).is_ok());
            }
        }
        assert!(
            decoded > 500,
            "only {decoded} mutated messages were decoded: the test tests nothing"
        );
    }

    fn mutate(message: &mut Vec<u8>, random: &mut Random) {
        if message.is_empty() {
            return;
        }
        let at = random.below(message.len());
        match random.below(6) {
            0 => message[at] = random.next() as u8,
            1 => message[at] ^= 1 << random.below(8),
            2 => message.truncate(at),
            3 => message.insert(at, random.next() as u8),
            4 => {
                let to = (at + random.below(8)).min(message.len());
                let part: Vec<u8> = message[at..to].to_vec();
                message.splice(at..at, part);
            }
            // Lengths are where decoders break.
            _ => message[at] = [0x80, 0x81, 0x84, 0x88, 0xff, 0x7f, 0][random.below(7)],
        }
    }
}
