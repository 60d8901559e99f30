//! What an exact branch asks of an id, so that other terms' candidates are tested without their records.

use super::choose::{Chooser, PROBED_LISTS};
use super::{Access, Branch, ListAt, Ordinals, Probe, ProbeTest, Values};
use crate::index::column::OrdinalSet;
use smallvec::{SmallVec, smallvec};

/// Values that are tested while planning, so that a column can be asked for those that pass. Each costs less than a tenth of
/// what evaluating the item on a record does.
const TESTED_VALUES: u64 = 512;

impl Chooser<'_> {
    /// The probes that say the same as an exact branch; `None` where there are none.
    pub(super) fn as_probes(&self, branch: Branch) -> Option<SmallVec<[Probe; 2]>> {
        match branch.access {
            Access::Entries if branch.exact => Some(branch.probes),
            _ => {
                let test = self.test_of(branch)?;
                Some(smallvec![Probe { test, negated: false }])
            }
        }
    }

    /// The one test that says the same as an exact branch of few lists, or of values that a column knows.
    pub(super) fn test_of(&self, branch: Branch) -> Option<ProbeTest> {
        if !branch.exact || !branch.probes.is_empty() {
            return None;
        }
        match branch.access {
            Access::Lists(lists) => match self.column_of(&lists) {
                Some(test) => Some(test),
                None => (lists.len() <= PROBED_LISTS).then_some(ProbeTest::Lists(lists)),
            },
            Access::Values(values) => self.column_of_values(&values),
            _ => None,
        }
    }

    /// A column answers with one octet or two what a long list is searched for. A bitmap answers as fast, but only one value.
    fn column_of(&self, lists: &[ListAt]) -> Option<ProbeTest> {
        let first = lists.first()?;
        let same = |list: &ListAt| list.attribute == first.attribute && !list.presence;
        if !lists.iter().all(same) || (lists.len() == 1 && first.list.is_cheap_to_probe()) {
            return None;
        }
        self.segment.column(first.attribute)?;
        let mut ordinals: Vec<u32> = lists.iter().map(|list| list.ordinal.0).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        Some(ProbeTest::Column {
            item: first.item.clone(),
            attribute: first.attribute,
            ordinals: set_of(ordinals),
        })
    }

    fn column_of_values(&self, values: &Values) -> Option<ProbeTest> {
        let index = self.segment.index(values.attribute)?;
        self.segment.column(values.attribute)?;
        let test = &values.item.test;
        let ordinals = match &values.ordinals {
            Ordinals::Range(range) if !values.verify => OrdinalSet::Range(range.clone()),
            Ordinals::Range(range) if range.len() as u64 <= TESTED_VALUES => {
                let mut passed = Vec::new();
                index.dictionary.scan(range.clone(), |ordinal, value| {
                    if test.admits(value) {
                        passed.push(ordinal.0);
                    }
                    true
                });
                set_of(passed)
            }
            Ordinals::Grams { cursor, estimate, .. } if *estimate <= TESTED_VALUES => {
                let (substrings, mut cursor) = (index.substrings?, cursor.clone());
                let (mut passed, mut value) = (Vec::new(), Vec::new());
                while let Some(ordinal) = cursor.next(substrings) {
                    index.dictionary.value(ordinal, &mut value);
                    if !values.verify || test.admits(&value) {
                        passed.push(ordinal.0);
                    }
                }
                set_of(passed)
            }
            _ => return None,
        };
        Some(ProbeTest::Column {
            item: values.item.clone(),
            attribute: values.attribute,
            ordinals,
        })
    }
}

/// Ordinals, which ascend, as a range where they are one.
fn set_of(ordinals: Vec<u32>) -> OrdinalSet {
    match (ordinals.first(), ordinals.last()) {
        (Some(first), Some(last)) if (last - first) as usize + 1 == ordinals.len() => {
            OrdinalSet::Range(*first..*last + 1)
        }
        _ => OrdinalSet::Some(ordinals.into()),
    }
}
