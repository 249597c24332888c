//! Reads tokens and app secrets from files and environment variables.

use std::env::VarError;
use std::io;

use tokio::task::spawn_blocking;

use super::limited_read;
use crate::model::{Secret, SecretSource};

/// Maximum bytes read from a secret file; access tokens have a few hundred.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// `EMFILE` and `ENFILE`: the process, or the whole system, has too many open files.
const TOO_MANY_OPEN_FILES: [i32; 2] = [24, 23];

/// Reason why a secret could not be read. The message names the source and never quotes its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The source does not exist, is not readable, or does not contain a valid secret.
    #[error("{0}")]
    NotFound(String),
    /// The source could not be opened because of a temporary lack of file descriptors, so its
    /// content is unknown.
    #[error("{0}")]
    Transient(String),
}

/// Reads a secret from its source.
///
/// # Errors
///
/// Returns [`SecretError::Transient`] if too many files are open, and [`SecretError::NotFound`] if
/// the file cannot be read, the environment variable is not set, or the content is not a valid
/// secret (see [`Secret::new`]).
pub fn read_secret(source: &SecretSource) -> Result<Secret, SecretError> {
    let io_error = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "; create the file and write the secret into it",
            io::ErrorKind::PermissionDenied => "; let the user of the exporter read the file",
            _ => "",
        };
        let access = match source {
            SecretSource::File(path) => limited_read::describe_access(path, &error),
            SecretSource::Env(_) | SecretSource::Inline(_) => String::new(),
        };
        let message = format!("{source}: {error}{access}{remedy}");
        match error.raw_os_error() {
            Some(code) if cfg!(unix) && TOO_MANY_OPEN_FILES.contains(&code) => {
                SecretError::Transient(message)
            }
            _ => SecretError::NotFound(message),
        }
    };
    let text = match source {
        SecretSource::Inline(secret) => return Ok(secret.clone()),
        SecretSource::File(path) => {
            // One byte more shows that the file is too large.
            let bytes = limited_read::read_file(path, MAX_SECRET_BYTES + 1).map_err(io_error)?;
            if bytes.len() as u64 > MAX_SECRET_BYTES {
                return Err(SecretError::NotFound(format!(
                    "{source}: expected at most {MAX_SECRET_BYTES} bytes, found more; check the path"
                )));
            }
            bytes
        }
        SecretSource::Env(name) => std::env::var(name)
            .map_err(|error| {
                SecretError::NotFound(match error {
                    VarError::NotPresent => format!("{source} is not set; set it for the exporter"),
                    VarError::NotUnicode(_) => format!("{source} is not valid UTF-8"),
                })
            })?
            .into_bytes(),
    };
    parse_secret(&text).map_err(|problem| {
        SecretError::NotFound(format!(
            "{source}: expected only the secret, one line of printable ASCII characters, found {problem}"
        ))
    })
}

/// Reads a secret; from a file on a thread for blocking work.
///
/// # Errors
/// Same as [`read_secret`].
pub async fn read_secret_async(source: SecretSource) -> Result<Secret, SecretError> {
    if !matches!(source, SecretSource::File(_)) {
        return read_secret(&source);
    }
    let read = spawn_blocking(move || read_secret(&source)).await;
    read.unwrap_or_else(|error| Err(SecretError::Transient(error.to_string())))
}

/// Parses the content of a secret file.
///
/// # Errors
/// Returns what is wrong with the text and how to correct it. The description quotes nothing of the text.
pub fn parse_secret(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(
            "a byte order mark at its start; save the file as UTF-8 without BOM".to_owned(),
        );
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("UTF-16; save the file as UTF-8".to_owned());
    }
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err("nothing; write the secret to it".to_owned());
    }
    let starts_with = |prefix: &[u8]| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts_with(b"Bearer ") || starts_with(b"Authorization:") {
        return Err("the prefix `Bearer` or `Authorization:`; write only the token".to_owned());
    }
    if let [first @ (b'"' | b'\''), .., last] = text
        && first == last
    {
        return Err("quotation marks around it; remove them".to_owned());
    }
    let leading_bytes = bytes.len() - bytes.trim_ascii_start().len();
    if let Some(offset) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(format!(
            "several lines, the first of which ends at byte {}; write the secret on one line",
            leading_bytes + offset
        ));
    }
    let offset = text.iter().position(|byte| !byte.is_ascii_graphic());
    if let Some(offset) = offset {
        let kind = match text.get(offset) {
            Some(0) => "a NUL byte",
            Some(b' ' | b'\t') => "a space",
            Some(byte) if byte.is_ascii() => "a control character",
            _ => "a character outside of ASCII",
        };
        return Err(format!(
            "{kind} at byte {}; write only the secret",
            leading_bytes + offset
        ));
    }
    str::from_utf8(text)
        .ok()
        .and_then(Secret::new)
        .ok_or_else(|| "other characters; write only the secret".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_secret;

    #[test]
    fn invalid_secret_is_described_without_quoting_it() {
        for (text, expected) in [
            (&b""[..], "nothing"),
            (b" \n", "nothing"),
            (b"\xef\xbb\xbfEAAB", "byte order mark"),
            (b"\xff\xfeE\0A\0", "UTF-16"),
            (b"Bearer EAAB", "`Bearer`"),
            (b"authorization: Bearer EAAB", "`Bearer`"),
            (b"\"EAAB\"\n", "quotation marks"),
            (b"'EAAB'", "quotation marks"),
            (
                b"EAAB\nEAAC\n",
                "several lines, the first of which ends at byte 4",
            ),
            (b" EA AB", "a space at byte 3"),
            (b"EAAB\0", "a NUL byte at byte 4"),
            (b"EA\x1bAB", "a control character at byte 2"),
            ("EAÄB".as_bytes(), "outside of ASCII at byte 2"),
        ] {
            let problem = parse_secret(text).unwrap_err();
            assert!(problem.contains(expected), "{text:?}: {problem}");
            assert!(!problem.contains("EAA"), "{problem}");
        }
        for text in ["EAAB", "EAAB\n", " EAAB\r\n", "\"EAAB", "a"] {
            assert_eq!(parse_secret(text.as_bytes()).unwrap().expose(), text.trim());
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = parse_secret(&bytes);
        }
    }
}
