//! Error responses in the format of the API, with all members that Meta is known to send.
//!
//! This module has the envelope and the errors that several modules return. Meta documents the envelope and the codes
//! on its pages "Error Handling" and "Error Reference", but not the HTTP statuses. Those here are from responses of the
//! real API that others published, in which almost every error has status 400.

use serde_json::{Value, json};

use crate::traffic_model::splitmix64;

/// An error response of the API. Built from [`SimulatedError::new`] or one of the common errors, with the `with_…`
/// methods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SimulatedError {
    /// HTTP status. Default 400.
    pub(crate) status: u16,
    /// `code`: Meta's error code.
    pub(crate) code: u32,
    /// `error_subcode`; `None`: the member is absent.
    pub(crate) subcode: Option<u32>,
    /// `type` in the envelope. Default `OAuthException`, which Meta sends in most errors, including outages.
    pub(crate) kind: &'static str,
    /// `message`. Most of Meta's messages start with the code, such as `(#100) `; the caller includes this prefix.
    pub(crate) message: String,
    /// `is_transient`: whether Meta recommends a retry. Default false.
    pub(crate) transient: bool,
    /// `error_user_title` and `error_user_msg`, which Meta localizes; `None`: both members are absent.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// `error_data`: an object, or a string that contains one as JSON; `None`: the member is absent. Boxed to keep
    /// the error small.
    pub(crate) data: Option<Box<Value>>,
    /// `estimated_time_to_regain_access` of the usage headers, in minutes; `None`: as without the error.
    pub(crate) regain_minutes: Option<u64>,
}

impl SimulatedError {
    /// Returns an error with status 400, type `OAuthException` and no optional members.
    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            subcode: None,
            kind: "OAuthException",
            message: message.into(),
            transient: false,
            user: None,
            data: None,
            regain_minutes: None,
        }
    }

    /// Sets `error_subcode`.
    pub(crate) fn with_subcode(self, subcode: u32) -> Self {
        Self {
            subcode: Some(subcode),
            ..self
        }
    }

    /// Sets the HTTP status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Sets `is_transient` to true.
    pub(crate) fn with_transient(self) -> Self {
        Self {
            transient: true,
            ..self
        }
    }

    /// Sets `type`.
    pub(crate) fn with_kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// Sets `error_user_title` and `error_user_msg`.
    pub(crate) fn with_user(self, title: &'static str, text: &'static str) -> Self {
        Self {
            user: Some((title, text)),
            ..self
        }
    }

    /// Sets `error_data`.
    pub(crate) fn with_data(self, data: Value) -> Self {
        Self {
            data: Some(Box::new(data)),
            ..self
        }
    }

    /// Sets the minutes that the usage headers report as `estimated_time_to_regain_access`.
    pub(crate) fn with_regain(self, minutes: Option<u64>) -> Self {
        Self {
            regain_minutes: minutes,
            ..self
        }
    }

    /// Code 100: invalid parameter. Meta's messages of this code start with `(#100) `, which this function adds.
    pub(crate) fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(100, format!("(#100) {}", message.as_ref()))
    }

    /// Code 100: an unknown insights field, which fails the whole call.
    pub(crate) fn invalid_insights_field(field: &str) -> Self {
        Self::invalid(format!(
            "{field} is not valid for fields param. please check \
             https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for all \
             valid values"
        ))
    }

    /// Code 100: a field that the node type does not have, which fails the whole call.
    pub(crate) fn nonexisting_field(field: &str, node: &str) -> Self {
        Self::invalid(format!(
            "Tried accessing nonexisting field ({field}) on node type ({node})"
        ))
    }

    /// Code 100, subcode 33: the object does not exist or the token cannot read it. Meta does not distinguish the
    /// two.
    pub(crate) fn object_not_accessible(method: &str, id: &str) -> Self {
        let request = method.to_ascii_lowercase();
        Self::new(
            100,
            format!(
                "Unsupported {request} request. Object with ID '{id}' does not exist, cannot be \
                 loaded due to missing permissions, or does not support this operation. Please \
                 read the Graph API documentation at \
                 https://developers.facebook.com/docs/graph-api"
            ),
        )
        .with_subcode(33)
        .with_kind("GraphMethodException")
    }

    /// Returns the response body. Members without a value are absent. `is_transient` is present if it is true or the
    /// error has texts for users; clients must treat an absent member like false.
    pub(crate) fn body(&self, trace_id: &str) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "code": self.code,
            "fbtrace_id": trace_id,
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        if self.transient || self.user.is_some() {
            error["is_transient"] = self.transient.into();
        }
        if let Some(data) = &self.data {
            error["error_data"] = Value::clone(data);
        }
        if let Some((title, text)) = self.user {
            error["error_user_title"] = title.into();
            error["error_user_msg"] = text.into();
        }
        json!({ "error": error })
    }
}

/// Returns the trace id of a call in Meta's format: `A` and 22 letters and digits.
pub(crate) fn trace_id(seed: u64, call_number: u64) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = splitmix64(seed ^ splitmix64(call_number));
    let mut trace_id = String::from("A");
    for _ in 0..22 {
        let idx = usize::try_from(state % 62).unwrap_or(0);
        trace_id.push(char::from(ALPHABET[idx]));
        state = splitmix64(state);
    }
    trace_id
}
