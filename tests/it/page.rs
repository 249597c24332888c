//! The text format, read strictly: what breaks its rules panics here, and not in Prometheus.
//!
//! And the matchers: a metric of that name, with those labels, has that value, or is absent.

use std::collections::BTreeSet;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    /// In the order written.
    pub(crate) labels: Vec<(String, String)>,
    /// The number as it is written.
    pub(crate) number: String,
}

impl Sample {
    /// The number.
    pub(crate) fn value(&self) -> f64 {
        self.number.parse().unwrap()
    }

    pub(crate) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }

    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels
                .iter()
                .all(|(name, value)| self.label(name) == *value)
    }
}

/// One block: HELP, TYPE, and at least one line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// A whole page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) families: Vec<Family>,
}

impl Page {
    /// Reads it; panics where a rule of the format is broken.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "no final newline");
        let mut families: Vec<Family> = Vec::new();
        let mut series = BTreeSet::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = comment(line, "HELP").expect("every block begins with HELP");
            let next = lines.next().expect("TYPE follows HELP");
            let (typed, kind) = comment(next, "TYPE").expect("TYPE follows HELP");
            assert_eq!(name, typed, "HELP and TYPE of one family");
            assert!(
                families.iter().all(|family| family.name != name),
                "a second block of {name}"
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
                assert_eq!(base, Some(name.as_str()), "a line in a stranger's block");
                let mut labels = sample.labels.clone();
                labels.sort();
                let key = (sample.name.clone(), labels);
                assert!(series.insert(key), "a series twice: {line}");
                samples.push(sample);
            }
            assert!(!samples.is_empty(), "a block without lines: {name}");
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

    /// Every series of that name that has at least these labels. The program's prefix is added.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let name = format!("marketing_messages_{name}");
        self.samples()
            .filter(|sample| sample.has(&name, labels))
            .collect()
    }

    /// The only series of that name and labels, if there is one.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let found = self.all(name, labels);
        assert!(
            found.len() < 2,
            "{} series of {name} {labels:?}: {found:#?}",
            found.len()
        );
        found.first().copied()
    }

    /// The value of the only series of that name and labels, if there is one.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).map(Sample::value)
    }

    /// The only series of that name and labels is written so, to the digit.
    pub(crate) fn assert(&self, name: &str, labels: &[(&str, &str)], number: &str) {
        let found = self.find(name, labels).map(|sample| sample.number.as_str());
        assert_eq!(found, Some(number), "{name} {labels:?}");
    }

    /// No series of that name has these labels.
    pub(crate) fn assert_absent(&self, name: &str, labels: &[(&str, &str)]) {
        let found = self.all(name, labels);
        assert!(found.is_empty(), "{name} {labels:?}: {found:#?}");
    }

    /// The page without families that the test does not care for, as text.
    pub(crate) fn without(&self, dropped: impl Fn(&Family) -> bool) -> String {
        let mut text = String::new();
        let mut keep = false;
        for line in self.text.lines() {
            if let Some((name, _)) = comment(line, "HELP") {
                let family = self.families.iter().find(|family| family.name == name);
                keep = family.is_some_and(|family| !dropped(family));
            }
            if keep {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

fn comment(line: &str, word: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("# ")?.strip_prefix(word)?;
    let (name, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    Some((name.to_owned(), rest.to_owned()))
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(list) = rest.strip_prefix('{') {
        rest = list;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"").expect("a label");
            let (value, after) = unescaped(after);
            let twice = labels.iter().any(|(known, _)| known == label);
            assert!(!twice, "{label} twice: {line}");
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
    }
    let number = rest.strip_prefix(' ').expect("a space before the number");
    assert!(
        number.parse::<f64>().is_ok(),
        "no number, or a timestamp behind it: {line}"
    );
    Sample {
        name: name.to_owned(),
        labels,
        number: number.to_owned(),
    }
}

/// The value up to its closing quote, and what follows that.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match letters.next().map(|(_, letter)| letter) {
                Some('n') => '\n',
                Some(letter @ ('\\' | '"')) => letter,
                other => panic!("an escape that there is not: {other:?}"),
            }),
            letter => value.push(letter),
        }
    }
    panic!("a value without end: {text}")
}
