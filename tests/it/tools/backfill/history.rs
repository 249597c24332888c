//! OpenMetrics with timestamps, read more strictly than promtool does: what breaks a rule of the
//! format panics here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::page::Page;

/// All samples, by their second.
#[derive(Debug)]
pub(crate) struct History {
    /// HELP and TYPE of each family, in order.
    families: Vec<(String, String)>,
    /// The lines of each second without their timestamps, each with its family's place.
    seconds: BTreeMap<i64, Vec<(usize, String)>>,
    pub(crate) samples: usize,
}

impl History {
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("its end");
        let mut history = Self {
            families: Vec::new(),
            seconds: BTreeMap::new(),
            samples: 0,
        };
        let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
        // The series being told, and its newest second.
        let mut current: Option<(String, i64)> = None;
        let mut lines = body.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').unwrap();
                let kind = lines.next().expect("TYPE follows HELP");
                assert_eq!(kind, format!("# TYPE {name} gauge"));
                assert!(names.insert(name.to_owned()), "a second block of {name}");
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
                Some((told, newest)) if told == series => {
                    assert!(*newest < second, "time goes on: {line}");
                    *newest = second;
                }
                _ => {
                    assert!(
                        seen.insert(series.to_owned()),
                        "told in two parts: {series}"
                    );
                    current = Some((series.to_owned(), second));
                }
            }
            let place = history.families.len() - 1;
            let lines = history.seconds.entry(second).or_default();
            lines.push((place, sample.to_owned()));
            history.samples += 1;
        }
        history
    }

    /// What was true in the last second of that day in that zone, as a page would say it.
    pub(crate) fn at(&self, day: &str, zone: &str) -> Page {
        let zone = TimeZone::get(zone).unwrap();
        let next = day.parse::<Date>().unwrap().tomorrow().unwrap();
        let closing = next.to_zoned(zone).unwrap().timestamp();
        self.second((closing - 1.second()).as_second())
    }

    fn second(&self, second: i64) -> Page {
        let mut text = String::new();
        let mut family = None;
        for (place, line) in self.seconds.get(&second).into_iter().flatten() {
            if family != Some(place) {
                text.push_str(&self.families[*place].1);
                family = Some(place);
            }
            text.push_str(line);
            text.push('\n');
        }
        Page::parse(&text)
    }

    pub(crate) fn families(&self) -> Vec<&str> {
        self.families
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Every series, by its text up to the value.
    pub(crate) fn series(&self) -> BTreeSet<String> {
        let lines = self.seconds.values().flatten();
        let series = lines.map(|(_, line)| line.rsplit_once(' ').unwrap().0.to_owned());
        series.collect()
    }

    /// How many samples of that name there are.
    pub(crate) fn count(&self, name: &str) -> usize {
        let begin = format!("marketing_messages_{name}{{");
        let lines = self.seconds.values().flatten();
        lines.filter(|(_, line)| line.starts_with(&begin)).count()
    }
}
