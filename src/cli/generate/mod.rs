//! `nhsdir generate`: a synthetic NHS directory as LDIF. Organisations are real, people never are.

mod names;
mod organisations;
mod people;

use super::Answer;
use crate::model::ldif::LdifWriter;
use crate::model::{Attribute, AttributeDescription, Dn, Entry, Rdn};
use anyhow::Context;
use people::People;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// The naming context of the generated directory.
pub const SUFFIX: &str = "o=nhs";

/// Members a generated distribution list has at most.
const LIST_MEMBERS: usize = 200;

const WRITE_BUFFER_BYTES: usize = 1 << 20;

const NOTE: &str = "Synthetic NHS directory. Organisations: Contains information from NHS England, licensed under the\n\
                    Open Government Licence v3.0. People do not exist.";

/// Write a synthetic NHS directory as LDIF: real organisations, made-up people
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How many people
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    people: u64,
    /// The same seed gives the same directory
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Write to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    match &arguments.out {
        None => match write(&arguments, io::stdout().lock()) {
            // The reader had enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.context("standard output could not be written")?,
        },
        Some(path) => {
            let failed = || format!("{} could not be written; choose another --out", path.display());
            let file = File::create(path).with_context(failed)?;
            write(&arguments, file).with_context(failed)?;
        }
    }
    Ok(Answer::Done)
}

fn write(arguments: &Arguments, target: impl Write) -> io::Result<()> {
    let mut writer = LdifWriter::new(BufWriter::with_capacity(WRITE_BUFFER_BYTES, target));
    writer.comment(NOTE)?;
    writer.version()?;
    generate(arguments.people, arguments.seed, &mut |entry| writer.entry(&entry))?;
    writer.flush()
}

/// Makes the entries of a directory of so many people, parents before children. The same numbers give the same entries.
///
/// # Errors
/// The first error of `emit`, which ends it.
pub fn generate<E>(count: u64, seed: u64, emit: &mut impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
    let trusts = organisations::trusts();
    let practices = organisations::practices();
    let root = Dn::from_rdns(vec![Rdn::new("o", "nhs")]);
    let container = |name: &str| root.child(Rdn::new("ou", name));
    top(&root, emit)?;

    let base = container("Organisations");
    for organisation in trusts.iter().chain(&practices) {
        emit(organisation.entry(&base))?;
    }
    let mut people = People::new(count, seed, container("People"), &trusts, &practices);
    let lists = usize::try_from(count / 500).unwrap_or(usize::MAX).clamp(5, 2_000);
    let mut members: HashMap<usize, Vec<u64>> = HashMap::new();
    let mut entries = Vec::with_capacity(3);
    for number in 0..count {
        let organisation = people.person(number, &mut entries);
        entries.drain(..).try_for_each(&mut *emit)?;
        // The organisations that the first people belong to get a list of their first staff.
        if members.len() < lists || members.contains_key(&organisation) {
            let staff = members.entry(organisation).or_default();
            if staff.len() < LIST_MEMBERS {
                staff.push(people.uid(number));
            }
        }
    }
    for entry in organisations::services(&practices, &container("Services"), seed) {
        emit(entry)?;
    }
    let mut members: Vec<(usize, Vec<u64>)> = members.into_iter().collect();
    members.sort_unstable();
    for (organisation, staff) in members {
        if let Some(organisation) = trusts.iter().chain(&practices).nth(organisation) {
            emit(list(&container("Lists"), organisation, &staff))?;
        }
    }
    for trust in &trusts {
        emit(workgroup(&container("Workgroups"), trust))?;
    }
    people::ROLES
        .iter()
        .try_for_each(|role| emit(job_role(&container("ReferenceData"), role)))
}

/// The suffix and the containers below.
fn top<E>(root: &Dn, emit: &mut impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
    let mut entry = Entry::new(root.clone());
    classes(&mut entry, &["top", "organization"]);
    add(&mut entry, "o", "nhs");
    add(&mut entry, "description", NOTE.replace('\n', " "));
    emit(entry)?;
    for name in [
        "Organisations",
        "People",
        "Services",
        "Lists",
        "Workgroups",
        "ReferenceData",
        "Applications",
    ] {
        let mut entry = below(root, "ou", name);
        classes(&mut entry, &["top", "organizationalUnit"]);
        add(&mut entry, "ou", name);
        emit(entry)?;
    }
    Ok(())
}

fn list(lists: &Dn, organisation: &organisations::Organisation, staff: &[u64]) -> Entry {
    let cn = format!("all-staff-{}", organisation.code.to_ascii_lowercase());
    let mut entry = below(lists, "cn", &cn);
    classes(&mut entry, &["top", "groupOfNames"]);
    add(&mut entry, "cn", cn);
    add(&mut entry, "description", format!("All staff of {}", organisation.name));
    add(&mut entry, "o", organisation.name);
    let names = staff
        .iter()
        .map(|uid| format!("uid={uid},ou=People,{SUFFIX}").into_bytes());
    entry.attributes.push(Attribute::new("member", names.collect()));
    entry
}

fn workgroup(workgroups: &Dn, trust: &organisations::Organisation) -> Entry {
    let identifier = format!("W{}", trust.code);
    let mut entry = below(workgroups, "uniqueIdentifier", &identifier);
    classes(&mut entry, &["top", "nhsWg"]);
    add(&mut entry, "uniqueIdentifier", identifier);
    add(&mut entry, "cn", format!("{} ALL WARDS", trust.name));
    add(&mut entry, "nhsIDCode", trust.code);
    entry
}

fn job_role(reference: &Dn, (code, name): &(&str, &str)) -> Entry {
    let mut entry = below(reference, "uniqueIdentifier", code);
    classes(&mut entry, &["top", "nhsRBACJR"]);
    let facts = [
        ("uniqueIdentifier", *code),
        ("cn", name),
        ("nhsStatus", "Active"),
        ("nhsCreateDate", "20080401"),
        ("nhsList1Code", "S8000"),
        ("nhsList1Name", "Clinical"),
        ("nhsList2Code", "G8000"),
        ("nhsList2Name", "Clinical Provision"),
        ("nhsList3Code", code),
        ("nhsList3Name", name),
    ];
    for (attribute, value) in facts {
        add(&mut entry, attribute, value);
    }
    entry
}

/// An empty entry below a parent.
fn below(parent: &Dn, attribute: &str, value: &str) -> Entry {
    Entry {
        dn: parent.child(Rdn::new(attribute, value)),
        attributes: Vec::with_capacity(24),
    }
}

fn classes(entry: &mut Entry, names: &[&str]) {
    let values = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    entry.attributes.push(Attribute::new("objectClass", values));
}

/// Adds an attribute that the entry does not have yet.
fn add(entry: &mut Entry, attribute: &str, value: impl Into<Vec<u8>>) {
    entry.attributes.push(Attribute::new(attribute, vec![value.into()]));
}

fn with_option(entry: &mut Entry, attribute: &str, option: &str, value: &str) {
    entry.attributes.push(Attribute {
        description: AttributeDescription {
            attribute_type: attribute.to_owned(),
            options: vec![option.to_owned()],
        },
        values: vec![value.as_bytes().to_vec()],
    });
}

#[cfg(test)]
mod tests;
