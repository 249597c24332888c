//! HTTP headers that are added to every response.

use super::raw::{Nullable, RawHttp, non_empty};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::RawMap;
use crate::config::parse::yaml_path::YamlPath;

/// Headers that may be configured, as in exporter-toolkit, each with its valid values; an empty list
/// means any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// Checks `http_server_config.headers`; headers with an empty value are left out.
pub(super) fn headers(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawHttp,
) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let path = path.key("headers");
    let entries = raw.headers.present().into_iter();
    for (name, Nullable(value)) in entries.flat_map(|RawMap(entries)| entries) {
        let path = path.key(name.clone());
        let Some((name, valid_values)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let names: Vec<_> = HEADERS.iter().map(|(name, _)| *name).collect();
            diagnostics.add(
                &path,
                format!(
                    "expected one of the headers {}, found {}; other headers cannot be configured",
                    names.join(", "),
                    quote_or_redact(name)
                ),
            );
            continue;
        };
        let Some(value) = non_empty(value.as_ref()) else {
            continue;
        };
        if !valid_values.is_empty() && !valid_values.contains(&value) {
            diagnostics.add(
                &path,
                format!(
                    "expected `{}`, found {}",
                    valid_values.join("` or `"),
                    quote_or_redact(value)
                ),
            );
        } else if value.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            diagnostics.add(
                &path,
                "expected one line of printable ASCII, found other characters",
            );
        } else {
            headers.push((*name, value.to_owned()));
        }
    }
    headers
}
