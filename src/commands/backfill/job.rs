//! What is left to ask of a source, and what follows from an error: a pause, or an end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::work::{Work, lock};
use crate::app::Asker;
use crate::config::Business;
use crate::fault::Reason;
use crate::graph::{Class, Error, Lessons};
use crate::plan::{Days, PAGE_SIZE, Question, Subject};

/// Outages and nonsense in a row after which a source is left as it is: a few minutes of them.
const MOST_FAILURES: u32 = 5;

/// Pauses for a quota in a row, without an answer in between: some three hours of them.
const MOST_HOLDS: u32 = 12;

/// Refusals in a row: whoever is told no about three stretches of days will be told so about all.
const MOST_REFUSALS: u32 = 3;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// What is left to ask of a source.
pub(super) struct Job {
    pub(super) place: usize,
    /// Of each question the days to ask about, the oldest first.
    pub(super) gaps: Vec<(Question, VecDeque<Days>)>,
    /// How many days one question asks about; 0 until that is known.
    pub(super) days: usize,
    pub(super) lessons: Lessons,
    pub(super) not_before: Option<Instant>,
    pub(super) failures: u32,
    pub(super) holds: u32,
    pub(super) refusals: u32,
}

impl Job {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            gaps: Vec::new(),
            days: 0,
            lessons: Lessons {
                page_size: PAGE_SIZE,
                dropped: Vec::new(),
            },
            not_before: None,
            failures: 0,
            holds: 0,
            refusals: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.gaps.iter().all(|(_, gaps)| gaps.is_empty())
    }

    /// The next days to ask that question about.
    pub(super) fn take(&mut self, question: usize) -> Option<(Question, Days)> {
        let (question, gaps) = self.gaps.get_mut(question)?;
        let (days, rest) = gaps.pop_front()?.split(self.days);
        if let Some(rest) = rest {
            gaps.push_front(rest);
        }
        Some((*question, days))
    }
}

/// The first job that need not wait; where all must, the one whose wait ends first, then.
pub(super) async fn next(jobs: &mut VecDeque<Job>) -> Option<Job> {
    let now = Instant::now();
    let begins = |job: &Job| job.not_before.unwrap_or(now).max(now);
    let (place, _) = jobs
        .iter()
        .enumerate()
        .min_by_key(|(place, job)| (begins(job), *place))?;
    let mut job = jobs.remove(place)?;
    if let Some(until) = job.not_before.take() {
        sleep_until(until).await;
    }
    Some(job)
}

/// Where the asking ends early, and why.
pub(super) enum Over {
    /// Of one source.
    Source(String),
    /// Of a whole business.
    Business(String),
}

impl Work {
    /// What follows from an error: a pause, or an end.
    pub(super) fn after(
        &self,
        job: &mut Job,
        business: &Business,
        error: &Error,
    ) -> Result<(), Over> {
        let source = &self.plan.sources[job.place];
        let why = error.fault.to_string();
        match (error.class, error.fault.reason) {
            (Class::Denied, _) | (Class::Held, Reason::Denied) => return Err(Over::Business(why)),
            (Class::Forbidden, _) | (Class::Held, Reason::Forbidden) => {
                return Err(Over::Source(why));
            }
            (Class::Throttled(_) | Class::Held, _) => {
                job.holds += 1;
                if job.holds > MOST_HOLDS {
                    return Err(Over::Source(why));
                }
                let account = lock(&self.surveyed)
                    .get(&job.place)
                    .map(|s| s.account.clone());
                let account = account.or_else(|| match &source.subject {
                    Subject::AdAccount { id, .. } => Some(id.clone()),
                    Subject::Campaign(_) => None,
                });
                let asker =
                    Asker::new(business, account.as_ref(), &source.name).map_err(Over::Business)?;
                let now = Instant::now();
                let until = self.errand.held_until(&asker).unwrap_or(now);
                job.not_before = Some(until);
                self.held(source, until, &why);
            }
            (Class::Rejected, _) => {
                job.refusals += 1;
                self.fault(&[job.place], &why);
                if job.refusals >= MOST_REFUSALS || job.gaps.is_empty() {
                    return Err(Over::Source(why));
                }
            }
            (Class::Unavailable | Class::Garbled | Class::TooLarge, _) => {
                job.failures += 1;
                if job.failures >= MOST_FAILURES {
                    return Err(Over::Source(why));
                }
                let pause = FIRST_PAUSE.saturating_mul(1 << (job.failures - 1));
                let pause = pause.min(self.config.polling.backoff_max);
                job.not_before = Some(Instant::now() + pause);
                tracing::info!(business = business.name, source = %source.name, fault = why, ?pause, "asking again");
            }
        }
        Ok(())
    }
}
