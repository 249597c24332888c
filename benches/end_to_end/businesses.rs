//! Many small customers on one exporter, each with a token and an ad account of its own.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use marketing_messages_exporter::simulator::World;

use crate::exporter::{Account, Api, Exporter};
use crate::scraper::{Connection, Encoding};
use crate::table::{Column, bytes, millis};
use crate::{Folder, SCRAPES};

/// Message campaigns of each.
const CAMPAIGNS: usize = 3;

/// Seconds from poll to poll: fifteen times as often as people poll.
const INTERVAL: u64 = 60;

/// How that exporter fares.
pub(crate) fn measure(businesses: usize, idle: u64) -> Column {
    let mut column = Column::new(format!("{businesses} businesses"));
    let api = Api::start(World::with_businesses(businesses, CAMPAIGNS));
    let folder = Folder::new();
    let mut config = format!(
        "graph: {{ url: \"{}\" }}\npolling: {{ interval: {INTERVAL}s, concurrency: 64 }}\nbusinesses:\n",
        api.url()
    );
    for number in 0..businesses {
        let token = folder.file(
            &format!("token-{number}"),
            World::token_of(number).as_bytes(),
        );
        let account = 10_150_000_000_010_000_u64 + number as u64;
        writeln!(
            config,
            "  - {{ name: business-{number}, access_token_file: {}, ad_accounts: [{{ id: act_{account} }}] }}",
            token.display()
        )
        .unwrap();
    }
    let begun = Instant::now();
    let account = Account {
        campaigns: businesses * CAMPAIGNS,
        windows: 2,
        interval: Duration::from_secs(INTERVAL),
    };
    let exporter = Exporter::with(&config, account);
    column.say("start to listening", millis(exporter.listening));
    let exporter = exporter.settled();
    column.say("start to first whole page", millis(begun.elapsed()));
    column.say("calls of the first round", api.calls().to_string());
    // Into the phases that everything keeps from now on.
    sleep(Duration::from_secs(INTERVAL / 2));
    let (mut before, cpu, watched) = (api.calls(), exporter.cpu(), Instant::now());
    let mut seconds = Vec::new();
    for second in 1..=INTERVAL {
        sleep((watched + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        let calls = api.calls();
        seconds.push(calls - before);
        before = calls;
    }
    let cpu = (exporter.cpu() - cpu).as_secs_f64() / watched.elapsed().as_secs_f64();
    let mean = seconds.iter().sum::<usize>() as f64 / seconds.len() as f64;
    let most = seconds.iter().copied().max().unwrap_or(0) as f64;
    column.say("calls a second, mean", format!("{mean:.0}"));
    column.say(
        "the busiest second to the mean",
        format!("{:.2}", most / mean),
    );
    column.say(
        "CPU at 15 times the usual pace",
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
    column.say("polls skipped", skipped.to_string());
    let series = exporter.series();
    column.say("series of campaigns", series.to_string());
    column.say(
        "memory above idle",
        bytes(exporter.memory().saturating_sub(idle)),
    );
    let mut connection = Connection::open(exporter.port);
    let scrapes = connection.scrapes(Encoding::Gzip, SCRAPES);
    column.say("gzip page", bytes(scrapes.length as u64));
    column.percentiles("scrape, gzip, while polling", &scrapes);
    column
}
