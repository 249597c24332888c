//! A parsed request: method, path, decoded parameters, token.
//!
//! JSON in parameters may use single quotes, as the samples on Meta's pages do. The meaning of the parameters is the
//! concern of the modules that use them.

use serde_json::Value;

use crate::errors::SimulatedError;

/// A parsed request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiCall {
    /// HTTP method, in upper case.
    pub(crate) method: String,
    /// Path, not decoded, without the query string.
    pub(crate) path: String,
    /// Decoded parameters in the order of the request: those of the URL, then those of a form body.
    pub(crate) query: Vec<(String, String)>,
    /// Token of the header `Authorization: Bearer`.
    pub(crate) bearer: Option<String>,
    /// Request body. The parameters of a form body are also in `query`.
    pub(crate) body: String,
    /// Whether the client accepts gzip.
    pub(crate) gzip: bool,
    /// `Host` header, from which the URLs in `paging` are built.
    pub(crate) host: String,
}

impl ApiCall {
    /// Returns the first value of a parameter that is not empty.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Parses a parameter as JSON. Returns `None` if it is absent or empty.
    ///
    /// # Errors
    ///
    /// Returns error 100 if the parameter is not JSON.
    pub(crate) fn json(&self, name: &str) -> Result<Option<Value>, SimulatedError> {
        let Some(text) = self.param(name) else {
            return Ok(None);
        };
        parse_lenient_json(text)
            .map(Some)
            .ok_or_else(|| SimulatedError::invalid(format!("Param {name} must be valid JSON.")))
    }

    /// Returns the items of a parameter that is a JSON array or a comma-separated list; empty if it is absent.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let Some(text) = self.param(name) else {
            return Vec::new();
        };
        match parse_lenient_json(text) {
            Some(Value::Array(items)) => items.iter().map(value_text).collect(),
            _ => text.split(',').map(|item| item.trim().to_owned()).collect(),
        }
    }

    /// Splits the path into version, id and edge. A missing id is empty.
    pub(crate) fn path_parts(&self) -> (Option<&str>, &str, Option<&str>) {
        let mut parts = self.path.trim_matches('/').split('/').peekable();
        let version = parts.next_if(|part| is_version(part));
        let id = parts.next().unwrap_or("");
        (version, id, parts.next())
    }
}

/// Parses `application/x-www-form-urlencoded` text.
pub(crate) fn parse_query(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

/// Percent-encodes all bytes but the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(text: &str) -> String {
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

/// Returns the text of a JSON value: a string without quotes, other values as JSON.
pub(crate) fn value_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Parses JSON, in which strings may have single quotes. Returns `None` if it is invalid.
pub(crate) fn parse_lenient_json(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&with_double_quotes(text)))
        .ok()
}

/// Replaces the single quotes around strings by double quotes.
fn with_double_quotes(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut open_quote = None;
    let mut is_escaped = false;
    for letter in text.chars() {
        match (open_quote, letter) {
            _ if is_escaped => {
                // JSON does not have the escape `\'`.
                if letter == '\'' {
                    json.pop();
                }
                json.push(letter);
                is_escaped = false;
                continue;
            }
            (None, '\'' | '"') => {
                open_quote = Some(letter);
                json.push('"');
            }
            (Some(quote), _) if letter == quote => {
                open_quote = None;
                json.push('"');
            }
            (Some('\''), '"') => json.push_str("\\\""),
            _ => json.push(letter),
        }
        is_escaped = letter == '\\';
    }
    json
}

/// Whether a part of a path is a version, such as `v26.0`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| {
            [major, minor]
                .iter()
                .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_with_single_or_double_quotes_is_parsed() {
        for text in [
            r#"{"since":"2026-03-01","until":"2026-03-02"}"#,
            "{'since':'2026-03-01','until':'2026-03-02'}",
            r#"{'since':"2026-03-01", "until":'2026-03-02'}"#,
        ] {
            assert_eq!(
                parse_lenient_json(text),
                Some(json!({"since": "2026-03-01", "until": "2026-03-02"}))
            );
        }
        assert_eq!(
            parse_lenient_json(r#"['quote "hi"', 'it\'s']"#),
            Some(json!(["quote \"hi\"", "it's"]))
        );
        assert_eq!(parse_lenient_json("{since"), None);
    }

    #[test]
    fn queries_are_decoded_and_encoded() {
        let text = "a=1%2C2&b=x+y&c=%F0%9F%8E%81&d&e=%zz";
        let decoded = parse_query(text);
        let expected = [
            ("a", "1,2"),
            ("b", "x y"),
            ("c", "🎁"),
            ("d", ""),
            ("e", "%zz"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(decoded, expected);
        assert_eq!(percent_encode("x y,🎁"), "x%20y%2C%F0%9F%8E%81");
    }

    #[test]
    fn paths_are_split_into_version_id_and_edge() {
        let parts = |path: &str| {
            let call = ApiCall {
                path: path.to_owned(),
                ..ApiCall::default()
            };
            let (version, id, edge) = call.path_parts();
            (
                version.map(str::to_owned),
                id.to_owned(),
                edge.map(str::to_owned),
            )
        };
        assert_eq!(
            parts("/v27.0/act_1/insights"),
            (
                Some("v27.0".into()),
                "act_1".into(),
                Some("insights".into())
            )
        );
        assert_eq!(parts("/120"), (None, "120".into(), None));
    }
}
