//! Updates as a front end asks them, and what they mean for the directory (RFC 4511 sections 4.6 to 4.9).

use super::committer::{Applied, Asked, Job};
use super::conditions::{UpdateDone, UpdateRequest};
use super::trail::AuditPool;
use super::withheld::SecretNames;
use super::{Directory, Session, application, clock};
use crate::account::{Accounts, PreparedSecret, Role, Secret};
use crate::audit::Act;
use crate::model::{Attribute, AttributeDescription, Ava, Dn, Entry, Outcome, Rdn, ResultCode, Value};
use crate::schema::{NormalizedDn, SchemaViolation};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A change as a front end asks it.
#[derive(Clone, Debug)]
pub enum Update {
    Add(Entry),
    Delete {
        dn: Dn,
    },
    Modify {
        dn: Dn,
        changes: Vec<Modification>,
    },
    ModifyDn {
        dn: Dn,
        new_rdn: Rdn,
        delete_old_rdn: bool,
        new_superior: Option<Dn>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModificationKind {
    Add,
    Delete,
    Replace,
    /// RFC 4525.
    Increment,
}

#[derive(Clone, Debug)]
pub struct Modification {
    pub kind: ModificationKind,
    pub description: AttributeDescription,
    pub values: Vec<Value>,
}

impl Update {
    fn dn(&self) -> &Dn {
        match self {
            Update::Add(entry) => &entry.dn,
            Update::Delete { dn } | Update::Modify { dn, .. } | Update::ModifyDn { dn, .. } => dn,
        }
    }

    fn act(&self) -> Act {
        match self {
            Update::Add(_) => Act::Add,
            Update::Delete { .. } => Act::Delete,
            Update::Modify { .. } => Act::Modify,
            Update::ModifyDn { .. } => Act::ModifyDn,
        }
    }

    /// Where a renamed entry goes, for the audit; not where the new name holds a secret.
    fn destination(&self, secrets: &SecretNames) -> Option<String> {
        let Update::ModifyDn {
            dn,
            new_rdn,
            new_superior,
            ..
        } = self
        else {
            return None;
        };
        if new_rdn.avas.iter().any(|ava| secrets.holds(&ava.attribute)) {
            return None;
        }
        let superior = new_superior.clone().or_else(|| dn.parent()).unwrap_or_default();
        Some(superior.child(new_rdn.clone()).to_string())
    }

    /// The attribute names that change, for the audit. Never values.
    fn attributes(&self) -> String {
        let names = |names: &mut dyn Iterator<Item = &AttributeDescription>| {
            names.map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
        };
        match self {
            Update::Add(entry) => names(&mut entry.attributes.iter().map(|attribute| &attribute.description)),
            Update::Modify { changes, .. } => names(&mut changes.iter().map(|change| &change.description)),
            Update::Delete { .. } | Update::ModifyDn { .. } => String::new(),
        }
    }
}

impl Directory {
    /// Makes a change durable and visible, then answers.
    pub async fn update(self: &Arc<Self>, session: &Session, request: impl Into<UpdateRequest>) -> UpdateDone {
        let started = Instant::now();
        let request = request.into();
        let update = &request.update;
        let (act, dn, attributes) = (update.act(), update.dn().to_string(), update.attributes());
        let destination = update.destination(&self.secret_names);
        let assertion = request.assertion.as_ref().map(|filter| {
            let withheld = self.secret_names.withhold(filter);
            withheld.as_ref().unwrap_or(filter).to_string()
        });
        let mut applied = match self.submit(session, request).await {
            Ok(applied) => applied,
            Err(outcome) => Applied::refused(outcome),
        };
        if (applied.done.pre_read.is_some() || applied.done.post_read.is_some()) && !self.counts_read(session) {
            (applied.done.pre_read, applied.done.post_read) = (None, None);
        }
        let mut audit = AuditPool::take();
        audit.begin(
            act,
            &session.identity.account.facts.name,
            &session.source,
            clock::milliseconds(),
        );
        audit.fact("dn", dn.as_bytes());
        audit.fact("attributes", attributes.as_bytes());
        if let Some(destination) = &destination {
            audit.fact("newDn", destination.as_bytes());
        }
        if let Some(assertion) = assertion {
            audit.fact("filter", assertion.as_bytes());
        }
        if let Some(uuid) = &applied.entry_uuid {
            audit.entry(uuid);
        }
        audit.finish(&applied.done.outcome, started.elapsed());
        self.audit.append(&audit);
        AuditPool::give_back(audit);
        applied.done
    }

    /// Counts an entry that an update read for the account's daily quota; false where none is left.
    fn counts_read(&self, session: &Session) -> bool {
        let quota = session.view.quotas.daily_entries;
        quota == 0
            || self
                .daily
                .take(&session.identity.account.facts.key, quota, clock::seconds())
    }

    async fn submit(self: &Arc<Self>, session: &Session, mut request: UpdateRequest) -> Result<Applied, Outcome> {
        if !session.view.quotas.may_write {
            return Err(insufficient("the account's release profile does not allow updates"));
        }
        let key = self.key_of(request.update.dn())?;
        self.check_rights(session, &key, &request.update)?;
        let secret = match take_secret(&mut request.update, self.is_account(&key))? {
            Some(octets) => Some(self.prepare(octets).await?),
            None => None,
        };
        let (reply, answer) = oneshot::channel();
        let actor = session.identity.account.facts.dn.clone();
        let asked = Box::new(Asked {
            actor,
            key,
            request,
            secret,
            view: session.view.clone(),
        });
        self.committer.submit(Job::Update { asked, reply })?;
        answer
            .await
            .map_err(|_| Outcome::new(ResultCode::Unavailable, "the server is stopping"))
    }

    fn check_rights(&self, session: &Session, key: &NormalizedDn, update: &Update) -> Result<(), Outcome> {
        if !session.view.covers(key) {
            return Err(insufficient("the account's release profile does not reach this entry"));
        }
        match update {
            Update::Add(entry) => entry.dn.rdn().map_or(Ok(()), |rdn| self.check_naming(rdn)),
            Update::ModifyDn {
                new_rdn, new_superior, ..
            } => self.check_move(session, key, new_rdn, new_superior.as_ref()),
            Update::Delete { .. } | Update::Modify { .. } => Ok(()),
        }
    }

    /// Rights at the new superior, at the new name, and over all that moves along.
    fn check_move(
        &self,
        session: &Session,
        key: &NormalizedDn,
        new_rdn: &Rdn,
        new_superior: Option<&Dn>,
    ) -> Result<(), Outcome> {
        self.check_naming(new_rdn)?;
        let view = &session.view;
        let superior = match new_superior {
            Some(dn) => Some(self.key_of(dn)?),
            None => key.parent(),
        };
        if let (Some(_), Some(superior)) = (new_superior, &superior)
            && !view.covers(superior)
        {
            return Err(insufficient(
                "the account's release profile does not reach the new superior",
            ));
        }
        let to = self
            .schema
            .normalize_child(&superior.unwrap_or_default(), new_rdn)
            .map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))?;
        if !view.covers(&to) {
            return Err(insufficient(
                "the account's release profile does not reach the new name",
            ));
        }
        if view.excluded.iter().any(|subtree| subtree.is_within(key)) {
            return Err(insufficient(
                "the account's release profile does not reach everything below this entry",
            ));
        }
        Ok(())
    }

    /// A name is seen by everybody who sees the entry: what never leaves is no part of one.
    fn check_naming(&self, rdn: &Rdn) -> Result<(), Outcome> {
        let secret = |ava: &&Ava| self.secret_names.holds(&ava.attribute);
        match rdn.avas.iter().find(secret) {
            None => Ok(()),
            Some(ava) => Err(Outcome::new(
                ResultCode::NamingViolation,
                format!("{} is never part of a name", ava.attribute),
            )),
        }
    }

    fn key_of(&self, dn: &Dn) -> Result<NormalizedDn, Outcome> {
        self.schema
            .normalize_dn(dn)
            .map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))
    }

    fn is_account(&self, key: &NormalizedDn) -> bool {
        application::is_account_key(key, &self.committer.suffixes)
    }

    /// A `userPassword` value: a hash taken over as it is, or a chosen secret.
    async fn prepare(&self, octets: Vec<u8>) -> Result<PreparedSecret, Outcome> {
        if octets.starts_with(b"{") {
            return Accounts::take_over(&octets).map_err(|fault| Outcome::new(ResultCode::ConstraintViolation, fault));
        }
        self.accounts.prepare_chosen(Secret::new(octets)).await
    }

    /// RFC 3062. `target` is a DN or an account name, `None` the session's own account; `new` `None` asks for a generated
    /// secret, which is given back once. Where the account's `nhsdirOldSecretUntil` lies ahead the secret of before
    /// stays valid until then.
    ///
    /// # Errors
    /// insufficientAccessRights for another's secret without the administrator role, invalidCredentials for a wrong old
    /// secret, noSuchObject, constraintViolation for a chosen secret that is too weak.
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
        audit.begin(
            Act::Secret,
            &session.identity.account.facts.name,
            &session.source,
            clock::milliseconds(),
        );
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
            Some(name) => self.bind_key(name).or_else(|| self.key_of_account(name)),
            None => Some(own.key.clone()),
        };
        let administrator = own.role == Role::Administrator;
        let key = match key {
            Some(key) if administrator || key == own.key => key,
            None if administrator => return Err(Outcome::new(ResultCode::NoSuchObject, "")),
            _ => {
                return Err(insufficient(
                    "only an administrator may change another account's secret",
                ));
            }
        };
        self.check_old_secret(session, &key, old, administrator).await?;
        let (generated, prepared) = match new {
            Some(secret) => (None, self.accounts.prepare_chosen(secret).await?),
            None => self
                .accounts
                .prepare_generated()
                .await
                .map(|(secret, prepared)| (Some(secret), prepared))?,
        };
        let (reply, answer) = oneshot::channel();
        self.committer.submit(Job::Secret { key, prepared, reply })?;
        let outcome = answer
            .await
            .map_err(|_| Outcome::new(ResultCode::Unavailable, "the server is stopping"))?;
        if outcome.is_success() {
            Ok(generated)
        } else {
            Err(outcome)
        }
    }

    fn key_of_account(&self, name: &str) -> Option<NormalizedDn> {
        let accounts = self.accounts.list();
        let found = accounts
            .iter()
            .find(|account| account.facts.name.eq_ignore_ascii_case(name));
        found.map(|account| account.facts.key.clone())
    }

    async fn check_old_secret(
        &self,
        session: &Session,
        key: &NormalizedDn,
        old: Option<Secret>,
        administrator: bool,
    ) -> Result<(), Outcome> {
        match old {
            Some(old) => {
                let name = self
                    .accounts
                    .find(key)
                    .map(|account| account.facts.dn.clone())
                    .unwrap_or_default();
                let now = clock::seconds();
                let checked = self
                    .accounts
                    .authenticate(&name, Some(key), old, &session.source, now)
                    .await;
                checked.map(|_| ()).map_err(|refusal| refusal.outcome)
            }
            None if administrator => Ok(()),
            None => Err(Outcome::new(
                ResultCode::UnwillingToPerform,
                "the old secret is needed to set a new one",
            )),
        }
    }
}

fn insufficient(message: &str) -> Outcome {
    Outcome::new(ResultCode::InsufficientAccessRights, message)
}

/// Takes `userPassword` out of an update: a secret never becomes part of an entry.
fn take_secret(update: &mut Update, account: bool) -> Result<Option<Value>, Outcome> {
    let is_secret = |description: &AttributeDescription| {
        ["userPassword", "2.5.4.35"]
            .iter()
            .any(|name| description.attribute_type.eq_ignore_ascii_case(name))
    };
    let mut values = Vec::new();
    let mut named = false;
    match update {
        Update::Add(entry) => entry.attributes.retain_mut(|attribute| {
            let secret = is_secret(&attribute.description);
            if secret {
                named = true;
                values.append(&mut attribute.values);
            }
            !secret
        }),
        Update::Modify { changes, .. } => changes.retain_mut(|change| {
            let secret = is_secret(&change.description);
            if secret {
                named = true;
                if change.kind != ModificationKind::Delete {
                    values.append(&mut change.values);
                }
            }
            !secret
        }),
        Update::Delete { .. } | Update::ModifyDn { .. } => {}
    }
    match (named, account, values.len()) {
        (false, _, _) => Ok(None),
        (true, false, _) => {
            let message = "userPassword is kept only for application accounts directly below ou=Applications";
            Err(Outcome::new(ResultCode::UnwillingToPerform, message))
        }
        (true, true, 1) => Ok(values.pop()),
        (true, true, 0) => {
            let message = "an account's secret is not deleted; set nhsdirDisabled or delete the account";
            Err(Outcome::new(ResultCode::UnwillingToPerform, message))
        }
        (true, true, _) => Err(Outcome::new(
            ResultCode::ConstraintViolation,
            "expected one userPassword value",
        )),
    }
}

/// The result of a schema violation on the wire. `naming` is what a missing naming value means for this operation.
pub(super) fn violation(fault: &SchemaViolation, naming: ResultCode) -> Outcome {
    let code = match fault {
        SchemaViolation::UndefinedAttributeType { .. } => ResultCode::UndefinedAttributeType,
        SchemaViolation::UndefinedObjectClass { .. } | SchemaViolation::InvalidSyntax { .. } => {
            ResultCode::InvalidAttributeSyntax
        }
        SchemaViolation::DuplicateValue { .. } => ResultCode::AttributeOrValueExists,
        SchemaViolation::SingleValue { .. } | SchemaViolation::NoUserModification { .. } => {
            ResultCode::ConstraintViolation
        }
        SchemaViolation::MissingAttribute { .. }
        | SchemaViolation::AttributeNotAllowed { .. }
        | SchemaViolation::ObjectClass { .. } => ResultCode::ObjectClassViolation,
        SchemaViolation::RepeatedNamingAttribute { .. } => ResultCode::NamingViolation,
        SchemaViolation::NamingAttribute { .. } => naming,
    };
    Outcome::new(code, fault.to_string())
}

impl Modification {
    pub fn new(kind: ModificationKind, description: AttributeDescription, values: Vec<Value>) -> Self {
        Self {
            kind,
            description,
            values,
        }
    }

    pub fn into_attribute(self) -> Attribute {
        Attribute {
            description: self.description,
            values: self.values,
        }
    }
}
