//! Sockets: one task that accepts, and one for each connection.
//!
//! HTTP/1.1 with keep-alive. Everything ends when the handle is dropped, hanging calls included.

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

use super::api::{Api, Conduct, Reply};
use super::call::{Call, pairs};
use super::control;
use super::flow::Flow;

/// A form body is a handful of parameters; filters of many ids are the longest.
const LONGEST_BODY: usize = 1 << 20;
/// Addresses with a hundred ids in a filter pass hyper's usual header buffer.
const LONGEST_HEAD: usize = 1 << 18;
/// Shorter bodies go as they are: they fit a packet anyway.
const WORTH_COMPRESSING: usize = 1400;

/// Accepts and answers until the future is dropped.
pub(super) async fn serve(listener: TcpListener, api: Arc<Api>) {
    // Dropping the set ends its tasks, so no connection outlives the listener.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, api.clone()));
            }
            Err(error) => {
                // Out of file descriptors, say: others may end and give some back.
                tracing::warn!(%error, "the simulator cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, api: Arc<Api>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, api.clone()));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the simulator ended early");
    }
}

async fn answer(request: Request<Incoming>, api: Arc<Api>) -> io::Result<Response<Flow>> {
    let call = read(request).await;
    let reply = api.answer(&call);
    tokio::time::sleep(reply.delay).await;
    match reply.conduct {
        // The error ends the connection before a byte of an answer.
        Conduct::Reset => Err(io::Error::other("reset on purpose")),
        Conduct::Hang => std::future::pending().await,
        _ => Ok(response(reply, call.gzip)),
    }
}

async fn read(request: Request<Incoming>) -> Call {
    let (head, body) = request.into_parts();
    let header = |name| {
        let value = head.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let mut query = pairs(head.uri.query().unwrap_or(""));
    let path = head.uri.path().to_owned();
    let collected = Limited::new(body, LONGEST_BODY).collect().await;
    let bytes = collected.map(|body| body.to_bytes()).unwrap_or_default();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    if !control::concerns(&path) {
        query.extend(pairs(&body));
    }
    Call {
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

fn response(reply: Reply, gzip: bool) -> Response<Flow> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let mut body = Bytes::from(reply.body);
    // What comes instead of a body is not compressed, and must not be said to be.
    let huge = matches!(reply.conduct, Conduct::Huge(_));
    if gzip && !huge && body.len() > WORTH_COMPRESSING {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if let Ok(compressed) = encoder.write_all(&body).and_then(|()| encoder.finish()) {
            body = compressed.into();
            response = response.header(CONTENT_ENCODING, "gzip");
        }
    }
    let flow = match reply.conduct {
        Conduct::Huge(left) => Flow::Huge { left },
        Conduct::Cut => Flow::Cut {
            half: body.slice(..body.len() / 2),
            promised: body.len() as u64,
            waited: false,
        },
        _ => Flow::Whole(body),
    };
    // Only a header that is none can fail here, and a fault's text may hold such a one.
    response
        .body(flow)
        .unwrap_or_else(|_| Response::new(Flow::Whole(Bytes::new())))
}
