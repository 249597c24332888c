//! The config: one bad file per complaint, good files, and files that change.
//!
//! After a change of words, `UPDATE_COMPLAINTS=1 cargo test` writes the expected complaints
//! anew; read what it wrote. What hostile text may not do stands in `config_hostile`.
#![allow(
    clippy::expect_used,
    reason = "a test's helpers say what they expect by panicking too"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use marketing_messages_exporter::config::{Bounds, Config, Document, ZeroFill};
use marketing_messages_exporter::config_file::{self, ConfigFile};
use marketing_messages_exporter::row::{ACTION_TYPES, DatePreset, Dates, Kind, Level};
use marketing_messages_exporter::secret::SecretSource;

const FIXTURES: &str = "tests/fixtures/config";

/// The least that is a config, for tests that add to it.
const BUSINESSES: &str =
    "businesses: [{name: acme, access_token_env: T, ad_accounts: [{id: act_1}]}]\n";

#[test]
fn each_bad_file_gets_exactly_its_complaint() {
    let mut wrong = Vec::new();
    let bad = fixtures("bad-", ".yaml");
    assert!(bad.len() >= 40, "only {} bad files", bad.len());
    for path in bad {
        let expected = path.with_extension("txt");
        let complaints = match parse(&path) {
            Ok(_) => "accepted".to_owned(),
            Err(complaints) => complaints,
        };
        if env::var_os("UPDATE_COMPLAINTS").is_some() {
            fs::write(&expected, format!("{complaints}\n")).expect("the fixtures are writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if expected.trim_end() != complaints {
            wrong.push(format!(
                "{}\nexpected:\n{expected}found:\n{complaints}",
                path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_fixture_is_an_orphan() {
    let stems = |start, end| -> BTreeSet<PathBuf> {
        let stem = |path: PathBuf| path.with_extension("");
        fixtures(start, end).into_iter().map(stem).collect()
    };
    assert_eq!(stems("bad-", ".yaml"), stems("bad-", ".txt"));
    assert!(stems("bad-", ".d").is_subset(&stems("bad-", ".yaml")));
    let known = stems("bad-", "").len() + stems("good-", "").len();
    assert_eq!(
        stems("", "").len(),
        known,
        "a fixture is neither bad- nor good-"
    );
}

#[test]
fn good_files_are_accepted() {
    for path in fixtures("good-", ".yaml") {
        if let Err(complaints) = parse(&path) {
            panic!("{complaints}");
        }
    }
}

#[test]
fn every_bad_line_is_told_at_once() {
    let complaints = parse(&Path::new(FIXTURES).join("bad-many.yaml")).expect_err("it is bad");
    assert!(complaints.lines().count() >= 10, "{complaints}");
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = one(BUSINESSES).expect("good");
    assert_eq!(config.graph.url, "https://graph.facebook.com");
    assert_eq!(config.graph.version, "v26.0");
    assert_eq!(config.graph.timeout, Duration::from_secs(30));
    assert_eq!((config.graph.app, config.graph.ca_file), (None, None));
    assert_eq!(config.polling.interval, Duration::from_secs(900));
    assert_eq!(config.polling.concurrency, 8);
    assert_eq!(config.polling.stale_after, Duration::from_secs(3600));
    assert!((config.polling.quota_share - 0.75).abs() < f64::EPSILON);
    assert_eq!(config.insights.level, Level::Campaign);
    assert_eq!(config.insights.zero_fill, ZeroFill::Active);
    assert_eq!(config.insights.action_types, ACTION_TYPES);
    let dates = |name| DatePreset::parse(name).map(Dates::Preset);
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
fn the_example_says_the_defaults() {
    let example = fs::read_to_string("config.example.yaml").expect("the example ships");
    let said = one(&example).expect("the example is good");
    let unsaid = one(BUSINESSES).expect("good");
    assert_eq!(said.graph, unsaid.graph);
    assert_eq!(said.polling, unsaid.polling);
    assert_eq!(said.insights, unsaid.insights);
    assert_eq!(said.windows, unsaid.windows);
}

#[test]
fn the_example_is_good_with_every_comment_made_a_key() {
    let example = fs::read_to_string("config.example.yaml").expect("the example ships");
    let mut lines = Vec::new();
    for line in example.lines() {
        // Of two keys that exclude each other the example comments the second out.
        let alternative = line.contains("_env:");
        let commented = line
            .trim_start()
            .strip_prefix("# ")
            .filter(|_| line.starts_with(' '));
        let list = line
            .strip_prefix("  #  - ")
            .or(line.strip_prefix("  #    "));
        match (commented, list) {
            _ if alternative => {}
            (_, Some(item)) => {
                let lead = if line.starts_with("  #  - ") {
                    "    - "
                } else {
                    "      "
                };
                lines.push(format!("{lead}{item}"));
            }
            (Some(key), _) => {
                let indent = line.len() - line.trim_start().len();
                lines.push(format!("{}{key}", " ".repeat(indent)));
            }
            _ => lines.push(line.replace("extra_fields: []", "extra_fields:")),
        }
    }
    let config = one(&lines.join("\n")).expect("the example is good");
    assert_eq!(config.insights.extra_fields[0].kind, Kind::Count);
    assert_eq!(config.windows.len(), 3);
    assert!(config.graph.app.is_some() && config.businesses[0].app.is_some());
    assert_eq!(config.businesses[0].ad_accounts[0].only.len(), 1);
}

#[test]
fn the_example_has_every_key() {
    let example = fs::read_to_string("config.example.yaml").expect("the example ships");
    let raw = fs::read_to_string("src/config/raw.rs").expect("the source is here");
    let key = |line: &str| {
        let (name, _) = line.trim().strip_prefix("pub(super) ")?.split_once(": ")?;
        Some(name.to_owned())
    };
    let keys: Vec<String> = raw.lines().filter_map(key).collect();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        assert!(
            example.contains(&format!("{key}:")),
            "{key} is not in the example"
        );
    }
}

#[test]
fn ids_keep_every_digit_quoted_or_not() {
    let config = parse(&Path::new(FIXTURES).join("good-ids.yaml")).expect("good");
    let business = &config.businesses[0];
    let accounts: Vec<&str> = business.ad_accounts.iter().map(|a| a.id.digits()).collect();
    assert_eq!(
        accounts,
        ["1", "2", "3", "4", "900719925474099312345678901234567890"]
    );
    let only: Vec<&str> = business.ad_accounts[0]
        .only
        .iter()
        .map(|c| c.as_str())
        .collect();
    assert_eq!(only, ["120210000000000001", "120210000000000003"]);
    let campaigns: Vec<&str> = business.campaigns.iter().map(|c| c.id.as_str()).collect();
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
fn the_nearest_setting_wins() {
    let config = parse(&Path::new(FIXTURES).join("good-nearest.yaml")).expect("good");
    let business = &config.businesses[0];
    let far = &business.ad_accounts[0];
    let near = &business.campaigns[0];
    let labels = |labels: &marketing_messages_exporter::config::Labels| -> Vec<String> {
        labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    };
    assert_eq!(labels(&far.labels), ["region=eu", "team=growth"]);
    assert_eq!(
        labels(&near.labels),
        ["region=us", "team=growth", "tone=warm"]
    );
    assert!(!far.conversions && near.conversions);
    let today = Bounds {
        max_spend: Some(500.0),
        from_spend: Some(50.0),
        ..Bounds::default()
    };
    assert_eq!(far.thresholds.of_window("today"), Some(&today));
    let nearer = Bounds {
        max_spend: Some(100.0),
        min_roas: Some(2.0),
        ..today
    };
    assert_eq!(near.thresholds.of_window("today"), Some(&nearer));
    assert_eq!(near.thresholds.iter().count(), 2);
    let app = |business: usize| {
        config.businesses[business]
            .app
            .as_ref()
            .map(|app| app.id.as_str())
    };
    assert_eq!((app(0), app(1)), (Some("1"), Some("2")));
}

#[test]
fn business_files_are_found_beside_the_config() {
    let config = config_file::load(&Path::new(FIXTURES).join("good-files.yaml")).expect("good");
    let names: Vec<&str> = config.businesses.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["main", "first", "second", "third"]);
}

#[test]
fn a_bad_business_file_refuses_itself_alone_at_a_reload() {
    let folder = env::temp_dir().join(format!("exporter-config-{}", std::process::id()));
    let [main, a, b] = ["config.yaml", "a.yaml", "b.yaml"].map(|name| folder.join(name));
    let write = |path: &Path, text: &str| fs::write(path, text).expect("writable");
    let list = |name| format!("- {{name: {name}, access_token_env: T, ad_accounts: [{{id: 1}}]}}");
    fs::create_dir_all(&folder).expect("writable");
    write(&main, "business_files: ['[ab].yaml']");
    write(&a, &list("a"));
    write(&b, &list("b"));
    let mut file = ConfigFile::new(&main);
    let first = file.load().expect("good");

    write(&a, "- {name: a");
    write(&b, &list("b2"));
    let (second, refused) = file.reload().expect("the main file is good");
    assert_eq!(second.businesses[0], first.businesses[0]);
    assert_eq!(second.businesses[1].name, "b2");
    let refused: Vec<_> = refused
        .iter()
        .map(|complaint| complaint.document.clone())
        .collect();
    assert_eq!(refused, [a.display().to_string()]);

    fs::remove_file(&a).expect("it is there");
    let (third, refused) = file.reload().expect("good");
    assert!(refused.is_empty() && third.businesses.len() == 1);

    write(&main, "business_files: [b.yaml]\npolling: {interval: 15}");
    file.reload()
        .expect_err("a bad main file refuses everything");
    fs::remove_dir_all(&folder).expect("it is there");
    let missing = file.reload().expect_err("there is none").to_string();
    assert!(
        missing.contains("config.example.yaml") && missing.contains("`demo`"),
        "{missing}"
    );
}

pub(crate) fn document(name: &str, text: &str) -> Document {
    Document {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

/// A main file alone.
pub(crate) fn one(text: &str) -> Result<Config, String> {
    Config::parse(document("config.yaml", text), Vec::new()).map_err(|found| found.to_string())
}

/// A fixture, with the business files in the folder of its name, if there is one.
fn parse(path: &Path) -> Result<Config, String> {
    let read = |path: &Path| {
        let name = path
            .strip_prefix(FIXTURES)
            .expect("a fixture")
            .display()
            .to_string();
        document(&name, &fs::read_to_string(path).expect("a fixture is text"))
    };
    let folder = path.with_extension("d");
    let documents = if folder.is_dir() {
        listing(&folder)
    } else {
        Vec::new()
    };
    let documents = documents.iter().map(|path| read(path)).collect();
    Config::parse(read(path), documents).map_err(|found| found.to_string())
}

fn fixtures(start: &str, end: &str) -> Vec<PathBuf> {
    let mut paths = listing(Path::new(FIXTURES));
    paths.retain(|path| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        name.starts_with(start) && name.ends_with(end)
    });
    paths
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
}
