//! The shape of the file as written: every key, nothing checked, nothing defaulted.
//!
//! Unknown keys are refused here. No `flatten` and no `untagged`: with them serde would lose the
//! place of an error and let unknown keys pass.

use serde::Deserialize;

use super::scalar::{Entries, Given, Id, List, Number, Text, TextOrBare, Whole};

/// The main file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping with keys such as `businesses:`"
)]
pub(super) struct RawConfig {
    pub(super) graph: RawGraph,
    pub(super) polling: RawPolling,
    pub(super) insights: RawInsights,
    pub(super) windows: Given<List<RawWindow>>,
    pub(super) business_files: Given<List<Text>>,
    pub(super) businesses: Given<List<RawBusiness>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { version: v26.0 }"
)]
pub(super) struct RawGraph {
    pub(super) url: Given<Text>,
    pub(super) version: Given<Text>,
    pub(super) timeout: Given<TextOrBare>,
    pub(super) app_id: Given<Id>,
    pub(super) app_secret_file: Given<Text>,
    pub(super) app_secret_env: Given<Text>,
    pub(super) ca_file: Given<Text>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { interval: 15m }"
)]
pub(super) struct RawPolling {
    pub(super) interval: Given<TextOrBare>,
    pub(super) concurrency: Given<Whole>,
    pub(super) backoff_max: Given<TextOrBare>,
    pub(super) stale_after: Given<TextOrBare>,
    pub(super) quota_share: Given<Number>,
    pub(super) discovery_interval: Given<TextOrBare>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { level: campaign }"
)]
pub(super) struct RawInsights {
    pub(super) level: Given<Text>,
    pub(super) zero_fill: Given<Text>,
    pub(super) action_types: Given<List<Text>>,
    pub(super) extra_fields: Given<List<RawExtraField>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { field: marketing_messages_sent, metric: sent, kind: count }"
)]
pub(super) struct RawExtraField {
    pub(super) field: Given<Text>,
    pub(super) metric: Given<Text>,
    pub(super) kind: Given<Text>,
    pub(super) help: Given<Text>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { name: today, date_preset: today }"
)]
pub(super) struct RawWindow {
    pub(super) name: Given<Text>,
    pub(super) date_preset: Given<Text>,
    pub(super) time_range: Given<RawTimeRange>,
    pub(super) interval: Given<TextOrBare>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { since: 2026-03-01, until: 2026-05-31 }"
)]
pub(super) struct RawTimeRange {
    pub(super) since: Given<Text>,
    pub(super) until: Given<Text>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping that begins with `name:`"
)]
pub(super) struct RawBusiness {
    pub(super) name: Given<Text>,
    pub(super) access_token_file: Given<Text>,
    pub(super) access_token_env: Given<Text>,
    pub(super) app_id: Given<Id>,
    pub(super) app_secret_file: Given<Text>,
    pub(super) app_secret_env: Given<Text>,
    pub(super) enabled: Given<bool>,
    pub(super) interval: Given<TextOrBare>,
    pub(super) labels: Given<Entries<TextOrBare>>,
    pub(super) conversions: Given<bool>,
    pub(super) thresholds: Given<List<RawThreshold>>,
    pub(super) ad_accounts: Given<List<RawAdAccount>>,
    pub(super) campaigns: Given<List<RawCampaign>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { id: act_1234567890 }"
)]
pub(super) struct RawAdAccount {
    pub(super) id: Given<Id>,
    pub(super) campaigns: Given<List<Id>>,
    pub(super) labels: Given<Entries<TextOrBare>>,
    pub(super) conversions: Given<bool>,
    pub(super) thresholds: Given<List<RawThreshold>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { id: \"120210000000000001\" }"
)]
pub(super) struct RawCampaign {
    pub(super) id: Given<Id>,
    pub(super) labels: Given<Entries<TextOrBare>>,
    pub(super) conversions: Given<bool>,
    pub(super) thresholds: Given<List<RawThreshold>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as { window: today, max_spend: 500 }"
)]
pub(super) struct RawThreshold {
    pub(super) window: Given<Text>,
    pub(super) max_spend: Given<Number>,
    pub(super) min_roas: Given<Number>,
    pub(super) max_cost_per_purchase: Given<Number>,
    pub(super) max_cost_per_link_click: Given<Number>,
    pub(super) min_read_ratio: Given<Number>,
    pub(super) from_spend: Given<Number>,
}
