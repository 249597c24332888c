//! Property test: for arbitrary rows, the history is valid OpenMetrics text and contains exactly their values.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use marketing_messages_exporter::config::{ConfigLabels, QuestionMode, WindowThresholds, ZeroFill};
use marketing_messages_exporter::metrics::{DayBounds, HistoryLabels, RowHistory, write_history};
use marketing_messages_exporter::model::{
    AccountId, Dimensions, InsightField, Level, NamedId, ObjectId, Row, RowValue, RowValues,
};
use marketing_messages_exporter::plan::{ExportLimits, QueryColumns, Source, SourceKind};
use marketing_messages_exporter::snapshot::{JoinInput, Presence};
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

use super::History;

const ZONES: [&str; 4] = [
    "Asia/Tokyo",
    "Europe/Berlin",
    "America/Santiago",
    "Australia/Lord_Howe",
];

fn source() -> Source {
    let id = AccountId::parse("1").unwrap();
    Source {
        business: "acme".into(),
        name: id.to_string().into(),
        kind: SourceKind::AdAccount {
            id,
            campaign_allowlist: vec![],
        },
        campaign_name: None,
        level: Level::Campaign,
        zero_fill: ZeroFill::Active,
        zero_fill_max_age: std::time::Duration::MAX,
        conversions: false,
        questions: QuestionMode::Auto,
        columns: QueryColumns {
            extra: [].into(),
            action_types: [].into(),
        },
        windows: vec![],
        labels: ConfigLabels::default(),
        thresholds: WindowThresholds::default(),
        export_limits: ExportLimits::default(),
        sibling_accounts: [].into(),
    }
}

/// Days since 1 January 2026, each with its spend.
fn days() -> impl Strategy<Value = BTreeMap<i64, Option<f64>>> {
    let spent = proptest::option::of(any::<f64>());
    proptest::collection::btree_map(0_i64..400, spent, 0..20)
}

proptest! {
    #[test]
    fn history_text_is_valid_and_complete(
        campaigns in proptest::collection::vec((".{0,12}", days()), 0..6),
        zone in 0_usize..4,
    ) {
        let source = source();
        let zone = TimeZone::get(ZONES[zone]).unwrap();
        let rows: Vec<Vec<Row>> = campaigns.iter().enumerate().map(|(campaign_idx, (name, days))| {
            let dimensions = Arc::new(Dimensions {
                account: AccountId::parse("1").unwrap(),
                currency: Some("EUR".into()),
                campaign: Some(NamedId {
                    id: ObjectId::parse(&campaign_idx.to_string()).unwrap(),
                    name: name.as_str().into(),
                }),
                adset: None,
                ad: None,
            });
            days.iter().map(|(day, spend)| {
                let start = date(2026, 1, 1) + day.days();
                let mut values = [RowValue::Missing; InsightField::ALL.len()];
                values[InsightField::Spend.column()] = spend.map_or(RowValue::Missing, RowValue::Present);
                Row {
                    dimensions: Arc::clone(&dimensions),
                    start,
                    stop: start,
                    mixed_attribution: false,
                    values: RowValues::pack(&values),
                }
            }).collect()
        }).collect();
        let labels = HistoryLabels {
            window: "today",
            labels: &[("job".to_owned(), "a \"b\"".to_owned())],
            extra: &[],
        };
        let mut text = Vec::new();
        let visit_rows = |visit: &mut dyn FnMut(&RowHistory<'_>) -> io::Result<()>| {
            for rows in rows.iter().filter(|rows| !rows.is_empty()) {
                let days = rows.iter().map(|row| {
                    let input = JoinInput {
                        delivery: Presence::Row(row),
                        conversions: Presence::Unknown,
                        entity: None,
                        queried_dates: None,
                    };
                    let bounds = DayBounds::new(row.start, &zone).unwrap();
                    (bounds, input.join(&source.columns, None).unwrap())
                });
                visit(&RowHistory {
                    source: &source,
                    dimensions: &rows[0].dimensions,
                    currency: Some("EUR"),
                    days: days.collect(),
                })?;
            }
            Ok::<(), io::Error>(())
        };
        let samples = write_history(&labels, visit_rows, &mut text).unwrap();
        let history = History::parse(&String::from_utf8(text).unwrap());
        prop_assert_eq!(history.samples as u64, samples);
        let mut samples_found = 0;
        for row in rows.iter().flatten() {
            let id = row.dimensions.key();
            let page = history.at(&row.start.to_string(), zone.iana_name().unwrap());
            let sample = page.find("spend", &[("campaign_id", id), ("job", "a \"b\"")]);
            let expected = match row.values.get(InsightField::Spend.column()) {
                // The sign of a negative zero is not written.
                RowValue::Present(spend) => Some((spend + 0.0).to_bits()),
                RowValue::Missing | RowValue::Invalid => None,
            };
            prop_assert_eq!(sample.map(|sample| sample.value().to_bits()), expected);
            if let Some(sample) = sample {
                samples_found += 1;
                let name = &row.dimensions.campaign.as_ref().unwrap().name;
                prop_assert_eq!(sample.label("campaign_name"), name.as_ref());
            }
            let end = page.value("window_end_timestamp_seconds", &[("campaign_id", id)]).unwrap();
            let next = row.start.tomorrow().unwrap().to_zoned(zone.clone()).unwrap();
            let next = next.timestamp().duration_since(jiff::Timestamp::UNIX_EPOCH);
            prop_assert_eq!(SignedDuration::from_secs_f64(end), next);
        }
        prop_assert_eq!(history.count("spend"), samples_found);
    }
}
