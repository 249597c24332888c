//! Checks the users of a business, which see exactly this business.
//!
//! They need a web config with users: where no login is required, a user protects nothing, and its
//! first entry would lock out all other clients. Names are unique among the users of the web config
//! and of all businesses, so that the access of a user is defined in one place.

use std::collections::HashMap;

use super::businesses::CheckContext;
use crate::config::diagnostics::{Diagnostics, describe_unprintable};
use crate::config::parse::from_yaml::Explicit;
use crate::config::parse::raw::RawWebUsers;
use crate::config::parse::scalar::RawPasswordHash;
use crate::config::parse::yaml_path::YamlPath;
use crate::config::password_hash::{PasswordHash, check_user};

/// The names of the users checked so far, each with its document and the path of its `web_users`.
pub(in crate::config) type UserNames = HashMap<String, (String, YamlPath)>;

/// Checks `web_users` of the business at `path`.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &Explicit<RawWebUsers>,
    context: &CheckContext,
    names: &mut UserNames,
) -> Vec<(String, PasswordHash)> {
    let Some(RawWebUsers(entries)) = raw.get().filter(|RawWebUsers(entries)| !entries.is_empty())
    else {
        return Vec::new();
    };
    let path = path.key("web_users");
    let web_config_users = context.web_config_users.as_ref();
    if web_config_users.is_some_and(|users| users.is_empty()) {
        diagnostics.add(
            &path,
            "expected a web config file with `basic_auth_users`, found none, so that no client needs a login; set --web.config.file to a file with at least one user, or remove `web_users`",
        );
    }
    let mut users = Vec::new();
    for (name, RawPasswordHash(hash)) in entries {
        let user_path = path.key(name.clone());
        if name.trim().is_empty() || name.contains(char::is_control) {
            diagnostics.add(
                &user_path,
                format!(
                    "expected one line of printable text, found {}; choose another user name",
                    describe_unprintable(name)
                ),
            );
            continue;
        }
        let Some(hash) = check_user(diagnostics, &user_path, name, hash) else {
            continue;
        };
        if let Some(warning) = hash.warning() {
            diagnostics.warn(&user_path, warning);
        }
        if web_config_users.is_some_and(|users| users.contains(name)) {
            diagnostics.add(
                &user_path,
                "expected a user name that is not in the web config file, found one of its `basic_auth_users`; choose another name, or remove one of the two",
            );
            continue;
        }
        if let Some((document, other)) = names.get(name) {
            let location = if document == diagnostics.document() {
                format!("`{other}`")
            } else {
                format!("`{other}` in {document}")
            };
            diagnostics.add(
                &user_path,
                format!(
                    "expected a user of one business, found a user name of {location}; choose another name, or give one user access to several businesses with `business_scopes` in the web config file"
                ),
            );
            continue;
        }
        let document = diagnostics.document().to_owned();
        names.insert(name.clone(), (document, path.clone()));
        users.push((name.clone(), hash));
    }
    users
}
