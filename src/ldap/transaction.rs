//! Transactions (RFC 5805): updates kept on their connection until the client ends the transaction.
//!
//! Invariants: a connection has one transaction at a time, and its updates are within limits; a bind and the end of the
//! connection end it; a kept update has changed nothing.

use super::ber::{self, Reader};
use super::codec::{DecodeError, ExtendedRequest, Operation, Request, tag, text};
use super::controls::{self, Controls};
use super::conversation::{Answer, Conversation};
use super::encode::{self, Extra};
use super::frame::MessageId;
use crate::directory::{Ending, Session, TransactionDone, UpdateDone, UpdateRequest};
use crate::model::{Outcome, ResultCode};
use std::sync::Arc;

/// RFC 5805 section 2.1.
pub const START: &str = "1.3.6.1.1.21.1";
/// Section 2.3.
pub const END: &str = "1.3.6.1.1.21.3";
/// Section 2.4.
const ABORTED_NOTICE: &str = "1.3.6.1.1.21.4";

/// The transaction that is open on a connection.
pub(super) struct Transaction {
    identifier: String,
    /// The authorization identity that its start came with.
    proxied: Option<String>,
    /// Who began it, as the audit has it.
    session: Arc<Session>,
    updates: Vec<(MessageId, UpdateRequest)>,
    /// Octets of memory that they take.
    octets: usize,
}

impl Transaction {
    pub(super) fn held(&self) -> usize {
        self.octets
    }
}

/// What an End Transaction request asks.
struct End<'a> {
    commit: bool,
    identifier: &'a str,
}

impl Conversation {
    /// The authorization identity a request is done as: within a transaction that of its start.
    pub(super) fn authorization<'r>(&'r self, request: &'r Request<'_>) -> Result<Option<&'r str>, Outcome> {
        let proxied = request.controls.proxied;
        if !is_within(request) {
            return Ok(proxied);
        }
        if proxied.is_some() {
            let message = "a transaction is begun with proxied authorization, not gone on with";
            return Err(Outcome::new(ResultCode::ProtocolError, message));
        }
        Ok(self
            .transaction
            .as_ref()
            .and_then(|transaction| transaction.proxied.as_deref()))
    }

    pub(super) fn start_transaction(
        &mut self,
        id: MessageId,
        request: &ExtendedRequest<'_>,
        controls: &Controls<'_>,
        session: &Arc<Session>,
    ) {
        let refusal = if request.value.is_some() {
            Some((ResultCode::ProtocolError, "expected Start Transaction without a value"))
        } else if self.transaction.is_some() {
            Some((
                ResultCode::Busy,
                "a transaction is open on this connection: end it first",
            ))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            return self.extended_refused(id, &Outcome::new(code, message));
        }
        self.transactions += 1;
        let identifier = self.transactions.to_string();
        let extra = Extra {
            value: Some(identifier.as_bytes()),
            ..Extra::default()
        };
        self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), extra);
        self.transaction = Some(Box::new(Transaction {
            identifier,
            proxied: controls.proxied.map(str::to_owned),
            session: Arc::clone(session),
            updates: Vec::new(),
            octets: 0,
        }));
    }

    /// Keeps an update until the transaction ends; answers at once.
    pub(super) fn queue(
        &mut self,
        (id, response): (MessageId, u8),
        identifier: &str,
        mut request: UpdateRequest,
        session: &Session,
    ) {
        let limits = &self.service.limits;
        let (updates, octets) = (limits.transaction_updates, limits.transaction_octets);
        let Some(transaction) = self
            .transaction
            .as_mut()
            .filter(|transaction| transaction.identifier == identifier)
        else {
            return self.answer(id, response, &unknown(), Extra::default());
        };
        if transaction.updates.iter().any(|(other, _)| *other == id) {
            let message = "expected another message id than those of the transaction's other updates";
            let outcome = Outcome::new(ResultCode::ProtocolError, message);
            return self.answer(id, response, &outcome, Extra::default());
        }
        transaction.octets += request.memory();
        if transaction.updates.len() >= updates || transaction.octets > octets {
            let message = format!("expected at most {updates} updates and {octets} bytes in one transaction");
            let outcome = Outcome::new(ResultCode::AdminLimitExceeded, message);
            self.answer(id, response, &outcome, Extra::default());
            return self.give_up_transaction(&outcome);
        }
        let outcome = match self.directory.check_queued(session, identifier, &mut request) {
            Ok(()) => {
                transaction.updates.push((id, request));
                Outcome::success()
            }
            Err(outcome) => outcome,
        };
        self.answer(id, response, &outcome, Extra::default());
    }

    pub(super) fn end_transaction(&mut self, id: MessageId, request: &ExtendedRequest<'_>, session: &Arc<Session>) {
        let end = match end(request.value) {
            Ok(end) => end,
            Err(error) => return self.extended_refused(id, &error.outcome()),
        };
        let open = self
            .transaction
            .take_if(|transaction| transaction.identifier == end.identifier);
        let Some(transaction) = open else {
            return self.extended_refused(id, &unknown());
        };
        if !end.commit {
            self.abandon_transaction(&transaction, "abort");
            return self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), Extra::default());
        }
        let (ids, updates) = transaction.updates.into_iter().unzip();
        let settled = Arc::clone(&self.directory).settle(Arc::clone(session), transaction.identifier, updates);
        self.wait_for(id, async move {
            let done = settled.await;
            Answer::Transaction { ids, done }
        });
    }

    pub(super) fn transaction_ended(&mut self, id: MessageId, ids: &[MessageId], done: &TransactionDone) {
        let value = end_value(ids, done);
        let extra = Extra {
            value: value.as_deref(),
            ..Extra::default()
        };
        self.answer(id, tag::EXTENDED_RESPONSE, &done.outcome, extra);
    }

    /// The server ends a transaction by itself, and says so.
    pub(super) fn give_up_transaction(&mut self, outcome: &Outcome) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        self.abandon_transaction(&transaction, "given up");
        let extra = Extra {
            name: Some(ABORTED_NOTICE),
            value: Some(transaction.identifier.as_bytes()),
            ..Extra::default()
        };
        self.metrics().result(outcome.code as u32);
        encode::result(&mut self.output, MessageId(0), tag::EXTENDED_RESPONSE, outcome, extra);
    }

    /// A bind or the end of the connection ends a transaction without notice (RFC 5805 section 3.5).
    pub(super) fn drop_transaction(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.abandon_transaction(&transaction, "bind or end of connection");
        }
    }

    fn abandon_transaction(&self, transaction: &Transaction, detail: &str) {
        let ending = Ending {
            identifier: &transaction.identifier,
            updates: transaction.updates.len(),
            detail,
        };
        self.directory.abandon_transaction(&transaction.session, ending);
    }
}

/// Whether a request is part of a transaction, or its end.
pub(super) fn is_within(request: &Request<'_>) -> bool {
    request.controls.transaction.is_some()
        || matches!(&request.operation, Operation::Extended(extended) if extended.name == END)
}

fn unknown() -> Outcome {
    let message = "expected the identifier of the transaction that is open on this connection";
    Outcome::new(ResultCode::OperationsError, message)
}

/// The txnEndReq of RFC 5805 section 2.3.
fn end(value: Option<&[u8]>) -> Result<End<'_>, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("end of transaction", "an identifier", "no value"))?;
    let mut outer = Reader::new(value);
    let mut parts = outer.enter(ber::SEQUENCE)?;
    outer.finish()?;
    let commit = match parts.optional(ber::BOOLEAN)? {
        Some(contents) => ber::boolean(contents)?,
        None => true,
    };
    // Every identifier of this server is text: others are unknown.
    let identifier = text("transaction identifier", parts.octets()?).unwrap_or_default();
    parts.finish()?;
    Ok(End { commit, identifier })
}

/// The txnEndRes of section 2.3; `None` where it would say nothing.
fn end_value(ids: &[MessageId], done: &TransactionDone) -> Option<Vec<u8>> {
    let failed = done.failed.and_then(|place| ids.get(place));
    let has_read = |done: &UpdateDone| done.pre_read.is_some() || done.post_read.is_some();
    let read: Vec<_> = ids
        .iter()
        .zip(&done.updates)
        .filter(|(_, done)| has_read(done))
        .collect();
    if failed.is_none() && read.is_empty() {
        return None;
    }
    let mut value = Vec::new();
    ber::put_nested(&mut value, ber::SEQUENCE, |out| {
        if let Some(id) = failed {
            ber::put_integer(out, ber::INTEGER, id.0);
        }
        if read.is_empty() {
            return;
        }
        ber::put_nested(out, ber::SEQUENCE, |out| {
            for (id, done) in read {
                ber::put_nested(out, ber::SEQUENCE, |out| {
                    ber::put_integer(out, ber::INTEGER, id.0);
                    ber::put_nested(out, ber::SEQUENCE, |out| {
                        controls::put_read_entries(out, done.pre_read.as_ref(), done.post_read.as_ref());
                    });
                });
            }
        });
    });
    Some(value)
}
