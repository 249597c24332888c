//! What discovery knows of an ad account and its campaigns: names, money, clocks, status.
//!
//! A listing is read about once an hour and kept until a newer one replaces it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::row::{AccountId, Identity, ObjectId};

/// An ad account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name; empty where it could not be read.
    pub name: Arc<str>,
    /// ISO 4217 code of the currency of all its money; `None` where it could not be read.
    pub currency: Option<Arc<str>>,
    /// Where its days begin; `None` where it could not be read, or names no zone that we know.
    pub timezone: Option<TimeZone>,
}

/// A message campaign, or one that the config names.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// Its id; for a campaign source the id as configured.
    pub id: ObjectId,
    /// Its name, unaltered.
    pub name: Arc<str>,
    /// The API's `effective_status`.
    pub status: Arc<str>,
    /// The API's `objective`; empty where there is none.
    pub objective: Arc<str>,
    /// Whether Meta calls it a message campaign, where that was asked; false of an ad.
    pub is_message: bool,
    /// The daily budgets of its ad sets, summed, in major units of the account's currency.
    pub daily_budget: Option<f64>,
    /// The lifetime budgets of its ad sets, summed, in major units of the account's currency.
    pub lifetime_budget: Option<f64>,
}

/// Something that has a row of its own at the level asked for, even when the API answers none.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its labels.
    pub identity: Arc<Identity>,
    /// Whether its `effective_status` is `ACTIVE`.
    pub active: bool,
}

/// One reading of an ad account, or of one campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// When it was read.
    pub at: Timestamp,
    /// The ad account, as far as it could be read.
    pub account: Account,
    /// The campaigns to export, by id. Neither deleted nor archived ones.
    pub campaigns: Vec<Campaign>,
    /// The ids of the account's other campaigns, sorted: known, and not exported.
    pub others: Vec<ObjectId>,
    /// What has a row at the level asked for, by key.
    pub members: Vec<Member>,
    /// How many rows the whole account can have at the level asked for, other campaigns included.
    pub rows: usize,
}

impl Listing {
    /// The exported campaign of that id.
    pub fn campaign(&self, id: &str) -> Option<&Campaign> {
        let found = self.campaigns.binary_search_by(|c| c.id.as_str().cmp(id));
        found.ok().map(|at| &self.campaigns[at])
    }

    /// Whether that may be shown: its campaign, where it is of one, is still exported.
    pub fn exports(&self, identity: &Identity) -> bool {
        let campaign = identity.campaign.as_ref();
        campaign.is_none_or(|campaign| self.campaign(campaign.id.as_str()).is_some())
    }

    /// What is known by that identity already: names are most of what rows weigh, and every query
    /// of every window names the same campaigns.
    pub fn identity(&self, identity: &Identity) -> Option<Arc<Identity>> {
        let key = identity.key();
        let found = self.members.binary_search_by(|m| m.identity.key().cmp(key));
        let known = &self.members[found.ok()?].identity;
        (**known == *identity).then(|| Arc::clone(known))
    }

    /// Whether discovery has met that campaign id, exported or not.
    pub fn knows(&self, id: &str) -> bool {
        let other = self.others.binary_search_by(|o| o.as_str().cmp(id));
        other.is_ok() || self.campaign(id).is_some()
    }
}
