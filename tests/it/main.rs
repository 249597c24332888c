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
mod parcels;
mod promql;

// From the config to the page, in the order in which data flows.
mod ageing;
mod calls;
mod campaigns;
mod config;
mod config_hostile;
mod corpora;
mod journal;
mod law;
mod samples;
mod scrape;
mod shards;
mod simulator;
mod specification;
mod state;
mod status;
mod tools;
mod truth;
mod writer;

// What goes wrong, the program as a whole, and the repository.
mod boards;
mod documents;
mod failures;
mod process;
mod reliability;
mod repository;
mod reserved;
mod systemd;
mod version;
mod web;
