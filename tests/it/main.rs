//! Everything that is tested from outside, in one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say what they expect by panicking"
)]

// What tests are made with.
mod canned;
mod harness;
mod known;
mod page;

// From the config to the page.
mod ageing;
mod calls;
mod campaigns;
mod config;
mod config_hostile;
mod documents;
mod law;
mod reliability;
mod scrape;
mod simulator;
mod snapshots;
mod specification;
mod state;
mod truth;
mod writer;
