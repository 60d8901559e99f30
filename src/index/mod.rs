//! Here is a value; give me the entries.
//!
//! Useful for: ordered dictionaries of normalised values, posting lists of entry numbers, n-gram postings over
//! dictionary values. Everything is written once into bytes and read in place from a byte slice (mapped or in memory).
//! Not for: knowing what an attribute or an entry is; files; sets in memory beyond one query.
//!
//! Invariants: readers copy nothing and hold no reference: a cursor is a position that is given the bytes at every
//! step, so it can live beside the `Arc` that owns them. Posting lists ascend. No reader panics on damaged bytes.

pub mod dictionary;
pub mod postings;
pub mod substring;

/// The position of a value in an ordered dictionary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ordinal(pub u32);

/// The number of an entry within one segment: its position in DIT pre-order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub u32);
