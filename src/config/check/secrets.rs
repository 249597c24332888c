//! Checks where access tokens and app secrets are stored: a file or an environment variable, never
//! the config.
//!
//! The errors quote no value, because users often write a token where its location is expected.

use std::path::{Path, PathBuf};

use crate::config::MetaApp;
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::Explicit;
use crate::config::parse::scalar::{RawId, RawText};
use crate::config::parse::yaml_path::YamlPath;
use crate::model::SecretSource;

/// Returns the value of an environment variable; `None` if it is not set.
pub(in crate::config) type LookUpVariable = fn(&str) -> Option<String>;

/// The names of the two keys for the location of a secret.
struct SecretKeys {
    file: &'static str,
    env: &'static str,
}

const TOKEN_KEYS: SecretKeys = SecretKeys {
    file: "access_token_file",
    env: "access_token_env",
};

const APP_SECRET_KEYS: SecretKeys = SecretKeys {
    file: "app_secret_file",
    env: "app_secret_env",
};

/// Checks `access_token_file` and `access_token_env`; a business needs exactly one of them.
pub(in crate::config) fn token(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    file: &Explicit<RawText>,
    env: &Explicit<RawText>,
    variables: LookUpVariable,
) -> Option<SecretSource> {
    source(diagnostics, path, &TOKEN_KEYS, file, env, variables)
}

/// Checks an app: its id and the location of its secret. The id may be without a secret; then it
/// only states which businesses share the quotas of an app.
pub(in crate::config) fn app(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    id: &Explicit<RawId>,
    file: &Explicit<RawText>,
    env: &Explicit<RawText>,
    variables: LookUpVariable,
) -> Option<MetaApp> {
    let has_secret = !file.is_absent() || !env.is_absent();
    let secret = if has_secret {
        source(diagnostics, path, &APP_SECRET_KEYS, file, env, variables)
    } else {
        None
    };
    let Some(RawId(id)) = id.get() else {
        if id.is_absent() && has_secret {
            diagnostics.add(
                path,
                "expected `app_id` with the app secret, found no such key; add the id of the app",
            );
        }
        return None;
    };
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        diagnostics.add(
            &path.key("app_id"),
            "expected an app id of digits, found other characters; copy the id from Meta's app dashboard",
        );
    }
    Some(MetaApp {
        id: id.clone(),
        secret,
    })
}

fn source(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    keys: &SecretKeys,
    file: &Explicit<RawText>,
    env: &Explicit<RawText>,
    variables: LookUpVariable,
) -> Option<SecretSource> {
    match (file.get(), env.get()) {
        (Some(RawText(file)), None) => {
            let path = path.key(keys.file);
            if let Some(error) = file_error(file) {
                diagnostics.add(&path, error);
            }
            Some(SecretSource::File(file_path(
                diagnostics,
                &path,
                file,
                variables,
            )))
        }
        (None, Some(RawText(env))) => {
            if let Some(error) = env_error(env) {
                diagnostics.add(&path.key(keys.env), error);
            }
            Some(SecretSource::Env(env.clone()))
        }
        (None, None) => {
            if !file.is_absent() || !env.is_absent() {
                return None;
            }
            diagnostics.add(
                path,
                format!(
                    "expected `{}` or `{}`, found neither; add one of them",
                    keys.file, keys.env
                ),
            );
            None
        }
        (Some(_), Some(_)) => {
            diagnostics.add(
                &path.key(keys.env),
                format!(
                    "expected either `{}` or `{}`, found both; remove one of them",
                    keys.file, keys.env
                ),
            );
            None
        }
    }
}

/// Returns the path of a file that the config names: `${VAR}` is replaced by the value of an
/// environment variable, `$$` by `$`, and the result is relative to the folder of the document.
pub(in crate::config) fn file_path(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    text: &str,
    variables: LookUpVariable,
) -> PathBuf {
    if text.starts_with("~/") {
        diagnostics.warn(
            path,
            "`~` is not expanded, so that a folder of this name is looked for; write `${HOME}` instead",
        );
    }
    let expanded = match expand(text, variables) {
        Ok(expanded) => expanded,
        Err(error) => {
            diagnostics.add(path, error);
            text.to_owned()
        }
    };
    let folder = Path::new(diagnostics.document()).parent();
    folder.unwrap_or(Path::new("")).join(expanded)
}

fn expand(text: &str, variables: LookUpVariable) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let name = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .filter(|(name, _)| is_variable_name(name));
        let Some((name, after)) = name else {
            return Err(
                "expected `${VAR}` or `$$`, found another `$`; write `${VAR}` for a variable, and `$$` for the character"
                    .to_owned(),
            );
        };
        let Some(value) = variables(name) else {
            return Err(format!(
                "expected environment variables that are set, found {} that is not set; set it, or write the path itself",
                quote_or_redact(name)
            ));
        };
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn file_error(file: &str) -> Option<&'static str> {
    if file.trim().is_empty() {
        Some(
            "expected the path of a file, found an empty string; write the path of the file that contains the secret",
        )
    } else if looks_like_token(file) {
        Some(
            "expected the path of a file, found what looks like a token; store the token in a file and write its path here",
        )
    } else {
        None
    }
}

fn env_error(env: &str) -> Option<&'static str> {
    let is_well_formed = is_variable_name(env);
    if looks_like_token(env) {
        Some(
            "expected the name of an environment variable, found what looks like a token; store the token in an environment variable and write its name here",
        )
    } else if !is_well_formed {
        Some(
            "expected the name of an environment variable such as `ACME_TOKEN`, found an invalid name; use letters, digits and underscores, without `$`",
        )
    } else {
        None
    }
}

/// Whether a string has the form of Meta's access tokens; paths and variable names rarely do.
fn looks_like_token(text: &str) -> bool {
    text.starts_with("EAA") && text.bytes().all(|b| b.is_ascii_alphanumeric())
}
