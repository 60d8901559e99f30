use super::*;
use crate::model::ldif::{LdifOperation, LdifReader};
use std::collections::HashSet;

fn entries(count: u64, seed: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let result: Result<(), ()> = generate(count, seed, &mut |entry| {
        entries.push(entry);
        Ok(())
    });
    result.unwrap();
    entries
}

fn having<'e>(entries: &'e [Entry], class: &str) -> Vec<&'e Entry> {
    let has = |entry: &&Entry| {
        entry
            .values("objectClass")
            .iter()
            .any(|value| value == class.as_bytes())
    };
    entries.iter().filter(has).collect()
}

#[test]
fn names_are_unique_and_parents_come_first() {
    let entries = entries(2_000, 3);
    let mut seen = HashSet::from([String::new()]);
    for entry in &entries {
        assert!(seen.contains(&entry.dn.parent().unwrap().to_string()), "{}", entry.dn);
        assert!(seen.insert(entry.dn.to_string()), "{} twice", entry.dn);
        let rdn = &entry.dn.rdn().unwrap().avas[0];
        assert!(entry.values(&rdn.attribute).contains(&rdn.value), "{}", entry.dn);
        let descriptions: HashSet<String> = entry.attributes.iter().map(|a| a.description.to_string()).collect();
        assert_eq!(descriptions.len(), entry.attributes.len(), "{}", entry.dn);
    }
    assert_eq!(having(&entries, "nhsPerson").len(), 2_000);
    assert_eq!(having(&entries, "nhsGPPractice").len(), 6_618);
    assert_eq!(having(&entries, "nhsOrg").len(), 205);
    assert!(having(&entries, "nhsOrgPersonRole").len() > 800);
    assert!(having(&entries, "groupOfNames").len() >= 5);
    let mails: HashSet<&str> = having(&entries, "nhsPerson")
        .iter()
        .map(|e| e.text("mail").unwrap())
        .collect();
    assert_eq!(mails.len(), 2_000);
    assert!(
        having(&entries, "nhsdirPrivacy")
            .iter()
            .any(|e| e.text("nhsdirHidden") == Some("mobile"))
    );
    assert!(
        having(&entries, "nhsdirPrivacy")
            .iter()
            .any(|e| e.text("nhsdirExDirectory") == Some("TRUE"))
    );
}

#[test]
fn the_end_point_look_up_works() {
    let entries = entries(0, 1);
    let systems = having(&entries, "nhsAs");
    let handlers = having(&entries, "nhsMhs");
    assert!(systems.len() > 500);
    let interaction = b"urn:nhs:names:services:gpconnect:fhir:rest:search:slot-1".to_vec();
    for system in systems {
        assert!(system.values("nhsAsSvcIA").contains(&interaction));
        let found = handlers.iter().filter(|handler| {
            handler.values("nhsMHSPartyKey") == system.values("nhsMHSPartyKey")
                && handler.values("nhsMhsSvcIA").contains(&interaction)
        });
        let end_points: Vec<_> = found.map(|handler| handler.text("nhsMHSEndPoint").unwrap()).collect();
        assert_eq!(end_points.len(), 1, "{}", system.dn);
    }
}

#[test]
fn a_seed_repeats_and_ldif_reads_back() {
    let first = entries(300, 9);
    assert_eq!(first, entries(300, 9));
    assert_ne!(first, entries(300, 10));
    let arguments = Arguments {
        people: 300,
        seed: 9,
        out: None,
    };
    let mut text = Vec::new();
    write(&arguments, &mut text).unwrap();
    let read: Vec<Entry> = LdifReader::new("generated", text.as_slice())
        .map(|record| match record.unwrap().operation {
            LdifOperation::Content(entry) => entry,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(read == first);
}

#[test]
fn every_entry_keeps_to_the_schema() {
    let schema = crate::schema::Schema::builtin().unwrap();
    for entry in entries(500, 4) {
        let violations = schema.check_entry(&entry).err().unwrap_or_default();
        assert!(violations.is_empty(), "{}: {violations:?}", entry.dn);
    }
}
