//! Asks for everything that the journal lacks, business by business, side by side.
//!
//! What a fault costs is what it costs a poll: a refused token its business, a forbidden source
//! that source, a quota its ad account and only time. What passes is asked again; what is too
//! large is asked for fewer days. Every answer is in the journal before the next question.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use tokio::time::{Instant, sleep_until};

use super::progress::Progress;
use crate::app::{Asker, Errand};
use crate::config::{Business, Config};
use crate::fault::Reason;
use crate::graph::{self, Class, Error, Lessons};
use crate::listing::Listing;
use crate::plan::{Days, PAGE_SIZE, Plan, Question, Source, Subject};
use crate::row::{AccountId, Row};
use crate::state::Journal;

/// Outages and nonsense in a row after which a source is left as it is: a few minutes of them.
const MOST_FAILURES: u32 = 5;

/// Pauses for a quota in a row, without an answer in between: some three hours of them.
const MOST_HOLDS: u32 = 12;

/// Refusals in a row: whoever is told no about three stretches of days will be told so about all.
const MOST_REFUSALS: u32 = 3;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// How old a listing in the journal may be: it is read again after that, for new campaigns.
const LISTING_KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

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
    /// Whether an ad account source of the same business shows it already.
    pub(super) gives_way: bool,
}

/// Where the asking of a business ends early.
enum Over {
    Source(String),
    Business(String),
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

    /// Does something for every enabled business and its sources at once.
    async fn each_business<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        act: impl Fn(Arc<Self>, Business, Vec<usize>) -> F,
    ) {
        // Dropping it, as a signal does, ends them all.
        let mut tasks = tokio::task::JoinSet::new();
        for business in self.config.businesses.iter().filter(|b| b.enabled) {
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

    async fn survey_business(&self, business: &Business, places: &[usize]) {
        let mut jobs: VecDeque<Job> = places.iter().map(|place| Job::new(*place)).collect();
        while let Some(mut job) = next(&mut jobs).await {
            let (place, source) = (job.place, &self.plan.sources[job.place]);
            match self.listing(business, place).await {
                Ok(listing) => self.surveyed(place, source, &listing),
                Err(Missed::Unread(why)) => self.unlisted(&[place], &why),
                Err(Missed::Error(error)) => match self.after(&mut job, business, &error) {
                    Ok(()) => jobs.push_back(job),
                    Err(Over::Source(why)) => self.unlisted(&[place], &why),
                    Err(Over::Business(why)) => {
                        let left = jobs.iter().map(|job| job.place);
                        let left: Vec<usize> = left.chain([place]).collect();
                        self.unlisted(&left, &why);
                        break;
                    }
                },
            }
        }
        self.settle(places);
    }

    /// Sources that cannot be listed now: what an earlier run found of them still serves to tell
    /// what it brought.
    fn unlisted(&self, places: &[usize], why: &str) {
        self.fault(places, why);
        for place in places {
            let kept = lock(&self.journal).listing(*place).ok().flatten();
            if let Some(listing) = kept {
                self.surveyed(*place, &self.plan.sources[*place], &listing);
            }
        }
    }

    /// What there is to know of a source: from the journal, where it is not too old.
    async fn listing(&self, business: &Business, place: usize) -> Result<Listing, Missed> {
        let source = &self.plan.sources[place];
        let kept = lock(&self.journal).listing(place);
        let kept = kept.map_err(|error| Missed::Unread(format!("the journal: {error}")))?;
        let fresh = |listing: &Listing| (self.now)().duration_since(listing.at) < LISTING_KEPT;
        let zone = kept.as_ref().and_then(|kept| kept.account.timezone.clone());
        if let Some(listing) = kept.filter(fresh) {
            return Ok(listing);
        }
        let account = match &source.subject {
            Subject::AdAccount { id, .. } => Some(id),
            Subject::Campaign(_) => None,
        };
        let asker = Asker::new(business, account, &source.name).map_err(Missed::Unread)?;
        self.progress.at(&source.business, &source.name);
        let at = (self.now)();
        let found = self.errand.ask(&asker, async |session| {
            graph::discover(session, source, at).await
        });
        let listing = found.await.map_err(Missed::Error)?;
        if zone.is_some() && zone != listing.account.timezone {
            return Err(Missed::Unread(format!(
                "the time zone of {} is another one than when the journal was begun; remove the journal, since its days are others",
                listing.account.id
            )));
        }
        let kept = lock(&self.journal).keep_listing(place, &listing);
        kept.map_err(|error| Missed::Unread(format!("the journal: {error}")))?;
        Ok(listing)
    }

    fn surveyed(&self, place: usize, source: &Source, listing: &Listing) {
        let account = &listing.account;
        let Some(zone) = account.timezone.clone() else {
            let id = &account.id;
            return self.fault(
                &[place],
                &format!("the time zone of {id} could not be read: nobody knows when its days end"),
            );
        };
        let today = (self.now)().to_zoned(zone.clone()).date();
        let days = over(self.days, today);
        let closing = days.and_then(|days| days.until().tomorrow().ok()?.to_zoned(zone).ok());
        // At level account there may be too many campaigns for one true answer.
        let possible = |question: &Question| source.daily(*question, listing, self.days).is_some();
        let questions: Vec<Question> = source
            .questions()
            .iter()
            .copied()
            .filter(possible)
            .collect();
        if questions.len() < source.questions().len() {
            tracing::warn!(business = %source.business, source = %source.name, "too many campaigns for the conversions of the ad account as a whole: they are left out, as on the page");
        }
        let lacking = |question: &Question| {
            let gaps = days.map(|days| self.gaps(place, *question, days));
            gaps.into_iter().flatten().map(Days::count).sum::<usize>()
        };
        let lacking: Vec<usize> = questions.iter().map(lacking).collect();
        let calls = lacking.iter().map(|days| source.calls(listing, *days));
        let surveyed = Surveyed {
            account: account.id.clone(),
            days,
            newest: closing.map(|closing| closing.timestamp()),
            campaigns: listing.campaigns.len(),
            calls: calls.sum(),
            rows: lacking.iter().sum::<usize>() * source.rows_a_day(listing).max(1),
            questions,
            gives_way: false,
        };
        lock(&self.surveyed).insert(place, surveyed);
    }

    /// Campaign sources that an ad account source of the same business shows already.
    fn settle(&self, places: &[usize]) {
        let of = |place: &&usize| match &self.plan.sources[**place].subject {
            Subject::Campaign(id) => Some(id),
            Subject::AdAccount { .. } => None,
        };
        if !places.iter().any(|place| of(&place).is_some()) {
            return;
        }
        let journal = lock(&self.journal);
        let accounts = places.iter().filter(|place| of(place).is_none());
        let listings = accounts.filter_map(|place| journal.listing(*place).ok().flatten());
        let campaigns = listings.flat_map(|listing| listing.campaigns);
        let listed: BTreeSet<_> = campaigns.map(|campaign| campaign.id).collect();
        let mut surveyed = lock(&self.surveyed);
        for place in places {
            if let (Some(id), Some(found)) = (of(&place), surveyed.get_mut(place)) {
                found.gives_way = listed.contains(id);
            }
        }
    }

    /// The days of a source that one question was not answered for.
    pub(super) fn gaps(&self, place: usize, question: Question, days: Days) -> Vec<Days> {
        days.without(lock(&self.journal).answered(place, question))
    }

    async fn ask_business(&self, business: &Business, places: &[usize]) {
        let mut jobs = VecDeque::new();
        for place in places {
            let surveyed = lock(&self.surveyed).get(place).cloned();
            let Some(found) = surveyed.filter(|found| !found.gives_way) else {
                continue;
            };
            let Some(days) = found.days else { continue };
            let mut job = Job::new(*place);
            for question in found.questions {
                let gaps = self.gaps(*place, question, days);
                job.gaps.push((question, gaps.into()));
            }
            if !job.is_done() {
                jobs.push_back(job);
            }
        }
        while let Some(mut job) = next(&mut jobs).await {
            let place = job.place;
            match self.ask_source(business, &mut job).await {
                Ok(()) if job.is_done() => {}
                // First: a source is finished before the next one, unless it has to wait.
                Ok(()) => jobs.push_front(job),
                Err(Over::Source(why)) => self.fault(&[place], &why),
                Err(Over::Business(why)) => {
                    let left: Vec<usize> = jobs.iter().map(|job| job.place).collect();
                    self.fault(&[place], &why);
                    self.fault(&left, &why);
                    return;
                }
            }
        }
    }

    /// Asks as long as answers come; ends where it has to wait.
    async fn ask_source(&self, business: &Business, job: &mut Job) -> Result<(), Over> {
        let (place, source) = (job.place, &self.plan.sources[job.place]);
        let listing = lock(&self.journal).listing(place);
        let unread = || Over::Source("the journal holds no listing".to_owned());
        let listing = listing.ok().flatten().ok_or_else(unread)?;
        let account = &listing.account.id;
        let asker = Asker::new(business, Some(account), &source.name).map_err(Over::Business)?;
        if job.days == 0 {
            job.days = source.days_a_question(&listing);
        }
        loop {
            let (first, second) = (job.take(0), job.take(1));
            if first.is_none() && second.is_none() {
                return Ok(());
            }
            self.progress.at(&source.business, &source.name);
            let lessons = &job.lessons;
            let (first, second) = tokio::join!(
                self.question(&asker, source, &listing, lessons, first),
                self.question(&asker, source, &listing, lessons, second),
            );
            let mut failed = None;
            for (at, asked) in [first, second].into_iter().enumerate() {
                let Some(asked) = asked else { continue };
                job.lessons.page_size = job.lessons.page_size.min(asked.lessons.page_size);
                for field in asked.lessons.dropped {
                    if !job.lessons.dropped.contains(&field) {
                        tracing::warn!(business = business.name, source = %source.name, field, "the API does not take a field: it is left out from here on");
                        job.lessons.dropped.push(field);
                    }
                }
                match asked.answer {
                    Ok((rows, withheld)) => {
                        let question = job.gaps[at].0;
                        lock(&self.journal)
                            .keep(place, question, asked.days, rows, withheld)
                            .map_err(|error| Over::Business(format!("the journal: {error}")))?;
                        let done = asked.days.count() * source.rows_a_day(&listing).max(1);
                        self.progress.answered(done, self.errand.heard().calls);
                        (job.failures, job.holds, job.refusals) = (0, 0, 0);
                    }
                    Err(error) => {
                        if error.class == Class::TooLarge {
                            let days = asked.days.count();
                            if days == 1 && job.lessons.page_size == 1 {
                                return Err(Over::Source(error.fault.to_string()));
                            }
                            job.days = job.days.min((days / 2).max(1));
                            tracing::info!(business = business.name, source = %source.name, days = job.days, page_size = job.lessons.page_size, "the API cannot tell of so many days at once, asking for fewer");
                            job.gaps[at].1.push_front(asked.days);
                        } else {
                            if error.class != Class::Rejected {
                                job.gaps[at].1.push_front(asked.days);
                            }
                            failed.get_or_insert(error);
                        }
                    }
                }
            }
            if let Some(error) = failed {
                self.after(job, business, &error)?;
                if job.not_before.is_some() {
                    return Ok(());
                }
            }
        }
    }

    /// Asks one question about some days.
    async fn question(
        &self,
        asker: &Asker,
        source: &Source,
        listing: &Listing,
        lessons: &Lessons,
        asked: Option<(Question, Days)>,
    ) -> Option<Asked> {
        let (question, days) = asked?;
        let mut lessons = lessons.clone();
        let answer = self
            .rows(asker, source, listing, &mut lessons, question, days)
            .await;
        Some(Asked {
            days,
            lessons,
            answer,
        })
    }

    async fn rows(
        &self,
        asker: &Asker,
        source: &Source,
        listing: &Listing,
        lessons: &mut Lessons,
        question: Question,
        days: Days,
    ) -> Result<Brought, Error> {
        let (mut rows, mut withheld) = (Vec::new(), BTreeSet::new());
        let queries = source.daily(question, listing, days);
        for query in queries.into_iter().flatten() {
            let keep = |row: &Row| match (&row.identity.campaign, &source.subject) {
                (None, _) | (_, Subject::Campaign(_)) => true,
                (Some(campaign), Subject::AdAccount { .. }) => {
                    source.exports(&campaign.id, Some(listing))
                }
            };
            let insights = self.errand.ask(asker, async |session| {
                graph::ask(session, &query, lessons, keep).await
            });
            let insights = insights.await?;
            rows.extend(
                insights
                    .rows
                    .into_iter()
                    .map(|row| source.as_configured(row)),
            );
            let keys = insights.withheld.into_iter();
            withheld.extend(keys.map(|key| source.key_as_configured(key)));
        }
        Ok((rows, withheld))
    }

    /// What follows from an error: a pause, or an end.
    fn after(&self, job: &mut Job, business: &Business, error: &Error) -> Result<(), Over> {
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
                let wait = until.saturating_duration_since(now);
                let until = (self.now)() + wait;
                self.progress
                    .held(&source.business, &source.name, until, &why);
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

    fn fault(&self, places: &[usize], why: &str) {
        let mut faults = lock(&self.faults);
        for place in places {
            faults.insert(*place, why.to_owned());
        }
    }
}

type Brought = (Vec<Row>, BTreeSet<Box<str>>);

/// What came of one question.
struct Asked {
    days: Days,
    lessons: Lessons,
    answer: Result<Brought, Error>,
}

/// Why a source was not listed.
enum Missed {
    /// Nothing could be asked, or kept.
    Unread(String),
    Error(Error),
}

/// What is left to ask of a source.
struct Job {
    place: usize,
    /// Of each question the days to ask about, the oldest first.
    gaps: Vec<(Question, VecDeque<Days>)>,
    /// How many days one question asks about; 0 until that is known.
    days: usize,
    lessons: Lessons,
    not_before: Option<Instant>,
    failures: u32,
    holds: u32,
    refusals: u32,
}

impl Job {
    fn new(place: usize) -> Self {
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

    fn is_done(&self) -> bool {
        self.gaps.iter().all(|(_, gaps)| gaps.is_empty())
    }

    /// The next days to ask that question about.
    fn take(&mut self, question: usize) -> Option<(Question, Days)> {
        let (question, gaps) = self.gaps.get_mut(question)?;
        let (days, rest) = gaps.pop_front()?.split(self.days);
        if let Some(rest) = rest {
            gaps.push_front(rest);
        }
        Some((*question, days))
    }
}

/// The first job that need not wait; where all must, the one whose wait ends first, then.
async fn next(jobs: &mut VecDeque<Job>) -> Option<Job> {
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

/// Those days that are over, seen from today.
fn over(days: Days, today: Date) -> Option<Days> {
    let until = days.until().min(today.yesterday().ok()?);
    Days::new(days.since(), until)
}

/// Nothing panics while it holds one of these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
