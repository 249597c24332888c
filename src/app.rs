//! The wiring: config → crank → page → sockets. Owns every task, and ends them all together.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::beat::Beat;
use crate::config::Config;
use crate::exposition::{Own, Page};
use crate::graph::{Client, SetupError};
use crate::http::{self, Site};
use crate::plan::Plan;
use crate::poll::{Crank, Settings, clock};
use crate::process::Process;
use crate::snapshot::Snapshot;

/// Rendering may take this share of one core at most: after a page that took a second, the next
/// one waits nine.
const RENDER_REST: u32 = 9;

/// The longest that a page waits for its turn.
const LONGEST_REST: Duration = Duration::from_secs(10);

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
}

impl App {
    /// Wires up an exporter for that config. Nothing is asked, bound or started yet.
    ///
    /// # Errors
    /// When the config asks for what cannot be had.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let now = clock::now();
        let own = Arc::new(Own::new(
            env!("CARGO_PKG_VERSION"),
            env!("REVISION"),
            env!("RUST_VERSION"),
        )?);
        own.register(Box::new(Process::new()?))?;
        own.reloaded(Some(now));
        let graph = &config.graph;
        let client = Client::new(
            &graph.url,
            &graph.version,
            graph.timeout,
            graph.ca_file.as_deref(),
        )?;
        let plan = Plan::of(config);
        let snapshot = Arc::new(Snapshot::unknown(&plan, now));
        let page = Page::render(Arc::clone(&snapshot))?;
        own.page(page.series, page.plain_bytes);
        let (publish, snapshots) = watch::channel(Arc::clone(&snapshot));
        let beat = Arc::new(Beat::default());
        let settings = Settings {
            client,
            own: Arc::clone(&own),
            publish,
            beat: Arc::clone(&beat),
        };
        Ok(Self {
            crank: Crank::new(config, &plan, snapshot, settings),
            own,
            beat,
            snapshots,
            pages: watch::Sender::new(Arc::new(page)),
        })
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
        let windows = snapshot.sources.iter().flat_map(|known| &known.windows);
        let succeeded = windows.clone().all(|window| window.up);
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
        let site = Arc::new(Site {
            telemetry_path,
            page: self.pages.subscribe(),
            own: Arc::clone(&self.own),
            beat: self.beat,
            ready: AtomicBool::new(false),
            now: clock::now,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(self.crank.run(when(stopped.clone())));
        tasks.spawn(render(
            self.snapshots,
            self.pages,
            self.own,
            stopped.clone(),
        ));
        for listener in listeners {
            tasks.spawn(http::serve(
                listener,
                Arc::clone(&site),
                when(stopped.clone()),
            ));
        }
        let ended = tokio::select! {
            () = stop => Ok(()),
            // None of them ends on its own but by mistake.
            Some(ended) = tasks.join_next() => match ended {
                Ok(()) => Err(Error::Ended("it returned".to_owned())),
                Err(error) => Err(Error::Ended(error.to_string())),
            },
        };
        stopping.send_replace(true);
        while tasks.join_next().await.is_some() {}
        ended
    }
}

/// Turns each new snapshot into a page, off the async workers, and never with more than its share
/// of a core: while it rests, newer snapshots replace older ones.
async fn render(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    pages: watch::Sender<Arc<Page>>,
    own: Arc<Own>,
    stopped: watch::Receiver<bool>,
) {
    let mut stop = std::pin::pin!(when(stopped));
    loop {
        tokio::select! {
            () = &mut stop => return,
            changed = snapshots.changed() => if changed.is_err() { return (&mut stop).await },
        }
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let start = Instant::now();
        match spawn_blocking(move || Page::render(snapshot)).await {
            Ok(Ok(page)) => {
                own.page(page.series, page.plain_bytes);
                pages.send_replace(Arc::new(page));
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the page could not be rendered; the last one stands")
            }
            Err(error) => {
                tracing::error!(%error, "the page could not be rendered; the last one stands")
            }
        }
        let rest = (start.elapsed() * RENDER_REST).min(LONGEST_REST);
        tokio::select! {
            () = &mut stop => return,
            () = sleep(rest) => {}
        }
    }
}

/// Until the exporter is to end.
async fn when(mut stopped: watch::Receiver<bool>) {
    // The sender is only dropped at the very end.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
