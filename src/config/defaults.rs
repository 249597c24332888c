//! What holds where the file says nothing: every default, each with its reason.
//!
//! `config.example.yaml` says them too, and a test compares the two. No rule is kept here, only
//! values.

use std::time::Duration;

/// Meta's public address.
pub(super) const URL: &str = "https://graph.facebook.com";

/// The newest version that this release was built against.
pub(super) const VERSION: &str = "v26.0";

/// Insights of a large account take some seconds; what takes longer is asked again in halves.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Meta refreshes insights about every 15 minutes: asking more often shows nothing new.
pub(super) const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Enough for a round over hundreds of sources within a minute, and no burst to be noticed.
pub(super) const CONCURRENCY: usize = 8;

/// A source that heals is seen again within one ordinary interval.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// Four polls in a row must fail before values are withdrawn.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// Messages are sent from the same quota: a quarter of it stays theirs.
pub(super) const QUOTA_SHARE: f64 = 0.75;

/// Campaigns are made by people: a new one may wait an hour, and the calls are saved.
pub(super) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The windows, each named as the API names its date preset: now, and a month to compare with.
pub(super) const WINDOWS: [&str; 2] = ["today", "last_30d"];
