//! The keys of the web config file, without checks and default values.

use std::fmt;

use serde_json::{Value, json};

use crate::config::diagnostics::Diagnostics;
use crate::config::parse::from_yaml::{
    Explicit, FromYaml, RawList, RawMap, add_mismatch, raw_mapping, scalar,
};
use crate::config::parse::scalar::RawInteger;
use crate::config::parse::tree::{Node, NodeValue, Scalar, ScalarKind};
use crate::config::parse::yaml_path::YamlPath;

raw_mapping! {
    /// The web config file.
    pub(super) struct RawWeb("a mapping with keys such as `tls_server_config:`") {
        /// TLS settings.
        tls_server_config: Nullable<RawTls>,
        /// HTTP settings.
        http_server_config: Nullable<RawHttp>,
        /// User names and bcrypt hashes of their passwords.
        basic_auth_users: Nullable<RawMap<WebText>>,
        /// Limit of requests per time.
        rate_limit: Nullable<RawRateLimit>,
        /// Businesses that each user may see; not in the format of other exporters. A key without a
        /// value is an error, because without scopes every user has access to every business.
        business_scopes: RawMap<RawList<WebText>>,
    }
}

raw_mapping! {
    /// TLS settings.
    pub(super) struct RawTls("a mapping such as `{ cert_file: server.crt, key_file: server.key }`") {
        /// Certificate, in PEM.
        cert: Nullable<WebText>,
        /// Private key, in PEM.
        key: Nullable<WebText>,
        /// Certificate authorities of clients, in PEM.
        client_ca: Nullable<WebText>,
        /// File with the certificate.
        cert_file: Nullable<WebText>,
        /// File with the private key.
        key_file: Nullable<WebText>,
        /// Whether clients need a certificate.
        client_auth_type: Nullable<WebText>,
        /// File with the certificate authorities of clients.
        client_ca_file: Nullable<WebText>,
        /// Names of which a client certificate needs one.
        client_allowed_sans: Nullable<RawList<WebText>>,
        /// Minimum TLS version.
        min_version: Nullable<WebText>,
        /// Maximum TLS version.
        max_version: Nullable<WebText>,
        /// Cipher suites of TLS 1.2.
        cipher_suites: Nullable<RawList<WebText>>,
        /// Whether the order of the cipher suites counts.
        prefer_server_cipher_suites: Nullable<WebBool>,
        /// Elliptic curves.
        curve_preferences: Nullable<RawList<WebText>>,
    }
}

raw_mapping! {
    /// HTTP settings.
    pub(super) struct RawHttp("a mapping such as `{ http2: true }`") {
        /// Accepted and ignored, because files for other exporters contain it; Prometheus also
        /// scrapes over HTTP/1.1.
        http2: Nullable<WebBool>,
        /// Headers of every response.
        headers: Nullable<RawMap<Nullable<WebText>>>,
    }
}

raw_mapping! {
    /// Limit of requests per time.
    pub(super) struct RawRateLimit("a mapping such as `{ interval: 1s, burst: 10 }`") {
        /// Time in which one request is allowed.
        interval: Nullable<WebText>,
        /// Requests that are allowed at once.
        burst: Nullable<RawInteger>,
    }
}

/// A value that may be missing: in Go, a key without a value counts as absent.
#[derive(Clone, Debug)]
pub(super) struct Nullable<T>(pub(super) Option<T>);

impl<T: FromYaml> FromYaml for Nullable<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        if let NodeValue::Scalar(Scalar {
            kind: ScalarKind::Null,
            ..
        }) = node.value
        {
            return Some(Self(None));
        }
        T::from_yaml(diagnostics, path, node).map(|value| Self(Some(value)))
    }

    fn schema() -> Value {
        json!({ "anyOf": [T::schema(), { "type": "null" }] })
    }
}

impl RawWeb {
    /// Whether no key has a value, as in an empty file or one that is cut after its first key.
    pub(super) fn is_empty(&self) -> bool {
        self.tls_server_config.present().is_none()
            && self.http_server_config.present().is_none()
            && self.basic_auth_users.present().is_none()
            && self.rate_limit.present().is_none()
            && self.business_scopes.get().is_none()
    }
}

/// A boolean of YAML 1.1, which exporter-toolkit's parser reads: also `yes`, `on`, `n`.
#[derive(Clone, Copy, Debug)]
pub(super) struct WebBool(pub(super) bool);

impl FromYaml for WebBool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        let value = scalar(diagnostics, path, node, Self::EXPECTED)?;
        match value.text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                Some(Self(true))
            }
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n"
            | "N" => Some(Self(false)),
            _ => {
                add_mismatch(diagnostics, path, node, Self::EXPECTED, "");
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": ["boolean", "string"] })
    }
}

/// A scalar as written: Go accepts `0` where a string is expected.
#[derive(Clone)]
pub(super) struct WebText(pub(super) String);

/// Redacted, because the value may be a private key.
impl fmt::Debug for WebText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromYaml for WebText {
    const EXPECTED: &'static str = "a string";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        scalar(diagnostics, path, node, Self::EXPECTED).map(|value| Self(value.text.clone()))
    }

    fn schema() -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl<T> Explicit<Nullable<T>> {
    /// Returns the value, if the key is present and has one.
    pub(super) fn present(&self) -> Option<&T> {
        self.get().and_then(|Nullable(value)| value.as_ref())
    }
}

/// Returns the value if it is present and not empty.
pub(super) fn explicit(value: &Explicit<Nullable<WebText>>) -> Option<&str> {
    non_empty(value.present())
}

/// Returns the text if it is present and not empty.
pub(super) fn non_empty(text: Option<&WebText>) -> Option<&str> {
    let text = text.map(|WebText(text)| text.as_str());
    text.filter(|text| !text.is_empty())
}
