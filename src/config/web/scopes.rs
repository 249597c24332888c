//! Which businesses a user may look at: our own key of the web config file.
//!
//! It stands beside the users, and not under each business of the config: what a user may see
//! changes in one file at once, and a business that goes leaves its users with nothing, never
//! with everything.

use std::collections::BTreeSet;

use super::raw::Words;
use crate::config::complaint::Notes;
use crate::config::place::Place;
use crate::config::scalar::{Entries, List};

/// Names of users, and of the businesses that each may look at, at least one.
pub(super) fn scopes(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: Option<Entries<List<Words>>>,
    users: &[(String, String)],
) -> Vec<(String, BTreeSet<Box<str>>)> {
    let mut scopes = Vec::new();
    for (user, List(names)) in raw.into_iter().flat_map(|Entries(entries)| entries) {
        let place = at.key(user.clone());
        if !users.iter().any(|(known, _)| *known == user) {
            notes.add(
                &place,
                "there is no such user under basic_auth_users; add it there, or take this away",
            );
        } else if names.is_empty() {
            notes.add(
                &place,
                "this user would see nothing; name a business, or take the user away",
            );
        }
        let names = names.into_iter().map(|Words(name)| name.into());
        scopes.push((user, names.collect()));
    }
    scopes
}
