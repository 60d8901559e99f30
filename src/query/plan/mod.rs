//! From a predicate and index statistics to a plan: which candidates, in which order, and what is left to evaluate.
//!
//! One plan a layer of the snapshot: layers differ in size, and a value may be rare in one and common in another.

mod choose;
mod display;
mod probe;

use super::predicate::{Item, Origin, Predicate, Test};
use super::scope::{Ids, Scope};
use super::{Order, Query};
use crate::index::column::OrdinalSet;
use crate::index::postings::PostingList;
use crate::index::substring::SubstringCursor;
use crate::index::{EntryId, Ordinal};
use crate::schema::{AttributeId, Schema};
use crate::store::{Segment, Snapshot};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// In a scope of so many entries evaluating them all is no scan worth a warning.
pub const SMALL_SCOPE_ENTRIES: u64 = 256;

/// How a search will run. Its `Display` is the explain text: one line a node, estimates included.
#[derive(Clone)]
pub struct Plan {
    pub(super) schema: Arc<Schema>,
    /// True exactly where the query's predicate is; see [`Predicate::settle`].
    pub(super) wanted: Predicate,
    /// Those planned until now, ascending by number, without those that certainly have no such entry.
    pub(super) layers: SmallVec<[LayerPlan; 1]>,
    /// The layer of the snapshot that comes next.
    next: usize,
    pub(super) order: Order,
    tail_entries: u32,
}

/// How one layer is searched.
#[derive(Clone)]
pub(super) struct LayerPlan {
    /// The layer's place in the snapshot.
    pub number: usize,
    pub ids: Ids,
    pub branch: Branch,
    pub residual: Residual,
    /// Entries are evaluated one after the other because that is cheaper than an index, not for want of one.
    pub by_choice: bool,
    /// There are so few candidates that each is held to the scope by its own key; `ids` is then the whole segment.
    pub by_key: bool,
    /// Candidates come in no order but have to be given in one: they are gathered first.
    pub gather: bool,
}

/// What candidates are still evaluated for.
#[derive(Clone)]
pub(super) enum Residual {
    /// Access and probes say it all.
    Nothing,
    /// All that is wanted.
    Whole,
    /// Some terms of the conjunction that is wanted, by their places in it.
    Terms(Places),
}

/// Places of some terms of a conjunction.
pub(super) type Places = SmallVec<[u32; 4]>;

impl Residual {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Residual::Nothing)
    }

    /// What has to be True of a candidate, each by itself.
    #[inline]
    pub fn of<'p>(&'p self, wanted: &'p Predicate) -> impl Iterator<Item = &'p Predicate> {
        let (whole, places): (_, &[u32]) = match self {
            Residual::Nothing => (None, &[]),
            Residual::Whole => (Some(wanted), &[]),
            Residual::Terms(places) => (None, places),
        };
        let terms: &[Predicate] = match wanted {
            Predicate::And(terms) => terms,
            _ => &[],
        };
        whole
            .into_iter()
            .chain(places.iter().filter_map(|place| terms.get(*place as usize)))
    }
}

/// A source of candidates and the cheap tests they must pass.
#[derive(Clone)]
pub(super) struct Branch {
    pub access: Access,
    pub probes: SmallVec<[Probe; 2]>,
    /// Whether every candidate that passes the probes fulfils the predicate.
    pub exact: bool,
    /// Estimated candidates.
    pub estimate: u64,
    /// Estimated work: candidates and dictionary values.
    pub cost: u64,
    /// Only the presence of an attribute narrows it.
    pub coarse: bool,
    /// Where every entry is a candidate: other values would make it a scan. Whether a search is one, and so is refused, must not tell
    /// of values in entries that are hidden, nor of names.
    pub is_scan: bool,
}

#[derive(Clone)]
pub(super) enum Access {
    Nothing,
    /// Every id in scope.
    Entries,
    One(EntryId),
    /// Ids that follow each other.
    Range(Range<u32>),
    /// Ascending.
    Some(Arc<[EntryId]>),
    /// One list after the other.
    Lists(SmallVec<[ListAt; 1]>),
    /// The lists of some values of one attribute's dictionary, found as they are needed.
    Values(Box<Values>),
    Union(Vec<Branch>),
}

/// A posting list, where it is kept, and what it was looked up for.
#[derive(Clone)]
pub(super) struct ListAt {
    pub item: Arc<Item>,
    pub attribute: AttributeId,
    pub presence: bool,
    /// The value's, unless it is a presence list.
    pub ordinal: Ordinal,
    pub list: PostingList,
}

#[derive(Clone)]
pub(super) struct Values {
    pub attribute: AttributeId,
    pub item: Arc<Item>,
    pub ordinals: Ordinals,
    /// Whether each value has to be tested itself.
    pub verify: bool,
}

#[derive(Clone)]
pub(super) enum Ordinals {
    Range(Range<u32>),
    Grams {
        piece: Vec<u8>,
        cursor: Box<SubstringCursor>,
        estimate: u64,
    },
}

/// A test of an id that needs no record, or its negation.
#[derive(Clone)]
pub(super) struct Probe {
    pub test: ProbeTest,
    pub negated: bool,
}

#[derive(Clone)]
pub(super) enum ProbeTest {
    /// The id is in one of these lists.
    Lists(SmallVec<[ListAt; 1]>),
    /// The attribute's column has one of these ordinals for the id.
    Column {
        item: Arc<Item>,
        attribute: AttributeId,
        ordinals: OrdinalSet,
    },
}

impl Plan {
    /// Begins a plan for a query against a snapshot, without any layer. The predicate is taken out of the query.
    pub(super) fn new(snapshot: &Snapshot, query: &mut Query) -> Plan {
        Plan {
            layers: SmallVec::new(),
            next: 0,
            schema: Arc::clone(snapshot.schema()),
            wanted: std::mem::replace(&mut query.predicate, Predicate::False).settle(),
            order: query.order,
            tail_entries: snapshot.tail.len() as u32,
        }
    }

    /// Plans one layer more; `None` where there is none.
    pub(super) fn next_layer(&mut self, snapshot: &Snapshot, scope: &Scope) -> Option<&LayerPlan> {
        while let Some(layer) = snapshot.layers.get(self.next) {
            let number = self.next;
            self.next += 1;
            // The first layer holds nearly everything.
            if number > 0 && self.is_false_in(&layer.segment) {
                continue;
            }
            let source = (number, &layer.segment);
            let plan = LayerPlan::new(source, &self.schema, &self.wanted, self.order, scope);
            self.layers.push(plan);
            return self.layers.last();
        }
        None
    }

    /// The plan of a layer by its place in the snapshot; `None` where it certainly has no such entry.
    pub(super) fn layer(&self, number: usize) -> Option<&LayerPlan> {
        match self.layers.get(number) {
            Some(plan) if plan.number == number => Some(plan),
            _ => self.layers.iter().find(|plan| plan.number == number),
        }
    }

    /// Whether a segment certainly has no value that an equality asks for which must hold: for the price of a cache line.
    fn is_false_in(&self, segment: &Segment) -> bool {
        let lacks = |term: &Predicate| match term {
            Predicate::Item(item) => self.is_lacking(item, segment),
            _ => false,
        };
        match &self.wanted {
            Predicate::And(terms) => terms.iter().any(lacks),
            term => lacks(term),
        }
    }

    fn is_lacking(&self, item: &Item, segment: &Segment) -> bool {
        let Test::Equality { rule, value } = &item.test else {
            return false;
        };
        let of_dictionary = |id: AttributeId| {
            let own = self.schema.attribute(id).equality;
            own.is_some_and(|own| own.shares_form(*rule))
        };
        let stored = item.origin == Origin::Stored && !item.dn_attributes;
        let mut types = item.types.iter().copied();
        stored && types.all(|id| of_dictionary(id) && segment.certainly_lacks(id, value))
    }

    /// Whether every entry in scope must be examined: no index serves the filter, and the scope is larger than
    /// [`SMALL_SCOPE_ENTRIES`].
    pub fn is_scan(&self) -> bool {
        self.layers.iter().any(LayerPlan::is_scan)
    }

    /// Estimated candidates.
    pub fn estimate(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(|layer| layer.branch.estimate).sum();
        layers + u64::from(self.tail_entries)
    }
}

/// Candidates that are held to the scope one by one, which costs less than finding where the scope begins and ends.
const FEW_IN_SEGMENT: u64 = 4;
/// So few candidates are probed one by one.
const FEW_PROBED: u64 = 64;
/// In a scope of so few entries no index is looked at.
const FEW_IN_SCOPE: u64 = 4;

impl LayerPlan {
    fn new(
        (layer, segment): (usize, &Arc<Segment>),
        schema: &Schema,
        wanted: &Predicate,
        order: Order,
        scope: &Scope,
    ) -> LayerPlan {
        if scope.is_nothing() || segment.is_empty() || matches!(wanted, Predicate::False) {
            return LayerPlan::nothing(layer, Ids::default());
        }
        let ids = match scope.known_ids(layer, segment) {
            Some(ids) => ids,
            None => match LayerPlan::point((layer, segment), schema, wanted, order, scope) {
                Some(plan) => return plan,
                None => scope.ids(layer, segment),
            },
        };
        let entries = ids.len();
        if entries == 0 {
            return LayerPlan::nothing(layer, ids);
        }
        if entries <= FEW_IN_SCOPE {
            return LayerPlan::every_entry(layer, ids, wanted);
        }
        let (branch, residual) = choose::Chooser::new(segment, schema, entries).choose(wanted);
        let many = branch.is_unordered();
        let dear = Branch::entries(entries).cost <= branch.cost
            || (order == Order::Name && gathering_is_dear(&branch, entries));
        if many && dear {
            return LayerPlan::every_entry(layer, ids, wanted);
        }
        LayerPlan {
            number: layer,
            ids,
            branch,
            residual,
            by_choice: false,
            by_key: false,
            gather: many && order == Order::Name,
        }
    }

    /// The plan where an equality leaves next to nothing in the whole segment, wherever the scope lies.
    fn point(
        (number, segment): (usize, &Segment),
        schema: &Schema,
        wanted: &Predicate,
        order: Order,
        scope: &Scope,
    ) -> Option<LayerPlan> {
        if scope.is_base_object() || !may_be_point(wanted) {
            return None;
        }
        let entries = u64::from(segment.len());
        let (branch, residual) = choose::Chooser::new(segment, schema, entries).choose(wanted);
        match &branch.access {
            Access::Nothing => Some(LayerPlan::nothing(number, Ids::all(segment))),
            Access::One(_) | Access::Lists(_) if branch.estimate <= FEW_IN_SEGMENT => Some(LayerPlan {
                number,
                ids: Ids::all(segment),
                gather: branch.is_unordered() && order == Order::Name,
                branch,
                residual,
                by_choice: false,
                by_key: true,
            }),
            _ => None,
        }
    }

    fn nothing(number: usize, ids: Ids) -> LayerPlan {
        LayerPlan {
            number,
            ids,
            branch: Branch::nothing(),
            residual: Residual::Nothing,
            by_choice: false,
            by_key: false,
            gather: false,
        }
    }

    /// Evaluates every entry in scope although an index may serve.
    fn every_entry(number: usize, ids: Ids, wanted: &Predicate) -> LayerPlan {
        let residual = match wanted {
            Predicate::True => Residual::Nothing,
            _ => Residual::Whole,
        };
        LayerPlan {
            number,
            branch: Branch::entries(ids.len()),
            ids,
            residual,
            by_choice: true,
            by_key: false,
            gather: false,
        }
    }

    pub fn is_scan(&self) -> bool {
        let evaluates = !self.residual.is_nothing();
        let is_scan = match self.branch.access {
            Access::Entries => !self.by_choice && (evaluates || self.branch.is_scan),
            _ => evaluates && self.branch.coarse && self.branch.estimate * 2 >= self.ids.len(),
        };
        is_scan && self.ids.len() > SMALL_SCOPE_ENTRIES
    }
}

/// Whether an equality has to hold of every entry found.
fn may_be_point(wanted: &Predicate) -> bool {
    match wanted {
        Predicate::Item(item) => matches!(item.test, Test::Equality { .. } | Test::Class { .. } | Test::Name(_)),
        Predicate::And(terms) => terms
            .iter()
            .any(|term| matches!(term, Predicate::Item(_)) && may_be_point(term)),
        _ => false,
    }
}

/// Gathering n candidates costs about 20 ns each before the first entry comes; evaluating entries in order costs about
/// 400 ns for each of `entries / n` that a result takes. At 1,000 results a page these meet at n^2 = 20,000 entries.
fn gathering_is_dear(branch: &Branch, entries: u64) -> bool {
    branch.estimate.saturating_mul(branch.estimate) > entries.saturating_mul(20_000)
}

impl Branch {
    fn nothing() -> Branch {
        Branch {
            access: Access::Nothing,
            estimate: 0,
            cost: 0,
            ..Branch::entries(0)
        }
    }

    fn entries(entries: u64) -> Branch {
        Branch {
            access: Access::Entries,
            probes: SmallVec::new(),
            exact: true,
            estimate: entries,
            // Evaluating an entry costs a few times what a candidate of a list does.
            cost: entries.saturating_mul(4),
            coarse: false,
            is_scan: false,
        }
    }

    /// Whether so many ids are probed that asking about some together pays.
    pub fn probes_many(&self) -> bool {
        !self.probes.is_empty() && self.estimate > FEW_PROBED
    }

    /// Whether ids come in no order, and one may come more than once.
    pub fn is_unordered(&self) -> bool {
        match &self.access {
            Access::Nothing | Access::Entries | Access::One(_) | Access::Range(_) | Access::Some(_) => false,
            Access::Lists(lists) => lists.len() > 1,
            Access::Values(_) | Access::Union(_) => true,
        }
    }
}
