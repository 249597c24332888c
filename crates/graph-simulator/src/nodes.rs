//! Nodes: the fields of an ad account, a campaign, an ad set or an ad that `?fields=` requests.
//!
//! The response has the id and the requested fields. Fields can be expanded (`campaign{id,name}`). A field that the
//! node type does not have fails the whole call; a field without a value is absent.

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value, json};

use crate::call::ApiCall;
use crate::errors::SimulatedError;
use crate::filtering::Filter;
use crate::insights;
use crate::object::WorldObject;
use crate::paging::PageRequest;
use crate::world::{Issue, decimals};

/// A requested field, its parameters and the fields requested within it.
#[derive(Debug, PartialEq)]
pub(crate) struct RequestedField<'q> {
    /// Name, without parameters.
    pub(crate) name: &'q str,
    /// Parameters of an edge: `limit` and `50` of `adsets.limit(50)`.
    params: Vec<(String, String)>,
    /// Text between the braces; `None` without braces.
    inner: Option<&'q str>,
}

impl RequestedField<'_> {
    /// Whether the field is a list of other objects.
    pub(crate) fn is_edge(&self) -> bool {
        matches!(self.name, "campaigns" | "adsets" | "ads")
    }
}

/// Splits `id,campaign{id,name},ads.limit(2){id}` at the commas outside of braces and parentheses.
///
/// # Errors
///
/// Returns error 2500 if the braces do not match, or text follows a closing brace.
pub(crate) fn parse_fields(fields: &str) -> Result<Vec<RequestedField<'_>>, SimulatedError> {
    let syntax = || {
        let message = format!("Syntax error \"Expected end of string\" in fields: {fields}");
        SimulatedError::new(2500, message)
    };
    let mut requested = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (idx, letter) in fields.char_indices().chain([(fields.len(), ',')]) {
        match letter {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.checked_sub(1).ok_or_else(syntax)?,
            ',' if depth == 0 => {
                let field = fields[start..idx].trim();
                start = idx + 1;
                if !field.is_empty() {
                    requested.push(parse_field(field).ok_or_else(syntax)?);
                }
            }
            _ => {}
        }
    }
    if depth == 0 {
        Ok(requested)
    } else {
        Err(syntax())
    }
}

/// Parses one field: `ads.limit(2){id}`.
fn parse_field(field: &str) -> Option<RequestedField<'_>> {
    let (head, inner) = match split_outside_parentheses(field, '{') {
        Some((head, rest)) => (head, Some(rest.strip_suffix('}')?)),
        None => (field, None),
    };
    let (name, mut rest) = match split_outside_parentheses(head, '.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (head, None),
    };
    let mut params = Vec::new();
    while let Some(text) = rest {
        let (param, following) = match split_outside_parentheses(text, '.') {
            Some((param, following)) => (param, Some(following)),
            None => (text, None),
        };
        let (key, value) = param.split_once('(')?;
        params.push((key.to_owned(), value.strip_suffix(')')?.to_owned()));
        rest = following;
    }
    Some(RequestedField {
        name,
        params,
        inner,
    })
}

/// Splits at the first separator that is not within parentheses.
fn split_outside_parentheses(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (idx, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                return Some((&text[..idx], &text[idx + separator.len_utf8()..]));
            }
            _ => {}
        }
    }
    None
}

/// What the format of a node depends on, besides the object and the fields.
#[derive(Clone, Copy)]
pub(crate) struct NodeContext<'c> {
    /// Seed of the statistics.
    pub(crate) seed: u64,
    /// Call, from which the URLs of the next pages of lists are built.
    pub(crate) call: &'c ApiCall,
    pub(crate) now: Timestamp,
}

/// Returns a page of objects. Archived and deleted objects are included only if the call names their status.
pub(crate) fn list(
    context: NodeContext<'_>,
    mut objects: Vec<WorldObject<'_>>,
) -> Result<Value, SimulatedError> {
    let call = context.call;
    let fields = parse_fields(call.param("fields").unwrap_or("id"))?;
    let filter = Filter::parse(call)?;
    let statuses = call.list("effective_status");
    objects.retain(|object| {
        let has_status = if statuses.is_empty() {
            filter.filters_by_status() || !object.is_archived_or_deleted()
        } else {
            statuses
                .iter()
                .any(|status| status == object.effective_status())
        };
        has_status && filter.matches(*object)
    });
    PageRequest::parse(call)?.build_page(call, objects.len(), |index| {
        format_node(context, objects[index], &fields).map(Some)
    })
}

/// Formats an object with its id and the requested fields. Fields without a value are absent.
///
/// # Errors
///
/// Returns error 100 for a field that the type of the object does not have, and error 2500 for invalid braces.
pub(crate) fn format_node(
    context: NodeContext<'_>,
    object: WorldObject<'_>,
    fields: &[RequestedField<'_>],
) -> Result<Value, SimulatedError> {
    let NodeContext { seed, now, .. } = context;
    let mut node = Map::new();
    node.insert("id".to_owned(), node_id(object).into());
    for field in fields {
        let value = expand_field(context, object, field)?.map_or_else(
            || {
                common_field(object, field.name, now)
                    .or_else(|| specific_field(seed, object, field.name, now))
            },
            Some,
        );
        match value {
            Some(Value::Null) => {}
            Some(mut value) => {
                retain_requested(&mut value, field);
                node.insert(field.name.to_owned(), value);
            }
            None => {
                return Err(SimulatedError::nonexisting_field(
                    field.name,
                    node_type(object),
                ));
            }
        }
    }
    Ok(Value::Object(node))
}

/// Returns the id in the form that paths use.
pub(crate) fn node_id(object: WorldObject<'_>) -> String {
    match object {
        WorldObject::Account(account) => format!("act_{}", account.id),
        _ => object.id().to_string(),
    }
}

/// Formats a field that is a parent of the object or an edge. Returns `None` for other fields.
fn expand_field(
    context: NodeContext<'_>,
    object: WorldObject<'_>,
    field: &RequestedField<'_>,
) -> Result<Option<Value>, SimulatedError> {
    if let Some(level) = edge_level(object, field.name) {
        // An edge within a node is the same list as at its own path.
        let (version, ..) = context.call.path_parts();
        let mut query = field.params.clone();
        query.push(("fields".to_owned(), field.inner.unwrap_or("id").to_owned()));
        let call = ApiCall {
            path: format!(
                "/{}/{}/{}",
                version.unwrap_or_default(),
                node_id(object),
                field.name
            ),
            host: context.call.host.clone(),
            query,
            ..ApiCall::default()
        };
        let context = NodeContext {
            call: &call,
            ..context
        };
        return list(context, object.descendants(level)).map(Some);
    }
    if !matches!(field.name, "campaign" | "adset") || field.name == object.level() {
        return Ok(None);
    }
    let inner = parse_fields(field.inner.unwrap_or("id"))?;
    object
        .ancestor(field.name)
        .map(|parent| format_node(context, parent, &inner))
        .transpose()
}

/// Returns the level of the objects that an edge lists, or `None` if the object does not have this edge.
pub(crate) fn edge_level(object: WorldObject<'_>, edge: &str) -> Option<&'static str> {
    match (object, edge) {
        (WorldObject::Account(_), "campaigns") => Some("campaign"),
        (WorldObject::Account(_) | WorldObject::Campaign(..), "adsets") => Some("adset"),
        (WorldObject::Account(_) | WorldObject::Campaign(..) | WorldObject::AdSet(..), "ads") => {
            Some("ad")
        }
        _ => None,
    }
}

/// Removes the members of a JSON object that are not requested. Without expansion, a creative has only its id.
fn retain_requested(value: &mut Value, field: &RequestedField<'_>) {
    let inner = field.inner.or((field.name == "creative").then_some("id"));
    if let (Some(members), Some(inner)) = (value.as_object_mut(), inner) {
        let is_requested = |name: &String| {
            parse_fields(inner).is_ok_and(|fields| fields.iter().any(|field| field.name == name))
        };
        // `data` holds the objects of an edge, which `format_node` has already limited to the requested fields.
        members.retain(|name, _| {
            matches!(name.as_str(), "id" | "data" | "paging") || is_requested(name)
        });
    }
}

/// Returns a field that several kinds of objects have. Null means that the field exists but has no value.
fn common_field(object: WorldObject<'_>, field: &str, now: Timestamp) -> Option<Value> {
    let account = object.account();
    Some(match field {
        "id" => node_id(object).into(),
        "name" => object.name().into(),
        "account_id" => account.id.to_string().into(),
        _ if matches!(object, WorldObject::Account(_)) => return None,
        "status" | "configured_status" => object.configured_status().into(),
        "effective_status" => object.effective_status().into(),
        // Archiving and deleting update a campaign: at its end, or now.
        "updated_time" if object.is_archived_or_deleted() => match end_time(object) {
            Value::Null => format_time(&account.local(now)).into(),
            end => end,
        },
        "created_time" | "updated_time" | "start_time" => {
            format_time(&account.local(object.campaign()?.created)).into()
        }
        "issues_info" => issues(object),
        "adlabels" | "recommendations" => Value::Null,
        _ => return None,
    })
}

/// Returns a field of one kind of object. Null means that the field exists but has no value.
fn specific_field(
    seed: u64,
    object: WorldObject<'_>,
    field: &str,
    now: Timestamp,
) -> Option<Value> {
    match object {
        WorldObject::Account(_) => account_field(seed, object, field, now),
        WorldObject::Campaign(_, campaign) => Some(match field {
            "objective" => campaign.objective.as_str().into(),
            "is_message_campaign" => campaign.is_message.into(),
            "is_direct_send_campaign" => campaign.is_direct_send.into(),
            "buying_type" => "AUCTION".into(),
            "special_ad_categories" => json!([]),
            "budget_remaining" => "0".into(),
            // The budgets of message campaigns are usually fields of the ad sets. Source: Meta's page "Send Messages".
            "daily_budget" => optional_amount(campaign.daily_budget),
            "lifetime_budget" => optional_amount(campaign.lifetime_budget),
            "spend_cap" | "bid_strategy" | "promoted_object" => Value::Null,
            "stop_time" => end_time(object),
            _ => return None,
        }),
        WorldObject::AdSet(_, campaign, adset) => {
            let budget = |amount: Option<u64>| Value::from(amount.unwrap_or(0).to_string());
            Some(match field {
                "campaign_id" => campaign.id.to_string().into(),
                "daily_budget" => budget(adset.daily_budget),
                "lifetime_budget" => budget(adset.lifetime_budget),
                "budget_remaining" => budget(adset.daily_budget.or(adset.lifetime_budget)),
                "end_time" => end_time(object),
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
        WorldObject::Ad(_, campaign, adset, ad) => Some(match field {
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

/// Returns a field of an ad account; see [`specific_field`].
fn account_field(seed: u64, object: WorldObject<'_>, field: &str, now: Timestamp) -> Option<Value> {
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
        "disable_reason" => account.disable_reason.into(),
        "amount_spent" => insights::total_spend_minor(seed, account, now)
            .to_string()
            .into(),
        "balance" => account.balance.to_string().into(),
        "spend_cap" => account.spend_cap.to_string().into(),
        "min_daily_budget" => 10_u64.pow(decimals(&account.currency)).into(),
        "business_name" => account.name.as_str().into(),
        "owner" => (account.id / 3).to_string().into(),
        "created_time" => {
            let oldest = account
                .campaigns
                .iter()
                .map(|campaign| campaign.created)
                .min();
            format_time(&account.local(oldest.unwrap_or(Timestamp::UNIX_EPOCH))).into()
        }
        "business" | "marketing_messages_settings" | "user_access_expire_time" => Value::Null,
        _ => return None,
    })
}

/// Formats the issues of a campaign. Null for other objects and without an issue.
fn issues(object: WorldObject<'_>) -> Value {
    let WorldObject::Campaign(_, campaign) = object else {
        return Value::Null;
    };
    let issue = |issue: &Issue| {
        json!({
            "level": issue.level,
            "error_code": issue.code,
            "error_summary": issue.summary,
            "error_message": issue.summary,
            "error_type": "HARD_ERROR",
        })
    };
    match campaign.issues.as_slice() {
        [] => Value::Null,
        issues => issues.iter().map(issue).collect(),
    }
}

/// Formats an amount in minor units, or null without one.
fn optional_amount(amount: Option<u64>) -> Value {
    amount.map_or(Value::Null, |amount| amount.to_string().into())
}

/// Returns the midnight after the last day of the campaign, or null if delivery continues.
fn end_time(object: WorldObject<'_>) -> Value {
    let end = object.campaign().and_then(|campaign| campaign.last_day);
    end.and_then(|day| day.tomorrow().ok())
        .and_then(|day| day.to_zoned(object.account().zone()).ok())
        .map_or(Value::Null, |end| format_time(&end).into())
}

/// Formats a time like the API: `2026-06-16T09:49:54+0300`. The offset has no colon, unlike in RFC 3339.
fn format_time(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
}

/// Returns Meta's name of the type of the object, for errors.
fn node_type(object: WorldObject<'_>) -> &'static str {
    match object {
        WorldObject::Account(_) => "AdAccount",
        WorldObject::Campaign(..) => "Campaign",
        WorldObject::AdSet(..) => "AdSet",
        WorldObject::Ad(..) => "Ad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_outside_of_braces() {
        let fields = parse_fields("id, campaign{id,adset{name}} ,name").unwrap();
        let campaign = RequestedField {
            name: "campaign",
            params: Vec::new(),
            inner: Some("id,adset{name}"),
        };
        assert_eq!(fields[1], campaign);
        assert_eq!(fields.len(), 3);
        let filter = r#"[{"field":"id","operator":"IN","value":["1","2"]}]"#;
        let expanded = format!("name,campaigns.limit(2).filtering({filter}){{id,adsets{{id}}}}");
        let fields = parse_fields(&expanded).unwrap();
        let campaigns = RequestedField {
            name: "campaigns",
            params: vec![
                ("limit".to_owned(), "2".to_owned()),
                ("filtering".to_owned(), filter.to_owned()),
            ],
            inner: Some("id,adsets{id}"),
        };
        assert_eq!(fields[1], campaigns);
        assert_eq!(parse_fields(""), Ok(Vec::new()));
        for invalid in ["campaign{id", "id}", "campaign{id}x"] {
            assert_eq!(parse_fields(invalid).unwrap_err().code, 2500, "{invalid}");
        }
    }
}
