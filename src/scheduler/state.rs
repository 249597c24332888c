//! The scheduler's task: owns all mutable state and reacts to due times, finished polls and new configs.
//!
//! An iteration costs only what changed: publishing copies one pointer per unchanged source, and `expiry` checks every
//! source once a second.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::breaker::{BreakerMember, BreakerScope, Breakers};
use super::business::{BusinessState, SecretRead};
use super::due_queue::{DueQueue, WindowRef};
use super::due_times;
use super::expiry::ExpiryWatch;
use super::group_poll::TaskOutcome;
use super::inspections::Inspections;
use super::mode_state::{ModeState, PageSize, QuerySplits};
use super::poll::{DiscoveryMemory, ResumePoint};
use super::reload::source_account;
use super::telemetry::{self, PollFailures};
use crate::config::{BusinessConfig, Config, PollingConfig};
use crate::graph::{
    Client, LimiterConfig, RateLimiter, RequestKind, RequestScope, RowDefect, version_end,
};
use crate::metrics::SelfMetrics;
use crate::model::{AccountId, ActionList, ErrorReason, InsightField};
use crate::plan::{Plan, ProbeHistory, Source, SourceSize, Window};
use crate::platform::{Heartbeat, clock};
use crate::snapshot::{HealthTracker, Refusals, Snapshot, SourceState};

/// Maximum time between two iterations, so that the heartbeat shows that the task is running.
const TICK: Duration = Duration::from_secs(1);

/// Maximum remaining time of a pause that was restored from the state file. The clock may have been changed, or the
/// file copied from another machine.
pub(super) const MAX_RESTORED_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Request rate over all businesses that is always allowed, however few sources there are. Commands that send
/// requests without a scheduler are limited to it.
pub const MIN_REQUESTS_PER_SECOND: f64 = 10.0;

/// Ratio of the allowed request rate to the mean rate of the plan.
const BURST_FACTOR: f64 = 3.0;

/// Time after the midnight of an ad account at which the first source is polled: the API's clock may be behind.
const FIRST_POLL_AFTER_MIDNIGHT: Duration = Duration::from_secs(5);

/// Time over which the polls after midnight are spread.
const MIDNIGHT_POLLS_SPREAD: Duration = Duration::from_secs(90);

/// Assumed number of message campaigns per ad account for the estimate of the request rate.
const ASSUMED_CAMPAIGNS: usize = 500;

/// Resources that the scheduler uses but does not own.
#[derive(Clone, Debug)]
pub struct SchedulerDeps {
    /// Client of the Graph API.
    pub client: Client,
    /// Metrics of the exporter itself, updated by calls and polls.
    pub self_metrics: Arc<SelfMetrics>,
    /// Health of the businesses, updated by calls and polls.
    pub health: Arc<HealthTracker>,
    /// Channel of new snapshots.
    pub publish: watch::Sender<Arc<Snapshot>>,
    /// Heartbeat of the scheduler's task, recorded in every iteration.
    pub heartbeat: Arc<Heartbeat>,
}

/// A reloaded config and what is derived from it.
#[derive(Debug)]
pub struct NewConfig {
    /// Config, checked.
    pub config: Config,
    /// Plan for this config and shard.
    pub plan: Plan,
    /// Client for the API of this config.
    pub client: Client,
    /// Receives the first snapshot of this config; `None` if nothing waits for it.
    pub applied: Option<oneshot::Sender<Arc<Snapshot>>>,
}

/// Polls the sources of a plan and publishes the results as snapshots.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) deps: SchedulerDeps,
    pub(super) polling: PollingConfig,
    /// Configured API version.
    pub(super) api_version: String,
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) businesses: BTreeMap<Box<str>, BusinessState>,
    /// Runtime state of the sources, in the order of the snapshot.
    pub(super) sources: Vec<SourceRuntime>,
    pub(super) due_queue: DueQueue,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) poll_tasks: JoinSet<TaskOutcome>,
    pub(super) inspections: Inspections,
    /// Reads of tokens and app secrets. Polls of a business start when its read has ended.
    pub(super) secret_reads: JoinSet<SecretRead>,
    /// Window that each poll task polls. Aborted polls have no entry.
    pub(super) running_polls: HashMap<Id, RunningPoll>,
    /// Businesses and ad accounts of before a reload, kept while polls of removed sources may still update their
    /// metrics.
    pub(super) removed: BTreeSet<(Box<str>, Option<AccountId>)>,
    pub(super) expiry_watch: ExpiryWatch,
    /// Limit for one request.
    pub(super) request_timeout: Duration,
    /// Read of the CA file.
    pub(super) ca_reads: JoinSet<()>,
    pub(super) breakers: Breakers,
    /// Breakers of each source, in the order of the sources.
    pub(super) breaker_members: Vec<BreakerMember>,
    /// Windows that are due when a pause or an outage ends, which can be earlier than expected.
    pub(super) postponed: BTreeSet<WindowRef>,
    /// Version of the limiter's pauses for which `postponed` was checked.
    pub(super) checked_pauses: u64,
    /// Polls that fail, for the log.
    pub(super) failures: PollFailures,
    /// Makes all windows due.
    poll_now: Arc<Notify>,
}

/// A running poll.
#[derive(Debug)]
pub(super) struct RunningPoll {
    /// Sources that are polled together, mostly one.
    pub(super) source_idxs: Vec<usize>,
    pub(super) window_idxs: Vec<usize>,
    pub(super) abort: AbortHandle,
}

/// State of a source that is not part of the snapshot.
#[derive(Debug, Default)]
pub(super) struct SourceRuntime {
    /// Fields that the API rejected, which are no longer requested.
    pub(super) rejected_fields: Vec<String>,
    pub(super) mode: ModeState,
    /// When the next discovery is due; `None` means with the next poll.
    pub(super) discover_at: Option<Instant>,
    pub(super) discovery: DiscoveryMemory,
    /// When a list that lost many campaigns is requested again; `None` if none has to be confirmed.
    pub(super) confirm_at: Option<Instant>,
    /// Number of polls together with others that did not include the source, because its ad account is not known.
    pub(super) missed_groups: u32,
    /// Until when a campaign source is polled on its own, because the token may not read its ad account; `None` if it may.
    pub(super) apart_until: Option<Instant>,
    /// When the spend of the whole ad account is requested next; `None` means with the next poll.
    pub(super) account_spend_at: Option<Instant>,
    /// Whether that time was brought forward since the last discovery, because rows answer for other campaigns.
    pub(super) has_requested_early_spend: bool,
    /// Ids of campaigns that have rows but are missing from the inventory even after a discovery.
    pub(super) unlisted_campaigns: BTreeSet<Box<str>>,
    /// Campaigns and reasons for which withheld values were logged.
    pub(super) warned_rows: BTreeSet<Box<str>>,
    /// Indexes of windows that became due while another one was polled.
    pub(super) due_windows: VecDeque<usize>,
    /// Whether a poll is running, of `running_windows` or of the inventory only.
    pub(super) is_polling: bool,
    /// Indexes of the windows that are being polled.
    pub(super) running_windows: Vec<usize>,
    /// Position among the sources of its business, from 0.
    pub(super) business_position: usize,
    pub(super) windows: Vec<WindowRuntime>,
}

/// State of a window that is not part of the snapshot.
#[derive(Debug, Default)]
pub(super) struct WindowRuntime {
    /// Number of consecutive failed polls.
    pub(super) failures: u32,
    pub(super) probe_history: ProbeHistory,
    pub(super) page_size: PageSize,
    /// Where the next poll continues; `None` if it begins again.
    pub(super) resume_point: Option<ResumePoint>,
}

impl Scheduler {
    /// Creates a scheduler; no request is sent before it runs. Windows with values in `snapshot` keep their schedule,
    /// all others are due immediately.
    pub fn new(config: &Config, plan: &Plan, snapshot: Arc<Snapshot>, deps: SchedulerDeps) -> Self {
        let mut scheduler = Self {
            polling: config.polling.clone(),
            api_version: config.graph.version.clone(),
            limiter: Arc::new(RateLimiter::new(limiter_config(config, plan))),
            businesses: BTreeMap::new(),
            sources: Vec::new(),
            due_queue: DueQueue::default(),
            expiry_watch: ExpiryWatch::new(&snapshot),
            snapshot,
            poll_tasks: JoinSet::new(),
            inspections: Inspections::default(),
            secret_reads: JoinSet::new(),
            running_polls: HashMap::new(),
            removed: BTreeSet::new(),
            request_timeout: config.graph.timeout,
            ca_reads: JoinSet::new(),
            breakers: Breakers::default(),
            breaker_members: Vec::new(),
            postponed: BTreeSet::new(),
            checked_pauses: 0,
            failures: PollFailures::default(),
            poll_now: Arc::new(Notify::new()),
            deps,
        };
        for business in polled_businesses(config, plan) {
            scheduler
                .businesses
                .insert(business.name.as_str().into(), BusinessState::new(business));
        }
        for source_idx in 0..plan.sources.len() {
            let due_times = scheduler.initial_due_times(source_idx);
            scheduler.due_queue.add(due_times);
            scheduler.sources.push(scheduler.new_source(source_idx));
        }
        scheduler.reindex();
        scheduler.restore_pauses();
        scheduler.restore_reads();
        scheduler.restore_rejected_fields();
        scheduler.publish_source_counts(plan);
        // The first page includes the due times.
        scheduler.publish_pauses();
        scheduler
    }

    /// Polls until `stop` completes. Cancel safe: dropping the future loses only the running polls.
    pub async fn run(
        mut self,
        mut new_configs: mpsc::Receiver<NewConfig>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        let poll_now = Arc::clone(&self.poll_now);
        loop {
            self.deps.heartbeat.record();
            let wake = self.next_wake();
            tokio::select! {
                () = &mut stop => return,
                Some(ended) = self.poll_tasks.join_next_with_id(), if !self.poll_tasks.is_empty() => {
                    self.on_poll_finished(ended);
                }
                Some(inspected) = self.inspections.join_next(), if self.inspections.is_running() => {
                    self.record_token_info(inspected);
                }
                Some(read) = self.secret_reads.join_next_with_id(), if !self.secret_reads.is_empty() => {
                    self.on_secrets_read(read);
                }
                Some(new_config) = new_configs.recv() => self.reload(new_config),
                () = poll_now.notified() => self.make_all_due(),
                () = sleep_until(wake) => {}
            }
            telemetry::log_failure_summary(&mut self.failures);
            self.expire();
            self.recheck_tokens();
            self.release_postponed();
            self.start_due();
            self.start_inspection();
            self.start_confirmations();
            self.publish_pauses();
        }
    }

    /// Returns a trigger that makes all windows due. Pauses and quotas still apply.
    pub fn poll_now(&self) -> Arc<Notify> {
        Arc::clone(&self.poll_now)
    }

    /// Makes all windows due that are not being polled.
    fn make_all_due(&mut self) {
        let now = Instant::now();
        for source_idx in 0..self.sources.len() {
            let windows = 0..self.sources[source_idx].windows.len();
            let running = self.sources[source_idx].running_windows.clone();
            for window_idx in windows.filter(|window_idx| !running.contains(window_idx)) {
                let window_ref = WindowRef {
                    source_idx,
                    window_idx,
                };
                self.reschedule(window_ref, now);
            }
        }
    }

    /// Polls every window once and returns the final snapshot.
    pub async fn run_once(mut self) -> Arc<Snapshot> {
        while self
            .snapshot
            .sources
            .iter()
            .any(|source_state| !source_state.is_attempted())
        {
            self.start_due();
            self.publish_pauses();
            tokio::select! {
                Some(ended) = self.poll_tasks.join_next_with_id() => self.on_poll_finished(ended),
                Some(read) = self.secret_reads.join_next_with_id() => self.on_secrets_read(read),
                else => break,
            }
        }
        self.start_inspection();
        while let Some(inspected) = self.inspections.join_next().await {
            self.record_token_info(inspected);
            self.start_inspection();
        }
        self.snapshot
    }

    /// Returns when the next iteration is needed: a window is due, values expire, or [`TICK`] has passed.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let next_expiry = self.expiry_watch.next_expiry;
        let next_expiry = next_expiry.map(|at| now + duration_until(at));
        [self.due_queue.next(), next_expiry, Some(now + TICK)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now)
    }

    pub(super) fn publish(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.deps.publish.send_replace(Arc::clone(&self.snapshot));
    }

    /// Schedules the window for `due` and marks its source for republication.
    pub(super) fn reschedule(&mut self, window_ref: WindowRef, due: Instant) {
        self.postponed.remove(&window_ref);
        self.due_queue.reschedule(window_ref, due);
        self.expiry_watch
            .changed_sources
            .insert(window_ref.source_idx);
    }

    /// Schedules the window for the end of a pause or an outage. If that ends earlier, the window is due then.
    pub(super) fn postpone(&mut self, window_ref: WindowRef, until: Instant) {
        self.reschedule(window_ref, until);
        self.postponed.insert(window_ref);
    }

    /// Returns the end of the pause of a source; `None` if it is not paused. A pause of discovery counts while the
    /// campaigns of the source are not known.
    pub(super) fn source_paused_until(&self, source_idx: usize) -> Option<Instant> {
        let source_state = &self.snapshot.sources[source_idx];
        let scope = self.request_scope(source_idx);
        let inventory = source_state.inventory.as_deref();
        let needs_discovery = source_state.source.campaigns(inventory).is_none();
        let discovery = needs_discovery
            .then(|| {
                self.limiter
                    .kind_paused_until(&scope, RequestKind::Management)
            })
            .flatten();
        self.limiter.paused_until(&scope).max(discovery)
    }

    /// Returns the first due times of a source's windows: now if they were never polled, if their last poll failed, or
    /// if they are overdue by more than their interval; else as scheduled before the restart or reload. A missed poll
    /// is due in the next phase.
    pub(super) fn initial_due_times(&self, source_idx: usize) -> Vec<Instant> {
        let now = Instant::now();
        let source_state = &self.snapshot.sources[source_idx];
        let initial_due = |window_idx: usize| {
            let window = &source_state.windows[window_idx];
            match window.error.as_ref().map(|error| error.reason) {
                _ if !window.attempted => now,
                // The cause may have ended or been fixed meanwhile.
                Some(
                    ErrorReason::Unauthenticated
                    | ErrorReason::Misconfigured
                    | ErrorReason::Forbidden
                    | ErrorReason::Rejected
                    | ErrorReason::Unavailable
                    | ErrorReason::InvalidResponse
                    | ErrorReason::Panicked,
                ) => now,
                reason => {
                    let interval = source_state.source.windows[window_idx].interval(today());
                    // Longest plausible delay: the stored time may be wrong, because the clock was changed, or
                    // belong to a longer interval.
                    let max_delay = match reason {
                        Some(_) if source_state.paused_until.is_some() => MAX_RESTORED_PAUSE,
                        _ => interval * 3 / 2,
                    };
                    let Some(next_poll) = window.next_poll else {
                        return now;
                    };
                    let delay = duration_until(next_poll);
                    let overdue = clock::now().duration_since(next_poll).unsigned_abs();
                    match delay.is_zero() {
                        true if overdue > interval => now,
                        true => self.next_phase(source_idx, window_idx),
                        false if delay <= max_delay => now + delay,
                        false => self.next_regular_due(source_idx, window_idx),
                    }
                }
            }
        };
        (0..source_state.windows.len()).map(initial_due).collect()
    }

    /// Creates the runtime state of a source that has none. Discovery is due an interval after the one in the
    /// snapshot, if that inventory is still usable.
    pub(super) fn new_source(&self, source_idx: usize) -> SourceRuntime {
        let source_state = &self.snapshot.sources[source_idx];
        let windows = source_state.windows.iter();
        let refusals = self.known_refusals(source_idx);
        SourceRuntime {
            discover_at: source_state
                .inventory
                .as_ref()
                .filter(|inventory| !source_state.source.needs_rediscovery(inventory))
                .map(|inventory| {
                    let due = inventory.fetched_at + self.polling.discovery_interval;
                    // The stored time may be wrong.
                    Instant::now() + duration_until(due).min(self.polling.discovery_interval)
                }),
            windows: windows
                .map(|window| WindowRuntime {
                    page_size: window
                        .page_size
                        .map(PageSize::reduced_to)
                        .unwrap_or_default(),
                    ..WindowRuntime::default()
                })
                .collect(),
            rejected_fields: refusals.map_or_else(Vec::new, |refusals| refusals.fields.clone()),
            mode: ModeState::restored(
                source_state.query_mode.filter(|_| refusals.is_some()),
                refusals
                    .and_then(|refusals| refusals.retry_mode_at)
                    .map(instant_at),
                refusals.map_or_else(QuerySplits::default, |refusals| {
                    QuerySplits::restored(
                        refusals.campaigns_per_query,
                        refusals.too_heavy.clone(),
                        refusals.retry_whole_at.map(instant_at),
                    )
                }),
            ),
            ..SourceRuntime::default()
        }
    }

    /// Returns what the API refused before a restart; `None` if that was another version of it.
    fn known_refusals(&self, source_idx: usize) -> Option<&Refusals> {
        let refusals = &self.snapshot.sources[source_idx].refusals;
        (*refusals.api_version == *self.api_version).then_some(refusals)
    }

    /// Returns what the API refused, to be stored.
    pub(super) fn refusals(&self, source_idx: usize) -> Refusals {
        let state = &self.snapshot.sources[source_idx];
        let runtime = &self.sources[source_idx];
        let business = self.businesses.get(&state.source.business);
        let retry_fields_at = business.and_then(|business| business.request_fields_at);
        let splits = &runtime.mode.splits;
        let refusals = Refusals {
            api_version: self.api_version.as_str().into(),
            fields: runtime.rejected_fields.clone(),
            retry_fields_at: retry_fields_at
                .filter(|_| !runtime.rejected_fields.is_empty())
                .map(to_timestamp),
            retry_mode_at: runtime.mode.retry_at().map(to_timestamp),
            campaigns_per_query: splits.campaigns_per_query,
            too_heavy: splits.too_heavy.clone(),
            retry_whole_at: splits.retry_at().map(to_timestamp),
        };
        refusals.or_same(&state.refusals)
    }

    /// Continues to leave out the fields that were rejected before a restart, until they are due to be requested again.
    fn restore_rejected_fields(&mut self) {
        for source_idx in 0..self.sources.len() {
            let business = self.snapshot.sources[source_idx].source.business.clone();
            for field in &self.sources[source_idx].rejected_fields {
                self.deps.self_metrics.set_field_rejected(&business, field);
            }
            let refusals = self.known_refusals(source_idx);
            let Some(at) = refusals.and_then(|refusals| refusals.retry_fields_at) else {
                continue;
            };
            if let Some(business) = self.businesses.get_mut(&business) {
                let known = business.request_fields_at.into_iter();
                business.request_fields_at = known.chain([instant_at(at)]).min();
            }
        }
    }

    /// Recalculates what depends on the order of the sources. Must be called whenever the list of sources changes.
    pub(super) fn reindex(&mut self) {
        let is_same_business =
            |a: &Arc<SourceState>, b: &Arc<SourceState>| a.source.business == b.source.business;
        let businesses = self.snapshot.sources.chunk_by(is_same_business);
        let positions = businesses.flat_map(|sources| 0..sources.len());
        for (source, position) in self.sources.iter_mut().zip(positions) {
            source.business_position = position;
        }
        self.expiry_watch = ExpiryWatch::new(&self.snapshot);
        self.breaker_members = self.breaker_members();
    }

    /// Returns the breakers of each source.
    fn breaker_members(&self) -> Vec<BreakerMember> {
        let sources = self.snapshot.sources.iter();
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for source_state in sources {
            *sizes.entry(&source_state.source.business).or_default() += 1;
        }
        let mut apps: BTreeMap<Box<str>, usize> = BTreeMap::new();
        let app_of = |name: &str| self.businesses.get(name).and_then(BusinessState::app);
        for app in sizes.keys().filter_map(|name| app_of(name)) {
            *apps.entry(app).or_default() += 1;
        }
        let sources = self.snapshot.sources.iter().enumerate();
        let member = |(source_idx, source_state): (usize, &Arc<SourceState>)| {
            let business = source_state.source.business.clone();
            let app = app_of(&business).map(|app| {
                let size = apps.get(&app).copied().unwrap_or(1);
                (BreakerScope::App(app), size)
            });
            let own_size = sizes.get(business.as_ref()).copied().unwrap_or(1);
            let own = (BreakerScope::Business(business.clone()), own_size);
            let api = (BreakerScope::Api, sizes.len());
            BreakerMember {
                source_idx,
                business,
                scopes: [Some(api), app, Some(own)].into_iter().flatten().collect(),
            }
        };
        sources.map(member).collect()
    }

    /// Updates the metrics with the number of configured sources.
    pub(super) fn publish_source_counts(&self, plan: &Plan) {
        let self_metrics = &self.deps.self_metrics;
        self_metrics.set_sources_configured(plan.configured);
        self_metrics.set_discovery_interval(self.polling.discovery_interval);
        self_metrics.set_api_version_end(&self.api_version, version_end(&self.api_version));
        for (business, sources) in plan.businesses() {
            let extra_fields = plan
                .sources
                .first()
                .map(|source| source.columns.extra.iter());
            let extra_fields = extra_fields.into_iter().flatten();
            let fields = InsightField::ALL
                .iter()
                .map(|field| field.field())
                .chain(ActionList::ALL.iter().map(|list| list.field()))
                .chain(extra_fields.map(|extra| extra.field.as_str()));
            let row_defects = RowDefect::ALL.iter().map(|defect| defect.as_str());
            self_metrics.add_business(business, sources, fields, row_defects);
        }
    }

    /// Returns the scope of a source's requests, which determines their pauses and quotas.
    pub(super) fn request_scope(&self, source_idx: usize) -> RequestScope {
        let source_state: &SourceState = &self.snapshot.sources[source_idx];
        let source = &source_state.source;
        RequestScope {
            business: source.business.clone(),
            app: self
                .businesses
                .get(&source.business)
                .and_then(BusinessState::app),
            account: source_account(source_state),
            source: source.name.clone(),
        }
    }

    /// Returns whether no task of a removed source is left.
    pub(super) fn is_settled(&self) -> bool {
        self.poll_tasks.len() == self.running_polls.len() && !self.inspections.is_running()
    }

    /// Returns when a window is due next in its regular schedule, without failures and pauses: in its phase, or soon
    /// after the next midnight of the ad account at which its dates change. While the usage of a quota is above the
    /// configured share, intervals are longer.
    pub(super) fn next_regular_due(&self, source_idx: usize, window_idx: usize) -> Instant {
        let (phase, interval) = self.phase_of(source_idx, window_idx);
        let due = due_times::next_in_phase(clock::now(), phase, interval);
        self.with_midnight(source_idx, window_idx, due)
    }

    /// Returns when a window is due in its next phase, however soon.
    fn next_phase(&self, source_idx: usize, window_idx: usize) -> Instant {
        let (phase, interval) = self.phase_of(source_idx, window_idx);
        let due = due_times::next_phase(clock::now(), phase, interval);
        self.with_midnight(source_idx, window_idx, due)
    }

    /// Returns the time between two polls of a window, lengthened while a quota is nearly used.
    pub(super) fn interval_in_force(&self, source_idx: usize, window_idx: usize) -> Duration {
        self.phase_of(source_idx, window_idx).1
    }

    /// Returns the phase of a window and its interval, both lengthened while a quota is nearly used.
    fn phase_of(&self, source_idx: usize, window_idx: usize) -> (Duration, Duration) {
        let source = &self.snapshot.sources[source_idx].source;
        let window = &source.windows[window_idx];
        let today = today();
        let intervals = source.windows.iter().map(|window| window.interval(today));
        let shortest = intervals.min().unwrap_or_default();
        let slowdown = self.limiter.slowdown(&self.request_scope(source_idx));
        let slowed = |window: &Window| {
            let (interval, max) = (window.interval(today), window.stale_after(today));
            due_times::slowed_interval(interval, shortest, slowdown, max)
        };
        let interval = slowed(window);
        let intervals = source.windows.iter().map(slowed);
        let shortest = intervals.min().unwrap_or(interval);
        // Sources that are polled together are due together.
        let group = self.group_key(source_idx);
        let name = group.as_deref().unwrap_or(&source.name);
        let interval = self
            .archived_interval(source_idx)
            .map_or(interval, |min| interval.max(min));
        let phase = due_times::phase(&source.business, name, shortest, interval);
        (phase, interval)
    }

    fn with_midnight(&self, source_idx: usize, window_idx: usize, due: Timestamp) -> Instant {
        let due = self
            .due_after_midnight(source_idx, window_idx)
            .map_or(due, |at| at.min(due));
        Instant::now() + duration_until(due)
    }

    /// Returns when a window is polled after the next midnight at which its dates change; `None` if they do not, or the
    /// time zone of the ad account is unknown. Polls of many sources are spread over a minute and a half.
    pub(super) fn due_after_midnight(
        &self,
        source_idx: usize,
        window_idx: usize,
    ) -> Option<Timestamp> {
        let source_state = &self.snapshot.sources[source_idx];
        let source = &source_state.source;
        let timezone = source_state.inventory.as_ref()?.account.timezone.as_ref()?;
        let midnight = source.windows[window_idx].next_change(clock::now(), timezone)?;
        let fraction = due_times::hash_fraction(&[&source.business, &source.name]);
        Some(midnight + FIRST_POLL_AFTER_MIDNIGHT + MIDNIGHT_POLLS_SPREAD.mul_f64(fraction))
    }
}

/// Returns the businesses that have sources in the plan. Tokens of other businesses are not read.
pub(super) fn polled_businesses<'c>(
    config: &'c Config,
    plan: &Plan,
) -> impl Iterator<Item = &'c BusinessConfig> {
    let sources = plan.businesses();
    let businesses = config.businesses.iter();
    businesses.filter(move |business| sources.contains_key(business.name.as_str()))
}

/// Returns the limiter's configuration. The request rate is [`BURST_FACTOR`] times the mean rate of the plan, but at
/// least [`MIN_REQUESTS_PER_SECOND`].
pub(super) fn limiter_config(config: &Config, plan: &Plan) -> LimiterConfig {
    let calls_per_hour = |source: &Arc<Source>| {
        source
            .estimate(
                today(),
                config.polling.discovery_interval,
                SourceSize::assumed(source, ASSUMED_CAMPAIGNS),
                None,
            )
            .calls_per_hour
    };
    let mean_rate = plan.sources.iter().map(calls_per_hour).sum::<f64>() / 3600.0;
    LimiterConfig {
        concurrency: config.polling.concurrency,
        requests_per_second: MIN_REQUESTS_PER_SECOND.max(BURST_FACTOR * mean_rate),
        quota_share: config.polling.quota_share,
        backoff_max: config.polling.backoff_max,
    }
}

/// Returns the current date in UTC. Precise enough for the intervals of windows, which depend on how many days ago
/// they ended.
pub(super) fn today() -> Date {
    clock::now().to_zoned(TimeZone::UTC).date()
}

/// Returns the time from now until `at`; zero if it has passed.
pub(super) fn duration_until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock::now())).unwrap_or(Duration::ZERO)
}

/// Converts a wall clock time to an instant of the monotonic clock; one that has passed becomes the current one.
fn instant_at(at: Timestamp) -> Instant {
    Instant::now() + duration_until(at)
}

/// Converts an instant of the monotonic clock to wall clock time; one that has passed becomes the current time.
pub(super) fn to_timestamp(instant: Instant) -> Timestamp {
    clock::now() + instant.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::SignedDuration;
    use tokio::net::TcpListener;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{RunningPoll, Scheduler, SchedulerDeps, WindowRef};
    use crate::config::{Config, NamedDocument};
    use crate::graph::Client;
    use crate::metrics::SelfMetrics;
    use crate::model::{ErrorReason, PollError, Secret, SecretSource};
    use crate::plan::{Plan, QueryMode, Shard};
    use crate::platform::{Heartbeat, clock};
    use crate::scheduler::clock_watch::ClockWatch;
    use crate::snapshot::{PollResult, QueryResult, Refusals, Snapshot};
    use graph_simulator::{Simulator, World};

    const CONFIG: &str = "polling: { interval: 50ms, backoff_max: 1h }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: acme, access_token_env: T, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
";

    /// Starts a simulator and creates a scheduler with two ad accounts of one business.
    async fn start() -> (Scheduler, Simulator) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Simulator::start(listener, World::demo(), Arc::new(clock::now))
            .await
            .unwrap();
        let document = NamedDocument {
            name: "config".to_owned(),
            text: CONFIG.to_owned(),
        };
        let mut config = Config::parse(document, Vec::new()).unwrap();
        config.businesses[0].token =
            SecretSource::Inline(Secret::new(World::demo_token()).unwrap());
        let plan = Plan::for_shard(&config, Shard::ALL);
        let snapshot = Arc::new(Snapshot::empty(&plan, clock::now()));
        let health = Arc::default();
        let self_metrics = SelfMetrics::new("1", "r", "1", Shard::ALL, Arc::clone(&health));
        let deps = SchedulerDeps {
            client: Client::new(&api.url(), "v27.0", config.graph.timeout, None).unwrap(),
            self_metrics: Arc::new(self_metrics.unwrap()),
            health,
            publish: watch::channel(Arc::clone(&snapshot)).0,
            heartbeat: Arc::new(Heartbeat::default()),
        };
        (Scheduler::new(&config, &plan, snapshot, deps), api)
    }

    #[tokio::test]
    async fn changed_due_times_and_pauses_are_published() {
        let (mut scheduler, _api) = start().await;
        let unchanged_sources = |scheduler: &Scheduler, before: &Snapshot| {
            let pairs = scheduler.snapshot.sources.iter().zip(&before.sources);
            pairs
                .map(|(now, before)| Arc::ptr_eq(now, before))
                .collect::<Vec<_>>()
        };
        let paused_sources = |scheduler: &Scheduler| {
            let sources = scheduler.snapshot.sources.iter();
            sources
                .map(|source_state| {
                    source_state.paused_until.is_some() && source_state.is_attempted()
                })
                .collect::<Vec<_>>()
        };
        let first_window = |source_idx| WindowRef {
            source_idx,
            window_idx: 0,
        };
        let after = |minutes: u64| Instant::now() + Duration::from_secs(60 * minutes);
        scheduler.reschedule(first_window(0), after(1));
        scheduler.reschedule(first_window(1), after(1));
        scheduler.publish_pauses();
        let before = Arc::clone(&scheduler.snapshot);
        scheduler.publish_pauses();
        assert!(
            Arc::ptr_eq(&scheduler.snapshot, &before),
            "no snapshot should be published without a change"
        );
        scheduler.reschedule(first_window(1), after(2));
        scheduler.publish_pauses();
        assert_eq!(unchanged_sources(&scheduler, &before), [true, false]);
        let next_poll = scheduler.snapshot.sources[1].windows[0].next_poll.unwrap();
        assert!(
            next_poll > clock::now() + Duration::from_secs(90),
            "the new due time should be published: {next_poll}"
        );
        let error = PollError::new(ErrorReason::Misconfigured, "no token");
        scheduler.limiter.block_business("acme", &error);
        scheduler.publish_pauses();
        assert_eq!(paused_sources(&scheduler), [true, true]);
        scheduler.limiter.unblock_business("acme");
        scheduler.publish_pauses();
        assert_eq!(paused_sources(&scheduler), [false, false]);
    }

    #[tokio::test]
    async fn values_keep_their_age_when_the_clock_is_set() {
        let (mut scheduler, _api) = start().await;
        let (now, uptime) = clock::now_and_uptime();
        let mut state = scheduler.snapshot.sources[0].as_ref().clone();
        state.discovery_success = Some(now);
        let snapshot = scheduler.snapshot.with_source(0, state);
        scheduler.publish(snapshot);
        let day = SignedDuration::from_hours(24);
        scheduler.follow_clock(now, uptime);
        scheduler.follow_clock(now + day, uptime);
        let success = scheduler.snapshot.sources[0].discovery_success;
        assert_eq!(success, Some(now + day));
        scheduler.follow_clock(now + 2 * day, uptime + day);
        let success = scheduler.snapshot.sources[0].discovery_success;
        assert_eq!(success, Some(now + day), "the time has passed");
    }

    #[tokio::test]
    async fn secrets_are_read_again_after_a_panic() {
        let (mut scheduler, _api) = start().await;
        let abort = scheduler.secret_reads.spawn(async { panic!("on purpose") });
        let id = abort.id();
        scheduler.businesses.get_mut("acme").unwrap().running_read = Some(id);
        let ended = scheduler.secret_reads.join_next_with_id().await.unwrap();
        scheduler.on_secrets_read(ended);
        let business = &scheduler.businesses["acme"];
        assert!(!business.is_reading(id));
        assert!(business.needs_recheck());
    }

    #[tokio::test]
    async fn clock_that_was_set_is_noticed_by_the_check_of_expiry() {
        let (mut scheduler, _api) = start().await;
        let (now, uptime) = clock::now_and_uptime();
        let mut state = scheduler.snapshot.sources[0].as_ref().clone();
        state.discovery_success = Some(now);
        let snapshot = scheduler.snapshot.with_source(0, state);
        scheduler.publish(snapshot);
        let day = SignedDuration::from_hours(24);
        scheduler.expiry_watch.clock = ClockWatch::new((now - day, uptime));
        scheduler.expire();
        let success = scheduler.snapshot.sources[0].discovery_success.unwrap();
        let difference = success.duration_since(now + day);
        assert!(
            difference.abs() < SignedDuration::from_secs(1),
            "{difference}"
        );
    }

    #[tokio::test]
    async fn values_expire_at_their_age_after_the_clock_was_set_back() {
        let (mut scheduler, _api) = start().await;
        let (now, uptime) = clock::now_and_uptime();
        let result = PollResult {
            delivery: QueryResult {
                rows: Some(Vec::new()),
                ..QueryResult::default()
            },
            ..PollResult::empty(0, now)
        };
        let state = scheduler.snapshot.sources[0].apply(result);
        scheduler.expiry_watch.track_expiry(&state);
        let snapshot = scheduler.snapshot.with_source(0, state);
        scheduler.publish(snapshot);
        let expiry = scheduler.expiry_watch.next_expiry.unwrap();
        let day = SignedDuration::from_hours(24);
        scheduler.follow_clock(now, uptime);
        scheduler.follow_clock(now - day, uptime);
        assert_eq!(scheduler.expiry_watch.next_expiry, Some(expiry - day));
    }

    #[tokio::test]
    async fn what_was_refused_is_restored_until_it_is_tried_again() {
        let (mut scheduler, _api) = start().await;
        let hours = |hours| Some(clock::now() + SignedDuration::from_hours(hours));
        let before = Refusals {
            api_version: "v27.0".into(),
            fields: Vec::new(),
            retry_fields_at: None,
            retry_mode_at: hours(5),
            campaigns_per_query: Some(20),
            too_heavy: ["7".into()].into(),
            retry_whole_at: hours(3),
        };
        let mut state = scheduler.snapshot.sources[0].as_ref().clone();
        state.refusals = before.clone();
        state.query_mode = Some(QueryMode::SEPARATE);
        let snapshot = scheduler.snapshot.with_source(0, state.clone());
        scheduler.publish(snapshot);
        scheduler.sources[0] = scheduler.new_source(0);
        assert_eq!(scheduler.refusals(0), before);
        let mode = &mut scheduler.sources[0].mode;
        mode.begin(Instant::now() + Duration::from_secs(2 * 3600));
        assert_eq!(mode.splits.campaigns_per_query, Some(20));
        mode.begin(Instant::now() + Duration::from_secs(4 * 3600));
        assert_eq!(mode.splits.campaigns_per_query, None);
        assert!(mode.splits.too_heavy.is_empty() && mode.splits.retry_at().is_none());
        // A time that is too far away is that of a wrong clock, and another version may accept more.
        state.refusals.retry_whole_at = hours(1000);
        let snapshot = scheduler.snapshot.with_source(0, state.clone());
        scheduler.publish(snapshot);
        let retry_at = scheduler.new_source(0).mode.splits.retry_at();
        assert!(retry_at < Some(Instant::now() + Duration::from_secs(25 * 3600)));
        state.refusals.api_version = "v26.0".into();
        let snapshot = scheduler.snapshot.with_source(0, state);
        scheduler.publish(snapshot);
        let restored = scheduler.new_source(0).mode;
        assert_eq!(restored.splits.campaigns_per_query, None);
    }

    #[tokio::test]
    async fn poll_that_panics_is_counted_and_polling_continues() {
        let (mut scheduler, _api) = start().await;
        let self_metrics = Arc::clone(&scheduler.deps.self_metrics);
        // Replaces the first poll of the first source.
        let abort = scheduler.poll_tasks.spawn(async { panic!("on purpose") });
        let running = RunningPoll {
            source_idxs: vec![0],
            window_idxs: vec![0],
            abort: abort.clone(),
        };
        scheduler.running_polls.insert(abort.id(), running);
        scheduler.sources[0].running_windows = vec![0];
        let ended = scheduler.poll_tasks.join_next_with_id().await.unwrap();
        scheduler.on_poll_finished(ended);
        let page = self_metrics.encode();
        let failures = "poll_failures_total{business=\"acme\",reason=\"panicked\"} 1\n";
        assert!(page.contains(failures), "{page}");
        let window = &scheduler.snapshot.sources[0].windows[0];
        assert!(
            window.attempted && !window.up && window.next_poll > Some(clock::now()),
            "the poll should have failed and be scheduled again: {window:?}"
        );
        let message = &window.error.as_ref().unwrap().message;
        assert!(message.contains("please report"), "{message}");
        while scheduler
            .snapshot
            .sources
            .iter()
            .any(|source_state| !source_state.windows[0].up)
        {
            tokio::time::sleep_until(scheduler.next_wake()).await;
            scheduler.start_due();
            while let Some(read) = scheduler.secret_reads.join_next_with_id().await {
                scheduler.on_secrets_read(read);
            }
            if let Some(ended) = scheduler.poll_tasks.join_next_with_id().await {
                scheduler.on_poll_finished(ended);
            }
        }
        let page = self_metrics.encode();
        assert!(page.contains(failures), "{page}");
        assert_eq!(scheduler.sources[0].windows[0].failures, 0);
    }
}
