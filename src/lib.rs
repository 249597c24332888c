//! A Prometheus exporter for Meta's Marketing Messages on Messenger.
pub mod config;
pub mod config_file;
pub mod decimal;
pub mod row;
pub mod secret;
