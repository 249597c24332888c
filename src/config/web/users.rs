//! Users of basic authentication: names and bcrypt hashes.

use super::raw::WebText;
use crate::config::diagnostics::Diagnostics;
use crate::config::parse::from_yaml::RawMap;
use crate::config::parse::yaml_path::YamlPath;
use crate::config::password_hash::{PasswordHash, check_user};

/// Checks `basic_auth_users`. The errors quote no hash, because it may be a plain password.
pub(super) fn users(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawMap<WebText>>,
    warnings: &mut Vec<String>,
) -> Vec<(String, PasswordHash)> {
    let mut users = Vec::new();
    for (name, WebText(hash)) in raw.into_iter().flat_map(|RawMap(entries)| entries) {
        let path = path.key(name.clone());
        let Some(hash) = check_user(diagnostics, &path, name, hash) else {
            continue;
        };
        warnings.extend(hash.warning().map(|warning| format!("{path}: {warning}")));
        users.push((name.clone(), hash));
    }
    users
}
