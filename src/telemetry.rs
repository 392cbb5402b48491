//! Logs: one line per event on stderr, as text or JSON.
//!
//! A line is flat: the fields of the event and of the spans around it (`account`, `cycle_id`) stand side by side, so that
//! a query in any log store is `event = "cycle.failed"`. The formatters of `tracing-subscriber` nest the spans, hence the
//! small layer here.
//!
//! Only our own events are ever written, whatever `RUST_LOG` says: at `trace`, database and HTTP crates would log SQL,
//! bodies, names, phones and keys.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id},
};
use tracing_serde::fields::AsMap as _;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Registry, Scope},
    util::SubscriberInitExt as _,
};

use crate::{
    events,
    wording::{printable, printable_json},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line, for log stores.
    Json,
    /// `2026-11-22T10:00:00Z INFO  cycle.finished message key=value …`, for people.
    Text,
}

/// The least important events that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Sends our events to stderr. Without a `format` it is text on a terminal, else JSON. `RUST_LOG`, if set, is used
/// instead of `level`. A second call changes nothing.
pub(crate) fn init(format: Option<LogFormat>, level: LogLevel) {
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .filter(|directives| !directives.trim().is_empty());
    let (filter, refused) = filter(wanted.as_deref(), level.into());
    let lines = Lines {
        format,
        colour,
        writer: io::stderr,
    };
    let installed = subscriber(lines, filter).try_init();
    if let (Ok(()), Some(error)) = (installed, refused) {
        events::log_filter_refused(&error);
    }
}

/// `directives` if they can be parsed, else `level`, and why.
fn filter(directives: Option<&str>, level: &str) -> (EnvFilter, Option<ParseError>) {
    match EnvFilter::builder().parse(directives.unwrap_or(level)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(level), Some(error)),
    }
}

fn subscriber<W>(lines: Lines<W>, filter: EnvFilter) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    Registry::default().with(filter).with(lines)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == "wazzup_sync" || target.starts_with("wazzup_sync::")
}

struct Lines<W> {
    format: LogFormat,
    colour: bool,
    writer: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    /// The hard filter. No directive reopens what one layer has closed.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields_of(attributes.field_map()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(known) = span.extensions().get::<Fields>() {
                fields.extend(known.clone());
            }
        }
        // The event's own fields replace those of its spans.
        fields.extend(fields_of(event.field_map()));
        let metadata = event.metadata();
        let line = match self.format {
            LogFormat::Json => json_line(now(), metadata, fields),
            LogFormat::Text => text_line(now(), metadata, fields, self.colour),
        };
        // One write, so that lines of two threads do not mix. If stderr is gone there is nobody left to tell.
        let _ = self.writer.make_writer_for(metadata).write_all(line.as_bytes());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a log line carries this machine's clock; nothing is decided by it"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// `{"timestamp":…,"level":…,"event":…, fields of spans, fields of the event}`
fn json_line(now: Timestamp, metadata: &Metadata<'_>, mut fields: Fields) -> String {
    let event = fields.shift_remove("event").unwrap_or_else(|| metadata.target().into());
    let mut line = Fields::new();
    line.insert("timestamp".to_owned(), format!("{now:.3}").into());
    line.insert("level".to_owned(), metadata.level().as_str().into());
    line.insert("event".to_owned(), event);
    for (name, value) in fields {
        // No field replaces the three that every line has.
        line.entry(name).or_insert(value);
    }
    printable_json(&Value::Object(line).to_string()) + "\n"
}

/// `timestamp LEVEL event message key=value …`
fn text_line(now: Timestamp, metadata: &Metadata<'_>, mut fields: Fields, colour: bool) -> String {
    let style = match *metadata.level() {
        _ if !colour => Style::new(),
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        _ => Style::new().dimmed(),
    };
    let level = metadata.level().as_str();
    let event = fields.shift_remove("event").unwrap_or_else(|| metadata.target().into());
    let mut text = plain(&event);
    if let Some(Value::String(message)) = fields.shift_remove("message") {
        text += &format!(" {message}");
    }
    for (name, value) in &fields {
        text += &format!(" {name}={}", plain(value));
    }
    // A line break in a message must not look like the next line, nor an escape code reach the terminal.
    format!("{now:.0} {style}{level:<5}{style:#} {}\n", printable(&text))
}

/// A value in a text line: in quotes only where it has to be.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=', '\n', '\t']) => text.clone(),
        value => value.to_string(),
    }
}

type Fields = Map<String, Value>;

fn fields_of(recorded: impl Serialize) -> Fields {
    match serde_json::to_value(recorded) {
        Ok(Value::Object(values)) => values,
        _ => Fields::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn capture(format: LogFormat, filter: EnvFilter, act: impl FnOnce()) -> String {
        capture_with(format, false, filter, act)
    }

    fn capture_with(format: LogFormat, colour: bool, filter: EnvFilter, act: impl FnOnce()) -> String {
        let capture = Capture::default();
        let copy = capture.clone();
        let lines = Lines {
            format,
            colour,
            writer: move || copy.clone(),
        };
        tracing::subscriber::with_default(subscriber(lines, filter), act);
        let bytes = capture.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn json(act: impl FnOnce()) -> Vec<Value> {
        let text = capture(LogFormat::Json, EnvFilter::new("trace"), act);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let lines = json(|| {
            let _in_span = tracing::info_span!("daemon", account = "00123", cycle_id = 7).entered();
            let _in_cycle = tracing::info_span!("cycle", part = "delivery").entered();
            tracing::error!(
                event = "cycle.failed",
                error_kind = "crm_unavailable",
                attempts = 3,
                held = true,
                part = %"crm",
                level = "none",
                "the CRM\ncannot be reached"
            );
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let mut line = line.clone();
        let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(timestamp.as_str().unwrap().parse::<Timestamp>().is_ok());
        assert!(timestamp.as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "level": "ERROR", "event": "cycle.failed", "account": "00123", "cycle_id": 7, "error_kind": "crm_unavailable",
            "attempts": 3, "held": true, "part": "crm", "message": "the CRM\ncannot be reached",
        });
        assert_eq!(line, expected);
    }

    /// For whoever reads JSON lines with the eye.
    #[test]
    fn a_json_line_begins_with_what_every_line_has_and_keeps_the_order_of_its_fields() {
        let text = capture(LogFormat::Json, EnvFilter::new("trace"), || {
            let _in_span = tracing::info_span!("daemon", account = "main").entered();
            tracing::info!(event = "e", zebra = 1, apple = 2, mango = 3, "m");
        });
        let names = [
            "timestamp",
            "level",
            "event",
            "account",
            "message",
            "zebra",
            "apple",
            "mango",
        ];
        let places = names.map(|name| text.find(&format!("\"{name}\":")).unwrap());
        assert!(text.starts_with("{\"timestamp\":") && places.is_sorted(), "{text}");
    }

    #[test]
    fn an_event_without_a_name_bears_its_modules() {
        let lines = json(|| tracing::info!("hello"));
        assert_eq!(lines[0]["event"], "wazzup_sync::telemetry::tests");
    }

    #[test]
    fn other_crates_are_never_written() {
        let everything = "trace,sqlx=trace,wazzup_sync_other=trace";
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = capture(format, filter(Some(everything), "info").0, || {
                tracing::error!(target: "sqlx::query", "SELECT secret");
                tracing::trace!(target: "hyper::proto", "secret");
                tracing::error!(target: "wazzup_sync_other", "secret");
                let span = tracing::error_span!(target: "reqwest", "request", url = "secret");
                span.in_scope(|| tracing::trace!(target: "wazzup_sync::crm", "ours"));
            });
            assert!(!text.contains("secret"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn rust_log_takes_precedence_over_the_level_if_it_can_be_parsed() {
        let lines = |rust_log, level| {
            let text = capture(LogFormat::Text, filter(rust_log, level).0, || {
                tracing::debug!("d");
                tracing::info!("i");
                tracing::error!("e");
            });
            text.lines().count()
        };
        assert_eq!(lines(None, "info"), 2);
        assert_eq!(lines(Some("error"), "info"), 1);
        assert_eq!(lines(Some("wazzup_sync=debug"), "info"), 3);
        assert_eq!(lines(Some("wazzup_sync=loud"), "info"), 2);
        assert!(filter(Some("wazzup_sync=loud"), "info").1.is_some());
    }

    #[test]
    fn a_text_line_is_for_people() {
        let text = capture(LogFormat::Text, EnvFilter::new("info"), || {
            let _in_span = tracing::info_span!("daemon", account = "main").entered();
            tracing::info!(
                event = "cycle.finished",
                detail = "two words",
                in_sync = 3,
                "all well\x1b[2J\nforged\u{202e}"
            );
        });
        let (timestamp, rest) = text.split_once(' ').unwrap();
        assert!(timestamp.parse::<Timestamp>().is_ok() && !timestamp.contains('.'));
        let expected = concat!(
            "INFO  cycle.finished all well\\u{1b}[2J\\u{a}forged\\u{202e} ",
            "account=main detail=\"two words\" in_sync=3\n",
        );
        assert_eq!(rest, expected);
    }

    #[test]
    fn nothing_in_a_json_line_controls_a_terminal() {
        let text = capture(LogFormat::Json, EnvFilter::new("info"), || {
            tracing::info!(ids = "a\u{9b}2J\u{202e}", "m");
        });
        assert!(!text.contains(['\u{9b}', '\u{202e}']), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["ids"], "a\u{9b}2J\u{202e}");
    }

    #[test]
    fn colours_are_for_terminals() {
        let line = |colour| capture_with(LogFormat::Text, colour, EnvFilter::new("info"), || tracing::warn!("m"));
        assert!(line(true).contains(" \x1b[33mWARN \x1b[0m "), "{}", line(true));
        assert!(!line(false).contains('\x1b'));
    }
}
