//! I am an operator; what can I do?

use std::process::ExitCode;

/// Runs the command line. 0 done, 1 the answer is no, 2 could not do it.
pub fn run() -> ExitCode {
    ExitCode::from(2)
}
