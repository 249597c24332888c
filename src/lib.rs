//! A Prometheus exporter for Meta's Marketing Messages on Messenger.
//!
//! It polls the Insights API for many businesses and serves the last values on `/metrics`. Data flows
//! in one direction:
//!
//! ```text
//! config ─► plan ─► Query ─► graph ─► rows ─► snapshot ─► metrics ─► http ─► Prometheus
//!             └──────────── scheduler ───────────┘ └─► state: file with the last snapshot
//! ```
//!
//! `model`, `config`, `plan`, `snapshot` and `metrics` contain pure functions without I/O and clock,
//! except for the registry of the exporter's own metrics. The scheduler owns what is known of all
//! sources; it publishes immutable snapshots, which everything else reads.
//!
//! - [`model`]: ids, rows, values, inventory, errors and secrets
//! - [`config`]: YAML to a checked config, with all errors at once; the web config
//! - [`plan`]: sources, windows, queries, shards and cost estimates
//! - [`snapshot`]: all known values with their age, and which of them are exported
//! - [`metrics`]: metric catalog, text format, compressed metrics page, self metrics
//! - [`graph`]: Graph API client with paging, retries, rate limits and error classification
//! - [`http`]: server, TLS, access control, landing page, status and metrics endpoints
//! - [`platform`]: files, secrets, clock, logging, systemd and process metrics
//! - [`state`]: state file, and the journal of `backfill`
//! - [`scheduler`]: when each source and window is polled; applies results to the snapshot
//! - [`app`]: builds all components, and starts and stops their tasks
//! - [`cli`]: command line flags
//! - [`commands`]: the subcommands
//!
//! The simulated Graph API for tests and the `demo` subcommand is the workspace crate `graph-simulator`.

pub mod model;

pub mod config;
pub mod metrics;
pub mod plan;
pub mod snapshot;

pub mod graph;
pub mod http;
pub mod platform;
pub mod state;

pub mod scheduler;

pub mod app;
pub mod cli;
pub mod commands;
