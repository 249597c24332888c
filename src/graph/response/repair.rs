//! Decoding of JSON with defects that affect a single string or number.
//!
//! The JSON parser refuses a whole response for a lone surrogate, a raw control character, an invalid
//! escape, or a number above the range of floats. Such a response is repaired and parsed again, so that
//! only the defective string or number is lost. Responses without a defect are parsed once.

use serde_json::Value;

/// Parses a body, after a repair if it has defects of single strings or numbers.
///
/// # Errors
/// Returns the error of the body as received.
pub(in crate::graph) fn parse_lenient(body: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str(&text) {
        Err(error) if error.is_syntax() => {
            serde_json::from_str(&repair(&text)).map_err(|_| error.to_string())
        }
        result => result.map_err(|error| error.to_string()),
    }
}

/// Replaces defective characters of strings by U+FFFD, and numbers above the range of floats by
/// strings with the same text.
pub(in crate::graph) fn repair(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '"' => copy_string(rest, &mut repaired),
            '-' | '0'..='9' => copy_number(rest, &mut repaired),
            other => {
                repaired.push(other);
                other.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    repaired
}

/// Copies the string at the beginning of `text`; returns its length with both quotes.
fn copy_string(text: &str, to: &mut String) -> usize {
    to.push('"');
    let mut chars = text.char_indices().skip(1);
    while let Some((start, char)) = chars.next() {
        match char {
            '"' => {
                to.push('"');
                return start + 1;
            }
            '\\' => {
                let escape = text.get(start..).unwrap_or_default();
                let length = escape_length(escape);
                match length {
                    Some(length) => to.push_str(&escape[..length]),
                    None => to.push(char::REPLACEMENT_CHARACTER),
                }
                // Every accepted escape is ASCII. Of an invalid one, only the backslash is replaced,
                // except for a lone surrogate.
                let skipped = match length {
                    Some(length) => length,
                    None if is_unicode_escape(escape) => 6,
                    None => 1,
                };
                for _ in 1..skipped {
                    chars.next();
                }
            }
            char if char.is_ascii_control() && char != '\u{7f}' => {
                to.push(char::REPLACEMENT_CHARACTER);
            }
            char => to.push(char),
        }
    }
    text.len()
}

/// Returns the length of the valid escape at the beginning of `text`, a surrogate pair counted as one.
fn escape_length(text: &str) -> Option<usize> {
    match text.as_bytes().get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match code_unit(text)? {
            0xD800..=0xDBFF => {
                let low = code_unit(text.get(6..)?)?;
                (0xDC00..=0xDFFF).contains(&low).then_some(12)
            }
            0xDC00..=0xDFFF => None,
            _ => Some(6),
        },
        _ => None,
    }
}

fn is_unicode_escape(text: &str) -> bool {
    code_unit(text).is_some()
}

/// Parses `\uXXXX`.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Copies the number at the beginning of `text`; returns its length.
fn copy_number(text: &str, to: &mut String) -> usize {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let number = &text[..length];
    let is_in_range = number.parse::<f64>().is_ok_and(f64::is_finite);
    if is_in_range {
        to.push_str(number);
    } else {
        to.push('"');
        to.push_str(number);
        to.push('"');
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use serde_json::json;

    use super::{parse_lenient, repair};

    #[test]
    fn defects_affect_only_their_own_value() {
        for (body, expected) in [
            (&b"[\"a\xffb\",1]"[..], json!(["a\u{fffd}b", 1])),
            (br#"["a\ud83db",1]"#, json!(["a\u{fffd}b", 1])),
            (br#"["a\ude00",1]"#, json!(["a\u{fffd}", 1])),
            (br#"["a\ud83dA",1]"#, json!(["a\u{fffd}A", 1])),
            (br#"["\ud83d\ude00\x"]"#, json!(["\u{1f600}\u{fffd}x"])),
            (b"[\"a\nb\",1]", json!(["a\u{fffd}b", 1])),
            (br#"["\u12"]"#, json!(["\u{fffd}u12"])),
            (
                b"[1e400,-1e999,5,\"1e400\"]",
                json!(["1e400", "-1e999", 5, "1e400"]),
            ),
            (br#"{"a\"b":[1e400]}"#, json!({"a\"b": ["1e400"]})),
        ] {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(parse_lenient(body), Ok(expected), "{shown}");
        }
    }

    #[test]
    fn damaged_structure_stays_an_error() {
        for body in [
            &b"{"[..],
            b"[1,",
            b"[\"a",
            b"[\"a\\",
            b"",
            b"<html>",
            b"[1 2]",
        ] {
            let shown = String::from_utf8_lossy(body);
            assert!(parse_lenient(body).is_err(), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn valid_json_is_not_changed(text in any::<String>(), number in any::<f64>()) {
            let json = json!({ text.clone(): [text, number, -1, null] }).to_string();
            proptest::prop_assert_eq!(repair(&json), json);
        }

        #[test]
        fn repair_accepts_any_text(text in any::<String>()) {
            repair(&text);
        }
    }
}
