//! The `nhsdir` program: see [`nhsdir::cli`].

/// A request takes some thirty small pieces of memory and gives them back: the system's allocator spends a tenth of a look-up on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    nhsdir::cli::run()
}
