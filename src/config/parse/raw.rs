//! The keys of the config and business files, without checks and default values.
//!
//! Unknown keys are errors. The texts in parentheses complete "expected ..." in errors, and the
//! document comments are the descriptions of the JSON schema.

use serde_json::{Value, json};

use crate::config::diagnostics::Diagnostics;
use crate::config::parse::from_yaml::{
    FromYaml, RawList, RawMap, RawSection, add_mismatch, raw_mapping,
};
use crate::config::parse::scalar::{
    RawDuration, RawId, RawInteger, RawLabelValue, RawNumber, RawPasswordHash, RawText,
};
use crate::config::parse::tree::{Node, NodeValue};
use crate::config::parse::yaml_path::YamlPath;

raw_mapping! {
    /// The main config file.
    pub(in crate::config) struct RawConfig("a mapping with keys such as `businesses:`") {
        /// Access to the Graph API.
        graph: RawSection<RawGraph>,
        /// Schedule and request limits.
        polling: RawSection<RawPolling>,
        /// Fields, level and action types of the queries.
        insights: RawSection<RawInsights>,
        /// Metrics that are not exported.
        metrics: RawSection<RawMetrics>,
        /// Date ranges to request, in the time zone of each ad account; default today and last_30d.
        windows: RawList<RawWindow>,
        /// Files with lists of businesses: paths or patterns, relative to this file.
        business_files: RawList<RawText>,
        /// Settings of every business, which can override them.
        defaults: RawSection<RawDefaults>,
        /// Customers, each with its own access token.
        businesses: RawList<RawBusiness>,
    }
}

raw_mapping! {
    /// Access to the Graph API.
    pub(in crate::config) struct RawGraph("a mapping such as `{ version: v27.0 }`") {
        /// Base URL of the Graph API; default https://graph.facebook.com.
        url: RawText,
        /// Version of the Graph API, such as v27.0.
        version: RawId,
        /// Maximum duration of one request; default 30s.
        timeout: RawDuration,
        /// Id of the app that the tokens belong to.
        app_id: RawId,
        /// File with the app secret.
        app_secret_file: RawText,
        /// Environment variable with the app secret.
        app_secret_env: RawText,
        /// PEM file with additional certificate authorities.
        ca_file: RawText,
    }
}

raw_mapping! {
    /// Schedule and request limits.
    pub(in crate::config) struct RawPolling("a mapping such as `{ interval: 15m }`") {
        /// Time between polls of a source and window; default 15m.
        interval: RawDuration,
        /// Maximum requests in flight over all businesses, 1 to 256; default 8.
        concurrency: RawInteger,
        /// Maximum time between polls of a failing source.
        backoff_max: RawDuration,
        /// Time without a successful poll after which values are withdrawn; default 1h.
        stale_after: RawDuration,
        /// Share of each quota above which polls slow down, up to 0.95; default 0.75.
        quota_share: RawNumber,
        /// Time between two discoveries; default 1h.
        discovery_interval: RawDuration,
    }
}

raw_mapping! {
    /// Fields, level and action types of the queries.
    pub(in crate::config) struct RawInsights("a mapping such as `{ level: campaign }`") {
        /// How queries are sent: auto (joined where the API allows) or separate; default auto.
        questions: RawText,
        /// Level of detail of the rows: account, campaign, adset or ad; default campaign.
        level: RawText,
        /// Campaigns that get zeros if the API has no row for them: active or all; default active.
        zero_fill: RawText,
        /// Age of spend from which rules expect its conversions to be reported; default 6h.
        settle_after: RawDuration,
        /// Conversions to export; default: those that Meta documents for marketing messages.
        action_types: RawList<RawText>,
        /// Other numeric Insights fields to export.
        extra_fields: RawList<RawExtraField>,
    }
}

raw_mapping! {
    /// Metrics that are not exported.
    pub(in crate::config) struct RawMetrics("a mapping such as `{ exclude: [delivery_ratio] }`") {
        /// Names of metrics to leave out, with or without the prefix marketing_messages_.
        exclude: RawList<RawText>,
    }
}

raw_mapping! {
    /// A numeric field of the API that is exported in addition.
    pub(in crate::config) struct RawExtraField(
        "a mapping such as `{ field: marketing_messages_sent, metric: sent, kind: count }`",
        required: "field", "metric", "kind"
    ) {
        /// Name of the field in the API.
        field: RawText,
        /// Metric name without the prefix marketing_messages_.
        metric: RawText,
        /// Unit: count, money or percent.
        kind: RawText,
        /// HELP text; default: derived from the field name.
        help: RawText,
    }
}

raw_mapping! {
    /// A named date range.
    pub(in crate::config) struct RawWindow(
        "a mapping such as `{ name: today, date_preset: today }`",
        required: "name"
    ) {
        /// Value of the label window.
        name: RawText,
        /// Date preset of the API.
        date_preset: RawText,
        /// Fixed days instead of a preset.
        time_range: RawTimeRange,
        /// Time between polls of this window.
        interval: RawDuration,
    }
}

raw_mapping! {
    /// Fixed days.
    pub(in crate::config) struct RawTimeRange(
        "a mapping such as `{ since: 2026-03-01, until: 2026-05-31 }`",
        required: "since", "until"
    ) {
        /// First day, inclusive.
        since: RawText,
        /// Last day, inclusive.
        until: RawText,
    }
}

raw_mapping! {
    /// Settings of every business, which can override them.
    pub(in crate::config) struct RawDefaults("a mapping such as `{ labels: { team: growth } }`") {
        /// Labels of all series.
        labels: RawMap<RawLabelValue>,
        /// Limits for all sources.
        thresholds: RawList<RawThreshold>,
        /// Time between polls; overrides polling.interval.
        interval: RawDuration,
        /// Whether conversions are requested; default true.
        conversions: bool,
    }
}

raw_mapping! {
    /// A customer with its own access token.
    pub(in crate::config) struct RawBusiness("a mapping such as `- name: acme`", required: "name") {
        /// Value of the label business.
        name: RawText,
        /// File with the access token, never the token itself.
        access_token_file: RawText,
        /// Environment variable with the access token.
        access_token_env: RawText,
        /// Id of the app of this business, if it differs from the one under graph.
        app_id: RawId,
        /// File with the secret of that app.
        app_secret_file: RawText,
        /// Environment variable with the secret of that app.
        app_secret_env: RawText,
        /// Whether the business is polled; default true.
        enabled: bool,
        /// Time between polls; overrides polling.interval.
        interval: RawDuration,
        /// Labels of all series of this business.
        labels: RawMap<RawLabelValue>,
        /// Whether conversions are requested; default true.
        conversions: bool,
        /// Limits for all sources of this business.
        thresholds: RawList<RawThreshold>,
        /// Metrics that are not exported for this business, in addition to those of the top level.
        metrics: RawSection<RawMetrics>,
        /// Maximum number of series; beyond it, whole campaigns are left out, lowest spend first.
        max_series: RawInteger,
        /// Sources that are ad accounts; `all` for all ad accounts with message campaigns.
        ad_accounts: RawAdAccounts,
        /// Ad accounts that are not polled with `ad_accounts: all`.
        exclude: RawList<RawId>,
        /// Sources that are single campaigns.
        campaigns: RawList<RawCampaign>,
        /// Users that see exactly this business: names and bcrypt hashes of their passwords.
        web_users: RawWebUsers,
    }
}

raw_mapping! {
    /// A source that is an ad account.
    pub(in crate::config) struct RawAdAccount("a mapping such as `{ id: act_1234567890 }`", required: "id") {
        /// Id of the ad account, with or without act_.
        id: RawId,
        /// Campaigns to export; default: all message campaigns.
        campaigns: RawList<RawId>,
        /// Regular expression for the names of the campaigns to export, matched against the whole name.
        campaign_name: RawText,
        /// Labels of all series of this ad account.
        labels: RawMap<RawLabelValue>,
        /// Whether conversions are requested; default: the value of the business.
        conversions: bool,
        /// Limits for the campaigns of this ad account.
        thresholds: RawList<RawThreshold>,
    }
}

raw_mapping! {
    /// A source that is one campaign.
    pub(in crate::config) struct RawCampaign(
        "a mapping such as `{ id: \"120210000000000001\" }`",
        required: "id"
    ) {
        /// Id of the campaign.
        id: RawId,
        /// Labels of all series of this campaign.
        labels: RawMap<RawLabelValue>,
        /// Whether conversions are requested; default: the value of the business.
        conversions: bool,
        /// Limits for this campaign.
        thresholds: RawList<RawThreshold>,
    }
}

raw_mapping! {
    /// Limits of one window, which the alerting rules compare with the values.
    pub(in crate::config) struct RawThreshold(
        "a mapping such as `{ window: today, max_spend: 500 }`",
        required: "window"
    ) {
        /// Name of a window.
        window: RawText,
        /// Upper limit of spend, in the currency of the ad account.
        max_spend: RawNumber,
        /// Lower limit of the return on ad spend.
        min_roas: RawNumber,
        /// Upper limit of the cost per purchase, in the currency of the ad account.
        max_cost_per_purchase: RawNumber,
        /// Upper limit of the cost per link click, in the currency of the ad account.
        max_cost_per_link_click: RawNumber,
        /// Lower limit of the read ratio, 0 to 1.
        min_read_ratio: RawNumber,
        /// Spend up to which only max_spend applies.
        applies_above_spend: RawNumber,
    }
}

/// The value of `web_users`: names and hashes.
#[derive(Clone, Debug)]
pub(in crate::config) struct RawWebUsers(pub(in crate::config) Vec<(String, RawPasswordHash)>);

impl FromYaml for RawWebUsers {
    const EXPECTED: &'static str = "a mapping of user names to bcrypt hashes";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        if !matches!(node.value, NodeValue::Mapping(_)) {
            let remedy = "; write each user as `NAME: HASH`, with a space after the colon";
            add_mismatch(diagnostics, path, node, Self::EXPECTED, remedy);
            return None;
        }
        RawMap::from_yaml(diagnostics, path, node).map(|RawMap(users)| Self(users))
    }

    fn schema() -> Value {
        <RawMap<RawPasswordHash> as FromYaml>::schema()
    }
}

/// The value of `ad_accounts`.
#[derive(Clone, Debug)]
pub(in crate::config) enum RawAdAccounts {
    /// All ad accounts with message campaigns that the token can access.
    All,
    /// The listed ad accounts.
    List(RawList<RawAdAccount>),
}

impl FromYaml for RawAdAccounts {
    const EXPECTED: &'static str = "a list of ad accounts, or `all`";

    fn from_yaml(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, node: &Node) -> Option<Self> {
        match &node.value {
            NodeValue::Scalar(scalar) if scalar.text == "all" => Some(Self::All),
            _ => RawList::from_yaml(diagnostics, path, node).map(Self::List),
        }
    }

    fn schema() -> Value {
        let list = <RawList<RawAdAccount> as FromYaml>::schema();
        json!({ "anyOf": [{ "const": "all" }, list] })
    }
}
