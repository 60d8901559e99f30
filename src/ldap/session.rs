//! Who is on this connection, and what may they ask now? No I/O, no async.
//!
//! Invariants: what needs an identity gets it only from [`Admission::Bound`]; a bind takes the old identity away before it is tried
//! (RFC 4513 section 4); abandon and unbind are never answered.

use super::codec::{Change, Operation, Request, SearchOperation};
use super::extended;
use crate::directory::{Directory, Session};
use crate::model::{Outcome, ResultCode, SearchScope};
use std::sync::Arc;

/// How the octets come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// In clear text over a network: nothing but StartTLS is answered.
    Plain,
    /// TLS.
    Tls,
    /// A UNIX socket.
    Local,
    /// A UNIX socket, or the other half of one in this process, for which there is no certificate.
    Within,
}

/// Who is bound.
#[derive(Clone)]
pub enum Standing {
    Anonymous,
    /// A SASL bind waits for its next step.
    SaslInProgress,
    Bound(Arc<Session>),
}

/// The state of one connection.
#[derive(Clone)]
pub struct SessionState {
    transport: Transport,
    standing: Standing,
}

/// What to do with a request.
pub enum Admission<'s> {
    /// Do it as this identity.
    Bound(&'s Arc<Session>),
    /// The root DSE, for a client that has yet to bind: protocol facts only.
    ProtocolFacts,
    /// Bind, StartTLS: what needs no identity.
    Open,
    /// Answer this and nothing else.
    Refused(Outcome),
    /// Say nothing: an abandon of nothing.
    Silent,
    /// Unbind: end the connection.
    End,
}

impl SessionState {
    pub fn new(transport: Transport) -> SessionState {
        SessionState {
            transport,
            standing: Standing::Anonymous,
        }
    }

    pub fn session(&self) -> Option<&Arc<Session>> {
        match &self.standing {
            Standing::Bound(session) => Some(session),
            Standing::Anonymous | Standing::SaslInProgress => None,
        }
    }

    pub fn is_bound(&self) -> bool {
        self.session().is_some()
    }

    /// A bind begins, failed, or the identity no longer holds.
    pub fn forget(&mut self) {
        self.standing = Standing::Anonymous;
    }

    pub fn sasl_in_progress(&mut self) {
        self.standing = Standing::SaslInProgress;
    }

    pub fn bound(&mut self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.standing = Standing::Bound(Arc::clone(&session));
        session
    }

    /// Decides on a request by transport, standing, operation and controls.
    pub fn admit(&self, request: &Request<'_>) -> Admission<'_> {
        match request.operation {
            Operation::Unbind => return Admission::End,
            Operation::Abandon { .. } => {
                return self.session().map_or(Admission::Silent, Admission::Bound);
            }
            _ => {}
        }
        let starts_tls =
            matches!(&request.operation, Operation::Extended(extended) if extended.name == extended::START_TLS);
        if self.transport == Transport::Plain && !starts_tls {
            return refused(
                ResultCode::ConfidentialityRequired,
                "this port answers nothing but StartTLS: start TLS first, or use ldaps",
            );
        }
        if let Some(outcome) = request.controls.refusal(&request.operation) {
            return Admission::Refused(outcome);
        }
        match (&self.standing, &request.operation) {
            (_, Operation::Bind(_)) => Admission::Open,
            (Standing::SaslInProgress, _) => refused(
                ResultCode::OperationsError,
                "expected the next step of the SASL bind that is in progress",
            ),
            _ if starts_tls => self.admit_start_tls(),
            (Standing::Bound(session), _) => Admission::Bound(session),
            (Standing::Anonymous, Operation::Search(search)) if asks_root_dse(search) => Admission::ProtocolFacts,
            // Of what nobody may ask, no identity is needed to be told so (RFC 4511 section 4.12).
            (Standing::Anonymous, Operation::Extended(extended)) if !extended::is_known(extended.name) => {
                Admission::Open
            }
            (Standing::Anonymous, _) => refused(
                ResultCode::StrongerAuthRequired,
                "expected a bind with an application account first: nothing is answered anonymously",
            ),
        }
    }

    fn admit_start_tls(&self) -> Admission<'_> {
        match self.transport {
            Transport::Plain | Transport::Local => Admission::Open,
            Transport::Tls => refused(ResultCode::OperationsError, "TLS is established already"),
            Transport::Within => refused(ResultCode::ProtocolError, "there is no certificate to start TLS with"),
        }
    }
}

fn asks_root_dse(search: &SearchOperation<'_>) -> bool {
    search.base.is_empty() && search.scope == SearchScope::BaseObject
}

/// The refusal of what a session asks beside the change of its secret, where that has to come first. What of an update is no such
/// change, the directory refuses.
pub fn refusal_until_changed(session: &Session, request: &Request<'_>) -> Option<Outcome> {
    let outcome = Directory::refusal_until_changed(session)?;
    let allowed = match &request.operation {
        Operation::Bind(_) | Operation::Unbind | Operation::Abandon { .. } => true,
        Operation::Change(Change::Modify(_)) => true,
        Operation::Extended(extended) => UNTIL_CHANGED.contains(&extended.name),
        Operation::Search(search) => asks_root_dse(search),
        Operation::Change(_) | Operation::Compare(_) => false,
    };
    (!allowed || request.controls.proxied.is_some()).then_some(outcome)
}

/// Extended operations of a session that has to change its secret.
const UNTIL_CHANGED: [&str; 3] = [extended::WHO_AM_I, extended::PASSWORD_MODIFY, extended::CANCEL];

fn refused(code: ResultCode, message: &str) -> Admission<'static> {
    Admission::Refused(Outcome::new(code, message))
}

#[cfg(test)]
mod tests;
