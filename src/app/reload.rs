//! Another config while the exporter runs: all of it, or nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::config::{Complaints, Config};
use crate::config_file::ConfigFile;
use crate::exposition::Own;
use crate::http::{ReloadRequest, Wanted, WebConfig};
use crate::plan::{Plan, Shard};
use crate::poll::{Reload, clock};
use crate::systemd::Supervisor;

/// Reads the config again when it is asked to.
#[derive(Debug)]
pub(super) struct Reloader {
    file: ConfigFile,
    shard: Shard,
    hangups: mpsc::Receiver<()>,
}

/// The parts that another config is handed to.
#[derive(Debug)]
pub(super) struct Parts {
    /// The crank.
    pub(super) reloads: mpsc::Sender<Reload>,
    /// What is served.
    pub(super) wanted: watch::Sender<Arc<Wanted>>,
    /// Where it is told how that went.
    pub(super) own: Arc<Own>,
    /// The way in, which has a file of its own.
    pub(super) web: Arc<WebConfig>,
    /// Who waits for the end of it.
    pub(super) supervisor: Supervisor,
}

impl Reloader {
    pub(super) fn new(file: ConfigFile, shard: Shard, hangups: mpsc::Receiver<()>) -> Self {
        Self {
            file,
            shard,
            hangups,
        }
    }

    /// Reloads until `stop` comes.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        parts: Parts,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        loop {
            let request = tokio::select! {
                () = &mut stop => return,
                Some(()) = self.hangups.recv() => None,
                Some(request) = requests.recv() => Some(request),
                else => return stop.await,
            };
            parts.supervisor.reloading();
            let mut ended = self.reload(&parts).await;
            if let Err(refused) = parts.web.look().await {
                parts.own.reloaded(None);
                ended = Err(match ended {
                    Ok(()) => refused,
                    Err(complaints) => format!("{}\n{refused}", complaints.trim_end()),
                });
            }
            parts.supervisor.ready(match ended {
                Ok(()) => "serving",
                Err(_) => "serving; the last reload was refused, and the log says why",
            });
            if let Some(request) = request {
                // Whoever asked may have hung up.
                drop(request.send(ended));
            }
        }
    }

    async fn reload(&mut self, parts: &Parts) -> Result<(), String> {
        let own = &parts.own;
        let loaded = match self.load().await {
            Ok((config, refused)) => prepare(config, self.shard).map(|reload| (reload, refused)),
            Err(complaints) => Err(complaints),
        };
        let (reload, refused) = match loaded {
            Ok(loaded) => loaded,
            Err(complaints) => {
                own.reloaded(None);
                tracing::error!(
                    error = complaints,
                    "the config was not reloaded; the old one stands"
                );
                return Err(complaints);
            }
        };
        let wanted = Arc::new(Wanted::of(&reload.config));
        if parts.reloads.send(reload).await.is_err() {
            return Err("the exporter is shutting down".to_owned());
        }
        parts.wanted.send_replace(Arc::clone(&wanted));
        parts.web.serves(wanted);
        if refused.is_empty() {
            own.reloaded(Some(clock::now()));
            tracing::info!("the config was reloaded");
            return Ok(());
        }
        // The rest is in force; but what the owner wrote is not.
        own.reloaded(None);
        let refused = refused.to_string();
        tracing::error!(
            error = refused,
            "the config was reloaded without the business files that were refused"
        );
        Err(refused)
    }

    /// Reading files can take its time.
    async fn load(&mut self) -> Result<(Config, Complaints), String> {
        let mut file = self.file.clone();
        let loaded = spawn_blocking(move || {
            let loaded = file.reload();
            (file, loaded)
        });
        let (file, loaded) = loaded.await.map_err(|error| error.to_string())?;
        self.file = file;
        loaded.map_err(|complaints| complaints.to_string())
    }
}

fn prepare(config: Config, shard: Shard) -> Result<Reload, String> {
    let client = super::client(&config).map_err(|error| error.to_string())?;
    let plan = Plan::of(&config, shard);
    Ok(Reload {
        config,
        plan,
        client,
    })
}
