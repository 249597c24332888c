//! Outages: early retries, single probes in place of all polls, and recovery.
//!
//! Hours pass in seconds on tokio's paused clock. It is advanced in steps, with real time in between for the sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::pass;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

const HOUR: Duration = Duration::from_secs(3600);

/// Probes of an outage, one every five minutes.
const MAX_PROBES_AN_HOUR: usize = 12;

/// Calls of an ad account until its breaker opens: two polls, each with three attempts of discovery in two forms, and of
/// insights in two.
const MAX_CALLS_BEFORE_OPEN: usize = 24;

const SECOND: Duration = Duration::from_secs(1);

/// A scripted API that can be switched off, and the times of its requests.
struct SwitchedApi {
    server: ScriptedServer,
    is_up: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl SwitchedApi {
    async fn start(is_up: bool) -> Self {
        let is_up = Arc::new(AtomicBool::new(is_up));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (flag, log) = (Arc::clone(&is_up), Arc::clone(&calls));
        let server = ScriptedServer::start(move |path, _| {
            log.lock().unwrap().push((Instant::now(), path.to_owned()));
            if !flag.load(Ordering::Relaxed) {
                return ScriptedResponse::with_status(503, "Service Unavailable");
            }
            let number = path.trim_start_matches(|char: char| !char.is_ascii_digit());
            let body = if path.ends_with("/campaigns") {
                let id: String = path.chars().filter(char::is_ascii_digit).collect();
                json!({"data": [{
                    "id": format!("12{id}"), "name": "c", "effective_status": "ACTIVE",
                    "objective": "OUTCOME_ENGAGEMENT", "is_message_campaign": true,
                }]})
            } else if path.ends_with("/insights") || path.ends_with("/adsets") {
                json!({"data": []})
            } else {
                json!({"account_id": number, "name": "n", "currency": "EUR", "timezone_name": "UTC"})
            };
            body.into()
        })
        .await;
        Self {
            server,
            is_up,
            calls,
        }
    }

    fn switch(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Returns the times of requests of insights since `start`, with the paths.
    fn insights_since(&self, start: Instant) -> Vec<(Instant, String)> {
        let calls = self.calls.lock().unwrap();
        let since = calls.iter().filter(|(at, _)| *at >= start);
        since
            .filter(|(_, path)| path.ends_with("/insights"))
            .cloned()
            .collect()
    }

    fn calls_between(&self, start: Instant, end: Instant) -> usize {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|(at, _)| (start..end).contains(at))
            .count()
    }

    async fn pass(&self, duration: Duration, step: Duration) {
        pass(duration, step, || self.calls.lock().unwrap().len()).await;
    }

    /// Returns the calls of the next hour.
    async fn calls_in_an_hour(&self, step: Duration) -> usize {
        let start = Instant::now();
        self.pass(HOUR, step).await;
        self.calls_between(start, start + HOUR)
    }
}

/// Returns a config with default intervals. `businesses` contains the number of ad accounts of each.
fn config(businesses: &[usize]) -> String {
    let mut config = "graph: { timeout: 10h }\nbusinesses:\n".to_owned();
    let mut number = 1000;
    for (idx, accounts) in businesses.iter().enumerate() {
        let ids = (0..*accounts).map(|offset| format!("{{ id: act_{} }}", number + offset));
        let ids: Vec<String> = ids.collect();
        number += accounts;
        config += &format!(
            "  - {{ name: b{idx}, access_token_env: T, ad_accounts: [{}] }}\n",
            ids.join(", ")
        );
    }
    config
}

async fn check_outage(businesses: &[usize]) {
    let accounts: usize = businesses.iter().sum();
    let api = SwitchedApi::start(true).await;
    let exporter = api.server.exporter(&config(businesses)).await;
    // After the polls of the start, the next ones are at most one and a half intervals away.
    api.pass(HOUR / 2, SECOND).await;
    let start = Instant::now();
    api.pass(HOUR / 2, SECOND).await;
    let healthy = 2 * api.calls_between(start, Instant::now());
    assert!(healthy >= 4 * accounts, "{healthy} calls");
    api.switch(false);
    // A request and its repetitions take several steps, so the steps are short until the breakers are open.
    let first = api.calls_in_an_hour(SECOND).await;
    let second = api.calls_in_an_hour(5 * SECOND).await;
    assert!(
        first < accounts * MAX_CALLS_BEFORE_OPEN && second <= MAX_PROBES_AN_HOUR.max(healthy / 10),
        "{healthy} calls an hour, then {first} and {second} in the outage"
    );
    api.switch(true);
    let restored = Instant::now();
    while api.insights_since(restored).is_empty() {
        api.pass(SECOND, SECOND).await;
        assert!(restored.elapsed() < HOUR, "the outage should end");
    }
    api.pass(130 * SECOND, SECOND / 5).await;
    let calls = api.insights_since(restored);
    let probed = calls.first().expect("the outage should end").0;
    assert!(
        probed - restored <= Duration::from_secs(6 * 60),
        "the API should be probed every 5 minutes: {:?}",
        probed - restored
    );
    let mut polled: Vec<&str> = calls
        .iter()
        .filter(|(at, _)| *at - probed <= Duration::from_secs(120))
        .map(|(_, path)| path.as_str())
        .collect();
    polled.sort_unstable();
    polled.dedup();
    assert_eq!(
        polled.len(),
        accounts,
        "all ad accounts should be polled within two minutes of the first response"
    );
    exporter.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outage_of_40_ad_accounts_costs_a_tenth_of_the_calls() {
    check_outage(&[10; 4]).await;
}

#[tokio::test(start_paused = true)]
async fn outage_of_many_businesses_costs_a_tenth_of_the_calls() {
    check_outage(&[1; 12]).await;
}

#[tokio::test(start_paused = true)]
async fn first_polls_are_repeated_after_30_seconds() {
    let api = SwitchedApi::start(false).await;
    let exporter = api.server.exporter(&config(&[1])).await;
    api.pass(10 * SECOND, SECOND / 5).await;
    let tried = api.calls.lock().unwrap().len();
    assert!((1..=6).contains(&tried), "{tried} calls");
    api.switch(true);
    let restored = Instant::now();
    api.pass(60 * SECOND, SECOND / 5).await;
    let calls = api.insights_since(restored);
    assert!(!calls.is_empty(), "the source should be polled again");
    exporter.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rejected_polls_become_rare() {
    let server = ScriptedServer::start(|path, _| match path.ends_with("/insights") {
        true => ScriptedResponse::with_status(
            400,
            r##"{"error":{"code":3018,"message":"(#3018) The start date is too early"}}"##,
        ),
        false if path.ends_with("/campaigns") => json!({"data": [{
            "id": "12", "name": "c", "effective_status": "ACTIVE", "is_message_campaign": true,
        }]})
        .into(),
        false if path.ends_with("/adsets") => json!({"data": []}).into(),
        false => json!({"account_id": "1000", "timezone_name": "UTC"}).into(),
    })
    .await;
    let _exporter = server.exporter(&config(&[1])).await;
    let insights = || {
        let requests = server.requests();
        let insights = requests
            .iter()
            .filter(|(path, _)| path.ends_with("/insights"));
        insights.count()
    };
    let request_count = || server.request_count();
    pass(HOUR / 60, SECOND / 2, request_count).await;
    pass(3 * HOUR, 10 * SECOND, request_count).await;
    let before = insights();
    pass(4 * HOUR, 10 * SECOND, request_count).await;
    let calls = insights() - before;
    // Two windows every two hours.
    assert!((1..=6).contains(&calls), "{calls} calls in four hours");
}
