//! Parser for OpenMetrics text with timestamps. It is stricter than promtool, and panics if the text violates a rule of
//! the format.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::page::Page;

/// Samples of a history by their timestamp.
#[derive(Debug)]
pub(crate) struct History {
    /// Name, and HELP and TYPE lines, of each family, in order.
    families: Vec<(String, String)>,
    /// Samples of each timestamp, in seconds, without it; each with the index of its family.
    seconds: BTreeMap<i64, Vec<(usize, String)>>,
    /// Number of samples.
    pub(crate) samples: usize,
}

impl History {
    pub(crate) fn parse(text: &str) -> Self {
        let body = text
            .strip_suffix("# EOF\n")
            .expect("the text should end with # EOF");
        let mut history = Self {
            families: Vec::new(),
            seconds: BTreeMap::new(),
            samples: 0,
        };
        let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
        // Series of the previous sample, and its newest timestamp.
        let mut current: Option<(String, i64)> = None;
        let mut lines = body.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').unwrap();
                let kind = lines.next().expect("TYPE should follow HELP");
                assert_eq!(kind, format!("# TYPE {name} gauge"));
                assert!(
                    names.insert(name.to_owned()),
                    "family {name} should occur once"
                );
                history
                    .families
                    .push((name.to_owned(), format!("{line}\n{kind}\n")));
                continue;
            }
            let (sample, second) = line.rsplit_once(' ').expect("a timestamp");
            let (series, value) = sample.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let second: i64 = second.parse().expect("whole seconds");
            let (name, _) = history.families.last().expect("a family");
            assert_eq!(series.split_once('{').unwrap().0, name);
            match &mut current {
                Some((current_series, newest)) if current_series == series => {
                    assert!(*newest < second, "timestamps should ascend: {line}");
                    *newest = second;
                }
                _ => {
                    assert!(
                        seen.insert(series.to_owned()),
                        "samples of a series should be adjacent: {series}"
                    );
                    current = Some((series.to_owned(), second));
                }
            }
            let family_idx = history.families.len() - 1;
            let lines = history.seconds.entry(second).or_default();
            lines.push((family_idx, sample.to_owned()));
            history.samples += 1;
        }
        history
    }

    /// Returns the samples of the last second of a day in a time zone, as a metrics page.
    pub(crate) fn at(&self, day: &str, zone: &str) -> Page {
        let zone = TimeZone::get(zone).unwrap();
        let next = day.parse::<Date>().unwrap().tomorrow().unwrap();
        let day_end = next.to_zoned(zone).unwrap().timestamp();
        self.page((day_end - 1.second()).as_second())
    }

    fn page(&self, second: i64) -> Page {
        let mut text = String::new();
        let mut current_family = None;
        for (family_idx, line) in self.seconds.get(&second).into_iter().flatten() {
            if current_family != Some(family_idx) {
                text.push_str(&self.families[*family_idx].1);
                current_family = Some(family_idx);
            }
            text.push_str(line);
            text.push('\n');
        }
        Page::parse(&text)
    }

    /// Returns the names of the families.
    pub(crate) fn families(&self) -> Vec<&str> {
        self.families
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Returns every series: its name and labels, as in the text.
    pub(crate) fn series(&self) -> BTreeSet<String> {
        let lines = self.seconds.values().flatten();
        let series = lines.map(|(_, line)| line.rsplit_once(' ').unwrap().0.to_owned());
        series.collect()
    }

    /// Returns the number of samples of a metric, given without its prefix.
    pub(crate) fn count(&self, name: &str) -> usize {
        let start = format!("marketing_messages_{name}{{");
        let lines = self.seconds.values().flatten();
        lines.filter(|(_, line)| line.starts_with(&start)).count()
    }
}
