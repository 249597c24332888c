//! Spend of a whole ad account in a window, and the part of it that the exported rows do not explain.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{SourceState, WindowState, exported_rows};
use crate::model::{InsightField, MajorUnits};
use crate::plan::DateSpan;

/// Minimum age at which the spend of an ad account is withdrawn: twice the time between its requests.
const MIN_STALE_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// Spend of an ad account in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountSpend {
    /// Spend on messages, of archived and deleted campaigns too.
    pub spend: MajorUnits,
    /// ISO 4217 code of the currency.
    pub currency: Arc<str>,
    /// Part of `spend` that the rows of the same dates do not explain; `None` if no such rows were known when `spend`
    /// was received, or if other campaigns, ad sets or ads have rows since. It can be negative, because rows and spend
    /// are received at different times.
    pub unattributed: Option<MajorUnits>,
    /// First and last day; `None` if unknown.
    pub dates: Option<DateSpan>,
    /// Time at which the spend was received.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    pub fetched_at: Timestamp,
    /// Midnight of the ad account at which the dates no longer belong to the window; `None` if there is none or it is
    /// unknown.
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::optional")]
    pub valid_until: Option<Timestamp>,
}

impl SourceState {
    /// Returns the state with the spend of the ad account in a window.
    #[must_use]
    pub fn with_account_spend(&self, window_idx: usize, total: AccountSpend) -> Self {
        let mut next = self.clone();
        let valid_until = total
            .dates
            .and_then(|dates| self.valid_until(window_idx, dates, total.fetched_at));
        let total = AccountSpend {
            unattributed: self.unattributed(window_idx, &total),
            valid_until,
            ..total
        };
        if let Some(window) = next.windows.get_mut(window_idx) {
            window.account_spend = Some(Arc::new(total));
        }
        next
    }

    fn unattributed(&self, window_idx: usize, total: &AccountSpend) -> Option<MajorUnits> {
        if !self.windows.get(window_idx)?.has_rows_of(total) {
            return None;
        }
        let explained: f64 = self
            .explaining_rows(window_idx, total)
            .map(|(_, spend)| spend)
            .sum();
        // Sums of decimal fractions are not exact. Adding zero turns -0 into 0.
        let difference = ((total.spend.0 - explained) * 1e6).round() / 1e6 + 0.0;
        Some(MajorUnits(difference))
    }

    /// Iterates over the keys and the spend of the rows of the same dates.
    fn explaining_rows<'a>(
        &'a self,
        window_idx: usize,
        total: &'a AccountSpend,
    ) -> impl Iterator<Item = (&'a str, f64)> {
        let rows = exported_rows(self, window_idx);
        let of_same_dates =
            rows.filter(|row| row.dates.is_none_or(|dates| Some(dates) == total.dates));
        of_same_dates
            .filter_map(|row| Some((row.dimensions.key(), row.scalar(InsightField::Spend)?)))
    }

    /// Removes the unattributed part of each window in which other rows have a spend than in `before`: it was
    /// calculated without those that came, or with those that went.
    pub(super) fn withdraw_unattributed(&mut self, before: &Self) {
        for window_idx in 0..self.windows.len().min(before.windows.len()) {
            let Some(total) = self.windows[window_idx].account_spend.clone() else {
                continue;
            };
            let is_calculated_before = before.windows[window_idx]
                .account_spend
                .as_ref()
                .is_some_and(|earlier| Arc::ptr_eq(earlier, &total));
            if !is_calculated_before || total.unattributed.is_none() {
                continue;
            }
            let earlier_rows = before.explaining_rows(window_idx, &total);
            let rows = self.explaining_rows(window_idx, &total);
            if !rows
                .map(|(key, _)| key)
                .eq(earlier_rows.map(|(key, _)| key))
            {
                self.windows[window_idx].account_spend = Some(Arc::new(AccountSpend {
                    unattributed: None,
                    ..AccountSpend::clone(&total)
                }));
            }
        }
    }

    /// Whether the spend of the ad account in a window has no unattributed part although rows of the same dates are
    /// known: they came later, or other rows took the place of those that it was calculated with.
    pub fn lacks_unattributed(&self) -> bool {
        self.windows.iter().any(|window| {
            let total = window.account_spend.as_deref();
            total.is_some_and(|total| total.unattributed.is_none() && window.has_rows_of(total))
        })
    }
}

impl WindowState {
    /// Whether there is a result of the delivery query of the same dates.
    fn has_rows_of(&self, total: &AccountSpend) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| {
            let (dates, total_dates) = (delivery.dates, total.dates);
            dates.is_none() || total_dates.is_none() || dates == total_dates
        })
    }

    /// Returns the time at which the spend of the ad account expires.
    pub(super) fn account_spend_expiry(&self) -> Option<Timestamp> {
        let total = self.account_spend.as_ref()?;
        let stale_at = total.fetched_at + self.stale_after.max(MIN_STALE_AFTER);
        Some(
            total
                .valid_until
                .map_or(stale_at, |until| until.min(stale_at)),
        )
    }
}
