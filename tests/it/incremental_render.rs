//! Incremental rendering: a page of reused and new chunks equals a page that is rendered at once.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use marketing_messages_exporter::metrics::{MetricsPage, PageFormat};
use marketing_messages_exporter::model::{Row, RowValue, RowValues};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot, SourceState};
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::harness::parse;
use crate::snapshot_builder::{RANGE, dimensions, inventory, now, page_text};

/// Number of sources.
const SOURCES: usize = 40;

/// Number of windows per source.
const WINDOWS: usize = 2;

/// Change of the state of one source.
#[derive(Clone, Debug)]
enum Event {
    /// A poll of a window returns this number of rows, with `value` in each.
    Polled {
        window_idx: usize,
        rows: usize,
        value: u32,
    },
    /// Discovery finds this number of campaigns.
    Discovered { campaigns: usize },
    /// A poll of a window returns nothing.
    Failed { window_idx: usize },
    /// Polls are paused.
    Paused,
    /// The source becomes a duplicate, or is no longer one.
    DuplicateToggled,
}

/// Numbers of rows from none to more than a batch and a chunk.
fn row_count() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 1, 3, 60, 400, 700, 1_100])
}

fn event() -> impl Strategy<Value = Event> {
    proptest::prop_oneof![
        6 => (0..WINDOWS, row_count(), any::<u32>())
            .prop_map(|(window_idx, rows, value)| Event::Polled { window_idx, rows, value }),
        2 => row_count().prop_map(|campaigns| Event::Discovered { campaigns }),
        1 => (0..WINDOWS).prop_map(|window_idx| Event::Failed { window_idx }),
        1 => prop::sample::select(vec![Event::Paused, Event::DuplicateToggled]),
    ]
}

impl Event {
    fn apply(&self, state: &SourceState) -> SourceState {
        match *self {
            Self::Polled {
                window_idx,
                rows,
                value,
            } => {
                let rows = (0..rows).map(|campaign| row(campaign, value)).collect();
                let result = QueryResult {
                    rows: Some(rows),
                    ..QueryResult::default()
                };
                state.apply(PollResult {
                    delivery: result.clone(),
                    conversions: Some(result),
                    ..PollResult::empty(window_idx, now())
                })
            }
            Self::Discovered { campaigns } => {
                let campaigns = (0..campaigns).map(|id| (format!("{id:05}"), "Sale", id % 2 == 0));
                SourceState {
                    inventory: Some(Arc::new(inventory(campaigns))),
                    ..state.clone()
                }
            }
            Self::Failed { window_idx } => state.apply(PollResult::empty(window_idx, now())),
            Self::Paused => SourceState {
                paused_until: Some(now()),
                ..state.clone()
            },
            Self::DuplicateToggled => {
                let mut toggled = state.clone();
                toggled.duplicate = !state.duplicate;
                for window in &mut toggled.windows {
                    window.duplicate = toggled.duplicate;
                }
                toggled
            }
        }
    }
}

fn row(campaign: usize, value: u32) -> Row {
    let mut values = [RowValue::Missing; 8];
    values[0] = RowValue::Present(f64::from(value));
    Row {
        dimensions: Arc::new(dimensions(&format!("{campaign:05}"), "Sale")),
        start: RANGE.0,
        stop: RANGE.1,
        mixed_attribution: campaign.is_multiple_of(7),
        values: RowValues::pack(&values),
    }
}

fn empty_snapshot() -> Snapshot {
    let accounts: Vec<String> = (1..=SOURCES)
        .map(|n| format!("{{ id: act_{n} }}"))
        .collect();
    let config = format!(
        "windows: [{{ name: today, date_preset: today }}, {{ name: week, date_preset: last_7d }}]
insights: {{ extra_fields: [{{ field: marketing_messages_sent, metric: sent, kind: count, help: Sent }}] }}
businesses: [{{ name: acme, access_token_env: T, ad_accounts: [{}] }}]
",
        accounts.join(", ")
    );
    let config = parse(&config, "http://127.0.0.1:1");
    Snapshot::empty(&Plan::for_shard(&config, Shard::ALL), now())
}

/// Replaces a state without updating which sources are duplicates.
fn with_state(snapshot: &Snapshot, source_idx: usize, state: SourceState) -> Snapshot {
    let mut next = snapshot.clone();
    next.sources[source_idx] = Arc::new(state);
    next
}

fn gunzipped(page: &MetricsPage) -> String {
    let member: Vec<u8> = page
        .gzip(PageFormat::Text, b"")
        .into_parts()
        .flatten()
        .collect();
    let mut text = String::new();
    flate2::read::GzDecoder::new(member.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Memory addresses of the parts of a page.
fn part_addresses(page: &MetricsPage) -> BTreeSet<usize> {
    let parts = page.gzip(PageFormat::Text, b"").into_parts();
    parts.map(|part| part.as_ptr() as usize).collect()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 12, ..Default::default() })]

    #[test]
    fn page_with_reused_chunks_equals_full_render(
        events in prop::collection::vec((0..SOURCES, event()), 1..30)
    ) {
        let mut snapshot = Arc::new(empty_snapshot());
        let mut page = MetricsPage::render(Arc::clone(&snapshot), String::new(), None).unwrap();
        for (event_idx, (source_idx, event)) in events.iter().enumerate() {
            let state = event.apply(&snapshot.sources[*source_idx]);
            snapshot = Arc::new(with_state(&snapshot, *source_idx, state));
            page = MetricsPage::render(Arc::clone(&snapshot), String::new(), Some(&page)).unwrap();
            // Only some pages are compared, because that takes most of the time.
            if event_idx % 7 == 0 || event_idx + 1 == events.len() {
                let text = page_text(&snapshot);
                let samples = text.lines().filter(|line| !line.starts_with('#')).count();
                prop_assert_eq!(page.series, samples as u64);
                prop_assert_eq!(page.plain_bytes, text.len() as u64);
                let mut plain = Vec::new();
                page.write(PageFormat::Text, &mut plain).unwrap();
                prop_assert!(plain == text.as_bytes());
                prop_assert!(gunzipped(&page) == text, "after {:?}", &events[..=event_idx]);
            }
        }
    }
}

#[test]
fn poll_renders_only_its_own_chunk() {
    const POLLED_SOURCE: usize = 17;
    let mut snapshot = empty_snapshot();
    for source_idx in 0..SOURCES {
        for window_idx in 0..WINDOWS {
            let event = Event::Polled {
                window_idx,
                rows: 60,
                value: 1,
            };
            let state = event.apply(&snapshot.sources[source_idx]);
            snapshot = with_state(&snapshot, source_idx, state);
        }
    }
    let before = MetricsPage::render(Arc::new(snapshot.clone()), String::new(), None).unwrap();
    let event = Event::Polled {
        window_idx: 0,
        rows: 60,
        value: 2,
    };
    let state = event.apply(&snapshot.sources[POLLED_SOURCE]);
    let snapshot = with_state(&snapshot, POLLED_SOURCE, state);
    let after = MetricsPage::render(Arc::new(snapshot), String::new(), Some(&before)).unwrap();
    let (before, after) = (part_addresses(&before), part_addresses(&after));
    let (reused, total) = (before.intersection(&after).count(), before.len());
    assert!(
        reused * 2 > total,
        "more than half of the parts should be reused: {reused} of {total}"
    );
    assert!(reused < total, "the changed chunk should not be reused");
}
