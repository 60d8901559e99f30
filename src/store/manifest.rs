//! The manifest: which segment stands, and from where the journal goes on. One small value, replaced in one batch.
//!
//! ```text
//! version u8 = 2, identity 16 octets, epoch u64, generation u64, applied sequence u64, hash of the chain there 32 octets,
//! length of the segment file u64, length of its name u8, its name (empty: no segment yet)
//! ```
//! Version 1 is laid out alike. A program that wrote it would not read the files in `log/`: it must refuse a directory that has some.

use super::journal::Position;
use super::kv::{Batch, Kv, corrupt};
use super::{StoreError, cell};
use crate::schema::{AttributeId, Schema};

const AREA: u8 = b'm';
const TABLES: u8 = b't';
pub const VERSION: u8 = 2;
/// The oldest that is read.
const VERSION_OLDEST: u8 = 1;
const FIXED: usize = 1 + 16 + 8 + 8 + 8 + 32 + 8 + 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Made at random when the directory is created: tells one directory's journal from another's.
    pub identity: [u8; 16],
    /// Counts the times that the content was replaced past the journal (bulk load): a follower must start over.
    pub epoch: u64,
    /// Counts segments.
    pub generation: u64,
    /// The segment holds everything up to here.
    pub applied: Position,
    pub segment: Option<SegmentFile>,
}

/// The name within the segments directory, and the length in octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    pub name: String,
    pub bytes: u64,
}

impl Manifest {
    pub fn write(&self, batch: &mut Batch) {
        let mut octets = Vec::with_capacity(FIXED + 32);
        octets.push(VERSION);
        octets.extend_from_slice(&self.identity);
        octets.extend_from_slice(&self.epoch.to_le_bytes());
        octets.extend_from_slice(&self.generation.to_le_bytes());
        octets.extend_from_slice(&self.applied.sequence.to_le_bytes());
        octets.extend_from_slice(&self.applied.hash);
        let (name, bytes) = self
            .segment
            .as_ref()
            .map_or(("", 0), |file| (file.name.as_str(), file.bytes));
        octets.extend_from_slice(&bytes.to_le_bytes());
        octets.push(u8::try_from(name.len()).expect("segment files have short names of our own making"));
        octets.extend_from_slice(name.as_bytes());
        cell::put(batch, AREA, b"", &octets);
    }

    /// With the version that it was written in. `None` when the directory was never finished.
    pub fn read(kv: &dyn Kv) -> Result<Option<(Manifest, u8)>, StoreError> {
        let mut manifest = None;
        cell::scan(kv, AREA, b"", &mut |_, octets, _| {
            let version = octets.first().copied().unwrap_or(0);
            if !(VERSION_OLDEST..=VERSION).contains(&version) {
                let detail = format!(
                    "manifest version {VERSION} expected, {version} found: another version of nhsdir wrote it, and only that can read it"
                );
                return Err(corrupt(kv.place(), &detail));
            }
            let decoded = Manifest::decode(octets).ok_or_else(|| corrupt(kv.place(), "the manifest is cut short"))?;
            manifest = Some((decoded, version));
            Ok(())
        })?;
        Ok(manifest)
    }

    fn decode(octets: &[u8]) -> Option<Manifest> {
        let number = |at: usize| octets.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let name_len = usize::from(*octets.get(FIXED - 1)?);
        let name = std::str::from_utf8(octets.get(FIXED..)?)
            .ok()
            .filter(|name| name.len() == name_len)?;
        let bytes = number(73)?;
        Some(Manifest {
            identity: octets.get(1..17)?.try_into().ok()?,
            epoch: number(17)?,
            generation: number(25)?,
            applied: Position {
                sequence: number(33)?,
                hash: octets.get(41..73)?.try_into().ok()?,
            },
            segment: (!name.is_empty()).then(|| SegmentFile {
                name: name.to_owned(),
                bytes,
            }),
        })
    }
}

/// The type numbers of journal records, by OID: numbers change when the schema does, so each group names its table.
///
/// Layout: number of types u16, then for each the length of its OID u8 and the OID. The name is the table's number, u32
/// big-endian.
#[derive(Default)]
pub struct TypeTables {
    tables: Vec<(u32, Vec<String>)>,
}

impl TypeTables {
    pub fn read(kv: &dyn Kv) -> Result<TypeTables, StoreError> {
        let mut tables = Vec::new();
        cell::scan(kv, TABLES, b"", &mut |name, octets, _| {
            let table = name.try_into().ok().map(u32::from_be_bytes).zip(decode_table(octets));
            tables.push(table.ok_or_else(|| corrupt(kv.place(), "a type table is cut short"))?);
            Ok(())
        })?;
        Ok(TypeTables { tables })
    }

    /// The number of the table that is the schema's; a new one is added to the batch when there is none.
    pub fn current(&mut self, schema: &Schema, batch: &mut Batch) -> u32 {
        let oids: Vec<String> = schema
            .attributes()
            .iter()
            .map(|attribute| attribute.oid.clone())
            .collect();
        if let Some((number, _)) = self.tables.iter().find(|(_, table)| *table == oids) {
            return *number;
        }
        let number = self.tables.iter().map(|(number, _)| number + 1).max().unwrap_or(1);
        cell::put(batch, TABLES, &number.to_be_bytes(), &encode_table(&oids));
        self.tables.push((number, oids));
        number
    }

    /// For each type number of a table the schema's own, or the OID that the schema does not define.
    pub fn resolve(&self, number: u32, schema: &Schema) -> Option<Vec<Result<AttributeId, String>>> {
        let (_, table) = self.tables.iter().find(|(own, _)| *own == number)?;
        Some(
            table
                .iter()
                .map(|oid| schema.find_attribute(oid).ok_or_else(|| oid.clone()))
                .collect(),
        )
    }

    /// Deletes every table but these, once no journal record that counts uses another.
    pub fn retain(&mut self, used: &[u32], batch: &mut Batch) {
        for (other, oids) in self.tables.iter().filter(|(own, _)| !used.contains(own)) {
            let cells = encode_table(oids).len().div_ceil(cell::CELL_BYTES) as u16;
            cell::delete(batch, TABLES, &other.to_be_bytes(), 0..cells);
        }
        self.tables.retain(|(own, _)| used.contains(own));
    }
}

fn encode_table(oids: &[String]) -> Vec<u8> {
    let mut octets = (u16::try_from(oids.len()).expect("attribute ids are u16"))
        .to_le_bytes()
        .to_vec();
    for oid in oids {
        let oid = &oid.as_bytes()[..oid.len().min(255)];
        octets.push(oid.len() as u8);
        octets.extend_from_slice(oid);
    }
    octets
}

fn decode_table(octets: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = octets.split_first_chunk::<2>()?;
    let mut oids = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let (len, after) = rest.split_first()?;
        let (oid, after) = after.split_at_checked(usize::from(*len))?;
        oids.push(String::from_utf8(oid.to_vec()).ok()?);
        rest = after;
    }
    rest.is_empty().then_some(oids)
}

#[cfg(test)]
mod tests {
    use super::super::faulty::FaultyKv;
    use super::super::tests::{TAIL, commit_group, new_disk, start, versions};
    use super::*;

    #[test]
    fn a_manifest_comes_back() {
        let kv = FaultyKv::default();
        assert_eq!(Manifest::read(&kv).unwrap(), None);
        let mut manifest = Manifest {
            identity: [7; 16],
            epoch: 2,
            generation: 9,
            applied: Position {
                sequence: 1234,
                hash: [3; 32],
            },
            segment: None,
        };
        for segment in [
            None,
            Some(SegmentFile {
                name: "00000009.segment".into(),
                bytes: 1 << 40,
            }),
        ] {
            manifest.segment = segment;
            let mut batch = Batch::default();
            manifest.write(&mut batch);
            kv.commit(batch).unwrap();
            assert_eq!(Manifest::read(&kv).unwrap(), Some((manifest.clone(), VERSION)));
        }
    }

    #[test]
    fn other_versions_are_refused_but_the_one_before() {
        for (version, is_read) in [(0, false), (1, true), (VERSION, true), (VERSION + 1, false)] {
            let kv = FaultyKv::default();
            let mut octets = vec![0; FIXED];
            octets[0] = version;
            let mut batch = Batch::default();
            cell::put(&mut batch, AREA, b"", &octets);
            kv.commit(batch).unwrap();
            match Manifest::read(&kv) {
                Ok(read) => assert_eq!(read.map(|(_, version)| version), is_read.then_some(version)),
                Err(error) => assert!(!is_read && error.to_string().contains("another version"), "{error}"),
            }
        }
    }

    /// A program from before the files of the log would open the directory without what is in them.
    #[test]
    fn a_directory_of_an_earlier_program_is_closed_to_it_at_the_first_open() {
        let (kv, data) = (new_disk(), tempfile::tempdir().unwrap());
        let open = || start(&kv, data.path(), TAIL).unwrap();
        commit_group(&open(), 1).unwrap();
        let read = || Manifest::read(&kv).unwrap().unwrap();
        let (found, version) = read();
        assert_eq!(version, VERSION);
        // As it was written before: the same but for the version.
        let mut batch = Batch::default();
        found.write(&mut batch);
        let (key, cell) = batch.writes.pop().unwrap();
        let mut octets = cell.unwrap()[6..].to_vec();
        octets[0] = 1;
        cell::put(&mut batch, key[0], b"", &octets);
        kv.commit(batch).unwrap();
        assert_eq!(read(), (found.clone(), 1));
        let store = open();
        assert_eq!(read(), (found, VERSION), "before the first write");
        commit_group(&store, 2).unwrap();
        let entries = versions(&store.snapshot());
        drop(store);
        assert_eq!(versions(&open().snapshot()), entries);
    }

    #[test]
    fn tables_come_back() {
        let oids: Vec<String> = (0..500).map(|n| format!("1.2.826.0.1285.0.{n}")).collect();
        assert_eq!(decode_table(&encode_table(&oids)), Some(oids.clone()));
        assert_eq!(decode_table(&encode_table(&oids)[..900]), None);
    }
}
