//! From a name and a secret, a certificate or a peer's credentials to a [`Session`].

use super::committer::Job;
use super::named::Named;
use super::{Directory, Session, clock};
use crate::account::{AccountFacts, Identity, Refusal, Role, Secret};
use crate::audit::{Act, Actor, AuditRecord};
use crate::model::{Address, Outcome, PasswordWarning, ResultCode, SharedSource, Source};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

impl Directory {
    /// Bind by DN, account name or mail-like name, or `uid` in a general directory. Waits for the argon2 pool,
    /// and for the disk where an expired secret has one use less. `authorization` is
    /// whom the client wants to be (RFC 4513 section 5.2.1.8), empty or itself: nobody acts as another by a bind.
    ///
    /// # Errors
    /// What the wire says: `invalidCredentials` whatever the reason, or `busy`.
    pub async fn bind(
        &self,
        name: &str,
        secret: Secret,
        authorization: &[u8],
        source: &SharedSource,
    ) -> Result<Session, Outcome> {
        let started = Instant::now();
        let key = self.key_of_name(name);
        if let Some(key) = &key {
            self.load_general(key);
        }
        let answer = self
            .accounts
            .authenticate(name, key.as_ref(), secret, source, clock::seconds())
            .await;
        let answer = match answer {
            Ok(identity) => self.used_up(identity).await,
            refused => refused,
        };
        let answer = answer.and_then(|identity| self.authorized(identity, authorization));
        self.conclude(answer, name, source, started)
    }

    /// A bind that used up one of the few uses of an expired secret waits until that is durable. Only the right secret comes here, and
    /// not often, so nobody makes the disk work by guesses.
    async fn used_up(&self, identity: Identity) -> Result<Identity, Refusal> {
        if !matches!(identity.warning, Some(PasswordWarning::GraceLeft(_))) {
            return Ok(identity);
        }
        let (reply, kept) = oneshot::channel();
        let key = identity.account.facts.key.clone();
        let refusal = |outcome| Refusal {
            outcome,
            detail: "the use of an expired secret could not be kept",
            account: Some(identity.account.facts.name.clone()),
        };
        self.committer.submit(Job::Keep { key, reply }).map_err(refusal)?;
        match kept.await {
            Ok(true) => Ok(identity),
            Ok(false) | Err(_) => Err(refusal(Outcome::new(ResultCode::Unavailable, ""))),
        }
    }

    /// The same where the answer is remembered; `None` means call [`Directory::bind`].
    pub fn bind_remembered(
        &self,
        name: &str,
        secret: &[u8],
        authorization: &[u8],
        source: &SharedSource,
    ) -> Option<Result<Session, Outcome>> {
        let started = Instant::now();
        let key = self.key_of_name(name);
        let identity = self
            .accounts
            .authenticate_remembered(name, key.as_ref(), secret, source, clock::seconds())?;
        let answer = self.authorized(identity, authorization);
        Some(self.conclude(answer, name, source, started))
    }

    /// SASL EXTERNAL: a client certificate, or the credentials of a UNIX socket's peer (root and the server's own user
    /// are the local administrator).
    ///
    /// # Errors
    /// `invalidCredentials` where neither maps to an account.
    pub fn bind_external(&self, authorization: &[u8], source: &SharedSource) -> Result<Session, Outcome> {
        let started = Instant::now();
        let (name, answer) = match (
            &source.address,
            source.tls.as_ref().and_then(|tls| Some((tls, tls.client_certificate?))),
        ) {
            (Address::Local { uid, .. }, _) => (format!("uid={uid} on ldapi"), local_administrator(*uid)),
            (_, Some((tls, fingerprint))) => {
                let name = tls.client_subject.clone().unwrap_or_default();
                self.load_certified(&fingerprint);
                let certificate = (&fingerprint, tls.client_certificate_ends);
                let now = clock::seconds();
                (name, self.accounts.authenticate_certificate(certificate, source, now))
            }
            _ => (String::new(), Err(no_external())),
        };
        let answer = answer.and_then(|identity| self.authorized(identity, authorization));
        self.conclude(answer, &name, source, started)
    }

    /// The identity, if it is whom the client wants to be.
    fn authorized(&self, identity: Identity, authorization: &[u8]) -> Result<Identity, Refusal> {
        if authorization.is_empty() || self.names(&identity, authorization) {
            return Ok(identity);
        }
        Err(Refusal {
            outcome: invalid_credentials(),
            detail: "asked to act as another",
            account: Some(identity.account.facts.name.clone()),
        })
    }

    /// Whether an authorization identity names this one, or a DN or a name alone does. What it was bound as is its own; so are the
    /// words for the local administrator, who has no entry.
    fn names(&self, identity: &Identity, authorization: &[u8]) -> bool {
        let facts = &identity.account.facts;
        let Ok(text) = std::str::from_utf8(authorization) else {
            return false;
        };
        let same_name = |name: &str| {
            let name = name.trim().to_lowercase();
            [&facts.name, &identity.bound_as]
                .into_iter()
                .chain(&facts.mails)
                .any(|own| own.to_lowercase() == name)
        };
        let named = Named::parse(text);
        let same_words = match named {
            Named::Dn(dn) => dn == facts.dn,
            Named::User(name) | Named::Either(name) => same_name(name),
        };
        same_words || self.key_of_named(named).is_some_and(|key| key == facts.key)
    }

    /// A front end refused a bind before it came here (anonymous, empty password, unknown mechanism): audits it.
    pub fn note_refused_bind(&self, name: &str, source: &SharedSource, outcome: &Outcome) {
        self.audit_unlooked(name, source, "refused before authentication", outcome);
    }

    /// A bind was refused without a look at who it is: that is audited as often as the configuration says, and counted.
    fn audit_unlooked(&self, name: &str, source: &Source, detail: &str, outcome: &Outcome) {
        if let Some(left_out) = self.refusals.take(clock::seconds()) {
            self.audit_bind(name, source, (detail, left_out), outcome, Instant::now());
        }
    }

    /// Whether the session still holds: its account was not changed, disabled, expired or deleted since, nor its secret or profile.
    pub fn holds(&self, session: &Session) -> bool {
        let holds = |identity: &Identity| identity.holds(clock::seconds);
        holds(&session.identity) && session.bound.as_deref().is_none_or(holds) && self.holds_view(session)
    }

    /// What a bind is warned of: what the password policy says, or that the account, or the secret it is bound with, ends soon.
    pub fn warning(&self, session: &Session) -> Option<PasswordWarning> {
        let near = |left: &u64| *left < self.accounts.options().expiry_warning_seconds;
        let ends = session.identity.ends();
        let left = ends.and_then(|ends| ends.checked_sub(clock::seconds())).filter(near);
        match (session.identity.warning, left) {
            (Some(PasswordWarning::ExpiresIn(by_policy)), Some(left)) => {
                Some(PasswordWarning::ExpiresIn(by_policy.min(left)))
            }
            (Some(warning), _) => Some(warning),
            (None, left) => left.map(PasswordWarning::ExpiresIn),
        }
    }

    /// The session of an operation that is under way, as it goes on after its own connection changed the secret it is bound with.
    pub fn going_on_as(&self, session: &Session) -> Option<Session> {
        self.renewed(session)
            .filter(|next| Arc::ptr_eq(&next.view, &session.view))
    }

    /// Why a session does not hold any more, for who was using it.
    pub fn why_ended(&self, session: &Session) -> &'static str {
        let mut identities = std::iter::once(&session.identity).chain(session.bound.as_deref());
        match self.holds_view(session) {
            _ if identities.clone().any(|identity| !identity.holds(|| 0)) => {
                "the account, its secret or what it may do was changed: bind again"
            }
            _ if identities.any(|identity| !identity.holds(clock::seconds)) => {
                "the account, or the secret it is bound with, has come to its end"
            }
            false => "another policy is in force: ask again",
            true => "the session has ended: bind again",
        }
    }

    /// How long a session can hold at most.
    pub fn ends_in(&self, session: &Session) -> Option<Duration> {
        let identities = std::iter::once(&session.identity).chain(session.bound.as_deref());
        let end = identities.filter_map(Identity::ends).min()?;
        let left = end.saturating_mul(1_000_000).saturating_sub(clock::microseconds());
        Some(Duration::from_micros(left))
    }

    /// Whether the session's view is one of the policy in force.
    fn holds_view(&self, session: &Session) -> bool {
        let number = self.policy_number.load(Ordering::Acquire);
        if session.policy.load(Ordering::Relaxed) == number {
            return true;
        }
        let view = self.view(&session.view.profile);
        let holds = view.is_some_and(|view| Arc::ptr_eq(&view, &session.view));
        if holds {
            session.policy.store(number, Ordering::Relaxed);
        }
        holds
    }

    fn conclude(
        &self,
        answer: Result<Identity, Refusal>,
        name: &str,
        source: &SharedSource,
        started: Instant,
    ) -> Result<Session, Outcome> {
        let session = answer.and_then(|identity| self.session(identity, source));
        match &session {
            Ok(session) => {
                let account = &session.identity.account.facts.name;
                self.audit_bind(account, source, (name, 0), &Outcome::success(), started);
            }
            Err(refusal) if refusal.outcome.code == ResultCode::Busy => {
                self.audit_unlooked(name, source, refusal.detail, &refusal.outcome);
            }
            Err(refusal) => self.audit_bind(name, source, (refusal.detail, 0), &refusal.outcome, started),
        }
        session.map_err(|refusal| refusal.outcome)
    }

    fn session(&self, identity: Identity, source: &SharedSource) -> Result<Session, Refusal> {
        let facts = &identity.account.facts;
        let profile = self.profile_of(facts);
        match self.view(profile) {
            Some(view) => Ok(Session::new(identity, source.clone(), view)),
            None => {
                tracing::error!(
                    account = facts.name,
                    profile,
                    "the account's release profile is not in the policy file"
                );
                let account = Some(facts.name.clone());
                Err(Refusal {
                    outcome: invalid_credentials(),
                    detail: "release profile is not in the policy",
                    account,
                })
            }
        }
    }

    /// The name of an account's release profile.
    pub(super) fn profile_of<'f>(&self, facts: &'f AccountFacts) -> &'f str {
        facts.profile.as_deref().unwrap_or_else(|| default_profile(facts.role))
    }

    fn audit_bind(
        &self,
        account: &str,
        source: &Source,
        (detail, left_out): (&str, u64),
        outcome: &Outcome,
        started: Instant,
    ) {
        let mut record = AuditRecord::default();
        record.begin(
            Act::Bind,
            &Actor::new(beginning(account), source),
            clock::milliseconds(),
        );
        record.fact("detail", beginning(detail).as_bytes());
        if left_out > 0 {
            record.number("leftOut", left_out);
        }
        if let Some(tls) = &source.tls {
            record.fact("tls", tls.version.as_bytes());
        }
        record.finish(outcome, started.elapsed());
        self.audit.append(&record);
    }
}

/// What of a bind name goes into the audit: names of accounts are shorter.
fn beginning(name: &str) -> &str {
    let end = (0..=NAME_OCTETS_KEPT.min(name.len()))
        .rev()
        .find(|at| name.is_char_boundary(*at));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

const NAME_OCTETS_KEPT: usize = 512;

/// The release profile of an account that names none.
fn default_profile(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Administrator => "administrator",
    }
}

fn invalid_credentials() -> Outcome {
    Outcome::new(ResultCode::InvalidCredentials, "")
}

fn no_external() -> Refusal {
    Refusal {
        outcome: invalid_credentials(),
        detail: "no client certificate and no local peer",
        account: None,
    }
}

fn local_administrator(uid: u32) -> Result<Identity, Refusal> {
    if uid == 0 || Some(uid) == own_uid() {
        return Ok(Identity::local_administrator());
    }
    Err(Refusal {
        outcome: invalid_credentials(),
        detail: "the local user is neither root nor the server's own",
        account: None,
    })
}

/// The user the server runs as, from the owner of its own process directory.
fn own_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}
