//! A question on a terminal, before something that cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

use super::{UsageError, page};

#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    /// So much is at stake that a slip of the finger must not count: this number has to be typed instead of `y`.
    pub(super) number: Option<usize>,
}

impl Question {
    /// Asks, and fails unless the answer confirms. The error consists of `undone`, which says what was not done, and of
    /// `instead`, which says how things stand. `command` does it without asking.
    pub(super) fn ask(&self, undone: &str, instead: &str, command: &str) -> anyhow::Result<()> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            page::note(&self.text)?;
            bail!(UsageError(format!(
                "{undone}: there is no terminal to ask on; {command} does it without asking"
            )));
        }
        let prompt = match self.number {
            Some(_) => "Type the number of users to approve:",
            None => "[y/N]",
        };
        page::ask(&format!("{} {prompt}", self.text))?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            // Ctrl-D leaves the cursor behind the question.
            writeln!(io::stderr())?;
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
