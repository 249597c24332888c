//! Campaigns without an answer. If a part of a query failed, they keep their previous values and age. If they were found
//! after it, nothing is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{MissingCampaigns, RowSet};
use crate::model::Row;

impl MissingCampaigns {
    /// Whether every campaign was answered.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.unknown.is_empty()
    }

    /// Whether nothing is known about a campaign.
    pub fn is_unknown(&self, campaign_id: &str) -> bool {
        self.unknown.contains(campaign_id)
    }

    /// Iterates over the ids of the campaigns that the last query did not answer.
    pub fn ids(&self) -> impl Iterator<Item = &Box<str>> {
        self.kept.keys().chain(&self.unknown)
    }

    /// Moves all times by `step`, after the clock was set.
    pub(super) fn shift(&mut self, step: SignedDuration) {
        let millis = i64::try_from(step.as_millis()).unwrap_or(0);
        for at in self.kept.values_mut() {
            *at = at.saturating_add(millis);
        }
    }

    fn fetched_at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN)
    }
}

impl RowSet {
    /// Adds what is known of the campaigns that this result does not contain: the rows of `previous` if they have the
    /// same dates. Those of campaigns in `answered` belong to the same query, so that this result has their age.
    pub(super) fn keep_previous(
        &mut self,
        previous: Option<&Self>,
        unanswered: BTreeSet<Box<str>>,
        answered: BTreeSet<Box<str>>,
    ) {
        let previous =
            previous.filter(|previous| self.dates.is_some() && previous.dates == self.dates);
        let Some(previous) = previous else {
            self.missing.unknown = &unanswered | &answered;
            return;
        };
        let is_missing =
            |id: &str| previous.missing.is_unknown(id) || previous.missing.kept.contains_key(id);
        let (lost, answered): (BTreeSet<_>, BTreeSet<_>) =
            answered.into_iter().partition(|id| is_missing(id));
        if !answered.is_empty() {
            self.fetched_at = self.fetched_at.min(previous.fetched_at);
        }
        for id in unanswered.into_iter().chain(lost) {
            let at = previous.missing.kept.get(&id).copied();
            if previous.missing.is_unknown(&id) {
                self.missing.unknown.insert(id);
            } else {
                let at = at.unwrap_or(previous.fetched_at.as_millisecond());
                self.missing.kept.insert(id, at);
            }
        }
        let kept = &self.missing.kept;
        let is_kept_campaign = |id: &str| kept.contains_key(id) || answered.contains(id);
        let is_kept = |row: &&Row| {
            let campaign = row.dimensions.campaign.as_ref();
            campaign.is_some_and(|campaign| is_kept_campaign(campaign.id.as_str()))
        };
        let rows = previous.rows.iter().filter(is_kept).cloned();
        self.rows.extend(rows);
        let too_heavy = previous.too_heavy.iter();
        self.too_heavy
            .extend(too_heavy.filter(|id| is_kept_campaign(id)).cloned());
        // The campaign of a withheld row of an ad set or ad is not known, so that the rows of all campaigns stay withheld
        // that this result does not contain.
        let answered: BTreeSet<&str> = self.rows.iter().map(|row| row.dimensions.key()).collect();
        let is_open = |key: &str| !answered.contains(key);
        let withheld = previous.withheld.iter().filter(|key| is_open(key));
        let withheld: Vec<Box<str>> = withheld.cloned().collect();
        let other_dates = previous.other_dates.iter().filter(|key| is_open(key));
        let other_dates: Vec<Box<str>> = other_dates.cloned().collect();
        self.withheld.extend(withheld);
        self.other_dates.extend(other_dates);
    }

    /// Adds campaigns that were found after this result was requested. Nothing is known of those without a row.
    pub(super) fn add_unknown(&mut self, campaigns: &BTreeSet<Box<str>>) {
        let rows = self.rows.iter();
        let with_rows: BTreeSet<&str> = rows
            .filter_map(|row| row.dimensions.campaign.as_ref())
            .map(|campaign| campaign.id.as_str())
            .collect();
        let missing = &mut self.missing;
        let unknown = campaigns.iter().filter(|id| {
            !with_rows.contains(id.as_ref()) && !missing.kept.contains_key(id.as_ref())
        });
        missing.unknown.extend(unknown.cloned());
    }

    /// Returns the time at which the oldest values of campaigns without a current answer expire.
    pub(super) fn missing_expires_at(&self, stale_after: Duration) -> Option<Timestamp> {
        let oldest = self.missing.kept.values().min()?;
        Some(MissingCampaigns::fetched_at(*oldest) + stale_after)
    }

    /// Removes the values of campaigns without a current answer that are expired at `now`.
    pub(super) fn expire_missing(&mut self, stale_after: Duration, now: Timestamp) {
        let is_expired = |at: &i64| MissingCampaigns::fetched_at(*at) + stale_after <= now;
        let kept = std::mem::take(&mut self.missing.kept);
        let (expired, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            kept.into_iter().partition(|(_, at)| is_expired(at));
        self.missing.kept = kept;
        self.rows.retain(|row| {
            let campaign = row.dimensions.campaign.as_ref();
            campaign.is_none_or(|campaign| !expired.contains_key(campaign.id.as_str()))
        });
        self.missing.unknown.extend(expired.into_keys());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;
    use jiff::civil::{Date, date};

    use super::{MissingCampaigns, RowSet};
    use crate::model::{AccountId, Dimensions, NamedId, ObjectId, Row, RowValues};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minute * 60).unwrap()
    }

    fn row_set(day: Date, minute: i64, campaigns: &[&str]) -> RowSet {
        let row = |id: &&str| Row {
            dimensions: Arc::new(Dimensions {
                account: AccountId::parse("1").unwrap(),
                currency: None,
                campaign: Some(NamedId {
                    id: ObjectId::parse(id).unwrap(),
                    name: "c".into(),
                }),
                adset: None,
                ad: None,
            }),
            start: day,
            stop: day,
            mixed_attribution: false,
            values: RowValues::pack(&[]),
        };
        RowSet {
            fetched_at: at(minute),
            dates: Some((day, day)),
            valid_until: None,
            rows: campaigns.iter().map(row).collect(),
            withheld: [].into(),
            other_dates: [].into(),
            too_heavy: [].into(),
            missing: MissingCampaigns::default(),
        }
    }

    fn campaigns(row_set: &RowSet) -> Vec<&str> {
        row_set
            .rows
            .iter()
            .map(|row| row.dimensions.key())
            .collect()
    }

    #[test]
    fn rows_of_other_dates_are_not_kept() {
        let (monday, tuesday) = (date(2026, 11, 23), date(2026, 11, 24));
        let previous = row_set(monday, 0, &["1", "2"]);
        for (day, kept) in [(monday, vec!["1", "2"]), (tuesday, vec!["1"])] {
            let mut part = row_set(day, 15, &["1"]);
            part.keep_previous(Some(&previous), ["2".into()].into(), [].into());
            assert_eq!(campaigns(&part), kept);
            assert_eq!(part.missing.is_unknown("2"), day == tuesday);
        }
    }

    #[test]
    fn rest_of_a_query_has_the_time_of_its_first_part() {
        let monday = date(2026, 11, 23);
        let before = row_set(monday, 0, &["1", "2"]);
        let mut first = row_set(monday, 15, &["1"]);
        first.keep_previous(Some(&before), ["2".into(), "3".into()].into(), [].into());
        let mut rest = row_set(monday, 20, &["2"]);
        rest.keep_previous(Some(&first), ["3".into()].into(), ["1".into()].into());
        assert_eq!(campaigns(&rest), ["2", "1"]);
        assert_eq!(rest.fetched_at, at(15));
        assert_eq!(rest.missing_expires_at(HOUR), Some(at(60)));
        let mut last = row_set(monday, 25, &["3"]);
        last.keep_previous(Some(&rest), [].into(), ["1".into(), "2".into()].into());
        assert_eq!(campaigns(&last), ["3", "2", "1"]);
        assert!(last.missing.is_empty());
        // An answer of another day, or one that is not known any more, does not count.
        let mut tuesday = row_set(date(2026, 11, 24), 25, &["2"]);
        tuesday.keep_previous(Some(&first), [].into(), ["1".into()].into());
        assert!(tuesday.missing.is_unknown("1"));
        let mut lost = row_set(monday, 25, &["1"]);
        lost.keep_previous(Some(&first), [].into(), ["2".into()].into());
        assert_eq!(lost.missing_expires_at(HOUR), Some(at(60)));
    }

    #[test]
    fn kept_rows_expire_at_their_own_age() {
        let monday = date(2026, 11, 23);
        let mut last = row_set(monday, 0, &["1", "2"]);
        for minute in [15, 30] {
            let mut part = row_set(monday, minute, &["1"]);
            part.keep_previous(Some(&last), ["2".into()].into(), [].into());
            last = part;
        }
        assert_eq!(last.missing_expires_at(HOUR), Some(at(60)));
        last.expire_missing(HOUR, at(59));
        assert_eq!(campaigns(&last), ["1", "2"]);
        last.expire_missing(HOUR, at(60));
        assert_eq!(campaigns(&last), ["1"]);
        assert!(last.missing.is_unknown("2"));
        assert_eq!(last.missing_expires_at(HOUR), None);
    }
}
