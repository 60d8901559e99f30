//! Values that no two entries may have (`[integrity]`), asked of entries that are loaded in bulk.
//!
//! Kept for each such value is where its entry came from: a file and a line, or that it was there before.

use super::prepare::Origin;
use crate::directory::Uniqueness;
use crate::schema::NormalizedDn;
use crate::store::Snapshot;
use crate::store::segment::PreparedEntry;
use std::collections::{HashMap, HashSet};

/// What was claimed so far.
pub(super) struct Claims<'a> {
    rules: Uniqueness,
    before: &'a Snapshot,
    /// Of the entries of before only these stay; `None` is all.
    stays: Option<&'a HashSet<NormalizedDn>>,
    /// By value, where the first entry with it came from: the place, and the number of the file.
    claimed: HashMap<(usize, Vec<u8>), (Origin, u32)>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(rules: Uniqueness, before: &'a Snapshot, stays: Option<&'a HashSet<NormalizedDn>>) -> Claims<'a> {
        Claims {
            rules,
            before,
            stays,
            claimed: HashMap::new(),
        }
    }

    /// Claims the entry's values for it.
    ///
    /// # Errors
    /// What is wrong, where another entry has one of them; then it claims nothing.
    pub(super) fn claim(
        &mut self,
        entry: &PreparedEntry,
        (origin, file): (Origin, u32),
        names: &[String],
    ) -> Result<(), String> {
        let key = entry.key();
        let values = self.rules.values(key, entry.record(self.rules.types()));
        for value in &values {
            // An entry of the same name is another fault, and told as one.
            let other = self.claimed.get(value);
            let place = match other.filter(|(other, _)| other.key_hash != origin.key_hash) {
                Some((other, file)) => {
                    let name = names.get(*file as usize).map_or("", String::as_str);
                    format!("at {name}:{}", other.line)
                }
                None if self.is_held(key, value) => "in the directory".to_owned(),
                None => continue,
            };
            let dn = entry.record(self.rules.types()).dn().to_owned();
            let attribute = self.rules.attribute(value.0);
            return Err(format!(
                "{dn}: {attribute} is to be unique, and a value of it is {place} already"
            ));
        }
        for value in values {
            self.claimed.entry(value).or_insert((origin, file));
        }
        Ok(())
    }

    fn is_held(&self, key: &NormalizedDn, value: &(usize, Vec<u8>)) -> bool {
        let other = |holder: &NormalizedDn| holder != key && self.stays.is_none_or(|stays| stays.contains(holder));
        self.rules.is_held(self.before, value, other)
    }
}
