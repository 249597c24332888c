//! One call as it came in: method, path, parameters, token.
//!
//! Parameters stand decoded. JSON in them is read leniently, as Meta does: single quotes are as
//! good as double ones. What the words mean is for the others to say.

use serde_json::Value;

use super::errors::ApiError;

/// A call, taken apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    /// Decoded names and values, in the order of the address, then of a form body.
    pub(super) query: Vec<(String, String)>,
    pub(super) bearer: Option<String>,
    /// As it came; where it is a form, its pairs stand in `query` too.
    pub(super) body: String,
    /// Whether the caller reads gzip.
    pub(super) gzip: bool,
    /// What the caller believes to be talking to; ready-made addresses are built on it.
    pub(super) host: String,
}

impl Call {
    /// The first value of that parameter; an empty one counts as not given.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// That parameter as JSON.
    pub(super) fn json(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let Some(text) = self.param(name) else {
            return Ok(None);
        };
        lenient(text)
            .map(Some)
            .ok_or_else(|| ApiError::invalid(format!("Param {name} must be valid JSON.")))
    }

    /// A parameter that is a list, as JSON or comma-joined.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let Some(text) = self.param(name) else {
            return Vec::new();
        };
        match lenient(text) {
            Some(Value::Array(items)) => items.iter().map(plain).collect(),
            _ => text.split(',').map(|item| item.trim().to_owned()).collect(),
        }
    }

    /// The path's parts: version, id and edge, each if there.
    pub(super) fn parts(&self) -> (Option<&str>, &str, Option<&str>) {
        let mut parts = self.path.trim_matches('/').split('/').peekable();
        let version = parts.next_if(|part| is_version(part));
        let id = parts.next().unwrap_or("");
        (version, id, parts.next())
    }
}

/// Names and values of an `application/x-www-form-urlencoded` text.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The text with everything escaped that is not plain in a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A JSON value as the text that a list or a comparison means: strings without quotes.
pub(super) fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// JSON whose strings may stand in single quotes.
pub(super) fn lenient(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&double_quoted(text)))
        .ok()
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut inside = None;
    let mut escaped = false;
    for letter in text.chars() {
        match (inside, letter) {
            _ if escaped => {
                // `\'` is no escape of JSON.
                if letter == '\'' {
                    quoted.pop();
                }
                quoted.push(letter);
                escaped = false;
                continue;
            }
            (None, '\'' | '"') => {
                inside = Some(letter);
                quoted.push('"');
            }
            (Some(quote), _) if letter == quote => {
                inside = None;
                quoted.push('"');
            }
            (Some('\''), '"') => quoted.push_str("\\\""),
            _ => quoted.push(letter),
        }
        escaped = letter == '\\';
    }
    quoted
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| {
            [major, minor]
                .iter()
                .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'%').then(|| tail.get(..2)).flatten();
        let hex = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotes_of_both_kinds_are_read() {
        for text in [
            r#"{"since":"2026-03-01","until":"2026-03-02"}"#,
            "{'since':'2026-03-01','until':'2026-03-02'}",
            r#"{'since':"2026-03-01", "until":'2026-03-02'}"#,
        ] {
            assert_eq!(
                lenient(text),
                Some(json!({"since": "2026-03-01", "until": "2026-03-02"}))
            );
        }
        assert_eq!(
            lenient(r#"['say "hi"', 'it\'s']"#),
            Some(json!(["say \"hi\"", "it's"]))
        );
        assert_eq!(lenient("{since"), None);
    }

    #[test]
    fn queries_are_decoded_and_encoded() {
        let text = "a=1%2C2&b=x+y&c=%F0%9F%8E%81&d&e=%zz";
        let decoded = pairs(text);
        let expected = [
            ("a", "1,2"),
            ("b", "x y"),
            ("c", "🎁"),
            ("d", ""),
            ("e", "%zz"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(decoded, expected);
        assert_eq!(encode("x y,🎁"), "x%20y%2C%F0%9F%8E%81");
    }

    #[test]
    fn paths_have_a_version_an_id_and_an_edge() {
        let call = |path: &str| Call {
            path: path.to_owned(),
            ..Call::default()
        };
        let parts = |path| {
            let call = call(path);
            let (version, id, edge) = call.parts();
            (
                version.map(str::to_owned),
                id.to_owned(),
                edge.map(str::to_owned),
            )
        };
        assert_eq!(
            parts("/v26.0/act_1/insights"),
            (
                Some("v26.0".into()),
                "act_1".into(),
                Some("insights".into())
            )
        );
        assert_eq!(parts("/120"), (None, "120".into(), None));
    }
}
