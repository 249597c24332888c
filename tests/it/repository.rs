//! Structure of the code: layers, I/O, clock access and unescaped markup; and the generated table of metrics in the documents.

use std::collections::BTreeSet;
use std::{env, fs};

use marketing_messages_exporter::metrics::catalog::{
    FAMILIES, PREFIX, SampleSource, self_metric_families,
};

use crate::source_tree::files_below;

/// A group of modules that may import the modules of all layers below.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
}

/// All modules, from the top to the bottom: a module imports only modules that are listed after it, so that no imports
/// are circular. ARCHITECTURE.md is compared with this list.
const LAYERS: [Layer; 5] = [
    Layer {
        name: "shell",
        modules: &["main", "commands", "app", "cli"],
    },
    Layer {
        name: "scheduler",
        modules: &["scheduler"],
    },
    Layer {
        name: "I/O",
        modules: &["http", "graph", "state", "platform"],
    },
    Layer {
        name: "domain",
        modules: &["metrics", "snapshot", "plan", "config"],
    },
    Layer {
        name: "model",
        modules: &["model"],
    },
];

/// Imports that the order of the modules would permit: the importing module and the imported one.
const FORBIDDEN_IMPORTS: [(&str, &str); 2] = [("graph", "metrics"), ("http", "graph")];

/// I/O and clocks, which the layers `domain` and `model` do not use.
const IMPURE: [&str; 8] = [
    "tokio",
    "hyper",
    "reqwest",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "std::env",
    "std::fs",
];

const METRICS_DOCUMENT: &str = "docs/metrics.md";
const METRICS_BEGIN: &str =
    "<!-- metrics: generated from the catalog by `UPDATE_DOCS=1 cargo test` -->\n";
const METRICS_END: &str = "\n<!-- end of metrics -->";

/// A source file without its unit tests.
struct SourceFile {
    path: String,
    /// Top-level module, such as `config`.
    module: String,
    text: String,
}

fn sources() -> Vec<SourceFile> {
    let paths = files_below("src")
        .into_iter()
        .filter(|path| path.ends_with(".rs") && path != "src/lib.rs");
    paths
        .map(|path| {
            let below = path.strip_prefix("src/").unwrap();
            let module = below
                .split('/')
                .next()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("\nmod tests {").next().unwrap().to_owned();
            SourceFile { path, module, text }
        })
        .collect()
}

/// Returns the position of the module in `LAYERS`, counted from the top.
fn position(module: &str) -> usize {
    LAYERS
        .iter()
        .flat_map(|layer| layer.modules)
        .position(|name| *name == module)
        .unwrap_or_else(|| panic!("module {module} should be in LAYERS"))
}

fn may_import(module: &str, target: &str) -> bool {
    position(module) < position(target) && !FORBIDDEN_IMPORTS.contains(&(module, target))
}

/// Returns the top-level modules that follow `crate::` in the text.
fn imported_modules(text: &str) -> Vec<&str> {
    let parts = text.split("crate::").skip(1);
    parts
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .filter(|module| !module.is_empty())
        .collect()
}

#[test]
fn imports_follow_the_layers() {
    let mut import_count = 0;
    for SourceFile { path, module, text } in sources() {
        for target in imported_modules(&text)
            .into_iter()
            .filter(|target| *target != module)
        {
            import_count += 1;
            assert!(
                may_import(&module, target),
                "{path}: {module} should not import {target}"
            );
        }
    }
    assert!(import_count > 100, "only {import_count} imports were found");
}

#[test]
fn import_against_the_layers_is_found() {
    for (module, target, expected) in [
        ("scheduler", "graph", true),
        ("plan", "config", true),
        ("state", "platform", true),
        ("model", "config", false),
        ("config", "plan", false),
        ("platform", "graph", false),
        ("app", "commands", false),
        ("metrics", "graph", false),
        ("graph", "scheduler", false),
        ("scheduler", "app", false),
        ("http", "graph", false),
        ("graph", "metrics", false),
    ] {
        assert_eq!(
            may_import(module, target),
            expected,
            "{module} imports {target}"
        );
    }
    let text = "use crate::model::Row;\nfn f(level: crate::config::Level) {}\n";
    assert_eq!(imported_modules(text), ["model", "config"]);
}

#[test]
fn architecture_lists_all_modules_and_layers() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let (_, section) = text
        .split_once("\n## Layers and modules\n")
        .expect("section \"Layers and modules\"");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let documented: Vec<(&str, &str)> = rows
        .map(|row| row.split(" | "))
        .filter_map(|mut cells| Some((cells.next()?, cells.next()?)))
        .filter(|(_, module)| module.starts_with('`'))
        .collect();
    let modules = LAYERS
        .iter()
        .flat_map(|layer| layer.modules.iter().map(|module| (layer.name, *module)));
    let expected: Vec<(&str, String)> = modules
        .map(|(layer, module)| {
            let is_folder =
                fs::metadata(format!("src/{module}")).is_ok_and(|metadata| metadata.is_dir());
            (
                layer,
                if is_folder {
                    format!("`{module}/`")
                } else {
                    format!("`{module}`")
                },
            )
        })
        .collect();
    let documented: Vec<(&str, String)> = documented
        .into_iter()
        .map(|(layer, module)| (layer, module.to_owned()))
        .collect();
    assert_eq!(documented, expected, "left: ARCHITECTURE.md; right: LAYERS");
}

#[test]
fn module_documentation_names_inner_modules() {
    let is_module = |path: &String| path.ends_with("/mod.rs") && path.split('/').count() == 3;
    let modules = files_below("src").into_iter().filter(is_module);
    let simulator = "crates/graph-simulator/src/lib.rs".to_owned();
    let mut module_count = 0;
    for path in modules.chain([simulator]) {
        module_count += 1;
        let text = fs::read_to_string(&path).unwrap();
        let missing = undocumented_modules(&text);
        assert_eq!(missing, [""; 0], "{path} should describe these modules");
    }
    assert!(module_count > 10, "only {module_count} modules were found");
}

/// Returns the inner modules that no comment of the file names in backticks.
fn undocumented_modules(text: &str) -> Vec<&str> {
    let is_comment = |line: &&str| line.starts_with("//");
    let comments: Vec<&str> = text.lines().filter(is_comment).collect();
    let comments = comments.join("\n");
    let declarations = text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    declarations
        .filter(|module| *module != "tests" && !comments.contains(&format!("`{module}`")))
        .collect()
}

#[test]
fn undocumented_module_is_found() {
    let text = "//! Reads files with `reader`.\n\nmod reader;\npub mod writer;\n#[cfg(test)]\nmod tests;\n";
    assert_eq!(undocumented_modules(text), ["writer"]);
}

#[test]
fn domain_and_model_do_no_io() {
    let pure_modules: Vec<&str> = LAYERS
        .iter()
        .filter(|layer| ["domain", "model"].contains(&layer.name))
        .flat_map(|layer| layer.modules)
        .copied()
        .collect();
    assert_eq!(pure_modules.len(), 5, "{pure_modules:?}");
    for SourceFile { path, module, text } in sources() {
        if !pure_modules.contains(&module.as_str()) {
            continue;
        }
        for word in IMPURE {
            let mut code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let usage = code.find(|line| line.contains(word));
            assert_eq!(usage, None, "{path} should not use {word}");
        }
    }
}

#[test]
fn only_the_clock_module_reads_the_wall_clock() {
    let reads_clock = |text: &str| {
        ["Timestamp::now", "SystemTime::now", "Zoned::now"]
            .iter()
            .any(|call| text.contains(call))
    };
    let readers = sources().into_iter().filter(|file| reads_clock(&file.text));
    let readers: Vec<String> = readers.map(|file| file.path).collect();
    assert_eq!(readers, ["src/platform/clock.rs"]);
}

/// The template engine escapes everything else.
#[test]
fn only_the_style_sheet_is_unescaped_markup() {
    let is_unescaped = |line: &&str| line.contains("PreEscaped(") || line.contains("Render for");
    let unescaped: Vec<String> = sources()
        .iter()
        .flat_map(|file| file.text.lines().filter(is_unescaped))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_eq!(unescaped, ["style { (PreEscaped(STYLE)) }"]);
}

/// Returns the Markdown table of all metrics, generated from the catalog.
fn metrics_table() -> String {
    let mut lines = vec![
        "| metric | type | labels | |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    let mut push = |name: &str, kind: &str, labels: &[&str], help: &str| {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let help = help.replace('|', "\\|");
        lines.push(format!(
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(" ")
        ));
    };
    for family in FAMILIES
        .iter()
        .filter(|family| !matches!(family.source, SampleSource::Extras))
    {
        push(
            &format!("{PREFIX}{}", family.name),
            "gauge",
            family.labels,
            family.help,
        );
    }
    for family in self_metric_families::ALL {
        let kind = format!("{:?}", family.kind).to_lowercase();
        push(family.name, &kind, family.labels, family.help);
    }
    lines.join("\n")
}

#[test]
fn metrics_document_lists_all_metrics() {
    let text = fs::read_to_string(METRICS_DOCUMENT).unwrap();
    let (before, rest) = text
        .split_once(METRICS_BEGIN)
        .expect("the marker before the table");
    let (documented, after) = rest
        .split_once(METRICS_END)
        .expect("the marker after the table");
    let expected = metrics_table();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(
            METRICS_DOCUMENT,
            format!("{before}{METRICS_BEGIN}{expected}{METRICS_END}{after}"),
        )
        .unwrap();
        return;
    }
    assert!(
        documented == expected,
        "{METRICS_DOCUMENT} should be generated again with UPDATE_DOCS=1"
    );
}

/// Families that are always present.
const ALWAYS_PRESENT: [&str; 21] = [
    "exporter_build_info",
    "exporter_polls_total",
    "exporter_poll_failures_total",
    "exporter_polls_skipped_total",
    "exporter_poll_interval_seconds",
    "exporter_api_request_duration_seconds",
    "exporter_invalid_values_total",
    "exporter_invalid_rows_total",
    "exporter_config_last_reload_successful",
    "exporter_config_last_reload_success_timestamp_seconds",
    "exporter_config_files_refused",
    "exporter_http_connections",
    "exporter_http_auth_failures_total",
    "exporter_tls_handshake_failures_total",
    "exporter_shard_info",
    "exporter_discovery_interval_seconds",
    "exporter_sources",
    "exporter_sources_configured",
    "exporter_settle_after_seconds",
    "exporter_page_series",
    "exporter_page_bytes",
];

#[test]
fn metrics_document_states_when_each_metric_is_absent() {
    let text = fs::read_to_string(METRICS_DOCUMENT).unwrap();
    let (_, section) = text.split_once("### When a metric is absent").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let named: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let families = FAMILIES
        .iter()
        .filter(|family| !matches!(family.source, SampleSource::Extras))
        .map(|family| family.name);
    let self_metrics = self_metric_families::ALL
        .iter()
        .map(|family| family.name.strip_prefix(PREFIX).unwrap_or(family.name));
    for name in families.chain(self_metrics) {
        assert!(
            named.contains(name) || ALWAYS_PRESENT.contains(&name),
            "{METRICS_DOCUMENT} should state when {name} is absent, or ALWAYS_PRESENT name it"
        );
    }
}

#[test]
fn metric_names_are_unique() {
    let table = metrics_table();
    let names: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(
        names.len(),
        distinct.len(),
        "a metric is in the catalog twice: {names:?}"
    );
    assert!(names.len() > 45, "only {} metrics were found", names.len());
}
