//! The modifications of one Modify request on one entry (RFC 4511 section 4.6, RFC 4525), in sequence.

use super::committer::plain;
use super::update::{Modification, ModificationKind};
use crate::model::{Attribute, AttributeDescription, Ava, Entry, Outcome, ResultCode, Value, is_known_option};
use crate::schema::{AttributeId, AttributeType, Schema, Syntax};

/// Applies every modification, or says why the first that cannot be applied cannot. The entry is checked as a whole by the
/// caller. `permissive` passes over a value to add that is there, and one to delete that is not.
pub(super) fn modify(
    schema: &Schema,
    entry: &mut Entry,
    changes: Vec<Modification>,
    permissive: bool,
) -> Result<(), Outcome> {
    let mut before = None;
    for change in changes {
        let id = defined(schema, &change.description)?;
        if id == schema.well_known().object_class && before.is_none() {
            before = Some(structural_class(schema, entry));
        }
        check_settable(schema, id, &change.description)?;
        let target = Target {
            schema,
            id,
            description: &change.description,
            permissive,
        };
        match change.kind {
            ModificationKind::Add => target.add(entry, change.values)?,
            ModificationKind::Delete => target.delete(entry, &change.values)?,
            ModificationKind::Replace => target.replace(entry, change.values)?,
            ModificationKind::Increment => target.increment(entry, &change.values)?,
        }
    }
    // Where nothing is said of classes they stay as they are, named and all.
    let Some(before) = before else { return Ok(()) };
    schema.name_classes(entry);
    match structural_class(schema, entry) {
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
) -> Result<(), Outcome> {
    if schema.attribute(id).no_user_modification {
        let message = format!("{description} is kept by the server");
        return Err(Outcome::new(ResultCode::ConstraintViolation, message));
    }
    Ok(())
}

/// Adds a naming value to an entry that lacks it. What does not normalise is left for the check of the whole entry.
pub(super) fn add_naming_value(schema: &Schema, entry: &mut Entry, ava: &Ava) {
    let Some(id) = schema.find_attribute(&ava.attribute) else {
        return;
    };
    let attribute_type = schema.attribute(id);
    let description = plain(attribute_type.name());
    let target = Target {
        schema,
        id,
        description: &description,
        permissive: false,
    };
    match target.position(entry) {
        Some(at) => {
            let attribute = &mut entry.attributes[at];
            if target.find(&attribute.values, &ava.value).is_none() {
                attribute.values.push(ava.value.clone());
            }
        }
        None => entry.attributes.push(Attribute {
            description,
            values: vec![ava.value.clone()],
        }),
    }
}

/// Takes a naming value out of an entry.
pub(super) fn remove_naming_value(schema: &Schema, entry: &mut Entry, ava: &Ava) {
    let Some(id) = schema.find_attribute(&ava.attribute) else {
        return;
    };
    let description = plain(&ava.attribute);
    let target = Target {
        schema,
        id,
        description: &description,
        permissive: false,
    };
    let Some(at) = target.position(entry) else { return };
    if let Some(found) = target.find(&entry.attributes[at].values, &ava.value) {
        entry.attributes[at].values.remove(found);
        target.remove_if_empty(entry, at);
    }
}

fn structural_class(schema: &Schema, entry: &Entry) -> Option<crate::schema::ClassId> {
    let object_class = schema.well_known().object_class;
    let of_class =
        |attribute: &&Attribute| schema.find_attribute(&attribute.description.attribute_type) == Some(object_class);
    let values = entry
        .attributes
        .iter()
        .filter(of_class)
        .flat_map(|attribute| &attribute.values);
    let classes: Vec<_> = values
        .filter_map(|value| schema.find_class(std::str::from_utf8(value).ok()?))
        .collect();
    schema.structural_class(&classes)
}

/// The attribute that one modification is about.
struct Target<'a> {
    schema: &'a Schema,
    id: AttributeId,
    description: &'a AttributeDescription,
    permissive: bool,
}

impl Target<'_> {
    fn attribute_type(&self) -> &AttributeType {
        self.schema.attribute(self.id)
    }

    /// Where the entry has exactly this description.
    fn position(&self, entry: &Entry) -> Option<usize> {
        let same = |description: &AttributeDescription| {
            same_options(&description.options, &self.description.options)
                && self.schema.find_attribute(&description.attribute_type) == Some(self.id)
        };
        entry
            .attributes
            .iter()
            .position(|attribute| same(&attribute.description))
    }

    fn normalize(&self, value: &[u8]) -> Result<Vec<u8>, Outcome> {
        let Some(rule) = self.attribute_type().equality else {
            return Ok(value.to_vec());
        };
        let mut normalized = Vec::with_capacity(value.len());
        match rule.normalize(self.schema, value, &mut normalized) {
            Ok(()) => Ok(normalized),
            Err(fault) => Err(Outcome::new(
                ResultCode::InvalidAttributeSyntax,
                format!("{}: {fault}", self.description),
            )),
        }
    }

    /// Where a value equal to this one is. A stored value that does not normalise equals nothing.
    fn find(&self, values: &[Value], value: &[u8]) -> Option<usize> {
        let wanted = self.normalize(value).ok()?;
        values
            .iter()
            .position(|value| self.normalize(value).is_ok_and(|normalized| normalized == wanted))
    }

    fn add(&self, entry: &mut Entry, values: Vec<Value>) -> Result<(), Outcome> {
        if values.is_empty() {
            let message = format!("add of {} has no values", self.description);
            return Err(Outcome::new(ResultCode::ProtocolError, message));
        }
        let at = match self.position(entry) {
            Some(at) => {
                self.comparable()?;
                at
            }
            None => {
                let options = self.description.options.clone();
                let description = AttributeDescription {
                    options,
                    ..plain(self.attribute_type().name())
                };
                entry.attributes.push(Attribute {
                    description,
                    values: Vec::new(),
                });
                entry.attributes.len() - 1
            }
        };
        for value in values {
            self.normalize(&value)?;
            if self.find(&entry.attributes[at].values, &value).is_some() {
                if self.permissive {
                    continue;
                }
                let message = format!("{}: value is already there", self.description);
                return Err(Outcome::new(ResultCode::AttributeOrValueExists, message));
            }
            entry.attributes[at].values.push(value);
        }
        Ok(())
    }

    fn delete(&self, entry: &mut Entry, values: &[Value]) -> Result<(), Outcome> {
        let missing = || {
            Outcome::new(
                ResultCode::NoSuchAttribute,
                format!("{}: no such attribute or value", self.description),
            )
        };
        if !values.is_empty() {
            self.comparable()?;
        }
        let Some(at) = self.position(entry) else {
            return if self.permissive { Ok(()) } else { Err(missing()) };
        };
        if values.is_empty() {
            entry.attributes.remove(at);
            return Ok(());
        }
        // The values of one modification are a set.
        let repeats = |at: usize, value| self.find(&values[..at], value).is_some();
        for (_, value) in values.iter().enumerate().filter(|(at, value)| !repeats(*at, value)) {
            match self.find(&entry.attributes[at].values, value) {
                Some(found) => drop(entry.attributes[at].values.remove(found)),
                None if self.permissive => {}
                None => return Err(missing()),
            }
        }
        self.remove_if_empty(entry, at);
        Ok(())
    }

    fn replace(&self, entry: &mut Entry, values: Vec<Value>) -> Result<(), Outcome> {
        if let Some(at) = self.position(entry) {
            entry.attributes.remove(at);
        }
        if values.is_empty() {
            Ok(())
        } else {
            self.add(entry, values)
        }
    }

    /// RFC 4525: adds one integer to every value.
    fn increment(&self, entry: &mut Entry, values: &[Value]) -> Result<(), Outcome> {
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
        let missing = || {
            Outcome::new(
                ResultCode::NoSuchAttribute,
                format!("{}: no such attribute", self.description),
            )
        };
        let at = self.position(entry).ok_or_else(missing)?;
        let delta = self.integer(delta)?;
        for value in &mut entry.attributes[at].values {
            let sum = self.integer(value)?.checked_add(delta);
            let overflow = || {
                Outcome::new(
                    ResultCode::ConstraintViolation,
                    format!("{}: too large", self.description),
                )
            };
            *value = sum.ok_or_else(overflow)?.to_string().into_bytes();
        }
        Ok(())
    }

    fn integer(&self, value: &[u8]) -> Result<i128, Outcome> {
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| {
            Outcome::new(
                ResultCode::ConstraintViolation,
                format!("{}: value is no integer", self.description),
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

    fn remove_if_empty(&self, entry: &mut Entry, at: usize) {
        if entry.attributes[at].values.is_empty() {
            entry.attributes.remove(at);
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
            let outcome = modify(&schema, &mut entry, vec![change], false).map_err(|outcome| outcome.code);
            let outcome =
                outcome.map(|()| String::from_utf8(entry.attribute(name).unwrap().values[0].clone()).unwrap());
            assert_eq!(outcome, expected.map(str::to_owned), "{name} {delta}");
        }
    }
}
