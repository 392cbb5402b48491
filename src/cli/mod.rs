//! The command line: one file for each verb. Answers go to stdout, logs and notes to stderr.

mod approve;
mod changes;
mod check;
mod erase;
mod explain;
mod healthcheck;
mod holds;
mod invocation;
#[cfg(test)]
mod json_docs;
mod once;
mod page;
mod plan;
mod probe;
mod question;
mod retry;
mod run;
mod setup;
mod status;
mod text;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, parser::ValueSource};

use self::invocation::Invocation;
use crate::{
    config::{self, Config, ConfigError},
    crm, state,
    telemetry::{self, LogLevel},
    wazzup,
};

/// Keeps a company's Wazzup users in step with the employee table of its CRM, one way.
#[derive(Debug, Parser)]
#[command(
    name = "wazzup-sync",
    bin_name = "wazzup-sync",
    version = crate::VERSION,
    disable_help_subcommand = true,
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
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Test the set-up item by item; writes nothing
    Check {
        /// Ask Wazzup what its documentation leaves open: creates two marked users and removes them, after a question
        #[arg(long)]
        probe: bool,
        /// A phone for the probe's two users; without it nothing is found out about phones
        #[arg(long, requires = "probe", value_name = "NUMBER")]
        phone: Option<String>,
        /// Probe without asking
        #[arg(long, requires = "probe")]
        yes: bool,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show how the account stands: last cycles, counts, failing employees, holds
    Status {
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show everything about one person, from the CRM's row to what to do
    Explain {
        /// The employee's id
        #[arg(allow_negative_numbers = true)]
        id: String,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
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
        #[arg(allow_negative_numbers = true)]
        id: String,
    },
    /// Tell whether this copy is healthy; for the container
    Healthcheck,
    /// Print this help, or that of a verb
    Help {
        /// The verb
        verb: Option<String>,
    },
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs; see docs/json.md
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
    /// `once`: somebody is failing, waiting or pending, a row has no id, or a removal failed.
    Incomplete = 3,
    /// `once`: something is held.
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
    /// The command line cannot be followed.
    #[error("{0}")]
    Usage(String),
    /// The command was understood, and not followed.
    #[error("{0}")]
    Refused(String),
    #[error("the cycle was interrupted; nothing is lost, and the next one continues")]
    Interrupted,
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Crm(#[from] crm::Error),
    #[error(transparent)]
    Wazzup(#[from] wazzup::Error),
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Refused(_)
            | Self::Interrupted
            | Self::State(_)
            | Self::Crm(_)
            | Self::Wazzup(_)
            | Self::Output(_) => Exit::Failed,
        }
    }

    /// A reader that has seen enough (`| head`) is no failure.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What a verb works with.
#[derive(Debug)]
struct Context {
    config: Config,
    /// Where the configuration was read.
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
    let matches = command().get_matches();
    let result = Cli::from_arg_matches(&matches)
        .map_err(|error| error.exit())
        .and_then(|cli| run(cli, &matches));
    match result {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Ok.into(),
        Err(error) => {
            // If stderr is gone, nobody is left to tell.
            _ = page::note(&error.to_string());
            error.exit().into()
        }
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> Result<Exit, Error> {
    if let Verb::Help { verb } = cli.verb {
        return help(verb.as_deref());
    }
    let is_given = matches.value_source("config") == Some(ValueSource::CommandLine);
    let invocation = Invocation::new(cli.config.as_deref().filter(|_| is_given));
    let config_path = cli.config.unwrap_or_else(config::default_path);
    let config = Config::load(&config_path)?;
    // An answer is not interrupted by log lines about what it says itself.
    let level = match cli.verb {
        Verb::Run | Verb::Once => config.log.level,
        _ => LogLevel::Error,
    };
    telemetry::init(config.log.format, level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let span = tracing::error_span!("account", account = config.account);
    let context = Context {
        config,
        config_path,
        invocation,
    };
    let exit = runtime.block_on(tracing::Instrument::instrument(follow(cli.verb, &context), span));
    // A connection that hangs must not hold up the end.
    runtime.shutdown_background();
    exit
}

async fn follow(verb: Verb, context: &Context) -> Result<Exit, Error> {
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
        Verb::Retry { ids } => retry::retry(context, &ids).await,
        Verb::Erase { id } => erase::erase(context, &id).await,
        Verb::Healthcheck => healthcheck::healthcheck(context).await,
        Verb::Help { verb } => help(verb.as_deref()),
    }
}

/// The help of the program, or of one verb.
fn help(verb: Option<&str>) -> Result<Exit, Error> {
    let mut command = command();
    command.build();
    let Some(verb) = verb else {
        command.print_help()?;
        return Ok(Exit::Ok);
    };
    let Some(subcommand) = command.find_subcommand_mut(verb) else {
        return Err(Error::Usage(format!(
            "there is no verb {verb}; `wazzup-sync help` lists them all"
        )));
    };
    subcommand.print_help()?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_named_file_is_told_from_the_default() {
        for (arguments, is_given) in [
            (&["wazzup-sync", "status"][..], false),
            (&["wazzup-sync", "-c", "x", "status"], true),
            (&["wazzup-sync", "status", "--config", "x"], true),
        ] {
            let matches = command().try_get_matches_from(arguments).unwrap();
            let source = matches.value_source("config");
            assert_eq!(source == Some(ValueSource::CommandLine), is_given, "{arguments:?}");
            assert_eq!(Cli::from_arg_matches(&matches).unwrap().config.is_some(), is_given);
        }
    }
}
