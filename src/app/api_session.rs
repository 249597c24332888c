//! API access for one-shot commands: a client and a rate limiter with the quotas of the config, and statistics of the
//! calls. The serving exporter sends its requests from the scheduler instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::time::Instant;

use crate::config::{BusinessConfig, Config};
use crate::graph::{
    ApiCaller, CallRecord, Client, Credentials, LimiterConfig, MAX_ATTEMPTS, RateLimiter,
    RequestScope, Session, SetupError, UsageHeaders,
};
use crate::model::AccountId;
use crate::platform::{clock, secrets};
use crate::scheduler::MIN_REQUESTS_PER_SECOND;

/// API access of one command.
#[derive(Debug)]
pub struct ApiSession {
    client: Client,
    /// Limiter of this session only: it does not take the requests of a running exporter into account.
    limiter: Arc<RateLimiter>,
    stats: Mutex<CallStats>,
}

/// Statistics of the calls of a session, from the responses' headers.
#[derive(Clone, Debug, Default)]
pub struct CallStats {
    /// Number of HTTP requests, retries included.
    pub calls: u64,
    /// Usage headers of the last response that contained any of them; empty before.
    pub last: UsageHeaders,
    /// Access tier by ad account, if reported in a response: `development_access` or `standard_access`.
    pub tiers: BTreeMap<AccountId, String>,
    /// Headers of the last response that had any of them, by business and source.
    pub by_source: BTreeMap<(Box<str>, Box<str>), UsageHeaders>,
    /// Time by which the local clock is ahead of the API's, negative if it is behind; from the last response with a
    /// `Date` header, and therefore accurate to about a second. `None` without such a response.
    pub ahead: Option<SignedDuration>,
}

impl ApiSession {
    /// Creates a session for the API of a config. `quota_share` is the ratio of each quota above which requests slow
    /// down, 0 to 1.
    ///
    /// # Errors
    /// Returns an error if the client cannot be created from the config.
    pub fn new(config: &Config, quota_share: f64) -> Result<Self, SetupError> {
        Self::with_concurrency(config, quota_share, config.polling.concurrency)
    }

    /// Creates a session as [`new`](Self::new) does, with another number of requests in flight than that of the config.
    pub(super) fn with_concurrency(
        config: &Config,
        quota_share: f64,
        concurrency: usize,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            client: super::client(config)?,
            limiter: Arc::new(RateLimiter::new(LimiterConfig {
                concurrency,
                requests_per_second: MIN_REQUESTS_PER_SECOND,
                quota_share,
                backoff_max: config.polling.backoff_max,
            })),
            stats: Mutex::default(),
        })
    }

    /// Returns a caller for a source of a business, after reading the credentials. `account` is `None` if the ad account
    /// is unknown. `source` is the name of the source.
    ///
    /// # Errors
    /// Returns a message that names the secret's source if it contains no usable secret.
    pub fn caller(
        &self,
        business: &BusinessConfig,
        account: Option<&AccountId>,
        source: &str,
    ) -> Result<ApiCaller, String> {
        let read = |secret| secrets::read_secret(secret).map_err(|error| error.to_string());
        let app = business.app.as_ref();
        let credentials = Credentials {
            token: read(&business.token)?,
            app_secret: app
                .and_then(|app| app.secret.as_ref())
                .map(read)
                .transpose()?,
        };
        Ok(ApiCaller {
            client: self.client.clone(),
            credentials,
            limiter: Arc::clone(&self.limiter),
            scope: RequestScope {
                business: business.name.as_str().into(),
                app: app.map(|app| app.id.as_str().into()),
                account: account.cloned(),
                source: source.into(),
            },
        })
    }

    /// Runs `request` on behalf of `caller`, and records statistics of its calls.
    pub async fn call<T>(
        &self,
        caller: &ApiCaller,
        request: impl AsyncFnOnce(Session<'_>) -> T,
    ) -> T {
        let on_call = |call: &CallRecord<'_>| self.record(caller, call);
        request(Session {
            caller,
            deadline: None,
            max_attempts: MAX_ATTEMPTS,
            on_call: &on_call,
        })
        .await
    }

    /// Returns the statistics so far.
    pub fn stats(&self) -> CallStats {
        self.lock_stats().clone()
    }

    /// Returns until when the caller's requests are paused; `None` if they are not.
    pub fn paused_until(&self, caller: &ApiCaller) -> Option<Instant> {
        self.limiter.paused_until(&caller.scope)
    }

    /// Adds a call to the statistics.
    fn record(&self, caller: &ApiCaller, call: &CallRecord<'_>) {
        let mut stats = self.lock_stats();
        stats.calls += 1;
        if let (Some(account), Some(tier)) = (&caller.scope.account, &call.headers.tier) {
            stats.tiers.insert(account.clone(), tier.clone());
        }
        if *call.headers != UsageHeaders::default() {
            let scope = &caller.scope;
            let source = (scope.business.clone(), scope.source.clone());
            stats.by_source.insert(source, call.headers.clone());
            stats.last = call.headers.clone();
            let date = call.headers.date;
            stats.ahead = date
                .map(|date| clock::now().duration_since(date))
                .or(stats.ahead);
        }
    }

    fn lock_stats(&self) -> MutexGuard<'_, CallStats> {
        // The lock is never poisoned, because no code that holds it can panic.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
