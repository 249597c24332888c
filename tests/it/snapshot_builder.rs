//! Builds snapshots from the results of a poll of one ad account and one window, and their pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::metrics;
use marketing_messages_exporter::model::{
    AccountId, AdAccount, Campaign, Dimensions, Entity, Inventory, ListingMode, MajorUnits,
    NamedId, ObjectId, Row, RowValue, RowValues,
};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot};

use crate::harness::{NOW, parse};

/// A purchase and another action type, because purchases have rules of their own.
pub(crate) const ACTION_TYPES: [&str; 2] = [
    "offsite_conversion.fb_pixel_purchase",
    "offsite_conversion.fb_pixel_lead",
];

/// First and last day of all rows.
pub(crate) const RANGE: (Date, Date) = (date(2026, 10, 20), date(2026, 10, 27));

/// Configured `max_spend` of the window.
pub(crate) const MAX_SPEND: f64 = 500.0;

/// Properties of the window and of its queries.
#[derive(Clone, Debug)]
pub(crate) struct WindowFixture {
    pub(crate) zero_fill: ZeroFill,
    /// Whether the delivery query succeeds.
    pub(crate) has_delivery: bool,
    /// Whether the conversions query succeeds.
    pub(crate) has_conversions: bool,
    /// Whether the window has fixed dates instead of a preset.
    pub(crate) has_fixed_dates: bool,
}

/// One campaign. Its id is its index.
#[derive(Clone, Debug)]
pub(crate) struct CampaignFixture {
    /// Whether the campaign is active; `None` if it is not in the inventory.
    pub(crate) active: Option<bool>,
    pub(crate) delivery: RowOutcome,
    pub(crate) conversions: RowOutcome,
}

/// Row of one campaign in the result of one query, if the query succeeds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowOutcome {
    NoRow,
    Row(RowFixture),
    Withheld,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowFixture {
    pub(crate) values: Vec<RowValue>,
    pub(crate) mixed_attribution: bool,
}

impl RowOutcome {
    pub(crate) fn row(&self) -> Option<&RowFixture> {
        match self {
            Self::Row(row) => Some(row),
            Self::NoRow | Self::Withheld => None,
        }
    }
}

impl RowFixture {
    fn build(&self, campaign: &str) -> Row {
        Row {
            dimensions: Arc::new(dimensions(campaign, campaign)),
            start: RANGE.0,
            stop: RANGE.1,
            mixed_attribution: self.mixed_attribution,
            values: RowValues::pack(&self.values),
        }
    }
}

/// Dimensions of a campaign.
pub(crate) fn dimensions(id: &str, name: &str) -> Dimensions {
    Dimensions {
        account: AccountId::parse("1").unwrap(),
        currency: Some("EUR".into()),
        campaign: Some(NamedId {
            id: ObjectId::parse(id).unwrap(),
            name: name.into(),
        }),
        adset: None,
        ad: None,
    }
}

/// Inventory of campaigns, given as id, name, and whether the campaign is active.
pub(crate) fn inventory<'a>(
    campaigns: impl IntoIterator<Item = (String, &'a str, bool)>,
) -> Inventory {
    let (mut found, mut entities) = (Vec::new(), Vec::new());
    for (id, name, active) in campaigns {
        found.push(Campaign {
            name: name.into(),
            status: name.into(),
            objective: name.into(),
            is_message: true,
            daily_budget: Some(MajorUnits(12.5)),
            ..Campaign::unknown(ObjectId::parse(&id).unwrap())
        });
        entities.push(Entity {
            dimensions: dimensions(&id, name).into(),
            active,
        });
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    entities.sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
    Inventory {
        fetched_at: NOW.parse().unwrap(),
        account: AdAccount {
            name: "Acme".into(),
            currency: Some("EUR".into()),
            timezone: Some(TimeZone::get("Europe/Berlin").unwrap()),
            ..AdAccount::unknown(AccountId::parse("1").unwrap())
        },
        max_rows: found.len(),
        campaigns: found,
        archived: Vec::new(),
        other_campaigns: Vec::new(),
        missing: Vec::new(),
        listing: ListingMode::default(),
        account_fetched_at: NOW.parse().unwrap(),
        entities,
    }
}

/// Snapshot of one ad account and one window before the first poll.
pub(crate) fn empty_snapshot(zero_fill: ZeroFill, has_fixed_dates: bool) -> Snapshot {
    let zero_fill = match zero_fill {
        ZeroFill::Active => "active",
        ZeroFill::All => "all",
    };
    let dates = if has_fixed_dates {
        format!("time_range: {{ since: {}, until: {} }}", RANGE.0, RANGE.1)
    } else {
        "date_preset: last_7d".to_owned()
    };
    let config = format!(
        "insights: {{ zero_fill: {zero_fill}, action_types: [{}] }}
windows: [{{ name: w, {dates} }}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    thresholds: [{{ window: w, max_spend: {MAX_SPEND} }}]
    ad_accounts: [{{ id: act_1 }}]
",
        ACTION_TYPES.join(", ")
    );
    let config = parse(&config, "http://127.0.0.1:1");
    Snapshot::empty(&Plan::for_shard(&config, Shard::ALL), NOW.parse().unwrap())
}

/// Page after one poll with these results.
pub(crate) fn page(campaigns: &[CampaignFixture], window: &WindowFixture) -> String {
    let in_inventory = campaigns.iter().enumerate().filter_map(|(idx, campaign)| {
        let active = campaign.active?;
        let name = if active { "active" } else { "paused" };
        Some((idx.to_string(), name, active))
    });
    let query_result = |outcome: fn(&CampaignFixture) -> &RowOutcome| {
        let mut rows = Vec::new();
        let mut withheld = BTreeSet::new();
        for (idx, campaign) in campaigns.iter().enumerate() {
            let id = idx.to_string();
            match outcome(campaign) {
                RowOutcome::NoRow => {}
                RowOutcome::Row(row) => rows.push(row.build(&id)),
                RowOutcome::Withheld => {
                    withheld.insert(id.into());
                }
            }
        }
        QueryResult {
            rows: Some(rows),
            other_dates: withheld.clone(),
            withheld,
            ..QueryResult::default()
        }
    };
    let poll = PollResult {
        inventory: Some(Arc::new(inventory(in_inventory))),
        delivery: if window.has_delivery {
            query_result(|campaign| &campaign.delivery)
        } else {
            QueryResult::default()
        },
        conversions: window
            .has_conversions
            .then(|| query_result(|campaign| &campaign.conversions)),
        ..PollResult::empty(0, now())
    };
    let snapshot = empty_snapshot(window.zero_fill, window.has_fixed_dates);
    let state = snapshot.sources[0].apply(poll);
    page_text(&snapshot.with_source(0, state))
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Text of the campaign page of a snapshot.
pub(crate) fn page_text(snapshot: &Snapshot) -> String {
    let mut page = Vec::new();
    metrics::write_campaign_page(snapshot, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}
