//! Asks for every day that the journal lacks, and puts each answer there before the next question.

use std::collections::{BTreeSet, VecDeque};

use super::job::{Job, Over, next};
use super::work::{Work, lock};
use crate::app::Asker;
use crate::config::Business;
use crate::graph::{self, Class, Error, Lessons};
use crate::listing::Listing;
use crate::plan::{Days, Question, Source, Subject};
use crate::row::Row;

impl Work {
    pub(super) async fn ask_business(&self, business: &Business, places: &[usize]) {
        let mut jobs = VecDeque::new();
        for place in places {
            let surveyed = lock(&self.surveyed).get(place).cloned();
            let Some(found) = surveyed.filter(|found| !found.gives_way) else {
                continue;
            };
            let Some(days) = found.known else { continue };
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
            if let Some(until) = self.errand.held_until(&asker) {
                self.held(source, until, "a quota is all but spent");
            }
            let lessons = &job.lessons;
            let (first, second) = tokio::join!(
                self.question(&asker, source, &listing, lessons, first),
                self.question(&asker, source, &listing, lessons, second),
            );
            // What the second one brought is kept, whatever follows from the first.
            let first = first.map(|asked| self.take_in(job, 0, asked, source, &listing));
            let second = second.map(|asked| self.take_in(job, 1, asked, source, &listing));
            let failed = first.transpose()?.flatten();
            if let Some(error) = failed.or(second.transpose()?.flatten()) {
                self.after(job, business, &error)?;
                if job.not_before.is_some() {
                    return Ok(());
                }
            }
        }
    }

    /// Takes in what came of one question; gives back the error that something follows from.
    fn take_in(
        &self,
        job: &mut Job,
        at: usize,
        asked: Asked,
        source: &Source,
        listing: &Listing,
    ) -> Result<Option<Error>, Over> {
        let (question, days) = (job.gaps[at].0, asked.days);
        job.lessons.page_size = job.lessons.page_size.min(asked.lessons.page_size);
        for field in asked.lessons.dropped {
            if !job.lessons.dropped.contains(&field) {
                tracing::warn!(business = %source.business, source = %source.name, field, "the API does not take a field: it is left out from here on");
                job.lessons.dropped.push(field);
            }
        }
        let error = match asked.answer {
            Ok((rows, withheld)) => {
                let kept = lock(&self.journal).keep(job.place, question, days, rows, withheld);
                kept.map_err(|error| Over::Business(format!("the journal: {error}")))?;
                let done = days.count() * source.rows_a_day(listing).max(1);
                self.progress.answered(done, self.errand.heard().calls);
                (job.failures, job.holds, job.refusals) = (0, 0, 0);
                return Ok(None);
            }
            Err(error) => error,
        };
        match error.class {
            Class::TooLarge if days.count() == 1 && job.lessons.page_size == 1 => {
                Err(Over::Source(error.fault.to_string()))
            }
            Class::TooLarge => {
                job.days = job.days.min((days.count() / 2).max(1));
                tracing::info!(business = %source.business, source = %source.name, days = job.days, page_size = job.lessons.page_size, "the API cannot tell of so many days at once, asking for fewer");
                job.gaps[at].1.push_front(days);
                Ok(None)
            }
            // Those days it will not tell; others it may.
            Class::Rejected => Ok(Some(error)),
            _ => {
                job.gaps[at].1.push_front(days);
                Ok(Some(error))
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
            let keep = |row: &mut Row| match (&row.identity.campaign, &source.subject) {
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
}

type Brought = (Vec<Row>, BTreeSet<Box<str>>);

/// What came of one question.
struct Asked {
    days: Days,
    lessons: Lessons,
    answer: Result<Brought, Error>,
}
