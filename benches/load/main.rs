//! The load generator: LDAP over TLS, closed loop, requests encoded before the run, every answer walked.
//!
//! `benches/versus-slapd` drives it; by hand: `cargo bench --bench load -- run --help`. What it measures first is the server's CPU an
//! operation: user and system time of the server's process over a counted number of operations, nothing in flight before or after.

mod client;
mod compare;
mod data;
mod floor;
mod measure;
mod message;
mod run;
mod sample;
mod workload;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "load", about = "Load generator for LDAP over TLS")]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a synthetic directory of plain inetOrgPerson entries as LDIF, which any LDAP server loads
    Data(data::Arguments),
    /// Run one workload against one server and print what it cost as JSON
    Run(run::Arguments),
    /// Send the same requests to two servers and compare every entry they give
    Compare(compare::Arguments),
    /// Wait until a server answers a bind and a search
    Probe(run::ProbeArguments),
    /// Serve canned answers over TLS: what tokio, rustls and the kernel cost without any directory
    Floor(floor::Arguments),
    /// Name the workloads
    Workloads,
}

/// Where a server is and who asks.
#[derive(clap::Args, Clone, Debug)]
pub struct Peer {
    /// Address of the server's TLS port
    #[arg(long)]
    server: SocketAddr,
    /// Name to bind with
    #[arg(long)]
    bind: String,
    /// Its secret
    #[arg(long)]
    secret: String,
}

/// What is asked.
#[derive(clap::Args, Clone, Debug)]
pub struct Work {
    /// LDIF that the servers hold; the values of the requests are drawn from it
    #[arg(long)]
    ldif: PathBuf,
    /// Name of the workload, see `workloads`
    #[arg(long)]
    workload: String,
    /// The same seed gives the same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests encoded beforehand
    #[arg(long, default_value_t = 16_384)]
    requests: usize,
}

fn main() -> ExitCode {
    // `cargo bench` runs every bench with this one argument.
    if std::env::args().skip(1).eq(["--bench"]) {
        println!("load: a load generator has nothing to say by itself; run benches/versus-slapd");
        return ExitCode::SUCCESS;
    }
    let arguments = std::env::args().filter(|argument| argument != "--bench");
    let answer = match Command::parse_from(arguments).verb {
        Verb::Data(arguments) => data::write(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Compare(arguments) => compare::run(&arguments),
        Verb::Probe(arguments) => run::probe(&arguments),
        Verb::Floor(arguments) => floor::serve(&arguments),
        Verb::Workloads => {
            println!("{}", workload::names().join("\n"));
            Ok(true)
        }
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(2)
        }
    }
}
