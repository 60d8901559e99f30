//! Secrets on their way in: `userPassword` of an update, and Password Modify (RFC 3062). A secret never becomes part of an entry.

use super::committer::{Job, SecretAsked};
use super::conditions::UpdateRequest;
use super::named::Named;
use super::password_policy;
use super::trail::AuditPool;
use super::update::{Modification, ModificationKind, Update};
use super::{Directory, Session, clock};
use crate::access::View;
use crate::account::{
    Accounts, ChangeAsked, Identity, PasswordPolicy, PreparedSecret, Role, Secret, SecretFault, SecretRules, SecretStep,
};
use crate::audit::Act;
use crate::model::{AttributeDescription, Outcome, PasswordFault, ResultCode, Value};
use crate::schema::NormalizedDn;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What an update does to the secrets of its entry.
#[derive(Clone, Debug)]
pub(super) struct SecretPlan {
    pub secrets: PlannedSecrets,
    /// What is asked again when it is done, where a password policy rules.
    pub ruled: Option<ChangeAsked>,
}

#[derive(Clone, Debug)]
pub(super) enum PlannedSecrets {
    /// The secret of an application account: there is one.
    Account(PreparedSecret),
    /// An entry of the general directory may have several.
    General(Vec<SecretStep>),
}

/// Values of `userPassword` that one request may name for each that an entry may have.
const STEPS_A_SECRET: usize = 4;

/// What came of `userPassword` in an update, in its order.
type Asked = Vec<(ModificationKind, Vec<Value>)>;

/// Who changes whose secrets, and what rules them.
struct Change<'a> {
    session: &'a Session,
    key: &'a NormalizedDn,
    /// The session changes nothing but its own, for which it needs no other right.
    own: bool,
    policy: Option<PasswordPolicy>,
}

impl Change<'_> {
    fn is_administrators(&self) -> bool {
        self.session.identity.account.facts.role == Role::Administrator
    }

    /// Whether it is about an entry that the session does not see.
    fn is_of_hidden(&self, directory: &Directory) -> bool {
        !self.own && directory.is_hidden(&self.session.view, self.key)
    }

    /// The policy that who asks is held to.
    fn held_to(&self) -> Option<&PasswordPolicy> {
        self.policy.as_ref().filter(|_| !self.is_administrators())
    }

    fn asked(&self, gives: bool, old_came: bool) -> Option<ChangeAsked> {
        self.policy.as_ref().map(|_| ChangeAsked {
            own: self.session.identity.account.facts.key == *self.key,
            administrator: self.is_administrators(),
            gives,
            old_came,
            again: false,
        })
    }
}

/// Values that a request has added so far, in clear and as they will be stored: later changes in it find them.
#[derive(Default)]
struct Added(Vec<(Secret, PreparedSecret)>);

impl Added {
    fn find(&self, value: &[u8]) -> Option<PreparedSecret> {
        let clear = clear_text(value);
        let found = self.0.iter().find(|(added, _)| added.expose() == clear);
        found.map(|(_, prepared)| prepared.clone())
    }
}

impl Directory {
    /// Takes `userPassword` out of an update and prepares it. `own` says that the session changes nothing but its own.
    pub(super) async fn plan_secrets(
        &self,
        session: &Session,
        key: &NormalizedDn,
        update: &mut Update,
        own: bool,
    ) -> Result<Option<SecretPlan>, Outcome> {
        let asked = take_secrets(update);
        if asked.is_empty() {
            return Ok(None);
        }
        if !own && !self.may_set_secret(session, key) {
            let message = "the account's release profile does not allow setting the secret of this entry";
            return Err(insufficient(message).telling(PasswordFault::PasswordModNotAllowed));
        }
        let change = Change {
            session,
            key,
            own,
            policy: self
                .policy_for(key, Some(update))
                .filter(|_| own || !self.is_hidden(&session.view, key)),
        };
        let old = old_secret(&asked);
        let ruled = change.asked(asked.iter().any(gives), old.is_some());
        if let (Some(policy), Some(asked)) = (&change.policy, &ruled) {
            self.check_change(key, policy, asked)?;
        }
        if self.is_account(key) {
            if let Some(old) = old.filter(|_| change.held_to().is_some_and(|policy| policy.safe_modify)) {
                self.check_removed(&change, old).await?;
            }
            let octets = the_one_secret(asked)?;
            let prepared = self.prepare_for_account(&change, octets).await?;
            let secrets = PlannedSecrets::Account(prepared);
            return Ok(Some(SecretPlan { secrets, ruled }));
        }
        if !self.general.enabled {
            let message = "userPassword is kept only for application accounts directly below ou=Applications, \
                           unless general.enabled is set";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let adds_entry = matches!(update, Update::Add(_));
        let secrets = PlannedSecrets::General(self.steps(&change, asked, adds_entry).await?);
        Ok(Some(SecretPlan { secrets, ruled }))
    }

    /// Whether a session may set a secret that is not its own.
    pub(super) fn may_set_secret(&self, session: &Session, key: &NormalizedDn) -> bool {
        let quotas = &session.view.quotas;
        session.identity.account.facts.role == Role::Administrator
            || (quotas.may_set_secrets && session.view.covers(key) && !self.is_guarded(key, &self.dn_of(key)))
    }

    /// The name of an entry that is there; what is not has no secret to set but by its own add, which is looked at by name.
    fn dn_of(&self, key: &NormalizedDn) -> String {
        let snapshot = self.store.snapshot();
        let at = snapshot.find(key);
        at.map(|at| snapshot.record(at).dn().to_owned()).unwrap_or_default()
    }

    /// Whether a session changes nothing but its own secret where it needs no other right for it.
    pub(super) fn is_own_secret(&self, session: &Session, key: &NormalizedDn, update: &Update) -> bool {
        session.identity.account.facts.general && changes_own_secret(session, key, update)
    }

    /// A session whose secret has to be changed first does nothing else, nor reads or tests anything beside it.
    pub(super) fn check_changes_secret_first(
        &self,
        session: &Session,
        key: &NormalizedDn,
        request: &UpdateRequest,
    ) -> Result<(), Outcome> {
        let alone = request.assertion.is_none() && request.pre_read.is_none() && request.post_read.is_none();
        match session.identity.secret.must_change {
            true if !(alone && changes_own_secret(session, key, &request.update)) => Err(change_first()),
            _ => Ok(()),
        }
    }

    /// A secret that the session chose for an entry. What has to be changed is not changed to itself.
    async fn chosen(&self, change: &Change<'_>, secret: Secret) -> Result<PreparedSecret, Outcome> {
        let (identity, key) = (&change.session.identity, change.key);
        let rules = self.secret_rules(change);
        Accounts::check_chosen(&secret, rules)?;
        if change.held_to().is_some_and(PasswordPolicy::asks_for_module) {
            let message = "the password policy has new secrets looked at by a module (pwdCheckModule), and this server loads none";
            return Err(poor(message));
        }
        if identity.secret.must_change && identity.account.facts.key == *key {
            let again = Secret::new(secret.expose().to_vec());
            if !self
                .accounts
                .which_secrets(key, again, clock::seconds())
                .await?
                .is_empty()
            {
                let message = "the new secret is the one that has to be changed";
                let outcome = Outcome::new(ResultCode::ConstraintViolation, message);
                return Err(outcome.telling(PasswordFault::PasswordInHistory));
            }
        }
        if let Some(policy) = change.held_to().filter(|policy| policy.in_history > 0) {
            let again = Secret::new(secret.expose().to_vec());
            if self.accounts.was_used(key, again, policy).await? {
                return Err(password_policy::refusal(PasswordFault::PasswordInHistory));
            }
        }
        self.accounts.prepare_chosen(secret, rules).await
    }

    /// What came, step by step. `adds_entry` says that the entry is not there yet: whoever has a secret all the same is the
    /// manager, who may bring it again.
    async fn steps(&self, change: &Change<'_>, asked: Asked, adds_entry: bool) -> Result<Vec<SecretStep>, Outcome> {
        let (key, own) = (change.key, change.own);
        // Each costs a run of argon2, whoever asks and whatever comes of it.
        let most = self.general.secrets;
        if asked.iter().map(|(_, values)| values.len()).sum::<usize>() > most.saturating_mul(STEPS_A_SECRET) {
            return Err(refused(SecretFault::TooMany { most }));
        }
        let hidden = change.is_of_hidden(self);
        let mut steps = Vec::new();
        let mut old_came = false;
        let mut added = Added::default();
        for (kind, values) in asked {
            match kind {
                ModificationKind::Delete if values.is_empty() => steps.push(SecretStep::RemoveAll),
                ModificationKind::Delete => {
                    for value in values {
                        // What the request added itself is not the secret before.
                        if let Some(again) = added.find(&value) {
                            steps.push(SecretStep::Remove(again));
                            continue;
                        }
                        // Who brings a hash has not shown that it knows the secret.
                        old_came |= !is_hash(clear_text(&value));
                        let removed = self.the_secrets(change, value).await?;
                        steps.extend(removed.into_iter().map(SecretStep::Remove));
                    }
                }
                ModificationKind::Add | ModificationKind::Replace => {
                    if kind == ModificationKind::Replace {
                        steps.push(SecretStep::Clear);
                    }
                    if kind == ModificationKind::Add && values.is_empty() {
                        let message = "add of userPassword has no values";
                        return Err(Outcome::new(ResultCode::ProtocolError, message));
                    }
                    let cleared = |step: &SecretStep| matches!(step, SecretStep::Clear | SecretStep::RemoveAll);
                    let asks = !own && !hidden && !steps.iter().any(cleared);
                    for value in values {
                        let clear = Secret::new(clear_text(&value).to_vec());
                        let prepared = match (added.find(&value), asks) {
                            (Some(again), _) => again,
                            (None, true) => match self.added_before(key, &value).await? {
                                Some(_) if adds_entry => continue,
                                Some(again) => again,
                                None => self.prepare_general(change, value).await?,
                            },
                            (None, false) => self.prepare_general(change, value).await?,
                        };
                        added.0.push((clear, prepared.clone()));
                        steps.push(SecretStep::Add(prepared));
                    }
                }
                ModificationKind::Increment => {
                    let message = "userPassword does not hold integers";
                    return Err(Outcome::new(ResultCode::ConstraintViolation, message));
                }
            }
        }
        if own && self.general.old_secret_needed && !old_came && !change.is_administrators() {
            return Err(old_secret_needed());
        }
        Ok(steps)
    }

    /// A value to add, as it is stored where it is in force already. Who adds to its own is not told: nothing throttles the guesses.
    async fn added_before(&self, key: &NormalizedDn, value: &[u8]) -> Result<Option<PreparedSecret>, Outcome> {
        let clear = clear_text(value);
        if is_hash(clear) || !self.accounts.has_secret(key) {
            return Ok(None);
        }
        let found = self
            .accounts
            .which_secrets(key, Secret::new(clear.to_vec()), clock::seconds());
        Ok(found.await?.into_iter().next())
    }

    /// Whether an entry is there that a view hides: what its secrets are is not to be found out by who may set those of others.
    pub(super) fn is_hidden(&self, view: &View, key: &NormalizedDn) -> bool {
        let snapshot = self.store.snapshot();
        let at = snapshot.find(key);
        at.is_some_and(|at| view.hides(snapshot.record(at), snapshot.schema()))
    }

    /// The secrets in force that a value to delete is, in clear or as it is stored: the same one may be there twice, hashed apart.
    async fn the_secrets(&self, change: &Change<'_>, value: Value) -> Result<Vec<PreparedSecret>, Outcome> {
        let key = change.key;
        let clear = clear_text(&value);
        if is_hash(clear) {
            let stored = Accounts::take_over(clear, true).map_err(|_| no_such_secret())?;
            return Ok(vec![stored]);
        }
        let secret = Secret::new(clear.to_vec());
        if change.own {
            // Throttled like a bind.
            let again = Secret::new(clear.to_vec());
            self.check_removed(change, again).await?;
        }
        let found = self.accounts.which_secrets(key, secret, clock::seconds()).await?;
        match found.is_empty() || change.is_of_hidden(self) {
            true => Err(no_such_secret()),
            false => Ok(found),
        }
    }

    /// A `userPassword` value for an application account: a hash taken over as it is, or a chosen secret.
    async fn prepare_for_account(&self, change: &Change<'_>, octets: Value) -> Result<PreparedSecret, Outcome> {
        if is_hash(&octets) {
            check_may_be_hash(change)?;
            return Accounts::take_over(&octets, false).map_err(poor);
        }
        self.chosen(change, Secret::new(octets)).await
    }

    /// A `userPassword` value for an entry: a hash taken over as it is, or a clear one. Whoever is held to rules brings no hash,
    /// because nobody can say what is in it.
    async fn prepare_general(&self, change: &Change<'_>, mut octets: Value) -> Result<PreparedSecret, Outcome> {
        if let Some(clear) = strip_clear_text(&octets) {
            octets = clear.to_vec();
        } else if is_hash(&octets) {
            if change.own && self.secret_rules(change).varied {
                let message = "expected a secret in clear: a hash cannot be held to the rules for secrets";
                return Err(poor(message));
            }
            check_may_be_hash(change)?;
            return Accounts::take_over(&octets, true).map_err(poor);
        }
        self.chosen(change, Secret::new(octets)).await
    }

    /// What a chosen secret of this entry must be: where a policy looks at lengths they take the place of those of the
    /// configuration. Those of applications stay.
    fn secret_rules(&self, change: &Change<'_>) -> SecretRules<'static> {
        let is_account = self.is_account(change.key);
        let rules = match (self.secret_rules && !self.accounts.is_lenient(change.key), is_account) {
            (false, _) => SecretRules::UNCHECKED,
            (true, true) => SecretRules::APPLICATION,
            (true, false) => SecretRules {
                least: self.general.secret_characters,
                varied: true,
                ..SecretRules::UNCHECKED
            },
        };
        let Some((least, most)) = change.policy.as_ref().and_then(PasswordPolicy::lengths) else {
            return rules;
        };
        let (least, most) = match change.is_administrators() {
            true => (0, usize::MAX),
            false => (least, most),
        };
        let least = if is_account { least.max(rules.least) } else { least };
        SecretRules { least, most, ..rules }
    }

    /// RFC 3062. `target` is a DN or an account name, `None` the session's own account; `new` `None` asks for a generated
    /// secret, which is given back once. Where the account's `nhsdirOldSecretUntil` lies ahead the secret of before
    /// stays valid until then.
    ///
    /// # Errors
    /// insufficientAccessRights for another's secret without the right to set it, unwillingToPerform for a wrong old
    /// secret, as slapd has it, noSuchObject, constraintViolation for a chosen secret that is too weak.
    pub async fn change_secret(
        self: &Arc<Self>,
        session: &Session,
        target: Option<&str>,
        old: Option<Secret>,
        new: Option<Secret>,
    ) -> Result<Option<Secret>, Outcome> {
        let started = Instant::now();
        let answer = self.changed_secret(session, target, old, new).await;
        let mut audit = AuditPool::take();
        audit.begin(Act::Secret, &session.actor, clock::milliseconds());
        audit.fact("dn", target.unwrap_or(&session.identity.account.facts.dn).as_bytes());
        let outcome = answer.as_ref().map_or_else(Outcome::clone, |_| Outcome::success());
        audit.finish(&outcome, started.elapsed());
        self.audit.append(&audit);
        AuditPool::give_back(audit);
        answer
    }

    async fn changed_secret(
        self: &Arc<Self>,
        session: &Session,
        target: Option<&str>,
        old: Option<Secret>,
        new: Option<Secret>,
    ) -> Result<Option<Secret>, Outcome> {
        let own = &session.identity.account.facts;
        let key = match target {
            Some(name) => self.key_of_named(Named::parse(name)),
            None => Some(own.key.clone()),
        };
        let administrator = own.role == Role::Administrator;
        let key = match key {
            Some(key) if key == own.key || self.may_set_secret(session, &key) => key,
            None if administrator => return Err(Outcome::new(ResultCode::NoSuchObject, "")),
            _ => {
                let message = "the secret of another entry is for administrators to change";
                return Err(insufficient(message).telling(PasswordFault::PasswordModNotAllowed));
            }
        };
        if !self.is_account(&key) && !self.general.is_manager(&key) && !self.general.enabled {
            return Err(Outcome::new(ResultCode::NoSuchObject, ""));
        }
        let another = key != own.key;
        if another && session.identity.secret.must_change {
            return Err(change_first());
        }
        let change = Change {
            session,
            key: &key,
            own: !another,
            policy: self
                .policy_for(&key, None)
                .filter(|_| !another || !self.is_hidden(&session.view, &key)),
        };
        let ruled = change.asked(true, old.is_some());
        let old_came = old.is_some();
        let may_leave_out = administrator || another;
        if old_came {
            self.check_old_secret(session, &key, old, may_leave_out).await?;
        }
        if let (Some(policy), Some(asked)) = (&change.policy, &ruled) {
            self.check_change(&key, policy, asked)?;
        }
        if !old_came {
            self.check_old_secret(session, &key, None, may_leave_out).await?;
        }
        let (generated, prepared) = match new {
            Some(secret) => (None, self.chosen(&change, secret).await?),
            None => self
                .accounts
                .prepare_generated()
                .await
                .map(|(secret, prepared)| (Some(secret), prepared))?,
        };
        let (reply, answer) = oneshot::channel();
        let (actor, connection) = (own.dn.clone(), if another { 0 } else { session.source.connection });
        let asked = Box::new(SecretAsked {
            key,
            actor,
            view: session.view.clone(),
            connection,
            prepared,
            ruled,
        });
        self.committer.submit(Job::Secret { asked, reply })?;
        let outcome = answer
            .await
            .map_err(|_| Outcome::new(ResultCode::Unavailable, "the server is stopping"))?;
        if outcome.is_success() {
            Ok(generated)
        } else {
            Err(outcome)
        }
    }

    /// A secret that a modify takes away to set another is the one before. As slapd, it is told so; Password Modify is not.
    async fn check_removed(&self, change: &Change<'_>, old: Secret) -> Result<(), Outcome> {
        let checked = self.check_old_secret(change.session, change.key, Some(old), false);
        checked.await.map_err(|outcome| match outcome.code {
            ResultCode::UnwillingToPerform => outcome.telling(PasswordFault::MustSupplyOldPassword),
            _ => outcome,
        })
    }

    async fn check_old_secret(
        &self,
        session: &Session,
        key: &NormalizedDn,
        old: Option<Secret>,
        may_leave_out: bool,
    ) -> Result<(), Outcome> {
        match old {
            Some(old) => {
                self.load_general(key);
                let name = self
                    .accounts
                    .find(key)
                    .map(|account| account.facts.dn.clone())
                    .unwrap_or_default();
                let now = clock::seconds();
                let proven = self.accounts.prove(&name, key, old, &session.source, now).await;
                proven.map_err(|refusal| match refusal.outcome.code {
                    ResultCode::InvalidCredentials => Outcome::new(
                        ResultCode::UnwillingToPerform,
                        "unwilling to change a secret without the right one before",
                    ),
                    _ => refusal.outcome,
                })
            }
            None if may_leave_out => Ok(()),
            None if session.identity.account.facts.general && !self.general.old_secret_needed => Ok(()),
            None => Err(old_secret_needed()),
        }
    }

    /// What a session is answered that has to change its secret first (draft-behera-ldap-password-policy section 8.3). Front ends
    /// ask before anything but a change of the secret and what is known without an identity; updates are held to it here.
    pub fn refusal_until_changed(session: &Session) -> Option<Outcome> {
        session.identity.secret.must_change.then(change_first)
    }

    /// The connection whose session goes on through an update: the one that changes its own secret, whatever else it changes.
    pub(super) fn going_on(session: &Session, key: &NormalizedDn) -> u64 {
        match !key.is_root() && session.identity.account.facts.key == *key {
            true => session.source.connection,
            false => 0,
        }
    }

    /// The session as it goes on after its account's secret was changed on its own connection, or another policy or schema came
    /// into force; `None` where it must bind again.
    pub fn renewed(&self, session: &Session) -> Option<Session> {
        let succeeding = |identity: &Identity| {
            let successor = self.accounts.successor(identity, session.source.connection);
            successor.unwrap_or_else(|| identity.clone())
        };
        let next = Session {
            identity: succeeding(&session.identity),
            bound: session.bound.as_deref().map(|bound| Box::new(succeeding(bound))),
            view: self.view(&session.view.profile)?,
            ..session.clone()
        };
        self.holds(&next).then_some(next)
    }
}

/// The outcome of steps that cannot be taken.
pub(super) fn refused(fault: SecretFault) -> Outcome {
    match fault {
        SecretFault::AlreadyThere => Outcome::new(
            ResultCode::AttributeOrValueExists,
            "userPassword: value is already there",
        ),
        SecretFault::Missing => no_such_secret(),
        SecretFault::TooMany { most } => Outcome::new(
            ResultCode::AdminLimitExceeded,
            format!("expected at most {most} userPassword values; raise general.secrets"),
        ),
        SecretFault::OneAlone => Outcome::new(
            ResultCode::ConstraintViolation,
            "the password policy allows one userPassword value",
        ),
    }
}

/// Whether an update changes nothing but the session's own secret.
fn changes_own_secret(session: &Session, key: &NormalizedDn, update: &Update) -> bool {
    let Update::Modify { changes, .. } = update else {
        return false;
    };
    !key.is_root()
        && session.identity.account.facts.key == *key
        && !changes.is_empty()
        && changes.iter().all(|change| is_secret(&change.description))
}

/// The answer to all that a session asks whose secret has to be changed first.
fn change_first() -> Outcome {
    let message = "an administrator reset the secret: change it first";
    insufficient(message).telling(PasswordFault::ChangeAfterReset)
}

/// What has to be changed could be changed to itself by its hash.
fn check_may_be_hash(change: &Change<'_>) -> Result<(), Outcome> {
    let identity = &change.session.identity;
    if change.held_to().is_some_and(|policy| policy.check_quality >= 2) {
        return Err(password_policy::refusal(PasswordFault::InsufficientPasswordQuality));
    }
    match identity.secret.must_change && identity.account.facts.key == *change.key {
        true => Err(poor(
            "expected a secret in clear: a hash cannot be told from the one that has to be changed",
        )),
        false => Ok(()),
    }
}

fn no_such_secret() -> Outcome {
    Outcome::new(ResultCode::NoSuchAttribute, "userPassword: no such attribute or value")
}

fn old_secret_needed() -> Outcome {
    password_policy::refusal(PasswordFault::MustSupplyOldPassword)
}

/// A hash that cannot be taken, or not be held to rules.
fn poor(message: impl Into<String>) -> Outcome {
    Outcome::new(ResultCode::ConstraintViolation, message).telling(PasswordFault::InsufficientPasswordQuality)
}

fn insufficient(message: &str) -> Outcome {
    Outcome::new(ResultCode::InsufficientAccessRights, message)
}

pub(super) fn is_secret(description: &AttributeDescription) -> bool {
    ["userPassword", "2.5.4.35"]
        .iter()
        .any(|name| description.attribute_type.eq_ignore_ascii_case(name))
}

/// Whether an update has to do with `userPassword`.
pub(super) fn names_secret(update: &Update) -> bool {
    match update {
        Update::Add(entry) => entry.attributes.iter().any(|it| is_secret(&it.description)),
        Update::Modify { changes, .. } => changes.iter().any(|it| is_secret(&it.description)),
        Update::Delete { .. } | Update::ModifyDn { .. } => false,
    }
}

fn is_hash(octets: &[u8]) -> bool {
    octets.starts_with(b"{") || octets.starts_with(b"$argon2")
}

/// A value without the scheme that says that it is in clear.
fn clear_text(octets: &[u8]) -> &[u8] {
    strip_clear_text(octets).unwrap_or(octets)
}

/// What stands behind `{CLEARTEXT}`, as slapd keeps a secret that it does not hash.
pub fn strip_clear_text(octets: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"{CLEARTEXT}";
    let (scheme, clear) = octets.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(clear)
}

fn take_secrets(update: &mut Update) -> Asked {
    let mut asked = Asked::new();
    match update {
        Update::Add(entry) => entry.attributes.retain_mut(|attribute| {
            let secret = is_secret(&attribute.description);
            if secret {
                asked.push((ModificationKind::Add, std::mem::take(&mut attribute.values)));
            }
            !secret
        }),
        Update::Modify { changes, .. } => changes.retain_mut(|change: &mut Modification| {
            let secret = is_secret(&change.description);
            if secret {
                asked.push((change.kind, std::mem::take(&mut change.values)));
            }
            !secret
        }),
        Update::Delete { .. } | Update::ModifyDn { .. } => {}
    }
    asked
}

fn gives((kind, values): &(ModificationKind, Vec<Value>)) -> bool {
    matches!(kind, ModificationKind::Add | ModificationKind::Replace) && !values.is_empty()
}

/// The secret before, in clear, where it comes in front of the new one.
fn old_secret(asked: &Asked) -> Option<Secret> {
    let before = asked.iter().take_while(|change| !gives(change));
    let mut values = before
        .filter(|(kind, _)| *kind == ModificationKind::Delete)
        .flat_map(|(_, values)| values);
    // Who brings a hash has not shown that it knows the secret.
    let clear = values.find(|value| !is_hash(clear_text(value)))?;
    Some(Secret::new(clear_text(clear).to_vec()))
}

/// The secret an application account is given: old values to delete are passed over.
fn the_one_secret(asked: Asked) -> Result<Value, Outcome> {
    let given = asked.into_iter().filter(|(kind, _)| *kind != ModificationKind::Delete);
    let mut values: Vec<Value> = given.flat_map(|(_, values)| values).collect();
    match (values.pop(), values.len()) {
        (Some(value), 0) => Ok(value),
        (None, _) => {
            let message = "an account's secret is not deleted; set nhsdirDisabled or delete the account";
            Err(Outcome::new(ResultCode::UnwillingToPerform, message))
        }
        (Some(_), _) => Err(Outcome::new(
            ResultCode::ConstraintViolation,
            "expected one userPassword value",
        )),
    }
}
