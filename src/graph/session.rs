//! Requests of one poll or command: rate-limited, retried, and each reported.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::client::{ApiRequest, ApiResponse, Client, Credentials};
use super::error::ApiError;
use super::error_body;
use super::limiter::deadline;
use super::limiter::{PollDeadline, RateLimiter, RequestKind, RequestScope};
use super::retry;
use super::usage::UsageHeaders;

/// Bytes of a body from which secrets are removed before its beginning is quoted. Far more than are
/// quoted, so that a secret that is cut at the end is not.
const MAX_REDACTED_BYTES: usize = 64 * 1024;

/// Kind of a request, the value of the `endpoint` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Insights of an ad account or a campaign.
    Insights,
    /// Campaigns of an ad account.
    Campaigns,
    /// Ads of an ad account or a campaign.
    Ads,
    /// Ad sets of an ad account or a campaign.
    Adsets,
    /// Properties of an ad account.
    Account,
    /// Properties of the node behind a configured campaign id, which can also be an ad.
    Campaign,
    /// Properties of an access token.
    DebugToken,
}

impl Endpoint {
    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insights => "insights",
            Self::Campaigns => "campaigns",
            Self::Ads => "ads",
            Self::Adsets => "adsets",
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::DebugToken => "debug_token",
        }
    }

    /// Returns the kind of the request, which determines its limits.
    fn kind(self) -> RequestKind {
        match self {
            Self::Insights => RequestKind::Insights,
            Self::DebugToken => RequestKind::Token,
            Self::Campaigns | Self::Ads | Self::Adsets | Self::Account | Self::Campaign => {
                RequestKind::Management
            }
        }
    }
}

/// Result of one HTTP request, for metrics and logs.
#[derive(Debug)]
pub struct CallRecord<'a> {
    /// Kind of the request.
    pub endpoint: Endpoint,
    /// Time from sending the request to the end of the response, without waiting for the limiter.
    pub duration: Duration,
    /// Error; `None` if the response was decoded.
    pub error: Option<&'a ApiError>,
    /// Usage headers of the response.
    pub headers: &'a UsageHeaders,
}

/// API access on behalf of one source.
#[derive(Clone, Debug)]
pub struct ApiCaller {
    /// Connections to the API.
    pub client: Client,
    /// Access token and app secret of the business.
    pub credentials: Credentials,
    /// Rate limiter that every request passes.
    pub limiter: Arc<RateLimiter>,
    /// Scope that determines which pauses and quotas apply.
    pub scope: RequestScope,
}

/// Requests of one caller, with their limits.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Caller that sends the requests.
    pub caller: &'a ApiCaller,
    /// Deadline of the poll; `None` for commands.
    pub deadline: Option<&'a PollDeadline>,
    /// Maximum attempts of one request, at least 1.
    pub max_attempts: u32,
    /// Called after every HTTP request.
    pub on_call: &'a (dyn Fn(&CallRecord<'_>) + Send + Sync),
}

impl Session<'_> {
    /// Sends a GET request and decodes its response with `decode`, with retries. Insights queries that may be too
    /// heavy are not retried, so that the caller can send a lighter one.
    ///
    /// # Errors
    /// Returns the error of the last attempt. An error of `decode` is
    /// [`ErrorKind::InvalidResponse`](super::ErrorKind::InvalidResponse).
    pub(super) async fn get<T>(
        &self,
        endpoint: Endpoint,
        path: &str,
        params: &[(&str, String)],
        decode: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let is_final = |error: &ApiError| endpoint == Endpoint::Insights && error.may_be_heavy();
        retry::run(self.max_attempts, is_final, || {
            self.get_once(endpoint, path, params, &decode)
        })
        .await
    }

    async fn get_once<T>(
        &self,
        endpoint: Endpoint,
        path: &str,
        params: &[(&str, String)],
        decode: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let permit = self
            .caller
            .limiter
            .acquire(&self.caller.scope, endpoint.kind(), self.deadline)
            .await?;
        let start = Instant::now();
        let request = ApiRequest { path, params };
        let response = self.caller.client.send(&self.caller.credentials, request);
        let response = deadline::limit(self.deadline, response)
            .await
            .unwrap_or_else(ApiResponse::failed);
        let duration = start.elapsed();
        let result = response.body.and_then(|body: Bytes| {
            decode(&body).map_err(|message| {
                // Both can quote a secret.
                let redact = |text: &str| request.redact(&self.caller.credentials, text);
                let start = body.get(..MAX_REDACTED_BYTES).unwrap_or(&body);
                let start = redact(&String::from_utf8_lossy(start));
                ApiError::invalid_response(format!(
                    "{}, {}",
                    redact(&message),
                    error_body::quote(start.as_bytes())
                ))
            })
        });
        let result = result.map_err(|error| ApiError {
            wait: response.headers.retry_after.max(error.wait),
            ..error
        });
        let error = result.as_ref().err();
        permit.finish(error, &response.headers);
        (self.on_call)(&CallRecord {
            endpoint,
            duration,
            error,
            headers: &response.headers,
        });
        result
    }
}
