//! The web config file, in the format of Prometheus' exporter-toolkit: TLS, headers, users.
//!
//! What Go's TLS knows and ours does not is left out with a warning, as long as something is
//! left: a file that serves other exporters serves this one. One key is ours, `scopes`. `raw` is the shape as written, the
//! other files check a part each. The files that it names are read, and certificates understood,
//! by `http::web_config`.

mod headers;
mod offered;
mod rate_limit;
mod raw;
mod scopes;
mod tls;
mod users;

use std::collections::BTreeSet;

use self::raw::RawWeb;
use super::complaint::{Complaints, Document, Notes};
use super::place::Place;
use super::shape;

pub use self::rate_limit::RateLimit;
pub use self::tls::{ClientAuth, Pem, Tls};

/// A checked web config file.
#[derive(Clone, Debug)]
pub struct Web {
    document: Document,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Headers of every answer, with their values.
    pub headers: Vec<(&'static str, String)>,
    /// Names and bcrypt hashes; empty: everybody may ask.
    pub users: Vec<(String, String)>,
    /// Users that may look at these businesses alone; who is not named here may look at all.
    pub scopes: Vec<(String, BTreeSet<Box<str>>)>,
    /// `None`: as often as they like.
    pub rate_limit: Option<RateLimit>,
    /// What is not done as the file has it.
    pub warnings: Vec<String>,
}

impl Web {
    /// Nothing is asked of anybody: as without a file.
    pub fn open() -> Self {
        Self {
            document: Document {
                name: String::new(),
                text: String::new(),
            },
            tls: None,
            headers: Vec::new(),
            users: Vec::new(),
            scopes: Vec::new(),
            rate_limit: None,
            warnings: Vec::new(),
        }
    }

    /// Checks a file; every complaint at once.
    ///
    /// # Errors
    /// When the file is not as the format has it, or asks for what cannot be had.
    pub fn parse(document: Document) -> Result<Self, Complaints> {
        let raw = if shape::is_empty(&document.text) {
            RawWeb::default()
        } else {
            shape::read::<RawWeb>(&document, "")?
        };
        let mut notes = Notes::new(&document);
        let top = Place::top();
        let mut web = Self::open();
        let tls = raw.tls_server_config.unwrap_or_default();
        web.tls = tls::settings(
            &mut notes,
            &top.key("tls_server_config"),
            &tls,
            &mut web.warnings,
        );
        let http = raw.http_server_config.unwrap_or_default();
        web.headers = headers::headers(&mut notes, &top.key("http_server_config"), &http);
        web.users = users::users(
            &mut notes,
            &top.key("basic_auth_users"),
            raw.basic_auth_users,
        );
        web.scopes = scopes::scopes(
            &mut notes,
            &top.key("business_scopes"),
            raw.business_scopes.0,
            &web.users,
        );
        let limit = raw.rate_limit.unwrap_or_default();
        web.rate_limit = rate_limit::rate_limit(&mut notes, &top.key("rate_limit"), &limit);
        if notes.is_empty() {
            web.document = document;
            Ok(web)
        } else {
            Err(notes.finish())
        }
    }

    /// A complaint about what stands at `path`, such as `tls_server_config.cert_file`.
    pub fn complain(&self, path: &str, text: impl Into<String>) -> Complaints {
        let mut notes = Notes::new(&self.document);
        notes.add(&Place::parse(path), text);
        notes.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAuth, Web};
    use crate::config::Document;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn parse(text: &str) -> Result<Web, String> {
        let name = "web.yaml".to_owned();
        let text = text.to_owned();
        Web::parse(Document { name, text }).map_err(|complaints| complaints.to_string())
    }

    #[test]
    fn every_key_of_the_format_is_understood() {
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
        assert_eq!(tls.curve_preferences.unwrap(), ["CurveP256"]);
        assert!(tls.tls12 && tls.tls13 && !tls.prefer_server_cipher_suites);
        assert_eq!(web.headers[1], ("X-XSS-Protection", "0".to_owned()));
        assert_eq!(web.headers.len(), 2);
        assert_eq!(web.rate_limit.unwrap().burst, 5);
        let bobs = ["1", "acme"].map(Box::from).into();
        assert_eq!(web.scopes, [("bob".to_owned(), bobs)]);
        assert_eq!(web.warnings.len(), 2, "{:?}", web.warnings);
    }

    #[test]
    fn a_file_that_says_nothing_changes_nothing() {
        for text in [
            "",
            "# nothing\n",
            "tls_server_config:\nbasic_auth_users:\n  # alice: x\n",
            "{}",
            "http_server_config: { http2: false, headers: }",
        ] {
            let web = parse(text).unwrap();
            assert!(web.tls.is_none() && web.users.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        const PAIR: &str = "cert_file: a, key_file: b";
        for (text, complaint) in [
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
                "web.yaml:2: tls_server_config.certfile: ",
            ),
            ("tls_config: {}", "tls_config: this key is not known"),
            (
                "tls_server_config: { PAIR, cert: x }",
                "tls_server_config.cert: both",
            ),
            (
                "tls_server_config: { PAIR, client_auth_type: Yes }",
                "client_auth_type: `Yes` is none",
            ),
            (
                "tls_server_config: { PAIR, client_ca_file: c }",
                "client_auth_type: a client CA",
            ),
            (
                "tls_server_config: { PAIR, client_auth_type: RequireAndVerifyClientCert }",
                "client_ca_file: ",
            ),
            (
                "tls_server_config: { PAIR, client_allowed_sans: [a] }",
                "client_allowed_sans: ",
            ),
            (
                "tls_server_config: { PAIR, min_version: TLS1 }",
                "min_version: `TLS1` is none",
            ),
            (
                "tls_server_config: { PAIR, max_version: TLS11 }",
                "max_version: nothing older",
            ),
            (
                "tls_server_config: { PAIR, min_version: TLS13, max_version: TLS12 }",
                "min_version: this is above",
            ),
            (
                "tls_server_config: { PAIR, cipher_suites: [NONE] }",
                "cipher_suites[0]: `NONE` is not known",
            ),
            (
                "tls_server_config: { PAIR, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256] }",
                "cipher_suites: none",
            ),
            (
                "tls_server_config: { PAIR, curve_preferences: [CurveP521] }",
                "curve_preferences: none",
            ),
            (
                "tls_server_config: { PAIR, curve_preferences: [P256] }",
                "curve_preferences[0]: `P256`",
            ),
            (
                "http_server_config: { headers: { Server: x } }",
                "headers.Server: this header cannot",
            ),
            (
                "http_server_config: { headers: { X-Frame-Options: allow } }",
                "X-Frame-Options: this value",
            ),
            (
                "basic_auth_users:\n  alice: secret",
                "web.yaml:2: basic_auth_users.alice: this is no bcrypt hash",
            ),
            (
                "business_scopes: { alice: [acme] }",
                "business_scopes.alice: there is no such user",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: [] }",
                "web.yaml:2: business_scopes.alice: this user would see nothing",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes:",
                "business_scopes: ",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: acme }",
                "business_scopes.alice: ",
            ),
            (
                "basic_auth_users: { alice: HASH }\nbusiness_scopes: { alice: }",
                "business_scopes.alice: ",
            ),
            ("rate_limit: { interval: 1s }", "rate_limit.burst: "),
            (
                "rate_limit: { interval: soon, burst: 1 }",
                "rate_limit.interval: ",
            ),
        ] {
            let told = parse(&text.replace("PAIR", PAIR).replace("HASH", HASH)).unwrap_err();
            assert!(told.contains(complaint), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
