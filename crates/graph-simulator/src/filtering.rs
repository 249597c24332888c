//! The `filtering` parameter: a JSON array of conditions `{field, operator, value}`, combined with AND.
//!
//! Conditions on objects use the fields `id`, `name`, `effective_status`, `configured_status` and `objective`,
//! optionally after `campaign.`, `adset.` or `ad.`. The operators are `EQUAL`, `IN`, `CONTAIN`, `CONTAINS_ANY`, the
//! negation of each (`NOT_…`), `STARTS_WITH` and `ENDS_WITH`: a subset of those on Meta's page "Ad Account, Insights".
//! Every operator accepts one value or several; Meta may accept only one for `EQUAL` and `CONTAIN`.
//!
//! A condition on `action_type` (`EQUAL` or `IN`) removes entries from the action lists of a row, but never the row.
//! The sample on Meta's page "Measure Performance" requests `spend` with such a filter, and its response contains
//! `spend`.

use serde_json::Value;

use crate::call::{ApiCall, value_text};
use crate::errors::SimulatedError;
use crate::object::WorldObject;

/// A parsed `filtering` parameter.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Conditions on objects, all of which must be met.
    conditions: Vec<Condition>,
    /// Action types to which the action lists are reduced; `None` without such a condition: all types.
    pub(crate) action_types: Option<Vec<String>>,
}

/// A condition on an object or on one of its parents.
#[derive(Debug)]
struct Condition {
    /// Level of the object that is compared: `campaign`, `adset`, `ad`, or empty for the listed object.
    level: String,
    /// Compared property: the part of `field` after the level.
    attribute: String,
    /// Operator in upper case; one that [`is_supported_operator`] accepts.
    operator: String,
    /// Values to compare with. One of them has to match; with a `NOT_…` operator, none may match.
    values: Vec<String>,
    /// The values that are integers, sorted for a binary search. Used for the attribute `id`, because filters with
    /// many ids are frequent.
    ids: Vec<u64>,
}

impl Filter {
    /// Parses the parameter `filtering` of a call. Without the parameter, the filter accepts everything.
    ///
    /// # Errors
    ///
    /// Returns error 100 if the parameter is not an array, a condition lacks a member, or its field or operator is not
    /// supported.
    pub(crate) fn parse(call: &ApiCall) -> Result<Self, SimulatedError> {
        let mut filter = Self::default();
        let list = match call.json("filtering")? {
            None => return Ok(filter),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(SimulatedError::invalid("Param filtering must be an array.")),
        };
        for (condition_idx, item) in list.iter().enumerate() {
            let member = |name: &str| {
                item.get(name).ok_or_else(|| {
                    SimulatedError::invalid(format!(
                        "Param filtering[{condition_idx}] must contain the member {name}"
                    ))
                })
            };
            let field = value_text(member("field")?);
            let operator = value_text(member("operator")?).to_ascii_uppercase();
            let values: Vec<String> = match member("value")? {
                Value::Array(values) => values.iter().map(value_text).collect(),
                value => vec![value_text(value)],
            };
            if field == "action_type" {
                if !matches!(operator.as_str(), "IN" | "EQUAL") {
                    return Err(unsupported_operator(&field, &operator));
                }
                // Conditions are combined with AND: only types that all conditions contain remain.
                filter.action_types = Some(match filter.action_types.take() {
                    None => values,
                    Some(mut types) => {
                        types.retain(|action_type| values.contains(action_type));
                        types
                    }
                });
                continue;
            }
            let (level, attribute) = field.split_once('.').unwrap_or(("", &field));
            if !matches!(level, "" | "campaign" | "adset" | "ad")
                || !matches!(
                    attribute,
                    "id" | "name" | "effective_status" | "configured_status" | "objective"
                )
            {
                return Err(SimulatedError::invalid(format!(
                    "Filtering field {field} is invalid"
                )));
            }
            if !is_supported_operator(&operator) {
                return Err(unsupported_operator(&field, &operator));
            }
            let mut ids: Vec<u64> = values.iter().filter_map(|id| id.parse().ok()).collect();
            ids.sort_unstable();
            filter.conditions.push(Condition {
                level: level.to_owned(),
                attribute: attribute.to_owned(),
                operator,
                values,
                ids,
            });
        }
        Ok(filter)
    }

    /// Whether the object meets all conditions. A condition with a level applies to the parent at that level, or to the
    /// object itself if it has this level. Conditions on levels below the object's are ignored.
    pub(crate) fn matches(&self, object: WorldObject<'_>) -> bool {
        self.conditions.iter().all(|condition| {
            let compared = match condition.level.as_str() {
                "" => Some(object),
                level => object.ancestor(level),
            };
            compared.is_none_or(|compared| condition.is_met(compared))
        })
    }

    /// Whether a condition compares a status. Lists and insights (`routes::list`, `insights::respond`) omit archived
    /// and deleted objects unless this returns true. Source: Meta's page "Manage Your Ad Object's Status".
    pub(crate) fn filters_by_status(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.attribute.ends_with("_status"))
    }
}

impl Condition {
    /// Whether the compared object meets the condition.
    fn is_met(&self, object: WorldObject<'_>) -> bool {
        if self.attribute == "id" {
            let is_listed = self.ids.binary_search(&object.id()).is_ok();
            match self.operator.as_str() {
                "IN" | "EQUAL" => return is_listed,
                "NOT_IN" | "NOT_EQUAL" => return !is_listed,
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
        self.compare(&text)
    }

    /// Compares a text with the values: equality with regard to case, the other operators without.
    fn compare(&self, text: &str) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| self.values.iter().any(|value| test(value));
        match self.operator.as_str() {
            "EQUAL" | "IN" => any(&|value| value == text),
            "NOT_EQUAL" | "NOT_IN" => !any(&|value| value == text),
            "CONTAIN" | "CONTAINS_ANY" => {
                any(&|value| text.to_lowercase().contains(&value.to_lowercase()))
            }
            "NOT_CONTAIN" | "NOT_CONTAINS_ANY" => {
                !any(&|value| text.to_lowercase().contains(&value.to_lowercase()))
            }
            "STARTS_WITH" => any(&|value| text.to_lowercase().starts_with(&value.to_lowercase())),
            "ENDS_WITH" => any(&|value| text.to_lowercase().ends_with(&value.to_lowercase())),
            // `parse` rejects other operators.
            _ => false,
        }
    }
}

/// Whether [`Condition::compare`] implements the operator, which is in upper case.
fn is_supported_operator(operator: &str) -> bool {
    matches!(
        operator,
        "EQUAL"
            | "IN"
            | "NOT_EQUAL"
            | "NOT_IN"
            | "CONTAIN"
            | "CONTAINS_ANY"
            | "NOT_CONTAIN"
            | "NOT_CONTAINS_ANY"
            | "STARTS_WITH"
            | "ENDS_WITH"
    )
}

/// Code 100: an operator that the field does not support.
fn unsupported_operator(field: &str, operator: &str) -> SimulatedError {
    let operator = operator.to_ascii_lowercase();
    SimulatedError::invalid(format!(
        "Filtering field {field} with operation {operator} is not supported"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(filtering: &str) -> Result<Filter, SimulatedError> {
        Filter::parse(&ApiCall {
            query: vec![("filtering".to_owned(), filtering.to_owned())],
            ..ApiCall::default()
        })
    }

    #[test]
    fn action_type_conditions_are_intersected() {
        let filter = parse(
            "[{'field':'action_type','operator':'IN','value':['purchase','lead']},\
              {'field':'action_type','operator':'IN','value':['lead','other']}]",
        )
        .unwrap();
        assert_eq!(filter.action_types, Some(vec!["lead".to_owned()]));
    }

    #[test]
    fn missing_member_error_contains_the_index_of_the_condition() {
        let error =
            parse("[{'field':'id','operator':'IN','value':['1']},{'field':'id','operator':'IN'}]")
                .unwrap_err();
        assert!(
            error.message.contains("filtering[1]"),
            "the second condition should be named: {}",
            error.message
        );
    }

    #[test]
    fn unknown_operator_is_rejected() {
        let error = parse("[{'field':'name','operator':'LIKE','value':'x'}]").unwrap_err();
        assert_eq!(error.code, 100);
    }
}
