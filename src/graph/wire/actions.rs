//! The lists of actions, their values and returns: one figure an action type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Cell, count};
use crate::row::{ActionList, Figure, Kind};

/// One of the lists of actions; says whether there was one.
pub(super) struct ActionsSeed<'a> {
    pub(super) list: ActionList,
    pub(super) action_types: &'a [String],
    pub(super) figures: &'a mut [Figure],
    pub(super) rejected: &'a mut BTreeMap<String, u64>,
}

impl ActionsSeed<'_> {
    /// Nothing in the list can be believed.
    fn misplaced(self) -> bool {
        count(self.rejected, self.list.field());
        self.figures[self.list.columns(self.action_types.len())].fill(Figure::Rejected);
        true
    }
}

impl<'de> DeserializeSeed<'de> for ActionsSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ActionsSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of actions")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(self.misplaced())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(self.misplaced())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(self.misplaced())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(self.misplaced())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(self.misplaced())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.misplaced())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while let Some(action) = seq.next_element::<Action<'de>>()? {
            let place = self
                .action_types
                .iter()
                .position(|known| *known == action.action_type);
            if let Some(place) = place {
                let figure = match action
                    .value
                    .map_or(Figure::Missing, |cell| cell.figure(Kind::Count))
                {
                    Figure::Given(number) => Figure::Given(number),
                    // An entry without a value happened, but nobody knows how often.
                    Figure::Missing | Figure::Rejected => Figure::Rejected,
                };
                if figure == Figure::Rejected {
                    count(self.rejected, self.list.field());
                }
                self.figures[self.list.column(place, self.action_types.len())] = figure;
            }
        }
        Ok(true)
    }
}

/// One entry of a list; what else it holds, such as attribution windows, overlaps with the value.
#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    action_type: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<Cell<'a>>,
}
