//! The insights fields: their names and the format of their values.
//!
//! Scalars are strings with up to six decimals, rates are percentages from 0 to 100, and amounts are in major units,
//! as in the samples on Meta's page "Measure Performance". Values are computed by integer division, so that they are
//! exact. Empty lists, and costs per event without an event, are absent.

use serde_json::{Map, Value, json};

use crate::dates::DateRange;
use crate::object::WorldObject;
use crate::traffic_model::{ACTION_TYPES, AdTotals};

/// The numbers of a row and the parameters that affect their format.
#[derive(Debug)]
pub(crate) struct InsightsRow<'r> {
    /// Object of the row, at the requested level.
    pub(crate) object: WorldObject<'r>,
    /// Sums over the ads of the object and the days of `range`.
    pub(crate) numbers: AdTotals,
    /// First and last day of the row, both included.
    pub(crate) range: DateRange,
    /// Decimals of the currency: 0 or 2.
    pub(crate) decimals: u32,
    /// Attribution setting of all ad sets. `None` if they differ.
    pub(crate) attribution: Option<&'r str>,
    /// Objective of all campaigns, `MULTIPLE` if they differ.
    pub(crate) objective: &'r str,
    /// Action types that the filter selects. `None` means all.
    pub(crate) action_types: Option<&'r [String]>,
    /// Requested attribution windows. Empty means the default.
    pub(crate) windows: &'r [String],
}

/// Fields that have values in the simulated world.
const KNOWN_FIELDS: &str = "
    account_currency account_id account_name action_values actions ad_id ad_name adset_id
    adset_name attribution_setting buying_type campaign_id campaign_name clicks conversions
    cost_per_action_type cpc cpm created_time ctr date_start date_stop frequency impressions
    inline_link_clicks marketing_messages_click_rate_benchmark
    marketing_messages_cost_per_delivered marketing_messages_cost_per_link_btn_click
    marketing_messages_delivered marketing_messages_delivery_rate
    marketing_messages_link_btn_click marketing_messages_link_btn_click_rate
    marketing_messages_media_view_rate marketing_messages_phone_call_btn_click_rate
    marketing_messages_quick_reply_btn_click marketing_messages_quick_reply_btn_click_rate
    marketing_messages_read marketing_messages_read_rate marketing_messages_read_rate_benchmark
    marketing_messages_sent marketing_messages_spend marketing_messages_spend_currency objective
    optimization_goal purchase_roas reach social_spend spend unique_clicks updated_time
    website_ctr website_purchase_roas
";

/// Fields of Meta's API that are valid here but always absent.
const ABSENT_FIELDS: &str = "
    adset_end adset_start canvas_avg_view_time conversion_rate_ranking conversion_values
    cost_per_conversion cost_per_message_delivered cost_per_result engagement_rate_ranking
    estimated_ad_recallers labels location messages_delivered messages_delivered_ctr
    mobile_app_purchase_roas outbound_clicks quality_ranking read_rate results
    video_play_actions
";

/// Whether the API has an insights field of this name.
pub(crate) fn is_valid(field: &str) -> bool {
    [KNOWN_FIELDS, ABSENT_FIELDS]
        .iter()
        .any(|names| names.split_whitespace().any(|known| known == field))
}

/// Returns the names of all fields that have values.
pub(crate) fn known_fields() -> Vec<String> {
    KNOWN_FIELDS.split_whitespace().map(str::to_owned).collect()
}

/// Formats the row with these fields and its dates, which the API always returns.
pub(crate) fn format_fields(row: &InsightsRow<'_>, fields: &[String]) -> Value {
    let mut json = Map::new();
    for field in fields {
        if let Some(value) = format_dimension(row, field)
            .or_else(|| format_value(row, field).map(Value::from))
            .or_else(|| format_list(row, field))
        {
            json.insert(field.clone(), value);
        }
    }
    json.insert("date_start".to_owned(), row.range.0.to_string().into());
    json.insert("date_stop".to_owned(), row.range.1.to_string().into());
    Value::Object(json)
}

/// Formats an id, a name or a setting. Returns `None` for other fields and for levels below that of the row.
fn format_dimension(row: &InsightsRow<'_>, field: &str) -> Option<Value> {
    let account = row.object.account();
    let day = |time: jiff::Timestamp| account.local(time).date().to_string();
    let text = match field {
        "account_id" => account.id.to_string(),
        "account_name" => account.name.clone(),
        "account_currency" | "marketing_messages_spend_currency" => account.currency.clone(),
        "attribution_setting" => row.attribution.unwrap_or("multiple").to_owned(),
        "objective" => row.objective.to_owned(),
        "buying_type" => row.object.campaign().map(|_| "AUCTION".to_owned())?,
        "optimization_goal" => row
            .object
            .adset()
            .map(|_| "OFFSITE_CONVERSIONS".to_owned())?,
        // At account level, the API returns "0".
        "created_time" | "updated_time" => row
            .object
            .campaign()
            .map_or_else(|| "0".to_owned(), |campaign| day(campaign.created)),
        _ => {
            let (level, attribute) = field.split_once('_')?;
            if !matches!(level, "campaign" | "adset" | "ad") {
                return None;
            }
            let object = row.object.ancestor(level)?;
            match attribute {
                "id" => object.id().to_string(),
                "name" => object.name().to_owned(),
                _ => return None,
            }
        }
    };
    Some(text.into())
}

/// Formats a scalar. Returns `None` for other fields and for absent values.
fn format_value(row: &InsightsRow<'_>, field: &str) -> Option<String> {
    let n = &row.numbers;
    let is_direct_send = row.object.campaign().is_some_and(|c| c.is_direct_send);
    let cost = |minor: u64, count: u64| (count > 0).then(|| row.cost(minor, count));
    let reach = n.impressions - n.impressions / 6;
    Some(match field {
        "impressions" => n.impressions.to_string(),
        "reach" => reach.to_string(),
        "frequency" => ratio(n.impressions.into(), reach.into()),
        "clicks" | "inline_link_clicks" => n.clicks.to_string(),
        "unique_clicks" => (n.clicks - n.clicks / 12).to_string(),
        "spend" => row.money(n.spend_minor),
        "social_spend" => "0".to_owned(),
        "ctr" => percent(n.clicks, n.impressions),
        "cpc" => cost(n.spend_minor, n.clicks)?,
        "cpm" => cost(n.spend_minor * 1000, n.impressions)?,
        "marketing_messages_sent" => n.sent.to_string(),
        "marketing_messages_delivered" => n.delivered.to_string(),
        "marketing_messages_read" => n.read.to_string(),
        "marketing_messages_link_btn_click" => n.message_clicks.to_string(),
        "marketing_messages_quick_reply_btn_click" => n.quick_replies.to_string(),
        "marketing_messages_spend" => row.money(n.message_spend_minor),
        "marketing_messages_cost_per_delivered" => cost(n.message_spend_minor, n.delivered)?,
        "marketing_messages_cost_per_link_btn_click" => {
            cost(n.message_spend_minor, n.message_clicks)?
        }
        // "0" means "not computed" for direct send: the sample on Meta's page "Measure Performance" has it together
        // with 2,755 delivered messages.
        "marketing_messages_delivery_rate" if is_direct_send => "0".to_owned(),
        "marketing_messages_delivery_rate" => percent(n.delivered, n.sent),
        "marketing_messages_read_rate" => percent(n.read, n.delivered),
        "marketing_messages_link_btn_click_rate" => percent(n.message_clicks, n.delivered),
        "marketing_messages_quick_reply_btn_click_rate" => percent(n.quick_replies, n.delivered),
        "marketing_messages_read_rate_benchmark" if n.delivered > 0 => "81.25".to_owned(),
        "marketing_messages_click_rate_benchmark" if n.delivered > 0 => "8.4".to_owned(),
        "marketing_messages_read_rate_benchmark"
        | "marketing_messages_click_rate_benchmark"
        | "marketing_messages_media_view_rate"
        | "marketing_messages_phone_call_btn_click_rate" => "0".to_owned(),
        _ => return None,
    })
}

/// Formats a list of `AdsActionStats`. Returns `None` for other fields and for empty lists.
fn format_list(row: &InsightsRow<'_>, field: &str) -> Option<Value> {
    let n = &row.numbers;
    let purchase = "offsite_conversion.fb_pixel_purchase";
    let counts = || {
        let events = ACTION_TYPES.into_iter().zip(n.actions);
        let [purchases, ..] = n.actions;
        // The API lists the same purchases under several action types.
        let duplicates =
            ["onsite_web_purchase", "omni_purchase", "purchase"].map(|t| (t, purchases));
        events.chain(duplicates).chain([("link_click", n.clicks)])
    };
    let count = |amount: u64| amount.to_string();
    let money = |amount: u64| row.money(amount);
    let roas = |value: u64| ratio(value.into(), n.spend_minor.into());
    match field {
        "actions" => row.action_stats(counts(), count),
        "action_values" => row.action_stats(
            [purchase, "onsite_web_purchase", "omni_purchase", "purchase"]
                .map(|t| (t, n.value_minor)),
            money,
        ),
        "website_purchase_roas" if n.spend_minor > 0 => {
            row.action_stats([(purchase, n.value_minor)], roas)
        }
        "purchase_roas" if n.spend_minor > 0 => {
            row.action_stats([("omni_purchase", n.value_minor)], roas)
        }
        "conversions" => row.action_stats(
            [(
                "offsite_conversion.fb_pixel_custom.Größe gewählt 📏",
                n.actions[3],
            )],
            count,
        ),
        "cost_per_action_type" => {
            row.action_stats(counts(), |amount| row.cost(n.spend_minor, amount))
        }
        _ => None,
    }
}

impl InsightsRow<'_> {
    /// Formats a list of `AdsActionStats`. Returns `None` if no action type has an event, and if attribution settings
    /// differ and the call does not request a window other than the default; see Meta's page "Ads Action Stats".
    fn action_stats<'t>(
        &self,
        amounts: impl IntoIterator<Item = (&'t str, u64)>,
        format: impl Fn(u64) -> String,
    ) -> Option<Value> {
        if self.attribution.is_none() && !self.windows.iter().any(|window| window != "default") {
            return None;
        }
        let mut stats = Vec::new();
        for (action_type, amount) in amounts {
            let is_selected = self
                .action_types
                .is_none_or(|types| types.iter().any(|selected| selected == action_type));
            if amount == 0 || !is_selected {
                continue;
            }
            let mut stat = json!({ "action_type": action_type });
            if self.windows.is_empty() || self.windows.iter().any(|window| window == "default") {
                stat["value"] = format(amount).into();
            }
            for window in self.windows {
                let share = window_share(amount, window);
                if share > 0 {
                    stat[window.as_str()] = format(share).into();
                }
            }
            stats.push(stat);
        }
        (!stats.is_empty()).then(|| stats.into())
    }

    /// Formats an amount in major units.
    fn money(&self, minor: u64) -> String {
        ratio(minor.into(), 10_u128.pow(self.decimals))
    }

    /// Formats an amount per event, in major units. `count` is not 0.
    fn cost(&self, minor: u64, count: u64) -> String {
        ratio(minor.into(), u128::from(count) * 10_u128.pow(self.decimals))
    }
}

/// Returns the part of an amount in an attribution window. The click windows are nested; views are the rest.
fn window_share(amount: u64, window: &str) -> u64 {
    let clicks = amount * 9 / 10;
    match window {
        "1d_click" => amount * 6 / 10,
        "7d_click" => clicks,
        "28d_click" => amount * 95 / 100,
        "1d_view" => amount - clicks,
        _ => 0,
    }
}

/// Returns `part` of `whole` in percent, as decimal text.
fn percent(part: u64, whole: u64) -> String {
    ratio(u128::from(part) * 100, whole.into())
}

/// Returns the quotient, rounded to six decimals and without trailing zeros, or "0" if `whole` is 0.
fn ratio(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "0".to_owned();
    }
    let micros = (part * 1_000_000 + whole / 2) / whole;
    let (units, rest) = (micros / 1_000_000, micros % 1_000_000);
    if rest == 0 {
        return units.to_string();
    }
    let text = format!("{units}.{rest:06}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_equal_those_of_meta_s_sample() {
        // Numbers of the sample response on Meta's page "Measure Performance".
        assert_eq!(percent(2188, 2755), "79.419238");
        assert_eq!(percent(268, 2755), "9.727768");
        assert_eq!(ratio(3887, 2755 * 100), "0.014109");
        assert_eq!(ratio(3887, 268 * 100), "0.145037");
        assert_eq!(ratio(3887, 100), "38.87");
        assert_eq!(ratio(3880, 100), "38.8");
        assert_eq!(ratio(1, 0), "0");
    }
}
