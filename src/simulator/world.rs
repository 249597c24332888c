//! Who is in the simulated world: apps, tokens, ad accounts, campaigns, ad sets and ads.
//!
//! Plain data with public fields, so that a test makes the world it needs. No numbers of
//! delivery live here, only the pace from which `curve` makes them; nothing here knows JSON.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::curve::Pace;

/// Everything that the simulated API knows.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Two worlds that differ in their seed alone have the same objects and other numbers.
    pub seed: u64,
    /// The apps that tokens belong to.
    pub apps: Vec<App>,
    /// The access tokens that are accepted.
    pub tokens: Vec<Token>,
    /// The ad accounts, each with all that is in it.
    pub accounts: Vec<AdAccount>,
}

/// An app of the developer, by which the API limits and proves calls.
#[derive(Clone, Debug)]
pub struct App {
    /// The app's id, digits.
    pub id: String,
    /// The key of `appsecret_proof`, and half of the app's own token.
    pub secret: String,
    /// Whether calls without `appsecret_proof` are refused.
    pub requires_proof: bool,
}

/// One access token of one business.
#[derive(Clone, Debug)]
pub struct Token {
    /// What the caller sends.
    pub text: String,
    /// The business that gave it; faults can be scoped to it.
    pub business: String,
    /// The app that it was made for.
    pub app: String,
    /// Seconds since 1970 at which it expires; 0 is never, as the API says it.
    pub expires_at: i64,
    /// The ad accounts that it sees; `None` is all of them.
    pub sees: Option<Vec<u64>>,
}

/// One ad account.
#[derive(Clone, Debug)]
pub struct AdAccount {
    /// The digits after `act_`.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// ISO 4217 code of the money that everything in it is counted in.
    pub currency: String,
    /// IANA name of the zone in which its days are cut.
    pub time_zone: String,
    /// Meta's number for that zone.
    pub time_zone_id: u32,
    /// 1 is active; see the API's reference for the others.
    pub status: u32,
    /// The access tier that the usage headers tell.
    pub tier: Tier,
    /// Whether passing the tier's quota of reads blocks the account, as it does at Meta.
    pub enforces_quota: bool,
    /// Its campaigns, in the order in which they are listed.
    pub campaigns: Vec<Campaign>,
}

/// How much of the API an app may use on an ad account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// 60 reads in 300 s, then blocked for 300 s.
    Development,
    /// 9000 reads in 300 s, then blocked for 60 s.
    Standard,
}

impl Tier {
    /// The word of the usage headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development_access",
            Self::Standard => "standard_access",
        }
    }
}

/// One campaign, of messages or ordinary.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its id.
    pub id: u64,
    /// Its name, free text.
    pub name: String,
    /// Whether it sends marketing messages.
    pub is_message: bool,
    /// Whether its messages are sent directly; then no delivery rate is computed.
    pub is_direct_send: bool,
    /// Its own switch.
    pub status: Status,
    /// `OUTCOME_…`.
    pub objective: String,
    /// When it was made. Delivery starts on the following day of the ad account.
    pub created: Timestamp,
    /// The last day of delivery, where it has ended.
    pub last_day: Option<Date>,
    /// Its ad sets.
    pub adsets: Vec<AdSet>,
}

/// One ad set, which Meta also calls a message set.
#[derive(Clone, Debug)]
pub struct AdSet {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its own switch.
    pub status: Status,
    /// Which events count for it; sets that differ make Meta drop the actions above them.
    pub attribution_setting: String,
    /// In the currency's minor units, by Meta's offsets.
    pub daily_budget: Option<u64>,
    /// In the currency's minor units, by Meta's offsets.
    pub lifetime_budget: Option<u64>,
    /// Its ads.
    pub ads: Vec<Ad>,
}

/// One ad, that is, one message.
#[derive(Clone, Debug)]
pub struct Ad {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its own switch.
    pub status: Status,
    /// How much it delivers, costs and sells.
    pub pace: Pace,
}

/// The owner's switch of a campaign, an ad set or an ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Delivering.
    Active,
    /// Switched off.
    Paused,
    /// Put away: left out of lists unless asked for.
    Archived,
    /// Gone: left out of lists unless asked for.
    Deleted,
}

impl Status {
    /// The API's word.
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
    /// Its time zone; UTC where the name is none that is known.
    pub(super) fn zone(&self) -> TimeZone {
        TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// The day and hour there.
    pub(super) fn local(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone())
    }

    /// How many ads deliver, on which the hourly quotas depend.
    pub(super) fn active_ads(&self) -> u64 {
        self.campaigns
            .iter()
            .filter(|campaign| campaign.status == Status::Active)
            .flat_map(|campaign| &campaign.adsets)
            .map(|adset| adset.ads.len() as u64)
            .sum()
    }
}

/// How many decimals the currency's amounts have in Meta's books: none where its offset is 1.
pub(super) fn decimals(currency: &str) -> u32 {
    // Meta's own list; it is not ISO 4217's.
    const OFFSET_1: [&str; 11] = [
        "CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND",
    ];
    if OFFSET_1.contains(&currency) { 0 } else { 2 }
}
