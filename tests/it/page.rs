//! Strict parser of the Prometheus text format, which panics on invalid input, and assertions about
//! the value or absence of series.

use std::collections::BTreeSet;

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// Labels in the order of the page.
    pub(crate) labels: Vec<(String, String)>,
    /// Value as written.
    pub(crate) number: String,
}

impl Sample {
    pub(crate) fn value(&self) -> f64 {
        self.number.parse().unwrap()
    }

    /// Returns the value of a label, or the empty string.
    pub(crate) fn label(&self, name: &str) -> &str {
        let label = self.labels.iter().find(|(label, _)| label == name);
        label.map_or("", |(_, value)| value)
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels
                .iter()
                .all(|(name, value)| self.label(name) == *value)
    }
}

/// One metric family: HELP, TYPE, and at least one sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// A parsed page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) families: Vec<Family>,
}

impl Page {
    /// Parses a page. Panics if it violates the text format.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "the page should end with a newline"
        );
        let mut families: Vec<Family> = Vec::new();
        let mut series = BTreeSet::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = comment(line, "HELP").expect("a family should begin with HELP");
            let next = lines.next().expect("TYPE should follow HELP");
            let (type_name, kind) = comment(next, "TYPE").expect("TYPE should follow HELP");
            assert_eq!(
                name, type_name,
                "HELP and TYPE should be of the same family"
            );
            assert!(
                families.iter().all(|family| family.name != name),
                "{name} should be one group of lines"
            );
            let mut samples = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let sample = sample(line);
                let base = match kind.as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|end| sample.name.strip_suffix(end)),
                    _ => Some(sample.name.as_str()),
                };
                assert_eq!(
                    base,
                    Some(name.as_str()),
                    "a sample should be in the group of its family: {line}"
                );
                let mut labels = sample.labels.clone();
                labels.sort();
                let key = (sample.name.clone(), labels);
                assert!(series.insert(key), "series should be unique: {line}");
                samples.push(sample);
            }
            assert!(!samples.is_empty(), "{name} should have samples");
            families.push(Family {
                name,
                help,
                kind,
                samples,
            });
        }
        Self {
            text: text.to_owned(),
            families,
        }
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// Returns all series of a metric that have at least these labels. `name` is without prefix.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let name = format!("marketing_messages_{name}");
        self.samples()
            .filter(|sample| sample.matches(&name, labels))
            .collect()
    }

    /// Returns the only series of a metric with these labels, or `None`. Panics if there are several.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let series = self.all(name, labels);
        assert!(
            series.len() < 2,
            "{name} {labels:?} should match at most one series: {series:#?}"
        );
        series.first().copied()
    }

    /// Returns the value of the only series of a metric with these labels, or `None`.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).map(Sample::value)
    }

    /// Asserts the value of the only series of a metric with these labels, as written.
    pub(crate) fn assert(&self, name: &str, labels: &[(&str, &str)], expected: &str) {
        let number = self.find(name, labels).map(|sample| sample.number.as_str());
        assert_eq!(number, Some(expected), "{name} {labels:?}");
    }

    /// Asserts that no series of a metric has these labels.
    pub(crate) fn assert_absent(&self, name: &str, labels: &[(&str, &str)]) {
        let series = self.all(name, labels);
        assert!(
            series.is_empty(),
            "{name} {labels:?} should be absent: {series:#?}"
        );
    }

    /// Returns the text of the page without some families.
    pub(crate) fn without(&self, is_dropped: impl Fn(&Family) -> bool) -> String {
        let mut text = String::new();
        let mut keep = false;
        for line in self.text.lines() {
            if let Some((name, _)) = comment(line, "HELP") {
                let family = self.families.iter().find(|family| family.name == name);
                keep = family.is_some_and(|family| !is_dropped(family));
            }
            if keep {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// Parses a HELP or TYPE line into its name and text.
fn comment(line: &str, keyword: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("# ")?.strip_prefix(keyword)?;
    let (name, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    Some((name.to_owned(), rest.to_owned()))
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a sample should have a value");
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(list) = rest.strip_prefix('{') {
        rest = list;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest
                .split_once("=\"")
                .expect("labels should end with a brace");
            let (value, after) = unescape_value(after);
            let is_duplicate = labels.iter().any(|(other, _)| other == label);
            assert!(!is_duplicate, "{label} should be unique: {line}");
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
    }
    let number = rest
        .strip_prefix(' ')
        .expect("a space should precede the value");
    assert!(
        number.parse::<f64>().is_ok(),
        "the line should end with a number, without timestamp: {line}"
    );
    Sample {
        name: name.to_owned(),
        labels,
        number: number.to_owned(),
    }
}

/// Splits the text at the closing quote of a label value, and unescapes the value.
fn unescape_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((position, c)) = chars.next() {
        match c {
            '"' => return (value, &text[position + 1..]),
            '\\' => value.push(match chars.next().map(|(_, c)| c) {
                Some('n') => '\n',
                Some(c @ ('\\' | '"')) => c,
                other => panic!("invalid escape sequence: {other:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("a label value should end with a quote: {text}")
}
