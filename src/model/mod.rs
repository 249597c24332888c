//! Types shared by every layer: ids, rows, values, the inventory, errors and secrets.
//!
//! - `ids`, `row`, `values`, `money`, `decimal`: rows of insights, and the text of their numbers
//! - `inventory`: an ad account with its campaigns
//! - `error`, `error_cause`: errors of polls, and their remedies
//! - `secret`, `token`: secrets, and rules about access tokens
//! - `limit_scope`, `backoff`, `stable_hash`: rate limits, delays after failures, phases and shards
//!
//! Plain data without I/O and without a clock. Meta's JSON formats are in `graph`, the Prometheus
//! text format is in `metrics`.
//!
//! Money is in major units of the ad account's currency (euros, not cents) everywhere in this crate;
//! `graph` converts the minor units that the API returns for budgets and balances. Ratios are 0 to 1.

mod backoff;
mod decimal;
mod error;
mod error_cause;
mod ids;
mod inventory;
mod limit_scope;
mod money;
mod row;
mod secret;
mod stable_hash;
mod token;
mod values;

pub use self::backoff::{early_retry_backoff, exponential_backoff};
pub use self::decimal::parse_decimal;
pub use self::error::{ErrorReason, PollError};
pub use self::error_cause::ErrorCause;
pub use self::ids::{AccountId, NamedId, ObjectId};
pub use self::inventory::{
    AdAccount, Campaign, CampaignIssue, Entity, Inventory, ListedStatuses, ListingForm, ListingMode,
};
pub use self::limit_scope::LimitScope;
pub use self::money::{MajorUnits, MinorUnits};
pub use self::row::{
    ACTION_TYPES, ActionList, DatePreset, Dimensions, InsightField, Level, PURCHASE_ACTION_TYPE,
    Row, ValueKind, WindowDates,
};
pub use self::secret::{Secret, SecretSource};
pub use self::stable_hash::fnv1a_mix;
pub use self::token::TOKEN_EXPIRY_WARNING;
pub use self::values::{RowValue, RowValues};
