//! A schema that takes the place of another while entries stored under that one are served.
//!
//! Invariants: what the earlier schema defines keeps its number, so what is stored by number stays right; whatever was a sound
//! entry stays one; whatever value was normal stays so.

use super::source::Place;
use super::{AttributeId, AttributeType, ContentRule, ObjectClass, Schema, SchemaFault, definitions, resolve};

/// Where each definition stands, by number.
pub(super) struct Places {
    pub(super) attributes: Vec<Place>,
    pub(super) classes: Vec<Place>,
}

/// What to do about a change that cannot be taken over.
const ADVICE: &str = "while the server runs a schema can only grow; take the change back, or stop the server, see that the data fits, and \
                      start it again";

impl Schema {
    /// The schema that the built-in files and these make, where it can take the place of this one at once: it adds attribute
    /// types, object classes, names, optional attributes and explanations, and takes nothing away.
    ///
    /// # Errors
    /// Every fault of every file, or every definition that is not what it was, with its place.
    pub fn successor(&self, extensions: &[(String, String)]) -> Result<Schema, Vec<SchemaFault>> {
        let next = resolve::resolve(definitions(extensions, self.without_nhs), Some(self))?;
        let mut faults = Vec::new();
        for before in &self.attributes {
            self.compare_attribute(before, &next, &mut faults);
        }
        // Where a type is gone the numbers of others are not what they were.
        let comparable = self
            .attributes
            .iter()
            .all(|it| next.find_attribute(&it.oid) == Some(it.id));
        for before in &self.classes {
            self.compare_class(before, &next, comparable, &mut faults);
        }
        if faults.is_empty() {
            self.compare_content_rules(&next, &mut faults);
        }
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    /// Whether both say the same, in whatever order.
    pub fn says_the_same(&self, other: &Schema) -> bool {
        self.sorted_definitions() == other.sorted_definitions()
    }

    fn compare_attribute(&self, before: &AttributeType, next: &Schema, faults: &mut Vec<SchemaFault>) {
        let Some(found) = next.find_attribute(&before.oid) else {
            let place = &self.places.attributes[usize::from(before.id.0)];
            return faults.push(gone(place, "attribute type", before.name()));
        };
        if let Some(what) = changed_attribute(before, next.attribute(found)) {
            let place = &next.places.attributes[usize::from(found.0)];
            faults.push(changed(place, "attribute type", before.name(), what));
        }
    }

    fn compare_class(&self, before: &ObjectClass, next: &Schema, comparable: bool, faults: &mut Vec<SchemaFault>) {
        let Some(found) = next.find_class(&before.oid) else {
            let place = &self.places.classes[usize::from(before.id.0)];
            return faults.push(gone(place, "object class", before.name()));
        };
        if !comparable || found != before.id {
            return;
        }
        let what = changed_class(before, next.class(found)).or_else(|| {
            let same = self.implied_classes(before.id) == next.implied_classes(found);
            (!same).then_some("is under other superclasses, as a new structural class is not below top")
        });
        if let Some(what) = what {
            let place = &next.places.classes[usize::from(found.0)];
            faults.push(changed(place, "object class", before.name(), what));
        }
    }

    fn compare_content_rules(&self, next: &Schema, faults: &mut Vec<SchemaFault>) {
        let is_known = |rule: &&ContentRule| usize::from(rule.class.0) < self.classes.len();
        for rule in next.content_rules.iter().filter(is_known) {
            let before = self.content_rules.iter().find(|before| before.class == rule.class);
            if !before.is_some_and(|before| same_rule(before, rule)) {
                let what = "has another content rule, which entries already there may break";
                let name = next.class(rule.class).name();
                faults.push(changed(&rule.place, "object class", name, what));
            }
        }
        for before in &self.content_rules {
            if !next.content_rules.iter().any(|rule| rule.class == before.class) {
                faults.push(gone(
                    &before.place,
                    "the content rule of",
                    self.class(before.class).name(),
                ));
            }
        }
    }
}

fn gone(place: &Place, kind: &str, name: &str) -> SchemaFault {
    place.fault(format!("{kind} {name} is no longer in the schema files: {ADVICE}"))
}

fn changed(place: &Place, kind: &str, name: &str, what: &str) -> SchemaFault {
    place.fault(format!("{kind} {name} {what}: {ADVICE}"))
}

/// What of an attribute type is not as it was; `None` where what is new harms nothing.
fn changed_attribute(before: &AttributeType, now: &AttributeType) -> Option<&'static str> {
    let differences = [
        (
            lost_a_name(&before.names, &now.names),
            "lost a name or has another first one",
        ),
        (before.superior != now.superior, "has another SUP"),
        (before.syntax != now.syntax, "has another SYNTAX"),
        (before.equality != now.equality, "has another EQUALITY rule"),
        (before.ordering != now.ordering, "has another ORDERING rule"),
        (before.substrings != now.substrings, "has another SUBSTR rule"),
        (now.single_value && !before.single_value, "became SINGLE-VALUE"),
        (
            before.collective != now.collective,
            "is COLLECTIVE where it was not, or no longer",
        ),
        (
            before.no_user_modification != now.no_user_modification,
            "is NO-USER-MODIFICATION where it was not, or no longer",
        ),
        (before.usage != now.usage, "has another USAGE"),
    ];
    differences
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
}

fn changed_class(before: &ObjectClass, now: &ObjectClass) -> Option<&'static str> {
    let is_in = |list: &[AttributeId], id: &AttributeId| list.binary_search(id).is_ok();
    let mut allowed = before.must.iter().chain(&before.may);
    let differences = [
        (
            lost_a_name(&before.names, &now.names),
            "lost a name or has another first one",
        ),
        (before.kind != now.kind, "is of another kind"),
        (before.superiors != now.superiors, "has another SUP"),
        (
            !now.must.iter().all(|id| is_in(&before.must, id)),
            "requires an attribute that it did not (MUST)",
        ),
        (
            !allowed.all(|id| is_in(&now.must, id) || is_in(&now.may, id)),
            "no longer allows an attribute",
        ),
    ];
    differences
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
}

/// The first name is what values and names compare by.
fn lost_a_name(before: &[String], now: &[String]) -> bool {
    let first = |names: &[String]| names.first().map(|name| name.to_ascii_lowercase());
    let is_kept = |name: &String| now.iter().any(|known| known.eq_ignore_ascii_case(name));
    first(before) != first(now) || !before.iter().all(is_kept)
}

fn same_rule(before: &ContentRule, now: &ContentRule) -> bool {
    fn same<T: Ord + Copy>(left: &[T], right: &[T]) -> bool {
        let sorted = |list: &[T]| {
            let mut list = list.to_vec();
            list.sort();
            list.dedup();
            list
        };
        sorted(left) == sorted(right)
    }
    same(&before.auxiliary, &now.auxiliary)
        && same(&before.must, &now.must)
        && same(&before.may, &now.may)
        && same(&before.not, &now.not)
}
