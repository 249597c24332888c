//! Who may ask: users with bcrypt hashes, over basic auth.
//!
//! A hash costs a tenth of a second or more, so it is computed on a thread of its own, one at a
//! time; a password that was right once is not hashed again. A refusal takes as long for a name
//! that nobody has as for one that somebody has.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use hyper::header::{self, HeaderMap};
use ring::hmac;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Requests that wait for a hash at a time: whoever guesses takes no more than this from others.
const WAITING: usize = 32;

/// How long they wait at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest password that is looked at; bcrypt itself stops after 72 bytes.
const LONGEST: usize = 1024;

/// What an unknown user's password is hashed with.
const SALT: [u8; 16] = *b"nobody has this!";

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is answered, as that user's.
    Welcome(String),
    /// It has no right name and password.
    Refused,
    /// Too many others are being looked at.
    Busy,
}

/// The users of one web config file.
pub(super) struct Users {
    hashes: HashMap<String, String>,
    /// The dearest of them.
    cost: u32,
    /// Of each user, the password that was right last, as a tag that only this process can make.
    verified: Mutex<HashMap<String, hmac::Tag>>,
    key: hmac::Key,
    waiting: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hashes.keys()).finish()
    }
}

impl Users {
    /// Names and bcrypt hashes, which are known to be such.
    pub(super) fn new(users: &[(String, String)]) -> Result<Self, ring::error::Unspecified> {
        let cost = |hash: &String| hash.split('$').nth(2)?.parse().ok();
        Ok(Self {
            cost: users
                .iter()
                .filter_map(|(_, hash)| cost(hash))
                .max()
                .unwrap_or(10),
            hashes: users.iter().cloned().collect(),
            verified: Mutex::default(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())?,
            waiting: Arc::new(Semaphore::new(WAITING)),
            hashing: Arc::new(Semaphore::new(1)),
        })
    }

    /// Decides about a request by its headers.
    pub(super) async fn admit(self: &Arc<Self>, headers: &HeaderMap) -> Admission {
        let Some((user, password)) = credentials(headers) else {
            return Admission::Refused;
        };
        if self.remembers(&user, &password) {
            return Admission::Welcome(user);
        }
        let Ok(waiting) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return Admission::Busy;
        };
        let hashing = timeout(PATIENCE, Arc::clone(&self.hashing).acquire_owned()).await;
        let Ok(Ok(hashing)) = hashing else {
            return Admission::Busy;
        };
        // While this waited, another connection of the same scraper may have been let in.
        if self.remembers(&user, &password) {
            return Admission::Welcome(user);
        }
        let users = Arc::clone(self);
        // Once begun it runs to its end, whether or not the client stays.
        let verified = spawn_blocking(move || {
            let right = users.verify(&user, &password);
            drop((hashing, waiting));
            right.then_some(user)
        });
        match verified.await {
            Ok(Some(user)) => Admission::Welcome(user),
            _ => Admission::Refused,
        }
    }

    fn remembers(&self, user: &str, password: &[u8]) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let tag = verified.get(user);
        tag.is_some_and(|tag| hmac::verify(&self.key, password, tag.as_ref()).is_ok())
    }

    fn verify(&self, user: &str, password: &[u8]) -> bool {
        let hash = self.hashes.get(user);
        if hash.is_some_and(|hash| bcrypt::verify(password, hash).unwrap_or(false)) {
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            verified.insert(user.to_owned(), hmac::sign(&self.key, password));
            return true;
        }
        // Each step of the cost doubles the work: c, and c to the dearest less one, are together
        // as much as the dearest alone.
        let own = hash.and_then(|hash| hash.split('$').nth(2)?.parse().ok());
        let more = own.map_or(self.cost..self.cost + 1, |own: u32| own..self.cost);
        for cost in more {
            let wasted = bcrypt::hash_with_salt_bytes(password, cost, SALT);
            drop(std::hint::black_box(wasted));
        }
        false
    }
}

/// Name and password of basic auth.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // Padded or not.
    let encoded = encoded.trim().trim_end_matches('=');
    let decoded = BASE64_STANDARD_NO_PAD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    let password = password
        .get(1..)
        .filter(|password| password.len() <= LONGEST)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    use super::{Admission, Users, credentials};

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn basic_auth_is_read_as_others_write_it() {
        let alice = Some(("alice".to_owned(), b"pass:word".to_vec()));
        assert_eq!(credentials(&headers("Basic YWxpY2U6cGFzczp3b3Jk")), alice);
        assert_eq!(credentials(&headers("basic YWxpY2U6cGFzczp3b3Jk=")), alice);
        for wrong in ["Bearer YWxpY2U6", "Basic", "Basic YWxpY2U", "Basic a_b"] {
            assert_eq!(credentials(&headers(wrong)), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_password_is_hashed_once_and_a_refusal_costs_the_same_for_all() {
        let hash = |password: &str, cost| bcrypt::hash(password, cost).unwrap();
        let users = [
            ("cheap".to_owned(), hash("one", 6)),
            ("dear".to_owned(), hash("two", 10)),
        ];
        let users = Arc::new(Users::new(&users).unwrap());
        let timed = async |value| {
            let begun = Instant::now();
            let admission = users.admit(&headers(value)).await;
            (admission, begun.elapsed())
        };
        // dear:two
        let (first, hashed) = timed("Basic ZGVhcjp0d28=").await;
        let (second, remembered) = timed("Basic ZGVhcjp0d28=").await;
        let dear = Admission::Welcome("dear".to_owned());
        assert_eq!((&first, &second), (&dear, &dear));
        assert!(remembered < hashed / 4, "{remembered:?} {hashed:?}");
        // cheap:no, dear:no, other:no
        for wrong in [
            "Basic Y2hlYXA6bm8=",
            "Basic ZGVhcjpubw==",
            "Basic b3RoZXI6bm8=",
        ] {
            let (admission, took) = timed(wrong).await;
            assert_eq!(admission, Admission::Refused);
            assert!(took > hashed / 3, "{wrong}: {took:?} {hashed:?}");
        }
        assert_eq!(users.admit(&HeaderMap::new()).await, Admission::Refused);
    }
}
