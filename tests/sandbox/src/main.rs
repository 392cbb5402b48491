//! The sandbox on the command line: for trying `wazzup-sync` out without an account.
#![expect(clippy::print_stdout, reason = "a program for people, whose answers go to stdout")]

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use sandbox::{Fault, Wazzup, What, When};
use tokio::signal::unix::{SignalKind, signal};

/// Plays the Wazzup users API until Ctrl-C. `GET /` shows the users, `/_sandbox/requests` the requests.
#[derive(Debug, Parser)]
struct Arguments {
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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let arguments = Arguments::parse();
    let pem = arguments
        .tls
        .map(|file| fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display())));
    let wazzup = Wazzup::start_on(arguments.listen, pem.transpose()?.as_deref())?;
    wazzup.vary(|variant| variant.seats = arguments.seats);
    wazzup.order(
        Fault::new(
            When::Any,
            What::Delay {
                ms: arguments.latency_ms,
            },
        )
        .always(),
    );
    println!("base URL  {}", wazzup.base_url());
    println!("key       {}", wazzup.key());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
