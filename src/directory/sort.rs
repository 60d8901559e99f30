//! Server-side sorting (RFC 2891) and virtual list views: what a client asks, and how a search then gives its entries.
//!
//! Invariants: a sort looks only at values that the view may search and read, so an order tells nothing that a search could
//! not; entries with equal keys come by name. Where many entries match and few are wanted, the values of the first key are
//! walked in order; otherwise the entries are gathered first. A sort that is not critical and has too much to gather gives what
//! it has as it came.

use super::lists::VirtualList;
use super::{Directory, Session};
use crate::access::View;
use crate::model::{Outcome, ResultCode};
use crate::query::sorted::{Gathering, Key, SortKeys, Taken, Walk, WalkStep};
use crate::query::{Advance, Cursor, Work};
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, MatchingRule, NormalizedDn, Schema};
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

/// Why a search cannot be sorted: a result code of RFC 2891 section 1.2, and by which attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SortFault {
    pub code: ResultCode,
    pub attribute: String,
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
    limits: (usize, usize),
    /// Candidates after which a walk is given up: where what matches lies far on in the order, gathering costs less.
    patience: u64,
    /// The octets of the entry that came last, and of the one that was given last.
    current: Vec<u8>,
    last: Option<Vec<u8>>,
    /// There was too much to put in order.
    over: bool,
}

/// How entries are put in order.
enum Way {
    /// Not chosen yet.
    Open,
    Gather(Gathering),
    /// Everything was gathered.
    Give(Gathering),
    Walk(Box<Walk>),
    View(Box<VirtualList>),
    /// What was gathered, then what else is found, as it comes.
    Unsorted(Gathering),
}

impl Directory {
    /// Why the session may not sort by these keys.
    pub fn sort_fault(&self, session: &Session, keys: &[SortKey<'_>]) -> Option<SortFault> {
        resolve(keys, &self.schema, &session.view).err()
    }

    pub(super) fn sort_keys(&self, session: &Session, keys: &[SortKey<'_>]) -> Result<SortKeys, SortFault> {
        Ok(SortKeys {
            keys: resolve(keys, &self.schema, &session.view)?,
            schema: Arc::clone(&self.schema),
            view: Arc::clone(&session.view),
        })
    }

    /// A sorted search resumes after the sort key of the entry before, not after its name. One that cannot be sorted goes on
    /// unsorted where the sort was not critical.
    pub(super) fn sorting(
        &self,
        session: &Session,
        asked: Option<SortRequest<'_>>,
        wanted: u32,
        resume: Option<NormalizedDn>,
    ) -> Result<(Option<Sorting>, Option<NormalizedDn>), Outcome> {
        let Some(asked) = asked else {
            return Ok((None, resume));
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
                    limits: (self.sort_limits.sorted_entries, self.sort_limits.sorted_bytes),
                    patience: u64::MAX,
                    current: Vec::new(),
                    last: None,
                    over: false,
                };
                Ok((Some(sorting), None))
            }
            Err(_) if !asked.critical => Ok((None, resume)),
            Err(fault) => Err(Outcome::new(
                ResultCode::UnavailableCriticalExtension,
                format!("the search cannot be sorted by {}", fault.attribute),
            )),
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

    /// Whether the entries come in no order after all, because there were too many.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The next entry in order.
    pub(super) fn next(&mut self, cursor: &mut Cursor, directory: &Directory, work: &mut Work) -> Advance {
        loop {
            match &mut self.way {
                Way::Open => self.way = self.choose(cursor),
                Way::Gather(gathering) => match cursor.advance(work) {
                    Advance::Entry(at) => {
                        let octets = self.keys.octets(cursor.snapshot(), at);
                        if gathering.take(octets, at) == Taken::Limit
                            && let Some(end) = self.overflow()
                        {
                            return end;
                        }
                    }
                    Advance::End => {
                        gathering.finish();
                        let gathering = std::mem::replace(gathering, Gathering::new(None, 1, (0, 0)));
                        self.way = Way::Give(gathering);
                    }
                    other => return other,
                },
                Way::Give(gathering) => {
                    return match gathering.pop() {
                        Some(next) => {
                            self.current = next.octets;
                            Advance::Entry(next.at)
                        }
                        None => Advance::End,
                    };
                }
                Way::Walk(_) if cursor.candidates() > self.patience => self.way = self.gather(),
                Way::Walk(walk) => match walk.advance(&self.keys, cursor, work) {
                    WalkStep::Entry(next) => {
                        self.current = next.octets;
                        return Advance::Entry(next.at);
                    }
                    WalkStep::Paused => return Advance::Paused,
                    WalkStep::End => return Advance::End,
                    WalkStep::CandidateLimit => return Advance::CandidateLimit,
                    WalkStep::Limit => {
                        self.over = true;
                        return Advance::CandidateLimit;
                    }
                },
                Way::View(list) => return list.next(&self.keys, cursor, directory, work),
                Way::Unsorted(gathering) => {
                    return match gathering.any() {
                        Some(at) => Advance::Entry(at),
                        None => cursor.advance(work),
                    };
                }
            }
        }
    }

    /// Gathering looks at every candidate; a walk at as many as it takes to find those that are wanted.
    fn choose(&mut self, cursor: &Cursor) -> Way {
        let snapshot = cursor.snapshot();
        let matching = cursor.plan().estimate();
        let wanted = matching.min(self.wanted as u64).max(1);
        let pays = matching > WALKED_FROM && matching.saturating_mul(matching) >= wanted.saturating_mul(snapshot.len());
        let too_many = wanted > self.limits.0 as u64;
        if (pays || too_many) && self.keys.is_walkable(snapshot) {
            self.patience = if too_many { u64::MAX } else { matching };
            let after = self.after.clone();
            return Way::Walk(Box::new(Walk::new(
                &self.keys,
                snapshot,
                after,
                self.wanted,
                self.limits,
            )));
        }
        self.gather()
    }

    /// Gathers what comes after the entry that was given last. Every way gives the same order, so that one may follow another.
    fn gather(&self) -> Way {
        let after = self.last.clone().or_else(|| self.after.clone());
        Way::Gather(Gathering::new(after, self.wanted, self.limits))
    }

    /// There is too much to gather: a search that need not be sorted goes on with what it has.
    fn overflow(&mut self) -> Option<Advance> {
        self.over = true;
        let way = std::mem::replace(&mut self.way, Way::Open);
        match way {
            Way::Gather(gathering) if !self.critical => {
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

    /// Where the next page begins.
    pub(super) fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }
}

/// Up to so many candidates are gathered whatever is wanted.
const WALKED_FROM: u64 = 1_000;
