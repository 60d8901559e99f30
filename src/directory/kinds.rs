//! Entries with a meaning of their own: referral objects (RFC 3296), aliases (RFC 4512 section 2.6), subentries (RFC 3672).
//!
//! Invariant: a directory without any pays a comparison of two numbers for them; what there is, is looked up once after each
//! change.

use super::Directory;
use crate::model::{Outcome, ResultCode, SearchScope};
use crate::query::{Advance, CandidateLimit, Collective, Cursor, Order, Predicate, Query, Work, class_predicate};
use crate::schema::{ClassId, NormalizedDn, Schema};
use crate::store::{Record, SequenceNumber, Snapshot};
use std::sync::Arc;

/// A kind of entry, told by object classes.
pub(super) struct Kind {
    /// The class that makes an entry one, and those below it.
    classes: Vec<ClassId>,
    /// What stands for them in the index of objectClass.
    values: Vec<Vec<u8>>,
}

/// The kinds this server knows.
pub(super) struct Kinds {
    pub referral: Kind,
    pub alias: Kind,
    pub subentry: Kind,
    collective: Kind,
}

/// Which kinds one state of the directory holds.
pub(super) struct Held {
    sequence: SequenceNumber,
    /// The kinds as the state's schema has them.
    pub kinds: Arc<Kinds>,
    schema: Arc<Schema>,
    pub referrals: bool,
    pub aliases: bool,
    pub subentries: bool,
    /// What subentries give to other entries (RFC 3671).
    pub collective: Option<Collective>,
}

impl Held {
    /// For whoever looks at states to come too.
    pub(super) fn any(&self) -> Held {
        Held {
            sequence: self.sequence,
            kinds: Arc::clone(&self.kinds),
            schema: Arc::clone(&self.schema),
            referrals: true,
            aliases: true,
            subentries: true,
            collective: None,
        }
    }

    fn of(snapshot: &Arc<Snapshot>, kinds: Arc<Kinds>) -> Held {
        let schema = snapshot.schema();
        Held {
            sequence: snapshot.sequence,
            referrals: kinds.referral.is_held(snapshot, schema),
            aliases: kinds.alias.is_held(snapshot, schema),
            subentries: kinds.subentry.is_held(snapshot, schema),
            collective: kinds.collective_in(snapshot, schema),
            schema: Arc::clone(schema),
            kinds,
        }
    }
}

impl Kinds {
    pub(super) fn new(schema: &Schema) -> Kinds {
        Kinds {
            referral: Kind::new(schema, "referral"),
            alias: Kind::new(schema, "alias"),
            subentry: Kind::new(schema, "subentry"),
            collective: Kind::new(schema, "collectiveAttributeSubentry"),
        }
    }

    /// What subentries of a state give to its entries (RFC 3671), where there are any.
    pub(super) fn collective_in(&self, snapshot: &Snapshot, schema: &Schema) -> Option<Collective> {
        self.collective.is_held(snapshot, schema).then(|| {
            let keys = self.collective.keys(snapshot, schema);
            Collective::new(snapshot, schema, keys.into_iter())
        })
    }

    /// Nothing lies below an alias (RFC 4512 section 2.6) or a subentry (RFC 3672 section 2.1).
    pub(super) fn check_superior(&self, record: Record<'_>, schema: &Schema) -> Result<(), Outcome> {
        if self.alias.is(record, schema) {
            return Err(Outcome::new(ResultCode::AliasProblem, "an alias has no subordinates"));
        }
        if self.subentry.is(record, schema) {
            let message = "a subentry has no subordinates";
            return Err(Outcome::new(ResultCode::ObjectClassViolation, message));
        }
        Ok(())
    }
}

impl Kind {
    pub(super) fn new(schema: &Schema, name: &str) -> Kind {
        let top = schema.find_class(name);
        let below = |id: &ClassId| top.is_some_and(|top| *id == top || schema.class_chain(*id).contains(&top));
        let classes: Vec<ClassId> = schema.classes().iter().map(|class| class.id).filter(below).collect();
        let rule = schema.attribute(schema.well_known().object_class).equality;
        let value = |id: &ClassId| {
            let mut value = Vec::new();
            let name = schema.class(*id).names.first()?;
            rule?
                .normalize(schema, name.as_bytes(), &mut value)
                .ok()
                .map(|()| value)
        };
        let values = classes.iter().filter_map(value).collect();
        Kind { classes, values }
    }

    pub(super) fn is(&self, record: Record<'_>, schema: &Schema) -> bool {
        record.classes(schema).any(|class| self.classes.contains(&class))
    }

    /// True of the entries of this kind.
    pub(super) fn predicate(&self, schema: &Schema) -> Predicate {
        class_predicate(schema, &self.values)
    }

    /// The keys of all there are, whoever may see them.
    fn keys(&self, snapshot: &Snapshot, schema: &Schema) -> Vec<NormalizedDn> {
        let query = Query {
            base: NormalizedDn::default(),
            base_at: None,
            scope: SearchScope::WholeSubtree,
            predicate: self.predicate(schema),
            order: Order::Name,
            after: None,
            within: vec![NormalizedDn::default()].into(),
            without: Vec::new().into(),
            candidate_limit: CandidateLimit::default(),
        };
        let mut cursor = Cursor::open(Arc::new(snapshot.clone()), query);
        let mut keys = Vec::new();
        loop {
            match cursor.advance(&mut Work { left: u32::MAX }) {
                Advance::Entry(at) => keys.push(snapshot.key(at)),
                Advance::Paused => {}
                Advance::End | Advance::CandidateLimit => return keys,
            }
        }
    }

    /// Whether there is any, whoever may see it.
    fn is_held(&self, snapshot: &Snapshot, schema: &Schema) -> bool {
        let tail = snapshot.tail.iter();
        tail.map(|entry| snapshot.tail_record(entry))
            .any(|record| self.is(record, schema))
            || snapshot.layers.iter().any(|layer| {
                let held = layer.has_any_value(schema.well_known().object_class, &self.values);
                // Without an index there is no telling.
                held.unwrap_or(true)
            })
    }
}

impl Directory {
    /// Which kinds of entries a snapshot holds.
    pub(super) fn held(&self, snapshot: &Arc<Snapshot>) -> Arc<Held> {
        let before = self.held.load_full();
        if let Some(held) = &before
            && held.sequence == snapshot.sequence
        {
            return Arc::clone(held);
        }
        let schema = snapshot.schema();
        let same = before.filter(|held| Arc::ptr_eq(&held.schema, schema));
        let kinds = match same {
            Some(held) => Arc::clone(&held.kinds),
            None => Arc::new(Kinds::new(schema)),
        };
        let held = Arc::new(Held::of(snapshot, kinds));
        self.held.store(Some(Arc::clone(&held)));
        held
    }
}
