//! Paths to answers: `/<version>/<id>` and `/<version>/<id>/<edge>`.
//!
//! Pure: the same world, call and moment give the same answer. Who may ask is settled before.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth;
use super::call::Call;
use super::errors::ApiError;
use super::filtering::Filter;
use super::insights;
use super::nodes;
use super::object::Object;
use super::paging::Wanted;
use super::world::{Token, World};

/// The version that answers when a call names none, and the oldest one still alive.
pub(super) const NEWEST: &str = "v26.0";
const OLDEST: &str = "v25.0";

/// The answer to a call whose token is good.
pub(super) fn answer(
    world: &World,
    token: &Token,
    call: &Call,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let (_, id, edge) = call.parts();
    if !matches!(call.method.as_str(), "GET" | "HEAD") {
        return Err(ApiError::unsupported(&call.method, id));
    }
    if id == "me" {
        return me(world, token, call, edge, now);
    }
    let object = auth::visible(world, token, call, id)?;
    match edge {
        None => {
            let fields = nodes::read(call.param("fields").unwrap_or("id"))?;
            nodes::spell(world.seed, object, &fields, now)
        }
        Some("insights") => insights::answer(world.seed, object, call, now),
        Some(edge) => {
            let Some(level) = nodes::listed(object, edge) else {
                return Err(unknown_path(edge));
            };
            let mut answer = list(world, object.within(level), call, now)?;
            if call.param("summary").is_some() {
                let count = object.within(level).len();
                answer["summary"] = json!({ "total_count": count });
            }
            Ok(answer)
        }
    }
}

/// The version that answers instead of the called one, and the warning that goes with it.
pub(super) fn answering(called: Option<&str>) -> Result<(String, Option<String>), ApiError> {
    let Some(called) = called else {
        return Ok((NEWEST.to_owned(), None));
    };
    let number = |version: &str| {
        let (major, minor) = version.trim_start_matches('v').split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if number(called) > number(NEWEST) {
        return Err(unknown_path(called));
    }
    if number(called) >= number(OLDEST) {
        return Ok((called.to_owned(), None));
    }
    Ok((OLDEST.to_owned(), Some(upgraded(called, OLDEST))))
}

/// Meta's warning that an old version was answered by a newer one.
pub(super) fn upgraded(called: &str, answering: &str) -> String {
    format!("The call has been auto-upgraded to {answering} as {called} has been deprecated.")
}

fn me(
    world: &World,
    token: &Token,
    call: &Call,
    edge: Option<&str>,
    now: Timestamp,
) -> Result<Value, ApiError> {
    match edge {
        None => Ok(
            json!({ "id": "122100000000000001", "name": format!("{} system user", token.business) }),
        ),
        Some("adaccounts") => {
            let accounts = world
                .accounts
                .iter()
                .filter(|account| auth::sees(token, account));
            list(world, accounts.map(Object::Account).collect(), call, now)
        }
        Some(edge) => Err(unknown_path(edge)),
    }
}

/// A page of objects, without the archived and deleted unless their status is asked for.
fn list(
    world: &World,
    mut objects: Vec<Object<'_>>,
    call: &Call,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let fields = nodes::read(call.param("fields").unwrap_or("id"))?;
    let filter = Filter::read(call)?;
    let statuses = call.list("effective_status");
    objects.retain(|object| {
        let wanted = if statuses.is_empty() {
            filter.asks_status() || !object.is_put_away()
        } else {
            statuses
                .iter()
                .any(|status| status == object.effective_status())
        };
        wanted && filter.admits(*object)
    });
    Wanted::read(call)?.page(call, objects.len(), |place| {
        nodes::spell(world.seed, objects[place], &fields, now).map(Some)
    })
}

fn unknown_path(part: &str) -> ApiError {
    ApiError::new(2500, format!("Unknown path components: /{part}"))
}
