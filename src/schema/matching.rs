//! Matching rules (RFC 4517 section 4): values into octets that compare.

use super::Schema;

/// A matching rule that this server implements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MatchingRule {
    CaseIgnore,
    CaseIgnoreOrdering,
    CaseIgnoreSubstrings,
    // ... every rule of RFC 4517 and those the loaded schema files name
}

/// A value or assertion is not of the rule's syntax.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected}: {reason}")]
pub struct InvalidValue {
    pub expected: &'static str,
    pub reason: String,
}

/// Which piece of a substring assertion is being prepared (RFC 4518 section 2.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubstringPiece {
    Initial,
    Any,
    Final,
}

impl MatchingRule {
    /// Appends the normalised form of an attribute value or equality/ordering assertion to `out`.
    /// Equal values give equal octets; for ordering rules octet order is value order.
    pub fn normalize(self, schema: &Schema, value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
        let _ = (schema, value, out);
        todo!()
    }

    /// Appends one prepared piece of a substring assertion. The piece is found in a normalised value by plain octet search.
    pub fn normalize_piece(self, piece: SubstringPiece, value: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidValue> {
        let _ = (piece, value, out);
        todo!()
    }

    /// Whether this rule's normalised form is the same as that of `other`, so that one dictionary serves both.
    pub fn shares_form(self, other: MatchingRule) -> bool {
        let _ = other;
        todo!()
    }
}
