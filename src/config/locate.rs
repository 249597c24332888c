//! Finds the line of a place, by reading the document once more.
//!
//! serde keeps no positions, but every error of the YAML reader has one: so this walks to the
//! place and fails there on purpose. Where the place is not there (a key that is missing), the
//! line is that of the nearest thing above it.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::place::{Place, Step};

/// The line of a place, counted from 1.
pub(super) fn line(text: &str, place: &Place) -> Option<usize> {
    let walk = Walk(place.steps());
    let arrived = walk.deserialize(serde_yaml::Deserializer::from_str(text));
    Some(arrived.err()?.location()?.line())
}

/// What is still to go.
struct Walk<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Scalars are not listed: being refused as a wrong type gives their position just as well.
impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to arrive")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (wanted, mut misses) = match self.0.first() {
            Some(Step::Key(key)) => (key.as_ref(), 0),
            Some(Step::Again(key)) => (key.as_str(), 1),
            Some(Step::Index(_)) | None => return Err(A::Error::custom("here")),
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == wanted && misses == 0 {
                return map.next_value_seed(Walk(&self.0[1..]));
            }
            misses -= usize::from(key == wanted);
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some(Step::Index(index)) = self.0.first() {
            for _ in 0..*index {
                list.next_element::<IgnoredAny>()?;
            }
            list.next_element_seed(Walk(&self.0[1..]))?;
        }
        Err(A::Error::custom("here"))
    }
}
