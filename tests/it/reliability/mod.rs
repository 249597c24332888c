//! Reliability tests, one file per guarantee: what holds with many businesses, over time, under overload, and across
//! restarts and reloads.
//!
//! The effect of each kind of error on the metrics page is tested in `failures`.

mod program;

mod accounts;
mod adaptation;
mod age;
mod bulkheads;
mod call_rates;
mod connections;
mod echoed_secrets;
mod heavy;
mod outage;
mod overload;
mod partial_results;
mod pause_scopes;
mod quota;
mod reload;
mod restart;
mod resume;
mod secrecy;
mod soak;
mod state_file;
mod tokens;
