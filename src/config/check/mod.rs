//! Turns raw values into checked ones: default values, inheritance and the rules of each section.
//!
//! A check that finds an error adds it to the diagnostics and continues with a substitute value, so
//! that all errors are reported together; the result is then discarded.

pub(in crate::config) mod businesses;
pub(in crate::config) mod duration;
pub(in crate::config) mod extra_fields;
pub(in crate::config) mod insights;
pub(in crate::config) mod labels;
pub(in crate::config) mod metrics;
pub(in crate::config) mod secrets;
pub(in crate::config) mod settings;
pub(in crate::config) mod thresholds;
pub(in crate::config) mod web_users;
pub(in crate::config) mod windows;
