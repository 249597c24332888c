//! Accepts connections and serves HTTP/1.1 on them, with or without TLS.
//!
//! `connections` limits their number and closes slow and idle ones. A second kind of listener answers
//! only health checks, without TLS and users, and with a separate limit.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::connections::{Connection, ConnectionGuard, ConnectionTable, TrackedStream};
use super::plaintext::{self, PlaintextStats};
use super::response::{HttpResponse, plain_text};
use super::routes::AppState;
use super::web::policy::ConnectionRequirements;
use super::web::refusals::RefusalLog;
use super::web::reload::WebConfigFile;

/// Maximum duration of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a request header. Prometheus sends about 500 bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Time after which a connection is closed at the end of its current response.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Interval of the checks for idle and slow clients.
const ACTIVITY_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of open connections per listener.
const MAX_CONNECTIONS: usize = 512;

/// Maximum number of open connections of the listener for health checks.
const MAX_HEALTH_CONNECTIONS: usize = 64;

/// Length of the system's queue of connections that are not accepted yet.
const ACCEPT_QUEUE_LENGTH: i32 = 1024;

/// Delay before accepting again after an error, which usually means that no file descriptor is free.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Minimum interval between warnings about failed accepts and about the limit of connections.
const ACCEPT_WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum time for pending responses on shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Binds a listen address: `host:port`, or `:port` for every interface, IPv4 and IPv6.
///
/// # Errors
/// Returns `InvalidInput` if the address is invalid, or another error if it cannot be used.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let Some(port) = address.strip_prefix(':') else {
        if address.parse::<u16>().is_ok() {
            return Err(invalid(format!(
                "expected HOST:PORT or :PORT, found a number; write :{address}"
            )));
        }
        let is_address = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !is_address {
            return Err(invalid(
                "expected HOST:PORT or :PORT, found another text; write an address such as :10919"
                    .to_owned(),
            ));
        }
        return TcpListener::bind(address).await;
    };
    let port: u16 = port.parse().map_err(|_| {
        invalid(
            "expected a port from 0 to 65535, found other characters; write a number such as :10919"
                .to_owned(),
        )
    })?;
    match bind_all_interfaces(port) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // The system has no IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Binds one socket for IPv4 and IPv6, whatever the system's default is (`net.ipv6.bindv6only`).
fn bind_all_interfaces(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As tokio does: a restart can use the port while old connections are closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(ACCEPT_QUEUE_LENGTH)?;
    TcpListener::from_std(socket.into())
}

/// State that all connections of a listener share.
#[derive(Debug)]
struct ListenerState {
    app_state: Arc<AppState>,
    /// `None`: only health checks are answered, without TLS and users.
    web: Option<Arc<WebConfigFile>>,
    plaintext_stats: PlaintextStats,
    handshake_refusals: RefusalLog,
    stopping: watch::Receiver<bool>,
}

/// Serves connections until `stop` completes, then waits at most `SHUTDOWN_TIMEOUT` for pending
/// responses.
pub async fn serve(
    listener: TcpListener,
    app_state: Arc<AppState>,
    web: Arc<WebConfigFile>,
    stop: impl Future<Output = ()>,
) {
    accept_connections(listener, app_state, Some(web), MAX_CONNECTIONS, stop).await;
}

/// Serves health checks in the same way, without TLS and users.
pub async fn serve_health(
    listener: TcpListener,
    app_state: Arc<AppState>,
    stop: impl Future<Output = ()>,
) {
    accept_connections(listener, app_state, None, MAX_HEALTH_CONNECTIONS, stop).await;
}

async fn accept_connections(
    listener: TcpListener,
    app_state: Arc<AppState>,
    web: Option<Arc<WebConfigFile>>,
    max_connections: usize,
    stop: impl Future<Output = ()>,
) {
    let (stop_sender, stopping) = watch::channel(false);
    let self_metrics = Arc::clone(&app_state.self_metrics);
    let table = Arc::new(ConnectionTable::new(max_connections, self_metrics));
    let state = Arc::new(ListenerState {
        app_state,
        web,
        plaintext_stats: PlaintextStats::default(),
        handshake_refusals: RefusalLog::default(),
        stopping,
    });
    let mut tasks = JoinSet::new();
    let mut last_warning: Option<Instant> = None;
    let mut should_warn = move || {
        let now = Instant::now();
        let is_due = last_warning.is_none_or(|time| now > time + ACCEPT_WARN_INTERVAL);
        if is_due {
            last_warning = Some(now);
        }
        is_due
    };
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let peer = address.ip().to_canonical();
                    let (guard, evicted) = table.open(peer);
                    if let Some(evicted_peer) = evicted && should_warn() {
                        tracing::warn!(
                            limit = max_connections,
                            peer = %evicted_peer,
                            "limit of connections reached; closing the oldest idle connection"
                        );
                    }
                    tasks.spawn(serve_connection(stream, peer, Arc::clone(&state), guard));
                }
                Err(error) => {
                    table.close_oldest();
                    if should_warn() {
                        tracing::warn!(%error, "accepting a connection failed");
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    stop_sender.send_replace(true);
    // Dropping the set of connections aborts those that are still open.
    let drained = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(SHUTDOWN_TIMEOUT, drained).await;
}

/// Serves one connection, with a TLS handshake first if the web config requires TLS.
async fn serve_connection(
    mut stream: TcpStream,
    peer: IpAddr,
    state: Arc<ListenerState>,
    guard: ConnectionGuard,
) {
    // With Nagle's algorithm, the end of a response waits until the client acknowledges the rest.
    let _ = stream.set_nodelay(true);
    let connection = Arc::clone(guard.connection());
    let (tls, requirements) = match &state.web {
        Some(web) => {
            let policy = web.current().await;
            (policy.tls.clone(), policy.requirements.clone())
        }
        None => (None, ConnectionRequirements::Plain),
    };
    let context = RequestContext {
        peer,
        requirements,
        connection: Arc::clone(&connection),
        listener: Arc::clone(&state),
    };
    let Some(tls) = tls else {
        let stream = TrackedStream::new(stream, connection);
        return serve_requests(stream, context).await;
    };
    let handshake = timeout(HANDSHAKE_TIMEOUT, async {
        if plaintext::is_plaintext(&stream).await {
            state.plaintext_stats.respond(&mut stream).await;
            return None;
        }
        let stream = TrackedStream::new(stream, Arc::clone(&connection));
        Some(tls.accept(stream).await)
    });
    let result = tokio::select! {
        result = handshake => result,
        () = connection.closed() => return,
    };
    let error = match result {
        Ok(Some(Ok(stream))) => {
            connection.expect_header();
            return serve_requests(stream, context).await;
        }
        Ok(None) => return,
        Ok(Some(Err(error))) => error.to_string(),
        Err(_) => format!(
            "no complete handshake within {} s",
            HANDSHAKE_TIMEOUT.as_secs()
        ),
    };
    state
        .app_state
        .self_metrics
        .server
        .record_handshake_failure();
    let refusals = state
        .handshake_refusals
        .record(peer, std::time::Instant::now());
    if let Some(refusals) = refusals {
        tracing::warn!(%peer, refusals, error, "TLS handshake failed");
    }
}

/// What the requests of a connection have in common.
struct RequestContext {
    peer: IpAddr,
    /// Requirements under which the connection was opened.
    requirements: ConnectionRequirements,
    connection: Arc<Connection>,
    listener: Arc<ListenerState>,
}

impl RequestContext {
    async fn respond<B>(&self, request: &Request<B>) -> HttpResponse {
        let app_state = &self.listener.app_state;
        let guard = self.connection.start_response();
        let mut response = match &self.listener.web {
            _ if !has_valid_host(request) => close(plain_text(
                StatusCode::BAD_REQUEST,
                "expected exactly one Host header\n",
            )),
            None => app_state.respond_health(request),
            Some(web) => {
                let (policy, login) = web.authenticate(request.headers(), self.peer).await;
                if policy.requirements == self.requirements {
                    policy.respond(app_state, request, self.peer, login).await
                } else {
                    // Such as a plain connection that was opened before TLS was switched on.
                    close(plain_text(
                        StatusCode::BAD_REQUEST,
                        "the TLS settings have changed; open a new connection\n",
                    ))
                }
            }
        };
        let path = app_state.path_label(request.uri().path());
        let server = &app_state.self_metrics.server;
        server.record_request(path, response.status().as_u16());
        response.body_mut().hold(guard);
        response
    }
}

/// Marks the connection to be closed after the response.
fn close(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether the request has one `Host` header; it may be absent in HTTP/1.0 (RFC 9112, section 3.2).
fn has_valid_host<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        1 => true,
        _ => false,
    }
}

async fn serve_requests<S>(stream: S, context: RequestContext)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = Arc::new(context);
    let mut stopping = context.listener.stopping.clone();
    let connection = Arc::clone(&context.connection);
    let service = service_fn(move |request| {
        let context = Arc::clone(&context);
        async move { Ok::<_, std::convert::Infallible>(context.respond(&request).await) }
    });
    let mut exchange = pin!(
        http1::Builder::new()
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut lifetime = pin!(sleep(CONNECTION_LIFETIME));
    let mut activity_checks = interval(ACTIVITY_CHECK_INTERVAL);
    activity_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_draining = false;
    loop {
        let should_drain = tokio::select! {
            // An error means that the client disconnected or sent an invalid request.
            _ = exchange.as_mut() => return,
            () = connection.closed() => return,
            _ = activity_checks.tick() => {
                if connection.is_overdue() {
                    return;
                }
                false
            }
            _ = stopping.wait_for(|is_stopping| *is_stopping), if !is_draining => true,
            () = &mut lifetime, if !is_draining => true,
        };
        if should_drain {
            is_draining = true;
            exchange.as_mut().graceful_shutdown();
        }
    }
}
