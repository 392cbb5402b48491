//! The sandbox on the command line: for trying `wazzup-sync` out without an account.
#![expect(clippy::print_stdout, reason = "a program for people, whose answers go to stdout")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use sandbox::{ListStyle, Postgres, Request, Wazzup};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Wazzup, and a throw-away Postgres.
#[derive(Debug, Parser)]
#[command(name = "sandbox")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Plays the Wazzup users API until Ctrl-C. `GET /` shows the users; `/_sandbox/` takes orders.
    Wazzup(WazzupArguments),
    /// Starts a throw-away Postgres and prints its URL; Ctrl-C removes it.
    Postgres {
        /// The port [default: a free one]
        #[arg(long)]
        port: Option<u16>,
        /// SQL to run first, in the database `postgres`
        #[arg(long)]
        sql: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct WazzupArguments {
    /// The port; 0 is a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on; 0.0.0.0 in a container
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The key to accept
    #[arg(long, default_value = "sandbox-key")]
    key: String,
    /// Users that the account may have
    #[arg(long, default_value_t = 1000)]
    seats: usize,
    /// Users that are there already and belong to nobody's synchronization
    #[arg(long, default_value_t = 0)]
    foreign: usize,
    /// The shape of the users' list
    #[arg(long, value_enum, default_value_t = List::Array)]
    list: List,
    /// HTTPS: the certificate chain, in PEM
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// HTTPS: the private key, in PEM
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum List {
    /// A bare array of everyone
    Array,
    /// Pages of 100 with a count
    Pages,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Wazzup(arguments) => wazzup(arguments).await,
        Verb::Postgres { port, sql } => postgres(port, sql).await,
    }
}

async fn wazzup(arguments: WazzupArguments) -> anyhow::Result<()> {
    let address = SocketAddr::new(arguments.bind, arguments.port);
    let wazzup = match (arguments.tls_cert, arguments.tls_key) {
        (Some(certificate), Some(key)) => Wazzup::start_tls_on(address, &read(&certificate)?, &read(&key)?).await?,
        _ => Wazzup::start_on(address).await?,
    };
    wazzup.set_key(&arguments.key);
    wazzup.vary(|variant| {
        variant.seats = arguments.seats;
        variant.list = match arguments.list {
            List::Array => ListStyle::Array,
            List::Pages => ListStyle::Pages,
        };
    });
    wazzup.seed_foreigners(arguments.foreign);

    let stop = stop()?;
    let mut requests = wazzup.subscribe();
    println!("base URL  {}", wazzup.base_url());
    println!("key       {}", wazzup.key());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(request) = requests.recv() => println!("{}", line(&request)),
        }
    }
}

/// `09:41:07 POST /v3/users, 42 entries -> 200`
fn line(request: &Request) -> String {
    let seconds = request.unix_millis() / 1000;
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let entries = request.json.as_ref().and_then(|json| json.as_array());
    let entries = entries.map_or_else(String::new, |entries| match entries.len() {
        1 => ", 1 entry".to_owned(),
        count => format!(", {count} entries"),
    });
    let status = request
        .status
        .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let Request { method, path, .. } = request;
    format!("{hours:02}:{minutes:02}:{seconds:02} {method} {path}{entries} -> {status}")
}

async fn postgres(port: Option<u16>, sql: Option<PathBuf>) -> anyhow::Result<()> {
    let stop = stop()?;
    let postgres = match port {
        Some(port) => Postgres::start_on(port, &[])?,
        None => Postgres::start()?,
    };
    if let Some(file) = sql {
        postgres.sql_file("postgres", &file)?;
    }
    println!("{}", postgres.url("postgres"));
    stop.await;
    Ok(())
}

/// Ctrl-C or SIGTERM, from this call on.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
