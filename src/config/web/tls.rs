//! TLS settings of the server: certificate, client certificates, versions and cipher suites.

use std::fmt;
use std::path::PathBuf;

use super::go_tls_names::{self, SUPPORTED_SUITES, WEAK_SUITES};
use super::raw::{Nullable, RawTls, WebBool, WebText, explicit};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::Explicit;
use crate::config::parse::yaml_path::YamlPath;

/// TLS settings of the server.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Certificate chain of the server: its certificate and the intermediate ones.
    pub cert: PemSource,
    /// Private key of the server.
    pub key: PemSource,
    /// Policy for client certificates.
    pub client_auth: ClientAuth,
    /// Certificate authorities for client certificates; `None`: those of the system, as in Go.
    pub client_ca: Option<PemSource>,
    /// Subject alternative names of which a client certificate needs one; `None`: any.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Whether TLS 1.2 is enabled.
    pub tls12: bool,
    /// Whether TLS 1.3 is enabled.
    pub tls13: bool,
    /// TLS 1.2 cipher suites by Go's names, in order of preference; `None`: all supported ones.
    pub cipher_suites: Option<Vec<&'static str>>,
    /// Whether the order of `cipher_suites` takes precedence over the client's.
    pub prefer_server_cipher_suites: bool,
    /// Curves by Go's names, in order of preference; `None`: all supported ones.
    pub curve_preferences: Option<Vec<&'static str>>,
}

/// PEM text, or the path of a file with it.
#[derive(Clone)]
pub enum PemSource {
    /// Path, relative to the folder of the web config file.
    File(PathBuf),
    /// The text itself.
    Inline(String),
}

/// Redacts the text, which may be a private key.
impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline"),
        }
    }
}

/// Policy for client certificates, as in Go's `ClientAuthType`.
///
/// The order is that of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientAuth {
    /// No certificate is requested.
    None,
    /// A certificate is requested; it may be missing, and is not verified.
    Request,
    /// A certificate is requested; if there is one, the client CA must have signed it.
    VerifyIfGiven,
    /// A certificate is required, and not verified.
    RequireAny,
    /// A certificate that the client CA signed is required.
    RequireAndVerify,
}

/// Checks `tls_server_config`; `None` if TLS is not configured.
pub(super) fn settings(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawTls,
    warnings: &mut Vec<String>,
) -> Option<TlsSettings> {
    let cert = pem(
        diagnostics,
        path,
        ("cert", &raw.cert),
        ("cert_file", &raw.cert_file),
    );
    let key = pem(
        diagnostics,
        path,
        ("key", &raw.key),
        ("key_file", &raw.key_file),
    );
    let client_ca = pem(
        diagnostics,
        path,
        ("client_ca", &raw.client_ca),
        ("client_ca_file", &raw.client_ca_file),
    );
    let client_auth = client_auth(diagnostics, path, raw, client_ca.is_some());
    let (tls12, tls13) = versions(diagnostics, path, raw, warnings);
    let suites = go_tls_names::suites(
        diagnostics,
        &path.key("cipher_suites"),
        raw.cipher_suites.present(),
    );
    let curves = go_tls_names::curves(
        diagnostics,
        &path.key("curve_preferences"),
        raw.curve_preferences.present(),
    );
    let weak_suites = suites
        .unsupported
        .iter()
        .filter(|name| WEAK_SUITES.contains(name));
    warnings.extend(
        weak_suites.map(|name| format!("cipher_suites: weak cipher suite is not offered: {name}")),
    );
    // Without a cipher suite TLS 1.2 cannot be used.
    let tls12 = tls12
        && suites
            .supported
            .as_ref()
            .is_none_or(|names| !names.is_empty());
    if !tls12 && !tls13 && diagnostics.is_empty() {
        diagnostics.add(
            &path.key("cipher_suites"),
            format!(
                "expected at least one supported cipher suite, found none; add one such as {}",
                SUPPORTED_SUITES[0]
            ),
        );
    }
    let is_enabled = cert.is_some()
        || key.is_some()
        || client_ca.is_some()
        || explicit(&raw.client_auth_type).is_some();
    if !is_enabled {
        return None;
    }
    for (source, inline_key, file_key) in [(&cert, "cert", "cert_file"), (&key, "key", "key_file")]
    {
        if source.is_none() {
            diagnostics.add(
                &path.key(file_key),
                format!(
                    "expected `{file_key}` or `{inline_key}`, found neither; add one of them to use TLS"
                ),
            );
        }
    }
    if raw
        .client_allowed_sans
        .present()
        .is_some_and(|sans| sans.len() == 0)
    {
        warnings
            .push("client_allowed_sans: the list is empty, so every client is refused".to_owned());
    }
    Some(TlsSettings {
        cert: cert?,
        key: key?,
        client_auth,
        client_ca,
        client_allowed_sans: raw.client_allowed_sans.present().map(|sans| {
            let sans = sans.items().iter();
            sans.map(|(_, WebText(san))| san.clone()).collect()
        }),
        tls12,
        tls13,
        // Empty if the list has no supported TLS 1.2 suite, in which case only TLS 1.3 is enabled.
        cipher_suites: suites.supported.filter(|names| !names.is_empty()),
        prefer_server_cipher_suites: raw
            .prefer_server_cipher_suites
            .present()
            .is_none_or(|WebBool(is_preferred)| *is_preferred),
        curve_preferences: curves.supported,
    })
}

fn pem(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    (inline_key, inline): (&'static str, &Explicit<Nullable<WebText>>),
    (file_key, file): (&'static str, &Explicit<Nullable<WebText>>),
) -> Option<PemSource> {
    match (explicit(inline), explicit(file)) {
        (Some(_), Some(_)) => {
            diagnostics.add(
                &path.key(inline_key),
                format!(
                    "expected either `{inline_key}` or `{file_key}`, found both; remove one of them"
                ),
            );
            None
        }
        (Some(text), None) => Some(PemSource::Inline(text.to_owned())),
        (None, file) => file.map(|path| PemSource::File(PathBuf::from(path))),
    }
}

fn client_auth(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawTls,
    has_client_ca: bool,
) -> ClientAuth {
    let type_path = path.key("client_auth_type");
    let auth = match explicit(&raw.client_auth_type) {
        None | Some("NoClientCert") => ClientAuth::None,
        Some("RequestClientCert") => ClientAuth::Request,
        Some("RequireAnyClientCert" | "RequireClientCert") => ClientAuth::RequireAny,
        Some("VerifyClientCertIfGiven") => ClientAuth::VerifyIfGiven,
        Some("RequireAndVerifyClientCert") => ClientAuth::RequireAndVerify,
        Some(other) => {
            diagnostics.add(
                &type_path,
                format!(
                    "expected NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert, found {}",
                    quote_or_redact(other)
                ),
            );
            return ClientAuth::None;
        }
    };
    if auth == ClientAuth::None && has_client_ca {
        diagnostics.add(
            &type_path,
            "expected a type that requests certificates, because a client CA is configured, found none; write RequireAndVerifyClientCert",
        );
    }
    let requires_certificate =
        matches!(auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify);
    if raw.client_allowed_sans.present().is_some() && !requires_certificate {
        diagnostics.add(
            &path.key("client_allowed_sans"),
            "expected a `client_auth_type` that requires certificates, found one that does not; write RequireAndVerifyClientCert",
        );
    }
    auth
}

/// Checks the versions; returns whether TLS 1.2 and whether TLS 1.3 is enabled.
fn versions(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawTls,
    warnings: &mut Vec<String>,
) -> (bool, bool) {
    let mut version = |key: &'static str, raw, default| match explicit(raw) {
        None => default,
        Some("TLS10") => 10,
        Some("TLS11") => 11,
        Some("TLS12") => 12,
        Some("TLS13") => 13,
        Some(other) => {
            diagnostics.add(
                &path.key(key),
                format!(
                    "expected `TLS12` or `TLS13`, found {}",
                    quote_or_redact(other)
                ),
            );
            default
        }
    };
    let min = version("min_version", &raw.min_version, 12);
    let max = version("max_version", &raw.max_version, 13);
    if max < 12 {
        diagnostics.add(
            &path.key("max_version"),
            "expected `TLS12` or `TLS13`, found an older version, which is not supported",
        );
    } else if min > max {
        diagnostics.add(
            &path.key("min_version"),
            "expected at most `max_version`, found a newer version; exchange the two",
        );
    } else if min < 12 {
        warnings.push("min_version: versions before TLS 1.2 are not offered".to_owned());
    }
    (min <= 12 && max >= 12, max >= 13)
}
