//! Measures memory growth over many polls; without a leak, both results are equal.

use std::thread::sleep;
use std::time::Duration;

use graph_simulator::World;
use marketing_messages_exporter::plan::ROWS_PER_PAGE;
use marketing_messages_exporter::scheduler::MIN_REQUESTS_PER_SECOND;

use crate::exporter::{Account, Api, Exporter};
use crate::table::{Column, bytes};

/// Message campaigns; few, so that many polls take only minutes.
const CAMPAIGNS: usize = 1_000;

/// Polls after which all buffers have reached their size.
const WARM_UP_POLLS: usize = 10;

/// Measures memory after the warm-up polls and after `polls` polls.
pub(crate) fn measure(polls: usize, windows: usize, idle: u64) -> Column {
    let mut column = Column::new(format!("{CAMPAIGNS} campaigns, {polls} polls"));
    let api = Api::start(World::with_campaigns(CAMPAIGNS, 0));
    let calls = 2 * windows * CAMPAIGNS.div_ceil(ROWS_PER_PAGE);
    let exporter = Exporter::start(
        &api,
        Account {
            campaigns: CAMPAIGNS,
            windows,
            // A quarter longer than the request rate requires, so that no poll is skipped.
            interval: Duration::from_secs_f64(1.25 * calls as f64 / MIN_REQUESTS_PER_SECOND),
        },
    );
    let exporter = exporter.wait_for_all_series();
    let series = exporter.series();
    column.record("series", series.to_string());
    for count in [WARM_UP_POLLS.min(polls), polls] {
        while exporter.polls() < count as u64 {
            sleep(Duration::from_secs(1));
        }
        let memory = exporter.memory();
        let bytes_per_series = memory.saturating_sub(idle) as f64 / series as f64;
        column.record(
            &format!("memory per series after {count} polls"),
            format!("{bytes_per_series:.0} B"),
        );
        column.record(&format!("memory after {count} polls"), bytes(memory));
    }
    column.record("peak memory", bytes(exporter.peak_memory()));
    column
}
