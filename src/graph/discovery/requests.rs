//! Requests of discovery: an ad account with its campaigns and their ad sets, in as few requests as the API accepts.
//!
//! The first form is a single request in which the lists are expanded within the node. If the API refuses it, campaigns
//! are listed apart, and then ad sets too. Fields that the API rejects are left out of further requests.

use std::collections::HashMap;

use serde_json::json;

use super::super::error::{ApiError, ErrorKind};
use super::super::nodes::{ApiNode, NodeList, read_node};
use super::super::session::{Endpoint, Session};
use super::node_fields::{NodeType, drop_field};
use super::node_list::NodeListRequest;
use crate::model::{AccountId, Level, ListedStatuses, ListingForm, ListingMode, ObjectId};
use crate::plan::{MAX_IDS_PER_FILTER, ROWS_PER_PAGE};

/// Items per page of a list within a listed node.
const NESTED_PAGE: usize = 50;

/// Campaigns per page of a list within a node of an ad account, which has ad sets too.
const EXPANDED_PAGE: usize = 200;

/// What the requests returned. Errors of parts that may be missing are in `errors`.
#[derive(Default)]
pub(super) struct Fetched {
    /// The node of the ad account, without its campaigns; `None` if it could not be read.
    pub(super) account: Option<ApiNode>,
    /// Campaigns, each with its ad sets; `None` if they could not be read.
    pub(super) campaigns: Option<Vec<ApiNode>>,
    /// Whether the campaigns have their ad sets.
    pub(super) has_adsets: bool,
    /// Whether `campaigns` are all of the ad account, with all ad sets.
    pub(super) is_complete: bool,
    pub(super) errors: Vec<ApiError>,
}

/// Requests of one discovery.
pub(super) struct Requests<'a> {
    pub(super) session: Session<'a>,
    pub(super) level: Level,
    pub(super) mode: ListingMode,
    /// Whether the previous discovery failed.
    pub(super) has_failed: bool,
    pub(super) rejected_fields: &'a mut Vec<String>,
}

impl Requests<'_> {
    /// Fetches an ad account with its campaigns, or those with these ids. Continues with a simpler mode if the API
    /// refuses the current one.
    pub(super) async fn fetch_account_tree(
        &mut self,
        id: &AccountId,
        ids: &[ObjectId],
    ) -> Result<Fetched, ApiError> {
        let first = self.mode;
        let mut first_error = None;
        loop {
            let error = match self.fetch_in_mode(id, ids).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            match self.next_mode(&error) {
                Some(next) => {
                    tracing::debug!(error = %error.error, "discovery request refused; trying a simpler one");
                    first_error.get_or_insert(error);
                    self.mode = next;
                }
                None => {
                    self.mode = first;
                    return Err(first_error.unwrap_or(error));
                }
            }
        }
    }

    /// Returns the mode to try after an error; `None` if another mode would not help.
    fn next_mode(&self, error: &ApiError) -> Option<ListingMode> {
        let ListingMode { form, statuses } = self.mode;
        let simpler_statuses = match statuses {
            ListedStatuses::All => Some(ListedStatuses::Archived),
            ListedStatuses::Archived => Some(ListedStatuses::Current),
            ListedStatuses::Current => None,
        };
        let simpler_form = match form {
            ListingForm::Expanded => Some(ListingForm::Campaigns),
            ListingForm::Campaigns => Some(ListingForm::Parts),
            ListingForm::Parts => None,
        };
        let with_form = simpler_form.map(|form| ListingMode { form, statuses });
        let with_statuses = simpler_statuses.map(|statuses| ListingMode { form, statuses });
        match error.kind {
            ErrorKind::Rejected => {
                let message = &error.error.message;
                let names_status = ["status", "DELETED", "ARCHIVED"]
                    .iter()
                    .any(|word| message.contains(word));
                if names_status {
                    with_statuses.or(with_form)
                } else {
                    with_form.or(with_statuses)
                }
            }
            ErrorKind::TooLarge => with_form,
            // The campaigns may be readable although the ad account is not.
            ErrorKind::Forbidden if form == ListingForm::Expanded => with_form,
            // A request that fails twice may be too heavy.
            ErrorKind::Unavailable | ErrorKind::InvalidResponse
                if form == ListingForm::Expanded && self.has_failed =>
            {
                with_form
            }
            _ => None,
        }
    }

    async fn fetch_in_mode(
        &mut self,
        id: &AccountId,
        ids: &[ObjectId],
    ) -> Result<Fetched, ApiError> {
        if self.mode.form == ListingForm::Expanded {
            return self.fetch_expanded(id, ids).await;
        }
        let mut fetched = Fetched::default();
        match self.fetch_account(id).await {
            Ok(account) => fetched.account = Some(account),
            Err(error) if is_final(error.kind) => return Err(error),
            Err(error) => fetched.errors.push(error),
        }
        let mut campaigns = Vec::new();
        let chunks: Vec<&[ObjectId]> = match ids {
            [] => vec![&[]],
            ids => ids.chunks(MAX_IDS_PER_FILTER).collect(),
        };
        let has_nested = self.mode.form == ListingForm::Campaigns;
        let edge = format!("{id}/campaigns");
        for chunk in chunks {
            let page_size = if has_nested {
                EXPANDED_PAGE
            } else {
                ROWS_PER_PAGE
            };
            let listed = self
                .list_campaigns(&edge, chunk, has_nested, page_size, None)
                .await;
            match listed {
                Ok(nodes) => campaigns.extend(nodes),
                Err(error) if is_final(error.kind) || self.next_mode(&error).is_some() => {
                    return Err(error);
                }
                Err(error) => {
                    fetched.errors.push(error);
                    return Ok(fetched);
                }
            }
        }
        fetched.has_adsets = has_nested;
        fetched.is_complete = has_nested && ids.is_empty();
        if has_nested {
            self.complete_adsets(&mut campaigns).await?;
        } else if !campaigns.is_empty() {
            let listed = campaigns.len();
            let wanted: Vec<ObjectId> = campaigns
                .iter()
                .filter(|node| {
                    let is_listed = node.id.as_ref().is_some_and(|id| ids.contains(id));
                    (node.is_message_campaign || is_listed) && !node.is_archived_or_deleted()
                })
                .filter_map(|node| node.id.clone())
                .collect();
            match self.fetch_adsets(&id.to_string(), &wanted, listed).await {
                Ok((adsets, is_complete)) => {
                    attach(&mut campaigns, adsets);
                    fetched.has_adsets = true;
                    fetched.is_complete = is_complete && ids.is_empty();
                }
                Err(error) if is_final(error.kind) => return Err(error),
                Err(error) => fetched.errors.push(error),
            }
        } else {
            fetched.has_adsets = true;
        }
        fetched.campaigns = Some(campaigns);
        Ok(fetched)
    }

    /// Fetches an ad account and its campaigns in one request, and the further pages.
    async fn fetch_expanded(
        &mut self,
        id: &AccountId,
        ids: &[ObjectId],
    ) -> Result<Fetched, ApiError> {
        let (level, statuses) = (self.level, self.mode.statuses);
        // Further ids need a request of their own.
        let (first, rest) = ids.split_at(ids.len().min(MAX_IDS_PER_FILTER));
        let fields = |rejected: &[String]| {
            let mut edge = format!("campaigns.limit({EXPANDED_PAGE})");
            for (name, value) in campaign_list_params(statuses, first) {
                edge += &format!(".{name}({value})");
            }
            let account = NodeType::Account.fields(rejected);
            let separator = if account.is_empty() { "" } else { "," };
            format!(
                "{account}{separator}{edge}{{{}}}",
                campaign_fields(level, rejected)
            )
        };
        let mut account = self
            .get(Endpoint::Account, &id.to_string(), |rejected| {
                vec![("fields", fields(rejected))]
            })
            .await?;
        let edge = format!("{id}/campaigns");
        let mut campaigns = match account.campaigns.take() {
            Some(NodeList { nodes, after: None }) => nodes,
            Some(NodeList {
                mut nodes,
                after: Some(after),
            }) => {
                let further = self
                    .list_campaigns(&edge, first, true, EXPANDED_PAGE, Some(after))
                    .await;
                match further {
                    Ok(further) => nodes.extend(further),
                    Err(error) if error.is_expired_cursor() => {
                        nodes = self
                            .list_campaigns(&edge, first, true, EXPANDED_PAGE, None)
                            .await?;
                    }
                    Err(error) => return Err(error),
                }
                nodes
            }
            // An empty list within a node is left out, and so may be one that was not understood.
            None => {
                self.list_campaigns(&edge, first, true, EXPANDED_PAGE, None)
                    .await?
            }
        };
        for chunk in rest.chunks(MAX_IDS_PER_FILTER) {
            let further = self
                .list_campaigns(&edge, chunk, true, EXPANDED_PAGE, None)
                .await?;
            campaigns.extend(further);
        }
        self.complete_adsets(&mut campaigns).await?;
        Ok(Fetched {
            account: Some(account),
            campaigns: Some(campaigns),
            has_adsets: true,
            is_complete: ids.is_empty(),
            errors: Vec::new(),
        })
    }

    /// Fetches the properties of an ad account.
    pub(super) async fn fetch_account(&mut self, id: &AccountId) -> Result<ApiNode, ApiError> {
        self.get(Endpoint::Account, &id.to_string(), |rejected| {
            vec![("fields", NodeType::Account.fields(rejected))]
        })
        .await
    }

    /// Fetches one campaign with its ad sets.
    pub(super) async fn fetch_campaign(&mut self, id: &ObjectId) -> Result<ApiNode, ApiError> {
        let level = self.level;
        let node = self
            .get(Endpoint::Campaign, id.as_str(), |rejected| {
                let fields = format!("account_id,{}", campaign_fields(level, rejected));
                vec![("fields", fields)]
            })
            .await?;
        self.complete_campaign(node).await
    }

    /// Fetches the campaign of an ad or ad set with its ad sets. The node has the ad account's id.
    pub(super) async fn fetch_parent_campaign(
        &mut self,
        id: &ObjectId,
    ) -> Result<ApiNode, ApiError> {
        let level = self.level;
        let node = self
            .get(Endpoint::Campaign, id.as_str(), |rejected| {
                let campaign = campaign_fields(level, rejected);
                vec![("fields", format!("id,account_id,campaign{{{campaign}}}"))]
            })
            .await?;
        let (account_id, Some(campaign)) = (node.account_id, node.campaign) else {
            return Err(ApiError::invalid_response("ad without campaign"));
        };
        self.complete_campaign(ApiNode {
            account_id,
            ..*campaign
        })
        .await
    }

    async fn complete_campaign(&mut self, node: ApiNode) -> Result<ApiNode, ApiError> {
        let mut nodes = vec![node];
        self.complete_adsets(&mut nodes).await?;
        let node = nodes.pop();
        node.ok_or_else(|| ApiError::invalid_response("no node"))
    }

    async fn list_campaigns(
        &mut self,
        edge: &str,
        ids: &[ObjectId],
        has_nested: bool,
        page_size: usize,
        after: Option<String>,
    ) -> Result<Vec<ApiNode>, ApiError> {
        let (level, statuses) = (self.level, self.mode.statuses);
        let params = |rejected: &[String]| {
            let fields = if has_nested {
                campaign_fields(level, rejected)
            } else {
                NodeType::Campaign.fields(rejected)
            };
            let mut params = vec![("fields", fields)];
            params.extend(campaign_list_params(statuses, ids));
            params
        };
        self.list(Endpoint::Campaigns, edge, params, page_size, after)
            .await
    }

    /// Fetches the further pages of lists within listed campaigns.
    async fn complete_adsets(&mut self, campaigns: &mut [ApiNode]) -> Result<(), ApiError> {
        let level = self.level;
        for campaign in campaigns {
            let Some(id) = campaign.id.clone() else {
                continue;
            };
            let Some(list) = campaign.adsets.as_mut() else {
                continue;
            };
            if let Some(after) = list.after.take() {
                let edge = format!("{id}/adsets");
                let params = |rejected: &[String]| vec![("fields", adset_fields(level, rejected))];
                let further = self
                    .list(Endpoint::Adsets, &edge, params, NESTED_PAGE, Some(after))
                    .await?;
                list.nodes.extend(further);
            }
            for adset in &mut list.nodes {
                let Some(list) = adset.ads.as_mut() else {
                    continue;
                };
                if let (Some(after), Some(id)) = (list.after.take(), &adset.id) {
                    let edge = format!("{id}/ads");
                    let params =
                        |rejected: &[String]| vec![("fields", NodeType::Ad.fields(rejected))];
                    let further = self
                        .list(Endpoint::Ads, &edge, params, NESTED_PAGE, Some(after))
                        .await?;
                    list.nodes.extend(further);
                }
            }
        }
        Ok(())
    }

    /// Lists ad sets, with their ads at level `ad`, and returns whether they are those of all campaigns. The list is
    /// filtered by campaign if this needs no more requests than listing everything.
    async fn fetch_adsets(
        &mut self,
        path: &str,
        campaigns: &[ObjectId],
        listed: usize,
    ) -> Result<(Vec<ApiNode>, bool), ApiError> {
        let chunks = campaigns.len().div_ceil(MAX_IDS_PER_FILTER);
        let is_filtered =
            campaigns.len() < listed && chunks <= listed.div_ceil(ROWS_PER_PAGE).max(1);
        let filters: Vec<&[ObjectId]> = if is_filtered {
            campaigns.chunks(MAX_IDS_PER_FILTER).collect()
        } else {
            vec![&[]]
        };
        let (mut adsets, mut ads) = (Vec::new(), Vec::new());
        for filter in filters {
            let with_filter = |fields: String| {
                let mut params = vec![("fields", fields)];
                if !filter.is_empty() {
                    params.push(("filtering", id_filter("campaign.id", filter)));
                }
                params
            };
            let edge = format!("{path}/adsets");
            let params = |rejected: &[String]| {
                let fields = NodeType::Adset.fields(rejected);
                with_filter(format!("{fields},campaign_id"))
            };
            let nodes = self
                .list(Endpoint::Adsets, &edge, params, ROWS_PER_PAGE, None)
                .await?;
            adsets.extend(nodes);
            if self.level == Level::Ad {
                let edge = format!("{path}/ads");
                let params = |rejected: &[String]| {
                    let fields = NodeType::Ad.fields(rejected);
                    with_filter(format!("{fields},campaign_id,adset_id"))
                };
                let nodes = self
                    .list(Endpoint::Ads, &edge, params, ROWS_PER_PAGE, None)
                    .await?;
                ads.extend(nodes);
            }
        }
        let mut by_adset: HashMap<ObjectId, Vec<ApiNode>> = HashMap::new();
        for ad in ads {
            if let Some(adset) = ad.adset_id.clone() {
                by_adset.entry(adset).or_default().push(ad);
            }
        }
        for adset in &mut adsets {
            let nodes = adset.id.as_ref().and_then(|id| by_adset.remove(id));
            adset.ads = Some(NodeList {
                nodes: nodes.unwrap_or_default(),
                after: None,
            });
        }
        Ok((adsets, !is_filtered))
    }

    /// Fetches a node, without the fields that the API rejects.
    async fn get(
        &mut self,
        endpoint: Endpoint,
        path: &str,
        params: impl Fn(&[String]) -> Vec<(&'static str, String)>,
    ) -> Result<ApiNode, ApiError> {
        loop {
            let sent = params(self.rejected_fields);
            match self.session.get(endpoint, path, &sent, read_node).await {
                Err(error) if drop_field(&error, self.rejected_fields) => {}
                result => return result,
            }
        }
    }

    /// Fetches the pages of a list from a cursor on, without the fields that the API rejects.
    async fn list(
        &mut self,
        endpoint: Endpoint,
        path: &str,
        params: impl Fn(&[String]) -> Vec<(&'static str, String)>,
        page_size: usize,
        after: Option<String>,
    ) -> Result<Vec<ApiNode>, ApiError> {
        let list = NodeListRequest {
            session: self.session,
            endpoint,
            path,
            page_size,
            after,
        };
        list.fetch(params, self.rejected_fields).await
    }
}

/// Adds ad sets to their campaigns.
fn attach(campaigns: &mut [ApiNode], adsets: Vec<ApiNode>) {
    let mut by_campaign: HashMap<ObjectId, Vec<ApiNode>> = HashMap::new();
    for adset in adsets {
        if let Some(campaign) = adset.campaign_id.clone() {
            by_campaign.entry(campaign).or_default().push(adset);
        }
    }
    for campaign in campaigns {
        let nodes = campaign.id.as_ref().and_then(|id| by_campaign.remove(id));
        campaign.adsets = Some(NodeList {
            nodes: nodes.unwrap_or_default(),
            after: None,
        });
    }
}

/// Returns the fields of a campaign with its ad sets.
fn campaign_fields(level: Level, rejected: &[String]) -> String {
    format!(
        "{},adsets.limit({NESTED_PAGE}){{{}}}",
        NodeType::Campaign.fields(rejected),
        adset_fields(level, rejected)
    )
}

/// Returns the fields of an ad set, at level `ad` with its ads.
fn adset_fields(level: Level, rejected: &[String]) -> String {
    let adset = NodeType::Adset.fields(rejected);
    if level != Level::Ad {
        return adset;
    }
    let ad = NodeType::Ad.fields(rejected);
    format!("{adset},ads.limit({NESTED_PAGE}){{{ad}}}")
}

/// Returns the parameters that select campaigns of an ad account.
fn campaign_list_params(statuses: ListedStatuses, ids: &[ObjectId]) -> Vec<(&'static str, String)> {
    let mut params = Vec::new();
    let names: &[&str] = match statuses {
        ListedStatuses::All => &[
            "ACTIVE",
            "PAUSED",
            "IN_PROCESS",
            "WITH_ISSUES",
            "ARCHIVED",
            "DELETED",
        ],
        ListedStatuses::Archived => &["ACTIVE", "PAUSED", "IN_PROCESS", "WITH_ISSUES", "ARCHIVED"],
        ListedStatuses::Current => &[],
    };
    if !names.is_empty() {
        params.push(("effective_status", json!(names).to_string()));
    }
    if !ids.is_empty() {
        params.push(("filtering", id_filter("id", ids)));
    }
    params
}

/// Returns a filter by ids.
fn id_filter(field: &str, ids: &[ObjectId]) -> String {
    let ids: Vec<&str> = ids.iter().map(ObjectId::as_str).collect();
    json!([{"field": field, "operator": "IN", "value": ids}]).to_string()
}

/// Returns whether all further requests would fail too.
pub(super) fn is_final(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unauthenticated
        | ErrorKind::Misconfigured
        | ErrorKind::Throttled(_)
        | ErrorKind::Paused => true,
        ErrorKind::Forbidden
        | ErrorKind::Rejected
        | ErrorKind::Unavailable
        | ErrorKind::TooLarge
        | ErrorKind::InvalidResponse => false,
    }
}
