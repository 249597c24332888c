//! Ids of the API's objects, kept as text: they are digits, but exceed the 2^53 up to which floats
//! (and therefore numbers in many JSON parsers) are exact.

use std::fmt;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Id of an ad account: the digits after `act_`.
///
/// # Example
///
/// ```
/// use marketing_messages_exporter::model::AccountId;
///
/// let id = AccountId::parse("act_1234567890").unwrap();
/// assert_eq!(id.digits(), "1234567890"); // the `account_id` label
/// assert_eq!(id.to_string(), "act_1234567890"); // the `source` label
/// assert_eq!(AccountId::parse("acme"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Parses `act_123` or `123`; returns `None` if anything but 1 to 36 digits follows.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("act_").unwrap_or(text);
        is_id(digits).then(|| Self(digits.into()))
    }

    /// Returns the digits without `act_`, as in the `account_id` label.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// `act_` and the digits, as in the API's paths and the `source` label.
impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "act_{}", self.0)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("invalid ad account id"))
    }
}

/// Id of a campaign, an ad set or an ad: digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Arc<str>);

impl ObjectId {
    /// Parses an id; returns `None` for anything but 1 to 36 digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_id(text).then(|| Self(text.into()))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("invalid object id"))
    }
}

/// Maximum digits of an id. Ids seen so far have up to 18; twice that bounds the memory that an
/// invalid response can occupy.
const MAX_ID_DIGITS: usize = 36;

/// Whether the text consists of 1 to [`MAX_ID_DIGITS`] ASCII digits.
fn is_id(text: &str) -> bool {
    (1..=MAX_ID_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Id of an object with its display name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamedId {
    /// Id of the object.
    pub id: ObjectId,
    /// The API's name, unaltered; empty if the API returned none.
    pub name: Arc<str>,
}
