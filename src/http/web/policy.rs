//! Access policy of a web config: TLS, rate limit, authentication, business scopes, and the configured
//! response headers.
//!
//! The rate limit is a token bucket over all clients. It counts requests after authentication, so that
//! clients without credentials do not use it up, and never those of health checks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::scope::BusinessScope;
use super::tls::PemFiles;
use super::users::{AuthOutcome, Users};
use crate::config::{BusinessUser, ClientAuth, PasswordHash, RateLimit, TlsSettings, WebSettings};
use crate::http::body::ChunkedBody;
use crate::http::response::plain_text;
use crate::http::routes::AppState;

/// Access policy that a web config defines.
pub(in crate::http) struct AccessPolicy {
    /// `None`: plain HTTP.
    pub(in crate::http) tls: Option<TlsAcceptor>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Users of the web config and of the businesses; `None`: no authentication.
    users: Option<Arc<Users>>,
    /// Users of the web config.
    web_config_users: Vec<(String, PasswordHash)>,
    /// Scopes of users of the web config; a user without an entry has access to nothing. `None`: every
    /// user has access to all businesses.
    scopes: Option<HashMap<String, BusinessScope>>,
    /// Scopes of the users of businesses.
    business_scopes: HashMap<String, BusinessScope>,
    /// What a client had to present to open a connection. A connection that was opened under other
    /// requirements is closed.
    pub(in crate::http) requirements: ConnectionRequirements,
    rate_limit: Option<Arc<TokenBucket>>,
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
    /// Number of users of the web config; 0: no authentication.
    pub users: usize,
    /// Number of users of businesses.
    pub business_users: usize,
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
            web_config_users: Vec::new(),
            scopes: None,
            business_scopes: HashMap::new(),
            requirements: ConnectionRequirements::Plain,
            rate_limit: None,
        }
    }

    /// Creates the policy of a checked web config, without users: see [`Self::with_users`].
    ///
    /// # Errors
    /// Returns an error if a header is invalid.
    pub(in crate::http) fn new(
        web: &WebSettings,
        tls: Option<ServerConfig>,
        pem_files: Option<&PemFiles>,
    ) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, value) in &web.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.push((name, value));
        }
        Ok(Self {
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            headers,
            users: None,
            web_config_users: web.users.clone(),
            scopes: web.scopes.as_ref().map(|scopes| {
                let scopes = scopes.iter();
                scopes
                    .map(|(user, scope)| (user.clone(), BusinessScope::of(scope)))
                    .collect()
            }),
            business_scopes: HashMap::new(),
            requirements: ConnectionRequirements::of(web.tls.as_ref().zip(pem_files)),
            rate_limit: web
                .rate_limit
                .map(|limit| Arc::new(TokenBucket::new(limit))),
        })
    }

    /// Returns the policy with the users of its web config and these users of businesses. Takes over
    /// results of password checks from `previous`.
    ///
    /// # Errors
    /// Returns an error if the system's random number generator fails.
    pub(in crate::http) fn with_users(
        &self,
        business_users: &[BusinessUser],
        previous: Option<&Self>,
    ) -> Result<Self, String> {
        let mut hashes = self.web_config_users.clone();
        hashes.extend(
            business_users
                .iter()
                .map(|user| (user.name.clone(), user.hash.clone())),
        );
        let users = if hashes.is_empty() {
            None
        } else {
            let previous = previous.and_then(|policy| policy.users.as_deref());
            let users = Users::new(hashes, previous)
                .map_err(|_| "the system's random number generator failed".to_owned())?;
            Some(Arc::new(users))
        };
        let business_scopes = business_users.iter().map(|user| {
            let scope = BusinessScope::Only(BTreeSet::from([user.business.clone()]));
            (user.name.clone(), scope)
        });
        Ok(Self {
            tls: self.tls.clone(),
            headers: self.headers.clone(),
            users,
            web_config_users: self.web_config_users.clone(),
            scopes: self.scopes.clone(),
            business_scopes: business_scopes.collect(),
            requirements: self.requirements.clone(),
            rate_limit: self.rate_limit.clone(),
        })
    }

    /// Returns the users of the web config.
    pub(in crate::http) fn web_config_users(&self) -> &[(String, PasswordHash)] {
        &self.web_config_users
    }

    /// Returns the businesses that a user has access to; `None`: nothing.
    fn scope_of(&self, user: &str) -> Option<&BusinessScope> {
        if !self.web_config_users.iter().any(|(name, _)| name == user) {
            return self.business_scopes.get(user);
        }
        match &self.scopes {
            Some(scopes) => scopes.get(user),
            None => Some(&BusinessScope::All),
        }
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
            users: self.web_config_users.len(),
            business_users: self.business_scopes.len(),
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

    /// Checks the credentials of a request; `None` if the policy requires none.
    pub(in crate::http) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Option<AuthOutcome> {
        match &self.users {
            None => None,
            Some(users) => Some(users.authenticate(headers, peer).await),
        }
    }

    /// Responds to a request with the result of its authentication, if the policy allows it, otherwise
    /// with an error.
    pub(in crate::http) async fn respond<B>(
        &self,
        app_state: &AppState,
        request: &Request<B>,
        peer: IpAddr,
        login: Option<AuthOutcome>,
    ) -> Response<ChunkedBody> {
        let mut response = self.authorize(app_state, request, peer, login).await;
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
        login: Option<AuthOutcome>,
    ) -> Response<ChunkedBody> {
        let scope = match login {
            None => &BusinessScope::All,
            Some(AuthOutcome::Granted(user)) => match self.scope_of(&user) {
                Some(scope) => scope,
                None => {
                    return plain_text(
                        StatusCode::FORBIDDEN,
                        "this user has access to no business; add it to business_scopes\n",
                    );
                }
            },
            // An unhealthy exporter reports that without authentication: probes such as
            // `healthcheck` have no credentials, and count 401 as healthy.
            Some(AuthOutcome::Refused)
                if app_state.is_health_check(request.uri().path()) && !app_state.is_healthy() =>
            {
                return app_state.respond(request, &BusinessScope::none()).await;
            }
            Some(AuthOutcome::Refused) => return refused(app_state, peer),
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
