//! JSON of nodes: ad accounts, campaigns, ad sets and ads.
//!
//! Every field is optional, and a field of an unexpected type counts as missing.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::response::{ResultPage, data_list, is_true, next_cursor, parse_lenient, text};
use crate::model::{AccountId, AdAccount, CampaignIssue, MinorUnits, ObjectId};

/// Fields of a campaign in `discover`.
pub(super) const CAMPAIGN_FIELDS: &str = "id,name,effective_status,objective,is_message_campaign";

/// Names of `account_status`. Source: Meta's page "Ad Account".
const ACCOUNT_STATUSES: [(u32, &str); 10] = [
    (1, "ACTIVE"),
    (2, "DISABLED"),
    (3, "UNSETTLED"),
    (7, "PENDING_RISK_REVIEW"),
    (8, "PENDING_SETTLEMENT"),
    (9, "IN_GRACE_PERIOD"),
    (100, "PENDING_CLOSURE"),
    (101, "CLOSED"),
    (201, "ANY_ACTIVE"),
    (202, "ANY_CLOSED"),
];

/// Names of `disable_reason`; 0 is none. Source: Meta's page "Ad Account".
const DISABLE_REASONS: [&str; 11] = [
    "",
    "ADS_INTEGRITY_POLICY",
    "ADS_IP_REVIEW",
    "RISK_PAYMENT",
    "GRAY_ACCOUNT_SHUT_DOWN",
    "ADS_AFC_REVIEW",
    "BUSINESS_INTEGRITY_RAR",
    "PERMANENT_CLOSE",
    "UNUSED_RESELLER_ACCOUNT",
    "UNUSED_ACCOUNT",
    "UMBRELLA_AD_ACCOUNT",
];

/// Maximum issues per campaign that are kept.
const MAX_ISSUES: usize = 10;
/// Maximum characters of the summary of an issue.
const MAX_SUMMARY_CHARS: usize = 200;

/// Page of a list within a node.
#[derive(Clone, Default)]
pub(super) struct NodeList {
    pub(super) nodes: Vec<ApiNode>,
    /// Cursor of the next page; `None` if this is the last one.
    pub(super) after: Option<String>,
}

/// Node of any type, with the fields that discovery and lookups use.
#[derive(Clone, Default)]
pub(super) struct ApiNode {
    pub(super) id: Option<ObjectId>,
    pub(super) name: Arc<str>,
    pub(super) status: Arc<str>,
    pub(super) objective: Arc<str>,
    pub(super) account_id: Option<AccountId>,
    pub(super) campaign_id: Option<ObjectId>,
    pub(super) adset_id: Option<ObjectId>,
    pub(super) currency: Option<Arc<str>>,
    pub(super) timezone: Option<Arc<str>>,
    pub(super) is_message_campaign: bool,
    pub(super) daily_budget: Option<MinorUnits>,
    pub(super) lifetime_budget: Option<MinorUnits>,
    pub(super) start: Option<Timestamp>,
    /// `stop_time` of a campaign, `end_time` of an ad set.
    pub(super) end: Option<Timestamp>,
    pub(super) updated: Option<Timestamp>,
    pub(super) issues: Vec<CampaignIssue>,
    pub(super) account_status: Option<u32>,
    pub(super) disable_reason: Option<u32>,
    pub(super) balance: Option<MinorUnits>,
    pub(super) spend_cap: Option<MinorUnits>,
    pub(super) amount_spent: Option<MinorUnits>,
    /// Campaigns of an ad account; `None` if the response has none.
    pub(super) campaigns: Option<NodeList>,
    /// Ad sets of a campaign.
    pub(super) adsets: Option<NodeList>,
    /// Ads of an ad set.
    pub(super) ads: Option<NodeList>,
    /// Campaign of an ad or ad set.
    pub(super) campaign: Option<Box<Self>>,
}

impl ApiNode {
    /// Reads a node; `None` if the JSON is not an object.
    fn of(json: &Value) -> Option<Self> {
        let fields = json.as_object()?;
        let field = |name| fields.get(name).and_then(text);
        let shared = |name| field(name).map(Arc::<str>::from);
        let id = |name| field(name).and_then(|text| ObjectId::parse(&text));
        let minor_units = |name| field(name).and_then(|text| text.parse().ok().map(MinorUnits));
        let number = |name| field(name).and_then(|text| text.parse().ok());
        let time = |name| field(name).and_then(|text| parse_time(&text));
        let list = |name| fields.get(name).and_then(nested_list);
        Some(Self {
            id: id("id"),
            name: shared("name").unwrap_or_default(),
            status: shared("effective_status").unwrap_or_default(),
            objective: shared("objective").unwrap_or_default(),
            account_id: field("account_id").and_then(|text| AccountId::parse(&text)),
            campaign_id: id("campaign_id"),
            adset_id: id("adset_id"),
            currency: shared("currency").filter(|currency| !currency.is_empty()),
            timezone: shared("timezone_name"),
            is_message_campaign: fields.get("is_message_campaign").is_some_and(is_true),
            daily_budget: minor_units("daily_budget"),
            lifetime_budget: minor_units("lifetime_budget"),
            start: time("start_time"),
            end: time("stop_time").or_else(|| time("end_time")),
            updated: time("updated_time"),
            issues: fields.get("issues_info").map(issues).unwrap_or_default(),
            account_status: number("account_status"),
            disable_reason: number("disable_reason"),
            balance: minor_units("balance"),
            spend_cap: minor_units("spend_cap"),
            amount_spent: minor_units("amount_spent"),
            campaigns: list("campaigns"),
            adsets: list("adsets"),
            ads: list("ads"),
            campaign: fields.get("campaign").and_then(Self::of).map(Box::new),
        })
    }

    /// Returns whether the node is archived or deleted.
    pub(super) fn is_archived_or_deleted(&self) -> bool {
        matches!(self.status.as_ref(), "DELETED" | "ARCHIVED")
    }

    /// Returns whether the status is `ACTIVE`.
    pub(super) fn is_active(&self) -> bool {
        self.status.as_ref() == "ACTIVE"
    }

    /// Converts a node of an ad account. An unknown time zone counts as missing.
    pub(super) fn into_account(self, id: AccountId) -> AdAccount {
        let timezone = self
            .timezone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        let currency = self.currency.as_deref();
        let major = |amount: Option<MinorUnits>| amount?.to_major(currency?);
        AdAccount {
            id,
            name: self.name,
            timezone,
            status: self.account_status.map(|number| {
                let known = ACCOUNT_STATUSES.iter().find(|(known, _)| *known == number);
                known.map_or_else(|| number.to_string().into(), |(_, name)| (*name).into())
            }),
            disable_reason: self.disable_reason.map_or_else(Arc::default, |number| {
                let known = usize::try_from(number).ok();
                let known = known.and_then(|number| DISABLE_REASONS.get(number));
                known.map_or_else(|| number.to_string().into(), |name| (*name).into())
            }),
            balance: major(self.balance),
            // The API reports a missing limit as "0".
            spend_cap: major(self.spend_cap.filter(|cap| cap.0 > 0)),
            amount_spent: major(self.amount_spent),
            currency: self.currency,
        }
    }
}

/// Decodes one node.
pub(super) fn read_node(body: &[u8]) -> Result<ApiNode, String> {
    ApiNode::of(&parse_lenient(body)?).ok_or_else(|| "expected an object".to_owned())
}

/// Decodes one page of a list of nodes.
pub(super) fn read_nodes(body: &[u8]) -> Result<ResultPage<Vec<ApiNode>>, String> {
    let json = parse_lenient(body)?;
    Ok(ResultPage {
        // An element that is not an object affects only itself.
        data: data_list(&json)?.iter().filter_map(ApiNode::of).collect(),
        after: next_cursor(json.get("paging"))?,
    })
}

/// Reads a list within a node; `None` if it is not one, or its next page cannot be requested.
fn nested_list(json: &Value) -> Option<NodeList> {
    Some(NodeList {
        nodes: data_list(json)
            .ok()?
            .iter()
            .filter_map(ApiNode::of)
            .collect(),
        after: next_cursor(json.get("paging")).ok()?,
    })
}

/// Parses a time of a node: `2026-06-16T09:49:54+0300`, RFC 3339, or seconds since 1970. Zero counts as missing.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok().filter(|_| seconds > 0);
    }
    let time = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text).or_else(|_| text.parse());
    time.ok()
        .filter(|time: &Timestamp| *time > Timestamp::UNIX_EPOCH)
}

/// Reads `issues_info`. Entries without a code or summary are left out.
fn issues(json: &Value) -> Vec<CampaignIssue> {
    let field = |entry: &Value, name| {
        let text = entry.get(name).and_then(text);
        text.map(Cow::into_owned).unwrap_or_default()
    };
    let issue = |entry: &Value| {
        entry.get("error_summary")?;
        let summary = field(entry, "error_summary");
        let issue = CampaignIssue {
            level: field(entry, "level").into(),
            code: field(entry, "error_code").into(),
            summary: summary.chars().take(MAX_SUMMARY_CHARS).collect(),
        };
        (!issue.code.is_empty() || !issue.summary.is_empty()).then_some(issue)
    };
    let entries = json.as_array().map_or(&[][..], Vec::as_slice);
    let mut issues: Vec<CampaignIssue> = entries.iter().filter_map(issue).collect();
    issues.sort();
    issues.dedup();
    issues.truncate(MAX_ISSUES);
    issues
}

#[cfg(test)]
mod tests {
    use super::{parse_time, read_node, read_nodes};
    use crate::model::MinorUnits;

    #[test]
    fn times_are_read_with_and_without_colon_and_as_seconds() {
        let expected = Some("2026-06-16T06:49:54Z".parse().unwrap());
        for text in [
            "2026-06-16T09:49:54+0300",
            "2026-06-16T09:49:54+03:00",
            "2026-06-16T06:49:54Z",
            "1781592594",
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        for text in ["", "0", "soon", "1970-01-01T00:00:00+0000"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn invalid_fields_count_as_missing() {
        let node = read_node(
            br#"{"id":120249960544200494,"name":null,"daily_budget":"5000","lifetime_budget":0,
                 "effective_status":"ACTIVE","objective":["?"],"future":{"deep":[1]}}"#,
        )
        .unwrap();
        assert_eq!(node.id.unwrap().as_str(), "120249960544200494");
        assert_eq!(
            (node.daily_budget, node.lifetime_budget),
            (Some(MinorUnits(5000)), Some(MinorUnits(0)))
        );
        let nodes = read_nodes(
            br#"{"data":[null,{"id":"1","is_message_campaign":"true","campaign":7},
                 {"id":"2","is_message_campaign":1},{"id":"3","is_message_campaign":null},
                 {"id":"4","is_message_campaign":[],"name":"a\ud83db"}]}"#,
        )
        .unwrap()
        .data;
        let flags: Vec<_> = nodes.iter().map(|node| node.is_message_campaign).collect();
        assert_eq!(flags, [true, true, false, false]);
        assert_eq!(nodes[3].name.as_ref(), "a\u{fffd}b");
        assert!(read_nodes(br#"{"data":{}}"#).is_err());
        assert!(read_nodes(b"{}").is_err());
    }
}
