//! How an answer looks: as wide as the terminal allows, in colours where somebody wants them.
//!
//! A verb fills a [`Page`] with paragraphs and [`Page::print`]s it. Paragraphs have a label on the left and are wrapped
//! beside it. Colours are always written; printing takes them out where standard output is no terminal, `TERM` is `dumb`
//! or `NO_COLOR` is set. JSON goes out by [`print_json`]. Both escape whatever could control a terminal: a stranger may have
//! written any name, id or code.
//!
//! Text between backticks stays on one line where it fits, so that a command can be copied.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::text::{printable, short_id};
use crate::printable::printable_json;

/// Somebody leaves Wazzup.
pub(super) const REMOVAL: Style = AnsiColor::Red.on_default();
/// Somebody is new in Wazzup.
pub(super) const ADDITION: Style = AnsiColor::Green.on_default();
/// Something changes about somebody.
pub(super) const CHANGE: Style = AnsiColor::Yellow.on_default();
/// Nothing happens, or not now.
pub(super) const PLAIN: Style = Style::new();

const LABEL: Style = Style::new().bold();

/// Columns of the labels.
const MARGIN: usize = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Mark {
    #[serde(rename = "ok")]
    Good,
    /// It works, and somebody should look at it.
    #[serde(rename = "warning")]
    Warning,
    #[serde(rename = "failed")]
    Bad,
}

impl Mark {
    fn sign(self) -> (&'static str, Style) {
        match self {
            Self::Good => ("✓", ADDITION),
            Self::Warning => ("!", CHANGE),
            Self::Bad => ("✗", REMOVAL),
        }
    }
}

/// How something stands, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Advice {
    #[serde(rename = "status")]
    pub(super) mark: Mark,
    /// A sentence without a full stop.
    pub(super) reason: String,
    pub(super) remedy: Option<String>,
}

impl Advice {
    pub(super) fn good(reason: impl Into<String>) -> Self {
        Self::new(Mark::Good, reason)
    }

    pub(super) fn warning(reason: impl Into<String>) -> Self {
        Self::new(Mark::Warning, reason)
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(Mark::Bad, reason)
    }

    fn new(mark: Mark, reason: impl Into<String>) -> Self {
        Self {
            mark,
            reason: reason.into(),
            remedy: None,
        }
    }

    pub(super) fn with(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

#[derive(Debug)]
pub(super) struct Page {
    text: String,
    /// Columns of the terminal.
    width: usize,
    /// Of several paragraphs with the same label, only the first one shows it.
    last_label: String,
}

impl Page {
    pub(super) fn new() -> Self {
        Self::with_width(columns_of(&io::stdout()).unwrap_or(80))
    }

    /// A page of `width` columns, whatever the terminal has.
    pub(super) fn with_width(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
            last_label: String::new(),
        }
    }

    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        out.write_all(self.text.as_bytes())?;
        out.flush()
    }

    #[cfg(test)]
    pub(super) fn plain_text(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }

    /// A paragraph over the whole width.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.wrapped("", 0, PLAIN, text);
    }

    pub(super) fn line(&mut self, label: &str, text: &str) {
        let label = self.label(label);
        self.wrapped(&label, MARGIN, PLAIN, text);
    }

    /// A paragraph beside its label that says how it stands: `Held         ✗ 3 removals: …`.
    pub(super) fn marked(&mut self, label: &str, mark: Mark, text: &str) {
        let label = self.label(label);
        let (sign, style) = mark.sign();
        self.wrapped(&label, MARGIN, style, &format!("{sign} {text}"));
    }

    /// The same, with what to do about it.
    pub(super) fn advice(&mut self, label: &str, advice: &Advice) {
        self.marked(label, advice.mark, &advice.reason);
        if let Some(remedy) = &advice.remedy {
            self.remedy(remedy);
        }
    }

    /// A paragraph that belongs to the one above.
    pub(super) fn more(&mut self, text: &str) {
        if !text.is_empty() {
            self.line("", text);
        }
    }

    /// What to do about the paragraph above.
    pub(super) fn remedy(&mut self, text: &str) {
        let arrow = format!("{}→ ", " ".repeat(MARGIN));
        self.wrapped(&arrow, MARGIN + 2, PLAIN, text);
    }

    /// An empty line, unless the page is empty.
    pub(super) fn blank(&mut self) {
        self.last_label.clear();
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A line about one user: what happens, and to whom, as in `remove        12  Anna`.
    pub(super) fn user(&mut self, style: Style, label: &str, id: &str, text: &str) {
        let label = padded(style, label, MARGIN);
        self.wrapped(&label, MARGIN, PLAIN, &format!("{}  {text}", short_id(id)));
    }

    fn label(&mut self, label: &str) -> String {
        if label == self.last_label {
            return padded(PLAIN, "", MARGIN);
        }
        if !label.is_empty() {
            label.clone_into(&mut self.last_label);
        }
        padded(LABEL, label, MARGIN)
    }

    /// Writes `text` behind `first`, which is `indent` columns wide, and the following lines below `text`.
    fn wrapped(&mut self, first: &str, indent: usize, style: Style, text: &str) {
        let blanks = " ".repeat(indent);
        let mut before = first;
        for line in wrap(&printable(text), self.width.saturating_sub(indent)) {
            let whole = format!("{before}{style}{line}{style:#}");
            self.text.push_str(whole.trim_end_matches(' '));
            self.text.push('\n');
            before = &blanks;
        }
    }
}

/// Answers with one paragraph.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut page = Page::new();
    page.paragraph(text);
    page.print()
}

/// Writes a note to standard error, beside an answer and not part of it; wrapped on a terminal only, since others search
/// for it.
pub(super) fn note(text: &str) -> io::Result<()> {
    let width = columns_of(&io::stderr()).unwrap_or(usize::MAX);
    let mut err = io::stderr().lock();
    for line in format!("wazzup-sync: {text}").lines() {
        for part in wrap(&printable(line), width) {
            writeln!(err, "{part}")?;
        }
    }
    Ok(())
}

pub(super) fn print_json(answer: &impl Serialize) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", safe_json(answer)?)
}

/// JSON in which every harmful character is written as `\u001b`.
pub(super) fn safe_json(answer: &impl Serialize) -> serde_json::Result<String> {
    Ok(printable_json(&serde_json::to_string_pretty(answer)?))
}

/// The columns of a terminal, but at least 60 and at most 120; `None` if it is none.
fn columns_of(stream: &impl AsFd) -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(width.0).clamp(60, 120))
}

/// `text` painted, and at least as wide as `width`.
fn padded(style: Style, text: &str, width: usize) -> String {
    let blanks = width.saturating_sub(text.width());
    format!("{style}{text}{style:#}{:blanks$}", "")
}

/// Stands for a blank at which no line is broken. No text to be shown has it: it is for private use.
const KEPT_BLANK: &str = "\u{e000}";

/// `text` in lines of at most `width` columns, broken at blanks where there are any. A command between backticks stays in
/// one piece if it fits.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width.max(1)).word_splitter(textwrap::WordSplitter::NoHyphenation);
    let mut parts = Vec::new();
    for (number, part) in text.split('`').enumerate() {
        let is_code = number % 2 == 1 && part.width() + 2 <= width;
        parts.push(part.replace(' ', if is_code { KEPT_BLANK } else { " " }));
    }
    let text = parts.join("`");
    let lines = textwrap::wrap(&text, options);
    lines.iter().map(|line| line.replace(KEPT_BLANK, " ")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn lines_fit_whatever_stands_in_them() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("ab 0123456789 c", 4), ["ab", "0123", "4567", "89 c"]);
        assert_eq!(wrap("🙂🙂🙂", 4), ["🙂🙂", "🙂"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("say `a b c` twice", 10), ["say", "`a b c`", "twice"]);
    }

    #[test]
    fn a_page_is_wrapped_beside_its_labels() {
        let mut page = Page::with_width(40);
        page.line("Account", "main, the account of the company that has a long name");
        page.marked("Held", Mark::Bad, "3 removals, since the CRM names nobody");
        page.remedy("`wazzup-sync approve` approves exactly these");
        page.blank();
        page.user(REMOVAL, "remove", "2", "Anna");
        page.user(REMOVAL, "remove", "10", "Maximiliane Theodora von und zu Hohenstein");
        page.user(REMOVAL, "remove", "an-id-that-is-rather-long", "Boris");
        insta::assert_snapshot!(page.plain_text(), @r"
        Account       main, the account of the
                      company that has a long
                      name
        Held          ✗ 3 removals, since the
                      CRM names nobody
                      → `wazzup-sync approve`
                        approves exactly these

        remove        2  Anna
        remove        10  Maximiliane Theodora
                      von und zu Hohenstein
        remove        an-id-that-is-rather-long
                      Boris
        ");
    }

    #[test]
    fn colours_end_where_they_began() {
        let mut page = Page::with_width(40);
        page.user(REMOVAL, "remove", "2", "");
        page.marked("Held", Mark::Bad, "one");
        assert_eq!(
            page.text,
            "\x1b[31mremove\x1b[0m        2\n\x1b[1mHeld\x1b[0m          \x1b[31m✗ one\x1b[0m\n"
        );
    }

    #[test]
    fn json_has_nothing_harmful_raw() {
        let value = json!({"name": "a\u{9b}\u{202e}\u{e0041}\n\u{7f}é"});
        let text = safe_json(&value).unwrap();
        assert_eq!(text, "{\n  \"name\": \"a\\u009b\\u202e\\udb40\\udc41\\n\\u007fé\"\n}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }
}
