//! The `filtering` parameter: which objects count, and which action types are shown.
//!
//! Conditions are combined with AND. A filter on `action_type` trims the lists of a row and
//! never drops the row: the API's own sample asks for spend in the same call and gets it.

use serde_json::Value;

use super::call::{Call, plain};
use super::errors::ApiError;
use super::object::Object;

/// A read `filtering` parameter.
#[derive(Debug, Default)]
pub(super) struct Filter {
    conditions: Vec<Condition>,
    /// The action types to show; `None` is all.
    pub(super) action_types: Option<Vec<String>>,
}

#[derive(Debug)]
struct Condition {
    /// `campaign`, `adset`, `ad`, or empty for the listed object itself.
    subject: String,
    attribute: String,
    operator: String,
    values: Vec<String>,
    /// The values as ids, so that a hundred of them cost no formatting.
    ids: Vec<u64>,
}

impl Filter {
    pub(super) fn read(call: &Call) -> Result<Self, ApiError> {
        let mut filter = Self::default();
        let list = match call.json("filtering")? {
            None => return Ok(filter),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(ApiError::invalid("Param filtering must be an array.")),
        };
        for item in &list {
            let member = |name: &str| {
                item.get(name).ok_or_else(|| {
                    ApiError::invalid(format!("Param filtering[0] must have the member {name}"))
                })
            };
            let field = plain(member("field")?);
            let operator = plain(member("operator")?).to_ascii_uppercase();
            let values: Vec<String> = match member("value")? {
                Value::Array(values) => values.iter().map(plain).collect(),
                value => vec![plain(value)],
            };
            if field == "action_type" {
                if !matches!(operator.as_str(), "IN" | "EQUAL") {
                    return Err(unsupported(&field, &operator));
                }
                filter.action_types = Some(values);
                continue;
            }
            let (subject, attribute) = field.split_once('.').unwrap_or(("", &field));
            if !matches!(subject, "" | "campaign" | "adset" | "ad")
                || !matches!(
                    attribute,
                    "id" | "name" | "effective_status" | "configured_status" | "objective"
                )
            {
                return Err(ApiError::invalid(format!(
                    "Filtering field {field} is invalid"
                )));
            }
            let mut ids: Vec<u64> = values.iter().filter_map(|id| id.parse().ok()).collect();
            ids.sort_unstable();
            let condition = Condition {
                subject: subject.to_owned(),
                attribute: attribute.to_owned(),
                operator,
                values,
                ids,
            };
            if condition.compare("").is_none() {
                return Err(unsupported(&field, &condition.operator));
            }
            filter.conditions.push(condition);
        }
        Ok(filter)
    }

    /// Whether the object, and all that it lies in, meets every condition that can be judged
    /// of it; those on deeper objects are for these.
    pub(super) fn admits(&self, object: Object<'_>) -> bool {
        self.conditions.iter().all(|condition| {
            let subject = match condition.subject.as_str() {
                "" => Some(object),
                level => object.ancestor(level),
            };
            subject.is_none_or(|subject| condition.holds(subject))
        })
    }

    /// Whether a condition is about a status, so that the archived and deleted are meant too.
    pub(super) fn asks_status(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.attribute.ends_with("_status"))
    }
}

impl Condition {
    fn holds(&self, object: Object<'_>) -> bool {
        if self.attribute == "id" {
            let found = self.ids.binary_search(&object.id()).is_ok();
            match self.operator.as_str() {
                "IN" | "EQUAL" => return found,
                "NOT_IN" | "NOT_EQUAL" => return !found,
                _ => {}
            }
        }
        let text = match self.attribute.as_str() {
            "id" => object.id().to_string(),
            "name" => object.name().to_owned(),
            "effective_status" => object.effective_status().to_owned(),
            "configured_status" => object.configured_status().to_owned(),
            _ => object
                .campaign()
                .map(|campaign| campaign.objective.clone())
                .unwrap_or_default(),
        };
        self.compare(&text).unwrap_or(false)
    }

    /// `None` for an operator that is not known.
    fn compare(&self, text: &str) -> Option<bool> {
        let any = |test: &dyn Fn(&str) -> bool| self.values.iter().any(|value| test(value));
        Some(match self.operator.as_str() {
            "EQUAL" | "IN" => any(&|value| value == text),
            "NOT_EQUAL" | "NOT_IN" => !any(&|value| value == text),
            "CONTAIN" | "CONTAINS_ANY" => any(&|value| folded(text).contains(&folded(value))),
            "NOT_CONTAIN" | "NOT_CONTAINS_ANY" => {
                !any(&|value| folded(text).contains(&folded(value)))
            }
            "STARTS_WITH" => any(&|value| folded(text).starts_with(&folded(value))),
            "ENDS_WITH" => any(&|value| folded(text).ends_with(&folded(value))),
            _ => return None,
        })
    }
}

fn folded(text: &str) -> String {
    text.to_lowercase()
}

fn unsupported(field: &str, operator: &str) -> ApiError {
    let operator = operator.to_ascii_lowercase();
    ApiError::invalid(format!(
        "Filtering field {field} with operation {operator} is not supported"
    ))
}
