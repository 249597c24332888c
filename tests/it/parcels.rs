//! A page that is put together of old and new parts says what one made at once would say.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use marketing_messages_exporter::exposition::Page;
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::row::{Figure, Figures, Row};
use marketing_messages_exporter::snapshot::{Heard, Known, Polled, Snapshot};
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::harness::parse;
use crate::known::{RANGE, identity, listing, now, text};

/// Sources, each with two windows.
const SOURCES: usize = 40;

/// Something that happens to one source.
#[derive(Clone, Debug)]
enum Event {
    /// A poll of a window brings rows of so many campaigns, with that number in each.
    Polled {
        window: usize,
        rows: usize,
        number: u32,
    },
    /// Discovery finds so many campaigns.
    Discovered { campaigns: usize },
    /// A poll of a window brings nothing.
    Failed { window: usize },
    /// It is held off.
    Held,
    /// Another source shows it.
    GivesWay,
}

/// Of a few campaigns as of more than are rendered at a time.
fn rows() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![0, 1, 3, 60, 400, 700, 1_100])
}

fn event() -> impl Strategy<Value = Event> {
    proptest::prop_oneof![
        6 => (0..2_usize, rows(), any::<u32>())
            .prop_map(|(window, rows, number)| Event::Polled { window, rows, number }),
        2 => rows().prop_map(|campaigns| Event::Discovered { campaigns }),
        1 => (0..2_usize).prop_map(|window| Event::Failed { window }),
        1 => prop::sample::select(vec![Event::Held, Event::GivesWay]),
    ]
}

impl Event {
    fn happen(&self, known: &Known) -> Known {
        match *self {
            Self::Polled {
                window,
                rows,
                number,
            } => {
                let rows = (0..rows).map(|place| row(place, number)).collect();
                let heard = Heard {
                    rows: Some(rows),
                    ..Heard::default()
                };
                let delivery = heard.clone();
                known.advance(Polled {
                    delivery,
                    conversions: Some(heard),
                    ..Polled::begun(window, now())
                })
            }
            Self::Discovered { campaigns } => {
                let found =
                    (0..campaigns).map(|place| (format!("{place:05}"), "Sale", place % 2 == 0));
                Known {
                    listing: Some(Arc::new(listing(found))),
                    ..known.clone()
                }
            }
            Self::Failed { window } => known.advance(Polled::begun(window, now())),
            Self::Held => Known {
                held_until: Some(now()),
                ..known.clone()
            },
            Self::GivesWay => Known {
                gives_way: !known.gives_way,
                ..known.clone()
            },
        }
    }
}

fn row(place: usize, number: u32) -> Row {
    let mut figures = [Figure::Missing; 8];
    figures[0] = Figure::Given(f64::from(number));
    Row {
        identity: Arc::new(identity(&format!("{place:05}"), "Sale")),
        start: RANGE.0,
        stop: RANGE.1,
        has_actions: true,
        mixed_attribution: place.is_multiple_of(7),
        figures: Figures::pack(&figures),
    }
}

fn unknown() -> Snapshot {
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
    Snapshot::unknown(&Plan::of(&config, Shard::WHOLE), now())
}

fn with(snapshot: &Snapshot, place: usize, known: Known) -> Snapshot {
    let mut next = snapshot.clone();
    next.sources[place] = Arc::new(known);
    next
}

fn gunzipped(page: &Page) -> String {
    let member: Vec<u8> = page.gzip(b"").pieces().flatten().collect();
    let mut read = String::new();
    flate2::read::GzDecoder::new(member.as_slice())
        .read_to_string(&mut read)
        .unwrap();
    read
}

/// Where the pieces of a page lie in memory.
fn pieces(page: &Page) -> BTreeSet<usize> {
    let pieces = page.gzip(b"").pieces();
    pieces.map(|piece| piece.as_ptr() as usize).collect()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 12, ..Default::default() })]

    #[test]
    fn a_page_of_kept_and_new_parcels_is_the_page_of_the_snapshot(
        events in prop::collection::vec((0..SOURCES, event()), 1..30)
    ) {
        let mut snapshot = Arc::new(unknown());
        let mut page = Page::render(Arc::clone(&snapshot), String::new(), None).unwrap();
        for (count, (place, event)) in events.iter().enumerate() {
            let known = event.happen(&snapshot.sources[*place]);
            snapshot = Arc::new(with(&snapshot, *place, known));
            page = Page::render(Arc::clone(&snapshot), String::new(), Some(&page)).unwrap();
            // To read a page is what takes the time.
            if count % 7 == 0 || count + 1 == events.len() {
                let text = text(&snapshot);
                let samples = text.lines().filter(|line| !line.starts_with('#')).count();
                prop_assert_eq!(page.series, samples as u64);
                prop_assert_eq!(page.plain_bytes, text.len() as u64);
                let mut plain = Vec::new();
                page.write(&mut plain).unwrap();
                prop_assert!(plain == text.as_bytes());
                prop_assert!(gunzipped(&page) == text, "after {:?}", &events[..=count]);
            }
        }
    }
}

#[test]
fn a_poll_renders_its_own_neighbourhood_and_no_other() {
    let mut snapshot = unknown();
    for place in 0..SOURCES {
        for window in 0..2 {
            let event = Event::Polled {
                window,
                rows: 60,
                number: 1,
            };
            let known = event.happen(&snapshot.sources[place]);
            snapshot = with(&snapshot, place, known);
        }
    }
    let before = Page::render(Arc::new(snapshot.clone()), String::new(), None).unwrap();
    let event = Event::Polled {
        window: 0,
        rows: 60,
        number: 2,
    };
    let after = with(&snapshot, 17, event.happen(&snapshot.sources[17]));
    let page = Page::render(Arc::new(after), String::new(), Some(&before)).unwrap();
    let (before, after) = (pieces(&before), pieces(&page));
    let kept = before.intersection(&after).count();
    assert!(kept * 2 > before.len(), "{kept} of {}", before.len());
    assert!(kept < before.len(), "what changed must be new");
}
