//! Everything that is tested from outside, in one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests say what they expect by panicking"
)]

mod boards;
mod config;
mod config_hostile;
mod promql;
mod simulator;
