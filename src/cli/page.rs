//! How an answer looks: as wide as the terminal allows, in colours where somebody wants them.
//!
//! A verb fills a [`Page`] with paragraphs and [`Page::print`]s it. Colours are always written; printing takes them out
//! where standard output is no terminal, `TERM` is `dumb` or `NO_COLOR` is set. JSON goes out by [`print_json`]. Both
//! escape whatever could control a terminal: a stranger may have written any name, id or code.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use terminal_size::Width;
use textwrap::{Options, WordSplitter};
use unicode_width::UnicodeWidthStr as _;

use super::text::{short_id, words_of};
use crate::wording::{printable, printable_json};

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
const MARGIN: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    Failed,
}

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
        Self::new(Mark::Ok, reason)
    }

    pub(super) fn warning(reason: impl Into<String>) -> Self {
        Self::new(Mark::Warning, reason)
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(Mark::Failed, reason)
    }

    pub(super) fn new(mark: Mark, reason: impl Into<String>) -> Self {
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
    width: usize,
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

    pub(super) fn paragraph(&mut self, text: &str) {
        self.wrapped("", 0, PLAIN, text);
    }

    /// A paragraph beside its label; one without a label belongs to the paragraph above. Nothing if there is no text.
    pub(super) fn line(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            self.wrapped(&padded(LABEL, label), MARGIN, PLAIN, text);
        }
    }

    /// A field of an answer for programs: its value beside its key, or a line for each object in it.
    pub(super) fn field(&mut self, key: &str, value: &Value, now: Timestamp) {
        match value {
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    self.field(key, item, now);
                }
            }
            Value::Object(fields) if fields.values().any(Value::is_array) => {
                for (key, value) in fields {
                    self.field(key, value, now);
                }
            }
            _ => self.line(&key.replace('_', " "), &words_of(key, value, now)),
        }
    }

    /// A paragraph beside its label that says how it stands, and what to do about it.
    pub(super) fn advice(&mut self, label: &str, advice: &Advice) {
        let (sign, style) = match advice.mark {
            Mark::Ok => ("✓", ADDITION),
            Mark::Warning => ("!", CHANGE),
            Mark::Failed => ("✗", REMOVAL),
        };
        let text = format!("{sign} {}", advice.reason);
        self.wrapped(&padded(LABEL, label), MARGIN, style, &text);
        if let Some(remedy) = &advice.remedy {
            self.remedy(remedy);
        }
    }

    pub(super) fn remedy(&mut self, text: &str) {
        let arrow = format!("{}→ ", " ".repeat(MARGIN));
        self.wrapped(&arrow, MARGIN + 2, PLAIN, text);
    }

    /// An empty line, unless the page is empty.
    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A line about one user: what happens, and to whom, as in `remove        12  Anna`.
    pub(super) fn user(&mut self, style: Style, label: &str, id: &str, text: &str) {
        self.wrapped(
            &padded(style, label),
            MARGIN,
            PLAIN,
            &format!("{}  {text}", short_id(id)),
        );
    }

    /// Writes `text` behind `first`, and its further lines `indent` columns from the left.
    fn wrapped(&mut self, first: &str, indent: usize, style: Style, text: &str) {
        let text = format!("{style}{}{style:#}", printable(text));
        let blanks = " ".repeat(indent);
        let options = Options::new(self.width)
            .initial_indent(first)
            .subsequent_indent(&blanks);
        self.text.push_str(&wrap(&text, options));
        self.text.push('\n');
    }
}

pub(super) fn say(text: &str) -> io::Result<()> {
    let mut page = Page::new();
    page.paragraph(text);
    page.print()
}

/// Writes a question to standard error, and leaves the cursor behind it. It is no part of an answer, which may go into a file.
pub(super) fn ask(question: &str) -> io::Result<()> {
    let width = columns_of(&io::stderr()).unwrap_or(80);
    let mut err = io::stderr().lock();
    write!(err, "{} ", wrap(&printable(question), Options::new(width - 1)))?;
    err.flush()
}

/// Writes a note to standard error, beside an answer and not part of it; wrapped on a terminal only, since others search
/// for it.
pub(super) fn note(text: &str) -> io::Result<()> {
    let width = columns_of(&io::stderr()).unwrap_or(usize::MAX);
    let mut err = io::stderr().lock();
    for line in format!("wazzup-sync: {text}").lines() {
        writeln!(err, "{}", wrap(&printable(line), Options::new(width)))?;
    }
    Ok(())
}

/// Prints JSON in which every harmful character is written as `\u001b`.
pub(super) fn print_json(answer: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string_pretty(answer)?;
    writeln!(io::stdout().lock(), "{}", printable_json(&json))
}

/// The columns of a terminal, but at least 60 and at most 120; `None` if it is none.
fn columns_of(stream: &impl AsFd) -> Option<usize> {
    let (Width(columns), _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(columns).clamp(60, 120))
}

/// `label` painted, and as wide as the margin.
fn padded(style: Style, label: &str) -> String {
    format!("{style}{label:<MARGIN$}{style:#}")
}

/// Stands for a blank at which no line is broken. No text to be shown has it: it is for private use.
const KEPT_BLANK: &str = "\u{e000}";

/// `text` in lines, broken at blanks where there are any. A command between backticks stays in one piece if it fits, so that
/// it can be copied.
fn wrap(text: &str, options: Options<'_>) -> String {
    let room = options.width.saturating_sub(options.subsequent_indent.width());
    let mut parts = Vec::new();
    for (number, part) in text.split('`').enumerate() {
        let is_code = number % 2 == 1 && part.width() + 2 <= room;
        parts.push(part.replace(' ', if is_code { KEPT_BLANK } else { " " }));
    }
    let options = options.word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(&parts.join("`"), options).replace(KEPT_BLANK, " ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What `write` shows in 80 columns. Whatever the terminal's width, nothing is wider.
    pub(in super::super) fn shown(write: impl Fn(&mut Page)) -> String {
        let shown_in = |width| {
            let mut page = Page::with_width(width);
            write(&mut page);
            page.plain_text()
        };
        for width in 60..=120 {
            for line in shown_in(width).lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        shown_in(80)
    }

    #[test]
    fn lines_fit_whatever_stands_in_them() {
        let wrapped = |text, width| wrap(text, Options::new(width));
        assert_eq!(wrapped("one two three", 8), "one two\nthree");
        assert_eq!(wrapped("ab 0123456789 c", 4), "ab\n0123\n4567\n89 c");
        assert_eq!(wrapped("🙂🙂🙂", 4), "🙂🙂\n🙂");
        assert_eq!(wrapped("", 4), "");
        assert_eq!(wrapped("say `a b c` twice", 10), "say\n`a b c`\ntwice");
    }

    #[test]
    fn a_page_is_wrapped_beside_its_labels() {
        let mut page = Page::with_width(40);
        page.line("Account", "main, the account of the company that has a long name");
        let held = Advice::bad("3 removals, since the CRM names nobody");
        page.advice("Held", &held.with("`wazzup-sync approve` approves exactly these"));
        page.blank();
        page.user(REMOVAL, "remove", "2", "Anna");
        page.user(REMOVAL, "remove", "10", "Maximiliane Theodora von und zu Hohenstein");
        page.user(REMOVAL, "remove", "an-id-that-is-rather-long", "Boris");
        insta::assert_snapshot!(page.plain_text(), @r"
        Account         main, the account of the
                        company that has a long
                        name
        Held            ✗ 3 removals, since the
                        CRM names nobody
                        → `wazzup-sync approve`
                          approves exactly these

        remove          2  Anna
        remove          10  Maximiliane Theodora
                        von und zu Hohenstein
        remove          an-id-that-is-rather-lon
                        g  Boris
        ");
    }

    #[test]
    fn colours_end_where_they_began() {
        let mut page = Page::with_width(40);
        page.user(REMOVAL, "remove", "2", "");
        page.advice("Held", &Advice::bad("one"));
        assert_eq!(
            page.text,
            "\x1b[31mremove          \x1b[0m2\n\x1b[1mHeld            \x1b[0m\x1b[31m✗ one\x1b[0m\n"
        );
    }
}
