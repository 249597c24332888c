//! What many polls leave behind in memory: nothing, if the figures are the same.

use std::thread::sleep;
use std::time::Duration;

use marketing_messages_exporter::plan::PAGE_SIZE;
use marketing_messages_exporter::simulator::World;

use crate::exporter::{Account, Api, Exporter};
use crate::table::{Column, bytes};

/// Message campaigns: few, so that many polls take minutes.
const CAMPAIGNS: usize = 1_000;

/// Polls after which everything has had its size for once.
const FIRST: usize = 10;

/// Requests a second that every exporter may make.
const PACE: f64 = 10.0;

/// Memory after the first polls, and after so many.
pub(crate) fn measure(polls: usize, windows: usize, idle: u64) -> Column {
    let mut column = Column::new(format!("{CAMPAIGNS} campaigns, {polls} polls"));
    let api = Api::start(World::with_campaigns(CAMPAIGNS, 0));
    let calls = 2 * windows * CAMPAIGNS.div_ceil(PAGE_SIZE);
    let exporter = Exporter::start(
        &api,
        Account {
            campaigns: CAMPAIGNS,
            windows,
            // A quarter more than the pace allows at best: nothing is to be left out.
            interval: Duration::from_secs_f64(1.25 * calls as f64 / PACE),
        },
    );
    let exporter = exporter.settled();
    let series = exporter.series();
    column.say("series", series.to_string());
    for count in [FIRST.min(polls), polls] {
        while exporter.polls() < count as u64 {
            sleep(Duration::from_secs(1));
        }
        let memory = exporter.memory();
        let a_series = memory.saturating_sub(idle) as f64 / series as f64;
        column.say(
            &format!("memory a series after {count} polls"),
            format!("{a_series:.0} B"),
        );
        column.say(&format!("memory after {count} polls"), bytes(memory));
    }
    column.say("highest memory", bytes(exporter.peak()));
    column
}
