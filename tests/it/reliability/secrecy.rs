//! Secrets: whatever goes wrong, none shows anywhere.

use std::collections::BTreeSet;
use std::time::Duration;

use marketing_messages_exporter::simulator::{App, KINDS, Token, World};
use serde_json::json;
use tokio::time::sleep;

use super::program::{Folder, Program};
use crate::canned::Canned;
use crate::harness::Api;

/// Everything that can go wrong; each strikes a business of its own.
const FAULTS: [&str; 48] = [
    "throttled",
    "throttled=4",
    "throttled=80000;minutes=7;strings",
    "throttled=613;silent",
    "denied",
    "denied=460",
    "denied=463",
    "denied=467",
    "denied=102",
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
];

/// Of this no part may show.
const TOKEN: &str = "EAASecretToken";
const APP_SECRET: &str = "hushhush";

/// A business, an app, a token and an ad account for each fault.
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
            sees: Some(vec![account.id]),
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

/// Every text that the exporter gives anybody.
async fn everything(folder: &Folder, program: &Program) -> Vec<(&'static str, String)> {
    let get = async |path: &str| program.visitor.get(path).await.text();
    vec![
        ("page", get("/metrics").await),
        ("landing page", get("/").await),
        ("readiness", get("/-/ready").await),
        ("health", get("/-/healthy").await),
        ("nothing", get("/nothing").await),
        (
            "reload",
            program.visitor.ask("POST", "/-/reload", "").await.text(),
        ),
        ("state file", folder.read("state")),
        ("standard output", folder.read("out")),
        ("log", program.log()),
    ]
}

fn assert_secret(said: &[(&'static str, String)], proofs: &BTreeSet<String>) {
    for (place, text) in said {
        let proofs = proofs.iter().map(String::as_str);
        for secret in [TOKEN, APP_SECRET].into_iter().chain(proofs) {
            if let Some(at) = text.find(secret) {
                let line = text[..at].lines().count();
                panic!(
                    "{place}, line {line}: {secret}: {}",
                    text[at..].lines().next().unwrap()
                );
            }
        }
    }
}

#[test]
fn secrecy_is_tested_with_every_kind_of_fault() {
    for (written, _) in KINDS {
        for kind in written.split(['[', ';', '=']).next().unwrap().split('|') {
            // A list without end takes a thousand calls to be given up.
            let driven = FAULTS
                .iter()
                .any(|fault| fault.split(['=', ';']).next() == Some(kind));
            assert!(driven || kind == "endless_pages", "{kind}");
        }
    }
}

#[tokio::test]
async fn secrecy_no_fault_makes_a_token_or_an_app_secret_show_at_the_most_talkative_log_level() {
    let api = Api::start(world()).await;
    let faults: Vec<String> = FAULTS
        .iter()
        .enumerate()
        .map(|(n, fault)| format!("{fault}@business:b{n}"))
        .collect();
    api.break_with(&faults.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = Folder::new();
    let good = config(&api.simulator.url(), &folder);
    folder.write("config.yaml", &good);
    let state = format!("--state.file={}", folder.path("state").display());
    let flags = [
        state.as_str(),
        "--log.level=trace",
        "--web.enable-lifecycle",
    ];
    // What other programs read from the environment must not make libraries talk.
    let loud = "export RUST_LOG=trace RUST_BACKTRACE=full; exec \"$0\" \"$@\"";
    let mut program = Program::start_with(&folder, &flags, loud).await;
    // A request that hangs is given up three times, after two seconds each.
    sleep(Duration::from_secs(8)).await;
    let page = program.visitor.page().await;
    let failed = page.all("exporter_poll_failures_total", &[]);
    let failed: BTreeSet<&str> = failed
        .iter()
        .filter(|count| count.value() > 0.0)
        .map(|count| count.label("reason"))
        .collect();
    assert_eq!(
        failed,
        [
            "denied",
            "forbidden",
            "garbled",
            "rejected",
            "throttled",
            "unavailable"
        ]
        .into()
    );
    // The complaint about a config names the line, which here holds a token.
    folder.write(
        "config.yaml",
        &format!("{good}\nacess_token: {TOKEN}\nbusineses: [{{ name: {TOKEN} }}]\n"),
    );
    let mut said = everything(&folder, &program).await;
    assert!(said[5].1.contains("this key is not known"), "{}", said[5].1);
    program.signal("TERM");
    assert!(program.ended().await.0.success());
    said.extend([
        ("log at the end", program.log()),
        ("state file at the end", folder.read("state")),
    ]);
    let requests = api.simulator.requests();
    let proofs: BTreeSet<String> = requests
        .iter()
        .filter_map(|r| r.param("appsecret_proof").map(str::to_owned))
        .collect();
    assert!(proofs.len() >= FAULTS.len() - 5, "{}", proofs.len());
    assert_secret(&said, &proofs);
    let log = program.log();
    assert!(log.lines().count() > 100 && log.contains("poll failed"));
    // In their details are addresses and headers.
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
    // But for the one question about tokens, no address had a secret.
    for request in requests
        .iter()
        .filter(|request| !request.path.ends_with("debug_token"))
    {
        assert!(!format!("{}{:?}", request.path, request.query).contains(TOKEN));
        assert_eq!(request.param("access_token"), None);
    }
}

#[tokio::test]
async fn secrecy_an_api_that_quotes_the_token_is_not_quoted() {
    let quoted = format!("Malformed access token {TOKEN}Number1 of app 1000|{APP_SECRET}1");
    let message = quoted.clone();
    let api = Canned::start(move |path, _| match path {
        // As an error, as an answer of the wrong shape, and as text in the place of rows.
        path if path.contains("9001") => {
            json!({"error": {"message": message, "type": "OAuthException", "code": 190}})
        }
        path if path.contains("9002") => json!({"data": message}),
        path if path.contains("9003") => {
            json!({"data": [{"id": {"is": message}}], "paging": message})
        }
        _ => json!(message),
    })
    .await;
    let folder = Folder::new();
    let accounts = [9001, 9002, 9003, 9004].map(|n| format!("- {{ name: b{n}, access_token_file: {}, app_id: \"1000\", app_secret_file: {}, ad_accounts: [{{ id: act_1015000000000{n} }}], campaigns: [{{ id: \"{n}7\" }}] }}\n",
        folder.write("token", &format!("{TOKEN}Number1")).display(),
        folder.write("secret", &format!("{APP_SECRET}1")).display(),
    ));
    folder.write(
        "config.yaml",
        &format!("graph: {{ url: \"{}\" }}\npolling: {{ interval: 200ms, backoff_max: 200ms }}\nbusinesses:\n{}", api.url(), accounts.concat()),
    );
    let state = format!("--state.file={}", folder.path("state").display());
    let mut program = Program::start(&folder, &[&state, "--log.level=trace"]).await;
    program.logs("Malformed access token [secret]").await;
    while program.visitor.get("/-/ready").await.status != 200 {
        sleep(Duration::from_millis(50)).await;
    }
    let mut said = everything(&folder, &program).await;
    program.signal("TERM");
    program.ended().await;
    said.extend([
        ("log at the end", program.log()),
        ("state file at the end", folder.read("state")),
    ]);
    assert!(said.iter().any(|(_, text)| text.contains("[secret]")));
    assert_secret(&said, &BTreeSet::new());
}
