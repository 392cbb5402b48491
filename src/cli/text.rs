//! How answers look on a terminal of 80 columns: wrapped, with times in words, and in colours where somebody looks.

use std::{fmt::Write as _, io::IsTerminal as _};

use jiff::{SignedDuration, Timestamp};

use crate::plan::printable;

/// What every terminal shows.
const WIDTH: usize = 80;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    /// Works, and somebody should look at it.
    Warning,
    Bad,
}

impl Mark {
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Bad => "✗",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        }
    }
}

/// An answer in the making: paragraphs with a label on the left.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    colours: bool,
    /// Columns of the labels.
    margin: usize,
}

impl Page {
    /// For stdout: in colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn for_stdout(margin: usize) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self {
            colours: std::io::stdout().is_terminal() && !no_color,
            ..Self::plain(margin)
        }
    }

    pub(super) fn plain(margin: usize) -> Self {
        Self {
            text: String::new(),
            colours: false,
            margin,
        }
    }

    /// What was written.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A paragraph beside its label.
    pub(super) fn line(&mut self, label: &str, text: &str) {
        let label = format!("{label:margin$}", margin = self.margin);
        let label = if self.colours {
            format!("\x1b[1m{label}\x1b[0m")
        } else {
            label
        };
        self.wrapped(&label, self.margin, text, None);
    }

    /// The same, saying how it stands.
    pub(super) fn marked(&mut self, label: &str, mark: Mark, text: &str) {
        let label = format!("{label:margin$}", margin = self.margin);
        let label = if self.colours {
            format!("\x1b[1m{label}\x1b[0m")
        } else {
            label
        };
        self.wrapped(&label, self.margin, &format!("{} {text}", mark.sign()), Some(mark));
    }

    /// An item of a list that starts with how it stands.
    pub(super) fn item(&mut self, mark: Mark, label: &str, text: &str) {
        let sign = self.painted(mark, mark.sign());
        let width = self.margin.saturating_sub(2);
        self.wrapped(&format!("{sign} {label:width$}"), self.margin, text, None);
    }

    /// A paragraph that belongs to the one above.
    pub(super) fn more(&mut self, text: &str) {
        self.wrapped(&" ".repeat(self.margin), self.margin, text, None);
    }

    /// What to do about it.
    pub(super) fn remedy(&mut self, text: &str) {
        let first = format!("{}→ ", " ".repeat(self.margin));
        self.wrapped(&first, self.margin + 2, text, None);
    }

    fn painted(&self, mark: Mark, text: &str) -> String {
        if self.colours {
            format!("\x1b[{}m{text}\x1b[0m", mark.colour())
        } else {
            text.to_owned()
        }
    }

    /// `first` is as wide as `indent`, and stands before the first line.
    fn wrapped(&mut self, first: &str, indent: usize, text: &str, mark: Option<Mark>) {
        for (number, line) in wrap(text, WIDTH - indent).iter().enumerate() {
            let line = match mark.filter(|_| number == 0) {
                Some(mark) => self.painted(mark, line),
                None => line.clone(),
            };
            let written = if number == 0 {
                write!(self.text, "{first}{line}")
            } else {
                write!(self.text, "{:indent$}{line}", "")
            };
            // A string takes everything.
            let _ = written;
            let trimmed = self.text.trim_end_matches(' ').len();
            self.text.truncate(trimmed);
            self.text.push('\n');
        }
    }
}

/// `text` in lines of at most `width` columns, broken at blanks where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|it| !it.is_empty()) {
        let wide = columns(word);
        let blank = usize::from(used > 0);
        if used + blank + wide > width && used > 0 {
            lines.push(String::new());
            used = 0;
        } else if blank == 1 {
            push(&mut lines, " ");
            used += 1;
        }
        if used + wide <= width {
            push(&mut lines, word);
            used += wide;
            continue;
        }
        for letter in word.chars() {
            let wide = column(letter);
            if used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, letter.encode_utf8(&mut [0; 4]));
            used += wide;
        }
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

/// How many columns a terminal needs for `text`.
fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// Near enough for alignment: wide letters and emoji take two columns, what combines none.
fn column(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036F | 0x200B..=0x200D | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0x1F300..=0x1FAFF
        | 0x2_0000..=0x3_FFFD => 2,
        _ => 1,
    }
}

/// An id that fits into a list.
pub(super) fn short_id(id: &str) -> String {
    const MOST: usize = 40;
    let id = printable(id);
    if id.chars().count() <= MOST {
        return id.into_owned();
    }
    let beginning: String = id.chars().take(MOST - 1).collect();
    format!("{beginning}…")
}

/// The first `most` ids, and how many more there are.
pub(super) fn ids<'a>(ids: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let mut ids = ids.into_iter();
    let shown: Vec<String> = ids.by_ref().take(most).map(short_id).collect();
    match ids.count() {
        0 => shown.join(", "),
        more => format!("{}, … and {more} more", shown.join(", ")),
    }
}

/// `1 row`, `2 rows`.
pub(super) fn counted(count: impl Into<u64>, what: &str) -> String {
    match count.into() {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// The same for what a collection has.
pub(super) fn counted_len(count: usize, what: &str) -> String {
    counted(count as u64, what)
}

/// `12 s`, `3 min`, `1 h 30 min`, `12 h`, `2 days`.
pub(super) fn in_words(duration: SignedDuration) -> String {
    match duration.as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..36_000 if seconds % 3_600 >= 60 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// `3 min ago`.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", in_words(now.duration_since(at)))
}

/// `in 3 min`, or `now due`.
pub(super) fn until(now: Timestamp, at: Timestamp) -> String {
    if at <= now {
        "now due".into()
    } else {
        format!("in {}", in_words(at.duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_whatever_stands_in_them() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("ab 0123456789 c", 4), ["ab", "0123", "4567", "89 c"]);
        assert_eq!(wrap("🙂🙂🙂", 4), ["🙂🙂", "🙂"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn times_in_words() {
        let words = |seconds| in_words(SignedDuration::from_secs(seconds));
        let all = [-3, 119, 120, 3_599, 5_400, 36_000, 172_799, 172_800].map(words);
        assert_eq!(
            all,
            [
                "0 s",
                "119 s",
                "2 min",
                "59 min",
                "1 h 30 min",
                "10 h",
                "47 h",
                "2 days"
            ]
        );
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(ids(["a", "b"], 2), "a, b");
        assert_eq!(ids(["a", "b", "c\u{1b}[2J"], 2), "a, b, … and 1 more");
        assert_eq!(short_id(&"x".repeat(200)).chars().count(), 40);
        assert_eq!(short_id("c\u{1b}[2J"), "c\\u{1b}[2J");
    }
}
