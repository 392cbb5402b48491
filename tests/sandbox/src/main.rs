//! The sandbox on the command line: for trying `wazzup-sync` out without an account.
#![expect(clippy::print_stdout, reason = "a program for people, whose answers go to stdout")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use sandbox::{Fault, Postgres, Wazzup, What, When};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Wazzup, and a throw-away Postgres.
#[derive(Debug, Parser)]
#[command(name = "sandbox")]
enum Verb {
    /// Plays the Wazzup users API until Ctrl-C. `GET /` shows the users, `/_sandbox/requests` the requests.
    Wazzup {
        /// Address and port: port 0 is a free one, and in a container the address is 0.0.0.0
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Users that the account may have
        #[arg(long, default_value_t = 1000)]
        seats: usize,
        /// How long each request takes
        #[arg(long, default_value_t = 0)]
        latency_ms: u64,
        /// HTTPS: the certificate chain and its private key, in PEM
        #[arg(long, value_name = "FILE")]
        tls: Option<PathBuf>,
    },
    /// Starts a throw-away Postgres and prints its URL; Ctrl-C removes it.
    Postgres {
        /// SQL to run first, in the database `postgres`
        #[arg(long, value_name = "FILE")]
        sql: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropped at the end, which stops them.
    let _running: (Option<Wazzup>, Option<Postgres>) = match Verb::parse() {
        Verb::Wazzup {
            listen,
            seats,
            latency_ms,
            tls,
        } => {
            let pem = tls.map(|file| read(&file)).transpose()?;
            let wazzup = Wazzup::start_on(listen, pem.as_deref())?;
            wazzup.vary(|variant| variant.seats = seats);
            wazzup.order(Fault::new(When::Any, What::Delay { ms: latency_ms }).always());
            println!("base URL  {}", wazzup.base_url());
            println!("key       {}", wazzup.key());
            (Some(wazzup), None)
        }
        Verb::Postgres { sql } => {
            let postgres = Postgres::start()?;
            if let Some(file) = sql {
                postgres.sql("postgres", &read(&file)?)?;
            }
            println!("{}", postgres.url("postgres"));
            (None, Some(postgres))
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
