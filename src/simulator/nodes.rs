//! Nodes: what `?fields=` brings of an ad account, a campaign, an ad set or an ad.
//!
//! Only what was asked for comes, and the id. Fields can be expanded (`campaign{id,name}`). A
//! field that the node does not have fails the whole call; one that has no value is absent.

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::insights;
use super::object::Object;
use super::world::decimals;

/// One asked field, with what was asked inside of it.
#[derive(Debug, PartialEq)]
pub(super) struct Field<'q> {
    pub(super) name: &'q str,
    inner: Option<&'q str>,
}

/// Splits `id,campaign{id,name},name` at the commas outside of braces.
pub(super) fn read(fields: &str) -> Result<Vec<Field<'_>>, ApiError> {
    let syntax = || {
        let message = format!("Syntax error \"Expected end of string\" in fields: {fields}");
        ApiError::new(2500, message)
    };
    let mut read = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, letter) in fields.char_indices().chain([(fields.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or_else(syntax)?,
            ',' if depth == 0 => {
                let field = fields[start..at].trim();
                start = at + 1;
                if let Some((name, rest)) = field.split_once('{') {
                    let inner = Some(rest.strip_suffix('}').ok_or_else(syntax)?);
                    read.push(Field { name, inner });
                } else if !field.is_empty() {
                    read.push(Field {
                        name: field,
                        inner: None,
                    });
                }
            }
            _ => {}
        }
    }
    if depth == 0 { Ok(read) } else { Err(syntax()) }
}

/// The object with these fields.
pub(super) fn spell(
    seed: u64,
    object: Object<'_>,
    fields: &[Field<'_>],
    now: Timestamp,
) -> Result<Value, ApiError> {
    let mut node = Map::new();
    node.insert("id".to_owned(), node_id(object).into());
    for field in fields {
        let value = expanded(seed, object, field, now)?.map_or_else(
            || shared(object, field.name).or_else(|| own(seed, object, field.name, now)),
            Some,
        );
        match value {
            Some(Value::Null) => {}
            Some(mut value) => {
                trim(&mut value, field);
                // `adsets.limit(50)` comes back as `adsets`.
                let name = field.name.split('.').next().unwrap_or(field.name);
                node.insert(name.to_owned(), value);
            }
            None => return Err(ApiError::nonexisting_field(field.name, kind(object))),
        }
    }
    Ok(Value::Object(node))
}

/// The id as paths spell it.
pub(super) fn node_id(object: Object<'_>) -> String {
    match object {
        Object::Account(account) => format!("act_{}", account.id),
        _ => object.id().to_string(),
    }
}

/// Objects in objects: what it lies in, and its lists.
fn expanded(
    seed: u64,
    object: Object<'_>,
    field: &Field<'_>,
    now: Timestamp,
) -> Result<Option<Value>, ApiError> {
    let inner = read(field.inner.unwrap_or("id"))?;
    let edge = field.name.split('.').next().unwrap_or(field.name);
    if let Some(level) = listed(object, edge) {
        let list = object
            .within(level)
            .into_iter()
            .filter(|member| !member.is_put_away())
            .map(|member| spell(seed, member, &inner, now))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(Some(json!({ "data": list })));
    }
    if !matches!(edge, "campaign" | "adset") || edge == object.level() {
        return Ok(None);
    }
    object
        .ancestor(edge)
        .map(|parent| spell(seed, parent, &inner, now))
        .transpose()
}

/// The kind of object that an edge of this object lists.
pub(super) fn listed(object: Object<'_>, edge: &str) -> Option<&'static str> {
    match (object, edge) {
        (Object::Account(_), "campaigns") => Some("campaign"),
        (Object::Account(_) | Object::Campaign(..), "adsets") => Some("adset"),
        (Object::Account(_) | Object::Campaign(..) | Object::AdSet(..), "ads") => Some("ad"),
        _ => None,
    }
}

/// Leaves of an object's members those that were asked for; of a creative, the id by default.
fn trim(value: &mut Value, field: &Field<'_>) {
    let asked = field.inner.or((field.name == "creative").then_some("id"));
    if let (Some(members), Some(asked)) = (value.as_object_mut(), asked) {
        // Lists, and objects that were spelled by their own fields, are as asked already.
        let outermost = |name: &String| {
            read(asked).is_ok_and(|fields| {
                fields
                    .iter()
                    .any(|field| field.name.split('.').next() == Some(name))
            })
        };
        members.retain(|name, _| name == "id" || name == "data" || outermost(name));
    }
}

/// What every object has; null is a field that exists and has no value.
fn shared(object: Object<'_>, field: &str) -> Option<Value> {
    let account = object.account();
    Some(match field {
        "id" => node_id(object).into(),
        "name" => object.name().into(),
        "account_id" => account.id.to_string().into(),
        _ if matches!(object, Object::Account(_)) => return None,
        "status" | "configured_status" => object.configured_status().into(),
        "effective_status" => object.effective_status().into(),
        "created_time" | "updated_time" | "start_time" => {
            stamp(&account.local(object.campaign()?.created)).into()
        }
        "adlabels" | "issues_info" | "recommendations" => Value::Null,
        _ => return None,
    })
}

fn own(seed: u64, object: Object<'_>, field: &str, now: Timestamp) -> Option<Value> {
    match object {
        Object::Account(_) => account(seed, object, field, now),
        Object::Campaign(_, campaign) => Some(match field {
            "objective" => campaign.objective.as_str().into(),
            "is_message_campaign" => campaign.is_message.into(),
            "is_direct_send_campaign" => campaign.is_direct_send.into(),
            "buying_type" => "AUCTION".into(),
            "special_ad_categories" => json!([]),
            "budget_remaining" => "0".into(),
            // Budgets live on the ad sets.
            "daily_budget" | "lifetime_budget" | "spend_cap" | "bid_strategy"
            | "promoted_object" => Value::Null,
            "stop_time" => ends(object),
            _ => return None,
        }),
        Object::AdSet(_, campaign, adset) => {
            let budget = |amount: Option<u64>| Value::from(amount.unwrap_or(0).to_string());
            Some(match field {
                "campaign_id" => campaign.id.to_string().into(),
                "daily_budget" => budget(adset.daily_budget),
                "lifetime_budget" => budget(adset.lifetime_budget),
                "budget_remaining" => budget(adset.daily_budget.or(adset.lifetime_budget)),
                "end_time" => ends(object),
                "optimization_goal" => "OFFSITE_CONVERSIONS".into(),
                "billing_event" => "IMPRESSIONS".into(),
                "promoted_object" => json!({
                    "pixel_id": (campaign.id / 7).to_string(),
                    "custom_event_type": "PURCHASE",
                }),
                "bid_amount" | "bid_strategy" | "attribution_spec" | "targeting" => Value::Null,
                _ => return None,
            })
        }
        Object::Ad(_, campaign, adset, ad) => Some(match field {
            "campaign_id" => campaign.id.to_string().into(),
            "adset_id" => adset.id.to_string().into(),
            "creative" => json!({
                "id": (ad.id + 7).to_string(),
                "actor_id": (ad.id / 3).to_string(),
            }),
            "bid_amount" | "conversion_specs" | "tracking_specs" => Value::Null,
            _ => return None,
        }),
    }
}

fn account(seed: u64, object: Object<'_>, field: &str, now: Timestamp) -> Option<Value> {
    let account = object.account();
    Some(match field {
        "currency" => account.currency.as_str().into(),
        "timezone_name" => account.time_zone.as_str().into(),
        "timezone_id" => account.time_zone_id.into(),
        "timezone_offset_hours_utc" => {
            let minutes = account.local(now).offset().seconds() / 60;
            json!(f64::from(minutes) / 60.0)
        }
        "account_status" => account.status.into(),
        "disable_reason" => 0.into(),
        "amount_spent" => insights::spent(seed, account, now).to_string().into(),
        "balance" | "spend_cap" => "0".into(),
        "min_daily_budget" => 10_u64.pow(decimals(&account.currency)).into(),
        "business_name" => account.name.as_str().into(),
        "owner" => (account.id / 3).to_string().into(),
        "created_time" => {
            let oldest = account
                .campaigns
                .iter()
                .map(|campaign| campaign.created)
                .min();
            stamp(&account.local(oldest.unwrap_or(Timestamp::UNIX_EPOCH))).into()
        }
        "business" | "marketing_messages_settings" | "user_access_expire_time" => Value::Null,
        _ => return None,
    })
}

fn ends(object: Object<'_>) -> Value {
    let end = object.campaign().and_then(|campaign| campaign.last_day);
    end.and_then(|day| day.tomorrow().ok())
        .and_then(|day| day.to_zoned(object.account().zone()).ok())
        .map_or(Value::Null, |end| stamp(&end).into())
}

/// `2026-06-16T09:49:54+0300`: the offset stands without a colon.
fn stamp(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
}

fn kind(object: Object<'_>) -> &'static str {
    match object {
        Object::Account(_) => "AdAccount",
        Object::Campaign(..) => "Campaign",
        Object::AdSet(..) => "AdSet",
        Object::Ad(..) => "Ad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_outside_of_braces() {
        let fields = read("id, campaign{id,adset{name}} ,name").unwrap();
        let campaign = Field {
            name: "campaign",
            inner: Some("id,adset{name}"),
        };
        assert_eq!(fields[1], campaign);
        assert_eq!(fields.len(), 3);
        assert!(read("").unwrap().is_empty());
        for wrong in ["campaign{id", "id}", "campaign{id}x"] {
            assert_eq!(read(wrong).unwrap_err().code, 2500, "{wrong}");
        }
    }
}
