//! I am an operator; what can I do?
//!
//! Each command is a file: its `Arguments` are what was typed, [`Setting`] is what the flags, the environment and the
//! configuration come to, `run` does it. Not for: anything a front end beside this one would need too.
//!
//! Invariants: exit status 0 done, 1 the answer is no, 2 could not do it; an error is one line on standard error that
//! says what to do; results go to standard output, progress and logs to standard error; whatever prints a table prints
//! JSON with `--json`; account commands are LDAP, with a running server and without one.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod setting;

pub use setting::{Place, Setting};

/// An authenticated LDAP directory server for the NHS Directory.
#[derive(Parser, Debug)]
#[command(name = "nhsdir", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {}

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
        match self {}
    }
}
