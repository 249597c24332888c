//! Trial of the queries of a source: one poll of all its windows, with the rows discarded.
//!
//! `check --live` uses it, so that it tests the requests that polls send, in the mode that they find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mode_state::{ModeState, PageSize};
use super::poll::{DiscoveryMemory, PollJob, WindowJob};
use crate::graph::Session;
use crate::model::{Inventory, PollError};
use crate::plan::{ProbeHistory, QueryKind, QueryMode, Source};

/// Result of a trial.
#[derive(Debug)]
pub struct QueryTrial {
    /// Mode that the API accepted; `None` if no query succeeded.
    pub mode: Option<QueryMode>,
    /// Fields that the API rejects.
    pub rejected_fields: Vec<String>,
    /// Queries that failed: index of the window, kind and error.
    pub errors: Vec<(usize, QueryKind, PollError)>,
}

impl QueryTrial {
    /// Polls all windows of a source once. The inventory is that of a discovery just before.
    pub async fn run(
        source: Arc<Source>,
        inventory: Arc<Inventory>,
        rejected_fields: Vec<String>,
        session: Session<'_>,
    ) -> Self {
        let windows = (0..source.windows.len()).map(|window_idx| WindowJob {
            window_idx,
            probe_history: ProbeHistory::default(),
            page_size: PageSize::default(),
        });
        let job = PollJob {
            windows: windows.collect(),
            source,
            inventory: Some(inventory),
            discover: false,
            is_probe: false,
            discovery: DiscoveryMemory::default(),
            account_spend: false,
            unanswered: BTreeSet::new(),
            resume_points: BTreeMap::new(),
            last_rows: BTreeMap::new(),
            rejected_fields,
            mode: ModeState::default(),
        };
        let outcome = job.run(session).await;
        let mut errors = Vec::new();
        for result in outcome.results {
            let delivery = result.delivery.error;
            let conversions = result.conversions.and_then(|result| result.error);
            let kinds = [
                (QueryKind::Delivery, delivery),
                (QueryKind::Conversions, conversions),
            ];
            for (kind, error) in kinds {
                errors.extend(error.map(|error| (result.window_idx, kind, error)));
            }
        }
        Self {
            mode: outcome.mode.confirmed(),
            rejected_fields: outcome.rejected_fields,
            errors,
        }
    }
}
