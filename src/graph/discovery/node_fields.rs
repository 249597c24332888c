//! Fields of nodes that discovery requests, and those that the API rejects.

use super::super::error::{ApiError, ErrorKind};

/// Type of a node with the fields that discovery requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeType {
    Account,
    Campaign,
    Adset,
    Ad,
}

impl NodeType {
    const ALL: [Self; 4] = [Self::Account, Self::Campaign, Self::Adset, Self::Ad];

    /// Returns the prefix of the names of its rejected fields.
    fn prefix(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Campaign => "campaign",
            Self::Adset => "adset",
            Self::Ad => "ad",
        }
    }

    /// Returns Meta's name of the type.
    fn api_name(self) -> &'static str {
        match self {
            Self::Account => "AdAccount",
            Self::Campaign => "Campaign",
            Self::Adset => "AdSet",
            Self::Ad => "Ad",
        }
    }

    /// Returns the fields without which the node cannot be used.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Account => &[],
            Self::Campaign => &["id", "effective_status", "is_message_campaign"],
            Self::Adset | Self::Ad => &["id", "effective_status"],
        }
    }

    /// Returns the fields that can be left out.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Account => &[
                "name",
                "currency",
                "timezone_name",
                "account_status",
                "disable_reason",
                "balance",
                "spend_cap",
                "amount_spent",
            ],
            Self::Campaign => &[
                "name",
                "objective",
                "start_time",
                "stop_time",
                "updated_time",
                "daily_budget",
                "lifetime_budget",
                "issues_info",
            ],
            Self::Adset => &[
                "name",
                "daily_budget",
                "lifetime_budget",
                "start_time",
                "end_time",
            ],
            Self::Ad => &["name"],
        }
    }

    /// Returns the value of `fields`, without the rejected ones.
    pub(super) fn fields(self, rejected: &[String]) -> String {
        let is_accepted = |field: &&&str| !rejected.contains(&self.qualified(field));
        let optional = self.optional().iter().filter(is_accepted);
        let fields: Vec<&str> = self.required().iter().chain(optional).copied().collect();
        fields.join(",")
    }

    /// Returns the name of a field among the rejected ones.
    fn qualified(self, field: &str) -> String {
        format!("{}.{field}", self.prefix())
    }
}

/// Returns the field of a node that an error message rejects.
fn rejected_node_field(message: &str, rejected: &[String]) -> Option<String> {
    let cause = message.split("must be one of").next().unwrap_or(message);
    let words: Vec<&str> = cause
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .collect();
    let named_type = NodeType::ALL
        .into_iter()
        .find(|kind| cause.contains(&format!("node type ({})", kind.api_name())));
    NodeType::ALL
        .into_iter()
        .filter(|kind| named_type.is_none_or(|named| named == *kind))
        .find_map(|kind| {
            let mut fields = kind.optional().iter();
            let field = fields.find(|field| {
                // In a sentence, a plain word such as "name" is rarely the name of a field.
                let is_named = if field.contains('_') {
                    words.contains(*field)
                } else {
                    cause.contains(&format!("({field})"))
                };
                is_named && !rejected.contains(&kind.qualified(field))
            });
            field.map(|field| kind.qualified(field))
        })
}

/// Adds the field that an error rejects to the rejected ones; returns whether there is one.
pub(super) fn drop_field(error: &ApiError, rejected_fields: &mut Vec<String>) -> bool {
    if error.kind != ErrorKind::Rejected || error.error.code != Some(100) {
        return false;
    }
    let field = rejected_node_field(&error.error.message, rejected_fields);
    let is_found = field.is_some();
    rejected_fields.extend(field);
    is_found
}

#[cfg(test)]
mod tests {
    use super::rejected_node_field;

    #[test]
    fn rejected_field_is_found_in_the_message() {
        for (message, field) in [
            (
                "(#100) Tried accessing nonexisting field (objective) on node type (Campaign)",
                Some("campaign.objective"),
            ),
            (
                "(#100) Tried accessing nonexisting field (start_time) on node type (AdSet)",
                Some("adset.start_time"),
            ),
            (
                "(#100) Tried accessing nonexisting field (balance)",
                Some("account.balance"),
            ),
            // An id that belongs to an ad.
            (
                "(#100) Tried accessing nonexisting field (objective) on node type (Ad)",
                None,
            ),
            ("(#100) is_message_campaign is not valid", None),
            ("Invalid parameter name", None),
        ] {
            assert_eq!(
                rejected_node_field(message, &[]).as_deref(),
                field,
                "{message}"
            );
        }
        let known = ["campaign.start_time".to_owned()];
        assert_eq!(
            rejected_node_field("field start_time is not valid", &known).as_deref(),
            Some("adset.start_time")
        );
    }
}
