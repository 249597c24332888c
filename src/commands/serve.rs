//! Serves: the exporter as a daemon.

use std::fmt::Display;
use std::future::Future;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Failure;
use crate::app::{App, Error};
use crate::cli::Flags;
use crate::config_file::ConfigFile;
use crate::http::{self, WebConfig};
use crate::systemd::{Sockets, Supervisor};

/// Serves until `stop` comes; each of `hangups` reads the config again. `sockets` are those that
/// systemd opened, where the flag asks for them.
///
/// # Errors
/// When the config is refused, an address is taken, or a part of the exporter ends.
pub async fn run(
    flags: &Flags,
    sockets: Option<Sockets>,
    hangups: mpsc::Receiver<()>,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let shard = flags.shard()?;
    let mut file = ConfigFile::new(&flags.config_file);
    let config = file.load()?;
    let app = App::with_state(&config, shard, flags.state_file.clone())?;
    let app = app.reloading(file, hangups, flags.enable_lifecycle);
    let app = app.behind(web_config(flags)?);
    let app = app.supervised(Supervisor::of_environment());
    let listeners = listeners(flags, sockets).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("REVISION"),
        businesses = config.businesses.len(),
        windows = config.windows.len(),
        shard = shard.index(),
        shards = shard.count(),
        api = config.graph.url,
        api_version = config.graph.version,
        "starting"
    );
    until(app, listeners, flags, stop).await
}

/// The web config file, if there is one.
pub(super) fn web_config(flags: &Flags) -> Result<WebConfig, Failure> {
    match flags.web_config() {
        Some(path) => Ok(WebConfig::load(path)?),
        None => Ok(WebConfig::none()),
    }
}

/// Runs what is wired and bound until `stop` comes.
pub(super) async fn until(
    app: App,
    listeners: Vec<TcpListener>,
    flags: &Flags,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, path = flags.telemetry_path, "listening");
        }
    }
    app.run(listeners, flags.telemetry_path.clone(), stop)
        .await?;
    tracing::info!("stopped");
    Ok(())
}

/// What it serves on: sockets that were handed over, or those that it binds.
pub(super) async fn listeners(
    flags: &Flags,
    sockets: Option<Sockets>,
) -> Result<Vec<TcpListener>, Failure> {
    let Some(sockets) = sockets else {
        return Ok(bind(&flags.listen_addresses).await?);
    };
    let refused = |why: &dyn Display| Failure::Refused(format!("--web.systemd-socket: {why}"));
    let mut listeners = Vec::new();
    for listener in sockets.listeners().map_err(|why| refused(&why))? {
        let taken = listener.set_nonblocking(true);
        let taken = taken.and_then(|()| TcpListener::from_std(listener));
        listeners.push(taken.map_err(|why| refused(&why))?);
    }
    Ok(listeners)
}

/// Binds every listen address, before anything is started.
pub(super) async fn bind(addresses: &[String]) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let bound = http::bind(address).await.map_err(|source| Error::Bind {
            address: address.clone(),
            source,
        });
        listeners.push(bound?);
    }
    Ok(listeners)
}
