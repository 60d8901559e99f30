//! Which entries hold a value, from the indexes and the tail.

use super::{Location, Record, Snapshot};
use crate::index::Ordinal;
use crate::index::postings::PostingCursor;
use crate::schema::{AttributeId, Schema};

/// Values normalised by their type's equality rule.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    Value(&'a [u8]),
    /// Values that begin so: of names, those in the subtree that a key stands for.
    Prefix(&'a [u8]),
}

impl Held<'_> {
    fn admits(&self, normalized: &[u8]) -> bool {
        match self {
            Held::Value(value) => normalized == *value,
            Held::Prefix(prefix) => normalized.starts_with(prefix),
        }
    }
}

impl Snapshot {
    /// At most `limit` entries that hold such a value of one attribute type, with any options. A segment that has no index of the
    /// type is looked through.
    pub fn holders(&self, attribute: AttributeId, held: Held<'_>, limit: usize) -> Vec<Location> {
        self.all_holders(attribute, held, limit, true)
    }

    /// The same for whoever may ask as often as it likes: a segment that has no index of the type is passed over.
    pub fn indexed_holders(&self, attribute: AttributeId, value: &[u8], limit: usize) -> Vec<Location> {
        self.all_holders(attribute, Held::Value(value), limit, false)
    }

    fn all_holders(&self, attribute: AttributeId, held: Held<'_>, limit: usize, looks_through: bool) -> Vec<Location> {
        let schema: &Schema = self.schema();
        let mut found = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let mut take = |id| {
                if !layer.hidden.contains(id) && found.len() < limit {
                    let layer = number as u32;
                    found.push(Location::Layer { layer, id });
                }
                found.len() < limit
            };
            let Some(index) = layer.segment.index(attribute) else {
                if !looks_through {
                    continue;
                }
                let mut ids = (0..layer.segment.len()).map(crate::index::EntryId);
                let holds = |id: &crate::index::EntryId| holds(layer.segment.record(*id), schema, attribute, held);
                let _ = ids.by_ref().filter(holds).all(&mut take);
                continue;
            };
            let ordinals = match held {
                Held::Value(value) => index.dictionary.find(value).map_or(0..0, |at| at.0..at.0 + 1),
                Held::Prefix(prefix) => index.dictionary.prefix_range(prefix),
            };
            for ordinal in ordinals {
                let mut cursor = PostingCursor::new(index.postings.list(Ordinal(ordinal)));
                while let Some(id) = cursor.next(index.postings) {
                    if !take(id) {
                        break;
                    }
                }
            }
        }
        for index in 0..self.tail.len() as u32 {
            let at = Location::Tail { index };
            if found.len() < limit && holds(self.record(at), schema, attribute, held) {
                found.push(at);
            }
        }
        found
    }
}

fn holds(record: Record<'_>, schema: &Schema, attribute: AttributeId, held: Held<'_>) -> bool {
    let Some(rule) = schema.attribute(attribute).equality else {
        return false;
    };
    let mut normalized = Vec::new();
    let mut values = record
        .attributes()
        .filter(|held| held.id == attribute)
        .flat_map(|attribute| attribute.values());
    values.any(|value| {
        normalized.clear();
        rule.normalize(schema, value, &mut normalized).is_ok() && held.admits(&normalized)
    })
}
