//! `nhsdir audit`: what was done and seen, by whom, and whether the log is whole.
//!
//! The log is read from its files, with a running server and without one; a record is there some milliseconds after its act.

use super::client::Client;
use super::{Answer, Place, Setting, block_on};
use crate::audit::read::{self, AuditLine};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ldap3::Scope;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// How often `tail --follow` looks for new lines.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// What a running server may take to write an act that was answered just before.
const SETTLE: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the last records
    Tail {
        /// How many records
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: usize,
        /// Go on showing records as they come
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Show every record of one account
    Account {
        /// The account's name, or a bind name as it was spelled
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show every record of an entry that left the server or was changed
    WhoSaw {
        /// The entry's name; or its entryUUID, where it is no longer there
        dn: String,
        #[command(flatten)]
        common: Common,
    },
    /// Verify that no record was changed, taken out or added since it was written
    Verify {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does one audit command. The answer is no where the chain is broken, or nothing was found.
pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    match arguments.command {
        Command::Tail { lines, follow, common } => tail(&common, lines, follow),
        Command::Account { name, common } => account(&common, &name),
        Command::WhoSaw { dn, common } => who_saw(&common, &dn),
        Command::Verify { common } => verify(&common),
    }
}

/// The log's folder, once it holds what was answered before this command began.
fn folder(setting: &Setting) -> anyhow::Result<PathBuf> {
    let folder = setting.data.join("audit");
    if !folder.is_dir() {
        let data = setting.data.display();
        bail!("{data}: no audit log here; name a data directory that was served or imported into");
    }
    std::thread::sleep(SETTLE);
    Ok(folder)
}

fn read_error(folder: &Path) -> String {
    format!(
        "{}: the audit log cannot be read; run as root or as the server's own user",
        folder.display()
    )
}

fn tail(common: &Common, lines: usize, follow: bool) -> anyhow::Result<Answer> {
    let folder = folder(&common.place.setting()?)?;
    // The end is taken first: a record that comes between is shown by the following and not lost.
    let end = read::end(&folder).with_context(|| read_error(&folder))?;
    for line in read::last_lines(&folder, lines).with_context(|| read_error(&folder))? {
        print(&line, common.json)?;
    }
    if follow {
        follow_from(&folder, end, common.json)?;
    }
    Ok(Answer::Done)
}

/// Until it is interrupted, or standard output is closed.
fn follow_from(folder: &Path, mut at: (u64, u64), json: bool) -> anyhow::Result<()> {
    loop {
        std::thread::sleep(FOLLOW_EVERY);
        let mut failed = None;
        let next = read::lines_from(folder, at, b"", &mut |line| {
            if failed.is_none() {
                failed = print(&line, json).err();
            }
        });
        at = next.with_context(|| read_error(folder))?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// Prints every line that is meant, and gives them counted by account.
fn print_matching(
    folder: &Path,
    with: &[u8],
    json: bool,
    meant: &dyn Fn(&AuditLine) -> bool,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut accounts = BTreeMap::new();
    let mut failed = None;
    read::lines_from(folder, (0, 0), with, &mut |line| {
        if failed.is_none() && meant(&line) {
            *accounts
                .entry(line.text_of("account").unwrap_or("").to_owned())
                .or_insert(0) += 1;
            failed = print(&line, json).err();
        }
    })
    .with_context(|| read_error(folder))?;
    failed.map_or(Ok(accounts), Err)
}

fn account(common: &Common, name: &str) -> anyhow::Result<Answer> {
    let folder = folder(&common.place.setting()?)?;
    let wanted = name.to_lowercase();
    let found = print_matching(&folder, b"\"account\"", common.json, &|line| {
        let of = line.text_of("account").unwrap_or_default().to_lowercase();
        of == wanted || first_value(&of) == Some(&wanted)
    })?;
    if found.is_empty() {
        eprintln!("nothing is recorded of {}", printable(name));
        return Ok(Answer::No);
    }
    Ok(Answer::Done)
}

/// The value of a name's first RDN: a refused bind is recorded under the name as it was spelled.
fn first_value(name: &str) -> Option<&str> {
    name.split(',').next()?.split_once('=').map(|(_, value)| value.trim())
}

fn who_saw(common: &Common, dn: &str) -> anyhow::Result<Answer> {
    let setting = common.place.setting()?;
    let folder = folder(&setting)?;
    let mut uuid = parse_uuid(dn);
    if uuid.is_none() {
        uuid = uuid_of(&setting, dn)?;
    }
    if uuid.is_none() {
        uuid = uuid_in_log(&folder, dn)?;
    }
    let Some(uuid) = uuid else {
        bail!(
            "{}: no entry has this name, and the log knows of none; give its entryUUID",
            printable(dn)
        );
    };
    let found = print_matching(&folder, b"\"uuids\"", common.json, &|line| line.holds_entry(&uuid))?;
    if found.is_empty() {
        eprintln!(
            "nobody is recorded to have seen {} ({})",
            printable(dn),
            uuid_text(&uuid)
        );
        return Ok(Answer::No);
    }
    if !common.json {
        let times: u64 = found.values().sum();
        let by: Vec<String> = found
            .iter()
            .map(|(account, count)| format!("{} ({count})", printable(account)))
            .collect();
        eprintln!("{times} records by {} accounts: {}", found.len(), by.join(", "));
    }
    Ok(Answer::Done)
}

/// The entryUUID of an entry of the directory.
fn uuid_of(setting: &Setting, dn: &str) -> anyhow::Result<Option<[u8; 16]>> {
    block_on(async {
        let mut client = Client::open(setting).await?;
        let found = client
            .search(dn, Scope::Base, "(objectClass=*)", &["entryUUID"])
            .await?;
        let values = found.into_iter().flat_map(|entry| entry.attrs.into_values()).flatten();
        Ok(values.filter_map(|value| parse_uuid(&value)).next())
    })
}

/// The entryUUID of an entry that was added, changed or deleted under this name, from the last record of that.
fn uuid_in_log(folder: &Path, dn: &str) -> anyhow::Result<Option<[u8; 16]>> {
    let mut found = None;
    read::lines_from(folder, (0, 0), b"\"uuids\"", &mut |line| {
        let same = line.text_of("dn").is_some_and(|of| of.eq_ignore_ascii_case(dn));
        if let (true, [uuid]) = (same, line.entries().as_slice()) {
            found = Some(*uuid);
        }
    })
    .with_context(|| read_error(folder))?;
    Ok(found)
}

fn verify(common: &Common) -> anyhow::Result<Answer> {
    let folder = folder(&common.place.setting()?)?;
    let verified = read::verify(&folder).with_context(|| read_error(&folder))?;
    match (verified, common.json) {
        (Ok(verified), true) => println!("{:#}", json!({ "whole": true, "verified": verified })),
        (Ok(verified), false) => {
            println!(
                "whole: {} records in {} files, numbers {} to {}",
                verified.lines, verified.files, verified.first, verified.last
            );
            if verified.torn > 0 {
                println!(
                    "behind them {} octets do not follow, and were not synced to disk: a power cut leaves such; the next start of the \
                     server sets them aside",
                    verified.torn
                );
            }
        }
        (Err(fault), true) => {
            let fault = json!({ "file": fault.file, "line": fault.line, "message": fault.message });
            println!("{:#}", json!({ "whole": false, "fault": fault }));
            return Ok(Answer::No);
        }
        (Err(fault), false) => {
            println!("broken: {}", printable(&fault.to_string()));
            return Ok(Answer::No);
        }
    }
    Ok(Answer::Done)
}

fn print(line: &AuditLine, json: bool) -> anyhow::Result<()> {
    let text = if json { line.text.clone() } else { readable(line) };
    writeln!(std::io::stdout(), "{text}").context("standard output was closed")
}

/// Members that have their own place in a readable line.
const PLACED: [&str; 13] = [
    "n",
    "t",
    "act",
    "account",
    "source",
    "connection",
    "entries",
    "uuids",
    "code",
    "result",
    "message",
    "took_us",
    "chain",
];
/// Facts in the order people expect them; others follow by name.
const FACTS: [&str; 7] = ["base", "scope", "filter", "attributes", "dn", "newDn", "detail"];

/// One line for people: when, what, who, from where, what was asked, and what came of it.
fn readable(line: &AuditLine) -> String {
    let text = |name: &str| printable(line.text_of(name).unwrap_or("-"));
    if line.text_of("act").is_none() {
        return printable(&line.text);
    }
    let mut out = instant(line.number_of("t").unwrap_or(0));
    _ = write!(out, " {}", text("act"));
    for name in ["account", "source"] {
        if line.text_of(name).is_some() {
            _ = write!(out, " {}", text(name));
        }
    }
    let others = line.members().map(|(name, _)| name);
    let others = others.filter(|name| !PLACED.contains(name) && !FACTS.contains(name));
    for name in FACTS.into_iter().chain(others) {
        let value = line.members().find(|(member, _)| *member == name);
        match value {
            Some((_, Value::String(value))) if !value.is_empty() => _ = write!(out, " {name}=\"{}\"", printable(value)),
            Some((_, Value::Number(value))) => _ = write!(out, " {name}={value}"),
            _ => {}
        }
    }
    if line.text_of("result").is_some() {
        _ = write!(out, " -> {}", text("result"));
    }
    let listed = line.entries().len() as u64;
    let count = line.number_of("entries").unwrap_or(listed);
    if count > 0 || line.number_of("entries").is_some() {
        _ = write!(out, ", {count} {}", if count == 1 { "entry" } else { "entries" });
    }
    if line.text_of("message").is_some() {
        _ = write!(out, ", {}", text("message"));
    }
    if let Some(took) = line.number_of("took_us") {
        _ = write!(out, ", {}.{:03} ms", took / 1000, took % 1000);
    }
    out
}

/// Text of a client for a terminal: controls and the marks that turn the direction of writing are shown as escapes.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
fn instant(milliseconds: u64) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    match OffsetDateTime::from_unix_timestamp_nanos(nanoseconds) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        ),
        Err(_) => milliseconds.to_string(),
    }
}

/// The canonical form: 8-4-4-4-12 hexadecimal digits.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let dashed = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if !dashed || digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*uuid));
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Act, Actor, Audit, AuditOptions, AuditRecord};
    use crate::model::{Address, Outcome, Source};

    #[test]
    fn a_record_reads_well_and_cannot_write_to_the_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), AuditOptions::default()).unwrap();
        let address = Address::Tcp(([192, 0, 2, 1], 4000).into());
        let source = Source {
            address,
            tls: None,
            connection: 1,
            sessions: Vec::new(),
        };
        let mut record = AuditRecord::default();
        record.begin(Act::Search, &Actor::new("gp\x1b[2J-app", &source), 1_800_000_000_123);
        record.fact("filter", b"(cn=Smi*)");
        record.fact("base", "o=nhs\u{202e}".as_bytes());
        record.number("candidates", 3);
        record.entry(&[1; 16]);
        record.finish(&Outcome::success(), Duration::from_micros(1234));
        audit.append(&record);
        drop(audit);
        let line = read::last_lines(&dir.path().join("audit"), 1).unwrap().remove(0);
        assert_eq!(
            readable(&line),
            "2027-01-15T08:00:00.123Z search gp\\u{1b}[2J-app 192.0.2.1:4000 base=\"o=nhs\\u{202e}\" filter=\"(cn=Smi*)\" \
             candidates=3 -> success, 1 entry, 1.234 ms"
        );
    }

    #[test]
    fn uuids_are_read_in_their_canonical_form_only() {
        let text = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(uuid_text(&parse_uuid(text).unwrap()), text);
        assert_eq!(parse_uuid(&text.to_uppercase()), parse_uuid(text));
        for bad in [
            "",
            "550e8400e29b41d4a716446655440000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "uid=1,ou=People,o=nhs",
        ] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refused_bind_is_found_by_the_name_in_its_dn() {
        for (name, value) in [
            ("cn=gp-app,ou=applications,o=nhs", Some("gp-app")),
            ("uid = x ,o=nhs", Some("x")),
            ("gp-app", None),
        ] {
            assert_eq!(first_value(name), value);
        }
    }
}
