//! `discover`: from a token to a config.

use marketing_messages_exporter::config::{Config, Document};
use marketing_messages_exporter::simulator::DEMO_TOKEN;

use crate::harness::Api;
use crate::process::Program;

/// Two businesses, the second with a token that is nobody's.
const TWO: &str = "businesses:
  - { name: aurora, access_token_env: AURORA_TOKEN, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nobody, access_token_env: APP_SECRET, ad_accounts: [{ id: act_1 }] }
";

/// The config that comes of pasting.
fn pasted(text: &str) -> Config {
    let document = Document {
        name: "pasted".to_owned(),
        text: format!("businesses:\n{text}"),
    };
    Config::parse(document, Vec::new()).unwrap_or_else(|all| panic!("{all}\n{text}"))
}

fn config(api: &Api, businesses: &str) -> String {
    format!(
        "graph: {{ url: \"{}\" }}\n{businesses}",
        api.simulator.url()
    )
}

#[tokio::test]
async fn who_has_only_a_token_gets_businesses_that_can_be_pasted() {
    let api = Api::demo().await;
    let url = format!("--graph.url={}", api.simulator.url());
    let arguments = [
        "discover",
        "--access-token-env=T",
        &url,
        "--config.file=there-is-none.yaml",
    ];
    let (code, out, log) = Program::bare(&arguments).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let config = pasted(&out);
    let accounts = &config.businesses[0].ad_accounts;
    assert_eq!(accounts.len(), 5, "{out}");
    assert!(accounts.iter().all(|account| account.only.is_empty()));
    for part in [
        "access_token_env: T\n",
        "- id: act_10150000000001101 # Aurora Outdoor, USD, America/Los_Angeles\n",
        "# ACTIVE: Spring restock: \"trail & summit\"\n",
        "# ACTIVE: عرض نهاية الأسبوع\n",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains("Prospecting"), "ordinary campaigns: {out}");
    assert!(!out.contains("Easter"), "archived ones: {out}");
    assert!(!out.contains(DEMO_TOKEN));
    assert_eq!(api.simulator.requests().len(), 6, "me, and each ad account");
    assert!(out.contains("# 6 calls to the API.\n"), "{out}");
}

#[tokio::test]
async fn campaigns_that_are_chosen_can_be_taken_out_of_their_comments() {
    let api = Api::demo().await;
    let (code, out, _) = Program::start(&config(&api, crate::process::BUSINESS), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(0));
    let chosen: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("campaigns:") || line.contains("Spring restock"))
        .filter(|line| !line.contains("All of its"))
        .take(2)
        .collect();
    let uncommented = chosen.join("\n").replace("        # ", "        ");
    let text = out.replacen(&chosen.join("\n"), &uncommented, 1);
    assert_eq!(pasted(&text).businesses[0].ad_accounts[0].only.len(), 1);
}

#[tokio::test]
async fn archived_campaigns_come_on_demand() {
    let api = Api::demo().await;
    let arguments = ["discover", "--archived"];
    let (code, out, _) = Program::start(&config(&api, crate::process::BUSINESS), &arguments)
        .end()
        .await;
    assert_eq!(code, Some(0));
    assert!(out.contains("# ARCHIVED: Easter eggs 🥚\n"), "{out}");
    pasted(&out);
}

#[tokio::test]
async fn a_token_that_fails_costs_its_own_business_alone() {
    let api = Api::demo().await;
    let (code, out, log) = Program::start(&config(&api, TWO), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(1));
    let config = pasted(&out);
    assert_eq!(config.businesses.len(), 1);
    assert_eq!(config.businesses[0].ad_accounts.len(), 2);
    assert!(
        out.contains("USD, America/Los_Angeles, in the config already\n"),
        "{out}"
    );
    assert!(out.contains("  # nobody: denied (code 190)"), "{out}");
    assert!(
        log.iter().any(|line| line.contains("business=nobody")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn an_ad_account_that_fails_is_named_and_the_others_are_listed() {
    let api = Api::demo().await;
    api.break_with(&["forbidden@act_10150000000001102&endpoint:campaigns"]);
    let one = TWO.lines().take(2).collect::<Vec<_>>().join("\n");
    let (code, out, _) = Program::start(&config(&api, &one), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(1));
    assert_eq!(pasted(&out).businesses[0].ad_accounts.len(), 1);
    assert!(
        out.contains("  # act_10150000000001102  Aurora Outlet"),
        "{out}"
    );
}

#[tokio::test]
async fn a_token_in_the_place_of_a_file_is_refused_and_not_shown() {
    let flag = format!("--access-token-file={DEMO_TOKEN}");
    let (code, out, log) = Program::bare(&["discover", &flag]).end().await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        log.iter().any(|line| line.contains("looks like a token")),
        "{log:#?}"
    );
    assert!(
        !log.iter().any(|line| line.contains(DEMO_TOKEN)),
        "{log:#?}"
    );
}
