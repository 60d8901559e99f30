//! A predicate on one entry: the meaning that every plan is held to.

use super::Truth;
use super::collective::is_excluded;
use super::predicate::{Item, Origin, Predicate, Test};
use crate::model::carries_options;
use crate::schema::matching::{Comparison, integer_of_form, integer_value};
use crate::schema::{AttributeId, ClassId, MatchingRule, Schema, approximate};
use crate::store::record::derived_values;
use crate::store::{Record, RecordAttribute};

/// Evaluates without any index (RFC 4511 section 4.5.1.7). `key` is the entry's key, for entryDN and `:dn:`.
pub fn evaluate(predicate: &Predicate, record: Record<'_>, key: &[u8], schema: &Schema) -> Truth {
    Evaluator::default().truth(predicate, Candidate { record, key }, schema)
}

/// An entry to evaluate. `key` may be empty where [`Predicate::needs_key`] says so.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub record: Record<'a>,
    pub key: &'a [u8],
}

/// Evaluates many entries with one buffer, so that none of them allocates.
#[derive(Default)]
pub struct Evaluator {
    normalized: Vec<u8>,
    /// Work that looking at other entries took, since it was last asked.
    spent: u32,
}

impl Evaluator {
    /// The work that looking at other entries took since this was last asked.
    #[inline]
    pub(super) fn take_spent(&mut self) -> u32 {
        std::mem::take(&mut self.spent)
    }

    pub fn truth(&mut self, predicate: &Predicate, candidate: Candidate<'_>, schema: &Schema) -> Truth {
        match predicate {
            Predicate::True => Truth::True,
            Predicate::False => Truth::False,
            Predicate::Undefined => Truth::Undefined,
            Predicate::And(terms) => self.all(terms, candidate, schema),
            Predicate::Or(terms) => self.any(terms, candidate, schema),
            Predicate::Not(inner) => match self.truth(inner, candidate, schema) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Undefined => Truth::Undefined,
            },
            Predicate::Item(item) => self.item(item, candidate, schema).into(),
            Predicate::Guarded { item, conditions } => {
                if conditions
                    .iter()
                    .any(|condition| self.item(condition, candidate, schema))
                {
                    Truth::False
                } else {
                    self.item(item, candidate, schema).into()
                }
            }
        }
    }

    /// False if any term is False, else Undefined if any is Undefined, else True.
    fn all(&mut self, terms: &[Predicate], candidate: Candidate<'_>, schema: &Schema) -> Truth {
        let mut truth = Truth::True;
        for term in terms {
            match self.truth(term, candidate, schema) {
                Truth::True => {}
                Truth::False => return Truth::False,
                Truth::Undefined => truth = Truth::Undefined,
            }
        }
        truth
    }

    /// True if any term is True, else Undefined if any is Undefined, else False.
    fn any(&mut self, terms: &[Predicate], candidate: Candidate<'_>, schema: &Schema) -> Truth {
        let mut truth = Truth::False;
        for term in terms {
            match self.truth(term, candidate, schema) {
                Truth::True => return Truth::True,
                Truth::False => {}
                Truth::Undefined => truth = Truth::Undefined,
            }
        }
        truth
    }

    fn item(&mut self, item: &Item, candidate: Candidate<'_>, schema: &Schema) -> bool {
        if let Test::Name(key) = &item.test {
            return candidate.key == key.0;
        }
        if let Test::Collective(subentry) = &item.test {
            let excluded = |id: &AttributeId| is_excluded(candidate.record, *id, schema);
            return subentry.covers(candidate, schema) && !item.types.iter().any(excluded);
        }
        if let Test::Own { relation, name } = &item.test {
            return is_related(*relation, candidate.key, &name.0);
        }
        if let Test::Names(names) = &item.test {
            return names
                .binary_search_by(|name| name.0.as_slice().cmp(candidate.key))
                .is_ok();
        }
        let found = match &item.origin {
            Origin::Stored => {
                let mut attributes = candidate.record.attributes();
                attributes.any(|attribute| concerns(item, &attribute) && self.attribute(item, &attribute, schema))
            }
            Origin::Derived => self.made(item, schema, |id, each| {
                derived_values(candidate.record, schema, id, each);
                0
            }),
            Origin::Computed(around) => self.made(item, schema, |id, each| around.values(id, candidate, each)),
        };
        found || (item.dn_attributes && self.name(item, candidate.key, schema))
    }

    fn attribute(&mut self, item: &Item, attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
        match &item.test {
            Test::Present => true,
            test => attribute.values().any(|value| self.value(test, value, schema)),
        }
    }

    /// Values that are made for the purpose; `values` gives those of a type, and the work it took.
    fn made(
        &mut self,
        item: &Item,
        schema: &Schema,
        values: impl Fn(AttributeId, &mut dyn FnMut(&[u8])) -> u32,
    ) -> bool {
        if !item.options.is_empty() {
            return false;
        }
        let mut found = false;
        for id in &item.types {
            let work = values(*id, &mut |value| {
                found = found || item.test == Test::Present || self.value(&item.test, value, schema);
            });
            self.spent = self.spent.saturating_add(work);
        }
        found
    }

    /// Whether a value passes; of a test that is about the entry and not its values, none does.
    pub(super) fn value(&mut self, test: &Test, value: &[u8], schema: &Schema) -> bool {
        let rule = match test {
            Test::Present => return true,
            Test::Name(_) | Test::Collective(_) | Test::Own { .. } | Test::Names(_) => return false,
            Test::Bits { mask, all } => {
                return matches!(integer_value(value), Ok(Some(value)) if has_bits(value, *mask, *all));
            }
            Test::Class { class, .. } => return is_of_class(value, *class, schema),
            Test::Equality { rule, value: wanted } => {
                if let Some(equal) = plainly_equal(*rule, value, wanted) {
                    return equal;
                }
                *rule
            }
            Test::Substrings { rule, .. }
            | Test::AtLeast { rule, .. }
            | Test::AtMost { rule, .. }
            | Test::Before { rule, .. }
            | Test::Word { rule, .. }
            | Test::Approximate { rule, .. }
            | Test::Related { rule, .. } => *rule,
        };
        self.normalized.clear();
        rule.normalize(schema, value, &mut self.normalized).is_ok() && test.admits(&self.normalized)
    }

    /// `:dn:`: the values in the entry's name, which the key holds normalised by their equality rules.
    fn name(&mut self, item: &Item, key: &[u8], schema: &Schema) -> bool {
        let avas = key
            .split(|byte| matches!(byte, 0x00 | 0x02))
            .filter(|ava| !ava.is_empty());
        for ava in avas {
            let Some(at) = ava.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (name, value) = (&ava[..at], &ava[at + 1..]);
            let Some(id) = std::str::from_utf8(name)
                .ok()
                .and_then(|name| schema.find_attribute(name))
            else {
                continue;
            };
            if item.types.contains(&id) && item.options.is_empty() && self.name_value(&item.test, id, value, schema) {
                return true;
            }
        }
        false
    }

    fn name_value(&mut self, test: &Test, id: AttributeId, escaped: &[u8], schema: &Schema) -> bool {
        let (Some(own), Some(rule)) = (schema.attribute(id).equality, test.rule()) else {
            return *test == Test::Present;
        };
        self.normalized.clear();
        let mut bytes = escaped.iter();
        while let Some(byte) = bytes.next() {
            self.normalized.push(match (byte, byte == &0x01) {
                (byte, false) => *byte,
                (_, true) => bytes.next().map_or(0x01, |byte| byte.wrapping_sub(0x03)),
            });
        }
        own.shares_form(rule) && test.admits(&self.normalized)
    }
}

/// Whether a value that is in no record passes a test.
pub(super) fn passes(test: &Test, value: &[u8], schema: &Schema) -> bool {
    Evaluator::default().value(test, value, schema)
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

impl Test {
    /// The rule that values are normalised by before [`Test::admits`] looks at them.
    pub fn rule(&self) -> Option<MatchingRule> {
        match self {
            Test::Equality { rule, .. }
            | Test::Substrings { rule, .. }
            | Test::AtLeast { rule, .. }
            | Test::AtMost { rule, .. }
            | Test::Before { rule, .. }
            | Test::Word { rule, .. }
            | Test::Approximate { rule, .. }
            | Test::Related { rule, .. } => Some(*rule),
            Test::Class { .. } => Some(MatchingRule::ObjectIdentifier),
            Test::Present
            | Test::Bits { .. }
            | Test::Name(_)
            | Test::Collective(_)
            | Test::Own { .. }
            | Test::Names(_) => None,
        }
    }

    /// Whether a value passes, given normalised by the test's rule. Tests without a rule admit none.
    pub fn admits(&self, normalized: &[u8]) -> bool {
        match self {
            Test::Equality { value, .. } | Test::Class { value, .. } => normalized == value,
            Test::Substrings { initial, any, last, .. } => {
                has_pieces(normalized, initial.as_deref(), any, last.as_deref())
            }
            Test::AtLeast { value, .. } => normalized >= value.as_slice(),
            Test::AtMost { value, .. } => normalized <= value.as_slice(),
            Test::Before { value, .. } => normalized < value.as_slice(),
            Test::Word { value, .. } => has_word(normalized, value),
            Test::Approximate { keys: wanted, .. } => {
                let own = approximate::keys(normalized);
                wanted.iter().all(|key| own.contains(key))
            }
            Test::Related { rule, value } => is_related(rule.comparison(), normalized, value),
            // Given normalised by the integer rules.
            Test::Bits { mask, all } => integer_of_form(normalized).is_some_and(|value| has_bits(value, *mask, *all)),
            Test::Present | Test::Name(_) | Test::Collective(_) | Test::Own { .. } | Test::Names(_) => false,
        }
    }
}

/// Whether a name stands so to another; both as keys, in which an ancestor is a prefix.
fn is_related(relation: Comparison, name: &[u8], other: &[u8]) -> bool {
    let below = |lower: &[u8], upper: &[u8]| lower.len() > upper.len() && lower.starts_with(upper);
    match relation {
        Comparison::Subtree => name.starts_with(other),
        Comparison::Subordinate => below(name, other),
        Comparison::Superior => below(other, name),
        Comparison::OneLevel => {
            let rest = name.strip_prefix(other).unwrap_or_default();
            rest.iter().filter(|octet| **octet == 0).count() == 1
        }
        _ => false,
    }
}

fn concerns(item: &Item, attribute: &RecordAttribute<'_>) -> bool {
    if !item.types.contains(&attribute.id) {
        return false;
    }
    if item.options.is_empty() {
        return true;
    }
    // An attribute with more options than asserted is a subtype (RFC 4512 section 2.5.2).
    attribute.has_options && carries_options(attribute.description(), &item.options)
}

fn is_of_class(value: &[u8], class: ClassId, schema: &Schema) -> bool {
    let named = std::str::from_utf8(value).ok().and_then(|name| schema.find_class(name));
    named.is_some_and(|named| schema.class_chain(named).contains(&class))
}

/// Equality of text under a case-ignoring rule where both can be seen to be their own prepared form but for case:
/// printable ASCII without a space at an edge or two together. `None` where preparation has to decide.
fn plainly_equal(rule: MatchingRule, value: &[u8], wanted: &[u8]) -> Option<bool> {
    if !rule.shares_form(MatchingRule::CaseIgnore) {
        return None;
    }
    if value.len() == wanted.len() && value.eq_ignore_ascii_case(wanted) && wanted.is_ascii() {
        // `wanted` is a prepared form, and preparing is idempotent.
        return Some(true);
    }
    is_plain(value).then_some(false)
}

fn is_plain(value: &[u8]) -> bool {
    let mut last = b' ';
    for byte in value {
        if !matches!(byte, b' '..=b'~') || (*byte == b' ' && last == b' ') {
            return false;
        }
        last = *byte;
    }
    last != b' '
}

fn has_bits(value: i64, mask: i64, all: bool) -> bool {
    if all { value & mask == mask } else { value & mask != 0 }
}

/// Pieces are taken from the left as early as they come, which leaves the most room for those that follow.
fn has_pieces(value: &[u8], initial: Option<&[u8]>, any: &[Vec<u8>], last: Option<&[u8]>) -> bool {
    let Some(mut rest) = value.strip_prefix(initial.unwrap_or_default()) else {
        return false;
    };
    let Some(inner) = rest.strip_suffix(last.unwrap_or_default()) else {
        return false;
    };
    rest = inner;
    for piece in any {
        let Some(at) = find(rest, piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// The first place of `piece` in `text`.
fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    let (first, rest) = piece.split_first()?;
    let last_start = text.len().checked_sub(piece.len())?;
    let mut at = 0;
    while at <= last_start {
        at += text[at..=last_start].iter().position(|byte| byte == first)?;
        if text[at + 1..].starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn has_word(value: &[u8], word: &[u8]) -> bool {
    let (Ok(value), Ok(word)) = (std::str::from_utf8(value), std::str::from_utf8(word)) else {
        return false;
    };
    value
        .split(|c: char| !c.is_alphanumeric())
        .any(|part| !part.is_empty() && part == word)
}
