//! Checks businesses and their sources, and merges the settings of a source with those of its
//! business.
//!
//! Whether a campaign belongs to an ad account that is also a source is not checked here, because
//! only the API knows the ad account of a campaign.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::secrets::LookUpVariable;
use super::web_users::{self, UserNames};
use super::{labels, metrics, secrets, settings, thresholds, windows};
use crate::config::diagnostics::{Diagnostics, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawList, RawMap};
use crate::config::parse::raw::{
    RawAdAccount, RawAdAccounts, RawBusiness, RawCampaign, RawDefaults, RawThreshold,
};
use crate::config::parse::scalar::{RawId, RawLabelValue, RawText};
use crate::config::parse::yaml_path::YamlPath;
use crate::config::{
    AdAccountConfig, AllAdAccounts, BusinessConfig, CampaignConfig, CampaignNamePattern,
    ConfigLabels, ExtraFieldConfig, MetaApp, WindowThresholds,
};
use crate::model::{AccountId, Level, ObjectId};

/// Maximum digits of an ad account id that an error suggests. Ids seen so far have up to 18, and an
/// app secret has 32 characters.
const MAX_SUGGESTED_DIGITS: usize = 20;

/// Settings of the main file that the checks of businesses depend on.
pub(in crate::config) struct CheckContext {
    /// Names of all windows.
    pub(in crate::config) windows: Vec<String>,
    /// Level of the exported rows.
    pub(in crate::config) level: Level,
    /// App of the businesses that have none of their own.
    pub(in crate::config) app: Option<MetaApp>,
    /// Settings of every business.
    pub(in crate::config) defaults: GlobalDefaults,
    /// Additional metrics, which a business can exclude.
    pub(in crate::config) extra_fields: Vec<ExtraFieldConfig>,
    /// Metrics that no business exports.
    pub(in crate::config) excluded_metrics: Vec<String>,
    /// Whether each business needs a source.
    pub(in crate::config) requires_sources: bool,
    /// Users of the web config; `None` for commands that do not serve, which do not read it.
    pub(in crate::config) web_config_users: Option<BTreeSet<String>>,
    /// Returns the value of an environment variable.
    pub(in crate::config) variables: LookUpVariable,
}

/// The checked section `defaults`.
pub(in crate::config) struct GlobalDefaults {
    labels: ConfigLabels,
    thresholds: WindowThresholds,
    interval: Option<Duration>,
    conversions: bool,
}

/// Checks the section `defaults`.
pub(in crate::config) fn defaults(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawDefaults,
    windows: &[String],
) -> GlobalDefaults {
    GlobalDefaults {
        labels: labels::check(diagnostics, &path.key("labels"), &raw.labels),
        thresholds: thresholds::check(
            diagnostics,
            &path.key("thresholds"),
            &raw.thresholds,
            windows,
        ),
        interval: settings::duration(diagnostics, &path.key("interval"), &raw.interval),
        conversions: raw.conversions.get().copied().unwrap_or(true),
    }
}

/// The names that must be unique over all documents.
#[derive(Default)]
pub(in crate::config) struct UniqueNames {
    /// Businesses checked so far, each with its document and path.
    businesses: HashMap<String, (String, YamlPath)>,
    /// Users of the businesses.
    users: UserNames,
}

impl UniqueNames {
    /// Removes the names of a document.
    pub(in crate::config) fn remove_document(&mut self, name: &str) {
        self.businesses.retain(|_, (document, _)| document != name);
        self.users.retain(|_, (document, _)| document != name);
    }
}

/// Checks the list of businesses of one document.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_businesses: &[(usize, RawBusiness)],
    context: &CheckContext,
    names: &mut UniqueNames,
) -> Vec<BusinessConfig> {
    let mut checked = Vec::new();
    for (business_idx, raw) in raw_businesses {
        let path = path.index(*business_idx);
        if let Some(RawText(name)) = raw.name.get() {
            if let Some((document, other)) = names.businesses.get(name) {
                let location = if document == diagnostics.document() {
                    format!("`{other}`")
                } else {
                    format!("`{other}` in {document}")
                };
                diagnostics.add(
                    &path.key("name"),
                    format!("expected a unique name, found the name of {location}; choose another"),
                );
            } else {
                let document = diagnostics.document().to_owned();
                names
                    .businesses
                    .insert(name.clone(), (document, path.clone()));
            }
        }
        checked.extend(business(diagnostics, &path, raw, context, &mut names.users));
    }
    checked
}

/// Settings of a business that its sources inherit.
struct BusinessDefaults<'a> {
    labels: ConfigLabels,
    conversions: bool,
    thresholds: WindowThresholds,
    windows: &'a [String],
}

/// Settings of a source, merged with those of its business.
struct SourceSettings {
    labels: ConfigLabels,
    conversions: bool,
    thresholds: WindowThresholds,
}

impl BusinessDefaults<'_> {
    /// Checks the settings of a source and merges them: the source's own take precedence.
    fn merge(
        &self,
        diagnostics: &mut Diagnostics<'_>,
        path: &YamlPath,
        raw_labels: &Explicit<RawMap<RawLabelValue>>,
        conversions: &Explicit<bool>,
        raw_thresholds: &Explicit<RawList<RawThreshold>>,
    ) -> SourceSettings {
        let labels = labels::check(diagnostics, &path.key("labels"), raw_labels);
        let path = path.key("thresholds");
        let thresholds = thresholds::check(diagnostics, &path, raw_thresholds, self.windows);
        let thresholds = self.thresholds.overridden_by(&thresholds);
        thresholds::check_merged(diagnostics, &path, raw_thresholds, &thresholds);
        SourceSettings {
            labels: self.labels.overridden_by(&labels),
            conversions: conversions.get().copied().unwrap_or(self.conversions),
            thresholds,
        }
    }
}

fn business(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawBusiness,
    context: &CheckContext,
    user_names: &mut UserNames,
) -> Option<BusinessConfig> {
    let name = windows::name(diagnostics, path, &raw.name);
    let token = secrets::token(
        diagnostics,
        path,
        &raw.access_token_file,
        &raw.access_token_env,
        context.variables,
    );
    let app = secrets::app(
        diagnostics,
        path,
        &raw.app_id,
        &raw.app_secret_file,
        &raw.app_secret_env,
        context.variables,
    );
    let windows = &context.windows;
    let defaults = BusinessDefaults {
        labels: context.defaults.labels.overridden_by(&labels::check(
            diagnostics,
            &path.key("labels"),
            &raw.labels,
        )),
        conversions: raw
            .conversions
            .get()
            .copied()
            .unwrap_or(context.defaults.conversions),
        thresholds: context
            .defaults
            .thresholds
            .overridden_by(&thresholds::check(
                diagnostics,
                &path.key("thresholds"),
                &raw.thresholds,
                windows,
            )),
        windows,
    };
    let interval = settings::duration(diagnostics, &path.key("interval"), &raw.interval)
        .or(context.defaults.interval);
    let excluded = excluded_accounts(diagnostics, path, raw);
    let (ad_accounts, all_ad_accounts) = match raw.ad_accounts.get() {
        Some(RawAdAccounts::All) => {
            let all = AllAdAccounts {
                exclude: excluded,
                labels: defaults.labels.clone(),
                conversions: defaults.conversions,
                thresholds: defaults.thresholds.clone(),
            };
            (Vec::new(), Some(all))
        }
        Some(RawAdAccounts::List(list)) => {
            let path = path.key("ad_accounts");
            let accounts = ad_accounts(diagnostics, &path, list.items(), &defaults);
            (accounts, None)
        }
        None => (Vec::new(), None),
    };
    let campaigns = campaigns(
        diagnostics,
        &path.key("campaigns"),
        &raw.campaigns,
        &defaults,
    );
    let mut excluded_metrics = metrics::excluded(
        diagnostics,
        &path.key("metrics"),
        &raw.metrics,
        &context.extra_fields,
    );
    excluded_metrics.extend_from_slice(&context.excluded_metrics);
    excluded_metrics.sort();
    excluded_metrics.dedup();
    let max_series = metrics::max_series(diagnostics, path, &raw.max_series);
    let web_users = web_users::check(diagnostics, path, &raw.web_users, context, user_names);
    let campaign_count = raw.campaigns.get().map_or(0, RawList::len);
    let is_empty = |list_len: Option<usize>, is_absent| list_len.map_or(is_absent, |len| len == 0);
    let account_count = raw.ad_accounts.get().map(|accounts| match accounts {
        RawAdAccounts::All => usize::MAX,
        RawAdAccounts::List(list) => list.len(),
    });
    if context.requires_sources
        && is_empty(account_count, raw.ad_accounts.is_absent())
        && is_empty(
            raw.campaigns.get().map(RawList::len),
            raw.campaigns.is_absent(),
        )
    {
        diagnostics.add(
            path,
            "expected at least one of `ad_accounts` or `campaigns`, found none; add an ad account, or campaigns if the token has access to no ad account",
        );
    }
    if context.level == Level::Account && campaign_count > 0 {
        diagnostics.add(
            &path.key("campaigns"),
            format!(
                "expected no campaigns with `insights.level: account`, found {campaign_count}; rows of that level have no campaign labels, so set the level to `campaign` or list the ad account instead"
            ),
        );
    }
    Some(BusinessConfig {
        name: name?,
        token: token?,
        enabled: raw.enabled.get().copied().unwrap_or(true),
        interval,
        app: app.or_else(|| context.app.clone()),
        ad_accounts,
        all_ad_accounts,
        campaigns,
        excluded_metrics,
        max_series,
        web_users,
    })
}

fn ad_accounts(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_accounts: &[(usize, RawAdAccount)],
    defaults: &BusinessDefaults<'_>,
) -> Vec<AdAccountConfig> {
    let mut seen = HashMap::new();
    let mut checked = Vec::new();
    for (account_idx, raw) in raw_accounts {
        let path = path.index(*account_idx);
        let id = ad_account_id(diagnostics, &path, &raw.id);
        if let Some(other) = id
            .as_ref()
            .and_then(|id| seen.insert(id.clone(), account_idx))
        {
            diagnostics.add(
                &path.key("id"),
                format!(
                    "expected a unique ad account, found the id of `ad_accounts[{other}]`; merge the two entries"
                ),
            );
        }
        let campaigns = campaign_allowlist(diagnostics, &path.key("campaigns"), &raw.campaigns);
        let campaign_name = campaign_name(diagnostics, &path, raw);
        let settings = defaults.merge(
            diagnostics,
            &path,
            &raw.labels,
            &raw.conversions,
            &raw.thresholds,
        );
        checked.extend(id.map(|id| AdAccountConfig {
            id,
            campaigns,
            campaign_name,
            labels: settings.labels,
            conversions: settings.conversions,
            thresholds: settings.thresholds,
        }));
    }
    checked
}

fn campaigns(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_campaigns: &Explicit<RawList<RawCampaign>>,
    defaults: &BusinessDefaults<'_>,
) -> Vec<CampaignConfig> {
    let mut seen = HashMap::new();
    let mut checked = Vec::new();
    for (campaign_idx, raw) in raw_campaigns.items() {
        let path = path.index(*campaign_idx);
        let id = if let Some(id) = raw.id.get() {
            campaign_id(diagnostics, &path.key("id"), id)
        } else if raw.id.is_absent() {
            diagnostics.add(
                &path,
                "expected `id`, found no such key; add the id of the campaign, digits in quotes",
            );
            None
        } else {
            None
        };
        if let Some(other) = id
            .as_ref()
            .and_then(|id| seen.insert(id.clone(), campaign_idx))
        {
            diagnostics.add(
                &path.key("id"),
                format!(
                    "expected a unique campaign, found the id of `campaigns[{other}]`; merge the two entries"
                ),
            );
        }
        let settings = defaults.merge(
            diagnostics,
            &path,
            &raw.labels,
            &raw.conversions,
            &raw.thresholds,
        );
        checked.extend(id.map(|id| CampaignConfig {
            id,
            labels: settings.labels,
            conversions: settings.conversions,
            thresholds: settings.thresholds,
        }));
    }
    checked
}

/// Checks `exclude`, which only has a meaning with `ad_accounts: all`.
fn excluded_accounts(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawBusiness,
) -> Vec<AccountId> {
    let path = path.key("exclude");
    let is_all = matches!(raw.ad_accounts.get(), Some(RawAdAccounts::All));
    if raw.exclude.get().is_some() && !is_all {
        diagnostics.add(
            &path,
            "expected `exclude` only with `ad_accounts: all`, found it without; remove the key, or write `ad_accounts: all`",
        );
    }
    let mut excluded = Vec::new();
    for (id_idx, RawId(text)) in raw.exclude.items() {
        excluded.extend(parse_ad_account_id(diagnostics, &path.index(*id_idx), text));
    }
    excluded
}

/// Checks `campaign_name`.
fn campaign_name(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw: &RawAdAccount,
) -> Option<CampaignNamePattern> {
    let RawText(pattern) = raw.campaign_name.get()?;
    let path = path.key("campaign_name");
    if !raw.campaigns.is_absent() {
        diagnostics.add(
            &path,
            "expected either `campaigns` or `campaign_name`, found both; remove one of them",
        );
    }
    let checked = CampaignNamePattern::new(pattern);
    if checked.is_none() {
        diagnostics.add(
            &path,
            "expected a regular expression such as `ACME .*`, found an invalid or very large one; use RE2 syntax, and write `\\` before special characters that stand for themselves",
        );
    }
    checked
}

/// Checks the campaigns to which an ad account is restricted; empty means all.
fn campaign_allowlist(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_ids: &Explicit<RawList<RawId>>,
) -> Vec<ObjectId> {
    let Some(raw_ids) = raw_ids.get() else {
        return Vec::new();
    };
    if raw_ids.len() == 0 {
        diagnostics.add(
            path,
            "expected at least one campaign id, found an empty list; add ids, or remove the key to export all campaigns",
        );
    }
    let mut seen = HashSet::new();
    let mut checked = Vec::new();
    for (id_idx, raw_id) in raw_ids.items() {
        let path = path.index(*id_idx);
        let id = campaign_id(diagnostics, &path, raw_id);
        if id.as_ref().is_some_and(|id| !seen.insert(id.clone())) {
            diagnostics.add(
                &path,
                "expected unique campaign ids, found this one twice; remove one of the two",
            );
        }
        checked.extend(id);
    }
    checked
}

fn ad_account_id(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_id: &Explicit<RawId>,
) -> Option<AccountId> {
    let Some(RawId(text)) = raw_id.get() else {
        if raw_id.is_absent() {
            diagnostics.add(
                path,
                "expected `id`, found no such key; add the id of the ad account, such as `act_1234567890`",
            );
        }
        return None;
    };
    parse_ad_account_id(diagnostics, &path.key("id"), text)
}

fn parse_ad_account_id(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    text: &str,
) -> Option<AccountId> {
    let id = AccountId::parse(text);
    if id.is_none() {
        diagnostics.add(
            path,
            format!(
                "expected an ad account id such as `act_1234567890`, found {}{}",
                quote_or_redact(text),
                ad_account_remedy(text)
            ),
        );
    }
    id
}

/// Suggests the ad account id that a text contains: that of an Ads Manager URL, or digits with
/// separators.
fn ad_account_remedy(text: &str) -> String {
    let in_url = text
        .split(['?', '&', '#'])
        .find_map(|part| part.strip_prefix("act="))
        .map(str::to_owned);
    let without_separators = || text.replace(['-', ' ', '_', '.'], "");
    let digits = in_url.unwrap_or_else(|| without_separators().replace("act", ""));
    // A long id may be a secret, as in every error.
    if text.starts_with("EAA") || digits.len() > MAX_SUGGESTED_DIGITS {
        return String::new();
    }
    match AccountId::parse(&digits) {
        Some(id) => format!("; write `{id}`"),
        None => "; write `act_` and digits".to_owned(),
    }
}

fn campaign_id(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    RawId(text): &RawId,
) -> Option<ObjectId> {
    let id = ObjectId::parse(text);
    if id.is_none() {
        let found = quote_or_redact(text);
        let error = if AccountId::parse(text).is_some() {
            format!(
                "expected a campaign id, found the ad account id {found}; list it under `ad_accounts`, or write the digits of the campaign"
            )
        } else {
            format!(
                "expected a campaign id such as `\"120210000000000001\"`, found {found}; write the digits only"
            )
        };
        diagnostics.add(path, error);
    }
    id
}
