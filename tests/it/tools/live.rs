//! `check --live`: results and remedies.

use serde_json::Value;

use crate::harness::Api;
use crate::process::Program;

/// A business with a valid token and one of its ad accounts.
const VALID_BUSINESS: &str = "  - { name: aurora, access_token_env: AURORA_TOKEN, ad_accounts: [{ id: act_10150000000001101 }] }\n";

/// Runs `check --live`; returns the exit status and the value of `live`.
async fn live(api: &Api, businesses: &str) -> (Option<i32>, Value) {
    let config = format!(
        "graph: {{ url: \"{}\", app_id: \"1234567890\", app_secret_env: APP_SECRET }}\nbusinesses:\n{businesses}",
        api.simulator.url()
    );
    let arguments = ["check", "--live", "--output=json"];
    let (code, out, log) = Program::start(&config, &arguments).end().await;
    let output: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{log:#?}"));
    (code, output["live"].clone())
}

/// Returns subject and remedy of each failed check.
fn failures(live: &Value) -> Vec<(String, String)> {
    let results = live["results"].as_array().unwrap().iter();
    let failed = results.filter(|result| result["ok"] == false);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    failed
        .map(|result| (text(&result["subject"]), text(&result["remedy"])))
        .collect()
}

fn has_message(live: &Value, text: &str) -> bool {
    let results = live["results"].as_array().unwrap();
    results
        .iter()
        .any(|result| result["message"].as_str().unwrap().contains(text))
}

#[tokio::test]
async fn live_check_of_valid_source_sends_every_query() {
    let api = Api::demo().await;
    let (code, live) = live(&api, VALID_BUSINESS).await;
    assert_eq!(failures(&live), []);
    assert_eq!((code, &live["ok"]), (Some(0), &Value::Bool(true)));
    for text in [
        "valid, never expires, app 1234567890, scopes ads_read, ads_management",
        "ad account \"Aurora Outdoor\", USD, America/Los_Angeles; 3 message campaigns; insights queries of all windows succeeded in mode joined_time_ranges; standard_access",
        "v27.0 requested, v27.0 used",
        "0 s ahead",
    ] {
        assert!(has_message(&live, text), "{text}: {live:#}");
    }
    // The token, the ad account with its campaigns, one query of both kinds and windows, and the window without rows
    // again.
    assert_eq!(live["calls"], 4);
    assert_eq!(api.simulator.requests().len(), 4);
}

#[tokio::test]
async fn live_check_describes_id_of_campaign_source() {
    let api = Api::demo().await;
    let config = format!(
        "graph: {{ url: \"{}\" }}\nbusinesses:\n{VALID_BUSINESS}",
        api.simulator.url()
    );
    let (_, discovered, _) = Program::start(&config, &["discover"]).end().await;
    let campaign = discovered
        .split("- \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let campaign_id: u64 = campaign.parse().unwrap();
    let source = |id: u64| {
        format!(
            "  - {{ name: aurora, access_token_env: AURORA_TOKEN, campaigns: [{{ id: \"{id}\" }}] }}\n"
        )
    };
    let (code, report) = live(&api, &source(campaign_id)).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert!(
        has_message(&report, "campaign \"Spring restock"),
        "{report:#}"
    );
    let (code, report) = live(&api, &source(1)).await;
    assert_eq!(code, Some(1));
    assert_eq!(failures(&report).len(), 1, "{report:#}");
    let (adset, ad) = first_adset_and_ad(&api, campaign_id);
    for (id, kind) in [(adset, "ad set"), (ad, "ad")] {
        let (code, report) = live(&api, &source(id)).await;
        assert_eq!(code, Some(0), "{report:#}");
        assert!(has_message(&report, &format!("{kind} \"")), "{report:#}");
        let parent = format!("\" of campaign {campaign}, ");
        assert!(has_message(&report, &parent), "{report:#}");
    }
}

/// Returns the ids of the first ad set and ad of a campaign.
fn first_adset_and_ad(api: &Api, campaign_id: u64) -> (u64, u64) {
    let mut ids = (0, 0);
    api.simulator.update_world(|world| {
        let campaigns = world.accounts.iter().flat_map(|account| &account.campaigns);
        for campaign in campaigns.filter(|campaign| campaign.id == campaign_id) {
            let adset = &campaign.adsets[0];
            ids = (adset.id, adset.ads[0].id);
        }
    });
    ids
}

#[tokio::test]
async fn live_check_of_invalid_token_skips_its_sources() {
    let api = Api::demo().await;
    let invalid = "  - { name: invalid, access_token_env: APP_SECRET, ad_accounts: [{ id: act_10150000000001101 }] }\n";
    let missing =
        "  - { name: missing, access_token_env: NOT_SET, ad_accounts: [{ id: act_1 }] }\n";
    let (code, live) = live(&api, &format!("{VALID_BUSINESS}{invalid}{missing}")).await;
    assert_eq!(code, Some(1));
    let failures = failures(&live);
    assert_eq!(failures.len(), 2, "{live:#}");
    assert_eq!(failures[0].0, "invalid: token");
    assert!(
        failures[0].1.contains("environment variable APP_SECRET"),
        "{failures:?}"
    );
    assert_eq!(failures[1].0, "missing: token");
    // Four for the valid business, one for the invalid token.
    assert_eq!(live["calls"], 5);
}

#[tokio::test]
async fn live_check_reports_version_permission_and_quota() {
    let api = Api::demo().await;
    api.inject_faults(&["version=v25.0", "usage=90"]);
    let forbidden =
        VALID_BUSINESS.replace("id: act_10150000000001101", "id: act_10150000000001201");
    let both = format!(
        "{VALID_BUSINESS}{}",
        forbidden.replace("name: aurora", "name: other")
    );
    let (code, live) = live(&api, &both).await;
    assert_eq!(code, Some(1));
    let failures = failures(&live).into_iter();
    let subjects: Vec<_> = failures.map(|(subject, _)| subject).collect();
    let expected = [
        "aurora: act_10150000000001101",
        "other: act_10150000000001201",
        "API version",
    ];
    assert_eq!(subjects, expected, "{live:#}");
}

#[tokio::test]
async fn live_check_reports_rejected_extra_field() {
    let api = Api::demo().await;
    let config = format!(
        "graph: {{ url: \"{}\" }}\ninsights: {{ extra_fields: [{{ field: marketing_messages_snet, metric: sent, kind: count }}] }}\nbusinesses:\n{VALID_BUSINESS}",
        api.simulator.url()
    );
    let arguments = ["check", "--live", "--output=json"];
    let (code, out, log) = Program::start(&config, &arguments).end().await;
    assert_eq!(code, Some(1), "{log:#?}");
    assert!(
        out.contains("rejects the fields marketing_messages_snet"),
        "{out}"
    );
}

#[tokio::test]
async fn live_check_warns_about_an_amount_in_several_currencies() {
    let api = Api::demo().await;
    let config = |own: &str| {
        format!(
            "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - name: both
    access_token_env: T
    thresholds: [{{ window: today, max_spend: 400, min_roas: 2 }}]
    ad_accounts:
      - {{ id: act_10150000000001101 }}
      - {{ id: act_10150000000001301{own} }}
",
            api.simulator.url()
        )
    };
    let arguments = ["check", "--live"];
    let warning = "both: thresholds of today: max_spend 400 applies to ad accounts in JPY, USD, without conversion; set it in each ad account";
    let (_, out, _) = Program::start(&config(""), &arguments).end().await;
    assert!(out.contains(warning), "{out}");
    assert!(!out.contains("min_roas"), "ratios have no currency: {out}");
    let own = ", thresholds: [{ window: today, max_spend: 60000 }]";
    let (_, out, _) = Program::start(&config(own), &arguments).end().await;
    assert!(!out.contains("without conversion"), "{out}");
}

#[tokio::test]
async fn live_check_prints_equal_failures_once() {
    let api = Api::demo().await;
    let business = |name: &str| {
        format!(
            "  - {{ name: {name}, access_token_env: NOT_SET, ad_accounts: [{{ id: act_1 }}] }}\n"
        )
    };
    let config = format!(
        "graph: {{ url: \"{}\" }}\nbusinesses:\n{}{}",
        api.simulator.url(),
        business("first"),
        business("second")
    );
    let (code, out, _) = Program::start(&config, &["check", "--live"]).end().await;
    assert_eq!(code, Some(1));
    assert!(
        out.contains("failed  first: token, second: token: "),
        "{out}"
    );
    assert_eq!(out.matches("failed  ").count(), 1, "{out}");
}

#[tokio::test]
async fn live_check_finds_the_mode_that_polls_use() {
    let api = Api::demo().await;
    for (fault, mode) in [
        ("rejected_param=time_ranges", "joined_time_range"),
        ("rejected_joined", "separate_time_ranges"),
    ] {
        api.inject_faults(&[fault]);
        let (code, report) = live(&api, VALID_BUSINESS).await;
        assert_eq!(code, Some(0), "{fault}: {report:#}");
        let message = format!("succeeded in mode {mode};");
        assert!(has_message(&report, &message), "{fault}: {report:#}");
    }
}

#[tokio::test]
async fn live_check_reports_each_query_that_fails() {
    let api = Api::demo().await;
    api.inject_faults(&["rejected=803@endpoint:insights"]);
    let (code, report) = live(&api, VALID_BUSINESS).await;
    assert_eq!(code, Some(1));
    let failures = failures(&report);
    let [(subject, _)] = failures.as_slice() else {
        panic!("equal failures should be reported once: {failures:?}");
    };
    assert_eq!(
        subject,
        "aurora: act_10150000000001101: insights, delivery query of window today"
    );
}

#[tokio::test]
async fn live_check_replaces_assumptions_of_the_estimate() {
    let api = Api::demo().await;
    let config = format!(
        "graph: {{ url: \"{}\" }}\nbusinesses:\n{VALID_BUSINESS}  - {{ name: all, access_token_env: AURORA_TOKEN, ad_accounts: all }}\n",
        api.simulator.url()
    );
    let (_, out, _) = Program::start(&config, &["check"]).end().await;
    let not_estimated = "ad accounts (ad_accounts: all): all; run check --live";
    assert!(out.contains(not_estimated), "{out}");
    let (_, out, _) = Program::start(&config, &["check", "--output=json"])
        .end()
        .await;
    let output: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        output["businesses_not_estimated"],
        serde_json::json!(["all"])
    );
    assert_eq!(output["sources"][0]["campaigns"], 500);
    let arguments = ["check", "--live", "--output=json"];
    let (code, out, log) = Program::start(&config, &arguments).end().await;
    assert_eq!(code, Some(0), "{out}{log:#?}");
    let output: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(output["businesses_not_estimated"], serde_json::json!([]));
    for source in output["sources"].as_array().unwrap() {
        assert_eq!(source["campaigns_known"], true, "{source:#}");
    }
    assert_eq!(output["sources"][0]["campaigns"], 3);
}

#[tokio::test]
async fn live_check_names_the_owner_of_a_campaign() {
    let api = Api::demo().await;
    let mut campaign = 0;
    api.simulator.update_world(|world| {
        campaign = world.accounts[1].campaigns[0].id;
    });
    let business = format!(
        "  - {{ name: aurora, access_token_env: T, ad_accounts: [{{ id: act_10150000000001101, campaigns: [\"{campaign}\"] }}] }}\n"
    );
    let (code, report) = live(&api, &business).await;
    assert_eq!(code, Some(1), "{report:#}");
    let failures = failures(&report);
    let expected = format!("campaign {campaign} does not belong to this ad account but to ");
    assert!(failures[0].1.starts_with(&expected), "{failures:?}");
}

#[tokio::test]
async fn live_check_of_a_closed_port_names_the_address() {
    // No server listens at this port.
    let config = format!("graph: {{ url: \"http://127.0.0.1:9\" }}\nbusinesses:\n{VALID_BUSINESS}");
    let (code, out, _) = Program::start(&config, &["check", "--live"]).end().await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("refused"), "{out}");
    assert!(out.contains("requests go to http://127.0.0.1:9 "), "{out}");
}
