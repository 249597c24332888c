//! Where secrets are read from: files and the environment.

use std::fs::File;
use std::io::Read;

use crate::secret::{Secret, SecretSource};

/// Far more than any token has.
const LARGEST: u64 = 64 * 1024;

/// Reads a secret from where the config says that it is kept.
///
/// # Errors
/// A sentence that names the place and what is wrong with it, and never what it holds.
pub fn read(source: &SecretSource) -> Result<Secret, String> {
    let text = match source {
        SecretSource::Given(secret) => return Ok(secret.clone()),
        SecretSource::File(path) => {
            let mut text = String::new();
            let file = File::open(path).map_err(|error| format!("{source}: {error}"))?;
            match file.take(LARGEST).read_to_string(&mut text) {
                Ok(_) => text,
                Err(error) => return Err(format!("{source}: {error}")),
            }
        }
        SecretSource::Env(name) => std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => format!("{source} is not set"),
            std::env::VarError::NotUnicode(_) => format!("{source} is not text"),
        })?,
    };
    Secret::new(&text)
        .ok_or_else(|| format!("{source} holds no secret: it is empty, or more than one line"))
}
