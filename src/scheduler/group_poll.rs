//! One poll of several campaign sources of an ad account: one query of the ad account, filtered by their ids.
//!
//! The first source leads: the poll uses what was learned about the API from its polls. If the token may not read the
//! ad account, every source is polled on its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::poll::{PollJob, PollOutcome};
use crate::graph::{DiscoveryInput, ErrorKind, GroupMember, Session, discover, discover_members};
use crate::model::{Campaign, ErrorReason, Inventory, Level, ObjectId, Row};
use crate::plan::{Source, SourceKind};
use crate::platform::clock;
use crate::snapshot::{PollResult, QueryResult};

/// Input of a poll of several campaign sources.
#[derive(Debug)]
pub(super) struct GroupJob {
    /// Poll of the first source.
    pub(super) leader: PollJob,
    /// The other sources, with their inventories.
    pub(super) others: Vec<(Arc<Source>, Option<Arc<Inventory>>)>,
}

/// Outcome of a poll task: one entry per source, the leader first.
pub(super) type TaskOutcome = Vec<MemberOutcome>;

/// What a poll task did for one of its sources.
#[derive(Debug)]
pub(super) enum MemberOutcome {
    /// The source was polled.
    Polled(Box<PollOutcome>),
    /// The source is to be polled on its own, because it belongs to another ad account.
    Elsewhere,
    /// The source is to be polled on its own, because the token may not read the ad account.
    Refused,
}

/// A source and its inventory.
struct Member {
    source: Arc<Source>,
    /// `None` if the source is not part of the ad account, or is not known to be.
    inventory: Option<Arc<Inventory>>,
}

impl GroupJob {
    /// Runs the poll.
    pub(super) async fn run(mut self, session: Session<'_>) -> TaskOutcome {
        let now = clock::now();
        let count = 1 + self.others.len();
        // Sources that were answered are not polled again, so that every query begins with the others.
        self.leader.resume_points.clear();
        if self.leader.inventory.is_none() {
            // The id of the ad account is not known yet.
            let input = DiscoveryInput::first(&self.leader.source, now);
            let discovered = discover(session, input, &mut self.leader.rejected_fields).await;
            match discovered {
                Ok(discovery) => self.leader.inventory = Some(Arc::new(discovery.inventory)),
                Err(_) => return self.run_leader(session).await,
            }
            self.leader.discover = true;
        }
        let Some(first) = self.leader.inventory.clone() else {
            return self.run_leader(session).await;
        };
        let mut members = vec![Member {
            source: Arc::clone(&self.leader.source),
            inventory: Some(Arc::clone(&first)),
        }];
        members.extend(
            self.others
                .drain(..)
                .map(|(source, inventory)| Member { source, inventory }),
        );
        let mut discovery_error = None;
        let mut has_discovered = false;
        let is_unresolved = members.iter().any(|member| member.inventory.is_none());
        if self.leader.discover || is_unresolved {
            let wanted: Vec<GroupMember<'_>> = members
                .iter()
                .map(|member| GroupMember {
                    source: &member.source,
                    previous: member.inventory.as_deref(),
                })
                .collect();
            let rejected_fields = &mut self.leader.rejected_fields;
            let found = discover_members(session, &first, &wanted, rejected_fields, now).await;
            match found {
                Ok(inventories) => {
                    has_discovered = true;
                    for (member, inventory) in members.iter_mut().zip(inventories) {
                        member.inventory = inventory.map(Arc::new);
                    }
                }
                Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Rejected) => {
                    return (0..count).map(|_| MemberOutcome::Refused).collect();
                }
                // The poll fails too, or uses the previous inventories.
                Err(error) => discovery_error = Some(error.error),
            }
        }
        let rejected_before = self.leader.rejected_fields.clone();
        let Some(job) = joint_job(self.leader, &members, first.as_ref()) else {
            return (0..count).map(|_| MemberOutcome::Elsewhere).collect();
        };
        let outcome = job.run(session).await;
        let is_forbidden = |result: &PollResult| {
            let error = result.delivery.error.as_ref();
            error.is_some_and(|error| error.reason == ErrorReason::Forbidden)
        };
        if outcome.results.iter().all(is_forbidden) && !outcome.results.is_empty() {
            return (0..count).map(|_| MemberOutcome::Refused).collect();
        }
        let mut invalid = Some(outcome.invalid.clone());
        members
            .iter()
            .map(|member| {
                let Some(inventory) = &member.inventory else {
                    return MemberOutcome::Elsewhere;
                };
                let results = outcome.results.iter();
                MemberOutcome::Polled(Box::new(PollOutcome {
                    results: results
                        .map(|result| member_result(result, &member.source, inventory))
                        .collect(),
                    inventory: has_discovered.then(|| Arc::clone(inventory)),
                    has_discovered: has_discovered || discovery_error.is_some(),
                    discovery_error: discovery_error.clone(),
                    suspected_loss: 0,
                    rejected_fields: outcome.rejected_fields.clone(),
                    omitted_fields: rejected_before.clone(),
                    mode: outcome.mode.clone(),
                    windows: outcome.windows.clone(),
                    account_spend: None,
                    unlisted_campaigns: BTreeSet::new(),
                    // Counted once.
                    invalid: invalid.take().unwrap_or_default(),
                }))
            })
            .collect()
    }

    /// Polls only the first source.
    async fn run_leader(self, session: Session<'_>) -> TaskOutcome {
        let others = self.others.len();
        let outcome = self.leader.run(session).await;
        let mut outcomes = vec![MemberOutcome::Polled(Box::new(outcome))];
        outcomes.extend((0..others).map(|_| MemberOutcome::Elsewhere));
        outcomes
    }
}

/// Returns the poll of the ad account with the campaigns of all members; `None` if no member has a campaign.
fn joint_job(leader: PollJob, members: &[Member], first: &Inventory) -> Option<PollJob> {
    let mut joint = Inventory {
        campaigns: Vec::new(),
        archived: Vec::new(),
        other_campaigns: Vec::new(),
        missing: Vec::new(),
        entities: Vec::new(),
        max_rows: usize::MAX,
        ..first.clone()
    };
    for inventory in members
        .iter()
        .filter_map(|member| member.inventory.as_deref())
    {
        if inventory.account.is_readable() {
            joint.account = inventory.account.clone();
        }
        let under_own_id = |campaign: &Campaign| Campaign {
            id: campaign.campaign_id().clone(),
            ..campaign.clone()
        };
        joint
            .campaigns
            .extend(inventory.campaigns.iter().map(under_own_id));
        joint
            .archived
            .extend(inventory.archived.iter().map(under_own_id));
        joint.entities.extend(inventory.entities.iter().cloned());
    }
    for campaigns in [&mut joint.campaigns, &mut joint.archived] {
        campaigns.sort_by(|a, b| a.id.cmp(&b.id));
        campaigns.dedup_by(|a, b| a.id == b.id);
    }
    joint
        .entities
        .sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
    joint
        .entities
        .dedup_by(|a, b| a.dimensions.key() == b.dimensions.key());
    let campaigns = joint.campaigns.iter().chain(&joint.archived);
    let campaign_allowlist: Vec<ObjectId> = campaigns.map(|campaign| campaign.id.clone()).collect();
    if campaign_allowlist.is_empty() {
        return None;
    }
    let source = Source {
        kind: SourceKind::AdAccount {
            id: joint.account.id.clone(),
            campaign_allowlist,
        },
        sibling_accounts: [].into(),
        ..leader.source.as_ref().clone()
    };
    Some(PollJob {
        source: Arc::new(source),
        inventory: Some(Arc::new(joint)),
        discover: false,
        account_spend: false,
        ..leader
    })
}

/// Returns the part of a result that belongs to one source, under its configured id.
fn member_result(result: &PollResult, source: &Source, inventory: &Inventory) -> PollResult {
    let campaign_id = source.resolved_campaign(Some(inventory));
    let is_own = |row: &&Row| {
        let campaign = row.dimensions.campaign.as_ref();
        campaign.is_some_and(|campaign| Some(&campaign.id) == campaign_id)
    };
    let own_key = |key: &str| -> Option<Box<str>> {
        let is_own = if source.level == Level::Campaign {
            campaign_id.is_some_and(|id| id.as_str() == key) || inventory.campaign(key).is_some()
        } else {
            let entities = &inventory.entities;
            entities
                .binary_search_by(|entity| entity.dimensions.key().cmp(key))
                .is_ok()
        };
        is_own.then(|| source.configured_key(key.into()))
    };
    // A campaign that was not answered keeps its previous values; the others have complete results.
    let is_unanswered =
        |result: &QueryResult| campaign_id.is_none_or(|id| result.unanswered.contains(id.as_str()));
    let own_keys = |keys: &BTreeSet<Box<str>>| keys.iter().filter_map(|key| own_key(key)).collect();
    let complete = |result: &QueryResult| QueryResult {
        rows: result.rows.as_ref().map(|rows| {
            let rows = rows.iter().filter(is_own).cloned();
            rows.map(|row| source.with_configured_id(row)).collect()
        }),
        withheld: own_keys(&result.withheld),
        other_dates: own_keys(&result.other_dates),
        too_heavy: result
            .too_heavy
            .iter()
            .filter(|id| campaign_id.is_some_and(|own| own.as_str() == id.as_ref()))
            .map(|id| match &source.kind {
                SourceKind::Campaign(configured) => configured.as_str().into(),
                SourceKind::AdAccount { .. } => id.clone(),
            })
            .collect(),
        unanswered: BTreeSet::new(),
        error: None,
        ..result.clone()
    };
    let part = |result: &QueryResult| match &result.error {
        Some(error) if result.rows.is_none() || is_unanswered(result) => {
            QueryResult::failed(error.clone())
        }
        None if !result.unanswered.is_empty() && is_unanswered(result) => QueryResult::default(),
        _ => complete(result),
    };
    PollResult {
        delivery: part(&result.delivery),
        conversions: result.conversions.as_ref().map(part),
        ..result.clone()
    }
}
