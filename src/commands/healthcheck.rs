//! Asks the exporter that runs here whether it works: for container images that have no shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Failure;
use crate::cli::Flags;
use crate::http::WebConfig;

/// How long an answer may take: probes give up after some seconds themselves.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const LONGEST: u64 = 4096;

/// Asks at the first listen address, over TLS where the web config file says so.
///
/// # Errors
/// When the exporter does not answer, or not well.
pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let address = flags.listen_addresses.first().map_or("", String::as_str);
    let secure = match flags.web_config() {
        None => false,
        // A probe fails with 1, whatever the reason.
        Some(path) => {
            let scheme = WebConfig::scheme_in(path);
            scheme.map_err(|refused| Failure::Failed(refused.to_string()))? == "https"
        }
    };
    let asked = timeout(PATIENCE, ask(address, secure)).await;
    match asked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(trouble)) => Err(Failure::Failed(format!("{address}: {trouble}"))),
        Err(_) => Err(Failure::Failed(format!("{address}: no answer in time"))),
    }
}

async fn ask(address: &str, secure: bool) -> Result<(), String> {
    let stream = connect(address).await.map_err(|error| error.to_string())?;
    if !secure {
        return healthy(stream).await.map_err(|error| error.to_string())?;
    }
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    let talk = async {
        let stream = TlsConnector::from(Arc::new(anybody()?))
            .connect(name, stream)
            .await?;
        healthy(stream).await
    };
    let talked: std::io::Result<_> = talk.await;
    match talked {
        Ok(answer) => answer,
        // It works so far that it asks for a certificate, which nobody has here.
        Err(error) if wants_certificate(&error) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// To the loopback address where it listens on all of them.
async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let port: u16 = port
        .parse()
        .map_err(|_| std::io::Error::other("not an address with a port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => TcpStream::connect((local[0], port)).await,
        Ok(ip) if !ip.is_unspecified() => TcpStream::connect((ip, port)).await,
        Err(_) if !host.is_empty() => TcpStream::connect((host, port)).await,
        _ => match TcpStream::connect((local[0], port)).await {
            Ok(stream) => Ok(stream),
            Err(_) => TcpStream::connect((local[1], port)).await,
        },
    }
}

async fn healthy<S>(mut stream: S) -> std::io::Result<Result<(), String>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.take(LONGEST).read_to_end(&mut answer).await;
    if answer.is_empty() {
        read?;
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    Ok(match status.split(' ').nth(1) {
        // Without a password it only says so where it is healthy.
        Some("200" | "401") => Ok(()),
        _ => Err(format!("{status}: {}", body.trim())),
    })
}

fn wants_certificate(error: &std::io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure
        ))
    )
}

/// A client that believes every certificate: it talks to itself, and tells no secret.
fn anybody() -> std::io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth())
}

#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
