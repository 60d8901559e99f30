//! I am an operator; what can I do?
//!
//! Each command is a file: its `Arguments` are what was typed, [`Setting`] is what the flags, the environment and the
//! configuration come to, `run` does it. Not for: anything a front end beside this one would need too.
//!
//! Invariants: exit status 0 done, 1 the answer is no, 2 could not do it; an error is one line on standard error that
//! says what to do; results go to standard output, progress and logs to standard error; whatever prints a table prints
//! JSON with `--json`; account commands are LDAP, with a running server and without one.

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod account;
mod certificate;
mod client;
mod setting;
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
    /// Manage application accounts
    Account(account::Arguments),
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
            Command::Account(arguments) => account::run(arguments),
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
