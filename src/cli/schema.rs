//! `nhsdir schema`: what schema files say, before a server has to believe them.

use super::{Answer, Place};
use crate::schema::Schema;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say what is wrong with schema files, as they extend the built-in schema
    Check {
        /// OpenLDAP `.schema` files, or LDIF with olcAttributeTypes or attributeTypes; one that builds on another comes after it
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// As they do without the schema of the NHS Directory (schema.nhs)
        #[arg(long)]
        without_nhs: bool,
    },
    /// Print definitions of the configured schema as clients read them
    Show {
        #[command(flatten)]
        place: Place,
        /// A name or an OID; without it everything
        name: Option<String>,
    },
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    match arguments.command {
        Command::Check { files, without_nhs } => check(&files, without_nhs),
        Command::Show { place, name } => show(&place, name.as_deref()),
    }
}

fn check(files: &[PathBuf], without_nhs: bool) -> anyhow::Result<Answer> {
    let mut texts = Vec::with_capacity(files.len());
    for path in files {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{name}: cannot be read; name a schema file"))?;
        texts.push((name, text));
    }
    let loaded = match without_nhs {
        true => Schema::load_without_nhs(&texts),
        false => Schema::load(&texts),
    };
    match loaded {
        Ok(schema) => {
            let (types, classes) = (schema.attributes().len(), schema.classes().len());
            println!("sound: {types} attribute types and {classes} object classes with the built-in ones");
            Ok(Answer::Done)
        }
        Err(faults) => {
            faults.iter().for_each(|fault| println!("{fault}"));
            Ok(Answer::No)
        }
    }
}

fn show(place: &Place, name: Option<&str>) -> anyhow::Result<Answer> {
    let no_place = place.data.is_none() && place.config.is_none();
    let schema = match no_place {
        true => {
            Schema::load(&[]).map_err(|faults| anyhow::anyhow!("the built-in schema has {} faults", faults.len()))?
        }
        false => place.setting()?.schema()?,
    };
    let mut found = false;
    for (attribute, values) in schema.subschema_attributes() {
        for value in values.iter().filter(|value| name.is_none_or(|name| names(value, name))) {
            println!("{attribute}: {value}");
            found = true;
        }
    }
    match (found, name) {
        (false, Some(name)) => {
            eprintln!("nhsdir: {name} is not in the schema");
            Ok(Answer::No)
        }
        _ => Ok(Answer::Done),
    }
}

/// Whether a description (RFC 4512 section 4.1) is of this name or OID.
fn names(description: &str, name: &str) -> bool {
    let mut words = description.trim_start_matches(['(', ' ']).split(' ');
    if words.next().is_some_and(|oid| oid.eq_ignore_ascii_case(name)) {
        return true;
    }
    let Some((_, rest)) = description.split_once(" NAME ") else {
        return false;
    };
    let list = match rest.strip_prefix('(') {
        Some(list) => list.split(')').next().unwrap_or_default(),
        None => rest.split(' ').next().unwrap_or_default(),
    };
    list.split(['\'', ' ']).any(|word| word.eq_ignore_ascii_case(name))
}
