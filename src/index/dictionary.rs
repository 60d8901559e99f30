//! An ordered dictionary: sorted distinct byte strings, front-coded in blocks, addressed by [`Ordinal`].

use super::Ordinal;
use std::ops::Range;

/// Writes a dictionary from strictly ascending values.
#[derive(Default)]
pub struct DictionaryBuilder {}

impl DictionaryBuilder {
    /// Values must come strictly ascending. Returns the ordinal given.
    pub fn push(&mut self, value: &[u8]) -> Ordinal {
        let _ = value;
        todo!()
    }

    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}

/// Reads a dictionary in place.
#[derive(Clone, Copy)]
pub struct Dictionary<'a> {
    bytes: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// `bytes` as [`DictionaryBuilder::finish`] gave them. Costs nothing: only the header is read.
    pub fn open(bytes: &'a [u8]) -> Dictionary<'a> {
        Dictionary { bytes }
    }

    pub fn len(&self) -> u32 {
        let _ = self.bytes;
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, value: &[u8]) -> Option<Ordinal> {
        let _ = value;
        todo!()
    }

    /// The first ordinal whose value is not less than `value`; `len()` when there is none.
    pub fn lower_bound(&self, value: &[u8]) -> Ordinal {
        let _ = value;
        todo!()
    }

    /// The ordinals of the values that start with `prefix`.
    pub fn prefix_range(&self, prefix: &[u8]) -> Range<u32> {
        let _ = prefix;
        todo!()
    }

    /// Replaces `out` by the value at `ordinal`.
    pub fn value(&self, ordinal: Ordinal, out: &mut Vec<u8>) {
        let _ = (ordinal, out);
        todo!()
    }

    /// Calls `each` with every value of a range, in order, until it returns false.
    pub fn scan(&self, range: Range<u32>, each: impl FnMut(Ordinal, &[u8]) -> bool) {
        let _ = (range, each);
        todo!()
    }
}
