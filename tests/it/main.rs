//! Integration tests in a single binary, which is linked only once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation should fail the test"
)]

// Helpers of the tests.
mod harness;
mod incremental_render;
mod page;
mod paging;
mod promql;
mod scripted_server;
mod snapshot_builder;
mod source_tree;

// From the config to the metrics page, in the order of the data flow.
mod account_totals;
mod any_cell;
mod api_call_counts;
mod arbitrary_snapshots;
mod campaigns;
mod config;
mod config_hostile;
mod config_mistakes;
mod config_schema;
mod day_boundaries;
mod export_limits;
mod fuzz_corpora;
mod grouping;
mod journal;
mod query_modes;
mod scrape;
mod shards;
mod simulator;
mod simulator_agreement;
mod specification;
mod staleness;
mod state;
mod status;
mod tools;
mod writer;
mod zero_vs_missing;

// Failures and the exporter as a process.
mod error_bodies;
mod failures;
mod invalid_parts;
mod process;
mod reliability;
mod reserved_names;
mod systemd;
mod version;
mod web;

// The repository: code structure, language, documents, dashboards and rules.
mod boards;
mod discovery;
mod documents;
mod repository;
mod type_names;
mod vocabulary;
