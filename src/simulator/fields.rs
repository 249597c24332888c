//! The insights fields: which exist, and how each is spelled.
//!
//! Scalars are strings, percentages go from 0 to 100, money is in major units, ratios have up to
//! six decimals; all made by integer division, so they are exact. Lists that would be empty, and
//! costs of nothing, are left out.

use serde_json::{Map, Value, json};

use super::curve::{ACTIONS, Numbers};
use super::dates::Range;
use super::object::Object;

/// The numbers of one row and all that their spelling depends on.
#[derive(Debug)]
pub(super) struct Row<'r> {
    pub(super) object: Object<'r>,
    pub(super) numbers: Numbers,
    pub(super) range: Range,
    /// Of the currency.
    pub(super) decimals: u32,
    /// The one attribution setting; `None` where several are mixed.
    pub(super) attribution: Option<&'r str>,
    /// The objectives, `MULTIPLE` where they differ.
    pub(super) objective: &'r str,
    /// The action types that the filter shows; `None` is all.
    pub(super) action_types: Option<&'r [String]>,
    /// The attribution windows asked for; empty is the default.
    pub(super) windows: &'r [String],
}

/// Fields that are answered.
const ANSWERED: &str = "
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

/// Fields that exist at Meta and have nothing to say in this world: valid, and always absent.
const SILENT: &str = "
    adset_end adset_start canvas_avg_view_time conversion_rate_ranking conversion_values
    cost_per_conversion cost_per_message_delivered cost_per_result engagement_rate_ranking
    estimated_ad_recallers labels location messages_delivered messages_delivered_ctr
    mobile_app_purchase_roas outbound_clicks quality_ranking read_rate results
    video_play_actions
";

/// Whether the API has an insights field of that name.
pub(super) fn exists(field: &str) -> bool {
    [ANSWERED, SILENT]
        .iter()
        .any(|words| words.split_whitespace().any(|known| known == field))
}

/// Every field that is answered.
pub(super) fn all() -> Vec<String> {
    ANSWERED.split_whitespace().map(str::to_owned).collect()
}

/// The row with these fields, and with its dates.
pub(super) fn spell(row: &Row<'_>, fields: &[String]) -> Value {
    let mut answer = Map::new();
    for field in fields {
        if let Some(value) = identity(row, field)
            .or_else(|| figure(row, field).map(Value::from))
            .or_else(|| list(row, field))
        {
            answer.insert(field.clone(), value);
        }
    }
    answer.insert("date_start".to_owned(), row.range.0.to_string().into());
    answer.insert("date_stop".to_owned(), row.range.1.to_string().into());
    Value::Object(answer)
}

fn identity(row: &Row<'_>, field: &str) -> Option<Value> {
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
        // At account level the API says "0" here.
        "created_time" | "updated_time" => row
            .object
            .campaign()
            .map_or_else(|| "0".to_owned(), |campaign| day(campaign.created)),
        _ => {
            let (level, attribute) = field.split_once('_')?;
            if !matches!(level, "campaign" | "adset" | "ad") {
                return None;
            }
            // Fields of a deeper level than the row's are absent.
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

/// A scalar, as the text that the API says; `None` where it says nothing.
pub(super) fn figure(row: &Row<'_>, field: &str) -> Option<String> {
    let n = &row.numbers;
    let direct = row.object.campaign().is_some_and(|c| c.is_direct_send);
    let cost = |minor: u64, of: u64| (of > 0).then(|| row.cost(minor, of));
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
        // For direct send "0" means that it was not computed.
        "marketing_messages_delivery_rate" if direct => "0".to_owned(),
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

fn list(row: &Row<'_>, field: &str) -> Option<Value> {
    let n = &row.numbers;
    let purchase = "offsite_conversion.fb_pixel_purchase";
    let counts = || {
        let events = ACTIONS.into_iter().zip(n.actions);
        let [purchases, ..] = n.actions;
        // The same purchases under their other names, and the clicks, as Meta does.
        let others = ["onsite_web_purchase", "omni_purchase", "purchase"].map(|t| (t, purchases));
        events.chain(others).chain([("link_click", n.clicks)])
    };
    let count = |amount: u64| amount.to_string();
    let money = |amount: u64| row.money(amount);
    let roas = |value: u64| ratio(value.into(), n.spend_minor.into());
    match field {
        "actions" => row.stats(counts(), count),
        "action_values" => row.stats(
            [purchase, "onsite_web_purchase", "omni_purchase", "purchase"]
                .map(|t| (t, n.value_minor)),
            money,
        ),
        "website_purchase_roas" if n.spend_minor > 0 => {
            row.stats([(purchase, n.value_minor)], roas)
        }
        "purchase_roas" if n.spend_minor > 0 => row.stats([("omni_purchase", n.value_minor)], roas),
        "conversions" => row.stats(
            [(
                "offsite_conversion.fb_pixel_custom.Größe gewählt 📏",
                n.actions[3],
            )],
            count,
        ),
        "cost_per_action_type" => row.stats(counts(), |amount| row.cost(n.spend_minor, amount)),
        _ => None,
    }
}

impl Row<'_> {
    /// A list of `AdsActionStats`, or nothing: when no type has an event, and when attribution
    /// settings are mixed and no window was asked for.
    fn stats<'t>(
        &self,
        amounts: impl IntoIterator<Item = (&'t str, u64)>,
        spelled: impl Fn(u64) -> String,
    ) -> Option<Value> {
        if self.attribution.is_none() && !self.windows.iter().any(|window| window != "default") {
            return None;
        }
        let mut stats = Vec::new();
        for (action_type, amount) in amounts {
            let shown = self
                .action_types
                .is_none_or(|types| types.iter().any(|shown| shown == action_type));
            if amount == 0 || !shown {
                continue;
            }
            let mut stat = json!({ "action_type": action_type });
            if self.windows.is_empty() || self.windows.iter().any(|window| window == "default") {
                stat["value"] = spelled(amount).into();
            }
            for window in self.windows {
                let share = windowed(amount, window);
                if share > 0 {
                    stat[window.as_str()] = spelled(share).into();
                }
            }
            stats.push(stat);
        }
        (!stats.is_empty()).then(|| stats.into())
    }

    fn money(&self, minor: u64) -> String {
        ratio(minor.into(), 10_u128.pow(self.decimals))
    }

    fn cost(&self, minor: u64, of: u64) -> String {
        ratio(minor.into(), u128::from(of) * 10_u128.pow(self.decimals))
    }
}

/// The part of an amount that a window holds: clicks nest, and views are the rest.
fn windowed(amount: u64, window: &str) -> u64 {
    let clicks = amount * 9 / 10;
    match window {
        "1d_click" => amount * 6 / 10,
        "7d_click" => clicks,
        "28d_click" => amount * 95 / 100,
        "1d_view" => amount - clicks,
        _ => 0,
    }
}

fn percent(part: u64, whole: u64) -> String {
    ratio(u128::from(part) * 100, whole.into())
}

/// The quotient, rounded to six decimals, without trailing zeros; "0" of nothing.
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
    fn ratios_are_those_of_meta_s_sample() {
        assert_eq!(percent(2188, 2755), "79.419238");
        assert_eq!(percent(268, 2755), "9.727768");
        assert_eq!(ratio(3887, 2755 * 100), "0.014109");
        assert_eq!(ratio(3887, 268 * 100), "0.145037");
        assert_eq!(ratio(3887, 100), "38.87");
        assert_eq!(ratio(3880, 100), "38.8");
        assert_eq!(ratio(1, 0), "0");
    }
}
