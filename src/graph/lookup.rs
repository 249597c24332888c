//! Lookups for `discover` and `check`: ad accounts of a token, message campaigns, type of an id.
//!
//! Polls do not use this module; they use `discovery`.

use std::sync::Arc;

use super::discovery::{campaign_of, list};
use super::error::{ApiError, ErrorKind};
use super::nodes::{ApiNode, CAMPAIGN_FIELDS, read_node};
use super::session::{Endpoint, Session};
use crate::model::{AccountId, AdAccount, Campaign, ObjectId};

/// Fields of an ad account in a list.
const ACCOUNT_LIST_FIELDS: &str = "account_id,name,currency,timezone_name";

/// Every campaign status except `DELETED`. Without this parameter, archived campaigns are left out.
const STATUSES_WITH_ARCHIVED: &str = r#"["ACTIVE","PAUSED","IN_PROCESS","WITH_ISSUES","ARCHIVED"]"#;

/// Lists the ad accounts that the token can read, sorted by id.
///
/// # Errors
/// Returns the error of the first request that failed.
pub async fn list_ad_accounts(session: Session<'_>) -> Result<Vec<AdAccount>, ApiError> {
    let fields = ("fields", ACCOUNT_LIST_FIELDS.to_owned());
    let nodes = list(session, Endpoint::Account, "me/adaccounts", &[fields]).await?;
    let account = |node: ApiNode| {
        let id = node.account_id.clone()?;
        Some(node.into_account(id))
    };
    let mut accounts: Vec<AdAccount> = nodes.into_iter().filter_map(account).collect();
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    accounts.dedup_by(|a, b| a.id == b.id);
    Ok(accounts)
}

/// Lists the message campaigns of an ad account, sorted by id, without budgets. Archived campaigns
/// are included if `archived` is set.
///
/// # Errors
/// Returns the error of the first request that failed.
pub async fn message_campaigns(
    session: Session<'_>,
    account: &AccountId,
    archived: bool,
) -> Result<Vec<Campaign>, ApiError> {
    let mut params = vec![("fields", CAMPAIGN_FIELDS.to_owned())];
    if archived {
        params.push(("effective_status", STATUSES_WITH_ARCHIVED.to_owned()));
    }
    let path = format!("{account}/campaigns");
    let nodes = list(session, Endpoint::Campaigns, &path, &params).await?;
    let mut campaigns: Vec<Campaign> = nodes
        .into_iter()
        .filter(|node| node.is_message_campaign && (archived || !node.is_archived_or_deleted()))
        .filter_map(|node| Some(campaign_of(node.id.clone()?, node)))
        .collect();
    campaigns.sort_by(|a, b| a.id.cmp(&b.id));
    campaigns.dedup_by(|a, b| a.id == b.id);
    Ok(campaigns)
}

/// Type of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A campaign.
    Campaign,
    /// An ad set.
    Adset,
    /// An ad. Meta's page "Send Messages" uses the term marketing message campaign for it too.
    Ad,
}

/// Node of a configured campaign id, and the campaign it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentifiedNode {
    /// Type.
    pub kind: NodeKind,
    /// Name.
    pub name: Arc<str>,
    /// `effective_status`.
    pub status: Arc<str>,
    /// Ad account of the node.
    pub account: Option<AccountId>,
    /// Id of the campaign: the node's own, or that of its parent.
    pub campaign: Option<ObjectId>,
    /// Whether the campaign is a message campaign.
    pub is_message_campaign: bool,
}

/// Fields to request for each type, most common type first. Each list has a field that the types
/// after it lack, so that a rejection means that the id belongs to another type.
const NODE_KINDS: [(NodeKind, &str); 3] = [
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

/// Determines the type of the node with this id.
///
/// # Errors
/// Returns the error of the request, or the last rejection if the node has none of the types.
pub async fn identify_node(
    session: Session<'_>,
    id: &ObjectId,
) -> Result<IdentifiedNode, ApiError> {
    let mut rejection = None;
    for (kind, fields) in NODE_KINDS {
        let fields = [("fields", fields.to_owned())];
        let request = session.get(Endpoint::Campaign, id.as_str(), &fields, read_node);
        let node = match request.await {
            Ok(node) => node,
            Err(error) if error.kind == ErrorKind::Rejected => {
                rejection = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let campaign = if kind == NodeKind::Campaign {
            Some(&node)
        } else {
            node.campaign.as_deref()
        };
        return Ok(IdentifiedNode {
            kind,
            campaign: campaign.and_then(|campaign| campaign.id.clone()),
            is_message_campaign: campaign.is_some_and(|campaign| campaign.is_message_campaign),
            name: node.name,
            status: node.status,
            account: node.account_id,
        });
    }
    Err(rejection.unwrap_or_else(|| ApiError::invalid_response("no node type was requested")))
}
