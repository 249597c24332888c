//! The documents against the code: what they say of keys, defaults, commands, metrics and modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use clap::Parser;
use marketing_messages_exporter::cli::Cli;
use marketing_messages_exporter::config::{Config, Document, Web};
use marketing_messages_exporter::exposition::catalog;
use serde_yaml::Value;

const CONFIGURATION: &str = "docs/configuration.md";
const TOOLS: &str = "docs/tools.md";

/// The struct of `src/config/raw.rs` that each section of the configuration reference is about.
const SECTIONS: [(&str, &str); 9] = [
    ("graph", "RawGraph"),
    ("polling", "RawPolling"),
    ("insights", "RawInsights"),
    ("extra_fields", "RawExtraField"),
    ("windows", "RawWindow"),
    ("businesses", "RawBusiness"),
    ("ad_accounts", "RawAdAccount"),
    ("campaigns", "RawCampaign"),
    ("thresholds", "RawThreshold"),
];

#[test]
fn the_configuration_reference_has_every_key_and_no_other() {
    let documented = tables(&read(CONFIGURATION));
    let coded = structs();
    for (section, name) in SECTIONS {
        let documented: BTreeSet<&str> = documented[section].keys().map(String::as_str).collect();
        let coded: BTreeSet<&str> = coded[name].iter().map(String::as_str).collect();
        assert_eq!(
            documented, coded,
            "left: {CONFIGURATION}, {section}; right: {name}"
        );
    }
    let headings = headings(&read(CONFIGURATION));
    for key in &coded["RawConfig"] {
        assert!(headings.contains(key), "no heading for {key}");
    }
}

#[test]
fn every_key_of_the_example_is_explained() {
    let text = read(CONFIGURATION);
    let key = |line: &str| {
        let line = line.trim_start_matches([' ', '#', '-']);
        let (key, _) = line.split_once(':')?;
        let snake = |c: char| c.is_ascii_lowercase() || c == '_';
        (!key.is_empty() && key.chars().all(snake)).then(|| key.to_owned())
    };
    let keys: BTreeSet<String> = read("config.example.yaml")
        .lines()
        .filter_map(key)
        .collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        assert!(
            text.contains(&format!("`{key}`")),
            "{key} is not in {CONFIGURATION}"
        );
    }
}

#[test]
fn the_defaults_are_those_of_the_example() {
    let example: Value = serde_yaml::from_str(&read("config.example.yaml")).unwrap();
    let documented = tables(&read(CONFIGURATION));
    for section in ["graph", "polling", "insights"] {
        for (key, value) in example[section].as_mapping().unwrap() {
            let key = key.as_str().unwrap();
            let said = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(yes) => yes.to_string(),
                _ => continue,
            };
            assert_eq!(
                documented[section][key].default,
                format!("`{said}`"),
                "{section}.{key}"
            );
        }
    }
}

#[test]
fn the_presets_are_those_of_the_api() {
    let text = read(CONFIGURATION);
    let (_, rest) = text.split_once("\nPresets: ").expect("the list of presets");
    let (list, _) = rest.split_once(".\n").expect("the end of the list");
    let said: Vec<&str> = ticked(list).collect();
    assert_eq!(
        said,
        marketing_messages_exporter::row::DatePreset::ALL.to_vec()
    );
}

#[test]
fn every_config_that_is_shown_is_valid() {
    let mut shown = 0;
    for name in ["README.md", CONFIGURATION] {
        for block in blocks(&read(name), "yaml") {
            if block.starts_with("scrape_configs:") {
                continue;
            }
            shown += 1;
            // A part of a config is valid with the least that a config needs.
            let whole = match block.contains("businesses:") {
                true => block.clone(),
                false => format!(
                    "{block}businesses: [{{name: acme, access_token_env: T, ad_accounts: [{{id: act_1}}]}}]\n"
                ),
            };
            let document = Document {
                name: name.to_owned(),
                text: whole,
            };
            if let Err(complaints) = Config::parse(document, Vec::new()) {
                panic!("{complaints}\n{block}");
            }
        }
    }
    assert!(shown > 4, "only {shown} configs are shown");
}

#[test]
fn every_web_config_that_is_shown_is_valid() {
    let text = read("docs/web.md");
    let blocks = blocks(&text, "yaml").into_iter();
    let configs = blocks.filter(|block| !block.starts_with("scrape_configs:"));
    let mut shown = 0;
    for text in configs {
        shown += 1;
        let name = "docs/web.md".to_owned();
        if let Err(complaints) = Web::parse(Document { name, text }) {
            panic!("{complaints}");
        }
    }
    assert!(shown > 2, "only {shown} web configs are shown");
}

#[test]
fn every_command_line_that_is_shown_is_one() {
    let mut shown = 0;
    for name in [
        "README.md",
        CONFIGURATION,
        TOOLS,
        "docs/web.md",
        "docs/deployment.md",
        "CONTRIBUTING.md",
    ] {
        for line in blocks(&read(name), "sh").iter().flat_map(|b| b.lines()) {
            let command = line.split('#').next().unwrap_or_default();
            let command = command.trim().trim_start_matches("target/release/");
            let ours = command.strip_prefix("cargo run --release -- ");
            let ours = ours.or(command.strip_prefix("marketing-messages-exporter"));
            let Some(arguments) = ours else { continue };
            shown += 1;
            let words = std::iter::once("exporter").chain(arguments.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
    assert!(shown > 3, "only {shown} command lines are shown");
}

#[test]
fn the_readme_names_metrics_that_there_are() {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once("\n## Metrics at a glance")
        .expect("it has such a part");
    let table = rest.split("\n## ").next().unwrap_or_default();
    let known: BTreeSet<&str> = catalog::FAMILIES.iter().map(|family| family.name).collect();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        for name in ticked(cell).filter(|name| !name.contains('…')) {
            named += 1;
            assert!(known.contains(name), "{name} is no metric");
        }
    }
    assert!(named > 10, "only {named} metrics are named");
}

#[test]
fn the_architecture_has_a_line_for_every_module() {
    let architecture = read("ARCHITECTURE.md");
    for line in read("src/lib.rs").lines() {
        let module = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        let Some(module) = module else { continue };
        let folder = fs::metadata(format!("src/{module}")).is_ok_and(|found| found.is_dir());
        let word = match folder {
            true => format!("| `{module}/` |"),
            false => format!("| `{module}` |"),
        };
        assert!(architecture.contains(&word), "no line {word}");
    }
}

/// One row of a table of keys.
#[derive(Debug)]
struct Key {
    default: String,
}

/// The keys of every section's tables, by heading and key.
fn tables(text: &str) -> BTreeMap<String, BTreeMap<String, Key>> {
    let mut tables: BTreeMap<String, BTreeMap<String, Key>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            section = heading(line);
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            for key in ticked(cells[1]) {
                let default = cells[3].to_owned();
                let keys = tables.entry(section.clone()).or_default();
                keys.insert(key.to_owned(), Key { default });
            }
        }
    }
    tables
}

fn headings(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.map(heading).collect()
}

fn heading(line: &str) -> String {
    line.trim_matches(['#', ' ', '`']).to_owned()
}

/// The fields of every struct of `src/config/raw.rs`.
fn structs() -> BTreeMap<String, Vec<String>> {
    let mut structs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in read("src/config/raw.rs").lines() {
        if let Some(found) = line.strip_prefix("pub(super) struct ") {
            name = found.trim_end_matches(" {").to_owned();
        } else if let Some(field) = line.trim().strip_prefix("pub(super) ") {
            let (field, _) = field.split_once(':').expect("a field has a type");
            structs
                .entry(name.clone())
                .or_default()
                .push(field.to_owned());
        }
    }
    structs
}

/// What stands between back quotes.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The fenced blocks of that language, without the indentation of a list.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != format!("```{language}") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let body = lines.by_ref().take_while(|line| line.trim() != "```");
        let body: Vec<&str> = body
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        blocks.push(body.join("\n") + "\n");
    }
    blocks
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
