//! Search (RFC 4511 section 4.5): begins it, runs it a little at a time, abandons it.

use super::codec::{SearchOperation, tag};
use super::controls::{self, Controls};
use super::conversation::{Conversation, RunningSearch};
use super::encode::{self, Extra};
use super::frame::MessageId;
use super::limits::WireLimits;
use crate::access::Selection;
use crate::directory::{
    ControlFault, Links, ProtocolFacts, Search, SearchDone, SearchRefusal, SearchRequest, SearchStep, Session,
    SortFault, SortRequest, VirtualListResult,
};
use crate::metrics::Metrics;
use crate::model::{DerefAliases, Outcome, ResultCode};
use crate::query::{MatchedValues, Work};
use crate::schema::Schema;
use std::sync::Arc;
use std::time::Instant;

/// The least work a search gets in one round, however many run.
const LEAST_WORK: u32 = 64;
/// Work between two looks at the clock.
const SLICE_WORK: u32 = LEAST_WORK;

impl Conversation {
    /// Begins a search. What needs little work is answered here.
    pub(super) fn search(
        &mut self,
        id: MessageId,
        operation: &SearchOperation<'_>,
        controls: &Controls<'_>,
        session: Option<&Arc<Session>>,
    ) {
        if let Err(refusal) = self.begin_search(id, operation, controls, session) {
            self.search_refused(id, &refusal, controls.page.is_some());
        }
    }

    fn begin_search(
        &mut self,
        id: MessageId,
        operation: &SearchOperation<'_>,
        controls: &Controls<'_>,
        session: Option<&Arc<Session>>,
    ) -> Result<(), SearchRefusal> {
        let limit = self.outstanding_limit();
        if self.searches.len() + self.syncs.len() >= limit {
            let message = format!("expected at most {limit} searches at once on one connection");
            return Err(Outcome::new(ResultCode::Busy, message).into());
        }
        let schema = self.directory.schema();
        let request = request(operation, controls, &schema);
        if let Some(asked) = controls.following()? {
            if controls.links_are_critical || controls.account_usability_is_critical {
                let message = "nothing comes with the entries of a synchronisation or a persistent search";
                return Err(Outcome::new(ResultCode::UnavailableCriticalExtension, message).into());
            }
            self.sync(id, request, asked, session.map(Arc::as_ref));
            return Ok(());
        }
        let links = match &controls.links {
            Some(asked) => Links::compile(asked, controls.links_are_critical, &schema)?,
            None => None,
        };
        let mut search = self.directory.search(session.map(Arc::as_ref), request, self.facts())?;
        if let Some(links) = links {
            search.follow(links);
        }
        if let Some(session) = session.filter(|_| controls.account_usability) {
            search.tell_usability(session);
        }
        // To follow aliases is work done before the first step; others are not to wait for more of it in this turn.
        if operation.aliases != DerefAliases::Never && self.is_turn_over() {
            self.work = 0;
        }
        let mut running = RunningSearch {
            id,
            search,
            session: None,
            paged: controls.page.is_some(),
            sorted: controls.sort.is_some(),
            octets: self.request_octets,
        };
        if self.work == 0 || !self.step(&mut running) {
            running.session = session.cloned();
            self.metrics().searches_running.increment();
            self.searches.push(running);
        }
        Ok(())
    }

    /// What the root DSE says of the protocol to this peer.
    pub(super) fn facts(&self) -> &ProtocolFacts {
        match super::bind::is_external(&self.source) {
            true => &self.service.external_facts,
            false => &self.service.facts,
        }
    }

    /// A search that never ran. Clients that page need the response control all the same.
    fn search_refused(&mut self, id: MessageId, refusal: &SearchRefusal, paged: bool) {
        let failed;
        let mut extra = Extra {
            page: paged.then_some((&[], 0)),
            ..Extra::default()
        };
        // A search that failed for another reason says nothing of its sort and its list.
        match &refusal.control {
            None => {}
            Some(ControlFault::Sort(fault)) => extra.sort = Some(sort_result(fault)),
            Some(ControlFault::VirtualList(code)) => {
                failed = VirtualListResult::failed(*code);
                extra.virtual_list = Some(&failed);
            }
        }
        self.answer(id, tag::SEARCH_RESULT_DONE, &refusal.outcome, extra);
    }

    fn outstanding_limit(&self) -> usize {
        let WireLimits {
            outstanding,
            outstanding_unbound,
            ..
        } = *self.limits();
        if self.is_bound() {
            outstanding
        } else {
            outstanding_unbound
        }
    }

    /// One round: each running search gets its share of a turn's work, until the output is full.
    pub fn run(&mut self) {
        self.end_revoked();
        let count = self.searches.len();
        let Some(share) = u32::try_from(count)
            .ok()
            .and_then(|count| self.limits().turn_work.checked_div(count))
        else {
            return;
        };
        let share = share.max(LEAST_WORK);
        for round in 0..count {
            if self.is_output_full() || (round > 0 && self.is_turn_over()) {
                return;
            }
            if self.turn >= self.searches.len() {
                self.turn = 0;
            }
            let mut running = self.searches.swap_remove(self.turn);
            self.work = share;
            if self.step(&mut running) {
                self.metrics().searches_running.decrement();
            } else {
                self.searches.push(running);
                let last = self.searches.len() - 1;
                self.searches.swap(self.turn, last);
                self.turn += 1;
            }
        }
    }

    /// Ends the searches of those who may not ask any more: one that runs long, or that a slow client draws out, gives nothing of what
    /// its account has lost.
    fn end_revoked(&mut self) {
        let mut at = 0;
        while let Some(running) = self.searches.get(at) {
            let session = running.session.as_deref();
            let lost = session.filter(|session| !self.directory.holds(session));
            let goes_on = lost.map(|session| {
                self.directory
                    .going_on_as(session)
                    .ok_or(self.directory.why_ended(session))
            });
            let message = match goes_on {
                None => {
                    at += 1;
                    continue;
                }
                Some(Ok(next)) => {
                    self.searches[at].session = Some(Arc::new(next));
                    continue;
                }
                Some(Err(message)) => message,
            };
            let mut running = self.searches.swap_remove(at);
            self.metrics().searches_running.decrement();
            let done = running
                .search
                .end(Outcome::new(ResultCode::InsufficientAccessRights, message));
            self.search_done(&running, &done);
        }
    }

    /// When the first of the running searches has to end.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.searches
            .iter()
            .filter_map(|running| running.search.deadline())
            .min()
    }

    /// Ends the searches whose time is over and that stand still, and with them what they keep.
    pub fn end_overdue(&mut self) {
        let now = Instant::now();
        let is_over = |running: &RunningSearch| running.search.deadline().is_some_and(|deadline| deadline <= now);
        while let Some(at) = self.searches.iter().position(is_over) {
            let mut running = self.searches.swap_remove(at);
            self.metrics().searches_running.decrement();
            let done = running.search.end(Outcome::new(ResultCode::TimeLimitExceeded, ""));
            self.search_done(&running, &done);
        }
    }

    /// Whether a search could run now.
    pub fn has_work(&self) -> bool {
        let syncs = self.syncs.iter().any(|running| !running.is_waiting());
        (!self.searches.is_empty() || syncs) && !self.is_output_full()
    }

    /// Runs a search for what is left of the work and of the turn's time; answers and says `true` where it ended.
    fn step(&mut self, running: &mut RunningSearch) -> bool {
        loop {
            if self.slice(running) {
                return true;
            }
            if self.work == 0 || self.is_output_full() {
                return false;
            }
            if self.is_turn_over() {
                self.work = 0;
                return false;
            }
        }
    }

    /// Runs a search for a part of the work. Says whether it ended.
    fn slice(&mut self, running: &mut RunningSearch) -> bool {
        let limit = self.service.limits.output_octets;
        let slice = self.work.min(SLICE_WORK);
        let mut work = Work { left: slice };
        let mut sent = 0;
        let id = running.id;
        let output = &mut self.output;
        let step = loop {
            let step = running.search.step(&mut work, &mut |entry, beside| {
                encode::search_result_entry(output, id, entry, beside);
                sent += 1;
                output.len() < limit
            });
            match step {
                SearchStep::Reference(urls) => encode::search_result_reference(output, id, &urls),
                step => break step,
            }
            if output.len() >= limit {
                break SearchStep::More;
            }
        };
        self.work -= slice - work.left;
        self.metrics().entries_sent.add(sent);
        let SearchStep::Done(done) = step else {
            return false;
        };
        self.search_done(running, &done);
        true
    }

    fn search_done(&mut self, running: &RunningSearch, done: &SearchDone) {
        let SearchDone { outcome, page, .. } = done;
        let extra = Extra {
            page: match page {
                Some((cookie, estimate)) => Some((cookie.as_slice(), *estimate)),
                None => running.paged.then_some((&[], 0)),
            },
            sort: running.sorted.then(|| sort_result_of(done)),
            virtual_list: done.virtual_list.as_ref(),
            ..Extra::default()
        };
        self.answer(running.id, tag::SEARCH_RESULT_DONE, outcome, extra);
    }

    /// Abandon (RFC 4511 section 4.11): stops a search at once; a change under way goes on; nothing is answered.
    pub(super) fn abandon(&mut self, abandoned: i64) {
        let Ok(id) = u32::try_from(abandoned) else { return };
        match self.take_search(MessageId(id)) {
            Some(search) => drop(search),
            None => _ = self.drop_sync(MessageId(id)),
        }
    }

    /// Takes a running search off the connection.
    pub(super) fn take_search(&mut self, id: MessageId) -> Option<Search> {
        let at = self.searches.iter().position(|running| running.id == id)?;
        self.metrics().searches_running.decrement();
        Some(self.searches.remove(at).search)
    }

    /// The peer is gone, or will be.
    pub fn abandon_searches(&mut self) {
        let metrics: &Metrics = &self.service.metrics;
        for running in self.searches.drain(..) {
            metrics.searches_running.decrement();
            drop(running.search);
        }
        for running in self.syncs.drain(..) {
            metrics.searches_running.decrement();
            drop(running);
        }
    }
}

/// What the core is asked: the operation, and what its controls add.
fn request<'r>(
    operation: &'r SearchOperation<'_>,
    controls: &'r Controls<'_>,
    schema: &Arc<Schema>,
) -> SearchRequest<'r> {
    let attributes = operation.attributes.iter().copied();
    let selection = Selection::compile(attributes, operation.types_only, schema);
    let selection = match &controls.matched_values {
        Some(items) => selection.matching(Arc::new(MatchedValues::compile(items, schema))),
        None => selection,
    };
    SearchRequest {
        base: operation.base,
        scope: operation.scope,
        filter: &operation.filter,
        selection,
        attributes: &operation.attributes,
        size_limit: operation.size_limit,
        time_limit_seconds: operation.time_limit_seconds,
        page: controls.page,
        assertion: controls.assertion.as_deref(),
        sort: controls.sort.as_deref().map(|keys| SortRequest {
            keys,
            critical: controls.sort_is_critical,
        }),
        manage_dsa_it: controls.manage_dsa_it,
        domain_scope: controls.domain_scope,
        aliases: operation.aliases,
        subentries: controls.subentries,
        virtual_list: controls.virtual_list,
    }
}

/// The sort result (RFC 2891 section 1.2) of a search that ended so.
fn sort_result_of(done: &SearchDone) -> (ResultCode, Option<&str>) {
    match (&done.unsorted, done.outcome.code) {
        (Some(fault), _) => sort_result(fault),
        (None, code @ (ResultCode::AdminLimitExceeded | ResultCode::TimeLimitExceeded)) => (code, None),
        (None, _) => (ResultCode::Success, None),
    }
}

fn sort_result(fault: &SortFault) -> (ResultCode, Option<&str>) {
    (
        fault.code,
        Some(fault.attribute.as_str()).filter(|name| !name.is_empty()),
    )
}

/// Features listed in the root DSE that a search makes true: all operational attributes (RFC 3673), attributes by object class
/// (RFC 4529), absolute true and false filters (RFC 4526), language tags and
/// ranges (RFC 3866).
pub const FEATURES: &[&str] = &[
    "1.3.6.1.4.1.4203.1.5.1",
    "1.3.6.1.4.1.4203.1.5.2",
    "1.3.6.1.4.1.4203.1.5.3",
    "1.3.6.1.4.1.4203.1.5.4",
    "1.3.6.1.4.1.4203.1.5.5",
];

/// Controls listed in the root DSE.
pub const CONTROLS: &[&str] = controls::SUPPORTED;
