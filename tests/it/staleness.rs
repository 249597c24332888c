//! Life of values: successful queries replace them, failed ones keep them, and old ones are withdrawn.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::model::{
    ActionList, ErrorReason, InsightField, PollError, Row, RowValue, RowValues,
};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::page::Page;
use crate::snapshot_builder::{
    ACTION_TYPES, RANGE, dimensions, empty_snapshot, inventory, now, page_text,
};

/// Default of `polling.stale_after`.
const STALE_AFTER: Duration = Duration::from_secs(7_200);

/// Values of the delivery and the conversions query of one poll; `None` if the query fails.
type QueryValues = (Option<u32>, Option<u32>);

fn rows(columns: usize, value: u32) -> Vec<Row> {
    let mut values = vec![RowValue::Present(0.0); columns];
    values[InsightField::Delivered.column()] = RowValue::Present(value.into());
    vec![Row {
        dimensions: Arc::new(dimensions("7", "Spring")),
        start: RANGE.0,
        stop: RANGE.1,
        mixed_attribution: false,
        values: RowValues::pack(&values),
    }]
}

fn poll(at: Timestamp, (delivery, conversions): QueryValues) -> PollResult {
    let query_result = |columns, value: Option<u32>| match value {
        Some(value) => QueryResult {
            rows: Some(rows(columns, value)),
            ..QueryResult::default()
        },
        None => QueryResult::failed(PollError::new(
            ErrorReason::Unavailable,
            "503 Service Unavailable",
        )),
    };
    PollResult {
        inventory: Some(Arc::new(inventory([("7".to_owned(), "Spring", true)]))),
        delivery: query_result(InsightField::ALL.len(), delivery),
        conversions: Some(query_result(
            ActionList::ALL.len() * ACTION_TYPES.len(),
            conversions,
        )),
        ..PollResult::empty(0, at)
    }
}

fn page(snapshot: &Snapshot) -> Page {
    Page::parse(&page_text(snapshot))
}

fn query_values() -> impl Strategy<Value = QueryValues> {
    let value = || prop_oneof![any::<u32>().prop_map(Some), any::<()>().prop_map(|()| None)];
    (value(), value())
}

proptest! {
    #[test]
    fn failed_query_keeps_last_values_until_stale(
        polls in proptest::collection::vec((1_u32..10_800, query_values()), 1..8),
        scrape_delay in 0_u32..14_400,
    ) {
        let mut snapshot = empty_snapshot(ZeroFill::Active, false);
        let mut at = now();
        // Last value of each query with its time, and time of the last successful poll.
        let (mut delivery, mut conversions, mut success) = (None, None, None);
        for (delay, values) in &polls {
            at += i64::from(*delay).seconds();
            snapshot = snapshot.expire(at).unwrap_or(snapshot);
            snapshot = snapshot.with_source(0, snapshot.sources[0].apply(poll(at, *values)));
            delivery = values.0.map(|value| (value, at)).or(delivery);
            conversions = values.1.map(|value| (value, at)).or(conversions);
            success = values.0.and(values.1).map(|_| at).or(success);
        }
        let scraped_at = at + i64::from(scrape_delay).seconds();
        let next_expiry = snapshot.next_expiry();
        // A failed poll, or a value that was withdrawn since.
        let results = [delivery, conversions].into_iter().flatten();
        let is_withdrawn = results
            .map(|(_, fetched_at)| fetched_at + STALE_AFTER)
            .any(|expiry| expiry <= scraped_at);
        let up = !is_withdrawn
            && polls.last().is_some_and(|(_, values)| values.0.and(values.1).is_some());
        snapshot = snapshot.expire(scraped_at).unwrap_or(snapshot);
        let page = page(&snapshot);
        let fresh = |(value, fetched_at): (u32, Timestamp)| {
            let age = scraped_at.duration_since(fetched_at).unsigned_abs();
            (age < STALE_AFTER).then_some(f64::from(value))
        };
        let purchases = [("action_type", ACTION_TYPES[0])];
        prop_assert_eq!(page.value("delivered", &[]), delivery.and_then(fresh));
        prop_assert_eq!(page.value("conversions", &purchases), conversions.and_then(fresh));
        prop_assert_eq!(page.value("up", &[]), Some(f64::from(u8::from(up))));
        prop_assert_eq!(
            page.value("last_success_timestamp_seconds", &[]),
            success.map(|at| at.as_duration().as_secs_f64())
        );
        // A task that waits until the next expiry wakes in time for the first one.
        let results = [delivery, conversions].into_iter().flatten();
        let expiries = results.map(|(_, fetched_at)| fetched_at + STALE_AFTER);
        let first_expiry = expiries.filter(|expiry| *expiry > at).min();
        prop_assert_eq!(next_expiry.filter(|expiry| *expiry > at), first_expiry);
    }
}

#[test]
fn empty_result_replaces_previous_values() {
    let snapshot = empty_snapshot(ZeroFill::Active, false);
    let snapshot = snapshot.with_source(
        0,
        snapshot.sources[0].apply(poll(now(), (Some(5), Some(6)))),
    );
    assert_eq!(page(&snapshot).value("delivered", &[]), Some(5.0));
    let mut empty = poll(now(), (Some(5), Some(6)));
    empty.delivery.rows = Some(Vec::new());
    empty.conversions.as_mut().unwrap().rows = Some(Vec::new());
    let snapshot = snapshot.with_source(0, snapshot.sources[0].apply(empty));
    let page = page(&snapshot);
    assert_eq!(page.value("delivered", &[]), Some(0.0));
    assert_eq!(page.value("spend", &[]), Some(0.0));
    page.assert_absent("read_ratio", &[]);
    page.assert_absent("website_purchase_roas", &[]);
}

#[test]
fn old_inventory_makes_no_zeros() {
    // Three times the default of `polling.discovery_interval`.
    let max_age = 3 * 3600;
    for (age, zeros) in [(max_age, 1), (max_age + 1, 0)] {
        let snapshot = empty_snapshot(ZeroFill::All, false);
        let mut poll = poll(now(), (Some(5), Some(6)));
        let mut old = inventory([
            ("7".to_owned(), "Spring", true),
            ("8".to_owned(), "Summer", true),
        ]);
        old.fetched_at = now() - i64::from(age).seconds();
        poll.inventory = Some(Arc::new(old));
        let page = page(&snapshot.with_source(0, snapshot.sources[0].apply(poll)));
        assert_eq!(page.value("delivered", &[("campaign_id", "7")]), Some(5.0));
        let summer = page.all("delivered", &[("campaign_id", "8")]);
        assert_eq!(summer.len(), zeros, "{age}");
    }
}

#[test]
fn unanswered_campaign_has_no_zeros() {
    let snapshot = empty_snapshot(ZeroFill::All, false);
    let campaigns = ["7", "8", "9"].map(|id| (id.to_owned(), "Spring", true));
    let mut poll = poll(now(), (Some(5), Some(6)));
    poll.inventory = Some(Arc::new(inventory(campaigns)));
    let conversions = poll.conversions.as_mut().unwrap();
    for result in [&mut poll.delivery, conversions] {
        result.unanswered = ["8".into()].into();
        result.error = Some(PollError::new(ErrorReason::Rejected, "Invalid parameter"));
    }
    let page = page(&snapshot.with_source(0, snapshot.sources[0].apply(poll)));
    for name in ["delivered", "conversions"] {
        page.assert_absent(name, &[("campaign_id", "8")]);
        assert!(!page.all(name, &[("campaign_id", "9")]).is_empty());
    }
    page.assert("up", &[], "0");
    page.assert_absent("query_last_success_timestamp_seconds", &[]);
}

#[test]
fn campaign_without_inventory_entry_is_not_exported() {
    let snapshot = empty_snapshot(ZeroFill::All, false);
    let mut poll = poll(now(), (Some(5), Some(6)));
    poll.inventory = Some(Arc::new(inventory([])));
    let page = page(&snapshot.with_source(0, snapshot.sources[0].apply(poll)));
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
