//! Which values? The matched values of RFC 3876: of an entry that leaves, the values that pass one of several items.
//!
//! Invariants: only values that leave anyway are looked at, so an item tells nothing that the answer without it would not; what
//! cannot be said is Undefined and passes nothing.

use super::assertion::{by_own_rule, compared, described};
use super::evaluate::Evaluator;
use super::predicate::Test;
use crate::access::{AttributeSet, ValueFilter};
use crate::model::{Filter, carries_options};
use crate::schema::{AttributeId, AttributeType, MatchingRule, Schema};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// A ValuesReturnFilter (RFC 3876 section 2), compiled.
pub struct MatchedValues {
    items: Vec<ValueItem>,
    schema: Arc<Schema>,
}

/// One SimpleFilterItem: which attributes it is about, and what it asks of their values.
struct ValueItem {
    types: AttributeSet,
    /// Options that an attribute must carry, lower case.
    options: Vec<String>,
    test: Test,
}

impl MatchedValues {
    /// Without items, and where all of them are Undefined, no value passes.
    pub fn compile(items: &[Filter<'_>], schema: &Arc<Schema>) -> MatchedValues {
        MatchedValues {
            items: items.iter().filter_map(|item| compile_item(item, schema)).collect(),
            schema: Arc::clone(schema),
        }
    }
}

impl ValueFilter for MatchedValues {
    fn matching<'v>(
        &self,
        (id, description): (AttributeId, &str),
        values: &mut dyn Iterator<Item = &'v [u8]>,
        keep: &mut dyn FnMut(&'v [u8]),
    ) {
        let concerned = |item: &&ValueItem| {
            item.types.contains(id) && (item.options.is_empty() || carries_options(description, &item.options))
        };
        let concerned: SmallVec<[&Test; 4]> = self.items.iter().filter(concerned).map(|item| &item.test).collect();
        if concerned.is_empty() {
            return;
        }
        let mut evaluator = Evaluator::default();
        for value in values {
            if evaluator.passes_any(&concerned, value, &self.schema) {
                keep(value);
            }
        }
    }

    fn items(&self) -> usize {
        self.items.len()
    }
}

impl fmt::Debug for MatchedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchedValues").finish_non_exhaustive()
    }
}

/// `None` for what is Undefined of every value.
fn compile_item(item: &Filter<'_>, schema: &Schema) -> Option<ValueItem> {
    let of = |description: &str, test: &dyn Fn(&AttributeType) -> Option<Test>| {
        let (attribute, options) = described(schema, description)?;
        let mut types = AttributeSet::default();
        attribute.subtypes.iter().for_each(|id| types.insert(*id));
        let test = test(attribute)?;
        Some(ValueItem { types, options, test })
    };
    match item {
        Filter::Equality { attribute, value } => of(attribute, &|attribute| equality(attribute, value, schema)),
        Filter::Substrings { attribute, .. }
        | Filter::GreaterOrEqual { attribute, .. }
        | Filter::LessOrEqual { attribute, .. }
        | Filter::Approximate { attribute, .. } => of(attribute, &|attribute| by_own_rule(schema, attribute, item)),
        Filter::Present { attribute } => of(attribute, &|_| Some(Test::Present)),
        Filter::Extensible {
            rule, attribute, value, ..
        } => {
            let rule = match rule {
                Some(name) => Some(schema.find_rule(name)?),
                None => None,
            };
            match (attribute, rule) {
                (Some(attribute), rule) => of(attribute, &|attribute| extensible(attribute, rule, value, schema)),
                (None, rule) => any_attribute(rule?, value, schema),
            }
        }
        // No item (section 2); the codec lets none of them through.
        Filter::And(_) | Filter::Or(_) | Filter::Not(_) => None,
    }
}

/// A value that names an object class is of every superclass of it, as in a search's filter.
fn equality(attribute: &AttributeType, value: &[u8], schema: &Schema) -> Option<Test> {
    let rule = attribute.equality?;
    let known = schema.well_known();
    if attribute.id != known.object_class && attribute.id != known.structural_object_class {
        return compared(schema, rule, value);
    }
    let class = schema.class_of(value)?;
    let value = schema.class_key(class).to_vec();
    Some(match schema.is_superclass_of_all(class) {
        true => Test::Present,
        false => Test::Class { class, value },
    })
}

fn extensible(attribute: &AttributeType, rule: Option<MatchingRule>, value: &[u8], schema: &Schema) -> Option<Test> {
    match rule {
        None => equality(attribute, value, schema),
        Some(rule) => attribute.takes(rule).then(|| compared(schema, rule, value))?,
    }
}

/// `(:rule:=value)`: every attribute that the rule applies to.
fn any_attribute(rule: MatchingRule, value: &[u8], schema: &Schema) -> Option<ValueItem> {
    let mut types = AttributeSet::default();
    let fitting = schema.attributes().iter().filter(|attribute| attribute.takes(rule));
    fitting.for_each(|attribute| types.insert(attribute.id));
    Some(ValueItem {
        types,
        options: Vec::new(),
        test: compared(schema, rule, value)?,
    })
}
