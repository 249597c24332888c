//! How a poll begins: what is due is queued, and started one at a time a source.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::crank::{Crank, Running};
use super::turn::{Task, Turn};
use super::{clock, report};
use crate::exposition::Own;
use crate::graph::{Call, Client, Credentials, Gate, Lane, Session, TokenFacts, inspect};

impl Crank {
    /// Starts what is due, the first source of each business before the second of any.
    pub(super) fn start_due(&mut self) {
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
            unfiltered: source.windows[window].unfiltered,
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
