//! Spend of whole ad accounts: what rows and the unattributed part add up to while campaigns appear and vanish.

use std::sync::Arc;

use graph_simulator::{Status, World};
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::model::{InsightField, MajorUnits, Row, RowValue, RowValues};
use marketing_messages_exporter::snapshot::{
    AccountSpend, PollResult, QueryResult, SourceState, exported_rows,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::harness::{Api, Exporter};
use crate::page::Page;
use crate::snapshot_builder::{RANGE, dimensions, empty_snapshot, inventory, now};

const ACCOUNT: &str = "act_10150000000009001";

const WINDOWS: [(&str, &str, &str); 2] = [
    ("today", "2026-11-23", "2026-11-23"),
    ("last_7d", "2026-11-16", "2026-11-22"),
];

/// Config of one ad account that is discovered with every poll, with further options of its business. Without the
/// tests' changes, its spend is requested once an hour.
fn config(business: &str) -> String {
    format!(
        "polling: {{ interval: 100ms, discovery_interval: 100ms }}
windows: [{{ name: today, date_preset: today }}, {{ name: last_7d, date_preset: last_7d, interval: 100ms }}]
businesses: [{{ name: acme, access_token_env: EVERYONE, ad_accounts: [{{ id: {ACCOUNT} }}]{business} }}]
"
    )
}

/// Returns the sum of the spend of all rows of a window.
pub(crate) fn rows_of(page: &Page, window: &str) -> f64 {
    let rows = page.all("spend", &[("window", window)]);
    rows.iter().map(|row| row.value()).sum()
}

/// Waits for a page on which all of `windows` have an unattributed part, and which satisfies `condition`. On every page
/// until then, rows and unattributed part should add up to the spend of the ad account.
pub(crate) async fn settled(
    exporter: &Exporter,
    windows: usize,
    condition: impl Fn(&Page) -> bool,
) -> Page {
    exporter
        .page_when(|page| {
            let mut known = 0;
            for total in page.all("account_spend", &[]) {
                let window = total.label("window");
                let rest = page.value("account_spend_unattributed", &[("window", window)]);
                let Some(rest) = rest else { continue };
                let rows = rows_of(page, window);
                let total = total.value();
                assert!(
                    (rows + rest - total).abs() < 1e-4,
                    "{window}: rows {rows} and unattributed {rest} should add up to {total}"
                );
                known += 1;
            }
            known == windows && condition(page)
        })
        .await
}

/// Waits until the totals are those of the simulator, with this number of rows in each window.
async fn settled_with_rows(api: &Api, exporter: &Exporter, rows: usize) -> Page {
    let page = settled(exporter, WINDOWS.len(), |page| {
        WINDOWS.iter().all(|(window, since, until)| {
            let labels = [("window", *window)];
            let expected = api.truth(ACCOUNT, since, until).unwrap();
            let expected: f64 = expected.values["marketing_messages_spend"].parse().unwrap();
            let total = page.value("account_spend", &labels);
            page.all("spend", &labels).len() == rows
                && total.is_some_and(|total| (total - expected).abs() < 1e-9)
        })
    })
    .await;
    for (window, _, _) in WINDOWS {
        assert!(page.value("account_spend", &[("window", window)]) > Some(0.0));
    }
    page
}

#[tokio::test]
async fn unattributed_spend_follows_campaigns_that_vanish_and_return() {
    let api = Api::start(World::with_campaigns(3, 1)).await;
    let exporter = api.exporter(&config("")).await;
    let page = settled_with_rows(&api, &exporter, 3).await;
    page.assert("account_spend_unattributed", &[("window", "today")], "0");
    api.inject_faults(&["empty_list@endpoint:account"]);
    settled_with_rows(&api, &exporter, 0).await;
    api.clear_faults();
    let page = settled_with_rows(&api, &exporter, 3).await;
    page.assert("account_spend_unattributed", &[("window", "today")], "0");
}

#[tokio::test]
async fn unattributed_spend_follows_a_campaign_that_is_listed_later() {
    let mut world = World::with_campaigns(3, 1);
    world.accounts[0].campaigns[2].status = Status::Deleted;
    let api = Api::start(world).await;
    api.inject_faults(&["rejected_status=DELETED"]);
    let exporter = api.exporter(&config("")).await;
    let page = settled_with_rows(&api, &exporter, 2).await;
    let rest = page.value("account_spend_unattributed", &[("window", "last_7d")]);
    assert!(rest > Some(0.0));
    api.simulator
        .update_world(|world| world.accounts[0].campaigns[2].status = Status::Active);
    let page = settled_with_rows(&api, &exporter, 3).await;
    page.assert("account_spend_unattributed", &[("window", "last_7d")], "0");
}

#[tokio::test]
async fn unattributed_spend_follows_rows_that_were_withheld_before() {
    let mut world = World::with_campaigns(3, 0);
    let supported_since = world.accounts[0].campaigns[0].created;
    world.accounts[0].campaigns[0].created = "2026-01-05T09:00:00Z".parse().unwrap();
    let api = Api::start(world).await;
    let exporter = api.exporter(&config("")).await;
    settled(&exporter, WINDOWS.len(), |page| {
        page.all("exporter_rows_withheld", &[("reason", "dates")])
            .len()
            == WINDOWS.len()
    })
    .await;
    api.simulator
        .update_world(|world| world.accounts[0].campaigns[0].created = supported_since);
    let page = settled_with_rows(&api, &exporter, 3).await;
    page.assert("account_spend_unattributed", &[("window", "today")], "0");
}

#[tokio::test]
async fn unattributed_spend_includes_campaigns_that_max_series_leaves_out() {
    let api = Api::start(World::with_campaigns(3, 0)).await;
    let exporter = api.exporter(&config(", max_series: 100")).await;
    let page = settled(&exporter, WINDOWS.len(), |page| {
        let rows = page.all("spend", &[("window", "today")]).len();
        page.value("exporter_series_dropped", &[]) > Some(0.0) && (1..3).contains(&rows)
    })
    .await;
    let rest = page.value("account_spend_unattributed", &[("window", "today")]);
    assert!(rest > Some(0.0));
}

/// Campaigns of the property test. The last one has no row.
const CAMPAIGNS: u8 = 6;

/// Returns the spend of a campaign, which stays the same.
fn spend(campaign: u8) -> f64 {
    if campaign + 1 < CAMPAIGNS {
        f64::from(campaign + 1) * 1.25
    } else {
        0.0
    }
}

/// Returns the ids of a set of campaigns, given as bits.
fn ids(set: u8) -> impl Iterator<Item = u8> {
    (0..CAMPAIGNS).filter(move |campaign| set >> campaign & 1 == 1)
}

/// What happens to the state of an ad account.
#[derive(Clone, Debug)]
struct Step {
    /// Campaigns that a discovery finds.
    listed: Option<u8>,
    /// Campaigns that a poll withholds, and those that it does not answer.
    poll: Option<(u8, u8)>,
    /// Whether the spend of the ad account is received.
    has_total: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let sets = 0..1_u8 << CAMPAIGNS;
    let few = prop_oneof![Just(0), sets.clone()];
    (of(sets), of((few.clone(), few)), any::<bool>()).prop_map(|(listed, poll, has_total)| Step {
        listed,
        poll,
        has_total,
    })
}

/// Returns the state after a step.
fn after(state: &SourceState, step: &Step) -> SourceState {
    let mut next = state.clone();
    if let Some(listed) = step.listed {
        let campaigns = ids(listed).map(|campaign| (campaign.to_string(), "c", true));
        next = next.with_inventory(Arc::new(inventory(campaigns)));
    }
    if let Some((withheld, unanswered)) = step.poll {
        let is_listed = |campaign: &u8| {
            let inventory = next.inventory.as_ref();
            inventory.is_some_and(|inventory| inventory.contains(&campaign.to_string()))
        };
        let rows = ids(!(withheld | unanswered)).filter(is_listed);
        let row = |campaign: u8| {
            let id = campaign.to_string();
            let mut values = [RowValue::Missing; 8];
            values[InsightField::Spend.column()] = RowValue::Present(spend(campaign));
            Row {
                dimensions: Arc::new(dimensions(&id, "c")),
                start: RANGE.0,
                stop: RANGE.1,
                mixed_attribution: false,
                values: RowValues::pack(&values),
            }
        };
        let keys = |set: u8| {
            let ids = ids(set).filter(is_listed);
            ids.map(|campaign| campaign.to_string().into()).collect()
        };
        let delivery = QueryResult {
            dates: Some(RANGE),
            rows: Some(rows.filter(|id| spend(*id) > 0.0).map(row).collect()),
            withheld: keys(withheld & !unanswered),
            unanswered: keys(unanswered),
            ..QueryResult::default()
        };
        next = next.apply(PollResult {
            delivery,
            ..PollResult::empty(0, now())
        });
    }
    if step.has_total {
        let total = AccountSpend {
            spend: MajorUnits((0..CAMPAIGNS).map(spend).sum()),
            currency: "EUR".into(),
            attribution: None,
            dates: Some(RANGE),
            fetched_at: now(),
            valid_until: None,
        };
        next = next.with_account_spend(0, total);
    }
    next
}

proptest! {
    #[test]
    fn rows_are_exact_and_add_up_with_unattributed_spend(steps in vec(step(), 1..12)) {
        let mut state = empty_snapshot(ZeroFill::Active, false).sources[0].as_ref().clone();
        for step in steps {
            state = after(&state, &step);
            let mut rows = 0.0;
            for row in exported_rows(&state, 0) {
                let id = row.dimensions.key();
                let shown = row.scalar(InsightField::Spend);
                // Nothing is made up for a campaign that a poll has not requested.
                prop_assert_eq!(shown, Some(spend(id.parse().unwrap())), "{}: {:?}", id, step);
                rows += shown.unwrap_or_default();
            }
            let unattributed = state.unattributed_spend(0);
            if let (Some(unattributed), Some(total)) = (unattributed, state.account_spend(0)) {
                prop_assert!((rows + unattributed.0 - total.0).abs() < 1e-6, "{step:?}: {rows}");
            }
            let has_rows = state.windows[0].delivery.is_some();
            if step.has_total && has_rows {
                prop_assert!(unattributed.is_some(), "{:?}", step);
                prop_assert!(!state.has_outdated_account_spend(), "{:?}", step);
            }
        }
    }
}
