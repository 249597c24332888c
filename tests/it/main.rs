//! The program from outside, one module a part.
#![allow(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking"
)]

mod simulator;
