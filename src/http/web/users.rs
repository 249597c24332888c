//! HTTP basic authentication of users with bcrypt hashes.
//!
//! A bcrypt hash takes a tenth of a second or more, so hashes are computed on a blocking thread, one
//! at a time, in the order of `fair_queue`, and results are cached: valid and invalid passwords cost
//! one hash each. A password of an unknown user is compared with the hash of an existing user that
//! depends on the name, and waits in the queue as that of a known user does, so that response times
//! do not reveal which names exist.

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
use crate::config::PasswordHash;

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

/// HMAC-SHA256 of a user name, whether the user exists, the hash and a password.
type CredentialTag = [u8; 32];

/// Users of the web config and of the businesses.
pub(in crate::http) struct Users {
    /// Names and bcrypt hashes, sorted by name.
    hashes: Vec<(String, PasswordHash)>,
    results: Mutex<CachedResults>,
    /// Key of this process, so that the cache contains no password.
    hmac_key: hmac::Key,
    /// Clients take turns, and so do the user names of one client.
    queue: Arc<FairQueue<IpAddr, String>>,
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
    /// Creates users from names and hashes. Takes over the results of `previous`, except those of users
    /// that no longer exist.
    ///
    /// # Errors
    /// Returns an error if the system's random number generator fails.
    pub(in crate::http) fn new(
        mut hashes: Vec<(String, PasswordHash)>,
        previous: Option<&Self>,
    ) -> Result<Self, ring::error::Unspecified> {
        let (hmac_key, mut results, queue) = match previous {
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
        hashes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        results
            .accepted
            .retain(|name, _| hash_of(&hashes, name).is_some());
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
        let is_known = hash_of(&self.hashes, &user).is_some();
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
        let permit = self.queue.acquire(peer, user.clone()).await;
        // Another request of the same client may have passed the check in the meantime.
        if let Some(is_valid) = self.cached(&user, &tag) {
            return outcome(is_valid, &user);
        }
        let users = Arc::clone(self);
        let name = user.clone();
        // Blocking tasks are not cancelled, so the permit is released by the task even if the client
        // disconnects.
        let check = spawn_blocking(move || {
            let is_equal = bcrypt::verify(password, hash.as_str()).unwrap_or(false);
            let is_valid = is_equal && is_known;
            users.remember(&name, tag, is_valid);
            drop(permit);
            is_valid
        });
        outcome(check.await.unwrap_or(false), &user)
    }

    /// Returns the hash to compare the password with, and the tag of the credentials.
    fn comparison(&self, user: &str, password: &[u8]) -> Option<(PasswordHash, CredentialTag)> {
        let known_hash = hash_of(&self.hashes, user);
        let hash = match known_hash {
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
        // The user may have been removed, and the hash that is compared instead may be the same.
        let existence: &[u8] = if known_hash.is_some() { b"1" } else { b"0" };
        let hash_text = hash.as_str().as_bytes();
        for part in [
            user.as_bytes(),
            b"\0",
            existence,
            hash_text,
            b"\0",
            password,
        ] {
            context.update(part);
        }
        let tag = context.sign().as_ref().first_chunk().copied()?;
        Some((hash.clone(), tag))
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

/// Returns the hash of a user in a list that is sorted by name.
fn hash_of<'a>(hashes: &'a [(String, PasswordHash)], user: &str) -> Option<&'a PasswordHash> {
    let user_idx = hashes.binary_search_by(|(name, _)| name.as_str().cmp(user));
    hashes.get(user_idx.ok()?).map(|(_, hash)| hash)
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
    use tokio::task::yield_now;

    use super::{AuthOutcome, MAX_REMEMBERED_REFUSALS, Users, credentials};
    use crate::config::PasswordHash;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    fn basic(credentials: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64_STANDARD.encode(credentials)))
    }

    fn hash(password: &str, cost: u32) -> PasswordHash {
        PasswordHash::parse(&bcrypt::hash(password, cost).unwrap()).unwrap()
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
        let users = Arc::new(Users::new(stored.to_vec(), None).unwrap());
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
        let edited = Users::new(edited.to_vec(), Some(&users)).unwrap();
        assert_eq!(is_cached(&edited, "high:two"), Some(true));
        assert_eq!(is_cached(&edited, "low:no"), Some(false));
        let changed = [("high".to_owned(), hash("three", 4))];
        let changed = Users::new(changed.to_vec(), Some(&users)).unwrap();
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
        let users = Users::new(vec![("a".to_owned(), hash("x", 4))], None).unwrap();
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

    #[tokio::test]
    async fn removed_user_with_hash_of_another_is_refused() {
        let shared = hash("one", 4);
        let names = ["kept", "removed"].map(|name| (name.to_owned(), shared.clone()));
        let users = Arc::new(Users::new(names.to_vec(), None).unwrap());
        let credentials = basic("removed:one");
        let granted = AuthOutcome::Granted("removed".to_owned());
        assert_eq!(users.authenticate(&credentials, PEER).await, granted);
        let others = vec![names[0].clone()];
        let users = Arc::new(Users::new(others, Some(&users)).unwrap());
        // The unknown user is compared with the only hash, for which the password is valid.
        let outcome = users.authenticate(&credentials, PEER).await;
        assert_eq!(outcome, AuthOutcome::Refused);
        assert!(
            !users.lock_results().accepted.contains_key("removed"),
            "result should be removed with the user"
        );
        let users = Arc::new(Users::new(names.to_vec(), Some(&users)).unwrap());
        assert_eq!(users.authenticate(&credentials, PEER).await, granted);
    }

    #[tokio::test]
    async fn unknown_user_waits_as_long_as_known_user() {
        // The order in which waiting passwords are checked is the same for both.
        let mut orders = Vec::new();
        for probed in ["known", "unknown"] {
            let stored = vec![("known".to_owned(), hash("x", 4))];
            let users = Arc::new(Users::new(stored, None).unwrap());
            let first = users.queue.acquire(PEER, String::new()).await;
            let waiting = ["a", "a", "b", probed, "a", probed];
            let mut tasks = Vec::new();
            let mut tags = Vec::new();
            for (number, name) in waiting.into_iter().enumerate() {
                let password = number.to_string();
                tags.push(users.comparison(name, password.as_bytes()).unwrap().1);
                let users = Arc::clone(&users);
                let credentials = basic(&format!("{name}:{password}"));
                tasks.push(tokio::spawn(async move {
                    users.authenticate(&credentials, PEER).await
                }));
                yield_now().await;
            }
            drop(first);
            for task in tasks {
                assert_eq!(task.await.unwrap(), AuthOutcome::Refused);
            }
            let results = users.lock_results();
            let number = |tag| tags.iter().position(|other| other == tag).unwrap();
            orders.push(results.refused_order.iter().map(number).collect::<Vec<_>>());
        }
        assert_eq!(orders[0], [0, 2, 3, 1, 5, 4]);
        assert_eq!(
            orders[1], orders[0],
            "unknown user should wait as a known one"
        );
    }

    #[test]
    fn unknown_user_is_compared_with_hash_of_existing_user() {
        let stored = [
            ("a".to_owned(), hash("x", 4)),
            ("b".to_owned(), hash("x", 5)),
        ];
        let users = Users::new(stored.to_vec(), None).unwrap();
        let hash_for = |name: &str| users.comparison(name, b"x").unwrap().0;
        let names: Vec<String> = (0..64).map(|number| format!("user{number}")).collect();
        for (_, stored_hash) in &stored {
            assert!(names.iter().any(|name| hash_for(name) == *stored_hash));
        }
        assert_eq!(hash_for("user1"), hash_for("user1"));
    }
}
