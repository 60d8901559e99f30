//! A predicate on one entry: the meaning that every plan is held to.

use super::Truth;
use super::collective::is_excluded;
use super::predicate::{Item, Origin, Predicate, Test};
use crate::model::carries_options;
use crate::schema::matching::{Comparison, integer_of_form, integer_value};
use crate::schema::{AttributeId, ClassId, MatchingRule, Schema, approximate};
use crate::store::record::derived_values;
use crate::store::{Record, RecordAttribute};
use std::collections::HashMap;

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
    /// What is known of large attributes of the entry at hand.
    kept: Option<Box<Kept>>,
    /// Work that looking at other entries took, since it was last asked.
    spent: u32,
    /// Work after which the evaluation of one entry pauses.
    allowed: u32,
    /// A term was decided since the evaluation began or went on.
    went_on: bool,
    /// The last evaluation is not over.
    is_paused: bool,
}

/// An attribute of so many octets is large: a filter of a thousand terms that compared each of its values anew would take the
/// thread for seconds.
const LARGE_OCTETS: usize = 4096;

/// Octets of a large attribute that are looked at for one unit of work.
const OCTETS_A_UNIT: u32 = 4096;

/// What an evaluation keeps of large attributes.
#[derive(Default)]
struct Kept {
    /// Those that the filter asks of more than once.
    large: Vec<Large>,
    /// What terms came to, by the addresses of both, so that an evaluation that paused goes on.
    decided: HashMap<(usize, usize), bool>,
}

/// The values of a large attribute, prepared once for all terms of a filter.
struct Large {
    /// The address of its octets.
    at: usize,
    rule: MatchingRule,
    /// Ascending, once a second term asks.
    normalized: Option<Vec<Vec<u8>>>,
    /// The sounds of each, once that is asked.
    sounds: Option<Vec<Vec<Vec<u8>>>>,
}

impl Evaluator {
    /// The work that looking at other entries and at large attributes took since this was last asked.
    #[inline]
    pub(super) fn take_spent(&mut self) -> u32 {
        std::mem::take(&mut self.spent)
    }

    pub fn truth(&mut self, predicate: &Predicate, candidate: Candidate<'_>, schema: &Schema) -> Truth {
        self.forget();
        self.allowed = u32::MAX;
        self.decide(predicate, candidate, schema)
    }

    /// The same, but no more terms are held to large attributes once so much work is spent: `None` then, and to be asked again for
    /// the same entry. One term at least is decided each time.
    #[inline]
    pub(super) fn truth_within(
        &mut self,
        predicate: &Predicate,
        candidate: Candidate<'_>,
        schema: &Schema,
        allowed: u32,
    ) -> Option<Truth> {
        self.all_within(std::iter::once(predicate), candidate, schema, allowed)
    }

    /// The same of a conjunction's terms.
    #[inline]
    pub(super) fn all_within<'p>(
        &mut self,
        terms: impl Iterator<Item = &'p Predicate>,
        candidate: Candidate<'_>,
        schema: &Schema,
        allowed: u32,
    ) -> Option<Truth> {
        if self.is_paused {
            (self.is_paused, self.went_on) = (false, false);
        } else {
            self.forget();
        }
        self.allowed = allowed;
        let truth = self.all(terms, candidate, schema);
        (!self.is_paused).then_some(truth)
    }

    /// Whether the entry that was evaluated last is to be asked for again.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    #[inline]
    fn forget(&mut self) {
        self.kept = None;
        (self.is_paused, self.went_on) = (false, false);
    }

    fn decide(&mut self, predicate: &Predicate, candidate: Candidate<'_>, schema: &Schema) -> Truth {
        match predicate {
            Predicate::True => Truth::True,
            Predicate::False => Truth::False,
            Predicate::Undefined => Truth::Undefined,
            Predicate::And(terms) => self.all(terms.iter(), candidate, schema),
            Predicate::Or(terms) => self.any(terms, candidate, schema),
            Predicate::Not(inner) => match self.decide(inner, candidate, schema) {
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
    #[inline]
    fn all<'p>(
        &mut self,
        terms: impl Iterator<Item = &'p Predicate>,
        candidate: Candidate<'_>,
        schema: &Schema,
    ) -> Truth {
        let mut truth = Truth::True;
        for term in terms {
            match self.decide(term, candidate, schema) {
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
            match self.decide(term, candidate, schema) {
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
                let parts = candidate.record.parts().unwrap_or_default();
                let mut attributes = parts.attributes();
                parts.may_have(|id| item.types.contains(&id))
                    && attributes
                        .any(|attribute| concerns(item, &attribute) && self.attribute(item, &attribute, schema))
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
            test if attribute.encoded.len() >= LARGE_OCTETS => self.large(test, attribute, schema),
            test => attribute.values().any(|value| self.value(test, value, schema)),
        }
    }

    /// The same for an attribute of many values, or of a long one: a filter of many terms pauses between them.
    #[cold]
    fn large(&mut self, test: &Test, attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
        let place = (std::ptr::from_ref(test).addr(), attribute.encoded.as_ptr().addr());
        if let Some(decided) = self.kept.as_ref().and_then(|kept| kept.decided.get(&place)) {
            return *decided;
        }
        self.is_paused |= self.went_on && self.spent >= self.allowed;
        if self.is_paused {
            return false;
        }
        self.went_on = true;
        let decided = self.decide_large(test, attribute, schema);
        self.kept.get_or_insert_default().decided.insert(place, decided);
        decided
    }

    fn decide_large(&mut self, test: &Test, attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
        let at = attribute.encoded.as_ptr().addr();
        let octets = u32::try_from(attribute.encoded.len()).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_add(octets / OCTETS_A_UNIT);
        let Some(rule) = test.rule() else {
            return attribute.values().any(|value| self.value(test, value, schema));
        };
        let same = |large: &Large| large.at == at && large.rule == rule;
        let all = &mut self.kept.get_or_insert_default().large;
        let Some(known) = all.iter().position(same) else {
            let (normalized, sounds) = (None, None);
            all.push(Large {
                at,
                rule,
                normalized,
                sounds,
            });
            return attribute.values().any(|value| self.value(test, value, schema));
        };
        let known = &mut all[known];
        let prepared = known.normalized.get_or_insert_with(|| {
            let mut all: Vec<Vec<u8>> = attribute
                .values()
                .filter_map(|value| prepared(rule, value, schema))
                .collect();
            all.sort_unstable();
            all
        });
        match test {
            Test::Equality { value, .. } => prepared.binary_search(value).is_ok(),
            Test::Approximate { keys, .. } => {
                let sounds = || prepared.iter().map(|value| approximate::keys(value)).collect();
                let sounds = known.sounds.get_or_insert_with(sounds);
                sounds.iter().any(|value| approximate::sounds_like(keys, value))
            }
            test => prepared.iter().any(|value| test.admits(value)),
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

    /// Whether a value passes one of several tests. Tests by one rule that follow each other prepare it once.
    pub(super) fn passes_any(&mut self, tests: &[&Test], value: &[u8], schema: &Schema) -> bool {
        let [first, rest @ ..] = tests else { return false };
        if self.value(first, value, schema) {
            return true;
        }
        let mut known = None;
        rest.iter().any(
            |test| match test.rule().filter(|_| !matches!(test, Test::Class { .. })) {
                None => self.value(test, value, schema),
                Some(rule) if known == Some(rule) => test.admits(&self.normalized),
                Some(rule) => {
                    self.normalized.clear();
                    let is_prepared = rule.normalize(schema, value, &mut self.normalized).is_ok();
                    known = Some(rule).filter(|_| is_prepared);
                    is_prepared && test.admits(&self.normalized)
                }
            },
        )
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

fn prepared(rule: MatchingRule, value: &[u8], schema: &Schema) -> Option<Vec<u8>> {
    let mut normalized = Vec::with_capacity(value.len());
    rule.normalize(schema, value, &mut normalized).ok().map(|()| normalized)
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
            Test::Approximate { keys: wanted, .. } => approximate::matches(wanted, normalized),
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
    let named = schema.class_of(value);
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

/// A piece of so many octets is looked for without going back: a text and a piece that nearly fits everywhere would take the product of
/// their lengths.
const LONG_PIECE: usize = 32;

/// The first place of `piece` in `text`.
fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    let (first, rest) = piece.split_first()?;
    if piece.len() >= LONG_PIECE {
        return find_long(text, piece);
    }
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

/// The same by the rule of Knuth, Morris and Pratt: each octet of the text is looked at once.
fn find_long(text: &[u8], piece: &[u8]) -> Option<usize> {
    // How much of the piece fits still, where it fitted up to there and no further.
    let mut shorter = vec![0; piece.len()];
    let mut fits = 0;
    for at in 1..piece.len() {
        while fits > 0 && piece[at] != piece[fits] {
            fits = shorter[fits - 1];
        }
        fits += usize::from(piece[at] == piece[fits]);
        shorter[at] = fits;
    }
    fits = 0;
    for (at, octet) in text.iter().enumerate() {
        while fits > 0 && *octet != piece[fits] {
            fits = shorter[fits - 1];
        }
        fits += usize::from(*octet == piece[fits]);
        if fits == piece.len() {
            return Some(at + 1 - fits);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::View;
    use crate::model::{Attribute, Dn, Entry, Filter};
    use crate::query::compile;
    use crate::store::{Operational, record};
    use std::time::{Duration, Instant};

    /// A filter of many terms on an attribute of many values means what it means on few, and takes little longer.
    #[test]
    fn many_terms_on_many_values_take_one_preparation() {
        let schema = Schema::builtin().unwrap();
        let view = View::for_protocol(&schema);
        let mut entry = Entry::new(Dn::parse("cn=big,o=nhs").unwrap());
        let values = (0..20_000).map(|n| format!("uid=P{n}, ou=People,o=nhs").into_bytes());
        entry.attributes.push(Attribute::new("member", values.collect()));
        entry
            .attributes
            .push(Attribute::new("description", vec![b"x ".repeat(9000)]));
        let octets = record::encode(&entry, &Operational::default(), &schema);
        let holds = |filter: &str| {
            let predicate = compile(&Filter::parse(filter).unwrap(), &schema, &view);
            evaluate(&predicate, Record::new(&octets, schema.type_numbers()), b"", &schema)
        };
        let terms = |from: usize| -> String {
            let term = |n| {
                format!("(member=uid=p{n},ou=people,o=nhs)(member:dnSubtreeMatch:=ou=no{n},o=nhs)(description=x {n})")
            };
            (from..from + 300).map(term).collect()
        };
        let started = Instant::now();
        assert_eq!(holds(&format!("(|{})", terms(20_000))), Truth::False);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(holds(&format!("(|{})", terms(19_700))), Truth::True);
        assert_eq!(holds(&format!("(&{})", terms(100))), Truth::False);
        for (last, expected) in [
            ("(member=UID=p19999,ou=people,o=nhs)", Truth::True),
            ("(member:dnOneLevelMatch:=ou=people,o=nhs)", Truth::True),
            ("(description=x*x x*)", Truth::True),
            ("(description~=ks)(description~=x)", Truth::True),
            ("(description~=ks)(description~=kz)", Truth::False),
            ("(!(member=uid=p7,ou=people,o=nhs))", Truth::False),
            ("(member=nonsense)", Truth::Undefined),
        ] {
            assert_eq!(
                holds(&format!("(|(member=cn=a)(member=cn=b)(description=y){last})")),
                expected,
                "{last}"
            );
        }
    }

    /// T3: what nearly fits everywhere is looked for in one pass.
    #[test]
    fn a_long_piece_is_found_in_one_pass() {
        let mut seed = 7u32;
        let mut random = |most: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % most
        };
        for _ in 0..2000 {
            let text: Vec<u8> = (0..random(200)).map(|_| b'a' + random(2) as u8).collect();
            let piece: Vec<u8> = (0..1 + random(40)).map(|_| b'a' + random(2) as u8).collect();
            let expected = text.windows(piece.len()).position(|window| window == piece);
            assert_eq!(find_long(&text, &piece), expected);
            assert_eq!(find(&text, &piece), expected);
        }
        let text = vec![b'a'; 1 << 20];
        let mut piece = vec![b'a'; 1 << 19];
        piece.push(b'b');
        let started = Instant::now();
        assert!(!has_pieces(&text, None, &[piece.clone(), piece], None));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
