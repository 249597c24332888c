//! Parses YAML text to a checked [`Config`], or returns all errors at once.
//!
//! `parse` deserializes a document to raw values, `check` validates them and fills in the values of
//! `defaults`, `unchecked` does both for all files, `diagnostics` collects the errors, and `web` does the
//! same for the web config file. `campaign_name` is the filter by name, `password_hash` the
//! bcrypt hash of a user's password. The types of this module contain valid values only. Nothing here reads a file, the environment or a
//! clock: `platform::file_reader` reads the config, and a secret is only named by its location.

mod campaign_name;
mod check;
mod defaults;
mod diagnostics;
mod parse;
mod password_hash;
mod unchecked;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::campaign_name::CampaignNamePattern;
pub(crate) use self::check::duration::parse_duration;
pub use self::check::extra_fields::{BUILT_IN_METRICS, METRIC_PREFIX};
pub use self::check::labels::{BUILT_IN_LABELS, ConfigLabels};
pub use self::check::settings::MAX_QUOTA_SHARE;
pub use self::check::thresholds::{THRESHOLD_METRICS, ThresholdSet, WindowThresholds};
pub use self::diagnostics::{ConfigError, ConfigErrors, NamedDocument};
pub use self::password_hash::PasswordHash;
pub use self::unchecked::{PartialReload, UncheckedConfig};
pub use self::web::{ClientAuth, PemSource, RateLimit, TlsSettings, UserScope, WebSettings};

use crate::model::{AccountId, Level, ObjectId, SecretSource, ValueKind, WindowDates};

/// Returns the JSON schema of the main config file, derived from the keys that are parsed.
pub fn json_schema() -> serde_json::Value {
    let mut schema = <parse::raw::RawConfig as parse::from_yaml::FromYaml>::schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Configuration of marketing-messages-exporter".into();
    schema
}

/// The config, checked and with all default values filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Access to the Graph API.
    pub graph: GraphConfig,
    /// Schedule and request limits.
    pub polling: PollingConfig,
    /// Fields, level and action types of the queries.
    pub insights: InsightsConfig,
    /// Date ranges, at least one; the names are unique.
    pub windows: Vec<WindowConfig>,
    /// Businesses of the main file, then those of each business file; at least one, the names are
    /// unique.
    pub businesses: Vec<BusinessConfig>,
    /// Settings that are valid but probably not intended.
    pub warnings: ConfigErrors,
}

impl Config {
    /// Parses and checks the main file and all business files.
    ///
    /// With [`UncheckedConfig`] the business files can be looked up first, and a bad one affects only
    /// its own businesses.
    ///
    /// # Errors
    /// Returns the errors of all files, if there are any.
    pub fn parse(
        main: NamedDocument,
        business_files: Vec<NamedDocument>,
    ) -> Result<Self, ConfigErrors> {
        UncheckedConfig::parse(main)?.check(&business_files)
    }

    /// Returns the config in which `ad_accounts: all` is replaced by the listed ad accounts of each
    /// business, without the excluded ones. A business that is not in `listed` keeps none.
    #[must_use]
    pub fn with_listed_accounts(&self, listed: &BTreeMap<String, Vec<AccountId>>) -> Self {
        let mut config = self.clone();
        for business in &mut config.businesses {
            let (Some(all), Some(ids)) = (&business.all_ad_accounts, listed.get(&business.name))
            else {
                continue;
            };
            let is_polled = |id: &&AccountId| !all.exclude.contains(id);
            let accounts = ids.iter().filter(is_polled).map(|id| AdAccountConfig {
                id: id.clone(),
                campaigns: Vec::new(),
                campaign_name: None,
                labels: all.labels.clone(),
                conversions: all.conversions,
                thresholds: all.thresholds.clone(),
            });
            business.ad_accounts = accounts.collect();
        }
        config
    }

    /// Returns the users of all businesses.
    pub fn business_users(&self) -> Vec<BusinessUser> {
        let users = self.businesses.iter().flat_map(|business| {
            let users = business.web_users.iter();
            users.map(|(name, hash)| BusinessUser {
                name: name.clone(),
                hash: hash.clone(),
                business: business.name.as_str().into(),
            })
        });
        users.collect()
    }

    /// Adds a warning for each ad account that several businesses poll: its values are exported
    /// twice, and sums over businesses count it twice.
    fn warn_shared_accounts(&mut self, document: &str) {
        let mut owners: BTreeMap<&AccountId, &str> = BTreeMap::new();
        let mut texts = Vec::new();
        for business in self.businesses.iter().filter(|business| business.enabled) {
            for account in &business.ad_accounts {
                match owners.get(&account.id) {
                    Some(owner) => texts.push(format!(
                        "ad account {} is polled for the businesses {owner} and {}; sums over both count it twice",
                        account.id, business.name
                    )),
                    None => {
                        owners.insert(&account.id, &business.name);
                    }
                }
            }
        }
        for text in texts {
            let warning = ConfigError::for_document(document, text);
            self.warnings.append(warning.into());
        }
    }
}

/// Access to the Graph API.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphConfig {
    /// Base URL: `http://` or `https://`, a host, an optional path; without trailing slash, query and
    /// user. Default `https://graph.facebook.com`.
    pub url: String,
    /// Graph API version such as `v27.0`.
    pub version: String,
    /// Timeout of one request. Default 30 s.
    pub timeout: Duration,
    /// App of the businesses that have none of their own.
    pub app: Option<MetaApp>,
    /// Path of a PEM file with additional certificate authorities, relative to the working directory.
    pub ca_file: Option<PathBuf>,
}

/// A Meta app.
#[derive(Clone, Debug, PartialEq)]
pub struct MetaApp {
    /// App id: digits.
    pub id: String,
    /// Location of the app secret; `None`: the id only states which businesses share its quotas.
    pub secret: Option<SecretSource>,
}

/// Schedule of the polls and limits for requests.
#[derive(Clone, Debug, PartialEq)]
pub struct PollingConfig {
    /// Time between two polls of a source and window, if neither the window nor the business overrides
    /// it. Default 15 min.
    pub interval: Duration,
    /// Maximum requests in flight over all businesses, 1 to 256. Default 8.
    pub concurrency: usize,
    /// Maximum time between two polls of a failing source. Default 15 min.
    pub backoff_max: Duration,
    /// Time without a successful poll after which values are withdrawn, before the rule that it is at
    /// least twice the interval is applied. Default 1 h.
    pub stale_after: Duration,
    /// Share of each quota above which polls slow down: above 0, at most [`MAX_QUOTA_SHARE`]. Default
    /// 0.75.
    pub quota_share: f64,
    /// Time between two discoveries, which read campaigns, names, currencies and budgets. Default 1 h.
    pub discovery_interval: Duration,
}

/// Fields, level and action types of the queries.
#[derive(Clone, Debug, PartialEq)]
pub struct InsightsConfig {
    /// How the queries are sent. Default `auto`.
    pub questions: QuestionMode,
    /// Level of the rows. Default `campaign`.
    pub level: Level,
    /// Campaigns that get zeros if the API returns no row. Default `active`.
    pub zero_fill: ZeroFill,
    /// Age of spend from which rules expect its conversions to be reported. Default 6 h.
    pub settle_after: Duration,
    /// Action types of the conversions to export, at least one, unique. Default: those that Meta
    /// documents for message campaigns.
    pub action_types: Vec<String>,
    /// Numeric fields in addition to the built-in ones. Default none.
    pub extra_fields: Vec<ExtraFieldConfig>,
}

/// How the queries of a source are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionMode {
    /// As few requests as the API accepts for the ad account.
    Auto,
    /// Two queries per source and window, as Meta's page on measuring marketing messages shows them.
    Separate,
}

/// Campaigns that get zeros if the API returns no row for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroFill {
    /// Active campaigns only.
    Active,
    /// All campaigns, paused ones included.
    All,
}

/// A numeric field of the API that the config adds.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtraFieldConfig {
    /// Name of the field in the API.
    pub field: String,
    /// Metric name without the prefix `marketing_messages_`; that of a percent ends with `_ratio`.
    pub metric: String,
    /// Unit of the field.
    pub kind: ValueKind,
    /// HELP text, one line.
    pub help: String,
}

/// A named date range.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowConfig {
    /// Value of the label `window`.
    pub name: String,
    /// Dates of the queries.
    pub dates: WindowDates,
    /// Overrides the default, which is the interval of the business for windows that contain today, 1 h for others,
    /// and 24 h for those that ended more than 28 days ago.
    pub interval: Option<Duration>,
}

/// A customer with its own access token.
#[derive(Clone, Debug, PartialEq)]
pub struct BusinessConfig {
    /// Value of the label `business`.
    pub name: String,
    /// Location of the access token.
    pub token: SecretSource,
    /// Whether the business is polled. Default true.
    pub enabled: bool,
    /// Overrides `polling.interval`.
    pub interval: Option<Duration>,
    /// App of the business, or else that of `graph`.
    pub app: Option<MetaApp>,
    /// Ad account sources, ids unique; together with `campaigns` at least one, unless all ad accounts
    /// are polled.
    pub ad_accounts: Vec<AdAccountConfig>,
    /// Settings of the ad accounts that the token can access, if all of them are polled.
    pub all_ad_accounts: Option<AllAdAccounts>,
    /// Campaign sources, ids unique; none at level `account`.
    pub campaigns: Vec<CampaignConfig>,
    /// Complete names of the metrics that are not exported, those of the top level included; sorted.
    pub excluded_metrics: Vec<String>,
    /// Maximum number of series on the metrics page; `None`: no limit.
    pub max_series: Option<usize>,
    /// Names and password hashes of the users that see exactly this business.
    pub web_users: Vec<(String, PasswordHash)>,
}

/// A user that a business defines, with access to this business only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessUser {
    /// User name, unique among all users.
    pub name: String,
    /// Hash of the password.
    pub hash: PasswordHash,
    /// Name of the business.
    pub business: Box<str>,
}

/// Settings of all ad accounts with message campaigns that a token can access.
#[derive(Clone, Debug, PartialEq)]
pub struct AllAdAccounts {
    /// Ad accounts that are not polled.
    pub exclude: Vec<AccountId>,
    /// Labels of the business.
    pub labels: ConfigLabels,
    /// Whether conversions are requested.
    pub conversions: bool,
    /// Limits of the business.
    pub thresholds: WindowThresholds,
}

/// A source that is an ad account.
#[derive(Clone, Debug, PartialEq)]
pub struct AdAccountConfig {
    /// Id of the ad account.
    pub id: AccountId,
    /// Campaigns to export; empty: all message campaigns of the ad account.
    pub campaigns: Vec<ObjectId>,
    /// Names of the message campaigns to export; `None`: any name.
    pub campaign_name: Option<CampaignNamePattern>,
    /// Labels of the business and the source; the source's take precedence.
    pub labels: ConfigLabels,
    /// Whether conversions are requested: false if the business has no pixel. Default true.
    pub conversions: bool,
    /// Limits of the business and the source; the source's take precedence.
    pub thresholds: WindowThresholds,
}

/// A source that is one campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignConfig {
    /// Id of the campaign.
    pub id: ObjectId,
    /// Labels of the business and the source; the source's take precedence.
    pub labels: ConfigLabels,
    /// Whether conversions are requested: false if the business has no pixel. Default true.
    pub conversions: bool,
    /// Limits of the business and the source; the source's take precedence.
    pub thresholds: WindowThresholds,
}
