//! `check --live`: what the API says, and what to do about it.

use serde_json::Value;

use crate::harness::Api;
use crate::process::Program;

/// An ad account of Aurora's whose token is good, with the app that it is of.
const GOOD: &str = "  - { name: aurora, access_token_env: AURORA_TOKEN, ad_accounts: [{ id: act_10150000000001101 }] }\n";

async fn live(api: &Api, businesses: &str) -> (Option<i32>, Value) {
    let config = format!(
        "graph: {{ url: \"{}\", app_id: \"1234567890\", app_secret_env: APP_SECRET }}\nbusinesses:\n{businesses}",
        api.simulator.url()
    );
    let arguments = ["check", "--live", "--output=json"];
    let (code, out, log) = Program::start(&config, &arguments).end().await;
    let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{log:#?}"));
    (code, told["live"].clone())
}

/// What is not fine: about what, and what to do.
fn bad(live: &Value) -> Vec<(String, String)> {
    let findings = live["findings"].as_array().unwrap().iter();
    let bad = findings.filter(|finding| finding["fine"] == false);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    bad.map(|finding| (text(&finding["about"]), text(&finding["remedy"])))
        .collect()
}

fn says(live: &Value, words: &str) -> bool {
    let findings = live["findings"].as_array().unwrap();
    findings
        .iter()
        .any(|finding| finding["says"].as_str().unwrap().contains(words))
}

#[tokio::test]
async fn all_is_well_in_four_calls() {
    let api = Api::demo().await;
    let (code, live) = live(&api, GOOD).await;
    assert_eq!(bad(&live), []);
    assert_eq!(code, Some(0));
    for words in [
        "valid, never expires, app 1234567890, scopes ads_read, ads_management",
        "ad account \"Aurora Outdoor\", USD, America/Los_Angeles; 3 message campaigns; insights answered; standard_access",
        "v26.0 asked, v26.0 answered",
        "0 s ahead",
    ] {
        assert!(says(&live, words), "{words}: {live:#}");
    }
    // The token, the ad account, its campaigns, insights.
    assert_eq!(live["calls"], 4);
    assert_eq!(api.simulator.requests().len(), 4);
}

#[tokio::test]
async fn what_stands_behind_the_id_of_a_campaign_is_told() {
    let api = Api::demo().await;
    let ids = {
        let answer = Program::start(
            &format!(
                "graph: {{ url: \"{}\" }}\nbusinesses:\n{GOOD}",
                api.simulator.url()
            ),
            &["discover"],
        );
        answer.end().await.1
    };
    let campaign = ids.split("- \"").nth(1).unwrap().split('"').next().unwrap();
    let number: u64 = campaign.parse().unwrap();
    let of = |id: u64| {
        format!(
            "  - {{ name: aurora, access_token_env: AURORA_TOKEN, campaigns: [{{ id: \"{id}\" }}] }}\n"
        )
    };
    let (code, found) = live(&api, &of(number)).await;
    assert_eq!(code, Some(0), "{found:#}");
    assert!(says(&found, "campaign \"Spring restock"), "{found:#}");
    let (code, found) = live(&api, &of(1)).await;
    assert_eq!(code, Some(1));
    assert_eq!(bad(&found).len(), 1, "{found:#}");
    let (adset, ad) = parts(&api, campaign).await;
    let (code, found) = live(&api, &of(adset)).await;
    assert_eq!(code, Some(1));
    assert!(says(&found, "ad set \""), "{found:#}");
    assert_eq!(
        bad(&found)[0].1,
        format!("write the campaign's id instead: {campaign}")
    );
    let (code, found) = live(&api, &of(ad)).await;
    assert_eq!(code, Some(0), "{found:#}");
    assert!(says(&found, "ad \""), "{found:#}");
}

/// The first ad set and ad of a campaign.
async fn parts(api: &Api, campaign: &str) -> (u64, u64) {
    let mut found = (0, 0);
    api.simulator.update_world(|world| {
        let campaigns = world.accounts.iter().flat_map(|account| &account.campaigns);
        for own in campaigns.filter(|own| own.id.to_string() == campaign) {
            found = (own.adsets[0].id, own.adsets[0].ads[0].id);
        }
    });
    found
}

#[tokio::test]
async fn a_dead_token_is_told_with_its_remedy_and_its_sources_are_not_asked() {
    let api = Api::demo().await;
    let nobody = "  - { name: nobody, access_token_env: APP_SECRET, ad_accounts: [{ id: act_10150000000001101 }] }\n";
    let none = "  - { name: none, access_token_env: NOT_SET, ad_accounts: [{ id: act_1 }] }\n";
    let (code, live) = live(&api, &format!("{GOOD}{nobody}{none}")).await;
    assert_eq!(code, Some(1));
    let bad = bad(&live);
    assert_eq!(bad.len(), 2, "{live:#}");
    assert_eq!(bad[0].0, "nobody: token");
    assert!(bad[0].1.contains("environment variable APP_SECRET"));
    assert_eq!(bad[1].0, "none: token");
    assert_eq!(live["calls"], 5);
}

#[tokio::test]
async fn an_old_version_a_strange_account_and_a_spent_quota_are_not_fine() {
    let api = Api::demo().await;
    api.break_with(&["version=v25.0", "usage=90"]);
    let strange = GOOD.replace("id: act_10150000000001101", "id: act_10150000000001201");
    let both = format!("{GOOD}{}", strange.replace("name: aurora", "name: other"));
    let (code, live) = live(&api, &both).await;
    assert_eq!(code, Some(1));
    let about: Vec<_> = bad(&live).into_iter().map(|(about, _)| about).collect();
    let expected = [
        "aurora: act_10150000000001101",
        "other: act_10150000000001201",
        "API version",
    ];
    assert_eq!(about, expected, "{live:#}");
}
