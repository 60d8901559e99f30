//! Updates as a front end asks them, and what they mean for the directory (RFC 4511 sections 4.6 to 4.9).

use super::committer::{Applied, Asked, Job};
use super::conditions::{UpdateDone, UpdateRequest};
use super::general::CERTIFICATE;
use super::trail::AuditPool;
use super::wellformed::{Lifted, check_contents, new_key};
use super::withheld::SecretNames;
use super::{Directory, Session, application, clock, referral, relax, secret};
use crate::access::View;
use crate::account::Role;
use crate::audit::Act;
use crate::model::{AttributeDescription, Ava, Dn, Entry, Outcome, Rdn, ResultCode, Value};
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
        /// With everything below it (Tree Delete).
        tree: bool,
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

/// What the audit says of an update, taken before it is done.
pub(super) struct UpdateFacts {
    act: Act,
    dn: String,
    attributes: String,
    destination: Option<String>,
    assertion: Option<String>,
    /// Everything below goes too.
    tree: bool,
    /// Under relaxed rules.
    relax: bool,
    /// The transaction it is part of.
    pub transaction: Option<String>,
}

impl Update {
    pub(super) fn dn(&self) -> &Dn {
        match self {
            Update::Add(entry) => &entry.dn,
            Update::Delete { dn, .. } | Update::Modify { dn, .. } | Update::ModifyDn { dn, .. } => dn,
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
        let facts = self.facts_of(&request);
        let mut applied = match self.submit(session, request).await {
            Ok(applied) => applied,
            Err(outcome) => Applied::refused(outcome),
        };
        self.count_read(session, &mut applied.done);
        self.audit_update(session, &facts, applied.entries(), &applied.done.outcome, started);
        applied.done
    }

    pub(super) fn facts_of(&self, request: &UpdateRequest) -> UpdateFacts {
        let update = &request.update;
        let assertion = request.assertion.as_ref().map(|filter| {
            let withheld = self.in_force().secret_names.withhold(filter);
            withheld.as_ref().unwrap_or(filter).to_string()
        });
        UpdateFacts {
            act: update.act(),
            dn: update.dn().to_string(),
            attributes: update.attributes(),
            destination: update.destination(&self.in_force().secret_names),
            assertion,
            tree: matches!(update, Update::Delete { tree: true, .. }),
            relax: request.relax && matches!(update, Update::Add(_) | Update::Modify { .. }),
            transaction: None,
        }
    }

    pub(super) fn audit_update<'a>(
        &self,
        session: &Session,
        facts: &UpdateFacts,
        entries: impl Iterator<Item = &'a [u8; 16]>,
        outcome: &Outcome,
        started: Instant,
    ) {
        let mut audit = AuditPool::take();
        audit.begin(facts.act, &session.actor, clock::milliseconds());
        audit.fact("dn", facts.dn.as_bytes());
        audit.fact("attributes", facts.attributes.as_bytes());
        if let Some(destination) = &facts.destination {
            audit.fact("newDn", destination.as_bytes());
        }
        if let Some(assertion) = &facts.assertion {
            audit.fact("filter", assertion.as_bytes());
        }
        if let Some(transaction) = &facts.transaction {
            audit.fact("transaction", transaction.as_bytes());
        }
        if facts.tree {
            audit.fact("detail", b"tree");
        }
        if facts.relax {
            audit.fact("detail", b"relaxed rules");
        }
        entries.for_each(|uuid| audit.entry(uuid));
        audit.finish(outcome, started.elapsed());
        self.audit.append(&audit);
        AuditPool::give_back(audit);
    }

    /// Counts entries that an update read; where the quota is used up they are not given.
    pub(super) fn count_read(&self, session: &Session, done: &mut UpdateDone) {
        if (done.pre_read.is_some() || done.post_read.is_some()) && !self.counts_read(session) {
            (done.pre_read, done.post_read) = (None, None);
        }
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
        let (key, own) = self.admit_update(session, &mut request)?;
        let room = self.committer.room(request.memory())?;
        // Before one is compared: to look at secrets without an effect would be to guess at them.
        if request.no_op && secret::names_secret(&request.update) {
            let message = "an update that is to have no effect cannot have a secret";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let secret = self.plan_secrets(session, &key, &mut request.update, own).await?;
        let (reply, answer) = oneshot::channel();
        let actor = session.identity.account.facts.dn.clone();
        let asked = Box::new(Asked {
            actor,
            connection: Directory::going_on(session, &key),
            key,
            alone: self.goes_alone(session, &request.update),
            request,
            secret,
            view: session.view.clone(),
            room,
        });
        self.committer.submit(Job::Update { asked, reply })?;
        answer
            .await
            .map_err(|_| Outcome::new(ResultCode::Unavailable, "the server is stopping"))
    }

    /// Checks what needs no entry. Gives the key, and whether a session changes its own secret.
    pub(super) fn admit_update(
        &self,
        session: &Session,
        request: &mut UpdateRequest,
    ) -> Result<(NormalizedDn, bool), Outcome> {
        let key = self.key_of(request.update.dn())?;
        self.check_changes_secret_first(session, &key, request)?;
        let own = self.is_own_secret(session, &key, &request.update);
        if !own {
            if !session.view.quotas.may_write {
                return Err(insufficient("the account's release profile does not allow updates"));
            }
            let asked = referral::Asked {
                dn: request.update.dn(),
                key: &key,
                scope: None,
                manage: request.manage_dsa_it,
            };
            self.superior_referral(&asked).map_or(Ok(()), Err)?;
            self.check_place(&key, &request.update)?;
            self.check_rights(session, &key, &request.update)?;
        }
        let schema = self.schema();
        let relaxed = match request.relax {
            true => relax::asked(&schema, &request.update),
            false => Vec::new(),
        };
        // Others are held to every rule, whatever they ask.
        request.relax &= session.identity.account.facts.role == Role::Administrator;
        if !relaxed.is_empty() && !request.relax {
            return Err(insufficient("rules are relaxed for administrators"));
        }
        let lifted = Lifted {
            types: &relaxed,
            obsolete: request.relax,
        };
        check_contents(&schema, &mut request.update, lifted)?;
        Ok((key, own))
    }

    fn check_rights(&self, session: &Session, key: &NormalizedDn, update: &Update) -> Result<(), Outcome> {
        if !session.view.covers(key) {
            return Err(insufficient("the account's release profile does not reach this entry"));
        }
        self.check_guarded(session, key, update.dn())?;
        self.check_certificate(session, key, update)?;
        self.check_policy(session, key, update)?;
        match update {
            Update::Add(entry) => entry.dn.rdn().map_or(Ok(()), |rdn| self.check_naming(rdn)),
            Update::ModifyDn {
                new_rdn, new_superior, ..
            } => self.check_move(session, (key, update.dn()), new_rdn, new_superior.as_ref()),
            Update::Delete { tree: true, .. } => check_below(&session.view, key),
            Update::Delete { .. } | Update::Modify { .. } => Ok(()),
        }
    }

    /// A certificate binds as a secret does: whoever may not set the secret gives none.
    fn check_certificate(&self, session: &Session, key: &NormalizedDn, update: &Update) -> Result<(), Outcome> {
        let schema = self.schema();
        let certificate = schema.find_attribute(CERTIFICATE);
        let is_certificate = |name: &str| certificate.is_some() && schema.find_attribute(name) == certificate;
        let named = |rdn: &Rdn| rdn.avas.iter().any(|ava| is_certificate(&ava.attribute));
        let concerned = match update {
            Update::Add(entry) => {
                let mut attributes = entry.attributes.iter();
                entry.dn.rdn().is_some_and(named)
                    || attributes.any(|attribute| is_certificate(&attribute.description.attribute_type))
            }
            Update::Modify { changes, .. } => changes
                .iter()
                .any(|change| is_certificate(&change.description.attribute_type)),
            Update::ModifyDn { new_rdn, .. } => named(new_rdn),
            Update::Delete { .. } => false,
        };
        if !concerned || self.may_set_secret(session, key) {
            return Ok(());
        }
        Err(insufficient(
            "a certificate binds as a secret does: the account's release profile does not allow setting it",
        ))
    }

    /// What a rule of the general directory gives more than reading by is for administrators to change.
    fn check_guarded(&self, session: &Session, key: &NormalizedDn, dn: &Dn) -> Result<(), Outcome> {
        if session.identity.account.facts.role == Role::Administrator || !self.is_guarded(key, &dn.to_string()) {
            return Ok(());
        }
        Err(insufficient(
            "this entry decides who may do what: it is for administrators to change",
        ))
    }

    /// Rights at the new superior, at the new name, and over all that moves along.
    fn check_move(
        &self,
        session: &Session,
        (key, dn): (&NormalizedDn, &Dn),
        new_rdn: &Rdn,
        new_superior: Option<&Dn>,
    ) -> Result<(), Outcome> {
        self.check_naming(new_rdn)?;
        let view = &session.view;
        let to = new_key(&self.schema(), key, new_rdn, new_superior)?;
        if new_superior.is_some() && !to.parent().is_some_and(|superior| view.covers(&superior)) {
            return Err(insufficient(
                "the account's release profile does not reach the new superior",
            ));
        }
        if !view.covers(&to) {
            return Err(insufficient(
                "the account's release profile does not reach the new name",
            ));
        }
        let superior = new_superior.cloned().or_else(|| dn.parent()).unwrap_or_default();
        self.check_guarded(session, &to, &superior.child(new_rdn.clone()))?;
        check_below(view, key)
    }

    /// A name is seen by everybody who sees the entry: what never leaves is no part of one.
    fn check_naming(&self, rdn: &Rdn) -> Result<(), Outcome> {
        let in_force = self.in_force();
        let secret = |ava: &&Ava| in_force.secret_names.holds(&ava.attribute);
        match rdn.avas.iter().find(secret) {
            None => Ok(()),
            Some(ava) => Err(Outcome::new(
                ResultCode::NamingViolation,
                format!("{} is never part of a name", ava.attribute),
            )),
        }
    }

    fn key_of(&self, dn: &Dn) -> Result<NormalizedDn, Outcome> {
        self.schema()
            .normalize_dn(dn)
            .map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))
    }

    pub(super) fn is_account(&self, key: &NormalizedDn) -> bool {
        application::is_account_key(key, &self.committer.suffixes)
    }
}

/// Refuses what would concern an entry below that the view does not reach.
fn check_below(view: &View, key: &NormalizedDn) -> Result<(), Outcome> {
    match view.excluded.iter().any(|subtree| subtree.is_within(key)) {
        false => Ok(()),
        true => Err(insufficient(
            "the account's release profile does not reach everything below this entry",
        )),
    }
}

fn insufficient(message: &str) -> Outcome {
    Outcome::new(ResultCode::InsufficientAccessRights, message)
}

/// The result of a schema violation on the wire. `naming` is what a missing naming value means for this operation.
pub(super) fn violation(fault: &SchemaViolation, naming: ResultCode) -> Outcome {
    let code = match fault {
        SchemaViolation::UndefinedAttributeType { .. } => ResultCode::UndefinedAttributeType,
        SchemaViolation::UndefinedObjectClass { .. } | SchemaViolation::InvalidSyntax { .. } => {
            ResultCode::InvalidAttributeSyntax
        }
        SchemaViolation::DuplicateValue { .. } => ResultCode::AttributeOrValueExists,
        SchemaViolation::SingleValue { .. } => ResultCode::ConstraintViolation,
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
}
