//! `load compare`: the same requests to two servers; the sets of entries, with every attribute and value, must be equal.

use super::client::{Connection, connector};
use super::message::{Request, Search, Term};
use super::run::runtime;
use super::sample::Sample;
use super::workload::{self, Binder};
use super::{Peer, Work};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Differences said in full.
const SHOWN: usize = 5;
/// RFC 4511 result code. slapd gives it to a sort that comes while the page before is being put away.
const BUSY: u32 = 51;
/// How often a busy server is asked again, and after how long.
const PATIENCE: (u32, Duration) = (50, Duration::from_millis(20));

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    peer: Peer,
    #[command(flatten)]
    work: Work,
    /// Address of the other server
    #[arg(long)]
    other: std::net::SocketAddr,
    /// Its name to bind with; without it the same
    #[arg(long)]
    other_bind: Option<String>,
    #[arg(long)]
    other_secret: Option<String>,
    /// Attributes not compared, for servers that were written to
    #[arg(long)]
    ignore: Vec<String>,
}

/// Name to a hash of its attributes and values.
type Entries = BTreeMap<String, u64>;

/// Applications have their accounts elsewhere in each server.
fn is_compared(name: &str) -> bool {
    !name.contains("ou=applications,")
}

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let other = Peer {
        server: arguments.other,
        bind: arguments
            .other_bind
            .clone()
            .unwrap_or_else(|| arguments.peer.bind.clone()),
        secret: arguments
            .other_secret
            .clone()
            .unwrap_or_else(|| arguments.peer.secret.clone()),
    };
    let work = &arguments.work;
    let sample = Sample::draw(&work.ldif, work.seed)?;
    let nobody = Binder {
        name: String::new(),
        secret: String::new(),
    };
    let pool = workload::prepare(&work.workload, &sample, &nobody, work.seed, work.requests)?;
    runtime()?.block_on(async {
        let mut one = Connection::open(&connector()?, &arguments.peer).await?;
        let mut two = Connection::open(&connector()?, &other).await?;
        let (mut compared, mut different) = (0, 0);
        for prepared in &pool {
            let Request::Search(search) = &prepared.request else {
                continue;
            };
            // Which hundred entries a limit leaves is each server's own affair; what there is, is not.
            let mut search = search.clone();
            search.size_limit = 0;
            search.attributes = &["*"];
            let left = entries(&mut one, &search, &arguments.ignore).await?;
            let right = entries(&mut two, &search, &arguments.ignore).await?;
            compared += left.1.len();
            if left == right {
                continue;
            }
            different += 1;
            if different <= SHOWN {
                say(&search, &left, &right);
                show_first(&mut one, &mut two, &left.1, &right.1, arguments).await?;
            }
        }
        println!(
            "{}: {} requests, {compared} entries, {different} answers differ",
            work.workload,
            pool.len()
        );
        Ok(different == 0)
    })
}

/// Result code and all entries, page by page where the search has pages.
async fn entries(connection: &mut Connection, search: &Search, ignored: &[String]) -> anyhow::Result<(u32, Entries)> {
    let mut found = Entries::new();
    let request = Request::Search(search.clone());
    let (mut cookie, mut refused) = (Vec::new(), 0);
    loop {
        let (code, _) = connection
            .ask(&request.body(&cookie, 0), |answer| {
                let (name, values) = answer.entry()?;
                if is_compared(&name) {
                    let mut hasher = DefaultHasher::new();
                    kept(values, ignored).hash(&mut hasher);
                    found.insert(name, hasher.finish());
                }
                Ok(())
            })
            .await?;
        if code == BUSY && refused < PATIENCE.0 {
            refused += 1;
            tokio::time::sleep(PATIENCE.1).await;
            continue;
        }
        cookie = if search.page > 0 {
            connection.cookie().to_vec()
        } else {
            Vec::new()
        };
        if code != 0 || cookie.is_empty() {
            return Ok((code, found));
        }
    }
}

fn kept(mut values: Vec<Vec<u8>>, ignored: &[String]) -> Vec<Vec<u8>> {
    let is_ignored = |value: &[u8]| {
        let name = value.split(|octet| *octet == b':').next().unwrap_or_default();
        ignored
            .iter()
            .any(|ignored| ignored.as_bytes().eq_ignore_ascii_case(name))
    };
    values.retain(|value| !is_ignored(value));
    values
}

fn say(search: &Search, left: &(u32, Entries), right: &(u32, Entries)) {
    println!(
        "{} below {}: result {} and {} entries here, {} and {} there",
        search.filter,
        search.base,
        left.0,
        left.1.len(),
        right.0,
        right.1.len()
    );
}

/// The first entry that is not the same in both, as both have it.
async fn show_first(
    one: &mut Connection,
    two: &mut Connection,
    left: &Entries,
    right: &Entries,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let differs = |name: &&String| left.get(*name) != right.get(*name);
    let Some(name) = left.keys().chain(right.keys()).find(differs) else {
        return Ok(());
    };
    for (connection, server) in [(one, arguments.peer.server), (two, arguments.other)] {
        let search = Search {
            base: name.clone(),
            subtree: false,
            size_limit: 0,
            filter: Term::Present("objectClass"),
            attributes: &["*"],
            page: 0,
            sort: None,
            window: None,
        };
        println!("  {server}: {name}");
        let print = |values: Vec<Vec<u8>>| {
            for value in values {
                println!("    {}", String::from_utf8_lossy(&value));
            }
        };
        let body = Request::Search(search).body(&[], 0);
        connection
            .ask(&body, |answer| answer.entry().map(|(_, values)| print(values)))
            .await?;
    }
    Ok(())
}
