//! Compare (RFC 4511 section 4.10).

use super::conditions::{Target, no_such_object};
use super::referral::Asked;
use super::trail::AuditPool;
use super::{Directory, ProtocolFacts, Session, clock};
use crate::access::View;
use crate::audit::Act;
use crate::model::{AttributeDescription, Dn, Filter, Outcome, ResultCode, is_known_option};
use crate::query::evaluate::evaluate;
use crate::query::{Groups, Truth, compile, compile_in};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::Record;
use std::borrow::Cow;
use std::time::Instant;

/// What controls ask of a compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard<'a> {
    /// Must be True of the entry first (RFC 4528).
    pub assertion: Option<&'a Filter<'a>>,
    /// A referral object is an entry like others (RFC 3296).
    pub manage_dsa_it: bool,
}

impl Directory {
    /// Whether an entry has a value. An entry or attribute that the session may not see does not exist.
    /// The root DSE (`facts` is what it says of the protocol) and the subschema subentry have theirs too.
    pub fn compare(
        &self,
        session: &Session,
        dn: &str,
        (attribute, value): (&str, &[u8]),
        guard: Guard<'_>,
        facts: &ProtocolFacts,
    ) -> Outcome {
        let started = Instant::now();
        let mut uuid = None;
        let outcome = self
            .compared(session, dn, (attribute, value), guard, facts, &mut uuid)
            .unwrap_or_else(|refused| refused);
        let mut record = AuditPool::take();
        record.begin(Act::Compare, &session.actor, clock::milliseconds());
        record.fact("dn", dn.as_bytes());
        record.fact("attributes", attribute.as_bytes());
        if let Some(uuid) = uuid {
            record.entry(&uuid);
        }
        record.finish(&outcome, started.elapsed());
        self.audit.append(&record);
        AuditPool::give_back(record);
        outcome
    }

    fn compared(
        &self,
        session: &Session,
        dn: &str,
        (attribute, value): (&str, &[u8]),
        guard: Guard<'_>,
        facts: &ProtocolFacts,
        uuid: &mut Option<[u8; 16]>,
    ) -> Result<Outcome, Outcome> {
        let parsed = Dn::parse(dn).map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))?;
        let snapshot = self.readable()?;
        let schema = snapshot.schema();
        let key = schema
            .normalize_dn(&parsed)
            .map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))?;
        let id = asserted(schema, attribute, value)?;
        let in_force = self.in_force();
        if key.is_root() {
            let own = self.root_dse(&in_force.schema, Some(session), facts);
            let own = (own.as_slice(), &*in_force.protocol_view, &*in_force.schema);
            return compared_protocol(own, &key, (attribute, value), guard);
        }
        if key == *self.subschema_key() {
            let own = &in_force.subschema;
            let own = (own.record.as_slice(), &*own.view, &*in_force.schema);
            return compared_protocol(own, &key, (attribute, value), guard);
        }
        let asked = Asked {
            dn: &parsed,
            key: &key,
            scope: None,
            manage: guard.manage_dsa_it,
        };
        self.referral(&snapshot, &session.view, &asked)?;
        let visible = |at| session.view.covers(&key) && !session.view.hides(snapshot.record(at), schema);
        let Some(at) = snapshot.find(&key).filter(|at| visible(*at)) else {
            return Err(no_such_object(&snapshot, &session.view, &key));
        };
        let record = snapshot.record(at);
        *uuid = Some(record.operational().entry_uuid);
        let held = self.held(&snapshot);
        let groups = Groups {
            snapshot: &snapshot,
            schema,
            view: &session.view,
            collective: held.collective.as_ref(),
            kept: Some(&self.kept),
        };
        if let Some(assertion) = guard.assertion {
            Target { groups, key: &key }.check(assertion, record)?;
        }
        if id == schema.well_known().member_of {
            return compare_membership(groups, record, &key, value);
        }
        compare_record(attribute, value, |filter| truth(groups, filter, record, &key))
    }
}

/// Of what is no entry of the directory: a record, through what it is seen, and its schema.
fn compared_protocol(
    (record, view, schema): (&[u8], &View, &Schema),
    key: &NormalizedDn,
    (attribute, value): (&str, &[u8]),
    guard: Guard<'_>,
) -> Result<Outcome, Outcome> {
    let truth = |filter: &Filter<'_>| {
        let predicate = compile(filter, schema, view);
        evaluate(&predicate, Record::new(record, schema.type_numbers()), &key.0, schema)
    };
    if guard.assertion.is_some_and(|assertion| truth(assertion) != Truth::True) {
        return Err(Outcome::new(ResultCode::AssertionFailed, ""));
    }
    compare_record(attribute, value, |filter| Ok(truth(filter)))
}

/// The attribute type of an assertion that can be made at all, of whatever entry.
fn asserted(schema: &Schema, attribute: &str, value: &[u8]) -> Result<AttributeId, Outcome> {
    let undefined = || {
        Outcome::new(
            ResultCode::UndefinedAttributeType,
            format!("attribute type {attribute} is not defined"),
        )
    };
    let description = AttributeDescription::parse(attribute).map_err(|_| undefined())?;
    let id = schema
        .find_attribute(&description.attribute_type)
        .ok_or_else(undefined)?;
    let mut options = description.options.iter();
    if !options.clone().all(|option| is_known_option(option))
        || options.any(|option| option.eq_ignore_ascii_case("binary"))
            && !schema.attribute(id).syntax.wants_binary_option()
    {
        return Err(undefined());
    }
    let Some(rule) = schema.attribute(id).equality else {
        return Err(Outcome::new(
            ResultCode::InappropriateMatching,
            "the attribute has no equality matching rule",
        ));
    };
    if let Err(fault) = rule.normalize(schema, value, &mut Vec::new()) {
        return Err(Outcome::new(ResultCode::InvalidAttributeSyntax, fault.to_string()));
    }
    let known = schema.well_known();
    let of_classes = id == known.object_class || id == known.structural_object_class;
    if of_classes && schema.class_of(value).is_none() {
        let message = "the value names no object class";
        return Err(Outcome::new(ResultCode::InvalidAttributeSyntax, message));
    }
    Ok(id)
}

/// memberOf is in no record: the group decides.
fn compare_membership(
    groups: Groups<'_>,
    record: Record<'_>,
    key: &NormalizedDn,
    value: &[u8],
) -> Result<Outcome, Outcome> {
    let equality = Filter::Equality {
        attribute: Cow::Borrowed("memberOf"),
        value: Cow::Borrowed(value),
    };
    match truth(groups, &equality, record, key)? {
        Truth::True => Ok(Outcome::new(ResultCode::CompareTrue, "")),
        Truth::False => Ok(Outcome::new(ResultCode::CompareFalse, "")),
        Truth::Undefined => Err(Outcome::new(
            ResultCode::NoSuchAttribute,
            "the entry has no such attribute, or the value is no name",
        )),
    }
}

/// `truth` evaluates a filter on the record.
fn compare_record(
    attribute: &str,
    value: &[u8],
    truth: impl Fn(&Filter<'_>) -> Result<Truth, Outcome>,
) -> Result<Outcome, Outcome> {
    let name: Cow<'_, str> = Cow::Borrowed(attribute);
    let present = Filter::Present {
        attribute: name.clone(),
    };
    if truth(&present)? != Truth::True {
        return Err(Outcome::new(
            ResultCode::NoSuchAttribute,
            "the entry has no such attribute",
        ));
    }
    let equality = Filter::Equality {
        attribute: name,
        value: Cow::Borrowed(value),
    };
    let code = match truth(&equality)? {
        Truth::True => ResultCode::CompareTrue,
        Truth::False | Truth::Undefined => ResultCode::CompareFalse,
    };
    Ok(Outcome::new(code, ""))
}

fn truth(groups: Groups<'_>, filter: &Filter<'_>, record: Record<'_>, key: &NormalizedDn) -> Result<Truth, Outcome> {
    let predicate =
        compile_in(filter, groups).map_err(|fault| Outcome::new(ResultCode::AdminLimitExceeded, fault.to_string()))?;
    Ok(evaluate(&predicate, record, &key.0, groups.schema))
}
