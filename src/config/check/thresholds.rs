//! Checks `thresholds`, and merges those of a business and a source per window and limit.
//!
//! The exporter does not compare values with limits: limits become metrics, and the alerting rules
//! join them with the values.

use std::collections::BTreeMap;

use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawList};
use crate::config::parse::raw::RawThreshold;
use crate::config::parse::scalar::{RawNumber, RawText};
use crate::config::parse::yaml_path::YamlPath;

/// Names of the metrics with the limits, without the prefix of all metrics; `tests/it/reserved_names.rs` compares them
/// with the catalog.
pub const THRESHOLD_METRICS: [&str; 6] = [
    "max_spend_threshold",
    "min_roas_threshold",
    "max_cost_per_purchase_threshold",
    "max_cost_per_link_click_threshold",
    "min_read_ratio_threshold",
    "applies_above_spend_threshold",
];

/// The limits of one window, each finite and not negative; `None`: not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ThresholdSet {
    /// Maximum spend, in major units of the ad account's currency.
    pub max_spend: Option<f64>,
    /// Minimum return on ad spend; 2.0 is twice the spend.
    pub min_roas: Option<f64>,
    /// Maximum cost per purchase, in major units of the ad account's currency.
    pub max_cost_per_purchase: Option<f64>,
    /// Maximum cost per link click, in major units of the ad account's currency.
    pub max_cost_per_link_click: Option<f64>,
    /// Minimum share of delivered messages that are read, 0 to 1.
    pub min_read_ratio: Option<f64>,
    /// Minimum spend before the other limits apply, in major units of the ad account's currency.
    pub applies_above_spend: Option<f64>,
}

impl ThresholdSet {
    /// Returns these limits merged with more specific ones, which take precedence limit by limit.
    fn overridden_by(&self, specific: &Self) -> Self {
        Self {
            max_spend: specific.max_spend.or(self.max_spend),
            min_roas: specific.min_roas.or(self.min_roas),
            max_cost_per_purchase: specific
                .max_cost_per_purchase
                .or(self.max_cost_per_purchase),
            max_cost_per_link_click: specific
                .max_cost_per_link_click
                .or(self.max_cost_per_link_click),
            min_read_ratio: specific.min_read_ratio.or(self.min_read_ratio),
            applies_above_spend: specific.applies_above_spend.or(self.applies_above_spend),
        }
    }

    /// Returns the number of limits, `applies_above_spend` included.
    pub fn count(&self) -> usize {
        let limits = [
            self.max_spend,
            self.min_roas,
            self.max_cost_per_purchase,
            self.max_cost_per_link_click,
            self.min_read_ratio,
            self.applies_above_spend,
        ];
        limits.into_iter().flatten().count()
    }

    /// Returns the limits that are money, with their names in the config.
    pub fn amounts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let amounts = [
            ("max_spend", self.max_spend),
            ("max_cost_per_purchase", self.max_cost_per_purchase),
            ("max_cost_per_link_click", self.max_cost_per_link_click),
            ("applies_above_spend", self.applies_above_spend),
        ];
        let present = |(name, amount): (_, Option<f64>)| Some((name, amount?));
        amounts.into_iter().filter_map(present)
    }

    /// Whether there is a limit besides `applies_above_spend`, which is only a condition.
    fn has_limits(&self) -> bool {
        let limits = Self {
            applies_above_spend: None,
            ..*self
        };
        limits != Self::default()
    }
}

/// The limits of one source, at most one set for each window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowThresholds(BTreeMap<String, ThresholdSet>);

impl WindowThresholds {
    /// Returns the limits of a window.
    pub fn for_window(&self, name: &str) -> Option<&ThresholdSet> {
        self.0.get(name)
    }

    /// Returns window names and limits, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ThresholdSet)> {
        self.0.iter().map(|(name, limits)| (name.as_str(), limits))
    }

    /// Returns these limits merged with more specific ones, which take precedence limit by limit.
    pub(in crate::config) fn overridden_by(&self, specific: &Self) -> Self {
        let mut merged = self.0.clone();
        for (window, limits) in &specific.0 {
            let general = merged.get(window).copied().unwrap_or_default();
            merged.insert(window.clone(), general.overridden_by(limits));
        }
        Self(merged)
    }
}

/// Checks a `thresholds` list, given the names of all windows.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_thresholds: &Explicit<RawList<RawThreshold>>,
    windows: &[String],
) -> WindowThresholds {
    let mut checked = BTreeMap::new();
    for (threshold_idx, raw) in raw_thresholds.items() {
        let path = path.index(*threshold_idx);
        let limits = limits(diagnostics, &path, raw);
        let Some(RawText(window)) = raw.window.get() else {
            if raw.window.is_absent() {
                diagnostics.add(
                    &path,
                    format!(
                        "expected `window`, found no such key; add {}",
                        window_choice(windows)
                    ),
                );
            }
            continue;
        };
        if !windows.contains(window) {
            diagnostics.add(
                &path.key("window"),
                format!(
                    "expected {}, found {}; name one of them, or add this one to `windows`",
                    window_choice(windows),
                    quote_or_redact(window)
                ),
            );
        }
        if checked.insert(window.clone(), limits).is_some() {
            diagnostics.add(
                &path.key("window"),
                "expected one entry per window, found a second one; merge the two",
            );
        }
    }
    WindowThresholds(checked)
}

/// Reports thresholds of a source that have `applies_above_spend` but no limit, neither their own
/// nor one of the business.
pub(in crate::config) fn check_merged(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_thresholds: &Explicit<RawList<RawThreshold>>,
    merged: &WindowThresholds,
) {
    for (threshold_idx, raw) in raw_thresholds.items() {
        let limits = raw
            .window
            .get()
            .and_then(|RawText(window)| merged.for_window(window));
        if raw.applies_above_spend.get().is_some()
            && limits.is_some_and(|limits| !limits.has_limits())
        {
            diagnostics.add(
                &path.index(*threshold_idx),
                "expected a limit to which `applies_above_spend` applies, found none; add one such as `max_spend` or `min_roas`",
            );
        }
    }
}

fn limits(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawThreshold) -> ThresholdSet {
    let mut limit = |key: &'static str, raw_number: &Explicit<RawNumber>, max: f64| {
        let RawNumber(number) = *raw_number.get()?;
        if (0.0..=max).contains(&number) && number.is_finite() {
            return Some(number);
        }
        let expected = if max.is_finite() {
            "a ratio from 0 to 1"
        } else {
            "a finite number of at least 0"
        };
        let suggestion = if max.is_finite() && (1.0..=100.0).contains(&number) {
            format!("; did you mean {:.2}?", number / 100.0)
        } else {
            String::new()
        };
        diagnostics.add(
            &path.key(key),
            format!(
                "expected {expected}, found {}{suggestion}",
                quote_or_redact(&number.to_string())
            ),
        );
        // Not `None`, so that the entry is not reported as one without limits as well.
        Some(0.0)
    };
    let unbounded = f64::INFINITY;
    let limits = ThresholdSet {
        max_spend: limit("max_spend", &raw.max_spend, unbounded),
        min_roas: limit("min_roas", &raw.min_roas, unbounded),
        max_cost_per_purchase: limit(
            "max_cost_per_purchase",
            &raw.max_cost_per_purchase,
            unbounded,
        ),
        max_cost_per_link_click: limit(
            "max_cost_per_link_click",
            &raw.max_cost_per_link_click,
            unbounded,
        ),
        min_read_ratio: limit("min_read_ratio", &raw.min_read_ratio, 1.0),
        applies_above_spend: limit("applies_above_spend", &raw.applies_above_spend, unbounded),
    };
    let has_keys = [
        &raw.max_spend,
        &raw.min_roas,
        &raw.max_cost_per_purchase,
        &raw.max_cost_per_link_click,
        &raw.min_read_ratio,
        &raw.applies_above_spend,
    ]
    .into_iter()
    .any(|limit| !limit.is_absent());
    if !has_keys {
        diagnostics.add(
            path,
            "expected at least one limit, found none; add one such as `max_spend` or `min_roas`",
        );
    }
    limits
}

/// Describes the valid values of `window`.
fn window_choice(windows: &[String]) -> String {
    let names: Vec<String> = windows.iter().map(|name| quote_or_redact(name)).collect();
    if names.is_empty() {
        "the name of a configured window".to_owned()
    } else {
        format!("one of the windows {}", names.join(", "))
    }
}
