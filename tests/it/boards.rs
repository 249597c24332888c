//! What people look at and are woken by: boards and rules name nothing that the exporter does not
//! say, and leave nothing out that a reader needs.
//!
//! Whether the queries return data only a real Prometheus can tell: `.ci/boards` asks one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers say what they expect by panicking too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use marketing_messages_exporter::exposition::catalog::{FAMILIES, PREFIX, Type, own_families};
use serde_json::Value;

use crate::promql::{Names, divisors, names};

/// Labels that stand on every series that Prometheus scraped, or on some replicas' only.
const SCRAPED: &[&str] = &["job", "instance", "pod", "node"];

/// Labels of the rows of finer levels.
const FINER: &[&str] = &["adset_id", "adset_name", "ad_id", "ad_name"];

/// What queries name beside the exporter's metrics and the recording rules, with labels.
const FOREIGN: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("scrape_duration_seconds", &[]),
    ("process_start_time_seconds", &[]),
    ("process_cpu_seconds_total", &[]),
    ("process_resident_memory_bytes", &[]),
    (
        "ALERTS",
        &[
            "alertname",
            "alertstate",
            "severity",
            "business",
            "account_id",
            "campaign_id",
            "campaign_name",
            "window",
        ],
    ),
];

/// Labels that queries make themselves, by `label_replace` and `label_join`.
const MADE: &[&str] = &["source", "key", "le"];

#[test]
fn queries_name_only_what_the_exporter_says() {
    let known = Known::all();
    for (place, expr) in board_queries().into_iter().chain(rule_queries()) {
        known.allows(&place, &names(&expr));
    }
}

#[test]
fn a_wrong_name_would_be_noticed() {
    let known = Known::all();
    for wrong in [
        "sum(marketing_messages_spent)",
        r#"marketing_messages_spend{campaing_id="1"}"#,
        r#"marketing_messages_up{currency="EUR"}"#,
        "sum by (colour) (marketing_messages_spend)",
        "row:marketing_messages_spend:newest",
        "rate(marketing_messages_exporter_polls[5m])",
    ] {
        let complaint = std::panic::catch_unwind(|| known.allows("here", &names(wrong)));
        assert!(complaint.is_err(), "{wrong}");
    }
}

#[test]
fn every_recording_rule_is_of_use() {
    let queries: Vec<Names> = board_queries()
        .into_iter()
        .chain(rule_queries())
        .map(|(_, expr)| names(&expr))
        .collect();
    for rule in recorded() {
        let used = queries.iter().any(|q| q.metrics.contains_key(&rule));
        assert!(used, "{rule} stands in no query");
    }
}

#[test]
fn legends_name_labels() {
    let known = Known::all();
    for (name, board) in boards() {
        for target in targets(&board) {
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            for label in between(legend, "{{", "}}") {
                assert!(known.labels.contains(label), "{name}: {legend}");
            }
        }
    }
}

#[test]
fn every_board_is_one_that_grafana_takes() {
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        let text = board.to_string();
        assert!(board["id"].is_null(), "{name}");
        assert_eq!(board["schemaVersion"], 42, "{name}");
        assert_eq!(board["editable"], false, "{name}");
        assert!(
            !text.contains("__inputs") && !text.contains("${DS_"),
            "{name}"
        );
        assert!(
            board["title"]
                .as_str()
                .unwrap()
                .starts_with("Marketing messages / ")
        );
        assert!(!board["description"].as_str().unwrap().is_empty(), "{name}");
        let uid = board["uid"].as_str().unwrap().to_owned();
        assert!(uid.len() <= 40 && uids.insert(uid), "{name}");

        let variables = board["templating"]["list"].as_array().unwrap();
        let known: BTreeSet<&str> = variables
            .iter()
            .map(|v| v["name"].as_str().unwrap())
            .collect();
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        assert_eq!(variables[0]["name"], "datasource", "{name}");
        for variable in variables.iter().filter(|v| v["type"] == "query") {
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
            assert_eq!(variable["refresh"], 2, "{name}: {}", variable["name"]);
            assert!(!variable["label"].as_str().unwrap().is_empty(), "{name}");
        }
        for used in between(&text, "${", "}").into_iter().chain(dollars(&text)) {
            let used = used.split(':').next().unwrap();
            assert!(
                known.contains(used) || used.starts_with("__"),
                "{name}: ${used}"
            );
        }
    }
    let links: Vec<String> = boards()
        .iter()
        .flat_map(|(_, b)| {
            between(&b.to_string(), "\"/d/", "?")
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(!links.is_empty());
    assert!(links.iter().all(|uid| uids.contains(uid)), "{links:?}");
}

#[test]
fn every_panel_says_what_it_shows() {
    for (name, board) in boards() {
        let panels = board["panels"].as_array().unwrap();
        assert!(
            (5..=25).contains(&panels.len()),
            "{name}: {} panels",
            panels.len()
        );
        let mut ids = BTreeSet::new();
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            let place = format!("{name}, panel «{title}»");
            assert!(!title.is_empty(), "{name}: a panel has no title");
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{place}: its id is taken"
            );
            if panel["type"] == "row" {
                continue;
            }
            assert!(
                panel["description"].as_str().unwrap().len() > 20,
                "{place}: what is it?"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(defaults["unit"].is_string(), "{place}: no unit");
            if panel["type"] == "text" {
                continue;
            }
            let kind = panel["type"].as_str().unwrap();
            assert!(
                ["stat", "timeseries", "bargauge", "table"].contains(&kind),
                "{place}: {kind}"
            );
            assert!(
                defaults["noValue"].is_string(),
                "{place}: what if there is nothing?"
            );
            // Grafana's own default calls 80 of anything bad.
            assert!(
                defaults["thresholds"]["steps"].is_array(),
                "{place}: no thresholds"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place}: asks nothing");
            let mut letters = BTreeSet::new();
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{place}");
                assert!(
                    letters.insert(target["refId"].as_str().unwrap()),
                    "{place}: refId"
                );
            }
        }
    }
}

#[test]
fn panels_do_not_lie_on_each_other() {
    for (name, board) in boards() {
        let mut taken = BTreeMap::new();
        for panel in board["panels"].as_array().unwrap() {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(
                at("x") + at("w") <= 24,
                "{name}: {} is too wide",
                panel["title"]
            );
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    let other = taken.insert((x, y), panel["title"].clone());
                    assert_eq!(other, None, "{name}: {}", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn money_is_never_added_over_currencies() {
    let money: Vec<String> = ["spend", "purchase_value"]
        .iter()
        .map(|metric| format!("row:{PREFIX}{metric}:latest"))
        .collect();
    for (name, board) in boards() {
        // One campaign has one currency.
        if name == "campaign" {
            continue;
        }
        for target in targets(&board) {
            let expr = target["expr"].as_str().unwrap();
            for metric in &money {
                let added = [format!("sum({metric}"), format!("avg({metric}")];
                assert!(
                    !added
                        .iter()
                        .any(|a| expr.replace(['\n', ' '], "").contains(a)),
                    "{name}: {expr}"
                );
            }
        }
    }
}

#[test]
fn divisors_are_never_zero() {
    for (place, expr) in board_queries().into_iter().chain(rule_queries()) {
        for divisor in divisors(&expr) {
            let safe = divisor.contains("> 0")
                || divisor.contains("clamp_min(")
                // A window has a length, and a limit on age is refused where it is 0.
                || divisor.contains("window_end")
                || divisor.contains("stale_after")
                || divisor.contains(">= 0.25")
                || divisor.trim_start().starts_with(|c: char| c.is_ascii_digit());
            assert!(safe, "{place} divides by {divisor}");
        }
    }
}

#[test]
fn every_alert_says_what_happens_and_what_to_do() {
    let runbooks = fs::read_to_string(root("docs/runbooks.md")).unwrap();
    let anchors: BTreeSet<String> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.trim().to_lowercase())
        .collect();
    let alerts = alerts();
    for name in ALERTS {
        assert!(
            alerts.iter().any(|a| a["alert"] == *name),
            "{name} is missing"
        );
    }
    assert_eq!(alerts.len(), ALERTS.len());
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        assert!(
            alert["for"].is_string(),
            "{name}: one evaluation is enough to wake people"
        );
        for text in ["summary", "description", "runbook_url"] {
            assert!(
                !alert["annotations"][text].as_str().unwrap().is_empty(),
                "{name}: {text}"
            );
        }
        assert!(
            !alert["annotations"]["summary"]
                .as_str()
                .unwrap()
                .contains("{{"),
            "{name}"
        );
        for (_, label) in alert["labels"].as_mapping().unwrap() {
            assert!(
                !label.as_str().unwrap().contains("$value"),
                "{name}: a label that changes"
            );
        }
        let url = alert["annotations"]["runbook_url"].as_str().unwrap();
        let anchor = url.strip_prefix("docs/runbooks.md#").unwrap();
        assert!(
            anchors.contains(anchor),
            "{name}: docs/runbooks.md has no ## for {anchor}"
        );
        assert_eq!(anchor, name.to_lowercase(), "{name} points elsewhere");
    }
    let expected: BTreeSet<String> = ALERTS.iter().map(|a| a.to_lowercase()).collect();
    let stray: Vec<_> = anchors
        .iter()
        .filter(|a| a.starts_with("marketingmessages"))
        .collect();
    assert_eq!(
        stray.len(),
        expected.len(),
        "a runbook of no alert: {stray:?}"
    );
}

#[test]
fn every_alert_on_campaigns_waits_for_fresh_numbers() {
    let gate = "campaign:marketing_messages_fresh:bool == 1";
    for group in rules()["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            if group["name"] == "marketing-messages-campaigns" {
                assert!(
                    rule["expr"].as_str().unwrap().contains(gate),
                    "{:?}",
                    rule["alert"]
                );
            }
        }
    }
}

#[test]
fn every_alert_is_tested() {
    let tests = ["rules.test.yaml", "rules.days.test.yaml"]
        .map(|file| fs::read_to_string(root("prometheus").join(file)).unwrap())
        .concat();
    for alert in ALERTS {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert}: what does it say?"
        );
    }
}

/// The alerts that ship.
const ALERTS: &[&str] = &[
    "MarketingMessagesSpendAboveThreshold",
    "MarketingMessagesRoasBelowThreshold",
    "MarketingMessagesCostPerPurchaseAboveThreshold",
    "MarketingMessagesCostPerLinkClickAboveThreshold",
    "MarketingMessagesReadRatioBelowThreshold",
    "MarketingMessagesSpendWithoutPurchases",
    "MarketingMessagesPurchasesStopped",
    "MarketingMessagesDeliveryStalled",
    "MarketingMessagesBudgetPaceHigh",
    "MarketingMessagesDataStale",
    "MarketingMessagesPollsFailing",
    "MarketingMessagesTokenInvalid",
    "MarketingMessagesTokenExpiresSoon",
    "MarketingMessagesApiQuotaHigh",
    "MarketingMessagesApiVersionRetiring",
    "MarketingMessagesFieldRejected",
    "MarketingMessagesConfigReloadFailed",
    "MarketingMessagesShardMissing",
    "MarketingMessagesExporterDown",
];

/// Every metric with the labels that it can have, and every label that there is.
struct Known {
    metrics: BTreeMap<String, BTreeSet<&'static str>>,
    labels: BTreeSet<&'static str>,
}

impl Known {
    fn all() -> Self {
        let mut metrics = BTreeMap::new();
        for family in FAMILIES.iter().filter(|family| !family.name.is_empty()) {
            let mut labels: BTreeSet<_> = family.labels.iter().copied().collect();
            // The finer levels and the account's are told by a row's labels.
            if labels.contains("campaign_name") && labels.contains("window") {
                labels.extend(FINER);
            }
            metrics.insert(format!("{PREFIX}{}", family.name), labels);
        }
        for family in own_families::ALL {
            let labels: BTreeSet<_> = family.labels.iter().copied().collect();
            if family.kind == Type::Histogram {
                let buckets = labels.iter().copied().chain(["le"]).collect();
                metrics.insert(format!("{}_bucket", family.name), buckets);
                metrics.insert(format!("{}_sum", family.name), labels.clone());
                metrics.insert(format!("{}_count", family.name), labels);
            } else {
                metrics.insert(family.name.to_owned(), labels);
            }
        }
        let labels: BTreeSet<&'static str> = metrics.values().flatten().copied().collect();
        // What a rule records has labels of what it was made of.
        for rule in recorded() {
            metrics.insert(rule, labels.clone());
        }
        for (name, labels) in FOREIGN {
            metrics.insert((*name).to_owned(), labels.iter().copied().collect());
        }
        for labels in metrics.values_mut() {
            labels.extend(SCRAPED);
        }
        let mut labels: BTreeSet<_> = metrics.values().flatten().copied().collect();
        labels.extend(MADE);
        Self { metrics, labels }
    }

    fn allows(&self, place: &str, names: &Names) {
        for (metric, matched) in &names.metrics {
            let Some(labels) = self.metrics.get(metric) else {
                panic!("{place} names {metric}, which nobody exports");
            };
            for label in matched {
                assert!(
                    labels.contains(label.as_str()),
                    "{place}: {metric} has no label {label}"
                );
            }
        }
        for label in &names.labels {
            assert!(
                self.labels.contains(label.as_str()),
                "{place}: there is no label {label}"
            );
        }
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The boards, with the names of their files.
fn boards() -> Vec<(String, Value)> {
    ["overview", "campaigns", "campaign", "exporter"]
        .into_iter()
        .map(|name| {
            let path = root("grafana/dashboards").join(format!("{name}.json"));
            let text = fs::read_to_string(path).unwrap();
            (name.to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect()
}

fn targets(board: &Value) -> Vec<&Value> {
    let panels = board["panels"].as_array().unwrap();
    panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .collect()
}

/// Every query of every board, with where it stands.
fn board_queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, board) in boards() {
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{name}, panel {} {}", panel["title"], target["refId"]);
                queries.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
        for annotation in board["annotations"]["list"].as_array().unwrap() {
            if let Some(expr) = annotation["expr"].as_str() {
                queries.push((
                    format!("{name}, annotation {}", annotation["name"]),
                    expr.to_owned(),
                ));
            }
        }
        for variable in board["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"]["query"].as_str() else {
                continue;
            };
            let place = format!("{name}, variable {}", variable["name"]);
            let inner = query.strip_suffix(')').unwrap();
            if let Some(inner) = inner.strip_prefix("label_values(") {
                let (selector, label) = inner.rsplit_once(',').unwrap();
                queries.push((place, format!("group by ({label}) ({selector})")));
            } else {
                queries.push((
                    place,
                    inner.strip_prefix("query_result(").unwrap().to_owned(),
                ));
            }
        }
    }
    assert!(queries.len() > 100);
    queries
}

fn rules() -> serde_yaml::Value {
    serde_yaml::from_str(&fs::read_to_string(root("prometheus/rules.yaml")).unwrap()).unwrap()
}

fn every_rule() -> Vec<serde_yaml::Value> {
    let groups = rules()["groups"].as_sequence().unwrap().clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap().clone())
        .collect()
}

fn alerts() -> Vec<serde_yaml::Value> {
    every_rule()
        .into_iter()
        .filter(|rule| rule["alert"].is_string())
        .collect()
}

fn recorded() -> Vec<String> {
    let rules = every_rule();
    rules
        .iter()
        .filter_map(|rule| rule["record"].as_str())
        .map(str::to_owned)
        .collect()
}

fn rule_queries() -> Vec<(String, String)> {
    let named = |rule: &serde_yaml::Value| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        (
            format!("rule {name}"),
            rule["expr"].as_str().unwrap().to_owned(),
        )
    };
    every_rule().iter().map(named).collect()
}

/// What stands between each pair of these marks.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| part.split_once(close))
        .map(|(inside, _)| inside.trim())
        .collect()
}

/// The names after `$`, without braces.
fn dollars(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let parts = text.split('$').skip(1);
    parts
        .map(|part| part.split(|c| !word(c)).next().unwrap_or_default())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_'))
        .collect()
}
