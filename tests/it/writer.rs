//! The text format: the output is compared with that of the `prometheus` crate, and names and
//! numbers are written unaltered.

use std::sync::Arc;

use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::model::{InsightField, Row, RowValue, RowValues, parse_decimal};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::page::Page;
use crate::snapshot_builder::{RANGE, dimensions, empty_snapshot, inventory, now, page_text};

/// Page of campaigns, given as a name and the value of all fields.
fn page(campaigns: &[(String, f64)]) -> String {
    let in_inventory = campaigns.iter().enumerate();
    let in_inventory = in_inventory.map(|(id, (name, _))| (id.to_string(), name.as_str(), true));
    let rows = campaigns.iter().enumerate().map(|(id, (name, value))| Row {
        dimensions: Arc::new(dimensions(&id.to_string(), name)),
        start: RANGE.0,
        stop: RANGE.1,
        mixed_attribution: false,
        values: RowValues::pack(&[RowValue::Present(*value); InsightField::ALL.len()]),
    });
    let poll = PollResult {
        inventory: Some(Arc::new(inventory(in_inventory))),
        delivery: QueryResult {
            rows: Some(rows.collect()),
            ..QueryResult::default()
        },
        ..PollResult::empty(0, now())
    };
    let snapshot = empty_snapshot(ZeroFill::Active, false);
    page_text(&snapshot.with_source(0, snapshot.sources[0].apply(poll)))
}

/// The same page, written by the `prometheus` crate, which most Rust exporters use.
fn written_by_prometheus_crate(page: &Page) -> String {
    let families = page.families.iter().map(|family| {
        let samples = family.samples.iter().map(|sample| {
            let mut metric = Metric::default();
            let labels = sample.labels.iter().map(|(name, value)| {
                let mut label = LabelPair::default();
                label.set_name(name.clone());
                label.set_value(value.clone());
                label
            });
            metric.set_label(labels.collect());
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value());
            metric.set_gauge(gauge);
            metric
        });
        let mut written = MetricFamily::default();
        written.set_name(family.name.clone());
        written.set_help(family.help.clone());
        written.set_field_type(MetricType::GAUGE);
        written.set_metric(samples.collect());
        written
    });
    let mut text = Vec::new();
    let families: Vec<MetricFamily> = families.collect();
    TextEncoder::new().encode(&families, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Campaign names: arbitrary text, special characters of the format, and printable characters.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"\\\\\n\r\t{},= #]{0,8}", "\\PC{0,12}"]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        1e-6_f64..1e15,
        (0_u64..1_000_000_000_000).prop_map(|whole| whole as f64),
        (0_u64..1_000_000_000).prop_map(|cents| cents as f64 / 100.0),
        (0.0_f64..1.0).prop_map(|ratio| (ratio * 1e8).round() / 1e8),
    ]
}

proptest! {
    #[test]
    fn page_equals_output_of_prometheus_crate(
        campaigns in proptest::collection::vec((name(), number()), 0..4),
    ) {
        let text = page(&campaigns);
        let page = Page::parse(&text);
        // Outside of this range, the notation of equal numbers can differ.
        let is_comparable = |value: f64| value == 0.0 || (1e-6..1e15).contains(&value);
        prop_assert!(page.samples().all(|sample| is_comparable(sample.value())));
        prop_assert_eq!(written_by_prometheus_crate(&page), text);
    }

    #[test]
    fn name_is_exported_unaltered(name in name()) {
        let page = Page::parse(&page(&[(name.clone(), 1.0)]));
        for metric in ["delivered", "spend", "campaign_daily_budget"] {
            let sample = page.find(metric, &[]).unwrap();
            prop_assert_eq!(sample.label("campaign_name"), name.as_str());
        }
        let info = page.find("campaign_info", &[]).unwrap();
        for label in ["campaign_name", "status", "objective"] {
            prop_assert_eq!(info.label(label), name.as_str());
        }
    }

    #[test]
    fn number_has_notation_of_api(whole in 0_u64..1_000_000_000, micros in 0_u32..1_000_000) {
        // The API sends up to six decimals, without trailing zeros.
        let text = format!("{whole}.{micros:06}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let page = Page::parse(&page(&[("n".to_owned(), parse_decimal(text, 0).unwrap())]));
        prop_assert_eq!(&page.find("cost_per_delivered", &[]).unwrap().number, text);
    }
}
