//! Connections: an HTTP/2 connection that is dead, although the peer acknowledges packets, is not used again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};

use super::program::Folder;
use crate::harness::{Exporter, parse, wait_until};

/// Starts an HTTP/2 server over TLS. Returns its port and its certificate.
async fn start_server() -> (u16, String) {
    let names = vec!["127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    // Fails if a provider is installed already, which is then used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service =
                    service_fn(|request| async move { Ok::<_, Infallible>(respond(request)) });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // Fails if the exporter closes the connection.
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (port, cert.pem())
}

fn respond(
    request: hyper::Request<hyper::body::Incoming>,
) -> hyper::Response<http_body_util::Full<Bytes>> {
    let path = request.uri().path();
    let body = if path.ends_with("/campaigns") {
        json!({"data": [{"id": "12", "name": "c", "effective_status": "ACTIVE", "is_message_campaign": true}]})
    } else if path.ends_with("/insights") || path.ends_with("/adsets") {
        json!({"data": []})
    } else {
        json!({"account_id": "1", "name": "n", "currency": "EUR", "timezone_name": "UTC"})
    };
    let tier = json!({"ads_api_access_tier": "standard_access"});
    hyper::Response::builder()
        .header("x-fb-ads-insights-throttle", tier.to_string())
        .body(http_body_util::Full::new(body.to_string().into()))
        .unwrap()
}

/// A hop that forwards bytes, until it drops those of its first connections without closing them.
struct Hop {
    port: u16,
    connections: Arc<AtomicUsize>,
    dead: Arc<AtomicUsize>,
}

impl Hop {
    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, limit) = (Arc::clone(&connections), Arc::clone(&dead));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::spawn(forward(client, target, number, Arc::clone(&limit)));
            }
        });
        Self {
            port,
            connections,
            dead,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops forwarding the bytes of all connections so far.
    fn stall(&self) {
        self.dead.store(self.connections(), Ordering::Relaxed);
    }
}

async fn forward(client: TcpStream, target: u16, number: usize, dead: Arc<AtomicUsize>) {
    let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_dead = move || dead.load(Ordering::Relaxed) >= number;
    let upstream = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if is_dead() {
                // Acknowledges everything that the exporter sends.
                let _ = copy(&mut from_client, &mut sink()).await;
                return;
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let downstream = copy(&mut from_server, &mut to_client);
    let _ = tokio::join!(upstream, downstream);
}

#[tokio::test]
async fn request_is_not_repeated_on_a_dead_connection() {
    let (server, certificate) = start_server().await;
    let hop = Hop::start(server).await;
    let folder = Folder::new();
    let path = folder.write("ca.pem", &certificate);
    let config = format!(
        "graph: {{ timeout: 2s, ca_file: {} }}
polling: {{ interval: 300ms }}
windows: [{{ name: today, date_preset: today }}]
businesses: [{{ name: acme, access_token_env: T, ad_accounts: [{{ id: act_1 }}] }}]
",
        path.display()
    );
    let exporter =
        Exporter::start(&parse(&config, &format!("https://127.0.0.1:{}", hop.port))).await;
    exporter.page_all_up().await;
    let used = hop.connections();
    hop.stall();
    wait_until("a new connection is used", || hop.connections() > used).await;
    let polls = |page: &crate::page::Page| page.value("exporter_polls_total", &[]);
    let before = polls(&exporter.page().await);
    let page = exporter
        .page_when(|page| polls(page) >= before.map(|polls| polls + 3.0))
        .await;
    page.assert("up", &[], "1");
    page.assert(
        "exporter_poll_failures_total",
        &[("reason", "unavailable")],
        "0",
    );
    let labels = [("endpoint", "insights"), ("reason", "unavailable")];
    let errors = page.value("exporter_api_request_errors_total", &labels);
    assert_eq!(errors, Some(1.0), "one request should have timed out");
}
