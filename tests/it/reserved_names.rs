//! The names that the config reserves are exactly the names of the metric catalog. `config` has its
//! own lists, because it must not import `metrics`.

use std::collections::BTreeSet;

use marketing_messages_exporter::config::{
    BUILT_IN_LABELS, BUILT_IN_METRICS, Config, NamedDocument, THRESHOLD_METRICS,
};
use marketing_messages_exporter::metrics::catalog::{
    FAMILIES, PREFIX, SampleSource, self_metric_families,
};

/// Labels of rows at the levels below `campaign`, which are not in the catalog.
const LABELS_BELOW_CAMPAIGN: [&str; 4] = ["adset_id", "adset_name", "ad_id", "ad_name"];

/// Returns the names of all metrics, without the common prefix.
fn metric_names() -> BTreeSet<&'static str> {
    let campaign_families = FAMILIES
        .iter()
        .filter(|family| !matches!(family.source, SampleSource::Extras))
        .map(|family| family.name);
    let self_metrics = self_metric_families::ALL
        .iter()
        .map(|family| family.name.strip_prefix(PREFIX).unwrap());
    campaign_families.chain(self_metrics).collect()
}

/// Returns the names of all labels.
fn label_names() -> BTreeSet<&'static str> {
    let campaign_labels = FAMILIES.iter().flat_map(|family| family.labels);
    let self_labels = self_metric_families::ALL
        .iter()
        .flat_map(|family| family.labels);
    campaign_labels
        .chain(self_labels)
        .chain(&LABELS_BELOW_CAMPAIGN)
        .copied()
        .collect()
}

/// Returns the errors of a config with these settings; empty if it is valid.
fn config_errors(insights: &str, account: &str) -> String {
    let text = format!(
        "insights: {{ {insights} }}
businesses: [{{ name: acme, access_token_env: T, ad_accounts: [{{ id: act_1, {account} }}] }}]
"
    );
    let name = "config".to_owned();
    let errors = Config::parse(NamedDocument { name, text }, Vec::new()).err();
    errors.map_or_else(String::new, |errors| errors.to_string())
}

#[test]
fn extra_field_named_like_a_metric_is_refused() {
    let errors_with = |metric: &str| {
        let field = "field: marketing_messages_sent, kind: count";
        config_errors(
            &format!("extra_fields: [{{ {field}, metric: {metric} }}]"),
            "",
        )
    };
    assert_eq!(errors_with("sent"), "");
    for metric in metric_names() {
        let errors = errors_with(metric);
        assert!(
            errors.contains("not reserved"),
            "BUILT_IN_METRICS should have {metric}: {errors}"
        );
    }
}

#[test]
fn config_label_named_like_a_metric_label_is_refused() {
    let errors_with = |label: &str| config_errors("", &format!("labels: {{ {label}: x }}"));
    assert_eq!(errors_with("team"), "");
    for label in label_names() {
        let errors = errors_with(label);
        assert!(errors.contains("not reserved"), "{label}: {errors}");
    }
}

#[test]
fn reserved_names_are_in_use() {
    for metric in BUILT_IN_METRICS {
        assert!(
            metric_names().contains(metric),
            "{metric} should be the name of a metric"
        );
    }
    for metric in THRESHOLD_METRICS {
        assert!(
            metric_names().contains(metric),
            "{metric} should be the name of a metric"
        );
    }
    for label in BUILT_IN_LABELS {
        assert!(
            label_names().contains(label),
            "{label} should be a label of a metric"
        );
    }
}
