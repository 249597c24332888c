//! Private keys and key exchange of the server beyond those of ring: P-521, and RSA above 4096 bits.
//!
//! Go supports them, so that web config files of other exporters can use them. The implementations are
//! those of RustCrypto; this module adapts them to rustls.

use std::sync::Arc;

use p521::elliptic_curve::Generate;
use p521::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::PrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::{SignatureEncoding, Signer as MessageSigner};
use rustls::crypto::{ActiveKeyExchange, KeyProvider, SharedSecret, SupportedKxGroup, ring};
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

/// Loads private keys: those of ring, and further types.
#[derive(Debug)]
pub(super) struct ServerKeyProvider;

impl KeyProvider for ServerKeyProvider {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let ring_error = match ring::sign::any_supported_type(&key) {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        if let Some(key) = P521Key::parse(&key) {
            return Ok(Arc::new(key));
        }
        if let Some(key) = LargeRsaKey::parse(&key) {
            return Ok(Arc::new(key));
        }
        Err(ring_error)
    }
}

/// ECDSA key of curve P-521.
struct P521Key {
    key: Arc<p521::ecdsa::SigningKey>,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

impl P521Key {
    fn parse(der: &PrivateKeyDer<'_>) -> Option<Self> {
        let secret = match der {
            PrivateKeyDer::Pkcs8(der) => {
                p521::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok()?
            }
            PrivateKeyDer::Sec1(der) => {
                p521::SecretKey::from_sec1_der(der.secret_sec1_der()).ok()?
            }
            _ => return None,
        };
        let public_key = secret.public_key().to_public_key_der().ok()?;
        Some(Self {
            key: Arc::new(p521::ecdsa::SigningKey::from(&secret)),
            public_key: public_key.into_vec().into(),
        })
    }
}

impl std::fmt::Debug for P521Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P521Key")
    }
}

impl SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512);
        is_offered.then(|| Box::new(P521Signer(Arc::clone(&self.key))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public_key.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

struct P521Signer(Arc<p521::ecdsa::SigningKey>);

impl std::fmt::Debug for P521Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P521Signer")
    }
}

impl Signer for P521Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: p521::ecdsa::DerSignature =
            self.0.try_sign(message).map_err(signing_failed)?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

/// RSA key of more than 4096 bits, at most 8192.
struct LargeRsaKey {
    key: Arc<PrivateKey>,
    public_key: SubjectPublicKeyInfoDer<'static>,
}

/// Signature schemes of RSA in the order of preference.
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Minimum size of an RSA modulus in bytes; smaller keys are not secure.
const MIN_RSA_BYTES: usize = 2048 / 8;

impl LargeRsaKey {
    fn parse(der: &PrivateKeyDer<'_>) -> Option<Self> {
        use rsa::traits::PublicKeyParts;
        let key = match der {
            PrivateKeyDer::Pkcs8(der) => PrivateKey::from_pkcs8_der(der.secret_pkcs8_der()).ok()?,
            PrivateKeyDer::Pkcs1(der) => PrivateKey::from_pkcs1_der(der.secret_pkcs1_der()).ok()?,
            _ => return None,
        };
        if key.size() < MIN_RSA_BYTES {
            return None;
        }
        let public_key = key.to_public_key().to_public_key_der().ok()?;
        Some(Self {
            key: Arc::new(key),
            public_key: public_key.into_vec().into(),
        })
    }
}

impl std::fmt::Debug for LargeRsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LargeRsaKey")
    }
}

impl SigningKey for LargeRsaKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *RSA_SCHEMES.iter().find(|scheme| offered.contains(scheme))?;
        let key = Arc::clone(&self.key);
        Some(Box::new(RsaSigner { key, scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public_key.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

struct RsaSigner {
    key: Arc<PrivateKey>,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaSigner")
    }
}

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        use rsa::{pkcs1v15, pss};
        let key = PrivateKey::clone(&self.key);
        match self.scheme {
            SignatureScheme::RSA_PSS_SHA512 => sign(&pss::SigningKey::<Sha512>::new(key), message),
            SignatureScheme::RSA_PSS_SHA384 => sign(&pss::SigningKey::<Sha384>::new(key), message),
            SignatureScheme::RSA_PSS_SHA256 => sign(&pss::SigningKey::<Sha256>::new(key), message),
            SignatureScheme::RSA_PKCS1_SHA512 => {
                sign(&pkcs1v15::SigningKey::<Sha512>::new(key), message)
            }
            SignatureScheme::RSA_PKCS1_SHA384 => {
                sign(&pkcs1v15::SigningKey::<Sha384>::new(key), message)
            }
            _ => sign(&pkcs1v15::SigningKey::<Sha256>::new(key), message),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn sign<S: SignatureEncoding>(
    key: &impl MessageSigner<S>,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    key.try_sign(message)
        .map(|signature| signature.to_vec())
        .map_err(signing_failed)
}

fn signing_failed(_: rsa::signature::Error) -> Error {
    Error::General("signing failed".to_owned())
}

/// Key exchange on curve P-521.
#[derive(Debug)]
pub(super) struct P521KeyExchange;

impl SupportedKxGroup for P521KeyExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = p521::ecdh::EphemeralSecret::try_generate()
            .map_err(|_| Error::FailedToGetRandomBytes)?;
        let public_key = secret.public_key().to_sec1_bytes().into();
        Ok(Box::new(ActiveP521KeyExchange { secret, public_key }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

struct ActiveP521KeyExchange {
    secret: p521::ecdh::EphemeralSecret,
    public_key: Vec<u8>,
}

impl ActiveKeyExchange for ActiveP521KeyExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // Only uncompressed points (RFC 8446, section 4.2.8.2).
        let is_uncompressed = peer.first() == Some(&4);
        let peer_key = p521::PublicKey::from_sec1_bytes(peer).ok();
        let peer_key = peer_key
            .filter(|_| is_uncompressed)
            .ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&peer_key);
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public_key
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}
