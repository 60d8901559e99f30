//! Whether an entry may be written (RFC 4512 sections 2.3 to 2.5).

use std::borrow::Cow;

use super::{
    AttributeId, ClassId, ClassKind, ContentRule, InvalidValue, MAX_NESTED_NAMES, Schema, SchemaViolation, Syntax,
    syntax,
};
use crate::model::{Attribute, AttributeDescription, Ava, Entry, Rdn, Value};
use smallvec::SmallVec;

/// RFC 4512 section 2.4.1.
const TOP: &str = "2.5.6.0";

/// An attribute of an entry that is to be written.
#[derive(Clone, Copy)]
pub enum Written<'e> {
    Given(&'e Attribute),
    /// It stays as it is stored: under the type's first name, without options, with values. Neither object classes nor a type that names
    /// the entry.
    Stored(AttributeId),
}

/// The attributes of one entry whose types are defined, in the order given; nothing for one that stays as it is.
type Known<'e> = Vec<(AttributeId, Option<&'e Attribute>)>;

impl Schema {
    /// Checks one whole entry for a write: types defined, values of their syntax, no duplicates, single
    /// values, object class rules (RFC 4512 sections 2.4, 4.1.1: structural chain, must, may), naming attributes.
    /// Superclasses that are only implied are accepted. Operational attributes are allowed here;
    /// whether a client may set them is for the caller.
    ///
    /// # Errors
    /// Every violation found.
    pub fn check_entry(&self, entry: &Entry) -> Result<(), Vec<SchemaViolation>> {
        let attributes = entry.attributes.iter().map(Written::Given);
        self.check_changed(entry.dn.rdn(), attributes, &|_| true)
    }

    /// As [`Schema::check_entry`], for an entry of which the values of some types only are new: those of others were checked when
    /// they came.
    ///
    /// # Errors
    /// Every violation found.
    pub fn check_changed<'e>(
        &self,
        rdn: Option<&Rdn>,
        attributes: impl Iterator<Item = Written<'e>>,
        is_new: &dyn Fn(AttributeId) -> bool,
    ) -> Result<(), Vec<SchemaViolation>> {
        let mut violations = Vec::new();
        let known = self.known_attributes(attributes, &mut violations);
        for (at, (id, attribute)) in known.iter().enumerate().filter(|(_, (id, _))| is_new(*id)) {
            if let Some(attribute) = attribute {
                self.check_values(*id, attribute, &known[..at], &mut violations);
            }
        }
        self.check_classes(&known, &mut violations);
        if let Some(rdn) = rdn {
            self.check_naming(rdn, &known, &mut violations);
        }
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// The class that a value of objectClass names.
    pub fn class_of(&self, value: &[u8]) -> Option<ClassId> {
        self.find_class(std::str::from_utf8(value).ok()?)
    }

    /// The classes that an entry names, as far as they are defined.
    pub fn classes_of(&self, entry: &Entry) -> Vec<ClassId> {
        let object_class = Some(self.well_known.object_class);
        let attributes = entry.attributes.iter();
        let named = attributes.filter(|it| self.find_attribute(&it.description.attribute_type) == object_class);
        let values = named.flat_map(|attribute| &attribute.values);
        values.filter_map(|value| self.class_of(value)).collect()
    }

    /// The most subordinate structural class of an entry's objectClass values, if they make sense.
    pub fn structural_class(&self, classes: &[ClassId]) -> Option<ClassId> {
        self.structural(classes).ok()
    }

    /// The structural class below which no other of the entry's structural classes lies; all lie above it.
    fn structural(&self, classes: &[ClassId]) -> Result<ClassId, String> {
        let mut lowest: Option<ClassId> = None;
        for id in classes
            .iter()
            .copied()
            .filter(|id| self.class(*id).kind == ClassKind::Structural)
        {
            match lowest {
                Some(known) if self.class_chain(known).contains(&id) => {}
                Some(known) if !self.class_chain(id).contains(&known) => {
                    return Err(format!(
                        "structural object classes {} and {} are not in one line",
                        self.class_name(known),
                        self.class_name(id)
                    ));
                }
                _ => lowest = Some(id),
            }
        }
        lowest.ok_or_else(|| "the entry has no structural object class".to_owned())
    }

    fn class_name(&self, id: ClassId) -> &str {
        self.class(id).name()
    }

    fn known_attributes<'e>(
        &self,
        attributes: impl Iterator<Item = Written<'e>>,
        violations: &mut Vec<SchemaViolation>,
    ) -> Known<'e> {
        let mut known = Vec::with_capacity(32);
        for attribute in attributes {
            let attribute = match attribute {
                Written::Given(attribute) => attribute,
                Written::Stored(id) => {
                    known.push((id, None));
                    continue;
                }
            };
            let name = &attribute.description.attribute_type;
            let options_are_words = attribute.description.options.iter().all(|option| is_option(option));
            match self.find_attribute(name) {
                Some(id) if options_are_words => known.push((id, Some(attribute))),
                _ => violations.push(SchemaViolation::UndefinedAttributeType {
                    name: described(attribute).into_owned(),
                }),
            }
        }
        known
    }

    /// `before` are the entry's attributes before this one: one description given twice is one attribute.
    fn check_values(
        &self,
        id: AttributeId,
        attribute: &Attribute,
        before: &[(AttributeId, Option<&Attribute>)],
        violations: &mut Vec<SchemaViolation>,
    ) {
        let definition = self.attribute(id);
        for (index, value) in attribute.values.iter().enumerate() {
            if let Err(invalid) = self.check_value(id, &attribute.description, value) {
                violations.push(SchemaViolation::InvalidSyntax {
                    attribute: described(attribute).into_owned(),
                    index,
                    syntax: invalid.expected.to_owned(),
                    reason: invalid.reason,
                });
            }
        }
        let of_type = before
            .iter()
            .filter(|(other, _)| *other == id)
            .filter_map(|(_, it)| *it);
        let same = of_type.filter(|it| same_options(it, attribute));
        let earlier: Vec<&Vec<u8>> = same.flat_map(|it| &it.values).collect();
        let count = earlier.len() + attribute.values.len();
        if definition.single_value && count > 1 {
            violations.push(SchemaViolation::SingleValue {
                attribute: described(attribute).into_owned(),
                count,
            });
        }
        if count > 1 {
            self.check_duplicates(id, attribute, &earlier, violations);
        }
    }

    /// Whether a value is of the syntax of its attribute, or, under `;binary`, is what RFC 4522 has sent.
    pub fn check_value(
        &self,
        id: AttributeId,
        description: &AttributeDescription,
        value: &[u8],
    ) -> Result<(), InvalidValue> {
        let syntax = self.attribute(id).syntax;
        let mut options = description.options.iter();
        if options.any(|option| option.eq_ignore_ascii_case("binary")) && !syntax.wants_binary_option() {
            return syntax::ber_element(value);
        }
        match syntax.holds_names() {
            true => self.check_name(syntax, value, 0),
            false => syntax.validate(value),
        }
    }

    /// Whether a value is a name whose types are defined and whose values are of their syntax; any other is equal to nothing.
    fn check_name(&self, syntax: Syntax, value: &[u8], nesting: usize) -> Result<(), InvalidValue> {
        let invalid = |reason: String| Err(InvalidValue::new("a distinguished name", reason));
        if nesting == MAX_NESTED_NAMES {
            return invalid(format!("names lie within names more than {MAX_NESTED_NAMES} deep"));
        }
        for rdn in syntax::parse_name(syntax, value)?.rdns() {
            let mut met: SmallVec<[AttributeId; 2]> = SmallVec::new();
            for ava in &rdn.avas {
                let Some(id) = self.find_attribute(&ava.attribute) else {
                    return invalid(format!("attribute type {} is not defined", ava.attribute));
                };
                if met.contains(&id) {
                    return invalid(format!("{} is twice in one relative name", ava.attribute));
                }
                met.push(id);
                let within = self.attribute(id).syntax;
                match within.holds_names() {
                    true => self.check_name(within, &ava.value, nesting + 1)?,
                    false => within.validate(&ava.value)?,
                }
            }
        }
        Ok(())
    }

    /// The first value that equals one before it, by the type's equality rule.
    pub fn repeated_value(&self, id: AttributeId, values: &[Value]) -> Option<usize> {
        if values.len() < 2 {
            return None;
        }
        let mut keys: Vec<(Cow<[u8]>, usize)> = values
            .iter()
            .zip(0usize..)
            .map(|(value, index)| (self.comparable(id, value), index))
            .collect();
        keys.sort();
        let pairs = keys.windows(2).filter_map(|pair| match pair {
            [(left, _), (right, index)] if left == right => Some(*index),
            _ => None,
        });
        pairs.min()
    }

    fn check_duplicates(
        &self,
        id: AttributeId,
        attribute: &Attribute,
        earlier: &[&Vec<u8>],
        violations: &mut Vec<SchemaViolation>,
    ) {
        let values = earlier.iter().copied().chain(&attribute.values);
        let mut keys: Vec<(Cow<[u8]>, usize)> = values
            .zip(0usize..)
            .map(|(value, index)| (self.comparable(id, value), index))
            .collect();
        keys.sort();
        for pair in keys.windows(2) {
            if let [(left, _), (right, index)] = pair
                && left == right
            {
                violations.push(SchemaViolation::DuplicateValue {
                    attribute: described(attribute).into_owned(),
                    index: index.saturating_sub(earlier.len()),
                });
            }
        }
    }

    /// The octets by which a value of a type equals another: its normal form, or, where it has none, itself. A value that its
    /// syntax takes and preparation refuses (RFC 4518 section 2.4) is found by no filter, and can still be deleted.
    pub fn comparable<'v>(&self, id: AttributeId, value: &'v [u8]) -> Cow<'v, [u8]> {
        let mut normal = Vec::with_capacity(value.len());
        let rule = self.attribute(id).equality;
        match rule.map(|rule| rule.normalize(self, value, &mut normal)) {
            Some(Ok(())) => Cow::Owned(normal),
            _ => Cow::Borrowed(value),
        }
    }

    fn check_classes(&self, known: &Known, violations: &mut Vec<SchemaViolation>) {
        let names = known
            .iter()
            .filter(|(id, _)| *id == self.well_known.object_class)
            .filter_map(|(_, attribute)| *attribute)
            .flat_map(|attribute| &attribute.values);
        let mut listed = Vec::new();
        for name in names {
            let text = String::from_utf8_lossy(name);
            match self.find_class(&text) {
                Some(class) => listed.push(class),
                None => violations.push(SchemaViolation::UndefinedObjectClass {
                    name: text.into_owned(),
                }),
            }
        }
        let mut classes: Vec<ClassId> = listed.iter().flat_map(|id| self.class_chain(*id)).copied().collect();
        classes.sort();
        classes.dedup();
        let rule = match self.structural(&listed) {
            Ok(structural) => self.content_rules.iter().find(|rule| rule.class == structural),
            Err(message) => {
                violations.push(SchemaViolation::ObjectClass { message });
                None
            }
        };
        self.check_abstract(&listed, violations);
        self.check_required(&listed, rule, known, violations);
        self.check_allowed(&classes, rule, known, violations);
        if let Some(rule) = rule {
            self.check_auxiliary(&classes, rule, violations);
        }
    }

    /// RFC 4512 section 2.4.1: an entry is of an abstract class by way of another class only. `top` lies above every structural
    /// class (section 2.4.2), whether or not its definition says so.
    fn check_abstract(&self, listed: &[ClassId], violations: &mut Vec<SchemaViolation>) {
        let is_abstract = |id: ClassId| self.class(id).kind == ClassKind::Abstract;
        let stands_alone = |id: ClassId| {
            let mut others = listed.iter().filter(|other| !is_abstract(**other));
            self.class(id).oid != TOP && !others.any(|other| self.class_chain(*other).contains(&id))
        };
        for id in listed
            .iter()
            .copied()
            .filter(|id| is_abstract(*id) && stands_alone(*id))
        {
            violations.push(SchemaViolation::ObjectClass {
                message: format!(
                    "no class of the entry is derived from abstract class {}",
                    self.class_name(id)
                ),
            });
        }
    }

    /// `listed` are the classes the entry names; each requires what its superclasses do.
    fn check_required(
        &self,
        listed: &[ClassId],
        rule: Option<&ContentRule>,
        known: &Known,
        violations: &mut Vec<SchemaViolation>,
    ) {
        let by_class = listed
            .iter()
            .flat_map(|id| self.class(*id).must.iter().map(|must| (*id, *must)));
        let by_rule = rule
            .into_iter()
            .flat_map(|rule| rule.must.iter().map(|must| (rule.class, *must)));
        let mut missing: Vec<AttributeId> = Vec::new();
        for (class, must) in by_class.chain(by_rule) {
            let is_there = known
                .iter()
                .any(|(id, it)| *id == must && it.is_none_or(|it| !it.values.is_empty()));
            if is_there || missing.contains(&must) {
                continue;
            }
            missing.push(must);
            violations.push(SchemaViolation::MissingAttribute {
                class: self.class_name(class).to_owned(),
                attribute: self.attribute(must).name().to_owned(),
            });
        }
    }

    fn check_allowed(
        &self,
        classes: &[ClassId],
        rule: Option<&ContentRule>,
        known: &Known,
        violations: &mut Vec<SchemaViolation>,
    ) {
        let anything = classes.contains(&self.extensible_object);
        let gives = self
            .find_class("collectiveAttributeSubentry")
            .is_some_and(|class| classes.contains(&class));
        for (id, attribute) in known {
            let by_class = || {
                classes.iter().any(|class| {
                    let class = self.class(*class);
                    class.must.binary_search(id).is_ok() || class.may.binary_search(id).is_ok()
                })
            };
            // RFC 3671 section 2.1: collective attributes are those of such subentries, and of nothing else.
            let allowed = if self.attribute(*id).collective {
                gives
            } else {
                anything
                    || self.attribute(*id).is_operational()
                    || by_class()
                    || rule.is_some_and(|rule| rule.must.contains(id) || rule.may.contains(id))
            };
            if !allowed || rule.is_some_and(|rule| rule.not.contains(id)) {
                let name = || Cow::Borrowed(self.attribute(*id).name());
                violations.push(SchemaViolation::AttributeNotAllowed {
                    attribute: attribute.map_or_else(name, described).into_owned(),
                });
            }
        }
    }

    fn check_auxiliary(&self, classes: &[ClassId], rule: &ContentRule, violations: &mut Vec<SchemaViolation>) {
        for id in classes {
            let is_allowed = || {
                rule.auxiliary
                    .iter()
                    .any(|allowed| self.class_chain(*allowed).contains(id))
            };
            if self.class(*id).kind == ClassKind::Auxiliary && !is_allowed() {
                violations.push(SchemaViolation::ObjectClass {
                    message: format!(
                        "the content rule of {} does not allow auxiliary class {}",
                        self.class_name(rule.class),
                        self.class_name(*id)
                    ),
                });
            }
        }
    }

    /// RFC 4512 section 2.3.1: every AVA of the relative name is a value of the entry.
    fn check_naming(&self, rdn: &Rdn, known: &Known, violations: &mut Vec<SchemaViolation>) {
        for ava in &rdn.avas {
            let Some(id) = self.find_attribute(&ava.attribute) else {
                violations.push(SchemaViolation::UndefinedAttributeType {
                    name: ava.attribute.clone(),
                });
                continue;
            };
            if !self.has_value(known, id, ava) {
                violations.push(SchemaViolation::NamingAttribute {
                    attribute: ava.attribute.clone(),
                    value: String::from_utf8_lossy(&ava.value).into_owned(),
                });
            }
        }
    }

    fn has_value(&self, known: &Known, id: AttributeId, ava: &Ava) -> bool {
        let values = || {
            known
                .iter()
                .filter(|(other, _)| *other == id)
                .filter_map(|(_, it)| it.filter(|it| it.description.options.is_empty()))
                .flat_map(|it| &it.values)
        };
        if values().any(|value| *value == ava.value) {
            return true;
        }
        let wanted = self.comparable(id, &ava.value);
        values().any(|value| self.comparable(id, value) == wanted)
    }
}

/// 1*keychar (RFC 4512 section 2.5).
fn is_option(option: &str) -> bool {
    !option.is_empty() && option.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Options compare as a set, without regard to case (RFC 4512 section 2.5.2).
fn same_options(left: &Attribute, right: &Attribute) -> bool {
    let (left, right) = (&left.description.options, &right.description.options);
    left.len() == right.len()
        && left
            .iter()
            .all(|it| right.iter().any(|other| other.eq_ignore_ascii_case(it)))
}

/// The description as spelled, for a message.
fn described(attribute: &Attribute) -> Cow<'_, str> {
    let description = &attribute.description;
    if description.options.is_empty() {
        Cow::Borrowed(&description.attribute_type)
    } else {
        Cow::Owned(format!(
            "{};{}",
            description.attribute_type,
            description.options.join(";")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dn;

    /// What was stored under an earlier schema does not keep another attribute from being changed; what the entry as a whole lacks does.
    #[test]
    fn values_that_are_not_new_are_not_checked_again() {
        let schema = Schema::builtin().unwrap();
        let mail = schema.find_attribute("mail").unwrap();
        let mut entry = Entry::new(Dn::parse("cn=Ann,o=nhs").unwrap());
        for (name, values) in [
            ("objectClass", &["inetOrgPerson"][..]),
            ("cn", &["Ann"]),
            ("sn", &["Lee"]),
            ("mail", &["é@nhs.net"]),
            ("preferredLanguage", &["en", "cy"]),
        ] {
            let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
            entry.attributes.push(Attribute::new(name, values));
        }
        let faults = |entry: &Entry, is_new: &dyn Fn(AttributeId) -> bool| {
            let attributes = entry.attributes.iter().map(Written::Given);
            let checked = schema.check_changed(entry.dn.rdn(), attributes, is_new);
            checked.err().map_or(0, |faults| faults.len())
        };
        assert_eq!(faults(&entry, &|_| true), 2);
        assert_eq!(faults(&entry, &|id| id == mail), 1);
        assert_eq!(faults(&entry, &|_| false), 0);
        // It requires sn and does not allow member.
        entry.attributes[2] = Attribute::new("member", vec![b"o=nhs".to_vec()]);
        assert_eq!(faults(&entry, &|_| false), 2);
    }
}
