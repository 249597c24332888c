//! Everything that is tested from outside, in one binary, which links once.

mod config;
mod config_hostile;
mod simulator;
