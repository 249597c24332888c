//! The table of every metric: name, help, labels, and the pure function that finds its value.
//!
//! The first table is the campaign page, written by `writer` in this order. The second
//! is the exporter's own, kept by the `prometheus` crate in `own`.

use jiff::Timestamp;

use crate::config::Bounds;
use crate::listing::Campaign;
use crate::row::Scalar;
use crate::snapshot::{Known, Shown, WindowKnown};

/// What every name of this program begins with.
pub const PREFIX: &str = "marketing_messages_";

/// One metric family of the campaign page. Every one is a gauge: the API restates its numbers for
/// 28 days, and windows restart.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name without [`PREFIX`].
    pub name: &'static str,
    /// The HELP text.
    pub help: &'static str,
    /// The labels that it has beside those of what it is of.
    pub labels: &'static [&'static str],
    /// What it is of, and where its value comes from.
    pub of: Of,
}

/// What a family has a sample of, and the function that finds it.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A row of a window.
    Row(PerRow),
    /// The place where the config's extra fields stand; each becomes a [`PerRow::Extra`].
    Extras,
    /// A campaign that discovery found.
    Campaign(PerCampaign),
    /// The polls of a source.
    Poll(PerPoll),
}

/// What is said of a row.
#[derive(Clone, Copy, Debug)]
pub enum PerRow {
    /// A number.
    Number(fn(&Shown<'_>) -> Option<f64>),
    /// Money: with the `currency` label.
    Money(fn(&Shown<'_>) -> Option<f64>),
    /// A number an action type.
    Action(fn(&Shown<'_>, usize) -> Option<f64>),
    /// Money an action type.
    ActionMoney(fn(&Shown<'_>, usize) -> Option<f64>),
    /// One of the config's extra fields.
    Extra {
        /// Its place among them.
        place: usize,
        /// Whether it is money.
        money: bool,
    },
    /// A bound of its window, in the ad account's time zone.
    Bound(Bound),
    /// A limit that the config sets.
    Threshold(fn(&Bounds) -> Option<f64>),
    /// Its campaign's conversions are kept back: always 1, once a campaign.
    Withheld,
}

/// What is said of a campaign.
#[derive(Clone, Copy, Debug)]
pub enum PerCampaign {
    /// Its names: always 1.
    Info,
    /// Money.
    Money(fn(&Campaign) -> Option<f64>),
}

/// What is said of the polls of a source.
#[derive(Clone, Copy, Debug)]
pub enum PerPoll {
    /// Those of one window.
    Window(fn(&WindowKnown) -> Option<f64>),
    /// All of them.
    Source(fn(&Known) -> Option<f64>),
}

/// Which end of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The midnight that opens its first day.
    Start,
    /// The midnight that closes its last day.
    End,
}

/// The campaign page, in its order.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "up",
        help: "Whether the last poll of this source and window succeeded; 0 until the first one did",
        labels: &["business", "source", "window"],
        of: Of::Poll(PerPoll::Window(|w| Some(if w.up { 1.0 } else { 0.0 }))),
    },
    Family {
        name: "last_success_timestamp_seconds",
        help: "When a poll of this source and window last succeeded; absent until one did",
        labels: &["business", "source", "window"],
        of: Of::Poll(PerPoll::Window(|w| w.last_success.map(seconds))),
    },
    Family {
        name: "delivered",
        help: "Messages delivered (marketing_messages_delivered) as of the last successful poll; estimated, leaves out Europe and Japan",
        labels: ROW,
        of: Of::Row(PerRow::Number(|row| row.scalar(Scalar::Delivered))),
    },
    Family {
        name: "link_clicks",
        help: "Clicks on links in messages (marketing_messages_link_btn_click) as of the last successful poll; leaves out Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW,
        of: Of::Row(PerRow::Number(|row| row.scalar(Scalar::LinkClicks))),
    },
    Family {
        name: "spend",
        help: "Money spent (marketing_messages_spend) as of the last successful poll; covers every region, unlike delivered, reads and clicks",
        labels: ROW_MONEY,
        of: Of::Row(PerRow::Money(|row| row.scalar(Scalar::Spend))),
    },
    Family {
        name: "read_ratio",
        help: "Read of delivered messages, 0 to 1 (marketing_messages_read_rate / 100) as of the last successful poll; misses readers without receipts, leaves out Europe and Japan",
        labels: ROW,
        of: Of::Row(PerRow::Number(|row| row.scalar(Scalar::ReadRatio))),
    },
    Family {
        name: "link_click_ratio",
        help: "Clicks of delivered messages, 0 to 1 (marketing_messages_link_btn_click_rate / 100) as of the last successful poll; leaves out Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW,
        of: Of::Row(PerRow::Number(|row| row.scalar(Scalar::LinkClickRatio))),
    },
    Family {
        name: "delivery_ratio",
        help: "Delivered of sent messages, 0 to 1 (marketing_messages_delivery_rate / 100) as of the last successful poll; 0 can mean that Meta did not compute it",
        labels: ROW,
        of: Of::Row(PerRow::Number(|row| row.scalar(Scalar::DeliveryRatio))),
    },
    Family {
        name: "cost_per_delivered",
        help: "Money a delivered message (marketing_messages_cost_per_delivered) as of the last successful poll",
        labels: ROW_MONEY,
        of: Of::Row(PerRow::Money(|row| row.scalar(Scalar::CostPerDelivered))),
    },
    Family {
        name: "cost_per_link_click",
        help: "Money a click (marketing_messages_cost_per_link_btn_click) as of the last successful poll; leaves out Europe, Argentina, Turkey, South Korea and Japan",
        labels: ROW_MONEY,
        of: Of::Row(PerRow::Money(|row| row.scalar(Scalar::CostPerLinkClick))),
    },
    Family {
        name: "",
        help: "",
        labels: ROW,
        of: Of::Extras,
    },
    Family {
        name: "conversions",
        help: "Website events attributed to the campaign (actions) as of the last successful poll; estimated; never add up action types, one purchase can stand under several",
        labels: ROW_ACTION,
        of: Of::Row(PerRow::Action(|row, action_type| {
            row.conversions(action_type)
        })),
    },
    Family {
        name: "conversion_value",
        help: "Money that website events brought (action_values) as of the last successful poll; estimated",
        labels: ROW_ACTION_MONEY,
        of: Of::Row(PerRow::ActionMoney(|row, action_type| {
            row.conversion_value(action_type)
        })),
    },
    Family {
        name: "website_purchase_roas",
        help: "Money that website purchases brought for money spent (website_purchase_roas) as of the last successful poll; estimated; 0 where money was spent and nothing sold",
        labels: ROW_ACTION,
        of: Of::Row(PerRow::Action(|row, action_type| {
            row.website_purchase_roas(action_type)
        })),
    },
    Family {
        name: "window_start_timestamp_seconds",
        help: "The midnight that opens the first day answered (date_start) in the ad account's time zone, as of the last successful poll",
        labels: ROW,
        of: Of::Row(PerRow::Bound(Bound::Start)),
    },
    Family {
        name: "window_end_timestamp_seconds",
        help: "The midnight that closes the last day answered (date_stop) in the ad account's time zone, as of the last successful poll",
        labels: ROW,
        of: Of::Row(PerRow::Bound(Bound::End)),
    },
    Family {
        name: "max_spend_threshold",
        help: "The config's limit on spend in this window, in the row's currency",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.max_spend)),
    },
    Family {
        name: "min_roas_threshold",
        help: "The config's limit on return on ad spend in this window",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.min_roas)),
    },
    Family {
        name: "max_cost_per_purchase_threshold",
        help: "The config's limit on spend a purchase in this window, in the row's currency",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.max_cost_per_purchase)),
    },
    Family {
        name: "max_cost_per_link_click_threshold",
        help: "The config's limit on spend a click in this window, in the row's currency",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.max_cost_per_link_click)),
    },
    Family {
        name: "min_read_ratio_threshold",
        help: "The config's limit on the read ratio in this window, 0 to 1",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.min_read_ratio)),
    },
    Family {
        name: "from_spend_threshold",
        help: "The spend in this window below which the config's other limits are not judged, in the row's currency",
        labels: ROW,
        of: Of::Row(PerRow::Threshold(|bounds| bounds.from_spend)),
    },
    Family {
        name: "campaign_info",
        help: "A campaign as of the last discovery, always 1; status is the API's effective_status",
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
        of: Of::Campaign(PerCampaign::Info),
    },
    Family {
        name: "campaign_daily_budget",
        help: "The daily budgets of the campaign's ad sets (daily_budget), summed, as of the last discovery; Meta may spend up to 75 % more on a day",
        labels: CAMPAIGN_MONEY,
        of: Of::Campaign(PerCampaign::Money(|campaign| campaign.daily_budget)),
    },
    Family {
        name: "campaign_lifetime_budget",
        help: "The lifetime budgets of the campaign's ad sets (lifetime_budget), summed, as of the last discovery",
        labels: CAMPAIGN_MONEY,
        of: Of::Campaign(PerCampaign::Money(|campaign| campaign.lifetime_budget)),
    },
    Family {
        name: "exporter_conversions_withheld",
        help: "1 where Meta keeps conversions back because the campaign's ad sets have different attribution settings; ask with level adset to see them",
        labels: &["business", "account_id", "campaign_id", "window"],
        of: Of::Row(PerRow::Withheld),
    },
    Family {
        name: "exporter_poll_duration_seconds",
        help: "How long the last poll of this source and window took",
        labels: &["business", "source", "window"],
        of: Of::Poll(PerPoll::Window(|w| {
            w.last_duration.map(|d| d.as_secs_f64())
        })),
    },
    Family {
        name: "exporter_next_poll_timestamp_seconds",
        help: "When this source and window will be polled next",
        labels: &["business", "source", "window"],
        of: Of::Poll(PerPoll::Window(|w| w.next_poll.map(seconds))),
    },
    Family {
        name: "exporter_stale_after_seconds",
        help: "How long the values of this source and window are believed without a successful poll",
        labels: &["business", "source", "window"],
        of: Of::Poll(PerPoll::Window(|w| Some(w.stale_after.as_secs_f64()))),
    },
    Family {
        name: "exporter_api_held_until_timestamp_seconds",
        help: "Until when polls of this source are held off; absent when they are not",
        labels: &["business", "source"],
        of: Of::Poll(PerPoll::Source(|known| known.held_until.map(seconds))),
    },
];

/// The labels of a row at level `campaign`.
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
const CAMPAIGN_MONEY: &[&str] = &[
    "business",
    "account_id",
    "campaign_id",
    "campaign_name",
    "currency",
];

/// The type of a family of the exporter's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// One metric family of the exporter's own.
#[derive(Clone, Copy, Debug)]
pub struct OwnFamily {
    /// The whole name.
    pub name: &'static str,
    /// The HELP text.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its type.
    pub kind: Type,
}

const fn own(
    name: &'static str,
    kind: Type,
    labels: &'static [&'static str],
    help: &'static str,
) -> OwnFamily {
    OwnFamily {
        name,
        help,
        labels,
        kind,
    }
}

/// What the exporter says of itself, kept by the `prometheus` crate; by name.
pub mod own_families {
    use super::Type::{Counter, Gauge, Histogram};
    use super::{OwnFamily, own};

    /// Version and build.
    pub const BUILD_INFO: OwnFamily = own(
        "marketing_messages_exporter_build_info",
        Gauge,
        &["version", "revision", "rustversion"],
        "The exporter's version, the revision it was built from and the compiler, always 1",
    );
    /// Polls begun and ended.
    pub const POLLS: OwnFamily = own(
        "marketing_messages_exporter_polls_total",
        Counter,
        &["business"],
        "Polls of a source and window that ended, well or not",
    );
    /// Polls that failed.
    pub const POLL_FAILURES: OwnFamily = own(
        "marketing_messages_exporter_poll_failures_total",
        Counter,
        &["business", "reason"],
        "Polls that failed, by the reason of the first fault",
    );
    /// Polls that were due and not begun.
    pub const POLLS_SKIPPED: OwnFamily = own(
        "marketing_messages_exporter_polls_skipped_total",
        Counter,
        &["business"],
        "Polls that were due while the one before was still running, and left out",
    );
    /// Requests.
    pub const API_REQUESTS: OwnFamily = own(
        "marketing_messages_exporter_api_requests_total",
        Counter,
        &["business", "endpoint"],
        "Requests sent to the Graph API",
    );
    /// Requests that failed.
    pub const API_REQUEST_ERRORS: OwnFamily = own(
        "marketing_messages_exporter_api_request_errors_total",
        Counter,
        &["business", "endpoint", "reason", "code"],
        "Requests to the Graph API that failed; code is Meta's, empty where it gave none",
    );
    /// Request durations.
    pub const API_REQUEST_DURATION: OwnFamily = own(
        "marketing_messages_exporter_api_request_duration_seconds",
        Histogram,
        &[],
        "How long requests to the Graph API took, failed ones included",
    );
    /// Quota in use.
    pub const API_USAGE: OwnFamily = own(
        "marketing_messages_exporter_api_usage_ratio",
        Gauge,
        &["business", "account_id", "limit", "quantity"],
        "Quota in use as Meta last said, 1 is all of it",
    );
    /// Access tier.
    pub const API_ACCESS_TIER: OwnFamily = own(
        "marketing_messages_exporter_api_access_tier_info",
        Gauge,
        &["business", "account_id", "tier"],
        "The access tier that Meta last named, always 1",
    );
    /// API version.
    pub const API_VERSION: OwnFamily = own(
        "marketing_messages_exporter_api_version_info",
        Gauge,
        &["configured", "answered"],
        "The API version that was asked and the one that answered last, always 1",
    );
    /// Token validity.
    pub const TOKEN_VALID: OwnFamily = own(
        "marketing_messages_exporter_token_valid",
        Gauge,
        &["business"],
        "Whether the API took the business' access token last time; absent until the first answer",
    );
    /// Token expiry.
    pub const TOKEN_EXPIRES: OwnFamily = own(
        "marketing_messages_exporter_token_expires_timestamp_seconds",
        Gauge,
        &["business"],
        "When the business' access token expires; absent where it never does, or no app secret allows to ask",
    );
    /// Unusable values.
    pub const VALUES_REJECTED: OwnFamily = own(
        "marketing_messages_exporter_values_rejected_total",
        Counter,
        &["field"],
        "Values in answers that were no finite number, and so left out",
    );
    /// Fields left out.
    pub const FIELD_REJECTED: OwnFamily = own(
        "marketing_messages_exporter_field_rejected",
        Gauge,
        &["business", "field"],
        "1 for a field that the API does not take for this business, and that is no longer asked for",
    );
    /// Whether the config in force is the newest.
    pub const RELOAD_SUCCESSFUL: OwnFamily = own(
        "marketing_messages_exporter_config_last_reload_successful",
        Gauge,
        &[],
        "Whether the last attempt to load the config succeeded",
    );
    /// When the config in force was loaded.
    pub const RELOAD_SUCCESS_TIME: OwnFamily = own(
        "marketing_messages_exporter_config_last_reload_success_timestamp_seconds",
        Gauge,
        &[],
        "When the config in force was loaded",
    );
    /// This replica's share.
    pub const SHARD: OwnFamily = own(
        "marketing_messages_exporter_shard_info",
        Gauge,
        &["index", "count"],
        "Which share of the sources this replica polls, always 1",
    );
    /// Sources.
    pub const SOURCES: OwnFamily = own(
        "marketing_messages_exporter_sources",
        Gauge,
        &["business"],
        "Ad accounts and campaigns that this replica polls",
    );
    /// Sources of every replica.
    pub const SOURCES_CONFIGURED: OwnFamily = own(
        "marketing_messages_exporter_sources_configured",
        Gauge,
        &[],
        "Ad accounts and campaigns that the config has, of all shards together",
    );
    /// Series.
    pub const PAGE_SERIES: OwnFamily = own(
        "marketing_messages_exporter_page_series",
        Gauge,
        &[],
        "Series on the campaign page, without the exporter's own",
    );
    /// Bytes.
    pub const PAGE_BYTES: OwnFamily = own(
        "marketing_messages_exporter_page_bytes",
        Gauge,
        &[],
        "Size of the campaign page as plain text",
    );

    /// All of them.
    pub const ALL: &[OwnFamily] = &[
        BUILD_INFO,
        POLLS,
        POLL_FAILURES,
        POLLS_SKIPPED,
        API_REQUESTS,
        API_REQUEST_ERRORS,
        API_REQUEST_DURATION,
        API_USAGE,
        API_ACCESS_TIER,
        API_VERSION,
        TOKEN_VALID,
        TOKEN_EXPIRES,
        VALUES_REJECTED,
        FIELD_REJECTED,
        RELOAD_SUCCESSFUL,
        RELOAD_SUCCESS_TIME,
        SHARD,
        SOURCES,
        SOURCES_CONFIGURED,
        PAGE_SERIES,
        PAGE_BYTES,
    ];
}

/// A moment as Prometheus says it: seconds since 1970, with fractions.
fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
