//! Validity and expiry of an access token, from the endpoint `debug_token`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::client::ApiRequest;
use super::error::ApiError;
use super::limiter::RequestScope;
use super::response::text;
use super::session::{ApiCaller, Endpoint, Session};

/// Properties of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Whether the token is valid.
    pub is_valid: bool,
    /// Expiry; `None` if the token never expires, as those of system users can.
    pub expires_at: Option<Timestamp>,
    /// Time from which the token can no longer read data, although it may be valid; `None` if never.
    pub data_access_expires_at: Option<Timestamp>,
    /// Id of the app that issued the token.
    pub app_id: Option<String>,
    /// Permissions, such as `ads_read`.
    pub scopes: Vec<String>,
}

/// Requests the properties of the session's own token, authenticated as the app; `None` without an
/// app secret.
///
/// # Errors
/// Returns the error of the request, with the token removed from its message.
pub async fn inspect(session: Session<'_>, app_id: &str) -> Result<Option<TokenInfo>, ApiError> {
    let Some(app) = session.caller.credentials.app_credentials(app_id) else {
        return Ok(None);
    };
    // The only secret in a URL: the API accepts it nowhere else. The client puts no URL into errors
    // or logs, and removes the value from messages.
    let params = [(
        ApiRequest::INPUT_TOKEN,
        session.caller.credentials.token.expose().to_owned(),
    )];
    let app_caller = ApiCaller {
        credentials: app,
        // A wrong app secret must not pause the business.
        scope: RequestScope::for_app(app_id),
        ..session.caller.clone()
    };
    let app_session = Session {
        caller: &app_caller,
        ..session
    };
    app_session
        .get(
            Endpoint::DebugToken,
            "debug_token",
            &params,
            read_token_info,
        )
        .await
        .map(Some)
}

/// Decodes a response of `debug_token`.
pub(super) fn read_token_info(body: &[u8]) -> Result<TokenInfo, String> {
    #[derive(Deserialize)]
    struct DebugTokenResponse {
        data: DebugTokenData,
    }
    #[derive(Deserialize)]
    struct DebugTokenData {
        is_valid: bool,
        #[serde(default)]
        expires_at: Value,
        #[serde(default)]
        data_access_expires_at: Value,
        #[serde(default)]
        app_id: Value,
        #[serde(default)]
        scopes: Value,
    }
    let DebugTokenResponse { data } =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let owned = |json: &Value| text(json).map(Cow::into_owned);
    // The API reports 0 for times that never come.
    let time = |json: &Value| {
        let seconds: i64 = text(json)?.parse().ok()?;
        (seconds > 0)
            .then(|| Timestamp::from_second(seconds).ok())
            .flatten()
    };
    Ok(TokenInfo {
        is_valid: data.is_valid,
        expires_at: time(&data.expires_at),
        data_access_expires_at: time(&data.data_access_expires_at),
        app_id: owned(&data.app_id),
        scopes: data
            .scopes
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::read_token_info;

    #[test]
    fn expiry_zero_is_never() {
        let info =
            read_token_info(br#"{"data":{"is_valid":true,"expires_at":0,"scopes":["ads_read"]}}"#)
                .unwrap();
        assert!(info.is_valid && info.expires_at.is_none(), "{info:?}");
    }

    #[test]
    fn odd_types_affect_only_themselves() {
        let info = read_token_info(
            br#"{"data":{"is_valid":true,"expires_at":"1767225600","data_access_expires_at":null,
                 "app_id":12,"scopes":["ads_read",null]}}"#,
        )
        .unwrap();
        assert_eq!(info.expires_at.unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(info.data_access_expires_at, None);
        assert_eq!(info.app_id.as_deref(), Some("12"));
        assert_eq!(info.scopes, ["ads_read"]);
    }

    #[test]
    fn access_to_data_expires_apart_from_the_token() {
        let info = read_token_info(
            br#"{"data":{"is_valid":true,"expires_at":0,"data_access_expires_at":1767225600}}"#,
        )
        .unwrap();
        assert_eq!(info.expires_at, None);
        let expiry = info.data_access_expires_at.unwrap().to_string();
        assert_eq!(expiry, "2026-01-01T00:00:00Z");
    }

    #[test]
    fn expiry_is_in_unix_seconds() {
        let info =
            read_token_info(br#"{"data":{"is_valid":false,"expires_at":1767225600}}"#).unwrap();
        assert!(!info.is_valid, "{info:?}");
        assert_eq!(info.expires_at.unwrap().to_string(), "2026-01-01T00:00:00Z");
    }
}
