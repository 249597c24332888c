//! Checks the labels that the config adds to series, and merges those of a business and a source.
//!
//! Reserved are the label names of all built-in metrics, so that a configured label cannot collide
//! with one of them, and the labels that Prometheus and Alertmanager set.

use std::collections::BTreeMap;

use crate::config::diagnostics::{Diagnostics, describe_unprintable, is_quotable, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawMap};
use crate::config::parse::scalar::{RawLabelValue, TextOrScalar};
use crate::config::parse::yaml_path::YamlPath;

/// Label names of the built-in metrics. The list repeats the catalog, which this layer cannot
/// import; a test compares the two.
pub const BUILT_IN_LABELS: [&str; 37] = [
    "account_id",
    "account_name",
    "action_type",
    "ad_id",
    "ad_name",
    "adset_id",
    "adset_name",
    "answered",
    "business",
    "campaign_id",
    "campaign_name",
    "code",
    "configured",
    "count",
    "currency",
    "disable_reason",
    "endpoint",
    "field",
    "index",
    "level",
    "limit",
    "mode",
    "objective",
    "path",
    "quantity",
    "query",
    "reason",
    "revision",
    "rustversion",
    "source",
    "status",
    "subcode",
    "summary",
    "tier",
    "timezone",
    "version",
    "window",
];

/// Label names that Prometheus and Alertmanager set, besides those that begin with `__`.
const RESERVED_LABELS: [&str; 6] = ["alertname", "instance", "job", "le", "quantile", "severity"];

/// The configured labels of one source, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigLabels(BTreeMap<String, String>);

impl ConfigLabels {
    /// Returns names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns these labels merged with more specific ones, which take precedence.
    pub(in crate::config) fn overridden_by(&self, specific: &Self) -> Self {
        let mut merged = self.0.clone();
        merged.extend(specific.0.clone());
        Self(merged)
    }
}

/// Checks a `labels` mapping.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_labels: &Explicit<RawMap<RawLabelValue>>,
) -> ConfigLabels {
    let mut checked = BTreeMap::new();
    for (name, RawLabelValue(value)) in raw_labels.get().map_or(&[][..], |RawMap(entries)| entries)
    {
        let path = path.key(name.clone());
        if let Some(error) = label_name_error(name) {
            diagnostics.add(&path, error);
        }
        let found = match value {
            TextOrScalar::Text(value) if value.trim().is_empty() => {
                diagnostics.add(
                    &path,
                    format!(
                        "expected a label value, found {}; write a value or remove the label",
                        describe_unprintable(value)
                    ),
                );
                continue;
            }
            TextOrScalar::Text(value) => {
                checked.insert(name.clone(), value.clone());
                continue;
            }
            TextOrScalar::Number(_) => "a number",
            TextOrScalar::Boolean => "a boolean",
        };
        diagnostics.add(
            &path,
            format!("expected a string, found {found}; put it in quotes"),
        );
    }
    ConfigLabels(checked)
}

/// Returns the error for a label name that is invalid or reserved.
fn label_name_error(name: &str) -> Option<String> {
    let is_well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_reserved = name.starts_with("__")
        || BUILT_IN_LABELS.contains(&name)
        || RESERVED_LABELS.contains(&name);
    let found = quote_or_redact(name);
    if !is_well_formed {
        let candidate: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let is_usable = candidate.starts_with(|c: char| c.is_ascii_alphabetic());
        let suggestion = if is_usable && is_quotable(name) {
            format!("; did you mean `{candidate}`?")
        } else {
            String::new()
        };
        Some(format!(
            "expected a label name, found {found}; use letters, digits and underscores, and do not start with a digit{suggestion}"
        ))
    } else if is_reserved {
        Some(format!(
            "expected a label name that is not reserved, found {found}; choose another, because the exporter or Prometheus uses this name"
        ))
    } else {
        None
    }
}
