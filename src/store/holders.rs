//! Which entries hold a value, from the indexes and the tail.

use super::record::derived_values;
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
        let mut found = Vec::new();
        self.each_holder(attribute, held, true, &mut |at| {
            if found.len() < limit {
                found.push(at);
            }
            found.len() < limit
        });
        found
    }

    /// Whether an entry that passes holds such a value; the same is looked through.
    pub fn has_holder(&self, attribute: AttributeId, held: Held<'_>, mut passes: impl FnMut(Location) -> bool) -> bool {
        let mut found = false;
        self.each_holder(attribute, held, true, &mut |at| {
            found = found || passes(at);
            !found
        });
        found
    }

    /// The same for whoever may ask as often as it likes: a segment that has no index of the type is passed over.
    pub fn indexed_holders(&self, attribute: AttributeId, value: &[u8], limit: usize) -> Vec<Location> {
        let mut found = Vec::new();
        self.each_holder(attribute, Held::Value(value), false, &mut |at| {
            if found.len() < limit {
                found.push(at);
            }
            found.len() < limit
        });
        found
    }

    /// `each` says whether to go on.
    fn each_holder(
        &self,
        attribute: AttributeId,
        held: Held<'_>,
        looks_through: bool,
        each: &mut dyn FnMut(Location) -> bool,
    ) {
        let schema: &Schema = self.schema();
        for (number, layer) in self.layers.iter().enumerate() {
            let mut take = |id| {
                let layer_number = number as u32;
                layer.hidden.contains(id)
                    || each(Location::Layer {
                        layer: layer_number,
                        id,
                    })
            };
            let Some(index) = layer.segment.index(attribute) else {
                if !looks_through {
                    continue;
                }
                let mut ids = (0..layer.segment.len()).map(crate::index::EntryId);
                let holds = |id: &crate::index::EntryId| holds(layer.segment.record(*id), schema, attribute, held);
                if !ids.by_ref().filter(holds).all(&mut take) {
                    return;
                }
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
                        return;
                    }
                }
            }
        }
        for index in 0..self.tail.len() as u32 {
            let at = Location::Tail { index };
            if holds(self.record(at), schema, attribute, held) && !each(at) {
                return;
            }
        }
    }
}

fn holds(record: Record<'_>, schema: &Schema, attribute: AttributeId, held: Held<'_>) -> bool {
    let Some(rule) = schema.attribute(attribute).equality else {
        return false;
    };
    let mut normalized = Vec::new();
    let mut admitted = |value: &[u8]| {
        normalized.clear();
        rule.normalize(schema, value, &mut normalized).is_ok() && held.admits(&normalized)
    };
    let mut derived = false;
    derived_values(record, schema, attribute, &mut |value| derived |= admitted(value));
    let mut values = record
        .attributes()
        .filter(|held| held.id == attribute)
        .flat_map(|attribute| attribute.values());
    derived || values.any(admitted)
}
