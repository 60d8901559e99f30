//! What is wrong with an update by itself, before any entry is looked at: in the order in which OpenLDAP looks, so that a client
//! that is used to it meets the same fault where there are several.

use super::Directory;
use super::committer::plain;
use super::following::is_lock;
use super::modify::{add_naming_value, check_count, check_settable, defined};
use super::secret::is_secret;
use super::update::{ModificationKind, Update, violation};
use crate::model::{AttributeDescription, Dn, Entry, Outcome, Rdn, ResultCode, Value};
use crate::schema::{AttributeId, NormalizedDn, Schema, SchemaViolation, Syntax};

impl Directory {
    /// Whether the server holds what the update is about: no secret, as the root DSE names the naming contexts.
    pub(super) fn check_place(&self, key: &NormalizedDn, update: &Update) -> Result<(), Outcome> {
        let refused = |message: &str| Err(Outcome::new(ResultCode::UnwillingToPerform, message));
        match update {
            Update::Add(_) if key.is_root() => {
                return Err(Outcome::new(ResultCode::EntryAlreadyExists, "the root DSE is there"));
            }
            _ if key.is_root() => return refused("the root DSE is kept by the server"),
            _ if *key == self.subschema_key => return refused("the subschema subentry is kept by the server"),
            _ => {}
        }
        let Some(context) = self.context_of(key) else {
            return refused("the entry lies below no naming context of this server");
        };
        if let Update::ModifyDn {
            new_rdn, new_superior, ..
        } = update
        {
            let to = new_key(&self.schema(), key, new_rdn, new_superior.as_ref())?;
            if self.context_of(&to) != Some(context) {
                let message = "an entry is not moved from one naming context to another";
                return Err(Outcome::new(ResultCode::AffectsMultipleDsas, message));
            }
            if to.parent().is_some_and(|superior| superior.is_within(key)) {
                return refused("an entry is not moved below itself");
            }
            if key == context {
                return Err(Outcome::new(
                    ResultCode::NamingViolation,
                    "a naming context is not renamed",
                ));
            }
        }
        Ok(())
    }

    /// The naming context that a name lies in: the longest, where one lies in another.
    fn context_of(&self, key: &NormalizedDn) -> Option<&NormalizedDn> {
        let contexts = self.suffixes.iter().map(|(_, context)| context);
        let around = contexts.filter(|context| key.is_within(context));
        around.max_by_key(|context| context.0.len())
    }
}

/// The key under which a renamed entry will be.
pub(super) fn new_key(
    schema: &Schema,
    key: &NormalizedDn,
    new_rdn: &Rdn,
    new_superior: Option<&Dn>,
) -> Result<NormalizedDn, Outcome> {
    let invalid = |fault: crate::schema::SchemaViolation| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string());
    let superior = match new_superior {
        Some(dn) => schema.normalize_dn(dn).map_err(invalid)?,
        None => key.parent().unwrap_or_default(),
    };
    schema.normalize_child(&superior, new_rdn).map_err(invalid)
}

/// Which rules do not hold because they are relaxed.
#[derive(Clone, Copy)]
pub(super) struct Lifted<'a> {
    /// Types that only this update may set.
    pub types: &'a [AttributeId],
    /// That nothing obsolete is added.
    pub obsolete: bool,
}

/// Checks types and values; completes an entry to add by its naming values.
pub(super) fn check_contents(schema: &Schema, update: &mut Update, lifted: Lifted<'_>) -> Result<(), Outcome> {
    match update {
        Update::Add(entry) => check_new_entry(schema, entry, lifted),
        Update::Delete { .. } => Ok(()),
        Update::Modify { changes, .. } => {
            let mut changed = Vec::with_capacity(changes.len());
            for change in changes.iter_mut() {
                let adds = match change.kind {
                    ModificationKind::Add | ModificationKind::Replace => true,
                    ModificationKind::Delete | ModificationKind::Increment => false,
                };
                schema.spell_description(&mut change.description);
                let id = check_attribute(schema, &change.description, &change.values, (adds, lifted))?;
                if change.kind == ModificationKind::Increment && schema.attribute(id).syntax != Syntax::Integer {
                    let message = format!("{} does not hold integers", change.description);
                    return Err(Outcome::new(ResultCode::ConstraintViolation, message));
                }
                schema.spell_values(id, &mut change.values);
                changed.push((id, &change.description));
            }
            // They stand for the state of an account: of other entries they are refused later.
            let mut kept = changed.iter().filter(|(_, description)| !is_lock(description));
            kept.try_for_each(|(id, description)| check_settable(schema, *id, description, lifted.types))
        }
        Update::ModifyDn { new_rdn, .. } => {
            check_naming_values(schema, new_rdn)?;
            check_naming_types(schema, new_rdn)
        }
    }
}

fn check_new_entry(schema: &Schema, entry: &mut Entry, lifted: Lifted<'_>) -> Result<(), Outcome> {
    check_count(entry.attributes.len())?;
    let mut met: Vec<(AttributeId, &[String])> = Vec::with_capacity(entry.attributes.len());
    let naming = entry.dn.rdn().cloned();
    naming.iter().try_for_each(|rdn| check_naming_values(schema, rdn))?;
    let descriptions = entry.attributes.iter_mut().map(|attribute| &mut attribute.description);
    descriptions.for_each(|description| schema.spell_description(description));
    for attribute in &entry.attributes {
        let description = &attribute.description;
        let id = check_attribute(schema, description, &attribute.values, (true, lifted))?;
        if attribute.values.is_empty() {
            let message = format!("{description} has no values");
            return Err(Outcome::new(ResultCode::ProtocolError, message));
        }
        let again = |(other, options): &(AttributeId, &[String])| {
            *other == id && super::modify::same_options(options, &description.options)
        };
        if met.iter().any(again) {
            let message = format!("{description} is there twice");
            return Err(Outcome::new(ResultCode::AttributeOrValueExists, message));
        }
        met.push((id, &description.options));
    }
    // The state of an account may come with its secret.
    let has_secret = entry
        .attributes
        .iter()
        .any(|attribute| is_secret(&attribute.description));
    let kept = |description: &AttributeDescription| !(has_secret && is_lock(description));
    let mut each = met.iter().zip(&entry.attributes);
    each.try_for_each(|((id, _), attribute)| match kept(&attribute.description) {
        true => check_settable(schema, *id, &attribute.description, lifted.types),
        false => Ok(()),
    })?;
    naming.iter().try_for_each(|rdn| check_naming_types(schema, rdn))?;
    complete_naming(schema, entry);
    schema.spell_entry(entry);
    Ok(())
}

/// The values in an entry's name are the entry's (RFC 4511 section 4.7).
pub fn complete_naming(schema: &Schema, entry: &mut Entry) {
    let naming = entry.dn.rdn().cloned();
    naming
        .iter()
        .flat_map(|rdn| &rdn.avas)
        .for_each(|ava| add_naming_value(schema, entry, ava));
}

/// One attribute of a request. `adds`: the values are to be the attribute's, not looked for in it.
fn check_attribute(
    schema: &Schema,
    description: &AttributeDescription,
    values: &[Value],
    (adds, lifted): (bool, Lifted<'_>),
) -> Result<AttributeId, Outcome> {
    let id = defined(schema, description)?;
    let attribute_type = schema.attribute(id);
    if adds && attribute_type.obsolete && !lifted.obsolete {
        let message = format!("{description} is obsolete");
        return Err(Outcome::new(ResultCode::ConstraintViolation, message));
    }
    for (index, value) in values.iter().enumerate() {
        if let Err(fault) = schema.check_value(id, description, value) {
            let message = format!(
                "{description}: value {index} is no {}: {}",
                fault.expected, fault.reason
            );
            return Err(Outcome::new(ResultCode::InvalidAttributeSyntax, message));
        }
    }
    let known = schema.well_known();
    if id == known.structural_object_class || (adds && id == known.object_class) {
        values.iter().try_for_each(|value| check_class(schema, value, lifted))?;
    }
    if adds && attribute_type.single_value && values.len() > 1 {
        let message = format!("{description} is single-valued and has {} values", values.len());
        return Err(Outcome::new(ResultCode::ConstraintViolation, message));
    }
    if adds && let Some(index) = schema.repeated_value(id, values) {
        let message = format!("{description}: value {index} is there twice");
        return Err(Outcome::new(ResultCode::AttributeOrValueExists, message));
    }
    Ok(id)
}

fn check_class(schema: &Schema, value: &[u8], lifted: Lifted<'_>) -> Result<(), Outcome> {
    let name = String::from_utf8_lossy(value);
    match schema.find_class(&name).map(|class| schema.class(class).obsolete) {
        Some(true) if !lifted.obsolete => {
            let message = format!("object class {name} is obsolete");
            Err(Outcome::new(ResultCode::ObjectClassViolation, message))
        }
        Some(_) => Ok(()),
        None => {
            let message = format!("object class {name} is not defined");
            Err(Outcome::new(ResultCode::InvalidAttributeSyntax, message))
        }
    }
}

/// What is not of its type's syntax is in no name (RFC 4512 section 2.3.1: the values are the entry's).
fn check_naming_values(schema: &Schema, rdn: &Rdn) -> Result<(), Outcome> {
    for ava in &rdn.avas {
        let Some(id) = schema.find_attribute(&ava.attribute) else {
            continue;
        };
        if let Err(fault) = schema.check_value(id, &plain(&ava.attribute), &ava.value) {
            let message = format!(
                "the value of {} in the name is no {}: {}",
                ava.attribute, fault.expected, fault.reason
            );
            return Err(Outcome::new(ResultCode::InvalidDnSyntax, message));
        }
    }
    Ok(())
}

/// A name is made of attributes that clients may set and that can be compared.
fn check_naming_types(schema: &Schema, rdn: &Rdn) -> Result<(), Outcome> {
    for ava in &rdn.avas {
        let Some(attribute) = schema.find_attribute(&ava.attribute).map(|id| schema.attribute(id)) else {
            continue;
        };
        let fault = if attribute.equality.is_none() {
            "has no equality matching rule"
        } else if attribute.is_operational() {
            "is kept by the server"
        } else {
            continue;
        };
        let message = format!("naming attribute {} {fault}", ava.attribute);
        return Err(Outcome::new(ResultCode::NamingViolation, message));
    }
    Ok(())
}

/// What the check of a whole entry came to. The secret of an application account is kept apart from its entry, so a class that
/// requires `userPassword` is content without.
pub(super) fn checked(checked: Result<(), Vec<SchemaViolation>>, naming: ResultCode) -> Result<(), Outcome> {
    let kept_apart = |fault: &SchemaViolation| matches!(fault, SchemaViolation::MissingAttribute { attribute, .. } if attribute == "userPassword");
    first(&checked.err().unwrap_or_default(), naming, |fault| !kept_apart(fault))
}

/// The fault to answer: what is said of the name comes before what the classes of the entry say.
pub(super) fn first(
    faults: &[SchemaViolation],
    naming: ResultCode,
    counts: impl Fn(&SchemaViolation) -> bool,
) -> Result<(), Outcome> {
    let of_classes = |fault: &SchemaViolation| {
        matches!(
            fault,
            SchemaViolation::MissingAttribute { .. } | SchemaViolation::AttributeNotAllowed { .. }
        )
    };
    let counting = faults.iter().filter(|fault| counts(fault));
    match counting.min_by_key(|fault| of_classes(fault)) {
        Some(fault) => Err(violation(fault, naming)),
        None => Ok(()),
    }
}
