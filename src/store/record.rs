//! The stored form of an entry: its attributes already encoded as they leave the server.
//!
//! Layout (integers little-endian):
//! ```text
//! u16 dn length, dn octets (RFC 4514 string as given)
//! operational: entryUUID 16 octets, created u64, modified u64 (seconds since 1970), sequence u64,
//!              u8 creator length + octets, u8 modifier length + octets (empty: the bulk load's)
//! u16 number of attributes, then for each: u16 type number in the layer's type table,
//!              u8 flags (bit 0: has options, bit 1: operational), u32 end offset within the block
//! the block: for each attribute its PartialAttribute (RFC 4511 section 4.1.7) octets, user attributes first
//! ```
//! All user attributes are therefore one slice. Values keep the order given. Lengths inside the PartialAttributes are
//! definite and minimal.

use crate::model::Entry;
use crate::schema::{AttributeId, Schema};

/// Reads a stored entry in place.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    /// The layer's type table: type number to this schema's attribute type.
    types: &'a [AttributeId],
}

/// What the server keeps about an entry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operational<'a> {
    pub entry_uuid: [u8; 16],
    /// Seconds since 1970-01-01T00:00:00Z.
    pub created: u64,
    pub modified: u64,
    /// Sequence number of the last change; 0 for a bulk load.
    pub sequence: u64,
    /// DN string; empty means the bulk load.
    pub creator: &'a str,
    pub modifier: &'a str,
}

/// One attribute of a stored entry.
#[derive(Clone, Copy)]
pub struct RecordAttribute<'a> {
    pub id: AttributeId,
    pub has_options: bool,
    pub operational: bool,
    /// The PartialAttribute's octets, header included.
    pub encoded: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn new(bytes: &'a [u8], types: &'a [AttributeId]) -> Record<'a> {
        Record { bytes, types }
    }

    /// The record as stored.
    pub(super) fn octets(&self) -> &'a [u8] {
        self.bytes
    }

    /// The DN string.
    pub fn dn(&self) -> &'a str {
        let _ = (self.bytes, self.types);
        todo!()
    }

    pub fn operational(&self) -> Operational<'a> {
        todo!()
    }

    /// Every stored attribute, user attributes first.
    pub fn attributes(&self) -> impl Iterator<Item = RecordAttribute<'a>> + use<'a> {
        std::iter::empty()
    }

    /// The PartialAttributes of all user attributes, one after the other.
    pub fn user_block(&self) -> &'a [u8] {
        todo!()
    }

    /// Back into an entry as given: attribute descriptions by their schema names.
    pub fn to_entry(&self) -> Entry {
        todo!()
    }
}

impl<'a> RecordAttribute<'a> {
    /// Type and options as answers spell them.
    pub fn description(&self) -> &'a str {
        todo!()
    }

    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::empty()
    }
}

/// Encodes an entry whose attribute types are all defined. Type numbers are those of `schema` (identity table).
/// `userPassword` must have been taken out before. Attributes kept in [`Operational`] are left out of the block.
pub fn encode(entry: &Entry, operational: &Operational<'_>, schema: &Schema) -> Vec<u8> {
    let _ = (entry, operational, schema);
    todo!()
}

/// Calls `term` with every normalised value that a record is indexed under: for each attribute with an equality rule its
/// values under that rule, and the same for entryUUID, createTimestamp and modifyTimestamp. Values that do not
/// normalise are skipped (they match nothing).
pub fn index_terms(record: Record<'_>, schema: &Schema, term: &mut dyn FnMut(AttributeId, &[u8])) {
    let _ = (record, schema, term);
    todo!()
}

/// The values of an attribute that is kept in [`Operational`] or derived from the record (entryUUID, timestamps, creatorsName,
/// modifiersName, entryDN, structuralObjectClass, subschemaSubentry, entryCSN); calls nothing for any other.
pub fn derived_values(record: Record<'_>, schema: &Schema, id: AttributeId, each: &mut dyn FnMut(&[u8])) {
    let _ = (record, schema, id, each);
    todo!()
}
