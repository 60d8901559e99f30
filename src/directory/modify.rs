//! The modifications of one Modify request on one entry (RFC 4511 section 4.6, RFC 4525), in sequence.

use super::committer::plain;
use super::update::{Modification, ModificationKind};
use crate::model::ldif::ATTRIBUTES_LIMIT;
use crate::model::{Attribute, AttributeDescription, Ava, Entry, Outcome, ResultCode, Value, is_known_option};
use crate::schema::{AttributeId, AttributeType, Schema, Syntax};
use crate::store::record::Revision;
use std::collections::{HashMap, HashSet};

/// What modifications are held to.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub schema: &'a Schema,
    /// Passes over a value to add that is there, and one to delete that is not.
    pub permissive: bool,
    /// Attribute types whose values in the entry who changes must not find out: no modification says what was there.
    pub unseen: &'a dyn Fn(AttributeId) -> bool,
    /// Types that only these modifications may set.
    pub relaxed: &'a [AttributeId],
}

/// Applies every modification, or says why the first that cannot be applied cannot. The entry is checked as a whole by the
/// caller.
pub(super) fn modify(rules: Rules<'_>, revision: &mut Revision<'_>, changes: Vec<Modification>) -> Result<(), Outcome> {
    let schema = rules.schema;
    let entry = &mut revision.entry;
    let mut before = None;
    let mut drafts: Vec<Draft> = Vec::new();
    for change in changes {
        let id = defined(schema, &change.description)?;
        if id == schema.well_known().object_class && before.is_none() {
            before = Some(schema.structural_class(&schema.classes_of(entry)));
        }
        check_settable(schema, id, &change.description, rules.relaxed)?;
        let unseen = (rules.unseen)(id);
        let target = Target {
            schema,
            id,
            description: &change.description,
            permissive: rules.permissive || unseen,
            unseen,
        };
        let draft = target.draft(entry, &mut drafts)?;
        match change.kind {
            ModificationKind::Add => target.add(draft, change.values)?,
            ModificationKind::Delete => target.delete(draft, &change.values)?,
            ModificationKind::Replace => target.replace(draft, change.values)?,
            ModificationKind::Increment => target.increment(draft, &change.values)?,
        }
    }
    put_back(revision, drafts)?;
    let entry = &mut revision.entry;
    // Where nothing is said of classes they stay as they are, named and all.
    let Some(before) = before else { return Ok(()) };
    schema.name_classes(entry);
    match schema.structural_class(&schema.classes_of(entry)) {
        after if after == before || after.is_none() => Ok(()),
        Some(_) | None => {
            let message = "the structural object class of an entry does not change";
            Err(Outcome::new(ResultCode::ObjectClassModsProhibited, message))
        }
    }
}

/// The attribute type of a description that a client may change.
pub(super) fn defined(schema: &Schema, description: &AttributeDescription) -> Result<AttributeId, Outcome> {
    let undefined = |message: String| Err(Outcome::new(ResultCode::UndefinedAttributeType, message));
    let Some(id) = schema.find_attribute(&description.attribute_type) else {
        return undefined(format!("attribute type {} is not defined", description.attribute_type));
    };
    let attribute_type = schema.attribute(id);
    let mut options = description.options.iter();
    let binary = options.clone().any(|option| option.eq_ignore_ascii_case("binary"));
    if binary && !attribute_type.syntax.wants_binary_option() {
        return undefined(format!("{description}: values of its syntax have no ;binary form"));
    }
    if let Some(option) = options.clone().find(|option| !is_known_option(option)) {
        return undefined(format!("{description}: option {option} is not known"));
    }
    // RFC 3866 section 3: a range asks, it names no values.
    if options.any(|option| option.ends_with('-')) {
        return undefined(format!("{description}: a range of options has no values of its own"));
    }
    Ok(id)
}

/// A client may set it.
pub(super) fn check_settable(
    schema: &Schema,
    id: AttributeId,
    description: &AttributeDescription,
    relaxed: &[AttributeId],
) -> Result<(), Outcome> {
    let opened = description.options.is_empty() && relaxed.contains(&id);
    if schema.attribute(id).no_user_modification && !opened {
        let message = format!("{description} is kept by the server");
        return Err(Outcome::new(ResultCode::ConstraintViolation, message));
    }
    Ok(())
}

/// Adds a naming value to an entry that lacks it, as values are spelled.
pub(super) fn add_naming_value(schema: &Schema, entry: &mut Entry, ava: &Ava) {
    let Some(id) = schema.find_attribute(&ava.attribute) else {
        return;
    };
    let mut values = vec![ava.value.clone()];
    schema.spell_values(id, &mut values);
    match position(schema, entry, id, &[]) {
        Some(at) => {
            let attribute = &mut entry.attributes[at];
            if find(schema, id, &attribute.values, &ava.value).is_none() {
                attribute.values.append(&mut values);
            }
        }
        None => entry.attributes.push(Attribute {
            description: plain(schema.attribute(id).name()),
            values,
        }),
    }
}

/// Takes a naming value out of an entry.
pub(super) fn remove_naming_value(schema: &Schema, entry: &mut Entry, ava: &Ava) {
    let Some(id) = schema.find_attribute(&ava.attribute) else {
        return;
    };
    let Some(at) = position(schema, entry, id, &[]) else {
        return;
    };
    if let Some(found) = find(schema, id, &entry.attributes[at].values, &ava.value) {
        entry.attributes[at].values.remove(found);
        if entry.attributes[at].values.is_empty() {
            entry.attributes.remove(at);
        }
    }
}

/// Where the entry has exactly this description.
fn position(schema: &Schema, entry: &Entry, id: AttributeId, options: &[String]) -> Option<usize> {
    let same = |description: &AttributeDescription| {
        same_options(&description.options, options) && schema.find_attribute(&description.attribute_type) == Some(id)
    };
    entry
        .attributes
        .iter()
        .position(|attribute| same(&attribute.description))
}

fn find(schema: &Schema, id: AttributeId, values: &[Value], value: &[u8]) -> Option<usize> {
    let wanted = schema.comparable(id, value);
    values.iter().position(|value| schema.comparable(id, value) == wanted)
}

/// An attribute while it is being changed.
struct Draft {
    id: AttributeId,
    description: AttributeDescription,
    /// Where the entry has it.
    place: Option<usize>,
    /// `None` are values that were taken out.
    values: Vec<Option<Value>>,
    /// How many are there.
    left: usize,
    /// Where each is, by its normal form, once that is asked often.
    places: Option<HashMap<Vec<u8>, usize>>,
    asked: usize,
}

/// How often values are compared one by one before all are put into a table: most modifications ask once.
const ASKED_ONE_BY_ONE: usize = 4;

impl Draft {
    fn find(&mut self, schema: &Schema, wanted: &[u8]) -> Option<usize> {
        let id = self.id;
        self.asked += 1;
        if self.places.is_none() && self.asked > ASKED_ONE_BY_ONE {
            let values = self.values.iter().enumerate();
            let places =
                values.filter_map(|(at, value)| Some((schema.comparable(id, value.as_ref()?).into_owned(), at)));
            self.places = Some(places.collect());
        }
        match &self.places {
            Some(places) => places.get(wanted).copied(),
            None => self.values.iter().position(|value| {
                let value = value.as_ref();
                value.is_some_and(|value| *schema.comparable(id, value) == *wanted)
            }),
        }
    }

    fn push(&mut self, value: Value, normalized: Vec<u8>) {
        if let Some(places) = &mut self.places {
            places.insert(normalized, self.values.len());
        }
        self.values.push(Some(value));
        self.left += 1;
    }

    fn take(&mut self, at: usize, normalized: &[u8]) {
        if let Some(places) = &mut self.places {
            places.remove(normalized);
        }
        self.left -= usize::from(self.values[at].take().is_some());
    }

    fn clear(&mut self) {
        self.values.clear();
        self.left = 0;
        self.places = None;
        self.asked = 0;
    }
}

/// What became of the drafts becomes part of the entry.
fn put_back(revision: &mut Revision<'_>, drafts: Vec<Draft>) -> Result<(), Outcome> {
    let entry = &mut revision.entry;
    for draft in drafts {
        let attribute = Attribute {
            description: draft.description,
            values: draft.values.into_iter().flatten().collect(),
        };
        match draft.place {
            Some(at) => entry.attributes[at] = attribute,
            None => entry.attributes.push(attribute),
        }
    }
    revision.forget_empty();
    check_count(revision.len())
}

/// Everything that is done with an entry goes through its attributes.
pub(super) fn check_count(attributes: usize) -> Result<(), Outcome> {
    if attributes <= ATTRIBUTES_LIMIT {
        return Ok(());
    }
    let message = format!("expected at most {ATTRIBUTES_LIMIT} attributes in an entry");
    Err(Outcome::new(ResultCode::AdminLimitExceeded, message))
}

/// The attribute that one modification is about.
struct Target<'a> {
    schema: &'a Schema,
    id: AttributeId,
    description: &'a AttributeDescription,
    permissive: bool,
    unseen: bool,
}

impl Target<'_> {
    fn attribute_type(&self) -> &AttributeType {
        self.schema.attribute(self.id)
    }

    /// The attribute as the modifications so far have left it.
    fn draft<'d>(&self, entry: &mut Entry, drafts: &'d mut Vec<Draft>) -> Result<&'d mut Draft, Outcome> {
        let options = &self.description.options;
        let same = |draft: &Draft| draft.id == self.id && same_options(&draft.description.options, options);
        let at = match drafts.iter().position(same) {
            Some(at) => at,
            None => {
                check_count(drafts.len() + 1)?;
                let place = position(self.schema, entry, self.id, options);
                let held = place.map(|at| &mut entry.attributes[at]);
                let (description, values) = match held {
                    Some(held) => (held.description.clone(), std::mem::take(&mut held.values)),
                    None => (self.fresh_description(), Vec::new()),
                };
                drafts.push(Draft {
                    id: self.id,
                    description,
                    place,
                    left: values.len(),
                    values: values.into_iter().map(Some).collect(),
                    places: None,
                    asked: 0,
                });
                drafts.len() - 1
            }
        };
        Ok(&mut drafts[at])
    }

    fn fresh_description(&self) -> AttributeDescription {
        AttributeDescription {
            options: self.description.options.clone(),
            ..plain(self.attribute_type().name())
        }
    }

    fn normalize(&self, value: &[u8]) -> Vec<u8> {
        self.schema.comparable(self.id, value).into_owned()
    }

    fn add(&self, draft: &mut Draft, values: Vec<Value>) -> Result<(), Outcome> {
        if values.is_empty() {
            let message = format!("add of {} has no values", self.description);
            return Err(Outcome::new(ResultCode::ProtocolError, message));
        }
        if self.unseen && self.attribute_type().single_value {
            return self.replace(draft, values);
        }
        if draft.left > 0 {
            self.comparable()?;
        } else {
            draft.description = self.fresh_description();
        }
        for value in values {
            let normalized = self.normalize(&value);
            if draft.find(self.schema, &normalized).is_some() {
                if self.permissive {
                    continue;
                }
                let message = format!("{}: value is already there", self.description);
                return Err(Outcome::new(ResultCode::AttributeOrValueExists, message));
            }
            draft.push(value, normalized);
        }
        Ok(())
    }

    fn delete(&self, draft: &mut Draft, values: &[Value]) -> Result<(), Outcome> {
        let missing = || {
            Outcome::new(
                ResultCode::NoSuchAttribute,
                format!("{}: no such attribute or value", self.description),
            )
        };
        if !values.is_empty() {
            self.comparable()?;
        }
        if draft.left == 0 {
            return if self.permissive { Ok(()) } else { Err(missing()) };
        }
        if values.is_empty() {
            draft.clear();
            return Ok(());
        }
        // The values of one modification are a set.
        let mut taken = HashSet::with_capacity(values.len());
        for value in values {
            let normalized = self.normalize(value);
            if taken.contains(&normalized) {
                continue;
            }
            match draft.find(self.schema, &normalized) {
                Some(at) => {
                    draft.take(at, &normalized);
                    taken.insert(normalized);
                }
                None if self.permissive => {}
                None => return Err(missing()),
            }
        }
        Ok(())
    }

    fn replace(&self, draft: &mut Draft, values: Vec<Value>) -> Result<(), Outcome> {
        draft.clear();
        for value in values {
            let normalized = self.normalize(&value);
            if draft.find(self.schema, &normalized).is_none() {
                draft.push(value, normalized);
            } else if !self.permissive {
                let message = format!("{}: value is already there", self.description);
                return Err(Outcome::new(ResultCode::AttributeOrValueExists, message));
            }
        }
        draft.description = self.fresh_description();
        // As slapd has it, and clients' tests compare: what is replaced comes last.
        draft.place = None;
        Ok(())
    }

    /// RFC 4525 section 3: every value of the attribute grows by the one given.
    fn increment(&self, draft: &mut Draft, values: &[Value]) -> Result<(), Outcome> {
        let [delta] = values else {
            let message = format!(
                "increment of {} wants one value, {} came",
                self.description,
                values.len()
            );
            return Err(Outcome::new(ResultCode::ProtocolError, message));
        };
        if self.attribute_type().syntax != Syntax::Integer {
            let message = format!("{} does not hold integers", self.description);
            return Err(Outcome::new(ResultCode::ConstraintViolation, message));
        }
        let delta = self.integer(delta)?;
        if draft.left == 0 && !self.unseen {
            let message = format!("{}: no such attribute", self.description);
            return Err(Outcome::new(ResultCode::NoSuchAttribute, message));
        }
        for value in draft.values.iter_mut().flatten() {
            let sum = self.integer(value)?.checked_add(delta);
            let overflow = || {
                Outcome::new(
                    ResultCode::ConstraintViolation,
                    format!("{}: too large", self.description),
                )
            };
            *value = sum.ok_or_else(overflow)?.to_string().into_bytes();
        }
        draft.places = None;
        Ok(())
    }

    fn integer(&self, value: &[u8]) -> Result<i128, Outcome> {
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| {
            Outcome::new(
                ResultCode::ConstraintViolation,
                format!("{}: a number is too large to be incremented, or by", self.description),
            )
        })
    }

    /// Values of a type without equality rule cannot be told apart (RFC 4512 section 2.5.1).
    fn comparable(&self) -> Result<(), Outcome> {
        match self.attribute_type().equality {
            Some(_) => Ok(()),
            None => {
                let message = format!(
                    "{} has no equality matching rule; replace all its values",
                    self.description
                );
                Err(Outcome::new(ResultCode::InappropriateMatching, message))
            }
        }
    }
}

/// Options are a set, in any case (RFC 4512 section 2.5.2).
pub(super) fn same_options(left: &[String], right: &[String]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|option| right.iter().any(|other| other.eq_ignore_ascii_case(option)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dn;

    fn modify(rules: Rules<'_>, entry: &mut Entry, changes: Vec<Modification>) -> Result<(), Outcome> {
        let mut revision = Revision::given(entry.clone());
        super::modify(rules, &mut revision, changes)?;
        *entry = revision.entry;
        Ok(())
    }

    fn plainly(schema: &Schema) -> Rules<'_> {
        Rules {
            schema,
            permissive: false,
            unseen: &|_| false,
            relaxed: &[],
        }
    }

    fn change(kind: ModificationKind, name: &str, values: &[&str]) -> Modification {
        let values = values.iter().map(|value| value.as_bytes().to_vec());
        Modification::new(kind, AttributeDescription::parse(name).unwrap(), values.collect())
    }

    /// However many values there are, each is found by its normal form, in whatever order they come and go.
    #[test]
    fn many_modifications_come_to_what_few_do() {
        use ModificationKind::{Add, Delete};
        let schema = Schema::builtin().unwrap();
        let mut entry = Entry::new(Dn::parse("cn=7,dc=test").unwrap());
        let number = |from: usize| format!("number {from}");
        let add = (0..1000).map(|n| change(Add, "description", &[&number(n)]));
        let delete = (0..990).map(|n| change(Delete, "DESCRIPTION", &[&number(n).to_uppercase()]));
        let again = change(Add, "description", &["Number 5", "number  6"]);
        modify(plainly(&schema), &mut entry, add.chain(delete).chain([again]).collect()).unwrap();
        let values = &entry.attribute("description").unwrap().values;
        assert_eq!(values.len(), 12);
        assert!(values.contains(&b"Number 5".to_vec()));
        for (kind, value, expected) in [
            (Add, "NUMBER 999", ResultCode::AttributeOrValueExists),
            (Delete, "number 7", ResultCode::NoSuchAttribute),
        ] {
            let one = modify(
                plainly(&schema),
                &mut entry,
                vec![change(kind, "description", &[value])],
            );
            assert_eq!(one.unwrap_err().code, expected, "{value}");
        }
        entry.attributes[0].values = vec![b"left".to_vec()];
        let twice = change(Delete, "description", &["left", "LEFT"]);
        modify(plainly(&schema), &mut entry, vec![twice]).unwrap();
        assert!(entry.attributes.is_empty(), "the values of one modification are a set");
    }

    /// What cannot be seen is not found out by changing it: every modification ends as it would if it found what it expects.
    #[test]
    fn a_modification_says_nothing_of_what_is_unseen() {
        use ModificationKind::{Add, Delete, Increment, Replace};
        let schema = Schema::builtin().unwrap();
        let rules = Rules {
            unseen: &|_| true,
            ..plainly(&schema)
        };
        for held in [&["7"][..], &["8"], &[]] {
            for (kind, values) in [
                (Add, &["7"][..]),
                (Delete, &["7"]),
                (Delete, &[]),
                (Replace, &["7"]),
                (Increment, &["1"]),
            ] {
                for name in ["uidNumber", "employeeNumber", "l"] {
                    if kind == Increment && name != "uidNumber" {
                        continue;
                    }
                    let mut entry = Entry::new(Dn::parse("cn=7,dc=test").unwrap());
                    let held: Vec<Value> = held.iter().map(|value| value.as_bytes().to_vec()).collect();
                    if !held.is_empty() {
                        entry.attributes.push(Attribute::new(name, held));
                    }
                    modify(rules, &mut entry, vec![change(kind, name, values)]).unwrap();
                    let count = entry.attribute(name).map_or(0, |attribute| attribute.values.len());
                    assert!(count <= 1 || !schema.attribute(schema.find_attribute(name).unwrap()).single_value);
                }
            }
        }
    }

    /// What a syntax takes and preparation does not (RFC 4518 section 2.4) is its own equal: other directories are full of U+FFFD.
    #[test]
    fn values_that_cannot_be_prepared_come_and_go_as_others_do() {
        use ModificationKind::{Add, Delete, Replace};
        let schema = Schema::builtin().unwrap();
        let mut entry = Entry::new(Dn::parse("cn=7,dc=test").unwrap());
        let mut change = |kind, values: &[&str]| {
            let mut changed = entry.clone();
            let outcome = modify(
                plainly(&schema),
                &mut changed,
                vec![change(kind, "description", values)],
            );
            if outcome.is_ok() {
                entry = changed;
            }
            let held = entry.attribute("description").map_or(0, |it| it.values.len());
            (outcome.err().map(|outcome| outcome.code), held)
        };
        let odd = "Jos\u{fffd}";
        assert_eq!(change(Replace, &[odd, "b"]), (None, 2));
        assert_eq!(change(Add, &[odd]), (Some(ResultCode::AttributeOrValueExists), 2));
        assert_eq!(change(Delete, &["jos\u{fffd}"]), (Some(ResultCode::NoSuchAttribute), 2));
        assert_eq!(change(Delete, &[odd]), (None, 1));
        assert_eq!(change(Add, &[odd, "\u{e000}"]), (None, 3));
    }

    /// RFC 4525 section 3: only integers are incremented, whatever a value looks like and whether it is there.
    #[test]
    fn only_an_integer_attribute_is_incremented() {
        let schema = Schema::builtin().unwrap();
        for (name, delta, expected) in [
            ("uidNumber", "1", Ok("8")),
            ("uidNumber", "-9", Ok("-2")),
            ("cn", "1", Err(ResultCode::ConstraintViolation)),
            ("sn", "1", Err(ResultCode::ConstraintViolation)),
            ("gidNumber", "1", Err(ResultCode::NoSuchAttribute)),
        ] {
            let mut entry = Entry::new(Dn::parse("cn=7,dc=test").unwrap());
            for held in ["uidNumber", "cn"] {
                entry.attributes.push(Attribute::new(held, vec![b"7".to_vec()]));
            }
            let change = Modification {
                kind: ModificationKind::Increment,
                description: AttributeDescription::parse(name).unwrap(),
                values: vec![delta.into()],
            };
            let outcome = modify(plainly(&schema), &mut entry, vec![change]).map_err(|outcome| outcome.code);
            let outcome =
                outcome.map(|()| String::from_utf8(entry.attribute(name).unwrap().values[0].clone()).unwrap());
            assert_eq!(outcome, expected.map(str::to_owned), "{name} {delta}");
        }
    }

    #[test]
    fn what_is_replaced_comes_last() {
        let schema = Schema::builtin().unwrap();
        let mut entry = Entry {
            dn: Dn::parse("cn=a").unwrap(),
            attributes: Vec::new(),
        };
        for (name, value) in [
            ("objectClass", "person"),
            ("sn", "b"),
            ("cn", "a"),
            ("description", "c"),
        ] {
            entry
                .attributes
                .push(Attribute::new(name, vec![value.as_bytes().to_vec()]));
        }
        let changes = vec![
            change(ModificationKind::Replace, "sn", &["d"]),
            change(ModificationKind::Add, "cn", &["e"]),
        ];
        modify(plainly(&schema), &mut entry, changes).unwrap();
        let names: Vec<_> = entry.attributes.iter().map(|it| it.description.to_string()).collect();
        assert_eq!(names, ["objectClass", "cn", "description", "sn"]);
    }
}
