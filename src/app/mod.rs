//! Application: builds the exporter from a config, runs its tasks and stops them together.
//!
//! Data flow: the scheduler publishes snapshots, `render` turns them into metrics pages that the HTTP server serves,
//! and `state_writer` saves them to the state file. `reload` applies a new config, and `account_lookup` finds the ad
//! accounts of `ad_accounts: all`. `api_session` is the API access of one-shot commands, which do not poll.

mod account_lookup;
mod api_session;
mod reload;
mod render;
mod state_writer;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::account_lookup::with_all_accounts;
pub use self::api_session::{ApiSession, CallStats};
use self::reload::{ReloadTargets, Reloader};
pub use self::state_writer::StateFile;
use crate::config::{Config, ConfigErrors};
use crate::graph::{Client, SetupError};
use crate::http::{self, AccessSummary, AppState, ServedConfig, WebConfigFile};
use crate::metrics::{MetricsPage, SelfMetrics, limit_series};
use crate::plan::{Plan, Shard};
use crate::platform::file_reader::ConfigFile;
use crate::platform::{Heartbeat, ProcessCollector, ServiceManager, clock};
use crate::scheduler::{Scheduler, SchedulerDeps};
use crate::snapshot::{HealthTracker, Snapshot};
use crate::state::StoreError;

/// Maximum time until all tasks end. Together with the time for threads, it is below the 5 s in which the exporter
/// should stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

/// Error that prevents the exporter from starting, or stops it.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The API client could not be created from the config.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A self metric could not be registered.
    #[error("cannot register the exporter's own metrics: {0}")]
    SelfMetrics(#[from] prometheus::Error),
    /// The metrics page could not be rendered.
    #[error("cannot render the metrics page: {0}")]
    Page(#[from] io::Error),
    /// A listener could not be bound.
    #[error("cannot listen on {address}: {source}; free the address or set another {flag}")]
    Bind {
        /// Flag that names the address.
        flag: &'static str,
        /// Address as given on the command line.
        address: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A listen address is invalid.
    #[error("{flag}={address}: {problem}")]
    InvalidAddress {
        /// Flag that names the address.
        flag: &'static str,
        /// Address as given on the command line.
        address: String,
        /// Expected and found value, and the remedy.
        problem: String,
    },
    /// The state file is not one of this exporter, or in use by another process.
    #[error("--state.file={path}: {source}; use another path", path = path.display())]
    StateFile {
        /// Path as given on the command line.
        path: PathBuf,
        /// Reason.
        source: StoreError,
    },
    /// The users of businesses contradict the web config.
    #[error("{0}")]
    WebUsers(String),
    /// A task that runs until shutdown returned or panicked.
    #[error("an internal task ended unexpectedly: {0}; please report this bug")]
    TaskEnded(String),
}

/// Result of polling every source once.
#[derive(Debug)]
pub struct PolledPage {
    /// Metrics of the campaigns and of the polls.
    pub campaigns: String,
    /// The exporter's own metrics.
    pub own: String,
    /// Polls that failed or were not started.
    pub failed: Vec<FailedPoll>,
}

/// A poll that failed or was not started.
#[derive(Debug)]
pub struct FailedPoll {
    /// Name of the business.
    pub business: Box<str>,
    /// Name of the source.
    pub source: Box<str>,
    /// Name of the window.
    pub window: Box<str>,
    /// End of the pause of the source, if it is paused.
    pub paused_until: Option<jiff::Timestamp>,
}

/// Exporter before its tasks are started.
#[derive(Debug)]
pub struct App {
    scheduler: Scheduler,
    self_metrics: Arc<SelfMetrics>,
    /// Health of the businesses, which the scheduler updates.
    health: Arc<HealthTracker>,
    /// Time of the scheduler's last iteration, by which health checks and the watchdog detect a stall.
    heartbeat: Arc<Heartbeat>,
    /// Snapshots that the scheduler publishes.
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Rendered pages, for the HTTP server.
    pages: watch::Sender<Arc<MetricsPage>>,
    /// Part of the config that the HTTP server uses.
    served_config: watch::Sender<Arc<ServedConfig>>,
    /// State file; `None`: values are not saved.
    state_file: Option<StateFile>,
    shard: Shard,
    reloader: Option<(Reloader, mpsc::Receiver<()>)>,
    config: Arc<Config>,
    lifecycle: bool,
    /// TLS, users and headers. Default: none.
    web: Arc<WebConfigFile>,
    route_prefix: String,
    health_listeners: Vec<TcpListener>,
    service_manager: ServiceManager,
}

impl App {
    /// Builds an exporter for one shard of a config. No request is sent, no address bound and no task started.
    ///
    /// # Errors
    /// Returns an error if the API client cannot be created from the config, the self metrics cannot be registered,
    /// or the first page cannot be rendered.
    pub fn new(config: &Config, shard: Shard) -> Result<Self, AppError> {
        Self::with_state(config, shard, None)
    }

    /// Builds an exporter with the values from a state file, to which `run` saves new values. With `None`, values are
    /// neither restored nor saved.
    ///
    /// # Errors
    /// Returns an error if the API client cannot be created from the config, the self metrics cannot be registered, or
    /// the first page cannot be rendered.
    pub fn with_state(
        config: &Config,
        shard: Shard,
        mut state_file: Option<StateFile>,
    ) -> Result<Self, AppError> {
        let now = clock::now();
        let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("REVISION"));
        let health = Arc::new(HealthTracker::default());
        let self_metrics = Arc::new(SelfMetrics::new(
            version,
            revision,
            env!("RUST_VERSION"),
            shard,
            Arc::clone(&health),
        )?);
        self_metrics.register(Box::new(ProcessCollector::new()?))?;
        self_metrics.record_reload(Some(now));
        self_metrics.set_settle_after(config.insights.settle_after);
        let client = client(config)?;
        let plan = Plan::for_shard(config, shard);
        let snapshot = match &mut state_file {
            Some(file) => file.restore(&plan, now),
            None => Snapshot::empty(&plan, now),
        };
        let (publish, snapshots) = watch::channel(Arc::new(snapshot));
        let heartbeat = Arc::new(Heartbeat::default());
        let deps = SchedulerDeps {
            client,
            self_metrics: Arc::clone(&self_metrics),
            health: Arc::clone(&health),
            publish,
            heartbeat: Arc::clone(&heartbeat),
        };
        let restored = Arc::clone(&snapshots.borrow());
        let scheduler = Scheduler::new(config, &plan, restored, deps);
        // The scheduler has published a snapshot with due times.
        let scheduled = Arc::clone(&snapshots.borrow());
        let page = MetricsPage::render(scheduled, self_metrics.encode_businesses(), None)?;
        self_metrics.record_page(page.series, page.plain_bytes);
        Ok(Self {
            scheduler,
            self_metrics,
            health,
            heartbeat,
            snapshots,
            pages: watch::Sender::new(Arc::new(page)),
            served_config: watch::Sender::new(Arc::new(ServedConfig::of(config))),
            state_file,
            shard,
            reloader: None,
            config: Arc::new(config.clone()),
            lifecycle: false,
            web: Arc::new(WebConfigFile::none()),
            route_prefix: String::new(),
            health_listeners: Vec::new(),
            service_manager: ServiceManager::default(),
        })
    }

    /// Enables config reloads: for each message from `reload_signals` (sent on SIGHUP) and, if `lifecycle` is set, for
    /// `POST /-/reload`.
    #[must_use]
    pub fn with_reload(
        self,
        file: ConfigFile,
        reload_signals: mpsc::Receiver<()>,
        lifecycle: bool,
    ) -> Self {
        Self {
            reloader: Some((Reloader::new(file, self.shard), reload_signals)),
            lifecycle,
            ..self
        }
    }

    /// Enables reloads when the content of the config files has changed; `None` disables them. Has an effect only after
    /// [`App::with_reload`].
    #[must_use]
    pub fn with_auto_reload(mut self, interval: Option<Duration>) -> Self {
        if let Some((reloader, _)) = &mut self.reloader {
            reloader.set_auto_reload_interval(interval);
        }
        self
    }

    /// Reports business files that were refused at the start.
    #[must_use]
    pub fn with_refused_files(mut self, errors: &ConfigErrors, files: usize) -> Self {
        self.self_metrics.server.set_config_files_refused(files);
        if !errors.is_empty() {
            if let Some((reloader, _)) = &mut self.reloader {
                reloader.set_refused_files();
            }
            self.self_metrics.record_reload(None);
            self.served_config.send_modify(|served_config| {
                let mut changed = ServedConfig::clone(served_config);
                changed.config_errors = errors.to_string();
                *served_config = Arc::new(changed);
            });
        }
        self
    }

    /// Returns the access policy in force, and whether the lifecycle endpoints are enabled.
    pub fn access(&self) -> (AccessSummary, bool) {
        let mut summary = self.web.summary();
        summary.business_users = self.config.business_users().len();
        (summary, self.lifecycle)
    }

    /// Sets the web config, which determines TLS, users and headers.
    #[must_use]
    pub fn with_web_config(self, web: WebConfigFile) -> Self {
        web.set_known_businesses(Arc::clone(&self.served_config.borrow()));
        web.set_self_metrics(Arc::clone(&self.self_metrics));
        let web = Arc::new(web);
        Self { web, ..self }
    }

    /// Sets the prefix of all HTTP paths: empty, or a path such as `/exporter`.
    #[must_use]
    pub fn with_route_prefix(self, route_prefix: String) -> Self {
        Self {
            route_prefix,
            ..self
        }
    }

    /// Sets listeners that serve only health checks, without TLS and users.
    #[must_use]
    pub fn with_health_listeners(self, health_listeners: Vec<TcpListener>) -> Self {
        Self {
            health_listeners,
            ..self
        }
    }

    /// Reports readiness and status to the service manager.
    #[must_use]
    pub fn with_service_manager(self, service_manager: ServiceManager) -> Self {
        Self {
            service_manager,
            ..self
        }
    }

    /// Returns a receiver of the metrics pages; its current value is the latest page.
    pub fn subscribe_pages(&self) -> watch::Receiver<Arc<MetricsPage>> {
        self.pages.subscribe()
    }

    /// Polls every window of every source once. Returns the metrics, and the polls that did not succeed.
    ///
    /// # Errors
    /// Returns an error if the page cannot be rendered.
    pub async fn once(self) -> Result<PolledPage, AppError> {
        let snapshot = self.scheduler.run_once().await;
        let (snapshot, dropped_series) = limit_series(snapshot, None)?;
        self.self_metrics.record_dropped_series(&dropped_series);
        let own = self.self_metrics.encode();
        let mut campaigns = Vec::new();
        crate::metrics::write_campaign_page(&snapshot, &mut campaigns)?;
        let mut failed = Vec::new();
        for state in &snapshot.sources {
            for (window, planned) in state.windows.iter().zip(&state.source.windows) {
                if !window.up {
                    failed.push(FailedPoll {
                        business: state.source.business.clone(),
                        source: state.source.name.clone(),
                        window: planned.name.as_ref().into(),
                        paused_until: state.paused_until,
                    });
                }
            }
        }
        Ok(PolledPage {
            campaigns: String::from_utf8_lossy(&campaigns).into_owned(),
            own,
            failed,
        })
    }

    /// Polls and serves until `stop` completes, then stops all tasks and waits for them. `listeners` are bound
    /// sockets, and `telemetry_path` is the path of the metrics page (`--web.telemetry-path`).
    ///
    /// # Errors
    /// Returns [`AppError::WebUsers`] if the users of businesses contradict the web config, so that nothing is served,
    /// and [`AppError::TaskEnded`] if a task ends before `stop` completes.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        telemetry_path: String,
        stop: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        self.web
            .reserve_business_users(self.config.business_users())
            .and_then(|()| self.web.activate_business_users())
            .map_err(AppError::WebUsers)?;
        let (stop_sender, stopped) = watch::channel(false);
        let (reload_sender, reload_requests) = mpsc::channel(1);
        let (config_sender, new_configs) = mpsc::channel(1);
        let app_state = Arc::new(AppState {
            telemetry_path,
            page: self.pages.subscribe(),
            self_metrics: Arc::clone(&self.self_metrics),
            health: self.health,
            shard: self.shard,
            served_config: self.served_config.subscribe(),
            heartbeat: Arc::clone(&self.heartbeat),
            was_ready: AtomicBool::new(false),
            reload_requests: self.lifecycle.then_some(reload_sender),
            poll_now: self.lifecycle.then(|| self.scheduler.poll_now()),
            now: clock::now,
            render_permits: AppState::new_render_permits(),
            reader_permits: AppState::new_reader_permits(),
            refusals: http::RefusalLog::default(),
            route_prefix: self.route_prefix,
        });
        let mut tasks = JoinSet::new();
        if let Some(file) = self.state_file {
            tasks.spawn(state_writer::run(
                file,
                self.snapshots.clone(),
                Arc::clone(&self.self_metrics),
                shutdown_requested(stopped.clone()),
            ));
        }
        tasks.spawn(
            self.scheduler
                .run(new_configs, shutdown_requested(stopped.clone())),
        );
        if let Some((reloader, hangups)) = self.reloader {
            let targets = ReloadTargets {
                pages: self.pages.subscribe(),
                new_configs: config_sender,
                served_config: self.served_config,
                self_metrics: Arc::clone(&self.self_metrics),
                web: Arc::clone(&self.web),
                service_manager: self.service_manager,
            };
            let reloader = reloader.with_config(self.config);
            tasks.spawn(reloader.run(
                hangups,
                reload_requests,
                targets,
                shutdown_requested(stopped.clone()),
            ));
        }
        tasks.spawn(render::run(
            self.snapshots,
            self.pages,
            self.self_metrics,
            shutdown_requested(stopped.clone()),
        ));
        for listener in listeners {
            tasks.spawn(http::serve(
                listener,
                Arc::clone(&app_state),
                Arc::clone(&self.web),
                shutdown_requested(stopped.clone()),
            ));
        }
        for listener in self.health_listeners {
            tasks.spawn(http::serve_health(
                listener,
                Arc::clone(&app_state),
                shutdown_requested(stopped.clone()),
            ));
        }
        let watchdog = self
            .service_manager
            .run_watchdog(self.heartbeat, shutdown_requested(stopped.clone()));
        tasks.spawn(watchdog);
        self.service_manager.ready("serving");
        let ended = tokio::select! {
            () = stop => Ok(()),
            // All tasks run until shutdown, so that one that ends earlier has a bug.
            Some(ended) = tasks.join_next() => Err(AppError::TaskEnded(match ended {
                Ok(()) => "the task returned".to_owned(),
                Err(error) => error.to_string(),
            })),
        };
        self.service_manager.stopping();
        stop_sender.send_replace(true);
        // A task can wait for a file system that does not respond. Dropping the set aborts those that remain.
        let tasks_ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_TIMEOUT, tasks_ended).await.is_err() {
            tracing::warn!("tasks still running after shutdown timeout; aborting them");
        }
        ended
    }
}

/// Creates the client for the API of a config.
fn client(config: &Config) -> Result<Client, SetupError> {
    let graph = &config.graph;
    Client::new(
        &graph.url,
        &graph.version,
        graph.timeout,
        graph.ca_file.as_deref(),
    )
}

/// Completes when shutdown is requested.
async fn shutdown_requested(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which happens at the end of shutdown.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
