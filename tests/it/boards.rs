//! Dashboards, recording rules and alerts: they use only metrics and labels that exist, and are complete.
//!
//! The queries are compared with the metrics catalog by a small PromQL tokenizer (`promql`). Whether they return data
//! is checked by `ci/boards.sh` with a real Prometheus.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation should fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use marketing_messages_exporter::commands::check::METRICS_OF_ALERTS;
use marketing_messages_exporter::metrics::catalog::{
    FAMILIES, MetricType, PREFIX, self_metric_families,
};
use serde_json::Value;

use crate::promql::{Names, divisors, names};
use crate::source_tree::files_below;

/// Number of files in `grafana/dashboards`.
const BOARD_COUNT: usize = 6;

/// Labels that Prometheus or its service discovery adds.
const TARGET_LABELS: &[&str] = &["job", "instance", "pod", "node"];

/// Labels of rows at the levels `adset` and `ad`.
const FINE_LEVEL_LABELS: &[&str] = &["adset_id", "adset_name", "ad_id", "ad_name"];

/// Metrics that queries use besides those of the catalog and the recording rules, with their labels.
const OTHER_METRICS: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("scrape_duration_seconds", &[]),
    (
        // Optional rates, from prometheus/exchange-rates.yaml.
        "currency:marketing_messages_fixed_rate:ratio",
        &["currency", "converted_to"],
    ),
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
            "currency",
        ],
    ),
    (
        "ALERTS_FOR_STATE",
        &[
            "alertname",
            "alertstate",
            "severity",
            "business",
            "account_id",
            "campaign_id",
            "campaign_name",
            "window",
            "currency",
        ],
    ),
];

/// Labels that queries create with `label_replace` and `label_join`.
const CREATED_LABELS: &[&str] = &[
    "source", "key", "le", "client", "day", "missing", "version", "urgency", "step",
];

#[test]
fn queries_use_existing_metrics_and_labels() {
    let catalog = MetricLabels::all();
    for (origin, expr) in board_queries().into_iter().chain(rule_queries()) {
        let errors = catalog.errors(&names(&expr));
        assert!(errors.is_empty(), "{origin}: {errors:?}");
    }
}

/// Metrics that recording rules use, but no alert.
const ONLY_RECORDED: [&str; 1] = ["cost_per_delivered"];

#[test]
fn check_knows_the_metrics_of_the_alerting_rules() {
    let rules = fs::read_to_string("prometheus/rules.yaml").unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let used: BTreeSet<&str> = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c| !is_name(c)))
        .filter_map(|word| word.strip_prefix(PREFIX))
        .filter(|name| !name.starts_with("exporter_"))
        .collect();
    let of_catalog: BTreeSet<&str> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| used.contains(name))
        .collect();
    let known: BTreeSet<&str> = METRICS_OF_ALERTS.into_iter().collect();
    // Recording rules without an alert use more.
    let missing: Vec<_> = known.difference(&of_catalog).collect();
    assert!(missing.is_empty(), "not in the rules: {missing:?}");
    let unknown: Vec<_> = of_catalog.difference(&known).copied().collect();
    assert_eq!(unknown, ONLY_RECORDED, "METRICS_OF_ALERTS should have them");
}

#[test]
fn unknown_metric_or_label_is_found() {
    let catalog = MetricLabels::all();
    for expr in [
        "sum(marketing_messages_spent)",
        r#"marketing_messages_spend{campaing_id="1"}"#,
        r#"marketing_messages_up{currency="EUR"}"#,
        "sum by (colour) (marketing_messages_spend)",
        "row:marketing_messages_spend:newest",
        "rate(marketing_messages_exporter_polls[5m])",
    ] {
        let errors = catalog.errors(&names(expr));
        assert_eq!(errors.len(), 1, "{expr}: {errors:?}");
    }
}

#[test]
fn recording_rules_are_used() {
    let queries: Vec<Names> = board_queries()
        .into_iter()
        .chain(rule_queries())
        .map(|(_, expr)| names(&expr))
        .collect();
    for rule in recording_rule_names() {
        let used = queries.iter().any(|q| q.metrics.contains_key(&rule));
        assert!(used, "no query uses {rule}");
    }
}

#[test]
fn legends_use_existing_labels() {
    let catalog = MetricLabels::all();
    for (name, board) in boards() {
        for target in targets(&board) {
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            for label in between(legend, "{{", "}}") {
                assert!(catalog.labels.contains(label), "{name}: {legend}");
            }
        }
    }
}

#[test]
fn boards_follow_grafana_conventions() {
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
        let variable_names: BTreeSet<&str> = variables
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
                variable_names.contains(used) || used.starts_with("__"),
                "{name}: no variable ${used}"
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
    assert!(!links.is_empty(), "boards should link to each other");
    assert!(
        links.iter().all(|uid| uids.contains(uid)),
        "links should point to boards: {links:?}"
    );
}

#[test]
fn panels_have_description_unit_and_thresholds() {
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
            let origin = format!("{name}, panel «{title}»");
            assert!(!title.is_empty(), "{name}: panel without title");
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{origin}: duplicate id"
            );
            if panel["type"] == "row" {
                continue;
            }
            assert!(
                panel["description"].as_str().unwrap().len() > 20,
                "{origin}: description missing or too short"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{origin}");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(defaults["unit"].is_string(), "{origin}: unit missing");
            if panel["type"] == "text" {
                continue;
            }
            let kind = panel["type"].as_str().unwrap();
            assert!(
                ["stat", "timeseries", "bargauge", "table"].contains(&kind),
                "{origin}: unexpected panel type {kind}"
            );
            assert!(defaults["noValue"].is_string(), "{origin}: noValue missing");
            // The default thresholds of Grafana show values from 80 in red.
            assert!(
                defaults["thresholds"]["steps"].is_array(),
                "{origin}: thresholds missing"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{origin}: no queries");
            let mut ref_ids = BTreeSet::new();
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{origin}");
                assert!(
                    ref_ids.insert(target["refId"].as_str().unwrap()),
                    "{origin}: duplicate refId"
                );
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for (name, board) in boards() {
        let mut cells = BTreeMap::new();
        for panel in board["panels"].as_array().unwrap() {
            let grid = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(
                grid("x") + grid("w") <= 24,
                "{name}: {} should end at column 24",
                panel["title"]
            );
            for x in grid("x")..grid("x") + grid("w") {
                for y in grid("y")..grid("y") + grid("h") {
                    let other = cells.insert((x, y), panel["title"].clone());
                    assert_eq!(
                        other, None,
                        "{name}: {} overlaps another panel",
                        panel["title"]
                    );
                }
            }
        }
    }
}

#[test]
fn amounts_are_not_aggregated_over_currencies() {
    let money: Vec<String> = ["spend", "purchase_value"]
        .iter()
        .map(|metric| format!("row:{PREFIX}{metric}:latest"))
        .collect();
    for (name, board) in boards() {
        // This board shows a single campaign, which has one currency.
        if name == "campaign" {
            continue;
        }
        for target in targets(&board) {
            let expr = target["expr"].as_str().unwrap();
            for metric in &money {
                let aggregations = [format!("sum({metric}"), format!("avg({metric}")];
                let without_spaces = expr.replace(['\n', ' '], "");
                assert!(
                    !aggregations
                        .iter()
                        .any(|text| without_spaces.contains(text)),
                    "{name} should aggregate by currency: {expr}"
                );
            }
        }
    }
}

#[test]
fn divisors_are_never_zero() {
    for (origin, expr) in board_queries().into_iter().chain(rule_queries()) {
        for divisor in divisors(&expr) {
            let safe = divisor.contains("> 0")
                || divisor.contains("clamp_min(")
                // A window is at least one day long, and the config check rejects a `stale_after` of 0.
                || divisor.contains("window_end")
                || divisor.contains("stale_after")
                || divisor.contains(">= 0.25")
                || divisor.trim_start().starts_with(|c: char| c.is_ascii_digit());
            assert!(safe, "{origin}: divisor can be 0: {divisor}");
        }
    }
}

#[test]
fn alerts_have_annotations_and_runbook() {
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
            "{name} is missing in rules.yaml"
        );
    }
    assert_eq!(alerts.len(), ALERTS.len(), "ALERTS should list every alert");
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(
            name.len() <= 40,
            "{name}: hosted rulers limit names to 40 characters"
        );
        let severity = alert["labels"]["severity"].as_str().unwrap();
        let is_watchdog = name == "MarketingMessagesWatchdog";
        assert!(
            ["critical", "warning", "info"].contains(&severity)
                || is_watchdog && severity == "none",
            "{name}: unexpected severity {severity}"
        );
        assert!(
            alert["for"].is_string() || is_watchdog,
            "{name}: `for` missing; a single evaluation should not page"
        );
        let text = |key: &str| alert["annotations"][key].as_str().unwrap().to_owned();
        assert!(
            text("description").len() > 60,
            "{name}: description too short"
        );
        let is_about_exporter = text("dashboard_url").ends_with("/d/marketing-messages-exporter");
        assert!(
            text("summary").contains("$labels") || is_about_exporter,
            "{name}: the summary should name the object"
        );
        assert!(
            text("description").contains("ALERTS_FOR_STATE") || is_watchdog,
            "{name}: the description should contain since when"
        );
        for (_, label) in alert["labels"].as_mapping().unwrap() {
            assert!(
                !label.as_str().unwrap().contains("$value"),
                "{name}: a label with a changing value would create a new alert at each evaluation"
            );
        }
        assert_eq!(
            text("runbook_url"),
            format!("{RUNBOOKS_URL}#{}", name.to_lowercase()),
            "{name}: the runbook of another alert"
        );
        assert!(
            anchors.contains(&name.to_lowercase()),
            "{name}: docs/runbooks.md has no section for it"
        );
        assert!(
            text("dashboard_url").starts_with("http://localhost:3000/d/marketing-messages-"),
            "{name}: {}",
            text("dashboard_url")
        );
        assert!(
            text("ads_manager_url").starts_with("https://adsmanager.facebook.com/"),
            "{name}: {}",
            text("ads_manager_url")
        );
    }
    let expected: BTreeSet<String> = ALERTS.iter().map(|a| a.to_lowercase()).collect();
    let runbook_anchors: Vec<_> = anchors
        .iter()
        .filter(|a| a.starts_with("marketingmessages"))
        .collect();
    assert_eq!(
        runbook_anchors.len(),
        expected.len(),
        "each runbook should belong to an alert: {runbook_anchors:?}"
    );
}

/// Base of the links to runbooks, which users replace. It is documented at the start of `rules.yaml`.
const RUNBOOKS_URL: &str = "https://runbooks.example.org/runbooks.md";

#[test]
fn link_bases_are_documented_in_rules_and_runbooks() {
    for file in ["prometheus/rules.yaml", "docs/runbooks.md"] {
        let text = fs::read_to_string(root(file)).unwrap();
        let edit = "sed -i 's#https://runbooks.example.org/runbooks.md#RUNBOOKS_URL#; \
                    s#http://localhost:3000#GRAFANA_URL#' rules.yaml";
        assert!(text.contains(edit), "{file} should contain {edit}");
    }
}

#[test]
fn groups_have_20_rules_and_an_interval_of_a_minute() {
    for group in rules()["groups"].as_sequence().unwrap() {
        let name = group["name"].as_str().unwrap();
        let rules = group["rules"].as_sequence().unwrap();
        assert!(rules.len() <= 20, "{name}: {} rules", rules.len());
        assert_eq!(group["interval"], "1m", "{name}");
    }
}

/// Campaign alerts use values only through the recording rules, which contain only fresh values. Thresholds and
/// properties of campaigns do not age.
#[test]
fn campaign_alerts_use_only_fresh_values() {
    let values = [
        "spend",
        "delivered",
        "link_clicks",
        "read_ratio",
        "cost_per_link_click",
        "conversions",
        "conversion_value",
        "website_purchase_roas",
    ];
    for alert in alerts() {
        let used = names(alert["expr"].as_str().unwrap()).metrics;
        for value in values {
            assert!(
                !used.contains_key(&format!("{PREFIX}{value}")),
                "{:?} uses {value} without regard to its age",
                alert["alert"]
            );
        }
    }
}

#[test]
fn alerts_have_rule_tests() {
    let tests = ["rules.test.yaml", "timelines.yaml"]
        .map(|file| fs::read_to_string(root("prometheus").join(file)).unwrap())
        .concat();
    for alert in ALERTS {
        let short_name = alert.trim_start_matches("MarketingMessages");
        assert!(
            tests.contains(&format!(r#"alertname="{alert}""#))
                || tests.contains(&format!("alert: {short_name},")),
            "{alert}: no test expects it"
        );
    }
}

/// Names of all alerts in `prometheus/rules.yaml`.
const ALERTS: &[&str] = &[
    "MarketingMessagesSpendAboveThreshold",
    "MarketingMessagesRoasBelowThreshold",
    "MarketingMessagesCostPerPurchaseHigh",
    "MarketingMessagesCostPerLinkClickHigh",
    "MarketingMessagesReadRatioBelowThreshold",
    "MarketingMessagesSpendWithoutPurchases",
    "MarketingMessagesLimitNotJudged",
    "MarketingMessagesPurchasesStopped",
    "MarketingMessagesDeliveryStalled",
    "MarketingMessagesBudgetPaceHigh",
    "MarketingMessagesSpendUnusual",
    "MarketingMessagesRoasUnusual",
    "MarketingMessagesCampaignHasIssues",
    "MarketingMessagesAdAccountNotActive",
    "MarketingMessagesSpendCapNear",
    "MarketingMessagesExporterDown",
    "MarketingMessagesMetaUnreachable",
    "MarketingMessagesDataStale",
    "MarketingMessagesPollsFailing",
    "MarketingMessagesDiscoveryFailing",
    "MarketingMessagesCampaignsVanished",
    "MarketingMessagesShardMissing",
    "MarketingMessagesWatchdog",
    "MarketingMessagesTokenInvalid",
    "MarketingMessagesCredentialsUnreadable",
    "MarketingMessagesTokenExpiresSoon",
    "MarketingMessagesApiQuotaHigh",
    "MarketingMessagesApiErrorRateHigh",
    "MarketingMessagesApiVersionRetiring",
    "MarketingMessagesFieldRejected",
    "MarketingMessagesConfigReloadFailed",
    "MarketingMessagesWebConfigReloadFailed",
    "MarketingMessagesStateNotWritten",
    "MarketingMessagesTlsCertExpiresSoon",
];

/// The labels of every metric that a query can use.
struct MetricLabels {
    by_metric: BTreeMap<String, BTreeSet<&'static str>>,
    /// Labels of any metric, and those that queries create.
    labels: BTreeSet<&'static str>,
}

impl MetricLabels {
    fn all() -> Self {
        let mut by_metric = BTreeMap::new();
        for family in FAMILIES.iter().filter(|family| !family.name.is_empty()) {
            let mut labels: BTreeSet<_> = family.labels.iter().copied().collect();
            // The catalog lists the labels of the level `campaign`; row metrics have more at finer levels.
            if labels.contains("campaign_name") && labels.contains("window") {
                labels.extend(FINE_LEVEL_LABELS);
            }
            by_metric.insert(format!("{PREFIX}{}", family.name), labels);
        }
        for family in self_metric_families::ALL {
            let labels: BTreeSet<_> = family.labels.iter().copied().collect();
            if family.kind == MetricType::Histogram {
                // Native histograms, to which Prometheus can convert the buckets, have no suffix.
                by_metric.insert(family.name.to_owned(), labels.clone());
                let bucket_labels = labels.iter().copied().chain(["le"]).collect();
                by_metric.insert(format!("{}_bucket", family.name), bucket_labels);
                by_metric.insert(format!("{}_sum", family.name), labels.clone());
                by_metric.insert(format!("{}_count", family.name), labels);
            } else {
                by_metric.insert(family.name.to_owned(), labels);
            }
        }
        // A recording rule can keep any label of its inputs.
        let labels: BTreeSet<&'static str> = by_metric.values().flatten().copied().collect();
        for rule in recording_rule_names() {
            by_metric.insert(rule, labels.clone());
        }
        for (name, labels) in OTHER_METRICS {
            by_metric.insert((*name).to_owned(), labels.iter().copied().collect());
        }
        for labels in by_metric.values_mut() {
            labels.extend(TARGET_LABELS);
        }
        let mut labels: BTreeSet<_> = by_metric.values().flatten().copied().collect();
        labels.extend(CREATED_LABELS);
        Self { by_metric, labels }
    }

    /// Returns an error for each unknown metric and label of a query.
    fn errors(&self, names: &Names) -> Vec<String> {
        let mut errors = Vec::new();
        for (metric, matched) in &names.metrics {
            let Some(labels) = self.by_metric.get(metric) else {
                errors.push(format!("unknown metric {metric}"));
                continue;
            };
            let unknown = matched
                .iter()
                .filter(|label| !labels.contains(label.as_str()));
            errors.extend(unknown.map(|label| format!("{metric} has no label {label}")));
        }
        let unknown = names
            .labels
            .iter()
            .filter(|label| !self.labels.contains(label.as_str()));
        errors.extend(unknown.map(|label| format!("unknown label {label}")));
        errors
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns all boards with the names of their files.
fn boards() -> Vec<(String, Value)> {
    let boards: Vec<_> = files_below("grafana/dashboards")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path
                .strip_prefix("grafana/dashboards/")
                .unwrap()
                .trim_end_matches(".json");
            (name.to_owned(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    assert_eq!(boards.len(), BOARD_COUNT);
    boards
}

fn targets(board: &Value) -> Vec<&Value> {
    let panels = board["panels"].as_array().unwrap();
    panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .collect()
}

/// Returns the queries of all boards, each with a description of its origin.
fn board_queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for (name, board) in boards() {
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let origin = format!("{name}, panel {} {}", panel["title"], target["refId"]);
                queries.push((origin, target["expr"].as_str().unwrap().to_owned()));
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
            let origin = format!("{name}, variable {}", variable["name"]);
            let inner = query.strip_suffix(')').unwrap();
            if let Some(inner) = inner.strip_prefix("label_values(") {
                let (selector, label) = inner.rsplit_once(',').unwrap();
                queries.push((origin, format!("group by ({label}) ({selector})")));
            } else {
                queries.push((
                    origin,
                    inner.strip_prefix("query_result(").unwrap().to_owned(),
                ));
            }
        }
    }
    assert!(
        queries.len() > 100,
        "only {} queries were found",
        queries.len()
    );
    queries
}

fn rules() -> serde_yaml::Value {
    serde_yaml::from_str(&fs::read_to_string(root("prometheus/rules.yaml")).unwrap()).unwrap()
}

fn all_rules() -> Vec<serde_yaml::Value> {
    let groups = rules()["groups"].as_sequence().unwrap().clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap().clone())
        .collect()
}

fn alerts() -> Vec<serde_yaml::Value> {
    all_rules()
        .into_iter()
        .filter(|rule| rule["alert"].is_string())
        .collect()
}

fn recording_rule_names() -> Vec<String> {
    let rules = all_rules();
    rules
        .iter()
        .filter_map(|rule| rule["record"].as_str())
        .map(str::to_owned)
        .collect()
}

fn rule_queries() -> Vec<(String, String)> {
    let query = |rule: &serde_yaml::Value| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        (
            format!("rule {name}"),
            rule["expr"].as_str().unwrap().to_owned(),
        )
    };
    all_rules().iter().map(query).collect()
}

/// Returns the trimmed texts between each `open` and the next `close`.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| part.split_once(close))
        .map(|(inside, _)| inside.trim())
        .collect()
}

/// Returns the variable names after `$` that are not in braces.
fn dollars(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let parts = text.split('$').skip(1);
    parts
        .map(|part| part.split(|c| !word(c)).next().unwrap_or_default())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_'))
        .collect()
}
