//! Headers of every answer.

use super::raw::{RawHttp, given};
use crate::config::complaint::Notes;
use crate::config::place::Place;
use crate::config::scalar::Entries;

/// The headers that may be set, and the values that are right where not all are.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];
/// Those that may be set, with values that are right.
pub(super) fn headers(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: &RawHttp,
) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let at = at.key("headers");
    for (name, value) in raw.headers.iter().flat_map(|Entries(entries)| entries) {
        let place = at.key(name.clone());
        let Some((name, right)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = HEADERS.iter().map(|(known, _)| *known).collect();
            notes.add(
                &place,
                format!(
                    "this header cannot be set; those that can: {}",
                    known.join(", ")
                ),
            );
            continue;
        };
        let Some(value) = given(value) else { continue };
        if !right.is_empty() && !right.contains(&value) {
            notes.add(
                &place,
                format!("this value is not right; write {}", right.join(" or ")),
            );
        } else if value.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            notes.add(&place, "a header's value is one line of ASCII; write it so");
        } else {
            headers.push((*name, value.to_owned()));
        }
    }
    headers
}
