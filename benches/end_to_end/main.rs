//! End-to-end benchmark: a simulated API with many campaigns, the exporter as a separate process, and a scraper,
//! compared with other implementations that serve the same page.
//!
//! `cargo bench --bench end_to_end` measures 1,000 and 10,000 campaigns. Flags after `--`:
//!
//! - `--campaigns=1000,100000`: numbers of campaigns, each a column of the result;
//! - `--windows=N`: 1 to 5 windows instead of two; the page grows with them;
//! - `--no-peers`: skip the comparison, for which the page is stored in a file, as in
//!   `-- --campaigns=100000 --no-peers`;
//! - `--businesses=2000`: measure many small businesses instead;
//! - `--polls=1000`: measure memory growth over many polls of a small ad account instead.
//!
//! Absolute numbers depend on the machine; compare the ratios within one run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking; results are rounded for display"
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

use graph_simulator::World;

use crate::arguments::Arguments;
use crate::exporter::{Account, Api, Exporter};
use crate::scraper::{Connection, Encoding, Scrapes};
use crate::table::{Column, bytes, micros, millis};

/// Scrapes per percentile.
const SCRAPES: usize = 400;

/// Scrapes per percentile if each takes long.
const SLOW_SCRAPES: usize = 12;

/// Duration of a throughput measurement.
const THROUGHPUT_TIME: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, peer, page] = arguments.as_slice()
        && command == "peer"
    {
        return peers::run(peer, page);
    }
    let options = Arguments::parse(&arguments);
    let api = Api::start(World::with_campaigns(1, 0));
    let idle = Exporter::start(&api, Account::new(1, 2))
        .wait_for_all_series()
        .memory();
    let columns = match (options.businesses, options.polls) {
        (Some(businesses), _) => vec![businesses::measure(businesses, idle)],
        (None, Some(polls)) => vec![growth::measure(polls, options.windows, idle)],
        (None, None) => {
            let accounts = options.campaigns.iter();
            accounts
                .map(|campaigns| Account::new(*campaigns, options.windows))
                .map(|account| measure(account, options.peers, idle))
                .collect()
        }
    };
    println!("{}", table::markdown(&columns));
}

/// Measures one ad account.
fn measure(account: Account, peers: bool, idle: u64) -> Column {
    let campaigns = account.campaigns;
    let mut column = Column::new(format!("{campaigns} campaigns"));
    let api = Api::start(World::with_campaigns(campaigns, 0));
    let exporter = Exporter::start(&api, account);
    column.record("time to listen", millis(exporter.time_to_listen));
    eprintln!("{campaigns} campaigns: first page");
    let exporter = exporter.wait_for_all_series();
    let series = exporter.series();
    column.record("series", series.to_string());
    column.record(
        "time to first complete page, with rate limiting",
        millis(exporter.time_to_full_page),
    );

    eprintln!("{campaigns} campaigns: refreshes");
    let refreshes = exporter.refreshes(&api);
    let cpu = refreshes.cpu.as_secs_f64() / refreshes.rows as f64;
    column.record(
        "CPU per row and refresh, from both responses to the page",
        micros(cpu),
    );
    let memory = exporter.memory().saturating_sub(idle) as f64 / series as f64;
    column.record("memory per series", format!("{memory:.0} B"));
    column.record("peak memory", bytes(exporter.peak_memory()));

    eprintln!("{campaigns} campaigns: scrapes");
    let mut gzip = Connection::open(exporter.port);
    let while_polling = gzip.scrapes(Encoding::Gzip, SCRAPES);
    exporter.stop_polling();
    let ours = gzip.scrapes(Encoding::Gzip, SCRAPES);
    column.record("gzip page", bytes(ours.length as u64));
    column.percentiles("scrape, gzip", &ours);
    column.percentiles("scrape, gzip, while polling", &while_polling);
    let plain = Connection::open(exporter.port).scrapes(Encoding::Plain, SLOW_SCRAPES);
    column.record("plain page", bytes(plain.length as u64));
    column.percentiles("scrape, plain", &plain);
    let before = exporter.cpu_time();
    let (per_second, count) = scraper::throughput(exporter.port, THROUGHPUT_TIME);
    let cpu = (exporter.cpu_time() - before).as_secs_f64() / count as f64;
    column.record("CPU per scrape, gzip", millis(Duration::from_secs_f64(cpu)));
    column.record("scrapes per second, gzip", format!("{per_second:.0}"));
    if peers {
        eprintln!("{campaigns} campaigns: peers");
        compare(&mut column, &exporter, &ours, per_second);
    }
    column
}

/// Measures other implementations that serve the same page, relative to the exporter.
fn compare(column: &mut Column, exporter: &Exporter, ours: &Scrapes, per_second: f64) {
    let series = exporter.series();
    let folder = Folder::new();
    let page = folder.0.join("page");
    let mut connection = Connection::open(exporter.port);
    connection.save(Encoding::Plain, &page);
    connection.save(Encoding::Gzip, &folder.0.join("page.gz"));
    let outputs = peers::NGINX_OUTPUTS.iter();
    let rates = outputs.filter_map(|output| {
        let (_nginx, port) = peers::nginx(&folder.0, output)?;
        Some(scraper::throughput(port, THROUGHPUT_TIME).0)
    });
    match rates.reduce(f64::max) {
        Some(theirs) => {
            column.record(
                "scrapes per second, same bytes served by nginx",
                format!("{theirs:.0}"),
            );
            column.record(
                "scrapes per second, relative to nginx",
                format!("{:.2}", per_second / theirs),
            );
        }
        None => column.record(
            "scrapes per second, same bytes served by nginx",
            "not installed".to_owned(),
        ),
    }
    for (name, peer) in [
        (
            "prometheus crate, gauges encoded at each scrape",
            peers::crate_gauges(&page),
        ),
        ("Python's prometheus_client", peers::python(&page)),
    ] {
        let Some((peer, port)) = peer else {
            column.record(&format!("scrape, {name}: p50"), "not installed".to_owned());
            continue;
        };
        let theirs = Connection::open(port).scrapes(Encoding::Plain, SLOW_SCRAPES.min(6));
        column.record(
            &format!("scrape, {name}: p50"),
            millis(theirs.percentile(50)),
        );
        let ratio = theirs.percentile(50).as_secs_f64() / ours.percentile(50).as_secs_f64();
        column.record(
            &format!("{name}, relative to the exporter"),
            format!("{ratio:.0}"),
        );
        let memory = peer.memory() as f64 / series as f64;
        column.record(
            &format!("memory per series, {name}"),
            format!("{memory:.0} B"),
        );
    }
}

/// A temporary folder that is removed when dropped.
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
