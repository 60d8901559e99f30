//! Where a search looks: base, scope and the view's subtrees, as ranges of ids in one segment.

use super::Query;
use crate::index::EntryId;
use crate::model::SearchScope;
use crate::schema::NormalizedDn;
use crate::store::{Location, Segment};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The keys a search may give, before hidden entries.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    base: NormalizedDn,
    scope: SearchScope,
    depth: usize,
    /// Not even the base can be given.
    nothing: bool,
    /// Where the base object lies, if that is known.
    base_at: Option<Location>,
    /// Subtrees below the base that entries must lie in; none where the base itself lies in one.
    within: Subtrees,
    /// Subtrees below the base that are left out.
    without: Subtrees,
    /// Only keys after this one.
    after: Option<NormalizedDn>,
}

/// Some of a view's subtrees, without a copy of them.
#[derive(Clone, Debug)]
struct Subtrees {
    all: Arc<[NormalizedDn]>,
    chosen: SmallVec<[u32; 4]>,
}

impl Subtrees {
    fn below(base: &NormalizedDn, all: &Arc<[NormalizedDn]>) -> Subtrees {
        let mut below = Subtrees::none(all);
        for (at, subtree) in (0..).zip(all.iter()) {
            if subtree.is_within(base) {
                below.chosen.push(at);
            }
        }
        below
    }

    fn none(all: &Arc<[NormalizedDn]>) -> Subtrees {
        Subtrees {
            all: Arc::clone(all),
            chosen: SmallVec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &NormalizedDn> {
        self.chosen.iter().filter_map(|at| self.all.get(*at as usize))
    }
}

/// A scope that was searched before in the segment that holds nearly everything.
struct Searched {
    segment: Weak<Segment>,
    base: NormalizedDn,
    scope: SearchScope,
    within: Arc<[NormalizedDn]>,
    without: Arc<[NormalizedDn]>,
    /// Looked up when a second search asks.
    ids: Option<Ids>,
}

/// Scopes that a thread remembers.
const REMEMBERED: usize = 4;

thread_local! {
    /// Those of this thread, and which is forgotten next: nearly all searches have a scope of before.
    static SEARCHED: RefCell<(Vec<Searched>, usize)> = const { RefCell::new((Vec::new(), 0)) };
}

impl Searched {
    fn is(&self, scope: &Scope, segment: &Arc<Segment>) -> bool {
        std::ptr::eq(self.segment.as_ptr(), Arc::as_ptr(segment))
            && self.scope == scope.scope
            && Arc::ptr_eq(&self.within, &scope.within.all)
            && Arc::ptr_eq(&self.without, &scope.without.all)
            && self.base == scope.base
    }
}

/// The ids in scope within one segment: disjoint ascending ranges, never a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    ranges: SmallVec<[Range<u32>; 2]>,
    /// Entries must have exactly this depth.
    pub depth: Option<u8>,
}

impl Scope {
    /// Takes base, bounds and resume point out of the query.
    pub fn new(query: &mut Query) -> Scope {
        let base = std::mem::take(&mut query.base);
        let inside = query.within.iter().any(|subtree| base.is_within(subtree));
        let outside = query.without.iter().any(|subtree| base.is_within(subtree));
        let within = match inside {
            true => Subtrees::none(&query.within),
            false => Subtrees::below(&base, &query.within),
        };
        Scope {
            nothing: (!inside && within.is_empty()) || outside,
            within,
            without: Subtrees::below(&base, &query.without),
            depth: base.depth(),
            scope: query.scope,
            base_at: query.base_at,
            after: query.after.take(),
            base,
        }
    }

    /// Whether both cover the same keys, wherever the base object lies.
    pub fn is_same(&self, other: &Scope) -> bool {
        let whole = |scope: &Scope| (scope.scope, scope.nothing, scope.depth);
        whole(self) == whole(other)
            && self.base == other.base
            && self.after == other.after
            && self.within.iter().eq(other.within.iter())
            && self.without.iter().eq(other.without.iter())
    }

    pub fn is_base_object(&self) -> bool {
        self.scope == SearchScope::BaseObject
    }

    /// Where the one entry lies that can be in scope, where that is known.
    pub fn base_object(&self) -> Option<Location> {
        self.base_at.filter(|_| self.is_base_object())
    }

    pub fn base_key(&self) -> &[u8] {
        &self.base.0
    }

    /// Whether the base object is in scope.
    pub fn gives_base(&self) -> bool {
        self.covers(&self.base.0, u8::try_from(self.depth).unwrap_or(u8::MAX))
    }

    /// Nothing can be given.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// Whether an entry's key is in scope.
    pub fn covers(&self, key: &[u8], depth: u8) -> bool {
        let in_scope = match self.scope {
            SearchScope::BaseObject => key == self.base.0,
            SearchScope::SingleLevel => usize::from(depth) == self.depth + 1 && key.starts_with(&self.base.0),
            SearchScope::WholeSubtree => key.starts_with(&self.base.0),
            SearchScope::Subordinates => key.len() > self.base.0.len() && key.starts_with(&self.base.0),
        };
        in_scope
            && !self.nothing
            && (self.within.is_empty() || self.within.iter().any(|subtree| key.starts_with(&subtree.0)))
            && !self.without.iter().any(|subtree| key.starts_with(&subtree.0))
            && self.after.as_ref().is_none_or(|after| key > after.0.as_slice())
    }

    /// Where the base object lies in a layer of the snapshot.
    fn base_in(&self, layer: usize, segment: &Segment) -> Option<EntryId> {
        match self.base_at {
            Some(Location::Layer { layer: of, id }) => (of as usize == layer).then_some(id),
            Some(Location::Tail { .. }) => None,
            None => segment.find(&self.base),
        }
    }

    /// The ids in scope in the first layer's segment, where a search before had the same scope: finding where one begins and ends is
    /// dearer than holding a few candidates to it.
    pub fn known_ids(&self, layer: usize, segment: &Arc<Segment>) -> Option<Ids> {
        // Only what follows from the key of the base, not from where its entry lies by now.
        let by_key = matches!(self.scope, SearchScope::SingleLevel | SearchScope::WholeSubtree);
        if layer > 0 || !by_key || self.nothing || self.after.is_some() {
            return None;
        }
        SEARCHED.with_borrow_mut(|(searched, oldest)| {
            if let Some(same) = searched.iter_mut().find(|one| one.is(self, segment)) {
                return Some(same.ids.get_or_insert_with(|| self.ids(layer, segment)).clone());
            }
            let one = Searched {
                segment: Arc::downgrade(segment),
                base: self.base.clone(),
                scope: self.scope,
                within: Arc::clone(&self.within.all),
                without: Arc::clone(&self.without.all),
                ids: None,
            };
            match searched.get_mut(*oldest) {
                Some(place) => *place = one,
                None => searched.push(one),
            }
            *oldest = (*oldest + 1) % REMEMBERED;
            None
        })
    }

    /// The ids in scope in a layer's segment.
    pub fn ids(&self, layer: usize, segment: &Segment) -> Ids {
        let mut ids = Ids::default();
        if self.nothing || segment.is_empty() {
            return ids;
        }
        let start = match &self.after {
            Some(after) => first_after(segment, after),
            None => 0,
        };
        if self.scope == SearchScope::BaseObject {
            if let Some(id) = self.base_in(layer, segment)
                && id.0 >= start
                && self.within.iter().all(|subtree| self.base.is_within(subtree))
            {
                ids.ranges.push(id.0..id.0 + 1);
            }
            return ids;
        }
        if self.scope == SearchScope::SingleLevel {
            // A name deeper than its stored depth can say has nothing directly below it.
            let Ok(depth) = u8::try_from(self.depth + 1) else {
                return ids;
            };
            ids.depth = Some(depth);
        }
        if self.within.is_empty() {
            ids.push(segment.subtree(&self.base), start);
        } else {
            let mut ranges: Vec<_> = self.within.iter().map(|subtree| segment.subtree(subtree)).collect();
            ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
            let mut end = start;
            for range in ranges {
                ids.push(range.clone(), end);
                end = end.max(range.end);
            }
        }
        if self.scope == SearchScope::Subordinates
            && let Some(id) = self.base_in(layer, segment)
        {
            ids.cut(id.0..id.0 + 1);
        }
        for subtree in self.without.iter() {
            ids.cut(segment.subtree(subtree));
        }
        ids
    }
}

fn first_after(segment: &Segment, after: &NormalizedDn) -> u32 {
    let at = segment.names().lower_bound(&after.0).0;
    at + u32::from(segment.find(after).is_some())
}

impl Ids {
    fn push(&mut self, range: Range<u32>, at_least: u32) {
        let start = range.start.max(at_least);
        if start < range.end {
            self.ranges.push(start..range.end);
        }
    }

    fn cut(&mut self, hole: Range<u32>) {
        if hole.is_empty() {
            return;
        }
        let mut kept = SmallVec::new();
        for range in self.ranges.drain(..) {
            let before = range.start..range.end.min(hole.start);
            let behind = range.start.max(hole.end)..range.end;
            kept.extend([before, behind].into_iter().filter(|part| part.start < part.end));
        }
        self.ranges = kept;
    }

    /// Every id of a segment.
    pub fn all(segment: &Segment) -> Ids {
        let mut ids = Ids::default();
        ids.push(0..segment.len(), 0);
        ids
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ids the ranges hold, whatever their depth.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// The least id of the ranges that is not less than `at_least`.
    #[inline]
    pub fn next(&self, at_least: u32) -> Option<u32> {
        self.range(at_least).map(|range| range.start)
    }

    /// The ids from `at_least` on that follow each other.
    #[inline]
    pub fn range(&self, at_least: u32) -> Option<Range<u32>> {
        let range = self.ranges.iter().find(|range| at_least < range.end)?;
        Some(at_least.max(range.start)..range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ranges: &[Range<u32>]) -> Ids {
        Ids {
            ranges: ranges.iter().cloned().collect(),
            depth: None,
        }
    }

    #[test]
    fn cutting_leaves_what_lies_on_both_sides() {
        let cases: &[(Range<u32>, &[Range<u32>])] = &[
            (0..2, &[2..10, 20..30]),
            (4..6, &[0..4, 6..10, 20..30]),
            (5..25, &[0..5, 25..30]),
            (10..20, &[0..10, 20..30]),
            (0..30, &[]),
            (7..7, &[0..10, 20..30]),
        ];
        for (hole, expected) in cases {
            let mut left = ids(&[0..10, 20..30]);
            left.cut(hole.clone());
            assert_eq!(left.ranges.as_slice(), *expected, "{hole:?}");
        }
    }

    #[test]
    fn next_skips_gaps() {
        let ids = ids(&[2..4, 8..9]);
        let found: Vec<_> = (0..10).map(|at| ids.next(at)).collect();
        let expected = [
            Some(2),
            Some(2),
            Some(2),
            Some(3),
            Some(8),
            Some(8),
            Some(8),
            Some(8),
            Some(8),
            None,
        ];
        assert_eq!(found, expected);
        assert_eq!(ids.len(), 3);
    }
}
