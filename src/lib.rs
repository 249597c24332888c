//! A Prometheus exporter for Meta's Marketing Messages on Messenger.
//!
//! ```text
//!  config ──► plan ──── Query ───► graph ──── Row ────► snapshot ──► exposition ──► http
//!  what the   what to   one        ask, page, what      is known     names, help,   /metrics
//!  owner      ask       question   retry      came      now          page bytes     /-/ready
//!                └──────── poll turns this crank, per source and window ────────┘
//! ```
//!
//! The modules below stand in the order in which data flows; each imports only from those before.

pub mod decimal;
pub mod fault;
pub mod listing;
pub mod row;
pub mod secret;
pub mod spread;

pub mod config;
pub mod exposition;
pub mod plan;
pub mod snapshot;

pub mod beat;
pub mod config_file;
pub mod graph;
pub mod http;
pub mod process;
pub mod secret_store;
pub mod simulator;
pub mod state;
pub mod systemd;

pub mod poll;

pub mod app;
pub mod cli;
pub mod commands;
pub mod logging;
