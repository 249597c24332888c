//! The endpoint `/simulator`: describes the simulator and sets faults while it runs.
//!
//! It is not part of Meta's API. Its paths have no version, so that a client of the API cannot call it by accident.

use serde_json::json;

use crate::api::Reply;
use crate::call::ApiCall;
use crate::fault_kinds::FAULT_KINDS;
use crate::faults::{Fault, Faults};

/// Whether the path belongs to this endpoint.
pub(crate) fn is_control_path(path: &str) -> bool {
    path == "/simulator" || path.starts_with("/simulator/")
}

/// Responds to a call of this endpoint.
pub(crate) fn respond(call: &ApiCall, faults: &mut Faults) -> Reply {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/simulator") => {}
        ("POST", "/simulator/faults") => {
            let lines = call.body.lines().map(str::trim);
            let parsed = lines
                .filter(|line| !line.is_empty())
                .map(|line| Fault::parse(line).map_err(|error| format!("{line}: {error}")));
            match parsed.collect::<Result<_, _>>() {
                Ok(parsed) => faults.replace(parsed),
                Err(error) => return Reply::json(400, &json!({ "error": error })),
            }
        }
        ("DELETE", "/simulator/faults") => faults.replace(Vec::new()),
        _ => return Reply::json(404, &json!({ "error": "unknown path; see GET /simulator" })),
    }
    let kinds: Vec<_> = FAULT_KINDS
        .iter()
        .map(|(syntax, effect)| json!({ "kind": syntax, "does": effect }))
        .collect();
    let active: Vec<_> = faults.active().iter().map(Fault::to_string).collect();
    Reply::json(
        200,
        &json!({
            "what": "a simulated Graph API",
            "faults": active,
            "set": "POST /simulator/faults replaces all faults, one per line; DELETE removes them",
            "syntax": "KIND[=VALUE][;OPTION[=VALUE]]…[@SCOPE[&SCOPE]…][*COUNT][~PERCENT]",
            "scopes": ["all", "business:NAME", "act_ID", "ID", "endpoint:NAME"],
            "kinds": kinds,
        }),
    )
}
