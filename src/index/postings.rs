//! Posting lists: for each ordinal of a dictionary the ascending entry numbers that have the value.
//! One entry is inline, short lists are delta-coded, long ones are bitmaps that can be probed and intersected.

use super::{EntryId, Ordinal};

#[derive(Default)]
pub struct PostingsBuilder {}

impl PostingsBuilder {
    /// The ids of the next ordinal, strictly ascending, at least one.
    pub fn push(&mut self, ids: &[u32]) {
        let _ = ids;
        todo!()
    }

    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}

/// All posting lists of one attribute.
#[derive(Clone, Copy)]
pub struct Postings<'a> {
    bytes: &'a [u8],
}

/// Where one list lies and how long it is. Holds no reference.
#[derive(Clone, Copy, Debug)]
pub struct PostingList {
    /// The number of entries.
    pub len: u32,
}

impl<'a> Postings<'a> {
    pub fn open(bytes: &'a [u8]) -> Postings<'a> {
        Postings { bytes }
    }

    pub fn list(&self, ordinal: Ordinal) -> PostingList {
        let _ = (self.bytes, ordinal);
        todo!()
    }

    /// The sum of the lengths of the lists of a range of ordinals; exact for small ranges, estimated for large ones.
    pub fn estimate(&self, range: std::ops::Range<u32>) -> u64 {
        let _ = range;
        todo!()
    }

    /// Whether an entry is in a list. Cheap for bitmaps, a bounded decode for short lists.
    pub fn contains(&self, list: PostingList, id: EntryId) -> bool {
        let _ = (list, id);
        todo!()
    }
}

/// A position in one posting list.
#[derive(Clone, Debug)]
pub struct PostingCursor {}

impl PostingCursor {
    pub fn new(list: PostingList) -> PostingCursor {
        let _ = list;
        todo!()
    }

    /// The next id, or `None` at the end.
    pub fn next(&mut self, postings: Postings<'_>) -> Option<EntryId> {
        let _ = postings;
        todo!()
    }

    /// The next id that is not less than `at_least`.
    pub fn seek(&mut self, postings: Postings<'_>, at_least: EntryId) -> Option<EntryId> {
        let _ = (postings, at_least);
        todo!()
    }
}
