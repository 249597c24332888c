//! HTTP basic authentication of users with bcrypt hashes.
//!
//! A bcrypt hash takes a tenth of a second or more, so hashes are computed on a blocking thread, one
//! at a time, in the order of `fair_queue`, and results are cached: valid and invalid passwords cost
//! one hash each. A password of an unknown user is compared with the hash of an existing user that
//! depends on the name, so that response times do not reveal which names exist.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use hyper::header::{self, HeaderMap};
use ring::hmac;
use tokio::task::spawn_blocking;

use super::fair_queue::FairQueue;

/// Maximum length of a password in bytes. bcrypt uses only the first 72.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Maximum number of refused credentials that are remembered.
const MAX_REMEMBERED_REFUSALS: usize = 1024;

/// Result of an authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum AuthOutcome {
    /// The credentials of this user are valid.
    Granted(String),
    /// The credentials are missing or invalid.
    Refused,
}

/// Requests that wait for a hash in the same order of arrival: those of one client for one user.
/// Unknown users share a lane.
type Lane = (IpAddr, Option<String>);

/// HMAC-SHA256 of a user name, the user's hash and a password.
type CredentialTag = [u8; 32];

/// Users of a web config.
pub(in crate::http) struct Users {
    /// Names and bcrypt hashes, sorted by name.
    hashes: Vec<(String, String)>,
    results: Mutex<CachedResults>,
    /// Key of this process, so that the cache contains no password.
    hmac_key: hmac::Key,
    queue: Arc<FairQueue<Lane>>,
}

/// Results of earlier checks. They depend on the hash of the user, so they survive other changes of
/// the web config.
#[derive(Clone, Default)]
struct CachedResults {
    /// Last accepted credentials of each user.
    accepted: HashMap<String, CredentialTag>,
    refused: HashSet<CredentialTag>,
    /// Elements of `refused`, oldest first.
    refused_order: VecDeque<CredentialTag>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.hashes.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Users {
    /// Creates users from names and valid bcrypt hashes. Takes over the results of `previous`.
    ///
    /// # Errors
    /// Returns an error if the system's random number generator fails.
    pub(in crate::http) fn new(
        users: &[(String, String)],
        previous: Option<&Self>,
    ) -> Result<Self, ring::error::Unspecified> {
        let (hmac_key, results, queue) = match previous {
            Some(previous) => (
                previous.hmac_key.clone(),
                previous.lock_results().clone(),
                Arc::clone(&previous.queue),
            ),
            None => (
                hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())?,
                CachedResults::default(),
                Arc::default(),
            ),
        };
        let mut hashes = users.to_vec();
        hashes.sort_unstable();
        Ok(Self {
            hashes,
            results: Mutex::new(results),
            hmac_key,
            queue,
        })
    }

    /// Authenticates a request by its `Authorization` header.
    pub(in crate::http) async fn authenticate(
        self: &Arc<Self>,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> AuthOutcome {
        let Some((user, password)) = credentials(headers) else {
            return AuthOutcome::Refused;
        };
        let is_known = self.hash_of(&user).is_some();
        let Some((hash, tag)) = self.comparison(&user, &password) else {
            return AuthOutcome::Refused;
        };
        let outcome = |is_valid: bool, user: &str| match is_valid {
            true => AuthOutcome::Granted(user.to_owned()),
            false => AuthOutcome::Refused,
        };
        if let Some(is_valid) = self.cached(&user, &tag) {
            return outcome(is_valid, &user);
        }
        let lane = (peer, is_known.then(|| user.clone()));
        let permit = self.queue.acquire(lane).await;
        // Another request of the same client may have passed the check in the meantime.
        if let Some(is_valid) = self.cached(&user, &tag) {
            return outcome(is_valid, &user);
        }
        let users = Arc::clone(self);
        let name = user.clone();
        // Blocking tasks are not cancelled, so the permit is released by the task even if the client
        // disconnects.
        let check = spawn_blocking(move || {
            let is_equal = bcrypt::verify(password, &hash).unwrap_or(false);
            let is_valid = is_equal && is_known;
            users.remember(&name, tag, is_valid);
            drop(permit);
            is_valid
        });
        outcome(check.await.unwrap_or(false), &user)
    }

    /// Returns the number of users.
    pub(in crate::http) fn count(&self) -> usize {
        self.hashes.len()
    }

    fn hash_of(&self, user: &str) -> Option<&str> {
        let user_idx = self
            .hashes
            .binary_search_by(|(name, _)| name.as_str().cmp(user))
            .ok()?;
        self.hashes.get(user_idx).map(|(_, hash)| hash.as_str())
    }

    /// Returns the hash to compare the password with, and the tag of the credentials.
    fn comparison(&self, user: &str, password: &[u8]) -> Option<(String, CredentialTag)> {
        let hash = match self.hash_of(user) {
            Some(hash) => hash,
            None => {
                let tag = hmac::sign(&self.hmac_key, user.as_bytes());
                let first = tag
                    .as_ref()
                    .first_chunk()
                    .copied()
                    .map(u64::from_le_bytes)?;
                let count = u64::try_from(self.hashes.len())
                    .ok()
                    .filter(|count| *count > 0)?;
                let user_idx = usize::try_from(first % count).ok()?;
                &self.hashes.get(user_idx)?.1
            }
        };
        let mut context = hmac::Context::with_key(&self.hmac_key);
        for part in [user.as_bytes(), b"\0", hash.as_bytes(), b"\0", password] {
            context.update(part);
        }
        let tag = context.sign().as_ref().first_chunk().copied()?;
        Some((hash.to_owned(), tag))
    }

    /// Returns whether earlier credentials with this tag were valid; `None` if they are unknown.
    fn cached(&self, user: &str, tag: &CredentialTag) -> Option<bool> {
        let results = self.lock_results();
        if results.accepted.get(user) == Some(tag) {
            return Some(true);
        }
        results.refused.contains(tag).then_some(false)
    }

    fn remember(&self, user: &str, tag: CredentialTag, is_valid: bool) {
        let mut results = self.lock_results();
        if is_valid {
            results.accepted.insert(user.to_owned(), tag);
        } else if results.refused.insert(tag) {
            results.refused_order.push_back(tag);
            if results.refused_order.len() > MAX_REMEMBERED_REFUSALS
                && let Some(oldest) = results.refused_order.pop_front()
            {
                results.refused.remove(&oldest);
            }
        }
    }

    fn lock_results(&self) -> std::sync::MutexGuard<'_, CachedResults> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns user name and password from a header `Authorization: Basic ...`.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // Some clients omit the padding.
    let encoded = encoded.trim().trim_end_matches('=');
    let decoded = BASE64_STANDARD_NO_PAD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    let password = password
        .get(1..)
        .filter(|password| password.len() <= MAX_PASSWORD_BYTES)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::{AuthOutcome, MAX_REMEMBERED_REFUSALS, Users, credentials};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    fn basic(credentials: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64_STANDARD.encode(credentials)))
    }

    fn hash(password: &str, cost: u32) -> String {
        bcrypt::hash(password, cost).unwrap()
    }

    #[test]
    fn credentials_accept_common_spellings() {
        let alice = Some(("alice".to_owned(), b"pass:word".to_vec()));
        assert_eq!(credentials(&headers("Basic YWxpY2U6cGFzczp3b3Jk")), alice);
        assert_eq!(credentials(&headers("basic YWxpY2U6cGFzczp3b3Jk=")), alice);
        for invalid in ["Bearer YWxpY2U6", "Basic", "Basic YWxpY2U", "Basic a_b"] {
            assert_eq!(credentials(&headers(invalid)), None, "{invalid:?}");
        }
    }

    #[tokio::test]
    async fn results_are_remembered_and_survive_unrelated_edits() {
        let stored = [
            ("low".to_owned(), hash("one", 4)),
            ("high".to_owned(), hash("two", 5)),
        ];
        let users = Arc::new(Users::new(&stored, None).unwrap());
        let granted = AuthOutcome::Granted("high".to_owned());
        let all = ["high:two", "low:no", "other:no", "other:two", "other:one"];
        for text in all {
            let expected = if text == "high:two" {
                &granted
            } else {
                &AuthOutcome::Refused
            };
            assert_eq!(
                &users.authenticate(&basic(text), PEER).await,
                expected,
                "{text}"
            );
        }
        let is_cached = |users: &Users, text: &str| {
            let (user, password) = text.split_once(':').unwrap();
            let (_, tag) = users.comparison(user, password.as_bytes()).unwrap();
            users.cached(user, &tag)
        };
        let edited = [
            stored[1].clone(),
            stored[0].clone(),
            ("new".to_owned(), hash("x", 4)),
        ];
        let edited = Users::new(&edited, Some(&users)).unwrap();
        assert_eq!(is_cached(&edited, "high:two"), Some(true));
        assert_eq!(is_cached(&edited, "low:no"), Some(false));
        let changed = [("high".to_owned(), hash("three", 4))];
        let changed = Users::new(&changed, Some(&users)).unwrap();
        assert_eq!(
            is_cached(&changed, "high:two"),
            None,
            "the hash has changed"
        );
        for text in all {
            let expected = Some(text == "high:two");
            assert_eq!(is_cached(&users, text), expected, "{text}");
        }
    }

    #[test]
    fn number_of_remembered_refusals_is_limited() {
        let users = Users::new(&[("a".to_owned(), hash("x", 4))], None).unwrap();
        for number in 0..MAX_REMEMBERED_REFUSALS + 10 {
            let (_, tag) = users
                .comparison("a", number.to_string().as_bytes())
                .unwrap();
            users.remember("a", tag, false);
        }
        let results = users.lock_results();
        assert_eq!(results.refused.len(), MAX_REMEMBERED_REFUSALS);
        assert_eq!(results.refused_order.len(), MAX_REMEMBERED_REFUSALS);
    }

    #[test]
    fn unknown_user_is_compared_with_hash_of_existing_user() {
        let stored = [
            ("a".to_owned(), hash("x", 4)),
            ("b".to_owned(), hash("x", 5)),
        ];
        let users = Users::new(&stored, None).unwrap();
        let hash_for = |name: &str| users.comparison(name, b"x").unwrap().0;
        let names: Vec<String> = (0..64).map(|number| format!("user{number}")).collect();
        for (_, stored_hash) in &stored {
            assert!(names.iter().any(|name| hash_for(name) == *stored_hash));
        }
        assert_eq!(hash_for("user1"), hash_for("user1"));
    }
}
