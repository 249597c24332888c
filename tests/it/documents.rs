//! Documents compared with the code: config keys and defaults, example configs, command lines and metric names.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, iter};

use marketing_messages_exporter::cli::parse_from;
use marketing_messages_exporter::config::{Config, NamedDocument, WebSettings, json_schema};
use marketing_messages_exporter::metrics::catalog;
use marketing_messages_exporter::model::DatePreset;
use serde_yaml::Value;

use crate::harness::Api;

const ADDING_A_CUSTOMER: &str = "docs/adding-a-customer.md";
const CONFIGURATION: &str = "docs/configuration.md";
const EXAMPLE_CONFIG: &str = "config.example.yaml";
const WEB: &str = "docs/web.md";

/// The sections of the configuration reference, each with the place of its keys in the JSON schema.
const SECTIONS: [(&str, &str); 11] = [
    ("graph", "/properties/graph"),
    ("polling", "/properties/polling"),
    ("insights", "/properties/insights"),
    (
        "extra_fields",
        "/properties/insights/properties/extra_fields/items",
    ),
    ("metrics", "/properties/metrics"),
    ("windows", "/properties/windows/items"),
    ("defaults", "/properties/defaults"),
    ("businesses", "/properties/businesses/items"),
    (
        "ad_accounts",
        "/properties/businesses/items/properties/ad_accounts/anyOf/1/items",
    ),
    (
        "campaigns",
        "/properties/businesses/items/properties/campaigns/items",
    ),
    (
        "thresholds",
        "/properties/businesses/items/properties/thresholds/items",
    ),
];

/// Documents with example command lines.
const COMMAND_DOCUMENTS: [&str; 9] = [
    "README.md",
    CONFIGURATION,
    "docs/tools.md",
    WEB,
    "docs/deployment.md",
    "CONTRIBUTING.md",
    "docs/getting-access.md",
    ADDING_A_CUSTOMER,
    "docs/upgrading.md",
];

/// Makes a fragment of a config complete.
const MINIMAL_BUSINESSES: &str =
    "businesses: [{name: acme, access_token_env: T, ad_accounts: [{id: act_1}]}]\n";

#[test]
fn configuration_reference_lists_exactly_the_keys() {
    let tables = key_tables(&read(CONFIGURATION));
    let schema = json_schema();
    for (section, pointer) in SECTIONS {
        let documented: BTreeSet<String> = tables[section].keys().cloned().collect();
        assert_eq!(
            documented,
            keys_at(&schema, pointer),
            "left: {CONFIGURATION}, {section}; right: the keys that are parsed"
        );
    }
    let headings = headings(&read(CONFIGURATION));
    for key in keys_at(&schema, "") {
        assert!(
            headings.contains(&key),
            "{CONFIGURATION}: no heading for {key}"
        );
    }
}

#[test]
fn keys_of_the_example_are_documented() {
    let text = read(CONFIGURATION);
    let key = |line: &str| {
        let line = line.trim_start_matches([' ', '#', '-']);
        let (key, _) = line.split_once(':')?;
        let is_snake_case =
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_snake_case.then(|| key.to_owned())
    };
    let keys: BTreeSet<String> = read(EXAMPLE_CONFIG).lines().filter_map(key).collect();
    assert!(
        keys.len() > 40,
        "only {} keys were found: {keys:?}",
        keys.len()
    );
    for key in keys {
        assert!(
            text.contains(&format!("`{key}`")),
            "{key} is not in {CONFIGURATION}"
        );
    }
}

#[test]
fn documented_defaults_are_those_of_the_example() {
    let example: Value = serde_yaml::from_str(&read(EXAMPLE_CONFIG)).unwrap();
    let tables = key_tables(&read(CONFIGURATION));
    for section in ["graph", "polling", "insights"] {
        for (key, value) in example[section].as_mapping().unwrap() {
            let key = key.as_str().unwrap();
            let expected = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => continue,
            };
            assert_eq!(
                tables[section][key].default,
                format!("`{expected}`"),
                "{section}.{key}"
            );
        }
    }
}

#[test]
fn documented_presets_are_those_of_the_api() {
    let text = read(CONFIGURATION);
    let (_, rest) = text.split_once("\nPresets: ").expect("the list of presets");
    let (list, _) = rest.split_once(".\n").expect("the end of the list");
    let documented: Vec<&str> = code_spans(list).collect();
    assert_eq!(documented, DatePreset::ALL.to_vec());
}

#[test]
fn example_configs_are_valid() {
    let mut count = 0;
    for path in ["README.md", CONFIGURATION, ADDING_A_CUSTOMER] {
        for block in exporter_configs(path) {
            count += 1;
            let is_complete = block.contains("businesses:");
            let text = if is_complete {
                block.clone()
            } else {
                format!("{block}{MINIMAL_BUSINESSES}")
            };
            let document = NamedDocument {
                name: path.to_owned(),
                text,
            };
            if let Err(errors) = Config::parse(document, Vec::new()) {
                panic!("{errors}\n{block}");
            }
        }
    }
    assert!(count > 4, "only {count} configs were found");
}

#[test]
fn example_web_configs_are_valid() {
    let mut count = 0;
    for text in exporter_configs(WEB) {
        count += 1;
        let document = NamedDocument {
            name: WEB.to_owned(),
            text,
        };
        if let Err(errors) = WebSettings::parse(document) {
            panic!("{errors}");
        }
    }
    assert!(count > 2, "only {count} web configs were found");
}

#[test]
fn example_command_lines_are_valid() {
    let mut count = 0;
    for path in COMMAND_DOCUMENTS {
        for line in code_blocks(&read(path), "sh")
            .iter()
            .flat_map(|block| block.lines())
        {
            let command = line.split('#').next().unwrap_or_default();
            let command = command.trim().trim_start_matches("target/release/");
            let arguments = command
                .strip_prefix("cargo run --release -- ")
                .or(command.strip_prefix("marketing-messages-exporter"));
            let Some(arguments) = arguments else { continue };
            count += 1;
            let words = iter::once("exporter").chain(arguments.split_whitespace());
            if let Err(error) = parse_from(words) {
                panic!("{path}: {line}: {error}");
            }
        }
    }
    assert!(count > 3, "only {count} command lines were found");
}

/// Docker forwards a published port to an interface of the container that is not the loopback interface.
#[test]
fn compose_demo_listens_on_all_interfaces() {
    let compose: Value = serde_yaml::from_str(&read("compose.yaml")).unwrap();
    let command = compose["services"]["exporter"]["command"].as_sequence();
    let words = command.unwrap().iter().map(|word| word.as_str().unwrap());
    let cli = parse_from(iter::once("exporter").chain(words)).unwrap();
    assert_eq!(cli.flags.listen_addresses, [":10919"]);
}

#[tokio::test]
async fn keys_of_the_status_are_documented() {
    const CONFIG: &str = "businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001201 }] }]\n";
    let api = Api::demo().await;
    let exporter = api.exporter(CONFIG).await;
    exporter.page_all_up().await;
    let status = exporter.get("/api/status").await.text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&status, &mut keys);
    assert!(keys.len() > 20, "{keys:?}");
    let text = read("docs/web.md");
    let (_, section) = text.split_once("\n### Status as JSON\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = code_spans(section).collect();
    keys.retain(|key| !documented.contains(key.as_str()));
    assert!(keys.is_empty(), "docs/web.md should describe {keys:?}");
}

/// Collects the keys of all objects.
fn collect_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                keys.insert(key.clone());
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
fn readme_names_existing_metrics() {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once("\n## Metrics at a glance")
        .expect("section \"Metrics at a glance\"");
    let table = rest.split("\n## ").next().unwrap_or_default();
    let metrics: BTreeSet<&str> = catalog::FAMILIES.iter().map(|family| family.name).collect();
    let mut count = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        for name in code_spans(cell).filter(|name| !name.contains('…')) {
            count += 1;
            assert!(metrics.contains(name), "README.md: unknown metric {name}");
        }
    }
    assert!(count > 10, "only {count} metrics were found");
}

/// A row of a table of config keys.
#[derive(Debug)]
struct DocumentedKey {
    default: String,
}

/// Returns the keys in the tables of each section, by heading and key.
fn key_tables(text: &str) -> BTreeMap<String, BTreeMap<String, DocumentedKey>> {
    let mut tables: BTreeMap<String, BTreeMap<String, DocumentedKey>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            section = heading(line);
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            for key in code_spans(cells[1]) {
                let default = cells[3].to_owned();
                let keys = tables.entry(section.clone()).or_default();
                keys.insert(key.to_owned(), DocumentedKey { default });
            }
        }
    }
    tables
}

fn headings(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(heading)
        .collect()
}

fn heading(line: &str) -> String {
    line.trim_matches(['#', ' ', '`']).to_owned()
}

/// Returns the keys of a mapping in the JSON schema.
fn keys_at(schema: &serde_json::Value, pointer: &str) -> BTreeSet<String> {
    let properties = schema.pointer(&format!("{pointer}/properties"));
    let properties = properties.and_then(serde_json::Value::as_object);
    let properties = properties.unwrap_or_else(|| panic!("no mapping at {pointer}"));
    properties.keys().cloned().collect()
}

/// Returns the texts between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the YAML blocks of a document that are not configs of Prometheus.
fn exporter_configs(path: &str) -> Vec<String> {
    let mut blocks = code_blocks(&read(path), "yaml");
    blocks.retain(|block| !block.starts_with("scrape_configs:"));
    blocks
}

/// Returns the fenced code blocks in that language, without the indentation of an enclosing list.
fn code_blocks(text: &str, language: &str) -> Vec<String> {
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
