//! All metric families: name, HELP text, labels, and where the value comes from.
//!
//! [`FAMILIES`] are the families of the campaign page, in the order in which `render` writes them.
//! [`self_metric_families`] describe the exporter itself; `self_metrics` keeps them in registries of
//! the `prometheus` crate.

use jiff::Timestamp;

/// Prefix of all metric names except `process_*`.
pub use crate::config::METRIC_PREFIX as PREFIX;
use crate::config::ThresholdSet;
use crate::model::{AdAccount, Campaign, InsightField, MajorUnits};
use crate::snapshot::{ExportedRow, SourceState, WindowState};

/// Metric family of the campaign page. All are gauges, because the API restates its values for up to
/// 28 days and because windows start again from zero.
#[derive(Clone, Copy, Debug)]
pub struct MetricFamilySpec {
    /// Name without [`PREFIX`]; empty for [`SampleSource::Extras`].
    pub name: &'static str,
    /// HELP text.
    pub help: &'static str,
    /// Label names, in the order of the page, at level `campaign` and without labels of the config.
    pub labels: &'static [&'static str],
    /// What the family has samples of, and the function that returns the value.
    pub source: SampleSource,
}

/// What a family has one sample of, with the function that returns the value.
#[derive(Clone, Copy, Debug)]
pub enum SampleSource {
    /// One sample per row of a window.
    Row(RowSample),
    /// Position of the config's `extra_fields`; each becomes a family of [`RowSample::Extra`].
    Extras,
    /// One sample per campaign of the inventory.
    Campaign(CampaignSample),
    /// One sample per ad account of a business.
    Account(AccountSample),
    /// One sample per source, or per window of a source.
    Poll(PollSample),
}

/// Value of a row. The functions return `None` if the row has no sample.
#[derive(Clone, Copy, Debug)]
pub enum RowSample {
    /// Count or ratio.
    Number(fn(&ExportedRow<'_>) -> Option<f64>),
    /// Amount in major units, with the label `currency`.
    Money(fn(&ExportedRow<'_>) -> Option<f64>),
    /// Count or ratio per action type, given as an index into the configured action types.
    Action(fn(&ExportedRow<'_>, usize) -> Option<f64>),
    /// Amount in major units per action type, with the label `currency`.
    ActionMoney(fn(&ExportedRow<'_>, usize) -> Option<f64>),
    /// Value of one of the config's `extra_fields`.
    Extra {
        /// Index of the entry in the config.
        extra_idx: usize,
        /// Whether it is an amount of money, with the label `currency`.
        is_money: bool,
    },
    /// Start or end of the row's dates.
    Edge(WindowEdge),
    /// Configured threshold.
    Threshold(fn(&ThresholdSet) -> Option<f64>),
}

/// Value of a campaign of the inventory.
#[derive(Clone, Copy, Debug)]
pub enum CampaignSample {
    /// Always 1; the properties are labels.
    Info,
    /// Amount in major units, with the label `currency`.
    Money(fn(&Campaign) -> Option<MajorUnits>),
    /// A time.
    Time(fn(&Campaign) -> Option<Timestamp>),
    /// 1 for each issue; its properties are labels.
    Issues,
}

/// Value of an ad account of a business.
#[derive(Clone, Copy, Debug)]
pub enum AccountSample {
    /// Always 1; the properties are labels.
    Info,
    /// Amount in major units, with the label `currency`.
    Money(fn(&AdAccount) -> Option<MajorUnits>),
    /// Number of campaigns, for ad account sources only.
    Campaigns,
}

/// Value of the polls of a source.
#[derive(Clone, Copy, Debug)]
pub enum PollSample {
    /// Value of one window.
    Window(fn(&WindowState) -> Option<f64>),
    /// Value of the source as a whole.
    Source(fn(&SourceState) -> Option<f64>),
    /// Time of the last success of each query of a window.
    Queries,
    /// 1 for each campaign of a window with withheld values, per reason.
    Withheld,
    /// Amount of a window of a whole ad account, with the label `currency`.
    AccountSpend(fn(&SourceState, usize) -> Option<MajorUnits>),
}

/// Start or end of the dates of a row, as a time in the ad account's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowEdge {
    /// Midnight at the beginning of the first day.
    Start,
    /// Midnight at the end of the last day.
    End,
}

/// Metric families of the campaign page, in its order.
pub const FAMILIES: &[MetricFamilySpec] = &[
    MetricFamilySpec {
        name: "up",
        help: "Whether all queries of the last poll of this source and window succeeded and their values are shown; 0 before the first success",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| Some(if w.up { 1.0 } else { 0.0 }))),
    },
    MetricFamilySpec {
        name: "last_success_timestamp_seconds",
        help: "Time of the last poll of this source and window of which all queries succeeded; absent before the first success",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| w.last_success.map(seconds))),
    },
    MetricFamilySpec {
        name: "query_last_success_timestamp_seconds",
        help: "Time of the last successful query of this kind, delivery or conversions; absent before the first success",
        labels: &["business", "source", "window", "query"],
        source: SampleSource::Poll(PollSample::Queries),
    },
    MetricFamilySpec {
        name: "delivered",
        help: "Messages delivered (marketing_messages_delivered) as of the last successful poll; estimated; excludes Europe and Japan",
        labels: ROW,
        source: SampleSource::Row(RowSample::Number(|row| row.scalar(InsightField::Delivered))),
    },
    MetricFamilySpec {
        name: "link_clicks",
        help: "Clicks on links in messages (marketing_messages_link_btn_click) as of the last successful poll; excludes Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW,
        source: SampleSource::Row(RowSample::Number(|row| {
            row.scalar(InsightField::LinkClicks)
        })),
    },
    MetricFamilySpec {
        name: "spend",
        help: "Amount spent (marketing_messages_spend) as of the last successful poll; covers all regions, unlike delivered, reads and clicks",
        labels: ROW_MONEY,
        source: SampleSource::Row(RowSample::Money(|row| row.scalar(InsightField::Spend))),
    },
    MetricFamilySpec {
        name: "read_ratio",
        help: "Fraction of delivered messages that were read (marketing_messages_read_rate / 100) as of the last successful poll; 0 to 1; does not count reads without read receipts; excludes Europe and Japan",
        labels: ROW,
        source: SampleSource::Row(RowSample::Number(|row| row.scalar(InsightField::ReadRatio))),
    },
    MetricFamilySpec {
        name: "link_click_ratio",
        help: "Link clicks per delivered message (marketing_messages_link_btn_click_rate / 100) as of the last successful poll; 0 to 1; excludes Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW,
        source: SampleSource::Row(RowSample::Number(|row| {
            row.scalar(InsightField::LinkClickRatio)
        })),
    },
    MetricFamilySpec {
        name: "delivery_ratio",
        help: "Fraction of sent messages that were delivered (marketing_messages_delivery_rate / 100) as of the last successful poll; 0 to 1; 0 can mean that Meta did not compute it",
        labels: ROW,
        source: SampleSource::Row(RowSample::Number(|row| {
            row.scalar(InsightField::DeliveryRatio)
        })),
    },
    MetricFamilySpec {
        name: "cost_per_delivered",
        help: "Cost per delivered message (marketing_messages_cost_per_delivered) as of the last successful poll",
        labels: ROW_MONEY,
        source: SampleSource::Row(RowSample::Money(|row| {
            row.scalar(InsightField::CostPerDelivered)
        })),
    },
    MetricFamilySpec {
        name: "cost_per_link_click",
        help: "Cost per link click (marketing_messages_cost_per_link_btn_click) as of the last successful poll; excludes Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW_MONEY,
        source: SampleSource::Row(RowSample::Money(|row| {
            row.scalar(InsightField::CostPerLinkClick)
        })),
    },
    MetricFamilySpec {
        name: "",
        help: "",
        labels: ROW,
        source: SampleSource::Extras,
    },
    MetricFamilySpec {
        name: "conversions",
        help: "Website events attributed to the campaign (actions) as of the last successful poll; estimated; do not sum over action types, because one purchase can be counted under several",
        labels: ROW_ACTION,
        source: SampleSource::Row(RowSample::Action(|row, action_idx| {
            row.conversions(action_idx)
        })),
    },
    MetricFamilySpec {
        name: "conversion_value",
        help: "Value of website events attributed to the campaign (action_values) as of the last successful poll; estimated",
        labels: ROW_ACTION_MONEY,
        source: SampleSource::Row(RowSample::ActionMoney(|row, action_idx| {
            row.conversion_value(action_idx)
        })),
    },
    MetricFamilySpec {
        name: "website_purchase_roas",
        help: "Return on ad spend of website purchases (website_purchase_roas) as of the last successful poll; estimated; 0 if money was spent and nothing was sold",
        labels: ROW_ACTION,
        source: SampleSource::Row(RowSample::Action(|row, action_idx| {
            row.website_purchase_roas(action_idx)
        })),
    },
    MetricFamilySpec {
        name: "window_start_timestamp_seconds",
        help: "Start of the first day of the row (date_start) as of the last successful poll; midnight in the time zone of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Edge(WindowEdge::Start)),
    },
    MetricFamilySpec {
        name: "window_end_timestamp_seconds",
        help: "End of the last day of the row (date_stop) as of the last successful poll; midnight in the time zone of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Edge(WindowEdge::End)),
    },
    MetricFamilySpec {
        name: "max_spend_threshold",
        help: "Maximum spend in this window (max_spend in the config), in the currency of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| thresholds.max_spend)),
    },
    MetricFamilySpec {
        name: "min_roas_threshold",
        help: "Minimum return on ad spend in this window (min_roas in the config)",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| thresholds.min_roas)),
    },
    MetricFamilySpec {
        name: "max_cost_per_purchase_threshold",
        help: "Maximum spend per purchase in this window (max_cost_per_purchase in the config), in the currency of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| {
            thresholds.max_cost_per_purchase
        })),
    },
    MetricFamilySpec {
        name: "max_cost_per_link_click_threshold",
        help: "Maximum spend per link click in this window (max_cost_per_link_click in the config), in the currency of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| {
            thresholds.max_cost_per_link_click
        })),
    },
    MetricFamilySpec {
        name: "min_read_ratio_threshold",
        help: "Minimum read ratio in this window (min_read_ratio in the config); 0 to 1",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| thresholds.min_read_ratio)),
    },
    MetricFamilySpec {
        name: "applies_above_spend_threshold",
        help: "Minimum spend in this window before the other thresholds apply (applies_above_spend in the config), in the currency of the ad account",
        labels: ROW,
        source: SampleSource::Row(RowSample::Threshold(|thresholds| {
            thresholds.applies_above_spend
        })),
    },
    MetricFamilySpec {
        name: "campaign_info",
        help: "Properties of a campaign (status is effective_status) as of the last discovery, always 1",
        labels: &[
            "business",
            "account_id",
            "campaign_id",
            "campaign_name",
            "account_name",
            "currency",
            "timezone",
            "status",
            "objective",
        ],
        source: SampleSource::Campaign(CampaignSample::Info),
    },
    MetricFamilySpec {
        name: "campaign_daily_budget",
        help: "Daily budget of the campaign, or else the sum of those of its ad sets (daily_budget), as of the last discovery; Meta may spend up to 75 % more on a single day",
        labels: CAMPAIGN_MONEY,
        source: SampleSource::Campaign(CampaignSample::Money(|campaign| campaign.daily_budget)),
    },
    MetricFamilySpec {
        name: "campaign_lifetime_budget",
        help: "Lifetime budget of the campaign, or else the sum of those of its ad sets (lifetime_budget), as of the last discovery",
        labels: CAMPAIGN_MONEY,
        source: SampleSource::Campaign(CampaignSample::Money(|campaign| campaign.lifetime_budget)),
    },
    MetricFamilySpec {
        name: "campaign_start_timestamp_seconds",
        help: "Start of the campaign, or else the earliest start of its ad sets (start_time), as of the last discovery",
        labels: CAMPAIGN,
        source: SampleSource::Campaign(CampaignSample::Time(|campaign| campaign.start)),
    },
    MetricFamilySpec {
        name: "campaign_end_timestamp_seconds",
        help: "End of the campaign (stop_time), or else the latest end of its ad sets (end_time), as of the last discovery; absent if it is open",
        labels: CAMPAIGN,
        source: SampleSource::Campaign(CampaignSample::Time(|campaign| campaign.end)),
    },
    MetricFamilySpec {
        name: "campaign_issue_info",
        help: "Issue that keeps the campaign, an ad set or an ad from delivering (issues_info) as of the last discovery, always 1",
        labels: &[
            "business",
            "account_id",
            "campaign_id",
            "campaign_name",
            "level",
            "code",
            "summary",
        ],
        source: SampleSource::Campaign(CampaignSample::Issues),
    },
    MetricFamilySpec {
        name: "account_info",
        help: "Properties of an ad account (status is account_status) as of the last discovery, always 1",
        labels: &[
            "business",
            "account_id",
            "account_name",
            "currency",
            "timezone",
            "status",
            "disable_reason",
        ],
        source: SampleSource::Account(AccountSample::Info),
    },
    MetricFamilySpec {
        name: "account_balance",
        help: "Amount that the ad account owes (balance) as of the last discovery",
        labels: ACCOUNT_MONEY,
        source: SampleSource::Account(AccountSample::Money(|account| account.balance)),
    },
    MetricFamilySpec {
        name: "account_spend_cap",
        help: "Maximum spend over the lifetime of the ad account (spend_cap) as of the last discovery; absent without one",
        labels: ACCOUNT_MONEY,
        source: SampleSource::Account(AccountSample::Money(|account| account.spend_cap)),
    },
    MetricFamilySpec {
        name: "account_amount_spent",
        help: "Amount spent that counts against the spend cap (amount_spent) as of the last discovery",
        labels: ACCOUNT_MONEY,
        source: SampleSource::Account(AccountSample::Money(|account| account.amount_spent)),
    },
    MetricFamilySpec {
        name: "account_spend",
        help: "Amount spent on messages of the whole ad account (marketing_messages_spend at level account) as of the last successful request, about once an hour; includes archived and deleted campaigns",
        labels: ACCOUNT_WINDOW_MONEY,
        source: SampleSource::Poll(PollSample::AccountSpend(SourceState::account_spend)),
    },
    MetricFamilySpec {
        name: "account_spend_unattributed",
        help: "Part of account_spend that the exported rows of the same dates do not explain; small differences are due to the time between the requests",
        labels: ACCOUNT_WINDOW_MONEY,
        source: SampleSource::Poll(PollSample::AccountSpend(SourceState::unattributed_spend)),
    },
    MetricFamilySpec {
        name: "exporter_campaigns",
        help: "Campaigns of the ad account that discovery found and that are exported, without archived ones",
        labels: &["business", "account_id"],
        source: SampleSource::Account(AccountSample::Campaigns),
    },
    MetricFamilySpec {
        name: "exporter_discovery_last_success_timestamp_seconds",
        help: "Time of the last discovery of campaigns and properties of this source of which all parts succeeded; absent before the first success",
        labels: &["business", "source"],
        source: SampleSource::Poll(PollSample::Source(|state| {
            state.discovery_success.map(seconds)
        })),
    },
    MetricFamilySpec {
        name: "exporter_source_empty",
        help: "Whether the API returns nothing for a configured campaign of this source; absent if not",
        labels: &["business", "source"],
        source: SampleSource::Poll(PollSample::Source(|state| {
            state.has_empty_campaign().then_some(1.0)
        })),
    },
    MetricFamilySpec {
        name: "exporter_rows_withheld",
        help: "Whether values of this campaign and window are withheld: dates (the row covers other dates), attribution (ad sets have different settings; level adset shows them) or actions_too_heavy (actions cannot be retrieved); absent if not",
        labels: &["business", "account_id", "campaign_id", "window", "reason"],
        source: SampleSource::Poll(PollSample::Withheld),
    },
    MetricFamilySpec {
        name: "exporter_page_size",
        help: "Rows per insights request of this source and window; halved when a result is too large, doubled after eight good polls",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| {
            let rows = w.page_size.and_then(|rows| u32::try_from(rows).ok());
            rows.map(f64::from)
        })),
    },
    MetricFamilySpec {
        name: "exporter_poll_duration_seconds",
        help: "Duration of the last poll of this source and window",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| {
            w.last_duration.map(|d| d.as_secs_f64())
        })),
    },
    MetricFamilySpec {
        name: "exporter_next_poll_timestamp_seconds",
        help: "Time of the next poll of this source and window",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| w.next_poll.map(seconds))),
    },
    MetricFamilySpec {
        name: "exporter_poll_interval_seconds",
        help: "Time between two polls of this source and window, in force since its last poll: that of the config, longer while a quota is nearly used",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| Some(w.interval.as_secs_f64()))),
    },
    MetricFamilySpec {
        name: "exporter_stale_after_seconds",
        help: "Time without a successful poll after which the values of this source and window are withdrawn",
        labels: &["business", "source", "window"],
        source: SampleSource::Poll(PollSample::Window(|w| Some(w.stale_after.as_secs_f64()))),
    },
    MetricFamilySpec {
        name: "exporter_api_paused_until_timestamp_seconds",
        help: "Time until which polls of this source are paused; absent if they are not paused",
        labels: &["business", "source"],
        source: SampleSource::Poll(PollSample::Source(|state| state.paused_until.map(seconds))),
    },
];

/// Labels of a row at level `campaign`.
pub const ROW: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "window",
];
const ROW_MONEY: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "window",
    "currency",
];
const ROW_ACTION: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "window",
    "action_type",
];
const ROW_ACTION_MONEY: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "window",
    "action_type",
    "currency",
];
const CAMPAIGN: &[&str] = &["business", "account_id", "campaign_id", "campaign_name"];
const ACCOUNT_MONEY: &[&str] = &["business", "account_id", "currency"];
const ACCOUNT_WINDOW_MONEY: &[&str] = &["business", "account_id", "window", "currency"];
const CAMPAIGN_MONEY: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "currency",
];

/// Type of a self metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Total that only increases.
    Counter,
    /// Value that can go up and down.
    Gauge,
    /// Distribution over buckets.
    Histogram,
}

/// Metric family that describes the exporter itself.
#[derive(Clone, Copy, Debug)]
pub struct SelfMetricFamily {
    /// Complete name.
    pub name: &'static str,
    /// HELP text.
    pub help: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
    /// Metric type.
    pub kind: MetricType,
}

const fn self_metric(
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
) -> SelfMetricFamily {
    SelfMetricFamily {
        name,
        help,
        labels,
        kind,
    }
}

/// Metric families that describe the exporter itself.
pub mod self_metric_families {
    use super::MetricType::{Counter, Gauge, Histogram};
    use super::{SelfMetricFamily, self_metric};

    /// Version and build information.
    pub const BUILD_INFO: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_build_info",
        Gauge,
        &["version", "revision", "rustversion"],
        "Version and source revision of the exporter and version of the Rust compiler that built it, always 1",
    );
    /// Finished polls.
    pub const POLLS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_polls_total",
        Counter,
        &["business"],
        "Finished polls of a source and window, including failed ones",
    );
    /// Failed polls.
    pub const POLL_FAILURES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_poll_failures_total",
        Counter,
        &["business", "reason"],
        "Failed polls of a source and window, by the reason of the first error",
    );
    /// Skipped polls.
    pub const POLLS_SKIPPED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_polls_skipped_total",
        Counter,
        &["business"],
        "Polls that were skipped because the previous poll of the same source and window was still running",
    );
    /// API requests.
    pub const API_REQUESTS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_requests_total",
        Counter,
        &["business", "endpoint"],
        "Requests sent to the Graph API",
    );
    /// Failed API requests.
    pub const API_REQUEST_ERRORS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_request_errors_total",
        Counter,
        &["business", "endpoint", "reason", "code", "subcode"],
        "Failed requests to the Graph API; code and subcode are those of the API, empty if it returned none; code is other beyond 200 pairs of codes per business",
    );
    /// Share of failed API requests.
    pub const API_RECENT_ERRORS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_recent_error_ratio",
        Gauge,
        &["business"],
        "Fraction of failed requests among the last 500 of the app; 0 to 1; absent below 100 requests; Meta withdraws the access tier of apps above 0.15",
    );
    /// Duration of API requests.
    pub const API_REQUEST_DURATION: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_request_duration_seconds",
        Histogram,
        &[],
        "Duration of requests to the Graph API, including failed ones",
    );
    /// API quota in use.
    pub const API_USAGE: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_usage_ratio",
        Gauge,
        &["business", "account_id", "limit", "quantity"],
        "Fraction of a quota in use as last reported by the API, where 1 is the whole quota; absent one hour after the last report",
    );
    /// API access tier.
    pub const API_ACCESS_TIER: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_access_tier_info",
        Gauge,
        &["business", "account_id", "tier"],
        "Access tier as last reported by the API, always 1",
    );
    /// Mode of the queries.
    pub const QUERY_MODE: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_query_mode_info",
        Gauge,
        &["business", "account_id", "mode"],
        "How insights of this ad account are queried: joined or separate, with time_ranges, time_range or date_preset; always 1",
    );
    /// API version.
    pub const API_VERSION: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_version_info",
        Gauge,
        &["configured", "answered"],
        "API version in the config and in the last response of the API, always 1",
    );
    /// End of the API version.
    pub const API_VERSION_END: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_version_end_timestamp_seconds",
        Gauge,
        &["version"],
        "Time at which Meta ends the API version in the config; absent if Meta has not announced it",
    );
    /// Warning about the API version.
    pub const API_VERSION_WARNING: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_api_version_warning",
        Gauge,
        &["version"],
        "Whether Meta warned in the last 24 hours that the API version in the config is retired; absent if not",
    );
    /// Readability of the secrets.
    pub const CREDENTIALS_LOADED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_credentials_loaded",
        Gauge,
        &["business"],
        "Whether the access token and the app secret were readable and well-formed at the last poll; absent before the first poll",
    );
    /// Token validity.
    pub const TOKEN_VALID: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_token_valid",
        Gauge,
        &["business"],
        "Whether the API accepted the access token in its last response; absent until the first response; not affected by unreadable secrets",
    );
    /// Token expiry.
    pub const TOKEN_EXPIRES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_token_expires_timestamp_seconds",
        Gauge,
        &["business"],
        "Time at which the access token expires; absent if it does not expire, or without an app secret to look it up",
    );
    /// Expiry of the token's access to data.
    pub const TOKEN_DATA_ACCESS_EXPIRES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_token_data_access_expires_timestamp_seconds",
        Gauge,
        &["business"],
        "Time at which the access token can no longer read data, although it may not expire; absent if it always can, or without an app secret to look it up",
    );
    /// Invalid values in API responses.
    pub const INVALID_VALUES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_invalid_values_total",
        Counter,
        &["business", "field"],
        "Values in API responses that are not a possible number and were dropped",
    );
    /// Invalid rows in API responses.
    pub const INVALID_ROWS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_invalid_rows_total",
        Counter,
        &["business", "reason"],
        "Rows in API responses that were dropped because they belong to another ad account or campaign, or have no ids or dates",
    );
    /// Fields rejected by the API.
    pub const FIELD_REJECTED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_field_rejected",
        Gauge,
        &["business", "field"],
        "Whether the field is no longer requested because the API rejected it for this business; absent if it is requested",
    );
    /// Success of the last config reload.
    pub const RELOAD_SUCCESSFUL: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_config_last_reload_successful",
        Gauge,
        &[],
        "Whether the last attempt to load the config succeeded",
    );
    /// Time of the last successful config reload.
    pub const RELOAD_SUCCESS_TIME: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_config_last_reload_success_timestamp_seconds",
        Gauge,
        &[],
        "Time at which the current config was loaded",
    );
    /// Refused business files.
    pub const CONFIG_FILES_REFUSED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_config_files_refused",
        Gauge,
        &[],
        "Business files that the last attempt to load the config refused",
    );
    /// Last write of the state file.
    pub const STATE_LAST_WRITE_TIME: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_state_last_write_timestamp_seconds",
        Gauge,
        &[],
        "Unix time of the last successful write of the state file; absent without --state.file and before the first write",
    );
    /// Failed writes of the state file.
    pub const STATE_WRITE_FAILURES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_state_write_failures_total",
        Counter,
        &[],
        "Failed writes of the state file, each of which is tried again; absent without --state.file",
    );
    /// Success of the last web config reload.
    pub const WEB_CONFIG_RELOAD_SUCCESSFUL: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_web_config_last_reload_successful",
        Gauge,
        &[],
        "Whether the last check of the web config file applied it; if not, the previous web config is in force; absent without a web config file",
    );
    /// Expiry of the server's certificate.
    pub const TLS_CERTIFICATE_EXPIRY: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_tls_certificate_expiry_timestamp_seconds",
        Gauge,
        &[],
        "Time at which the first certificate in the server's chain expires; absent without TLS",
    );
    /// Answered HTTP requests.
    pub const HTTP_REQUESTS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_http_requests_total",
        Counter,
        &["path", "code"],
        "HTTP requests to the exporter, by path and status code; path is `other` for unknown paths",
    );
    /// Open HTTP connections.
    pub const HTTP_CONNECTIONS: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_http_connections",
        Gauge,
        &[],
        "Open connections to the HTTP server, including idle ones",
    );
    /// Refused logins.
    pub const HTTP_AUTH_FAILURES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_http_auth_failures_total",
        Counter,
        &[],
        "HTTP requests that were refused because of missing or invalid credentials",
    );
    /// Failed TLS handshakes.
    pub const TLS_HANDSHAKE_FAILURES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_tls_handshake_failures_total",
        Counter,
        &[],
        "TLS handshakes with clients that failed or timed out",
    );
    /// Shard of this replica.
    pub const SHARD: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_shard_info",
        Gauge,
        &["index", "count"],
        "Shard of this replica and number of shards, always 1",
    );
    /// Time between discoveries.
    pub const DISCOVERY_INTERVAL: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_discovery_interval_seconds",
        Gauge,
        &[],
        "Time between two discoveries of a source (polling.discovery_interval)",
    );
    /// Series left out of the page.
    pub const SERIES_DROPPED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_series_dropped",
        Gauge,
        &["business"],
        "Series of campaigns that max_series leaves out of the metrics page; absent without max_series",
    );
    /// Sources of this replica.
    pub const SOURCES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_sources",
        Gauge,
        &["business"],
        "Ad accounts and campaigns polled by this replica",
    );
    /// Sources of all shards.
    pub const SOURCES_CONFIGURED: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_sources_configured",
        Gauge,
        &[],
        "Ad accounts and campaigns in the config, over all shards",
    );
    /// Series of the campaign page.
    pub const PAGE_SERIES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_page_series",
        Gauge,
        &[],
        "Series on the campaign page, excluding self metrics",
    );
    /// Age of spend from which rules expect its conversions.
    pub const SETTLE_AFTER: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_settle_after_seconds",
        Gauge,
        &[],
        "Age of spend from which alerting rules expect its conversions to be reported (insights.settle_after)",
    );
    /// Size of the campaign page.
    pub const PAGE_BYTES: SelfMetricFamily = self_metric(
        "marketing_messages_exporter_page_bytes",
        Gauge,
        &[],
        "Size of the campaign page as uncompressed text",
    );

    /// All self metrics, except those of the process.
    pub const ALL: &[SelfMetricFamily] = &[
        BUILD_INFO,
        POLLS,
        POLL_FAILURES,
        POLLS_SKIPPED,
        API_REQUESTS,
        API_REQUEST_ERRORS,
        API_RECENT_ERRORS,
        API_REQUEST_DURATION,
        API_USAGE,
        API_ACCESS_TIER,
        QUERY_MODE,
        API_VERSION,
        API_VERSION_END,
        API_VERSION_WARNING,
        CREDENTIALS_LOADED,
        TOKEN_VALID,
        TOKEN_EXPIRES,
        TOKEN_DATA_ACCESS_EXPIRES,
        INVALID_VALUES,
        INVALID_ROWS,
        FIELD_REJECTED,
        RELOAD_SUCCESSFUL,
        RELOAD_SUCCESS_TIME,
        CONFIG_FILES_REFUSED,
        STATE_LAST_WRITE_TIME,
        STATE_WRITE_FAILURES,
        WEB_CONFIG_RELOAD_SUCCESSFUL,
        TLS_CERTIFICATE_EXPIRY,
        HTTP_REQUESTS,
        HTTP_CONNECTIONS,
        HTTP_AUTH_FAILURES,
        TLS_HANDSHAKE_FAILURES,
        SHARD,
        DISCOVERY_INTERVAL,
        SERIES_DROPPED,
        SOURCES,
        SOURCES_CONFIGURED,
        SETTLE_AFTER,
        PAGE_SERIES,
        PAGE_BYTES,
    ];
}

/// Returns the time in seconds since the Unix epoch.
fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
