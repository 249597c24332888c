//! The web config file as written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::config::scalar::{Entries, Given, List, Whole};

/// The file as written. A key with nothing behind it counts as absent, as it does in Go.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping with keys such as `tls_server_config:`"
)]
pub(super) struct RawWeb {
    pub(super) tls_server_config: Option<RawTls>,
    pub(super) http_server_config: Option<RawHttp>,
    pub(super) basic_auth_users: Option<Entries<Words>>,
    pub(super) rate_limit: Option<RawRateLimit>,
    // Ours alone: other exporters refuse it. Empty is refused: it would open everything to everybody.
    pub(super) business_scopes: Given<Entries<List<Words>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { cert_file: server.crt, key_file: server.key }"
)]
pub(super) struct RawTls {
    pub(super) cert: Option<Words>,
    pub(super) key: Option<Words>,
    pub(super) client_ca: Option<Words>,
    pub(super) cert_file: Option<Words>,
    pub(super) key_file: Option<Words>,
    pub(super) client_auth_type: Option<Words>,
    pub(super) client_ca_file: Option<Words>,
    pub(super) client_allowed_sans: Option<List<Words>>,
    pub(super) min_version: Option<Words>,
    pub(super) max_version: Option<Words>,
    pub(super) cipher_suites: Option<List<Words>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Option<List<Words>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { http2: true }"
)]
pub(super) struct RawHttp {
    // Taken since others have it: Prometheus scrapes with HTTP/1.1 as well.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    pub(super) headers: Option<Entries<Option<Words>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { interval: 1s, burst: 10 }"
)]
pub(super) struct RawRateLimit {
    pub(super) interval: Option<Words>,
    pub(super) burst: Option<Whole>,
}

/// A single value as it stands: Go takes `0` for a text where one belongs.
pub(super) struct Words(pub(super) String);

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
pub(super) fn given(words: &Option<Words>) -> Option<&str> {
    let text = words.as_ref().map(|Words(text)| text.as_str());
    text.filter(|text| !text.is_empty())
}
