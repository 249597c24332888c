//! How a poll begins: what is due is queued, and started one at a time a source.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::agenda::Slot;
use super::crank::{Crank, Running};
use super::turn::{Task, Turn};
use super::{clock, report};
use crate::exposition::Own;
use crate::graph::{Call, Client, Credentials, Gate, Lane, Session, TokenFacts, inspect};

impl Crank {
    /// Starts what is due, the first source of each business before the second of any.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        let mut slots = self.agenda.due_by(now);
        slots.sort_unstable_by_key(|slot| (self.sources[slot.place].nth, *slot));
        for slot in slots {
            self.due(slot, now);
            self.start_next(slot.place);
        }
    }

    /// A source and window is due: queues it, unless it is left alone or still busy.
    fn due(&mut self, slot: Slot, now: Instant) {
        let Slot { place, window } = slot;
        if let Some(until) = self.gate.held_until(&self.lane(place)) {
            return self.appoint(slot, until);
        }
        let usual = self.usual(place, window);
        self.appoint(slot, usual);
        let source = &mut self.sources[place];
        if source.running == Some(window) || source.queue.contains(&window) {
            self.settings
                .own
                .skipped(&self.snapshot.sources[place].source.business);
        } else {
            source.queue.push_back(window);
        }
        debug_assert!(usual > now, "a window is due later than now, or for ever");
    }

    pub(super) fn start_next(&mut self, place: usize) {
        if self.sources[place].running.is_some() {
            return;
        }
        let Some(window) = self.sources[place].queue.pop_front() else {
            return;
        };
        let slot = Slot { place, window };
        // What was queued before a refusal is not asked after it.
        if let Some(until) = self.gate.held_until(&self.lane(place)) {
            self.appoint(slot, until);
            return self.start_next(place);
        }
        let known = Arc::clone(&self.snapshot.sources[place]);
        let Some(business) = self.businesses.get_mut(&known.source.business) else {
            return;
        };
        let credentials = match business.credentials() {
            Ok(credentials) => credentials,
            Err(complaint) => {
                self.without_token(slot, complaint);
                return self.start_next(place);
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
        source.running = Some(window);
        let task = Task {
            source: Arc::clone(&known.source),
            window,
            listing: known.listing.clone(),
            discover: source.discover_at.is_none_or(|at| at <= now),
            lessons: source.lessons.clone(),
            unfiltered: source.windows[window].unfiltered,
        };
        let abort = self.running.spawn(self.poll(place, task, credentials));
        let running = Running {
            slot,
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
        let asker = self.asker(place, credentials);
        async move {
            let told = asker.told();
            let _turn = asker.gate.turn(&asker.lane).await;
            task.run(asker.session(&told)).await
        }
    }

    /// Asks about a business' token, as a task of its own.
    fn inspect(
        &self,
        place: usize,
        app: Box<str>,
        credentials: Credentials,
    ) -> impl Future<Output = (Box<str>, Option<TokenFacts>)> + Send + 'static {
        let asker = self.asker(place, credentials);
        async move {
            let told = asker.told();
            let asked = inspect(asker.session(&told), &app).await;
            let facts = asked.unwrap_or_else(|error| {
                let business = asker.lane.business.as_ref();
                tracing::debug!(business, fault = %error.fault, "nothing is known of the token's expiry");
                None
            });
            (asker.lane.business.clone(), facts)
        }
    }

    fn asker(&self, place: usize, credentials: Credentials) -> Asker {
        Asker {
            client: self.settings.client.clone(),
            credentials,
            gate: Arc::clone(&self.gate),
            lane: self.lane(place),
            own: Arc::clone(&self.settings.own),
            configured: self.version.clone(),
        }
    }
}

/// All that a task needs to ask the API, its own.
struct Asker {
    client: Client,
    credentials: Credentials,
    gate: Arc<Gate>,
    lane: Lane,
    own: Arc<Own>,
    /// The API version that the config names.
    configured: String,
}

impl Asker {
    /// Who counts the calls.
    fn told(&self) -> impl Fn(&Call<'_>) + Send + Sync {
        |call| report::call(&self.own, &self.lane, &self.configured, call)
    }

    fn session<'a>(&'a self, told: &'a (dyn Fn(&Call<'_>) + Send + Sync)) -> Session<'a> {
        Session {
            client: &self.client,
            credentials: &self.credentials,
            gate: &self.gate,
            lane: &self.lane,
            told,
        }
    }
}
