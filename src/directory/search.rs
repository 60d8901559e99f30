//! Searches: from a request to a resumable stream of released entries, with its limits and its audit record.

mod area;
mod base;
mod done;
mod limits;
mod links;
mod pages;
mod usability;

use self::area::Area;
pub(super) use self::area::given_kinds;
pub(super) use self::limits::Limits;
use self::limits::{Page, deadline, of_all_pages, size_limit};
pub use self::links::{Beside, LinkRequest, LinkedEntry, Links};
pub(super) use self::pages::{append_search, question};
use self::usability::{USABILITY_WORK, UsabilityAsked};
use super::computed::{Computation, Wanted};
use super::in_force::InForce;
use super::kinds::Held;
use super::lists::{VirtualListRequest, VirtualListResult, list_key};
use super::page::PageRequest;
use super::protocol::ProtocolFacts;
use super::referral::{Continuation, Continuations};
use super::sort::{SortFault, SortRequest, SortWay, Sorted, Sorting};
use super::trail::{AuditPool, begin_audit};
use super::{Directory, Session};
use crate::access::{ComputedAttribute, ReleasedEntry, Selection, View, release};
use crate::audit::AuditRecord;
use crate::model::{DerefAliases, Filter, Outcome, ResultCode, SearchScope};
use crate::query::evaluate::evaluate;
use crate::query::{
    Advance, CandidateLimit, Cursor, Groups, Order, Plan, Predicate, Query, TailMembers, Truth, Work, compile,
    compile_in,
};
use crate::schema::{NormalizedDn, Schema};
use crate::store::{Location, Record, Snapshot};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Entries that the cursor runs ahead of what was given.
const AHEAD: usize = 12;
/// How many of them are fetched together: the memory of the later ones comes while the ones before are given.
const FETCHED: usize = 4;

/// A search as a front end asks it.
pub struct SearchRequest<'a> {
    /// The base object as spelled (RFC 4514). Empty with a wider scope than the base object means every naming context.
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
    /// Must be True of the base object (RFC 4528).
    pub assertion: Option<&'a Filter<'a>>,
    /// RFC 2891.
    pub sort: Option<SortRequest<'a>>,
    pub aliases: DerefAliases,
    /// Subentries instead of other entries, or none; without it they are given as the base object alone (RFC 3672).
    pub subentries: Option<bool>,
    /// ManageDsaIT (RFC 3296): referral objects are entries like others.
    pub manage_dsa_it: bool,
    /// Domain scope: no references to where the search goes on.
    pub domain_scope: bool,
    pub virtual_list: Option<VirtualListRequest<'a>>,
}

/// A running search. Dropped before its end it was abandoned, and the audit says so.
pub struct Search {
    pub(super) directory: Arc<Directory>,
    view: Arc<View>,
    selection: Selection,
    entries: Entries,
    /// Referral objects in scope, where there are any.
    continuations: Option<Box<Continuations>>,
    /// What is read of entries that the given ones name.
    links: Option<Box<Links>>,
    /// Those of the next entry to give, as far as they were read.
    reading: Option<links::Reading>,
    /// Whether accounts can be used is told.
    usability: Option<Box<UsabilityAsked>>,
    wanted: Wanted,
    /// What kinds of entries the snapshot holds; nothing where the search is no directory's.
    held: Option<Arc<Held>>,
    computed: Vec<ComputedAttribute>,
    tail_members: TailMembers,
    limits: Limits,
    sorted: Sorted,
    /// A virtual list view was asked for.
    pub(super) is_list_view: bool,
    /// Entries found and not yet given.
    ahead: VecDeque<Location>,
    pub(super) given: u32,
    audit: Option<AuditRecord>,
    started: Instant,
    /// It has run before: time has passed since it began.
    resumed: bool,
}

/// Where the entries come from.
enum Entries {
    Directory {
        cursor: Box<Cursor>,
        snapshot: Arc<Snapshot>,
    },
    /// The root DSE or the subschema subentry, if the filter matches it.
    Protocol(Option<(Vec<u8>, Arc<Schema>)>),
    None,
}

/// What [`Search::step`] came to.
pub enum SearchStep {
    /// The work is used up or `emit` asked to stop; call again.
    More,
    /// Go on at one of these URLs as well (RFC 4511 section 4.5.3); call again.
    Reference(Vec<String>),
    Done(SearchDone),
}

pub struct SearchDone {
    pub outcome: Outcome,
    /// There when the request had a page: the cookie (empty at the end) and an estimate of all entries (0 when unknown).
    pub page: Option<(Vec<u8>, u32)>,
    /// There when a virtual list view was asked for.
    pub virtual_list: Option<VirtualListResult>,
    /// Why not everything was put in order, where a sort was asked.
    pub unsorted: Option<SortFault>,
    /// Candidates examined in all.
    pub candidates: u64,
}

/// Why a search did not begin, and what its controls are answered.
#[derive(Debug)]
pub struct SearchRefusal {
    pub outcome: Outcome,
    /// What could not be done, where that is the reason.
    pub control: Option<ControlFault>,
}

/// What a control asked for in vain.
#[derive(Debug)]
pub enum ControlFault {
    Sort(SortFault),
    /// A result code of the virtual list view's own (section 6.2 of its draft).
    VirtualList(ResultCode),
}

impl From<Outcome> for SearchRefusal {
    fn from(outcome: Outcome) -> SearchRefusal {
        SearchRefusal { outcome, control: None }
    }
}

impl Directory {
    /// Begins a search: resolves the base, compiles, plans. The root DSE and the subschema subentry are answered too
    /// (`facts` for the former); without a session only the root DSE's protocol facts can be read.
    ///
    /// # Errors
    /// invalidDNSyntax, noSuchObject with the matched DN, unwillingToPerform for a bad cookie or a refused scan,
    /// insufficientAccessRights without a session. The refusal is in the audit.
    pub fn search(
        self: &Arc<Self>,
        session: Option<&Session>,
        request: SearchRequest<'_>,
        facts: &ProtocolFacts,
    ) -> Result<Search, SearchRefusal> {
        let started = Instant::now();
        let mut audit = AuditPool::take();
        if let Some(session) = session {
            let withheld = self.in_force().secret_names.withhold(request.filter);
            let filter = withheld.as_ref().unwrap_or(request.filter);
            begin_audit(&mut audit, session, &request, filter);
        }
        let opened = self.open_search(session, request, facts, started);
        match opened {
            Ok(mut search) => {
                search.audit = session.map(|_| audit);
                Ok(search)
            }
            Err(refusal) => {
                if session.is_some() {
                    audit.finish(&refusal.outcome, started.elapsed());
                    self.audit.append(&audit);
                }
                AuditPool::give_back(audit);
                Err(refusal)
            }
        }
    }

    fn open_search(
        self: &Arc<Self>,
        session: Option<&Session>,
        request: SearchRequest<'_>,
        facts: &ProtocolFacts,
        started: Instant,
    ) -> Result<Search, SearchRefusal> {
        let root = request.base.is_empty() && request.scope == SearchScope::BaseObject;
        if root {
            let in_force = self.in_force();
            let own = self.root_dse(&in_force.schema, session, facts);
            let own = (own, in_force.protocol_view.clone());
            return Ok(self.protocol_search(own, &in_force, request, started)?);
        }
        let Some(session) = session else {
            let message = "bind before you search";
            return Err(Outcome::new(ResultCode::InsufficientAccessRights, message).into());
        };
        let base = match request.scope {
            SearchScope::BaseObject => self.base_key(request.base)?,
            SearchScope::SingleLevel | SearchScope::WholeSubtree | SearchScope::Subordinates => {
                self.shared_base_key(request.base)?
            }
        };
        if base == *self.subschema_key() {
            let in_force = self.in_force();
            let own = (in_force.subschema.record.clone(), in_force.subschema.view.clone());
            return Ok(self.protocol_search(own, &in_force, request, started)?);
        }
        self.directory_search(session, base, request, started)
    }

    pub(super) fn subschema_key(&self) -> &NormalizedDn {
        &self.subschema_key
    }

    fn protocol_search(
        self: &Arc<Self>,
        (record, view): (Vec<u8>, Arc<View>),
        in_force: &InForce,
        request: SearchRequest<'_>,
        started: Instant,
    ) -> Result<Search, Outcome> {
        let schema = &in_force.schema;
        let holds = |filter| {
            let predicate = compile(filter, schema, &view);
            evaluate(&predicate, Record::new(&record, schema.type_numbers()), &[], schema) == Truth::True
        };
        if !request.assertion.is_none_or(holds) {
            return Err(Outcome::new(ResultCode::AssertionFailed, ""));
        }
        let own = matches!(request.scope, SearchScope::BaseObject | SearchScope::WholeSubtree);
        let here = own && holds(request.filter);
        Ok(Search {
            directory: self.clone(),
            view,
            selection: request.selection,
            entries: Entries::Protocol(here.then(|| (record, schema.clone()))),
            continuations: None,
            links: None,
            reading: None,
            usability: None,
            wanted: Wanted::default(),
            held: None,
            computed: Vec::new(),
            tail_members: TailMembers::default(),
            limits: Limits {
                deadline: None,
                counted: None,
                size: 0,
                page: request.page.map(|page| Page {
                    size: page.size.max(1),
                    given_before: 0,
                    question: Vec::new(),
                    last: None,
                }),
            },
            sorted: Sorted::No,
            is_list_view: request.virtual_list.is_some(),
            ahead: VecDeque::new(),
            given: 0,
            audit: None,
            started,
            resumed: false,
        })
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the steps of a search in order, each with what those before it found"
    )]
    fn directory_search(
        self: &Arc<Self>,
        session: &Session,
        base: NormalizedDn,
        request: SearchRequest<'_>,
        started: Instant,
    ) -> Result<Search, SearchRefusal> {
        let snapshot = self.readable()?;
        let held = self.held(&snapshot);
        let base = self.resolve_base(&snapshot, &session.view, base, &request, &held)?;
        let base_at = self.check_base(&snapshot, &session.view, &base)?;
        self.check_assertion(&snapshot, &session.view, &base, base_at, request.assertion)?;
        let quotas = &session.view.quotas;
        let (page, resume) = match request.page {
            Some(_) if request.virtual_list.is_some() => {
                let message = "a virtual list view and paged results do not go together";
                return Err(Outcome::new(ResultCode::UnwillingToPerform, message).into());
            }
            Some(asked) => self.resume(session, &base, &request, asked)?,
            None => (None, None),
        };
        let deadline = deadline(started, request.time_limit_seconds, quotas.time_limit_seconds);
        let asked = of_all_pages(request.size_limit, page.as_ref());
        let size = size_limit(asked, quotas, page.is_some());
        let counted = (quotas.daily_entries != 0).then(|| session.identity.account.facts.key.clone());
        let wanted = Wanted::new(
            &request.selection,
            &session.view,
            snapshot.schema(),
            held.collective.is_some(),
        );
        let ended = request.page.is_some_and(|asked| asked.size == 0);
        let limits = Limits {
            deadline,
            size,
            page,
            counted,
        };
        let asked_for = (limits.left(0), request.page.is_some());
        let later = resume.is_some();
        let (mut sorted, resume) = self.sorting(session, request.sort, asked_for, resume)?;
        if let Some(asked) = request.virtual_list {
            self.view_list(session, asked, &base, &request, &mut sorted)?;
        }
        if let (Sorted::Yes(sorting), true) = (&mut sorted, later) {
            sorting.goes_on_in(list_key(&base, &request));
        }
        let area = self.area(&snapshot, &session.view, (base, base_at), &request, &held)?;
        let refers = !request.manage_dsa_it && !request.domain_scope && request.subentries != Some(true);
        let goes_on = held.referrals && refers && !ended;
        let continuations = goes_on.then(|| {
            area.continuations(&session.view, &snapshot, request.scope, &held)
                .into()
        });
        let entries = match ended {
            true => Entries::None,
            false => {
                let groups = Groups {
                    snapshot: &snapshot,
                    schema: snapshot.schema(),
                    view: &session.view,
                    collective: held.collective.as_ref(),
                    kept: Some(&self.kept),
                };
                let cursor = self.open_cursor(
                    groups,
                    snapshot.clone(),
                    area,
                    &request,
                    resume,
                    matches!(sorted, Sorted::Yes(_)),
                )?;
                Entries::Directory {
                    cursor: Box::new(cursor),
                    snapshot,
                }
            }
        };
        Ok(Search {
            directory: self.clone(),
            view: session.view.clone(),
            selection: request.selection,
            entries,
            continuations,
            links: None,
            reading: None,
            usability: None,
            wanted,
            held: Some(held),
            computed: Vec::new(),
            tail_members: TailMembers::default(),
            limits,
            sorted,
            is_list_view: request.virtual_list.is_some(),
            ahead: VecDeque::new(),
            given: 0,
            audit: None,
            started,
            resumed: false,
        })
    }

    fn open_cursor(
        &self,
        groups: Groups<'_>,
        snapshot: Arc<Snapshot>,
        area: Area,
        request: &SearchRequest<'_>,
        after: Option<NormalizedDn>,
        sorted: bool,
    ) -> Result<Cursor, Outcome> {
        let view = groups.view;
        let predicate = compile_in(request.filter, groups)
            .map_err(|fault| Outcome::new(ResultCode::AdminLimitExceeded, fault.to_string()))?;
        let plain = matches!((&area.kinds, &area.restriction), (Predicate::True, Predicate::True));
        let predicate = match plain {
            true => predicate,
            false => Predicate::and(vec![predicate, area.kinds, area.restriction]),
        };
        let query = Query {
            base: area.base,
            base_at: area.base_at,
            scope: area.scope,
            predicate,
            order: if request.page.is_some() && !sorted {
                Order::Name
            } else {
                Order::Any
            },
            after,
            within: area.within,
            without: view.excluded.clone(),
            candidate_limit: CandidateLimit::of(view, groups.schema),
        };
        self.open_planned(view, snapshot, query)
    }

    /// A cursor, unless it would have to scan and the account may not.
    pub(super) fn open_planned(&self, view: &View, snapshot: Arc<Snapshot>, query: Query) -> Result<Cursor, Outcome> {
        let mut cursor = Cursor::open(snapshot, query);
        if !view.quotas.may_scan && cursor.plan().is_scan() {
            let message = "no index serves the filter, and the account's release profile does not allow a scan";
            return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        }
        Ok(cursor)
    }
}

/// Takes an entry, with what was asked beside it; says whether to go on.
pub type Emit<'e> = dyn FnMut(&ReleasedEntry<'_>, Beside<'_>) -> bool + 'e;

impl Search {
    /// Entries are to come with those that they name.
    pub fn follow(&mut self, links: Links) {
        if let Some(audit) = &mut self.audit {
            audit.fact("linked", links.text().as_bytes());
        }
        self.links = Some(Box::new(links));
    }

    /// Runs for at most `work`; calls `emit` with each entry, which says whether to go on.
    pub fn step(&mut self, work: &mut Work, emit: &mut Emit<'_>) -> SearchStep {
        match &mut self.entries {
            Entries::None => self.done(Outcome::success(), true),
            Entries::Protocol(record) => {
                if let Some((record, schema)) = record.take() {
                    self.emit_protocol(&record, &schema, emit);
                }
                self.done(Outcome::success(), true)
            }
            Entries::Directory { .. } => self.step_directory(work, emit),
        }
    }

    fn emit_protocol(&self, record: &[u8], schema: &Schema, emit: &mut Emit<'_>) {
        let record = Record::new(record, schema.type_numbers());
        if let Some(entry) = release(record, &self.view, &self.selection, &[], schema) {
            emit(&entry, Beside::default());
        }
    }

    fn step_directory(&mut self, work: &mut Work, emit: &mut Emit<'_>) -> SearchStep {
        let resumed = std::mem::replace(&mut self.resumed, true);
        if resumed && self.limits.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return self.done(Outcome::new(ResultCode::TimeLimitExceeded, ""), true);
        }
        loop {
            match self.next_linked(work) {
                Advance::Paused => return SearchStep::More,
                Advance::End if self.sorting().is_some_and(Sorting::is_short) => {
                    return self.done(Outcome::success(), false);
                }
                Advance::End => return self.step_continuations(work),
                Advance::CandidateLimit if self.sorting().and_then(Sorting::over) == Some(ResultCode::Busy) => {
                    let message = "other sorted searches take the memory there is for sorting; try again later";
                    return self.done(Outcome::new(ResultCode::Busy, message), true);
                }
                Advance::CandidateLimit => {
                    let message = "too many candidates; ask with a more selective filter";
                    return self.done(Outcome::new(ResultCode::AdminLimitExceeded, message), true);
                }
                Advance::Entry(_) if self.limits.size_reached(self.given) => {
                    return self.done(Outcome::new(ResultCode::SizeLimitExceeded, ""), true);
                }
                Advance::Entry(_) if self.limits.page_full(self.given) => {
                    return self.done(Outcome::success(), false);
                }
                Advance::Entry(at) if !self.reads_links(at, work) => return SearchStep::More,
                Advance::Entry(_) if !self.limits.counts_today(&self.directory, &self.view) => {
                    let message = "the account's entries of today are used up; it may search again tomorrow (UTC)";
                    return self.done(Outcome::new(ResultCode::AdminLimitExceeded, message), true);
                }
                Advance::Entry(at) => {
                    if !self.emit_entry(at, work, emit) {
                        return SearchStep::More;
                    }
                }
            }
        }
    }

    /// Where else to go on, once all entries of this server are given; then the end.
    fn step_continuations(&mut self, work: &mut Work) -> SearchStep {
        let next = match &mut self.continuations {
            Some(continuations) => continuations.next(&self.view, work),
            None => Continuation::End,
        };
        match next {
            Continuation::Urls(urls) => SearchStep::Reference(urls),
            Continuation::Paused => SearchStep::More,
            Continuation::End => self.done(Outcome::success(), true),
        }
    }

    /// The next matching entry. The cursor runs some entries ahead, so that their records come near while others are given.
    fn next_location(&mut self, work: &mut Work) -> Advance {
        if let Sorted::Yes(_) = self.sorted {
            return self.next_sorted(work);
        }
        // Once the work is used up, those that were found are given first.
        let has_room = self.ahead.len() <= AHEAD - FETCHED;
        if (self.ahead.is_empty() || (has_room && work.left > 0))
            && let Some(end) = self.fetch(work)
        {
            return end;
        }
        self.ahead.pop_front().map_or(Advance::End, Advance::Entry)
    }

    /// Has the cursor run ahead; what it came to where there is no entry at all.
    fn fetch(&mut self, work: &mut Work) -> Option<Advance> {
        let Entries::Directory { cursor, snapshot } = &mut self.entries else {
            return None;
        };
        let left = usize::try_from(self.limits.left(self.given)).unwrap_or(AHEAD);
        let wanted = left.saturating_add(1).min(AHEAD);
        let before = self.ahead.len();
        while self.ahead.len() < wanted {
            match cursor.advance(work) {
                Advance::Entry(at) => {
                    snapshot.foresee(at);
                    self.ahead.push_back(at);
                }
                end if self.ahead.is_empty() => return Some(end),
                // The cursor says so again when it is asked again.
                _ => break,
            }
        }
        if self.ahead.len() > 1 {
            let fetched = self.ahead.range(before..);
            fetched.for_each(|at| snapshot.record(*at).warm());
        }
        None
    }

    /// The next entry by sort key.
    fn next_sorted(&mut self, work: &mut Work) -> Advance {
        let (Entries::Directory { cursor, .. }, Sorted::Yes(sorting)) = (&mut self.entries, &mut self.sorted) else {
            return Advance::End;
        };
        sorting.next(cursor, &self.directory, work)
    }

    /// Releases and emits one entry; false where `emit` wants a pause.
    fn emit_entry(&mut self, at: Location, work: &mut Work, emit: &mut Emit<'_>) -> bool {
        let reading = self.reading.take();
        let Entries::Directory { snapshot, .. } = &self.entries else {
            return false;
        };
        let directory = &self.directory;
        let computation = Computation {
            accounts: &directory.accounts,
            groups: Groups {
                snapshot,
                schema: snapshot.schema(),
                view: &self.view,
                collective: self.held.as_ref().and_then(|held| held.collective.as_ref()),
                kept: None,
            },
            snapshot,
        };
        let spent = computation.compute(self.wanted, at, &self.tail_members, &mut self.computed);
        work.left = work.left.saturating_sub(spent);
        if let Some(id) = self.wanted.context_csn
            && directory.is_suffix(&snapshot.key(at))
        {
            self.computed.push(ComputedAttribute {
                id,
                values: vec![directory.context_csn().into_bytes()],
            });
        }
        let record = snapshot.record(at);
        let Some(entry) = release(record, &self.view, &self.selection, &self.computed, snapshot.schema()) else {
            return true;
        };
        self.given += 1;
        if let Sorted::Yes(sorting) = &mut self.sorted {
            sorting.given();
        }
        if let Some(page) = &mut self.limits.page {
            page.last = Some(at);
        }
        if let Some(audit) = &mut self.audit {
            audit.entry(entry.entry_uuid());
            audit.write_part(&directory.audit);
        }
        let held_to = u32::try_from(self.selection.value_items()).unwrap_or(u32::MAX);
        work.left = work.left.saturating_sub(held_to);
        let mut beside = Beside::default();
        if self.usability.is_some() {
            work.left = work.left.saturating_sub(USABILITY_WORK);
            beside = self.beside(snapshot, at);
        }
        let (Some(links), Some(mut reading)) = (&self.links, reading) else {
            return emit(&entry, beside);
        };
        let mut linked = links.linked(&mut reading);
        let given = || linked.iter().filter_map(|link| link.entry_uuid.as_ref());
        if !given().all(|_| self.limits.counts_today(directory, &self.view)) {
            linked.clear();
        } else if let Some(audit) = &mut self.audit {
            given().for_each(|uuid| audit.entry(uuid));
        }
        emit(&entry, beside.with(&linked))
    }

    pub(super) fn sorting(&self) -> Option<&Sorting> {
        match &self.sorted {
            Sorted::Yes(sorting) => Some(sorting),
            Sorted::No | Sorted::Fault(_) => None,
        }
    }

    /// How the entries will be put in order, where a sort was asked.
    pub fn sort_way(&mut self) -> Option<SortWay> {
        match (&mut self.entries, &self.sorted) {
            (Entries::Directory { cursor, .. }, Sorted::Yes(sorting)) => Some(sorting.way(cursor)),
            _ => None,
        }
    }

    /// How the search runs; `None` for the root DSE and the subschema.
    pub fn plan(&mut self) -> Option<&Plan> {
        match &mut self.entries {
            Entries::Directory { cursor, .. } => Some(cursor.plan()),
            Entries::Protocol(_) | Entries::None => None,
        }
    }

    /// Candidates examined so far.
    pub fn candidates(&self) -> u64 {
        match &self.entries {
            Entries::Directory { cursor, .. } => cursor.candidates(),
            Entries::Protocol(_) | Entries::None => 0,
        }
    }
}
