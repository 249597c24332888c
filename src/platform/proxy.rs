//! Proxy for requests to the API. The environment names it, and the HTTP client reads it from there.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Environment variables that name a proxy, by precedence.
const PROXY_VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// Returns the variables that name a proxy, with its URL.
fn configured() -> impl Iterator<Item = (&'static str, String)> {
    PROXY_VARIABLES.into_iter().filter_map(|name| {
        let url = std::env::var(name).ok().filter(|url| !url.is_empty())?;
        Some((name, url))
    })
}

/// Returns the variable that names the proxy, and its URL without user name and password; `None` without a proxy.
pub fn in_use() -> Option<(&'static str, String)> {
    let (variable, url) = configured().next()?;
    Some((variable, without_userinfo(&url)))
}

/// Returns the passwords of all proxies, in each form in which a proxy receives them or can quote them.
pub fn passwords() -> Vec<String> {
    configured()
        .flat_map(|(_, url)| forms_of_password(&url))
        .collect()
}

/// Returns a URL without the user name and password.
fn without_userinfo(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    }
}

/// Returns the password of a URL as it is written, without percent-encoding, in the credentials of `Basic`, and as JSON
/// and HTML escape it.
fn forms_of_password(url: &str) -> Vec<String> {
    let Some((before, _)) = url.rsplit_once('@') else {
        return Vec::new();
    };
    let userinfo = before.split_once("://").map_or(before, |(_, rest)| rest);
    let Some((user, password)) = userinfo.split_once(':') else {
        return Vec::new();
    };
    let (user, decoded) = (percent_decode(user), percent_decode(password));
    let credentials = BASE64_STANDARD.encode(format!("{user}:{decoded}"));
    let json = serde_json::Value::from(decoded.as_str()).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    let html = ["&amp;", "&lt;", "&gt;", "&quot;"]
        .into_iter()
        .zip(['&', '<', '>', '"'])
        .fold(decoded.clone(), |text, (escape, char)| {
            text.replace(char, escape)
        });
    let mut forms = Vec::new();
    for form in [credentials, decoded, password.to_owned(), json, html] {
        if !form.is_empty() && !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

fn percent_decode(text: &str) -> String {
    // A `+` is a space only in forms.
    let escaped = text.replace('+', "%2B").replace('&', "%26");
    let mut pairs = form_urlencoded::parse(escaped.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::{forms_of_password, without_userinfo};

    #[test]
    fn password_of_a_proxy_is_removed() {
        for (url, expected) in [
            ("http://user:secret@proxy:3128", "http://proxy:3128"),
            ("http://user:se@cret@proxy", "http://proxy"),
            ("user:secret@proxy:3128", "proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("socks5://proxy", "socks5://proxy"),
        ] {
            assert_eq!(without_userinfo(url), expected, "{url}");
        }
    }

    #[test]
    fn password_of_a_proxy_is_known_in_all_forms() {
        for (url, expected) in [
            ("http://proxy:3128", &[][..]),
            ("http://user@proxy:3128", &[]),
            ("http://user:secret@proxy", &["dXNlcjpzZWNyZXQ=", "secret"]),
            (
                "user:a%40b+c@proxy",
                &["dXNlcjphQGIrYw==", "a@b+c", "a%40b+c"],
            ),
            (
                "http://u:a&<%22@proxy",
                &["dTphJjwi", "a&<\"", "a&<%22", "a&<\\\"", "a&amp;&lt;&quot;"],
            ),
        ] {
            assert_eq!(forms_of_password(url), expected, "{url}");
        }
    }
}
