//! `discover`: from an access token to a config.

use std::fs;

use graph_simulator::DEMO_TOKEN;
use marketing_messages_exporter::config::{Config, NamedDocument};

use crate::harness::Api;
use crate::process::Program;

/// Two businesses, of which the second has an invalid token.
const TWO_BUSINESSES: &str = "businesses:
  - { name: aurora, access_token_env: AURORA_TOKEN, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: invalid, access_token_env: APP_SECRET, ad_accounts: [{ id: act_1 }] }
";

/// Parses the output of `discover`, which is a complete config.
fn parse_config(text: &str) -> Config {
    let document = NamedDocument {
        name: "discovered".to_owned(),
        text: text.to_owned(),
    };
    Config::parse(document, Vec::new()).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn config(api: &Api, businesses: &str) -> String {
    format!(
        "graph: {{ url: \"{}\" }}\n{businesses}",
        api.simulator.url()
    )
}

#[tokio::test]
async fn discover_with_token_prints_complete_config() {
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
    let config = parse_config(&out);
    let accounts = &config.businesses[0].ad_accounts;
    assert_eq!(accounts.len(), 5, "{out}");
    assert_eq!(config.graph.url, api.simulator.url());
    assert!(accounts.iter().all(|account| account.campaigns.is_empty()));
    for text in [
        "access_token_env: T\n",
        "- id: act_10150000000001101 # Aurora Outdoor, USD, America/Los_Angeles\n",
        "# ACTIVE: Spring restock: \"trail & summit\"\n",
        "# ACTIVE: عرض نهاية الأسبوع\n",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    assert!(
        !out.contains("Prospecting"),
        "ordinary campaigns should be omitted: {out}"
    );
    assert!(
        !out.contains("Easter"),
        "archived campaigns should be omitted: {out}"
    );
    assert!(!out.contains(DEMO_TOKEN));
    // One request for the list of ad accounts, and one per ad account.
    let calls = 1 + accounts.len();
    assert_eq!(api.simulator.requests().len(), calls);
    assert!(out.contains(&format!("# API calls: {calls}\n")), "{out}");
}

#[tokio::test]
async fn discover_campaigns_can_be_uncommented() {
    let api = Api::demo().await;
    let (code, out, _) = Program::start(&config(&api, crate::process::BUSINESS), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(0));
    let selected: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("campaigns:") || line.contains("Spring restock"))
        .filter(|line| !line.contains("All of its"))
        .take(2)
        .collect();
    let uncommented = selected.join("\n").replace("        # ", "        ");
    let text = out.replacen(&selected.join("\n"), &uncommented, 1);
    assert_eq!(
        parse_config(&text).businesses[0].ad_accounts[0]
            .campaigns
            .len(),
        1
    );
}

#[tokio::test]
async fn discover_with_archived_flag_lists_archived_campaigns() {
    let api = Api::demo().await;
    let arguments = ["discover", "--archived"];
    let (code, out, _) = Program::start(&config(&api, crate::process::BUSINESS), &arguments)
        .end()
        .await;
    assert_eq!(code, Some(0));
    assert!(out.contains("# ARCHIVED: Easter eggs 🥚\n"), "{out}");
    parse_config(&out);
}

#[tokio::test]
async fn discover_invalid_token_affects_only_its_business() {
    let api = Api::demo().await;
    let (code, out, log) = Program::start(&config(&api, TWO_BUSINESSES), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(1));
    let config = parse_config(&out);
    assert_eq!(config.businesses.len(), 1);
    assert_eq!(config.businesses[0].ad_accounts.len(), 2);
    assert!(
        out.contains("USD, America/Los_Angeles, already in the config\n"),
        "{out}"
    );
    assert!(
        out.contains("  # invalid: unauthenticated (code 190)"),
        "{out}"
    );
    assert!(
        log.iter().any(|line| line.contains("business=invalid")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn discover_failed_ad_account_is_listed_as_comment() {
    let api = Api::demo().await;
    api.inject_faults(&["forbidden@act_10150000000001102&endpoint:campaigns"]);
    let one_business = TWO_BUSINESSES
        .lines()
        .take(2)
        .collect::<Vec<_>>()
        .join("\n");
    let (code, out, _) = Program::start(&config(&api, &one_business), &["discover"])
        .end()
        .await;
    assert_eq!(code, Some(1));
    assert_eq!(parse_config(&out).businesses[0].ad_accounts.len(), 1);
    assert!(
        out.contains("  # act_10150000000001102  Aurora Outlet"),
        "{out}"
    );
}

#[tokio::test]
async fn discover_token_as_path_is_refused_and_not_printed() {
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

#[tokio::test]
async fn discover_output_file_is_created_and_never_overwritten() {
    let api = Api::demo().await;
    let path = std::env::temp_dir().join(format!("mme-discover-{}.yaml", std::process::id()));
    let _ = fs::remove_file(&path);
    let url = format!("--graph.url={}", api.simulator.url());
    let file = format!("--output.file={}", path.display());
    let arguments = [
        "discover",
        "--access-token-env=T",
        "--app-id=1234567890",
        &url,
        &file,
    ];
    let (code, out, log) = Program::bare(&arguments).end().await;
    assert_eq!((code, out.as_str()), (Some(0), ""), "{log:#?}");
    let written = fs::read_to_string(&path).unwrap();
    let config = parse_config(&written);
    assert_eq!(
        config.graph.app.map(|app| app.id),
        Some("1234567890".to_owned())
    );
    let requests = api.simulator.requests().len();
    let (code, _, log) = Program::bare(&arguments).end().await;
    assert_eq!(code, Some(2));
    assert!(
        log.iter().any(|line| line.contains("not overwritten")),
        "{log:#?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    assert_eq!(
        api.simulator.requests().len(),
        requests,
        "no request should be sent"
    );
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn discover_works_with_a_config_without_sources() {
    let api = Api::demo().await;
    let config = config(
        &api,
        "businesses:\n  - { name: aurora, access_token_env: AURORA_TOKEN, app_id: 1234567890, app_secret_env: APP_SECRET }\n",
    );
    let (code, out, log) = Program::start(&config, &["discover"]).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let business = &parse_config(&out).businesses[0];
    assert_eq!(business.ad_accounts.len(), 2);
    assert!(
        business
            .app
            .as_ref()
            .is_some_and(|app| app.secret.is_some()),
        "{out}"
    );
}

#[tokio::test]
async fn discover_flag_without_effect_is_refused() {
    let flag = "--graph.url=http://127.0.0.1:9";
    let (code, _, log) = Program::start(crate::process::BUSINESS, &["discover", flag])
        .end()
        .await;
    assert_eq!(code, Some(2));
    assert!(
        log.iter()
            .any(|line| line.contains("--graph.url has no effect")),
        "{log:#?}"
    );
    let (code, _, log) =
        Program::bare(&["discover", "--access-token-env=T", "--graph.url=nowhere"])
            .end()
            .await;
    assert_eq!(code, Some(2));
    assert!(
        log.iter().any(|line| line.starts_with("--graph.url: ")),
        "{log:#?}"
    );
}
