//! What the owner wants: YAML text in, a checked [`Config`] or complaints out.
//!
//! Three moves: `raw` is the shape as written, `settings`, `insights`, `windows` and
//! `businesses` check it, and what they pass is the types below, which cannot be wrong.
//! Nothing here reads a file, the environment or a clock: `config_file` is the hand that reads,
//! and a secret is only the name of the place where it is kept.

mod businesses;
mod complaint;
mod defaults;
mod draft;
mod duration;
mod extra_fields;
mod insights;
mod labels;
mod locate;
mod place;
mod raw;
mod scalar;
mod secrets;
mod settings;
mod shape;
mod thresholds;
mod web;
mod windows;

use std::path::PathBuf;
use std::time::Duration;

pub use self::complaint::{Complaint, Complaints, Document};
pub use self::draft::{Draft, Lenient};
pub use self::extra_fields::BUILT_IN_METRICS;
pub use self::labels::{BUILT_IN_LABELS, Labels};
pub use self::settings::MOST_QUOTA_SHARE;
pub use self::thresholds::{Bounds, Thresholds};
pub use self::web::{ClientAuth, Pem, RateLimit, Tls, Web};

use crate::row::{AccountId, Dates, Kind, Level, ObjectId};
use crate::secret::SecretSource;

/// Everything that the owner can say in YAML, checked and with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the Graph API is, and who asks.
    pub graph: Graph,
    /// How often and how hard it is asked.
    pub polling: Polling,
    /// What it is asked for.
    pub insights: Insights,
    /// The date ranges, at least one; the names are unique.
    pub windows: Vec<Window>,
    /// The main file's, then those of each business file; at least one, the names are unique.
    pub businesses: Vec<Business>,
}

impl Config {
    /// Checks the main file and every business file together: one complaint refuses all.
    ///
    /// [`Draft`] is for who does not know the business files yet, or wants a bad one to refuse
    /// itself alone.
    pub fn parse(main: Document, business_files: Vec<Document>) -> Result<Self, Complaints> {
        Draft::read(main)?.check(&business_files)
    }
}

/// Where the Graph API is, and who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// `http://` or `https://`, a host, perhaps a path; no trailing slash, query or user.
    pub url: String,
    /// `v26.0`: the letter v, two numbers.
    pub version: String,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// The app that the tokens belong to, for a business that has none of its own.
    pub app: Option<App>,
    /// More certificate authorities, in PEM; relative to the working directory.
    pub ca_file: Option<PathBuf>,
}

/// A Meta app.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Digits.
    pub id: String,
    /// Where its secret is kept.
    pub secret: SecretSource,
}

/// How often and how hard the API is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Polling {
    /// From one poll of a source and window to the next, where neither window nor business says
    /// otherwise.
    pub interval: Duration,
    /// Requests in flight over all businesses, 1 to 256.
    pub concurrency: usize,
    /// The longest pause between polls of a failing source.
    pub backoff_max: Duration,
    /// The age at which values without a successful poll are withdrawn, before the rule that it
    /// is at least twice the interval.
    pub stale_after: Duration,
    /// The part of each quota above which polls slow down: above 0, at most [`MOST_QUOTA_SHARE`].
    pub quota_share: f64,
    /// How often campaigns, names, currencies and budgets are read again.
    pub discovery_interval: Duration,
}

/// What the API is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Insights {
    /// How finely the numbers are divided.
    pub level: Level,
    /// Which campaigns show zeros where the API has no row.
    pub zero_fill: ZeroFill,
    /// The conversions that are counted, at least one, none twice.
    pub action_types: Vec<String>,
    /// Numeric fields beside the built-in ones.
    pub extra_fields: Vec<ExtraField>,
}

/// Which campaigns show zeros where the API has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroFill {
    /// Those that run now.
    Active,
    /// Paused ones too.
    All,
}

/// A numeric Insights field that the owner adds.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtraField {
    /// The API's name of it.
    pub field: String,
    /// The metric's name without the prefix `marketing_messages_`; a percent's ends `_ratio`.
    pub metric: String,
    /// What it counts.
    pub kind: Kind,
    /// The words of its HELP, one line.
    pub help: String,
}

/// A named date range.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// As the `window` label has it.
    pub name: String,
    /// The days that it asks for.
    pub dates: Dates,
    /// Overrides `polling.interval` and the business' own.
    pub interval: Option<Duration>,
}

/// A customer with its own access token.
#[derive(Clone, Debug, PartialEq)]
pub struct Business {
    /// As the `business` label has it.
    pub name: String,
    /// Where its token is kept.
    pub token: SecretSource,
    /// Whether it is polled.
    pub enabled: bool,
    /// Overrides `polling.interval`.
    pub interval: Option<Duration>,
    /// Its own app, else the one under `graph`.
    pub app: Option<App>,
    /// Sources that are ad accounts; with `campaigns` at least one, no id twice.
    pub ad_accounts: Vec<AdAccount>,
    /// Sources that are single campaigns, no id twice; none at level `account`.
    pub campaigns: Vec<Campaign>,
}

/// A source that is an ad account.
#[derive(Clone, Debug, PartialEq)]
pub struct AdAccount {
    /// Its id.
    pub id: AccountId,
    /// The campaigns that are exported; empty for all of its message campaigns.
    pub only: Vec<ObjectId>,
    /// The business' labels and its own; of one name, its own.
    pub labels: Labels,
    /// Whether conversions are asked for: false where there is no pixel.
    pub conversions: bool,
    /// The business' limits and its own; of one bound, its own.
    pub thresholds: Thresholds,
}

/// A source that is one campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// Its id.
    pub id: ObjectId,
    /// The business' labels and its own; of one name, its own.
    pub labels: Labels,
    /// Whether conversions are asked for: false where there is no pixel.
    pub conversions: bool,
    /// The business' limits and its own; of one bound, its own.
    pub thresholds: Thresholds,
}
