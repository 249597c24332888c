//! Checks `metrics.exclude` and `max_series`, which limit the metrics page.

use super::extra_fields::{BUILT_IN_METRICS, METRIC_PREFIX};
use super::thresholds::THRESHOLD_METRICS;
use crate::config::ExtraFieldConfig;
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawSection};
use crate::config::parse::raw::RawMetrics;
use crate::config::parse::scalar::{RawInteger, RawText};
use crate::config::parse::unknown_key::suggestion;
use crate::config::parse::yaml_path::YamlPath;

/// Checks the section `metrics`. Returns the complete names of the metrics to leave out, sorted, without duplicates.
pub(in crate::config) fn excluded(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawSection<RawMetrics>>,
    extra_fields: &[ExtraFieldConfig],
) -> Vec<String> {
    let Some(raw) = raw.section() else {
        return Vec::new();
    };
    let extra = extra_fields.iter().map(|field| field.metric.as_str());
    let known: Vec<&str> = BUILT_IN_METRICS
        .into_iter()
        .chain(THRESHOLD_METRICS)
        .chain(extra)
        .collect();
    let mut excluded = Vec::new();
    for (name_idx, RawText(name)) in raw.exclude.items() {
        let short = name.strip_prefix(METRIC_PREFIX).unwrap_or(name);
        if known.contains(&short) {
            excluded.push(format!("{METRIC_PREFIX}{short}"));
            continue;
        }
        let remedy = if short.starts_with("exporter_") {
            "; drop metrics about the exporter itself with `metric_relabel_configs` of Prometheus"
                .to_owned()
        } else {
            suggestion(short, &known)
        };
        diagnostics.add(
            &path.key("exclude").index(*name_idx),
            format!(
                "expected a metric of docs/metrics.md such as `delivery_ratio`, found {}{remedy}",
                quote_or_redact(name)
            ),
        );
    }
    excluded.sort();
    excluded.dedup();
    excluded
}

/// Checks `max_series`.
pub(in crate::config) fn max_series(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawInteger>,
) -> Option<usize> {
    let RawInteger(number) = raw.get()?;
    let max_series = usize::try_from(*number).ok().filter(|number| *number > 0);
    if max_series.is_none() {
        diagnostics.add(
            &path.key("max_series"),
            format!(
                "expected an integer of at least 1, found `{number}`; remove the key for no limit"
            ),
        );
    }
    max_series
}
