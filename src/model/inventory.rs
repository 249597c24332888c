//! Inventory: an ad account and its campaigns, as discovery found them.
//!
//! A discovery reads an inventory every `polling.discovery_interval` (default 1 h), and earlier if a row belongs to a
//! campaign that the inventory does not contain. An inventory stays in use until a newer one replaces it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::model::{AccountId, Dimensions, MajorUnits, ObjectId};

/// Properties of an ad account. All amounts are in major units of its currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdAccount {
    /// Id of the ad account.
    pub id: AccountId,
    /// Name of the ad account; empty if it could not be read.
    pub name: Arc<str>,
    /// ISO 4217 code of the currency of all its amounts; `None` if it could not be read.
    pub currency: Option<Arc<str>>,
    /// Time zone in which its days begin; `None` if it could not be read or is not in the IANA
    /// database.
    #[serde(with = "timezone_name")]
    pub timezone: Option<TimeZone>,
    /// Meta's name of the `account_status`, such as `ACTIVE`, or its number if it has none; `None` if it could not be
    /// read.
    pub status: Option<Arc<str>>,
    /// Meta's name of the `disable_reason`, or its number if it has none; empty without a reason.
    pub disable_reason: Arc<str>,
    /// Amount due; `None` if it or the currency could not be read.
    pub balance: Option<MajorUnits>,
    /// Maximum spend over the lifetime of the account; `None` without one, or if it could not be read.
    pub spend_cap: Option<MajorUnits>,
    /// Spend that counts against `spend_cap`; `None` if it could not be read.
    pub amount_spent: Option<MajorUnits>,
}

/// An entry of `issues_info` of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CampaignIssue {
    /// Level of the object with the issue, such as `AD_SET`.
    pub level: Box<str>,
    /// Meta's error code.
    pub code: Box<str>,
    /// Summary, at most 200 characters.
    pub summary: Box<str>,
}

/// A message campaign of an ad account, a campaign that the config lists, or the object (campaign, ad set or ad) of a
/// campaign source; `id` is then the configured id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Id of the campaign. For a campaign source, the configured id, which can be that of an ad set or an ad.
    pub id: ObjectId,
    /// Name of the campaign, unaltered. If the object is an ad, the name of its campaign.
    pub name: Arc<str>,
    /// The API's `effective_status`; `ENDED` if that is `ACTIVE` and the end is past.
    pub status: Arc<str>,
    /// The API's `objective`; empty if there is none.
    pub objective: Arc<str>,
    /// The API's `is_message_campaign`. False if the response does not contain it.
    pub is_message: bool,
    /// Daily budget of the campaign, or else the sum of those of its ad sets; `None` if there is none or the currency
    /// is unknown.
    pub daily_budget: Option<MajorUnits>,
    /// Lifetime budget, as `daily_budget`.
    pub lifetime_budget: Option<MajorUnits>,
    /// Start of the campaign, or else the earliest start of its ad sets; `None` if neither has one.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub start: Option<Timestamp>,
    /// End of the campaign, or else the latest end of its ad sets; `None` if it is open.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub end: Option<Timestamp>,
    /// Issues that the API reports, at most 10, sorted.
    pub issues: Vec<CampaignIssue>,
    /// Id of the campaign if `id` is that of an ad or ad set of it; `None` if `id` is the campaign's.
    pub parent: Option<ObjectId>,
}

/// How discovery requests an ad account and its campaigns. The first form needs the fewest requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ListingForm {
    /// The ad account with its campaigns and their ad sets in one request.
    #[default]
    Expanded,
    /// The ad account, and the campaigns with their ad sets.
    Campaigns,
    /// The ad account, the campaigns and the ad sets.
    Parts,
}

/// Campaigns that discovery requests by their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ListedStatuses {
    /// Archived and deleted ones too.
    #[default]
    All,
    /// Archived ones too.
    Archived,
    /// Without a status in the request: neither archived nor deleted ones.
    Current,
}

/// What the API accepted in the last discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListingMode {
    /// Form of the requests.
    pub form: ListingForm,
    /// Requested statuses.
    pub statuses: ListedStatuses,
}

/// An object that has its own row at the configured level, also if the API returns none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Ids, names and currency: the dimensions of its row, from which its labels are rendered.
    pub dimensions: Arc<Dimensions>,
    /// Whether its `effective_status` is `ACTIVE`.
    pub active: bool,
}

/// Result of one discovery of an ad account or of one campaign.
///
/// Serialized without its long lists, of which the state file stores the changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Time of the discovery.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub fetched_at: Timestamp,
    /// The ad account. A name that could not be read is empty, other properties are `None`.
    pub account: AdAccount,
    /// Exported campaigns without deleted and archived ones. Sorted by id, as text, because [`Inventory::campaign`] is
    /// a binary search.
    #[serde(skip)]
    pub campaigns: Vec<Campaign>,
    /// Archived and deleted campaigns that can have rows in a window, sorted like `campaigns`. They are exported while
    /// a window has a row of them.
    #[serde(skip)]
    pub archived: Vec<Campaign>,
    /// Ids of the campaigns of the ad account that are not exported, sorted like `campaigns`; empty for a campaign
    /// source. Rows of unfiltered queries can belong to them; a row of a campaign in none of the lists means that a
    /// new campaign may exist, and triggers a discovery.
    #[serde(skip)]
    pub other_campaigns: Vec<ObjectId>,
    /// Configured ids of campaigns that the API does not return, sorted.
    pub missing: Vec<ObjectId>,
    /// What the API accepted.
    pub listing: ListingMode,
    /// Time at which the properties of the ad account were requested.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub account_fetched_at: Timestamp,
    /// Objects that have a row at the configured level, sorted by [`Dimensions::key`] and without duplicates.
    #[serde(skip)]
    pub entities: Vec<Entity>,
    /// Maximum number of rows of a query without a campaign filter, for one range of dates at the configured level.
    /// Includes the rows of `other_campaigns`, which such a query returns too. A query is unfiltered if it then needs
    /// fewer requests. If the number is unknown, `usize::MAX`: the unfiltered query then counts as the most expensive.
    pub max_rows: usize,
}

impl Inventory {
    /// Returns the exported campaign with this id.
    pub fn campaign(&self, id: &str) -> Option<&Campaign> {
        let idx = self.campaigns.binary_search_by(|c| c.id.as_str().cmp(id));
        idx.ok().map(|idx| &self.campaigns[idx])
    }

    /// Returns the archived or deleted campaign with this id.
    pub fn archived_campaign(&self, id: &str) -> Option<&Campaign> {
        let idx = self.archived.binary_search_by(|c| c.id.as_str().cmp(id));
        idx.ok().and_then(|idx| self.archived.get(idx))
    }

    /// Returns the campaign with this id, archived or not, if its rows are exported.
    pub fn exported_campaign(&self, id: &str) -> Option<&Campaign> {
        self.campaign(id).or_else(|| self.archived_campaign(id))
    }

    /// Whether a row with these dimensions is exported: it belongs to an exported campaign, or to no
    /// campaign (level `account`).
    pub fn is_exported(&self, dimensions: &Dimensions) -> bool {
        let campaign = dimensions.campaign.as_ref();
        campaign.is_none_or(|campaign| self.exported_campaign(campaign.id.as_str()).is_some())
    }

    /// Returns the inventory's own copy of equal dimensions; `None` if the object is unknown or differs, for example in
    /// its name.
    ///
    /// Names make up most of the memory of rows, and the rows of all queries and windows have the
    /// same ones, so they share one allocation.
    pub fn shared_dimensions(&self, dimensions: &Dimensions) -> Option<Arc<Dimensions>> {
        let shared = self.dimensions(dimensions.key())?;
        (*shared == *dimensions).then_some(shared)
    }

    /// Returns the dimensions of the object with this key.
    pub fn dimensions(&self, key: &str) -> Option<Arc<Dimensions>> {
        let idx = self
            .entities
            .binary_search_by(|entity| entity.dimensions.key().cmp(key));
        Some(Arc::clone(&self.entities[idx.ok()?].dimensions))
    }

    /// Whether discovery found a campaign with this id, exported or not.
    pub fn contains(&self, id: &str) -> bool {
        let other = self
            .other_campaigns
            .binary_search_by(|other| other.as_str().cmp(id));
        other.is_ok() || self.exported_campaign(id).is_some()
    }
}

impl AdAccount {
    /// Returns an ad account of which only the id is known.
    pub fn unknown(id: AccountId) -> Self {
        Self {
            id,
            name: Arc::default(),
            currency: None,
            timezone: None,
            status: None,
            disable_reason: Arc::default(),
            balance: None,
            spend_cap: None,
            amount_spent: None,
        }
    }

    /// Whether any property could be read.
    pub fn is_readable(&self) -> bool {
        !self.name.is_empty() || self.currency.is_some() || self.status.is_some()
    }
}

impl Campaign {
    /// Returns a campaign of which only the id is known.
    pub fn unknown(id: ObjectId) -> Self {
        Self {
            id,
            name: Arc::default(),
            status: Arc::default(),
            objective: Arc::default(),
            is_message: false,
            daily_budget: None,
            lifetime_budget: None,
            start: None,
            end: None,
            issues: Vec::new(),
            parent: None,
        }
    }

    /// Returns the id of the campaign itself, also if `id` is that of an ad or ad set of it.
    pub fn campaign_id(&self) -> &ObjectId {
        self.parent.as_ref().unwrap_or(&self.id)
    }
}

/// Serializes a time zone by its IANA name. A zone that the system does not know becomes `None`.
mod timezone_name {
    use jiff::tz::TimeZone;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        timezone: &Option<TimeZone>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let name = timezone.as_ref().and_then(TimeZone::iana_name);
        name.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TimeZone>, D::Error> {
        let name = Option::<Box<str>>::deserialize(deserializer)?;
        Ok(name.and_then(|name| TimeZone::get(&name).ok()))
    }
}
