//! Server-side sorting (RFC 2891) and virtual list views: what a client asks, and how a search then gives its entries.
//!
//! Invariants: a sort looks only at values that the view may search and read, so an order tells nothing that a search could
//! not; entries with equal keys come by name. Where many entries match and few are wanted, the values of the first key are
//! walked in order; otherwise the entries are gathered first, and from the second page on kept as a list. A sort that is not
//! critical and has too much to gather gives what it has as it came.

use super::lists::{ListKey, VirtualList};
use super::search::{ControlFault, SearchRefusal};
use super::{Directory, Session};
use crate::access::View;
use crate::model::{Outcome, ResultCode};
use crate::query::sorted::{Gathering, Key, ListUpdate, Listing, Room, SortKeys, SortedList, Taken, Walk, WalkStep};
use crate::query::{Advance, Cursor, Work};
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, MatchingRule, NormalizedDn, Schema};
use crate::store::{Location, Snapshot};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One key of a sort as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortKey<'a> {
    pub attribute: &'a str,
    /// An ordering rule; `None` is the attribute's own.
    pub rule: Option<&'a str>,
    pub reverse: bool,
}

/// A sort as asked.
#[derive(Clone, Copy, Debug)]
pub struct SortRequest<'a> {
    pub keys: &'a [SortKey<'a>],
    /// Whether the search fails where it cannot be sorted.
    pub critical: bool,
}

/// Why a search cannot be sorted: a result code of RFC 2891 section 1.2, and by which attribute; empty where by none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SortFault {
    pub code: ResultCode,
    pub attribute: String,
}

impl SortFault {
    pub(super) fn of_all(code: ResultCode) -> SortFault {
        SortFault {
            code,
            attribute: String::new(),
        }
    }
}

/// A sort under way.
pub(super) struct Sorting {
    pub(super) keys: SortKeys,
    way: Way,
    critical: bool,
    /// Octets that were given last on the page before.
    after: Option<Vec<u8>>,
    /// More entries than these cannot be given.
    wanted: usize,
    room: Room,
    /// Each page goes on where the one before ended, so a short one does no harm.
    paged: bool,
    /// Candidates after which a walk is given up: where what matches lies far on in the order, gathering costs less.
    patience: u64,
    /// What the list of all that matches is kept by. Somebody who asks for a second page is likely to ask for a third, so then
    /// the list is made and kept.
    listed_as: Option<ListKey>,
    /// The octets of the entry that came last, and of the one that was given last.
    current: Vec<u8>,
    last: Option<Vec<u8>>,
    /// Why not everything was put in order.
    over: Option<ResultCode>,
    /// The page ends here, before it is full: no more could be put in order.
    short: bool,
}

/// How a search stands to the sort that was asked.
pub(super) enum Sorted {
    /// None was.
    No,
    Yes(Box<Sorting>),
    /// It goes on unsorted.
    Fault(SortFault),
}

/// How a search will be put in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortWay {
    /// The values of the first key one after the other; given up for gathering after so many candidates.
    Walk { patience: Option<u64> },
    /// All that matches; so many are kept at most.
    Gather { kept: usize },
    /// The list of all that matches, kept for the next view.
    List,
}

impl fmt::Display for SortWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SortWay::Walk { patience: None } => f.write_str("walk the values of the first key in order"),
            SortWay::Walk { patience: Some(limit) } => {
                write!(
                    f,
                    "walk the values of the first key in order; after {limit} candidates gather instead"
                )
            }
            SortWay::Gather { kept } => write!(f, "gather what matches, at most {kept} entries, and put it in order"),
            SortWay::List => f.write_str("list all that matches in order"),
        }
    }
}

/// How entries are put in order.
enum Way {
    /// Not chosen yet.
    Open,
    Gather(Gathering),
    /// Everything was gathered.
    Give(Gathering),
    Walk(Box<Walk>),
    /// A list that another page was given from is brought up to this one's snapshot.
    Update(Box<ListUpdate>),
    /// What is left of a list, which another page was given from.
    Listed(Arc<SortedList>, Range<usize>),
    View(Box<VirtualList>),
    /// What was gathered, then what else is found, as it comes.
    Unsorted(Gathering),
}

impl Directory {
    fn sort_keys(&self, session: &Session, keys: &[SortKey<'_>]) -> Result<SortKeys, SortFault> {
        let schema = self.schema();
        Ok(SortKeys {
            keys: resolve(keys, &schema, &session.view)?,
            schema,
            view: Arc::clone(&session.view),
        })
    }

    /// A sorted search resumes after the sort key of the entry before, not after its name. One that cannot be sorted goes on
    /// unsorted where the sort was not critical.
    pub(super) fn sorting(
        &self,
        session: &Session,
        asked: Option<SortRequest<'_>>,
        (wanted, paged): (u32, bool),
        resume: Option<NormalizedDn>,
    ) -> Result<(Sorted, Option<NormalizedDn>), SearchRefusal> {
        let Some(asked) = asked else {
            return Ok((Sorted::No, resume));
        };
        let after = resume.as_ref().map(|resume| resume.0.clone());
        match self.sort_keys(session, asked.keys) {
            Ok(keys) => {
                let sorting = Sorting {
                    keys,
                    way: Way::Open,
                    critical: asked.critical,
                    after,
                    wanted: (wanted as usize).saturating_add(1),
                    room: self.sort_room(),
                    paged,
                    patience: u64::MAX,
                    listed_as: None,
                    current: Vec::new(),
                    last: None,
                    over: None,
                    short: false,
                };
                Ok((Sorted::Yes(Box::new(sorting)), None))
            }
            Err(fault) if !asked.critical => Ok((Sorted::Fault(fault), resume)),
            Err(fault) => {
                let message = format!("the search cannot be sorted by {}", fault.attribute);
                Err(SearchRefusal {
                    control: Some(ControlFault::Sort(fault)),
                    ..Outcome::new(ResultCode::UnavailableCriticalExtension, message).into()
                })
            }
        }
    }

    /// What one sort may take.
    pub(super) fn sort_room(&self) -> Room {
        Room {
            entries: self.sort_limits.sorted_entries,
            octets: self.sort_limits.sorted_bytes,
            memory: Arc::clone(&self.sort_memory),
        }
    }
}

/// The keys that a view may sort by.
fn resolve(keys: &[SortKey<'_>], schema: &Schema, view: &View) -> Result<Vec<Key>, SortFault> {
    keys.iter().map(|key| resolve_key(key, schema, view)).collect()
}

fn resolve_key(key: &SortKey<'_>, schema: &Schema, view: &View) -> Result<Key, SortFault> {
    let fault = |code| SortFault {
        code,
        attribute: key.attribute.to_owned(),
    };
    let id = schema
        .find_attribute(key.attribute)
        .ok_or_else(|| fault(ResultCode::NoSuchAttribute))?;
    let seen = |id: &AttributeId| view.searchable.contains(*id) && view.releasable.contains(*id);
    if !seen(&id) {
        return Err(fault(ResultCode::InsufficientAccessRights));
    }
    let known = schema.well_known();
    if [known.has_subordinates, known.num_subordinates, known.member_of].contains(&id) {
        return Err(fault(ResultCode::UnwillingToPerform));
    }
    let attribute = schema.attribute(id);
    let fits = |rule: &MatchingRule| {
        let own = [attribute.equality, attribute.ordering].into_iter().flatten();
        let orders =
            rule.comparison() == Comparison::Ordering || rule.comparison() == Comparison::Equality && has_order(*rule);
        orders
            && own
                .into_iter()
                .any(|own| own.shares_form(*rule) || (own.is_text() && rule.is_text()))
    };
    let rule = match key.rule {
        Some(name) => schema.find_rule(name).filter(fits),
        // Many types have no ordering rule of their own, cn and mobile among them: their prepared form is in order all the same.
        None => attribute
            .ordering
            .or(attribute.equality.filter(|rule| has_order(*rule))),
    };
    Ok(Key {
        types: attribute.subtypes.iter().copied().filter(seen).collect(),
        rule: rule.ok_or_else(|| fault(ResultCode::InappropriateMatching))?,
        reverse: key.reverse,
    })
}

fn has_order(equality: MatchingRule) -> bool {
    equality.is_text() || equality == MatchingRule::TelephoneNumber
}

impl Sorting {
    /// A page that is not the first.
    pub(super) fn goes_on_in(&mut self, list: ListKey) {
        self.listed_as = Some(list);
    }

    /// The list that the search is a view of.
    pub(super) fn view(&mut self, list: VirtualList) {
        self.way = Way::View(Box::new(list));
    }

    pub(super) fn virtual_list(&self) -> Option<&VirtualList> {
        match &self.way {
            Way::View(list) => Some(list),
            _ => None,
        }
    }

    /// Why not everything was put in order, where that is so.
    pub(super) fn over(&self) -> Option<ResultCode> {
        self.over
    }

    /// Whether the page ends before it is full.
    pub(super) fn is_short(&self) -> bool {
        self.short
    }

    /// How the entries will be put in order.
    pub(super) fn way(&self, cursor: &mut Cursor) -> SortWay {
        match (&self.way, self.walks(cursor)) {
            (Way::View(_), _) => SortWay::List,
            (_, Some(patience)) => SortWay::Walk {
                patience: Some(patience).filter(|patience| *patience != u64::MAX),
            },
            (_, None) => SortWay::Gather {
                kept: self.wanted.min(self.room.entries),
            },
        }
    }

    /// The next entry in order.
    pub(super) fn next(&mut self, cursor: &mut Cursor, directory: &Directory, work: &mut Work) -> Advance {
        loop {
            match &mut self.way {
                Way::Open => self.way = self.choose(cursor, directory),
                Way::Gather(gathering) => match cursor.advance(work) {
                    Advance::Entry(at) => {
                        let taken = gathering.take_entry(&self.keys, cursor.snapshot(), at);
                        let over = match taken {
                            Taken::NoMemory if directory.lists.give_way() => continue,
                            Taken::Kept if gathering.kept() <= LISTED || self.listed_as.is_none() => continue,
                            Taken::Before | Taken::Beyond => continue,
                            Taken::NoMemory => ResultCode::Busy,
                            Taken::Kept | Taken::Limit => ResultCode::AdminLimitExceeded,
                        };
                        if self.listed_as.take().is_some() {
                            gathering.narrow(self.after.clone(), self.wanted);
                        } else if let Some(end) = self.overflow(over) {
                            return end;
                        }
                    }
                    Advance::End => self.gathered(cursor, directory),
                    other => return other,
                },
                Way::Update(update) => match update.step(&self.keys, cursor, work) {
                    Listing::Paused => return Advance::Paused,
                    Listing::Done(list) => self.keep_and_give(list, cursor.snapshot(), directory),
                    Listing::Limit | Listing::NoMemory => self.way = self.gather(),
                },
                Way::Listed(list, left) => {
                    return left
                        .next()
                        .and_then(|next| list.get(next))
                        .map_or(Advance::End, Advance::Entry);
                }
                Way::Give(gathering) => {
                    return match gathering.pop() {
                        Some(next) => {
                            self.current = next.octets;
                            Advance::Entry(next.at)
                        }
                        None => {
                            self.short = self.paged && gathering.is_cut();
                            Advance::End
                        }
                    };
                }
                Way::Walk(_) if cursor.candidates() > self.patience => self.way = self.gather(),
                Way::Walk(walk) => {
                    let step = walk.advance(&self.keys, cursor, work);
                    if let Some(end) = self.walked(step, directory) {
                        return end;
                    }
                }
                Way::View(list) => {
                    let next = list.next(&self.keys, cursor, directory, work);
                    self.over = list.is_busy().then_some(ResultCode::Busy);
                    return next;
                }
                Way::Unsorted(gathering) => {
                    return match gathering.any() {
                        Some(at) => Advance::Entry(at),
                        None => cursor.advance(work),
                    };
                }
            }
        }
    }

    /// What a step of the walk comes to; nothing where it found room for the next.
    fn walked(&mut self, step: WalkStep, directory: &Directory) -> Option<Advance> {
        match step {
            WalkStep::Entry(next) => {
                self.current = next.octets;
                return Some(Advance::Entry(next.at));
            }
            WalkStep::Paused => return Some(Advance::Paused),
            WalkStep::End => return Some(Advance::End),
            WalkStep::CandidateLimit => {}
            WalkStep::NoMemory if directory.lists.give_way() => return None,
            WalkStep::NoMemory => self.over = Some(ResultCode::Busy),
            WalkStep::Limit => self.over = Some(ResultCode::AdminLimitExceeded),
        }
        Some(Advance::CandidateLimit)
    }

    /// All that matches was gathered: gives it, as a list where one is to be kept.
    fn gathered(&mut self, cursor: &Cursor, directory: &Directory) {
        let way = std::mem::replace(&mut self.way, Way::Open);
        let Way::Gather(mut gathering) = way else { return };
        if self.listed_as.is_some() {
            if let Some(list) = gathering.list(&self.keys, cursor, &self.room) {
                self.keep_and_give(list, cursor.snapshot(), directory);
                return;
            }
            self.listed_as = None;
            gathering.narrow(self.after.clone(), self.wanted);
        }
        gathering.finish();
        self.way = Way::Give(gathering);
    }

    fn keep_and_give(&mut self, list: SortedList, snapshot: &Arc<Snapshot>, directory: &Directory) {
        let list = Arc::new(list);
        if let Some(key) = self.listed_as.take() {
            directory.keep_list(&key, snapshot, &self.keys.view, &list);
        }
        self.way = self.rest_of(list, snapshot);
    }

    /// What of a list was not given before.
    fn rest_of(&self, list: Arc<SortedList>, snapshot: &Snapshot) -> Way {
        let given = self.after.as_deref().map_or(0, |after| {
            let at = list.position(&self.keys, snapshot, after);
            let same = |at| self.keys.octets(snapshot, at) == after;
            at + usize::from(list.get(at).is_some_and(same))
        });
        let left = given..list.len();
        Way::Listed(list, left)
    }

    /// Gathering looks at every candidate; a walk at as many as it takes to find those that are wanted.
    fn choose(&mut self, cursor: &mut Cursor, directory: &Directory) -> Way {
        let snapshot = Arc::clone(cursor.snapshot());
        let kept = |key| directory.lists.find(key, &snapshot, &self.keys.view);
        if let Some(kept) = self.listed_as.as_ref().and_then(kept) {
            if kept.is_of(&snapshot) {
                return self.rest_of(kept.list, &snapshot);
            }
            let limit = directory.sort_limits.kept_list_bytes;
            if let Some(update) = ListUpdate::begin(&kept.list, &self.keys, cursor, limit, &self.room) {
                return Way::Update(Box::new(update));
            }
        }
        let Some(patience) = self.walks(cursor) else {
            return self.gather();
        };
        self.listed_as = None;
        self.patience = patience;
        let after = self.after.clone();
        let walk = Walk::new(
            &self.keys,
            cursor.snapshot(),
            after,
            self.wanted,
            &self.room,
            self.paged,
        );
        Way::Walk(Box::new(walk))
    }

    /// After how many candidates a walk is to be given up, where it should be tried.
    fn walks(&self, cursor: &mut Cursor) -> Option<u64> {
        let matching = cursor.plan().estimate();
        let snapshot = cursor.snapshot();
        let wanted = matching.min(self.wanted as u64).max(1);
        let pays = matching > WALKED_FROM && matching.saturating_mul(matching) >= wanted.saturating_mul(snapshot.len());
        let too_many = wanted > self.room.entries as u64;
        let patience = if too_many { u64::MAX } else { matching };
        ((pays || too_many) && self.keys.is_walkable(snapshot)).then_some(patience)
    }

    /// Gathers what comes after the entry that was given last. Every way gives the same order, so that one may follow another.
    fn gather(&self) -> Way {
        if self.listed_as.is_some() {
            return Way::Gather(Gathering::new(None, usize::MAX, &self.room));
        }
        let after = self.last.clone().or_else(|| self.after.clone());
        Way::Gather(Gathering::new(after, self.wanted, &self.room).shrinking(self.paged))
    }

    /// There is too much to gather: a search that need not be sorted goes on with what it has. One in pages does not: its next
    /// page would not know where to go on.
    fn overflow(&mut self, over: ResultCode) -> Option<Advance> {
        self.over = Some(over);
        let way = std::mem::replace(&mut self.way, Way::Open);
        match way {
            Way::Gather(gathering) if !self.critical && !self.paged => {
                self.way = Way::Unsorted(gathering);
                None
            }
            _ => Some(Advance::CandidateLimit),
        }
    }

    /// The entry that came last was given.
    pub(super) fn given(&mut self) {
        self.last = Some(self.current.clone());
    }

    /// Where the next page begins, after the entry `at` was given.
    pub(super) fn last(&self, snapshot: &Snapshot, at: Location) -> Option<Vec<u8>> {
        match self.way {
            Way::Listed(..) => Some(self.keys.octets(snapshot, at)),
            _ => self.last.clone(),
        }
    }
}

/// Up to so many entries are put in order at once.
const LISTED: usize = 10_000;

/// Up to so many candidates are gathered whatever is wanted.
const WALKED_FROM: u64 = 1_000;
