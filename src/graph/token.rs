//! What the API says of a token: whether it is valid, and when it expires.

use jiff::Timestamp;
use serde::Deserialize;

use super::error::Error;
use super::gate::Lane;
use super::session::{Endpoint, Session};

/// What the API says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Whether it is valid.
    pub is_valid: bool,
    /// When it expires; `None` for never, as system users' tokens do.
    pub expires_at: Option<Timestamp>,
    /// The app that it is of.
    pub app_id: Option<String>,
    /// What it may be used for.
    pub scopes: Vec<String>,
}

/// Asks about the session's own token, in the name of the app; `None` where there is no app secret
/// to ask with.
///
/// # Errors
/// As every request.
pub async fn inspect(session: Session<'_>, app_id: &str) -> Result<Option<TokenFacts>, Error> {
    let Some(app) = session.credentials.as_app(app_id) else {
        return Ok(None);
    };
    // The one secret in an address, since the API knows no other place for it. Nobody sees the
    // address: the client puts none into errors and logs.
    let params = [("input_token", session.credentials.token.expose().to_owned())];
    let asked = Session {
        credentials: &app,
        // A wrong app secret must not be held against the business.
        lane: &Lane::of_app(app_id),
        ..session
    };
    asked
        .get(Endpoint::DebugToken, "debug_token", &params, read)
        .await
        .map(Some)
        .map_err(|mut error| {
            // The token that it is about is not the one that asked.
            error.fault.message = session.credentials.conceal(&error.fault.message);
            error
        })
}

pub(super) fn read(body: &[u8]) -> Result<TokenFacts, String> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        is_valid: bool,
        #[serde(default)]
        expires_at: i64,
        #[serde(default)]
        app_id: Option<String>,
        #[serde(default)]
        scopes: Vec<String>,
    }
    let Answer { data } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    // 0 is how the API says never.
    let expires_at = Some(data.expires_at).filter(|seconds| *seconds > 0);
    Ok(TokenFacts {
        is_valid: data.is_valid,
        expires_at: expires_at.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        app_id: data.app_id,
        scopes: data.scopes,
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn zero_is_never() {
        let facts =
            read(br#"{"data":{"is_valid":true,"expires_at":0,"scopes":["ads_read"]}}"#).unwrap();
        assert!(facts.is_valid && facts.expires_at.is_none());
        let facts = read(br#"{"data":{"is_valid":false,"expires_at":1767225600}}"#).unwrap();
        assert_eq!(
            facts.expires_at.unwrap().to_string(),
            "2026-01-01T00:00:00Z"
        );
    }
}
