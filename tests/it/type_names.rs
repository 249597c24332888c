//! No two types of a crate have the same name, so that a search for a name finds one type.
//!
//! The exporter and the simulator are separate crates. Types of unit tests (`mod tests`) and associated
//! types of impl blocks and traits do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::source_tree::{TextFile, text_files_below};

const EXPORTER: &str = "src";
const SIMULATOR: &str = "crates/graph-simulator/src";

/// Names that still occur more than once. This list may only shrink.
const PENDING: &[&str] = &[];

/// Returns the names of the types that a file declares, with their 1-based lines. Relies on the layout of rustfmt: each
/// item starts a line, and nested items are indented.
fn declared_types(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("mod tests {"))
        .collect();
    let mut types = Vec::new();
    for (idx, line) in lines.iter().enumerate() {
        let Some((keyword, rest)) = strip_visibility(line.trim_start()).split_once(' ') else {
            continue;
        };
        if !matches!(keyword, "struct" | "enum" | "trait" | "type" | "union") {
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if name.starts_with(char::is_uppercase)
            && !(keyword == "type" && is_associated(&lines[..idx], line))
        {
            types.push((idx + 1, name.to_owned()));
        }
    }
    types
}

/// Removes `pub` or `pub(…)` from the beginning of an item.
fn strip_visibility(item: &str) -> &str {
    let Some(rest) = item.strip_prefix("pub") else {
        return item;
    };
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
        None => rest,
    };
    rest.trim_start()
}

/// Whether the innermost block around `line` is an impl block or a trait.
fn is_associated(before: &[&str], line: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own_indent = indent(line);
    let outer = before
        .iter()
        .rev()
        .filter(|line| !line.trim().is_empty() && indent(line) < own_indent);
    // The header of a block can have several lines, of which only the first has its keyword.
    let header = outer
        .map(|line| strip_visibility(line.trim_start()))
        .find(|line| {
            ["impl", "trait ", "fn ", "async fn ", "const fn ", "mod "]
                .iter()
                .any(|keyword| line.starts_with(keyword))
        });
    header.is_some_and(|header| header.starts_with("impl") || header.starts_with("trait "))
}

/// Returns the names that several types have, each with the `path:line` of its declarations.
fn duplicates(files: &[TextFile]) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for TextFile { path, text } in files {
        for (line, name) in declared_types(text) {
            places
                .entry(name)
                .or_default()
                .push(format!("{path}:{line}"));
        }
    }
    places.retain(|_, places| places.len() > 1);
    places
}

/// Returns the source files below `folder`, without those that contain only unit tests.
fn sources(folder: &str) -> Vec<TextFile> {
    text_files_below(folder, |path| {
        path.ends_with(".rs") && !path.ends_with("/tests.rs")
    })
}

#[test]
fn type_names_are_unique() {
    let (simulator, exporter) = (sources(SIMULATOR), sources(EXPORTER));
    assert!(
        simulator.len() > 10 && exporter.len() > 100,
        "the sources should be found"
    );
    assert_eq!(
        duplicates(&simulator),
        BTreeMap::new(),
        "types of the simulator with the same name"
    );
    let mut duplicates = duplicates(&exporter);
    let names: BTreeSet<String> = duplicates.keys().cloned().collect();
    let resolved: Vec<_> = PENDING
        .iter()
        .filter(|name| !names.contains(**name))
        .collect();
    assert!(
        resolved.is_empty(),
        "only one type has this name; remove it from PENDING: {resolved:?}"
    );
    duplicates.retain(|name, _| !PENDING.contains(&name.as_str()));
    assert_eq!(
        duplicates,
        BTreeMap::new(),
        "several types have the same name; rename all but one"
    );
}

#[test]
fn declarations_are_found() {
    for (text, expected) in [
        (
            "pub struct Window {\n    name: String,\n}\n",
            vec!["Window"],
        ),
        (
            "pub(crate) enum State<'a> {}\nstruct Unit;\nstruct Tuple(u8);\n",
            vec!["State", "Unit", "Tuple"],
        ),
        (
            "pub(in crate::a) trait Clock: Send {\n    type Time;\n}\n",
            vec!["Clock"],
        ),
        (
            "type Result<T> = std::result::Result<T, Error>;\n",
            vec!["Result"],
        ),
        (
            "fn f() {\n    struct Inner;\n    type Alias = u8;\n}\n",
            vec!["Inner", "Alias"],
        ),
        (
            "impl Visitor<'_> for V {\n    type Value = u8;\n}\n",
            vec![],
        ),
        (
            "impl<T> Iterator for V<T>\nwhere\n    T: Copy,\n{\n    type Item = T;\n}\n",
            vec![],
        ),
        (
            "impl V {\n    fn f() {\n        struct Inner;\n    }\n}\n",
            vec!["Inner"],
        ),
        (
            "// struct Commented;\n/// type of the row\nlet kind = 1;\n",
            vec![],
        ),
        (
            "struct Counted;\n\n#[cfg(test)]\nmod tests {\n    struct Ignored;\n}\n",
            vec!["Counted"],
        ),
    ] {
        let found: Vec<String> = declared_types(text)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn two_types_with_one_name_are_found() {
    let files = [
        TextFile::new("src/a.rs", "struct Window;\nstruct Other;\n"),
        TextFile::new("src/b.rs", "fn f() {\n    enum Window {}\n}\n"),
    ];
    let expected = BTreeMap::from([(
        "Window".to_owned(),
        vec!["src/a.rs:1".to_owned(), "src/b.rs:2".to_owned()],
    )]);
    assert_eq!(duplicates(&files), expected);
}

#[test]
fn glossary_identifiers_exist() {
    const MAX_TERMS: usize = 12;
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let (_, section) = text
        .split_once("\n## Glossary\n")
        .expect("section \"Glossary\"");
    let rows = section
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| "));
    // Skips the header; the second column has the identifiers.
    let identifiers: Vec<&str> = rows
        .skip(1)
        .map(|row| row.split('|').nth(2).unwrap())
        .collect();
    assert!(
        (1..=MAX_TERMS).contains(&identifiers.len()),
        "{} terms",
        identifiers.len()
    );
    let types: BTreeSet<String> = sources(EXPORTER)
        .iter()
        .flat_map(|file| declared_types(&file.text))
        .map(|(_, name)| name)
        .collect();
    for identifier in identifiers
        .iter()
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
    {
        assert!(types.contains(identifier), "no type {identifier}");
    }
}
