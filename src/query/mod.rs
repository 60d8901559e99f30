//! Which entries?
//!
//! Useful for: compiling a filter against schema and view, planning it against a snapshot's indexes, and running it as a
//! resumable cursor. Not for: what leaves of an entry, who asked, the wire.
//!
//! Invariants: the meaning of a filter is to evaluate it on every entry in scope, three-valued; a plan may only be faster, never
//! different (a property test holds it to that); compiling cannot fail; no function here waits or does I/O.

mod assertion;
mod candidates;
pub mod collective;
pub mod compile;
pub mod computed;
mod content;
pub mod cursor;
pub mod evaluate;
pub mod membership;
pub mod plan;
pub mod predicate;
mod scope;
mod seen;
pub mod sorted;
mod stream;
#[cfg(test)]
mod tests;
pub mod values;

use crate::model::SearchScope;
use crate::schema::NormalizedDn;
use crate::store::Location;
use std::sync::Arc;

pub use candidates::CandidateLimit;
pub use collective::Collective;
pub use compile::{child_or_named, class_predicate, compile, compile_in, named_entries, visible};
pub use computed::{KeptBeside, Subordinates};
pub use content::Content;
pub use cursor::Cursor;
pub use evaluate::{Candidate, Evaluator, evaluate};
pub use membership::{Groups, TailMembers, TooManyNames};
pub use plan::Plan;
pub use predicate::Predicate;
pub use values::MatchedValues;

/// Three-valued truth (RFC 4511 section 4.5.1.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    True,
    False,
    Undefined,
}

/// In which order entries come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Whatever is fastest.
    Any,
    /// Ascending by key, so that a search can be resumed after a key (paging).
    Name,
}

/// What to search for.
#[derive(Clone, Debug)]
pub struct Query {
    pub base: NormalizedDn,
    /// Where the base object lies in the snapshot; `None` where that is not known.
    pub base_at: Option<Location>,
    pub scope: SearchScope,
    pub predicate: Predicate,
    pub order: Order,
    /// With [`Order::Name`]: only entries after this key.
    pub after: Option<NormalizedDn>,
    /// Entries must lie within one of these subtrees (the view's bases) ...
    pub within: Arc<[NormalizedDn]>,
    /// ... and in none of these.
    pub without: Arc<[NormalizedDn]>,
    /// Candidates examined before the cursor gives up.
    pub candidate_limit: CandidateLimit,
}

/// How much a cursor may do before it hands back control: counts candidates examined (more than one for each where the
/// filter is large) and dictionary values verified.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub left: u32,
}

/// What a cursor came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advance {
    /// A matching, visible entry.
    Entry(Location),
    /// The work is used up; call again.
    Paused,
    /// No more entries.
    End,
    /// The candidate limit was reached.
    CandidateLimit,
}
