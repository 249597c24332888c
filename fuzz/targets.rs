//! The functions of the fuzz targets, with assertions about their results.
//!
//! `cargo test` runs them on the corpora without a fuzzer (`tests/it/fuzz_corpora.rs`).

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use marketing_messages_exporter::config::{Config, NamedDocument, WebSettings};
use marketing_messages_exporter::graph::{UsageHeaders, read_response};
use marketing_messages_exporter::model::RowValue;
use marketing_messages_exporter::plan::{Plan, Query, QueryKind, Shard};
use marketing_messages_exporter::platform::secrets::parse_secret;
use marketing_messages_exporter::state::{self, SavedState};

/// Upper limit of an error message; longer texts of the API are cut.
const MAX_ERROR_CHARS: usize = 2_000;
/// Upper limit of the name of a quota; longer names are cut.
const MAX_QUOTA_NAME_CHARS: usize = 200;
/// Upper limit of the time that a response can require clients to wait.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Decodes an API response. The first line of the input has HTTP status, query kind and level; the rest is the body.
pub(crate) fn response(data: &[u8]) {
    let (head, body) = split_first_line(data);
    let mut words = head.split_whitespace();
    let status = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(200);
    let kind = match words.next() {
        Some("conversions") => QueryKind::Conversions,
        _ => QueryKind::Delivery,
    };
    let level = words.next().unwrap_or("campaign");
    let Some(query) = query(level, kind) else {
        return;
    };
    match read_response(&query, status, body) {
        Ok(rows) => {
            for row in rows {
                for value in row.values.iter() {
                    let is_finite =
                        !matches!(value, RowValue::Present(number) if !number.is_finite());
                    assert!(is_finite, "values should be finite: {value:?}");
                }
                assert!(!row.dimensions.key().is_empty(), "a row should have a key");
            }
        }
        Err(error) => {
            let message = error.error.to_string();
            assert!(
                message.chars().count() < MAX_ERROR_CHARS,
                "message of {} bytes",
                message.len()
            );
        }
    }
}

/// Returns the first query of a config with one campaign; `None` if `level` is invalid.
fn query(level: &str, kind: QueryKind) -> Option<Query> {
    let text = format!(
        "insights: {{ level: {level} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: T, campaigns: [{{ id: \"120210000000000002\" }}] }}]
"
    );
    let plan = Plan::for_shard(&parse(&text).ok()?, Shard::ALL);
    let source = plan.sources.first()?;
    let queries = source.queries(source.windows.first()?, kind, None)?;
    queries.into_iter().next()
}

/// Parses usage headers, one `name: value` per line.
pub(crate) fn usage(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts
            .next()
            .map(<[u8]>::trim_ascii)
            .and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let parsed = UsageHeaders::parse(&headers);
    for usage in &parsed.usage {
        assert!(usage.ratio.is_finite() && usage.ratio >= 0.0, "{usage:?}");
        assert!(
            usage.limit.chars().count() <= MAX_QUOTA_NAME_CHARS,
            "{usage:?}"
        );
    }
    let regains = parsed.regains.iter().map(|regain| regain.wait);
    for wait in regains.chain(parsed.retry_after) {
        assert!(wait <= MAX_WAIT, "{wait:?}");
    }
}

/// Parses a config file.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(config) => {
            let _ = Plan::for_shard(&config, Shard::ALL);
        }
        Err(errors) => assert!(
            !errors.is_empty(),
            "an invalid config should have an error message"
        ),
    }
}

/// Parses a web config file. A file never protects less than itself.
pub(crate) fn web_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let document = NamedDocument {
        name: "web.yaml".to_owned(),
        text: text.to_owned(),
    };
    match WebSettings::parse(document) {
        Ok(web) => {
            assert!(web.lowered_protection(&web).is_empty());
            let is_protected = web.tls.is_some() || !web.users.is_empty();
            assert!(!(web.is_empty && is_protected));
        }
        Err(errors) => assert!(
            !errors.is_empty(),
            "an invalid web config should have an error message"
        ),
    }
}

/// Parses the content of a secret file. A valid secret can be sent in a header, and an error quotes nothing of it.
pub(crate) fn secret(data: &[u8]) {
    match parse_secret(data) {
        Ok(secret) => assert!(secret.expose().bytes().all(|byte| byte.is_ascii_graphic())),
        Err(problem) => assert!(problem.len() < MAX_ERROR_CHARS, "{problem}"),
    }
}

fn parse(text: &str) -> Result<Config, String> {
    let document = NamedDocument {
        name: "config.yaml".to_owned(),
        text: text.to_owned(),
    };
    Config::parse(document, Vec::new()).map_err(|errors| errors.to_string())
}

/// Restores a snapshot from a state file, or from a change set without its checksum.
pub(crate) fn state(data: &[u8]) {
    let restored = [
        state::decode(data).ok().flatten(),
        SavedState::from_change_set(data).ok(),
    ];
    let config = "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]";
    let Ok(config) = parse(config) else {
        return;
    };
    let plan = Plan::for_shard(&config, Shard::ALL);
    for saved in restored.into_iter().flatten() {
        let _ = saved.to_snapshot(&plan, "2026-11-23T11:30:00Z".parse().unwrap_or_default());
    }
}

/// Splits the input at the first line break. A first line that is not UTF-8 is replaced by an empty one.
fn split_first_line(data: &[u8]) -> (&str, &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (head, rest) = data.split_at(end);
    let head = std::str::from_utf8(head).unwrap_or_default();
    (head, rest.get(1..).unwrap_or_default())
}
