//! As much of PromQL as it takes to find the names in a query.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers say what they expect by panicking too"
)]

use std::collections::{BTreeMap, BTreeSet};

/// What a query names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Metrics, each with the labels that its selectors match.
    pub(crate) metrics: BTreeMap<String, BTreeSet<String>>,
    /// Labels that it groups, joins or makes.
    pub(crate) labels: BTreeSet<String>,
}

/// Words that are followed by a list of labels.
const LISTS: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// Words between expressions.
const WORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "start", "end"];

/// Finds the names. Text in quotes, ranges and Grafana's variables name nothing, but for a regular
/// expression of `__name__`, whose alternatives are metrics.
pub(crate) fn names(expr: &str) -> Names {
    let tokens = tokens(expr);
    let mut names = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        let next = tokens.get(at + 1).map_or("", String::as_str);
        if LISTS.contains(&token) && next == "(" {
            at += 2;
            while tokens[at] != ")" {
                if is_name(&tokens[at]) {
                    names.labels.insert(tokens[at].clone());
                }
                at += 1;
            }
        } else if token == "{" || (is_name(token) && next == "{") {
            let open = if token == "{" { at } else { at + 1 };
            let close = open + tokens[open..].iter().position(|t| t == "}").unwrap();
            let inside = &tokens[open + 1..close];
            let matched: BTreeSet<String> = inside.iter().filter(|t| is_name(t)).cloned().collect();
            let metrics = if token == "{" {
                by_regex(inside)
            } else {
                vec![token.to_owned()]
            };
            for metric in metrics {
                let matched = matched.iter().filter(|label| *label != "__name__").cloned();
                names.metrics.entry(metric).or_default().extend(matched);
            }
            at = close;
        } else if is_name(token)
            // What a parenthesis follows is a function, what `by` follows an aggregation.
            && !["(", "by", "without"].contains(&next)
            && !WORDS.contains(&token)
            && !LISTS.contains(&token)
        {
            names.metrics.entry(token.to_owned()).or_default();
        }
        at += 1;
    }
    names
}

/// Everything that a query divides by, up to where the divisor's parentheses close.
pub(crate) fn divisors(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut quoted = false;
    for (at, mark) in expr.char_indices() {
        if mark == '"' {
            quoted = !quoted;
        }
        if mark == '/' && !quoted {
            found.push(operand(&expr[at + 1..]));
        }
    }
    found
}

/// The operand that this text begins with, and how its vectors match.
fn operand(text: &str) -> String {
    let mut depth = 0_i32;
    let mut taken = String::new();
    for mark in text.chars() {
        match mark {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            break;
        }
        taken.push(mark);
        let lists = ["on (", "ignoring (", "group_left (", "by (", "without ("];
        let closes_list = || {
            let open = taken.rfind('(').unwrap_or(0);
            lists.iter().any(|list| taken[..=open].ends_with(list))
        };
        if depth == 0 && mark == ')' && !closes_list() {
            break;
        }
    }
    taken
}

/// The metrics of `{__name__=~"prefix_(a|b)"}`.
fn by_regex(inside: &[String]) -> Vec<String> {
    let at = inside
        .iter()
        .position(|t| t == "__name__")
        .expect("a selector without a metric");
    let regex = inside[at + 1..]
        .iter()
        .find_map(|t| t.strip_prefix('"'))
        .unwrap();
    let (prefix, rest) = regex.split_once('(').unwrap();
    let (alternatives, _) = rest.split_once(')').unwrap();
    alternatives
        .split('|')
        .map(|end| format!("{prefix}{end}"))
        .collect()
}

/// Names, marks and texts (with their opening quote); numbers, ranges and variables are left out.
fn tokens(expr: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expr;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => {
                let end = 1 + rest[1..].find(first).expect("a text without an end");
                tokens.push(rest[..end].to_owned());
                end + 1
            }
            '[' => rest.find(']').expect("a range without an end") + 1,
            '$' => 1 + word(&rest[1..]),
            '0'..='9' => word(rest),
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let length = word(rest);
                tokens.push(rest[..length].to_owned());
                length
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// How long the word is that a text begins with.
fn word(text: &str) -> usize {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.';
    text.find(|c| !part(c)).unwrap_or(text.len())
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::{divisors, names};

    #[test]
    fn names_are_found() {
        let found = names(
            r#"sum by (a) (x:y{b="c", d=~"e|$f"}) / on (g) group_left (h) (rate({__name__=~"i_(j|k)"}[$__l]) > 0) or m offset 1d"#,
        );
        let metrics: Vec<&str> = found.metrics.keys().map(String::as_str).collect();
        assert_eq!(metrics, ["i_j", "i_k", "m", "x:y"]);
        let matched: Vec<&str> = found.metrics["x:y"].iter().map(String::as_str).collect();
        assert_eq!(matched, ["b", "d"]);
        let labels: Vec<&str> = found.labels.iter().map(String::as_str).collect();
        assert_eq!(labels, ["a", "g", "h"]);
    }

    #[test]
    fn divisors_are_found() {
        let found = divisors(r#"a{b="c/d"} / on (e) group_left () (sum by (f) (g) > 0) + (h / 2)"#);
        let found: Vec<&str> = found.iter().map(|d| d.trim()).collect();
        assert_eq!(found, ["on (e) group_left () (sum by (f) (g) > 0)", "2"]);
    }
}
