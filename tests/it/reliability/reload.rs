//! Reload: all of it or nothing, and what did not change does not notice.

use std::time::Duration;

use tokio::time::sleep;

use super::program::{Folder, Program};
use crate::harness::{Api, token};
use crate::page::Page;
use crate::shards::apart;

const FIRST: &str = "{ id: act_10150000000001101 }";
const SECOND: &str = "{ id: act_10150000000001102 }";

fn configure(api: &Api, folder: &Folder, accounts: &[&str], nordlicht: bool) {
    let aurora = folder.write("aurora", &token("AURORA"));
    let other = folder.write("nordlicht", &token("NORDLICHT"));
    let mut text = format!(
        "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}, {{ name: week, date_preset: last_7d }}]
business_files: [conf.d/*.yaml]
businesses:
  - {{ name: aurora, access_token_file: {}, ad_accounts: [{}] }}
",
        api.simulator.url(),
        aurora.display(),
        accounts.join(", ")
    );
    if nordlicht {
        text += &format!(
            "  - {{ name: nordlicht, access_token_file: {}, ad_accounts: [{{ id: act_10150000000001201 }}] }}\n",
            other.display()
        );
    }
    folder.write("config.yaml", &text);
}

/// Lines that speak of a source or business, without those that move by themselves.
fn about(page: &Page, text: &str) -> Vec<String> {
    let lines = page.text.lines();
    lines
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

async fn reload(program: &Program) -> (u16, String) {
    let answer = program.visitor.ask("POST", "/-/reload", "").await;
    (answer.status, answer.text())
}

fn loaded(page: &Page) -> (Option<f64>, Option<f64>) {
    (
        page.value("exporter_config_last_reload_successful", &[]),
        page.value("exporter_config_last_reload_success_timestamp_seconds", &[]),
    )
}

#[tokio::test]
async fn reload_campaign_gives_way_to_an_ad_account_that_another_shard_polls_from_now_on() {
    const CAMPAIGN: &str = "120210000000011000";
    let api = Api::demo().await;
    let folder = Folder::new();
    let aurora = folder.write("aurora", &token("AURORA"));
    let configure = |accounts: &str| {
        let text = format!(
            "graph: {{ url: \"{}\" }}
polling: {{ interval: 300ms }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: aurora, access_token_file: {}, {accounts} campaigns: [{{ id: \"{CAMPAIGN}\" }}] }}
",
            api.simulator.url(),
            aurora.display(),
        );
        folder.write("config.yaml", &text);
    };
    configure("");
    let shard = apart("10150000000001101", CAMPAIGN);
    let (index, count) = (shard.index(), shard.count());
    let flags = [
        "--web.enable-lifecycle",
        &format!("--shard.index={index}"),
        &format!("--shard.count={count}"),
    ];
    let program = Program::start(&folder, &flags).await;
    let shown = |page: &Page| {
        !page
            .all("delivered", &[("campaign_id", CAMPAIGN)])
            .is_empty()
    };
    program.visitor.page_when(shown).await;
    configure("ad_accounts: [{ id: act_10150000000001101 }],");
    assert_eq!(reload(&program).await.0, 200);
    // Long before the next discovery, which is an hour away.
    program.visitor.page_when(|page| !shown(page)).await;
    configure("");
    assert_eq!(reload(&program).await.0, 200);
    program.visitor.page_when(shown).await;
}

#[tokio::test]
async fn reload_what_did_not_change_keeps_values_and_schedule_and_what_is_gone_vanishes() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST, SECOND], true);
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_up().await;
    let times = loaded(&before);
    assert_eq!(times.0, Some(1.0));
    let calls = |account: &str| {
        api.simulator
            .requests()
            .iter()
            .filter(|r| r.path.contains(account))
            .count()
    };
    let (first, all) = (calls("1101"), api.simulator.requests().len());
    // The same again, by signal: nothing happens but that it is told.
    program.signal("HUP");
    program.logs("the config was reloaded").await;
    sleep(Duration::from_millis(300)).await;
    let same = program.visitor.page().await;
    assert_eq!(about(&same, "act_1015"), about(&before, "act_1015"));
    assert_eq!(about(&same, "campaign_id"), about(&before, "campaign_id"));
    assert!(loaded(&same).1 > times.1);
    assert_eq!(api.simulator.requests().len(), all);
    // One ad account and one business less.
    configure(&api, &folder, &[FIRST], false);
    assert_eq!(reload(&program).await, (200, "reloaded\n".to_owned()));
    let page = program
        .visitor
        .page_when(|page| page.all("up", &[]).len() == 2)
        .await;
    for gone in ["nordlicht", "1201\"", "1102\""] {
        assert_eq!(about(&page, gone), Vec::<String>::new(), "{gone}");
    }
    for kept in [
        "source=\"act_10150000000001101\"",
        "account_id=\"10150000000001101\"",
    ] {
        assert!(!about(&page, kept).is_empty());
        assert_eq!(about(&page, kept), about(&before, kept));
    }
    page.assert("exporter_sources", &[("business", "aurora")], "1");
    // And back: what is new is polled at once, what stayed is not asked again.
    configure(&api, &folder, &[SECOND, FIRST], false);
    assert_eq!(reload(&program).await.0, 200);
    let page = program
        .visitor
        .page_when(|page| {
            page.all("up", &[])
                .iter()
                .filter(|up| up.number == "1")
                .count()
                == 4
        })
        .await;
    assert_eq!(
        about(&page, "source=\"act_10150000000001101\""),
        about(&before, "source=\"act_10150000000001101\"")
    );
    assert_eq!(calls("1101"), first);
}

#[tokio::test]
async fn reload_a_bad_file_changes_nothing_and_says_why() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST], true);
    let good = folder.read("config.yaml");
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_up().await;
    let calls = api.simulator.requests().len();
    for (bad, complaint) in [
        (
            good.replace("date_preset: today", "date_preset: yestreday"),
            "yestreday",
        ),
        (format!("{good}\nsurprise: 1\n"), "surprise"),
        (String::new(), "nothing in this file"),
        ("\u{0}\u{1}".to_owned(), "config.yaml"),
    ] {
        folder.write("config.yaml", &bad);
        let (status, text) = reload(&program).await;
        assert_eq!(status, 500);
        assert!(text.contains(complaint), "{complaint}: {text}");
        let page = program.visitor.page().await;
        assert_eq!(loaded(&page), (Some(0.0), loaded(&before).1));
        assert_eq!(about(&page, "campaign_id"), about(&before, "campaign_id"));
        assert_eq!(about(&page, "act_1015"), about(&before, "act_1015"));
    }
    program.logs("the config was not reloaded").await;
    assert_eq!(api.simulator.requests().len(), calls);
    assert_eq!(program.visitor.get("/-/ready").await.status, 200);
    folder.write("config.yaml", &good);
    assert_eq!(reload(&program).await.0, 200);
    assert_eq!(loaded(&program.visitor.page().await).0, Some(1.0));
}

#[tokio::test]
async fn reload_a_bad_business_file_refuses_itself_alone() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let hinode = folder.write("hinode", &token("HINODE"));
    let kereru = folder.write("kereru", &token("KERERU"));
    let of = |name: &str, token: &std::path::Path, account: &str| {
        format!(
            "- {{ name: {name}, access_token_file: {}, ad_accounts: [{{ id: act_1015000000000{account} }}] }}\n",
            token.display()
        )
    };
    folder.write("conf.d/hinode.yaml", &of("hinode", &hinode, "1301"));
    configure(&api, &folder, &[FIRST], false);
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_up().await;
    let calls = api.simulator.requests().len();
    // One customer's file breaks while another one comes.
    folder.write("conf.d/hinode.yaml", "- { name: hinode, acount: 1 }\n");
    folder.write("conf.d/kereru.yaml", &of("kereru", &kereru, "1401"));
    let (status, text) = reload(&program).await;
    assert_eq!(status, 500);
    assert!(
        text.contains("hinode.yaml") && !text.contains("kereru.yaml"),
        "{text}"
    );
    let page = program
        .visitor
        .page_when(|page| {
            let up = page.all("up", &[("business", "kereru")]);
            up.len() == 2 && up.iter().all(|up| up.number == "1")
        })
        .await;
    page.assert("exporter_config_last_reload_successful", &[], "0");
    for kept in ["business=\"hinode\",source", "business=\"aurora\",source"] {
        assert_eq!(about(&page, kept), about(&before, kept));
    }
    let asked = api.simulator.requests();
    let asked = asked[calls..]
        .iter()
        .filter(|r| r.business.as_deref() != Some("kereru"));
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn reload_over_http_is_forbidden_unless_enabled() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST], false);
    let program = Program::start(&folder, &[]).await;
    let (status, text) = reload(&program).await;
    assert_eq!(status, 403);
    assert!(text.contains("--web.enable-lifecycle"), "{text}");
    let get = program.visitor.get("/-/reload").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    program.signal("HUP");
    program.logs("the config was reloaded").await;
}

#[tokio::test]
async fn reload_refuses_a_wrong_web_config_and_the_old_one_stays_in_force() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST], false);
    let good = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let web = folder.write("web.yaml", good);
    let flag = format!("--web.config.file={}", web.display());
    let program = Program::start(&folder, &["--web.enable-lifecycle", &flag]).await;
    let in_force = async || {
        let answer = program.visitor.get("/-/healthy").await;
        answer.header("x-frame-options").map(str::to_owned)
    };
    assert_eq!(in_force().await.as_deref(), Some("deny"));
    assert_eq!(loaded(&program.visitor.page().await).0, Some(1.0));
    folder.write(
        "web.yaml",
        "http_server_config: { headers: { Server: x } }\n",
    );
    let (status, told) = reload(&program).await;
    assert_eq!(status, 500);
    let complaint = "web.yaml:1: http_server_config.headers.Server: ";
    assert!(told.contains(complaint), "{told}");
    assert_eq!(in_force().await.as_deref(), Some("deny"));
    assert_eq!(loaded(&program.visitor.page().await).0, Some(0.0));
    program.logs("the web config was not taken up").await;
    // By signal as well, with another mistake, and then with none.
    folder.write("web.yaml", "basic_auth_user: {}\n");
    program.signal("HUP");
    program.logs("basic_auth_user: this key is not known").await;
    assert_eq!(in_force().await.as_deref(), Some("deny"));
    assert_eq!(loaded(&program.visitor.page().await).0, Some(0.0));
    folder.write("web.yaml", &good.replace("deny", "sameorigin"));
    assert_eq!(reload(&program).await.0, 200);
    assert_eq!(in_force().await.as_deref(), Some("sameorigin"));
    assert_eq!(loaded(&program.visitor.page().await).0, Some(1.0));
}
