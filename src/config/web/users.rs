//! Who may ask: names and hashes.

use super::raw::Words;
use crate::config::complaint::Notes;
use crate::config::place::Place;
use crate::config::scalar::Entries;

/// Names and bcrypt hashes.
pub(super) fn users(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: Option<Entries<Words>>,
) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for (name, Words(hash)) in raw.into_iter().flat_map(|Entries(entries)| entries) {
        let place = at.key(name.clone());
        if !is_bcrypt(&hash) {
            notes.add(
                &place,
                "this is no bcrypt hash; `htpasswd -nBC 10 NAME` prints one",
            );
        } else if name.contains(':') {
            notes.add(
                &place,
                "basic auth has no names with a colon; rename the user",
            );
        } else {
            users.push((name, hash));
        }
    }
    users
}

/// `$2b$`, two digits from 04 to 31, `$`, 22 characters of salt and 31 of hash.
fn is_bcrypt(hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2x" | "2y", cost, rest] = parts[..] else {
        return false;
    };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| (4..=31).contains(&cost))
        && rest.len() == 53
        && rest.bytes().all(base64)
}
