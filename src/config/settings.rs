//! Checks `graph` and `polling`, and the durations of every part.
//!
//! A check that finds something notes it and goes on with the default, so that all complaints
//! come at once; what it built is then thrown away.

use std::path::PathBuf;
use std::time::Duration;

use super::complaint::{Notes, shown};
use super::place::Place;
use super::raw::{RawGraph, RawPolling};
use super::scalar::{Given, Number, Text, TextOrBare, Whole};
use super::{Graph, Polling, defaults, duration, secrets};

/// More requests at once than this would only be throttled.
const MOST_CONCURRENCY: usize = 256;

/// Where a quota counts as spent and everything is held, so slowing down must begin by then.
pub const MOST_QUOTA_SHARE: f64 = 0.95;

/// Checks what stands under `graph`.
pub(super) fn graph(notes: &mut Notes<'_>, at: &Place, raw: &RawGraph) -> Graph {
    Graph {
        url: text(notes, &at.key("url"), &raw.url, defaults::URL, url_trouble)
            .trim_end_matches('/')
            .to_owned(),
        version: text(
            notes,
            &at.key("version"),
            &raw.version,
            defaults::VERSION,
            version_trouble,
        ),
        timeout: duration(notes, &at.key("timeout"), &raw.timeout).unwrap_or(defaults::TIMEOUT),
        app: secrets::app(
            notes,
            at,
            &raw.app_id,
            &raw.app_secret_file,
            &raw.app_secret_env,
        ),
        ca_file: raw.ca_file.get().map(|Text(path)| {
            if path.trim().is_empty() {
                notes.add(
                    &at.key("ca_file"),
                    "this names no file; write the path of a PEM file, or remove the key",
                );
            }
            PathBuf::from(path)
        }),
    }
}

/// Checks what stands under `polling`.
pub(super) fn polling(notes: &mut Notes<'_>, at: &Place, raw: &RawPolling) -> Polling {
    let mut duration = |key: &'static str, span| duration(notes, &at.key(key), span);
    Polling {
        interval: duration("interval", &raw.interval).unwrap_or(defaults::INTERVAL),
        backoff_max: duration("backoff_max", &raw.backoff_max).unwrap_or(defaults::BACKOFF_MAX),
        stale_after: duration("stale_after", &raw.stale_after).unwrap_or(defaults::STALE_AFTER),
        discovery_interval: duration("discovery_interval", &raw.discovery_interval)
            .unwrap_or(defaults::DISCOVERY_INTERVAL),
        concurrency: concurrency(notes, &at.key("concurrency"), &raw.concurrency),
        quota_share: quota_share(notes, &at.key("quota_share"), &raw.quota_share),
    }
}

/// Checks a duration; `None` where none is given, or none that is right.
pub(super) fn duration(
    notes: &mut Notes<'_>,
    at: &Place,
    span: &Given<TextOrBare>,
) -> Option<Duration> {
    let trouble = match span.get()? {
        TextOrBare::Text(text) => match duration::parse(text) {
            Ok(duration) => return Some(duration),
            Err(trouble) => trouble,
        },
        TextOrBare::Bare => "a number without a unit is no duration",
    };
    notes.add(at, format!("{trouble}; {}", duration::REMEDY));
    None
}

/// Checks a text by what is wrong with it, if anything.
fn text(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<Text>,
    default: &str,
    trouble: fn(&str) -> Option<String>,
) -> String {
    let Some(Text(text)) = given.get() else {
        return default.to_owned();
    };
    if let Some(trouble) = trouble(text) {
        notes.add(at, trouble);
    }
    text.clone()
}

fn url_trouble(url: &str) -> Option<String> {
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Some(format!(
            "this is no address of a web server; write one that begins https:// or http://, such as {}",
            defaults::URL
        ));
    };
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let wrong = if rest.contains('@') {
        "an address with a user or password in it is not accepted; remove what stands before the @"
    } else if rest.contains(['?', '#']) {
        "an address with a query or fragment is not accepted; remove what stands from the ? or # on"
    } else if name.is_empty() || rest.contains(|c: char| !c.is_ascii_graphic()) {
        "this address has no host, or a character that no address has; write it as in https://graph.facebook.com"
    } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        "the port of this address is no number from 0 to 65535; write it as in http://127.0.0.1:8080"
    } else {
        return None;
    };
    Some(wrong.to_owned())
}

fn version_trouble(version: &str) -> Option<String> {
    let number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    let well_formed = version
        .strip_prefix('v')
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor));
    (!well_formed).then(|| {
        format!(
            "{} is no version of the Graph API; write one such as {}",
            shown(version),
            defaults::VERSION
        )
    })
}

fn concurrency(notes: &mut Notes<'_>, at: &Place, given: &Given<Whole>) -> usize {
    let Some(Whole(number)) = given.get() else {
        return defaults::CONCURRENCY;
    };
    let number = usize::try_from(*number).ok();
    number
        .filter(|number| (1..=MOST_CONCURRENCY).contains(number))
        .unwrap_or_else(|| {
            notes.add(
                at,
                format!(
                    "this is out of range; a whole number from 1 to {MOST_CONCURRENCY} is right"
                ),
            );
            defaults::CONCURRENCY
        })
}

fn quota_share(notes: &mut Notes<'_>, at: &Place, given: &Given<Number>) -> f64 {
    let share = given.get().map_or(defaults::QUOTA_SHARE, |share| share.0);
    // Asked this way round, so that what is no number is out of range too.
    if !(share > 0.0 && share <= MOST_QUOTA_SHARE) {
        notes.add(
            at,
            format!("this is out of range; a share above 0 and at most {MOST_QUOTA_SHARE} is right, such as 0.75"),
        );
    }
    share
}
