//! The whole way, measured from outside: a simulated API with many campaigns, the exporter as a
//! process of its own, and a scraper; beside it what its peers do with the same numbers.
//!
//! `cargo bench --bench end_to_end` measures 1,000 and 10,000 campaigns; other sizes stand behind
//! `-- --campaigns=1000,100000`, and many small customers behind `-- --businesses=2000`. What is compared is compared in one run: read the ratios, since
//! the absolute numbers are the machine's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark that cannot go on says so by panicking; figures are rounded to be read"
)]

mod businesses;
mod child;
mod exporter;
mod peers;
mod scraper;
mod table;

use std::time::{Duration, Instant};

use marketing_messages_exporter::simulator::World;

use crate::exporter::{Api, Exporter};
use crate::scraper::{Connection, Encoding};
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
    let sizes = arguments
        .iter()
        .find_map(|a| a.strip_prefix("--campaigns="));
    let sizes: Vec<usize> = sizes
        .unwrap_or("1000,10000")
        .split(',')
        .map(|size| size.parse().expect("--campaigns takes numbers"))
        .collect();
    let api = Api::start(World::with_campaigns(1, 0));
    let idle = Exporter::start(&api, 1).settled().memory();
    let businesses = arguments
        .iter()
        .find_map(|a| a.strip_prefix("--businesses="));
    if let Some(businesses) = businesses {
        let businesses = businesses.parse().expect("--businesses takes a number");
        println!(
            "{}",
            table::markdown(&[businesses::measure(businesses, idle)])
        );
        return;
    }
    let columns: Vec<Column> = sizes.iter().map(|size| measure(*size, idle)).collect();
    println!("{}", table::markdown(&columns));
}

/// Everything about one ad account with so many message campaigns.
fn measure(campaigns: usize, idle: u64) -> Column {
    let mut column = Column::new(format!("{campaigns} campaigns"));
    let api = Api::start(World::with_campaigns(campaigns, 0));
    let exporter = Exporter::start(&api, campaigns);
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
    let page = exporter.page();
    let plain_length = page.len();
    let mut gzip = Connection::open(exporter.port);
    let during = gzip.scrapes(Encoding::Gzip, SCRAPES);
    exporter.rest();
    let ours = gzip.scrapes(Encoding::Gzip, SCRAPES);
    column.say("gzip page", bytes(ours.length as u64));
    column.percentiles("scrape, gzip", &ours);
    column.percentiles("scrape, gzip, while refreshing", &during);
    let plain = Connection::open(exporter.port).scrapes(Encoding::Plain, SLOW_SCRAPES);
    column.say("plain page", bytes(plain_length as u64));
    column.percentiles("scrape, plain", &plain);

    eprintln!("{campaigns} campaigns: peers");
    let before = exporter.cpu();
    let (per_second, count) = scraper::throughput(exporter.port, COUNTED);
    let cpu = (exporter.cpu() - before).as_secs_f64() / count as f64;
    column.say("CPU a scrape, gzip", millis(Duration::from_secs_f64(cpu)));
    column.say("scrapes a second, gzip", format!("{per_second:.0}"));
    let folder = Folder::new();
    let page_file = folder.file("page", page.as_bytes());
    let member = gzip.body(Encoding::Gzip);
    folder.file("page.gz", &member);
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
            peers::crate_gauges(&page_file),
        ),
        ("Python's prometheus_client", peers::python(&page_file)),
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
    column
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
