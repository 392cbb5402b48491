//! Tells the compiler which git revision it builds, for `--version`, and Cargo what else makes a new build.
use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    // `sqlx::migrate!` sees a changed file by itself, but not a new one.
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-env-changed=WAZZUP_SYNC_REVISION");
    let revision = env::var("WAZZUP_SYNC_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(from_git)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=WAZZUP_SYNC_REVISION={revision}");
}

/// The revision of the work tree that is built, if it is one of ours.
fn from_git() -> Option<String> {
    // Whoever develops is not interested in the revision, and would pay for it: each commit would build the crate anew.
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return Some("debug build".to_owned());
    }
    // An unpacked tarball may lie inside somebody else's repository: its revision would be a lie.
    if !Path::new(".git").exists() {
        return None;
    }
    // Written at every commit, checkout and rebase. In a linked work tree it is not below `.git`, so git is asked.
    let head_log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={head_log}");
    git(&["rev-parse", "--short=7", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !answer.trim().is_empty()).then(|| answer.trim().to_owned())
}
