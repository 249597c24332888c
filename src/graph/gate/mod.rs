//! When the next request may go.
//!
//! Requests in flight are bounded, and shared fairly over businesses; what was throttled or denied
//! is left alone; quotas are spared before they are spent. `holds` knows who is left alone until
//! when, `quota` how fast each ad account and app may be asked. Both are arithmetic on instants;
//! waiting happens here.

mod holds;
mod quota;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use self::holds::{Holds, Why};
use self::quota::Quotas;
use super::error::{Class, Error, Scope as ErrorScope};
use super::usage::Headers;
use crate::fault::Reason;
use crate::row::AccountId;

/// What waits looks again this often: a header may have changed everything.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The one gate that every request of the exporter passes.
#[derive(Debug)]
pub struct Gate {
    /// Requests in flight, over all businesses.
    all: Arc<Semaphore>,
    /// Requests in flight of businesses that were last answered by an outage: half of all, so that
    /// many hanging ones together leave room for the others.
    unwell: Arc<Semaphore>,
    /// How many requests of one business may be in flight: a quarter of all.
    share: usize,
    /// The time between two requests, over all businesses.
    pace: Duration,
    limits: Limits,
    /// Outlives the gate: other limits make another gate, and who is left alone stays so.
    state: Arc<Mutex<State>>,
}

/// How a gate is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests in flight, over all businesses.
    pub concurrency: usize,
    /// Requests a second, over all businesses.
    pub requests_a_second: f64,
    /// The share of a quota above which requests slow down, 0 to 0.95.
    pub quota_share: f64,
    /// The longest pause between two attempts at what failed.
    pub backoff_max: Duration,
}

/// In whose name a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// Whose token.
    pub business: Box<str>,
    /// The app that the token is of; businesses without a configured one are taken to share one.
    pub app: Option<Box<str>>,
    /// The ad account that is asked about, where that is known.
    pub account: Option<AccountId>,
    /// The source.
    pub source: Box<str>,
}

/// What is left alone, or counted, together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    /// Every business of one app.
    App(Option<Box<str>>),
    /// A business.
    Business(Box<str>),
    /// An ad account, whoever asks about it.
    AdAccount(AccountId),
    /// Whatever a business asks about before anybody knows in which ad account that is.
    Unplaced(Box<str>),
    /// One source of a business.
    Source(Box<str>, Box<str>),
}

#[derive(Debug, Default)]
struct State {
    businesses: HashMap<Box<str>, Business>,
    holds: Holds,
    quotas: Quotas,
    /// The polls under way of each business and ad account.
    turns: HashMap<(Box<str>, Scope), Arc<Semaphore>>,
    next_slot: Option<Instant>,
}

#[derive(Debug)]
struct Business {
    /// Its requests in flight.
    lanes: Arc<Semaphore>,
    /// Whether its last answer was an outage.
    unwell: bool,
}

/// Leave to send one request.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    lane: &'a Lane,
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Whether a request may go.
enum Verdict {
    Go,
    Wait(Instant),
    Refuse(Error),
}

impl Lane {
    /// The lane of an app itself: a business of its own, under a name that no config can give.
    pub(super) fn of_app(id: &str) -> Self {
        Self {
            business: format!("\0app {id}").into(),
            app: Some(id.into()),
            account: None,
            source: Box::default(),
        }
    }

    /// Everything that the lane's requests belong to.
    fn scopes(&self) -> [Scope; 4] {
        [
            Scope::App(self.app.clone()),
            Scope::Business(self.business.clone()),
            self.account_scope(),
            Scope::Source(self.business.clone(), self.source.clone()),
        ]
    }

    fn account_scope(&self) -> Scope {
        match &self.account {
            Some(account) => Scope::AdAccount(account.clone()),
            None => Scope::Unplaced(self.business.clone()),
        }
    }
}

impl Gate {
    /// A gate with those limits, open to everybody.
    pub fn new(limits: Limits) -> Self {
        let state = State {
            holds: Holds::new(limits.backoff_max),
            quotas: Quotas::new(limits.quota_share),
            ..State::default()
        };
        Self::with(limits, Arc::new(Mutex::new(state)))
    }

    /// The gate as other limits make it: what this one knows, it knows too.
    #[must_use]
    pub fn reset(&self, limits: Limits) -> Self {
        let gate = Self::with(limits, Arc::clone(&self.state));
        gate.state(|state| {
            state.holds.backoff_max = limits.backoff_max;
            state.quotas.share = limits.quota_share;
            // Their requests in flight are counted by the gate that let them in.
            state.businesses.clear();
            state.turns.clear();
        });
        gate
    }

    /// How it is set.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn with(limits: Limits, state: Arc<Mutex<State>>) -> Self {
        let concurrency = limits.concurrency.max(1);
        Self {
            all: Arc::new(Semaphore::new(concurrency)),
            unwell: Arc::new(Semaphore::new((concurrency / 2).max(1))),
            share: (concurrency / 4).max(1),
            pace: Duration::from_secs_f64(1.0 / limits.requests_a_second.max(0.001)),
            limits,
            state,
        }
    }

    /// Until when that lane is left alone; `None` where it is not.
    pub fn held_until(&self, lane: &Lane) -> Option<Instant> {
        self.state(|state| {
            state
                .holds
                .until(&lane.scopes(), Instant::now())
                .map(|(until, _)| until)
        })
    }

    /// A number that is another one as soon as somebody is left alone who was not, or no longer is:
    /// unless his pause is merely over.
    pub fn changes(&self) -> u64 {
        self.state(|state| state.holds.changes)
    }

    /// Leaves a source alone: it may not be seen with this token.
    pub fn forbid(&self, lane: &Lane) {
        let scope = Scope::Source(lane.business.clone(), lane.source.clone());
        self.state(|state| {
            state
                .holds
                .hold(scope, Why::Forbidden, None, Instant::now())
        });
    }

    /// Leaves a business alone: it has no token that could be tried.
    pub fn deny(&self, business: &str) {
        self.state(|state| {
            state.holds.hold(
                Scope::Business(business.into()),
                Why::Denied,
                None,
                Instant::now(),
            )
        });
    }

    /// Leaves a lane's ad account alone for what is left of a pause that was begun before a restart.
    pub fn resume(&self, lane: &Lane, wait: Duration) {
        let (scope, now) = (lane.account_scope(), Instant::now());
        self.state(|state| state.holds.hold(scope, Why::Throttled, Some(wait), now));
    }

    /// A business has another token: it may be tried at once.
    pub fn admit(&self, business: &str) {
        self.state(|state| state.holds.forget(&Scope::Business(business.into())));
    }

    /// A source was polled well: nothing is held against it any longer.
    pub fn acquit(&self, lane: &Lane) {
        self.state(|state| {
            let now = Instant::now();
            for scope in lane.scopes() {
                state.holds.release(&scope, now);
            }
        });
    }

    /// Waits until a poll of that lane may begin. No more of an ad account's are under way than
    /// could have requests in flight: where a quota makes them wait, some are done soon, instead
    /// of all of them late.
    pub async fn turn(&self, lane: &Lane) -> Option<OwnedSemaphorePermit> {
        let turns = self.state(|state| {
            let key = (lane.business.clone(), lane.account_scope());
            let turns = state.turns.entry(key);
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(self.share))))
        });
        // It is never closed; if it were, a poll would merely begin early.
        turns.acquire_owned().await.ok()
    }

    /// Waits for leave to send one request.
    ///
    /// # Errors
    /// At once, where the API has said that it would refuse.
    pub(super) async fn enter<'a>(&'a self, lane: &'a Lane) -> Result<Permit<'a>, Error> {
        loop {
            // Waiting for a quota must not take room from those who have one.
            self.until_allowed(lane).await?;
            let permits = self.stand_in_line(lane).await?;
            sleep_until(self.slot()).await;
            // Much can have happened meanwhile. Looking and going are one step: of many that wait
            // for the last place of a quota, one gets it.
            let verdict = self.state(|state| {
                let now = Instant::now();
                let verdict = state.verdict(lane, now);
                if let Verdict::Go = verdict {
                    state.quotas.started(lane, now);
                }
                verdict
            });
            match verdict {
                Verdict::Go => {
                    let gate = self;
                    return Ok(Permit {
                        gate,
                        lane,
                        _permits: permits,
                    });
                }
                Verdict::Wait(_) => {}
                Verdict::Refuse(error) => return Err(error),
            }
        }
    }

    async fn until_allowed(&self, lane: &Lane) -> Result<(), Error> {
        loop {
            let now = Instant::now();
            match self.state(|state| state.verdict(lane, now)) {
                Verdict::Go => return Ok(()),
                Verdict::Wait(until) => sleep_until(until.min(now + LOOK_AGAIN)).await,
                Verdict::Refuse(error) => return Err(error),
            }
        }
    }

    async fn stand_in_line(&self, lane: &Lane) -> Result<[Option<OwnedSemaphorePermit>; 3], Error> {
        let (lanes, unwell) = self.state(|state| {
            let business = state.business(&lane.business, self.share);
            (Arc::clone(&business.lanes), business.unwell)
        });
        let own = acquire(&lanes).await?;
        let unwell = if unwell {
            Some(acquire(&self.unwell).await?)
        } else {
            None
        };
        let all = acquire(&self.all).await?;
        Ok([Some(own), unwell, Some(all)])
    }

    /// The next moment at which a request keeps the pace.
    fn slot(&self) -> Instant {
        self.state(|state| {
            let now = Instant::now();
            let slot = state.next_slot.map_or(now, |slot| slot.max(now));
            state.next_slot = Some(slot + self.pace);
            slot
        })
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics while it holds this lock; and if it did, the state would still be sound.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn business(&mut self, name: &str, share: usize) -> &mut Business {
        self.businesses
            .entry(name.into())
            .or_insert_with(|| Business {
                lanes: Arc::new(Semaphore::new(share)),
                unwell: false,
            })
    }

    fn verdict(&self, lane: &Lane, now: Instant) -> Verdict {
        match self.holds.until(&lane.scopes(), now) {
            Some((_, Why::Denied)) => Verdict::Refuse(Error::held(
                Reason::Denied,
                "not asked: the access token was refused",
            )),
            Some((_, Why::Forbidden)) => Verdict::Refuse(Error::held(
                Reason::Forbidden,
                "not asked: this source was refused",
            )),
            Some((_, Why::Throttled)) => Verdict::Refuse(Error::held(
                Reason::Throttled,
                "not asked: the API said that it was asked too often",
            )),
            Some((until, Why::QuotaSpent)) => Verdict::Wait(until),
            None => self
                .quotas
                .wait(lane, now)
                .map_or(Verdict::Go, Verdict::Wait),
        }
    }
}

impl Permit<'_> {
    /// The request was answered: what that means for the next ones.
    pub(super) fn leave(self, error: Option<&Error>, headers: &Headers) {
        let (lane, now) = (self.lane, Instant::now());
        self.gate.state(|state| {
            let unwell = error.is_some_and(|error| error.class == Class::Unavailable);
            state.business(&lane.business, self.gate.share).unwell = unwell;
            for (scope, spent) in state.quotas.observe(lane, headers, now) {
                if spent {
                    state
                        .holds
                        .hold(scope, Why::QuotaSpent, headers.regain, now);
                } else {
                    state.holds.spare(&scope);
                }
            }
            match error.map(|error| error.class) {
                Some(Class::Denied) => {
                    state.holds.hold(
                        Scope::Business(lane.business.clone()),
                        Why::Denied,
                        None,
                        now,
                    );
                }
                Some(Class::Throttled(ErrorScope::App)) => {
                    state.holds.hold(
                        Scope::App(lane.app.clone()),
                        Why::Throttled,
                        headers.regain,
                        now,
                    );
                }
                Some(Class::Throttled(ErrorScope::AdAccount)) => {
                    state
                        .holds
                        .hold(lane.account_scope(), Why::Throttled, headers.regain, now);
                }
                _ => {}
            }
        });
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    // No semaphore here is ever closed.
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .map_err(|_| Error::unavailable("the exporter is shutting down"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::{Gate, Lane, Limits};
    use crate::graph::error::{Class, Error};
    use crate::graph::usage::Headers;
    use crate::row::AccountId;

    fn gate() -> Gate {
        Gate::new(Limits {
            concurrency: 8,
            requests_a_second: 1_000_000.0,
            quota_share: 0.75,
            backoff_max: Duration::from_secs(900),
        })
    }

    fn lane(business: &str, account: &str) -> Lane {
        Lane {
            business: business.into(),
            app: None,
            account: AccountId::parse(account),
            source: format!("act_{account}").into(),
        }
    }

    fn standard() -> Headers {
        Headers {
            tier: Some("standard_access".to_owned()),
            ..Headers::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_business_has_a_quarter_and_unwell_ones_half_together() {
        let gate = gate();
        let lanes: Vec<Lane> = (0..8).map(|n| lane(&format!("business{n}"), "1")).collect();
        let mut permits = Vec::new();
        for _ in 0..2 {
            permits.push(gate.enter(&lanes[0]).await.unwrap());
        }
        let third = timeout(Duration::from_secs(60), gate.enter(&lanes[0])).await;
        assert!(third.is_err(), "a third request of one business waits");
        let outage = Error::unavailable("gone");
        for lane in &lanes[1..4] {
            gate.enter(lane)
                .await
                .unwrap()
                .leave(Some(&outage), &standard());
        }
        for lane in &lanes[1..3] {
            permits.push(gate.enter(lane).await.unwrap());
            permits.push(gate.enter(lane).await.unwrap());
        }
        let fifth = timeout(Duration::from_secs(60), gate.enter(&lanes[3])).await;
        assert!(
            fifth.is_err(),
            "a fifth request of businesses with an outage waits"
        );
        let well = timeout(Duration::from_secs(60), gate.enter(&lanes[4])).await;
        permits.push(well.expect("the others find room").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_start_is_never_the_cause_of_a_development_block() {
        let gate = gate();
        let lanes = [
            lane("acme", "1"),
            Lane {
                account: None,
                ..lane("acme", "1")
            },
        ];
        let start = Instant::now();
        let mut starts = Vec::new();
        for call in 0..200 {
            let permit = gate
                .enter(&lanes[usize::from(call % 3 == 0)])
                .await
                .unwrap();
            starts.push(start.elapsed());
            permit.leave(None, &Headers::default());
        }
        for (place, at) in starts.iter().enumerate() {
            let window = starts[..=place]
                .iter()
                .filter(|s| **s + Duration::from_secs(300) > *at);
            assert!(window.count() <= 50);
        }
        assert!(starts[49] < Duration::from_secs(1), "a burst is fine");
        gate.enter(&lanes[0])
            .await
            .unwrap()
            .leave(None, &standard());
        let settled = Instant::now();
        for _ in 0..200 {
            gate.enter(&lanes[0])
                .await
                .unwrap()
                .leave(None, &standard());
        }
        assert!(
            settled.elapsed() < Duration::from_secs(1),
            "standard access is not slowed down"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_wait_for_the_last_place_of_a_quota_do_not_all_take_it() {
        let gate = Gate::new(Limits {
            concurrency: 400,
            ..gate().limits()
        });
        let lane = lane("acme", "1");
        let mut calls = tokio::task::JoinSet::new();
        let (gate, lane) = (std::sync::Arc::new(gate), std::sync::Arc::new(lane));
        for _ in 0..90 {
            let (gate, lane) = (std::sync::Arc::clone(&gate), std::sync::Arc::clone(&lane));
            calls.spawn(async move {
                let permit = gate.enter(&lane).await.unwrap();
                let at = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                permit.leave(None, &Headers::default());
                at
            });
        }
        let start = Instant::now();
        let starts = calls.join_all().await;
        let burst = starts
            .iter()
            .filter(|at| **at < start + Duration::from_secs(299));
        assert_eq!(burst.count(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_for_its_turn_is_not_started_after_a_refusal() {
        let gate = Gate::new(Limits {
            requests_a_second: 1.0,
            ..gate().limits()
        });
        let lane = lane("acme", "1");
        let first = gate.enter(&lane).await.unwrap();
        let refused = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let denied = Error {
                class: Class::Denied,
                ..Error::unavailable("190")
            };
            first.leave(Some(&denied), &standard());
        };
        let (second, ()) = tokio::join!(gate.enter(&lane), refused);
        assert_eq!(second.unwrap_err().class, Class::Held);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_started_after_a_refusal_until_its_pause_is_over() {
        let gate = gate();
        let (ours, others) = (lane("acme", "1"), lane("other", "2"));
        let denied = Error {
            class: Class::Denied,
            ..Error::unavailable("190")
        };
        gate.enter(&ours)
            .await
            .unwrap()
            .leave(Some(&denied), &standard());
        assert_eq!(gate.enter(&ours).await.unwrap_err().class, Class::Held);
        assert_eq!(
            gate.held_until(&ours),
            Some(Instant::now() + Duration::from_secs(30))
        );
        gate.enter(&others).await.unwrap().leave(None, &standard());
        gate.admit("acme");
        gate.enter(&ours).await.unwrap().leave(None, &standard());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_the_pace() {
        let gate = Gate::new(Limits {
            requests_a_second: 10.0,
            concurrency: 100,
            quota_share: 0.75,
            backoff_max: Duration::from_secs(900),
        });
        let lane = lane("acme", "1");
        let start = Instant::now();
        for _ in 0..21 {
            gate.enter(&lane).await.unwrap().leave(None, &standard());
        }
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
