//! How many candidates a search may examine.

use super::compile::concealed;
use super::predicate::Predicate;
use crate::access::View;
use crate::schema::Schema;

/// A limit of candidates, and which of them do not count.
#[derive(Clone, Debug)]
pub struct CandidateLimit {
    /// 0 is none.
    pub most: u64,
    /// Entries that conceal something: were they counted, who asks for a hidden value beside as many others as the limit allows
    /// would learn whether there is an entry with it.
    pub uncounted: Predicate,
}

impl Default for CandidateLimit {
    fn default() -> CandidateLimit {
        CandidateLimit {
            most: 0,
            uncounted: Predicate::False,
        }
    }
}

impl CandidateLimit {
    /// The limit of a view's profile.
    pub fn of(view: &View, schema: &Schema) -> CandidateLimit {
        match view.quotas.candidates {
            0 => CandidateLimit::default(),
            most => CandidateLimit {
                most,
                uncounted: concealed(schema, view),
            },
        }
    }
}
