//! Cause of an error by Meta's code, subcode and message, with the remedy for operators.
//!
//! One table for logs, status pages and `check --live`. A code can be ambiguous: code 100 is sent
//! for invalid requests, missing permissions and a missing `appsecret_proof`. The message decides
//! where Meta sends no distinct code. Source: Meta's pages "Error Handling", "Rate Limiting" and
//! "Ads Insights API Error Codes".

use super::error::{ErrorReason, PollError};

/// Cause of an error. Each has its own remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCause {
    /// Calls of the app exceed its limit.
    AppLimit,
    /// Calls for the ad account exceed its limit.
    AccountLimit,
    /// Code 613 without a subcode: Meta reduced the quota until it is contacted.
    AbuseProtection,
    /// Code 368: blocked for a violation of Meta's policies.
    PolicyBlock,
    /// The token is invalid for a reason that has no own entry.
    TokenInvalid,
    /// The token reached its expiry.
    TokenExpired,
    /// The token is valid, but its access to data expired.
    DataAccessExpired,
    /// The user must confirm the account at Facebook; the token stays valid.
    TokenCheckpoint,
    /// The user removed the app.
    AppNotAuthorized,
    /// The object does not exist, or the token has no access to it.
    ObjectAccess,
    /// The token lacks a permission.
    MissingPermission,
    /// The app lacks the access level for this API.
    AppCapability,
    /// Meta blocked the app.
    AppBlocked,
    /// The user must enable two-factor authentication.
    TwoFactorRequired,
    /// The Facebook page is restricted.
    PageRestricted,
    /// The token or the app secret cannot be read; no request was sent.
    SecretUnreadable,
    /// The app requires `appsecret_proof`, or the proof is wrong.
    AppSecretProof,
    /// The requested dates start more than 37 months ago.
    DatesTooOld,
    /// The API version is retired.
    VersionRetired,
    /// The id does not exist.
    UnknownId,
    /// The API refused the request for any other reason.
    InvalidRequest,
    /// Outage of the API or the network.
    Outage,
    /// The response is not one of the Graph API.
    UnexpectedResponse,
    /// Bug of the exporter.
    Bug,
}

impl ErrorCause {
    /// Returns the cause that an error of the API states; `None` if its code is not known.
    pub fn from_api(code: Option<i64>, subcode: Option<i64>, message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        let has = |text: &str| message.contains(text);
        Some(match (code?, subcode) {
            (613, None) => Self::AbuseProtection,
            (4 | 341, _) => Self::AppLimit,
            (368, _) => Self::PolicyBlock,
            // 80000 to 80014: the business use case limits.
            (17 | 32 | 613 | 80_000..=80_014, _) => Self::AccountLimit,
            _ if has("appsecret_proof") => Self::AppSecretProof,
            (190 | 102, Some(463)) => Self::TokenExpired,
            (190 | 102, Some(493)) => Self::DataAccessExpired,
            (190 | 102, Some(459 | 464)) => Self::TokenCheckpoint,
            (190 | 102, Some(458)) => Self::AppNotAuthorized,
            (190 | 102, _) => Self::TokenInvalid,
            (3, _) => Self::AppCapability,
            (10, Some(1_893_063)) => Self::PageRestricted,
            (10 | 200..=299, _) if has("api access") => Self::AppBlocked,
            (10 | 200..=299, _) => Self::MissingPermission,
            (415, _) => Self::TwoFactorRequired,
            (100, Some(33)) => Self::ObjectAccess,
            (100, Some(3_191_001)) => Self::MissingPermission,
            // Too much data per call: smaller requests succeed.
            (100, Some(1_487_534)) => Self::Outage,
            // Before the permissions: its text ends with "missing permissions".
            (100, _) if is_unsupported_request(&message) => Self::ObjectAccess,
            (100, _) if has("missing perm") || has("sufficient permission") => {
                Self::MissingPermission
            }
            // Permanent, although code 2 is usually an outage.
            (2, Some(1_504_041 | 1_504_042)) => Self::InvalidRequest,
            (1 | 2 | 104 | 960, _) => Self::Outage,
            (803, _) => Self::UnknownId,
            (2635, _) => Self::VersionRetired,
            (3018, _) => Self::DatesTooOld,
            (100, _) => Self::InvalidRequest,
            _ => return None,
        })
    }

    /// Returns the cause of an error of which only the reason is known.
    fn from_reason(reason: ErrorReason) -> Self {
        match reason {
            ErrorReason::Throttled => Self::AccountLimit,
            ErrorReason::Unauthenticated => Self::TokenInvalid,
            ErrorReason::Forbidden => Self::ObjectAccess,
            ErrorReason::Misconfigured => Self::SecretUnreadable,
            ErrorReason::Rejected => Self::InvalidRequest,
            ErrorReason::Unavailable => Self::Outage,
            ErrorReason::InvalidResponse => Self::UnexpectedResponse,
            ErrorReason::Panicked => Self::Bug,
        }
    }

    /// Returns the class of the error.
    pub fn reason(self) -> ErrorReason {
        match self {
            Self::AppLimit | Self::AccountLimit | Self::AbuseProtection | Self::PolicyBlock => {
                ErrorReason::Throttled
            }
            Self::TokenInvalid
            | Self::TokenExpired
            | Self::DataAccessExpired
            | Self::TokenCheckpoint
            | Self::AppNotAuthorized => ErrorReason::Unauthenticated,
            Self::ObjectAccess
            | Self::MissingPermission
            | Self::AppCapability
            | Self::AppBlocked
            | Self::TwoFactorRequired
            | Self::PageRestricted => ErrorReason::Forbidden,
            Self::SecretUnreadable | Self::AppSecretProof => ErrorReason::Misconfigured,
            Self::DatesTooOld | Self::VersionRetired | Self::UnknownId | Self::InvalidRequest => {
                ErrorReason::Rejected
            }
            Self::Outage => ErrorReason::Unavailable,
            Self::UnexpectedResponse => ErrorReason::InvalidResponse,
            Self::Bug => ErrorReason::Panicked,
        }
    }

    /// Returns what an operator can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::AppLimit => {
                "wait until the pause ends; if it recurs, increase polling.interval, or reduce the other calls of the app"
            }
            Self::AccountLimit => {
                "wait until the pause ends; if it recurs, increase polling.interval, or reduce the other calls for this ad account"
            }
            Self::AbuseProtection => {
                "find what else calls this ad account, and contact Meta's support: Meta reduced the quota for abuse protection, and waiting does not restore it"
            }
            Self::PolicyBlock => {
                "open Account Quality in Meta's Business Support Home: Meta blocked this ad account or user for its policies"
            }
            Self::TokenInvalid => "create a new access token, and write it to its file or variable",
            Self::TokenExpired => {
                "the access token expired: create a new one, and write it to its file or variable; tokens of system users can be created without expiry"
            }
            Self::DataAccessExpired => {
                "the token's access to data expired after 90 days: let its user log in to the app again, and write the new token to its file or variable"
            }
            Self::TokenCheckpoint => {
                "let the token's user log in to Facebook and confirm the account; the token stays valid"
            }
            Self::AppNotAuthorized => {
                "the user removed the app: let the user add it again, and write the new token to its file or variable"
            }
            Self::ObjectAccess => {
                "assign this object to the token's user in Meta's business settings; a wrong id, or that of a page or business, returns the same error, and so does an app without Tech Provider verification"
            }
            Self::MissingPermission => {
                "grant the app the permission ads_read, and create a new access token with it; the error message can name another permission"
            }
            Self::AppCapability => {
                "request the required access level (Advanced Access) for the app in Meta's App Dashboard"
            }
            Self::AppBlocked => {
                "check the state of the app in Meta's App Dashboard: Meta blocked its API access"
            }
            Self::TwoFactorRequired => {
                "let the token's user enable two-factor authentication at Facebook"
            }
            Self::PageRestricted => {
                "open Page Quality of the Facebook page at Meta: the page is restricted from sending"
            }
            Self::SecretUnreadable => {
                "fix the file or variable that the error names; it is read again every 10 seconds"
            }
            Self::AppSecretProof => {
                "set graph.app_id and graph.app_secret_file (or those of the business) to the app that issued the access token"
            }
            Self::DatesTooOld => "choose dates that start at most 37 months ago",
            Self::VersionRetired => "set graph.version to a current API version",
            Self::UnknownId => "check the id: no object has it",
            Self::InvalidRequest => "check the id and graph.version",
            Self::Outage => {
                "wait for the next poll; if it persists, check Meta's status page, graph.url, the network and its proxy"
            }
            Self::UnexpectedResponse => {
                "check graph.url and proxies: this is not a response of the Graph API"
            }
            Self::Bug => "report this bug with the log",
        }
    }
}

impl PollError {
    /// Returns the cause, from Meta's code, subcode and message if they agree with the reason.
    pub fn cause(&self) -> ErrorCause {
        ErrorCause::from_api(self.code, self.subcode, &self.message)
            .filter(|cause| cause.reason() == self.reason)
            .unwrap_or_else(|| ErrorCause::from_reason(self.reason))
    }

    /// Returns what an operator can do.
    pub fn remedy(&self) -> &'static str {
        self.cause().remedy()
    }
}

/// Returns whether Meta's message, in lower case, is that for a missing or inaccessible object.
fn is_unsupported_request(message: &str) -> bool {
    (message.contains("unsupported") && message.contains("request"))
        || (message.contains("object with id") && message.contains("does not exist"))
}

#[cfg(test)]
mod tests {
    use super::ErrorCause;
    use crate::model::{ErrorReason, PollError};

    #[test]
    fn remedy_names_what_the_operator_can_change() {
        let forbidden = ErrorReason::Forbidden;
        for (reason, code, subcode, message, remedy) in [
            (
                forbidden,
                100,
                None,
                "(#100) Unsupported get request. Please",
                "wrong id",
            ),
            (forbidden, 100, None, "(#100) Missing perms", "permission"),
            (
                forbidden,
                100,
                None,
                "(#100) Missing permissions",
                "permission",
            ),
            (forbidden, 100, Some(3_191_001), "(#100) No", "permission"),
            (
                forbidden,
                100,
                Some(33),
                "Object with ID '1' does not exist",
                "Tech Provider",
            ),
            (
                forbidden,
                3,
                None,
                "(#3) Application does not have the capability",
                "access level",
            ),
            (
                forbidden,
                200,
                None,
                "API access blocked.",
                "state of the app",
            ),
            (forbidden, 200, Some(4_841_013), "(#200) no", "permission"),
            (forbidden, 415, Some(1_404_120), "no", "two-factor"),
            (forbidden, 10, Some(1_893_063), "no", "Page Quality"),
            (
                ErrorReason::Misconfigured,
                100,
                None,
                "API calls from the server require an appsecret_proof argument",
                "app_secret_file",
            ),
            (
                ErrorReason::Throttled,
                613,
                None,
                "(#613) Calls",
                "contact Meta",
            ),
            (
                ErrorReason::Throttled,
                613,
                Some(1_487_742),
                "(#613) Calls",
                "wait",
            ),
            (
                ErrorReason::Unauthenticated,
                190,
                Some(493),
                "no",
                "90 days",
            ),
            (ErrorReason::Rejected, 3018, None, "no", "37 months"),
        ] {
            let error = PollError {
                code: Some(code),
                subcode,
                ..PollError::new(reason, message)
            };
            let text = error.remedy();
            assert!(text.contains(remedy), "{error}: {text}");
        }
    }

    #[test]
    fn error_without_a_code_has_the_remedy_of_its_reason() {
        for reason in ErrorReason::ALL {
            let error = PollError::new(reason, "local");
            assert_eq!(error.cause().reason(), reason);
            assert_eq!(ErrorCause::from_reason(reason).reason(), reason);
        }
    }
}
