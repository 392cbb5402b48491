//! A question on a terminal, before something that cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

use super::{UsageError, page::say_beside_answer};

#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    /// So much is at stake that a slip of the finger must not count: this number has to be typed instead of `y`.
    pub(super) number: Option<usize>,
}

impl Question {
    /// Asks, and fails unless the answer confirms. The error consists of `undone`, which says what was not done, and of
    /// `instead`, which says how things stand. `command` does it without asking. All of it goes to standard error, so that
    /// an answer in a file does not hide the question.
    pub(super) fn ask(&self, undone: &str, instead: &str, command: &str) -> anyhow::Result<()> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            bail!(UsageError(format!(
                "{undone}: there is no terminal to ask on; {command} does it without asking"
            )));
        }
        let prompt = if self.number.is_some() {
            say_beside_answer(&self.text)?;
            "Type the number of users to approve: ".to_owned()
        } else {
            format!("{} [y/N] ", self.text)
        };
        let mut err = io::stderr().lock();
        err.write_all(prompt.as_bytes())?;
        err.flush()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            // Ctrl-D leaves the cursor behind the question.
            err.write_all(b"\n")?;
        }
        match self.number {
            _ if self.is_confirmed_by(&answer) => Ok(()),
            Some(number) => bail!("{undone}, since the answer was not {number}; {instead}"),
            None => bail!("{undone}; {instead}"),
        }
    }

    pub(super) fn is_confirmed_by(&self, answer: &str) -> bool {
        let answer = answer.trim();
        match self.number {
            Some(number) => answer == number.to_string(),
            None => matches!(answer.to_lowercase().as_str(), "y" | "yes"),
        }
    }
}
