//! Finds the error in a response body of any shape.
//!
//! Besides Meta's JSON object, bodies occur with several JSON documents, of which the first one
//! decides, with `error` as text as in RFC 6749, and with form fields. Anything else has no error that
//! can be read; the caller then classifies by status.

use serde::Deserialize;
use serde_json::Value;

use super::response::repair;

/// Maximum bytes of an unreadable body that a message quotes.
const MAX_QUOTE_BYTES: usize = 200;

/// Error found in a body.
#[derive(Debug, Default, PartialEq)]
pub(super) struct BodyError {
    pub(super) code: Option<i64>,
    pub(super) subcode: Option<i64>,
    pub(super) is_transient: bool,
    pub(super) message: Option<String>,
    pub(super) fbtrace_id: Option<String>,
    /// Whether `error` is a text or a form field, as in OAuth errors without Meta's codes.
    pub(super) is_text: bool,
}

/// Response of any shape, of which only the error is decoded.
#[derive(Deserialize)]
struct ErrorEnvelope {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    error_code: Option<Value>,
    #[serde(default)]
    error_description: Option<Value>,
    #[serde(default)]
    error_message: Option<Value>,
}

impl BodyError {
    /// Returns the error of a body; `None` if it has none that can be read.
    pub(super) fn find(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        // Text after the first JSON document is ignored.
        let mut documents = serde_json::Deserializer::from_slice(body).into_iter();
        match documents.next() {
            Some(Ok(envelope)) => Self::from_envelope(envelope),
            // A defective string, such as a name that the message quotes.
            Some(Err(error)) if error.is_syntax() => {
                let body = repair(&String::from_utf8_lossy(body));
                let mut documents = serde_json::Deserializer::from_str(&body).into_iter();
                match documents.next() {
                    Some(Ok(envelope)) => Self::from_envelope(envelope),
                    _ => Self::from_form(body.as_bytes()),
                }
            }
            Some(Err(_)) | None => Self::from_form(body),
        }
    }

    fn from_envelope(envelope: ErrorEnvelope) -> Option<Self> {
        match envelope.error? {
            Value::Object(error) => Some(Self {
                code: error.get("code").and_then(integer),
                // 0 is sent for "no subcode".
                subcode: error
                    .get("error_subcode")
                    .and_then(integer)
                    .filter(|subcode| *subcode != 0),
                is_transient: error.get("is_transient").is_some_and(is_true),
                message: error
                    .get("message")
                    .and_then(text)
                    .map(|message| with_blamed_fields(message, error.get("error_data"))),
                fbtrace_id: error.get("fbtrace_id").and_then(text),
                is_text: false,
            }),
            Value::String(error) => {
                let description = envelope.error_description.or(envelope.error_message);
                Some(Self::from_text(
                    &error,
                    description.as_ref().and_then(text).as_deref(),
                    envelope.error_code.as_ref().and_then(integer),
                ))
            }
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) | Value::Number(_) | Value::Array(_) => Some(Self::default()),
        }
    }

    /// Reads the fields of `application/x-www-form-urlencoded`.
    fn from_form(body: &[u8]) -> Option<Self> {
        const MAX_FORM_BYTES: usize = 64 * 1024;
        if body.len() > MAX_FORM_BYTES || !body.contains(&b'=') {
            return None;
        }
        let field = |names: &[&str]| {
            form_urlencoded::parse(body.trim_ascii())
                .find(|(name, _)| names.contains(&name.as_ref()))
                .map(|(_, value)| value.into_owned())
        };
        let error = field(&["error"])?;
        let description = field(&["error_description", "error_message"]);
        let code = field(&["error_code", "code"]).and_then(|code| code.parse().ok());
        Some(Self::from_text(&error, description.as_deref(), code))
    }

    fn from_text(error: &str, description: Option<&str>, code: Option<i64>) -> Self {
        let message = match description {
            Some(description) => format!("{error}: {description}"),
            None => error.to_owned(),
        };
        Self {
            code,
            message: Some(message),
            is_text: true,
            ..Self::default()
        }
    }
}

/// Returns the beginning of a body as one line, for messages. Secrets must already be removed.
pub(super) fn quote(body: &[u8]) -> String {
    if body.is_empty() {
        return "empty body".to_owned();
    }
    let start = body.get(..MAX_QUOTE_BYTES).unwrap_or(body);
    let text = String::from_utf8_lossy(start);
    // An incomplete character at the end is not part of the text.
    let text = match start.len() < body.len() {
        true => text.trim_end_matches(char::REPLACEMENT_CHARACTER),
        false => text.as_ref(),
    };
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut end = line.len().min(MAX_QUOTE_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let rest = if start.len() < body.len() || end < line.len() {
        "…"
    } else {
        ""
    };
    format!("body `{}`{rest}", &line[..end])
}

/// Appends the fields of `blame_field_specs` that the message does not name.
fn with_blamed_fields(message: String, error_data: Option<&Value>) -> String {
    // Meta also sends the object as a string.
    let parsed = match error_data {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        other => other.cloned(),
    };
    let specs = parsed.as_ref().map(|data| &data["blame_field_specs"]);
    let names = specs.and_then(Value::as_array).into_iter().flatten();
    let names = names.flat_map(|spec| spec.as_array().into_iter().flatten());
    let missing: Vec<&str> = names
        .filter_map(Value::as_str)
        // Parameters such as `fields` have no underscore in their name.
        .filter(|name| name.contains('_') && !message.contains(name))
        .collect();
    if missing.is_empty() {
        return message;
    }
    format!("{message} ({})", missing.join(", "))
}

/// Parses an integer: codes are sometimes sent as strings.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => text == "true",
        _ => false,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{BodyError, MAX_QUOTE_BYTES, quote};

    #[test]
    fn first_of_several_documents_decides() {
        let error = BodyError::find(
            br#"{"error":{"message":"limit","code":17,"error_subcode":2446079}}{"error":{"code":1}}"#,
        )
        .unwrap();
        assert_eq!((error.code, error.subcode), (Some(17), Some(2_446_079)));
        assert_eq!(BodyError::find(br#"{"data":[]}{"error":{"code":1}}"#), None);
    }

    #[test]
    fn defective_message_does_not_hide_the_code() {
        for body in [
            &b"{\"error\":{\"message\":\"a\xff\nb\",\"code\":190}}"[..],
            br#"{"error":{"message":"\ud83d","code":190}}"#,
        ] {
            assert_eq!(BodyError::find(body).unwrap().code, Some(190));
        }
    }

    #[test]
    fn message_names_the_blamed_fields() {
        for data in [
            r#"{"blame_field_specs":[["marketing_messages_spend"],["fields"]]}"#,
            r#""{\"blame_field_specs\":[[\"marketing_messages_spend\"]]}""#,
        ] {
            let body = format!(r#"{{"error":{{"message":"no","code":100,"error_data":{data}}}}}"#);
            let error = BodyError::find(body.as_bytes()).unwrap();
            let expected = Some("no (marketing_messages_spend)");
            assert_eq!(error.message.as_deref(), expected, "{data}");
        }
        for data in [
            "null",
            "7",
            "{}",
            r#"{"blame_field_specs":[7,[null],"x"]}"#,
            r#""text""#,
        ] {
            let body = format!(r#"{{"error":{{"message":"no","code":100,"error_data":{data}}}}}"#);
            let error = BodyError::find(body.as_bytes()).unwrap();
            assert_eq!(error.message.as_deref(), Some("no"), "{data}");
        }
    }

    #[test]
    fn text_and_form_errors_are_found() {
        for body in [
            r#"{"error":"invalid_token","error_description":"token has expired"}"#,
            "error=invalid_token&error_description=token+has+expired\n",
        ] {
            let error = BodyError::find(body.as_bytes()).unwrap();
            assert!(error.is_text, "{body}");
            assert_eq!(
                error.message.as_deref(),
                Some("invalid_token: token has expired")
            );
        }
        let error = BodyError::find(b"error=OAuthException&error_code=190").unwrap();
        assert_eq!(error.code, Some(190));
    }

    #[test]
    fn codes_and_flags_are_accepted_as_strings() {
        let error = BodyError::find(
            br#"{"error":{"code":" 4","error_subcode":"0","is_transient":"true"}}"#,
        )
        .unwrap();
        assert_eq!((error.code, error.subcode), (Some(4), None));
        assert!(error.is_transient);
    }

    #[test]
    fn body_without_an_error_has_none() {
        for body in [
            &b""[..],
            b"{",
            b"[]",
            br#"{"error":null,"data":[]}"#,
            br#"{"error":false}"#,
            b"<html><a href=x>error</a></html>",
            b"Service Unavailable",
            b"\xff\xfe",
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(BodyError::find(body), None, "{shown}");
        }
    }

    #[test]
    fn quote_has_at_most_200_bytes_of_the_body() {
        assert_eq!(quote(b"<p>\nno</p>"), "body `<p> no</p>`");
        assert_eq!(quote(b""), "empty body");
        for body in ["ä".repeat(500).into_bytes(), vec![0xff; 500]] {
            let quoted = quote(&body);
            let inner = quoted.split('`').nth(1).unwrap();
            assert!(inner.len() <= MAX_QUOTE_BYTES, "{quoted}");
            assert!(quoted.ends_with('…'), "{quoted}");
        }
        assert!(!quote("a".repeat(199).as_bytes()).contains('…'));
    }
}
