//! `nhsdir check` and `nhsdir compact`: the store alone, with the server stopped.

use super::{Answer, Place, Setting};
use crate::store::Store;
use clap::Args;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct CompactArguments {
    #[command(flatten)]
    place: Place,
}

/// Verifies every checksum, index against entries, and the journal's chain. The answer is no where a fault was found.
pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let store = open(&arguments.place.setting()?)?;
    let mut faults = Vec::new();
    let report = store.check(&mut |fault| faults.push(fault))?;
    if arguments.json {
        let (entries, changes, bytes) = (report.entries, report.changes, report.bytes);
        println!(
            "{:#}",
            serde_json::json!({ "entries": entries, "changes": changes, "bytes": bytes, "faults": faults })
        );
    } else {
        faults.iter().for_each(|fault| println!("{fault}"));
        println!(
            "{} entries, {} changes since the last compaction, {} bytes: {} faults",
            report.entries,
            report.changes,
            report.bytes,
            faults.len()
        );
    }
    Ok(if faults.is_empty() { Answer::Done } else { Answer::No })
}

/// Merges what changed into the next segment.
pub fn compact(arguments: CompactArguments) -> anyhow::Result<Answer> {
    let store = open(&arguments.place.setting()?)?;
    let started = Instant::now();
    store.compact()?;
    println!(
        "compacted {} entries in {:.1} s",
        store.snapshot().len(),
        started.elapsed().as_secs_f64()
    );
    Ok(Answer::Done)
}

fn open(setting: &Setting) -> anyhow::Result<Store> {
    Ok(Store::open(
        &setting.data,
        Arc::new(setting.schema()?),
        setting.config.store.options(),
    )?)
}
