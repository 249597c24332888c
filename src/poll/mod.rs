//! The crank: when a source and window is due, asks, takes what was heard into the next snapshot,
//! and publishes it. The only folder that reads the wall clock.
//!
//! One task owns everything that changes (`crank`), so that nothing needs a lock: polls `begin` when
//! they are due, run beside it (`turn`), and give back what they brought (`conclude`); `watch` is what
//! happens in between. When something is due is arithmetic (`schedule`) and kept in order (`agenda`);
//! `business` knows the tokens, `reload` takes over another config, `report` counts and logs.

mod agenda;
mod begin;
mod business;
pub mod clock;
mod conclude;
mod crank;
mod reload;
mod report;
mod schedule;
mod turn;
mod watch;

pub use self::crank::{Crank, Reload, Settings};
