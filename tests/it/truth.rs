//! Every number on the page is the simulator's own, to the digit: for both kinds of source, at
//! every level, for presets and for fixed dates.

use marketing_messages_exporter::row::{ACTION_TYPES, PURCHASE};
use marketing_messages_exporter::simulator::{Campaign, Status, Truth, World};

use crate::harness::Api;
use crate::page::Page;

/// Windows, and the days that they mean on 23 November 2026.
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

/// The message campaigns that are not put away, with the accounts that they lie in.
fn campaigns() -> Vec<Campaign> {
    let accounts = World::demo().accounts.into_iter();
    let accounts = accounts.filter(|account| ACCOUNTS.contains(&account.id));
    accounts
        .flat_map(|account| account.campaigns)
        .filter(|campaign| campaign.is_message && campaign.status != Status::Archived)
        .collect()
}

/// The ids of what a campaign has a row of at that level.
fn objects(campaign: &Campaign, level: &str) -> Vec<(&'static str, u64)> {
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

/// `79.419238` percent are `0.79419238`.
fn hundredth(percent: &str) -> String {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = format!("{whole:0>3}{rest}");
    let point = digits.len() - rest.len() - 2;
    let text = format!("{}.{}", &digits[..point], &digits[point..]);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let short = text.trim_start_matches('0');
    match short.starts_with('.') || short.is_empty() {
        true => format!("0{short}"),
        false => short.to_owned(),
    }
}

/// All that the page says of the row with these labels is that.
pub(crate) fn assert_row(page: &Page, labels: &[(&str, &str)], truth: &Truth) {
    let said = |name: &str, more: &[(&str, &str)]| {
        let labels = [labels, more].concat();
        page.find(name, &labels).map(|found| found.number.clone())
    };
    let figure = |field: &str| {
        let field = format!("marketing_messages_{field}");
        truth.figures.get(&field).cloned()
    };
    for (metric, field) in [
        ("delivered", "delivered"),
        ("link_clicks", "link_btn_click"),
        ("spend", "spend"),
        ("cost_per_delivered", "cost_per_delivered"),
        ("cost_per_link_click", "cost_per_link_btn_click"),
    ] {
        assert_eq!(said(metric, &[]), figure(field), "{metric} {labels:?}");
    }
    for (metric, field) in [
        ("read_ratio", "read_rate"),
        ("link_click_ratio", "link_btn_click_rate"),
        ("delivery_ratio", "delivery_rate"),
    ] {
        let ratio = figure(field).map(|percent| hundredth(&percent));
        assert_eq!(said(metric, &[]), ratio, "{metric} {labels:?}");
    }
    for action_type in ACTION_TYPES {
        let of = [("action_type", action_type)];
        let told = |list: &str| {
            let list = truth.lists.get(list)?;
            list.get(action_type).cloned()
        };
        let zero = Some("0".to_owned());
        let (count, mut value, mut roas) = (
            told("actions").or(zero.clone()),
            told("action_values"),
            told("website_purchase_roas"),
        );
        if action_type == PURCHASE {
            value = value.or(zero.clone());
            let spent = figure("spend").is_some_and(|spend| spend != "0");
            roas = roas.or(zero.filter(|_| spent));
        }
        assert_eq!(said("conversions", &of), count, "{action_type} {labels:?}");
        assert_eq!(
            said("conversion_value", &of),
            value,
            "{action_type} {labels:?}"
        );
        assert_eq!(
            said("website_purchase_roas", &of),
            roas,
            "{action_type} {labels:?}"
        );
    }
}

async fn every_number_is_true(level: &str, sources: &str, wanted: &[Campaign]) {
    let api = Api::demo().await;
    let page = api.exporter(&config(level, sources)).await.page_up().await;
    let mut rows = 0;
    for campaign in wanted {
        for (label, id) in objects(campaign, level) {
            let id = id.to_string();
            for (window, since, until) in WINDOWS {
                let truth = api.truth(&id, since, until).unwrap();
                assert_row(&page, &[(label, &id), ("window", window)], &truth);
                rows += 1;
            }
        }
    }
    // And of nothing else: ordinary and archived campaigns have no rows.
    assert_eq!(page.all("delivered", &[]).len(), rows);
    assert_eq!(
        page.all("conversions", &[]).len(),
        rows * ACTION_TYPES.len()
    );
    assert_eq!(page.all("campaign_info", &[]).len(), wanted.len());
}

fn accounts() -> String {
    let ids = ACCOUNTS.map(|id| format!("{{ id: act_{id} }}"));
    format!("ad_accounts: [{}]", ids.join(", "))
}

#[tokio::test]
async fn every_number_of_ad_accounts_is_true_of_their_campaigns() {
    every_number_is_true("campaign", &accounts(), &campaigns()).await;
}

#[tokio::test]
async fn every_number_of_ad_accounts_is_true_of_their_ad_sets() {
    every_number_is_true("adset", &accounts(), &campaigns()).await;
}

#[tokio::test]
async fn every_number_of_ad_accounts_is_true_of_their_ads() {
    every_number_is_true("ad", &accounts(), &campaigns()).await;
}

#[tokio::test]
async fn every_number_of_campaigns_is_true_at_every_level() {
    let campaigns = &campaigns()[..2];
    let ids = campaigns.iter().map(|c| format!("{{ id: \"{}\" }}", c.id));
    let sources = format!("campaigns: [{}]", ids.collect::<Vec<_>>().join(", "));
    for level in ["campaign", "adset", "ad"] {
        every_number_is_true(level, &sources, campaigns).await;
    }
}

#[tokio::test]
async fn only_the_campaigns_that_are_named_are_exported() {
    let [first, _, third, ..] = &campaigns()[..] else {
        panic!("three campaigns")
    };
    let sources = format!(
        "ad_accounts: [{{ id: act_{}, campaigns: [\"{}\", {}] }}]",
        ACCOUNTS[0], first.id, third.id
    );
    every_number_is_true("campaign", &sources, &[first.clone(), third.clone()]).await;
}

#[tokio::test]
async fn an_account_as_a_whole_is_the_sum_of_its_message_campaigns() {
    let api = Api::demo().await;
    let page = api
        .exporter(&config("account", &accounts()))
        .await
        .page_up()
        .await;
    // Without its other campaigns, what is true of the account is what the page should say.
    api.simulator.update_world(|world| {
        for account in &mut world.accounts {
            let campaigns = &mut account.campaigns;
            campaigns.retain(|c| c.is_message && c.status != Status::Archived);
        }
    });
    for id in ACCOUNTS {
        let digits = id.to_string();
        for (window, since, until) in WINDOWS {
            let truth = api.truth(&format!("act_{id}"), since, until).unwrap();
            assert_row(
                &page,
                &[("account_id", &digits), ("window", window)],
                &truth,
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
async fn other_fields_are_exported_on_demand() {
    let api = Api::demo().await;
    let config = "
insights:
  extra_fields:
    - { field: marketing_messages_sent, metric: sent, kind: count, help: Messages sent }
    - { field: marketing_messages_read_rate_benchmark, metric: read_benchmark_ratio, kind: percent, help: Reads elsewhere }
    - { field: spend, metric: all_spend, kind: money, help: All money }
windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }]
";
    let page = api.exporter(config).await.page_up().await;
    let id = "120210000000011000";
    let truth = api.truth(id, "2026-11-23", "2026-11-23").unwrap().figures;
    let labels = [("campaign_id", id)];
    page.assert("sent", &labels, &truth["marketing_messages_sent"]);
    page.assert("read_benchmark_ratio", &labels, "0.8125");
    let money = [("campaign_id", id), ("currency", "USD")];
    page.assert("all_spend", &money, &truth["spend"]);
    let help = |name: &str| {
        let named = |family: &&crate::page::Family| family.name.ends_with(name);
        page.families.iter().find(named).unwrap().help.clone()
    };
    assert!(help("_messages_sent").contains("Messages sent"));
    assert!(help("_messages_sent").contains("marketing_messages_sent"));
}

#[test]
fn percents_are_divided_letter_by_letter() {
    for (percent, ratio) in [
        ("79.419238", "0.79419238"),
        ("9.727768", "0.09727768"),
        ("0", "0"),
        ("0.5", "0.005"),
        ("100", "1"),
        ("81.25", "0.8125"),
        ("10", "0.1"),
    ] {
        assert_eq!(hundredth(percent), ratio);
    }
}
