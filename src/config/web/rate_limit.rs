//! Rate limit for HTTP requests.

use std::time::Duration;

use super::go_duration::parse_go_duration;
use super::raw::{RawRateLimit, explicit};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::scalar::RawInteger;
use crate::config::parse::yaml_path::YamlPath;

/// A token bucket: every request takes one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Time after which a token is added.
    pub interval: Duration,
    /// Maximum number of tokens, at least 1.
    pub burst: u32,
}

/// Checks `rate_limit`; `None` if requests are not limited.
pub(super) fn rate_limit(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawRateLimit,
) -> Option<RateLimit> {
    let text = explicit(&raw.interval)?;
    let Some(interval) = parse_go_duration(text) else {
        let found = quote_or_redact(text);
        diagnostics.add(
            &path.key("interval"),
            format!(
                "expected a duration such as `1.5s`, `100ms` or `1m30s`, found {found}; write a number with a unit (ns, us, ms, s, m, h)"
            ),
        );
        return None;
    };
    if interval.is_zero() {
        return None;
    }
    let burst = raw.burst.present().map(|RawInteger(burst)| *burst);
    match burst.map(u32::try_from) {
        Some(Ok(burst @ 1..)) => Some(RateLimit { interval, burst }),
        _ => {
            let found = burst.map_or_else(
                || "no such key".to_owned(),
                |burst| quote_or_redact(&burst.to_string()),
            );
            diagnostics.add(
                &path.key("burst"),
                format!(
                    "expected an integer from 1 to {}, found {found}; without a burst every request would be rejected",
                    u32::MAX
                ),
            );
            None
        }
    }
}
