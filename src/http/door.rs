//! What every connection and every request passes first: TLS, how often, who, and the headers
//! that the owner wants on every answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::answer::text;
use super::auth::{Admission, Users};
use super::body::Pieces;
use super::routes::{HEALTHY, Site};
use super::scope::Scope;
use crate::config::{RateLimit, Web};

/// A web config in force.
pub(super) struct Door {
    /// `None`: plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Arc<Users>>,
    /// Of the users that may not look at all.
    scopes: HashMap<String, Scope>,
    bucket: Option<Bucket>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// Plain HTTP, open to everybody.
    pub(super) fn open() -> Self {
        Self {
            tls: None,
            headers: Vec::new(),
            users: None,
            scopes: HashMap::new(),
            bucket: None,
        }
    }

    /// As a checked file has it.
    pub(super) fn new(web: &Web, tls: Option<ServerConfig>) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, value) in &web.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.push((name, value));
        }
        let users = match web.users.is_empty() {
            true => None,
            false => {
                Some(Arc::new(Users::new(&web.users).map_err(|_| {
                    "this system has no random numbers".to_owned()
                })?))
            }
        };
        Ok(Self {
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            headers,
            users,
            scopes: web.scopes.iter().cloned().map(scope).collect(),
            bucket: web.rate_limit.map(Bucket::new),
        })
    }

    /// Each user's businesses that `known` does not know.
    pub(super) fn strangers<'a>(&'a self, known: &BTreeSet<Box<str>>) -> Vec<(&'a str, &'a str)> {
        let mut strangers = Vec::new();
        for (user, scope) in &self.scopes {
            if let Scope::Only(businesses) = scope {
                let unknown = businesses.iter().filter(|one| !known.contains(*one));
                strangers.extend(unknown.map(|business| (user.as_str(), business.as_ref())));
            }
        }
        strangers.sort_unstable();
        strangers
    }

    /// Answers a request, or refuses to.
    pub(super) async fn answer<B>(&self, site: &Site, request: &Request<B>) -> Response<Pieces> {
        let mut answer = self.admit(site, request).await;
        for (name, value) in &self.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer
    }

    async fn admit<B>(&self, site: &Site, request: &Request<B>) -> Response<Pieces> {
        if self.bucket.as_ref().is_some_and(|bucket| !bucket.take()) {
            return text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
        }
        let Some(users) = &self.users else {
            return site.respond(request, &Scope::All).await;
        };
        match users.admit(request.headers()).await {
            Admission::Welcome(user) => {
                let scope = self.scopes.get(&user).unwrap_or(&Scope::All);
                site.respond(request, scope).await
            }
            // That it is broken is told to everybody: `healthcheck` knows no password.
            _ if request.uri().path() == HEALTHY && !site.is_healthy() => {
                site.respond(request, &Scope::Only(BTreeSet::new())).await
            }
            Admission::Refused => {
                let mut answer = text(
                    StatusCode::UNAUTHORIZED,
                    "a name and a password are needed\n",
                );
                let basic = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
                answer
            }
            Admission::Busy => {
                let mut answer = text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many passwords are being looked at; try again\n",
                );
                answer
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                answer
            }
        }
    }
}

fn scope((user, businesses): (String, BTreeSet<Box<str>>)) -> (String, Scope) {
    (user, Scope::Only(businesses))
}

/// Tokens that grow back.
struct Bucket {
    limit: RateLimit,
    /// How many there are, and since when.
    tokens: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            tokens: Mutex::new((f64::from(limit.burst), Instant::now())),
        }
    }

    /// Whether there was one.
    fn take(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = tokens.1.elapsed().as_secs_f64() / self.limit.interval.as_secs_f64();
        let full = f64::from(self.limit.burst);
        *tokens = ((tokens.0 + grown).min(full), Instant::now());
        let there = tokens.0 >= 1.0;
        if there {
            tokens.0 -= 1.0;
        }
        there
    }
}
