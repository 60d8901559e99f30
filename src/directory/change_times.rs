//! The time that each change says in entryCSN: the clock's, but later than that of every change before it, so that who has seen
//! one knows what is newer, even where the clock was put back.

use std::cell::Cell;

/// Belongs to the one writer.
pub(super) struct ChangeTimes {
    last: Cell<u64>,
}

impl ChangeTimes {
    /// Later than this.
    pub(super) fn after(last: u64) -> ChangeTimes {
        ChangeTimes { last: Cell::new(last) }
    }

    /// The time of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last.get()
    }

    /// The time of the next change. Both in microseconds since 1970.
    pub(super) fn next(&self, now: u64) -> u64 {
        let next = now.max(self.last.get().saturating_add(1));
        self.last.set(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attribute, Dn, Entry};
    use crate::schema::Schema;
    use crate::store::{Operational, Segment, Snapshot, Wanted, record};

    /// A clock that stands still, or was put back behind what the directory holds, still gives every change a later time.
    #[test]
    fn every_change_has_a_later_time() {
        let schema = std::sync::Arc::new(Schema::builtin().unwrap());
        let mut entry = Entry::new(Dn::parse("cn=a").unwrap());
        entry.attributes.push(Attribute::new("cn", vec![b"a".to_vec()]));
        let operational = Operational {
            modified: 5,
            changed: 7_000_003,
            ..Operational::default()
        };
        let octets = record::encode(&entry, &operational, &schema);
        let key = schema.normalize_dn(&entry.dn).unwrap();
        // With an index of the times, and where there is none yet.
        for wanted in [Wanted::everything(), Wanted::nothing(&schema)] {
            let mut snapshot = Snapshot::empty(std::sync::Arc::clone(&schema));
            let segment = Segment::build(&[(key.clone(), octets.as_slice().into())], &schema, &wanted.into());
            snapshot.layers.push(crate::store::Layer::new(segment.into()));
            let times = ChangeTimes::after(snapshot.last_change());
            assert_eq!(
                [6_999_999, 6_999_999, 8_000_000, 8_000_000].map(|now| times.next(now)),
                [7_000_004, 7_000_005, 8_000_000, 8_000_001]
            );
        }
    }
}
