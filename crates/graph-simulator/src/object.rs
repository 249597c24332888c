//! Lookup of an object by its id, and what all kinds of objects have in common: id, name, status, parents,
//! descendants.
//!
//! The fields of each kind are in `nodes`.

use crate::world::{Ad, AdAccount, AdSet, Campaign, Status, World};

/// An ad account, campaign, ad set or ad, together with its parents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WorldObject<'w> {
    /// An ad account.
    Account(&'w AdAccount),
    /// A campaign and its ad account.
    Campaign(&'w AdAccount, &'w Campaign),
    /// An ad set, after its ad account and campaign.
    AdSet(&'w AdAccount, &'w Campaign, &'w AdSet),
    /// An ad, after its ad account, campaign and ad set.
    Ad(&'w AdAccount, &'w Campaign, &'w AdSet, &'w Ad),
}

impl<'w> WorldObject<'w> {
    /// Returns the ad account that is or contains the object.
    pub(crate) fn account(self) -> &'w AdAccount {
        match self {
            Self::Account(account)
            | Self::Campaign(account, ..)
            | Self::AdSet(account, ..)
            | Self::Ad(account, ..) => account,
        }
    }

    /// Returns the campaign that is or contains the object; `None` for ad accounts.
    pub(crate) fn campaign(self) -> Option<&'w Campaign> {
        match self {
            Self::Account(_) => None,
            Self::Campaign(_, campaign)
            | Self::AdSet(_, campaign, _)
            | Self::Ad(_, campaign, ..) => Some(campaign),
        }
    }

    /// Returns the ad set that is or contains the object; `None` for ad accounts and campaigns.
    pub(crate) fn adset(self) -> Option<&'w AdSet> {
        match self {
            Self::Account(_) | Self::Campaign(..) => None,
            Self::AdSet(_, _, adset) | Self::Ad(_, _, adset, _) => Some(adset),
        }
    }

    /// Returns the id; without `act_` for ad accounts.
    pub(crate) fn id(self) -> u64 {
        match self {
            Self::Account(account) => account.id,
            Self::Campaign(_, campaign) => campaign.id,
            Self::AdSet(_, _, adset) => adset.id,
            Self::Ad(.., ad) => ad.id,
        }
    }

    pub(crate) fn name(self) -> &'w str {
        match self {
            Self::Account(account) => &account.name,
            Self::Campaign(_, campaign) => &campaign.name,
            Self::AdSet(_, _, adset) => &adset.name,
            Self::Ad(.., ad) => &ad.name,
        }
    }

    /// Returns the parent at the given level (`campaign`, `adset`), or the object itself if it has this level.
    /// Returns `None` for a level below that of the object.
    pub(crate) fn ancestor(self, level: &str) -> Option<Self> {
        let account = self.account();
        match level {
            "campaign" => self.campaign().map(|c| Self::Campaign(account, c)),
            "adset" => self
                .campaign()
                .zip(self.adset())
                .map(|(campaign, adset)| Self::AdSet(account, campaign, adset)),
            _ => (self.level() == level).then_some(self),
        }
    }

    /// Returns the value of the `level` parameter of insights for this kind of object.
    pub(crate) fn level(self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Campaign(..) => "campaign",
            Self::AdSet(..) => "adset",
            Self::Ad(..) => "ad",
        }
    }

    /// Returns the status of the object itself. Ad accounts are always `ACTIVE`.
    pub(crate) fn configured_status(self) -> &'static str {
        match self {
            Self::Account(_) => Status::Active.as_str(),
            Self::Campaign(_, campaign) => campaign.status.as_str(),
            Self::AdSet(_, _, adset) => adset.status.as_str(),
            Self::Ad(.., ad) => ad.status.as_str(),
        }
    }

    /// Returns the status of the object with the status of its parents taken into account.
    pub(crate) fn effective_status(self) -> &'static str {
        let configured = self.configured_status();
        if configured != Status::Active.as_str() {
            return configured;
        }
        let inherited = |parent_status, if_paused| match parent_status {
            Status::Active => None,
            Status::Paused => Some(if_paused),
            Status::Archived | Status::Deleted => Some(parent_status.as_str()),
        };
        match self {
            Self::Account(_) | Self::Campaign(..) => None,
            Self::AdSet(_, campaign, _) => inherited(campaign.status, "CAMPAIGN_PAUSED"),
            Self::Ad(_, campaign, adset, _) => inherited(campaign.status, "CAMPAIGN_PAUSED")
                .or_else(|| inherited(adset.status, "ADSET_PAUSED")),
        }
        .unwrap_or(configured)
    }

    /// Whether lists omit the object unless the request names its status.
    pub(crate) fn is_archived_or_deleted(self) -> bool {
        matches!(self.effective_status(), "ARCHIVED" | "DELETED")
    }

    /// Returns the objects of the given level (`campaign`, `adset`, `ad`) in this object, or the object itself if it
    /// has this level.
    pub(crate) fn descendants(self, level: &str) -> Vec<Self> {
        if self.level() == level {
            return vec![self];
        }
        match self {
            Self::Account(account) => {
                let campaigns = account
                    .campaigns
                    .iter()
                    .map(move |c| Self::Campaign(account, c));
                if level == "campaign" {
                    campaigns.collect()
                } else {
                    campaigns.flat_map(|c| c.descendants(level)).collect()
                }
            }
            Self::Campaign(account, campaign) => campaign
                .adsets
                .iter()
                .flat_map(|adset| Self::AdSet(account, campaign, adset).descendants(level))
                .collect(),
            Self::AdSet(account, campaign, adset) if level == "ad" => adset
                .ads
                .iter()
                .map(|ad| Self::Ad(account, campaign, adset, ad))
                .collect(),
            Self::AdSet(..) | Self::Ad(..) => Vec::new(),
        }
    }
}

impl World {
    /// Returns the object with this id in the form that paths use: `act_` and digits for ad accounts, else digits.
    pub(crate) fn find(&self, id: &str) -> Option<WorldObject<'_>> {
        if let Some(digits) = id.strip_prefix("act_") {
            let id: u64 = digits.parse().ok()?;
            return self
                .accounts
                .iter()
                .find(|account| account.id == id)
                .map(WorldObject::Account);
        }
        let id: u64 = id.parse().ok()?;
        // A linear search, because an index would have to be updated whenever a test changes the world.
        self.accounts
            .iter()
            .find_map(|account| find_in(account, id))
    }
}

/// Returns the campaign, ad set or ad of the ad account with this id.
fn find_in(account: &AdAccount, id: u64) -> Option<WorldObject<'_>> {
    account.campaigns.iter().find_map(|campaign| {
        if campaign.id == id {
            return Some(WorldObject::Campaign(account, campaign));
        }
        campaign.adsets.iter().find_map(|adset| {
            if adset.id == id {
                return Some(WorldObject::AdSet(account, campaign, adset));
            }
            let ad = adset.ads.iter().find(|ad| ad.id == id)?;
            Some(WorldObject::Ad(account, campaign, adset, ad))
        })
    })
}
