//! The crank itself: one task that owns what changes, starts the polls that are due, and takes in
//! what they brought.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::business::Business;
use super::reload::account;
use super::turn::{Task, Turn};
use super::{clock, report, schedule};
use crate::beat::Beat;
use crate::config::{Config, Polling};
use crate::exposition::Own;
use crate::fault::{Fault, Reason};
use crate::graph::{
    Call, Client, Credentials, Gate, Lane, Lessons, Limits, Session, TokenFacts, inspect,
};
use crate::plan::Plan;
use crate::row::AccountId;
use crate::snapshot::{Known, Polled, Snapshot};

/// A business whose token was refused may get another one at any time: how often to look.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(10);

/// The crank turns at least this often, so that it can be seen to turn.
const BEAT: Duration = Duration::from_secs(1);

/// No hold that a state file tells of is believed for longer: clocks are set, and files copied.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests a second that are always allowed, however little there is to poll.
const PACE: f64 = 10.0;

/// How much faster than in the long run requests may go.
const HURRY: f64 = 3.0;

/// Message campaigns that an ad account is taken to have before any was listed.
const ASSUMED_CAMPAIGNS: usize = 500;

/// What polls need of the outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API.
    pub client: Client,
    /// Where calls and polls are counted.
    pub own: Arc<Own>,
    /// Where new snapshots go.
    pub publish: watch::Sender<Arc<Snapshot>>,
    /// Where the crank shows that it turns.
    pub beat: Arc<Beat>,
}

/// Another config, and the client that belongs to it.
#[derive(Debug)]
pub struct Reload {
    /// The config.
    pub config: Config,
    /// What it asks for.
    pub plan: Plan,
    /// The API as it names it.
    pub client: Client,
}

/// Turns plan into snapshots, for ever.
#[derive(Debug)]
pub struct Crank {
    pub(super) settings: Settings,
    pub(super) polling: Polling,
    pub(super) version: String,
    pub(super) gate: Arc<Gate>,
    pub(super) businesses: BTreeMap<Box<str>, Business>,
    pub(super) sources: Vec<Source>,
    pub(super) snapshot: Arc<Snapshot>,
    running: JoinSet<Turn>,
    /// Questions about tokens, which no poll waits for: they only decorate.
    inspections: JoinSet<(Box<str>, Option<TokenFacts>)>,
    /// What each running task polls.
    pub(super) tasks: HashMap<Id, Running>,
    /// What a reload took away, while polls of it may still have a last word.
    pub(super) gone: BTreeSet<(Box<str>, Option<AccountId>)>,
    next_look: Instant,
}

/// A poll under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) place: usize,
    pub(super) window: usize,
    pub(super) abort: AbortHandle,
}

/// What changes about a source, beside what is known of it.
#[derive(Debug, Default)]
pub(super) struct Source {
    lessons: Lessons,
    discover_at: Option<Timestamp>,
    /// Campaigns that have rows and are on no listing, even after one was read for them.
    strangers: BTreeSet<Box<str>>,
    /// Rows whose conversions Meta keeps back, and that were warned of.
    withheld: BTreeSet<Box<str>>,
    /// Windows that are due, while another one is being polled.
    pub(super) queue: VecDeque<usize>,
    pub(super) running: bool,
    pub(super) windows: Vec<Window>,
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) due: Instant,
    failures: u32,
    rows: Option<usize>,
}

impl Crank {
    /// A crank for that config; nothing is asked before it runs. What the snapshot knows already
    /// is polled when its turn comes, everything else at once.
    pub fn new(config: &Config, plan: &Plan, snapshot: Arc<Snapshot>, settings: Settings) -> Self {
        let mut crank = Self {
            polling: config.polling.clone(),
            version: config.graph.version.clone(),
            gate: Arc::new(Gate::new(limits(config, plan))),
            businesses: BTreeMap::new(),
            sources: Vec::new(),
            snapshot,
            running: JoinSet::new(),
            inspections: JoinSet::new(),
            tasks: HashMap::new(),
            gone: BTreeSet::new(),
            next_look: Instant::now(),
            settings,
        };
        for business in config.businesses.iter().filter(|business| business.enabled) {
            crank
                .businesses
                .insert(business.name.as_str().into(), Business::new(business));
        }
        crank.sources = (0..plan.sources.len())
            .map(|place| crank.new_source(place))
            .collect();
        crank.resume_holds();
        crank.count_sources();
        crank.publish_schedule();
        crank
    }

    /// Polls until `stop` comes. Dropping it at any moment loses nothing but the polls under way.
    pub async fn run(
        mut self,
        mut reloads: mpsc::Receiver<Reload>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        loop {
            self.settings.beat.beat();
            let wake = self.wake();
            tokio::select! {
                () = &mut stop => return,
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => self.absorb(ended),
                Some(inspected) = self.inspections.join_next(), if !self.inspections.is_empty() => self.inspected(inspected),
                Some(reload) = reloads.recv() => self.reload(reload),
                () = sleep_until(wake) => {}
            }
            self.withdraw();
            self.look_at_tokens();
            self.look_at_holds();
            self.start_due();
        }
    }

    /// Polls every source and window once, and ends.
    pub async fn run_once(mut self) -> Arc<Snapshot> {
        while self.snapshot.sources.iter().any(|known| !known.is_tried()) {
            self.start_due();
            match self.running.join_next_with_id().await {
                Some(ended) => self.absorb(ended),
                None => break,
            }
        }
        while let Some(inspected) = self.inspections.join_next().await {
            self.inspected(inspected);
        }
        self.snapshot
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let due = self
            .sources
            .iter()
            .flat_map(|source| &source.windows)
            .map(|window| window.due)
            .min();
        let stale = self.snapshot.next_withdrawal().map(|at| now + until(at));
        [due, stale, Some(now + BEAT)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now)
    }

    /// Starts what is due, the first source of each business before the second of any.
    fn start_due(&mut self) {
        let now = Instant::now();
        for place in self.in_turn() {
            for window in 0..self.sources[place].windows.len() {
                if self.sources[place].windows[window].due <= now {
                    self.due(place, window, now);
                }
            }
            self.start_next(place);
        }
    }

    /// The places of all sources, business by business in turn.
    fn in_turn(&self) -> Vec<usize> {
        let mut nth: HashMap<&str, usize> = HashMap::new();
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(self.sources.len());
        for (place, known) in self.snapshot.sources.iter().enumerate() {
            let nth = nth.entry(known.source.business.as_ref()).or_default();
            places.push((*nth, place));
            *nth += 1;
        }
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// A source and window is due: queues it, unless it is left alone or still busy.
    fn due(&mut self, place: usize, window: usize, now: Instant) {
        if let Some(until) = self.gate.held_until(&self.lane(place)) {
            self.sources[place].windows[window].due = until;
            return;
        }
        let usual = self.usual(place, window);
        let busy = self
            .tasks
            .values()
            .any(|task| (task.place, task.window) == (place, window));
        let source = &mut self.sources[place];
        source.windows[window].due = usual;
        if busy || source.queue.contains(&window) {
            self.settings
                .own
                .skipped(&self.snapshot.sources[place].source.business);
        } else {
            source.queue.push_back(window);
        }
        debug_assert!(usual > now, "a window is due later than now, or for ever");
    }

    pub(super) fn start_next(&mut self, place: usize) {
        if self.sources[place].running {
            return;
        }
        let Some(window) = self.sources[place].queue.pop_front() else {
            return;
        };
        // What was queued before a refusal is not asked after it.
        if let Some(until) = self.gate.held_until(&self.lane(place)) {
            self.sources[place].windows[window].due = until;
            return self.start_next(place);
        }
        let known = Arc::clone(&self.snapshot.sources[place]);
        let Some(business) = self.businesses.get_mut(&known.source.business) else {
            return;
        };
        let credentials = match business.credentials() {
            Ok(credentials) => credentials,
            Err(complaint) => {
                self.without_token(place, window, complaint);
                return;
            }
        };
        let now = clock::now();
        let inspect = business.inspect_at.is_none_or(|at| at <= now);
        if inspect {
            business.inspect_at = Some(now + self.polling.discovery_interval);
        }
        let inspect = business.app().filter(|_| inspect);
        if let Some(app) = inspect {
            self.inspections
                .spawn(self.inspect(place, app, credentials.clone()));
        }
        let source = &mut self.sources[place];
        source.running = true;
        let task = Task {
            source: Arc::clone(&known.source),
            window,
            listing: known.listing.clone(),
            discover: source.discover_at.is_none_or(|at| at <= now),
            lessons: source.lessons.clone(),
            rows: source.windows[window].rows,
        };
        let abort = self.running.spawn(self.poll(place, task, credentials));
        let running = Running {
            place,
            window,
            abort: abort.clone(),
        };
        self.tasks.insert(abort.id(), running);
    }

    /// One poll as a task of its own: what it needs is its own, what it brings comes back whole.
    fn poll(
        &self,
        place: usize,
        task: Task,
        credentials: Credentials,
    ) -> impl Future<Output = Turn> + Send + 'static {
        let client = self.settings.client.clone();
        let own = Arc::clone(&self.settings.own);
        let gate = Arc::clone(&self.gate);
        let configured = self.version.clone();
        let lane = self.lane(place);
        async move {
            let told = |call: &Call<'_>| report::call(&own, &lane, &configured, call);
            let session = Session {
                client: &client,
                credentials: &credentials,
                gate: &gate,
                lane: &lane,
                told: &told,
            };
            let _turn = gate.turn(&lane).await;
            task.run(session).await
        }
    }

    /// Asks about a business' token, as a task of its own.
    fn inspect(
        &self,
        place: usize,
        app: Box<str>,
        credentials: Credentials,
    ) -> impl Future<Output = (Box<str>, Option<TokenFacts>)> + Send + 'static {
        let client = self.settings.client.clone();
        let own = Arc::clone(&self.settings.own);
        let gate = Arc::clone(&self.gate);
        let configured = self.version.clone();
        let lane = self.lane(place);
        async move {
            let told = |call: &Call<'_>| report::call(&own, &lane, &configured, call);
            let session = Session {
                client: &client,
                credentials: &credentials,
                gate: &gate,
                lane: &lane,
                told: &told,
            };
            let facts = inspect(session, &app).await.unwrap_or_else(|error| {
                let business = lane.business.as_ref();
                tracing::debug!(business, fault = %error.fault, "nothing is known of the token's expiry");
                None
            });
            (lane.business, facts)
        }
    }

    /// Takes in what the API says of a token.
    fn inspected(&mut self, inspected: Result<(Box<str>, Option<TokenFacts>), JoinError>) {
        match inspected {
            Ok((business, Some(facts))) if self.businesses.contains_key(&business) => {
                self.settings.own.token_expires(&business, facts.expires_at);
            }
            // Nothing hangs on it, and the next inspection may do better.
            _ => {}
        }
        self.forget_gone();
    }

    /// Takes in what a poll brought.
    fn absorb(&mut self, ended: Result<(Id, Turn), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        // A task that nobody remembers polled a source that a reload took away.
        let Some(Running { place, window, .. }) = self.tasks.remove(&id) else {
            self.forget_gone();
            return;
        };
        self.sources[place].running = false;
        match ended {
            Ok((_, turn)) => self.take(place, turn),
            Err(error) if error.is_panic() => {
                let fault = Fault::new(Reason::Panicked, "the poll panicked: please report this");
                self.conclude(place, Polled::failed(window, clock::now(), fault));
            }
            Err(_) => {}
        }
        self.start_next(place);
    }

    /// Learns what a poll taught, beside its numbers.
    fn take(&mut self, place: usize, turn: Turn) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let (business, name) = (known.source.business.as_ref(), known.source.name.as_ref());
        let own = Arc::clone(&self.settings.own);
        let source = &mut self.sources[place];
        for field in turn
            .lessons
            .dropped
            .iter()
            .filter(|field| !source.lessons.dropped.contains(field))
        {
            // Each source learns it for itself; the news is the business' own.
            if own.field_rejected(business, field) {
                tracing::warn!(
                    business,
                    source = name,
                    field,
                    "the API does not take this field; it is left out from now on"
                );
            }
        }
        for (field, count) in &turn.rejected {
            own.values_rejected(field, *count);
        }
        if let Some(fault) = &turn.undiscovered {
            tracing::warn!(business, source = name, %fault, "discovery failed; the last list serves on");
        }
        source.lessons = turn.lessons;
        if let Some(window) = source.windows.get_mut(turn.polled.window) {
            window.rows = turn.rows;
        }
        let fresh = turn.polled.listing.is_some();
        if fresh || turn.undiscovered.is_some() {
            source.discover_at = Some(turn.polled.at + self.polling.discovery_interval);
        }
        // A campaign that no listing knows may be new: look once. One that a fresh listing does
        // not know either is gone, or not ours.
        let unseen = turn
            .strangers
            .iter()
            .any(|id| !source.strangers.contains(id));
        if unseen && !fresh {
            source.discover_at = None;
        }
        // Kept over the polls of windows in which they have no rows.
        if let Some(listing) = turn.polled.listing.as_deref() {
            source.strangers.retain(|id| !listing.knows(id));
        }
        source.strangers.extend(turn.strangers);
        let forbidden = turn
            .polled
            .fault()
            .is_some_and(|fault| fault.reason == Reason::Forbidden);
        if forbidden {
            self.gate.forbid(&self.lane(place));
        }
        self.conclude(place, turn.polled);
    }

    /// Counts and logs a poll, decides when the next one is due, and publishes.
    fn conclude(&mut self, place: usize, polled: Polled) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let window = polled.window;
        let fault = polled.fault().cloned();
        self.settings.own.polled(
            &known.source.business,
            fault.as_ref().map(|fault| fault.reason),
        );
        report::poll(&known, &polled, fault.as_ref());
        if let Some(business) = self.businesses.get_mut(&known.source.business) {
            match fault.as_ref().map(|fault| fault.reason) {
                None => business.refused = false,
                Some(Reason::Denied) => business.refused = true,
                Some(_) => {}
            }
        }
        if fault.is_none() {
            self.gate.acquit(&self.lane(place));
        }
        let now = Instant::now();
        let usual = self.usual(place, window);
        let held = self.gate.held_until(&self.lane(place));
        let state = &mut self.sources[place].windows[window];
        state.failures = if fault.is_some() {
            state.failures.saturating_add(1)
        } else {
            0
        };
        let interval = known.source.windows[window].interval(today());
        state.due = match fault.as_ref().map(|fault| fault.reason) {
            None => usual,
            Some(Reason::Throttled | Reason::Denied | Reason::Forbidden) => {
                // As soon as it is no longer left alone.
                held.unwrap_or(usual)
            }
            Some(Reason::Rejected | Reason::Unavailable | Reason::Garbled | Reason::Panicked) => {
                now + schedule::backoff(state.failures, interval, self.polling.backoff_max)
            }
        };
        let due = state.due;
        let mut next = known.advance(polled);
        next.held_until = held.map(at);
        if let Some(state) = next.windows.get_mut(window) {
            state.next_poll = Some(at(due));
            state.stale_after = next.source.windows[window].stale_after(today());
        }
        let before = Arc::clone(&self.snapshot);
        self.publish(before.replace(place, next));
        let warned = &mut self.sources[place].withheld;
        report::news(&before, &self.snapshot, place, window, warned);
        self.look_at_holds();
    }

    /// There is no token to ask with.
    fn without_token(&mut self, place: usize, window: usize, complaint: String) {
        let business = self.snapshot.sources[place].source.business.clone();
        self.settings.own.token_valid(&business, false);
        self.gate.deny(&business);
        let fault = Fault::new(Reason::Denied, complaint);
        self.conclude(place, Polled::failed(window, clock::now(), fault));
    }

    /// Looks whether a business whose token was refused has another one; if so, it is tried now.
    fn look_at_tokens(&mut self) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_AT_TOKENS;
        let changed = self
            .businesses
            .iter()
            .filter(|(_, business)| business.has_another_token());
        let changed: Vec<Box<str>> = changed.map(|(name, _)| name.clone()).collect();
        for name in changed {
            tracing::info!(
                business = name.as_ref(),
                "the access token changed; trying it now"
            );
            self.gate.admit(&name);
            if let Some(business) = self.businesses.get_mut(&name) {
                business.refused = false;
            }
            for (known, source) in self.snapshot.sources.iter().zip(&mut self.sources) {
                if known.source.business == name {
                    source
                        .windows
                        .iter_mut()
                        .for_each(|window| window.due = now);
                }
            }
        }
    }

    /// Shows who is left alone until when, and when everything is due next. Whoever is left alone
    /// before a first answer counts as tried: asking would not tell more.
    pub(super) fn look_at_holds(&mut self) {
        let mut changed = false;
        let mut next = self.snapshot.as_ref().clone();
        for (place, entry) in next.sources.iter_mut().enumerate() {
            let held = self.gate.held_until(&self.lane(place)).map(at);
            let tried = held.is_some() && !entry.is_tried();
            let dues = self.sources[place]
                .windows
                .iter()
                .map(|window| Some(at(window.due)));
            let is_new = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
                // Both clocks are read at slightly different moments.
                (Some(a), Some(b)) => {
                    a.duration_since(b).unsigned_abs() > Duration::from_millis(500)
                }
                (a, b) => a != b,
            };
            let moved = entry
                .windows
                .iter()
                .zip(dues.clone())
                .any(|(window, due)| is_new(window.next_poll, due));
            if !(tried || moved || is_new(entry.held_until, held)) {
                continue;
            }
            changed = true;
            let known = Arc::make_mut(entry);
            known.held_until = held;
            for (window, due) in known.windows.iter_mut().zip(dues) {
                window.next_poll = due;
                window.tried |= tried;
            }
        }
        if changed {
            self.publish(next);
        }
    }

    /// Takes what has become too old off the page.
    fn withdraw(&mut self) {
        if let Some(snapshot) = self.snapshot.withdraw(clock::now()) {
            self.publish(snapshot);
        }
    }

    pub(super) fn publish(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.settings
            .publish
            .send_replace(Arc::clone(&self.snapshot));
    }

    /// Puts the schedule of everything on the page.
    pub(super) fn publish_schedule(&mut self) {
        self.look_at_holds();
    }

    /// A source that is due at once where nothing is known of it, and in its turn otherwise.
    pub(super) fn new_source(&self, place: usize) -> Source {
        let now = Instant::now();
        let known = &self.snapshot.sources[place];
        let due = |window: usize| {
            let state = &known.windows[window];
            match state.fault.as_ref().map(|fault| fault.reason) {
                _ if !state.tried => now,
                // Somebody may have mended just that.
                Some(Reason::Denied | Reason::Forbidden) => now,
                fault => {
                    let usual = self.usual(place, window);
                    let interval = known.source.windows[window].interval(today());
                    let longest = match fault {
                        Some(Reason::Throttled) if known.held_until.is_some() => LONGEST_HOLD,
                        Some(_) => self.polling.backoff_max.max(interval * 3 / 2),
                        None => interval * 3 / 2,
                    };
                    let kept = state.next_poll.map(until).filter(|wait| *wait <= longest);
                    kept.filter(|wait| !wait.is_zero())
                        .map_or(usual, |wait| now + wait)
                }
            }
        };
        let windows = (0..known.windows.len()).map(|window| Window {
            due: due(window),
            failures: 0,
            rows: None,
        });
        Source {
            discover_at: known
                .listing
                .as_ref()
                .map(|listing| listing.at + self.polling.discovery_interval),
            windows: windows.collect(),
            ..Source::default()
        }
    }

    /// Tells how many sources each business has.
    pub(super) fn count_sources(&self) {
        for business in self.businesses.keys() {
            let ours = self
                .snapshot
                .sources
                .iter()
                .filter(|known| known.source.business == *business);
            self.settings.own.business(business, ours.count());
        }
    }

    /// Who was told to wait before a restart waits on.
    fn resume_holds(&self) {
        for (place, known) in self.snapshot.sources.iter().enumerate() {
            let mut faults = known
                .windows
                .iter()
                .filter_map(|window| window.fault.as_ref());
            if let Some(held) = known.held_until
                && faults.any(|fault| fault.reason == Reason::Throttled)
            {
                let wait = until(held).min(LONGEST_HOLD);
                self.gate.resume(&self.lane(place), wait);
            }
        }
    }

    /// In whose name a source's requests go.
    pub(super) fn lane(&self, place: usize) -> Lane {
        let known: &Known = &self.snapshot.sources[place];
        Lane {
            business: known.source.business.clone(),
            app: self
                .businesses
                .get(&known.source.business)
                .and_then(Business::app),
            account: account(known),
            source: known.source.name.clone(),
        }
    }

    /// Whether every poll under way is one of a source that there is.
    pub(super) fn all_known(&self) -> bool {
        self.running.len() == self.tasks.len() && self.inspections.is_empty()
    }

    /// When a window is due in the ordinary course of things.
    pub(super) fn usual(&self, place: usize, window: usize) -> Instant {
        let source = &self.snapshot.sources[place].source;
        let planned = &source.windows[window];
        let interval = planned.interval(today());
        let phase = schedule::phase(&source.business, &source.name, &planned.name, interval);
        Instant::now() + until(schedule::next(clock::now(), phase, interval))
    }
}

/// How the gate is set for that config.
pub(super) fn limits(config: &Config, plan: &Plan) -> Limits {
    let estimate = |source: &Arc<crate::plan::Source>| {
        source
            .estimate(
                today(),
                config.polling.discovery_interval,
                ASSUMED_CAMPAIGNS,
            )
            .calls_an_hour
    };
    let steady = plan.sources.iter().map(estimate).sum::<f64>() / 3600.0;
    Limits {
        concurrency: config.polling.concurrency,
        requests_a_second: PACE.max(HURRY * steady),
        quota_share: config.polling.quota_share,
        backoff_max: config.polling.backoff_max,
    }
}

/// Today in UTC: near enough to tell a window that ended a month ago.
fn today() -> Date {
    clock::now().to_zoned(TimeZone::UTC).date()
}

/// How long it is until then; nothing where it has passed.
fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock::now())).unwrap_or(Duration::ZERO)
}

/// The wall clock's word for an instant.
fn at(instant: Instant) -> Timestamp {
    clock::now() + instant.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::{Crank, Running, Settings};
    use crate::beat::Beat;
    use crate::config::{Config, Document};
    use crate::exposition::Own;
    use crate::graph::Client;
    use crate::plan::Plan;
    use crate::poll::clock;
    use crate::secret::{Secret, SecretSource};
    use crate::simulator::{self, World};
    use crate::snapshot::Snapshot;

    const CONFIG: &str = "polling: { interval: 50ms, backoff_max: 50ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: acme, access_token_env: T, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
";

    #[tokio::test]
    async fn panic_in_one_poll_is_counted_and_the_others_and_that_source_poll_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = simulator::start(listener, World::demo(), Arc::new(clock::now))
            .await
            .unwrap();
        let document = Document {
            name: "config".to_owned(),
            text: CONFIG.to_owned(),
        };
        let mut config = Config::parse(document, Vec::new()).unwrap();
        config.businesses[0].token = SecretSource::Given(Secret::new(World::demo_token()).unwrap());
        let plan = Plan::of(&config);
        let snapshot = Arc::new(Snapshot::unknown(&plan, clock::now()));
        let own = Arc::new(Own::new("1", "r", "1").unwrap());
        let settings = Settings {
            client: Client::new(&api.url(), "v26.0", config.graph.timeout, None).unwrap(),
            own: Arc::clone(&own),
            publish: watch::channel(Arc::clone(&snapshot)).0,
            beat: Arc::new(Beat::default()),
        };
        let mut crank = Crank::new(&config, &plan, snapshot, settings);
        // In the place of the first source's first poll, one that cannot end well.
        let abort = crank.running.spawn(async { panic!("on purpose") });
        let running = Running {
            place: 0,
            window: 0,
            abort: abort.clone(),
        };
        crank.tasks.insert(abort.id(), running);
        crank.sources[0].running = true;
        let ended = crank.running.join_next_with_id().await.unwrap();
        crank.absorb(ended);
        let page = own.encode();
        let failures = "poll_failures_total{business=\"acme\",reason=\"panicked\"} 1\n";
        assert!(page.contains(failures), "{page}");
        let known = &crank.snapshot.sources[0].windows[0];
        assert!(known.tried && !known.up && known.next_poll > Some(clock::now()));
        assert!(
            known
                .fault
                .as_ref()
                .unwrap()
                .message
                .contains("please report")
        );
        while crank
            .snapshot
            .sources
            .iter()
            .any(|known| !known.windows[0].up)
        {
            tokio::time::sleep_until(crank.wake()).await;
            crank.start_due();
            if let Some(ended) = crank.running.join_next_with_id().await {
                crank.absorb(ended);
            }
        }
        assert!(own.encode().contains(failures));
        assert_eq!(crank.sources[0].windows[0].failures, 0);
    }
}
