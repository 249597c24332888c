//! A text that shows itself to nobody, and the place where one is kept.
//!
//! Nothing here reads a file or the environment: [`SecretSource`] only says where to look.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// A token or an app secret: no `Display`, no serialisation, and a `Debug` without the value.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a secret as it was found; whitespace around it (a file's last newline) is dropped.
    ///
    /// `None` for a text that is empty, or holds what no HTTP header can carry.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let printable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        printable.then(|| Self(text.into()))
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// So that a changed token is told from the same one read again.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// Where a secret is kept: the config names the place, never the secret.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// A file that holds nothing else; it is read again when it changes.
    File(PathBuf),
    /// An environment variable, read once.
    Env(String),
    /// Nowhere but here: the simulator's tokens, which open nothing.
    Given(Secret),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Given(_) => f.write_str("a given secret"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_trimmed_and_never_shown() {
        let secret = Secret::new("EAAB-token\n").expect("printable");
        assert_eq!(secret.expose(), "EAAB-token");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert!(Secret::new(" \n").is_none());
        assert!(Secret::new("two\nlines").is_none());
    }
}
