//! A modify (RFC 4511 section 4.6) of the entry as the group has left it.

use super::{Author, Effects, Rules, Target, Writer};
use crate::directory::following::{self, Lock, Planned};
use crate::directory::relax::{self, Given};
use crate::directory::wellformed::{checked, first};
use crate::directory::{Modification, modify, password_state};
use crate::model::{Outcome, ResultCode};
use crate::schema::{AttributeId, NormalizedDn};
use crate::store::record::{self, Revision};
use crate::store::{Change, Snapshot};
use smallvec::SmallVec;

impl Writer {
    /// Checks a whole entry, with `userPassword` where the general directory has it; values of those types only that are new.
    pub(super) fn check(
        &self,
        key: &NormalizedDn,
        revision: &mut Revision<'_>,
        is_new: &dyn Fn(AttributeId) -> bool,
        rules: Rules<'_>,
        naming: ResultCode,
    ) -> Result<(), Outcome> {
        let schema = &self.context.schema;
        let stands_in = rules
            .planned
            .stand_in(&self.context, rules.following, key, &mut revision.entry);
        let found = schema.check_changed(revision.entry.dn.rdn(), revision.written(), is_new);
        if !stands_in {
            return checked(found, naming);
        }
        following::take_stand_in(&mut revision.entry);
        first(&found.err().unwrap_or_default(), naming, |_| true)
    }

    pub(super) fn modify(
        &self,
        snapshot: &Snapshot,
        author: &Author<'_>,
        target: Target<'_>,
        changes: Vec<Modification>,
        rules: Rules<'_>,
    ) -> Result<Effects, Outcome> {
        let key = target.key;
        let at = target.at.map_or_else(|| author.find(snapshot, key), Ok)?;
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
        let mut changed: SmallVec<[Option<AttributeId>; 4]> = rest
            .iter()
            .map(|change| schema.find_attribute(&change.description.attribute_type))
            .collect();
        // One request may have hundreds of thousands of modifications, and each attribute of the entry is looked for among their types.
        changed.sort_unstable();
        changed.dedup();
        let mut revision = match rules.relaxed {
            [] => Revision::of(record, schema, &|id| changed.contains(&Some(id))),
            // What is opened besides is among the others for a while.
            _ => Revision::given(record.to_entry()),
        };
        relax::show(schema, record, &mut revision.entry, rules.relaxed);
        let kept = password_state::asked(schema, rules.relaxed);
        if !kept.is_empty() {
            rules.following.check_kept(&self.context, key, planned)?;
            password_state::show(&self.context, key, &mut revision.entry, &kept)?;
        }
        let held_to = modify::Rules {
            schema,
            permissive: rules.permissive,
            unseen: &|id| author.view.is_blind_to(record, id, schema),
            relaxed: rules.relaxed,
        };
        modify::modify(held_to, &mut revision, rest)?;
        let is_new = |id| changed.contains(&Some(id));
        self.check(key, &mut revision, &is_new, rules, ResultCode::NotAllowedOnRdn)?;
        let given = Given::of_modify(schema, &mut revision.entry, rules.relaxed)?;
        let parts = password_state::take(schema, &mut revision.entry, &kept)?;
        locks.extend(parts.into_iter().map(Lock::Kept));
        let operational = given.over(author.changed(&before));
        let record = record::encode_parts(record.dn(), revision.parts(), &operational, schema);
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
