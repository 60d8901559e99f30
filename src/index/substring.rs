//! N-gram postings over the values of a dictionary: which ordinals contain these three octets?
//!
//! A value is padded at its end, so that one and two octets are a range of three-octet grams.

use super::Ordinal;

#[derive(Default)]
pub struct SubstringBuilder {}

impl SubstringBuilder {
    /// Values in ordinal order, every one.
    pub fn push(&mut self, ordinal: Ordinal, value: &[u8]) {
        let _ = (ordinal, value);
        todo!()
    }

    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}

#[derive(Clone, Copy)]
pub struct Substrings<'a> {
    bytes: &'a [u8],
}

/// Candidate ordinals for one piece, ascending, a superset: the caller verifies each value unless `exact`.
/// Holds positions only; it is given the bytes at every step.
#[derive(Clone, Debug)]
pub struct SubstringCursor {
    /// Whether every ordinal given really contains the piece.
    pub exact: bool,
}

impl<'a> Substrings<'a> {
    pub fn open(bytes: &'a [u8]) -> Substrings<'a> {
        Substrings { bytes }
    }

    /// An upper bound on the number of ordinals that contain `piece`, from its rarest gram.
    pub fn estimate(&self, piece: &[u8]) -> u64 {
        let _ = (self.bytes, piece);
        todo!()
    }

    /// `piece` is normalised, at least one octet.
    pub fn cursor(&self, piece: &[u8]) -> SubstringCursor {
        let _ = piece;
        todo!()
    }
}

impl SubstringCursor {
    pub fn next(&mut self, substrings: Substrings<'_>) -> Option<Ordinal> {
        let _ = substrings;
        todo!()
    }
}
