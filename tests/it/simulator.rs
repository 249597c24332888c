//! The simulator over a real socket, with requests and responses as plain text, independent of an HTTP client.

use std::sync::Arc;
use std::time::Duration;

use graph_simulator::{DEMO_TOKEN, FAULT_KINDS, Fault, Simulator, World};
use jiff::Timestamp;
use jiff::civil::date;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A Monday, 12:30 in Berlin.
const NOW: &str = "2026-11-23T11:30:00Z";
/// Duration after which a call without a response counts as hanging.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1500);
/// An ad account in the time zone of Berlin.
const ACCOUNT: &str = "act_10150000000001201";
/// A message campaign of this ad account.
const CAMPAIGN: &str = "120210000000031000";
const PURCHASE: &str = "offsite_conversion.fb_pixel_purchase";

/// A parsed HTTP response.
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Returns status, code and subcode of an error.
    fn error(&self) -> (u16, u64, Option<u64>) {
        let error = &self.json()["error"];
        (
            self.status,
            error["code"].as_u64().unwrap(),
            error["error_subcode"].as_u64(),
        )
    }
}

async fn start_demo() -> Simulator {
    start(World::demo()).await
}

async fn start(world: World) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let now: Timestamp = NOW.parse().unwrap();
    Simulator::start(listener, world, Arc::new(move || now))
        .await
        .unwrap()
}

/// Sends a request and reads until the connection is closed. Returns `None` after `RESPONSE_TIMEOUT`.
async fn exchange(simulator: &Simulator, request: String) -> Option<String> {
    let response = async {
        let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    };
    tokio::time::timeout(RESPONSE_TIMEOUT, response).await.ok()
}

async fn send(
    simulator: &Simulator,
    method: &str,
    target: &str,
    token: &str,
    body: &str,
) -> Response {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: simulator\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let text = exchange(simulator, request).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Response {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn get(simulator: &Simulator, target: &str) -> Response {
    send(
        simulator,
        "GET",
        &format!("/v27.0/{target}"),
        DEMO_TOKEN,
        "",
    )
    .await
}

fn set_fault(simulator: &Simulator, fault: &str) {
    simulator.set_faults(vec![Fault::parse(fault).unwrap()]);
}

#[tokio::test]
async fn insights_equal_the_expected_totals() {
    let simulator = start_demo().await;
    let query = "insights?fields=marketing_messages_delivered,marketing_messages_spend,actions,website_purchase_roas\
                 &time_range=%7B'since':'2026-11-01','until':'2026-11-23'%7D&action_breakdowns=action_type\
                 &filtering=%5B%7B'field':'action_type','operator':'IN','value':%5B'offsite_conversion.fb_pixel_purchase'%5D%7D%5D";
    let response = get(&simulator, &format!("{CAMPAIGN}/{query}")).await;
    let now = NOW.parse().unwrap();
    let expected = simulator
        .expected_totals(CAMPAIGN, date(2026, 11, 1), date(2026, 11, 23), now)
        .unwrap();
    let row = &response.json()["data"][0];
    assert_eq!(
        row["marketing_messages_delivered"],
        expected.values["marketing_messages_delivered"]
    );
    assert_eq!(
        row["marketing_messages_spend"],
        expected.values["marketing_messages_spend"]
    );
    let purchases =
        json!([{"action_type": PURCHASE, "value": expected.lists["actions"][PURCHASE]}]);
    assert_eq!(row["actions"], purchases);
    assert_eq!(
        expected.lists["actions"]["omni_purchase"],
        expected.lists["actions"][PURCHASE]
    );
    assert_eq!(row["date_start"], "2026-11-01");
    assert_eq!(row["date_stop"], "2026-11-23");
    assert_eq!(row.get("spend"), None);
    assert_eq!(response.header("facebook-api-version"), Some("v27.0"));
    let throttle = response.header("x-fb-ads-insights-throttle").unwrap();
    assert!(throttle.contains("standard_access"), "{throttle}");
    let logged = &simulator.requests()[0];
    assert_eq!(logged.param("action_breakdowns"), Some("action_type"));
    assert_eq!(
        (logged.status, logged.business.as_deref()),
        (200, Some("everyone"))
    );
}

#[tokio::test]
async fn special_campaigns_have_their_documented_rows() {
    let simulator = start_demo().await;
    let fields = "fields=campaign_id,spend,marketing_messages_delivered,marketing_messages_delivery_rate,attribution_setting,actions";
    let rows = get(
        &simulator,
        &format!("{ACCOUNT}/insights?level=campaign&{fields}"),
    )
    .await
    .json();
    let row = |number: &str| {
        let id = format!("1202100000000{number}000");
        let mut rows = rows["data"].as_array().unwrap().iter();
        rows.find(|row| row["campaign_id"] == id)
            .cloned()
            .unwrap_or_default()
    };
    assert!(row("31")["actions"].is_array());
    // The ad sets have different attribution settings.
    assert_eq!(row("33")["attribution_setting"], "multiple");
    assert_eq!(row("33").get("actions"), None);
    // Ended before the range.
    assert_eq!(row("34"), Value::Null);
    // Created before March 2026: the row covers the whole lifetime.
    assert_eq!(row("35")["date_start"], "2025-11-03");
    assert_eq!(row("35")["date_stop"], "2026-11-23");
    // Not a message campaign.
    assert_eq!(row("36")["marketing_messages_delivered"], "0");
    assert_ne!(row("36")["spend"], "0");
    let adsets = get(
        &simulator,
        &format!("120210000000033000/insights?level=adset&{fields}"),
    )
    .await
    .json();
    for row in adsets["data"].as_array().unwrap() {
        assert!(row["actions"].is_array(), "{row}");
    }
    let direct_send = get(&simulator, &format!("120210000000043000/insights?{fields}"))
        .await
        .json();
    assert_eq!(
        direct_send["data"][0]["marketing_messages_delivery_rate"],
        "0"
    );
    let ended = get(&simulator, &format!("120210000000034000/insights?{fields}"))
        .await
        .json();
    assert_eq!(ended, json!({"data": []}));
}

#[tokio::test]
async fn node_has_the_requested_fields_and_the_id() {
    let simulator = start_demo().await;
    let fields =
        "fields=campaign%7Bname%7D,adset%7Bpromoted_object%7Bpixel_id%7D,daily_budget%7D,creative";
    let ad = get(&simulator, &format!("120210000000031101?{fields}")).await;
    let expected = json!({
        "id": "120210000000031101",
        "campaign": {"id": CAMPAIGN, "name": "Herbstaktion „Licht an!“"},
        "adset": {
            "id": "120210000000031100",
            "daily_budget": "342000",
            "promoted_object": {"pixel_id": "17172857142861571"},
        },
        "creative": {"id": "120210000000031108"},
    });
    assert_eq!(ad.json(), expected);
    let fields = "fields=created_time,stop_time,daily_budget,adsets.limit(1)%7Bname%7D";
    let ended = get(&simulator, &format!("120210000000034000?{fields}")).await;
    let expected = json!({
        "id": "120210000000034000",
        "created_time": "2026-06-15T11:49:54+0200",
        "stop_time": "2026-09-01T00:00:00+0200",
        "adsets": {
            "data": [{"id": "120210000000034100", "name": "Subscribers"}],
            "paging": {"cursors": {"before": "MAZDZD", "after": "MAZDZD"}},
        },
    });
    assert_eq!(ended.json(), expected);
}

#[tokio::test]
async fn archived_campaigns_are_listed_only_by_status() {
    let simulator = start_demo().await;
    let path = "act_10150000000001101/campaigns?fields=effective_status,name&limit=100";
    let default = get(&simulator, path).await.json();
    let with_archived = get(
        &simulator,
        &format!("{path}&effective_status=%5B%22ACTIVE%22,%22ARCHIVED%22%5D"),
    )
    .await;
    let count = |body: &Value| body["data"].as_array().unwrap().len();
    assert_eq!(count(&with_archived.json()), count(&default) + 1);
}

#[tokio::test]
async fn invalid_calls_are_rejected_with_meta_s_errors() {
    let simulator = start_demo().await;
    for (target, error) in [
        (
            format!("{CAMPAIGN}/insights?fields=spend,foo"),
            (400, 100, None),
        ),
        (
            format!("{CAMPAIGN}/insights?date_preset=lifetime"),
            (400, 100, None),
        ),
        (
            format!("{CAMPAIGN}/insights?level=account"),
            (500, 1, Some(99)),
        ),
        (
            format!("{CAMPAIGN}/insights?fields=spend&action_breakdowns=action_type"),
            (400, 100, None),
        ),
        (format!("{CAMPAIGN}/insights?after=xyz"), (400, 2642, None)),
        (
            format!(
                "{CAMPAIGN}/insights?time_range=%7B'since':'2020-01-01','until':'2020-01-02'%7D"
            ),
            (400, 3018, None),
        ),
        (format!("{CAMPAIGN}/nothing"), (400, 2500, None)),
        ("120219999999999999".to_owned(), (400, 100, Some(33))),
        (
            "120210000000031101?fields=objective".to_owned(),
            (400, 100, None),
        ),
    ] {
        assert_eq!(get(&simulator, &target).await.error(), error, "{target}");
    }
    let unknown_field = get(&simulator, &format!("{CAMPAIGN}/insights?fields=foo")).await;
    assert!(
        unknown_field
            .body
            .contains("(#100) foo is not valid for fields param."),
        "{}",
        unknown_field.body
    );
    let nordlicht = "EAASimulatedTokenOfNordlicht";
    let other_account = "/v27.0/act_10150000000001101?fields=name";
    let invisible = send(&simulator, "GET", other_account, nordlicht, "").await;
    assert_eq!(invisible.error(), (400, 100, Some(33)));
    let unknown = send(&simulator, "GET", other_account, "unknown", "").await;
    assert_eq!(unknown.error(), (400, 190, None));
    assert!(unknown.header("www-authenticate").is_some());
}

#[tokio::test]
async fn next_url_has_the_token_only_if_it_was_a_parameter() {
    let simulator = start_demo().await;
    let path = format!("{ACCOUNT}/campaigns?limit=2");
    let next = |response: &Response| {
        response.json()["paging"]["next"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(!next(&get(&simulator, &path).await).contains(DEMO_TOKEN));
    let request = format!(
        "GET /v27.0/{path}&access_token={DEMO_TOKEN} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    );
    let response = exchange(&simulator, request).await.unwrap();
    let next =
        format!("http://h/v27.0/{ACCOUNT}/campaigns?limit=2&access_token={DEMO_TOKEN}&after=");
    assert!(response.contains(&next), "{response}");
}

#[tokio::test]
async fn paging_returns_each_campaign_once() {
    const MESSAGE_CAMPAIGNS: usize = 1200;
    const OTHER_CAMPAIGNS: usize = 300;
    const ROWS_PER_PAGE: usize = 400;
    let campaigns = MESSAGE_CAMPAIGNS + OTHER_CAMPAIGNS;
    let simulator = start(World::with_campaigns(MESSAGE_CAMPAIGNS, OTHER_CAMPAIGNS)).await;
    let mut after = String::new();
    let mut ids = std::collections::BTreeSet::new();
    for calls in 1.. {
        let path = format!(
            "act_10150000000009001/insights?level=campaign&fields=campaign_id&limit={ROWS_PER_PAGE}{after}"
        );
        let body = get(&simulator, &path).await.json();
        for row in body["data"].as_array().unwrap() {
            assert!(ids.insert(row["campaign_id"].to_string()), "{row}");
        }
        if body["paging"]["next"].is_null() {
            assert_eq!(calls, campaigns.div_ceil(ROWS_PER_PAGE));
            break;
        }
        after = format!(
            "&after={}",
            body["paging"]["cursors"]["after"].as_str().unwrap()
        );
    }
    assert_eq!(ids.len(), campaigns);
}

#[tokio::test]
async fn development_access_is_blocked_after_60_reads() {
    let simulator = start_demo().await;
    set_fault(&simulator, &format!("development@{ACCOUNT}"));
    for _ in 0..60 {
        assert_eq!(get(&simulator, ACCOUNT).await.status, 200);
    }
    let blocked = get(&simulator, ACCOUNT).await;
    assert_eq!(blocked.error(), (400, 17, Some(2_446_079)));
    let usage = blocked.header("x-business-use-case-usage").unwrap();
    assert!(
        usage.contains("development_access")
            && usage.contains("\"estimated_time_to_regain_access\":5"),
        "{usage}"
    );
    assert_eq!(get(&simulator, "act_10150000000001101").await.status, 200);
}

#[tokio::test]
async fn debug_token_requires_the_app_token() {
    let simulator = start_demo().await;
    let target = format!("/v27.0/debug_token?input_token={DEMO_TOKEN}");
    let app = "1234567890|simulated-app-secret";
    let token_info = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(
        (
            &token_info["data"]["is_valid"],
            &token_info["data"]["expires_at"]
        ),
        (&json!(true), &json!(0))
    );
    assert_eq!(
        send(&simulator, "GET", &target, DEMO_TOKEN, "")
            .await
            .status,
        400
    );
    set_fault(&simulator, "denied=460@business:everyone");
    let token_info = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(token_info["data"]["error"]["subcode"], 460);
    simulator.set_faults(Vec::new());
    simulator.update_world(|world| world.tokens[0].expires_at = 1_700_000_000);
    let token_info = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(token_info["data"]["is_valid"], false);
    assert_eq!(get(&simulator, "me").await.error(), (400, 190, Some(463)));
}

#[tokio::test]
async fn error_faults_return_their_code() {
    let simulator = start_demo().await;
    for (fault, error) in [
        ("throttled", (400, 17, Some(2_446_079))),
        ("throttled=4", (400, 4, Some(1_504_022))),
        (
            "throttled=80000;minutes=7;strings",
            (400, 80_000, Some(2_446_079)),
        ),
        ("denied=463", (400, 190, Some(463))),
        ("denied=102", (400, 102, None)),
        ("forbidden", (403, 200, None)),
        ("forbidden=33", (400, 100, Some(33))),
        ("rejected=803", (404, 803, None)),
        ("rejected_field=spend", (400, 100, None)),
        ("too_large=10", (500, 1, None)),
        ("too_large=10;code=1487534", (400, 100, Some(1_487_534))),
        ("unavailable", (400, 2, None)),
        ("error_in_200", (200, 2, None)),
    ] {
        set_fault(&simulator, fault);
        let response = get(&simulator, &format!("{CAMPAIGN}/insights?fields=spend")).await;
        assert_eq!(response.error(), error, "{fault}");
        let app_usage = response.header("x-app-usage").unwrap();
        assert_eq!(
            app_usage.contains("100"),
            fault == "throttled=4",
            "{fault}: {app_usage}"
        );
        let usage = response.header("x-business-use-case-usage").unwrap();
        assert_eq!(
            usage.contains("\"estimated_time_to_regain_access\":\"7\""),
            fault.contains("minutes"),
            "{fault}: {usage}"
        );
    }
    set_fault(&simulator, "too_large=10");
    assert_eq!(
        get(&simulator, &format!("{CAMPAIGN}/insights?limit=10"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn response_faults_change_the_response() {
    let simulator = start_demo().await;
    let path =
        format!("{ACCOUNT}/insights?level=campaign&fields=campaign_id,spend,actions&limit=2");
    let body_with = async |fault: &str| {
        set_fault(&simulator, fault);
        get(&simulator, &path).await.json()
    };
    assert!(body_with("shape").await["data"].is_object());
    assert_eq!(get(&simulator, "me").await.json().get("data"), None);
    assert_eq!(body_with("figures=NaN").await["data"][0]["spend"], "NaN");
    assert!(body_with("figures=list").await["data"][0]["actions"][0]["value"].is_array());
    assert!(body_with("figures=bool;field=actions").await["data"][0]["spend"].is_string());
    assert_eq!(
        body_with("no_ids").await["data"][0].get("campaign_id"),
        None
    );
    assert_eq!(
        body_with("no_dates").await["data"][0].get("date_start"),
        None
    );
    assert_eq!(
        body_with("other_dates").await["data"][0]["date_start"],
        "2024-05-01"
    );
    assert_eq!(
        body_with("mixed_attribution").await["data"][0]["attribution_setting"],
        "multiple"
    );
    assert_eq!(
        body_with("repeating_cursor").await["paging"]["cursors"]["after"],
        "MAZDZD"
    );
    set_fault(&simulator, "endless_pages");
    let last_page = get(&simulator, &format!("{ACCOUNT}/insights?limit=9"))
        .await
        .json();
    assert!(last_page["paging"]["next"].is_string());
    set_fault(&simulator, "version=v25.0");
    let upgraded = get(&simulator, ACCOUNT).await;
    assert_eq!(upgraded.header("facebook-api-version"), Some("v25.0"));
    assert!(upgraded.header("x-ad-api-version-warning").is_some());
    set_fault(&simulator, "usage=96;header=app-usage");
    let response = get(&simulator, ACCOUNT).await;
    let app_usage = response.header("x-app-usage").unwrap();
    assert!(app_usage.contains("\"call_count\":96"), "{app_usage}");
    let usage = response.header("x-business-use-case-usage").unwrap();
    assert!(!usage.contains("96"), "{usage}");
}

#[tokio::test]
async fn transport_faults_break_the_connection() {
    let simulator = start_demo().await;
    let response_with = async |fault: &str| {
        set_fault(&simulator, fault);
        get(&simulator, ACCOUNT).await
    };
    assert_eq!(
        response_with("unavailable=503").await.body,
        "Service Unavailable"
    );
    assert_eq!(
        response_with("unavailable=500")
            .await
            .header("content-type"),
        Some("text/html; charset=UTF-8")
    );
    assert_eq!(response_with("empty").await.body, "");
    assert!(response_with("html").await.body.starts_with("<!DOCTYPE"));
    assert!(response_with("deep").await.body.starts_with("[[[["));
    let cut = response_with("cut").await;
    assert!(cut.body.len() < cut.header("content-length").unwrap().parse().unwrap());
    assert_eq!(response_with("reset").await.status, 0);
    assert!(response_with("huge=3").await.body.len() >= 3 << 20);
    assert_eq!(response_with("slow=30*1").await.status, 200);
    set_fault(&simulator, "hang");
    let request = format!("GET /v27.0/{ACCOUNT} HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(exchange(&simulator, request).await, None);
    assert_eq!(simulator.requests().last().unwrap().status, 0);
    simulator.shutdown().await;
}

#[tokio::test]
async fn faults_are_set_over_http() {
    let simulator = start_demo().await;
    let control =
        async |method: &str, path: &str, body: &str| send(&simulator, method, path, "", body).await;
    let response = control(
        "POST",
        "/simulator/faults",
        "hang@act_1\n\nunavailable=503*2\n",
    )
    .await;
    assert_eq!(
        response.json()["faults"],
        json!(["hang@act_1", "unavailable=503*2"])
    );
    assert_eq!(get(&simulator, "me").await.status, 503);
    let invalid = control("POST", "/simulator/faults", "sleepy").await;
    assert_eq!(invalid.status, 400);
    let response = control("DELETE", "/simulator/faults", "").await;
    assert_eq!(response.json()["faults"], json!([]));
    assert_eq!(get(&simulator, "me").await.status, 200);
    let description = control("GET", "/simulator", "").await.json();
    assert_eq!(
        description["kinds"].as_array().unwrap().len(),
        FAULT_KINDS.len()
    );
}
