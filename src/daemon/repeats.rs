//! Log lines that would be repeated every few seconds.

use std::time::Duration;

use tokio::time::Instant;

/// How often the same line is repeated.
const REPEAT: Duration = Duration::from_mins(1);

/// Decides whether a line is logged: when it differs from the last one, and then once a minute.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    last: Option<(String, Instant)>,
}

impl Repeats {
    pub(super) fn is_worth_a_line(&mut self, line: &str) -> bool {
        let is_repeated = matches!(&self.last, Some((last, at)) if last == line && at.elapsed() < REPEAT);
        if !is_repeated {
            self.last = Some((line.to_owned(), Instant::now()));
        }
        !is_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_repeated_once_a_minute_and_when_it_changes() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_worth_a_line("refused"));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!repeats.is_worth_a_line("refused"));
        assert!(repeats.is_worth_a_line("silent"));
        assert!(repeats.is_worth_a_line("refused"));
        tokio::time::advance(REPEAT).await;
        assert!(repeats.is_worth_a_line("refused"));
    }
}
