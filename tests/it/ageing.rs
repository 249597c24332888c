//! How knowledge changes: polls replace it, failures keep it, age withdraws it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::fault::{Fault, Reason};
use marketing_messages_exporter::row::{Figure, Figures, Row, Scalar};
use marketing_messages_exporter::snapshot::{Heard, Polled, Snapshot};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::known::{ACTION_TYPES, RANGE, identity, listing, now, text, unknown};
use crate::page::Page;

/// What one query brings in one poll: a number, or a failure.
type Heards = (Option<u32>, Option<u32>);

fn rows(columns: usize, number: u32) -> Vec<Row> {
    let mut figures = vec![Figure::Given(0.0); columns];
    figures[Scalar::Delivered.column()] = Figure::Given(number.into());
    vec![Row {
        identity: Arc::new(identity("7", "Spring")),
        start: RANGE.0,
        stop: RANGE.1,
        has_actions: true,
        mixed_attribution: false,
        figures: Figures::pack(&figures),
    }]
}

fn polled(at: Timestamp, (delivery, conversions): Heards) -> Polled {
    let heard = |columns, number: Option<u32>| match number {
        Some(number) => Heard {
            rows: Some(rows(columns, number)),
            ..Heard::default()
        },
        None => Heard::failed(Fault::new(Reason::Unavailable, "out of order")),
    };
    Polled {
        listing: Some(Arc::new(listing([("7".to_owned(), "Spring", true)]))),
        delivery: heard(Scalar::ALL.len(), delivery),
        conversions: Some(heard(3 * ACTION_TYPES.len(), conversions)),
        ..Polled::begun(0, at)
    }
}

fn page(snapshot: &Snapshot) -> Page {
    Page::parse(&text(snapshot))
}

fn heards() -> impl Strategy<Value = Heards> {
    let number = || prop_oneof![any::<u32>().prop_map(Some), any::<()>().prop_map(|()| None)];
    (number(), number())
}

proptest! {
    #[test]
    fn each_query_keeps_its_last_good_answer_until_it_is_stale(
        polls in proptest::collection::vec((1_u32..5_400, heards()), 1..8),
        look_after in 0_u32..7_200,
    ) {
        let mut snapshot = unknown(ZeroFill::Active, false);
        let mut at = now();
        // Of each query, what it said last and when; of the poll, when it succeeded last.
        let (mut delivery, mut conversions, mut success) = (None, None, None);
        for (wait, heard) in &polls {
            at += i64::from(*wait).seconds();
            snapshot = snapshot.withdraw(at).unwrap_or(snapshot);
            snapshot = snapshot.replace(0, snapshot.sources[0].advance(polled(at, *heard)));
            delivery = heard.0.map(|number| (number, at)).or(delivery);
            conversions = heard.1.map(|number| (number, at)).or(conversions);
            success = heard.0.and(heard.1).map(|_| at).or(success);
        }
        let up = polls.last().is_some_and(|(_, heard)| heard.0.and(heard.1).is_some());
        let looked = at + i64::from(look_after).seconds();
        let next = snapshot.next_withdrawal();
        snapshot = snapshot.withdraw(looked).unwrap_or(snapshot);
        let page = page(&snapshot);
        let fresh = |(number, said): (u32, Timestamp)| {
            let age = looked.duration_since(said).unsigned_abs();
            (age < Duration::from_secs(3_600)).then_some(f64::from(number))
        };
        let purchases = [("action_type", ACTION_TYPES[0])];
        prop_assert_eq!(page.value("delivered", &[]), delivery.and_then(fresh));
        prop_assert_eq!(page.value("conversions", &purchases), conversions.and_then(fresh));
        prop_assert_eq!(page.value("up", &[]), Some(f64::from(u8::from(up))));
        prop_assert_eq!(
            page.value("last_success_timestamp_seconds", &[]),
            success.map(|at| at.as_duration().as_secs_f64())
        );
        // Who waits for the next withdrawal wakes in time for the first.
        let first = [delivery, conversions].into_iter().flatten().map(|(_, said)| said + 1.hour());
        let first = first.filter(|gone| *gone > at).min();
        prop_assert_eq!(next.filter(|next| *next > at), first);
    }
}

#[test]
fn an_empty_answer_replaces_what_was_known() {
    let snapshot = unknown(ZeroFill::Active, false);
    let snapshot = snapshot.replace(
        0,
        snapshot.sources[0].advance(polled(now(), (Some(5), Some(6)))),
    );
    assert_eq!(page(&snapshot).value("delivered", &[]), Some(5.0));
    let mut empty = polled(now(), (Some(5), Some(6)));
    empty.delivery.rows = Some(Vec::new());
    empty.conversions.as_mut().unwrap().rows = Some(Vec::new());
    let snapshot = snapshot.replace(0, snapshot.sources[0].advance(empty));
    let page = page(&snapshot);
    assert_eq!(page.value("delivered", &[]), Some(0.0));
    assert_eq!(page.value("spend", &[]), Some(0.0));
    page.assert_absent("read_ratio", &[]);
    page.assert_absent("website_purchase_roas", &[]);
}

#[test]
fn a_campaign_that_is_gone_from_the_list_is_gone_from_the_page() {
    let snapshot = unknown(ZeroFill::All, false);
    let mut gone = polled(now(), (Some(5), Some(6)));
    gone.listing = Some(Arc::new(listing([])));
    let page = page(&snapshot.replace(0, snapshot.sources[0].advance(gone)));
    for name in [
        "delivered",
        "conversions",
        "campaign_info",
        "max_spend_threshold",
    ] {
        page.assert_absent(name, &[]);
    }
    assert_eq!(page.value("up", &[]), Some(1.0));
}
