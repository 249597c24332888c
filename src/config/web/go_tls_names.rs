//! Cipher suites and curves by the names of Go's TLS library, which exporter-toolkit's format uses.
//!
//! Names that Go supports and rustls does not are accepted and left out, so that the same file works
//! for other exporters; unknown names are errors.

use super::raw::WebText;
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::RawList;
use crate::config::parse::yaml_path::YamlPath;

/// TLS 1.2 cipher suites that rustls supports.
pub(super) const SUPPORTED_SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// TLS 1.3 cipher suites, which Go accepts in the list and always offers.
const TLS13_SUITES: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// TLS 1.2 cipher suites of Go that are known to be weak and that rustls does not support.
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

/// Curves of exporter-toolkit, all of which are supported.
const SUPPORTED_CURVES: [&str; 4] = ["X25519", "CurveP256", "CurveP384", "CurveP521"];

/// The names of a list, by whether rustls supports them.
pub(super) struct Selected {
    /// Supported names in list order; `None` without a list.
    pub(super) supported: Option<Vec<&'static str>>,
    /// Valid names that are left out.
    pub(super) unsupported: Vec<&'static str>,
}

/// Selects the TLS 1.2 cipher suites of a list.
pub(super) fn suites(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawList<WebText>>,
) -> Selected {
    let unsupported = [&TLS13_SUITES[..], &WEAK_SUITES[..]].concat();
    select(diagnostics, path, raw, &SUPPORTED_SUITES, &unsupported)
}

/// Selects the curves of a list, for the key exchange.
pub(super) fn curves(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawList<WebText>>,
) -> Selected {
    select(diagnostics, path, raw, &SUPPORTED_CURVES, &[])
}

fn select(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawList<WebText>>,
    supported: &[&'static str],
    unsupported: &[&'static str],
) -> Selected {
    let mut selected = Selected {
        supported: None,
        unsupported: Vec::new(),
    };
    // Go treats an empty list as an absent one.
    let Some(names) = raw.filter(|names| names.len() > 0) else {
        return selected;
    };
    let kept = selected.supported.insert(Vec::new());
    let find =
        |names: &[&'static str], name: &str| names.iter().copied().find(|other| *other == name);
    for (name_idx, WebText(name)) in names.items() {
        match (find(supported, name), find(unsupported, name)) {
            (Some(name), _) => kept.push(name),
            (None, Some(name)) => selected.unsupported.push(name),
            (None, None) => diagnostics.add(
                &path.index(*name_idx),
                format!(
                    "expected one of {}, found {}",
                    supported.join(", "),
                    quote_or_redact(name)
                ),
            ),
        }
    }
    selected
}
