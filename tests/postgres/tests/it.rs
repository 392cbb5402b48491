//! The server outlives what it should outlive, and nothing else.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use test_postgres::Postgres;

#[test]
fn the_shared_one_has_databases_for_everyone() -> Result<()> {
    let postgres = Postgres::shared()?;
    postgres.create_database("own")?;
    assert_eq!(postgres.sql("own", "SELECT 1, 'й' UNION SELECT 2, ''")?, "1|й\n2|");
    let error = postgres.sql("other", "SELECT 1").expect_err("it is not there");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(Postgres::shared()?.port(), postgres.port());
    Ok(())
}

#[test]
fn outages_keep_port_and_data() -> Result<()> {
    let postgres = Postgres::start()?;
    postgres.sql("postgres", "CREATE TABLE t (n int)")?;
    postgres.stop()?;
    assert!(postgres.sql("postgres", "SELECT 1").is_err());
    postgres.start_again()?;
    postgres.start_again()?;
    postgres.sql("postgres", "INSERT INTO t VALUES (1)")?;
    postgres.restart_immediate()?;
    assert_eq!(postgres.sql("postgres", "SELECT count(*) FROM t")?, "1");
    let directory = postgres.data_dir();
    drop(postgres);
    assert!(!directory.exists());
    Ok(())
}

/// However the program ends, nothing of the server stays.
#[test]
#[expect(clippy::disallowed_methods, reason = "there is no runtime: it looks at a process")]
fn a_server_ends_with_the_program() -> Result<()> {
    for signal in ["INT", "KILL"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_test-postgres"));
        let mut child = program.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("it was piped")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        let port = line.split([':', '/']).find_map(|part| part.parse::<u16>().ok());
        let address = ("127.0.0.1", port.context("a port")?);
        assert!(TcpStream::connect(address).is_ok());
        let kill = format!("kill -{signal} {}", child.id());
        Command::new("sh").args(["-c", &kill]).status()?;
        assert_eq!(child.wait()?.success(), signal == "INT");
        let start = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the server outlived {signal}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
