//! How connections are encrypted, and what clients must show.

use std::fmt;
use std::path::PathBuf;

use super::offered::{self, SUITES, WEAK_SUITES};
use super::raw::{RawTls, Words, given};
use crate::config::complaint::{Notes, shown};
use crate::config::place::Place;
use crate::config::scalar::List;

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

/// `None` where nothing asks for TLS.
pub(super) fn settings(
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
    let suites = offered::suites(notes, &at.key("cipher_suites"), raw.cipher_suites.as_ref());
    let curves = offered::curves(
        notes,
        &at.key("curve_preferences"),
        raw.curve_preferences.as_ref(),
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
