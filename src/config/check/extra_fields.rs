//! Checks `insights.extra_fields`: additional numeric fields of the API and the metrics they become.
//!
//! Rejected are metric names that are already in use, and suffixes to which Prometheus or the shipped
//! dashboards give another meaning.

use crate::config::ExtraFieldConfig;
use crate::config::diagnostics::{Diagnostics, describe_unprintable, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawList};
use crate::config::parse::raw::RawExtraField;
use crate::config::parse::scalar::RawText;
use crate::config::parse::yaml_path::YamlPath;
use crate::model::{ActionList, InsightField, ValueKind};

/// Prefix of every metric; the config omits it.
pub const METRIC_PREFIX: &str = "marketing_messages_";

/// Reserved suffix: that of the metrics which export the limits under `thresholds`, such as `min_read_ratio_threshold`.
const RESERVED_SUFFIX: &str = "_threshold";

/// Reserved prefix, after `METRIC_PREFIX`: that of the metrics about the exporter itself.
const RESERVED_PREFIX: &str = "exporter_";

/// Built-in metrics that neither `RESERVED_SUFFIX` nor `RESERVED_PREFIX` covers, without `METRIC_PREFIX`. The list
/// repeats `metrics::catalog`, which the layer `config` cannot import; `tests/it/reserved_names.rs` compares the two.
pub const BUILT_IN_METRICS: [&str; 28] = [
    "delivered",
    "link_clicks",
    "spend",
    "read_ratio",
    "link_click_ratio",
    "delivery_ratio",
    "cost_per_delivered",
    "cost_per_link_click",
    "conversions",
    "conversion_value",
    "website_purchase_roas",
    "window_start_timestamp_seconds",
    "window_end_timestamp_seconds",
    "account_amount_spent",
    "account_balance",
    "account_info",
    "account_spend",
    "account_spend_cap",
    "account_spend_unattributed",
    "campaign_end_timestamp_seconds",
    "campaign_info",
    "campaign_issue_info",
    "campaign_daily_budget",
    "campaign_lifetime_budget",
    "campaign_start_timestamp_seconds",
    "up",
    "last_success_timestamp_seconds",
    "query_last_success_timestamp_seconds",
];

/// Suffixes that mean another kind of metric by Prometheus' conventions: counters (`_total`), parts of histograms and
/// summaries (`_count`, `_sum`, `_bucket`), and gauges that are always 1 (`_info`).
const PROMETHEUS_SUFFIXES: [&str; 5] = ["_total", "_count", "_sum", "_bucket", "_info"];

/// Fields that insights queries request anyway or that every row contains: dates, ids, names, currency and attribution
/// setting. They are not numeric values, so that they cannot become metrics.
const DIMENSION_FIELDS: [&str; 12] = [
    "date_start",
    "date_stop",
    "account_id",
    "account_name",
    "account_currency",
    "campaign_id",
    "campaign_name",
    "adset_id",
    "adset_name",
    "ad_id",
    "ad_name",
    "attribution_setting",
];

/// Checks the list of extra fields. Adds the errors to `diagnostics`, and returns one entry per item.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_fields: &Explicit<RawList<RawExtraField>>,
) -> Vec<ExtraFieldConfig> {
    let mut fields: Vec<ExtraFieldConfig> = Vec::new();
    for (field_idx, raw) in raw_fields.items() {
        let path = path.index(*field_idx);
        let kind = kind(diagnostics, &path, raw);
        let field = required(diagnostics, &path, "field", &raw.field);
        if let Some(field) = field.as_deref().filter(|field| is_built_in(field)) {
            // A field can become built in with a new release, which must accept existing configs.
            diagnostics.warn(
                &path.key("field"),
                format!(
                    "{} is built in and requested anyway; remove the entry, which is ignored",
                    quote_or_redact(field)
                ),
            );
            continue;
        }
        if let Some(field) = &field {
            if let Some(error) = field_error(field) {
                diagnostics.add(&path.key("field"), error);
            } else if let Some(other) = fields.iter().position(|other| other.field == *field) {
                diagnostics.add(
                    &path.key("field"),
                    format!(
                        "expected a unique field, found the field of `extra_fields[{other}]`; remove one of the two entries"
                    ),
                );
            }
        }
        let metric = required(diagnostics, &path, "metric", &raw.metric);
        if let Some(metric) = &metric {
            if let Some(error) = metric_error(metric, kind) {
                diagnostics.add(&path.key("metric"), error);
            } else if let Some(other) = fields.iter().position(|other| other.metric == *metric) {
                diagnostics.add(
                    &path.key("metric"),
                    format!(
                        "expected a unique metric name, found the name of `extra_fields[{other}]`; choose another"
                    ),
                );
            }
        }
        let help = help(diagnostics, &path, raw);
        // Missing values were reported, so that the config is rejected. The substitutes only allow the check to
        // continue.
        fields.push(ExtraFieldConfig {
            help: help.unwrap_or_else(|| default_help(field.as_deref().unwrap_or_default())),
            field: field.unwrap_or_default(),
            metric: metric.unwrap_or_default(),
            kind: kind.unwrap_or(ValueKind::Count),
        });
    }
    fields
}

fn default_help(field: &str) -> String {
    format!("The Insights field {field}")
}

/// Returns the text of a required key; reports its absence and returns `None` if it is missing.
fn required(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    key: &'static str,
    raw_text: &Explicit<RawText>,
) -> Option<String> {
    let text = raw_text.get().map(|RawText(text)| text.clone());
    if raw_text.is_absent() {
        diagnostics.add(
            path,
            format!(
                "expected `{key}`, found no such key; write an entry such as `{{ field: marketing_messages_sent, metric: sent, kind: count }}`"
            ),
        );
    }
    text
}

/// Checks `kind`, which has no default, because the API does not report it: it determines unit and labels. A
/// percentage, 0 to 100 in the API, is exported as a ratio from 0 to 1; with the kind `count` or `money` it would be
/// exported 100 times too high. Money, in major units in the API, has the label `currency` and is not converted; with
/// the kind `percent` it would be exported 100 times too low.
fn kind(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawExtraField,
) -> Option<ValueKind> {
    match required(diagnostics, path, "kind", &raw.kind)?.as_str() {
        "count" => Some(ValueKind::Count),
        "money" => Some(ValueKind::Money),
        "percent" => Some(ValueKind::Percent),
        other => {
            diagnostics.add(
                &path.key("kind"),
                format!(
                    "expected `count`, `money` or `percent`, found {}",
                    quote_or_redact(other)
                ),
            );
            None
        }
    }
}

/// Returns the error of a field name; `None` if it is valid.
fn field_error(field: &str) -> Option<String> {
    let found = quote_or_redact(field);
    if !is_snake_case(field) {
        Some(format!(
            "expected a field of the API such as `marketing_messages_sent`, found {found}; write the name as in Meta's documentation"
        ))
    } else {
        None
    }
}

/// Whether the exporter handles the field already: as a number, as a list of actions or as a dimension of every row.
fn is_built_in(field: &str) -> bool {
    InsightField::ALL
        .iter()
        .any(|number| number.field() == field)
        || ActionList::ALL.iter().any(|list| list.field() == field)
        || DIMENSION_FIELDS.contains(&field)
}

/// Returns the error of a metric name; `None` if it is valid. `kind` is `None` if it is missing or invalid.
fn metric_error(metric: &str, kind: Option<ValueKind>) -> Option<String> {
    let reserved_because = if BUILT_IN_METRICS.contains(&metric) {
        Some("the exporter uses this name".to_owned())
    } else if metric.ends_with(RESERVED_SUFFIX) {
        Some(format!(
            "the suffix `{RESERVED_SUFFIX}` is that of the metrics of `thresholds`"
        ))
    } else if metric.starts_with(RESERVED_PREFIX) {
        Some(format!(
            "the prefix `{RESERVED_PREFIX}` is that of the metrics about the exporter"
        ))
    } else {
        None
    };
    let found = quote_or_redact(metric);
    if !is_snake_case(metric) {
        Some(format!(
            "expected a metric name such as `sent`, found {found}; use lower-case letters, digits and single underscores, and start with a letter"
        ))
    } else if metric.starts_with(METRIC_PREFIX) {
        Some(format!(
            "expected a name without the prefix `{METRIC_PREFIX}`, found {found}; remove the prefix, which every metric gets"
        ))
    } else if let Some(reason) = reserved_because {
        Some(format!(
            "expected a metric name that is not reserved, found {found}; choose another, because {reason}"
        ))
    } else if let Some(suffix) = PROMETHEUS_SUFFIXES
        .iter()
        .find(|suffix| metric.ends_with(**suffix))
    {
        Some(format!(
            "expected a name without the suffix `{suffix}`, found {found}; choose another, because Prometheus gives this suffix a meaning"
        ))
    } else if kind == Some(ValueKind::Percent) && !metric.ends_with("_ratio") {
        Some(format!(
            "expected a name with the suffix `_ratio`, found {found}; a percentage is exported as a ratio from 0 to 1"
        ))
    } else {
        None
    }
}

/// Checks `help`. Returns `None` if the key is absent; the caller then uses [`default_help`].
fn help(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawExtraField) -> Option<String> {
    let RawText(help) = raw.help.get()?;
    if help.trim().is_empty() || help.contains(char::is_control) {
        diagnostics.add(
            &path.key("help"),
            format!(
                "expected one line of text, found {}; write one line, or remove the key",
                describe_unprintable(help)
            ),
        );
    }
    Some(help.clone())
}

/// Whether the text consists of lower-case words and digits that are separated by single underscores, and starts with a
/// letter.
fn is_snake_case(text: &str) -> bool {
    let is_word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('_').all(is_word)
}
