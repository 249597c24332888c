//! What went wrong, named by what to do about it: from code, subcode and `is_transient`.
//!
//! HTTP statuses say little here (throttling, dead tokens and outages all come as 400), and
//! `type` is `OAuthException` for nearly everything. Source: Meta's documents on error handling
//! and rate limiting.

use std::time::Duration;

use serde::Deserialize;

use crate::fault::{Fault, Reason};

/// A request that brought no usable answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// What to do about it.
    pub class: Class,
    /// What to tell people.
    pub fault: Fault,
    /// How long the API says to wait, where it does.
    pub wait: Option<Duration>,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Pause the scope of the limit.
    Throttled(Scope),
    /// Pause the business until it has another token.
    Denied,
    /// Pause the source.
    Forbidden,
    /// Do not ask this again soon.
    Rejected,
    /// Ask again.
    Unavailable,
    /// Ask for less.
    TooLarge,
    /// Ask again; the answer was nonsense.
    Garbled,
    /// It was not asked at all: the gate is closed for this scope.
    Held,
}

/// Whom a limit holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every business of the same app.
    App,
    /// The ad account.
    AdAccount,
}

impl Error {
    /// The answer makes no sense.
    pub fn garbled(message: impl Into<String>) -> Self {
        Self {
            class: Class::Garbled,
            // It may quote the answer.
            fault: Fault::new(Reason::Garbled, bounded(message.into())),
            wait: None,
        }
    }

    /// The API is out of reach or out of order.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            class: Class::Unavailable,
            fault: Fault::new(Reason::Unavailable, message),
            wait: None,
        }
    }

    /// The whole answer is more than was to be asked for.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self {
            class: Class::TooLarge,
            fault: Fault::new(Reason::Unavailable, message),
            wait: None,
        }
    }

    /// It was not asked: the gate is closed for its scope.
    pub(super) fn held(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            class: Class::Held,
            fault: Fault::new(reason, message),
            wait: None,
        }
    }

    /// Reads an answer's `error` member; `None` where the answer has none.
    pub(super) fn find(status: u16, body: &[u8]) -> Option<Self> {
        let told = serde_json::from_slice::<Envelope>(body)
            .ok()
            .and_then(|envelope| envelope.error);
        match told {
            Some(told) => Some(told.classify(status)),
            None if status >= 500 => Some(Self::unavailable(format!(
                "HTTP status {status} without a reason"
            ))),
            None if !(200..300).contains(&status) => Some(Self::garbled(format!(
                "HTTP status {status} without a reason that Meta would give"
            ))),
            None => None,
        }
    }
}

/// An answer, as far as errors go.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    error: Option<Told>,
}

/// Meta's error object. Everything but code and message is optional, and so is even that.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    message: Option<Loose>,
    #[serde(default)]
    code: Option<Loose>,
    #[serde(default)]
    error_subcode: Option<Loose>,
    #[serde(default)]
    is_transient: Option<Loose>,
    #[serde(default)]
    fbtrace_id: Option<Loose>,
}

/// A scalar in whichever shape it came.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Flag(bool),
    Whole(i64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Loose {
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Flag(_) | Self::Other(_) => None,
        }
    }

    fn flag(&self) -> bool {
        match self {
            Self::Flag(flag) => *flag,
            Self::Whole(number) => *number != 0,
            Self::Text(text) => text == "true",
            Self::Other(_) => false,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag(_) | Self::Whole(_) | Self::Other(_) => None,
        }
    }
}

impl Told {
    fn classify(self, status: u16) -> Error {
        let code = self.code.as_ref().and_then(Loose::whole);
        let subcode = self.error_subcode.as_ref().and_then(Loose::whole);
        let transient = self.is_transient.as_ref().is_some_and(Loose::flag);
        let message = self
            .message
            .and_then(Loose::text)
            .unwrap_or_else(|| "no message".to_owned());
        let class = class(code, subcode, transient, &message, status);
        let reason = match class {
            Class::Throttled(_) | Class::Held => Reason::Throttled,
            Class::Denied => Reason::Denied,
            Class::Forbidden => Reason::Forbidden,
            Class::Rejected => Reason::Rejected,
            // Where even the smallest page is too large, waiting is all that is left.
            Class::Unavailable | Class::TooLarge => Reason::Unavailable,
            Class::Garbled => Reason::Garbled,
        };
        Error {
            class,
            fault: Fault {
                reason,
                code,
                subcode,
                message: bounded(message),
                fbtrace_id: self.fbtrace_id.and_then(Loose::text).map(bounded),
            },
            wait: None,
        }
    }
}

fn class(
    code: Option<i64>,
    subcode: Option<i64>,
    transient: bool,
    message: &str,
    status: u16,
) -> Class {
    let too_large = message
        .to_ascii_lowercase()
        .contains("reduce the amount of data");
    match (code, subcode) {
        (_, Some(1_504_018)) | (Some(100), Some(1_487_534)) => Class::TooLarge,
        _ if too_large => Class::TooLarge,
        (Some(4 | 341), _) => Class::Throttled(Scope::App),
        (Some(17 | 32 | 368 | 613 | 80_000..=80_014), _) => Class::Throttled(Scope::AdAccount),
        (Some(190 | 102), _) => Class::Denied,
        (Some(10 | 200..=299), _) | (Some(100), Some(33)) => Class::Forbidden,
        (Some(1 | 2 | 104 | 960), _) => Class::Unavailable,
        _ if transient => Class::Unavailable,
        (Some(100 | 803 | 2635 | 3018), _) => Class::Rejected,
        _ if status >= 500 => Class::Unavailable,
        (Some(_), _) => Class::Rejected,
        (None, _) => Class::Garbled,
    }
}

/// Messages go into logs and onto pages: a stranger's text is kept to a readable length.
fn bounded(text: String) -> String {
    const LETTERS: usize = 500;
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Error, Scope};

    fn class_of(status: u16, error: &str) -> Class {
        Error::find(status, format!(r#"{{"error":{error}}}"#).as_bytes())
            .unwrap()
            .class
    }

    #[test]
    fn classes_come_from_code_subcode_and_transience() {
        let throttled = Class::Throttled(Scope::AdAccount);
        for (status, error, class) in [
            (
                400,
                r#"{"code":4,"is_transient":true}"#,
                Class::Throttled(Scope::App),
            ),
            (403, r#"{"code":"4"}"#, Class::Throttled(Scope::App)),
            (400, r#"{"code":341}"#, Class::Throttled(Scope::App)),
            (
                400,
                r#"{"code":17,"error_subcode":2446079,"is_transient":false}"#,
                throttled,
            ),
            (400, r#"{"code":613}"#, throttled),
            (400, r#"{"code":80000}"#, throttled),
            (400, r#"{"code":80014}"#, throttled),
            (
                400,
                r#"{"code":190,"error_subcode":463,"type":"OAuthException"}"#,
                Class::Denied,
            ),
            (401, r#"{"code":102}"#, Class::Denied),
            (403, r#"{"code":200}"#, Class::Forbidden),
            (400, r#"{"code":10}"#, Class::Forbidden),
            (400, r#"{"code":100,"error_subcode":33}"#, Class::Forbidden),
            (400, r#"{"code":100}"#, Class::Rejected),
            (400, r#"{"code":3018}"#, Class::Rejected),
            (400, r#"{"code":99999}"#, Class::Rejected),
            (
                400,
                r#"{"code":99999,"is_transient":true}"#,
                Class::Unavailable,
            ),
            (400, r#"{"code":2,"is_transient":true}"#, Class::Unavailable),
            (
                500,
                r#"{"code":1,"message":"An unknown error occurred"}"#,
                Class::Unavailable,
            ),
            (
                500,
                r#"{"code":1,"message":"Please reduce the amount of data you're asking for"}"#,
                Class::TooLarge,
            ),
            (
                400,
                r#"{"code":100,"error_subcode":1487534}"#,
                Class::TooLarge,
            ),
            (
                400,
                r#"{"code":-2,"error_subcode":1504018}"#,
                Class::TooLarge,
            ),
            (200, r#"{"code":190}"#, Class::Denied),
            (400, r#"{}"#, Class::Garbled),
            (400, r#"{"code":[1],"message":{"a":1}}"#, Class::Garbled),
        ] {
            assert_eq!(class_of(status, error), class, "{status} {error}");
        }
    }

    #[test]
    fn statuses_matter_only_where_nothing_was_said() {
        assert_eq!(Error::find(200, b"{\"data\":[]}"), None);
        assert_eq!(
            Error::find(503, b"Service Unavailable").unwrap().class,
            Class::Unavailable
        );
        assert_eq!(Error::find(404, b"<html>").unwrap().class, Class::Garbled);
        assert_eq!(Error::find(302, b"").unwrap().class, Class::Garbled);
    }
}
