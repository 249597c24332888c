//! Formats one event as one line of logfmt or JSON.
//!
//! Both formats have the same keys in the same order: `ts` (RFC 3339, UTC), `level` (lower case),
//! `msg`, then the fields of the event. The formats of `tracing-subscriber` differ from each other
//! in the names of these keys, and `tracing-logfmt` escapes values as Rust does (`\'`, `\u{7f}`),
//! which common logfmt parsers reject: they expect JSON string literals.

use std::fmt::{self, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// Formatter of events; spans are not used in this program and not written.
#[derive(Debug)]
pub(super) struct LineFormat(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for LineFormat
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
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let head = [
            ("ts", Value::from(timestamp)),
            ("level", Value::from(level)),
            ("msg", Value::from(fields.message)),
        ];
        let pairs = head.into_iter().chain(fields.others);
        match self.0 {
            LogFormat::Logfmt => write_logfmt(&mut writer, pairs)?,
            LogFormat::Json => write_json(&mut writer, pairs)?,
        }
        writeln!(writer)
    }
}

/// Message and fields of an event.
#[derive(Default)]
struct EventFields {
    message: String,
    /// Names and values, in the order of the event.
    others: Vec<(&'static str, Value)>,
}

impl EventFields {
    fn push(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, Value::from(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::from(value));
    }
}

fn write_logfmt(
    writer: &mut impl Write,
    pairs: impl Iterator<Item = (&'static str, Value)>,
) -> fmt::Result {
    for (idx, (key, value)) in pairs.enumerate() {
        let separator = if idx == 0 { "" } else { " " };
        write!(writer, "{separator}{key}={}", logfmt_value(&value))?;
    }
    Ok(())
}

fn write_json(
    writer: &mut impl Write,
    pairs: impl Iterator<Item = (&'static str, Value)>,
) -> fmt::Result {
    for (idx, (key, value)) in pairs.enumerate() {
        let separator = if idx == 0 { '{' } else { ',' };
        write!(
            writer,
            "{separator}{}:{}",
            Value::from(key),
            encode_json(&value)
        )?;
    }
    writer.write_char('}')
}

/// Returns the value as JSON in which all characters are escaped that end a line or control a terminal. JSON requires it
/// only below U+0020, but texts of responses must not look like other lines.
fn encode_json(value: &Value) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let json = value.to_string();
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Returns the value as plain text, or as a JSON string literal if a parser would split it.
fn logfmt_value(value: &Value) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    match value {
        Value::String(text) if !text.is_empty() && text.chars().all(is_plain) => text.clone(),
        _ => encode_json(value),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::{LineFormat, LogFormat, logfmt_value, write_json};

    /// Lines that a subscriber wrote.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the line of an event with fields of several types before its message.
    fn event_line(format: LogFormat) -> String {
        let output = Output::default();
        let writer = output.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(LineFormat(format))
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let error = "it's \"down\"";
            tracing::warn!(source = "act_1", code = 4_i64, ratio = 0.5, %error, "poll failed");
        });
        let bytes = output.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_line_is_flat_with_standard_keys() {
        let line = event_line(LogFormat::Json);
        assert!(
            line.starts_with(r#"{"ts":""#) && line.ends_with("}\n"),
            "line should be one object: {line}"
        );
        let mut object: Value = serde_json::from_str(&line).unwrap();
        let timestamp = object.as_object_mut().unwrap().remove("ts").unwrap();
        let timestamp = timestamp.as_str().unwrap();
        assert!(
            timestamp.ends_with('Z') && timestamp.parse::<jiff::Timestamp>().is_ok(),
            "ts should be RFC 3339 in UTC: {timestamp}"
        );
        let expected = json!({
            "level": "warn", "msg": "poll failed",
            "source": "act_1", "code": 4, "ratio": 0.5, "error": "it's \"down\"",
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn logfmt_line_has_the_keys_of_json() {
        let line = event_line(LogFormat::Logfmt);
        let (timestamp, rest) = line.split_once(' ').unwrap();
        assert!(
            timestamp.starts_with("ts=") && timestamp.ends_with('Z'),
            "first key should be ts: {line}"
        );
        assert_eq!(
            rest,
            "level=warn msg=\"poll failed\" source=act_1 code=4 ratio=0.5 error=\"it's \\\"down\\\"\"\n"
        );
    }

    #[test]
    fn logfmt_value_is_quoted_as_json_if_not_plain() {
        for (value, expected) in [
            ("act_1", "act_1"),
            ("", r#""""#),
            ("it's down", r#""it's down""#),
            ("a=b", r#""a=b""#),
            ("an \"error\"\n", r#""an \"error\"\n""#),
            ("Welcome 👋", r#""Welcome 👋""#),
            ("bell\u{7}", r#""bell\u0007""#),
            ("a\u{7f}\u{85}\u{9b}31m", r#""a\u007f\u0085\u009b31m""#),
            (
                "a\u{2028}level=error\u{202e}",
                r#""a\u2028level=error\u202e""#,
            ),
        ] {
            assert_eq!(logfmt_value(&Value::from(value)), expected);
        }
    }

    #[test]
    fn json_line_escapes_line_ends_of_unicode() {
        let mut line = String::new();
        let pairs = [("name", Value::from("a\u{2028}b\u{85}ä"))];
        write_json(&mut line, pairs.into_iter()).unwrap();
        assert_eq!(line, r#"{"name":"a\u2028b\u0085ä"}"#);
    }
}
