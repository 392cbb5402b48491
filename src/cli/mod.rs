//! The command line: one file for each verb. Answers go to stdout; logs, notes and questions to stderr.

mod approve;
mod check;
mod erase;
mod explain;
mod healthcheck;
mod holds;
mod invocation;
mod once;
mod page;
mod plan;
mod probe;
mod question;
mod retry;
mod run;
mod setup;
mod status;
#[cfg(test)]
mod tests;
mod text;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use self::{invocation::Invocation, page::Page};
use crate::{
    config::{Config, ConfigError},
    cycle::SyncEngine,
    telemetry::{self, LogLevel},
};

/// Keeps a company's Wazzup users in step with the employee table of its CRM, one way.
#[derive(Debug, Parser)]
#[command(
    name = "wazzup-sync",
    bin_name = "wazzup-sync",
    version = crate::VERSION,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    max_term_width = 100,
    after_help = EXIT_CODES
)]
struct Cli {
    /// Configuration file [default: config/wazzup-sync.toml, else /etc/wazzup-sync/wazzup-sync.toml]
    #[arg(
        short,
        long,
        global = true,
        env = "WAZZUP_SYNC_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  in sync, or the command did its work
  1  the cycle or the command failed
  2  usage or configuration
  3  once: done, but somebody is failing, waiting or pending, a row has no id, or a removal failed
  4  once: done, but something is held
  5  plan --exit-code: it would make requests";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon
    Run,
    /// Run one cycle
    Once,
    /// Print what the next cycle would do; writes nothing
    Plan {
        /// Do not ask Wazzup for its list; users who exist there already are then not recognised
        #[arg(long)]
        offline: bool,
        /// Exit with 5 if the cycle would make requests
        #[arg(long)]
        exit_code: bool,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Test the set-up item by item; writes nothing
    Check {
        /// Ask Wazzup what its documentation leaves open; after a confirmation, creates two marked users and removes them
        #[arg(long)]
        probe: bool,
        /// A phone for the probe's two users; without it nothing is found out about phones
        #[arg(long, requires = "probe", value_name = "NUMBER")]
        phone: Option<String>,
        /// Probe without asking
        #[arg(long, requires = "probe")]
        yes: bool,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show how the account stands: last cycles, counts, failing employees, holds
    Status {
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show everything about one person, from the CRM's row to what to do
    Explain {
        /// The employee's id
        #[arg(allow_negative_numbers = true, value_parser = parse_id)]
        id: String,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List what is held and approve exactly that
    Approve {
        /// Only what is held about these users; everything that is held if none is given
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        ids: Vec<String>,
        /// Approve without asking
        #[arg(long)]
        yes: bool,
        /// Refuse unless exactly this many are held
        #[arg(long, value_name = "NUMBER")]
        expect: Option<usize>,
    },
    /// Try failing and waiting employees again in the next cycle
    Retry {
        /// Employee ids; everybody who is failing or waiting if none is given
        #[arg(value_name = "ID", allow_negative_numbers = true)]
        ids: Vec<String>,
    },
    /// Remove the name and phone of somebody who has left from the state
    Erase {
        /// The id of the person who has left
        #[arg(allow_negative_numbers = true, value_parser = parse_id)]
        id: String,
    },
    /// Exit with 0 if this copy is healthy; for container health checks
    Healthcheck,
}

fn parse_id(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("the id is blank, and no user can have such an id; `plan` counts the rows without one");
    }
    Ok(text.to_owned())
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; see docs/json.md
    Json,
}

impl Format {
    /// Prints `answer`: for people as `write` writes it.
    fn print(self, answer: &impl Serialize, write: impl FnOnce(&mut Page)) -> io::Result<()> {
        match self {
            Self::Text => {
                let mut page = Page::new();
                write(&mut page);
                page.print()
            }
            Self::Json => page::print_json(answer),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Incomplete = 3,
    Held = 4,
    Requests = 5,
}

/// The command line cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

struct Context {
    engine: SyncEngine,
    config: Config,
    config_path: PathBuf,
    /// For commands to suggest.
    invocation: Invocation,
}

/// The command line as clap knows it, for completions and the manual page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let exit = run(Cli::parse()).unwrap_or_else(|error| report(&error));
    ExitCode::from(exit as u8)
}

fn report(error: &anyhow::Error) -> Exit {
    let message = match error.downcast_ref::<io::Error>() {
        // A reader that has seen enough (`| head`) is no failure.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Ok,
        Some(error) => format!("the answer cannot be written: {error}"),
        None => error.to_string(),
    };
    // If stderr is gone, nobody is left to tell.
    _ = page::note(&message);
    if error.is::<ConfigError>() || error.is::<UsageError>() {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let invocation = Invocation::new(cli.config.as_deref());
    let config_path = cli.config.unwrap_or_else(default_config_path);
    let config = Config::load(&config_path, env::vars_os())?;
    // An answer is not interrupted by log lines about what it says itself.
    let level = match cli.verb {
        Verb::Run | Verb::Once => config.log_level,
        _ => LogLevel::Error,
    };
    telemetry::init(config.log_format, level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let span = tracing::error_span!("account", account = config.account);
    let context = Context {
        engine: setup::engine(&config),
        config,
        config_path,
        invocation,
    };
    let exit = runtime.block_on(tracing::Instrument::instrument(run_verb(cli.verb, &context), span));
    // A connection that hangs must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// The file that is read when none is named: the one in the working directory, if there is one, else the system's.
fn default_config_path() -> PathBuf {
    let local = Path::new("config/wazzup-sync.toml");
    if local.exists() {
        local.into()
    } else {
        "/etc/wazzup-sync/wazzup-sync.toml".into()
    }
}

async fn run_verb(verb: Verb, context: &Context) -> anyhow::Result<Exit> {
    match verb {
        Verb::Run => Box::pin(run::run(context)).await,
        Verb::Once => once::once(context).await,
        Verb::Plan {
            offline,
            exit_code,
            format,
        } => plan::plan(context, offline, exit_code, format).await,
        Verb::Check {
            probe: true,
            phone,
            yes,
            format,
        } => probe::probe(context, phone.as_deref(), yes, format).await,
        Verb::Check { format, .. } => check::check(context, format).await,
        Verb::Status { format } => status::status(context, format).await,
        Verb::Explain { id, format } => explain::explain(context, &id, format).await,
        Verb::Approve { ids, yes, expect } => approve::approve(context, &ids, yes, expect).await,
        Verb::Retry { ids } => retry::retry(context, ids).await,
        Verb::Erase { id } => erase::erase(context, &id).await,
        Verb::Healthcheck => healthcheck::healthcheck(context).await,
    }
}
