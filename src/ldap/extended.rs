//! Extended operations: StartTLS, Who am I?, Password Modify, Cancel, and the door to transactions (RFC 4511 section 4.12).

use super::ber::{self, Reader};
use super::bind::authorization_identity;
use super::codec::{DecodeError, ExtendedRequest, tag, text};
use super::controls::{Controls, PasswordAdvice, TRANSACTION};
use super::conversation::{Answer, Conversation, Flow};
use super::encode::Extra;
use super::frame::MessageId;
use super::transaction;
use crate::account::Secret;
use crate::directory::Session;
use crate::model::{Outcome, ResultCode};
use std::sync::Arc;

/// RFC 4511 section 4.14.
pub const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// RFC 4532.
pub const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
/// RFC 3062.
pub const PASSWORD_MODIFY: &str = "1.3.6.1.4.1.4203.1.11.1";
/// RFC 3909.
pub const CANCEL: &str = "1.3.6.1.1.8";

/// Extended operations listed in the root DSE.
pub const SUPPORTED: &[&str] = &[
    START_TLS,
    WHO_AM_I,
    PASSWORD_MODIFY,
    CANCEL,
    transaction::START,
    transaction::END,
];

/// Whether the name of an extended operation is one of this server's.
pub fn is_known(name: &str) -> bool {
    SUPPORTED.contains(&name)
}

/// What a password modify request asks.
#[derive(Debug, Default)]
pub struct PasswordModify<'a> {
    pub target: Option<&'a str>,
    pub old: Option<&'a [u8]>,
    pub new: Option<&'a [u8]>,
}

impl Conversation {
    pub(super) fn extended(
        &mut self,
        id: MessageId,
        request: &ExtendedRequest<'_>,
        controls: &Controls<'_>,
        session: Option<&Arc<Session>>,
    ) -> Flow {
        if controls.transaction.is_some() {
            self.extended_refused(id, &within_transaction(request.name));
            return Flow::Continue;
        }
        match (request.name, session) {
            (START_TLS, _) => return self.start_tls(id, request),
            (WHO_AM_I, Some(session)) => self.who_am_i(id, session),
            (PASSWORD_MODIFY, Some(session)) => self.password_modify(id, request, session, controls.password_policy),
            (CANCEL, Some(_)) => self.cancel(id, request),
            (transaction::START, Some(session)) => self.start_transaction(id, request, controls, session),
            (transaction::END, Some(session)) => self.end_transaction(id, request, session),
            (name, _) => {
                let message = format!("expected an extended operation this server knows, found {name:?}");
                self.extended_refused(id, &Outcome::new(ResultCode::ProtocolError, message));
            }
        }
        Flow::Continue
    }

    pub(super) fn extended_refused(&mut self, id: MessageId, outcome: &Outcome) {
        self.answer(id, tag::EXTENDED_RESPONSE, outcome, Extra::default());
    }

    fn start_tls(&mut self, id: MessageId, request: &ExtendedRequest<'_>) -> Flow {
        let extra = Extra {
            name: Some(START_TLS),
            ..Extra::default()
        };
        if request.value.is_some() {
            let outcome = Outcome::new(ResultCode::ProtocolError, "expected StartTLS without a value");
            self.answer(id, tag::EXTENDED_RESPONSE, &outcome, extra);
            return Flow::Continue;
        }
        if self.outstanding() > 0 || self.is_following() {
            let message = "expected StartTLS with no other operation under way";
            let outcome = Outcome::new(ResultCode::OperationsError, message);
            self.answer(id, tag::EXTENDED_RESPONSE, &outcome, extra);
            return Flow::Continue;
        }
        self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), extra);
        Flow::StartTls
    }

    fn who_am_i(&mut self, id: MessageId, session: &Session) {
        let identity = authorization_identity(session);
        let extra = Extra {
            value: Some(identity.as_bytes()),
            ..Extra::default()
        };
        self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), extra);
    }

    fn password_modify(&mut self, id: MessageId, request: &ExtendedRequest<'_>, session: &Session, advised: bool) {
        let asked = match password_modify(request.value) {
            Ok(asked) => asked,
            Err(error) => return self.extended_refused(id, &error.outcome()),
        };
        let directory = Arc::clone(&self.directory);
        let session = Session::clone(session);
        let target = asked.target.map(str::to_owned);
        let old = asked.old.map(|octets| Secret::new(octets.to_vec()));
        let new = asked.new.map(|octets| Secret::new(octets.to_vec()));
        self.wait_for(id, async move {
            let changed = directory.change_secret(&session, target.as_deref(), old, new).await;
            Answer::Secret { changed, advised }
        });
    }

    /// A password modify came to its end: a generated secret is given back this once.
    pub(super) fn secret_changed(&mut self, id: MessageId, changed: Result<Option<Secret>, Outcome>, advised: bool) {
        match changed {
            Ok(None) => self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), Extra::default()),
            Ok(Some(secret)) => {
                let mut value = Vec::with_capacity(secret.expose().len() + 16);
                ber::put_nested(&mut value, ber::SEQUENCE, |out| {
                    ber::put_octets(out, 0x80, secret.expose())
                });
                let value = Secret::new(value);
                let extra = Extra {
                    value: Some(value.expose()),
                    ..Extra::default()
                };
                self.answer(id, tag::EXTENDED_RESPONSE, &Outcome::success(), extra);
            }
            Err(outcome) => {
                let extra = Extra {
                    password: PasswordAdvice::of_change(advised, &outcome),
                    ..Extra::default()
                };
                self.answer(id, tag::EXTENDED_RESPONSE, &outcome, extra);
            }
        }
    }

    /// Cancel (RFC 3909): a search is stopped and answered `canceled`; nothing else can be.
    fn cancel(&mut self, id: MessageId, request: &ExtendedRequest<'_>) {
        let cancelled = match cancel(request.value) {
            Ok(cancelled) => cancelled,
            Err(error) => return self.extended_refused(id, &error.outcome()),
        };
        let outcome = if let Some(search) = self.take_search(cancelled) {
            drop(search);
            let canceled = Outcome::new(ResultCode::Canceled, "");
            self.answer(cancelled, tag::SEARCH_RESULT_DONE, &canceled, Extra::default());
            Outcome::success()
        } else if self.drop_sync(cancelled) {
            let canceled = Outcome::new(ResultCode::Canceled, "");
            self.answer(cancelled, tag::SEARCH_RESULT_DONE, &canceled, Extra::default());
            Outcome::success()
        } else if self.is_pending(cancelled) {
            Outcome::new(ResultCode::TooLate, "the change is under way")
        } else if cancelled == id {
            Outcome::new(ResultCode::CannotCancel, "a cancel does not cancel itself")
        } else {
            Outcome::new(ResultCode::NoSuchOperation, "no such operation is under way")
        };
        self.answer(id, tag::EXTENDED_RESPONSE, &outcome, Extra::default());
    }
}

/// No extended operation is part of a transaction.
fn within_transaction(name: &str) -> Outcome {
    if name == PASSWORD_MODIFY {
        let message = "secrets are no part of a transaction: change them by themselves";
        return Outcome::new(ResultCode::UnwillingToPerform, message);
    }
    Outcome::new(
        ResultCode::UnavailableCriticalExtension,
        format!("expected controls this server knows for the operation, found critical control {TRANSACTION}"),
    )
}

/// RFC 3062 section 2: every part may be left out.
pub fn password_modify(value: Option<&[u8]>) -> Result<PasswordModify<'_>, DecodeError> {
    let Some(value) = value else {
        return Ok(PasswordModify::default());
    };
    let mut outer = Reader::new(value);
    let mut parts = outer.enter(ber::SEQUENCE)?;
    outer.finish()?;
    let target = match parts.optional(0x80)? {
        Some(octets) => Some(text("user identity", octets)?),
        None => None,
    };
    let old = parts.optional(0x81)?;
    let new = parts.optional(0x82)?;
    parts.finish()?;
    Ok(PasswordModify { target, old, new })
}

fn cancel(value: Option<&[u8]>) -> Result<MessageId, DecodeError> {
    let value = value.ok_or_else(|| DecodeError::field("cancel", "a message id", "no value"))?;
    let mut outer = Reader::new(value);
    let mut parts = outer.enter(ber::SEQUENCE)?;
    outer.finish()?;
    let found = parts.integer(ber::INTEGER)?;
    parts.finish()?;
    super::codec::count("cancel", found).map(MessageId)
}
