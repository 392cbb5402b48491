//! The program: hands the command line over.

fn main() -> std::process::ExitCode {
    wazzup_sync::cli::main()
}
