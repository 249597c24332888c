//! What a token sees: its ad accounts, the message campaigns of each, and what an id stands for.
//!
//! Asked by people, when a config is written; polls read what they need by `discovery`.

use std::sync::Arc;

use super::discovery::{campaign_of, list};
use super::error::{Class, Error};
use super::nodes::{ACCOUNT_FIELDS as NODE_FIELDS, CAMPAIGN_FIELDS, Node, read_node};
use super::session::{Endpoint, Session};
use crate::listing::{Account, Campaign};
use crate::row::{AccountId, ObjectId};

/// The fields that an ad account is asked for in a list.
const ACCOUNT_FIELDS: &str = "account_id,name,currency,timezone_name";

/// Every status of a campaign but `DELETED`. Without a status the API leaves out archived ones.
const STATUSES: &str = r#"["ACTIVE","PAUSED","IN_PROCESS","WITH_ISSUES","ARCHIVED"]"#;

/// The ad accounts that the session's token was given, by id.
///
/// # Errors
/// As every request.
pub async fn ad_accounts(session: Session<'_>) -> Result<Vec<Account>, Error> {
    let fields = ("fields", ACCOUNT_FIELDS.to_owned());
    let nodes = list(session, Endpoint::Account, "me/adaccounts", &[fields]).await?;
    let account = |node: Node| {
        let id = node.account_id.clone()?;
        Some(node.into_account(id))
    };
    let mut accounts: Vec<Account> = nodes.into_iter().filter_map(account).collect();
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    accounts.dedup_by(|a, b| a.id == b.id);
    Ok(accounts)
}

/// An ad account's message campaigns, by id; `archived` ones on demand. Budgets are not asked for.
///
/// # Errors
/// As every request.
pub async fn message_campaigns(
    session: Session<'_>,
    account: &AccountId,
    archived: bool,
) -> Result<Vec<Campaign>, Error> {
    let mut params = vec![("fields", CAMPAIGN_FIELDS.to_owned())];
    if archived {
        params.push(("effective_status", STATUSES.to_owned()));
    }
    let path = format!("{account}/campaigns");
    let nodes = list(session, Endpoint::Campaigns, &path, &params).await?;
    let mut campaigns: Vec<Campaign> = nodes
        .into_iter()
        .filter(|node| node.is_message_campaign && (archived || !node.is_gone()))
        .filter_map(|node| Some(campaign_of(node.id.clone()?, node)))
        .collect();
    campaigns.sort_by(|a, b| a.id.cmp(&b.id));
    campaigns.dedup_by(|a, b| a.id == b.id);
    Ok(campaigns)
}

/// What stands behind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A campaign.
    Campaign,
    /// An ad set.
    Adset,
    /// An ad, which Meta's documents also call a marketing message campaign.
    Ad,
}

/// An object that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Identified {
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub name: Arc<str>,
    /// Its `effective_status`.
    pub status: Arc<str>,
    /// The ad account that it lies in.
    pub account: Option<AccountId>,
    /// The campaign that it is, or lies in.
    pub campaign: Option<ObjectId>,
    /// Whether that is a message campaign.
    pub is_message_campaign: bool,
}

/// What is asked of each kind, from the usual to the odd. Each asks for something that those after
/// it do not have: a refusal means that it is another kind.
const KINDS: [(NodeKind, &str); 3] = [
    (
        NodeKind::Campaign,
        "id,name,effective_status,account_id,objective,is_message_campaign",
    ),
    (
        NodeKind::Ad,
        "id,name,effective_status,account_id,campaign{id,name,is_message_campaign},adset{id}",
    ),
    (
        NodeKind::Adset,
        "id,name,effective_status,account_id,campaign{id,name,is_message_campaign}",
    ),
];

/// Finds out what an id is the id of.
///
/// # Errors
/// As every request; the last refusal where it is none of the three.
pub async fn identify(session: Session<'_>, id: &ObjectId) -> Result<Identified, Error> {
    let mut refused = None;
    for (kind, fields) in KINDS {
        let fields = [("fields", fields.to_owned())];
        let answer = session.get(Endpoint::Campaign, id.as_str(), &fields, read_node);
        let node = match answer.await {
            Ok(node) => node,
            Err(error) if error.class == Class::Rejected => {
                refused = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_campaign = kind == NodeKind::Campaign;
        let parent = node.campaign.as_deref();
        return Ok(Identified {
            kind,
            campaign: match is_campaign {
                true => node.id.clone(),
                false => parent.and_then(|parent| parent.id.clone()),
            },
            is_message_campaign: match is_campaign {
                true => node.is_message_campaign,
                false => parent.is_some_and(|parent| parent.is_message_campaign),
            },
            name: node.name,
            status: node.status,
            account: node.account_id,
        });
    }
    Err(refused.unwrap_or_else(|| Error::garbled("nothing was asked")))
}

/// Reads one ad account.
///
/// # Errors
/// As every request.
pub async fn ad_account(session: Session<'_>, id: &AccountId) -> Result<Account, Error> {
    let fields = [("fields", NODE_FIELDS.to_owned())];
    let path = id.to_string();
    let node = session.get(Endpoint::Account, &path, &fields, read_node);
    Ok(node.await?.into_account(id.clone()))
}
