//! The same page in other formats: OpenMetrics, and JSON for programs that know neither.
//!
//! Both are made of the page's text, which is ours and known to be well formed.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// The page as OpenMetrics 1.0.
pub fn openmetrics(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 8);
    let mut counter = "";
    for line in page.lines() {
        let words = line.strip_prefix("# ").and_then(|rest| {
            let (word, rest) = rest.split_once(' ')?;
            let (name, text) = rest.split_once(' ')?;
            Some((word, name, text))
        });
        match words {
            Some((word, name, text)) => {
                // A counter's family lacks the ending that its samples have.
                if word == "HELP" {
                    counter = name.strip_suffix("_total").unwrap_or("");
                }
                let family = if counter.is_empty() { name } else { counter };
                let text = text.replace('"', "\\\"");
                let _ = writeln!(out, "# {word} {family} {text}");
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

/// The page as a list of families, each with its samples.
pub fn json(page: &str) -> String {
    let mut families: Vec<Value> = Vec::new();
    let mut help = "";
    let mut samples = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, text)| text);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|r| r.split_once(' '))
        {
            end(&mut families, &mut samples);
            families.push(json!({ "name": name, "type": kind, "help": unescaped(help) }));
        } else if let Some(sample) = sample(line) {
            samples.push(sample);
        }
    }
    end(&mut families, &mut samples);
    let mut text = Value::from(families).to_string();
    text.push('\n');
    text
}

fn end(families: &mut [Value], samples: &mut Vec<Value>) {
    let samples = std::mem::take(samples);
    if let Some(family) = families.last_mut() {
        family["samples"] = samples.into();
    }
}

/// One line: name, labels, value. Values that JSON has no number for stay text.
fn sample(line: &str) -> Option<Value> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = Map::new();
    while let Some((label, tail)) = rest.split_once("=\"") {
        let end = closing(tail)?;
        labels.insert(label.to_owned(), unescaped(&tail[..end]).into());
        rest = tail[end + 1..].trim_start_matches(',');
    }
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    let value = number.map_or_else(|| value.into(), Value::from);
    Some(json!({ "name": name, "labels": labels, "value": value }))
}

/// Where the quote stands that ends a label's value.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    const PAGE: &str = "# HELP a_total Say \"a\"
# TYPE a_total counter
a_total{name=\"x \\\"y\\\\\"} 3
# HELP b Of {b}
# TYPE b gauge
b 0.5
b{le=\"+Inf\",x=\"}, z=\\n\"} NaN
";

    #[test]
    fn openmetrics_names_counters_without_their_ending_and_says_where_it_ends() {
        let expected = PAGE
            .replace("HELP a_total Say \"a\"", "HELP a Say \\\"a\\\"")
            .replace("TYPE a_total", "TYPE a");
        assert_eq!(super::openmetrics(PAGE), format!("{expected}# EOF\n"));
    }

    #[test]
    fn json_has_every_label_and_value() {
        let read: Value = serde_json::from_str(&super::json(PAGE)).unwrap();
        assert_eq!(
            read,
            json!([
                { "name": "a_total", "type": "counter", "help": "Say \"a\"",
                  "samples": [{ "name": "a_total", "labels": { "name": "x \"y\\" }, "value": 3.0 }] },
                { "name": "b", "type": "gauge", "help": "Of {b}",
                  "samples": [{ "name": "b", "labels": {}, "value": 0.5 },
                              { "name": "b", "labels": { "le": "+Inf", "x": "}, z=\n" }, "value": "NaN" }] },
            ])
        );
    }
}
