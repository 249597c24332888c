//! How everything fares: the landing page for people, `/api/status` for programs, and both and
//! the metrics of some businesses alone.

use serde_json::{Value, json};

use crate::harness::{Api, Exporter, parse};
use crate::page::{Page, Sample};

const HOSTILE: &str = "</h3><script>alert(1)</script>";

/// One that is well, one that holds no token, and one whose campaign is its ad account's too.
const CONFIG: &str = "
windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]
businesses:
  - { name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: \"</h3><script>alert(1)</script>\", access_token_file: \"/none/<b>'x'\", ad_accounts: [{ id: act_1 }] }
  - name: nordlicht
    access_token_env: NORDLICHT
    ad_accounts: [{ id: act_10150000000001201 }]
    campaigns: [{ id: \"120210000000031000\" }]
";

async fn exporter(api: &Api) -> Exporter {
    let exporter = api.exporter(CONFIG).await;
    // All but the one that holds no token.
    exporter
        .page_when(|page| {
            let up = |sample: &&Sample| sample.number == "1";
            page.all("up", &[]).into_iter().filter(up).count() == 6
        })
        .await;
    exporter
}

async fn status(exporter: &Exporter, query: &str) -> Value {
    let answer = exporter.get(&format!("/api/status{query}")).await;
    assert_eq!(answer.status, 200, "{query}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

fn names(status: &Value) -> Vec<&str> {
    let businesses = status["businesses"].as_array().unwrap();
    let names = businesses.iter().map(|one| one["name"].as_str().unwrap());
    names.collect()
}

#[tokio::test]
async fn the_status_tells_programs_what_the_page_tells_people() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let page = exporter.page().await;
    let status = status(&exporter, "").await;
    assert_eq!(status["shape"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["shard"], json!({ "index": 0, "count": 1 }));
    assert_eq!(status["quota_share_ratio"], 0.75);
    assert_eq!(names(&status), ["aurora", HOSTILE, "nordlicht"]);
    let [aurora, broken, nordlicht] = &status["businesses"].as_array().unwrap()[..] else {
        panic!("{status}")
    };
    assert_eq!(
        (&aurora["state"], &aurora["troubles"]),
        (&json!("up"), &json!([]))
    );
    assert_eq!(aurora["token"]["valid"], true);
    let source = &aurora["sources"][0];
    assert_eq!(source["name"], "act_10150000000001101");
    assert_eq!(
        (&source["kind"], &source["gives_way"]),
        (&json!("ad_account"), &json!(false))
    );
    for (place, window) in ["today", "week"].into_iter().enumerate() {
        let told = &source["windows"][place];
        assert_eq!(
            (&told["name"], &told["state"]),
            (&json!(window), &json!("up"))
        );
        assert_eq!(told["fault"], Value::Null);
        let labels = [("business", "aurora"), ("window", window)];
        let success = page
            .value("last_success_timestamp_seconds", &labels)
            .unwrap();
        let said = told["last_success_timestamp_seconds"].as_f64().unwrap();
        assert!((said - success).abs() < 0.001, "{said} {success}");
        let stale = page.value("exporter_stale_after_seconds", &labels);
        assert_eq!(told["stale_after_seconds"].as_f64(), stale);
    }
    // Every quota of the page, and no other.
    let quotas = aurora["quotas"].as_array().unwrap();
    let samples = page.all("exporter_api_usage_ratio", &[("business", "aurora")]);
    assert_eq!(quotas.len(), samples.len());
    assert!(quotas.len() > 4);
    assert_eq!(
        broken["troubles"],
        json!(["token_refused", "down", "held_off"])
    );
    let fault = &broken["sources"][0]["windows"][0]["fault"];
    assert_eq!(fault["reason"], "denied");
    assert!(
        fault["message"].as_str().unwrap().contains("/none/<b>'x'"),
        "{fault}"
    );
    let gives_way: Vec<_> = nordlicht["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["gives_way"])
        .collect();
    assert_eq!(gives_way, [&json!(false), &json!(true)]);
}

#[tokio::test]
async fn the_landing_page_loads_nothing_runs_nothing_and_lets_no_text_out() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let answer = exporter.get("/").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("script"),
        "{policy}"
    );
    let html = answer.text();
    for absent in [
        "<script", " style=", "http://", "https://", "<b>'", "onload",
    ] {
        assert!(!html.contains(absent), "{absent}");
    }
    for present in [
        env!("CARGO_PKG_VERSION"),
        "&lt;/h3&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
        "<b>denied</b>: ",
        "/none/&lt;b&gt;&#39;x&#39;",
        "gives way to its ad account",
        "ads_insights",
        "<title>1 business in trouble – ",
        "http-equiv=refresh",
        "href='./metrics?business=%3C%2Fh3%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E'",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
    let trouble = html.find("Needs a look").unwrap();
    assert!(trouble < html.find("All is well").unwrap());
    let still = exporter.get("/?refresh=off").await.text();
    assert!(!still.contains("http-equiv=refresh") && still.contains("Keep it fresh"));
}

#[tokio::test]
async fn one_business_can_be_asked_about_alone() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let whole = exporter.page().await;
    let ours = exporter.get("/metrics?business=aurora").await;
    assert_eq!(ours.status, 200);
    let page = Page::parse(&ours.text());
    for family in &page.families {
        for sample in &family.samples {
            let named = sample.labels.iter().find(|(name, _)| name == "business");
            let named = named.map(|(_, value)| value.as_str());
            let build = family.name.ends_with("_build_info");
            assert!(named == Some("aurora") || build, "{sample:?}");
        }
    }
    let count = |page: &Page| page.all("delivered", &[("business", "aurora")]).len();
    assert!(count(&page) > 0);
    assert_eq!(count(&page), count(&whole));
    let gzip = exporter
        .ask(
            "GET",
            "/metrics?business=aurora",
            "Accept-Encoding: gzip\r\n",
        )
        .await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let delivered = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("marketing_messages_delivered"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(delivered(&gzip.gunzipped()), delivered(&ours.text()));
    let both = exporter
        .get("/metrics?business=aurora&business=nordlicht")
        .await;
    let both = Page::parse(&both.text());
    assert_eq!(
        both.all("delivered", &[]).len(),
        whole.all("delivered", &[]).len()
    );
    assert_eq!(
        names(&status(&exporter, "?business=nordlicht").await),
        ["nordlicht"]
    );
    let html = exporter.get("/?business=nordlicht").await.text();
    assert!(html.contains("nordlicht") && !html.contains("aurora"));
    for path in ["/metrics", "/api/status", "/"] {
        for query in [
            "?business=none",
            "?business=aurora&business=none",
            "?business=Aurora",
        ] {
            let answer = exporter.get(&format!("{path}{query}")).await;
            assert_eq!(answer.status, 404, "{path}{query}");
        }
        let head = exporter
            .ask("HEAD", &format!("{path}?business=aurora"), "")
            .await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_thousands_stays_one_that_can_be_opened() {
    use std::fmt::Write;
    let mut config = "windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]\nbusinesses:\n".to_owned();
    for number in 0..2000 {
        writeln!(config, "  - {{ name: b{number}, access_token_env: EVERYONE, ad_accounts: [{{ id: act_{number}1 }}] }}").unwrap();
    }
    // Nobody listens there: not yet polled, or down.
    let exporter = Exporter::start(&parse(&config, "http://127.0.0.1:9")).await;
    let answer = exporter.get("/").await;
    assert!(answer.body.len() < 450_000, "{}", answer.body.len());
    let html = answer.text();
    assert!(html.contains(" not shown here."), "{html}");
    assert!(html.contains("<form role=search>"));
    assert_eq!(names(&status(&exporter, "").await).len(), 2000);
    assert!(
        exporter
            .get("/?business=b1999")
            .await
            .text()
            .contains("act_19991")
    );
}
