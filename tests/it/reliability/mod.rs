//! The promises about bad days, one file a group; every name begins with its promise.
//!
//! What each class of failure does to one exporter's page is in `failures`; here is what holds
//! over many businesses, over time, and across restarts and reloads.

mod program;

mod adaptation;
mod age;
mod bulkheads;
mod overload;
mod quota;
mod reload;
mod restart;
mod secrecy;
mod soak;
mod tokens;
