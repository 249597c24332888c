//! Scope of a rate limit of the API.

/// The set of requests that count against one rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// All businesses with an access token of the same app.
    App,
    /// One ad account.
    AdAccount,
}

impl LimitScope {
    /// Returns the scope of a limit by its name, the value of the `limit` label.
    ///
    /// `app` (from the header `X-App-Usage`) and `insights_app` (from
    /// `x-fb-ads-insights-throttle`) count for the app, all others for an ad account.
    pub fn from_name(limit: &str) -> Self {
        match limit {
            "app" | "insights_app" => Self::App,
            _ => Self::AdAccount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LimitScope;

    #[test]
    fn app_wide_limits_have_app_scope() {
        for limit in ["app", "insights_app"] {
            assert_eq!(LimitScope::from_name(limit), LimitScope::App, "{limit}");
        }
        for limit in ["ad_account", "insights_account", "ads_insights", "unknown"] {
            assert_eq!(
                LimitScope::from_name(limit),
                LimitScope::AdAccount,
                "{limit}"
            );
        }
    }
}
