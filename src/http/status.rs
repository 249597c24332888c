//! Status report: the health of all businesses, which `/api/status` returns as JSON and the landing
//! page as HTML.
//!
//! It is derived from the snapshot of the latest metrics page and the current health of the businesses, and does not
//! wait for polls.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::totals::{self, WindowTotals};
use super::web::scope::BusinessScope;
use crate::config::MAX_QUOTA_SHARE;
use crate::model::{PollError, TOKEN_EXPIRY_WARNING};
use crate::plan::{QueryMode, Shard, SourceKind};
use crate::snapshot::{BusinessHealth, QuotaKey, QuotaReport, Snapshot, SourceState, WindowState};

/// Version of the JSON. Raised when a key is removed or changes its meaning, not for new keys.
const SCHEMA_VERSION: u32 = 1;

/// Fraction of a quota from which polls pause.
pub(super) const PAUSE_RATIO: f64 = MAX_QUOTA_SHARE;

/// Health of all businesses at one point in time. All times are seconds since 1970-01-01 UTC.
#[derive(Debug, Serialize)]
pub(super) struct StatusReport<'a> {
    schema_version: u32,
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) now_timestamp_seconds: f64,
    pub(super) shard: ShardStatus,
    pub(super) quota_share_ratio: f64,
    pub(super) businesses: Vec<BusinessStatus<'a>>,
}

/// Shard of this replica.
#[derive(Debug, Serialize)]
pub(super) struct ShardStatus {
    pub(super) index: u32,
    pub(super) count: u32,
}

/// Health of a business.
#[derive(Debug, Serialize)]
pub(super) struct BusinessStatus<'a> {
    pub(super) name: &'a str,
    pub(super) state: HealthState,
    /// Problems, the most severe first; empty for a healthy business.
    pub(super) problems: Vec<Problem>,
    /// What an operator can do about each of the problems.
    remedies: Vec<&'static str>,
    pub(super) token: TokenStatus,
    pub(super) quotas: Vec<QuotaStatus>,
    pub(super) sources: Vec<SourceStatus<'a>>,
    /// Totals for the landing page; empty if it shows all businesses.
    #[serde(skip)]
    pub(super) totals: Vec<WindowTotals>,
}

/// Health of a business or of a window of a source; the least value is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HealthState {
    /// The last poll of a window failed.
    Down,
    /// A window was not polled yet.
    NotPolled,
    /// The last poll of every window succeeded.
    Up,
}

/// Problem of a business. The order is that of severity, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Problem {
    /// The access token or the app secret cannot be read.
    CredentialsUnreadable,
    /// The API refused the access token.
    TokenRefused,
    /// The last poll of a window failed.
    Down,
    /// Campaigns or properties of a source could not be read at the last discovery.
    DiscoveryFailing,
    /// The API returns nothing for a configured campaign.
    SourceEmpty,
    /// The usage of a quota is at least [`PAUSE_RATIO`]: polls pause.
    QuotaNearlySpent,
    /// A source is paused.
    Paused,
    /// The usage of a quota is above `polling.quota_share`: polls slow down.
    QuotaAboveShare,
    /// The access token, or its access to data, has expired or expires within
    /// [`TOKEN_EXPIRY_WARNING`].
    TokenExpiresSoon,
}

impl Problem {
    /// Returns what an operator can do.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::CredentialsUnreadable => {
                "create the files of the access token and the app secret, readable by the exporter; they are read again within seconds"
            }
            Self::TokenRefused => {
                "generate a new access token at Meta and replace the old one; it is used without a restart"
            }
            Self::Down => "see the error of each window below",
            Self::DiscoveryFailing => {
                "see the error of each source below; until then, names, budgets and new campaigns are not updated"
            }
            Self::SourceEmpty => {
                "compare the configured ids with `discover --archived`; remove campaigns that no longer exist"
            }
            Self::QuotaNearlySpent | Self::QuotaAboveShare => {
                "poll less often, configure fewer windows, or request a higher access tier at Meta; polls continue as the usage falls"
            }
            Self::Paused => {
                "none is needed if the error below is a quota: polls continue after the pause"
            }
            Self::TokenExpiresSoon => {
                "generate a new access token at Meta before the old one expires; prefer one of a system user that never expires"
            }
        }
    }
}

/// State of an access token.
#[derive(Debug, Serialize)]
pub(super) struct TokenStatus {
    /// Whether the API accepts the token; `None` before the first response.
    pub(super) valid: Option<bool>,
    /// `None` if the token does not expire or its expiry is unknown.
    pub(super) expires_timestamp_seconds: Option<f64>,
    /// `None` if the token can always read data, or if the time is unknown.
    pub(super) data_access_expires_timestamp_seconds: Option<f64>,
}

/// Usage of a quota.
#[derive(Debug, Serialize)]
pub(super) struct QuotaStatus {
    /// `None` for a quota of the app, or if Meta named no ad account.
    pub(super) account_id: Option<Box<str>>,
    pub(super) limit: Box<str>,
    pub(super) quantity: Box<str>,
    /// Fraction in use; can exceed 1.
    pub(super) ratio: f64,
}

/// Health of a source.
#[derive(Debug, Serialize)]
pub(super) struct SourceStatus<'a> {
    pub(super) name: &'a str,
    kind: &'static str,
    /// Name of the ad account; `None` before the first discovery, or if the token may not read it.
    pub(super) account_name: Option<&'a str>,
    /// Name of the campaign of a campaign source; `None` before the first discovery.
    pub(super) campaign_name: Option<&'a str>,
    /// Currency of the ad account.
    pub(super) currency: Option<&'a str>,
    /// Time zone of the ad account.
    pub(super) timezone: Option<&'a str>,
    /// Whether an ad account source of the same business already exports this campaign.
    pub(super) duplicate: bool,
    /// Whether the API returns nothing for a configured campaign.
    empty: bool,
    /// Error of the last discovery; `None` if it succeeded.
    discovery_error: Option<ErrorStatus<'a>>,
    /// How the queries are sent; `None` before the first answer.
    query_mode: Option<&'static str>,
    /// `None` if the source is not paused.
    pub(super) paused_until_timestamp_seconds: Option<f64>,
    pub(super) windows: Vec<WindowStatus<'a>>,
}

/// Health of a window of a source.
#[derive(Debug, Serialize)]
pub(super) struct WindowStatus<'a> {
    pub(super) name: &'a str,
    pub(super) state: HealthState,
    /// `None` before the first success.
    pub(super) last_success_timestamp_seconds: Option<f64>,
    /// `None` if the poll is due.
    pub(super) next_poll_timestamp_seconds: Option<f64>,
    pub(super) stale_after_seconds: f64,
    /// Error of the last poll; `None` if it succeeded.
    pub(super) error: Option<ErrorStatus<'a>>,
}

/// Error of a poll.
#[derive(Debug, Serialize)]
pub(super) struct ErrorStatus<'a> {
    pub(super) reason: &'static str,
    pub(super) code: Option<i64>,
    pub(super) subcode: Option<i64>,
    pub(super) message: &'a str,
    /// What an operator can do.
    pub(super) remedy: &'static str,
    pub(super) fbtrace_id: Option<&'a str>,
}

impl<'a> StatusReport<'a> {
    /// Builds the report on the businesses in `scope` from their `health`. Above `quota_share` polls slow down.
    pub(super) fn of(
        snapshot: &'a Snapshot,
        mut health: BTreeMap<Box<str>, BusinessHealth>,
        shard: Shard,
        scope: &BusinessScope,
        quota_share: f64,
        now: Timestamp,
    ) -> Self {
        let sources: Vec<&SourceState> = snapshot
            .sources
            .iter()
            .map(AsRef::as_ref)
            .filter(|state| scope.sees(&state.source.business))
            .collect();
        // In a plan, the sources of a business are adjacent.
        let businesses = sources.chunk_by(|a, b| a.source.business == b.source.business);
        let businesses = businesses.filter_map(|sources| {
            let name = sources.first()?.source.business.as_ref();
            let business = health.remove(name).unwrap_or_default();
            let mut business = BusinessStatus::of(name, sources, business, quota_share, now);
            if let BusinessScope::Only(_) = scope {
                business.totals = totals::of(sources);
            }
            Some(business)
        });
        Self {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("REVISION"),
            now_timestamp_seconds: seconds(now),
            shard: ShardStatus {
                index: shard.index(),
                count: shard.count(),
            },
            quota_share_ratio: quota_share,
            businesses: businesses.collect(),
        }
    }

    /// Serializes the report as JSON on one line.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }
}

impl<'a> BusinessStatus<'a> {
    fn of(
        name: &'a str,
        sources: &[&'a SourceState],
        health: BusinessHealth,
        quota_share: f64,
        now: Timestamp,
    ) -> Self {
        let sources: Vec<_> = sources
            .iter()
            .map(|state| SourceStatus::of(state, now))
            .collect();
        let windows = || sources.iter().flat_map(|source| &source.windows);
        let state = windows().map(|window| window.state).min();
        let max_ratio = health
            .quotas
            .values()
            .map(|quota| quota.ratio)
            .fold(0.0, f64::max);
        let is_paused = |source: &SourceStatus<'_>| source.paused_until_timestamp_seconds.is_some();
        let expiries = [health.token_expires, health.data_access_expires];
        let remaining = expiries
            .into_iter()
            .flatten()
            .min()
            .map(|expires| expires.duration_since(now));
        let problems = [
            (
                Problem::CredentialsUnreadable,
                health.credentials_loaded == Some(false),
            ),
            (Problem::TokenRefused, health.token_valid == Some(false)),
            (Problem::Down, state == Some(HealthState::Down)),
            (
                Problem::DiscoveryFailing,
                sources
                    .iter()
                    .any(|source| source.discovery_error.is_some()),
            ),
            (
                Problem::SourceEmpty,
                sources.iter().any(|source| source.empty),
            ),
            (Problem::QuotaNearlySpent, max_ratio >= PAUSE_RATIO),
            (Problem::Paused, sources.iter().any(is_paused)),
            (
                Problem::QuotaAboveShare,
                max_ratio > quota_share && max_ratio < PAUSE_RATIO,
            ),
            (
                Problem::TokenExpiresSoon,
                remaining.is_some_and(|remaining| remaining < TOKEN_EXPIRY_WARNING),
            ),
        ];
        let problems = problems.into_iter().filter(|(_, is_present)| *is_present);
        let problems: Vec<Problem> = problems.map(|(problem, _)| problem).collect();
        Self {
            name,
            state: state.unwrap_or(HealthState::Up),
            remedies: problems.iter().map(|problem| problem.remedy()).collect(),
            problems,
            totals: Vec::new(),
            token: TokenStatus {
                valid: health.token_valid,
                expires_timestamp_seconds: health.token_expires.map(seconds),
                data_access_expires_timestamp_seconds: health.data_access_expires.map(seconds),
            },
            quotas: health.quotas.into_iter().map(QuotaStatus::of).collect(),
            sources,
        }
    }
}

impl QuotaStatus {
    fn of((key, report): (QuotaKey, QuotaReport)) -> Self {
        Self {
            account_id: Some(key.account_id).filter(|id| !id.is_empty()),
            limit: key.limit,
            quantity: key.quantity,
            ratio: report.ratio,
        }
    }
}

impl<'a> SourceStatus<'a> {
    fn of(state: &'a SourceState, now: Timestamp) -> Self {
        let source = &state.source;
        let windows = source.windows.iter().zip(&state.windows);
        let account = state.inventory.as_ref().map(|inventory| &inventory.account);
        Self {
            name: &source.name,
            account_name: account
                .map(|account| account.name.as_ref())
                .filter(|name| !name.is_empty()),
            campaign_name: match source.kind {
                SourceKind::AdAccount { .. } => None,
                SourceKind::Campaign(_) => state
                    .inventory
                    .as_ref()
                    .and_then(|inventory| inventory.campaigns.first())
                    .map(|campaign| campaign.name.as_ref()),
            },
            currency: account.and_then(|account| account.currency.as_deref()),
            timezone: account.and_then(|account| account.timezone.as_ref()?.iana_name()),
            kind: match source.kind {
                SourceKind::AdAccount { .. } => "ad_account",
                SourceKind::Campaign(_) => "campaign",
            },
            duplicate: state.duplicate,
            empty: state.has_empty_campaign(),
            discovery_error: state.discovery_error.as_ref().map(ErrorStatus::of),
            query_mode: state.query_mode.map(QueryMode::as_str),
            paused_until_timestamp_seconds: state
                .paused_until
                .filter(|end| *end > now)
                .map(seconds),
            windows: windows
                .map(|(window, state)| WindowStatus::of(&window.name, state))
                .collect(),
        }
    }
}

impl<'a> WindowStatus<'a> {
    fn of(name: &'a str, window: &'a WindowState) -> Self {
        Self {
            name,
            state: match (
                window.attempted || window.duplicate,
                window.up || window.duplicate,
            ) {
                (false, _) => HealthState::NotPolled,
                (true, false) => HealthState::Down,
                (true, true) => HealthState::Up,
            },
            last_success_timestamp_seconds: window.last_success.map(seconds),
            next_poll_timestamp_seconds: window.next_poll.map(seconds),
            stale_after_seconds: window.stale_after.as_secs_f64(),
            error: window.error.as_ref().map(ErrorStatus::of),
        }
    }
}

impl<'a> ErrorStatus<'a> {
    fn of(error: &'a PollError) -> Self {
        Self {
            reason: error.reason.as_str(),
            code: error.code,
            subcode: error.subcode,
            message: &error.message,
            remedy: error.remedy(),
            fbtrace_id: error.fbtrace_id.as_deref(),
        }
    }
}

/// Returns seconds since 1970-01-01 UTC, rounded to milliseconds: more digits would be noise.
fn seconds(time: Timestamp) -> f64 {
    let seconds = time.as_duration().as_secs_f64();
    (seconds * 1e3).round() / 1e3
}
