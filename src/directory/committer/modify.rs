//! A modify (RFC 4511 section 4.6) of the entry as the group has left it.

use super::{Author, Effects, Rules, Writer};
use crate::directory::following::{self, Lock, Planned};
use crate::directory::relax::{self, Given};
use crate::directory::wellformed::{check, first};
use crate::directory::{Modification, modify, password_state};
use crate::model::{Entry, Outcome, ResultCode};
use crate::schema::{AttributeId, NormalizedDn};
use crate::store::{Change, Snapshot, record};
use smallvec::SmallVec;

impl Writer {
    /// Checks a whole entry, with `userPassword` where the general directory has it; values of those types only that are new.
    pub(super) fn check(
        &self,
        key: &NormalizedDn,
        entry: &mut Entry,
        is_new: &dyn Fn(AttributeId) -> bool,
        rules: Rules<'_>,
        naming: ResultCode,
    ) -> Result<(), Outcome> {
        let schema = &self.context.schema;
        if !rules.planned.stand_in(&self.context, rules.following, key, entry) {
            return check(schema, entry, is_new, naming);
        }
        let checked = schema.check_entry(entry);
        following::take_stand_in(entry);
        first(&checked.err().unwrap_or_default(), naming, |_| true)
    }

    pub(super) fn modify(
        &self,
        snapshot: &Snapshot,
        author: &Author<'_>,
        key: &NormalizedDn,
        changes: Vec<Modification>,
        rules: Rules<'_>,
    ) -> Result<Effects, Outcome> {
        let at = author.find(snapshot, key)?;
        let record = snapshot.record(at);
        let before = record.operational();
        let planned = rules.planned;
        let (rest, mut locks) = following::take_locks(&self.context, rules.following, key, changes, planned);
        if rest.is_empty() && !locks.is_empty() && matches!(planned, Planned::Nothing) {
            return Ok(Effects {
                locks,
                entry_uuid: Some(before.entry_uuid),
                ..Effects::default()
            });
        }
        let schema = &self.context.schema;
        let changed: SmallVec<[Option<AttributeId>; 4]> = rest
            .iter()
            .map(|change| schema.find_attribute(&change.description.attribute_type))
            .collect();
        let mut entry = record.to_entry();
        relax::show(schema, record, &mut entry, rules.relaxed);
        let kept = password_state::asked(schema, rules.relaxed);
        if !kept.is_empty() {
            rules.following.check_kept(&self.context, key, planned)?;
            password_state::show(&self.context, key, &mut entry, &kept)?;
        }
        let held_to = modify::Rules {
            schema,
            permissive: rules.permissive,
            unseen: &|id| author.view.is_blind_to(record, id, schema),
            relaxed: rules.relaxed,
        };
        modify::modify(held_to, &mut entry, rest)?;
        let is_new = |id| changed.contains(&Some(id));
        self.check(key, &mut entry, &is_new, rules, ResultCode::NotAllowedOnRdn)?;
        let given = Given::of_modify(schema, &mut entry, rules.relaxed)?;
        let parts = password_state::take(schema, &mut entry, &kept)?;
        locks.extend(parts.into_iter().map(Lock::Kept));
        let operational = given.over(author.changed(&before));
        let record = record::encode_named(record.dn(), &entry, &operational, schema);
        let changes = vec![Change::Put {
            key: key.clone(),
            record,
        }];
        Ok(Effects {
            changes,
            locks,
            entry_uuid: Some(before.entry_uuid),
            ..Effects::default()
        })
    }
}
