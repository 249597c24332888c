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
pub mod row;
pub mod listing;
pub mod secret;

pub mod config;
pub mod plan;
pub mod snapshot;
pub mod exposition;

pub mod config_file;
pub mod graph;
pub mod secret_store;

pub mod poll;
