//! The crank itself: one task that owns everything that changes, and what turns it.
//!
//! How a poll begins stands in `begin`, how it ends in `conclude`, what happens in between in
//! `watch`, and another config in `reload`. A turn costs what changed: of a source that nothing
//! happened to, a pointer is copied, and once a second `watch` looks at it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::agenda::{Agenda, Slot};
use super::business::Business;
use super::reload::account;
use super::turn::Turn;
use super::watch::Watch;
use super::{clock, schedule};
use crate::beat::Beat;
use crate::config::{self, Config, Polling};
use crate::exposition::Own;
use crate::fault::Reason;
use crate::graph::{Client, Gate, Lane, Lessons, Limits, TokenFacts};
use crate::plan::{Plan, Unfiltered};
use crate::row::AccountId;
use crate::snapshot::{Known, Snapshot};

/// The crank turns at least this often, so that it can be seen to turn.
const BEAT: Duration = Duration::from_secs(1);

/// No hold that a state file tells of is believed for longer: clocks are set, and files copied.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

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
    pub(super) agenda: Agenda,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) running: JoinSet<Turn>,
    /// Questions about tokens, which no poll waits for: they only decorate.
    pub(super) inspections: JoinSet<(Box<str>, Option<TokenFacts>)>,
    /// What each running task polls.
    pub(super) tasks: HashMap<Id, Running>,
    /// What a reload took away, while polls of it may still have a last word.
    pub(super) gone: BTreeSet<(Box<str>, Option<AccountId>)>,
    pub(super) watch: Watch,
}

/// A poll under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) slot: Slot,
    pub(super) abort: AbortHandle,
}

/// What changes about a source, beside what is known of it.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) lessons: Lessons,
    pub(super) discover_at: Option<Timestamp>,
    /// Campaigns that have rows and are on no listing, even after one was read for them.
    pub(super) strangers: BTreeSet<Box<str>>,
    /// Rows whose conversions Meta keeps back, and that were warned of.
    pub(super) withheld: BTreeSet<Box<str>>,
    /// Windows that are due, while another one is being polled.
    pub(super) queue: VecDeque<usize>,
    /// The window that is being polled.
    pub(super) running: Option<usize>,
    /// How many sources of its business stand before it.
    pub(super) nth: usize,
    pub(super) windows: Vec<Window>,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) failures: u32,
    pub(super) unfiltered: Unfiltered,
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
            agenda: Agenda::default(),
            watch: Watch::of(&snapshot),
            snapshot,
            running: JoinSet::new(),
            inspections: JoinSet::new(),
            tasks: HashMap::new(),
            gone: BTreeSet::new(),
            settings,
        };
        for business in polled(config, plan) {
            crank
                .businesses
                .insert(business.name.as_str().into(), Business::new(business));
        }
        for place in 0..plan.sources.len() {
            crank.agenda.add(crank.first_dues(place));
            crank.sources.push(crank.new_source(place));
        }
        crank.arrange();
        crank.resume_holds();
        crank.count_sources(plan);
        // The schedule stands on the first page.
        crank.look_at_holds();
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
            self.start_due();
            self.look_at_holds();
        }
    }

    /// Polls every source and window once, and ends.
    pub async fn run_once(mut self) -> Arc<Snapshot> {
        while self.snapshot.sources.iter().any(|known| !known.is_tried()) {
            self.start_due();
            self.look_at_holds();
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
        let stale = self.watch.stale.map(|at| now + until(at));
        [self.agenda.next(), stale, Some(now + BEAT)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now)
    }

    pub(super) fn publish(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        self.settings
            .publish
            .send_replace(Arc::clone(&self.snapshot));
    }

    /// That window is due then, which is to be shown.
    pub(super) fn appoint(&mut self, slot: Slot, due: Instant) {
        self.agenda.move_to(slot, due);
        self.watch.moved.insert(slot.place);
    }

    /// When the windows of a source are due that is new here: at once where nothing is known of
    /// them, and in their turn otherwise.
    pub(super) fn first_dues(&self, place: usize) -> Vec<Instant> {
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
        (0..known.windows.len()).map(due).collect()
    }

    /// A source of which no more is known than the snapshot says.
    pub(super) fn new_source(&self, place: usize) -> Source {
        let known = &self.snapshot.sources[place];
        Source {
            discover_at: known
                .listing
                .as_ref()
                .filter(|listing| !known.source.wants_other_facts(listing))
                .map(|listing| listing.at + self.polling.discovery_interval),
            windows: known.windows.iter().map(|_| Window::default()).collect(),
            ..Source::default()
        }
    }

    /// To be called when the sources are other ones: each learns its turn, and all are looked at.
    pub(super) fn arrange(&mut self) {
        let same = |a: &Arc<Known>, b: &Arc<Known>| a.source.business == b.source.business;
        let businesses = self.snapshot.sources.chunk_by(same);
        let nth = businesses.flat_map(|ours| 0..ours.len());
        for (source, nth) in self.sources.iter_mut().zip(nth) {
            source.nth = nth;
        }
        self.watch = Watch::of(&self.snapshot);
    }

    /// Tells how many sources each business has.
    pub(super) fn count_sources(&self, plan: &Plan) {
        self.settings.own.configured(plan.configured);
        for (business, sources) in plan.businesses() {
            self.settings.own.business(business, sources);
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

/// The businesses that have something to poll; no other's token is read.
pub(super) fn polled<'c>(
    config: &'c Config,
    plan: &Plan,
) -> impl Iterator<Item = &'c config::Business> {
    let sources = plan.businesses();
    let businesses = config.businesses.iter();
    businesses.filter(move |business| sources.contains_key(business.name.as_str()))
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
pub(super) fn today() -> Date {
    clock::now().to_zoned(TimeZone::UTC).date()
}

/// How long it is until then; nothing where it has passed.
pub(super) fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock::now())).unwrap_or(Duration::ZERO)
}

/// The wall clock's word for an instant.
pub(super) fn at(instant: Instant) -> Timestamp {
    clock::now() + instant.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{Crank, Running, Settings, Slot};
    use crate::beat::Beat;
    use crate::config::{Config, Document};
    use crate::exposition::Own;
    use crate::graph::Client;
    use crate::plan::{Plan, Shard};
    use crate::poll::clock;
    use crate::secret::{Secret, SecretSource};
    use crate::simulator::{self, Simulator, World};
    use crate::snapshot::Snapshot;

    const CONFIG: &str = "polling: { interval: 50ms, backoff_max: 50ms }
windows: [{ name: today, date_preset: today }]
businesses:
  - { name: acme, access_token_env: T, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
";

    /// A crank of two ad accounts of one business, and the API that it asks.
    async fn crank() -> (Crank, Simulator) {
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
        let plan = Plan::of(&config, Shard::WHOLE);
        let snapshot = Arc::new(Snapshot::unknown(&plan, clock::now()));
        let settings = Settings {
            client: Client::new(&api.url(), "v26.0", config.graph.timeout, None).unwrap(),
            own: Arc::new(Own::new("1", "r", "1", Shard::WHOLE).unwrap()),
            publish: watch::channel(Arc::clone(&snapshot)).0,
            beat: Arc::new(Beat::default()),
        };
        (Crank::new(&config, &plan, snapshot, settings), api)
    }

    #[tokio::test]
    async fn what_is_shown_follows_schedule_and_holds_at_the_next_look() {
        let (mut crank, _api) = crank().await;
        let is_same = |crank: &Crank, before: &Snapshot| {
            let both = crank.snapshot.sources.iter().zip(&before.sources);
            both.map(|(now, before)| Arc::ptr_eq(now, before))
                .collect::<Vec<_>>()
        };
        let held = |crank: &Crank| {
            let sources = crank.snapshot.sources.iter();
            sources
                .map(|known| known.held_until.is_some() && known.is_tried())
                .collect::<Vec<_>>()
        };
        let slot = |place| Slot { place, window: 0 };
        let after = |minutes: u64| Instant::now() + Duration::from_secs(60 * minutes);
        crank.appoint(slot(0), after(1));
        crank.appoint(slot(1), after(1));
        crank.look_at_holds();
        let before = Arc::clone(&crank.snapshot);
        crank.look_at_holds();
        assert!(Arc::ptr_eq(&crank.snapshot, &before), "nothing happened");
        crank.appoint(slot(1), after(2));
        crank.look_at_holds();
        assert_eq!(is_same(&crank, &before), [true, false]);
        let due = crank.snapshot.sources[1].windows[0].next_poll.unwrap();
        assert!(due > clock::now() + Duration::from_secs(90));
        crank.gate.deny("acme");
        crank.look_at_holds();
        assert_eq!(held(&crank), [true, true]);
        crank.gate.admit("acme");
        crank.look_at_holds();
        assert_eq!(held(&crank), [false, false]);
    }

    #[tokio::test]
    async fn panic_in_one_poll_is_counted_and_the_others_and_that_source_poll_on() {
        let (mut crank, _api) = crank().await;
        let own = Arc::clone(&crank.settings.own);
        // In the place of the first source's first poll, one that cannot end well.
        let abort = crank.running.spawn(async { panic!("on purpose") });
        let slot = Slot {
            place: 0,
            window: 0,
        };
        let running = Running {
            slot,
            abort: abort.clone(),
        };
        crank.tasks.insert(abort.id(), running);
        crank.sources[0].running = Some(0);
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
