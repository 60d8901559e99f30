//! Choosing the access path of one layer.
//!
//! Rules that keep a plan sound (docs/query.md has the argument): a branch gives a superset of what it stands for; it says
//! `exact` only when it gives nothing else; only exact sets are complemented; a disjunction with a term that has no
//! access path has none.

use super::{Access, Branch, ListAt, Ordinals, Places, Probe, Residual, Values};
use crate::index::dictionary::Dictionary;
use crate::index::{EntryId, Ordinal};
use crate::query::predicate::{Item, Origin, Predicate, Test};
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, MatchingRule, NormalizedDn, Schema};
use crate::store::record::indexed_derived_types;
use crate::store::{AttributeIndex, Segment};
use smallvec::{SmallVec, smallvec};
use std::ops::Range;
use std::sync::Arc;

/// With so few candidates the other terms of a conjunction are cheaper to evaluate than to plan.
const FEW_CANDIDATES: u64 = 8;
/// Lists that a probe looks into; values that are taken as lists rather than searched as they come.
pub(super) const PROBED_LISTS: usize = 4;

pub(super) struct Chooser<'a> {
    pub(super) segment: &'a Segment,
    schema: &'a Schema,
    /// Entries in scope.
    entries: u64,
}

impl<'a> Chooser<'a> {
    pub fn new(segment: &'a Segment, schema: &'a Schema, entries: u64) -> Chooser<'a> {
        Chooser {
            segment,
            schema,
            entries,
        }
    }

    /// The branch for a settled predicate, and what its candidates must be evaluated for.
    pub fn choose(&self, wanted: &Predicate) -> (Branch, Residual) {
        let Predicate::And(terms) = wanted else {
            let branch = self.branch(wanted);
            let residual = if branch.exact {
                Residual::Nothing
            } else {
                Residual::Whole
            };
            return (branch, residual);
        };
        let (branch, left) = self.conjunction(terms);
        let residual = if left.is_empty() {
            Residual::Nothing
        } else {
            Residual::Terms(left)
        };
        (branch, residual)
    }

    fn branch(&self, predicate: &Predicate) -> Branch {
        match predicate {
            Predicate::True => Branch::entries(self.entries),
            Predicate::False | Predicate::Undefined => Branch::nothing(),
            Predicate::And(terms) => self.conjunction(terms).0,
            Predicate::Or(terms) => self.disjunction(terms),
            Predicate::Item(item) => self.item(item),
            Predicate::Not(inner) => self.negation(inner),
            // Settled predicates have none.
            Predicate::Guarded { .. } => self.unserved(),
        }
    }

    fn unserved(&self) -> Branch {
        Branch {
            exact: false,
            ..Branch::entries(self.entries)
        }
    }

    /// The complement of an exact set of few lists: every id in scope that is in none of them.
    fn negation(&self, inner: &Predicate) -> Branch {
        let branch = self.branch(inner);
        let is_scan = !self.is_always_a_set(inner);
        if let Access::Nothing = branch.access {
            return Branch {
                is_scan,
                ..Branch::entries(self.entries)
            };
        }
        let estimate = self.entries.saturating_sub(branch.estimate);
        match self.test_of(branch) {
            Some(test) => Branch {
                probes: smallvec![Probe { test, negated: true }],
                estimate,
                is_scan,
                ..Branch::entries(self.entries)
            },
            None => self.unserved(),
        }
    }

    /// Whether what fulfils an item is an exact set of few lists, whichever values there are and whoever has them.
    fn is_always_a_set(&self, predicate: &Predicate) -> bool {
        let Predicate::Item(item) = predicate else { return false };
        let shares = |id: &AttributeId| match &item.test {
            Test::Present => true,
            test => {
                let own = self.schema.attribute(*id).equality;
                own.is_some_and(|own| test.rule().is_some_and(|rule| own.shares_form(rule)))
            }
        };
        let exactly = matches!(item.test, Test::Present | Test::Equality { .. } | Test::Class { .. });
        let is_presence = item.test == Test::Present;
        let indexed = |id: &AttributeId| self.segment.index(*id).is_some() || (is_presence && self.segment.lacks(*id));
        exactly
            && item.options.is_empty()
            && !item.dn_attributes
            && item.types.len() <= PROBED_LISTS
            && item.types.iter().all(|id| indexed(id) && shares(id))
    }

    /// The cheapest term gives the candidates, exact lists among the others are probed, and the rest is left: the second
    /// value has the places of the terms that candidates must be evaluated for.
    fn conjunction(&self, terms: &[Predicate]) -> (Branch, Places) {
        let count = terms.len() as u32;
        let mut order: SmallVec<[u32; 8]> = (0..count).collect();
        order.sort_by_key(|at| dearness(&terms[*at as usize]));
        let mut planned: SmallVec<[(u32, Branch); 2]> = SmallVec::new();
        let mut left = Places::new();
        let mut cheapest = u64::MAX;
        for at in order {
            if cheapest <= FEW_CANDIDATES {
                left.push(at);
                continue;
            }
            let mut branch = self.branch(&terms[at as usize]);
            if matches!(branch.access, Access::Nothing) {
                return (Branch::nothing(), Places::new());
            }
            if planned.is_empty() && branch.cost <= FEW_CANDIDATES {
                let left = (0..count).filter(|other| *other != at || !branch.exact).collect();
                branch.exact &= count == 1;
                return (branch, left);
            }
            cheapest = cheapest.min(branch.cost);
            planned.push((at, branch));
        }
        let driver = (0..planned.len()).min_by_key(|at| planned[*at].1.cost);
        let Some(driver) = driver else {
            return (Branch::entries(self.entries), left);
        };
        let is_scan = planned.iter().any(|(_, branch)| branch.is_scan);
        let (at, mut chosen) = planned.swap_remove(driver);
        chosen.is_scan = is_scan;
        if !chosen.exact {
            left.push(at);
        }
        for (at, branch) in planned {
            match self.as_probes(branch) {
                Some(probes) => chosen.probes.extend(probes),
                None => left.push(at),
            }
        }
        left.sort_unstable();
        chosen.exact = left.is_empty();
        (chosen, left)
    }

    fn disjunction(&self, terms: &[Predicate]) -> Branch {
        let mut lists: SmallVec<[ListAt; 1]> = SmallVec::new();
        let mut others = Vec::new();
        let mut whole = Branch::nothing();
        for term in terms {
            let branch = self.branch(term);
            match branch.access {
                Access::Nothing => continue,
                Access::Entries => return self.unserved(),
                _ => {}
            }
            whole.exact &= branch.exact;
            whole.coarse |= branch.coarse;
            whole.estimate = whole.estimate.saturating_add(branch.estimate);
            whole.cost = whole.cost.saturating_add(branch.cost);
            match branch.access {
                Access::Lists(more) if branch.probes.is_empty() => lists.extend(more),
                _ => others.push(branch),
            }
        }
        whole.estimate = whole.estimate.min(self.entries);
        if others.len() == 1 && lists.is_empty() {
            return others.remove(0);
        }
        if others.is_empty() {
            if !lists.is_empty() {
                whole.access = Access::Lists(lists);
            }
            return whole;
        }
        if !lists.is_empty() {
            let exact = whole.exact;
            others.insert(
                0,
                Branch {
                    exact,
                    ..self.lists(lists)
                },
            );
        }
        whole.access = Access::Union(others);
        whole
    }

    fn item(&self, item: &Arc<Item>) -> Branch {
        if let Test::Name(key) = &item.test {
            return match self.segment.find(key) {
                Some(id) => Branch {
                    access: Access::One(id),
                    estimate: 1,
                    cost: 1,
                    ..Branch::nothing()
                },
                None => Branch::nothing(),
            };
        }
        if let Test::Own { relation, name } = &item.test {
            return self.below(*relation, name);
        }
        if let Test::Collective(_) = &item.test {
            return self.unserved();
        }
        if let Test::Names(names) = &item.test {
            return self.names(names);
        }
        if item.dn_attributes || !self.is_in_index(item) {
            return self.unserved();
        }
        let mut branch = match item.types.as_slice() {
            [only] => self.item_of(item, *only),
            types => {
                let terms: SmallVec<[Branch; 4]> = types.iter().map(|id| self.item_of(item, *id)).collect();
                self.union(terms)
            }
        };
        // The index knows nothing of options.
        branch.exact &= item.options.is_empty();
        // That of object classes holds superclasses that entries do not list.
        let of_classes = matches!(item.test, Test::Class { .. } | Test::Present);
        branch.exact &= of_classes || !item.types.contains(&self.schema.well_known().object_class);
        branch
    }

    /// The entries at or below a name: they lie together.
    fn below(&self, relation: Comparison, name: &NormalizedDn) -> Branch {
        let mut range = self.segment.subtree(name);
        if relation != Comparison::Subtree && self.segment.find(name).is_some() {
            range.start += 1;
        }
        if range.is_empty() {
            return Branch::nothing();
        }
        let estimate = (range.len() as u64).min(self.entries);
        Branch {
            access: Access::Range(range),
            exact: relation != Comparison::OneLevel,
            estimate,
            cost: estimate,
            ..Branch::nothing()
        }
    }

    fn names(&self, names: &[NormalizedDn]) -> Branch {
        // Names ascend, and so do ids by name.
        let ids: Arc<[EntryId]> = names.iter().filter_map(|name| self.segment.find(name)).collect();
        let estimate = (ids.len() as u64).min(self.entries);
        Branch {
            access: if ids.is_empty() {
                Access::Nothing
            } else {
                Access::Some(ids)
            },
            estimate,
            cost: estimate,
            ..Branch::nothing()
        }
    }

    fn is_in_index(&self, item: &Item) -> bool {
        match item.origin {
            Origin::Stored => true,
            Origin::Derived => {
                let indexed = indexed_derived_types(self.schema);
                item.types.iter().all(|id| indexed.contains(id))
            }
            Origin::Computed(_) => false,
        }
    }

    fn union(&self, branches: SmallVec<[Branch; 4]>) -> Branch {
        let mut lists: SmallVec<[ListAt; 1]> = SmallVec::new();
        let mut whole = Branch::nothing();
        let mut others = Vec::new();
        for branch in branches {
            match branch.access {
                Access::Nothing => continue,
                Access::Entries => return self.unserved(),
                _ => {}
            }
            whole.exact &= branch.exact;
            whole.coarse |= branch.coarse;
            whole.estimate = (whole.estimate + branch.estimate).min(self.entries);
            whole.cost = whole.cost.saturating_add(branch.cost);
            match branch.access {
                Access::Lists(more) => lists.extend(more),
                _ => others.push(branch),
            }
        }
        match (lists.is_empty(), others.is_empty()) {
            (true, true) => return Branch::nothing(),
            (false, true) => whole.access = Access::Lists(lists),
            (no_lists, false) => {
                if !no_lists {
                    others.push(self.lists(lists));
                }
                whole.access = Access::Union(others);
            }
        }
        whole
    }

    fn lists(&self, lists: SmallVec<[ListAt; 1]>) -> Branch {
        let ids: u64 = lists.iter().map(|list| u64::from(list.list.len)).sum();
        let estimate = ids.min(self.entries);
        Branch {
            estimate,
            cost: estimate + lists.len() as u64 - 1,
            access: if ids == 0 {
                Access::Nothing
            } else {
                Access::Lists(lists)
            },
            ..Branch::nothing()
        }
    }

    /// The candidates of one attribute type, options aside.
    fn item_of(&self, item: &Arc<Item>, attribute: AttributeId) -> Branch {
        let Some(index) = self.segment.index(attribute) else {
            return match self.segment.lacks(attribute) {
                true => Branch::nothing(),
                false => self.unserved(),
            };
        };
        let presence = |index: &AttributeIndex<'_>| ListAt {
            item: Arc::clone(item),
            attribute,
            presence: true,
            ordinal: Ordinal(0),
            list: index.presence.list(Ordinal(0)),
        };
        let own = self.schema.attribute(attribute).equality;
        let shares = |rule: MatchingRule| own.is_some_and(|own| own.shares_form(rule));
        let dictionary = index.dictionary;
        let range = match &item.test {
            Test::Present => return self.lists(smallvec![presence(&index)]),
            Test::Bits { .. } if shares(MatchingRule::Integer) && !dictionary.is_empty() => {
                return self.values(item, attribute, &index, Ordinals::Range(0..dictionary.len()), true);
            }
            Test::Equality { rule, value }
                if rule.shares_form(MatchingRule::CaseExact)
                    && shares(MatchingRule::CaseIgnore)
                    && !dictionary.is_empty() =>
            {
                return self.ignoring_case(item, attribute, &index, value);
            }
            // An index of presence alone has an empty dictionary.
            test if dictionary.is_empty() || !test.rule().is_some_and(shares) => {
                return Branch {
                    exact: false,
                    coarse: true,
                    ..self.lists(smallvec![presence(&index)])
                };
            }
            Test::Equality { value, .. } | Test::Class { value, .. } if !self.segment.may_have(attribute, value) => {
                return Branch::nothing();
            }
            Test::Equality { value, .. } | Test::Class { value, .. } => match index.find(value) {
                Some(ordinal) => ordinal.0..ordinal.0 + 1,
                None => return Branch::nothing(),
            },
            Test::AtLeast { value, .. } => dictionary.lower_bound(value).0..dictionary.len(),
            Test::AtMost { value, .. } => 0..upper_bound(&dictionary, value),
            Test::Before { value, .. } => 0..dictionary.lower_bound(value).0,
            Test::Substrings { initial, any, last, .. } => {
                if let (Some(initial), true, None) = (initial, any.is_empty(), last) {
                    dictionary.prefix_range(initial)
                } else {
                    return self.substrings(item, attribute, &index);
                }
            }
            Test::Related { rule, value } if rule.comparison() != Comparison::Superior => {
                let range = dictionary.prefix_range(value);
                let verify = rule.comparison() != Comparison::Subtree;
                return self.values(item, attribute, &index, Ordinals::Range(range), verify);
            }
            _ => return self.values(item, attribute, &index, Ordinals::Range(0..dictionary.len()), true),
        };
        self.ordinals(item, attribute, &index, range)
    }

    /// Equality with regard to case, of a type whose dictionary ignores it: what is equal is equal without regard to case too.
    fn ignoring_case(
        &self,
        item: &Arc<Item>,
        attribute: AttributeId,
        index: &AttributeIndex<'_>,
        value: &[u8],
    ) -> Branch {
        let mut folded = Vec::with_capacity(value.len());
        let fits = MatchingRule::CaseIgnore.normalize(self.schema, value, &mut folded);
        if fits.is_err() {
            return self.unserved();
        }
        let Some(ordinal) = index.find(&folded) else {
            return Branch::nothing();
        };
        Branch {
            exact: false,
            ..self.ordinals(item, attribute, index, ordinal.0..ordinal.0 + 1)
        }
    }

    /// All values of a range of ordinals.
    fn ordinals(
        &self,
        item: &Arc<Item>,
        attribute: AttributeId,
        index: &AttributeIndex<'_>,
        range: Range<u32>,
    ) -> Branch {
        if range.len() > PROBED_LISTS {
            return self.values(item, attribute, index, Ordinals::Range(range), false);
        }
        let list = |ordinal| ListAt {
            item: Arc::clone(item),
            attribute,
            presence: false,
            ordinal: Ordinal(ordinal),
            list: index.postings.list(Ordinal(ordinal)),
        };
        if range.is_empty() {
            return Branch::nothing();
        }
        self.lists(range.map(list).collect())
    }

    /// The dictionary's prefix range or the rarest piece's n-grams, whichever leaves fewer values to look at.
    fn substrings(&self, item: &Arc<Item>, attribute: AttributeId, index: &AttributeIndex<'_>) -> Branch {
        let Test::Substrings { initial, any, last, .. } = &item.test else {
            return self.unserved();
        };
        let range = match initial {
            Some(initial) => index.dictionary.prefix_range(initial),
            None => 0..index.dictionary.len(),
        };
        if range.is_empty() {
            return Branch::nothing();
        }
        let mut ordinals = Ordinals::Range(range.clone());
        let worthwhile = range.len() > PROBED_LISTS && !(any.is_empty() && last.is_none());
        if worthwhile && index.substrings.is_none() {
            self.segment.ask_for_substrings(attribute);
        }
        if let Some(substrings) = index.substrings.filter(|_| worthwhile) {
            let pieces = any.iter().chain(last);
            let rarest = pieces
                .map(|piece| (substrings.estimate(piece), piece))
                .min_by_key(|(estimate, _)| *estimate);
            if let Some((estimate, piece)) = rarest
                && estimate < range.len() as u64
            {
                ordinals = Ordinals::Grams {
                    cursor: Box::new(substrings.cursor(piece)),
                    piece: piece.clone(),
                    estimate,
                };
            }
        }
        let verify = match &ordinals {
            Ordinals::Grams { cursor, .. } => !(cursor.exact && initial.is_none() && last.is_none() && any.len() == 1),
            // A substring assertion without any piece left is fulfilled by every value.
            Ordinals::Range(_) => !(any.is_empty() && last.is_none()),
        };
        self.values(item, attribute, index, ordinals, verify)
    }

    fn values(
        &self,
        item: &Arc<Item>,
        attribute: AttributeId,
        index: &AttributeIndex<'_>,
        ordinals: Ordinals,
        verify: bool,
    ) -> Branch {
        let (looked_at, ids) = match &ordinals {
            Ordinals::Range(range) if range.is_empty() => return Branch::nothing(),
            Ordinals::Range(range) => (range.len() as u64, index.postings.estimate(range.clone())),
            Ordinals::Grams { estimate, .. } => {
                let values = u64::from(index.dictionary.len()).max(1);
                let ids = index.postings.estimate(0..index.dictionary.len());
                (
                    *estimate,
                    (u128::from(ids) * u128::from(*estimate) / u128::from(values)) as u64,
                )
            }
        };
        let estimate = ids.min(self.entries);
        Branch {
            access: Access::Values(Box::new(Values {
                attribute,
                item: Arc::clone(item),
                ordinals,
                verify,
            })),
            estimate,
            cost: estimate + looked_at,
            ..Branch::nothing()
        }
    }
}

/// The first ordinal whose value is greater than `value`.
fn upper_bound(dictionary: &Dictionary<'_>, value: &[u8]) -> u32 {
    dictionary.lower_bound(value).0 + u32::from(dictionary.find(value).is_some())
}

/// In which order the terms of a conjunction are planned: what is likely to be rare and is cheap to look up comes first.
fn dearness(predicate: &Predicate) -> u8 {
    match predicate {
        Predicate::Item(item) => match &item.test {
            Test::Name(_) => 0,
            Test::Names(_) | Test::Own { .. } => 3,
            // Object classes are rarely rare.
            Test::Class { .. } => 2,
            Test::Equality { .. } => 1,
            Test::AtLeast { .. } | Test::AtMost { .. } | Test::Before { .. } | Test::Related { .. } => 4,
            Test::Substrings { any, last, .. } if any.is_empty() && last.is_none() => 3,
            Test::Substrings { .. } => 5,
            Test::Present | Test::Word { .. } | Test::Approximate { .. } | Test::Bits { .. } | Test::Collective(_) => 6,
        },
        Predicate::Or(_) | Predicate::And(_) => 7,
        _ => 8,
    }
}
