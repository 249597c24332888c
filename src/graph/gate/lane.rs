//! In whose name a request goes, and what is left alone or counted together with it.

use crate::row::AccountId;

/// In whose name a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// Whose token.
    pub business: Box<str>,
    /// The app that the token is of; businesses without a configured one are taken to share one.
    pub app: Option<Box<str>>,
    /// The ad account that is asked about, where that is known.
    pub account: Option<AccountId>,
    /// The source.
    pub source: Box<str>,
}

/// What is left alone, or counted, together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// Every business of one app.
    App(Option<Box<str>>),
    /// A business.
    Business(Box<str>),
    /// An ad account, whoever asks about it.
    AdAccount(AccountId),
    /// Whatever a business asks about before anybody knows in which ad account that is.
    Unplaced(Box<str>),
    /// One source of a business.
    Source(Box<str>, Box<str>),
}

impl Lane {
    /// The lane of an app itself: a business of its own, under a name that no config can give.
    pub(in crate::graph) fn of_app(id: &str) -> Self {
        Self {
            business: format!("\0app {id}").into(),
            app: Some(id.into()),
            account: None,
            source: Box::default(),
        }
    }

    /// Everything that the lane's requests belong to.
    pub(super) fn scopes(&self) -> [Scope; 4] {
        [
            Scope::App(self.app.clone()),
            Scope::Business(self.business.clone()),
            self.account_scope(),
            Scope::Source(self.business.clone(), self.source.clone()),
        ]
    }

    /// Its ad account, as far as that is known.
    pub(super) fn account_scope(&self) -> Scope {
        match &self.account {
            Some(account) => Scope::AdAccount(account.clone()),
            None => Scope::Unplaced(self.business.clone()),
        }
    }
}
