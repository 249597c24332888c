//! What TLS offers of what Go's knows: cipher suites and curves, by Go's names.

use super::raw::Words;
use crate::config::complaint::{Notes, shown};
use crate::config::place::Place;
use crate::config::scalar::List;

/// The suites of TLS 1.2 that we have.
pub(super) const SUITES: [&str; 6] = [
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
pub(super) const WEAK_SUITES: [&str; 8] = [
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
/// What is left of a list of names.
pub(super) struct Chosen {
    pub(super) kept: Option<Vec<&'static str>>,
    pub(super) left_out: Vec<&'static str>,
}

/// The cipher suites for TLS 1.2, of those that a list names.
pub(super) fn suites(notes: &mut Notes<'_>, at: &Place, raw: Option<&List<Words>>) -> Chosen {
    let others = [&OTHER_SUITES[..], &WEAK_SUITES[..]].concat();
    list(notes, at, raw, &SUITES, &others)
}

/// The groups that keys are exchanged in, of those that a list names.
pub(super) fn curves(notes: &mut Notes<'_>, at: &Place, raw: Option<&List<Words>>) -> Chosen {
    list(notes, at, raw, &CURVES, &OTHER_CURVES)
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
