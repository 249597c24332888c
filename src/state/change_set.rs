//! Difference between two snapshots, which is what a write adds to the state file.
//!
//! Small parts (the state of a window, the properties of a source) are stored whole. Lists (rows, campaigns, objects)
//! are compared element by element, because a poll often changes few of many rows.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::encoding::encode_body;
use super::list_change::ListChange;
use super::stored_row::StoredRow;
use crate::model::{Campaign, Entity, Inventory, ObjectId, PollError, WindowDates, fnv1a_mix};
use crate::plan::{QueryMode, Source, SourceKind};
use crate::snapshot::{Refusals, RowSet, Snapshot, SourceState, WindowState};

/// All changes of one write.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChangeSet {
    pub(super) removed: Vec<SourceKey>,
    pub(super) sources: Vec<SourceChange>,
}

/// Business and name of a source, which are unique in a config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SourceKey {
    pub(super) business: Box<str>,
    pub(super) name: Box<str>,
}

/// Changes of a source.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SourceChange {
    pub(super) key: SourceKey,
    /// Set if the source is new or has other queries or windows. All its earlier changes are then void.
    pub(super) definition: Option<SourceDefinition>,
    pub(super) properties: Option<SourceProperties>,
    pub(super) inventory: Option<InventoryChange>,
    pub(super) windows: Vec<WindowChange>,
}

/// What the values of a source depend on. Labels, thresholds and intervals are not part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SourceDefinition {
    /// Hash of everything in the queries except the windows.
    pub(super) queries: u64,
    /// Expression that selects the campaigns of the inventory by name.
    pub(super) campaign_name: Option<Box<str>>,
    /// Name and dates of each window.
    pub(super) windows: Vec<(Box<str>, Box<str>)>,
}

/// Small values of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SourceProperties {
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub(super) paused_until: Option<Timestamp>,
    pub(super) duplicate: bool,
    pub(super) query_mode: Option<QueryMode>,
    /// Times of the last reads in milliseconds since the Unix epoch.
    pub(super) recent_reads: Vec<i64>,
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub(super) discovery_success: Option<Timestamp>,
    pub(super) discovery_error: Option<PollError>,
    pub(super) refusals: Refusals,
}

/// Changes of an inventory.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InventoryChange {
    /// The inventory, which is serialized without its lists; `None` if the source has no inventory.
    pub(super) properties: Option<Arc<Inventory>>,
    pub(super) campaigns: ListChange<Campaign>,
    pub(super) archived: ListChange<Campaign>,
    pub(super) other_campaigns: ListChange<ObjectId>,
    pub(super) entities: ListChange<Entity>,
}

/// Changes of a window.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WindowChange {
    pub(super) window_idx: u32,
    /// The window, which is serialized without its rows.
    pub(super) state: Option<WindowState>,
    pub(super) delivery: ListChange<StoredRow>,
    pub(super) conversions: ListChange<StoredRow>,
}

impl ChangeSet {
    /// Returns the difference between two snapshots.
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut by_key = None;
        let mut sources = Vec::new();
        for (source_idx, state) in new.sources.iter().enumerate() {
            // The order of the sources changes only with the config.
            let same_position = old.sources.get(source_idx);
            let before = match same_position.filter(|old| is_same_source(old, state)) {
                Some(before) => Some(before),
                None => by_key
                    .get_or_insert_with(|| sources_by_key(old))
                    .get(&(&*state.source.business, &*state.source.name))
                    .copied(),
            };
            if before.is_none_or(|before| !Arc::ptr_eq(before, state)) {
                let change = SourceChange::between(before.map(AsRef::as_ref), state);
                sources.extend(change);
            }
        }
        Self {
            removed: removed_sources(old, new),
            sources,
        }
    }

    /// Whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.sources.is_empty()
    }
}

fn is_same_source(a: &SourceState, b: &SourceState) -> bool {
    a.source.name == b.source.name && a.source.business == b.source.business
}

fn sources_by_key(snapshot: &Snapshot) -> HashMap<(&str, &str), &Arc<SourceState>> {
    let sources = snapshot.sources.iter();
    sources
        .map(|state| ((&*state.source.business, &*state.source.name), state))
        .collect()
}

/// Returns the sources of `old` that `new` does not contain.
fn removed_sources(old: &Snapshot, new: &Snapshot) -> Vec<SourceKey> {
    let mut pairs = old.sources.iter().zip(&new.sources);
    if old.sources.len() == new.sources.len() && pairs.all(|(a, b)| is_same_source(a, b)) {
        return Vec::new();
    }
    let kept = sources_by_key(new);
    let old_sources = old.sources.iter();
    old_sources
        .filter(|state| !kept.contains_key(&(&*state.source.business, &*state.source.name)))
        .map(|state| SourceKey::new(&state.source))
        .collect()
}

impl SourceKey {
    pub(super) fn new(source: &Source) -> Self {
        Self {
            business: source.business.clone(),
            name: source.name.clone(),
        }
    }
}

impl SourceChange {
    /// Returns the difference between two states of a source; `None` if there is none.
    fn between(old: Option<&SourceState>, new: &SourceState) -> Option<Self> {
        let definition = SourceDefinition::new(&new.source);
        let old = old.filter(|old| {
            Arc::ptr_eq(&old.source, &new.source)
                || SourceDefinition::new(&old.source) == definition
        });
        let properties = SourceProperties::new(new);
        let old_inventory = old.and_then(|old| old.inventory.as_ref());
        let windows = new.windows.iter().enumerate();
        let windows = windows.filter_map(|(window_idx, window)| {
            let old_window = old.and_then(|old| old.windows.get(window_idx));
            WindowChange::between(
                window_idx,
                (old_window, old_inventory),
                (window, new.inventory.as_ref()),
            )
        });
        let change = Self {
            key: SourceKey::new(&new.source),
            windows: windows.collect(),
            inventory: InventoryChange::between(old_inventory, new.inventory.as_ref()),
            properties: (old.map(SourceProperties::new).as_ref() != Some(&properties))
                .then_some(properties),
            definition: old.is_none().then_some(definition),
        };
        let is_changed = change.definition.is_some()
            || change.properties.is_some()
            || change.inventory.is_some()
            || !change.windows.is_empty();
        is_changed.then_some(change)
    }
}

impl SourceDefinition {
    pub(super) fn new(source: &Source) -> Self {
        let windows = source.windows.iter();
        Self {
            queries: queries_hash(source),
            campaign_name: source
                .campaign_name
                .as_ref()
                .map(|pattern| pattern.as_str().into()),
            windows: windows
                .map(|window| (window.name.clone(), dates_text(&window.dates)))
                .collect(),
        }
    }
}

/// Returns a hash of everything in the queries of a source except its windows.
fn queries_hash(source: &Source) -> u64 {
    let (kind, allowlist) = match &source.kind {
        SourceKind::AdAccount {
            id,
            campaign_allowlist,
        } => (id.to_string(), campaign_allowlist.as_slice()),
        SourceKind::Campaign(id) => (id.to_string(), [].as_slice()),
    };
    let conversions = if source.conversions { "1" } else { "0" };
    let mut parts = vec![kind.as_str(), source.level.as_str(), conversions];
    parts.extend(allowlist.iter().map(ObjectId::as_str));
    parts.push("fields");
    for (field, kind) in source.columns.delivery() {
        parts.extend([field, kind.as_str()]);
    }
    parts.push("action types");
    parts.extend(source.columns.action_types.iter().map(String::as_str));
    fnv1a_mix(&parts)
}

/// Returns the dates of a window as text.
fn dates_text(dates: &WindowDates) -> Box<str> {
    match dates {
        WindowDates::AllTime => "".into(),
        WindowDates::Preset(preset) => preset.as_str().into(),
        WindowDates::Range { since, until } => format!("{since}/{until}").into(),
    }
}

impl SourceProperties {
    fn new(state: &SourceState) -> Self {
        // Every field is listed, so that a new one cannot be forgotten.
        let SourceState {
            source: _,
            inventory: _,
            windows: _,
            paused_until,
            duplicate,
            query_mode,
            recent_reads,
            discovery_success,
            discovery_error,
            refusals,
            // Derived from the other sources.
            describes_account: _,
            left_out: _,
        } = state;
        Self {
            paused_until: *paused_until,
            duplicate: *duplicate,
            query_mode: *query_mode,
            recent_reads: recent_reads.iter().map(|at| at.as_millisecond()).collect(),
            discovery_success: *discovery_success,
            discovery_error: discovery_error.clone(),
            refusals: refusals.clone(),
        }
    }
}

impl InventoryChange {
    fn between(old: Option<&Arc<Inventory>>, new: Option<&Arc<Inventory>>) -> Option<Self> {
        match (old, new) {
            (None, None) => return None,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => return None,
            _ => {}
        }
        fn list<'i, T: Clone + 'i>(
            inventory: Option<&'i Arc<Inventory>>,
            of: impl FnOnce(&'i Inventory) -> &'i Vec<T>,
        ) -> impl Iterator<Item = T> {
            let elements = inventory.map(|inventory| of(inventory).iter().cloned());
            elements.into_iter().flatten()
        }
        Some(Self {
            properties: new.map(Arc::clone),
            campaigns: ListChange::between(
                list(old, |inventory| &inventory.campaigns),
                list(new, |inventory| &inventory.campaigns),
            ),
            archived: ListChange::between(
                list(old, |inventory| &inventory.archived),
                list(new, |inventory| &inventory.archived),
            ),
            other_campaigns: ListChange::between(
                list(old, |inventory| &inventory.other_campaigns),
                list(new, |inventory| &inventory.other_campaigns),
            ),
            entities: ListChange::between(
                list(old, |inventory| &inventory.entities),
                list(new, |inventory| &inventory.entities),
            ),
        })
    }
}

impl WindowChange {
    fn between(
        window_idx: usize,
        old: (Option<&WindowState>, Option<&Arc<Inventory>>),
        new: (&WindowState, Option<&Arc<Inventory>>),
    ) -> Option<Self> {
        let ((old, old_inventory), (new, new_inventory)) = (old, new);
        let same_inventory = match (old_inventory, new_inventory) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        let rows = |row_set: fn(&WindowState) -> &Option<Arc<RowSet>>| {
            let (old, new) = (
                old.and_then(|old| row_set(old).as_deref()),
                row_set(new).as_deref(),
            );
            let is_same = match (old, new) {
                (Some(old), Some(new)) => std::ptr::eq(old, new),
                (None, None) => true,
                _ => false,
            };
            if is_same && same_inventory {
                return ListChange::between([], []);
            }
            ListChange::between(
                stored_rows(old, old_inventory),
                stored_rows(new, new_inventory),
            )
        };
        let change = Self {
            window_idx: u32::try_from(window_idx).ok()?,
            delivery: rows(|window| &window.delivery),
            conversions: rows(|window| &window.conversions),
            state: old
                .is_none_or(|old| !is_same_without_rows(old, new))
                .then(|| new.clone()),
        };
        let is_changed =
            change.state.is_some() || !change.delivery.is_empty() || !change.conversions.is_empty();
        is_changed.then_some(change)
    }
}

fn stored_rows<'a>(
    row_set: Option<&'a RowSet>,
    inventory: Option<&'a Arc<Inventory>>,
) -> impl Iterator<Item = StoredRow> + 'a {
    let rows = row_set.into_iter().flat_map(|row_set| &row_set.rows);
    rows.map(move |row| StoredRow::new(row, inventory.map(AsRef::as_ref)))
}

/// Compares everything of two windows except the rows, which are not serialized.
fn is_same_without_rows(a: &WindowState, b: &WindowState) -> bool {
    match (encode_body(a), encode_body(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
