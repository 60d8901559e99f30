//! What a filter becomes: typed, normalised, three-valued; and the two-valued form that plans work on.

use super::collective::CollectiveSubentry;
use super::computed::Surroundings;
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, ClassId, MatchingRule, NormalizedDn, Schema};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Arc;

/// A compiled filter. Normalised values inside; attribute types resolved with their subtypes; what the view may not search,
/// what the schema does not define and what does not parse is `Undefined`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    True,
    False,
    Undefined,
    And(Vec<Predicate>),
    Or(Vec<Predicate>),
    Not(Box<Predicate>),
    /// True or False of every entry, never Undefined.
    Item(Arc<Item>),
    /// False where the entry meets one of the conditions, else what `item` is: a hidden attribute reads as one that is not
    /// there, so that no combination of filters tells the two apart.
    Guarded {
        item: Arc<Item>,
        conditions: Vec<Arc<Item>>,
    },
}

/// One assertion: some value of one of these attribute types passes the test.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The type that was named; `None` for every type that a rule applies to.
    pub asserted: Option<AttributeId>,
    /// That type and its subtypes, ascending, as far as the view may search them.
    pub types: SmallVec<[AttributeId; 2]>,
    /// Options that an attribute must carry, lower case.
    pub options: Vec<String>,
    pub test: Test,
    pub origin: Origin,
    /// `:dn:`: the attribute values of the entry's name count as well.
    pub dn_attributes: bool,
}

/// Where the values of an item's types come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    Stored,
    /// From what else is in the record ([`crate::store::record::derived_values`]).
    Derived,
    /// From the rest of the directory.
    Computed(Arc<Surroundings>),
}

/// What is asked of a value. Octets are normalised by the rule; a stored value that does not normalise passes no test.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// The attribute is there.
    Present,
    Equality {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    /// An object class that is this one or has it as a superclass; `value` is how the index knows it.
    Class {
        class: ClassId,
        value: Vec<u8>,
    },
    /// Pieces in this order, without overlap; none of them is empty.
    Substrings {
        rule: MatchingRule,
        initial: Option<Vec<u8>>,
        any: Vec<Vec<u8>>,
        last: Option<Vec<u8>>,
    },
    AtLeast {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    AtMost {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    /// An ordering rule in an extensible match (RFC 4517 section 4.2): the value comes before this one.
    Before {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    /// One of the value's words is this one; words are separated by what is neither letter nor digit.
    Word {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    /// Each of these words sounds like a word of the value (RFC 4511 section 4.5.1.7.6); keys as
    /// [`crate::schema::approximate::keys`] makes them.
    Approximate {
        rule: MatchingRule,
        keys: Vec<Vec<u8>>,
    },
    /// Integer bit rules: all, or any, of these bits are set.
    Bits {
        mask: i64,
        all: bool,
    },
    /// The rules that ask where in the tree a name lies: the value stands so to this name.
    Related {
        rule: MatchingRule,
        value: Vec<u8>,
    },
    /// entryDN (RFC 5020): the entry's own name.
    Name(NormalizedDn),
    /// The entry is in the subtree of this subentry, which gives it a value that passes.
    Collective(Arc<CollectiveSubentry>),
    /// The entry's own name lies so below this one, or is it; for names above there is `Names`.
    Own {
        relation: Comparison,
        name: NormalizedDn,
    },
    /// memberOf and chains: the entry's own name is one of these, which ascend.
    Names(Arc<[NormalizedDn]>),
}

impl Predicate {
    /// Simplified conjunction: flat, without repetition, True left out.
    pub fn and(terms: Vec<Predicate>) -> Predicate {
        let Some(mut terms) = flatten(terms, &Predicate::False, &Predicate::True, |term| match term {
            Predicate::And(inner) => Ok(inner),
            other => Err(other),
        }) else {
            return Predicate::False;
        };
        match terms.len() {
            0 => Predicate::True,
            1 => terms.remove(0),
            _ => Predicate::And(terms),
        }
    }

    /// Simplified disjunction: flat, without repetition, False left out.
    pub fn or(terms: Vec<Predicate>) -> Predicate {
        let Some(mut terms) = flatten(terms, &Predicate::True, &Predicate::False, |term| match term {
            Predicate::Or(inner) => Ok(inner),
            other => Err(other),
        }) else {
            return Predicate::True;
        };
        match terms.len() {
            0 => Predicate::False,
            1 => terms.remove(0),
            _ => Predicate::Or(terms),
        }
    }

    /// Three-valued negation: the negation of Undefined is Undefined.
    pub fn negate(self) -> Predicate {
        match self {
            Predicate::True => Predicate::False,
            Predicate::False => Predicate::True,
            Predicate::Undefined => Predicate::Undefined,
            Predicate::Not(inner) => *inner,
            other => Predicate::Not(Box::new(other)),
        }
    }

    /// The two-valued predicate that holds exactly where this one is True. It has no Undefined and no Guarded in it, and Not
    /// stands only before an item: negations move inwards (De Morgan holds in three values), and with none left above
    /// an item, And and Or only grow with their terms, so Undefined may count as False.
    pub fn settle(self) -> Predicate {
        match self.is_settled() {
            true => self,
            false => settle(self, true),
        }
    }

    /// Whether settling would change nothing: so it is with nearly every filter that clients send.
    fn is_settled(&self) -> bool {
        match self {
            Predicate::True | Predicate::False | Predicate::Item(_) => true,
            Predicate::Undefined | Predicate::Guarded { .. } => false,
            Predicate::Not(inner) => matches!(**inner, Predicate::Item(_)),
            Predicate::And(terms) | Predicate::Or(terms) => terms.iter().all(Predicate::is_settled),
        }
    }

    /// How many items it holds, conditions included.
    pub fn items(&self) -> usize {
        match self {
            Predicate::True | Predicate::False | Predicate::Undefined => 0,
            Predicate::And(terms) | Predicate::Or(terms) => terms.iter().map(Predicate::items).sum(),
            Predicate::Not(inner) => inner.items(),
            Predicate::Item(_) => 1,
            Predicate::Guarded { conditions, .. } => 1 + conditions.len(),
        }
    }

    /// Whether more than the entry itself decides it.
    pub fn looks_around(&self) -> bool {
        match self {
            Predicate::True | Predicate::False | Predicate::Undefined => false,
            Predicate::And(terms) | Predicate::Or(terms) => terms.iter().any(Predicate::looks_around),
            Predicate::Not(inner) => inner.looks_around(),
            Predicate::Item(item) | Predicate::Guarded { item, .. } => matches!(item.origin, Origin::Computed(_)),
        }
    }

    /// Whether evaluating needs the entry's key.
    pub fn needs_key(&self) -> bool {
        match self {
            Predicate::True | Predicate::False | Predicate::Undefined => false,
            Predicate::And(terms) | Predicate::Or(terms) => terms.iter().any(Predicate::needs_key),
            Predicate::Not(inner) => inner.needs_key(),
            Predicate::Item(item) => item.needs_key(),
            Predicate::Guarded { item, conditions } => {
                item.needs_key() || conditions.iter().any(|condition| condition.needs_key())
            }
        }
    }

    /// The predicate as text in the manner of RFC 4515, with normalised values; for plans and logs.
    pub fn display<'a>(&'a self, schema: &'a Schema) -> impl fmt::Display + 'a {
        PredicateText {
            predicate: self,
            schema,
        }
    }
}

fn flatten(
    terms: Vec<Predicate>,
    absorbing: &Predicate,
    neutral: &Predicate,
    open: impl Fn(Predicate) -> Result<Vec<Predicate>, Predicate>,
) -> Option<Vec<Predicate>> {
    let is_flat = |term: &Predicate| {
        matches!(
            term,
            Predicate::Item(_) | Predicate::Not(_) | Predicate::Guarded { .. } | Predicate::Undefined
        )
    };
    if terms.iter().all(is_flat) {
        return Some(without_repetition(terms));
    }
    let mut flat = Vec::with_capacity(terms.len());
    for term in terms {
        // Built from the inside out, so a nested term is flat already.
        match open(term) {
            Ok(inner) => flat.extend(inner),
            Err(term) if term == *absorbing => return None,
            Err(term) if term == *neutral => {}
            Err(term) => flat.push(term),
        }
    }
    Some(without_repetition(flat))
}

#[allow(
    clippy::mutable_key_type,
    reason = "what may change inside an item is hashed by its address"
)]
fn without_repetition(terms: Vec<Predicate>) -> Vec<Predicate> {
    if terms.len() <= 8 {
        let repeats = |at: usize| terms[..at].contains(&terms[at]);
        if !(1..terms.len()).any(repeats) {
            return terms;
        }
    }
    let mut seen = HashSet::with_capacity(terms.len());
    let kept: Vec<bool> = terms.iter().map(|term| seen.insert(term)).collect();
    terms
        .into_iter()
        .zip(kept)
        .filter(|(_, kept)| *kept)
        .map(|(term, _)| term)
        .collect()
}

fn settle(predicate: Predicate, wanted: bool) -> Predicate {
    match predicate {
        Predicate::True if wanted => Predicate::True,
        Predicate::False if !wanted => Predicate::True,
        Predicate::True | Predicate::False | Predicate::Undefined => Predicate::False,
        Predicate::And(terms) => settle_all(terms, wanted, wanted),
        Predicate::Or(terms) => settle_all(terms, wanted, !wanted),
        Predicate::Not(inner) => settle(*inner, !wanted),
        Predicate::Item(_) if wanted => predicate,
        Predicate::Item(_) => Predicate::Not(Box::new(predicate)),
        Predicate::Guarded { item, conditions } => {
            let item = settle(Predicate::Item(item), wanted);
            let met = conditions.into_iter().map(Predicate::Item);
            if wanted {
                Predicate::and(std::iter::once(item).chain(met.map(Predicate::negate)).collect())
            } else {
                Predicate::or(std::iter::once(item).chain(met).collect())
            }
        }
    }
}

fn settle_all(terms: Vec<Predicate>, wanted: bool, conjunction: bool) -> Predicate {
    let settled = terms.into_iter().map(|term| settle(term, wanted)).collect();
    if conjunction {
        Predicate::and(settled)
    } else {
        Predicate::or(settled)
    }
}

impl Item {
    fn needs_key(&self) -> bool {
        self.dn_attributes
            || matches!(
                self.test,
                Test::Name(_) | Test::Collective(_) | Test::Own { .. } | Test::Names(_)
            )
            || matches!(self.origin, Origin::Computed(_))
    }

    /// One line for plans: the kind of test, the attribute, the normalised value.
    pub fn display<'a>(&'a self, schema: &'a Schema) -> impl fmt::Display + 'a {
        ItemText { item: self, schema }
    }
}

struct PredicateText<'a> {
    predicate: &'a Predicate,
    schema: &'a Schema,
}

impl fmt::Display for PredicateText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |f: &mut fmt::Formatter<'_>, sign: char, terms: &[Predicate]| {
            write!(f, "({sign}")?;
            for term in terms {
                write!(f, "{}", term.display(self.schema))?;
            }
            f.write_char(')')
        };
        match self.predicate {
            Predicate::True => f.write_str("(&)"),
            Predicate::False => f.write_str("(|)"),
            Predicate::Undefined => f.write_str("(undefined)"),
            Predicate::And(terms) => each(f, '&', terms),
            Predicate::Or(terms) => each(f, '|', terms),
            Predicate::Not(inner) => write!(f, "(!{})", inner.display(self.schema)),
            Predicate::Item(item) => write!(f, "({})", item.display(self.schema)),
            Predicate::Guarded { item, .. } => write!(f, "({} unless hidden)", item.display(self.schema)),
        }
    }
}

struct ItemText<'a> {
    item: &'a Item,
    schema: &'a Schema,
}

impl fmt::Display for ItemText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item.asserted {
            Some(asserted) => f.write_str(self.schema.attribute(asserted).name())?,
            None => f.write_str("any attribute")?,
        }
        for option in &self.item.options {
            write!(f, ";{option}")?;
        }
        if self.item.dn_attributes {
            f.write_str(":dn")?;
        }
        match &self.item.test {
            Test::Present => f.write_str("=*"),
            Test::Equality { value, .. } | Test::Class { value, .. } => write!(f, "={}", Octets(value)),
            Test::Substrings { initial, any, last, .. } => write_pieces(f, initial.as_deref(), any, last.as_deref()),
            Test::AtLeast { value, .. } => write!(f, ">={}", Octets(value)),
            Test::AtMost { value, .. } => write!(f, "<={}", Octets(value)),
            Test::Before { value, .. } => write!(f, "<{}", Octets(value)),
            Test::Word { value, .. } => write!(f, " has the word {}", Octets(value)),
            Test::Approximate { keys, .. } => write!(f, "~={}", Octets(&keys.join(&b' '))),
            Test::Bits { mask, all } => write!(f, " has {} bits of {mask}", if *all { "all" } else { "any" }),
            Test::Name(key) => write!(f, "={}", Octets(&key.0)),
            Test::Collective(subentry) => write!(f, " by {}", subentry.dn),
            Test::Related { rule, value } => write!(f, ":{}:={}", rule.name(), Octets(value)),
            Test::Own { relation, name } => write!(f, " lies {} {}", place(*relation), Octets(&name.0)),
            Test::Names(names) => write!(f, " leads to {} names", names.len()),
        }
    }
}

fn place(relation: Comparison) -> &'static str {
    match relation {
        Comparison::Subtree => "at or below",
        Comparison::OneLevel => "directly below",
        _ => "below",
    }
}

fn write_pieces(
    f: &mut fmt::Formatter<'_>,
    initial: Option<&[u8]>,
    any: &[Vec<u8>],
    last: Option<&[u8]>,
) -> fmt::Result {
    write!(f, "={}*", Octets(initial.unwrap_or_default()))?;
    for piece in any {
        write!(f, "{}*", Octets(piece))?;
    }
    write!(f, "{}", Octets(last.unwrap_or_default()))
}

/// Octets as text: what is no printable UTF-8, and what would mislead in a filter, as `\hh`.
pub(super) struct Octets<'a>(pub &'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || matches!(c, '*' | '(' | ')' | '\\') {
                    write!(f, "\\{:02x}", u32::from(c))?;
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\{byte:02x}")?;
            }
        }
        Ok(())
    }
}
