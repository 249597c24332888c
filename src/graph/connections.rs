//! Connection pool of a client, which can be replaced while requests are in flight.
//!
//! It is replaced after a request that timed out, because its HTTP/2 connection may be dead although the peer
//! acknowledges packets, and after a change of the CA file. Requests in flight keep the previous pool.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect;
use tokio::time::timeout;

use crate::platform::limited_read;

/// Time between two pings of an HTTP/2 connection, also while it is idle.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Time after which a ping without a response closes the connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit for reading the CA file and creating a pool.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum size of the CA file in bytes; that of a system has about 250 kB.
const MAX_CA_BYTES: u64 = 16 * 1024 * 1024;

/// Error of [`Client::new`](super::Client::new).
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The `ca_file` cannot be read.
    #[error("graph.ca_file: {path}: {source}; correct the path, or remove the key")]
    CaFile {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The `ca_file` contains no certificates.
    #[error(
        "graph.ca_file: {path}: expected PEM certificates, found none; use another file, or remove the key"
    )]
    CaFormat {
        /// Path of the file.
        path: String,
    },
    /// TLS cannot be initialized, usually because the system has no CA certificates.
    #[error(
        "initializing TLS for {base} failed: {reason}; install the system's CA certificates, or set graph.ca_file"
    )]
    Tls {
        /// URL of the API.
        base: String,
        /// Error of the TLS library.
        reason: String,
    },
}

/// Replaceable connection pool.
#[derive(Debug)]
pub(super) struct Connections {
    settings: ConnectionSettings,
    pool: Mutex<Pool>,
    /// Last error of the CA file, which is logged once.
    ca_error: Mutex<Option<String>>,
}

/// Settings of all pools of a client.
#[derive(Clone, Debug)]
pub(super) struct ConnectionSettings {
    /// URL of the API, without the version.
    pub(super) url: String,
    /// Limit for one request with its response.
    pub(super) timeout: Duration,
    /// Additional CA certificates.
    pub(super) ca_file: Option<PathBuf>,
}

/// Connections that requests use together.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) http: reqwest::Client,
    /// Number of the pool; increases with each replacement.
    generation: u64,
    /// Content of the CA file; empty without one.
    ca: Arc<[u8]>,
}

impl Connections {
    pub(super) fn new(settings: ConnectionSettings) -> Result<Self, SetupError> {
        let ca = settings.read_ca()?;
        let pool = Pool {
            http: settings.build(&ca)?,
            generation: 0,
            ca: ca.into(),
        };
        Ok(Self {
            settings,
            pool: Mutex::new(pool),
            ca_error: Mutex::new(None),
        })
    }

    /// Returns the current pool.
    pub(super) fn pool(&self) -> Pool {
        self.lock().clone()
    }

    /// Replaces the pool of a request that timed out, unless this has been done already.
    pub(super) async fn replace(self: &Arc<Self>, used: &Pool) {
        if self.lock().generation != used.generation {
            return;
        }
        let (connections, used) = (Arc::clone(self), used.clone());
        let replacement = move || {
            if let Ok(http) = connections.settings.build(&used.ca) {
                connections.put(http, used.generation, used.ca);
            }
        };
        // After a timeout or panic, the previous pool stays in use.
        let _ = timeout(REPLACE_TIMEOUT, tokio::task::spawn_blocking(replacement)).await;
    }

    /// Reads the CA file again, and replaces the pool if it has changed. A file that cannot be used is
    /// ignored, with one warning.
    pub(super) async fn reread_ca(self: &Arc<Self>) {
        if self.settings.ca_file.is_none() {
            return;
        }
        let connections = Arc::clone(self);
        let reread = move || {
            let used = connections.pool();
            let ca = connections.settings.read_ca()?;
            if *ca == *used.ca {
                return Ok(false);
            }
            let http = connections.settings.build(&ca)?;
            connections.put(http, used.generation, ca.into());
            Ok::<bool, SetupError>(true)
        };
        let error = match timeout(REPLACE_TIMEOUT, tokio::task::spawn_blocking(reread)).await {
            Ok(Ok(Ok(is_replaced))) => {
                if is_replaced {
                    tracing::info!("graph.ca_file changed; using new connections");
                }
                None
            }
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(_)) | Err(_) => Some("reading takes more than two seconds".to_owned()),
        };
        let mut last_error = self.ca_error.lock().unwrap_or_else(PoisonError::into_inner);
        if error != *last_error
            && let Some(error) = &error
        {
            tracing::warn!(
                error,
                "graph.ca_file cannot be used; keeping the previous certificates"
            );
        }
        *last_error = error;
    }

    fn put(&self, http: reqwest::Client, replaced: u64, ca: Arc<[u8]>) {
        let mut pool = self.lock();
        if pool.generation == replaced {
            *pool = Pool {
                http,
                generation: replaced + 1,
                ca,
            };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        // No code panics under this lock.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSettings {
    fn read_ca(&self) -> Result<Vec<u8>, SetupError> {
        let Some(path) = &self.ca_file else {
            return Ok(Vec::new());
        };
        // One byte more shows that the file is too large.
        let read = limited_read::read_file(path, MAX_CA_BYTES + 1).and_then(|bytes| {
            if bytes.len() as u64 > MAX_CA_BYTES {
                let text = format!("expected at most {MAX_CA_BYTES} bytes, found more");
                return Err(std::io::Error::other(text));
            }
            Ok(bytes)
        });
        read.map_err(|source| SetupError::CaFile {
            path: path.display().to_string(),
            source,
        })
    }

    fn build(&self, ca: &[u8]) -> Result<reqwest::Client, SetupError> {
        let mut builder = reqwest::Client::builder()
            .timeout(self.timeout)
            // A redirect could send the token to another host.
            .redirect(redirect::Policy::none())
            .referer(false)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .user_agent(concat!(
                "marketing-messages-exporter/",
                env!("CARGO_PKG_VERSION")
            ));
        if let Some(path) = &self.ca_file {
            builder = builder.tls_certs_merge(certificates(path, ca)?);
        } else if self.url.starts_with("http:") {
            // Nothing to verify: a system without CA certificates must not prevent the start.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map_err(|error| SetupError::Tls {
            base: self.url.clone(),
            reason: error_chain(&error),
        })
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<reqwest::Certificate>, SetupError> {
    match reqwest::Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SetupError::CaFormat {
            path: path.display().to_string(),
        }),
    }
}

/// Returns the error with its causes, without the URL, which can contain secrets.
pub(super) fn error_chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "connection failed".to_owned()
    } else {
        "request failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ConnectionSettings, Connections, MAX_CA_BYTES};

    fn certificate() -> String {
        let names = vec!["localhost".to_owned()];
        rcgen::generate_simple_self_signed(names)
            .unwrap()
            .cert
            .pem()
    }

    #[tokio::test]
    async fn changed_ca_file_replaces_the_pool() {
        // Fails if a provider is installed already, which is then used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, certificate()).unwrap();
        let settings = ConnectionSettings {
            url: "https://localhost".to_owned(),
            timeout: Duration::from_secs(1),
            ca_file: Some(path.clone()),
        };
        let connections = Arc::new(Connections::new(settings).unwrap());
        let generation = || connections.pool().generation;
        connections.reread_ca().await;
        assert_eq!(generation(), 0, "the file has not changed");
        std::fs::write(&path, certificate()).unwrap();
        connections.reread_ca().await;
        assert_eq!(generation(), 1);
        let line_feeds = usize::try_from(MAX_CA_BYTES).unwrap();
        let too_large = certificate() + &"\n".repeat(line_feeds);
        for unusable in [Some("no certificate"), Some(&*too_large), None] {
            match unusable {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            connections.reread_ca().await;
            assert_eq!(generation(), 1, "the previous certificates should be kept");
        }
        let used = connections.pool();
        connections.replace(&used).await;
        connections.replace(&used).await;
        assert_eq!(
            generation(),
            2,
            "several timeouts of one pool should replace it once"
        );
    }
}
