//! The command line: one file for each verb that says something. Answers go to stdout, logs to stderr.

mod approve;
mod check;
mod explain;
mod healthcheck;
mod plan;
mod retry;
mod setup;
mod status;
mod sync;
mod text;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    config::{Config, ConfigError},
    state,
};

/// Keeps a company's Wazzup users in step with the employee table of its CRM, one way.
#[derive(Debug, Parser)]
#[command(name = "wazzup-sync", version = crate::VERSION)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        env = "WAZZUP_SYNC_CONFIG",
        default_value = "config/wazzup-sync.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon.
    Run,
    /// Run one cycle.
    Once,
    /// Print what a cycle would do; writes nothing and does not call Wazzup.
    Plan {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Exit with 5 if it would make requests.
        #[arg(long)]
        exit_code: bool,
    },
    /// Prove the set-up item by item; writes nothing.
    Check,
    /// Tell how the account stands: counts, failing employees, held removals.
    Status {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Tell one person's whole way, from the CRM's row to what to do.
    Explain {
        /// The employee's id.
        #[arg(allow_negative_numbers = true)]
        id: String,
    },
    /// List the held removals and approve exactly these.
    Approve {
        /// Approve without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Make failing and waiting employees due now.
    Retry {
        /// Whom; without any, all of them.
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        ids: Vec<String>,
    },
    /// Tell whether this copy is healthy; for the container.
    Healthcheck,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// In sync, or the command did its work.
    Ok = 0,
    /// The cycle or the command failed.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// `once`: employees are failing, waiting for a seat or pending, or a removal failed.
    Incomplete = 3,
    /// `once`: removals are held.
    Held = 4,
    /// `plan --exit-code`: it would make requests.
    Requests = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Crm(#[from] crate::crm::Error),
    #[error(transparent)]
    Cycle(#[from] crate::cycle::Error),
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// The definition of the command line, of which the packages' man pages and shell completions are made.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = match error {
                Error::Config(_) | Error::Usage(_) => Exit::Usage,
                // A reader that has seen enough (`| head`) is no failure.
                Error::Output(ref it) if it.kind() == std::io::ErrorKind::BrokenPipe => return Exit::Ok.into(),
                _ => Exit::Failed,
            };
            complain(&error);
            exit.into()
        }
    }
}

/// An error before or beside the log.
#[expect(clippy::print_stderr, reason = "it is what the user of a command sees")]
fn complain(error: &Error) {
    eprintln!("wazzup-sync: {error}");
}

fn run(cli: Cli) -> Result<Exit, Error> {
    let config = Config::load(&cli.config)?;
    crate::telemetry::init(config.log.format, &config.log.level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let span = tracing::error_span!("account", account = config.account);
    let verb = async {
        match cli.verb {
            Verb::Run => sync::run(&config).await,
            Verb::Once => sync::once(&config).await,
            Verb::Plan { format, exit_code } => plan::plan(&config, format, exit_code).await,
            Verb::Check => check::check(&config, &cli.config).await,
            Verb::Status { format } => status::status(&config, format).await,
            Verb::Explain { id } => explain::explain(&config, &id).await,
            Verb::Approve { yes } => approve::approve(&config, yes).await,
            Verb::Retry { ids } => retry::retry(&config, &ids).await,
            Verb::Healthcheck => healthcheck::healthcheck(&config).await,
        }
    };
    let exit = runtime.block_on(tracing::Instrument::instrument(verb, span));
    // A connection that hangs must not hold up the end.
    runtime.shutdown_background();
    exit
}
