//! The real binary on a pseudo-terminal, as a person uses it.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{process::Child, sync::watch, time::timeout};

use crate::process::{PATIENCE, command, signal};

/// A verb that runs on a terminal; killed when dropped.
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// Everything that was written until now; closed once nobody can write any more.
    screen: watch::Receiver<String>,
}

/// What a verb that has ended left on its terminal.
pub struct Screen {
    pub code: i32,
    /// As it was written, with colours; what was typed is in it, too.
    pub raw: String,
}

impl Terminal {
    /// With `answer`, standard output goes there: what is on the screen was written to standard error.
    pub fn start(
        config: &Path,
        env: &[(String, String)],
        columns: u16,
        arguments: &[&str],
        answer: Option<File>,
    ) -> Self {
        let (ours, theirs) = open(columns);
        let mut command = command(config, &[], arguments);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let stream = || Stdio::from(theirs.try_clone().expect("a copy"));
        let stdout = answer.map_or_else(stream, Stdio::from);
        command.stdin(stream()).stdout(stdout).stderr(stream());
        let child = command.spawn().expect("the binary runs");
        let (sender, screen) = watch::channel(String::new());
        let keyboard = ours.try_clone().expect("a copy");
        thread::spawn(move || copy_screen(ours, &sender));
        Self {
            child,
            keyboard,
            screen,
        }
    }

    /// Waits until a question stands at the end of the screen.
    pub async fn asks(&mut self) {
        let is_asked = |screen: &String| screen.ends_with("[y/N] ") || screen.ends_with("approve: ");
        let asked = timeout(PATIENCE, self.screen.wait_for(is_asked)).await;
        let is_asked = asked.is_ok_and(|screen| screen.is_ok());
        assert!(is_asked, "no question:\n{}", *self.screen.borrow());
    }

    /// Types `text` as it is, without a line break at its end.
    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("a terminal");
    }

    pub async fn signal(&self, name: &str) {
        signal(&self.child, name).await;
    }

    pub async fn ended(mut self) -> Screen {
        let ended = timeout(PATIENCE, async {
            let status = self.child.wait().await;
            while self.screen.changed().await.is_ok() {}
            status
        });
        let status = ended.await;
        let status = status.unwrap_or_else(|_| panic!("it does not end:\n{}", *self.screen.borrow()));
        let raw = self.screen.borrow().clone();
        let code = status.expect("it is waited for").code();
        let code = code.unwrap_or_else(|| panic!("killed by a signal:\n{raw}"));
        assert_ne!(code, 101, "{raw}");
        Screen { code, raw }
    }
}

impl Screen {
    /// Without colours.
    pub fn text(&self) -> String {
        plain(&self.raw)
    }

    /// Blanks and line breaks alike: where lines are broken depends on the width.
    pub fn words(&self) -> String {
        let text = self.text();
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n{}", self.code, self.text())
    }
}

fn plain(raw: &str) -> String {
    anstream::adapter::strip_str(raw).to_string().replace('\r', "")
}

/// The two ends of a terminal.
fn open(columns: u16) -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&ours).expect("access to its other end");
    unlockpt(&ours).expect("its other end can be opened");
    let name = ptsname(&ours, Vec::new()).expect("the name of its other end");
    let name = name.into_string().expect("a plain path");
    let theirs = OpenOptions::new().read(true).write(true).open(name);
    let theirs = theirs.expect("its other end");
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&theirs, size).expect("the size of the terminal");
    (ours.into(), theirs.into())
}

/// Reads until nobody has the other end open.
fn copy_screen(mut ours: File, screen: &watch::Sender<String>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    // Linux reports an error once the other end is closed.
    while let Ok(length @ 1..) = ours.read(&mut piece) {
        bytes.extend_from_slice(&piece[..length]);
        // A character may have been cut; the rest of it comes with the next piece.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if screen.send(text).is_err() {
            return;
        }
    }
}
