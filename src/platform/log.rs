//! The log: standard error, one line for each event, `logfmt` or JSON.

use std::borrow::Cow;
use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::platform::printable::{printable, printable_json};

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Every poll.
    Trace,
    /// Every call to a cloud, and every connection that breaks off.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What is wrong, and will be tried again.
    Warn,
    /// What needs somebody.
    Error,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `ts=… level=info message="…" key=value`
    Logfmt,
    /// One object a line.
    Json,
}

/// Starts to log to standard error. A second call changes nothing.
pub fn init(level: Level, format: Format) {
    let subscriber = subscriber(level, format, std::io::stderr);
    // Fails only if there is one already, as in tests.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What [`init`] installs, for any writer.
pub fn subscriber<W>(level: Level, format: Format, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = Targets::new()
        // Libraries might log headers, and so keys, at the levels below.
        .with_default(LevelFilter::from(level).min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::from(level));
    match format {
        Format::Logfmt => {
            let layer = tracing_logfmt::builder()
                .with_span_name(false)
                .with_span_path(false)
                .layer()
                .map_event_format(|inner| OneLine { inner, clean: printable })
                .with_writer(writer);
            Box::new(Registry::default().with(layer.with_filter(filter)))
        }
        Format::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .map_event_format(|inner| OneLine { inner, clean: printable_json })
                .with_writer(writer);
            Box::new(Registry::default().with(layer.with_filter(filter)))
        }
    }
}

/// Keeps an event on its line: both formats leave some control characters as they are.
struct OneLine<F> {
    inner: F,
    clean: fn(&str) -> Cow<'_, str>,
}

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", (self.clean)(line.trim_end_matches('\n')))
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::TRACE,
            Level::Debug => Self::DEBUG,
            Level::Info => Self::INFO,
            Level::Warn => Self::WARN,
            Level::Error => Self::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Everything that was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: Format, events: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "x\nts=2026-01-01T00:00:00Z level=error message=forged \"y\"";

    #[test]
    fn a_hostile_value_cannot_forge_a_line() {
        let line = logged(Level::Info, Format::Logfmt, || {
            tracing::info!(task = HOSTILE, kind = %HOSTILE, source = "a", "polled");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("ts=20") && time.ends_with('Z'), "{time}");
        let quoted = r#""x\nts=2026-01-01T00:00:00Z level=error message=forged \"y\"""#;
        assert_eq!(
            rest,
            format!(
                "level=info target=dbtask_exporter::platform::log::tests message=polled task={quoted} \
                 kind={quoted} source=a\n"
            )
        );
    }

    #[test]
    fn nor_can_it_move_the_cursor() {
        let line = logged(Level::Info, Format::Logfmt, || {
            tracing::info!(task = "a\u{9b}2J\u{85}b\u{2028}\u{202e}", "polled");
        });
        assert!(line.ends_with(concat!(r"task=a\u{9b}2J\u{85}b\u{2028}\u{202e}", "\n")), "{line}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = logged(Level::Info, Format::Json, || {
            tracing::info!(task = HOSTILE, "polled");
        });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["task"], HOSTILE);
        assert_eq!(object["message"], "polled");
        assert_eq!(line.lines().count(), 1);
        let moving = "a\u{9b}2J\u{85}b\u{2028}\u{202e}";
        let line = logged(Level::Info, Format::Json, || tracing::info!(task = moving, "polled"));
        assert!(!line.trim_end().chars().any(|c| !c.is_ascii() || c.is_control()), "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["task"], moving);
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        let lines = logged(Level::Debug, Format::Logfmt, || {
            tracing::debug!("ours");
            tracing::debug!(target: "hyper", "authorization: secret");
            tracing::warn!(target: "hyper", "theirs");
        });
        assert_eq!(lines.matches("message=").count(), 2);
        assert!(!lines.contains("authorization"));
        assert_eq!(logged(Level::Error, Format::Logfmt, || tracing::warn!("no")), "");
    }
}
