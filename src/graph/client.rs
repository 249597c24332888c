//! HTTP client for the API: one request and its response, with limits of time and size.
//!
//! Redirects are not followed. Secrets that a response repeats are removed from it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use ring::hmac;

use super::connections::{ConnectionSettings, Connections, SetupError, error_chain};
use super::error::{ApiError, ResponseHead};
use super::usage::UsageHeaders;
use crate::model::Secret;
use crate::platform::proxy;

/// Minimum length of the secrets that are removed from values, such as names and headers. Those of Meta have at least
/// 32 characters; the removal of a short one, such as the password of a proxy, could change a correct value.
const MIN_REDACTED_BYTES: usize = 16;

/// Passwords of the proxies, which can repeat them in responses.
static PROXY_PASSWORDS: LazyLock<Vec<String>> = LazyLock::new(proxy::passwords);

/// Maximum size of a response body in bytes, about 20 times that of a full page of ads.
const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

/// Client for one URL and version of the API. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    connections: Arc<Connections>,
    /// URL and version, without a trailing slash.
    base: String,
}

/// Secrets that authenticate a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// Access token of the business, or of the app.
    pub token: Secret,
    /// App secret, from which each request's `appsecret_proof` is computed; `None` sends no proof.
    pub app_secret: Option<Secret>,
}

impl Credentials {
    /// Returns all secrets, with what replaces each of them.
    fn secrets(&self) -> Vec<(String, &'static str)> {
        let mut secrets = vec![(self.token.expose().to_owned(), "[secret]")];
        // The token of an app has the form `<app id>|<app secret>`.
        if let Some((_, secret)) = self.token.expose().split_once('|') {
            secrets.push((secret.to_owned(), "[secret]"));
        }
        if let Some(secret) = &self.app_secret {
            secrets.push((secret.expose().to_owned(), "[secret]"));
            secrets.push((appsecret_proof(secret, &self.token), "[proof]"));
        }
        secrets
    }

    /// Returns credentials that authenticate as the app; `None` without an app secret.
    pub(super) fn app_credentials(&self, app_id: &str) -> Option<Self> {
        let secret = self.app_secret.as_ref()?;
        let token = Secret::new(&format!("{app_id}|{}", secret.expose()))?;
        Some(Self {
            token,
            app_secret: None,
        })
    }
}

/// One GET request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiRequest<'a> {
    /// Path below the version, without a leading slash.
    pub(super) path: &'a str,
    /// Query parameters.
    pub(super) params: &'a [(&'a str, String)],
}

impl ApiRequest<'_> {
    /// Name of the parameter of `debug_token` that contains an access token.
    pub(super) const INPUT_TOKEN: &'static str = "input_token";

    /// Returns all secrets of the request, with what replaces each of them. A secret that contains another one comes
    /// first.
    fn secrets(&self, credentials: &Credentials) -> Vec<(String, &'static str)> {
        let mut secrets = credentials.secrets();
        for (name, token) in self.params {
            if *name == Self::INPUT_TOKEN {
                secrets.push((token.clone(), "[secret]"));
            }
        }
        let passwords = PROXY_PASSWORDS.iter();
        secrets.extend(passwords.map(|password| (password.clone(), "[secret]")));
        secrets.sort_by_key(|(secret, _)| Reverse(secret.len()));
        secrets
    }

    /// Returns an error message with all secrets of the request replaced.
    pub(super) fn redact(&self, credentials: &Credentials, text: &str) -> String {
        replace_secrets(text, &self.secrets(credentials)).unwrap_or_else(|| text.to_owned())
    }

    /// Returns bytes of a response with the long secrets of the request replaced, `None` if there are none.
    fn redact_values(&self, credentials: &Credentials, bytes: &[u8]) -> Option<String> {
        let mut secrets = self.secrets(credentials);
        secrets.retain(|(secret, _)| secret.len() >= MIN_REDACTED_BYTES);
        replace_secrets(&String::from_utf8_lossy(bytes), &secrets)
    }

    /// Replaces the long secrets of the request in the values of headers.
    fn redact_headers(&self, credentials: &Credentials, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            if let Some(redacted) = self.redact_values(credentials, value.as_bytes()) {
                *value = HeaderValue::from_str(&redacted)
                    .unwrap_or_else(|_| HeaderValue::from_static("[secret]"));
            }
        }
    }
}

/// Returns a text with all secrets replaced; `None` if it has none.
///
/// The text can be JSON, in which any character can be escaped.
fn replace_secrets(text: &str, secrets: &[(String, &str)]) -> Option<String> {
    let text = without_ascii_escapes(text);
    let is_found = |(secret, _): &&(String, &str)| text.contains(secret.as_str());
    let mut found = secrets.iter().filter(is_found);
    let (secret, label) = found.next()?;
    let redacted = text.replace(secret, label);
    Some(found.fold(redacted, |text, (secret, label)| {
        text.replace(secret, label)
    }))
}

/// Returns JSON with the same content in which printable ASCII characters are not escaped (`\u0041`, `\/`), except
/// for quotation marks and backslashes.
fn without_ascii_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u00") && !text.contains("\\/") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = escape.strip_prefix('u').and_then(|code| code.get(..4));
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let char = code.map(char::from);
        rest = match char.filter(|char| char.is_ascii_graphic() && !matches!(char, '"' | '\\')) {
            Some(char) => {
                plain.push(char);
                &escape[5..]
            }
            None if escape.starts_with('/') => escape,
            None => {
                plain.push('\\');
                // The next character belongs to the escape: it can be a backslash.
                let mut chars = escape.chars();
                plain.extend(chars.next());
                chars.as_str()
            }
        };
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Response, or the error that replaced it.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) headers: UsageHeaders,
    pub(super) body: Result<Bytes, ApiError>,
}

impl Client {
    /// Returns a client for the API at `url` (without a trailing slash) and `version` (such as
    /// `v27.0`). `timeout` limits one request with its response.
    ///
    /// # Errors
    /// Returns an error if `ca_file` cannot be read or contains no certificates, or if the system
    /// has no CA certificates.
    pub fn new(
        url: &str,
        version: &str,
        timeout: Duration,
        ca_file: Option<&Path>,
    ) -> Result<Self, SetupError> {
        // Fails if a provider is installed already, which is then used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connections = Connections::new(ConnectionSettings {
            url: url.to_owned(),
            timeout,
            ca_file: ca_file.map(Path::to_owned),
        })?;
        let base = format!("{url}/{version}");
        Ok(Self {
            connections: Arc::new(connections),
            base,
        })
    }

    /// Reads the CA file again, and uses new connections if it has changed. Takes at most two seconds.
    pub async fn reread_ca(&self) {
        self.connections.reread_ca().await;
    }

    /// Sends one request and reads its response. After a timeout, the next request uses a new connection.
    pub(super) async fn send(
        &self,
        credentials: &Credentials,
        request: ApiRequest<'_>,
    ) -> ApiResponse {
        let url = format!("{}/{}", self.base, request.path);
        let pool = self.connections.pool();
        let mut builder = pool.http.get(url).query(request.params);
        if let Some(secret) = &credentials.app_secret {
            builder = builder.query(&[(
                "appsecret_proof",
                appsecret_proof(secret, &credentials.token),
            )]);
        }
        let response = match builder
            .headers(authorization(&credentials.token))
            .send()
            .await
        {
            Ok(mut response) => {
                request.redact_headers(credentials, response.headers_mut());
                response
            }
            Err(error) => {
                if error.is_timeout() {
                    self.connections.replace(&pool).await;
                }
                return ApiResponse::from_transport(&error);
            }
        };
        let headers = UsageHeaders::parse(response.headers());
        let status = response.status().as_u16();
        let challenge = response.headers().get(WWW_AUTHENTICATE).cloned();
        let head = ResponseHead {
            status,
            challenge: challenge.as_ref().and_then(|value| value.to_str().ok()),
        };
        let body = read_body(response).await;
        if body.as_ref().is_err_and(|error| error.is_timeout) {
            self.connections.replace(&pool).await;
        }
        let body = match body {
            Ok(body) => match ApiError::from_response(head, &body) {
                // Meta's message can quote the token: the error is parsed from the redacted body.
                Some(_) => {
                    let redacted = request.redact(credentials, &String::from_utf8_lossy(&body));
                    Err(ApiError::from_response(head, redacted.as_bytes())
                        .unwrap_or_else(|| ApiError::invalid_response("error of unknown shape")))
                }
                None => Ok(request
                    .redact_values(credentials, &body)
                    .map_or(body, Bytes::from)),
            },
            Err(error) => Err(error),
        };
        ApiResponse { headers, body }
    }
}

impl ApiResponse {
    /// Returns an error in place of a response.
    pub(super) fn failed(error: ApiError) -> Self {
        Self {
            headers: UsageHeaders::default(),
            body: Err(error),
        }
    }

    fn from_transport(error: &reqwest::Error) -> Self {
        Self::failed(transport_error(error, ""))
    }
}

fn transport_error(error: &reqwest::Error, operation: &str) -> ApiError {
    ApiError {
        is_timeout: error.is_timeout() && !error.is_connect(),
        ..ApiError::unavailable(format!("{operation}{}", error_chain(error)))
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_RESPONSE_BYTES => {
                return Err(ApiError::invalid_response(format!(
                    "response exceeds {MAX_RESPONSE_BYTES} bytes"
                )));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => {
                return Err(transport_error(&error, "reading the response failed: "));
            }
        }
    }
}

fn authorization(token: &Secret) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Cannot fail: `Secret` accepts printable characters only.
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// Returns the proof that a request is sent by the app: HMAC-SHA256 of the token with the app secret
/// as key, in lowercase hexadecimal. Source: Meta's page "Securing Graph API Requests".
fn appsecret_proof(secret: &Secret, token: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, token.expose().as_bytes());
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, Credentials, appsecret_proof};
    use crate::model::Secret;

    #[test]
    fn redact_removes_all_secrets() {
        let credentials = Credentials {
            token: Secret::new("EAAB").unwrap(),
            app_secret: Secret::new("hush"),
        };
        let proof = appsecret_proof(credentials.app_secret.as_ref().unwrap(), &credentials.token);
        let request = ApiRequest {
            path: "debug_token",
            params: &[(ApiRequest::INPUT_TOKEN, "EAAC".to_owned())],
        };
        assert_eq!(
            request.redact(
                &credentials,
                &format!("Malformed access token EAABx, 1|hush, {proof}, EAAC")
            ),
            "Malformed access token [secret]x, 1|[secret], [proof], [secret]"
        );
        assert!(!format!("{credentials:?}").contains("EAAB"));
        // In values, only long secrets are replaced.
        let redact = |text: &str| request.redact_values(&credentials, text.as_bytes());
        assert_eq!(redact("EAAB"), None);
        assert_eq!(
            redact(&format!("EAAB {proof}")).as_deref(),
            Some("EAAB [proof]")
        );
    }

    #[test]
    fn escaped_secret_is_removed() {
        let token = "EAABthe/tokenOfTheBusiness";
        let credentials = Credentials {
            token: Secret::new(token).unwrap(),
            app_secret: None,
        };
        let longer = format!("{token}AndMore");
        let request = ApiRequest {
            path: "debug_token",
            params: &[(ApiRequest::INPUT_TOKEN, longer.clone())],
        };
        let all_escaped: String = token.bytes().map(|b| format!("\\u{b:04X}")).collect();
        for form in [
            all_escaped,
            token.replace('/', "\\/"),
            token.replace('k', "\\u006b"),
            token.to_owned(),
            longer,
        ] {
            let json = format!(r#"{{"a":"\u00e4\"\\{form}\u0022\n\\\\u0041"}}"#);
            let expected = r#"{"a":"\u00e4\"\\[secret]\u0022\n\\\\u0041"}"#;
            assert_eq!(request.redact(&credentials, &json), expected);
            let redacted = request.redact_values(&credentials, json.as_bytes());
            assert_eq!(redacted.as_deref(), Some(expected));
        }
    }

    #[test]
    fn text_without_secret_is_not_changed() {
        let credentials = Credentials {
            token: Secret::new("EAABtheTokenOfTheBusiness").unwrap(),
            app_secret: None,
        };
        let request = ApiRequest {
            path: "me",
            params: &[],
        };
        for text in [r"a\/b\u0041", r"\", r"\u00", r"\u00ä", r"\u+041", "\\ä\\/"] {
            assert_eq!(request.redact(&credentials, text), text);
            assert_eq!(request.redact_values(&credentials, text.as_bytes()), None);
        }
    }

    #[test]
    fn appsecret_proof_equals_that_of_openssl() {
        // echo -n token | openssl dgst -sha256 -hmac secret
        let (secret, token) = (
            Secret::new("secret").unwrap(),
            Secret::new("token").unwrap(),
        );
        let hex = appsecret_proof(&secret, &token);
        assert_eq!(hex.len(), 64);
        assert_eq!(
            hex,
            "e941110e3d2bfe82621f0e3e1434730d7305d106c5f68c87165d0b27a4611a4a"
        );
    }
}
