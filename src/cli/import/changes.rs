//! Change records, applied in their order as a feed would send them.

use super::elsewhere::read_url;
use super::{Source, Summary, progress};
use crate::cli::{block_on, operator};
use crate::directory::{Directory, Modification, ModificationKind, Update};
use crate::model::Dn;
use crate::model::ldif::{LdifFault, LdifModification, LdifModificationKind, LdifOperation, LdifRecord};
use std::sync::Arc;

/// Reads everything, and if nothing is wrong with it, or `skip_bad`, applies it. The first change that is refused ends it unless
/// `skip_bad`; those before it stay.
pub(super) fn apply(directory: &Arc<Directory>, sources: Vec<Source>, skip_bad: bool) -> anyhow::Result<Summary> {
    let mut summary = Summary {
        entries: 0,
        faults: 0,
        written: false,
        notes: Vec::new(),
    };
    let mut records = read(sources, &mut |fault| summary.fault(&fault.to_string()));
    records.retain(|(file, record)| match record.controls.first() {
        None => true,
        Some(control) => {
            let (line, oid) = (control.line, &control.oid);
            summary.fault(&format!(
                "{file}:{line}: expected no control, found {oid}; send the change to a running server with `nhsdir apply`"
            ));
            false
        }
    });
    if records.is_empty() || (summary.faults > 0 && !skip_bad) {
        return Ok(summary);
    }
    summary.written = true;
    let bar = progress(Some(records.len() as u64), "applying");
    block_on(async {
        let session = operator(directory)?;
        for (file, record) in records {
            let line = record.line;
            let (dn, update) = update(record.operation);
            let outcome = directory.update(&session, update).await.outcome;
            bar.inc(1);
            if outcome.is_success() {
                summary.entries += 1;
                continue;
            }
            let fault = format!("{file}:{line}: {dn}: {:?} {}", outcome.code, outcome.message);
            bar.suspend(|| summary.fault(&fault));
            if !skip_bad {
                summary
                    .notes
                    .push("the changes before this one are applied, those after it are not".to_owned());
                break;
            }
        }
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    Ok(summary)
}

/// Every record of the files in their order, with its file's name.
pub(in crate::cli) fn read(sources: Vec<Source>, fault: &mut dyn FnMut(&LdifFault)) -> Vec<(String, LdifRecord)> {
    let mut records = Vec::new();
    for source in sources {
        let name = source.name().to_owned();
        for chunk in source.into_chunks() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(found) => {
                    fault(&found);
                    continue;
                }
            };
            for record in chunk.records(&name).fetching(read_url) {
                match record {
                    Ok(record) => records.push((name.clone(), record)),
                    Err(found) => fault(&found),
                }
            }
        }
    }
    records
}

impl Summary {
    fn fault(&mut self, text: &str) {
        self.faults += 1;
        eprintln!("{text}");
    }
}

fn update(operation: LdifOperation) -> (Dn, Update) {
    match operation {
        LdifOperation::Content(entry) | LdifOperation::Add(entry) => (entry.dn.clone(), Update::Add(entry)),
        LdifOperation::Delete { dn } => (dn.clone(), Update::Delete { dn, tree: false }),
        LdifOperation::Modify { dn, changes } => {
            let changes = changes.into_iter().map(modification).collect();
            (dn.clone(), Update::Modify { dn, changes })
        }
        LdifOperation::ModifyDn {
            dn,
            new_rdn,
            delete_old_rdn,
            new_superior,
        } => {
            let update = Update::ModifyDn {
                dn: dn.clone(),
                new_rdn,
                delete_old_rdn,
                new_superior,
            };
            (dn, update)
        }
    }
}

fn modification(change: LdifModification) -> Modification {
    let kind = match change.kind {
        LdifModificationKind::Add => ModificationKind::Add,
        LdifModificationKind::Delete => ModificationKind::Delete,
        LdifModificationKind::Replace => ModificationKind::Replace,
        LdifModificationKind::Increment => ModificationKind::Increment,
    };
    Modification::new(kind, change.attribute.description, change.attribute.values)
}
