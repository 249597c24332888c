//! A checked TLS config and the files that it names → what handshakes are made with.
//!
//! rustls with ring; which client certificates are taken is decided here as Go's TLS does.

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

use super::san;
use crate::config::{ClientAuth, Tls};

/// What stands in the files, or in the config itself.
#[derive(PartialEq, Eq)]
pub(super) struct Papers {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Vec<u8>,
}

/// The key that is wrong, and what is wrong with it.
pub(super) type Trouble = (&'static str, String);

/// Everything that a handshake needs.
pub(super) fn server_config(tls: &Tls, papers: &Papers) -> Result<ServerConfig, Trouble> {
    let chain = certificates(&papers.cert).ok_or_else(|| {
        let text = "there is no certificate in PEM in this; it begins -----BEGIN CERTIFICATE-----";
        ("cert_file", text.to_owned())
    })?;
    let key = PrivateKeyDer::from_pem_slice(&papers.key).map_err(|_| {
        let text = "there is no private key in PEM in this; it begins -----BEGIN PRIVATE KEY-----, and has no passphrase";
        ("key_file", text.to_owned())
    })?;
    let provider = Arc::new(provider(tls));
    let versions: Vec<&SupportedProtocolVersion> = [
        (tls.tls13, &rustls::version::TLS13),
        (tls.tls12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter_map(|(spoken, version)| spoken.then_some(version))
    .collect();
    let clients = clients(tls, papers, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| ("min_version", format!("{error}; allow TLS13")))?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let text = format!(
            "this key does not serve: {error}; give the one that the certificate was made for"
        );
        ("key_file", text)
    })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty())
}

/// ring, less what the owner does not want, in the owner's order.
fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(names) = &tls.cipher_suites {
        let (newer, older): (Vec<_>, Vec<_>) = provider
            .cipher_suites
            .into_iter()
            .partition(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
        let named = |name: &&str| {
            let wanted = older
                .iter()
                .find(|suite| suite.suite().as_str().is_some_and(|suite| suite == *name));
            wanted.copied()
        };
        provider.cipher_suites = newer;
        provider
            .cipher_suites
            .extend(names.iter().filter_map(named));
    }
    if let Some(names) = &tls.curve_preferences {
        let named = |name: &&str| -> Option<&'static dyn SupportedKxGroup> {
            match *name {
                "X25519" => Some(ring::kx_group::X25519),
                "CurveP256" => Some(ring::kx_group::SECP256R1),
                "CurveP384" => Some(ring::kx_group::SECP384R1),
                _ => None,
            }
        };
        provider.kx_groups = names.iter().filter_map(named).collect();
    }
    provider
}

fn clients(
    tls: &Tls,
    papers: &Papers,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Trouble> {
    let mandatory = match tls.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request | ClientAuth::VerifyIfGiven => false,
        ClientAuth::RequireAny | ClientAuth::RequireAndVerify => true,
    };
    let verifies = matches!(
        tls.client_auth,
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
    );
    let vouched = match verifies {
        true => Some(vouched(papers, provider)?),
        false => None,
    };
    Ok(Some(Arc::new(Clients {
        vouched,
        mandatory,
        sans: tls.client_allowed_sans.clone(),
        provider: Arc::clone(provider),
    })))
}

fn vouched(
    papers: &Papers,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Trouble> {
    let wrong = |text: String| ("client_ca_file", text);
    let mut roots = RootCertStore::empty();
    let all = certificates(&papers.client_ca).ok_or_else(|| {
        wrong(
            "there is no certificate in PEM in this; it begins -----BEGIN CERTIFICATE-----"
                .to_owned(),
        )
    })?;
    for certificate in all {
        roots.add(certificate).map_err(|error| {
            wrong(format!(
                "a certificate in this cannot be used: {error}; replace it"
            ))
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| wrong(format!("{error}; replace it")))
}

/// Decides about a client's certificate.
#[derive(Debug)]
struct Clients {
    /// Who says whether somebody known vouches for it; `None`: nobody is asked.
    vouched: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.vouched {
            Some(vouched) => vouched.root_hint_subjects(),
            None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(vouched) = &self.vouched {
            vouched.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.sans {
            let names = san::names(end_entity).ok_or(rustls::Error::InvalidCertificate(
                CertificateError::BadEncoding,
            ))?;
            if !names.iter().any(|name| allowed.contains(name)) {
                let refused = CertificateError::ApplicationVerificationFailure;
                return Err(rustls::Error::InvalidCertificate(refused));
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
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
