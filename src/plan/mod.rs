//! Turns the config into a plan: sources with their windows, and the queries of each poll.
//!
//! Sources are defined here; `window` has their poll intervals, `query` one insights request.
//! `query_split`, `query_mode` and `strategy` choose the queries of a poll, `history` those for past days. `shard`
//! divides the sources between replicas, and `estimate` predicts requests and series.
//!
//! Everything is a pure function of the config and the inventory: no I/O, no clock.

mod estimate;
mod history;
mod query;
mod query_mode;
mod query_split;
mod shard;
mod strategy;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::estimate::{ACCOUNT_SPEND_INTERVAL, ASSUMED_CHILDREN, CostEstimate, SourceSize};
pub use self::history::{DayRange, FIRST_DATED_DAY, RETENTION_MONTHS};
pub use self::query::{Query, QueryColumns, QueryKind, TargetNode, TimeIncrement};
pub use self::query_mode::{DateMode, QueryMode};
pub use self::query_split::{MAX_IDS_PER_FILTER, ROWS_PER_PAGE};
pub use self::shard::{Shard, ShardOutOfRange};
pub use self::strategy::{ProbeHistory, QueryStrategy, UnfilteredProbe};
pub use self::window::{DateSpan, RESTATED_DAYS, Window};

use crate::config::{
    BusinessConfig, CampaignNamePattern, Config, ConfigLabels, QuestionMode, WindowThresholds,
    ZeroFill,
};
use crate::model::{AccountId, Campaign, Inventory, Level, NamedId, ObjectId, Row};

/// Discoveries that may fail in a row before zeros are not exported for campaigns without a row; then DiscoveryFailing
/// fires too.
const MAX_MISSED_DISCOVERIES: u32 = 3;

/// The sources that one exporter polls.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::config::{Config, NamedDocument};
/// use marketing_messages_exporter::plan::{Plan, QueryKind, Shard};
///
/// let text = "businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]";
/// let main = NamedDocument { name: "config.yaml".into(), text: text.into() };
/// let plan = Plan::for_shard(&Config::parse(main, Vec::new())?, Shard::ALL);
///
/// let source = &plan.sources[0];
/// assert_eq!(source.name.as_ref(), "act_1");
/// assert_eq!(source.query_kinds(), [QueryKind::Delivery, QueryKind::Conversions]);
/// let windows = source.windows.iter().map(|window| window.name.as_ref());
/// assert!(windows.eq(["today", "last_30d"])); // the default windows
/// # Ok::<(), marketing_messages_exporter::config::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Sources of this shard, by business, in the order of the config.
    pub sources: Vec<Arc<Source>>,
    /// Number of sources of all shards.
    pub configured: usize,
}

/// A source: an ad account or one campaign that is polled.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Name of the business that the source belongs to.
    pub business: Box<str>,
    /// The `source` label: `act_<digits>`, or the campaign id as configured.
    pub name: Box<str>,
    /// Ad account or campaign, with its id.
    pub kind: SourceKind,
    /// Names of the message campaigns to export, for ad account sources; `None`: any name.
    pub campaign_name: Option<CampaignNamePattern>,
    /// Level of its rows.
    pub level: Level,
    /// Campaigns that are reported as zero if the API returns no row.
    pub zero_fill: ZeroFill,
    /// Age of the inventory above which no campaign is reported as zero, because its list is not reliable any more.
    pub zero_fill_max_age: Duration,
    /// Whether conversions are queried.
    pub conversions: bool,
    /// How the queries are sent.
    pub questions: QuestionMode,
    /// Columns of both kinds of queries.
    pub columns: QueryColumns,
    /// Windows, in the order of the config.
    pub windows: Vec<Window>,
    /// Additional labels from the config.
    pub labels: ConfigLabels,
    /// Thresholds from the config.
    pub thresholds: WindowThresholds,
    /// Limits of the metrics page.
    pub export_limits: ExportLimits,
    /// For a campaign source: ad account sources of the same business that other shards poll, one of
    /// which may cover the campaign. Empty for ad account sources.
    pub sibling_accounts: Arc<[SourceKind]>,
}

/// Limits of the metrics page for the sources of a business. They do not affect queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportLimits {
    /// Complete names of the metrics that are not exported, sorted.
    pub excluded_metrics: Arc<[String]>,
    /// Maximum number of series of the business; `None`: no limit.
    pub max_series: Option<usize>,
}

impl ExportLimits {
    /// Whether the metric with this complete name is exported.
    pub fn is_exported(&self, name: &str) -> bool {
        let excluded = &self.excluded_metrics;
        excluded.is_empty() || excluded.iter().all(|excluded| excluded != name)
    }
}

/// The object that a source polls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// An ad account.
    AdAccount {
        /// Id of the ad account.
        id: AccountId,
        /// Campaigns to export; empty for all message campaigns.
        campaign_allowlist: Vec<ObjectId>,
    },
    /// One campaign. Meta's documentation is inconsistent, so the id may be an ad's.
    Campaign(ObjectId),
}

impl Plan {
    /// Creates the plan of one shard. Disabled businesses have no sources.
    pub fn for_shard(config: &Config, shard: Shard) -> Self {
        let enabled = config.businesses.iter().filter(|b| b.enabled);
        let sources: Vec<Source> = enabled.flat_map(|b| business_sources(config, b)).collect();
        let configured = sources.len();
        let by_business = sources.chunk_by(|a, b| a.business == b.business);
        Self {
            sources: by_business
                .flat_map(|sources| sources_of_shard(sources, shard))
                .collect(),
            configured,
        }
    }

    /// Returns the number of sources of each business that has sources in this shard.
    pub fn businesses(&self) -> BTreeMap<&str, usize> {
        let mut businesses = BTreeMap::new();
        for source in &self.sources {
            *businesses.entry(source.business.as_ref()).or_default() += 1;
        }
        businesses
    }
}

/// Returns the sources of one business that the shard polls.
fn sources_of_shard(sources: &[Source], shard: Shard) -> Vec<Arc<Source>> {
    let is_campaign = |source: &Source| matches!(source.kind, SourceKind::Campaign(_));
    let (own, foreign): (Vec<_>, Vec<_>) = sources
        .iter()
        .partition(|source| shard.contains(&source.kind));
    let sibling_accounts: Arc<[SourceKind]> = foreign
        .into_iter()
        .filter(|source| !is_campaign(source))
        .map(|source| source.kind.clone())
        .collect();
    own.into_iter()
        .cloned()
        .map(|mut source| {
            if is_campaign(&source) {
                source.sibling_accounts = Arc::clone(&sibling_accounts);
            }
            Arc::new(source)
        })
        .collect()
}

fn business_sources(config: &Config, business: &BusinessConfig) -> Vec<Source> {
    let export_limits = ExportLimits {
        excluded_metrics: business.excluded_metrics.as_slice().into(),
        max_series: business.max_series,
    };
    let source = |name: String,
                  kind: SourceKind,
                  conversions: bool,
                  labels: &ConfigLabels,
                  thresholds: &WindowThresholds| Source {
        business: business.name.as_str().into(),
        name: name.into(),
        kind,
        campaign_name: None,
        level: config.insights.level,
        zero_fill: config.insights.zero_fill,
        zero_fill_max_age: MAX_MISSED_DISCOVERIES * config.polling.discovery_interval,
        conversions,
        questions: config.insights.questions,
        columns: QueryColumns::of(&config.insights),
        windows: windows(config, business),
        labels: labels.clone(),
        thresholds: thresholds.clone(),
        export_limits: export_limits.clone(),
        sibling_accounts: [].into(),
    };
    let accounts = business.ad_accounts.iter().map(|account| {
        let kind = SourceKind::AdAccount {
            id: account.id.clone(),
            campaign_allowlist: account.campaigns.clone(),
        };
        Source {
            campaign_name: account.campaign_name.clone(),
            ..source(
                account.id.to_string(),
                kind,
                account.conversions,
                &account.labels,
                &account.thresholds,
            )
        }
    });
    let campaigns = business.campaigns.iter().map(|campaign| {
        source(
            campaign.id.to_string(),
            SourceKind::Campaign(campaign.id.clone()),
            campaign.conversions,
            &campaign.labels,
            &campaign.thresholds,
        )
    });
    accounts.chain(campaigns).collect()
}

fn windows(config: &Config, business: &BusinessConfig) -> Vec<Window> {
    let business_interval = business.interval.unwrap_or(config.polling.interval);
    config
        .windows
        .iter()
        .map(|window| {
            let stale_after = config.polling.stale_after;
            Window::new(
                &window.name,
                window.dates,
                window.interval,
                business_interval,
                stale_after,
            )
        })
        .collect()
}

impl Source {
    /// Whether both sources send the same queries at the same intervals.
    pub fn same_queries(&self, other: &Self) -> bool {
        self.business == other.business
            && self.name == other.name
            && self.kind == other.kind
            && self.campaign_name == other.campaign_name
            && self.level == other.level
            && self.conversions == other.conversions
            && self.questions == other.questions
            && self.columns == other.columns
            && self.windows == other.windows
    }

    /// Whether a message campaign of this name is exported.
    pub fn is_name_exported(&self, name: &str) -> bool {
        let pattern = self.campaign_name.as_ref();
        pattern.is_none_or(|pattern| pattern.matches(name))
    }

    /// Returns the kinds of queries of every poll in this mode.
    pub fn query_kinds_in(&self, mode: QueryMode) -> &'static [QueryKind] {
        if self.conversions && mode.joined {
            &[QueryKind::Joined]
        } else {
            self.query_kinds()
        }
    }

    /// Returns the kinds of queries, if each is sent on its own.
    pub fn query_kinds(&self) -> &'static [QueryKind] {
        if self.conversions {
            &[QueryKind::Delivery, QueryKind::Conversions]
        } else {
            &[QueryKind::Delivery]
        }
    }

    /// Whether an ad account source that another shard polls covers the campaign of this source.
    pub fn has_sibling_account(&self, inventory: &Inventory) -> bool {
        let SourceKind::Campaign(campaign_id) = &self.kind else {
            return false;
        };
        let Some(campaign) = inventory.campaign(campaign_id.as_str()) else {
            return false;
        };
        self.sibling_accounts.iter().any(|sibling| match sibling {
            SourceKind::AdAccount {
                id,
                campaign_allowlist,
            } if *id == inventory.account.id => {
                if campaign_allowlist.is_empty() {
                    campaign.is_message
                } else {
                    campaign_allowlist.contains(campaign.campaign_id())
                }
            }
            _ => false,
        })
    }

    /// Whether the inventory may lack `is_message_campaign`, which discovery requests for a campaign
    /// source only if another shard polls ad accounts of the business.
    pub fn needs_rediscovery(&self, inventory: &Inventory) -> bool {
        let has_message_campaign = inventory.campaigns.iter().any(|c| c.is_message);
        !self.sibling_accounts.is_empty() && !has_message_campaign
    }

    /// Whether rows of this campaign are exported. Without an inventory, only configured campaigns
    /// are.
    pub fn is_exported(&self, id: &ObjectId, inventory: Option<&Inventory>) -> bool {
        if let Some(inventory) = inventory {
            return inventory.exported_campaign(id.as_str()).is_some();
        }
        match &self.kind {
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } => campaign_allowlist.contains(id),
            SourceKind::Campaign(campaign_id) => campaign_id == id,
        }
    }

    /// Replaces the campaign id of a row by the configured id, which may be an ad's.
    #[must_use]
    pub fn with_configured_id(&self, mut row: Row) -> Row {
        if let (SourceKind::Campaign(id), Some(campaign)) = (&self.kind, &row.dimensions.campaign)
            && campaign.id != *id
        {
            let mut dimensions = row.dimensions.as_ref().clone();
            dimensions.campaign = Some(NamedId {
                id: id.clone(),
                name: campaign.name.clone(),
            });
            row.dimensions = Arc::new(dimensions);
        }
        row
    }

    /// Returns the id of the campaign of a campaign source, if discovery found it. The configured id can be that of an ad
    /// or ad set.
    pub fn resolved_campaign<'i>(&self, inventory: Option<&'i Inventory>) -> Option<&'i ObjectId> {
        let inventory = inventory?;
        let mut campaigns = inventory.campaigns.iter().chain(&inventory.archived);
        match self.kind {
            SourceKind::AdAccount { .. } => None,
            SourceKind::Campaign(_) => campaigns.next().map(Campaign::campaign_id),
        }
    }

    /// Whether the spend of the whole ad account is exported: all of its message campaigns are, so that the two can be
    /// compared.
    pub fn exports_account_spend(&self) -> bool {
        let is_whole_account = match &self.kind {
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } => campaign_allowlist.is_empty(),
            SourceKind::Campaign(_) => false,
        };
        is_whole_account && self.campaign_name.is_none() && self.questions == QuestionMode::Auto
    }

    /// Returns the key of a row after [`with_configured_id`](Self::with_configured_id).
    pub fn configured_key(&self, key: Box<str>) -> Box<str> {
        match &self.kind {
            SourceKind::Campaign(id) if self.level == Level::Campaign => id.as_str().into(),
            _ => key,
        }
    }

    /// Returns the campaigns to query; `None` without an inventory if the config names none.
    pub fn campaigns(&self, inventory: Option<&Inventory>) -> Option<Vec<ObjectId>> {
        if let Some(inventory) = inventory {
            let campaigns = inventory.campaigns.iter().chain(&inventory.archived);
            return Some(campaigns.map(|c| c.id.clone()).collect());
        }
        match &self.kind {
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } => (!campaign_allowlist.is_empty()).then(|| campaign_allowlist.clone()),
            SourceKind::Campaign(id) => Some(vec![id.clone()]),
        }
    }
}
