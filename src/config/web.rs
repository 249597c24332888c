//! The web config file, in the format of Prometheus' exporter-toolkit: TLS, headers, users.
//!
//! What Go's TLS knows and ours does not is left out with a warning, as long as something is
//! left: a file that serves other exporters serves this one. The files that it names are read,
//! and certificates understood, by `http::web_config`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::complaint::{Complaints, Document, Notes, shown};
use super::place::Place;
use super::scalar::{Entries, List, Whole};
use super::{duration, shape};

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
    /// `None`: as often as they like.
    pub rate_limit: Option<RateLimit>,
    /// What is not done as the file has it.
    pub warnings: Vec<String>,
}

/// How connections are encrypted.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate, and those between it and the root.
    pub cert: Pem,
    /// Its key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who vouches for clients.
    pub client_ca: Option<Pem>,
    /// The names of which a client's certificate must have one.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
    /// For TLS 1.2, in order of preference; `None`: all that are good.
    pub cipher_suites: Option<Vec<&'static str>>,
    /// Whether the order above counts, or the client's.
    pub prefer_server_cipher_suites: bool,
    /// In order of preference; `None`: all that are good.
    pub curve_preferences: Option<Vec<&'static str>>,
}

/// Text in PEM, or where it is; relative to the folder of the web config file.
#[derive(Clone)]
pub enum Pem {
    /// In this file.
    File(PathBuf),
    /// Here.
    Inline(String),
}

/// One of them may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline"),
        }
    }
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate, which may be missing or anybody's.
    Request,
    /// A certificate, which may be anybody's.
    RequireAny,
    /// A certificate that the client CA vouches for, if any.
    VerifyIfGiven,
    /// A certificate that the client CA vouches for.
    RequireAndVerify,
}

/// A bucket of tokens: one request takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How often one is added.
    pub interval: Duration,
    /// How many there are at most.
    pub burst: u32,
}

/// The suites of TLS 1.2 that we have.
const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Those of TLS 1.3, which Go takes in the list and always offers, and Go's older ones, which
/// are known to be weak.
const OTHER_SUITES: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];
const WEAK_SUITES: [&str; 8] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

const CURVES: [&str; 3] = ["X25519", "CurveP256", "CurveP384"];
const OTHER_CURVES: [&str; 1] = ["CurveP521"];

/// The headers that may be set, and the values that are right where not all are.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

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
        web.tls = tls_settings(
            &mut notes,
            &top.key("tls_server_config"),
            &tls,
            &mut web.warnings,
        );
        let http = raw.http_server_config.unwrap_or_default();
        web.headers = headers(&mut notes, &top.key("http_server_config"), &http);
        web.users = users(
            &mut notes,
            &top.key("basic_auth_users"),
            raw.basic_auth_users,
        );
        let limit = raw.rate_limit.unwrap_or_default();
        web.rate_limit = rate_limit(&mut notes, &top.key("rate_limit"), &limit);
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

/// The file as written. A key with nothing behind it counts as absent, as it does in Go.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping with keys such as `tls_server_config:`"
)]
struct RawWeb {
    tls_server_config: Option<RawTls>,
    http_server_config: Option<RawHttp>,
    basic_auth_users: Option<Entries<Words>>,
    rate_limit: Option<RawRateLimit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { cert_file: server.crt, key_file: server.key }"
)]
struct RawTls {
    cert: Option<Words>,
    key: Option<Words>,
    client_ca: Option<Words>,
    cert_file: Option<Words>,
    key_file: Option<Words>,
    client_auth_type: Option<Words>,
    client_ca_file: Option<Words>,
    client_allowed_sans: Option<List<Words>>,
    min_version: Option<Words>,
    max_version: Option<Words>,
    cipher_suites: Option<List<Words>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<List<Words>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { http2: true }"
)]
struct RawHttp {
    // Taken since others have it: Prometheus scrapes with HTTP/1.1 as well.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<Entries<Option<Words>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { interval: 1s, burst: 10 }"
)]
struct RawRateLimit {
    interval: Option<Words>,
    burst: Option<Whole>,
}

/// A single value as it stands: Go takes `0` for a text where one belongs.
struct Words(String);

/// One of them may be a key.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[words]")
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;
        impl Visitor<'_> for Characters {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Characters)
    }
}

/// The text, where there is one.
fn given(words: &Option<Words>) -> Option<&str> {
    let text = words.as_ref().map(|Words(text)| text.as_str());
    text.filter(|text| !text.is_empty())
}

fn tls_settings(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: &RawTls,
    warnings: &mut Vec<String>,
) -> Option<Tls> {
    let cert = pem(
        notes,
        at,
        ("cert", &raw.cert),
        ("cert_file", &raw.cert_file),
    );
    let key = pem(notes, at, ("key", &raw.key), ("key_file", &raw.key_file));
    let client_ca = pem(
        notes,
        at,
        ("client_ca", &raw.client_ca),
        ("client_ca_file", &raw.client_ca_file),
    );
    let client_auth = client_auth(notes, at, raw, client_ca.is_some());
    let (tls12, tls13) = versions(notes, at, raw, warnings);
    let suites = list(
        notes,
        &at.key("cipher_suites"),
        raw.cipher_suites.as_ref(),
        &SUITES,
        &[&OTHER_SUITES[..], &WEAK_SUITES[..]].concat(),
    );
    let curves = list(
        notes,
        &at.key("curve_preferences"),
        raw.curve_preferences.as_ref(),
        &CURVES,
        &OTHER_CURVES,
    );
    for left_out in suites
        .left_out
        .iter()
        .filter(|name| WEAK_SUITES.contains(name))
    {
        warnings.push(format!(
            "cipher_suites: {left_out} is weak, and not offered"
        ));
    }
    for left_out in &curves.left_out {
        warnings.push(format!("curve_preferences: {left_out} is not offered"));
    }
    // With none of its suites left, only the newer version can be spoken.
    let tls12 = tls12 && suites.kept.as_ref().is_none_or(|kept| !kept.is_empty());
    if !tls12 && !tls13 && notes.is_empty() {
        notes.add(
            &at.key("cipher_suites"),
            format!(
                "none of these can be offered; add one such as {}",
                SUITES[0]
            ),
        );
    }
    if curves.kept.as_ref().is_some_and(Vec::is_empty) {
        notes.add(
            &at.key("curve_preferences"),
            "none of these can be offered; add X25519",
        );
    }
    let enabled = cert.is_some()
        || key.is_some()
        || client_ca.is_some()
        || given(&raw.client_auth_type).is_some();
    if !enabled {
        return None;
    }
    for (missing, key, file) in [(&cert, "cert", "cert_file"), (&key, "key", "key_file")] {
        if missing.is_none() {
            notes.add(
                &at.key(file),
                format!("TLS needs {key}_file or {key}; add one of them"),
            );
        }
    }
    Some(Tls {
        cert: cert?,
        key: key?,
        client_auth,
        client_ca,
        client_allowed_sans: raw
            .client_allowed_sans
            .as_ref()
            .map(|List(sans)| sans.iter().map(|Words(san)| san.clone()).collect()),
        tls12,
        tls13,
        // An empty list means the same as none.
        cipher_suites: suites.kept.filter(|kept| !kept.is_empty()),
        prefer_server_cipher_suites: raw.prefer_server_cipher_suites.unwrap_or(true),
        curve_preferences: curves.kept,
    })
}

fn pem(
    notes: &mut Notes<'_>,
    at: &Place,
    (inline_key, inline): (&'static str, &Option<Words>),
    (file_key, file): (&'static str, &Option<Words>),
) -> Option<Pem> {
    match (given(inline), given(file)) {
        (Some(_), Some(_)) => {
            notes.add(
                &at.key(inline_key),
                format!("both {inline_key} and {file_key} stand here; keep one"),
            );
            None
        }
        (Some(text), None) => Some(Pem::Inline(text.to_owned())),
        (None, file) => file.map(|path| Pem::File(PathBuf::from(path))),
    }
}

fn client_auth(notes: &mut Notes<'_>, at: &Place, raw: &RawTls, has_ca: bool) -> ClientAuth {
    let place = at.key("client_auth_type");
    let auth = match given(&raw.client_auth_type) {
        None | Some("NoClientCert") => ClientAuth::None,
        Some("RequestClientCert") => ClientAuth::Request,
        Some("RequireAnyClientCert" | "RequireClientCert") => ClientAuth::RequireAny,
        Some("VerifyClientCertIfGiven") => ClientAuth::VerifyIfGiven,
        Some("RequireAndVerifyClientCert") => ClientAuth::RequireAndVerify,
        Some(other) => {
            notes.add(
                &place,
                format!(
                    "{} is none of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert; write one of them",
                    shown(other)
                ),
            );
            return ClientAuth::None;
        }
    };
    let verifies = matches!(
        auth,
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify
    );
    if verifies && !has_ca {
        notes.add(
            &at.key("client_ca_file"),
            "clients cannot be verified without knowing who vouches for them; add client_ca_file",
        );
    }
    if auth == ClientAuth::None && has_ca {
        notes.add(
            &place,
            "a client CA is given, and no client is asked for a certificate; write RequireAndVerifyClientCert",
        );
    }
    let requires = matches!(auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify);
    if raw.client_allowed_sans.is_some() && !requires {
        notes.add(
            &at.key("client_allowed_sans"),
            "a client that shows no certificate has no name; with client_auth_type: RequireAndVerifyClientCert each has",
        );
    }
    auth
}

/// Whether TLS 1.2 and whether TLS 1.3 is spoken.
fn versions(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: &RawTls,
    warnings: &mut Vec<String>,
) -> (bool, bool) {
    let mut version = |key: &'static str, words, default| match given(words) {
        None => default,
        Some("TLS10") => 10,
        Some("TLS11") => 11,
        Some("TLS12") => 12,
        Some("TLS13") => 13,
        Some(other) => {
            let text = format!(
                "{} is none of TLS12 and TLS13; write one of them",
                shown(other)
            );
            notes.add(&at.key(key), text);
            default
        }
    };
    let min = version("min_version", &raw.min_version, 12);
    let max = version("max_version", &raw.max_version, 13);
    if max < 12 {
        let text = "nothing older than TLS 1.2 is spoken; write TLS12 or TLS13";
        notes.add(&at.key("max_version"), text);
    } else if min > max {
        let text = "this is above max_version; exchange them";
        notes.add(&at.key("min_version"), text);
    } else if min < 12 {
        warnings.push("min_version: nothing older than TLS 1.2 is spoken".to_owned());
    }
    (min <= 12 && max >= 12, max >= 13)
}

/// What is left of a list of names.
struct Chosen {
    kept: Option<Vec<&'static str>>,
    left_out: Vec<&'static str>,
}

fn list(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: Option<&List<Words>>,
    ours: &[&'static str],
    others: &[&'static str],
) -> Chosen {
    let mut chosen = Chosen {
        kept: None,
        left_out: Vec::new(),
    };
    // To Go, an empty list is none.
    let Some(List(names)) = raw.filter(|List(names)| !names.is_empty()) else {
        return chosen;
    };
    let kept = chosen.kept.insert(Vec::new());
    let find = |names: &[&'static str], name: &str| names.iter().copied().find(|it| *it == name);
    for (index, Words(name)) in names.iter().enumerate() {
        match (find(ours, name), find(others, name)) {
            (Some(known), _) => kept.push(known),
            (None, Some(other)) => chosen.left_out.push(other),
            (None, None) => notes.add(
                &at.index(index),
                format!(
                    "{} is not known; known here: {}",
                    shown(name),
                    ours.join(", ")
                ),
            ),
        }
    }
    chosen
}

fn headers(notes: &mut Notes<'_>, at: &Place, raw: &RawHttp) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let at = at.key("headers");
    for (name, value) in raw.headers.iter().flat_map(|Entries(entries)| entries) {
        let place = at.key(name.clone());
        let Some((name, right)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = HEADERS.iter().map(|(known, _)| *known).collect();
            notes.add(
                &place,
                format!(
                    "this header cannot be set; those that can: {}",
                    known.join(", ")
                ),
            );
            continue;
        };
        let Some(value) = given(value) else { continue };
        if !right.is_empty() && !right.contains(&value) {
            notes.add(
                &place,
                format!("this value is not right; write {}", right.join(" or ")),
            );
        } else if value.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            notes.add(&place, "a header's value is one line of ASCII; write it so");
        } else {
            headers.push((*name, value.to_owned()));
        }
    }
    headers
}

fn users(notes: &mut Notes<'_>, at: &Place, raw: Option<Entries<Words>>) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for (name, Words(hash)) in raw.into_iter().flat_map(|Entries(entries)| entries) {
        let place = at.key(name.clone());
        if !is_bcrypt(&hash) {
            notes.add(
                &place,
                "this is no bcrypt hash; `htpasswd -nBC 10 NAME` prints one",
            );
        } else if name.contains(':') {
            notes.add(
                &place,
                "basic auth has no names with a colon; rename the user",
            );
        } else {
            users.push((name, hash));
        }
    }
    users
}

/// `$2b$`, two digits from 04 to 31, `$`, 22 characters of salt and 31 of hash.
fn is_bcrypt(hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2x" | "2y", cost, rest] = parts[..] else {
        return false;
    };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| (4..=31).contains(&cost))
        && rest.len() == 53
        && rest.bytes().all(base64)
}

fn rate_limit(notes: &mut Notes<'_>, at: &Place, raw: &RawRateLimit) -> Option<RateLimit> {
    let interval = match given(&raw.interval)? {
        "0" | "0s" => return None,
        text => match duration::parse(text) {
            Ok(interval) => interval,
            Err(trouble) => {
                notes.add(
                    &at.key("interval"),
                    format!("{trouble}; write one such as 1s"),
                );
                return None;
            }
        },
    };
    let burst = raw.burst.map_or(0, |Whole(burst)| burst);
    match u32::try_from(burst) {
        Ok(burst @ 1..) => Some(RateLimit { interval, burst }),
        _ => {
            notes.add(
                &at.key("burst"),
                "with this no request is ever answered; write 1 or more",
            );
            None
        }
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
basic_auth_users: {{ alice: {HASH} }}
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
            ("rate_limit: { interval: 1s }", "rate_limit.burst: "),
            (
                "rate_limit: { interval: soon, burst: 1 }",
                "rate_limit.interval: ",
            ),
        ] {
            let told = parse(&text.replace("PAIR", PAIR)).unwrap_err();
            assert!(told.contains(complaint), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
