//! Finds the metrics, labels and divisors in a PromQL query, with a tokenizer instead of a parser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation should fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};

/// Names in a query.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Metrics, each with the labels in its selectors.
    pub(crate) metrics: BTreeMap<String, BTreeSet<String>>,
    /// Labels that the query groups by or joins on.
    pub(crate) labels: BTreeSet<String>,
}

/// Keywords before a list of labels.
const LABEL_LIST_KEYWORDS: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// Other keywords.
const KEYWORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "start", "end"];

/// Finds the names in a query. Strings, ranges and Grafana variables are ignored, except a regular expression for
/// `__name__`, which contains the names of metrics.
pub(crate) fn names(expr: &str) -> Names {
    let tokens = tokens(expr);
    let mut names = Names::default();
    let mut idx = 0;
    while idx < tokens.len() {
        let token = tokens[idx].as_str();
        let next = tokens.get(idx + 1).map_or("", String::as_str);
        if LABEL_LIST_KEYWORDS.contains(&token) && next == "(" {
            idx += 2;
            while tokens[idx] != ")" {
                if is_name(&tokens[idx]) {
                    names.labels.insert(tokens[idx].clone());
                }
                idx += 1;
            }
        } else if token == "{" || (is_name(token) && next == "{") {
            let open = if token == "{" { idx } else { idx + 1 };
            let close = open + tokens[open..].iter().position(|t| t == "}").unwrap();
            let inside = &tokens[open + 1..close];
            let matched: BTreeSet<String> = inside.iter().filter(|t| is_name(t)).cloned().collect();
            let metrics = if token == "{" {
                metrics_of_regex(inside)
            } else {
                vec![token.to_owned()]
            };
            for metric in metrics {
                let matched = matched.iter().filter(|label| *label != "__name__").cloned();
                names.metrics.entry(metric).or_default().extend(matched);
            }
            idx = close;
        } else if is_name(token)
            // A name before a parenthesis is a function, and one before `by` or `without` an aggregation.
            && !["(", "by", "without"].contains(&next)
            && !KEYWORDS.contains(&token)
            && !LABEL_LIST_KEYWORDS.contains(&token)
        {
            names.metrics.entry(token.to_owned()).or_default();
        }
        idx += 1;
    }
    names
}

/// Returns the divisors of a query, each up to its closing parenthesis.
pub(crate) fn divisors(expr: &str) -> Vec<String> {
    let mut divisors = Vec::new();
    let mut is_quoted = false;
    for (offset, c) in expr.char_indices() {
        if c == '"' {
            is_quoted = !is_quoted;
        }
        if c == '/' && !is_quoted {
            divisors.push(operand(&expr[offset + 1..]));
        }
    }
    divisors
}

/// Returns the operand at the beginning of the text, with its vector matching.
fn operand(text: &str) -> String {
    let mut depth = 0_i32;
    let mut operand = String::new();
    for c in text.chars() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            break;
        }
        operand.push(c);
        let lists = ["on (", "ignoring (", "group_left (", "by (", "without ("];
        let closes_list = || {
            let open = operand.rfind('(').unwrap_or(0);
            lists.iter().any(|list| operand[..=open].ends_with(list))
        };
        if depth == 0 && c == ')' && !closes_list() {
            break;
        }
    }
    operand
}

/// Returns the metrics of `{__name__=~"prefix_(a|b)"}`: `prefix_a` and `prefix_b`.
fn metrics_of_regex(inside: &[String]) -> Vec<String> {
    let idx = inside
        .iter()
        .position(|t| t == "__name__")
        .expect("a selector without a metric should have __name__");
    let regex = inside[idx + 1..]
        .iter()
        .find_map(|t| t.strip_prefix('"'))
        .unwrap();
    let (prefix, rest) = regex.split_once('(').unwrap();
    let (alternatives, _) = rest.split_once(')').unwrap();
    alternatives
        .split('|')
        .map(|suffix| format!("{prefix}{suffix}"))
        .collect()
}

/// Splits a query into names, punctuation and strings (with the opening quote); skips numbers, ranges and variables.
fn tokens(expr: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expr;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => {
                let end = 1 + rest[1..].find(first).expect("a string should end");
                tokens.push(rest[..end].to_owned());
                end + 1
            }
            '[' => rest.find(']').expect("a range should end") + 1,
            '$' => 1 + word_length(&rest[1..]),
            '0'..='9' => word_length(rest),
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let length = word_length(rest);
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

/// Returns the length of the word at the beginning of the text.
fn word_length(text: &str) -> usize {
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
    fn names_finds_metrics_and_labels() {
        let names = names(
            r#"sum by (a) (x:y{b="c", d=~"e|$f"}) / on (g) group_left (h) (rate({__name__=~"i_(j|k)"}[$__l]) > 0) or m offset 1d"#,
        );
        let metrics: Vec<&str> = names.metrics.keys().map(String::as_str).collect();
        assert_eq!(metrics, ["i_j", "i_k", "m", "x:y"]);
        let matched: Vec<&str> = names.metrics["x:y"].iter().map(String::as_str).collect();
        assert_eq!(matched, ["b", "d"]);
        let labels: Vec<&str> = names.labels.iter().map(String::as_str).collect();
        assert_eq!(labels, ["a", "g", "h"]);
    }

    #[test]
    fn divisors_include_vector_matching() {
        let divisors =
            divisors(r#"a{b="c/d"} / on (e) group_left () (sum by (f) (g) > 0) + (h / 2)"#);
        let divisors: Vec<&str> = divisors.iter().map(|d| d.trim()).collect();
        assert_eq!(divisors, ["on (e) group_left () (sum by (f) (g) > 0)", "2"]);
    }
}
