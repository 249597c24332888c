//! What is known of some campaigns, made by hand: what a poll might have heard, and its page.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use marketing_messages_exporter::config::ZeroFill;
use marketing_messages_exporter::exposition;
use marketing_messages_exporter::listing::{self, Account, Listing, Member};
use marketing_messages_exporter::plan::{Plan, Shard};
use marketing_messages_exporter::row::{
    self, AccountId, Figure, Figures, Identity, Named, ObjectId,
};
use marketing_messages_exporter::snapshot::{self, Polled, Snapshot};

use crate::harness::{NOW, parse};

/// Two of them are enough to tell a purchase from something else.
pub(crate) const ACTION_TYPES: [&str; 2] = [
    "offsite_conversion.fb_pixel_purchase",
    "offsite_conversion.fb_pixel_lead",
];

/// The days that every row is about.
pub(crate) const RANGE: (Date, Date) = (date(2026, 10, 20), date(2026, 10, 27));

/// What holds for all campaigns of a window.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) zero_fill: ZeroFill,
    /// Whether the delivery query was answered.
    pub(crate) delivery: bool,
    /// Whether the conversions query was.
    pub(crate) conversions: bool,
    /// Whether the window asks for fixed dates, rather than for a preset.
    pub(crate) fixed_dates: bool,
}

/// One campaign; its place is its id.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    /// Whether discovery lists it, and then whether it is active.
    pub(crate) listed: Option<bool>,
    pub(crate) delivery: Heard,
    pub(crate) conversions: Heard,
}

/// What a query says of one campaign, where it is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    NoRow,
    Row(Row),
    Withheld,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) figures: Vec<Figure>,
    pub(crate) mixed: bool,
    /// Whether there is a list of actions even where no figure is given.
    pub(crate) lists: bool,
}

impl Heard {
    pub(crate) fn row(&self) -> Option<&Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::NoRow | Self::Withheld => None,
        }
    }
}

impl Row {
    pub(crate) fn has_actions(&self) -> bool {
        self.lists || self.figures.iter().any(|figure| *figure != Figure::Missing)
    }

    fn build(&self, campaign: &str) -> row::Row {
        row::Row {
            identity: Arc::new(identity(campaign, campaign)),
            start: RANGE.0,
            stop: RANGE.1,
            has_actions: self.has_actions(),
            mixed_attribution: self.mixed,
            figures: Figures::pack(&self.figures),
        }
    }
}

/// A campaign's identity; its name is free text.
pub(crate) fn identity(id: &str, name: &str) -> Identity {
    Identity {
        account: AccountId::parse("1").unwrap(),
        currency: Some("EUR".into()),
        campaign: Some(Named {
            id: ObjectId::parse(id).unwrap(),
            name: name.into(),
        }),
        adset: None,
        ad: None,
    }
}

/// A listing of campaigns: id, name, and whether it is active.
pub(crate) fn listing<'a>(campaigns: impl IntoIterator<Item = (String, &'a str, bool)>) -> Listing {
    let (mut listed, mut members) = (Vec::new(), Vec::new());
    for (id, name, active) in campaigns {
        listed.push(listing::Campaign {
            id: ObjectId::parse(&id).unwrap(),
            name: name.into(),
            status: name.into(),
            objective: name.into(),
            is_message: true,
            daily_budget: Some(12.5),
            lifetime_budget: None,
        });
        members.push(Member {
            identity: identity(&id, name).into(),
            active,
        });
    }
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    members.sort_by(|a, b| a.identity.key().cmp(b.identity.key()));
    Listing {
        at: NOW.parse().unwrap(),
        account: Account {
            id: AccountId::parse("1").unwrap(),
            name: "Acme".into(),
            currency: Some("EUR".into()),
            timezone: Some(TimeZone::get("Europe/Berlin").unwrap()),
        },
        rows: listed.len(),
        campaigns: listed,
        others: Vec::new(),
        members,
    }
}

/// Nothing known yet of one ad account and one window.
pub(crate) fn unknown(zero_fill: ZeroFill, fixed_dates: bool) -> Snapshot {
    let zero_fill = match zero_fill {
        ZeroFill::Active => "active",
        ZeroFill::All => "all",
    };
    let dates = match fixed_dates {
        true => format!("time_range: {{ since: {}, until: {} }}", RANGE.0, RANGE.1),
        false => "date_preset: last_7d".to_owned(),
    };
    let config = format!(
        "insights: {{ zero_fill: {zero_fill}, action_types: [{}] }}
windows: [{{ name: w, {dates} }}]
businesses:
  - name: acme
    access_token_env: EVERYONE
    thresholds: [{{ window: w, max_spend: 500 }}]
    ad_accounts: [{{ id: act_1 }}]
",
        ACTION_TYPES.join(", ")
    );
    let config = parse(&config, "http://127.0.0.1:1");
    Snapshot::unknown(&Plan::of(&config, Shard::WHOLE), NOW.parse().unwrap())
}

/// The page after one poll that heard that.
pub(crate) fn page(campaigns: &[Campaign], told: &Told) -> String {
    let listed = campaigns.iter().enumerate().filter_map(|(place, c)| {
        let name = ["quiet", "loud"][usize::from(c.listed?)];
        Some((place.to_string(), name, c.listed?))
    });
    let heard = |of: fn(&Campaign) -> &Heard| {
        let mut heard = snapshot::Heard {
            rows: Some(Vec::new()),
            withheld: BTreeSet::new(),
            fault: None,
        };
        for (place, campaign) in campaigns.iter().enumerate() {
            let id = place.to_string();
            match of(campaign) {
                Heard::NoRow => {}
                Heard::Row(row) => heard.rows.as_mut().unwrap().push(row.build(&id)),
                Heard::Withheld => drop(heard.withheld.insert(id.into())),
            }
        }
        heard
    };
    let polled = Polled {
        listing: Some(Arc::new(listing(listed))),
        delivery: match told.delivery {
            true => heard(|campaign| &campaign.delivery),
            false => snapshot::Heard::default(),
        },
        conversions: told
            .conversions
            .then(|| heard(|campaign| &campaign.conversions)),
        ..Polled::begun(0, now())
    };
    let snapshot = unknown(told.zero_fill, told.fixed_dates);
    let known = snapshot.sources[0].advance(polled);
    text(&snapshot.replace(0, known))
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// The page of a snapshot.
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut page = Vec::new();
    exposition::write(snapshot, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}
