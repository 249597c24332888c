//! Routes the paths `/<version>/<id>` and `/<version>/<id>/<edge>`.
//!
//! The response is a pure function of world, token, call and time. `auth` has authenticated the token before.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth;
use crate::call::ApiCall;
use crate::errors::SimulatedError;
use crate::insights;
use crate::nodes::{self, NodeContext};
use crate::object::WorldObject;
use crate::world::{Token, World};

/// Newest version, which also serves calls without a version.
pub(crate) const NEWEST_VERSION: &str = "v27.0";
/// Oldest version that is not deprecated.
const OLDEST_VERSION: &str = "v25.0";

/// Responds to a call with a valid token.
///
/// # Errors
///
/// Returns error 100 with subcode 33 for methods other than GET and HEAD and for objects that the token cannot read,
/// 2500 for an unknown edge, and the errors of invalid parameters.
pub(crate) fn respond(
    world: &World,
    token: &Token,
    call: &ApiCall,
    now: Timestamp,
) -> Result<Value, SimulatedError> {
    let (_, id, edge) = call.path_parts();
    if !matches!(call.method.as_str(), "GET" | "HEAD") {
        return Err(SimulatedError::object_not_accessible(&call.method, id));
    }
    if id == "me" {
        return me(world, token, call, edge, now);
    }
    let object = auth::find_visible(world, token, call, id)?;
    let context = NodeContext {
        seed: world.seed,
        call,
        now,
    };
    match edge {
        None => {
            let fields = nodes::parse_fields(call.param("fields").unwrap_or("id"))?;
            nodes::format_node(context, object, &fields)
        }
        Some("insights") => insights::respond(world.seed, object, call, now),
        Some(edge) => {
            let Some(level) = nodes::edge_level(object, edge) else {
                return Err(unknown_path(edge));
            };
            let mut body = nodes::list(context, object.descendants(level))?;
            if call.param("summary").is_some() {
                let count = object.descendants(level).len();
                body["summary"] = json!({ "total_count": count });
            }
            Ok(body)
        }
    }
}

/// Returns the version that serves the call and, if it differs from the requested one, the warning about it.
/// Deprecated versions are upgraded instead of rejected. Source: Meta's page "Versioning" of the Marketing API.
pub(crate) fn resolve_version(
    requested: Option<&str>,
) -> Result<(String, Option<String>), SimulatedError> {
    let Some(requested) = requested else {
        return Ok((NEWEST_VERSION.to_owned(), None));
    };
    let number = |version: &str| {
        let (major, minor) = version.trim_start_matches('v').split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if number(requested) > number(NEWEST_VERSION) {
        return Err(unknown_path(requested));
    }
    if number(requested) >= number(OLDEST_VERSION) {
        return Ok((requested.to_owned(), None));
    }
    Ok((
        OLDEST_VERSION.to_owned(),
        Some(upgrade_warning(requested, OLDEST_VERSION)),
    ))
}

/// Returns Meta's warning that another version served the call.
pub(crate) fn upgrade_warning(requested: &str, actual: &str) -> String {
    format!("The call has been auto-upgraded to {actual} as {requested} has been deprecated.")
}

/// Responds to `/me` and `/me/adaccounts`.
fn me(
    world: &World,
    token: &Token,
    call: &ApiCall,
    edge: Option<&str>,
    now: Timestamp,
) -> Result<Value, SimulatedError> {
    match edge {
        None => Ok(
            json!({ "id": "122100000000000001", "name": format!("{} system user", token.business) }),
        ),
        Some("adaccounts") => {
            let accounts = world
                .accounts
                .iter()
                .filter(|account| auth::can_see(token, account));
            let context = NodeContext {
                seed: world.seed,
                call,
                now,
            };
            nodes::list(context, accounts.map(WorldObject::Account).collect())
        }
        Some(edge) => Err(unknown_path(edge)),
    }
}

/// Code 2500: an unknown version or edge.
fn unknown_path(part: &str) -> SimulatedError {
    SimulatedError::new(2500, format!("Unknown path components: /{part}"))
}
