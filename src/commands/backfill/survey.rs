//! What there is to ask: lists every source, unless the journal knows it already.

use std::collections::{BTreeSet, VecDeque};

use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan};

use super::job::{Job, Over, next};
use super::work::{Surveyed, Work, lock};
use crate::app::Asker;
use crate::config::Business;
use crate::graph::{self, Error};
use crate::listing::Listing;
use crate::plan::{Days, MONTHS_KEPT, Question, Source, Subject};

/// How old a listing in the journal may be: it is read again after that, for new campaigns.
const LISTING_KEPT: SignedDuration = SignedDuration::from_hours(24);

impl Work {
    pub(super) async fn survey_business(&self, business: &Business, places: &[usize]) {
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
        let known = days.and_then(|days| known(days, today));
        if known != days {
            let why = || format!("Meta knows the last {MONTHS_KEPT} months alone");
            lock(&self.faults).entry(place).or_insert_with(why);
        }
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
            let gaps = known.map(|days| self.gaps(place, *question, days));
            gaps.into_iter().flatten().map(Days::count).sum::<usize>()
        };
        let lacking: Vec<usize> = questions.iter().map(lacking).collect();
        let calls = lacking.iter().map(|days| source.calls(listing, *days));
        let surveyed = Surveyed {
            account: account.id.clone(),
            days,
            known,
            newest: closing.map(|closing| closing.timestamp()),
            campaigns: listing.campaigns.len(),
            calls: calls.sum(),
            rows: lacking.iter().sum::<usize>() * source.rows_a_day(listing).max(1),
            questions,
            gives_way: false,
        };
        lock(&self.surveyed).insert(place, surveyed);
    }

    /// Campaign sources that an ad account source of the same business shows already, here or in
    /// another shard.
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
                let listing = journal.listing(*place).ok().flatten();
                let source = &self.plan.sources[*place];
                let elsewhere = listing.is_some_and(|known| source.is_shown_elsewhere(&known));
                found.gives_way = listed.contains(id) || elsewhere;
            }
        }
    }
}

/// Why a source was not listed.
enum Missed {
    /// Nothing could be asked, or kept.
    Unread(String),
    Error(Error),
}

/// Those days that are over, seen from today.
fn over(days: Days, today: Date) -> Option<Days> {
    let until = days.until().min(today.yesterday().ok()?);
    Days::new(days.since(), until)
}

/// Those days that Meta still knows, seen from today.
fn known(days: Days, today: Date) -> Option<Days> {
    Days::new(days.since().max(oldest(today)), days.until())
}

/// The oldest day that Meta knows, seen from today.
pub(super) fn oldest(today: Date) -> Date {
    today.saturating_sub(MONTHS_KEPT.months())
}
