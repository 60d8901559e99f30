//! The small part of BER that LDAP uses (RFC 4511 section 5.1): definite lengths, one-octet tags, primitive strings.
//!
//! Reading borrows and never allocates; writing appends to a `Vec` and always gives minimal lengths. Reading accepts lengths that
//! are longer than they need be, up to four octets: RFC 4511 allows them and Windows clients send nothing else.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
/// Set in the tag of an element that is made of elements.
pub const CONSTRUCTED: u8 = 0x20;

/// Why octets are no BER element as LDAP allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BerError {
    #[error("expected an element, found the end of the octets")]
    Truncated,
    #[error("expected a tag below 31 and not 0, found octet 0x{found:02x}")]
    Tag { found: u8 },
    #[error("expected a definite length of at most four octets, found length octet 0x{found:02x}")]
    Length { found: u8 },
    #[error("expected an element of at most {left} octets, found a length of {length}")]
    Overrun { length: usize, left: usize },
    #[error("expected tag 0x{expected:02x}, found 0x{found:02x}")]
    UnexpectedTag { expected: u8, found: u8 },
    #[error("expected an integer of 1 to 8 octets, found {length} octets")]
    Integer { length: usize },
    #[error("expected a boolean of 1 octet, found {length} octets")]
    Boolean { length: usize },
    #[error("expected the end of the element, found tag 0x{found:02x}")]
    Trailing { found: u8 },
    #[error("expected at most {limit} levels of nesting")]
    Nesting { limit: usize },
    #[error("expected at most {limit} elements in one message")]
    Elements { limit: usize },
}

/// A tag and length octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub tag: u8,
    /// Octets of tag and length.
    pub header: usize,
    /// Octets of the contents.
    pub contents: usize,
}

/// Reads the header at the start of `octets`; `None` where it is not complete yet. Does not look at the contents.
#[inline]
pub fn header(octets: &[u8]) -> Result<Option<Header>, BerError> {
    if let [tag, first, ..] = *octets
        && first < 0x80
        && is_tag(tag)
    {
        return Ok(Some(Header {
            tag,
            header: 2,
            contents: usize::from(first),
        }));
    }
    long_header(octets)
}

/// LDAP has tags of one octet, and no end-of-contents.
#[inline]
fn is_tag(octet: u8) -> bool {
    octet & 0x1f != 0x1f && octet != 0
}

fn long_header(octets: &[u8]) -> Result<Option<Header>, BerError> {
    let Some(&tag) = octets.first() else { return Ok(None) };
    if !is_tag(tag) {
        return Err(BerError::Tag { found: tag });
    }
    let Some(&first) = octets.get(1) else { return Ok(None) };
    let count = usize::from(first & 0x7f);
    if first < 0x80 || count == 0 || count > 4 {
        return Err(BerError::Length { found: first });
    }
    let Some(length) = octets.get(2..2 + count) else {
        return Ok(None);
    };
    Ok(Some(Header {
        tag,
        header: 2 + count,
        contents: length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
    }))
}

/// Checks that `octets` is a run of whole elements, nested exactly, to every depth. Returns how many elements there are.
///
/// # Errors
/// Any [`BerError`]; `Nesting` and `Elements` where the limits are passed. `nesting` is capped at [`MAX_NESTING`].
pub fn check(octets: &[u8], nesting: usize, elements: usize) -> Result<usize, BerError> {
    let limit = nesting.min(MAX_NESTING);
    // Where the open constructed elements end.
    let mut ends = [0usize; MAX_NESTING];
    let mut depth = 0;
    let mut end = octets.len();
    let mut at = 0;
    let mut count = 0;
    loop {
        while at == end {
            if depth == 0 {
                return Ok(count);
            }
            depth -= 1;
            end = ends.get(depth).copied().unwrap_or(0);
        }
        count += 1;
        if count > elements {
            return Err(BerError::Elements { limit: elements });
        }
        let (tag, contents, next) = match octets.get(at..) {
            Some([tag, length, ..]) if end - at >= 2 && *length < 0x80 && is_tag(*tag) => {
                (*tag, at + 2, at + 2 + usize::from(*length))
            }
            _ => {
                let rest = octets.get(at..end).unwrap_or_default();
                let header = long_header(rest)?.ok_or(BerError::Truncated)?;
                let contents = at + header.header;
                (header.tag, contents, contents + header.contents)
            }
        };
        if next > end {
            return Err(BerError::Overrun {
                length: next - contents,
                left: end - contents,
            });
        }
        if tag & CONSTRUCTED == 0 {
            at = next;
            continue;
        }
        match ends.get_mut(depth) {
            Some(slot) if depth < limit => *slot = end,
            _ => return Err(BerError::Nesting { limit }),
        }
        depth += 1;
        at = contents;
        end = next;
    }
}

/// The deepest nesting [`check`] can follow.
pub const MAX_NESTING: usize = 48;

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader { rest: octets }
    }

    /// Octets that are not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element's tag and contents.
    #[inline]
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), BerError> {
        if let [tag, length, body @ ..] = self.rest
            && *length < 0x80
            && is_tag(*tag)
            && let Some((contents, rest)) = body.split_at_checked(usize::from(*length))
        {
            self.rest = rest;
            return Ok((*tag, contents));
        }
        self.long_element()
    }

    fn long_element(&mut self) -> Result<(u8, &'a [u8]), BerError> {
        let header = header(self.rest)?.ok_or(BerError::Truncated)?;
        let body = self.rest.get(header.header..).unwrap_or_default();
        let Some((contents, rest)) = body.split_at_checked(header.contents) else {
            return Err(BerError::Overrun {
                length: header.contents,
                left: body.len(),
            });
        };
        self.rest = rest;
        Ok((header.tag, contents))
    }

    /// The contents of the next element, which must have this tag.
    #[inline]
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], BerError> {
        match self.peek() {
            Some(found) if found == tag => Ok(self.element()?.1),
            Some(found) => Err(BerError::UnexpectedTag { expected: tag, found }),
            None => Err(BerError::Truncated),
        }
    }

    /// The same for an element that may be left out.
    #[inline]
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, BerError> {
        if self.peek() == Some(tag) {
            return Ok(Some(self.element()?.1));
        }
        Ok(None)
    }

    /// A reader of the next element's contents.
    #[inline]
    pub fn enter(&mut self, tag: u8) -> Result<Reader<'a>, BerError> {
        Ok(Reader::new(self.expect(tag)?))
    }

    #[inline]
    pub fn octets(&mut self) -> Result<&'a [u8], BerError> {
        self.expect(OCTET_STRING)
    }

    #[inline]
    pub fn integer(&mut self, tag: u8) -> Result<i64, BerError> {
        integer(self.expect(tag)?)
    }

    #[inline]
    pub fn boolean(&mut self, tag: u8) -> Result<bool, BerError> {
        boolean(self.expect(tag)?)
    }

    /// Ends a sequence: components that this server does not know are passed over where their tags are context-specific, as
    /// RFC 4511 section 4 demands; anything else is an error.
    #[inline]
    pub fn finish(mut self) -> Result<(), BerError> {
        while let Some(found) = self.peek() {
            if found & 0xc0 != 0x80 {
                return Err(BerError::Trailing { found });
            }
            self.element()?;
        }
        Ok(())
    }
}

/// The value of an INTEGER's or ENUMERATED's contents.
#[inline]
pub fn integer(contents: &[u8]) -> Result<i64, BerError> {
    let first = match contents {
        [first, ..] if contents.len() <= 8 => *first,
        _ => {
            return Err(BerError::Integer { length: contents.len() });
        }
    };
    let sign = if first & 0x80 == 0 { 0 } else { -1 };
    Ok(contents.iter().fold(sign, |sum, octet| sum << 8 | i64::from(*octet)))
}

/// The value of a BOOLEAN's contents; every octet but 0 is true.
#[inline]
pub fn boolean(contents: &[u8]) -> Result<bool, BerError> {
    match contents {
        [octet] => Ok(*octet != 0),
        _ => Err(BerError::Boolean { length: contents.len() }),
    }
}

/// How many octets the length of `contents` octets takes, tag not counted.
#[inline]
pub fn length_octets(contents: usize) -> usize {
    match contents {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 5,
    }
}

/// Appends a tag and a minimal length.
#[inline]
pub fn put_header(out: &mut Vec<u8>, tag: u8, contents: usize) {
    out.push(tag);
    put_length(out, contents);
}

#[inline]
fn put_length(out: &mut Vec<u8>, contents: usize) {
    let octets = u32::try_from(contents).unwrap_or(u32::MAX).to_be_bytes();
    match length_octets(contents) {
        1 => out.push(octets[3]),
        2 => out.extend_from_slice(&[0x81, octets[3]]),
        3 => out.extend_from_slice(&[0x82, octets[2], octets[3]]),
        4 => out.extend_from_slice(&[0x83, octets[1], octets[2], octets[3]]),
        _ => out.extend_from_slice(&[0x84, octets[0], octets[1], octets[2], octets[3]]),
    }
}

#[inline]
pub fn put_octets(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    put_header(out, tag, contents.len());
    out.extend_from_slice(contents);
}

/// Octets an unsigned INTEGER's contents take.
#[inline]
pub fn integer_octets(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x7fff => 2,
        0x8000..=0x7f_ffff => 3,
        0x80_0000..=0x7fff_ffff => 4,
        _ => 5,
    }
}

#[inline]
pub fn put_integer(out: &mut Vec<u8>, tag: u8, value: u32) {
    let count = integer_octets(value);
    out.push(tag);
    out.push(u8::try_from(count).expect("an integer takes at most five octets"));
    let octets = u64::from(value).to_be_bytes();
    out.extend_from_slice(&octets[8 - count..]);
}

/// Appends a constructed element whose contents `body` writes. The length is put in afterwards, in place.
pub fn put_nested(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.push(0);
    body(out);
    let contents = out.len() - at - 1;
    let more = length_octets(contents) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(at + 1..at + 1 + contents, at + 1 + more);
    }
    write_length(&mut out[at..], contents);
}

/// Writes a minimal length at the start of `place`, which has room for it.
#[inline]
pub fn write_length(place: &mut [u8], contents: usize) -> usize {
    let octets = u32::try_from(contents).unwrap_or(u32::MAX).to_be_bytes();
    let count = length_octets(contents);
    if count == 1 {
        place[0] = octets[3];
        return 1;
    }
    place[0] = 0x7f + u8::try_from(count).expect("a length takes at most five octets");
    place[1..count].copy_from_slice(&octets[5 - count..]);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal_and_read_back() {
        for contents in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 16_777_215, 16_777_216] {
            let mut out = Vec::new();
            put_header(&mut out, OCTET_STRING, contents);
            assert_eq!(out.len(), 1 + length_octets(contents));
            let mut place = [0; 5];
            let count = write_length(&mut place, contents);
            assert_eq!(&out[1..], &place[..count]);
            let read = header(&out).unwrap().unwrap();
            assert_eq!(
                (read.tag, read.header, read.contents),
                (OCTET_STRING, out.len(), contents)
            );
        }
    }

    #[test]
    fn integers_read_back() {
        for value in [
            0u32,
            1,
            127,
            128,
            255,
            256,
            32_767,
            32_768,
            8_388_608,
            0x7fff_ffff,
            u32::MAX,
        ] {
            let mut out = Vec::new();
            put_integer(&mut out, INTEGER, value);
            assert_eq!(Reader::new(&out).integer(INTEGER), Ok(i64::from(value)), "{value}");
        }
        assert_eq!(integer(&[0xff]), Ok(-1));
        assert_eq!(integer(&[0x80, 0]), Ok(-32_768));
        assert_eq!(integer(&[]), Err(BerError::Integer { length: 0 }));
        assert_eq!(integer(&[0; 9]), Err(BerError::Integer { length: 9 }));
    }

    #[test]
    fn nested_elements_get_their_length_in_place() {
        for size in [0usize, 3, 127, 128, 300, 70_000] {
            let mut out = vec![9];
            put_nested(&mut out, SEQUENCE, |out| out.extend(std::iter::repeat_n(7, size)));
            let mut reader = Reader::new(&out[1..]);
            assert_eq!(reader.expect(SEQUENCE).unwrap(), vec![7; size]);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn check_says_what_is_wrong() {
        let ok = |octets: &[u8]| check(octets, 8, 100);
        assert_eq!(ok(&[]), Ok(0));
        assert_eq!(ok(&[4, 1, 7, 0x30, 4, 4, 0, 4, 0]), Ok(4));
        assert_eq!(
            ok(&[0x30, 0x84, 0, 0, 0, 2, 4, 0]),
            Ok(2),
            "Windows clients send four length octets"
        );
        assert_eq!(ok(&[0x30, 0x80, 4, 0, 0, 0]), Err(BerError::Length { found: 0x80 }));
        assert_eq!(ok(&[0x30, 0x85, 0, 0, 0, 0, 0]), Err(BerError::Length { found: 0x85 }));
        assert_eq!(ok(&[0x1f, 0]), Err(BerError::Tag { found: 0x1f }));
        assert_eq!(ok(&[0, 0]), Err(BerError::Tag { found: 0 }));
        assert_eq!(ok(&[4, 2, 7]), Err(BerError::Overrun { length: 2, left: 1 }));
        assert_eq!(ok(&[0x30, 2, 4, 1, 7]), Err(BerError::Overrun { length: 1, left: 0 }));
        assert_eq!(ok(&[0x30, 1, 4]), Err(BerError::Truncated));
        assert_eq!(check(&[4, 0, 4, 0, 4, 0], 8, 2), Err(BerError::Elements { limit: 2 }));
        assert_eq!(
            check(&[0x30, 4, 0x30, 2, 0x30, 0], 2, 9),
            Err(BerError::Nesting { limit: 2 })
        );
        assert_eq!(check(&[0x30, 4, 0x30, 2, 0x30, 0], 3, 9), Ok(3));
    }
}
