//! `nhsdir init`: an empty directory with its containers, and its development certificate.

use super::{Answer, Place, Setting, block_on, certificate, operator};
use crate::directory::{Directory, Session, Update};
use crate::model::{Attribute, AttributeDescription, Ava, Dn, Entry, Rdn};
use anyhow::{Context, bail};
use clap::Args;
use std::sync::Arc;

/// The containers every naming context begins with.
const CONTAINERS: [&str; 7] = [
    "Organisations",
    "People",
    "Services",
    "Workgroups",
    "ReferenceData",
    "Lists",
    "Applications",
];

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// A naming context; may be given more than once; without it the configuration's, `o=nhs` by default
    #[arg(long = "suffix", value_name = "DN")]
    suffixes: Vec<String>,
    /// The naming contexts alone, without entries: a client or an import brings them
    #[arg(long)]
    no_entries: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let setting = arguments.place.setting()?;
    let suffixes = match arguments.suffixes.is_empty() {
        true => &setting.config.directory.suffixes,
        false => &arguments.suffixes,
    };
    create(&setting, suffixes, !arguments.no_entries)?;
    println!("created {} for {}", setting.data.display(), suffixes.join(" and "));
    Ok(Answer::Done)
}

/// Makes the directory, its containers where they are wanted and, where the configuration names none, its certificate.
pub fn create(setting: &Setting, suffixes: &[String], with_entries: bool) -> anyhow::Result<()> {
    let mut names = Vec::new();
    let mut entries = Vec::new();
    for suffix in suffixes {
        let dn = Dn::parse(suffix).with_context(|| format!("`{suffix}` is no naming context"))?;
        if with_entries {
            entries.push(suffix_entry(&dn, suffix)?);
            entries.extend(CONTAINERS.iter().map(|name| container_entry(&dn, name)));
        }
        names.push(dn);
    }
    if names.is_empty() {
        bail!("expected at least one naming context; use --suffix DN");
    }
    let directory = Directory::create(&names, setting.directory_options()?)?;
    if setting.config.tls.certificate.is_empty() && setting.config.tls.key.is_empty() {
        certificate::write_development_certificate(&setting.certificate(), &setting.key())?;
    }
    block_on(async {
        let session = operator(&directory)?;
        for entry in entries {
            add(&directory, &session, entry).await?;
        }
        Ok(())
    })?;
    directory.flush();
    Ok(())
}

async fn add(directory: &Arc<Directory>, session: &Session, entry: Entry) -> anyhow::Result<()> {
    let name = entry.dn.to_string();
    let outcome = directory.update(session, Update::Add(entry)).await.outcome;
    if !outcome.is_success() {
        bail!("{name} could not be created: {}", outcome.message);
    }
    Ok(())
}

/// The entry at the top of a naming context; its class follows from its RDN.
fn suffix_entry(dn: &Dn, spelled: &str) -> anyhow::Result<Entry> {
    let Some([ava]) = dn.rdn().map(|rdn| rdn.avas.as_slice()) else {
        bail!("`{spelled}` is no naming context: expected a name like o=nhs");
    };
    let class = match ava.attribute.to_ascii_lowercase().as_str() {
        "o" => "organization",
        "ou" => "organizationalUnit",
        "dc" => "domain",
        "c" => "country",
        "l" => "locality",
        other => bail!("`{spelled}` is no naming context: expected o, ou, dc, c or l in front, found {other}"),
    };
    Ok(Entry {
        dn: dn.clone(),
        attributes: vec![attribute("objectClass", class), attribute_of(ava)],
    })
}

fn container_entry(suffix: &Dn, name: &str) -> Entry {
    let ava = Ava {
        attribute: "ou".to_owned(),
        value: name.as_bytes().to_vec(),
    };
    let attributes = vec![attribute("objectClass", "organizationalUnit"), attribute_of(&ava)];
    Entry {
        dn: suffix.child(Rdn { avas: vec![ava] }),
        attributes,
    }
}

fn attribute_of(ava: &Ava) -> Attribute {
    let description = AttributeDescription {
        attribute_type: ava.attribute.clone(),
        options: Vec::new(),
    };
    Attribute {
        description,
        values: vec![ava.value.clone()],
    }
}

fn attribute(name: &str, value: &str) -> Attribute {
    attribute_of(&Ava {
        attribute: name.to_owned(),
        value: value.as_bytes().to_vec(),
    })
}
