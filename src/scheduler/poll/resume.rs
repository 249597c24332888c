//! Continuation of queries that a limit or an outage stopped: the next poll requests only what was not answered.
//!
//! An answer counts until its window is due again. Only windows with explicit dates are continued, because a preset can
//! have other dates by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{ErrorReason, ObjectId};
use crate::plan::{DateSpan, QueryKind};
use crate::scheduler::query_plan::WindowGroup;
use crate::snapshot::{PollResult, QueryResult};

/// Ids of campaigns that earlier polls answered, by kind of query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::scheduler) struct AnsweredCampaigns {
    delivery: BTreeSet<Box<str>>,
    conversions: BTreeSet<Box<str>>,
}

/// Where the queries of a window continue.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::scheduler) struct ResumePoint {
    answered: AnsweredCampaigns,
    /// Dates of the answers.
    dates: DateSpan,
    /// End of the first poll that was stopped.
    stopped_at: Instant,
}

impl AnsweredCampaigns {
    /// Returns the campaigns that a query of this kind need not request.
    pub(super) fn of_kind(&self, kind: QueryKind) -> BTreeSet<Box<str>> {
        match kind {
            QueryKind::Delivery => self.delivery.clone(),
            QueryKind::Conversions => self.conversions.clone(),
            QueryKind::Joined => &self.delivery & &self.conversions,
            QueryKind::Spend => BTreeSet::new(),
        }
    }
}

impl ResumePoint {
    /// Returns where the next poll continues after a result; `None` if it begins again. `campaigns` are those of the
    /// source, `previous` is the point at which this poll continued.
    pub(in crate::scheduler) fn after(
        result: &PollResult,
        campaigns: &[ObjectId],
        previous: Option<Self>,
        now: Instant,
    ) -> Option<Self> {
        let is_stopped = matches!(
            result.error()?.reason,
            ErrorReason::Throttled | ErrorReason::Unavailable
        );
        let conversions = result.conversions.as_ref();
        let dates = result.delivery.dates;
        let dates = dates.or(conversions.and_then(|result| result.dates));
        let previous =
            previous.filter(|previous| dates.is_none_or(|dates| dates == previous.dates));
        let dates = dates.or(previous.as_ref().map(|previous| previous.dates))?;
        let (before, stopped_at) = previous.map_or((AnsweredCampaigns::default(), now), |point| {
            (point.answered, point.stopped_at)
        });
        let answered = |result: Option<&QueryResult>, before: BTreeSet<Box<str>>| match result {
            Some(result) if result.rows.is_some() => {
                let ids = campaigns.iter().map(|id| Box::from(id.as_str()));
                ids.filter(|id| !result.unanswered.contains(id)).collect()
            }
            _ => before,
        };
        let answered = AnsweredCampaigns {
            delivery: answered(Some(&result.delivery), before.delivery),
            conversions: answered(conversions, before.conversions),
        };
        (is_stopped && answered != AnsweredCampaigns::default()).then_some(Self {
            answered,
            dates,
            stopped_at,
        })
    }

    /// Whether the answers count, because the window with this interval is not due again.
    pub(in crate::scheduler) fn is_current(&self, interval: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.stopped_at) < interval
    }
}

/// Divides windows into sets that continue at the same place, those that begin again last.
pub(super) fn windows_by_progress(
    window_idxs: impl Iterator<Item = usize>,
    points: &BTreeMap<usize, ResumePoint>,
) -> Vec<Vec<usize>> {
    let mut sets: Vec<(&AnsweredCampaigns, Vec<usize>)> = Vec::new();
    let mut others = Vec::new();
    for window_idx in window_idxs {
        let Some(ResumePoint { answered, .. }) = points.get(&window_idx) else {
            others.push(window_idx);
            continue;
        };
        match sets.iter_mut().find(|(other, _)| *other == answered) {
            Some((_, set)) => set.push(window_idx),
            None => sets.push((answered, vec![window_idx])),
        }
    }
    let sets = sets.into_iter().map(|(_, set)| set);
    sets.chain((!others.is_empty()).then_some(others)).collect()
}

/// Returns the campaigns that need not be requested for a group; none unless the answers have the dates of its windows.
pub(super) fn answered_campaigns(
    group: &WindowGroup,
    points: &BTreeMap<usize, ResumePoint>,
) -> AnsweredCampaigns {
    let mut windows = group.windows.iter();
    let is_of_dates = !group.ranges.is_empty()
        && windows.all(|window| {
            let point = points.get(&window.window_idx);
            point.is_some_and(|point| window.accepted.first() == Some(&point.dates))
        });
    let first = group.windows.first().filter(|_| is_of_dates);
    let point = first.and_then(|window| points.get(&window.window_idx));
    point.map_or_else(AnsweredCampaigns::default, |point| point.answered.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use jiff::Timestamp;
    use jiff::civil::date;
    use tokio::time::Instant;

    use super::ResumePoint;
    use crate::model::{ErrorReason, ObjectId, PollError};
    use crate::plan::QueryKind;
    use crate::snapshot::{PollResult, QueryResult};

    fn set(ids: &[&str]) -> BTreeSet<Box<str>> {
        ids.iter().copied().map(Box::from).collect()
    }

    fn campaigns() -> Vec<ObjectId> {
        ["1", "2", "3"]
            .map(|id| ObjectId::parse(id).unwrap())
            .into()
    }

    fn error(reason: ErrorReason) -> Option<PollError> {
        Some(PollError::new(reason, "test"))
    }

    /// Returns a query result of one day with rows, and without those of some campaigns.
    fn part(day: i8, unanswered: &[&str], error: Option<PollError>) -> QueryResult {
        QueryResult {
            rows: Some(Vec::new()),
            dates: Some((date(2026, 11, day), date(2026, 11, day))),
            unanswered: set(unanswered),
            error,
            ..QueryResult::default()
        }
    }

    fn result(delivery: QueryResult, conversions: Option<QueryResult>) -> PollResult {
        PollResult {
            delivery,
            conversions,
            ..PollResult::empty(0, Timestamp::UNIX_EPOCH)
        }
    }

    fn after(result: &PollResult, previous: Option<ResumePoint>) -> Option<ResumePoint> {
        ResumePoint::after(result, &campaigns(), previous, Instant::now())
    }

    fn answered(point: Option<&ResumePoint>, kind: QueryKind) -> BTreeSet<Box<str>> {
        point.unwrap().answered.of_kind(kind)
    }

    #[test]
    fn only_stopped_queries_continue() {
        for (reason, continues) in [
            (ErrorReason::Throttled, true),
            (ErrorReason::Unavailable, true),
            (ErrorReason::Rejected, false),
        ] {
            let result = result(part(23, &["2"], error(reason)), None);
            assert_eq!(after(&result, None).is_some(), continues, "{reason:?}");
        }
        let complete = result(part(23, &[], None), Some(part(23, &[], None)));
        assert_eq!(after(&complete, None), None);
        let failed = QueryResult::failed(error(ErrorReason::Throttled).unwrap());
        assert_eq!(after(&result(failed, None), None), None);
    }

    #[test]
    fn second_stop_keeps_what_was_answered() {
        let throttled = || error(ErrorReason::Throttled);
        let first = result(
            part(23, &["2", "3"], throttled()),
            Some(part(23, &["2", "3"], throttled())),
        );
        let first = after(&first, None);
        assert_eq!(answered(first.as_ref(), QueryKind::Joined), set(&["1"]));
        let nothing = result(QueryResult::failed(throttled().unwrap()), None);
        assert_eq!(after(&nothing, first.clone()), first);
        let delivery = result(
            part(23, &[], None),
            Some(QueryResult::failed(throttled().unwrap())),
        );
        let second = after(&delivery, first.clone());
        let second = second.as_ref();
        assert_eq!(answered(second, QueryKind::Delivery), set(&["1", "2", "3"]));
        assert_eq!(answered(second, QueryKind::Conversions), set(&["1"]));
        assert_eq!(answered(second, QueryKind::Joined), set(&["1"]));
    }

    #[test]
    fn answers_of_another_day_do_not_count() {
        let throttled = || error(ErrorReason::Throttled);
        let monday = after(
            &result(part(23, &["2"], None), Some(part(23, &["2"], throttled()))),
            None,
        );
        let failed = Some(QueryResult::failed(throttled().unwrap()));
        let tuesday = after(&result(part(24, &["3"], None), failed), monday);
        assert_eq!(
            answered(tuesday.as_ref(), QueryKind::Delivery),
            set(&["1", "2"])
        );
        assert_eq!(answered(tuesday.as_ref(), QueryKind::Conversions), set(&[]));
    }

    #[test]
    fn answers_count_until_the_window_is_due() {
        let stopped = result(part(23, &["2"], error(ErrorReason::Throttled)), None);
        let point = after(&stopped, None).unwrap();
        let minute = Duration::from_secs(60);
        assert!(point.is_current(15 * minute, point.stopped_at + 14 * minute));
        assert!(!point.is_current(15 * minute, point.stopped_at + 15 * minute));
    }
}
