//! Errors for unknown keys: a suggestion by meaning or by edit distance.

use crate::config::diagnostics::is_quotable;

/// Maximum edit distance between an unknown key and the known key that is suggested for it.
const MAX_SUGGESTION_DISTANCE: usize = 3;

/// Names that other tools use, or an earlier document suggests, each with the key that is meant.
const KEYS_BY_MEANING: [(&str, &str); 17] = [
    ("accounts", "ad_accounts"),
    ("adaccounts", "ad_accounts"),
    ("token_file", "access_token_file"),
    ("token_env", "access_token_env"),
    ("secret_file", "app_secret_file"),
    ("business", "businesses"),
    ("clients", "businesses"),
    ("customers", "businesses"),
    ("max_cpa", "max_cost_per_purchase"),
    ("max_cpp", "max_cost_per_purchase"),
    ("max_cpc", "max_cost_per_link_click"),
    ("roas", "min_roas"),
    ("budget", "max_spend"),
    ("api_version", "version"),
    ("base_url", "url"),
    ("include", "business_files"),
    ("preset", "date_preset"),
];

/// Returns the error for an unknown key, and the known key that was probably meant.
pub(in crate::config) fn describe<'a>(
    key: &str,
    known_keys: &[&'a str],
) -> (String, Option<&'a str>) {
    let known = |name: &str| known_keys.iter().copied().find(|known| *known == name);
    match key {
        "access_token" | "token" => {
            return (
                format!(
                    "expected `access_token_file` or `access_token_env`, found `{key}`; move the token to a file or an environment variable and name that here"
                ),
                known("access_token_file"),
            );
        }
        "app_secret" | "secret" => {
            return (
                format!(
                    "expected `app_secret_file` or `app_secret_env`, found `{key}`; move the secret to a file or an environment variable and name that here"
                ),
                known("app_secret_file"),
            );
        }
        "<<" => {
            return (
                "expected a known key, found the merge key `<<`; merge keys are not supported, so repeat the keys, or set them for all businesses under `defaults`".to_owned(),
                None,
            );
        }
        _ => {}
    }
    let error = if is_quotable(key) {
        format!("unknown key `{key}`")
    } else {
        "unknown key".to_owned()
    };
    let suggestion = KEYS_BY_MEANING
        .iter()
        .find(|(name, _)| *name == key.to_ascii_lowercase())
        .and_then(|(_, meant)| known(meant))
        .or_else(|| nearest(key, known_keys));
    match suggestion {
        Some(suggestion) => (
            format!("{error}; did you mean `{suggestion}`?"),
            Some(suggestion),
        ),
        None => (
            format!("{error}; known keys: {}", known_keys.join(", ")),
            None,
        ),
    }
}

/// Returns the known word with the smallest edit distance, if that is at most
/// [`MAX_SUGGESTION_DISTANCE`] and the two have more than their length in common. Upper and lower
/// case are the same.
pub(in crate::config) fn nearest<'a>(word: &str, known_words: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    known_words
        .iter()
        .map(|known| (strsim::osa_distance(&word, known), *known))
        // A short word that differs in every character is not a misspelling.
        .filter(|(distance, known)| {
            *distance <= MAX_SUGGESTION_DISTANCE && *distance < known.len().min(word.len())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Returns `; did you mean ...?` for a word that resembles a known one, and an empty string
/// otherwise.
pub(in crate::config) fn suggestion(word: &str, known_words: &[&str]) -> String {
    nearest(word, known_words)
        .map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN_KEYS: [&str; 4] = ["url", "max_spend", "min_roas", "timeout"];

    #[test]
    fn nearest_key_within_distance_is_suggested() {
        for (key, expected) in [
            ("max_spent", Some("max_spend")),
            ("maxspned", Some("max_spend")),
            ("min_ROAS", Some("min_roas")),
            ("min_roas_x", Some("min_roas")),
            ("min_roas_xyz", None),
            ("timeuot", Some("timeout")),
            ("uri", Some("url")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(
                nearest(key, &KNOWN_KEYS),
                expected,
                "suggestion for {key:?}"
            );
        }
    }
}
