//! Business scopes: responses to a user with restricted access reveal nothing about other businesses,
//! not even whether they exist.

use std::fs;

use marketing_messages_exporter::app::App;
use marketing_messages_exporter::http::WebConfigFile;
use marketing_messages_exporter::plan::Shard;
use tokio::net::TcpListener;

use super::{Folder, LOW_BCRYPT_COST};
use crate::harness::{Api, HttpResponse, Visitor, parse, wait_until};
use crate::page::Page;
use crate::process::Program;

/// Credentials `all:open`, `shop:open` and `two:open`.
const ALL: &str = "Authorization: Basic YWxsOm9wZW4=\r\n";
const SHOP: &str = "Authorization: Basic c2hvcDpvcGVu\r\n";
const TWO: &str = "Authorization: Basic dHdvOm9wZW4=\r\n";

/// Names, ids and labels of the businesses that are outside of the scope of `shop`.
const HIDDEN_FROM_SHOP: [&str; 6] = [
    "nordlicht",
    "act_10150000000001201",
    "10150000000001201",
    "retention",
    "hinode",
    "act_10150000000001301",
];

const CONFIG: &str = "
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: aurora, access_token_env: AURORA, labels: { team: growth }, ad_accounts: [{ id: act_10150000000001101 }] }
  - { name: nordlicht, access_token_env: NORDLICHT, labels: { team: retention }, ad_accounts: [{ id: act_10150000000001201 }] }
  - { name: hinode, access_token_env: NONE, ad_accounts: [{ id: act_10150000000001301 }] }
";

fn web_config(scopes: &str) -> String {
    let hash = bcrypt::hash("open", LOW_BCRYPT_COST).unwrap();
    let users = format!("basic_auth_users: {{ all: {hash}, shop: {hash}, two: {hash} }}\n");
    format!("{users}business_scopes: {scopes}\n")
}

const SCOPES: &str = "{ all: [\"*\"], shop: [aurora], two: [nordlicht, hinode] }";

/// Starts an exporter with `SCOPES` and waits until every business was polled; the one without a token
/// never succeeds.
async fn start(api: &Api, folder: &Folder) -> Visitor {
    let web = folder.write("web.yaml", &web_config(SCOPES));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let visitor = Visitor {
        address: listener.local_addr().unwrap(),
    };
    let config = parse(CONFIG, &api.simulator.url());
    let web = WebConfigFile::load(&web).unwrap_or_else(|all| panic!("{all}"));
    let app = App::new(&config, Shard::ALL).unwrap().with_web_config(web);
    let path = "/metrics".to_owned();
    // The test's runtime ends this task.
    tokio::spawn(app.run(vec![listener], path, std::future::pending()));
    loop {
        let text = visitor.request("GET", "/metrics", ALL).await.text();
        let up = Page::parse(&text).all("up", &[]).len();
        let polled = Page::parse(&text)
            .all("last_success_timestamp_seconds", &[])
            .len();
        if (up, polled) == (3, 2) {
            return visitor;
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
}

fn assert_hidden(response: &HttpResponse, words: &[&str], request: &str) {
    let text = match response.header("content-encoding") {
        Some("gzip") if !response.body.is_empty() => response.gunzipped(),
        _ => response.text(),
    };
    for word in words {
        assert!(
            !text.contains(word),
            "{request} should not reveal {word}: {text}"
        );
        assert!(
            !response.head.contains(word),
            "{request} should not reveal {word}: {}",
            response.head
        );
    }
}

#[tokio::test]
async fn restricted_user_sees_no_other_business_on_any_path() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let visitor = start(&api, &folder).await;
    let shop_with_gzip = format!("{SHOP}Accept-Encoding: gzip\r\n");
    for path in [
        "/",
        "/metrics",
        "/api/status",
        "/-/ready",
        "/-/healthy",
        "/-/reload",
        "/none",
    ] {
        for query in ["", "?business=aurora", "?refresh=off", "?name[]=x"] {
            for headers in [SHOP, &shop_with_gzip] {
                for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                    let request = format!("{method} {path}{query}");
                    let response = visitor
                        .request(method, &format!("{path}{query}"), headers)
                        .await;
                    assert_ne!(response.status, 401, "{request}");
                    assert_hidden(&response, &HIDDEN_FROM_SHOP, &request);
                }
            }
        }
        // Existing and unknown names get the same response.
        let response_to = async |business: &str| {
            let path = format!("{path}?business={business}");
            let response = visitor.request("GET", &path, SHOP).await;
            (response.status, response.text())
        };
        for hidden in [
            "nordlicht",
            "hinode",
            "aurora&business=nordlicht",
            "nordlicht&business=aurora",
        ] {
            let unknown = hidden
                .replace("nordlicht", "none")
                .replace("hinode", "none");
            let to_hidden = response_to(hidden).await;
            let to_unknown = response_to(&unknown).await;
            if path != "/-/healthy" && path != "/-/ready" {
                assert_eq!(to_hidden, to_unknown, "{path} {hidden}");
                assert_ne!(to_hidden.0, 200, "{path} {hidden}");
            }
        }
    }
    let page = visitor.request("GET", "/metrics", SHOP).await.text();
    let page = Page::parse(&page);
    assert!(!page.all("delivered", &[("business", "aurora")]).is_empty());
    page.assert("exporter_sources", &[("business", "aurora")], "1");
    // Totals over all businesses are hidden too.
    page.assert_absent("exporter_page_series", &[]);
    let status = visitor.request("GET", "/api/status", SHOP).await.text();
    assert!(
        status.contains("\"aurora\"") && !status.contains("page"),
        "{status}"
    );
    let ready = visitor.request("GET", "/-/ready", SHOP).await;
    // Readiness covers only the sources in the scope, which were all polled.
    assert_eq!((ready.status, ready.text()), (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn user_with_wildcard_sees_all_and_unlisted_user_nothing() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let visitor = start(&api, &folder).await;
    let page = Page::parse(&visitor.request("GET", "/metrics", ALL).await.text());
    assert_eq!(page.all("up", &[]).len(), 3);
    assert!(page.find("exporter_page_series", &[]).is_some());
    let page = Page::parse(&visitor.request("GET", "/metrics", TWO).await.text());
    assert_eq!(page.all("up", &[]).len(), 2);
    page.assert_absent("up", &[("business", "aurora")]);
    let one = visitor
        .request("GET", "/metrics?business=hinode", TWO)
        .await;
    assert_eq!(Page::parse(&one.text()).all("up", &[]).len(), 1);
    // A changed scope applies to the next connection.
    folder.write("web.yaml", &web_config("{ shop: [aurora], two: [hinode] }"));
    let page = Page::parse(&visitor.request("GET", "/metrics", TWO).await.text());
    assert_eq!(page.all("up", &[]).len(), 1);
    // A user without an entry has access to nothing.
    for path in ["/", "/metrics", "/api/status", "/-/ready", "/none"] {
        for method in ["GET", "HEAD", "POST"] {
            let refused = visitor.request(method, path, ALL).await;
            assert_eq!(refused.status, 403, "{method} {path}");
            assert_hidden(&refused, &["aurora", "nordlicht", "hinode"], path);
        }
    }
}

#[tokio::test]
async fn restricted_user_cannot_reload_and_unknown_scope_warns() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let file = folder.write(
        "web.yaml",
        &web_config("{ all: [\"*\"], shop: [acme], two: [acme, none] }"),
    );
    let config = format!(
        "graph: {{ url: \"{}\" }}\n{}",
        api.simulator.url(),
        crate::process::BUSINESS
    );
    let flag = format!("--web.config.file={}", file.display());
    let flags = [
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-lifecycle",
        &flag,
    ];
    let program = Program::start(&config, &flags);
    let listening = || program.lines("msg=listening").pop();
    wait_until("exporter listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let visitor = Visitor {
        address: address.split(' ').next().unwrap().parse().unwrap(),
    };
    let warnings = || program.lines("contains a business that is not in the config");
    assert_eq!(warnings().len(), 1, "{:?}", warnings());
    assert!(
        warnings()[0].contains("user=two business=none"),
        "{:?}",
        warnings()
    );
    let refused = visitor.request("POST", "/-/reload", SHOP).await;
    assert_eq!(refused.status, 403);
    assert_eq!(visitor.request("POST", "/-/reload", ALL).await.status, 200);
    wait_until("warning is repeated after the reload", || {
        warnings().len() == 2
    })
    .await;
    let text = fs::read_to_string(&file).unwrap().replace("none", "gone");
    folder.write("web.yaml", &text);
    assert_eq!(visitor.request("GET", "/metrics", TWO).await.status, 200);
    wait_until("warning names the other business", || warnings().len() == 3).await;
    assert!(warnings()[2].contains("business=gone"), "{:?}", warnings());
}
