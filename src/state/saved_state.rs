//! State that was read from a state file, not yet compared with the current config.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::change_set::{
    ChangeSet, InventoryChange, SourceChange, SourceDefinition, SourceKey, SourceProperties,
    WindowChange,
};
use super::encoding::decode_body;
use super::error::StoreError;
use super::list_change::Keyed;
use super::stored_row::StoredRow;
use crate::model::{Campaign, Entity, Inventory, ObjectId};
use crate::plan::{Plan, Source};
use crate::snapshot::{RowSet, Snapshot, SourceState, WindowState};

/// State of all sources of a state file.
#[derive(Debug, Default)]
pub struct SavedState {
    sources: HashMap<SourceKey, SavedSource>,
}

#[derive(Debug)]
struct SavedSource {
    definition: SourceDefinition,
    properties: SourceProperties,
    inventory: Option<SavedInventory>,
    windows: Vec<SavedWindow>,
}

#[derive(Debug)]
struct SavedInventory {
    properties: Arc<Inventory>,
    campaigns: BTreeMap<Box<str>, Campaign>,
    archived: BTreeMap<Box<str>, Campaign>,
    other_campaigns: BTreeMap<Box<str>, ObjectId>,
    entities: BTreeMap<Box<str>, Entity>,
}

#[derive(Debug, Default)]
struct SavedWindow {
    state: Option<WindowState>,
    delivery: BTreeMap<Box<str>, StoredRow>,
    conversions: BTreeMap<Box<str>, StoredRow>,
}

impl SavedState {
    /// Decodes a change set without its checksum.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a change set of this layout.
    pub fn from_change_set(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut saved = Self::default();
        saved.apply(decode_body(bytes)?)?;
        Ok(saved)
    }

    /// Returns the number of sources.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Returns a snapshot of the plan's sources with the values that are still valid; see [`Snapshot::restore`].
    #[must_use]
    pub fn to_snapshot(&self, plan: &Plan, now: Timestamp) -> Snapshot {
        let sources = plan.sources.iter().filter_map(|source| {
            let saved = self.sources.get(&SourceKey::new(source))?;
            let definition = SourceDefinition::new(source);
            let is_same = saved.definition.queries == definition.queries;
            is_same.then(|| Arc::new(saved.to_source_state(source, &definition, now)))
        });
        let saved = Snapshot {
            sources: sources.collect(),
        };
        Snapshot::restore(plan, &saved, now)
    }

    /// Applies the changes of a write.
    pub(super) fn apply(&mut self, change_set: ChangeSet) -> Result<(), StoreError> {
        for key in change_set.removed {
            self.sources.remove(&key);
        }
        for change in change_set.sources {
            self.apply_source(change)?;
        }
        Ok(())
    }

    fn apply_source(&mut self, change: SourceChange) -> Result<(), StoreError> {
        if let Some(definition) = change.definition {
            let windows = definition.windows.iter();
            let source = SavedSource {
                windows: windows.map(|_| SavedWindow::default()).collect(),
                definition,
                properties: SourceProperties::default(),
                inventory: None,
            };
            self.sources.insert(change.key.clone(), source);
        }
        let source = self.sources.get_mut(&change.key);
        let source = source.ok_or_else(|| StoreError::damaged("a change of an unknown source"))?;
        if let Some(properties) = change.properties {
            source.properties = properties;
        }
        if let Some(inventory) = change.inventory {
            source.apply_inventory(inventory);
        }
        for window_change in change.windows {
            source.apply_window(window_change)?;
        }
        Ok(())
    }
}

impl SavedSource {
    fn apply_inventory(&mut self, change: InventoryChange) {
        let InventoryChange {
            properties,
            campaigns,
            archived,
            other_campaigns,
            entities,
        } = change;
        let Some(properties) = properties else {
            self.inventory = None;
            return;
        };
        let mut inventory = self.inventory.take().unwrap_or_else(|| SavedInventory {
            properties: Arc::clone(&properties),
            campaigns: BTreeMap::new(),
            archived: BTreeMap::new(),
            other_campaigns: BTreeMap::new(),
            entities: BTreeMap::new(),
        });
        inventory.properties = properties;
        campaigns.apply(&mut inventory.campaigns);
        archived.apply(&mut inventory.archived);
        other_campaigns.apply(&mut inventory.other_campaigns);
        entities.apply(&mut inventory.entities);
        self.inventory = Some(inventory);
    }

    fn apply_window(&mut self, change: WindowChange) -> Result<(), StoreError> {
        let window_idx = usize::try_from(change.window_idx).unwrap_or(usize::MAX);
        let window = self.windows.get_mut(window_idx);
        let window = window.ok_or_else(|| StoreError::damaged("a change of an unknown window"))?;
        if change.state.is_some() {
            window.state = change.state;
        }
        change.delivery.apply(&mut window.delivery);
        change.conversions.apply(&mut window.conversions);
        Ok(())
    }

    /// Returns the state of a planned source with the same queries. Windows are the same if name and dates are equal.
    fn to_source_state(
        &self,
        source: &Arc<Source>,
        definition: &SourceDefinition,
        now: Timestamp,
    ) -> SourceState {
        let SourceProperties {
            paused_until,
            duplicate,
            query_mode,
            recent_reads,
            discovery_success,
            discovery_error,
            refusals,
        } = self.properties.clone();
        let recent_reads = recent_reads.into_iter();
        let inventory = self.inventory.as_ref().map(SavedInventory::to_inventory);
        let mut state = SourceState {
            inventory: inventory.map(Arc::new),
            paused_until,
            duplicate,
            query_mode,
            recent_reads: recent_reads
                .filter_map(|millis| Timestamp::from_millisecond(millis).ok())
                .collect(),
            discovery_success,
            discovery_error,
            refusals,
            ..SourceState::empty(Arc::clone(source), now)
        };
        for (window, planned) in state.windows.iter_mut().zip(&definition.windows) {
            let saved = self.definition.windows.iter().zip(&self.windows);
            let mut saved = saved.filter(|(saved, _)| *saved == planned);
            let restored =
                saved.find_map(|(_, saved)| saved.to_window_state(state.inventory.as_deref()));
            if let Some(restored) = restored {
                *window = restored;
            }
        }
        // The inventory lacks campaigns that the new expression may select.
        if self.definition.campaign_name != definition.campaign_name {
            state.inventory = None;
        }
        state
    }
}

impl SavedInventory {
    fn to_inventory(&self) -> Inventory {
        fn list<T: Clone + Keyed>(elements: &BTreeMap<Box<str>, T>) -> Vec<T> {
            elements.values().cloned().collect()
        }
        Inventory {
            campaigns: list(&self.campaigns),
            archived: list(&self.archived),
            other_campaigns: list(&self.other_campaigns),
            entities: list(&self.entities),
            ..Inventory::clone(&self.properties)
        }
    }
}

impl SavedWindow {
    fn to_window_state(&self, inventory: Option<&Inventory>) -> Option<WindowState> {
        let with_rows = |row_set: &Option<Arc<RowSet>>, rows: &BTreeMap<_, StoredRow>| {
            row_set.as_ref().map(|row_set| {
                let rows = rows.values().filter_map(|row| row.to_row(inventory));
                Arc::new(RowSet {
                    rows: rows.collect(),
                    ..RowSet::clone(row_set)
                })
            })
        };
        let state = self.state.as_ref()?;
        Some(WindowState {
            delivery: with_rows(&state.delivery, &self.delivery),
            conversions: with_rows(&state.conversions, &self.conversions),
            ..state.clone()
        })
    }
}
