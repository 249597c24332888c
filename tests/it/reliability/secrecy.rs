//! Secrecy: no error makes the exporter disclose a token or an app secret, in responses, files or logs.

use std::collections::BTreeSet;

use graph_simulator::{App, FAULT_KINDS, Token, World};

use super::program::{Folder, Program};
use crate::harness::Api;
use crate::page::Page;

/// Injected faults of every kind; each affects another business.
const FAULTS: [&str; 60] = [
    "throttled",
    "throttled=4",
    "throttled=80000;minutes=7;strings",
    "throttled=613;silent",
    "denied",
    "denied=460",
    "denied=463",
    "denied=467",
    "denied=102",
    "denied_html",
    "denied_text",
    "denied_form",
    "denied_twice",
    "forbidden",
    "forbidden=10",
    "forbidden=33",
    "rejected",
    "rejected=803",
    "rejected=3018",
    "rejected=2635",
    "rejected=9999",
    "rejected_field=marketing_messages_spend",
    "rejected_field=actions",
    "too_large=0",
    "too_large=0;code=1487534",
    "too_large=1;code=1504018",
    "unavailable=1",
    "unavailable=2",
    "unavailable=104",
    "unavailable=960",
    "unavailable=500",
    "unavailable=503",
    "reset",
    "hang",
    "slow=50",
    "cut",
    "empty",
    "html",
    "error_in_200",
    "deep",
    "huge=40",
    "shape",
    "figures=NaN",
    "figures=object",
    "no_ids",
    "no_dates",
    "other_dates",
    "mixed_attribution",
    "version=v25.0",
    "usage=96;minutes=1",
    "development",
    "repeating_cursor",
    "rejected_param=time_ranges",
    "rejected_joined",
    "doubled_range",
    "dropped_range",
    "refused_actions_of=120",
    "rejected_expansion",
    "rejected_status=DELETED",
    "empty_list",
];

/// Prefix of all tokens, which must not appear in any output.
pub(super) const TOKEN: &str = "EAASecretToken";
/// Prefix of all app secrets.
pub(super) const APP_SECRET: &str = "hushhushhushhush";

/// Returns a world with a business, an app, a token and an ad account for each fault.
fn world() -> World {
    let mut world = World::with_campaigns(2, 1);
    let template = world.accounts.remove(0);
    world.apps.clear();
    world.tokens.clear();
    for number in 0..FAULTS.len() as u64 {
        let mut account = template.clone();
        account.id += number;
        for campaign in &mut account.campaigns {
            campaign.id += number * 10_000_000;
            for adset in &mut campaign.adsets {
                adset.id += number * 10_000_000;
                adset
                    .ads
                    .iter_mut()
                    .for_each(|ad| ad.id += number * 10_000_000);
            }
        }
        world.apps.push(App {
            id: format!("{}", 1_000 + number),
            secret: format!("{APP_SECRET}{number}"),
            requires_proof: true,
        });
        world.tokens.push(Token {
            text: format!("{TOKEN}Number{number}"),
            business: format!("b{number}"),
            app: format!("{}", 1_000 + number),
            expires_at: 1_900_000_000,
            data_access_expires_at: 0,
            visible_accounts: Some(vec![account.id]),
        });
        world.accounts.push(account);
    }
    world
}

fn config(url: &str, folder: &Folder) -> String {
    let mut text = format!(
        "graph: {{ url: \"{url}\", timeout: 2s }}
polling: {{ interval: 1s, backoff_max: 1s, concurrency: 200 }}
windows: [{{ name: today, date_preset: today }}, {{ name: launch, time_range: {{ since: 2026-10-01, until: 2026-11-20 }} }}]
businesses:
"
    );
    for number in 0..FAULTS.len() {
        let token = folder.write(
            &format!("token{number}"),
            &format!("{TOKEN}Number{number}\n"),
        );
        let secret = folder.write(
            &format!("secret{number}"),
            &format!("{APP_SECRET}{number}\n"),
        );
        text += &format!(
            "  - {{ name: b{number}, access_token_file: {}, app_id: \"{}\", app_secret_file: {}, ad_accounts: [{{ id: act_{} }}] }}\n",
            token.display(),
            1_000 + number,
            secret.display(),
            10_150_000_000_009_001_u64 + number as u64,
        );
    }
    text
}

/// Returns all outputs of the exporter, with their names. Each line of `headers`, those of all requests, ends with CRLF.
pub(super) async fn read_outputs(
    folder: &Folder,
    program: &Program,
    headers: &str,
) -> Vec<(&'static str, String)> {
    let request = async |method: &str, path: &str| {
        let response = program.visitor.request(method, path, headers).await;
        response.head.clone() + &response.text()
    };
    let get = async |path: &str| request("GET", path).await;
    vec![
        ("page", get("/metrics").await),
        ("landing page", get("/").await),
        ("status", get("/api/status").await),
        ("readiness", get("/-/ready").await),
        ("health", get("/-/healthy").await),
        ("not found", get("/nothing").await),
        ("reload", request("POST", "/-/reload").await),
        ("state file", folder.read("state")),
        ("standard output", folder.read("out")),
        ("log", program.log()),
    ]
}

/// Asserts that no output contains a token, an app secret, or another of the secrets.
pub(super) fn assert_no_secrets(outputs: &[(&'static str, String)], others: &BTreeSet<String>) {
    for (name, text) in outputs {
        let others = others.iter().map(String::as_str);
        for secret in [TOKEN, APP_SECRET].into_iter().chain(others) {
            if let Some(offset) = text.find(secret) {
                let line = text[..offset].lines().count();
                panic!(
                    "{name}, line {line} should not contain {secret}: {}",
                    text[offset..].lines().next().unwrap()
                );
            }
        }
    }
}

#[test]
fn every_fault_kind_is_tested() {
    for (syntax, _) in FAULT_KINDS {
        for kind in syntax.split(['[', ';', '=']).next().unwrap().split('|') {
            // An endless list is not tested, because the exporter gives up only after a thousand calls.
            let is_tested = FAULTS
                .iter()
                .any(|fault| fault.split(['=', ';']).next() == Some(kind));
            assert!(
                is_tested || kind == "endless_pages",
                "{kind} should be tested"
            );
        }
    }
}

#[tokio::test]
async fn no_fault_discloses_a_secret_at_log_level_trace() {
    let api = Api::start(world()).await;
    let faults: Vec<String> = FAULTS
        .iter()
        .enumerate()
        .map(|(n, fault)| format!("{fault}@business:b{n}"))
        .collect();
    api.inject_faults(&faults.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = Folder::new();
    let valid = config(&api.simulator.url(), &folder);
    folder.write("config.yaml", &valid);
    let state = format!("--state.file={}", folder.path("state").display());
    let flags = [
        state.as_str(),
        "--log.level=trace",
        "--web.enable-lifecycle",
    ];
    // These environment variables must not enable log messages of libraries.
    let script = "export RUST_LOG=trace RUST_BACKTRACE=full; exec \"$0\" \"$@\"";
    let mut program = Program::start_with(&folder, &flags, script).await;
    let reasons: BTreeSet<&str> = [
        "forbidden",
        "invalid_response",
        "rejected",
        "throttled",
        "unauthenticated",
        "unavailable",
    ]
    .into();
    let has_polled_all = |page: &Page| {
        let failed = page.all("exporter_poll_failures_total", &[]);
        let failed: BTreeSet<&str> = failed
            .iter()
            .filter(|count| count.value() > 0.0)
            .map(|count| count.label("reason"))
            .collect();
        let polls = page.all("exporter_polls_total", &[]);
        assert!(!failed.contains("panicked"));
        reasons.is_subset(&failed) && polls.iter().all(|count| count.value() > 0.0)
    };
    program.visitor.page_when(has_polled_all).await;
    // The config errors refer to lines that contain a token.
    folder.write(
        "config.yaml",
        &format!("{valid}\nacess_token: {TOKEN}\nbusineses: [{{ name: {TOKEN} }}]\n"),
    );
    let mut outputs = read_outputs(&folder, &program, "").await;
    let (_, reload) = &outputs[6];
    assert!(reload.contains("unknown key"), "{reload}");
    program.signal("TERM");
    assert!(program.ended().await.success());
    outputs.extend([
        ("log at the end", program.log()),
        ("state file at the end", folder.read("state")),
    ]);
    let requests = api.simulator.requests();
    let proofs: BTreeSet<String> = requests
        .iter()
        .filter_map(|r| r.param("appsecret_proof").map(str::to_owned))
        .collect();
    assert!(proofs.len() >= FAULTS.len() - 5, "{}", proofs.len());
    assert_no_secrets(&outputs, &proofs);
    let log = program.log();
    assert!(log.lines().count() > 100 && log.contains("poll failed"));
    // Debug messages of these libraries contain URLs and headers.
    for library in [
        "hyper",
        "reqwest",
        "rustls",
        "h2::",
        "authorization",
        "starting new connection",
    ] {
        assert!(!log.to_lowercase().contains(library), "{library}");
    }
    // No URL contains a token, except those of `debug_token`, which requires it.
    for request in requests
        .iter()
        .filter(|request| !request.path.ends_with("debug_token"))
    {
        assert!(!format!("{}{:?}", request.path, request.query).contains(TOKEN));
        assert_eq!(request.param("access_token"), None);
    }
}
