//! `nhsdir import`: LDIF into a directory that no server runs on.
//!
//! A file that begins with an entry is content: it is loaded in bulk, entries in any order, all or nothing. A file that
//! begins with a change record is applied change by change, as a feed would send them.

mod changes;
mod content;
mod elsewhere;
mod operational;
mod prepare;
#[cfg(test)]
mod tests;
mod unique;

use super::{Answer, Place, operator};
use crate::audit::{Act, Actor, AuditRecord};
use crate::directory::{Directory, DirectoryError};
use crate::model::Outcome;
use crate::model::ldif::{Chunk, Chunks, LdifFault, LdifOperation};
use crate::store::StoreError;
use anyhow::Context;
use elsewhere::read_url;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// LDIF files (RFC 2849), content or changes; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Leave faulty entries out instead of writing nothing
    #[arg(long)]
    skip_bad: bool,
    /// Forget every entry that is there before, except application accounts
    #[arg(long)]
    replace: bool,
    /// Read and check entries, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    /// One file, all or nothing.
    pub fn new(place: Place, file: PathBuf) -> Arguments {
        Arguments {
            place,
            files: vec![file],
            skip_bad: false,
            replace: false,
            dry_run: false,
        }
    }
}

pub(in crate::cli) use changes::read as read_changes;

/// One file, open, with the chunk that was read to see what it holds.
pub(in crate::cli) struct Source {
    chunks: Chunks<Box<dyn Read + Send>>,
    first: Option<Result<Chunk, LdifFault>>,
    bytes: Option<u64>,
}

/// What the summary says.
struct Summary {
    entries: u64,
    faults: u64,
    written: bool,
    notes: Vec<String>,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let setting = arguments.place.setting()?;
    let directory = match Directory::open(setting.directory_options()?) {
        Err(DirectoryError::Store(error @ StoreError::Locked { .. })) => Err(error).context(
            "import writes the data files itself; stop the server first, or send changes with `nhsdir apply`",
        )?,
        result => result?,
    };
    let sources = arguments
        .files
        .iter()
        .map(|path| Source::open(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let started = Instant::now();
    let is_changes = sources.iter().find_map(Source::begins_with_change).unwrap_or(false);
    anyhow::ensure!(
        !(is_changes && arguments.dry_run),
        "--dry-run is for entries; of changes `nhsdir apply --dry-run` says whether they can be read"
    );
    let summary = if is_changes {
        changes::apply(&directory, sources, arguments.skip_bad)?
    } else {
        content::load(&directory, sources, &arguments)?
    };
    if arguments.dry_run {
        return Ok(summary.print_dry());
    }
    note_in_audit(&directory, &arguments, &summary, started)?;
    directory.flush();
    Ok(summary.print(started))
}

impl Source {
    pub(in crate::cli) fn open(path: &Path) -> anyhow::Result<Source> {
        if path == Path::new("-") {
            return Ok(Source::new("standard input", Box::new(io::stdin()), None));
        }
        let unreadable = || format!("{}: cannot be read; name an LDIF file", path.display());
        let file = File::open(path).with_context(unreadable)?;
        let facts = file.metadata().with_context(unreadable)?;
        anyhow::ensure!(
            !facts.is_dir(),
            "{}: expected an LDIF file, found a directory",
            path.display()
        );
        let bytes = facts.is_file().then_some(facts.len());
        Ok(Source::new(&path.display().to_string(), Box::new(file), bytes))
    }

    fn new(name: &str, reader: Box<dyn Read + Send>, bytes: Option<u64>) -> Source {
        let mut chunks = Chunks::new(name, reader);
        let first = chunks.next();
        Source { chunks, first, bytes }
    }

    /// `None` where the first chunk has no whole record.
    fn begins_with_change(&self) -> Option<bool> {
        let chunk = self.first.as_ref()?.as_ref().ok()?;
        let mut records = chunk.records(self.chunks.file()).fetching(read_url);
        let record = records.find_map(Result::ok)?;
        Some(!matches!(record.operation, LdifOperation::Content(_)))
    }

    fn name(&self) -> &str {
        self.chunks.file()
    }

    /// Every chunk, from the first.
    fn into_chunks(self) -> impl Iterator<Item = Result<Chunk, LdifFault>> {
        self.first.into_iter().chain(self.chunks)
    }
}

impl Summary {
    /// What an import would come to.
    fn print_dry(&self) -> Answer {
        for note in &self.notes {
            eprintln!("{note}");
        }
        match self.faults {
            0 => {
                println!("{} entries can be imported", self.entries);
                Answer::Done
            }
            faults => {
                eprintln!("{faults} faults; nothing was written");
                Answer::No
            }
        }
    }

    fn print(&self, started: Instant) -> Answer {
        let seconds = started.elapsed().as_secs_f64();
        for note in &self.notes {
            eprintln!("{note}");
        }
        if self.written {
            let rate = self.entries as f64 / seconds.max(0.001);
            println!(
                "imported {} entries in {seconds:.1} s ({rate:.0} entries/s)",
                self.entries
            );
        }
        match (self.faults, self.written) {
            (0, true) => return Answer::Done,
            (0, false) => eprintln!("nothing to import: the files hold no entries"),
            (faults, true) => eprintln!("{faults} faults; the records they are in were left out"),
            (faults, false) => {
                eprintln!(
                    "{faults} faults; nothing was written: mend them, or leave their records out with --skip-bad"
                );
            }
        }
        Answer::No
    }
}

fn note_in_audit(
    directory: &Arc<Directory>,
    arguments: &Arguments,
    summary: &Summary,
    started: Instant,
) -> anyhow::Result<()> {
    let session = operator(directory)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let files: Vec<String> = arguments.files.iter().map(|path| path.display().to_string()).collect();
    let mut record = AuditRecord::default();
    let actor = Actor::new(&session.identity.bound_as, &session.source);
    record.begin(Act::Administrative, &actor, now);
    record.fact("detail", format!("import {}", files.join(" ")).as_bytes());
    record.number("entries", if summary.written { summary.entries } else { 0 });
    record.finish(&Outcome::success(), started.elapsed());
    directory.audit().append(&record);
    Ok(())
}

/// A bar on a terminal; nothing elsewhere. `length` `None` shows what was done without how much there is.
pub(in crate::cli) fn progress(length: Option<u64>, what: &'static str) -> ProgressBar {
    let template = match length {
        Some(_) => "{msg} [{bar:40}] {percent}% {eta}",
        None => "{msg} {spinner} {elapsed}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style).with_message(what)
}
