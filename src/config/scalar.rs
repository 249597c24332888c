//! The single values of the raw shapes, stricter than serde's own about what YAML lets through.
//!
//! A key with nothing behind it is never a value, a quoted number is no number, an id keeps its
//! digits whatever their size, and a mapping with free keys has each key once. The messages here
//! hold no value; `shape` words them for people.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// A key that may be left out, but not left empty: `Option` alone would take `key:` for absent.
#[derive(Clone, Debug)]
pub(super) struct Given<T>(pub(super) Option<T>);

impl<T> Given<T> {
    /// The value, where the key stands.
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Given<List<T>> {
    /// The items; none where the key does not stand.
    pub(super) fn items(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |list| &list.0)
    }
}

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

/// Text, quoted or not; a bare number or boolean is none.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

/// Text, or what looks like it but is a number or a boolean, which the checks refuse with a
/// remedy of their own: durations and label values.
#[derive(Clone, Debug)]
pub(super) enum TextOrBare {
    Text(String),
    Bare,
}

/// Any number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) f64);

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) i128);

/// An id: the characters as they stand, quoted or not, so that no digit is rounded away.
#[derive(Clone, Debug)]
pub(super) struct Id(pub(super) String);

/// A list; a key with nothing behind it is none.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// A mapping with free keys, each once, in the order written.
#[derive(Clone, Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(String, T)>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (in quotes if it looks like anything else)")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl<'de> Deserialize<'de> for TextOrBare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = TextOrBare;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value such as 15m or \"growth\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Text(text.to_owned()))
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
            fn visit_u128<E: Error>(self, _: u128) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
            fn visit_i128<E: Error>(self, _: i128) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<TextOrBare, E> {
                Ok(TextOrBare::Bare)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own f64 takes every YAML number, whole ones too, and nothing else.
        f64::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;
        impl Visitor<'_> for Characters {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id such as \"120210000000000001\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }
        }
        // Asked for a str, the YAML reader hands a scalar over as it was written.
        deserializer.deserialize_str(Characters)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list (each item begins with `- `, or all stand in [ ])")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping such as { team: growth }")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Entries<T>, A::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some(key) = pairs.next_key::<String>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        // The same words as serde's own for a struct, which `shape` knows.
                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                    entries.push((key, pairs.next_value()?));
                }
                Ok(Entries(entries))
            }
            fn visit_unit<E: Error>(self) -> Result<Entries<T>, E> {
                Err(E::invalid_type(Unexpected::Unit, &self))
            }
        }
        deserializer.deserialize_any(Pairs(PhantomData))
    }
}
