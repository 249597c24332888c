//! `healthcheck`: requests `/-/healthy` of the local exporter. Intended for health checks in container images that
//! contain neither a shell nor an HTTP client.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use rustls::AlertDescription;
use rustls::crypto::ring;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::CommandError;
use crate::cli::CommonFlags;
use crate::http::WebConfigFile;

/// Maximum time for connection and response. Shorter than the 5 s after which the Dockerfile and the Helm chart of this
/// project end the command, so that its error is printed. Kubernetes' own default for probes is 1 s.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size in bytes of the response of an unhealthy exporter, which is printed.
const MAX_RESPONSE_BYTES: usize = 4096;

/// Host name in the request. It is not resolved: the connection goes to the addresses from [`target_addresses`].
const HOST: &str = "localhost";

/// Sends a request to the address for health checks or, without one, to the first listen address, over TLS if the web
/// config enables it.
///
/// # Errors
/// Returns `CommandError::Failed`, exit status 1, if the exporter does not respond in time or is not healthy, or if the
/// web config cannot be read.
pub async fn run(flags: &CommonFlags) -> Result<(), CommandError> {
    let prefix = flags.route_prefix();
    let (address, path, web_config) = match flags.health_listen_address() {
        Some(address) => (address, "/-/healthy".to_owned(), None),
        None => (
            flags.listen_addresses.first().map_or("", String::as_str),
            format!("{prefix}/-/healthy"),
            flags.web_config(),
        ),
    };
    let scheme = match web_config {
        None => "http",
        // Exit status 1 for any failure, an invalid web config included: Docker reserves exit status 2 of health
        // checks.
        Some(path) => {
            let scheme = WebConfigFile::scheme_in(path);
            scheme.map_err(|error| CommandError::Failed(error.to_string()))?
        }
    };
    match timeout(HEALTHCHECK_TIMEOUT, request(scheme, address, &path)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CommandError::Failed(format!("{address}: {error}"))),
        Err(_) => Err(CommandError::Failed(format!(
            "{address}: no response within {} s",
            HEALTHCHECK_TIMEOUT.as_secs()
        ))),
    }
}

/// Requests `path` from a listen address and checks the response.
async fn request(scheme: &str, address: &str, path: &str) -> Result<(), String> {
    let addresses = target_addresses(address).await;
    let addresses = addresses.map_err(|error| error.to_string())?;
    let port = addresses.first().map_or(0, SocketAddr::port);
    // Fails if the process already has a provider, which is not replaced then.
    let _ = ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .resolve_to_addrs(HOST, &addresses)
        // The request goes to the local exporter and contains no secrets.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| root_cause(&error))?;
    let url = format!("{scheme}://{HOST}:{port}{path}");
    match client.get(url).send().await {
        Ok(response) => check_health(response).await,
        // A server that requires a client certificate is responsive. The health check has no certificate to present.
        Err(error) if requires_client_certificate(&error) => Ok(()),
        Err(error) => Err(root_cause(&error)),
    }
}

/// Returns the addresses to connect to, in the order of the attempts. If a listen address means all interfaces
/// (`:10919`, `0.0.0.0`, `[::]`), it is the loopback interface: 127.0.0.1, then ::1 unless the address is limited to
/// IPv4.
async fn target_addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let port: u16 = port
        .parse()
        .map_err(|_| io::Error::other("expected HOST:PORT"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback_v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ips = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => vec![loopback_v4],
        Ok(ip) if !ip.is_unspecified() => vec![ip],
        Err(_) if !host.is_empty() => return Ok(lookup_host((host, port)).await?.collect()),
        _ => vec![loopback_v4, IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    Ok(ips.into_iter().map(|ip| (ip, port).into()).collect())
}

/// Returns an error with the response if its status is not that of a healthy exporter.
async fn check_health(mut response: reqwest::Response) -> Result<(), String> {
    let status = response.status();
    // With `basic_auth_users` in the web config, a healthy exporter responds 401 to a request without credentials. An
    // unhealthy one responds 503 even then.
    if [StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&status) {
        return Ok(());
    }
    let mut body = Vec::new();
    // The status is an error in itself, so that an incomplete body does not matter.
    while let Ok(Some(chunk)) = response.chunk().await {
        let rest = MAX_RESPONSE_BYTES - body.len();
        body.extend_from_slice(chunk.get(..rest).unwrap_or(&chunk));
        if body.len() == MAX_RESPONSE_BYTES {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body);
    Err(format!("HTTP status {status}: {}", body.trim()))
}

/// Returns the errors that caused `error`, itself included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // The source of an I/O error is that of the error inside.
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Returns the text of the first cause, because the outer errors only name the URL.
fn root_cause(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Whether the server ended the connection because the client presented no certificate. TLS 1.3 has the alert
/// `certificate_required` for that (RFC 8446); TLS 1.2 uses `handshake_failure` (RFC 5246), which can also mean that
/// the two have no common cipher suite. The exporter and this command use the same TLS library, so that they have
/// one.
fn requires_client_certificate(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        matches!(
            cause.downcast_ref::<rustls::Error>(),
            Some(rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure
            ))
        )
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::{MAX_RESPONSE_BYTES, request, target_addresses};

    /// Accepts a connection, reads a request, sends `response` and closes the connection.
    async fn respond(listener: TcpListener, response: &str) {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = connection.read(&mut request).await.unwrap();
        connection.write_all(response.as_bytes()).await.unwrap();
    }

    /// Returns the health that this response means.
    async fn health(response: &str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let request = request("http", &address, "/-/healthy");
        tokio::join!(request, respond(listener, response)).0
    }

    #[tokio::test]
    async fn status_determines_health() {
        let close = "Connection: close\r\n\r\n";
        assert_eq!(
            health(&format!("HTTP/1.1 200 OK\r\n{close}OK")).await,
            Ok(())
        );
        let unauthorized = format!("HTTP/1.1 401 Unauthorized\r\n{close}");
        assert_eq!(health(&unauthorized).await, Ok(()));
        let unhealthy = format!("HTTP/1.1 503 Service Unavailable\r\n{close}stalled\n");
        let expected = "HTTP status 503 Service Unavailable: stalled";
        assert_eq!(health(&unhealthy).await, Err(expected.to_owned()));
        let redirect = format!("HTTP/1.1 302 Found\r\nLocation: /-/healthy\r\n{close}");
        assert_eq!(
            health(&redirect).await,
            Err("HTTP status 302 Found: ".to_owned())
        );
    }

    #[tokio::test]
    async fn printed_response_is_limited() {
        let body = "x".repeat(2 * MAX_RESPONSE_BYTES);
        let response =
            format!("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n{body}");
        let error = health(&response).await.unwrap_err();
        assert_eq!(error.matches('x').count(), MAX_RESPONSE_BYTES);
    }

    #[tokio::test]
    async fn connection_closed_without_response_is_unhealthy() {
        let error = health("").await.unwrap_err();
        assert!(error.contains("closed"), "{error}");
    }

    #[tokio::test]
    async fn unspecified_addresses_become_loopback() {
        for (address, expected) in [
            (":10919", "127.0.0.1:10919 [::1]:10919"),
            ("[::]:10919", "127.0.0.1:10919 [::1]:10919"),
            ("0.0.0.0:10919", "127.0.0.1:10919"),
            ("192.0.2.1:10919", "192.0.2.1:10919"),
            ("[2001:db8::1]:10919", "[2001:db8::1]:10919"),
        ] {
            let addresses = target_addresses(address).await.unwrap();
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            assert_eq!(addresses.join(" "), expected, "{address}");
        }
        assert!(target_addresses("localhost").await.is_err());
    }

    #[tokio::test]
    async fn server_that_listens_only_on_ipv6_is_found() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let address = format!(":{}", listener.local_addr().unwrap().port());
        let request = request("http", &address, "/-/healthy");
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (health, ()) = tokio::join!(request, respond(listener, response));
        assert_eq!(health, Ok(()));
    }
}
