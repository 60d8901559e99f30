//! Candidate ids of one layer as a resumable stream. Holds positions only; it is given the segment at every step.

use super::Work;
use super::plan::{Access, Branch, ListAt, Ordinals, Probe, ProbeTest, Values};
use super::scope::Ids;
use crate::index::postings::{PostingCursor, PostingList, PostingWalk, Postings};
use crate::index::{EntryId, Ordinal};
use crate::store::{AttributeIndex, Segment};
use smallvec::SmallVec;

/// Entries below a level in a row after which a search of one level leaps over the rest of the subtree.
const LEAP_AFTER: u32 = 32;
/// Dictionary values verified at once.
const VERIFIED_AT_ONCE: u32 = 64;

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Id(u32),
    /// The work is used up.
    Paused,
    End,
}

/// Candidates in scope. Ids ascend for Entries, One and a single list; others come as they are found and may repeat.
pub(super) enum Stream {
    End,
    Entries {
        next: u32,
        deeper: u32,
    },
    /// Not yet given.
    One,
    /// The least id that may come next.
    Range(u32),
    /// The place of the next.
    Some(usize),
    Lists {
        at: usize,
        position: Position,
    },
    Values(Box<ValueStream>),
    Union {
        streams: Vec<Stream>,
        at: usize,
    },
}

/// A place in a list and the least id that may come next.
pub(super) struct Position {
    cursor: PostingCursor,
    at_least: u32,
}

pub(super) struct ValueStream {
    /// The ordinals still to be looked at.
    ordinals: Ordinals,
    /// Verified ordinals whose lists are still to come, the next one last.
    ready: SmallVec<[u32; VERIFIED_AT_ONCE as usize]>,
    current: Option<Position>,
    value: Vec<u8>,
}

impl Stream {
    pub fn new(branch: &Branch) -> Stream {
        match &branch.access {
            Access::Nothing => Stream::End,
            Access::Entries => Stream::Entries { next: 0, deeper: 0 },
            Access::One(_) => Stream::One,
            Access::Range(range) => Stream::Range(range.start),
            Access::Some(_) => Stream::Some(0),
            Access::Lists(lists) => match lists.first() {
                Some(first) => Stream::Lists {
                    position: Position::new(first.list),
                    at: 0,
                },
                None => Stream::End,
            },
            Access::Values(values) => Stream::Values(Box::new(ValueStream {
                ordinals: values.ordinals.clone(),
                ready: SmallVec::new(),
                current: None,
                value: Vec::new(),
            })),
            Access::Union(branches) => Stream::Union {
                streams: branches.iter().map(Stream::new).collect(),
                at: 0,
            },
        }
    }

    /// The next candidate of `branch` in scope, of any depth. Takes from `work` for what is looked at in vain, not for
    /// the candidate itself.
    pub fn next(&mut self, branch: &Branch, segment: &Segment, ids: &Ids, work: &mut Work) -> Step {
        match (self, &branch.access) {
            (Stream::Entries { next, deeper }, _) => next_entry(next, deeper, segment, ids, work),
            (stream @ Stream::One, Access::One(id)) => {
                *stream = Stream::End;
                if ids.next(id.0) == Some(id.0) {
                    Step::Id(id.0)
                } else {
                    Step::End
                }
            }
            (Stream::Range(next), Access::Range(range)) => match ids.next(*next).filter(|id| *id < range.end) {
                Some(id) => {
                    *next = id + 1;
                    Step::Id(id)
                }
                None => Step::End,
            },
            (Stream::Some(at), Access::Some(all)) => next_of_some(all, at, ids),
            (Stream::Lists { at, position }, Access::Lists(lists)) => {
                next_of_lists(lists, at, position, segment, ids, work)
            }
            (Stream::Values(stream), Access::Values(values)) => stream.next(values, segment, ids, work),
            (Stream::Union { streams, at }, Access::Union(branches)) => loop {
                let (Some(stream), Some(branch)) = (streams.get_mut(*at), branches.get(*at)) else {
                    return Step::End;
                };
                match stream.next(branch, segment, ids, work) {
                    Step::Id(id) if admits(&branch.probes, segment, id) => return Step::Id(id),
                    Step::Id(_) if take(work) => {}
                    Step::Id(_) | Step::Paused => return Step::Paused,
                    Step::End => *at += 1,
                }
            },
            _ => Step::End,
        }
    }

    /// Appends candidates, as [`Stream::next`] gives them, to `out` until it holds `most`; what ended that where it holds fewer.
    pub fn take(
        &mut self,
        branch: &Branch,
        segment: &Segment,
        ids: &Ids,
        most: usize,
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Option<Step> {
        while out.len() < most {
            if let (Stream::Entries { next, .. }, None) = (&mut *self, ids.depth)
                && let Some(range) = ids.range(*next)
            {
                let end = range.end.min(range.start.saturating_add((most - out.len()) as u32));
                out.extend(range.start..end);
                *next = end;
            }
            if let Some((position, postings)) = self.position(branch, segment) {
                position.take(postings, ids, most, out);
            }
            // Beyond the list that it stands in.
            if out.len() < most {
                match self.next(branch, segment, ids, work) {
                    Step::Id(id) => out.push(id),
                    end => return Some(end),
                }
            }
        }
        None
    }

    /// Where it stands in a posting list.
    fn position<'s>(&mut self, branch: &Branch, segment: &'s Segment) -> Option<(&mut Position, Postings<'s>)> {
        match (self, &branch.access) {
            (Stream::Lists { at, position }, Access::Lists(lists)) => {
                Some((position, lists.get(*at)?.postings(segment)?))
            }
            (Stream::Values(stream), Access::Values(values)) => {
                Some((stream.current.as_mut()?, segment.postings(values.attribute)?))
            }
            _ => None,
        }
    }
}

fn next_of_some(all: &[EntryId], at: &mut usize, ids: &Ids) -> Step {
    while let Some(id) = all.get(*at) {
        match ids.next(id.0) {
            Some(in_scope) if in_scope == id.0 => {
                *at += 1;
                return Step::Id(in_scope);
            }
            Some(in_scope) => *at += all[*at..].partition_point(|id| id.0 < in_scope),
            None => return Step::End,
        }
    }
    Step::End
}

fn next_of_lists(
    lists: &[ListAt],
    at: &mut usize,
    position: &mut Position,
    segment: &Segment,
    ids: &Ids,
    work: &mut Work,
) -> Step {
    while let Some(list) = lists.get(*at) {
        let id = list.postings(segment).and_then(|postings| position.next(postings, ids));
        if let Some(id) = id {
            return Step::Id(id);
        }
        *at += 1;
        if let Some(next) = lists.get(*at) {
            *position = Position::new(next.list);
            if !take(work) {
                return Step::Paused;
            }
        }
    }
    Step::End
}

/// Takes one unit of work; false when that was the last, so that the caller pauses.
fn take(work: &mut Work) -> bool {
    work.left = work.left.saturating_sub(1);
    work.left > 0
}

/// Whether an id passes every probe.
#[inline]
pub(super) fn admits(probes: &[Probe], segment: &Segment, id: u32) -> bool {
    probes.iter().all(|probe| {
        let found = match &probe.test {
            ProbeTest::Lists(lists) => in_any(lists, segment, id),
            ProbeTest::Column {
                attribute, ordinals, ..
            } => {
                let column = segment.column(*attribute);
                column.is_some_and(|column| column.any(EntryId(id), ordinals))
            }
        };
        found != probe.negated
    })
}

/// Leaves those of many ids that [`admits`] would let pass. One test after the other, so that the cache misses of a test overlap.
pub(super) fn retain_admitted(probes: &[Probe], segment: &Segment, ids: &mut Vec<u32>) {
    for Probe { test, negated } in probes {
        match test {
            ProbeTest::Lists(lists) => match lists.as_slice() {
                [list] => retain_listed(list, segment, ids, *negated),
                _ => ids.retain(|id| in_any(lists, segment, *id) != *negated),
            },
            ProbeTest::Column {
                attribute, ordinals, ..
            } => match segment.column(*attribute) {
                Some(column) => column.retain(ids, ordinals, *negated),
                None => ids.retain(|_| *negated),
            },
        }
    }
}

/// One list is gone through beside the ids, as far as these ascend.
fn retain_listed(list: &ListAt, segment: &Segment, ids: &mut Vec<u32>, negated: bool) {
    let Some(postings) = list.postings(segment) else {
        return ids.retain(|_| negated);
    };
    let mut walk = PostingWalk::new(list.list);
    ids.retain(|id| walk.contains(postings, EntryId(*id)) != negated);
}

#[inline]
fn in_any(lists: &[ListAt], segment: &Segment, id: u32) -> bool {
    lists.iter().any(|list| {
        let postings = list.postings(segment);
        postings.is_some_and(|postings| postings.contains(list.list, EntryId(id)))
    })
}

impl ListAt {
    #[inline]
    fn postings<'a>(&self, segment: &'a Segment) -> Option<Postings<'a>> {
        match self.presence {
            true => segment.presence(self.attribute),
            false => segment.postings(self.attribute),
        }
    }
}

impl Position {
    fn new(list: PostingList) -> Position {
        Position {
            cursor: PostingCursor::new(list),
            at_least: 0,
        }
    }

    #[inline]
    fn next(&mut self, postings: Postings<'_>, ids: &Ids) -> Option<u32> {
        loop {
            let in_scope = ids.next(self.at_least)?;
            let id = self.cursor.seek(postings, EntryId(in_scope))?.0;
            if ids.next(id) == Some(id) {
                self.at_least = id + 1;
                return Some(id);
            }
            self.at_least = id;
        }
    }

    /// Appends what [`Position::next`] would give to `out` until it holds `most`.
    fn take(&mut self, postings: Postings<'_>, ids: &Ids, most: usize, out: &mut Vec<u32>) {
        while out.len() < most
            && let Some(range) = ids.range(self.at_least)
        {
            let end = range.end;
            self.cursor.take(postings, range, most, out);
            self.at_least = match out.last() {
                Some(last) if out.len() == most => last + 1,
                _ => end,
            };
        }
    }
}

fn next_entry(next: &mut u32, deeper: &mut u32, segment: &Segment, ids: &Ids, work: &mut Work) -> Step {
    loop {
        let Some(id) = ids.next(*next) else {
            return Step::End;
        };
        *next = id + 1;
        let Some(wanted) = ids.depth else {
            return Step::Id(id);
        };
        let depth = segment.depth(EntryId(id));
        if depth == wanted {
            *deeper = 0;
            return Step::Id(id);
        }
        *deeper += 1;
        if depth > wanted && *deeper >= LEAP_AFTER {
            *next = end_of_child(segment, id, wanted).max(*next);
            *deeper = 0;
            if !take(work) {
                return Step::Paused;
            }
        }
    }
}

/// The first id behind the subtree of an entry's ancestor at `depth`.
fn end_of_child(segment: &Segment, id: u32, depth: u8) -> u32 {
    let mut key = Vec::new();
    segment.names().value(Ordinal(id), &mut key);
    let mut ends = key.iter().enumerate().filter(|(_, byte)| **byte == 0);
    let end = ends
        .nth(usize::from(depth).saturating_sub(1))
        .map_or(key.len(), |(at, _)| at + 1);
    segment.names().prefix_range(&key[..end]).end
}

impl ValueStream {
    fn next(&mut self, values: &Values, segment: &Segment, ids: &Ids, work: &mut Work) -> Step {
        let Some(index) = segment.index(values.attribute) else {
            return Step::End;
        };
        loop {
            if let Some(position) = &mut self.current {
                if let Some(id) = position.next(index.postings, ids) {
                    return Step::Id(id);
                }
                self.current = None;
            }
            if let Some(ordinal) = self.ready.pop() {
                self.current = Some(Position::new(index.postings.list(Ordinal(ordinal))));
                continue;
            }
            if work.left == 0 {
                return Step::Paused;
            }
            if !self.refill(values, &index, work) {
                return Step::End;
            }
        }
    }

    /// Looks at the next value or values; false when there are no more.
    fn refill(&mut self, values: &Values, index: &AttributeIndex<'_>, work: &mut Work) -> bool {
        let test = &values.item.test;
        match &mut self.ordinals {
            Ordinals::Range(range) if range.start >= range.end => return false,
            Ordinals::Range(range) if values.verify => {
                let count = VERIFIED_AT_ONCE.min(work.left).min(range.end - range.start);
                let now = range.start..range.start + count;
                let ready = &mut self.ready;
                index.dictionary.scan_into(now, &mut self.value, |ordinal, value| {
                    if test.admits(value) {
                        ready.push(ordinal.0);
                    }
                    true
                });
                ready.reverse();
                range.start += count;
                work.left -= count;
            }
            Ordinals::Range(range) => {
                self.ready.push(range.start);
                range.start += 1;
                work.left -= 1;
            }
            Ordinals::Grams { cursor, .. } => {
                let Some(ordinal) = index.substrings.and_then(|substrings| cursor.next(substrings)) else {
                    return false;
                };
                work.left -= 1;
                if values.verify {
                    index.dictionary.value(ordinal, &mut self.value);
                }
                if !values.verify || test.admits(&self.value) {
                    self.ready.push(ordinal.0);
                }
            }
        }
        true
    }
}
