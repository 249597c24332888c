//! Whatever the rows say, the text is what OpenMetrics allows, and says just that.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use marketing_messages_exporter::config::{Labels, Thresholds, ZeroFill};
use marketing_messages_exporter::exposition::{Common, Midnights, Past, write_history};
use marketing_messages_exporter::plan::{Columns, Source, Subject};
use marketing_messages_exporter::row::{
    AccountId, Figure, Figures, Identity, Level, Named, ObjectId, Row, Scalar,
};
use marketing_messages_exporter::snapshot::{Said, Told};
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
        subject: Subject::AdAccount { id, only: vec![] },
        level: Level::Campaign,
        zero_fill: ZeroFill::Active,
        conversions: false,
        columns: Columns {
            extra: [].into(),
            action_types: [].into(),
        },
        windows: vec![],
        labels: Labels::default(),
        thresholds: Thresholds::default(),
        elsewhere: [].into(),
    }
}

/// Days since the new year of 2026, each with what was spent.
fn days() -> impl Strategy<Value = BTreeMap<i64, Option<f64>>> {
    let spent = proptest::option::of(any::<f64>());
    proptest::collection::btree_map(0_i64..400, spent, 0..20)
}

proptest! {
    #[test]
    fn a_history_is_openmetrics_and_loses_nothing(
        campaigns in proptest::collection::vec((".{0,12}", days()), 0..6),
        zone in 0_usize..4,
    ) {
        let source = source();
        let zone = TimeZone::get(ZONES[zone]).unwrap();
        let rows: Vec<Vec<Row>> = campaigns.iter().enumerate().map(|(place, (name, days))| {
            let identity = Arc::new(Identity {
                account: AccountId::parse("1").unwrap(),
                currency: Some("EUR".into()),
                campaign: Some(Named {
                    id: ObjectId::parse(&place.to_string()).unwrap(),
                    name: name.as_str().into(),
                }),
                adset: None,
                ad: None,
            });
            days.iter().map(|(day, spent)| {
                let start = date(2026, 1, 1) + day.days();
                let mut figures = [Figure::Missing; Scalar::ALL.len()];
                figures[Scalar::Spend.column()] = spent.map_or(Figure::Missing, Figure::Given);
                Row {
                    identity: Arc::clone(&identity),
                    start,
                    stop: start,
                    has_actions: false,
                    mixed_attribution: false,
                    figures: Figures::pack(&figures),
                }
            }).collect()
        }).collect();
        let common = Common {
            window: "today",
            labels: &[("job".to_owned(), "a \"b\"".to_owned())],
            extra: &[],
        };
        let mut text = Vec::new();
        let walk = |visit: &mut dyn FnMut(&Past<'_>) -> io::Result<()>| {
            for rows in rows.iter().filter(|rows| !rows.is_empty()) {
                let days = rows.iter().map(|row| {
                    let told = Told {
                        delivery: Said::Row(row),
                        conversions: Said::Unknown,
                        member: None,
                        asked: None,
                    };
                    let ends = Midnights::of(row.start, &zone).unwrap();
                    (ends, told.join(&source.columns, None).unwrap())
                });
                visit(&Past {
                    source: &source,
                    identity: &rows[0].identity,
                    currency: Some("EUR"),
                    days: days.collect(),
                })?;
            }
            Ok::<(), io::Error>(())
        };
        let samples = write_history(&common, walk, &mut text).unwrap();
        let history = History::parse(&String::from_utf8(text).unwrap());
        prop_assert_eq!(history.samples as u64, samples);
        let mut told = 0;
        for row in rows.iter().flatten() {
            let id = row.identity.key();
            let page = history.at(&row.start.to_string(), zone.iana_name().unwrap());
            let found = page.find("spend", &[("campaign_id", id), ("job", "a \"b\"")]);
            let spent = match row.figures.get(Scalar::Spend.column()) {
                // A minus in front of nothing is not written.
                Figure::Given(spent) => Some((spent + 0.0).to_bits()),
                Figure::Missing | Figure::Rejected => None,
            };
            prop_assert_eq!(found.map(|found| found.value().to_bits()), spent);
            if let Some(found) = found {
                told += 1;
                let name = &row.identity.campaign.as_ref().unwrap().name;
                prop_assert_eq!(found.label("campaign_name"), name.as_ref());
            }
            let end = page.value("window_end_timestamp_seconds", &[("campaign_id", id)]).unwrap();
            let next = row.start.tomorrow().unwrap().to_zoned(zone.clone()).unwrap();
            let since = next.timestamp().duration_since(jiff::Timestamp::UNIX_EPOCH);
            prop_assert_eq!(SignedDuration::from_secs_f64(end), since);
        }
        prop_assert_eq!(history.count("spend"), told);
    }
}
