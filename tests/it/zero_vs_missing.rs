//! Property test of the rule for missing values: an independent implementation, written as the
//! documents state the rule, is compared with the page for arbitrary results of the API.

use jiff::civil::date;
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::model::{
    ActionList, InsightField, PURCHASE_ACTION_TYPE, RowValue,
};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::page::Page;
use crate::snapshot_builder::{
    ACTION_TYPES, CampaignFixture, MAX_SPEND, RANGE, RowFixture, RowOutcome, WindowFixture, page,
};

/// Expected value of a sample; `None` if it should be absent.
type Expected = Option<f64>;

/// Computes the expected samples of one campaign.
struct ExpectedSamples<'a> {
    campaign: &'a CampaignFixture,
    window: &'a WindowFixture,
}

impl ExpectedSamples<'_> {
    fn delivery_row(&self) -> Option<&RowFixture> {
        let row = self.campaign.delivery.row();
        row.filter(|_| self.window.has_delivery)
    }

    fn conversions_row(&self) -> Option<&RowFixture> {
        let row = self.campaign.conversions.row();
        row.filter(|_| self.window.has_conversions)
    }

    /// Whether the joined row of both queries exists.
    fn has_row(&self) -> bool {
        self.delivery_row().is_some() || self.conversions_row().is_some()
    }

    fn has_valid_delivery(&self) -> bool {
        self.window.has_delivery && self.campaign.delivery != RowOutcome::Withheld
    }

    fn has_valid_conversions(&self) -> bool {
        self.window.has_conversions && self.campaign.conversions != RowOutcome::Withheld
    }

    /// Whether the campaign has any sample.
    fn is_exported(&self) -> bool {
        let is_in_inventory = self.campaign.active.is_some();
        let is_zero_filled = match self.window.zero_fill {
            ZeroFill::Active => self.campaign.active == Some(true),
            ZeroFill::All => is_in_inventory,
        };
        let has_result = self.has_valid_delivery() || self.has_valid_conversions();
        is_in_inventory && has_result && (self.has_row() || is_zero_filled)
    }

    fn scalar(&self, field: InsightField) -> Expected {
        if !self.is_exported() || !self.has_valid_delivery() {
            return None;
        }
        match self.delivery_row() {
            Some(row) => present(row.values[field.column()]),
            // Zeros are exported only if the joined row is missing.
            None if self.has_row() => None,
            None => matches!(
                field,
                InsightField::Delivered | InsightField::LinkClicks | InsightField::Spend
            )
            .then_some(0.0),
        }
    }

    fn has_mixed_attribution(&self) -> bool {
        let rows = [self.delivery_row(), self.conversions_row()];
        rows.into_iter().flatten().any(|row| row.mixed_attribution)
    }

    /// Whether a configured action type is absent because of mixed attribution.
    fn is_withheld(&self) -> bool {
        let mut action_idxs = 0..ACTION_TYPES.len();
        self.has_mixed_attribution()
            && action_idxs.any(|action_idx| {
                self.received(ActionList::Counts, action_idx) == Some(RowValue::Missing)
            })
    }

    /// Whether a result has the row with other dates.
    fn has_other_dates(&self) -> bool {
        self.window.has_delivery && self.campaign.delivery == RowOutcome::Withheld
            || self.window.has_conversions && self.campaign.conversions == RowOutcome::Withheld
    }

    /// Value in one of the lists of the conversions query; `None` if the lists are unknown.
    fn received(&self, list: ActionList, action_idx: usize) -> Option<RowValue> {
        if !self.is_exported() || !self.has_valid_conversions() {
            return None;
        }
        let column = list.column(action_idx, ACTION_TYPES.len());
        let value = self.conversions_row().map(|row| row.values[column]);
        Some(value.unwrap_or(RowValue::Missing))
    }

    /// Value as exported: with mixed attribution, a missing value is not zero.
    fn list_value(&self, list: ActionList, action_idx: usize) -> Option<RowValue> {
        let value = self.received(list, action_idx);
        value.filter(|value| !self.has_mixed_attribution() || *value != RowValue::Missing)
    }

    fn conversions(&self, action_idx: usize) -> Expected {
        match self.list_value(ActionList::Counts, action_idx)? {
            RowValue::Missing => Some(0.0),
            value => present(value),
        }
    }

    fn conversion_value(&self, action_idx: usize) -> Expected {
        match self.list_value(ActionList::Values, action_idx)? {
            RowValue::Missing if ACTION_TYPES[action_idx] == PURCHASE_ACTION_TYPE => {
                self.conversions(action_idx).and(Some(0.0))
            }
            value => present(value),
        }
    }

    fn roas(&self, action_idx: usize) -> Expected {
        match self.list_value(ActionList::Returns, action_idx)? {
            RowValue::Missing if ACTION_TYPES[action_idx] == PURCHASE_ACTION_TYPE => {
                let has_spend = self.scalar(InsightField::Spend)? > 0.0;
                (has_spend && self.conversion_value(action_idx)? == 0.0).then_some(0.0)
            }
            value => present(value),
        }
    }

    /// Whether the start and end of the window are exported.
    fn has_window_bounds(&self) -> bool {
        self.is_exported() && (self.has_row() || self.window.has_fixed_dates)
    }
}

fn present(value: RowValue) -> Expected {
    match value {
        RowValue::Present(number) => Some(number),
        RowValue::Missing | RowValue::Invalid => None,
    }
}

/// Zero is as likely as all other numbers together.
fn row_value() -> impl Strategy<Value = RowValue> {
    prop_oneof![
        Just(RowValue::Present(0.0)),
        (1_u32..1_000_000).prop_map(|cents| RowValue::Present(f64::from(cents) / 100.0)),
        Just(RowValue::Missing),
        Just(RowValue::Invalid),
    ]
}

fn row(columns: usize) -> impl Strategy<Value = RowFixture> {
    let values = proptest::collection::vec(row_value(), columns);
    (values, any::<bool>()).prop_map(|(values, mixed_attribution)| RowFixture {
        values,
        mixed_attribution,
    })
}

fn row_outcome(columns: usize) -> impl Strategy<Value = RowOutcome> {
    prop_oneof![
        2 => Just(RowOutcome::NoRow),
        4 => row(columns).prop_map(RowOutcome::Row),
        1 => Just(RowOutcome::Withheld),
    ]
}

fn campaign() -> impl Strategy<Value = CampaignFixture> {
    let active = prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)];
    let (delivery, conversions) = (
        row_outcome(InsightField::ALL.len()),
        row_outcome(ActionList::ALL.len() * ACTION_TYPES.len()),
    );
    (active, delivery, conversions).prop_map(|(active, delivery, conversions)| CampaignFixture {
        active,
        delivery,
        conversions,
    })
}

fn window() -> impl Strategy<Value = WindowFixture> {
    let zero_fill = prop_oneof![Just(ZeroFill::Active), Just(ZeroFill::All)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (zero_fill, flags).prop_map(
        |(zero_fill, (has_delivery, has_conversions, has_fixed_dates))| WindowFixture {
            zero_fill,
            has_delivery,
            has_conversions,
            has_fixed_dates,
        },
    )
}

/// Metric of each built-in field.
pub(crate) const SCALARS: [(&str, InsightField); InsightField::ALL.len()] = [
    ("delivered", InsightField::Delivered),
    ("link_clicks", InsightField::LinkClicks),
    ("spend", InsightField::Spend),
    ("read_ratio", InsightField::ReadRatio),
    ("link_click_ratio", InsightField::LinkClickRatio),
    ("delivery_ratio", InsightField::DeliveryRatio),
    ("cost_per_delivered", InsightField::CostPerDelivered),
    ("cost_per_link_click", InsightField::CostPerLinkClick),
];

proptest! {
    #[test]
    fn page_has_exactly_the_expected_samples(
        campaigns in proptest::collection::vec(campaign(), 0..5),
        window in window(),
    ) {
        let page = Page::parse(&page(&campaigns, &window));
        for (campaign_idx, campaign) in campaigns.iter().enumerate() {
            let expected = ExpectedSamples { campaign, window: &window };
            let id = campaign_idx.to_string();
            let id = ("campaign_id", id.as_str());
            for (name, field) in SCALARS {
                let value = page.value(name, &[id]);
                prop_assert_eq!(
                    value, expected.scalar(field), "{} of {:?}, {:?}", name, campaign, window
                );
            }
            for (action_idx, action_type) in ACTION_TYPES.iter().enumerate() {
                let labels = [id, ("action_type", *action_type)];
                let values = ["conversions", "conversion_value", "website_purchase_roas"]
                    .map(|name| page.value(name, &labels));
                let expected = [
                    expected.conversions(action_idx),
                    expected.conversion_value(action_idx),
                    expected.roas(action_idx),
                ];
                prop_assert_eq!(
                    values, expected, "{} of {:?}, {:?}", action_type, campaign, window
                );
            }
            for (reason, is_withheld) in [
                ("attribution", expected.is_withheld()),
                ("dates", expected.has_other_dates()),
                ("actions_too_heavy", false),
            ] {
                let withheld = page.value("exporter_rows_withheld", &[id, ("reason", reason)]);
                let expected_withheld = is_withheld.then_some(1.0);
                prop_assert_eq!(withheld, expected_withheld, "{}: {:?}, {:?}", reason, campaign, window);
            }
            let bounds = [
                ("window_start_timestamp_seconds", RANGE.0),
                ("window_end_timestamp_seconds", RANGE.1.tomorrow().unwrap()),
            ];
            for (name, day) in bounds {
                let midnight = day.in_tz("Europe/Berlin").unwrap().timestamp().as_second();
                let value = page.find(name, &[id]).map(|sample| sample.number.clone());
                let expected = expected.has_window_bounds().then(|| midnight.to_string());
                prop_assert_eq!(value, expected, "{} of {:?}, {:?}", name, campaign, window);
            }
            let threshold = page.value("max_spend_threshold", &[id]);
            prop_assert_eq!(threshold, expected.is_exported().then_some(MAX_SPEND));
        }
        // The page has no row of any other campaign.
        let ids: Vec<String> = (0..campaigns.len()).map(|idx| idx.to_string()).collect();
        let is_known = |id: &str| id.is_empty() || ids.iter().any(|known| known == id);
        let unknown = page.samples().find(|sample| !is_known(sample.label("campaign_id")));
        prop_assert_eq!(unknown, None);
    }
}

#[test]
fn range_includes_a_clock_change() {
    // Clocks change within the range, so that a day of 24 hours instead of midnight would be noticed.
    assert_eq!(RANGE, (date(2026, 10, 20), date(2026, 10, 27)));
}
