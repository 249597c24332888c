//! What each fuzz target does with its bytes, and what must hold of the outcome. The corpora go
//! through the same functions in `cargo test`.

use std::fs;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use marketing_messages_exporter::config::{Config, Document};
use marketing_messages_exporter::graph::{Headers, read_answer};
use marketing_messages_exporter::plan::{Plan, Query, Question, Shard};
use marketing_messages_exporter::row::Figure;
use marketing_messages_exporter::state;

/// An answer: a first line with HTTP status, question and level, then the body.
pub(crate) fn answer(data: &[u8]) {
    let (head, body) = split(data);
    let mut words = head.split_whitespace();
    let status = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(200);
    let question = match words.next() {
        Some("conversions") => Question::Conversions,
        _ => Question::Delivery,
    };
    let Some(query) = query(words.next().unwrap_or("campaign"), question) else {
        return;
    };
    match read_answer(&query, status, body) {
        Ok(rows) => {
            for row in rows {
                for figure in row.figures.iter() {
                    assert!(!matches!(figure, Figure::Given(number) if !number.is_finite()));
                }
                assert!(!row.identity.key().is_empty());
            }
        }
        Err(error) => {
            let told = error.fault.to_string();
            assert!(told.chars().count() < 2_000, "{} letters", told.len());
        }
    }
}

fn query(level: &str, question: Question) -> Option<Query> {
    let text = format!(
        "insights: {{ level: {level} }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: T, campaigns: [{{ id: \"120210000000000002\" }}] }}]
"
    );
    let plan = Plan::of(&parse(&text).ok()?, Shard::WHOLE);
    let source = plan.sources.first()?;
    let queries = source.queries(source.windows.first()?, question, None)?;
    queries.into_iter().next()
}

/// Usage headers: one a line, `name: value`.
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
    let read = Headers::read(&headers);
    for usage in &read.usage {
        assert!(usage.ratio.is_finite() && usage.ratio >= 0.0, "{usage:?}");
        assert!(usage.limit.chars().count() <= 200);
    }
    let wait = read.regain.unwrap_or_default();
    assert!(wait <= Duration::from_secs(24 * 60 * 60), "{wait:?}");
}

/// A config file.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(config) => drop(Plan::of(&config, Shard::WHOLE)),
        Err(complaints) => assert!(!complaints.is_empty()),
    }
}

fn parse(text: &str) -> Result<Config, String> {
    let document = Document {
        name: "config.yaml".to_owned(),
        text: text.to_owned(),
    };
    Config::parse(document, Vec::new()).map_err(|complaints| complaints.to_string())
}

/// A state file. What is believed is written and read again, and is the same then.
pub(crate) fn state(data: &[u8]) {
    let thread = std::thread::current().id();
    let name = format!("state-corpus-{}-{thread:?}", std::process::id());
    let path = std::env::temp_dir().join(name);
    if fs::write(&path, data).is_err() {
        return;
    }
    if let Ok(Some(read)) = state::read(&path) {
        let plan = Plan {
            sources: Vec::new(),
            configured: 0,
        };
        drop(read.into_snapshot(&plan, "2026-11-23T11:30:00Z".parse().unwrap_or_default()));
    }
    drop(fs::remove_file(&path));
}

fn split(data: &[u8]) -> (&str, &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (head, rest) = data.split_at(end);
    let head = std::str::from_utf8(head).unwrap_or_default();
    (head, rest.get(1..).unwrap_or_default())
}
