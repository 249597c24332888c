//! The config: one invalid file per error, valid files, and reloads.
//!
//! `UPDATE_CONFIG_ERRORS=1 cargo test` rewrites the expected errors; review the difference. Hostile
//! input is tested in `config_hostile`.
#![allow(clippy::expect_used, reason = "helpers of tests may panic too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use marketing_messages_exporter::config::{
    Config, ConfigLabels, NamedDocument, ThresholdSet, ZeroFill, json_schema,
};
use marketing_messages_exporter::model::{
    ACTION_TYPES, DatePreset, Level, SecretSource, ValueKind, WindowDates,
};
use marketing_messages_exporter::platform::file_reader::{self, ConfigFile};

const EXAMPLE: &str = "config.example.yaml";

const FIXTURES: &str = "tests/fixtures/config";

/// Guards against a wrong path, with which the tests would find no fixtures.
const MIN_BAD_FIXTURES: usize = 40;

/// A minimal config.
const MINIMAL_CONFIG: &str =
    "businesses: [{name: acme, access_token_env: T, ad_accounts: [{id: act_1}]}]\n";

#[test]
fn bad_file_gives_exact_errors() {
    let mut mismatches = Vec::new();
    let paths = fixtures("bad-", ".yaml");
    assert!(
        paths.len() >= MIN_BAD_FIXTURES,
        "the fixtures should be found: {paths:?}"
    );
    for path in paths {
        let errors_path = path.with_extension("txt");
        let errors = parse_fixture(&path)
            .err()
            .unwrap_or_else(|| "no error".to_owned());
        if env::var_os("UPDATE_CONFIG_ERRORS").is_some() {
            fs::write(&errors_path, format!("{errors}\n")).expect("fixtures should be writable");
        }
        let expected = fs::read_to_string(&errors_path).unwrap_or_default();
        if expected.trim_end() != errors {
            mismatches.push(format!(
                "{}\nexpected:\n{expected}found:\n{errors}",
                path.display()
            ));
        }
    }
    assert!(
        mismatches.is_empty(),
        "errors should be as expected:\n{}",
        mismatches.join("\n\n")
    );
}

#[test]
fn fixture_without_counterpart_does_not_exist() {
    let stems = |prefix, suffix| -> BTreeSet<PathBuf> {
        let stem = |path: PathBuf| path.with_extension("");
        fixtures(prefix, suffix).into_iter().map(stem).collect()
    };
    assert_eq!(stems("bad-", ".yaml"), stems("bad-", ".txt"));
    assert!(stems("bad-", ".d").is_subset(&stems("bad-", ".yaml")));
    assert_eq!(
        stems("", "").len(),
        stems("bad-", "").len() + stems("good-", "").len(),
        "each fixture should begin with bad- or good-"
    );
}

#[test]
fn good_file_is_accepted() {
    for path in fixtures("good-", ".yaml") {
        if let Err(errors) = parse_fixture(&path) {
            panic!("should be accepted: {errors}");
        }
    }
}

#[test]
fn all_errors_are_reported_together() {
    let errors = parse_fixture(&Path::new(FIXTURES).join("bad-many.yaml"))
        .expect_err("the fixture should be rejected");
    assert!(
        errors.lines().count() >= 10,
        "all errors should be reported: {errors}"
    );
}

#[test]
fn minimal_config_has_default_values() {
    let config = parse_main(MINIMAL_CONFIG).expect("the config should be accepted");
    assert_eq!(config.graph.url, "https://graph.facebook.com");
    assert_eq!(config.graph.version, "v27.0");
    assert_eq!(config.graph.timeout, Duration::from_secs(30));
    assert_eq!((config.graph.app, config.graph.ca_file), (None, None));
    assert_eq!(config.polling.interval, Duration::from_secs(900));
    assert_eq!(config.polling.concurrency, 8);
    assert_eq!(config.polling.stale_after, Duration::from_secs(3600));
    assert!((config.polling.quota_share - 0.75).abs() < f64::EPSILON);
    assert_eq!(config.insights.level, Level::Campaign);
    assert_eq!(config.insights.zero_fill, ZeroFill::Active);
    assert_eq!(config.insights.action_types, ACTION_TYPES);
    let dates = |name| DatePreset::parse(name).map(WindowDates::Preset);
    for (window, name) in config.windows.iter().zip(["today", "last_30d"]) {
        assert_eq!(
            (window.name.as_str(), Some(window.dates)),
            (name, dates(name))
        );
    }
    let business = &config.businesses[0];
    assert!(business.enabled && business.ad_accounts[0].conversions);
    assert_eq!(business.token, SecretSource::Env("T".to_owned()));
}

#[test]
fn example_shows_default_values() {
    let example = fs::read_to_string(EXAMPLE).expect("the example should exist");
    let config = parse_main(&example).expect("the example should be accepted");
    let defaults = parse_main(MINIMAL_CONFIG).expect("the config should be accepted");
    assert_eq!(config.graph, defaults.graph);
    assert_eq!(config.polling, defaults.polling);
    assert_eq!(config.insights, defaults.insights);
    assert_eq!(config.windows, defaults.windows);
}

#[test]
fn example_with_uncommented_keys_is_accepted() {
    let example = fs::read_to_string(EXAMPLE).expect("the example should exist");
    let mut lines = Vec::new();
    for line in example.lines() {
        // Of two keys that exclude each other, the second is in a comment.
        let is_alternative = line.contains("_env:") || line.contains("campaign_name:");
        let commented = line
            .trim_start()
            .strip_prefix("# ")
            .filter(|_| line.starts_with(' '));
        let list = line
            .strip_prefix("  #  - ")
            .or(line.strip_prefix("  #    "));
        match (commented, list) {
            _ if is_alternative => {}
            (_, Some(item)) => {
                let indent = if line.starts_with("  #  - ") {
                    "    - "
                } else {
                    "      "
                };
                lines.push(format!("{indent}{item}"));
            }
            (Some(key), _) => {
                let indent = line.len() - line.trim_start().len();
                lines.push(format!("{}{key}", " ".repeat(indent)));
            }
            _ => lines.push(line.replace("extra_fields: []", "extra_fields:")),
        }
    }
    let config = parse_main(&lines.join("\n")).expect("the example should be accepted");
    assert_eq!(config.insights.extra_fields[0].kind, ValueKind::Count);
    assert_eq!(config.windows.len(), 3);
    assert!(config.graph.app.is_some() && config.businesses[0].app.is_some());
    assert_eq!(config.businesses[0].ad_accounts[0].campaigns.len(), 1);
}

#[test]
fn example_has_every_key() {
    let example = fs::read_to_string(EXAMPLE).expect("the example should exist");
    let mut keys = Vec::new();
    collect_keys(&json_schema(), &mut keys);
    assert!(keys.len() > 50, "the keys should be found: {keys:?}");
    for key in keys {
        assert!(
            example.contains(&format!("{key}:")),
            "the example should have the key {key}"
        );
    }
}

/// Collects the keys of all mappings of a JSON schema.
fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                if let (true, Some(properties)) = (name == "properties", value.as_object()) {
                    keys.extend(properties.keys().cloned());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| collect_keys(value, keys));
        }
        _ => {}
    }
}

#[test]
fn ids_keep_all_digits_quoted_or_not() {
    let config = parse_fixture(&Path::new(FIXTURES).join("good-ids.yaml"))
        .expect("the config should be accepted");
    let business = &config.businesses[0];
    let accounts: Vec<&str> = business
        .ad_accounts
        .iter()
        .map(|account| account.id.digits())
        .collect();
    assert_eq!(
        accounts,
        ["1", "2", "3", "4", "900719925474099312345678901234567890"]
    );
    let allowlist: Vec<&str> = business.ad_accounts[0]
        .campaigns
        .iter()
        .map(|id| id.as_str())
        .collect();
    assert_eq!(allowlist, ["120210000000000001", "120210000000000003"]);
    let campaigns: Vec<&str> = business
        .campaigns
        .iter()
        .map(|campaign| campaign.id.as_str())
        .collect();
    assert_eq!(
        campaigns,
        [
            "120210000000000005",
            "120210000000000007",
            "18446744073709551617",
            "0012"
        ]
    );
}

#[test]
fn source_setting_overrides_business_setting() {
    let config = parse_fixture(&Path::new(FIXTURES).join("good-overrides.yaml"))
        .expect("the config should be accepted");
    let business = &config.businesses[0];
    let account = &business.ad_accounts[0];
    let campaign = &business.campaigns[0];
    let labels = |labels: &ConfigLabels| -> Vec<String> {
        labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    assert_eq!(labels(&account.labels), ["region=eu", "team=growth"]);
    assert_eq!(
        labels(&campaign.labels),
        ["region=us", "team=growth", "tone=warm"]
    );
    assert!(!account.conversions && campaign.conversions);
    let today = ThresholdSet {
        max_spend: Some(500.0),
        applies_above_spend: Some(50.0),
        ..ThresholdSet::default()
    };
    assert_eq!(account.thresholds.for_window("today"), Some(&today));
    let merged = ThresholdSet {
        max_spend: Some(100.0),
        min_roas: Some(2.0),
        ..today
    };
    assert_eq!(campaign.thresholds.for_window("today"), Some(&merged));
    assert_eq!(campaign.thresholds.iter().count(), 2);
    let app_id = |business_idx: usize| {
        config.businesses[business_idx]
            .app
            .as_ref()
            .map(|app| app.id.as_str())
    };
    assert_eq!((app_id(0), app_id(1)), (Some("1"), Some("2")));
}

#[test]
fn business_files_are_relative_to_the_main_file() {
    let config = file_reader::load(&Path::new(FIXTURES).join("good-files.yaml"))
        .expect("the config should be accepted");
    let names: Vec<&str> = config
        .businesses
        .iter()
        .map(|business| business.name.as_str())
        .collect();
    assert_eq!(names, ["main", "first", "second", "third"]);
}

#[test]
fn reload_keeps_last_good_version_of_bad_business_file() {
    let folder = env::temp_dir().join(format!("exporter-config-{}", std::process::id()));
    let [main, a, b] = ["config.yaml", "a.yaml", "b.yaml"].map(|name| folder.join(name));
    let write =
        |path: &Path, text: &str| fs::write(path, text).expect("the folder should be writable");
    let list = |name| format!("- {{name: {name}, access_token_env: T, ad_accounts: [{{id: 1}}]}}");
    fs::create_dir_all(&folder).expect("the folder should be writable");
    write(&main, "business_files: ['[ab].yaml']");
    write(&a, &list("a"));
    write(&b, &list("b"));
    let mut file = ConfigFile::new(&main);
    let first = file.load().expect("the config should be accepted").config;

    write(&a, "- {name: a");
    write(&b, &list("b2"));
    let loaded = file.load().expect("the main file should be accepted");
    let (second, refused) = (loaded.config, loaded.refused);
    assert_eq!(second.businesses[0], first.businesses[0]);
    assert_eq!(second.businesses[1].name, "b2");
    let refused: Vec<_> = refused.iter().map(|error| error.document.clone()).collect();
    assert_eq!(refused, [a.display().to_string()]);

    fs::remove_file(&a).expect("the file should exist");
    let loaded = file.load().expect("the config should be accepted");
    let (third, refused) = (loaded.config, loaded.refused);
    assert!(
        refused.is_empty(),
        "a removed file should give no error: {refused}"
    );
    assert_eq!(third.businesses.len(), 1);

    write(&main, "business_files: [b.yaml]\npolling: {interval: 15}");
    file.load().expect_err("a bad main file should be rejected");
    fs::remove_dir_all(&folder).expect("the folder should exist");
    let error = file
        .load()
        .expect_err("a missing main file should be an error")
        .to_string();
    assert!(
        error.contains("config.example.yaml") && error.contains("`demo`"),
        "the example and the demo should be named: {error}"
    );
}

pub(crate) fn document(name: &str, text: &str) -> NamedDocument {
    NamedDocument {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

/// Parses a main file without business files.
pub(crate) fn parse_main(text: &str) -> Result<Config, String> {
    Config::parse(document("config.yaml", text), Vec::new()).map_err(|errors| errors.to_string())
}

/// Parses a fixture, with the business files in the folder of the same name, if that exists.
fn parse_fixture(path: &Path) -> Result<Config, String> {
    let read = |path: &Path| {
        let name = path
            .strip_prefix(FIXTURES)
            .expect("the path should be that of a fixture")
            .display()
            .to_string();
        document(
            &name,
            &fs::read_to_string(path).expect("the fixture should be text"),
        )
    };
    let folder = path.with_extension("d");
    let documents = if folder.is_dir() {
        list_folder(&folder)
    } else {
        Vec::new()
    };
    let documents = documents.iter().map(|path| read(path)).collect();
    Config::parse(read(path), documents).map_err(|errors| errors.to_string())
}

fn fixtures(prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut paths = list_folder(Path::new(FIXTURES));
    paths.retain(|path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(suffix)
    });
    paths
}

fn list_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder should exist");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the entry should be readable").path())
        .collect();
    paths.sort();
    paths
}
