//! Names followed from entry to entry (`1.2.840.113556.1.4.1941`): who is in a group by way of other groups, and which entries
//! lead to a name.
//!
//! Invariants: each name is followed once, so a cycle ends; no chain leads through an entry that the view may not see, or
//! through an attribute that is hidden in it; what is followed is bounded by the view's `followed_names`, and what is looked at on
//! the way by [`LooksLeft`].

use super::{Groups, LooksLeft, TooManyNames};
use crate::schema::{AttributeId, NormalizedDn};
use std::collections::HashSet;

impl Groups<'_> {
    /// The names of a group's members, of the members of those that are groups, and so on, ascending.
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn members_in_chain(&self, group: &NormalizedDn, looks: &LooksLeft) -> Result<Vec<NormalizedDn>, TooManyNames> {
        let limit = self.view.quotas.followed_names;
        let too_many = TooManyNames { limit };
        let mut found = HashSet::new();
        let mut waiting = vec![group.clone()];
        while let Some(group) = waiting.pop() {
            let members = self.members(&group, limit).ok_or(too_many)?;
            looks.take(members.len() + 1)?;
            for member in members {
                if found.contains(&member) {
                    continue;
                }
                if limit != 0 && found.len() == limit as usize {
                    return Err(too_many);
                }
                found.insert(member.clone());
                waiting.push(member);
            }
        }
        let mut found: Vec<NormalizedDn> = found.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The names of the entries that have this name as a value of one of these types, or the name of such an entry, and so on,
    /// ascending.
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn leading_to(
        &self,
        name: &str,
        types: &[AttributeId],
        looks: &LooksLeft,
    ) -> Result<Vec<NormalizedDn>, TooManyNames> {
        let limit = self.view.quotas.followed_names;
        let tail = self.gather(types);
        let mut found = HashSet::new();
        let mut waiting = vec![name.to_owned()];
        while let Some(name) = waiting.pop() {
            for id in types {
                let holders = self.holders(*id, &name, &tail);
                looks.take(holders.len() + 1)?;
                for at in holders {
                    if !found.insert(self.snapshot.key(at)) {
                        continue;
                    }
                    if limit != 0 && found.len() > limit as usize {
                        return Err(TooManyNames { limit });
                    }
                    waiting.push(self.snapshot.record(at).dn().to_owned());
                }
            }
        }
        let mut found: Vec<NormalizedDn> = found.into_iter().collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The names that are values of member or uniqueMember anywhere, ascending, whether or not the view sees them there: a
    /// superset of all members. `None` where there are more than `limit`, unless that is 0.
    pub fn named_as_members(&self, limit: u32) -> Option<Vec<NormalizedDn>> {
        let types = self.types(&self.view.searchable);
        let gathered = self.gather(&types);
        let indexes = self
            .snapshot
            .layers
            .iter()
            .flat_map(|layer| types.iter().map(|id| layer.segment.index(*id)));
        let dictionaries: Vec<_> = indexes.flatten().map(|index| index.dictionary).collect();
        let values = dictionaries
            .iter()
            .map(|dictionary| u64::from(dictionary.len()))
            .sum::<u64>();
        if limit != 0 && values + gathered.len() as u64 > u64::from(limit) {
            return None;
        }
        let mut names: Vec<NormalizedDn> = gathered
            .into_keys()
            .filter_map(|(_, value)| whole_name(&value))
            .collect();
        for dictionary in dictionaries {
            dictionary.scan(0..dictionary.len(), |_, value| {
                names.extend(whole_name(value));
                true
            });
        }
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

/// A name in a normalised value. That of a uniqueMember may have a bit string behind it, which makes it nobody's.
fn whole_name(value: &[u8]) -> Option<NormalizedDn> {
    value.ends_with(&[0]).then(|| NormalizedDn(value.to_vec()))
}
