//! What changes about a business while it is polled: its token.

use jiff::Timestamp;

use crate::config;
use crate::graph::Credentials;
use crate::secret::SecretSource;
use crate::secret_store::{self, Unread};

/// A business, as the crank knows it.
#[derive(Debug)]
pub(super) struct Business {
    kept: SecretSource,
    app: Option<config::App>,
    /// What was asked with last, or `None` where there was nothing to be read.
    last: Option<Credentials>,
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
            last: None,
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
        let before = self.last.take();
        let credentials = match (self.read(), before.clone()) {
            (Ok(read), _) => read,
            // A machine that is short of something says nothing about the token.
            (Err(Unread::Passing(_)), Some(before)) => before,
            (Err(unread), _) => return Err(unread.to_string()),
        };
        if before.is_none_or(|before| before.token != credentials.token) {
            self.inspect_at = None;
        }
        self.last = Some(credentials.clone());
        Ok(credentials)
    }

    fn read(&self) -> Result<Credentials, Unread> {
        let app = self.app.as_ref();
        Ok(Credentials {
            token: secret_store::read(&self.kept)?,
            app_secret: app.map(|app| secret_store::read(&app.secret)).transpose()?,
        })
    }

    /// Whether its token was refused, and there is another one now.
    pub(super) fn has_another_token(&self) -> bool {
        let last = self.last.as_ref().map(|last| &last.token);
        self.refused && self.read().is_ok_and(|found| last != Some(&found.token))
    }
}
