//! Where a search looks: base and scope, the subtrees and objects that aliases add, and the kinds of entries it gives.

use super::super::alias::{Aliases, Resolved};
use super::super::kinds::Held;
use super::super::referral::{Asked, Continuations};
use super::super::{Directory, Session};
use super::SearchRequest;
use crate::access::View;
use crate::model::{Dn, Outcome, ResultCode, SearchScope};
use crate::query::{Cursor, Order, Predicate, Query, child_or_named, named_entries, visible};
use crate::schema::NormalizedDn;
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
        let aliases = self.aliases(snapshot, view);
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

    fn aliases<'a>(&'a self, snapshot: &'a Arc<Snapshot>, view: &'a View) -> Aliases<'a> {
        Aliases {
            kind: &self.kinds.alias,
            snapshot,
            schema: &self.schema,
            view,
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
            kinds: self.given_kinds(request, held),
        };
        let aliases = self.aliases(snapshot, view);
        let dereferences = held.aliases && request.aliases.in_searching() && request.scope != SearchScope::BaseObject;
        if !dereferences || aliases.is_alias(&area.base) {
            return Ok(area);
        }
        area.kinds = Predicate::and(vec![area.kinds, self.kinds.alias.predicate(&self.schema).negate()]);
        if matches!(request.scope, SearchScope::WholeSubtree | SearchScope::Subordinates) {
            let roots = aliases.subtrees(&area.base)?;
            if roots != [area.base.clone()] {
                if request.scope == SearchScope::Subordinates {
                    area.restriction = named_entries(&self.schema, vec![area.base.clone()]).negate();
                }
                area.look_in(roots, view);
            }
            return Ok(area);
        }
        let targets = aliases.targets(&area.base, request.scope, &mut 0)?;
        if !targets.is_empty() {
            area.restriction = child_or_named(&self.schema, &area.base, targets.clone());
            let mut roots = targets;
            roots.push(area.base.clone());
            area.look_in(roots, view);
        }
        Ok(area)
    }

    /// Referral objects are given only where they are managed, subentries (RFC 3672 section 3) only where they are the base
    /// object or asked for, and then nothing else is.
    pub(in crate::directory) fn given_kinds(&self, request: &SearchRequest<'_>, held: &Held) -> Predicate {
        let mut kinds = Vec::new();
        if held.referrals && !request.manage_dsa_it {
            kinds.push(self.kinds.referral.predicate(&self.schema).negate());
        }
        let subentry = || self.kinds.subentry.predicate(&self.schema);
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

    /// The referral objects in the area.
    pub(super) fn continuations(
        &self,
        session: &Session,
        snapshot: &Arc<Snapshot>,
        area: &Area,
        scope: SearchScope,
    ) -> Continuations {
        let (schema, view) = (&self.schema, &session.view);
        let referrals = self.kinds.referral.predicate(schema);
        let query = Query {
            base: area.base.clone(),
            base_at: area.base_at,
            scope: area.scope,
            predicate: Predicate::and(vec![referrals, visible(schema, view), area.restriction.clone()]),
            order: Order::Any,
            after: None,
            within: area.within.clone(),
            without: view.excluded.clone(),
            candidate_limit: 0,
        };
        Continuations::new(Cursor::open(snapshot.clone(), schema.clone(), query), scope)
    }
}

impl Area {
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
