//! Where secrets are read from: files and the environment.

use std::env::VarError;
use std::fs::File;
use std::io::{self, Read};

use crate::secret::{Secret, SecretSource};

/// Far more than any token has.
const LARGEST: u64 = 64 * 1024;

/// What the system says when a process, or all of them together, has too many files open.
const TOO_MANY_FILES: [i32; 2] = [24, 23];

/// Why a secret was not read; each names the place and what is wrong with it, and never what it
/// holds.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The place holds no secret.
    #[error("{0}")]
    Missing(String),
    /// This machine cannot look there just now, which says nothing about the place.
    #[error("{0}")]
    Passing(String),
}

/// Reads a secret from where the config says that it is kept.
///
/// # Errors
/// As [`Unread`] has them.
pub fn read(source: &SecretSource) -> Result<Secret, Unread> {
    let failed = |error: io::Error| {
        let told = format!("{source}: {error}");
        match error.raw_os_error() {
            Some(code) if cfg!(unix) && TOO_MANY_FILES.contains(&code) => Unread::Passing(told),
            _ => Unread::Missing(told),
        }
    };
    let text = match source {
        SecretSource::Given(secret) => return Ok(secret.clone()),
        SecretSource::File(path) => {
            let mut text = String::new();
            let file = File::open(path).map_err(failed)?;
            file.take(LARGEST)
                .read_to_string(&mut text)
                .map_err(failed)?;
            text
        }
        SecretSource::Env(name) => std::env::var(name).map_err(|error| {
            Unread::Missing(match error {
                VarError::NotPresent => format!("{source} is not set"),
                VarError::NotUnicode(_) => format!("{source} is not text"),
            })
        })?,
    };
    Secret::new(&text).ok_or_else(|| {
        Unread::Missing(format!(
            "{source} holds no secret: it is empty, or more than one line"
        ))
    })
}
