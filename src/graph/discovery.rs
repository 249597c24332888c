//! Which campaigns there are, and what they are called, paid in and limited to.
//!
//! What only decorates (the account's name, currency and clock; budgets) costs only itself when
//! it cannot be read: the listing does without. What is gone stays out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::error::{Class, Error};
use super::nodes::{
    ACCOUNT_FIELDS, AD_FIELDS, AD_NODE_FIELDS, ADSET_FIELDS, CAMPAIGN_FIELDS, CAMPAIGN_NODE_FIELDS,
    Node, SHARED_CAMPAIGN_NODE_FIELDS, major, read_node, read_nodes,
};
use super::session::{Endpoint, Session};
use crate::listing::{Account, Campaign, Listing, Member};
use crate::plan::{IDS_A_FILTER, PAGE_SIZE, Source, Subject};
use crate::row::{AccountId, Identity, Level, Named, ObjectId};

/// Where a list stops being one: a thousand pages.
const MOST_PAGES: usize = 1_000;

/// Reads what there is to know of a source.
///
/// # Errors
/// When the campaigns themselves cannot be read, or nothing can be asked at all.
pub async fn discover(
    session: Session<'_>,
    source: &Source,
    at: Timestamp,
) -> Result<Listing, Error> {
    match &source.subject {
        Subject::AdAccount { id, only } => ad_account(session, source.level, id, only, at).await,
        Subject::Campaign(id) => campaign(session, source, id, at).await,
    }
}

async fn ad_account(
    session: Session<'_>,
    level: Level,
    id: &AccountId,
    only: &[ObjectId],
    at: Timestamp,
) -> Result<Listing, Error> {
    let account = account(session, id.clone()).await?;
    let path = id.to_string();
    let edge = format!("{path}/campaigns");
    let fields = of_campaigns(CAMPAIGN_FIELDS, &[]);
    let nodes = list(session, Endpoint::Campaigns, &edge, &fields).await?;
    let listed = nodes.len();
    let exported = |node: &Node| match (&node.id, only) {
        (_, []) => node.is_message_campaign,
        (Some(id), only) => only.contains(id),
        (None, _) => false,
    };
    let (mut campaigns, mut others) = (Vec::new(), Vec::new());
    for node in nodes.into_iter().filter(|node| !node.is_gone()) {
        match (exported(&node), node.id.clone()) {
            (true, Some(id)) => campaigns.push(campaign_of(id, node)),
            (false, Some(id)) => others.push(id),
            (_, None) => {}
        }
    }
    campaigns.sort_by(|a, b| a.id.cmp(&b.id));
    campaigns.dedup_by(|a, b| a.id == b.id);
    others.sort();
    let parts = parts(session, level, &path, &campaigns, listed).await?;
    Ok(listing(
        at, account, campaigns, others, level, parts, listed,
    ))
}

async fn campaign(
    session: Session<'_>,
    source: &Source,
    id: &ObjectId,
    at: Timestamp,
) -> Result<Listing, Error> {
    let (path, level) = (id.to_string(), source.level);
    let fields = |fields: &str| [("fields", fields.to_owned())];
    let wanted = match source.elsewhere.is_empty() {
        true => CAMPAIGN_NODE_FIELDS,
        false => SHARED_CAMPAIGN_NODE_FIELDS,
    };
    let node = match session
        .get(Endpoint::Campaign, &path, &fields(wanted), read_node)
        .await
    {
        Ok(node) => node,
        // An ad has no objective of its own: Meta's documents are of two minds about what a
        // marketing message campaign's id is the id of.
        Err(error) if error.class == Class::Rejected => {
            session
                .get(
                    Endpoint::Campaign,
                    &path,
                    &fields(AD_NODE_FIELDS),
                    read_node,
                )
                .await?
        }
        Err(error) => return Err(error),
    };
    let Some(account_id) = node.account_id.clone() else {
        return Err(Error::garbled("a campaign without account_id"));
    };
    let account = account(session, account_id).await?;
    let mut campaigns = Vec::new();
    let mut parts = Parts::default();
    if !node.is_gone() {
        let is_ad = node.campaign.is_some();
        let own_budget = node.adset.as_ref().map(|adset| Node {
            campaign_id: Some(id.clone()),
            daily_budget: adset.daily_budget,
            lifetime_budget: adset.lifetime_budget,
            ..Node::default()
        });
        let found = match node.campaign {
            Some(parent) => Campaign {
                name: parent.name,
                objective: parent.objective,
                ..campaign_of(
                    id.clone(),
                    Node {
                        status: node.status,
                        ..Node::default()
                    },
                )
            },
            None => campaign_of(id.clone(), node),
        };
        campaigns.push(found);
        if is_ad {
            parts.adsets.extend(own_budget);
        } else {
            parts = self::parts(session, level, &path, &campaigns, 1).await?;
        }
    }
    let listed = campaigns.len();
    Ok(listing(
        at,
        account,
        campaigns,
        Vec::new(),
        level,
        parts,
        listed,
    ))
}

/// What a campaign consists of, as far as the level or the budgets ask for it.
#[derive(Default)]
struct Parts {
    adsets: Vec<Node>,
    ads: Vec<Node>,
    /// Whether these are all of the account's, and not only those of its message campaigns.
    complete: bool,
}

async fn account(session: Session<'_>, id: AccountId) -> Result<Account, Error> {
    let fields = [("fields", ACCOUNT_FIELDS.to_owned())];
    let node = session
        .get(Endpoint::Account, &id.to_string(), &fields, read_node)
        .await;
    Ok(decoration(node)?.unwrap_or_default().into_account(id))
}

async fn parts(
    session: Session<'_>,
    level: Level,
    path: &str,
    campaigns: &[Campaign],
    listed: usize,
) -> Result<Parts, Error> {
    if campaigns.is_empty() {
        return Ok(Parts::default());
    }
    // A campaign's own edge needs no filter; an account's does where it costs fewer calls.
    let chunks = campaigns.len().div_ceil(IDS_A_FILTER);
    let filtered = path.starts_with("act_")
        && campaigns.len() < listed
        && chunks <= listed.div_ceil(PAGE_SIZE);
    let ids: Vec<&str> = campaigns
        .iter()
        .map(|campaign| campaign.id.as_str())
        .collect();
    let filters: Vec<&[&str]> = if filtered {
        ids.chunks(IDS_A_FILTER).collect()
    } else {
        vec![&[]]
    };
    let mut parts = Parts {
        complete: !filtered,
        ..Parts::default()
    };
    for filter in &filters {
        let edge = format!("{path}/adsets");
        let fields = of_campaigns(ADSET_FIELDS, filter);
        let adsets = list(session, Endpoint::Adsets, &edge, &fields).await;
        match level {
            // Here they decide which rows there are.
            Level::Adset | Level::Ad => parts.adsets.extend(adsets?),
            // Here they only hold the budgets.
            Level::Account | Level::Campaign => {
                parts.adsets.extend(decoration(adsets)?.unwrap_or_default())
            }
        }
        if level == Level::Ad {
            let edge = format!("{path}/ads");
            let fields = of_campaigns(AD_FIELDS, filter);
            parts
                .ads
                .extend(list(session, Endpoint::Ads, &edge, &fields).await?);
        }
    }
    Ok(parts)
}

/// Something that can be done without; but no more is asked where the answer would be the same.
fn decoration<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.class {
            Class::Denied | Class::Throttled(_) | Class::Held => Err(error),
            Class::Forbidden
            | Class::Rejected
            | Class::Unavailable
            | Class::TooLarge
            | Class::Garbled => {
                tracing::debug!(fault = %error.fault, "discovery does without");
                Ok(None)
            }
        },
    }
}

/// What a list of that edge is asked with: its fields, and the campaigns that it is limited to.
fn of_campaigns(fields: &str, campaigns: &[&str]) -> Vec<(&'static str, String)> {
    let mut params = vec![("fields", fields.to_owned())];
    if !campaigns.is_empty() {
        let filter = json!([{"field": "campaign.id", "operator": "IN", "value": campaigns}]);
        params.push(("filtering", filter.to_string()));
    }
    params
}

/// A whole list, page after page, in smaller pages where the API cannot give large ones.
pub(super) async fn list(
    session: Session<'_>,
    endpoint: Endpoint,
    path: &str,
    asked: &[(&str, String)],
) -> Result<Vec<Node>, Error> {
    let (mut nodes, mut after, mut page_size) = (Vec::new(), None, PAGE_SIZE);
    for _ in 0..MOST_PAGES {
        let mut params = asked.to_vec();
        params.push(("limit", page_size.to_string()));
        if let Some(after) = &after {
            params.push(("after", String::clone(after)));
        }
        match session.get(endpoint, path, &params, read_nodes).await {
            Ok(page) => {
                nodes.extend(page.data);
                match page.after {
                    None => return Ok(nodes),
                    same if same == after => {
                        return Err(Error::garbled("a next page that is the same page again"));
                    }
                    next => after = next,
                }
            }
            Err(error) if error.class == Class::TooLarge && page_size > 1 => page_size /= 2,
            Err(error) => return Err(error),
        }
    }
    Err(Error::garbled(format!("no end after {MOST_PAGES} pages")))
}

/// A campaign as its node tells of it; budgets are its ad sets' to tell.
pub(super) fn campaign_of(id: ObjectId, node: Node) -> Campaign {
    Campaign {
        id,
        name: node.name,
        status: node.status,
        objective: node.objective,
        is_message: node.is_message_campaign,
        daily_budget: None,
        lifetime_budget: None,
    }
}

fn listing(
    at: Timestamp,
    account: Account,
    mut campaigns: Vec<Campaign>,
    mut others: Vec<ObjectId>,
    level: Level,
    parts: Parts,
    listed: usize,
) -> Listing {
    // Kept for an hour, without the room to grow that nobody needs any more.
    campaigns.shrink_to_fit();
    others.shrink_to_fit();
    let rows = match (level, parts.complete) {
        (Level::Account, _) => 1,
        (Level::Campaign, _) => listed,
        (Level::Adset, true) => parts.adsets.len(),
        (Level::Ad, true) => parts.ads.len(),
        // Unknown, and so never thought to be few.
        (Level::Adset | Level::Ad, false) => usize::MAX,
    };
    share_words(&mut campaigns);
    if let Some(currency) = &account.currency {
        budgets(&mut campaigns, &parts.adsets, currency);
    }
    let mut members = members(&account, &campaigns, level, &parts);
    members.sort_by(|a, b| a.identity.key().cmp(b.identity.key()));
    members.dedup_by(|a, b| a.identity.key() == b.identity.key());
    members.shrink_to_fit();
    Listing {
        at,
        account,
        campaigns,
        others,
        members,
        rows,
    }
}

/// Thousands of campaigns have a handful of statuses and objectives: each is kept once.
fn share_words(campaigns: &mut [Campaign]) {
    let mut words: HashSet<Arc<str>> = HashSet::new();
    for campaign in campaigns {
        for word in [&mut campaign.status, &mut campaign.objective] {
            match words.get(word) {
                Some(same) => *word = Arc::clone(same),
                None => drop(words.insert(Arc::clone(word))),
            }
        }
    }
}

/// Gives each campaign the sum of its ad sets' budgets. "0" is how Meta says that there is none.
fn budgets(campaigns: &mut [Campaign], adsets: &[Node], currency: &str) {
    let mut sums: HashMap<&ObjectId, (u64, u64)> = HashMap::new();
    for adset in adsets.iter().filter(|adset| !adset.is_gone()) {
        if let Some(campaign) = &adset.campaign_id {
            let (daily, lifetime) = sums.entry(campaign).or_default();
            *daily = daily.saturating_add(adset.daily_budget.unwrap_or(0));
            *lifetime = lifetime.saturating_add(adset.lifetime_budget.unwrap_or(0));
        }
    }
    for campaign in campaigns {
        let (daily, lifetime) = sums.get(&campaign.id).copied().unwrap_or_default();
        let money = |minor: u64| (minor > 0).then(|| major(minor, currency)).flatten();
        campaign.daily_budget = money(daily);
        campaign.lifetime_budget = money(lifetime);
    }
}

/// What has a row of its own at that level.
fn members(account: &Account, campaigns: &[Campaign], level: Level, parts: &Parts) -> Vec<Member> {
    let identity = |campaign: Option<&Campaign>, adset: Option<Named>, ad: Option<Named>| {
        Arc::new(Identity {
            account: account.id.clone(),
            currency: account.currency.clone(),
            campaign: campaign.map(|campaign| Named {
                id: campaign.id.clone(),
                name: campaign.name.clone(),
            }),
            adset,
            ad,
        })
    };
    let named = |node: &Node| {
        node.id.clone().map(|id| Named {
            id,
            name: node.name.clone(),
        })
    };
    let parent = |node: &Node| {
        let id = node.campaign_id.as_ref()?;
        campaigns
            .binary_search_by(|campaign| campaign.id.cmp(id))
            .ok()
            .map(|at| &campaigns[at])
    };
    match level {
        Level::Account => vec![Member {
            identity: identity(None, None, None),
            active: true,
        }],
        Level::Campaign => {
            let member = |campaign: &Campaign| Member {
                identity: identity(Some(campaign), None, None),
                active: campaign.status.as_ref() == "ACTIVE",
            };
            campaigns.iter().map(member).collect()
        }
        Level::Adset => {
            let adsets = parts.adsets.iter().filter(|adset| !adset.is_gone());
            let member = |adset: &Node| {
                let identity = identity(Some(parent(adset)?), Some(named(adset)?), None);
                let active = adset.is_active();
                Some(Member { identity, active })
            };
            adsets.filter_map(member).collect()
        }
        Level::Ad => {
            let adsets: HashMap<_, _> = parts
                .adsets
                .iter()
                .map(|adset| (&adset.id, adset))
                .collect();
            let ads = parts.ads.iter().filter(|ad| !ad.is_gone());
            let member = |ad: &Node| {
                let adset = adsets.get(&ad.adset_id)?;
                let identity = identity(Some(parent(ad)?), Some(named(adset)?), Some(named(ad)?));
                let active = ad.is_active();
                Some(Member { identity, active })
            };
            ads.filter_map(member).collect()
        }
    }
}
