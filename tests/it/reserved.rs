//! What the config refuses as taken is what is taken: its lists, which may not read the catalog of
//! metrics, agree with it in both directions.

use std::collections::BTreeSet;

use marketing_messages_exporter::config::{BUILT_IN_LABELS, BUILT_IN_METRICS, Config, Document};
use marketing_messages_exporter::exposition::catalog::{FAMILIES, Of, PREFIX, own_families};

/// The labels that rows have at the levels below `campaign`, which the catalog does not spell out.
const OF_FINER_LEVELS: [&str; 4] = ["adset_id", "adset_name", "ad_id", "ad_name"];

/// Every metric of the exporter, without the prefix that all have.
fn metrics() -> BTreeSet<&'static str> {
    let of_the_page = FAMILIES
        .iter()
        .filter(|family| !matches!(family.of, Of::Extras))
        .map(|family| family.name);
    let own = own_families::ALL
        .iter()
        .map(|own| own.name.strip_prefix(PREFIX).unwrap());
    of_the_page.chain(own).collect()
}

/// Every label of the exporter.
fn labels() -> BTreeSet<&'static str> {
    let of_the_page = FAMILIES.iter().flat_map(|family| family.labels);
    let own = own_families::ALL.iter().flat_map(|own| own.labels);
    let found = of_the_page.chain(own).chain(&OF_FINER_LEVELS);
    found.copied().collect()
}

/// What such a config is refused for; nothing where it is not.
fn complaints(insights: &str, account: &str) -> String {
    let text = format!(
        "insights: {{ {insights} }}
businesses: [{{ name: acme, access_token_env: T, ad_accounts: [{{ id: act_1, {account} }}] }}]
"
    );
    let name = "config".to_owned();
    let refused = Config::parse(Document { name, text }, Vec::new()).err();
    refused.map_or_else(String::new, |complaints| complaints.to_string())
}

#[test]
fn no_extra_field_can_take_the_name_of_a_metric() {
    let with = |metric: &str| {
        let field = "field: marketing_messages_sent, kind: count";
        complaints(
            &format!("extra_fields: [{{ {field}, metric: {metric} }}]"),
            "",
        )
    };
    assert_eq!(with("sent"), "");
    for metric in metrics() {
        let complaints = with(metric);
        assert!(complaints.contains("of its own"), "{metric}: {complaints}");
    }
}

#[test]
fn no_label_of_the_owner_can_take_the_name_of_another() {
    let with = |label: &str| complaints("", &format!("labels: {{ {label}: x }}"));
    assert_eq!(with("team"), "");
    for label in labels() {
        let complaints = with(label);
        assert!(complaints.contains("is reserved"), "{label}: {complaints}");
    }
}

#[test]
fn no_name_is_refused_that_nothing_has() {
    for metric in BUILT_IN_METRICS {
        assert!(metrics().contains(metric), "there is no metric {metric}");
    }
    for label in BUILT_IN_LABELS {
        assert!(labels().contains(label), "no metric has a label {label}");
    }
}
