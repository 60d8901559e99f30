//! A running search: a resumable stream of matching entries over one snapshot.

use super::evaluate::{Candidate, Evaluator};
use super::plan::{LayerPlan, Plan, Residual};
use super::predicate::Predicate;
use super::scope::Scope;
use super::seen::Seen;
use super::sorted::SortKeys;
use super::stream::{Step, Stream, admits, retain_admitted};
use super::{Advance, CandidateLimit, Order, Query, Truth, Work};
use crate::index::{EntryId, Ordinal};
use crate::schema::Schema;
use crate::store::{Layer, Location, Record, Snapshot};
use smallvec::SmallVec;
use std::sync::Arc;

/// A search in progress. Holds positions and its snapshot; dropping it ends the search.
pub struct Cursor {
    snapshot: Arc<Snapshot>,
    plan: Plan,
    runs: SmallVec<[LayerRun; 1]>,
    /// The next tail entry to look at.
    tail: usize,
    /// A matching tail entry that was found and not yet given.
    tail_head: Option<u32>,
    /// With [`Order::Any`]: the planned layer that is being searched. With [`Order::Name`]: the one that gave the last entry.
    run: usize,
    /// With [`Order::Name`]: entries that `run` gave in a row.
    in_a_row: u32,
    /// With [`Order::Name`]: ids of `run` below this come before the heads of all other sources; 0 where that is not known.
    leads_until: u32,
    examiner: Examiner,
    base: Base,
    /// The candidate limit was reached.
    limited: bool,
}

/// Whether only the base object is asked for, where that is known and so small that no plan is cheaper than looking at it.
#[derive(Clone, Copy)]
enum Base {
    Planned,
    At(Location),
    Given,
}

/// How far one layer has come.
struct LayerRun {
    stream: Stream,
    /// Ids given, where the stream may repeat one; or ids gathered, where they have to be put in order.
    seen: Seen,
    /// Ids of the stream that passed the probes together; the next one last.
    probed: Vec<u32>,
    /// How many are asked about next.
    probed_at_once: usize,
    /// Candidates that are still to be evaluated; the next one last.
    waiting: SmallVec<[u32; 4]>,
    /// The least gathered id that was not given; `None` while gathering.
    gathered_from: Option<u32>,
    head: Head,
    /// The key of the head, where several sources are merged.
    head_key: Vec<u8>,
}

/// What one layer's run draws from.
#[derive(Clone, Copy)]
struct Source<'c> {
    layer: &'c Layer,
    plan: &'c LayerPlan,
    /// All that is asked for; the plan's residual are places in it.
    wanted: &'c Predicate,
}

impl<'c> Source<'c> {
    fn of(snapshot: &'c Snapshot, plan: &'c LayerPlan, wanted: &'c Predicate) -> Source<'c> {
        let layer = &snapshot.layers[plan.number];
        Source { layer, plan, wanted }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Unknown,
    At(u32),
    End,
}

/// What became of a search for the next match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Id(u32),
    Paused,
    Limited,
    End,
}

/// What [`Cursor::examine`] came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Examined {
    Yes,
    No,
    /// The work is used up: ask again for the same entry.
    Paused,
    /// The candidate limit was reached.
    Limit,
}

/// Looks at candidates and counts them.
struct Examiner {
    schema: Arc<Schema>,
    scope: Scope,
    evaluator: Evaluator,
    key: Vec<u8>,
    /// Whether what is evaluated needs an entry's key.
    needs_key: bool,
    /// Work that evaluating one entry takes.
    effort: u32,
    candidates: u64,
    limit: CandidateLimit,
    /// A candidate was passed over because of the limit: what comes after it does not end the search well.
    is_over: bool,
}

/// What is asked of an entry, where that follows from the entry alone: it has the same answer in every snapshot with this schema.
pub(super) struct Question {
    schema: Arc<Schema>,
    wanted: Predicate,
    scope: Scope,
}

impl Question {
    /// `None` where it does not follow from the entry alone, or where what is sorted by is not of the snapshot's schema.
    pub(super) fn of(cursor: &Cursor, keys: &SortKeys) -> Option<Arc<Question>> {
        let schema = &cursor.examiner.schema;
        if cursor.plan.wanted.looks_around() || !Arc::ptr_eq(schema, &keys.schema) {
            return None;
        }
        Some(Arc::new(Question {
            schema: Arc::clone(schema),
            wanted: cursor.plan.wanted.clone(),
            scope: cursor.examiner.scope.clone(),
        }))
    }

    /// Whether a search asks the same.
    pub(super) fn is_of(&self, cursor: &Cursor, keys: &SortKeys) -> bool {
        let schema = &cursor.examiner.schema;
        Arc::ptr_eq(&self.schema, schema)
            && Arc::ptr_eq(&keys.schema, schema)
            && self.wanted == cursor.plan.wanted
            && self.scope.is_same(&cursor.examiner.scope)
    }
}

/// Items that are evaluated for one unit of work.
const ITEMS_A_UNIT: usize = 8;

/// Work that evaluating one entry takes at least.
pub(super) fn effort(predicate: &Predicate) -> u32 {
    1 + (predicate.items() / ITEMS_A_UNIT) as u32
}

/// Entries that one layer gives in a row before it is looked up how far it may go on; few in tests, whose directories are small.
const LEADS_AFTER: u32 = if cfg!(test) { 2 } else { 16 };
/// Octets of a base object's record, and items of a filter, up to which the one is held to the other without a plan.
const SMALL_BASE: (usize, usize) = (4 << 10, 8);
/// Ids whose probes are asked together, at first and once many were asked about: a search that wants few does the work of few.
const PROBED_AT_ONCE: (usize, usize) = (8, 64);
/// Candidates whose records are brought near together.
const WARMED_AT_ONCE: usize = 8;

impl Cursor {
    /// Stands before the first entry of the query. Does no work that grows with the directory. A layer is planned when its
    /// turn comes: a search that the first layer fills needs no plan for those behind it.
    pub fn open(snapshot: Arc<Snapshot>, mut query: Query) -> Cursor {
        let scope = Scope::new(&mut query);
        let plan = Plan::new(&snapshot, &mut query);
        let nothing = matches!(plan.wanted, Predicate::False);
        let tail = if nothing { snapshot.tail.len() } else { 0 };
        let small =
            |at: &Location| snapshot.record(*at).octets().len() <= SMALL_BASE.0 && plan.wanted.items() <= SMALL_BASE.1;
        let base = match scope.base_object().filter(small) {
            Some(at) if !nothing => Base::At(at),
            _ => Base::Planned,
        };
        let mut cursor = Cursor {
            base,
            examiner: Examiner {
                schema: Arc::clone(snapshot.schema()),
                scope,
                evaluator: Evaluator::default(),
                key: Vec::new(),
                needs_key: plan.wanted.needs_key(),
                effort: effort(&plan.wanted),
                candidates: 0,
                is_over: false,
                limit: query.candidate_limit,
            },
            plan,
            runs: SmallVec::new(),
            tail,
            tail_head: None,
            run: 0,
            in_a_row: 0,
            leads_until: 0,
            limited: false,
            snapshot,
        };
        if cursor.plan.order == Order::Name && matches!(base, Base::Planned) {
            cursor.plan_all();
        }
        cursor
    }

    /// The plan of all layers.
    pub fn plan(&mut self) -> &Plan {
        self.plan_all();
        &self.plan
    }

    pub(super) fn plan_all(&mut self) {
        while self.plan_next() {}
    }

    /// Plans one layer more; false where there is none.
    fn plan_next(&mut self) -> bool {
        let plan = self.plan.next_layer(&self.snapshot, &self.examiner.scope);
        plan.map(|plan| self.runs.push(LayerRun::new(plan))).is_some()
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Goes on to the next matching entry, as far as `work` lasts. Each matching entry comes exactly once.
    pub fn advance(&mut self, work: &mut Work) -> Advance {
        if self.limited {
            return Advance::CandidateLimit;
        }
        let advance = match (self.base, self.plan.order) {
            (Base::At(at), _) => self.advance_to_base(at, work),
            (Base::Given, _) => Advance::End,
            (Base::Planned, Order::Any) => self.advance_any(work),
            (Base::Planned, Order::Name) => self.advance_by_name(work),
        };
        self.limited = advance == Advance::CandidateLimit;
        advance
    }

    /// Whether an entry that was found in another way is one of this search's; counts it as a candidate.
    pub(super) fn examine(&mut self, at: Location, work: &mut Work) -> Examined {
        let (snapshot, examiner) = (&self.snapshot, &mut self.examiner);
        let (record, depth) = match at {
            Location::Layer { layer, id } => {
                let Some(layer) = snapshot.layers.get(layer as usize) else {
                    return Examined::No;
                };
                if layer.hidden.contains(id) {
                    return Examined::No;
                }
                layer.segment.names().value(Ordinal(id.0), &mut examiner.key);
                (layer.segment.record(id), layer.segment.depth(id))
            }
            Location::Tail { index } => {
                let Some(entry) = snapshot.tail.get(index as usize) else {
                    return Examined::No;
                };
                examiner.key.clear();
                examiner.key.extend_from_slice(&entry.key.0);
                (snapshot.tail_record(entry), entry.depth)
            }
        };
        if !examiner.scope.covers(&examiner.key, depth) {
            return Examined::No;
        }
        if !examiner.evaluator.is_paused() && !examiner.count(|| record) {
            return Examined::Limit;
        }
        let Examiner {
            evaluator, schema, key, ..
        } = examiner;
        let truth = evaluator.truth_within(&self.plan.wanted, Candidate { record, key }, schema, work.left);
        work.left = work.left.saturating_sub(evaluator.take_spent());
        match truth {
            None => Examined::Paused,
            Some(Truth::True) => Examined::Yes,
            Some(Truth::False | Truth::Undefined) => Examined::No,
        }
    }

    /// The least id in scope in a layer that is planned, from `at_least` on.
    pub(super) fn next_in_scope(&self, layer: usize, at_least: u32) -> Option<u32> {
        self.plan.layer(layer)?.ids.next(at_least)
    }

    /// Candidates examined so far: visible entries in scope that were probed or evaluated, or given as they are.
    pub fn candidates(&self) -> u64 {
        self.examiner.candidates
    }

    fn advance_to_base(&mut self, at: Location, work: &mut Work) -> Advance {
        if work.left == 0 {
            return Advance::Paused;
        }
        work.left = work.left.saturating_sub(self.examiner.effort);
        self.base = Base::Given;
        let (record, examiner) = (self.snapshot.record(at), &mut self.examiner);
        if !examiner.scope.gives_base() {
            return Advance::End;
        }
        if !examiner.count(|| record) {
            return Advance::CandidateLimit;
        }
        let Examiner {
            evaluator,
            schema,
            scope,
            ..
        } = examiner;
        let key = scope.base_key();
        let candidate = Candidate { record, key };
        let truth = evaluator.truth(&self.plan.wanted, candidate, schema);
        work.left = work.left.saturating_sub(evaluator.take_spent());
        match truth {
            Truth::True => Advance::Entry(at),
            Truth::False | Truth::Undefined => Advance::End,
        }
    }

    fn advance_any(&mut self, work: &mut Work) -> Advance {
        while self.run < self.runs.len() || self.plan_next() {
            let plan = &self.plan.layers[self.run];
            let source = Source::of(&self.snapshot, plan, &self.plan.wanted);
            match self.runs[self.run].next(source, &mut self.examiner, work) {
                Found::Id(id) => return located(plan.number, id),
                Found::Paused => return Advance::Paused,
                Found::Limited => return Advance::CandidateLimit,
                Found::End => self.run += 1,
            }
        }
        match self.next_in_tail(work) {
            Found::Id(index) => Advance::Entry(Location::Tail { index }),
            Found::Paused => Advance::Paused,
            Found::Limited => Advance::CandidateLimit,
            Found::End => Advance::End,
        }
    }

    /// Merges the layers and the tail by key.
    fn advance_by_name(&mut self, work: &mut Work) -> Advance {
        let alone = self.runs.len() + usize::from(!self.snapshot.tail.is_empty()) == 1;
        let leads_until = if alone { u32::MAX } else { self.leads_until };
        for (at, run) in self.runs.iter_mut().enumerate() {
            if run.head != Head::Unknown {
                continue;
            }
            let plan = &self.plan.layers[at];
            let source = Source::of(&self.snapshot, plan, &self.plan.wanted);
            run.head = match run.next_by_name(source, &mut self.examiner, work) {
                // The key of nobody else can come before: it need not be known.
                Found::Id(id) if at == self.run && id < leads_until => return located(plan.number, id),
                Found::Id(id) => Head::At(id),
                Found::End => Head::End,
                Found::Paused => return Advance::Paused,
                Found::Limited => return Advance::CandidateLimit,
            };
            if let Head::At(id) = run.head {
                source.layer.segment.names().value(Ordinal(id), &mut run.head_key);
            }
        }
        if self.tail_head.is_none() {
            match self.next_in_tail(work) {
                Found::Id(index) => self.tail_head = Some(index),
                Found::End => {}
                Found::Paused => return Advance::Paused,
                Found::Limited => return Advance::CandidateLimit,
            }
        }
        self.least_head()
    }

    fn least_head(&mut self) -> Advance {
        let mut least: Option<(usize, &mut LayerRun)> = None;
        for (number, run) in self.runs.iter_mut().enumerate() {
            let nearer = least.as_ref().is_none_or(|(_, other)| run.head_key < other.head_key);
            if matches!(run.head, Head::At(_)) && nearer {
                least = Some((number, run));
            }
        }
        let tail_key = self.tail_head.map(|index| &self.snapshot.tail[index as usize].key.0);
        match (least, tail_key) {
            (Some((at, run)), tail) if tail.is_none_or(|tail| run.head_key < *tail) => match run.head {
                Head::At(id) => {
                    run.head = Head::Unknown;
                    self.note_lead(at);
                    located(self.plan.layers[at].number, id)
                }
                Head::Unknown | Head::End => Advance::End,
            },
            _ => {
                self.in_a_row = 0;
                self.leads_until = 0;
                match self.tail_head.take() {
                    Some(index) => Advance::Entry(Location::Tail { index }),
                    None => Advance::End,
                }
            }
        }
    }

    /// A layer gave an entry after its key was compared. When it did so often enough in a row, it is worth a look-up how far
    /// it may go before another source has its turn: as long, no key need be read.
    fn note_lead(&mut self, at: usize) {
        self.leads_until = 0;
        self.in_a_row = if self.run == at { self.in_a_row + 1 } else { 1 };
        self.run = at;
        if self.in_a_row < LEADS_AFTER {
            return;
        }
        self.in_a_row = 0;
        let others = self.runs.iter().enumerate();
        let others = others.filter(|(other, run)| *other != at && matches!(run.head, Head::At(_)));
        let tail = self.tail_head.map(|index| &self.snapshot.tail[index as usize].key.0);
        let next = others.map(|(_, run)| &run.head_key).chain(tail).min();
        self.leads_until = match next {
            Some(key) => {
                let source = &self.snapshot.layers[self.plan.layers[at].number];
                source.segment.names().lower_bound(key).0
            }
            None => u32::MAX,
        };
    }

    fn next_in_tail(&mut self, work: &mut Work) -> Found {
        while let Some(entry) = self.snapshot.tail.get(self.tail) {
            if work.left == 0 {
                return Found::Paused;
            }
            work.left = work.left.saturating_sub(self.examiner.effort);
            let index = self.tail as u32;
            self.tail += 1;
            if !self.examiner.scope.covers(&entry.key.0, entry.depth) {
                continue;
            }
            let record = self.snapshot.tail_record(entry);
            if !self.examiner.evaluator.is_paused() && !self.examiner.count(|| record) {
                return Found::Limited;
            }
            let candidate = Candidate {
                record,
                key: &entry.key.0,
            };
            let Examiner { evaluator, schema, .. } = &mut self.examiner;
            let truth = evaluator.truth_within(&self.plan.wanted, candidate, schema, work.left);
            work.left = work.left.saturating_sub(evaluator.take_spent());
            match truth {
                Some(Truth::True) => return Found::Id(index),
                Some(Truth::False | Truth::Undefined) => {}
                None => {
                    self.tail -= 1;
                    return Found::Paused;
                }
            }
        }
        Found::End
    }
}

fn located(layer: usize, id: u32) -> Advance {
    Advance::Entry(Location::Layer {
        layer: layer as u32,
        id: EntryId(id),
    })
}

impl LayerRun {
    fn new(plan: &LayerPlan) -> LayerRun {
        LayerRun {
            stream: if plan.ids.is_empty() {
                Stream::End
            } else {
                Stream::new(&plan.branch)
            },
            seen: if plan.gather { Seen::ordered() } else { Seen::default() },
            probed: Vec::new(),
            probed_at_once: PROBED_AT_ONCE.0,
            waiting: SmallVec::new(),
            gathered_from: None,
            head: Head::Unknown,
            head_key: Vec::new(),
        }
    }

    /// The next match, each once.
    fn next(&mut self, source: Source<'_>, examiner: &mut Examiner, work: &mut Work) -> Found {
        let plan = source.plan;
        let repeats = plan.branch.is_unordered();
        loop {
            let found = match plan.residual {
                Residual::Nothing => self.admitted(source, examiner, work),
                Residual::Whole | Residual::Terms(_) => self.evaluated(source, examiner, work),
            };
            match found {
                Found::Id(id) if repeats && !self.seen.insert(id) => {}
                found => return found,
            }
        }
    }

    /// The next candidate for which what is left of the filter is true. Candidates are taken a few at a time, so that the
    /// cache misses of their records overlap.
    fn evaluated(&mut self, source: Source<'_>, examiner: &mut Examiner, work: &mut Work) -> Found {
        loop {
            while let Some(id) = self.waiting.pop() {
                work.left = work.left.saturating_sub(examiner.effort - 1);
                let fulfils = examiner.fulfils(source, id, work.left);
                let spent = examiner.evaluator.take_spent();
                work.left = work.left.saturating_sub(spent);
                match fulfils {
                    Some(true) => return Found::Id(id),
                    Some(false) => {}
                    None => {
                        self.waiting.push(id);
                        return Found::Paused;
                    }
                }
                // Those that wait may take as long again.
                if (spent > 0 || examiner.effort > 1) && work.left == 0 {
                    return Found::Paused;
                }
            }
            while self.waiting.len() < WARMED_AT_ONCE {
                match self.admitted(source, examiner, work) {
                    Found::Id(id) => {
                        source.layer.segment.foresee(EntryId(id));
                        self.waiting.push(id);
                    }
                    end if self.waiting.is_empty() => return end,
                    _ => break,
                }
            }
            self.waiting.reverse();
            for id in self.waiting.iter().rev() {
                source.layer.segment.record(EntryId(*id)).warm();
            }
        }
    }

    /// The next id of the stream that is visible, in scope and passes the probes.
    fn admitted(&mut self, source: Source<'_>, examiner: &mut Examiner, work: &mut Work) -> Found {
        let Source { layer, plan, .. } = source;
        if examiner.is_over {
            return Found::Limited;
        }
        if plan.branch.probes_many() && examiner.limit.most == 0 {
            return self.admitted_together(source, examiner, work);
        }
        loop {
            if work.left == 0 {
                return Found::Paused;
            }
            let id = match self.stream.next(&plan.branch, &layer.segment, &plan.ids, work) {
                Step::Id(id) => id,
                Step::Paused => return Found::Paused,
                Step::End => return Found::End,
            };
            work.left = work.left.saturating_sub(1);
            if !is_candidate(layer, plan, id) || (plan.by_key && !examiner.covers(layer, id)) {
                continue;
            }
            if !examiner.count(|| layer.segment.record(EntryId(id))) {
                return Found::Limited;
            }
            if admits(&plan.branch.probes, &layer.segment, id) {
                return Found::Id(id);
            }
        }
    }

    /// The same where there are many ids to ask about: some are taken at a time.
    fn admitted_together(&mut self, source: Source<'_>, examiner: &mut Examiner, work: &mut Work) -> Found {
        let Source { layer, plan, .. } = source;
        debug_assert!(!plan.by_key, "few candidates are asked about one by one");
        loop {
            if let Some(id) = self.probed.pop() {
                return Found::Id(id);
            }
            if work.left == 0 {
                return Found::Paused;
            }
            let most = self.probed_at_once.min(work.left as usize);
            self.probed_at_once = (most * 2).min(PROBED_AT_ONCE.1);
            let (segment, ids) = (&layer.segment, &mut self.probed);
            let end = self.stream.take(&plan.branch, segment, &plan.ids, most, work, ids);
            work.left = work.left.saturating_sub(ids.len() as u32);
            if plan.ids.depth.is_some() || !layer.hidden.is_empty() {
                ids.retain(|id| is_candidate(layer, plan, *id));
            }
            examiner.candidates += ids.len() as u64;
            retain_admitted(&plan.branch.probes, segment, ids);
            ids.reverse();
            match end {
                Some(Step::End) if ids.is_empty() => return Found::End,
                Some(Step::Paused) if ids.is_empty() => return Found::Paused,
                // The stream says so again when it is asked again.
                _ => {}
            }
        }
    }

    /// The next match by ascending id.
    fn next_by_name(&mut self, source: Source<'_>, examiner: &mut Examiner, work: &mut Work) -> Found {
        if !source.plan.gather {
            return self.next(source, examiner, work);
        }
        while self.gathered_from.is_none() {
            match self.next(source, examiner, work) {
                Found::Id(_) => {}
                Found::End => self.gathered_from = Some(0),
                other => return other,
            }
        }
        let from = self.gathered_from.unwrap_or(0);
        match self.seen.next(from) {
            Some(id) => {
                self.gathered_from = Some(id + 1);
                Found::Id(id)
            }
            None => Found::End,
        }
    }
}

/// Whether an id of a layer's stream is visible and as deep as the scope wants.
#[inline]
fn is_candidate(layer: &Layer, plan: &LayerPlan, id: u32) -> bool {
    (layer.hidden.is_empty() || !layer.hidden.contains(EntryId(id)))
        && plan
            .ids
            .depth
            .is_none_or(|depth| layer.segment.depth(EntryId(id)) == depth)
}

impl Examiner {
    /// Counts one more candidate; false where the limit allows none.
    #[inline]
    fn count<'r>(&mut self, record: impl FnOnce() -> Record<'r>) -> bool {
        if self.limit.most == 0 {
            self.candidates += 1;
            return true;
        }
        self.count_limited(record())
    }

    fn count_limited(&mut self, record: Record<'_>) -> bool {
        let candidate = Candidate { record, key: &[] };
        if self.evaluator.truth(&self.limit.uncounted, candidate, &self.schema) == Truth::True {
            return true;
        }
        self.is_over |= self.candidates >= self.limit.most;
        self.candidates += u64::from(!self.is_over);
        !self.is_over
    }

    /// Whether an entry's own key is in scope.
    fn covers(&mut self, layer: &Layer, id: u32) -> bool {
        layer.segment.names().value(Ordinal(id), &mut self.key);
        self.scope.covers(&self.key, layer.segment.depth(EntryId(id)))
    }

    /// `None` where the work is used up: ask again for the same entry.
    fn fulfils(&mut self, source: Source<'_>, id: u32, allowed: u32) -> Option<bool> {
        let Source { layer, plan, wanted } = source;
        if self.needs_key {
            layer.segment.names().value(Ordinal(id), &mut self.key);
        }
        let candidate = Candidate {
            record: layer.segment.record(EntryId(id)),
            key: &self.key,
        };
        let left = plan.residual.of(wanted);
        let truth = self.evaluator.all_within(left, candidate, &self.schema, allowed)?;
        Some(truth == Truth::True)
    }
}
