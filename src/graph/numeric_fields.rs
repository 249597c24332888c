//! Numeric fields of insights that `insights.extra_fields` can name. All are fields of the class `AdsInsights` in Meta's
//! SDK for Python, version 26.0.3; `tests/meta_sdk.py` compares them. The SDK does not state which of its fields are
//! numbers, so that the list has only those with the name of a quantity, and a field that is missing here may be valid.

/// Fields with one number per row.
const NUMERIC_FIELDS: [&str; 52] = [
    "auction_bid",
    "auction_competitiveness",
    "auction_max_competitor_bid",
    "canvas_avg_view_percent",
    "canvas_avg_view_time",
    "clicks",
    "cost_per_estimated_ad_recallers",
    "cost_per_inline_link_click",
    "cost_per_inline_post_engagement",
    "cost_per_message_delivered",
    "cost_per_unique_click",
    "cost_per_unique_inline_link_click",
    "cpc",
    "cpm",
    "cpp",
    "ctr",
    "estimated_ad_recall_rate",
    "estimated_ad_recallers",
    "frequency",
    "full_view_impressions",
    "full_view_reach",
    "impressions",
    "inline_link_click_ctr",
    "inline_link_clicks",
    "inline_post_engagement",
    "instagram_upcoming_event_reminders_set",
    "marketing_messages_click_rate_benchmark",
    "marketing_messages_cost_per_delivered",
    "marketing_messages_cost_per_link_btn_click",
    "marketing_messages_delivered",
    "marketing_messages_delivery_rate",
    "marketing_messages_link_btn_click",
    "marketing_messages_link_btn_click_rate",
    "marketing_messages_media_view_rate",
    "marketing_messages_phone_call_btn_click_rate",
    "marketing_messages_quick_reply_btn_click",
    "marketing_messages_quick_reply_btn_click_rate",
    "marketing_messages_read",
    "marketing_messages_read_rate",
    "marketing_messages_read_rate_benchmark",
    "marketing_messages_sent",
    "marketing_messages_spend",
    "messages_delivered",
    "messages_delivered_ctr",
    "qualifying_question_qualify_answer_rate",
    "reach",
    "read_rate",
    "social_spend",
    "spend",
    "unique_clicks",
    "unique_ctr",
    "wish_bid",
];

/// Maximum edit distance between a field and the listed one that is suggested for it.
const MAX_SUGGESTION_DISTANCE: usize = 3;

/// Returns whether the field is in this release's list of numeric fields.
pub fn is_listed_field(field: &str) -> bool {
    NUMERIC_FIELDS.binary_search(&field).is_ok()
}

/// Returns the listed field that was probably meant.
pub fn suggested_field(field: &str) -> Option<&'static str> {
    let distances = NUMERIC_FIELDS.map(|known| (strsim::osa_distance(field, known), known));
    let (distance, known) = distances.into_iter().min()?;
    (distance <= MAX_SUGGESTION_DISTANCE).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::{NUMERIC_FIELDS, is_listed_field, suggested_field};
    use crate::model::InsightField;

    #[test]
    fn every_built_in_field_is_listed() {
        assert!(NUMERIC_FIELDS.is_sorted());
        for field in InsightField::ALL {
            let field = field.field();
            assert!(is_listed_field(field), "NUMERIC_FIELDS should have {field}");
        }
    }

    #[test]
    fn misspelled_field_has_a_suggestion() {
        let sent = Some("marketing_messages_sent");
        assert_eq!(suggested_field("marketing_messages_snet"), sent);
        assert_eq!(suggested_field("page_views"), None);
    }
}
