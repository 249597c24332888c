//! Comparison of two web configs: whether one protects less than the other.
//!
//! A file that is re-read while the exporter serves can be empty or partially written, so a change
//! that lowers protection needs a deliberate reload.

use super::{ClientAuth, WebSettings};

impl WebSettings {
    /// Returns what `previous` protects and these settings do not, as phrases such as `TLS is off`.
    pub fn lowered_protection(&self, previous: &Self) -> Vec<&'static str> {
        let client_auth = |web: &Self| {
            let tls = web.tls.as_ref();
            tls.map_or(ClientAuth::None, |tls| tls.client_auth)
        };
        let has_sans = |web: &Self| {
            let tls = web.tls.as_ref();
            tls.is_some_and(|tls| tls.client_allowed_sans.is_some())
        };
        let has_client_ca =
            |web: &Self| web.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let accepts_tls12 = |web: &Self| web.tls.as_ref().is_some_and(|tls| tls.tls12);
        [
            (previous.tls.is_some() && self.tls.is_none(), "TLS is off"),
            (
                client_auth(self) < client_auth(previous),
                "client certificates are checked less",
            ),
            (
                has_sans(previous) && !has_sans(self),
                "client_allowed_sans is missing",
            ),
            (
                // The certificate authorities of the system are then trusted.
                has_client_ca(previous) && !has_client_ca(self),
                "client_ca_file is missing",
            ),
            (
                previous.tls.is_some() && !accepts_tls12(previous) && accepts_tls12(self),
                "TLS 1.2 is accepted",
            ),
            (
                !previous.users.is_empty() && self.users.is_empty(),
                "basic_auth_users has no user",
            ),
            (
                previous.scopes.is_some() && self.scopes.is_none(),
                "business_scopes is missing",
            ),
        ]
        .into_iter()
        .filter_map(|(is_lowered, phrase)| is_lowered.then_some(phrase))
        .collect()
    }
}
