//! ModifyDN (RFC 4511 section 4.9): a new RDN, a new superior, and everything below moves along.

use super::committer::{Author, Context, Effects, parsed_dn};
use super::conditions::{no_such_object, seen};
use super::modify::{add_naming_value, remove_naming_value};
use super::wellformed::checked;
use crate::access::View;
use crate::model::dn::RDNS_LIMIT;
use crate::model::{Dn, Entry, Outcome, Rdn, ResultCode};
use crate::schema::NormalizedDn;
use crate::store::{Change, Operational, Record, Snapshot, record};

/// A ModifyDN as asked.
pub(super) struct Rename {
    pub new_rdn: Rdn,
    pub delete_old_rdn: bool,
    pub new_superior: Option<Dn>,
}

/// The old and the new place of the renamed entry.
struct Move<'a> {
    from: &'a NormalizedDn,
    to: NormalizedDn,
    dn: Dn,
}

pub(super) fn effects(
    context: &Context,
    snapshot: &Snapshot,
    author: &Author<'_>,
    key: &NormalizedDn,
    asked: Rename,
) -> Result<Effects, Outcome> {
    let at = author.find(snapshot, key)?;
    if context.suffixes.contains(key) {
        return Err(Outcome::new(
            ResultCode::UnwillingToPerform,
            "a naming context is not renamed",
        ));
    }
    let old = snapshot.record(at);
    let moved = destination(context, snapshot, (key, old), author.view, &asked)?;
    let mut entry = old.to_entry();
    renamed(context, &mut entry, &moved.dn, &asked)?;
    let before = old.operational();
    let operational = author.changed(&before);
    let mut effects = Effects {
        entry_uuid: Some(before.entry_uuid),
        ..Effects::default()
    };
    below(context, snapshot, author, &moved, &mut effects)?;
    if moved.to != *key {
        effects.changes.push(author.deletes(key.clone(), old));
    }
    let record = record::encode(&entry, &operational, &context.schema);
    effects.changes.push(Change::Put { key: moved.to, record });
    Ok(effects)
}

fn destination<'a>(
    context: &Context,
    snapshot: &Snapshot,
    (key, old): (&'a NormalizedDn, Record<'_>),
    view: &View,
    asked: &Rename,
) -> Result<Move<'a>, Outcome> {
    let schema = &context.schema;
    let (superior, superior_dn) = match &asked.new_superior {
        Some(dn) => {
            let invalid =
                |fault: crate::schema::SchemaViolation| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string());
            let superior = schema.normalize_dn(dn).map_err(invalid)?;
            let at = seen(snapshot, view, &superior).ok_or_else(|| no_such_object(snapshot, view, &superior))?;
            (superior, parsed_dn(snapshot.record(at))?)
        }
        None => {
            let dn = parsed_dn(old)?;
            (key.parent().unwrap_or_default(), dn.parent().unwrap_or_default())
        }
    };
    if superior.is_within(key) {
        let message = "an entry does not move below itself";
        return Err(Outcome::new(ResultCode::UnwillingToPerform, message));
    }
    let to = schema
        .normalize_child(&superior, &asked.new_rdn)
        .map_err(|fault| Outcome::new(ResultCode::InvalidDnSyntax, fault.to_string()))?;
    if to != *key && snapshot.find(&to).is_some() {
        return Err(Outcome::new(ResultCode::EntryAlreadyExists, ""));
    }
    let mut rdn = asked.new_rdn.clone();
    schema.spell_rdn(&mut rdn);
    check_depth(superior_dn.rdns().len() + 1)?;
    Ok(Move {
        from: key,
        to,
        dn: superior_dn.child(rdn),
    })
}

/// The entry itself under its new name.
fn renamed(context: &Context, entry: &mut Entry, dn: &Dn, asked: &Rename) -> Result<(), Outcome> {
    let schema = &context.schema;
    if asked.delete_old_rdn {
        let old = entry.dn.rdn().cloned();
        old.iter()
            .flat_map(|rdn| &rdn.avas)
            .for_each(|ava| remove_naming_value(schema, entry, ava));
    }
    entry.dn = dn.clone();
    for ava in &asked.new_rdn.avas {
        add_naming_value(schema, entry, ava);
    }
    checked(schema.check_entry(entry), ResultCode::NamingViolation)
}

/// The entries below: same attributes, new names.
fn below(
    context: &Context,
    snapshot: &Snapshot,
    author: &Author<'_>,
    moved: &Move<'_>,
    effects: &mut Effects,
) -> Result<(), Outcome> {
    let limit = context.limits.rename_entries;
    let keys = snapshot.subtree(moved.from, limit.saturating_add(1));
    if keys.len() > limit {
        let message = format!("more than {limit} entries would move; raise limits.rename_entries or move parts");
        return Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
    }
    let depth = moved.from.depth();
    let mut octets = 0usize;
    for key in keys.iter().filter(|key| *key != moved.from) {
        let Some(at) = snapshot.find(key) else { continue };
        let record = snapshot.record(at);
        let mut entry = record.to_entry();
        let own = key.depth().saturating_sub(depth);
        check_depth(moved.dn.rdns().len() + own)?;
        let rdns = entry
            .dn
            .rdns()
            .iter()
            .take(own)
            .chain(moved.dn.rdns())
            .cloned()
            .collect();
        entry.dn = Dn::from_rdns(rdns);
        let tail = key.0.get(moved.from.0.len()..).unwrap_or_default();
        let to = NormalizedDn([moved.to.0.as_slice(), tail].concat());
        if to != *key {
            effects.changes.push(author.deletes(key.clone(), record));
        }
        // Who asks for what is newer must find it under its new name; who changed it, and when, stays.
        let operational = Operational {
            changed: author.changed,
            sequence: author.sequence.0,
            ..record.operational()
        };
        let record = record::encode(&entry, &operational, &context.schema);
        octets += key.0.len() + to.0.len() + record.len();
        let limit = context.limits.rename_octets;
        if octets > limit {
            let message =
                format!("more than {limit} bytes of entries would move; raise limits.rename_bytes or move parts");
            return Err(Outcome::new(ResultCode::AdminLimitExceeded, message));
        }
        effects.changes.push(Change::Put { key: to, record });
    }
    Ok(())
}

/// A longer name could be stored, and never again be asked for.
fn check_depth(rdns: usize) -> Result<(), Outcome> {
    if rdns <= RDNS_LIMIT {
        return Ok(());
    }
    let message = format!("expected names of at most {RDNS_LIMIT} RDNs, and one would have {rdns}");
    Err(Outcome::new(ResultCode::AdminLimitExceeded, message))
}
