//! What can go wrong with the API, named by what follows from it.

use std::fmt;

/// The class of a fault, and the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Too many calls: the scope of the limit pauses.
    Throttled,
    /// The token is not valid: the business pauses until it holds another one.
    Denied,
    /// The token may not see this source: that source pauses.
    Forbidden,
    /// The API does not take the question.
    Rejected,
    /// The API is out of order, or out of reach: the same question may be answered later.
    Unavailable,
    /// The answer makes no sense.
    Garbled,
    /// We made a mistake: the poll panicked.
    Panicked,
}

impl Reason {
    /// Every reason, in the order of the documents.
    pub const ALL: [Self; 7] = [
        Self::Throttled,
        Self::Denied,
        Self::Forbidden,
        Self::Rejected,
        Self::Unavailable,
        Self::Garbled,
        Self::Panicked,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Forbidden => "forbidden",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Garbled => "garbled",
            Self::Panicked => "panicked",
        }
    }
}

/// One thing that went wrong, with what Meta's support asks for. Never holds a token or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What follows from it.
    pub reason: Reason,
    /// Meta's code, where it gave one.
    pub code: Option<i64>,
    /// Meta's subcode, where it gave one.
    pub subcode: Option<i64>,
    /// What Meta said, or what we could not do.
    pub message: String,
    /// Meta's name for that call in its own logs.
    pub fbtrace_id: Option<String>,
}

impl Fault {
    /// A fault that we noticed ourselves.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            code: None,
            subcode: None,
            message: message.into(),
            fbtrace_id: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        match (self.code, self.subcode) {
            (Some(code), Some(subcode)) => write!(f, " (code {code}, subcode {subcode})")?,
            (Some(code), None) => write!(f, " (code {code})")?,
            _ => {}
        }
        write!(f, ": {}", self.message)
    }
}
