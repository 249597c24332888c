//! Queries of token expiry: a queue that holds each business at most once, and sends one request at a time.
//!
//! Polls do not wait for them, because only metrics depend on the result.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::state::Scheduler;
use crate::graph::{RequestScope, Session, TokenInfo, inspect};

/// Time between two inspections of a token.
const INSPECTION_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Time after which a failed inspection is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A business and the properties of its token; `None` if they are not known.
pub(super) type Inspection = (Box<str>, Option<TokenInfo>);

/// Businesses with tokens to be inspected, and the running inspection.
#[derive(Debug, Default)]
pub(super) struct Inspections {
    queue: VecDeque<Box<str>>,
    task: JoinSet<Inspection>,
}

impl Inspections {
    /// Whether an inspection is running.
    pub(super) fn is_running(&self) -> bool {
        !self.task.is_empty()
    }

    /// Waits for the end of the running inspection; `None` if there is none.
    pub(super) async fn join_next(&mut self) -> Option<Result<Inspection, JoinError>> {
        self.task.join_next().await
    }

    fn push(&mut self, business: &str) {
        if !self.queue.iter().any(|queued| queued.as_ref() == business) {
            self.queue.push_back(business.into());
        }
    }
}

impl Scheduler {
    /// Queues the inspection of a token, if it is due.
    pub(super) fn queue_inspection(&mut self, business: &str) {
        let now = Instant::now();
        if let Some(state) = self.businesses.get_mut(business)
            && state.can_inspect()
            && state.inspect_at.is_none_or(|at| at <= now)
        {
            state.inspect_at = Some(now + INSPECTION_INTERVAL);
            self.inspections.push(business);
        }
    }

    /// Starts the next inspection, unless one is running.
    pub(super) fn start_inspection(&mut self) {
        while !self.inspections.is_running() {
            let Some(name) = self.inspections.queue.pop_front() else {
                return;
            };
            let Some(business) = self.businesses.get(&name) else {
                continue;
            };
            let (Some(app), Some(credentials)) = (business.app(), business.last_credentials())
            else {
                continue;
            };
            let scope = RequestScope {
                business: name,
                app: Some(app.clone()),
                account: None,
                source: Box::default(),
            };
            let caller = self.caller(scope, credentials);
            let on_call = self.call_recorder(&caller);
            self.inspections.task.spawn(async move {
                let session = Session {
                    caller: &caller,
                    deadline: None,
                    max_attempts: 1,
                    on_call: &on_call,
                };
                let result = inspect(session, &app).await;
                let info = result.unwrap_or_else(|error| {
                    let business = caller.scope.business.as_ref();
                    tracing::debug!(business, error = %error.error, "token inspection failed; expiry unknown");
                    None
                });
                (caller.scope.business.clone(), info)
            });
        }
    }

    /// Records the expiry of an access token.
    pub(super) fn record_token_info(&mut self, inspected: Result<Inspection, JoinError>) {
        match inspected {
            Ok((name, info)) => {
                if let Some(business) = self.businesses.get_mut(&name) {
                    match info {
                        Some(info) => self.deps.health.update(&name, |health| {
                            health.token_expires = info.expires_at;
                            health.data_access_expires = info.data_access_expires_at;
                        }),
                        None => business.inspect_at = Some(Instant::now() + RETRY_INTERVAL),
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "token inspection panicked; please report this bug");
            }
        }
        self.prune_removed();
    }
}
