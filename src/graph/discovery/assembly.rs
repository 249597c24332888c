//! Makes an inventory of the nodes that discovery fetched.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::nodes::ApiNode;
use crate::model::{
    AdAccount, Campaign, Dimensions, Entity, Inventory, Level, ListingMode, MajorUnits, MinorUnits,
    NamedId, ObjectId,
};
use crate::plan::Source;

/// Status of a campaign that is over although the API reports `ACTIVE`.
const ENDED: &str = "ENDED";

/// Input of [`assemble`].
pub(super) struct Assembly<'a> {
    /// Campaigns with their ad sets.
    pub(super) nodes: Vec<ApiNode>,
    pub(super) account: AdAccount,
    /// Ids of the exported campaigns; empty for all message campaigns.
    pub(super) allowlist: &'a [ObjectId],
    /// Source of which the inventory is made.
    pub(super) source: &'a Source,
    /// Whether `nodes` are all campaigns of the ad account with all ad sets.
    pub(super) is_complete: bool,
    /// First day for which archived campaigns are of interest; `None` for all of them.
    pub(super) archived_since: Option<Date>,
    pub(super) listing: ListingMode,
    pub(super) now: Timestamp,
}

/// Makes an inventory of the campaigns of an ad account.
pub(super) fn assemble(input: Assembly<'_>) -> Inventory {
    let Assembly {
        mut nodes,
        account,
        allowlist,
        source,
        is_complete,
        archived_since,
        listing,
        now,
    } = input;
    let level = source.level;
    // Result pages can shift while they are read.
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    nodes.dedup_by(|a, b| a.id == b.id);
    let listed = nodes.len();
    let adsets = || {
        let lists = nodes.iter().filter_map(|node| node.adsets.as_ref());
        lists.flat_map(|list| &list.nodes)
    };
    let max_rows = match level {
        Level::Account => 1,
        // Unknown; treated as too many for an unfiltered query.
        _ if !is_complete => usize::MAX,
        Level::Campaign => listed,
        Level::Adset => adsets().count(),
        Level::Ad => adsets()
            .filter_map(|adset| adset.ads.as_ref())
            .map(|list| list.nodes.len())
            .sum(),
    };
    let cutoff = archived_since
        .and_then(|day| day.to_zoned(TimeZone::UTC).ok())
        .map(|day| day.timestamp());
    let is_too_old = |node: &ApiNode| match (node.updated, cutoff) {
        (Some(updated), Some(cutoff)) => updated < cutoff,
        _ => false,
    };
    let missing: Vec<ObjectId> = allowlist
        .iter()
        .filter(|id| nodes.iter().all(|node| node.id.as_ref() != Some(id)))
        .cloned()
        .collect();
    let (mut campaigns, mut archived, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut entities = Vec::new();
    if level == Level::Account {
        entities.push(Entity {
            dimensions: dimensions(&account, None, None, None),
            active: true,
        });
    }
    for node in nodes {
        let Some(id) = node.id.clone() else { continue };
        let is_exported = if allowlist.is_empty() {
            node.is_message_campaign && source.is_name_exported(&node.name)
        } else {
            allowlist.contains(&id)
        };
        let is_archived = node.is_archived_or_deleted();
        if !is_exported || is_archived && is_too_old(&node) {
            others.push(id);
            continue;
        }
        let campaign = campaign_with_facts(id, &node, account.currency.as_deref(), now);
        if is_archived {
            archived.push(campaign);
            continue;
        }
        add_entities(&mut entities, &account, level, &campaign, &node);
        campaigns.push(campaign);
    }
    intern_strings(campaigns.iter_mut().chain(&mut archived));
    entities.sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
    entities.dedup_by(|a, b| a.dimensions.key() == b.dimensions.key());
    // The inventory is stored until the next discovery and does not grow.
    campaigns.shrink_to_fit();
    archived.shrink_to_fit();
    others.shrink_to_fit();
    entities.shrink_to_fit();
    Inventory {
        fetched_at: now,
        account,
        campaigns,
        archived,
        other_campaigns: others,
        missing,
        listing,
        account_fetched_at: now,
        entities,
        max_rows,
    }
}

/// Takes the facts that come from ad sets over from the previous inventory, where the campaign itself has none.
pub(super) fn keep_adset_facts(inventory: &mut Inventory, previous: Option<&Inventory>) {
    let Some(previous) = previous else { return };
    for campaign in &mut inventory.campaigns {
        let Some(known) = previous.exported_campaign(campaign.id.as_str()) else {
            continue;
        };
        campaign.daily_budget = campaign.daily_budget.or(known.daily_budget);
        campaign.lifetime_budget = campaign.lifetime_budget.or(known.lifetime_budget);
        campaign.start = campaign.start.or(known.start);
        campaign.end = campaign.end.or(known.end);
    }
}

/// Converts a campaign's node, without the facts that come from its ad sets.
pub(in crate::graph) fn campaign_of(id: ObjectId, node: ApiNode) -> Campaign {
    Campaign {
        name: node.name,
        status: node.status,
        objective: node.objective,
        is_message: node.is_message_campaign,
        start: node.start,
        end: node.end,
        issues: node.issues,
        ..Campaign::unknown(id)
    }
}

fn campaign_with_facts(
    id: ObjectId,
    node: &ApiNode,
    currency: Option<&str>,
    now: Timestamp,
) -> Campaign {
    let adsets = node.adsets.as_ref().map_or(&[][..], |list| &list.nodes);
    let current: Vec<&ApiNode> = adsets
        .iter()
        .filter(|adset| !adset.is_archived_or_deleted())
        .collect();
    // The API reports a missing budget as "0".
    let positive = |amount: Option<MinorUnits>| amount.filter(|amount| amount.0 > 0);
    let budget = |of: fn(&ApiNode) -> Option<MinorUnits>| -> Option<MajorUnits> {
        let of_adsets = || {
            let amounts = current.iter().filter_map(|adset| of(adset));
            MinorUnits(amounts.fold(0_i64, |sum, amount| sum.saturating_add(amount.0)))
        };
        let amount = positive(of(node)).or_else(|| positive(Some(of_adsets())));
        amount?.to_major(currency?)
    };
    let ends: Option<Vec<Timestamp>> = current.iter().map(|adset| adset.end).collect();
    let end = node.end.or_else(|| ends?.into_iter().max());
    let starts = current.iter().filter_map(|adset| adset.start);
    let is_ended = node.is_active() && end.is_some_and(|end| end <= now);
    Campaign {
        name: Arc::clone(&node.name),
        status: if is_ended {
            ENDED.into()
        } else {
            Arc::clone(&node.status)
        },
        objective: Arc::clone(&node.objective),
        is_message: node.is_message_campaign,
        daily_budget: budget(|node| node.daily_budget),
        lifetime_budget: budget(|node| node.lifetime_budget),
        start: node.start.or_else(|| starts.min()),
        end,
        issues: node.issues.clone(),
        ..Campaign::unknown(id)
    }
}

/// Adds the objects of a campaign that have a row of their own at that level.
fn add_entities(
    entities: &mut Vec<Entity>,
    account: &AdAccount,
    level: Level,
    campaign: &Campaign,
    node: &ApiNode,
) {
    let is_ended = campaign.status.as_ref() == ENDED;
    let named_id = |node: &ApiNode| {
        node.id.clone().map(|id| NamedId {
            id,
            name: Arc::clone(&node.name),
        })
    };
    let adsets = node.adsets.as_ref().map_or(&[][..], |list| &list.nodes);
    match level {
        Level::Account => {}
        Level::Campaign => entities.push(Entity {
            dimensions: dimensions(account, Some(campaign), None, None),
            active: campaign.status.as_ref() == "ACTIVE",
        }),
        Level::Adset => {
            for adset in adsets.iter().filter(|node| !node.is_archived_or_deleted()) {
                let Some(named) = named_id(adset) else {
                    continue;
                };
                entities.push(Entity {
                    dimensions: dimensions(account, Some(campaign), Some(named), None),
                    active: adset.is_active() && !is_ended,
                });
            }
        }
        Level::Ad => {
            for adset in adsets {
                let Some(named_adset) = named_id(adset) else {
                    continue;
                };
                let ads = adset.ads.as_ref().map_or(&[][..], |list| &list.nodes);
                for ad in ads.iter().filter(|node| !node.is_archived_or_deleted()) {
                    let Some(named) = named_id(ad) else { continue };
                    entities.push(Entity {
                        dimensions: dimensions(
                            account,
                            Some(campaign),
                            Some(named_adset.clone()),
                            Some(named),
                        ),
                        active: ad.is_active() && !is_ended,
                    });
                }
            }
        }
    }
}

fn dimensions(
    account: &AdAccount,
    campaign: Option<&Campaign>,
    adset: Option<NamedId>,
    ad: Option<NamedId>,
) -> Arc<Dimensions> {
    Arc::new(Dimensions {
        account: account.id.clone(),
        currency: account.currency.clone(),
        campaign: campaign.map(|campaign| NamedId {
            id: campaign.id.clone(),
            name: Arc::clone(&campaign.name),
        }),
        adset,
        ad,
    })
}

/// Shares equal statuses and objectives, which have few distinct values, to save memory.
fn intern_strings<'a>(campaigns: impl Iterator<Item = &'a mut Campaign>) {
    let mut strings: HashSet<Arc<str>> = HashSet::new();
    for campaign in campaigns {
        for string in [&mut campaign.status, &mut campaign.objective] {
            if let Some(shared) = strings.get(string) {
                *string = Arc::clone(shared);
            } else {
                strings.insert(Arc::clone(string));
            }
        }
    }
}
