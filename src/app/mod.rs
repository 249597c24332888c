//! The wiring: config → crank → page → sockets. Owns every task, and ends them all together.
//!
//! `render` turns snapshots into pages, `keep` into the state file; `reload` takes another config. `errand`
//! is the way to the API of commands that ask without polling.

mod errand;
mod keep;
mod reload;
mod render;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::errand::{Asker, Errand, Heard, PACE};
use self::reload::{Parts, Reloader};
use crate::beat::Beat;
use crate::config::Config;
use crate::config_file::ConfigFile;
use crate::exposition::{Own, Page};
use crate::graph::{Client, SetupError};
use crate::http::{self, Site, Wanted, WebConfig};
use crate::plan::{Plan, Shard};
use crate::poll::{Crank, Settings, clock};
use crate::process::Process;
use crate::snapshot::Snapshot;
use crate::systemd::Supervisor;

/// Why the exporter cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API cannot be asked.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// An own metric is not one.
    #[error("the exporter's own metrics: {0}")]
    Own(#[from] prometheus::Error),
    /// A page could not be rendered.
    #[error("the page: {0}")]
    Page(#[from] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; another --web.listen-address may be free")]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A task ended that never should.
    #[error("a part of the exporter ended: {0}")]
    Ended(String),
}

/// An exporter that is wired up, and does nothing yet.
#[derive(Debug)]
pub struct App {
    crank: Crank,
    own: Arc<Own>,
    beat: Arc<Beat>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    pages: watch::Sender<Arc<Page>>,
    wanted: watch::Sender<Arc<Wanted>>,
    state_file: Option<PathBuf>,
    shard: Shard,
    reloader: Option<Reloader>,
    lifecycle: bool,
    web: Arc<WebConfig>,
    supervisor: Supervisor,
}

impl App {
    /// Wires up an exporter for that share of a config. Nothing is asked, bound or started yet.
    ///
    /// # Errors
    /// When the config asks for what cannot be had.
    pub fn new(config: &Config, shard: Shard) -> Result<Self, Error> {
        Self::with_state(config, shard, None)
    }

    /// The same, with what a file kept from the last run; the file is kept up to date from now on.
    ///
    /// # Errors
    /// As [`App::new`]. A file that cannot be used is set aside with a warning.
    pub fn with_state(
        config: &Config,
        shard: Shard,
        state_file: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let now = clock::now();
        let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("REVISION"));
        let own = Arc::new(Own::new(version, revision, env!("RUST_VERSION"), shard)?);
        own.register(Box::new(Process::new()?))?;
        own.reloaded(Some(now));
        let client = client(config)?;
        let plan = Plan::of(config, shard);
        let snapshot = match &state_file {
            Some(path) => keep::restore(path, &plan, now),
            None => Snapshot::unknown(&plan, now),
        };
        let (publish, snapshots) = watch::channel(Arc::new(snapshot));
        let beat = Arc::new(Beat::default());
        let settings = Settings {
            client,
            own: Arc::clone(&own),
            publish,
            beat: Arc::clone(&beat),
        };
        let known = Arc::clone(&snapshots.borrow());
        let crank = Crank::new(config, &plan, known, settings);
        let known = Arc::clone(&snapshots.borrow());
        let page = Page::render(known, own.encode_businesses(), None)?;
        own.page(page.series, page.plain_bytes);
        Ok(Self {
            crank,
            own,
            beat,
            snapshots,
            pages: watch::Sender::new(Arc::new(page)),
            wanted: watch::Sender::new(Arc::new(Wanted::of(config))),
            state_file,
            shard,
            reloader: None,
            lifecycle: false,
            web: Arc::new(WebConfig::none()),
            supervisor: Supervisor::default(),
        })
    }

    /// Lets the config be read again: whenever `hangups` gives one, and at `POST /-/reload` where
    /// `lifecycle` allows it.
    #[must_use]
    pub fn reloading(self, file: ConfigFile, hangups: mpsc::Receiver<()>, lifecycle: bool) -> Self {
        Self {
            reloader: Some(Reloader::new(file, self.shard, hangups)),
            lifecycle,
            ..self
        }
    }

    /// Lets people in as a web config file says.
    #[must_use]
    pub fn behind(self, web: WebConfig) -> Self {
        web.serves(Arc::clone(&self.wanted.borrow()));
        let web = Arc::new(web);
        Self { web, ..self }
    }

    /// Tells that one how it fares.
    #[must_use]
    pub fn supervised(self, supervisor: Supervisor) -> Self {
        Self { supervisor, ..self }
    }

    /// The pages that it publishes, newest last: for whoever wants to wait for one.
    pub fn pages(&self) -> watch::Receiver<Arc<Page>> {
        self.pages.subscribe()
    }

    /// Polls every source once; the page that comes of it, and whether every poll succeeded.
    ///
    /// # Errors
    /// When the page cannot be rendered.
    pub async fn once(self) -> Result<(String, bool), Error> {
        let snapshot = self.crank.run_once().await;
        let mut page = self.own.encode().into_bytes();
        crate::exposition::write(&snapshot, &mut page)?;
        let mut windows = snapshot.sources.iter().flat_map(|known| &known.windows);
        let succeeded = windows.all(|window| window.up);
        Ok((String::from_utf8_lossy(&page).into_owned(), succeeded))
    }

    /// Polls and serves until `stop` comes.
    ///
    /// # Errors
    /// When a part of it ends that never should.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        telemetry_path: String,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (stopping, stopped) = watch::channel(false);
        let (reload, requests) = mpsc::channel(1);
        let (reloads, reloaded) = mpsc::channel(1);
        let site = Arc::new(Site {
            telemetry_path,
            page: self.pages.subscribe(),
            own: Arc::clone(&self.own),
            wanted: self.wanted.subscribe(),
            beat: Arc::clone(&self.beat),
            ready: AtomicBool::new(false),
            reload: self.lifecycle.then_some(reload),
            now: clock::now,
            turns: Site::turns(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(self.crank.run(reloaded, when(stopped.clone())));
        if let Some(path) = self.state_file {
            tasks.spawn(keep::keep(
                path,
                self.snapshots.clone(),
                when(stopped.clone()),
            ));
        }
        if let Some(reloader) = self.reloader {
            let own = Arc::clone(&self.own);
            let web = Arc::clone(&self.web);
            let parts = Parts {
                reloads,
                wanted: self.wanted,
                own,
                web,
                supervisor: self.supervisor,
            };
            tasks.spawn(reloader.run(requests, parts, when(stopped.clone())));
        }
        tasks.spawn(render::render(
            self.snapshots,
            self.pages,
            self.own,
            when(stopped.clone()),
        ));
        for listener in listeners {
            tasks.spawn(http::serve(
                listener,
                Arc::clone(&site),
                Arc::clone(&self.web),
                when(stopped.clone()),
            ));
        }
        let watch = self.supervisor.watch(self.beat, when(stopped.clone()));
        tasks.spawn(watch);
        self.supervisor.ready("serving");
        let ended = tokio::select! {
            () = stop => Ok(()),
            // None of them ends on its own but by mistake.
            Some(ended) = tasks.join_next() => match ended {
                Ok(()) => Err(Error::Ended("it returned".to_owned())),
                Err(error) => Err(Error::Ended(error.to_string())),
            },
        };
        self.supervisor.stopping();
        stopping.send_replace(true);
        while tasks.join_next().await.is_some() {}
        ended
    }
}

/// The API as a config names it.
fn client(config: &Config) -> Result<Client, SetupError> {
    let graph = &config.graph;
    Client::new(
        &graph.url,
        &graph.version,
        graph.timeout,
        graph.ca_file.as_deref(),
    )
}

/// Until the exporter is to end.
async fn when(mut stopped: watch::Receiver<bool>) {
    // The sender is only dropped at the very end.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
