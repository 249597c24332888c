//! Conversion of the metrics page to OpenMetrics 1.0 and to JSON.
//!
//! Input is the text that `render` and the `prometheus` crate write, which is known to be well-formed.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// Returns the page in OpenMetrics 1.0.
pub fn to_openmetrics(page: &str) -> String {
    let mut out = openmetrics_families(page);
    out.push_str("# EOF\n");
    out
}

/// Returns the families of a page in OpenMetrics 1.0, without the line that ends a page.
pub(super) fn openmetrics_families(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 8);
    let mut counter_family = "";
    for line in page.lines() {
        let comment = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (name, text) = rest.split_once(' ')?;
            Some((keyword, name, text))
        });
        match comment {
            Some((keyword, name, text)) => {
                // In OpenMetrics, the name of a counter family does not have the suffix of its samples.
                if keyword == "HELP" {
                    counter_family = name.strip_suffix("_total").unwrap_or("");
                }
                let family = if counter_family.is_empty() {
                    name
                } else {
                    counter_family
                };
                let text = text.replace('"', "\\\"");
                let _ = writeln!(out, "# {keyword} {family} {text}");
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Returns the page as a JSON array of families with their samples.
pub fn to_json(page: &str) -> String {
    let mut families: Vec<Value> = Vec::new();
    let mut help = "";
    let mut samples = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, text)| text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|r| r.split_once(' '))
        {
            finish_family(&mut families, &mut samples);
            families.push(json!({ "name": name, "type": kind, "help": unescape(help) }));
        } else if let Some(sample) = parse_sample(line) {
            samples.push(sample);
        }
    }
    finish_family(&mut families, &mut samples);
    let mut text = Value::from(families).to_string();
    text.push('\n');
    text
}

fn finish_family(families: &mut [Value], samples: &mut Vec<Value>) {
    let samples = std::mem::take(samples);
    if let Some(family) = families.last_mut() {
        family["samples"] = samples.into();
    }
}

/// Parses a sample line. JSON has no infinities and no NaN: such values stay strings.
fn parse_sample(line: &str) -> Option<Value> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = Map::new();
    while let Some((label, tail)) = rest.split_once("=\"") {
        let end = closing_quote(tail)?;
        labels.insert(label.to_owned(), unescape(&tail[..end]).into());
        rest = tail[end + 1..].trim_start_matches(',');
    }
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    let value = number.map_or_else(|| value.into(), Value::from);
    Some(json!({ "name": name, "labels": labels, "value": value }))
}

/// Returns the position of the first quote that is not escaped.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let is_closing = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_closing
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(escaped) => out.push(escaped),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    const PAGE: &str = "# HELP a_total Quote \"a\"
# TYPE a_total counter
a_total{name=\"x \\\"y\\\\\"} 3
# HELP b Of {b}
# TYPE b gauge
b 0.5
b{le=\"+Inf\",x=\"}, z=\\n\"} NaN
";

    #[test]
    fn openmetrics_counter_family_has_no_suffix() {
        let expected = PAGE
            .replace("HELP a_total Quote \"a\"", "HELP a Quote \\\"a\\\"")
            .replace("TYPE a_total", "TYPE a");
        assert_eq!(super::to_openmetrics(PAGE), format!("{expected}# EOF\n"));
    }

    #[test]
    fn json_has_every_label_and_value() {
        let families: Value = serde_json::from_str(&super::to_json(PAGE)).unwrap();
        assert_eq!(
            families,
            json!([
                { "name": "a_total", "type": "counter", "help": "Quote \"a\"",
                  "samples": [{ "name": "a_total", "labels": { "name": "x \"y\\" }, "value": 3.0 }] },
                { "name": "b", "type": "gauge", "help": "Of {b}",
                  "samples": [{ "name": "b", "labels": {}, "value": 0.5 },
                              { "name": "b", "labels": { "le": "+Inf", "x": "}, z=\n" }, "value": "NaN" }] },
            ])
        );
    }
}
