//! A Prometheus exporter for Meta's Marketing Messages on Messenger.
pub mod decimal;
pub mod row;
pub mod secret;
pub mod simulator;
