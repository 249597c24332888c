//! Business scopes: which businesses a response may contain.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::UserScope;
use crate::snapshot::Snapshot;

/// Set of businesses that a response may contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum BusinessScope {
    /// All businesses, and metrics about the exporter as a whole.
    All,
    /// Only these businesses.
    Only(BTreeSet<Box<str>>),
}

impl BusinessScope {
    /// Returns the scope of a user of the web config.
    pub(in crate::http) fn of(scope: &UserScope) -> Self {
        match scope {
            UserScope::All => Self::All,
            UserScope::Only(businesses) => Self::Only(businesses.clone()),
        }
    }

    /// Returns the scope without any business.
    pub(in crate::http) fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Returns whether the scope includes `business`.
    pub(in crate::http) fn sees(&self, business: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(businesses) => businesses.contains(business),
        }
    }

    /// Returns the scope restricted to the businesses that the query string names, if it names any.
    ///
    /// Returns `None` if one of them is outside of the scope or not in `known`. The client must not be
    /// able to distinguish the two.
    pub(in crate::http) fn intersect(
        &self,
        query: Option<&str>,
        known: &BTreeSet<Box<str>>,
    ) -> Option<Self> {
        let mut requested = BTreeSet::new();
        for (key, name) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if key != "business" || name.is_empty() {
                continue;
            }
            let name: Box<str> = name.into();
            if !self.sees(&name) || !known.contains(&name) {
                return None;
            }
            requested.insert(name);
        }
        Some(if requested.is_empty() {
            self.clone()
        } else {
            Self::Only(requested)
        })
    }

    /// Returns the part of a snapshot that belongs to the businesses of the scope.
    pub(in crate::http) fn filter(&self, snapshot: &Arc<Snapshot>) -> Arc<Snapshot> {
        if *self == Self::All {
            return Arc::clone(snapshot);
        }
        let sources = snapshot.sources.iter();
        let sources = sources.filter(|state| self.sees(&state.source.business));
        Arc::new(Snapshot {
            sources: sources.cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::BusinessScope;

    fn set(names: &[&str]) -> BTreeSet<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn intersect_never_widens_a_scope() {
        let known = set(&["acme", "b & c", "other"]);
        let restricted = BusinessScope::Only(set(&["acme", "b & c"]));
        for (query, from_all, from_restricted) in [
            (None, Some(BusinessScope::All), Some(restricted.clone())),
            (
                Some("business="),
                Some(BusinessScope::All),
                Some(restricted.clone()),
            ),
            (
                Some("name[]=up"),
                Some(BusinessScope::All),
                Some(restricted.clone()),
            ),
            (
                Some("business=acme"),
                Some(BusinessScope::Only(set(&["acme"]))),
                Some(BusinessScope::Only(set(&["acme"]))),
            ),
            (
                Some("business=b+%26%20c&business=acme"),
                Some(restricted.clone()),
                Some(restricted.clone()),
            ),
            (
                Some("business=other"),
                Some(BusinessScope::Only(set(&["other"]))),
                None,
            ),
            (
                Some("business=acme&business=other"),
                Some(BusinessScope::Only(set(&["acme", "other"]))),
                None,
            ),
            (Some("business=none"), None, None),
            (Some("business=acme&business=none"), None, None),
            (Some("business=ACME"), None, None),
        ] {
            assert_eq!(
                BusinessScope::All.intersect(query, &known),
                from_all,
                "{query:?}"
            );
            assert_eq!(
                restricted.intersect(query, &known),
                from_restricted,
                "{query:?}"
            );
        }
    }
}
