//! Sockets → requests, within bounds: connections, time to say what is wanted, size of a header.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::routes::Site;
use super::strays::{self, Strays};
use super::web_config::WebConfig;

/// How long a client may take to say what it wants. This ends idle connections too, so that it is
/// longer than the usual scrape intervals.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a client may take to agree on how to encrypt.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest request header: Prometheus sends some 500 bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// The longest that one connection lives, however slowly its client reads.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS: usize = 512;

/// How long to wait before accepting again when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// That it has none is said this often, while it lasts.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);

/// How long answers under way may take once the exporter is to end.
const DRAIN: Duration = Duration::from_secs(3);

/// Binds one listen address: `host:port`, or `:port` for every interface, IPv4 and IPv6.
///
/// # Errors
/// When the address is none, or taken.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else {
        return TcpListener::bind(address).await;
    };
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port number"))?;
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // A system without IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves until `stop` comes, then finishes the answers under way, within bounds.
pub async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    web: Arc<WebConfig>,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let strays = Arc::new(Strays::default());
    let mut complained = None;
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (room, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let served = connection(stream, Arc::clone(&site), Arc::clone(&web), Arc::clone(&strays), graceful.watcher());
                    connections.spawn(async move {
                        drop(timeout(CONNECTION_LIFETIME, served).await);
                        drop(room);
                    });
                }
                Err(error) => {
                    let now = Instant::now();
                    if complained.is_none_or(|at| now > at + COMPLAIN_AGAIN) {
                        complained = Some(now);
                        tracing::warn!(%error, "connections are not accepted");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // What is not done by then is cut off, when the set of connections is dropped.
    drop(timeout(DRAIN, graceful.shutdown()).await);
}

/// One connection, from the handshake on, if there is one.
async fn connection(
    mut stream: TcpStream,
    site: Arc<Site>,
    web: Arc<WebConfig>,
    strays: Arc<Strays>,
    watcher: Watcher,
) {
    // Without it each answer's tail waits for the client's acknowledgement.
    drop(stream.set_nodelay(true));
    let door = web.now().await;
    let Some(tls) = &door.tls else {
        return requests(stream, site, web, watcher).await;
    };
    let agreed = timeout(HANDSHAKE_TIMEOUT, async {
        if strays::is_one(&stream).await {
            strays.answer(&mut stream).await;
            return None;
        }
        Some(tls.accept(stream).await)
    });
    match agreed.await {
        Ok(Some(Ok(stream))) => requests(stream, site, web, watcher).await,
        Ok(Some(Err(error))) => tracing::debug!(%error, "a handshake failed"),
        Ok(None) => {}
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

async fn requests<S>(stream: S, site: Arc<Site>, web: Arc<WebConfig>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (site, web) = (Arc::clone(&site), Arc::clone(&web));
        async move {
            let door = web.lately().await;
            Ok::<_, std::convert::Infallible>(door.answer(&site, &request).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever ends a connection is its client's affair.
    drop(watcher.watch(served).await);
}
