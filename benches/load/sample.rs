//! Values for requests, drawn from the LDIF that the servers hold: names come up as often as they occur.

use anyhow::{Context, ensure};
use nhsdir::model::Entry;
use nhsdir::model::ldif::{LdifOperation, LdifReader};
use nhsdir::model::random::Random;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Octets read at one place of the file.
const WINDOW_BYTES: usize = 4096;

/// People and lists at random places of the file.
const PLACES: usize = 20_000;

/// What of a person requests are made of.
#[derive(Clone, Debug)]
pub struct Person {
    pub dn: String,
    pub uid: String,
    pub mail: String,
    pub surname: String,
    pub given: String,
}

#[derive(Default)]
pub struct Sample {
    pub suffix: String,
    pub people: Vec<Person>,
    /// Names of distribution lists.
    pub lists: Vec<String>,
    /// Departments large enough to have a consultant.
    pub trusts: Vec<String>,
}

impl Sample {
    /// People and lists at random places.
    pub fn draw(path: &Path, seed: u64) -> anyhow::Result<Sample> {
        let file = File::open(path).with_context(|| format!("{} could not be read", path.display()))?;
        let length = file.metadata()?.len() as usize;
        let mut random = Random::new(seed ^ 0x5a3b_1e00);
        let mut sample = Sample::default();
        let mut trusts = HashSet::new();
        let mut window = vec![0; WINDOW_BYTES];
        // A small file is met at the same places again.
        let mut met = HashSet::new();
        for _ in 0..PLACES.min(length / 200) {
            let at = random.below(length);
            let read = file.read_at(&mut window, at as u64)?;
            if let Some(entry) = record(&window[..read])
                && met.insert(entry.dn.to_string())
            {
                sample.add(&entry, &mut trusts);
            }
        }
        sample.trusts = trusts.into_iter().collect();
        sample.trusts.sort();
        let read = file.read_at(&mut window, 0)?;
        let first = LdifReader::new("", &window[..read]).next();
        if let Some(Ok(record)) = first
            && let LdifOperation::Content(entry) = record.operation
        {
            sample.suffix = entry.dn.to_string();
        }
        ensure!(
            !sample.people.is_empty() && !sample.suffix.is_empty(),
            "{} holds no people with uid, mail, sn and givenName",
            path.display()
        );
        Ok(sample)
    }

    /// The first people of the file, in its order, for changes that must not meet anybody twice.
    pub fn first(path: &Path, people: usize) -> anyhow::Result<Sample> {
        let mut sample = Sample::draw(path, 0)?;
        sample.people.clear();
        let mut trusts = HashSet::new();
        let file = File::open(path)?;
        for record in LdifReader::new(path.display().to_string(), file) {
            if let LdifOperation::Content(entry) = record?.operation {
                sample.add(&entry, &mut trusts);
            }
            if sample.people.len() == people {
                break;
            }
        }
        ensure!(sample.people.len() == people, "{} holds fewer people", path.display());
        Ok(sample)
    }

    fn add(&mut self, entry: &Entry, trusts: &mut HashSet<String>) {
        if entry.attribute("member").is_some() {
            self.lists.push(entry.dn.to_string());
        }
        let text = |name| entry.text(name).map(str::to_owned);
        let person = || {
            Some(Person {
                dn: entry.dn.to_string(),
                uid: text("uid")?,
                mail: text("mail")?,
                surname: text("sn")?,
                given: text("givenName")?,
            })
        };
        if let Some(person) = person() {
            if entry.text("title").is_some_and(|title| title.starts_with("Consultant")) {
                trusts.extend(text("departmentNumber"));
            }
            self.people.push(person);
        }
    }
}

/// The first whole record that begins in the window. Of a list, its beginning will do.
fn record(window: &[u8]) -> Option<Entry> {
    let start = window.windows(2).position(|pair| pair == b"\n\n")? + 2;
    let rest = &window[start..];
    let end = match rest.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => end + 1,
        None => rest.iter().rposition(|octet| *octet == b'\n')? + 1,
    };
    match LdifReader::new("", &rest[..end]).next()?.ok()?.operation {
        LdifOperation::Content(entry) => Some(entry),
        _ => None,
    }
}
