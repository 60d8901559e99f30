//! The directory both servers load: what `nhsdir generate` makes, without the NHS's own classes, so that no server needs its schema.

use anyhow::Context;
use nhsdir::cli::generate::generate;
use nhsdir::model::ldif::LdifWriter;
use nhsdir::model::{Attribute, Entry, Rdn};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;

/// There is an organisation for so many people, as far as there are any.
const PEOPLE_PER_ORGANISATION: u64 = 50;

const ORGANISATION: &[&str] = &[
    "objectClass",
    "o",
    "postalAddress",
    "l",
    "postalCode",
    "telephoneNumber",
];
const PERSON: &[&str] = &[
    "objectClass",
    "uid",
    "cn",
    "sn",
    "givenName",
    "initials",
    "displayName",
    "mail",
    "telephoneNumber",
    "mobile",
    "title",
    "ou",
    "o",
    "departmentNumber",
    "employeeType",
    "l",
    "postalCode",
    "description",
];
const PERSON_CLASSES: usize = 4;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many people
    #[arg(long)]
    people: u64,
    /// The same seed gives the same directory
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The file to write
    #[arg(long)]
    out: PathBuf,
}

pub fn write(arguments: &Arguments) -> anyhow::Result<bool> {
    let failed = || format!("{} could not be written", arguments.out.display());
    let file = File::create(&arguments.out).with_context(failed)?;
    let mut writer = LdifWriter::new(BufWriter::with_capacity(1 << 20, file));
    let mut plain = Plain {
        organisations: arguments.people / PEOPLE_PER_ORGANISATION,
    };
    generate(
        arguments.people,
        arguments.seed,
        &mut |entry| match plain.entry(entry) {
            Some(entry) => writer.entry(&entry),
            None => Ok::<(), io::Error>(()),
        },
    )
    .and_then(|()| writer.flush())
    .with_context(failed)?;
    Ok(true)
}

struct Plain {
    /// To come.
    organisations: u64,
}

impl Plain {
    /// The entry as a server without the NHS's schema knows it; `None` where it would be nothing.
    fn entry(&mut self, mut entry: Entry) -> Option<Entry> {
        let class = |name: &str| entry.values("objectClass").iter().any(|value| value == name.as_bytes());
        if class("nhsPerson") {
            keep(&mut entry, PERSON, PERSON_CLASSES);
            return Some(entry);
        }
        if class("organization") && entry.dn.rdns().len() > 1 {
            self.organisations = self.organisations.checked_sub(1)?;
            let code = String::from_utf8(entry.values("uniqueIdentifier").first()?.clone()).ok()?;
            entry.dn = entry.dn.parent()?.child(Rdn::new("o", code.as_str()));
            keep(&mut entry, ORGANISATION, 2);
            let names = entry.attributes.iter_mut().find(|attribute| named(attribute, &["o"]))?;
            names.values.insert(0, code.into_bytes());
            return Some(entry);
        }
        let standard = ["organization", "organizationalUnit", "groupOfNames"]
            .into_iter()
            .any(class);
        standard.then_some(entry)
    }
}

fn named(attribute: &Attribute, names: &[&str]) -> bool {
    names.contains(&attribute.description.attribute_type.as_str())
}

fn keep(entry: &mut Entry, names: &[&str], classes: usize) {
    entry.attributes.retain(|attribute| named(attribute, names));
    if let Some(attribute) = entry
        .attributes
        .iter_mut()
        .find(|attribute| named(attribute, &["objectClass"]))
    {
        attribute.values.truncate(classes);
    }
}
