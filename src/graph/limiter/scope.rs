//! Scopes: what a request belongs to, and what is paused or counted together.

use crate::model::AccountId;

/// What a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestScope {
    /// Name of the business that owns the access token.
    pub business: Box<str>,
    /// Id of the app that issued the token; `None` if it is not configured. Such a business shares
    /// the limits of an app with no other one.
    pub app: Option<Box<str>>,
    /// Ad account that is queried; `None` while that of a campaign source is unknown.
    pub account: Option<AccountId>,
    /// Name of the source.
    pub source: Box<str>,
}

/// Kind of a request, which determines the limits that it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Insights (business use case `ads_insights`).
    Insights,
    /// Campaigns, ads and ad accounts (business use case `ads_management`).
    Management,
    /// Properties of a token. These requests pause and slow no others.
    Token,
}

/// What is paused, or counted, together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PauseScope {
    /// All requests of one app.
    App(Box<str>),
    /// Insights of one app.
    AppInsights(Box<str>),
    /// One business.
    Business(Box<str>),
    /// All requests for one ad account, whichever business sends them.
    Account(AccountScope),
    /// The requests of one kind for one ad account.
    AccountLimit(AccountScope, RequestKind),
    /// One source of a business.
    Source(Box<str>, Box<str>),
}

/// Ad account of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum AccountScope {
    /// A known ad account.
    Known(AccountId),
    /// The requests of one business for sources of a still unknown ad account.
    Unknown(Box<str>),
}

impl RequestScope {
    /// Returns the scope of requests that authenticate as the app. Its business name starts with a
    /// NUL character, which no configured name contains.
    pub(in crate::graph) fn for_app(id: &str) -> Self {
        Self {
            business: format!("\0app {id}").into(),
            app: Some(id.into()),
            account: None,
            source: Box::default(),
        }
    }

    /// Returns all scopes that a request of this kind belongs to.
    pub(super) fn pause_scopes(&self, kind: RequestKind) -> Vec<PauseScope> {
        let business = PauseScope::Business(self.business.clone());
        let account = self.account_scope();
        match kind {
            RequestKind::Token => vec![business],
            RequestKind::Insights | RequestKind::Management => {
                let mut scopes = vec![
                    PauseScope::App(self.app_key()),
                    business,
                    PauseScope::Account(account.clone()),
                    PauseScope::AccountLimit(account, kind),
                    PauseScope::Source(self.business.clone(), self.source.clone()),
                ];
                if kind == RequestKind::Insights {
                    scopes.push(PauseScope::AppInsights(self.app_key()));
                }
                scopes
            }
        }
    }

    /// Returns the key of the app. A business without one has a separate key.
    pub(super) fn app_key(&self) -> Box<str> {
        match &self.app {
            Some(app) => app.clone(),
            None => format!("\0business {}", self.business).into(),
        }
    }

    /// Returns the scope of the ad account, or of the business' requests without a known one.
    pub(super) fn account_scope(&self) -> AccountScope {
        match &self.account {
            Some(account) => AccountScope::Known(account.clone()),
            None => AccountScope::Unknown(self.business.clone()),
        }
    }

    /// Returns the scope of the limit that a usage header names. `id` is that of the header's
    /// entry. `None` if the limit does not apply to requests of the exporter: that of another
    /// object or business use case, or the app's limit for plain Graph API calls, which does not
    /// count calls of the Marketing API.
    pub(super) fn limit_scope(&self, limit: &str, id: Option<&str>) -> Option<PauseScope> {
        let is_other = match (&self.account, id) {
            (Some(account), Some(id)) => id.strip_prefix("act_").unwrap_or(id) != account.digits(),
            _ => false,
        };
        let account = self.account_scope();
        match limit {
            _ if is_other => None,
            "insights_app" => Some(PauseScope::AppInsights(self.app_key())),
            "ad_account" => Some(PauseScope::Account(account)),
            "insights_account" | "ads_insights" => {
                Some(PauseScope::AccountLimit(account, RequestKind::Insights))
            }
            "ads_management" => Some(PauseScope::AccountLimit(account, RequestKind::Management)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AccountScope, PauseScope, RequestKind, RequestScope};
    use crate::model::AccountId;

    fn scope(business: &str, app: Option<&str>) -> RequestScope {
        RequestScope {
            business: business.into(),
            app: app.map(Into::into),
            account: AccountId::parse("1"),
            source: "act_1".into(),
        }
    }

    #[test]
    fn app_is_shared_only_by_its_id() {
        let key = |business, app| scope(business, app).app_key();
        assert_eq!(key("acme", Some("7")), key("globex", Some("7")));
        assert_ne!(key("acme", Some("7")), key("globex", Some("8")));
        assert_ne!(key("acme", None), key("globex", None));
        assert_ne!(key("7", None), key("acme", Some("7")));
    }

    #[test]
    fn header_entries_of_other_objects_and_use_cases_have_no_scope() {
        let acme = scope("acme", None);
        let account = AccountScope::Known(AccountId::parse("1").unwrap());
        let insights = PauseScope::AccountLimit(account.clone(), RequestKind::Insights);
        let management = PauseScope::AccountLimit(account.clone(), RequestKind::Management);
        for (limit, id, expected) in [
            ("ads_insights", Some("1"), Some(insights.clone())),
            ("ads_insights", Some("act_1"), Some(insights.clone())),
            ("ads_insights", Some("2"), None),
            ("ads_management", Some("1"), Some(management)),
            ("messenger", Some("1"), None),
            ("insights_account", None, Some(insights)),
            ("ad_account", None, Some(PauseScope::Account(account))),
            ("app", None, None),
        ] {
            assert_eq!(acme.limit_scope(limit, id), expected, "{limit} of {id:?}");
        }
        let unknown = RequestScope {
            account: None,
            ..acme
        };
        assert!(unknown.limit_scope("ads_insights", Some("1")).is_some());
    }
}
