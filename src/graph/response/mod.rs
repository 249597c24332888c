//! Decoder of insights responses: JSON to rows.
//!
//! Scalars are strings or numbers, and any field can be missing. An invalid value affects only itself, and a row
//! without ids or dates only itself; a response of the wrong structure invalidates the whole page.

mod actions;
mod repair;
mod scalar;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::actions::read_actions;
pub(super) use self::repair::{parse_lenient, repair};
use self::scalar::row_value;
pub(super) use self::scalar::{is_true, text};
use super::invalid_parts::{InvalidParts, RowDefect};
use crate::model::{
    AccountId, ActionList, Dimensions, Level, NamedId, ObjectId, Row, RowValue, RowValues,
    ValueKind,
};
use crate::plan::{Query, TargetNode};

/// One page of a result.
#[derive(Debug)]
pub(super) struct ResultPage<T> {
    pub(super) data: T,
    /// Cursor of the next page; `None` on the last one.
    pub(super) after: Option<String>,
}

/// Rows of one page, without the invalid parts.
#[derive(Debug, Default)]
pub(super) struct DecodedRows {
    pub(super) rows: Vec<Row>,
    pub(super) invalid: InvalidParts,
    /// Keys of dropped rows, as far as known: their values are unknown, not zero.
    pub(super) dropped_keys: BTreeSet<Box<str>>,
    /// Whether a dropped row has no key.
    pub(super) has_unknown_rows: bool,
}

/// Returns the cursor of the next page from the `paging` of a list; `None` on the last page.
///
/// Only the absence of `next` ends a list: the last page has a cursor `after` too. `next` is never followed: it can
/// contain the token, and name any host. The cursor is `cursors.after`, or else the one in the query of `next`.
///
/// # Errors
/// Returns an error if there is a next page without a cursor, or if `paging` is not an object.
pub(super) fn next_cursor(paging: Option<&Value>) -> Result<Option<String>, String> {
    let paging = match paging {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(paging)) => paging,
        Some(_) => return Err("paging failed: `paging` is not an object".to_owned()),
    };
    let next = match paging.get("next") {
        None | Some(Value::Null) => return Ok(None),
        Some(next) => next.as_str().unwrap_or_default(),
    };
    let after = paging
        .get("cursors")
        .and_then(|cursors| cursors.get("after"));
    let after = after
        .and_then(Value::as_str)
        .filter(|after| !after.is_empty());
    match after.map(str::to_owned).or_else(|| cursor_of_url(next)) {
        Some(after) => Ok(Some(after)),
        None => Err("paging failed: `paging.next` without a cursor".to_owned()),
    }
}

/// Returns the parameter `after` of a URL.
fn cursor_of_url(url: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    let mut params = url.query_pairs();
    let (_, after) = params.find(|(name, _)| name == "after")?;
    (!after.is_empty()).then(|| after.into_owned())
}

/// Returns the list `data` of a response.
///
/// # Errors
/// Returns an error if there is none.
pub(super) fn data_list(json: &Value) -> Result<&[Value], String> {
    let data = json.get("data").and_then(Value::as_array);
    data.map(Vec::as_slice)
        .ok_or_else(|| "expected an object with the list `data`".to_owned())
}

/// Decodes one page of the result of `query`. Fields in `rejected_fields` were not requested.
///
/// # Errors
/// Returns a message with the cause.
pub(super) fn decode_page(
    body: &[u8],
    query: &Query,
    rejected_fields: &[String],
) -> Result<ResultPage<DecodedRows>, String> {
    let mut text = String::from_utf8_lossy(body);
    let result = match serde_json::from_str::<InsightsEnvelope<'_>>(&text) {
        Err(error) if error.is_syntax() => {
            text = Cow::Owned(repair(&text));
            serde_json::from_str(&text).map_err(|_| error)
        }
        result => result,
    };
    let InsightsEnvelope { data, paging } = result.map_err(|error| error.to_string())?;
    Ok(ResultPage {
        data: RowDecoder::new(query, rejected_fields).rows(&data)?,
        after: next_cursor(paging.as_ref())?,
    })
}

/// Response of an insights query. Its rows are parsed one by one, so that their JSON trees are not all in memory.
#[derive(Deserialize)]
struct InsightsEnvelope<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    paging: Option<Value>,
}

/// Decoder of the rows of a query.
struct RowDecoder<'a> {
    query: &'a Query,
    /// Scalar fields, in the order of the row's columns.
    scalars: Vec<(&'a str, ValueKind)>,
    /// Values of a row without fields: missing, but invalid for lists that were not requested.
    initial_values: Vec<RowValue>,
    /// Ad account and currency of the previous row. Nearly all rows have the same, which are then shared.
    account: Option<AccountId>,
    currency: Option<Arc<str>>,
}

impl<'a> RowDecoder<'a> {
    fn new(query: &'a Query, rejected_fields: &[String]) -> Self {
        let scalars: Vec<_> = if query.kind.has_delivery() {
            query.columns.delivery().collect()
        } else {
            Vec::new()
        };
        let mut decoder = Self {
            query,
            initial_values: vec![RowValue::Missing; query.columns.width(query.kind)],
            scalars,
            account: None,
            currency: None,
        };
        for list in decoder.lists() {
            if rejected_fields.iter().any(|field| field == list.field()) {
                let mut values = std::mem::take(&mut decoder.initial_values);
                decoder.columns(&mut values, list).fill(RowValue::Invalid);
                decoder.initial_values = values;
            }
        }
        decoder
    }

    /// Returns the lists of the query.
    fn lists(&self) -> impl Iterator<Item = ActionList> + use<> {
        let has_actions = self.query.kind.has_actions();
        ActionList::ALL.into_iter().filter(move |_| has_actions)
    }

    /// Returns the columns of a list.
    fn columns<'v>(&self, values: &'v mut [RowValue], list: ActionList) -> &'v mut [RowValue] {
        let lists = values.get_mut(self.scalars.len()..).unwrap_or_default();
        let columns = list.columns(self.query.columns.action_types.len());
        lists.get_mut(columns).unwrap_or_default()
    }

    /// Decodes the rows of a page.
    ///
    /// # Errors
    /// Returns the error of a row that is not JSON, even after a repair.
    fn rows(&mut self, data: &[&RawValue]) -> Result<DecodedRows, String> {
        let mut decoded = DecodedRows::default();
        for text in data {
            let json = parse_lenient(text.get().as_bytes())?;
            let key = self.key(&json);
            let mut invalid_fields = Vec::new();
            let row = self.row(&json, &mut invalid_fields);
            for field in invalid_fields {
                decoded.invalid.add_value(field, key.as_deref());
            }
            match row {
                Ok(row) => decoded.rows.push(row),
                Err(defect) => {
                    decoded.invalid.add_row(defect, key.as_deref());
                    match key {
                        Some(key) => _ = decoded.dropped_keys.insert(key),
                        None => decoded.has_unknown_rows = true,
                    }
                }
            }
        }
        Ok(decoded)
    }

    /// Decodes a row. Adds the fields of its invalid values to `invalid_fields`.
    fn row(&mut self, json: &Value, invalid_fields: &mut Vec<&'a str>) -> Result<Row, RowDefect> {
        let mut values = self.initial_values.clone();
        for (column, (field, kind)) in values.iter_mut().zip(&self.scalars) {
            let json = json.get(field).unwrap_or_default();
            *column = row_value(json, *kind);
            if *column == RowValue::Invalid {
                invalid_fields.push(field);
            }
        }
        for list in self.lists() {
            let json = json.get(list.field()).unwrap_or_default();
            let action_types = &self.query.columns.action_types;
            let columns = self.columns(&mut values, list);
            for _ in 0..read_actions(json, list, action_types, columns) {
                invalid_fields.push(list.field());
            }
        }
        let field = |name| json.get(name).and_then(text);
        let date = |name| field(name)?.parse::<Date>().ok();
        let attribution = field("attribution_setting").unwrap_or_default();
        let dimensions = self.dimensions(json);
        let (Some(dimensions), Some(start), Some(stop)) =
            (dimensions, date("date_start"), date("date_stop"))
        else {
            return Err(RowDefect::Malformed);
        };
        match self.defect(&dimensions) {
            Some(defect) => Err(defect),
            None => Ok(Row {
                dimensions: Arc::new(dimensions),
                start,
                stop,
                mixed_attribution: ["multiple", "mixed"]
                    .iter()
                    .any(|name| attribution.eq_ignore_ascii_case(name)),
                values: RowValues::pack(&values),
            }),
        }
    }

    /// Returns the key that a row has, or would have if it were valid: its id at the level of the query.
    fn key(&self, json: &Value) -> Option<Box<str>> {
        match entities(self.query.row_level).last() {
            None => {
                let id = AccountId::parse(&text(json.get("account_id")?)?)?;
                Some(id.digits().into())
            }
            Some((id, _)) => {
                let id = ObjectId::parse(&text(json.get(id)?)?)?;
                Some(id.as_str().into())
            }
        }
    }

    /// Returns the dimensions of a row; `None` if an id down to the level of the query is missing. Ids of deeper levels
    /// are ignored.
    fn dimensions(&mut self, json: &Value) -> Option<Dimensions> {
        let field = |name| json.get(name).and_then(text);
        let account = field("account_id").unwrap_or_default();
        if self
            .account
            .as_ref()
            .is_none_or(|id| id.digits() != account)
        {
            self.account = AccountId::parse(&account);
        }
        let currency = field("account_currency").filter(|code| !code.is_empty());
        if self.currency.as_deref() != currency.as_deref() {
            self.currency = currency.map(Arc::from);
        }
        let mut named = [None, None, None];
        for (entity, (id, name)) in named.iter_mut().zip(entities(self.query.row_level)) {
            *entity = Some(NamedId {
                id: ObjectId::parse(&field(id)?)?,
                name: field(name).unwrap_or_default().into(),
            });
        }
        let [campaign, adset, ad] = named;
        Some(Dimensions {
            account: self.account.clone()?,
            currency: self.currency.clone(),
            campaign,
            adset,
            ad,
        })
    }

    /// Returns why the query cannot have a row with these dimensions.
    fn defect(&self, dimensions: &Dimensions) -> Option<RowDefect> {
        let is_other_account = match &self.query.node {
            TargetNode::AdAccount(id) => dimensions.account != *id,
            // The ad account of an object is not part of the query.
            TargetNode::Object(_) => false,
        };
        let is_excluded = |campaign: &NamedId| {
            let campaigns = &self.query.campaigns;
            !campaigns.is_empty() && !campaigns.contains(&campaign.id)
        };
        if is_other_account {
            Some(RowDefect::OtherAccount)
        } else if dimensions.campaign.as_ref().is_some_and(is_excluded) {
            Some(RowDefect::OtherCampaign)
        } else {
            None
        }
    }
}

/// Returns the fields with ids and names that a row of that level has, apart from the ad account.
fn entities(level: Level) -> &'static [(&'static str, &'static str)] {
    const ENTITIES: [(&str, &str); 3] = [
        ("campaign_id", "campaign_name"),
        ("adset_id", "adset_name"),
        ("ad_id", "ad_name"),
    ];
    match level {
        Level::Account => &[],
        Level::Campaign => &ENTITIES[..1],
        Level::Adset => &ENTITIES[..2],
        Level::Ad => &ENTITIES,
    }
}
