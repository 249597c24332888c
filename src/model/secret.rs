//! Secrets that cannot be printed by accident, and the sources that they are read from.
//!
//! Nothing here reads files or the environment; `platform::secrets` does.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// An access token or app secret: without `Display` and serialization, and with a `Debug` that
/// hides the value.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::Secret;
///
/// let token = Secret::new("EAAB-token\n").unwrap();
/// assert_eq!(format!("{token:?}"), "[secret]");
/// assert_eq!(token.expose(), "EAAB-token");
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Creates a secret; surrounding whitespace, such as the last newline of a file, is removed.
    ///
    /// Returns `None` if the text is empty or contains other characters than printable ASCII, which
    /// an HTTP header cannot carry.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        is_valid.then(|| Self(text.into()))
    }

    /// Returns the value, for the request that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Compares the values, to detect that a token has changed.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// Source of a secret. The config contains sources, never secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// A file that contains only the secret; read for every poll, so that changes take effect.
    File(PathBuf),
    /// Name of an environment variable that contains the secret.
    Env(String),
    /// The secret itself; used for the tokens of the simulator.
    Inline(Secret),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Inline(_) => f.write_str("inline secret"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn secret_is_trimmed_and_hidden_in_debug() {
        let secret = Secret::new("EAAB-token\n").unwrap();
        assert_eq!(secret.expose(), "EAAB-token");
        assert_eq!(format!("{secret:?}"), "[secret]");
    }

    #[test]
    fn secret_from_invalid_text_is_none() {
        for text in ["", " \n", "two\nlines", "two words", "tökén"] {
            assert!(Secret::new(text).is_none(), "{text:?} should be refused");
        }
    }
}
