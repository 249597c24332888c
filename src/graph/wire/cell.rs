//! One scalar of an answer, in whichever shape it came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::decimal;
use crate::row::{Figure, Kind};

/// A scalar in whichever shape it came.
pub(in crate::graph) enum Cell<'de> {
    Text(Cow<'de, str>),
    Number(f64),
    Whole(u64),
    Null,
    /// A list, an object, a boolean, where none belongs.
    Misplaced,
}

impl Cell<'_> {
    /// The number in the page's units. Nothing said is nothing rejected.
    pub(in crate::graph) fn figure(&self, kind: Kind) -> Figure {
        let shift = if kind == Kind::Percent { -2 } else { 0 };
        let parsed = match self {
            Self::Null => return Figure::Missing,
            Self::Text(text) if text.is_empty() => return Figure::Missing,
            Self::Text(text) => decimal::parse(text, shift),
            Self::Whole(number) => decimal::parse(&number.to_string(), shift),
            Self::Number(number) => decimal::parse(&number.to_string(), shift),
            Self::Misplaced => None,
        };
        parsed.map_or(Figure::Rejected, Figure::Given)
    }

    /// A text, or a whole number's digits.
    pub(in crate::graph) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            Self::Number(_) | Self::Null | Self::Misplaced => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Cell::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        // Only negative ones come this way. None is an id, and none is too large to be exact.
        Ok(Cell::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Cell::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Cell::Misplaced)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cell::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Misplaced)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Misplaced)
    }
}
