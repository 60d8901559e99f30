//! The core: one way in for every front end. Admits an identity, runs searches, makes changes durable, keeps the audit.
//!
//! Useful for: LDAP today, other front ends tomorrow; the command line when no server runs. Not for: wire formats.
//!
//! Invariants: no search without a [`Session`]; a search reads one pinned snapshot and holds no lock; every operation leaves
//! one audit record; updates are checked and applied one at a time by one committer, many in one durable group.

use crate::access::{ReleasedEntry, Selection, View};
use crate::account::{Identity, Secret};
use crate::model::{
    Attribute, AttributeDescription, Dn, Entry, Filter, Outcome, Rdn, SearchScope, SharedSource, Value,
};
use crate::query::{Plan, Work};
use crate::schema::Schema;
use std::sync::Arc;

/// An open directory. Shared by `Arc`.
pub struct Directory {}

/// A bound identity and what it may see: what a front end holds between operations.
#[derive(Clone)]
pub struct Session {
    pub identity: Identity,
    pub source: SharedSource,
    pub view: Arc<View>,
}

/// A search as a front end asks it.
pub struct SearchRequest<'a> {
    /// The base object as spelled (RFC 4514).
    pub base: &'a str,
    pub scope: SearchScope,
    pub filter: &'a Filter<'a>,
    pub selection: Selection,
    /// The attribute list as asked, for the audit.
    pub attributes: &'a [&'a str],
    /// As the client asked; 0 means none.
    pub size_limit: u32,
    pub time_limit_seconds: u32,
    pub page: Option<PageRequest<'a>>,
}

/// RFC 2696, decoded.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    pub size: u32,
    /// Empty for the first page.
    pub cookie: &'a [u8],
}

/// A running search. Drop it to abandon it; the audit says so.
pub struct Search {}

/// What [`Search::step`] came to.
pub enum SearchStep {
    /// The work is used up or `emit` asked to stop; call again.
    More,
    Done(SearchDone),
}

pub struct SearchDone {
    pub outcome: Outcome,
    /// There when the request had a page: the cookie (empty at the end) and an estimate of all entries (0 when unknown).
    pub page: Option<(Vec<u8>, u32)>,
}

/// Facts of the protocol front end that the root DSE publishes.
#[derive(Clone, Debug, Default)]
pub struct ProtocolFacts {
    pub controls: Vec<&'static str>,
    pub extensions: Vec<&'static str>,
    pub features: Vec<&'static str>,
    pub mechanisms: Vec<&'static str>,
}

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

impl Directory {
    pub fn schema(&self) -> &Arc<Schema> {
        todo!()
    }

    /// Simple bind. Waits for the argon2 pool, never for the disk. The error is what the wire says.
    pub async fn bind(&self, name: &str, secret: Secret, source: &SharedSource) -> Result<Session, Outcome> {
        let _ = (name, secret, source);
        todo!()
    }

    /// The same where the answer is remembered; `None` means call [`Directory::bind`].
    pub fn bind_remembered(&self, name: &str, secret: &[u8], source: &SharedSource) -> Option<Session> {
        let _ = (name, secret, source);
        todo!()
    }

    /// SASL EXTERNAL: a client certificate, or the credentials of a UNIX socket's peer (root and the server's own user
    /// are the local administrator).
    pub fn bind_external(&self, source: &SharedSource) -> Result<Session, Outcome> {
        let _ = source;
        todo!()
    }

    /// A front end refused a bind before it came here (anonymous, empty password, unknown mechanism): audit it.
    pub fn note_refused_bind(&self, name: &str, source: &SharedSource, outcome: &Outcome) {
        let _ = (name, source, outcome);
    }

    /// Whether the session still holds: its account was not changed, disabled, expired or deleted since.
    pub fn holds(&self, session: &Session) -> bool {
        let _ = session;
        todo!()
    }

    /// Begins a search: resolves the base, compiles, plans. The root DSE and the subschema subentry are answered too
    /// (`facts` for the former); `session` `None` may only read the root DSE's protocol facts.
    pub fn search(
        self: &Arc<Self>,
        session: Option<&Session>,
        request: SearchRequest<'_>,
        facts: &ProtocolFacts,
    ) -> Result<Search, Outcome> {
        let _ = (session, request, facts);
        todo!()
    }

    pub fn compare(&self, session: &Session, dn: &str, attribute: &str, value: &[u8]) -> Outcome {
        let _ = (session, dn, attribute, value);
        todo!()
    }

    /// Makes a change durable and visible, then answers.
    pub async fn update(self: &Arc<Self>, session: &Session, update: Update) -> Outcome {
        let _ = (session, update);
        todo!()
    }

    /// RFC 3062. `target` is a DN or name, `None` the session's own account; `new` `None` asks for a generated secret, which is
    /// given back once. `keep_old_seconds` (command line rotation) lets the old secret stay valid so long.
    pub async fn change_secret(
        self: &Arc<Self>,
        session: &Session,
        target: Option<&str>,
        old: Option<Secret>,
        new: Option<Secret>,
    ) -> Result<Option<Secret>, Outcome> {
        let _ = (session, target, old, new);
        todo!()
    }
}

impl Search {
    /// Runs for at most `work`; calls `emit` with each entry, which says whether to go on. Time limit, candidate limit and size limit are kept here.
    pub fn step(&mut self, work: &mut Work, emit: &mut dyn FnMut(&ReleasedEntry<'_>) -> bool) -> SearchStep {
        let _ = (work, emit);
        todo!()
    }

    pub fn plan(&self) -> Option<&Plan> {
        todo!()
    }

    /// The client abandoned it: the audit record says so.
    pub fn abandon(self) {}
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
