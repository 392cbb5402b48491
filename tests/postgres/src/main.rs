//! The throw-away Postgres on the command line: for scripts.
#![expect(clippy::print_stdout, reason = "a program for people, whose answers go to stdout")]

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use test_postgres::Postgres;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a throw-away Postgres and prints its URL; Ctrl-C removes it.
#[derive(Debug, Parser)]
struct Arguments {
    /// SQL to run first, in the database `postgres`
    #[arg(long, value_name = "FILE")]
    sql: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let postgres = Postgres::start()?;
    if let Some(file) = Arguments::parse().sql {
        let sql = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        postgres.sql("postgres", &sql)?;
    }
    println!("{}", postgres.url("postgres"));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
