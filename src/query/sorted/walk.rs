//! A sorted search in index order: the values of the first key one after the other, each with the entries that match. The first
//! entries come without looking at the rest.

use super::gather::{Gathering, Sorted, Taken};
use super::merge::{ListOf, ValueMerge};
use super::room::{Held, Room};
use super::{FirstKey, SortKeys};
use crate::index::EntryId;
use crate::index::Ordinal;
use crate::index::postings::PostingCursor;
use crate::query::cursor::Examined;
use crate::query::{Cursor, Work};
use crate::store::{Location, Snapshot};
use roaring::RoaringBitmap;

/// Entries of one value that are put in order together.
const TOGETHER: usize = 1024;

/// A walk under way.
pub struct Walk {
    stages: Vec<Stage>,
    /// The octets of the entry that came last.
    after: Option<Vec<u8>>,
    members: Vec<Member>,
    /// The member that is read.
    at: usize,
    gathering: Gathering,
    giving: bool,
    one_key: bool,
    together: usize,
    /// For the ids that have a value.
    held: Held,
    /// An entry that is being examined.
    again: Option<Location>,
}

/// What is still to be walked, the next stage last.
enum Stage {
    Values(ValueMerge),
    /// Entries without a value: ids that are in no posting list, once those have been read so far.
    Missing(Valued),
}

/// The ids of each layer that have a value, as far as lists were read.
struct Valued {
    ids: Vec<RoaringBitmap>,
    layer: usize,
    attribute: usize,
    ordinal: u32,
    /// Its members are being read.
    opened: bool,
}

/// Some entries of the group that is put in order.
enum Member {
    /// From an id on.
    List(ListOf, PostingCursor, u32),
    Tail(u32),
    /// Ids in scope of a layer that have no value, from this one on.
    Without {
        layer: usize,
        from: u32,
    },
}

/// What a step came to.
pub enum WalkStep {
    Entry(Sorted),
    Paused,
    End,
    /// More candidates than the search may examine.
    CandidateLimit,
    /// More entries of one value than can be put in order.
    Limit,
    /// All sorts together take too much; may be asked again.
    NoMemory,
}

impl Walk {
    /// Goes on after the octets `after`. `wanted` entries are asked for at most, one more tells that there are more. For `shrinks`
    /// see [`Gathering::shrinking`].
    pub fn new(
        keys: &SortKeys,
        snapshot: &Snapshot,
        after: Option<Vec<u8>>,
        wanted: usize,
        room: &Room,
        shrinks: bool,
    ) -> Walk {
        let reverse = keys.is_reverse();
        let start = after.as_deref().map(|after| keys.split(after).0);
        let missing = || {
            Stage::Missing(Valued {
                ids: vec![RoaringBitmap::new(); snapshot.layers.len()],
                layer: 0,
                attribute: 0,
                ordinal: 0,
                opened: false,
            })
        };
        let values = |from: Option<&[u8]>| Stage::Values(ValueMerge::new(keys, snapshot, reverse, from));
        let stages = match (start, reverse) {
            (None, false) => vec![missing(), values(None)],
            (None, true) | (Some(FirstKey::Missing), true) => vec![values(None), missing()],
            (Some(FirstKey::Value(value)), false) => vec![missing(), values(Some(&value))],
            (Some(FirstKey::Value(value)), true) => vec![values(Some(&value))],
            (Some(FirstKey::Missing), false) => vec![missing()],
        };
        let one_key = keys.keys.len() == 1;
        let together = if one_key { wanted.min(TOGETHER) } else { wanted };
        Walk {
            stages,
            gathering: Gathering::new(after.clone(), together, room).shrinking(shrinks),
            after,
            members: Vec::new(),
            at: 0,
            giving: true,
            one_key,
            together,
            held: Held::nothing(room),
            again: None,
        }
    }

    pub fn advance(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> WalkStep {
        // The scope of every layer is asked for.
        cursor.plan_all();
        loop {
            if self.giving {
                if let Some(next) = self.gathering.pop() {
                    // Two types of one entry may have the same value.
                    if self.after.as_ref() == Some(&next.octets) {
                        continue;
                    }
                    self.after = Some(next.octets.clone());
                    return WalkStep::Entry(next);
                }
                if work.left == 0 {
                    return WalkStep::Paused;
                }
                work.left -= 1;
                if !self.holds_ids(cursor.snapshot()) {
                    return WalkStep::NoMemory;
                }
                // What was left out of this group for now is read again from its beginning.
                let again = self.gathering.is_cut();
                if !(self.open_group(keys, cursor.snapshot(), again, work)) {
                    match work.left == 0 {
                        true => return WalkStep::Paused,
                        false if self.stages.is_empty() => return WalkStep::End,
                        false => continue,
                    }
                }
            }
            if let Some(end) = self.read(keys, cursor, work) {
                return end;
            }
            self.gathering.finish();
            self.giving = true;
        }
    }

    /// Whether there is memory for the ids that have a value, where they are to be read.
    fn holds_ids(&mut self, snapshot: &Snapshot) -> bool {
        match self.stages.last() {
            Some(Stage::Missing(_)) => self.held.at_least(bitmap_octets(snapshot)),
            _ => true,
        }
    }

    /// Opens the next group, or the same again; false where there is none, or not yet.
    fn open_group(&mut self, keys: &SortKeys, snapshot: &Snapshot, again: bool, work: &mut Work) -> bool {
        self.members.clear();
        self.at = 0;
        match self.stages.last_mut() {
            None => return false,
            Some(Stage::Values(merge)) => {
                if !again && !merge.advance(snapshot) {
                    self.stages.pop();
                    return false;
                }
                let lists = merge.lists.iter();
                self.members
                    .extend(lists.map(|list| Member::List(*list, PostingCursor::new(list.list), 0)));
                self.members
                    .extend(merge.tail_now.iter().map(|index| Member::Tail(*index)));
            }
            Some(Stage::Missing(valued)) => {
                if valued.opened && !again {
                    self.stages.pop();
                    return false;
                }
                if !valued.read(keys, snapshot, work) {
                    return false;
                }
                valued.opened = true;
                let layers = 0..snapshot.layers.len();
                self.members
                    .extend(layers.map(|layer| Member::Without { layer, from: 0 }));
                self.members.extend((0..snapshot.tail.len() as u32).map(Member::Tail));
            }
        }
        self.skip_given(keys, snapshot);
        self.gathering.restart(self.after.clone(), self.together);
        self.giving = false;
        true
    }

    /// With one key the entries of a group are in the order of their names, so those given before need not be looked at.
    fn skip_given(&mut self, keys: &SortKeys, snapshot: &Snapshot) {
        let Some((first, name)) = self.after.as_deref().map(|after| keys.split(after)) else {
            return;
        };
        let same = match self.stages.last() {
            Some(Stage::Values(merge)) => matches!(&first, FirstKey::Value(value) if *value == merge.value),
            Some(Stage::Missing(_)) => first == FirstKey::Missing,
            None => false,
        };
        if !self.one_key || !same {
            return;
        }
        for member in &mut self.members {
            if let Member::List(ListOf { layer, .. }, _, from) | Member::Without { layer, from } = member
                && let Some(layer) = snapshot.layers.get(*layer)
            {
                *from = layer.segment.names().lower_bound(name).0;
            }
        }
    }

    /// Reads the group's members; `None` once all were.
    fn read(&mut self, keys: &SortKeys, cursor: &mut Cursor, work: &mut Work) -> Option<WalkStep> {
        while let Some(member) = self.members.get_mut(self.at) {
            if work.left == 0 {
                return Some(WalkStep::Paused);
            }
            work.left -= 1;
            let again = self.again.take();
            let Some(at) = again.or_else(|| member.next(cursor, self.stages.last(), work)) else {
                if work.left > 0 {
                    self.at += 1;
                }
                continue;
            };
            match cursor.examine(at, work) {
                Examined::Yes => {}
                Examined::No => continue,
                Examined::Paused => {
                    self.again = Some(at);
                    return Some(WalkStep::Paused);
                }
                Examined::Limit => return Some(WalkStep::CandidateLimit),
            }
            let octets = keys.octets(cursor.snapshot(), at);
            // An entry comes at its least value only.
            let here = match (keys.split(&octets).0, self.stages.last()) {
                (FirstKey::Value(value), Some(Stage::Values(merge))) => value == merge.value,
                (FirstKey::Missing, Some(Stage::Missing(_))) => true,
                _ => false,
            };
            if !here {
                continue;
            }
            match self.gathering.take(octets, at) {
                Taken::Limit => return Some(WalkStep::Limit),
                Taken::NoMemory => return Some(WalkStep::NoMemory),
                // The rest of a list has greater names still.
                Taken::Beyond if self.one_key => self.at += 1,
                Taken::Kept | Taken::Before | Taken::Beyond => {}
            }
        }
        None
    }
}

/// What bitmaps of all ids of a snapshot may take: a container of 8 KiB for each 65,536 ids of a layer.
pub(super) fn bitmap_octets(snapshot: &Snapshot) -> usize {
    let entries = usize::try_from(snapshot.len()).unwrap_or(usize::MAX);
    (entries / 8).saturating_add((snapshot.layers.len() + 1) * (8 << 10))
}

impl Member {
    /// The next entry; `None` at the end, and where the work is used up.
    fn next(&mut self, cursor: &Cursor, stage: Option<&Stage>, work: &mut Work) -> Option<Location> {
        let snapshot = cursor.snapshot();
        let located = |layer: usize, id| Location::Layer {
            layer: layer as u32,
            id,
        };
        match self {
            Member::List(list, position, from) => {
                let segment = &snapshot.layers.get(list.layer)?.segment;
                let index = segment.index(list.attribute)?;
                let id = position.seek(index.postings, EntryId(*from))?;
                *from = id.0 + 1;
                Some(located(list.layer, id))
            }
            Member::Tail(index) if *index == u32::MAX => None,
            Member::Tail(index) => Some(Location::Tail {
                index: std::mem::replace(index, u32::MAX),
            }),
            Member::Without { layer, from } => loop {
                let id = cursor.next_in_scope(*layer, *from)?;
                *from = id + 1;
                let valued = match stage {
                    Some(Stage::Missing(valued)) => valued.ids.get(*layer),
                    _ => None,
                };
                if valued.is_none_or(|valued| !valued.contains(id)) {
                    return Some(located(*layer, EntryId(id)));
                }
                work.left = work.left.saturating_sub(1);
                if work.left == 0 {
                    return None;
                }
            },
        }
    }
}

impl Valued {
    /// Reads on; false where that takes more work.
    fn read(&mut self, keys: &SortKeys, snapshot: &Snapshot, work: &mut Work) -> bool {
        let Some(key) = keys.keys.first() else {
            return true;
        };
        while let (Some(layer), Some(ids)) = (snapshot.layers.get(self.layer), self.ids.get_mut(self.layer)) {
            let Some(attribute) = key.types.get(self.attribute) else {
                self.attribute = 0;
                self.layer += 1;
                continue;
            };
            let index = layer.segment.index(*attribute);
            let Some(index) = index.filter(|index| self.ordinal < index.dictionary.len()) else {
                self.ordinal = 0;
                self.attribute += 1;
                continue;
            };
            if work.left == 0 {
                return false;
            }
            let list = index.postings.list(Ordinal(self.ordinal));
            let mut position = PostingCursor::new(list);
            while let Some(id) = position.next(index.postings) {
                ids.insert(id.0);
                work.left = work.left.saturating_sub(1);
            }
            self.ordinal += 1;
        }
        true
    }
}
