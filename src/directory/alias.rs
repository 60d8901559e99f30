//! Aliases (RFC 4512 section 2.6): names that stand for other names.
//!
//! Invariants: each step of a name follows at most [`ALIASES_IN_A_NAME`] aliases and none twice; an alias leads nowhere where the
//! view may not see it, what it says, or what it leads to; how many aliases a search follows is bounded by the view's
//! `followed_names`.

use super::kinds::Kind;
use crate::access::{View, aliased_object};
use crate::model::{Dn, Outcome, ResultCode, SearchScope};
use crate::query::{Advance, CandidateLimit, Cursor, Order, Predicate, Query, Work, visible};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Record, Snapshot};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Aliases that one name may lead through.
const ALIASES_IN_A_NAME: usize = 15;

/// The aliases of one snapshot as one view sees them.
#[derive(Clone, Copy)]
pub(super) struct Aliases<'a> {
    pub kind: &'a Kind,
    pub snapshot: &'a Arc<Snapshot>,
    pub schema: &'a Arc<Schema>,
    pub view: &'a View,
}

/// A name, and how much of it must be there because an alias says so.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub dn: Dn,
    pub key: NormalizedDn,
    /// The first alias on the way, as it is spelled, and the name that the last one leads to.
    pub through: Option<(String, NormalizedDn)>,
}

impl Aliases<'_> {
    /// Dereferences every alias in a name, the last RDN's included.
    ///
    /// # Errors
    /// aliasProblem for a circle, or an alias that leads to no name; aliasDereferencingProblem for too many.
    pub(super) fn resolve(&self, dn: &Dn, key: &NormalizedDn) -> Result<Resolved, Outcome> {
        let mut resolved = Resolved {
            dn: dn.clone(),
            key: key.clone(),
            through: None,
        };
        let mut seen = HashSet::new();
        while let Some((at, record)) = self.first_alias(&resolved.key) {
            let first = match &resolved.through {
                Some((first, _)) => first.clone(),
                None => record.dn().to_owned(),
            };
            let problem = |code| Outcome::new(code, "").matching(first.clone());
            if seen.len() == ALIASES_IN_A_NAME {
                return Err(problem(ResultCode::AliasDereferencingProblem));
            }
            let target = aliased_object(record, self.view, self.schema).and_then(|text| Dn::parse(text).ok());
            let target = target.and_then(|dn| self.schema.normalize_dn(&dn).ok().map(|key| (dn, key)));
            let (Some((target, target_key)), true) = (target, seen.insert(at.clone())) else {
                return Err(problem(ResultCode::AliasProblem));
            };
            let below = resolved.dn.rdns().len().saturating_sub(at.depth());
            let rdns = resolved.dn.rdns().iter().take(below).chain(target.rdns());
            resolved.dn = Dn::from_rdns(rdns.cloned().collect());
            let rest = resolved.key.0.get(at.0.len()..).unwrap_or_default();
            resolved.key = NormalizedDn([target_key.0.as_slice(), rest].concat());
            resolved.through = Some((first, target_key));
        }
        Ok(resolved)
    }

    /// The alias nearest to the root in a name.
    fn first_alias(&self, key: &NormalizedDn) -> Option<(NormalizedDn, Record<'_>)> {
        let ends = key.0.iter().enumerate().filter(|(_, octet)| **octet == 0);
        let mut prefixes = ends.map(|(at, _)| NormalizedDn(key.0.iter().take(at + 1).copied().collect()));
        prefixes.find_map(|prefix| {
            let record = self.seen(&prefix)?;
            self.kind.is(record, self.schema).then_some((prefix, record))
        })
    }

    /// An entry that the view may see.
    fn seen(&self, key: &NormalizedDn) -> Option<Record<'_>> {
        let at = self.snapshot.find(key).filter(|_| self.view.covers(key))?;
        let record = self.snapshot.record(at);
        (!self.view.hides(record, self.schema)).then_some(record)
    }

    /// Whether what an alias leads to is there.
    pub(super) fn is_there(&self, key: &NormalizedDn) -> bool {
        self.seen(key).is_some()
    }

    /// Whether the base object of a search is an alias that is left as it is.
    pub(super) fn is_alias(&self, key: &NormalizedDn) -> bool {
        self.seen(key).is_some_and(|record| self.kind.is(record, self.schema))
    }

    /// The subtrees that a search of a subtree goes through when it dereferences: none lies in another.
    ///
    /// # Errors
    /// adminLimitExceeded.
    pub(super) fn subtrees(&self, base: &NormalizedDn) -> Result<Vec<NormalizedDn>, Outcome> {
        let mut roots = BTreeSet::from([base.clone()]);
        let mut waiting = vec![base.clone()];
        let mut followed = 0;
        while let Some(root) = waiting.pop() {
            for key in self.targets(&root, SearchScope::WholeSubtree, &mut followed)? {
                let mut up = Some(key.clone());
                let covered = std::iter::from_fn(|| {
                    let here = up.take()?;
                    up = here.parent();
                    Some(here)
                });
                if !covered.into_iter().any(|key| roots.contains(&key)) {
                    roots.insert(key.clone());
                    waiting.push(key);
                }
            }
        }
        let mut outer: Vec<NormalizedDn> = Vec::new();
        for root in roots {
            // An ancestor comes before what is below it.
            if !outer.last().is_some_and(|last| root.is_within(last)) {
                outer.push(root);
            }
        }
        Ok(outer)
    }

    /// What the aliases in a scope lead to; those that lead nowhere are passed over.
    ///
    /// # Errors
    /// adminLimitExceeded.
    pub(super) fn targets(
        &self,
        base: &NormalizedDn,
        scope: SearchScope,
        followed: &mut u32,
    ) -> Result<Vec<NormalizedDn>, Outcome> {
        let query = Query {
            base: base.clone(),
            base_at: None,
            scope,
            predicate: Predicate::and(vec![self.kind.predicate(self.schema), visible(self.schema, self.view)]),
            order: Order::Any,
            after: None,
            within: self.view.bases.clone(),
            without: self.view.excluded.clone(),
            candidate_limit: CandidateLimit::default(),
        };
        let limit = self.view.quotas.followed_names;
        let mut cursor = Cursor::open(self.snapshot.clone(), query);
        let mut targets = Vec::new();
        loop {
            match cursor.advance(&mut Work { left: u32::MAX }) {
                Advance::Entry(at) => {
                    *followed += 1;
                    if limit != 0 && *followed > limit {
                        let message = format!("expected a search that follows at most {limit} aliases");
                        return Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
                    }
                    let key = self.snapshot.key(at);
                    let Ok(dn) = Dn::parse(self.snapshot.record(at).dn()) else {
                        continue;
                    };
                    let resolved = self.resolve(&dn, &key).ok();
                    targets.extend(resolved.map(|resolved| resolved.key).filter(|key| self.is_there(key)));
                }
                Advance::Paused => {}
                Advance::End | Advance::CandidateLimit => return Ok(targets),
            }
        }
    }
}
