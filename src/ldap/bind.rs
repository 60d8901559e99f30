//! Bind (RFC 4511 section 4.2, RFC 4513 section 5): simple, SASL EXTERNAL and SASL PLAIN.

use super::codec::{Authentication, BindRequest, tag};
use super::controls::PasswordAdvice;
use super::conversation::{Answer, Conversation};
use super::encode::Extra;
use super::frame::MessageId;
use crate::account::Secret;
use crate::directory::Session;
use crate::model::{Address, Outcome, PasswordFault, ResultCode, SharedSource, Source};
use std::sync::Arc;

/// The SASL mechanisms listed in the root DSE of a connection, EXTERNAL where it may succeed. PLAIN always, because nothing
/// is read that is not confidential.
pub fn mechanisms(external: bool) -> Vec<&'static str> {
    if external { vec![EXTERNAL, PLAIN] } else { vec![PLAIN] }
}

/// Whether something outside LDAP says who the peer is.
pub fn is_external(source: &Source) -> bool {
    match (&source.address, &source.tls) {
        (Address::Local { .. }, _) => true,
        (Address::Tcp(_), tls) => tls.as_ref().is_some_and(|tls| tls.client_certificate.is_some()),
    }
}

const EXTERNAL: &str = "EXTERNAL";
const PLAIN: &str = "PLAIN";

/// What a bind request comes to before any secret is looked at.
#[derive(PartialEq, Eq, Debug)]
pub enum Attempt<'a> {
    Password {
        name: &'a str,
        secret: &'a [u8],
        /// Whom the client wants to be; empty is whom it authenticates as.
        authorization: &'a [u8],
    },
    External {
        authorization: &'a [u8],
    },
    /// SASL PLAIN without credentials: ask for them.
    Challenge,
    Refused(Outcome),
}

/// Reads what the client tries.
pub fn attempt<'a>(request: &BindRequest<'a>) -> Attempt<'a> {
    if request.version != 3 {
        return refused(
            ResultCode::ProtocolError,
            format!("expected LDAP version 3, found {}", request.version),
        );
    }
    match request.authentication {
        Authentication::Simple(secret) => simple(request.name, secret),
        Authentication::Sasl { mechanism, credentials } => match mechanism {
            EXTERNAL => Attempt::External {
                authorization: credentials.unwrap_or_default(),
            },
            PLAIN => credentials.map_or(Attempt::Challenge, plain),
            _ => refused(
                ResultCode::AuthMethodNotSupported,
                "expected SASL mechanism EXTERNAL or PLAIN, or a simple bind",
            ),
        },
        Authentication::Unknown => refused(ResultCode::AuthMethodNotSupported, "expected a simple or a SASL bind"),
    }
}

fn simple<'a>(name: &'a str, secret: &'a [u8]) -> Attempt<'a> {
    match (name.is_empty(), secret.is_empty()) {
        (true, true) => refused(
            ResultCode::InappropriateAuthentication,
            "anonymous bind is refused: bind with an application account",
        ),
        (false, true) => refused(
            ResultCode::UnwillingToPerform,
            // Client libraries' tests compare slapd's words.
            "unauthenticated bind (DN with no password) disallowed",
        ),
        (true, false) => refused(ResultCode::InvalidCredentials, ""),
        (false, false) => Attempt::Password {
            name,
            secret,
            authorization: b"",
        },
    }
}

/// RFC 4616 section 2: `[authzid] NUL authcid NUL passwd`. The name may be written as an authorization identity too.
fn plain(credentials: &[u8]) -> Attempt<'_> {
    let mut parts = credentials.splitn(3, |octet| *octet == 0);
    let (Some(authorization), Some(name), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        return refused(ResultCode::InvalidCredentials, "");
    };
    let Ok(name) = std::str::from_utf8(name) else {
        return refused(ResultCode::InvalidCredentials, "");
    };
    let name = name
        .strip_prefix("dn:")
        .or_else(|| name.strip_prefix("u:"))
        .unwrap_or(name);
    if name.is_empty() || secret.is_empty() || secret.contains(&0) {
        return refused(ResultCode::InvalidCredentials, "");
    }
    Attempt::Password {
        name,
        secret,
        authorization,
    }
}

fn refused<'a>(code: ResultCode, message: impl Into<String>) -> Attempt<'a> {
    Attempt::Refused(Outcome::new(code, message))
}

/// What the controls of a bind ask to be told with its answer.
#[derive(Clone, Copy, Debug)]
pub struct BindAsks {
    /// What there is to tell of the secret.
    pub secret: bool,
    /// Whom the bind came to (RFC 3829).
    pub identity: bool,
}

/// Whom a session acts as (RFC 4513 section 5.2.1.8).
pub fn authorization_identity(session: &Session) -> String {
    let facts = &session.identity.account.facts;
    if facts.dn.is_empty() {
        format!("u:{}", facts.name)
    } else {
        format!("dn:{}", facts.dn)
    }
}

impl Conversation {
    /// Begins a bind. The old identity is gone from here on, whatever comes of it.
    pub(super) fn bind(&mut self, id: MessageId, request: &BindRequest<'_>, asks: BindAsks, source: SharedSource) {
        self.state.forget();
        match attempt(request) {
            Attempt::Refused(outcome) => {
                self.directory.note_refused_bind(request.name, &source, &outcome);
                self.answer(id, tag::BIND_RESPONSE, &outcome, Extra::default());
            }
            Attempt::Challenge => {
                self.state.sasl_in_progress();
                let outcome = Outcome::new(ResultCode::SaslBindInProgress, "");
                let extra = Extra {
                    sasl_credentials: Some(&[]),
                    ..Extra::default()
                };
                self.answer(id, tag::BIND_RESPONSE, &outcome, extra);
            }
            Attempt::External { authorization } => {
                let bound = self.directory.bind_external(authorization, &source);
                self.bound(id, bound, asks);
            }
            Attempt::Password {
                name,
                secret,
                authorization,
            } => {
                let remembered = self.directory.bind_remembered(name, secret, authorization, &source);
                if let Some(bound) = remembered {
                    return self.bound(id, bound, asks);
                }
                let authorization = authorization.to_vec();
                let directory = Arc::clone(&self.directory);
                let name = name.to_owned();
                let secret = Secret::new(secret.to_vec());
                self.wait_for_bind(id, async move {
                    let bound = directory.bind(&name, secret, &authorization, &source).await;
                    Answer::Bind { bound, asks }
                });
            }
        }
    }

    /// A bind came to its end.
    pub(super) fn bound(&mut self, id: MessageId, bound: Result<Session, Outcome>, asks: BindAsks) {
        let (mut warning, mut identity) = (None, None);
        let outcome = match bound {
            Ok(session) => {
                if asks.secret {
                    warning = self.directory.warning(&session);
                }
                if asks.identity {
                    identity = Some(authorization_identity(&session));
                }
                let must_change = session.identity.secret.must_change;
                let of_this_bind_alone = !session.source.sessions.is_empty();
                self.state.bound(if of_this_bind_alone {
                    session.seen_from(Arc::clone(&self.source))
                } else {
                    session
                });
                Outcome {
                    password: must_change.then_some(PasswordFault::ChangeAfterReset),
                    ..Outcome::success()
                }
            }
            Err(outcome) => {
                self.state.forget();
                outcome
            }
        };
        let extra = Extra {
            password: PasswordAdvice::of_bind(asks.secret, &outcome, warning),
            authorization_identity: identity.as_deref(),
            ..Extra::default()
        };
        self.answer(id, tag::BIND_RESPONSE, &outcome, extra);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, authentication: Authentication<'_>, version: i64) -> Option<ResultCode> {
        let request = BindRequest {
            version,
            name,
            authentication,
        };
        match attempt(&request) {
            Attempt::Refused(outcome) => Some(outcome.code),
            _ => None,
        }
    }

    #[test]
    fn what_is_refused_without_looking_at_a_secret() {
        use Authentication::{Simple, Unknown};
        use ResultCode::*;
        let sasl = |mechanism, credentials| Authentication::Sasl { mechanism, credentials };
        let cases = [
            ("", Simple(b""), Some(InappropriateAuthentication)),
            ("cn=app", Simple(b""), Some(UnwillingToPerform)),
            (" ", Simple(b""), Some(UnwillingToPerform)),
            ("", Simple(b"secret"), Some(InvalidCredentials)),
            ("cn=app", Simple(b"\0"), None),
            ("cn=app", Unknown, Some(AuthMethodNotSupported)),
            ("", sasl("CRAM-MD5", None), Some(AuthMethodNotSupported)),
            ("", sasl("EXTERNAL", None), None),
            ("", sasl("PLAIN", None), None),
            ("", sasl("PLAIN", Some(b"\0app\0secret")), None),
            ("", sasl("PLAIN", Some(b"app\0app\0secret")), None),
            ("", sasl("PLAIN", Some(b"u:app\0app\0secret")), None),
            ("", sasl("PLAIN", Some(b"\0app\0sec\0ret")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"\0u:\0secret")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"\0\xff\0secret")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"\0app\0")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"\0\0secret")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"app")), Some(InvalidCredentials)),
            ("", sasl("PLAIN", Some(b"")), Some(InvalidCredentials)),
        ];
        for (name, authentication, expected) in cases {
            let text = format!("{name:?} {authentication:?}");
            assert_eq!(code(name, authentication, 3), expected, "{text}");
        }
        assert_eq!(code("cn=app", Simple(b"secret"), 2), Some(ProtocolError));
    }
}
