//! Spend of a whole ad account in a window, and the part of it that the exported rows do not explain.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exported_rows::of_same_dates;
use super::{ExportedRow, RowSet, SourceState, WindowState, exported_rows};
use crate::model::{InsightField, MajorUnits, fnv1a_mix};
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
    /// Comparison with the rows of the same dates; `None` if no such rows were known when `spend` was received.
    pub attribution: Option<Attribution>,
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

/// Comparison of the spend of an ad account with the rows that were known when it was received.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Part of the spend that the rows do not explain. It can be negative, because rows and spend are received at
    /// different times.
    pub unattributed: MajorUnits,
    /// Hash of the campaigns that the rows answered for. If they answer for others, a campaign's spend is part of both
    /// the rows and `unattributed`, or of neither.
    pub campaigns: u64,
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
            attribution: self.attribution(window_idx, &total),
            valid_until,
            ..total
        };
        if let Some(window) = next.windows.get_mut(window_idx) {
            window.account_spend = Some(Arc::new(total));
        }
        next
    }

    /// Returns the spend of the ad account in a window.
    pub fn account_spend(&self, window_idx: usize) -> Option<MajorUnits> {
        let total = self.windows.get(window_idx)?.account_spend.as_deref();
        total.map(|total| total.spend)
    }

    /// Returns the part of the spend of the ad account that the exported rows of a window do not explain; `None` if it
    /// is not known, or was calculated for other campaigns than those that the rows answer for now.
    pub fn unattributed_spend(&self, window_idx: usize) -> Option<MajorUnits> {
        let total = self.windows.get(window_idx)?.account_spend.as_deref()?;
        let attribution = total.attribution?;
        let delivery = self.compared_rows(window_idx, total)?;
        if attribution.campaigns != self.answered_campaigns(delivery) {
            return None;
        }
        if self.left_out.is_none() {
            return Some(attribution.unattributed);
        }
        // The page has no rows of these campaigns.
        let is_left_out = |row: &ExportedRow<'_>| self.leaves_out_row(row.dimensions);
        let left_out = self.spend_of_rows(window_idx, total.dates, is_left_out);
        Some(rounded(attribution.unattributed.0 + left_out))
    }

    /// Whether the spend of the ad account should be requested again, because the rows of a window answer for other
    /// campaigns than when it was received. If they do not answer for all campaigns, the next rows will differ again.
    pub fn has_outdated_account_spend(&self) -> bool {
        let mut windows = self.windows.iter().enumerate();
        windows.any(|(window_idx, window)| {
            let total = window.account_spend.as_deref();
            let delivery = total.and_then(|total| self.compared_rows(window_idx, total));
            delivery.is_some_and(|delivery| delivery.missing.unknown.is_empty())
                && self.unattributed_spend(window_idx).is_none()
        })
    }

    fn attribution(&self, window_idx: usize, total: &AccountSpend) -> Option<Attribution> {
        let delivery = self.compared_rows(window_idx, total)?;
        let explained = self.spend_of_rows(window_idx, total.dates, |_| true);
        Some(Attribution {
            unattributed: rounded(total.spend.0 - explained),
            campaigns: self.answered_campaigns(delivery),
        })
    }

    /// Returns the delivery rows of a window if they are exported and have the dates of `total`.
    fn compared_rows(&self, window_idx: usize, total: &AccountSpend) -> Option<&RowSet> {
        let window = self.windows.get(window_idx)?;
        let (delivery, _) =
            of_same_dates(window.delivery.as_deref(), window.conversions.as_deref());
        delivery.filter(|delivery| match (delivery.dates, total.dates) {
            (Some(dates), Some(total_dates)) => dates == total_dates,
            _ => true,
        })
    }

    /// Returns the sum of the spend of those exported rows of a window that have these dates.
    fn spend_of_rows(
        &self,
        window_idx: usize,
        dates: Option<DateSpan>,
        is_included: impl Fn(&ExportedRow<'_>) -> bool,
    ) -> f64 {
        exported_rows(self, window_idx)
            .filter(|row| row.dates.is_none_or(|row_dates| Some(row_dates) == dates))
            .filter(is_included)
            .filter_map(|row| row.scalar(InsightField::Spend))
            .sum()
    }

    /// Returns a hash of the campaigns that delivery rows answer for, with or without a row: those of the inventory,
    /// without those of which rows are withheld or nothing is known.
    fn answered_campaigns(&self, delivery: &RowSet) -> u64 {
        // A sum does not depend on the order, so that an archived campaign does not change it.
        fn hash<'a>(ids: impl Iterator<Item = &'a str>) -> u64 {
            ids.fold(0, |hash, id| hash.wrapping_add(fnv1a_mix(&[id])))
        }
        let inventory = self.inventory.iter();
        let exported = inventory
            .flat_map(|inventory| inventory.campaigns.iter().chain(&inventory.archived))
            .map(|campaign| campaign.id.as_str());
        let unanswered = delivery.withheld.union(&delivery.missing.unknown);
        hash(exported).wrapping_sub(hash(unanswered.map(AsRef::as_ref)))
    }
}

/// Rounds a difference of amounts, because sums of decimal fractions are not exact. Adding zero turns -0 into 0.
fn rounded(difference: f64) -> MajorUnits {
    MajorUnits((difference * 1e6).round() / 1e6 + 0.0)
}

impl WindowState {
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
