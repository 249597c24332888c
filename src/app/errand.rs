//! Questions asked outside of polls, for a person who waits: through a gate of their own, within
//! the same quotas, and counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::config::{Business, Config};
use crate::graph::{Call, Client, Credentials, Gate, Headers, Lane, Limits, Session, SetupError};
use crate::poll::clock;
use crate::row::AccountId;
use crate::secret_store;

/// Requests a second: what a daemon's first round takes at least.
pub const PACE: f64 = 10.0;

/// The way to the API for one command.
#[derive(Debug)]
pub struct Errand {
    client: Client,
    gate: Gate,
    heard: Mutex<Heard>,
}

/// What the answers said beside what was asked.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// How many requests went out.
    pub calls: u64,
    /// The headers of the latest answer that had any.
    pub last: Headers,
    /// The access tier of each ad account that told it.
    pub tiers: BTreeMap<AccountId, String>,
    /// How far this machine's clock is ahead of the API's, by the latest answer.
    pub ahead: Option<SignedDuration>,
}

/// In whose name something is asked.
#[derive(Clone, Debug)]
pub struct Asker {
    credentials: Credentials,
    lane: Lane,
}

impl Asker {
    /// That business, about one of its sources; the ad account where it is known.
    ///
    /// # Errors
    /// A sentence that names the place that holds no token.
    pub fn new(
        business: &Business,
        account: Option<&AccountId>,
        source: &str,
    ) -> Result<Self, String> {
        let read = |place| secret_store::read(place).map_err(|unread| unread.to_string());
        let app = business.app.as_ref();
        Ok(Self {
            credentials: Credentials {
                token: read(&business.token)?,
                app_secret: app.map(|app| read(&app.secret)).transpose()?,
            },
            lane: Lane {
                business: business.name.as_str().into(),
                app: app.map(|app| app.id.as_str().into()),
                account: account.cloned(),
                source: source.into(),
            },
        })
    }
}

impl Errand {
    /// The way to the API that the config names; above `quota_share` of a quota it slows down.
    ///
    /// # Errors
    /// When the config asks for what cannot be had.
    pub fn new(config: &Config, quota_share: f64) -> Result<Self, SetupError> {
        Ok(Self {
            client: super::client(config)?,
            gate: Gate::new(Limits {
                concurrency: config.polling.concurrency,
                requests_a_second: PACE,
                quota_share,
                backoff_max: config.polling.backoff_max,
            }),
            heard: Mutex::default(),
        })
    }

    /// Asks, and listens to what the answers say by the way.
    pub async fn ask<T>(&self, asker: &Asker, question: impl AsyncFnOnce(Session<'_>) -> T) -> T {
        let told = |call: &Call<'_>| self.hear(asker, call);
        question(Session {
            client: &self.client,
            credentials: &asker.credentials,
            gate: &self.gate,
            lane: &asker.lane,
            told: &told,
        })
        .await
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        self.lock().clone()
    }

    /// Until when nothing is asked for that asker; `None` where something may be.
    pub fn held_until(&self, asker: &Asker) -> Option<Instant> {
        self.gate.held_until(&asker.lane)
    }

    fn hear(&self, asker: &Asker, call: &Call<'_>) {
        let mut heard = self.lock();
        heard.calls += 1;
        if let (Some(account), Some(tier)) = (&asker.lane.account, &call.headers.tier) {
            heard.tiers.insert(account.clone(), tier.clone());
        }
        if *call.headers != Headers::default() {
            heard.last = call.headers.clone();
            let date = call.headers.date;
            heard.ahead = date
                .map(|date| clock::now().duration_since(date))
                .or(heard.ahead);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        // Nothing panics while it holds this lock.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
