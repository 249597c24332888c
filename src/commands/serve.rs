//! Serves: the exporter as a daemon.

use std::future::Future;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Failure;
use crate::app::{App, Error};
use crate::cli::Flags;
use crate::config_file::ConfigFile;
use crate::http::{self, WebConfig};

/// Serves until `stop` comes; each of `hangups` reads the config again.
///
/// # Errors
/// When the config is refused, an address is taken, or a part of the exporter ends.
pub async fn run(
    flags: &Flags,
    hangups: mpsc::Receiver<()>,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let shard = flags.shard()?;
    let mut file = ConfigFile::new(&flags.config_file);
    let config = file.load()?;
    let app = App::with_state(&config, shard, flags.state_file.clone())?;
    let app = app.reloading(file, hangups, flags.enable_lifecycle);
    let app = app.behind(web_config(flags)?);
    let listeners = bind(&flags.listen_addresses).await?;
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
