//! Leave to send one request, and what its answer means for the next ones.

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Gate;
use super::holds::Why;
use super::lane::{Lane, Scope};
use crate::graph::error::{Class, Error, Scope as ErrorScope};
use crate::graph::usage::Headers;

/// Leave to send one request.
#[derive(Debug)]
pub(in crate::graph) struct Permit<'a> {
    pub(super) gate: &'a Gate,
    pub(super) lane: &'a Lane,
    /// Its places among the requests in flight, given back when it ends.
    pub(super) _permits: [Option<OwnedSemaphorePermit>; 3],
}

impl Permit<'_> {
    /// The request was answered: what that means for the next ones.
    pub(in crate::graph) fn leave(self, error: Option<&Error>, headers: &Headers) {
        let (lane, now) = (self.lane, Instant::now());
        self.gate.state(|state| {
            let unwell = error.is_some_and(|error| error.class == Class::Unavailable);
            state.business(&lane.business, self.gate.share).unwell = unwell;
            for (scope, spent) in state.quotas.observe(lane, headers, now) {
                if spent {
                    state
                        .holds
                        .hold(scope, Why::QuotaSpent, headers.regain, now);
                } else {
                    state.holds.spare(&scope);
                }
            }
            match error.map(|error| error.class) {
                Some(Class::Denied) => {
                    state.holds.hold(
                        Scope::Business(lane.business.clone()),
                        Why::Denied,
                        None,
                        now,
                    );
                }
                Some(Class::Throttled(ErrorScope::App)) => {
                    state.holds.hold(
                        Scope::App(lane.app.clone()),
                        Why::Throttled,
                        headers.regain,
                        now,
                    );
                }
                Some(Class::Throttled(ErrorScope::AdAccount)) => {
                    state
                        .holds
                        .hold(lane.account_scope(), Why::Throttled, headers.regain, now);
                }
                _ => {}
            }
        });
    }
}
