//! Takes over the values of an earlier snapshot, after a restart and after a config reload.
//!
//! A source keeps its row sets and their age if its queries are unchanged; otherwise it starts
//! empty. Labels, thresholds and intervals can change, because row sets do not depend on them.
//! Times after `now` are corrected, and row sets older than the new `stale_after` are withdrawn.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{RowSet, Snapshot, SourceState, WindowState};
use crate::model::Inventory;
use crate::plan::{Plan, QueryColumns, Source, Window};

impl Snapshot {
    /// Returns a snapshot of the sources of `plan`, with the values of the same sources in
    /// `previous`.
    #[must_use]
    pub fn restore(plan: &Plan, previous: &Self, now: Timestamp) -> Self {
        let previous: HashMap<_, _> = previous
            .sources
            .iter()
            .map(|state| (key(&state.source), state))
            .collect();
        let sources = plan.sources.iter().map(|source| {
            let empty = SourceState::empty(Arc::clone(source), now);
            let previous = previous.get(&key(source)).copied();
            Arc::new(match previous {
                Some(previous) if queries_match(source, &previous.source) => {
                    empty.restore(previous, now)
                }
                _ => empty,
            })
        });
        let mut next = Self {
            sources: sources.collect(),
        };
        next.mark_all_duplicates();
        next
    }
}

impl Snapshot {
    /// Returns the snapshot with all times of polls moved by `step`, after the clock was set by it.
    #[must_use]
    pub fn shifted(&self, step: SignedDuration) -> Self {
        let sources = self.sources.iter();
        Self {
            sources: sources.map(|state| Arc::new(state.shifted(step))).collect(),
        }
    }
}

impl SourceState {
    fn shifted(&self, step: SignedDuration) -> Self {
        // A time beyond the calendar stays as it is.
        let shift = |time: Timestamp| time.checked_add(step).unwrap_or(time);
        let shift_rows = |row_set: &mut Option<Arc<RowSet>>| {
            if let Some(row_set) = row_set {
                let row_set = Arc::make_mut(row_set);
                row_set.fetched_at = shift(row_set.fetched_at);
                row_set.missing.shift(step);
            }
        };
        let mut next = self.clone();
        if let Some(inventory) = &mut next.inventory {
            let inventory = Arc::make_mut(inventory);
            inventory.fetched_at = shift(inventory.fetched_at);
            inventory.account_fetched_at = shift(inventory.account_fetched_at);
        }
        next.discovery_success = next.discovery_success.map(shift);
        next.recent_reads.iter_mut().for_each(|at| *at = shift(*at));
        for window in &mut next.windows {
            shift_rows(&mut window.delivery);
            shift_rows(&mut window.conversions);
            if let Some(total) = &mut window.account_spend {
                let total = Arc::make_mut(total);
                total.fetched_at = shift(total.fetched_at);
            }
            window.last_success = window.last_success.map(shift);
            window.next_poll = window.next_poll.map(shift);
            window.delivery_success = window.delivery_success.map(shift);
            window.conversions_success = window.conversions_success.map(shift);
        }
        next
    }

    /// Returns the inventory of `previous` for this source. If its campaigns were selected by another
    /// name pattern, it can lack some and must be fetched again.
    fn inventory_of(&self, previous: &Self) -> Option<Arc<Inventory>> {
        let is_same = previous.source.campaign_name == self.source.campaign_name;
        previous.inventory.clone().filter(|_| is_same)
    }

    /// Fills in the values of `previous`, the state of a source with the same queries.
    fn restore(mut self, previous: &Self, now: Timestamp) -> Self {
        // If the clock was set back, the remaining time until a future time is unknown.
        let clock_went_back = previous.past_times().any(|time| time > now);
        let future = |time: Option<Timestamp>| time.filter(|_| !clock_went_back);
        self.inventory = self
            .inventory_of(previous)
            .map(|inventory| inventory_not_after(inventory, now));
        self.discovery_success = previous.discovery_success.map(|time| time.min(now));
        self.discovery_error.clone_from(&previous.discovery_error);
        self.query_mode = previous.query_mode;
        self.recent_reads.clone_from(&previous.recent_reads);
        self.refusals.clone_from(&previous.refusals);
        self.paused_until = future(previous.paused_until).filter(|until| *until > now);
        for (window, planned) in self.windows.iter_mut().zip(&self.source.windows) {
            if let Some(state) = previous.window(planned) {
                let row_set = |row_set: &Option<Arc<RowSet>>| {
                    row_set
                        .clone()
                        .map(|row_set| row_set_not_after(row_set, now))
                };
                *window = WindowState {
                    delivery: row_set(&state.delivery),
                    conversions: row_set(&state.conversions),
                    account_spend: state.account_spend.clone().filter(|total| {
                        total.fetched_at <= now && self.source.exports_account_spend()
                    }),
                    last_success: state.last_success.map(|time| time.min(now)),
                    delivery_success: state.delivery_success.map(|time| time.min(now)),
                    conversions_success: state.conversions_success.map(|time| time.min(now)),
                    next_poll: future(state.next_poll),
                    interval: window.interval,
                    stale_after: window.stale_after,
                    ..state.clone()
                };
            }
        }
        self.expire(now).unwrap_or(self)
    }

    /// Returns the state of the window with the same name and dates.
    fn window(&self, planned: &Window) -> Option<&WindowState> {
        let mut windows = self.source.windows.iter().zip(&self.windows);
        windows
            .find(|(window, _)| window.name == planned.name && window.dates == planned.dates)
            .map(|(_, state)| state)
    }

    /// Iterates over the times that are not after the current time unless the clock was set back.
    fn past_times(&self) -> impl Iterator<Item = Timestamp> {
        let windows = self.windows.iter().flat_map(|window| {
            let row_sets = [&window.delivery, &window.conversions];
            let fetched_at = row_sets
                .into_iter()
                .flatten()
                .map(|row_set| row_set.fetched_at);
            fetched_at.chain(window.last_success)
        });
        let inventory = self.inventory.as_ref();
        windows.chain(inventory.map(|inventory| inventory.fetched_at))
    }
}

/// Returns the business and name of a source, which are unique in a config.
fn key(source: &Source) -> (&str, &str) {
    (&source.business, &source.name)
}

/// Returns whether both sources have the same queries, apart from their windows.
fn queries_match(a: &Source, b: &Source) -> bool {
    let query = |source: &Source| (source.level, source.conversions);
    query(a) == query(b) && a.kind == b.kind && same_columns(&a.columns, &b.columns)
}

/// Returns whether the columns have the same values. Metric names and HELP texts can differ.
fn same_columns(a: &QueryColumns, b: &QueryColumns) -> bool {
    a.action_types == b.action_types && a.delivery().eq(b.delivery())
}

fn row_set_not_after(mut row_set: Arc<RowSet>, now: Timestamp) -> Arc<RowSet> {
    if row_set.fetched_at > now {
        let row_set = Arc::make_mut(&mut row_set);
        row_set
            .missing
            .shift(now.duration_since(row_set.fetched_at));
        row_set.fetched_at = now;
    }
    row_set
}

fn inventory_not_after(mut inventory: Arc<Inventory>, now: Timestamp) -> Arc<Inventory> {
    if inventory.fetched_at > now {
        Arc::make_mut(&mut inventory).fetched_at = now;
    }
    inventory
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use crate::config::{ConfigLabels, ExtraFieldConfig, QuestionMode, WindowThresholds, ZeroFill};
    use crate::model::{
        AccountId, AdAccount, Campaign, DatePreset, Inventory, Level, ListingMode, MajorUnits,
        ObjectId, ValueKind, WindowDates,
    };
    use crate::plan::{ExportLimits, Plan, QueryColumns, Source, SourceKind, Window};
    use crate::snapshot::{AccountSpend, PollResult, QueryResult, Snapshot};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minute * 60).unwrap()
    }

    fn window(name: &str, preset: &str) -> Window {
        let dates = WindowDates::Preset(DatePreset::parse(preset).unwrap());
        Window::new(name, dates, None, 15 * MINUTE, HOUR)
    }

    fn account() -> Source {
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
            zero_fill_max_age: 3 * HOUR,
            conversions: true,
            questions: QuestionMode::Auto,
            columns: QueryColumns {
                extra: [extra("sent", "sent", ValueKind::Count)].into(),
                action_types: ["purchase".to_owned()].into(),
            },
            windows: vec![window("today", "today"), window("month", "last_30d")],
            labels: ConfigLabels::default(),
            thresholds: WindowThresholds::default(),
            export_limits: ExportLimits::default(),
            sibling_accounts: [].into(),
        }
    }

    fn extra(field: &str, metric: &str, kind: ValueKind) -> ExtraFieldConfig {
        ExtraFieldConfig {
            field: field.to_owned(),
            metric: metric.to_owned(),
            kind,
            help: metric.to_owned(),
        }
    }

    fn campaign(id: &str) -> Source {
        Source {
            kind: SourceKind::Campaign(ObjectId::parse(id).unwrap()),
            name: id.into(),
            ..account()
        }
    }

    fn plan(sources: impl IntoIterator<Item = Source>) -> Plan {
        let sources = sources.into_iter().map(Arc::new).collect();
        Plan {
            sources,
            configured: 0,
        }
    }

    fn inventory(fetched_at: Timestamp) -> Arc<Inventory> {
        let campaign = Campaign {
            name: "Seven".into(),
            status: "ACTIVE".into(),
            is_message: true,
            ..Campaign::unknown(ObjectId::parse("7").unwrap())
        };
        Arc::new(Inventory {
            fetched_at,
            account: AdAccount::unknown(AccountId::parse("1").unwrap()),
            campaigns: vec![campaign],
            archived: vec![],
            other_campaigns: vec![],
            missing: vec![],
            listing: ListingMode::default(),
            account_fetched_at: fetched_at,
            entities: vec![],
            max_rows: 1,
        })
    }

    /// Returns a snapshot in which both windows of every source were polled at `at`.
    fn polled(plan: &Plan, at: Timestamp) -> Snapshot {
        let mut snapshot = Snapshot::empty(plan, at);
        for source_idx in 0..snapshot.sources.len() {
            for window_idx in 0..2 {
                let empty_result = QueryResult {
                    rows: Some(vec![]),
                    ..QueryResult::default()
                };
                let mut inventory = inventory(at);
                if let SourceKind::Campaign(id) = &snapshot.sources[source_idx].source.kind {
                    Arc::make_mut(&mut inventory).campaigns[0].id = id.clone();
                }
                let poll = PollResult {
                    inventory: Some(inventory),
                    delivery: empty_result.clone(),
                    conversions: Some(empty_result),
                    ..PollResult::empty(window_idx, at)
                };
                let mut next = snapshot.sources[source_idx].apply(poll);
                next.windows[window_idx].next_poll = Some(at + 15 * MINUTE);
                snapshot = snapshot.with_source(source_idx, next);
            }
        }
        snapshot
    }

    #[test]
    fn unchanged_plan_restores_equal_snapshot() {
        let plan = plan([account(), campaign("7"), campaign("8")]);
        let before = polled(&plan, at(0));
        let duplicates: Vec<_> = before.sources.iter().map(|state| state.duplicate).collect();
        assert_eq!(duplicates, [false, true, false]);
        assert_eq!(Snapshot::restore(&plan, &before, at(30)), before);
    }

    #[test]
    fn changed_display_settings_keep_row_sets() {
        let before = polled(&plan([account()]), at(0));
        let mut changed = account();
        changed.zero_fill = ZeroFill::All;
        changed.columns.extra = [extra("sent", "messages_sent", ValueKind::Count)].into();
        let dates = changed.windows[0].dates;
        changed.windows[0] = Window::new("today", dates, None, MINUTE, 2 * HOUR);
        let after = Snapshot::restore(&plan([changed.clone()]), &before, at(30));
        let (state, previous) = (&after.sources[0], &before.sources[0]);
        assert_eq!(*state.source, changed);
        assert_eq!(state.windows[0].stale_after, 2 * HOUR);
        assert_eq!(state.windows[0].delivery, previous.windows[0].delivery);
        assert_eq!(state.windows[1], previous.windows[1]);
        assert!(after.is_ready());
    }

    #[test]
    fn changed_queries_start_empty() {
        let before = polled(&plan([account()]), at(0));
        let changes: [fn(&mut Source); 8] = [
            |source| source.business = "other".into(),
            |source| source.level = Level::Ad,
            |source| source.conversions = false,
            |source| source.columns.extra = [].into(),
            |source| source.columns.extra = [extra("sent", "sent", ValueKind::Money)].into(),
            |source| source.columns.action_types = ["lead".to_owned()].into(),
            |source| source.kind = SourceKind::Campaign(ObjectId::parse("1").unwrap()),
            |source| {
                source.kind = SourceKind::AdAccount {
                    id: AccountId::parse("1").unwrap(),
                    campaign_allowlist: vec![ObjectId::parse("7").unwrap()],
                };
            },
        ];
        for change in changes {
            let mut source = account();
            change(&mut source);
            let plan = plan([source]);
            let after = Snapshot::restore(&plan, &before, at(30));
            assert_eq!(after, Snapshot::empty(&plan, at(30)));
        }
    }

    #[test]
    fn account_spend_is_dropped_with_separate_queries() {
        let before = polled(&plan([account()]), at(0));
        let total = AccountSpend {
            spend: MajorUnits(38.87),
            currency: "EUR".into(),
            attribution: None,
            dates: None,
            fetched_at: at(0),
            valid_until: None,
        };
        let state = before.sources[0].with_account_spend(0, total);
        let before = before.with_source(0, state);
        for (questions, expected) in [
            (QuestionMode::Auto, Some(MajorUnits(38.87))),
            (QuestionMode::Separate, None),
        ] {
            let source = Source {
                questions,
                ..account()
            };
            let after = Snapshot::restore(&plan([source]), &before, at(1));
            assert_eq!(after.sources[0].account_spend(0), expected);
            let unattributed = after.sources[0].unattributed_spend(0);
            assert_eq!(unattributed, expected, "nothing is attributed to a row");
        }
    }

    #[test]
    fn windows_are_matched_by_name_and_dates() {
        let before = polled(&plan([account()]), at(0));
        let mut source = account();
        source.windows = vec![
            window("month", "last_30d"),
            window("today", "yesterday"),
            window("new", "today"),
        ];
        let after = Snapshot::restore(&plan([source]), &before, at(30));
        let windows = &after.sources[0].windows;
        assert_eq!(windows[0], before.sources[0].windows[1]);
        let attempted: Vec<_> = windows.iter().map(|window| window.attempted).collect();
        assert_eq!(attempted, [true, false, false]);
        assert!(!after.is_ready());
    }

    #[test]
    fn times_are_shifted_by_the_step_of_the_clock() {
        let plan = plan([account()]);
        let day = 24 * 60;
        for minutes in [day, -day] {
            let step = SignedDuration::from_mins(minutes);
            let shifted = polled(&plan, at(0)).shifted(step);
            assert_eq!(shifted, polled(&plan, at(minutes)));
            assert_eq!(shifted.expire(at(minutes + 1)), None);
        }
    }

    #[test]
    fn stale_row_sets_are_withdrawn_and_poll_status_stays() {
        let plan = plan([account()]);
        let before = polled(&plan, at(0));
        let after = Snapshot::restore(&plan, &before, at(120));
        for window in &after.sources[0].windows {
            assert!(window.delivery.is_none() && window.conversions.is_none());
            assert!(window.attempted && !window.up);
            assert_eq!(window.last_success, Some(at(0)));
        }
        assert!(after.sources[0].inventory.is_some());
    }

    #[test]
    fn duplicate_is_exported_again_without_its_account() {
        let before = polled(&plan([account(), campaign("7")]), at(0));
        assert!(before.sources[1].duplicate);
        let after = Snapshot::restore(&plan([campaign("7")]), &before, at(1));
        assert_eq!(after.sources.len(), 1);
        assert!(!after.sources[0].duplicate);
    }

    #[test]
    fn ended_pause_is_dropped() {
        let plan = plan([account()]);
        let mut before = polled(&plan, at(0));
        Arc::make_mut(&mut before.sources[0]).paused_until = Some(at(5));
        let paused_until = |now| Snapshot::restore(&plan, &before, now).sources[0].paused_until;
        assert_eq!(paused_until(at(4)), Some(at(5)));
        assert_eq!(paused_until(at(5)), None);
    }

    #[test]
    fn times_after_clock_set_back_are_at_most_now() {
        let plan = plan([account()]);
        let mut before = polled(&plan, at(0));
        Arc::make_mut(&mut before.sources[0]).paused_until = Some(at(5));
        let now = at(-1000);
        let after = Snapshot::restore(&plan, &before, now);
        let state = &after.sources[0];
        assert_eq!(state.inventory.as_ref().unwrap().fetched_at, now);
        assert_eq!(state.paused_until, None);
        for window in &state.windows {
            assert_eq!(window.delivery.as_ref().unwrap().fetched_at, now);
            assert_eq!(window.conversions.as_ref().unwrap().fetched_at, now);
            assert_eq!(window.last_success, Some(now));
            assert_eq!(window.next_poll, None);
        }
    }
}
