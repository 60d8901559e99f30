//! Release beside a plain reading of its rules.

use super::*;
use crate::model::random::Random;

const DESCRIPTIONS: [&str; 18] = [
    "cn",
    "cn;lang-cy",
    "cn;lang-cy-gb;x-a",
    "sn",
    "sn;lang-cy",
    "givenName",
    "mail",
    "mobile",
    "mobile;x-work",
    "homePhone",
    "title",
    "description",
    "nhsPuSecret",
    "nhsTelUID",
    "nhsdirHidden",
    "nhsdirExDirectory",
    "telephoneNumber",
    "pwdAccountLockedTime",
];

fn random_entry(random: &mut Random) -> Entry {
    let mut lines = Vec::new();
    for description in DESCRIPTIONS {
        if schema()
            .find_attribute(description.split(';').next().unwrap())
            .is_none()
            || random.below(2) == 0
        {
            continue;
        }
        match description {
            "nhsdirExDirectory" => lines.push((description, *random.pick(&["TRUE", "FALSE", "FALSE", "FALSE"]))),
            "nhsdirHidden" => lines.push((description, *random.pick(&["mobile", "homePhone", "title"]))),
            "pwdAccountLockedTime" => lines.push((description, "20240101000000Z")),
            _ => {
                lines.push((description, "one"));
                if random.below(2) == 0 {
                    lines.push((description, "two"));
                }
            }
        }
    }
    entry("uid=1,ou=People,o=nhs", &lines)
}

fn condition(name: &str, value: &str) -> Condition {
    let mut normalized = Vec::new();
    let rule = schema().attribute(id(name)).equality.unwrap();
    rule.normalize(schema(), value.as_bytes(), &mut normalized).unwrap();
    Condition {
        attribute: id(name),
        normalized,
    }
}

fn random_view(random: &mut Random) -> View {
    let mut view = View::default();
    for attribute in schema().attributes() {
        if random.below(4) != 0 && !NEVER_RELEASED.contains(&attribute.name()) {
            view.releasable.insert(attribute.id);
        }
    }
    if random.below(2) == 0 {
        for attribute in schema().attributes() {
            if !NEVER_RELEASED.contains(&attribute.name()) {
                view.releasable.insert(attribute.id);
            }
        }
    }
    if random.below(2) == 0 {
        view.hiding.hide_entry(condition("nhsdirExDirectory", "TRUE"));
    }
    for name in ["mobile", "homePhone", "title"] {
        if random.below(2) == 0 {
            view.hiding.hide_attribute(id(name), condition("nhsdirHidden", name));
        }
    }
    view
}

/// The rules read plainly: for each attribute of the entry, is it asked for, allowed and not hidden?
fn oracle(entry: &Entry, view: &View, names: &[&str], types_only: bool) -> Option<Given> {
    let values_of = |name: &str| -> Vec<String> {
        let of = entry.attributes.iter().filter(|a| a.description.attribute_type == name);
        of.flat_map(|a| a.values.iter().map(|v| String::from_utf8(v.clone()).unwrap()))
            .collect()
    };
    if !view.hiding.entries().is_empty() && values_of("nhsdirExDirectory").contains(&"TRUE".to_owned()) {
        return None;
    }
    let hidden = values_of("nhsdirHidden");
    let allowed = |attribute: AttributeId| {
        let name = schema().attribute(attribute).name();
        let rule = view.hiding.attributes().iter().any(|(id, _)| *id == attribute);
        view.releasable.contains(attribute) && !(rule && hidden.iter().any(|hidden| hidden == name))
    };
    let asked = |attribute: AttributeId, options: &[String]| {
        let operational = schema().attribute(attribute).is_operational();
        names.is_empty() && !operational
            || names.iter().any(|name| match *name {
                "*" => !operational,
                "+" => operational,
                "1.1" | "unknown" => false,
                name => {
                    let mut parts = name.split(';');
                    let named = id(parts.next().unwrap());
                    schema().attribute(named).subtypes.contains(&attribute)
                        && parts.all(|o| options.iter().any(|have| have == o))
                }
            })
    };
    let mut given = Given::new();
    for attribute in &entry.attributes {
        let of = id(&attribute.description.attribute_type);
        let options = &attribute.description.options;
        if allowed(of) && asked(of, options) {
            let description = [vec![schema().attribute(of).name().to_owned()], options.clone()]
                .concat()
                .join(";");
            given.insert(
                description,
                if types_only {
                    Vec::new()
                } else {
                    attribute.values.clone()
                },
            );
        }
    }
    let (octets, types) = (encoded(entry), types());
    for attribute in schema().attributes() {
        if allowed(attribute.id) && asked(attribute.id, &[]) {
            let mut values = Vec::new();
            derived_values(Record::new(&octets, &types), schema(), attribute.id, &mut |value| {
                values.push(value.to_vec())
            });
            if !values.is_empty() {
                given.insert(
                    attribute.name().to_owned(),
                    if types_only { Vec::new() } else { values },
                );
            }
        }
    }
    Some(given)
}

#[test]
fn release_gives_exactly_what_the_rules_say() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_260_101);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let choices = [
        "*",
        "+",
        "1.1",
        "unknown",
        "cn",
        "cn;lang-cy",
        "sn",
        "name",
        "mobile",
        "mobile;x-work",
        "entryUUID",
        "createTimestamp",
        "mail",
        "nhsPuSecret",
        "nhsTelUID",
        "title",
    ];
    let (mut hidden, mut given_count) = (0, 0);
    for round in 0..2_000 {
        let (entry, view) = (random_entry(&mut random), random_view(&mut random));
        let names: Vec<&str> = match random.below(3) {
            0 => Vec::new(),
            1 => vec!["*"],
            _ => (0..random.below(5)).map(|_| *random.pick(&choices)).collect(),
        };
        let types_only = random.below(5) == 0;
        let expected = oracle(&entry, &view, &names, types_only);
        let found = given(&entry, &view, &names, types_only, &[]);
        assert_eq!(found, expected, "round {round}, names {names:?}, entry {entry:?}");
        match &found {
            None => hidden += 1,
            Some(given) => {
                given_count += given.len();
                assert!(!given.contains_key("nhsPuSecret") && !given.contains_key("nhsTelUID"));
            }
        }
    }
    assert!(
        hidden > 50 && given_count > 5_000,
        "the rounds reach both: {hidden} {given_count}"
    );
}
