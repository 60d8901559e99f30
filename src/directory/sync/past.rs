//! What may be told of the time since a cookie: nothing of what is hidden by now.

use super::super::Directory;
use super::super::feed::{EntryChange, Image, Position};
use crate::access::View;
use std::collections::HashSet;

impl Directory {
    /// Whether an update hid from the view what it could see before. A cookie proves nothing of who had it, so what the feed has
    /// of such an entry's past is told to nobody any more.
    pub(super) fn hid_since(&self, view: &View, since: Position, until: Position) -> bool {
        let updates = self.feed.between(since, until);
        let schema = &self.schema();
        let uuid = |image: &Image| image.record(schema.type_numbers()).operational().entry_uuid;
        let mut gone_names = HashSet::new();
        let mut gone_uuids = HashSet::new();
        let mut changes = updates.iter().flat_map(|update| &update.changes);
        changes.any(|change| match (&change.before, &change.after) {
            (Some(before), None) => {
                gone_names.insert(&before.key);
                gone_uuids.insert(uuid(before));
                false
            }
            // It was there before, or another of its name was.
            (None, Some(after)) if gone_names.contains(&after.key) || gone_uuids.contains(&uuid(after)) => {
                let record = after.record(schema.type_numbers());
                let mut hidden = view.hiding.attributes().iter().map(|(id, _)| *id);
                !self.sees(view, after) || hidden.any(|id| view.hides_attribute(record, id, schema))
            }
            _ => self.hid(view, change),
        })
    }

    fn hid(&self, view: &View, change: &EntryChange) -> bool {
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            return false;
        };
        let schema = &self.schema();
        let [old, new] = [before, after].map(|image| image.record(schema.type_numbers()));
        if !self.sees(view, after) {
            return self.sees(view, before);
        }
        let mut hidden = view.hiding.attributes().iter().map(|(id, _)| *id);
        hidden.any(|id| view.hides_attribute(new, id, schema) && !view.hides_attribute(old, id, schema))
    }
}
