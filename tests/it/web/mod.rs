//! The way in: a web config file in the format of Prometheus' exporter-toolkit, over real sockets
//! and with real certificates.

mod auth;
mod program;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use marketing_messages_exporter::app::App;
use marketing_messages_exporter::http::WebConfig;
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

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this test's own; it ends with it.
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
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Who vouches for servers and clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
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

    /// Certificate and key.
    fn vouches_for(&self, name: &str) -> (String, String) {
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

/// An exporter that nobody polls for, behind a web config file.
struct Guarded {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Guarded {
    async fn start(web: &Path) -> Self {
        let web = WebConfig::load(web).unwrap_or_else(|all| panic!("{all}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody listens there: what is served does not depend on it.
        let config = parse(CONFIG, "http://127.0.0.1:9");
        let app = App::new(&config, Shard::WHOLE).unwrap().behind(web);
        let running = tokio::spawn(async move {
            let path = "/metrics".to_owned();
            drop(app.run(vec![listener], path, std::future::pending()).await);
        });
        Self { address, running }
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What `GET path` answers over plain HTTP.
    async fn get(&self, path: &str, headers: &str) -> String {
        ask(self.plain().await, path, headers).await
    }

    /// What `GET path` answers over TLS, or why it does not.
    async fn secure(&self, client: &Client) -> Result<Secured, String> {
        let connector = TlsConnector::from(Arc::new(client.config()));
        let name = ServerName::try_from("localhost").unwrap();
        let talk = async {
            let mut stream = connector.connect(name, self.plain().await).await?;
            let request = "GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            // With TLS 1.3 a client learns of its refusal only now.
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            let (_, connection) = stream.get_ref();
            Ok(Secured {
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
        let talked: std::io::Result<Secured> = timeout(PATIENCE, talk).await.unwrap();
        talked.map_err(|error| error.to_string())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// An answer over TLS, and what was agreed on.
#[derive(Debug)]
struct Secured {
    text: String,
    version: ProtocolVersion,
    suite: String,
    group: String,
    certificate: Vec<u8>,
}

/// Who asks over TLS.
struct Client {
    trusts: String,
    shows: Option<(String, String)>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Client {
    fn trusting(authority: &Authority) -> Self {
        Self {
            trusts: authority.pem(),
            shows: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }

    fn showing(self, pair: (String, String)) -> Self {
        let shows = Some(pair);
        Self { shows, ..self }
    }

    fn speaking(self, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let versions = vec![version];
        Self { versions, ..self }
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.trusts.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        match &self.shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    let mut stream = stream;
    let talk = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        drop(stream.read_to_string(&mut text).await);
        text
    };
    timeout(PATIENCE, talk).await.unwrap()
}
