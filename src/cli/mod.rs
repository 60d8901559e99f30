//! I am an operator; what can I do?
//!
//! Each command is a file: its `Arguments` are what was typed, [`Setting`] is what the flags, the environment and the
//! configuration come to, `run` does it. Not for: anything a front end beside this one would need too.
//!
//! Invariants: exit status 0 done, 1 the answer is no, 2 could not do it; an error is one line on standard error that
//! says what to do; results go to standard output, progress and logs to standard error; whatever prints a table prints
//! JSON with `--json`; account commands are LDAP, with a running server and without one.

use crate::directory::{Directory, Session};
use crate::model::{Address, Source};
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::sync::Arc;

mod account;
mod apply;
mod audit;
mod certificate;
mod check;
mod client;
mod demo;
mod explain;
mod export;
pub mod generate;
mod import;
mod init;
mod schema;
mod serve;
mod setting;
mod status;
mod table;

pub use setting::{Place, Setting};

/// An authenticated LDAP directory server for the NHS Directory.
#[derive(Parser, Debug)]
#[command(name = "nhsdir", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the whole story in one command, on a throw-away directory
    Demo(demo::Arguments),
    /// Create an empty directory and its development certificate
    Init(init::Arguments),
    /// Serve the directory until SIGTERM or SIGINT
    Serve(serve::Arguments),
    /// Manage application accounts
    Account(Box<account::Arguments>),
    /// Show what was done and seen, by whom; verify the log
    Audit(audit::Arguments),
    /// Show how a search runs: plan, estimates, candidates; with --stats what each index costs
    Explain(explain::Arguments),
    /// Verify every checksum, index against entries, and the journal
    Check(check::Arguments),
    /// Say whether a server runs on the data directory, and how it is
    Status(status::Arguments),
    /// Merge what changed into the next segment now
    Compact(check::CompactArguments),
    /// Write a synthetic NHS directory as LDIF: real organisations, made-up people
    Generate(generate::Arguments),
    /// Load LDIF, content or changes, into a directory that no server runs on
    Import(import::Arguments),
    /// Send LDIF changes to a running server
    Apply(apply::Arguments),
    /// Check schema files, or print the schema
    Schema(schema::Arguments),
    /// Write the directory as LDIF
    Export(export::Arguments),
}

/// What a command that could do its work came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Exit status 0.
    Done,
    /// The answer is no: faults found, not running, not there. Exit status 1.
    No,
}

/// Runs the command line. 0 done, 1 the answer is no, 2 could not do it.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    match line.command.run() {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("nhsdir: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::from(2)
        }
    }
}

impl Command {
    fn run(self) -> anyhow::Result<Answer> {
        match self {
            Command::Demo(arguments) => demo::run(arguments),
            Command::Init(arguments) => init::run(arguments),
            Command::Serve(arguments) => serve::run(arguments),
            Command::Account(arguments) => account::run(*arguments),
            Command::Audit(arguments) => audit::run(arguments),
            Command::Explain(arguments) => explain::run(arguments),
            Command::Check(arguments) => check::run(arguments),
            Command::Status(arguments) => status::run(arguments),
            Command::Compact(arguments) => check::compact(arguments),
            Command::Generate(arguments) => generate::run(arguments),
            Command::Import(arguments) => import::run(arguments),
            Command::Apply(arguments) => apply::run(arguments),
            Command::Schema(arguments) => schema::run(arguments),
            Command::Export(arguments) => export::run(arguments),
        }
    }
}

/// Runs a command that speaks LDAP.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime could be started; the system is out of threads or files")?;
    runtime.block_on(work)
}

/// The local administrator's session: this process opened the directory, so it may.
fn operator(directory: &Directory) -> anyhow::Result<Session> {
    let user = std::fs::metadata("/proc/self").context("the process cannot see its own user in /proc")?;
    let process = i32::try_from(std::process::id()).ok();
    let address = Address::Local {
        uid: user.uid(),
        gid: user.gid(),
        pid: process,
    };
    let source = Arc::new(Source {
        address,
        tls: None,
        connection: 0,
        sessions: Vec::new(),
    });
    directory
        .bind_external(b"", &source)
        .map_err(|outcome| anyhow::anyhow!("this user is no administrator: {:?} {}", outcome.code, outcome.message))
}
