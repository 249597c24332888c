//! Errors of polls, classified by the reaction that they require.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Class of an error; the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorReason {
    /// A rate limit was exceeded; the scope of the limit (ad account or app) is paused.
    Throttled,
    /// The access token is invalid; the business is paused until its token changes.
    Unauthenticated,
    /// The access token has no permission for this source; the source is paused.
    Forbidden,
    /// The API refused the query, for example because of an invalid parameter; a retry would fail in the same way.
    Rejected,
    /// The API failed or is not reachable; the same query may succeed later.
    Unavailable,
    /// The response has an unexpected format or content.
    InvalidResponse,
    /// A secret cannot be read, or the app secret is missing or wrong; the business is paused until its
    /// secrets change.
    Misconfigured,
    /// The poll panicked, which is a bug of the exporter.
    Panicked,
}

impl ErrorReason {
    /// All reasons, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Throttled,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Rejected,
        Self::Unavailable,
        Self::InvalidResponse,
        Self::Misconfigured,
        Self::Panicked,
    ];

    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::InvalidResponse => "invalid_response",
            Self::Misconfigured => "misconfigured",
            Self::Panicked => "panicked",
        }
    }
}

/// An error with the details that Meta's support needs. Contains no token and no URL.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::{ErrorReason, PollError};
///
/// let error = PollError::new(ErrorReason::Unavailable, "connection refused");
/// assert_eq!(error.to_string(), "unavailable: connection refused");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollError {
    /// Class of the error.
    pub reason: ErrorReason,
    /// Meta's error code; `None` if the error is not from the API or has no code.
    pub code: Option<i64>,
    /// Meta's error subcode; `None` if the error has none.
    pub subcode: Option<i64>,
    /// Meta's error message, or a description of a local failure; for logs and people, not to be parsed.
    pub message: String,
    /// Id of the request in Meta's logs; `None` if the response does not contain it or no response was received.
    pub fbtrace_id: Option<String>,
}

impl PollError {
    /// Creates an error that was detected locally, without Meta's codes.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            code: None,
            subcode: None,
            message: message.into(),
            fbtrace_id: None,
        }
    }
}

/// `reason (code C, subcode S): message`, without the parts that are not known.
impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        match (self.code, self.subcode) {
            (Some(code), Some(subcode)) => write!(f, " (code {code}, subcode {subcode})")?,
            (Some(code), None) => write!(f, " (code {code})")?,
            _ => {}
        }
        write!(f, ": {}", self.message)
    }
}
