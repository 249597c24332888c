//! Discovery of the inventory of a source: the properties of its ad account, and its campaigns.
//!
//! `requests` sends the requests and adapts them to what the API accepts; `assembly` makes the inventory of the
//! returned nodes. A part that cannot be read keeps its values of the previous inventory.

mod assembly;
mod node_fields;
mod node_list;
mod requests;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use self::assembly::{Assembly, assemble, keep_adset_facts};
use self::node_list::NodeListRequest;
use self::requests::{Requests, is_final};
use super::error::{ApiError, ErrorKind};
use super::nodes::ApiNode;
use super::session::{Endpoint, Session};
use crate::model::{AccountId, AdAccount, Inventory, ListingMode, ObjectId};
use crate::plan::{ROWS_PER_PAGE, Source, SourceKind};

pub(super) use self::assembly::campaign_of;

/// Time after which the properties of the ad account of a campaign source are requested again.
const ACCOUNT_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Days after the last message on which conversions are still attributed to it.
const ATTRIBUTED_DAYS: i64 = 28;

/// What a discovery depends on.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryInput<'a> {
    /// Source of which the inventory is fetched.
    pub source: &'a Source,
    /// Inventory of the last discovery; `None` before the first one.
    pub previous: Option<&'a Inventory>,
    /// Whether a request that fails is replaced by simpler ones: the last discovery failed too, so that it may be too
    /// heavy.
    pub has_failed: bool,
    /// Whether to begin with the first form of the requests instead of the one that the API accepted last.
    pub retry_first_form: bool,
    /// First day for which archived campaigns are of interest; `None` for all of them.
    pub archived_since: Option<Date>,
    /// Current time.
    pub now: Timestamp,
}

/// Result of a discovery.
#[derive(Debug)]
pub struct Discovery {
    /// The inventory; parts that failed have their previous values.
    pub inventory: Inventory,
    /// First error of a part that failed.
    pub error: Option<ApiError>,
}

impl<'a> DiscoveryInput<'a> {
    /// Returns the input of the first discovery of a source, with all archived campaigns.
    pub fn first(source: &'a Source, now: Timestamp) -> Self {
        Self {
            source,
            previous: None,
            has_failed: false,
            retry_first_form: false,
            archived_since: None,
            now,
        }
    }

    /// Returns the first day of any window of the source, less the time in which conversions are attributed; `None` if
    /// a window has no first day.
    pub fn first_day(
        source: &Source,
        previous: Option<&Inventory>,
        now: Timestamp,
    ) -> Option<Date> {
        let zone = previous.and_then(|inventory| inventory.account.timezone.clone());
        let today = now.to_zoned(zone.unwrap_or(TimeZone::UTC)).date();
        let starts = source.windows.iter().map(|window| {
            let (start, _) = window.dates_on(today)?;
            // A day more, because the time zone may be unknown.
            start.checked_sub((ATTRIBUTED_DAYS + 1).days()).ok()
        });
        starts.collect::<Option<Vec<Date>>>()?.into_iter().min()
    }
}

/// Fetches the inventory of a source. Fields that the API rejects are added to `rejected_fields`.
///
/// # Errors
/// Returns an error if the campaigns cannot be read and are not known from the previous inventory, if the token is
/// refused, or if the source is throttled.
pub async fn discover(
    session: Session<'_>,
    input: DiscoveryInput<'_>,
    rejected_fields: &mut Vec<String>,
) -> Result<Discovery, ApiError> {
    let previous = input
        .previous
        .filter(|_| !input.retry_first_form)
        .map(|inventory| inventory.listing);
    let requests = Requests {
        session,
        level: input.source.level,
        mode: previous.unwrap_or_default(),
        has_failed: input.has_failed,
        rejected_fields,
    };
    match &input.source.kind {
        SourceKind::AdAccount {
            id,
            campaign_allowlist,
        } => discover_account(requests, input, id, campaign_allowlist).await,
        SourceKind::Campaign(id) => discover_campaign(requests, input, id).await,
    }
}

async fn discover_account(
    mut requests: Requests<'_>,
    input: DiscoveryInput<'_>,
    id: &AccountId,
    allowlist: &[ObjectId],
) -> Result<Discovery, ApiError> {
    let mut fetched = requests.fetch_account_tree(id, allowlist).await?;
    let mut errors = std::mem::take(&mut fetched.errors);
    let has_account = fetched.account.is_some();
    let account = match (fetched.account.take(), input.previous) {
        (Some(node), _) => node.into_account(id.clone()),
        (None, Some(previous)) => previous.account.clone(),
        (None, None) => AdAccount::unknown(id.clone()),
    };
    let Some(nodes) = fetched.campaigns else {
        // Without campaigns, the error of their list is the last one.
        let error = errors.pop();
        let error = error.unwrap_or_else(|| ApiError::invalid_response("no campaigns"));
        let Some(previous) = input.previous else {
            return Err(error);
        };
        return Ok(Discovery {
            inventory: Inventory {
                account,
                account_fetched_at: input.now,
                ..previous.clone()
            },
            error: Some(error),
        });
    };
    let mut inventory = assemble(Assembly {
        nodes,
        account,
        allowlist,
        source: input.source,
        is_complete: fetched.is_complete,
        archived_since: input.archived_since,
        listing: requests.mode,
        now: input.now,
    });
    if !fetched.has_adsets {
        keep_adset_facts(&mut inventory, input.previous);
        if input.source.level.has_adsets() {
            let Some(previous) = input.previous else {
                return Err(errors
                    .pop()
                    .unwrap_or_else(|| ApiError::invalid_response("no ad sets")));
            };
            inventory.entities.clone_from(&previous.entities);
            inventory.max_rows = previous.max_rows;
        }
    }
    // A part that never could be read is not a failure: the token may have no permission for it.
    let had_adsets = input.source.level.has_adsets()
        || input.previous.is_some_and(|inventory| {
            let mut campaigns = inventory.campaigns.iter();
            campaigns.any(|campaign| campaign.start.is_some() || campaign.daily_budget.is_some())
        });
    let had_account = input
        .previous
        .is_some_and(|inventory| inventory.account.is_readable());
    let was_known = (!has_account && had_account) || (!fetched.has_adsets && had_adsets);
    let is_lasting = |error: &ApiError| {
        matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Rejected) && !was_known
    };
    errors.retain(|error| !is_lasting(error));
    Ok(Discovery {
        inventory,
        error: errors.into_iter().next(),
    })
}

async fn discover_campaign(
    mut requests: Requests<'_>,
    input: DiscoveryInput<'_>,
    id: &ObjectId,
) -> Result<Discovery, ApiError> {
    let known = input.previous.and_then(|inventory| {
        let mut campaigns = inventory.campaigns.iter().chain(&inventory.archived);
        campaigns.next()
    });
    let known_parent = known.and_then(|campaign| campaign.parent.clone());
    let node = match known_parent.as_ref() {
        Some(parent) => requests.fetch_campaign(parent).await,
        None => requests.fetch_campaign(id).await,
    };
    let node = match node {
        Ok(node) => node,
        // The id can be that of an ad or an ad set. On Meta's page "Send Messages", MESSAGE_CAMPAIGN_ID is the id of a
        // campaign in one place and of an ad in another.
        Err(error) if error.kind == ErrorKind::Rejected && known_parent.is_none() => {
            match requests.fetch_parent_campaign(id).await {
                Ok(node) => node,
                Err(other) if is_final(other.kind) => return Err(other),
                Err(_) => return Err(error),
            }
        }
        Err(error) => return Err(error),
    };
    let Some(account_id) = node.account_id.clone() else {
        return Err(ApiError::invalid_response("campaign without account_id"));
    };
    let (mut account, mut account_fetched_at, mut error) =
        (AdAccount::unknown(account_id.clone()), input.now, None);
    let previous = input
        .previous
        .filter(|inventory| inventory.account.id == account_id);
    let recent = previous.filter(|inventory| {
        let age = input.now.duration_since(inventory.account_fetched_at);
        inventory.account.is_readable() && age < ACCOUNT_INTERVAL
    });
    match recent {
        Some(inventory) => {
            account.clone_from(&inventory.account);
            account_fetched_at = inventory.account_fetched_at;
        }
        None => match requests.fetch_account(&account_id).await {
            Ok(node) => account = node.into_account(account_id),
            Err(failed) if is_final(failed.kind) => return Err(failed),
            Err(failed) => {
                let readable = previous.filter(|inventory| inventory.account.is_readable());
                let is_lasting = matches!(failed.kind, ErrorKind::Forbidden | ErrorKind::Rejected);
                if let Some(inventory) = readable {
                    account.clone_from(&inventory.account);
                    account_fetched_at = inventory.account_fetched_at;
                    error = Some(failed);
                } else if !is_lasting {
                    error = Some(failed);
                }
            }
        },
    }
    let mut inventory = campaign_inventory(&input, id, account, node, requests.mode);
    inventory.account_fetched_at = account_fetched_at;
    Ok(Discovery { inventory, error })
}

/// A campaign source of which the inventory is fetched together with others of the same ad account.
#[derive(Clone, Copy, Debug)]
pub struct GroupMember<'a> {
    /// The source.
    pub source: &'a Source,
    /// Its previous inventory; `None` if its campaign is not known yet.
    pub previous: Option<&'a Inventory>,
}

/// Fetches the inventories of campaign sources in the ad account of `known`, in their order. The inventory of a source
/// is `None` if its campaign was not known before and is not in the ad account.
///
/// # Errors
/// Returns an error if the ad account or its campaigns cannot be read.
pub async fn discover_members(
    session: Session<'_>,
    known: &Inventory,
    members: &[GroupMember<'_>],
    rejected_fields: &mut Vec<String>,
    now: Timestamp,
) -> Result<Vec<Option<Inventory>>, ApiError> {
    let Some(first) = members.first() else {
        return Ok(Vec::new());
    };
    let campaign_id = |member: &GroupMember<'_>| {
        let resolved = member.source.resolved_campaign(member.previous);
        let configured = match &member.source.kind {
            SourceKind::Campaign(id) => Some(id),
            SourceKind::AdAccount { .. } => None,
        };
        resolved.or(configured).cloned()
    };
    let mut ids: Vec<ObjectId> = members.iter().filter_map(campaign_id).collect();
    ids.sort();
    ids.dedup();
    let mut requests = Requests {
        session,
        level: first.source.level,
        mode: known.listing,
        has_failed: false,
        rejected_fields,
    };
    let mut fetched = requests.fetch_account_tree(&known.account.id, &ids).await?;
    let account = match fetched.account.take() {
        Some(node) => node.into_account(known.account.id.clone()),
        None => known.account.clone(),
    };
    let Some(mut nodes) = fetched.campaigns else {
        let error = fetched.errors.pop();
        return Err(error.unwrap_or_else(|| ApiError::invalid_response("no campaigns")));
    };
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let inventories = members.iter().map(|member| {
        let SourceKind::Campaign(configured) = &member.source.kind else {
            return None;
        };
        let wanted = campaign_id(member);
        let node_idx = nodes.binary_search_by(|node| node.id.cmp(&wanted)).ok();
        let input = DiscoveryInput {
            previous: member.previous,
            ..DiscoveryInput::first(member.source, now)
        };
        match (node_idx.and_then(|idx| nodes.get(idx)), member.previous) {
            (Some(node), _) => {
                let node = node.clone();
                let mode = requests.mode;
                let mut inventory =
                    campaign_inventory(&input, configured, account.clone(), node, mode);
                if !fetched.has_adsets {
                    keep_adset_facts(&mut inventory, member.previous);
                }
                Some(inventory)
            }
            // The listing does not contain it any more.
            (None, Some(previous)) => Some(Inventory {
                fetched_at: now,
                account: account.clone(),
                campaigns: Vec::new(),
                archived: Vec::new(),
                entities: Vec::new(),
                missing: vec![configured.clone()],
                ..previous.clone()
            }),
            (None, None) => None,
        }
    });
    Ok(inventories.collect())
}

/// Makes the inventory of a campaign source from the node of its campaign.
fn campaign_inventory(
    input: &DiscoveryInput<'_>,
    id: &ObjectId,
    account: AdAccount,
    node: ApiNode,
    listing: ListingMode,
) -> Inventory {
    let campaign_id = node.id.clone().unwrap_or_else(|| id.clone());
    let mut inventory = assemble(Assembly {
        nodes: vec![ApiNode {
            // Rows have the configured id.
            id: Some(id.clone()),
            ..node
        }],
        account,
        allowlist: std::slice::from_ref(id),
        source: input.source,
        is_complete: true,
        archived_since: None,
        listing,
        now: input.now,
    });
    if campaign_id != *id {
        let campaigns = inventory
            .campaigns
            .iter_mut()
            .chain(&mut inventory.archived);
        for campaign in campaigns {
            campaign.parent = Some(campaign_id.clone());
        }
    }
    inventory
}

/// Fetches all nodes of a list, always with the same fields.
pub(super) async fn list(
    session: Session<'_>,
    endpoint: Endpoint,
    path: &str,
    params: &[(&'static str, String)],
) -> Result<Vec<ApiNode>, ApiError> {
    let list = NodeListRequest {
        session,
        endpoint,
        path,
        page_size: ROWS_PER_PAGE,
        after: None,
    };
    list.fetch(|_| params.to_vec(), &mut Vec::new()).await
}
