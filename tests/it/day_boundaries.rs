//! Midnight of the ad account: values of a day that is over are withdrawn, and no row combines two days.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use marketing_messages_exporter::model::{ActionList, InsightField, Row, RowValue, RowValues};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::snapshot::{PollResult, QueryResult, Snapshot};

use crate::harness::parse;
use crate::page::Page;
use crate::snapshot_builder::{dimensions, inventory, page_text};

const WINDOWS: &str =
    "windows: [{ name: today, date_preset: today }, { name: last_7d, date_preset: last_7d }]
businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_1 }] }]
";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn row(dates: (Date, Date), values: &[RowValue]) -> Row {
    Row {
        dimensions: Arc::new(dimensions("7", "seven")),
        start: dates.0,
        stop: dates.1,
        mixed_attribution: false,
        values: RowValues::pack(values),
    }
}

/// Result of a query with one row with these dates, fetched at `at`.
fn result(at: Timestamp, dates: (Date, Date), width: usize) -> QueryResult {
    QueryResult {
        rows: Some(vec![row(dates, &vec![RowValue::Present(3.0); width])]),
        fetched_at: Some(at),
        dates: Some(dates),
        ..QueryResult::default()
    }
}

/// Returns a snapshot of an ad account in Berlin after a poll of one window at `at`.
fn polled(
    at: Timestamp,
    window_idx: usize,
    delivery: (Date, Date),
    conversions: (Date, Date),
) -> Snapshot {
    let plan = Plan::for_shard(&parse(WINDOWS, "http://127.0.0.1:1"), Shard::ALL);
    let snapshot = Snapshot::empty(&plan, at);
    let action_types = snapshot.sources[0].source.columns.action_types.len();
    let poll = PollResult {
        inventory: Some(Arc::new(inventory([("7".to_owned(), "seven", true)]))),
        delivery: result(at, delivery, InsightField::ALL.len()),
        conversions: Some(result(
            at,
            conversions,
            ActionList::ALL.len() * action_types,
        )),
        ..PollResult::empty(window_idx, at)
    };
    let state = snapshot.sources[0].apply(poll);
    snapshot.with_source(0, state)
}

fn page(snapshot: &Snapshot) -> Page {
    Page::parse(&page_text(snapshot))
}

#[test]
fn values_of_today_are_withdrawn_at_midnight_of_the_ad_account() {
    let today = (day("2026-11-23"), day("2026-11-23"));
    // 23:50 in Berlin.
    let snapshot = polled(time("2026-11-23T22:50:00Z"), 0, today, today);
    let midnight = time("2026-11-23T23:00:00Z");
    assert_eq!(snapshot.next_expiry(), Some(midnight));
    let labels = [("window", "today")];
    page(&snapshot).assert("up", &labels, "1");
    let after = snapshot.expire(midnight).unwrap();
    let page = page(&after);
    page.assert_absent("spend", &labels);
    page.assert_absent("conversions", &labels);
    page.assert("up", &labels, "0");
    // The time of the last success stays.
    assert_eq!(
        page.all("query_last_success_timestamp_seconds", &labels)
            .len(),
        2
    );
}

#[test]
fn values_with_a_common_day_stay_after_midnight() {
    let week = (day("2026-11-16"), day("2026-11-22"));
    let snapshot = polled(time("2026-11-23T22:50:00Z"), 1, week, week);
    let expired = snapshot.expire(time("2026-11-23T23:00:00Z"));
    assert_eq!(expired, None);
    page(&snapshot).assert("spend", &[("window", "last_7d")], "3");
}

#[test]
fn values_of_yesterday_are_withdrawn_after_a_restart() {
    let today = (day("2026-11-23"), day("2026-11-23"));
    let before = polled(time("2026-11-23T22:50:00Z"), 0, today, today);
    let plan = Plan::for_shard(&parse(WINDOWS, "http://127.0.0.1:1"), Shard::ALL);
    let after = Snapshot::restore(&plan, &before, time("2026-11-23T23:05:00Z"));
    page(&after).assert_absent("spend", &[]);
    page(&after).assert("up", &[("window", "today")], "0");
}

#[test]
fn delivery_and_conversions_of_different_days_are_not_joined() {
    let (old, new) = (day("2026-11-23"), day("2026-11-24"));
    let at = time("2026-11-23T23:00:01Z");
    let labels = [("window", "today")];
    let newer_delivery = page(&polled(at, 0, (new, new), (old, old)));
    newer_delivery.assert("spend", &labels, "3");
    newer_delivery.assert_absent("conversions", &labels);
    newer_delivery.assert_absent("website_purchase_roas", &labels);
    let newer_conversions = page(&polled(at, 0, (old, old), (new, new)));
    newer_conversions.assert_absent("spend", &labels);
    assert!(!newer_conversions.all("conversions", &labels).is_empty());
}
