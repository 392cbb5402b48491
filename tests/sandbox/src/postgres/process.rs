//! Processes: as whom they run, in what environment, and how they are told to end.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use anyhow::{Context, ensure};

/// The account for the server if this process is root: whoever made a directory owns it.
pub(super) fn owner(made_by_us: &Path) -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata(made_by_us)?.uid() != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let account = |wanted: &str| {
        accounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let named = fields.len() > 3 && fields[0] == wanted;
            named.then(|| Some((fields[2].parse().ok()?, fields[3].parse().ok()?)))?
        })
    };
    let account = account("postgres").or_else(|| account("nobody"));
    ensure!(
        account.is_some(),
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody`"
    );
    Ok(account)
}

/// A command that no `PG…` variable of the caller's shell leads astray.
pub(super) fn clean(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        if key.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(key);
        }
    }
    command.env("LC_ALL", "C");
    command
}

/// By the shell's own `kill`, since a slim container has no other.
pub(super) fn signal(server: &Child, name: &str) -> anyhow::Result<()> {
    let kill = format!("kill -{name} {}", server.id());
    let output = Command::new("sh")
        .args(["-c", &kill])
        .output()
        .context("cannot run `sh`")?;
    succeeded("kill", &output)
}

pub(super) fn succeeded(what: &str, output: &Output) -> anyhow::Result<()> {
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what} failed ({}): {}",
        output.status,
        message.trim_end()
    );
    Ok(())
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on the loopback")?;
    Ok(listener.local_addr()?.port())
}
