//! An entry while it is changed. Of a stored one only those attributes are taken apart that a change has to do with: the others stay as
//! they are encoded, and to decode them and encode them again was most of what a modify of one attribute cost.
//!
//! Invariant: what stays encoded is what [`encode`](super::encode) would make of it again.

use super::{Record, RecordAttribute, is_kept_apart};
use crate::model::{Attribute, Dn, Entry};
use crate::schema::{AttributeId, Schema, Written};

/// An entry in the making.
pub struct Revision<'r> {
    /// The attributes that were taken apart, in their order; what is new comes behind them. One without values is not there any more.
    /// Where others stay encoded, the name is the RDN alone.
    pub entry: Entry,
    /// In the order of the record; nothing where everything was taken apart.
    places: Vec<Place<'r>>,
}

#[derive(Clone, Copy)]
enum Place<'r> {
    Encoded(RecordAttribute<'r>),
    /// The next of the attributes that were taken apart.
    Apart,
}

/// An attribute of an entry that is put together.
#[derive(Clone, Copy)]
pub enum Part<'p> {
    /// As it was stored: without options.
    Encoded(RecordAttribute<'p>),
    Given(&'p Attribute),
}

impl<'r> Revision<'r> {
    /// Of an entry as given.
    pub fn given(entry: Entry) -> Revision<'r> {
        Revision {
            entry,
            places: Vec::new(),
        }
    }

    /// Of a stored entry. Taken apart are the attributes of types that are wanted, object classes, and those that name the entry.
    pub fn of(record: Record<'r>, schema: &Schema, wanted: &dyn Fn(AttributeId) -> bool) -> Revision<'r> {
        let mut entry = Entry::new(own_name(record.dn()));
        let avas = entry.dn.rdn().into_iter().flat_map(|rdn| &rdn.avas);
        let naming: smallvec::SmallVec<[Option<AttributeId>; 2]> =
            avas.map(|ava| schema.find_attribute(&ava.attribute)).collect();
        let object_class = schema.well_known().object_class;
        let parts = record.parts().unwrap_or_default();
        let mut places = Vec::with_capacity(parts.len() as usize);
        for attribute in parts.attributes() {
            let id = attribute.id;
            let apart = id == object_class || naming.contains(&Some(id)) || wanted(id);
            if apart || !stays(&attribute, schema) {
                places.push(Place::Apart);
                entry.attributes.push(attribute.to_attribute());
            } else {
                places.push(Place::Encoded(attribute));
            }
        }
        Revision { entry, places }
    }

    /// The attributes that are there, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let apart = self.places.len() - self.encoded();
        let (apart, behind) = self.entry.attributes.split_at(apart.min(self.entry.attributes.len()));
        let mut apart = apart.iter();
        let stored = self.places.iter().filter_map(move |place| match place {
            Place::Encoded(attribute) => Some(Part::Encoded(*attribute)),
            Place::Apart => apart.next().map(Part::Given),
        });
        let parts = stored.chain(behind.iter().map(Part::Given));
        parts.filter(|part| !matches!(part, Part::Given(attribute) if attribute.values.is_empty()))
    }

    /// The same as the schema checks them.
    pub fn written(&self) -> impl Iterator<Item = Written<'_>> {
        self.parts().map(|part| match part {
            Part::Encoded(attribute) => Written::Stored(attribute.id),
            Part::Given(attribute) => Written::Given(attribute),
        })
    }

    /// How many attributes are there.
    pub fn len(&self) -> usize {
        let given = self.entry.attributes.iter();
        given.filter(|attribute| !attribute.values.is_empty()).count() + self.encoded()
    }

    /// Whether it has no attribute.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes attributes without values out, where no others are between them.
    pub fn forget_empty(&mut self) {
        if self.places.is_empty() {
            self.entry.attributes.retain(|attribute| !attribute.values.is_empty());
        }
    }

    fn encoded(&self) -> usize {
        let places = self.places.iter();
        places.filter(|place| matches!(place, Place::Encoded(_))).count()
    }
}

/// Whether the octets of an attribute are what it would be encoded as by this schema.
fn stays(attribute: &RecordAttribute<'_>, schema: &Schema) -> bool {
    let definition = schema.attribute(attribute.id);
    let operational = definition.is_operational();
    let spelled = attribute
        .parts()
        .is_some_and(|(description, values)| description == definition.name().as_bytes() && !values.is_empty());
    let kept = operational && is_kept_apart(schema, attribute.id);
    spelled && !attribute.has_options && attribute.operational == operational && !kept
}

/// The RDN of a stored name; the whole name where a comma may be part of a value.
fn own_name(dn: &str) -> Dn {
    let (rdn, _) = dn.split_once(',').unwrap_or((dn, ""));
    let plain = !rdn.ends_with(' ') && !rdn.bytes().any(|octet| b"\\\";".contains(&octet));
    Dn::parse(if plain { rdn } else { dn }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Operational, encode, encode_parts};
    use super::*;
    use crate::index::testing::Rng;
    use crate::model::AttributeDescription;

    const DESCRIPTIONS: [&str; 12] = [
        "objectClass",
        "cn",
        "sn",
        "sn;lang-en",
        "telephoneNumber",
        "mail",
        "description",
        "description;lang-cy;x-a",
        "uid",
        "member",
        "jpegPhoto",
        "administrativeRole",
    ];

    fn values(rng: &mut Rng, description: &str) -> Vec<Vec<u8>> {
        let count = 1 + rng.below(3);
        let value = |_| match description {
            "objectClass" => ["person", "inetOrgPerson", "device", "nonsense"][rng.below(4)].into(),
            "jpegPhoto" => vec![7; rng.below(40_000)],
            "administrativeRole" => b"autonomousArea".to_vec(),
            _ => format!("value {}", rng.below(5)).into_bytes(),
        };
        (0..count).map(value).collect()
    }

    fn random_entry(rng: &mut Rng) -> Entry {
        let names = [
            "cn=value 1,o=nhs",
            "cn=a\\,b,o=nhs",
            "sn=value 2+uid=value 3,ou=a,o=nhs",
            "mail=#0401ff,o=nhs",
            "o=nhs",
            "cn=ends in a space\\ ,o=nhs",
        ];
        let mut entry = Entry::new(Dn::parse(names[rng.below(names.len())]).unwrap());
        for _ in 0..rng.below(16) {
            let description = DESCRIPTIONS[rng.below(DESCRIPTIONS.len())];
            let description = AttributeDescription::parse(description).unwrap();
            let of = entry.find_or_insert(&description);
            if of.values.is_empty() {
                of.values = values(rng, &description.to_string());
            }
        }
        entry
    }

    /// Changes an attribute where it stands, or puts it behind the others, or takes it away.
    fn change(entry: &mut Entry, description: &AttributeDescription, how: usize, values: &[Vec<u8>]) {
        let mut attributes = entry.attributes.iter_mut();
        let found = attributes.find(|attribute| attribute.description.same_as(description));
        let values = values.to_vec();
        match (found, how) {
            (Some(found), 0) => found.values = values,
            (Some(found), 1) => found.values.clear(),
            (found, _) => {
                found.into_iter().for_each(|found| found.values.clear());
                let description = description.clone();
                entry.attributes.push(Attribute { description, values });
            }
        }
    }

    /// What is changed with the rest left encoded is what is changed when all is decoded: its octets, and every fault that is found in it.
    #[test]
    fn what_stays_encoded_is_what_it_would_become_again() {
        let schema = Schema::builtin().unwrap();
        let mut rng = Rng::new(31);
        let operational = Operational {
            created: 1,
            modified: 2,
            creator: "cn=a",
            ..Operational::default()
        };
        let mut encoded = 0;
        for _ in 0..3_000 {
            let entry = random_entry(&mut rng);
            let octets = encode(&entry, &operational, &schema);
            let record = Record::new(&octets, schema.type_numbers());
            let changes: Vec<(AttributeDescription, usize, Vec<Vec<u8>>)> = (0..rng.below(3))
                .map(|_| {
                    let name = DESCRIPTIONS[rng.below(DESCRIPTIONS.len())];
                    let description = AttributeDescription::parse(name).unwrap();
                    (description, rng.below(3), values(&mut rng, name))
                })
                .collect();
            let changed = |id| {
                let mut names = changes.iter().map(|(description, ..)| &description.attribute_type);
                names.any(|name| schema.find_attribute(name) == Some(id))
            };
            let mut some = Revision::of(record, &schema, &changed);
            let mut all = Revision::given(record.to_entry());
            encoded += some.encoded();
            let [some, all] = [&mut some, &mut all].map(|revision| {
                for (description, how, values) in &changes {
                    change(&mut revision.entry, description, *how, values);
                }
                revision.forget_empty();
                let checked = schema.check_changed(revision.entry.dn.rdn(), revision.written(), &changed);
                let octets = encode_parts(record.dn(), revision.parts(), &operational, &schema);
                (octets, checked, revision.len())
            });
            assert_eq!(some, all, "{entry:?} {changes:?}");
        }
        assert!(encoded > 3_000, "little stayed encoded: {encoded}");
    }
}
