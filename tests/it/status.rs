//! Health of the businesses: the landing page, `/api/status`, and both and the metrics page restricted
//! to some businesses.

use serde_json::{Value, json};

use crate::harness::{Api, Exporter, parse};
use crate::page::{Page, Sample};

const HOSTILE: &str = "</h3><script>alert(1)</script>";

/// A healthy business, one without a token, and one with a campaign source that its ad account source
/// already exports.
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
    // Two sources with two windows each; the business without a token is down, and the duplicate is not polled.
    exporter
        .page_when(|page| {
            let is_up = |sample: &&Sample| sample.number == "1";
            let up = page.all("up", &[]);
            up.len() == 6 && up.into_iter().filter(is_up).count() == 4
        })
        .await;
    exporter
}

async fn status(exporter: &Exporter, query: &str) -> Value {
    let response = exporter.get(&format!("/api/status{query}")).await;
    assert_eq!(response.status, 200, "{query}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

fn names(status: &Value) -> Vec<&str> {
    let businesses = status["businesses"].as_array().unwrap();
    businesses
        .iter()
        .map(|business| business["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn status_json_agrees_with_metrics() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let page = exporter.page().await;
    let status = status(&exporter, "").await;
    assert_eq!(status["schema_version"], 1);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["shard"], json!({ "index": 0, "count": 1 }));
    assert_eq!(status["quota_share_ratio"], 0.75);
    assert_eq!(names(&status), ["aurora", HOSTILE, "nordlicht"]);
    let [aurora, broken, nordlicht] = &status["businesses"].as_array().unwrap()[..] else {
        panic!("{status}")
    };
    assert_eq!(
        (&aurora["state"], &aurora["problems"]),
        (&json!("up"), &json!([]))
    );
    assert_eq!(aurora["token"]["valid"], true);
    let source = &aurora["sources"][0];
    assert_eq!(source["name"], "act_10150000000001101");
    assert_eq!(
        (&source["kind"], &source["duplicate"]),
        (&json!("ad_account"), &json!(false))
    );
    for (window_idx, window) in ["today", "week"].into_iter().enumerate() {
        let window_status = &source["windows"][window_idx];
        assert_eq!(
            (&window_status["name"], &window_status["state"]),
            (&json!(window), &json!("up"))
        );
        assert_eq!(window_status["error"], Value::Null);
        let labels = [("business", "aurora"), ("window", window)];
        let success = page
            .value("last_success_timestamp_seconds", &labels)
            .unwrap();
        let success_in_json = window_status["last_success_timestamp_seconds"]
            .as_f64()
            .unwrap();
        assert!(
            (success_in_json - success).abs() < 0.001,
            "times should be equal: {success_in_json} {success}"
        );
        let stale_after = page.value("exporter_stale_after_seconds", &labels);
        assert_eq!(window_status["stale_after_seconds"].as_f64(), stale_after);
    }
    // Exactly the quotas of the metrics page.
    let quotas = aurora["quotas"].as_array().unwrap();
    let samples = page.all("exporter_api_usage_ratio", &[("business", "aurora")]);
    assert_eq!(quotas.len(), samples.len());
    assert!(quotas.len() > 4);
    assert_eq!(
        broken["problems"],
        json!(["credentials_unreadable", "down", "paused"])
    );
    let error = &broken["sources"][0]["windows"][0]["error"];
    assert_eq!(error["reason"], "misconfigured");
    assert!(
        error["remedy"].as_str().unwrap().contains("file"),
        "{error}"
    );
    assert!(
        error["message"].as_str().unwrap().contains("/none/<b>'x'"),
        "{error}"
    );
    let duplicate: Vec<_> = nordlicht["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["duplicate"])
        .collect();
    assert_eq!(duplicate, [&json!(false), &json!(true)]);
}

#[tokio::test]
async fn landing_page_is_escaped_and_loads_no_resources() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let response = exporter.get("/").await;
    assert_eq!(
        response.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = response.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("script"),
        "{policy}"
    );
    let html = response.text();
    for absent in [
        "<script", " style=", "http://", " src=", "url(", "<b>'", "onload",
    ] {
        assert!(!html.contains(absent), "{absent} should be absent");
    }
    for present in [
        env!("CARGO_PKG_VERSION"),
        "&lt;/h3&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
        "<b>misconfigured</b>: ",
        "/none/&lt;b&gt;'x'",
        "duplicate of ad account",
        "ads_insights",
        "<title>1 business with problems – ",
        "http-equiv=\"refresh\"",
        "files of the access token and the app secret, readable by the exporter",
        "/blob/main/docs/runbooks.md\">",
        "</code> Nordlicht Leuchten <small>EUR · Europe/Berlin</small>",
        "href=\"./metrics?business=%3C%2Fh3%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E\"",
    ] {
        assert!(
            html.contains(present),
            "{present} should be present: {html}"
        );
    }
    let problems = html.find(">With problems ").unwrap();
    assert!(problems < html.find(">Healthy ").unwrap());
    let without_refresh = exporter.get("/?refresh=off").await.text();
    assert!(!without_refresh.contains("http-equiv=\"refresh\""));
    assert!(without_refresh.contains("Turn reloading on"));
}

#[tokio::test]
async fn business_parameter_restricts_all_pages() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let whole = exporter.page().await;
    let restricted = exporter.get("/metrics?business=aurora").await;
    assert_eq!(restricted.status, 200);
    let page = Page::parse(&restricted.text());
    for family in &page.families {
        for sample in &family.samples {
            let business = sample.labels.iter().find(|(name, _)| name == "business");
            let business = business.map(|(_, value)| value.as_str());
            let is_build_info = family.name.ends_with("_build_info");
            assert!(business == Some("aurora") || is_build_info, "{sample:?}");
        }
    }
    let count = |page: &Page| page.all("delivered", &[("business", "aurora")]).len();
    assert!(count(&page) > 0);
    assert_eq!(count(&page), count(&whole));
    let gzip = exporter
        .request(
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
    assert_eq!(delivered(&gzip.gunzipped()), delivered(&restricted.text()));
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
            let response = exporter.get(&format!("{path}{query}")).await;
            assert_eq!(response.status, 404, "{path}{query}");
        }
        let head = exporter
            .request("HEAD", &format!("{path}?business=aurora"), "")
            .await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn page_of_one_business_shows_totals() {
    let api = Api::demo().await;
    let exporter = exporter(&api).await;
    let page = exporter.page_after_first_round().await;
    let html = exporter.get("/?business=aurora").await.text();
    let spend: f64 = page
        .all("spend", &[("business", "aurora"), ("window", "today")])
        .iter()
        .map(|sample| sample.value())
        .sum();
    let whole = format!("{:.2}", spend);
    let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
    let shown: String = html
        .split_once("<table class=\"totals\">")
        .and_then(|(_, totals)| totals.split_once("<td>"))
        .and_then(|(_, cell)| cell.split_once(' '))
        .map(|(amount, _)| amount.chars().filter(char::is_ascii_digit).collect())
        .unwrap();
    assert_eq!(shown, digits, "{html}");
    for text in [
        "<th scope=\"col\">Orders",
        "<th scope=\"col\">ROAS",
        "<th scope=\"col\">Data age",
    ] {
        assert!(html.contains(text), "{text} should be present");
    }
    // The page of all businesses has no totals.
    assert!(
        !exporter
            .get("/")
            .await
            .text()
            .contains("<table class=\"totals\">")
    );
    let status = status(&exporter, "?business=aurora").await;
    let source = &status["businesses"][0]["sources"][0];
    assert_eq!(source["account_name"], "Aurora Outdoor");
    assert_eq!(source["currency"], "USD");
    assert_eq!(source["timezone"], "America/Los_Angeles");
}

#[tokio::test]
async fn landing_page_has_a_table_from_ten_businesses_on() {
    let api = Api::demo().await;
    let config = |count: usize| {
        let businesses: Vec<String> = (0..count)
            .map(|number| {
                let token = if number == 3 { "UNKNOWN" } else { "EVERYONE" };
                format!("  - {{ name: b{}, access_token_env: {token}, ad_accounts: [{{ id: act_10150000000001101 }}] }}", count - number)
            })
            .collect();
        format!(
            "windows: [{{ name: today, date_preset: today }}]\nbusinesses:\n{}\n",
            businesses.join("\n")
        )
    };
    let exporter = api.exporter(&config(9)).await;
    assert!(
        !exporter
            .get("/")
            .await
            .text()
            .contains("class=\"overview\"")
    );
    let exporter = api.exporter(&config(10)).await;
    exporter.page_after_first_round().await;
    let rows = |html: &str| -> Vec<String> {
        let (_, table) = html.split_once("class=\"overview\"").unwrap();
        let (table, _) = table.split_once("</table>").unwrap();
        let cells = table.split("<tr><th scope=\"row\">").skip(1);
        let name = |cell: &str| {
            let (_, name) = cell.split_once("\">").unwrap();
            name.split('<').next().unwrap().to_owned()
        };
        cells.map(name).collect()
    };
    let html = exporter.get("/").await.text();
    // The business with the refused token, which is also shown with its details.
    assert_eq!(rows(&html)[0], "b7");
    assert!(html.contains("token refused"), "{html}");
    assert!(
        html.contains("generate a new access token at Meta"),
        "{html}"
    );
    assert!(html.contains("<form role=\"search\">"));
    assert!(!html.contains(">Healthy "), "{html}");
    let by_name = rows(&exporter.get("/?sort=name").await.text());
    let mut sorted = by_name.clone();
    sorted.sort();
    assert_eq!(by_name, sorted);
    assert_eq!(by_name.len(), 10);
}

#[tokio::test]
async fn landing_page_of_2000_businesses_has_bounded_size() {
    use std::fmt::Write;
    const BUSINESS_COUNT: usize = 2000;
    /// The limit of the page plus the business that exceeds it and the footer.
    const MAX_PAGE_BYTES: usize = 450_000;
    let mut config = "windows: [{ name: today, date_preset: today }, { name: week, date_preset: last_7d }]\nbusinesses:\n".to_owned();
    for number in 0..BUSINESS_COUNT {
        writeln!(config, "  - {{ name: b{number}, access_token_env: EVERYONE, ad_accounts: [{{ id: act_{number}1 }}] }}").unwrap();
    }
    // No server listens at this port, so every source is either not polled yet or down.
    let exporter = Exporter::start(&parse(&config, "http://127.0.0.1:9")).await;
    let response = exporter.get("/").await;
    assert!(
        response.body.len() < MAX_PAGE_BYTES,
        "{}",
        response.body.len()
    );
    let html = response.text();
    assert!(html.contains(" not shown here."), "{html}");
    assert!(html.contains("<form role=\"search\">"));
    assert_eq!(names(&status(&exporter, "").await).len(), BUSINESS_COUNT);
    assert!(
        exporter
            .get("/?business=b1999")
            .await
            .text()
            .contains("act_19991")
    );
}
