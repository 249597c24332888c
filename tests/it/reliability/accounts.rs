//! Sources that depend on what the API lists: `ad_accounts: all`, and `campaign_name`.

use std::collections::BTreeSet;

use graph_simulator::World;

use super::program::{Folder, Program};
use crate::harness::{Api, token};
use crate::page::Page;

/// Ad accounts of business `aurora` in the simulated world.
const ACCOUNTS: [&str; 2] = ["act_10150000000001101", "act_10150000000001102"];

fn sources(page: &Page) -> BTreeSet<String> {
    let up = page.all("up", &[]);
    up.iter().map(|up| up.label("source").to_owned()).collect()
}

fn campaigns(page: &Page) -> BTreeSet<String> {
    let spend = page.all("spend", &[]);
    let name = |sample: &&crate::page::Sample| sample.label("campaign_name").to_owned();
    spend.iter().map(name).collect()
}

#[tokio::test]
async fn all_ad_accounts_are_looked_up_at_start_and_reload() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let aurora = folder.write("aurora", &token("AURORA"));
    let configure = |exclude: &str| {
        let text = format!(
            "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: aurora, access_token_file: {}, ad_accounts: all, {exclude} labels: {{ team: growth }} }}
",
            api.simulator.url(),
            aurora.display()
        );
        folder.write("config.yaml", &text);
    };
    configure("");
    let program = Program::start(&folder, &[]).await;
    let all = ACCOUNTS.map(str::to_owned).into();
    let page = program
        .visitor
        .page_when(|page| sources(page) == all && !campaigns(page).is_empty())
        .await;
    for sample in page.all("spend", &[]) {
        assert_eq!(sample.label("team"), "growth", "labels of the business");
    }
    configure(&format!("exclude: [{}],", ACCOUNTS[1]));
    program.signal("HUP");
    let first = [ACCOUNTS[0].to_owned()].into();
    program
        .visitor
        .page_when(|page| sources(page) == first)
        .await;
}

#[tokio::test]
async fn failed_lookup_of_one_business_does_not_affect_another() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let aurora = folder.write("aurora", &token("AURORA"));
    let text = format!(
        "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: missing, access_token_file: no-such-file, ad_accounts: all }}
  - {{ name: aurora, access_token_file: {}, ad_accounts: all }}
",
        api.simulator.url(),
        aurora.display()
    );
    folder.write("config.yaml", &text);
    let program = Program::start(&folder, &[]).await;
    let all = ACCOUNTS.map(str::to_owned).into();
    program.visitor.page_when(|page| sources(page) == all).await;
    program.logs("lookup of ad accounts failed").await;
}

#[tokio::test]
async fn lookup_without_response_does_not_delay_another_business() {
    let api = Api::demo().await;
    // The only ad account of nordlicht. The test waits for less than the timeout of a request.
    api.inject_faults(&["hang@act_10150000000001201"]);
    let folder = Folder::new();
    let aurora = folder.write("aurora", &token("AURORA"));
    let nordlicht = folder.write("nordlicht", &token("NORDLICHT"));
    let text = format!(
        "graph: {{ url: \"{}\" }}
windows: [{{ name: today, date_preset: today }}]
businesses:
  - {{ name: nordlicht, access_token_file: {}, ad_accounts: all }}
  - {{ name: aurora, access_token_file: {}, ad_accounts: all }}
",
        api.simulator.url(),
        nordlicht.display(),
        aurora.display()
    );
    folder.write("config.yaml", &text);
    let program = Program::start(&folder, &[]).await;
    let all = ACCOUNTS.map(str::to_owned).into();
    program
        .visitor
        .page_when(|page| sources(page) == all && !campaigns(page).is_empty())
        .await;
}

#[tokio::test]
async fn hanging_lookups_do_not_block_another_business() {
    const HANGING: usize = 60;
    let mut world = World::demo();
    for number in 0..HANGING {
        let mut token = world.tokens[0].clone();
        token.text = format!("EAASimulatedTokenOfH{number}");
        token.business = format!("h{number}");
        world.tokens.push(token);
    }
    let api = Api::start(world).await;
    let faults: Vec<String> = (0..HANGING)
        .map(|number| format!("hang@business:h{number}"))
        .collect();
    api.inject_faults(&faults.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = Folder::new();
    let business = |name: &str, token: &str| {
        let file = folder.write(name, token);
        let file = file.display();
        format!("  - {{ name: {name}, access_token_file: {file}, ad_accounts: all }}\n")
    };
    let mut businesses: Vec<String> = (0..HANGING)
        .map(|number| business(&format!("h{number}"), &token(&format!("H{number}"))))
        .collect();
    // Tasks do not start in this order, but those of the first and of the last businesses start early.
    businesses.insert(HANGING / 3, business("aurora", &token("AURORA")));
    // No lookup ends because of a timeout.
    let text = format!(
        "graph: {{ url: \"{}\", timeout: 10h }}
windows: [{{ name: today, date_preset: today }}]
businesses:
{}",
        api.simulator.url(),
        businesses.concat()
    );
    folder.write("config.yaml", &text);
    let program = Program::start(&folder, &[]).await;
    let all = ACCOUNTS.map(str::to_owned).into();
    program
        .visitor
        .page_when(|page| sources(page) == all && !campaigns(page).is_empty())
        .await;
}

#[tokio::test]
async fn campaign_name_selects_campaigns_by_their_whole_name() {
    let api = Api::demo().await;
    let config = |pattern: &str| {
        format!(
            "windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: aurora, access_token_env: AURORA, ad_accounts: [{{ id: {}, campaign_name: \"{pattern}\" }}] }}]",
            ACCOUNTS[0]
        )
    };
    let exporter = api.exporter(&config(".*")).await;
    let all = campaigns(&exporter.page_all_up().await);
    exporter.stop().await;
    assert!(all.len() > 1, "several campaigns are needed: {all:?}");
    let name = all.first().unwrap();
    let pattern: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '.' })
        .collect();
    let exporter = api.exporter(&config(&pattern)).await;
    assert_eq!(
        campaigns(&exporter.page_all_up().await),
        BTreeSet::from([name.clone()])
    );
    exporter.stop().await;
    // A part of the name does not match.
    let exporter = api.exporter(&config(&pattern[..pattern.len() - 1])).await;
    assert!(campaigns(&exporter.page_all_up().await).is_empty());
}

#[tokio::test]
async fn settle_after_is_exported() {
    let api = Api::demo().await;
    let exporter = api
        .exporter("insights: { settle_after: 2h }\nbusinesses: [{ name: aurora, access_token_env: AURORA, ad_accounts: [{ id: act_10150000000001101 }] }]")
        .await;
    let page = exporter.page_all_up().await;
    page.assert("exporter_settle_after_seconds", &[], "7200");
}
