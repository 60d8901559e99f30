//! The directory's content: generated as LDIF, then imported as any other file.

use crate::cli::{Answer, Place, Setting, generate, import};
use crate::model::ldif::LdifWriter;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Instant;

/// Entries of a generated directory that are there whatever the number of people.
const OTHER_ENTRIES: u64 = 20_000;
const SEED: u64 = 1;

/// Generates so many people into a file in `folder` and imports it.
pub fn load(setting: &Setting, folder: &Path, people: u64) -> anyhow::Result<()> {
    let file = folder.join("people.ldif");
    let started = Instant::now();
    let entries = write(&file, people).with_context(|| format!("{} could not be written", file.display()))?;
    println!(
        "generated {entries} entries in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let place = Place {
        data: Some(setting.data.clone()),
        config: None,
    };
    match import::run(import::Arguments::new(place, file))? {
        Answer::Done => Ok(()),
        Answer::No => bail!("the generated directory was not imported"),
    }
}

fn write(file: &Path, people: u64) -> io::Result<u64> {
    let progress = bar("generating", OTHER_ENTRIES + 3 * people);
    let mut writer = LdifWriter::new(BufWriter::with_capacity(1 << 20, File::create(file)?));
    writer.version()?;
    let mut entries = 0;
    generate::generate(people, SEED, &mut |entry| {
        entries += 1;
        progress.inc(1);
        writer.entry(&entry)
    })?;
    writer.flush()?;
    progress.finish_and_clear();
    Ok(entries)
}

/// A bar on a terminal; nothing elsewhere.
fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<12} {wide_bar} {percent:>3} % {elapsed}");
    let bar = ProgressBar::new(length).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
