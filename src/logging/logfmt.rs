//! One event as one line of `key=value`.
//!
//! Written here since the crate that does it quotes as Rust does (`\\'`, `\\u{7f}`), which the
//! usual parsers of logfmt refuse; they want quotes as JSON has them.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as Clock};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format: time, level, message, then the event's fields in their order.
#[derive(Debug)]
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("ts=")?;
        Clock.format_time(&mut writer)?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, " level={level}")?;
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        writeln!(writer, "{}{}", pairs.message, pairs.others)
    }
}

/// The fields of an event as text; the message goes first, wherever it stands.
#[derive(Default)]
struct Pairs {
    message: String,
    others: String,
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }
}

impl Pairs {
    fn push(&mut self, field: &Field, value: &str) {
        let line = if field.name() == "message" {
            &mut self.message
        } else {
            &mut self.others
        };
        // Writing to a string cannot fail.
        let _ = write!(line, " {}={}", field.name(), quoted(value));
    }
}

/// A value as it is, or in JSON's quotes where a parser would take it apart.
fn quoted(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_quoted_as_json_quotes_them() {
        for (value, text) in [
            ("act_1", "act_1"),
            ("", r#""""#),
            ("you're asking", r#""you're asking""#),
            ("a=b", r#""a=b""#),
            ("say \"hi\"\n", r#""say \"hi\"\n""#),
            ("Welcome 👋", r#""Welcome 👋""#),
            ("bell\u{7}", r#""bell\u0007""#),
        ] {
            assert_eq!(quoted(value), text);
        }
    }
}
