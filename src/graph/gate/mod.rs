//! When the next request may go.
//!
//! Requests in flight are bounded, and shared fairly over businesses; what was throttled or denied
//! is left alone; quotas are spared before they are spent. `lane` names who asks, `holds` knows who
//! is left alone until when, `quota` how fast each ad account and app may be asked, `permit` what
//! an answer changes about that. All are arithmetic on instants; waiting happens here.

mod holds;
mod lane;
mod permit;
mod quota;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use self::holds::{Holds, Why};
pub use self::lane::Lane;
use self::lane::Scope;
use self::permit::Permit;
use self::quota::Quotas;
use super::error::Error;
use crate::fault::Reason;

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
    /// The share of a quota above which requests slow down, at most
    /// [`MOST_QUOTA_SHARE`](crate::config::MOST_QUOTA_SHARE).
    pub quota_share: f64,
    /// The longest pause between two attempts at what failed.
    pub backoff_max: Duration,
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

/// Whether a request may go.
enum Verdict {
    Go,
    Wait(Instant),
    Refuse(Error),
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

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    // No semaphore here is ever closed.
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .map_err(|_| Error::unavailable("the exporter is shutting down"))
}

#[cfg(test)]
mod tests;
