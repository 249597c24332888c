//! Authentication: access tokens, their expiry, `appsecret_proof` and `/debug_token`; and which ad accounts a token
//! can read.
//!
//! A token is sent as `Authorization: Bearer` or as the parameter `access_token`. Sources: Meta's pages "Securing
//! Graph API Requests" and "Debugging Access Tokens and Handling Errors".

use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use crate::call::ApiCall;
use crate::errors::SimulatedError;
use crate::object::WorldObject;
use crate::world::{AdAccount, App, Token, World};

/// Validity of a proof with `appsecret_time`, in seconds.
const PROOF_LIFETIME_SECONDS: i64 = 300;

/// Returns the token in the header or the parameters of the call.
pub(crate) fn presented_token(call: &ApiCall) -> Option<&str> {
    call.bearer
        .as_deref()
        .or_else(|| call.param("access_token"))
}

/// Returns the token of the call.
///
/// # Errors
///
/// Returns error 104 without a token, 190 for an unknown token, 190 with subcode 463 for an expired one, and 100 if
/// `appsecret_proof` is invalid, or missing although the app requires it.
pub(crate) fn authenticate<'w>(
    world: &'w World,
    call: &ApiCall,
    now: Timestamp,
) -> Result<&'w Token, SimulatedError> {
    let Some(text) = presented_token(call) else {
        return Err(SimulatedError::new(
            104,
            "An access token is required to request this resource.",
        ));
    };
    let Some(token) = world.tokens.iter().find(|token| token.text == text) else {
        return Err(SimulatedError::new(
            190,
            "Invalid OAuth access token - Cannot parse access token",
        ));
    };
    if token.expires_at != 0 && token.expires_at <= now.as_second() {
        return Err(expired(token, now));
    }
    if token.data_access_expires_at != 0 && token.data_access_expires_at <= now.as_second() {
        return Err(SimulatedError::new(
            190,
            "Error validating access token: The user must reauthorize the app to access data.",
        )
        .with_subcode(493));
    }
    if let Some(app) = world.apps.iter().find(|app| app.id == token.app) {
        verify_proof(app, token, call, now)?;
    }
    Ok(token)
}

/// Returns the object with this id if the token can read it. The API returns the same error for an unknown id.
pub(crate) fn find_visible<'w>(
    world: &'w World,
    token: &Token,
    call: &ApiCall,
    id: &str,
) -> Result<WorldObject<'w>, SimulatedError> {
    world
        .find(id)
        .filter(|object| can_see(token, object.account()))
        .ok_or_else(|| SimulatedError::object_not_accessible(&call.method, id))
}

/// Whether the token can read the ad account.
pub(crate) fn can_see(token: &Token, account: &AdAccount) -> bool {
    token
        .visible_accounts
        .as_ref()
        .is_none_or(|accounts| accounts.contains(&account.id))
}

/// Responds to `GET /debug_token`. The caller must send an app access token, `<app id>|<app secret>`, and other apps'
/// tokens are reported as invalid.
pub(crate) fn debug_token(
    world: &World,
    call: &ApiCall,
    now: Timestamp,
) -> Result<Value, SimulatedError> {
    let app = presented_token(call)
        .and_then(|text| text.split_once('|'))
        .and_then(|(id, secret)| {
            let mut apps = world.apps.iter();
            apps.find(|app| app.id == id && app.secret == secret)
        })
        .ok_or_else(|| {
            SimulatedError::invalid(
                "You must provide an app access token, or a user access token that is an owner or \
                 developer of the app",
            )
        })?;
    let input = call
        .param("input_token")
        .ok_or_else(|| SimulatedError::invalid("The parameter input_token is required"))?;
    let Some(token) = world
        .tokens
        .iter()
        .find(|token| token.text == input && token.app == app.id)
    else {
        return Ok(json!({"data": {
            "error": { "code": 190, "message": "Invalid OAuth access token." },
            "is_valid": false,
            "scopes": [],
        }}));
    };
    let is_valid = token.expires_at == 0 || token.expires_at > now.as_second();
    let mut data = json!({
        "app_id": app.id,
        "type": "SYSTEM_USER",
        "application": "Simulated app",
        "data_access_expires_at": token.data_access_expires_at,
        "expires_at": token.expires_at,
        "is_valid": is_valid,
        "issued_at": 1_767_225_600,
        "scopes": ["ads_read", "ads_management", "business_management"],
        "user_id": "122100000000000001",
    });
    if !is_valid {
        let error = expired(token, now);
        data["error"] = json!({
            "code": error.code,
            "message": error.message,
            "subcode": error.subcode,
        });
    }
    Ok(json!({ "data": data }))
}

/// Returns the error of an expired token.
fn expired(token: &Token, now: Timestamp) -> SimulatedError {
    let format_time = |time: Timestamp| time.strftime("%A, %d-%b-%y %H:%M:%S UTC").to_string();
    let expiry = Timestamp::from_second(token.expires_at).unwrap_or(now);
    SimulatedError::new(
        190,
        format!(
            "Error validating access token: Session has expired on {}. The current time is {}.",
            format_time(expiry),
            format_time(now)
        ),
    )
    .with_subcode(463)
}

/// Verifies `appsecret_proof`: HMAC-SHA256 of the token, or of `<token>|<appsecret_time>`, with the app secret as
/// key, in lowercase hexadecimal.
fn verify_proof(
    app: &App,
    token: &Token,
    call: &ApiCall,
    now: Timestamp,
) -> Result<(), SimulatedError> {
    let rejected =
        |message| Err(SimulatedError::invalid(message).with_kind("GraphMethodException"));
    let Some(proof) = call.param("appsecret_proof") else {
        if app.requires_proof {
            return rejected("API calls from the server require an appsecret_proof argument");
        }
        return Ok(());
    };
    let mut message = token.text.clone();
    if let Some(time) = call.param("appsecret_time") {
        let is_fresh = time
            .parse::<i64>()
            .is_ok_and(|time| (now.as_second() - time).abs() <= PROOF_LIFETIME_SECONDS);
        if !is_fresh {
            return rejected("Invalid appsecret_time provided in the API argument");
        }
        message = format!("{message}|{time}");
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, app.secret.as_bytes());
    let expected = hmac::sign(&key, message.as_bytes());
    let hex: String = expected
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if proof != hex {
        return rejected("Invalid appsecret_proof provided in the API argument");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: &[(&str, &str)]) -> ApiCall {
        ApiCall {
            query: params
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..ApiCall::default()
        }
    }

    /// Message, key and digest of the HMAC-SHA256 example on Wikipedia's page "HMAC".
    const TOKEN: &str = "The quick brown fox jumps over the lazy dog";
    const SECRET: &str = "key";
    const PROOF: &str = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    const NOW: i64 = 1_800_000_000;
    const EXPIRES_AT: i64 = 2_000_000_000;

    fn world() -> World {
        World {
            apps: vec![App {
                id: "1".into(),
                secret: SECRET.into(),
                requires_proof: true,
            }],
            tokens: vec![Token {
                text: TOKEN.into(),
                business: "acme".into(),
                app: "1".into(),
                expires_at: EXPIRES_AT,
                data_access_expires_at: 0,
                visible_accounts: None,
            }],
            ..World::default()
        }
    }

    /// Returns the business of the token, or code and subcode of the error.
    fn authenticated(params: &[(&str, &str)], now: i64) -> Result<String, (u32, Option<u32>)> {
        let now = Timestamp::from_second(now).unwrap();
        authenticate(&world(), &call(params), now)
            .map(|token| token.business.clone())
            .map_err(|error| (error.code, error.subcode))
    }

    #[test]
    fn call_with_token_and_proof_is_accepted() {
        let params = [("access_token", TOKEN), ("appsecret_proof", PROOF)];
        assert_eq!(authenticated(&params, NOW), Ok("acme".to_owned()));
    }

    #[test]
    fn calls_with_invalid_token_or_proof_are_rejected() {
        let token = ("access_token", TOKEN);
        let proof = ("appsecret_proof", PROOF);
        for (params, now, error) in [
            (vec![token], NOW, (100, None)),
            (vec![token, ("appsecret_proof", "f7")], NOW, (100, None)),
            (vec![token, proof], EXPIRES_AT + 1, (190, Some(463))),
            (vec![], NOW, (104, None)),
            (vec![("access_token", "x")], NOW, (190, None)),
        ] {
            assert_eq!(authenticated(&params, now), Err(error), "{params:?}");
        }
    }
}
