//! When the next request may go: concurrency is bounded and shared fairly over businesses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Class, Error};
use super::usage::Headers;
use crate::fault::Reason;
use crate::row::AccountId;

/// The one gate that every request of the exporter passes.
#[derive(Debug)]
pub struct Gate {
    /// Requests in flight, over all businesses.
    all: Arc<Semaphore>,
    /// How many of them one business may have: a quarter, so that three others always find room.
    share: usize,
    businesses: Mutex<HashMap<Box<str>, Business>>,
}

/// In whose name a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// Whose token.
    pub business: Box<str>,
    /// The ad account that is asked about, where that is known.
    pub account: Option<AccountId>,
}

#[derive(Debug)]
struct Business {
    /// Its requests in flight.
    lanes: Arc<Semaphore>,
    /// Whether its token was refused: nothing more is asked with it.
    denied: bool,
}

/// Leave to send one request.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    business: &'a str,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Gate {
    /// A gate that lets `concurrency` requests be in flight at a time.
    pub fn new(concurrency: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(concurrency.max(1))),
            share: (concurrency / 4).max(1),
            businesses: Mutex::default(),
        }
    }

    /// A business has another token: its requests may go again.
    pub fn admit(&self, business: &str) {
        self.with(business, |state| state.denied = false);
    }

    /// Waits for leave to send one request.
    ///
    /// # Errors
    /// At once, where waiting would not help.
    pub(super) async fn enter<'a>(&'a self, lane: &'a Lane) -> Result<Permit<'a>, Error> {
        let lanes = self.with(&lane.business, |state| Arc::clone(&state.lanes));
        let closed = |_| Error::unavailable("the exporter is shutting down");
        let own = lanes.acquire_owned().await.map_err(closed)?;
        let all = Arc::clone(&self.all)
            .acquire_owned()
            .await
            .map_err(closed)?;
        if self.with(&lane.business, |state| state.denied) {
            return Err(Error::held(
                Reason::Denied,
                "not asked: the access token was refused before",
            ));
        }
        Ok(Permit {
            gate: self,
            business: &lane.business,
            _permits: [own, all],
        })
    }

    fn with<T>(&self, business: &str, act: impl FnOnce(&mut Business) -> T) -> T {
        // Nothing panics while it holds this lock; and if it did, the state would still be sound.
        let mut businesses = self
            .businesses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = businesses.get_mut(business) {
            return act(state);
        }
        let state = businesses
            .entry(business.into())
            .or_insert_with(|| Business {
                lanes: Arc::new(Semaphore::new(self.share)),
                denied: false,
            });
        act(state)
    }
}

impl Permit<'_> {
    /// The request was answered: what that means for the next ones.
    pub(super) fn leave(self, error: Option<&Error>, _headers: &Headers) {
        if error.is_some_and(|error| error.class == Class::Denied) {
            self.gate.with(self.business, |state| state.denied = true);
        }
    }
}
