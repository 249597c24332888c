//! Rows of insights, with their dimensions, and the vocabulary of queries: levels, dates, fields.
//!
//! Only names of the API are here; its JSON formats are in `graph`, and the Prometheus text format is
//! in `metrics`.

use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{AccountId, NamedId, RowValues};

/// Level of aggregation: the API returns one row per object of this level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One row per ad account.
    Account,
    /// One row per campaign.
    Campaign,
    /// One row per ad set, which Meta also calls message set.
    Adset,
    /// One row per ad, which is one message.
    Ad,
}

impl Level {
    /// Returns the API's `level` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Adset => "adset",
            Self::Ad => "ad",
        }
    }

    /// Whether rows belong to ad sets or ads, which discovery then has to find.
    pub fn has_adsets(self) -> bool {
        matches!(self, Self::Adset | Self::Ad)
    }
}

/// A relative date range of the API, in the time zone of the ad account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatePreset(&'static str);

impl DatePreset {
    /// All presets that Meta documents for insights, in the order of its documentation.
    pub const ALL: [&'static str; 20] = [
        "today",
        "yesterday",
        "this_month",
        "last_month",
        "this_quarter",
        "maximum",
        "data_maximum",
        "last_3d",
        "last_7d",
        "last_14d",
        "last_28d",
        "last_30d",
        "last_90d",
        "last_week_mon_sun",
        "last_week_sun_sat",
        "last_quarter",
        "last_year",
        "this_week_mon_today",
        "this_week_sun_today",
        "this_year",
    ];

    /// Parses a preset; returns `None` if the API has none of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| *name == text).map(Self)
    }

    /// Returns the API's `date_preset` parameter.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// Dates of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowDates {
    /// A range relative to today in the time zone of the ad account.
    Preset(DatePreset),
    /// A fixed range of days.
    Range {
        /// First day.
        since: Date,
        /// Last day, inclusive.
        until: Date,
    },
    /// No dates are sent: the API returns totals, also for campaigns that are older than its support
    /// of dates.
    AllTime,
}

/// Kind of a value, which determines its unit and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A number of events, 0 or more; without a unit.
    Count,
    /// An amount in major units of the ad account's currency, as the API returns it in insights.
    Money,
    /// A ratio: 0 to 100 in the API, 0 to 1 in this crate and on the metrics page.
    Percent,
}

impl ValueKind {
    /// Returns the name in the config (`extra_fields[].kind`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Money => "money",
            Self::Percent => "percent",
        }
    }
}

/// Action type of purchases, to which return on ad spend and cost per purchase refer.
pub const PURCHASE_ACTION_TYPE: &str = "offsite_conversion.fb_pixel_purchase";

/// All action types that Meta's page "Measure Performance" of marketing messages documents.
pub const ACTION_TYPES: [&str; 10] = [
    PURCHASE_ACTION_TYPE,
    "offsite_conversion.fb_pixel_initiate_checkout",
    "offsite_conversion.fb_pixel_add_to_cart",
    "offsite_conversion.fb_pixel_custom",
    "offsite_conversion.fb_pixel_complete_registration",
    "offsite_conversion.fb_pixel_search",
    "offsite_conversion.fb_pixel_view_content",
    "offsite_conversion.fb_pixel_add_payment_info",
    "offsite_conversion.fb_pixel_add_to_wishlist",
    "offsite_conversion.fb_pixel_lead",
];

/// Dimensions of a row: the source of all its labels except business, window and the labels of the
/// config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dimensions {
    /// Id of the ad account.
    pub account: AccountId,
    /// ISO 4217 code of the ad account's currency; `None` if the API did not return it.
    pub currency: Option<Arc<str>>,
    /// Campaign of the row, or the configured object of a campaign source; `None` at level `account`.
    pub campaign: Option<NamedId>,
    /// Ad set of the row; `None` at the levels `account` and `campaign`.
    pub adset: Option<NamedId>,
    /// Ad of the row; `None` at the other levels.
    pub ad: Option<NamedId>,
}

impl Dimensions {
    /// Returns the id that is unique among the rows of a result: that of the lowest level present.
    pub fn key(&self) -> &str {
        [&self.ad, &self.adset, &self.campaign]
            .into_iter()
            .flatten()
            .next()
            .map_or(self.account.digits(), |named| named.id.as_str())
    }
}

/// One row of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Object that the values belong to.
    pub dimensions: Arc<Dimensions>,
    /// First day that the values cover, in the time zone of the ad account.
    pub start: Date,
    /// Last day that the values cover, inclusive.
    pub stop: Date,
    /// Whether the API reports mixed attribution settings, in which case it omits the actions.
    pub mixed_attribution: bool,
    /// Values, in the order of the query's columns (`plan::QueryColumns`).
    pub values: RowValues,
}

/// The built-in fields of the delivery query, in the order of their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsightField {
    /// Delivered messages.
    Delivered,
    /// Clicks on links and buttons.
    LinkClicks,
    /// Amount spent, in major units of the ad account's currency.
    Spend,
    /// Read messages per delivered message, 0 to 1.
    ReadRatio,
    /// Link clicks per delivered message, 0 to 1.
    LinkClickRatio,
    /// Delivered messages per sent message, 0 to 1.
    DeliveryRatio,
    /// Cost per delivered message, in major units of the ad account's currency.
    CostPerDelivered,
    /// Cost per link click, in major units of the ad account's currency.
    CostPerLinkClick,
}

impl InsightField {
    /// All fields; the index of each is its column.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::LinkClicks,
        Self::Spend,
        Self::ReadRatio,
        Self::LinkClickRatio,
        Self::DeliveryRatio,
        Self::CostPerDelivered,
        Self::CostPerLinkClick,
    ];

    /// Returns the column of the delivery query.
    pub fn column(self) -> usize {
        self as usize
    }

    /// Returns the kind of the values.
    pub fn kind(self) -> ValueKind {
        match self {
            Self::Delivered | Self::LinkClicks => ValueKind::Count,
            Self::Spend | Self::CostPerDelivered | Self::CostPerLinkClick => ValueKind::Money,
            Self::ReadRatio | Self::LinkClickRatio | Self::DeliveryRatio => ValueKind::Percent,
        }
    }

    /// Returns the name of the API's field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Delivered => "marketing_messages_delivered",
            Self::LinkClicks => "marketing_messages_link_btn_click",
            Self::Spend => "marketing_messages_spend",
            Self::ReadRatio => "marketing_messages_read_rate",
            Self::LinkClickRatio => "marketing_messages_link_btn_click_rate",
            Self::DeliveryRatio => "marketing_messages_delivery_rate",
            Self::CostPerDelivered => "marketing_messages_cost_per_delivered",
            Self::CostPerLinkClick => "marketing_messages_cost_per_link_btn_click",
        }
    }
}

/// The lists of the conversions query. Each has one column per action type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionList {
    /// `actions`: number of actions.
    Counts,
    /// `action_values`: value of the actions, in major units of the ad account's currency.
    Values,
    /// `website_purchase_roas`: purchase value per amount spent, without a unit; 2 means twice the amount.
    Returns,
}

impl ActionList {
    /// All lists, in the order of their columns.
    pub const ALL: [Self; 3] = [Self::Counts, Self::Values, Self::Returns];

    /// Returns the column of one action type. `action_types` is the number of action types of the query, and
    /// `action_type_idx` is the index of one, less than `action_types`.
    pub fn column(self, action_type_idx: usize, action_types: usize) -> usize {
        self as usize * action_types + action_type_idx
    }

    /// Returns the columns of this list in a query for `action_types` action types.
    pub fn columns(self, action_types: usize) -> Range<usize> {
        self.column(0, action_types)..self.column(action_types, action_types)
    }

    /// Returns the name of the API's field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Counts => "actions",
            Self::Values => "action_values",
            Self::Returns => "website_purchase_roas",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InsightField;

    #[test]
    fn all_has_every_field_in_the_order_of_the_enum() {
        let (_, source) = include_str!("row.rs")
            .split_once("pub enum InsightField {")
            .unwrap();
        let (variants, _) = source.split_once('}').unwrap();
        let variants = variants.lines().map(str::trim);
        let variants = variants.filter(|line| !line.starts_with("///"));
        let variants: Vec<&str> = variants.filter_map(|line| line.strip_suffix(',')).collect();
        let all = InsightField::ALL.map(|field| format!("{field:?}"));
        assert_eq!(all.as_slice(), variants, "InsightField::ALL is incomplete");
    }
}
