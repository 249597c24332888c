//! Looks up the ad accounts of businesses with `ad_accounts: all`.
//!
//! Polled are ad accounts with message campaigns. If the lookup of a business or of an ad account
//! fails, what was listed before stays in force, and the lookup is repeated earlier.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::ApiSession;
use crate::config::{BusinessConfig, Config};
use crate::graph;
use crate::model::AccountId;

/// Time between two lookups: new ad accounts are rare.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Time until a lookup with errors is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Maximum number of businesses that are looked up at the same time, without those that wait for a slow response. All
/// share the rate of requests, so that with a higher number none would be done before most of the others.
const MAX_CONCURRENT_LOOKUPS: usize = 8;

/// Maximum number of businesses that are looked up at the same time, including those that wait for a slow response.
const MAX_RUNNING_LOOKUPS: usize = 64;

/// Duration of a request after which its lookup no longer counts as one of [`MAX_CONCURRENT_LOOKUPS`], so that
/// businesses without a response do not block the others.
const SLOW_RESPONSE: Duration = Duration::from_secs(2);

/// Error of a lookup that panicked.
const PANIC_MESSAGE: &str = "the lookup panicked; please report this bug";

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
    /// Ad accounts so far: those of before the lookup, or the last part.
    so_far: AccountListing,
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
        let so_far = previous.clone();
        let lookup = async move {
            sleep(delay).await;
            look_up_accounts(config, previous, &sender).await
        };
        Self::spawn(lookup, so_far, parts)
    }

    fn spawn(
        lookup: impl Future<Output = AccountLookup> + Send + 'static,
        so_far: AccountListing,
        parts: mpsc::Receiver<AccountListing>,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(lookup);
        Self {
            task,
            parts,
            so_far,
        }
    }

    /// Waits for the next message; never completes after the last one.
    pub(super) async fn next(&mut self) -> LookupEvent {
        tokio::select! {
            biased;
            Some(listing) = self.parts.recv() => {
                self.so_far.clone_from(&listing);
                LookupEvent::Part(listing)
            }
            Some(ended) = self.task.join_next() => {
                LookupEvent::Ended(ended.unwrap_or_else(|_| AccountLookup {
                    listing: std::mem::take(&mut self.so_far),
                    errors: vec![(String::new(), PANIC_MESSAGE.to_owned())],
                }))
            }
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
    let quota_share = config.polling.quota_share;
    // Each lookup has at most one request in flight, so that the slots limit the requests.
    let session = match ApiSession::with_concurrency(&config, quota_share, MAX_RUNNING_LOOKUPS) {
        Ok(session) => Arc::new(session),
        Err(error) => {
            return AccountLookup {
                listing: previous,
                errors: vec![(String::new(), error.to_string())],
            };
        }
    };
    let concurrency = MAX_CONCURRENT_LOOKUPS.min(config.polling.concurrency.max(1));
    let responsive = Arc::new(Semaphore::new(concurrency));
    let running = Arc::new(Semaphore::new(MAX_RUNNING_LOOKUPS));
    let mut lookups = BusinessLookups::new(previous);
    for business in &config.businesses {
        if business.enabled && business.all_ad_accounts.is_some() {
            let known = lookups.so_far.get(&business.name).cloned();
            let (session, business) = (Arc::clone(&session), business.clone());
            let (responsive, running) = (Arc::clone(&responsive), Arc::clone(&running));
            let name = business.name.clone();
            lookups.spawn(name, async move {
                // The semaphores are never closed.
                let _running = running.acquire_owned().await;
                let mut slot = LookupSlot(responsive.acquire_owned().await.ok());
                list_accounts(&session, &mut slot, &business, known.unwrap_or_default()).await
            });
        }
    }
    lookups.collect(parts).await
}

/// Place of a lookup among the [`MAX_CONCURRENT_LOOKUPS`]; `None` after a slow response.
#[derive(Debug)]
struct LookupSlot(Option<OwnedSemaphorePermit>);

impl LookupSlot {
    /// Runs a request, and returns the permit to other lookups if the response takes long.
    async fn run<T>(&mut self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        match timeout(SLOW_RESPONSE, &mut request).await {
            Ok(response) => response,
            Err(_) => {
                self.0 = None;
                request.await
            }
        }
    }
}

/// Ad accounts of one business, and its last error.
type BusinessListing = (Vec<AccountId>, Option<String>);

/// Lookups of several businesses, each in a task.
#[derive(Debug)]
struct BusinessLookups {
    tasks: JoinSet<BusinessListing>,
    names: HashMap<Id, String>,
    /// Ad accounts so far: those of before the lookup, until a business was looked up.
    so_far: AccountListing,
}

impl BusinessLookups {
    fn new(previous: AccountListing) -> Self {
        Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
            so_far: previous,
        }
    }

    /// Starts the lookup of a business.
    fn spawn(
        &mut self,
        business: String,
        lookup: impl Future<Output = BusinessListing> + Send + 'static,
    ) {
        let task = self.tasks.spawn(lookup);
        self.names.insert(task.id(), business);
    }

    /// Waits for all lookups. If one panics, its business keeps its previous ad accounts, and has an error.
    async fn collect(mut self, parts: &mpsc::Sender<AccountListing>) -> AccountLookup {
        let mut lookup = AccountLookup::default();
        let mut is_changed = false;
        let mut part_times = interval_at(Instant::now() + PART_INTERVAL, PART_INTERVAL);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                _ = part_times.tick(), if is_changed => {
                    // Fails without a receiver. Without a free place, the next part contains this one.
                    let _ = parts.try_send(self.so_far.clone());
                    is_changed = false;
                    continue;
                }
            };
            let (id, listed) = match ended {
                None => return lookup,
                Some(Ok((id, listed))) => (id, Some(listed)),
                Some(Err(error)) => (error.id(), None),
            };
            let Some(business) = self.names.remove(&id) else {
                continue;
            };
            let (accounts, error) = listed.unwrap_or_else(|| {
                let known = self.so_far.get(&business).cloned().unwrap_or_default();
                (known, Some(PANIC_MESSAGE.to_owned()))
            });
            lookup
                .errors
                .extend(error.map(|error| (business.clone(), error)));
            self.so_far.insert(business.clone(), accounts.clone());
            lookup.listing.insert(business, accounts);
            is_changed = true;
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
    slot: &mut LookupSlot,
    business: &BusinessConfig,
    known: Vec<AccountId>,
) -> BusinessListing {
    let caller = match session.caller(business, None, "me") {
        Ok(caller) => caller,
        Err(error) => return (known, Some(error)),
    };
    let listed = session.call(&caller, graph::list_ad_accounts);
    let accounts = match slot.run(listed).await {
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
        let campaigns = match session.caller(business, Some(&id), &id.to_string()) {
            Ok(caller) => {
                let campaigns = session.call(&caller, async |session| {
                    graph::message_campaigns(session, &id, false).await
                });
                let campaigns = slot.run(campaigns).await;
                campaigns.map_err(|error| error.error.to_string())
            }
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::{AccountListing, BusinessLookups, LookupEvent, RETRY_INTERVAL, RunningLookup};
    use crate::model::AccountId;

    fn accounts(id: &str) -> Vec<AccountId> {
        vec![AccountId::parse(id).unwrap()]
    }

    fn previous() -> AccountListing {
        let businesses = ["acme", "globex"];
        businesses
            .map(|name| (name.to_owned(), accounts("act_1")))
            .into()
    }

    #[tokio::test(start_paused = true)]
    async fn business_with_a_panic_keeps_its_accounts_and_is_retried() {
        let mut lookups = BusinessLookups::new(previous());
        lookups.spawn("acme".to_owned(), async { panic!("test") });
        lookups.spawn("globex".to_owned(), async { (accounts("act_2"), None) });
        let (parts, _) = mpsc::channel(1);
        let lookup = lookups.collect(&parts).await;
        assert_eq!(lookup.listing["acme"], accounts("act_1"));
        assert_eq!(lookup.listing["globex"], accounts("act_2"));
        assert_eq!(lookup.errors.len(), 1);
        assert_eq!(lookup.errors[0].0, "acme");
        assert_eq!(lookup.next_in(), RETRY_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn lookup_that_panics_keeps_its_last_part_and_is_retried() {
        let (sender, parts) = mpsc::channel(1);
        let part: AccountListing = [("acme".to_owned(), accounts("act_2"))].into();
        sender.try_send(part.clone()).unwrap();
        let mut running = RunningLookup::spawn(async { panic!("test") }, previous(), parts);
        drop(sender);
        let event = running.next().await;
        assert!(matches!(event, LookupEvent::Part(listing) if listing == part));
        let LookupEvent::Ended(lookup) = running.next().await else {
            panic!("the lookup should have ended");
        };
        assert_eq!(lookup.listing, part);
        assert_eq!(lookup.next_in(), RETRY_INTERVAL);
    }
}
