//! Checks `insights.extra_fields`: numeric fields that the owner adds, and the metrics they become.
//!
//! What is refused here is what would make a page that Prometheus or the shipped dashboards
//! misread: names that are taken, and suffixes that mean something else.

use super::ExtraField;
use super::complaint::{Notes, shown};
use super::place::Place;
use super::raw::RawExtraField;
use super::scalar::{Given, List, Text};
use crate::row::{ActionList, Kind, Scalar};

/// What every metric begins with; the owner leaves it out.
const PREFIX: &str = "marketing_messages_";

/// Endings and beginnings that the exporter keeps for metrics of its own, whatever they may be.
const KEPT_END: &str = "_threshold";
const KEPT_BEGINNING: &str = "exporter_";

/// Metrics that there are without any extra field, and whose names `KEPT_END` and
/// `KEPT_BEGINNING` do not tell. The page knows them better, but stands above the config: a test
/// holds the two together.
pub const BUILT_IN_METRICS: [&str; 18] = [
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
    "campaign_info",
    "campaign_daily_budget",
    "campaign_lifetime_budget",
    "up",
    "last_success_timestamp_seconds",
];

/// Endings that Prometheus gives a meaning that no gauge has.
const SUFFIXES: [&str; 5] = ["_total", "_count", "_sum", "_bucket", "_info"];

/// Fields that every row brings, beside its numbers: what it is about.
const IDENTITY: [&str; 12] = [
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

/// Checks the list.
pub(super) fn check(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<List<RawExtraField>>,
) -> Vec<ExtraField> {
    let mut fields: Vec<ExtraField> = Vec::new();
    for (index, raw) in given.items().iter().enumerate() {
        let at = at.index(index);
        let kind = kind(notes, &at, raw);
        let field = needed(notes, &at, "field", &raw.field);
        if let Some(field) = &field {
            if let Some(trouble) = field_trouble(field) {
                notes.add(&at.key("field"), trouble);
            } else if fields.iter().any(|other| other.field == *field) {
                notes.add(&at.key("field"), "this field is added twice; keep one");
            }
        }
        let metric = needed(notes, &at, "metric", &raw.metric);
        if let Some(metric) = &metric {
            if let Some(trouble) = metric_trouble(metric, kind) {
                notes.add(&at.key("metric"), trouble);
            } else if fields.iter().any(|other| other.metric == *metric) {
                notes.add(
                    &at.key("metric"),
                    "this metric is added twice; choose another name",
                );
            }
        }
        let help = help(notes, &at, raw);
        // Where something is missing that was noted, and nothing built here will be used.
        fields.push(ExtraField {
            help: help.unwrap_or_else(|| default_help(field.as_deref().unwrap_or_default())),
            field: field.unwrap_or_default(),
            metric: metric.unwrap_or_default(),
            kind: kind.unwrap_or(Kind::Count),
        });
    }
    fields
}

fn default_help(field: &str) -> String {
    format!("The Insights field {field}")
}

fn needed(
    notes: &mut Notes<'_>,
    at: &Place,
    key: &'static str,
    given: &Given<Text>,
) -> Option<String> {
    let text = given.get().map(|text| text.0.clone());
    if text.is_none() {
        notes.add(
            at,
            format!("`{key}` is missing; write an extra field such as {{ field: marketing_messages_sent, metric: sent, kind: count }}"),
        );
    }
    text
}

/// There is no default: a wrong guess would show numbers a hundred times too large.
fn kind(notes: &mut Notes<'_>, at: &Place, raw: &RawExtraField) -> Option<Kind> {
    match needed(notes, at, "kind", &raw.kind)?.as_str() {
        "count" => Some(Kind::Count),
        "money" => Some(Kind::Money),
        "percent" => Some(Kind::Percent),
        word => {
            notes.add(
                &at.key("kind"),
                format!(
                    "{} is no kind; count, money or percent is right",
                    shown(word)
                ),
            );
            None
        }
    }
}

fn field_trouble(field: &str) -> Option<&'static str> {
    if is_asked_anyway(field) {
        Some("this field is asked for anyway; remove it here")
    } else if !is_snake_case(field) {
        Some(
            "this is no field of the API; write its name as Meta does, such as marketing_messages_sent",
        )
    } else {
        None
    }
}

/// Whether there is that field without any extra one: as a number, as a list, or in every row.
fn is_asked_anyway(field: &str) -> bool {
    Scalar::ALL.iter().any(|scalar| scalar.field() == field)
        || ActionList::ALL.iter().any(|list| list.field() == field)
        || IDENTITY.contains(&field)
}

fn metric_trouble(metric: &str, kind: Option<Kind>) -> Option<String> {
    let taken = BUILT_IN_METRICS.contains(&metric)
        || metric.ends_with(KEPT_END)
        || metric.starts_with(KEPT_BEGINNING);
    if !is_snake_case(metric) {
        Some("this is no name of a metric; write small letters, digits and single underscores, beginning with a letter, such as sent".to_owned())
    } else if metric.starts_with(PREFIX) {
        Some(format!(
            "every metric gets {PREFIX} before it; leave that out here"
        ))
    } else if taken {
        Some(format!(
            "the exporter has a metric {} of its own; choose another name",
            shown(metric)
        ))
    } else if let Some(suffix) = SUFFIXES.iter().find(|suffix| metric.ends_with(**suffix)) {
        Some(format!(
            "{suffix} at the end means something else to Prometheus; choose another name"
        ))
    } else if kind == Some(Kind::Percent) && !metric.ends_with("_ratio") {
        Some("a percent is shown as a ratio from 0 to 1; let the name end in _ratio".to_owned())
    } else {
        None
    }
}

fn help(notes: &mut Notes<'_>, at: &Place, raw: &RawExtraField) -> Option<String> {
    let help = &raw.help.get()?.0;
    if help.trim().is_empty() || help.contains(char::is_control) {
        notes.add(
            &at.key("help"),
            "the help of a metric is one line of text; write one, or leave the key out",
        );
    }
    Some(help.clone())
}

fn is_snake_case(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('_').all(part)
}
