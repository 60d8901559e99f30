//! Transactions (RFC 5805): updates that a front end keeps until all of them are to be done, or none.
//!
//! Invariants: an update is checked when it is kept and again when the transaction is settled, so the rights are those of the
//! end; accounts and secrets follow once nothing refuses the transaction any more, so nobody binds as what may not come to be.

use super::committer::{Asked, Job, Unsettled};
use super::conditions::{UpdateDone, UpdateRequest};
use super::{Directory, Session, clock};
use crate::audit::{Act, AuditRecord};
use crate::model::{Outcome, ResultCode};
use crate::schema::NormalizedDn;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// How a transaction that was settled ended.
#[derive(Debug)]
pub struct TransactionDone {
    pub outcome: Outcome,
    /// The update at fault, by its place.
    pub failed: Option<usize>,
    /// What each update came to, in turn; none where the transaction failed.
    pub updates: Vec<UpdateDone>,
}

/// A transaction as its end is written down.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    pub identifier: &'a str,
    /// How many it had.
    pub updates: usize,
    pub detail: &'a str,
}

impl Directory {
    /// Checks what needs no entry of an update that is to be part of a transaction. A refusal is its end, and written down.
    ///
    /// # Errors
    /// What the client is to be told.
    pub fn check_queued(
        &self,
        session: &Session,
        identifier: &str,
        request: &mut UpdateRequest,
    ) -> Result<(), Outcome> {
        let started = Instant::now();
        self.admit_queued(session, request).map(|_| ()).inspect_err(|outcome| {
            let mut facts = self.facts_of(request);
            facts.transaction = Some(identifier.to_owned());
            self.audit_update(session, &facts, std::iter::empty(), outcome, started);
        })
    }

    /// Gives the key, and whether a session changes its own secret.
    fn admit_queued(&self, session: &Session, request: &mut UpdateRequest) -> Result<(NormalizedDn, bool), Outcome> {
        if request.no_op {
            let message = "an update within a transaction cannot be one that has no effect";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        self.admit_update(session, request)
    }

    /// Makes all updates durable and visible at once, or none.
    pub async fn settle(
        self: Arc<Self>,
        session: Arc<Session>,
        identifier: String,
        updates: Vec<UpdateRequest>,
    ) -> TransactionDone {
        let started = Instant::now();
        let mut facts: Vec<_> = updates.iter().map(|request| self.facts_of(request)).collect();
        for facts in &mut facts {
            facts.transaction = Some(identifier.clone());
        }
        let settled = self.submit_all(&session, updates).await;
        let mut done = TransactionDone {
            outcome: Outcome::success(),
            failed: None,
            updates: Vec::new(),
        };
        match settled {
            Ok(all) => {
                for (facts, mut applied) in facts.iter().zip(all) {
                    self.count_read(&session, &mut applied.done);
                    self.audit_update(&session, facts, applied.entries(), &applied.done.outcome, started);
                    done.updates.push(applied.done);
                }
            }
            Err(Unsettled { at, outcome }) => {
                let undone = Outcome::new(ResultCode::Canceled, "its transaction failed");
                for (place, facts) in facts.iter().enumerate() {
                    let outcome = if at == Some(place) { &outcome } else { &undone };
                    self.audit_update(&session, facts, std::iter::empty(), outcome, started);
                }
                (done.failed, done.outcome) = (at, outcome);
            }
        }
        let ending = Ending {
            identifier: &identifier,
            updates: facts.len(),
            detail: "commit",
        };
        self.audit_ending(&session, ending, &done.outcome, started);
        done
    }

    async fn submit_all(
        &self,
        session: &Session,
        updates: Vec<UpdateRequest>,
    ) -> Result<Vec<super::committer::Applied>, Unsettled> {
        let mut all = Vec::with_capacity(updates.len());
        for (at, mut request) in updates.into_iter().enumerate() {
            let failed = |outcome| Unsettled { at: Some(at), outcome };
            let (key, own) = self.admit_queued(session, &mut request).map_err(failed)?;
            let room = self.committer.room(request.memory()).map_err(failed)?;
            let secret = self.plan_secrets(session, &key, &mut request.update, own).await;
            all.push(Asked {
                actor: session.identity.account.facts.dn.clone(),
                view: session.view.clone(),
                connection: Directory::going_on(session, &key),
                key,
                alone: self.goes_alone(session, &request.update),
                request,
                secret: secret.map_err(failed)?,
                room,
            });
        }
        let (reply, answer) = oneshot::channel();
        let job = Job::Transaction { updates: all, reply };
        self.committer.submit(job).map_err(Unsettled::whole)?;
        let stopping = |_| Unsettled::whole(Outcome::new(ResultCode::Unavailable, "the server is stopping"));
        answer.await.map_err(stopping)?
    }

    /// Writes down that a transaction ended without being settled.
    pub fn abandon_transaction(&self, session: &Session, ending: Ending<'_>) {
        self.audit_ending(session, ending, &Outcome::new(ResultCode::Canceled, ""), Instant::now());
    }

    fn audit_ending(&self, session: &Session, ending: Ending<'_>, outcome: &Outcome, started: Instant) {
        let mut record = AuditRecord::default();
        record.begin(Act::Transaction, &session.actor, clock::milliseconds());
        record.fact("transaction", ending.identifier.as_bytes());
        record.fact("updates", ending.updates.to_string().as_bytes());
        record.fact("detail", ending.detail.as_bytes());
        record.finish(outcome, started.elapsed());
        self.audit.append(&record);
    }
}
