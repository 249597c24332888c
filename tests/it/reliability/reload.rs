//! Reload: a config is applied completely or not at all, and unchanged sources keep values and schedule.

use std::time::Duration;

use tokio::time::sleep;

use super::program::{Folder, Program};
use crate::harness::{Api, token};
use crate::page::Page;
use crate::shards::shard_without_account;

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

/// Returns the lines of a page that contain `text`.
fn lines_with(page: &Page, text: &str) -> Vec<String> {
    let lines = page.text.lines();
    lines
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

async fn reload(program: &Program) -> (u16, String) {
    let response = program.visitor.request("POST", "/-/reload", "").await;
    (response.status, response.text())
}

/// Returns whether the last reload succeeded, and the time of the last success.
fn reload_status(page: &Page) -> (Option<f64>, Option<f64>) {
    (
        page.value("exporter_config_last_reload_successful", &[]),
        page.value("exporter_config_last_reload_success_timestamp_seconds", &[]),
    )
}

#[tokio::test]
async fn campaign_is_duplicate_of_account_in_another_shard() {
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
    let shard = shard_without_account("10150000000001101", CAMPAIGN);
    let (index, count) = (shard.index(), shard.count());
    let flags = [
        "--web.enable-lifecycle",
        &format!("--shard.index={index}"),
        &format!("--shard.count={count}"),
    ];
    let program = Program::start(&folder, &flags).await;
    let is_exported = |page: &Page| {
        !page
            .all("delivered", &[("campaign_id", CAMPAIGN)])
            .is_empty()
    };
    program.visitor.page_when(is_exported).await;
    configure("ad_accounts: [{ id: act_10150000000001101 }],");
    assert_eq!(reload(&program).await.0, 200);
    // Without waiting for the next discovery, which is due in an hour.
    program.visitor.page_when(|page| !is_exported(page)).await;
    configure("");
    assert_eq!(reload(&program).await.0, 200);
    program.visitor.page_when(is_exported).await;
}

#[tokio::test]
async fn unchanged_sources_are_kept_and_removed_ones_disappear() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST, SECOND], true);
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_all_up().await;
    let status = reload_status(&before);
    assert_eq!(status.0, Some(1.0));
    let calls = |account: &str| {
        api.simulator
            .requests()
            .iter()
            .filter(|r| r.path.contains(account))
            .count()
    };
    let (first_calls, all_calls) = (calls("1101"), api.simulator.requests().len());
    // An unchanged config, by signal: only the reload itself is recorded.
    program.signal("HUP");
    program.logs("config reloaded").await;
    sleep(Duration::from_millis(300)).await;
    let same = program.visitor.page().await;
    assert_eq!(
        lines_with(&same, "act_1015"),
        lines_with(&before, "act_1015")
    );
    assert_eq!(
        lines_with(&same, "campaign_id"),
        lines_with(&before, "campaign_id")
    );
    assert!(
        reload_status(&same).1 > status.1,
        "the reload should be recorded: {:?}",
        reload_status(&same)
    );
    assert_eq!(api.simulator.requests().len(), all_calls);
    // One ad account and one business are removed.
    configure(&api, &folder, &[FIRST], false);
    assert_eq!(reload(&program).await, (200, "reloaded\n".to_owned()));
    let page = program
        .visitor
        .page_when(|page| page.all("up", &[]).len() == 2)
        .await;
    for removed in ["nordlicht", "1201\"", "1102\""] {
        assert_eq!(
            lines_with(&page, removed),
            Vec::<String>::new(),
            "{removed}"
        );
    }
    for kept in [
        "source=\"act_10150000000001101\"",
        "account_id=\"10150000000001101\"",
    ] {
        assert!(!lines_with(&page, kept).is_empty());
        assert_eq!(lines_with(&page, kept), lines_with(&before, kept));
    }
    page.assert("exporter_sources", &[("business", "aurora")], "1");
    // An ad account is added: it is polled immediately, and the other one is not polled again.
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
        lines_with(&page, "source=\"act_10150000000001101\""),
        lines_with(&before, "source=\"act_10150000000001101\"")
    );
    assert_eq!(calls("1101"), first_calls);
}

#[tokio::test]
async fn invalid_config_changes_nothing_and_is_reported() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST], true);
    let good = folder.read("config.yaml");
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_all_up().await;
    let calls = api.simulator.requests().len();
    for (invalid, error) in [
        (
            good.replace("date_preset: today", "date_preset: yestreday"),
            "yestreday",
        ),
        (format!("{good}\nsurprise: 1\n"), "surprise"),
        (String::new(), "found an empty file"),
        ("\u{0}\u{1}".to_owned(), "config.yaml"),
    ] {
        folder.write("config.yaml", &invalid);
        let (status, text) = reload(&program).await;
        assert_eq!(status, 500);
        assert!(
            text.contains(error),
            "the response should contain {error:?}: {text}"
        );
        let page = program.visitor.page().await;
        assert_eq!(reload_status(&page), (Some(0.0), reload_status(&before).1));
        assert_eq!(
            lines_with(&page, "campaign_id"),
            lines_with(&before, "campaign_id")
        );
        assert_eq!(
            lines_with(&page, "act_1015"),
            lines_with(&before, "act_1015")
        );
    }
    program.logs("config reload failed").await;
    assert_eq!(api.simulator.requests().len(), calls);
    assert_eq!(program.visitor.get("/-/ready").await.status, 200);
    folder.write("config.yaml", &good);
    assert_eq!(reload(&program).await.0, 200);
    assert_eq!(reload_status(&program.visitor.page().await).0, Some(1.0));
}

#[tokio::test]
async fn invalid_business_file_does_not_affect_others() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let hinode = folder.write("hinode", &token("HINODE"));
    let kereru = folder.write("kereru", &token("KERERU"));
    let business = |name: &str, token: &std::path::Path, account: &str| {
        format!(
            "- {{ name: {name}, access_token_file: {}, ad_accounts: [{{ id: act_1015000000000{account} }}] }}\n",
            token.display()
        )
    };
    folder.write("conf.d/hinode.yaml", &business("hinode", &hinode, "1301"));
    configure(&api, &folder, &[FIRST], false);
    let program = Program::start(&folder, &["--web.enable-lifecycle"]).await;
    let before = program.visitor.page_all_up().await;
    let calls = api.simulator.requests().len();
    // One business file becomes invalid while another one is added.
    folder.write("conf.d/hinode.yaml", "- { name: hinode, acount: 1 }\n");
    folder.write("conf.d/kereru.yaml", &business("kereru", &kereru, "1401"));
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
        assert_eq!(lines_with(&page, kept), lines_with(&before, kept));
    }
    let requests = api.simulator.requests();
    let unexpected = requests[calls..]
        .iter()
        .filter(|r| r.business.as_deref() != Some("kereru"));
    assert_eq!(
        unexpected.count(),
        0,
        "only the new business should be polled"
    );
}

#[tokio::test]
async fn http_reload_without_flag_is_forbidden() {
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
    program.logs("config reloaded").await;
}

#[tokio::test]
async fn invalid_web_config_keeps_the_previous_one() {
    let api = Api::demo().await;
    let folder = Folder::new();
    configure(&api, &folder, &[FIRST], false);
    let good = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let web = folder.write("web.yaml", good);
    let flag = format!("--web.config.file={}", web.display());
    let program = Program::start(&folder, &["--web.enable-lifecycle", &flag]).await;
    let active_header = async || {
        let response = program.visitor.get("/-/healthy").await;
        response.header("x-frame-options").map(str::to_owned)
    };
    assert_eq!(active_header().await.as_deref(), Some("deny"));
    assert_eq!(reload_status(&program.visitor.page().await).0, Some(1.0));
    folder.write(
        "web.yaml",
        "http_server_config: { headers: { Server: x } }\n",
    );
    let (status, text) = reload(&program).await;
    assert_eq!(status, 500);
    let error = "web.yaml:1: http_server_config.headers.Server: ";
    assert!(text.contains(error), "{text}");
    assert_eq!(active_header().await.as_deref(), Some("deny"));
    assert_eq!(reload_status(&program.visitor.page().await).0, Some(0.0));
    program.logs("web config reload failed").await;
    // By signal, with another error, and then with a valid file.
    folder.write("web.yaml", "basic_auth_user: {}\n");
    program.signal("HUP");
    program
        .logs("basic_auth_user: unknown key `basic_auth_user`; did you mean `basic_auth_users`?")
        .await;
    assert_eq!(active_header().await.as_deref(), Some("deny"));
    assert_eq!(reload_status(&program.visitor.page().await).0, Some(0.0));
    folder.write("web.yaml", &good.replace("deny", "sameorigin"));
    assert_eq!(reload(&program).await.0, 200);
    assert_eq!(active_header().await.as_deref(), Some("sameorigin"));
    assert_eq!(reload_status(&program.visitor.page().await).0, Some(1.0));
}
