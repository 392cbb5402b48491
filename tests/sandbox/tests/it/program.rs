use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::control;

fn start(arguments: &[&str]) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    let mut child = program.args(arguments).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("it was piped")?;
    Ok((child, BufReader::new(stdout).lines()))
}

fn send(signal: &str, child: &Child) -> Result<()> {
    Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .status()?;
    Ok(())
}

#[tokio::test]
async fn wazzup_serves_until_it_is_told_to_stop() -> Result<()> {
    let (mut child, mut lines) = start(&[
        "wazzup",
        "--port",
        "0",
        "--key",
        "k",
        "--foreign",
        "2",
        "--list",
        "pages",
    ])?;
    let url = lines.next().context("the base URL")??;
    let port = url
        .rsplit(':')
        .next()
        .and_then(|rest| rest.strip_suffix("/v3"))
        .context("a port")?;
    assert!(lines.next().context("the key")??.ends_with(" k"));
    let port = port.parse()?;
    assert!(control(port, "GET", "/", "").await?.body.contains("Foreign user 2"));
    control(port, "POST", "/v3/users", "[1, 2]").await?;
    assert!(
        lines
            .next()
            .context("a line")??
            .ends_with(" POST /v3/users, 2 entries -> 401")
    );
    send("TERM", &child)?;
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

/// However it ends, nothing of the server stays.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime to wait on: it looks at a process"
)]
fn postgres_goes_with_the_program() -> Result<()> {
    for (signal, code) in [("INT", Some(0)), ("KILL", None)] {
        let (mut child, mut lines) = start(&["postgres"])?;
        let url = lines.next().context("the URL")??;
        let port = url
            .split([':', '/'])
            .find_map(|part| part.parse::<u16>().ok())
            .context("a port")?;
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(listens());
        let socket = format!(".s.PGSQL.{port}");
        let directories = || {
            let places = [Path::new("/dev/shm").to_path_buf(), std::env::temp_dir()];
            let entries = places
                .into_iter()
                .filter_map(|place| place.read_dir().ok())
                .flatten()
                .flatten();
            entries.filter(|entry| entry.path().join(&socket).exists()).count()
        };
        assert_eq!(directories(), 1);
        send(signal, &child)?;
        assert_eq!(child.wait()?.code(), code);
        let start = Instant::now();
        while listens() || directories() > 0 {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the server outlived a {signal}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
