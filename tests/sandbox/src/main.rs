//! The sandbox on the command line: for trying `wazzup-sync` out without an account.
#![expect(clippy::print_stdout, reason = "a program for people, whose answers go to stdout")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use sandbox::{Postgres, Wazzup};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Wazzup, and a throw-away Postgres.
#[derive(Debug, Parser)]
#[command(name = "sandbox")]
enum Verb {
    /// Plays the Wazzup users API until Ctrl-C. `GET /` shows the users, `/_sandbox/requests` the requests.
    Wazzup(WazzupArguments),
    /// Starts a throw-away Postgres and prints its URL; Ctrl-C removes it.
    Postgres {
        /// SQL to run first, in the database `postgres`
        #[arg(long, value_name = "FILE")]
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
    /// HTTPS: the certificate chain, in PEM
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// HTTPS: the private key, in PEM
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Verb::parse() {
        Verb::Wazzup(arguments) => play_wazzup(arguments).await,
        Verb::Postgres { sql } => run_postgres(sql).await,
    }
}

async fn play_wazzup(arguments: WazzupArguments) -> anyhow::Result<()> {
    let address = SocketAddr::new(arguments.bind, arguments.port);
    let wazzup = match (arguments.tls_cert, arguments.tls_key) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (read(&certificate)?, read(&key)?);
            Wazzup::start_on(address, Some((&certificate, &key))).await?
        }
        _ => Wazzup::start_on(address, None).await?,
    };
    let stop = stop_signal()?;
    wazzup.set_key(&arguments.key);
    wazzup.vary(|variant| variant.seats = arguments.seats);
    wazzup.seed_foreigners(arguments.foreign);

    println!("base URL  {}", wazzup.base_url());
    println!("key       {}", wazzup.key());
    stop.await;
    Ok(())
}

async fn run_postgres(sql: Option<PathBuf>) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let postgres = Postgres::start()?;
    if let Some(file) = sql {
        postgres.sql("postgres", &read(&file)?)?;
    }
    println!("{}", postgres.url("postgres"));
    stop.await;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM, from this call on.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
