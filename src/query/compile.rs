//! A filter as received into a typed, normalised, three-valued predicate.

use super::assertion::{by_own_rule, compared, described, normalized};
use super::computed::{Surroundings, is_computed, is_kept};
use super::evaluate::passes;
use super::membership::{Groups, LooksLeft, TooManyNames};
use super::predicate::{Item, Origin, Predicate, Test};
use crate::access::{Condition, View};
use crate::model::{Dn, Filter};
use crate::schema::matching::Comparison;
use crate::schema::{AttributeId, AttributeType, MatchingRule, NormalizedDn, Schema, Syntax};
use crate::store::record::{derived_types, indexed_derived_types};
use smallvec::{SmallVec, smallvec};
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

/// Compiles a filter (RFC 4511 section 4.5.1.7) for what `view` may search. Cannot fail: what cannot be said is Undefined. The
/// view's hidden entries and attributes are part of the result.
///
/// What follows from other entries (memberOf, hasSubordinates, numSubordinates, chains) or is kept beside them is Undefined here: see [`compile_in`].
pub fn compile(filter: &Filter<'_>, schema: &Schema, view: &View) -> Predicate {
    let compiler = Compiler {
        schema,
        view,
        groups: None,
        around: OnceCell::new(),
        named: OnceCell::new(),
        looks: LooksLeft::new(view),
        too_many: Cell::new(None),
    };
    compiler.whole(filter)
}

/// The same for one snapshot, whose other entries give such attributes their meaning.
///
/// # Errors
/// [`TooManyNames`] where a chain leads further than the view may follow it.
pub fn compile_in(filter: &Filter<'_>, groups: Groups<'_>) -> Result<Predicate, TooManyNames> {
    let compiler = Compiler {
        schema: groups.schema,
        view: groups.view,
        groups: Some(groups),
        around: OnceCell::new(),
        named: OnceCell::new(),
        looks: LooksLeft::new(groups.view),
        too_many: Cell::new(None),
    };
    let predicate = compiler.whole(filter);
    compiler.too_many.get().map_or(Ok(predicate), Err)
}

struct Compiler<'a> {
    schema: &'a Schema,
    view: &'a View,
    groups: Option<Groups<'a>>,
    /// Made when an item needs it.
    around: OnceCell<Arc<Surroundings>>,
    /// The entries that are named as members anywhere. Looked up once for all terms and not counted: how many names that looks at tells
    /// of groups that are hidden.
    named: OnceCell<Option<Predicate>>,
    /// Of all terms together.
    looks: LooksLeft,
    /// A chain led too far.
    too_many: Cell<Option<TooManyNames>>,
}

/// A resolved attribute description.
struct Target<'a> {
    attribute: &'a AttributeType,
    options: Vec<String>,
}

impl<'a> Compiler<'a> {
    /// The filter and what the view hides.
    fn whole(&self, filter: &Filter<'_>) -> Predicate {
        let predicate = self.filter(filter);
        if self.view.hiding.entries().is_empty() || matches!(predicate, Predicate::False) {
            return predicate;
        }
        let hidden = self.view.hiding.entries();
        let mut terms = Vec::with_capacity(1 + hidden.len());
        terms.push(predicate);
        for condition in hidden {
            let hidden = condition_item(self.schema, condition);
            terms.extend(hidden.map(|hidden| Predicate::Item(hidden).negate()));
        }
        Predicate::and(terms)
    }

    fn filter(&self, filter: &Filter<'_>) -> Predicate {
        match filter {
            Filter::And(terms) => Predicate::and(terms.iter().map(|term| self.filter(term)).collect()),
            Filter::Or(terms) => Predicate::or(terms.iter().map(|term| self.filter(term)).collect()),
            Filter::Not(inner) => self.filter(inner).negate(),
            Filter::Equality { attribute, value } => self.equal(attribute, value),
            Filter::Substrings { attribute, .. }
            | Filter::GreaterOrEqual { attribute, .. }
            | Filter::LessOrEqual { attribute, .. }
            | Filter::Approximate { attribute, .. } => {
                self.asserted(attribute, |target| by_own_rule(self.schema, target.attribute, filter))
            }
            Filter::Present { attribute } => self.present(attribute),
            Filter::Extensible {
                rule,
                attribute,
                value,
                dn_attributes,
            } => self.extensible(rule.as_deref(), attribute.as_deref(), value, *dn_attributes),
        }
    }

    fn equal(&self, description: &str, value: &[u8]) -> Predicate {
        let Some(target) = self.target(description) else {
            return Predicate::Undefined;
        };
        if self.is_member_of(&target) {
            return self.member_of(&target, value);
        }
        if self.is_of_classes(&target) {
            return self.class(&target, value, false);
        }
        self.tested(&target, self.equality(&target, value))
    }

    fn asserted(&self, description: &str, test: impl FnOnce(&Target<'_>) -> Option<Test>) -> Predicate {
        let Some(target) = self.target(description) else {
            return Predicate::Undefined;
        };
        self.tested(&target, test(&target))
    }

    fn tested(&self, target: &Target<'_>, test: Option<Test>) -> Predicate {
        match test {
            Some(test) => self.item(target, test, false),
            None => Predicate::Undefined,
        }
    }

    /// `None` when the type is not defined, not searchable, not kept where a filter can see it, or an option is not known or not for it.
    fn target(&self, description: &str) -> Option<Target<'a>> {
        let (attribute, options) = described(self.schema, description)?;
        let id = attribute.id;
        if !self.view.searchable.contains(id) || (is_computed(self.schema, id) && !self.knows(id)) {
            return None;
        }
        Some(Target { attribute, options })
    }

    /// Whether there is what a computed type's values come from.
    fn knows(&self, id: AttributeId) -> bool {
        self.groups
            .is_some_and(|groups| groups.kept.is_some() || !is_kept(self.schema, id))
    }

    fn is_of_classes(&self, target: &Target<'_>) -> bool {
        let (known, id) = (self.schema.well_known(), target.attribute.id);
        id == known.object_class || id == known.structural_object_class
    }

    /// An entry is of every superclass of its classes, whether it lists them or not (RFC 4512 section 3.3). A class that nobody
    /// defined is Undefined.
    fn class(&self, target: &Target<'_>, value: &[u8], dn_attributes: bool) -> Predicate {
        let Some(rule) = target.attribute.equality else {
            return Predicate::Undefined;
        };
        let normalized = normalized(self.schema, rule, value);
        let name = normalized
            .as_deref()
            .and_then(|octets| std::str::from_utf8(octets).ok());
        let Some(class) = name.and_then(|name| self.schema.find_class(name)) else {
            return Predicate::Undefined;
        };
        if self.schema.is_superclass_of_all(class) {
            return match target.attribute.id == self.schema.well_known().object_class && target.options.is_empty() {
                true => Predicate::True,
                false => self.item(target, Test::Present, dn_attributes),
            };
        }
        let value = self.schema.class_key(class).to_vec();
        self.item(target, Test::Class { class, value }, dn_attributes)
    }

    fn is_member_of(&self, target: &Target<'_>) -> bool {
        target.attribute.id == self.schema.well_known().member_of && target.options.is_empty()
    }

    /// `(memberOf=group)`: the entry's name is one of the group's members. A group of very many is asked for them one by one.
    fn member_of(&self, target: &Target<'_>, value: &[u8]) -> Predicate {
        let (Some(groups), Some(group)) = (&self.groups, self.name(value)) else {
            return Predicate::Undefined;
        };
        let members = self.looked_at(|limit| groups.members(&group, limit));
        match members {
            Some(members) => self.one_of(target.attribute.id, members),
            None => self.tested(target, self.equality(target, value)),
        }
    }

    /// `(memberOf:1.2.840.113556.1.4.1941:=group)` and the same for stored names.
    fn in_chain(&self, target: &Target<'_>, value: &[u8]) -> Predicate {
        let id = target.attribute.id;
        let name = self.name(value);
        let (Some(groups), Some(name), true) = (&self.groups, name, target.options.is_empty()) else {
            return Predicate::Undefined;
        };
        let found = if id == self.schema.well_known().member_of {
            groups
                .members_in_chain(&name, &self.looks)
                .map(|names| self.one_of(id, names))
        } else {
            let subtypes = target.attribute.subtypes.iter().copied();
            let types: SmallVec<[AttributeId; 2]> = subtypes
                .filter(|id| self.view.searchable.contains(*id) && self.origin(*id) == Origin::Stored)
                .collect();
            let text = String::from_utf8_lossy(value);
            // Entries that hide the attribute are not among them already.
            let item = |names| Predicate::Item(Arc::new(named(id, names)));
            groups.leading_to(&text, &types, &self.looks).map(item)
        };
        found.unwrap_or_else(|fault| {
            self.too_many.set(Some(fault));
            Predicate::Undefined
        })
    }

    /// Names that one step leads to; `None` where they are too many, alone or with those of the terms before.
    fn looked_at(&self, names: impl FnOnce(u32) -> Option<Vec<NormalizedDn>>) -> Option<Vec<NormalizedDn>> {
        self.looks.take(1).ok()?;
        let names = names(self.view.quotas.followed_names)?;
        self.looks.take(names.len()).ok().map(|()| names)
    }

    fn name(&self, value: &[u8]) -> Option<NormalizedDn> {
        let name = Dn::parse(std::str::from_utf8(value).ok()?).ok()?;
        self.schema.normalize_dn(&name).ok()
    }

    /// The entry's own name is one of these.
    fn one_of(&self, id: AttributeId, names: Vec<NormalizedDn>) -> Predicate {
        let item = Arc::new(named(id, names));
        match self.hiding(id) {
            conditions if conditions.is_empty() => Predicate::Item(item),
            conditions => Predicate::Guarded { item, conditions },
        }
    }

    fn origin(&self, id: AttributeId) -> Origin {
        if is_computed(self.schema, id) {
            // Without groups such a type is no target.
            let around = self
                .groups
                .map(|groups| self.around.get_or_init(|| Arc::new(Surroundings::new(groups))));
            return around.map_or(Origin::Derived, |around| Origin::Computed(Arc::clone(around)));
        }
        match self.is_derived(id) {
            true => Origin::Derived,
            false => Origin::Stored,
        }
    }

    fn is_derived(&self, id: AttributeId) -> bool {
        derived_types(self.schema).contains(&id)
    }

    fn present(&self, description: &str) -> Predicate {
        // Every entry has an objectClass and a name, whoever asks.
        let known = self.schema.well_known();
        let id = self.schema.find_attribute(description);
        if id == Some(known.object_class) || id == Some(known.entry_dn) {
            return Predicate::True;
        }
        let present = self.asserted(description, |_| Some(Test::Present));
        match self.groups.filter(|_| id == Some(known.member_of)) {
            Some(groups) if present != Predicate::Undefined => self.in_some_group(groups, present),
            _ => present,
        }
    }

    /// `(memberOf=*)`: where there are few names of members at all, entries with other names need no look.
    fn in_some_group(&self, groups: Groups<'_>, present: Predicate) -> Predicate {
        let named = self.named.get_or_init(|| {
            let names = groups.named_as_members(self.view.quotas.followed_names)?;
            Some(self.one_of(self.schema.well_known().member_of, names))
        });
        match named {
            Some(named) => Predicate::and(vec![named.clone(), present]),
            None => present,
        }
    }

    fn equality(&self, target: &Target<'_>, value: &[u8]) -> Option<Test> {
        let rule = target.attribute.equality?;
        if target.attribute.id == self.schema.well_known().entry_dn {
            let dn = Dn::parse(std::str::from_utf8(value).ok()?).ok()?;
            return Some(Test::Name(self.schema.normalize_dn(&dn).ok()?));
        }
        compared(self.schema, rule, value)
    }

    /// The test of a rule that is not the type's own. For where the entry's own name lies no value has to be made of it.
    fn by_rule(&self, target: &Target<'_>, rule: MatchingRule, value: &[u8]) -> Option<Test> {
        let relation = rule.comparison();
        if target.attribute.id != self.schema.well_known().entry_dn {
            return compared(self.schema, rule, value);
        }
        match relation {
            Comparison::Superior => {
                let name = self.name(value)?;
                let mut above: Vec<_> = std::iter::successors(name.parent(), NormalizedDn::parent).collect();
                above.reverse();
                Some(Test::Names(above.into()))
            }
            Comparison::Subtree | Comparison::OneLevel | Comparison::Subordinate => Some(Test::Own {
                relation,
                name: self.name(value)?,
            }),
            _ => compared(self.schema, rule, value),
        }
    }

    fn extensible(
        &self,
        rule: Option<&str>,
        description: Option<&str>,
        value: &[u8],
        dn_attributes: bool,
    ) -> Predicate {
        let rule = match rule.map(|name| self.schema.find_rule(name)) {
            Some(None) => return self.approximately(rule, description, value, dn_attributes),
            Some(Some(rule)) => Some(rule),
            None => None,
        };
        let Some(description) = description else {
            return match rule {
                Some(rule) => self.any_attribute(rule, value, dn_attributes),
                None => Predicate::Undefined,
            };
        };
        let Some(target) = self.target(description) else {
            return Predicate::Undefined;
        };
        if rule.is_none() && self.is_of_classes(&target) {
            return self.class(&target, value, dn_attributes);
        }
        if rule.is_some_and(|rule| rule.comparison() == Comparison::InChain) {
            let is_name =
                |rule: MatchingRule| matches!(rule, MatchingRule::DistinguishedName | MatchingRule::UniqueMember);
            return match target.attribute.equality.is_some_and(is_name) {
                true => self.in_chain(&target, value),
                false => Predicate::Undefined,
            };
        }
        let by_equality = rule.is_none() || rule == target.attribute.equality;
        if by_equality && !dn_attributes && self.is_member_of(&target) {
            return self.member_of(&target, value);
        }
        let test = match rule {
            None => self.equality(&target, value),
            Some(rule) if target.attribute.takes(rule) => match target.attribute.equality {
                Some(equality) if equality == rule => self.equality(&target, value),
                _ => self.by_rule(&target, rule, value),
            },
            Some(_) => None,
        };
        match test {
            Some(test) => self.item(&target, test, dn_attributes),
            None => Predicate::Undefined,
        }
    }

    /// OpenLDAP's names for approximate matching, each for attributes of one syntax.
    fn approximately(
        &self,
        rule: Option<&str>,
        description: Option<&str>,
        value: &[u8],
        dn_attributes: bool,
    ) -> Predicate {
        let is = |names: [&str; 2]| rule.is_some_and(|rule| names.iter().any(|name| name.eq_ignore_ascii_case(rule)));
        let (syntax, equality) = match () {
            () if is(["directoryStringApproxMatch", "1.3.6.1.4.1.4203.666.4.4"]) => {
                (Syntax::DirectoryString, MatchingRule::CaseIgnore)
            }
            () if is(["IA5StringApproxMatch", "1.3.6.1.4.1.4203.666.4.5"]) => {
                (Syntax::Ia5String, MatchingRule::CaseIgnoreIa5)
            }
            () => return Predicate::Undefined,
        };
        let filter = Filter::Approximate {
            attribute: "".into(),
            value: value.into(),
        };
        if let Some(description) = description {
            let target = self.target(description);
            let target = target.filter(|target| target.attribute.syntax == syntax);
            let test = target
                .as_ref()
                .and_then(|target| by_own_rule(self.schema, target.attribute, &filter));
            return match (target, test) {
                (Some(target), Some(test)) => self.item(&target, test, dn_attributes),
                _ => Predicate::Undefined,
            };
        }
        let takes = |attribute: &&AttributeType| attribute.syntax == syntax && attribute.equality == Some(equality);
        let all = self.schema.attributes().iter().filter(takes);
        let test = all
            .clone()
            .next()
            .and_then(|one| by_own_rule(self.schema, one, &filter));
        let types = all.map(|attribute| attribute.id);
        let types = types.filter(|id| self.view.searchable.contains(*id) && !self.is_derived(*id));
        match test {
            Some(test) => self.guarded(None, types.collect(), Vec::new(), test, dn_attributes),
            None => Predicate::Undefined,
        }
    }

    /// `(:rule:=value)`: every attribute that the rule applies to.
    fn any_attribute(&self, rule: MatchingRule, value: &[u8], dn_attributes: bool) -> Predicate {
        let Some(test) = compared(self.schema, rule, value) else {
            return Predicate::Undefined;
        };
        // What is derived without an index would make a scan of every such filter, and says nothing that is looked for so.
        let indexed = indexed_derived_types(self.schema);
        let types = self.schema.attributes().iter().filter(|attribute| {
            let id = attribute.id;
            self.view.searchable.contains(id)
                && (!self.is_derived(id) || indexed.contains(&id))
                && !is_computed(self.schema, id)
                && attribute.takes(rule)
        });
        let types: SmallVec<[AttributeId; 2]> = types.map(|attribute| attribute.id).collect();
        self.guarded(None, types, Vec::new(), test, dn_attributes)
    }

    fn item(&self, target: &Target<'_>, test: Test, dn_attributes: bool) -> Predicate {
        if matches!(test, Test::Name(_) | Test::Own { .. } | Test::Names(_)) {
            let options = target.options.is_empty();
            let item = Item {
                asserted: Some(target.attribute.id),
                types: smallvec![target.attribute.id],
                options: Vec::new(),
                test,
                origin: Origin::Derived,
                dn_attributes: false,
            };
            return if options {
                Predicate::Item(Arc::new(item))
            } else {
                Predicate::False
            };
        }
        // A subtype that may not be searched is as if it were not there.
        let subtypes = target.attribute.subtypes.iter().copied();
        let nobody_gives = self.groups.is_some_and(|groups| groups.collective.is_none());
        let types = subtypes.filter(|id| {
            self.view.searchable.contains(*id) && !(nobody_gives && self.schema.attribute(*id).collective)
        });
        let asserted = Some(target.attribute.id);
        self.guarded(asserted, types.collect(), target.options.clone(), test, dn_attributes)
    }

    /// Types that are hidden in some entries, or derived, get an item of their own.
    fn guarded(
        &self,
        asserted: Option<AttributeId>,
        mut types: SmallVec<[AttributeId; 2]>,
        options: Vec<String>,
        test: Test,
        dn_attributes: bool,
    ) -> Predicate {
        let mut terms = Vec::new();
        types.retain(|id| {
            let conditions = self.hiding(*id);
            terms.extend(self.given(*id, &options, &test, &conditions));
            let origin = self.origin(*id);
            if conditions.is_empty() && origin == Origin::Stored {
                return true;
            }
            let item = Arc::new(Item {
                asserted,
                types: smallvec![*id],
                options: options.clone(),
                test: test.clone(),
                origin,
                dn_attributes,
            });
            terms.push(match conditions.is_empty() {
                true => Predicate::Item(item),
                false => Predicate::Guarded { item, conditions },
            });
            false
        });
        if types.is_empty() {
            return Predicate::or(terms);
        }
        let item = Predicate::Item(Arc::new(Item {
            asserted,
            types,
            options,
            test,
            origin: Origin::Stored,
            dn_attributes,
        }));
        if terms.is_empty() {
            return item;
        }
        terms.push(item);
        Predicate::or(terms)
    }

    /// Entries to which a subentry gives a value of a collective type that passes the test.
    fn given(&self, id: AttributeId, options: &[String], test: &Test, conditions: &[Arc<Item>]) -> Vec<Predicate> {
        let collective = self.groups.filter(|_| self.schema.attribute(id).collective);
        let Some((groups, collective)) = collective.and_then(|groups| Some((groups, groups.collective?))) else {
            return Vec::new();
        };
        let passing = collective
            .seen(groups.snapshot, self.schema, self.view)
            .filter(|subentry| {
                subentry.attributes.iter().any(|(given, carried, values)| {
                    *given == id
                        && options.iter().all(|option| carried.contains(option))
                        && values.iter().any(|value| passes(test, value, self.schema))
                })
            });
        let items = passing.map(|subentry| {
            Arc::new(Item {
                asserted: Some(id),
                types: smallvec![id],
                options: Vec::new(),
                test: Test::Collective(Arc::clone(subentry)),
                origin: Origin::Derived,
                dn_attributes: false,
            })
        });
        items
            .map(|item| match conditions.is_empty() {
                true => Predicate::Item(item),
                false => Predicate::Guarded {
                    item,
                    conditions: conditions.to_vec(),
                },
            })
            .collect()
    }

    fn hiding(&self, id: AttributeId) -> Vec<Arc<Item>> {
        let hidden = self.view.hiding.attributes().iter().filter(|(hidden, _)| *hidden == id);
        hidden
            .filter_map(|(_, condition)| condition_item(self.schema, condition))
            .collect()
    }
}

fn named(id: AttributeId, names: Vec<NormalizedDn>) -> Item {
    Item {
        asserted: Some(id),
        types: smallvec![id],
        options: Vec::new(),
        test: Test::Names(names.into()),
        origin: Origin::Derived,
        dn_attributes: false,
    }
}

/// Entries of one of these object classes, which are given as the index has them; whether the view may search them does not
/// matter.
pub fn class_predicate(schema: &Schema, classes: &[Vec<u8>]) -> Predicate {
    let attribute = schema.well_known().object_class;
    let condition = |class: &Vec<u8>| Condition {
        attribute,
        normalized: class.clone(),
    };
    let items = classes
        .iter()
        .filter_map(|class| condition_item(schema, &condition(class)));
    Predicate::or(items.map(Predicate::Item).collect())
}

/// The entries directly below one, and the ones with these names.
pub fn child_or_named(schema: &Schema, above: &NormalizedDn, mut names: Vec<NormalizedDn>) -> Predicate {
    names.sort_unstable();
    names.dedup();
    let id = schema.well_known().entry_dn;
    let mut child = named(id, Vec::new());
    child.test = Test::Own {
        relation: Comparison::OneLevel,
        name: above.clone(),
    };
    let items = [child, named(id, names)];
    Predicate::or(items.into_iter().map(Arc::new).map(Predicate::Item).collect())
}

/// The entries with these names, which ascend.
pub fn named_entries(schema: &Schema, names: Vec<NormalizedDn>) -> Predicate {
    Predicate::Item(Arc::new(named(schema.well_known().entry_dn, names)))
}

/// Entries that the view does not hide.
pub fn visible(schema: &Schema, view: &View) -> Predicate {
    hidden_entries(schema, view).negate()
}

/// Where the view hides an entry.
pub(super) fn hidden_entries(schema: &Schema, view: &View) -> Predicate {
    let conditions = view.hiding.entries().iter();
    let items = conditions.filter_map(|condition| condition_item(schema, condition));
    Predicate::or(items.map(Predicate::Item).collect())
}

/// Where the view hides an entry or something of it.
pub(super) fn concealed(schema: &Schema, view: &View) -> Predicate {
    let conditions = view.hiding.attributes().iter().map(|(_, condition)| condition);
    let items = conditions.filter_map(|condition| condition_item(schema, condition));
    let attributes = items.map(Predicate::Item);
    Predicate::or(
        std::iter::once(hidden_entries(schema, view))
            .chain(attributes)
            .collect(),
    )
}

/// Conditions that a thread remembers.
const REMEMBERED: usize = 8;

thread_local! {
    /// Items of conditions: every search of a profile has the same.
    static CONDITIONS: RefCell<Vec<Arc<Item>>> = const { RefCell::new(Vec::new()) };
}

/// `None` for an attribute without an equality rule: no entry meets it.
fn condition_item(schema: &Schema, condition: &Condition) -> Option<Arc<Item>> {
    let rule = schema.attribute(condition.attribute).equality?;
    let is_of = |item: &&Arc<Item>| {
        let Test::Equality { rule: of, value } = &item.test else {
            return false;
        };
        item.asserted == Some(condition.attribute) && *of == rule && *value == condition.normalized
    };
    CONDITIONS.with_borrow_mut(|items| {
        if let Some(item) = items.iter().find(is_of) {
            return Some(Arc::clone(item));
        }
        let item = Arc::new(Item {
            asserted: Some(condition.attribute),
            types: smallvec![condition.attribute],
            options: Vec::new(),
            test: Test::Equality {
                rule,
                value: condition.normalized.clone(),
            },
            origin: Origin::Stored,
            dn_attributes: false,
        });
        items.truncate(REMEMBERED - 1);
        items.insert(0, Arc::clone(&item));
        Some(item)
    })
}
