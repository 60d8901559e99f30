//! Where a search looks: base and scope, the subtrees and objects that aliases add, and the kinds of entries it gives.

use super::super::Directory;
use super::super::alias::{Aliases, Resolved};
use super::super::kinds::Held;
use super::super::referral::{Asked, Continuations};
use super::SearchRequest;
use crate::access::View;
use crate::model::{Dn, Outcome, ResultCode, SearchScope};
use crate::query::{CandidateLimit, Cursor, Order, Predicate, Query, child_or_named, named_entries, visible};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Location, Snapshot};
use std::sync::Arc;

/// Where a search looks.
pub(super) struct Area {
    pub base: NormalizedDn,
    pub base_at: Option<Location>,
    pub scope: SearchScope,
    /// Subtrees that entries must lie in.
    pub within: Arc<[NormalizedDn]>,
    /// What else must be true of entries, referral objects included.
    pub restriction: Predicate,
    /// Which kinds of entries are given.
    pub kinds: Predicate,
}

impl Directory {
    /// The base object as aliases and referral objects have it: its key, or where else to look.
    pub(super) fn resolve_base(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &View,
        key: NormalizedDn,
        request: &SearchRequest<'_>,
        held: &Held,
    ) -> Result<NormalizedDn, Outcome> {
        if !held.referrals && !held.aliases && self.referrals.is_empty() {
            return Ok(key);
        }
        let dn = Dn::parse(request.base).unwrap_or_default();
        let aliases = aliases(snapshot, view, held);
        let resolved = match held.aliases && request.aliases.in_finding_base() {
            true => aliases.resolve(&dn, &key)?,
            false => Resolved { dn, key, through: None },
        };
        let asked = Asked {
            dn: &resolved.dn,
            key: &resolved.key,
            scope: Some(request.scope),
            manage: request.manage_dsa_it,
        };
        // An alias leads nowhere outside the naming contexts, whoever may know more.
        let Some((first, target)) = &resolved.through else {
            self.referral(snapshot, view, &asked)?;
            return Ok(resolved.key);
        };
        let problem = || Outcome::new(ResultCode::AliasProblem, "").matching(first.clone());
        if !self.suffixes.iter().any(|(_, suffix)| target.is_within(suffix)) {
            return Err(problem());
        }
        self.referral(snapshot, view, &asked)?;
        match aliases.is_there(target) {
            true => Ok(resolved.key),
            false => Err(problem()),
        }
    }

    /// Where to look below a base object that was found.
    pub(super) fn area(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &View,
        (base, base_at): (NormalizedDn, Option<Location>),
        request: &SearchRequest<'_>,
        held: &Held,
    ) -> Result<Area, Outcome> {
        let mut area = Area {
            base,
            base_at,
            scope: request.scope,
            within: view.bases.clone(),
            restriction: Predicate::True,
            kinds: given_kinds(request, held, snapshot.schema()),
        };
        let aliases = aliases(snapshot, view, held);
        let dereferences = held.aliases && request.aliases.in_searching() && request.scope != SearchScope::BaseObject;
        if !dereferences || aliases.is_alias(&area.base) {
            return Ok(area);
        }
        area.kinds = Predicate::and(vec![area.kinds, held.kinds.alias.predicate(snapshot.schema()).negate()]);
        if matches!(request.scope, SearchScope::WholeSubtree | SearchScope::Subordinates) {
            let roots = aliases.subtrees(&area.base)?;
            if roots != [area.base.clone()] {
                if request.scope == SearchScope::Subordinates {
                    area.restriction = named_entries(snapshot.schema(), vec![area.base.clone()]).negate();
                }
                area.look_in(roots, view);
            }
            return Ok(area);
        }
        let targets = aliases.targets(&area.base, request.scope, &mut 0)?;
        if !targets.is_empty() {
            area.restriction = child_or_named(snapshot.schema(), &area.base, targets.clone());
            let mut roots = targets;
            roots.push(area.base.clone());
            area.look_in(roots, view);
        }
        Ok(area)
    }
}

/// Referral objects are given only where they are managed, subentries (RFC 3672 section 3) only where they are the base
/// object or asked for, and then nothing else is.
pub(in crate::directory) fn given_kinds(request: &SearchRequest<'_>, held: &Held, schema: &Schema) -> Predicate {
    let mut kinds = Vec::new();
    if held.referrals && !request.manage_dsa_it {
        kinds.push(held.kinds.referral.predicate(schema).negate());
    }
    let subentry = || held.kinds.subentry.predicate(schema);
    match request.subentries {
        Some(true) => kinds.push(subentry()),
        Some(false) if held.subentries => kinds.push(subentry().negate()),
        None if held.subentries && request.scope != SearchScope::BaseObject => kinds.push(subentry().negate()),
        _ => {}
    }
    match kinds.is_empty() {
        true => Predicate::True,
        false => Predicate::and(kinds),
    }
}

fn aliases<'a>(snapshot: &'a Arc<Snapshot>, view: &'a View, held: &'a Held) -> Aliases<'a> {
    Aliases {
        kind: &held.kinds.alias,
        snapshot,
        schema: snapshot.schema(),
        view,
    }
}

impl Area {
    /// The referral objects in the area.
    pub(super) fn continuations(
        &self,
        view: &View,
        snapshot: &Arc<Snapshot>,
        scope: SearchScope,
        held: &Arc<Held>,
    ) -> Continuations {
        let schema = snapshot.schema();
        let referrals = held.kinds.referral.predicate(schema);
        let query = Query {
            base: self.base.clone(),
            base_at: self.base_at,
            scope: self.scope,
            predicate: Predicate::and(vec![referrals, visible(schema, view), self.restriction.clone()]),
            order: Order::Any,
            after: None,
            within: self.within.clone(),
            without: view.excluded.clone(),
            candidate_limit: CandidateLimit::default(),
        };
        Continuations::new(Cursor::open(snapshot.clone(), query), scope)
    }

    /// Everything in these subtrees that lies in the view's bases.
    fn look_in(&mut self, roots: Vec<NormalizedDn>, view: &View) {
        let both = |root: &NormalizedDn, base: &NormalizedDn| match (root.is_within(base), base.is_within(root)) {
            (true, _) => Some(root.clone()),
            (_, true) => Some(base.clone()),
            _ => None,
        };
        let pairs = roots
            .iter()
            .flat_map(|root| view.bases.iter().filter_map(move |base| both(root, base)));
        self.within = pairs.collect();
        self.base = NormalizedDn::default();
        self.base_at = None;
        self.scope = SearchScope::WholeSubtree;
    }
}
