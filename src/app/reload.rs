//! Config reload while the exporter runs.
//!
//! A reload is applied completely or not at all, except that an invalid business file keeps its previous version
//! without affecting other files.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::account_lookup::{self, AccountListing, LookupEvent, RunningLookup};
use crate::config::Config;
use crate::http::{ReloadRequest, ServedConfig, WebConfigFile};
use crate::metrics::{MetricsPage, SelfMetrics};
use crate::plan::{Plan, Shard};
use crate::platform::file_reader::{ConfigFile, LoadedConfig};
use crate::platform::{ServiceManager, clock};
use crate::scheduler::NewConfig;
use crate::snapshot::Snapshot;

/// Maximum time until the scheduler has applied a config.
const APPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reloads the config on request.
#[derive(Debug)]
pub(super) struct Reloader {
    /// Config file and business files, with the contents of the last reload.
    file: ConfigFile,
    shard: Shard,
    /// Interval of the checks for changed files; `None`: the config is reloaded only on request.
    auto_reload_interval: Option<Duration>,
    /// Config in force, before ad accounts are looked up.
    config: Option<Arc<Config>>,
    /// Ad accounts of the last lookup.
    listing: AccountListing,
    /// Whether the last reload had errors.
    has_errors: bool,
}

/// Waits for the next message of a lookup; never completes without one.
async fn next_event(lookup: &mut Option<RunningLookup>) -> LookupEvent {
    match lookup {
        Some(lookup) => lookup.next().await,
        None => std::future::pending().await,
    }
}

/// Whether two snapshots have sources of the same plan.
fn has_same_sources(a: &Snapshot, b: &Snapshot) -> bool {
    let mut pairs = a.sources.iter().zip(&b.sources);
    a.sources.len() == b.sources.len() && pairs.all(|(a, b)| Arc::ptr_eq(&a.source, &b.source))
}

/// Cause of a reload.
enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /-/reload`, which waits for the result.
    Request(ReloadRequest),
    /// The content of the files has changed.
    ChangedFiles,
}

/// Components that are updated by a reload.
#[derive(Debug)]
pub(super) struct ReloadTargets {
    /// Metrics pages; the config is in force when one shows it.
    pub(super) pages: watch::Receiver<Arc<MetricsPage>>,
    /// Channel to the scheduler.
    pub(super) new_configs: mpsc::Sender<NewConfig>,
    /// Part of the config that the HTTP server uses.
    pub(super) served_config: watch::Sender<Arc<ServedConfig>>,
    /// Metrics that record whether the reload succeeded.
    pub(super) self_metrics: Arc<SelfMetrics>,
    /// Web config, a separate file that is reloaded too.
    pub(super) web: Arc<WebConfigFile>,
    /// Service manager, which is notified of the begin and the end of a reload.
    pub(super) service_manager: ServiceManager,
}

impl Reloader {
    pub(super) fn new(file: ConfigFile, shard: Shard) -> Self {
        Self {
            file,
            shard,
            auto_reload_interval: None,
            config: None,
            listing: AccountListing::new(),
            has_errors: false,
        }
    }

    /// Reloads the config when the content of its files has changed, which is checked at this interval.
    pub(super) fn set_auto_reload_interval(&mut self, interval: Option<Duration>) {
        self.auto_reload_interval = interval;
    }

    /// Records that files were refused at the start.
    pub(super) fn set_refused_files(&mut self) {
        self.has_errors = true;
    }

    /// Returns after the next check that finds changed files, or users of the web config without which the last errors
    /// may not be any more.
    async fn files_changed(&self, web: &WebConfigFile) {
        let Some(interval) = self.auto_reload_interval else {
            return std::future::pending().await;
        };
        loop {
            sleep(interval).await;
            let file = self.file.clone();
            // A panic counts as unchanged.
            if spawn_blocking(move || file.has_changed())
                .await
                .unwrap_or(false)
            {
                return;
            }
            if self.has_errors && self.file.web_config_users() != Some(&web.user_names().await) {
                return;
            }
        }
    }

    /// Sets the config that the exporter was started with.
    pub(super) fn with_config(self, config: Arc<Config>) -> Self {
        let config = Some(config);
        Self { config, ..self }
    }

    /// Handles signals and the requests of `POST /-/reload`, one at a time, until `stop` completes. Each request
    /// receives the result of its reload.
    pub(super) async fn run(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        mut requests: mpsc::Receiver<ReloadRequest>,
        targets: ReloadTargets,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        let mut lookup = self.start_lookup(Duration::ZERO);
        loop {
            let trigger = tokio::select! {
                () = &mut stop => return,
                event = next_event(&mut lookup) => {
                    match event {
                        LookupEvent::Part(listing) => self.apply_listing(listing, &targets).await,
                        LookupEvent::Ended(found) => {
                            for (business, error) in &found.errors {
                                tracing::warn!(
                                    business,
                                    error,
                                    "lookup of ad accounts failed; keeping the previous ones"
                                );
                            }
                            let next_in = found.next_in();
                            self.apply_listing(found.listing, &targets).await;
                            lookup = self.start_lookup(next_in);
                        }
                    }
                    continue;
                }
                Some(()) = hangups.recv() => Trigger::Signal,
                Some(request) = requests.recv() => Trigger::Request(request),
                () = self.files_changed(&targets.web) => Trigger::ChangedFiles,
            };
            targets.service_manager.reloading();
            let mut result = self.reload(&targets).await;
            self.has_errors = result.is_err();
            lookup = self.start_lookup(Duration::ZERO);
            // Changed config files are not a reason to apply a web config with less protection.
            let is_deliberate = !matches!(trigger, Trigger::ChangedFiles);
            if is_deliberate && let Err(web_error) = targets.web.reload().await {
                targets.self_metrics.record_reload(None);
                result = Err(match result {
                    Ok(()) => web_error,
                    Err(errors) => format!("{}\n{web_error}", errors.trim_end()),
                });
            }
            targets.service_manager.ready(match result {
                Ok(()) => "serving",
                Err(_) => "serving; the last config reload failed, see the log",
            });
            if let Trigger::Request(request) = trigger {
                // Fails if the client has closed the connection.
                let _ = request.send(result);
            }
        }
    }

    /// Starts a lookup of ad accounts after `delay`, if the config needs one.
    fn start_lookup(&self, delay: Duration) -> Option<RunningLookup> {
        let needed = |config: &&Arc<Config>| account_lookup::is_needed(config);
        let config = self.config.as_ref().filter(needed)?;
        let listing = self.listing.clone();
        Some(RunningLookup::start(Arc::clone(config), listing, delay))
    }

    /// Polls the ad accounts that a lookup found, if they changed.
    async fn apply_listing(&mut self, listing: AccountListing, targets: &ReloadTargets) {
        let Some(config) = self.config.as_ref().filter(|_| listing != self.listing) else {
            return;
        };
        for (business, accounts) in &listing {
            if self.listing.get(business) != Some(accounts) {
                tracing::info!(
                    business,
                    ad_accounts = accounts.len(),
                    "ad accounts looked up"
                );
            }
        }
        self.listing = listing;
        let prepared = prepare(config.with_listed_accounts(&self.listing), self.shard);
        match prepared {
            Ok(new_config) => {
                let served_config = Arc::new(ServedConfig::of(&new_config.config));
                // Fails only during shutdown.
                if targets.new_configs.send(new_config).await.is_ok() {
                    targets.served_config.send_replace(served_config);
                }
            }
            Err(error) => tracing::error!(error, "applying the looked up ad accounts failed"),
        }
    }

    /// Reloads config and business files.
    ///
    /// # Errors
    /// Returns the errors of the config, which then stays unchanged, or those of invalid business files, which keep
    /// their previous versions while the rest is applied.
    async fn reload(&mut self, targets: &ReloadTargets) -> Result<(), String> {
        let self_metrics = &targets.self_metrics;
        // A user can move from the web config to a business, or back, in one reload.
        self.file
            .set_web_config_users(targets.web.user_names().await);
        let loaded = match self.load().await {
            Ok(loaded) => {
                let refused_files = loaded.refused_files();
                for warning in &loaded.warnings {
                    tracing::warn!(warning, "config warning");
                }
                for warning in loaded.config.warnings.iter() {
                    tracing::warn!(%warning, "config warning");
                }
                let refused = loaded.refused;
                let expanded = loaded.config.with_listed_accounts(&self.listing);
                let config = loaded.config;
                // From here on, users that are removed have no access; new ones have it once their business is served.
                let users = config.business_users();
                let prepared = prepare(expanded, self.shard).and_then(|new_config| {
                    targets.web.reserve_business_users(users)?;
                    Ok(new_config)
                });
                prepared.map(|new_config| {
                    self.config = Some(Arc::new(config));
                    (new_config, refused, refused_files)
                })
            }
            Err(errors) => Err(errors),
        };
        let (new_config, file_errors, refused_files) = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => {
                self_metrics.record_reload(None);
                tracing::error!(
                    error = errors,
                    "config reload failed; keeping the previous config"
                );
                targets.served_config.send_modify(|served_config| {
                    let mut changed = ServedConfig::clone(served_config);
                    changed.config_errors.clone_from(&errors);
                    *served_config = Arc::new(changed);
                });
                return Err(errors);
            }
        };
        self_metrics.set_settle_after(new_config.config.insights.settle_after);
        self_metrics.server.set_config_files_refused(refused_files);
        let served_config = Arc::new(ServedConfig {
            config_errors: file_errors.to_string(),
            ..ServedConfig::of(&new_config.config)
        });
        let (applied_sender, applied) = oneshot::channel();
        let new_config = NewConfig {
            applied: Some(applied_sender),
            ..new_config
        };
        let mut pages = targets.pages.clone();
        let apply = async {
            if targets.new_configs.send(new_config).await.is_err() {
                return false;
            }
            let Ok(snapshot) = applied.await else {
                return false;
            };
            // The page is rendered from a later snapshot if a poll has ended in the meantime.
            let is_rendered = |page: &Arc<MetricsPage>| has_same_sources(&page.snapshot, &snapshot);
            pages.wait_for(is_rendered).await.is_ok()
        };
        match timeout(APPLY_TIMEOUT, apply).await {
            Ok(true) => {}
            Ok(false) => return Err("the exporter is shutting down".to_owned()),
            Err(_) => {
                self_metrics.record_reload(None);
                let error = "the scheduler did not apply the config in time";
                tracing::error!(error, "config reload failed; keeping the previous config");
                return Err(error.to_owned());
            }
        }
        targets
            .served_config
            .send_replace(Arc::clone(&served_config));
        targets.web.set_known_businesses(served_config);
        if let Err(error) = targets.web.activate_business_users() {
            self_metrics.record_reload(None);
            tracing::error!(
                error,
                "new users of businesses have no access; reload again"
            );
            return Err(error);
        }
        if file_errors.is_empty() {
            self_metrics.record_reload(Some(clock::now()));
            tracing::info!("config reloaded");
            return Ok(());
        }
        // Reported as a failure, because the written config is not completely in force.
        self_metrics.record_reload(None);
        let errors = file_errors.to_string();
        tracing::error!(
            error = errors,
            "config reloaded except for invalid business files; keeping their previous versions"
        );
        Err(errors)
    }

    /// Reads and checks the files in a blocking task.
    async fn load(&mut self) -> Result<LoadedConfig, String> {
        let mut file = self.file.clone();
        let loaded = spawn_blocking(move || {
            let loaded = file.load();
            (file, loaded)
        });
        let (file, loaded) = loaded.await.map_err(|error| error.to_string())?;
        self.file = file;
        loaded.map_err(|errors| errors.to_string())
    }
}

/// Derives what the scheduler needs from a config.
///
/// # Errors
/// Returns the text of the error if the API client cannot be created.
fn prepare(config: Config, shard: Shard) -> Result<NewConfig, String> {
    let client = super::client(&config).map_err(|error| error.to_string())?;
    let plan = Plan::for_shard(&config, shard);
    Ok(NewConfig {
        config,
        plan,
        client,
        applied: None,
    })
}
