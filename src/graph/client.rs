//! One request to the API, one answer, within bounds: time, size, and no redirects.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect;
use ring::hmac;

use super::error::Error;
use super::usage::Headers;
use crate::secret::Secret;

/// The largest answer that is read: some 20 times what a full page of ads takes.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

/// The API at one address and version. Cloning shares the connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Address and version, without a slash at the end.
    base: String,
}

/// Why no client can be made: the config asks for what cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The `ca_file` cannot be read.
    #[error("graph.ca_file: {path}: {source}")]
    CaFile {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The `ca_file` holds no certificates.
    #[error("graph.ca_file: {path}: not a list of PEM certificates")]
    CaFormat {
        /// The file.
        path: String,
    },
    /// TLS cannot be set up, mostly since the system has no certificates.
    #[error(
        "TLS for {base} cannot be set up ({reason}); install the system's CA certificates, or name a graph.ca_file"
    )]
    Tls {
        /// The API's address.
        base: String,
        /// What the library said.
        reason: String,
    },
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The business' access token.
    pub token: Secret,
    /// The app's secret, with which each request proves that it comes from the app.
    pub app_secret: Option<Secret>,
}

impl Credentials {
    /// That text without the secrets, should it quote one.
    pub(super) fn conceal(&self, text: &str) -> String {
        let mut text = text.replace(self.token.expose(), "[secret]");
        // An app's token is its id and its secret.
        if let Some((_, secret)) = self.token.expose().split_once('|') {
            text = text.replace(secret, "[secret]");
        }
        if let Some(secret) = &self.app_secret {
            text = text.replace(secret.expose(), "[secret]");
            text = text.replace(&proof(secret, &self.token), "[proof]");
        }
        text
    }

    /// The same asker in the name of the app itself; `None` without its secret.
    pub(super) fn as_app(&self, app_id: &str) -> Option<Self> {
        let secret = self.app_secret.as_ref()?;
        let token = Secret::new(&format!("{app_id}|{}", secret.expose()))?;
        Some(Self {
            token,
            app_secret: None,
        })
    }
}

/// One request, ready to be sent.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Below the version, without a slash in front.
    pub(super) path: &'a str,
    /// Query parameters; none of them is a secret.
    pub(super) params: &'a [(&'a str, String)],
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) headers: Headers,
    pub(super) body: Result<Bytes, Error>,
}

impl Client {
    /// A client for the API at `url` (without a slash at its end), in `version` (such as `v26.0`).
    ///
    /// # Errors
    /// When `ca_file` is not what it should be, or the system has no CA certificates.
    pub fn new(
        url: &str,
        version: &str,
        timeout: Duration,
        ca_file: Option<&Path>,
    ) -> Result<Self, SetupError> {
        // A second installation changes nothing, and one from elsewhere serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            // A token must not follow a redirect to somewhere else.
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!(
                "marketing-messages-exporter/",
                env!("CARGO_PKG_VERSION")
            ));
        if let Some(path) = ca_file {
            let certificates = certificates(path)?;
            builder = builder.tls_certs_merge(certificates);
        } else if url.starts_with("http:") {
            // Nothing is verified there, so that a system without certificates is no obstacle.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| SetupError::Tls {
            base: url.to_owned(),
            reason: chain(&error),
        })?;
        let base = format!("{url}/{version}");
        Ok(Self { http, base })
    }

    /// Sends one request and reads its answer.
    pub(super) async fn send(&self, credentials: &Credentials, request: Request<'_>) -> Response {
        let url = format!("{}/{}", self.base, request.path);
        let mut builder = self.http.get(url).query(request.params);
        if let Some(secret) = &credentials.app_secret {
            builder = builder.query(&[("appsecret_proof", proof(secret, &credentials.token))]);
        }
        let response = match builder.headers(bearer(&credentials.token)).send().await {
            Ok(response) => response,
            Err(error) => return Response::lost(&error),
        };
        let headers = Headers::read(response.headers());
        let status = response.status().as_u16();
        let body = match read(response).await {
            Ok(body) => match Error::find(status, &body) {
                // Meta's own words may quote the token that they complain about.
                Some(_) => {
                    let told = credentials.conceal(&String::from_utf8_lossy(&body));
                    Err(Error::find(status, told.as_bytes())
                        .unwrap_or_else(|| Error::garbled("an error of many shapes")))
                }
                None => Ok(body),
            },
            Err(error) => Err(error),
        };
        Response { headers, body }
    }
}

impl Response {
    fn lost(error: &reqwest::Error) -> Self {
        Self {
            headers: Headers::default(),
            body: Err(Error::unavailable(chain(error))),
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_ANSWER => {
                return Err(Error::garbled(format!(
                    "an answer of more than {LARGEST_ANSWER} bytes"
                )));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => {
                return Err(Error::unavailable(format!(
                    "the answer broke off: {}",
                    chain(&error)
                )));
            }
        }
    }
}

fn bearer(token: &Secret) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A secret is printable, so that it always fits a header.
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// What proves that a request comes from the app: HMAC-SHA256 of the token under the app's secret.
fn proof(secret: &Secret, token: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, token.expose().as_bytes());
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, SetupError> {
    let shown = || path.display().to_string();
    let pem = std::fs::read(path).map_err(|source| SetupError::CaFile {
        path: shown(),
        source,
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SetupError::CaFormat { path: shown() }),
    }
}

/// An error with its causes, and never the address that it was about: that may hold a proof.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Credentials, proof};
    use crate::secret::Secret;

    #[test]
    fn a_text_that_quotes_secrets_is_told_without_them() {
        let credentials = Credentials {
            token: Secret::new("EAAB").unwrap(),
            app_secret: Secret::new("hush"),
        };
        let proof = proof(credentials.app_secret.as_ref().unwrap(), &credentials.token);
        assert_eq!(
            credentials.conceal(&format!("Malformed access token EAABx, 1|hush, {proof}")),
            "Malformed access token [secret]x, 1|[secret], [proof]"
        );
        assert!(!format!("{credentials:?}").contains("EAAB"));
    }

    #[test]
    fn the_proof_is_what_other_programs_compute() {
        // echo -n token | openssl dgst -sha256 -hmac secret
        let (secret, token) = (
            Secret::new("secret").unwrap(),
            Secret::new("token").unwrap(),
        );
        let hex = proof(&secret, &token);
        assert_eq!(hex.len(), 64);
        assert_eq!(
            hex,
            "e941110e3d2bfe82621f0e3e1434730d7305d106c5f68c87165d0b27a4611a4a"
        );
    }
}
