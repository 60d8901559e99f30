//! `nhsdir apply`: LDIF changes (RFC 2849) to a running server, one after the other, as ldapmodify sends them.
//!
//! Everything is read first: where a file is faulty nothing is sent, unless told to go on. Whatever ends it before its end, it says where
//! to go on from (`--from`), so that no change is sent twice.

use super::client::{Client, Remote, described};
use super::import::{Source, progress, read_changes};
use super::{Answer, Place, block_on};
use crate::model::ldif::{LdifControl, LdifModificationKind, LdifOperation, LdifRecord};
use crate::model::{Attribute, Dn};
use anyhow::{Context, bail};
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapResult, Mod};
use std::collections::HashSet;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// Begin at the change at this line, and send none before it: `LINE`, or `FILE:LINE` where there are several files
    #[arg(long, value_name = "LINE")]
    from: Option<String>,
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
    let (mut steps, faults) = read(sources, arguments.add);
    if let Some(from) = &arguments.from {
        leave_out_before(from, &mut steps)?;
    }
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
        sent.print(faults, started)
    })
}

/// Every change of the files; faults are printed and counted. Entries that are no changes are one line, however many.
fn read(sources: Vec<Source>, add: bool) -> (Vec<Step>, u64) {
    let mut faults = 0;
    let records = read_changes(sources, &mut |fault| {
        faults += 1;
        eprintln!("{fault}");
    });
    let is_entry = |record: &LdifRecord| !add && matches!(record.operation, LdifOperation::Content(_));
    let (entries, changes): (Vec<_>, Vec<_>) = records.into_iter().partition(|(_, record)| is_entry(record));
    if let Some((file, first)) = entries.first() {
        let others = match entries.len() {
            1 => String::new(),
            count => format!(", and so are {} more records", count - 1),
        };
        let line = first.line;
        eprintln!("{file}:{line}: expected `changetype:`, found an entry{others}; give --add to add entries");
    }
    let steps = changes.into_iter().map(|(file, record)| Step { file, record });
    (steps.collect(), faults + entries.len() as u64)
}

/// Takes away the changes before the one at this place.
fn leave_out_before(from: &str, steps: &mut Vec<Step>) -> anyhow::Result<()> {
    let (file, line) = from
        .rsplit_once(':')
        .map_or((None, from), |(file, line)| (Some(file), line));
    let line: usize = line
        .parse()
        .with_context(|| format!("expected --from LINE or FILE:LINE, found {from:?}"))?;
    let file = match file {
        Some(file) => file.to_owned(),
        None if steps.windows(2).any(|two| two[0].file != two[1].file) => {
            bail!("there are several files: say which with --from FILE:LINE")
        }
        None => steps.first().map(|step| step.file.clone()).unwrap_or_default(),
    };
    let at = steps
        .iter()
        .position(|step| step.file == file && step.record.line >= line)
        .with_context(|| format!("no change is at {file}:{line} or behind it"))?;
    steps.drain(..at);
    Ok(())
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
    /// Why it ended before the end, if it did.
    ended: Option<Ended>,
}

struct Ended {
    why: Why,
    /// The change at which it ended, and the one behind it.
    at: String,
    next: Option<String>,
    /// Changes that were not sent.
    left: usize,
}

enum Why {
    Refused,
    /// By a signal, before the change was sent.
    Stopped,
    /// The change was sent and has no answer.
    Unanswered(String),
}

/// SIGINT and SIGTERM: the change under way is waited for. A second one waits no more.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    asked: bool,
}

impl Stops {
    fn new() -> anyhow::Result<Stops> {
        Ok(Stops {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            asked: false,
        })
    }

    /// What becomes of a change that is sent.
    async fn or<T>(&mut self, sending: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut sending = std::pin::pin!(sending);
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent,
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            if self.asked {
                bail!("stopped before the answer came");
            }
            self.asked = true;
            eprintln!("stopping: waiting for the answer to the change under way; interrupt again to wait no longer");
        }
    }
}

async fn send_all(ldap: &mut Ldap, steps: Vec<Step>, go_on: bool) -> anyhow::Result<Sent> {
    let bar = progress(Some(steps.len() as u64), "applying");
    let mut stops = Stops::new()?;
    let mut sent = Sent::default();
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        let (at, dn) = (step.place(), name(&step.record.operation).to_string());
        let why = if stops.asked {
            Some(Why::Stopped)
        } else {
            match stops.or(send(ldap, step.record)).await {
                Err(error) => Some(Why::Unanswered(format!("{dn}: {error:#}"))),
                Ok(result) => {
                    bar.inc(1);
                    sent.count(&result);
                    if result.rc != 0 {
                        bar.suspend(|| eprintln!("{at}: {dn}: {}", described(&result)));
                    }
                    (result.rc != 0 && !go_on).then_some(Why::Refused)
                }
            }
        };
        if let Some(why) = why {
            let next = steps.peek().map(Step::place);
            let left = steps.len();
            sent.ended = Some(Ended { why, at, next, left });
            break;
        }
    }
    bar.finish_and_clear();
    Ok(sent)
}

impl Step {
    fn place(&self) -> String {
        format!("{}:{}", self.file, self.record.line)
    }
}

impl Sent {
    fn count(&mut self, result: &LdapResult) {
        match result.rc {
            0 => self.applied += 1,
            _ => self.refused += 1,
        }
    }

    fn print(&self, faults: u64, started: Instant) -> anyhow::Result<Answer> {
        let seconds = started.elapsed().as_secs_f64();
        println!("applied {} changes in {seconds:.1} s", self.applied);
        if let Some(ended) = &self.ended {
            ended.print()?;
        }
        if self.refused + faults > 0 {
            eprintln!("{} changes were refused, {faults} records were faulty", self.refused);
        }
        match self.ended.is_none() && self.refused + faults == 0 {
            true => Ok(Answer::Done),
            false => Ok(Answer::No),
        }
    }
}

impl Ended {
    /// Says where to go on; what of that has no answer is for a person to look at first.
    fn print(&self) -> anyhow::Result<()> {
        let Ended { at, left, .. } = self;
        match &self.why {
            Why::Refused if *left == 0 => {}
            Why::Refused => {
                eprintln!("{left} changes behind the refused one were not sent; mend it and go on with --from {at}")
            }
            Why::Stopped => eprintln!("stopped: {} changes were not sent; go on with --from {at}", left + 1),
            Why::Unanswered(why) => {
                let behind = match &self.next {
                    Some(next) => format!(", else with --from {next}; {left} changes behind it were not sent"),
                    None => ", else all is done".to_owned(),
                };
                bail!(
                    "{at}: {why}: whether it was applied is not known; if it was not, go on with --from {at}{behind}"
                );
            }
        }
        Ok(())
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
