//! Referrals (RFC 3296): names and subtrees that another server holds.
//!
//! Invariants: a referral object tells where to go on only where the view may see it and its `ref`; nothing at or below one is
//! answered from here unless ManageDsaIT asks for the object itself.

use super::committer::Target;
use super::conditions::UpdateRequest;
use super::kinds::Kind;
use super::{Directory, Update};
use crate::access::{View, references};
use crate::model::{Dn, LdapUrl, Outcome, ResultCode, SearchScope};
use crate::query::{Advance, Cursor, Work};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Change, Record, Snapshot};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// What an operation is about, as far as a referral needs it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub dn: &'a Dn,
    pub key: &'a NormalizedDn,
    /// Of a search.
    pub scope: Option<SearchScope>,
    /// ManageDsaIT: a referral object is an entry like others.
    pub manage: bool,
}

/// Where referral objects are looked for.
#[derive(Clone, Copy)]
pub(super) struct Knowledge<'a> {
    pub kind: &'a Kind,
    pub snapshot: &'a Snapshot,
    pub schema: &'a Schema,
    pub view: &'a View,
    /// What the writer knows already.
    pub plain: Option<&'a PlainNames>,
    /// An entry that was looked up already, and where it is.
    pub target: Option<Target<'a>>,
}

/// Names above entries that were changed lately: at none of them is a referral object. Most changes lie below the same few names.
#[derive(Default)]
pub(super) struct PlainNames(RefCell<HashSet<NormalizedDn>>);

/// As many are kept.
const PLAIN_NAMES: usize = 1_024;

impl PlainNames {
    /// Entries changed: what was known of their names is so no more.
    pub(super) fn forget(&self, changes: &[Change]) {
        let mut names = self.0.borrow_mut();
        for change in changes {
            let (Change::Put { key, .. } | Change::Delete { key, .. }) = change;
            names.remove(key);
        }
    }

    pub(super) fn forget_all(&self) {
        self.0.borrow_mut().clear();
    }

    fn holds(&self, key: &NormalizedDn) -> bool {
        self.0.borrow().contains(key)
    }

    fn note(&self, key: &NormalizedDn) {
        let mut names = self.0.borrow_mut();
        if names.len() >= PLAIN_NAMES {
            names.clear();
        }
        names.insert(key.clone());
    }
}

impl Knowledge<'_> {
    /// The referral that a name at or below a referral object gets.
    pub(super) fn referral(&self, asked: &Asked<'_>) -> Option<Outcome> {
        let mut ancestor = Some(asked.key.clone());
        while let Some(key) = ancestor.filter(|key| !key.is_root()) {
            let itself = key == *asked.key;
            let known = self.plain.filter(|_| !itself);
            let passed = (itself && asked.manage) || known.is_some_and(|plain| plain.holds(&key));
            if !passed {
                let at = match self.target.filter(|target| *target.key == key) {
                    Some(target) => target.at,
                    None => self.snapshot.find(&key),
                };
                let found = at.map(|at| self.snapshot.record(at));
                match found.filter(|record| self.kind.is(*record, self.schema)) {
                    Some(record) if self.view.covers(&key) => {
                        if let Some(urls) = urls(record, self.view, self.schema, asked) {
                            return Some(Outcome::referral(urls).matching(record.dn().to_owned()));
                        }
                    }
                    Some(_) => {}
                    None => known.into_iter().for_each(|plain| plain.note(&key)),
                }
            }
            ancestor = key.parent();
        }
        None
    }
}

fn urls(record: Record<'_>, view: &View, schema: &Schema, asked: &Asked<'_>) -> Option<Vec<String>> {
    let object = Dn::parse(record.dn()).ok()?;
    let references = references(record, view, schema);
    let urls: Vec<String> = references
        .into_iter()
        .map(|text| rewritten(text, &object, asked))
        .collect();
    (!urls.is_empty()).then_some(urls)
}

/// The URLs with which a search goes on below a referral object in its scope.
pub(super) fn continuation(record: Record<'_>, scope: SearchScope, view: &View, schema: &Schema) -> Vec<String> {
    let Ok(object) = Dn::parse(record.dn()) else {
        return Vec::new();
    };
    let asked = Asked {
        dn: &object,
        key: &NormalizedDn::default(),
        scope: Some(match scope {
            SearchScope::SingleLevel => SearchScope::BaseObject,
            // The object elsewhere is below the base.
            SearchScope::Subordinates => SearchScope::WholeSubtree,
            other => other,
        }),
        manage: false,
    };
    urls(record, view, schema, &asked).unwrap_or_default()
}

/// What lies at or below a referral object is changed elsewhere, and nothing moves there (RFC 3296 section 5.2).
pub(super) fn refer_update(
    knowledge: Knowledge<'_>,
    key: &NormalizedDn,
    request: &UpdateRequest,
) -> Result<(), Outcome> {
    let about = |dn: &Dn, key: &NormalizedDn, manage| {
        knowledge.referral(&Asked {
            dn,
            key,
            scope: None,
            manage,
        })
    };
    if let Some(outcome) = about(request.update.dn(), key, request.manage_dsa_it) {
        return Err(outcome);
    }
    let Update::ModifyDn {
        new_superior: Some(superior),
        ..
    } = &request.update
    else {
        return Ok(());
    };
    let elsewhere = knowledge.schema.normalize_dn(superior).ok();
    match elsewhere.and_then(|key| about(superior, &key, false)) {
        Some(_) => Err(Outcome::new(
            ResultCode::AffectsMultipleDsas,
            "the new superior is held by another server",
        )),
        None => Ok(()),
    }
}

/// The URL for what was asked: what lies below `object` here lies below the URL's own name there. A label behind the URL is
/// left out; what is no LDAP URL stays as it is.
fn rewritten(text: &str, object: &Dn, asked: &Asked<'_>) -> String {
    let text = text.split(' ').next().unwrap_or_default();
    let Some(url) = LdapUrl::parse(text) else {
        return text.to_owned();
    };
    let dn = if url.dn.is_root() {
        asked.dn.clone()
    } else {
        let below = asked.dn.rdns().len().saturating_sub(object.rdns().len());
        let rdns = asked.dn.rdns().iter().take(below).chain(url.dn.rdns());
        Dn::from_rdns(rdns.cloned().collect())
    };
    match asked.scope {
        Some(scope) => url.for_search(&dn, scope),
        None => url.for_target(&dn),
    }
}

/// The referral objects in the scope of a search, given after its entries.
pub(super) struct Continuations {
    cursor: Cursor,
    scope: SearchScope,
}

impl Continuations {
    /// `scope` as the client asked.
    pub(super) fn new(cursor: Cursor, scope: SearchScope) -> Continuations {
        Continuations { cursor, scope }
    }
}

/// What a look for the next one came to.
pub(super) enum Continuation {
    Urls(Vec<String>),
    Paused,
    End,
}

impl Continuations {
    pub(super) fn next(&mut self, view: &View, work: &mut Work) -> Continuation {
        loop {
            match self.cursor.advance(work) {
                Advance::Entry(at) => {
                    let snapshot = self.cursor.snapshot();
                    let urls = continuation(snapshot.record(at), self.scope, view, snapshot.schema());
                    if !urls.is_empty() {
                        return Continuation::Urls(urls);
                    }
                }
                Advance::Paused => return Continuation::Paused,
                Advance::End | Advance::CandidateLimit => return Continuation::End,
            }
        }
    }
}

impl Directory {
    /// The referral for a name that lies in no naming context, where the configuration names servers that know more.
    pub(super) fn superior_referral(&self, asked: &Asked<'_>) -> Option<Outcome> {
        let outside = !self.suffixes.iter().any(|(_, suffix)| asked.key.is_within(suffix));
        if self.referrals.is_empty() || !outside || asked.key.is_root() {
            return None;
        }
        let root = Dn::root();
        let urls = self.referrals.iter().map(|text| rewritten(text, &root, asked));
        Some(Outcome::referral(urls.collect()))
    }

    /// The referral for a target of an operation: by a referral object at or above it, or because it lies in no naming context.
    pub(super) fn referral(&self, snapshot: &Arc<Snapshot>, view: &View, asked: &Asked<'_>) -> Result<(), Outcome> {
        let held = self.held(snapshot);
        let knowledge = Knowledge {
            kind: &held.kinds.referral,
            snapshot,
            schema: snapshot.schema(),
            view,
            plain: None,
            target: None,
        };
        let by_object = match held.referrals {
            true => knowledge.referral(asked),
            false => None,
        };
        by_object.or_else(|| self.superior_referral(asked)).map_or(Ok(()), Err)
    }
}
