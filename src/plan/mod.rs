//! Config → what to ask: the sources, their windows, and the queries of one poll.
//!
//! The sources stand here; `window` knows when each is due, `query` is one question, `questions`
//! and `unfiltered` choose how it is asked, `history` asks about days, `shard` divides the sources,
//! and `estimate` counts beforehand. All of it is arithmetic on what is known: nothing asks, waits
//! or reads a clock.

mod estimate;
mod history;
mod query;
mod questions;
mod shard;
mod unfiltered;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::estimate::Estimate;
pub use self::history::{Days, FIRST_DATED_DAY, MONTHS_KEPT};
pub use self::query::{Columns, Increment, Node, Query, Question};
pub use self::questions::{IDS_A_FILTER, IDS_A_WHOLE_FILTER, PAGE_SIZE};
pub use self::shard::{NoSuchShard, Shard};
pub use self::unfiltered::{Attempt, Unfiltered, Ways};
pub use self::window::{RESTATED_DAYS, Window};

use crate::config::{Business, Config, Labels, Thresholds, ZeroFill};
use crate::listing::Listing;
use crate::row::{AccountId, Level, Named, ObjectId, Row};

/// Everything that one exporter asks about.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Every source of this share, business by business, in the order of the config.
    pub sources: Vec<Arc<Source>>,
    /// How many sources there are in all shares together.
    pub configured: usize,
}

/// What one poll asks about: an ad account, or one campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The business that it belongs to.
    pub business: Box<str>,
    /// The `source` label: `act_<digits>`, or the campaign id as configured.
    pub name: Box<str>,
    /// Which of the two it is.
    pub subject: Subject,
    /// How finely its numbers are divided.
    pub level: Level,
    /// Which campaigns show zeros where the API has no row.
    pub zero_fill: ZeroFill,
    /// Whether conversions are asked for at all.
    pub conversions: bool,
    /// The columns of both queries.
    pub columns: Columns,
    /// Its windows, in the order of the config.
    pub windows: Vec<Window>,
    /// The user's labels on its rows.
    pub labels: Labels,
    /// The user's limits for its rows.
    pub thresholds: Thresholds,
    /// Of a campaign source: the ad account sources of the same business that other shards poll.
    pub elsewhere: Arc<[Subject]>,
}

/// What a source is to the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An ad account.
    AdAccount {
        /// Its id.
        id: AccountId,
        /// These campaigns alone; empty: all of its message campaigns.
        only: Vec<ObjectId>,
    },
    /// One campaign; since Meta's documents disagree, the id may be an ad's.
    Campaign(ObjectId),
}

impl Plan {
    /// That share of what a config asks for. Businesses that are not enabled ask nothing.
    pub fn of(config: &Config, shard: Shard) -> Self {
        let enabled = config.businesses.iter().filter(|b| b.enabled);
        let all: Vec<Source> = enabled.flat_map(|b| sources(config, b)).collect();
        let configured = all.len();
        let businesses = all.chunk_by(|a, b| a.business == b.business);
        let shares = businesses.flat_map(|sources| share(sources, shard));
        Self {
            sources: shares.collect(),
            configured,
        }
    }

    /// The businesses that have a source in this share, and how many.
    pub fn businesses(&self) -> BTreeMap<&str, usize> {
        let mut businesses = BTreeMap::new();
        for source in &self.sources {
            *businesses.entry(source.business.as_ref()).or_default() += 1;
        }
        businesses
    }
}

/// The sources of one business that a shard polls.
fn share(sources: &[Source], shard: Shard) -> Vec<Arc<Source>> {
    let is_campaign = |source: &Source| matches!(source.subject, Subject::Campaign(_));
    let (ours, theirs): (Vec<_>, Vec<_>) = sources
        .iter()
        .partition(|source| shard.has(&source.subject));
    let accounts = theirs.into_iter().filter(|source| !is_campaign(source));
    let elsewhere: Arc<[Subject]> = accounts.map(|source| source.subject.clone()).collect();
    let ours = ours.into_iter().cloned();
    ours.map(|source| match is_campaign(&source) {
        true => Source {
            elsewhere: Arc::clone(&elsewhere),
            ..source
        },
        false => source,
    })
    .map(Arc::new)
    .collect()
}

fn sources(config: &Config, business: &Business) -> Vec<Source> {
    let source =
        |name: String, subject, conversions, labels: &Labels, thresholds: &Thresholds| Source {
            business: business.name.as_str().into(),
            name: name.into(),
            subject,
            level: config.insights.level,
            zero_fill: config.insights.zero_fill,
            conversions,
            columns: Columns {
                extra: config.insights.extra_fields.as_slice().into(),
                action_types: config.insights.action_types.as_slice().into(),
            },
            windows: windows(config, business),
            labels: labels.clone(),
            thresholds: thresholds.clone(),
            elsewhere: [].into(),
        };
    let accounts = business.ad_accounts.iter().map(|account| {
        let subject = Subject::AdAccount {
            id: account.id.clone(),
            only: account.only.clone(),
        };
        let name = account.id.to_string();
        source(
            name,
            subject,
            account.conversions,
            &account.labels,
            &account.thresholds,
        )
    });
    let campaigns = business.campaigns.iter().map(|campaign| {
        let subject = Subject::Campaign(campaign.id.clone());
        let name = campaign.id.to_string();
        source(
            name,
            subject,
            campaign.conversions,
            &campaign.labels,
            &campaign.thresholds,
        )
    });
    accounts.chain(campaigns).collect()
}

fn windows(config: &Config, business: &Business) -> Vec<Window> {
    let usual = business.interval.unwrap_or(config.polling.interval);
    config
        .windows
        .iter()
        .map(|window| {
            // A window's own interval says more than a business' general one.
            let interval = window.interval.unwrap_or(usual);
            let stale_after = config.polling.stale_after;
            Window::new(&window.name, window.dates, interval, stale_after)
        })
        .collect()
}

impl Source {
    /// Whether it asks the API exactly what that other one asks, as often.
    pub fn asks_as(&self, other: &Self) -> bool {
        let named = (
            &self.business,
            &self.name,
            &self.subject,
            self.level,
            self.conversions,
        );
        named
            == (
                &other.business,
                &other.name,
                &other.subject,
                other.level,
                other.conversions,
            )
            && self.columns == other.columns
            && self.windows == other.windows
    }

    /// The questions of every poll of this source.
    pub fn questions(&self) -> &'static [Question] {
        if self.conversions {
            &[Question::Delivery, Question::Conversions]
        } else {
            &[Question::Delivery]
        }
    }

    /// Whether an ad account source that another shard polls shows that campaign of ours.
    pub fn is_shown_elsewhere(&self, listing: &Listing) -> bool {
        let Subject::Campaign(own) = &self.subject else {
            return false;
        };
        let campaign = listing.campaign(own.as_str());
        self.elsewhere.iter().any(|subject| match subject {
            Subject::AdAccount { id, only } if *id == listing.account.id => match only.as_slice() {
                [] => campaign.is_some_and(|campaign| campaign.is_message),
                only => campaign.is_some() && only.contains(own),
            },
            _ => false,
        })
    }

    /// Whether a listing may have been read before there was another shard that could show the
    /// campaign: whether it is a message campaign is only asked where that matters.
    pub fn wants_other_facts(&self, listing: &Listing) -> bool {
        let is_message = listing.campaigns.iter().any(|campaign| campaign.is_message);
        !self.elsewhere.is_empty() && !is_message
    }

    /// Whether the rows of that campaign of an ad account are exported.
    pub fn exports(&self, id: &ObjectId, listing: Option<&Listing>) -> bool {
        match (listing, &self.subject) {
            (Some(listing), _) => listing.campaign(id.as_str()).is_some(),
            (None, Subject::AdAccount { only, .. }) => only.contains(id),
            (None, Subject::Campaign(own)) => own == id,
        }
    }

    /// That row under the id that the user configured: a campaign source's may be an ad's.
    #[must_use]
    pub fn as_configured(&self, mut row: Row) -> Row {
        if let (Subject::Campaign(id), Some(campaign)) = (&self.subject, &row.identity.campaign)
            && campaign.id != *id
        {
            let mut identity = row.identity.as_ref().clone();
            let name = campaign.name.clone();
            identity.campaign = Some(Named {
                id: id.clone(),
                name,
            });
            row.identity = Arc::new(identity);
        }
        row
    }

    /// The key of that row under the id that the user configured.
    pub fn key_as_configured(&self, key: Box<str>) -> Box<str> {
        match &self.subject {
            Subject::Campaign(id) if self.level == Level::Campaign => id.as_str().into(),
            _ => key,
        }
    }

    /// The campaigns to ask about: `None` while nothing is known, and none named.
    pub fn campaigns(&self, listing: Option<&Listing>) -> Option<Vec<ObjectId>> {
        match (&self.subject, listing) {
            (_, Some(listing)) => Some(listing.campaigns.iter().map(|c| c.id.clone()).collect()),
            (Subject::AdAccount { only, .. }, None) if only.is_empty() => None,
            (Subject::AdAccount { only, .. }, None) => Some(only.clone()),
            (Subject::Campaign(id), None) => Some(vec![id.clone()]),
        }
    }
}
