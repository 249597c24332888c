//! An object of the world by its id, together with all that it lies in.
//!
//! Answers what is the same for every kind: id, name, status, what is in it. Fields and their
//! spelling are elsewhere.

use super::world::{Ad, AdAccount, AdSet, Campaign, Status, World};

/// Something that has an id, with all that it lies in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Object<'w> {
    Account(&'w AdAccount),
    Campaign(&'w AdAccount, &'w Campaign),
    AdSet(&'w AdAccount, &'w Campaign, &'w AdSet),
    Ad(&'w AdAccount, &'w Campaign, &'w AdSet, &'w Ad),
}

impl<'w> Object<'w> {
    pub(super) fn account(self) -> &'w AdAccount {
        match self {
            Self::Account(account)
            | Self::Campaign(account, ..)
            | Self::AdSet(account, ..)
            | Self::Ad(account, ..) => account,
        }
    }

    pub(super) fn campaign(self) -> Option<&'w Campaign> {
        match self {
            Self::Account(_) => None,
            Self::Campaign(_, campaign)
            | Self::AdSet(_, campaign, _)
            | Self::Ad(_, campaign, ..) => Some(campaign),
        }
    }

    pub(super) fn adset(self) -> Option<&'w AdSet> {
        match self {
            Self::Account(_) | Self::Campaign(..) => None,
            Self::AdSet(_, _, adset) | Self::Ad(_, _, adset, _) => Some(adset),
        }
    }

    /// Its id as a number.
    pub(super) fn id(self) -> u64 {
        match self {
            Self::Account(account) => account.id,
            Self::Campaign(_, campaign) => campaign.id,
            Self::AdSet(_, _, adset) => adset.id,
            Self::Ad(.., ad) => ad.id,
        }
    }

    pub(super) fn name(self) -> &'w str {
        match self {
            Self::Account(account) => &account.name,
            Self::Campaign(_, campaign) => &campaign.name,
            Self::AdSet(_, _, adset) => &adset.name,
            Self::Ad(.., ad) => &ad.name,
        }
    }

    /// Itself or what it lies in, of that kind.
    pub(super) fn ancestor(self, level: &str) -> Option<Self> {
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

    /// The word that insights and the log use for its kind.
    pub(super) fn level(self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Campaign(..) => "campaign",
            Self::AdSet(..) => "adset",
            Self::Ad(..) => "ad",
        }
    }

    pub(super) fn configured_status(self) -> &'static str {
        match self {
            Self::Account(_) => Status::Active.as_str(),
            Self::Campaign(_, campaign) => campaign.status.as_str(),
            Self::AdSet(_, _, adset) => adset.status.as_str(),
            Self::Ad(.., ad) => ad.status.as_str(),
        }
    }

    /// Its own switch, unless one above it stops it.
    pub(super) fn effective_status(self) -> &'static str {
        let own = self.configured_status();
        if own != Status::Active.as_str() {
            return own;
        }
        let above = |status, word| match status {
            Status::Active => None,
            Status::Paused => Some(word),
            Status::Archived | Status::Deleted => Some(status.as_str()),
        };
        match self {
            Self::Account(_) | Self::Campaign(..) => None,
            Self::AdSet(_, campaign, _) => above(campaign.status, "CAMPAIGN_PAUSED"),
            Self::Ad(_, campaign, adset, _) => above(campaign.status, "CAMPAIGN_PAUSED")
                .or_else(|| above(adset.status, "ADSET_PAUSED")),
        }
        .unwrap_or(own)
    }

    /// Whether lists leave it out unless its status is asked for.
    pub(super) fn is_put_away(self) -> bool {
        matches!(self.effective_status(), "ARCHIVED" | "DELETED")
    }

    /// The objects of one kind (`campaign`, `adset`, `ad`) in it, itself if it is one.
    pub(super) fn within(self, level: &str) -> Vec<Self> {
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
                    campaigns.flat_map(|c| c.within(level)).collect()
                }
            }
            Self::Campaign(account, campaign) => campaign
                .adsets
                .iter()
                .flat_map(|adset| Self::AdSet(account, campaign, adset).within(level))
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
    /// The object of that id, as paths spell it: `act_` and digits, or digits.
    pub(super) fn find(&self, id: &str) -> Option<Object<'_>> {
        if let Some(digits) = id.strip_prefix("act_") {
            let id: u64 = digits.parse().ok()?;
            return self
                .accounts
                .iter()
                .find(|account| account.id == id)
                .map(Object::Account);
        }
        let id: u64 = id.parse().ok()?;
        // Linear on purpose: an index would have to be kept while tests change the world.
        self.accounts
            .iter()
            .find_map(|account| find_in(account, id))
    }
}

fn find_in(account: &AdAccount, id: u64) -> Option<Object<'_>> {
    account.campaigns.iter().find_map(|campaign| {
        if campaign.id == id {
            return Some(Object::Campaign(account, campaign));
        }
        campaign.adsets.iter().find_map(|adset| {
            if adset.id == id {
                return Some(Object::AdSet(account, campaign, adset));
            }
            let ad = adset.ads.iter().find(|ad| ad.id == id)?;
            Some(Object::Ad(account, campaign, adset, ad))
        })
    })
}
