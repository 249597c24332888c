//! Checks the sections `graph` and `polling`, and the durations of all sections.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::secrets::LookUpVariable;
use super::{duration, secrets};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::Explicit;
use crate::config::parse::raw::{RawGraph, RawPolling};
use crate::config::parse::scalar::{
    RawDuration, RawId, RawInteger, RawNumber, RawText, TextOrScalar,
};
use crate::config::parse::yaml_path::YamlPath;
use crate::config::{GraphConfig, PollingConfig, defaults};

/// Maximum requests in flight: more would only be throttled by the API.
const MAX_CONCURRENCY: usize = 256;

/// Maximum of `polling.quota_share`: at this usage the limiter treats a quota as exhausted and pauses
/// all requests, so polls must slow down before.
pub const MAX_QUOTA_SHARE: f64 = 0.95;

/// Checks the section `graph`.
pub(in crate::config) fn graph(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawGraph,
    variables: LookUpVariable,
) -> GraphConfig {
    let graph = GraphConfig {
        url: text(
            diagnostics,
            &path.key("url"),
            &raw.url,
            defaults::DEFAULT_URL,
            url_error,
        )
        .trim_end_matches('/')
        .to_owned(),
        version: version(diagnostics, &path.key("version"), &raw.version),
        timeout: duration(diagnostics, &path.key("timeout"), &raw.timeout)
            .unwrap_or(defaults::DEFAULT_TIMEOUT),
        app: secrets::app(
            diagnostics,
            path,
            &raw.app_id,
            &raw.app_secret_file,
            &raw.app_secret_env,
            variables,
        ),
        ca_file: raw.ca_file.get().map(|RawText(ca_file)| {
            if ca_file.trim().is_empty() {
                diagnostics.add(
                    &path.key("ca_file"),
                    "expected the path of a PEM file, found an empty string; write a path or remove the key",
                );
            }
            secrets::file_path(diagnostics, &path.key("ca_file"), ca_file, variables)
        }),
    };
    if is_unencrypted_public(&graph.url) {
        diagnostics.warn(
            &path.key("url"),
            "access tokens are sent unencrypted to a public host; use `https://`",
        );
    }
    graph
}

/// Checks the section `polling`.
pub(in crate::config) fn polling(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawPolling,
) -> PollingConfig {
    let mut duration = |key: &'static str, raw| duration(diagnostics, &path.key(key), raw);
    PollingConfig {
        interval: duration("interval", &raw.interval).unwrap_or(defaults::DEFAULT_INTERVAL),
        backoff_max: duration("backoff_max", &raw.backoff_max)
            .unwrap_or(defaults::DEFAULT_BACKOFF_MAX),
        stale_after: duration("stale_after", &raw.stale_after)
            .unwrap_or(defaults::DEFAULT_STALE_AFTER),
        discovery_interval: duration("discovery_interval", &raw.discovery_interval)
            .unwrap_or(defaults::DEFAULT_DISCOVERY_INTERVAL),
        concurrency: concurrency(diagnostics, &path.key("concurrency"), &raw.concurrency),
        quota_share: quota_share(diagnostics, &path.key("quota_share"), &raw.quota_share),
    }
}

/// Checks a duration; `None` if it is absent or invalid.
pub(in crate::config) fn duration(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawDuration>,
) -> Option<Duration> {
    let RawDuration(raw) = raw.get()?;
    let error = match raw {
        TextOrScalar::Text(text) => match duration::parse_duration(text) {
            Ok(duration) => return Some(duration),
            Err(error) => error,
        },
        TextOrScalar::Number(number) => duration::missing_unit_error(number),
        TextOrScalar::Boolean => duration::duration_error("a boolean"),
    };
    diagnostics.add(path, error);
    None
}

/// Checks a string with `find_error`, which returns the error if there is one.
fn text(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_text: &Explicit<RawText>,
    default: &str,
    find_error: fn(&str) -> Option<String>,
) -> String {
    let Some(RawText(text)) = raw_text.get() else {
        return default.to_owned();
    };
    if let Some(error) = find_error(text) {
        diagnostics.add(path, error);
    }
    text.clone()
}

/// Returns the error for a URL that is not the base URL of a Graph API. It does not quote the URL,
/// which may contain a password or a token.
fn url_error(url: &str) -> Option<String> {
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest else {
        return Some(format!(
            "expected a URL that starts with `https://` or `http://`, found another scheme or none; write a URL such as `{}`",
            defaults::DEFAULT_URL
        ));
    };
    let (authority, url_path) = rest.split_once('/').unwrap_or((rest, ""));
    let last_segment = url_path.trim_end_matches('/').rsplit('/').next();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let error = if rest.contains('@') {
        "expected a URL without user name and password, found `@`; remove the part between `//` and `@`"
    } else if rest.contains(['?', '#']) {
        "expected a URL without query and fragment, found `?` or `#`; remove that part"
    } else if host.is_empty() {
        "expected a URL with a host such as `https://graph.facebook.com`, found no host"
    } else if rest.contains(|c: char| !c.is_ascii_graphic()) {
        "expected a URL such as `https://graph.facebook.com`, found a space or a character that is not ASCII"
    } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        "expected a port from 0 to 65535, found another value; write a URL such as `http://127.0.0.1:8080`"
    } else if last_segment.is_some_and(|segment| version_error(segment).is_none()) {
        "expected a URL without a version, found one at its end; move it to `graph.version`"
    } else if !is_valid_host(host) {
        "expected a host name or an IP address, found another value; write a URL such as `https://graph.facebook.com`"
    } else if url.starts_with("http://") && is_meta_host(host) {
        "expected `https://`, found `http://`; access tokens would be sent unencrypted"
    } else {
        return None;
    };
    Some(error.to_owned())
}

/// Whether a host is an IPv6 address in brackets, or consists of the characters of host names and
/// IPv4 addresses.
fn is_valid_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_host_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    host.bytes().all(is_host_char)
}

/// Whether a host is one of Meta's, which are public.
fn is_meta_host(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    ["facebook.com", "instagram.com", "fb.com", "meta.com"]
        .into_iter()
        .any(|domain| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// Whether requests to this base URL are sent unencrypted over a public network: plain HTTP to a
/// host with a dot in its name, or to an address that is neither private nor local.
fn is_unencrypted_public(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return !(address.is_loopback() || address.is_private() || address.is_link_local());
    }
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| !address.is_loopback() && !address.is_unique_local());
    }
    let is_local = [".local", ".internal", ".localhost", ".svc", ".test"]
        .into_iter()
        .any(|suffix| host.ends_with(suffix));
    host.contains('.') && !is_local
}

/// Checks `version`, which is read as written, because `26.0` without quotes is a number in YAML.
fn version(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &Explicit<RawId>) -> String {
    let Some(RawId(version)) = raw.get() else {
        return defaults::DEFAULT_VERSION.to_owned();
    };
    if let Some(error) = version_error(version) {
        diagnostics.add(path, error);
    }
    version.clone()
}

fn version_error(version: &str) -> Option<String> {
    let is_number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    let is_well_formed = version
        .strip_prefix('v')
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor));
    if is_well_formed {
        return None;
    }
    let digits = version.trim_start_matches(['v', 'V']);
    let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
    let remedy = if is_number(major) && is_number(minor) {
        format!("; write `v{major}.{minor}`")
    } else {
        String::new()
    };
    Some(format!(
        "expected a Graph API version such as `{}`, found {}{remedy}",
        defaults::DEFAULT_VERSION,
        quote_or_redact(version)
    ))
}

fn concurrency(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawInteger>,
) -> usize {
    let Some(RawInteger(number)) = raw.get() else {
        return defaults::DEFAULT_CONCURRENCY;
    };
    usize::try_from(*number)
        .ok()
        .filter(|number| (1..=MAX_CONCURRENCY).contains(number))
        .unwrap_or_else(|| {
            diagnostics.add(
                path,
                format!(
                    "expected an integer from 1 to {MAX_CONCURRENCY}, found {}",
                    quote_or_redact(&number.to_string())
                ),
            );
            defaults::DEFAULT_CONCURRENCY
        })
}

fn quota_share(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawNumber>,
) -> f64 {
    let share = raw
        .get()
        .map_or(defaults::DEFAULT_QUOTA_SHARE, |RawNumber(share)| *share);
    let is_in_range = share > 0.0 && share <= MAX_QUOTA_SHARE; // false for NaN
    if !is_in_range {
        diagnostics.add(
            path,
            format!(
                "expected a share above 0 and at most {MAX_QUOTA_SHARE}, such as 0.75, found {}",
                quote_or_redact(&share.to_string())
            ),
        );
    }
    share
}
