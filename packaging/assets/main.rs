//! Writes the man pages and shell completions of `wazzup-sync`, made from the definition of its command line.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Command;
use clap_complete::Shell;

const PROGRAM: &str = "wazzup-sync";

/// Where each shell looks for the completions of a program, below `/usr/share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/wazzup-sync"),
    (Shell::Zsh, "zsh/vendor-completions/_wazzup-sync"),
    (Shell::Fish, "fish/vendor_completions.d/wazzup-sync.fish"),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [version, date, share] = arguments.as_slice() else {
        bail!("usage: assets VERSION DATE DIRECTORY: writes below DIRECTORY what belongs below /usr/share");
    };
    let version = version.to_str().context("the version is not UTF-8")?;
    let date = date.to_str().context("the date is not UTF-8")?;
    // The program itself adds the git revision of a release build, which a build for development does not have.
    let command = wazzup_sync::cli::command().version(version.to_owned());
    write_completions(&command, share.as_ref())?;
    write_man_pages(command, version, date, &Path::new(share).join("man/man1"))
}

fn write_completions(command: &Command, share: &Path) -> anyhow::Result<()> {
    for (shell, file) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), PROGRAM, &mut script);
        write(&share.join(file), &script)?;
    }
    Ok(())
}

/// One page for the program, and one for each verb.
fn write_man_pages(command: Command, version: &str, date: &str, directory: &Path) -> anyhow::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = vec![(PROGRAM.to_owned(), command.clone())];
    for verb in command.get_subcommands() {
        pages.push((format!("{PROGRAM}-{}", verb.get_name()), verb.clone()));
    }
    for (name, command) in pages {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .title(name.to_uppercase())
            .date(date)
            .source(format!("{PROGRAM} {version}"))
            .manual("System administration")
            .render(&mut page)?;
        write(&directory.join(format!("{name}.1")), &page)?;
    }
    Ok(())
}

fn write(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let directory = file.parent().context("a file without a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    fs::write(file, content).with_context(|| format!("write {}", file.display()))
}
