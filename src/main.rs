fn main() -> std::process::ExitCode {
    nhsdir::cli::run()
}
