//! The repository agrees with itself: who imports whom, who reads the clock, and the metrics that
//! the documents list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use marketing_messages_exporter::exposition::catalog::{FAMILIES, Of, PREFIX, own_families};

/// Modules from the ground up; on floor 1 the order counts, an import points to an earlier one.
const FLOORS: [&[&str]; 5] = [
    &["decimal", "fault", "row", "listing", "secret", "spread"],
    &["config", "plan", "snapshot", "exposition"],
    &[
        "beat",
        "config_file",
        "graph",
        "http",
        "process",
        "secret_store",
        "simulator",
        "state",
        "systemd",
    ],
    &["poll"],
    &["app", "cli", "commands", "logging", "main"],
];

/// Doors that stay shut although the floors would allow them.
const SHUT: [(&str, &[&str]); 3] = [
    ("graph", &["exposition", "http", "poll", "simulator"]),
    ("http", &["graph", "poll", "simulator"]),
    ("simulator", &["*"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|end| end == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("src"), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let below = path.strip_prefix("src").unwrap();
        let first = below.components().next().unwrap().as_os_str();
        let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        // What stands behind `mod tests {` is no part of the program.
        let text = text.split("\nmod tests {").next().unwrap().to_owned();
        (module, path, text)
    };
    let all = found.into_iter().map(read);
    all.filter(|(module, ..)| module != "lib").collect()
}

fn floor(module: &str) -> (usize, usize) {
    let mut places = FLOORS.iter().enumerate().filter_map(|(floor, modules)| {
        let place = modules.iter().position(|known| *known == module)?;
        Some((floor, place))
    });
    places
        .next()
        .unwrap_or_else(|| panic!("{module} has no floor"))
}

#[test]
fn imports_point_down() {
    let mut seen = 0;
    for (module, path, text) in sources() {
        let (from, place) = floor(&module);
        for (_, rest) in text
            .match_indices("crate::")
            .map(|(at, word)| text.split_at(at + word.len()))
        {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let target = &rest[..end.unwrap_or(rest.len())];
            if target == module || target.is_empty() {
                continue;
            }
            seen += 1;
            let (to, at) = floor(target);
            let down = match from {
                1 => to < 1 || (to == 1 && at < place),
                _ => to <= from,
            };
            assert!(down, "{}: {module} imports {target}", path.display());
            for (shut, doors) in SHUT {
                let closed =
                    shut == module && doors.iter().any(|door| *door == "*" || *door == target);
                assert!(!closed, "{}: {module} imports {target}", path.display());
            }
        }
    }
    assert!(
        seen > 100,
        "only {seen} imports: this test reads the wrong lines"
    );
}

#[test]
fn words_and_thoughts_are_pure() {
    for (module, path, text) in sources() {
        if floor(&module).0 > 1 {
            continue;
        }
        for word in [
            "tokio",
            "hyper",
            "reqwest",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "std::env",
            "std::fs",
        ] {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let used = code.into_iter().find(|line| line.contains(word));
            assert_eq!(used, None, "{}", path.display());
        }
    }
}

#[test]
fn only_the_crank_reads_the_wall_clock() {
    let reads = |text: &str| {
        ["Timestamp::now", "SystemTime::now", "Zoned::now"]
            .iter()
            .any(|word| text.contains(word))
    };
    let readers = sources().into_iter().filter(|(_, _, text)| reads(text));
    let readers: Vec<PathBuf> = readers.map(|(_, path, _)| path).collect();
    assert_eq!(readers, [PathBuf::from("src/poll/clock.rs")]);
}

/// The table of every metric, made from the catalog.
fn table() -> String {
    let mut lines = vec![
        "| metric | type | labels | |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    let mut line = |name: &str, kind: &str, labels: &[&str], help: &str| {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let help = help.replace('|', "\\|");
        lines.push(format!(
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(" ")
        ));
    };
    for family in FAMILIES
        .iter()
        .filter(|family| !matches!(family.of, Of::Extras))
    {
        let name = format!("{PREFIX}{}", family.name);
        line(&name, "gauge", family.labels, family.help);
    }
    for own in own_families::ALL {
        let kind = format!("{:?}", own.kind).to_lowercase();
        line(own.name, &kind, own.labels, own.help);
    }
    lines.join("\n")
}

#[test]
fn the_documents_list_every_metric() {
    const PATH: &str = "docs/metrics.md";
    const BEGIN: &str =
        "<!-- metrics: made from the catalog, UPDATE_DOCS=1 cargo test makes it anew -->\n";
    const END: &str = "\n<!-- end of metrics -->";
    let text = fs::read_to_string(PATH).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PATH, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(found, table(), "UPDATE_DOCS=1 cargo test writes it");
}

#[test]
fn no_metric_is_listed_twice() {
    let table = table();
    let names: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(names.len() > 45, "{}", names.len());
}
