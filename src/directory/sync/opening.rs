//! How a synchronisation begins: what the client may follow, what its cookie says, and what it is told first.

use super::contents::Contents;
use super::left::changed_since;
use super::trail::Trail;
use super::{Stage, Sync, SyncRequest, refresh_required};
use crate::access::View;
use crate::account::Identity;
use crate::directory::feed::{Follower, Position};
use crate::directory::referral::Asked;
use crate::directory::search::{Limits, given_kinds};
use crate::directory::{Directory, SearchRequest, Session};
use crate::model::{Dn, Outcome, ResultCode, SearchScope};
use crate::query::{CandidateLimit, Order, Predicate, Query, compile};
use crate::schema::NormalizedDn;
use crate::store::Snapshot;
use crate::store::record::csn_time;
use std::sync::Arc;
use std::time::Instant;

/// What a cookie says.
enum Cookie {
    Initial,
    Since(Position),
    Unusable,
}

impl Directory {
    /// Begins to synchronise the content of a search.
    ///
    /// # Errors
    /// insufficientAccessRights where the profile does not allow it, busy where all places are taken, e-syncRefreshRequired
    /// for a cookie that is of no use, else as [`Directory::search`]. The refusal is in the audit.
    pub fn sync(
        self: &Arc<Self>,
        session: Option<&Session>,
        request: SearchRequest<'_>,
        asked: SyncRequest<'_>,
    ) -> Result<Sync, Outcome> {
        let Some(session) = session else {
            let message = "bind before you search";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        };
        let withheld = self.in_force().secret_names.withhold(request.filter);
        let filter = withheld.as_ref().unwrap_or(request.filter);
        let mut trail = Trail {
            audit: None,
            base: request.base.to_owned(),
            scope: request.scope,
            filter: filter.clone().into_owned(),
            attributes: request.attributes.iter().map(|name| (*name).to_owned()).collect(),
            started: Instant::now(),
        };
        trail.begin(
            session,
            match asked.persistent {
                Some(_) => "persistent search",
                None => "synchronise",
            },
        );
        self.open_sync(session, request, asked, trail).map_err(|refused| {
            let (outcome, mut trail) = *refused;
            trail.finish(self, &outcome);
            outcome
        })
    }

    fn open_sync(
        self: &Arc<Self>,
        session: &Session,
        request: SearchRequest<'_>,
        asked: SyncRequest<'_>,
        trail: Trail,
    ) -> Result<Sync, Box<(Outcome, Trail)>> {
        let opened = self.open_stage(session, &request, asked);
        let Opened {
            stage,
            content,
            position,
            place,
            replica,
        } = match opened {
            Ok(opened) => opened,
            Err(outcome) => return Err(Box::new((outcome, trail))),
        };
        Ok(Sync {
            directory: self.clone(),
            session: session.clone(),
            selection: request.selection,
            content,
            stage,
            persist: asked.persist,
            persistent: asked.persistent,
            replica,
            position,
            told: 0,
            found: None,
            was: None,
            unannounced: 0,
            moved: self.feed.subscribe(),
            limits: Limits::of_sync(session, request.size_limit, request.time_limit_seconds, trail.started),
            given: 0,
            trail,
            _place: place,
        })
    }

    fn open_stage(
        self: &Arc<Self>,
        session: &Session,
        request: &SearchRequest<'_>,
        asked: SyncRequest<'_>,
    ) -> Result<Opened, Outcome> {
        let view = &session.view;
        let base = self.base_of(view, request)?;
        let (replica, cookie) = self.read_cookie(asked.cookie);
        // Whoever it acts as, the places are those of who is bound.
        let identity = session.bound.as_deref().unwrap_or(&session.identity);
        let Some(place) = self.feed.follow(&self.store, &identity.account.facts.key) else {
            return Err(Outcome::new(
                ResultCode::Busy,
                "as many clients follow as the server allows, or as many of this account",
            ));
        };
        // In this order: what is published between the two is told again, and nothing is left out.
        let position = self.feed.position();
        let snapshot = self.readable()?;
        self.check_not_elsewhere(&snapshot, view, &base, request)?;
        let base_at = self.check_base(&snapshot, view, &base)?;
        self.check_assertion(&snapshot, view, &base, base_at, request.assertion)?;
        let held = self.held(&snapshot);
        // There may be such entries later.
        let given = given_kinds(request, &held.any(), snapshot.schema());
        let mut query = Query {
            base,
            base_at,
            scope: request.scope,
            predicate: Predicate::and(vec![compile(request.filter, snapshot.schema(), view), given]),
            order: Order::Name,
            after: None,
            within: view.bases.clone(),
            without: view.excluded.clone(),
            candidate_limit: CandidateLimit::of(view, snapshot.schema()),
        };
        let mut content = Contents::of_entries(&query);
        let managed = request.manage_dsa_it || request.domain_scope || request.subentries == Some(true);
        if !managed && asked.persistent.is_none() {
            let references = content.add_references(&query, &held.kinds, snapshot.schema(), view);
            if held.referrals {
                query.predicate = Predicate::or(vec![query.predicate, references]);
            }
        }
        let since = match cookie {
            Cookie::Initial => None,
            Cookie::Since(since) if since <= position && since >= self.feed.loaded => Some(since),
            Cookie::Since(_) | Cookie::Unusable if asked.reload => None,
            Cookie::Since(_) | Cookie::Unusable => return Err(refresh_required("the cookie is not of use here")),
        };
        let changes_only = asked.persistent.is_some_and(|asked| asked.changes_only);
        let (stage, position) = match since {
            _ if changes_only => (Stage::Following, position),
            Some(since)
                if self.feed.reaches(since)
                    && self.showed_the_same(session, &snapshot, since)
                    && !self.hid_since(view, since, position) =>
            {
                (Stage::Replay { until: position }, since)
            }
            since => (self.refresh(session, snapshot, query, (since, position))?, position),
        };
        Ok(Opened {
            stage,
            content,
            position,
            place,
            replica,
        })
    }

    /// The base object's key, where the account may follow what is there.
    fn base_of(&self, view: &View, request: &SearchRequest<'_>) -> Result<NormalizedDn, Outcome> {
        if !view.quotas.may_sync {
            let message = "the account's release profile does not allow content synchronisation";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message));
        }
        if request.page.is_some() || request.sort.is_some() {
            let message = "content synchronisation is neither paged nor sorted";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        let base = self.base_key(request.base)?;
        if base == *self.subschema_key() || (base.is_root() && request.scope == SearchScope::BaseObject) {
            let message = "the server's own entries are not synchronised";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        Ok(base)
    }

    /// Nothing at or below a referral object is synchronised from here.
    fn check_not_elsewhere(
        &self,
        snapshot: &Arc<Snapshot>,
        view: &View,
        base: &NormalizedDn,
        request: &SearchRequest<'_>,
    ) -> Result<(), Outcome> {
        let asked = Asked {
            dn: &Dn::parse(request.base).unwrap_or_default(),
            key: base,
            scope: Some(request.scope),
            manage: request.manage_dsa_it,
        };
        self.referral(snapshot, view, &asked)
    }

    /// What there is, or what changed in it since.
    fn refresh(
        &self,
        session: &Session,
        snapshot: Arc<Snapshot>,
        mut query: Query,
        (since, until): (Option<Position>, Position),
    ) -> Result<Stage, Outcome> {
        let view = &session.view;
        // Whoever has a new name in the snapshot must be known to have gone from the one before, though that will be told again.
        let until = until.max(Position(snapshot.last_change()));
        let left = since
            .filter(|since| self.showed_the_same(session, &snapshot, *since))
            .and_then(|since| Some((since, self.what_left(view, &snapshot, since, until)?)));
        if let Some((since, _)) = &left {
            let newer = changed_since(snapshot.schema(), *since);
            query.predicate = Predicate::and(vec![query.predicate, newer]);
        }
        let present = Stage::Present {
            cursor: Box::new(self.open_planned(view, snapshot.clone(), query)?),
            snapshot,
            since,
            unchanged: Vec::new(),
            deletes: left.is_some(),
        };
        Ok(match left {
            Some((_, left)) => Stage::Left {
                left: Box::new(left),
                then: Box::new(present),
            },
            None => present,
        })
    }

    /// Whether whoever followed then was shown what the session is: the policy has not changed since, nor has the account.
    fn showed_the_same(&self, session: &Session, snapshot: &Snapshot, since: Position) -> bool {
        let unchanged = |identity: &Identity| {
            let at = snapshot.find(&identity.account.facts.key);
            at.is_none_or(|at| snapshot.record(at).operational().changed <= since.0)
        };
        since >= self.policy_since.position()
            && unchanged(&session.identity)
            && session.bound.as_deref().is_none_or(unchanged)
    }

    /// The replica a cookie names, and its state: `rid=001,csn=20260101120000.000000Z#000000#000#000000` as OpenLDAP writes them.
    fn read_cookie(&self, cookie: Option<&[u8]>) -> (String, Cookie) {
        let mut replica = "rid=000".to_owned();
        let mut state = Cookie::Initial;
        let Ok(text) = std::str::from_utf8(cookie.unwrap_or_default()) else {
            return (replica, Cookie::Unusable);
        };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("rid", number)) if number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit()) => {
                    replica = part.to_owned();
                }
                // A consumer's own number; ours are without.
                Some(("sid", _)) => {}
                Some(("csn", numbers)) => {
                    let ours = numbers
                        .split(';')
                        .find(|number| number.split('#').nth(2) == Some("000"));
                    state = match ours.and_then(csn_time) {
                        Some(time) => Cookie::Since(Position(time)),
                        None => Cookie::Unusable,
                    };
                }
                _ => return (replica, Cookie::Unusable),
            }
        }
        (replica, state)
    }
}

struct Opened {
    stage: Stage,
    content: Contents,
    position: Position,
    place: Follower,
    replica: String,
}
