//! YAML text to a raw shape, and the YAML reader's errors in words for people.
//!
//! The reader names the wrong value in its errors; it is dropped here, since a text in a wrong
//! place may be a token. It stops at the first error of shape, so there is one complaint.

use serde::de::DeserializeOwned;

use super::complaint::{Complaint, Complaints, Document};
use super::locate;
use super::place::{Place, Step};

/// How a document without anything in it is refused.
const NOTHING: &str = "there is nothing in this file";

/// Reads a document; `if_empty` tells what would be right where nothing stands in it.
pub(super) fn read<T: DeserializeOwned>(
    document: &Document,
    if_empty: &str,
) -> Result<T, Complaints> {
    if is_empty(&document.text) {
        let text = format!("{NOTHING}; {if_empty}");
        return Err(Complaint::about(&document.name, text).into());
    }
    serde_yaml::from_str(&document.text).map_err(|error| complaint(document, &error).into())
}

/// Blank lines, comments and document marks say nothing.
pub(super) fn is_empty(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

fn complaint(document: &Document, error: &serde_yaml::Error) -> Complaint {
    let location = error.location();
    let message = without_position(error.to_string(), location.as_ref());
    let (path, message) = split(&message);
    let mut place = Place::parse(path);
    let mut line = location.map(|location| location.line());
    let text = if let Some((name, known)) = unknown_key(message) {
        place = place.key(name.to_owned());
        unknown_key_text(name, &known)
    } else if let Some(name) = message.strip_prefix("duplicate field `") {
        // The reader only knows where the mapping begins; its second key is easily found.
        let again = place.then(Step::Again(name.trim_end_matches('`').to_owned()));
        line = locate::line(&document.text, &again).or(line);
        place = again;
        "this key is given twice; keep one".to_owned()
    } else if let Some(wrong) = message.strip_prefix("invalid type: ") {
        wrong_type(wrong, path)
    } else if let Some(plain) = plain(message) {
        plain.to_owned()
    } else if message.contains(['`', '"']) {
        // Nothing that is known has these; whatever it is, it may quote the document.
        "this cannot be read; compare it with config.example.yaml".to_owned()
    } else {
        format!(
            "this is not YAML: {message}; check indentation (spaces, no tabs), quotes and brackets"
        )
    };
    Complaint {
        document: document.name.clone(),
        line,
        path: place.to_string(),
        text,
    }
}

/// The message less the position, which the complaint tells in its own way.
fn without_position(message: String, location: Option<&serde_yaml::Location>) -> String {
    let Some(location) = location else {
        return message;
    };
    let position = format!(" at line {} column {}", location.line(), location.column());
    message.replacen(&position, "", 1)
}

/// The path that the reader put before its message, and the message.
fn split(message: &str) -> (&str, &str) {
    ["unknown field `", "duplicate field `", "invalid type: "]
        .into_iter()
        .filter_map(|start| message.find(start))
        .min()
        .map_or(("", message), |at| {
            (message[..at].trim_end_matches(": "), &message[at..])
        })
}

/// The key that is not known and those that are, if that is what the message says.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (name, known) = rest.rsplit_once("`, expected ")?;
    Some((name, known.split('`').skip(1).step_by(2).collect()))
}

fn unknown_key_text(name: &str, known: &[&str]) -> String {
    match name {
        "access_token" | "token" => "a token must not stand in the config; put it into a file named by access_token_file, or into an environment variable named by access_token_env".to_owned(),
        "app_secret" | "secret" => "a secret must not stand in the config; put it into a file named by app_secret_file, or into an environment variable named by app_secret_env".to_owned(),
        "<<" => "merge keys are not understood; write the keys out".to_owned(),
        _ => format!("this key is not known; known here: {}", known.join(", ")),
    }
}

/// `kind value, expected what`: the value goes.
fn wrong_type(wrong: &str, path: &str) -> String {
    let (found, expected) = wrong
        .rsplit_once(", expected ")
        .unwrap_or((wrong, "another"));
    let found = [
        ("string", "a text"),
        ("character", "a text"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("boolean", "a boolean"),
        ("sequence", "a list"),
        ("map", "a mapping"),
        ("unit", "nothing"),
        ("null", "nothing"),
    ]
    .into_iter()
    .find_map(|(kind, word)| found.starts_with(kind).then_some(word))
    .unwrap_or("something else");
    let expected = match expected {
        "a boolean" => "true or false",
        "f64" => "a number, without quotes,",
        other => other,
    };
    if path.is_empty() {
        // Of the whole file, a business file is the likely one to be mistaken for the other.
        return format!("{found} stands at the top of this file; {expected} is right");
    }
    match found {
        "nothing" => format!("nothing stands here; {expected} is right, or remove the key"),
        found => format!("{found} stands here; {expected} is right"),
    }
}

/// The reader's messages that mean something beside wrong punctuation.
fn plain(message: &str) -> Option<&'static str> {
    [
        (
            "deserializing from YAML containing more than one document",
            "this is more than one YAML document; remove the `---` between them",
        ),
        (
            "recursion limit exceeded",
            "this is nested too deeply; write it flat",
        ),
        (
            "repetition limit exceeded",
            "the aliases repeat too much; write the values out",
        ),
        (
            "unknown anchor",
            "this alias has no anchor; write the value out",
        ),
        (
            "EOF while parsing",
            "there is nothing in this file; write a mapping or a list",
        ),
    ]
    .into_iter()
    .find_map(|(start, plain)| message.starts_with(start).then_some(plain))
}
