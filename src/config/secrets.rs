//! Where tokens and app secrets are kept: a file or an environment variable, never the config.
//!
//! The complaints here quote no value: a token often stands where its place was asked for.

use std::path::PathBuf;

use super::App;
use super::complaint::Notes;
use super::place::Place;
use super::scalar::{Given, Id, Text};
use crate::secret::SecretSource;

/// The names of the two keys that say where a secret is kept.
struct Keys {
    file: &'static str,
    env: &'static str,
}

/// Checks `access_token_file` and `access_token_env`, one of which a business needs.
pub(super) fn token(
    notes: &mut Notes<'_>,
    at: &Place,
    file: &Given<Text>,
    env: &Given<Text>,
) -> Option<SecretSource> {
    let keys = Keys {
        file: "access_token_file",
        env: "access_token_env",
    };
    source(notes, at, &keys, file, env, "a business needs a token")
}

/// Checks an app: its id and the place of its secret, both or neither.
pub(super) fn app(
    notes: &mut Notes<'_>,
    at: &Place,
    id: &Given<Id>,
    file: &Given<Text>,
    env: &Given<Text>,
) -> Option<App> {
    let keys = Keys {
        file: "app_secret_file",
        env: "app_secret_env",
    };
    if id.get().is_none() && file.get().is_none() && env.get().is_none() {
        return None;
    }
    let secret = source(
        notes,
        at,
        &keys,
        file,
        env,
        "app_id is of use only with its secret",
    );
    let Some(Id(id)) = id.get() else {
        notes.add(at, "an app secret is of use only with its app; add app_id");
        return None;
    };
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        notes.add(
            &at.key("app_id"),
            "an app's id is digits alone; write it as Meta's app dashboard shows it",
        );
    }
    let id = id.clone();
    secret.map(|secret| App { id, secret })
}

fn source(
    notes: &mut Notes<'_>,
    at: &Place,
    keys: &Keys,
    file: &Given<Text>,
    env: &Given<Text>,
    need: &str,
) -> Option<SecretSource> {
    match (file.get(), env.get()) {
        (Some(Text(file)), None) => {
            if let Some(trouble) = file_trouble(file) {
                notes.add(&at.key(keys.file), trouble);
            }
            Some(SecretSource::File(PathBuf::from(file)))
        }
        (None, Some(Text(env))) => {
            if let Some(trouble) = env_trouble(env) {
                notes.add(&at.key(keys.env), trouble);
            }
            Some(SecretSource::Env(env.clone()))
        }
        (None, None) => {
            notes.add(at, format!("{need}; add {} or {}", keys.file, keys.env));
            None
        }
        (Some(_), Some(_)) => {
            notes.add(
                &at.key(keys.env),
                format!(
                    "{} says already where the secret is kept; keep one of the two",
                    keys.file
                ),
            );
            None
        }
    }
}

fn file_trouble(file: &str) -> Option<&'static str> {
    if file.trim().is_empty() {
        Some("this names no file; write the path of the file that holds the secret")
    } else if looks_like_a_token(file) {
        Some("this looks like a token itself; put it into a file and write that file's path here")
    } else {
        None
    }
}

fn env_trouble(env: &str) -> Option<&'static str> {
    let well_formed = env.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && env.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if looks_like_a_token(env) {
        Some(
            "this looks like a token itself; put it into an environment variable and write that variable's name here",
        )
    } else if !well_formed {
        Some(
            "this is no name of an environment variable; write one such as ACME_TOKEN, without a $",
        )
    } else {
        None
    }
}

/// Meta's access tokens begin so; a path or a variable of such a look is hardly ever meant.
fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("EAA") && text.bytes().all(|b| b.is_ascii_alphanumeric())
}
