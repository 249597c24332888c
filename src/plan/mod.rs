//! Config → what to ask: the sources, their windows, and the queries of one poll.
//!
//! Everything here is arithmetic on what is known. Nothing asks, waits or reads a clock.

mod estimate;
mod history;
mod shard;
mod unfiltered;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

pub use self::estimate::Estimate;
pub use self::history::{Days, FIRST_DATED_DAY, MONTHS_KEPT};
pub use self::shard::{NoSuchShard, Shard};
pub use self::unfiltered::{Attempt, Unfiltered, Ways};

use crate::config::{Business, Config, ExtraField, Labels, Thresholds, ZeroFill};
use crate::listing::Listing;
use crate::row::{AccountId, Dates, Kind, Level, Named, ObjectId, Row, Scalar};

/// Rows a page. Meta's documents name no limit; 500 is what production clients use without being
/// told to reduce the amount of data.
pub const PAGE_SIZE: usize = 500;

/// Ids a `campaign.id IN` filter: what keeps the address well below common limits of 8 KiB.
pub const IDS_A_FILTER: usize = 100;

/// Ids a filter at level `account`, where an answer must come from one filter or be a wrong sum.
pub const IDS_A_WHOLE_FILTER: usize = 512;

/// Meta restates numbers for 28 days; after that a window is history.
/// Source: Meta's best practices for insights.
pub const RESTATED_DAYS: i64 = 28;

/// How often a window that is history is asked all the same.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

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

/// A named date range of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The `window` label.
    pub name: Box<str>,
    /// Its days.
    pub dates: Dates,
    /// How often it is polled while its numbers still move.
    interval: Duration,
    /// The config's `stale_after`.
    stale_after: Duration,
}

/// The columns that the two queries ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// The config's own fields, which follow the [`Scalar`]s in the delivery query.
    pub extra: Arc<[ExtraField]>,
    /// The action types of the conversions query.
    pub action_types: Arc<[String]>,
}

/// One question to the API. Its answer may take several pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Whose insights.
    pub node: Node,
    /// How the rows are divided; not sent where the node decides it.
    pub level: Option<Level>,
    /// The level that the rows must have the ids of.
    pub rows: Level,
    /// Which days.
    pub dates: Dates,
    /// Whether each row is of all of them.
    pub increment: Increment,
    /// Which numbers.
    pub question: Question,
    /// What those numbers are.
    pub columns: Columns,
    /// Only these campaigns; empty: no such filter.
    pub campaigns: Vec<ObjectId>,
}

/// How an answer divides the days that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increment {
    /// Not at all: one row for all of them.
    Whole,
    /// One row a day; days without anything to tell have none.
    Daily,
}

/// The node whose insights are asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// `act_<digits>`
    AdAccount(AccountId),
    /// A campaign, or an ad that somebody took for one.
    Object(ObjectId),
}

/// The two questions of every poll. They stay apart since it is not known whether the filter of
/// the second one can drop whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Messages, clicks, money spent.
    Delivery,
    /// Actions, their values, return on ad spend.
    Conversions,
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

impl Window {
    /// A window that is polled every `interval` while its numbers still move, and believed for
    /// `stale_after`, or longer where it is asked seldom.
    pub fn new(name: &str, dates: Dates, interval: Duration, stale_after: Duration) -> Self {
        Self {
            name: name.into(),
            dates,
            interval,
            stale_after,
        }
    }

    /// How often the window is polled, seen from `today`.
    pub fn interval(&self, today: Date) -> Duration {
        if self.is_history(today) {
            self.interval.max(DAILY)
        } else {
            self.interval
        }
    }

    /// How long its values are believed without a successful poll: never less than two intervals.
    pub fn stale_after(&self, today: Date) -> Duration {
        self.stale_after.max(2 * self.interval(today))
    }

    /// Whether Meta no longer restates it.
    fn is_history(&self, today: Date) -> bool {
        match self.dates {
            Dates::Range { until, .. } => until
                .until(today)
                .is_ok_and(|gone| i64::from(gone.get_days()) > RESTATED_DAYS),
            Dates::Preset(_) | Dates::Unsent => false,
        }
    }
}

impl Columns {
    /// The delivery query's columns: field and kind.
    pub fn delivery(&self) -> impl Iterator<Item = (&str, Kind)> {
        let documented = Scalar::ALL.iter().map(|s| (s.field(), s.kind()));
        documented.chain(self.extra.iter().map(|e| (e.field.as_str(), e.kind)))
    }

    /// How many columns the rows of that question have.
    pub fn width(&self, question: Question) -> usize {
        match question {
            Question::Delivery => Scalar::ALL.len() + self.extra.len(),
            Question::Conversions => 3 * self.action_types.len(),
        }
    }
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

    /// The queries that answer one question for one window, with the fewest calls if every listed
    /// campaign has a row.
    ///
    /// No query at all means that there is nothing to ask about: the answer is known to be empty.
    /// `None` means that the question cannot be asked so that the answer would be true.
    pub fn queries(
        &self,
        window: &Window,
        question: Question,
        listing: Option<&Listing>,
    ) -> Option<Vec<Query>> {
        let asked = Asked {
            dates: window.dates,
            increment: Increment::Whole,
            days: 1,
        };
        self.ask(asked, question, listing)
    }

    fn ask(
        &self,
        asked: Asked,
        question: Question,
        listing: Option<&Listing>,
    ) -> Option<Vec<Query>> {
        let ask = |node: Node, level: Option<Level>, campaigns: &[ObjectId]| Query {
            node,
            level,
            rows: self.level,
            dates: asked.dates,
            increment: asked.increment,
            question,
            columns: self.columns.clone(),
            campaigns: campaigns.to_vec(),
        };
        let account = match &self.subject {
            Subject::AdAccount { id, .. } => Node::AdAccount(id.clone()),
            Subject::Campaign(id) => {
                // At level campaign the node decides: the id may be an ad's.
                let level = (self.level != Level::Campaign).then_some(self.level);
                return Some(vec![ask(Node::Object(id.clone()), level, &[])]);
            }
        };
        let Some(campaigns) = self.campaigns(listing) else {
            return Some(Vec::new());
        };
        if campaigns.is_empty() {
            return Some(Vec::new());
        }
        if self.level == Level::Account {
            // An account's actions are those of its ordinary campaigns too.
            return match (campaigns.len() <= IDS_A_WHOLE_FILTER, question) {
                (true, _) => Some(vec![ask(account, Some(self.level), &campaigns)]),
                (false, Question::Delivery) => Some(vec![ask(account, Some(self.level), &[])]),
                (false, Question::Conversions) => None,
            };
        }
        let filtered = filtered_calls(campaigns.len(), listing, asked.days);
        let unfiltered = listing
            .map(|listing| listing.rows.saturating_mul(asked.days))
            .map(|rows| rows.div_ceil(PAGE_SIZE).max(1));
        Some(match unfiltered {
            Some(unfiltered) if unfiltered <= filtered => vec![ask(account, Some(self.level), &[])],
            _ => campaigns
                .chunks(IDS_A_FILTER)
                .map(|chunk| ask(account.clone(), Some(self.level), chunk))
                .collect(),
        })
    }
}

/// The calls that `campaign.id IN` filters cost: one a chunk, or more where the chunks' rows pass
/// a page.
fn filtered_calls(campaigns: usize, listing: Option<&Listing>, days: usize) -> usize {
    let members = listing.map_or(campaigns, |l| l.members.len());
    campaigns
        .div_ceil(IDS_A_FILTER)
        .max(members.saturating_mul(days).div_ceil(PAGE_SIZE))
}

/// The days of a question, and how they are divided.
#[derive(Clone, Copy)]
struct Asked {
    dates: Dates,
    increment: Increment,
    /// How many rows one row's object can have.
    days: usize,
}

impl Node {
    /// The path segment that names it.
    pub fn path(&self) -> String {
        match self {
            Self::AdAccount(id) => id.to_string(),
            Self::Object(id) => id.to_string(),
        }
    }
}
