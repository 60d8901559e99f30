//! Collective attributes (RFC 3671): values that a subentry gives to every entry of a subtree.
//!
//! Invariants: a subentry that the view may not see gives nothing; a subentry has no collective attributes but its own.

use crate::access::View;
use crate::model::Dn;
use crate::query::Candidate;
use crate::schema::subtree::SubtreeSpecification;
use crate::schema::{AttributeId, ClassId, NormalizedDn, Schema};
use crate::store::{Record, Snapshot};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Subentries with collective attributes that one directory may have.
const SUBENTRIES_LIMIT: usize = 10_000;

/// Every subentry of one state of the directory that gives collective attributes.
#[derive(Debug, Default)]
pub struct Collective {
    subentries: Vec<Arc<CollectiveSubentry>>,
}

/// One subentry, its specification made absolute.
#[derive(Debug)]
pub struct CollectiveSubentry {
    key: NormalizedDn,
    pub dn: String,
    base: NormalizedDn,
    chop_before: Vec<NormalizedDn>,
    chop_after: Vec<NormalizedDn>,
    specification: SubtreeSpecification,
    /// Attribute types, options, values.
    pub attributes: Vec<(AttributeId, Vec<String>, Vec<Vec<u8>>)>,
}

impl Collective {
    /// Of subentries with these keys. A specification that does not parse is about nothing.
    pub fn new(snapshot: &Snapshot, schema: &Schema, keys: impl Iterator<Item = NormalizedDn>) -> Collective {
        let subentries = keys.take(SUBENTRIES_LIMIT).filter_map(|key| {
            let record = snapshot.record(snapshot.find(&key)?);
            CollectiveSubentry::new(record, key, schema).map(Arc::new)
        });
        Collective {
            subentries: subentries.collect(),
        }
    }

    /// Those that the view may see.
    pub fn seen<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        schema: &'a Schema,
        view: &'a View,
    ) -> impl Iterator<Item = &'a Arc<CollectiveSubentry>> {
        self.subentries.iter().filter(move |subentry| {
            let at = snapshot.find(&subentry.key).filter(|_| view.covers(&subentry.key));
            at.is_some_and(|at| !view.hides(snapshot.record(at), schema))
        })
    }
}

impl CollectiveSubentry {
    fn new(record: Record<'_>, key: NormalizedDn, schema: &Schema) -> Option<CollectiveSubentry> {
        let text = |attribute: &str| {
            let id = schema.find_attribute(attribute)?;
            let mut all = record.attributes();
            let found = all.find(|attribute| attribute.id == id)?;
            found.values().next().and_then(|value| std::str::from_utf8(value).ok())
        };
        let specification = SubtreeSpecification::parse(text("subtreeSpecification")?).ok()?;
        let point = key.parent()?;
        let absolute = |above: &NormalizedDn, dn: &Dn| {
            let mut rdns = dn.rdns().iter().rev();
            rdns.try_fold(above.clone(), |above, rdn| schema.normalize_child(&above, rdn).ok())
        };
        let base = absolute(&point, &specification.base)?;
        let chops = |dns: &[Dn]| dns.iter().map(|dn| absolute(&base, dn)).collect::<Option<Vec<_>>>();
        let attributes = record
            .attributes()
            .filter(|attribute| schema.attribute(attribute.id).collective);
        let attributes = attributes.map(|attribute| {
            let options = attribute.description().split(';').skip(1).map(str::to_ascii_lowercase);
            (
                attribute.id,
                options.collect(),
                attribute.values().map(<[u8]>::to_vec).collect(),
            )
        });
        Some(CollectiveSubentry {
            dn: record.dn().to_owned(),
            chop_before: chops(&specification.chop_before)?,
            chop_after: chops(&specification.chop_after)?,
            attributes: attributes.collect(),
            base,
            specification,
            key,
        })
    }

    /// Whether an entry is in the subtree and no subentry.
    pub fn covers(&self, candidate: Candidate<'_>, schema: &Schema) -> bool {
        let key = candidate.key;
        if !key.starts_with(&self.base.0) {
            return false;
        }
        let below = |above: &NormalizedDn| key.starts_with(&above.0);
        let depth = key.iter().skip(self.base.0.len()).filter(|octet| **octet == 0).count();
        let specification = &self.specification;
        if depth < specification.minimum
            || specification.maximum.is_some_and(|maximum| depth > maximum)
            || self.chop_before.iter().any(below)
            || self.chop_after.iter().any(|above| below(above) && key != above.0)
        {
            return false;
        }
        let classes: Vec<ClassId> = candidate.record.classes(schema).collect();
        let subentry = schema.find_class("subentry");
        let is_subentry = classes.iter().any(|class| Some(*class) == subentry);
        let refined = specification.filter.as_ref();
        !is_subentry && refined.is_none_or(|filter| filter.admits(&classes, schema))
    }
}

/// Whether an entry refuses a collective type (RFC 3671 section 2.2).
pub fn is_excluded(record: Record<'_>, id: AttributeId, schema: &Schema) -> bool {
    let exclusions = schema.well_known().collective_exclusions;
    let mut attributes = record.attributes().filter(|attribute| attribute.id == exclusions);
    attributes.any(|attribute| {
        attribute.values().any(|value| {
            let name = std::str::from_utf8(value).unwrap_or_default();
            let all = name == "2.5.18.0" || name.eq_ignore_ascii_case("excludeAllCollectiveAttributes");
            all || schema.find_attribute(name) == Some(id)
        })
    })
}

/// One is made for a state of the directory, so its address says which it is.
impl PartialEq for CollectiveSubentry {
    fn eq(&self, other: &CollectiveSubentry) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for CollectiveSubentry {}

impl Hash for CollectiveSubentry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}
