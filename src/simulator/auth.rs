//! Who is calling: tokens, their expiry, and `appsecret_proof`.
//!
//! A token comes as bearer or as `access_token`; both are as good. What a token may see is
//! decided here as well; what it asks for is not looked at.

use jiff::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use super::call::Call;
use super::errors::ApiError;
use super::object::Object;
use super::world::{AdAccount, App, Token, World};

/// Seconds for which a time-stamped proof counts.
const PROOF_LIFE: i64 = 300;

/// The token that the call carries, wherever it carries it.
pub(super) fn presented(call: &Call) -> Option<&str> {
    call.bearer
        .as_deref()
        .or_else(|| call.param("access_token"))
}

/// The caller's token, if it is good now.
pub(super) fn check<'w>(
    world: &'w World,
    call: &Call,
    now: Timestamp,
) -> Result<&'w Token, ApiError> {
    let Some(text) = presented(call) else {
        return Err(ApiError::new(
            104,
            "An access token is required to request this resource.",
        ));
    };
    let Some(token) = world.tokens.iter().find(|token| token.text == text) else {
        return Err(ApiError::new(
            190,
            "Invalid OAuth access token - Cannot parse access token",
        ));
    };
    if token.expires_at != 0 && token.expires_at <= now.as_second() {
        return Err(expired(token, now));
    }
    if let Some(app) = world.apps.iter().find(|app| app.id == token.app) {
        prove(app, token, call, now)?;
    }
    Ok(token)
}

/// The object of that id, if the token sees it; the API tells no difference between the two.
pub(super) fn visible<'w>(
    world: &'w World,
    token: &Token,
    call: &Call,
    id: &str,
) -> Result<Object<'w>, ApiError> {
    world
        .find(id)
        .filter(|object| sees(token, object.account()))
        .ok_or_else(|| ApiError::unsupported(&call.method, id))
}

/// Whether the ad account is among those that the token was given.
pub(super) fn sees(token: &Token, account: &AdAccount) -> bool {
    token
        .sees
        .as_ref()
        .is_none_or(|accounts| accounts.contains(&account.id))
}

/// The answer to `GET /debug_token`, which only an app may ask, of its own tokens.
pub(super) fn debug_token(world: &World, call: &Call, now: Timestamp) -> Result<Value, ApiError> {
    let app = presented(call)
        .and_then(|text| text.split_once('|'))
        .and_then(|(id, secret)| {
            let mut apps = world.apps.iter();
            apps.find(|app| app.id == id && app.secret == secret)
        })
        .ok_or_else(|| {
            ApiError::invalid(
                "You must provide an app access token, or a user access token that is an owner or \
                 developer of the app",
            )
        })?;
    let input = call
        .param("input_token")
        .ok_or_else(|| ApiError::invalid("The parameter input_token is required"))?;
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
    let alive = token.expires_at == 0 || token.expires_at > now.as_second();
    let mut data = json!({
        "app_id": app.id,
        "type": "SYSTEM_USER",
        "application": "Simulated app",
        "data_access_expires_at": 0,
        "expires_at": token.expires_at,
        "is_valid": alive,
        "issued_at": 1_767_225_600,
        "scopes": ["ads_read", "ads_management", "business_management"],
        "user_id": "122100000000000001",
    });
    if !alive {
        let error = expired(token, now);
        data["error"] = json!({
            "code": error.code,
            "message": error.message,
            "subcode": error.subcode,
        });
    }
    Ok(json!({ "data": data }))
}

fn expired(token: &Token, now: Timestamp) -> ApiError {
    let spelled = |time: Timestamp| time.strftime("%A, %d-%b-%y %H:%M:%S UTC").to_string();
    let end = Timestamp::from_second(token.expires_at).unwrap_or(now);
    ApiError::new(
        190,
        format!(
            "Error validating access token: Session has expired on {}. The current time is {}.",
            spelled(end),
            spelled(now)
        ),
    )
    .subcode(463)
}

fn prove(app: &App, token: &Token, call: &Call, now: Timestamp) -> Result<(), ApiError> {
    let refused = |message| Err(ApiError::invalid(message).kind("GraphMethodException"));
    let Some(proof) = call.param("appsecret_proof") else {
        if app.requires_proof {
            return refused("API calls from the server require an appsecret_proof argument");
        }
        return Ok(());
    };
    let mut message = token.text.clone();
    if let Some(time) = call.param("appsecret_time") {
        let fresh = time
            .parse::<i64>()
            .is_ok_and(|time| (now.as_second() - time).abs() <= PROOF_LIFE);
        if !fresh {
            return refused("Invalid appsecret_time provided in the API argument");
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
        return refused("Invalid appsecret_proof provided in the API argument");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &[(&str, &str)]) -> Call {
        Call {
            query: query
                .iter()
                .map(|(a, b)| ((*a).into(), (*b).into()))
                .collect(),
            ..Call::default()
        }
    }

    #[test]
    fn proofs_are_those_of_the_documented_algorithm() {
        let mut world = World::default();
        world.apps.push(App {
            id: "1".into(),
            secret: "key".into(),
            requires_proof: true,
        });
        world.tokens.push(Token {
            text: "The quick brown fox jumps over the lazy dog".into(),
            business: "acme".into(),
            app: "1".into(),
            expires_at: 2_000_000_000,
            sees: None,
        });
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let token = (
            "access_token",
            "The quick brown fox jumps over the lazy dog",
        );
        let good = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let with = |more: &[(&str, &str)], now| {
            let call = call(&[&[token], more].concat());
            check(&world, &call, now).map(|token| token.business.clone())
        };
        assert_eq!(with(&[("appsecret_proof", good)], now), Ok("acme".into()));
        assert_eq!(with(&[], now).unwrap_err().code, 100);
        assert_eq!(
            with(&[("appsecret_proof", "f7")], now).unwrap_err().code,
            100
        );
        let late = Timestamp::from_second(2_000_000_001).unwrap();
        assert_eq!(
            with(&[("appsecret_proof", good)], late)
                .unwrap_err()
                .subcode,
            Some(463)
        );
        assert_eq!(check(&world, &call(&[]), now).unwrap_err().code, 104);
        let stranger = call(&[("access_token", "x")]);
        assert_eq!(check(&world, &stranger, now).unwrap_err().code, 190);
    }
}
