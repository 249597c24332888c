//! The crank itself: one task that owns what changes, starts the polls that are due, and takes in
//! what they brought.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::clock;
use super::holds::{Holds, Scope};
use super::schedule;
use super::turn::{Task, Turn};
use crate::beat::Beat;
use crate::config::{App, Config, Polling};
use crate::exposition::{self, Own};
use crate::fault::{Fault, Reason};
use crate::graph::{self, Call, Class, Client, Credentials, Gate, Lane, Lessons, Session};
use crate::plan::{Plan, Subject};
use crate::row::AccountId;
use crate::secret::{Secret, SecretSource};
use crate::secret_store;
use crate::snapshot::{Known, Polled, Snapshot};

/// A business whose token was refused may get another one at any time: how often to look.
const LOOK_AT_TOKEN: Duration = Duration::from_secs(10);

/// The crank turns at least this often, so that it can be seen to turn.
const BEAT: Duration = Duration::from_secs(1);

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

/// Turns plan into snapshots, for ever.
#[derive(Debug)]
pub struct Crank {
    settings: Settings,
    polling: Polling,
    version: String,
    gate: Arc<Gate>,
    businesses: BTreeMap<Box<str>, Business>,
    sources: Vec<Source>,
    holds: Holds,
    snapshot: Arc<Snapshot>,
    running: JoinSet<(usize, Turn)>,
    /// Which source and window each running task polls.
    tasks: HashMap<Id, (usize, usize)>,
    next_look: Instant,
}

/// What changes about a business.
#[derive(Debug)]
struct Business {
    kept: SecretSource,
    app: Option<App>,
    /// The token that was asked with last, or `None` where there was none to be read.
    token: Option<Secret>,
    /// Whether that token was refused.
    refused: bool,
}

/// What changes about a source, beside what is known of it.
#[derive(Debug)]
struct Source {
    lessons: Lessons,
    discover_at: Option<Timestamp>,
    /// Campaigns that have rows and are on no listing, even after one was read for them.
    strangers: BTreeSet<Box<str>>,
    /// Windows that are due, while another one is being polled.
    queue: VecDeque<usize>,
    running: bool,
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    due: Instant,
    failures: u32,
    rows: Option<usize>,
}

impl Crank {
    /// A crank for that config; nothing is asked before it runs.
    pub fn new(config: &Config, plan: &Plan, snapshot: Arc<Snapshot>, settings: Settings) -> Self {
        let now = Instant::now();
        let enabled = config.businesses.iter().filter(|business| business.enabled);
        let businesses = enabled.map(|business| {
            let state = Business {
                kept: business.token.clone(),
                app: business.app.clone(),
                token: None,
                refused: false,
            };
            (Box::from(business.name.as_str()), state)
        });
        let sources = plan.sources.iter().map(|source| Source {
            lessons: Lessons::default(),
            discover_at: None,
            strangers: BTreeSet::new(),
            queue: VecDeque::new(),
            running: false,
            windows: source
                .windows
                .iter()
                .map(|_| Window {
                    due: now,
                    failures: 0,
                    rows: None,
                })
                .collect(),
        });
        let crank = Self {
            polling: config.polling.clone(),
            version: config.graph.version.clone(),
            gate: Arc::new(Gate::new(config.polling.concurrency)),
            businesses: businesses.collect(),
            sources: sources.collect(),
            holds: Holds::default(),
            snapshot,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            next_look: now,
            settings,
        };
        for business in crank.businesses.keys() {
            let ours = plan
                .sources
                .iter()
                .filter(|source| source.business == *business);
            crank.settings.own.business(business, ours.count());
        }
        crank
    }

    /// Polls until `stop` comes. Dropping it at any moment loses nothing but the polls under way.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            self.settings.beat.beat();
            let wake = self.wake();
            tokio::select! {
                () = &mut stop => return,
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => self.absorb(ended),
                () = sleep_until(wake) => {}
            }
            self.withdraw();
            self.look_at_tokens();
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

    /// Starts what is due, business by business in turn.
    fn start_due(&mut self) {
        let now = Instant::now();
        for place in 0..self.sources.len() {
            for window in 0..self.sources[place].windows.len() {
                if self.sources[place].windows[window].due <= now {
                    self.due(place, window, now);
                }
            }
            self.start_next(place);
        }
    }

    /// A source and window is due: queues it, unless it is held off or still busy.
    fn due(&mut self, place: usize, window: usize, now: Instant) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        if let Some(until) = self.holds.until(&self.scopes(place), now) {
            self.sources[place].windows[window].due = until;
            self.publish_next(place, window, until, Some(until));
            return;
        }
        let usual = self.usual(&known, window);
        self.sources[place].windows[window].due = usual;
        let source = &mut self.sources[place];
        let busy = source.queue.contains(&window)
            || self.tasks.values().any(|task| *task == (place, window));
        if busy {
            self.settings.own.skipped(&known.source.business);
        } else {
            source.queue.push_back(window);
        }
    }

    fn start_next(&mut self, place: usize) {
        let source = &mut self.sources[place];
        if source.running {
            return;
        }
        let Some(window) = source.queue.pop_front() else {
            return;
        };
        // What was queued before a refusal is not asked after it.
        if let Some(until) = self.holds.until(&self.scopes(place), Instant::now()) {
            self.sources[place].windows[window].due = until;
            self.publish_next(place, window, until, Some(until));
            self.start_next(place);
            return;
        }
        let known = &self.snapshot.sources[place];
        let name = &known.source.business;
        let credentials = match self.businesses.get_mut(name).map(Business::credentials) {
            Some(Ok(credentials)) => credentials,
            Some(Err(complaint)) => {
                self.refuse(place, window, complaint);
                return;
            }
            None => return,
        };
        self.gate.admit(name);
        let source = &mut self.sources[place];
        source.running = true;
        let task = Task {
            source: Arc::clone(&known.source),
            window,
            listing: known.listing.clone(),
            discover: source.discover_at.is_none_or(|at| at <= clock::now()),
            lessons: source.lessons.clone(),
            rows: source.windows[window].rows,
        };
        let poll = self.poll(place, task, credentials);
        let id = self.running.spawn(poll).id();
        self.tasks.insert(id, (place, window));
    }

    /// One poll as a task of its own: what it needs is its own, what it brings comes back whole.
    fn poll(
        &self,
        place: usize,
        task: Task,
        credentials: Credentials,
    ) -> impl Future<Output = (usize, Turn)> + Send + 'static {
        let client = self.settings.client.clone();
        let own = Arc::clone(&self.settings.own);
        let gate = Arc::clone(&self.gate);
        let configured = self.version.clone();
        let lane = Lane {
            business: task.source.business.clone(),
            account: match self.account_scope(place) {
                Scope::AdAccount(id) => Some(id),
                Scope::App(_) | Scope::Business(_) | Scope::Source(_) => None,
            },
        };
        async move {
            let told = |call: &Call<'_>| count(&own, &lane, &configured, call);
            let session = Session {
                client: &client,
                credentials: &credentials,
                gate: &gate,
                lane: &lane,
                told: &told,
            };
            (place, task.run(session).await)
        }
    }

    /// Takes in what a poll brought.
    fn absorb(&mut self, ended: Result<(Id, (usize, Turn)), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some((place, window)) = self.tasks.remove(&id) else {
            return;
        };
        self.sources[place].running = false;
        match ended {
            Ok((_, (_, turn))) => self.take(place, turn),
            Err(error) if error.is_panic() => {
                let fault = Fault::new(Reason::Panicked, "the poll panicked: please report this");
                self.conclude(place, Polled::failed(window, clock::now(), fault), None);
            }
            Err(_) => {}
        }
        self.start_next(place);
    }

    fn take(&mut self, place: usize, turn: Turn) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let source = &mut self.sources[place];
        let business = known.source.business.as_ref();
        for field in turn
            .lessons
            .dropped
            .iter()
            .filter(|field| !source.lessons.dropped.contains(field))
        {
            self.settings.own.field_rejected(business, field);
            tracing::warn!(
                business,
                source = known.source.name.as_ref(),
                field,
                "the API does not take this field; it is left out from now on"
            );
        }
        for (field, count) in &turn.rejected {
            self.settings.own.values_rejected(field, *count);
        }
        source.lessons = turn.lessons;
        if let Some(state) = source.windows.get_mut(turn.polled.window) {
            state.rows = turn.rows;
        }
        if let Some(fault) = &turn.undiscovered {
            tracing::warn!(business, source = known.source.name.as_ref(), %fault, "discovery failed; the last list serves on");
        }
        if turn.polled.listing.is_some() || turn.undiscovered.is_some() {
            source.discover_at = Some(turn.polled.at + self.polling.discovery_interval);
        }
        // A campaign that no listing knows may be new: look once. One that a fresh listing does
        // not know either is gone, or not ours.
        let fresh = turn.polled.listing.as_deref();
        let unseen = turn
            .strangers
            .iter()
            .any(|id| !source.strangers.contains(id));
        if unseen && fresh.is_none() {
            source.discover_at = None;
        }
        // Kept over the polls of windows in which they have no rows.
        if let Some(listing) = fresh {
            source.strangers.retain(|id| !listing.knows(id));
        }
        source.strangers.extend(turn.strangers);
        self.conclude(place, turn.polled, turn.error);
    }

    /// Counts and logs a poll, decides when the next one is due, and publishes.
    fn conclude(&mut self, place: usize, polled: Polled, error: Option<graph::Error>) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let window = polled.window;
        let business = known.source.business.as_ref();
        let fault = polled.fault().cloned();
        self.settings
            .own
            .polled(business, fault.as_ref().map(|fault| fault.reason));
        match &fault {
            Some(fault) => log_failure(&known, window, fault),
            None => tracing::debug!(
                business,
                source = known.source.name.as_ref(),
                window = known.source.windows[window].name.as_ref(),
                duration = ?polled.duration,
                "polled"
            ),
        }
        let now = Instant::now();
        let state = &mut self.sources[place].windows[window];
        state.failures = if fault.is_some() {
            state.failures.saturating_add(1)
        } else {
            0
        };
        let failures = state.failures;
        if fault.is_none() {
            let released = self.scopes(place);
            for scope in &released {
                self.holds.release(scope);
            }
            if let Some(state) = self.businesses.get_mut(business) {
                state.refused = false;
            }
        }
        let mut due = self.usual(&known, window);
        if let Some(fault) = &fault {
            let interval = known.source.windows[window].interval(today());
            self.hold(place, fault.reason, error.as_ref(), now);
            if let Reason::Rejected | Reason::Unavailable | Reason::Garbled | Reason::Panicked =
                fault.reason
            {
                due = now
                    + schedule::pause(fault.reason, failures, interval, self.polling.backoff_max);
            }
        }
        let held = self.holds.until(&self.scopes(place), now);
        due = held.map_or(due, |held| held.max(now));
        self.sources[place].windows[window].due = due;
        let mut next = known.advance(polled);
        next.held_until = held.map(at);
        if let Some(state) = next.windows.get_mut(window) {
            state.next_poll = Some(at(due));
            state.stale_after = next.source.windows[window].stale_after(today());
        }
        self.publish(self.snapshot.replace(place, next));
        if fault.is_some_and(|fault| fault.reason == Reason::Denied) {
            self.deny_others(place);
        }
    }

    /// Leaves alone whoever that error says should be.
    fn hold(&mut self, place: usize, reason: Reason, error: Option<&graph::Error>, now: Instant) {
        let known = &self.snapshot.sources[place];
        let business = known.source.business.clone();
        let backoff_max = self.polling.backoff_max;
        let wait = error.and_then(|error| error.wait);
        let scope = match (reason, error.map(|error| error.class)) {
            (Reason::Denied, _) => Scope::Business(business),
            (Reason::Forbidden, _) => Scope::Source(place),
            (Reason::Throttled, Some(Class::Throttled(graph::Scope::App))) => {
                Scope::App(self.app(&business))
            }
            (Reason::Throttled, Some(Class::Throttled(graph::Scope::AdAccount))) => {
                self.account_scope(place)
            }
            _ => return,
        };
        self.holds.hold(scope, now, |failures| {
            wait.unwrap_or_else(|| schedule::pause(reason, failures, Duration::ZERO, backoff_max))
        });
    }

    /// Everything that a source belongs to, as far as holds go.
    fn scopes(&self, place: usize) -> [Scope; 4] {
        let business = self.snapshot.sources[place].source.business.clone();
        [
            Scope::App(self.app(&business)),
            Scope::Business(business),
            self.account_scope(place),
            Scope::Source(place),
        ]
    }

    fn app(&self, business: &str) -> Option<Box<str>> {
        let app = self
            .businesses
            .get(business)
            .and_then(|business| business.app.as_ref());
        app.map(|app| app.id.as_str().into())
    }

    /// The ad account, or the source itself while nobody knows which account it is in.
    fn account_scope(&self, place: usize) -> Scope {
        let known = &self.snapshot.sources[place];
        match (&known.source.subject, &known.listing) {
            (Subject::AdAccount { id, .. }, _) => Scope::AdAccount(id.clone()),
            (Subject::Campaign(_), Some(listing)) => Scope::AdAccount(listing.account.id.clone()),
            (Subject::Campaign(_), None) => Scope::Source(place),
        }
    }

    /// There is no token to ask with.
    fn refuse(&mut self, place: usize, window: usize, complaint: String) {
        let business = self.snapshot.sources[place].source.business.clone();
        self.settings.own.token_valid(&business, false);
        let fault = Fault::new(Reason::Denied, complaint);
        self.conclude(place, Polled::failed(window, clock::now(), fault), None);
    }

    /// The other windows of a denied business need not be asked to know how that would end.
    fn deny_others(&mut self, place: usize) {
        let known = Arc::clone(&self.snapshot.sources[place]);
        let business = known.source.business.as_ref();
        if let Some(state) = self.businesses.get_mut(business) {
            state.refused = true;
        }
        let Some(fault) = known.windows.iter().find_map(|window| window.fault.clone()) else {
            return;
        };
        let mut next = self.snapshot.as_ref().clone();
        for known in next
            .sources
            .iter_mut()
            .filter(|known| known.source.business.as_ref() == business)
        {
            for window in Arc::make_mut(known)
                .windows
                .iter_mut()
                .filter(|window| !window.tried)
            {
                window.tried = true;
                window.fault = Some(fault.clone());
            }
        }
        self.publish(next);
    }

    /// Looks whether a business whose token was refused has another one; if so, it is tried now.
    fn look_at_tokens(&mut self) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_AT_TOKEN;
        let changed = |business: &Business| {
            let found = secret_store::read(&business.kept).ok();
            business.refused && found.is_some() && found != business.token
        };
        let changed: Vec<Box<str>> = self
            .businesses
            .iter()
            .filter(|(_, business)| changed(business))
            .map(|(name, _)| name.clone())
            .collect();
        for name in changed {
            tracing::info!(
                business = name.as_ref(),
                "the access token changed; trying it now"
            );
            self.holds.release(&Scope::Business(name.clone()));
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

    /// When a window is due in the ordinary course of things.
    fn usual(&self, known: &Known, window: usize) -> Instant {
        let planned = &known.source.windows[window];
        let interval = planned.interval(today());
        let phase = schedule::phase(
            &known.source.business,
            &known.source.name,
            &planned.name,
            interval,
        );
        Instant::now() + until(schedule::next(clock::now(), phase, interval))
    }

    /// Takes what has become too old off the page.
    fn withdraw(&mut self) {
        if let Some(snapshot) = self.snapshot.withdraw(clock::now()) {
            self.publish(snapshot);
        }
    }

    fn publish_next(&mut self, place: usize, window: usize, due: Instant, held: Option<Instant>) {
        let mut next = self.snapshot.sources[place].as_ref().clone();
        next.held_until = held.map(at);
        let fault = next.windows.iter().find_map(|window| window.fault.clone());
        if let Some(state) = next.windows.get_mut(window) {
            state.next_poll = Some(at(due));
            // Who is held off before the first answer was tried, as far as readiness goes.
            if held.is_some() && !state.tried {
                state.tried = true;
                state.fault = fault.or(Some(Fault::new(
                    Reason::Throttled,
                    "not asked yet: held off together with others",
                )));
            }
        }
        self.publish(self.snapshot.replace(place, next));
    }

    fn publish(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.settings
            .publish
            .send_replace(Arc::clone(&self.snapshot));
    }
}

impl Business {
    /// What to ask with; read anew for every poll, so that a changed file needs no restart.
    fn credentials(&mut self) -> Result<Credentials, String> {
        self.token = None;
        let app_secret = self
            .app
            .as_ref()
            .map(|app| secret_store::read(&app.secret))
            .transpose()?;
        let token = secret_store::read(&self.kept)?;
        self.token = Some(token.clone());
        Ok(Credentials { token, app_secret })
    }
}

/// Counts one call, and keeps what its headers said.
fn count(own: &Own, lane: &Lane, configured: &str, call: &Call<'_>) {
    let business = lane.business.as_ref();
    let account = lane.account.as_ref().map_or("", AccountId::digits);
    own.called(exposition::Call {
        business,
        endpoint: call.endpoint.as_str(),
        duration: call.duration,
        fault: call
            .error
            .map(|error| (error.fault.reason, error.fault.code)),
    });
    for usage in &call.headers.usage {
        let app_wide = matches!(usage.limit.as_str(), "app" | "insights_app");
        let account = usage
            .account_id
            .as_deref()
            .unwrap_or(if app_wide { "" } else { account });
        own.usage(
            business,
            account,
            &usage.limit,
            usage.quantity.as_str(),
            usage.ratio,
        );
    }
    if let Some(tier) = &call.headers.tier {
        own.access_tier(business, account, tier);
    }
    if let Some(answered) = &call.headers.version {
        own.version(configured, answered);
    }
    match call.error.map(|error| error.class) {
        Some(Class::Denied) => own.token_valid(business, false),
        // Only an answer that Meta gave says that the token is good.
        None => own.token_valid(business, true),
        Some(_) => {}
    }
}

fn log_failure(known: &Known, window: usize, fault: &Fault) {
    tracing::warn!(
        business = known.source.business.as_ref(),
        source = known.source.name.as_ref(),
        window = known.source.windows[window].name.as_ref(),
        reason = fault.reason.as_str(),
        code = fault.code,
        subcode = fault.subcode,
        fbtrace_id = fault.fbtrace_id,
        error = fault.message,
        "poll failed"
    );
}

/// Today in UTC: near enough to tell a window that ended a month ago.
fn today() -> jiff::civil::Date {
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
