//! What an assertion value asks of a value, by the rule it is compared with.

use super::predicate::Test;
use crate::model::{Filter, is_known_option};
use crate::schema::matching::{Comparison, SubstringPiece, integer_value};
use crate::schema::{AttributeType, MatchingRule, Schema, approximate as sounds};
use std::borrow::Cow;

/// The test that a rule makes of an assertion value. A descriptor that nobody defined is Undefined (RFC 4517 section 4.2.26).
pub(super) fn compared(schema: &Schema, rule: MatchingRule, value: &[u8]) -> Option<Test> {
    if rule == MatchingRule::ObjectIdentifier && !schema.recognizes_identifier(value) {
        return None;
    }
    Some(match rule.comparison() {
        Comparison::Equality => Test::Equality {
            rule,
            value: normalized(schema, rule, value)?,
        },
        Comparison::Ordering => Test::Before {
            rule,
            value: normalized(schema, rule, value)?,
        },
        Comparison::Substrings => return substring_assertion(rule, value),
        Comparison::Word => Test::Word {
            rule,
            value: normalized(schema, rule, value)?,
        },
        Comparison::BitAnd | Comparison::BitOr => Test::Bits {
            mask: integer_value(value).ok()??,
            all: rule.comparison() == Comparison::BitAnd,
        },
        Comparison::Subtree | Comparison::OneLevel | Comparison::Subordinate | Comparison::Superior => Test::Related {
            rule,
            value: normalized(schema, rule, value)?,
        },
        // Follows names of one type from entry to entry; see `in_chain`.
        Comparison::InChain => return None,
    })
}

/// The type and the options, lower case; `None` where one is not defined, not known or not for it.
pub(super) fn described<'s>(schema: &'s Schema, description: &str) -> Option<(&'s AttributeType, Vec<String>)> {
    let Some((name, options)) = description.split_once(';') else {
        return Some((schema.attribute(schema.find_attribute(description)?), Vec::new()));
    };
    let attribute = schema.attribute(schema.find_attribute(name)?);
    let options: Vec<String> = options.split(';').map(str::to_ascii_lowercase).collect();
    let fits =
        |option: &String| is_known_option(option) && (option != "binary" || attribute.syntax.wants_binary_option());
    options.iter().all(fits).then_some((attribute, options))
}

/// The test of an item that asks for more than equality, by a rule of the type's own.
pub(super) fn by_own_rule(schema: &Schema, attribute: &AttributeType, item: &Filter<'_>) -> Option<Test> {
    let ordered = |value: &[u8]| {
        let rule = attribute.ordering?;
        Some((rule, normalized(schema, rule, value)?))
    };
    match item {
        Filter::Substrings { initial, any, last, .. } => {
            substrings(attribute.substrings?, initial.as_deref(), any, last.as_deref())
        }
        Filter::GreaterOrEqual { value, .. } => ordered(value).map(|(rule, value)| Test::AtLeast { rule, value }),
        Filter::LessOrEqual { value, .. } => ordered(value).map(|(rule, value)| Test::AtMost { rule, value }),
        Filter::Approximate { value, .. } => approximate(schema, attribute, value),
        _ => None,
    }
}

pub(super) fn normalized(schema: &Schema, rule: MatchingRule, value: &[u8]) -> Option<Vec<u8>> {
    let mut normalized = Vec::with_capacity(value.len());
    rule.normalize(schema, value, &mut normalized).ok()?;
    Some(normalized)
}

/// RFC 4511 section 4.5.1.7.6: where approximate matching makes no sense it is equality.
fn approximate(schema: &Schema, attribute: &AttributeType, value: &[u8]) -> Option<Test> {
    let rule = attribute.equality?;
    let test = compared(schema, rule, value)?;
    let keys = if rule.is_text() {
        sounds::keys(value)
    } else {
        Vec::new()
    };
    Some(if keys.is_empty() {
        test
    } else {
        Test::Approximate { rule, keys }
    })
}

fn substrings(rule: MatchingRule, initial: Option<&[u8]>, any: &[Cow<'_, [u8]>], last: Option<&[u8]>) -> Option<Test> {
    let prepared = |piece: SubstringPiece, value: &[u8]| {
        let mut prepared = Vec::with_capacity(value.len());
        rule.normalize_piece(piece, value, &mut prepared).ok()?;
        Some(prepared)
    };
    let kept = |piece: &Vec<u8>| !piece.is_empty();
    let initial = match initial {
        Some(value) => Some(prepared(SubstringPiece::Initial, value)?).filter(kept),
        None => None,
    };
    let mut pieces = Vec::with_capacity(any.len());
    for value in any {
        pieces.extend(Some(prepared(SubstringPiece::Any, value)?).filter(kept));
    }
    let last = match last {
        Some(value) => Some(prepared(SubstringPiece::Final, value)?).filter(kept),
        None => None,
    };
    Some(Test::Substrings {
        rule,
        initial,
        any: pieces,
        last,
    })
}

/// The Substring Assertion syntax (RFC 4517 section 3.3.30): `*` between the pieces, `\2A` and `\5C` inside them.
fn substring_assertion(rule: MatchingRule, value: &[u8]) -> Option<Test> {
    let mut pieces = vec![Vec::new()];
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'*' => pieces.push(Vec::new()),
            b'\\' => {
                let (escape, after) = after.split_at_checked(2)?;
                rest = after;
                pieces.last_mut()?.push(match escape {
                    b"2A" | b"2a" => b'*',
                    b"5C" | b"5c" => b'\\',
                    _ => return None,
                });
            }
            other => pieces.last_mut()?.push(*other),
        }
    }
    let last = pieces.pop()?;
    let (initial, any) = pieces.split_first()?;
    if any.iter().any(Vec::is_empty) || (any.is_empty() && initial.is_empty() && last.is_empty()) {
        return None;
    }
    let any: Vec<Cow<'_, [u8]>> = any.iter().map(Cow::from).collect();
    let given = |piece: &Vec<u8>| !piece.is_empty();
    substrings(
        rule,
        Some(initial).filter(|p| given(p)).map(Vec::as_slice),
        &any,
        Some(&last).filter(|p| given(p)).map(Vec::as_slice),
    )
}
