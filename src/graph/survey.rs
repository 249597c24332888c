//! What a token sees: its ad accounts, and the message campaigns of each.
//!
//! Asked by people, when a config is written; polls read what they need by `discovery`.

use super::discovery::list;
use super::error::Error;
use super::nodes::{CAMPAIGN_FIELDS, Node};
use super::session::{Endpoint, Session};
use crate::listing::{Account, Campaign};
use crate::row::AccountId;

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
        .filter_map(|node| {
            Some(Campaign {
                id: node.id?,
                name: node.name,
                status: node.status,
                objective: node.objective,
                daily_budget: None,
                lifetime_budget: None,
            })
        })
        .collect();
    campaigns.sort_by(|a, b| a.id.cmp(&b.id));
    campaigns.dedup_by(|a, b| a.id == b.id);
    Ok(campaigns)
}
