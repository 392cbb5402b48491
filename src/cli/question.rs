//! A question on a terminal, before something that cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::page::Page;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    /// So much is at stake that a slip of the finger must not count: this number has to be typed instead of `y`.
    pub(super) number: Option<usize>,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Refused,
    /// There is no terminal to ask on.
    NotAsked,
}

impl Question {
    /// Asks. Only a clear yes is consent.
    pub(super) fn ask(&self) -> io::Result<Consent> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Consent::NotAsked);
        }
        let prompt = if self.number.is_some() {
            let mut page = Page::new(0);
            page.paragraph(&self.text);
            page.print()?;
            "Type the number of users to approve: ".to_owned()
        } else {
            format!("{} [y/N] ", self.text)
        };
        // Not to stdout: an answer that goes into a file must not hide the question.
        let mut err = io::stderr().lock();
        err.write_all(prompt.as_bytes())?;
        err.flush()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            // Ctrl-D leaves the cursor behind the question.
            err.write_all(b"\n")?;
        }
        Ok(if self.is_confirmed_by(&answer) {
            Consent::Given
        } else {
            Consent::Refused
        })
    }

    pub(super) fn is_confirmed_by(&self, answer: &str) -> bool {
        let answer = answer.trim();
        match self.number {
            Some(number) => answer == number.to_string(),
            None => matches!(answer.to_lowercase().as_str(), "y" | "yes"),
        }
    }
}
