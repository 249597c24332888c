//! The crank: when a source and window is due, asks, takes what was heard into the next snapshot,
//! and publishes it. The only folder that reads the wall clock.
//!
//! One task owns everything that changes (`crank`), so that nothing needs a lock: polls run beside
//! it and give back what they brought (`turn`). When something is due is arithmetic (`schedule`);
//! `business` knows the tokens, `reload` takes over another config, `report` counts and logs.

mod business;
pub mod clock;
mod crank;
mod reload;
mod report;
mod schedule;
mod turn;

pub use self::crank::{Crank, Reload, Settings};
