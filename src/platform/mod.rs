//! Access to the operating system.
//!
//! - `clock`: the wall clock
//! - `file_reader`: the config file and the business files
//! - `heartbeat`: the last iteration of the scheduler
//! - `limited_read`: reads of files with a limit of time
//! - `logging`: log lines on standard error
//! - `process_metrics`: the `process_*` metrics
//! - `proxy`: the proxy that the environment names
//! - `secrets`: tokens and app secrets, from files and environment variables
//! - `systemd`: socket activation, service notifications and the watchdog

pub mod clock;
pub mod file_reader;
mod heartbeat;
pub mod limited_read;
pub mod logging;
mod process_metrics;
pub mod proxy;
pub mod secrets;
mod systemd;

pub use self::heartbeat::Heartbeat;
pub use self::process_metrics::ProcessCollector;
pub use self::systemd::{ListenFds, ServiceManager, SocketError};
