//! `nhsdir apply`: LDIF changes (RFC 2849) to a running server, one after the other, as ldapmodify sends them.
//!
//! Everything is read first: where a file is faulty nothing is sent, unless told to go on.

use super::client::{Client, Remote, described};
use super::import::{Source, progress, read_changes};
use super::{Answer, Place, block_on};
use crate::model::ldif::{LdifControl, LdifModificationKind, LdifOperation, LdifRecord};
use crate::model::{Attribute, Dn};
use anyhow::{Context, bail};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapResult, Mod};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// LDIF files of changes; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take an entry without `changetype:` as one to add
    #[arg(long)]
    add: bool,
    /// Go on behind a faulty record or a change that is refused
    #[arg(long = "continue")]
    go_on: bool,
    /// Read everything and say what is wrong with it; send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// One change to send, and where it stands.
struct Step {
    file: String,
    record: LdifRecord,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let from_stdin = arguments.files.iter().any(|file| file.as_os_str() == "-");
    if from_stdin && arguments.remote.reads_secret() {
        bail!("the secret of --bind is read from standard input; name the LDIF as a file");
    }
    let sources = arguments
        .files
        .iter()
        .map(|path| Source::open(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    let (steps, faults) = read(sources, arguments.add);
    if arguments.dry_run || (faults > 0 && !arguments.go_on) {
        return Ok(not_sent(steps.len(), faults, arguments.dry_run));
    }
    block_on(async {
        let mut client = match arguments.remote.connect().await? {
            Some(client) => client,
            None => {
                let setting = arguments.place.setting()?;
                Client::running(&setting).await?.with_context(|| {
                    format!(
                        "no server runs on {}; start one, name one with --url, or use `nhsdir import`",
                        setting.data.display()
                    )
                })?
            }
        };
        let sent = send_all(&mut client.ldap, steps, arguments.go_on).await?;
        // The server sees the end of the connection either way.
        let _ = client.ldap.unbind().await;
        Ok(sent.print(faults, started))
    })
}

/// Every change of the files; faults are printed and counted.
fn read(sources: Vec<Source>, add: bool) -> (Vec<Step>, u64) {
    let mut faults = 0;
    let mut say = |fault: String| {
        faults += 1;
        eprintln!("{fault}");
    };
    let records = read_changes(sources, &mut |fault| say(fault.to_string()));
    let mut steps = Vec::with_capacity(records.len());
    for (file, record) in records {
        if matches!(record.operation, LdifOperation::Content(_)) && !add {
            let line = record.line;
            say(format!(
                "{file}:{line}: expected `changetype:`, found an entry; give --add to add entries"
            ));
        } else {
            steps.push(Step { file, record });
        }
    }
    (steps, faults)
}

fn not_sent(changes: usize, faults: u64, dry_run: bool) -> Answer {
    match (faults, dry_run) {
        (0, _) => {
            println!("read {changes} changes; nothing was sent");
            return Answer::Done;
        }
        (_, true) => eprintln!("{faults} faults; {changes} changes are without; nothing was sent"),
        (_, false) => {
            eprintln!("{faults} faults; nothing was sent: mend them, or leave their records out with --continue")
        }
    }
    Answer::No
}

/// What became of the changes.
#[derive(Default)]
struct Sent {
    applied: u64,
    refused: u64,
    /// Left unsent behind the first that was refused.
    left: u64,
}

async fn send_all(ldap: &mut Ldap, steps: Vec<Step>, go_on: bool) -> anyhow::Result<Sent> {
    let bar = progress(Some(steps.len() as u64), "applying");
    let mut sent = Sent::default();
    let mut steps = steps.into_iter();
    while let Some(Step { file, record }) = steps.next() {
        let (line, dn) = (record.line, name(&record.operation).to_string());
        let result = send(ldap, record)
            .await
            .with_context(|| format!("{file}:{line}: {dn}: no answer; whether it was applied is not known"))?;
        bar.inc(1);
        if result.rc == 0 {
            sent.applied += 1;
            continue;
        }
        sent.refused += 1;
        bar.suspend(|| eprintln!("{file}:{line}: {dn}: {}", described(&result)));
        if !go_on {
            sent.left = steps.len() as u64;
            break;
        }
    }
    bar.finish_and_clear();
    Ok(sent)
}

impl Sent {
    fn print(&self, faults: u64, started: Instant) -> Answer {
        let seconds = started.elapsed().as_secs_f64();
        println!("applied {} changes in {seconds:.1} s", self.applied);
        if self.left > 0 {
            eprintln!("{} changes behind the refused one were not sent", self.left);
        }
        if self.refused + faults == 0 {
            return Answer::Done;
        }
        eprintln!("{} changes were refused, {faults} records were faulty", self.refused);
        Answer::No
    }
}

async fn send(ldap: &mut Ldap, record: LdifRecord) -> anyhow::Result<LdapResult> {
    if !record.controls.is_empty() {
        let controls: Vec<RawControl> = record.controls.into_iter().map(raw).collect();
        ldap.with_controls(controls);
    }
    let result = match record.operation {
        LdifOperation::Content(entry) | LdifOperation::Add(entry) => {
            let attributes = entry.attributes.into_iter().map(octets).collect();
            ldap.add(&entry.dn.to_string(), attributes).await?
        }
        LdifOperation::Delete { dn } => ldap.delete(&dn.to_string()).await?,
        LdifOperation::Modify { dn, changes } => {
            let mut parts = Vec::with_capacity(changes.len());
            for change in changes {
                let (name, values) = octets(change.attribute);
                parts.push(match change.kind {
                    LdifModificationKind::Add => Mod::Add(name, values),
                    LdifModificationKind::Delete => Mod::Delete(name, values),
                    LdifModificationKind::Replace => Mod::Replace(name, values),
                    LdifModificationKind::Increment => match values.into_iter().next() {
                        Some(by) => Mod::Increment(name, by),
                        None => bail!("an increment has a value"),
                    },
                });
            }
            ldap.modify(&dn.to_string(), parts).await?
        }
        LdifOperation::ModifyDn {
            dn,
            new_rdn,
            delete_old_rdn,
            new_superior,
        } => {
            let new_rdn = new_rdn.to_string();
            let superior = new_superior.map(|dn| dn.to_string());
            ldap.modifydn(&dn.to_string(), &new_rdn, delete_old_rdn, superior.as_deref())
                .await?
        }
    };
    Ok(result)
}

fn name(operation: &LdifOperation) -> &Dn {
    match operation {
        LdifOperation::Content(entry) | LdifOperation::Add(entry) => &entry.dn,
        LdifOperation::Delete { dn } | LdifOperation::Modify { dn, .. } | LdifOperation::ModifyDn { dn, .. } => dn,
    }
}

fn raw(control: LdifControl) -> RawControl {
    RawControl {
        ctype: control.oid,
        crit: control.critical,
        val: control.value,
    }
}

/// One value of a list that the client library wants as a set: two equal ones stay two, and the server says what is wrong.
struct Octets {
    place: usize,
    octets: Vec<u8>,
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Octets) -> bool {
        self.place == other.place
    }
}

impl Eq for Octets {}

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

fn octets(attribute: Attribute) -> (Octets, HashSet<Octets>) {
    let name = Octets {
        place: 0,
        octets: attribute.description.to_string().into_bytes(),
    };
    let values = attribute.values.into_iter().enumerate();
    (name, values.map(|(place, octets)| Octets { place, octets }).collect())
}
