//! Search of a query mode that the API accepts: from one request for all windows to two requests per window.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::partial_result::GroupRows;
use super::resume::{answered_campaigns, windows_by_progress};
use super::window_result::is_open;
use super::{Poll, is_final};
use crate::config::QuestionMode;
use crate::graph::{ApiError, ErrorKind};
use crate::plan::{DateMode, DateSpan, QueryKind, QueryMode};
use crate::platform::clock;
use crate::scheduler::mode_state::ModeState;
use crate::scheduler::query_plan::{WindowGroup, window_groups};
use crate::snapshot::{PollResult, QueryResult};

/// Why a poll continues in another mode.
#[derive(Debug)]
pub(super) enum Objection {
    /// The API refused the query.
    Refused(ApiError),
    /// The result is too large at every page size.
    TooLarge(ApiError),
    /// The API fails for the joined query.
    Failing(ApiError),
    /// The API answered with other, doubled or missing ranges.
    OtherDates(BTreeSet<Box<str>>),
}

impl Poll<'_> {
    /// Polls in the first mode that the API accepts.
    pub(super) async fn run_adaptively(&mut self, state: &mut ModeState) {
        let start = state.begin(Instant::now());
        let mut mode = start;
        let mut tried = vec![start];
        let mut suspects: BTreeSet<Box<str>> = BTreeSet::new();
        // Whether the mode that is found is used by later polls too.
        let mut is_lasting = true;
        let mut is_failing = false;
        let mut first_error: Option<ApiError> = None;
        loop {
            let is_last = self.is_probe || !state.should_adapt();
            let Some(objection) = self.run_mode(mode, state, is_last).await else {
                break;
            };
            let next = match &objection {
                Objection::OtherDates(keys) => {
                    suspects.extend(keys.iter().cloned());
                    mode.with_simpler_dates()
                }
                Objection::Refused(error) => {
                    // The start of one window is too long ago: only its own request fails.
                    is_lasting &= error.error.code != Some(3018);
                    next_after_refusal(start, mode, &tried, &error.error.message)
                }
                Objection::TooLarge(_) => next_lighter(start, &tried),
                Objection::Failing(_) => {
                    is_failing = true;
                    mode.with_separate_queries()
                }
            };
            let error = match objection {
                Objection::Refused(error)
                | Objection::TooLarge(error)
                | Objection::Failing(error) => Some(error),
                Objection::OtherDates(_) => None,
            };
            if let Some(error) = error {
                first_error.get_or_insert(error);
            }
            match next.filter(|next| !tried.contains(next)) {
                Some(next) => {
                    tried.push(next);
                    mode = next;
                }
                None if !suspects.is_empty() && first_error.is_none() => {
                    // These campaigns have other dates in every mode, so the first mode is as good as the last.
                    state.ignore_dates_of(std::mem::take(&mut suspects));
                    mode = start;
                    tried = QueryMode::ALL.to_vec();
                }
                None => {
                    // No mode is accepted. The error that is reported is that of the preferred one.
                    if let Some(error) = first_error {
                        state.record_refusal();
                        for result in self.results.values_mut().filter(|result| is_open(result)) {
                            result.delivery = QueryResult::failed(error.error.clone());
                        }
                    }
                    return;
                }
            }
        }
        if !self.has_answer() {
            return;
        }
        // Conversions that were answered separately mean that the joined query failed by chance.
        let conversions_failed = |result: &PollResult| {
            let conversions = result.conversions.as_ref();
            conversions.is_some_and(|result| result.error.is_some())
        };
        is_lasting &= !is_failing || self.results.values().any(conversions_failed);
        if mode == start || is_lasting {
            state.accept(mode);
        }
    }

    /// Polls all windows that have no result yet. Stops at the first objection to the mode, unless `is_last`; then
    /// objections are errors.
    pub(super) async fn run_mode(
        &mut self,
        mode: QueryMode,
        state: &mut ModeState,
        is_last: bool,
    ) -> Option<Objection> {
        let source = Arc::clone(&self.source);
        let timezone = self
            .inventory
            .as_ref()
            .and_then(|inventory| inventory.account.timezone.clone());
        let open: Vec<usize> = self
            .results
            .iter()
            .filter(|(_, result)| is_open(result))
            .map(|(window_idx, _)| *window_idx)
            .collect();
        let dates = match source.questions {
            QuestionMode::Auto => mode.dates,
            QuestionMode::Separate => DateMode::DatePreset,
        };
        let now = clock::now();
        let sets = windows_by_progress(open.into_iter(), &self.resume_points);
        let groups = sets.into_iter().flat_map(|window_idxs| {
            let window_idxs = window_idxs.into_iter();
            window_groups(&source, window_idxs, dates, timezone.as_ref(), now)
        });
        let groups: Vec<WindowGroup> = groups
            .map(|group| WindowGroup {
                answered: answered_campaigns(&group, &self.resume_points),
                ..group
            })
            .collect();
        for group in groups {
            let mut kinds = source.query_kinds_in(mode).to_vec();
            if kinds == [QueryKind::Joined] && self.queries(&group, QueryKind::Joined).is_none() {
                kinds = source.query_kinds().to_vec();
            }
            for kind in kinds {
                let fetched = match self.fetch_kind(&group, kind).await {
                    Ok(fetched) => fetched,
                    Err(failure)
                        if is_final(failure.error.kind)
                            || self.is_probe && failure.error.kind == ErrorKind::Unavailable =>
                    {
                        self.final_error.get_or_insert(failure.error.clone());
                        self.fail_group(&group, kind, failure);
                        return None;
                    }
                    Err(failure) => {
                        let error = &failure.error;
                        // Delivery, or a part of the query, was accepted in this mode, so the mode is not the cause.
                        // A campaign that is too heavy by itself needs a lighter mode although others were accepted.
                        let is_part_accepted =
                            failure.part.is_some() && error.kind != ErrorKind::TooLarge;
                        let is_accepted = kind == QueryKind::Conversions || is_part_accepted;
                        let objection = match error.kind {
                            _ if is_last || is_accepted => None,
                            ErrorKind::Rejected => Some(Objection::Refused(error.clone())),
                            ErrorKind::TooLarge => Some(Objection::TooLarge(error.clone())),
                            ErrorKind::Unavailable | ErrorKind::InvalidResponse
                                if kind == QueryKind::Joined
                                    && (error.error.code.is_some() || error.may_be_heavy())
                                    && state.should_try_separately() =>
                            {
                                Some(Objection::Failing(error.clone()))
                            }
                            _ => None,
                        };
                        if objection.is_some() {
                            return objection;
                        }
                        let is_outage = failure.part.is_none()
                            && kind.has_delivery()
                            && error.kind == ErrorKind::Unavailable;
                        self.fail_group(&group, kind, failure);
                        if is_outage {
                            state.record_outage();
                            if source.questions == QuestionMode::Auto {
                                break;
                            }
                        }
                        continue;
                    }
                };
                let Some(mut fetched) = fetched else { continue };
                fetched
                    .unexplained_dates
                    .retain(|key| !state.ignores_dates(key));
                let has_other_dates = !fetched.unexplained_dates.is_empty()
                    || (fetched.has_doubled_rows && group.ranges.len() > 1);
                if !is_last
                    && !group.ranges.is_empty()
                    && (has_other_dates
                        || self.is_range_missing(&group, kind, &fetched, state).await)
                {
                    return Some(Objection::OtherDates(fetched.unexplained_dates));
                }
                self.store(&group, kind, fetched);
            }
        }
        None
    }

    /// Returns whether the API left out one of several ranges. A range without rows is requested again once, because
    /// nothing may have happened in it.
    pub(super) async fn is_range_missing(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
        fetched: &GroupRows,
        state: &mut ModeState,
    ) -> bool {
        let has_rows = |range: &DateSpan| {
            let accepted = group
                .windows
                .iter()
                .find(|window| window.accepted.first() == Some(range));
            let accepted = accepted.map_or(&[][..], |window| &window.accepted);
            fetched
                .rows
                .iter()
                .any(|row| accepted.contains(&(row.start, row.stop)))
        };
        let (full, empty): (Vec<DateSpan>, Vec<DateSpan>) = group
            .ranges
            .iter()
            .copied()
            .partition(|range| has_rows(range));
        if group.ranges.len() < 2 || full.is_empty() {
            return false;
        }
        // Days with activity are part of a longer range too.
        let is_within =
            |inner: &DateSpan, outer: &DateSpan| outer.0 <= inner.0 && inner.1 <= outer.1;
        if empty
            .iter()
            .any(|outer| full.iter().any(|inner| is_within(inner, outer)))
        {
            return true;
        }
        if state.ranges_verified {
            return false;
        }
        for range in empty {
            let windows = group.windows.iter();
            let single = WindowGroup {
                windows: windows
                    .filter(|window| window.accepted.first() == Some(&range))
                    .cloned()
                    .collect(),
                dates: group.dates,
                ranges: vec![range],
                answered: group.answered.clone(),
            };
            match self.fetch_kind(&single, kind).await {
                Ok(Some(fetched)) if fetched.rows.is_empty() => {}
                Ok(Some(_)) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
        state.ranges_verified = true;
        false
    }
}

/// Returns the mode to try after a result that is too large for every page size and number of campaigns: a request for
/// each window, then the action fields apart, then both.
fn next_lighter(start: QueryMode, tried: &[QueryMode]) -> Option<QueryMode> {
    let by_window = start
        .with_simpler_dates()
        .filter(|_| start.dates == DateMode::TimeRanges);
    let apart = start.with_separate_queries();
    let both = by_window.and_then(QueryMode::with_separate_queries);
    let mut modes = [by_window, apart, both].into_iter().flatten();
    modes.find(|mode| !tried.contains(mode))
}

/// Returns the mode to try after a refusal. A message that names a parameter excludes the modes that send it.
fn next_after_refusal(
    start: QueryMode,
    refused: QueryMode,
    tried: &[QueryMode],
    message: &str,
) -> Option<QueryMode> {
    let names_dates = message.contains("time_range");
    let names_actions = message.contains("action");
    let order = [
        (true, DateMode::TimeRange),
        (false, DateMode::TimeRanges),
        (false, DateMode::TimeRange),
        (true, DateMode::DatePreset),
        (false, DateMode::DatePreset),
    ];
    order
        .into_iter()
        .map(|(joined, dates)| QueryMode { dates, joined })
        .filter(|mode| !tried.contains(mode))
        .filter(|mode| mode.dates >= start.dates && (start.joined || !mode.joined))
        .find(|mode| {
            let is_refused = names_dates && mode.dates == refused.dates;
            !(is_refused || names_actions && mode.joined)
        })
}
