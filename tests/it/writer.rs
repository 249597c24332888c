//! Our own writer of the text format, judged by the `prometheus` crate's; and names and numbers,
//! which come out as they went in.

use std::sync::Arc;

use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::decimal;
use marketing_messages_exporter::row::{Figure, Figures, Row, Scalar};
use marketing_messages_exporter::snapshot::{Heard, Polled};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::known::{RANGE, identity, listing, now, text, unknown};
use crate::page::Page;

/// The page of campaigns of these names, all of whose numbers are those.
fn page(campaigns: &[(String, f64)]) -> String {
    let listed = campaigns.iter().enumerate();
    let listed = listed.map(|(place, (name, _))| (place.to_string(), name.as_str(), true));
    let rows = campaigns
        .iter()
        .enumerate()
        .map(|(place, (name, number))| Row {
            identity: Arc::new(identity(&place.to_string(), name)),
            start: RANGE.0,
            stop: RANGE.1,
            has_actions: false,
            mixed_attribution: false,
            figures: Figures::pack(&[Figure::Given(*number); Scalar::ALL.len()]),
        });
    let polled = Polled {
        listing: Some(Arc::new(listing(listed))),
        delivery: Heard {
            rows: Some(rows.collect()),
            ..Heard::default()
        },
        ..Polled::begun(0, now())
    };
    let snapshot = unknown(ZeroFill::Active, false);
    text(&snapshot.replace(0, snapshot.sources[0].advance(polled)))
}

/// The same page, written by the crate that most Rust exporters use.
fn judged(page: &Page) -> String {
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
        let mut judged = MetricFamily::default();
        judged.set_name(family.name.clone());
        judged.set_help(family.help.clone());
        judged.set_field_type(MetricType::GAUGE);
        judged.set_metric(samples.collect());
        judged
    });
    let mut text = Vec::new();
    let families: Vec<MetricFamily> = families.collect();
    TextEncoder::new().encode(&families, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// What people call campaigns, and what nobody should.
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
    fn the_page_is_what_the_prometheus_crate_writes(
        campaigns in proptest::collection::vec((name(), number()), 0..4),
    ) {
        let written = page(&campaigns);
        let page = Page::parse(&written);
        // The one range in which the two may differ in letters.
        let judgeable = |value: f64| value == 0.0 || (1e-6..1e15).contains(&value);
        prop_assert!(page.samples().all(|sample| judgeable(sample.value())));
        prop_assert_eq!(judged(&page), written);
    }

    #[test]
    fn any_name_survives(name in name()) {
        let page = Page::parse(&page(&[(name.clone(), 1.0)]));
        for metric in ["delivered", "spend", "campaign_daily_budget"] {
            let found = page.find(metric, &[]).unwrap();
            prop_assert_eq!(found.label("campaign_name"), name.as_str());
        }
        let info = page.find("campaign_info", &[]).unwrap();
        for label in ["campaign_name", "status", "objective"] {
            prop_assert_eq!(info.label(label), name.as_str());
        }
    }

    #[test]
    fn a_number_is_written_as_the_api_wrote_it(whole in 0_u64..1_000_000_000, micros in 0_u32..1_000_000) {
        // What the API writes: up to six decimals, no zeros at the end.
        let long = format!("{whole}.{micros:06}");
        let api = long.trim_end_matches('0').trim_end_matches('.');
        let page = Page::parse(&page(&[("n".to_owned(), decimal::parse(api, 0).unwrap())]));
        prop_assert_eq!(&page.find("cost_per_delivered", &[]).unwrap().number, api);
    }
}
