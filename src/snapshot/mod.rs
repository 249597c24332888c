//! The exporter's view of all sources at one moment: values, their age, and poll results.
//!
//! A [`Snapshot`] is immutable. Updates replace it and share what did not change (`Arc`), so that
//! readers can keep one for as long as they need it. `apply` makes the next snapshot from a poll
//! result or from the passage of time, `restore` makes one for a new plan or after a restart.
//! `exported_rows` decides which values are exported, and `withheld` lists those that are not, with the
//! reason. `missing_campaigns` keeps the values of failed parts of a query, and `account_spend` is the spend
//! of a whole ad account. `business_health` is the state of tokens and quotas, which changes with every call.
//! The module does no I/O and reads no clock.

mod account_spend;
mod apply;
mod business_health;
mod exported_rows;
mod missing_campaigns;
mod restore;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Campaign, Dimensions, Inventory, PollError, Row};
use crate::plan::{DateSpan, Plan, QueryMode, Source, SourceKind};

pub use self::account_spend::{AccountSpend, Attribution};
pub use self::apply::{PollResult, QueryResult};
pub use self::business_health::{BusinessHealth, HealthTracker, QuotaKey, QuotaReport};
pub use self::exported_rows::{ExportedRow, ExportedRows, JoinInput, Presence, exported_rows};
pub use self::withheld::{WithheldReason, WithheldRow, withheld_rows};

/// The state of all sources at one moment.
///
/// # Example
///
/// ```
/// use jiff::{Timestamp, ToSpan};
/// use marketing_messages_exporter::config::{Config, NamedDocument};
/// use marketing_messages_exporter::model::{ErrorReason, PollError};
/// use marketing_messages_exporter::plan::{Plan, Shard};
/// use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NamedDocument {
///     name: "config.yaml".to_owned(),
///     text: "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]".to_owned(),
/// };
/// let config = Config::parse(config, Vec::new()).map_err(|errors| errors.to_string())?;
/// let start = Timestamp::UNIX_EPOCH;
/// let snapshot = Snapshot::empty(&Plan::for_shard(&config, Shard::ALL), start);
///
/// // A poll of the first window succeeds, without a row, and the next one fails.
/// let success = PollResult {
///     delivery: QueryResult { rows: Some(Vec::new()), ..QueryResult::default() },
///     ..PollResult::empty(0, start)
/// };
/// let snapshot = snapshot.with_source(0, snapshot.sources[0].apply(success));
/// let error = PollError::new(ErrorReason::Unavailable, "503 Service Unavailable");
/// let failure = PollResult::failed(0, start + 15.minutes(), error);
/// let snapshot = snapshot.with_source(0, snapshot.sources[0].apply(failure));
///
/// // The rows of the successful poll stay, until they expire.
/// let window = &snapshot.sources[0].windows[0];
/// assert!(!window.up && window.delivery.is_some());
/// assert_eq!(snapshot.next_expiry(), Some(start + window.stale_after));
/// let expired = snapshot.expire(start + window.stale_after).expect("the rows are due");
/// assert!(expired.sources[0].windows[0].delivery.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// All sources, in the order of the plan.
    pub sources: Vec<Arc<SourceState>>,
}

/// State of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// The planned source.
    pub source: Arc<Source>,
    /// Result of the last successful discovery; `None` before the first.
    pub inventory: Option<Arc<Inventory>>,
    /// End of the last discovery of which all parts succeeded; `None` before the first.
    pub discovery_success: Option<Timestamp>,
    /// Error of the last discovery; `None` if all of its parts succeeded.
    pub discovery_error: Option<PollError>,
    /// States of the windows, in the order of [`Source::windows`].
    pub windows: Vec<WindowState>,
    /// Time until which the source is not polled; `None` if it is not paused.
    pub paused_until: Option<Timestamp>,
    /// Whether an ad account source of the same business, in any shard, has the campaign of this source. A duplicate
    /// exports no campaign properties.
    pub duplicate: bool,
    /// Whether the properties of the ad account are exported for this source: for one of the sources of a business in
    /// the same ad account.
    pub describes_account: bool,
    /// How the queries are sent; `None` before the first answer.
    pub query_mode: Option<QueryMode>,
    /// Times of the last requests for the ad account, as far as they count against the quota of the
    /// development tier; empty in the standard tier.
    pub recent_reads: Vec<Timestamp>,
    /// What the API refused, to be known after a restart.
    pub refusals: Refusals,
    /// Ids of the campaigns that `max_series` leaves out of the metrics page; `None`: none. Set only in the snapshot of
    /// a page.
    pub left_out: Option<Arc<BTreeSet<Box<str>>>>,
}

/// What the API refused in the queries of a source, and when it is requested again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusals {
    /// Configured API version of the requests; empty before the first poll. With another one, everything is requested again.
    pub api_version: Box<str>,
    /// Fields that are not requested.
    pub fields: Vec<String>,
    /// When these fields are requested again; `None`: with the next poll.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub retry_fields_at: Option<Timestamp>,
    /// When the first query mode is tried again; `None` while it is in use.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub retry_mode_at: Option<Timestamp>,
    /// Campaigns per query, if queries of more campaigns are too heavy; `None` if they are not.
    pub campaigns_per_query: Option<usize>,
    /// Ids of campaigns with actions that cannot be retrieved even in a separate query.
    pub too_heavy: BTreeSet<Box<str>>,
    /// When queries of all campaigns and actions are tried again; `None` while they are.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub retry_whole_at: Option<Timestamp>,
}

impl Refusals {
    /// Returns this if it differs from `before` by more than the inaccuracy of converted times, else `before`. Otherwise
    /// every poll would change the state file.
    #[must_use]
    pub fn or_same(self, before: &Self) -> Self {
        const TOLERANCE: Duration = Duration::from_secs(60);
        let is_near = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            (Some(a), Some(b)) => a.duration_since(b).unsigned_abs() < TOLERANCE,
            (a, b) => a == b,
        };
        let times = |refusals: &Self| {
            [
                refusals.retry_fields_at,
                refusals.retry_mode_at,
                refusals.retry_whole_at,
            ]
        };
        let [fields_at, mode_at, whole_at] = times(before);
        let with_same_times = Self {
            retry_fields_at: fields_at,
            retry_mode_at: mode_at,
            retry_whole_at: whole_at,
            ..self.clone()
        };
        let mut times = times(&self).into_iter().zip(times(before));
        let is_same = with_same_times == *before && times.all(|(a, b)| is_near(a, b));
        if is_same { with_same_times } else { self }
    }
}

/// State of one window of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowState {
    /// Last successful result of the delivery query; `None` before it and after its expiry.
    pub delivery: Option<Arc<RowSet>>,
    /// Last successful result of the conversions query; `None` before it, after its expiry, and
    /// if conversions are not queried.
    pub conversions: Option<Arc<RowSet>>,
    /// Spend of the whole ad account; `None` before its first answer, after its expiry, and for sources of which not
    /// all campaigns are exported.
    pub account_spend: Option<Arc<AccountSpend>>,
    /// Whether the ad account source of which the source is a duplicate has values of this window. They are exported
    /// instead, and the window is not polled.
    pub duplicate: bool,
    /// Whether at least one poll ended, in this process or before the state was restored.
    pub attempted: bool,
    /// Whether all queries of the last poll succeeded and their values are not withdrawn.
    pub up: bool,
    /// End of the last poll of which all queries succeeded.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub last_success: Option<Timestamp>,
    /// Time of the first result page of the last successful delivery query; stays after its values are withdrawn.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub delivery_success: Option<Timestamp>,
    /// Time of the first result page of the last successful conversions query.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub conversions_success: Option<Timestamp>,
    /// Rows per request in force; `None` before the first poll.
    pub page_size: Option<usize>,
    /// Duration of the last poll.
    pub last_duration: Option<Duration>,
    /// Time at which the next poll is due.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub next_poll: Option<Timestamp>,
    /// Time between two polls in force. Not stored: it follows from the config and the quotas.
    #[serde(skip)]
    pub interval: Duration,
    /// Age at which row sets expire.
    pub stale_after: Duration,
    /// First error of the last poll; `None` if it succeeded.
    pub error: Option<PollError>,
}

/// Rows of one query result. Serialized without the rows, of which the state file stores the changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowSet {
    /// Time at which the first result page was received.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub fetched_at: Timestamp,
    /// First and last day that the result covers; `None` if unknown.
    pub dates: Option<DateSpan>,
    /// Midnight of the ad account at which the rows no longer belong to their window; `None` if there is none or it is
    /// unknown.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub valid_until: Option<Timestamp>,
    /// Rows with unique keys, sorted by key.
    #[serde(skip)]
    pub rows: Vec<Row>,
    /// Keys of rows that were received but rejected. They are not exported, not even as zeros.
    pub withheld: BTreeSet<Box<str>>,
    /// Those of `withheld` with other dates than those of the window.
    pub other_dates: BTreeSet<Box<str>>,
    /// Ids of campaigns with actions that cannot be retrieved at any size.
    pub too_heavy: BTreeSet<Box<str>>,
    /// Campaigns that the last query, of which a part failed, did not answer, or that were found after it.
    pub missing: MissingCampaigns,
}

/// Campaigns of a row set without a current answer. Only [`QueryResult`] adds rows of an earlier answer, and only those of
/// the same dates, so that no row set has the values of two days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MissingCampaigns {
    /// Campaigns with the rows of an earlier answer, or without a row in it, and its time in milliseconds since the Unix
    /// epoch.
    kept: BTreeMap<Box<str>, i64>,
    /// Campaigns about which nothing is known. Neither rows nor zeros of them are exported.
    unknown: BTreeSet<Box<str>>,
}

impl Snapshot {
    /// Returns a snapshot in which no source of `plan` was polled yet.
    pub fn empty(plan: &Plan, now: Timestamp) -> Self {
        let sources = plan.sources.iter();
        Self {
            sources: sources
                .map(|source| Arc::new(SourceState::empty(Arc::clone(source), now)))
                .collect(),
        }
    }

    /// Iterates over all windows, as pairs of a source and a window index.
    pub fn windows(&self) -> impl Iterator<Item = (&SourceState, usize)> {
        let sources = self.sources.iter().map(AsRef::as_ref);
        sources.flat_map(|state: &SourceState| {
            (0..state.windows.len()).map(move |window_idx| (state, window_idx))
        })
    }

    /// Returns whether every window of every source was polled or restored.
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|state| state.is_attempted())
    }
}

impl SourceState {
    /// Returns the state of a source that was not polled yet.
    pub fn empty(source: Arc<Source>, now: Timestamp) -> Self {
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let windows = source.windows.iter().map(|window| WindowState {
            delivery: None,
            conversions: None,
            account_spend: None,
            duplicate: false,
            attempted: false,
            up: false,
            last_success: None,
            delivery_success: None,
            conversions_success: None,
            page_size: None,
            last_duration: None,
            next_poll: None,
            interval: window.interval(today),
            stale_after: window.stale_after(today),
            error: None,
        });
        Self {
            windows: windows.collect(),
            source,
            inventory: None,
            discovery_success: None,
            discovery_error: None,
            paused_until: None,
            duplicate: false,
            describes_account: false,
            query_mode: None,
            recent_reads: Vec::new(),
            refusals: Refusals::default(),
            left_out: None,
        }
    }

    /// Whether the inventory has archived or deleted campaigns.
    pub fn has_archived_campaigns(&self) -> bool {
        let inventory = self.inventory.as_ref();
        inventory.is_some_and(|inventory| !inventory.archived.is_empty())
    }

    /// Iterates over the archived and deleted campaigns of which a window has a row.
    pub fn archived_campaigns_with_rows(&self) -> impl Iterator<Item = &Campaign> {
        let archived = self
            .inventory
            .as_ref()
            .map_or(&[][..], |inventory| &inventory.archived);
        let with_rows = if archived.is_empty() {
            BTreeSet::new()
        } else {
            self.campaigns_with_rows()
        };
        archived
            .iter()
            .filter(move |campaign| with_rows.contains(campaign.id.as_str()))
    }

    /// Whether the API returns nothing for a configured campaign: discovery does not find it, or it is archived and no
    /// window has a row of it.
    pub fn has_empty_campaign(&self) -> bool {
        let Some(inventory) = self.inventory.as_deref() else {
            return false;
        };
        let configured = match &self.source.kind {
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } => campaign_allowlist.as_slice(),
            SourceKind::Campaign(id) => std::slice::from_ref(id),
        };
        let mut gone = configured
            .iter()
            .filter(|id| inventory.campaign(id.as_str()).is_none())
            .peekable();
        gone.peek().is_some() && {
            let with_rows = self.campaigns_with_rows();
            gone.any(|id| !with_rows.contains(id.as_str()))
        }
    }

    /// Whether `max_series` leaves a campaign out of the metrics page.
    pub fn leaves_out(&self, campaign_id: &str) -> bool {
        let left_out = self.left_out.as_ref();
        left_out.is_some_and(|ids| ids.contains(campaign_id))
    }

    /// Whether `max_series` leaves the campaign of a row out of the metrics page.
    pub fn leaves_out_row(&self, dimensions: &Dimensions) -> bool {
        let campaign = dimensions.campaign.as_ref();
        campaign.is_some_and(|campaign| self.leaves_out(campaign.id.as_str()))
    }

    /// Returns the ids of the campaigns of which a window has a row.
    fn campaigns_with_rows(&self) -> BTreeSet<&str> {
        let row_sets = self
            .windows
            .iter()
            .flat_map(|window| [&window.delivery, &window.conversions]);
        let rows = row_sets.flatten().flat_map(|row_set| &row_set.rows);
        rows.filter_map(|row| row.dimensions.campaign.as_ref())
            .map(|campaign| campaign.id.as_str())
            .collect()
    }

    /// Returns whether every window was polled or restored.
    pub fn is_attempted(&self) -> bool {
        let mut windows = self.windows.iter();
        windows.all(|window| window.attempted || window.duplicate)
    }
}

impl RowSet {
    /// Returns the row with this key.
    pub fn row(&self, key: &str) -> Option<&Row> {
        let position = self
            .rows
            .binary_search_by(|row| row.dimensions.key().cmp(key));
        position.ok().map(|row_idx| &self.rows[row_idx])
    }
}
