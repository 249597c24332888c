//! Rules about access tokens.

use jiff::SignedDuration;

/// Remaining lifetime below which an access token is reported as expiring soon: 14 days, as in the
/// alert `MarketingMessagesTokenExpiresSoon` (`prometheus/rules.yaml`).
pub const TOKEN_EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);
