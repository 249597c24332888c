//! Default command without a subcommand: polls and serves metrics until the process is stopped. Also contains the
//! functions for listeners and the web config that `demo` shares.

use std::fmt::Display;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::CommandError;
use crate::app::{App, AppError, StateFile};
use crate::cli::{AutoReloadInterval, CommonFlags};
use crate::config::Config;
use crate::http::{self, WebConfigFile};
use crate::platform::file_reader::{ConfigFile, LoadedConfig};
use crate::platform::{ListenFds, ServiceManager, limited_read, proxy};
use crate::state::{self, StoreError};

/// Serves until `stop` completes. Each message of `reload_signals` (sent on SIGHUP) reloads the config. `sockets` are
/// the sockets passed by systemd, or `None` without `--web.systemd-socket`.
///
/// # Errors
/// Returns `CommandError::InvalidInput` if the shard, the config, the web config or a socket of systemd is invalid, and
/// `CommandError::Failed` if an address cannot be bound or a task of the exporter ends unexpectedly.
pub async fn run(
    flags: &CommonFlags,
    sockets: Option<ListenFds>,
    reload_signals: mpsc::Receiver<()>,
    stop: impl Future<Output = ()>,
) -> Result<(), CommandError> {
    let shard = flags.shard()?;
    // On a separate thread, so that a file system that does not respond does not delay signals.
    let files = flags.clone();
    let (file, loaded, web) = spawn_blocking(move || load(&files))
        .await
        .map_err(|error| CommandError::Failed(format!("reading the config: {error}")))??;
    let config = &loaded.config;
    for warning in &loaded.warnings {
        tracing::warn!(warning, "config warning");
    }
    for warning in config.warnings.iter() {
        tracing::warn!(%warning, "config warning");
    }
    if !loaded.refused.is_empty() {
        let (files, error) = (loaded.refused_files(), loaded.refused.to_string());
        tracing::error!(
            files,
            error,
            "business files refused; starting without them"
        );
    }
    let state_file = match flags.state_file() {
        Some(path) => Some(state_file(path).await?),
        None => None,
    };
    let app = App::with_state(config, shard, state_file)?;
    let app = app.with_reload(file, reload_signals, flags.enable_lifecycle);
    let AutoReloadInterval(auto_reload_interval) = flags.auto_reload_interval;
    let app = app.with_auto_reload(auto_reload_interval);
    let app = app.with_refused_files(&loaded.refused, loaded.refused_files());
    let app = app.with_route_prefix(flags.route_prefix());
    let health_addresses: Vec<String> = flags
        .health_listen_address()
        .map(str::to_owned)
        .into_iter()
        .collect();
    let health_listeners = bind("--web.health-listen-address", &health_addresses).await?;
    for listener in &health_listeners {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "listening for health checks");
        }
    }
    let app = app.with_health_listeners(health_listeners);
    let app = app.with_web_config(web);
    let app = app.with_service_manager(ServiceManager::from_env());
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
        "starting exporter"
    );
    run_until(app, listeners, flags, stop).await
}

/// Reads the config, its business files and the web config.
///
/// # Errors
/// Returns all errors of all files, if the main file or the web config is invalid or no business is left.
pub(super) fn load(
    flags: &CommonFlags,
) -> Result<(ConfigFile, LoadedConfig, WebConfigFile), CommandError> {
    let web = match flags.web_config() {
        Some(path) => WebConfigFile::load(path),
        None => Ok(WebConfigFile::none()),
    };
    let mut file = ConfigFile::new(&flags.config_file);
    if let Ok(web) = &web {
        file.set_web_config_users(web.loaded_user_names());
    }
    match (file.load(), web) {
        (Ok(loaded), Ok(web)) => Ok((file, loaded, web)),
        (Err(errors), Ok(_)) => Err(errors.into()),
        (loaded, Err(web_errors)) => {
            let mut errors = match loaded {
                Ok(loaded) => loaded.refused,
                Err(errors) => errors,
            };
            errors.append(web_errors);
            Err(errors.into())
        }
    }
}

/// Opens the state file.
async fn state_file(path: &Path) -> Result<StateFile, AppError> {
    let opened = StateFile::open(path.to_owned()).await;
    opened.map_err(|source| AppError::StateFile {
        path: path.to_owned(),
        source,
    })
}

/// Validates everything else that serving needs before the first poll, without polling: builds every client, and checks
/// that the state file can be written.
pub(super) fn validate(flags: &CommonFlags, config: &Config) -> Result<(), CommandError> {
    let _ = App::new(config, flags.shard()?)?;
    match flags.state_file() {
        Some(path) => validate_state_file(path),
        None => Ok(()),
    }
}

/// Checks that the folder of the state file exists and can be written to.
fn validate_state_file(path: &Path) -> Result<(), CommandError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let invalid = |text: String| {
        CommandError::InvalidInput(format!("--state.file={}: {text}", path.display()))
    };
    if path.is_dir() {
        return Err(invalid("expected a file, found a directory".to_owned()));
    }
    if let Err(error @ StoreError::Foreign(_)) = state::read(path) {
        return Err(invalid(format!("{error}; use another path")));
    }
    // An unnamed file leaves nothing behind.
    tempfile::tempfile_in(folder).map_err(|error| {
        invalid(format!(
            "cannot write to the directory {}: {}{}; create it, and give this user access",
            folder.display(),
            limited_read::describe_error(&error),
            limited_read::describe_access(folder, &error)
        ))
    })?;
    Ok(())
}

/// Loads the web config file; without `--web.config.file`, returns the default: no TLS, no users.
pub(super) fn web_config(flags: &CommonFlags) -> Result<WebConfigFile, CommandError> {
    match flags.web_config() {
        Some(path) => Ok(WebConfigFile::load(path)?),
        None => Ok(WebConfigFile::none()),
    }
}

/// Logs the addresses of the listeners and runs the exporter on them until `stop` completes. Addresses are logged here,
/// because a port 0 is replaced by a free one when the listener is bound.
pub(super) async fn run_until(
    app: App,
    listeners: Vec<TcpListener>,
    flags: &CommonFlags,
    stop: impl Future<Output = ()>,
) -> Result<(), CommandError> {
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            let path = format!("{}{}", flags.route_prefix(), flags.telemetry_path);
            tracing::info!(%address, path, "listening");
        }
    }
    log_access(&app, &listeners);
    log_proxy();
    app.run(listeners, flags.telemetry_path.clone(), stop)
        .await?;
    tracing::info!("exporter stopped");
    Ok(())
}

/// Logs what protects the server, and warns if nothing does.
fn log_access(app: &App, listeners: &[TcpListener]) {
    let (access, lifecycle) = app.access();
    tracing::info!(
        tls = access.has_tls,
        client_certificates = access.has_client_certificates,
        users = access.users,
        business_scopes = access.has_scopes,
        business_users = access.business_users,
        lifecycle,
        "access policy in force"
    );
    let is_public = |listener: &TcpListener| {
        let address = listener.local_addr();
        address.is_ok_and(|address| address.ip().is_unspecified())
    };
    let is_open = !access.has_client_certificates && access.users == 0;
    if is_open && listeners.iter().any(is_public) {
        tracing::warn!(
            "every client can read all metrics on all interfaces; set --web.config.file with users, or listen on one address"
        );
    }
}

/// Logs the proxy that the environment names, without its password.
fn log_proxy() {
    if let Some((variable, proxy)) = proxy::in_use() {
        tracing::info!(variable, proxy, "proxy in use");
    }
}

/// Returns the listeners: the sockets passed by systemd, or newly bound ones.
pub(super) async fn listeners(
    flags: &CommonFlags,
    sockets: Option<ListenFds>,
) -> Result<Vec<TcpListener>, CommandError> {
    let Some(sockets) = sockets else {
        return Ok(bind("--web.listen-address", &flags.listen_addresses).await?);
    };
    let invalid_socket =
        |error: &dyn Display| CommandError::InvalidInput(format!("--web.systemd-socket: {error}"));
    let mut listeners = Vec::new();
    for socket in sockets
        .listeners()
        .map_err(|error| invalid_socket(&error))?
    {
        let listener = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket));
        listeners.push(listener.map_err(|error| invalid_socket(&error))?);
    }
    Ok(listeners)
}

/// Binds every address, `HOST:PORT`, of a flag. Runs before any task is started, so that an address in use fails the start early.
///
/// # Errors
/// Returns `AppError::Bind` for the first address that cannot be bound; the listeners bound before it are closed.
pub(super) async fn bind(
    flag: &'static str,
    addresses: &[String],
) -> Result<Vec<TcpListener>, AppError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let address = address.clone();
        let listener = http::bind(&address)
            .await
            .map_err(|source| match source.kind() {
                ErrorKind::InvalidInput => AppError::InvalidAddress {
                    flag,
                    address,
                    problem: source.to_string(),
                },
                _ => AppError::Bind {
                    flag,
                    address,
                    source,
                },
            });
        listeners.push(listener?);
    }
    Ok(listeners)
}
