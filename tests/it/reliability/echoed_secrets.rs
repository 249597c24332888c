//! Secrecy: a response that repeats the secrets of its request, in any place, discloses none of them.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::program::{Folder, Program};
use super::secrecy::{APP_SECRET, TOKEN, assert_no_secrets, read_outputs};
use crate::harness::wait_until;
use crate::scripted_server::{ScriptedResponse, ScriptedServer};

/// Maximum time until the places are exported; it only ends a test that hangs.
const HANG_GUARD: Duration = Duration::from_secs(60);

/// Password of the proxy, which receives it in the credentials of `Basic`.
const PROXY_PASSWORD: &str = "ProxyPasswordOfTheTest";

/// Passwords of clients: the valid one and a wrong one.
const WEB_PASSWORDS: [&str; 2] = ["WebPasswordOfTheTest", "WrongPasswordOfTheTest"];

/// Place of the response that repeats the secrets; each ad account has another one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Names and other texts of ad accounts and campaigns.
    Properties,
    /// Names and values of rows.
    Rows,
    /// Cursors and addresses of further pages.
    Paging,
    /// Values of the headers that the exporter reads.
    Headers,
    /// Names of headers.
    HeaderNames,
    /// Address of a redirect.
    Redirect,
    /// Every text of an error object.
    Error,
    /// Challenge and page of a proxy.
    Challenge,
    /// A value with a wrong type.
    WrongType,
    /// A status of 200 with a text instead of JSON.
    Text,
    /// An invalid header, which ends the connection.
    InvalidHeader,
}

const PLACES: [Place; 11] = [
    Place::Properties,
    Place::Rows,
    Place::Paging,
    Place::Headers,
    Place::HeaderNames,
    Place::Redirect,
    Place::Error,
    Place::Challenge,
    Place::WrongType,
    Place::Text,
    Place::InvalidHeader,
];

/// Id of the first ad account; the last digits are the index of its place.
const FIRST_ACCOUNT: usize = 10_150_000_000_009_000;

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// Returns all secrets that a request contains, as one text.
fn secrets_of_request(query: &str) -> String {
    let mut parameters = query.split('&');
    let proof = parameters.find_map(|parameter| parameter.strip_prefix("appsecret_proof="));
    format!(
        "Bearer {TOKEN}Number1 1000|{APP_SECRET}1 {} {} {PROXY_PASSWORD}",
        proof.unwrap_or_default(),
        basic("exporter", PROXY_PASSWORD),
    )
}

/// Returns the normal body of a response, in which `text` replaces names and other texts at `place`.
fn body(place: Place, path: &str, account: usize, text: &str) -> Value {
    let at = |other: Place, normal: &str| if place == other { text } else { normal }.to_owned();
    let id = account.to_string();
    let campaign = format!("12{account}");
    let paging = match place {
        Place::Paging => json!({
            "cursors": {"after": text, "before": text},
            "next": format!("https://graph.facebook.com/v27.0/act_1/insights?after={text}"),
        }),
        _ => json!({}),
    };
    let property = |normal: &str| at(Place::Properties, normal);
    let row_text = |normal: &str| at(Place::Rows, normal);
    let campaigns = json!({"paging": paging, "data": [{
        "id": campaign, "name": property("campaign"), "effective_status": property("ACTIVE"),
        "objective": property("OUTCOME_SALES"), "is_message_campaign": true,
        "issues_info": [{"level": property("CAMPAIGN"), "error_code": 1, "error_summary": property("issue")}],
    }]});
    match path.rsplit('/').next() {
        Some("insights") => json!({"paging": paging, "data": [{
            "account_id": id, "campaign_id": campaign, "campaign_name": row_text("campaign"),
            "account_currency": "EUR", "date_start": "2026-11-01", "date_stop": "2026-11-23",
            "attribution_setting": row_text("7d_click"), "marketing_messages_spend": "1.5",
            "marketing_messages_delivered": row_text("12"),
            "actions": [{"action_type": row_text("lead"), "value": row_text("3")}],
        }]}),
        Some("campaigns") => campaigns,
        Some("adsets" | "ads") => json!({"data": []}),
        _ => json!({
            "id": format!("act_{id}"), "account_id": id, "name": property("account"),
            "currency": property("EUR"), "timezone_name": property("UTC"),
            "disable_reason": property("NONE"), "campaigns": campaigns,
        }),
    }
}

fn respond(path: &str, query: &str) -> ScriptedResponse {
    let text = secrets_of_request(query);
    let digits = path.split("act_").nth(1).unwrap_or_default();
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    let account = digits.parse().unwrap_or(FIRST_ACCOUNT);
    let place = PLACES[account - FIRST_ACCOUNT];
    let normal = ScriptedResponse::from(body(place, path, account, &text));
    let with_headers = |headers: String| ScriptedResponse {
        headers,
        ..ScriptedResponse::with_status(200, &String::from_utf8_lossy(&normal.body))
    };
    let with_status = |status: u16, headers: String| ScriptedResponse {
        headers,
        ..ScriptedResponse::with_status(status, &text)
    };
    match place {
        Place::Properties | Place::Rows | Place::Paging => normal,
        Place::Headers => with_headers(format!(
            "x-fb-ads-insights-throttle: {{\"ads_api_access_tier\":\"{text}\",\"app_id_util_pct\":1}}\r\n\
             x-business-use-case-usage: {{\"{account}\":[{{\"type\":\"{text}\",\"call_count\":1,\"ads_api_access_tier\":\"{text}\"}}]}}\r\n\
             facebook-api-version: {text}\r\nx-ad-api-version-warning: {text}\r\n\
             x-fb-trace-id: {text}\r\nretry-after: {text}\r\ndate: {text}\r\nset-cookie: {text}\r\n"
        )),
        Place::HeaderNames => with_headers(format!("x-{TOKEN}Number1: {text}\r\n{APP_SECRET}1: 1\r\n")),
        Place::Redirect => with_status(302, format!("location: http://127.0.0.1:9/{TOKEN}Number1?{APP_SECRET}1\r\n")),
        Place::Error => json!({"error": {
            "message": text, "type": text, "code": 100, "error_subcode": text, "fbtrace_id": text,
            "error_user_title": text, "error_user_msg": text, "error_data": {"blame_field_specs": [[text]]},
        }})
        .into(),
        Place::Challenge => with_status(407, format!("proxy-authenticate: {text}\r\nwww-authenticate: {text}\r\n")),
        Place::WrongType => json!({"data": [{"id": {"is": text}}], "paging": text, "name": [text]}).into(),
        Place::Text => json!(text).into(),
        Place::InvalidHeader => with_headers(format!("{text} {text}\r\n")),
    }
}

fn config(folder: &Folder) -> String {
    // The proxy receives all requests.
    let mut text = "graph: { url: \"http://127.0.0.1:9\" }
polling: { interval: 200ms, backoff_max: 200ms, concurrency: 20 }
windows: [{ name: whole }]
businesses:
"
    .to_owned();
    for place_idx in 0..PLACES.len() {
        let token = folder.write("token", &format!("{TOKEN}Number1"));
        let secret = folder.write("secret", &format!("{APP_SECRET}1"));
        text += &format!(
            "  - {{ name: b{place_idx}, access_token_file: {}, app_id: \"{}\", app_secret_file: {}, ad_accounts: [{{ id: act_{} }}] }}\n",
            token.display(),
            1000 + place_idx,
            secret.display(),
            FIRST_ACCOUNT + place_idx,
        );
    }
    text
}

#[tokio::test]
async fn no_place_of_a_response_discloses_a_secret() {
    let api = ScriptedServer::start(respond).await;
    let folder = Folder::new();
    folder.write("config.yaml", &config(&folder));
    let [password, wrong_password] = WEB_PASSWORDS;
    let hash = bcrypt::hash(password, 4).unwrap();
    let web = folder.write(
        "web.yaml",
        &format!("basic_auth_users: {{ acme: {hash} }}\n"),
    );
    let flags = [
        format!("--state.file={}", folder.path("state").display()),
        format!("--web.config.file={}", web.display()),
        "--log.level=trace".to_owned(),
        "--web.enable-lifecycle".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let proxy = api
        .url()
        .replace("://", &format!("://exporter:{PROXY_PASSWORD}@"));
    let script = format!("export http_proxy={proxy} no_proxy=; exec \"$0\" \"$@\"");
    let mut program = Program::start_with(&folder, &flags, &script).await;
    let authorization = format!("Authorization: {}\r\n", basic("acme", password));
    for (user, password) in [("acme", wrong_password), (wrong_password, password)] {
        let headers = format!("Authorization: {}\r\n", basic(user, password));
        let response = program.visitor.request("GET", "/metrics", &headers).await;
        assert_eq!(response.status, 401);
    }
    let is_tried = |place_idx: usize| {
        let account = format!("act_{}", FIRST_ACCOUNT + place_idx);
        let requests = api.requests();
        let requests = requests.iter().filter(|(path, _)| path.contains(&account));
        requests.count() >= 1
    };
    wait_until("all places are tried", || (0..PLACES.len()).all(is_tried)).await;
    // The places are exported, without the secrets.
    let places = [
        ("campaign_info", "campaign_name"),
        ("campaign_info", "objective"),
        ("campaign_issue_info", "summary"),
        ("account_info", "account_name"),
        ("spend", "campaign_name"),
        ("exporter_api_access_tier_info", "tier"),
        ("exporter_api_usage_ratio", "limit"),
    ];
    let deadline = Instant::now() + HANG_GUARD;
    loop {
        let response = program.visitor.request("GET", "/metrics", &authorization);
        let page = response.await.text();
        let missing = places.iter().find(|(metric, label)| {
            let start = format!("marketing_messages_{metric}{{");
            let redacted = format!(
                "{label}=\"Bearer [secret] 1000|[secret] [proof] Basic [secret] [secret]\""
            );
            let mut lines = page.lines().filter(|line| line.starts_with(&start));
            !lines.any(|line| line.contains(&redacted))
        });
        let Some(missing) = missing else { break };
        let log = || program.log();
        assert!(Instant::now() < deadline, "{missing:?}: {page}{}", log());
        sleep(Duration::from_millis(20)).await;
    }
    let mut outputs = read_outputs(&folder, &program, &authorization).await;
    program.signal("TERM");
    program.ended().await;
    outputs.extend([
        ("log at the end", program.log()),
        ("state file at the end", folder.read("state")),
    ]);
    let log = program.log();
    assert!(
        log.contains("proxy in use") && log.contains("[secret]"),
        "{log}"
    );
    let requests = api.requests();
    let proofs = requests.iter().flat_map(|(_, query)| query.split('&'));
    let proofs = proofs.filter_map(|parameter| parameter.strip_prefix("appsecret_proof="));
    let mut secrets: BTreeSet<String> = proofs.map(str::to_owned).collect();
    assert!(!secrets.is_empty());
    secrets.extend(WEB_PASSWORDS.map(str::to_owned));
    secrets.extend([
        PROXY_PASSWORD.to_owned(),
        basic("exporter", PROXY_PASSWORD)[6..].to_owned(),
        basic("acme", password)[6..].to_owned(),
        basic("acme", wrong_password)[6..].to_owned(),
    ]);
    assert_no_secrets(&outputs, &secrets);
    for (path, query) in requests {
        assert!(
            path.ends_with("debug_token") || !query.contains(TOKEN),
            "{path}?{query}"
        );
        assert!(
            !query.contains(APP_SECRET) && !path.contains(TOKEN),
            "{path}?{query}"
        );
    }
}
