//! Stub until the state branch is merged.

use jiff::Timestamp;

use super::Snapshot;
use crate::plan::Plan;

impl Snapshot {
    /// Stub.
    #[must_use]
    pub fn adopt(plan: &Plan, _previous: &Self, now: Timestamp) -> Self {
        Self::unknown(plan, now)
    }
}
