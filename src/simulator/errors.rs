//! The API's error envelope, with every member that Meta is known to send.
//!
//! Errors are made where they arise; here are their shape, and the wordings that several need.
//! The HTTP statuses are those seen in the wild: nearly everything is a 400.

use serde_json::{Value, json};

use super::curve::mix;

/// What the API says instead of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: u32,
    pub(super) subcode: Option<u32>,
    /// `OAuthException` for nearly everything, outages included.
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) transient: bool,
    /// Title and text for people, in Meta's case localised.
    pub(super) user: Option<(&'static str, &'static str)>,
    /// More for programs: an object, or the text of one.
    pub(super) data: Option<Box<Value>>,
    /// Minutes until access is regained, which the usage headers then tell.
    pub(super) regain_minutes: Option<u64>,
}

impl ApiError {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
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

    pub(super) fn subcode(self, subcode: u32) -> Self {
        Self {
            subcode: Some(subcode),
            ..self
        }
    }

    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(super) fn transient(self) -> Self {
        Self {
            transient: true,
            ..self
        }
    }

    pub(super) fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn user(self, title: &'static str, text: &'static str) -> Self {
        Self {
            user: Some((title, text)),
            ..self
        }
    }

    pub(super) fn data(self, data: Value) -> Self {
        Self {
            data: Some(Box::new(data)),
            ..self
        }
    }

    pub(super) fn regain(self, minutes: Option<u64>) -> Self {
        Self {
            regain_minutes: minutes,
            ..self
        }
    }

    /// Code 100, a parameter that is not right.
    pub(super) fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(100, format!("(#100) {}", message.as_ref()))
    }

    /// An insights field that does not exist: the whole call fails.
    pub(super) fn invalid_insights_field(field: &str) -> Self {
        Self::invalid(format!(
            "{field} is not valid for fields param. please check \
             https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for all \
             valid values"
        ))
    }

    /// A field that the node does not have: the whole call fails.
    pub(super) fn nonexisting_field(field: &str, node: &str) -> Self {
        Self::invalid(format!(
            "Tried accessing nonexisting field ({field}) on node type ({node})"
        ))
    }

    /// Missing or not visible to the token: Meta does not tell which.
    pub(super) fn unsupported(method: &str, id: &str) -> Self {
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
        .subcode(33)
        .kind("GraphMethodException")
    }

    /// The body; optional members stand only where there is something to say.
    pub(super) fn body(&self, trace: &str) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "code": self.code,
            "fbtrace_id": trace,
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

/// The `n`th trace id: `A` and 22 letters and digits, as Meta's look.
pub(super) fn trace_id(seed: u64, n: u64) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = mix(seed ^ mix(n));
    let mut trace = String::from("A");
    for _ in 0..22 {
        let letter = usize::try_from(state % 62).unwrap_or(0);
        trace.push(char::from(LETTERS[letter]));
        state = mix(state);
    }
    trace
}
