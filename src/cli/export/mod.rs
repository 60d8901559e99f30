//! `nhsdir export`: the directory as LDIF content, parents before children, the same entries always in the same octets. There is
//! no version line, because slapadd takes none.

mod running;

use super::client::Client;
use super::{Answer, Place, Setting, block_on, operator};
use crate::access::NEVER_RELEASED;
use crate::account::Accounts;
use crate::audit::{Act, Actor, AuditRecord};
use crate::directory::{Directory, DirectoryError, LOCKED_FOR_EVER, Session, past_text};
use crate::model::ldif::LdifWriter;
use crate::model::{Dn, Filter, Outcome};
use crate::query::evaluate::{Candidate, Evaluator};
use crate::query::predicate::Predicate;
use crate::query::{Truth, compile};
use crate::schema::{AttributeId, NormalizedDn, Schema};
use crate::store::record::{derived_values, moment_text, time_text};
use crate::store::{Record, Snapshot, StoreError};
use anyhow::Context;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// What `--operational` adds, in the order it is written.
const OPERATIONAL: [&str; 6] = [
    "entryUUID",
    "createTimestamp",
    "creatorsName",
    "modifyTimestamp",
    "modifiersName",
    "entryCSN",
];

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only this entry and those below; without it every naming context
    #[arg(long, value_name = "DN")]
    base: Option<String>,
    /// Only what this filter (RFC 4515) is true of
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Also entryUUID, who made and changed an entry, and when
    #[arg(long)]
    operational: bool,
    /// Also the hashes of secrets, as userPassword, for a move to another server; only with the server stopped, and
    /// into a file for its owner alone
    #[arg(long, requires = "out")]
    secrets: bool,
    /// Write to FILE instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What to write.
struct Export<'a> {
    schema: &'a Schema,
    predicate: Option<Predicate>,
    operational: Vec<AttributeId>,
    secrets: Vec<AttributeId>,
    /// Where hashes are asked for.
    accounts: Option<&'a Accounts>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let setting = arguments.place.setting()?;
    let directory = match Directory::open(setting.directory_options()?) {
        Err(DirectoryError::Store(error @ StoreError::Locked { .. })) if arguments.secrets => {
            return Err(error).context("secrets are read from the data files alone; stop the server first");
        }
        Err(DirectoryError::Store(error @ StoreError::Locked { .. })) => {
            return match block_on(from_server(&setting, &arguments, started))? {
                Some(answer) => Ok(answer),
                None => Err(error).context("the process that has it open answers no administrator"),
            };
        }
        result => result?,
    };
    directory.store().read_through()?;
    let session = operator(&directory)?;
    let bases = bases(&directory, arguments.base.as_deref())?;
    let snapshot = directory.store().snapshot();
    let export = Export::new(&directory, snapshot.schema(), &session, &arguments)?;
    let written = match &arguments.out {
        None => export.write(&snapshot, &bases, io::stdout().lock()),
        Some(path) => create(path, arguments.secrets).and_then(|file| export.write(&snapshot, &bases, file)),
    };
    let entries = match written {
        // The reader had enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Answer::Done),
        written => written.with_context(|| not_written(&arguments))?,
    };
    note_in_audit(&directory, &session, &arguments, entries, started);
    directory.flush();
    Ok(done(entries, started))
}

/// The same through the server that runs on the data; `None` where none answers. The server's audit has its searches.
async fn from_server(setting: &Setting, arguments: &Arguments, started: Instant) -> anyhow::Result<Option<Answer>> {
    let Some(mut client) = Client::running(setting).await? else {
        return Ok(None);
    };
    let schema = setting.schema()?;
    let administrative = schema
        .attributes()
        .iter()
        .filter(|attribute| attribute.is_administrative());
    let asked = running::Asked {
        administrative: administrative.map(|attribute| attribute.name().to_owned()).collect(),
        operational: if arguments.operational { &OPERATIONAL } else { &[] },
        collective: schema
            .attributes()
            .iter()
            .filter(|attribute| attribute.collective)
            .map(|attribute| attribute.name().to_owned())
            .collect(),
    };
    let written = match &arguments.out {
        None => running::write(&mut client, arguments, &asked, io::stdout()).await,
        Some(path) => {
            let file = File::create(path).with_context(|| not_written(arguments))?;
            running::write(&mut client, arguments, &asked, file).await
        }
    };
    Ok(Some(done(written?, started)))
}

/// A file with secrets is for its owner alone, also where it was there before.
fn create(path: &Path, secrets: bool) -> io::Result<File> {
    if !secrets {
        return File::create(path);
    }
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn not_written(arguments: &Arguments) -> String {
    match &arguments.out {
        Some(path) => format!("{} could not be written; choose another --out", path.display()),
        None => "standard output could not be written".to_owned(),
    }
}

fn done(entries: u64, started: Instant) -> Answer {
    eprintln!("exported {entries} entries in {:.1} s", started.elapsed().as_secs_f64());
    Answer::Done
}

/// The keys of where to begin.
fn bases(directory: &Directory, base: Option<&str>) -> anyhow::Result<Vec<NormalizedDn>> {
    let Some(base) = base else {
        return Ok(directory.suffixes().iter().map(|(_, key)| key.clone()).collect());
    };
    let key = directory.schema().normalize_dn(&Dn::parse(base)?)?;
    let is_there = key.is_root() || directory.store().snapshot().find(&key).is_some();
    anyhow::ensure!(is_there, "{base} is not in the directory; name an entry with --base");
    Ok(vec![key])
}

impl<'a> Export<'a> {
    fn new(
        directory: &'a Directory,
        schema: &'a Schema,
        session: &Session,
        arguments: &Arguments,
    ) -> anyhow::Result<Export<'a>> {
        let predicate = match &arguments.filter {
            None => None,
            Some(text) => {
                let filter = Filter::parse(text)?;
                if let Some(name) = schema.first_undefined(&filter) {
                    eprintln!(
                        "nhsdir: attribute type {name} is not defined; its term is Undefined and matches nothing"
                    );
                }
                Some(compile::compile(&filter, schema, &session.view))
            }
        };
        let operational = OPERATIONAL.iter().filter(|_| arguments.operational);
        Ok(Export {
            schema,
            predicate,
            operational: operational.filter_map(|name| schema.find_attribute(name)).collect(),
            secrets: NEVER_RELEASED
                .iter()
                .filter_map(|name| schema.find_attribute(name))
                .collect(),
            accounts: arguments.secrets.then(|| &**directory.accounts()),
        })
    }

    fn write(&self, snapshot: &Snapshot, bases: &[NormalizedDn], target: impl Write) -> io::Result<u64> {
        let mut writer = LdifWriter::new(BufWriter::with_capacity(WRITE_BUFFER_BYTES, target));
        let mut evaluator = Evaluator::default();
        let mut entries = 0;
        for base in bases {
            let keys = snapshot.subtree(base, usize::MAX);
            // Subentries come last, as a search of their own gives them.
            let passes = [false, true].into_iter();
            for (subentries, key) in passes.flat_map(|pass| keys.iter().map(move |key| (pass, key))) {
                let Some(at) = snapshot.find(key) else { continue };
                let record = snapshot.record(at);
                if self.is_subentry(record) != subentries {
                    continue;
                }
                let candidate = Candidate { record, key: &key.0 };
                let matches = |predicate| evaluator.truth(predicate, candidate, self.schema) == Truth::True;
                if self.predicate.as_ref().is_none_or(matches) {
                    self.entry(&mut writer, key, record)?;
                    entries += 1;
                }
            }
        }
        writer.flush()?;
        Ok(entries)
    }

    fn is_subentry(&self, record: Record<'_>) -> bool {
        let subentry = self.schema.find_class("subentry");
        record.classes(self.schema).any(|class| Some(class) == subentry)
    }

    fn entry(&self, writer: &mut LdifWriter<impl Write>, key: &NormalizedDn, record: Record<'_>) -> io::Result<()> {
        writer.value("dn", record.dn().as_bytes())?;
        let mut outcome = Ok(());
        for attribute in record.attributes() {
            let left = attribute.operational && !self.schema.attribute(attribute.id).is_administrative();
            if left || self.secrets.contains(&attribute.id) {
                continue;
            }
            for value in attribute.values() {
                writer.value(attribute.description(), value)?;
            }
        }
        if let Some(accounts) = self.accounts {
            write_secrets(writer, accounts, key)?;
        }
        for id in &self.operational {
            let name = self.schema.attribute(*id).name();
            derived_values(record, self.schema, *id, &mut |value| {
                if outcome.is_ok() {
                    outcome = writer.value(name, value);
                }
            });
        }
        outcome?;
        writer.end_record()
    }
}

/// The hashes of an entry's secrets, and what is kept beside them.
fn write_secrets(writer: &mut LdifWriter<impl Write>, accounts: &Accounts, key: &NormalizedDn) -> io::Result<()> {
    for stored in accounts.exported_secrets(key) {
        writer.value("userPassword", stored.as_bytes())?;
    }
    let Some(state) = accounts.password_state(key) else {
        return Ok(());
    };
    if let Some(changed) = state.changed {
        writer.value("pwdChangedTime", &time_text(changed))?;
    }
    if state.must_change {
        writer.value("pwdReset", b"TRUE")?;
    }
    if let Some(at) = state.last_success {
        writer.value("pwdLastSuccess", &time_text(at))?;
    }
    for (name, moments) in [("pwdGraceUseTime", &state.grace), ("pwdFailureTime", &state.counted)] {
        for at in moments {
            writer.value(name, moment_text(*at).as_bytes())?;
        }
    }
    if let Some(until) = state.delayed {
        writer.value("pwdAccountTmpLockoutEnd", &time_text(until))?;
    }
    for secret in &state.history {
        writer.value("pwdHistory", &past_text(secret))?;
    }
    match state.locked {
        None => Ok(()),
        Some(0) => writer.value("pwdAccountLockedTime", LOCKED_FOR_EVER.as_bytes()),
        Some(since) => writer.value("pwdAccountLockedTime", &time_text(since)),
    }
}

fn note_in_audit(directory: &Arc<Directory>, session: &Session, arguments: &Arguments, entries: u64, started: Instant) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let mut record = AuditRecord::default();
    let actor = Actor::new(&session.identity.bound_as, &session.source);
    record.begin(Act::Administrative, &actor, now);
    let detail = if arguments.secrets {
        "export with secrets"
    } else {
        "export"
    };
    record.fact("detail", detail.as_bytes());
    record.fact("base", arguments.base.as_deref().unwrap_or_default().as_bytes());
    record.fact("filter", arguments.filter.as_deref().unwrap_or_default().as_bytes());
    record.number("entries", entries);
    record.finish(&Outcome::success(), started.elapsed());
    directory.audit().append(&record);
}
