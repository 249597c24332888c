//! The whole way, measured from outside: a simulated API with many campaigns, the exporter as a
//! process of its own, and a scraper; beside it what its peers do with the same numbers.
//!
//! `cargo bench --bench end_to_end` measures 1,000 and 10,000 campaigns. Behind `--` it takes
//!
//! - `--campaigns=1000,100000`: other sizes, each a column;
//! - `--windows=N`: 1 to 5 windows instead of two, since a page grows with them;
//! - `--no-peers`: nothing of others; then no page is kept, however large it is, and
//!   `-- --campaigns=100000 --no-peers` is one command;
//! - `--businesses=2000`: that many small customers instead;
//! - `--polls=1000`: what so many polls of a small ad account leave in memory instead.
//!
//! What is compared is compared in one run: read the ratios, since the absolute numbers are the
//! machine's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark that cannot go on says so by panicking; figures are rounded to be read"
)]

mod arguments;
mod businesses;
mod child;
mod exporter;
mod growth;
mod peers;
mod scraper;
mod table;

use std::time::{Duration, Instant};

use marketing_messages_exporter::simulator::World;

use crate::arguments::Arguments;
use crate::exporter::{Account, Api, Exporter};
use crate::scraper::{Connection, Encoding, Scrapes};
use crate::table::{Column, bytes, micros, millis};

/// How many scrapes a percentile is made of.
const SCRAPES: usize = 400;

/// The same where each of them takes long.
const SLOW_SCRAPES: usize = 12;

/// How long requests are counted.
const COUNTED: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, peer, page] = arguments.as_slice()
        && word == "peer"
    {
        return peers::run(peer, page);
    }
    let asked = Arguments::parse(&arguments);
    let api = Api::start(World::with_campaigns(1, 0));
    let idle = Exporter::start(&api, Account::new(1, 2)).settled().memory();
    let columns = match (asked.businesses, asked.polls) {
        (Some(businesses), _) => vec![businesses::measure(businesses, idle)],
        (None, Some(polls)) => vec![growth::measure(polls, asked.windows, idle)],
        (None, None) => {
            let accounts = asked.campaigns.iter();
            accounts
                .map(|campaigns| Account::new(*campaigns, asked.windows))
                .map(|account| measure(account, asked.peers, idle))
                .collect()
        }
    };
    println!("{}", table::markdown(&columns));
}

/// Everything about one ad account.
fn measure(account: Account, peers: bool, idle: u64) -> Column {
    let campaigns = account.campaigns;
    let mut column = Column::new(format!("{campaigns} campaigns"));
    let api = Api::start(World::with_campaigns(campaigns, 0));
    let exporter = Exporter::start(&api, account);
    column.say("start to listening", millis(exporter.listening));
    eprintln!("{campaigns} campaigns: the first page");
    let exporter = exporter.settled();
    let series = exporter.series();
    column.say("series", series.to_string());
    column.say(
        "start to first whole page, requests paced",
        millis(exporter.first_page),
    );

    eprintln!("{campaigns} campaigns: refreshes");
    let refreshes = exporter.refreshes(&api);
    let cpu = refreshes.cpu.as_secs_f64() / refreshes.rows as f64;
    column.say("CPU a row and refresh, both queries to page", micros(cpu));
    let memory = exporter.memory().saturating_sub(idle) as f64 / series as f64;
    column.say("memory a series", format!("{memory:.0} B"));
    column.say("highest memory", bytes(exporter.peak()));

    eprintln!("{campaigns} campaigns: scrapes");
    let mut gzip = Connection::open(exporter.port);
    let during = gzip.scrapes(Encoding::Gzip, SCRAPES);
    exporter.rest();
    let ours = gzip.scrapes(Encoding::Gzip, SCRAPES);
    column.say("gzip page", bytes(ours.length as u64));
    column.percentiles("scrape, gzip", &ours);
    column.percentiles("scrape, gzip, while refreshing", &during);
    let plain = Connection::open(exporter.port).scrapes(Encoding::Plain, SLOW_SCRAPES);
    column.say("plain page", bytes(plain.length as u64));
    column.percentiles("scrape, plain", &plain);
    let before = exporter.cpu();
    let (per_second, count) = scraper::throughput(exporter.port, COUNTED);
    let cpu = (exporter.cpu() - before).as_secs_f64() / count as f64;
    column.say("CPU a scrape, gzip", millis(Duration::from_secs_f64(cpu)));
    column.say("scrapes a second, gzip", format!("{per_second:.0}"));
    if peers {
        eprintln!("{campaigns} campaigns: peers");
        compare(&mut column, &exporter, &ours, per_second);
    }
    column
}

/// What others make of the same page, beside our scrapes, and how many of those there are a second.
fn compare(column: &mut Column, exporter: &Exporter, ours: &Scrapes, per_second: f64) {
    let series = exporter.series();
    let folder = Folder::new();
    let page = folder.0.join("page");
    let mut connection = Connection::open(exporter.port);
    connection.save(Encoding::Plain, &page);
    connection.save(Encoding::Gzip, &folder.0.join("page.gz"));
    match peers::nginx(&folder.0) {
        Some((_nginx, port)) => {
            let (theirs, _) = scraper::throughput(port, COUNTED);
            column.say(
                "scrapes a second, the same bytes by nginx",
                format!("{theirs:.0}"),
            );
            column.say("ours to nginx'", format!("{:.2}", per_second / theirs));
        }
        None => column.say(
            "scrapes a second, the same bytes by nginx",
            "not installed".to_owned(),
        ),
    }
    for (name, peer) in [
        (
            "prometheus crate, gauges encoded at the scrape",
            peers::crate_gauges(&page),
        ),
        ("Python's prometheus_client", peers::python(&page)),
    ] {
        let Some((peer, port)) = peer else {
            column.say(&format!("scrape, {name}: p50"), "not installed".to_owned());
            continue;
        };
        let theirs = Connection::open(port).scrapes(Encoding::Plain, SLOW_SCRAPES.min(6));
        column.say(
            &format!("scrape, {name}: p50"),
            millis(theirs.percentile(50)),
        );
        let ratio = theirs.percentile(50).as_secs_f64() / ours.percentile(50).as_secs_f64();
        column.say(&format!("{name}, times ours"), format!("{ratio:.0}"));
        let memory = peer.memory() as f64 / series as f64;
        column.say(
            &format!("memory a series, {name}"),
            format!("{memory:.0} B"),
        );
    }
}

/// A folder for as long as it is held.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let nanos = Instant::now().elapsed().as_nanos();
        let name = format!("mme-bench-{}-{nanos}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
