//! Web config files in the format of Prometheus' exporter-toolkit, over real sockets and with real
//! certificates.

mod auth;
mod business_users;
mod files;
mod network;
mod overload;
mod program;
mod protection;
mod scopes;
mod tls;
mod toolkit;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use marketing_messages_exporter::app::App;
use marketing_messages_exporter::http::WebConfigFile;
use marketing_messages_exporter::plan::Shard;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};

use crate::harness::parse;

const CONFIG: &str = "businesses: [{ name: acme, access_token_env: EVERYONE, ad_accounts: [{ id: act_10150000000001101 }] }]";

/// bcrypt cost of the tests' password hashes; low, because the cost is tested with the code.
const LOW_BCRYPT_COST: u32 = 4;

/// Maximum time for one response; it only ends a test that hangs.
const HANG_GUARD: Duration = Duration::from_secs(20);

/// Temporary folder of one test, deleted on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mme-web-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Certificate authority for servers and clients.
struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for `name` and returns it with its key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Exporter with a web config file, which serves without polling successfully.
struct GuardedServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl GuardedServer {
    async fn start(web: &Path) -> Self {
        let web = WebConfigFile::load(web).unwrap_or_else(|all| panic!("{all}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_with(listener, web, CONFIG)
    }

    fn start_with(listener: TcpListener, web: WebConfigFile, config: &str) -> Self {
        let address = listener.local_addr().unwrap();
        // No server listens at this port. The tests do not depend on polls.
        let config = parse(config, "http://127.0.0.1:9");
        let app = App::new(&config, Shard::ALL).unwrap().with_web_config(web);
        let task = tokio::spawn(async move {
            let path = "/metrics".to_owned();
            let _ = app.run(vec![listener], path, std::future::pending()).await;
        });
        Self { address, task }
    }

    /// Opens a TCP connection.
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Returns the response to `GET path` over plain HTTP.
    async fn get(&self, path: &str, headers: &str) -> String {
        request(self.connect().await, path, headers).await
    }

    /// Returns the response to `GET path` over TLS.
    async fn get_path_over_tls(&self, client: &TlsClient, path: &str, headers: &str) -> String {
        let connector = TlsConnector::from(Arc::new(client.config()));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, self.connect().await).await.unwrap();
        request(stream, path, headers).await
    }

    /// Returns the response to `GET /-/healthy` over TLS, or the error of the connection.
    async fn get_over_tls(&self, client: &TlsClient) -> Result<TlsResponse, String> {
        let connector = TlsConnector::from(Arc::new(client.config()));
        let name = ServerName::try_from("localhost").unwrap();
        let exchange = async {
            let mut stream = connector.connect(name, self.connect().await).await?;
            let request = "GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            // In TLS 1.3, a client receives the refusal of its certificate only after the handshake.
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            let (_, connection) = stream.get_ref();
            Ok(TlsResponse {
                text,
                version: connection.protocol_version().unwrap(),
                suite: format!(
                    "{:?}",
                    connection.negotiated_cipher_suite().unwrap().suite()
                ),
                group: format!(
                    "{:?}",
                    connection.negotiated_key_exchange_group().unwrap().name()
                ),
                certificate: connection.peer_certificates().unwrap()[0].to_vec(),
            })
        };
        let result: std::io::Result<TlsResponse> = timeout(HANG_GUARD, exchange).await.unwrap();
        result.map_err(|error| error.to_string())
    }
}

impl Drop for GuardedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Response over TLS, with the negotiated parameters.
#[derive(Debug)]
struct TlsResponse {
    text: String,
    version: ProtocolVersion,
    suite: String,
    group: String,
    certificate: Vec<u8>,
}

/// TLS client of a test.
struct TlsClient {
    /// Trusted CA as PEM.
    ca: String,
    /// Client certificate and key as PEM.
    certificate: Option<(String, String)>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl TlsClient {
    /// Returns a client that trusts `authority` and has no certificate.
    fn new(authority: &CertificateAuthority) -> Self {
        Self {
            ca: authority.pem(),
            certificate: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }

    fn with_certificate(self, certificate_and_key: (String, String)) -> Self {
        let certificate = Some(certificate_and_key);
        Self {
            certificate,
            ..self
        }
    }

    fn with_version(self, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let versions = vec![version];
        Self { versions, ..self }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

/// Sends `GET path` and returns the response.
async fn request(stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    let mut stream = stream;
    let exchange = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    };
    timeout(HANG_GUARD, exchange).await.unwrap()
}

/// Returns the address at which a program serves, once it does.
async fn served_address(program: &crate::process::Program) -> SocketAddr {
    let listening = || program.lines("msg=listening").into_iter().next();
    crate::harness::wait_until("exporter listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let address = line.split("address=").nth(1).unwrap();
    address.split(' ').next().unwrap().parse().unwrap()
}
