//! Proxied authorization (RFC 4370): a session acts as another account for one request.
//!
//! Invariants: who may act as whom is in the release profile of the account that is bound, and by default nobody may; the
//! account acted as is held to its own profile, quotas and state; a refusal says the same whatever the reason, so it tells
//! nothing of which accounts there are.

use super::named::Named;
use super::{Directory, Session, clock};
use crate::account::{Identity, Role, SecretTerm};
use crate::audit::{Act, AuditRecord};
use crate::model::{Outcome, ResultCode};
use std::time::Instant;

impl Directory {
    /// The session for one request of `session` as the account an authorization identity names. The empty one, which is
    /// nobody, is refused as nobody is.
    ///
    /// # Errors
    /// authorizationDenied.
    pub fn act_as(&self, session: &Session, authorization: &str) -> Result<Session, Outcome> {
        self.acting_as(session, authorization).ok_or_else(|| {
            let outcome = Outcome::new(
                ResultCode::AuthorizationDenied,
                "the account may not act as this identity",
            );
            let started = Instant::now();
            let mut record = AuditRecord::default();
            record.begin(Act::Bind, &session.actor, clock::milliseconds());
            record.fact("detail", b"proxied authorization refused");
            record.fact("authorization", authorization.as_bytes());
            record.finish(&outcome, started.elapsed());
            self.audit.append(&record);
            outcome
        })
    }

    fn acting_as(&self, session: &Session, authorization: &str) -> Option<Session> {
        let own = &session.identity.account.facts;
        let key = match Named::parse(authorization) {
            Named::Either(_) => return None,
            named => self.key_of_named(named)?,
        };
        if key == own.key {
            return Some(session.clone());
        }
        if !session.view.may_proxy.iter().any(|base| key.is_within(base)) {
            return None;
        }
        let account = self.account_that_binds(&key)?;
        let facts = &account.facts;
        let permitted = (facts.role != Role::Administrator || own.role == Role::Administrator)
            && self.accounts.may_act(&account, clock::seconds());
        if !permitted {
            return None;
        }
        let profile = self.profile_of(facts);
        let view = self.view(profile)?;
        let identity = Identity {
            bound_as: authorization.to_owned(),
            account,
            secret: SecretTerm::NONE,
            warning: None,
        };
        Some(Session::proxied(identity, session, view))
    }
}
