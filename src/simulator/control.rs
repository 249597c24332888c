//! `/simulator`: tells what it is, and lets faults be set while it runs.
//!
//! Not of Meta's dialect, and outside of its versions, so that it cannot be met by accident.

use serde_json::json;

use super::api::Reply;
use super::call::Call;
use super::faults::{Fault, Faults};
use super::kinds::KINDS;

/// Whether the call is for the simulator itself.
pub(super) fn concerns(path: &str) -> bool {
    path == "/simulator" || path.starts_with("/simulator/")
}

/// The answer to such a call.
pub(super) fn answer(call: &Call, faults: &mut Faults) -> Reply {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/simulator") => {}
        ("POST", "/simulator/faults") => {
            let lines = call.body.lines().map(str::trim);
            let read = lines
                .filter(|line| !line.is_empty())
                .map(|line| Fault::parse(line).map_err(|why| format!("{line}: {why}")));
            match read.collect::<Result<_, _>>() {
                Ok(read) => faults.replace(read),
                Err(why) => return Reply::json(400, &json!({ "error": why })),
            }
        }
        ("DELETE", "/simulator/faults") => faults.replace(Vec::new()),
        _ => return Reply::json(404, &json!({ "error": "see GET /simulator" })),
    }
    let kinds: Vec<_> = KINDS
        .iter()
        .map(|(kind, does)| json!({ "kind": kind, "does": does }))
        .collect();
    let armed: Vec<_> = faults.armed().iter().map(Fault::to_string).collect();
    Reply::json(
        200,
        &json!({
            "what": "a simulated Graph API",
            "faults": armed,
            "set": "POST /simulator/faults, one fault a line, replaces all; DELETE ends them",
            "syntax": "KIND[=VALUE][;OPTION[=VALUE]]…[@SCOPE[&SCOPE]…][*COUNT][~PERCENT]",
            "scopes": ["all", "business:NAME", "act_ID", "ID", "endpoint:NAME"],
            "kinds": kinds,
        }),
    )
}
