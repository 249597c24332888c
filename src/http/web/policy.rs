//! Access policy of a web config: TLS, rate limit, authentication, business scopes, and the configured
//! response headers.
//!
//! The rate limit is a token bucket over all clients. It counts requests after authentication, so that
//! clients without credentials do not use it up, and never those of health checks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::scope::BusinessScope;
use super::tls::PemFiles;
use super::users::{AuthOutcome, Users};
use crate::config::{ClientAuth, RateLimit, TlsSettings, WebSettings};
use crate::http::body::ChunkedBody;
use crate::http::response::plain_text;
use crate::http::routes::AppState;

/// Access policy that a web config defines.
pub(in crate::http) struct AccessPolicy {
    /// `None`: plain HTTP.
    pub(in crate::http) tls: Option<TlsAcceptor>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Arc<Users>>,
    /// Scopes of users; a user without an entry has access to nothing. `None`: every user has access to
    /// all businesses.
    scopes: Option<HashMap<String, BusinessScope>>,
    /// What a client had to present to open a connection. A connection that was opened under other
    /// requirements is closed.
    pub(in crate::http) requirements: ConnectionRequirements,
    rate_limit: Option<TokenBucket>,
}

/// Requirements for opening a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum ConnectionRequirements {
    /// Plain HTTP.
    Plain,
    /// TLS, with this check of client certificates.
    Tls {
        client_auth: ClientAuth,
        client_ca: Vec<u8>,
        allowed_sans: Option<Vec<String>>,
    },
}

impl ConnectionRequirements {
    fn of(tls: Option<(&TlsSettings, &PemFiles)>) -> Self {
        match tls {
            None => Self::Plain,
            Some((tls, pem_files)) => Self::Tls {
                client_auth: tls.client_auth,
                client_ca: pem_files.client_ca.clone().unwrap_or_default(),
                allowed_sans: tls.client_allowed_sans.clone(),
            },
        }
    }
}

/// Number of users and kind of scopes, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSummary {
    /// Whether the server requires TLS.
    pub has_tls: bool,
    /// Whether a client certificate is required.
    pub has_client_certificates: bool,
    /// Number of users; 0: no authentication.
    pub users: usize,
    /// Whether `business_scopes` restricts users.
    pub has_scopes: bool,
}

impl std::fmt::Debug for AccessPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessPolicy")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl AccessPolicy {
    /// Returns the policy without a web config: plain HTTP, no authentication.
    pub(in crate::http) fn allow_all() -> Self {
        Self {
            tls: None,
            headers: Vec::new(),
            users: None,
            scopes: None,
            requirements: ConnectionRequirements::Plain,
            rate_limit: None,
        }
    }

    /// Creates the policy of a checked web config. Takes over results of password checks from
    /// `previous`.
    ///
    /// # Errors
    /// Returns an error if a header is invalid or the system's random number generator fails.
    pub(in crate::http) fn new(
        web: &WebSettings,
        tls: Option<ServerConfig>,
        pem_files: Option<&PemFiles>,
        previous: Option<&Self>,
    ) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, value) in &web.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.push((name, value));
        }
        let users = if web.users.is_empty() {
            None
        } else {
            let previous = previous.and_then(|policy| policy.users.as_deref());
            let users = Users::new(&web.users, previous)
                .map_err(|_| "the system's random number generator failed".to_owned())?;
            Some(Arc::new(users))
        };
        Ok(Self {
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            headers,
            users,
            scopes: web.scopes.as_ref().map(|scopes| {
                let scopes = scopes.iter();
                scopes
                    .map(|(user, scope)| (user.clone(), BusinessScope::of(scope)))
                    .collect()
            }),
            requirements: ConnectionRequirements::of(web.tls.as_ref().zip(pem_files)),
            rate_limit: web.rate_limit.map(TokenBucket::new),
        })
    }

    /// Returns what is in force, for the log.
    pub(in crate::http) fn summary(&self) -> AccessSummary {
        let auth = match &self.requirements {
            ConnectionRequirements::Plain => ClientAuth::None,
            ConnectionRequirements::Tls { client_auth, .. } => *client_auth,
        };
        AccessSummary {
            has_tls: self.tls.is_some(),
            has_client_certificates: auth >= ClientAuth::RequireAny,
            users: self.users.as_ref().map_or(0, |users| users.count()),
            has_scopes: self.scopes.is_some(),
        }
    }

    /// Returns pairs of a user and a business of its scope that is not in `known`, sorted.
    pub(in crate::http) fn unknown_businesses<'a>(
        &'a self,
        known: &BTreeSet<Box<str>>,
    ) -> Vec<(&'a str, &'a str)> {
        let mut pairs = Vec::new();
        for (user, scope) in self.scopes.iter().flatten() {
            if let BusinessScope::Only(businesses) = scope {
                let unknown = businesses
                    .iter()
                    .filter(|business| !known.contains(*business));
                pairs.extend(unknown.map(|business| (user.as_str(), business.as_ref())));
            }
        }
        pairs.sort_unstable();
        pairs
    }

    /// Responds to a request if the policy allows it, otherwise with an error.
    pub(in crate::http) async fn respond<B>(
        &self,
        app_state: &AppState,
        request: &Request<B>,
        peer: IpAddr,
    ) -> Response<ChunkedBody> {
        let mut response = self.authorize(app_state, request, peer).await;
        for (name, value) in &self.headers {
            // As in exporter-toolkit, a header of the page itself takes precedence.
            let entry = response.headers_mut().entry(name);
            entry.or_insert_with(|| value.clone());
        }
        response
    }

    async fn authorize<B>(
        &self,
        app_state: &AppState,
        request: &Request<B>,
        peer: IpAddr,
    ) -> Response<ChunkedBody> {
        let user = match &self.users {
            None => None,
            Some(users) => match users.authenticate(request.headers(), peer).await {
                AuthOutcome::Granted(user) => Some(user),
                // An unhealthy exporter reports that without authentication: probes such as
                // `healthcheck` have no credentials, and count 401 as healthy.
                AuthOutcome::Refused
                    if app_state.is_health_check(request.uri().path())
                        && !app_state.is_healthy() =>
                {
                    return app_state.respond(request, &BusinessScope::none()).await;
                }
                AuthOutcome::Refused => return refused(app_state, peer),
            },
        };
        let scope = match (&self.scopes, user) {
            (Some(scopes), Some(user)) => match scopes.get(&user) {
                Some(scope) => scope,
                None => {
                    return plain_text(
                        StatusCode::FORBIDDEN,
                        "this user has access to no business; add it to business_scopes\n",
                    );
                }
            },
            _ => &BusinessScope::All,
        };
        let is_limited = self
            .rate_limit
            .as_ref()
            .is_some_and(|bucket| !bucket.try_acquire(request.uri().path(), app_state));
        if is_limited {
            return plain_text(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
        }
        app_state.respond(request, scope).await
    }
}

fn refused(app_state: &AppState, peer: IpAddr) -> Response<ChunkedBody> {
    app_state.self_metrics.server.record_auth_failure();
    if let Some(refusals) = app_state.refusals.record(peer, Instant::now()) {
        tracing::warn!(%peer, refusals, "login refused");
    }
    let mut response = plain_text(
        StatusCode::UNAUTHORIZED,
        "user name and password required\n",
    );
    let basic = HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, basic);
    response
}

/// Token bucket: `burst` tokens at most, refilled by one per `interval`.
struct TokenBucket {
    limit: RateLimit,
    level: Mutex<BucketLevel>,
}

struct BucketLevel {
    tokens: f64,
    updated_at: Instant,
}

impl TokenBucket {
    fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            level: Mutex::new(BucketLevel {
                tokens: f64::from(limit.burst),
                updated_at: Instant::now(),
            }),
        }
    }

    /// Takes a token for a request, or returns false if the bucket is empty. Probes need no token.
    fn try_acquire(&self, path: &str, app_state: &AppState) -> bool {
        if app_state.is_probe(path) {
            return true;
        }
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = level.updated_at.elapsed().as_secs_f64() / self.limit.interval.as_secs_f64();
        level.tokens = (level.tokens + refilled).min(f64::from(self.limit.burst));
        level.updated_at = Instant::now();
        let is_available = level.tokens >= 1.0;
        if is_available {
            level.tokens -= 1.0;
        }
        is_available
    }
}
