//! Where the server's binaries are, and where its files go.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Directories with one sub-directory per installed version, and the way from there to its binaries.
const VERSIONED: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
    ("/opt/local/lib", "postgresql"),
];

/// A cluster with some dozens of databases; less room in memory, and the files go to the disk.
const ROOM_KIB: u64 = 1 << 20;

/// The directory that holds `initdb` and `postgres`: `$PGBIN`, the `PATH`, then the newest of the
/// places where packages put them.
pub(super) fn find() -> anyhow::Result<PathBuf> {
    if let Some(chosen) = env::var_os("PGBIN").map(PathBuf::from) {
        if has_binaries(&chosen) {
            return Ok(chosen);
        }
        bail!("PGBIN is {}, but there is no `initdb` and `postgres`", chosen.display());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).find(|directory| has_binaries(directory));
    found.map(behind_links).or_else(newest).context(
        "found no PostgreSQL server binaries (`initdb`, `postgres`) in $PGBIN, in the PATH or where packages put \
         them: install them with `apt-get install postgresql` (Debian, Ubuntu) or `brew install postgresql@17` \
         (macOS), or set PGBIN to the directory that holds them",
    )
}

fn has_binaries(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|binary| directory.join(binary).is_file())
}

/// Where the links in the directory lead to: `psql` is there, too.
fn behind_links(directory: PathBuf) -> PathBuf {
    let real = fs::canonicalize(directory.join("postgres")).ok();
    let real = real.and_then(|binary| Some(binary.parent()?.to_path_buf()));
    real.filter(|real| has_binaries(real)).unwrap_or(directory)
}

fn newest() -> Option<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in VERSIONED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name
                .strip_prefix(prefix)
                .and_then(|version| version.parse::<u32>().ok());
            let binaries = entry.path().join("bin");
            if let Some(version) = version
                && has_binaries(&binaries)
            {
                found.push((version, binaries));
            }
        }
    }
    found.into_iter().max().map(|(_, binaries)| binaries)
}

/// A temporary directory, in memory if there is room: a container's `/dev/shm` often is 64 MB.
pub(super) fn directory() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("sandbox-pg-");
    let memory = Path::new("/dev/shm");
    if room_kib(memory).is_some_and(|room| room >= ROOM_KIB)
        && let Ok(directory) = builder.tempdir_in(memory)
    {
        return Ok(directory);
    }
    builder
        .tempdir()
        .context("cannot make a temporary directory: set TMPDIR to a writable one")
}

fn room_kib(directory: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(directory).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
