//! The segment file: header, sections, section table (`docs/store-format.md`).

use super::blocks::{BlockWriter, dense};
use super::gather::{AttributeTerms, BuiltIndex, serves_substrings};
use super::mapped::Mapped;
use super::{IndexLayout, Layout, OFFSET, OFFSET_PADDING, Octets, Segment, Slot, SubstringsAt, empty_slots};
use crate::index::bloom::TermFilter;
use crate::index::dictionary::Dictionary;
use crate::index::octets::{push_varint, u32_at, u64_at, varint};
use crate::schema::{AttributeId, MatchingRule, Schema};
use crate::store::StoreError;
use crate::store::kv::{corrupt, io_error};
use crate::store::record::{NO_TYPE, indexed_derived_types};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"nhsdirSG";
const VERSION: u32 = 1;
pub(super) const HEADER: usize = 64;
/// Octets of the header that its checksum covers.
const HEADER_CHECKED: usize = 40;
/// Octets of the header that are not zero padding.
pub(super) const HEADER_USED: usize = HEADER_CHECKED + 4;
pub(super) const ROW: usize = 32;
/// Sections begin at multiples of this.
const ALIGNMENT: u64 = 8;
/// Sections that a file may have: five an attribute type, and a few.
const SECTIONS_MAX: usize = 5 * 65_536;

/// What a section holds. The number of an attribute type stands beside it where it says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Section {
    Types = 1,
    EntryTable = 2,
    Names = 3,
    Depths = 4,
    Records = 5,
    /// Of an attribute type, as the four that follow.
    Dictionary = 16,
    Postings = 17,
    Presence = 18,
    Substrings = 19,
    Column = 20,
}

/// One line of the section table.
#[derive(Clone, Debug)]
pub(super) struct SectionRow {
    pub(super) kind: u32,
    pub(super) number: u16,
    pub(super) range: Range<usize>,
    pub(super) crc: u32,
}

/// Writes a segment file from front to back.
pub(super) struct FileWriter {
    path: PathBuf,
    file: BlockWriter,
    at: u64,
    rows: Vec<u8>,
    open: Option<(Section, u16, u64, crc32fast::Hasher)>,
}

impl FileWriter {
    /// Makes the file, which must not exist.
    pub(super) fn create(path: &Path) -> Result<FileWriter, StoreError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let mut writer = FileWriter {
            path: path.to_owned(),
            file: BlockWriter::new(file.map_err(|e| io_error(path, e))?),
            at: 0,
            rows: Vec::new(),
            open: None,
        };
        writer.put(&[0; HEADER])?;
        Ok(writer)
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        self.at += octets.len() as u64;
        let section = self.open.as_ref().map(|(section, ..)| *section);
        let sparse = section == Some(Section::Substrings);
        self.file.write(octets, sparse).map_err(|e| io_error(&self.path, e))
    }

    fn align(&mut self) -> Result<(), StoreError> {
        let padding = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.put(&[0; ALIGNMENT as usize][..padding as usize])
    }

    pub(super) fn begin(&mut self, section: Section, number: u16) -> Result<(), StoreError> {
        self.align()?;
        self.open = Some((section, number, self.at, crc32fast::Hasher::new()));
        Ok(())
    }

    pub(super) fn extend(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        if let Some((.., hasher)) = &mut self.open {
            hasher.update(octets);
        }
        self.put(octets)
    }

    pub(super) fn end(&mut self) -> Result<(), StoreError> {
        if let Some((section, number, start, hasher)) = self.open.take() {
            for word in [section as u32, u32::from(number)] {
                self.rows.extend_from_slice(&word.to_le_bytes());
            }
            for word in [start, self.at - start] {
                self.rows.extend_from_slice(&word.to_le_bytes());
            }
            for word in [hasher.finalize(), 0] {
                self.rows.extend_from_slice(&word.to_le_bytes());
            }
        }
        Ok(())
    }

    pub(super) fn section(&mut self, section: Section, number: u16, octets: &[u8]) -> Result<(), StoreError> {
        self.begin(section, number)?;
        self.extend(octets)?;
        self.end()
    }

    pub(super) fn index(&mut self, built: &BuiltIndex) -> Result<(), StoreError> {
        let number = built.id.0;
        self.section(Section::Dictionary, number, &built.dictionary)?;
        self.section(Section::Postings, number, &built.postings)?;
        self.section(Section::Presence, number, &built.presence)?;
        if let Some(substrings) = &built.substrings {
            self.section(Section::Substrings, number, substrings)?;
        }
        match &built.column {
            Some(column) => self.section(Section::Column, number, column),
            None => Ok(()),
        }
    }

    /// The type table: for every type number of the schema whether an entry has it, and then what it was.
    pub(super) fn types(&mut self, attributes: &[AttributeTerms], schema: &Schema) -> Result<(), StoreError> {
        let mut octets = Vec::new();
        push_varint(&mut octets, schema.attributes().len() as u32);
        for attribute in schema.attributes() {
            let used = attributes.iter().any(|terms| terms.id == attribute.id);
            octets.push(u8::from(used));
            if used {
                for text in [&attribute.oid, attribute.name(), &form_of(schema, attribute.id)] {
                    push_varint(&mut octets, text.len() as u32);
                    octets.extend_from_slice(text.as_bytes());
                }
            }
        }
        self.section(Section::Types, 0, &octets)
    }

    /// Writes section table and header, then fsyncs the file and its directory.
    pub(super) fn finish(mut self, entries: u32) -> Result<(), StoreError> {
        self.align()?;
        let table_at = self.at;
        let rows = std::mem::take(&mut self.rows);
        self.put(&rows)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&entries.to_le_bytes());
        header.extend_from_slice(&table_at.to_le_bytes());
        header.extend_from_slice(&self.at.to_le_bytes());
        header.extend_from_slice(&((rows.len() / ROW) as u32).to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&rows).to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        header.resize(HEADER, 0);
        let write = |file: BlockWriter| -> std::io::Result<()> {
            let file = file.finish()?;
            file.write_all_at(&header, 0)?;
            file.sync_all()
        };
        write(self.file).map_err(|e| io_error(&self.path, e))?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|e| io_error(directory, e))
    }
}

/// The rule and the form that an attribute type's dictionary is made by.
fn form_of(schema: &Schema, id: AttributeId) -> String {
    match schema.attribute(id).equality {
        Some(rule) if id == schema.well_known().object_class => {
            let mut form = format!("{rule:?}/{}", form(rule));
            for class in schema.classes() {
                form.push('\n');
                for class in schema.implied_classes(class.id) {
                    form.push_str(&String::from_utf8_lossy(schema.class_key(*class)));
                    form.push(' ');
                }
            }
            form
        }
        Some(rule) => format!("{rule:?}/{}", form(rule)),
        None => String::new(),
    }
}

/// Goes up when normalising by a rule changes, so that the indexes of older segments are not used.
fn form(rule: MatchingRule) -> u32 {
    match rule {
        MatchingRule::Integer | MatchingRule::Boolean => 2,
        // Empty values; names that end in what looks like a UID.
        MatchingRule::CaseExactIa5 | MatchingRule::CaseIgnoreIa5 | MatchingRule::UniqueMember => 2,
        _ => 1,
    }
}

/// Whether an index of this form serves the schema. One of object classes does while no class lost or gained a superclass.
fn serves(form: &str, schema: &Schema, id: AttributeId) -> bool {
    let now = form_of(schema, id);
    form == now
        || (id == schema.well_known().object_class && {
            let lines: std::collections::HashSet<&str> = now.lines().collect();
            form.lines().count() > 1 && form.lines().all(|line| lines.contains(line))
        })
}

pub(super) fn open(path: &Path, schema: &Schema) -> Result<Segment, StoreError> {
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    let mapped = Mapped::map(&file).map_err(|e| io_error(path, e))?;
    let layout = read_layout(mapped.octets(), schema).map_err(|fault| match fault {
        LayoutFault::Damaged(detail) => corrupt(path, detail),
        LayoutFault::Unknown(version) => {
            let detail = format!("expected segment format {VERSION}, found {version}: another nhsdir wrote it");
            corrupt(path, &detail)
        }
        LayoutFault::SchemaLost(name) => StoreError::SchemaLost { name },
    })?;
    let sparse = section_rows(mapped.octets()).unwrap_or_default();
    let sparse = sparse.into_iter().filter(|row| row.kind == Section::Substrings as u32);
    let sparse: Vec<_> = sparse.map(|row| row.range).collect();
    for range in dense(mapped.octets().len(), &sparse) {
        mapped.in_large_pages(range);
    }
    Ok(Segment {
        octets: Octets::Mapped(mapped),
        layout,
        terms: TermFilter::default(),
        later: None,
    })
}

enum LayoutFault {
    Damaged(&'static str),
    Unknown(u32),
    SchemaLost(String),
}

/// The section table; `Err` says what is wrong with header or table.
pub(super) fn section_rows(octets: &[u8]) -> Result<Vec<SectionRow>, &'static str> {
    let header = octets
        .get(..HEADER)
        .ok_or("the segment file is shorter than its header")?;
    if !header.starts_with(MAGIC) {
        return Err("this is no segment file");
    }
    if crc32fast::hash(&header[..HEADER_CHECKED]) != u32_at(header, HEADER_CHECKED) {
        return Err("the segment's header is damaged");
    }
    if u64_at(header, 24) != octets.len() as u64 {
        return Err("the segment file has not the length it was written with");
    }
    let rows = u32_at(header, 32) as usize;
    let table = usize::try_from(u64_at(header, 16)).ok().and_then(|at| octets.get(at..));
    let table = table.filter(|table| rows <= SECTIONS_MAX && table.len() == rows * ROW);
    let table = table.ok_or("the segment's section table is not where the header says")?;
    if crc32fast::hash(table) != u32_at(header, 36) {
        return Err("the segment's section table is damaged");
    }
    table
        .chunks_exact(ROW)
        .map(|row| section_row(row, octets.len()))
        .collect()
}

fn section_row(row: &[u8], file_len: usize) -> Result<SectionRow, &'static str> {
    let (start, len) = (u64_at(row, 8) as usize, u64_at(row, 16) as usize);
    let end = start.checked_add(len).filter(|end| *end <= file_len);
    Ok(SectionRow {
        kind: u32_at(row, 0),
        number: u16::try_from(u32_at(row, 4)).map_err(|_| "a section's type number is too large")?,
        range: start..end.ok_or("a section ends behind the end of the file")?,
        crc: u32_at(row, 24),
    })
}

fn read_layout(octets: &[u8], schema: &Schema) -> Result<Layout, LayoutFault> {
    if octets.starts_with(MAGIC) && u32_at(octets, 8) != VERSION {
        return Err(LayoutFault::Unknown(u32_at(octets, 8)));
    }
    let rows = section_rows(octets).map_err(LayoutFault::Damaged)?;
    let entries = u32_at(octets, 12);
    let one = |section: Section| {
        let row = rows.iter().find(|row| row.kind == section as u32);
        row.ok_or(LayoutFault::Damaged("a section is missing"))
    };
    let types_row = one(Section::Types)?;
    let types_octets = &octets[types_row.range.clone()];
    if crc32fast::hash(types_octets) != types_row.crc {
        return Err(LayoutFault::Damaged("the type table is damaged"));
    }
    let types = read_types(types_octets, schema)?;
    let layout = Layout {
        entries,
        entry_table: one(Section::EntryTable)?.range.clone(),
        records: one(Section::Records)?.range.clone(),
        names: one(Section::Names)?.range.clone(),
        depths: one(Section::Depths)?.range.clone(),
        types: types.iter().map(|stored| stored.id).collect(),
        indexes: Vec::new(),
        slots: empty_slots(schema),
    };
    let names = Dictionary::open(&octets[layout.names.clone()]).len();
    let counted = [
        layout.depths.len() == entries as usize,
        names == entries,
        layout.entry_table.len() == (entries as usize + 1) * OFFSET + OFFSET_PADDING,
    ];
    if counted.contains(&false) {
        return Err(LayoutFault::Damaged(
            "the sections do not hold as many entries as the header says",
        ));
    }
    Ok(place_indexes(layout, octets, &types, &rows, schema))
}

/// Notes where the index of each stored type lies, if its form is still the schema's.
fn place_indexes(
    mut layout: Layout,
    octets: &[u8],
    types: &[StoredType],
    rows: &[SectionRow],
    schema: &Schema,
) -> Layout {
    for (number, stored) in types.iter().enumerate().filter(|(_, stored)| stored.used) {
        let range = |section: Section| {
            let is = |row: &&SectionRow| row.kind == section as u32 && usize::from(row.number) == number;
            rows.iter().find(is).map(|row| row.range.clone())
        };
        let parts = (
            range(Section::Dictionary),
            range(Section::Postings),
            range(Section::Presence),
        );
        let slot = &mut layout.slots[usize::from(stored.id.0)];
        let (Some(dictionary), Some(postings), Some(presence)) = parts else {
            *slot = Slot::Unindexed;
            continue;
        };
        let renamed = || holds_other_names(&octets[dictionary.clone()], schema, stored.id);
        if *slot == Slot::Absent {
            *slot = Slot::Unindexed;
            continue;
        }
        if !stored.same_form || renamed() {
            *slot = Slot::SetAside;
            continue;
        }
        *slot = Slot::At(layout.indexes.len() as u16);
        let substrings = range(Section::Substrings).filter(|_| serves_substrings(schema, stored.id));
        layout.indexes.push(IndexLayout {
            dictionary,
            postings,
            presence,
            substrings: substrings.map_or(SubstringsAt::Nowhere, SubstringsAt::Section),
            column: range(Section::Column),
        });
    }
    // A segment from before a derived type was indexed has no index of it, though every entry has a value.
    for id in indexed_derived_types(schema) {
        let slot = &mut layout.slots[usize::from(id.0)];
        if layout.entries > 0 && *slot == Slot::Empty {
            *slot = Slot::SetAside;
        }
    }
    layout
}

/// Whether a dictionary of object identifiers holds one by a name that is not its first: the schema did not know it then.
fn holds_other_names(dictionary: &[u8], schema: &Schema, id: AttributeId) -> bool {
    if schema.attribute(id).equality != Some(MatchingRule::ObjectIdentifier) || id == schema.well_known().object_class {
        return false;
    }
    let dictionary = Dictionary::open(dictionary);
    schema.identifiers().any(|name| {
        let is_other = schema.canonical_identifier(&name) != Some(name.as_bytes());
        is_other && dictionary.find(name.as_bytes()).is_some()
    })
}

/// One line of the type table, as the schema sees it now.
struct StoredType {
    used: bool,
    id: AttributeId,
    same_form: bool,
}

fn read_types(octets: &[u8], schema: &Schema) -> Result<Vec<StoredType>, LayoutFault> {
    let damaged = || LayoutFault::Damaged("the type table is damaged");
    let mut at = 0;
    let count = varint(octets, &mut at)
        .filter(|count| *count <= 1 << 16)
        .ok_or_else(damaged)?;
    let mut types = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let used = *octets.get(at).ok_or_else(damaged)? != 0;
        at += 1;
        if !used {
            types.push(StoredType {
                used,
                id: NO_TYPE,
                same_form: false,
            });
            continue;
        }
        let mut text = || {
            let len = varint(octets, &mut at)? as usize;
            let text = octets.get(at..at + len)?;
            at += len;
            std::str::from_utf8(text).ok()
        };
        let (Some(oid), Some(name), Some(form)) = (text(), text(), text()) else {
            return Err(damaged());
        };
        let id = schema.find_attribute(oid).or_else(|| schema.find_attribute(name));
        let id = id.ok_or_else(|| LayoutFault::SchemaLost(format!("attribute type {name} ({oid})")))?;
        types.push(StoredType {
            used,
            id,
            same_form: serves(form, schema, id),
        });
    }
    Ok(types)
}
