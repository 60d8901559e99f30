//! A record taken apart: the way every reader of one goes.

use super::{FORM_CHANGED_BY_SECOND, FORM_LOADED, HAS_OPTIONS, LONG, NO_TYPE};
use super::{Operational, Record, RecordAttribute, whole_second};
use crate::index::octets::varint;
use crate::schema::AttributeId;

impl<'a> Record<'a> {
    /// The record taken apart, for who looks at it more than once. `None` where it is damaged.
    #[inline]
    pub fn parts(&self) -> Option<RecordParts<'a>> {
        let mut reader = Reader::new(self.bytes);
        let dn = reader.counted()?;
        let form = reader.take(1)?[0];
        let entry_uuid = reader.take(16)?.try_into().ok()?;
        reader.take(8)?;
        if form != FORM_LOADED {
            reader.take(if form == FORM_CHANGED_BY_SECOND { 16 } else { 24 })?;
            reader.counted()?;
            reader.counted()?;
        }
        let (user, operational) = (reader.number()?, reader.number()?);
        let all = user.checked_add(operational)?;
        let rest = reader.rest();
        // A line of the table takes four octets, unless one says that a longer length follows.
        let (table, block) = rest.split_at_checked(all as usize * SLOT_OCTETS)?;
        let (lines, _) = table.as_chunks();
        // All of them, so that several are compared at once.
        let (table, block) = match lines.iter().fold(false, |any, line| any | is_long(line)) {
            false => (table, block),
            true => rest.split_at(long_table(rest, all)?),
        };
        Some(RecordParts {
            dn,
            entry_uuid,
            table,
            block,
            user,
            all,
            types: self.types,
        })
    }
}

/// A record taken apart in one pass over its attribute table.
#[derive(Clone, Copy)]
pub struct RecordParts<'a> {
    dn: &'a [u8],
    entry_uuid: &'a [u8; 16],
    pub(super) table: &'a [u8],
    pub(super) block: &'a [u8],
    user: u32,
    pub(super) all: u32,
    types: &'a [AttributeId],
}

/// One line of the attribute table.
#[derive(Clone, Copy)]
pub struct Slot {
    pub id: AttributeId,
    /// Octets of the PartialAttribute.
    pub len: usize,
    pub has_options: bool,
    pub operational: bool,
}

impl Default for RecordParts<'_> {
    fn default() -> Self {
        RecordParts {
            dn: &[],
            entry_uuid: &[0; 16],
            table: &[],
            block: &[],
            user: 0,
            all: 0,
            types: &[],
        }
    }
}

impl<'a> RecordParts<'a> {
    /// The octets of the DN string.
    #[inline]
    pub fn dn(&self) -> &'a [u8] {
        self.dn
    }

    #[inline]
    pub fn entry_uuid(&self) -> &'a [u8; 16] {
        self.entry_uuid
    }

    /// How many attributes the record says it has.
    #[inline]
    pub fn len(&self) -> u32 {
        self.all
    }

    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The PartialAttributes of all attributes, one after the other, those of user attributes first.
    #[inline]
    pub fn block(&self) -> &'a [u8] {
        self.block
    }

    /// The attribute table, user attributes first. Ends early where the record is damaged.
    #[inline]
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<'a> {
        let RecordParts {
            mut table, user, types, ..
        } = *self;
        let mut place = 0;
        std::iter::from_fn(move || {
            let (slot, rest) = table.split_first_chunk::<SLOT_OCTETS>()?;
            table = rest;
            let [number_low, number_high, low, high] = *slot;
            let field = u16::from_le_bytes([low, high]);
            let mut len = usize::from(field & LONG);
            if field & LONG == LONG {
                let (long, rest) = table.split_first_chunk::<4>()?;
                table = rest;
                len = u32::from_le_bytes(*long) as usize;
            }
            let number = u16::from_le_bytes([number_low, number_high]);
            let id = *types.get(usize::from(number))?;
            let operational = place >= user;
            place += 1;
            (id != NO_TYPE).then_some(Slot {
                id,
                len,
                has_options: field & HAS_OPTIONS != 0,
                operational,
            })
        })
    }

    /// The types of all attributes, user attributes first, and the octets of the user attributes: all that most answers need,
    /// for a third of what [`RecordParts::slots`] costs. `None` where the record is damaged or has a long attribute.
    #[inline]
    pub fn short_types(&self) -> Option<(impl Iterator<Item = AttributeId> + use<'a>, usize)> {
        let (lines, types) = (self.short_lines()?, self.types);
        let length = |line: &[u8; SLOT_OCTETS]| usize::from(u16::from_le_bytes([line[2], line[3]]) & LONG);
        let octets = lines.get(..self.user as usize)?.iter().map(length).sum();
        let id = move |line: &[u8; SLOT_OCTETS]| {
            let number = u16::from_le_bytes([line[0], line[1]]);
            types.get(usize::from(number)).copied().unwrap_or(NO_TYPE)
        };
        Some((lines.iter().map(id), octets))
    }

    /// False only where no attribute is of a type that is asked for: most records have none of what is hidden or rarely there, and
    /// this costs a fifth of going through [`RecordParts::attributes`].
    #[inline]
    pub fn may_have(&self, is_asked: impl Fn(AttributeId) -> bool) -> bool {
        self.short_lines().is_none_or(|lines| {
            lines.iter().any(|line| {
                let id = self.types.get(usize::from(u16::from_le_bytes([line[0], line[1]])));
                id.is_some_and(|id| is_asked(*id))
            })
        })
    }

    /// The attribute table, where no attribute is long.
    #[inline]
    fn short_lines(&self) -> Option<&'a [[u8; SLOT_OCTETS]]> {
        let (lines, rest) = self.table.as_chunks();
        (lines.len() == self.all as usize && rest.is_empty()).then_some(lines)
    }

    /// How many of the attributes are user attributes.
    #[inline]
    pub fn user_len(&self) -> usize {
        self.user as usize
    }

    /// Every stored attribute, user attributes first.
    #[inline]
    pub fn attributes(&self) -> impl Iterator<Item = RecordAttribute<'a>> + use<'a> {
        let mut block = self.block;
        self.slots().map_while(move |slot| {
            let (encoded, rest) = block.split_at_checked(slot.len)?;
            block = rest;
            Some(RecordAttribute {
                id: slot.id,
                has_options: slot.has_options,
                operational: slot.operational,
                encoded,
            })
        })
    }
}

/// Octets of a line of the attribute table whose length is short.
const SLOT_OCTETS: usize = 4;

#[inline]
fn is_long(line: &[u8; SLOT_OCTETS]) -> bool {
    let field = u32::from(LONG) << 16;
    u32::from_le_bytes(*line) & field == field
}

/// The octets of an attribute table with long lengths in it.
#[cold]
fn long_table(rest: &[u8], all: u32) -> Option<usize> {
    let mut table = Reader::new(rest);
    for _ in 0..all {
        table.slot()?;
    }
    Some(table.at)
}

/// Reads a record from its beginning. `None` wherever the bytes end too early.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    #[inline]
    fn number(&mut self) -> Option<u32> {
        varint(self.bytes, &mut self.at)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    #[inline]
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.take(len as usize)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    #[inline]
    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What follows the DN.
    pub(super) fn operational(&mut self) -> Option<Operational<'a>> {
        let form = self.take(1)?[0];
        let entry_uuid = self.take(16)?.try_into().ok()?;
        let created = self.u64()?;
        let mut operational = Operational {
            entry_uuid,
            created,
            modified: created,
            changed: whole_second(created),
            ..Operational::default()
        };
        if form != FORM_LOADED {
            operational.modified = self.u64()?;
            operational.sequence = self.u64()?;
            operational.changed = match form {
                FORM_CHANGED_BY_SECOND => whole_second(operational.modified),
                _ => self.u64()?,
            };
            operational.creator = self.text()?;
            operational.modifier = self.text()?;
        }
        Some(operational)
    }

    /// One line of the attribute table: type number, length, whether it has options.
    #[inline]
    pub(super) fn slot(&mut self) -> Option<(u16, u32, bool)> {
        let number = self.u16()?;
        let field = self.u16()?;
        let short = field & LONG;
        let len = if short == LONG {
            u32::from_le_bytes(self.take(4)?.try_into().ok()?)
        } else {
            u32::from(short)
        };
        Some((number, len, field & HAS_OPTIONS != 0))
    }
}
