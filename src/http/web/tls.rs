//! Builds the rustls config of the server from the TLS settings of a web config and its PEM files.
//!
//! The crypto provider is ring. Client certificates are accepted by the rules of Go's `crypto/tls`,
//! on which exporter-toolkit's format is based.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::certificate_names;
use super::server_key::{P521KeyExchange, ServerKeyProvider};
use crate::config::{ClientAuth, TlsSettings};

/// Contents of the PEM files, which can also be inline in the web config.
#[derive(PartialEq, Eq)]
pub(in crate::http) struct PemFiles {
    pub(in crate::http) cert: Vec<u8>,
    pub(in crate::http) key: Vec<u8>,
    /// `None` if no client CA is configured.
    pub(in crate::http) client_ca: Option<Vec<u8>>,
}

const NO_CERTIFICATE: &str =
    "expected a certificate in PEM (-----BEGIN CERTIFICATE-----), found none; check the file";

const NO_PRIVATE_KEY: &str = "expected a private key in PEM without passphrase \
    (-----BEGIN PRIVATE KEY-----), found none; check the file";

/// Key of `tls_server_config` that has an error, and the error text.
pub(in crate::http) type TlsError = (&'static str, String);

/// Server config and facts about its certificate chain.
pub(in crate::http) struct ServerTls {
    pub(in crate::http) config: ServerConfig,
    /// Earliest expiry in the chain, as a Unix timestamp in seconds; `None` if it cannot be parsed.
    pub(in crate::http) expiry: Option<i64>,
}

/// Builds the server config.
///
/// # Errors
/// Returns the key that has an error if a PEM file is invalid, the private key does not match the
/// certificate, or no protocol version is left.
pub(in crate::http) fn server_config(
    tls: &TlsSettings,
    pem_files: &PemFiles,
) -> Result<ServerTls, TlsError> {
    let chain = certificates(&pem_files.cert);
    if chain.is_empty() {
        return Err(("cert_file", NO_CERTIFICATE.to_owned()));
    }
    let expiry = chain
        .iter()
        .filter_map(|certificate| certificate_names::expiry(certificate))
        .min();
    let key = PrivateKeyDer::from_pem_slice(&pem_files.key)
        .map_err(|_| ("key_file", NO_PRIVATE_KEY.to_owned()))?;
    let provider = Arc::new(provider(tls));
    let versions: Vec<&SupportedProtocolVersion> = [
        (tls.tls13, &rustls::version::TLS13),
        (tls.tls12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter_map(|(is_enabled, version)| is_enabled.then_some(version))
    .collect();
    let client_verifier = client_verifier(tls, pem_files, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| ("min_version", format!("{error}; allow TLS13")))?;
    let builder = match client_verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let text = format!(
            "invalid private key: {error}; use the key for which the certificate was issued"
        );
        ("key_file", text)
    })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ServerTls { config, expiry })
}

/// Returns the certificates of a PEM text. Invalid sections are skipped, as in Go.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

/// Returns the provider: ring and further keys and curves, with the configured cipher suites and curves, in the configured order.
/// The cipher suites of TLS 1.3 are not configurable, as in Go.
fn provider(tls: &TlsSettings) -> CryptoProvider {
    let mut provider = CryptoProvider {
        key_provider: &ServerKeyProvider,
        ..ring::default_provider()
    };
    if let Some(names) = &tls.cipher_suites {
        let (tls13_suites, tls12_suites): (Vec<_>, Vec<_>) = provider
            .cipher_suites
            .into_iter()
            .partition(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
        let suite_by_name = |name: &&str| {
            tls12_suites
                .iter()
                .find(|suite| suite.suite().as_str().is_some_and(|suite| suite == *name))
                .copied()
        };
        provider.cipher_suites = tls13_suites;
        provider
            .cipher_suites
            .extend(names.iter().filter_map(suite_by_name));
    }
    if let Some(names) = &tls.curve_preferences {
        let group_by_name = |name: &&str| -> Option<&'static dyn SupportedKxGroup> {
            match *name {
                "X25519" => Some(ring::kx_group::X25519),
                "CurveP256" => Some(ring::kx_group::SECP256R1),
                "CurveP384" => Some(ring::kx_group::SECP384R1),
                "CurveP521" => Some(&P521KeyExchange),
                _ => None,
            }
        };
        provider.kx_groups = names.iter().filter_map(group_by_name).collect();
    }
    provider
}

/// Returns the verifier of client certificates, or `None` if none are requested.
fn client_verifier(
    tls: &TlsSettings,
    pem_files: &PemFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let is_mandatory = match tls.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request | ClientAuth::VerifyIfGiven => false,
        ClientAuth::RequireAny | ClientAuth::RequireAndVerify => true,
    };
    let is_chain_verified = matches!(
        tls.client_auth,
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
    );
    let (chain_verifier, trusted_certificates) = if is_chain_verified {
        let trusted = trusted_certificates(pem_files)?;
        (chain_verifier(&trusted, provider)?, trusted)
    } else {
        (None, Vec::new())
    };
    Ok(Some(Arc::new(ClientVerifier {
        is_chain_verified,
        chain_verifier,
        trusted_certificates,
        is_mandatory,
        allowed_sans: tls.client_allowed_sans.clone(),
        provider: Arc::clone(provider),
    })))
}

/// Returns the certificates of the client CA file, or those of the system without such a file.
fn trusted_certificates(pem_files: &PemFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Some(client_ca) = &pem_files.client_ca else {
        // Go's default. An empty list refuses every client.
        return Ok(rustls_native_certs::load_native_certs().certs);
    };
    let mut trusted = certificates(client_ca);
    // Go skips certificates that it cannot parse.
    trusted.retain(|certificate| certificate_names::is_certificate(certificate));
    if trusted.is_empty() {
        return Err(("client_ca_file", NO_CERTIFICATE.to_owned()));
    }
    Ok(trusted)
}

/// Returns a verifier of certificate chains up to one of the trusted certificates; `None` if none of
/// them can be the end of a chain.
fn chain_verifier(
    trusted: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    if roots.is_empty() {
        return Ok(None);
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(|verifier| Some(verifier as Arc<dyn ClientCertVerifier>))
        .map_err(|cause| {
            let text = format!("invalid CA certificates: {cause}; replace them");
            ("client_ca_file", text)
        })
}

/// Verifier of client certificates.
#[derive(Debug)]
struct ClientVerifier {
    /// Whether a trusted certificate must have issued the client's certificate, or be equal to it.
    is_chain_verified: bool,
    chain_verifier: Option<Arc<dyn ClientCertVerifier>>,
    trusted_certificates: Vec<CertificateDer<'static>>,
    /// Whether a client must present a certificate.
    is_mandatory: bool,
    /// Subject alternative names of which a certificate must have one; `None` accepts all.
    allowed_sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        // A self-signed client certificate can be its own trusted certificate, as in Go.
        let mut trusted = self.trusted_certificates.iter();
        if trusted.any(|certificate| **certificate == **end_entity) {
            return certificate_names::check_client(end_entity, now.as_secs())
                .map_err(rustls::Error::InvalidCertificate);
        }
        match &self.chain_verifier {
            Some(verifier) => verifier
                .verify_client_cert(end_entity, intermediates, now)
                .map(|_| ()),
            None => Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer,
            )),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chain_verifier {
            Some(verifier) => verifier.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.is_chain_verified {
            self.verify_chain(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans {
            let names = certificate_names::names(end_entity).ok_or(
                rustls::Error::InvalidCertificate(CertificateError::BadEncoding),
            )?;
            if !names.iter().any(|name| allowed.contains(name)) {
                let error = CertificateError::ApplicationVerificationFailure;
                return Err(rustls::Error::InvalidCertificate(error));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
