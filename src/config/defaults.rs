//! Default values of the config, each with its reason.
//!
//! `config.example.yaml` shows the same values; a test compares the two. Rules that depend on other
//! keys are not here but in the checks.

use std::time::Duration;

/// Public address of the Graph API.
pub(super) const DEFAULT_URL: &str = "https://graph.facebook.com";

/// Newest Graph API version that this release was built against.
pub(super) const DEFAULT_VERSION: &str = "v27.0";

/// Insights of a large account take several seconds; queries that time out are split in halves and
/// repeated.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Meta refreshes insights about every 15 minutes: polling more often returns the same values.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Enough to poll hundreds of sources within a minute without a noticeable burst of requests.
pub(super) const DEFAULT_CONCURRENCY: usize = 8;

/// Eight default intervals: what fails permanently costs few calls.
pub(super) const DEFAULT_BACKOFF_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// Four default intervals: four polls in a row must fail before values are withdrawn.
pub(super) const DEFAULT_STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// Messages are sent from the same quota: a quarter of it is reserved for them.
pub(super) const DEFAULT_QUOTA_SHARE: f64 = 0.75;

/// People create campaigns by hand: a delay of up to an hour is acceptable and saves API calls.
pub(super) const DEFAULT_DISCOVERY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Meta attributes most conversions within a few hours after the click.
pub(super) const DEFAULT_SETTLE_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// The current day, and a month to compare it with. Each name is that of a date preset of the API.
pub(super) const DEFAULT_WINDOWS: [&str; 2] = ["today", "last_30d"];
