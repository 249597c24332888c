//! What changes about a business while it is polled: its token.

use jiff::Timestamp;

use crate::config;
use crate::graph::Credentials;
use crate::secret::{Secret, SecretSource};
use crate::secret_store;

/// A business, as the crank knows it.
#[derive(Debug)]
pub(super) struct Business {
    kept: SecretSource,
    app: Option<config::App>,
    /// The token that was asked with last, or `None` where there was none to be read.
    token: Option<Secret>,
    /// Whether that token was refused.
    pub(super) refused: bool,
    /// When the API is to be asked about the token.
    pub(super) inspect_at: Option<Timestamp>,
}

impl Business {
    /// As the config has it; nothing is read yet.
    pub(super) fn new(business: &config::Business) -> Self {
        Self {
            kept: business.token.clone(),
            app: business.app.clone(),
            token: None,
            refused: false,
            inspect_at: None,
        }
    }

    /// Whether the config still says the same of it.
    pub(super) fn is(&self, business: &config::Business) -> bool {
        self.kept == business.token && self.app == business.app
    }

    /// The app that its token is of, where the config says.
    pub(super) fn app(&self) -> Option<Box<str>> {
        self.app.as_ref().map(|app| app.id.as_str().into())
    }

    /// What to ask with; read anew for every poll, so that a changed file needs no restart.
    ///
    /// # Errors
    /// A sentence that names the place that holds no token.
    pub(super) fn credentials(&mut self) -> Result<Credentials, String> {
        let before = self.token.take();
        let app_secret = self
            .app
            .as_ref()
            .map(|app| secret_store::read(&app.secret))
            .transpose()?;
        let token = secret_store::read(&self.kept)?;
        if before.as_ref() != Some(&token) {
            self.inspect_at = None;
        }
        self.token = Some(token.clone());
        Ok(Credentials { token, app_secret })
    }

    /// Whether its token was refused, and there is another one now.
    pub(super) fn has_another_token(&self) -> bool {
        let app_secret = self.app.as_ref().map(|app| secret_store::read(&app.secret));
        self.refused
            && app_secret.is_none_or(|read| read.is_ok())
            && secret_store::read(&self.kept).is_ok_and(|found| self.token.as_ref() != Some(&found))
    }
}
