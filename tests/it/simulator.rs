//! The simulator over a real socket, in plain bytes: what a client of any make would see.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::date;
use marketing_messages_exporter::simulator::{self, DEMO_TOKEN, Fault, Simulator, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A Monday, 12:30 in Berlin.
const NOW: &str = "2026-11-23T11:30:00Z";
const BERLIN: &str = "act_10150000000001201";
const HERBST: &str = "120210000000031000";
const PURCHASE: &str = "offsite_conversion.fb_pixel_purchase";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn code(&self) -> (u16, u64, Option<u64>) {
        let error = &self.json()["error"];
        (
            self.status,
            error["code"].as_u64().unwrap(),
            error["error_subcode"].as_u64(),
        )
    }
}

async fn demo() -> Simulator {
    start(World::demo()).await
}

async fn start(world: World) -> Simulator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let now: Timestamp = NOW.parse().unwrap();
    simulator::start(listener, world, Arc::new(move || now))
        .await
        .unwrap()
}

/// Sends these bytes and reads until the other side closes; `None` if it takes too long.
async fn exchange(simulator: &Simulator, request: String) -> Option<String> {
    let talk = async {
        let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    };
    tokio::time::timeout(Duration::from_millis(1500), talk)
        .await
        .ok()
}

async fn send(
    simulator: &Simulator,
    method: &str,
    target: &str,
    token: &str,
    body: &str,
) -> Answer {
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
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn get(simulator: &Simulator, target: &str) -> Answer {
    send(
        simulator,
        "GET",
        &format!("/v26.0/{target}"),
        DEMO_TOKEN,
        "",
    )
    .await
}

async fn set(simulator: &Simulator, fault: &str) {
    simulator.set_faults(vec![Fault::parse(fault).unwrap()]);
}

#[tokio::test]
async fn insights_are_the_truth() {
    let simulator = demo().await;
    let query = "insights?fields=marketing_messages_delivered,marketing_messages_spend,actions,website_purchase_roas\
                 &time_range=%7B'since':'2026-11-01','until':'2026-11-23'%7D&action_breakdowns=action_type\
                 &filtering=%5B%7B'field':'action_type','operator':'IN','value':%5B'offsite_conversion.fb_pixel_purchase'%5D%7D%5D";
    let answer = get(&simulator, &format!("{HERBST}/{query}")).await;
    let now = NOW.parse().unwrap();
    let truth = simulator
        .truth(HERBST, date(2026, 11, 1), date(2026, 11, 23), now)
        .unwrap();
    let row = &answer.json()["data"][0];
    assert_eq!(
        row["marketing_messages_delivered"],
        truth.figures["marketing_messages_delivered"]
    );
    assert_eq!(
        row["marketing_messages_spend"],
        truth.figures["marketing_messages_spend"]
    );
    let purchases = json!([{"action_type": PURCHASE, "value": truth.lists["actions"][PURCHASE]}]);
    assert_eq!(row["actions"], purchases);
    assert_eq!(
        truth.lists["actions"]["omni_purchase"],
        truth.lists["actions"][PURCHASE]
    );
    assert_eq!(row["date_start"], "2026-11-01");
    assert_eq!(row["date_stop"], "2026-11-23");
    assert_eq!(row.get("spend"), None);
    assert_eq!(answer.header("facebook-api-version"), Some("v26.0"));
    assert!(
        answer
            .header("x-fb-ads-insights-throttle")
            .unwrap()
            .contains("standard_access")
    );
    let logged = &simulator.requests()[0];
    assert_eq!(logged.param("action_breakdowns"), Some("action_type"));
    assert_eq!(
        (logged.status, logged.business.as_deref()),
        (200, Some("everyone"))
    );
}

#[tokio::test]
async fn campaigns_that_differ_answer_differently() {
    let simulator = demo().await;
    let fields = "fields=campaign_id,spend,marketing_messages_delivered,marketing_messages_delivery_rate,attribution_setting,actions";
    let rows = get(
        &simulator,
        &format!("{BERLIN}/insights?level=campaign&{fields}"),
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
    assert_eq!(row("33")["attribution_setting"], "multiple");
    assert_eq!(row("33").get("actions"), None);
    assert_eq!(row("34"), Value::Null);
    assert_eq!(row("35")["date_start"], "2025-11-03");
    assert_eq!(row("35")["date_stop"], "2026-11-23");
    assert_eq!(row("36")["marketing_messages_delivered"], "0");
    assert_ne!(row("36")["spend"], "0");
    let adsets = get(
        &simulator,
        &format!("120210000000033000/insights?level=adset&{fields}"),
    )
    .await
    .json();
    assert!(
        adsets["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["actions"].is_array())
    );
    let direct = get(&simulator, &format!("120210000000043000/insights?{fields}"))
        .await
        .json();
    assert_eq!(direct["data"][0]["marketing_messages_delivery_rate"], "0");
    let ended = get(&simulator, &format!("120210000000034000/insights?{fields}"))
        .await
        .json();
    assert_eq!(ended, json!({"data": []}));
}

#[tokio::test]
async fn nodes_bring_what_was_asked_for_and_the_id() {
    let simulator = demo().await;
    let fields =
        "fields=campaign%7Bname%7D,adset%7Bpromoted_object%7Bpixel_id%7D,daily_budget%7D,creative";
    let ad = get(&simulator, &format!("120210000000031101?{fields}")).await;
    let expected = json!({
        "id": "120210000000031101",
        "campaign": {"id": HERBST, "name": "Herbstaktion „Licht an!“"},
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
        "adsets": {"data": [{"id": "120210000000034100", "name": "Subscribers"}]},
    });
    assert_eq!(ended.json(), expected);
}

#[tokio::test]
async fn archived_campaigns_are_listed_only_when_asked_for() {
    let simulator = demo().await;
    let path = "act_10150000000001101/campaigns?fields=effective_status,name&limit=100";
    let usual = get(&simulator, path).await.json();
    let every = get(
        &simulator,
        &format!("{path}&effective_status=%5B%22ACTIVE%22,%22ARCHIVED%22%5D"),
    )
    .await;
    let count = |answer: &Value| answer["data"].as_array().unwrap().len();
    assert_eq!(count(&usual) + 1, count(&every.json()));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_meta_s_words() {
    let simulator = demo().await;
    for (target, code) in [
        (
            format!("{HERBST}/insights?fields=spend,foo"),
            (400, 100, None),
        ),
        (
            format!("{HERBST}/insights?date_preset=lifetime"),
            (400, 100, None),
        ),
        (
            format!("{HERBST}/insights?level=account"),
            (500, 1, Some(99)),
        ),
        (
            format!("{HERBST}/insights?fields=spend&action_breakdowns=action_type"),
            (400, 100, None),
        ),
        (format!("{HERBST}/insights?after=xyz"), (400, 2642, None)),
        (
            format!("{HERBST}/insights?time_range=%7B'since':'2020-01-01','until':'2020-01-02'%7D"),
            (400, 3018, None),
        ),
        (format!("{HERBST}/nothing"), (400, 2500, None)),
        ("120219999999999999".to_owned(), (400, 100, Some(33))),
        (
            "120210000000031101?fields=objective".to_owned(),
            (400, 100, None),
        ),
    ] {
        assert_eq!(get(&simulator, &target).await.code(), code, "{target}");
    }
    let foo = get(&simulator, &format!("{HERBST}/insights?fields=foo")).await;
    assert!(
        foo.body
            .contains("(#100) foo is not valid for fields param.")
    );
    let nordlicht = "EAASimulatedTokenOfNordlicht";
    let foreign = "/v26.0/act_10150000000001101?fields=name";
    let hidden = send(&simulator, "GET", foreign, nordlicht, "").await;
    assert_eq!(hidden.code(), (400, 100, Some(33)));
    let stranger = send(&simulator, "GET", foreign, "wrong", "").await;
    assert_eq!(stranger.code(), (400, 190, None));
    assert!(stranger.header("www-authenticate").is_some());
}

#[tokio::test]
async fn pages_carry_the_token_only_when_the_address_did() {
    let simulator = demo().await;
    let path = format!("{BERLIN}/campaigns?limit=2");
    let next = |answer: &Answer| answer.json()["paging"]["next"].as_str().unwrap().to_owned();
    assert!(!next(&get(&simulator, &path).await).contains(DEMO_TOKEN));
    let target = format!(
        "GET /v26.0/{path}&access_token={DEMO_TOKEN} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    );
    let text = exchange(&simulator, target).await.unwrap();
    assert!(text.contains(&format!(
        "http://h/v26.0/{BERLIN}/campaigns?limit=2&access_token={DEMO_TOKEN}&after="
    )));
}

#[tokio::test]
async fn many_campaigns_are_paged_through_once_each() {
    let simulator = start(World::with_campaigns(1200, 300)).await;
    let mut after = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for calls in 1.. {
        let path = format!(
            "act_10150000000009001/insights?level=campaign&fields=campaign_id&limit=400{after}"
        );
        let answer = get(&simulator, &path).await.json();
        for row in answer["data"].as_array().unwrap() {
            assert!(seen.insert(row["campaign_id"].to_string()));
        }
        if answer["paging"]["next"].is_null() {
            assert_eq!(calls, 4);
            break;
        }
        after = format!(
            "&after={}",
            answer["paging"]["cursors"]["after"].as_str().unwrap()
        );
    }
    assert_eq!(seen.len(), 1500);
}

#[tokio::test]
async fn development_access_is_blocked_after_sixty_reads() {
    let simulator = demo().await;
    set(&simulator, &format!("development@{BERLIN}")).await;
    for _ in 0..60 {
        assert_eq!(get(&simulator, BERLIN).await.status, 200);
    }
    let blocked = get(&simulator, BERLIN).await;
    assert_eq!(blocked.code(), (400, 17, Some(2_446_079)));
    let usage = blocked.header("x-business-use-case-usage").unwrap();
    assert!(
        usage.contains("development_access")
            && usage.contains("\"estimated_time_to_regain_access\":5")
    );
    assert_eq!(get(&simulator, "act_10150000000001101").await.status, 200);
}

#[tokio::test]
async fn debug_token_is_for_the_app() {
    let simulator = demo().await;
    let target = format!("/v26.0/debug_token?input_token={DEMO_TOKEN}");
    let app = "1234567890|simulated-app-secret";
    let told = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(
        (&told["data"]["is_valid"], &told["data"]["expires_at"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(
        send(&simulator, "GET", &target, DEMO_TOKEN, "")
            .await
            .status,
        400
    );
    set(&simulator, "denied=460@business:everyone").await;
    let told = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(told["data"]["error"]["subcode"], 460);
    simulator.set_faults(Vec::new());
    simulator.update_world(|world| world.tokens[0].expires_at = 1_700_000_000);
    let told = send(&simulator, "GET", &target, app, "").await.json();
    assert_eq!(told["data"]["is_valid"], false);
    assert_eq!(get(&simulator, "me").await.code(), (400, 190, Some(463)));
}

#[tokio::test]
async fn errors_come_on_demand() {
    let simulator = demo().await;
    for (fault, code) in [
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
        set(&simulator, fault).await;
        let answer = get(&simulator, &format!("{HERBST}/insights?fields=spend")).await;
        assert_eq!(answer.code(), code, "{fault}");
        let app = answer.header("x-app-usage").unwrap();
        assert_eq!(app.contains("100"), fault == "throttled=4", "{fault}");
        let usage = answer.header("x-business-use-case-usage").unwrap();
        assert_eq!(
            usage.contains("\"estimated_time_to_regain_access\":\"7\""),
            fault.contains("minutes")
        );
    }
    set(&simulator, "too_large=10").await;
    assert_eq!(
        get(&simulator, &format!("{HERBST}/insights?limit=10"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn answers_are_bent_on_demand() {
    let simulator = demo().await;
    let path = format!("{BERLIN}/insights?level=campaign&fields=campaign_id,spend,actions&limit=2");
    let bent = async |fault: &str| {
        set(&simulator, fault).await;
        get(&simulator, &path).await.json()
    };
    assert!(bent("shape").await["data"].is_object());
    assert_eq!(get(&simulator, "me").await.json().get("data"), None);
    assert_eq!(bent("figures=NaN").await["data"][0]["spend"], "NaN");
    assert!(bent("figures=list").await["data"][0]["actions"][0]["value"].is_array());
    assert!(bent("figures=bool;field=actions").await["data"][0]["spend"].is_string());
    assert_eq!(bent("no_ids").await["data"][0].get("campaign_id"), None);
    assert_eq!(bent("no_dates").await["data"][0].get("date_start"), None);
    assert_eq!(
        bent("other_dates").await["data"][0]["date_start"],
        "2024-05-01"
    );
    assert_eq!(
        bent("mixed_attribution").await["data"][0]["attribution_setting"],
        "multiple"
    );
    assert_eq!(
        bent("repeating_cursor").await["paging"]["cursors"]["after"],
        "MAZDZD"
    );
    set(&simulator, "endless_pages").await;
    let last = get(&simulator, &format!("{BERLIN}/insights?limit=9"))
        .await
        .json();
    assert!(last["paging"]["next"].is_string());
    set(&simulator, "version=v25.0").await;
    let old = get(&simulator, BERLIN).await;
    assert_eq!(old.header("facebook-api-version"), Some("v25.0"));
    assert!(old.header("x-ad-api-version-warning").is_some());
    set(&simulator, "usage=96;header=app-usage").await;
    let used = get(&simulator, BERLIN).await;
    assert!(
        used.header("x-app-usage")
            .unwrap()
            .contains("\"call_count\":96")
    );
    assert!(
        !used
            .header("x-business-use-case-usage")
            .unwrap()
            .contains("96")
    );
}

#[tokio::test]
async fn sockets_misbehave_on_demand() {
    let simulator = demo().await;
    let bytes = async |fault: &str| {
        set(&simulator, fault).await;
        get(&simulator, BERLIN).await
    };
    assert_eq!(bytes("unavailable=503").await.body, "Service Unavailable");
    assert_eq!(
        bytes("unavailable=500").await.header("content-type"),
        Some("text/html; charset=UTF-8")
    );
    assert_eq!(bytes("empty").await.body, "");
    assert!(bytes("html").await.body.starts_with("<!DOCTYPE"));
    assert!(bytes("deep").await.body.starts_with("[[[["));
    let cut = bytes("cut").await;
    assert!(cut.body.len() < cut.header("content-length").unwrap().parse().unwrap());
    assert_eq!(bytes("reset").await.status, 0);
    assert!(bytes("huge=3").await.body.len() >= 3 << 20);
    assert_eq!(bytes("slow=30*1").await.status, 200);
    set(&simulator, "hang").await;
    let request = format!("GET /v26.0/{BERLIN} HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(exchange(&simulator, request).await, None);
    assert_eq!(simulator.requests().last().unwrap().status, 0);
    simulator.shutdown().await;
}

#[tokio::test]
async fn faults_are_set_over_http() {
    let simulator = demo().await;
    let control =
        async |method: &str, path: &str, body: &str| send(&simulator, method, path, "", body).await;
    let told = control(
        "POST",
        "/simulator/faults",
        "hang@act_1\n\nunavailable=503*2\n",
    )
    .await;
    assert_eq!(
        told.json()["faults"],
        json!(["hang@act_1", "unavailable=503*2"])
    );
    assert_eq!(get(&simulator, "me").await.status, 503);
    let wrong = control("POST", "/simulator/faults", "sleepy").await;
    assert_eq!(wrong.status, 400);
    let told = control("DELETE", "/simulator/faults", "").await;
    assert_eq!(told.json()["faults"], json!([]));
    assert_eq!(get(&simulator, "me").await.status, 200);
    assert!(
        control("GET", "/simulator", "").await.json()["kinds"]
            .as_array()
            .unwrap()
            .len()
            > 20
    );
}
