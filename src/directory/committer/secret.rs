//! A new secret that comes by Password Modify (RFC 3062).

use super::super::following::{self, Following};
use super::super::secret::{PlannedSecrets, SecretPlan};
use super::super::{clock, update::Update};
use super::{SecretAsked, Target, UpdateRequest, Who, Writer, is_account_key};
use crate::account::{KEY_OCTETS_MAX, SecretStep};
use crate::model::{Dn, Outcome, ResultCode};
use crate::store::WriteGroup;

impl Writer {
    /// Password Modify: a new secret for an account or an entry.
    pub(super) fn set_secret(&self, group: &mut WriteGroup<'_>, asked: SecretAsked) -> Result<(), Outcome> {
        let SecretAsked {
            key,
            actor,
            view,
            connection,
            prepared,
            ruled,
        } = asked;
        let who = Who {
            dn: &actor,
            view: &view,
            connection,
        };
        if key.0.len() > KEY_OCTETS_MAX {
            return Err(following::too_long_a_name());
        }
        let is_account = is_account_key(&key, &self.context.suffixes);
        let target = Target::of(group.snapshot(), &key);
        let is_there = who.reaches(group.snapshot(), target);
        let secrets = match is_account {
            true => PlannedSecrets::Account(prepared),
            false => PlannedSecrets::General(vec![SecretStep::Clear, SecretStep::Add(prepared)]),
        };
        let plan = SecretPlan { secrets, ruled };
        // The manager has a secret whether there is an entry for it, and whatever that can hold.
        let is_manager = self.context.general.is_manager(&key);
        if is_there && !is_account && !is_manager {
            let update = UpdateRequest::from(Update::Modify {
                dn: Dn::root(),
                changes: Vec::new(),
            });
            let following = &mut Following::AtOnce;
            let effects = self.effects(group.snapshot(), &who, target, update, Some(plan), following)?;
            self.take_in(group, target, effects, following);
            return Ok(());
        }
        if !is_there && !is_manager {
            return Err(Outcome::new(ResultCode::NoSuchObject, ""));
        }
        let now = clock::seconds();
        let keep = following::kept_until(group.snapshot(), &key, now);
        let planned = Following::AtOnce.plan(&self.context, &key, Some(plan), false)?;
        group.apply(Vec::new(), planned.put(&self.context, &key, keep, now, connection));
        Ok(())
    }
}
