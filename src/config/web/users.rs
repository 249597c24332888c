//! Users of basic authentication: names and bcrypt hashes.

use super::raw::WebText;
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::RawMap;
use crate::config::parse::yaml_path::YamlPath;

/// Highest bcrypt cost without a warning; a hash of cost 14 takes about a second.
const MAX_RECOMMENDED_COST: u32 = 14;

/// Checks `basic_auth_users`. The errors quote no hash, because it may be a plain password.
pub(super) fn users(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawMap<WebText>>,
    warnings: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for (name, WebText(hash)) in raw.into_iter().flat_map(|RawMap(entries)| entries) {
        let path = path.key(name.clone());
        if !is_bcrypt(hash) {
            diagnostics.add(
                &path,
                "expected a bcrypt hash, found another string; create one with `htpasswd -nBC 10 NAME`",
            );
        } else if name.contains(':') {
            diagnostics.add(
                &path,
                format!(
                    "expected a user name without a colon, found {}; rename the user, because basic authentication does not support the name",
                    quote_or_redact(name)
                ),
            );
        } else {
            if bcrypt_cost(hash).is_some_and(|cost| cost > MAX_RECOMMENDED_COST) {
                warnings.push(format!(
                    "basic_auth_users.{name}: a bcrypt cost above {MAX_RECOMMENDED_COST} delays all logins by seconds; create a hash of cost 10"
                ));
            }
            users.push((name.clone(), hash.clone()));
        }
    }
    users
}

/// Returns the cost parameter of a hash such as `$2y$10$...`.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

/// Whether a string has the form of a bcrypt hash: `$2b$`, a cost from 04 to 31, `$`, 22 characters of
/// salt and 31 of the hash.
fn is_bcrypt(hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2x" | "2y", cost, salt_and_hash] = parts[..] else {
        return false;
    };
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| (4..=31).contains(&cost))
        && salt_and_hash.len() == 53
        && salt_and_hash.bytes().all(is_base64)
}
