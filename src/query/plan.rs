//! From a predicate and index statistics to a plan: which candidates, in which order, and what is left to evaluate.

/// How a search will run. Its `Display` is the explain text: one line a node, estimates included.
#[derive(Clone, Debug)]
pub struct Plan {}

impl Plan {
    /// Whether every entry in scope must be examined: no index serves the filter.
    pub fn is_scan(&self) -> bool {
        todo!()
    }

    /// Estimated candidates.
    pub fn estimate(&self) -> u64 {
        todo!()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = f;
        todo!()
    }
}
