//! Bulk load: one thread cuts the files, many prepare the records, this one gives them to the store in file order.

use super::operational::LeftOut;
use super::prepare::{Context, Origin, Prepared, Preparer, Secrets, Taken, hash_of};
use super::unique::Claims;
use super::{Arguments, Source, Summary, progress};
use crate::account::{AccountOptions, Accounts};
use crate::directory::{Directory, LOADED_KEY, is_account_key, load_time};
use crate::model::ldif::{Chunk, LdifFault};
use crate::schema::NormalizedDn;
use crate::store::segment::{BulkFault, BulkLoad, PreparedEntry};
use crate::store::{KeyedWrite, Snapshot};
use anyhow::bail;
use indicatif::ProgressBar;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Chunks waiting for each thread.
const WAITING_CHUNKS: usize = 4;

/// A directory of at most so many entries is looked at for whether it is as `nhsdir init` left it.
const FRESH_ENTRIES: u64 = 10_000;

/// A chunk on its way to a thread that prepares it.
struct Work {
    sequence: usize,
    file: usize,
    chunk: Result<Chunk, LdifFault>,
}

/// And back.
struct Done {
    sequence: usize,
    file: usize,
    prepared: Prepared,
}

/// What was loaded so far.
struct Loading<'a> {
    bulk: BulkLoad<'a>,
    bar: ProgressBar,
    names: &'a [String],
    kept: &'a HashSet<NormalizedDn>,
    /// Where the configuration asks for unique values.
    claims: Option<Claims<'a>>,
    origins: Vec<(Origin, u32)>,
    secrets: Vec<(NormalizedDn, Taken)>,
    replaced: HashSet<NormalizedDn>,
    left_out: LeftOut,
    bad: HashSet<NormalizedDn>,
    faults: u64,
}

/// Entries that an import lets stand unless the files have them: those of `nhsdir init`, and accounts.
#[derive(Default)]
struct Kept {
    keys: HashSet<NormalizedDn>,
    /// Everything else is forgotten.
    replaces: bool,
}

pub(super) fn load(directory: &Directory, sources: Vec<Source>, arguments: &Arguments) -> anyhow::Result<Summary> {
    let suffixes: Vec<NormalizedDn> = directory.suffixes().iter().map(|(_, key)| key.clone()).collect();
    let before = directory.store().snapshot();
    let kept = kept(&before, &suffixes, arguments.replace);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let context = Context {
        schema: before.schema(),
        suffixes: &suffixes,
        kept: &kept.keys,
        now,
        general: directory.hashes_general_secrets(),
    };
    let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
    let bytes = sources.iter().map(|source| source.bytes).sum::<Option<u64>>();
    let mut loading = Loading {
        bulk: directory.store().bulk(kept.replaces)?,
        bar: progress(bytes, "reading"),
        names: &names,
        kept: &kept.keys,
        claims: directory.uniqueness()?.map(|rules| {
            let stays = kept.replaces.then_some(&kept.keys);
            Claims::new(rules, &before, stays)
        }),
        origins: Vec::new(),
        secrets: Vec::new(),
        replaced: HashSet::new(),
        left_out: LeftOut::new(),
        bad: HashSet::new(),
        faults: 0,
    };
    read(sources, &names, &context, &mut loading)?;
    loading.bar.finish_and_clear();
    let refused = loading.faults > 0 && !arguments.skip_bad;
    if loading.origins.is_empty() {
        return Ok(Summary {
            entries: 0,
            faults: loading.faults,
            written: false,
            notes: notes(&loading.left_out, 0),
        });
    }
    if kept.replaces {
        keep(&mut loading, &before, &kept.keys)?;
    }
    let existing = (!kept.replaces).then_some(&*before);
    if refused || arguments.dry_run {
        let entries = loading.origins.len() as u64;
        let summary = loading.tell_faults_of_order(existing, &suffixes)?;
        return Ok(Summary { entries, ..summary });
    }
    loading.finish(existing, &suffixes, now, arguments.skip_bad)
}

/// What stays of a directory that is replaced. One that holds nothing but what `nhsdir init` made, and accounts, is always replaced,
/// so that a file with the same containers can be loaded into it.
fn kept(before: &Snapshot, suffixes: &[NormalizedDn], replace: bool) -> Kept {
    if !replace && before.len() > FRESH_ENTRIES {
        return Kept::default();
    }
    let is_container = |key: &NormalizedDn| {
        let own = key
            .parent()
            .filter(|parent| suffixes.contains(parent))
            .map(|parent| parent.0.len());
        suffixes.contains(key) || own.is_some_and(|at| key.0.get(at..).is_some_and(|rdn| rdn.starts_with(b"ou=")))
    };
    let mut keys = HashSet::new();
    for key in before.subtree(&NormalizedDn::default(), usize::MAX) {
        if is_container(&key) || is_account_key(&key, suffixes) {
            keys.insert(key);
        } else if !replace {
            return Kept::default();
        }
    }
    Kept { keys, replaces: true }
}

/// Adds the entries of before that the files did not have.
fn keep(loading: &mut Loading<'_>, before: &Snapshot, keys: &HashSet<NormalizedDn>) -> anyhow::Result<()> {
    for key in keys.iter().filter(|key| !loading.replaced.contains(*key)) {
        let Some(at) = before.find(key) else { continue };
        let record = before.record(at);
        let entry = PreparedEntry::new(before.schema(), key.clone(), &record.to_entry(), &record.operational());
        loading.bulk.add(entry)?;
    }
    Ok(())
}

/// Cuts, prepares and adds everything.
fn read(
    sources: Vec<Source>,
    names: &[String],
    context: &Context<'_>,
    loading: &mut Loading<'_>,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (work, waiting) = sync_channel(threads * WAITING_CHUNKS);
        let (done, ready) = sync_channel(threads * WAITING_CHUNKS);
        // Shared by the workers alone: when the last ends, the thread that cuts does too.
        let waiting = Arc::new(Mutex::new(waiting));
        scope.spawn(move || cut(sources, &work));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (waiting, done) = (Arc::clone(&waiting), done.clone());
                scope.spawn(move || prepare(&waiting, &done, names, context))
            })
            .collect();
        drop((done, waiting));
        let added = add_in_order(&ready, loading);
        // Lets the threads end where adding did early.
        drop(ready);
        if workers.into_iter().any(|worker| worker.join().is_err()) {
            bail!("a thread of the import ended early; nothing was written");
        }
        added
    })
}

fn cut(sources: Vec<Source>, work: &SyncSender<Work>) {
    let mut sequence = 0;
    for (file, source) in sources.into_iter().enumerate() {
        for chunk in source.into_chunks() {
            if work.send(Work { sequence, file, chunk }).is_err() {
                return;
            }
            sequence += 1;
        }
    }
}

fn prepare(waiting: &Mutex<Receiver<Work>>, done: &SyncSender<Done>, names: &[String], context: &Context<'_>) {
    let mut preparer = Preparer::new(context);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { sequence, file, chunk }) = next else {
            return;
        };
        let name = names.get(file).map_or("", String::as_str);
        let prepared = match chunk {
            Ok(chunk) => preparer.chunk(name, &chunk),
            Err(fault) => Prepared {
                faults: vec![fault],
                ..Prepared::default()
            },
        };
        if done
            .send(Done {
                sequence,
                file,
                prepared,
            })
            .is_err()
        {
            return;
        }
    }
}

fn add_in_order(ready: &Receiver<Done>, loading: &mut Loading<'_>) -> anyhow::Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for done in ready {
        early.insert(done.sequence, done);
        while let Some(done) = early.remove(&next) {
            loading.add(done)?;
            next += 1;
        }
    }
    Ok(())
}

impl Loading<'_> {
    fn add(&mut self, done: Done) -> anyhow::Result<()> {
        let Prepared {
            entries,
            secrets,
            replaced,
            faults,
            bad,
            left_out,
            bytes,
        } = done.prepared;
        let file = done.file as u32;
        let mut refused = HashSet::new();
        for (entry, origin) in entries {
            if let Some(Err(fault)) = self.claim(&entry, (origin, file)) {
                let name = self.names.get(done.file).map_or("", String::as_str);
                self.fault(&format!("{name}:{}: {fault}", origin.line));
                refused.insert(entry.key().clone());
                continue;
            }
            self.bulk.add(entry)?;
            self.origins.push((origin, file));
        }
        self.secrets
            .extend(secrets.into_iter().filter(|(key, _)| !refused.contains(key)));
        self.replaced
            .extend(replaced.into_iter().filter(|key| !refused.contains(key)));
        self.bad.extend(bad);
        self.bad.extend(refused);
        for (name, count) in left_out {
            *self.left_out.entry(name).or_default() += count;
        }
        for fault in faults {
            self.fault(&fault.to_string());
        }
        self.bar.inc(bytes);
        Ok(())
    }

    fn claim(&mut self, entry: &PreparedEntry, from: (Origin, u32)) -> Option<Result<(), String>> {
        let claims = self.claims.as_mut()?;
        Some(claims.claim(entry, from, self.names))
    }

    fn fault(&mut self, text: &str) {
        self.faults += 1;
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn finish(
        mut self,
        existing: Option<&Snapshot>,
        suffixes: &[NormalizedDn],
        now: u64,
        skip_bad: bool,
    ) -> anyhow::Result<Summary> {
        let mut keyed = self.keyed_writes(existing, now);
        let accounts = keyed.len();
        keyed.push(KeyedWrite {
            key: LOADED_KEY.to_vec(),
            value: Some(load_time()),
        });
        let bar = progress(Some(self.origins.len() as u64), "writing");
        let mut show = |written: u64, all: u64| {
            bar.set_length(all);
            bar.set_position(written);
        };
        let outcome = self.bulk.finish(suffixes, keyed, skip_bad, &mut show)?;
        bar.finish_and_clear();
        tell(&self.origins, self.names, existing, &outcome.faults);
        // What the directory kept is not what was imported.
        let imported = match outcome.published {
            true => self.origins.len().saturating_sub(outcome.faults.len()) as u64,
            false => 0,
        };
        Ok(Summary {
            entries: imported,
            faults: self.faults + outcome.faults.len() as u64,
            written: outcome.published,
            notes: notes(&self.left_out, if outcome.published { accounts } else { 0 }),
        })
    }

    /// Says what is wrong with the order of the entries too, so that one run tells every fault. Writes nothing.
    fn tell_faults_of_order(
        mut self,
        existing: Option<&Snapshot>,
        suffixes: &[NormalizedDn],
    ) -> anyhow::Result<Summary> {
        let bad = std::mem::take(&mut self.bad);
        let notes = notes(&self.left_out, 0);
        let faults = self.bulk.faults(suffixes, &bad)?;
        tell(&self.origins, self.names, existing, &faults);
        Ok(Summary {
            entries: 0,
            faults: self.faults + faults.len() as u64,
            written: false,
            notes,
        })
    }

    /// What makes the accounts' secrets theirs. Left out are those of entries that the store will not take: `existing` is what it keeps.
    fn keyed_writes(&mut self, existing: Option<&Snapshot>, now: u64) -> Vec<KeyedWrite> {
        if self.secrets.is_empty() {
            return Vec::new();
        }
        let loaded: HashSet<u64> = self.origins.iter().map(|(origin, _)| origin.key_hash).collect();
        let is_there = |key: &NormalizedDn| existing.is_some_and(|existing| existing.find(key).is_some());
        let mut met = HashSet::new();
        self.secrets.retain(|(key, _)| {
            let has_parent = key.parent().is_some_and(|parent| {
                loaded.contains(&hash_of(&parent)) || self.kept.contains(&parent) || is_there(&parent)
            });
            has_parent && !is_there(key) && met.insert(key.clone())
        });
        let accounts = Accounts::new(AccountOptions::default());
        let secrets = std::mem::take(&mut self.secrets);
        let mut writes = Vec::with_capacity(secrets.len());
        for (key, Taken { secrets, password }) in secrets {
            match secrets {
                Secrets::Account(secret) => _ = accounts.set_secret(&key, secret, None, now, 0),
                Secrets::General(secrets) => _ = accounts.put_secrets(&key, secrets, now, 0),
            }
            // The whole state, once.
            writes.extend(accounts.take_over_state(&key, &password));
        }
        writes
    }
}

/// Prints each fault of the entries' order, with its file and line. `existing` is what the store keeps.
fn tell(origins: &[(Origin, u32)], names: &[String], existing: Option<&Snapshot>, faults: &[BulkFault]) {
    let places = places(origins, faults);
    let mut met = HashMap::new();
    for fault in faults {
        let hash = hash_of(&fault.key);
        let seen = met.entry(hash).or_insert(0_usize);
        let places = places.get(&hash).map_or(&[][..], Vec::as_slice);
        eprintln!("{}", described(fault, existing, places, *seen, names));
        *seen += 1;
    }
}

/// File and line of every entry that a fault is about, in order, by the hash of its key.
fn places(origins: &[(Origin, u32)], faults: &[BulkFault]) -> HashMap<u64, Vec<(u32, u32)>> {
    let mut places: HashMap<u64, Vec<(u32, u32)>> =
        faults.iter().map(|fault| (hash_of(&fault.key), Vec::new())).collect();
    for (origin, file) in origins {
        if let Some(found) = places.get_mut(&origin.key_hash) {
            found.push((*file, origin.line));
        }
    }
    places
}

/// `seen` is how many faults with this name were told before.
fn described(
    fault: &BulkFault,
    existing: Option<&Snapshot>,
    places: &[(u32, u32)],
    seen: usize,
    names: &[String],
) -> String {
    let place = |at: usize| {
        let (file, line) = places.get(at).or(places.last()).copied().unwrap_or_default();
        format!("{}:{line}", names.get(file as usize).map_or("", String::as_str))
    };
    let BulkFault { dn, reason, .. } = fault;
    if *reason != BulkFault::NAME_AGAIN {
        return format!("{}: {dn}: {reason}", place(seen));
    }
    if existing.is_some_and(|existing| existing.find(&fault.key).is_some()) {
        return format!(
            "{}: {dn} is in the directory already; leave it out, or use --replace",
            place(seen)
        );
    }
    format!("{}: {dn} came before, at {}", place(seen + 1), place(0))
}

fn notes(left_out: &LeftOut, accounts: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if !left_out.is_empty() {
        let counts: Vec<String> = left_out
            .iter()
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        notes.push(format!(
            "left out, because a server keeps them itself: {}",
            counts.join(", ")
        ));
    }
    if accounts > 0 {
        notes.push(format!(
            "took over the secrets of {accounts} accounts; each is hashed anew at its first bind"
        ));
    }
    notes
}
