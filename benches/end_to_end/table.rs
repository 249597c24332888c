//! The results as a Markdown table.

use std::time::Duration;

use crate::scraper::Scrapes;

/// Results of one measurement run, in the order of measurement.
pub(crate) struct Column {
    title: String,
    values: Vec<(String, String)>,
}

impl Column {
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            values: Vec::new(),
        }
    }

    /// Adds a result and prints it to standard error.
    pub(crate) fn record(&mut self, name: &str, value: String) {
        eprintln!("  {name}: {value}");
        self.values.push((name.to_owned(), value));
    }

    /// Adds the median and the 99th percentile.
    pub(crate) fn percentiles(&mut self, name: &str, scrapes: &Scrapes) {
        let values = [50, 99].map(|percent| millis(scrapes.percentile(percent)));
        self.record(&format!("{name}: p50, p99"), values.join(", "));
    }
}

/// Renders a Markdown table with one row per result and one column per run.
pub(crate) fn markdown(columns: &[Column]) -> String {
    let Some(first) = columns.first() else {
        return String::new();
    };
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        titles.join(" | "),
        "---:|".repeat(columns.len())
    );
    for (row_idx, (name, _)) in first.values.iter().enumerate() {
        let values = columns.iter().map(|column| {
            let cell = column
                .values
                .get(row_idx)
                .filter(|(other, _)| other == name);
            cell.map_or("", |(_, value)| value.as_str())
        });
        let values: Vec<&str> = values.collect();
        table.push_str(&format!("| {name} | {} |\n", values.join(" | ")));
    }
    table
}

pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        100.0.. => format!("{millis:.0} ms"),
        10.0.. => format!("{millis:.1} ms"),
        _ => format!("{millis:.2} ms"),
    }
}

pub(crate) fn micros(seconds: f64) -> String {
    format!("{:.1} µs", seconds * 1e6)
}

pub(crate) fn bytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
