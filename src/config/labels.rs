//! The labels that the owner puts on series: their names, and whose setting wins.
//!
//! Reserved are all names that the exporter's own series use, so that a user's label can never
//! collide with one, and those that Prometheus and Alertmanager set themselves.

use std::collections::BTreeMap;

use super::complaint::{Notes, shown};
use super::place::Place;
use super::scalar::{Entries, Given, TextOrBare};

/// Labels of the exporter's own series. The page knows them better, but stands above the config: a
/// test holds the two together.
pub const BUILT_IN_LABELS: [&str; 30] = [
    "account_id",
    "account_name",
    "action_type",
    "ad_id",
    "ad_name",
    "adset_id",
    "adset_name",
    "answered",
    "business",
    "campaign_id",
    "campaign_name",
    "code",
    "configured",
    "count",
    "currency",
    "endpoint",
    "field",
    "index",
    "limit",
    "objective",
    "quantity",
    "reason",
    "revision",
    "rustversion",
    "source",
    "status",
    "tier",
    "timezone",
    "version",
    "window",
];

/// Labels that Prometheus and Alertmanager set; so are those that begin `__`.
const THEIRS: [&str; 6] = ["alertname", "instance", "job", "le", "quantile", "severity"];

/// The user's labels of one source, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Name and value of each, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// These, and over them the nearer ones.
    pub(super) fn under(&self, nearer: &Self) -> Self {
        let mut merged = self.0.clone();
        merged.extend(nearer.0.clone());
        Self(merged)
    }
}

/// Checks what stands under `labels`.
pub(super) fn check(
    notes: &mut Notes<'_>,
    at: &Place,
    labels: &Given<Entries<TextOrBare>>,
) -> Labels {
    let mut checked = BTreeMap::new();
    for (name, value) in labels.get().map_or(&[][..], |entries| &entries.0) {
        let at = at.key(name.clone());
        if let Some(trouble) = trouble(name) {
            notes.add(&at, trouble);
        }
        match value {
            TextOrBare::Text(value) if value.trim().is_empty() => notes.add(
                &at,
                "an empty label names nothing; give it a value, or leave it out",
            ),
            TextOrBare::Text(value) => {
                checked.insert(name.clone(), value.clone());
            }
            TextOrBare::Bare => notes.add(
                &at,
                "the value of a label is a text, and this is a number or a boolean; put it in quotes",
            ),
        }
    }
    Labels(checked)
}

/// What is wrong with the name of a label.
fn trouble(name: &str) -> Option<String> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Some(format!(
            "{} is no label name; letters, digits and underscores are, not beginning with a digit",
            shown(name)
        ));
    }
    let reserved =
        name.starts_with("__") || BUILT_IN_LABELS.contains(&name) || THEIRS.contains(&name);
    reserved.then(|| {
        format!(
            "the label name {} is reserved, since the exporter or Prometheus uses it; choose another, such as my_label",
            shown(name)
        )
    })
}
