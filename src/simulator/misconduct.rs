//! What each kind of fault does: an error instead of the answer, an answer bent out of shape, or
//! bytes that misbehave.
//!
//! Whom it strikes and how often is `faults`'s, how it is written `kinds`'s.

use serde_json::{Value, json};

use super::api::Reply;
use super::call::Call;
use super::errors::ApiError;
use super::kinds::Kind;
use super::paging::{address, cursor};
use super::routes;
use super::usage::Pretence;
use super::world::Tier;

impl Kind {
    /// Whether it has anything to do with what the call asks for.
    pub(super) fn concerns(&self, call: &Call) -> bool {
        match self {
            Self::RejectedField(name) => call
                .list("fields")
                .iter()
                .any(|field| field.split(['{', '}']).any(|part| part == name)),
            Self::TooLarge { limit, .. } => {
                let asked = call.param("limit").and_then(|limit| limit.parse().ok());
                asked.unwrap_or(25) > *limit
            }
            _ => true,
        }
    }

    /// The error that stands in the place of the answer.
    pub(super) fn error(&self, call: &Call) -> Option<ApiError> {
        Some(match self {
            Self::Throttled { code, minutes, .. } => throttled(*code).regain(*minutes),
            // The app may still ask about a dead token.
            Self::Denied(_) if call.parts().1 == "debug_token" => return None,
            Self::Denied(102) => ApiError::new(102, "Session key invalid or no longer valid"),
            Self::Denied(subcode) => denied(*subcode),
            Self::Forbidden(33) => ApiError::unsupported(&call.method, call.parts().1),
            Self::Forbidden(10) => ApiError::new(
                10,
                "(#10) Application does not have permission for this action",
            )
            .status(403),
            Self::Forbidden(code) => {
                let message =
                    "Ad account owner has NOT grant ads_management or ads_read permission";
                ApiError::new(*code, format!("(#{code}) {message}")).status(403)
            }
            Self::Rejected(code) => rejected(*code),
            Self::RejectedField(name) => ApiError::invalid_insights_field(name),
            Self::TooLarge { code, .. } => too_large(*code),
            Self::Unavailable(code @ (1 | 2 | 104 | 960)) => unavailable(*code),
            _ => return None,
        })
    }

    /// What the usage headers say, told by this fault.
    pub(super) fn pretend(&self, pretence: &mut Pretence) {
        match self {
            Self::Throttled {
                code,
                minutes,
                strings,
                ..
            } => {
                // One account's full quota must not look like the app's.
                let header = match code {
                    4 | 32 | 341 => "app-usage",
                    _ => "business-use-case-usage",
                };
                pretence.percent = Some(100);
                pretence.header = Some(header.to_owned());
                pretence.strings |= strings;
                pretence.regain_minutes = minutes.unwrap_or(0);
            }
            Self::Usage(usage) => {
                *pretence = Pretence {
                    tier: pretence.tier,
                    ..usage.clone()
                }
            }
            Self::Development => pretence.tier = Some(Tier::Development),
            _ => {}
        }
    }

    /// Bends a good answer.
    pub(super) fn bend(&self, answer: &mut Value, call: &Call, number: u64) {
        match self {
            Self::Denied(subcode) if call.parts().1 == "debug_token" => {
                let ApiError { code, message, .. } = denied(*subcode);
                answer["data"]["is_valid"] = false.into();
                answer["data"]["error"] =
                    json!({ "code": code, "message": message, "subcode": subcode });
            }
            Self::RepeatingCursor => lead_on(answer, call, 0),
            Self::EndlessPages if answer["paging"]["next"].is_null() => {
                let place = usize::try_from(number).unwrap_or(0);
                lead_on(answer, call, 1_000_000 + place);
            }
            Self::Shape => {
                if let Some(data) = answer.get_mut("data")
                    && let Some(rows) = data.as_array_mut()
                {
                    let rows = std::mem::take(rows).into_iter().enumerate();
                    *data = rows.map(|(at, row)| (at.to_string(), row)).collect();
                }
            }
            _ => {
                let rows = answer.get_mut("data").and_then(Value::as_array_mut);
                for row in rows.into_iter().flatten().filter_map(Value::as_object_mut) {
                    self.bend_row(row);
                }
            }
        }
    }

    /// Bends what goes over the socket.
    pub(super) fn misbehave(&self, reply: &mut Reply, trace: &str) {
        match self {
            Self::Slow(delay) => reply.delay += *delay,
            Self::Conduct(conduct) => reply.conduct = conduct.clone(),
            Self::Throttled { silent: true, .. } => {
                reply
                    .headers
                    .retain(|(name, _)| !name.contains("usage") && !name.contains("throttle"));
            }
            Self::Version(version) => {
                reply
                    .headers
                    .retain(|(name, _)| name != "facebook-api-version");
                let warning = routes::upgraded(routes::NEWEST, version);
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
            Self::Body("deep") => reply.replace(
                200,
                "application/json",
                "[".repeat(100_000) + &"]".repeat(100_000),
            ),
            Self::Body("error") => {
                reply.replace(
                    200,
                    "application/json",
                    unavailable(2).body(trace).to_string(),
                );
            }
            Self::Body(_) => {
                let page = "<!DOCTYPE html><html><title>Error</title></html>";
                reply.replace(200, "text/html", page.to_owned());
            }
            _ => {}
        }
    }

    fn bend_row(&self, row: &mut serde_json::Map<String, Value>) {
        match self {
            Self::NoIds => row.retain(|field, _| field != "id" && !field.ends_with("_id")),
            Self::NoDates => row.retain(|field, _| !field.starts_with("date_")),
            Self::OtherDates if row.contains_key("date_start") => {
                // The dates of Meta's own sample, which asked for none.
                row.insert("date_start".to_owned(), "2024-05-01".into());
                row.insert("date_stop".to_owned(), "2025-07-29".into());
            }
            Self::MixedAttribution if row.contains_key("date_start") => {
                row.retain(|_, value| !value.is_array());
                row.insert("attribution_setting".to_owned(), "multiple".into());
            }
            Self::Figures { value, field } => {
                for (name, figure) in row.iter_mut() {
                    let meant = field.as_ref().is_none_or(|field| field == name);
                    if meant && !name.ends_with("_id") && name != "id" {
                        bend_figure(figure, value);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Decimal text becomes something else; so does the value of each action.
fn bend_figure(figure: &mut Value, into: &str) {
    if let Some(stats) = figure.as_array_mut() {
        for stat in stats.iter_mut().filter_map(|stat| stat.get_mut("value")) {
            bend_figure(stat, into);
        }
        return;
    }
    let Some(number) = figure.as_str().and_then(|text| text.parse::<f64>().ok()) else {
        return;
    };
    *figure = match into {
        "list" => json!([number]),
        "object" => json!({ "value": number }),
        "bool" => true.into(),
        "number" => json!(number),
        "null" => Value::Null,
        text => text.into(),
    };
}

fn lead_on(answer: &mut Value, call: &Call, place: usize) {
    if answer["data"].is_array() {
        let after = cursor(place);
        let next = address(call, "after", &after);
        answer["paging"] = json!({ "cursors": { "before": after, "after": after }, "next": next });
    }
}

fn throttled(code: u32) -> ApiError {
    let message = match code {
        4 => "(#4) Application request limit reached",
        17 => "User request limit reached",
        32 => "(#32) Page request limit reached",
        341 => "(#341) Application limit reached",
        368 => "The action attempted has been deemed abusive or is otherwise disallowed",
        613 => "(#613) Calls to this api have exceeded the rate limit.",
        _ => "There have been too many calls from this ad-account. Wait a bit and try again.",
    };
    let error = ApiError::new(code, message);
    match code {
        4 => error.subcode(1_504_022),
        613 => error.subcode(1_487_742),
        17 | 80_000..=80_014 => error
            // Meta also sends this member as text.
            .data("{\"blame_field_specs\":[[\"\"]]}".into())
            .subcode(2_446_079).user(
            "Ad Account Has Too Many API Calls",
            "There have been too many calls from this ad-account. Please wait a bit and try again.",
        ),
        _ => error,
    }
}

fn denied(subcode: u32) -> ApiError {
    let why = match subcode {
        460 => {
            "The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons."
        }
        463 => "Session has expired.",
        467 => "The session is invalid because the user logged out.",
        _ => "The session is invalid.",
    };
    let error = ApiError::new(190, format!("Error validating access token: {why}"));
    if subcode == 0 {
        error
    } else {
        error.subcode(subcode)
    }
}

fn rejected(code: u32) -> ApiError {
    let message = match code {
        803 => "(#803) Some of the aliases you requested do not exist: 0",
        2635 => {
            "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version."
        }
        3018 => {
            "(#3018) The start date of the time range cannot be beyond 37 months from the current date"
        }
        100 => "(#100) Invalid parameter",
        _ => "The call cannot be answered",
    };
    ApiError::new(code, message)
        .status(if code == 803 { 404 } else { 400 })
        .data(json!({ "blame_field_specs": [["fields"]] }))
}

fn too_large(code: u32) -> ApiError {
    match code {
        1_487_534 => ApiError::invalid("Too much data was requested").subcode(1_487_534),
        1_504_018 => ApiError::new(1, "Your request timed out. Please try a smaller date range, fetch less data, or use async jobs").subcode(1_504_018),
        _ => ApiError::new(1, "Please reduce the amount of data you're asking for, then retry your request").status(500),
    }
}

fn unavailable(code: u32) -> ApiError {
    match code {
        1 => ApiError::new(1, "An unknown error occurred").status(500),
        104 => ApiError::new(104, "Connection reset by peer"),
        960 => ApiError::new(
            960,
            "Request aborted. This could happen if a dependent request failed or the entire request timed out.",
        ),
        _ => ApiError::new(
            2,
            "An unexpected error has occurred. Please retry your request later.",
        )
        .transient(),
    }
}
