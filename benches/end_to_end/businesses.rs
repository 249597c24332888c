//! Measures one exporter with many small businesses, each with its own token and ad account.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use graph_simulator::World;

use crate::exporter::{Account, Api, Exporter};
use crate::scraper::{Connection, Encoding};
use crate::table::{Column, bytes, millis};
use crate::{Folder, SCRAPES};

/// Message campaigns per business.
const CAMPAIGNS: usize = 3;

/// Polling interval in seconds; the default of the exporter is 15 minutes.
const INTERVAL_SECONDS: u64 = 60;

/// Measures start, request rate, CPU, memory and scrapes.
pub(crate) fn measure(businesses: usize, idle: u64) -> Column {
    let mut column = Column::new(format!("{businesses} businesses"));
    let api = Api::start(World::with_businesses(businesses, CAMPAIGNS));
    let folder = Folder::new();
    let mut config = format!(
        "graph: {{ url: \"{}\" }}\npolling: {{ interval: {INTERVAL_SECONDS}s, concurrency: 64 }}\nbusinesses:\n",
        api.url()
    );
    for number in 0..businesses {
        let token = folder.file(
            &format!("token-{number}"),
            World::business_token(number).as_bytes(),
        );
        let account = 10_150_000_000_010_000_u64 + number as u64;
        writeln!(
            config,
            "  - {{ name: business-{number}, access_token_file: {}, ad_accounts: [{{ id: act_{account} }}] }}",
            token.display()
        )
        .unwrap();
    }
    let start = Instant::now();
    let account = Account {
        campaigns: businesses * CAMPAIGNS,
        windows: 2,
        interval: Duration::from_secs(INTERVAL_SECONDS),
    };
    let exporter = Exporter::with_config(&config, account);
    column.record("time to listen", millis(exporter.time_to_listen));
    let exporter = exporter.wait_for_all_series();
    column.record("time to first complete page", millis(start.elapsed()));
    column.record("calls of the first polls", api.calls().to_string());
    // Waits until the polls have reached their regular phases.
    sleep(Duration::from_secs(INTERVAL_SECONDS / 2));
    let (mut before, cpu, window_start) = (api.calls(), exporter.cpu_time(), Instant::now());
    let mut calls_per_second = Vec::new();
    for second in 1..=INTERVAL_SECONDS {
        sleep(
            (window_start + Duration::from_secs(second)).saturating_duration_since(Instant::now()),
        );
        let calls = api.calls();
        calls_per_second.push(calls - before);
        before = calls;
    }
    let cpu = (exporter.cpu_time() - cpu).as_secs_f64() / window_start.elapsed().as_secs_f64();
    let mean = calls_per_second.iter().sum::<usize>() as f64 / calls_per_second.len() as f64;
    let most = calls_per_second.iter().copied().max().unwrap_or(0) as f64;
    column.record("calls per second, mean", format!("{mean:.0}"));
    column.record(
        "calls in the busiest second, relative to the mean",
        format!("{:.2}", most / mean),
    );
    column.record(
        "CPU at 15 times the default polling rate",
        format!("{:.0} %", cpu * 100.0),
    );
    let page = Connection::open(exporter.port).body(Encoding::Plain);
    let page = String::from_utf8(page).unwrap();
    let skipped = page
        .lines()
        .filter(|line| line.contains("polls_skipped_total{"));
    let skipped: u64 = skipped
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    column.record("polls skipped", skipped.to_string());
    let series = exporter.series();
    column.record("campaign series", series.to_string());
    column.record(
        "memory above idle",
        bytes(exporter.memory().saturating_sub(idle)),
    );
    let mut connection = Connection::open(exporter.port);
    let scrapes = connection.scrapes(Encoding::Gzip, SCRAPES);
    column.record("gzip page", bytes(scrapes.length as u64));
    column.percentiles("scrape, gzip, while polling", &scrapes);
    column
}
