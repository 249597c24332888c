//! Looks up the ad accounts of businesses with `ad_accounts: all`.
//!
//! Polled are ad accounts with message campaigns. If the lookup of a business or of an ad account
//! fails, what was listed before stays in force, and the lookup is repeated earlier.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

use super::{ApiCaller, ApiSession};
use crate::config::{BusinessConfig, Config};
use crate::graph;
use crate::model::AccountId;

/// Time between two lookups: new ad accounts are rare.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Time until a lookup with errors is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Maximum number of businesses that are looked up at the same time. All share the rate of requests, so that with a
/// higher number none would be done before most of the others.
const MAX_CONCURRENT_LOOKUPS: usize = 8;

/// Minimum time between two partial results of a lookup: each of them makes a new plan.
const PART_INTERVAL: Duration = Duration::from_secs(2);

/// Ad accounts of each business with `ad_accounts: all`.
pub(super) type AccountListing = BTreeMap<String, Vec<AccountId>>;

/// Result of a lookup.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountLookup {
    /// Ad accounts of each business, sorted by id.
    pub(super) listing: AccountListing,
    /// Businesses with errors, each with its error.
    pub(super) errors: Vec<(String, String)>,
}

impl AccountLookup {
    /// Returns the time until the next lookup.
    pub(super) fn next_in(&self) -> Duration {
        if self.errors.is_empty() {
            LOOKUP_INTERVAL
        } else {
            RETRY_INTERVAL
        }
    }
}

/// Whether the config has a business with `ad_accounts: all`.
pub(super) fn is_needed(config: &Config) -> bool {
    let mut businesses = config.businesses.iter();
    businesses.any(|business| business.enabled && business.all_ad_accounts.is_some())
}

/// Lookup that runs in the background, and is cancelled when it is dropped.
#[derive(Debug)]
pub(super) struct RunningLookup {
    task: JoinSet<AccountLookup>,
    parts: mpsc::Receiver<AccountListing>,
}

/// Message of a [`RunningLookup`].
pub(super) enum LookupEvent {
    /// Ad accounts of all businesses so far: those that are not looked up yet have their previous ones.
    Part(AccountListing),
    /// The final result.
    Ended(AccountLookup),
}

impl RunningLookup {
    /// Starts a lookup after `delay`. What cannot be read is taken from `previous`.
    pub(super) fn start(config: Arc<Config>, previous: AccountListing, delay: Duration) -> Self {
        let (sender, parts) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(async move {
            sleep(delay).await;
            look_up_accounts(config, previous, &sender).await
        });
        Self { task, parts }
    }

    /// Waits for the next message; never completes after the lookup ended by a panic.
    pub(super) async fn next(&mut self) -> LookupEvent {
        tokio::select! {
            biased;
            Some(listing) = self.parts.recv() => LookupEvent::Part(listing),
            Some(Ok(lookup)) = self.task.join_next() => LookupEvent::Ended(lookup),
            else => std::future::pending().await,
        }
    }
}

/// Lists the ad accounts of all businesses with `ad_accounts: all`, some in parallel. What cannot be read is taken from
/// `previous`. Partial results are sent to `parts`, so that a business without a response delays no other one.
async fn look_up_accounts(
    config: Arc<Config>,
    previous: AccountListing,
    parts: &mpsc::Sender<AccountListing>,
) -> AccountLookup {
    let mut lookup = AccountLookup::default();
    let session = match ApiSession::new(&config, config.polling.quota_share) {
        Ok(session) => Arc::new(session),
        Err(error) => {
            lookup.listing = previous;
            lookup.errors.push((String::new(), error.to_string()));
            return lookup;
        }
    };
    let mut tasks = JoinSet::new();
    let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS));
    for business in &config.businesses {
        if business.enabled && business.all_ad_accounts.is_some() {
            let known = previous.get(&business.name).cloned().unwrap_or_default();
            let (session, business) = (Arc::clone(&session), business.clone());
            let slots = Arc::clone(&slots);
            tasks.spawn(async move {
                // The semaphore is never closed.
                let _slot = slots.acquire().await;
                let (accounts, error) = list_accounts(&session, &business, known).await;
                (business.name, accounts, error)
            });
        }
    }
    let mut so_far = previous;
    let mut is_changed = false;
    let mut part_times = interval_at(Instant::now() + PART_INTERVAL, PART_INTERVAL);
    loop {
        let listed = tokio::select! {
            listed = tasks.join_next() => listed,
            _ = part_times.tick(), if is_changed => {
                // Fails without a receiver. Without a free place, the next part contains this one.
                let _ = parts.try_send(so_far.clone());
                is_changed = false;
                continue;
            }
        };
        match listed {
            None => return lookup,
            // A panic leaves out its own business.
            Some(Err(_)) => {}
            Some(Ok((business, accounts, error))) => {
                lookup
                    .errors
                    .extend(error.map(|error| (business.clone(), error)));
                so_far.insert(business.clone(), accounts.clone());
                lookup.listing.insert(business, accounts);
                is_changed = true;
            }
        }
    }
}

/// Returns the config in which `ad_accounts: all` is replaced by the ad accounts that a lookup found,
/// with the errors of businesses. Without such a business, no request is sent.
pub async fn with_all_accounts(config: Config) -> (Config, Vec<(String, String)>) {
    if !is_needed(&config) {
        return (config, Vec::new());
    }
    let config = Arc::new(config);
    let (parts, _) = mpsc::channel(1);
    let lookup = look_up_accounts(Arc::clone(&config), AccountListing::new(), &parts).await;
    (config.with_listed_accounts(&lookup.listing), lookup.errors)
}

/// Lists the ad accounts with message campaigns of one business, with the last error.
async fn list_accounts(
    session: &ApiSession,
    business: &BusinessConfig,
    known: Vec<AccountId>,
) -> (Vec<AccountId>, Option<String>) {
    let caller = match ApiCaller::new(business, None, "me") {
        Ok(caller) => caller,
        Err(error) => return (known, Some(error)),
    };
    let accounts = match session.call(&caller, graph::list_ad_accounts).await {
        Ok(accounts) => accounts,
        Err(error) => return (known, Some(error.error.to_string())),
    };
    let excluded = business.all_ad_accounts.as_ref().map(|all| &all.exclude);
    let (mut listed, mut last_error) = (Vec::new(), None);
    for account in accounts {
        let id = account.id;
        if excluded.is_some_and(|excluded| excluded.contains(&id)) {
            continue;
        }
        let campaigns = match ApiCaller::new(business, Some(&id), &id.to_string()) {
            Ok(caller) => session
                .call(&caller, async |session| {
                    graph::message_campaigns(session, &id, false).await
                })
                .await
                .map_err(|error| error.error.to_string()),
            Err(error) => Err(error),
        };
        let is_polled = match campaigns {
            Ok(campaigns) => !campaigns.is_empty(),
            Err(error) => {
                last_error = Some(format!("{id}: {error}"));
                known.contains(&id)
            }
        };
        if is_polled {
            listed.push(id);
        }
    }
    listed.sort();
    (listed, last_error)
}
