//! How everything fares, as facts: what the landing page says to people and `/api/status` to
//! programs. Made of the last page's snapshot and the own metrics, whatever polls are doing.

use jiff::Timestamp;
use serde::Serialize;

use super::scope::Scope;
use crate::config::MOST_QUOTA_SHARE;
use crate::exposition::{Quota, Standing, Stands};
use crate::fault::Fault;
use crate::plan::Subject;
use crate::snapshot::{Known, Snapshot, WindowKnown};

/// Raised when a key goes or changes its meaning; a new one leaves it as it is.
const SHAPE: u32 = 1;

/// From this part of a quota on, polls pause.
pub(super) const PAUSE_RATIO: f64 = MOST_QUOTA_SHARE;

/// A token that expires sooner is trouble: as long as the alert about it allows.
const EXPIRES_SOON: jiff::SignedDuration = jiff::SignedDuration::from_hours(14 * 24);

/// Everything, at one moment. All times are seconds since 1970 in UTC.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    shape: u32,
    pub(super) version: &'static str,
    pub(super) revision: &'static str,
    pub(super) now_timestamp_seconds: f64,
    pub(super) shard: Shard,
    pub(super) quota_share_ratio: f64,
    pub(super) businesses: Vec<Business<'a>>,
}

/// This replica among all.
#[derive(Debug, Serialize)]
pub(super) struct Shard {
    pub(super) index: u32,
    pub(super) count: u32,
}

/// One business.
#[derive(Debug, Serialize)]
pub(super) struct Business<'a> {
    pub(super) name: &'a str,
    pub(super) state: State,
    /// What somebody should look at, the gravest first; empty where all is well.
    pub(super) troubles: Vec<Trouble>,
    pub(super) token: Token,
    pub(super) quotas: Vec<QuotaUse>,
    pub(super) sources: Vec<Source<'a>>,
}

/// How a business, or a window of a source, fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// A poll failed.
    Down,
    /// Not every window was polled yet.
    NotPolled,
    /// Every last poll succeeded.
    Up,
}

/// What is wrong with a business, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trouble {
    /// The API did not take its token.
    TokenRefused,
    /// The last poll of a window failed.
    Down,
    /// A quota is in use so far that polls pause.
    QuotaNearlySpent,
    /// Polls of a source are held off.
    HeldOff,
    /// A quota is in use above the owner's share: polls slow down.
    QuotaAboveShare,
    /// Its token has expired, or soon will.
    TokenExpiresSoon,
}

/// A business' token.
#[derive(Debug, Serialize)]
pub(super) struct Token {
    /// `None` before the first answer.
    pub(super) valid: Option<bool>,
    /// `None` for never, or not known.
    pub(super) expires_timestamp_seconds: Option<f64>,
}

/// One quota.
#[derive(Debug, Serialize)]
pub(super) struct QuotaUse {
    /// `None` where it is the whole app's, or Meta named none.
    pub(super) account_id: Option<String>,
    pub(super) limit: String,
    pub(super) quantity: String,
    pub(super) ratio: f64,
}

/// One source.
#[derive(Debug, Serialize)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    kind: &'static str,
    /// Whether an ad account source of the same business shows this campaign already.
    pub(super) gives_way: bool,
    /// `None` where it is not held off.
    pub(super) held_until_timestamp_seconds: Option<f64>,
    pub(super) windows: Vec<Window<'a>>,
}

/// One window of a source.
#[derive(Debug, Serialize)]
pub(super) struct Window<'a> {
    pub(super) name: &'a str,
    pub(super) state: State,
    /// `None` before the first success.
    pub(super) last_success_timestamp_seconds: Option<f64>,
    /// `None` where it is due.
    pub(super) next_poll_timestamp_seconds: Option<f64>,
    pub(super) stale_after_seconds: f64,
    /// What went wrong in the last poll.
    pub(super) fault: Option<FaultTold<'a>>,
}

/// What went wrong.
#[derive(Debug, Serialize)]
pub(super) struct FaultTold<'a> {
    pub(super) reason: &'static str,
    pub(super) code: Option<i64>,
    pub(super) subcode: Option<i64>,
    pub(super) message: &'a str,
    pub(super) fbtrace_id: Option<&'a str>,
}

impl<'a> Status<'a> {
    /// What may be told of a snapshot, at a moment; above `quota_share` polls slow down.
    pub(super) fn of(
        snapshot: &'a Snapshot,
        standing: Standing,
        scope: &Scope,
        quota_share: f64,
        now: Timestamp,
    ) -> Self {
        let mut stands = standing.businesses;
        let sources: Vec<&Known> = snapshot
            .sources
            .iter()
            .map(AsRef::as_ref)
            .filter(|known| scope.sees(&known.source.business))
            .collect();
        // A plan goes business by business.
        let businesses = sources.chunk_by(|a, b| a.source.business == b.source.business);
        let businesses = businesses.filter_map(|sources| {
            let name = sources.first()?.source.business.as_ref();
            let stands = stands.remove(name).unwrap_or_default();
            Some(Business::of(name, sources, stands, quota_share, now))
        });
        Self {
            shape: SHAPE,
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("REVISION"),
            now_timestamp_seconds: seconds(now),
            shard: Shard {
                index: standing.shard.index(),
                count: standing.shard.count(),
            },
            quota_share_ratio: quota_share,
            businesses: businesses.collect(),
        }
    }

    /// As JSON, on one line.
    ///
    /// # Errors
    /// None that a status can cause.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }
}

impl<'a> Business<'a> {
    fn of(
        name: &'a str,
        sources: &[&'a Known],
        stands: Stands,
        quota_share: f64,
        now: Timestamp,
    ) -> Self {
        let sources: Vec<_> = sources.iter().map(|known| Source::of(known, now)).collect();
        let windows = || sources.iter().flat_map(|source| &source.windows);
        let state = windows().map(|window| window.state).min();
        let fullest = stands.quotas.iter().map(|quota| quota.ratio);
        let fullest = fullest.fold(0.0, f64::max);
        let held = |source: &Source<'_>| source.held_until_timestamp_seconds.is_some();
        let expires = stands.token_expires.map(|at| at.duration_since(now));
        let troubles = [
            (Trouble::TokenRefused, stands.token_valid == Some(false)),
            (Trouble::Down, state == Some(State::Down)),
            (Trouble::QuotaNearlySpent, fullest >= PAUSE_RATIO),
            (Trouble::HeldOff, sources.iter().any(held)),
            (
                Trouble::QuotaAboveShare,
                fullest > quota_share && fullest < PAUSE_RATIO,
            ),
            (
                Trouble::TokenExpiresSoon,
                expires.is_some_and(|left| left < EXPIRES_SOON),
            ),
        ];
        let troubles = troubles.into_iter().filter(|(_, there)| *there);
        Self {
            name,
            state: state.unwrap_or(State::Up),
            troubles: troubles.map(|(trouble, _)| trouble).collect(),
            token: Token {
                valid: stands.token_valid,
                expires_timestamp_seconds: stands.token_expires.map(seconds),
            },
            quotas: stands.quotas.into_iter().map(QuotaUse::of).collect(),
            sources,
        }
    }
}

impl QuotaUse {
    fn of(quota: Quota) -> Self {
        Self {
            account_id: Some(quota.account_id).filter(|id| !id.is_empty()),
            limit: quota.limit,
            quantity: quota.quantity,
            ratio: quota.ratio,
        }
    }
}

impl<'a> Source<'a> {
    fn of(known: &'a Known, now: Timestamp) -> Self {
        let source = &known.source;
        let windows = source.windows.iter().zip(&known.windows);
        Self {
            name: &source.name,
            kind: match source.subject {
                Subject::AdAccount { .. } => "ad_account",
                Subject::Campaign(_) => "campaign",
            },
            gives_way: known.gives_way,
            held_until_timestamp_seconds: known.held_until.filter(|at| *at > now).map(seconds),
            windows: windows
                .map(|(window, known)| Window::of(&window.name, known))
                .collect(),
        }
    }
}

impl<'a> Window<'a> {
    fn of(name: &'a str, known: &'a WindowKnown) -> Self {
        Self {
            name,
            state: match (known.tried, known.up) {
                (false, _) => State::NotPolled,
                (true, false) => State::Down,
                (true, true) => State::Up,
            },
            last_success_timestamp_seconds: known.last_success.map(seconds),
            next_poll_timestamp_seconds: known.next_poll.map(seconds),
            stale_after_seconds: known.stale_after.as_secs_f64(),
            fault: known.fault.as_ref().map(FaultTold::of),
        }
    }
}

impl<'a> FaultTold<'a> {
    fn of(fault: &'a Fault) -> Self {
        Self {
            reason: fault.reason.as_str(),
            code: fault.code,
            subcode: fault.subcode,
            message: &fault.message,
            fbtrace_id: fault.fbtrace_id.as_deref(),
        }
    }
}

/// To the millisecond: what is finer tells nobody anything.
fn seconds(at: Timestamp) -> f64 {
    let seconds = at.as_duration().as_secs_f64();
    (seconds * 1e3).round() / 1e3
}
