//! State of a business between polls: its credentials and whether the API accepted them.

use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::config;
use crate::graph::Credentials;
use crate::model::SecretSource;
use crate::platform::secrets::{self, SecretError};

/// Maximum age of credentials with which a poll starts. Polls that start together share one read.
const MAX_CREDENTIALS_AGE: Duration = Duration::from_secs(1);

/// Result of reading the secrets of a business.
#[derive(Debug)]
pub(super) struct SecretRead {
    pub(super) business: Box<str>,
    pub(super) result: Result<Credentials, SecretError>,
}

/// End of the last read of the secrets.
#[derive(Debug)]
struct LastRead {
    ended_at: Instant,
    /// Names the source that contains no usable secret.
    error: Option<String>,
}

/// Credentials of a business and their state.
#[derive(Debug)]
pub(super) struct BusinessState {
    token_source: SecretSource,
    app: Option<config::MetaApp>,
    /// Credentials that were read last; `None` before the first read and after a failed one.
    last_credentials: Option<Credentials>,
    last_read: Option<LastRead>,
    /// Task that is reading the secrets.
    pub(super) running_read: Option<Id>,
    /// Whether the API rejected the access token.
    pub(super) token_rejected: bool,
    /// When the token's expiry is next queried; `None` means with the next poll.
    pub(super) inspect_at: Option<Instant>,
    /// When rejected fields are next requested again; `None` means with the next poll.
    pub(super) request_fields_at: Option<Instant>,
}

impl BusinessState {
    /// Creates the state of a business without reading its secrets.
    pub(super) fn new(business: &config::BusinessConfig) -> Self {
        Self {
            token_source: business.token.clone(),
            app: business.app.clone(),
            last_credentials: None,
            last_read: None,
            running_read: None,
            token_rejected: false,
            inspect_at: None,
            request_fields_at: None,
        }
    }

    /// Returns whether token and app are configured as when this state was created.
    pub(super) fn matches_config(&self, business: &config::BusinessConfig) -> bool {
        self.token_source == business.token && self.app == business.app
    }

    /// Returns the id of the app that issued the token, if it is configured.
    pub(super) fn app(&self) -> Option<Box<str>> {
        self.app.as_ref().map(|app| app.id.as_str().into())
    }

    /// Returns whether the expiry of the token can be queried, which needs the app secret.
    pub(super) fn can_inspect(&self) -> bool {
        let credentials = self.last_credentials.as_ref();
        self.app.is_some() && credentials.is_some_and(|read| read.app_secret.is_some())
    }

    /// Returns the credentials that were read last, of any age.
    pub(super) fn last_credentials(&self) -> Option<Credentials> {
        self.last_credentials.clone()
    }

    /// Returns the result of the last read of the secrets, or `None` if they must be read first.
    pub(super) fn credentials(&self, now: Instant) -> Option<Result<Credentials, String>> {
        let last_read = self.last_read.as_ref()?;
        if now.saturating_duration_since(last_read.ended_at) > MAX_CREDENTIALS_AGE {
            return None;
        }
        match (&last_read.error, &self.last_credentials) {
            (Some(error), _) => Some(Err(error.clone())),
            (None, Some(credentials)) => Some(Ok(credentials.clone())),
            (None, None) => None,
        }
    }

    /// Starts reading the secrets in `reads`, unless they are being read. Secrets are read for every poll, so that a
    /// changed file takes effect without a restart, and never by the scheduler itself, because a file can hang.
    pub(super) fn start_read(&mut self, name: &str, reads: &mut JoinSet<SecretRead>) {
        if self.running_read.is_some() {
            return;
        }
        let token_source = self.token_source.clone();
        let app_secret = self.app.as_ref().and_then(|app| app.secret.clone());
        let name = Box::from(name);
        let read = reads.spawn(async move {
            let credentials = async {
                Ok(Credentials {
                    token: secrets::read_secret_async(token_source).await?,
                    app_secret: match app_secret {
                        Some(source) => Some(secrets::read_secret_async(source).await?),
                        None => None,
                    },
                })
            };
            SecretRead {
                business: name,
                result: credentials.await,
            }
        });
        self.running_read = Some(read.id());
    }

    /// Whether the secrets are being read by this task.
    pub(super) fn is_reading(&self, id: Id) -> bool {
        self.running_read == Some(id)
    }

    /// Records the end of a read. Returns whether a token that was refused or unreadable has been replaced, or `None`
    /// if the read belongs to an earlier config.
    pub(super) fn finish_read(
        &mut self,
        id: Id,
        result: Result<Credentials, SecretError>,
        now: Instant,
    ) -> Option<bool> {
        if self.running_read != Some(id) {
            return None;
        }
        self.running_read = None;
        let had_error = self
            .last_read
            .as_ref()
            .is_some_and(|read| read.error.is_some());
        let error = match result {
            Ok(credentials) => {
                let previous = self.last_credentials.replace(credentials.clone());
                let is_new_token = previous
                    .as_ref()
                    .is_none_or(|previous| previous.token != credentials.token);
                if is_new_token {
                    self.inspect_at = None;
                }
                // The first token after a start can be the one of before, for which rejected fields are known.
                if is_new_token && (previous.is_some() || had_error) {
                    self.request_fields_at = None;
                }
                // A wrong app secret is rejected like a wrong token.
                let is_new = previous.as_ref() != Some(&credentials);
                self.last_read = Some(LastRead {
                    ended_at: now,
                    error: None,
                });
                return Some(had_error || self.token_rejected && is_new);
            }
            // A local shortage of resources does not invalidate the previous token.
            Err(SecretError::Transient(_)) if self.last_credentials.is_some() => None,
            Err(error) => {
                self.last_credentials = None;
                Some(error.to_string())
            }
        };
        self.last_read = Some(LastRead {
            ended_at: now,
            error,
        });
        Some(false)
    }

    /// Returns whether the secrets should be read again although no poll needs them: the API rejected the token, or it
    /// could not be read.
    pub(super) fn needs_recheck(&self) -> bool {
        let last_read = self.last_read.as_ref();
        self.token_rejected || last_read.is_some_and(|read| read.error.is_some())
    }
}
