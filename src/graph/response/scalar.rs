//! Scalars of a response.
//!
//! Meta sends numbers as strings; JSON numbers, `null` and other types occur too.

use std::borrow::Cow;

use serde_json::Value;

use crate::model::{RowValue, ValueKind, parse_decimal};

/// Maximum size of a text in bytes. Names at Meta have up to 400 characters; a name is repeated in dozens of series, so
/// that the limit of the response does not limit the metrics page.
const MAX_TEXT_BYTES: usize = 4096;

/// Parses a number; a percentage becomes a ratio. `null` and an empty string are missing, not invalid.
pub(super) fn row_value(json: &Value, kind: ValueKind) -> RowValue {
    let shift = if kind == ValueKind::Percent { -2 } else { 0 };
    let parsed = match json {
        Value::Null => return RowValue::Missing,
        Value::String(text) if text.is_empty() => return RowValue::Missing,
        Value::String(text) => parse_decimal(text, shift),
        Value::Number(number) => parse_decimal(&number.to_string(), shift),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let is_possible = |number: &f64| match kind {
        ValueKind::Count => *number >= 0.0,
        ValueKind::Percent => (0.0..=1.0).contains(number),
        // Corrections and refunds are negative.
        ValueKind::Money => true,
    };
    parsed
        .filter(is_possible)
        .map_or(RowValue::Invalid, RowValue::Present)
}

/// Returns a string, cut after [`MAX_TEXT_BYTES`], or the digits of an integer: ids occur as both.
pub(in crate::graph) fn text(json: &Value) -> Option<Cow<'_, str>> {
    match json {
        Value::String(text) => {
            let mut length = text.len().min(MAX_TEXT_BYTES);
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            text.get(..length).map(Cow::Borrowed)
        }
        Value::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// Returns whether the value is `true`, which occurs as text and as 1 too.
pub(in crate::graph) fn is_true(json: &Value) -> bool {
    match json {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::String(text) => text == "1" || text.eq_ignore_ascii_case("true"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{MAX_TEXT_BYTES, text};

    #[test]
    fn text_of_a_megabyte_is_cut() {
        for (unit, length) in [("a", MAX_TEXT_BYTES), ("€", MAX_TEXT_BYTES - 1)] {
            let json = json!(unit.repeat(1_000_000));
            assert_eq!(text(&json).unwrap().len(), length, "{unit}");
        }
        let longest = "a".repeat(MAX_TEXT_BYTES);
        assert_eq!(text(&json!(longest)).as_deref(), Some(longest.as_str()));
    }
}
