//! bcrypt hashes of the passwords of web users, from the web config and from businesses.
//!
//! A hash is checked in form only, and never shown: what is written in its place may be a plain
//! password.

use std::fmt;

use super::diagnostics::{Diagnostics, quote_or_redact};
use super::parse::yaml_path::YamlPath;

/// Highest bcrypt cost without a warning; a hash of cost 14 takes about a second.
const MAX_RECOMMENDED_COST: u32 = 14;

/// Characters of the salt in a hash; the last one encodes two bits.
const SALT_CHARS: usize = 22;

/// Characters after the salt; the last one encodes four bits.
const DIGEST_CHARS: usize = 31;

/// Digits of bcrypt's variant of base64, in the order of their values.
const BASE64_DIGITS: &[u8; 64] =
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// bcrypt hash of a password: `$2b$`, a cost from 04 to 31, `$`, 22 characters of salt and 31 of the
/// digest.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// Redacted, because the password can be guessed from its hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PasswordHash {
    /// Parses a hash; `None` if no password can match it.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "2a" | "2b" | "2x" | "2y", cost, salt_and_digest] = parts[..] else {
            return None;
        };
        let values: Option<Vec<usize>> = salt_and_digest
            .bytes()
            .map(|byte| BASE64_DIGITS.iter().position(|digit| *digit == byte))
            .collect();
        let values = values.filter(|values| values.len() == SALT_CHARS + DIGEST_CHARS)?;
        let has_cost =
            cost.len() == 2 && cost.parse().is_ok_and(|cost: u32| (4..=31).contains(&cost));
        // A computed digest has no unused bits.
        let is_computed = values.last().is_some_and(|value| value % 4 == 0);
        if !has_cost || !is_computed {
            return None;
        }
        // As Go does, unused bits of the salt are ignored; the bcrypt crate refuses them.
        let mut text = text.as_bytes().to_vec();
        let last_of_salt = text.len() - DIGEST_CHARS - 1;
        let value = *values.get(SALT_CHARS - 1)?;
        *text.get_mut(last_of_salt)? = *BASE64_DIGITS.get(value / 16 * 16)?;
        Some(Self(String::from_utf8(text).ok()?.into()))
    }

    /// Returns the hash, to compare a password with it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether computing it takes seconds, so that it delays all logins.
    fn is_slow(&self) -> bool {
        let cost = self.0.split('$').nth(2).and_then(|cost| cost.parse().ok());
        cost.is_some_and(|cost: u32| cost > MAX_RECOMMENDED_COST)
    }

    /// Returns the text of the warning for a slow hash.
    pub(in crate::config) fn warning(&self) -> Option<String> {
        self.is_slow().then(|| {
            format!(
                "a bcrypt cost above {MAX_RECOMMENDED_COST} delays all logins by seconds; create a hash of cost 10"
            )
        })
    }
}

/// Checks the name and the hash of a user at `path`; `None` after an error. Errors do not quote the
/// hash.
pub(in crate::config) fn check_user(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    name: &str,
    hash: &str,
) -> Option<PasswordHash> {
    let checked = PasswordHash::parse(hash);
    if checked.is_none() {
        diagnostics.add(
            path,
            "expected a bcrypt hash, found another string; create one with `htpasswd -nBC 10 NAME`",
        );
        return None;
    }
    if name.contains(':') {
        diagnostics.add(
            path,
            format!(
                "expected a user name without a colon, found {}; rename the user, because basic authentication does not support the name",
                quote_or_redact(name)
            ),
        );
        return None;
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::PasswordHash;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    #[test]
    fn hash_is_checked_in_form_and_redacted() {
        let hash = PasswordHash::parse(HASH).unwrap();
        assert_eq!(hash.as_str(), HASH);
        assert_eq!(format!("{hash:?}"), "[redacted]");
        for invalid in [
            "",
            "secret",
            "$2y$10$",
            &HASH.replace("$2y$", "$2z$"),
            &HASH.replace("$10$", "$03$"),
            &HASH.replace("$10$", "$32$"),
            &HASH.replace("$10$", "$1$"),
            &HASH[..HASH.len() - 1],
            &format!("{HASH}."),
            &HASH.replace("X0h", "X=h"),
            // Unused bits of the digest are set.
            &HASH.replace("7zG", "7zH"),
        ] {
            assert!(PasswordHash::parse(invalid).is_none(), "{invalid:?}");
        }
    }

    #[test]
    fn unused_bits_of_the_salt_are_ignored() {
        let hash = bcrypt::hash("open", 4).unwrap();
        let salt_end = hash.len() - 32;
        let value = super::BASE64_DIGITS
            .iter()
            .position(|digit| *digit == hash.as_bytes()[salt_end]);
        let mut other = hash.clone().into_bytes();
        other[salt_end] = super::BASE64_DIGITS[value.unwrap() + 5];
        let other = String::from_utf8(other).unwrap();
        assert!(
            bcrypt::verify("open", &other).is_err(),
            "refused by the crate"
        );
        let parsed = PasswordHash::parse(&other).unwrap();
        assert_eq!(parsed.as_str(), hash);
        assert_eq!(bcrypt::verify("open", parsed.as_str()).ok(), Some(true));
    }
}
