//! Totals of a business for its landing page: spend, orders and ROAS per window and currency, with the age of the data.
//!
//! They are sums of the exported rows. Amounts of different currencies are not added.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{InsightField, PURCHASE_ACTION_TYPE};
use crate::snapshot::{SourceState, exported_rows};

/// Totals of one window and currency.
#[derive(Clone, Debug, Default)]
pub(super) struct WindowTotals {
    /// Name of the window.
    pub(super) window: String,
    /// ISO 4217 code; empty if unknown.
    pub(super) currency: String,
    /// Amount spent.
    pub(super) spend: f64,
    /// Number of purchases; `None` if it is not known for any row.
    pub(super) orders: Option<f64>,
    /// Value of the purchases.
    revenue: f64,
    /// Spend of the rows with known purchases.
    spend_with_orders: f64,
    /// Time of the oldest data in the sums.
    pub(super) oldest: Option<Timestamp>,
}

impl WindowTotals {
    /// Returns the return on ad spend; `None` without spend or known purchases.
    pub(super) fn roas(&self) -> Option<f64> {
        (self.spend_with_orders > 0.0).then(|| self.revenue / self.spend_with_orders)
    }
}

/// Returns the totals of the sources of a business, in the order of the windows, then by currency.
pub(super) fn of(sources: &[&SourceState]) -> Vec<WindowTotals> {
    let mut totals: BTreeMap<(usize, String), WindowTotals> = BTreeMap::new();
    for state in sources {
        let action_types = &state.source.columns.action_types;
        let purchase_idx = action_types
            .iter()
            .position(|action_type| action_type == PURCHASE_ACTION_TYPE);
        for (window_idx, window) in state.source.windows.iter().enumerate() {
            let success = state.windows[window_idx].last_success;
            for row in exported_rows(state, window_idx) {
                let currency = row.currency.unwrap_or_default().to_owned();
                let sum = totals
                    .entry((window_idx, currency.clone()))
                    .or_insert_with(|| WindowTotals {
                        window: window.name.to_string(),
                        currency,
                        oldest: success,
                        ..WindowTotals::default()
                    });
                sum.oldest = sum.oldest.min(success);
                let spend = row.scalar(InsightField::Spend).unwrap_or(0.0);
                sum.spend += spend;
                let orders = purchase_idx.and_then(|idx| row.conversions(idx));
                if let Some(orders) = orders {
                    sum.orders = Some(sum.orders.unwrap_or(0.0) + orders);
                    sum.spend_with_orders += spend;
                    let revenue = purchase_idx.and_then(|idx| row.conversion_value(idx));
                    sum.revenue += revenue.unwrap_or(0.0);
                }
            }
        }
    }
    totals.into_values().collect()
}
