//! Access tiers of the Marketing API and their quotas.
//!
//! Source: Meta's page "Rate Limiting" of the Marketing API. Since May 2026 Meta calls the tiers
//! "Limited" and "Full"; the values in the usage headers have not changed.

use std::time::Duration;

/// Value of `ads_api_access_tier` for the standard tier; the development tier's is
/// `development_access`.
const STANDARD: &str = "standard_access";

/// Reads of one ad account that the exporter sends per [`DEVELOPMENT_WINDOW`] in the development
/// tier. Meta allows 60; the rest is left for the business, which sends its messages from the same
/// quota.
pub const DEVELOPMENT_READS: usize = 50;

/// Time over which [`DEVELOPMENT_READS`] are counted.
pub const DEVELOPMENT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Insights calls per hour and ad account in the development tier, without the 400 that Meta adds
/// for each active ad.
pub const DEVELOPMENT_CALLS_PER_HOUR: f64 = 600.0;

/// Insights calls per hour and ad account in the standard tier, without the 400 that Meta adds for
/// each active ad.
pub const STANDARD_CALLS_PER_HOUR: f64 = 190_000.0;

/// Returns whether a usage header names the standard tier. Any other tier, also an unknown one, is
/// treated as the development tier.
pub fn is_standard_tier(tier: &str) -> bool {
    tier == STANDARD
}
