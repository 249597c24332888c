//! Scheduler: polls each window of each source when it is due and publishes the results as snapshots.
//!
//! One task, [`Scheduler`] in `state`, owns all mutable state, so no locks are needed. `start_poll` starts due polls,
//! `poll` runs one poll in a separate task (`query_plan` groups its windows into requests, `mode_state` keeps what the
//! API accepts), and `finish_poll` applies its outcome and schedules the next one. `group` and `group_poll` poll campaign
//! sources of an ad account together.
//! `due_times` calculates regular due times (phase by hash) and `due_queue` orders all due times; failed polls are
//! repeated with exponential backoff, and `breaker` replaces them by single probes during an outage. `inspections`
//! queries the expiry of tokens. `expiry` handles what changes between polls: expired values, replaced tokens and
//! pauses, and `clock_watch` notices that the clock was set. `business` reads credentials, `reload` applies a new config, and `telemetry` updates counters and writes
//! log lines, of which `failure_log` leaves out repetitions. `trial` polls a source once, outside of the scheduler.

mod breaker;
mod business;
mod clock_watch;
mod due_queue;
mod due_times;
mod expiry;
mod failure_log;
mod finish_poll;
mod group;
mod group_poll;
mod inspections;
mod mode_state;
mod poll;
mod query_plan;
mod reload;
mod start_poll;
mod state;
mod telemetry;
mod trial;

pub use self::failure_log::{FailureEvent, FailureLog, FailureSummary, SUMMARY_INTERVAL};
pub use self::state::{MIN_REQUESTS_PER_SECOND, NewConfig, Scheduler, SchedulerDeps};
pub use self::trial::QueryTrial;
