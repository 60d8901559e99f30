//! `load run`: warm up, count, say what it cost.

use super::client::{Connection, Manner, Tally, Until, connector};
use super::measure::{Cpu, memory};
use super::message::{Request, Search, Term};
use super::sample::Sample;
use super::workload::{self, Binder, Prepared};
use super::{Peer, Work};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

/// What outstanding requests may take at the end.
const DRAIN: Duration = Duration::from_secs(120);

/// How long a probe waits between attempts.
const AGAIN: Duration = Duration::from_millis(2);

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    peer: Peer,
    #[command(flatten)]
    work: Work,
    /// Process of the server, to ask the kernel for its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Connections; without it the workload's own number
    #[arg(long)]
    connections: Option<usize>,
    /// Outstanding requests of each connection; without it the workload's own number
    #[arg(long)]
    outstanding: Option<usize>,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// So many operations in place of seconds, and no warm-up
    #[arg(long)]
    operations: Option<u64>,
    /// So many requests a second in all, in place of as many as can be
    #[arg(long)]
    rate: Option<f64>,
    /// The server gives canned answers: so many entries a search, not checked
    #[arg(long)]
    floor_entries: Option<u32>,
}

#[derive(clap::Args, Debug)]
pub struct ProbeArguments {
    #[command(flatten)]
    peer: Peer,
    /// Base of the search
    #[arg(long, default_value = "o=nhs")]
    base: String,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

pub fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let name = arguments.work.workload.as_str();
    let mut requests = arguments.work.requests;
    let sample = match arguments.operations {
        Some(operations) if name == "change-each" => {
            requests = operations as usize;
            Sample::first(&arguments.work.ldif, requests)?
        }
        _ => Sample::draw(&arguments.work.ldif, arguments.work.seed)?,
    };
    let binder = Binder {
        name: arguments.peer.bind.clone(),
        secret: arguments.peer.secret.clone(),
    };
    let mut pool = workload::prepare(name, &sample, &binder, arguments.work.seed, requests)?;
    if let Some(entries) = arguments.floor_entries {
        for prepared in &mut pool {
            prepared.body = prepared.request.body(&[], entries.max(1));
            prepared.entries = None;
        }
    }
    let result = runtime()?.block_on(LocalSet::new().run_until(measured(arguments, pool)))?;
    println!("{result}");
    Ok(result["wrong"] == json!(0))
}

async fn measured(arguments: &Arguments, pool: Vec<Prepared>) -> anyhow::Result<Value> {
    let name = arguments.work.workload.as_str();
    let (connections, outstanding) = workload::shape(name);
    let connections = arguments.connections.unwrap_or(connections);
    // A bind ends what is outstanding, and slapd keeps one paged search a connection.
    let single = name == "cold"
        || pool
            .iter()
            .any(|one| one.is_paged() || matches!(one.request, Request::Bind { .. }));
    let outstanding = if single {
        1
    } else {
        arguments.outstanding.unwrap_or(outstanding)
    };
    let mut load = Load {
        connector: connector()?,
        peer: arguments.peer.clone(),
        pool: Rc::new(pool),
        open: Vec::new(),
        is_cold: name == "cold",
        outstanding,
        every: arguments
            .rate
            .map(|rate| Duration::from_secs_f64(connections as f64 / rate)),
    };
    for number in 0..connections {
        load.open.push(load.connection(number, connections).await?);
    }
    let until = |seconds| Until::Time(Instant::now() + Duration::from_secs_f64(seconds));
    let until_end = match arguments.operations {
        Some(operations) => Until::Operations(operations.div_ceil(connections as u64)),
        None => {
            load.all(until(arguments.warm_up)).await?;
            until(arguments.seconds)
        }
    };
    let (server, client) = (arguments.pid.map(|pid| Cpu::of(&pid.to_string())), Cpu::of("self"));
    let start = Instant::now();
    let tally = load.all(until_end).await?;
    let seconds = start.elapsed().as_secs_f64();
    let client = Cpu::of("self").since(&client);
    let server = server
        .zip(arguments.pid)
        .map(|(before, pid)| Cpu::of(&pid.to_string()).since(&before));
    ensure!(tally.operations > 0, "no operation was answered");
    let each = |total: f64| total * 1e6 / tally.operations as f64;
    Ok(json!({
        "workload": name, "connections": connections, "outstanding": outstanding, "seconds": seconds,
        "operations": tally.operations, "operations_per_second": tally.operations as f64 / seconds,
        "entries_per_operation": tally.entries as f64 / tally.operations as f64,
        "octets_per_operation": tally.octets as f64 / tally.operations as f64,
        "server_cpu_us": server.map(each), "client_cpu_us": each(client), "server_cores": server.map(|cpu| cpu / seconds),
        "latency_us": tally.latency.json(), "results": tally.results, "wrong": if arguments.floor_entries.is_some() { 0 } else { tally.wrong },
        "fault": tally.fault, "memory": arguments.pid.map(memory),
    }))
}

/// All connections of one run.
struct Load {
    connector: TlsConnector,
    peer: Peer,
    pool: Rc<Vec<Prepared>>,
    open: Vec<Connection>,
    is_cold: bool,
    outstanding: usize,
    every: Option<Duration>,
}

impl Load {
    /// Each connection begins at another place of the requests.
    async fn connection(&self, number: usize, connections: usize) -> anyhow::Result<Connection> {
        let mut connection = Connection::open(&self.connector, &self.peer).await?;
        connection.start_at(number * self.pool.len() / connections);
        Ok(connection)
    }

    /// Everybody asks until the end, and hears every answer.
    async fn all(&mut self, until: Until) -> anyhow::Result<Tally> {
        let manner = Manner {
            outstanding: self.outstanding,
            until,
            every: self.every,
        };
        let connections = self.open.len();
        let mut tasks = Vec::new();
        for (number, mut connection) in self.open.drain(..).enumerate() {
            let pool = Rc::clone(&self.pool);
            let cold = self.is_cold.then(|| (self.connector.clone(), self.peer.clone()));
            tasks.push(tokio::task::spawn_local(async move {
                let tally = match cold {
                    Some((connector, peer)) => {
                        let start = number * pool.len() / connections;
                        each_anew(&connector, &peer, &pool, start, manner.until).await?
                    }
                    None => connection.drive(&pool, manner).await?,
                };
                Ok::<_, anyhow::Error>((tally, connection))
            }));
        }
        let mut sum = Tally::default();
        for task in tasks {
            let limit = match until {
                Until::Time(end) => end.saturating_duration_since(Instant::now()) + DRAIN,
                Until::Operations(_) => Duration::from_secs(3600),
            };
            let ended = tokio::time::timeout(limit, task).await;
            let (tally, connection) = ended.context("requests were not answered in time")???;
            sum.add(&tally);
            self.open.push(connection);
        }
        Ok(sum)
    }
}

/// A new connection for each request: connect, shake hands, bind, search, unbind.
async fn each_anew(
    connector: &TlsConnector,
    peer: &Peer,
    pool: &[Prepared],
    start: usize,
    until: Until,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for prepared in pool.iter().cycle().skip(start) {
        let over = match until {
            Until::Time(end) => Instant::now() >= end,
            Until::Operations(count) => tally.operations >= count,
        };
        if over {
            break;
        }
        let since = Instant::now();
        let mut connection = Connection::open(connector, peer).await?;
        let mut entries = 0;
        let (code, text) = connection
            .ask(&prepared.body, |answer| {
                entries += u32::from(answer.is_entry());
                Ok(())
            })
            .await?;
        connection.close().await?;
        tally.latency.record(since.elapsed());
        tally.judge(prepared, code, &text, entries);
    }
    Ok(tally)
}

/// Waits for the first bind and base search that are answered.
pub fn probe(arguments: &ProbeArguments) -> anyhow::Result<bool> {
    let search = Request::Search(Search {
        base: arguments.base.clone(),
        subtree: false,
        size_limit: 0,
        filter: Term::Present("objectClass"),
        attributes: &["*"],
        page: 0,
        sort: None,
        window: None,
    });
    let body = search.body(&[], 0);
    let end = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let runtime = runtime()?;
    loop {
        match runtime.block_on(once(arguments, &body)) {
            Ok(()) => return Ok(true),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

async fn once(arguments: &ProbeArguments, body: &[u8]) -> anyhow::Result<()> {
    let mut connection = Connection::open(&connector()?, &arguments.peer).await?;
    let mut entries = 0;
    let (code, text) = connection
        .ask(body, |_| {
            entries += 1;
            Ok(())
        })
        .await?;
    ensure!(code == 0 && entries == 1, "result {code} {text}, {entries} entries");
    connection.close().await
}
