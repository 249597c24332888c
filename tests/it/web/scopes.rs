//! Users that may look at some businesses alone: whatever they ask for, they learn nothing of
//! another, not even that it is there.

use std::fs;

use marketing_messages_exporter::app::App;
use marketing_messages_exporter::http::WebConfig;
use marketing_messages_exporter::plan::Shard;
use tokio::net::TcpListener;

use super::Folder;
use crate::harness::{Answer, Api, Visitor, parse, wait_until};
use crate::page::Page;
use crate::process::Program;

/// `all:open`, `shop:open` and `two:open`.
const ALL: &str = "Authorization: Basic YWxsOm9wZW4=\r\n";
const SHOP: &str = "Authorization: Basic c2hvcDpvcGVu\r\n";
const TWO: &str = "Authorization: Basic dHdvOm9wZW4=\r\n";

/// What may be known of the businesses that `shop` may not see: names, ids, labels.
const OTHERS: [&str; 6] = [
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

fn web(scopes: &str) -> String {
    let hash = bcrypt::hash("open", 4).unwrap();
    let users = format!("basic_auth_users: {{ all: {hash}, shop: {hash}, two: {hash} }}\n");
    format!("{users}business_scopes: {scopes}\n")
}

const SCOPES: &str = "{ shop: [aurora], two: [nordlicht, hinode] }";

/// An exporter behind such a file, once both that can be polled are.
async fn start(api: &Api, folder: &Folder) -> Visitor {
    let web = folder.write("web.yaml", &web(SCOPES));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let visitor = Visitor {
        address: listener.local_addr().unwrap(),
    };
    let config = parse(CONFIG, &api.simulator.url());
    let web = WebConfig::load(&web).unwrap_or_else(|all| panic!("{all}"));
    let app = App::new(&config, Shard::WHOLE).unwrap().behind(web);
    let path = "/metrics".to_owned();
    // It ends with the test's runtime.
    tokio::spawn(app.run(vec![listener], path, std::future::pending()));
    loop {
        let text = visitor.ask("GET", "/metrics", ALL).await.text();
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

fn knows_nothing(answer: &Answer, of: &[&str], asked: &str) {
    let text = match answer.header("content-encoding") {
        Some("gzip") if !answer.body.is_empty() => answer.gunzipped(),
        _ => answer.text(),
    };
    for word in of {
        assert!(!text.contains(word), "{asked} tells of {word}: {text}");
        assert!(!answer.head.contains(word), "{asked}: {}", answer.head);
    }
}

#[tokio::test]
async fn a_user_learns_nothing_of_anothers_business_by_any_path() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let visitor = start(&api, &folder).await;
    let zip = format!("{SHOP}Accept-Encoding: gzip\r\n");
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
            for headers in [SHOP, &zip] {
                for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                    let asked = format!("{method} {path}{query}");
                    let answer = visitor
                        .ask(method, &format!("{path}{query}"), headers)
                        .await;
                    assert_ne!(answer.status, 401, "{asked}");
                    knows_nothing(&answer, &OTHERS, &asked);
                }
            }
        }
        // A name that is there and one that is not are answered alike.
        let told = async |business: &str| {
            let path = format!("{path}?business={business}");
            let answer = visitor.ask("GET", &path, SHOP).await;
            (answer.status, answer.text())
        };
        for hidden in [
            "nordlicht",
            "hinode",
            "aurora&business=nordlicht",
            "nordlicht&business=aurora",
        ] {
            let (there, not) = (
                told(hidden).await,
                told(
                    &hidden
                        .replace("nordlicht", "none")
                        .replace("hinode", "none"),
                )
                .await,
            );
            if path != "/-/healthy" && path != "/-/ready" {
                assert_eq!(there, not, "{path} {hidden}");
                assert_ne!(there.0, 200, "{path} {hidden}");
            }
        }
    }
    let page = visitor.ask("GET", "/metrics", SHOP).await.text();
    let page = Page::parse(&page);
    assert!(!page.all("delivered", &[("business", "aurora")]).is_empty());
    page.assert("exporter_sources", &[("business", "aurora")], "1");
    // What tells of all businesses together is not for one of them.
    page.assert_absent("exporter_page_series", &[]);
    let status = visitor.ask("GET", "/api/status", SHOP).await.text();
    assert!(
        status.contains("\"aurora\"") && !status.contains("page"),
        "{status}"
    );
    let ready = visitor.ask("GET", "/-/ready", SHOP).await;
    // Its own were all tried; whether others were is not its business.
    assert_eq!((ready.status, ready.text()), (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn users_of_no_scope_see_all_and_one_may_have_several_businesses() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let visitor = start(&api, &folder).await;
    let page = Page::parse(&visitor.ask("GET", "/metrics", ALL).await.text());
    assert_eq!(page.all("up", &[]).len(), 3);
    assert!(page.find("exporter_page_series", &[]).is_some());
    let page = Page::parse(&visitor.ask("GET", "/metrics", TWO).await.text());
    assert_eq!(page.all("up", &[]).len(), 2);
    page.assert_absent("up", &[("business", "aurora")]);
    let one = visitor.ask("GET", "/metrics?business=hinode", TWO).await;
    assert_eq!(Page::parse(&one.text()).all("up", &[]).len(), 1);
    // Taken away, it counts from the next connection.
    folder.write("web.yaml", &web("{ shop: [aurora], two: [hinode] }"));
    let page = Page::parse(&visitor.ask("GET", "/metrics", TWO).await.text());
    assert_eq!(page.all("up", &[]).len(), 1);
}

#[tokio::test]
async fn a_scoped_user_may_not_reload_and_a_scope_of_nobodys_business_is_warned_of() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let file = folder.write("web.yaml", &web("{ shop: [acme], two: [acme, none] }"));
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
    let listening = || program.lines("message=listening").pop();
    wait_until("it listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    let visitor = Visitor {
        address: address.split(' ').next().unwrap().parse().unwrap(),
    };
    let warned = || program.lines("names a business that the config does not");
    assert_eq!(warned().len(), 1, "{:?}", warned());
    assert!(
        warned()[0].contains("user=two business=none"),
        "{:?}",
        warned()
    );
    let refused = visitor.ask("POST", "/-/reload", SHOP).await;
    assert_eq!(refused.status, 403);
    assert_eq!(visitor.ask("POST", "/-/reload", ALL).await.status, 200);
    wait_until("it warns again", || warned().len() == 2).await;
    let text = fs::read_to_string(&file).unwrap().replace("none", "gone");
    folder.write("web.yaml", &text);
    assert_eq!(visitor.ask("GET", "/metrics", TWO).await.status, 200);
    wait_until("it warns of another", || warned().len() == 3).await;
    assert!(warned()[2].contains("business=gone"), "{:?}", warned());
}
