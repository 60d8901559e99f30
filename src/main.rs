//! The `nhsdir` program: see [`nhsdir::cli`].

fn main() -> std::process::ExitCode {
    nhsdir::cli::run()
}
