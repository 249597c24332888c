//! One poll of the due windows of a source: discovery if it is due, then the queries.
//!
//! Neither [`PollJob`] nor [`PollOutcome`] shares state with the scheduler: a job owns its input, and the scheduler
//! applies the outcome when the poll has ended. `adaptation` searches a mode that the API accepts, `group_query` sends
//! the queries of windows that are requested together, `partial_result` divides them into parts and keeps those that
//! succeed, `resume` continues those that were stopped, and `window_result` assigns the rows to the windows.

mod adaptation;
mod group_query;
mod partial_result;
mod resume;
mod window_result;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

pub(super) use self::resume::{AnsweredCampaigns, ResumePoint};
use super::mode_state::{ModeState, PageSize, QuerySplits};
use super::query_plan::window_groups;
use crate::config::QuestionMode;
use crate::graph::{
    ApiError, DiscoveryInput, ErrorKind, InvalidParts, QueryAdaptation, Session, discover, fetch,
};
use crate::model::{ErrorReason, InsightField, Inventory, MajorUnits, PollError, Row, RowValue};
use crate::plan::{DateMode, ProbeHistory, QueryMode, Source};
use crate::platform::clock;
use crate::snapshot::{AccountSpend, PollResult, RowSet};

/// Input of a poll.
#[derive(Clone, Debug)]
pub(super) struct PollJob {
    pub(super) source: Arc<Source>,
    /// Windows to poll, each once.
    pub(super) windows: Vec<WindowJob>,
    /// Inventory from the last discovery; `None` before the first one.
    pub(super) inventory: Option<Arc<Inventory>>,
    /// Whether to update the inventory first.
    pub(super) discover: bool,
    /// Whether the poll only probes an API that was unavailable: it ends with the first request that fails.
    pub(super) is_probe: bool,
    pub(super) discovery: DiscoveryMemory,
    /// Whether to request the spend of the whole ad account too.
    pub(super) account_spend: bool,
    pub(super) rejected_fields: Vec<String>,
    /// Campaigns that the last poll did not answer. They are requested first, so that polls that are stopped by a limit
    /// reach all campaigns in turn.
    pub(super) unanswered: BTreeSet<Box<str>>,
    /// Where the queries of windows continue, by index; the others begin again.
    pub(super) resume_points: BTreeMap<usize, ResumePoint>,
    /// Last results of the windows, by index. A row of them that is missing between two pages is requested again.
    pub(super) last_rows: BTreeMap<usize, LastRows>,
    pub(super) mode: ModeState,
}

/// What a discovery has to know of the previous ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiscoveryMemory {
    /// Number of consecutive ones that failed, entirely or in part.
    pub(super) failures: u32,
    /// Whether the last one lost more than half of the campaigns, which a second list has to confirm.
    pub(super) is_loss_suspected: bool,
    /// Whether to begin with the first form of the requests.
    pub(super) retry_first_form: bool,
}

/// State of a window that a poll uses and updates.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowJob {
    pub(super) window_idx: usize,
    /// Results of earlier unfiltered queries of this window.
    pub(super) probe_history: ProbeHistory,
    pub(super) page_size: PageSize,
}

/// Last results of the queries of a window.
#[derive(Clone, Debug, Default)]
pub(super) struct LastRows {
    pub(super) delivery: Option<Arc<RowSet>>,
    pub(super) conversions: Option<Arc<RowSet>>,
}

/// Result of a poll, and what it learned about the API.
#[derive(Debug)]
pub(super) struct PollOutcome {
    /// One result for each window of the job.
    pub(super) results: Vec<PollResult>,
    pub(super) inventory: Option<Arc<Inventory>>,
    /// Whether the poll began with a discovery.
    pub(super) has_discovered: bool,
    /// Error of a discovery that failed, entirely or in part.
    pub(super) discovery_error: Option<PollError>,
    /// Number of campaigns that are missing from a list that is not confirmed yet; 0 if the list is in use.
    pub(super) suspected_loss: usize,
    pub(super) rejected_fields: Vec<String>,
    /// Fields that were rejected before this poll.
    pub(super) omitted_fields: Vec<String>,
    pub(super) mode: ModeState,
    pub(super) windows: Vec<WindowJob>,
    /// Spend of the whole ad account by window index, without `attribution` and `valid_until`; `None` if it was not
    /// requested or the request failed.
    pub(super) account_spend: Option<Vec<(usize, AccountSpend)>>,
    /// Ids of campaigns that have rows but are missing from the inventory.
    pub(super) unlisted_campaigns: BTreeSet<Box<str>>,
    /// Values and rows that were dropped.
    pub(super) invalid: InvalidParts,
}

/// A poll that is running.
struct Poll<'a> {
    source: Arc<Source>,
    session: Session<'a>,
    inventory: Option<Arc<Inventory>>,
    adaptation: QueryAdaptation,
    splits: QuerySplits,
    windows: Vec<WindowJob>,
    /// Campaigns that are requested first.
    unanswered: BTreeSet<Box<str>>,
    resume_points: BTreeMap<usize, ResumePoint>,
    last_rows: BTreeMap<usize, LastRows>,
    results: BTreeMap<usize, PollResult>,
    /// First error after which all further requests would fail too.
    final_error: Option<ApiError>,
    unlisted_campaigns: BTreeSet<Box<str>>,
    invalid: InvalidParts,
    is_probe: bool,
}

impl PollJob {
    /// Runs the poll. Errors are part of the outcome.
    pub(super) async fn run(self, session: Session<'_>) -> PollOutcome {
        let (start, started_at) = (Instant::now(), clock::now());
        let empty = |window: &WindowJob| {
            let window_idx = window.window_idx;
            (window_idx, PollResult::empty(window_idx, started_at))
        };
        let omitted_fields = self.rejected_fields.clone();
        let mut poll = Poll {
            source: Arc::clone(&self.source),
            session,
            inventory: self.inventory.clone(),
            adaptation: QueryAdaptation {
                rejected_fields: self.rejected_fields,
                ..QueryAdaptation::default()
            },
            splits: QuerySplits::default(),
            results: self.windows.iter().map(empty).collect(),
            windows: self.windows,
            unanswered: self.unanswered,
            resume_points: self.resume_points,
            last_rows: self.last_rows,
            final_error: None,
            unlisted_campaigns: BTreeSet::new(),
            invalid: InvalidParts::default(),
            is_probe: self.is_probe,
        };
        let (mut discovered, mut discovery_error, mut suspected_loss) = (None, None, 0);
        if self.discover {
            let previous = self.inventory.as_deref();
            let input = DiscoveryInput {
                source: &self.source,
                previous,
                // In an outage, the simpler requests are tried less and less often.
                has_failed: self.discovery.failures > 0
                    && (self.discovery.failures + 1).is_power_of_two(),
                retry_first_form: self.discovery.retry_first_form,
                archived_since: DiscoveryInput::first_day(&self.source, previous, started_at),
                now: started_at,
            };
            match discover(session, input, &mut poll.adaptation.rejected_fields).await {
                Ok(discovery) => {
                    let inventory = match previous {
                        Some(previous) if !self.discovery.is_loss_suspected => {
                            suspected_loss = sudden_loss(previous, &discovery.inventory);
                            if suspected_loss > 0 {
                                keep_campaigns(previous, discovery.inventory)
                            } else {
                                discovery.inventory
                            }
                        }
                        _ => discovery.inventory,
                    };
                    discovery_error = discovery.error.map(|error| error.error);
                    discovered = Some(Arc::new(inventory));
                    poll.inventory.clone_from(&discovered);
                }
                // The poll fails if no campaigns are known or if every query would fail too. Otherwise it uses the
                // previous inventory. A forbidden discovery does not end the poll: a token without access to the node
                // may have access to its insights. Discovery has separate limits.
                Err(error)
                    if (is_final(error.kind)
                        && error.kind != ErrorKind::Forbidden
                        && !is_limit_of_discovery(session, &error))
                        || self.source.campaigns(self.inventory.as_deref()).is_none() =>
                {
                    discovery_error = Some(error.error.clone());
                    poll.final_error = Some(error);
                }
                Err(error) => discovery_error = Some(error.error),
            }
        }
        let mut mode = self.mode;
        // Also forgets what is to be tried again.
        let _ = mode.begin(Instant::now());
        poll.splits = std::mem::take(&mut mode.splits);
        poll.splits.begin_poll();
        poll.adaptation.statuses = mode.statuses.for_next_poll();
        match self.source.questions {
            _ if poll.final_error.is_some() => {}
            QuestionMode::Auto => poll.run_adaptively(&mut mode).await,
            QuestionMode::Separate => {
                // Objections are final here, because no other mode is allowed.
                let objection = poll.run_mode(QueryMode::SEPARATE, &mut mode, true).await;
                if objection.is_none() && poll.has_answer() {
                    mode.accept(QueryMode::SEPARATE);
                }
            }
        }
        mode.splits = std::mem::take(&mut poll.splits);
        let account_spend = if self.account_spend && poll.final_error.is_none() && poll.has_answer()
        {
            let dates = mode.confirmed().unwrap_or(QueryMode::FIRST).dates;
            poll.fetch_account_spend(dates).await
        } else {
            None
        };
        mode.statuses = poll.adaptation.statuses;
        poll.fail_unanswered();
        let (finished_at, duration) = (clock::now(), start.elapsed());
        let results = poll.results.into_values().map(|result| PollResult {
            finished_at,
            duration,
            ..result
        });
        PollOutcome {
            results: results.collect(),
            inventory: discovered,
            has_discovered: self.discover,
            discovery_error,
            suspected_loss,
            rejected_fields: poll.adaptation.rejected_fields,
            omitted_fields,
            mode,
            windows: poll.windows,
            account_spend,
            unlisted_campaigns: poll.unlisted_campaigns,
            invalid: poll.invalid,
        }
    }
}

impl Poll<'_> {
    /// Requests the spend of the whole ad account in all windows; `None` if a request fails, which only delays it.
    async fn fetch_account_spend(&mut self, dates: DateMode) -> Option<Vec<(usize, AccountSpend)>> {
        let source = Arc::clone(&self.source);
        let account = self.inventory.as_ref().map(|inventory| &inventory.account);
        let timezone = account.and_then(|account| account.timezone.clone());
        let currency = account.and_then(|account| account.currency.clone());
        let window_idxs = 0..source.windows.len();
        let now = clock::now();
        let groups = window_groups(&source, window_idxs, dates, timezone.as_ref(), now);
        let mut totals = Vec::new();
        for group in groups {
            let expected = group.expected();
            let query = source.spend_query(group.dates, &group.ranges, &expected)?;
            let fetched = fetch(self.session, &query, &mut self.adaptation, |_| true).await;
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(error) => {
                    tracing::debug!(
                        business = source.business.as_ref(),
                        source = source.name.as_ref(),
                        error = %error.error,
                        "request of the spend of the ad account failed"
                    );
                    return None;
                }
            };
            for window in &group.windows {
                let is_of_window = |row: &&Row| {
                    let dates = (row.start, row.stop);
                    window.accepted.is_empty() || window.accepted.contains(&dates)
                };
                let row = fetched.rows.iter().find(is_of_window);
                // Without a row, nothing was spent, unless a row was withheld.
                let spend = match row.map(|row| row.values.get(InsightField::Spend.column())) {
                    Some(RowValue::Present(spend)) => spend,
                    None if fetched.withheld.is_empty() => 0.0,
                    _ => continue,
                };
                let row_currency = row.and_then(|row| row.dimensions.currency.clone());
                let Some(currency) = row_currency.or_else(|| currency.clone()) else {
                    continue;
                };
                let total = AccountSpend {
                    spend: MajorUnits(spend),
                    currency,
                    attribution: None,
                    dates: row
                        .map(|row| (row.start, row.stop))
                        .or(window.accepted.first().copied()),
                    fetched_at: fetched.fetched_at.unwrap_or(now),
                    valid_until: None,
                };
                totals.push((window.window_idx, total));
            }
        }
        Some(totals)
    }

    /// Returns whether a query of any window succeeded.
    fn has_answer(&self) -> bool {
        let mut results = self.results.values();
        results.any(|result| result.delivery.rows.is_some())
    }
}

/// Returns the number of campaigns that a new list lacks if it lacks more than half of them, else 0.
fn sudden_loss(previous: &Inventory, inventory: &Inventory) -> usize {
    let campaigns = previous.campaigns.iter();
    let lost = campaigns
        .filter(|campaign| inventory.exported_campaign(campaign.id.as_str()).is_none())
        .count();
    if lost * 2 > previous.campaigns.len() {
        lost
    } else {
        0
    }
}

/// Returns the previous inventory with the other properties of a list that is not confirmed yet.
fn keep_campaigns(previous: &Inventory, unconfirmed: Inventory) -> Inventory {
    Inventory {
        account: unconfirmed.account,
        account_fetched_at: unconfirmed.account_fetched_at,
        listing: unconfirmed.listing,
        ..previous.clone()
    }
}

/// Returns whether an error of discovery is about a limit that insights do not have.
fn is_limit_of_discovery(session: Session<'_>, error: &ApiError) -> bool {
    error.error.reason == ErrorReason::Throttled
        && session
            .caller
            .limiter
            .paused_until(&session.caller.scope)
            .is_none()
}

/// Returns whether all further requests of a poll would fail too.
fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Throttled(_)
            | ErrorKind::Unauthenticated
            | ErrorKind::Misconfigured
            | ErrorKind::Forbidden
            | ErrorKind::Paused
    )
}
