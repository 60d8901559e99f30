//! The stored form of an entry: its attributes already encoded as they leave the server.
//!
//! Layout (integers little-endian, lengths and counts as varints where nothing else is said):
//! ```text
//! length, DN octets (RFC 4514 string)
//! u8 form, entryUUID 16 octets, u64 created (seconds since 1970)
//! forms 1 and 2 (changed since it was loaded): u64 modified, u64 sequence, in form 2 u64 change time (microseconds since 1970),
//!     length, creator octets, length, modifier octets
//! number of user attributes, number of operational attributes, then for each, user attributes first:
//!     u16 type number in the layer's type table
//!     u16 length of its octets; bit 15 says that the description has options; 0x7fff: a u32 with the length follows
//! the block: for each attribute its PartialAttribute (RFC 4511 section 4.1.7) octets
//! ```
//! All user attributes are therefore one slice. Values keep the order given. Lengths inside the PartialAttributes are
//! definite and minimal.

mod parts;
mod revision;

use super::segment::mapped::prefetch;
use crate::index::octets::push_varint;
use crate::model::{Attribute, AttributeDescription, Dn, Entry};
use crate::schema::{AttributeId, ClassId, Schema};
use parts::Reader;

pub use parts::{RecordParts, Slot};
pub use revision::{Part, Revision};

const FORM_LOADED: u8 = 0;
/// Read, no longer written: without the change time.
const FORM_CHANGED_BY_SECOND: u8 = 1;
const FORM_CHANGED: u8 = 2;
/// In an attribute's length field.
const HAS_OPTIONS: u16 = 1 << 15;
const LONG: u16 = 0x7fff;

/// In a second.
const MICROSECONDS: u64 = 1_000_000;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTET_STRING: u8 = 0x04;

/// The name of the subschema subentry (RFC 4512 section 4.2).
pub const SUBSCHEMA_DN: &str = "cn=Subschema";

/// In a type table: a number that no record of the layer has.
pub(super) const NO_TYPE: AttributeId = AttributeId(u16::MAX);

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
    /// Microseconds since 1970 that entryCSN says; no two changes have the same. 0 when encoded: those of `modified`.
    pub changed: u64,
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

/// The octets of a record do not read as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a stored entry, found damaged octets")]
pub struct DamagedRecord;

impl<'a> Record<'a> {
    pub fn new(bytes: &'a [u8], types: &'a [AttributeId]) -> Record<'a> {
        Record { bytes, types }
    }

    /// As [`encode`] made it, with type numbers of this record's table.
    pub fn octets(&self) -> &'a [u8] {
        self.bytes
    }

    /// The record with attribute type numbers of the schema itself; `None` where it is damaged.
    pub fn identity_octets(&self) -> Option<Vec<u8>> {
        let mut octets = Vec::with_capacity(self.bytes.len());
        self.renumber(&mut octets, |id| id.0).ok()?;
        Some(octets)
    }

    /// Appends the record to `out` with each type number replaced by what `number` gives for its attribute type. A damaged
    /// record, or one whose type the table does not know, is an error and leaves `out` in any state.
    pub(super) fn renumber(
        &self,
        out: &mut Vec<u8>,
        mut number: impl FnMut(AttributeId) -> u16,
    ) -> Result<(), DamagedRecord> {
        let parts = self.parts().ok_or(DamagedRecord)?;
        let table_at = self.bytes.len() - parts.block.len() - parts.table.len();
        let mut table = Reader::new(parts.table);
        let start = out.len() + table_at;
        out.extend_from_slice(self.bytes);
        for _ in 0..parts.all {
            let at = start + table.at;
            let (old, _, _) = table.slot().ok_or(DamagedRecord)?;
            let id = self.types.get(usize::from(old)).ok_or(DamagedRecord)?;
            let place = out.get_mut(at..at + 2).ok_or(DamagedRecord)?;
            place.copy_from_slice(&number(*id).to_le_bytes());
        }
        Ok(())
    }

    /// Brings the record's cache lines near. Called for a batch of records before the first is read, the misses of the batch
    /// overlap: a hundred cold records cost a third of what they cost one after the other.
    #[inline]
    pub fn warm(&self) {
        const LINES: usize = 12;
        prefetch(self.bytes, LINES);
    }

    /// The DN string.
    #[inline]
    pub fn dn(&self) -> &'a str {
        Reader::new(self.bytes).text().unwrap_or_default()
    }

    /// The record under another name.
    pub(super) fn renamed(&self, dn: &str) -> Vec<u8> {
        let mut reader = Reader::new(self.bytes);
        reader.counted();
        let rest = self.bytes.get(reader.at..).unwrap_or_default();
        let mut out = Vec::with_capacity(dn.len() + 4 + rest.len());
        push_counted(&mut out, dn.as_bytes());
        out.extend_from_slice(rest);
        out
    }

    pub fn operational(&self) -> Operational<'a> {
        let mut reader = Reader::new(self.bytes);
        reader.counted();
        reader.operational().unwrap_or_default()
    }

    /// Every stored attribute, user attributes first.
    #[inline]
    pub fn attributes(&self) -> impl Iterator<Item = RecordAttribute<'a>> + use<'a> {
        self.parts().unwrap_or_default().attributes()
    }

    /// The object classes that the entry names, as far as they are defined.
    #[inline]
    pub fn classes<'s>(&self, schema: &'s Schema) -> impl Iterator<Item = ClassId> + use<'a, 's> {
        let object_class = schema.well_known().object_class;
        let attributes = self.attributes().filter(move |attribute| attribute.id == object_class);
        attributes
            .flat_map(|attribute| attribute.values())
            .filter_map(|value| schema.class_of(value))
    }

    /// Back into an entry as given: attribute descriptions by their schema names.
    pub fn to_entry(&self) -> Entry {
        Entry {
            dn: Dn::parse(self.dn()).unwrap_or_default(),
            attributes: self.attributes().map(|attribute| attribute.to_attribute()).collect(),
        }
    }
}

impl<'a> RecordAttribute<'a> {
    fn to_attribute(self) -> Attribute {
        let description = self.description();
        Attribute {
            description: AttributeDescription::parse(description)
                .unwrap_or_else(|_| AttributeDescription::new(description)),
            values: self.values().map(<[u8]>::to_vec).collect(),
        }
    }

    /// Type and options as answers spell them.
    pub fn description(&self) -> &'a str {
        let description = self.parts().map_or(&[][..], |parts| parts.0);
        std::str::from_utf8(description).unwrap_or_default()
    }

    /// The values, in the order given.
    #[inline]
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.parts().map_or(&[][..], |parts| parts.1);
        std::iter::from_fn(move || {
            let (value, behind) = element(rest, OCTET_STRING)?;
            rest = behind;
            Some(value)
        })
    }

    /// The description and the inside of the set of values.
    #[inline]
    fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (inside, _) = element(self.encoded, SEQUENCE)?;
        let (description, rest) = element(inside, OCTET_STRING)?;
        let (values, _) = element(rest, SET)?;
        Some((description, values))
    }
}

/// The content of the element that `bytes` begins with, if its tag is `tag`, and what is behind it.
#[inline]
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    if head[1] < 0x80 {
        return rest.split_at_checked(usize::from(head[1]));
    }
    let (octets, rest) = rest.split_at_checked(usize::from(head[1] & 0x7f))?;
    if octets.len() > 4 {
        return None;
    }
    let len = octets.iter().fold(0usize, |len, octet| len << 8 | usize::from(*octet));
    rest.split_at_checked(len)
}

/// How many octets a minimal BER header for this much content takes.
fn header_len(content: usize) -> usize {
    match content {
        0..0x80 => 2,
        0x80..0x100 => 3,
        0x100..0x1_0000 => 4,
        0x1_0000..0x100_0000 => 5,
        _ => 6,
    }
}

fn push_header(out: &mut Vec<u8>, tag: u8, content: usize) {
    out.push(tag);
    let octets = (content as u32).to_be_bytes();
    let long = header_len(content) - 2;
    if long > 0 {
        out.push(0x80 | long as u8);
        out.extend_from_slice(&octets[4 - long..]);
    } else {
        out.push(content as u8);
    }
}

/// What becomes one PartialAttribute: the attributes of the same type with the same options.
struct Group<'e> {
    id: AttributeId,
    operational: bool,
    content: Content<'e>,
}

enum Content<'e> {
    /// As it was stored, without options.
    Encoded(&'e [u8]),
    Given(smallvec::SmallVec<[&'e Attribute; 1]>),
}

impl<'e> Group<'e> {
    fn options(&self) -> &'e [String] {
        match &self.content {
            Content::Encoded(_) => &[],
            Content::Given(attributes) => attributes.first().map_or(&[], |first| &first.description.options),
        }
    }

    /// Octets of its description and of its values, each without the header around it.
    fn content(&self, attributes: &[&Attribute], schema: &Schema) -> (usize, usize) {
        let options = self.options().iter().map(|option| 1 + option.len()).sum::<usize>();
        let values = attributes.iter().flat_map(|attribute| &attribute.values);
        let set = values.map(|value| header_len(value.len()) + value.len()).sum();
        (schema.attribute(self.id).name().len() + options, set)
    }

    fn encoded_len(&self, schema: &Schema) -> usize {
        match &self.content {
            Content::Encoded(octets) => octets.len(),
            Content::Given(attributes) => {
                let (description, set) = self.content(attributes, schema);
                let content = header_len(description) + description + header_len(set) + set;
                header_len(content) + content
            }
        }
    }

    fn encode(&self, schema: &Schema, out: &mut Vec<u8>) {
        let attributes = match &self.content {
            Content::Encoded(octets) => return out.extend_from_slice(octets),
            Content::Given(attributes) => attributes,
        };
        let (description, set) = self.content(attributes, schema);
        let content = header_len(description) + description + header_len(set) + set;
        push_header(out, SEQUENCE, content);
        push_header(out, OCTET_STRING, description);
        out.extend_from_slice(schema.attribute(self.id).name().as_bytes());
        for option in self.options() {
            out.push(b';');
            out.extend_from_slice(option.as_bytes());
        }
        push_header(out, SET, set);
        for value in attributes.iter().flat_map(|attribute| &attribute.values) {
            push_header(out, OCTET_STRING, value.len());
            out.extend_from_slice(value);
        }
    }
}

/// Encodes an entry whose attribute types are all defined. Type numbers are those of `schema` (identity table).
/// `userPassword` must have been taken out before. Attributes kept in [`Operational`] are left out of the block.
pub fn encode(entry: &Entry, operational: &Operational<'_>, schema: &Schema) -> Vec<u8> {
    let parts = entry.attributes.iter().map(Part::Given);
    encode_parts(&entry.dn.to_string(), parts, operational, schema)
}

/// As [`encode`], of an entry put together under a name that is in a record already.
pub fn encode_parts<'e>(
    dn: &str,
    parts: impl Iterator<Item = Part<'e>>,
    operational: &Operational<'_>,
    schema: &Schema,
) -> Vec<u8> {
    let groups = groups(parts, schema);
    let lens: smallvec::SmallVec<[usize; 32]> = groups.iter().map(|group| group.encoded_len(schema)).collect();
    let names = dn.len() + operational.creator.len() + operational.modifier.len();
    let table = groups.len() * LONG_SLOT_OCTETS;
    let mut out = Vec::with_capacity(names + FIXED_OCTETS + table + lens.iter().sum::<usize>());
    push_counted(&mut out, dn.as_bytes());
    push_operational(&mut out, operational);
    let user = groups.iter().filter(|group| !group.operational).count();
    push_varint(&mut out, user as u32);
    push_varint(&mut out, (groups.len() - user) as u32);
    for (group, len) in groups.iter().zip(&lens) {
        push_slot(&mut out, group, *len);
    }
    groups.iter().for_each(|group| group.encode(schema, &mut out));
    out
}

/// What a record takes at most beside its names, its attribute table and its block: form, UUID, three times, a sequence number, five varints.
const FIXED_OCTETS: usize = 1 + 16 + 4 * 8 + 5 * 5;
/// Octets of a line of the attribute table at most.
const LONG_SLOT_OCTETS: usize = 8;

fn push_slot(table: &mut Vec<u8>, group: &Group<'_>, len: usize) {
    let has_options = !group.options().is_empty();
    let flag = if has_options { HAS_OPTIONS } else { 0 };
    table.extend_from_slice(&group.id.0.to_le_bytes());
    if len < usize::from(LONG) {
        table.extend_from_slice(&(len as u16 | flag).to_le_bytes());
    } else {
        table.extend_from_slice(&(LONG | flag).to_le_bytes());
        table.extend_from_slice(&(len as u32).to_le_bytes());
    }
}

fn push_counted(out: &mut Vec<u8>, octets: &[u8]) {
    push_varint(out, octets.len() as u32);
    out.extend_from_slice(octets);
}

fn push_operational(out: &mut Vec<u8>, operational: &Operational<'_>) {
    let changed = match operational.changed {
        0 => whole_second(operational.modified),
        changed => changed,
    };
    let loaded = Operational {
        entry_uuid: operational.entry_uuid,
        created: operational.created,
        modified: operational.created,
        changed: operational.changed,
        ..Operational::default()
    };
    let form = if *operational == loaded && changed == whole_second(operational.created) {
        FORM_LOADED
    } else {
        FORM_CHANGED
    };
    out.push(form);
    out.extend_from_slice(&operational.entry_uuid);
    out.extend_from_slice(&operational.created.to_le_bytes());
    if form == FORM_CHANGED {
        out.extend_from_slice(&operational.modified.to_le_bytes());
        out.extend_from_slice(&operational.sequence.to_le_bytes());
        out.extend_from_slice(&changed.to_le_bytes());
        push_counted(out, operational.creator.as_bytes());
        push_counted(out, operational.modifier.as_bytes());
    }
}

/// An entry's attributes by type and options, user attributes first, else in the order given.
fn groups<'e>(parts: impl Iterator<Item = Part<'e>>, schema: &Schema) -> Vec<Group<'e>> {
    let mut groups: Vec<Group<'e>> = Vec::with_capacity(32);
    for part in parts {
        match part {
            Part::Encoded(attribute) => groups.push(Group {
                id: attribute.id,
                operational: attribute.operational,
                content: Content::Encoded(attribute.encoded),
            }),
            Part::Given(attribute) => add_to(&mut groups, attribute, schema),
        }
    }
    groups.sort_by_key(|group| group.operational);
    groups
}

fn add_to<'e>(groups: &mut Vec<Group<'e>>, attribute: &'e Attribute, schema: &Schema) {
    let description = &attribute.description;
    let Some(id) = schema.find_attribute(&description.attribute_type) else {
        debug_assert!(false, "{} is checked before it is stored", description.attribute_type);
        return;
    };
    if attribute.values.is_empty() || is_kept_apart(schema, id) {
        return;
    }
    let mut same = groups.iter_mut().filter(|group| group.id == id);
    let same = same.find_map(|group| match &mut group.content {
        Content::Given(attributes) if same_options(&attributes[0].description, description) => Some(attributes),
        _ => None,
    });
    match same {
        Some(attributes) => attributes.push(attribute),
        None => groups.push(Group {
            id,
            operational: schema.attribute(id).is_operational(),
            content: Content::Given(smallvec::smallvec![attribute]),
        }),
    }
}

/// Options are a set, and case is ignored (RFC 4512 section 2.5).
fn same_options(left: &AttributeDescription, right: &AttributeDescription) -> bool {
    let holds = |all: &[String], one: &String| all.iter().any(|other| other.eq_ignore_ascii_case(one));
    left.options.iter().all(|option| holds(&right.options, option))
        && right.options.iter().all(|option| holds(&left.options, option))
}

/// Whether an attribute is kept in [`Operational`], or derived when it is asked for, and never in the block.
pub fn is_kept_apart(schema: &Schema, id: AttributeId) -> bool {
    let known = schema.well_known();
    derived_types(schema).contains(&id)
        || [known.has_subordinates, known.num_subordinates, known.member_of].contains(&id)
}

/// The types that [`derived_values`] gives values of.
pub fn derived_types(schema: &Schema) -> [AttributeId; 9] {
    let known = schema.well_known();
    [
        known.entry_uuid,
        known.entry_dn,
        known.create_timestamp,
        known.creators_name,
        known.modify_timestamp,
        known.modifiers_name,
        known.structural_object_class,
        known.subschema_subentry,
        known.entry_csn,
    ]
}

/// The derived types that are indexed. Every entry has a value of each.
pub fn indexed_derived_types(schema: &Schema) -> [AttributeId; 4] {
    let known = schema.well_known();
    [
        known.entry_uuid,
        known.create_timestamp,
        known.modify_timestamp,
        known.entry_csn,
    ]
}

/// Whether [`index_terms`] gives the values of an attribute type: it has an equality rule, holds no secret, and is stored
/// or one of [`indexed_derived_types`].
pub fn is_indexed(schema: &Schema, id: AttributeId) -> bool {
    let known = schema.well_known();
    let derived = indexed_derived_types(schema).contains(&id);
    schema.attribute(id).equality.is_some() && id != known.user_password && (derived || !is_kept_apart(schema, id))
}

/// Calls `term` with every normalised value that a record is indexed under: for each attribute with an equality rule its
/// values under that rule, and the same for [`indexed_derived_types`]. An entry is indexed under the superclasses of its classes
/// too ([`Schema::implied_classes`]). Values that do not normalise are skipped (they match nothing). A value that an entry has
/// under several options comes more than once.
pub fn index_terms(record: Record<'_>, schema: &Schema, term: &mut dyn FnMut(AttributeId, &[u8])) {
    index_terms_of(record, schema, &|_| true, term);
}

/// As [`index_terms`], of some attribute types only: values of others are not normalised.
pub fn index_terms_of(
    record: Record<'_>,
    schema: &Schema,
    among: &dyn Fn(AttributeId) -> bool,
    term: &mut dyn FnMut(AttributeId, &[u8]),
) {
    let mut normalized = Vec::with_capacity(64);
    let mut one = |id: AttributeId, value: &[u8]| {
        let Some(rule) = schema.attribute(id).equality else {
            return;
        };
        normalized.clear();
        if rule.normalize(schema, value, &mut normalized).is_ok() {
            term(id, &normalized);
        }
    };
    let object_class = schema.well_known().object_class;
    let mut classes: smallvec::SmallVec<[ClassId; 8]> = smallvec::SmallVec::new();
    for attribute in record.attributes().filter(|attribute| among(attribute.id)) {
        if attribute.id == object_class {
            attribute.values().for_each(|value| match schema.class_of(value) {
                Some(class) => classes.extend_from_slice(schema.implied_classes(class)),
                None => one(object_class, value),
            });
        } else if is_indexed(schema, attribute.id) {
            attribute.values().for_each(|value| one(attribute.id, value));
        }
    }
    classes.sort_unstable();
    classes.dedup();
    for id in indexed_derived_types(schema).into_iter().filter(|id| among(*id)) {
        derived_values(record, schema, id, &mut |value| one(id, value));
    }
    classes
        .iter()
        .for_each(|class| term(object_class, schema.class_key(*class)));
}

/// The values of an attribute that is kept in [`Operational`] or derived from the record (entryUUID, timestamps, creatorsName,
/// modifiersName, entryDN, structuralObjectClass, subschemaSubentry, entryCSN); calls nothing for any other. Who loaded an
/// entry in bulk is no name, so such an entry has no creatorsName and modifiersName.
pub fn derived_values(record: Record<'_>, schema: &Schema, id: AttributeId, each: &mut dyn FnMut(&[u8])) {
    let known = schema.well_known();
    let mut name = |text: &[u8]| {
        if !text.is_empty() {
            each(text);
        }
    };
    if id == known.entry_dn {
        name(record.dn().as_bytes());
    } else if id == known.subschema_subentry {
        name(SUBSCHEMA_DN.as_bytes());
    } else if id == known.creators_name {
        name(record.operational().creator.as_bytes());
    } else if id == known.modifiers_name {
        name(record.operational().modifier.as_bytes());
    } else if id == known.entry_uuid {
        name(&uuid_text(&record.operational().entry_uuid));
    } else if id == known.create_timestamp {
        name(&time_text(record.operational().created));
    } else if id == known.modify_timestamp {
        name(&time_text(record.operational().modified));
    } else if id == known.entry_csn {
        name(csn_text(record.operational().changed).as_bytes());
    } else if id == known.structural_object_class {
        let classes: Vec<ClassId> = record.classes(schema).collect();
        if let Some(class) = schema.structural_class(&classes) {
            name(schema.class(class).name().as_bytes());
        }
    }
}

/// The form of RFC 4122 section 3.
fn uuid_text(uuid: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (place, octet) in uuid.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(octet >> 4)];
        text[at + 1] = DIGITS[usize::from(octet & 15)];
        at += 2;
    }
    text
}

fn whole_second(seconds: u64) -> u64 {
    seconds.saturating_mul(MICROSECONDS)
}

/// The change sequence number of a time, in the form OpenLDAP has them: time, count within it, server, count within the change.
/// No two changes have the same time here, so nothing is left to count; and there is one server.
pub fn csn_text(changed: u64) -> String {
    format!("{}#000000#000#000000", moment_text(changed))
}

/// Microseconds since 1970 as generalizedTime.
pub fn moment_text(microseconds: u64) -> String {
    let time = time_text(microseconds / MICROSECONDS);
    let seconds = std::str::from_utf8(&time).unwrap_or_default().trim_end_matches('Z');
    format!("{seconds}.{:06}Z", microseconds % MICROSECONDS)
}

/// The time within a change sequence number; `None` for what is none.
pub fn csn_time(text: &str) -> Option<u64> {
    let (time, _) = text.split_once('#')?;
    let (whole, micros) = time.strip_suffix(['Z', 'z'])?.split_once('.')?;
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(whole, 14) || !digits(micros, 6) {
        return None;
    }
    let part = |from: usize, len: usize| whole.get(from..from + len)?.parse::<u8>().ok();
    let month = time::Month::try_from(part(4, 2)?).ok()?;
    let date = time::Date::from_calendar_date(whole.get(..4)?.parse().ok()?, month, part(6, 2)?).ok()?;
    let seconds = date
        .with_hms(part(8, 2)?, part(10, 2)?, part(12, 2)?)
        .ok()?
        .assume_utc();
    let seconds = u64::try_from(seconds.unix_timestamp()).ok()?;
    whole_second(seconds).checked_add(micros.parse().ok()?)
}

/// Generalized time (RFC 4517 section 3.3.13) in UTC. Years are kept to four digits.
/// Seconds since 1970 as generalizedTime.
pub fn time_text(seconds: u64) -> [u8; 15] {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let year = time.year().unsigned_abs() % 10_000;
    let parts = [
        (year / 100) as u8,
        (year % 100) as u8,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ];
    let mut text = [b'Z'; 15];
    for (place, part) in parts.into_iter().enumerate() {
        text[place * 2] = b'0' + part / 10;
        text[place * 2 + 1] = b'0' + part % 10;
    }
    text
}
