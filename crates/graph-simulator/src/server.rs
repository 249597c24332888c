//! The HTTP/1.1 server: a task that accepts connections, and one task per connection.
//!
//! Dropping the future of `serve` closes the listener and all connections, including those of calls that hang.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::api::{Api, Reply, ResponseMode};
use crate::call::{ApiCall, parse_query};
use crate::control;
use crate::raw_body::RawBody;

/// Maximum size of a request body in bytes; a longer one counts as empty. Filters with many ids are the longest
/// parameters.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Maximum size of request line and headers in bytes. URLs with many ids in a filter are longer than hyper's initial
/// buffer.
const MAX_HEAD_BYTES: usize = 1 << 18;
/// Size in bytes above which bodies are compressed. Shorter ones fit into one TCP segment.
const MIN_COMPRESSED_BYTES: usize = 1400;
/// Delay after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Accepts connections until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, api: Arc<Api>) {
    // Dropping the set aborts its tasks.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, api.clone()));
            }
            Err(error) => {
                // For example no file descriptors, until other connections are closed.
                tracing::warn!(%error, "simulator: accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
        // Frees the results of finished tasks.
        while connections.try_join_next().is_some() {}
    }
}

/// Serves the requests of one connection until it is closed.
async fn serve_connection(stream: TcpStream, api: Arc<Api>) {
    // Only delays small responses if it fails.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, api.clone()));
    let result = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "simulator: connection closed early");
    }
}

/// Responds to one request.
///
/// # Errors
///
/// Returns an error if a fault resets the connection.
async fn respond(request: Request<Incoming>, api: Arc<Api>) -> io::Result<Response<RawBody>> {
    let call = read_call(request).await;
    let reply = api.respond(&call);
    tokio::time::sleep(reply.delay).await;
    match reply.mode {
        // The error makes hyper close the connection without a response.
        ResponseMode::Reset => Err(io::Error::other("fault: reset")),
        ResponseMode::Hang => std::future::pending().await,
        _ => Ok(build_response(reply, call.gzip)),
    }
}

/// Parses a request. Headers that are not text and bodies that cannot be read count as empty.
async fn read_call(request: Request<Incoming>) -> ApiCall {
    let (head, body) = request.into_parts();
    let header = |name| {
        let value = head.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let mut query = parse_query(head.uri.query().unwrap_or(""));
    let path = head.uri.path().to_owned();
    let collected = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let bytes = collected.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    if !control::is_control_path(&path) {
        query.extend(parse_query(&body));
    }
    ApiCall {
        method: head.method.to_string(),
        gzip: header(ACCEPT_ENCODING).is_some_and(|codings| codings.contains("gzip")),
        path,
        query,
        body,
        bearer: header(AUTHORIZATION)
            .and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned)),
        host: header(HOST).unwrap_or_default(),
    }
}

/// Builds hyper's response, compressed if the client accepts gzip.
fn build_response(reply: Reply, gzip: bool) -> Response<RawBody> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let mut body = Bytes::from(reply.body);
    // The spaces that replace the body are not compressed.
    let is_huge = matches!(reply.mode, ResponseMode::Huge(_));
    if gzip && !is_huge && body.len() > MIN_COMPRESSED_BYTES {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if let Ok(compressed) = encoder.write_all(&body).and_then(|()| encoder.finish()) {
            body = compressed.into();
            response = response.header(CONTENT_ENCODING, "gzip");
        }
    }
    let raw_body = match reply.mode {
        ResponseMode::Huge(bytes) => RawBody::Huge { remaining: bytes },
        ResponseMode::Cut => RawBody::Cut {
            first_half: body.slice(..body.len() / 2),
            content_length: body.len() as u64,
            is_flushed: false,
        },
        _ => RawBody::Whole(body),
    };
    // Fails only for an invalid header value, which the text of a fault can contain.
    response
        .body(raw_body)
        .unwrap_or_else(|_| Response::new(RawBody::Whole(Bytes::new())))
}
