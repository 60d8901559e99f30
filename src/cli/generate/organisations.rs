//! Real organisations of the Organisation Data Service, and the services that practices publish.

use super::names::rows;
use super::{add, below, classes};
use crate::model::random::Random;
use crate::model::{Dn, Entry};

const TRUSTS: &str = include_str!("../../../data/ods/trusts.tsv");
const PRACTICES: &str = include_str!("../../../data/ods/practices.tsv");

/// Interactions of GP Connect that a practice's system offers: service, interaction.
const INTERACTIONS: &[(&str, &str)] = &[
    ("urn:nhs:names:services:gpconnect", "fhir:rest:read:metadata-1"),
    ("urn:nhs:names:services:gpconnect", "fhir:operation:gpc.getcarerecord-1"),
    ("urn:nhs:names:services:gpconnect", "fhir:rest:search:slot-1"),
    (
        "urn:nhs:names:services:gpconnect:structured",
        "fhir:operation:gpc.getstructuredrecord-1",
    ),
];

/// Every so many practices one publishes GP Connect services.
const PRACTICES_PER_SERVICE: usize = 12;

/// A trust or a practice.
pub struct Organisation {
    pub code: &'static str,
    pub name: &'static str,
    pub town: &'static str,
    pub postcode: &'static str,
    pub is_trust: bool,
    parent: &'static str,
    address: &'static str,
    open: &'static str,
    phone: &'static str,
}

/// Every open trust.
pub fn trusts() -> Vec<Organisation> {
    rows(TRUSTS)
        .map(|[code, name, parent, address, town, postcode, open]| Organisation {
            code,
            name,
            town,
            postcode,
            is_trust: true,
            parent,
            address,
            open,
            phone: "",
        })
        .collect()
}

/// Every active GP practice.
pub fn practices() -> Vec<Organisation> {
    rows(PRACTICES)
        .map(|[code, name, parent, address, postcode, open, phone]| Organisation {
            code,
            name,
            town: town(address),
            postcode,
            is_trust: false,
            parent,
            address,
            open,
            phone,
        })
        .collect()
}

/// The town of an address that ends in town and county.
fn town(address: &'static str) -> &'static str {
    let mut parts = address.rsplit(", ");
    let last = parts.next().unwrap_or_default();
    let town = parts.next().filter(|_| address.matches(", ").count() >= 2);
    town.unwrap_or(last)
}

impl Organisation {
    pub fn entry(&self, organisations: &Dn) -> Entry {
        let mut entry = below(organisations, "uniqueIdentifier", self.code);
        let (class, kind, role) = if self.is_trust {
            ("nhsOrg", "NHS TRUST", "RO197")
        } else {
            ("nhsGPPractice", "GP PRACTICE", "RO76")
        };
        classes(&mut entry, &["top", "organization", class]);
        add(&mut entry, "uniqueIdentifier", self.code);
        add(&mut entry, "nhsIDCode", self.code);
        add(&mut entry, "o", self.name);
        add(&mut entry, "nhsOrgType", kind);
        add(&mut entry, "nhsOrgTypeCode", role);
        add(&mut entry, "nhsParentOrgCode", self.parent);
        if !self.is_trust {
            add(&mut entry, "nhsPCTCode", self.parent);
        }
        add(&mut entry, "nhsOrgOpenDate", self.open);
        add(&mut entry, "postalAddress", postal_address(self.address));
        add(&mut entry, "l", self.town);
        add(&mut entry, "postalCode", self.postcode);
        add(&mut entry, "nhsCountry", "ENGLAND");
        if !self.phone.is_empty() {
            add(&mut entry, "telephoneNumber", self.phone);
        }
        entry
    }
}

/// RFC 4517 section 3.3.28: lines joined by `$`.
fn postal_address(address: &str) -> String {
    address.replace('\\', "\\5C").replace('$', "\\24").replace(", ", "$")
}

/// The accredited system and message handling entries of some practices.
pub fn services(practices: &[Organisation], services: &Dn, seed: u64) -> impl Iterator<Item = Entry> {
    let publishing = practices.iter().step_by(PRACTICES_PER_SERVICE).enumerate();
    publishing.flat_map(move |(number, practice)| {
        let mut random = Random::new(seed ^ 0x5e71_1ce5 ^ (number as u64) << 32);
        let party = format!("{}-{:06}", practice.code, 820_000 + number % 1_000);
        let asid = 918_000_000_000 + number as u64 * 1_000;
        let requested = format!(
            "20{:02}{:02}{:02}101530",
            18 + random.below(7),
            1 + random.below(12),
            1 + random.below(28)
        );
        let system = accredited_system(practice, services, &party, asid, &requested);
        let handlers = INTERACTIONS.iter().enumerate().map({
            let requested = requested.clone();
            move |(index, interaction)| {
                message_handler(
                    practice,
                    services,
                    &party,
                    asid + 1 + index as u64,
                    interaction,
                    &requested,
                )
            }
        });
        std::iter::once(system).chain(handlers).collect::<Vec<_>>()
    })
}

fn accredited_system(practice: &Organisation, services: &Dn, party: &str, asid: u64, requested: &str) -> Entry {
    let asid = asid.to_string();
    let mut entry = below(services, "uniqueIdentifier", &asid);
    classes(&mut entry, &["top", "nhsAs"]);
    add(&mut entry, "uniqueIdentifier", asid);
    add(&mut entry, "nhsIDCode", practice.code);
    add(&mut entry, "nhsMHSPartyKey", party);
    let interactions = INTERACTIONS
        .iter()
        .map(|(service, action)| format!("{service}:{action}").into_bytes());
    entry
        .attributes
        .push(crate::model::Attribute::new("nhsAsSvcIA", interactions.collect()));
    add(&mut entry, "nhsAsClient", practice.code);
    request_facts(&mut entry, requested);
    entry
}

fn message_handler(
    practice: &Organisation,
    services: &Dn,
    party: &str,
    number: u64,
    (service, action): &(&str, &str),
    requested: &str,
) -> Entry {
    let key = format!("S{number}");
    let host = format!("{}.gpconnect.example", practice.code.to_ascii_lowercase());
    let mut entry = below(services, "uniqueIdentifier", &key);
    classes(&mut entry, &["top", "nhsMhs"]);
    add(&mut entry, "uniqueIdentifier", key.as_str());
    add(&mut entry, "nhsIDCode", practice.code);
    add(&mut entry, "nhsMHSPartyKey", party);
    add(&mut entry, "nhsMhsSvcIA", format!("{service}:{action}"));
    add(&mut entry, "nhsMHsSN", *service);
    add(&mut entry, "nhsMHsIN", *action);
    add(
        &mut entry,
        "nhsMHSEndPoint",
        format!("https://{host}/{}/STU3/1/gpconnect/fhir/", practice.code),
    );
    add(&mut entry, "nhsMhsFQDN", host);
    add(&mut entry, "nhsMhsCPAId", key);
    add(&mut entry, "nhsMHSIsAuthenticated", "none");
    add(&mut entry, "nhsEPInteractionType", "FHIR");
    add(&mut entry, "nhsContractPropertyTemplateKey", "14");
    add(&mut entry, "nhsDNSApprover", "System");
    add(&mut entry, "nhsDateDNSApproved", requested);
    request_facts(&mut entry, requested);
    entry
}

fn request_facts(entry: &mut Entry, requested: &str) {
    add(entry, "nhsProductKey", "10894");
    add(entry, "nhsRequestorURP", "System");
    add(entry, "nhsDateRequested", requested);
    add(entry, "nhsApproverURP", "System");
    add(entry, "nhsDateApproved", requested);
}
