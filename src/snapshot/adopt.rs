//! What a new plan takes over from what was known: after a restart, and after a reload.
//!
//! A source that is asked the same questions as before keeps its answers and their true ages; all
//! else begins unknown. Labels, thresholds and intervals may change freely, since answers do not
//! depend on them. Nothing taken over is younger than now, or older than the new plan believes.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Answer, Known, Snapshot, WindowKnown};
use crate::listing::Listing;
use crate::plan::{Columns, Plan, Source, Window};

impl Snapshot {
    /// What is known of that plan's sources, as far as `previous` knew it, seen from `now`.
    #[must_use]
    pub fn adopt(plan: &Plan, previous: &Self, now: Timestamp) -> Self {
        let before: HashMap<_, _> = previous
            .sources
            .iter()
            .map(|known| (name(&known.source), known))
            .collect();
        let sources = plan.sources.iter().map(|source| {
            let unknown = Known::unknown(Arc::clone(source), now);
            let before = before.get(&name(source)).copied();
            Arc::new(match before {
                Some(before) if asks_the_same(source, &before.source) => unknown.adopt(before, now),
                _ => unknown,
            })
        });
        let mut next = Self {
            sources: sources.collect(),
        };
        next.settle_all();
        next
    }
}

impl Known {
    /// Fills in what was known of the same source.
    fn adopt(mut self, before: &Self, now: Timestamp) -> Self {
        // After a clock was set back nobody knows how far ahead a time ahead really is.
        let clock_went_back = before.past().any(|at| at > now);
        let ahead = |at: Option<Timestamp>| at.filter(|_| !clock_went_back);
        self.listing = before.listing.clone().map(|listing| read_by(listing, now));
        self.held_until = ahead(before.held_until).filter(|until| *until > now);
        for (window, planned) in self.windows.iter_mut().zip(&self.source.windows) {
            if let Some(known) = before.window(planned) {
                *window = WindowKnown {
                    delivery: known
                        .delivery
                        .clone()
                        .map(|answer| answered_by(answer, now)),
                    conversions: known
                        .conversions
                        .clone()
                        .map(|answer| answered_by(answer, now)),
                    last_success: known.last_success.map(|at| at.min(now)),
                    next_poll: ahead(known.next_poll),
                    stale_after: window.stale_after,
                    ..known.clone()
                };
            }
        }
        self.withdraw(now).unwrap_or(self)
    }

    /// What is known of a window of that name and those dates.
    fn window(&self, wanted: &Window) -> Option<&WindowKnown> {
        let mut windows = self.source.windows.iter().zip(&self.windows);
        windows
            .find(|(window, _)| window.name == wanted.name && window.dates == wanted.dates)
            .map(|(_, known)| known)
    }

    /// Every time in it that cannot be ahead of a clock that never went back.
    fn past(&self) -> impl Iterator<Item = Timestamp> {
        let answered = self.windows.iter().flat_map(|window| {
            let answers = [&window.delivery, &window.conversions];
            let answers = answers.into_iter().flatten().map(|answer| answer.at);
            answers.chain(window.last_success)
        });
        answered.chain(self.listing.as_ref().map(|listing| listing.at))
    }
}

/// What the config calls a source; no two share it.
fn name(source: &Source) -> (&str, &str) {
    (&source.business, &source.name)
}

/// Whether answers to the one source's questions answer the other's too.
fn asks_the_same(a: &Source, b: &Source) -> bool {
    let shape = |source: &Source| (source.level, source.conversions);
    shape(a) == shape(b) && a.subject == b.subject && same_numbers(&a.columns, &b.columns)
}

/// Whether the columns hold the same numbers; how a metric is called and explained is free.
fn same_numbers(a: &Columns, b: &Columns) -> bool {
    a.action_types == b.action_types && a.delivery().eq(b.delivery())
}

/// The answer, true of `now` at the latest.
fn answered_by(mut answer: Arc<Answer>, now: Timestamp) -> Arc<Answer> {
    if answer.at > now {
        Arc::make_mut(&mut answer).at = now;
    }
    answer
}

/// The listing, read at `now` at the latest.
fn read_by(mut listing: Arc<Listing>, now: Timestamp) -> Arc<Listing> {
    if listing.at > now {
        Arc::make_mut(&mut listing).at = now;
    }
    listing
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;

    use crate::config::{ExtraField, Labels, Thresholds, ZeroFill};
    use crate::listing::{Account, Campaign, Listing};
    use crate::plan::{Columns, Plan, Source, Subject, Window};
    use crate::row::{AccountId, DatePreset, Dates, Kind, Level, ObjectId};
    use crate::snapshot::{Heard, Polled, Snapshot};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minute * 60).unwrap()
    }

    fn window(name: &str, preset: &str) -> Window {
        let dates = Dates::Preset(DatePreset::parse(preset).unwrap());
        Window::new(name, dates, 15 * MINUTE, HOUR)
    }

    fn account() -> Source {
        let id = AccountId::parse("1").unwrap();
        Source {
            business: "acme".into(),
            name: id.to_string().into(),
            subject: Subject::AdAccount { id, only: vec![] },
            level: Level::Campaign,
            zero_fill: ZeroFill::Active,
            conversions: true,
            columns: Columns {
                extra: [extra("sent", "sent", Kind::Count)].into(),
                action_types: ["purchase".to_owned()].into(),
            },
            windows: vec![window("today", "today"), window("month", "last_30d")],
            labels: Labels::default(),
            thresholds: Thresholds::default(),
            elsewhere: [].into(),
        }
    }

    fn extra(field: &str, metric: &str, kind: Kind) -> ExtraField {
        ExtraField {
            field: field.to_owned(),
            metric: metric.to_owned(),
            kind,
            help: metric.to_owned(),
        }
    }

    fn campaign(id: &str) -> Source {
        let subject = Subject::Campaign(ObjectId::parse(id).unwrap());
        let name = id.into();
        Source {
            subject,
            name,
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

    fn listing(at: Timestamp) -> Arc<Listing> {
        let found = Campaign {
            id: ObjectId::parse("7").unwrap(),
            name: "Seven".into(),
            status: "ACTIVE".into(),
            objective: "".into(),
            is_message: true,
            daily_budget: None,
            lifetime_budget: None,
        };
        Arc::new(Listing {
            at,
            account: Account {
                id: AccountId::parse("1").unwrap(),
                name: "".into(),
                currency: None,
                timezone: None,
            },
            campaigns: vec![found],
            others: vec![],
            members: vec![],
            rows: 1,
        })
    }

    /// Both windows of every source of that plan polled at `at`.
    fn polled(plan: &Plan, at: Timestamp) -> Snapshot {
        let mut snapshot = Snapshot::unknown(plan, at);
        for place in 0..snapshot.sources.len() {
            for window in 0..2 {
                let answer = Heard {
                    rows: Some(vec![]),
                    ..Heard::default()
                };
                let polled = Polled {
                    listing: Some(listing(at)),
                    delivery: answer.clone(),
                    conversions: Some(answer),
                    ..Polled::begun(window, at)
                };
                let mut next = snapshot.sources[place].advance(polled);
                next.windows[window].next_poll = Some(at + 15 * MINUTE);
                snapshot = snapshot.replace(place, next);
            }
        }
        snapshot
    }

    #[test]
    fn what_did_not_change_is_taken_over_as_it_was() {
        let plan = plan([account(), campaign("7"), campaign("8")]);
        let before = polled(&plan, at(0));
        let gives_way: Vec<_> = before.sources.iter().map(|known| known.gives_way).collect();
        assert_eq!(gives_way, [false, true, false]);
        assert_eq!(Snapshot::adopt(&plan, &before, at(30)), before);
    }

    #[test]
    fn what_the_answers_do_not_depend_on_may_change() {
        let before = polled(&plan([account()]), at(0));
        let mut changed = account();
        changed.zero_fill = ZeroFill::All;
        changed.columns.extra = [extra("sent", "messages_sent", Kind::Count)].into();
        let dates = changed.windows[0].dates;
        changed.windows[0] = Window::new("today", dates, MINUTE, 2 * HOUR);
        let after = Snapshot::adopt(&plan([changed.clone()]), &before, at(30));
        let (known, old) = (&after.sources[0], &before.sources[0]);
        assert_eq!(*known.source, changed);
        assert_eq!(known.windows[0].stale_after, 2 * HOUR);
        assert_eq!(known.windows[0].delivery, old.windows[0].delivery);
        assert_eq!(known.windows[1], old.windows[1]);
        assert!(after.is_ready());
    }

    #[test]
    fn other_questions_begin_unknown() {
        let before = polled(&plan([account()]), at(0));
        let changes: [fn(&mut Source); 8] = [
            |source| source.business = "other".into(),
            |source| source.level = Level::Ad,
            |source| source.conversions = false,
            |source| source.columns.extra = [].into(),
            |source| source.columns.extra = [extra("sent", "sent", Kind::Money)].into(),
            |source| source.columns.action_types = ["lead".to_owned()].into(),
            |source| source.subject = Subject::Campaign(ObjectId::parse("1").unwrap()),
            |source| {
                source.subject = Subject::AdAccount {
                    id: AccountId::parse("1").unwrap(),
                    only: vec![ObjectId::parse("7").unwrap()],
                };
            },
        ];
        for change in changes {
            let mut source = account();
            change(&mut source);
            let plan = plan([source]);
            let after = Snapshot::adopt(&plan, &before, at(30));
            assert_eq!(after, Snapshot::unknown(&plan, at(30)));
        }
    }

    #[test]
    fn windows_are_told_by_name_and_dates() {
        let before = polled(&plan([account()]), at(0));
        let mut source = account();
        source.windows = vec![
            window("month", "last_30d"),
            window("today", "yesterday"),
            window("new", "today"),
        ];
        let after = Snapshot::adopt(&plan([source]), &before, at(30));
        let windows = &after.sources[0].windows;
        assert_eq!(windows[0], before.sources[0].windows[1]);
        let tried: Vec<_> = windows.iter().map(|window| window.tried).collect();
        assert_eq!(tried, [true, false, false]);
        assert!(!after.is_ready());
    }

    #[test]
    fn what_is_stale_is_withdrawn_and_what_was_known_of_it_stays() {
        let plan = plan([account()]);
        let before = polled(&plan, at(0));
        let after = Snapshot::adopt(&plan, &before, at(60));
        for window in &after.sources[0].windows {
            assert!(window.delivery.is_none() && window.conversions.is_none());
            assert!(window.tried && window.up);
            assert_eq!(window.last_success, Some(at(0)));
        }
        assert!(after.sources[0].listing.is_some());
    }

    #[test]
    fn removed_sources_vanish_and_those_that_gave_way_come_back() {
        let before = polled(&plan([account(), campaign("7")]), at(0));
        assert!(before.sources[1].gives_way);
        let after = Snapshot::adopt(&plan([campaign("7")]), &before, at(1));
        assert_eq!(after.sources.len(), 1);
        assert!(!after.sources[0].gives_way);
    }

    #[test]
    fn a_hold_that_is_over_is_dropped() {
        let plan = plan([account()]);
        let mut before = polled(&plan, at(0));
        Arc::make_mut(&mut before.sources[0]).held_until = Some(at(5));
        let held = |now| Snapshot::adopt(&plan, &before, now).sources[0].held_until;
        assert_eq!(held(at(4)), Some(at(5)));
        assert_eq!(held(at(5)), None);
    }

    #[test]
    fn after_the_clock_was_set_back_nothing_is_younger_than_now() {
        let plan = plan([account()]);
        let mut before = polled(&plan, at(0));
        Arc::make_mut(&mut before.sources[0]).held_until = Some(at(5));
        let now = at(-1000);
        let after = Snapshot::adopt(&plan, &before, now);
        let known = &after.sources[0];
        assert_eq!(known.listing.as_ref().unwrap().at, now);
        assert_eq!(known.held_until, None);
        for window in &known.windows {
            assert_eq!(window.delivery.as_ref().unwrap().at, now);
            assert_eq!(window.conversions.as_ref().unwrap().at, now);
            assert_eq!(window.last_success, Some(now));
            assert_eq!(window.next_poll, None);
        }
    }
}
