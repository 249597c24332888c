//! What is missing is told apart, never guessed: the law of the page, stated a second time as
//! plainly as the documents have it, and held against the code for whatever an API may say.

use jiff::civil::date;
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::row::{ActionList, Figure, PURCHASE, Scalar};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use crate::known::{ACTION_TYPES, Campaign, Heard, RANGE, Row, Told, page};
use crate::page::Page;

/// What one sample of the campaign must be: this, or absent.
type Expected = Option<f64>;

/// The law for one campaign.
struct Law<'a> {
    campaign: &'a Campaign,
    told: &'a Told,
}

impl Law<'_> {
    fn delivery(&self) -> Option<&Row> {
        self.campaign.delivery.row().filter(|_| self.told.delivery)
    }

    fn conversions(&self) -> Option<&Row> {
        self.campaign
            .conversions
            .row()
            .filter(|_| self.told.conversions)
    }

    /// The two queries' answers are joined by id first.
    fn has_row(&self) -> bool {
        self.delivery().is_some() || self.conversions().is_some()
    }

    fn delivery_answered(&self) -> bool {
        self.told.delivery && self.campaign.delivery != Heard::Withheld
    }

    fn conversions_answered(&self) -> bool {
        self.told.conversions && self.campaign.conversions != Heard::Withheld
    }

    /// Whether there is anything to say of it at all.
    fn is_shown(&self) -> bool {
        let known = self.campaign.listed.is_some();
        let zeros = match self.told.zero_fill {
            ZeroFill::Active => self.campaign.listed == Some(true),
            ZeroFill::All => known,
        };
        let said = self.delivery_answered() || self.conversions_answered();
        known && said && (self.has_row() || zeros)
    }

    fn scalar(&self, scalar: Scalar) -> Expected {
        if !self.is_shown() || !self.delivery_answered() {
            return None;
        }
        match self.delivery() {
            Some(row) => given(row.figures[scalar.column()]),
            // 0 is said only of a row that is not there.
            None if self.has_row() => None,
            None => matches!(
                scalar,
                Scalar::Delivered | Scalar::LinkClicks | Scalar::Spend
            )
            .then_some(0.0),
        }
    }

    fn withheld(&self) -> bool {
        let rows = [self.delivery(), self.conversions()];
        let mixed = rows.into_iter().flatten().any(|row| row.mixed);
        let lists = self.conversions().is_some_and(Row::has_actions);
        self.is_shown() && self.told.conversions && mixed && !lists
    }

    /// The figure of a list, where anything is known of the lists.
    fn figure(&self, list: ActionList, action_type: usize) -> Option<Figure> {
        if !self.is_shown() || self.withheld() || !self.conversions_answered() {
            return None;
        }
        let column = list.column(action_type, ACTION_TYPES.len());
        let row = self.conversions().map(|row| row.figures[column]);
        Some(row.unwrap_or(Figure::Missing))
    }

    fn count(&self, action_type: usize) -> Expected {
        match self.figure(ActionList::Counts, action_type)? {
            Figure::Missing => Some(0.0),
            figure => given(figure),
        }
    }

    fn value(&self, action_type: usize) -> Expected {
        match self.figure(ActionList::Values, action_type)? {
            Figure::Missing if ACTION_TYPES[action_type] == PURCHASE => {
                self.count(action_type).and(Some(0.0))
            }
            figure => given(figure),
        }
    }

    fn roas(&self, action_type: usize) -> Expected {
        match self.figure(ActionList::Returns, action_type)? {
            Figure::Missing if ACTION_TYPES[action_type] == PURCHASE => {
                let spent = self.scalar(Scalar::Spend)? > 0.0;
                (spent && self.value(action_type)? == 0.0).then_some(0.0)
            }
            figure => given(figure),
        }
    }

    /// Whether the bounds of the window are known.
    fn bounds(&self) -> bool {
        self.is_shown() && (self.has_row() || self.told.fixed_dates)
    }
}

fn given(figure: Figure) -> Expected {
    match figure {
        Figure::Given(number) => Some(number),
        Figure::Missing | Figure::Rejected => None,
    }
}

/// Zero is as likely as what people would sell.
fn figure() -> impl Strategy<Value = Figure> {
    prop_oneof![
        Just(Figure::Given(0.0)),
        (1_u32..1_000_000).prop_map(|cents| Figure::Given(f64::from(cents) / 100.0)),
        Just(Figure::Missing),
        Just(Figure::Rejected),
    ]
}

fn row(columns: usize) -> impl Strategy<Value = Row> {
    let figures = proptest::collection::vec(figure(), columns);
    (figures, any::<bool>(), any::<bool>()).prop_map(|(figures, mixed, lists)| Row {
        figures,
        mixed,
        lists,
    })
}

fn heard(columns: usize) -> impl Strategy<Value = Heard> {
    prop_oneof![
        2 => Just(Heard::NoRow),
        4 => row(columns).prop_map(Heard::Row),
        1 => Just(Heard::Withheld),
    ]
}

fn campaign() -> impl Strategy<Value = Campaign> {
    let listed = prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)];
    let (delivery, conversions) = (
        heard(Scalar::ALL.len()),
        heard(ActionList::ALL.len() * ACTION_TYPES.len()),
    );
    (listed, delivery, conversions).prop_map(|(listed, delivery, conversions)| Campaign {
        listed,
        delivery,
        conversions,
    })
}

fn told() -> impl Strategy<Value = Told> {
    let zero_fill = prop_oneof![Just(ZeroFill::Active), Just(ZeroFill::All)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (zero_fill, flags).prop_map(|(zero_fill, (delivery, conversions, fixed_dates))| Told {
        zero_fill,
        delivery,
        conversions,
        fixed_dates,
    })
}

const SCALARS: [(&str, Scalar); 8] = [
    ("delivered", Scalar::Delivered),
    ("link_clicks", Scalar::LinkClicks),
    ("spend", Scalar::Spend),
    ("read_ratio", Scalar::ReadRatio),
    ("link_click_ratio", Scalar::LinkClickRatio),
    ("delivery_ratio", Scalar::DeliveryRatio),
    ("cost_per_delivered", Scalar::CostPerDelivered),
    ("cost_per_link_click", Scalar::CostPerLinkClick),
];

proptest! {
    #[test]
    fn the_page_says_what_is_known_and_nothing_else(
        campaigns in proptest::collection::vec(campaign(), 0..5),
        told in told(),
    ) {
        let page = Page::parse(&page(&campaigns, &told));
        for (place, campaign) in campaigns.iter().enumerate() {
            let law = Law { campaign, told: &told };
            let id = place.to_string();
            let id = ("campaign_id", id.as_str());
            for (name, scalar) in SCALARS {
                let found = page.value(name, &[id]);
                prop_assert_eq!(found, law.scalar(scalar), "{} of {:?}, {:?}", name, campaign, told);
            }
            for (at, action_type) in ACTION_TYPES.iter().enumerate() {
                let labels = [id, ("action_type", *action_type)];
                let found = ["conversions", "conversion_value", "website_purchase_roas"]
                    .map(|name| page.value(name, &labels));
                let expected = [law.count(at), law.value(at), law.roas(at)];
                prop_assert_eq!(found, expected, "{} of {:?}, {:?}", action_type, campaign, told);
            }
            let withheld = page.value("exporter_conversions_withheld", &[id]);
            prop_assert_eq!(withheld, law.withheld().then_some(1.0), "{:?}, {:?}", campaign, told);
            let bounds = [
                ("window_start_timestamp_seconds", RANGE.0),
                ("window_end_timestamp_seconds", RANGE.1.tomorrow().unwrap()),
            ];
            for (name, day) in bounds {
                let midnight = day.in_tz("Europe/Berlin").unwrap().timestamp().as_second();
                let found = page.find(name, &[id]).map(|sample| sample.number.clone());
                let expected = law.bounds().then(|| midnight.to_string());
                prop_assert_eq!(found, expected, "{} of {:?}, {:?}", name, campaign, told);
            }
            let limit = page.value("max_spend_threshold", &[id]);
            prop_assert_eq!(limit, law.is_shown().then_some(500.0));
        }
        // No row was invented.
        let places: Vec<String> = (0..campaigns.len()).map(|place| place.to_string()).collect();
        let known = |id: &str| id.is_empty() || places.iter().any(|place| place == id);
        prop_assert_eq!(page.samples().find(|sample| !known(sample.label("campaign_id"))), None);
    }
}

#[test]
fn the_dates_of_these_tests_are_no_accident() {
    // Clocks changed between them, so that both midnights are told apart from days of 24 hours.
    assert_eq!(RANGE, (date(2026, 10, 20), date(2026, 10, 27)));
}
