//! Difference between two versions of a sorted list.

use std::collections::BTreeMap;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use crate::model::{Campaign, Entity, ObjectId};

/// An element of a list that is sorted by unique keys.
pub(super) trait Keyed {
    /// Returns the key.
    fn key(&self) -> &str;
}

impl Keyed for Campaign {
    fn key(&self) -> &str {
        self.id.as_str()
    }
}

impl Keyed for ObjectId {
    fn key(&self) -> &str {
        self.as_str()
    }
}

impl Keyed for Entity {
    fn key(&self) -> &str {
        self.dimensions.key()
    }
}

/// Elements that were removed, and those that were added or changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ListChange<T> {
    removed: Vec<Box<str>>,
    changed: Vec<T>,
}

impl<T: Keyed + PartialEq> ListChange<T> {
    /// Returns the difference between two lists, both sorted by key.
    pub(super) fn between(
        old: impl IntoIterator<Item = T>,
        new: impl IntoIterator<Item = T>,
    ) -> Self {
        let (mut removed, mut changed) = (Vec::new(), Vec::new());
        let mut old = old.into_iter().peekable();
        for element in new {
            take_while_less(&mut old, element.key(), &mut removed);
            match old.next_if(|old| old.key() == element.key()) {
                Some(before) if before == element => {}
                _ => changed.push(element),
            }
        }
        removed.extend(old.map(|element| element.key().into()));
        Self { removed, changed }
    }

    /// Whether both lists are equal.
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty()
    }

    /// Applies the difference to the elements of the old list by key.
    pub(super) fn apply(self, list: &mut BTreeMap<Box<str>, T>) {
        for key in self.removed {
            list.remove(&key);
        }
        for element in self.changed {
            list.insert(element.key().into(), element);
        }
    }
}

/// Moves the keys of the elements before `key` to `removed`.
fn take_while_less<T: Keyed>(
    list: &mut Peekable<impl Iterator<Item = T>>,
    key: &str,
    removed: &mut Vec<Box<str>>,
) {
    while let Some(element) = list.next_if(|element| element.key() < key) {
        removed.push(element.key().into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::{prop_assert_eq, proptest};

    use super::ListChange;
    use crate::model::ObjectId;

    fn ids(numbers: &BTreeSet<u8>) -> Vec<ObjectId> {
        let mut ids: Vec<ObjectId> = numbers
            .iter()
            .filter_map(|number| ObjectId::parse(&number.to_string()))
            .collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        ids
    }

    proptest! {
        #[test]
        fn applied_difference_is_the_new_list(old: BTreeSet<u8>, new: BTreeSet<u8>) {
            let (old, new) = (ids(&old), ids(&new));
            let mut list: BTreeMap<Box<str>, ObjectId> = BTreeMap::new();
            ListChange::between([], old.iter().cloned()).apply(&mut list);
            let change = ListChange::between(old.iter().cloned(), new.iter().cloned());
            prop_assert_eq!(change.is_empty(), old == new);
            change.apply(&mut list);
            prop_assert_eq!(list.into_values().collect::<Vec<_>>(), new);
        }
    }
}
