//! Lists `actions`, `action_values` and `website_purchase_roas`: one number per action type.

use serde_json::Value;

use super::scalar::row_value;
use crate::model::{ActionList, RowValue, ValueKind};

/// Reads one list into the columns of its action types. Returns the number of invalid entries.
///
/// Attribution windows are ignored, because they overlap with `value`.
pub(super) fn read_actions(
    json: &Value,
    list: ActionList,
    action_types: &[String],
    columns: &mut [RowValue],
) -> usize {
    let entries = match json {
        Value::Null => return 0,
        Value::Array(entries) => entries,
        _ => {
            columns.fill(RowValue::Invalid);
            return 1;
        }
    };
    let kind = match list {
        ActionList::Counts => ValueKind::Count,
        // Refunds are negative.
        ActionList::Values | ActionList::Returns => ValueKind::Money,
    };
    let mut invalid = 0;
    let mut is_identified = true;
    for entry in entries {
        let Some(action_type) = entry.get("action_type").and_then(Value::as_str) else {
            is_identified = false;
            invalid += 1;
            continue;
        };
        let Some(idx) = action_types.iter().position(|name| name == action_type) else {
            continue;
        };
        let Some(column) = columns.get_mut(idx) else {
            continue;
        };
        let value = entry.get("value");
        *column = match (*column, value.map(|value| row_value(value, kind))) {
            (RowValue::Missing, Some(RowValue::Present(number))) => RowValue::Present(number),
            // The action happened, but its number is unknown: it has no valid value, or two.
            _ => RowValue::Invalid,
        };
        if *column == RowValue::Invalid {
            invalid += 1;
        }
    }
    if !is_identified {
        // The entry without a type can be that of any type without another entry.
        for column in columns
            .iter_mut()
            .filter(|column| **column == RowValue::Missing)
        {
            *column = RowValue::Invalid;
        }
    }
    invalid
}
