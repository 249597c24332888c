//! Errors of the API, classified by the reaction they need.
//!
//! The class follows from code, subcode, message and `is_transient`. HTTP status and `type` are not
//! reliable: throttling, invalid tokens and outages are all sent with status 400 and type
//! `OAuthException`. The status decides only if the body contains no error code. Sources: Meta's pages
//! "Error Handling", "Rate Limiting" and "Ads Insights API Error Codes".

use std::time::Duration;

use super::error_body::{self, BodyError};
use crate::model::{ErrorCause, ErrorReason, PollError};

/// Error code for a cursor that is not, or no longer, valid.
const INVALID_CURSOR: i64 = 2642;

/// Pause for abuse protection, which ends only after contact with Meta.
const ABUSE_PROTECTION_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Error of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// Class, which determines the reaction.
    pub kind: ErrorKind,
    /// Error for logs, metrics and status pages.
    pub error: PollError,
    /// Minimum pause, from the usage headers or the error code; `None` if not known.
    pub wait: Option<Duration>,
    /// Whether the response took too long, here or at a gateway.
    pub is_timeout: bool,
}

/// Class of an error, by the reaction it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Too many calls: the scope of the limit is paused.
    Throttled(ExceededLimit),
    /// Invalid token: the business is paused until its token changes.
    Unauthenticated,
    /// Missing permission: the source is paused.
    Forbidden,
    /// Missing or wrong app secret: the business is paused until its secrets change.
    Misconfigured,
    /// Invalid request: it is not retried, and polled less often.
    Rejected,
    /// Outage: the request is retried.
    Unavailable,
    /// Result too large: a smaller page is requested.
    TooLarge,
    /// The response cannot be decoded: the request is retried.
    InvalidResponse,
    /// The request was not sent, because its scope is paused.
    Paused,
}

/// Limit that an error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceededLimit {
    /// All requests of the app.
    App,
    /// The insights platform: the limit of the app, or of one ad account. Meta documents the former,
    /// and the latter occurs.
    Platform,
    /// All requests for the ad account.
    AdAccount,
    /// Insights of the ad account (business use case `ads_insights`).
    Insights,
    /// All other requests for the ad account (business use case `ads_management`).
    Management,
    /// No limit is named: requests of this kind for the ad account.
    Requested,
}

impl ApiError {
    /// Returns the error for a response that cannot be decoded. The message is truncated.
    pub fn invalid_response(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::InvalidResponse,
            // The message can quote the response.
            error: PollError::new(ErrorReason::InvalidResponse, truncate(message.into())),
            wait: None,
            is_timeout: false,
        }
    }

    /// Returns the error for an API that cannot be reached or reports an outage.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            error: PollError::new(ErrorReason::Unavailable, message),
            wait: None,
            is_timeout: false,
        }
    }

    /// Returns the error for a result that needs more than the allowed number of calls.
    pub(super) fn over_call_limit(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::TooLarge,
            error: PollError::new(ErrorReason::Unavailable, message),
            wait: None,
            is_timeout: false,
        }
    }

    /// Returns the error for a request that was not sent, because its scope is paused.
    pub(super) fn paused(error: PollError) -> Self {
        Self {
            kind: ErrorKind::Paused,
            error,
            wait: None,
            is_timeout: false,
        }
    }

    /// Whether a smaller insights query may succeed although the API reports no more than an outage: what
    /// takes too long, and code 1, which is also sent for large results.
    pub fn may_be_heavy(&self) -> bool {
        self.kind == ErrorKind::Unavailable && (self.is_timeout || self.error.code == Some(1))
    }

    /// Whether the cursor of a page is not, or no longer, valid: the list must start again.
    pub(super) fn is_expired_cursor(&self) -> bool {
        self.error.code == Some(INVALID_CURSOR)
    }

    /// Parses the error of a response, which can have any status; `None` if it has no error. Secrets
    /// must already be removed from the body.
    pub(super) fn from_response(head: ResponseHead<'_>, body: &[u8]) -> Option<Self> {
        match BodyError::find(body) {
            Some(error) => Some(error.classify(head, body)),
            None if (200..300).contains(&head.status) => None,
            None => Some(Self::from_status(head, body)),
        }
    }

    /// Returns the error for a response that states none in its body.
    fn from_status(head: ResponseHead<'_>, body: &[u8]) -> Self {
        let status = head.status;
        let quote = error_body::quote(body);
        let message = format!("HTTP status {status} without an `error` object, {quote}");
        let (kind, reason) = match status {
            _ if head.refuses_token() => (ErrorKind::Unauthenticated, ErrorReason::Unauthenticated),
            // A gateway that limits the size of URLs or headers.
            414 | 431 => (ErrorKind::TooLarge, ErrorReason::Rejected),
            429 => (
                ErrorKind::Throttled(ExceededLimit::Requested),
                ErrorReason::Throttled,
            ),
            408 | 500.. => (ErrorKind::Unavailable, ErrorReason::Unavailable),
            // Retries cannot help, and could worsen a block that is not known here.
            400..500 => (
                ErrorKind::Throttled(ExceededLimit::Requested),
                ErrorReason::InvalidResponse,
            ),
            _ => (ErrorKind::InvalidResponse, ErrorReason::InvalidResponse),
        };
        Self {
            kind,
            error: PollError::new(reason, truncate(message)),
            wait: None,
            is_timeout: status == 504,
        }
    }
}

/// Status and authentication challenge of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead<'a> {
    /// HTTP status.
    pub(super) status: u16,
    /// `WWW-Authenticate`, if present.
    pub(super) challenge: Option<&'a str>,
}

impl ResponseHead<'_> {
    /// Returns whether status or challenge refuse the access token. To be used for responses without
    /// a known error code: Meta sends the challenge with other errors too.
    fn refuses_token(self) -> bool {
        let is_oauth = |challenge: &str| {
            let scheme = challenge.trim_start().get(..5);
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("oauth"))
        };
        self.status == 401 || self.challenge.is_some_and(is_oauth)
    }
}

impl BodyError {
    fn classify(self, head: ResponseHead<'_>, body: &[u8]) -> ApiError {
        let message = self.message.as_deref().unwrap_or_default();
        let cause = ErrorCause::from_api(self.code, self.subcode, message);
        let (kind, reason) = match cause {
            _ if is_too_large(self.code, self.subcode, message) => {
                // Only reported where even the smallest request is too large: a later poll may succeed.
                (ErrorKind::TooLarge, ErrorReason::Unavailable)
            }
            Some(cause) if cause.reason() == ErrorReason::Throttled => (
                ErrorKind::Throttled(exceeded_limit(self.code, self.subcode)),
                ErrorReason::Throttled,
            ),
            Some(cause) => (kind_of(cause), cause.reason()),
            None => self.classify_unknown(head),
        };
        let wait = (cause == Some(ErrorCause::AbuseProtection)).then_some(ABUSE_PROTECTION_PAUSE);
        let message = match self.message {
            Some(message) => message,
            None if self.code.is_some() => "error without a message".to_owned(),
            None => format!(
                "HTTP status {} with an `error` of unknown shape, {}",
                head.status,
                error_body::quote(body)
            ),
        };
        ApiError {
            kind,
            error: PollError {
                reason,
                code: self.code,
                subcode: self.subcode,
                message: truncate(message),
                fbtrace_id: self.fbtrace_id.map(truncate),
            },
            wait,
            is_timeout: head.status == 504,
        }
    }

    /// Classifies an error without a known code.
    fn classify_unknown(&self, head: ResponseHead<'_>) -> (ErrorKind, ErrorReason) {
        const UNAVAILABLE: (ErrorKind, ErrorReason) =
            (ErrorKind::Unavailable, ErrorReason::Unavailable);
        if self.is_transient {
            return UNAVAILABLE;
        }
        if head.refuses_token() {
            return (ErrorKind::Unauthenticated, ErrorReason::Unauthenticated);
        }
        match (self.code, head.status) {
            (_, 500..) => UNAVAILABLE,
            (Some(_), _) => (ErrorKind::Rejected, ErrorReason::Rejected),
            // OAuth errors; a gateway can use the same shape for these statuses.
            (None, status) if self.is_text && !matches!(status, 404 | 405 | 408 | 429) => {
                (ErrorKind::Unauthenticated, ErrorReason::Unauthenticated)
            }
            (None, 400..500) => (
                ErrorKind::Throttled(ExceededLimit::Requested),
                ErrorReason::InvalidResponse,
            ),
            (None, _) => (ErrorKind::InvalidResponse, ErrorReason::InvalidResponse),
        }
    }
}

/// Returns whether a smaller request can succeed. The message decides where Meta has no stable code:
/// "reduce the amount of data" is sent with several codes.
fn is_too_large(code: Option<i64>, subcode: Option<i64>, message: &str) -> bool {
    match (code, subcode) {
        // The limit of the insights platform, which also pauses.
        (Some(4), _) => false,
        (Some(100), Some(1_487_534)) => true,
        (_, Some(1_504_018 | 1_504_022 | 1_504_038 | 1_504_039 | 1_504_043 | 1_504_044)) => true,
        _ => message
            .to_ascii_lowercase()
            .contains("reduce the amount of data"),
    }
}

/// Returns the limit that a code of a throttled request names.
fn exceeded_limit(code: Option<i64>, subcode: Option<i64>) -> ExceededLimit {
    match (code, subcode) {
        (Some(4), Some(1_504_022 | 1_504_039)) => ExceededLimit::Platform,
        (Some(4 | 341), _) => ExceededLimit::App,
        (Some(80_000), _) => ExceededLimit::Insights,
        (Some(80_004), _) => ExceededLimit::Management,
        // Other business use cases, none of which the exporter requests.
        (Some(80_001..=80_014), _) => ExceededLimit::Requested,
        _ => ExceededLimit::AdAccount,
    }
}

/// Returns the reaction that a cause needs.
fn kind_of(cause: ErrorCause) -> ErrorKind {
    match cause.reason() {
        ErrorReason::Throttled => ErrorKind::Throttled(ExceededLimit::Requested),
        ErrorReason::Unauthenticated => ErrorKind::Unauthenticated,
        ErrorReason::Forbidden => ErrorKind::Forbidden,
        ErrorReason::Misconfigured => ErrorKind::Misconfigured,
        ErrorReason::Rejected => ErrorKind::Rejected,
        ErrorReason::Unavailable => ErrorKind::Unavailable,
        ErrorReason::InvalidResponse | ErrorReason::Panicked => ErrorKind::InvalidResponse,
    }
}

/// Truncates text from a response, which is used in logs and status pages.
fn truncate(text: String) -> String {
    const MAX_MESSAGE_CHARS: usize = 500;
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{ABUSE_PROTECTION_PAUSE, ApiError, ErrorKind, ExceededLimit, ResponseHead};
    use crate::model::ErrorReason;

    fn response(status: u16, challenge: Option<&str>, body: &str) -> Option<ApiError> {
        ApiError::from_response(ResponseHead { status, challenge }, body.as_bytes())
    }

    fn kind_of(status: u16, error: &str) -> ErrorKind {
        let body = format!(r#"{{"error":{error}}}"#);
        response(status, None, &body).unwrap().kind
    }

    #[test]
    fn kind_follows_from_code_subcode_and_transience() {
        let throttled = ErrorKind::Throttled(ExceededLimit::AdAccount);
        let requested = ErrorKind::Throttled(ExceededLimit::Requested);
        for (status, error, kind) in [
            (
                400,
                r#"{"code":4,"is_transient":true}"#,
                ErrorKind::Throttled(ExceededLimit::App),
            ),
            (
                403,
                r#"{"code":"4"}"#,
                ErrorKind::Throttled(ExceededLimit::App),
            ),
            (
                400,
                r#"{"code":341}"#,
                ErrorKind::Throttled(ExceededLimit::App),
            ),
            (
                400,
                r#"{"code":17,"error_subcode":2446079,"is_transient":false}"#,
                throttled,
            ),
            (400, r#"{"code":613}"#, throttled),
            (400, r#"{"code":368}"#, throttled),
            (
                400,
                r#"{"code":80000}"#,
                ErrorKind::Throttled(ExceededLimit::Insights),
            ),
            (
                400,
                r#"{"code":80004}"#,
                ErrorKind::Throttled(ExceededLimit::Management),
            ),
            (400, r#"{"code":80014}"#, requested),
            (
                400,
                r#"{"code":190,"error_subcode":463,"type":"OAuthException"}"#,
                ErrorKind::Unauthenticated,
            ),
            (401, r#"{"code":102}"#, ErrorKind::Unauthenticated),
            (403, r#"{"code":200}"#, ErrorKind::Forbidden),
            (400, r#"{"code":10}"#, ErrorKind::Forbidden),
            (
                400,
                r#"{"code":100,"error_subcode":33}"#,
                ErrorKind::Forbidden,
            ),
            (400, r#"{"code":100}"#, ErrorKind::Rejected),
            (400, r#"{"code":3018}"#, ErrorKind::Rejected),
            (400, r#"{"code":99999}"#, ErrorKind::Rejected),
            (
                400,
                r#"{"code":99999,"is_transient":true}"#,
                ErrorKind::Unavailable,
            ),
            (
                400,
                r#"{"code":2,"is_transient":true}"#,
                ErrorKind::Unavailable,
            ),
            (
                500,
                r#"{"code":1,"message":"An unknown error occurred"}"#,
                ErrorKind::Unavailable,
            ),
            (
                500,
                r#"{"code":1,"message":"Please reduce the amount of data you're asking for"}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":100,"error_subcode":1487534}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":-2,"error_subcode":1504018}"#,
                ErrorKind::TooLarge,
            ),
            (200, r#"{"code":190}"#, ErrorKind::Unauthenticated),
            (200, r#"{}"#, ErrorKind::InvalidResponse),
            (400, r#"{}"#, requested),
            (400, r#"{"code":[1],"message":{"a":1}}"#, requested),
            (
                403,
                r#"{"code":4,"error_subcode":1504022}"#,
                ErrorKind::Throttled(ExceededLimit::Platform),
            ),
            (
                400,
                r#"{"code":2,"error_subcode":1504044}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":2,"error_subcode":1504038}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":2,"error_subcode":1504043}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":2,"error_subcode":1504022}"#,
                ErrorKind::TooLarge,
            ),
            (
                400,
                r#"{"code":2,"error_subcode":1504041}"#,
                ErrorKind::Rejected,
            ),
            (400, r#"{"code":3}"#, ErrorKind::Forbidden),
            (400, r#"{"code":415}"#, ErrorKind::Forbidden),
            (
                400,
                r#"{"code":100,"error_subcode":3191001}"#,
                ErrorKind::Forbidden,
            ),
            (
                400,
                r##"{"code":100,"message":"(#100) Unsupported get request. Please read"}"##,
                ErrorKind::Forbidden,
            ),
            (
                400,
                r##"{"code":100,"message":"(#100) Missing perms"}"##,
                ErrorKind::Forbidden,
            ),
            (
                400,
                r#"{"code":100,"message":"API calls from the server require an appsecret_proof argument"}"#,
                ErrorKind::Misconfigured,
            ),
            (401, r#"{"code":99999}"#, ErrorKind::Unauthenticated),
            (401, r#"{"code":17}"#, throttled),
        ] {
            assert_eq!(kind_of(status, error), kind, "{status} {error}");
        }
    }

    #[test]
    fn status_decides_without_an_error_object() {
        let throttled = ErrorKind::Throttled(ExceededLimit::Requested);
        assert_eq!(response(200, None, "{\"data\":[]}"), None);
        for (status, body, kind, reason) in [
            (
                503,
                "Service Unavailable",
                ErrorKind::Unavailable,
                ErrorReason::Unavailable,
            ),
            (404, "<html>", throttled, ErrorReason::InvalidResponse),
            (403, "Forbidden", throttled, ErrorReason::InvalidResponse),
            (400, "", throttled, ErrorReason::InvalidResponse),
            (429, "slow down", throttled, ErrorReason::Throttled),
            (414, "<html>", ErrorKind::TooLarge, ErrorReason::Rejected),
            (431, "", ErrorKind::TooLarge, ErrorReason::Rejected),
            (
                401,
                "<html>",
                ErrorKind::Unauthenticated,
                ErrorReason::Unauthenticated,
            ),
            (
                302,
                "",
                ErrorKind::InvalidResponse,
                ErrorReason::InvalidResponse,
            ),
        ] {
            let error = response(status, None, body).unwrap();
            assert_eq!(
                (error.kind, error.error.reason),
                (kind, reason),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn refused_token_is_found_without_the_json_of_meta() {
        let challenge = r#"OAuth "Facebook Platform" "invalid_token" "token has expired""#;
        for (status, challenge, body) in [
            (
                400,
                Some(challenge),
                "<html>Sorry, something went wrong.</html>",
            ),
            (400, Some(challenge), r#"{"error":{}}"#),
            (
                401,
                None,
                r#"{"error":"invalid_token","error_description":"expired"}"#,
            ),
            (400, None, r#"{"error":"invalid_token"}"#),
            (200, None, r#"{"error":"invalid_token"}"#),
            (400, None, "error=invalid_token&error_description=expired"),
        ] {
            let error = response(status, challenge, body).unwrap();
            assert_eq!(error.kind, ErrorKind::Unauthenticated, "{status} {body}");
            assert_eq!(error.error.reason, ErrorReason::Unauthenticated);
        }
        // Meta sends the challenge with any error.
        let other = response(400, Some(challenge), r#"{"error":{"code":17}}"#).unwrap();
        assert_eq!(other.error.reason, ErrorReason::Throttled);
        let outage = response(502, None, r#"{"error":"bad gateway"}"#).unwrap();
        assert_eq!(outage.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn abuse_protection_pauses_for_an_hour() {
        let error = response(400, None, r#"{"error":{"code":613}}"#).unwrap();
        assert_eq!(error.wait, Some(ABUSE_PROTECTION_PAUSE));
        let limit = r#"{"error":{"code":613,"error_subcode":1487742}}"#;
        assert_eq!(response(400, None, limit).unwrap().wait, None);
    }

    #[test]
    fn message_quotes_an_unreadable_body() {
        let error = response(404, None, "<html>not here</html>").unwrap();
        assert_eq!(
            error.error.message,
            "HTTP status 404 without an `error` object, body `<html>not here</html>`"
        );
    }
}
