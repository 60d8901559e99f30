//! Virtual list views (draft-ietf-ldapext-ldapv3-vlv-09): a window into the sorted list of all that a search finds.
//!
//! Invariants: content count and positions come from the list of what the view shows, so what it hides counts nowhere; a list is
//! made once for a search and a view and kept for the next window, for which it is brought up to that window's snapshot; what is kept
//! has a limit in octets.

use super::page::CookieSeal;
use super::search::{ControlFault, SearchRefusal, append_search, question};
use super::sort::Sorted;
use super::window::{AskedWindow, Window};
use super::{Directory, Search, SearchRequest, Session};
use crate::access::View;
use crate::model::{Outcome, ResultCode};
use crate::query::sorted::{ListBuilder, ListUpdate, Listing, SortKeys, SortedList};
use crate::query::{Advance, Cursor, Work};
use crate::schema::NormalizedDn;
use crate::store::{SequenceNumber, Snapshot};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A window as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualListRequest<'a> {
    pub before: u32,
    pub after: u32,
    pub target: ListTarget<'a>,
    /// What came with a window of the same list: see [`super::window`]. An empty one is none.
    pub context: Option<&'a [u8]>,
}

/// The entry that a window is around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListTarget<'a> {
    /// Its position, where the client takes the list for so long; 0 where it does not know.
    Offset { offset: u32, content_count: u32 },
    /// The first entry whose first sort key is not less than this.
    Value(&'a [u8]),
}

/// What a window came to, for the response control.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VirtualListResult {
    pub position: u32,
    pub content_count: u32,
    pub code: ResultCode,
    /// For the window that the client asks next; empty where it gets none.
    pub context: Vec<u8>,
}

impl Directory {
    /// Makes a sorted search a view of its list.
    ///
    /// # Errors
    /// Why it cannot be answered so: a result code of section 6.2.
    pub(super) fn view_list(
        &self,
        session: &Session,
        asked: VirtualListRequest<'_>,
        base: &NormalizedDn,
        request: &SearchRequest<'_>,
        sorted: &mut Sorted,
    ) -> Result<(), SearchRefusal> {
        let question = question(session, base, request);
        let context = asked.context.filter(|context| !context.is_empty());
        let window = context.map(|context| self.cookies.open_window(context, &question));
        let code = match sorted {
            Sorted::No => ResultCode::SortControlMissing,
            Sorted::Fault(fault) if fault.code == ResultCode::InsufficientAccessRights => fault.code,
            Sorted::Fault(_) => ResultCode::InappropriateMatching,
            Sorted::Yes(_) if window == Some(None) => ResultCode::ProtocolError,
            Sorted::Yes(sorting) => match VirtualList::new(asked, list_key(base, request), &sorting.keys) {
                Some(list) => {
                    sorting.view(VirtualList {
                        question,
                        window: window.flatten().flatten(),
                        ..list
                    });
                    return Ok(());
                }
                None => ResultCode::InappropriateMatching,
            },
        };
        let message = "the search cannot be answered as a virtual list view";
        Err(SearchRefusal {
            control: Some(ControlFault::VirtualList(code)),
            ..Outcome::new(ResultCode::VirtualListViewError, message).into()
        })
    }

    /// Keeps a list for whoever asks for more of the same.
    pub(super) fn keep_list(&self, key: &ListKey, snapshot: &Arc<Snapshot>, view: &Arc<View>, list: &Arc<SortedList>) {
        self.lists
            .keep(key, snapshot, view, list, self.sort_limits.kept_list_bytes);
    }
}

impl Search {
    /// What the response control says; a search that failed as a view says so in its outcome.
    pub(super) fn virtual_list_result(
        &self,
        snapshot: Option<&Arc<Snapshot>>,
        outcome: &mut Outcome,
    ) -> Option<VirtualListResult> {
        if !self.is_list_view {
            return None;
        }
        let sorting = self.sorting();
        let Some((list, sorting)) = sorting.and_then(|sorting| Some((sorting.virtual_list()?, sorting))) else {
            // The root DSE or the subschema subentry.
            return Some(VirtualListResult {
                position: self.given,
                content_count: self.given,
                code: ResultCode::Success,
                context: Vec::new(),
            });
        };
        let mut result = list.result.clone();
        if result.code == ResultCode::OperationsError && outcome.code != ResultCode::Success {
            result.code = outcome.code;
        } else if result.code != ResultCode::Success {
            *outcome = Outcome::new(ResultCode::VirtualListViewError, "");
        } else if let (ResultCode::Success, Some(snapshot)) = (outcome.code, snapshot) {
            result.context = list.context(&sorting.keys, snapshot, &self.directory.cookies);
        }
        Some(result)
    }
}

/// What a list belongs to beside its snapshot and its view: base, scope, filter and sort keys.
pub(super) type ListKey = Vec<u8>;

pub(super) fn list_key(base: &NormalizedDn, request: &SearchRequest<'_>) -> ListKey {
    let mut key = ListKey::new();
    append_search(&mut key, base, request);
    key
}

/// A view of a list under way.
pub(super) struct VirtualList {
    key: ListKey,
    /// What a context id is bound to.
    question: Vec<u8>,
    /// The window before.
    window: Option<Window>,
    before: u32,
    after: u32,
    target: Target,
    making: Option<Making>,
    list: Option<Arc<SortedList>>,
    /// Entries still to be given, and all of the window.
    left: Range<usize>,
    given: Range<usize>,
    result: VirtualListResult,
    /// Other sorts take the memory that there is for all.
    busy: bool,
}

/// A list under way: from nothing, or from one of another snapshot.
enum Making {
    Build(Box<ListBuilder>),
    Update(Box<ListUpdate>),
}

enum Target {
    Offset { offset: u32, content_count: u32 },
    Octets(Vec<u8>),
}

impl VirtualList {
    /// `None` where the value is none of the sort key's rule.
    pub(super) fn new(asked: VirtualListRequest<'_>, key: ListKey, keys: &SortKeys) -> Option<VirtualList> {
        let target = match asked.target {
            ListTarget::Offset { offset, content_count } => Target::Offset { offset, content_count },
            ListTarget::Value(value) => Target::Octets(keys.first_octets(value)?),
        };
        Some(VirtualList {
            key,
            question: Vec::new(),
            window: None,
            before: asked.before,
            after: asked.after,
            target,
            making: None,
            list: None,
            left: 0..0,
            given: 0..0,
            result: VirtualListResult::failed(ResultCode::OperationsError),
            busy: false,
        })
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// The next entry of the window; at its beginning the list is found or made.
    pub(super) fn next(
        &mut self,
        keys: &SortKeys,
        cursor: &mut Cursor,
        directory: &Directory,
        work: &mut Work,
    ) -> Advance {
        if self.list.is_none() {
            let list = match self.make(keys, cursor, directory, work) {
                Ok(list) => list,
                Err(stop) => return stop,
            };
            self.place(&list, keys, cursor.snapshot());
            self.list = Some(list);
        }
        match (self.left.next(), &self.list) {
            (Some(at), Some(list)) => list.get(at).map_or(Advance::End, Advance::Entry),
            _ => Advance::End,
        }
    }

    /// The list, once it is found or made.
    fn make(
        &mut self,
        keys: &SortKeys,
        cursor: &mut Cursor,
        directory: &Directory,
        work: &mut Work,
    ) -> Result<Arc<SortedList>, Advance> {
        let snapshot = Arc::clone(cursor.snapshot());
        let making = match &mut self.making {
            Some(making) => making,
            None => {
                let kept = directory.lists.find(&self.key, &snapshot, &keys.view);
                if let Some(Kept { list, .. }) = kept.as_ref().filter(|kept| kept.is_of(&snapshot)) {
                    return Ok(Arc::clone(list));
                }
                let limit = directory.sort_limits.kept_list_bytes;
                let room = directory.sort_room();
                let update = kept.and_then(|kept| ListUpdate::begin(&kept.list, keys, cursor, limit, &room));
                self.making.insert(match update {
                    Some(update) => Making::Update(Box::new(update)),
                    None => Making::Build(Box::new(ListBuilder::new(keys, &snapshot, limit, &room))),
                })
            }
        };
        let made = match making {
            Making::Build(builder) => builder.step(keys, cursor, work),
            Making::Update(update) => update.step(keys, cursor, work),
        };
        let busy = match made {
            Listing::Done(list) => {
                let list = Arc::new(list);
                directory.keep_list(&self.key, &snapshot, &keys.view, &list);
                return Ok(list);
            }
            Listing::Paused => return Err(Advance::Paused),
            Listing::NoMemory if directory.lists.give_way() => return Err(Advance::Paused),
            Listing::NoMemory => true,
            Listing::Limit => false,
        };
        self.busy = busy;
        self.result = VirtualListResult::failed(ResultCode::AdminLimitExceeded);
        Err(Advance::CandidateLimit)
    }

    /// Finds target and window.
    fn place(&mut self, list: &SortedList, keys: &SortKeys, snapshot: &Snapshot) {
        let count = list.len();
        let position = match &self.target {
            Target::Octets(octets) => Some(list.position(keys, snapshot, octets) + 1),
            Target::Offset { offset, content_count } => self
                .followed(list, keys, snapshot)
                .or_else(|| offset_in(count as u64, *offset, *content_count)),
        };
        let in_answer = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.result = VirtualListResult {
            position: in_answer(position.unwrap_or(0)),
            content_count: in_answer(count),
            code: match position {
                Some(_) => ResultCode::Success,
                None => ResultCode::OffsetRangeError,
            },
            context: Vec::new(),
        };
        let Some(position) = position.filter(|_| count > 0) else {
            return;
        };
        let start = position.saturating_sub(1).saturating_sub(self.before as usize);
        self.left = start..position.saturating_add(self.after as usize).min(count);
        self.given = self.left.clone();
    }

    /// The position of the target, where the window goes on from the one before.
    fn followed(&self, list: &SortedList, keys: &SortKeys, snapshot: &Snapshot) -> Option<usize> {
        let Target::Offset { offset, content_count } = self.target else {
            return None;
        };
        let asked = AskedWindow {
            before: self.before,
            after: self.after,
            offset,
            content_count,
        };
        self.window.as_ref()?.follow(asked, list.len(), |octets| {
            let before = list.position(keys, snapshot, octets);
            let next = list.get(before).map(|at| keys.octets(snapshot, at));
            (before, next.as_deref() == Some(octets))
        })
    }

    /// What says where this window was, once all of it was given.
    fn context(&self, keys: &SortKeys, snapshot: &Snapshot, cookies: &CookieSeal) -> Vec<u8> {
        let window = self.list.as_ref().filter(|_| self.left.is_empty()).and_then(|list| {
            let octets = |at: usize| Some(keys.octets(snapshot, list.get(at)?));
            let number = |number: usize| u32::try_from(number).ok();
            Some(Window {
                count: number(list.len())?,
                entries: number(self.given.start)?..number(self.given.end)?,
                first: octets(self.given.start)?,
                last: octets(self.given.end.checked_sub(1)?)?,
            })
        });
        cookies.seal_window(window.as_ref(), &self.question)
    }
}

/// The position that a client means which takes the list of `count` entries for one of `content_count` (section 5); `None`
/// where there is no such position.
fn offset_in(count: u64, offset: u32, content_count: u32) -> Option<usize> {
    let (offset, assumed) = (u64::from(offset), u64::from(content_count));
    let position = match (offset, assumed) {
        (0, _) => return None,
        _ if offset == assumed => count,
        _ if count == 0 => 0,
        (1, _) => 1,
        (_, 0) => Some(offset).filter(|offset| *offset <= count)?,
        _ if offset > assumed => return None,
        // Rounded to the nearest; products of 32-bit numbers fit.
        _ => ((count * offset + assumed / 2) / assumed).max(1),
    };
    usize::try_from(position).ok()
}

impl VirtualListResult {
    pub fn failed(code: ResultCode) -> VirtualListResult {
        VirtualListResult {
            position: 0,
            content_count: 0,
            code,
            context: Vec::new(),
        }
    }
}

/// Lists that are kept at most, however short: each is looked at when one is looked for.
const KEPT: usize = 256;

/// Lists that were made, the one used last at the end.
#[derive(Default)]
pub(super) struct KeptLists {
    kept: Mutex<Vec<Kept>>,
}

#[derive(Clone)]
pub(super) struct Kept {
    key: Arc<ListKey>,
    /// Does not keep the snapshot alive.
    snapshot: Weak<Snapshot>,
    sequence: SequenceNumber,
    view: Arc<View>,
    pub(super) list: Arc<SortedList>,
}

impl Kept {
    /// Whether the list is the one of this snapshot, not of another.
    pub(super) fn is_of(&self, snapshot: &Arc<Snapshot>) -> bool {
        std::ptr::eq(self.snapshot.as_ptr(), Arc::as_ptr(snapshot))
    }

    /// Whether it can still serve somebody.
    fn is_of_use(&self) -> bool {
        self.snapshot.strong_count() > 0 || self.list.is_of_use()
    }
}

impl KeptLists {
    /// Lets go of every list, for a sort that finds no memory; says whether there was one.
    pub(super) fn give_way(&self) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let any = !kept.is_empty();
        kept.clear();
        any
    }

    /// The list of a search by a view: that of this snapshot where there is one, else the latest.
    pub(super) fn find(&self, key: &ListKey, snapshot: &Arc<Snapshot>, view: &Arc<View>) -> Option<Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &Kept| Arc::ptr_eq(&kept.view, view) && *kept.key == *key;
        let of_snapshot = kept.iter().position(|kept| kept.is_of(snapshot) && same(kept));
        let at = of_snapshot.or_else(|| kept.iter().rposition(same))?;
        let found = kept.remove(at);
        kept.push(found.clone());
        Some(found)
    }

    fn keep(
        &self,
        key: &ListKey,
        snapshot: &Arc<Snapshot>,
        view: &Arc<View>,
        list: &Arc<SortedList>,
        octets_limit: usize,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // One list of a search: from the latest all others are made. Who still reads an earlier snapshot does not take its place.
        let same = |kept: &Kept| Arc::ptr_eq(&kept.view, view) && *kept.key == *key;
        if kept.iter().any(|kept| same(kept) && kept.sequence > snapshot.sequence) {
            return;
        }
        kept.retain(|kept| kept.is_of_use() && !same(kept));
        kept.push(Kept {
            key: Arc::new(key.clone()),
            snapshot: Arc::downgrade(snapshot),
            sequence: snapshot.sequence,
            view: Arc::clone(view),
            list: Arc::clone(list),
        });
        let octets = |kept: &Kept| kept.list.octets() + kept.key.len();
        let mut all: usize = kept.iter().map(octets).sum();
        while (all > octets_limit || kept.len() > KEPT) && !kept.is_empty() {
            all -= octets(&kept.remove(0));
        }
    }
}
