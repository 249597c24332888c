//! The words that the whole program is said in: ids, levels, dates, rows.
//!
//! Nothing here knows how Meta spells them in JSON, or Prometheus on a page.

mod figures;
mod short;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;

pub use self::figures::{Figure, Figures};

/// An ad account's id: the digits that follow `act_`. Never a number: ids pass 2^53.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Reads `act_123` or `123`; `None` for anything that is not digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("act_").unwrap_or(text);
        is_id(digits).then(|| Self(digits.into()))
    }

    /// The digits alone, as the `account_id` label has them.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// As the API's paths and the `source` label spell it: `act_` and the digits.
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "act_{}", self.0)
    }
}

/// The id of a campaign, an ad set or an ad: digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Arc<str>);

impl ObjectId {
    /// `None` for anything that is not digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_id(text).then(|| Self(text.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ids seen are up to 18 digits; twice that bounds what a stranger can make us keep.
fn is_id(text: &str) -> bool {
    (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// How finely the API is asked to divide its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One row an ad account.
    Account,
    /// One row a campaign.
    Campaign,
    /// One row an ad set (Meta also says: message set).
    Adset,
    /// One row an ad (a message).
    Ad,
}

impl Level {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Adset => "adset",
            Self::Ad => "ad",
        }
    }
}

/// One of the API's relative date ranges, cut in the ad account's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatePreset(&'static str);

impl DatePreset {
    /// Every preset that Meta documents for insights, in its order.
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

    /// The preset of that name, if the API has one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| *name == text).map(Self)
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// The dates that a window asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dates {
    /// Relative to today in the ad account's time zone.
    Preset(DatePreset),
    /// Fixed days, both inclusive.
    Range {
        /// The first day.
        since: Date,
        /// The last day.
        until: Date,
    },
    /// None sent: the API answers what it has, for campaigns older than its support of dates.
    Unsent,
}

/// What a number counts, which decides its scale and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Events: as they are.
    Count,
    /// Major units of the ad account's currency.
    Money,
    /// The API says 0 to 100, the page 0 to 1.
    Percent,
}

impl Kind {
    /// As the config says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Money => "money",
            Self::Percent => "percent",
        }
    }
}

/// The action type that return on ad spend and cost per purchase are about.
pub const PURCHASE: &str = "offsite_conversion.fb_pixel_purchase";

/// Every action type that Meta's page on measuring marketing messages documents.
pub const ACTION_TYPES: [&str; 10] = [
    PURCHASE,
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

/// An id with the name that people know it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// The API's id.
    pub id: ObjectId,
    /// The API's name, unaltered; empty where it gave none.
    pub name: Arc<str>,
}

/// What a row is about: everything that becomes its labels, but for business, window and the
/// user's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The ad account.
    pub account: AccountId,
    /// The currency of the ad account, as an ISO 4217 code, where the API told it.
    pub currency: Option<Arc<str>>,
    /// Absent at level `account` alone.
    pub campaign: Option<Named>,
    /// Present at levels `adset` and `ad`.
    pub adset: Option<Named>,
    /// Present at level `ad`.
    pub ad: Option<Named>,
}

impl Identity {
    /// The id that tells the rows of one answer apart: that of the deepest level present.
    pub fn key(&self) -> &str {
        [&self.ad, &self.adset, &self.campaign]
            .into_iter()
            .flatten()
            .next()
            .map_or(self.account.digits(), |named| named.id.as_str())
    }
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is about.
    pub identity: Arc<Identity>,
    /// The first day that the numbers cover, in the ad account's time zone.
    pub start: Date,
    /// The last day that the numbers cover.
    pub stop: Date,
    /// Whether it holds at least one list of actions, values or returns.
    pub has_actions: bool,
    /// Whether Meta says that several attribution settings were mixed, and so drops the actions.
    pub mixed_attribution: bool,
    /// The numbers, in the order of the query's columns.
    pub figures: Figures,
}

/// The numbers that the delivery query asks for on its own account, in the order of their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Messages delivered.
    Delivered,
    /// Clicks on links and buttons.
    LinkClicks,
    /// Money spent.
    Spend,
    /// Read of delivered.
    ReadRatio,
    /// Clicked of delivered.
    LinkClickRatio,
    /// Delivered of sent.
    DeliveryRatio,
    /// Money a delivered message.
    CostPerDelivered,
    /// Money a click.
    CostPerLinkClick,
}

impl Scalar {
    /// All of them; an element's place is its column.
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

    /// The column of the delivery query that it stands in.
    pub fn column(self) -> usize {
        self as usize
    }

    /// What it counts.
    pub fn kind(self) -> Kind {
        match self {
            Self::Delivered | Self::LinkClicks => Kind::Count,
            Self::Spend | Self::CostPerDelivered | Self::CostPerLinkClick => Kind::Money,
            Self::ReadRatio | Self::LinkClickRatio | Self::DeliveryRatio => Kind::Percent,
        }
    }

    /// The API's field.
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

/// The three lists of the conversions query; each has a column an action type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionList {
    /// How often: `actions`.
    Counts,
    /// How much money it brought: `action_values`.
    Values,
    /// Money brought for money spent: `website_purchase_roas`.
    Returns,
}

impl ActionList {
    /// All of them, in the order of their columns.
    pub const ALL: [Self; 3] = [Self::Counts, Self::Values, Self::Returns];

    /// The column of the conversions query for one of `action_types` action types.
    pub fn column(self, action_type: usize, action_types: usize) -> usize {
        self as usize * action_types + action_type
    }

    /// The columns of the conversions query for `action_types` action types.
    pub fn columns(self, action_types: usize) -> Range<usize> {
        self.column(0, action_types)..self.column(action_types, action_types)
    }

    /// The API's field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Counts => "actions",
            Self::Values => "action_values",
            Self::Returns => "website_purchase_roas",
        }
    }
}
