//! The web config file, in the format of Prometheus' exporter-toolkit: TLS, headers, users.
//!
//! A file for other exporters works for this one: cipher suites and curves that only Go's TLS
//! library supports are left out with a warning, as long as at least one is left. The key
//! `business_scopes` is an addition to the format. `raw` declares the keys, the other modules check
//! one section each. Files that it names, such as certificates, are read and parsed by `http::web`.

mod go_duration;
mod go_tls_names;
mod headers;
mod protection;
mod rate_limit;
mod raw;
mod scopes;
mod tls;
mod users;

use self::raw::RawWeb;
use super::diagnostics::{ConfigErrors, Diagnostics, NamedDocument};
use super::parse::document as yaml_document;
use super::parse::yaml_path::YamlPath;
use super::password_hash::PasswordHash;

pub use self::rate_limit::RateLimit;
pub use self::scopes::UserScope;
pub use self::tls::{ClientAuth, PemSource, TlsSettings};

/// A checked web config file.
#[derive(Clone, Debug)]
pub struct WebSettings {
    document: NamedDocument,
    /// TLS settings; `None`: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Names and values of headers that are added to every response.
    pub headers: Vec<(&'static str, String)>,
    /// User names and bcrypt hashes; empty: no authentication.
    pub users: Vec<(String, PasswordHash)>,
    /// Scopes of users; a user without an entry has access to nothing. `None`: without the key, every
    /// user has access to every business.
    pub scopes: Option<Vec<(String, UserScope)>>,
    /// Rate limit for requests; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Settings that are not applied, to be logged as warnings.
    pub warnings: Vec<String>,
    /// Whether no key has a value, as in an empty file.
    pub is_empty: bool,
}

impl WebSettings {
    /// Returns the settings without a web config file: plain HTTP without authentication.
    pub fn unprotected() -> Self {
        Self {
            document: NamedDocument {
                name: String::new(),
                text: String::new(),
            },
            tls: None,
            headers: Vec::new(),
            users: Vec::new(),
            scopes: None,
            rate_limit: None,
            warnings: Vec::new(),
            is_empty: true,
        }
    }

    /// Parses and checks a web config file.
    ///
    /// # Errors
    /// Returns all errors, if there are any.
    pub fn parse(document: NamedDocument) -> Result<Self, ConfigErrors> {
        let (raw, mut diagnostics) = if yaml_document::is_empty(&document.text) {
            (RawWeb::default(), Diagnostics::new(&document))
        } else {
            yaml_document::parse::<RawWeb>(&document, "")?
        };
        let root = YamlPath::root();
        let mut web = Self::unprotected();
        web.is_empty = raw.is_empty();
        let tls = raw.tls_server_config.present().cloned().unwrap_or_default();
        web.tls = tls::settings(
            &mut diagnostics,
            &root.key("tls_server_config"),
            &tls,
            &mut web.warnings,
        );
        let http = raw
            .http_server_config
            .present()
            .cloned()
            .unwrap_or_default();
        web.headers = headers::headers(&mut diagnostics, &root.key("http_server_config"), &http);
        web.users = users::users(
            &mut diagnostics,
            &root.key("basic_auth_users"),
            raw.basic_auth_users.present(),
            &mut web.warnings,
        );
        web.scopes = scopes::scopes(
            &mut diagnostics,
            &root.key("business_scopes"),
            raw.business_scopes.get(),
            &web.users,
        );
        let limit = raw.rate_limit.present().cloned().unwrap_or_default();
        web.rate_limit = rate_limit::rate_limit(&mut diagnostics, &root.key("rate_limit"), &limit);
        if diagnostics.is_empty() {
            web.document = document;
            Ok(web)
        } else {
            Err(diagnostics.finish())
        }
    }

    /// Returns an error at a path such as `tls_server_config.cert_file`.
    pub fn error_at(&self, path: &str, text: impl Into<String>) -> ConfigErrors {
        let mut diagnostics = Diagnostics::new(&self.document);
        diagnostics.add(&YamlPath::parse(path), text);
        diagnostics.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAuth, UserScope, WebSettings};
    use crate::config::NamedDocument;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn parse(text: &str) -> Result<WebSettings, String> {
        let name = "web.yaml".to_owned();
        let text = text.to_owned();
        WebSettings::parse(NamedDocument { name, text }).map_err(|errors| errors.to_string())
    }

    #[test]
    fn file_with_every_key_is_accepted() {
        let web = parse(&format!(
            "tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP521, CurveP256]
http_server_config:
  http2: true
  headers: {{ X-Frame-Options: deny, X-XSS-Protection: 0, Strict-Transport-Security: '' }}
basic_auth_users: {{ alice: {HASH}, bob: {HASH} }}
business_scopes: {{ bob: [acme, \"1\", acme] }}
rate_limit: {{ interval: 100ms, burst: 5 }}
"
        ))
        .unwrap();
        let tls = web.tls.unwrap();
        assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
        assert_eq!(
            tls.cipher_suites.unwrap(),
            ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        );
        assert_eq!(tls.curve_preferences.unwrap(), ["CurveP521", "CurveP256"]);
        assert!(tls.tls12 && tls.tls13 && !tls.prefer_server_cipher_suites);
        assert_eq!(web.headers[1], ("X-XSS-Protection", "0".to_owned()));
        assert_eq!(web.headers.len(), 2);
        assert_eq!(web.rate_limit.unwrap().burst, 5);
        let businesses = ["1", "acme"].map(Box::from).into();
        assert_eq!(
            web.scopes.unwrap(),
            [("bob".to_owned(), UserScope::Only(businesses))]
        );
        assert_eq!(web.warnings.len(), 1, "{:?}", web.warnings);
    }

    #[test]
    fn file_without_settings_has_no_effect() {
        for text in [
            "",
            "# nothing\n",
            "tls_server_config:\nbasic_auth_users:\n  # alice: x\n",
            "{}",
            "http_server_config: { http2: false, headers: }",
        ] {
            let web = parse(text).unwrap();
            assert!(
                web.tls.is_none() && web.users.is_empty(),
                "TLS and users should be off: {text:?}"
            );
        }
    }

    #[test]
    fn lowered_protection_is_found() {
        let tls =
            |rest: &str| format!("tls_server_config: {{ cert_file: a, key_file: b{rest} }}\n");
        let users = |names: &[&str]| {
            let entries: Vec<String> = names.iter().map(|name| format!("{name}: {HASH}")).collect();
            format!("basic_auth_users: {{ {} }}\n", entries.join(", "))
        };
        const VERIFIED: &str = ", min_version: TLS13, client_auth_type: RequireAndVerifyClientCert, client_ca_file: c, client_allowed_sans: [a]";
        let scopes = "business_scopes: { bob: [acme] }\n";
        let full = tls(VERIFIED) + &users(&["alice", "bob"]) + scopes;
        for (text, expected) in [
            (full.clone(), vec![]),
            (full.replace("[acme]", "[acme, shop]"), vec![]),
            (full.replace("cert_file: a,", "cert_file: c,"), vec![]),
            (tls(VERIFIED) + &users(&["bob"]) + scopes, vec![]),
            (
                tls(VERIFIED) + &users(&["alice", "bob"]),
                vec!["business_scopes is missing"],
            ),
            (
                tls(VERIFIED),
                vec!["basic_auth_users has no user", "business_scopes is missing"],
            ),
            (
                full.replace("RequireAndVerify", "RequireAny"),
                vec!["client certificates are checked less"],
            ),
            (
                full.replace(", client_allowed_sans: [a]", ""),
                vec!["client_allowed_sans is missing"],
            ),
            (
                full.replace(", client_ca_file: c", ""),
                vec!["client_ca_file is missing"],
            ),
            (
                full.replace(" min_version: TLS13,", ""),
                vec!["TLS 1.2 is accepted"],
            ),
            (
                users(&["alice", "bob"]) + scopes,
                vec![
                    "TLS is off",
                    "client certificates are checked less",
                    "client_allowed_sans is missing",
                    "client_ca_file is missing",
                ],
            ),
        ] {
            let before = parse(&full).unwrap();
            let web = parse(&text).unwrap();
            assert_eq!(web.lowered_protection(&before), expected, "{text}");
            assert!(
                before
                    .lowered_protection(&WebSettings::unprotected())
                    .is_empty()
            );
        }
    }

    #[test]
    fn booleans_and_durations_of_go_are_accepted() {
        for text in ["yes", "on", "Y", "True", "no", "off", "n", "FALSE"] {
            let web = format!("http_server_config: {{ http2: {text} }}\n");
            assert!(parse(&web).is_ok(), "{text}");
            let tls =
                "tls_server_config: { cert_file: a, key_file: b, prefer_server_cipher_suites: ";
            let web = parse(&format!("{tls}{text} }}\n")).unwrap();
            let is_true = ["yes", "on", "Y", "True"].contains(&text);
            assert_eq!(
                web.tls.unwrap().prefer_server_cipher_suites,
                is_true,
                "{text}"
            );
        }
        for (interval, is_limited) in [("1.5s", true), ("0.5s", true), ("0ms", false), ("0", false)]
        {
            let web = format!("rate_limit: {{ interval: {interval}, burst: 1 }}\n");
            let web = parse(&web).unwrap();
            assert_eq!(web.rate_limit.is_some(), is_limited, "{interval}");
        }
    }

    #[test]
    fn high_bcrypt_cost_and_empty_san_list_warn() {
        let text = format!(
            "tls_server_config: {{ cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert, client_allowed_sans: [] }}\nbasic_auth_users: {{ a: {}, b: {HASH} }}\n",
            HASH.replace("$10$", "$15$")
        );
        let warnings = parse(&text).unwrap().warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(
            warnings[0].starts_with("client_allowed_sans: the list is empty"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].starts_with("basic_auth_users.a: "),
            "{warnings:?}"
        );
    }

    #[test]
    fn error_has_path_and_reason() {
        const PAIR: &str = "cert_file: a, key_file: b";
        for (text, expected) in [
            (
                "tls_server_config: { cert_file: a }",
                "web.yaml:1: tls_server_config.key_file: ",
            ),
            (
                "tls_server_config: { key_file: a }",
                "tls_server_config.cert_file: ",
            ),
            (
                "tls_server_config:\n  certfile: a",
                "web.yaml:2: tls_server_config.certfile: unknown key `certfile`; did you mean `cert_file`?",
            ),
            (
                "tls_config: {}",
                "tls_config: unknown key `tls_config`; known keys: tls_server_config, ",
            ),
            (
                "tls_server_config: { PAIR, cert: x }",
                "tls_server_config.cert: expected either `cert` or `cert_file`, found both",
            ),
            (
                "tls_server_config: { PAIR, client_auth_type: Yes }",
                "client_auth_type: expected NoClientCert, ",
            ),
            (
                "tls_server_config: { PAIR, client_ca_file: c }",
                "client_auth_type: expected a type that requests certificates",
            ),
            (
                "tls_server_config: { PAIR, client_allowed_sans: [a] }",
                "client_allowed_sans: expected a `client_auth_type`",
            ),
            (
                "tls_server_config: { PAIR, min_version: TLS1 }",
                "min_version: expected `TLS12` or `TLS13`, found `TLS1`",
            ),
            (
                "tls_server_config: { PAIR, max_version: TLS11 }",
                "max_version: expected `TLS12` or `TLS13`, found an older version",
            ),
            (
                "tls_server_config: { PAIR, min_version: TLS13, max_version: TLS12 }",
                "min_version: expected at most `max_version`",
            ),
            (
                "tls_server_config: { PAIR, cipher_suites: [NONE] }",
                "cipher_suites[0]: expected one of TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ",
            ),
            (
                "tls_server_config: { PAIR, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256] }",
                "cipher_suites: expected at least one supported cipher suite, found none",
            ),
            (
                "tls_server_config: { PAIR, curve_preferences: [P256] }",
                "curve_preferences[0]: expected one of X25519, CurveP256, CurveP384, CurveP521, found `P256`",
            ),
            (
                "http_server_config: { headers: { Server: x } }",
                "headers.Server: expected one of the headers Content-Security-Policy, ",
            ),
            (
                "http_server_config: { headers: { X-Frame-Options: allow } }",
                "X-Frame-Options: expected `deny` or `sameorigin`, found `allow`",
            ),
            (
                "basic_auth_users:\n  alice: secret",
                "web.yaml:2: basic_auth_users.alice: expected a bcrypt hash",
            ),
            (
                "business_scopes: {}",
                "business_scopes: expected users in `basic_auth_users`, found none",
            ),
            (
                "http_server_config: { http2: maybe }",
                "http_server_config.http2: expected `true` or `false`",
            ),
            (
                "business_scopes: { alice: [acme] }",
                "business_scopes.alice: expected a user of `basic_auth_users`",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: [] }",
                "web.yaml:2: business_scopes.alice: expected at least one business",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes:",
                "business_scopes: expected a mapping such as `{ team: growth }`, found no value",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: acme }",
                "business_scopes.alice: ",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: }",
                "business_scopes.alice: ",
            ),
            (
                "rate_limit: { interval: 1s }",
                "rate_limit.burst: expected an integer from 1 to 4294967295, found no such key",
            ),
            (
                "rate_limit: { interval: soon, burst: 1 }",
                "rate_limit.interval: expected a duration",
            ),
        ] {
            let errors = parse(&text.replace("PAIR", PAIR).replace("HASH", HASH)).unwrap_err();
            assert!(
                errors.contains(expected),
                "{text} should give {expected:?}: {errors}"
            );
            assert!(
                !errors.contains("secret"),
                "the value should not be shown: {errors}"
            );
        }
    }
}
