//! Whose numbers an answer may tell: everybody's, or those of some businesses.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::snapshot::Snapshot;

/// Businesses that an answer may tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every one, and the exporter as a whole.
    All,
    /// These, and nothing of any other.
    Only(BTreeSet<Box<str>>),
}

impl Scope {
    /// Whether it may tell of that business.
    pub(super) fn sees(&self, business: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(businesses) => businesses.contains(business),
        }
    }

    /// What is left of it where a query names businesses, each of which it must see and `known`
    /// must know: who asks does not learn which of the two it was. `None` where one is neither.
    pub(super) fn narrowed(&self, query: Option<&str>, known: &BTreeSet<Box<str>>) -> Option<Self> {
        let mut asked = BTreeSet::new();
        for (key, name) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if key != "business" || name.is_empty() {
                continue;
            }
            let name: Box<str> = name.into();
            if !self.sees(&name) || !known.contains(&name) {
                return None;
            }
            asked.insert(name);
        }
        Some(match asked.is_empty() {
            true => self.clone(),
            false => Self::Only(asked),
        })
    }

    /// What a snapshot knows of these businesses.
    pub(super) fn of(&self, snapshot: &Arc<Snapshot>) -> Arc<Snapshot> {
        if *self == Self::All {
            return Arc::clone(snapshot);
        }
        let sources = snapshot.sources.iter();
        let ours = sources.filter(|known| self.sees(&known.source.business));
        Arc::new(Snapshot {
            sources: ours.cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Scope;

    fn set(names: &[&str]) -> BTreeSet<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn a_query_only_ever_narrows_what_may_be_seen() {
        let known = set(&["acme", "b & c", "other"]);
        let own = Scope::Only(set(&["acme", "b & c"]));
        for (query, all, ours) in [
            (None, Some(Scope::All), Some(own.clone())),
            (Some("business="), Some(Scope::All), Some(own.clone())),
            (Some("name[]=up"), Some(Scope::All), Some(own.clone())),
            (
                Some("business=acme"),
                Some(Scope::Only(set(&["acme"]))),
                Some(Scope::Only(set(&["acme"]))),
            ),
            (
                Some("business=b+%26%20c&business=acme"),
                Some(own.clone()),
                Some(own.clone()),
            ),
            (
                Some("business=other"),
                Some(Scope::Only(set(&["other"]))),
                None,
            ),
            (
                Some("business=acme&business=other"),
                Some(Scope::Only(set(&["acme", "other"]))),
                None,
            ),
            (Some("business=none"), None, None),
            (Some("business=acme&business=none"), None, None),
            (Some("business=ACME"), None, None),
        ] {
            assert_eq!(Scope::All.narrowed(query, &known), all, "{query:?}");
            assert_eq!(own.narrowed(query, &known), ours, "{query:?}");
        }
    }
}
