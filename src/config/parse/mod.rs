//! Parses YAML text to raw values: only types and keys are checked here.
//!
//! `tree` parses the text to values with lines, `from_yaml` converts them and reports every wrong
//! type and unknown key, `raw` declares the keys, and `document` does both for one document.

pub(in crate::config) mod document;
pub(in crate::config) mod from_yaml;
pub(in crate::config) mod raw;
pub(in crate::config) mod scalar;
pub(in crate::config) mod tree;
pub(in crate::config) mod unknown_key;
pub(in crate::config) mod yaml_path;
