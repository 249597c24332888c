//! Nodes as they come over the wire: ad accounts, campaigns, ad sets, ads.

use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::wire::{Cell, Page, Paging};
use crate::decimal;
use crate::listing::Account;
use crate::row::{AccountId, ObjectId};

/// The fields that an ad account is asked for.
pub(super) const ACCOUNT_FIELDS: &str = "name,currency,timezone_name";
/// The fields that a campaign is asked for in a list.
pub(super) const CAMPAIGN_FIELDS: &str = "id,name,effective_status,objective,is_message_campaign";
/// The fields that a campaign is asked for on its own.
pub(super) const CAMPAIGN_NODE_FIELDS: &str = "id,name,effective_status,objective,account_id";
/// The same, where an ad account source of another shard may show the campaign already.
pub(super) const SHARED_CAMPAIGN_NODE_FIELDS: &str =
    "id,name,effective_status,objective,account_id,is_message_campaign";
/// The fields of an ad that somebody took for a campaign.
pub(super) const AD_NODE_FIELDS: &str = "id,name,effective_status,account_id,campaign{id,name,objective},adset{daily_budget,lifetime_budget}";
/// The fields that an ad set is asked for.
pub(super) const ADSET_FIELDS: &str =
    "id,name,campaign_id,effective_status,daily_budget,lifetime_budget";
/// The fields that an ad is asked for in a list.
pub(super) const AD_FIELDS: &str = "id,name,effective_status,campaign_id,adset_id";

/// Currencies without minor units, as Meta counts them; ISO 4217 counts some otherwise.
/// Source: Meta's document on currencies in the Marketing API.
const WHOLE_CURRENCIES: [&str; 11] = [
    "CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND",
];

/// Any node, as far as discovery reads it: every field may be missing, or of another shape.
#[derive(Default)]
pub(super) struct Node {
    pub(super) id: Option<ObjectId>,
    pub(super) name: Arc<str>,
    pub(super) status: Arc<str>,
    pub(super) objective: Arc<str>,
    pub(super) account_id: Option<AccountId>,
    pub(super) campaign_id: Option<ObjectId>,
    pub(super) adset_id: Option<ObjectId>,
    pub(super) currency: Option<Arc<str>>,
    pub(super) timezone: Option<Arc<str>>,
    pub(super) is_message_campaign: bool,
    pub(super) daily_budget: Option<u64>,
    pub(super) lifetime_budget: Option<u64>,
    /// An ad's parents.
    pub(super) campaign: Option<Box<Self>>,
    pub(super) adset: Option<Box<Self>>,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    id: Option<Cell<'a>>,
    #[serde(borrow, default)]
    name: Option<Cell<'a>>,
    #[serde(borrow, default)]
    effective_status: Option<Cell<'a>>,
    #[serde(borrow, default)]
    objective: Option<Cell<'a>>,
    #[serde(borrow, default)]
    account_id: Option<Cell<'a>>,
    #[serde(borrow, default)]
    campaign_id: Option<Cell<'a>>,
    #[serde(borrow, default)]
    adset_id: Option<Cell<'a>>,
    #[serde(borrow, default)]
    currency: Option<Cell<'a>>,
    #[serde(borrow, default)]
    timezone_name: Option<Cell<'a>>,
    #[serde(default)]
    is_message_campaign: Option<bool>,
    #[serde(borrow, default)]
    daily_budget: Option<Cell<'a>>,
    #[serde(borrow, default)]
    lifetime_budget: Option<Cell<'a>>,
    #[serde(default)]
    campaign: Option<Box<Node>>,
    #[serde(default)]
    adset: Option<Box<Node>>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer).map(Self::from)
    }
}

impl From<Written<'_>> for Node {
    fn from(written: Written<'_>) -> Self {
        let text =
            |cell: &Option<Cell<'_>>| cell.as_ref().and_then(Cell::text).map(Arc::<str>::from);
        let id = |cell: &Option<Cell<'_>>| text(cell).and_then(|text| ObjectId::parse(&text));
        let minor = |cell: &Option<Cell<'_>>| text(cell).and_then(|text| text.parse().ok());
        Self {
            id: id(&written.id),
            name: text(&written.name).unwrap_or_default(),
            status: text(&written.effective_status).unwrap_or_default(),
            objective: text(&written.objective).unwrap_or_default(),
            account_id: text(&written.account_id).and_then(|text| AccountId::parse(&text)),
            campaign_id: id(&written.campaign_id),
            adset_id: id(&written.adset_id),
            currency: text(&written.currency).filter(|currency| !currency.is_empty()),
            timezone: text(&written.timezone_name),
            is_message_campaign: written.is_message_campaign.unwrap_or(false),
            daily_budget: minor(&written.daily_budget),
            lifetime_budget: minor(&written.lifetime_budget),
            campaign: written.campaign,
            adset: written.adset,
        }
    }
}

impl Node {
    /// Whether it is gone for good, as far as a page of gauges is concerned.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.status.as_ref(), "DELETED" | "ARCHIVED")
    }

    /// Whether it can deliver now.
    pub(super) fn is_active(&self) -> bool {
        self.status.as_ref() == "ACTIVE"
    }

    /// The account that this node is.
    pub(super) fn into_account(self, id: AccountId) -> Account {
        let timezone = self
            .timezone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        Account {
            id,
            name: self.name,
            currency: self.currency,
            timezone,
        }
    }
}

/// Reads one node.
pub(super) fn read_node(body: &[u8]) -> Result<Node, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Reads one page of a list of nodes.
pub(super) fn read_nodes(body: &[u8]) -> Result<Page<Vec<Node>>, String> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Node>,
        #[serde(default)]
        paging: Option<Paging>,
    }
    let list: List = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Page {
        data: list.data,
        after: list.paging.and_then(Paging::after),
    })
}

/// Minor units as node budgets have them → major units as insights have them.
pub(super) fn major(minor: u64, currency: &str) -> Option<f64> {
    let shift = if WHOLE_CURRENCIES.contains(&currency) {
        0
    } else {
        -2
    };
    decimal::parse(&minor.to_string(), shift)
}

#[cfg(test)]
mod tests {
    use super::{major, read_node, read_nodes};

    #[test]
    fn budgets_follow_metas_offsets_not_iso_4217() {
        assert_eq!(major(5_000, "USD"), Some(50.0));
        assert_eq!(major(5_000, "JPY"), Some(5_000.0));
        assert_eq!(
            major(5_000, "HUF"),
            Some(5_000.0),
            "ISO 4217 gives it two decimals"
        );
        assert_eq!(
            major(5_000, "BHD"),
            Some(50.0),
            "ISO 4217 gives it three decimals"
        );
        assert_eq!(major(1_999, "EUR"), Some(19.99));
    }

    #[test]
    fn nodes_forgive_missing_and_odd_fields() {
        let node = read_node(
            br#"{"id":120249960544200494,"name":null,"daily_budget":"5000","lifetime_budget":0,
                 "effective_status":"ACTIVE","objective":["?"],"future":{"deep":[1]}}"#,
        )
        .unwrap();
        assert_eq!(node.id.unwrap().as_str(), "120249960544200494");
        assert_eq!(
            (node.daily_budget, node.lifetime_budget),
            (Some(5000), Some(0))
        );
        assert!(read_nodes(br#"{"data":{}}"#).is_err());
        assert!(read_nodes(b"{}").is_err());
    }
}
