//! What was measured, as a table for people.

use std::time::Duration;

use crate::scraper::Scrapes;

/// One size's figures, in the order in which they were measured.
pub(crate) struct Column {
    head: String,
    figures: Vec<(String, String)>,
}

impl Column {
    pub(crate) fn new(head: String) -> Self {
        Self {
            head,
            figures: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, what: &str, figure: String) {
        eprintln!("  {what}: {figure}");
        self.figures.push((what.to_owned(), figure));
    }

    pub(crate) fn percentiles(&mut self, what: &str, scrapes: &Scrapes) {
        let figures = [50, 99].map(|percent| millis(scrapes.percentile(percent)));
        self.say(&format!("{what}: p50, p99"), figures.join(", "));
    }
}

/// A Markdown table, one row a figure, one column a size.
pub(crate) fn markdown(columns: &[Column]) -> String {
    let Some(first) = columns.first() else {
        return String::new();
    };
    let heads: Vec<&str> = columns.iter().map(|column| column.head.as_str()).collect();
    let mut table = format!(
        "| | {} |\n|---|{}\n",
        heads.join(" | "),
        "---:|".repeat(columns.len())
    );
    for (place, (what, _)) in first.figures.iter().enumerate() {
        let figures = columns.iter().map(|column| {
            let named = column.figures.get(place).filter(|(name, _)| name == what);
            named.map_or("", |(_, figure)| figure.as_str())
        });
        let figures: Vec<&str> = figures.collect();
        table.push_str(&format!("| {what} | {} |\n", figures.join(" | ")));
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
