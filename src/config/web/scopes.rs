//! Business scopes: which businesses a user has access to. This key is not in exporter-toolkit's
//! format.
//!
//! The scopes are next to the users instead of in each business, so that the access of a user is
//! changed in one file, and a business that is removed leaves its users with fewer businesses, never
//! with access to all.

use std::collections::BTreeSet;

use super::raw::WebText;
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::{RawList, RawMap};
use crate::config::parse::yaml_path::YamlPath;
use crate::config::password_hash::PasswordHash;

/// Name in `business_scopes` that selects every business.
const EVERY_BUSINESS: &str = "*";

/// Businesses that a user has access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserScope {
    /// Every business, and metrics about the exporter as a whole.
    All,
    /// Only these businesses.
    Only(BTreeSet<Box<str>>),
}

/// Checks `business_scopes`: user names, each with at least one business. `None` without the key.
pub(super) fn scopes(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: Option<&RawMap<RawList<WebText>>>,
    users: &[(String, PasswordHash)],
) -> Option<Vec<(String, UserScope)>> {
    let RawMap(entries) = raw?;
    if users.is_empty() && entries.is_empty() {
        diagnostics.add(
            path,
            "expected users in `basic_auth_users`, found none, so that every client would have access to every business; add users",
        );
    }
    let mut scopes = Vec::new();
    for (user, names) in entries {
        let path = path.key(user.clone());
        if !users.iter().any(|(name, _)| name == user) {
            diagnostics.add(
                &path,
                format!(
                    "expected a user of `basic_auth_users`, found {}; add the user there, or remove this entry",
                    quote_or_redact(user)
                ),
            );
        } else if names.len() == 0 {
            diagnostics.add(
                &path,
                "expected at least one business, found an empty list; add one, or remove the user",
            );
        }
        let names = || names.items().iter().map(|(_, WebText(name))| name.as_str());
        let scope = if names().any(|name| name == EVERY_BUSINESS) {
            UserScope::All
        } else {
            UserScope::Only(names().map(Box::from).collect())
        };
        scopes.push((user.clone(), scope));
    }
    Some(scopes)
}
