//! The work of a backfill: what its parts share, and the businesses side by side.
//!
//! `survey` finds out what there is to ask, `ask` asks it; `job` says what follows from an error.
//! What a fault costs is what it costs a poll: a refused token its business, a forbidden source
//! that source, a quota its ad account and only time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::progress::Progress;
use crate::app::Errand;
use crate::config::{Business, Config};
use crate::plan::{Days, Plan, Question, Source};
use crate::row::AccountId;
use crate::state::Journal;

/// What all the businesses' tasks share.
pub(super) struct Work {
    pub(super) config: Config,
    pub(super) plan: Plan,
    pub(super) days: Days,
    /// The wall clock.
    pub(super) now: fn() -> Timestamp,
    pub(super) errand: Errand,
    pub(super) journal: Mutex<Journal>,
    pub(super) progress: Progress,
    /// What is known of each source, once it was listed.
    pub(super) surveyed: Mutex<BTreeMap<usize, Surveyed>>,
    /// Why a source lacks days: the last fault.
    pub(super) faults: Mutex<BTreeMap<usize, String>>,
}

/// What there is to ask of a source.
#[derive(Clone, Debug)]
pub(super) struct Surveyed {
    /// The ad account that it is, or lies in.
    pub(super) account: AccountId,
    /// Its days that are over; `None` where none is.
    pub(super) days: Option<Days>,
    /// Those of them that Meta still knows: when the journal was begun it knew them all.
    pub(super) known: Option<Days>,
    /// When the newest of them ended.
    pub(super) newest: Option<Timestamp>,
    /// What can be asked about them.
    pub(super) questions: Vec<Question>,
    /// Its message campaigns.
    pub(super) campaigns: usize,
    /// The rows that the journal lacks, at most.
    pub(super) rows: usize,
    /// The calls that the journal lacks, at most.
    pub(super) calls: usize,
    /// Whether an ad account source of the same business shows it already, here or in
    /// another shard.
    pub(super) gives_way: bool,
}

impl Work {
    /// Lists every source, unless the journal knows it.
    pub(super) async fn survey(self: Arc<Self>) {
        self.each_business(|work, business, places| async move {
            work.survey_business(&business, &places).await;
        })
        .await;
    }

    /// Asks for every day that the journal lacks.
    pub(super) async fn ask(self: Arc<Self>) {
        self.each_business(|work, business, places| async move {
            work.ask_business(&business, &places).await;
        })
        .await;
    }

    /// Does something for every business that has sources here, and for those, at once.
    async fn each_business<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        act: impl Fn(Arc<Self>, Business, Vec<usize>) -> F,
    ) {
        // Dropping it, as a signal does, ends them all.
        let mut tasks = tokio::task::JoinSet::new();
        let polled = self.plan.businesses();
        let businesses = self.config.businesses.iter();
        for business in businesses.filter(|one| polled.contains_key(one.name.as_str())) {
            let sources = self.plan.sources.iter().enumerate();
            let ours = sources.filter(|(_, source)| *source.business == *business.name);
            let places = ours.map(|(place, _)| place).collect();
            tasks.spawn(act(Arc::clone(self), business.clone(), places));
        }
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                // What it left out is told as missing.
                tracing::error!("a part of this program failed; please report this");
            }
        }
    }

    /// The days of a source that one question was not answered for.
    pub(super) fn gaps(&self, place: usize, question: Question, days: Days) -> Vec<Days> {
        days.without(lock(&self.journal).answered(place, question))
    }

    pub(super) fn held(&self, source: &Source, until: Instant, why: &str) {
        let until = (self.now)() + until.saturating_duration_since(Instant::now());
        self.progress
            .held(&source.business, &source.name, until, why);
    }

    pub(super) fn fault(&self, places: &[usize], why: &str) {
        let mut faults = lock(&self.faults);
        for place in places {
            faults.insert(*place, why.to_owned());
        }
    }
}

/// Nothing panics while it holds one of these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
