//! All exported values equal those of the simulator's model, to the digit: for both kinds of source,
//! at every level, for presets and for fixed dates.

use graph_simulator::{Campaign, ExpectedTotals, Status, World};
use marketing_messages_exporter::model::{
    ACTION_TYPES, InsightField, PURCHASE_ACTION_TYPE, ValueKind,
};

use crate::harness::Api;
use crate::page::Page;
use crate::zero_vs_missing::SCALARS;

/// Windows with their first and last day on 23 November 2026.
const WINDOWS: [(&str, &str, &str); 7] = [
    ("today", "2026-11-23", "2026-11-23"),
    ("yesterday", "2026-11-22", "2026-11-22"),
    ("last_7d", "2026-11-16", "2026-11-22"),
    ("last_30d", "2026-10-24", "2026-11-22"),
    ("this_month", "2026-11-01", "2026-11-23"),
    ("last_week_mon_sun", "2026-11-16", "2026-11-22"),
    ("launch", "2026-08-01", "2026-11-05"),
];

const ACCOUNTS: [u64; 3] = [10150000000001101, 10150000000001102, 10150000000001301];

fn config(level: &str, sources: &str) -> String {
    let windows = WINDOWS.map(|(name, since, until)| match name {
        "launch" => {
            format!("  - {{ name: {name}, time_range: {{ since: {since}, until: {until} }} }}\n")
        }
        preset => format!("  - {{ name: {name}, date_preset: {preset} }}\n"),
    });
    format!(
        "insights: {{ level: {level} }}\nwindows:\n{}businesses:\n  - name: acme\n    access_token_env: EVERYONE\n    {sources}\n",
        windows.concat()
    )
}

/// Returns the message campaigns of `ACCOUNTS` that are not archived.
fn campaigns() -> Vec<Campaign> {
    let accounts = World::demo().accounts.into_iter();
    let accounts = accounts.filter(|account| ACCOUNTS.contains(&account.id));
    accounts
        .flat_map(|account| account.campaigns)
        .filter(|campaign| campaign.is_message && campaign.status != Status::Archived)
        .collect()
}

/// Returns the label and id of each row of a campaign at a level.
fn row_ids(campaign: &Campaign, level: &str) -> Vec<(&'static str, u64)> {
    let adsets = campaign.adsets.iter();
    match level {
        "campaign" => vec![("campaign_id", campaign.id)],
        "adset" => adsets.map(|adset| ("adset_id", adset.id)).collect(),
        _ => {
            let ads = adsets.flat_map(|adset| &adset.ads);
            ads.map(|ad| ("ad_id", ad.id)).collect()
        }
    }
}

/// Divides a percentage by 100 without floating-point arithmetic: `79.419238` is `0.79419238`.
fn percent_to_ratio(percent: &str) -> String {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = format!("{whole:0>3}{rest}");
    let point = digits.len() - rest.len() - 2;
    let text = format!("{}.{}", &digits[..point], &digits[point..]);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let significant = text.trim_start_matches('0');
    if significant.starts_with('.') || significant.is_empty() {
        format!("0{significant}")
    } else {
        significant.to_owned()
    }
}

/// Asserts all values of the row with these labels.
pub(crate) fn assert_row(page: &Page, labels: &[(&str, &str)], expected_totals: &ExpectedTotals) {
    let exported = |name: &str, more: &[(&str, &str)]| {
        let labels = [labels, more].concat();
        page.find(name, &labels).map(|sample| sample.number.clone())
    };
    for (metric, field) in SCALARS {
        let expected = expected_totals.values.get(field.field());
        let expected = expected.map(|value| match field.kind() {
            ValueKind::Percent => percent_to_ratio(value),
            ValueKind::Count | ValueKind::Money => value.clone(),
        });
        assert_eq!(exported(metric, &[]), expected, "{metric} {labels:?}");
    }
    for action_type in ACTION_TYPES {
        let labels_of_action = [("action_type", action_type)];
        let list_value = |list: &str| {
            let list = expected_totals.lists.get(list)?;
            list.get(action_type).cloned()
        };
        let zero = Some("0".to_owned());
        let (count, mut value, mut roas) = (
            list_value("actions").or(zero.clone()),
            list_value("action_values"),
            list_value("website_purchase_roas"),
        );
        if action_type == PURCHASE_ACTION_TYPE {
            value = value.or(zero.clone());
            let spend = expected_totals.values.get(InsightField::Spend.field());
            let has_spend = spend.is_some_and(|spend| spend != "0");
            roas = roas.or(zero.filter(|_| has_spend));
        }
        assert_eq!(
            exported("conversions", &labels_of_action),
            count,
            "{action_type} {labels:?}"
        );
        assert_eq!(
            exported("conversion_value", &labels_of_action),
            value,
            "{action_type} {labels:?}"
        );
        assert_eq!(
            exported("website_purchase_roas", &labels_of_action),
            roas,
            "{action_type} {labels:?}"
        );
    }
}

/// Returns the number of exported totals of ad accounts, or how the first one differs from that of the simulator, or
/// from the sum of rows and the unattributed part. `dates` returns the days of a window of an ad account.
pub(crate) fn compare_account_totals(
    api: &Api,
    page: &Page,
    dates: impl Fn(&str, &str) -> (String, String),
) -> Result<usize, String> {
    let totals = page.all("account_spend", &[]);
    for total in &totals {
        let (id, window) = (total.label("account_id"), total.label("window"));
        let (since, until) = dates(id, window);
        let expected = api.truth(&format!("act_{id}"), &since, &until);
        let expected: f64 = expected.map_or(0.0, |totals| {
            totals.values["marketing_messages_spend"].parse().unwrap()
        });
        let labels = [("account_id", id), ("window", window)];
        let rows: f64 = page.all("spend", &labels).iter().map(|s| s.value()).sum();
        let rest = page.value("account_spend_unattributed", &labels);
        let is_sum = rest.is_some_and(|rest| (rows + rest - expected).abs() < 1e-4);
        if (total.value() - expected).abs() > 1e-9 || !is_sum {
            let total = total.value();
            return Err(format!(
                "{id} {window}: {total}, and rows {rows} with {rest:?}, should be {expected}"
            ));
        }
    }
    Ok(totals.len())
}

/// Returns the dates of one of [`WINDOWS`].
fn window_dates(_account: &str, window: &str) -> (String, String) {
    let mut windows = WINDOWS.iter();
    let (_, since, until) = windows.find(|known| known.0 == window).unwrap();
    ((*since).to_owned(), (*until).to_owned())
}

/// Asserts that the page has exactly the rows of these campaigns, with the expected values.
async fn assert_all_rows(level: &str, sources: &str, campaigns: &[Campaign]) {
    let api = Api::demo().await;
    let exporter = api.exporter(&config(level, sources)).await;
    exporter.page_all_up().await;
    // Sources with selected campaigns do not have a total.
    let accounts = if sources.contains("campaigns") {
        0
    } else {
        ACCOUNTS.len()
    };
    let page = exporter
        .page_when(|page| page.all("account_spend", &[]).len() == accounts * WINDOWS.len())
        .await;
    let totals = compare_account_totals(&api, &page, window_dates);
    assert_eq!(totals, Ok(accounts * WINDOWS.len()));
    let mut rows = 0;
    for campaign in campaigns {
        for (label, id) in row_ids(campaign, level) {
            let id = id.to_string();
            for (window, since, until) in WINDOWS {
                let expected_totals = api.truth(&id, since, until).unwrap();
                assert_row(&page, &[(label, &id), ("window", window)], &expected_totals);
                rows += 1;
            }
        }
    }
    // Ordinary and archived campaigns have no rows.
    assert_eq!(page.all("delivered", &[]).len(), rows);
    assert_eq!(
        page.all("conversions", &[]).len(),
        rows * ACTION_TYPES.len()
    );
    assert_eq!(page.all("campaign_info", &[]).len(), campaigns.len());
}

#[tokio::test]
async fn simulator_has_values_of_every_built_in_field() {
    // A field that the simulator does not have is rejected by it and not exported, so that all values
    // would agree.
    let api = Api::demo().await;
    let mut missing = InsightField::ALL.map(InsightField::field).to_vec();
    for campaign in campaigns() {
        let totals = api.truth(&campaign.id.to_string(), "2026-11-16", "2026-11-22");
        missing.retain(|field| {
            !totals
                .iter()
                .any(|totals| totals.values.contains_key(*field))
        });
    }
    assert!(
        missing.is_empty(),
        "crates/graph-simulator/src/fields.rs should have {missing:?}"
    );
}

/// Config of `ACCOUNTS` as sources.
fn account_sources() -> String {
    let ids = ACCOUNTS.map(|id| format!("{{ id: act_{id} }}"));
    format!("ad_accounts: [{}]", ids.join(", "))
}

#[tokio::test]
async fn campaign_rows_of_ad_accounts_match() {
    assert_all_rows("campaign", &account_sources(), &campaigns()).await;
}

#[tokio::test]
async fn adset_rows_of_ad_accounts_match() {
    assert_all_rows("adset", &account_sources(), &campaigns()).await;
}

#[tokio::test]
async fn ad_rows_of_ad_accounts_match() {
    assert_all_rows("ad", &account_sources(), &campaigns()).await;
}

#[tokio::test]
async fn rows_of_campaign_sources_match_at_every_level() {
    let campaigns = &campaigns()[..2];
    let ids = campaigns.iter().map(|c| format!("{{ id: \"{}\" }}", c.id));
    let sources = format!("campaigns: [{}]", ids.collect::<Vec<_>>().join(", "));
    for level in ["campaign", "adset", "ad"] {
        assert_all_rows(level, &sources, campaigns).await;
    }
}

#[tokio::test]
async fn campaign_allowlist_limits_exported_campaigns() {
    let [first, _, third, ..] = &campaigns()[..] else {
        panic!("the demo should have three campaigns")
    };
    let sources = format!(
        "ad_accounts: [{{ id: act_{}, campaigns: [\"{}\", {}] }}]",
        ACCOUNTS[0], first.id, third.id
    );
    assert_all_rows("campaign", &sources, &[first.clone(), third.clone()]).await;
}

#[tokio::test]
async fn account_row_is_sum_of_message_campaigns() {
    let api = Api::demo().await;
    let exporter = api.exporter(&config("account", &account_sources())).await;
    exporter.page_all_up().await;
    let page = exporter
        .page_when(|page| page.all("account_spend", &[]).len() == ACCOUNTS.len() * WINDOWS.len())
        .await;
    let totals = compare_account_totals(&api, &page, window_dates);
    assert_eq!(totals, Ok(ACCOUNTS.len() * WINDOWS.len()));
    // Without other campaigns, the totals of the simulated account are the expected ones.
    api.simulator.update_world(|world| {
        for account in &mut world.accounts {
            let campaigns = &mut account.campaigns;
            campaigns.retain(|c| c.is_message && c.status != Status::Archived);
        }
    });
    for id in ACCOUNTS {
        let digits = id.to_string();
        for (window, since, until) in WINDOWS {
            let expected_totals = api.truth(&format!("act_{id}"), since, until).unwrap();
            assert_row(
                &page,
                &[("account_id", &digits), ("window", window)],
                &expected_totals,
            );
        }
    }
    let samples = page.all("delivered", &[]);
    assert_eq!(samples.len(), ACCOUNTS.len() * WINDOWS.len());
    let names = samples[0].labels.iter().map(|(name, _)| name.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["business", "account_id", "window"]
    );
}

#[tokio::test]
async fn extra_fields_are_exported() {
    let api = Api::demo().await;
    let config = "
insights:
  extra_fields:
    - { field: marketing_messages_sent, metric: sent, kind: count, help: Messages sent }
    - { field: marketing_messages_read_rate_benchmark, metric: read_benchmark_ratio, kind: percent, help: Read ratio of similar businesses }
    - { field: spend, metric: all_spend, kind: money, help: Amount spent on all ads }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }]
";
    let page = api.exporter(config).await.page_all_up().await;
    let id = "120210000000011000";
    let expected_totals = api.truth(id, "2026-11-23", "2026-11-23").unwrap().values;
    let labels = [("campaign_id", id)];
    page.assert("sent", &labels, &expected_totals["marketing_messages_sent"]);
    page.assert("read_benchmark_ratio", &labels, "0.8125");
    let money = [("campaign_id", id), ("currency", "USD")];
    page.assert("all_spend", &money, &expected_totals["spend"]);
    let help = |name: &str| {
        let has_name = |family: &&crate::page::Family| family.name.ends_with(name);
        page.families.iter().find(has_name).unwrap().help.clone()
    };
    assert!(help("_messages_sent").contains("Messages sent"));
    assert!(help("_messages_sent").contains("marketing_messages_sent"));
}

#[test]
fn percent_to_ratio_moves_decimal_point() {
    for (percent, ratio) in [
        ("79.419238", "0.79419238"),
        ("9.727768", "0.09727768"),
        ("0", "0"),
        ("0.5", "0.005"),
        ("100", "1"),
        ("81.25", "0.8125"),
        ("10", "0.1"),
    ] {
        assert_eq!(percent_to_ratio(percent), ratio);
    }
}
