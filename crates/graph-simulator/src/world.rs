//! The data of the simulated API: apps, tokens, ad accounts, campaigns, ad sets and ads.
//!
//! Plain structs with public fields, so that a test can build the world it needs. Delivery numbers are not stored:
//! `traffic_model` computes them from the `AdProfile` of each ad. JSON is the concern of `nodes` and `fields`.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::traffic_model::AdProfile;

/// All data of the simulated API.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Seed of all statistics. Worlds that differ only in the seed have the same objects with different numbers.
    pub seed: u64,
    /// Apps that the tokens belong to.
    pub apps: Vec<App>,
    /// Accepted access tokens.
    pub tokens: Vec<Token>,
    /// Ad accounts with their campaigns, ad sets and ads.
    pub accounts: Vec<AdAccount>,
}

/// A developer's app: the scope of app-wide rate limits and of `appsecret_proof`.
#[derive(Clone, Debug)]
pub struct App {
    /// Id, decimal digits.
    pub id: String,
    /// App secret: the key of `appsecret_proof` and the second half of the app access token.
    pub secret: String,
    /// Whether calls without `appsecret_proof` are rejected.
    pub requires_proof: bool,
}

/// An access token of a business.
#[derive(Clone, Debug)]
pub struct Token {
    /// Token as the client sends it.
    pub text: String,
    /// Name of the business; faults can be limited to it.
    pub business: String,
    /// Id of the app that the token was issued for.
    pub app: String,
    /// Expiry in Unix seconds. 0 means never, as in `/debug_token`.
    pub expires_at: i64,
    /// End of the access to data in Unix seconds, with a token that can still be valid. 0 means never.
    pub data_access_expires_at: i64,
    /// Ids of the ad accounts that the token can read. `None` means all.
    pub visible_accounts: Option<Vec<u64>>,
}

/// An ad account.
#[derive(Clone, Debug)]
pub struct AdAccount {
    /// Digits after `act_`.
    pub id: u64,
    /// Name.
    pub name: String,
    /// ISO 4217 code of the currency of all amounts.
    pub currency: String,
    /// IANA name of the time zone in which days start and end.
    pub time_zone: String,
    /// Meta's number of the time zone, the field `timezone_id`.
    pub time_zone_id: u32,
    /// `account_status`: 1 is active, 2 disabled; see Meta's page "Ad Account" for the others.
    pub status: u32,
    /// `disable_reason`: 0 is none; see Meta's page "Ad Account" for the others.
    pub disable_reason: u32,
    /// Amount due in minor units of the currency.
    pub balance: i64,
    /// Maximum spend in minor units of the currency; 0 means no limit.
    pub spend_cap: u64,
    /// Access tier in the usage headers.
    pub tier: Tier,
    /// Whether exceeding the read quota of the tier blocks the account, as Meta's page "Rate Limiting" documents.
    pub enforces_quota: bool,
    /// Campaigns, in the order of lists.
    pub campaigns: Vec<Campaign>,
}

/// Access tier of an app for an ad account. Limits: Meta's page "Rate Limiting" of the Marketing API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// 60 reads per 300 s; more block the account for 300 s.
    Development,
    /// 9000 reads per 300 s; more block the account for 60 s.
    Standard,
}

impl Tier {
    /// Returns the value of `ads_api_access_tier` in the usage headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development_access",
            Self::Standard => "standard_access",
        }
    }
}

/// A campaign of marketing messages or of other ads.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Id, unique among campaigns, ad sets and ads of the world.
    pub id: u64,
    /// Name, free text.
    pub name: String,
    /// Whether the campaign sends marketing messages (`is_message_campaign`).
    pub is_message: bool,
    /// Whether messages are sent directly (`is_direct_send_campaign`); the delivery rate is then "0".
    pub is_direct_send: bool,
    /// Configured status.
    pub status: Status,
    /// Objective, `OUTCOME_…`.
    pub objective: String,
    /// Creation time. Delivery starts on the next day in the time zone of the ad account.
    pub created: Timestamp,
    /// Last day of delivery. `None` means that delivery continues.
    pub last_day: Option<Date>,
    /// Daily budget of the campaign itself in minor units of the currency; `None`: its ad sets have the budgets.
    pub daily_budget: Option<u64>,
    /// Lifetime budget of the campaign itself in minor units of the currency.
    pub lifetime_budget: Option<u64>,
    /// Issues that keep the campaign from delivering.
    pub issues: Vec<Issue>,
    /// Ad sets.
    pub adsets: Vec<AdSet>,
}

/// An entry of `issues_info` of a campaign.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Level of the object that has the issue: `CAMPAIGN`, `AD_SET` or `AD`.
    pub level: String,
    /// Meta's error code.
    pub code: u32,
    /// Short description.
    pub summary: String,
}

/// An ad set. Meta's pages on marketing messages call it a message set.
#[derive(Clone, Debug)]
pub struct AdSet {
    /// Id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Configured status.
    pub status: Status,
    /// Attribution setting, such as `7d_click_1d_view`. If the ad sets of a campaign or account differ, rows at these
    /// levels have no action lists; see Meta's page "Ads Action Stats".
    pub attribution_setting: String,
    /// Daily budget in minor units of the currency, by the offsets of Meta's page "Currencies"; `None`: the API
    /// reports 0.
    pub daily_budget: Option<u64>,
    /// Lifetime budget in minor units of the currency, by the offsets of Meta's page "Currencies"; `None`: the API
    /// reports 0.
    pub lifetime_budget: Option<u64>,
    /// Ads.
    pub ads: Vec<Ad>,
}

/// An ad. In a message campaign, an ad is one message.
#[derive(Clone, Debug)]
pub struct Ad {
    /// Id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Configured status.
    pub status: Status,
    /// Parameters of delivery, cost and sales.
    pub profile: AdProfile,
}

/// Configured status of a campaign, an ad set or an ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Can deliver.
    Active,
    /// Does not deliver.
    Paused,
    /// Archived; not in lists unless the request names this status.
    Archived,
    /// Deleted; not in lists unless the request names this status.
    Deleted,
}

impl Status {
    /// Returns the value of `status` and `configured_status` in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }
}

impl AdAccount {
    /// Returns the time zone, or UTC if its name is unknown.
    pub(crate) fn zone(&self) -> TimeZone {
        TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// Converts a time to the time zone of the ad account.
    pub(crate) fn local(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone())
    }

    /// Returns the number of ads in active campaigns, on which the hourly quotas depend.
    pub(crate) fn active_ads(&self) -> u64 {
        self.campaigns
            .iter()
            .filter(|campaign| campaign.status == Status::Active)
            .flat_map(|campaign| &campaign.adsets)
            .map(|adset| adset.ads.len() as u64)
            .sum()
    }
}

/// Returns the number of decimals of a currency: 0 if its offset is 1, else 2.
pub(crate) fn decimals(currency: &str) -> u32 {
    // Meta's page "Currencies". The list differs from ISO 4217: COP, HUF, IDR and TWD have decimals there.
    const OFFSET_1: [&str; 11] = [
        "CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND",
    ];
    if OFFSET_1.contains(&currency) { 0 } else { 2 }
}
