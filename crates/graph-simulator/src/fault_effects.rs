//! The effects of the kinds of faults: an error instead of the response, a changed response, or a broken connection.
//!
//! `faults` chooses the calls, `fault_kinds` has the syntax. Sources of the errors: Meta's pages "Error Handling",
//! "Error Reference", "Rate Limiting" and "Ads Insights API Error Codes".

use serde_json::{Value, json};

use crate::api::Reply;
use crate::call::ApiCall;
use crate::errors::SimulatedError;
use crate::fault_kinds::FaultKind;
use crate::nodes;
use crate::paging::{DEFAULT_LIMIT, encode_cursor, page_url};
use crate::routes;
use crate::usage::ReportedUsage;
use crate::world::Tier;

impl FaultKind {
    /// Whether the fault applies to a call with these parameters. `rejected_field` requires that the call requests the
    /// field, `too_large` that `limit` (default 25) is larger than its maximum; other kinds apply to every call.
    pub(crate) fn applies_to(&self, call: &ApiCall) -> bool {
        match self {
            Self::RejectedField(name) => call
                .list("fields")
                .iter()
                .any(|field| field.split(['{', '}']).any(|part| part == name)),
            Self::RejectedParam(name) => call.param(name).is_some(),
            Self::RejectedJoined => {
                let fields = call.list("fields");
                let has = |name: &str| fields.iter().any(|field| field == name);
                has("actions") && has("marketing_messages_delivered")
            }
            Self::RejectedExpansion => {
                let fields = call.param("fields").unwrap_or_default();
                nodes::parse_fields(fields)
                    .is_ok_and(|fields| fields.iter().any(nodes::RequestedField::is_edge))
            }
            Self::RejectedStatus(status) => {
                let named = format!("\"{status}\"");
                call.query.iter().any(|(_, value)| value.contains(&named))
            }
            // Without an id filter, the campaign is always part of the result.
            Self::RefusedActions(id) => {
                let filter = call.param("filtering").unwrap_or_default();
                let is_requested =
                    filter.contains(&format!("\"{id}\"")) || !filter.contains("campaign.id");
                is_requested && call.list("fields").iter().any(|field| field == "actions")
            }
            Self::TooLarge { limit, .. } => {
                let requested = call.param("limit").and_then(|limit| limit.parse().ok());
                requested.unwrap_or(DEFAULT_LIMIT as u64) > *limit
            }
            _ => true,
        }
    }

    /// Returns the error that replaces the response; `None` if the kind does not cause an error of the API.
    pub(crate) fn error(&self, call: &ApiCall) -> Option<SimulatedError> {
        Some(match self {
            Self::Throttled { code, minutes, .. } => throttled(*code).with_regain(*minutes),
            // `debug_token` succeeds and reports the token as invalid, see `alter_body`.
            Self::InvalidToken(_) if call.path_parts().1 == "debug_token" => return None,
            Self::InvalidToken(102) => {
                SimulatedError::new(102, "Session key invalid or no longer valid")
            }
            Self::InvalidToken(subcode) => invalid_token(*subcode),
            Self::Forbidden(33) => {
                SimulatedError::object_not_accessible(&call.method, call.path_parts().1)
            }
            Self::Forbidden(10) => SimulatedError::new(
                10,
                "(#10) Application does not have permission for this action",
            )
            .with_status(403),
            Self::Forbidden(100) => SimulatedError::invalid("Missing perms"),
            Self::Forbidden(3) => SimulatedError::new(
                3,
                "(#3) Application does not have the capability to make this API call.",
            ),
            Self::Forbidden(code) => {
                let message =
                    "Ad account owner has NOT grant ads_management or ads_read permission";
                SimulatedError::new(*code, format!("(#{code}) {message}")).with_status(403)
            }
            Self::Rejected(code) => rejected(*code),
            Self::RejectedField(name) if call.path_parts().2 != Some("insights") => {
                SimulatedError::nonexisting_field(name, "Campaign")
            }
            Self::RejectedField(name) => SimulatedError::invalid_insights_field(name),
            Self::RejectedExpansion => SimulatedError::invalid("Invalid parameter"),
            Self::RejectedStatus(_) => SimulatedError::invalid(
                "Filtering by effective_status with this value is not supported",
            ),
            Self::RejectedParam(name) => {
                SimulatedError::invalid(format!("Invalid parameter: {name} is not supported"))
            }
            Self::RejectedJoined => SimulatedError::invalid("Invalid combination of fields"),
            Self::RefusedActions(_) => {
                SimulatedError::new(2, "Service temporarily unavailable").with_subcode(1_504_044)
            }
            Self::TooLarge { code, .. } => too_large(*code),
            Self::Unavailable(code @ (1 | 2 | 104 | 960)) => unavailable(*code),
            _ => return None,
        })
    }

    /// Sets the values of the usage headers that the fault changes.
    pub(crate) fn report_usage(&self, reported: &mut ReportedUsage) {
        match self {
            Self::Throttled {
                code,
                minutes,
                strings,
                ..
            } => {
                // Only the header of the limit that the code is about reports 100 %, so that the limit of an ad
                // account does not look like that of the app.
                let header = match code {
                    4 | 32 | 341 => "app-usage",
                    _ => "business-use-case-usage",
                };
                reported.percent = Some(100);
                reported.header = Some(header.to_owned());
                reported.strings |= strings;
                reported.regain_minutes = minutes.unwrap_or(0);
            }
            Self::Usage(usage) => {
                *reported = ReportedUsage {
                    tier: reported.tier,
                    ..usage.clone()
                }
            }
            Self::Development => reported.tier = Some(Tier::Development),
            _ => {}
        }
    }

    /// Changes the body of a successful response. `call_number` makes the cursors of endless pages unique.
    pub(crate) fn alter_body(&self, body: &mut Value, call: &ApiCall, call_number: u64) {
        match self {
            Self::InvalidToken(subcode) if call.path_parts().1 == "debug_token" => {
                let SimulatedError { code, message, .. } = invalid_token(*subcode);
                body["data"]["is_valid"] = false.into();
                body["data"]["error"] =
                    json!({ "code": code, "message": message, "subcode": subcode });
            }
            Self::DoubledRange | Self::DroppedRange => self.alter_ranges(body, call),
            Self::EmptyList => clear_lists(body),
            Self::RepeatingCursor => set_next_page(body, call, 0),
            Self::EndlessPages if body["paging"]["next"].is_null() => {
                let index = usize::try_from(call_number).unwrap_or(0);
                set_next_page(body, call, 1_000_000 + index);
            }
            Self::Shape => {
                if let Some(data) = body.get_mut("data")
                    && let Some(rows) = data.as_array_mut()
                {
                    let rows = std::mem::take(rows).into_iter().enumerate();
                    *data = rows.map(|(idx, row)| (idx.to_string(), row)).collect();
                }
            }
            _ => {
                let rows = body.get_mut("data").and_then(Value::as_array_mut);
                for row in rows.into_iter().flatten().filter_map(Value::as_object_mut) {
                    self.alter_row(row);
                }
            }
        }
    }

    /// Changes status, headers, body and transport of any response.
    pub(crate) fn alter_reply(&self, reply: &mut Reply, trace_id: &str) {
        match self {
            Self::Slow(delay) => reply.delay += *delay,
            Self::Mode(mode) => reply.mode = mode.clone(),
            Self::Throttled { silent: true, .. } => {
                reply
                    .headers
                    .retain(|(name, _)| !name.contains("usage") && !name.contains("throttle"));
            }
            Self::Version(version) => {
                reply
                    .headers
                    .retain(|(name, _)| name != "facebook-api-version");
                let warning = routes::upgrade_warning(routes::NEWEST_VERSION, version);
                reply.header("facebook-api-version", version);
                reply.header("x-ad-api-version-warning", &warning);
            }
            Self::Unavailable(500) => {
                let page = "<html><body><h1>Sorry, something went wrong.</h1></body></html>";
                reply.replace(500, "text/html", page.to_owned());
            }
            Self::Unavailable(503) => {
                reply.replace(503, "text/plain", "Service Unavailable".to_owned());
            }
            Self::Body("empty") => reply.replace(200, "application/json", String::new()),
            Self::Body("denied_html") => {
                let page = "<html><title>Error</title>Sorry, something went wrong.</html>";
                reply.replace(401, "text/html", page.to_owned());
                reply.header(
                    "www-authenticate",
                    "OAuth \"Facebook Platform\" \"invalid_token\" \"token has expired\"",
                );
            }
            Self::Body("denied_text") => {
                let error =
                    json!({ "error": "invalid_token", "error_description": "token has expired" });
                reply.replace(401, "application/json", error.to_string());
            }
            Self::Body("denied_form") => {
                let fields = "error=invalid_token&error_description=token+has+expired";
                reply.replace(400, "application/x-www-form-urlencoded", fields.to_owned());
            }
            Self::Body("denied_twice") => {
                let first = invalid_token(463).body(trace_id);
                let second = unavailable(1).body(trace_id);
                reply.replace(400, "application/json", format!("{first}{second}"));
            }
            Self::Body("deep") => reply.replace(
                200,
                "application/json",
                "[".repeat(100_000) + &"]".repeat(100_000),
            ),
            Self::Body("error") => {
                reply.replace(
                    200,
                    "application/json",
                    unavailable(2).body(trace_id).to_string(),
                );
            }
            Self::Body(_) => {
                let page = "<!DOCTYPE html><html><title>Error</title></html>";
                reply.replace(200, "text/html", page.to_owned());
            }
            _ => {}
        }
    }

    /// Sends the rows of the first of several ranges twice, or leaves out those of the last.
    fn alter_ranges(&self, body: &mut Value, call: &ApiCall) {
        let Ok(Some(Value::Array(ranges))) = call.json("time_ranges") else {
            return;
        };
        let Some(rows) = body.get_mut("data").and_then(Value::as_array_mut) else {
            return;
        };
        let is_of = |row: &Value, range: &Value| {
            row["date_start"] == range["since"] && row["date_stop"] == range["until"]
        };
        if let (Self::DroppedRange, Some(last)) = (self, ranges.last()) {
            rows.retain(|row| !is_of(row, last));
        } else if let Some(first) = ranges.first() {
            let doubled: Vec<Value> = rows
                .iter()
                .filter(|row| is_of(row, first))
                .cloned()
                .collect();
            rows.extend(doubled);
        }
    }

    /// Changes one item of `data` of a successful response.
    fn alter_row(&self, row: &mut serde_json::Map<String, Value>) {
        match self {
            Self::NoIds => row.retain(|field, _| field != "id" && !field.ends_with("_id")),
            Self::NoDates => row.retain(|field, _| !field.starts_with("date_")),
            Self::OtherDates if row.contains_key("date_start") => {
                // The dates of the sample response on Meta's page "Measure Performance". The sample request has no
                // dates.
                row.insert("date_start".to_owned(), "2024-05-01".into());
                row.insert("date_stop".to_owned(), "2025-07-29".into());
            }
            Self::MixedAttribution if row.contains_key("date_start") => {
                row.retain(|_, value| !value.is_array());
                row.insert("attribution_setting".to_owned(), "multiple".into());
            }
            Self::Figures { value, field } => {
                for (name, original) in row.iter_mut() {
                    let is_affected = field.as_ref().is_none_or(|field| field == name);
                    if is_affected && !name.ends_with("_id") && name != "id" {
                        alter_value(original, value);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Replaces decimal text, and the value of each action in a list, by `replacement`: a text, or the name of a JSON type.
/// Other values stay.
fn alter_value(value: &mut Value, replacement: &str) {
    if let Some(stats) = value.as_array_mut() {
        for stat in stats.iter_mut().filter_map(|stat| stat.get_mut("value")) {
            alter_value(stat, replacement);
        }
        return;
    }
    let Some(number) = value.as_str().and_then(|text| text.parse::<f64>().ok()) else {
        return;
    };
    *value = match replacement {
        "list" => json!([number]),
        "object" => json!({ "value": number }),
        "bool" => true.into(),
        "number" => json!(number),
        "null" => Value::Null,
        text => text.into(),
    };
}

/// Removes the items and the paging of all lists, also of those within nodes.
fn clear_lists(body: &mut Value) {
    let Some(members) = body.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(items)) = members.get_mut("data") {
        items.clear();
        members.remove("paging");
    }
    members.values_mut().for_each(clear_lists);
}

/// Sets the next page of a list to the one after the item with this index.
fn set_next_page(body: &mut Value, call: &ApiCall, index: usize) {
    if body["data"].is_array() {
        let after = encode_cursor(index);
        let next = page_url(call, "after", &after);
        body["paging"] = json!({ "cursors": { "before": after, "after": after }, "next": next });
    }
}

/// Returns the error of a rate limit.
fn throttled(code: u32) -> SimulatedError {
    let message = match code {
        4 => "(#4) Application request limit reached",
        17 => "User request limit reached",
        32 => "(#32) Page request limit reached",
        341 => "(#341) Application limit reached",
        368 => "The action attempted has been deemed abusive or is otherwise disallowed",
        613 => "(#613) Calls to this api have exceeded the rate limit.",
        _ => "There have been too many calls from this ad-account. Wait a bit and try again.",
    };
    let error = SimulatedError::new(code, message);
    match code {
        4 => error.with_subcode(1_504_022),
        613 => error.with_subcode(1_487_742),
        17 | 80_000..=80_014 => error
            // Meta sends `error_data` as an object or as a string that contains one as JSON.
            .with_data("{\"blame_field_specs\":[[\"\"]]}".into())
            .with_subcode(2_446_079).with_user(
            "Ad Account Has Too Many API Calls",
            "There have been too many calls from this ad-account. Please wait a bit and try again.",
        ),
        _ => error,
    }
}

/// Returns error 190 with this subcode, without a subcode if it is 0.
fn invalid_token(subcode: u32) -> SimulatedError {
    let cause = match subcode {
        460 => {
            "The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons."
        }
        463 => "Session has expired.",
        467 => "The session is invalid because the user logged out.",
        _ => "The session is invalid.",
    };
    let error = SimulatedError::new(190, format!("Error validating access token: {cause}"));
    if subcode == 0 {
        error
    } else {
        error.with_subcode(subcode)
    }
}

/// Returns a permanent error with this code.
fn rejected(code: u32) -> SimulatedError {
    let message = match code {
        803 => "(#803) Some of the aliases you requested do not exist: 0",
        2635 => {
            "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version."
        }
        3018 => {
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date"
        }
        100 => "(#100) Invalid parameter",
        _ => "The call cannot be processed",
    };
    SimulatedError::new(code, message)
        .with_status(if code == 803 { 404 } else { 400 })
        .with_data(json!({ "blame_field_specs": [["fields"]] }))
}

/// Returns the error for a result that is too large. `code` is 1, or the subcode of an error.
fn too_large(code: u32) -> SimulatedError {
    match code {
        1_487_534 => SimulatedError::invalid("Too much data was requested").with_subcode(1_487_534),
        1_504_018 => SimulatedError::new(1, "Your request timed out. Please try a smaller date range, fetch less data, or use async jobs").with_subcode(1_504_018),
        _ => SimulatedError::new(1, "Please reduce the amount of data you're asking for, then retry your request").with_status(500),
    }
}

/// Returns a temporary error with this code; error 2 for unknown codes.
fn unavailable(code: u32) -> SimulatedError {
    match code {
        1 => SimulatedError::new(1, "An unknown error occurred").with_status(500),
        104 => SimulatedError::new(104, "Connection reset by peer"),
        960 => SimulatedError::new(
            960,
            "Request aborted. This could happen if a dependent request failed or the entire request timed out.",
        ),
        _ => SimulatedError::new(
            2,
            "An unexpected error has occurred. Please retry your request later.",
        )
        .with_transient(),
    }
}
